#pragma once

// Loop bodies of fit_attribute_regressor.

#include <cmath>
#include <cstddef>

#include <moden/core/macros.hpp>
#include <moden/nrsfm/shape_model.hpp>

namespace moden::detail {

/// Rows of a matrix that a list names.
template <class T>
struct gather_listed_rows {
    const T* rows;
    const std::size_t* list;
    T* result;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t first, std::size_t last) const {
        for (std::size_t i = first; i < last; ++i) {
            result[n * columns + i] = rows[list[n] * columns + i];
        }
    }
};

/// Mean and standard deviation of a column; a deviation that is only rounding counts as 0.
template <class T>
struct column_spread {
    const T* rows;
    std::size_t count, columns;
    double rounding;
    T* means;
    T* deviations;
    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        double sum = 0, squares = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sum += static_cast<double>(rows[n * columns + j]);
        }
        const double mean = sum / static_cast<double>(count);
        for (std::size_t n = 0; n < count; ++n) {
            const double off = static_cast<double>(rows[n * columns + j]) - mean;
            squares += off * off;
        }
        const double deviation = std::sqrt(squares / static_cast<double>(count));
        means[j] = static_cast<T>(mean);
        deviations[j] = static_cast<T>(deviation > rounding * std::fabs(mean) ? deviation : 0);
    }
};

/// (x - mean) / deviation; 0 where the deviation is.
template <class T>
struct standardize_rows {
    const T* rows;
    const T* means;
    const T* deviations;
    T* result;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t first, std::size_t last) const {
        for (std::size_t i = first; i < last; ++i) {
            result[n * columns + i] = deviations[i] > T(0) ? (rows[n * columns + i] - means[i]) / deviations[i] : T(0);
        }
    }
};

/// mean + deviation x.
template <class T>
struct restore_rows {
    const T* rows;
    const T* means;
    const T* deviations;
    T* result;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t first, std::size_t last) const {
        for (std::size_t i = first; i < last; ++i) {
            result[n * columns + i] = means[i] + deviations[i] * rows[n * columns + i];
        }
    }
};

/// First layer's row: A / deviation and b - A mean / deviation, so that it takes points as they are.
template <class T>
struct fold_input_scale {
    T* weights;
    T* bias;
    const T* means;
    const T* deviations;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        double shift = 0;
        for (std::size_t j = 0; j < columns; ++j) {
            T& a = weights[i * columns + j];
            a = deviations[j] > T(0) ? a / deviations[j] : T(0);
            shift += static_cast<double>(a) * static_cast<double>(means[j]);
        }
        bias[i] = static_cast<T>(static_cast<double>(bias[i]) - shift);
    }
};

/// Last layer's row: deviation A and mean + deviation b, so that it gives attributes as they are.
template <class T>
struct fold_output_scale {
    T* weights;
    T* bias;
    const T* means;
    const T* deviations;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        for (std::size_t j = 0; j < columns; ++j) {
            weights[i * columns + j] *= deviations[i];
        }
        bias[i] = means[i] + deviations[i] * bias[i];
    }
};

/// pull_back_parameters at a point of its own for every row.
template <class T>
struct pull_back_each {
    pull_back_parameters<T> rows;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const std::size_t size = 8 + rows.count;
        const pull_back_parameters<T> one{rows.parameters + n * size, rows.directions, rows.moments + 2 * n * (3 + rows.count),
                                          rows.cotangents + 2 * n * rows.points, rows.count, rows.points, rows.result + n * size};
        one(0);
    }
};

/// The slope in a standardised attribute: that of the landmarks times the deviation, and that of weight |z - z_n|^2.
template <class T>
struct attribute_slope {
    const T* pulled;
    const T* deviations;
    const T* outputs;
    const T* wanted;
    T factor, weight;
    T* result;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t first, std::size_t last) const {
        for (std::size_t i = first; i < last; ++i) {
            const std::size_t at = n * columns + i;
            const T own = deviations[i] > T(0) ? weight * (outputs[at] - wanted[at]) : T(0);
            result[at] = factor * deviations[i] * pulled[at] + own;
        }
    }
};

}  // namespace moden::detail
