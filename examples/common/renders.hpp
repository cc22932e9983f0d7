#pragma once

// Renders of the face world as a generator makes pictures.

#include <cstddef>
#include <vector>

#include <moden/core/tensor.hpp>

#include "../faces/dataset.hpp"

namespace examples {

/// N x 3 x size x size in [-1, 1].
inline moden::tensor<float, 4> render_pictures(const std::vector<faces::face_parameters>& people, std::size_t size) {
    auto pictures = moden::tensor<float, 4>::from_shape({people.size(), 3, size, size});
    faces::render_all(people, {.size = size}, [&](std::size_t n, faces::rendering&& rendered) {
        for (std::size_t p = 0; p < size * size; ++p) {
            for (std::size_t c = 0; c < 3; ++c) {
                pictures.data()[(n * 3 + c) * size * size + p] = 2 * rendered.image.data()[p * 3 + c] - 1;
            }
        }
    });
    return pictures;
}

}  // namespace examples
