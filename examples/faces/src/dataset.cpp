#include "../dataset.hpp"

#include <moden/core/error.hpp>

#include <atomic>
#include <exception>
#include <numbers>

namespace faces {
namespace {

using moden::detail::require;

constexpr float degree = std::numbers::pi_v<float> / 180.0F;

/// Yaw angles in degrees: frontal, or spread evenly over +-`reach`.
std::vector<float> yaw_angles(std::size_t count, float reach) {
    std::vector<float> angles(count, 0.0F);
    for (std::size_t i = 0; i < count && count > 1; ++i) {
        angles[i] = reach * (2.0F * static_cast<float>(i) / static_cast<float>(count - 1) - 1.0F);
    }
    return angles;
}

mode_levels view_levels(const std::vector<float>& angles) {
    mode_levels mode{"view", {}};
    for (const float angle : angles) {
        mode.levels.push_back("yaw " + std::to_string(static_cast<int>(std::lround(angle))));
    }
    return mode;
}

mode_levels person_levels(std::size_t count) {
    mode_levels mode{"person", {}};
    for (std::size_t i = 0; i < count; ++i) {
        mode.levels.push_back("person " + std::to_string(i));
    }
    return mode;
}

}  // namespace

face_set make_expression_set(const expression_set_options& o) {
    require<moden::argument_error>(
        o.persons > 0 && o.expressions > 0 && o.intensities > 0 && o.views > 0, "make_expression_set: counts ",
        std::vector<std::size_t>{o.persons, o.expressions, o.intensities, o.views}, ", expected at least 1 each");
    require<moden::argument_error>(o.expressions <= basic_expression_count, "make_expression_set: ", o.expressions,
                                   " expressions, expected at most 6");
    const std::vector<float> angles = yaw_angles(o.views, o.views == 2 ? 20.0F : 40.0F);
    face_set set;
    set.modes.push_back(person_levels(o.persons));
    set.modes.push_back({"expression",
                         {basic_expression_names.begin(),
                          basic_expression_names.begin() + static_cast<std::ptrdiff_t>(o.expressions)}});
    mode_levels intensities{"intensity", {}};
    for (std::size_t k = 1; k <= o.intensities; ++k) {
        std::string text = std::to_string(static_cast<float>(k) / static_cast<float>(o.intensities));
        intensities.levels.push_back(text.substr(0, 4));
    }
    set.modes.push_back(intensities);
    set.modes.push_back(view_levels(angles));
    for (std::size_t p = 0; p < o.persons; ++p) {
        const identity person = random_identity(o.seed, p);
        for (std::size_t e = 0; e < o.expressions; ++e) {
            for (std::size_t k = 1; k <= o.intensities; ++k) {
                for (const float angle : angles) {
                    face_parameters face;
                    face.person = person;
                    face.expression = make_expression(static_cast<basic_expression>(e),
                                                      static_cast<float>(k) / static_cast<float>(o.intensities));
                    face.light = make_light(light_preset::window);
                    face.pose.yaw = angle * degree;
                    set.faces.push_back(face);
                }
            }
        }
    }
    return set;
}

face_set make_tensorfaces_set(const tensorfaces_options& o) {
    require<moden::argument_error>(
        o.persons > 0 && o.views > 0 && o.lights > 0 && o.expressions > 0, "make_tensorfaces_set: counts ",
        std::vector<std::size_t>{o.persons, o.views, o.lights, o.expressions}, ", expected at least 1 each");
    require<moden::argument_error>(o.lights <= light_preset_names.size(), "make_tensorfaces_set: ", o.lights,
                                   " lights, expected at most ", light_preset_names.size());
    require<moden::argument_error>(o.expressions <= basic_expression_count + 1, "make_tensorfaces_set: ", o.expressions,
                                   " expressions, expected at most 7");
    const std::vector<float> angles = yaw_angles(o.views, 40.0F);
    face_set set;
    set.modes.push_back(person_levels(o.persons));
    set.modes.push_back(view_levels(angles));
    set.modes.push_back(
        {"light", {light_preset_names.begin(), light_preset_names.begin() + static_cast<std::ptrdiff_t>(o.lights)}});
    mode_levels expressions{"expression", {"neutral"}};
    for (std::size_t e = 1; e < o.expressions; ++e) {
        expressions.levels.emplace_back(basic_expression_names[e - 1]);
    }
    set.modes.push_back(expressions);
    for (std::size_t p = 0; p < o.persons; ++p) {
        const identity person = random_identity(o.seed, p);
        for (const float angle : angles) {
            for (std::size_t l = 0; l < o.lights; ++l) {
                for (std::size_t e = 0; e < o.expressions; ++e) {
                    face_parameters face;
                    face.person = person;
                    if (e > 0) {
                        face.expression = make_expression(static_cast<basic_expression>(e - 1), 1.0F);
                    }
                    face.light = make_light(static_cast<light_preset>(l));
                    face.pose.yaw = angle * degree;
                    face.background.style = background_style::plain;
                    set.faces.push_back(face);
                }
            }
        }
    }
    return set;
}

face_set make_random_set(std::size_t count, std::uint64_t seed) {
    require<moden::argument_error>(count > 0, "make_random_set: count 0, expected at least 1");
    face_set set;
    set.modes.push_back({"face", {}});
    set.faces.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        set.faces.push_back(random_face(seed, i));
    }
    return set;
}

bool render_all(const std::vector<face_parameters>& faces, const render_options& options,
                const std::function<void(std::size_t, rendering&&)>& store, const render_progress& progress) {
    std::atomic<bool> stop{false};
    std::exception_ptr failure;
    std::size_t done = 0;
    const auto count = static_cast<std::ptrdiff_t>(faces.size());
#pragma omp parallel
    {
        renderer worker;
#pragma omp for schedule(dynamic, 4)
        for (std::ptrdiff_t i = 0; i < count; ++i) {
            if (stop) {
                continue;
            }
            // Exceptions must not leave the parallel region: the first one is kept and thrown after it.
            try {
                const auto at = static_cast<std::size_t>(i);
                rendering picture = worker.render(faces[at], options);
#pragma omp critical(faces_store)
                if (!stop) {
                    store(at, std::move(picture));
                    ++done;
                    if (progress && !progress(done, faces.size())) {
                        stop = true;
                    }
                }
            } catch (...) {
#pragma omp critical(faces_failure)
                if (!failure) {
                    failure = std::current_exception();
                }
                stop = true;
            }
        }
    }
    if (failure) {
        std::rethrow_exception(failure);
    }
    return !stop;
}

moden::tensor<float, 5> tensorfaces(const tensorfaces_options& set, const render_options& options, channels colors,
                                    const render_progress& progress) {
    const face_set faces = make_tensorfaces_set(set);
    const std::size_t pixels = options.size * options.size * (colors == channels::rgb ? 3 : 1);
    moden::tensor<float, 5> ensemble({set.persons, set.views, set.lights, set.expressions, pixels});
    render_all(
        faces.faces, options,
        [&](std::size_t i, rendering&& picture) {
            flatten_pixels(picture.image, colors, ensemble.data() + i * pixels);
        },
        progress);
    return ensemble;
}

void flatten_pixels(const moden::tensor<float, 3>& image, channels colors, float* out) {
    if (colors == channels::rgb) {
        std::copy_n(image.data(), image.size(), out);
        return;
    }
    const float* p = image.data();
    for (std::size_t i = 0; i < image.size() / 3; ++i, p += 3) {
        out[i] = 0.2126F * p[0] + 0.7152F * p[1] + 0.0722F * p[2];
    }
}

moden::tensor<std::uint8_t, 3> contact_sheet(const std::vector<moden::tensor<std::uint8_t, 3>>& pictures,
                                             std::size_t columns) {
    require<moden::shape_error>(!pictures.empty() && columns > 0, "contact_sheet: no pictures or no columns");
    const std::size_t height = pictures.front().shape(0), width = pictures.front().shape(1);
    const std::size_t rows = (pictures.size() + columns - 1) / columns;
    moden::tensor<std::uint8_t, 3> sheet({rows * (height + 1) + 1, columns * (width + 1) + 1, 3});
    sheet.fill(24);
    for (std::size_t i = 0; i < pictures.size(); ++i) {
        const auto& picture = pictures[i];
        require<moden::shape_error>(picture.shape(0) == height && picture.shape(1) == width && picture.shape(2) == 3,
                                    "contact_sheet: picture ", i, " has shape ", picture.shape(),
                                    ", expected that of the first, with 3 channels");
        for (std::size_t y = 0; y < height; ++y) {
            for (std::size_t x = 0; x < width; ++x) {
                for (std::size_t c = 0; c < 3; ++c) {
                    sheet((i / columns) * (height + 1) + 1 + y, (i % columns) * (width + 1) + 1 + x, c) =
                        picture(y, x, c);
                }
            }
        }
    }
    return sheet;
}

}  // namespace faces
