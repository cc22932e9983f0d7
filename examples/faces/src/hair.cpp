#include "../hair.hpp"

#include <numbers>

namespace faces {
namespace {

/// A style: where the hair begins, how far it stands off, how far it hangs.
struct style_shape {
    float front = 6.4F;     ///< height of the hairline in the middle of the forehead
    float temple = 5.0F;    ///< and at the temples
    float part = 0.0F;      ///< x of the parting; the sweep of the hairline follows it
    float sweep = 0.0F;     ///< how much the hairline falls away from the parting
    float top = 0.8F;       ///< thickness above
    float forehead = 0.3F;  ///< extra thickness above the forehead
    float sides = 0.45F;    ///< thickness at the sides
    float length = 0.0F;    ///< height where hanging hair ends; 0: it does not hang
    float opening = 0.58F;  ///< where the curtain beside the face begins, as in `bare_head`
    float wave = 0.0F;      ///< amplitude of waves and lumps
    float wave_length = 3.0F;
    float flare = 0.0F;  ///< outward swing at the ends
    float sideburn = -2.0F;
    float nape = -8.0F;
    float fringe = 0.5F;
    float curl = 0.0F;
    bool bun = false;
    enum class flow : std::uint8_t { from_crown, from_part } strands = flow::from_crown;
    bool cut_fringe = false;  ///< the front edge is where hair ends, not where it grows
};

style_shape shape_of(hair_style style) {
    using enum style_shape::flow;
    switch (style) {
        case hair_style::bald: return {};
        case hair_style::buzz:
            return {.front = 6.3F,
                    .temple = 4.9F,
                    .top = 0.22F,
                    .forehead = 0.0F,
                    .sides = 0.14F,
                    .sideburn = -1.2F,
                    .fringe = 0.5F};
        case hair_style::short_side:
            return {.front = 6.6F,
                    .temple = 4.6F,
                    .part = 2.6F,
                    .sweep = 1.3F,
                    .top = 1.3F,
                    .forehead = 0.4F,
                    .sides = 0.5F,
                    .wave = 0.12F,
                    .fringe = 0.5F,
                    .strands = from_part};
        case hair_style::short_up:
            return {.front = 6.5F,
                    .temple = 5.0F,
                    .top = 1.5F,
                    .forehead = 1.5F,
                    .sides = 0.35F,
                    .wave = 0.25F,
                    .wave_length = 2.2F,
                    .fringe = 0.6F};
        case hair_style::receding:
            return {.front = 8.6F,
                    .temple = 6.6F,
                    .top = 0.5F,
                    .forehead = -0.1F,
                    .sides = 0.5F,
                    .sideburn = -1.6F,
                    .fringe = 0.9F};
        case hair_style::curly:
            return {.front = 6.2F,
                    .temple = 4.6F,
                    .top = 2.2F,
                    .forehead = 0.5F,
                    .sides = 1.5F,
                    .wave = 0.38F,
                    .wave_length = 1.7F,
                    .sideburn = -2.6F,
                    .nape = -8.5F,
                    .fringe = 0.7F,
                    .curl = 1.0F};
        case hair_style::bob:
            return {.front = 2.7F,
                    .temple = 2.2F,
                    .top = 1.1F,
                    .forehead = 0.25F,
                    .sides = 1.1F,
                    .length = -8.8F,
                    .opening = 0.66F,
                    .flare = -0.35F,
                    .fringe = 0.6F,
                    .cut_fringe = true};
        case hair_style::long_straight:
            return {.front = 6.6F,
                    .temple = 4.4F,
                    .part = 0.3F,
                    .sweep = 0.8F,
                    .top = 0.8F,
                    .forehead = 0.2F,
                    .sides = 0.85F,
                    .length = -19.0F,
                    .opening = 0.62F,
                    .flare = 0.3F,
                    .fringe = 0.35F,
                    .strands = from_part};
        case hair_style::long_wavy:
            return {.front = 6.5F,
                    .temple = 4.0F,
                    .part = -2.2F,
                    .sweep = 1.4F,
                    .top = 1.25F,
                    .forehead = 0.4F,
                    .sides = 1.25F,
                    .length = -17.0F,
                    .opening = 0.62F,
                    .wave = 0.6F,
                    .wave_length = 4.6F,
                    .flare = 0.9F,
                    .fringe = 0.4F,
                    .strands = from_part};
        case hair_style::tied_back:
            return {.front = 6.6F,
                    .temple = 5.2F,
                    .top = 0.5F,
                    .forehead = 0.1F,
                    .sides = 0.3F,
                    .sideburn = -1.0F,
                    .nape = -7.5F,
                    .fringe = 0.6F,
                    .bun = true};
    }
    return {};
}

/// Outward direction of the head at a point of its surface.
vec3 outward(const vec3& p) {
    const float y = std::max(p.y - 1.0F, 0.0F);
    return normalized({p.x / 54.0F, y / 110.0F, (p.z + 0.8F) / 90.0F});
}

/// Signed distance into the haired region, in centimetres.
float inside_hairline(const style_shape& s, const vec3& p, float around) {
    const float a = std::abs(around);
    // Hairline height over the angle: forehead, temple, sideburn, around the ear, nape.
    const float above_ear = 1.6F;
    const std::array<std::array<float, 2>, 8> line{{{0.0F, s.front},
                                                    {0.32F, s.cut_fringe ? s.front - 0.05F : s.front + 0.35F},
                                                    {0.54F, s.temple + 0.5F},
                                                    {0.70F, 0.5F * (s.temple + s.sideburn) + 1.0F},
                                                    {0.83F, s.sideburn},
                                                    {0.96F, above_ear - 0.6F},
                                                    {1.22F, above_ear - 1.4F},
                                                    {1.5F, s.nape}}};
    float height = interpolate(line, a);
    if (s.sweep > 0.0F) {
        const float away = std::abs(p.x - s.part);
        height += s.sweep * (0.45F - 0.2F * away) * smoothstep(0.75F, 0.45F, a);
    }
    const float rise = p.y - height;
    // Where the line is steep the distance to it is mostly sideways.
    const float side_distance = a > 0.6F && a < 0.83F ? 0.62F : 1.0F;
    return rise * side_distance;
}

}  // namespace

hair_mesh build_hair(hair_style style) {
    hair_mesh hair;
    if (style == hair_style::bald) {
        return hair;
    }
    const style_shape s = shape_of(style);
    hair.fringe = s.fringe;
    hair.curl = s.curl;
    constexpr std::size_t half_columns = 38;
    constexpr std::size_t columns = 2 * half_columns;
    const bool hangs = s.length < 0.0F;
    std::vector<float> heights;
    for (float y = 11.599F; y > -9.5F; y -= y > 10.0F ? 0.22F : (y > 1.0F ? 0.45F : 0.6F)) {
        heights.push_back(y);
    }
    if (hangs) {
        heights.clear();
        for (float y = 11.599F; y > s.length; y -= y > 10.0F ? 0.22F : (y > 1.0F ? 0.45F : 0.7F)) {
            heights.push_back(y);
        }
        heights.push_back(s.length);
    }
    const float drop_from = -0.5F;
    std::vector<std::uint32_t> index(heights.size() * columns);
    std::vector<float> travelled(columns, 0.0F);
    std::vector<vec3> previous(columns);
    for (std::size_t r = 0; r < heights.size(); ++r) {
        for (std::size_t c = 0; c < columns; ++c) {
            const float around = (static_cast<float>(c) - static_cast<float>(half_columns)) / half_columns * 2.0F;
            const float a = std::abs(around);
            const float y = heights[r];
            const bool hanging = hangs && y < drop_from;
            const float row = row_at_height(std::max(y, hangs ? drop_from : y));
            vec3 base = y > 1.0F && a < 0.8F ? skin_surface(row, around) : bare_head(row, around);
            float inside = inside_hairline(s, base, around);
            if (hangs) {
                const float curtain =
                    (a - s.opening) * 9.5F - 0.7F * smoothstep(3.0F, -1.0F, y) + 0.35F * smoothstep(-8.0F, -14.0F, y);
                inside =
                    y > 3.0F ? std::max(inside, std::min(curtain, y - 2.5F)) : std::max(std::min(inside, y), curtain);
            }
            vec3 p = base;
            if (hanging) {
                // Below the ears hair hangs straight down, drawn in a little towards the neck and swinging out at its
                // ends.
                const float down = drop_from - y;
                const float total = drop_from - s.length;
                const float t = down / total;
                const float scale = 1.0F - 0.02F * down + 0.012F * down * t + 0.05F * s.flare * t * t;
                p.x *= scale;
                p.z = -1.0F + (p.z + 1.0F) * (a > 1.0F ? scale : mix(1.0F, 0.72F, smoothstep(0.0F, 9.0F, down)));
                p.y = y + (base.y - drop_from);
                inside = std::min(inside, y - s.length);
            }
            const vec3 out = outward(hanging ? vec3{p.x, 0.0F, p.z} : base);
            const float crown = smoothstep(4.0F, 9.5F, base.y);
            float thickness = mix(s.sides, s.top, crown) + s.forehead * bump(base.x, 4.5F) *
                                                               smoothstep(1.0F, 6.0F, base.z) *
                                                               smoothstep(4.0F, 7.5F, base.y);
            if (s.part != 0.0F) {
                thickness *= 1.0F - 0.25F * bump(base.x - s.part, 0.6F) * smoothstep(-2.0F, 1.0F, base.z) *
                                        smoothstep(5.0F, 7.0F, base.y);
                thickness *= 1.0F + 0.08F * std::clamp((s.part - base.x) * (s.part > 0 ? 1.0F : -1.0F), -2.0F, 2.0F);
            }
            thickness *= smoothstep(-0.3F, style == hair_style::short_up ? 1.6F : 2.2F, inside) * 0.92F + 0.08F;
            const float phase = 2.0F * std::numbers::pi_v<float> / s.wave_length;
            const float arc = around * 11.0F;
            if (s.curl > 0.0F) {
                thickness += s.wave * std::sin(phase * arc + 1.7F * std::sin(phase * 0.6F * y)) *
                             std::sin(phase * y + 1.3F * std::sin(phase * 0.5F * arc)) *
                             smoothstep(0.0F, 1.5F, inside) * smoothstep(11.5F, 9.5F, base.y);
            } else if (s.wave > 0.0F) {
                // Irregular waves: locks of about 1.7 wave lengths in width, shifted against each other.
                const float lock = 1.8F * std::sin(1.9F * arc / s.wave_length) + 1.2F * std::sin(0.83F * arc + 1.0F);
                thickness += s.wave *
                             (0.5F * std::sin(phase * y + lock) + 0.25F * std::sin(0.61F * phase * y - 0.7F * lock)) *
                             smoothstep(0.0F, 2.5F, inside) * smoothstep(11.0F, 7.0F, y);
            }
            if (hangs) {  // room for the ears
                thickness += 0.95F * bump(a - 1.13F, 0.2F) * bump(y + 0.8F, 3.6F);
            }
            p += std::max(thickness, 0.04F) * out;
            if (r > 0) {
                travelled[c] += length(p - previous[c]);
            }
            rest_vertex vertex;
            vertex.kind = part::hair;
            vertex.position = p;
            vertex.eyes_closed = p;
            vertex.material = base;
            strand_coordinates strand;
            strand.across = around * 11.0F;
            strand.along = travelled[c];
            strand.inside = inside;
            strand.direction = r > 0 ? normalized(p - previous[c]) : vec3{0, 0, 1};
            strand.roots = s.cut_fringe || y < -3.0F ? 0.0F : 1.0F;
            if (s.strands == style_shape::flow::from_part) {
                // Strands lie across the head, away from the parting; at the sides they turn into hanging ones. Both
                // are numbered by how far back they lie, so that they continue each other.
                const float side_of_part = base.x < s.part ? -1.0F : 1.0F;
                const auto layer = [&](float z) { return 11.0F - 1.1F * (z + 1.0F); };
                const float top = hanging ? 0.0F : smoothstep(1.5F, 5.0F, y) * smoothstep(-9.0F, -4.0F, base.z);
                const float hanging_layer =
                    (around < 0.0F ? -1.0F : 1.0F) * layer(bare_head(row_at_height(3.0F), around).z);
                const vec3 lateral = normalized(cross(vec3{0.25F * side_of_part, 0, 1}, out));
                strand.across =
                    mix(hanging_layer,
                        side_of_part * (layer(base.z) + 0.25F * std::abs(base.x - s.part) * smoothstep(4.0F, 8.0F, y)),
                        top);
                strand.direction = normalized(mix(strand.direction, -side_of_part * lateral, top));
                strand.along = mix(strand.along, std::abs(base.x - s.part) + std::max(0.0F, 11.0F - base.y), top);
            }
            index[r * columns + c] = static_cast<std::uint32_t>(hair.mesh.vertices.size());
            hair.mesh.vertices.push_back(vertex);
            hair.strands.push_back(strand);
            previous[c] = p;
        }
    }
    const auto covered = [&](std::uint32_t i) { return hair.strands[i].inside > -0.6F; };
    for (std::size_t r = 0; r + 1 < heights.size(); ++r) {
        for (std::size_t c = 0; c < columns; ++c) {
            const std::uint32_t a = index[r * columns + c];
            const std::uint32_t b = index[(r + 1) * columns + c];
            const std::uint32_t d = index[(r + 1) * columns + (c + 1) % columns];
            const std::uint32_t e = index[r * columns + (c + 1) % columns];
            if (covered(a) || covered(b) || covered(d) || covered(e)) {
                hair.mesh.triangles.push_back({a, b, d});
                hair.mesh.triangles.push_back({a, d, e});
            }
        }
    }
    if (s.bun) {
        constexpr std::uint32_t n = 14;
        const auto first = static_cast<std::uint32_t>(hair.mesh.vertices.size());
        for (std::uint32_t i = 0; i <= n; ++i) {
            for (std::uint32_t j = 0; j < 2 * n; ++j) {
                const float b = std::numbers::pi_v<float> * (0.5F - static_cast<float>(i) / n);
                const float a = std::numbers::pi_v<float> * static_cast<float>(j) / n;
                const vec3 d{std::cos(b) * std::sin(a), std::sin(b), std::cos(b) * std::cos(a)};
                rest_vertex vertex;
                vertex.kind = part::hair;
                vertex.position = vec3{0.0F, 12.2F, -3.6F} + vec3{2.9F * d.x, 2.3F * d.y, 2.7F * d.z};
                vertex.eyes_closed = vertex.position;
                vertex.material = {0.0F, 10.5F, -4.0F};
                strand_coordinates strand;
                strand.across = 3.0F * b + 1.2F * std::sin(a);
                strand.along = 3.0F * a;
                strand.inside = 3.0F;
                strand.direction = {std::cos(a), 0.25F, -std::sin(a)};
                hair.mesh.vertices.push_back(vertex);
                hair.strands.push_back(strand);
            }
        }
        for (std::uint32_t i = 0; i < n; ++i) {
            for (std::uint32_t j = 0; j < 2 * n; ++j) {
                const std::uint32_t k = (j + 1) % (2 * n);
                const std::uint32_t row = first + i * 2 * n;
                hair.mesh.triangles.push_back({row + j, row + 2 * n + j, row + 2 * n + k});
                hair.mesh.triangles.push_back({row + j, row + 2 * n + k, row + k});
            }
        }
    }
    return hair;
}

}  // namespace faces
