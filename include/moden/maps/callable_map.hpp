#pragma once

// A map from functions that somebody already has.

#include <cstddef>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

/// A map of three callables, for functions and derivatives that exist already: a renderer, a network of another library.
///
/// `value(policy, x)` returns f(x), `jvp(policy, x, tangents)` the rows J t, `vjp(policy, x, cotangents)` the rows J' u; see
/// differentiable_map for their types; on the host other layouts, expressions and element types are converted. What comes back is checked for its shape
/// at every call, its values by check_derivatives.
/// Satisfies differentiable_map.
///
/// Source: 001 section 6.2, Eqs. 6.26-6.29.
/// \snippet tests/spectral/maps.cpp callable_map
template <class Value, class Jvp, class Vjp>
class callable_map {
public:
    /// \param input_size   n
    /// \param output_size  m
    /// \param value        (policy, x) -> m numbers
    /// \param jvp          (policy, x, k x n) -> k x m
    /// \param vjp          (policy, x, k x m) -> k x n
    /// \throws argument_error if n or m is 0
    callable_map(std::size_t input_size, std::size_t output_size, Value value, Jvp jvp, Vjp vjp)
        : input_size_(input_size), output_size_(output_size), value_(std::move(value)), jvp_(std::move(jvp)), vjp_(std::move(vjp)) {
        detail::require<argument_error>(input_size > 0 && output_size > 0, "callable_map: from ", input_size, " to ", output_size,
                                        " numbers (expected at least 1 each)");
    }

    std::size_t input_size() const { return input_size_; }
    std::size_t output_size() const { return output_size_; }

    /// \throws shape_error if the callable returns anything but m numbers
    template <class Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        auto&& result = value_(policy, x);
        detail::check_map_vector(detail::shape_of(result), output_size_, "callable_map::value", "the result");
        return policy_tensor<Policy, value_type_of<Point>, 1>(std::forward<decltype(result)>(result));
    }

    /// \throws shape_error if the callable does not return one row of m numbers per tangent
    template <class Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        auto&& result = jvp_(policy, x, tangents);
        check_rows(detail::shape_of(result), detail::shape_of(tangents), output_size_, "callable_map::jvp");
        return policy_tensor<Policy, value_type_of<Point>, 2>(std::forward<decltype(result)>(result));
    }

    /// \throws shape_error if the callable does not return one row of n numbers per cotangent
    template <class Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        auto&& result = vjp_(policy, x, cotangents);
        check_rows(detail::shape_of(result), detail::shape_of(cotangents), input_size_, "callable_map::vjp");
        return policy_tensor<Policy, value_type_of<Point>, 2>(std::forward<decltype(result)>(result));
    }

private:
    static void check_rows(const extents& shape, const extents& argument, std::size_t columns, const char* function) {
        detail::require<shape_error>(shape.size() == 2 && argument.size() == 2 && shape[0] == argument[0] && shape[1] == columns, function,
                                     ": the result has the shape ", shape, " for an argument of the shape ", argument, " (expected k x ", columns,
                                     ")");
    }

    std::size_t input_size_, output_size_;
    Value value_;
    Jvp jvp_;
    Vjp vjp_;
};

}  // namespace moden
