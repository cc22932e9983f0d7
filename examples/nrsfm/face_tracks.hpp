#pragma once

// Landmarks of random faces of the face world, each of another person with another expression, pose and camera, and the truth behind them.

#include <cmath>
#include <cstddef>

#include <moden/core/random.hpp>
#include <moden/core/tensor.hpp>
#include <moden/policy/cpu.hpp>

#include "../faces/dataset.hpp"

namespace nrsfm {

/// Landmarks in pixels (x right, y down) and what they are projections of: tracks(f) = cameras(f) shapes(f) + translation + noise.
struct face_world_tracks {
    moden::tensor<float, 3> tracks;   ///< F x 2 x 68
    moden::tensor<float, 3> shapes;   ///< F x 3 x 68, centimetres: x right, y down, z away from the viewer of a frontal picture
    moden::tensor<float, 3> cameras;  ///< F x 2 x 3, pixels per centimetre
};

/// \param count  faces
/// \param size   height and width of the pictures that the landmarks would be seen in
/// \param noise  standard deviation of the landmarks, pixels
/// \param seed   of faces and noise
inline face_world_tracks make_face_tracks(std::size_t count, std::size_t size, double noise, std::uint64_t seed) {
    constexpr std::size_t points = faces::landmark_count;
    face_world_tracks result{moden::tensor<float, 3>::from_shape({count, 2, points}), moden::tensor<float, 3>::from_shape({count, 3, points}),
                             moden::tensor<float, 3>::from_shape({count, 2, 3})};
    moden::fill_normal(moden::cpu_policy{}, result.tracks.data(), result.tracks.size(), seed, 1);
    const auto& landmarks = faces::head_model::get().landmarks();
    const float pixels = static_cast<float>(size);
#pragma omp parallel for schedule(static)
    for (std::size_t f = 0; f < count; ++f) {
        const faces::face_parameters face = faces::random_face(seed, f);
        const auto vertices = faces::head_vertices(face.person, face.expression);
        const faces::mat3 turn = face.pose.rotation();
        const float scale = pixels / face.camera.view;
        for (std::size_t a = 0; a < 2; ++a) {
            const float along = a == 0 ? scale : -scale;  // the head's y points up, the picture's down
            result.cameras(f, a, 0) = along * turn.row[a].x;
            result.cameras(f, a, 1) = -along * turn.row[a].y;
            result.cameras(f, a, 2) = -along * turn.row[a].z;
        }
        for (std::size_t l = 0; l < points; ++l) {
            const faces::vec3 at = vertices[landmarks[l]], seen = turn * at;
            result.shapes(f, 0, l) = at.x, result.shapes(f, 1, l) = -at.y, result.shapes(f, 2, l) = -at.z;
            const float error_x = static_cast<float>(noise) * result.tracks(f, 0, l), error_y = static_cast<float>(noise) * result.tracks(f, 1, l);
            result.tracks(f, 0, l) = 0.5F * pixels + scale * (seen.x - face.camera.center_x) + error_x;
            result.tracks(f, 1, l) = 0.5F * pixels - scale * (seen.y - face.camera.center_y) + error_y;
        }
    }
    return result;
}

}  // namespace nrsfm
