#pragma once

// Pictures of generators, N x 3 x H x W and nominally in [-1, 1], as pictures to draw and to write.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <moden/core/tensor.hpp>

#include "canvas.hpp"

namespace examples {

/// Picture n of a batch as display values in [0, 1].
template <class Images>
picture picture_of(const Images& images, std::size_t n) {
    const std::size_t height = images.shape()[2];
    const std::size_t width = images.shape()[3];
    picture result(picture::shape_type{height, width, 3});
    for (std::size_t c = 0; c < 3; ++c) {
        for (std::size_t p = 0; p < height * width; ++p) {
            const auto value = images.data()[(n * 3 + c) * height * width + p];
            result.data()[p * 3 + c] = std::clamp((static_cast<float>(value) + 1) / 2, 0.0F, 1.0F);
        }
    }
    return result;
}

/// Picture n of a batch as 8-bit values, rounded as the authors of StyleGAN2 do: trunc(clamp(127.5 x + 128, 0, 255)).
template <class Images>
moden::tensor<std::uint8_t, 3> bytes_of(const Images& images, std::size_t n) {
    const std::size_t height = images.shape()[2];
    const std::size_t width = images.shape()[3];
    auto result = moden::tensor<std::uint8_t, 3>::from_shape({height, width, 3});
    for (std::size_t c = 0; c < 3; ++c) {
        for (std::size_t p = 0; p < height * width; ++p) {
            const double value = static_cast<double>(images.data()[(n * 3 + c) * height * width + p]) * 127.5 + 128;
            result.data()[p * 3 + c] = std::isnan(value) ? std::uint8_t{0} : static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0));
        }
    }
    return result;
}

}  // namespace examples
