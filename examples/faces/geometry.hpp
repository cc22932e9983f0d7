#pragma once

// Points, rotations and the few smooth scalar functions that the head is modelled with. Units are centimetres
// everywhere.

#include <algorithm>
#include <array>
#include <cmath>

namespace faces {

/// A point or direction: x towards the right of a frontal picture, y up, z towards the viewer.
struct vec3 {
    float x = 0.0F, y = 0.0F, z = 0.0F;

    constexpr vec3& operator+=(const vec3& other) {
        x += other.x;
        y += other.y;
        z += other.z;
        return *this;
    }
};

constexpr vec3 operator+(const vec3& a, const vec3& b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
constexpr vec3 operator-(const vec3& a, const vec3& b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
constexpr vec3 operator*(float s, const vec3& a) { return {s * a.x, s * a.y, s * a.z}; }
constexpr vec3 operator*(const vec3& a, const vec3& b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
constexpr float dot(const vec3& a, const vec3& b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
constexpr vec3 cross(const vec3& a, const vec3& b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
inline float length(const vec3& a) { return std::sqrt(dot(a, a)); }
inline vec3 normalized(const vec3& a) {
    const float norm = length(a);
    return norm > 0.0F ? (1.0F / norm) * a : vec3{0.0F, 0.0F, 1.0F};
}
constexpr vec3 mix(const vec3& a, const vec3& b, float t) { return a + t * (b - a); }
constexpr float mix(float a, float b, float t) { return a + t * (b - a); }

/// A 3 x 3 matrix by rows.
struct mat3 {
    std::array<vec3, 3> row{vec3{1, 0, 0}, vec3{0, 1, 0}, vec3{0, 0, 1}};
};

constexpr vec3 operator*(const mat3& m, const vec3& v) {
    return {dot(m.row[0], v), dot(m.row[1], v), dot(m.row[2], v)};
}
constexpr mat3 transposed(const mat3& m) {
    return {{vec3{m.row[0].x, m.row[1].x, m.row[2].x}, vec3{m.row[0].y, m.row[1].y, m.row[2].y},
             vec3{m.row[0].z, m.row[1].z, m.row[2].z}}};
}
constexpr mat3 operator*(const mat3& a, const mat3& b) {
    const mat3 t = transposed(b);
    mat3 product;
    for (std::size_t i = 0; i < 3; ++i) {
        product.row[i] = {dot(a.row[i], t.row[0]), dot(a.row[i], t.row[1]), dot(a.row[i], t.row[2])};
    }
    return product;
}

/// Largest integer not above `value`, for |value| < 2^20. Faster than std::floor where the compiler may not assume
/// SSE 4.1.
inline int floor_int(float value) {
    constexpr int offset = 1 << 20;
    return static_cast<int>(static_cast<double>(value) + offset) - offset;
}

/// Rises from 0 at `low` to 1 at `high` with zero slope at both ends; `low > high` gives a fall.
inline float smoothstep(float low, float high, float value) {
    const float t = std::clamp((value - low) / (high - low), 0.0F, 1.0F);
    return t * t * (3.0F - 2.0F * t);
}

/// exp(-(dx/sx)^2 - (dy/sy)^2): the soft bump that most of the head is made of.
inline float bump(float dx, float dy, float sx, float sy) {
    const float a = dx / sx;
    const float b = dy / sy;
    const float exponent = a * a + b * b;
    return exponent < 30.0F ? std::exp(-exponent) : 0.0F;
}

inline float bump(float d, float s) { return bump(d, 0.0F, s, 1.0F); }

/// The larger of two values with a rounded transition of width `blend`, as in smooth unions of implicit surfaces.
inline float smooth_max(float a, float b, float blend) {
    const float h = std::max(blend - std::abs(a - b), 0.0F) / blend;
    return std::max(a, b) + 0.25F * h * h * blend;
}

/// Piecewise cubic through (position, value) knots with limited slopes (no overshoot); constant outside.
template <std::size_t N>
float interpolate(const std::array<std::array<float, 2>, N>& knots, float position) {
    static_assert(N >= 2);
    if (position <= knots.front()[0]) {
        return knots.front()[1];
    }
    if (position >= knots.back()[0]) {
        return knots.back()[1];
    }
    std::size_t i = 0;
    while (position > knots[i + 1][0]) {
        ++i;
    }
    const auto secant = [&](std::size_t k) {
        return (knots[k + 1][1] - knots[k][1]) / (knots[k + 1][0] - knots[k][0]);
    };
    const auto slope = [&](std::size_t k) {
        if (k == 0 || k + 1 == N) {
            return k == 0 ? secant(0) : secant(N - 2);
        }
        const float before = secant(k - 1);
        const float after = secant(k);
        return before * after <= 0.0F ? 0.0F : 2.0F * before * after / (before + after);
    };
    const float width = knots[i + 1][0] - knots[i][0];
    const float t = (position - knots[i][0]) / width;
    const float t2 = t * t;
    const float t3 = t2 * t;
    return (2 * t3 - 3 * t2 + 1) * knots[i][1] + (t3 - 2 * t2 + t) * width * slope(i) +
           (-2 * t3 + 3 * t2) * knots[i + 1][1] + (t3 - t2) * width * slope(i + 1);
}

}  // namespace faces
