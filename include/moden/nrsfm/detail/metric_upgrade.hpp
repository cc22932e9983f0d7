#pragma once

// The 3 x 3 matrix that makes the cameras of an affine factorization those of a camera model as nearly as possible.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>

namespace moden {

/// How the metric upgrade of a factorization went.
enum class metric_upgrade {
    closed_form,  ///< the conditions on the cameras have one best solution, and it is positive definite
    repaired,     ///< the best solution was not positive definite: its eigenvalues were raised to 1e-3 of the largest
    ambiguous     ///< several solutions fit the conditions equally well to rounding: too few different views; one of them was taken
};

namespace detail {

/// Conditions on A = Q Q' per camera, linear in (A11, A22, A33, r A12, r A13, r A23) with r = sqrt(2): rows of 6 coefficients and the right-hand side.
/// Unit cameras: m1'A m1 = 1, m2'A m2 = 1, m1'A m2 = 0. Others, up to scale: m1'A m1 = m2'A m2, 2 m1'A m2 = 0.
struct upgrade_conditions {
    const double* cameras;
    camera_model model;
    double* rows;  ///< 3N x 7
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const double* m1 = cameras + n * 6;
        const double* m2 = m1 + 3;
        double first[6], second[6], mixed[6];
        products(m1, m1, first);
        products(m2, m2, second);
        products(m1, m2, mixed);
        const bool unit = model == camera_model::unit;
        double* row = rows + n * 21;
        const double root = 1.4142135623730951;
        for (int i = 0; i < 6; ++i) {
            row[i] = unit ? first[i] : first[i] - second[i];
            row[7 + i] = unit ? second[i] : 2 * mixed[i];
            row[14 + i] = unit ? root * mixed[i] : 0;
        }
        row[6] = row[13] = unit ? 1 : 0;
        row[20] = 0;
    }

private:
    MODEN_HOST_DEVICE static void products(const double* x, const double* y, double* result) {
        const double half = 0.70710678118654752;
        for (int i = 0; i < 3; ++i) {
            result[i] = x[i] * y[i];
        }
        result[3] = half * (x[0] * y[1] + x[1] * y[0]);
        result[4] = half * (x[0] * y[2] + x[2] * y[0]);
        result[5] = half * (x[1] * y[2] + x[2] * y[1]);
    }
};

struct upgrade_result {
    std::array<double, 9> matrix;   ///< Q: cameras become M Q
    std::array<double, 9> inverse;  ///< shapes become Q^-1 S
    metric_upgrade how = metric_upgrade::closed_form;
};

/// Solves the conditions for cameras with M'M = N I (summed over the 2N rows). Unit cameras: least squares. Others: the least |C a|^2 for a given trace
/// of A, so that the sum of the squared scales is what it was. Then Q = E D^(1/2) of A = E D E'.
///
/// Cost: 63 N + 126 N flops and three rows of 7 numbers per camera.
template <class Policy>
upgrade_result solve_metric_upgrade(const Policy& policy, const double* cameras, std::size_t count, camera_model model, double rounding) {
    using space = typename Policy::memory_space;
    const auto rows = policy.template allocate<double>(21 * count);
    const auto gram = policy.template allocate<double>(49);
    policy.transform(count, upgrade_conditions{cameras, model, rows.data()}, 32);
    policy.template syrk<double>(1.0, transposed(row_major<const double, space>(rows.data(), 3 * count, 7)), 0.0, row_major<double, space>(gram.data(), 7, 7));
    const auto sums = to_vector<Policy, double>(policy, gram.data(), 49);
    std::array<double, 36> h, vectors;
    std::array<double, 6> values, right, a{};
    for (std::size_t i = 0; i < 6; ++i) {
        std::copy_n(sums.begin() + static_cast<std::ptrdiff_t>(7 * i), 6, h.begin() + static_cast<std::ptrdiff_t>(6 * i));
        right[i] = model == camera_model::unit ? sums[7 * i + 6] : i < 3 ? 1.0 : 0.0;
    }
    jacobi_eigh<6>(h.data(), values.data(), vectors.data());
    for (std::size_t j = 0; j < 6; ++j) {
        double weight = 0;
        for (std::size_t i = 0; i < 6; ++i) {
            weight += vectors[6 * i + j] * right[i];
        }
        // Homogeneous conditions of exact cameras leave the last vector alone; of inhomogeneous ones, what is not determined stays 0.
        const bool homogeneous = model != camera_model::unit;
        const double factor = homogeneous ? 1 / std::max(values[j], 1e-17 * values[0]) : values[j] > 1e-13 * values[0] ? 1 / values[j] : 0.0;
        for (std::size_t i = 0; i < 6; ++i) {
            a[i] += vectors[6 * i + j] * weight * factor;
        }
    }
    upgrade_result result;
    const double decisive = model == camera_model::unit ? values[5] : values[4];
    if (!(decisive > std::max(1e-12, 10 * rounding * rounding) * values[0])) {
        result.how = metric_upgrade::ambiguous;
    }
    const double half = 0.70710678118654752;
    std::array<double, 9> square{a[0], half * a[3], half * a[4], half * a[3], a[1], half * a[5], half * a[4], half * a[5], a[2]};
    std::array<double, 9> axes;
    std::array<double, 3> lengths;
    jacobi_eigh<3>(square.data(), lengths.data(), axes.data());
    const double floor = 1e-3 * lengths[0];
    if (!(lengths[2] >= floor)) {
        result.how = result.how == metric_upgrade::ambiguous ? result.how : metric_upgrade::repaired;
    }
    for (std::size_t j = 0; j < 3; ++j) {
        const double length = lengths[0] > 0 ? std::sqrt(std::max(lengths[j], floor)) : 1.0;
        for (std::size_t i = 0; i < 3; ++i) {
            result.matrix[3 * i + j] = axes[3 * i + j] * length;
            result.inverse[3 * j + i] = axes[3 * i + j] / length;
        }
    }
    return result;
}

}  // namespace detail
}  // namespace moden
