#pragma once

// Semantic directions from differences of samples: pairs, their regression, running averages, and edits along the result.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/regression/correlation.hpp>
#include <moden/regression/detail/column_moments.hpp>
#include <moden/regression/least_squares.hpp>

namespace moden {

/// Two samples whose difference counts: row `to` minus row `from`.
struct sample_pair {
    std::size_t from;
    std::size_t to;
};

/// Options of difference_regression.
struct difference_options {
    double ridge = 0;  ///< lambda >= 0 of |dY - dW v|^2 + lambda |v|^2
    regression_route route = regression_route::automatic;
};

/// Directions of length 1.
template <class Matrix>
struct directions_of_coefficients {
    Matrix directions;          ///< t x d, rows of length 1; zeros for a target without coefficients
    std::vector<double> gains;  ///< t: change of each target per unit step along its direction, |v|
};

/// Where codes lie along directions.
struct projection_statistics {
    std::vector<double> mean;       ///< k: of w' v, v of length 1
    std::vector<double> deviation;  ///< k: standard deviation of w' v (N - 1 degrees of freedom)
};

namespace detail {

/// result(i, .) = samples(to_i, .) - samples(from_i, .).
template <class T>
struct difference_of_pair {
    const T* samples;
    const std::size_t* pairs;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        result[i * size + j] = samples[pairs[2 * i + 1] * size + j] - samples[pairs[2 * i] * size + j];
    }
};

/// Column k of coefficients as row k of length 1.
template <class T>
struct column_as_direction {
    const T* coefficients;
    std::size_t d, t;
    T* directions;
    double* gains;
    MODEN_HOST_DEVICE void operator()(std::size_t k) const {
        double largest = 0, square = 0;
        for (std::size_t i = 0; i < d; ++i) {
            const double x = static_cast<double>(coefficients[i * t + k]);
            largest = x > largest ? x : -x > largest ? -x : largest;
        }
        for (std::size_t i = 0; i < d && largest > 0; ++i) {
            const double x = static_cast<double>(coefficients[i * t + k]) / largest;
            square += x * x;
        }
        gains[k] = largest * std::sqrt(square);
        for (std::size_t i = 0; i < d; ++i) {
            directions[k * d + i] = gains[k] > 0 ? static_cast<T>(static_cast<double>(coefficients[i * t + k]) / gains[k]) : T(0);
        }
    }
};

/// average = momentum average + (1 - momentum) estimate.
template <class T>
struct move_average {
    const T* estimate;
    double momentum;
    double* average;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        average[i] = momentum * average[i] + (1 - momentum) * static_cast<double>(estimate[i]);
    }
};

template <class T>
struct scaled_to {
    const double* source;
    double factor;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = static_cast<T>(factor * source[i]); }
};

/// result(n, .) = w(n, .) + (strength deviation / length - w' v / length^2) v, v of any length.
template <class T>
struct moved_to_strength {
    const T* codes;
    const T* direction;
    const T* along;  ///< w' v
    const double* strengths;
    std::size_t size, strength_count;
    double deviation, length;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t j) const {
        const double share = strengths[strength_count == 1 ? 0 : n] * deviation / length - static_cast<double>(along[n]) / (length * length);
        result[n * size + j] = static_cast<T>(static_cast<double>(codes[n * size + j]) + share * static_cast<double>(direction[j]));
    }
};

}  // namespace detail

/// Random pairs of different samples, uniform over all ordered pairs. Host only.
///
/// \param samples N >= 2
/// \param pairs   how many
/// \param seed    of the random numbers (Philox)
/// \return        `pairs` pairs of indices below N; repeats happen
/// \throws argument_error for fewer than two samples
///
/// Cost: one pass over the pairs. Source: 000 section 3.3.
/// \snippet tests/regression/differences.cpp difference_regression
inline std::vector<sample_pair> random_pairs(std::size_t samples, std::size_t pairs, std::uint64_t seed = 0) {
    detail::require<argument_error>(samples >= 2, "random_pairs: ", samples, " samples (expected at least 2)");
    std::vector<sample_pair> result(pairs);
    for (std::size_t i = 0; i < pairs; ++i) {
        const random_words words = philox(seed, 0, i);
        const auto index = [&](std::size_t first, std::size_t below) {
            return static_cast<std::size_t>((static_cast<std::uint64_t>(words.word[first]) << 32 | words.word[first + 1]) % below);
        };
        const std::size_t from = index(0, samples), other = index(2, samples - 1);
        result[i] = {from, other + (other >= from ? 1 : 0)};
    }
    return result;
}

/// Differences of pairs of samples: row i is sample pairs[i].to minus sample pairs[i].from.
///
/// \param policy  where to compute
/// \param samples N x d
/// \param pairs   M pairs of indices below N
/// \return        M x d
/// \throws shape_error if the samples are no matrix; argument_error for an index that is not below N, which is named
///
/// Cost: one pass over the result. Source: 000 section 3.3.
/// \snippet tests/regression/differences.cpp pair_differences
template <execution_policy Policy, any_tensor Samples>
auto pair_differences(const Policy& policy, const Samples& samples, const std::vector<sample_pair>& pairs) {
    using T = value_type_of<Samples>;
    const auto argument = detail::evaluate(policy, samples);
    const auto x = detail::as_matrix(argument.view(), "pair_differences", "the matrix of samples");
    std::vector<std::size_t> indices;
    indices.reserve(2 * pairs.size());
    for (const sample_pair& pair : pairs) {
        detail::require<argument_error>(pair.from < x.rows && pair.to < x.rows, "pair_differences: pair ", indices.size() / 2,
                                        " is of samples ", pair.from, " and ", pair.to, " (expected indices below ", x.rows, ")");
        indices.push_back(pair.from);
        indices.push_back(pair.to);
    }
    auto result = policy.template make_tensor<T, 2>({pairs.size(), x.columns});
    const auto where = policy.template allocate<std::size_t>(indices.size());
    policy.upload(indices.data(), where.data(), indices.size());
    policy.transform_grid(pairs.size(), x.columns, detail::difference_of_pair<T>{x.data, where.data(), x.columns, result.data()});
    return result;
}

template <any_tensor Samples>
auto pair_differences(const Samples& samples, const std::vector<sample_pair>& pairs) {
    return pair_differences(cpu_policy{}, samples, pairs);
}

/// How attributes change with codes: the v that minimise |dY - dW v|^2 over differences of pairs, all attributes at once.
///
/// Over all pairs of N samples this is least_squares with an intercept, at N - 1 times the price; random pairs estimate it. Given pairs
/// (the same person twice, two views) leave out what their partners have in common.
///
/// \param policy     where to compute
/// \param codes      W, N x d, finite
/// \param attributes Y, N x t, finite
/// \param pairs      at least d of them, unless there is a ridge
/// \param options    ridge and route
/// \return           as least_squares without an intercept; coefficients are d x t, see coefficient_directions
/// \throws shape_error if the extents do not fit; argument_error for an index that is not below N and as least_squares
///
/// Cost: that of least_squares of as many samples as there are pairs, and memory for their differences.
/// Source: 000 Eqs. 2, 3.
/// \snippet tests/regression/differences.cpp difference_regression
template <execution_policy Policy, any_tensor Codes, any_tensor Attributes>
auto difference_regression(const Policy& policy, const Codes& codes, const Attributes& attributes, const std::vector<sample_pair>& pairs,
                           const difference_options& options = {}) {
    const auto w = detail::evaluate(policy, codes);
    const auto y = detail::evaluate(policy, attributes);
    detail::require<shape_error>(w.view().order() == 2 && y.view().order() == 2 && w.view().shape[0] == y.view().shape[0],
                                 "difference_regression: codes of ", w.view().shape, " and attributes of ", y.view().shape,
                                 " (expected N x d and N x t)");
    return least_squares(policy, pair_differences(policy, codes, pairs), pair_differences(policy, attributes, pairs),
                         {.ridge = options.ridge, .intercept = intercept_term::none, .route = options.route});
}

template <any_tensor Codes, any_tensor Attributes>
auto difference_regression(const Codes& codes, const Attributes& attributes, const std::vector<sample_pair>& pairs,
                           const difference_options& options = {}) {
    return difference_regression(cpu_policy{}, codes, attributes, pairs, options);
}

/// The coefficients of a regression as directions for edits: column v of a target becomes the row v / |v|.
///
/// \param policy where to compute
/// \param fit    of least_squares, difference_regression or an accumulator
/// \return       t x d rows of length 1, and |v| of each
///
/// Cost: one pass over the coefficients. Source: 000 Eq. 4, which takes v of length 1 where Eq. 3 gives it any.
/// \snippet tests/regression/differences.cpp difference_regression
template <execution_policy Policy, class Matrix>
auto coefficient_directions(const Policy& policy, const linear_regression<Matrix>& fit) {
    using T = value_type_of<Matrix>;
    const std::size_t d = fit.coefficients.shape()[0], t = fit.coefficients.shape()[1];
    directions_of_coefficients<Matrix> result{policy.template make_tensor<T, 2>({t, d}), {}};
    const auto gains = policy.template allocate<double>(t);
    policy.transform(t, detail::column_as_direction<T>{fit.coefficients.data(), d, t, result.directions.data(), gains.data()}, d);
    result.gains = detail::to_vector<Policy, double>(policy, gains.data(), t);
    return result;
}

template <class Matrix>
auto coefficient_directions(const linear_regression<Matrix>& fit) {
    return coefficient_directions(cpu_policy{}, fit);
}

/// A direction averaged over estimates that come one after another: v <- momentum v + (1 - momentum) estimate, beginning with the
/// first estimate.
///
/// Estimates count with their lengths, which say how sure they are; what goes into edits is of length 1.
/// Cost: one pass over d entries per estimate. Source: 000 section 3.4.
/// \snippet tests/regression/differences.cpp running_direction
template <class Policy, class T>
class running_direction {
public:
    /// \param policy   where to compute; must outlive the average
    /// \param size     d
    /// \param momentum share of the past, in [0, 1)
    /// \throws argument_error for a size of 0, or a momentum out of range
    running_direction(const Policy& policy, std::size_t size, double momentum = 0.995)
        : policy_(policy), momentum_(momentum), average_(policy.template allocate<double>(size)) {
        detail::require<argument_error>(size > 0, "running_direction: a direction without entries");
        detail::require<argument_error>(momentum >= 0 && momentum < 1, "running_direction: momentum ", momentum,
                                        " (expected 0 <= momentum < 1)");
        policy.transform(size, detail::fill_with<double>{average_.data(), 0.0});
    }

    std::size_t count() const { return count_; }

    /// Takes an estimate.
    /// \param estimate d entries: a vector, 1 x d, or coefficients of d x 1
    /// \throws shape_error if there are not d entries; argument_error for NaN or infinity
    template <any_tensor Estimate>
    void update(const Estimate& estimate) {
        static_assert(std::is_same_v<T, value_type_of<Estimate>>, "moden: running_direction of estimates of another type");
        const auto argument = detail::evaluate(policy_, estimate);
        const auto& view = argument.view();
        detail::require<shape_error>(view.size() == average_.size(), "running_direction: an estimate of ", view.shape, " (expected ",
                                     average_.size(), " entries)");
        detail::require_finite(policy_, view.data, view.size(), "running_direction", "the estimate");
        policy_.transform(average_.size(), detail::move_average<T>{view.data, count_ == 0 ? 0 : momentum_, average_.data()});
        ++count_;
    }

    /// The average, of length 1.
    /// \return 1 x d
    /// \throws argument_error before the first estimate, or where the average is 0
    auto direction() const {
        const double length = detail::euclidean_norm(policy_, average_.data(), average_.size());
        detail::require<argument_error>(length > 0, "running_direction: the average of ", count_, " estimates has length 0");
        return scaled(1 / length);
    }

    /// The average as it is.
    /// \return 1 x d; zeros before the first estimate
    auto average() const { return scaled(1); }

private:
    auto scaled(double factor) const {
        auto result = policy_.template make_tensor<T, 2>({1, average_.size()});
        policy_.transform(average_.size(), detail::scaled_to<T>{average_.data(), factor, result.data()});
        return result;
    }

    const Policy& policy_;
    double momentum_;
    std::size_t count_ = 0;
    detail::buffer_of<Policy, double> average_;
};

/// Mean and standard deviation of codes along directions, w' v with v brought to length 1: the unit of strengths.
///
/// \param policy     where to compute
/// \param codes      N x d, N >= 2, finite
/// \param directions k x d, none of length 0
/// \return           k means and k standard deviations (N - 1 degrees of freedom)
/// \throws shape_error if the sizes differ; argument_error for fewer than two codes, a direction of length 0, NaN or infinity
///
/// Cost: 2 N k d flops, memory for N k projections. Source: 000 Eq. 4 (sigma_w).
/// \snippet tests/regression/differences.cpp extrapolate
template <execution_policy Policy, any_tensor Codes, any_tensor Directions>
projection_statistics statistics_along(const Policy& policy, const Codes& codes, const Directions& directions) {
    using T = value_type_of<Codes>;
    using space = typename Policy::memory_space;
    constexpr const char* name = "statistics_along";
    static_assert(std::is_same_v<T, value_type_of<Directions>>, "moden: statistics_along of codes and directions of different type");
    const auto argument = detail::evaluate(policy, codes);
    const auto along = detail::evaluate(policy, directions);
    const auto w = detail::as_matrix(argument.view(), name, "the matrix of codes");
    const auto v = detail::as_matrix(along.view(), name, "the matrix of directions");
    detail::require<shape_error>(w.columns == v.columns && v.columns > 0, name, ": codes of ", w.rows, " x ", w.columns,
                                 " and directions of ", v.rows, " x ", v.columns, " (expected N x d and k x d)");
    detail::require<argument_error>(w.rows >= 2, name, ": ", w.rows, " codes (expected at least 2)");
    detail::require_finite(policy, w.data, w.rows * w.columns, name, "the codes");
    const auto projected = detail::projections(policy, w, v);
    const auto moments =
        detail::moments_of<Policy, T, space>(policy, row_major<const T, space>(projected.data(), w.rows, v.rows), name, "the projections");
    projection_statistics result;
    for (std::size_t k = 0; k < v.rows; ++k) {
        const double length = detail::euclidean_norm(policy, v.data + k * v.columns, v.columns);
        detail::require<argument_error>(length > 0 && std::isfinite(length), name, ": direction ", k, " has length ", length,
                                        " (expected a positive one)");
        result.mean.push_back(moments.mean[k] / length);
        result.deviation.push_back(std::sqrt(moments.squares[k] / static_cast<double>(w.rows - 1)) / length);
    }
    return result;
}

template <any_tensor Codes, any_tensor Directions>
projection_statistics statistics_along(const Codes& codes, const Directions& directions) {
    return statistics_along(cpu_policy{}, codes, directions);
}

/// Codes with a given strength of a semantics, each with its own: w - (w' v) v + s sigma v, v brought to length 1.
///
/// For the training of models with samples beyond the usual. edit_codes does the same for every code and every strength, and for rows
/// of w+.
///
/// \param policy    where to compute
/// \param codes     N x d
/// \param direction v, d entries of any length but 0
/// \param strengths s, N of them or one for all; finite
/// \param deviation sigma, the standard deviation of w' v (statistics_along); finite
/// \return          N x d
/// \throws shape_error if the extents do not fit; argument_error for a strength or deviation that is not finite, or a direction of
///         length 0
///
/// Cost: 2 N d flops and a pass. Source: 000 Eq. 4 (which forgets to bring v to length 1).
/// \snippet tests/regression/differences.cpp extrapolate
template <execution_policy Policy, any_tensor Codes, any_tensor Direction>
auto extrapolate(const Policy& policy, const Codes& codes, const Direction& direction, const std::vector<double>& strengths, double deviation) {
    using T = value_type_of<Codes>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Direction>>, "moden: extrapolate with codes and a direction of different type");
    const auto argument = detail::evaluate(policy, codes);
    const auto along = detail::evaluate(policy, direction);
    const auto w = detail::as_matrix(argument.view(), "extrapolate", "the matrix of codes");
    const std::size_t d = w.columns;
    detail::require<shape_error>(along.view().size() == d && d > 0, "extrapolate: codes of ", w.rows, " x ", d, " and a direction of ",
                                 along.view().shape, " (expected ", d, " entries)");
    detail::require<shape_error>(strengths.size() == w.rows || strengths.size() == 1, "extrapolate: ", strengths.size(), " strengths for ",
                                 w.rows, " codes (expected as many, or 1)");
    for (const double s : strengths) {
        detail::require<argument_error>(std::isfinite(s), "extrapolate: strength ", s, " (expected a finite number)");
    }
    detail::require<argument_error>(std::isfinite(deviation), "extrapolate: deviation ", deviation, " (expected a finite number)");
    const double length = detail::euclidean_norm(policy, along.view().data, d);
    detail::require<argument_error>(length > 0 && std::isfinite(length), "extrapolate: a direction of length ", length,
                                    " (expected a positive one)");
    const auto steps = detail::uploaded(policy, strengths);
    const auto shares = detail::projections(policy, w, row_major<const T, space>(along.view().data, 1, d));
    auto result = policy.template make_tensor<T, 2>({w.rows, d});
    policy.transform_grid(w.rows, d,
                          detail::moved_to_strength<T>{w.data, along.view().data, shares.data(), steps.data(), d, strengths.size(),
                                                       deviation, length, result.data()});
    return result;
}

template <any_tensor Codes, any_tensor Direction>
auto extrapolate(const Codes& codes, const Direction& direction, const std::vector<double>& strengths, double deviation) {
    return extrapolate(cpu_policy{}, codes, direction, strengths, deviation);
}

}  // namespace moden
