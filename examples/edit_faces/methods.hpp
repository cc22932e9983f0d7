#pragma once

// Directions for the same factors by five methods, and what they do to pictures.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "readings.hpp"

namespace edit_faces {

using model = moden::policy_tensor_model<moden::cpu_policy, float, moden::dynamic_order>;

/// One direction per intended factor, as rows of D entries.
struct direction_set {
    std::string method;
    matrix directions;
};

/// The tensor model's directions: one per expression and, if there are views, from the first to the last.
struct named_directions {
    std::vector<std::string> names;
    matrix directions;
};

inline named_directions directions_of(const moden::cpu_policy& cpu, const model& fitted, const settings& wanted) {
    const auto has = [&](const std::string& name) {
        return std::any_of(fitted.modes.begin(), fitted.modes.end(), [&](const auto& mode) { return mode.name == name; });
    };
    const auto expressions = moden::level_directions(cpu, fitted, wanted.expression,
                                                     {.truncated_mode = has(wanted.intensity) ? wanted.intensity : ""});
    named_directions result{fitted.modes[moden::index_of_mode(fitted.modes, wanted.expression)].levels, expressions};
    if (has(wanted.view)) {
        const auto& levels = fitted.modes[moden::index_of_mode(fitted.modes, wanted.view)].levels;
        if (levels.size() >= 2) {
            const auto rotation = moden::difference_direction(cpu, fitted, wanted.view, levels.front(), levels.back());
            const std::size_t rows = expressions.shape()[0], size = expressions.shape()[1];
            result.names.push_back("yaw");
            result.directions = matrix::from_shape({rows + 1, size});
            std::copy(expressions.begin(), expressions.end(), result.directions.begin());
            std::copy(rotation.begin(), rotation.end(), result.directions.data() + rows * size);
        }
    }
    return result;
}

/// Rows of another matrix.
inline matrix chosen_rows(const matrix& all, const std::vector<std::size_t>& rows) {
    auto result = matrix::from_shape({rows.size(), all.shape()[1]});
    for (std::size_t n = 0; n < rows.size(); ++n) {
        std::copy_n(all.data() + rows[n] * all.shape()[1], all.shape()[1], result.data() + n * all.shape()[1]);
    }
    return result;
}

/// Of unlabelled directions, the one whose share of w goes best with a reading, turned so that both grow together: what a
/// person does who looks at pictures of all of them.
inline std::vector<float> best_match(const matrix& w, const matrix& directions, const matrix& values, std::size_t column) {
    const std::size_t count = w.shape()[0], size = w.shape()[1];
    double best = 0;
    std::vector<float> result(size);
    for (std::size_t k = 0; k < directions.shape()[0]; ++k) {
        double sx = 0, sy = 0, sxx = 0, syy = 0, sxy = 0;
        for (std::size_t n = 0; n < count; ++n) {
            double x = 0;
            for (std::size_t i = 0; i < size; ++i) {
                x += static_cast<double>(w(n, i)) * static_cast<double>(directions(k, i));
            }
            const double y = values(n, column);
            sx += x, sy += y, sxx += x * x, syy += y * y, sxy += x * y;
        }
        const double n = static_cast<double>(count);
        const double correlation = (sxy - sx * sy / n) / std::sqrt((sxx - sx * sx / n) * (syy - sy * sy / n));
        if (std::abs(correlation) > std::abs(best)) {
            best = correlation;
            for (std::size_t i = 0; i < size; ++i) {
                result[i] = static_cast<float>(std::copysign(1.0, correlation)) * directions(k, i);
            }
        }
    }
    return result;
}

/// The other methods know samples of the generator (w, N x w_dim) and what the regressor reads off their pictures.
inline std::vector<direction_set> other_methods(const moden::cpu_policy& cpu, const generator& net, const readings& reader, const matrix& w,
                                                const std::vector<factor>& intended, std::size_t size) {
    constexpr std::size_t candidates = 20;
    constexpr double extremes = 0.1;
    const std::size_t w_dim = w.shape()[1];
    std::vector<direction_set> sets;
    for (const char* method : {"PCA", "mean difference", "linear boundary", "closed-form weights"}) {
        sets.push_back({method, matrix::from_shape({intended.size(), size})});
    }
    const auto components = moden::pca_directions(cpu, w, std::min(candidates, w_dim));
    const auto weights = moden::weight_directions(cpu, stylegan2::affine_weights(cpu, net), std::min(candidates, w_dim));
    for (std::size_t f = 0; f < intended.size(); ++f) {
        const std::size_t column = intended[f].columns.front();
        std::vector<double> scores;
        for (std::size_t n = 0; n < w.shape()[0]; ++n) {
            scores.push_back(reader.samples()(n, column));
        }
        const moden::score_extremes classes = moden::extremes_by_score(scores, extremes);
        const auto difference = moden::mean_difference_direction(cpu, chosen_rows(w, classes.highest), chosen_rows(w, classes.lowest));
        std::vector<std::size_t> both = classes.highest;
        both.insert(both.end(), classes.lowest.begin(), classes.lowest.end());
        std::vector<int> labels(both.size(), -1);
        std::fill_n(labels.begin(), classes.highest.size(), 1);
        const auto boundary = moden::linear_boundary(chosen_rows(w, both), labels, {.tolerance = 1e-3, .max_iterations = 2000});
        const std::vector<std::vector<float>> found{best_match(w, components.directions, reader.samples(), column),
                                                    {difference.begin(), difference.end()},
                                                    {boundary.normal.begin(), boundary.normal.end()},
                                                    best_match(w, weights.directions, reader.samples(), column)};
        for (std::size_t m = 0; m < sets.size(); ++m) {
            for (std::size_t i = 0; i < size; ++i) {
                sets[m].directions(f, i) = found[m][i % w_dim];
            }
        }
    }
    return sets;
}

/// What one direction does.
struct effect {
    double own = 0;               ///< change of the intended factor per unit length of the code, in its own units
    double reached = 0;           ///< change at which leakage was measured, in units of the factor's spread
    std::vector<double> leakage;  ///< per factor: root mean square change, relative to that of the intended one (in spreads)
    double mean_leakage = 0;      ///< over all other factors
};

/// Effects on some codes, N x D: slopes by a small central step, leakage at one spread of the intended factor.
inline effect effect_of(const moden::cpu_policy& cpu, const readings& reader, const matrix& codes, double largest_step,
                        const std::vector<float>& direction, std::size_t intended) {
    auto unit = matrix::from_shape({1, direction.size()});
    const double length = std::sqrt(std::inner_product(direction.begin(), direction.end(), direction.begin(), 0.0));
    for (std::size_t i = 0; i < direction.size(); ++i) {
        unit(0, i) = static_cast<float>(direction[i] / length);
    }
    const factor& own = reader.factors()[intended];
    const auto at = [&](double step) { return reader.read(moden::edit_codes(cpu, codes, unit, {step})); };
    const auto mean_change = [&](const matrix& from, const matrix& to) {
        const auto changes = reader.changes(own, from, to);
        return std::accumulate(changes.begin(), changes.end(), 0.0) / static_cast<double>(changes.size());
    };
    const double small = 0.05 * largest_step;
    const double slope = mean_change(at(-small), at(small)) / (2 * small);
    const double step = std::min(largest_step, 0.5 / std::max(std::abs(slope), 1e-12));
    const matrix before = at(-step), after = at(step);
    effect result{slope * reader.spread(own.columns.front()), mean_change(before, after), {}, 0};
    for (std::size_t f = 0; f < reader.factors().size(); ++f) {
        double square = 0;
        for (const double change : reader.changes(reader.factors()[f], before, after)) {
            square += change * change / static_cast<double>(codes.shape()[0]);
        }
        result.leakage.push_back(std::sqrt(square) / std::abs(result.reached));
        if (f != intended) {
            result.mean_leakage += result.leakage.back() / static_cast<double>(reader.factors().size() - 1);
        }
    }
    return result;
}

}  // namespace edit_faces
