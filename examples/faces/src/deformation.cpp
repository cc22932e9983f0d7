#include "../deformation.hpp"

namespace faces {
namespace {

/// A vertex as the fields see it: folded onto x >= 0, with the sign kept to mirror the result.
struct place {
    vec3 p;  ///< mean position, x >= 0
    float sign;
    float x, y;   ///< material position, x >= 0
    float front;  ///< 1 on the face, 0 on the back of the head
    bool lower_lip;
    float along;  ///< 1 in the middle of the mouth, 0 at and beyond its corners
};

bool is_inside_mouth(const rest_vertex& v) {
    return v.kind == part::upper_teeth || v.kind == part::lower_teeth || v.kind == part::tongue ||
           v.kind == part::cavity;
}

place place_of(const rest_vertex& v) {
    const bool rigid_eye = v.kind == part::eyeball;
    const float sign = v.position.x < 0.0F ? -1.0F : 1.0F;
    const vec3 p =
        rigid_eye ? vec3{sign * anatomy::eye_x, anatomy::eye_y, anatomy::eye_z + anatomy::eyeball_radius} : v.position;
    const vec3 m = rigid_eye ? p : v.material;
    const float x = std::abs(m.x);
    const float ratio = x / anatomy::mouth_corner;
    return {{std::abs(p.x), p.y, p.z},
            sign,
            x,
            m.y,
            is_inside_mouth(v) || rigid_eye ? 1.0F : smoothstep(-1.0F, 4.0F, p.z),
            v.mouth_side == side::lower,
            std::max(0.0F, 1.0F - ratio * ratio)};
}

/// A displacement of the half face x >= 0 as one of the whole face: the middle does not move sideways.
vec3 mirrored(const vec3& d, const place& at) { return {at.sign * smoothstep(0.0F, 0.5F, at.x) * d.x, d.y, d.z}; }

vec3 scaled_about(const vec3& p, const vec3& center, float factor) { return factor * (p - center); }

vec3 half_shape(shape_mode mode, const rest_vertex& v, const place& at) {
    const float x = at.x, y = at.y, f = at.front;
    const vec3& p = at.p;
    switch (mode) {
        case shape_mode::build:
            return 0.75F * half_shape(shape_mode::jaw_width, v, at) + 0.6F * half_shape(shape_mode::brow_ridge, v, at) +
                   0.6F * half_shape(shape_mode::chin_length, v, at) +
                   0.9F * half_shape(shape_mode::neck_width, v, at) +
                   0.6F * half_shape(shape_mode::nose_length, v, at) +
                   0.45F * half_shape(shape_mode::nose_width, v, at) +
                   0.4F * half_shape(shape_mode::chin_projection, v, at) +
                   (-0.5F) * half_shape(shape_mode::lip_fullness, v, at) +
                   (-0.8F) * half_shape(shape_mode::eye_size, v, at) + 0.3F * half_shape(shape_mode::face_width, v, at);
        case shape_mode::face_width:
            return {0.34F * smoothstep(0.8F, 6.5F, x) * smoothstep(-16.0F, -11.0F, y), 0.0F, 0.0F};
        case shape_mode::face_height: return {0.0F, 0.042F * std::clamp(y, -11.7F, 0.0F), 0.0F};
        case shape_mode::jaw_width:
            return {0.42F * bump(y + 8.7F, 3.2F) * smoothstep(1.8F, 5.0F, x) * smoothstep(-4.0F, 0.0F, p.z), 0.0F,
                    0.0F};
        case shape_mode::chin_length:
            return {0.0F, -0.38F * smoothstep(-8.2F, -11.3F, y) * smoothstep(2.2F, 6.5F, p.z), 0.0F};
        case shape_mode::chin_projection: return {0.0F, 0.0F, 0.38F * f * bump(x, y + 10.4F, 2.2F, 1.7F)};
        case shape_mode::forehead: return {0.0F, 0.5F * smoothstep(2.5F, 8.5F, y), 0.0F};
        case shape_mode::cheekbones: {
            const float b = f * bump(x - 5.2F, y + 2.2F, 1.8F, 1.4F);
            return {0.22F * b, 0.0F, 0.15F * b};
        }
        case shape_mode::cheek_fullness: {
            const float b = f * bump(x - 4.8F, y + 5.6F, 2.0F, 2.2F);
            return {0.36F * b, 0.0F, 0.26F * b};
        }
        case shape_mode::brow_ridge:
            return {0.0F, -0.06F * f * bump(x - 2.5F, y - 1.9F, 2.2F, 0.9F),
                    0.2F * f * bump(x - 2.4F, y - 1.75F, 2.3F, 0.8F)};
        case shape_mode::eye_size: {
            const vec3 center{anatomy::eye_x, anatomy::eye_y, anatomy::eye_z};
            if (v.kind == part::eyeball) {
                return scaled_about({std::abs(v.position.x), v.position.y, v.position.z}, center, 0.055F);
            }
            return scaled_about(p, center, 0.085F * f * bump(x - anatomy::eye_x, y - anatomy::eye_y, 2.1F, 1.7F));
        }
        case shape_mode::eye_spacing:
            return {0.17F * f * bump(x - anatomy::eye_x, y - anatomy::eye_y - 0.3F, 2.2F, 2.2F), 0.0F, 0.0F};
        case shape_mode::eye_tilt:
            return {0.0F,
                    0.11F * (v.kind == part::eyeball ? 0.0F : x - anatomy::eye_x) * f *
                        bump(x - anatomy::eye_x, y - anatomy::eye_y, 2.2F, 1.3F),
                    0.0F};
        case shape_mode::nose_length:
            return {0.0F, -0.36F * f * smoothstep(-0.5F, -4.0F, y) * smoothstep(-7.0F, -4.6F, y) * bump(x, 2.4F), 0.0F};
        case shape_mode::nose_width:
            return {f * (0.26F * bump(x - 1.2F, y + 3.85F, 0.85F, 0.9F) + 0.07F * bump(x - 0.7F, y + 1.8F, 0.6F, 1.8F)),
                    0.0F, 0.0F};
        case shape_mode::nose_bridge: return {0.0F, 0.0F, 0.24F * f * bump(x, y + 1.3F, 0.8F, 1.5F)};
        case shape_mode::nose_tip:
            return {0.0F, 0.26F * f * bump(x, y + 3.95F, 1.2F, 0.9F), 0.16F * f * bump(x, y + 3.65F, 0.9F, 0.9F)};
        case shape_mode::mouth_width: return {0.26F * f * bump(x - 2.4F, y + 7.0F, 1.5F, 1.7F), 0.0F, 0.0F};
        case shape_mode::lip_fullness: {
            // The lips thicken away from the line between them, which stays closed.
            const float b = f * std::sqrt(at.along) * (is_inside_mouth(v) ? 0.0F : 1.0F) *
                            smoothstep(0.0F, 0.4F, std::abs(y - anatomy::mouth_y));
            return at.lower_lip ? vec3{0.0F, -0.15F * b * bump(y + 7.9F, 0.75F), 0.10F * b * bump(y + 7.45F, 0.6F)}
                                : vec3{0.0F, 0.13F * b * bump(y + 6.25F, 0.65F), 0.09F * b * bump(y + 6.6F, 0.6F)};
        }
        case shape_mode::mouth_height: return {0.0F, 0.28F * f * bump(x, y + 7.1F, 3.2F, 2.3F), 0.0F};
        case shape_mode::ear_size: return v.kind == part::ear ? scaled_about(p, {6.9F, -1.3F, -0.7F}, 0.09F) : vec3{};
        case shape_mode::neck_width:
            return {0.075F * p.x * smoothstep(-10.5F, -12.5F, y) * smoothstep(-24.0F, -16.0F, y), 0.0F, 0.0F};
    }
    return {};
}

/// Share of the jaw's rotation that a vertex follows.
float jaw_weight(const rest_vertex& v, const place& at) {
    if (v.kind == part::lower_teeth || v.kind == part::tongue) {
        return 1.0F;
    }
    if (v.kind == part::upper_teeth || v.kind == part::eyeball || v.kind == part::ear || v.kind == part::hair) {
        return 0.0F;
    }
    const float below = anatomy::mouth_y - at.y;
    const float slit = std::sqrt(at.along);
    const float ramp = smoothstep(0.0F, 3.4F, std::abs(below));
    const float direction = at.lower_lip ? 1.0F : -1.0F;
    const float weight = 0.5F + 0.5F * direction *
                                    (slit * smoothstep(4.5F, 3.0F, std::abs(below) * (at.lower_lip ? 0.0F : 1.0F)) +
                                     (1.0F - slit) * ramp);
    const float upper_end = at.lower_lip ? 1.0F : smoothstep(-3.2F, -6.0F, at.y);
    // The neck stays: the share falls towards the throat, and behind the angle of the jaw.
    const float under = smoothstep(-8.5F, -12.0F, at.y);
    const float throat = smoothstep(mix(-1.5F, 1.8F, under), mix(2.5F, 6.4F, under), at.p.z);
    return weight * upper_end * throat * smoothstep(-15.0F, -12.0F, at.y);
}

vec3 half_action(action which, const rest_vertex& v, const place& at) {
    const float x = at.x, y = at.y, f = at.front;
    const vec3& p = at.p;
    const float corner = f * bump(x - 2.55F, y + 6.95F, 1.65F, 1.5F);
    const float slit = std::sqrt(at.along);
    const bool skin = v.kind == part::skin || v.kind == part::lip_inside || v.kind == part::lid_rim;
    if (!skin && which != action::jaw_open) {
        return {};
    }
    const vec3 closing = v.eyes_closed - v.position;
    switch (which) {
        case action::jaw_open: {
            // Rotation about a point below the joint, since the jaw also slides forward when it opens.
            const float angle = 0.33F;
            const vec3 pivot{0.0F, -3.2F, -1.0F};
            const float dy = p.y - pivot.y, dz = p.z - pivot.z;
            const float cosine = std::cos(angle), sine = std::sin(angle);
            return jaw_weight(v, at) * vec3{-0.03F * p.x * at.along, dy * (cosine - 1.0F) - dz * sine,
                                            dz * (cosine - 1.0F) + dy * sine + 0.5F} +
                   vec3{-0.28F * corner, 0.0F, 0.0F};
        }
        case action::smile: {
            const float apple = f * bump(x - 4.1F, y + 3.7F, 1.6F, 1.3F);
            const float fold = f * bump(x - (3.05F - 0.28F * (y + 6.0F)), 0.34F) * smoothstep(-8.0F, -6.4F, y) *
                               smoothstep(-3.6F, -4.6F, y);
            // The mouth line bends into a bowl: height grows with the square of the distance from the middle.
            const float bend = f * (x < 2.6F ? (x / 2.6F) * (x / 2.6F) : bump(x - 2.6F, 1.5F)) * bump(y + 6.9F, 1.7F);
            return {0.85F * corner + 0.15F * apple, 1.05F * bend + 0.35F * apple,
                    -0.62F * corner + 0.42F * apple - 0.2F * fold};
        }
        case action::corners_down: {
            const float c = f * bump(x - 2.5F, y + 7.1F, 1.25F, 1.25F);
            const float fold = f * bump(x - 2.95F - 0.1F * (-7.4F - y), 0.3F) * bump(y + 8.3F, 0.9F);
            return {0.12F * c, -0.85F * c, -0.15F * c - 0.12F * fold};
        }
        case action::lip_press: {
            const float b = f * slit;
            return at.lower_lip ? vec3{0.0F, 0.34F * b * bump(y + 7.95F, 0.6F), -0.30F * b * bump(y + 7.45F, 0.6F)}
                                : vec3{0.0F, -0.28F * b * bump(y + 6.25F, 0.55F), -0.24F * b * bump(y + 6.6F, 0.55F)};
        }
        case action::lip_stretch: return {0.72F * corner, -0.22F * corner, -0.40F * corner};
        case action::lip_pucker: {
            const float b = f * bump(x, y + 7.0F, 2.3F, 1.5F);
            return {-0.85F * corner, 0.0F, 0.35F * b};
        }
        case action::upper_lip_raise: {
            const float b = f * bump(x, 2.3F) * (at.lower_lip ? 0.0F : slit * bump(y + 6.8F, 1.6F));
            const float c = f * bump(x - 2.0F, y + 5.2F, 1.0F, 1.2F);
            const float fold = f * bump(x - (2.6F - 0.3F * (y + 5.4F)), 0.34F) * smoothstep(-7.4F, -6.2F, y) *
                               smoothstep(-3.4F, -4.4F, y);
            return {0.0F, 0.52F * b + (at.lower_lip ? 0.0F : 0.25F * c), 0.10F * b + 0.12F * c - 0.16F * fold};
        }
        case action::lower_lip_down: {
            const float b = f * bump(x, 2.4F) * (at.lower_lip ? slit * bump(y + 7.2F, 1.5F) : 0.0F);
            return {0.0F, -0.62F * b, 0.10F * b};
        }
        case action::chin_raise: {
            const float b = f * bump(x, y + 7.9F, 2.2F, 1.6F);
            const float ball = f * bump(x, y + 9.8F, 1.3F, 0.9F);
            return {0.0F, 0.36F * b + 0.18F * ball,
                    0.12F * b + 0.12F * ball - 0.12F * f * bump(x, y + 8.75F, 1.3F, 0.35F)};
        }
        case action::nose_wrinkle: {
            const float wing = f * bump(x - 1.3F, y + 3.9F, 1.0F, 1.1F);
            const float cheek = f * bump(x - 2.4F, y + 2.6F, 1.3F, 1.3F);
            const float lines = f * bump(x, 1.1F) * (bump(y - 0.35F, 0.17F) + bump(y + 0.35F, 0.17F));
            const float brow = f * bump(x - 1.4F, y - 1.9F, 1.4F, 1.0F);
            return {0.10F * wing, 0.38F * wing + 0.34F * cheek - 0.25F * brow, 0.14F * cheek - 0.10F * lines};
        }
        case action::inner_brow_raise: {
            const float b = f * bump(x - 1.1F, y - 2.3F, 1.5F, 1.35F);
            const float lines = f * bump(x, 2.6F) * (bump(y - 4.3F, 0.26F) + bump(y - 5.35F, 0.26F));
            return {0.0F, 0.92F * b, 0.08F * b - 0.11F * lines};
        }
        case action::outer_brow_raise: {
            const float b = f * bump(x - 4.2F, y - 2.2F, 1.8F, 1.3F);
            const float lines = f * bump(x - 3.2F, 1.9F) * (bump(y - 4.3F, 0.26F) + bump(y - 5.35F, 0.26F));
            return {0.0F, 0.80F * b, 0.06F * b - 0.09F * lines};
        }
        case action::brow_lower: {
            const float b = f * bump(x - 1.7F, y - 2.0F, 2.0F, 1.15F);
            const float inward = f * bump(x - 1.6F, y - 2.0F, 1.3F, 1.0F);
            const float frown = f * bump(x - 0.55F, 0.24F) * bump(y - 2.2F, 0.95F);
            return {-0.34F * inward, -0.72F * b, 0.16F * b - 0.2F * frown};
        }
        case action::lid_raise: return v.eye_side == side::upper ? -0.46F * closing : -0.08F * closing;
        case action::lid_tighten: return v.eye_side == side::upper ? 0.22F * closing : 0.45F * closing;
        case action::cheek_raise: {
            const float apple = f * bump(x - 4.1F, y + 2.9F, 1.7F, 1.0F);
            const float crow = f * bump(x - 5.6F, 0.7F) * (bump(y - 0.25F, 0.16F) + bump(y + 0.35F, 0.16F));
            return vec3{0.0F, 0.26F * apple, 0.16F * apple - 0.08F * crow} +
                   (v.eye_side == side::lower ? 0.28F : 0.0F) * closing;
        }
        case action::blink: return closing;
    }
    return {};
}

}  // namespace

vec3 shape_displacement(shape_mode mode, const rest_vertex& vertex) {
    const place at = place_of(vertex);
    return mirrored(half_shape(mode, vertex, at), at);
}

vec3 action_displacement(action which, const rest_vertex& vertex) {
    const place at = place_of(vertex);
    return mirrored(half_action(which, vertex, at), at);
}

float action_crease(action which, const rest_vertex& v) {
    if (v.kind != part::skin) {
        return 0.0F;
    }
    const place at = place_of(v);
    const float x = at.x, y = at.y, f = at.front;
    switch (which) {
        case action::smile:
            return 0.40F * f * bump(x - (3.05F - 0.28F * (y + 6.0F)), 0.36F) * smoothstep(-8.0F, -6.4F, y) *
                   smoothstep(-3.6F, -4.6F, y);
        case action::corners_down:
            return 0.25F * f * bump(x - 2.95F - 0.1F * (-7.4F - y), 0.36F) * bump(y + 8.2F, 1.0F);
        case action::upper_lip_raise:
            return 0.40F * f * bump(x - (2.6F - 0.3F * (y + 5.4F)), 0.36F) * smoothstep(-7.4F, -6.2F, y) *
                   smoothstep(-3.4F, -4.4F, y);
        case action::chin_raise: return 0.25F * f * bump(x, y + 8.75F, 1.4F, 0.3F);
        case action::nose_wrinkle: return 0.35F * f * bump(x, 1.0F) * (bump(y - 0.35F, 0.18F) + bump(y + 0.35F, 0.18F));
        case action::inner_brow_raise:
            return 0.26F * f * bump(x, 2.4F) * (bump(y - 4.3F, 0.2F) + bump(y - 5.35F, 0.2F));
        case action::outer_brow_raise:
            return 0.22F * f * bump(x - 3.2F, 1.9F) * (bump(y - 4.3F, 0.2F) + bump(y - 5.35F, 0.2F));
        case action::brow_lower: return 0.5F * f * bump(x - 0.5F, 0.2F) * bump(y - 2.1F, 1.0F);
        case action::cheek_raise:
            return 0.3F * f * bump(x - 5.6F, 0.7F) * (bump(y - 0.25F, 0.16F) + bump(y + 0.35F, 0.16F));
        default: return 0.0F;
    }
}

}  // namespace faces
