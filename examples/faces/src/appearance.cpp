#include "../appearance.hpp"

#include "../color.hpp"

#include <vector>

namespace faces {
namespace {

constexpr std::size_t noise_size = 256;

std::vector<float> make_noise() {
    std::vector<float> table(noise_size * noise_size);
    std::uint64_t state = 0x9E3779B97F4A7C15ULL;
    for (float& value : table) {  // splitmix64
        state += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = state;
        z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
        z ^= z >> 31U;
        value = static_cast<float>(z >> 40U) * 0x1.0p-24F;
    }
    return table;
}

/// Middle line of a brow over |u| and its half thickness.
float brow_line(float u, float arch) {
    const float t = (u - 1.25F) / 4.3F;
    return 1.90F + 0.40F * t + (0.25F + 0.75F * arch) * 0.75F * bump(t - 0.58F, 0.42F) -
           0.80F * smoothstep(0.6F, 1.05F, t) * (0.5F + 0.5F * arch);
}

float brow_half_thickness(float u, float thickness) {
    const float t = (u - 1.25F) / 4.3F;
    return (0.20F + 0.26F * thickness) * smoothstep(-0.08F, 0.14F, t) * (1.0F - 0.72F * smoothstep(0.3F, 1.0F, t)) *
           smoothstep(1.08F, 0.95F, t);
}

}  // namespace

float value_noise(float x, float y) {
    static const std::vector<float> table = make_noise();
    const int nx = floor_int(x), ny = floor_int(y);
    const auto wrap = [](int n) { return static_cast<std::size_t>(n) % noise_size; };
    const std::size_t ix = wrap(nx), iy = wrap(ny);
    const std::size_t jx = (ix + 1) % noise_size, jy = (iy + 1) % noise_size;
    float tx = x - static_cast<float>(nx), ty = y - static_cast<float>(ny);
    tx = tx * tx * (3.0F - 2.0F * tx);
    ty = ty * ty * (3.0F - 2.0F * ty);
    return mix(mix(table[iy * noise_size + ix], table[iy * noise_size + jx], tx),
               mix(table[jy * noise_size + ix], table[jy * noise_size + jx], tx), ty);
}

vec3 skin_color(float melanin, float undertone) {
    static const std::array<vec3, 7> tones{from_srgb(238, 200, 180), from_srgb(230, 187, 163), from_srgb(217, 168, 140),
                                           from_srgb(196, 144, 112), from_srgb(160, 110, 82),  from_srgb(120, 79, 59),
                                           from_srgb(86, 57, 44)};
    const float at = std::clamp(melanin, 0.0F, 1.0F) * 6.0F;
    const auto i = std::min<std::size_t>(static_cast<std::size_t>(at), 5);
    const vec3 tone = mix(tones[i], tones[i + 1], at - static_cast<float>(i));
    return tone * vec3{1.0F - 0.02F * undertone, 1.0F + 0.03F * undertone, 1.0F - 0.10F * undertone};
}

painter::painter(const appearance& look)
    : look_(look), skin_(skin_color(look.melanin, look.undertone)), hair_(look.hair_color) {
    const vec3 natural = skin_ * vec3{0.86F, 0.52F, 0.50F};
    const vec3 painted = mix(skin_ * vec3{0.80F, 0.30F, 0.32F}, vec3{0.42F, 0.05F, 0.07F}, 0.45F);
    lip_ = mix(mix(skin_ * vec3{0.93F, 0.72F, 0.70F}, natural, std::min(1.0F, 1.6F * look.lip_color)), painted,
               smoothstep(0.6F, 1.0F, look.lip_color));
    brow_ = mix(0.75F * hair_, skin_ * vec3{0.22F, 0.17F, 0.14F}, 0.35F);
}

skin_tint skin_tint_at(const rest_vertex& vertex) {
    const float x = std::abs(vertex.material.x), y = vertex.material.y;
    const float front = smoothstep(-1.0F, 4.0F, vertex.position.z);
    const float cheek = bump(x - 4.0F, y + 3.3F, 1.8F, 1.5F);
    const float nose = bump(x, y + 3.65F, 1.3F, 0.9F);
    const float chin = bump(x, y + 10.3F, 1.5F, 1.0F);
    skin_tint tint;
    tint.red = front * (0.85F * cheek + 0.7F * nose + 0.3F * chin) + (vertex.kind == part::ear ? 0.8F : 0.0F);
    tint.socket =
        front * (0.55F * bump(x - 1.9F, y + 0.55F, 0.8F, 0.6F) + 0.35F * bump(x - 3.1F, y + 1.05F, 1.5F, 0.5F) +
                 0.45F * bump(x - 3.2F, y - 0.75F, 1.6F, 0.5F));
    tint.folds = front * bump(x - (3.0F - 0.32F * (y + 6.0F)), 0.35F) * smoothstep(-7.6F, -6.4F, y) *
                 smoothstep(-3.8F, -4.6F, y);
    tint.lines = front * bump(x, 3.2F) * (bump(y - 4.3F, 0.22F) + bump(y - 5.35F, 0.22F));
    tint.shade = mix(1.0F, 0.93F, smoothstep(-9.0F, -13.0F, y));
    return tint;
}

vec3 painter::skin_vertex(const skin_tint& tint) const {
    const float red = 0.34F * look_.blush * tint.red;
    const float dark = std::min(1.0F, tint.socket * (0.32F + 0.35F * look_.age));
    const float lines = 1.0F - 0.30F * look_.age * tint.folds - 0.16F * look_.age * look_.age * tint.lines;
    return (lines * tint.shade) * (skin_ * vec3{1.0F - 0.08F * red, 1.0F - 0.75F * red, 1.0F - 0.70F * red} *
                                   vec3{1.0F - 0.42F * dark, 1.0F - 0.55F * dark, 1.0F - 0.48F * dark});
}

painter::surface painter::skin(const vec3& vertex_color, float u, float v) const {
    const float x = std::abs(u);
    surface s{vertex_color, region::skin, 1.0F};
    const float collar = mix(-15.6F, -18.4F, look_.neckline) + mix(0.10F, 0.42F, look_.neckline) * std::min(x, 6.0F);
    if (v < -13.0F) {
        if (v < collar) {
            const float weave = 0.92F + 0.16F * value_noise(3.0F * u, 3.0F * v);
            const float hem =
                1.0F - 0.35F * smoothstep(collar - 0.7F, collar - 0.5F, v) * smoothstep(collar, collar - 0.15F, v);
            return {weave * hem * look_.clothes_color, region::clothes, 0.0F};
        }
        s.region = region::neck;
        return s;
    }
    if (v < -12.2F) {
        s.region = region::neck;
    } else if (x < 1.8F && v > -4.75F && v < 0.6F && x < 0.75F - 0.30F * v) {
        s.region = region::nose;
    }
    // A trace of unevenness.
    s.albedo = (0.965F + 0.07F * value_noise(2.3F * u + 9.0F, 2.3F * v)) * s.albedo;
    if (look_.freckles > 0.0F && v < 0.0F && v > -5.5F && x < 5.8F) {
        const float spot =
            smoothstep(0.72F, 0.86F, value_noise(5.5F * u, 5.5F * v)) * bump(x - 2.6F, v + 2.4F, 2.6F, 1.5F);
        s.albedo = s.albedo * mix(vec3{1, 1, 1}, vec3{0.72F, 0.55F, 0.45F}, look_.freckles * spot);
    }
    // Nostrils.
    const float nostril = bump(x - 0.64F, v + 4.46F, 0.31F, 0.15F);
    if (nostril > 0.02F) {
        s.albedo = s.albedo * mix(vec3{1, 1, 1}, vec3{0.20F, 0.12F, 0.11F}, std::min(1.0F, 1.1F * nostril));
    }
    // Beard: chin, jaw, above the upper lip.
    if (look_.beard > 0.0F && v < -3.5F && v > -12.6F) {
        const float jaw_line = interpolate(
            std::array<std::array<float, 2>, 5>{
                {{0.0F, -8.6F}, {2.0F, -8.3F}, {3.6F, -6.4F}, {5.4F, -4.4F}, {6.6F, -3.0F}}},
            x);
        float cover = smoothstep(jaw_line + 0.7F, jaw_line - 0.9F, v);
        cover = std::max(cover, bump(x - 1.0F, v + 5.85F, 1.75F, 0.5F));
        cover = std::max(cover, 0.9F * bump(x - 3.05F, v + 7.2F, 0.6F, 1.5F));
        cover *= smoothstep(-13.2F, -11.4F, v);
        const float grain = value_noise(7.0F * u, 5.0F * v);
        const float density =
            std::clamp(cover * (0.35F + 1.5F * look_.beard) - 0.55F * (1.0F - look_.beard) * grain, 0.0F, 1.0F) *
            (0.35F + 0.57F * look_.beard);
        s.albedo = mix(s.albedo, (0.6F + 0.8F * grain) * mix(hair_, brow_, 0.5F), density);
        s.gloss *= 1.0F - density;
    }
    // Lips.
    if (x < anatomy::mouth_corner && v < -5.9F && v > -8.3F) {
        const float from_line = v - anatomy::mouth_y;
        const float height = from_line > 0.0F ? upper_lip_height(x) : lower_lip_height(x);
        const float t = std::abs(from_line) / std::max(height, 0.05F);
        const float m = smoothstep(1.08F, 0.86F, t) * smoothstep(0.0F, 0.2F, anatomy::mouth_corner - x);
        if (m > 0.0F) {
            const float tone = from_line > 0.0F ? 0.86F : 1.05F;
            s.albedo = mix(s.albedo, (tone * (0.94F + 0.12F * value_noise(9.0F * u, 2.0F * v))) * lip_, m);
            s.gloss = mix(s.gloss, 2.2F, m);
            if (m > 0.5F) {
                s.region = region::lips;
            }
        }
        // The shadowed line between closed lips.
        s.albedo = (1.0F - 0.55F * bump(from_line, 0.10F) * smoothstep(0.0F, 0.5F, anatomy::mouth_corner + 0.15F - x)) *
                   s.albedo;
    }
    // Brows.
    if (v > 0.8F && v < 3.6F && x > 0.9F && x < 6.0F) {
        const float d = v - brow_line(x, look_.brow_arch);
        const float half = brow_half_thickness(x, look_.brow_thickness);
        if (half > 0.0F && std::abs(d) < 2.0F * half) {
            // Strokes rise towards the temple.
            const float stroke =
                value_noise(14.0F * (x - 0.55F * d), 2.5F * (d + 0.3F * x) + (u < 0.0F ? 40.0F : 0.0F));
            const float m = smoothstep(1.25F, 0.55F, std::abs(d) / half + 0.45F * (stroke - 0.5F)) *
                            (0.70F + 0.30F * look_.brow_thickness);
            s.albedo = mix(s.albedo, (0.75F + 0.5F * stroke) * brow_, m);
            s.gloss *= 1.0F - m;
            if (m > 0.4F) {
                s.region = region::brows;
            }
        }
    }
    // Lashes along the upper lid, a fainter line along the lower one, the crease above.
    if (x > anatomy::eye_inner - 0.2F && x < anatomy::eye_outer + 0.3F && std::abs(v) < 1.0F) {
        const float ends = smoothstep(anatomy::eye_inner - 0.1F, anatomy::eye_inner + 0.5F, x) *
                           smoothstep(anatomy::eye_outer + 0.3F, anatomy::eye_outer - 0.1F, x);
        const float upper = (0.45F + 0.55F * look_.lashes) * smoothstep(0.10F + 0.10F * look_.lashes, 0.03F, v) *
                            (v >= 0.0F ? 1.0F : 0.0F);
        const float lower = (0.12F + 0.35F * look_.lashes) * smoothstep(-0.16F, -0.02F, v) * (v < 0.0F ? 1.0F : 0.0F);
        const float m = ends * std::max(upper, lower);
        s.albedo = mix(s.albedo, vec3{0.022F, 0.014F, 0.012F}, m);
        s.gloss *= 1.0F - m;
    }
    return s;
}

painter::surface painter::lid_rim(side which, float depth) const {
    // Lashes at the edge, moist skin behind them.
    const float strength = which == side::upper ? 1.0F : 0.25F + 0.4F * look_.lashes;
    return {
        mix(skin_ * vec3{0.90F, 0.62F, 0.58F}, vec3{0.03F, 0.018F, 0.015F}, strength * smoothstep(0.55F, 0.15F, depth)),
        region::skin, 0.5F};
}
painter::surface painter::lip_inside(float depth) const {
    return {mix(0.75F * lip_, vec3{0.10F, 0.02F, 0.02F}, depth), region::lips, 1.5F};
}
painter::surface painter::teeth(float u, float v) const {
    // Gaps between teeth, gums at the roots.
    const float width = 0.62F;
    const float phase = std::abs(u / width - static_cast<float>(floor_int(u / width)) - 0.5F);
    const float gap = 1.0F - 0.35F * smoothstep(0.42F, 0.5F, phase);
    const bool gum = v > -6.05F || v < -8.0F;
    const float dim = (v < -7.04F ? 0.72F : 0.92F) - 0.1F * std::abs(u);
    return {gum ? vec3{0.36F, 0.12F, 0.12F} : dim * gap * vec3{0.66F, 0.62F, 0.55F}, region::mouth, 1.5F};
}
painter::surface painter::tongue() const { return {{0.34F, 0.10F, 0.10F}, region::mouth, 1.0F}; }
painter::surface painter::cavity() const { return {{0.035F, 0.010F, 0.010F}, region::mouth, 0.0F}; }
painter::surface painter::ear(const vec3& vertex_color) const { return {vertex_color, region::ears, 0.6F}; }

painter::surface painter::eye(float x, float y) const {
    const float r = std::hypot(x, y);
    constexpr float iris_radius = 0.72F;
    constexpr float pupil_radius = 0.27F;
    const vec3 sclera = mix(vec3{0.80F, 0.77F, 0.74F}, vec3{0.75F, 0.55F, 0.50F}, smoothstep(1.05F, 1.7F, r));
    const float angle_noise = value_noise(20.0F + 9.0F * x / std::max(r, 0.05F), 20.0F + 9.0F * y / std::max(r, 0.05F));
    const float ring = smoothstep(0.5F, 0.7F, r);
    vec3 iris = (0.75F + 0.6F * angle_noise) * mix(1.35F, 0.55F, ring) * look_.iris_color;
    iris = iris + 0.25F * bump(r - 0.36F, 0.09F) * look_.iris_color;
    const vec3 inner =
        mix(vec3{0.008F, 0.007F, 0.006F}, iris, smoothstep(pupil_radius - 0.03F, pupil_radius + 0.04F, r));
    return {mix(inner, sclera, smoothstep(iris_radius - 0.06F, iris_radius + 0.05F, r)), region::eyes, 1.0F};
}

painter::surface painter::hair(float across, float along, float curl) const {
    float strand;
    if (curl > 0.0F) {
        const float swirl = 1.4F * value_noise(0.8F * across, 0.8F * along);
        strand = 0.65F * value_noise(2.6F * across + 2.0F * swirl, 2.6F * along + 3.0F * swirl) +
                 0.35F * value_noise(6.0F * across, 6.0F * along);
    } else {
        const float drift = 0.5F * value_noise(0.5F * across, 0.25F * along);
        strand = 0.45F * value_noise(2.2F * (across + drift), 0.10F * along) +
                 0.35F * value_noise(6.0F * (across + drift), 0.18F * along + 7.0F) +
                 0.20F * value_noise(15.0F * across, 0.3F * along + 31.0F);
    }
    const float contrast = std::clamp(1.6F * (strand - 0.5F) + 0.5F, 0.0F, 1.0F);
    return {(0.62F + 0.76F * contrast) * hair_, region::hair, 0.5F + contrast};
}

bool hair_covers(float across, float along, float inside, float fringe, float roots) {
    // Where hair grows out of the skin single hairs thin out; where it ends it ends in locks.
    const float hairs =
        0.6F * value_noise(23.0F * across, 1.1F * along) + 0.4F * value_noise(5.0F * across, 0.9F * along + 11.0F);
    const float locks =
        0.65F * value_noise(1.1F * across, 0.05F * along) + 0.35F * value_noise(4.0F * across, 0.1F * along + 5.0F);
    return inside > fringe * mix(1.6F * locks - 0.45F, 2.4F * (hairs - 0.5F), roots);
}

}  // namespace faces
