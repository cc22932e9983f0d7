#pragma once

// Light as nine spherical-harmonic coefficients, and what a matte surface makes of it.
//
// Real spherical harmonics Y_k of orders 0 to 2, k = l(l + 1) + m:
//   Y_0 = 0.282095
//   Y_1 = 0.488603 y, Y_2 = 0.488603 z, Y_3 = 0.488603 x
//   Y_4 = 1.092548 x y, Y_5 = 1.092548 y z, Y_6 = 0.315392 (3 z^2 - 1), Y_7 = 1.092548 x z, Y_8 = 0.546274 (x^2 - y^2)
// Incoming radiance L(d) = sum_k L_k Y_k(d). Irradiance of a surface with normal n (Ramamoorthi & Hanrahan 2001):
//   E(n) = sum_k A_l(k) L_k Y_k(n),  A_0 = pi, A_1 = 2 pi / 3, A_2 = pi / 4.
// A matte surface of albedo a sends out a E(n) / pi; E / pi is called shading here. Directions are in the camera frame
// (x right, y up, z towards the viewer), so that a light stays where it is when the head turns.

#include "geometry.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace faces {

/// Nine coefficients L_k and the colour they share.
struct light {
    std::array<float, 9> coefficients{3.545F, 0, 0, 0, 0, 0, 0, 0, 0};  ///< white surroundings: shading is 1 everywhere
    vec3 color{1.0F, 1.0F, 1.0F};
};

/// Y_0 ... Y_8 in a unit direction.
std::array<float, 9> spherical_harmonics(const vec3& direction);

/// Shading E(n) / pi of an unoccluded matte surface, evaluated as a quadratic form of the unit normal.
class irradiance {
public:
    explicit irradiance(const std::array<float, 9>& coefficients);
    float shading(const vec3& n) const {
        return constant_ + dot(linear_, n) + dot(squares_, n * n) + products_.x * n.x * n.y + products_.y * n.y * n.z +
               products_.z * n.x * n.z;
    }

private:
    float constant_;
    vec3 linear_, squares_, products_;
};

/// Coefficients of the same light seen from a frame in which directions d read `rotation` d.
std::array<float, 9> rotated(const std::array<float, 9>& coefficients, const mat3& rotation);

/// Even light from everywhere plus one distant lamp. `ambient` and `strength` are the shading that each gives a
/// surface which faces it.
std::array<float, 9> lamp(const vec3& towards, float strength, float ambient);

enum class light_preset : std::uint8_t { frontal, left, right, above, below, rim, soft, window };
inline constexpr std::array<std::string_view, 8> light_preset_names{"frontal", "left", "right", "above",
                                                                    "below",   "rim",  "soft",  "window"};

/// A named light. `left` and `right` are sides of the picture.
light make_light(light_preset preset);

}  // namespace faces
