#pragma once

// A small stroke font: every character of printable ASCII as a few lines and curves, drawn at any size.

#include <array>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

struct point {
    double x = 0;
    double y = 0;
};

using polyline = std::vector<point>;

namespace detail {

/// Strokes of the characters from '!' to '~', separated by blanks. A point is two hexadecimal digits: x from 0 at the
/// left, then y from 0 (descender) over 3 (baseline) and 9 (small letters) to c (capitals) and d. A stroke that starts
/// with ~ is a smooth curve steered by its points, closed if the first is also the last; a point given twice is a dot.
inline constexpr std::array<std::string_view, 94> stroke_font{
    "0c06 0303", "0c09 2c29", "2c13 4c33 0969 0666", "~5a5c0c0858530305 2d22", "6c03 ~0c2c29090c ~4666634346",
    "~630a0c3c3a06033367", "0c09", "~2d0a0522", "~0d2a2502", "2b25 0a46 064a", "0646 2824", "1301", "0636", "0303",
    "4c02",
    // 0 to 9
    "~0c5c53030c", "1a3c33", "~0a0c5c5803 0353", "~0b1c5c5828 ~2858530305", "434c0666", "5c0c08 ~081a59530305",
    "~0959530309 ~4c0c06", "0c5c13", "~0c5c58080c ~0858530308", "~0c5c56060c ~595413",
    // : ; < = > ? @
    "0808 0404", "1818 1401", "490643", "0747 0545", "094603", "~0a0c5c582826 2323", "~585933355868 ~696c0c036354",
    // A to Z
    "033c63 1656", "0c03 0c2c 0828 0323 ~2c5c5828 ~28686323", "~5a5c0c035355", "030c 0c1c ~1c6c6313 1303",
    "5c0c0353 0848", "5c0c03 0848", "~5a5c0c035357 5737", "0c03 5c53 0858", "0c03", "~4c430305", "0c03 5c06 2853",
    "0c0353", "030c366c63", "030c535c", "~0c6c63030c", "030c 0c2c 0727 ~2c5c5727", "~0c6c63030c 4562",
    "030c 0c2c 0727 ~2c5c5727 2753", "~5a5c0c0858530305", "0c6c 3c33", "~0c060353565c", "0c336c", "0c234a638c",
    "0c53 035c", "0c376c 3733", "0c5c0353",
    // [ \ ] ^ _ `
    "2d0d0222", "0c42", "0d2d2202", "0a2c4a", "0252", "0c1a",
    // a to z
    "~0959530309 5953", "0c03 ~0959530309", "~583909033354", "5c53 ~0959530309", "0656 ~565909033354", "~4c1c1913 0939",
    "~0959530309 ~5954501001", "0c03 ~0609595653", "0903 0b0b", "~2924200100 2b2b", "0c03 4905 1643", "0c03",
    "0903 ~0609494643 ~4649898683", "0903 ~0609595653", "~0959530309", "0900 ~0959530309", "5950 ~0959530309",
    "0903 ~060939", "~4849090646430304", "~1c151333 0939", "~0906035356 5953", "092349", "0923486389", "0943 0349",
    "0923 4910", "09490343",
    // { | } ~
    "~2d1d1807 ~07161222", "0d02", "~0d1d1827 ~27161202", "~05184457"};

/// A clamped quadratic B-spline as a polyline: runs from the first point to the last, or around if they are the same.
inline polyline smooth(const polyline& control) {
    constexpr int steps = 8;
    polyline curve;
    const bool closed = control.front().x == control.back().x && control.front().y == control.back().y;
    const std::size_t corners = control.size() - 1;
    const auto middle = [&](std::size_t i) {
        const point& a = control[i];
        const point& b = control[i + 1];
        return point{(a.x + b.x) / 2, (a.y + b.y) / 2};
    };
    for (std::size_t i = closed ? 0 : 1; i < corners; ++i) {
        const point from = closed ? middle((i + corners - 1) % corners) : i == 1 ? control[0] : middle(i - 1);
        const point to = !closed && i + 1 == corners ? control.back() : middle(i);
        for (int step = 0; step <= steps; ++step) {
            const double t = static_cast<double>(step) / steps;
            const double a = (1 - t) * (1 - t);
            const double b = 2 * t * (1 - t);
            curve.push_back(
                {a * from.x + b * control[i].x + t * t * to.x, a * from.y + b * control[i].y + t * t * to.y});
        }
    }
    return curve;
}

}  // namespace detail

/// Height of capital letters in the units of the font, in which the baseline is y = 0.
inline constexpr double font_cap_height = 9;

/// The strokes of one character, and how far to move on to the next one.
struct glyph {
    std::vector<polyline> strokes;
    double advance = 4;
};

/// \param character  printable ASCII; anything else is drawn as '?'
inline glyph make_glyph(char character) {
    glyph result;
    if (character == ' ') {
        return result;
    }
    const std::size_t index =
        character > ' ' && character <= '~' ? static_cast<std::size_t>(character - '!') : std::size_t{'?' - '!'};
    const auto digit = [](char c) { return static_cast<double>(c <= '9' ? c - '0' : c - 'a' + 10); };
    double width = 0;
    polyline stroke;
    bool curved = false;
    const auto finish = [&] {
        if (stroke.size() > 1) {
            result.strokes.push_back(curved && stroke.size() > 2 ? detail::smooth(stroke) : stroke);
        }
        stroke.clear();
        curved = false;
    };
    const std::string_view text = detail::stroke_font[index];
    for (std::size_t i = 0; i < text.size();) {
        if (text[i] == ' ') {
            finish();
            ++i;
        } else if (text[i] == '~') {
            curved = true;
            ++i;
        } else {
            stroke.push_back({digit(text[i]), digit(text[i + 1]) - 3});
            width = stroke.back().x > width ? stroke.back().x : width;
            i += 2;
        }
    }
    finish();
    result.advance = width + 2.4;
    return result;
}

}  // namespace examples
