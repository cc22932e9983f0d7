#pragma once

// Leading singular triplets of a matrix: randomised range finder and SVD, and block Krylov SVD.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/detail/panels.hpp>

namespace moden {

/// Options of randomized_range and randomized_svd.
struct randomized_options {
    std::size_t rank = 0;              ///< k, 1 <= k <= min(m, n), required
    std::size_t oversampling = 10;     ///< columns sketched beyond k
    std::size_t power_iterations = 2;  ///< passes that sharpen the spectrum; 0 for fast decay, more for flat spectra
    std::uint64_t seed = 0;            ///< same seed, same result, on every policy up to rounding
};

/// Options of block_krylov_svd.
struct krylov_options {
    std::size_t rank = 0;              ///< k, 1 <= k <= min(m, n), required
    std::size_t block = 0;             ///< columns per block; 0: k + 4
    double tolerance = 1e-6;           ///< stop when |A v_i - s_i u_i| <= tolerance s_0 for all i < k
    std::size_t max_iterations = 20;   ///< blocks; the basis holds block * max_iterations columns at most
    std::uint64_t seed = 0;            ///< of the random start
    iteration_callback progress = {};  ///< (iteration, largest residual relative to s_0) -> keep going?
};

/// Leading singular triplets and how good they are.
template <class Matrix>
struct krylov_result : svd_result<Matrix> {
    std::vector<double> residuals;  ///< |A v_i - s_i u_i|; the other residual, |A' u_i - s_i v_i|, is zero up to rounding
    iteration_status status = iteration_status::reached_max_iterations;
    std::size_t iterations = 0;
};

namespace detail {

inline void check_rank(std::size_t rank, std::size_t rows, std::size_t columns, const char* function) {
    require<argument_error>(rank >= 1 && rank <= std::min(rows, columns), function, ": rank ", rank, " of a matrix of ", rows,
                            " x ", columns, " (expected 1 to ", std::min(rows, columns), ")");
}

/// From an orthonormal basis Q (m x l) and Z = A' Q (n x l, destroyed), both column-major, to the leading k singular
/// triplets of Q Q' A.
template <class Policy, class T, class Space>
auto svd_from_basis(const Policy& policy, matrix_view<const T, Space> basis, matrix_view<T, Space> z, std::size_t k) {
    const std::size_t l = basis.columns;
    const std::size_t columns = z.rows;
    const std::size_t smaller = std::min(columns, l);
    auto values = policy.template allocate<T>(smaller);  // Z = V S P', hence Q Q' A = (Q P) S V'
    auto v = policy.template allocate<T>(columns * smaller);
    auto pt = policy.template allocate<T>(smaller * l);
    policy.template svd<T>(z, values.data(), column_major<T, Space>(v.data(), columns, smaller),
                           column_major<T, Space>(pt.data(), smaller, l));
    svd_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({basis.rows, k}),
                                                   to_vector<Policy, T>(policy, values.data(), k),
                                                   policy.template make_tensor<T, 2>({k, columns})};
    const auto u = row_major<T, Space>(result.u.data(), basis.rows, k);
    const auto vt = row_major<T, Space>(result.vt.data(), k, columns);
    policy.template gemm<T>(T(1), basis, transposed(rows_of(column_major<const T, Space>(pt.data(), smaller, l), 0, k)), T(0), u);
    policy.template copy<T>(transposed(column_major<const T, Space>(v.data(), columns, k)), vt);
    fix_signs(policy, u, vt);
    return result;
}

template <class T>
struct scaled_column_difference {
    const T* product;  // A V, row-major rows x columns
    const T* u;
    const T* values;
    std::size_t rows;
    std::size_t columns;
    T* norms;
    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        double sum = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const double x = static_cast<double>(product[i * columns + j]) -
                             static_cast<double>(values[j]) * static_cast<double>(u[i * columns + j]);
            sum += x * x;
        }
        norms[j] = static_cast<T>(std::sqrt(sum));
    }
};

/// |A v_i - s_i u_i| for every triplet.
template <class Policy, class T, class Space, class Result>
std::vector<double> triplet_residuals(const Policy& policy, matrix_view<const T, Space> a, const Result& result) {
    const std::size_t k = result.singular_values.size();
    auto product = policy.template allocate<T>(a.rows * k);
    policy.template gemm<T>(T(1), a, transposed(row_major<const T, Space>(result.vt.data(), k, a.columns)), T(0),
                            row_major<T, Space>(product.data(), a.rows, k));
    auto values = policy.template allocate<T>(k);
    policy.upload(result.singular_values.data(), values.data(), k);
    auto norms = policy.template allocate<T>(k);
    policy.transform(k, scaled_column_difference<T>{product.data(), result.u.data(), values.data(), a.rows, k, norms.data()}, a.rows);
    const std::vector<T> found = to_vector<Policy, T>(policy, norms.data(), k);
    return {found.begin(), found.end()};
}

/// W <- (I - Q Q') W, twice, then orthonormalised: a block that is orthogonal to Q to working precision.
template <class Policy, class T, class Space>
void orthonormalize_against(const Policy& policy, matrix_view<const T, Space> q, matrix_view<T, Space> w) {
    auto coefficients = policy.template allocate<T>(std::max<std::size_t>(q.columns, 1) * w.columns);
    for (int pass = 0; pass < 2; ++pass) {
        if (q.columns > 0) {
            const auto c = column_major<T, Space>(coefficients.data(), q.columns, w.columns);
            policy.template gemm<T>(T(1), transposed(q), w, T(0), c);
            policy.template gemm<T>(T(-1), q, c, T(1), w);
        }
        policy.template qr<T>(w, matrix_view<T, Space>{});
    }
}

}  // namespace detail

/// Orthonormal basis of an approximate range of a matrix: |A - Q Q' A| is close to the best possible with as many columns.
///
/// \param policy  where to compute
/// \param matrix  m x n, finite
/// \param options rank, oversampling, power iterations, seed
/// \return        Q, m x l with l = min(rank + oversampling, m, n)
/// \throws shape_error if the argument is not a matrix or is empty; argument_error for a rank out of range, NaN or infinity
///
/// Cost: (2 + 4 q) m n l flops and 1 + q QR factorizations of m x l, q power iterations; memory for two m x l matrices
/// and a sketch of n x l or about a million elements, whichever is less.
/// Source: Halko, Martinsson & Tropp 2011, Algs. 4.1 and 4.4.
/// \snippet tests/unit/linalg.cpp randomized_range
template <execution_policy Policy, any_tensor Matrix>
auto randomized_range(const Policy& policy, const Matrix& matrix, const randomized_options& options) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "randomized_range", [&](matrix_view<const T, space> a) {
        detail::check_rank(options.rank, a.rows, a.columns, "randomized_range");
        const std::size_t l = std::min({options.rank + options.oversampling, a.rows, a.columns});
        const auto basis = detail::random_range<T>(policy, detail::matrix_panels<T, space>{a},
                                                   detail::sketch_options{l, options.power_iterations, options.seed});
        auto result = policy.template make_tensor<T, 2>({a.rows, l});
        policy.template copy<T>(column_major<const T, space>(basis.data(), a.rows, l), row_major<T, space>(result.data(), a.rows, l));
        return result;
    });
}

template <any_tensor Matrix>
auto randomized_range(const Matrix& matrix, const randomized_options& options) {
    return randomized_range(cpu_policy{}, matrix, options);
}

/// The k leading singular triplets, by a randomised range finder: fast, with an error that depends on the spectrum.
///
/// \param policy  where to compute
/// \param matrix  m x n, finite
/// \param options rank, oversampling, power iterations, seed
/// \return        u (m x k), singular_values (k), vt (k x n)
/// \throws error as randomized_range
///
/// Cost: (4 + 4 q) m n l flops, l = rank + oversampling, and QR and SVD of matrices of l columns; memory for up to
/// three matrices of m x l and three of n x l.
/// Source: Halko, Martinsson & Tropp 2011, Alg. 5.1.
/// \snippet tests/unit/linalg.cpp randomized_svd
template <execution_policy Policy, any_tensor Matrix>
auto randomized_svd(const Policy& policy, const Matrix& matrix, const randomized_options& options) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "randomized_svd", [&](matrix_view<const T, space> a) {
        detail::check_rank(options.rank, a.rows, a.columns, "randomized_svd");
        const std::size_t l = std::min({options.rank + options.oversampling, a.rows, a.columns});
        const auto basis = detail::random_range<T>(policy, detail::matrix_panels<T, space>{a},
                                                   detail::sketch_options{l, options.power_iterations, options.seed});
        const auto q = column_major<const T, space>(basis.data(), a.rows, l);
        auto across = policy.template allocate<T>(a.columns * l);
        const auto z = column_major<T, space>(across.data(), a.columns, l);
        policy.template gemm<T>(T(1), transposed(a), q, T(0), z);
        return detail::svd_from_basis<Policy, T, space>(policy, q, z, options.rank);
    });
}

template <any_tensor Matrix>
auto randomized_svd(const Matrix& matrix, const randomized_options& options) {
    return randomized_svd(cpu_policy{}, matrix, options);
}

/// The k leading singular triplets to a stated accuracy, by a block Krylov method with full reorthogonalisation.
///
/// The basis grows by one block A A' Q_j per iteration until the residuals of the k leading triplets are small enough.
/// With the same number of passes over the matrix it is more accurate than randomised power iteration, since it keeps what
/// the earlier passes found.
///
/// \param policy  where to compute
/// \param matrix  m x n, finite
/// \param options rank, block size, tolerance, iterations, seed
/// \return        u, singular_values, vt, residuals, status, iterations
/// \throws error as randomized_range; argument_error for a negative tolerance or max_iterations = 0
///
/// Cost of iteration i: (4 block + 2 k) m n flops, orthogonalisation against i block columns and an SVD of n x (i block).
/// Memory: the basis Q, m x (block iterations), and four matrices of n x (block iterations): A' Q and what its SVD takes.
/// Source: Musco & Musco 2015, Alg. 2; Golub, Luk & Overton 1981.
/// \snippet tests/unit/linalg.cpp block_krylov_svd
template <execution_policy Policy, any_tensor Matrix>
auto block_krylov_svd(const Policy& policy, const Matrix& matrix, const krylov_options& options) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, matrix, "block_krylov_svd", [&](matrix_view<const T, space> a) {
        const std::size_t most = std::min(a.rows, a.columns);
        detail::check_rank(options.rank, a.rows, a.columns, "block_krylov_svd");
        detail::require<argument_error>(options.tolerance >= 0, "block_krylov_svd: tolerance ", options.tolerance, " (expected at least 0)");
        detail::require<argument_error>(options.max_iterations >= 1, "block_krylov_svd: max_iterations 0 (expected at least 1)");
        const std::size_t block = std::min(most, options.block > 0 ? options.block : options.rank + 4);
        const std::size_t capacity = std::min(most, std::max(options.rank, block * options.max_iterations));
        auto basis = policy.template allocate<T>(a.rows * capacity);
        auto across = policy.template allocate<T>(a.columns * capacity);  // A' Q; holds the random start before the first block
        krylov_result<policy_tensor<Policy, T, 2>> result;
        std::size_t held = 0;
        while (true) {
            // The first block is A Omega; each later one is A A' times the block before it. The last one may be narrower.
            const std::size_t width = std::min(block, capacity - held);
            const auto next = column_major<T, space>(basis.data() + held * a.rows, a.rows, width);
            if (held == 0) {
                fill_normal(policy, across.data(), a.columns * width, options.seed);
            }
            const T* previous = across.data() + (held == 0 ? 0 : held - block) * a.columns;
            policy.template gemm<T>(T(1), a, column_major<const T, space>(previous, a.columns, width), T(0), next);
            detail::orthonormalize_against<Policy, T, space>(policy, column_major<const T, space>(basis.data(), a.rows, held), next);
            policy.template gemm<T>(T(1), transposed(a), column_major<const T, space>(next.data, a.rows, width), T(0),
                                    column_major<T, space>(across.data() + held * a.columns, a.columns, width));
            held += width;
            ++result.iterations;
            if (held < options.rank) {
                continue;
            }
            auto copied = policy.template allocate<T>(a.columns * held);
            policy.copy(static_cast<const T*>(across.data()), copied.data(), a.columns * held);
            static_cast<svd_result<policy_tensor<Policy, T, 2>>&>(result) = detail::svd_from_basis<Policy, T, space>(
                policy, column_major<const T, space>(basis.data(), a.rows, held),
                column_major<T, space>(copied.data(), a.columns, held), options.rank);
            result.residuals = detail::triplet_residuals<Policy, T, space>(policy, a, result);
            const double largest = *std::max_element(result.residuals.begin(), result.residuals.end());
            const double scale = static_cast<double>(result.singular_values[0]);
            if (largest <= options.tolerance * scale) {
                result.status = iteration_status::converged;
                return result;
            }
            if (options.progress && !options.progress(result.iterations, largest / scale)) {
                result.status = iteration_status::stopped_by_callback;
                return result;
            }
            if (held == capacity) {
                return result;
            }
        }
    });
}

template <any_tensor Matrix>
auto block_krylov_svd(const Matrix& matrix, const krylov_options& options) {
    return block_krylov_svd(cpu_policy{}, matrix, options);
}

}  // namespace moden
