#pragma once

// Where the fit begins: the loss does not know which factor is to mean what, statistics of the data do.
//
// Light is what explains a picture, given its normals, as a matte surface would: nine coefficients of spherical harmonics by least
// squares. Expression and identity are independent components of the shapes. An expression is one of a few, so that its components
// take a few levels and have the most negative kurtosis; identity is a continuum.

#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/linalg/independent_components.hpp>
#include <moden/regression/least_squares.hpp>

#include "../faces/lighting.hpp"
#include "face_images.hpp"

namespace multilinear_fit {

enum factor : std::size_t { light, expression, identity };

/// How many light components there are.
inline constexpr std::size_t harmonics = 9;

/// 9 x n: coefficients of each picture's light, columns of length 1, rows with a mean square of 1.
inline matrix light_by_normals(const face_images& images) {
    const moden::cpu_policy cpu;
    auto result = matrix::from_shape({harmonics, images.count()});
    const std::size_t pixels = images.size * images.size;
    for (std::size_t n = 0; n < images.count(); ++n) {
        std::vector<std::array<float, harmonics>> rows;
        std::vector<float> gray;
        for (std::size_t p = 0; p < pixels; ++p) {
            const faces::vec3 normal{images.normals(3 * p, n), images.normals(3 * p + 1, n), images.normals(3 * p + 2, n)};
            if (dot(normal, normal) > 0.5F) {
                rows.push_back(faces::spherical_harmonics(normal));
                gray.push_back((images.texture(3 * p, n) + images.texture(3 * p + 1, n) + images.texture(3 * p + 2, n)) / 3);
            }
        }
        auto x = matrix::from_shape({rows.size(), harmonics}), y = matrix::from_shape({rows.size(), 1});
        for (std::size_t i = 0; i < rows.size(); ++i) {
            std::copy(rows[i].begin(), rows[i].end(), x.data() + i * harmonics);
            y(i, 0) = gray[i];
        }
        const auto fit = moden::least_squares(cpu, x, y, {.intercept = moden::intercept_term::none});
        double square = 0;
        for (std::size_t k = 0; k < harmonics; ++k) {
            square += std::pow(static_cast<double>(fit.coefficients(k, 0)), 2);
        }
        for (std::size_t k = 0; k < harmonics; ++k) {
            result(k, n) = static_cast<float>(static_cast<double>(fit.coefficients(k, 0)) / std::sqrt(square));
        }
    }
    for (std::size_t k = 0; k < harmonics; ++k) {
        double square = 0;
        for (std::size_t n = 0; n < images.count(); ++n) {
            square += std::pow(static_cast<double>(result(k, n)), 2);
        }
        const double scale = std::sqrt(static_cast<double>(images.count()) / square);
        for (std::size_t n = 0; n < images.count(); ++n) {
            result(k, n) = static_cast<float>(scale * static_cast<double>(result(k, n)));
        }
    }
    return result;
}

/// A row of ones over some rows of independent components.
inline matrix ones_and(const moden::tensor<double, 2>& sources, std::size_t first, std::size_t count) {
    auto result = matrix::from_shape({count + 1, sources.shape()[0]});
    for (std::size_t n = 0; n < sources.shape()[0]; ++n) {
        result(0, n) = 1;
        for (std::size_t i = 0; i < count; ++i) {
            result(i + 1, n) = static_cast<float>(sources(n, first + i));
        }
    }
    return result;
}

/// Light, expression and identity of every picture, ranks[i] x n.
inline std::vector<matrix> start_from_statistics(const face_images& images, const moden::extents& ranks) {
    // In double precision: the last components have a thousandth of the first one's length.
    const moden::tensor<double, 2> samples = xt::transpose(xt::cast<double>(images.shape));
    const std::size_t of_expression = ranks[expression] - 1, of_identity = ranks[identity] - 1;
    const auto found = moden::independent_components(samples, {.count = of_expression + of_identity});
    std::vector<matrix> start;
    start.push_back(light_by_normals(images));
    start.push_back(ones_and(found.sources, 0, of_expression));
    start.push_back(ones_and(found.sources, of_expression, of_identity));
    return start;
}

}  // namespace multilinear_fit
