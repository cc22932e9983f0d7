#pragma once

// Least squares and ridge regression for many targets at once.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/regression/accumulators.hpp>
#include <moden/regression/detail/column_moments.hpp>
#include <moden/regression/detail/gram_sums.hpp>
#include <moden/regression/detail/solved_coefficients.hpp>
#include <moden/regression/detail/triangular_sums.hpp>
#include <moden/regression/options.hpp>

namespace moden {

namespace detail {

/// result(i, k) = y(i, k) - intercept(k) - result(i, k); where y is null, result(i, k) + intercept(k).
template <class T>
struct apart_from_prediction {
    const T* y;
    const T* intercept;
    std::size_t t;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t k) const {
        T& element = result[i * t + k];
        element = y == nullptr ? element + intercept[k] : y[i * t + k] - intercept[k] - element;
    }
};

/// Sums of squared residuals from the residuals themselves, a block of rows at a time.
template <class T, class Policy, class Regression>
std::vector<double> measured_residuals(const Policy& policy, const_matrix_view<T, typename Policy::memory_space> x,
                                       const_matrix_view<T, typename Policy::memory_space> y, const Regression& fit) {
    using space = typename Policy::memory_space;
    const std::size_t d = x.columns, t = y.columns;
    const std::size_t block = std::min(x.rows, std::clamp<std::size_t>((std::size_t{1} << 22) / t, 256, 16384));
    const auto scratch = policy.template allocate<T>(block * t);
    const auto coefficients = row_major<const T, space>(fit.coefficients.data(), d, t);
    std::vector<double> result(t, 0.0);
    for (std::size_t first = 0; first < x.rows; first += block) {
        const std::size_t count = std::min(block, x.rows - first);
        const auto residual = row_major<T, space>(scratch.data(), count, t);
        policy.template gemm<T>(T(1), rows_of(x, first, count), coefficients, T(0), residual);  // without a sum, which is slower
        policy.transform_grid(count, t, apart_from_prediction<T>{y.data + first * t, fit.intercept.data(), t, scratch.data()});
        const auto moments = moments_of<Policy, T, space>(policy, residual, "least_squares", "the residuals");
        for (std::size_t k = 0; k < t; ++k) {
            result[k] += moments.raw_squares(k);
        }
    }
    return result;
}

}  // namespace detail

/// Linear regression: the B and b that minimise |X B + 1 b' - Y|^2 + lambda |B|^2.
///
/// By normal equations with columns centred and scaled, unless their condition number asks for QR (regression_route::automatic); the
/// coefficients, their scaling, condition and checks are in double precision on both routes. A result loses about
/// 2 log10(condition) digits of T by normal equations and log10(condition) by QR.
///
/// \param policy  where to compute
/// \param samples X, N x d, finite
/// \param targets Y, N x t, finite; targets that are constant get coefficients of exactly 0 from the intercept
/// \param options ridge, intercept, route
/// \return        coefficients B (d x t), intercept b (1 x t), squares of residuals, condition number, route, status
/// \throws shape_error if the extents do not fit; argument_error for options out of range, NaN or infinity, fewer samples than unknowns
///         without a ridge, columns of X that are constant (zero without an intercept) or linearly dependent, which are named:
///         the sine of the angle between one and those before it is at most 10 sqrt(max(N, d)) eps
///
/// Cost: N d^2 + 2 N d t flops and a pass over the samples. Up to d / 4 targets: N t^2 more, one syrk of [X Y] from a centred copy of at most 16384
/// rows at a time; otherwise a syrk and a gemm of the samples where they lie, or of such copies if the origin is more than four deviations away. QR: about 2 N (d + t)^2 (1 + 1/4) flops more. Where a target is
/// fitted to eps^(1/4) of its squares, 2 N d t more for its residuals. Memory: d (2 d + 3 t) doubles, 3 (1 + d + t)^2 for QR.
/// Source: 000 Eq. 3 (without an intercept); Hoerl & Kennard 1970; Golub & Van Loan 2013, Sec. 5.3; van der Sluis 1969 (scaling).
/// \snippet tests/regression/least_squares.cpp least_squares
template <execution_policy Policy, any_tensor X, any_tensor Y>
auto least_squares(const Policy& policy, const X& samples, const Y& targets, const least_squares_options& options = {}) {
    using T = value_type_of<X>;
    constexpr const char* name = "least_squares";
    linear_regression<policy_tensor<Policy, T, 2>> result;
    detail::with_samples(policy, samples, targets, name, [&](const auto& x, const auto& y, const detail::column_moments& moments) {
        detail::check_regression(options, x.rows, x.columns, name);
        if (options.route != regression_route::qr) {
            const bool fits = detail::squares_fit<T>(moments), asked_for = options.route == regression_route::normal_equations;
            detail::require<argument_error>(fits || !asked_for, name,
                                            ": sums of squares leave the range of the scalar type (scale the columns, or use QR)");
            if (fits) {
                detail::gram_sums<Policy, T> sums(policy, x.columns, y.columns);
                sums.add(x, y, moments);
                const auto solved = sums.solve(options, name);
                const bool usable = options.ridge > 0 ? std::isfinite(solved.condition) : detail::leaves_a_digit<T>(solved.condition);
                if (asked_for && !usable) {
                    sums.refuse(options, name, "use QR, or a larger ridge");
                }
                if (asked_for || (usable && solved.condition <= options.largest_condition.value_or(detail::half_of_the_digits<T>))) {
                    result = detail::assembled_regression<T>(policy, solved, sums.moments(), x.columns, options,
                                                             regression_route::normal_equations);
                    // Differences of sums are rounding noise where nearly everything is explained.
                    const double least = 1 / detail::half_of_the_digits<T>;
                    for (std::size_t k = 0; k < y.columns; ++k) {
                        if (result.total_squares[k] > 0 && result.residual_squares[k] < least * result.total_squares[k]) {
                            result.residual_squares = detail::measured_residuals<T>(policy, x, y, result);
                            break;
                        }
                    }
                    return;
                }
            }
        }
        detail::triangular_sums<Policy, T> sums(policy, x.columns, y.columns);
        sums.add(x, y, moments);
        result = detail::assembled_regression<T>(policy, sums.solve(options, name), sums.moments(), x.columns, options, regression_route::qr);
    });
    return result;
}

template <any_tensor X, any_tensor Y>
auto least_squares(const X& samples, const Y& targets, const least_squares_options& options = {}) {
    return least_squares(cpu_policy{}, samples, targets, options);
}

/// What a regression says about samples: X B + 1 b'.
///
/// \param policy  where to compute
/// \param fit     of least_squares or an accumulator
/// \param samples N x d
/// \return        N x t
/// \throws shape_error if the samples have another size
///
/// Cost: 2 N d t flops. Source: 000 section 3.3.
/// \snippet tests/regression/least_squares.cpp least_squares
template <execution_policy Policy, class Matrix, any_tensor X>
auto predict(const Policy& policy, const linear_regression<Matrix>& fit, const X& samples) {
    using T = value_type_of<X>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: predict with samples of another type than the regression's");
    const auto argument = detail::evaluate(policy, samples);
    const auto x = detail::as_matrix(argument.view(), "predict", "the matrix of samples");
    const std::size_t d = fit.coefficients.shape()[0], t = fit.coefficients.shape()[1];
    detail::require<shape_error>(x.columns == d, "predict: samples of ", x.columns, " entries (expected ", d, ")");
    auto result = policy.template make_tensor<T, 2>({x.rows, t});
    if (x.rows > 0) {
        policy.template gemm<T>(T(1), x, row_major<const T, space>(fit.coefficients.data(), d, t), T(0),
                                row_major<T, space>(result.data(), x.rows, t));
        policy.transform_grid(x.rows, t, detail::apart_from_prediction<T>{nullptr, fit.intercept.data(), t, result.data()});
    }
    return result;
}

template <class Matrix, any_tensor X>
auto predict(const linear_regression<Matrix>& fit, const X& samples) {
    return predict(cpu_policy{}, fit, samples);
}

}  // namespace moden
