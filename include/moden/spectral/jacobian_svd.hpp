#pragma once

// The directions in which a map changes most: leading singular triplets of its Jacobian, without the Jacobian.

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/spectral/detail/jacobian_operator.hpp>
#include <moden/spectral/detail/krylov_method.hpp>
#include <moden/spectral/detail/subspace_methods.hpp>
#include <moden/spectral/options.hpp>

namespace moden {

namespace detail {

/// Options with every 0 replaced by what it stands for, or the reason why not.
inline jacobian_svd_options resolved_options(jacobian_svd_options options, std::size_t inputs, std::size_t outputs, std::size_t start_count) {
    const std::size_t most = std::min(inputs, outputs);
    const std::size_t k = options.rank;
    require<argument_error>(k >= 1 && k <= most, "jacobian_svd: rank ", k, " of a Jacobian of ", outputs, " x ", inputs, " (expected 1 to ", most, ")");
    require<argument_error>(options.tolerance >= 0, "jacobian_svd: tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(options.max_iterations >= 1, "jacobian_svd: max_iterations 0 (expected at least 1)");
    require<argument_error>(options.basis == 0 || options.method == jacobian_method::block_krylov, "jacobian_svd: basis ", options.basis,
                            " for a method that keeps none (it belongs to block_krylov)");
    const bool all_at_once = options.method == jacobian_method::subspace_iteration;
    const std::size_t wanted = options.block;
    if (wanted == 0) {
        options.block = all_at_once ? k + 4 : std::min<std::size_t>(k, 8);
    }
    require<argument_error>(!all_at_once || options.block >= k, "jacobian_svd: a block of ", wanted, " for rank ", k,
                            " (subspace_iteration needs at least as many; sequential does not)");
    if (options.method != jacobian_method::sequential) {
        options.block = std::max(options.block, start_count);
    }
    options.block = std::min(options.block, most);
    if (options.method == jacobian_method::block_krylov) {
        const std::size_t given = options.basis;
        require<argument_error>(given == 0 || given >= std::min(most, k + options.block), "jacobian_svd: a basis of ", given, " for rank ", k,
                                " and blocks of ", options.block, " (expected at least ", k + options.block, ")");
        options.basis = std::min(most, given == 0 ? 2 * (k + options.block) : given);
    }
    if (options.method == jacobian_method::sequential && options.batch == 0) {
        options.batch = options.block;  // the last step, on all k vectors, must not take more than the others
    }
    return options;
}

template <class Policy, class T, class Map>
auto run_jacobian_svd(const Policy& policy, const Map& map, const T* x, const T* start, std::size_t start_count, const jacobian_svd_options& given) {
    using space = typename Policy::memory_space;
    const char* const function = "jacobian_svd";
    const std::size_t n = map.input_size(), m = map.output_size(), k = given.rank;
    const jacobian_svd_options options = resolved_options(given, n, m, start_count);
    jacobian_operator<Policy, T, Map> jacobian(policy, map, x, options.batch, function);
    using triplets = found_triplets<Policy, T>;
    const triplets found = [&]() -> triplets {
        switch (options.method) {
        case jacobian_method::subspace_iteration:
            return subspace_iteration<Policy, T>(policy, jacobian, options.block, start, start_count, options, function);
        case jacobian_method::sequential:
            return sequential_search<Policy, T, jacobian_operator<Policy, T, Map>>(policy, jacobian, options.block, options, function).run(start, start_count);
        default:
            return krylov_basis<Policy, T, jacobian_operator<Policy, T, Map>>(policy, jacobian, options.block, options.basis, options, function)
                .run(start, start_count);
        }
    }();
    jacobian_svd_result<policy_tensor<Policy, T, 2>> result{
        {policy.template make_tensor<T, 2>({m, k}), found.values, policy.template make_tensor<T, 2>({k, n})}, found.residuals};
    const auto u = row_major<T, space>(result.u.data(), m, k);
    const auto vt = row_major<T, space>(result.vt.data(), k, n);
    policy.template copy<T>(column_major<const T, space>(found.u.data(), m, k), u);
    policy.copy(static_cast<const T*>(found.v.data()), result.vt.data(), k * n);
    fix_signs(policy, u, vt);
    result.status = found.zero        ? spectral_status::zero_jacobian
                    : found.converged ? spectral_status::converged
                    : found.stopped   ? spectral_status::stopped_by_callback
                                      : spectral_status::reached_max_iterations;
    result.iterations = found.iterations;
    result.jvp_count = jacobian.tangents();
    result.vjp_count = jacobian.cotangents();
    result.map_calls = jacobian.calls();
    return result;
}

}  // namespace detail

/// The k leading singular triplets of a map's Jacobian at a point, J ~ U diag(s) V', from products J t and J' u alone: V' holds the
/// directions in which the map changes most, s how much, U what changes.
///
/// All methods stop when |J' u_i - s_i v_i| <= tolerance s_0 for i < k, which bounds the error of every s_i by as much, and that of
/// the directions by it over the distance to the next singular value; all give the same triplets up to that. A masked Jacobian is that of
/// a masked_map, and many zero inputs those of a composed_map with a matrix before it.
///
/// \param policy  where to compute
/// \param map     a differentiable_map from n to m numbers
/// \param x       the point, n numbers
/// \param options rank, method, block and batch sizes, stopping
/// \return        u (m x k), singular_values, vt (k x n, a row per direction), residuals, status, and how many tangents and cotangents it took
/// \throws shape_error if x does not fit; argument_error for options out of range, an x that is not finite, NaN or infinity
///         from the map, and (adjoint_check::verify) a vjp that is not the adjoint of jvp, with both sides of the equation
///
/// A block_krylov basis that turns out to be invariant (a J of low rank, exact repetitions, an exact start) is held against three more blocks.
///
/// block_krylov goes past max_iterations, or a callback's stop, until its basis holds k vectors: at least k / block blocks, beside one whose start
/// lay in the null space. Residuals are those of products that were taken; where rounding keeps them above the tolerance (1e-7 in float), the
/// status is reached_max_iterations, though there may be iterations left that would change nothing.
///
/// Cost: iterations x block tangents and cotangents (block_krylov: k of both at the end, which say the residuals, steps of all k should these
/// be above the tolerance, and once more as many tangents as the start has rows where J is wide;
/// sequential: k cotangents at the end, and steps of all k should errors have added up), and for each iteration products and QR or SVD of
/// (m + n) x block against the basis. Memory beyond the result: block_krylov up to 2 (m + n) basis, subspace_iteration 2 m block + 3 n block + (m + n) k,
/// sequential that with its narrower block and (m + n) k more; and what the map needs for `batch` vectors.
/// Source: Paper V Algorithms 1 and 2 and Eqs. 6-9 (U and S from the J V that is kept, as the errata say); Baglama & Reichel 2006.
/// \snippet tests/spectral/jacobian_svd.cpp jacobian_svd
template <execution_policy Policy, class Map, any_tensor Point>
auto jacobian_svd(const Policy& policy, const Map& map, const Point& x, const jacobian_svd_options& options) {
    using T = value_type_of<Point>;
    const auto point = detail::evaluate(policy, x);
    detail::check_map_point(policy, point.view(), map.input_size(), "jacobian_svd");
    return detail::run_jacobian_svd<Policy, T>(policy, map, point.view().data, nullptr, 0, options);
}

template <class Map, any_tensor Point>
    requires(!execution_policy<Map>)
auto jacobian_svd(const Map& map, const Point& x, const jacobian_svd_options& options) {
    return jacobian_svd(cpu_policy{}, map, x, options);
}

/// The same from given directions, l x n, l up to min(m, n): the vt of a neighbouring point, or of a call that has stopped. Rows need not
/// be orthonormal. Fewer than a block are joined by random ones; where there are more, the block grows (sequential takes them in turn).
/// \throws shape_error if the start does not fit; argument_error for NaN or infinity in it, beside what the other overload throws
/// \snippet tests/spectral/jacobian_svd.cpp warm_start
template <execution_policy Policy, class Map, any_tensor Point, any_tensor Start>
auto jacobian_svd(const Policy& policy, const Map& map, const Point& x, const Start& start, const jacobian_svd_options& options) {
    using T = value_type_of<Point>;
    static_assert(std::is_same_v<T, value_type_of<Start>>, "moden: jacobian_svd with a point and a start of different type");
    const auto point = detail::evaluate(policy, x);
    detail::check_map_point(policy, point.view(), map.input_size(), "jacobian_svd");
    const auto given = detail::evaluate(policy, start);
    const extents& shape = given.view().shape;
    const std::size_t most = std::min(map.input_size(), map.output_size());
    detail::require<shape_error>(shape.size() == 2 && shape[0] >= 1 && shape[0] <= most && shape[1] == map.input_size(), "jacobian_svd: a start of ",
                                 shape, " (expected 1 to ", most, " rows of ", map.input_size(), ")");
    detail::require_finite(policy, given.view().data, given.view().size(), "jacobian_svd", "the start");
    return detail::run_jacobian_svd<Policy, T>(policy, map, point.view().data, given.view().data, shape[0], options);
}

template <class Map, any_tensor Point, any_tensor Start>
    requires(!execution_policy<Map>)
auto jacobian_svd(const Map& map, const Point& x, const Start& start, const jacobian_svd_options& options) {
    return jacobian_svd(cpu_policy{}, map, x, start, options);
}

}  // namespace moden
