#pragma once

// A map of which only some outputs count.

#include <cstddef>
#include <type_traits>
#include <utility>

#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/detail/products.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

namespace detail {

/// Rows of values times weights, to result.
template <class T>
struct weigh_rows {
    const T* values;
    const T* weights;
    T* result;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            result[row * columns + c] = weights[c] * values[row * columns + c];
        }
    }
};

}  // namespace detail

/// diag(m) f: outputs weighted by a mask m, usually 0 and 1, so that J' J is that of a region.
///
/// Satisfies differentiable_map where Map does.
/// Source: 001 Paper V Eq. 9.
/// \snippet tests/policy/maps.cpp masked_map
template <class Map, class Mask>
class masked_map {
public:
    using T = value_type_of<Mask>;

    /// \param policy  where the map computes
    /// \param map     f; kept by reference, must outlive this
    /// \param mask    f.output_size() weights, of the policy's memory
    /// \throws shape_error if the mask does not fit
    template <execution_policy Policy>
    masked_map(const Policy& policy, const Map& map, const Mask& mask)
        : map_(&map), mask_(policy.template make_tensor<T, 1>({map.output_size()})) {
        const auto argument = detail::evaluate(policy, mask);
        detail::check_map_vector(argument.view().shape, map.output_size(), "masked_map", "the mask");
        policy.copy(argument.view().data, mask_.data(), mask_.size());
    }

    template <execution_policy Policy>
    masked_map(const Policy&, const Map&&, const Mask&) = delete;

    std::size_t input_size() const { return map_->input_size(); }
    std::size_t output_size() const { return map_->output_size(); }

    template <class Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        auto result = detail::shaped_value<T>(policy, *map_, x, "masked_map::value");
        weigh(policy, result.data(), 1, result.data());
        return result;
    }

    template <class Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        auto result = detail::shaped_jvp<T>(policy, *map_, x, tangents, "masked_map::jvp");
        weigh(policy, result.data(), result.shape()[0], result.data());
        return result;
    }

    template <class Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        const auto argument = detail::evaluate(policy, cotangents);
        detail::check_map_block(argument.view().shape, output_size(), "masked_map::vjp", "the cotangents");
        auto weighted = policy.template make_tensor<T, 2>(argument.view().shape);
        weigh(policy, argument.view().data, argument.view().shape[0], weighted.data());
        return map_->vjp(policy, x, weighted);
    }

private:
    template <class Policy>
    void weigh(const Policy& policy, const T* values, std::size_t rows, T* result) const {
        policy.transform_rows(rows, output_size(), detail::weigh_rows<T>{values, mask_.data(), result, output_size()});
    }

    const Map* map_;
    std::remove_cvref_t<Mask> mask_;
};

}  // namespace moden
