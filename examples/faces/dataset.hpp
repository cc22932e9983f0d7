#pragma once

// Structured and random sets of faces: lists of parameters with named modes, rendered in parallel.

#include "render.hpp"
#include "sampling.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace faces {

/// A mode of a structured set and the names of its levels.
struct mode_levels {
    std::string name;
    std::vector<std::string> levels;
};

/// A set of faces: parameters in row-major order over the modes.
struct face_set {
    std::vector<mode_levels> modes;
    std::vector<face_parameters> faces;
};

struct expression_set_options {
    std::size_t persons = 24, expressions = 6, intensities = 4, views = 2;
    std::uint64_t seed = 1;
};

/// persons x expressions x intensities x views. Intensities are k / intensities, k = 1 ... intensities; two views look
/// 20 degrees to either side, more spread evenly over +-40 degrees, one is frontal. Same light, camera and background
/// throughout. \throws moden::argument_error for a count of zero or more than six expressions
face_set make_expression_set(const expression_set_options& options);

struct tensorfaces_options {
    std::size_t persons = 24, views = 5, lights = 5, expressions = 4;
    std::uint64_t seed = 1;
};

/// persons x views x lights x expressions: views spread evenly over +-40 degrees of yaw, lights in the order of
/// `light_preset`, expressions neutral, happiness, disgust, fear, anger, surprise, sadness at full intensity.
/// \throws moden::argument_error for a count of zero, more than eight lights or more than seven expressions
face_set make_tensorfaces_set(const tensorfaces_options& options);

/// `count` independent faces with every factor random; face i is random_face(seed, i).
/// \throws moden::argument_error if count is zero
face_set make_random_set(std::size_t count, std::uint64_t seed);

/// Told how many pictures are done; returning false stops the work and discards it.
using render_progress = std::function<bool(std::size_t done, std::size_t total)>;

/// Renders pictures in parallel over all cores and hands each to `store(index, rendering)`, called from one thread at a
/// time. \return false if `progress` stopped it
bool render_all(const std::vector<face_parameters>& faces, const render_options& options,
                const std::function<void(std::size_t, rendering&&)>& store, const render_progress& progress = {});

enum class channels : std::uint8_t { gray, rgb };

/// The pictures of a TensorFaces set as one tensor persons x views x lights x expressions x pixels, display values in
/// [0, 1]; pixels are row-major with channels last. Gray is 0.2126 R + 0.7152 G + 0.0722 B of the display values.
moden::tensor<float, 5> tensorfaces(const tensorfaces_options& set, const render_options& options = {},
                                    channels colors = channels::rgb, const render_progress& progress = {});

/// A picture as a flat list of pixels, as in `tensorfaces`.
void flatten_pixels(const moden::tensor<float, 3>& image, channels colors, float* out);

/// Pictures of equal size side by side, row by row, with a thin dark line between them.
moden::tensor<std::uint8_t, 3> contact_sheet(const std::vector<moden::tensor<std::uint8_t, 3>>& pictures,
                                             std::size_t columns);

}  // namespace faces
