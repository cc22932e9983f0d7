#pragma once

// The pictures: rendered by the face world, or the user's own.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/tensor.hpp>
#include <moden/io/npy.hpp>

#include "../common/canvas.hpp"
#include "../common/program.hpp"
#include "../common/progress_bar.hpp"
#include "../faces/dataset.hpp"
#include "settings.hpp"

namespace tensorfaces {

/// people x views x lights x expressions x pixels, display values in [0, 1]; a pixel's channels lie side by side.
using image_tensor = moden::tensor<float, 5>;

inline constexpr std::array<const char*, 5> mode_names{"people", "views", "lights", "expressions", "pixels"};

struct ensemble {
    image_tensor training;                          ///< what is factorised
    image_tensor unseen;                            ///< persons that the model never sees; may be none
    std::array<std::vector<std::string>, 4> names;  ///< of the levels of the first four modes
    std::size_t height = 0, width = 0, channels = 1;

    std::size_t pixels() const { return training.shape()[4]; }
};

/// Pointer to the pixels of one picture.
inline const float* image_at(const image_tensor& images, std::size_t person, std::size_t view, std::size_t light,
                             std::size_t expression) {
    return &images(person, view, light, expression, 0);
}

/// Pixels as a colour picture for a sheet; gray is repeated.
inline examples::picture to_picture(const float* pixels, const ensemble& e) {
    auto result = examples::picture::from_shape({e.height, e.width, 3});
    for (std::size_t i = 0; i < e.height * e.width; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            result.data()[3 * i + c] = pixels[e.channels == 3 ? 3 * i + c : i];
        }
    }
    return result;
}

inline ensemble render_ensemble(const settings& wanted) {
    ensemble e;
    e.height = e.width = wanted.size;
    e.channels = wanted.colors == faces::channels::rgb ? 3 : 1;
    faces::tensorfaces_options set{.persons = wanted.persons,
                                   .views = wanted.views,
                                   .lights = wanted.lights,
                                   .expressions = wanted.expressions,
                                   .seed = wanted.seed};
    const std::size_t per_person = wanted.views * wanted.lights * wanted.expressions;
    const faces::render_options options{.size = wanted.size};
    const std::size_t total = (wanted.persons + wanted.unseen) * per_person;
    examples::progress_bar bar("rendering");
    e.training = faces::tensorfaces(set, options, wanted.colors,
                                    [&](std::size_t done, std::size_t) { return bar.update(done, total, "pictures"); });
    const auto modes = faces::make_tensorfaces_set(set).modes;
    for (std::size_t n = 0; n < 4; ++n) {
        e.names[n] = modes[n].levels;
    }
    e.unseen = image_tensor::from_shape({0, wanted.views, wanted.lights, wanted.expressions, e.pixels()});
    if (wanted.unseen > 0) {
        // Persons are independent draws, so those of another seed are strangers to the model.
        set.persons = wanted.unseen;
        set.seed = wanted.seed + 1000003;
        const std::size_t before = wanted.persons * per_person;
        e.unseen = faces::tensorfaces(set, options, wanted.colors, [&](std::size_t done, std::size_t) {
            return bar.update(before + done, total, "pictures");
        });
    }
    return e;
}

/// Brings values to [0, 1] and refuses what cannot be shown.
inline void normalise(image_tensor& images, float largest) {
    if (largest > 1) {
        for (float& value : images) {
            value /= 255;
        }
    }
}

inline ensemble load_ensemble(const settings& wanted) {
    using moden::detail::require;
    const moden::io::npy_file file(wanted.input, "--input");
    const moden::extents& shape = file.shape();
    const std::string what = "--input '" + wanted.input + "': ";
    require<examples::usage_error>(shape.size() == 5 && file.size() > 0, what, "the tensor has the shape ", shape,
                                   " (expected people x views x lights x expressions x pixels)");
    require<examples::usage_error>(shape[0] > wanted.unseen, what, shape[0], " people, of which --unseen ",
                                   wanted.unseen, " are kept from the model (expected at least one to be left)");
    ensemble e;
    const std::size_t pixels = shape[4];
    if (wanted.picture_height > 0) {
        e.height = wanted.picture_height;
        e.width = wanted.picture_width;
        e.channels = pixels / (e.height * e.width);
        require<examples::usage_error>(
            (e.channels == 1 || e.channels == 3) && pixels == e.height * e.width * e.channels, what, pixels,
            " pixels do not make pictures of ", e.height, " x ", e.width, " with 1 or 3 channels");
    } else {
        // 3 a^2 = b^2 has no solution in whole numbers: the number of channels of square pictures is never in doubt.
        const auto root = [](std::size_t area) {
            return static_cast<std::size_t>(std::llround(std::sqrt(static_cast<double>(area))));
        };
        e.channels = root(pixels) * root(pixels) == pixels ? 1 : 3;
        e.height = e.width = root(pixels / e.channels);
        require<examples::usage_error>(
            e.height * e.width * e.channels == pixels, what, pixels,
            " pixels do not make square pictures with 1 or 3 channels (expected --picture HEIGHTxWIDTH)");
    }
    const auto part = [&](std::size_t first, std::size_t count) {
        auto images = image_tensor::from_shape({count, shape[1], shape[2], shape[3], pixels});
        file.read_rows(first, count, std::span<float>(images.data(), images.size()));
        return images;
    };
    e.training = part(0, shape[0] - wanted.unseen);
    e.unseen = part(shape[0] - wanted.unseen, wanted.unseen);
    float largest = 0;
    for (const image_tensor* images : {&e.training, &e.unseen}) {
        for (const float value : *images) {
            require<examples::usage_error>(value >= 0 && value <= 255, what, "the value ", value,
                                           " (expected values from 0 to 1, or from 0 to 255)");
            largest = std::max(largest, value);
        }
    }
    normalise(e.training, largest);
    normalise(e.unseen, largest);
    const std::array<const char*, 4> singular{"person ", "view ", "light ", "expression "};
    for (std::size_t n = 0; n < 4; ++n) {
        for (std::size_t i = 0; i < e.training.shape()[n]; ++i) {
            e.names[n].push_back(singular[n] + std::to_string(i));
        }
    }
    return e;
}

}  // namespace tensorfaces
