// Gradient steps on an attribute and walks learned from an edit of images, on every policy.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/maps/affine_map.hpp>
#include <moden/maps/automatic_map.hpp>
#include <moden/spectral/steering.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;
using moden::steering_status;

namespace {

/// Three attributes that are not linear: a squared distance, a product and something that saturates.
struct attributes {
    template <class S>
    MODEN_HOST_DEVICE void operator()(const S* x, S* y) const {
        using std::tanh;
        y[0] = (x[0] - S(1)) * (x[0] - S(1)) + x[1] * x[1] + S(0.5) * x[2] * x[2];
        y[1] = x[0] * x[1] + x[2];
        y[2] = tanh(x[2]);
    }
};

/// Bumps of a picture of 20 pixels at a place and of a height that the two inputs say.
struct bump {
    template <class S>
    MODEN_HOST_DEVICE void operator()(const S* x, S* y) const {
        using std::exp;
        for (int i = 0; i < 20; ++i) {
            const S apart = S(0.3f * static_cast<float>(i)) - S(3) - x[0];
            y[i] = x[1] * exp(-apart * apart / S(2));
        }
    }
};

/// The bumps up to a height of 2.3, and nothing above.
struct fence {
    template <class S>
    MODEN_HOST_DEVICE void operator()(const S* x, S* y) const {
        using std::log;
        bump{}(x, y);
        for (int i = 0; i < 20; ++i) {
            y[i] = x[1] > S(2.3f) ? log(S(-1)) : y[i];
        }
    }
};

/// The picture made brighter by a share of alpha.
struct brighter {
    template <class Policy, class Image>
    auto operator()(const Policy& policy, const Image& image, double alpha) const {
        using T = moden::value_type_of<Image>;
        auto result = policy.template make_tensor<T, 1>({image.size()});
        policy.transform(image.size(), moden::detail::scaled_copy<T>{image.data(), static_cast<T>(1 + 0.25 * alpha), result.data()});
        return result;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("steer: linear attributes are reached in one step, along the gradient", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(random_matrix(3, 6, 1));
    const array a = to_array(host);
    const moden::affine_map map(policy, to_policy(policy, host));
    const auto start = random_tensor<T, 1>({6}, 2);
    const auto x = to_policy(policy, start);
    //! [steer]
    const auto there = moden::steer(policy, map, x, {.attribute = 1, .target = 2.0, .tolerance = 1e-4, .step = 100});
    const auto alone = moden::steer(policy, map, x, {.attribute = 1, .target = 2.0, .tolerance = 1e-4, .step = 100, .preserve = {0, 2}});
    // there.path: points, a row each, from x to where output 1 is 2; there.outputs: all outputs on the way
    //! [steer]
    CHECK(there.status == steering_status::reached_target);
    CHECK(there.iterations == 1);
    const array path = to_array(policy, there.path), outputs = to_array(policy, there.outputs);
    REQUIRE(path.shape == moden::extents{2, 6});
    REQUIRE(outputs.shape == moden::extents{2, 3});
    CHECK(outputs(1, 1) == doctest::Approx(2).epsilon(100 * Cell::eps));
    double square = 0;
    for (std::size_t j = 0; j < 6; ++j) {
        square += a(1, j) * a(1, j);
    }
    for (std::size_t j = 0; j < 6; ++j) {
        CHECK(path(0, j) == static_cast<double>(start(j)));
        CHECK(std::abs(path(1, j) - path(0, j) - (2 - outputs(0, 1)) / square * a(1, j)) <= 100 * Cell::eps);
    }
    CHECK(alone.status == steering_status::reached_target);
    const array kept = to_array(policy, alone.outputs);
    CHECK(kept(1, 1) == doctest::Approx(2).epsilon(100 * Cell::eps));
    CHECK(std::abs(kept(1, 0) - kept(0, 0)) <= 100 * Cell::eps);
    CHECK(std::abs(kept(1, 2) - kept(0, 2)) <= 100 * Cell::eps);
    CHECK(std::abs(outputs(1, 0) - outputs(0, 0)) > 1e-2);
}

TEST_CASE_TEMPLATE("steer: steps of Eq. 2.22, fixed lengths, both signs, and ends", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto map = moden::make_automatic_map<T>(3, 3, attributes{});
    const auto x = to_policy(policy, moden::tensor<T, 1>{T(2), T(1), T(-0.5)});
    // Far from the target a step is lambda times the gradient: of output 0 that is (2, 2, -0.5) at x.
    const auto down = moden::steer(policy, map, x, {.target = -std::numeric_limits<double>::infinity(), .step = 0.05, .max_iterations = 40});
    CHECK(down.status == steering_status::reached_max_iterations);
    CHECK(down.iterations == 40);
    const array path = to_array(policy, down.path), values = to_array(policy, down.outputs);
    CHECK(path(1, 0) == doctest::Approx(1.9).epsilon(10 * Cell::eps));
    CHECK(path(1, 1) == doctest::Approx(0.9).epsilon(10 * Cell::eps));
    CHECK(path(1, 2) == doctest::Approx(-0.475).epsilon(10 * Cell::eps));
    for (std::size_t i = 1; i <= 40; ++i) {
        CHECK(values(i, 0) < values(i - 1, 0));
    }
    const auto even = moden::steer(policy, map, x, {.target = 6, .tolerance = 1e-4, .step = 0.125, .rule = moden::steering_step::fixed_length});
    CHECK(even.status == steering_status::reached_target);
    const array walked = to_array(policy, even.path), reached = to_array(policy, even.outputs);
    CHECK(std::abs(reached(even.iterations, 0) - 6) <= 1e-4);
    for (std::size_t i = 1; i <= even.iterations; ++i) {
        double square = 0;
        for (std::size_t j = 0; j < 3; ++j) {
            square += std::pow(walked(i, j) - walked(i - 1, j), 2);
        }
        CHECK(std::sqrt(square) <= 0.125 * (1 + 100 * Cell::eps));
    }
    // What is preserved drifts by the curvature alone: half the step, about half the drift.
    const auto drift = [&](double step) {
        const auto found = moden::steer(policy, map, x, {.target = 4, .tolerance = 1e-4, .step = step, .rule = moden::steering_step::fixed_length, .preserve = {1}});
        CHECK(found.status == steering_status::reached_target);
        const array along_path = to_array(policy, found.outputs);
        return std::abs(along_path(found.iterations, 1) - along_path(0, 1));
    };
    const double coarse = drift(0.04), fine = drift(0.01);
    CHECK(coarse < 0.02);
    CHECK(fine < 0.5 * coarse);
    // The minimum has no gradient; nor has an attribute that is to be kept as well, under another name.
    const auto flat = to_policy(policy, moden::tensor<T, 1>{T(1), T(0), T(0)});
    const auto stuck = moden::steer(policy, map, flat, {.target = 5});
    CHECK(stuck.status == steering_status::no_gradient);
    CHECK(stuck.iterations == 0);
    array twice({2, 3});
    twice(0, 0) = twice(0, 2) = 1, twice(1, 0) = twice(1, 2) = 2;
    const moden::affine_map same(policy, to_policy(policy, to_tensor<T, 2>(twice)));
    CHECK(moden::steer(policy, same, x, {.target = 5, .preserve = {1}}).status == steering_status::no_gradient);
    CHECK(moden::steer(policy, map, x, {.target = 4, .progress = [](std::size_t i, double) { return i < 3; }}).iterations == 3);
    const auto refused = [&](const moden::steering_options& options, const char* part) {
        CHECK_THROWS_WITH_AS(moden::steer(policy, map, x, options), doctest::Contains(part), moden::argument_error);
    };
    refused({.attribute = 3}, "steer: attribute 3 of a map with 3 outputs");
    refused({.preserve = {0}}, "output 0 to be preserved, of 3 outputs with attribute 0 to be steered");
    refused({.preserve = {7}}, "output 7 to be preserved");
    refused({.target = std::nan("")}, "target");
    refused({.step = 0}, "step 0");
    refused({.tolerance = -1}, "tolerance -1");
}

TEST_CASE_TEMPLATE("linear_walk: the direction that does what the edit does", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto map = moden::make_automatic_map<T>(2, 20, bump{});
    // All bumps have height 2, so that a quarter more per alpha is a step of 0.5 in the second input.
    const auto codes = to_policy(policy, moden::tensor<T, 2>{{T(-1), T(2)}, {T(0.25), T(2)}, {T(1), T(2)}});
    //! [linear_walk]
    const auto walk = moden::linear_walk(policy, map, codes, brighter{}, {.strengths = {-1, 0, 1, 2}});
    //! [linear_walk]
    CHECK(walk.status == moden::iteration_status::converged);
    const array d = to_array(policy, walk.direction);
    CHECK(std::abs(d.data[0]) <= 3e-3);
    CHECK(std::abs(d.data[1] - 0.5) <= 3e-3);
    CHECK(walk.unexplained < 1e-4);
    CHECK(walk.value_count == 3 + 4 * (walk.vjp_count / 3));  // alpha = 0 needs no cotangent
    // Of bumps of two heights no straight direction makes all brighter by a quarter.
    const auto mixed = to_policy(policy, moden::tensor<T, 2>{{T(-1), T(1)}, {T(0.25), T(3)}});
    const auto compromise = moden::linear_walk(policy, map, mixed, brighter{}, {.strengths = {1}});
    // d_1 minimises (d - 0.25)^2 + (d - 0.75)^2: 0.5, and 0.125 of 0.625 is left.
    CHECK(std::abs(to_array(policy, compromise.direction).data[1] - 0.5) <= 5e-2);
    CHECK(compromise.unexplained == doctest::Approx(0.2).epsilon(0.1));
    CHECK_THROWS_WITH_AS(moden::linear_walk(policy, map, codes, brighter{}, {.strengths = {0, 0}}), doctest::Contains("2 strengths, none of which"),
                         moden::argument_error);
    CHECK_THROWS_AS(moden::linear_walk(policy, map, codes, brighter{}, {.strengths = {std::nan("")}}), moden::argument_error);
    const auto refused = [&](const moden::linear_walk_options& options, const char* part) {
        CHECK_THROWS_WITH_AS(moden::linear_walk(policy, map, codes, brighter{}, options), doctest::Contains(part), moden::argument_error);
    };
    refused({.tolerance = -1}, "linear_walk: tolerance -1");
    refused({.max_iterations = 0}, "linear_walk: tolerance 1e-06, max_iterations 0");
    // A map without values beyond some place: refused at the start, stepped back from on the way.
    const auto fenced = moden::make_automatic_map<T>(2, 20, fence{});
    const auto walked = moden::linear_walk(policy, fenced, to_policy(policy, moden::tensor<T, 2>{{T(0), T(2)}}), brighter{}, {.strengths = {1}});
    CHECK(to_array(policy, walked.direction).data[1] > 0.1);
    CHECK(to_array(policy, walked.direction).data[1] <= 0.3 + 10 * Cell::eps);
    CHECK_THROWS_WITH_AS(moden::linear_walk(policy, fenced, to_policy(policy, moden::tensor<T, 2>{{T(0), T(3)}}), brighter{}),
                         doctest::Contains("linear_walk: the map's value holds 20 values"), moden::argument_error);
    const auto narrow = to_policy(policy, random_tensor<T, 2>({2, 3}, 5));
    CHECK_THROWS_WITH_AS(moden::linear_walk(policy, map, narrow, brighter{}), doctest::Contains("the codes have the shape 2 x 3"), moden::shape_error);
}
