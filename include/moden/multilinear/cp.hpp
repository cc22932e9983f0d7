#pragma once

// The canonical polyadic decomposition by alternating least squares.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/detail/cp_iteration.hpp>
#include <moden/multilinear/mttkrp.hpp>
#include <moden/multilinear/tucker.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// A tensor in CP form, X = sum_r weights(r) u_r^(0) o u_r^(1) o ... (001 Eq. 3.7 with unit vectors and weights).
template <class Matrix>
struct cp_tensor {
    std::vector<value_type_of<Matrix>> weights;  ///< R, descending, on the host
    std::vector<Matrix> factors;                 ///< U_n, I_n x R, columns of unit length
};

/// Where cp_als starts.
enum class cp_start {
    hosvd,  ///< leading left singular vectors of each unfolding, random columns where there are not enough
    random  ///< standard normal entries
};

/// Options of cp_als.
struct cp_options {
    std::size_t rank = 0;              ///< R >= 1, required
    double tolerance = 1e-8;           ///< stop when the relative error changes by less than this in one iteration; 0: never
    std::size_t max_iterations = 100;  ///< sweeps over all modes
    cp_start start = cp_start::hosvd;
    std::uint64_t seed = 0;            ///< of random starts
    iteration_callback progress = {};  ///< (iteration, relative error) -> keep going?
};

/// A CP decomposition with what is known about it. Is a cp_tensor: `weights`, `factors`.
template <class Matrix>
struct cp_result : cp_tensor<Matrix> {
    iteration_status status = iteration_status::reached_max_iterations;
    std::size_t iterations = 0;
    double relative_error = 0;             ///< |X - X^| / |X|, from the difference itself
    std::vector<double> history = {};      ///< relative error after each iteration
};

namespace detail {

inline void check_cp_options(const cp_options& options, const extents& shape) {
    require<shape_error>(!shape.empty() && element_count(shape) > 0, "cp_als: the tensor of ", shape, " is empty or of order 0");
    require<argument_error>(options.rank >= 1, "cp_als: rank ", options.rank, " (expected at least 1)");
    require<argument_error>(options.tolerance >= 0, "cp_als: tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(options.max_iterations >= 1, "cp_als: max_iterations ", options.max_iterations, " (expected at least 1)");
}

template <class Policy, class T, class Space>
auto run_cp_als(const Policy& policy, const tensor_view<const T, Space>& tensor, cp_iteration<Policy, T, Space>& iteration,
                double energy, const cp_options& options) {
    using matrix = policy_tensor<Policy, T, 2>;
    cp_result<matrix> result;
    double previous = 1;
    while (result.iterations < options.max_iterations) {
        const double error = energy > 0 ? std::sqrt(iteration.sweep(energy) / energy) : 0;
        ++result.iterations;
        result.history.push_back(error);
        if (energy == 0 || (result.iterations > 1 && std::abs(previous - error) < options.tolerance)) {
            result.status = iteration_status::converged;
            break;
        }
        if (options.progress && !options.progress(result.iterations, error)) {
            result.status = iteration_status::stopped_by_callback;
            break;
        }
        previous = error;
    }
    result.relative_error = energy > 0 ? std::sqrt(squared_cp_residual<Policy, T, Space>(policy, tensor, iteration.views()) / energy) : 0;
    result.weights = iteration.finish(result.factors);
    if (energy == 0) {  // the factors are those of the start, and nothing of them is wanted
        std::fill(result.weights.begin(), result.weights.end(), T(0));
    }
    return result;
}

}  // namespace detail

/// Canonical polyadic decomposition by alternating least squares, X ~ sum_r w_r u_r^(0) o ... o u_r^(N-1).
///
/// Each step solves for one factor exactly: U_n (H_n) = mttkrp(X, U, n) with H_n the elementwise product of the other
/// factors' Gram matrices, by Cholesky (shifted by about eps |H_n| where columns have become dependent).
///
/// \param policy  where to compute
/// \param tensor  I_0 x ... x I_{N-1}, N >= 1, finite
/// \param options rank, stopping, start
/// \return        weights, unit-length factors, status, iterations, relative error (from the difference) and its history
/// \throws shape_error for an empty tensor; argument_error for rank 0, bad options, NaN or infinity
///
/// Cost per iteration: N MTTKRPs, 2 N R prod(I) flops of GEMM. Memory beyond the result: another copy of the factors,
/// N + 2 matrices of R x R, that of mttkrp and its result; for the final error the Khatri-Rao products of two groups of
/// modes and a block of at most about 2 million elements (or one row of that unfolding); with cp_start::hosvd that of
/// hosvd's Gram matrices.
/// Source: Carroll & Chang 1970, Harshman 1970; Kolda & Bader 2009, Fig. 3.3; 001 Eq. 3.7.
/// \snippet tests/unit/cp.cpp cp_als
template <execution_policy Policy, any_tensor Tensor>
auto cp_als(const Policy& policy, const Tensor& tensor, const cp_options& options) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::check_cp_options(options, view.shape);
    const double energy = detail::require_finite(policy, view.data, view.size(), "cp_als", "the tensor");
    detail::cp_iteration<Policy, T, space> iteration(policy, view, options.rank);
    if (options.start == cp_start::hosvd) {
        iteration.start_from_singular_vectors(options.seed, energy);
    } else {
        iteration.start_at_random(options.seed);
    }
    return detail::run_cp_als<Policy, T, space>(policy, view, iteration, energy, options);
}

template <any_tensor Tensor>
auto cp_als(const Tensor& tensor, const cp_options& options) {
    return cp_als(cpu_policy{}, tensor, options);
}

/// The same from given factors, one I_n x R matrix per mode; options.rank must be R or 0, options.start is not used.
template <execution_policy Policy, any_tensor Tensor, any_tensor Matrix>
auto cp_als(const Policy& policy, const Tensor& tensor, const std::vector<Matrix>& start, cp_options options) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    using start_argument = typename tensor_traits<Matrix>::argument;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: cp_als of a tensor and factors of different type");
    detail::check_argument<Policy, Matrix>();
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    std::vector<std::unique_ptr<start_argument>> arguments;
    std::vector<matrix_view<const T, space>> views;
    for (const Matrix& factor : start) {
        arguments.push_back(std::make_unique<start_argument>(factor));
        views.push_back(detail::as_matrix(arguments.back()->view(), "cp_als", "a starting factor"));
        detail::require_finite(policy, views.back().data, views.back().rows * views.back().columns, "cp_als", "a starting factor");
    }
    const std::size_t rank = detail::check_cp_factors(views, view.shape, "cp_als");
    detail::require<argument_error>(options.rank == 0 || options.rank == rank, "cp_als: rank ", options.rank,
                                    " with starting factors of ", rank, " columns");
    options.rank = rank;
    detail::check_cp_options(options, view.shape);
    const double energy = detail::require_finite(policy, view.data, view.size(), "cp_als", "the tensor");
    detail::cp_iteration<Policy, T, space> iteration(policy, view, rank);
    iteration.start_from(views);
    return detail::run_cp_als<Policy, T, space>(policy, view, iteration, energy, options);
}

template <any_tensor Tensor, any_tensor Matrix>
auto cp_als(const Tensor& tensor, const std::vector<Matrix>& start, const cp_options& options) {
    return cp_als(cpu_policy{}, tensor, start, options);
}

/// The tensor that a CP tensor stands for.
///
/// \param policy where to compute
/// \param cp     weights and factors, as cp_als returns them
/// \return       I_0 x ... x I_{N-1}, of static order Order if given
/// \throws shape_error if weights and factors do not fit together
///
/// Cost: 2 R prod(I) flops, one GEMM. Memory beyond the result: Khatri-Rao products of two groups of modes.
/// \snippet tests/unit/cp.cpp cp_als
template <std::size_t Order = dynamic_order, execution_policy Policy, class Matrix>
auto reconstruct(const Policy& policy, const cp_tensor<Matrix>& cp) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    std::vector<matrix_view<const T, space>> factors;
    extents shape;
    for (const Matrix& factor : cp.factors) {
        factors.push_back(row_major<const T, space>(factor.data(), factor.shape()[0], factor.shape()[1]));
        shape.push_back(factor.shape()[0]);
    }
    const std::size_t rank = detail::check_cp_factors(factors, shape, "reconstruct");
    detail::require<shape_error>(cp.weights.size() == rank, "reconstruct: ", cp.weights.size(), " weights for ", rank, " columns");
    detail::require<shape_error>(Order == dynamic_order || Order == shape.size(), "reconstruct: ", shape.size(),
                                 " factors for a tensor of order ", Order);
    auto weights = policy.template allocate<T>(rank);
    policy.upload(cp.weights.data(), weights.data(), rank);
    // The weights are a factor with one row.
    const std::size_t split = (factors.size() + 1) / 2;
    std::vector<matrix_view<const T, space>> first(factors.begin(), factors.begin() + static_cast<std::ptrdiff_t>(split));
    first.push_back(row_major<const T, space>(weights.data(), 1, rank));
    const auto left = detail::khatri_rao_buffer<Policy, T, space>(policy, first, rank);
    const auto right = detail::khatri_rao_buffer<Policy, T, space>(
        policy, {factors.begin() + static_cast<std::ptrdiff_t>(split), factors.end()}, rank);
    auto result = policy.template make_tensor<T, Order>(shape);
    const std::size_t rows = element_count({shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(split)});
    const std::size_t columns = element_count({shape.begin() + static_cast<std::ptrdiff_t>(split), shape.end()});
    policy.template gemm<T>(T(1), row_major<const T, space>(left.data(), rows, rank),
                            transposed(row_major<const T, space>(right.data(), columns, rank)), T(0),
                            row_major<T, space>(result.data(), rows, columns));
    return result;
}

template <std::size_t Order = dynamic_order, class Matrix>
auto reconstruct(const cp_tensor<Matrix>& cp) {
    return reconstruct<Order>(cpu_policy{}, cp);
}

}  // namespace moden
