#pragma once

// Directions of a region in the null space of its background, after both have been made low-rank.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/detail/project_away.hpp>
#include <moden/linalg/generalized_eigh.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/optimize/lbfgs.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/spectral/detail/jacobian_operator.hpp>
#include <moden/spectral/detail/region_grams.hpp>
#include <moden/spectral/robust_pca.hpp>

namespace moden {

/// Options of low_rank_directions.
struct low_rank_directions_options {
    std::size_t count = 1;            ///< k, directions wanted at most
    double sparsity = 0;              ///< lambda of both robust PCAs; 0: 1 / sqrt(n). The authors use 1 / 60 for n = 512
    /// Dimensions of the background that directions must avoid, the leading ones; 0: all of its low-rank part.
    std::size_t background_rank = 0;
    std::size_t batch = 0;            ///< as in region_directions_options
    double tolerance = 1e-6;          ///< of robust_pca
    std::size_t max_iterations = 1000;
};

/// Directions in the background's null space.
template <class Matrix>
struct low_rank_directions_result {
    Matrix directions;               ///< up to k rows of length 1, in the order of the region's principal directions
    std::vector<double> remaining;   ///< length of each principal direction that the projection has left, in (0, 1]
    std::vector<double> inside;      ///< |J_f d|^2
    std::vector<double> outside;     ///< |J_b d|^2
    std::size_t region_rank = 0;     ///< of the region's low-rank part
    std::size_t background_rank = 0; ///< dimensions that were avoided
    iteration_status status = iteration_status::converged;  ///< of the two robust PCAs
    std::size_t jvp_count = 0;
    std::size_t vjp_count = 0;
};

namespace detail {

template <class Policy, class T>
double squared_change(const Policy& policy, const T* gram, const T* direction, std::size_t n) {
    using space = typename Policy::memory_space;
    const auto product = policy.template allocate<T>(n);
    policy.template gemm<T>(T(1), row_major<const T, space>(direction, 1, n), row_major<const T, space>(gram, n, n), T(0),
                            row_major<T, space>(product.data(), 1, n));
    return policy.reduce(n, 0.0, product_of<T>{direction, product.data()}, plus{});
}

/// Leading eigenvectors of the symmetric part of a matrix, as rows (column-major n x count), and all eigenvalues.
template <class Policy, class T>
std::vector<T> principal_directions(const Policy& policy, const T* matrix, std::size_t n, T* vectors, std::size_t count) {
    using space = typename Policy::memory_space;
    const auto even = policy.template allocate<T>(n * n), values = policy.template allocate<T>(n);
    policy.transform_grid(n, n, average_with_transpose<T>{matrix, n, even.data()});
    policy.template eigh<T>(row_major<T, space>(even.data(), n, n), values.data(), column_major<T, space>(vectors, n, count));
    return to_vector<Policy, T>(policy, values.data(), n);
}

}  // namespace detail

/// Directions that change a region and, as far as its low-rank part says, not the background at all: principal directions of the low-rank
/// part of J_f'J_f, projected onto the null space of that of J_b'J_b and brought to length 1.
///
/// The low-rank parts are those of robust_pca, applied to both Gram matrices divided by the numbers of their outputs. Principal directions
/// that lie in the background's space up to sqrt(eps) are left out, so there may be fewer than k, or none: a small lambda leaves nothing in
/// the low-rank parts (region_rank 0). With background_rank the null space is that of
/// the leading dimensions only: more room, and a background that changes a little.
///
/// \param policy  where to compute
/// \param map     a differentiable_map from n to m numbers
/// \param x       the point, n numbers
/// \param mask    m numbers; nonzero selects
/// \param options how many directions, lambda, rank of the background
/// \return        directions (up to k x n), what is left of each, squared changes inside and outside, both ranks, status
/// \throws shape_error if x or the mask do not fit; argument_error for a mask that selects nothing or everything, options out of range, a
///         background without a null space (its low-rank part has rank n), NaN or infinity in an argument or from the map
///
/// Cost: n tangents and 2 m n^2 flops (batch > 0: 2 n cotangents and 4 n^3 flops instead), then robust PCA of two n x n matrices.
/// Source: LowRankGAN (Zhu et al. 2021).
/// \snippet tests/spectral/low_rank_directions.cpp low_rank_directions
template <execution_policy Policy, class Map, any_tensor Point, any_tensor Mask>
auto low_rank_directions(const Policy& policy, const Map& map, const Point& x, const Mask& mask, const low_rank_directions_options& options) {
    using T = value_type_of<Point>;
    using space = typename Policy::memory_space;
    using detail::require;
    const char* const function = "low_rank_directions";
    const std::size_t n = map.input_size(), m = map.output_size(), k = options.count;
    require<argument_error>(k >= 1 && k <= n, function, ": ", k, " directions in a space of ", n, " (expected 1 to ", n, ")");
    require<argument_error>(options.background_rank < n, function, ": background_rank ", options.background_rank, " leaves no null space in ", n,
                            " dimensions");
    const robust_pca_options robust{.sparsity = options.sparsity, .tolerance = options.tolerance, .max_iterations = options.max_iterations};
    detail::check_robust_pca_options(robust, function);  // before any product goes through the map
    const auto point = detail::evaluate(policy, x);
    detail::check_map_point(policy, point.view(), n, function);
    const auto region = detail::evaluate_as<T>(policy, mask);
    const std::size_t selected = detail::check_region<T>(policy, region.view(), m, function);
    detail::jacobian_operator<Policy, T, Map> jacobian(policy, map, point.view().data, options.batch, function);
    const auto basis = policy.template allocate<T>(n * n);
    policy.transform(n * n, detail::fill_identity<T>{basis.data(), n});
    const auto grams = detail::region_grams<Policy, T>::of(policy, jacobian, static_cast<const T*>(basis.data()), n, region.view().data, options.batch);
    const auto part = [&](const auto& gram, std::size_t rows) {
        const auto scaled = policy.template allocate<T>(n * n);
        policy.transform(n * n, detail::scaled_copy<T>{gram.data(), static_cast<T>(1.0 / static_cast<double>(rows)), scaled.data()});
        return detail::run_robust_pca<Policy, T, space>(policy, row_major<const T, space>(scaled.data(), n, n), robust, function);
    };
    const auto inside = part(grams.inside, selected), outside = part(grams.outside, m - selected);
    const std::size_t avoided = options.background_rank > 0 ? std::min(options.background_rank, outside.rank) : outside.rank;
    require<argument_error>(avoided < n, function, ": the low-rank part of the background has rank ", outside.rank, " in ", n,
                            " dimensions and no null space (a smaller sparsity or a background_rank helps)");
    const auto background = policy.template allocate<T>(n * std::max<std::size_t>(avoided, 1));
    detail::principal_directions<Policy, T>(policy, outside.low_rank.data(), n, background.data(), avoided);
    const auto principal = policy.template allocate<T>(n * std::max<std::size_t>(inside.rank, 1));
    detail::principal_directions<Policy, T>(policy, inside.low_rank.data(), n, principal.data(), inside.rank);
    detail::project_away<T>(policy, column_major<const T, space>(background.data(), n, avoided), column_major<T, space>(principal.data(), n, inside.rank));
    std::vector<std::size_t> kept;
    std::vector<double> remaining;
    for (std::size_t i = 0; i < inside.rank && kept.size() < k; ++i) {
        const double length = detail::euclidean_norm(policy, static_cast<const T*>(principal.data() + i * n), n);
        if (length > std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon()))) {
            kept.push_back(i);
            remaining.push_back(length);
        }
    }
    low_rank_directions_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({kept.size(), n}), remaining, {}, {}};
    for (std::size_t i = 0; i < kept.size(); ++i) {
        T* const row = result.directions.data() + i * n;
        policy.transform(n, detail::scaled_copy<T>{principal.data() + kept[i] * n, static_cast<T>(1 / remaining[i]), row});
    }
    if (!kept.empty()) {
        detail::fix_signs(policy, transposed(row_major<T, space>(result.directions.data(), kept.size(), n)));
    }
    for (std::size_t i = 0; i < kept.size(); ++i) {
        const T* const row = result.directions.data() + i * n;
        result.inside.push_back(detail::squared_change<Policy, T>(policy, grams.inside.data(), row, n));
        result.outside.push_back(detail::squared_change<Policy, T>(policy, grams.outside.data(), row, n));
    }
    result.region_rank = inside.rank;
    result.background_rank = avoided;
    result.status = inside.status != iteration_status::converged ? inside.status : outside.status;
    result.jvp_count = jacobian.tangents();
    result.vjp_count = jacobian.cotangents();
    return result;
}

template <class Map, any_tensor Point, any_tensor Mask>
    requires(!execution_policy<Map>)
auto low_rank_directions(const Map& map, const Point& x, const Mask& mask, const low_rank_directions_options& options) {
    return low_rank_directions(cpu_policy{}, map, x, mask, options);
}

}  // namespace moden
