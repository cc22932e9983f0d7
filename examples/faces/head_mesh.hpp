#pragma once

// The mean, neutral head as a triangle mesh with real eye and mouth openings, built in code.
//
// The skin is a grid of horizontal loops around the head (rows) and lines running over it (columns). Two rows are slit:
// the one through the eyes between the eye corners and the one through the mouth between its corners. Along a slit
// every vertex exists twice, once for the upper and once for the lower lid or lip, so that eyes and mouth open by
// displacing vertices. Eyeballs, teeth, tongue, the inside of the mouth and the ears are separate sheets.

#include "geometry.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace faces {

/// What a vertex belongs to.
enum class part : std::uint8_t {
    skin,
    lid_rim,
    eyeball,
    lip_inside,
    cavity,
    upper_teeth,
    lower_teeth,
    tongue,
    ear,
    hair
};

/// Upper or lower side of the slits, for the vertices where it matters.
enum class side : std::int8_t { upper = -1, lower = 1 };

/// One vertex of the mean head.
struct rest_vertex {
    vec3 position;     ///< mean neutral face
    vec3 eyes_closed;  ///< the same with closed lids
    vec3 material;     ///< where displacement fields and paint are evaluated: the face before lids were opened
    part kind = part::skin;
    side eye_side = side::upper;
    side mouth_side = side::upper;
};

using triangle = std::array<std::uint32_t, 3>;

/// Vertices and triangles, counter-clockwise when seen from outside.
struct rest_mesh {
    std::vector<rest_vertex> vertices;
    std::vector<triangle> triangles;
};

/// Facts about the mean head that painting, expressions and landmarks share.
struct anatomy {
    static constexpr float eye_x = 3.2F;  ///< distance of the eye centres from the middle
    static constexpr float eye_y = 0.0F;
    static constexpr float eye_z =
        5.72F;  ///< centre of the eyeball, which is larger than life so that it fills the lids
    static constexpr float eyeball_radius = 1.75F;
    static constexpr float eye_inner = 1.56F;  ///< |x| of the inner and outer eye corners
    static constexpr float eye_outer = 4.86F;
    static constexpr float mouth_y = -7.0F;       ///< the line between the lips
    static constexpr float mouth_corner = 2.45F;  ///< |x| of the mouth corners
};

/// Centre of an eyeball; `sign` is -1 for the eye on the picture's left, +1 for the other.
constexpr vec3 eye_center(float sign) { return {sign * anatomy::eye_x, anatomy::eye_y, anatomy::eye_z}; }

/// Height of the border between lips and skin above (upper) or below (lower) the mouth line, at distance x from the
/// middle.
float upper_lip_height(float x);
float lower_lip_height(float x);

/// A point of the smooth head without features (no nose, lips, sockets): the ground that hair grows on.
/// \param row     0 at the crown, `chin_row` under the chin, `last_row` at the bottom of the shoulders
/// \param around  0 at the front, 1 at the side, 2 at the back; negative on the picture's left
vec3 bare_head(float row, float around);
/// The same with brow, cheeks and nose: the closed face.
vec3 skin_surface(float row, float around);
inline constexpr float chin_row = 16.0F;
inline constexpr float last_row = 23.0F;

/// The row whose front has height y (above the chin).
float row_at_height(float y);

/// Builds the mean head. Takes some milliseconds; `head_model` keeps the result.
rest_mesh build_head();

}  // namespace faces
