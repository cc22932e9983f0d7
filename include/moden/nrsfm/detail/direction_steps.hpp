#pragma once

// Loop bodies for the directions of rank-one basis shapes.

#include <cmath>
#include <cstddef>

#include <moden/core/macros.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>

namespace moden::detail {

/// Of frame n and directions d = (x, y, z)_j: with (u, v) = M_n d, u^2 / r, 2 u v / r and v^2 / r, r = u^2 + v^2 + ridge |M_n|^2 / 2. Three rows per frame.
struct direction_features {
    const double* cameras;
    const float* directions;  ///< three rows of `count`
    std::size_t count;
    float ridge;
    float* features;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t first, std::size_t last) const {
        const double* m = cameras + n * 6;
        const float a = static_cast<float>(m[0]), b = static_cast<float>(m[1]), c = static_cast<float>(m[2]);
        const float d = static_cast<float>(m[3]), e = static_cast<float>(m[4]), f = static_cast<float>(m[5]);
        const float damping = ridge * static_cast<float>(squared_scale(m));
        const float* x = directions;
        const float* y = directions + count;
        const float* z = directions + 2 * count;
        float* uu = features + 3 * n * count;
        float* uv = uu + count;
        float* vv = uv + count;
        MODEN_INDEPENDENT
        for (std::size_t j = first; j < last; ++j) {
            const float u = a * x[j] + b * y[j] + c * z[j], v = d * x[j] + e * y[j] + f * z[j];
            const float inverse = 1.0f / (u * u + v * v + damping);
            uu[j] = u * u * inverse;
            uv[j] = 2 * u * v * inverse;
            vv[j] = v * v * inverse;
        }
    }
};

/// Of frame n and basis shape k: p^2, p q, q^2 of (p, q) = scale c_nk. Three rows of K per frame.
struct observation_features {
    const double* observations;  ///< 2N x K
    std::size_t count;
    double scale;
    float* features;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t k) const {
        const float p = static_cast<float>(scale * observations[2 * n * count + k]), q = static_cast<float>(scale * observations[(2 * n + 1) * count + k]);
        features[3 * n * count + k] = p * p;
        features[(3 * n + 1) * count + k] = p * q;
        features[(3 * n + 2) * count + k] = q * q;
    }
};

/// A direction that is tried for basis shape k.
struct direction_candidate {
    double d[3];
    double k;
};

enum class direction_sum {
    derivatives,    ///< of the gain: value, gradient (3), Hessian (6: 00 01 02 11 12 22)
    least_squares,  ///< of the alternating method: gain, sum alpha M'c (3), sum alpha^2 M'M (6)
    given,          ///< the same with given coefficients, and the cost in place of the gain
    matched         ///< sum M'c c'M (6), which does not depend on the candidate
};

/// Sums over a piece of the frames, for one candidate, of h = (M d . c)^2 / (|M d|^2 + ridge |M|^2 / 2) and so on.
struct sum_of_direction {
    static constexpr std::size_t size = 10;
    const double* cameras;
    const double* observations;
    const double* coefficients;  ///< of direction_sum::given
    const direction_candidate* candidates;
    std::size_t count, frames, candidate_count, pieces;
    double ridge;
    direction_sum kind;
    double* sums;                ///< pieces x candidates x 10
    MODEN_HOST_DEVICE void operator()(std::size_t index) const {
        const std::size_t piece = index / candidate_count;
        const direction_candidate candidate = candidates[index % candidate_count];
        const std::size_t k = static_cast<std::size_t>(candidate.k);
        const std::size_t first = piece * frames / pieces, last = (piece + 1) * frames / pieces;
        double sum[size] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
        for (std::size_t n = first; n < last; ++n) {
            const double* m = cameras + n * 6;
            const double p = observations[2 * n * count + k], q = observations[(2 * n + 1) * count + k];
            const double u = dot3(m, candidate.d), v = dot3(m + 3, candidate.d);
            const double damping = ridge * squared_scale(m), r = u * u + v * v + damping, along = u * p + v * q;
            double gu = 0, gv = 0, huu = 0, huv = 0, hvv = 0;  // gradient and Hessian in the image
            if (kind == direction_sum::matched) {
                huu = p * p, huv = p * q, hvv = q * q;
            } else if (!(r > 0)) {
                continue;  // seen end on
            } else if (kind == direction_sum::derivatives) {
                const double a = 2 / r, b = along / r;
                sum[0] += along * b;
                gu = a * along * p - a * b * along * u;
                gv = a * along * q - a * b * along * v;
                huu = a * (p * p - 4 * b * p * u - b * along + 4 * b * b * u * u);
                huv = a * (p * q - 2 * b * (p * v + q * u) + 4 * b * b * u * v);
                hvv = a * (q * q - 4 * b * q * v - b * along + 4 * b * b * v * v);
            } else {
                const double alpha = kind == direction_sum::given ? coefficients[n * count + k] : along / r;
                const double x = p - alpha * u, y = q - alpha * v;
                sum[0] += kind == direction_sum::given ? x * x + y * y + damping * alpha * alpha : along * alpha;
                gu = alpha * p, gv = alpha * q;
                huu = hvv = alpha * alpha, huv = 0;
            }
            std::size_t place = 4;
            for (std::size_t i = 0; i < 3; ++i) {
                sum[1 + i] += gu * m[i] + gv * m[3 + i];
                for (std::size_t j = i; j < 3; ++j) {
                    sum[place++] += huu * m[i] * m[j] + huv * (m[i] * m[3 + j] + m[3 + i] * m[j]) + hvv * m[3 + i] * m[3 + j];
                }
            }
        }
        for (std::size_t i = 0; i < size; ++i) {
            sums[index * size + i] = sum[i];
        }
    }
};

/// alpha_nk = (M_n d_k)'c_nk / (|M_n d_k|^2 + ridge |M_n|^2 / 2), 0 where the direction is seen end on.
struct coefficients_of_directions {
    const double* cameras;
    const double* observations;
    const double* directions;
    std::size_t count;
    double ridge;
    double* coefficients;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t k) const {
        const double* m = cameras + n * 6;
        const double u = dot3(m, directions + 3 * k), v = dot3(m + 3, directions + 3 * k), r = u * u + v * v + ridge * squared_scale(m);
        const double along = u * observations[2 * n * count + k] + v * observations[(2 * n + 1) * count + k];
        coefficients[n * count + k] = r > 0 ? along / r : 0;
    }
};

/// Slope of |c_nk - alpha_nk M_n d_k|^2 + ridge |M_n|^2 / 2 alpha_nk^2 in alpha_nk.
struct coefficient_gradient {
    const double* cameras;
    const double* observations;
    const double* directions;
    const double* coefficients;
    std::size_t count;
    double ridge;
    double* gradient;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t k) const {
        const double* m = cameras + n * 6;
        const double u = dot3(m, directions + 3 * k), v = dot3(m + 3, directions + 3 * k), alpha = coefficients[n * count + k];
        const double x = alpha * u - observations[2 * n * count + k], y = alpha * v - observations[(2 * n + 1) * count + k];
        gradient[n * count + k] = 2 * (u * x + v * y + ridge * squared_scale(m) * alpha);
    }
};

}  // namespace moden::detail
