#pragma once

// Parts of a rank-one factorization: the residual's principal rows, how many of them count, and the order and signs of the result.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/independent_components.hpp>
#include <moden/nrsfm/detail/alternation.hpp>
#include <moden/nrsfm/detail/direction_search.hpp>
#include <moden/nrsfm/detail/tracks.hpp>

namespace moden::detail {

/// G - P'S - S'P + S'(M'M) S with P = M'W: the Gram matrix of W - M S from that of W.
struct residual_gram {
    const double* shape;    ///< S, 3 x L
    const double* product;  ///< P, 3 x L
    const double* square;   ///< M'M
    std::size_t points;
    double* gram;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t first, std::size_t last) const {
        double left[3], right[3];
        for (std::size_t a = 0; a < 3; ++a) {
            left[a] = shape[a * points + i];
            right[a] = product[a * points + i];
        }
        double weight[3];
        for (std::size_t a = 0; a < 3; ++a) {
            weight[a] = dot3(square + 3 * a, left) - right[a];
        }
        MODEN_INDEPENDENT
        for (std::size_t j = first; j < last; ++j) {
            double sum = gram[i * points + j];
            for (std::size_t a = 0; a < 3; ++a) {
                sum += weight[a] * shape[a * points + j] - left[a] * product[a * points + j];
            }
            gram[i * points + j] = sum;
        }
    }
};

/// Sums of squares above this part of the tracks' own lose no more than ten digits in differences of such.
inline constexpr double visible_beside_rounding = 1e-5;

/// Right singular vectors of the residual of a rigid factorization, the leading `count` of them, as rows. `gram` is W'W or empty.
template <class Policy, class T>
principal_rows<Policy> principal_rows_of_residual(const Policy& policy, alternation<Policy, T>& rigid, buffer_of<Policy, double>& gram, std::size_t count) {
    using space = typename Policy::memory_space;
    const auto& tracks = rigid.tracks();
    const std::size_t points = tracks.points;
    if (gram.size() > 0 && tracks.complete()) {
        const auto cameras = row_major<const double, space>(rigid.cameras(), 2 * tracks.frames, 3);
        const auto product = product_with_columns(policy, cameras, tracks.matrix());
        const auto square = policy.template allocate<double>(9);
        policy.template syrk<double>(1.0, transposed(cameras), 0.0, row_major<double, space>(square.data(), 3, 3));
        policy.transform_rows(points, points, residual_gram{rigid.shapes(), product.data(), square.data(), points, gram.data()});
        return principal_rows_of_gram(policy, gram.data(), points, count);
    }
    if (points <= 2 * tracks.frames) {
        const auto sums = policy.template allocate<double>(points * points);
        rigid.for_each_residual([&](const_matrix_view<double, space> block, std::size_t first) {
            policy.template syrk<double>(1.0, transposed(block), first == 0 ? 0.0 : 1.0, row_major<double, space>(sums.data(), points, points));
        });
        return principal_rows_of_gram(policy, sums.data(), points, count);
    }
    const auto residual = policy.template allocate<double>(2 * tracks.frames * points);
    rigid.for_each_residual([&](const_matrix_view<double, space> block, std::size_t first) {
        policy.copy(block.data, residual.data() + first * points, block.rows * points);
    });
    return principal_rows_of_wide(policy, row_major<const double, space>(residual.data(), 2 * tracks.frames, points), count);
}

/// The sum of squares of that residual, from its squared singular values; from the residual itself where rounding of the Gram matrix might show.
template <class Policy, class T>
double rigid_objective_of(alternation<Policy, T>& rigid, const principal_rows<Policy>& principal) {
    const double sum = std::accumulate(principal.squares.begin(), principal.squares.end(), 0.0);
    return sum > visible_beside_rounding * rigid.tracks().energy ? sum : rigid.measured_objective();
}

/// c: the residual of a rigid factorization times rows b_k', 2N x K. Of complete tracks W B' - M (S B').
template <class Policy, class T>
buffer_of<Policy, double> residual_coordinates(const Policy& policy, alternation<Policy, T>& rigid, const principal_rows<Policy>& basis) {
    using space = typename Policy::memory_space;
    const std::size_t points = rigid.tracks().points, rows = 2 * rigid.tracks().frames;
    if (rigid.tracks().complete() && basis.count > 0) {
        const auto factor = row_major<const double, space>(basis.rows.data(), basis.count, points);
        auto product = product_with_rows(policy, rigid.tracks().matrix(), factor);
        const auto shape = policy.template allocate<double>(3 * basis.count);
        policy.template gemm<double>(1.0, row_major<const double, space>(rigid.shapes(), 3, points), transposed(factor), 0.0,
                                     row_major<double, space>(shape.data(), 3, basis.count));
        policy.template gemm<double>(-1.0, row_major<const double, space>(rigid.cameras(), rows, 3), row_major<const double, space>(shape.data(), 3, basis.count),
                                     1.0, row_major<double, space>(product.data(), rows, basis.count));
        return product;
    }
    auto result = policy.template allocate<double>(2 * rigid.tracks().frames * basis.count);
    rigid.for_each_residual([&](const_matrix_view<double, space> block, std::size_t first) {
        policy.template gemm<double>(1.0, block, transposed(row_major<const double, space>(basis.rows.data(), basis.count, points)), 0.0,
                                     row_major<double, space>(result.data() + first * basis.count, block.rows, basis.count));
    });
    return result;
}

struct scaled_transpose {
    const double* matrix;
    std::size_t rows, columns;
    double factor;
    double* result;  ///< columns x rows
    MODEN_HOST_DEVICE void operator()(std::size_t j, std::size_t i) const { result[j * rows + i] = factor * matrix[i * columns + j]; }
};

/// Turns orthonormal rows of mean 0 to independent components of theirs, the points being samples. White signals stay white: the rows stay orthonormal.
template <class Policy>
void make_independent(const Policy& policy, principal_rows<Policy>& basis, std::size_t points, std::uint64_t seed) {
    auto signals = policy.template make_tensor<double, 2>({points, basis.count});
    const double unit = std::sqrt(static_cast<double>(points));
    policy.transform_grid(points, basis.count, scaled_transpose{basis.rows.data(), basis.count, points, unit, signals.data()});
    const auto found = independent_components(policy, signals, {.count = basis.count, .seed = seed});
    policy.transform_grid(basis.count, points, scaled_transpose{found.sources.data(), points, basis.count, 1 / unit, basis.rows.data()});
}

/// The number of basis shapes with the least n log(RSS / n) + K (N + L + 2) log n, n observed coordinates less those that the rigid part fits.
inline std::size_t count_by_information(double rigid_objective, const std::vector<double>& gains, std::size_t frames, std::size_t points, double observed,
                                        double floor) {
    const double n = std::max(observed - 8.0 * static_cast<double>(frames), 1.0);
    const double price = static_cast<double>(frames + points + 2) * std::log(n);
    double objective = rigid_objective, best = n * std::log(std::max(objective, floor)), paid = 0;
    std::size_t count = 0;
    for (std::size_t k = 0; k < gains.size() && objective > floor; ++k) {
        objective -= gains[k];
        paid += price;
        const double value = n * std::log(std::max(objective, floor)) + paid;
        if (value < best) {
            best = value;
            count = k + 1;
        }
    }
    return count;
}

/// sum_nk |M_n|^2 / 2 alpha_nk^2.
template <class Policy, class T>
double squared_coefficients(const Policy& policy, alternation<Policy, T>& state) {
    const auto in_image = policy.template allocate<double>(state.count() * state.tracks().frames);
    policy.transform(in_image.size(), scaled_coefficients{state.cameras(), state.coefficients(), state.count(), in_image.data()});
    return sum_of_squares(policy, static_cast<const double*>(in_image.data()), in_image.size());
}

struct gather_columns {
    const double* matrix;
    const std::size_t* order;
    const double* factors;
    std::size_t columns;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = factors[i % columns] * matrix[i / columns * columns + order[i % columns]]; }
};

/// Basis shapes by decreasing sum of squared coefficients; in each b_k and d_k the first entry of largest magnitude (to sqrt(eps)) is positive.
template <class Policy, class T>
void sort_basis(const Policy& policy, alternation<Policy, T>& state) {
    const std::size_t count = state.count(), points = state.tracks().points, frames = state.tracks().frames;
    if (count == 0) {
        return;
    }
    const auto squares = state.column_squares(state.coefficients(), frames, count);
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return squares[a] > squares[b]; });
    const auto rows = to_vector<Policy, double>(policy, state.shapes() + 3 * points, count * points);
    auto sorted = rows;
    auto directions = state.directions();
    std::vector<double> factors(count);
    const auto sign = [](const double* values, std::size_t size) {
        double largest = 0;
        for (std::size_t i = 0; i < size; ++i) {
            largest = std::max(largest, std::abs(values[i]));
        }
        return *std::find_if(values, values + size, [&](double x) { return std::abs(x) >= largest * (1 - 1e-8); }) < 0 ? -1.0 : 1.0;
    };
    for (std::size_t k = 0; k < count; ++k) {
        const double* row = rows.data() + order[k] * points;
        const double* d = state.directions().data() + 3 * order[k];
        const double of_row = sign(row, points), of_direction = sign(d, 3);
        std::transform(row, row + points, sorted.begin() + static_cast<std::ptrdiff_t>(k * points), [&](double x) { return of_row * x; });
        std::transform(d, d + 3, directions.begin() + static_cast<std::ptrdiff_t>(3 * k), [&](double x) { return of_direction * x; });
        factors[k] = of_row * of_direction;
    }
    policy.upload(sorted.data(), state.shapes() + 3 * points, sorted.size());
    state.directions() = directions;
    const auto columns = uploaded(policy, order);
    const auto signs = uploaded(policy, factors);
    const auto before = policy.template allocate<double>(frames * count);
    policy.copy(static_cast<const double*>(state.coefficients()), before.data(), frames * count);
    policy.transform(frames * count, gather_columns{before.data(), columns.data(), signs.data(), count, state.coefficients()});
}

/// result(n, i, k) = alpha_nk d_k(i), a 3N x K matrix.
template <class T>
struct moved_directions {
    const T* coefficients;
    const T* directions;
    std::size_t count;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t k) const {
        result[row * count + k] = coefficients[row / 3 * count + k] * directions[k * 3 + row % 3];
    }
};

template <class T>
struct repeat_shape {
    const T* shape;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = shape[i % size]; }
};

}  // namespace moden::detail
