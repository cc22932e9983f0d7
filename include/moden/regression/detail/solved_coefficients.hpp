#pragma once

// What both routes of a regression share once they have their small matrices: scaled systems, checks, and results. All of it in
// double precision, whatever the samples hold, since d x d matrices are cheap beside N x d ones.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/regression/detail/column_moments.hpp>
#include <moden/regression/options.hpp>

namespace moden::detail {

/// system = diag(scale) (A + ridge I) diag(column_scale), right = [diag(scale) C diag(keep) | I], for A and C side by side.
struct scaled_system {
    const double* source;  ///< d rows of `stride` elements: A (d x d), C (d x t)
    std::size_t stride, d, t;
    const double* row_scale;  ///< null: 1
    const double* column_scale;
    const double* keep;
    double ridge;
    double* system;
    double* right;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        const double scale = row_scale == nullptr ? 1 : row_scale[i];
        if (j < d) {
            system[i * d + j] = (source[i * stride + j] + (i == j ? ridge : 0.0)) * scale * column_scale[j];
        } else if (j < d + t) {
            right[i * (t + d) + j - d] = source[i * stride + j] * scale * keep[j - d];
        } else {
            right[i * (t + d) + j - d] = i == j - d - t ? 1 : 0;
        }
    }
};

/// Sum of the magnitudes of one column.
struct column_magnitudes {
    const double* matrix;
    std::size_t rows, stride;
    MODEN_HOST_DEVICE double operator()(std::size_t j) const {
        double sum = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            const double x = matrix[i * stride + j];
            sum += x < 0 ? -x : x;
        }
        return sum;
    }
};

template <class Policy>
double one_norm(const Policy& policy, const double* matrix, std::size_t rows, std::size_t columns, std::size_t stride) {
    return policy.reduce(columns, 0.0, column_magnitudes{matrix, rows, stride}, maximum{});
}

/// coefficients(i, k) = scale(i) right(i, k).
struct unscaled_coefficients {
    const double* right;
    const double* scale;
    std::size_t stride, t;
    double* coefficients;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t k) const { coefficients[i * t + k] = scale[i] * right[i * stride + k]; }
};

/// matrix(i, j) += weight v(i) v(j).
struct add_outer_square {
    const double* v;
    double weight;
    std::size_t stride;
    double* matrix;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const { matrix[i * stride + j] += weight * v[i] * v[j]; }
};

/// Coefficients (d x t) and what is known about them.
template <class Policy>
struct solved_coefficients {
    buffer_of<Policy, double> values = {};
    double condition = std::numeric_limits<double>::infinity();
    std::vector<double> residual_squares = {};
};

/// The columns that have a part in the most singular direction of a square matrix of scaled columns, which is destroyed.
template <class Policy>
std::vector<std::size_t> dependent_columns(const Policy& policy, double* matrix, std::size_t d) {
    using space = typename Policy::memory_space;
    const auto values = policy.template allocate<double>(d);
    const auto u = policy.template allocate<double>(d * d);
    const auto vt = policy.template allocate<double>(d * d);
    policy.template svd<double>(row_major<double, space>(matrix, d, d), values.data(), row_major<double, space>(u.data(), d, d),
                                row_major<double, space>(vt.data(), d, d));
    const auto direction = to_vector<Policy, double>(policy, vt.data() + (d - 1) * d, d);
    double largest = 0;
    for (const double x : direction) {
        largest = std::max(largest, std::abs(x));
    }
    std::vector<std::size_t> columns;
    for (std::size_t j = 0; j < d; ++j) {
        if (std::abs(direction[j]) > 0.05 * largest) {
            columns.push_back(j);
        }
    }
    return columns;
}

template <class Policy>
[[noreturn]] void refuse_dependent(const Policy& policy, double* matrix, std::size_t d, const char* function, const char* advice) {
    const auto columns = dependent_columns(policy, matrix, d);
    throw argument_error(message(function, ": ", column_list(columns),
                                 columns.size() == 1 ? " of X vanishes beside" : " of X are linearly dependent or too nearly so for",
                                 " its scalar type and route (", advice, ")"));
}

/// Refuses options out of range and problems that only a ridge could decide.
inline void check_regression(const least_squares_options& options, std::size_t samples, std::size_t d, const char* function) {
    require<argument_error>(options.ridge >= 0 && std::isfinite(options.ridge), function, ": ridge ", options.ridge,
                            " (expected a finite value of at least 0)");
    if (options.largest_condition) {
        require<argument_error>(*options.largest_condition >= 1, function, ": largest condition ", *options.largest_condition,
                                " (expected at least 1)");
    }
    const std::size_t unknowns = d + (options.intercept == intercept_term::fitted ? 1 : 0);
    require<argument_error>(samples > 0, function, ": no samples");
    require<argument_error>(samples >= unknowns || options.ridge > 0, function, ": ", samples, " samples for ", unknowns,
                            " unknowns per target (a ridge is required)");
}

/// Refuses columns without which the problem is the same, unless a ridge makes their coefficients 0.
template <class T>
void refuse_idle_columns(const column_moments& moments, std::size_t d, const least_squares_options& options, const char* function) {
    std::vector<std::size_t> idle;
    const bool fitted = options.intercept == intercept_term::fitted;
    for (std::size_t j = 0; j < d; ++j) {
        if (fitted ? moments.is_constant<T>(j) : moments.raw_squares(j) == 0) {
            idle.push_back(j);
        }
    }
    require<argument_error>(idle.empty() || options.ridge > 0, function, ": ", column_list(idle), " of X ",
                            fitted ? "constant, which the intercept is already" : "zero", " (a ridge > 0 would give coefficients of 0)");
}

/// 0 for targets that are constant and get coefficients of exactly 0, otherwise 1.
template <class T>
std::vector<double> kept_targets(const column_moments& moments, std::size_t d, const least_squares_options& options) {
    std::vector<double> keep(moments.mean.size() - d, 1.0);
    for (std::size_t k = 0; k < keep.size(); ++k) {
        keep[k] = options.intercept == intercept_term::fitted && moments.is_constant<T>(d + k) ? 0 : 1;
    }
    return keep;
}

/// The public result: intercept = mean of Y - mean of X times coefficients.
template <class T, class Policy>
auto assembled_regression(const Policy& policy, const solved_coefficients<Policy>& solved, const column_moments& moments, std::size_t d,
                          const least_squares_options& options, regression_route route) {
    using space = typename Policy::memory_space;
    using matrix = policy_tensor<Policy, T, 2>;
    const std::size_t t = moments.mean.size() - d;
    const bool fitted = options.intercept == intercept_term::fitted;
    const double limit = route == regression_route::qr ? half_of_the_digits<T> * half_of_the_digits<T> : half_of_the_digits<T>;
    linear_regression<matrix> result{.coefficients = policy.template make_tensor<T, 2>({d, t}),
                                     .intercept = policy.template make_tensor<T, 2>({1, t}),
                                     .residual_squares = solved.residual_squares,
                                     .condition = solved.condition,
                                     .route = route,
                                     .status = solved.condition <= limit ? regression_status::accurate : regression_status::ill_conditioned,
                                     .samples = moments.count};
    policy.transform(d * t, convert_to<double, T>{solved.values.data(), result.coefficients.data()});
    std::vector<double> constant(t, 0.0);
    for (std::size_t k = 0; k < t; ++k) {
        const bool is_idle = fitted && moments.is_constant<T>(d + k);
        result.total_squares.push_back(is_idle ? 0 : fitted ? moments.squares[d + k] : moments.raw_squares(d + k));
        result.residual_squares[k] = is_idle ? 0 : std::max(0.0, result.residual_squares[k]);
        constant[k] = fitted ? moments.mean[d + k] : 0;
    }
    const auto intercept = uploaded(policy, constant);
    if (fitted && t > 0) {
        const auto means = uploaded(policy, moments.mean);
        policy.template gemm<double>(-1.0, row_major<const double, space>(means.data(), 1, d),
                                     row_major<const double, space>(solved.values.data(), d, t), 1.0,
                                     row_major<double, space>(intercept.data(), 1, t));
    }
    policy.transform(t, convert_to<double, T>{intercept.data(), result.intercept.data()});
    return result;
}

}  // namespace moden::detail
