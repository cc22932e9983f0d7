#pragma once

// Where the fit begins: the loss does not know which factor is to mean what, statistics of the data do.
//
// Light is what explains a picture, given its normals, as a matte surface of one colour would: nine coefficients of spherical harmonics by
// least squares. Their length and the mean colour belong to the identity. Expression and identity are independent components of the shapes. An expression is one of a few, so that its components
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

/// How a matte surface explains the pictures.
struct matte_fit {
    matrix light;   ///< 9 x n: coefficients, columns of length 1
    matrix colour;  ///< 3 x n: colour that such light would have to fall on, rows with mean 0 and variance 1
};

inline matte_fit explain_by_normals(const face_images& images) {
    const moden::cpu_policy cpu;
    matte_fit result{matrix::from_shape({harmonics, images.count()}), matrix::from_shape({3, images.count()})};
    const std::size_t pixels = images.size * images.size;
    for (std::size_t n = 0; n < images.count(); ++n) {
        std::vector<std::array<float, harmonics>> rows;
        std::vector<float> gray;
        std::array<double, 3> sums{};
        for (std::size_t p = 0; p < pixels; ++p) {
            const faces::vec3 normal{images.normals(3 * p, n), images.normals(3 * p + 1, n), images.normals(3 * p + 2, n)};
            if (dot(normal, normal) > 0.5F) {
                rows.push_back(faces::spherical_harmonics(normal));
                gray.push_back((images.texture(3 * p, n) + images.texture(3 * p + 1, n) + images.texture(3 * p + 2, n)) / 3);
                for (std::size_t c = 0; c < 3; ++c) {
                    sums[c] += static_cast<double>(images.texture(3 * p + c, n));
                }
            }
        }
        auto x = matrix::from_shape({rows.size(), harmonics}), y = matrix::from_shape({rows.size(), 1});
        for (std::size_t i = 0; i < rows.size(); ++i) {
            std::copy(rows[i].begin(), rows[i].end(), x.data() + i * harmonics);
            y(i, 0) = gray[i];
        }
        const auto fit = moden::least_squares(cpu, x, y, {.intercept = moden::intercept_term::none});
        const double length = static_cast<double>(moden::norm(fit.coefficients));
        for (std::size_t k = 0; k < harmonics; ++k) {
            result.light(k, n) = static_cast<float>(static_cast<double>(fit.coefficients(k, 0)) / length);
        }
        for (std::size_t c = 0; c < 3; ++c) {
            result.colour(c, n) = static_cast<float>(length * sums[c] / (sums[0] + sums[1] + sums[2]));
        }
    }
    const auto table = moden::independent_components(moden::tensor<double, 2>(xt::transpose(xt::cast<double>(result.colour))), {.count = 3}).sources;
    for (std::size_t n = 0; n < images.count(); ++n) {
        for (std::size_t c = 0; c < 3; ++c) {
            result.colour(c, n) = static_cast<float>(table(n, c));
        }
    }
    return result;
}

/// rank x n: the leading rank - 1 principal components of the light, with a mean square of about 1, turned so that columns add up to zero. What a
/// core makes of the constant in place of light (002 Eq. 5) is then a matter of its own, and normals do not compete with texture.
inline matrix start_of_light(const matrix& light, std::size_t rank) {
    const std::size_t count = light.shape()[1];
    const auto components = moden::thin_svd(light).vt;
    auto result = matrix::from_shape({rank, count});
    result.fill(0);
    for (std::size_t c = 1; c < rank; ++c) {  // Helmert's contrasts: c rows against the next one
        const double length = std::sqrt(static_cast<double>(c * (c + 1)));
        for (std::size_t n = 0; n < count; ++n) {
            const double value = std::sqrt(static_cast<double>(count)) * static_cast<double>(components(c - 1, n)) / length;
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
    const matte_fit matte = explain_by_normals(images);
    // In double precision: the last components have a thousandth of the first one's length.
    const moden::tensor<double, 2> samples = xt::transpose(xt::cast<double>(images.shape));
    const std::size_t of_expression = ranks[expression] - 1, of_identity = ranks[identity] - 4;
    const auto found = moden::independent_components(samples, {.count = of_expression + of_identity});
    std::vector<matrix> start;
    start.push_back(start_of_light(matte.light, ranks[light]));
    start.push_back(ones_and(found.sources, 0, of_expression));
    const matrix of_shape = ones_and(found.sources, of_expression, of_identity);
    start.push_back(xt::concatenate(xt::xtuple(of_shape, matte.colour), 0));
    return start;
}

}  // namespace multilinear_fit
