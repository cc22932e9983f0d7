#pragma once

// Line plots with linear or logarithmic axes, drawn into a rectangle of a canvas.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "canvas.hpp"

namespace examples {

enum class axis_scale { linear, logarithmic };
enum class marks { none, discs };
enum class tick_values { any, whole_numbers };

/// One line of a plot; without thickness only its marks are drawn. Points that an axis cannot show (not finite, or not
/// positive on a logarithmic one) are left out.
struct series {
    std::string label = {};  ///< for the legend; empty: none
    std::vector<double> x = {};
    std::vector<double> y = {};
    color paint = ink;
    stroke line = stroke::solid;
    marks points = marks::none;
    double thickness = 1.8;
};

/// An axis; limits that are not given come from the data.
struct axis {
    std::string label = {};
    axis_scale scale = axis_scale::linear;
    std::optional<double> first = std::nullopt;
    std::optional<double> last = std::nullopt;
    tick_values ticks = tick_values::any;
};

/// A range of x that is tinted, with a word on it.
struct shaded_range {
    double first = 0, last = 0;
    std::string label = {};
};

struct plot {
    std::string title = {};
    std::string note = {};  ///< smaller line below the title
    axis x = {};
    axis y = {};
    std::vector<series> lines = {};
    std::vector<shaded_range> ranges = {};
};

/// Part of a canvas, in pixels.
struct rectangle {
    double x = 0, y = 0, width = 0, height = 0;
};

namespace detail {

/// "0.25", "300", "1e-5".
inline std::string tick_text(double value) {
    char text[32];
    const double size = std::abs(value);
    if (size != 0 && (size < 0.00999 || size >= 99999.5)) {
        const double exponent = std::floor(std::log10(size) + 1e-9);
        std::snprintf(text, sizeof text, "%.3ge%d", value / std::pow(10.0, exponent), static_cast<int>(exponent));
    } else {
        std::snprintf(text, sizeof text, "%.4g", value);
    }
    return text;
}

/// An axis with its limits and ticks, mapping values to positions in [0, 1].
class scale {
public:
    scale(const axis& wanted, double low, double high, int about_ticks)
        : logarithmic_(wanted.scale == axis_scale::logarithmic) {
        low = wanted.first.value_or(low);
        high = wanted.last.value_or(high);
        if (logarithmic_) {
            low_ = std::log10(low);
            high_ = std::log10(high);
            if (high_ - low_ < 0.5) {
                low_ -= 0.25;
                high_ += 0.25;
            }
            const int step = std::max(1, static_cast<int>(std::ceil((high_ - low_) / about_ticks)));
            for (int decade = static_cast<int>(std::floor(low_)); decade <= static_cast<int>(std::ceil(high_));
                 ++decade) {
                add_tick(decade, decade % step == 0);
                for (int k = 2; step == 1 && k < 10; ++k) {
                    add_tick(decade + std::log10(k), high_ - low_ < 2.2 && (k == 2 || k == 5));
                }
            }
            return;
        }
        low_ = low;
        high_ = high > low ? high : low + 1;
        const double rough = (high_ - low_) / about_ticks;
        const double power = std::pow(10.0, std::floor(std::log10(rough)));
        double step = power * (rough <= power ? 1 : rough <= 2 * power ? 2 : rough <= 5 * power ? 5 : 10);
        step = wanted.ticks == tick_values::whole_numbers ? std::max(1.0, step) : step;
        for (double tick = std::ceil(low_ / step - 1e-9) * step; tick <= high_ + 1e-9 * step; tick += step) {
            add_tick(std::abs(tick) < 1e-9 * step ? 0 : tick, true);
        }
    }

    struct tick {
        double position;
        std::string text;  ///< empty for minor ticks
    };
    const std::vector<tick>& ticks() const { return ticks_; }

    bool shows(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }
    double position(double value) const { return ((logarithmic_ ? std::log10(value) : value) - low_) / (high_ - low_); }

private:
    void add_tick(double value, bool labelled) {
        const double position = (value - low_) / (high_ - low_);
        if (position > -1e-6 && position < 1 + 1e-6) {
            ticks_.push_back(
                {position, labelled ? tick_text(logarithmic_ ? std::pow(10.0, value) : value) : std::string()});
        }
    }

    bool logarithmic_;
    double low_ = 0, high_ = 1;
    std::vector<tick> ticks_;
};

/// Smallest and largest value that an axis can show; (low, high) if there is none.
inline std::pair<double, double> limits(const plot& p, std::vector<double> series::*values, const axis& wanted,
                                        double low, double high) {
    double least = std::numeric_limits<double>::infinity();
    double most = -least;
    for (const series& line : p.lines) {
        for (const double value : line.*values) {
            if (std::isfinite(value) && (wanted.scale == axis_scale::linear || value > 0)) {
                least = std::min(least, value);
                most = std::max(most, value);
            }
        }
    }
    return least <= most ? std::pair{least, most} : std::pair{low, high};
}

}  // namespace detail

/// Draws a plot with its title, axes, ticks, lines and legend.
inline void draw(canvas& target, const rectangle& where, const plot& p) {
    constexpr double text_size = 9;
    const auto [x_low, x_high] = detail::limits(p, &series::x, p.x, 1, 10);
    auto [y_low, y_high] = detail::limits(p, &series::y, p.y, 1, 10);
    if (p.y.scale == axis_scale::logarithmic) {
        y_low /= 1.3;
        y_high *= 1.3;
    }
    const detail::scale x_scale(p.x, x_low, x_high, static_cast<int>(where.width / 75));
    const detail::scale y_scale(p.y, y_low, y_high, static_cast<int>(where.height / 45));
    const double left = where.x + 62, right = where.x + where.width - 14;
    const double top = where.y + 44 + (p.note.empty() ? 0 : 16), bottom = where.y + where.height - 42;
    const auto at = [&](double x, double y) {
        return point{left + x_scale.position(x) * (right - left), bottom - y_scale.position(y) * (bottom - top)};
    };

    for (const shaded_range& range : p.ranges) {
        const double from = std::clamp(at(range.first, y_high).x, left, right);
        const double to = std::clamp(at(range.last, y_high).x, left, right);
        if (to > from) {
            target.fill_rectangle(from, top, to, bottom, {0.955F, 0.955F, 0.94F});
            target.text((from + to) / 2, bottom - 10, range.label, text_size - 1, faint, align::center);
        }
    }
    for (const auto& tick : y_scale.ticks()) {
        const double y = bottom - tick.position * (bottom - top);
        if (!tick.text.empty()) {
            target.lines({{left, y}, {right, y}}, 1, grid_gray);
            target.text(left - 8, y + text_size / 2, tick.text, text_size, ink, align::right);
        }
        target.lines({{left, y}, {left + (tick.text.empty() ? 3 : 5), y}}, 1, faint);
    }
    for (const auto& tick : x_scale.ticks()) {
        const double x = left + tick.position * (right - left);
        if (!tick.text.empty()) {
            target.lines({{x, top}, {x, bottom}}, 1, grid_gray);
            target.text(x, bottom + 8 + text_size, tick.text, text_size, ink, align::center);
        }
        target.lines({{x, bottom}, {x, bottom - (tick.text.empty() ? 3 : 5)}}, 1, faint);
    }
    target.lines({{left, top}, {left, bottom}, {right, bottom}}, 1.2, faint);
    target.text(left, where.y + 18, p.title, 11);
    target.text(left, where.y + 36, p.note, text_size, faint);
    target.text(left, top - 7, p.y.label, text_size, faint);
    target.text(right, where.y + where.height - 8, p.x.label, text_size, faint, align::right);

    for (const series& line : p.lines) {
        polyline points;
        for (std::size_t i = 0; i < line.x.size(); ++i) {
            if (x_scale.shows(line.x[i]) && y_scale.shows(line.y[i])) {
                const point placed = at(line.x[i], line.y[i]);
                points.push_back({placed.x, std::clamp(placed.y, top, bottom)});
            }
        }
        if (line.thickness > 0) {
            target.lines(points, line.thickness, line.paint, line.line);
        }
        if (line.points == marks::discs) {
            for (const point& each : points) {
                target.disc(each.x, each.y, 3, line.paint);
            }
        }
    }

    // The legend stands in the upper right corner, where falling curves leave room.
    std::vector<const series*> named;
    double widest = 0;
    for (const series& line : p.lines) {
        if (!line.label.empty()) {
            named.push_back(&line);
            widest = std::max(widest, canvas::text_width(line.label, text_size));
        }
    }
    if (!named.empty()) {
        const double line_height = 17;
        const double x = right - widest - 44;
        target.fill_rectangle(x - 8, top + 4, right - 2, top + 10 + line_height * static_cast<double>(named.size()),
                              white, 0.85F);
        for (std::size_t i = 0; i < named.size(); ++i) {
            const double y = top + 9 + line_height * (static_cast<double>(i) + 0.5);
            if (named[i]->thickness > 0) {
                target.lines({{x, y}, {x + 26, y}}, named[i]->thickness, named[i]->paint, named[i]->line);
            }
            if (named[i]->points == marks::discs) {
                target.disc(x + 13, y, 3, named[i]->paint);
            }
            target.text(x + 34, y + text_size / 2, named[i]->label, text_size);
        }
    }
}

}  // namespace examples
