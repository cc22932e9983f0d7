#pragma once

// Tracks as a matrix of two rows per frame about the frames' means, and products with it in double precision.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>

namespace moden::detail {

/// Sum of squares of `size` numbers, in double precision.
template <class T>
MODEN_HOST_DEVICE double squares_of(const T* values, std::size_t size) {
    double sums[4] = {0, 0, 0, 0};  // each addition waits for the one before it
    std::size_t l = 0;
    for (; l + 4 <= size; l += 4) {
        for (std::size_t i = 0; i < 4; ++i) {
            sums[i] += static_cast<double>(values[l + i]) * static_cast<double>(values[l + i]);
        }
    }
    for (; l < size; ++l) {
        sums[0] += static_cast<double>(values[l]) * static_cast<double>(values[l]);
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

/// One row about the mean of what is observed of it; what is not observed becomes 0.
template <class T, class M, class Out = T>
struct centre_row {
    const T* rows;
    const M* mask;  ///< a row for two rows of tracks; null: all observed
    std::size_t size;
    Out* centred;
    double* means;
    double* squares;  ///< sums of squares of the centred rows
    MODEN_HOST_DEVICE void operator()(std::size_t r) const {
        centre(r);
        squares[r] = squares_of(centred + r * size, size);
    }
    MODEN_HOST_DEVICE void centre(std::size_t r) const {
        const T* row = rows + r * size;
        Out* result = centred + r * size;
        if (mask == nullptr) {
            double sums[4] = {0, 0, 0, 0};  // each addition waits for the one before it
            std::size_t l = 0;
            for (; l + 4 <= size; l += 4) {
                for (std::size_t i = 0; i < 4; ++i) {
                    sums[i] += static_cast<double>(row[l + i]);
                }
            }
            for (; l < size; ++l) {
                sums[0] += static_cast<double>(row[l]);
            }
            const double mean = (sums[0] + sums[1] + sums[2] + sums[3]) / static_cast<double>(size);
            means[r] = mean;
            for (l = 0; l < size; ++l) {
                result[l] = static_cast<Out>(static_cast<double>(row[l]) - mean);
            }
            return;
        }
        const M* seen = mask + r / 2 * size;
        double sum = 0, count = 0;
        for (std::size_t l = 0; l < size; ++l) {
            sum += seen[l] != M(0) ? static_cast<double>(row[l]) : 0.0;
            count += seen[l] != M(0) ? 1.0 : 0.0;
        }
        means[r] = sum / count;
        for (std::size_t l = 0; l < size; ++l) {
            result[l] = seen[l] != M(0) ? static_cast<Out>(static_cast<double>(row[l]) - means[r]) : Out(0);
        }
    }
};

struct sum_of_pair {
    const double* values;
    double* sums;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const { sums[n] = values[2 * n] + values[2 * n + 1]; }
};

template <class M>
struct observed_or_not {
    const M* mask;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = mask[i] != M(0) ? 1.0 : 0.0; }
};

/// 1 where an observed element is NaN or infinite; elements (n, i, l) have mask (n, l).
template <class T>
struct observed_and_not_finite {
    const T* data;
    const double* mask;
    std::size_t points;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        return mask[i / (2 * points) * points + i % points] != 0 && !(data[i] - data[i] == T(0)) ? 1.0 : 0.0;
    }
};

struct count_line {
    const double* mask;
    std::size_t lines, length, line_step, step;
    double* counts;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        double sum = 0;
        for (std::size_t j = 0; j < length; ++j) {
            sum += mask[i * line_step + j * step];
        }
        counts[i] = sum;
    }
};

/// Tracks about their frames' means, in the memory of the policy.
template <class Policy, class T>
struct centred_tracks {
    using space = typename Policy::memory_space;
    std::size_t frames = 0, points = 0;
    buffer_of<Policy, T> rows;          ///< 2N x L, 0 where not observed
    buffer_of<Policy, double> means;    ///< 2N
    buffer_of<Policy, double> energies; ///< sums of squares of the frames' two rows, N
    buffer_of<Policy, double> mask;     ///< N x L of 0 and 1; empty: all observed
    double energy = 0;                  ///< sum of squares of `rows`

    bool complete() const { return mask.size() == 0; }
    matrix_view<const T, space> matrix() const { return row_major<const T, space>(rows.data(), 2 * frames, points); }
    double observations() const { return count; }

    double count = 0;  ///< of observed coordinates
};

inline void check_iteration_options(double tolerance, std::size_t max_iterations, const char* function) {
    require<argument_error>(tolerance >= 0, function, ": tolerance ", tolerance, " (expected at least 0)");
    require<argument_error>(max_iterations >= 1, function, ": max_iterations 0 (expected at least 1)");
}

/// Frames and points of a shape, N x 2 x L or 2N x L.
inline std::pair<std::size_t, std::size_t> check_track_shape(const extents& shape, const char* function, std::size_t least_frames) {
    require<shape_error>(shape.size() == 2 || shape.size() == 3, function, ": tracks of the shape ", shape, " (expected N x 2 x L or 2N x L)");
    if (shape.size() == 3) {
        require<shape_error>(shape[1] == 2, function, ": tracks of ", shape, " (expected N x 2 x L)");
    } else {
        require<shape_error>(shape[0] % 2 == 0, function, ": tracks of ", shape, ": an odd number of rows (expected 2N x L)");
    }
    const std::size_t frames = shape.size() == 3 ? shape[0] : shape[0] / 2, points = shape.back();
    require<shape_error>(frames >= least_frames, function, ": ", frames, " frames (expected at least ", least_frames, ")");
    require<shape_error>(points >= 4, function, ": ", points, " points (expected at least 4)");
    return {frames, points};
}

/// Refuses frames and points that too little is seen of, by their number.
template <class Policy>
void check_observations(const Policy& policy, const double* mask, std::size_t frames, std::size_t points, std::size_t least_points,
                        std::size_t least_frames, const char* function) {
    const auto counts = policy.template allocate<double>(std::max(frames, points));
    policy.transform(frames, count_line{mask, frames, points, points, 1, counts.data()}, points);
    const auto of_frames = to_vector<Policy, double>(policy, counts.data(), frames);
    for (std::size_t n = 0; n < frames; ++n) {
        require<argument_error>(of_frames[n] >= static_cast<double>(least_points), function, ": frame ", n, " has ",
                                static_cast<std::size_t>(of_frames[n]), " observed points (expected at least ", least_points, ")");
    }
    policy.transform(points, count_line{mask, points, frames, 1, points, counts.data()}, frames);
    const auto of_points = to_vector<Policy, double>(policy, counts.data(), points);
    for (std::size_t l = 0; l < points; ++l) {
        require<argument_error>(of_points[l] >= static_cast<double>(least_frames), function, ": point ", l, " is observed in ",
                                static_cast<std::size_t>(of_points[l]), " frames (expected at least ", least_frames, ")");
    }
}

/// Fills rows, means and energies; the mask may be null.
template <class Policy, class T>
void fill_centred_rows(const Policy& policy, const T* tracks, const double* mask, centred_tracks<Policy, T>& result) {
    const std::size_t frames = result.frames, points = result.points;
    result.rows = policy.template allocate<T>(2 * frames * points);
    result.means = policy.template allocate<double>(2 * frames);
    result.energies = policy.template allocate<double>(frames);
    const auto squares = policy.template allocate<double>(2 * frames);
    policy.transform(2 * frames, centre_row<T, double>{tracks, mask, points, result.rows.data(), result.means.data(), squares.data()}, 2 * points);
    policy.transform(frames, sum_of_pair{squares.data(), result.energies.data()});
    result.energy = policy.reduce(frames, 0.0, as_double<double>{result.energies.data()}, plus{});
}

/// Complete tracks. Refuses NaN and infinity.
template <class Policy, class T, class Space>
centred_tracks<Policy, T> centre_tracks(const Policy& policy, const tensor_view<const T, Space>& view, const char* function,
                                        std::size_t least_frames = 3) {
    centred_tracks<Policy, T> result;
    std::tie(result.frames, result.points) = check_track_shape(view.shape, function, least_frames);
    fill_centred_rows(policy, view.data, static_cast<const double*>(nullptr), result);
    const std::size_t bad = std::isfinite(result.energy) ? 0 : count_not_finite(policy, view.data, view.size());
    require<argument_error>(bad == 0, function, ": the tracks hold ", bad, " values that are NaN or infinite (give a mask if they are missing)");
    result.count = static_cast<double>(view.size());
    return result;
}

/// Tracks with a mask (N x L, nonzero: observed).
template <class Policy, class T, class Space, class M>
centred_tracks<Policy, T> centre_tracks(const Policy& policy, const tensor_view<const T, Space>& view, const tensor_view<const M, Space>& mask,
                                        std::size_t least_points, std::size_t least_observations, const char* function, std::size_t least_frames = 3) {
    centred_tracks<Policy, T> result;
    std::tie(result.frames, result.points) = check_track_shape(view.shape, function, least_frames);
    const std::size_t frames = result.frames, points = result.points;
    require<shape_error>(mask.shape == extents({frames, points}), function, ": a mask of ", mask.shape, " for tracks of ", view.shape, " (expected ",
                         frames, " x ", points, ")");
    result.mask = policy.template allocate<double>(frames * points);
    policy.transform(frames * points, observed_or_not<M>{mask.data, result.mask.data()});
    const double bad = policy.reduce(view.size(), 0.0, observed_and_not_finite<T>{view.data, result.mask.data(), points}, plus{});
    require<argument_error>(bad == 0, function, ": the tracks hold ", static_cast<std::size_t>(bad), " observed values that are NaN or infinite");
    check_observations(policy, static_cast<const double*>(result.mask.data()), frames, points, least_points, least_observations, function);
    fill_centred_rows(policy, view.data, static_cast<const double*>(result.mask.data()), result);
    result.count = 2 * policy.reduce(frames * points, 0.0, as_double<double>{result.mask.data()}, plus{});
    return result;
}

/// Tracks as a public function has got them.
template <class Policy, any_tensor Tracks>
auto centre_argument(const Policy& policy, const Tracks& tracks, const char* function) {
    const auto argument = evaluate(policy, tracks);
    return centre_tracks<Policy, value_type_of<Tracks>>(policy, argument.view(), function);
}

/// The same with a mask, which may be on the host.
template <class Policy, any_tensor Tracks, any_tensor Mask>
auto centre_argument(const Policy& policy, const Tracks& tracks, const Mask& mask, std::size_t least_points, std::size_t least_observations,
                     const char* function) {
    using T = value_type_of<Tracks>;
    const auto argument = evaluate(policy, tracks);
    const auto observed = evaluate_as<T>(policy, mask);
    return centre_tracks<Policy, T>(policy, argument.view(), observed.view(), least_points, least_observations, function);
}

/// visit(rows as doubles, first row) for blocks of an even number of rows, of at most about `elements` elements; of doubles for views of the matrix
/// itself.
template <class Policy, class T, class Space, class Visit>
void for_each_double_block(const Policy& policy, matrix_view<const T, Space> matrix, std::size_t elements, Visit visit) {
    const std::size_t rows = std::min(matrix.rows, std::max<std::size_t>(2, elements / matrix.columns / 2 * 2));
    buffer_of<Policy, double> converted;
    if constexpr (!std::is_same_v<T, double>) {
        converted = policy.template allocate<double>(rows * matrix.columns);
    }
    for (std::size_t first = 0; first < matrix.rows; first += rows) {
        const auto block = rows_of(matrix, first, std::min(rows, matrix.rows - first));
        if constexpr (std::is_same_v<T, double>) {
            visit(block, first);
        } else {
            policy.transform(block.rows * block.columns, convert_to<T, double>{block.data, converted.data()});
            visit(row_major<const double, Space>(converted.data(), block.rows, block.columns), first);
        }
    }
}

inline constexpr std::size_t double_block = std::size_t{1} << 17;  // elements: a megabyte, which a second level of cache holds

/// W'W (columns x columns), dense row-major.
template <class Policy, class T, class Space>
buffer_of<Policy, double> gram_in_double(const Policy& policy, matrix_view<const T, Space> matrix) {
    auto gram = policy.template allocate<double>(matrix.columns * matrix.columns);
    for_each_double_block(policy, matrix, 4 * double_block, [&](const_matrix_view<double, Space> block, std::size_t first) {
        policy.template syrk<double>(1.0, transposed(block), first == 0 ? 0.0 : 1.0, row_major<double, Space>(gram.data(), matrix.columns, matrix.columns));
    });
    return gram;
}

/// W F' (rows x factor.rows), dense row-major.
template <class Policy, class T, class Space>
buffer_of<Policy, double> product_with_rows(const Policy& policy, matrix_view<const T, Space> matrix, matrix_view<const double, Space> factor) {
    auto result = policy.template allocate<double>(matrix.rows * factor.rows);
    for_each_double_block(policy, matrix, double_block, [&](const_matrix_view<double, Space> block, std::size_t first) {
        policy.template gemm<double>(1.0, block, transposed(factor), 0.0,
                                     row_major<double, Space>(result.data() + first * factor.rows, block.rows, factor.rows));
    });
    return result;
}

/// F' W (factor.columns x columns), dense row-major.
template <class Policy, class T, class Space>
buffer_of<Policy, double> product_with_columns(const Policy& policy, matrix_view<const double, Space> factor, matrix_view<const T, Space> matrix) {
    auto result = policy.template allocate<double>(factor.columns * matrix.columns);
    for_each_double_block(policy, matrix, double_block, [&](const_matrix_view<double, Space> block, std::size_t first) {
        policy.template gemm<double>(1.0, transposed(rows_of(factor, first, block.rows)), block, first == 0 ? 0.0 : 1.0,
                                     row_major<double, Space>(result.data(), factor.columns, matrix.columns));
    });
    return result;
}

/// Right singular vectors as rows and squares of all singular values.
template <class Policy>
struct principal_rows {
    buffer_of<Policy, double> rows;  ///< count x L
    std::size_t count = 0;
    std::vector<double> squares;     ///< descending
};

/// From the Gram matrix of the columns (L x L, destroyed).
template <class Policy>
principal_rows<Policy> principal_rows_of_gram(const Policy& policy, double* gram, std::size_t size, std::size_t count) {
    using space = typename Policy::memory_space;
    principal_rows<Policy> result{policy.template allocate<double>(size * count), count, {}};
    const auto values = policy.template allocate<double>(size);
    policy.template eigh<double>(row_major<double, space>(gram, size, size), values.data(), column_major<double, space>(result.rows.data(), size, count));
    result.squares = to_vector<Policy, double>(policy, values.data(), size);
    return result;
}

/// From the Gram matrix of the rows, where there are fewer of them; rows whose singular value is 0 to rounding are left out.
template <class Policy, class Space>
principal_rows<Policy> principal_rows_of_wide(const Policy& policy, matrix_view<const double, Space> matrix, std::size_t count) {
    const std::size_t size = matrix.rows;
    count = std::min(count, size);
    const auto gram = policy.template allocate<double>(size * size);
    policy.template syrk<double>(1.0, matrix, 0.0, row_major<double, Space>(gram.data(), size, size));
    auto left = principal_rows_of_gram(policy, gram.data(), size, count);
    while (count > 0 && !(left.squares[count - 1] > 1e-14 * static_cast<double>(size) * left.squares[0])) {
        --count;
    }
    principal_rows<Policy> result{policy.template allocate<double>(count * matrix.columns), count, left.squares};
    if (count > 0) {
        policy.template gemm<double>(1.0, row_major<const double, Space>(left.rows.data(), count, size), matrix, 0.0,
                                     row_major<double, Space>(result.rows.data(), count, matrix.columns));
        std::vector<double> factors(count);
        std::transform(left.squares.begin(), left.squares.begin() + static_cast<std::ptrdiff_t>(count), factors.begin(),
                       [](double square) { return 1 / std::sqrt(square); });
        const auto scales = uploaded(policy, factors);
        policy.transform(count * matrix.columns, multiply_rows<double>{scales.data(), matrix.columns, result.rows.data()});
    }
    return result;
}

}  // namespace moden::detail
