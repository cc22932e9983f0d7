#pragma once

// Means of columns and squared deviations from them in double precision: one pass over the samples.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>

namespace moden::detail {

/// Moments of the columns of a matrix, on the host.
struct column_moments {
    std::size_t count = 0;
    std::vector<double> mean;
    std::vector<double> squares;  ///< sum of squared deviations from the mean

    explicit column_moments(std::size_t columns = 0) : mean(columns, 0.0), squares(columns, 0.0) {}

    /// Those of both sets of samples together (Chan, Golub & LeVeque 1983).
    void merge(const column_moments& other) {
        const double n = static_cast<double>(count), m = static_cast<double>(other.count);
        for (std::size_t j = 0; j < mean.size() && other.count > 0; ++j) {
            const double shift = other.mean[j] - mean[j];
            mean[j] += shift * (m / (n + m));
            squares[j] += other.squares[j] + shift * shift * (n * m / (n + m));
        }
        count += other.count;
    }

    /// Sum of squares about 0.
    double raw_squares(std::size_t j) const { return squares[j] + static_cast<double>(count) * mean[j] * mean[j]; }

    /// Whether a column of T varies by no more than the rounding of its mean.
    template <class T>
    bool is_constant(std::size_t j) const {
        const double rounding = 2 * static_cast<double>(std::numeric_limits<T>::epsilon()) * mean[j];
        return squares[j] <= rounding * rounding * static_cast<double>(count);
    }
};

/// Sums over segments of `height` rows of deviations from the first row, and of their squares: columns that are constant give exact
/// zeros, and a mean far from 0 takes no digits.
template <class T>
struct segment_moments {
    const T* rows;
    std::size_t count, size, height;
    double* sums;     ///< segments x 2 size
    MODEN_HOST_DEVICE void operator()(std::size_t segment, std::size_t first, std::size_t last) const {
        double* sum = sums + segment * 2 * size;
        double* square = sum + size;
        for (std::size_t j = first; j < last; ++j) {
            sum[j] = square[j] = 0;
        }
        const std::size_t end = (segment + 1) * height < count ? (segment + 1) * height : count;
        for (std::size_t n = segment * height; n < end; ++n) {
            MODEN_INDEPENDENT
            for (std::size_t j = first; j < last; ++j) {
                const double x = static_cast<double>(rows[n * size + j]) - static_cast<double>(rows[j]);
                sum[j] += x;
                square[j] += x * x;
            }
        }
    }
};

/// Totals of columns.
struct column_totals {
    const double* rows;
    std::size_t count, size;
    double* totals;
    MODEN_HOST_DEVICE void operator()(std::size_t, std::size_t first, std::size_t last) const {
        for (std::size_t j = first; j < last; ++j) {
            totals[j] = 0;
        }
        for (std::size_t n = 0; n < count; ++n) {
            MODEN_INDEPENDENT
            for (std::size_t j = first; j < last; ++j) {
                totals[j] += rows[n * size + j];
            }
        }
    }
};

/// Moments of the columns of a dense row-major matrix; refuses NaN and infinity.
template <class Policy, class T, class Space>
column_moments moments_of(const Policy& policy, matrix_view<const T, Space> x, const char* function, const char* name) {
    constexpr std::size_t height = 256;
    const std::size_t size = x.columns, segments = (x.rows + height - 1) / height;
    column_moments result(size);
    if (x.rows == 0 || size == 0) {
        return result;
    }
    const auto partial = policy.template allocate<double>(segments * 2 * size);
    const auto totals = policy.template allocate<double>(2 * size);
    policy.transform_rows(segments, size, segment_moments<T>{x.data, x.rows, size, height, partial.data()});
    policy.transform_rows(1, 2 * size, column_totals{partial.data(), segments, 2 * size, totals.data()});
    const auto sums = to_vector<Policy, double>(policy, totals.data(), 2 * size);
    const auto origin = to_vector<Policy, T>(policy, x.data, size);
    result.count = x.rows;
    const double n = static_cast<double>(x.rows);
    bool finite = true;
    for (std::size_t j = 0; j < size; ++j) {
        result.mean[j] = static_cast<double>(origin[j]) + sums[j] / n;
        result.squares[j] = std::max(0.0, sums[size + j] - sums[j] * sums[j] / n);
        finite = finite && std::isfinite(sums[size + j]);
    }
    if (!finite) {  // squares of finite numbers may overflow, which the caller sees in `squares`
        require_finite(policy, x.data, x.rows * size, function, name);
        std::fill(result.squares.begin(), result.squares.end(), std::numeric_limits<double>::infinity());
    }
    return result;
}

/// Whether sums of products of such columns neither overflow nor vanish in T.
template <class T>
bool squares_fit(const column_moments& moments) {
    const double largest = static_cast<double>(std::numeric_limits<T>::max()) / 4;
    const double smallest = static_cast<double>(std::numeric_limits<T>::min()) / static_cast<double>(std::numeric_limits<T>::epsilon());
    for (std::size_t j = 0; j < moments.mean.size(); ++j) {
        const bool fits = moments.raw_squares(j) <= largest && (moments.squares[j] == 0 || moments.squares[j] >= smallest);
        if (!fits) {
            return false;
        }
    }
    return true;
}

/// Whether X'X - n m m' keeps all but two digits: the mean has at most 15 parts in 16 of every column's squares.
inline bool means_are_small(const column_moments& moments) {
    for (std::size_t j = 0; j < moments.mean.size(); ++j) {
        if (!(moments.raw_squares(j) <= 16 * moments.squares[j])) {
            return false;
        }
    }
    return true;
}

/// "3, 5 and 8 more".
inline std::string column_list(const std::vector<std::size_t>& columns) {
    constexpr std::size_t longest = 8;
    std::string text = columns.size() == 1 ? "column " : "columns ";
    for (std::size_t i = 0; i < std::min(columns.size(), longest); ++i) {
        text += (i > 0 ? ", " : "") + std::to_string(columns[i]);
    }
    return columns.size() > longest ? text + " and " + std::to_string(columns.size() - longest) + " more" : text;
}

}  // namespace moden::detail
