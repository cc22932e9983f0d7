#pragma once

// Linear regression of samples that come in batches: any number of them in the memory of one square matrix.

#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/regression/detail/column_moments.hpp>
#include <moden/regression/detail/gram_sums.hpp>
#include <moden/regression/detail/solved_coefficients.hpp>
#include <moden/regression/detail/triangular_sums.hpp>
#include <moden/regression/options.hpp>

namespace moden {

namespace detail {

/// Moments of [X Y] side by side.
template <class Policy, class T, class Space>
column_moments joint_moments(const Policy& policy, matrix_view<const T, Space> x, matrix_view<const T, Space> y, const char* function) {
    column_moments result = moments_of(policy, x, function, "X");
    const column_moments other = moments_of(policy, y, function, "Y");
    result.mean.insert(result.mean.end(), other.mean.begin(), other.mean.end());
    result.squares.insert(result.squares.end(), other.squares.begin(), other.squares.end());
    for (std::size_t j = 0; j < result.squares.size(); ++j) {
        require<argument_error>(std::isfinite(result.raw_squares(j)), function, ": squares of column ", j < x.columns ? j : j - x.columns,
                                " of ", j < x.columns ? "X" : "Y", " overflow in double precision (scale it)");
    }
    return result;
}

/// Checks a batch and hands its views and moments to `take`.
template <class Policy, class X, class Y, class Take>
void with_samples(const Policy& policy, const X& samples, const Y& targets, const char* function, Take take) {
    static_assert(std::is_same_v<value_type_of<X>, value_type_of<Y>>, "moden: samples and targets of a regression hold different types");
    const auto x_argument = evaluate(policy, samples);
    const auto y_argument = evaluate(policy, targets);
    const auto x = as_matrix(x_argument.view(), function, "X");
    const auto y = as_matrix(y_argument.view(), function, "Y");
    require<shape_error>(x.rows == y.rows && x.columns > 0 && y.columns > 0, function, ": X of ", x.rows, " x ", x.columns, " and Y of ", y.rows,
                         " x ", y.columns, " (expected N x d and N x t)");
    take(x, y, joint_moments(policy, x, y, function));
}

/// Whether normal equations leave a digit of T.
template <class T>
bool leaves_a_digit(double condition) {
    return condition * condition * static_cast<double>(std::numeric_limits<T>::epsilon()) < 0.1;
}

/// Refuses batches of another width, and accumulators of another one.
inline void check_widths(std::size_t d, std::size_t t, std::size_t expected_d, std::size_t expected_t, const char* function) {
    require<shape_error>(d == expected_d && t == expected_t, function, ": samples of ", d, " with targets of ", t, " entries (expected ",
                         expected_d, " and ", expected_t, ")");
}

}  // namespace detail

/// Linear regression of samples that come in batches, by normal equations or by QR: gives what least_squares gives by that route, in
/// any order of the batches, and accumulators can be merged. See gram_accumulator and qr_accumulator.
template <class Policy, class T, regression_route Route>
    requires(Route != regression_route::automatic)
class regression_accumulator {
    static constexpr bool by_qr = Route == regression_route::qr;
    static constexpr const char* name = by_qr ? "qr_accumulator" : "gram_accumulator";
    using sums_type = std::conditional_t<by_qr, detail::triangular_sums<Policy, T>, detail::gram_sums<Policy, T>>;

public:
    /// \param policy  where to compute; must outlive the accumulator
    /// \param samples d, entries of a sample
    /// \param targets t, entries of a target
    /// \throws argument_error if either is 0
    regression_accumulator(const Policy& policy, std::size_t samples, std::size_t targets)
        : policy_(policy), d_(samples), t_(targets), sums_(policy, samples, targets) {
        detail::require<argument_error>(samples > 0 && targets > 0, name, ": samples of ", samples, " and targets of ", targets,
                                        " entries (expected at least 1)");
    }

    std::size_t count() const { return sums_.moments().count; }

    /// Takes a batch.
    /// \param samples N x d, N >= 0; by QR, batches of fewer rows than d + t cost as much as that many
    /// \param targets N x t
    /// \throws shape_error if the extents do not fit; argument_error for NaN or infinity or, by normal equations, where squares leave
    ///         the range of T. The accumulator is then as it was
    template <any_tensor X, any_tensor Y>
    void add(const X& samples, const Y& targets) {
        detail::with_samples(policy_, samples, targets, name, [&](const auto& x, const auto& y, const detail::column_moments& moments) {
            detail::check_widths(x.columns, y.columns, d_, t_, name);
            detail::require<argument_error>(by_qr || detail::squares_fit<T>(moments), name,
                                            ": sums of squares leave the range of the scalar type (scale the columns)");
            sums_.add(x, y, moments);
        });
    }

    /// Takes the samples of another accumulator of the same policy.
    /// \param other of the same widths
    /// \throws shape_error if its samples or targets have other sizes
    void merge(const regression_accumulator& other) {
        detail::check_widths(other.d_, other.t_, d_, t_, name);
        sums_.merge(other.sums_);
    }

    /// The regression of all samples so far.
    /// \param options ridge and intercept; the accumulator's route, or automatic
    /// \return        as least_squares; by normal equations residual_squares are exact to about eps total_squares
    /// \throws argument_error for options out of range, too few samples without a ridge, columns that are constant or too nearly
    ///         dependent, which are named. By QR: the sine of the angle between one and those before it is at most
    ///         10 sqrt(max(N, d)) eps. By normal equations: no digit would be left (condition^2 eps >= 0.1); a qr_accumulator can do more
    linear_regression<policy_tensor<Policy, T, 2>> solve(const least_squares_options& options = {}) const {
        detail::check_regression(options, count(), d_, name);
        detail::require<argument_error>(options.route == Route || options.route == regression_route::automatic, name,
                                        by_qr ? ": route normal_equations (expected qr; see gram_accumulator)"
                                              : ": route qr (expected normal_equations; see qr_accumulator)");
        const auto solved = sums_.solve(options, name);
        if constexpr (!by_qr) {
            if (!std::isfinite(solved.condition) || (options.ridge == 0 && !detail::leaves_a_digit<T>(solved.condition))) {
                sums_.refuse(options, name, "use a qr_accumulator, or a larger ridge");
            }
        }
        return detail::assembled_regression<T>(policy_, solved, sums_.moments(), d_, options, Route);
    }

private:
    const Policy& policy_;
    std::size_t d_, t_;
    sums_type sums_;
};

/// Normal equations of samples that come in batches.
///
/// Products of up to 16384 rows are summed in T, what is beyond in double precision, and always about the means, so that neither many
/// samples nor an origin far away cost digits.
///
/// Cost: as least_squares by normal equations; memory for d (d + t) doubles and, with up to d / 4 targets or where a batch lies far from the
/// origin, a centred copy of at most 16384 rows.
/// \snippet tests/regression/accumulators.cpp gram_accumulator
template <class Policy, class T>
using gram_accumulator = regression_accumulator<Policy, T, regression_route::normal_equations>;

/// QR of samples that come in batches: the triangular factor of [1 X Y] so far is stacked on the next rows and factorised again.
///
/// Cost: as least_squares by QR; memory for a few (1 + d + t)^2 matrices and a panel of at most 4 (1 + d + t) rows or 2^18 elements.
/// Source: Demmel et al. 2012 (TSQR).
/// \snippet tests/regression/accumulators.cpp qr_accumulator
template <class Policy, class T>
using qr_accumulator = regression_accumulator<Policy, T, regression_route::qr>;

}  // namespace moden
