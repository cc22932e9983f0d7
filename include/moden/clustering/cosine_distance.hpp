#pragma once

// Distances between directions whose sign means nothing.

#include <cmath>
#include <cstddef>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

namespace detail {

template <class T>
struct diagonal_is_not_positive {
    const T* gram;
    std::size_t count;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return static_cast<double>(gram[i * count + i]) > 0 ? 0.0 : 1.0; }
};

template <class T>
struct distance_from_gram {
    const T* gram;
    std::size_t count;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        const double squares = std::sqrt(static_cast<double>(gram[i * count + i])) * std::sqrt(static_cast<double>(gram[j * count + j]));
        const double distance = 1 - std::fabs(static_cast<double>(gram[i * count + j])) / squares;
        result[i * count + j] = i == j || distance < 0 ? T(0) : static_cast<T>(distance);
    }
};

}  // namespace detail

/// Distances 1 - |cos(v_i, v_j)| of all pairs of vectors: 0 for parallel ones, 1 for orthogonal ones, whatever their signs.
///
/// \param policy  where to compute
/// \param vectors n x d, n >= 1, finite, none of them 0
/// \return        n x n, symmetric with a diagonal of 0
/// \throws shape_error if the vectors are no matrix or there is none; argument_error for vectors of length 0 (or so short that their squares
///         vanish), NaN or infinity
///
/// Cost: d n^2 flops, memory for another n x n. Distances are resolved to about eps. Source: 000 section 4.4 and Fig. 6, whose "absolute value
/// of cosine distance" this is.
/// \snippet tests/clustering/ward_linkage.cpp ward_linkage_of_distances
template <execution_policy Policy, any_tensor Vectors>
auto absolute_cosine_distance(const Policy& policy, const Vectors& vectors) {
    using T = value_type_of<Vectors>;
    using space = typename Policy::memory_space;
    const auto argument = detail::evaluate(policy, vectors);
    const auto rows = detail::as_matrix(argument.view(), "absolute_cosine_distance", "the list of vectors");
    const std::size_t n = rows.rows;
    detail::require<shape_error>(n > 0 && rows.columns > 0, "absolute_cosine_distance: vectors of ", argument.view().shape, " (expected n x d)");
    detail::require_finite(policy, rows.data, n * rows.columns, "absolute_cosine_distance", "the list of vectors");
    const auto gram = policy.template allocate<T>(n * n);
    policy.template syrk<T>(T(1), rows, T(0), row_major<T, space>(gram.data(), n, n));
    const auto zeros = static_cast<std::size_t>(policy.reduce(n, 0.0, detail::diagonal_is_not_positive<T>{gram.data(), n}, detail::plus{}));
    detail::require<argument_error>(zeros == 0, "absolute_cosine_distance: ", zeros, " vectors have length 0");
    auto result = policy.template make_tensor<T, 2>({n, n});
    policy.transform_grid(n, n, detail::distance_from_gram<T>{gram.data(), n, result.data()});
    return result;
}

template <any_tensor Vectors>
auto absolute_cosine_distance(const Vectors& vectors) {
    return absolute_cosine_distance(cpu_policy{}, vectors);
}

}  // namespace moden
