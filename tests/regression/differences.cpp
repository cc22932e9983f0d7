// Directions from differences of samples: planted ones, the link to regression with an intercept, running averages, edits.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include <moden/editing/direction_algebra.hpp>
#include <moden/regression/differences.hpp>

#include "exact_problems.hpp"

using namespace moden_test;
using namespace regression_test;

namespace {

double dot(const array& a, std::size_t i, const array& b, std::size_t j) {
    double sum = 0;
    for (std::size_t k = 0; k < a.columns(); ++k) {
        sum += a(i, k) * b(j, k);
    }
    return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("planted directions are found from random pairs", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Attributes are linear in the codes but for a constant, which differences do not see.
    const array w = random_matrix(60, 6, 1), gradients = random_matrix(2, 6, 2);
    array y({60, 2});
    for (std::size_t n = 0; n < 60; ++n) {
        for (std::size_t k = 0; k < 2; ++k) {
            y(n, k) = dot(w, n, gradients, k) + 5;
        }
    }
    const auto codes = to_policy(policy, to_tensor<T, 2>(w)), attributes = to_policy(policy, to_tensor<T, 2>(y));
    //! [difference_regression]
    const auto pairs = moden::random_pairs(60, 500, 7);
    const auto fit = moden::difference_regression(policy, codes, attributes, pairs);  // coefficients: d x t
    const auto found = moden::coefficient_directions(policy, fit);                    // t x d, of length 1
    //! [difference_regression]
    const array directions = to_array(policy, found.directions);
    // Attributes near 5 are rounded before differences are taken: hence the factor.
    CHECK(relative_difference(transpose(to_array(policy, fit.coefficients)), gradients) < 100 * Cell::eps);
    for (std::size_t k = 0; k < 2; ++k) {
        const double length = std::sqrt(dot(gradients, k, gradients, k));
        CHECK(found.gains[k] == doctest::Approx(length).epsilon(100 * Cell::eps));
        CHECK(dot(directions, k, directions, k) == doctest::Approx(1).epsilon(4 * Cell::eps));
        CHECK(dot(directions, k, gradients, k) == doctest::Approx(length).epsilon(100 * Cell::eps));
    }
    CHECK(to_array(policy, fit.intercept).data == std::vector<double>(2, 0));
    // A ridge is passed on: it shortens.
    const auto shorter = moden::coefficient_directions(policy, moden::difference_regression(policy, codes, attributes, pairs, {.ridge = 500}));
    CHECK(shorter.gains[0] < 0.9 * found.gains[0]);
    CHECK_THROWS_WITH_AS(moden::difference_regression(policy, codes, attributes, moden::random_pairs(60, 5)),
                         doctest::Contains("5 samples for 6 unknowns"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::difference_regression(policy, codes, attributes, {{0, 1}, {3, 60}}),
                         doctest::Contains("pair 1 is of samples 3 and 60"), moden::argument_error);
    CHECK_THROWS_AS(moden::difference_regression(policy, codes, to_policy(policy, to_tensor<T, 2>(random_matrix(59, 2, 1))), pairs),
                    moden::shape_error);
}

TEST_CASE_TEMPLATE("all pairs say what a regression with an intercept says", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    auto data = planted_regression(25, 4, 2, 1).rounded<T>();
    const auto codes = to_policy(policy, to_tensor<T, 2>(data.x)), attributes = to_policy(policy, to_tensor<T, 2>(data.y));
    std::vector<moden::sample_pair> pairs;
    for (std::size_t i = 0; i < 25; ++i) {
        for (std::size_t j = i + 1; j < 25; ++j) {
            pairs.push_back({i, j});
        }
    }
    const auto of_pairs = moden::difference_regression(policy, codes, attributes, pairs);
    const auto of_samples = moden::least_squares(policy, codes, attributes);
    CHECK(relative_difference(to_array(policy, of_pairs.coefficients), to_array(policy, of_samples.coefficients)) < 200 * Cell::eps);
    // Squares over all pairs are N times those about the mean.
    CHECK(of_pairs.total_squares[0] == doctest::Approx(25 * of_samples.total_squares[0]).epsilon(100 * Cell::eps));
}

TEST_CASE_TEMPLATE("differences of given pairs", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto samples = to_policy(policy, moden::tensor<T, 2>{{1, 2}, {10, 30}, {-4, 0.5}});
    //! [pair_differences]
    const auto differences = moden::pair_differences(policy, samples, {{0, 1}, {2, 2}, {1, 2}});  // rows: to minus from
    //! [pair_differences]
    CHECK(to_array(policy, differences).data == std::vector<double>{9, 28, 0, 0, -14, -29.5});
    CHECK(to_array(policy, moden::pair_differences(policy, samples, {})).rows() == 0);
}

TEST_CASE("random pairs are of different samples, all of them, evenly") {
    const auto pairs = moden::random_pairs(5, 20000, 3);
    std::vector<std::size_t> counts(25, 0);
    for (const auto& pair : pairs) {
        REQUIRE(pair.from < 5);
        REQUIRE(pair.to < 5);
        REQUIRE(pair.from != pair.to);
        ++counts[pair.from * 5 + pair.to];
    }
    for (std::size_t i = 0; i < 25; ++i) {
        // 1000 each; five standard deviations are 154.
        CHECK((i % 6 == 0 ? counts[i] == 0 : std::abs(static_cast<double>(counts[i]) - 1000) < 154));
    }
    const auto again = moden::random_pairs(5, 100, 3), other = moden::random_pairs(5, 100, 4);
    std::size_t same = 0;
    for (std::size_t i = 0; i < 100; ++i) {
        CHECK((again[i].from == pairs[i].from && again[i].to == pairs[i].to));
        same += other[i].from == pairs[i].from && other[i].to == pairs[i].to ? 1 : 0;
    }
    CHECK(same < 30);
    CHECK_THROWS_WITH_AS(moden::random_pairs(1, 3), doctest::Contains("1 samples (expected at least 2)"), moden::argument_error);
}

TEST_CASE_TEMPLATE("running averages of directions", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array estimates = random_matrix(40, 5, 2);
    const auto estimate = [&](std::size_t i) { return to_policy(policy, to_tensor<T, 2>(rows_between(estimates, i, i + 1))); };
    //! [running_direction]
    moden::running_direction<Policy, T> average(policy, 5);  // momentum 0.995
    for (std::size_t step = 0; step < 40; ++step) {
        average.update(estimate(step));
    }
    const auto v = average.direction();  // 1 x d, of length 1
    //! [running_direction]
    array expected = rows_between(estimates, 0, 1);
    for (std::size_t i = 1; i < 40; ++i) {
        for (std::size_t j = 0; j < 5; ++j) {
            expected.data[j] = 0.995 * expected.data[j] + 0.005 * estimates(i, j);
        }
    }
    CHECK(average.count() == 40);
    CHECK(relative_difference(to_array(policy, average.average()), expected) < 4 * Cell::eps);
    CHECK(relative_difference(scaled(to_array(policy, v), frobenius(expected)), expected) < 8 * Cell::eps);
    using running = moden::running_direction<Policy, T>;
    running fresh(policy, 5, 0);
    CHECK_THROWS_WITH_AS(fresh.direction(), doctest::Contains("the average of 0 estimates"), moden::argument_error);
    fresh.update(estimate(3));
    fresh.update(estimate(4));  // no memory at all
    CHECK(relative_difference(to_array(policy, fresh.average()), rows_between(estimates, 4, 5)) < 2 * Cell::eps);
    array bad = rows_between(estimates, 0, 1);
    bad.data[2] = std::numeric_limits<double>::infinity();
    CHECK_THROWS_AS(fresh.update(to_policy(policy, to_tensor<T, 2>(bad))), moden::argument_error);
    CHECK_THROWS_WITH_AS(fresh.update(to_policy(policy, to_tensor<T, 2>(estimates))), doctest::Contains("40 x 5 (expected 5 entries)"),
                         moden::shape_error);
    CHECK(fresh.count() == 2);
    CHECK_THROWS_AS(running(policy, 5, 1), moden::argument_error);
    CHECK_THROWS_AS(running(policy, 5, -0.1), moden::argument_error);
    CHECK_THROWS_AS(running(policy, 0), moden::argument_error);
}

TEST_CASE_TEMPLATE("extrapolation along a direction of any length", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array w = random_matrix(50, 6, 1);
    for (double& x : w.data) {
        x += 0.5;
    }
    const array v = scaled(random_matrix(2, 6, 2), 3);
    const auto codes = to_policy(policy, to_tensor<T, 2>(w)), directions = to_policy(policy, to_tensor<T, 2>(v));
    const auto direction = to_policy(policy, to_tensor<T, 2>(rows_between(v, 0, 1)));
    std::vector<double> s(50);
    for (std::size_t n = 0; n < 50; ++n) {
        s[n] = static_cast<double>(n) * 0.4 - 10;
    }
    //! [extrapolate]
    const auto along = moden::statistics_along(policy, codes, directions);                          // of w' v, v of length 1
    const auto extreme = moden::extrapolate(policy, codes, direction, s, along.deviation[0]);       // one strength per code
    //! [extrapolate]
    for (std::size_t k = 0; k < 2; ++k) {
        const double length = std::sqrt(dot(v, k, v, k));
        double mean = 0, square = 0;
        for (std::size_t n = 0; n < 50; ++n) {
            mean += dot(w, n, v, k) / length / 50;
        }
        for (std::size_t n = 0; n < 50; ++n) {
            square += std::pow(dot(w, n, v, k) / length - mean, 2) / 49;
        }
        CHECK(along.mean[k] == doctest::Approx(mean).epsilon(20 * Cell::eps));
        CHECK(along.deviation[k] == doctest::Approx(std::sqrt(square)).epsilon(20 * Cell::eps));
    }
    const array moved = to_array(policy, extreme);
    const double length = std::sqrt(dot(v, 0, v, 0));
    for (std::size_t n = 0; n < 50; ++n) {
        CHECK(dot(moved, n, v, 0) / length == doctest::Approx(s[n] * along.deviation[0]).epsilon(50 * Cell::eps).scale(1));
        for (std::size_t j = 0; j < 6; ++j) {  // Eq. 4 by its letters, with v / |v|
            const double expected = w(n, j) - dot(w, n, v, 0) / length * v(0, j) / length + s[n] * along.deviation[0] * v(0, j) / length;
            CHECK(moved(n, j) == doctest::Approx(expected).epsilon(20 * Cell::eps).scale(1));
        }
    }
    // The same as the absolute steps of edit_codes.
    const array one = to_array(policy, moden::extrapolate(policy, codes, direction, {2}, 0.7));
    const array other =
        to_array(policy, moden::edit_codes(policy, codes, direction, {2}, {.step = moden::edit_step::absolute, .deviation = 0.7}));
    CHECK(relative_difference(one, other) < 8 * Cell::eps);

    const double nan = std::numeric_limits<double>::quiet_NaN();
    const auto nothing = to_policy(policy, to_tensor<T, 2>(array({1, 6}))),
               short_one = to_policy(policy, to_tensor<T, 2>(random_matrix(1, 5, 1)));
    CHECK_THROWS_WITH_AS(moden::extrapolate(policy, codes, direction, {1, 2}, 1), doctest::Contains("2 strengths for 50 codes"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::extrapolate(policy, codes, direction, {nan}, 1), doctest::Contains("strength nan"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::extrapolate(policy, codes, direction, {1}, nan), doctest::Contains("deviation nan"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::extrapolate(policy, codes, nothing, {1}, 1), doctest::Contains("direction of length 0"), moden::argument_error);
    CHECK_THROWS_AS(moden::extrapolate(policy, codes, short_one, {1}, 1), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::statistics_along(policy, codes, nothing), doctest::Contains("direction 0 has length 0"), moden::argument_error);
    CHECK_THROWS_AS(moden::statistics_along(policy, codes, short_one), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::statistics_along(policy, direction, directions), doctest::Contains("1 codes"), moden::argument_error);
}
