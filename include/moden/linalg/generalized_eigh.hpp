#pragma once

// The symmetric generalised eigenproblem.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/detail/solve.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of generalized_eigh.
struct generalized_eigh_options {
    /// Eigenvectors wanted, those of the largest eigenvalues; more than there are means all.
    std::size_t count = static_cast<std::size_t>(-1);
    /// This many times the trace of B is added to its diagonal, for a B that is singular or nearly so; at least 0.
    double regularization = 0;
};

namespace detail {

/// Columns of a column-major matrix divided by the roots of values.
template <class T>
struct divide_by_roots {
    T* columns;
    std::size_t rows;
    const T* values;
    MODEN_HOST_DEVICE void operator()(std::size_t j, std::size_t i) const { columns[j * rows + i] /= std::sqrt(values[j]); }
};

template <class T>
struct diagonal_entry {
    const T* matrix;
    std::size_t size;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return static_cast<double>(matrix[i * size + i]); }
};

template <class T>
struct average_with_transpose {
    const T* matrix;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const { result[i * size + j] = (matrix[i * size + j] + matrix[j * size + i]) / 2; }
};

inline void check_regularization(double regularization, const char* function) {
    require<argument_error>(regularization >= 0 && std::isfinite(regularization), function, ": regularization ", regularization,
                            " (expected a finite value of at least 0)");
}

/// generalized_eigh of symmetric row-major n x n matrices, for a function of another name and with its name of B.
template <class Policy, class T, class Space>
auto solve_generalized(const Policy& policy, matrix_view<const T, Space> a, matrix_view<const T, Space> b, const generalized_eigh_options& options,
                       const char* function, const char* name_of_b) {
    check_regularization(options.regularization, function);
    const std::size_t n = a.rows, count = std::min(n, options.count);
    const double trace = policy.reduce(n, 0.0, diagonal_entry<T>{b.data, n}, plus{});
    auto scratch = policy.template allocate<T>(n * n);
    policy.copy(b.data, scratch.data(), n * n);
    if (options.regularization > 0) {
        policy.transform(n, add_to_diagonal<T>{scratch.data(), n, static_cast<T>(options.regularization * trace)});
    }
    const auto values = policy.template allocate<T>(n);
    const auto basis = policy.template allocate<T>(n * n), product = policy.template allocate<T>(n * n);
    const auto w = column_major<T, Space>(basis.data(), n, n);
    policy.template eigh<T>(row_major<T, Space>(scratch.data(), n, n), values.data(), w);
    const std::vector<T> spectrum = to_vector<Policy, T>(policy, values.data(), n);
    const double least = static_cast<double>(n) * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::max(0.0, static_cast<double>(spectrum[0]));
    require<argument_error>(static_cast<double>(spectrum[n - 1]) > least, function, ": ", name_of_b, " is singular or not positive definite, its ", n,
                            " eigenvalues go down to ", spectrum[0] > T(0) ? static_cast<double>(spectrum[n - 1]) / static_cast<double>(spectrum[0]) : 0.0,
                            " of the largest with regularization ", options.regularization, " (expected more than ",
                            static_cast<double>(n) * static_cast<double>(std::numeric_limits<T>::epsilon()), "; a larger regularization helps)");
    // B = Q D Q' and W = Q D^(-1/2): W' A W y = lambda y with x = W y.
    policy.transform_grid(n, n, divide_by_roots<T>{basis.data(), n, values.data()});
    const auto p = row_major<T, Space>(product.data(), n, n), s = row_major<T, Space>(scratch.data(), n, n);
    policy.template gemm<T>(T(1), a, w, T(0), p);
    policy.template gemm<T>(T(1), transposed(w), p, T(0), s);
    policy.transform_grid(n, n, average_with_transpose<T>{scratch.data(), n, product.data()});
    const auto small = policy.template allocate<T>(n * count);
    const auto y = column_major<T, Space>(small.data(), n, count);
    policy.template eigh<T>(p, values.data(), y);
    eigh_result<policy_tensor<Policy, T, 2>> result{to_vector<Policy, T>(policy, values.data(), n), policy.template make_tensor<T, 2>({n, count})};
    const auto vectors = row_major<T, Space>(result.vectors.data(), n, count);
    if (count > 0) {
        policy.template gemm<T>(T(1), w, y, T(0), vectors);
        fix_signs(policy, vectors);
    }
    return result;
}

}  // namespace detail

/// Eigenvalues and eigenvectors of a pair of symmetric matrices, A x = lambda B x with a positive definite B. The first vector
/// maximises x'A x / x'B x, each later one does so among those with x'B y = 0 for all before.
///
/// \param policy  where to compute
/// \param a       A, n x n, symmetric, finite
/// \param b       B, n x n, symmetric and positive definite after regularisation, finite
/// \param options how many vectors, regularisation of B
/// \return        values (all n, descending), vectors X (n x count) with X'B X = I, B regularised; the entry of largest magnitude in
///                every vector is positive
/// \throws shape_error if the matrices are not square or differ in size; argument_error for a B that is not positive definite (eigenvalues below
///         n eps of the largest count as 0), a negative regularisation, NaN or infinity
///
/// Cost: two eigenproblems of n x n and 4 n^3 flops; memory for four n x n matrices. Errors of the values are about eps
/// |A| / (smallest eigenvalue of B).
/// Source: Golub & Van Loan 2013, Sec. 8.7, with the eigenvectors of B in place of its Cholesky factor, so that a singular B shows.
/// \snippet tests/spectral/region_directions.cpp generalized_eigh
template <execution_policy Policy, any_tensor A, any_tensor B>
auto generalized_eigh(const Policy& policy, const A& a, const B& b, const generalized_eigh_options& options = {}) {
    using T = value_type_of<A>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<B>>, "moden: generalized_eigh of matrices of different type");
    return detail::with_finite_matrix(policy, a, "generalized_eigh", [&](matrix_view<const T, space> first) {
        return detail::with_finite_matrix(policy, b, "generalized_eigh", [&](matrix_view<const T, space> second) {
            detail::require<shape_error>(first.rows == first.columns && second.rows == first.rows && second.columns == first.rows,
                                         "generalized_eigh: matrices of ", first.rows, " x ", first.columns, " and ", second.rows, " x ", second.columns,
                                         " (expected two square ones of the same size)");
            return detail::solve_generalized<Policy, T, space>(policy, first, second, options, "generalized_eigh", "the second matrix");
        });
    });
}

template <any_tensor A, any_tensor B>
auto generalized_eigh(const A& a, const B& b, const generalized_eigh_options& options = {}) {
    return generalized_eigh(cpu_policy{}, a, b, options);
}

}  // namespace moden
