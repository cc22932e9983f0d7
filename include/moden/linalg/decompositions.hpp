#pragma once

// The dense factorizations by themselves: thin SVD, symmetric eigenproblem, QR, Cholesky and ridge solve.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/detail/solve.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// A = u diag(singular_values) vt.
template <class Matrix>
struct svd_result {
    Matrix u;                                                ///< m x k, orthonormal columns, signs fixed
    std::vector<value_type_of<Matrix>> singular_values;      ///< k, descending, on the host
    Matrix vt;                                               ///< k x n, orthonormal rows
};

/// A = vectors diag(values) vectors' (the leading part of it).
template <class Matrix>
struct eigh_result {
    std::vector<value_type_of<Matrix>> values;  ///< all n eigenvalues, descending, on the host
    Matrix vectors;                             ///< n x count, orthonormal columns, signs fixed
};

/// A = q r.
template <class Matrix>
struct qr_result {
    Matrix q;  ///< m x n, orthonormal columns
    Matrix r;  ///< n x n, upper triangular, no negative entry on the diagonal
};

namespace detail {

/// Evaluates a matrix argument, refuses what no factorization can use, and calls function(view).
template <class Policy, class Matrix, class Function>
auto with_finite_matrix(const Policy& policy, const Matrix& matrix, const char* name, Function function) {
    const auto argument = evaluate(policy, matrix);
    const auto view = as_matrix(argument.view(), name, "the argument");
    require<shape_error>(view.rows > 0 && view.columns > 0, name, ": the matrix of ", view.rows, " x ", view.columns, " is empty");
    require_finite(policy, view.data, view.rows * view.columns, name, "the matrix");
    return function(view);
}

/// A writable copy of a matrix, dense and in the same storage order.
template <class Policy, class T, class Space>
auto scratch_copy(const Policy& policy, matrix_view<const T, Space> source) {
    auto buffer = policy.template allocate<T>(source.rows * source.columns);
    policy.copy(source.data, buffer.data(), source.rows * source.columns);
    return buffer;
}

/// Flips the columns of Q and rows of R that belong to negative diagonal entries of R (both row-major).
template <class T>
struct make_diagonal_positive {
    T* q;
    T* r;
    std::size_t rows;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        if (r[j * columns + j] < T(0)) {
            for (std::size_t i = 0; i < rows; ++i) {
                q[i * columns + j] = -q[i * columns + j];
            }
            for (std::size_t k = j; k < columns; ++k) {
                r[j * columns + k] = -r[j * columns + k];
            }
        }
    }
};

}  // namespace detail

/// Thin singular value decomposition, A = U diag(s) V', with k = min(m, n) singular triplets.
///
/// \param policy where to compute
/// \param matrix m x n, finite
/// \return       u (m x k), singular_values (k, descending), vt (k x n); in each column of u the first entry of largest
///               magnitude is positive
/// \throws shape_error if the argument is not a matrix or is empty; argument_error for NaN or infinity;
///         solver_error if LAPACK does not converge
///
/// Cost: about 6 m n k flops + 20 k^3; memory for one copy of A and LAPACK's workspace. Never forms a square m x m or n
/// x n factor.
/// Source: Golub & Van Loan 2013, Sec. 8.6; LAPACK gesdd.
/// \snippet tests/unit/linalg.cpp thin_svd
template <execution_policy Policy, any_tensor Matrix>
auto thin_svd(const Policy& policy, const Matrix& matrix) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "thin_svd", [&](matrix_view<const T, space> a) {
        const std::size_t k = std::min(a.rows, a.columns);
        const auto scratch = detail::scratch_copy(policy, a);
        auto values = policy.template allocate<T>(k);
        svd_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({a.rows, k}), {},
                                                       policy.template make_tensor<T, 2>({k, a.columns})};
        const auto u = row_major<T, space>(result.u.data(), a.rows, k);
        const auto vt = row_major<T, space>(result.vt.data(), k, a.columns);
        policy.template svd<T>(row_major<T, space>(scratch.data(), a.rows, a.columns), values.data(), u, vt);
        detail::fix_signs(policy, u, vt);
        result.singular_values = detail::to_vector<Policy, T>(policy, values.data(), k);
        return result;
    });
}

template <any_tensor Matrix>
auto thin_svd(const Matrix& matrix) {
    return thin_svd(cpu_policy{}, matrix);
}

/// Options of eigh.
struct eigh_options {
    /// Eigenvectors wanted, those of the largest eigenvalues; more than there are means all.
    std::size_t count = static_cast<std::size_t>(-1);
};

/// Eigenvalues of a symmetric matrix and the eigenvectors of the largest, A v = lambda v.
///
/// \param policy  where to compute
/// \param matrix  n x n, symmetric (one triangle is read), finite
/// \param options how many vectors
/// \return        values (all n, descending), vectors (n x count)
/// \throws shape_error if the matrix is not square or is empty; argument_error for NaN or infinity; solver_error
///
/// Cost: 4/3 n^3 flops for the values, 2 n^2 count more for the vectors when fewer than a quarter are wanted, otherwise
/// about 4 n^3; memory for one copy of A and the vectors.
/// Source: Golub & Van Loan 2013, Ch. 8; LAPACK sytrd with sterf and stemr (stedc where that gives up), or syevd.
/// \snippet tests/unit/linalg.cpp eigh
template <execution_policy Policy, any_tensor Matrix>
auto eigh(const Policy& policy, const Matrix& matrix, const eigh_options& options = {}) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "eigh", [&](matrix_view<const T, space> a) {
        detail::require<shape_error>(a.rows == a.columns, "eigh: a matrix of ", a.rows, " x ", a.columns, " (expected a square one)");
        const std::size_t count = std::min(a.rows, options.count);
        const auto scratch = detail::scratch_copy(policy, a);
        auto values = policy.template allocate<T>(a.rows);
        auto columns = policy.template allocate<T>(a.rows * count);
        const auto vectors = column_major<T, space>(columns.data(), a.rows, count);
        policy.template eigh<T>(row_major<T, space>(scratch.data(), a.rows, a.rows), values.data(), vectors);
        detail::fix_signs(policy, vectors);
        eigh_result<policy_tensor<Policy, T, 2>> result{detail::to_vector<Policy, T>(policy, values.data(), a.rows),
                                                        policy.template make_tensor<T, 2>({a.rows, count})};
        policy.template copy<T>(vectors, row_major<T, space>(result.vectors.data(), a.rows, count));
        return result;
    });
}

template <any_tensor Matrix>
auto eigh(const Matrix& matrix, const eigh_options& options = {}) {
    return eigh(cpu_policy{}, matrix, options);
}

/// Thin QR factorization, A = Q R, of a matrix with at least as many rows as columns.
///
/// \param policy where to compute
/// \param matrix m x n, m >= n, finite
/// \return       q (m x n), r (n x n, upper triangular, diagonal not negative, so that it is unique for full rank)
/// \throws shape_error if m < n or the matrix is empty; argument_error for NaN or infinity
///
/// Cost: 4 m n^2 - 4/3 n^3 flops; no memory beyond the result and LAPACK's workspace.
/// Source: Golub & Van Loan 2013, Sec. 5.2; LAPACK geqrf (gelqf of the transpose, which is how row-major A lies).
/// \snippet tests/unit/linalg.cpp qr
template <execution_policy Policy, any_tensor Matrix>
auto qr(const Policy& policy, const Matrix& matrix) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "qr", [&](matrix_view<const T, space> a) {
        detail::require<shape_error>(a.rows >= a.columns, "qr: a matrix of ", a.rows, " x ", a.columns, " (expected rows >= columns)");
        qr_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({a.rows, a.columns}),
                                                      policy.template make_tensor<T, 2>({a.columns, a.columns})};
        policy.copy(a.data, result.q.data(), a.rows * a.columns);
        policy.template qr<T>(row_major<T, space>(result.q.data(), a.rows, a.columns),
                              row_major<T, space>(result.r.data(), a.columns, a.columns));
        policy.transform(a.columns, detail::make_diagonal_positive<T>{result.q.data(), result.r.data(), a.rows, a.columns}, a.rows);
        return result;
    });
}

template <any_tensor Matrix>
auto qr(const Matrix& matrix) {
    return qr(cpu_policy{}, matrix);
}

/// Solution X of A X = B for a symmetric positive definite A, by Cholesky.
///
/// \param policy where to compute
/// \param matrix n x n, symmetric (one triangle is read), finite
/// \param right  n x k
/// \return       n x k
/// \throws shape_error if the extents do not fit; argument_error for NaN or infinity; solver_error if A is not positive
///         definite (ridge_solve handles that case)
///
/// Cost: n^3 / 3 + 2 n^2 k flops; memory for one copy of A.
/// Source: Golub & Van Loan 2013, Sec. 4.2.
/// \snippet tests/unit/linalg.cpp cholesky_solve
template <execution_policy Policy, any_tensor Matrix, any_tensor Right>
auto cholesky_solve(const Policy& policy, const Matrix& matrix, const Right& right) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Right>>, "moden: cholesky_solve with matrices of different type");
    return detail::with_finite_matrix(policy, matrix, "cholesky_solve", [&](matrix_view<const T, space> a) {
        return detail::with_finite_matrix(policy, right, "cholesky_solve", [&](matrix_view<const T, space> b) {
            detail::require<shape_error>(a.rows == a.columns && a.rows == b.rows, "cholesky_solve: matrices of ", a.rows, " x ",
                                         a.columns, " and ", b.rows, " x ", b.columns, " (expected n x n and n x k)");
            const auto scratch = detail::scratch_copy(policy, a);
            auto result = policy.template make_tensor<T, 2>({b.rows, b.columns});
            policy.copy(b.data, result.data(), b.rows * b.columns);
            const definiteness found = policy.template cholesky_solve<T>(row_major<T, space>(scratch.data(), a.rows, a.rows),
                                                                         row_major<T, space>(result.data(), b.rows, b.columns));
            detail::require<solver_error>(found == definiteness::positive_definite, "cholesky_solve: the ", a.rows, " x ",
                                          a.rows, " matrix is not positive definite");
            return result;
        });
    });
}

template <any_tensor Matrix, any_tensor Right>
auto cholesky_solve(const Matrix& matrix, const Right& right) {
    return cholesky_solve(cpu_policy{}, matrix, right);
}

/// Options of ridge_solve.
struct ridge_options {
    double ridge = 0;  ///< lambda >= 0
};

/// Ridge regression, the X that minimises |A X - B|^2 + lambda |X|^2, by the normal equations (A'A + lambda I) X = A'B.
///
/// The condition number is squared; with lambda = 0 and A of deficient rank the equations are shifted by about
/// eps |A'A|, which picks a short solution.
///
/// \param policy  where to compute
/// \param matrix  m x n, finite
/// \param right   m x k, finite
/// \param options lambda
/// \return        n x k
/// \throws shape_error if the extents do not fit; argument_error for a negative lambda, NaN or infinity
///
/// Cost: m n^2 + 2 m n k + n^3 / 3 flops; memory for two n x n matrices.
/// Source: Hoerl & Kennard 1970; Golub & Van Loan 2013, Sec. 6.1.
/// \snippet tests/unit/linalg.cpp ridge_solve
template <execution_policy Policy, any_tensor Matrix, any_tensor Right>
auto ridge_solve(const Policy& policy, const Matrix& matrix, const Right& right, const ridge_options& options = {}) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Right>>, "moden: ridge_solve with matrices of different type");
    detail::require<argument_error>(options.ridge >= 0 && std::isfinite(options.ridge), "ridge_solve: ridge ", options.ridge,
                                    " (expected a finite value of at least 0)");
    return detail::with_finite_matrix(policy, matrix, "ridge_solve", [&](matrix_view<const T, space> a) {
        return detail::with_finite_matrix(policy, right, "ridge_solve", [&](matrix_view<const T, space> b) {
            detail::require<shape_error>(a.rows == b.rows, "ridge_solve: matrices of ", a.rows, " x ", a.columns, " and ", b.rows,
                                         " x ", b.columns, " (expected equal numbers of rows)");
            const std::size_t n = a.columns;
            auto gram = policy.template allocate<T>(n * n);
            policy.template syrk<T>(T(1), transposed(a), T(0), row_major<T, space>(gram.data(), n, n));
            policy.transform(n, detail::add_to_diagonal<T>{gram.data(), n, static_cast<T>(options.ridge)});
            auto result = policy.template make_tensor<T, 2>({n, b.columns});
            const auto x = row_major<T, space>(result.data(), n, b.columns);
            policy.template gemm<T>(T(1), transposed(a), b, T(0), x);
            detail::solve_semidefinite<Policy, T, space>(policy, row_major<const T, space>(gram.data(), n, n), x);
            return result;
        });
    });
}

template <any_tensor Matrix, any_tensor Right>
auto ridge_solve(const Matrix& matrix, const Right& right, const ridge_options& options = {}) {
    return ridge_solve(cpu_policy{}, matrix, right, options);
}

}  // namespace moden
