#pragma once

// A z-buffer over samples: which triangle is nearest at each of them.

#include "head_mesh.hpp"

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace faces {

/// Position on the sample grid: x right, y down, in samples; z towards the viewer.
struct screen_vertex {
    float x, y, z;
};

/// Nearest triangle per sample. Sample (i, j) lies at (j + 0.5, i + 0.5).
class z_buffer {
public:
    static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

    void clear(std::size_t width, std::size_t height) {
        width_ = width;
        height_ = height;
        depth_.assign(width * height, -std::numeric_limits<float>::infinity());
        triangle_.assign(width * height, none);
    }
    std::size_t width() const { return width_; }
    std::size_t height() const { return height_; }
    std::uint32_t triangle_at(std::size_t sample) const { return triangle_[sample]; }
    float depth_at(std::size_t sample) const { return depth_[sample]; }

    /// Draws triangle `id` where it is nearer than what is there and `visible(w1, w2)` holds, the barycentric weights
    /// of its second and third corner. Both orientations are drawn.
    template <class Visible>
    void draw(const screen_vertex& a, const screen_vertex& b, const screen_vertex& c, std::uint32_t id,
              const Visible& visible) {
        const float area = (b.x - a.x) * (c.y - a.y) - (c.x - a.x) * (b.y - a.y);
        if (area == 0.0F) {
            return;
        }
        // Samples whose centres lie between the extremes.
        const auto limits = [](float u, float v, float w, std::size_t extent) {
            const float top = static_cast<float>(extent);
            // Not negative, so that the conversion rounds down.
            const int low = static_cast<int>(std::clamp(std::min({u, v, w}) + 0.5F, 0.0F, top));
            const int high = static_cast<int>(std::clamp(std::max({u, v, w}) + 0.5F, 0.0F, top)) - 1;
            return std::pair(low, high);
        };
        const auto [x0, x1] = limits(a.x, b.x, c.x, width_);
        const auto [y0, y1] = limits(a.y, b.y, c.y, height_);
        if (x0 > x1 || y0 > y1) {
            return;
        }
        const float inverse = 1.0F / area;
        const float w1x = (c.y - a.y) * inverse, w1y = -(c.x - a.x) * inverse;
        const float w2x = -(b.y - a.y) * inverse, w2y = (b.x - a.x) * inverse;
        const float px = static_cast<float>(x0) + 0.5F - a.x;
        for (int y = y0; y <= y1; ++y) {
            const float py = static_cast<float>(y) + 0.5F - a.y;
            float w1 = w1x * px + w1y * py;
            float w2 = w2x * px + w2y * py;
            std::size_t at = static_cast<std::size_t>(y) * width_ + static_cast<std::size_t>(x0);
            for (int x = x0; x <= x1; ++x, ++at, w1 += w1x, w2 += w2x) {
                if (w1 >= 0.0F && w2 >= 0.0F && w1 + w2 <= 1.0F) {
                    const float z = a.z + w1 * (b.z - a.z) + w2 * (c.z - a.z);
                    if (z > depth_[at] && visible(w1, w2)) {
                        depth_[at] = z;
                        triangle_[at] = id;
                    }
                }
            }
        }
    }

private:
    std::size_t width_ = 0, height_ = 0;
    std::vector<float> depth_;
    std::vector<std::uint32_t> triangle_;
};

}  // namespace faces
