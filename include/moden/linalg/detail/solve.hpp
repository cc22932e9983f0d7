#pragma once

// Solving with small symmetric matrices that should be positive definite and sometimes are only nearly so.

#include <algorithm>
#include <cstddef>
#include <limits>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/view.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden::detail {

template <class T>
struct add_to_diagonal {
    T* matrix;
    std::size_t stride;
    T value;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { matrix[i * stride + i] += value; }
};

template <class T>
struct diagonal_magnitude {
    const T* matrix;
    std::size_t stride;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(matrix[i * stride + i]);
        return x < 0 ? -x : x;
    }
};

/// B <- inv(A) B for a positive semidefinite A (dense row-major n x n, kept). Where A is singular to working precision,
/// a multiple of the identity is added, the smallest power of ten times eps |A| that makes Cholesky succeed: of the
/// solutions that fit equally well this takes a short one. Returns what was added.
template <class Policy, class T, class Space>
T solve_semidefinite(const Policy& policy, matrix_view<const T, Space> a, matrix_view<T, Space> b) {
    const std::size_t n = a.rows;
    auto work = policy.template allocate<T>(n * n);
    const auto copy = row_major<T, Space>(work.data(), n, n);
    const double largest = policy.reduce(n, 0.0, diagonal_magnitude<T>{a.data, a.stride}, maximum{});
    double shift = 0;
    for (int attempt = 0; attempt < 20; ++attempt) {
        policy.template copy<T>(a, copy);
        if (shift > 0) {
            policy.transform(n, add_to_diagonal<T>{work.data(), n, static_cast<T>(shift)});
        }
        if (policy.template cholesky_solve<T>(copy, b) == definiteness::positive_definite) {
            return static_cast<T>(shift);
        }
        const double smallest = static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(n) * largest;
        shift = shift > 0 ? 10 * shift : std::max(smallest, static_cast<double>(std::numeric_limits<T>::min()) * 1e6);
    }
    throw solver_error(message("solve_semidefinite: a ", n, " x ", n, " matrix is far from positive semidefinite"));
}

}  // namespace moden::detail
