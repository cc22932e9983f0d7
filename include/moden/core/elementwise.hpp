#pragma once

// Loop bodies and reductions that several modules share, written once for host and device.

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>

namespace moden::detail {

struct plus {
    template <class T>
    MODEN_HOST_DEVICE T operator()(T a, T b) const {
        return a + b;
    }
};

struct maximum {
    template <class T>
    MODEN_HOST_DEVICE T operator()(T a, T b) const {
        return a < b ? b : a;
    }
};

template <class T>
struct fill_with {
    T* target;
    T value;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { target[i] = value; }
};

template <class From, class To>
struct convert_to {
    const From* from;
    To* to;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { to[i] = static_cast<To>(from[i]); }
};

/// result += added.
template <class T>
struct add_to {
    const T* added;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] += added[i]; }
};

/// target = factor source; target may be source.
template <class T>
struct scaled_copy {
    const T* source;
    T factor;
    T* target;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { target[i] = factor * source[i]; }
};

/// result = a + factor b; result may be a.
template <class T>
struct scaled_sum {
    const T* a;
    const T* b;
    T factor;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = a[i] + factor * b[i]; }
};

/// The identity, or as much of it as a dense matrix with lines of this length holds.
template <class T>
struct fill_identity {
    T* matrix;
    std::size_t length;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { matrix[i] = i % length == i / length ? T(1) : T(0); }
};

/// Every row of a matrix times a factor of its own, in place: diag(factors) from the left.
template <class T>
struct multiply_rows {
    const T* factors;
    std::size_t columns;
    T* matrix;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { matrix[i] *= factors[i / columns]; }
};

/// Every row of a matrix times a line of factors, in place: diag(factors) from the right.
template <class T>
struct multiply_columns {
    const T* factors;
    std::size_t columns;
    T* matrix;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { matrix[i] *= factors[i % columns]; }
};

/// Every row of a matrix minus a line, a mean for instance; result may be the matrix.
template <class T, class L>
struct subtract_line {
    const T* matrix;
    const L* line;
    std::size_t columns;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = static_cast<T>(static_cast<L>(matrix[i]) - line[i % columns]); }
};

/// result = left - right.
template <class T>
struct difference_of {
    const T* left;
    const T* right;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = left[i] - right[i]; }
};

template <class T>
struct square_of {
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(data[i]);
        return x * x;
    }
};

template <class T>
struct product_of {
    const T* left;
    const T* right;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        return static_cast<double>(left[i]) * static_cast<double>(right[i]);
    }
};

template <class T>
struct squared_difference_of {
    const T* left;
    const T* right;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(left[i]) - static_cast<double>(right[i]);
        return x * x;
    }
};

template <class T>
struct magnitude_of {
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(data[i]);
        return x < 0 ? -x : x;
    }
};

template <class T>
struct scaled_square_of {
    const T* data;
    double scale;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(data[i]) * scale;
        return x * x;
    }
};

/// 1 where an element is NaN or infinite (x - x is then not 0).
template <class T>
struct is_not_finite {
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return data[i] - data[i] == T(0) ? 0.0 : 1.0; }
};

/// Sum of squares of a few neighbouring elements, for loop bodies that have a row each.
template <class T>
MODEN_HOST_DEVICE double square_of_row(const T* row, std::size_t size) {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
        sum += static_cast<double>(row[i]) * static_cast<double>(row[i]);
    }
    return sum;
}

/// Asks for a row that will be read after the present one.
template <class T>
MODEN_HOST_DEVICE void fetch_ahead([[maybe_unused]] const T* row, [[maybe_unused]] std::size_t size) {
    for (std::size_t i = 0; i < size; i += 64 / sizeof(T)) {
        MODEN_PREFETCH(row + i);
    }
}

/// squares(n) = |row n|^2, of long rows: several running sums let the compiler use its registers.
template <class T>
struct row_square {
    const T* rows;
    std::size_t size;
    double* squares;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        constexpr std::size_t lanes = 16;
        const T* row = rows + n * size;
        double running[lanes] = {};
        std::size_t i = 0;
        for (; i + lanes <= size; i += lanes) {
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                running[lane] += static_cast<double>(row[i + lane]) * static_cast<double>(row[i + lane]);
            }
        }
        double sum = square_of_row(row + i, size - i);
        for (const double part : running) {
            sum += part;
        }
        squares[n] = sum;
    }
};

template <class T>
struct as_double {
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return static_cast<double>(data[i]); }
};

/// Sum of squares in double precision.
template <class Policy, class T>
double sum_of_squares(const Policy& policy, const T* data, std::size_t count) {
    return policy.reduce(count, 0.0, square_of<T>{data}, plus{});
}

/// Euclidean norm without overflow or harmful underflow.
template <class Policy, class T>
double euclidean_norm(const Policy& policy, const T* data, std::size_t count) {
    const double sum = sum_of_squares(policy, data, count);
    constexpr double smallest_safe = 1e-280;
    if (sum == sum && sum < std::numeric_limits<double>::infinity() && (sum > smallest_safe || count == 0)) {
        return std::sqrt(sum);
    }
    const double largest = policy.reduce(count, 0.0, magnitude_of<T>{data}, maximum{});
    if (largest == 0.0 || !(largest < std::numeric_limits<double>::infinity())) {
        return sum == sum ? largest : sum;  // NaN stays NaN
    }
    // A power of two, so that scaling rounds nothing; clamped, since 1 / (smallest subnormal number) is infinite.
    const double scale = std::exp2(std::fmin(1000, -std::floor(std::log2(largest))));
    return std::sqrt(policy.reduce(count, 0.0, scaled_square_of<T>{data, scale}, plus{})) / scale;
}

/// How many elements are NaN or infinite.
template <class Policy, class T>
std::size_t count_not_finite(const Policy& policy, const T* data, std::size_t count) {
    return static_cast<std::size_t>(policy.reduce(count, 0.0, is_not_finite<T>{data}, plus{}));
}

/// Refuses NaN and infinity. Reads the data once and returns the sum of squares, which its callers need anyway.
template <class Policy, class T>
double require_finite(const Policy& policy, const T* data, std::size_t count, const char* function, const char* name) {
    const double sum = sum_of_squares(policy, data, count);
    if (!(sum < std::numeric_limits<double>::infinity())) {  // overflow of the sum alone is not an error
        const std::size_t bad = count_not_finite(policy, data, count);
        require<argument_error>(bad == 0, function, ": ", name, " holds ", bad, " values that are NaN or infinite (expected finite values)");
    }
    return sum;
}

}  // namespace moden::detail
