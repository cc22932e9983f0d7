#pragma once

// Strips of edited faces, the space of expressions, transfer between persons, singular values.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <numbers>
#include <string>
#include <vector>

#include "../common/pictures.hpp"
#include "../common/plot.hpp"
#include "../common/sheet.hpp"
#include "methods.hpp"

namespace edit_faces {

inline const std::vector<double> strengths{-3, -2, -1, 0, 1, 2, 3};

inline std::string number(double value, const char* format) {
    char text[48];
    std::snprintf(text, sizeof text, format, value);
    return text;
}

/// Rows: directions; columns: strengths. One code, or one per row.
inline examples::canvas draw_strips(const moden::cpu_policy& cpu, const generator& net, const matrix& codes, const named_directions& given,
                                    const std::vector<std::size_t>& rows, const std::vector<std::string>& labels, double step,
                                    const std::string& title) {
    examples::sheet sheet{.title = title, .notes = {"strength 1 is " + number(step, "%g") + " of the model's direction"}, .cell_height = 96, .cell_width = 96};
    std::vector<double> steps;
    for (const double s : strengths) {
        sheet.columns.push_back(number(s, "%+g"));
        steps.push_back(s * step);
    }
    sheet.columns[3] = "0";
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const matrix code = codes.shape()[0] == 1 ? codes : chosen_rows(codes, {r});
        const auto pictures = pictures_of(cpu, net, moden::edit_codes(cpu, code, chosen_rows(given.directions, {rows[r]}), steps));
        examples::sheet_row row{.label = labels[r]};
        for (std::size_t i = 0; i < steps.size(); ++i) {
            row.cells.push_back({examples::picture_of(pictures, i), ""});
        }
        sheet.rows.push_back(std::move(row));
    }
    return draw(sheet);
}

/// Where the levels of a mode lie in the subspace of that mode: rows of U scaled by the singular values, about their mean,
/// along their first three principal axes. The first singular vector is all but constant and says nothing about differences of levels.
inline matrix level_points(const model& fitted, std::size_t mode) {
    const auto& factor = fitted.decomposition.factors[mode + 1];
    const auto& values = fitted.decomposition.modes[mode + 1].singular_values;
    auto points = matrix::from_shape({factor.shape()[0], factor.shape()[1]});
    for (std::size_t j = 0; j < points.shape()[1]; ++j) {
        float mean = 0;
        for (std::size_t i = 0; i < points.shape()[0]; ++i) {
            points(i, j) = factor(i, j) * values[j];
            mean += points(i, j) / static_cast<float>(points.shape()[0]);
        }
        for (std::size_t i = 0; i < points.shape()[0]; ++i) {
            points(i, j) -= mean;
        }
    }
    const auto svd = moden::thin_svd(points);
    const std::size_t axes = std::min<std::size_t>(3, svd.singular_values.size());
    auto placed = matrix::from_shape({points.shape()[0], axes});
    for (std::size_t i = 0; i < points.shape()[0]; ++i) {
        for (std::size_t j = 0; j < axes; ++j) {
            placed(i, j) = svd.u(i, j) * svd.singular_values[j];
        }
    }
    return placed;
}

/// The star of expressions: trajectories over intensities, fitted lines, and the point where they nearly meet.
struct expression_star {
    matrix points;
    moden::fitted_lines lines;
    moden::line_intersection origin;
    std::vector<std::string> names;
    std::size_t intensities = 0;
};

inline expression_star find_star(const model& joint, std::size_t mode, const std::vector<std::string>& expressions) {
    expression_star star{level_points(joint, mode), {}, {}, expressions, joint.level_count(mode) / expressions.size()};
    std::vector<std::size_t> line;
    for (std::size_t i = 0; i < star.points.shape()[0]; ++i) {
        line.push_back(i / star.intensities);
    }
    star.lines = moden::fit_lines(star.points, line);
    star.origin = moden::intersect_lines(star.lines.anchors, star.lines.directions);
    return star;
}

/// Two views of the star: the plane of the first two axes, and three axes seen from the side.
inline examples::canvas draw_star(const expression_star& star) {
    const auto look = [](double turn, double tilt, double x, double y, double z) {
        const double across = std::cos(turn) * x + std::sin(turn) * z, deep = -std::sin(turn) * x + std::cos(turn) * z;
        return std::pair{across, std::cos(tilt) * y + std::sin(tilt) * deep};
    };
    constexpr double degree = std::numbers::pi / 180;
    const auto coordinate = [&](const auto& row, std::size_t i, std::size_t j) { return j < row.shape()[1] ? static_cast<double>(row(i, j)) : 0.0; };
    examples::canvas result(520, 1180);
    for (const bool solid : {false, true}) {
        const auto place = [&](double x, double y, double z) { return solid ? look(35 * degree, 30 * degree, x, y, z) : std::pair{x, y}; };
        examples::plot plot{.title = solid ? "Expressions, three axes" : "Expressions, first two axes",
                            .note = solid ? "seen from 35 degrees to the side and 30 degrees above" : "discs: levels; dashed: fitted lines; black: their intersection"};
        const auto& point = star.origin.point;
        const auto at_origin = place(point(0), point.size() > 1 ? point(1) : 0, point.size() > 2 ? point(2) : 0);
        for (std::size_t e = 0; e < star.names.size(); ++e) {
            const examples::color paint = examples::palette[e % std::size(examples::palette)];
            examples::series levels{.label = solid ? "" : star.names[e], .paint = paint, .points = examples::marks::discs};
            double last = 0;
            for (std::size_t i = 0; i < star.intensities; ++i) {
                const std::size_t row = e * star.intensities + i;
                const auto placed = place(coordinate(star.points, row, 0), coordinate(star.points, row, 1), coordinate(star.points, row, 2));
                levels.x.push_back(placed.first);
                levels.y.push_back(placed.second);
                last = 0;
                for (std::size_t j = 0; j < star.points.shape()[1]; ++j) {
                    last += star.lines.directions(e, j) * (star.points(row, j) - star.lines.anchors(e, j));
                }
            }
            // From where the line passes the intersection to the last level.
            double back = 0;
            for (std::size_t j = 0; j < star.points.shape()[1]; ++j) {
                back += star.lines.directions(e, j) * (point(j) - star.lines.anchors(e, j));
            }
            examples::series line{.paint = paint, .line = examples::stroke::dashed, .thickness = 1.1};
            for (const double t : {back, last}) {
                const auto placed = place(star.lines.anchors(e, 0) + t * star.lines.directions(e, 0),
                                          coordinate(star.lines.anchors, e, 1) + t * coordinate(star.lines.directions, e, 1),
                                          coordinate(star.lines.anchors, e, 2) + t * coordinate(star.lines.directions, e, 2));
                line.x.push_back(placed.first);
                line.y.push_back(placed.second);
            }
            plot.lines.push_back(std::move(line));
            plot.lines.push_back(std::move(levels));
        }
        plot.lines.push_back({.label = solid ? "" : "origin", .x = {at_origin.first}, .y = {at_origin.second}, .paint = examples::ink,
                              .points = examples::marks::discs, .thickness = 0});
        examples::draw(result, {solid ? 590.0 : 0.0, 0, 580, 510}, plot);
    }
    return result;
}

/// Expressions of some persons on the faces of others.
inline examples::canvas draw_transfer(const moden::cpu_policy& cpu, const generator& net, const model& joint, std::size_t expression,
                                      const matrix& faces, const std::vector<std::string>& face_names, const matrix& sources,
                                      const std::vector<std::string>& source_names, double ridge) {
    const std::size_t count = faces.shape()[0], columns = sources.shape()[0], size = faces.shape()[1];
    // Penalties in units of the mean square of a centred code.
    double square = 0;
    for (std::size_t n = 0; n < count; ++n) {
        for (std::size_t i = 0; i < size; ++i) {
            square += std::pow(faces(n, i) - joint.mean(0, i), 2) / static_cast<double>(count);
        }
    }
    const moden::parameter_estimation_options options{.penalties = {{.ridge = ridge * square, .sum_to_one = square}}};
    const auto of_faces = moden::estimate_parameters(cpu, joint, faces, options);
    const auto of_sources = moden::estimate_parameters(cpu, joint, sources, options);
    examples::sheet sheet{.title = "Expressions transferred", .notes = {"first row: sources; first column: faces; estimated parameters of the expression mode exchanged"},
                          .columns = {"face"}, .cell_height = 96, .cell_width = 96};
    sheet.columns.insert(sheet.columns.end(), source_names.begin(), source_names.end());
    const auto source_pictures = pictures_of(cpu, net, sources), face_pictures = pictures_of(cpu, net, faces);
    examples::sheet_row first{.label = "source", .cells = {{std::nullopt, ""}}};
    for (std::size_t c = 0; c < columns; ++c) {
        first.cells.push_back({examples::picture_of(source_pictures, c), ""});
    }
    first.space_below = 10;
    sheet.rows.push_back(std::move(first));
    for (std::size_t n = 0; n < count; ++n) {
        const std::vector<std::size_t> same(columns, n);
        std::vector<matrix> parameters;
        for (const matrix& q : of_faces.canonical) {
            parameters.push_back(chosen_rows(q, same));
        }
        const auto moved = moden::transfer_factor(cpu, joint, chosen_rows(faces, same), parameters, joint.modes[expression].name,
                                                  of_sources.canonical[expression]);
        const auto pictures = pictures_of(cpu, net, moved);
        examples::sheet_row row{.label = face_names[n], .cells = {{examples::picture_of(face_pictures, n), ""}}};
        for (std::size_t c = 0; c < columns; ++c) {
            row.cells.push_back({examples::picture_of(pictures, c), ""});
        }
        sheet.rows.push_back(std::move(row));
    }
    return draw(sheet);
}

/// Share of the squared norm in the leading singular vectors of every mode.
inline examples::canvas draw_energy(const model& fitted) {
    examples::plot plot{.title = "Energy of the leading singular vectors, per mode", .note = "share of the centred codes' squared norm",
                        .x = {.label = "share of the mode's columns", .first = 0.0, .last = 1.0}, .y = {.first = 0.0, .last = 1.0}};
    for (std::size_t n = 0; n < fitted.decomposition.modes.size(); ++n) {
        const auto& values = fitted.decomposition.modes[n].singular_values;
        double total = 0, sum = 0;
        for (const float s : values) {
            total += static_cast<double>(s) * s;
        }
        examples::series line{.label = n == 0 ? "codes" : fitted.modes[n - 1].name, .x = {0}, .y = {0},
                              .paint = examples::palette[n % std::size(examples::palette)],
                              .points = values.size() <= 40 ? examples::marks::discs : examples::marks::none};
        for (std::size_t i = 0; i < values.size(); ++i) {
            sum += static_cast<double>(values[i]) * values[i];
            line.x.push_back(static_cast<double>(i + 1) / static_cast<double>(values.size()));
            line.y.push_back(sum / total);
        }
        plot.lines.push_back(std::move(line));
    }
    examples::canvas result(420, 640);
    examples::draw(result, {0, 0, 640, 420}, plot);
    return result;
}

}  // namespace edit_faces
