#pragma once

// Minimal filtering: a 3 x 3 convolution as a product per place of 6 x 6 tiles, F(4 x 4, 3 x 3), with a quarter of the
// multiplications. Source: Winograd 1980; Lavin & Gray 2016, "Fast algorithms for convolutional neural networks".
//
// Interpolation points 0, +-a, +-b and infinity with a = sqrt(1/2), b = sqrt(2). Points near 1 keep rounding errors a
// third of those of the customary 0, +-1, +-2; and because b = 1/a, turning the filter by 180 degrees permutes and scales
// its transform. The adjoint convolution, which is the convolution with the turned filter and its channels exchanged,
// therefore uses the same packed weights: the permutation and the scales are in its transforms of the pictures.

#include <cstddef>

#include <moden/core/macros.hpp>

namespace moden::detail {

inline constexpr std::size_t winograd_tile = 4;    ///< pixels of a side of a tile of results
inline constexpr std::size_t winograd_places = 36;  ///< products per tile
inline constexpr double winograd_a = 0.70710678118654752440;
inline constexpr double winograd_b = 1.41421356237309504880;

/// Which of a linear operator and its adjoint.
enum class direction { forward, adjoint };

/// B' x: six pixels of a row or column to the six places.
template <direction Direction>
struct winograd_input {
    static constexpr std::size_t in = 6, out = 6, step = 4, before = 1;

    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        constexpr T a = static_cast<T>(winograd_a), b = static_cast<T>(winograd_b), half = T(0.5), two = T(2);
        const T even_a = x[4] - two * x[2];
        const T odd_a = a * (x[3] - two * x[1]);
        const T even_b = x[4] - half * x[2];
        const T odd_b = b * (x[3] - half * x[1]);
        const T at_zero = x[0] - T(2.5) * x[2] + x[4];
        const T at_infinity = x[1] - T(2.5) * x[3] + x[5];
        if constexpr (Direction == direction::forward) {
            y[0] = at_zero;
            y[1] = even_a + odd_a;
            y[2] = even_a - odd_a;
            y[3] = even_b + odd_b;
            y[4] = even_b - odd_b;
            y[5] = at_infinity;
        } else {
            y[0] = at_infinity;
            y[1] = -half * (even_b + odd_b);
            y[2] = -half * (even_b - odd_b);
            y[3] = -two * (even_a + odd_a);
            y[4] = -two * (even_a - odd_a);
            y[5] = at_zero;
        }
    }
};

/// A' m: the six places to four pixels.
template <direction Direction>
struct winograd_output {
    static constexpr std::size_t in = 6, out = 4, step = 6, before = 0;

    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* m, T* y) {
        constexpr T a = static_cast<T>(winograd_a), b = static_cast<T>(winograd_b), half = T(0.5), two = T(2);
        constexpr bool forward = Direction == direction::forward;
        constexpr std::size_t at_a = forward ? 1 : 3, at_b = forward ? 3 : 1;
        constexpr std::size_t at_zero = forward ? 0 : 5, at_infinity = forward ? 5 : 0;
        const T even_a = m[at_a] + m[at_a + 1];
        const T odd_a = a * (m[at_a] - m[at_a + 1]);
        const T even_b = m[at_b] + m[at_b + 1];
        const T odd_b = b * (m[at_b] - m[at_b + 1]);
        y[0] = m[at_zero] + even_a + even_b;
        y[1] = odd_a + odd_b;
        y[2] = half * even_a + two * even_b;
        y[3] = half * odd_a + two * odd_b + m[at_infinity];
    }
};

/// G g: three taps of the filter to the six places.
template <class T>
MODEN_HOST_DEVICE void winograd_filter(const T* g, T* u) {
    constexpr double a = winograd_a, b = winograd_b;
    // 1 / product of the distances to the other points: a^2 b^2 = 1, 2 a^2 (a^2 - b^2) = -3/2, 2 b^2 (b^2 - a^2) = 6.
    const double even_a = (static_cast<double>(g[0]) + 0.5 * static_cast<double>(g[2])) / -1.5;
    const double odd_a = a * static_cast<double>(g[1]) / -1.5;
    const double even_b = (static_cast<double>(g[0]) + 2 * static_cast<double>(g[2])) / 6;
    const double odd_b = b * static_cast<double>(g[1]) / 6;
    u[0] = g[0];
    u[1] = static_cast<T>(even_a + odd_a);
    u[2] = static_cast<T>(even_a - odd_a);
    u[3] = static_cast<T>(even_b + odd_b);
    u[4] = static_cast<T>(even_b - odd_b);
    u[5] = g[2];
}

}  // namespace moden::detail
