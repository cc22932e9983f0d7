#pragma once

// Path length: how much pictures change along the way from one code to another.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <moden/core/random.hpp>
#include <moden/editing/direction_algebra.hpp>

namespace moden {

/// Options of path_length.
struct path_length_options {
    interpolation_path path = interpolation_path::straight;
    double epsilon = 1e-4;      ///< distance of the two positions on the way
    std::size_t at_once = 64;   ///< pairs given to `generate` together
    std::uint64_t seed = 0;     ///< of the positions
};

/// Path lengths of pairs of codes.
struct path_length_result {
    double mean = 0;
    double standard_error = 0;    ///< of the mean
    std::vector<double> lengths;  ///< d(g(t), g(t + epsilon)) / epsilon^2 of every pair
};

namespace detail {

/// Squared distance of row n of the first half to the same row of the second.
template <class T>
struct pair_distance {
    const T* rows;
    std::size_t count, size;
    double* distances;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double sum = 0;
        for (std::size_t i = 0; i < size; ++i) {
            const double x = static_cast<double>(rows[n * size + i]) - static_cast<double>(rows[(count + n) * size + i]);
            sum += x * x;
        }
        distances[n] = sum;
    }
};

}  // namespace detail

/// Path length l = E[ d(g(path(t)), g(path(t + epsilon))) / epsilon^2 ], t uniform in (0, 1), with d the squared Euclidean
/// distance of what `generate` returns: pictures, or features of pictures.
///
/// The difference of two nearly equal pictures is formed: with epsilon = 1e-4 use double precision.
///
/// \param policy   where to compute
/// \param from     N x d codes
/// \param to       N x d codes
/// \param generate from a batch of codes, M x d on the policy, to a tensor of the same scalar type whose first extent is M
/// \param options  straight or spherical, epsilon, batch size
/// \return         mean, its standard error, the length of every pair
/// \throws shape_error if the codes do not fit together or `generate` returns another number of rows; argument_error if epsilon
///         is not in (0, 1), for no pairs, NaN or infinity
///
/// Cost: 2 N calls' worth of `generate`. Source: 001 Eq. 2.15 (Karras et al. 2019).
/// \snippet tests/editing/directions.cpp path_length
template <execution_policy Policy, any_tensor From, any_tensor To, class Generate>
path_length_result path_length(const Policy& policy, const From& from, const To& to, const Generate& generate,
                               const path_length_options& options = {}) {
    using T = value_type_of<From>;
    const auto a = detail::evaluate(policy, from);
    const auto b = detail::evaluate(policy, to);
    const auto& one = a.view();
    detail::require<shape_error>(one.order() == 2 && one.shape == b.view().shape, "path_length: codes of ", one.shape, " and ", b.view().shape,
                                 " (expected N x d both)");
    detail::require<argument_error>(one.shape[0] > 0 && options.at_once > 0, "path_length: ", one.shape[0], " pairs, ", options.at_once,
                                    " at once (expected at least one)");
    detail::require<argument_error>(options.epsilon > 0 && options.epsilon < 1, "path_length: epsilon ", options.epsilon, " (expected a value in (0, 1))");
    detail::require_finite(policy, one.data, one.size(), "path_length", "the first codes");
    detail::require_finite(policy, b.view().data, one.size(), "path_length", "the second codes");
    const std::size_t count = one.shape[0], size = one.shape[1];
    std::vector<double> positions(count);
    fill_uniform(cpu_policy{}, positions.data(), count, options.seed, 0);
    path_length_result result;
    for (std::size_t first = 0; first < count; first += options.at_once) {
        const std::size_t some = std::min(options.at_once, count - first);
        // Both ends of every step in one batch: the first half at t, the second at t + epsilon.
        std::vector<double> where;
        for (const double shift : {0.0, options.epsilon}) {
            for (std::size_t n = 0; n < some; ++n) {
                where.push_back(positions[first + n] * (1 - options.epsilon) + shift);
            }
        }
        const auto twice = [&](const T* codes) {
            auto rows = policy.template make_tensor<T, 2>({2 * some, size});
            policy.copy(codes + first * size, rows.data(), some * size);
            policy.copy(codes + first * size, rows.data() + some * size, some * size);
            return rows;
        };
        const auto start = twice(one.data), end = twice(b.view().data);
        const auto made = generate(options.path == interpolation_path::straight ? lerp(policy, start, end, where) : slerp(policy, start, end, where));
        const auto pictures = detail::evaluate(policy, made);
        static_assert(std::is_same_v<T, value_type_of<decltype(made)>>, "moden: path_length: what is generated has another scalar type than codes");
        detail::require<shape_error>(pictures.view().order() >= 1 && pictures.view().shape[0] == 2 * some, "path_length: ", 2 * some,
                                     " codes gave ", pictures.view().shape, " (expected ", 2 * some, " rows)");
        const auto distances = policy.template allocate<double>(some);
        policy.transform(some, detail::pair_distance<T>{pictures.view().data, some, pictures.view().size() / (2 * some), distances.data()},
                         pictures.view().size() / some);
        std::vector<double> host(some);
        policy.download(static_cast<const double*>(distances.data()), host.data(), some);
        for (const double d : host) {
            result.lengths.push_back(d / (options.epsilon * options.epsilon));
        }
    }
    const double n = static_cast<double>(count);
    for (const double length : result.lengths) {
        result.mean += length / n;
    }
    double squares = 0;
    for (const double length : result.lengths) {
        squares += (length - result.mean) * (length - result.mean);
    }
    result.standard_error = count > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
    return result;
}

}  // namespace moden
