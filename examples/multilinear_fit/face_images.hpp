#pragma once

// Pictures of the face world, their normals and their shapes, one column each. Who, what expression and what light is kept only to
// judge what was found.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>

#include "../common/canvas.hpp"
#include "../faces/color.hpp"
#include "../faces/dataset.hpp"

namespace multilinear_fit {

using matrix = moden::tensor<float, 2>;

inline constexpr std::size_t expression_count = 7, light_count = 8;

/// The true factors of a picture.
struct truth {
    std::size_t light, expression, identity;
};

/// Frontal, before a plain background.
inline faces::face_parameters face_of(const truth& t, std::uint64_t seed) {
    faces::face_parameters face;
    face.person = faces::random_identity(seed, t.identity);
    if (t.expression > 0) {
        face.expression = faces::make_expression(static_cast<faces::basic_expression>(t.expression - 1), 1.0F);
    }
    face.light = faces::make_light(static_cast<faces::light_preset>(t.light));
    face.background.style = faces::background_style::plain;
    return face;
}

struct face_images {
    std::size_t size = 0;         ///< height and width
    std::vector<truth> labels;    ///< n
    matrix texture;               ///< 3 size^2 x n, linear light
    matrix normals;               ///< 3 size^2 x n, camera frame; 0 in the background
    matrix shape;                 ///< 3 * 68 x n, landmarks in centimetres, less their mean
    std::vector<float> mean_shape;

    std::size_t count() const { return labels.size(); }
};

/// A picture in linear light.
inline std::vector<float> linear_light(const moden::tensor<float, 3>& image) {
    std::vector<float> result(image.size());
    std::transform(image.data(), image.data() + image.size(), result.begin(), [](float x) { return faces::srgb_to_linear(x); });
    return result;
}

/// `count` pictures of `persons` people, each with an expression and a light drawn at random.
inline face_images render_images(std::size_t count, std::size_t persons, std::size_t size, std::uint64_t seed, const faces::render_progress& progress) {
    face_images result{size, {}, matrix::from_shape({3 * size * size, count}), matrix::from_shape({3 * size * size, count}), matrix::from_shape({3 * 68, count}), {}};
    std::vector<faces::face_parameters> people;
    for (std::size_t i = 0; i < count; ++i) {
        faces::random_stream draw(seed, i, 77);
        result.labels.push_back({draw.below(light_count), draw.below(expression_count), i % persons});
        people.push_back(face_of(result.labels.back(), seed));
    }
    const auto fill = [&](matrix& target, std::size_t column, const float* values) {
        for (std::size_t i = 0; i < target.shape()[0]; ++i) {
            target(i, column) = values[i];
        }
    };
    faces::render_all(
        people, {.size = size, .truth = faces::truth::all},
        [&](std::size_t n, faces::rendering&& rendered) {
            fill(result.texture, n, linear_light(rendered.image).data());
            fill(result.normals, n, rendered.normals.data());
            fill(result.shape, n, rendered.landmarks_object.data());
        },
        progress);
    for (std::size_t i = 0; i < result.shape.shape()[0]; ++i) {
        double sum = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sum += static_cast<double>(result.shape(i, n));
        }
        result.mean_shape.push_back(static_cast<float>(sum / static_cast<double>(count)));
        for (std::size_t n = 0; n < count; ++n) {
            result.shape(i, n) -= result.mean_shape.back();
        }
    }
    return result;
}

/// Column of a matrix of pictures in linear light as a picture to look at.
inline examples::picture picture_of(const matrix& pictures, std::size_t column, std::size_t size) {
    examples::picture result(examples::picture::shape_type{size, size, 3});
    for (std::size_t i = 0; i < result.size(); ++i) {
        const float linear = std::clamp(pictures(i, column), 0.0F, 1.0F);  // encode would compress what the renderer has compressed already
        result.data()[i] = linear <= 0.0031308F ? 12.92F * linear : 1.055F * std::pow(linear, 1 / 2.4F) - 0.055F;
    }
    return result;
}

/// Normals as colours: (n + 1) / 2.
inline examples::picture normals_of(const matrix& normals, std::size_t column, std::size_t size) {
    examples::picture result(examples::picture::shape_type{size, size, 3});
    for (std::size_t i = 0; i < result.size(); ++i) {
        result.data()[i] = std::clamp((normals(i, column) + 1) / 2, 0.0F, 1.0F);
    }
    return result;
}

}  // namespace multilinear_fit
