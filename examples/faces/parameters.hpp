#pragma once

// Every factor of a picture, as plain numbers: who (shape and appearance), what the face does, light, pose, camera,
// background.

#include "geometry.hpp"
#include "lighting.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace faces {

/// The linear shape basis: one displacement field each, coefficients in standard deviations.
enum class shape_mode : std::uint8_t {
    build,
    face_width,
    face_height,
    jaw_width,
    chin_length,
    chin_projection,
    forehead,
    cheekbones,
    cheek_fullness,
    brow_ridge,
    eye_size,
    eye_spacing,
    eye_tilt,
    nose_length,
    nose_width,
    nose_bridge,
    nose_tip,
    mouth_width,
    lip_fullness,
    mouth_height,
    ear_size,
    neck_width
};
inline constexpr std::array<std::string_view, 22> shape_mode_names{
    "build",        "face_width",   "face_height",    "jaw_width",   "chin_length", "chin_projection",
    "forehead",     "cheekbones",   "cheek_fullness", "brow_ridge",  "eye_size",    "eye_spacing",
    "eye_tilt",     "nose_length",  "nose_width",     "nose_bridge", "nose_tip",    "mouth_width",
    "lip_fullness", "mouth_height", "ear_size",       "neck_width"};
inline constexpr std::size_t shape_mode_count = shape_mode_names.size();

/// What single groups of facial muscles do; the basic expressions are composed of these.
enum class action : std::uint8_t {
    jaw_open,
    smile,
    corners_down,
    lip_press,
    lip_stretch,
    lip_pucker,
    upper_lip_raise,
    lower_lip_down,
    chin_raise,
    nose_wrinkle,
    inner_brow_raise,
    outer_brow_raise,
    brow_lower,
    lid_raise,
    lid_tighten,
    cheek_raise,
    blink
};
inline constexpr std::array<std::string_view, 17> action_names{
    "jaw_open",    "smile",        "corners_down",     "lip_press",
    "lip_stretch", "lip_pucker",   "upper_lip_raise",  "lower_lip_down",
    "chin_raise",  "nose_wrinkle", "inner_brow_raise", "outer_brow_raise",
    "brow_lower",  "lid_raise",    "lid_tighten",      "cheek_raise",
    "blink"};
inline constexpr std::size_t action_count = action_names.size();

/// The six basic expressions. An intensity of 0 is neutral, 1 the full expression.
enum class basic_expression : std::uint8_t { happiness, disgust, fear, anger, surprise, sadness };
inline constexpr std::array<std::string_view, 6> basic_expression_names{"happiness", "disgust",  "fear",
                                                                        "anger",     "surprise", "sadness"};
inline constexpr std::size_t basic_expression_count = basic_expression_names.size();

/// Actions that make up a basic expression at full intensity.
const std::array<float, action_count>& composition(basic_expression expression);

enum class hair_style : std::uint8_t {
    bald,
    buzz,
    short_side,
    short_up,
    receding,
    curly,
    bob,
    long_straight,
    long_wavy,
    tied_back
};
inline constexpr std::array<std::string_view, 10> hair_style_names{
    "bald", "buzz", "short_side", "short_up", "receding", "curly", "bob", "long_straight", "long_wavy", "tied_back"};

/// How the surface looks, apart from its shape. Colours are linear RGB albedos in [0, 1].
struct appearance {
    hair_style hair = hair_style::short_side;
    float melanin = 0.3F;         ///< 0 very fair to 1 very dark skin
    float undertone = 0.0F;       ///< -1 rosy to 1 golden
    float blush = 0.5F;           ///< redness of cheeks, nose and ears, 0 to 1
    float freckles = 0.0F;        ///< 0 to 1
    float beard = 0.0F;           ///< 0 none, 0.3 stubble, 1 full beard
    float age = 0.2F;             ///< 0 to 1: depth of folds, grey of hair is in its colour
    float lip_color = 0.5F;       ///< 0 pale to 1 painted
    float brow_thickness = 0.5F;  ///< 0 thin to 1 bushy
    float brow_arch = 0.5F;       ///< 0 straight to 1 arched
    float lashes = 0.4F;          ///< 0 pale to 1 strong
    vec3 hair_color{0.06F, 0.035F, 0.02F};
    vec3 iris_color{0.10F, 0.05F, 0.02F};
    vec3 clothes_color{0.10F, 0.14F, 0.25F};
    float neckline = 0.5F;  ///< 0 high to 1 low
};

/// A person: the same in every picture.
struct identity {
    std::array<float, shape_mode_count> shape{};
    appearance look;
};

/// What the face does. Vertices are linear in all of it except gaze, which turns the eyes.
struct expression {
    std::array<float, basic_expression_count> basic{};  ///< intensities in [0, 1]
    std::array<float, action_count> actions{};          ///< added to the composition of the basic ones
    float gaze_right = 0.0F;                            ///< radians, towards the picture's right
    float gaze_up = 0.0F;                               ///< radians

    /// Total weight of every action.
    std::array<float, action_count> weights() const;
};

/// Rotation of the head, in radians: R = R_z(roll) R_y(yaw) R_x(pitch) with right-handed rotations about x (right), y
/// (up) and z (towards the viewer). Positive yaw turns the face to the picture's right, positive pitch down, positive
/// roll counter-clockwise.
struct pose {
    float yaw = 0.0F, pitch = 0.0F, roll = 0.0F;

    mat3 rotation() const;
};

/// Scaled orthographic camera: `view` centimetres span the picture's height; the point (center_x, center_y) of the
/// rotated frame falls on the middle of the picture.
struct camera {
    float view = 28.5F, center_x = 0.0F, center_y = -1.5F;
};

enum class background_style : std::uint8_t { plain, gradient, blobs };
inline constexpr std::array<std::string_view, 3> background_style_names{"plain", "gradient", "blobs"};

/// What is behind the head. Colours are linear RGB as displayed: light does not change them.
struct background {
    background_style style = background_style::gradient;
    vec3 first{0.35F, 0.38F, 0.42F};
    vec3 second{0.16F, 0.18F, 0.22F};
    float angle = 1.2F;      ///< direction of the gradient, radians from the picture's right
    std::uint64_t seed = 0;  ///< places the blobs
};

/// Everything that makes a picture.
struct face_parameters {
    faces::identity person;
    faces::expression expression;
    faces::light light;
    faces::pose pose;
    faces::camera camera;
    faces::background background;
};

/// An expression with one basic expression at the given intensity.
expression make_expression(basic_expression which, float intensity);

/// Names and values of all numbers of an identity: shape coefficients, then appearance.
std::vector<std::string> identity_names();
std::vector<float> identity_values(const identity& person);

}  // namespace faces
