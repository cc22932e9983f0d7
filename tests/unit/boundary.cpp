// Linear boundaries: known margins, optimality conditions, selection by score.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <moden/editing/linear_boundary.hpp>

namespace {

/// Two overlapping clouds in five dimensions.
struct clouds {
    moden::tensor<double, 2> codes = moden::tensor<double, 2>::from_shape({200, 5});
    std::vector<int> labels;

    clouds() {
        moden::fill_normal(moden::cpu_policy{}, codes.data(), codes.size(), 3);
        for (std::size_t n = 0; n < 200; ++n) {
            labels.push_back(n % 3 == 0 ? 1 : -1);
            codes(n, 0) += 0.8 * labels.back();
            codes(n, 3) -= 0.5 * labels.back();
        }
    }
};

double objective(const clouds& data, const std::vector<double>& w, const moden::linear_boundary_options& options) {
    double value = 0;
    for (const double x : w) {
        value += 0.5 * x * x;
    }
    for (std::size_t n = 0; n < data.labels.size(); ++n) {
        double f = w[5];
        for (std::size_t i = 0; i < 5; ++i) {
            f += w[i] * data.codes(n, i);
        }
        const double loss = std::max(0.0, 1 - data.labels[n] * f);
        value += options.cost * (options.loss == moden::boundary_loss::hinge ? loss : loss * loss);
    }
    return value;
}

}  // namespace

TEST_CASE("two points: the boundary lies halfway") {
    // w along the difference; the offset is regularised too: min |w|^2 + b^2, w 3 + b >= 1, w 1 + b <= -1  =>  w = 1, b = -2.
    const moden::tensor<float, 2> codes{{3, 0}, {1, 0}};
    const auto found = moden::linear_boundary(codes, {1, -1}, {.cost = 1e6, .tolerance = 1e-9});
    CHECK(found.status == moden::iteration_status::converged);
    CHECK(found.normal(0, 0) == doctest::Approx(1));
    CHECK(found.normal(0, 1) == doctest::Approx(0));
    CHECK(found.offset == doctest::Approx(-2).epsilon(1e-4));
    CHECK(found.margin == doctest::Approx(1).epsilon(1e-4));
    CHECK(found.accuracy == 1);
    CHECK(found.support == 2);
}

TEST_CASE("no nearby boundary has a smaller objective") {
    const clouds data;
    const auto& codes = data.codes;
    const auto& labels = data.labels;
    for (const auto loss : {moden::boundary_loss::hinge, moden::boundary_loss::squared_hinge}) {
        const moden::linear_boundary_options options{.cost = 0.5, .loss = loss, .tolerance = 1e-8};
        //! [linear_boundary]
        const auto boundary = moden::linear_boundary(codes, labels, options);  // codes: N x d, labels: 1 or -1
        const auto& direction = boundary.normal;                               // 1 x d, of length 1
        //! [linear_boundary]
        CHECK(boundary.status == moden::iteration_status::converged);
        CHECK(boundary.duality_gap >= -1e-9);
        CHECK(boundary.duality_gap <= 1e-8 * boundary.objective);
        std::vector<double> w;
        for (std::size_t i = 0; i < 5; ++i) {
            w.push_back(direction(0, i) / boundary.margin);
        }
        w.push_back(boundary.offset / boundary.margin);
        const double best = objective(data, w, options);
        CHECK(best == doctest::Approx(boundary.objective).epsilon(1e-12));
        for (double& x : w) {
            for (const double step : {0.01, -0.01}) {
                x += step;
                CHECK(objective(data, w, options) > best - 1e-6);
                x -= step;
            }
        }
        CHECK(boundary.accuracy > 0.75);
        CHECK(boundary.accuracy < 1);
        CHECK(direction(0, 0) > 0.5);
        CHECK(direction(0, 3) < -0.2);
    }
}

TEST_CASE("the seed of the order has no say in the result") {
    const clouds data;
    const auto one = moden::linear_boundary(data.codes, data.labels, {.tolerance = 1e-9, .seed = 1});
    const auto other = moden::linear_boundary(data.codes, data.labels, {.tolerance = 1e-9, .seed = 2});
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(one.normal(0, i) == doctest::Approx(other.normal(0, i)).epsilon(1e-3));
    }
    std::vector<double> history;
    const auto stopped = moden::linear_boundary(data.codes, data.labels, {.tolerance = 1e-12, .progress = [&](std::size_t, double value) {
                                                                              history.push_back(value);
                                                                              return history.size() < 3;
                                                                          }});
    CHECK(stopped.status == moden::iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 3);
}

TEST_CASE("classes by score") {
    const std::vector<double> scores{0.3, -1, 5, 0, 2, 9, -3, 1, 1, 4};
    const auto found = moden::extremes_by_score(scores, 0.2);
    CHECK(found.lowest == std::vector<std::size_t>{6, 1});
    CHECK(found.highest == std::vector<std::size_t>{5, 2});
    CHECK(moden::extremes_by_score(scores, 0.01).highest == std::vector<std::size_t>{5});  // at least one
    CHECK(moden::extremes_by_score(scores, 0.5).lowest.size() == 5);
    CHECK_THROWS_AS(moden::extremes_by_score(scores, 0), moden::argument_error);
    CHECK_THROWS_AS(moden::extremes_by_score(scores, 0.6), moden::argument_error);
    CHECK_THROWS_AS(moden::extremes_by_score({1.0}, 0.5), moden::argument_error);
    CHECK_THROWS_AS(moden::extremes_by_score({1.0, std::numeric_limits<double>::quiet_NaN()}, 0.5), moden::argument_error);
}

TEST_CASE("classes that cannot be separated by anything are refused") {
    const clouds data;
    CHECK_THROWS_WITH_AS(moden::linear_boundary(data.codes, std::vector<int>(200, 1)), doctest::Contains("negative class is empty (200 of 200"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::linear_boundary(data.codes, std::vector<int>(200, 0)), doctest::Contains("positive class is empty"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::linear_boundary(data.codes, std::vector<int>(199, 1)), doctest::Contains("200 x 5 and 199 labels"), moden::shape_error);
    CHECK_THROWS_AS(moden::linear_boundary(data.codes, data.labels, {.cost = 0}), moden::argument_error);
    CHECK_THROWS_AS(moden::linear_boundary(data.codes, data.labels, {.tolerance = 0}), moden::argument_error);
    auto spoilt = data.codes;
    spoilt(3, 2) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(moden::linear_boundary(spoilt, data.labels), moden::argument_error);
    const moden::tensor<double, 2> same{{1, 2}, {1, 2}};
    CHECK_THROWS_WITH_AS(moden::linear_boundary(same, {1, -1}), doctest::Contains("nothing separates"), moden::argument_error);
}
