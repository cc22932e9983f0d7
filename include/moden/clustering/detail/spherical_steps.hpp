#pragma once

// Loop bodies of spherical k-means, for host and device. X is N x d, centres are K x d, row-major.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>

namespace moden::detail {

/// sum of left(i) right(i) in double precision; several running sums let the compiler use its registers.
template <class T>
MODEN_HOST_DEVICE double product_of_rows(const T* left, const T* right, std::size_t size) {
    constexpr std::size_t lanes = 16;
    double running[lanes] = {};
    std::size_t i = 0;
    for (; i + lanes <= size; i += lanes) {
        MODEN_INDEPENDENT
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            running[lane] += static_cast<double>(left[i + lane]) * static_cast<double>(right[i + lane]);
        }
    }
    double sum = 0;
    for (; i < size; ++i) {
        sum += static_cast<double>(left[i]) * static_cast<double>(right[i]);
    }
    for (const double part : running) {
        sum += part;
    }
    return sum;
}

/// |row|, where squares may overflow or vanish, too; NaN or infinite for rows that hold such values.
template <class T>
MODEN_HOST_DEVICE double row_length(const T* row, std::size_t size) {
    const double square = product_of_rows(row, row, size);
    if (square > 1e-200 && square < 1e300) {
        return std::sqrt(square);
    }
    double largest = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const double magnitude = std::fabs(static_cast<double>(row[i]));
        largest = magnitude > largest ? magnitude : largest;
    }
    if (!(largest <= std::numeric_limits<double>::max())) {
        return largest;
    }
    int exponent = 0;
    std::frexp(largest, &exponent);
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const double value = std::ldexp(static_cast<double>(row[i]), -exponent);
        sum += value * value;
    }
    return std::ldexp(std::sqrt(sum), exponent);
}

/// 1 / |row|, or 0 if T has no normal number for it: denormal ones have lost digits. A row is one step, whatever range it is given.
template <class T>
struct inverse_row_length {
    const T* rows;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t, std::size_t) const {
        constexpr double least = std::numeric_limits<T>::min(), most = std::numeric_limits<T>::max();
        const double inverse = 1 / row_length(rows + n * size, size);
        result[n] = inverse >= least && inverse <= most ? static_cast<T>(inverse) : T(0);
    }
};

template <class T>
struct is_zero {
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return data[i] == T(0) ? 1.0 : 0.0; }
};

/// Rows chosen[0], chosen[1], ... of X at length 1.
template <class T>
struct unit_rows_of {
    const T* rows;
    const T* inverse_lengths;
    const std::size_t* chosen;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t k, std::size_t i) const {
        result[k * size + i] = rows[chosen[k] * size + i] * inverse_lengths[chosen[k]];
    }
};

/// 1 - cosine of row n and the c-th of `count` vectors, from their products with X; at least 0.
template <class T>
struct distance_to {
    const T* products;
    const T* inverse_lengths;
    std::size_t count;
    std::size_t c;
    MODEN_HOST_DEVICE T operator()(std::size_t n) const {
        const T distance = T(1) - products[n * count + c] * inverse_lengths[n];
        return distance > T(0) ? distance : T(0);
    }
};

/// The distance of row n from the nearest centre if the candidate becomes one.
template <class T>
struct distance_with_candidate {
    distance_to<T> candidate;
    const T* nearest;
    MODEN_HOST_DEVICE double operator()(std::size_t n) const {
        const T distance = candidate(n);
        return static_cast<double>(distance < nearest[n] ? distance : nearest[n]);
    }
};

template <class T>
struct accept_candidate {
    distance_to<T> candidate;
    T* nearest;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const T distance = candidate(n);
        nearest[n] = distance < nearest[n] ? distance : nearest[n];
    }
};

/// Sum of a piece of a list.
template <class T>
struct sum_of_piece {
    const T* data;
    std::size_t count;
    std::size_t piece;
    double* sums;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        double sum = 0;
        for (std::size_t i = p * piece; i < count && i < (p + 1) * piece; ++i) {
            sum += static_cast<double>(data[i]);
        }
        sums[p] = sum;
    }
};

/// The label of a vector that has not been assigned yet.
inline constexpr std::uint32_t no_cluster = 0xffffffffu;

/// 1 - cosine of row n and its own centre; at least 0.
template <class T>
struct distance_from_own {
    const T* rows;
    const T* inverse_lengths;
    const T* centres;
    const std::uint32_t* labels;
    std::size_t size;
    T* distances;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t, std::size_t) const {
        const double cosine = product_of_rows(rows + n * size, centres + labels[n] * size, size) * static_cast<double>(inverse_lengths[n]);
        distances[n] = cosine < 1 ? static_cast<T>(1 - cosine) : T(0);
    }
};

/// The sum over n of x_n . c_label(n), where x_n has length 1, is the sum over k of c_k . (total of cluster k).
template <class T>
struct product_with_total {
    const T* centres;
    const double* totals;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return static_cast<double>(centres[i]) * totals[i]; }
};

/// What the rows of piece p that change clusters add to the sums of unit rows, columns [first, last): every piece has sums of its own, and
/// every column is added in the order of rows, so that nothing depends on who is first.
template <class T>
struct sum_changes_of_piece {
    const T* rows;
    const T* inverse_lengths;
    const std::uint32_t* labels;
    const std::uint32_t* previous_labels;
    std::size_t count;
    std::size_t piece;
    std::size_t size;
    std::size_t clusters;
    double* sums;  // pieces x K x d
    int* counts;   // pieces x K
    MODEN_HOST_DEVICE void operator()(std::size_t p, std::size_t first, std::size_t last) const {
        for (std::size_t k = 0; k < clusters; ++k) {
            for (std::size_t i = first; i < last; ++i) {
                sums[(p * clusters + k) * size + i] = 0;
            }
            if (first == 0) {
                counts[p * clusters + k] = 0;
            }
        }
        const std::size_t end = (p + 1) * piece < count ? (p + 1) * piece : count;
        constexpr int changes_ahead = 2;  // changed rows may be far apart, and memory takes longer than sums
        std::size_t ahead = next_change(p * piece, end);
        for (std::size_t n = ahead, lead = 0; n < end; n = next_change(n + 1, end)) {
            for (; lead < changes_ahead && ahead < end; ++lead) {
                fetch_ahead(rows + ahead * size + first, last - first);
                ahead = next_change(ahead + 1, end);
            }
            --lead;
            const double factor = static_cast<double>(inverse_lengths[n]);
            move_row(p, n, labels[n], factor, 1, first, last);
            if (previous_labels[n] != no_cluster) {
                move_row(p, n, previous_labels[n], -factor, -1, first, last);
            }
        }
    }

    MODEN_HOST_DEVICE std::size_t next_change(std::size_t n, std::size_t end) const {
        while (n < end && labels[n] == previous_labels[n]) {
            ++n;
        }
        return n;
    }

    MODEN_HOST_DEVICE void move_row(std::size_t p, std::size_t n, std::size_t cluster, double factor, int one, std::size_t first, std::size_t last) const {
        const T* const row = rows + n * size;
        double* const target = sums + (p * clusters + cluster) * size;
        MODEN_INDEPENDENT
        for (std::size_t i = first; i < last; ++i) {
            target[i] += factor * static_cast<double>(row[i]);
        }
        if (first == 0) {
            counts[p * clusters + cluster] += one;
        }
    }
};

/// totals += sums of all pieces, in their order; row k, columns [first, last).
template <class Part, class Total>
struct add_pieces {
    const Part* parts;
    std::size_t pieces;
    std::size_t columns;
    std::size_t part_size;
    Total* totals;
    MODEN_HOST_DEVICE void operator()(std::size_t k, std::size_t first, std::size_t last) const {
        Total* const total = totals + k * columns;
        for (std::size_t p = 0; p < pieces; ++p) {
            const Part* const part = parts + p * part_size + k * columns;
            MODEN_INDEPENDENT
            for (std::size_t i = first; i < last; ++i) {
                total[i] += static_cast<Total>(part[i]);
            }
        }
    }
};

/// Centre k at length 1 from its total; a total of 0 leaves it where it is.
template <class T>
struct centre_from_total {
    const double* totals;
    std::size_t size;
    T* centres;
    MODEN_HOST_DEVICE void operator()(std::size_t k) const {
        const double square = square_of_row(totals + k * size, size);
        if (square > 0) {
            const double factor = 1 / std::sqrt(square);
            for (std::size_t i = k * size; i < (k + 1) * size; ++i) {
                centres[i] = static_cast<T>(factor * totals[i]);
            }
        }
    }
};

/// Centre targets[i] = the unit row chosen[i] of X.
template <class T>
struct replace_centres {
    unit_rows_of<T> source;
    const std::size_t* targets;
    T* centres;
    MODEN_HOST_DEVICE void operator()(std::size_t c, std::size_t i) const {
        const std::size_t n = source.chosen[c];
        centres[targets[c] * source.size + i] = source.rows[n * source.size + i] * source.inverse_lengths[n];
    }
};

}  // namespace moden::detail
