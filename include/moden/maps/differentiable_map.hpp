#pragma once

// Functions with derivatives that are asked for by product: what methods that never form a Jacobian work with.

#include <concepts>
#include <cstddef>
#include <utility>

#include <moden/core/execution_policy.hpp>
#include <moden/core/tensor_traits.hpp>

namespace moden {

/// A function f from n numbers to m with its Jacobian J at a point x as an operator, for blocks of vectors as rows:
///
/// - `input_size()` is n, `output_size()` is m;
/// - `value(policy, x)` is f(x), a vector of m;
/// - `jvp(policy, x, tangents)` is the rows J t of a k x n matrix of tangents: k x m;
/// - `vjp(policy, x, cotangents)` is the rows J' u of a k x m matrix of cotangents: k x n.
///
/// All tensors are policy_tensor<Policy, T, 1 or 2>. <J t, u> = <t, J' u> up to rounding, and J is the derivative of
/// `value`: check_derivatives tests both.
/// Source: 001 section 6.2, Eqs. 6.26-6.29.
template <class Map, class Policy, class T>
concept differentiable_map =
    execution_policy<Policy> && requires(const Map& map, const Policy& policy, const policy_tensor<Policy, T, 1>& x,
                                         const policy_tensor<Policy, T, 2>& block) {
        { map.input_size() } -> std::convertible_to<std::size_t>;
        { map.output_size() } -> std::convertible_to<std::size_t>;
        { map.value(policy, x) } -> std::convertible_to<policy_tensor<Policy, T, 1>>;
        { map.jvp(policy, x, block) } -> std::convertible_to<policy_tensor<Policy, T, 2>>;
        { map.vjp(policy, x, block) } -> std::convertible_to<policy_tensor<Policy, T, 2>>;
    };

namespace detail {

/// Refuses arguments of a map that do not fit, with both shapes.
inline void check_map_vector(const extents& shape, std::size_t size, const char* function, const char* name) {
    require<shape_error>(shape.size() == 1 && shape[0] == size, function, ": ", name, " has the shape ", shape,
                         " (expected a vector of ", size, ")");
}
inline void check_map_block(const extents& shape, std::size_t size, const char* function, const char* name) {
    require<shape_error>(shape.size() == 2 && shape[0] > 0 && shape[1] == size, function, ": ", name, " have the shape ", shape,
                         " (expected k x ", size, ")");
}

}  // namespace detail
}  // namespace moden
