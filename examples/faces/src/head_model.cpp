#include "../head_model.hpp"

#include "../lighting.hpp"
#include "../rasterizer.hpp"

#include <numbers>

namespace faces {
namespace {

/// Evenly spread unit directions on the sphere.
std::vector<vec3> spread_directions(std::size_t count) {
    std::vector<vec3> directions(count);
    const float golden = std::numbers::pi_v<float> * (3.0F - std::sqrt(5.0F));
    for (std::size_t i = 0; i < count; ++i) {
        const float z = 1.0F - (2.0F * static_cast<float>(i) + 1.0F) / static_cast<float>(count);
        const float r = std::sqrt(1.0F - z * z);
        const float angle = golden * static_cast<float>(i);
        directions[i] = {r * std::cos(angle), r * std::sin(angle), z};
    }
    return directions;
}

bool inside_mouth(part kind) {
    return kind == part::upper_teeth || kind == part::lower_teeth || kind == part::tongue || kind == part::cavity ||
           kind == part::lip_inside;
}

/// Evens out a quantity on the vertices of a mesh by averaging along edges.
void smooth(std::span<const triangle> triangles, std::vector<occlusion>& values, int rounds) {
    std::vector<float> weight(values.size());
    for (int round = 0; round < rounds; ++round) {
        std::vector<occlusion> sum = values;
        std::fill(weight.begin(), weight.end(), 1.0F);
        for (const triangle& t : triangles) {
            for (std::size_t i = 0; i < 3; ++i) {
                const std::uint32_t from = t[i];
                const std::uint32_t to = t[(i + 1) % 3];
                for (std::size_t k = 0; k < 9; ++k) {
                    sum[to][k] += 0.3F * values[from][k];
                }
                weight[to] += 0.3F;
            }
        }
        for (std::size_t v = 0; v < values.size(); ++v) {
            for (std::size_t k = 0; k < 9; ++k) {
                values[v][k] = sum[v][k] / weight[v];
            }
        }
    }
}

/// A landmark: the vertex nearest to a place of the mean head.
struct landmark_place {
    float x, y;
    enum class by : std::uint8_t { position, upper_lid, lower_lid, upper_lip, lower_lip } choose = by::position;
};

}  // namespace

void vertex_normals(std::span<const vec3> positions, std::span<const triangle> triangles, std::span<vec3> normals) {
    std::fill(normals.begin(), normals.end(), vec3{});
    for (const triangle& t : triangles) {
        const vec3 n = cross(positions[t[1]] - positions[t[0]], positions[t[2]] - positions[t[0]]);
        normals[t[0]] += n;
        normals[t[1]] += n;
        normals[t[2]] += n;
    }
    for (vec3& n : normals) {
        n = normalized(n);
    }
}

linear_mesh::linear_mesh(rest_mesh rest) : rest_(std::move(rest)) {
    for (std::size_t k = 0; k < shape_mode_count; ++k) {
        shape_[k] = make_field([&](const rest_vertex& v) { return shape_displacement(static_cast<shape_mode>(k), v); });
    }
    for (std::size_t a = 0; a < action_count; ++a) {
        actions_[a] = make_field([&](const rest_vertex& v) { return action_displacement(static_cast<action>(a), v); });
    }
}

template <class Displacement>
linear_mesh::field linear_mesh::make_field(const Displacement& displacement) const {
    // Displacements below a micrometre are dropped, so that fields stay local.
    constexpr float negligible = 1e-4F;
    std::vector<vec3> values;
    values.reserve(rest_.vertices.size());
    for (const rest_vertex& v : rest_.vertices) {
        const vec3 d = displacement(v);
        values.push_back(dot(d, d) > negligible * negligible ? d : vec3{});
    }
    const auto moves = [](const vec3& d) { return dot(d, d) > 0.0F; };
    const auto begin = std::find_if(values.begin(), values.end(), moves);
    const auto end = std::find_if(values.rbegin(), values.rend(), moves).base();
    if (begin == values.end()) {
        return {};
    }
    return {static_cast<std::size_t>(begin - values.begin()), std::vector<vec3>(begin, end)};
}

void linear_mesh::evaluate(std::span<const float, shape_mode_count> shape, std::span<const float, action_count> weights,
                           std::span<vec3> out) const {
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = rest_.vertices[i].position;
    }
    const auto add = [&](const field& f, float weight) {
        if (weight == 0.0F) {
            return;
        }
        vec3* target = out.data() + f.first;
        for (std::size_t i = 0; i < f.values.size(); ++i) {
            target[i] += weight * f.values[i];
        }
    };
    for (std::size_t k = 0; k < shape_mode_count; ++k) {
        add(shape_[k], shape[k]);
    }
    for (std::size_t a = 0; a < action_count; ++a) {
        add(actions_[a], weights[a]);
    }
}

const head_model& head_model::get() {
    static const head_model model;
    return model;
}

head_model::head_model() : head_(build_head()) {
    const std::vector<rest_vertex>& rest = head_.rest();
    for (std::size_t a = 0; a < action_count; ++a) {
        std::vector<float> weights(rest.size());
        bool any = false;
        for (std::size_t v = 0; v < rest.size(); ++v) {
            weights[v] = action_crease(static_cast<action>(a), rest[v]);
            any = any || weights[v] > 0.0F;
        }
        if (any) {
            creases_[a] = std::move(weights);
        }
    }

    tint_.reserve(rest.size());
    for (const rest_vertex& v : rest) {
        tint_.push_back(skin_tint_at(v));
    }

    triangle_parts_.reserve(head_.triangles().size());
    for (const triangle& t : head_.triangles()) {
        triangle_parts_.push_back(rest[t[0]].kind);
        const vec3& p = rest[t[0]].position;
        around_mouth_.push_back(p.y < 0.0F && p.y > -13.0F ? 1 : 0);
    }

    using by = landmark_place::by;
    // Half of the face (x >= 0); the other half mirrors it.
    const std::array<landmark_place, 8> jaw{{{7.0F, -0.6F},
                                             {6.9F, -2.6F},
                                             {6.6F, -4.6F},
                                             {6.1F, -6.6F},
                                             {5.3F, -8.4F},
                                             {4.2F, -9.8F},
                                             {2.9F, -10.9F},
                                             {1.4F, -11.5F}}};
    const std::array<landmark_place, 5> brow{
        {{5.4F, 1.75F}, {4.6F, 2.25F}, {3.6F, 2.4F}, {2.5F, 2.25F}, {1.5F, 1.95F}}};
    std::array<landmark_place, landmark_count> places{};
    for (std::size_t i = 0; i < 8; ++i) {
        places[i] = {-jaw[i].x, jaw[i].y};
        places[16 - i] = jaw[i];
    }
    places[8] = {0.0F, -11.7F};
    for (std::size_t i = 0; i < 5; ++i) {
        places[17 + i] = {-brow[i].x, brow[i].y};
        places[26 - i] = brow[i];
    }
    places[27] = {0.0F, 0.2F};
    places[28] = {0.0F, -1.2F};
    places[29] = {0.0F, -2.6F};
    places[30] = {0.0F, -3.65F};
    places[33] = {0.0F, -4.67F};
    for (const float sign : {-1.0F, 1.0F}) {
        const std::size_t outer = sign < 0 ? 31 : 35;
        const std::size_t inner = sign < 0 ? 32 : 34;
        places[outer] = {sign * 1.6F, -4.2F};
        places[inner] = {sign * 0.75F, -4.55F};
    }
    const auto eye = [&](std::size_t first, float sign, float start, float end) {
        const float width = end - start;
        places[first] = {sign * start, 0.0F, by::upper_lid};
        places[first + 1] = {sign * (start + width / 3), 0.0F, by::upper_lid};
        places[first + 2] = {sign * (start + 2 * width / 3), 0.0F, by::upper_lid};
        places[first + 3] = {sign * end, 0.0F, by::upper_lid};
        places[first + 4] = {sign * (start + 2 * width / 3), 0.0F, by::lower_lid};
        places[first + 5] = {sign * (start + width / 3), 0.0F, by::lower_lid};
    };
    eye(36, -1.0F, anatomy::eye_outer + 0.1F, anatomy::eye_inner - 0.1F);
    eye(42, 1.0F, anatomy::eye_inner - 0.1F, anatomy::eye_outer + 0.1F);
    const float corner = anatomy::mouth_corner;
    const std::array<float, 5> lip_x{-1.65F, -0.6F, 0.0F, 0.6F, 1.65F};
    places[48] = {-corner - 0.1F, anatomy::mouth_y};
    places[54] = {corner + 0.1F, anatomy::mouth_y};
    for (std::size_t i = 0; i < 5; ++i) {
        places[49 + i] = {lip_x[i], anatomy::mouth_y + upper_lip_height(lip_x[i]), by::upper_lip};
        places[59 - i] = {lip_x[i], anatomy::mouth_y - lower_lip_height(lip_x[i]), by::lower_lip};
    }
    places[60] = {-corner + 0.25F, anatomy::mouth_y, by::upper_lip};
    places[64] = {corner - 0.25F, anatomy::mouth_y, by::upper_lip};
    for (std::size_t i = 0; i < 3; ++i) {
        const float x = -1.0F + static_cast<float>(i);
        places[61 + i] = {x, anatomy::mouth_y, by::upper_lip};
        places[67 - i] = {x, anatomy::mouth_y, by::lower_lip};
    }
    for (std::size_t l = 0; l < landmark_count; ++l) {
        const landmark_place& place = places[l];
        float best = std::numeric_limits<float>::infinity();
        for (std::size_t v = 0; v < rest.size(); ++v) {
            const rest_vertex& vertex = rest[v];
            if (vertex.kind != part::skin || vertex.position.z < -1.0F ||
                (place.choose == by::upper_lid && vertex.eye_side != side::upper) ||
                (place.choose == by::lower_lid && vertex.eye_side != side::lower) ||
                (place.choose == by::upper_lip && vertex.mouth_side != side::upper) ||
                (place.choose == by::lower_lip && vertex.mouth_side != side::lower)) {
                continue;
            }
            const float distance = std::hypot(vertex.material.x - place.x, vertex.material.y - place.y);
            if (distance < best) {
                best = distance;
                landmarks_[l] = static_cast<std::uint32_t>(v);
            }
        }
    }
}

const head_model::style& head_model::hair(hair_style which) const {
    const auto i = static_cast<std::size_t>(which);
    std::call_once(built_[i], [&] { build_style(which, styles_[i]); });
    return styles_[i];
}

void head_model::build_style(hair_style which, style& result) const {
    result.hair = build_hair(which);
    if (!result.hair.mesh.triangles.empty()) {
        result.shell = std::make_unique<linear_mesh>(result.hair.mesh);
    }
    const std::size_t head_size = head_.rest().size();
    const std::size_t hair_size = result.hair.mesh.vertices.size();
    std::vector<vec3> positions;
    for (const rest_vertex& v : head_.rest()) {
        positions.push_back(v.position);
    }
    for (const rest_vertex& v : result.hair.mesh.vertices) {
        positions.push_back(v.position);
    }
    std::vector<triangle> triangles = head_.triangles();
    for (const triangle& t : result.hair.mesh.triangles) {
        const auto offset = static_cast<std::uint32_t>(head_size);
        triangles.push_back({t[0] + offset, t[1] + offset, t[2] + offset});
    }
    std::vector<vec3> normals(positions.size());
    vertex_normals(positions, triangles, normals);

    // Look at the head from many directions; what a vertex cannot be seen from does not light it.
    constexpr std::size_t count = 64;
    constexpr std::size_t size = 128;
    constexpr float extent = 46.0F;
    std::vector<occlusion> loss(positions.size(), occlusion{});
    z_buffer buffer;
    std::vector<screen_vertex> screen(positions.size());
    for (const vec3& direction : spread_directions(count)) {
        const vec3 right = normalized(cross(std::abs(direction.y) > 0.9F ? vec3{1, 0, 0} : vec3{0, 1, 0}, direction));
        const vec3 up = cross(direction, right);
        constexpr float scale = static_cast<float>(size) / extent;
        for (std::size_t v = 0; v < positions.size(); ++v) {
            const vec3 p = positions[v] - vec3{0.0F, -4.0F, 0.0F};
            screen[v] = {size / 2.0F + scale * dot(p, right), size / 2.0F - scale * dot(p, up), dot(p, direction)};
        }
        buffer.clear(size, size);
        for (std::size_t t = 0; t < triangles.size(); ++t) {
            const triangle& corners = triangles[t];
            const bool hair_triangle = corners[0] >= head_size;
            if (hair_triangle && result.hair.strands[corners[0] - head_size].inside < 0.0F) {
                continue;
            }
            buffer.draw(screen[corners[0]], screen[corners[1]], screen[corners[2]], static_cast<std::uint32_t>(t),
                        [](float, float) { return true; });
        }
        const std::array<float, 9> harmonics = spherical_harmonics(direction);
        for (std::size_t v = 0; v < positions.size(); ++v) {
            const float cosine = dot(normals[v], direction);
            if (cosine <= 0.0F) {
                continue;
            }
            const float bias = 0.22F + 0.25F * (1.0F - cosine);
            const float px = screen[v].x - 0.5F, py = screen[v].y - 0.5F;
            const float fx = std::floor(px), fy = std::floor(py);
            float hidden = 0.0F;
            for (int k = 0; k < 4; ++k) {
                const int x = static_cast<int>(fx) + k % 2, y = static_cast<int>(fy) + k / 2;
                if (x < 0 || y < 0 || x >= static_cast<int>(size) || y >= static_cast<int>(size)) {
                    continue;
                }
                const float wx = k % 2 == 0 ? 1.0F - (px - fx) : px - fx;
                const float wy = k / 2 == 0 ? 1.0F - (py - fy) : py - fy;
                const float nearest = buffer.depth_at(static_cast<std::size_t>(y) * size + static_cast<std::size_t>(x));
                hidden += wx * wy * smoothstep(bias, bias + 0.35F, nearest - screen[v].z);
            }
            const float weight = -hidden * cosine * 4.0F / static_cast<float>(count);
            for (std::size_t k = 0; k < 9; ++k) {
                loss[v][k] += weight * harmonics[k];
            }
        }
    }
    for (std::size_t v = 0; v < head_size; ++v) {
        if (inside_mouth(head_.rest()[v].kind)) {
            loss[v] = {};
        }
    }
    smooth(triangles, loss, 3);
    for (std::size_t v = 0; v < head_size; ++v) {
        if (inside_mouth(head_.rest()[v].kind)) {
            loss[v] = {};
        }
    }
    result.head_loss.assign(loss.begin(), loss.begin() + static_cast<std::ptrdiff_t>(head_size));
    result.hair_loss.assign(loss.begin() + static_cast<std::ptrdiff_t>(head_size),
                            loss.begin() + static_cast<std::ptrdiff_t>(head_size + hair_size));
}

}  // namespace faces
