#include "../lighting.hpp"

#include <numbers>

namespace faces {
namespace {

constexpr float y0 = 0.28209479F;
constexpr float y1 = 0.48860251F;
constexpr float y2 = 1.09254843F;
constexpr float y20 = 0.31539157F;
constexpr float y22 = 0.54627421F;
// A_l / pi
constexpr float band1 = 2.0F / 3.0F;
constexpr float band2 = 0.25F;

}  // namespace

std::array<float, 9> spherical_harmonics(const vec3& d) {
    return {y0,
            y1 * d.y,
            y1 * d.z,
            y1 * d.x,
            y2 * d.x * d.y,
            y2 * d.y * d.z,
            y20 * (3.0F * d.z * d.z - 1.0F),
            y2 * d.x * d.z,
            y22 * (d.x * d.x - d.y * d.y)};
}

irradiance::irradiance(const std::array<float, 9>& c)
    : constant_(y0 * c[0] - band2 * y20 * c[6]),
      linear_{band1 * y1 * c[3], band1 * y1 * c[1], band1 * y1 * c[2]},
      squares_{band2 * y22 * c[8], -band2 * y22 * c[8], 3.0F * band2 * y20 * c[6]},
      products_{band2 * y2 * c[4], band2 * y2 * c[5], band2 * y2 * c[7]} {}

std::array<float, 9> rotated(const std::array<float, 9>& c, const mat3& rotation) {
    // Orders 1 and 2 are a vector and a traceless symmetric matrix: rotate those.
    const vec3 v = rotation * vec3{c[3], c[1], c[2]};
    const float xx = y22 * c[8] - y20 * c[6];
    const float yy = -y22 * c[8] - y20 * c[6];
    const float zz = 2.0F * y20 * c[6];
    const float xy = 0.5F * y2 * c[4], yz = 0.5F * y2 * c[5], xz = 0.5F * y2 * c[7];
    const mat3 m{{vec3{xx, xy, xz}, vec3{xy, yy, yz}, vec3{xz, yz, zz}}};
    const mat3 r = rotation * m * transposed(rotation);
    return {c[0],
            v.y,
            v.z,
            v.x,
            2.0F * r.row[0].y / y2,
            2.0F * r.row[1].z / y2,
            0.5F * r.row[2].z / y20,
            2.0F * r.row[0].z / y2,
            0.5F * (r.row[0].x - r.row[1].y) / y22};
}

std::array<float, 9> lamp(const vec3& towards, float strength, float ambient) {
    using std::numbers::pi_v;
    const std::array<float, 9> y = spherical_harmonics(normalized(towards));
    std::array<float, 9> c{};
    // The nine coefficients of a point-like lamp give a facing surface 1/4 + 1/2 + 5/16 = 17/16 of its strength.
    for (std::size_t k = 0; k < 9; ++k) {
        c[k] = pi_v<float> * strength * (16.0F / 17.0F) * y[k];
    }
    c[0] += ambient / y0;
    return c;
}

light make_light(light_preset preset) {
    switch (preset) {
        case light_preset::frontal: return {lamp({0.0F, 0.25F, 1.0F}, 0.75F, 0.30F), {1.0F, 0.99F, 0.97F}};
        case light_preset::left: return {lamp({-1.0F, 0.25F, 0.30F}, 1.0F, 0.16F), {1.0F, 0.98F, 0.95F}};
        case light_preset::right: return {lamp({1.0F, 0.25F, 0.30F}, 1.0F, 0.16F), {1.0F, 0.98F, 0.95F}};
        case light_preset::above: return {lamp({0.0F, 1.0F, 0.55F}, 0.90F, 0.30F), {1.0F, 0.99F, 0.97F}};
        case light_preset::below: return {lamp({0.0F, -1.0F, 0.6F}, 0.85F, 0.20F), {1.0F, 0.94F, 0.86F}};
        case light_preset::rim: {
            light both{lamp({0.9F, 0.3F, -0.55F}, 1.0F, 0.16F), {0.97F, 0.99F, 1.0F}};
            const std::array<float, 9> other = lamp({-0.5F, 0.3F, 0.7F}, 0.28F, 0.0F);
            for (std::size_t k = 0; k < 9; ++k) {
                both.coefficients[k] += other[k];
            }
            return both;
        }
        case light_preset::soft: return {lamp({0.1F, 0.8F, 0.6F}, 0.35F, 0.60F), {1.0F, 1.0F, 1.0F}};
        case light_preset::window: return {lamp({-0.75F, 0.45F, 0.65F}, 0.90F, 0.30F), {1.0F, 0.985F, 0.96F}};
    }
    return {};
}

}  // namespace faces
