#pragma once

// Hair as shells over the scalp: one sheet per style whose thickness, hairline and length make the style.

#include "head_mesh.hpp"
#include "parameters.hpp"

#include <vector>

namespace faces {

/// Where a point of the hair lies among its strands.
struct strand_coordinates {
    float across = 0.0F;  ///< centimetres across the strands
    float along = 0.0F;   ///< centimetres along the strands
    float inside = 0.0F;  ///< centimetres from the edge of the hair, negative outside
    float roots = 1.0F;   ///< 1 where the edge is a hairline, 0 where hair ends
    vec3 direction;       ///< unit direction of the strands
};

/// Geometry of a hair style on the mean head. Empty for bald heads.
struct hair_mesh {
    rest_mesh mesh;
    std::vector<strand_coordinates> strands;  ///< one per vertex
    float fringe = 0.5F;                      ///< how ragged the edge is, centimetres
    float curl = 0.0F;                        ///< 0 straight strands to 1 tight curls
};

hair_mesh build_hair(hair_style style);

}  // namespace faces
