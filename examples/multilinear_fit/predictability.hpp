#pragma once

// How well a linear classifier reads the true factors off what was found, by ten-fold cross-validation as in 002 Sec. 5.5.

#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/random.hpp>
#include <moden/linalg/decompositions.hpp>

#include "face_images.hpp"

namespace multilinear_fit {

/// Share of held-out samples whose class is recognised, in ten folds. Classes are compared by linear discriminant analysis: equal
/// covariances, equal prior probabilities. 002 uses a linear support vector machine, of which 54 classes need 54.
///
/// \param z       r x n; columns are brought to length 1 and to the side of their mean, since scale and sign are open
/// \param classes of every sample
inline double accuracy(const matrix& z, const std::vector<std::size_t>& classes, std::size_t class_count) {
    constexpr std::size_t folds = 10;
    const std::size_t r = z.shape()[0], n = z.shape()[1];
    moden::tensor<double, 2> x = moden::tensor<double, 2>::from_shape({n, r});
    std::vector<double> mean(r);
    for (std::size_t i = 0; i < r; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            mean[i] += static_cast<double>(z(i, j));
        }
    }
    for (std::size_t j = 0; j < n; ++j) {
        double square = 0, side = 0;
        for (std::size_t i = 0; i < r; ++i) {
            square += std::pow(static_cast<double>(z(i, j)), 2);
            side += mean[i] * static_cast<double>(z(i, j));
        }
        const double scale = square > 0 ? std::copysign(1 / std::sqrt(square), side) : 0;
        for (std::size_t i = 0; i < r; ++i) {
            x(j, i) = scale * static_cast<double>(z(i, j));
        }
    }
    std::vector<double> draws(n);
    moden::fill_uniform(moden::cpu_policy{}, draws.data(), n, 1);
    std::size_t right = 0;
    for (std::size_t fold = 0; fold < folds; ++fold) {
        const auto held_out = [&](std::size_t j) { return static_cast<std::size_t>(draws[j] * folds) == fold; };
        auto means = moden::tensor<double, 2>::from_shape({r, class_count});
        means.fill(0);
        std::vector<double> counts(class_count);
        for (std::size_t j = 0; j < n; ++j) {
            if (!held_out(j)) {
                counts[classes[j]] += 1;
                for (std::size_t i = 0; i < r; ++i) {
                    means(i, classes[j]) += x(j, i);
                }
            }
        }
        for (std::size_t k = 0; k < class_count; ++k) {
            for (std::size_t i = 0; i < r; ++i) {
                means(i, k) /= std::max(counts[k], 1.0);
            }
        }
        auto within = moden::tensor<double, 2>::from_shape({r, r});
        within.fill(0);
        double trace = 0;
        for (std::size_t j = 0; j < n; ++j) {
            for (std::size_t a = 0; a < r && !held_out(j); ++a) {
                const double off = x(j, a) - means(a, classes[j]);
                trace += off * off;
                for (std::size_t b = 0; b < r; ++b) {
                    within(a, b) += off * (x(j, b) - means(b, classes[j]));
                }
            }
        }
        for (std::size_t i = 0; i < r; ++i) {
            within(i, i) += 1e-9 * trace + 1e-300;
        }
        const auto directions = moden::cholesky_solve(within, means);  // r x classes
        for (std::size_t j = 0; j < n; ++j) {
            if (!held_out(j)) {
                continue;
            }
            std::size_t best = 0;
            double highest = -1e300;
            for (std::size_t k = 0; k < class_count; ++k) {
                double score = 0;
                for (std::size_t i = 0; i < r; ++i) {
                    score += directions(i, k) * (x(j, i) - 0.5 * means(i, k));
                }
                if (counts[k] > 0 && score > highest) {
                    highest = score;
                    best = k;
                }
            }
            right += best == classes[j] ? 1 : 0;
        }
    }
    return static_cast<double>(right) / static_cast<double>(n);
}

/// table[found][true]: accuracy of light, expression and identity read off each factor.
using accuracy_table = std::array<std::array<double, 3>, 3>;

inline accuracy_table accuracies(const std::vector<matrix>& factors, const std::vector<truth>& labels, std::size_t persons) {
    std::array<std::vector<std::size_t>, 3> classes;
    for (const truth& t : labels) {
        classes[0].push_back(t.light);
        classes[1].push_back(t.expression);
        classes[2].push_back(t.identity);
    }
    const std::array<std::size_t, 3> counts{light_count, expression_count, persons};
    accuracy_table table{};
    for (std::size_t found = 0; found < 3; ++found) {
        for (std::size_t f = 0; f < 3; ++f) {
            table[found][f] = accuracy(factors[found], classes[f], counts[f]);
        }
    }
    return table;
}

}  // namespace multilinear_fit
