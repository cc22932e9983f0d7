#include "../sampling.hpp"

#include "../color.hpp"

#include <numbers>

namespace faces {
namespace {

enum purpose : std::uint64_t { for_identity = 1, for_expression, for_light, for_pose, for_camera, for_background };

constexpr float degree = std::numbers::pi_v<float> / 180.0F;

/// A colour of even brightness from hue, saturation and value, each in [0, 1].
vec3 from_hsv(float hue, float saturation, float value) {
    const auto channel = [&](float shift) {
        const float k = std::fmod(shift + 6.0F * hue, 6.0F);
        return srgb_to_linear(value * (1.0F - saturation * std::clamp(std::min(k, 4.0F - k), 0.0F, 1.0F)));
    };
    return {channel(5.0F), channel(3.0F), channel(1.0F)};
}

}  // namespace

float random_stream::uniform() {
    if (drawn_ % 4 == 0) {
        words_ = moden::philox(seed_, stream_, drawn_ / 4);
    }
    return moden::uniform_from<float>(words_, drawn_++ % 4);
}
float random_stream::uniform(float low, float high) { return low + (high - low) * uniform(); }
float random_stream::normal() {
    const float radius = std::sqrt(-2.0F * std::log(uniform()));
    return radius * std::cos(2.0F * std::numbers::pi_v<float> * uniform());
}
float random_stream::normal(float limit) {
    float value = normal();
    while (std::abs(value) > limit) {
        value = normal();
    }
    return value;
}
std::size_t random_stream::below(std::size_t count) {
    return std::min(static_cast<std::size_t>(uniform() * static_cast<float>(count)), count - 1);
}

identity random_identity(std::uint64_t seed, std::uint64_t index) {
    random_stream r(seed, index, for_identity);
    identity person;
    const float m = (r.chance(0.5F) ? 1.0F : -1.0F) + 0.35F * r.normal(2.0F);
    for (float& s : person.shape) {
        s = r.normal(2.2F);
    }
    person.shape[static_cast<std::size_t>(shape_mode::build)] = 1.15F * m;
    appearance& look = person.look;
    const float tone = r.uniform();
    look.melanin = tone < 0.62F ? 0.45F * tone / 0.62F : 0.45F + 0.55F * (tone - 0.62F) / 0.38F;
    look.undertone = r.normal(1.5F) * 0.6F;
    look.blush = std::clamp(0.5F + 0.25F * r.normal(), 0.1F, 1.0F);
    look.freckles = look.melanin < 0.4F && r.chance(0.25F) ? r.uniform(0.4F, 1.0F) : 0.0F;
    look.age = std::clamp(std::pow(r.uniform(), 1.6F), 0.02F, 1.0F);
    look.beard = m > 0.2F ? (r.chance(0.3F) ? r.uniform(0.55F, 1.0F) : r.uniform(0.0F, 0.32F)) : 0.0F;
    look.lip_color = m > 0.0F ? r.uniform(0.15F, 0.5F) : r.uniform(0.4F, 0.95F);
    look.brow_thickness = std::clamp(0.48F + 0.24F * m + 0.18F * r.normal(2.0F), 0.1F, 1.0F);
    look.brow_arch = std::clamp(0.45F - 0.22F * m + 0.2F * r.normal(2.0F), 0.0F, 1.0F);
    look.lashes = std::clamp(0.45F - 0.3F * m + 0.15F * r.normal(2.0F), 0.1F, 1.0F);

    // Hair: natural colours, the fair ones only with fair skin, grey with age.
    static const std::array<vec3, 8> hair{from_srgb(24, 19, 17),    from_srgb(44, 31, 24),   from_srgb(70, 46, 32),
                                          from_srgb(98, 66, 42),    from_srgb(128, 66, 34),  from_srgb(158, 116, 72),
                                          from_srgb(196, 158, 104), from_srgb(214, 186, 140)};
    const float darkness = look.melanin > 0.42F ? 0.16F : 1.0F;
    const float hair_at = r.uniform() * darkness * 7.0F;
    const auto h = std::min<std::size_t>(static_cast<std::size_t>(hair_at), 6);
    look.hair_color = mix(hair[h], hair[h + 1], hair_at - static_cast<float>(h));
    if (look.age > 0.55F) {
        look.hair_color =
            mix(look.hair_color, from_srgb(176, 174, 172), smoothstep(0.5F, 1.0F, look.age) * r.uniform(0.4F, 1.0F));
    }
    using enum hair_style;
    static constexpr std::array<hair_style, 12> first{short_side, short_side, short_side,    short_up,
                                                      short_up,   buzz,       buzz,          receding,
                                                      bald,       curly,      long_straight, tied_back};
    static constexpr std::array<hair_style, 10> second{long_straight, long_straight, long_wavy, long_wavy,  bob,
                                                       bob,           tied_back,     curly,     short_side, short_up};
    look.hair = m > 0.0F ? first[r.below(first.size())] : second[r.below(second.size())];

    static const std::array<vec3, 6> iris{from_srgb(58, 36, 22),  from_srgb(84, 52, 28),   from_srgb(110, 84, 44),
                                          from_srgb(92, 108, 74), from_srgb(88, 118, 142), from_srgb(120, 146, 164)};
    const std::size_t iris_choices = look.melanin > 0.45F ? 2 : 6;
    look.iris_color = r.uniform(0.85F, 1.2F) * iris[r.below(iris_choices)];
    look.clothes_color = from_hsv(r.uniform(), r.uniform(0.05F, 0.65F), r.uniform(0.2F, 0.85F));
    look.neckline = r.uniform();
    return person;
}

expression random_expression(std::uint64_t seed, std::uint64_t index) {
    random_stream r(seed, index, for_expression);
    expression e;
    if (!r.chance(1.0F / 6.0F)) {
        e.basic[r.below(basic_expression_count)] = r.uniform(0.2F, 1.0F);
        if (r.chance(0.2F)) {
            float& other = e.basic[r.below(basic_expression_count)];
            other = std::max(other, r.uniform(0.0F, 0.4F));
        }
    }
    e.gaze_right = 0.13F * r.normal(2.0F);
    e.gaze_up = 0.06F * r.normal(2.0F);
    if (r.chance(0.03F)) {
        e.actions[static_cast<std::size_t>(action::blink)] = r.uniform(0.5F, 0.95F);
    }
    return e;
}

light random_light(std::uint64_t seed, std::uint64_t index) {
    random_stream r(seed, index, for_light);
    light result;
    const float ambient = r.uniform(0.22F, 0.55F);
    const float key = r.uniform(0.35F, 0.85F);
    const float azimuth = 65.0F * degree * r.normal(1.6F) * 0.75F;
    const float elevation = r.uniform(-8.0F, 60.0F) * degree;
    const auto direction = [](float a, float e) {
        return vec3{std::sin(a) * std::cos(e), std::sin(e), std::cos(a) * std::cos(e)};
    };
    result.coefficients = lamp(direction(azimuth, elevation), key, ambient);
    const auto add = [&](const std::array<float, 9>& other) {
        for (std::size_t k = 0; k < 9; ++k) {
            result.coefficients[k] += other[k];
        }
    };
    add(lamp({0.0F, 1.0F, 0.0F}, r.uniform(0.0F, 0.25F), 0.0F));
    if (r.chance(0.35F)) {
        add(lamp(direction(-azimuth + r.uniform(-1.0F, 1.0F) + std::numbers::pi_v<float> * 0.6F, r.uniform(0.0F, 0.6F)),
                 r.uniform(0.15F, 0.6F), 0.0F));
    }
    // Expose for a face that looks at the camera.
    const float exposure =
        r.uniform(0.72F, 1.05F) / std::max(0.3F, irradiance(result.coefficients).shading({0.0F, 0.1F, 0.995F}));
    for (float& c : result.coefficients) {
        c *= std::min(exposure, 1.9F);
    }
    const float warmth = 0.5F * r.normal(2.0F);
    result.color = {1.0F + 0.05F * warmth, 1.0F, 1.0F - 0.09F * warmth};
    return result;
}

pose random_pose(std::uint64_t seed, std::uint64_t index) {
    random_stream r(seed, index, for_pose);
    return {22.0F * degree * r.normal(60.0F / 22.0F), 8.0F * degree * r.normal(22.0F / 8.0F),
            5.0F * degree * r.normal(3.0F)};
}

camera random_camera(std::uint64_t seed, std::uint64_t index) {
    random_stream r(seed, index, for_camera);
    camera c;
    c.view *= 1.0F + 0.05F * r.normal(2.0F);
    c.center_x += 0.45F * r.normal(2.0F);
    c.center_y += 0.45F * r.normal(2.0F);
    return c;
}

background random_background(std::uint64_t seed, std::uint64_t index) {
    random_stream r(seed, index, for_background);
    background b;
    b.style = static_cast<background_style>(r.below(background_style_names.size()));
    const float hue = r.uniform();
    const float saturation = r.uniform(0.0F, 0.55F);
    const float value = r.uniform(0.18F, 0.9F);
    b.first = from_hsv(hue, saturation, value);
    b.second = from_hsv(std::fmod(hue + r.uniform(-0.12F, 0.12F) + 1.0F, 1.0F), saturation,
                        std::clamp(value + r.uniform(-0.35F, 0.35F), 0.08F, 0.95F));
    b.angle = r.uniform(0.0F, 2.0F * std::numbers::pi_v<float>);
    b.seed = index + 1;
    return b;
}

face_parameters random_face(std::uint64_t seed, std::uint64_t index) {
    return {random_identity(seed, index), random_expression(seed, index), random_light(seed, index),
            random_pose(seed, index),     random_camera(seed, index),     random_background(seed, index)};
}

}  // namespace faces
