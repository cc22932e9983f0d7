#pragma once

// Paint: the albedo of skin, brows, lips, eyes, teeth, hair and clothes at a point of the head.

#include "head_mesh.hpp"
#include "parameters.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace faces {

/// What a pixel shows.
enum class region : std::uint8_t { background, skin, brows, eyes, nose, lips, mouth, ears, hair, neck, clothes };
inline constexpr std::array<std::string_view, 11> region_names{"background", "skin", "brows", "eyes", "nose",   "lips",
                                                               "mouth",      "ears", "hair",  "neck", "clothes"};

/// Smooth pseudo-random values in [0, 1] on the plane, from a fixed table.
float value_noise(float x, float y);

/// Albedo of the skin of a fair to dark person.
vec3 skin_color(float melanin, float undertone);

/// How much of each slow change of skin colour a vertex shows, in [0, 1]; the person decides how strong it is.
struct skin_tint {
    float red = 0.0F;     ///< cheeks, nose, chin, ears
    float socket = 0.0F;  ///< around the eyes
    float folds = 0.0F;   ///< between nose and mouth
    float lines = 0.0F;   ///< across the forehead
    float shade = 1.0F;   ///< jaw and neck are a little darker
};
skin_tint skin_tint_at(const rest_vertex& vertex);

/// Colours of one person, derived once per picture.
class painter {
public:
    explicit painter(const appearance& look);

    /// Slowly varying colour of the skin.
    vec3 skin_vertex(const skin_tint& tint) const;

    /// Albedo and region of the skin at a material point, given the interpolated vertex colour.
    struct surface {
        vec3 albedo;
        faces::region region;
        float gloss;
    };
    surface skin(const vec3& vertex_color, float u, float v) const;
    surface lid_rim(side which, float depth) const;  ///< depth 0 at the edge of the lid, 1 at the eyeball
    surface lip_inside(float depth) const;           ///< depth 0 at the lip, 1 inside the mouth
    surface teeth(float u, float v) const;
    surface tongue() const;
    surface cavity() const;
    surface ear(const vec3& vertex_color) const;
    /// Eyeball at (x, y) centimetres from the middle of the iris.
    surface eye(float x, float y) const;
    /// Hair at strand coordinates.
    surface hair(float across, float along, float curl) const;

private:
    appearance look_;
    vec3 skin_, lip_, hair_, brow_;
};

/// Coverage test of hair near its edge: false where there is a gap.
/// \param fringe  how wide the ragged edge is, centimetres
/// \param roots   1 where hair grows out of the skin, 0 where it ends in locks
bool hair_covers(float across, float along, float inside, float fringe, float roots);

}  // namespace faces
