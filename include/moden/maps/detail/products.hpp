#pragma once

// What maps return, as tensors whose memory can be read: of the expected shape, dense, and finite where that is asked for.

#include <cstddef>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>
#include <moden/core/tensor_traits.hpp>

namespace moden::detail {

/// A value or a block of products as policy_tensor<Policy, T, N>, whatever it was. `name` says whose it is in the message.
template <std::size_t N, class T, class Policy, class Product>
policy_tensor<Policy, T, N> shaped_product(Product&& product, const extents& expected, const char* function, const char* name) {
    const extents shape = shape_of(product);
    require<shape_error>(shape == expected, function, ": ", name, " has the shape ", shape, " (expected ", expected, ")");
    return policy_tensor<Policy, T, N>(std::forward<Product>(product));
}

/// f(x), J t and J' u of a map with m outputs and n inputs, for searches that may step where there are no values.
template <class T, class Policy, class Map, class Point>
auto shaped_value(const Policy& policy, const Map& map, const Point& x, const char* function, const char* name = "the map's value") {
    return shaped_product<1, T, Policy>(map.value(policy, x), {static_cast<std::size_t>(map.output_size())}, function, name);
}
template <class T, class Policy, class Map, class Point, class Block>
auto shaped_jvp(const Policy& policy, const Map& map, const Point& x, const Block& tangents, const char* function, const char* name = "the map's jvp") {
    return shaped_product<2, T, Policy>(map.jvp(policy, x, tangents), {shape_of(tangents)[0], static_cast<std::size_t>(map.output_size())}, function, name);
}
template <class T, class Policy, class Map, class Point, class Block>
auto shaped_vjp(const Policy& policy, const Map& map, const Point& x, const Block& cotangents, const char* function, const char* name = "the map's vjp") {
    return shaped_product<2, T, Policy>(map.vjp(policy, x, cotangents), {shape_of(cotangents)[0], static_cast<std::size_t>(map.input_size())}, function, name);
}

/// The same, refusing NaN and infinity.
template <class T, class Policy, class Map, class Point>
auto checked_value(const Policy& policy, const Map& map, const Point& x, const char* function, const char* name = "the map's value") {
    auto result = shaped_value<T>(policy, map, x, function, name);
    require_finite(policy, static_cast<const T*>(result.data()), result.size(), function, name);
    return result;
}
template <class T, class Policy, class Map, class Point, class Block>
auto checked_jvp(const Policy& policy, const Map& map, const Point& x, const Block& tangents, const char* function, const char* name = "the map's jvp") {
    auto result = shaped_jvp<T>(policy, map, x, tangents, function, name);
    require_finite(policy, static_cast<const T*>(result.data()), result.size(), function, name);
    return result;
}
template <class T, class Policy, class Map, class Point, class Block>
auto checked_vjp(const Policy& policy, const Map& map, const Point& x, const Block& cotangents, const char* function, const char* name = "the map's vjp") {
    auto result = shaped_vjp<T>(policy, map, x, cotangents, function, name);
    require_finite(policy, static_cast<const T*>(result.data()), result.size(), function, name);
    return result;
}

}  // namespace moden::detail
