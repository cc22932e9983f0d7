#include "../render.hpp"

#include "../appearance.hpp"
#include "../rasterizer.hpp"

#include <moden/core/error.hpp>
#include <moden/core/random.hpp>

#include <cmath>

namespace faces {
namespace {

/// What shading needs at a vertex, together so that one triangle touches few cache lines.
struct alignas(64) shaded_vertex {
    vec3 normal;  ///< camera frame
    float x, y;   ///< on the sample grid
    vec3 color;   ///< skin only
    float u, v;   ///< paint coordinates: material x, y; direction for eyeballs
    float loss;   ///< shading taken away by the rest of the head
    float dim;    ///< creases drawn by actions, 1 where there are none
};

/// Colour behind the head at picture coordinates in [0, 1]: the blend of the two colours is tabulated on a coarse grid,
/// since it is smooth.
class backdrop {
public:
    explicit backdrop(const background& b) : b_(b) {
        const vec3 direction{std::cos(b.angle), std::sin(b.angle), 0.0F};
        for (std::size_t i = 0; i < nodes && b.style != background_style::plain; ++i) {
            for (std::size_t j = 0; j < nodes; ++j) {
                const float x = static_cast<float>(j) / (nodes - 1), y = static_cast<float>(i) / (nodes - 1);
                blend_[i][j] = b.style == background_style::gradient
                                   ? smoothstep(-0.1F, 1.1F, 0.5F + direction.x * (x - 0.5F) - direction.y * (y - 0.5F))
                                   : blobs(x, y);
            }
        }
    }
    vec3 at(float x, float y) const {
        const float px = x * (nodes - 1), py = y * (nodes - 1);
        const auto j = std::min(static_cast<std::size_t>(px), nodes - 2),
                   i = std::min(static_cast<std::size_t>(py), nodes - 2);
        const float tx = px - static_cast<float>(j), ty = py - static_cast<float>(i);
        return mix(b_.first, b_.second,
                   mix(mix(blend_[i][j], blend_[i][j + 1], tx), mix(blend_[i + 1][j], blend_[i + 1][j + 1], tx), ty));
    }

private:
    /// A dozen soft spots at random places.
    float blobs(float x, float y) const {
        float t = 0.5F;
        for (std::uint64_t i = 0; i < 12; ++i) {
            const auto r = [&](std::uint64_t k) { return moden::uniform_from<float>(moden::philox(b_.seed, 0, i), k); };
            const float size = 0.08F + 0.25F * r(2);
            t += 0.8F * (r(3) - 0.35F) * bump(x - 1.4F * r(0) + 0.2F, y - 1.4F * r(1) + 0.2F, size, size);
        }
        return std::clamp(t, 0.0F, 1.0F);
    }

    static constexpr std::size_t nodes = 25;
    background b_;
    std::array<std::array<float, nodes>, nodes> blend_{};
};

/// sRGB encoding through a table: pictures need it a few hundred thousand times.
class encoder {
public:
    encoder() {
        for (std::size_t i = 0; i < table_.size(); ++i) {
            table_[i] = encode(static_cast<float>(i) / scale);
        }
    }
    float operator()(float linear) const {
        const float x = std::clamp(linear, 0.0F, 2.0F) * scale;
        const auto i = std::min(static_cast<std::size_t>(x), table_.size() - 2);
        return mix(table_[i], table_[i + 1], x - static_cast<float>(i));
    }

private:
    static constexpr float scale = 4096.0F;
    std::array<float, 8194> table_{};
};

bool is_finite(const face_parameters& p) {
    bool finite = true;
    const auto check = [&](float value) { finite = finite && std::isfinite(value); };
    for (const float value : identity_values(p.person)) {
        check(value);
    }
    for (const float value : p.expression.weights()) {
        check(value);
    }
    for (const float value : p.light.coefficients) {
        check(value);
    }
    for (const vec3& c :
         {p.light.color, p.background.first, p.background.second, vec3{p.pose.yaw, p.pose.pitch, p.pose.roll},
          vec3{p.camera.view, p.camera.center_x, p.camera.center_y},
          vec3{p.expression.gaze_right, p.expression.gaze_up, p.background.angle}}) {
        check(c.x);
        check(c.y);
        check(c.z);
    }
    return finite;
}

}  // namespace

struct renderer::workspace {
    std::vector<vec3> positions, normals;
    std::vector<shaded_vertex> vertices;
    std::vector<screen_vertex> screen;
    std::vector<float> creases;
    std::vector<std::uint8_t> needed;   ///< one per vertex: corner of a triangle that faces the camera
    std::vector<std::uint32_t> facing;  ///< triangles of the head to draw
    z_buffer buffer;
    std::vector<vec3> radiance;  ///< one per sample
    std::vector<std::uint8_t> sample_region;
    std::vector<vec3> sample_normal, sample_albedo;
    std::vector<float> sample_shading;
    std::vector<vec3> filtered;
};

/// One picture in the making: the steps from parameters to pixels and ground truth, in the order in which they are
/// called.
class renderer::drawing {
public:
    drawing(workspace& buffers, const face_parameters& face, const render_options& chosen);

    rendering run() {
        deform();
        find_facing();
        prepare_vertices();
        resolve_visibility();
        shade_samples();
        filter();
        if (maps) {
            gather_maps();
        }
        if (options.truth != truth::none) {
            gather_landmarks();
        }
        return std::move(result);
    }

private:
    /// What a sample sees, and what becomes of it.
    struct surface_point {
        vec3 normal;  ///< camera frame, towards the camera
        vec3 color;   ///< interpolated `shaded_vertex::color`
        float u = 0.0F, v = 0.0F;
        float orientation = 0.0F;  ///< negative where the outside of the triangle faces the camera
        std::uint32_t triangle = 0, corner = 0;
        bool inside_of_hair = false;
        painter::surface surface{};
        float shade = 0.0F, sparkle = 0.0F;
    };

    void deform();
    void find_facing();
    void prepare_vertices();
    void resolve_visibility();
    void shade_samples();
    void shade_hair(surface_point& at) const;
    void shade_head(surface_point& at) const;
    void filter();
    void gather_maps();
    void gather_landmarks();

    workspace& w;
    const face_parameters& parameters;
    const render_options& options;
    const head_model& model;
    const head_model::style& style;
    const std::array<float, action_count> actions;
    const std::size_t head_size, total;
    const std::span<const triangle> head_triangles;
    const std::uint32_t first_hair;  ///< triangles of the hair are numbered after those of the head
    const mat3 rotation;
    const painter paint;
    const std::size_t n, width;  ///< pixels and samples along an edge
    const float samples, scale, offset_x, offset_y;
    const bool shadows, maps;
    std::span<vec3> positions;
    std::array<float, 2> lid_height{};  ///< of the upper lids above the eye corners
    float lamp_strength = 0.0F;
    vec3 half_vector, gaze;
    rendering result;
};

renderer::drawing::drawing(workspace& buffers, const face_parameters& face, const render_options& chosen)
    : w(buffers),
      parameters(face),
      options(chosen),
      model(head_model::get()),
      style(model.hair(face.person.look.hair)),
      actions(face.expression.weights()),
      head_size(model.head().rest().size()),
      total(head_size + (style.shell ? style.shell->rest().size() : 0)),
      head_triangles(model.head().triangles()),
      first_hair(static_cast<std::uint32_t>(head_triangles.size())),
      rotation(face.pose.rotation()),
      paint(face.person.look),
      n(chosen.size),
      width(chosen.size * chosen.samples),
      samples(static_cast<float>(chosen.samples)),
      scale(static_cast<float>(chosen.size) / face.camera.view),
      offset_x(0.5F * static_cast<float>(chosen.size) - scale * face.camera.center_x),
      offset_y(0.5F * static_cast<float>(chosen.size) + scale * face.camera.center_y),
      shadows(chosen.self_shadow == self_shadow::on),
      maps(chosen.truth == truth::all) {
    const std::array<float, 9>& lc = face.light.coefficients;
    const vec3 lamp_vector{lc[3], lc[1], lc[2]};
    lamp_strength = std::min(1.5F, length(lamp_vector) / 1.5F);
    half_vector = normalized(normalized(lamp_vector + vec3{0.0F, 1e-4F, 1e-3F}) + vec3{0, 0, 1});
    gaze = normalized({std::sin(face.expression.gaze_right), std::sin(face.expression.gaze_up), 1.0F});
}

/// Moves the vertices, deepens the creases, projects.
void renderer::drawing::deform() {
    w.positions.resize(total);
    w.normals.resize(total);
    w.vertices.resize(total);
    w.screen.resize(total);
    positions = w.positions;
    model.head().evaluate(parameters.person.shape, actions, positions.first(head_size));
    vertex_normals(positions.first(head_size), model.head().triangles(), std::span(w.normals).first(head_size));
    if (style.shell) {
        style.shell->evaluate(parameters.person.shape, actions, positions.subspan(head_size));
        vertex_normals(positions.subspan(head_size), style.shell->triangles(), std::span(w.normals).subspan(head_size));
    }
    w.creases.assign(head_size, 1.0F);
    for (std::size_t a = 0; a < action_count; ++a) {
        const std::vector<float>& crease = model.crease(static_cast<action>(a));
        if (crease.empty() || actions[a] <= 0.0F) {
            continue;
        }
        const float depth = actions[a] * (0.75F + 0.5F * parameters.person.look.age);
        for (std::size_t v = 0; v < head_size; ++v) {
            w.creases[v] *= 1.0F - std::min(0.75F, depth * crease[v]);
        }
    }
    for (std::size_t v = 0; v < total; ++v) {
        const vec3 p = rotation * positions[v];
        w.screen[v] = {samples * (offset_x + scale * p.x), samples * (offset_y - scale * p.y), p.z};
    }
    for (std::size_t e = 0; e < 2; ++e) {
        const std::size_t first = e == 0 ? 36 : 42;  // landmarks: corner, upper lid, upper lid, corner
        const auto height = [&](std::size_t k) { return positions[model.landmarks()[first + k]].y; };
        lid_height[e] = 0.5F * (height(1) + height(2) - height(0) - height(3));
    }
}

/// Lists the triangles to draw and marks the vertices they need.
void renderer::drawing::find_facing() {
    const bool open_mouth = actions[static_cast<std::size_t>(action::jaw_open)] > 0.0F ||
                            actions[static_cast<std::size_t>(action::upper_lip_raise)] > 0.0F ||
                            actions[static_cast<std::size_t>(action::lower_lip_down)] > 0.0F;
    w.needed.assign(head_size, 0);
    w.facing.clear();
    for (std::size_t t = 0; t < head_triangles.size(); ++t) {
        const triangle& c = head_triangles[t];
        const screen_vertex &p = w.screen[c[0]], &q = w.screen[c[1]], &r = w.screen[c[2]];
        // Skin, eyes and ears are closed surfaces: their back sides are never seen, except through the open mouth.
        const part kind = model.triangle_parts()[t];
        const bool closed = (kind == part::skin && !(open_mouth && model.around_mouth()[t] != 0)) ||
                            kind == part::eyeball || kind == part::ear;
        if (closed && (q.x - p.x) * (r.y - p.y) - (r.x - p.x) * (q.y - p.y) >= 0.0F) {
            continue;
        }
        w.facing.push_back(static_cast<std::uint32_t>(t));
        w.needed[c[0]] = w.needed[c[1]] = w.needed[c[2]] = 1;
    }
}

/// Colour, light and paint coordinates of the vertices that are needed.
void renderer::drawing::prepare_vertices() {
    const std::array<float, 9> head_light = rotated(parameters.light.coefficients, transposed(rotation));
    for (std::size_t v = 0; v < total; ++v) {
        const bool is_hair = v >= head_size;
        if (!is_hair && w.needed[v] == 0) {
            continue;
        }
        shaded_vertex& s = w.vertices[v];
        s.normal = rotation * w.normals[v];
        s.x = w.screen[v].x;
        s.y = w.screen[v].y;
        s.loss = 0.0F;
        if (shadows) {
            const occlusion& loss = is_hair ? style.hair_loss[v - head_size] : style.head_loss[v];
            for (std::size_t k = 0; k < 9; ++k) {
                s.loss += head_light[k] * loss[k];
            }
        }
        if (is_hair) {
            const strand_coordinates& strand = style.hair.strands[v - head_size];
            s.u = strand.across;
            s.v = strand.along;
            s.color = rotation * strand.direction;
            s.dim = 1.0F;
            continue;
        }
        const rest_vertex& rest = model.head().rest()[v];
        s.dim = shadows ? w.creases[v] : 1.0F;
        // Paint lies on the face; the back of the head gets coordinates far from it.
        s.u = rest.material.x + (rest.material.z < -0.5F ? (rest.material.x < 0.0F ? -30.0F : 30.0F) : 0.0F);
        s.v = rest.material.y;
        if (rest.kind == part::skin || rest.kind == part::ear) {
            s.color = paint.skin_vertex(model.tint()[v]);
        } else if (rest.kind == part::eyeball) {
            const vec3 d = rest.position - eye_center(rest.position.x < 0.0F ? -1.0F : 1.0F);
            s.color = d;
            s.u = d.x;
            s.v = d.y;
        } else if (rest.kind == part::lid_rim) {
            const vec3 center = eye_center(rest.position.x < 0.0F ? -1.0F : 1.0F);
            s.color = {length(rest.position - center) > anatomy::eyeball_radius ? 0.0F : 1.0F, 0.0F, 0.0F};
        } else if (rest.kind == part::lip_inside) {
            s.color = {(9.4F - rest.position.z) / 1.0F, 0.0F, 0.0F};  // how deep inside the mouth
        }
    }
}

void renderer::drawing::resolve_visibility() {
    w.buffer.clear(width, width);
    for (const std::uint32_t t : w.facing) {
        const triangle& c = head_triangles[t];
        w.buffer.draw(w.screen[c[0]], w.screen[c[1]], w.screen[c[2]], t, [](float, float) { return true; });
    }
    if (style.shell) {
        const std::span<const triangle> hair_triangles(style.shell->triangles());
        for (std::size_t t = 0; t < hair_triangles.size(); ++t) {
            const triangle& c = hair_triangles[t];
            const strand_coordinates &a = style.hair.strands[c[0]], &b = style.hair.strands[c[1]],
                                     &d = style.hair.strands[c[2]];
            const auto offset = static_cast<std::uint32_t>(head_size);
            const float least = std::min({a.inside, b.inside, d.inside});
            const auto id = first_hair + static_cast<std::uint32_t>(t);
            const screen_vertex &p = w.screen[c[0] + offset], &q = w.screen[c[1] + offset],
                                &r = w.screen[c[2] + offset];
            if (least > 1.2F * style.hair.fringe) {
                w.buffer.draw(p, q, r, id, [](float, float) { return true; });
            } else {
                w.buffer.draw(p, q, r, id, [&](float w1, float w2) {
                    const float w0 = 1.0F - w1 - w2;
                    return hair_covers(w0 * a.across + w1 * b.across + w2 * d.across,
                                       w0 * a.along + w1 * b.along + w2 * d.along,
                                       w0 * a.inside + w1 * b.inside + w2 * d.inside, style.hair.fringe, a.roots);
                });
            }
        }
    }
}

void renderer::drawing::shade_samples() {
    const std::size_t count = width * width;
    w.radiance.resize(count);
    if (maps) {
        w.sample_region.assign(count, static_cast<std::uint8_t>(region::background));
        w.sample_normal.assign(count, vec3{});
        w.sample_albedo.assign(count, vec3{});
        w.sample_shading.assign(count, 0.0F);
    }
    const backdrop behind(parameters.background);
    const irradiance shading_of(parameters.light.coefficients);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t id = w.buffer.triangle_at(i);
        const std::size_t row = i / width;
        const float sx = static_cast<float>(i - row * width) + 0.5F, sy = static_cast<float>(row) + 0.5F;
        if (id == z_buffer::none) {
            w.radiance[i] = behind.at(sx / static_cast<float>(width), sy / static_cast<float>(width));
            continue;
        }
        const bool is_hair = id >= first_hair;
        triangle c = is_hair ? style.shell->triangles()[id - first_hair] : head_triangles[id];
        if (is_hair) {
            for (std::uint32_t& corner : c) {
                corner += static_cast<std::uint32_t>(head_size);
            }
        }
        const shaded_vertex &a = w.vertices[c[0]], &b = w.vertices[c[1]], &d = w.vertices[c[2]];
        const float inverse = 1.0F / ((b.x - a.x) * (d.y - a.y) - (d.x - a.x) * (b.y - a.y));
        const float w1 = ((sx - a.x) * (d.y - a.y) - (d.x - a.x) * (sy - a.y)) * inverse;
        const float w2 = ((b.x - a.x) * (sy - a.y) - (sx - a.x) * (b.y - a.y)) * inverse;
        const float w0 = 1.0F - w1 - w2;
        surface_point at;
        at.normal = normalized(w0 * a.normal + w1 * b.normal + w2 * d.normal);
        at.inside_of_hair = is_hair && at.normal.z < -0.1F;
        if (at.normal.z < 0.0F) {
            // Two-sided sheets face the camera; at silhouettes an interpolated normal may point slightly away.
            at.normal = at.normal.z < -0.3F ? -1.0F * at.normal : normalized({at.normal.x, at.normal.y, 0.01F});
        }
        at.color = w0 * a.color + w1 * b.color + w2 * d.color;
        at.u = w0 * a.u + w1 * b.u + w2 * d.u;
        at.v = w0 * a.v + w1 * b.v + w2 * d.v;
        const float loss = w0 * a.loss + w1 * b.loss + w2 * d.loss;
        const float dim = w0 * a.dim + w1 * b.dim + w2 * d.dim;
        at.shade = std::max(shading_of.shading(at.normal) + loss, 0.015F) * dim;
        at.orientation = inverse;
        at.triangle = id;
        at.corner = c[0];
        if (is_hair) {
            shade_hair(at);
        } else {
            shade_head(at);
        }
        vec3 radiance = at.shade * (at.surface.albedo * parameters.light.color);
        if (options.gloss == gloss::on) {
            radiance += at.sparkle * parameters.light.color;
        }
        w.radiance[i] = radiance;
        if (maps) {
            w.sample_region[i] = static_cast<std::uint8_t>(at.surface.region);
            w.sample_normal[i] = at.normal;
            w.sample_albedo[i] = at.surface.albedo;
            w.sample_shading[i] = at.shade;
        }
    }
}

void renderer::drawing::shade_hair(surface_point& at) const {
    at.surface = paint.hair(at.u, at.v, style.hair.curl);
    at.shade *= shadows && at.inside_of_hair ? 0.4F : 1.0F;
    // A sheen across the strands (Kajiya & Kay 1989).
    const vec3 tangent = normalized(at.color);
    const float along = dot(tangent, half_vector);
    const float across = std::sqrt(std::max(0.0F, 1.0F - along * along));
    const float sheen = across * across;
    const float sheen4 = sheen * sheen * sheen * sheen;
    at.sparkle = 0.05F * at.surface.gloss * sheen4 * sheen4 * sheen4 * std::max(0.0F, at.shade) * lamp_strength;
}

void renderer::drawing::shade_head(surface_point& at) const {
    part kind = model.triangle_parts()[at.triangle];
    if (kind == part::skin && at.orientation > 0.0F) {
        kind = part::cavity;  // the inside of the cheeks
    }
    switch (kind) {
        case part::skin: at.surface = paint.skin(at.color, at.u, at.v); break;
        case part::ear: at.surface = paint.ear(at.color); break;
        case part::lid_rim: at.surface = paint.lid_rim(model.head().rest()[at.corner].eye_side, at.color.x); break;
        case part::lip_inside: at.surface = paint.lip_inside(std::clamp(at.color.x, 0.0F, 1.0F)); break;
        case part::upper_teeth:
        case part::lower_teeth: at.surface = paint.teeth(at.u, at.v); break;
        case part::tongue: at.surface = paint.tongue(); break;
        case part::cavity: at.surface = paint.cavity(); break;
        case part::eyeball: {
            const vec3 on_iris{at.color.x - anatomy::eyeball_radius * gaze.x,
                               at.color.y - anatomy::eyeball_radius * gaze.y, 0.0F};
            at.surface = paint.eye(on_iris.x, on_iris.y);
            const float reach = lid_height[model.head().rest()[at.corner].position.x < 0.0F ? 0 : 1] *
                                (1.0F - 0.32F * at.color.x * at.color.x);
            if (shadows) {
                at.shade *= mix(0.35F, 1.0F, smoothstep(-0.05F, 0.5F, reach - at.color.y));
            }
            // The lamp mirrored in the cornea.
            const vec3 in_camera = rotation * at.color - anatomy::eyeball_radius * (rotation * gaze);
            const float dx = in_camera.x - 0.62F * half_vector.x, dy = in_camera.y - 0.62F * half_vector.y;
            at.sparkle = 0.9F * lamp_strength * bump(dx, dy, 0.16F, 0.16F);
            break;
        }
        case part::hair: break;
    }
    if (at.surface.gloss > 0.0F && kind != part::eyeball) {
        const float h = std::max(0.0F, dot(at.normal, half_vector));
        const float h2 = h * h, h4 = h2 * h2, h8 = h4 * h4;
        at.sparkle = 0.035F * at.surface.gloss * lamp_strength * h8 * h8 * std::clamp(at.shade, 0.0F, 1.0F);
    }
}

/// From samples to pixels: a tent a little wider than a pixel, separable, in linear light.
void renderer::drawing::filter() {
    const float radius = 0.8F * samples;
    std::vector<float> taps;
    const int low = -static_cast<int>(options.samples) / 2 - 1;
    const int high = static_cast<int>(options.samples) + static_cast<int>(options.samples) / 2 + 1;
    float sum = 0.0F;
    for (int k = low; k < high; ++k) {
        const float distance = std::abs(static_cast<float>(k) + 0.5F - 0.5F * samples);
        taps.push_back(options.samples == 1 ? (k == 0 ? 1.0F : 0.0F) : std::max(0.0F, 1.0F - distance / radius));
        sum += taps.back();
    }
    for (float& tap : taps) {
        tap /= sum;
    }
    const auto limit = [&](int at) { return static_cast<std::size_t>(std::clamp(at, 0, static_cast<int>(width) - 1)); };
    w.filtered.resize(width * n);
    for (std::size_t y = 0; y < width; ++y) {
        for (std::size_t x = 0; x < n; ++x) {
            vec3 value;
            for (std::size_t k = 0; k < taps.size(); ++k) {
                if (taps[k] > 0.0F) {
                    value += taps[k] * w.radiance[y * width + limit(static_cast<int>(x * options.samples) + low +
                                                                    static_cast<int>(k))];
                }
            }
            w.filtered[y * n + x] = value;
        }
    }
    static const encoder display;
    result.image.resize({n, n, 3});
    float* pixel = result.image.data();
    for (std::size_t y = 0; y < n; ++y) {
        for (std::size_t x = 0; x < n; ++x, pixel += 3) {
            vec3 value;
            for (std::size_t k = 0; k < taps.size(); ++k) {
                if (taps[k] > 0.0F) {
                    value +=
                        taps[k] *
                        w.filtered[limit(static_cast<int>(y * options.samples) + low + static_cast<int>(k)) * n + x];
                }
            }
            pixel[0] = display(value.x);
            pixel[1] = display(value.y);
            pixel[2] = display(value.z);
        }
    }
}

/// A pixel belongs to the region that most of its samples show; its maps are averages over those.
void renderer::drawing::gather_maps() {
    result.depth.resize({n, n});
    result.normals.resize({n, n, 3});
    result.albedo.resize({n, n, 3});
    result.shading.resize({n, n});
    result.labels.resize({n, n});
    for (std::size_t y = 0; y < n; ++y) {
        for (std::size_t x = 0; x < n; ++x) {
            std::array<int, region_names.size()> votes{};
            const auto each = [&](const auto& visit) {
                for (std::size_t i = 0; i < options.samples; ++i) {
                    for (std::size_t j = 0; j < options.samples; ++j) {
                        visit((y * options.samples + i) * width + x * options.samples + j);
                    }
                }
            };
            each([&](std::size_t at) { ++votes[w.sample_region[at]]; });
            const auto label = static_cast<std::uint8_t>(std::max_element(votes.begin(), votes.end()) - votes.begin());
            const auto winners = static_cast<float>(votes[label]);
            vec3 normal, albedo;
            float depth = 0.0F, shade = 0.0F;
            each([&](std::size_t at) {
                if (w.sample_region[at] == label && label != 0) {
                    normal += w.sample_normal[at];
                    albedo += (1.0F / winners) * w.sample_albedo[at];
                    depth += w.buffer.depth_at(at) / winners;
                    shade += w.sample_shading[at] / winners;
                }
            });
            if (label != 0) {
                normal = normalized(normal);
            }
            result.labels(y, x) = label;
            result.depth(y, x) = depth;
            result.shading(y, x) = shade;
            for (std::size_t k = 0; k < 3; ++k) {
                result.normals(y, x, k) = k == 0 ? normal.x : (k == 1 ? normal.y : normal.z);
                result.albedo(y, x, k) = k == 0 ? albedo.x : (k == 1 ? albedo.y : albedo.z);
            }
        }
    }
}

void renderer::drawing::gather_landmarks() {
    result.landmarks_object.resize({landmark_count, 3});
    result.landmarks_camera.resize({landmark_count, 3});
    result.landmarks_2d.resize({landmark_count, 2});
    result.visible.resize({landmark_count});
    result.projection.resize({2, 4});
    const std::array<vec3, 2> rows{scale * rotation.row[0], -scale * rotation.row[1]};
    for (std::size_t i = 0; i < 2; ++i) {
        result.projection(i, 0) = rows[i].x;
        result.projection(i, 1) = rows[i].y;
        result.projection(i, 2) = rows[i].z;
        result.projection(i, 3) = i == 0 ? offset_x : offset_y;
    }
    for (std::size_t l = 0; l < landmark_count; ++l) {
        const vec3 p = positions[model.landmarks()[l]];
        const vec3 q = rotation * p;
        const std::array<float, 3> object{p.x, p.y, p.z}, turned{q.x, q.y, q.z};
        for (std::size_t k = 0; k < 3; ++k) {
            result.landmarks_object(l, k) = object[k];
            result.landmarks_camera(l, k) = turned[k];
        }
        const float x = offset_x + scale * q.x, y = offset_y - scale * q.y;
        result.landmarks_2d(l, 0) = x;
        result.landmarks_2d(l, 1) = y;
        const auto sx = static_cast<int>(std::floor(x * samples)), sy = static_cast<int>(std::floor(y * samples));
        const bool in_picture = sx >= 0 && sy >= 0 && sx < static_cast<int>(width) && sy < static_cast<int>(width);
        const float tolerance = 0.4F + 1.5F / (scale * samples);
        result.visible(l) =
            in_picture && q.z > w.buffer.depth_at(static_cast<std::size_t>(sy) * width + static_cast<std::size_t>(sx)) -
                                    tolerance
                ? 1
                : 0;
    }
}

renderer::renderer() : workspace_(std::make_unique<workspace>()) {}
renderer::~renderer() = default;
renderer::renderer(renderer&&) noexcept = default;
renderer& renderer::operator=(renderer&&) noexcept = default;

rendering renderer::render(const face_parameters& parameters, const render_options& options) {
    using moden::detail::require;
    require<moden::argument_error>(options.size >= 8 && options.size <= 4096, "faces::render: size ", options.size,
                                   ", expected 8 to 4096");
    require<moden::argument_error>(options.samples >= 1 && options.samples <= 8, "faces::render: samples ",
                                   options.samples, ", expected 1 to 8");
    require<moden::argument_error>(parameters.camera.view > 0.0F, "faces::render: camera view ", parameters.camera.view,
                                   ", expected more than 0");
    require<moden::argument_error>(is_finite(parameters), "faces::render: a parameter is not finite");
    return drawing(*workspace_, parameters, options).run();
}

rendering render(const face_parameters& parameters, const render_options& options) {
    return renderer().render(parameters, options);
}

std::vector<vec3> head_vertices(const identity& person, const expression& expression) {
    const linear_mesh& head = head_model::get().head();
    std::vector<vec3> positions(head.rest().size());
    const std::array<float, action_count> weights = expression.weights();
    head.evaluate(person.shape, weights, positions);
    return positions;
}

std::uint8_t to_byte(float value) { return static_cast<std::uint8_t>(255.0F * std::clamp(value, 0.0F, 1.0F) + 0.5F); }

moden::tensor<std::uint8_t, 3> to_bytes(const moden::tensor<float, 3>& image) {
    moden::tensor<std::uint8_t, 3> bytes(image.shape());
    std::transform(image.data(), image.data() + image.size(), bytes.data(), to_byte);
    return bytes;
}

}  // namespace faces
