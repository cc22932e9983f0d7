#pragma once

// A sum of maps.

#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/detail/products.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

/// w_1 f_1 + w_2 f_2 + ..., with the derivatives of a sum: J = w_1 J_1 + w_2 J_2 + ...
///
/// A weight of -1 makes the difference of two maps, and J' J of a sum is not the sum of the J' J. Satisfies
/// differentiable_map where all of Maps do.
///
/// Cost: that of all maps, and one pass over each result but the first.
/// Source: 001 section 6.2 (the Jacobians that its methods take).
/// \snippet tests/spectral/maps.cpp summed_map
template <class... Maps>
class summed_map {
    static_assert(sizeof...(Maps) >= 1, "moden: summed_map without maps");

public:
    /// \param maps  f_1, f_2, ...; kept by reference, must outlive this. All weights are 1
    /// \throws shape_error if the maps differ in size
    explicit summed_map(const Maps&... maps) : maps_(&maps...) {
        weights_.fill(1);
        check();
    }

    /// \param weights  w_1, w_2, ...
    /// \param maps     f_1, f_2, ...; kept by reference, must outlive this
    /// \throws shape_error if the maps differ in size
    explicit summed_map(const std::array<double, sizeof...(Maps)>& weights, const Maps&... maps) : maps_(&maps...), weights_(weights) { check(); }

    template <class... Given>
        requires(std::is_same_v<std::remove_cvref_t<Given>, Maps> && ...) && (!std::is_lvalue_reference_v<Given> || ...)
    explicit summed_map(Given&&...) = delete;
    template <class... Given>
        requires(std::is_same_v<std::remove_cvref_t<Given>, Maps> && ...) && (!std::is_lvalue_reference_v<Given> || ...)
    explicit summed_map(const std::array<double, sizeof...(Maps)>&, Given&&...) = delete;

    std::size_t input_size() const { return std::get<0>(maps_)->input_size(); }
    std::size_t output_size() const { return std::get<0>(maps_)->output_size(); }

    template <class Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        using T = value_type_of<Point>;
        return sum(policy, [&](const auto& map) { return detail::shaped_value<T>(policy, map, x, "summed_map::value"); });
    }
    template <class Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        using T = value_type_of<Point>;
        return sum(policy, [&](const auto& map) { return detail::shaped_jvp<T>(policy, map, x, tangents, "summed_map::jvp"); });
    }
    template <class Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        using T = value_type_of<Point>;
        return sum(policy, [&](const auto& map) { return detail::shaped_vjp<T>(policy, map, x, cotangents, "summed_map::vjp"); });
    }

private:
    void check() const {
        std::size_t position = 0;
        std::apply(
            [&](const auto*... map) {
                ((detail::require<shape_error>(map->input_size() == input_size() && map->output_size() == output_size(), "summed_map: map ", position,
                                               " leads from ", map->input_size(), " to ", map->output_size(), " numbers, map 0 from ", input_size(),
                                               " to ", output_size()),
                  ++position),
                 ...);
            },
            maps_);
    }

    template <class Policy, class Of>
    auto sum(const Policy& policy, Of of) const {
        auto result = of(*std::get<0>(maps_));
        using T = value_type_of<decltype(result)>;
        if (weights_[0] != 1) {
            policy.transform(result.size(), detail::scaled_copy<T>{result.data(), static_cast<T>(weights_[0]), result.data()});
        }
        add<1>(policy, of, result);
        return result;
    }

    template <std::size_t I, class Policy, class Of, class Result>
    void add(const Policy& policy, Of of, Result& result) const {
        if constexpr (I < sizeof...(Maps)) {
            using T = value_type_of<Result>;
            const auto next = of(*std::get<I>(maps_));
            policy.transform(result.size(), detail::scaled_sum<T>{result.data(), next.data(), static_cast<T>(weights_[I]), result.data()});
            add<I + 1>(policy, of, result);
        }
    }

    std::tuple<const Maps*...> maps_;
    std::array<double, sizeof...(Maps)> weights_{};
};

}  // namespace moden
