#include "../parameters.hpp"

namespace faces {
namespace {

struct share {
    action which;
    float weight;
};

template <std::size_t N>
std::array<float, action_count> compose(const std::array<share, N>& shares) {
    std::array<float, action_count> weights{};
    for (const share& s : shares) {
        weights[static_cast<std::size_t>(s.which)] = s.weight;
    }
    return weights;
}

}  // namespace

const std::array<float, action_count>& composition(basic_expression expression) {
    using enum action;
    static const std::array<std::array<float, action_count>, basic_expression_count> table{
        compose(std::array<share, 6>{{{smile, 1.05F},
                                      {cheek_raise, 0.9F},
                                      {upper_lip_raise, 0.38F},
                                      {lower_lip_down, 0.45F},
                                      {jaw_open, 0.17F},
                                      {lid_tighten, 0.2F}}}),
        compose(std::array<share, 8>{{{nose_wrinkle, 1.1F},
                                      {upper_lip_raise, 1.0F},
                                      {brow_lower, 0.6F},
                                      {lid_tighten, 0.6F},
                                      {corners_down, 0.55F},
                                      {lower_lip_down, 0.35F},
                                      {cheek_raise, 0.5F},
                                      {chin_raise, 0.3F}}}),
        compose(std::array<share, 8>{{{inner_brow_raise, 1.0F},
                                      {outer_brow_raise, 0.35F},
                                      {brow_lower, 0.25F},
                                      {lid_raise, 1.0F},
                                      {lip_stretch, 1.0F},
                                      {jaw_open, 0.42F},
                                      {lower_lip_down, 0.4F},
                                      {corners_down, 0.25F}}}),
        compose(std::array<share, 7>{{{brow_lower, 1.25F},
                                      {lid_tighten, 0.25F},
                                      {lid_raise, 0.3F},
                                      {lip_press, 1.0F},
                                      {nose_wrinkle, 0.35F},
                                      {corners_down, 0.45F},
                                      {chin_raise, 0.35F}}}),
        compose(std::array<share, 5>{{{inner_brow_raise, 1.0F},
                                      {outer_brow_raise, 1.1F},
                                      {lid_raise, 0.95F},
                                      {jaw_open, 1.0F},
                                      {lip_pucker, 0.35F}}}),
        compose(std::array<share, 6>{{{inner_brow_raise, 1.1F},
                                      {brow_lower, 0.2F},
                                      {corners_down, 1.15F},
                                      {chin_raise, 0.8F},
                                      {blink, 0.22F},
                                      {lip_press, 0.2F}}}),
    };
    return table[static_cast<std::size_t>(expression)];
}

std::array<float, action_count> expression::weights() const {
    std::array<float, action_count> total = actions;
    for (std::size_t e = 0; e < basic_expression_count; ++e) {
        const auto& shares = composition(static_cast<basic_expression>(e));
        for (std::size_t a = 0; a < action_count; ++a) {
            total[a] += basic[e] * shares[a];
        }
    }
    return total;
}

mat3 pose::rotation() const {
    const float cy = std::cos(yaw), sy = std::sin(yaw), cp = std::cos(pitch), sp = std::sin(pitch), cr = std::cos(roll),
                sr = std::sin(roll);
    const mat3 about_x{{vec3{1, 0, 0}, vec3{0, cp, -sp}, vec3{0, sp, cp}}};
    const mat3 about_y{{vec3{cy, 0, sy}, vec3{0, 1, 0}, vec3{-sy, 0, cy}}};
    const mat3 about_z{{vec3{cr, -sr, 0}, vec3{sr, cr, 0}, vec3{0, 0, 1}}};
    return about_z * about_y * about_x;
}

expression make_expression(basic_expression which, float intensity) {
    expression result;
    result.basic[static_cast<std::size_t>(which)] = intensity;
    return result;
}

std::vector<std::string> identity_names() {
    std::vector<std::string> names(shape_mode_names.begin(), shape_mode_names.end());
    for (const char* name : {"melanin", "undertone", "blush", "freckles", "beard", "age", "lip_color", "brow_thickness",
                             "brow_arch", "lashes", "neckline"}) {
        names.emplace_back(name);
    }
    for (const char* what : {"hair", "iris", "clothes"}) {
        for (const char* channel : {"red", "green", "blue"}) {
            names.push_back(std::string(what) + "_" + channel);
        }
    }
    names.emplace_back("hair_style");
    return names;
}

std::vector<float> identity_values(const identity& person) {
    std::vector<float> values(person.shape.begin(), person.shape.end());
    const appearance& look = person.look;
    values.insert(values.end(), {look.melanin, look.undertone, look.blush, look.freckles, look.beard, look.age,
                                 look.lip_color, look.brow_thickness, look.brow_arch, look.lashes, look.neckline});
    for (const vec3& color : {look.hair_color, look.iris_color, look.clothes_color}) {
        values.insert(values.end(), {color.x, color.y, color.z});
    }
    values.push_back(static_cast<float>(look.hair));
    return values;
}

}  // namespace faces
