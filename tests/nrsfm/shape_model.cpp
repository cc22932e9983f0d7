// The landmark model and fitting on every policy, and the errors of reconstructions.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <moden/maps/check_derivatives.hpp>
#include <moden/nrsfm/evaluation.hpp>
#include <moden/nrsfm/rank_one_factorization.hpp>
#include <moden/nrsfm/shape_fitting.hpp>
#include <moden/nrsfm/shape_model.hpp>

#include "scenes.hpp"

using namespace moden_test;
using namespace nrsfm_test;

namespace {

/// R(q) by its definition.
array landmarks_of(const scene& world, const array& parameters) {
    const std::size_t count = world.basis.rows(), points = world.shape.columns();
    array result({parameters.rows(), 2, points});
    for (std::size_t n = 0; n < parameters.rows(); ++n) {
        const auto q = [&](std::size_t j) { return parameters(n, j); };
        const array r = rotation(q(3), q(4), q(5));
        for (std::size_t l = 0; l < points; ++l) {
            double seen[2] = {0, 0};
            for (std::size_t i = 0; i < 3; ++i) {
                double x = world.shape(i, l);
                for (std::size_t k = 0; k < count; ++k) {
                    x += q(6 + k) * world.directions(k, i) * world.basis(k, l);
                }
                seen[0] += r(0, i) * x;
                seen[1] += r(1, i) * x;
            }
            result.at({n, 0, l}) = q(0) * seen[0] + q(1) * seen[1] + q(6 + count);
            result.at({n, 1, l}) = q(2) * seen[1] + q(7 + count);
        }
    }
    return result;
}

array random_parameters(std::size_t sets, std::size_t count, std::uint64_t seed) {
    array result({sets, 8 + count});
    number_source next(seed);
    for (std::size_t n = 0; n < sets; ++n) {
        result(n, 0) = 1 + 0.2 * next(), result(n, 1) = 0.1 * next(), result(n, 2) = 1 + 0.2 * next();
        for (std::size_t j = 3; j < 6; ++j) {
            result(n, j) = 0.6 * next();
        }
        for (std::size_t k = 0; k < count; ++k) {
            result(n, 6 + k) = 0.6 * next();
        }
        result(n, 6 + count) = 2 * next(), result(n, 7 + count) = 3 + next();
    }
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("the shape model is what it says, with the derivatives of what it says", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const scene world({.frames = 30, .points = 11, .basis = 4, .noise = 0.01});
    const auto tracks = to_policy(policy, to_tensor<T, 3>(world.tracks));
    //! [shape_model]
    const auto fit = moden::rank_one_factorization(policy, tracks, {.basis_shapes = 4});
    const auto of_fit = moden::make_shape_model(policy, fit);  // R(q), q = (k11, k12, k22, theta_x, theta_y, theta_z, alpha_1..K, t_x, t_y)
    //! [shape_model]
    CHECK(of_fit.input_size() == 12);
    CHECK(of_fit.output_size() == 22);
    static_assert(moden::differentiable_map<std::remove_cvref_t<decltype(of_fit)>, Policy, T>);

    const auto model = model_of<T>(policy, world);
    const array q = random_parameters(5, 4, 8);
    const auto parameters = to_policy(policy, to_tensor<T, 2>(q));
    CHECK(largest_difference(to_array(policy, model.landmarks(policy, parameters)), landmarks_of(world, q)) <= 60 * Cell::eps);
    array first({12});
    std::copy_n(q.data.begin(), 12, first.data.begin());
    const auto point = to_policy(policy, to_tensor<T, 1>(first));
    const array value = to_array(policy, model.value(policy, point));
    for (std::size_t i = 0; i < 22; ++i) {
        CHECK(std::abs(value.data[i] - landmarks_of(world, q).data[i]) <= 60 * Cell::eps);
    }
    const auto checked = moden::check_derivatives(policy, model, point, {.directions = 6});
    CHECK(checked.adjoint <= 50 * Cell::eps);
    CHECK(checked.difference <= 20 * std::pow(Cell::eps, 2.0 / 3));

    // Every column of the Jacobian against differences in double precision of the definition.
    array unit({12, 12});
    for (std::size_t j = 0; j < 12; ++j) {
        unit(j, j) = 1;
    }
    const array jacobian = to_array(policy, model.jvp(policy, point, to_policy(policy, to_tensor<T, 2>(unit))));
    for (std::size_t j = 0; j < 12; ++j) {
        array ahead({1, 12}), behind({1, 12});
        std::copy_n(q.data.begin(), 12, ahead.data.begin());
        std::copy_n(q.data.begin(), 12, behind.data.begin());
        ahead(0, j) += 1e-5, behind(0, j) -= 1e-5;
        const array x = landmarks_of(world, ahead), y = landmarks_of(world, behind);
        for (std::size_t i = 0; i < 22; ++i) {
            CHECK(std::abs((x.data[i] - y.data[i]) / 2e-5 - jacobian(j, i)) <= 1e-8 + 60 * Cell::eps);
        }
    }
    CHECK_THROWS_AS(model.value(policy, to_policy(policy, random_tensor<T, 1>({11}, 1))), moden::shape_error);
    CHECK_THROWS_AS(model.landmarks(policy, to_policy(policy, random_tensor<T, 2>({3, 11}, 1))), moden::shape_error);
    using model_type = moden::rank_one_shape_model<moden::policy_tensor<Policy, T, 2>>;
    const auto shape = to_policy(policy, random_tensor<T, 2>({3, 9}, 1)), basis = to_policy(policy, random_tensor<T, 2>({2, 9}, 1));
    CHECK_THROWS_WITH_AS(model_type(policy, shape, basis, to_policy(policy, random_tensor<T, 2>({3, 3}, 1))), doctest::Contains("directions of 3 x 3"), moden::shape_error);
    CHECK_THROWS_AS(model_type(policy, basis, basis, basis), moden::shape_error);
}

TEST_CASE_TEMPLATE("parameters of landmarks are found again", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene world({.points = 20, .basis = 3, .seed = 4});
    const auto model = model_of<T>(policy, world);
    const array q = random_parameters(150, 3, 9);
    const auto landmarks = to_policy(policy, to_tensor<T, 3>(landmarks_of(world, q)));
    //! [fit_shape_parameters]
    const auto found = moden::fit_shape_parameters(policy, model, landmarks);  // N x (8 + K), every set by itself
    //! [fit_shape_parameters]
    CHECK(found.status == moden::iteration_status::converged);
    CHECK(found.unconverged == 0);
    // Depth and deformation are told apart by what turns out of the image: rounding counts a few hundred times.
    CHECK(largest_difference(to_array(policy, found.parameters), q) <= 5000 * Cell::eps);
    const array again = to_array(policy, model.landmarks(policy, found.parameters));
    CHECK(largest_difference(again, landmarks_of(world, q)) <= 100 * Cell::eps);

    // With noise: a stationary point, no worse than what the landmarks were made of, and never worse with more freedom.
    array noisy = landmarks_of(world, q);
    number_source next(3);
    for (double& x : noisy.data) {
        x += 0.02 * next();
    }
    const auto blurred = to_policy(policy, to_tensor<T, 3>(noisy));
    const auto affine = moden::fit_shape_parameters(policy, model, blurred), unit = moden::fit_shape_parameters(policy, model, blurred, {.cameras = moden::camera_model::unit}),
               scaled_fit = moden::fit_shape_parameters(policy, model, blurred, {.cameras = moden::camera_model::scaled_orthographic});
    const array objectives = to_array(policy, affine.objectives), seen = to_array(policy, model.landmarks(policy, affine.parameters));
    const array of_unit = to_array(policy, unit.objectives), of_scaled = to_array(policy, scaled_fit.objectives);
    double total = 0;
    for (std::size_t n = 0; n < 150; ++n) {
        double planted = 0, left = 0;
        for (std::size_t i = 0; i < 40; ++i) {
            planted += std::pow(landmarks_of(world, q).data[n * 40 + i] - noisy.data[n * 40 + i], 2);
            left += std::pow(seen.data[n * 40 + i] - noisy.data[n * 40 + i], 2);
            if (n > 4) {
                break;  // the definition is slow
            }
        }
        if (n <= 4) {
            CHECK(objectives.data[n] <= planted);
            CHECK(objectives.data[n] == doctest::Approx(left).epsilon(1e-6 + 5e4 * Cell::eps));
        }
        CHECK(of_scaled.data[n] >= objectives.data[n] * (1 - 1e-6) - 1e3 * Cell::eps);
        CHECK(of_unit.data[n] >= of_scaled.data[n] * (1 - 1e-6) - 1e3 * Cell::eps);
        total += objectives.data[n];
    }
    CHECK(affine.objective == doctest::Approx(total).epsilon(1e-5));
    const array k = to_array(policy, unit.parameters);
    for (std::size_t n = 0; n < 150; ++n) {
        CHECK(std::abs(k(n, 0) - 1) + std::abs(k(n, 1)) + std::abs(k(n, 2) - 1) <= 20 * Cell::eps);
    }
    // J'r = 0 at what was found.
    if constexpr (std::is_same_v<T, double>) {
        const array parameters = to_array(policy, affine.parameters);
        array row({11}), residual({1, 40});
        std::copy_n(parameters.data.begin(), 11, row.data.begin());
        for (std::size_t i = 0; i < 40; ++i) {
            residual(0, i) = seen.data[i] - noisy.data[i];
        }
        const array slope = to_array(policy, model.vjp(policy, to_policy(policy, to_tensor<T, 1>(row)), to_policy(policy, to_tensor<T, 2>(residual))));
        CHECK(frobenius(slope) <= 1e-5);
    }
    const auto shrunk = moden::fit_shape_parameters(policy, model, blurred, {.shrinkage = 1});
    double before = 0, after = 0;
    for (std::size_t n = 0; n < 150; ++n) {
        for (std::size_t j = 6; j < 9; ++j) {
            before += std::pow(to_array(policy, affine.parameters)(n, j), 2);
            after += std::pow(to_array(policy, shrunk.parameters)(n, j), 2);
        }
    }
    CHECK(after < before);
    CHECK_THROWS_WITH_AS(moden::fit_shape_parameters(policy, model, to_policy(policy, random_tensor<T, 3>({4, 2, 19}, 1))), doctest::Contains("a model of 20 points"),
                         moden::shape_error);
    CHECK_THROWS_AS(moden::fit_shape_parameters(policy, model, blurred, {.shrinkage = -1}), moden::argument_error);
    CHECK_THROWS_AS(moden::fit_shape_parameters(policy, model, blurred, {.max_iterations = 0}), moden::argument_error);
    noisy.data[5] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(moden::fit_shape_parameters(policy, model, to_policy(policy, to_tensor<T, 3>(noisy))), doctest::Contains("1 values that are NaN"),
                         moden::argument_error);
    CHECK(moden::fit_shape_parameters(policy, model, to_policy(policy, random_tensor<T, 3>({0, 2, 20}, 1))).parameters.shape()[0] == 0);
}

TEST_CASE_TEMPLATE("weights of landmarks, and landmarks that are not there", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene world({.points = 20, .basis = 3, .seed = 4});
    const auto model = model_of<T>(policy, world);
    const array q = random_parameters(30, 3, 19), exact = landmarks_of(world, q);
    array seen = exact, confidences({30, 20});
    number_source next(8);
    for (std::size_t n = 0; n < 30; ++n) {
        for (std::size_t l = 0; l < 20; ++l) {
            confidences(n, l) = (n + 3 * l) % 4 == 0 ? 0 : 1 + 0.5 * next();
            if (confidences(n, l) == 0) {
                seen.at({n, 0, l}) = std::numeric_limits<double>::quiet_NaN();
            }
        }
    }
    const auto landmarks = to_policy(policy, to_tensor<T, 3>(seen));
    const auto weights = to_policy(policy, to_tensor<T, 2>(confidences));
    //! [weights]
    const auto found = moden::fit_shape_parameters(policy, model, landmarks, weights);  // N x L, 0 where nothing was seen
    //! [weights]
    CHECK(found.status == moden::iteration_status::converged);
    CHECK(largest_difference(to_array(policy, found.parameters), q) <= 2e4 * Cell::eps);  // a quarter of the points less than above
    // Equal weights are none, whatever their size, and the objective counts them.
    array noisy = exact, twos({30, 20}, 2);
    for (double& x : noisy.data) {
        x += 0.02 * next();
    }
    const auto blurred = to_policy(policy, to_tensor<T, 3>(noisy));
    const auto plain = moden::fit_shape_parameters(policy, model, blurred);
    const auto even = moden::fit_shape_parameters(policy, model, blurred, to_policy(policy, to_tensor<T, 2>(twos)));
    CHECK(largest_difference(to_array(policy, even.parameters), to_array(policy, plain.parameters)) <= 1e-5 + 2e4 * Cell::eps);
    CHECK(even.objective == doctest::Approx(2 * plain.objective).epsilon(1e-6));
    // The objective is the weighted sum of squares, and it is stationary: a little more of any parameter does not lower it.
    const auto weighted = moden::fit_shape_parameters(policy, model, blurred, weights);
    const array fitted = to_array(policy, weighted.parameters), objectives = to_array(policy, weighted.objectives);
    const auto cost = [&](const array& parameters, std::size_t n) {
        const array made = landmarks_of(world, parameters);
        double sum = 0;
        for (std::size_t i = 0; i < 40; ++i) {
            sum += confidences(n, i % 20) * std::pow(made.data[n * 40 + i] - noisy.data[n * 40 + i], 2);
        }
        return sum;
    };
    for (const std::size_t n : {0U, 17U}) {
        CHECK(objectives.data[n] == doctest::Approx(cost(fitted, n)).epsilon(1e-6 + 1e5 * Cell::eps));
        for (std::size_t j = 0; j < 11; ++j) {
            for (const double step : {-1e-3, 1e-3}) {
                array moved = fitted;
                moved(n, j) += step;
                CHECK(cost(moved, n) >= cost(fitted, n) * (1 - 1e-6));
            }
        }
    }
    const auto fit = [&](const array& with) { return moden::fit_shape_parameters(policy, model, blurred, to_policy(policy, to_tensor<T, 2>(with))); };
    CHECK_THROWS_WITH_AS(moden::fit_shape_parameters(policy, model, landmarks, to_policy(policy, to_tensor<T, 2>(twos))), doctest::Contains("whose weight is not 0"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(fit(array({30, 19}, 1)), doctest::Contains("weights of 30 x 19"), moden::shape_error);
    twos(3, 4) = -1;
    CHECK_THROWS_WITH_AS(fit(twos), doctest::Contains("1 weights that are negative"), moden::argument_error);
    for (std::size_t l = 0; l < 20; ++l) {
        twos(3, l) = l < 5 ? 1 : 0;
    }
    CHECK_THROWS_WITH_AS(fit(twos), doctest::Contains("frame 3 has 5 observed points (expected at least 6)"), moden::argument_error);
    CHECK(moden::fit_shape_parameters(policy, model, blurred, to_policy(policy, to_tensor<T, 2>(twos)), {.shrinkage = 0.1}).unconverged == 0);
}

TEST_CASE_TEMPLATE("errors of reconstructions know no rotation, scale, reflection or place", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene world({.frames = 12, .points = 15, .basis = 2, .seed = 6});
    const array turn = rotation(0.5, -1.1, 2.0);
    array moved(world.shapes.shape), bent = world.shapes, cameras = world.cameras;
    for (std::size_t n = 0; n < 12; ++n) {
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t l = 0; l < 15; ++l) {
                double x = 0;
                for (std::size_t j = 0; j < 3; ++j) {
                    x += turn(i, j) * (j == 2 ? -1 : 1) * world.shapes.at({n, j, l});
                }
                moved.at({n, i, l}) = 2.5 * x + 0.3 * static_cast<double>(i);
            }
            // cameras of the mirrored and turned object: M diag(1, 1, -1) turn'
            for (std::size_t a = 0; a < 2; ++a) {
                double x = 0;
                for (std::size_t j = 0; j < 3; ++j) {
                    x += world.cameras.at({n, a, j}) * (j == 2 ? -1 : 1) * turn(i, j);
                }
                cameras.at({n, a, i}) = x;
            }
        }
    }
    const auto truth = to_policy(policy, to_tensor<T, 3>(world.shapes)), estimate = to_policy(policy, to_tensor<T, 3>(moved));
    const auto true_cameras = to_policy(policy, to_tensor<T, 3>(world.cameras)), found_cameras = to_policy(policy, to_tensor<T, 3>(cameras));
    //! [reconstruction_error]
    const auto error = moden::reconstruction_error(policy, estimate, truth);      // one similarity for the sequence: .relative, .normalized, ...
    const auto turned = moden::rotation_error(policy, found_cameras, true_cameras);  // .mean_degrees
    //! [reconstruction_error]
    CHECK(error.relative <= 20 * Cell::eps);
    CHECK(error.root_mean_square <= 20 * Cell::eps);
    CHECK(turned.largest_degrees <= 2000 * Cell::eps);
    CHECK(moden::reconstruction_error(policy, estimate, truth, {.scope = moden::alignment_scope::frame}).relative <= 20 * Cell::eps);
    CHECK(moden::reconstruction_error(policy, estimate, truth, {.reflection = moden::alignment_reflection::refused}).relative > 0.1);
    CHECK(moden::reconstruction_error(policy, estimate, truth, {.scale = moden::alignment_scale::kept}).relative == doctest::Approx(1.5).epsilon(1e-5));
    CHECK(moden::rotation_error(policy, found_cameras, true_cameras, moden::alignment_reflection::refused).mean_degrees > 1);

    // Known differences: every point moved by 0.1 along a direction that alignment cannot follow.
    for (std::size_t l = 0; l < 15; ++l) {
        for (std::size_t n = 0; n < 12; ++n) {
            bent.at({n, 2, l}) += l % 2 == 0 ? 0.1 * 7 / 7.5 : -0.1 * 8 / 7.5;
        }
    }
    const auto differs = moden::reconstruction_error(policy, to_policy(policy, to_tensor<T, 3>(bent)), truth, {.scale = moden::alignment_scale::kept});
    CHECK(differs.root_mean_square <= 0.1 + 1e-3);
    CHECK(differs.root_mean_square >= 0.05);
    double mean = 0;
    for (const double x : differs.relative_per_frame) {
        mean += x / 12;
    }
    CHECK(differs.relative == doctest::Approx(mean));
    const auto each = moden::reconstruction_error(policy, to_policy(policy, to_tensor<T, 3>(bent)), truth,
                                                  {.scope = moden::alignment_scope::frame, .scale = moden::alignment_scale::kept});
    CHECK(each.root_mean_square <= differs.root_mean_square);
    CHECK(differs.normalized > 0);
    CHECK_THROWS_WITH_AS(moden::reconstruction_error(policy, estimate, to_policy(policy, random_tensor<T, 3>({12, 3, 14}, 1))), doctest::Contains("12 x 3 x 14"),
                         moden::shape_error);
    CHECK_THROWS_AS(moden::rotation_error(policy, found_cameras, to_policy(policy, random_tensor<T, 3>({11, 2, 3}, 1))), moden::shape_error);
}
