#pragma once

// One map after another.

#include <cstddef>

#include <moden/core/tensor_traits.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

/// f(x) = outer(inner(x)), with J t = J_outer (J_inner t) and J' u = J_inner' (J_outer' u).
///
/// Satisfies differentiable_map where both maps do; longer chains are compositions of compositions.
/// Source: the chain rule; 001 section 6.2 has the generator after its mapping network.
/// \snippet tests/policy/maps.cpp composed_map
template <class Outer, class Inner>
class composed_map {
public:
    /// \param outer applied last; kept by reference, must outlive this
    /// \param inner applied first; kept by reference, must outlive this
    /// \throws shape_error unless inner.output_size() is outer.input_size()
    composed_map(const Outer& outer, const Inner& inner) : outer_(&outer), inner_(&inner) {
        detail::require<shape_error>(static_cast<std::size_t>(inner.output_size()) == static_cast<std::size_t>(outer.input_size()),
                                     "composed_map: the inner map gives ", inner.output_size(), " numbers (expected ", outer.input_size(),
                                     ", which the outer one takes)");
    }

    composed_map(const Outer&&, const Inner&) = delete;
    composed_map(const Outer&, const Inner&&) = delete;
    composed_map(const Outer&&, const Inner&&) = delete;

    std::size_t input_size() const { return inner_->input_size(); }
    std::size_t output_size() const { return outer_->output_size(); }

    /// outer(inner(x)).
    /// \param policy where both maps compute
    /// \param x      input_size() numbers
    template <class Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        return outer_->value(policy, inner_->value(policy, x));
    }

    /// J t for every row t of the tangents.
    /// \param policy   where both maps compute
    /// \param x        the point
    /// \param tangents k x input_size()
    template <class Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        const auto between = inner_->value(policy, x);
        return outer_->jvp(policy, between, inner_->jvp(policy, x, tangents));
    }

    /// J' u for every row u of the cotangents.
    /// \param policy     where both maps compute
    /// \param x          the point
    /// \param cotangents k x output_size()
    template <class Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        const auto between = inner_->value(policy, x);
        return inner_->vjp(policy, x, outer_->vjp(policy, between, cotangents));
    }

private:
    const Outer* outer_;
    const Inner* inner_;
};

}  // namespace moden
