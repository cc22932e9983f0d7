#include "../head_mesh.hpp"

#include <numbers>

namespace faces {
namespace {

using std::numbers::pi_v;

/// A horizontal section of the bare head: where it passes in front, at the side and at the back.
struct section {
    float front_y, front_z, side_y, half_width, side_z, back_y, back_z, squareness;
};

/// Sections from the crown to the shoulders, after the proportions of an average adult head.
constexpr std::array<section, 24> sections{{
    {11.60F, -0.6F, 11.60F, 0.02F, -0.8F, 11.60F, -1.0F, 2.0F},
    {11.35F, 1.9F, 11.35F, 2.0F, -0.8F, 11.35F, -3.3F, 2.0F},
    {10.55F, 4.3F, 10.55F, 3.9F, -0.9F, 10.55F, -5.6F, 2.0F},
    {9.20F, 6.5F, 9.20F, 5.55F, -1.0F, 9.20F, -7.6F, 2.05F},
    {7.20F, 8.15F, 7.20F, 6.7F, -1.1F, 7.20F, -9.15F, 2.12F},
    {5.00F, 9.1F, 5.00F, 7.4F, -1.2F, 5.00F, -9.9F, 2.3F},
    {3.00F, 9.45F, 3.00F, 7.4F, -1.2F, 3.00F, -10.0F, 2.4F},
    {1.80F, 9.55F, 1.80F, 7.3F, -1.0F, 1.80F, -9.9F, 2.4F},
    {0.00F, 9.05F, 0.00F, 7.15F, -0.7F, -0.20F, -9.5F, 2.3F},
    {-2.00F, 8.90F, -2.00F, 6.95F, -0.3F, -2.30F, -8.7F, 2.15F},
    {-4.00F, 9.00F, -3.90F, 6.70F, 0.0F, -4.40F, -7.9F, 2.05F},
    {-5.50F, 9.15F, -5.20F, 6.45F, 0.1F, -6.00F, -7.3F, 2.0F},
    {-7.00F, 9.20F, -6.40F, 6.05F, 0.2F, -7.60F, -6.9F, 1.97F},
    {-8.50F, 8.95F, -7.40F, 5.74F, 0.2F, -9.00F, -6.7F, 1.95F},
    {-10.00F, 8.85F, -8.20F, 5.34F, 0.0F, -10.20F, -6.6F, 1.95F},
    {-11.20F, 8.20F, -8.90F, 5.02F, -0.3F, -11.10F, -6.6F, 1.95F},
    {-11.75F, 6.90F, -9.60F, 4.55F, -0.7F, -11.70F, -6.6F, 2.0F},
    {-11.95F, 5.30F, -10.50F, 4.40F, -1.1F, -12.20F, -6.6F, 2.0F},
    {-12.70F, 3.70F, -11.60F, 4.40F, -1.5F, -12.80F, -6.7F, 2.0F},
    {-14.60F, 3.10F, -13.60F, 4.60F, -1.9F, -14.20F, -7.0F, 2.0F},
    {-16.80F, 3.50F, -15.20F, 5.80F, -2.1F, -15.40F, -7.5F, 2.0F},
    {-18.60F, 5.20F, -16.60F, 11.00F, -2.2F, -16.80F, -8.4F, 2.2F},
    {-21.50F, 7.60F, -18.60F, 18.00F, -2.2F, -20.00F, -9.2F, 2.5F},
    {-28.00F, 9.50F, -27.00F, 21.00F, -2.2F, -28.00F, -9.6F, 2.6F},
}};

section section_at(float row) {
    const float limited = std::clamp(row, 0.0F, last_row - 0.001F);
    const auto i = static_cast<std::size_t>(limited);
    const float t = limited - static_cast<float>(i);
    const section& a = sections[i > 0 ? i - 1 : 0];
    const section& b = sections[i];
    const section& c = sections[i + 1];
    const section& d = sections[std::min(i + 2, sections.size() - 1)];
    const auto spline = [&](float section::*field) {
        const float p0 = a.*field, p1 = b.*field, p2 = c.*field, p3 = d.*field;
        return p1 + 0.5F * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)));
    };
    return {spline(&section::front_y), spline(&section::front_z),
            spline(&section::side_y),  std::max(spline(&section::half_width), 0.0F),
            spline(&section::side_z),  spline(&section::back_y),
            spline(&section::back_z),  spline(&section::squareness)};
}

/// How far the nose rises over the bare face along its ridge, and how wide it is there.
constexpr std::array<std::array<float, 2>, 10> nose_height{{{-5.15F, 0.0F},
                                                            {-4.95F, 0.12F},
                                                            {-4.7F, 0.85F},
                                                            {-4.4F, 1.75F},
                                                            {-3.95F, 2.3F},
                                                            {-3.4F, 2.2F},
                                                            {-2.4F, 1.62F},
                                                            {-0.9F, 0.78F},
                                                            {0.3F, 0.2F},
                                                            {1.6F, 0.0F}}};
constexpr std::array<std::array<float, 2>, 6> nose_half_width{
    {{-5.2F, 1.05F}, {-4.2F, 1.1F}, {-3.2F, 0.88F}, {-1.5F, 0.70F}, {0.0F, 0.66F}, {1.6F, 0.9F}}};

/// Almond shape of the eye opening; `t` runs from 0 at the inner corner to 1 at the outer one.
float upper_lid_shape(float t) { return std::pow(4.0F * t * (1.0F - t), 0.72F) * (1.06F - 0.22F * (t - 0.3F)); }
float lower_lid_shape(float t) { return std::pow(4.0F * t * (1.0F - t), 0.85F) * (0.95F + 0.3F * (t - 0.5F)); }
constexpr float upper_lid_opening = 0.70F;
constexpr float lower_lid_opening = 0.60F;

/// Everything that distinguishes a face from the bare head. x >= 0 here; the face is symmetric.
/// \param p        point of the bare head
/// \param eye      which lid the point belongs to
/// \param mouth    which lip
/// \param opening  1 for open eyes, 0 for closed ones
vec3 add_features(vec3 p, side eye, side mouth, float opening) {
    const float x = std::abs(p.x);
    const float y = p.y;
    const float sign = p.x < 0.0F ? -1.0F : 1.0F;
    const float front = smoothstep(0.0F, 3.5F, p.z);
    if (front <= 0.0F || y < -13.0F) {
        return p;
    }
    float z = 0.0F;
    // Forehead and brow.
    z += 0.34F * bump(x - 2.7F, y - 1.75F, 2.1F, 0.75F);
    z += 0.12F * bump(x, y - 1.6F, 0.9F, 0.6F);
    z += 0.20F * bump(x - 2.4F, y - 4.8F, 2.2F, 1.6F);
    // Sockets, deepest beside the nose; a faint furrow below the lower lid.
    z -= 0.98F * bump(x - 3.1F, y - 0.15F, 1.75F, 1.15F);
    z -= 0.62F * bump(x - 1.55F, y - 0.25F, 0.62F, 0.85F);
    z -= 0.10F * bump(x - 2.6F, y + 1.55F, 1.2F, 0.32F);
    // Cheekbones, hollow below them, and the fuller front of the cheek.
    z += 0.42F * bump(x - 4.7F, y + 2.5F, 1.6F, 1.2F);
    z += 0.35F * bump(x - 3.3F, y + 3.5F, 1.5F, 1.3F);
    z -= 0.22F * bump(x - 5.2F, y + 5.8F, 1.2F, 1.7F);
    // The arch of the teeth behind the lips, chin, and the furrow between chin and lower lip.
    z += 0.42F * bump(x, y + 6.8F, 2.7F, 1.9F);
    z -= 0.42F * bump(x, y + 8.85F, 1.5F, 0.55F);
    z += 0.50F * bump(x, y + 10.3F, 1.35F, 0.95F);
    z -= 0.10F * bump(x, y + 5.6F, 0.24F, 0.55F);
    z += 0.07F * bump(x - 0.48F, y + 5.6F, 0.22F, 0.6F);
    // Fold from the nose wing towards the mouth corner.
    const float fold_x = interpolate(
        std::array<std::array<float, 2>, 4>{{{-7.4F, 3.25F}, {-6.4F, 3.0F}, {-5.2F, 2.45F}, {-4.2F, 1.85F}}}, y);
    z -= 0.11F * bump(x - fold_x, 0.38F) * smoothstep(-8.0F, -6.2F, y) * smoothstep(-3.6F, -4.5F, y);

    // Nose: a ridge with a rounded cross-section, a ball at the tip and two wings.
    const float nose_y =
        y - 0.28F * smoothstep(-0.3F, -3.0F, y);  // the tables are for a nose that is longer than average
    const float ridge = interpolate(nose_height, nose_y);
    const float half_width = interpolate(nose_half_width, nose_y);
    float nose = ridge * std::exp(-std::pow(x / half_width, 2.1F));
    const float tip = 0.22F * bump(x - 0.22F, nose_y + 3.95F, 0.55F, 0.5F);
    const float wing = 1.2F * std::exp(-std::pow(std::hypot((x - 1.24F) / 0.58F, (nose_y + 4.2F) / 0.62F), 2.6F));
    nose = smooth_max(nose, wing, 0.35F) + tip;
    z += nose;
    // Nostrils: hollows in the underside.
    z -= 0.35F * bump(x - 0.66F, nose_y + 4.68F, 0.33F, 0.2F);

    // Lips: two rounded bands that end at the corners.
    const float corner = anatomy::mouth_corner;
    const float along = std::clamp(1.0F - (x / corner) * (x / corner), 0.0F, 1.0F);
    const float envelope = std::sqrt(along);
    const float from_line = y - anatomy::mouth_y;
    if (mouth == side::upper) {
        const float v = from_line / std::max(upper_lip_height(x), 0.12F);
        const float profile =
            v < 1.0F ? 0.08F + 0.30F * std::sin(pi_v<float> * std::pow(std::clamp(v, 0.0F, 1.0F), 0.75F) * 0.86F)
                     : 0.08F + 0.127F * std::exp(-4.0F * (v - 1.0F));
        z += envelope * profile * bump(std::max(v - 1.0F, 0.0F), 1.5F);
    } else {
        const float v = -from_line / std::max(lower_lip_height(x), 0.12F);
        const float profile =
            v < 1.0F ? 0.04F + 0.40F * std::sin(pi_v<float> * std::pow(std::clamp(v, 0.0F, 1.0F), 0.8F) * 0.9F)
                     : 0.04F + 0.124F * std::exp(-4.0F * (v - 1.0F));
        z += envelope * profile * bump(std::max(v - 1.0F, 0.0F), 1.2F);
    }
    // Mouth corners sit in small pits.
    z -= 0.14F * bump(x - corner - 0.05F, from_line, 0.42F, 0.42F);

    vec3 q{p.x, y, p.z + front * z};
    // The mouth line: slightly lower in the middle of the cupid's bow, corners level.
    q.y += -0.05F * bump(x, from_line, 0.5F, 0.8F) + 0.07F * bump(x - 0.7F, from_line, 0.5F, 0.8F);

    q.y += 0.10F * bump(x - 2.5F, from_line, 1.0F, 0.9F);

    // Eyes: open the slit, tilt it a little, and drape the lids over the eyeball.
    const float t = std::clamp((x - anatomy::eye_inner) / (anatomy::eye_outer - anatomy::eye_inner), 0.0F, 1.0F);
    if (eye == side::upper) {
        const float amount = mix(-0.10F, upper_lid_opening, opening);
        q.y += amount * upper_lid_shape(t) * bump(y - anatomy::eye_y, 1.15F);
    } else {
        const float amount = mix(0.12F, lower_lid_opening, opening);
        q.y -= amount * lower_lid_shape(t) * bump(y - anatomy::eye_y, 0.95F);
    }
    q.y += 0.09F * (x - anatomy::eye_x) * bump(x - anatomy::eye_x, y - anatomy::eye_y, 2.0F, 1.2F);
    const float dx = x - anatomy::eye_x;
    const float dy = q.y - anatomy::eye_y;
    const float lid_radius = anatomy::eyeball_radius + 0.13F;
    const float within = std::clamp(1.0F - (dx * dx + dy * dy) / (lid_radius * lid_radius), 0.0F, 1.0F);
    const float lid_z = anatomy::eye_z + lid_radius * std::sqrt(within);
    const float draped = smooth_max(q.z, lid_z, 0.25F);
    q.z = mix(q.z, draped, smoothstep(2.6F, 1.7F, std::hypot(dx, 1.1F * dy)));
    // Crease above the upper lid.
    if (eye == side::upper && opening > 0.5F) {
        const float crease_y = anatomy::eye_y + 0.30F + 0.67F * upper_lid_shape(t) * upper_lid_opening / 0.70F;
        q.z -= 0.10F * bump(q.y - crease_y - 0.22F, 0.16F) * smoothstep(0.0F, 0.25F, t) * smoothstep(1.0F, 0.8F, t);
    }
    q.x = sign * std::abs(q.x);
    return q;
}

/// Angles and fractions of the columns on one half of a loop: 0 front, 1 side, 2 back.
std::vector<float> column_positions() {
    std::vector<float> positions;
    constexpr int dense = 27;
    constexpr float dense_end = 0.74F;
    for (int i = 0; i <= dense; ++i) {
        const float fraction = dense_end * static_cast<float>(i) / dense;
        positions.push_back(std::asin(fraction) * 2.0F / pi_v<float>);
    }
    constexpr int sides = 8;
    for (int i = 1; i <= sides; ++i) {
        positions.push_back(mix(positions[dense], 1.0F, static_cast<float>(i) / sides));
    }
    constexpr int back = 8;
    for (int i = 1; i <= back; ++i) {
        positions.push_back(1.0F + static_cast<float>(i) / back);
    }
    return positions;
}

/// Rows, dense where the face is detailed. The eye and mouth lines are rows.
std::vector<float> row_positions(std::size_t& eye_row, std::size_t& mouth_row) {
    struct stretch {
        float to, step;
    };
    constexpr std::array<stretch, 12> stretches{{{9.0F, 0.9F},
                                                 {5.0F, 0.66F},
                                                 {3.0F, 0.4F},
                                                 {1.4F, 0.26F},
                                                 {0.0F, 0.155F},
                                                 {-1.4F, 0.155F},
                                                 {-3.0F, 0.26F},
                                                 {-5.2F, 0.17F},
                                                 {-7.0F, 0.15F},
                                                 {-8.5F, 0.15F},
                                                 {-10.0F, 0.3F},
                                                 {-11.7F, 0.34F}}};
    std::vector<float> rows{0.0F, 0.35F, 0.7F, 1.05F};
    float y = 11.2F;
    for (const stretch& s : stretches) {
        const int steps = std::max(1, static_cast<int>(std::lround((y - s.to) / s.step)));
        for (int i = 1; i <= steps; ++i) {
            rows.push_back(row_at_height(mix(y, s.to, static_cast<float>(i) / static_cast<float>(steps))));
        }
        y = s.to;
        if (s.to == anatomy::eye_y) {
            eye_row = rows.size() - 1;
        }
        if (s.to == anatomy::mouth_y) {
            mouth_row = rows.size() - 1;
        }
    }
    for (const float row :
         {16.3F, 16.7F, 17.1F, 17.5F, 18.0F, 18.5F, 19.0F, 19.5F, 20.0F, 20.4F, 20.8F, 21.2F, 21.7F, 22.3F, 23.0F}) {
        rows.push_back(row);
    }
    return rows;
}

/// Collects the parts of the head into one mesh.
class builder {
public:
    rest_mesh mesh;

    std::uint32_t add(const rest_vertex& vertex) {
        mesh.vertices.push_back(vertex);
        return static_cast<std::uint32_t>(mesh.vertices.size() - 1);
    }

    /// A quad with corners in counter-clockwise order.
    void quad(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
        if (a != b && b != c && a != c) {
            mesh.triangles.push_back({a, b, c});
        }
        if (a != c && c != d && a != d) {
            mesh.triangles.push_back({a, c, d});
        }
    }

    /// A rectangular sheet; `point(i, j)` makes the vertex of row i (top to bottom) and column j (left to right).
    template <class Point>
    void sheet(std::size_t rows, std::size_t columns, const Point& point) {
        std::vector<std::uint32_t> index(rows * columns);
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                index[i * columns + j] = add(point(i, j));
            }
        }
        for (std::size_t i = 0; i + 1 < rows; ++i) {
            for (std::size_t j = 0; j + 1 < columns; ++j) {
                const std::size_t at = i * columns + j;
                quad(index[at], index[at + columns], index[at + columns + 1], index[at + 1]);
            }
        }
    }

    void skin();
    void eyeballs();
    void mouth();
    void ears();

private:
    void slit_lining(const std::vector<std::uint32_t>& upper, const std::vector<std::uint32_t>& lower, part kind);
};

void builder::skin() {
    const std::vector<float> half = column_positions();
    std::size_t eye_row = 0;
    std::size_t mouth_row = 0;
    const std::vector<float> rows = row_positions(eye_row, mouth_row);
    const std::size_t last = half.size() - 1;
    const std::size_t columns = 2 * last;  // the column at the back middle is shared
    std::vector<std::uint32_t> above(rows.size() * columns);
    std::vector<std::uint32_t> below(rows.size() * columns);
    const auto around = [&](std::size_t c) { return c <= last ? -half[last - c] : half[c - last]; };
    const auto make = [&](std::size_t r, std::size_t c, side eye, side mouth) {
        rest_vertex vertex;
        const vec3 bare = bare_head(rows[r], around(c));
        vertex.material = bare;
        vertex.position = add_features(bare, eye, mouth, 1.0F);
        vertex.eyes_closed = add_features(bare, eye, mouth, 0.0F);
        vertex.eye_side = eye;
        vertex.mouth_side = mouth;
        return vertex;
    };
    const auto inside_slit = [&](std::size_t r, std::size_t c) {
        const vec3 bare = bare_head(rows[r], around(c));
        const float x = std::abs(bare.x);
        if (bare.z < 0.0F) {
            return false;
        }
        return (r == eye_row && x > anatomy::eye_inner && x < anatomy::eye_outer) ||
               (r == mouth_row && x < anatomy::mouth_corner);
    };
    for (std::size_t r = 0; r < rows.size(); ++r) {
        for (std::size_t c = 0; c < columns; ++c) {
            const side eye = r <= eye_row ? side::upper : side::lower;
            const side mouth = r <= mouth_row ? side::upper : side::lower;
            above[r * columns + c] = add(make(r, c, eye, mouth));
            below[r * columns + c] =
                inside_slit(r, c)
                    ? add(make(r, c, r == eye_row ? side::lower : eye, r == mouth_row ? side::lower : mouth))
                    : above[r * columns + c];
        }
    }
    for (std::size_t r = 0; r + 1 < rows.size(); ++r) {
        for (std::size_t c = 0; c < columns; ++c) {
            const std::size_t next = (c + 1) % columns;
            quad(below[r * columns + c], above[(r + 1) * columns + c], above[(r + 1) * columns + next],
                 below[r * columns + next]);
        }
    }
    for (const std::size_t r : {eye_row, mouth_row}) {
        std::vector<std::uint32_t> upper;
        std::vector<std::uint32_t> lower;
        for (std::size_t c = 0; c < columns; ++c) {
            const bool inside = inside_slit(r, c);
            if (inside && upper.empty()) {
                upper.push_back(above[r * columns + c - 1]);
                lower.push_back(above[r * columns + c - 1]);
            }
            if (inside) {
                upper.push_back(above[r * columns + c]);
                lower.push_back(below[r * columns + c]);
            } else if (!upper.empty()) {
                upper.push_back(above[r * columns + c]);
                lower.push_back(above[r * columns + c]);
                slit_lining(upper, lower, r == eye_row ? part::lid_rim : part::lip_inside);
                upper.clear();
                lower.clear();
            }
        }
    }
}

/// Gives lids and lips their thickness: strips that run from the edge of a slit into the head.
void builder::slit_lining(const std::vector<std::uint32_t>& upper, const std::vector<std::uint32_t>& lower, part kind) {
    const std::size_t depth = kind == part::lid_rim ? 1 : 3;
    const auto inner = [&](std::uint32_t edge, side which, std::size_t k) {
        rest_vertex vertex = mesh.vertices[edge];
        vertex.kind = kind;
        const float up = which == side::upper ? 1.0F : -1.0F;
        for (vec3* p : {&vertex.position, &vertex.eyes_closed}) {
            if (k == 0) {
                continue;  // the edge itself, once more with the colour of the lining
            }
            if (kind == part::lid_rim) {
                const vec3 center = eye_center(p->x < 0.0F ? -1.0F : 1.0F);
                const vec3 out = *p - center;
                *p = center + (std::min(length(out), anatomy::eyeball_radius) * 0.985F) * normalized(out) +
                     vec3{0, -0.05F * up, 0};
            } else {
                const float s = static_cast<float>(k) / 3.0F;
                *p += vec3{0, up * (0.10F * s + 0.5F * s * s), -1.1F * s};
            }
        }
        if (kind == part::lip_inside) {
            vertex.eye_side = which;
            vertex.mouth_side = which;
        }
        return vertex;
    };
    for (const side which : {side::upper, side::lower}) {
        std::vector<std::uint32_t> front;
        for (std::size_t k = 0; k <= depth; ++k) {
            std::vector<std::uint32_t> next;
            for (const std::uint32_t e : which == side::upper ? upper : lower) {
                next.push_back(add(inner(e, which, k)));
            }
            for (std::size_t i = 0; k > 0 && i + 1 < next.size(); ++i) {
                if (which == side::upper) {
                    quad(front[i], next[i], next[i + 1], front[i + 1]);
                } else {
                    quad(next[i], front[i], front[i + 1], next[i + 1]);
                }
            }
            front = next;
        }
    }
}

void builder::eyeballs() {
    constexpr std::size_t n = 15;
    for (const float sign : {-1.0F, 1.0F}) {
        sheet(n, n, [&](std::size_t i, std::size_t j) {
            // The front of the sphere on a grid of two angles; equal angles keep triangles even.
            const float a = mix(-1.25F, 1.25F, static_cast<float>(j) / (n - 1));
            const float b = mix(1.1F, -1.1F, static_cast<float>(i) / (n - 1));
            const vec3 direction{std::sin(a) * std::cos(b), std::sin(b), std::cos(a) * std::cos(b)};
            rest_vertex vertex;
            vertex.kind = part::eyeball;
            vertex.position = eye_center(sign) + anatomy::eyeball_radius * direction;
            vertex.eyes_closed = vertex.position;
            vertex.material = eye_center(sign) + vec3{0, 0, anatomy::eyeball_radius};
            return vertex;
        });
    }
}

void builder::mouth() {
    const auto arch = [&](float x, float y, float front, part kind, side which) {
        rest_vertex vertex;
        vertex.kind = kind;
        vertex.position = {x, y, front - 0.29F * x * x};
        vertex.eyes_closed = vertex.position;
        vertex.material = {x, y, 9.0F};
        vertex.eye_side = side::lower;
        vertex.mouth_side = which;
        return vertex;
    };
    constexpr std::size_t across = 17;
    const auto across_x = [](std::size_t j, float half) {
        return mix(-half, half, static_cast<float>(j) / (across - 1));
    };
    sheet(4, across, [&](std::size_t i, std::size_t j) {
        return arch(across_x(j, 2.45F), mix(-5.75F, -7.02F, static_cast<float>(i) / 3.0F), 9.15F, part::upper_teeth,
                    side::upper);
    });
    sheet(4, across, [&](std::size_t i, std::size_t j) {
        return arch(across_x(j, 2.2F), mix(-7.05F, -8.2F, static_cast<float>(i) / 3.0F), 8.85F, part::lower_teeth,
                    side::lower);
    });
    sheet(6, 9, [&](std::size_t i, std::size_t j) {
        const float x = mix(-1.75F, 1.75F, static_cast<float>(j) / 8.0F);
        const float s = static_cast<float>(i) / 5.0F;  // from the back of the tongue to its tip and down
        rest_vertex vertex = arch(x, 0.0F, 0.0F, part::tongue, side::lower);
        const float round = std::sqrt(std::max(0.0F, 1.0F - (x / 1.85F) * (x / 1.85F)));
        vertex.position = {x * (1.0F - 0.25F * s * s), -7.75F + 0.35F * round - 0.9F * s * s - 0.12F * bump(x, 0.25F),
                           5.2F + 3.1F * std::sin(1.5F * s) * (0.6F + 0.4F * round)};
        vertex.eyes_closed = vertex.position;
        return vertex;
    });
    // A bag behind the lips, open to the front.
    sheet(9, 13, [&](std::size_t i, std::size_t j) {
        const float a = mix(-1.55F, 1.55F, static_cast<float>(j) / 12.0F);
        const float b = mix(1.5F, -1.5F, static_cast<float>(i) / 8.0F);
        const vec3 inside{2.5F * std::sin(a) * std::cos(b), -7.2F + 2.7F * std::sin(b),
                          7.0F - 3.6F * std::cos(a) * std::cos(b)};
        rest_vertex vertex = arch(inside.x, inside.y, 0.0F, part::cavity, inside.y > -7.0F ? side::upper : side::lower);
        vertex.position = inside;
        vertex.eyes_closed = inside;
        return vertex;
    });
}

void builder::ears() {
    // A shell of concentric rings: centre of the hollow, its wall, the inner ridge, the groove, the rim, and the back.
    struct ring {
        float radius, height;
    };
    constexpr std::array<ring, 9> rings{{{0.0F, -0.45F},
                                         {0.28F, -0.42F},
                                         {0.46F, 0.02F},
                                         {0.58F, 0.22F},
                                         {0.74F, 0.10F},
                                         {0.88F, 0.36F},
                                         {0.98F, 0.34F},
                                         {1.0F, 0.12F},
                                         {0.6F, -0.9F}}};
    constexpr std::size_t around = 22;
    for (const float sign : {-1.0F, 1.0F}) {
        std::array<std::array<std::uint32_t, around>, rings.size()> index{};
        for (std::size_t k = 0; k < rings.size(); ++k) {
            for (std::size_t j = 0; j < around; ++j) {
                const float angle = 2.0F * pi_v<float> * static_cast<float>(j) / around;
                // Ear plane: `back` runs backwards, `up` upwards; wide above, narrow at the lobe.
                const float up_unit = std::sin(angle);
                const float back_unit = std::cos(angle);
                const float up = rings[k].radius * up_unit * 3.05F + (rings[k].radius < 0.5F ? -0.15F : 0.0F);
                const float width = mix(1.0F, 1.95F, smoothstep(-1.1F, 0.7F, up_unit));
                float back = rings[k].radius * back_unit * width - 0.25F * (1.0F - up_unit);
                float height = rings[k].height;
                if (k >= 2 && k <= 5) {
                    height *= smoothstep(-1.0F, -0.35F, up_unit);  // the lobe is smooth
                    height *= mix(0.35F, 1.0F, smoothstep(-0.9F, 0.1F, back_unit));
                }
                rest_vertex vertex;
                vertex.kind = part::ear;
                const float lean = 0.20F;
                const float y = up - lean * back;
                const float z = -(back + lean * up);
                const float out = height + 0.42F * (back + 1.0F);
                vertex.position = {sign * (6.72F + out + 0.06F * up), -1.35F + y, -0.75F + z};
                vertex.eyes_closed = vertex.position;
                vertex.material = vertex.position;
                index[k][j] = add(vertex);
            }
        }
        for (std::size_t k = 0; k + 1 < rings.size(); ++k) {
            for (std::size_t j = 0; j < around; ++j) {
                const std::size_t next = (j + 1) % around;
                if (sign < 0.0F) {
                    quad(index[k][j], index[k][next], index[k + 1][next], index[k + 1][j]);
                } else {
                    quad(index[k][next], index[k][j], index[k + 1][j], index[k + 1][next]);
                }
            }
        }
    }
}

}  // namespace

float upper_lip_height(float x) {
    const float d = std::abs(x) / anatomy::mouth_corner;
    const float envelope = std::pow(std::max(1.0F - d * d, 0.0F), 0.75F);
    return envelope * (0.72F + 0.12F * bump(std::abs(x) - 0.55F, 0.42F) - 0.10F * bump(x, 0.3F));
}

float lower_lip_height(float x) {
    const float d = std::abs(x) / anatomy::mouth_corner;
    return 0.95F * std::pow(std::max(1.0F - d * d, 0.0F), 0.6F);
}

vec3 bare_head(float row, float around) {
    const section s = section_at(row);
    const float sign = around < 0.0F ? -1.0F : 1.0F;
    const float angle = 0.5F * pi_v<float> * std::abs(around);
    if (std::abs(around) <= 1.0F) {
        const float fraction = std::sin(angle);
        const float depth = std::pow(std::max(1.0F - std::pow(fraction, s.squareness), 0.0F), 1.0F / s.squareness);
        return {sign * s.half_width * fraction, mix(s.front_y, s.side_y, smoothstep(0.25F, 1.05F, fraction)),
                s.side_z + (s.front_z - s.side_z) * depth};
    }
    const float back = std::max(std::sin(angle - 0.5F * pi_v<float>), 0.0F);
    return {sign * s.half_width * std::max(std::sin(angle), 0.0F),
            mix(s.side_y, s.back_y, smoothstep(0.0F, 1.0F, back)), s.side_z + (s.back_z - s.side_z) * back};
}

vec3 skin_surface(float row, float around) {
    const vec3 bare = bare_head(row, around);
    return add_features(bare, bare.y > anatomy::eye_y ? side::upper : side::lower,
                        bare.y > anatomy::mouth_y ? side::upper : side::lower, 0.0F);
}

float row_at_height(float y) {
    float low = 0.0F;
    float high = chin_row + 0.5F;
    for (int i = 0; i < 40; ++i) {
        const float middle = 0.5F * (low + high);
        (section_at(middle).front_y > y ? low : high) = middle;
    }
    return 0.5F * (low + high);
}

rest_mesh build_head() {
    builder head;
    head.skin();
    head.eyeballs();
    head.mouth();
    head.ears();
    return std::move(head.mesh);
}

}  // namespace faces
