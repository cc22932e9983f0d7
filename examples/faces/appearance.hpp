#pragma once

// Paint: the albedo of skin, brows, lips, eyes, teeth, hair and clothes at a point of the head.

#include "head_model.hpp"
#include "parameters.hpp"
#include "render.hpp"

namespace faces {

/// Smooth pseudo-random values in [0, 1] on the plane, from a fixed table.
float value_noise(float x, float y);

/// Albedo of the skin of a fair to dark person.
vec3 skin_color(float melanin, float undertone);

/// Colours of one person, derived once per picture.
class painter {
public:
    explicit painter(const appearance& look);

    /// Slowly varying colour of skin at a vertex: tone, redness, darker eye sockets, beard.
    vec3 skin_vertex(const rest_vertex& vertex) const;

    /// Albedo and region of the skin at a material point, given the interpolated vertex colour.
    struct surface {
        vec3 albedo;
        faces::region region;
        float gloss;
    };
    surface skin(const vec3& vertex_color, float u, float v) const;
    surface lid_rim(bool upper) const;
    surface lip_inside(float depth) const;
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
