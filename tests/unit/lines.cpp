// Lines fitted to trajectories and the point where they meet.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <moden/editing/line_intersection.hpp>

namespace {

/// Points on `count` lines through a common point, at distances 1, 2, 3 from it.
struct star {
    moden::tensor<double, 2> points;
    std::vector<std::size_t> line;
    std::vector<double> center{0.5, -2, 1.25};

    explicit star(std::size_t count) : points(moden::tensor<double, 2>::from_shape({3 * count, 3})) {
        for (std::size_t l = 0; l < count; ++l) {
            const double angle = 0.7 * static_cast<double>(l), height = 0.3 * static_cast<double>(l * l);
            const double direction[3] = {std::cos(angle), std::sin(angle), height};
            for (std::size_t step = 0; step < 3; ++step) {
                for (std::size_t i = 0; i < 3; ++i) {
                    points(line.size(), i) = center[i] + (1 + static_cast<double>(step)) * direction[i];
                }
                line.push_back(l);
            }
        }
    }
};

}  // namespace

TEST_CASE("planted lines meet where they should") {
    const star planted(6);
    const auto& points = planted.points;
    const auto& line = planted.line;
    //! [lines]
    const auto lines = moden::fit_lines(points, line);  // points: N x d, line[n]: the number of its line
    const auto origin = moden::intersect_lines(lines.anchors, lines.directions);
    //! [lines]
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(origin.point(i) == doctest::Approx(planted.center[i]).epsilon(1e-12));
    }
    CHECK(origin.root_mean_square < 1e-13);
    CHECK(lines.root_mean_square[3] < 1e-14);
    // Directions have length 1 and point from the first point of a line to its last.
    for (std::size_t l = 0; l < 6; ++l) {
        double length = 0, along = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            length += lines.directions(l, i) * lines.directions(l, i);
            along += lines.directions(l, i) * (points(3 * l + 2, i) - points(3 * l, i));
        }
        CHECK(length == doctest::Approx(1).epsilon(1e-14));
        CHECK(along > 0);
    }
}

TEST_CASE("skew lines: the midpoint of their shortest connection") {
    // The x axis, and a line along y at height 2.
    const moden::tensor<double, 2> anchors{{5, 0, 0}, {0, -3, 2}};
    const moden::tensor<double, 2> directions{{2, 0, 0}, {0, 0.5, 0}};
    const auto nearest = moden::intersect_lines(anchors, directions);
    CHECK(nearest.point(0) == doctest::Approx(0));
    CHECK(nearest.point(1) == doctest::Approx(0));
    CHECK(nearest.point(2) == doctest::Approx(1));
    CHECK(nearest.distances[0] == doctest::Approx(1));
    CHECK(nearest.distances[1] == doctest::Approx(1));
    CHECK(nearest.root_mean_square == doctest::Approx(1));
}

TEST_CASE("noise moves the point by as much as it should, and the nearest point is nearest") {
    star planted(8);
    unsigned state = 7;
    for (double& x : planted.points) {
        state = state * 1664525u + 1013904223u;
        x += 0.01 * (static_cast<double>(state >> 8) / static_cast<double>(1u << 23) - 1);
    }
    const auto lines = moden::fit_lines(planted.points, planted.line);
    const auto origin = moden::intersect_lines(lines.anchors, lines.directions);
    const auto sum_of_squares = [&](const std::vector<double>& x) {
        double sum = 0;
        for (std::size_t l = 0; l < 8; ++l) {
            double along = 0, square = 0;
            for (std::size_t i = 0; i < 3; ++i) {
                along += lines.directions(l, i) * (x[i] - lines.anchors(l, i));
            }
            for (std::size_t i = 0; i < 3; ++i) {
                square += std::pow(x[i] - lines.anchors(l, i) - along * lines.directions(l, i), 2);
            }
            sum += square;
        }
        return sum;
    };
    std::vector<double> x{origin.point(0), origin.point(1), origin.point(2)};
    const double best = sum_of_squares(x);
    CHECK(best == doctest::Approx(8 * origin.root_mean_square * origin.root_mean_square).epsilon(1e-9));
    for (double& coordinate : x) {
        CHECK(std::abs(coordinate - planted.center[static_cast<std::size_t>(&coordinate - x.data())]) < 0.05);
        for (const double step : {1e-3, -1e-3}) {
            coordinate += step;
            CHECK(sum_of_squares(x) > best);
            coordinate -= step;
        }
    }
}

TEST_CASE("lines that have no single nearest point, and points that make no line, are refused") {
    const moden::tensor<double, 2> anchors{{0, 0}, {0, 1}};
    CHECK_THROWS_WITH_AS(moden::intersect_lines(anchors, moden::tensor<double, 2>{{1, 1}, {-2, -2}}), doctest::Contains("are parallel"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::intersect_lines(anchors, moden::tensor<double, 2>{{1, 1}, {0, 0}}), doctest::Contains("line 1 has length 0"),
                         moden::argument_error);
    CHECK_THROWS_AS(moden::intersect_lines(anchors, moden::tensor<double, 2>{{1, 1}}), moden::shape_error);
    CHECK_THROWS_AS(moden::intersect_lines(moden::tensor<double, 2>{{0, 0}}, moden::tensor<double, 2>{{1, 1}}), moden::shape_error);
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(moden::intersect_lines(moden::tensor<double, 2>{{0, nan}, {0, 1}}, moden::tensor<double, 2>{{1, 1}, {0, 1}}),
                    moden::argument_error);
    const moden::tensor<double, 2> points{{0, 0}, {0, 1}, {3, 3}};
    CHECK_THROWS_WITH_AS(moden::fit_lines(points, {0, 0, 1}), doctest::Contains("1 points on line 1"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::fit_lines(points, {0, 0}), doctest::Contains("3 x 2 and 2 line numbers"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::fit_lines(moden::tensor<double, 2>{{1, 1}, {1, 1}}, {0, 0}), doctest::Contains("line 0 coincide"),
                         moden::argument_error);
}
