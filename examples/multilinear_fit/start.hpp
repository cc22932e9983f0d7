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

#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/independent_components.hpp>
#include <moden/regression/least_squares.hpp>

#include "../faces/lighting.hpp"
#include "face_images.hpp"

namespace multilinear_fit {

enum factor : std::size_t { light, expression, identity };

/// Coefficients of light.
inline constexpr std::size_t harmonics = 9;

/// 9 x n: coefficients of each picture's light times its mean albedo.
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
        for (std::size_t k = 0; k < harmonics; ++k) {
            result(k, n) = fit.coefficients(k, 0);
        }
    }
    return result;
}

/// rank x n: the leading rank - 1 principal components of that, with a mean square of about 1, turned so that columns add up to zero. What a
/// core makes of the constant in place of light (002 Eq. 5) is then a matter of its own, and normals do not compete with texture.
inline matrix start_of_light(const face_images& images, std::size_t rank) {
    const auto components = moden::thin_svd(light_by_normals(images)).vt;
    auto result = matrix::from_shape({rank, images.count()});
    result.fill(0);
    for (std::size_t c = 1; c < rank; ++c) {  // Helmert's contrasts: c rows against the next one
        const double length = std::sqrt(static_cast<double>(c * (c + 1)));
        for (std::size_t n = 0; n < images.count(); ++n) {
            const double value = std::sqrt(static_cast<double>(images.count())) * static_cast<double>(components(c - 1, n)) / length;
            for (std::size_t i = 0; i < c; ++i) {
                result(i, n) += static_cast<float>(value);
            }
            result(c, n) -= static_cast<float>(static_cast<double>(c) * value);
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
    start.push_back(start_of_light(images, ranks[light]));
    start.push_back(ones_and(found.sources, 0, of_expression));
    start.push_back(ones_and(found.sources, of_expression, of_identity));
    return start;
}

}  // namespace multilinear_fit
