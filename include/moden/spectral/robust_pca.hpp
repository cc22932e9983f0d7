#pragma once

// A matrix as a low-rank one plus a sparse one.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of robust_pca.
struct robust_pca_options {
    double sparsity = 0;               ///< lambda, at least 0; 0: 1 / sqrt(max(m, n))
    double tolerance = 1e-6;           ///< stop when |M - L - S| <= this |M| and the multipliers change by no more than this share; at least 0
    std::size_t max_iterations = 1000;
    iteration_callback progress = {};  ///< (iteration, |M - L - S| / |M|) -> keep going?
};

/// M ~ low_rank + sparse.
template <class Matrix>
struct robust_pca_result {
    Matrix low_rank;                                        ///< L, m x n
    Matrix sparse;                                          ///< S, m x n, with exact zeros
    std::vector<value_type_of<Matrix>> singular_values;     ///< of L, min(m, n), descending
    std::size_t rank = 0;                                   ///< of L: how many of them are not 0
    double objective = 0;                                   ///< |L|_* + lambda |S|_1
    double residual = 0;                                    ///< |M - L - S| / |M|
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

namespace detail {

/// result = a - b + scale y.
template <class T>
struct shifted_difference {
    const T* a;
    const T* b;
    const T* y;
    T scale;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = a[i] - b[i] + scale * y[i]; }
};

/// S, the multiplier Y and the change of S in one pass.
template <class T>
struct sparse_and_dual_step {
    const T* m;
    const T* low;
    T* sparse;
    T* y;
    T* change;
    T penalty;    ///< mu
    T threshold;  ///< lambda / mu
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        const T rest = m[i] - low[i] + y[i] / penalty;
        const T magnitude = rest < T(0) ? -rest : rest;
        const T next = magnitude > threshold ? (rest < T(0) ? threshold - magnitude : magnitude - threshold) : T(0);
        change[i] = next - sparse[i];
        sparse[i] = next;
        y[i] += penalty * (m[i] - low[i] - next);
    }
};

template <class T>
struct squared_misfit {
    const T* m;
    const T* low;
    const T* sparse;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(m[i]) - static_cast<double>(low[i]) - static_cast<double>(sparse[i]);
        return x * x;
    }
};

inline void check_robust_pca_options(const robust_pca_options& options, const char* function) {
    require<argument_error>(options.sparsity >= 0 && std::isfinite(options.sparsity), function, ": sparsity ", options.sparsity,
                            " (expected a finite value of at least 0)");
    require<argument_error>(options.tolerance >= 0, function, ": tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(options.max_iterations >= 1, function, ": max_iterations 0 (expected at least 1)");
}

/// The alternating direction method of multipliers; `m` row-major, finite.
template <class Policy, class T, class Space>
auto run_robust_pca(const Policy& policy, matrix_view<const T, Space> m, const robust_pca_options& options, const char* function) {
    check_robust_pca_options(options, function);
    const std::size_t size = m.rows * m.columns, k = std::min(m.rows, m.columns);
    robust_pca_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({m.rows, m.columns}),
                                                          policy.template make_tensor<T, 2>({m.rows, m.columns}), std::vector<T>(k, T(0))};
    T* const low = result.low_rank.data();
    T* const sparse = result.sparse.data();
    policy.transform(size, fill_with<T>{low, T(0)});
    policy.transform(size, fill_with<T>{sparse, T(0)});
    const double norm = euclidean_norm(policy, m.data, size);
    if (norm == 0) {
        result.status = iteration_status::converged;
        return result;
    }
    const double lambda = options.sparsity > 0 ? options.sparsity : 1 / std::sqrt(static_cast<double>(std::max(m.rows, m.columns)));
    const double magnitudes = policy.reduce(size, 0.0, magnitude_of<T>{m.data}, plus{});
    double penalty = static_cast<double>(size) / (4 * magnitudes);
    const auto y = policy.template allocate<T>(size), work = policy.template allocate<T>(size);
    const auto left = policy.template allocate<T>(m.rows * k), right = policy.template allocate<T>(k * m.columns), values = policy.template allocate<T>(k);
    policy.transform(size, fill_with<T>{y.data(), T(0)});
    // Boyd et al. 2011, section 3.4.1: a penalty that keeps both residuals of one order. It settles, so that convergence is guaranteed.
    constexpr double apart = 10, factor = 2;
    constexpr std::size_t adapting = 100;
    while (result.iterations < options.max_iterations) {
        policy.transform(size, shifted_difference<T>{m.data, sparse, y.data(), static_cast<T>(1 / penalty), work.data()});
        policy.template svd<T>(row_major<T, Space>(work.data(), m.rows, m.columns), values.data(), row_major<T, Space>(left.data(), m.rows, k),
                               row_major<T, Space>(right.data(), k, m.columns));
        result.singular_values = to_vector<Policy, T>(policy, values.data(), k);
        result.rank = 0;
        for (T& value : result.singular_values) {
            value = std::max(T(0), value - static_cast<T>(1 / penalty));
            result.rank += value > T(0) ? 1 : 0;
        }
        if (result.rank > 0) {
            const auto kept = rows_of(row_major<T, Space>(right.data(), k, m.columns), 0, result.rank);
            policy.upload(result.singular_values.data(), values.data(), k);
            policy.transform(result.rank * m.columns, multiply_rows<T>{values.data(), m.columns, right.data()});
            policy.template gemm<T>(T(1), columns_of(row_major<const T, Space>(left.data(), m.rows, k), 0, result.rank), kept, T(0),
                                    row_major<T, Space>(low, m.rows, m.columns));
        } else {
            policy.transform(size, fill_with<T>{low, T(0)});
        }
        policy.transform(size, sparse_and_dual_step<T>{m.data, low, sparse, y.data(), work.data(), static_cast<T>(penalty), static_cast<T>(lambda / penalty)});
        ++result.iterations;
        const double primal = std::sqrt(policy.reduce(size, 0.0, squared_misfit<T>{m.data, low, sparse}, plus{})) / norm;
        const double dual = penalty * euclidean_norm(policy, static_cast<const T*>(work.data()), size) /
                            std::max(euclidean_norm(policy, static_cast<const T*>(y.data()), size), std::numeric_limits<double>::min());
        result.residual = primal;
        if (std::max(primal, dual) <= options.tolerance) {
            result.status = iteration_status::converged;
            break;
        }
        if (options.progress && !options.progress(result.iterations, primal)) {
            result.status = iteration_status::stopped_by_callback;
            break;
        }
        if (result.iterations < adapting) {
            penalty *= primal > apart * dual ? factor : dual > apart * primal ? 1 / factor : 1;
        }
    }
    for (const T value : result.singular_values) {
        result.objective += static_cast<double>(value);
    }
    result.objective += lambda * policy.reduce(size, 0.0, magnitude_of<T>{static_cast<const T*>(sparse)}, plus{});
    return result;
}

}  // namespace detail

/// A matrix as the sum of one of low rank and one with few entries that are not zero (robust PCA):
///
///     min |L|_* + lambda |S|_1   subject to   L + S = M,
///
/// |L|_* the sum of singular values. Where M is such a sum, of low enough rank and with entries spread out, both are found exactly. Solved
/// by the alternating direction method of multipliers: singular values and entries are shrunk in turn. A larger lambda leaves less in S.
///
/// \param policy  where to compute
/// \param matrix  M, m x n, finite
/// \param options lambda, stopping
/// \return        low_rank, sparse, singular values and rank of the first, objective, residual, iterations, status
/// \throws shape_error if the argument is no matrix or is empty; argument_error for options out of range, NaN or infinity
///
/// Cost per iteration: a thin SVD, 2 m n rank flops and six passes; memory beyond the result for five m x n matrices and its SVD.
/// Source: Candes et al. 2011; Boyd et al. 2011, section 3.4; used on J'J by LowRankGAN (Zhu et al. 2021).
/// \snippet tests/spectral/low_rank_directions.cpp robust_pca
template <execution_policy Policy, any_tensor Matrix>
auto robust_pca(const Policy& policy, const Matrix& matrix, const robust_pca_options& options = {}) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "robust_pca", [&](matrix_view<const T, space> m) {
        return detail::run_robust_pca<Policy, T, space>(policy, m, options, "robust_pca");
    });
}

template <any_tensor Matrix>
auto robust_pca(const Matrix& matrix, const robust_pca_options& options = {}) {
    return robust_pca(cpu_policy{}, matrix, options);
}

}  // namespace moden
