#pragma once

// Directions that change one region of an image and leave the rest as it is.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/generalized_eigh.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/spectral/detail/jacobian_operator.hpp>
#include <moden/spectral/detail/region_grams.hpp>

namespace moden {

/// Options of region_directions.
struct region_directions_options {
    std::size_t count = 1;         ///< k, directions wanted, 1 to n (or to the rows of the basis)
    /// Times the trace of J_b'J_b (with a basis V: of V'J_b'J_b V, the part of it that the basis sees), added to its diagonal; at least 0. Without it directions that nothing shows, inside or outside, can win.
    double regularization = 1e-3;
    /// 0: all products J t are kept, 3 n m numbers at the peak: what the map returns, a copy of it, the part of a region. Otherwise at most so many tangents at a time, at the price of two cotangents for
    /// each: 2 batch m numbers.
    std::size_t batch = 0;
};

/// Directions by how much more they change a region than its background.
template <class Matrix>
struct region_directions_result {
    Matrix directions;             ///< k x n, rows of length 1, the best first
    std::vector<double> ratios;    ///< k, |J_f d|^2 / (|J_b d|^2 + regularization trace(J_b'J_b)), what is maximised; with a basis V the trace of V'J_b'J_b V
    std::vector<double> inside;    ///< k, |J_f d|^2
    std::vector<double> outside;   ///< k, |J_b d|^2
    std::size_t jvp_count = 0;     ///< tangents that went through the map
    std::size_t vjp_count = 0;     ///< cotangents
};

namespace detail {

/// x' M x for a row-major matrix and vector i of row-major l x k coefficients, on the host.
template <class T>
double quadratic_form(const std::vector<T>& matrix, std::size_t size, const std::vector<T>& coefficients, std::size_t wanted, std::size_t i) {
    double sum = 0;
    for (std::size_t a = 0; a < size; ++a) {
        double row = 0;
        for (std::size_t b = 0; b < size; ++b) {
            row += static_cast<double>(matrix[a * size + b]) * static_cast<double>(coefficients[b * wanted + i]);
        }
        sum += row * static_cast<double>(coefficients[a * wanted + i]);
    }
    return sum;
}

template <class Policy, class T, class Map>
auto run_region_directions(const Policy& policy, const Map& map, const T* x, const T* mask, const T* basis, std::size_t count,
                           const region_directions_options& options) {
    using space = typename Policy::memory_space;
    const char* const function = "region_directions";
    const std::size_t n = map.input_size(), k = options.count;
    require<argument_error>(k >= 1 && k <= count, function, ": ", k, " directions in a space of ", count, " (expected 1 to ", count, ")");
    check_regularization(options.regularization, function);  // before any product goes through the map
    jacobian_operator<Policy, T, Map> jacobian(policy, map, x, options.batch, function);
    const auto grams = region_grams<Policy, T>::of(policy, jacobian, basis, count, mask, options.batch);
    const auto solved = solve_generalized<Policy, T, space>(policy, row_major<const T, space>(grams.inside.data(), count, count),
                                                            row_major<const T, space>(grams.outside.data(), count, count),
                                                            {.count = k, .regularization = options.regularization}, function,
                                                            "what the background shows of J, J_b'J_b,");
    region_directions_result<policy_tensor<Policy, T, 2>> result{
        directions_in_basis<Policy, T>(policy, basis, n, count, solved.vectors.data(), k), {}, {}, {}};
    const std::vector<T> inside = to_vector<Policy, T>(policy, grams.inside.data(), count * count);
    const std::vector<T> outside = to_vector<Policy, T>(policy, grams.outside.data(), count * count);
    const std::vector<T> found = to_vector<Policy, T>(policy, solved.vectors.data(), count * k);
    for (std::size_t i = 0; i < k; ++i) {
        double square = 0;
        for (std::size_t a = 0; a < count; ++a) {
            square += static_cast<double>(found[a * k + i]) * static_cast<double>(found[a * k + i]);
        }
        result.ratios.push_back(static_cast<double>(solved.values[i]));
        result.inside.push_back(quadratic_form(inside, count, found, k, i) / square);
        result.outside.push_back(quadratic_form(outside, count, found, k, i) / square);
    }
    result.jvp_count = jacobian.tangents();
    result.vjp_count = jacobian.cotangents();
    return result;
}

}  // namespace detail

/// Directions of length 1 that change a region most for what they change elsewhere: the maxima of
///
///     |J_f d|^2 / (|J_b d|^2 + r trace(J_b'J_b) |d|^2)
///
/// with J_f the rows of the Jacobian that the mask selects and J_b the others, the leading vectors of a symmetric generalised eigenproblem.
/// Each is orthogonal to those before it in the metric of the denominator, not in the plain one.
///
/// \param policy  where to compute
/// \param map     a differentiable_map from n to m numbers
/// \param x       the point, n numbers
/// \param mask    m numbers; nonzero selects
/// \param options how many directions, regularisation, batches
/// \return        directions (k x n), the ratios, squared changes inside and outside, products that it took
/// \throws shape_error if x or the mask do not fit; argument_error for a mask that selects nothing or everything, an option out of range,
///         J_b'J_b that is singular (with regularization = 0, or if the background does not change at all), NaN or infinity in an
///         argument or from the map
///
/// Cost: n tangents, 2 m n^2 flops and two eigenproblems of n x n (batch > 0: 2 n cotangents and 4 n^3 flops instead of the 2 m n^2); memory
/// as options.batch says and six n x n matrices.
/// Source: 001 Eq. 2.25 (Zhu et al. 2022, whose regularisation is the default).
/// \snippet tests/spectral/region_directions.cpp region_directions
template <execution_policy Policy, class Map, any_tensor Point, any_tensor Mask>
auto region_directions(const Policy& policy, const Map& map, const Point& x, const Mask& mask, const region_directions_options& options) {
    using T = value_type_of<Point>;
    const std::size_t n = map.input_size();
    const auto point = detail::evaluate(policy, x);
    detail::check_map_point(policy, point.view(), n, "region_directions");
    const auto region = detail::evaluate_as<T>(policy, mask);
    detail::check_region<T>(policy, region.view(), map.output_size(), "region_directions");
    const auto basis = policy.template allocate<T>(n * n);
    policy.transform(n * n, detail::fill_identity<T>{basis.data(), n});
    return detail::run_region_directions<Policy, T>(policy, map, point.view().data, region.view().data, static_cast<const T*>(basis.data()), n, options);
}

template <class Map, any_tensor Point, any_tensor Mask>
    requires(!execution_policy<Map>)
auto region_directions(const Map& map, const Point& x, const Mask& mask, const region_directions_options& options) {
    return region_directions(cpu_policy{}, map, x, mask, options);
}

/// The same among the combinations of given directions, l x n with independent rows: l tangents instead of n. The leading vt of jacobian_svd for a
/// latent space of thousands of dimensions, a few layers' rows of w+.
///
/// The trace in the ratios and in the regularisation is that of the restricted Gram matrix V'J_b'J_b V, V an orthonormal basis of the span: no more
/// than that of J_b'J_b, so that the same `regularization` adds less, and ratios of different bases have different denominators.
/// \throws shape_error if the basis does not fit; argument_error if a row of it depends on others, or for NaN or infinity in it, beside what the other
///         overload throws
template <execution_policy Policy, class Map, any_tensor Point, any_tensor Mask, any_tensor Basis>
auto region_directions(const Policy& policy, const Map& map, const Point& x, const Mask& mask, const Basis& basis, const region_directions_options& options) {
    using T = value_type_of<Point>;
    static_assert(std::is_same_v<T, value_type_of<Basis>>, "moden: region_directions with a point and a basis of different type");
    const std::size_t n = map.input_size();
    const auto point = detail::evaluate(policy, x);
    detail::check_map_point(policy, point.view(), n, "region_directions");
    const auto region = detail::evaluate_as<T>(policy, mask);
    detail::check_region<T>(policy, region.view(), map.output_size(), "region_directions");
    const auto given = detail::evaluate(policy, basis);
    const extents& shape = given.view().shape;
    detail::require<shape_error>(shape.size() == 2 && shape[0] >= 1 && shape[0] <= n && shape[1] == n, "region_directions: a basis of ", shape,
                                 " (expected 1 to ", n, " rows of ", n, ")");
    detail::require_finite(policy, given.view().data, given.view().size(), "region_directions", "the basis");
    const auto rows = detail::orthonormal_rows<Policy, T>(policy, given.view().data, shape[0], n, "region_directions", "the basis");
    return detail::run_region_directions<Policy, T>(policy, map, point.view().data, region.view().data, static_cast<const T*>(rows.data()), shape[0],
                                                    options);
}

template <class Map, any_tensor Point, any_tensor Mask, any_tensor Basis>
    requires(!execution_policy<Map>)
auto region_directions(const Map& map, const Point& x, const Mask& mask, const Basis& basis, const region_directions_options& options) {
    return region_directions(cpu_policy{}, map, x, mask, basis, options);
}

}  // namespace moden
