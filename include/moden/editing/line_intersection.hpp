#pragma once

// The point nearest to several lines, and the lines that points follow: trajectories of expressions meet in an origin of
// expressions, the "point of apathy".

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Lines anchor + t direction in d dimensions, and how well they describe the points they were fitted to.
struct fitted_lines {
    tensor<double, 2> anchors;              ///< lines x d: the mean of each line's points
    tensor<double, 2> directions;           ///< lines x d, of length 1, towards the last point of each line
    std::vector<double> root_mean_square;   ///< per line: distance of its points
};

/// The point of least squared distance to lines.
struct line_intersection {
    tensor<double, 1> point;                ///< d
    std::vector<double> distances;          ///< to every line
    double root_mean_square = 0;            ///< of the distances: 0 where the lines meet
};

/// Fits a line to every group of points, by their principal direction. Host only: a few points.
///
/// \param points N x d, finite
/// \param line   for every point the number of its line; lines are numbered from 0 without gaps
/// \return       anchors, directions, distances
/// \throws shape_error if the numbers of points and line numbers differ, or a line has fewer than two points, which names it;
///         argument_error for NaN or infinity, or a line whose points all coincide
///
/// Cost: an SVD per line. Source: 001 section 3.3, Fig. 3.5; Paper I section IV-C.
/// \snippet tests/unit/lines.cpp lines
template <any_tensor Points>
fitted_lines fit_lines(const Points& points, const std::vector<std::size_t>& line) {
    const auto argument = detail::evaluate(cpu_policy{}, points);
    const auto& view = argument.view();
    detail::require<shape_error>(view.order() == 2 && view.shape[0] == line.size() && !line.empty() && view.shape[1] > 0, "fit_lines: points of ",
                                 view.shape, " and ", line.size(), " line numbers (expected N x d and N)");
    const std::size_t d = view.shape[1];
    const std::size_t count = 1 + *std::max_element(line.begin(), line.end());
    fitted_lines result{tensor<double, 2>::from_shape({count, d}), tensor<double, 2>::from_shape({count, d}), {}};
    for (std::size_t l = 0; l < count; ++l) {
        std::vector<std::size_t> members;
        for (std::size_t n = 0; n < line.size(); ++n) {
            if (line[n] == l) {
                members.push_back(n);
            }
        }
        detail::require<shape_error>(members.size() >= 2, "fit_lines: ", members.size(), " points on line ", l, " (expected at least 2)");
        auto offsets = tensor<double, 2>::from_shape({members.size(), d});
        for (std::size_t i = 0; i < d; ++i) {
            double mean = 0;
            for (const std::size_t n : members) {
                mean += static_cast<double>(view.data[n * d + i]) / static_cast<double>(members.size());
            }
            result.anchors(l, i) = mean;
            for (std::size_t m = 0; m < members.size(); ++m) {
                offsets(m, i) = static_cast<double>(view.data[members[m] * d + i]) - mean;
            }
        }
        const auto svd = thin_svd(offsets);
        detail::require<argument_error>(svd.singular_values[0] > 0, "fit_lines: all points of line ", l, " coincide");
        double along = 0, rest = 0;
        for (std::size_t i = 0; i < d; ++i) {
            along += svd.vt(0, i) * (offsets(members.size() - 1, i) - offsets(0, i));
        }
        for (std::size_t i = 0; i < d; ++i) {
            result.directions(l, i) = along < 0 ? -svd.vt(0, i) : svd.vt(0, i);
        }
        for (std::size_t r = 1; r < svd.singular_values.size(); ++r) {
            rest += svd.singular_values[r] * svd.singular_values[r];
        }
        result.root_mean_square.push_back(std::sqrt(rest / static_cast<double>(members.size())));
    }
    return result;
}

/// The least-squares intersection of lines a_l + t d_l: the x that minimises sum_l |(I - d_l d_l')(x - a_l)|^2. Host only.
///
/// \param anchors    lines x d: a point on each line
/// \param directions lines x d: d_l, of any length but 0
/// \return           the point, its distance to every line, their root mean square
/// \throws shape_error if extents differ or there are fewer than two lines; argument_error for NaN or infinity, a direction
///         of length 0, or lines that are all parallel, for which there is no single point
///
/// Cost: lines d^2 + d^3. Source: the origin of expressions of Paper I section IV-C, Fig. 7; the formula is the textbook's.
/// \snippet tests/unit/lines.cpp lines
template <any_tensor Anchors, any_tensor Directions>
line_intersection intersect_lines(const Anchors& anchors, const Directions& directions) {
    const auto points = detail::evaluate(cpu_policy{}, anchors);
    const auto slopes = detail::evaluate(cpu_policy{}, directions);
    const extents& shape = points.view().shape;
    detail::require<shape_error>(shape.size() == 2 && slopes.view().shape == shape && shape[0] >= 2 && shape[1] >= 1,
                                 "intersect_lines: anchors of ", shape, " and directions of ", slopes.view().shape,
                                 " (expected lines x d twice, at least two lines)");
    detail::require_finite(cpu_policy{}, points.view().data, points.view().size(), "intersect_lines", "the anchors");
    detail::require_finite(cpu_policy{}, slopes.view().data, slopes.view().size(), "intersect_lines", "the directions");
    const std::size_t count = shape[0], d = shape[1];
    auto units = tensor<double, 2>::from_shape({count, d});
    auto system = tensor<double, 2>::from_shape({d, d});
    auto right = tensor<double, 2>::from_shape({d, 1});
    std::fill(system.begin(), system.end(), 0.0);
    std::fill(right.begin(), right.end(), 0.0);
    const auto anchor = [&](std::size_t l, std::size_t i) { return static_cast<double>(points.view().data[l * d + i]); };
    for (std::size_t l = 0; l < count; ++l) {
        double length = 0;
        for (std::size_t i = 0; i < d; ++i) {
            length = std::hypot(length, static_cast<double>(slopes.view().data[l * d + i]));
        }
        detail::require<argument_error>(length > 0, "intersect_lines: the direction of line ", l, " has length 0");
        double along = 0;
        for (std::size_t i = 0; i < d; ++i) {
            units(l, i) = static_cast<double>(slopes.view().data[l * d + i]) / length;
            along += units(l, i) * anchor(l, i);
        }
        for (std::size_t i = 0; i < d; ++i) {
            right(i, 0) += anchor(l, i) - along * units(l, i);
            for (std::size_t j = 0; j < d; ++j) {
                system(i, j) += (i == j ? 1.0 : 0.0) - units(l, i) * units(l, j);
            }
        }
    }
    const double smallest = eigh(system, {.count = 0}).values.back();
    constexpr double parallel = 1e-12;
    detail::require<argument_error>(d > 1 && smallest > parallel * static_cast<double>(count), "intersect_lines: ", count,
                                    " lines in ", d, " dimensions are parallel (no single point is nearest)");
    const auto solution = cholesky_solve(system, right);
    line_intersection result{tensor<double, 1>::from_shape({d}), {}, 0};
    for (std::size_t i = 0; i < d; ++i) {
        result.point(i) = solution(i, 0);
    }
    for (std::size_t l = 0; l < count; ++l) {
        double along = 0, square = 0;
        for (std::size_t i = 0; i < d; ++i) {
            along += units(l, i) * (result.point(i) - anchor(l, i));
        }
        for (std::size_t i = 0; i < d; ++i) {
            const double off = result.point(i) - anchor(l, i) - along * units(l, i);
            square += off * off;
        }
        result.distances.push_back(std::sqrt(square));
        result.root_mean_square += square / static_cast<double>(count);
    }
    result.root_mean_square = std::sqrt(result.root_mean_square);
    return result;
}

}  // namespace moden
