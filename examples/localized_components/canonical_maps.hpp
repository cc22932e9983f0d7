#pragma once

// Albedo and depth of a face seen from the front, from what the regressor reads off its picture: what 3D reconstruction gives 000.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "../faces/color.hpp"
#include "../faces/dataset.hpp"
#include "latent_space.hpp"

namespace localized_components {

/// Channels of a canonical map: albedo as display RGB, and depth in centimetres.
inline constexpr std::size_t map_channels = 4;

/// A face by the numbers that are read off its picture. Pose, light, camera and background are not taken over; gaze is, and what
/// the regressor does not give (single actions but for blinking) stays neutral.
class face_reader {
public:
    /// \throws moden::argument_error if the regressor lacks a factor, which is named
    explicit face_reader(const regressor& measure) : measure_(measure) {
        for (const std::string_view name : faces::shape_mode_names) {
            shape_.push_back(offset(name, 1));
        }
        for (const std::string_view name : faces::basic_expression_names) {
            basic_.push_back(offset(name, 1));
        }
        blink_ = offset("blink", 1);
        gaze_right_ = offset("gaze_right", 1);
        gaze_up_ = offset("gaze_up", 1);
        hair_style_ = offset("hair_style", faces::hair_style_names.size());
        for (const named_number& number : numbers) {
            numbers_.push_back(offset(number.name, 1));
        }
        for (const named_color& color : colors) {
            colors_.push_back(offset(color.name, 3));
        }
    }

    /// \param readings  all numbers of the regressor for one picture
    faces::face_parameters face(const float* readings) const {
        faces::face_parameters result;
        for (std::size_t k = 0; k < shape_.size(); ++k) {
            result.person.shape[k] = readings[shape_[k]];
        }
        for (std::size_t k = 0; k < basic_.size(); ++k) {
            result.expression.basic[k] = std::clamp(readings[basic_[k]], 0.0F, 1.0F);
        }
        result.expression.actions[static_cast<std::size_t>(faces::action::blink)] = std::clamp(readings[blink_], 0.0F, 1.0F);
        result.expression.gaze_right = readings[gaze_right_];
        result.expression.gaze_up = readings[gaze_up_];
        faces::appearance& look = result.person.look;
        const float* const styles = readings + hair_style_;
        look.hair = static_cast<faces::hair_style>(std::max_element(styles, styles + faces::hair_style_names.size()) - styles);
        for (std::size_t k = 0; k < numbers_.size(); ++k) {
            look.*numbers[k].member = std::clamp(readings[numbers_[k]], numbers[k].least, 1.0F);
        }
        for (std::size_t k = 0; k < colors_.size(); ++k) {
            const float* const rgb = readings + colors_[k];
            look.*colors[k].member = {std::clamp(rgb[0], 0.0F, 1.0F), std::clamp(rgb[1], 0.0F, 1.0F), std::clamp(rgb[2], 0.0F, 1.0F)};
        }
        return result;
    }

private:
    struct named_number {
        std::string_view name;
        float faces::appearance::*member;
        float least;
    };
    struct named_color {
        std::string_view name;
        faces::vec3 faces::appearance::*member;
    };
    static constexpr named_number numbers[] = {
        {"melanin", &faces::appearance::melanin, 0}, {"undertone", &faces::appearance::undertone, -1}, {"blush", &faces::appearance::blush, 0},
        {"freckles", &faces::appearance::freckles, 0}, {"beard", &faces::appearance::beard, 0}, {"age", &faces::appearance::age, 0},
        {"lip_color", &faces::appearance::lip_color, 0}, {"brow_thickness", &faces::appearance::brow_thickness, 0}, {"brow_arch", &faces::appearance::brow_arch, 0},
        {"lashes", &faces::appearance::lashes, 0}, {"neckline", &faces::appearance::neckline, 0}};
    static constexpr named_color colors[] = {{"hair_color", &faces::appearance::hair_color},
                                             {"iris_color", &faces::appearance::iris_color},
                                             {"clothes_color", &faces::appearance::clothes_color}};

    std::size_t offset(std::string_view name, std::size_t size) const {
        const auto& output = measure_.output(name);
        require<examples::usage_error>(output.size == size, "--measure: the output '", std::string(name), "' has ", output.size, " numbers (expected ",
                                       size, ")");
        return output.offset;
    }

    const regressor& measure_;
    std::vector<std::size_t> shape_, basic_, numbers_, colors_;
    std::size_t blink_ = 0, gaze_right_ = 0, gaze_up_ = 0, hair_style_ = 0;
};

/// Canonical maps of faces, N x (size size 4), channels last.
///
/// The background counts as 0 in both: black, and at the depth of the middle of the head, where its silhouette is, so that a silhouette that
/// moves is as small a step in depth as possible. Albedo is encoded as on a display: in linear light changes of dark hair would hardly count.
inline matrix canonical_maps(const std::vector<faces::face_parameters>& people, std::size_t size) {
    const std::size_t pixels = size * size;
    auto maps = matrix::from_shape({people.size(), pixels * map_channels});
    faces::render_all(people, {.size = size, .truth = faces::truth::all}, [&](std::size_t n, faces::rendering&& rendered) {
        float* const row = maps.data() + n * pixels * map_channels;
        for (std::size_t p = 0; p < pixels; ++p) {
            for (std::size_t c = 0; c < 3; ++c) {
                row[p * map_channels + c] = faces::encode(rendered.albedo.data()[p * 3 + c]);
            }
            row[p * map_channels + 3] = rendered.depth.data()[p];
        }
    });
    return maps;
}

}  // namespace localized_components
