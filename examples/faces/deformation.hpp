#pragma once

// Displacement fields on the mean head: the shape basis and the facial actions, in centimetres per unit coefficient.
// The face is mean + sum_k shape_k field_k + sum_a action_a field_a, linear in both.

#include "head_mesh.hpp"
#include "parameters.hpp"

namespace faces {

/// Displacement of a vertex of the mean head by one standard deviation of a shape mode.
vec3 shape_displacement(shape_mode mode, const rest_vertex& vertex);

/// Displacement of a vertex of the mean head by an action at full strength.
vec3 action_displacement(action which, const rest_vertex& vertex);

/// How deep a crease the action draws at a vertex: darkening of the surface at full strength, in [0, 1].
float action_crease(action which, const rest_vertex& vertex);

}  // namespace faces
