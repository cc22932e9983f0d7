// Networks from codes to attributes, learned from landmarks, on every policy.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <moden/maps/check_derivatives.hpp>
#include <moden/maps/composed_map.hpp>
#include <moden/nrsfm/attribute_regression.hpp>

#include "scenes.hpp"

using namespace moden_test;
using namespace nrsfm_test;

namespace {

/// Codes whose attributes are known: q = mean + A w, bent a little if asked; the landmarks follow from the model. k12 is constant.
struct planted {
    array codes, attributes;

    planted(std::size_t samples, std::size_t width, std::size_t basis, double bend, std::uint64_t seed) : codes({samples, width}), attributes({samples, 8 + basis}) {
        number_source next(seed);
        array mix({8 + basis, width});
        for (double& x : mix.data) {
            x = next();
        }
        for (double& x : codes.data) {
            x = 2 + next();
        }
        for (std::size_t n = 0; n < samples; ++n) {
            for (std::size_t i = 0; i < 8 + basis; ++i) {
                double sum = 0;
                for (std::size_t j = 0; j < width; ++j) {
                    sum += mix(i, j) * (codes(n, j) - 2);
                }
                const double moved = 0.1 * (sum + bend * sum * sum);
                attributes(n, i) = i == 1 ? 0 : i == 0 || i == 2 ? 1 + moved : moved;
            }
        }
    }
};

}  // namespace

TEST_CASE_TEMPLATE("an attribute regressor learns planted attributes from landmarks", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const scene world({.points = 15, .basis = 2, .seed = 3});
    const auto model = model_of<T>(policy, world);
    const planted truth(1200, 5, 2, 0.5, 6);
    const auto codes = to_policy(policy, to_tensor<T, 2>(truth.codes));
    const auto attributes = to_policy(policy, to_tensor<T, 2>(truth.attributes));
    const auto landmarks = model.landmarks(policy, attributes);
    //! [fit_attribute_regressor]
    const auto fit = moden::fit_attribute_regressor(policy, model, codes, landmarks, attributes,
                                                    {.hidden = {32, 32}, .max_iterations = 60, .batch = 32, .learning_rate = 3e-3, .seed = 1});
    const auto found = fit.network.values(policy, codes);              // N x (8 + K), and fit.network is a differentiable map
    const moden::composed_map seen(model, fit.network);               // w -> landmarks
    //! [fit_attribute_regressor]
    CHECK(fit.iterations == 60);
    CHECK(fit.status == moden::iteration_status::reached_max_iterations);
    CHECK(fit.validation_samples == 120);
    CHECK(fit.history.size() == 60);
    CHECK(fit.validation_history.size() == 60);
    CHECK(fit.validation_history[fit.best_iteration - 1] <= fit.validation_history.back());
    // What no linear map can say is learned, too: of samples that were never seen, a fraction of what such a map leaves is left.
    const auto straight_fit = moden::fit_attribute_regressor(policy, model, codes, landmarks, attributes,
                                                             {.hidden = {}, .max_iterations = 60, .batch = 32, .learning_rate = 3e-3, .seed = 1});
    const double left = fit.validation_history[fit.best_iteration - 1], left_by_linear = straight_fit.validation_history[straight_fit.best_iteration - 1];
    CHECK(left_by_linear > 0.05 * fit.variance);
    CHECK(left < 0.1 * left_by_linear);
    CHECK(fit.history.back() < fit.history.front());

    // The losses are those of the network that is returned, in the codes' and attributes' own units.
    const array q = to_array(policy, found), x = to_array(policy, landmarks), r = to_array(policy, model.landmarks(policy, found));
    double sum = 0, mean_angle = 0;
    for (std::size_t i = 0; i < x.data.size(); ++i) {
        sum += std::pow(x.data[i] - r.data[i], 2);
    }
    CHECK(sum / 1200 < 0.1 * left_by_linear);
    for (std::size_t n = 0; n < 1200; ++n) {
        CHECK(std::abs(q(n, 1)) <= 1e3 * Cell::eps);  // what never varied stays
        mean_angle += std::abs(q(n, 4) - truth.attributes(n, 4)) / 1200;
    }
    CHECK(mean_angle < 0.02);  // of angles that spread over 0.1 radians: they were learned from landmarks alone
    const auto point = to_policy(policy, random_tensor<T, 1>({5}, 2));
    const auto check = moden::check_derivatives(policy, seen, point);
    CHECK(check.adjoint <= 200 * Cell::eps);

    // The same seed gives the same network; a model without hidden layers and a weight for the given attributes work as well.
    const auto short_options = moden::attribute_regression_options{.hidden = {8}, .max_iterations = 2, .batch = 64, .seed = 4};
    const auto once = moden::fit_attribute_regressor(policy, model, codes, landmarks, attributes, short_options);
    const auto twice = moden::fit_attribute_regressor(policy, model, codes, landmarks, attributes, short_options);
    CHECK(once.history == twice.history);
    CHECK(to_array(policy, once.network.values(policy, codes)).data == to_array(policy, twice.network.values(policy, codes)).data);
    const planted straight(300, 5, 2, 0, 7);
    const auto of_straight = to_policy(policy, to_tensor<T, 2>(straight.attributes));
    const auto linear = moden::fit_attribute_regressor(policy, model, to_policy(policy, to_tensor<T, 2>(straight.codes)), model.landmarks(policy, of_straight), of_straight,
                                                       {.hidden = {}, .max_iterations = 80, .batch = 20, .learning_rate = 0.02, .attribute_weight = 1});
    CHECK(linear.network.layers() == 1);
    CHECK(linear.validation_history.back() <= 1e-3 * linear.variance);
}

TEST_CASE_TEMPLATE("fit_attribute_regressor descends along its loss, stops when told to and refuses nonsense", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const scene world({.points = 12, .basis = 1, .seed = 5});
    const auto model = model_of<T>(policy, world);
    const planted truth(60, 4, 1, 0, 8);
    const auto codes = to_policy(policy, to_tensor<T, 2>(truth.codes));
    const auto attributes = to_policy(policy, to_tensor<T, 2>(truth.attributes));
    const auto landmarks = model.landmarks(policy, attributes);

    // The gradient against differences of the loss, with and without a weight for the attributes.
    const moden::detail::attribute_training training(policy, model, codes.data(), landmarks.data(), attributes.data(), 60, 4);
    moden::multilayer_perceptron<Policy, T> net(policy, {4, 6, 9}, {.hidden = moden::activation::tanh, .seed = 2});
    std::vector<std::size_t> some{3, 17, 59, 20, 8};
    const placed<Policy, std::size_t> samples(policy, some);
    const placed<Policy, T> gradient(policy, std::vector<T>(net.parameter_count()));
    training.loss(net, samples.data(), some.size(), 0.0, gradient.data());
    const std::vector<T> slope = gradient.back();
    std::vector<T> at(net.parameter_count());
    policy.download(static_cast<const T*>(net.parameters()), at.data(), at.size());
    const double step = std::cbrt(Cell::eps), scale = static_cast<double>(some.size()) * training.variance();
    for (std::size_t p = 0; p < at.size(); p += 7) {
        double losses[2];
        for (int side = 0; side < 2; ++side) {
            std::vector<T> moved = at;
            moved[p] += static_cast<T>(side == 0 ? step : -step);
            policy.upload(moved.data(), net.parameters(), moved.size());
            losses[side] = training.loss(net, samples.data(), some.size(), 0.0, nullptr) / scale;
        }
        CHECK(std::abs((losses[0] - losses[1]) / (2 * step) - static_cast<double>(slope[p])) <= 200 * std::pow(Cell::eps, 2.0 / 3));
    }

    const auto fit = [&](const moden::attribute_regression_options& options) { return moden::fit_attribute_regressor(policy, model, codes, landmarks, attributes, options); };
    const auto told = fit({.hidden = {4}, .max_iterations = 9, .validation = 0, .progress = [](std::size_t i, double) { return i < 3; }});
    CHECK(told.iterations == 3);
    CHECK(told.status == moden::iteration_status::stopped_by_callback);
    CHECK(told.best_iteration == 3);
    CHECK(told.validation_history.empty());
    // Steps of 1 per weight do not improve anything for long.
    const auto early = fit({.hidden = {4}, .max_iterations = 500, .learning_rate = 1, .validation = 0.3, .patience = 3});
    CHECK(early.status == moden::iteration_status::converged);
    CHECK(early.iterations == early.best_iteration + 3);
    CHECK(early.validation_samples == 18);

    CHECK_THROWS_WITH_AS(fit({.max_iterations = 0}), doctest::Contains("max_iterations 0"), moden::argument_error);
    CHECK_THROWS_AS(fit({.batch = 0}), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.learning_rate = 0}), doctest::Contains("learning_rate 0"), moden::argument_error);
    CHECK_THROWS_AS(fit({.attribute_weight = -1}), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.learning_rate = 0.1, .weight_decay = 10}), doctest::Contains("weight_decay 10"), moden::argument_error);
    // Weights that shrink leave less of what was learned, and the mean attributes where nothing else is left.
    const auto kept = fit({.hidden = {8}, .max_iterations = 30, .learning_rate = 0.01, .validation = 0}), shrunk = fit({.hidden = {8}, .max_iterations = 30,
                           .learning_rate = 0.01, .weight_decay = 90, .validation = 0});
    CHECK(kept.history.back() < shrunk.history.back());
    CHECK(shrunk.history.back() == doctest::Approx(shrunk.variance).epsilon(0.2));
    if constexpr (std::is_same_v<T, float>) {  // one step, to where there are no numbers: the loss is of the network before it
        CHECK_THROWS_WITH_AS(fit({.hidden = {8}, .max_iterations = 1, .batch = 60, .learning_rate = 1e39, .validation = 0}),
                             doctest::Contains("parameters of the network are NaN or infinite after epoch 1"), moden::solver_error);
    }
    CHECK_THROWS_WITH_AS(fit({.validation = 1}), doctest::Contains("validation 1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.validation = 0, .patience = 2}), doctest::Contains("patience 2 without"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.validation = 0.99}), doctest::Contains("60 samples, 59 of them"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.hidden = {4, 0}}), doctest::Contains("the least of which is 0"), moden::argument_error);
    const auto fewer = to_policy(policy, random_tensor<T, 2>({59, 4}, 1));
    CHECK_THROWS_WITH_AS(moden::fit_attribute_regressor(policy, model, fewer, landmarks, attributes), doctest::Contains("codes of 59 x 4"), moden::shape_error);
    auto broken = truth.codes;
    broken.data[7] = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(moden::fit_attribute_regressor(policy, model, to_policy(policy, to_tensor<T, 2>(broken)), landmarks, attributes),
                         doctest::Contains("the matrix of codes holds 1 values"), moden::argument_error);
    CHECK(moden::attribute_indices(4, moden::shape_attribute::calibration) == std::vector<std::size_t>{0, 1, 2});
    CHECK(moden::attribute_indices(4, moden::shape_attribute::rotation) == std::vector<std::size_t>{3, 4, 5});
    CHECK(moden::attribute_indices(4, moden::shape_attribute::deformation) == std::vector<std::size_t>{6, 7, 8, 9});
    CHECK(moden::attribute_indices(4, moden::shape_attribute::translation) == std::vector<std::size_t>{10, 11});
}
