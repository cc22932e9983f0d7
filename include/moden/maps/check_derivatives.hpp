#pragma once

// Whether the derivatives of a map are those of its values.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/detail/products.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

/// What check_derivatives tries.
struct derivative_check_options {
    std::size_t directions = 3;  ///< random tangents and cotangents
    double step = 0;             ///< of the central difference, relative to |x|; 0: the cube root of the scalar's eps
    std::uint64_t seed = 0;
};

/// How far derivatives were off, relative to their size. Of correct ones `adjoint` is a few eps and `difference` about
/// eps^(2/3), more where the map has kinks.
struct derivative_check {
    double adjoint = 0;     ///< largest |<J t, u> - <t, J' u>| / (|J t| |u|)
    double difference = 0;  ///< largest |(f(x + h t) - f(x - h t)) / 2h - J t| / |J t|
};

namespace detail {

/// ((ahead - behind) / 2h - slope)^2
template <class T>
struct squared_slope_error {
    const T* ahead;
    const T* behind;
    const T* slope;
    double scale;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double error = (static_cast<double>(ahead[i]) - static_cast<double>(behind[i])) * scale - static_cast<double>(slope[i]);
        return error * error;
    }
};

}  // namespace detail

/// Compares jvp with central differences of value, and vjp with jvp, in random directions.
///
/// \param policy   where the map computes
/// \param map      any differentiable_map
/// \param x        the point, map.input_size() numbers
/// \param options  directions, step, seed
/// \return         the largest deviations; nothing is judged
/// \throws argument_error without directions or with a negative step; what the map throws
///
/// Cost: 2 values, 1 tangent and 1 cotangent per direction.
/// \snippet tests/policy/maps.cpp check_derivatives
template <execution_policy Policy, class Map, any_tensor Point>
derivative_check check_derivatives(const Policy& policy, const Map& map, const Point& x, const derivative_check_options& options = {}) {
    using T = value_type_of<Point>;
    detail::require<argument_error>(options.directions > 0 && options.step >= 0, "check_derivatives: ", options.directions,
                                    " directions, step ", options.step, " (expected at least one and no negative step)");
    const auto argument = detail::evaluate(policy, x);
    const std::size_t n = map.input_size();
    const std::size_t m = map.output_size();
    detail::check_map_vector(argument.view().shape, n, "check_derivatives", "x");
    const std::size_t k = options.directions;
    auto tangents = policy.template make_tensor<T, 2>({k, n});
    auto cotangents = policy.template make_tensor<T, 2>({k, m});
    fill_normal(policy, tangents.data(), tangents.size(), options.seed, 0);
    fill_normal(policy, cotangents.data(), cotangents.size(), options.seed, 1);
    const auto forward = detail::shaped_jvp<T>(policy, map, x, tangents, "check_derivatives");
    const auto backward = detail::shaped_vjp<T>(policy, map, x, cotangents, "check_derivatives");
    const double relative = options.step > 0 ? options.step : std::cbrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
    const double length = std::max(detail::euclidean_norm(policy, argument.view().data, n), 1.0);
    derivative_check result;
    auto point = policy.template make_tensor<T, 1>({n});
    for (std::size_t i = 0; i < k; ++i) {
        const T* tangent = tangents.data() + i * n;
        const T* slope = forward.data() + i * m;
        const double size = std::max(detail::euclidean_norm(policy, slope, m), std::numeric_limits<double>::min());
        const double step = relative * length / std::max(detail::euclidean_norm(policy, tangent, n), std::numeric_limits<double>::min());
        const auto at = [&](double where) {
            policy.transform(n, detail::scaled_sum<T>{argument.view().data, tangent, static_cast<T>(where), point.data()});
            return detail::shaped_value<T>(policy, map, point, "check_derivatives");
        };
        const auto ahead = at(step);
        const auto behind = at(-step);
        const double error = policy.reduce(m, 0.0, detail::squared_slope_error<T>{ahead.data(), behind.data(), slope, 0.5 / step},
                                           detail::plus{});
        result.difference = std::max(result.difference, std::sqrt(error) / size);
        for (std::size_t j = 0; j < k; ++j) {
            const T* cotangent = cotangents.data() + j * m;
            const double there = policy.reduce(m, 0.0, detail::product_of<T>{slope, cotangent}, detail::plus{});
            const double back = policy.reduce(n, 0.0, detail::product_of<T>{tangent, backward.data() + j * n}, detail::plus{});
            result.adjoint = std::max(result.adjoint, std::abs(there - back) / (size * detail::euclidean_norm(policy, cotangent, m)));
        }
    }
    return result;
}

}  // namespace moden
