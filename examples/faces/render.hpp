#pragma once

// From the factors of a face to its picture and to everything that is true about it.
//
// A pixel is computed in linear light, display = encode(filter(albedo * shading * light colour + gloss)): albedo from
// the appearance, shading as in lighting.hpp (with or without the light that the head takes from itself), a little
// gloss of skin, eyes and hair. `encode` compresses values above 0.7 softly towards 1 and applies the sRGB curve;
// pictures are display values in [0, 1].

#include "appearance.hpp"
#include "color.hpp"
#include "head_model.hpp"
#include "parameters.hpp"

#include <moden/core/tensor.hpp>

#include <cstdint>
#include <memory>

namespace faces {

/// Whether the head darkens itself (sockets, under nose and chin, below hair, creases); `off` leaves the shading of
/// `irradiance`, cut off at 0.015.
enum class self_shadow : std::uint8_t { on, off };

/// Whether skin, eyes and hair are glossy; `off` leaves albedo x shading.
enum class gloss : std::uint8_t { on, off };

/// How much ground truth is computed with a picture.
enum class truth : std::uint8_t { none, light, all };

struct render_options {
    std::size_t size = 64;    ///< height and width in pixels
    std::size_t samples = 3;  ///< samples per pixel along each axis, 1 to 8
    faces::self_shadow self_shadow = faces::self_shadow::on;
    faces::gloss gloss = faces::gloss::on;
    faces::truth truth = faces::truth::none;  ///< `light`: landmarks and camera; `all`: maps per pixel too
};

/// A picture and its ground truth. Maps that were not asked for are empty.
struct rendering {
    moden::tensor<float, 3> image;    ///< size x size x 3, display RGB in [0, 1]
    moden::tensor<float, 2> depth;    ///< size x size, camera z in centimetres, larger is nearer; 0 in the background
    moden::tensor<float, 3> normals;  ///< size x size x 3, unit, camera frame; 0 in the background
    moden::tensor<float, 3> albedo;   ///< size x size x 3, linear RGB
    moden::tensor<float, 2> shading;  ///< size x size; 0 in the background
    moden::tensor<std::uint8_t, 2> labels;     ///< size x size, values of `region`
    moden::tensor<float, 2> landmarks_object;  ///< 68 x 3, frame of the head
    moden::tensor<float, 2> landmarks_camera;  ///< 68 x 3, after rotation
    moden::tensor<float, 2>
        landmarks_2d;  ///< 68 x 2, pixels (x right, y down); pixel (i, j) has its centre at (j + 0.5, i + 0.5)
    moden::tensor<std::uint8_t, 1> visible;  ///< 68, 1 where the landmark is not hidden
    moden::tensor<float, 2> projection;      ///< 2 x 4: landmarks_2d = projection (X, Y, Z, 1) with landmarks_object
};

/// Renders pictures; keeps its buffers between them. One per thread.
class renderer {
public:
    renderer();
    ~renderer();
    renderer(renderer&&) noexcept;
    renderer& operator=(renderer&&) noexcept;

    /// \throws moden::argument_error for sizes outside 8 to 4096, samples outside 1 to 8, or non-finite parameters
    rendering render(const face_parameters& parameters, const render_options& options = {});

private:
    struct workspace;
    class drawing;
    std::unique_ptr<workspace> workspace_;
};

/// Renders one picture with buffers of its own.
rendering render(const face_parameters& parameters, const render_options& options = {});

/// Vertices of the head (skin, eyes, mouth, ears) in the frame of the head, linear in shape and expression.
std::vector<vec3> head_vertices(const identity& person, const expression& expression);

/// Display values in [0, 1] to 8 bits, rounded.
std::uint8_t to_byte(float value);
moden::tensor<std::uint8_t, 3> to_bytes(const moden::tensor<float, 3>& image);

}  // namespace faces
