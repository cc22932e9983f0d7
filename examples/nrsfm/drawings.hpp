#pragma once

// Pictures of shapes: the mean shape from three sides, and what basis shapes do to the rigid shape.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>

#include "../common/canvas.hpp"
#include "settings.hpp"

namespace nrsfm {

/// Points of a shape, 3 x P, in the object's frame.
using shape3d = moden::tensor<double, 2>;

/// Which points are joined by lines.
struct contour {
    std::size_t first, last;
    bool closed;
};

/// Of the usual 68 landmarks of faces; of other shapes there are none.
inline std::vector<contour> contours_of(std::size_t points) {
    if (points != 68) {
        return {};
    }
    return {{0, 16, false}, {17, 21, false}, {22, 26, false}, {27, 30, false}, {31, 35, false}, {36, 41, true}, {42, 47, true}, {48, 59, true}, {60, 67, true}};
}

/// Where a shape is looked at from, and how large it is drawn.
struct view {
    double yaw = 0;                   ///< radians; positive turns the front to the picture's right
    double x = 0, y = 0;              ///< of the shape's mean in the picture
    double pixels_per_unit = 1;
    image_rows rows = image_rows::down;
};

inline std::vector<examples::point> projected(const shape3d& shape, const view& from) {
    const double cosine = std::cos(from.yaw), sine = std::sin(from.yaw);
    const double towards_viewer = from.rows == image_rows::down ? -1 : 1;  // sign of z
    std::vector<examples::point> result;
    for (std::size_t p = 0; p < shape.shape()[1]; ++p) {
        const double x = cosine * shape(0, p) + sine * towards_viewer * shape(2, p);
        result.push_back({from.x + from.pixels_per_unit * x, from.y - towards_viewer * from.pixels_per_unit * shape(1, p)});
    }
    return result;
}

inline void draw_shape(examples::canvas& target, const std::vector<examples::point>& points, examples::color lines, examples::color discs, double radius) {
    for (const contour& each : contours_of(points.size())) {
        examples::polyline line(points.begin() + static_cast<std::ptrdiff_t>(each.first), points.begin() + static_cast<std::ptrdiff_t>(each.last + 1));
        if (each.closed) {
            line.push_back(points[each.first]);
        }
        target.lines(line, 1.3, lines);
    }
    for (const examples::point& p : points) {
        target.disc(p.x, p.y, radius, discs);
    }
}

/// Pixels per unit with which a shape about its mean stays within `half` of the middle.
inline double fitting_scale(const shape3d& shape, double yaw, double half) {
    double reach = 0;
    for (const examples::point& p : projected(shape, {.yaw = yaw})) {
        reach = std::max({reach, std::abs(p.x), std::abs(p.y)});
    }
    return reach > 0 ? half / reach : 1;
}

inline void centre(shape3d& shape) {
    for (std::size_t i = 0; i < 3; ++i) {
        double mean = 0;
        for (std::size_t p = 0; p < shape.shape()[1]; ++p) {
            mean += shape(i, p) / static_cast<double>(shape.shape()[1]);
        }
        for (std::size_t p = 0; p < shape.shape()[1]; ++p) {
            shape(i, p) -= mean;
        }
    }
}

/// The mean shape from the front, half from the side and from the side; beside it in another colour the true one, if there is one.
/// \param truth  3 x P in the same frame and unit, or empty
inline examples::canvas draw_mean_shape(const shape3d& mean, const shape3d& truth, image_rows rows) {
    constexpr double cell = 290, top = 64;
    constexpr std::array<std::pair<const char*, double>, 3> views{{{"0 degrees", 0.0}, {"45 degrees", 0.7853981634}, {"90 degrees", 1.5707963268}}};
    examples::canvas result(static_cast<std::size_t>(top + cell + 12), static_cast<std::size_t>(3 * cell + 24));
    result.text(16, 26, "The mean shape from three views", 12);
    if (truth.size() > 0) {
        result.disc(20, 43, 3, examples::palette[0]);
        result.text(30, 47, "found", 9, examples::faint);
        result.disc(88, 43, 4.2, examples::palette[1]);
        result.text(98, 47, "true, turned and scaled to fit", 9, examples::faint);
    }
    double unit = fitting_scale(mean, 0, 0.42 * cell);
    for (const auto& [name, yaw] : views) {
        unit = std::min(unit, fitting_scale(mean, yaw, 0.42 * cell));
    }
    for (std::size_t i = 0; i < views.size(); ++i) {
        const view from{views[i].second, 12 + (static_cast<double>(i) + 0.5) * cell, top + 0.5 * cell, unit, rows};
        if (truth.size() > 0) {
            draw_shape(result, projected(truth, from), {0.95F, 0.75F, 0.6F}, examples::palette[1], 4.2);
        }
        draw_shape(result, projected(mean, from), {0.6F, 0.75F, 0.88F}, examples::palette[0], 2.4);
        result.text(from.x, top + cell - 2, views[i].first, 9, examples::faint, examples::align::center);
    }
    return result;
}

/// One column per basis shape, one row per strength, as in 001 Fig. 4.2: the rigid shape in grey, and moved in colour.
/// \param shape       the rigid shape
/// \param basis       K x P
/// \param directions  K x 3
/// \param deviations  standard deviations of the coefficients, K
template <class Matrix>
examples::canvas draw_basis(const shape3d& shape, const Matrix& basis, const Matrix& directions, const std::vector<double>& deviations, image_rows rows) {
    constexpr std::array<double, 5> strengths{-4, -2, 0, 2, 4};
    constexpr double cell = 168, left = 84, top = 92, turned = 0.3;
    const std::size_t columns = std::min<std::size_t>(6, deviations.size());
    const double width = left + cell * static_cast<double>(std::max<std::size_t>(columns, 3)) + 12;
    examples::canvas result(static_cast<std::size_t>(top + cell * strengths.size() + 12), static_cast<std::size_t>(width));
    result.text(16, 26, columns > 0 ? "Effect of the first basis shapes" : "No basis shapes: the rigid shape explains the tracks", 12);
    result.text(16, 46, "Rows: the coefficient in its standard deviations. Grey: the rigid shape.", 9, examples::faint);
    const double unit = fitting_scale(shape, turned, 0.43 * cell);
    const auto number = [](const char* format, double value) {
        char text[48];
        std::snprintf(text, sizeof text, format, value);
        return std::string(text);
    };
    for (std::size_t r = 0; r < strengths.size() && columns > 0; ++r) {
        const double y = top + (static_cast<double>(r) + 0.5) * cell;
        result.text(left - 12, y + 4, strengths[r] == 0 ? std::string("0") : number("%+.0f", strengths[r]), 10, examples::ink, examples::align::right);
    }
    for (std::size_t k = 0; k < columns; ++k) {
        const double x = left + (static_cast<double>(k) + 0.5) * cell;
        result.text(x, top - 24, "k = " + std::to_string(k + 1), 10, examples::ink, examples::align::center);
        result.text(x, top - 8, number("deviation %.3g", deviations[k]), 8, examples::faint, examples::align::center);
        for (std::size_t r = 0; r < strengths.size(); ++r) {
            const view from{turned, x, top + (static_cast<double>(r) + 0.5) * cell, unit, rows};
            shape3d moved = shape;
            for (std::size_t i = 0; i < 3; ++i) {
                for (std::size_t p = 0; p < moved.shape()[1]; ++p) {
                    moved(i, p) += strengths[r] * deviations[k] * static_cast<double>(directions(k, i)) * static_cast<double>(basis(k, p));
                }
            }
            const auto before = projected(shape, from), after = projected(moved, from);
            if (strengths[r] != 0) {
                draw_shape(result, before, {0.82F, 0.83F, 0.84F}, {0.74F, 0.75F, 0.77F}, 1.2);
                for (std::size_t p = 0; p < before.size(); ++p) {
                    result.lines({before[p], after[p]}, 1, {0.95F, 0.75F, 0.6F});
                }
            }
            draw_shape(result, after, {0.6F, 0.75F, 0.88F}, examples::palette[0], 1.6);
        }
    }
    return result;
}

}  // namespace nrsfm
