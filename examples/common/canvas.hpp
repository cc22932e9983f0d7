#pragma once

// A picture to draw on: smooth lines, discs, text and other pictures, for plots and contact sheets.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>

#include "font.hpp"

namespace examples {

/// Display (sRGB) values in [0, 1].
struct color {
    float red = 0, green = 0, blue = 0;
};

inline constexpr color white{1, 1, 1};
inline constexpr color ink{0.13F, 0.15F, 0.18F};
inline constexpr color faint{0.45F, 0.48F, 0.52F};
inline constexpr color grid_gray{0.88F, 0.89F, 0.90F};

/// Colours that are told apart also by readers who are colour-blind (after Okabe & Ito 2008).
inline constexpr color palette[]{{0.00F, 0.45F, 0.70F}, {0.84F, 0.37F, 0.00F}, {0.00F, 0.62F, 0.45F},
                                 {0.80F, 0.47F, 0.65F}, {0.34F, 0.71F, 0.91F}, {0.90F, 0.62F, 0.00F},
                                 {0.45F, 0.34F, 0.65F}, {0.40F, 0.40F, 0.40F}};

/// Where a text stands in relation to the point it is drawn at.
enum class align { left, center, right };

/// How a line is drawn.
enum class stroke { solid, dashed };

/// Colour pictures hold height x width x 3 display values in [0, 1].
using picture = moden::tensor<float, 3>;

class canvas {
public:
    canvas(std::size_t height, std::size_t width, color background = white)
        : pixels_(picture::shape_type{height, width, 3}, 0.0F) {
        fill_rectangle(0, 0, static_cast<double>(width), static_cast<double>(height), background);
    }

    std::size_t height() const { return pixels_.shape()[0]; }
    std::size_t width() const { return pixels_.shape()[1]; }

    /// The rectangle from (x0, y0) to (x1, y1), in whole pixels; y points down.
    void fill_rectangle(double x0, double y0, double x1, double y1, color fill, float opacity = 1) {
        const auto [left, right] = clamped(x0, x1, width());
        const auto [top, bottom] = clamped(y0, y1, height());
        for (std::size_t y = top; y < bottom; ++y) {
            for (std::size_t x = left; x < right; ++x) {
                blend(y, x, fill, opacity);
            }
        }
    }

    /// Connected lines, round at joints and ends. Parts outside the picture are left out.
    void lines(const polyline& points, double thickness, color paint, stroke kind = stroke::solid) {
        if (kind == stroke::solid) {
            draw_strokes({points}, thickness, paint);
        } else {
            draw_strokes(dashes(points, 4 * thickness + 2), thickness, paint);
        }
    }

    void disc(double x, double y, double radius, color paint) { draw_strokes({{{x, y}, {x, y}}}, 2 * radius, paint); }

    /// One line of text. (x, y) is its left end, middle or right end on the baseline, `size` the height of capitals.
    void text(double x, double y, std::string_view words, double size, color paint = ink, align where = align::left) {
        const double unit = size / font_cap_height;
        double pen = x - (where == align::left ? 0.0 : where == align::center ? 0.5 : 1.0) * text_width(words, size);
        std::vector<polyline> strokes;
        for (const char character : words) {
            const glyph shape = make_glyph(character);
            for (const polyline& line : shape.strokes) {
                polyline placed;
                for (const point& p : line) {
                    placed.push_back({pen + p.x * unit, y - p.y * unit});
                }
                strokes.push_back(std::move(placed));
            }
            pen += shape.advance * unit;
        }
        draw_strokes(strokes, std::max(1.15, size / 7.5), paint);
    }

    static double text_width(std::string_view words, double size) {
        double units = 0;
        for (const char character : words) {
            units += make_glyph(character).advance;
        }
        return units * size / font_cap_height;
    }

    /// Another picture with its upper left corner at (x, y), resized to `height` x `width` by bilinear interpolation
    /// (grown) or by averaging (shrunk).
    void paste(const picture& image, std::size_t x, std::size_t y, std::size_t height, std::size_t width) {
        for (std::size_t row = 0; row < height && y + row < this->height(); ++row) {
            for (std::size_t column = 0; column < width && x + column < this->width(); ++column) {
                for (std::size_t c = 0; c < 3; ++c) {
                    pixels_(y + row, x + column, c) = resampled(image, row, height, column, width, c);
                }
            }
        }
    }

    /// The picture as 8-bit values, ready for write_png.
    moden::tensor<std::uint8_t, 3> bytes() const {
        moden::tensor<std::uint8_t, 3> result(pixels_.shape());
        std::transform(pixels_.begin(), pixels_.end(), result.begin(),
                       [](float v) { return static_cast<std::uint8_t>(std::clamp(v, 0.0F, 1.0F) * 255.0F + 0.5F); });
        return result;
    }

private:
    static std::pair<std::size_t, std::size_t> clamped(double from, double to, std::size_t limit) {
        const double most = static_cast<double>(limit);
        return {static_cast<std::size_t>(std::clamp(std::round(from), 0.0, most)),
                static_cast<std::size_t>(std::clamp(std::round(to), 0.0, most))};
    }

    void blend(std::size_t y, std::size_t x, color paint, float opacity) {
        float* pixel = &pixels_(y, x, 0);
        pixel[0] += opacity * (paint.red - pixel[0]);
        pixel[1] += opacity * (paint.green - pixel[1]);
        pixel[2] += opacity * (paint.blue - pixel[2]);
    }

    /// Draws all strokes as one shape: where they cross, the paint is not applied twice.
    void draw_strokes(const std::vector<polyline>& strokes, double thickness, color paint) {
        const double reach = thickness / 2 + 1;
        double left = 1e30, right = -1e30, top = 1e30, bottom = -1e30;
        for (const polyline& line : strokes) {
            for (const point& p : line) {
                left = std::min(left, p.x - reach);
                right = std::max(right, p.x + reach);
                top = std::min(top, p.y - reach);
                bottom = std::max(bottom, p.y + reach);
            }
        }
        const auto [x0, x1] = clamped(std::floor(left), std::ceil(right), width());
        const auto [y0, y1] = clamped(std::floor(top), std::ceil(bottom), height());
        if (x0 >= x1 || y0 >= y1) {
            return;
        }
        std::vector<float> coverage((x1 - x0) * (y1 - y0), 0.0F);
        for (const polyline& line : strokes) {
            for (std::size_t i = 0; i + 1 < line.size(); ++i) {
                cover(line[i], line[i + 1], thickness / 2, coverage, x0, x1, y0, y1);
            }
        }
        for (std::size_t y = y0; y < y1; ++y) {
            for (std::size_t x = x0; x < x1; ++x) {
                if (const float part = coverage[(y - y0) * (x1 - x0) + x - x0]; part > 0) {
                    blend(y, x, paint, part);
                }
            }
        }
    }

    /// Coverage of the pixels near a segment, from their distance to it.
    static void cover(point a, point b, double radius, std::vector<float>& coverage, std::size_t x0, std::size_t x1,
                      std::size_t y0, std::size_t y1) {
        const double dx = b.x - a.x;
        const double dy = b.y - a.y;
        const double squared = dx * dx + dy * dy;
        const auto bound = [&](double low, double high, std::size_t first, std::size_t last) {
            return std::pair{static_cast<std::size_t>(std::clamp(
                                 std::floor(low - radius - 1), static_cast<double>(first), static_cast<double>(last))),
                             static_cast<std::size_t>(std::clamp(
                                 std::ceil(high + radius + 1), static_cast<double>(first), static_cast<double>(last)))};
        };
        const auto [left, right] = bound(std::min(a.x, b.x), std::max(a.x, b.x), x0, x1);
        const auto [top, bottom] = bound(std::min(a.y, b.y), std::max(a.y, b.y), y0, y1);
        for (std::size_t y = top; y < bottom; ++y) {
            for (std::size_t x = left; x < right; ++x) {
                const double px = static_cast<double>(x) + 0.5 - a.x;
                const double py = static_cast<double>(y) + 0.5 - a.y;
                const double t = squared > 0 ? std::clamp((px * dx + py * dy) / squared, 0.0, 1.0) : 0.0;
                const double distance = std::hypot(px - t * dx, py - t * dy);
                float& part = coverage[(y - y0) * (x1 - x0) + x - x0];
                part = std::max(part, static_cast<float>(std::clamp(radius + 0.5 - distance, 0.0, 1.0)));
            }
        }
    }

    static std::vector<polyline> dashes(const polyline& points, double length) {
        std::vector<polyline> result;
        double position = 0;  // along the line, modulo two dashes
        for (std::size_t i = 0; i + 1 < points.size(); ++i) {
            const point a = points[i];
            const point b = points[i + 1];
            const double whole = std::hypot(b.x - a.x, b.y - a.y);
            for (double done = 0; done < whole;) {
                const bool visible = position < length;
                const double step = std::min((visible ? length : 2 * length) - position, whole - done);
                if (visible) {
                    const auto at = [&](double s) {
                        return point{a.x + (b.x - a.x) * s / whole, a.y + (b.y - a.y) * s / whole};
                    };
                    result.push_back({at(done), at(done + step)});
                }
                done += std::max(step, 1e-9);
                position += step;
                position = position >= 2 * length - 1e-9 ? 0 : position;
            }
        }
        return result;
    }

    static float resampled(const picture& image, std::size_t row, std::size_t height, std::size_t column,
                           std::size_t width, std::size_t channel) {
        const auto weights = [](std::size_t index, std::size_t target, std::size_t source) {
            // A tent as wide as a pixel of the coarser of the two pictures.
            const double scale = static_cast<double>(source) / static_cast<double>(target);
            const double center = (static_cast<double>(index) + 0.5) * scale - 0.5;
            const double reach = std::max(1.0, scale);
            return std::tuple{center, reach};
        };
        const auto [y, reach_y] = weights(row, height, image.shape()[0]);
        const auto [x, reach_x] = weights(column, width, image.shape()[1]);
        const auto last = [](std::size_t extent) { return static_cast<std::ptrdiff_t>(extent) - 1; };
        double sum = 0, total = 0;
        for (auto i = static_cast<std::ptrdiff_t>(std::ceil(y - reach_y));
             i <= static_cast<std::ptrdiff_t>(std::floor(y + reach_y)); ++i) {
            const double wy = 1 - std::abs(static_cast<double>(i) - y) / reach_y;
            for (auto j = static_cast<std::ptrdiff_t>(std::ceil(x - reach_x));
                 j <= static_cast<std::ptrdiff_t>(std::floor(x + reach_x)); ++j) {
                const double weight = wy * (1 - std::abs(static_cast<double>(j) - x) / reach_x);
                sum += weight * static_cast<double>(image(
                                    static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(i, 0, last(image.shape()[0]))),
                                    static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(j, 0, last(image.shape()[1]))),
                                    channel));
                total += weight;
            }
        }
        return static_cast<float>(sum / total);
    }

    picture pixels_;
};

}  // namespace examples
