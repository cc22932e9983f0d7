#pragma once

// What can be asked of a linear regression, and what it reports.

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

namespace moden {

/// Whether a regression has a constant term.
enum class intercept_term {
    fitted,  ///< y = B' x + b; a ridge does not penalise b
    none     ///< y = B' x
};

/// How a least-squares problem is solved.
enum class regression_route {
    /// Normal equations, unless that would lose the digits that `largest_condition` stands for; then QR.
    automatic,
    /// Cholesky of X'X, with columns centred and of length 1. Fastest; the condition number is squared.
    normal_equations,
    /// Householder QR of [X Y], a panel of rows at a time. Takes four to six times as long and loses half as many digits.
    qr
};

/// What can be said about the digits of a result.
enum class regression_status {
    accurate,        ///< half of the digits of the scalar type or more
    ill_conditioned  ///< rounding errors may have taken more than half of the digits; see `condition`
};

/// Options of least_squares and of the accumulators.
struct least_squares_options {
    /// lambda >= 0 of |X B + 1 b' - Y|^2 + lambda |B|^2.
    double ridge = 0;
    intercept_term intercept = intercept_term::fitted;
    /// A gram_accumulator refuses qr and a qr_accumulator refuses normal_equations.
    regression_route route = regression_route::automatic;
    /// Condition number up to which `automatic` is content with normal equations, at least 1; default: eps^(-1/4), 8192 in
    /// double and 54 in float, so that they lose half of the digits at most.
    std::optional<double> largest_condition = std::nullopt;
};

/// Y ~ X coefficients + 1 intercept.
template <class Matrix>
struct linear_regression {
    Matrix coefficients;                          ///< d x t
    Matrix intercept;                             ///< 1 x t, zeros without an intercept
    std::vector<double> residual_squares = {};    ///< t: sum of squared residuals of every target
    std::vector<double> total_squares = {};       ///< t: of squared deviations from the mean, or from 0 without an intercept
    /// Of X with columns (centred, with the ridge below them) of length 1, within a factor d: in the 1-norm for qr, the root of
    /// that of X'X for normal equations.
    double condition = 1;
    regression_route route = regression_route::automatic;   ///< the one that was taken
    regression_status status = regression_status::accurate;
    std::size_t samples = 0;                      ///< N
};

namespace detail {

/// The condition number at which normal equations have lost half of the digits; QR has at its square.
template <class T>
inline constexpr double half_of_the_digits = std::numeric_limits<T>::digits == 24 ? 0x1p5 * 1.6817928305074292 : 0x1p13;

}  // namespace detail
}  // namespace moden
