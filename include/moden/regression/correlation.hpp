#pragma once

// How well directions and regressions do: correlation tables and coefficients of determination.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/regression/detail/column_moments.hpp>

namespace moden {

namespace detail {

/// result(i, j) = (rows(i, j) - mean(j)) scale(j).
template <class T>
struct standardised_rows {
    const T* rows;
    const double* mean;
    const double* scale;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t first, std::size_t last) const {
        MODEN_INDEPENDENT
        for (std::size_t j = first; j < last; ++j) {
            result[i * size + j] = static_cast<T>((static_cast<double>(rows[i * size + j]) - mean[j]) * scale[j]);
        }
    }
};

template <class T>
struct add_block {
    const T* block;
    double* sum;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { sum[i] += static_cast<double>(block[i]); }
};

template <class T>
struct clamped_correlation {
    const double* sum;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = static_cast<T>(sum[i] > 1 ? 1 : sum[i] < -1 ? -1 : sum[i]); }
};

/// Columns of a matrix brought to mean 0 and length 1 on the fly.
template <class Policy, class T>
struct standardised_columns {
    using space = typename Policy::memory_space;
    matrix_view<const T, space> matrix;
    buffer_of<Policy, double> mean;
    buffer_of<Policy, double> scale;
    buffer_of<Policy, T> scratch;

    standardised_columns(const Policy& policy, matrix_view<const T, space> x, std::size_t block, const char* function, const char* name)
        : matrix(x), scratch(policy.template allocate<T>(block * x.columns)) {
        const column_moments moments = moments_of(policy, x, function, name);
        std::vector<std::size_t> constant;
        std::vector<double> factors(x.columns);
        for (std::size_t j = 0; j < x.columns; ++j) {
            if (moments.template is_constant<T>(j)) {
                constant.push_back(j);
            } else {
                factors[j] = 1 / std::sqrt(moments.squares[j]);
            }
        }
        require<argument_error>(constant.empty(), function, ": ", column_list(constant), " of ", name,
                                " constant, which correlates with nothing");
        mean = uploaded(policy, moments.mean);
        scale = uploaded(policy, factors);
    }

    matrix_view<const T, space> rows(const Policy& policy, std::size_t first, std::size_t count) const {
        policy.transform_rows(
            count, matrix.columns,
            standardised_rows<T>{matrix.data + first * matrix.columns, mean.data(), scale.data(), matrix.columns, scratch.data()});
        return row_major<const T, space>(scratch.data(), count, matrix.columns);
    }
};

/// result(n, k) = codes directions'.
template <class Policy, class T, class Space>
buffer_of<Policy, T> projections(const Policy& policy, matrix_view<const T, Space> codes, matrix_view<const T, Space> directions) {
    auto result = policy.template allocate<T>(codes.rows * directions.rows);
    if (codes.rows > 0) {
        policy.template gemm<T>(T(1), codes, transposed(directions), T(0), row_major<T, Space>(result.data(), codes.rows, directions.rows));
    }
    return result;
}

template <class Policy, class T, class Space>
auto correlations(const Policy& policy, matrix_view<const T, Space> left, matrix_view<const T, Space> right, const char* function,
                  const char* left_name, const char* right_name) {
    require<shape_error>(left.rows == right.rows && left.columns > 0 && right.columns > 0, function, ": ", left_name, " of ", left.rows,
                         " x ", left.columns, " and ", right_name, " of ", right.rows, " x ", right.columns,
                         " (expected equal numbers of rows)");
    require<argument_error>(left.rows >= 2, function, ": ", left.rows, " samples (expected at least 2)");
    const std::size_t p = left.columns, q = right.columns;
    const std::size_t block = std::min(left.rows, std::clamp<std::size_t>((std::size_t{1} << 22) / (p + q), 256, 16384));
    const standardised_columns<Policy, T> a(policy, left, block, function, left_name), b(policy, right, block, function, right_name);
    const auto product = policy.template allocate<T>(p * q);
    const auto sum = policy.template allocate<double>(p * q);
    policy.transform(p * q, fill_with<double>{sum.data(), 0.0});
    for (std::size_t first = 0; first < left.rows; first += block) {
        const std::size_t count = std::min(block, left.rows - first);
        policy.template gemm<T>(T(1), transposed(a.rows(policy, first, count)), b.rows(policy, first, count), T(0),
                                row_major<T, Space>(product.data(), p, q));
        policy.transform(p * q, add_block<T>{product.data(), sum.data()});
    }
    auto result = policy.template make_tensor<T, 2>({p, q});
    policy.transform(p * q, clamped_correlation<T>{sum.data(), result.data()});
    return result;
}

}  // namespace detail

/// Pearson's correlation coefficients between the columns of two matrices.
///
/// \param policy where to compute
/// \param left   N x p, N >= 2, finite
/// \param right  N x q, finite
/// \return       p x q, in [-1, 1]
/// \throws shape_error if the extents do not fit; argument_error for fewer than two samples, constant columns, which are named, NaN or infinity
///
/// Columns are centred and scaled before they are multiplied, so that an origin far away costs no digits.
/// Cost: 2 N p q flops, two passes over both; memory for standardised copies of at most 16384 rows.
/// Source: 000 Table 2.
/// \snippet tests/regression/correlation.cpp correlation_table
template <execution_policy Policy, any_tensor Left, any_tensor Right>
auto correlation_table(const Policy& policy, const Left& left, const Right& right) {
    static_assert(std::is_same_v<value_type_of<Left>, value_type_of<Right>>, "moden: correlation_table of matrices of different type");
    const auto one = detail::evaluate(policy, left);
    const auto other = detail::evaluate(policy, right);
    constexpr const char* name = "correlation_table";
    return detail::correlations(policy, detail::as_matrix(one.view(), name, "the left matrix"),
                                detail::as_matrix(other.view(), name, "the right matrix"), name, "the left matrix", "the right matrix");
}

template <any_tensor Left, any_tensor Right>
auto correlation_table(const Left& left, const Right& right) {
    return correlation_table(cpu_policy{}, left, right);
}

/// How much moving along each direction has to do with each attribute: correlations of w' v with attribute values.
///
/// A good set of directions has values near 1 on its diagonal and near 0 beside it.
///
/// \param policy     where to compute
/// \param codes      N x d, N >= 2, finite
/// \param directions k x d, of any length but 0
/// \param attributes N x t, finite
/// \return           k x t, in [-1, 1]
/// \throws shape_error if the extents do not fit; argument_error for fewer than two codes, directions along which the codes do not vary,
///         constant attributes, NaN or infinity
///
/// Cost: 2 N k (d + t) flops; memory for N k projections. Source: 000 section 4.3, Table 2.
/// \snippet tests/regression/correlation.cpp direction_correlations
template <execution_policy Policy, any_tensor Codes, any_tensor Directions, any_tensor Attributes>
auto direction_correlations(const Policy& policy, const Codes& codes, const Directions& directions, const Attributes& attributes) {
    using T = value_type_of<Codes>;
    using space = typename Policy::memory_space;
    constexpr const char* name = "direction_correlations";
    static_assert(std::is_same_v<T, value_type_of<Directions>> && std::is_same_v<T, value_type_of<Attributes>>,
                  "moden: direction_correlations of tensors of different type");
    const auto w_argument = detail::evaluate(policy, codes);
    const auto v_argument = detail::evaluate(policy, directions);
    const auto y_argument = detail::evaluate(policy, attributes);
    const auto w = detail::as_matrix(w_argument.view(), name, "the matrix of codes");
    const auto v = detail::as_matrix(v_argument.view(), name, "the matrix of directions");
    const auto y = detail::as_matrix(y_argument.view(), name, "the matrix of attributes");
    detail::require<shape_error>(w.columns == v.columns && v.rows > 0, name, ": codes of ", w.rows, " x ", w.columns, " and directions of ",
                                 v.rows, " x ", v.columns, " (expected N x d and k x d)");
    detail::require_finite(policy, w.data, w.rows * w.columns, name, "the codes");
    detail::require_finite(policy, v.data, v.rows * v.columns, name, "the directions");
    const auto projected = detail::projections(policy, w, v);
    return detail::correlations(policy, row_major<const T, space>(projected.data(), w.rows, v.rows), y, name, "the projections",
                                "the attributes");
}

template <any_tensor Codes, any_tensor Directions, any_tensor Attributes>
auto direction_correlations(const Codes& codes, const Directions& directions, const Attributes& attributes) {
    return direction_correlations(cpu_policy{}, codes, directions, attributes);
}

/// Coefficient of determination of every target, 1 - sum (y - p)^2 / sum (y - mean)^2: 1 for perfect predictions, 0 for predicting the
/// mean, negative for worse.
///
/// \param policy      where to compute
/// \param targets     y, N x t, finite
/// \param predictions p, N x t, finite
/// \return            t numbers; for a constant target 1 if it is predicted exactly, else 0
/// \throws shape_error if the extents differ or there are no samples; argument_error for NaN or infinity
///
/// Cost: two passes; memory for N t differences. For the samples of a regression itself, 1 - residual_squares / total_squares is the same.
/// Source: Draper & Smith 1998, Sec. 1.3.
/// \snippet tests/regression/correlation.cpp coefficient_of_determination
template <execution_policy Policy, any_tensor Targets, any_tensor Predictions>
std::vector<double> coefficient_of_determination(const Policy& policy, const Targets& targets, const Predictions& predictions) {
    using T = value_type_of<Targets>;
    using space = typename Policy::memory_space;
    constexpr const char* name = "coefficient_of_determination";
    static_assert(std::is_same_v<T, value_type_of<Predictions>>,
                  "moden: coefficient_of_determination of targets and predictions of different type");
    const auto y_argument = detail::evaluate(policy, targets);
    const auto p_argument = detail::evaluate(policy, predictions);
    const auto y = detail::as_matrix(y_argument.view(), name, "the matrix of targets");
    const auto p = detail::as_matrix(p_argument.view(), name, "the matrix of predictions");
    detail::require<shape_error>(y.rows == p.rows && y.columns == p.columns && y.rows > 0, name, ": targets of ", y.rows, " x ", y.columns,
                                 " and predictions of ", p.rows, " x ", p.columns, " (expected the same, N >= 1)");
    const std::size_t count = y.rows * y.columns;
    const auto difference = policy.template allocate<T>(count);
    policy.transform(count, detail::difference_of<T>{y.data, p.data, difference.data()});
    const detail::column_moments total = detail::moments_of(policy, y, name, "the targets");
    const detail::column_moments residual = detail::moments_of<Policy, T, space>(
        policy, row_major<const T, space>(difference.data(), y.rows, y.columns), name, "the difference of targets and predictions");
    std::vector<double> result(y.columns);
    for (std::size_t k = 0; k < y.columns; ++k) {
        const double left = residual.raw_squares(k);
        result[k] = !total.is_constant<T>(k) ? 1 - left / total.squares[k] : left == 0 ? 1 : 0;
    }
    return result;
}

template <any_tensor Targets, any_tensor Predictions>
std::vector<double> coefficient_of_determination(const Targets& targets, const Predictions& predictions) {
    return coefficient_of_determination(cpu_policy{}, targets, predictions);
}

}  // namespace moden
