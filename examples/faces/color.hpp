#pragma once

// Display values and linear light.

#include "geometry.hpp"

namespace faces {

/// The sRGB curve's inverse: display value in [0, 1] to linear light.
inline float srgb_to_linear(float display) {
    return display <= 0.04045F ? display / 12.92F : std::pow((display + 0.055F) / 1.055F, 2.4F);
}

/// Linear light to display value: values above 0.7 are compressed softly towards 1, then the sRGB curve.
inline float encode(float linear) {
    constexpr float knee = 0.7F;
    float x = std::max(linear, 0.0F);
    if (x > knee) {
        x = knee + (1.0F - knee) * (1.0F - std::exp(-(x - knee) / (1.0F - knee)));
    }
    return x <= 0.0031308F ? 12.92F * x : 1.055F * std::pow(x, 1.0F / 2.4F) - 0.055F;
}

/// Linear colour of an 8-bit sRGB triple.
inline vec3 from_srgb(float r, float g, float b) {
    return {srgb_to_linear(r / 255.0F), srgb_to_linear(g / 255.0F), srgb_to_linear(b / 255.0F)};
}

}  // namespace faces
