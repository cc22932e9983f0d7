#pragma once

// The rotation, the reflection and the unit of length that tracks leave open, by fixed rules.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/alternation.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>

namespace moden {

/// Which of the two mirror images (depth reversed in the object and in all cameras) is returned; affine cameras cannot tell them apart.
enum class depth_rule {
    positive_skew,  ///< the rigid shape has sum_l z_l^3 >= 0: it sticks out farthest towards positive z
    negative_skew   ///< the opposite
};

namespace detail {

struct every_sixth {
    const double* values;
    MODEN_HOST_DEVICE double operator()(std::size_t n) const { return values[6 * n]; }
};

inline std::array<double, 9> transposed3(const std::array<double, 9>& a) { return {a[0], a[3], a[6], a[1], a[4], a[7], a[2], a[5], a[8]}; }

/// S S' of a rigid shape on the host (3 x L).
inline std::array<double, 9> shape_square(const std::vector<double>& shape) {
    const std::size_t points = shape.size() / 3;
    std::array<double, 9> square{};
    for (std::size_t a = 0; a < 9; ++a) {
        for (std::size_t l = 0; l < points; ++l) {
            square[a] += shape[a / 3 * points + l] * shape[a % 3 * points + l];
        }
    }
    return square;
}

/// Cameras with M'M = N I; returns the squares of the three singular values of M S. A camera direction that no frame sees gives 0.
template <class Policy, class T>
std::array<double, 3> whiten_cameras(const Policy& policy, alternation<Policy, T>& state) {
    using space = typename Policy::memory_space;
    const double frames = static_cast<double>(state.tracks().frames);
    const auto gram = policy.template allocate<double>(9);
    policy.template syrk<double>(1.0, transposed(row_major<const double, space>(state.cameras(), 2 * state.tracks().frames, 3)), 0.0,
                                 row_major<double, space>(gram.data(), 3, 3));
    auto square = to_vector<Policy, double>(policy, gram.data(), 9);
    std::array<double, 9> axes, matrix{}, inverse{};
    std::array<double, 3> values;
    jacobi_eigh<3>(square.data(), values.data(), axes.data());
    if (!(values[2] > 0)) {
        return {values[0], values[1], 0};
    }
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            matrix[3 * i + j] = axes[3 * i + j] * std::sqrt(frames / values[j]);
            inverse[3 * j + i] = axes[3 * i + j] * std::sqrt(values[j] / frames);
        }
    }
    state.change_frame(matrix, inverse);
    auto shapes = shape_square(to_vector<Policy, double>(policy, state.shapes(), 3 * state.tracks().points));
    std::array<double, 3> squares;
    jacobi_eigh<3>(shapes.data(), squares.data(), axes.data());
    for (double& value : squares) {
        value = std::max(0.0, frames * value);
    }
    return squares;
}

/// Unit of length: the mean square of the scales, sum |M_n|^2 / 2N, becomes 1 unless cameras are unit.
/// Rotation: the mean camera becomes [I | 0] as nearly as possible, so that R = I faces the camera of the average frame; where the mean camera is
/// next to nothing (views from all around), the rigid shape's principal axes become x, y, z, longest first, with the entry of largest magnitude
/// positive in x and y. Reflection: depth_rule; without a skew, the largest |z| is positive.
template <class Policy, class T>
void fix_object_frame(const Policy& policy, alternation<Policy, T>& state, depth_rule rule) {
    const std::size_t frames = state.tracks().frames, points = state.tracks().points;
    double square = sum_of_squares(policy, static_cast<const double*>(state.cameras()), 6 * frames) / (2 * static_cast<double>(frames));
    if (state.model() != camera_model::unit && square > 0) {
        const double size = std::sqrt(square);
        state.change_frame({1 / size, 0, 0, 0, 1 / size, 0, 0, 0, 1 / size}, {size, 0, 0, 0, size, 0, 0, 0, size});
        square = 1;
    }
    std::array<double, 6> mean;
    for (std::size_t i = 0; i < 6; ++i) {
        mean[i] = policy.reduce(frames, 0.0, every_sixth{state.cameras() + i}, plus{}) / static_cast<double>(frames);
    }
    std::array<double, 9> turn;
    double normal[3];
    cross3(mean.data(), mean.data() + 3, normal);
    constexpr double next_to_nothing = 0.01;
    if (std::sqrt(dot3(normal, normal)) > next_to_nothing * square) {
        nearest_orthonormal_rows(mean.data(), turn.data());
        cross3(turn.data(), turn.data() + 3, turn.data() + 6);
    } else {
        const auto shape = to_vector<Policy, double>(policy, state.shapes(), 3 * points);
        auto gram = shape_square(shape);
        std::array<double, 9> axes;
        std::array<double, 3> values;
        jacobi_eigh<3>(gram.data(), values.data(), axes.data());
        for (std::size_t j = 0; j < 2; ++j) {
            std::vector<double> line(points);
            double largest = 0;
            for (std::size_t l = 0; l < points; ++l) {
                line[l] = axes[j] * shape[l] + axes[3 + j] * shape[points + l] + axes[6 + j] * shape[2 * points + l];
                largest = std::max(largest, std::abs(line[l]));
            }
            const auto first = std::find_if(line.begin(), line.end(), [&](double x) { return std::abs(x) >= largest * (1 - 1e-8); });
            for (std::size_t i = 0; i < 3; ++i) {
                turn[3 * j + i] = (*first < 0 ? -1 : 1) * axes[3 * i + j];
            }
        }
        cross3(turn.data(), turn.data() + 3, turn.data() + 6);
    }
    state.change_frame(transposed3(turn), turn);
    const auto depth = to_vector<Policy, double>(policy, state.shapes() + 2 * points, points);
    double skew = 0, size = 0, largest = 0;
    for (const double z : depth) {
        skew += z * z * z;
        size += std::abs(z * z * z);
        largest = std::max(largest, std::abs(z));
    }
    if (std::abs(skew) <= 1e-6 * size) {
        skew = *std::find_if(depth.begin(), depth.end(), [&](double z) { return std::abs(z) >= largest * (1 - 1e-8); });
    }
    if ((skew < 0) == (rule == depth_rule::positive_skew) && skew != 0) {
        const std::array<double, 9> mirror{1, 0, 0, 0, 1, 0, 0, 0, -1};
        state.change_frame(mirror, mirror);
    }
}

}  // namespace detail
}  // namespace moden
