// Inversion on every policy: codes of pictures that the generator made are found again, or others that make them.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <moden/stylegan2/invert.hpp>
#include <moden/stylegan2/inversion_start.hpp>

#include "models.hpp"

using namespace moden_test;
namespace stylegan2 = moden::stylegan2;
using stylegan2::latent_space;

namespace {

/// w of some random z, and their pictures.
template <class Policy, class T>
auto make_targets(const Policy& policy, const stylegan2::generator<Policy, T>& net, std::size_t count, std::uint64_t seed) {
    const auto z = to_policy(policy, random_tensor<T, 2>({count, net.layout().z_dim}, seed));
    auto w = stylegan2::map_latents(policy, net, z);
    auto pictures = stylegan2::synthesize(policy, net, stylegan2::to_w_plus(policy, net, w));
    return std::pair(std::move(w), std::move(pictures));
}

double mean_square(const auto& a, const auto& b, std::size_t first, std::size_t count) {
    double sum = 0;
    for (std::size_t i = first; i < first + count; ++i) {
        sum += std::pow(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]), 2);
    }
    return sum / static_cast<double>(count);
}

}  // namespace

TEST_CASE_TEMPLATE("codes of the generator's own pictures", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.w_dim = 5, .channels = {6, 5, 4}}, 21));
    const auto [w, targets] = make_targets(policy, net, 3, 1);
    for (const latent_space space : {latent_space::w, latent_space::w_plus}) {
        const auto found = stylegan2::invert(policy, net, targets, {.space = space, .max_iterations = 400});
        CHECK(found.status == moden::iteration_status::reached_max_iterations);
        CHECK(found.iterations == 400);
        CHECK(found.history.size() == 401);
        const auto expected = to_host_tensor(policy, targets);
        const auto made = to_host_tensor(policy, found.pictures);
        const auto again = to_host_tensor(policy, stylegan2::synthesize(policy, net, found.ws));
        CHECK(made == again);
        const std::size_t one = expected.size() / 3;
        for (std::size_t n = 0; n < 3; ++n) {
            // What is reported is what the pictures say.
            CHECK(found.rms_error[n] == doctest::Approx(std::sqrt(mean_square(made, expected, n * one, one))).epsilon(1e-3));
            CHECK(found.objective[n] < 1e-2 * found.history.front());
        }
        const auto codes = to_host_tensor(policy, found.ws);
        if (space == latent_space::w) {
            const auto wanted = to_host_tensor(policy, w);
            for (std::size_t n = 0; n < 3; ++n) {
                for (std::size_t k = 0; k < net.layout().num_ws; ++k) {
                    for (std::size_t i = 0; i < 5; ++i) {
                        CHECK(codes(n, k, i) == codes(n, 0, i));
                    }
                }
            }
            // From nearby, the very code is found.
            moden::tensor<T, 2> near = wanted;
            number_source next(5);
            for (T& value : near) {
                value += static_cast<T>(0.2 * next());
            }
            const auto exact = stylegan2::invert(policy, net, targets, to_policy(policy, near),
                                                 {.space = latent_space::w, .max_iterations = 400, .learning_rate = 0.02});
            const auto refined = to_host_tensor(policy, exact.ws);
            for (std::size_t n = 0; n < 3; ++n) {
                CHECK(exact.rms_error[n] < 1e-3);
                for (std::size_t i = 0; i < 5; ++i) {
                    CHECK(std::abs(static_cast<double>(refined(n, 0, i) - wanted(n, i))) < 1e-2);
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("a start by regression is nearer than the average", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.z_dim = 4, .w_dim = 5, .channels = {6, 5, 4}}, 22));
    //! [inversion_start]
    const auto start = stylegan2::fit_inversion_start(policy, net, {.size = 4, .samples = 300, .ridge = 1e-4});
    const auto [w, pictures] = make_targets(policy, net, 5, 2);
    const auto guess = stylegan2::starting_w(policy, net, start, pictures);  // 5 x w_dim
    //! [inversion_start]
    const auto wanted = to_host_tensor(policy, w);
    const auto guessed = to_host_tensor(policy, guess);
    double spread = 0;
    for (std::size_t i = 0; i < 5; ++i) {
        double sum = 0, squares = 0;
        for (std::size_t n = 0; n < 5; ++n) {
            sum += static_cast<double>(wanted(n, i));
            squares += std::pow(static_cast<double>(wanted(n, i)), 2);
        }
        spread += squares / 5 - sum * sum / 25;
    }
    CHECK(mean_square(guessed, wanted, 0, wanted.size()) < 0.3 * spread / 5);

    const auto at_start = stylegan2::invert(policy, net, pictures, guess, {.max_iterations = 0});
    const auto at_average = stylegan2::invert(policy, net, pictures, {.max_iterations = 0});
    CHECK(at_start.iterations == 0);
    CHECK(at_start.history.size() == 1);
    CHECK(at_start.history.front() < at_average.history.front());

    const temporary_file file(".safetensors");
    stylegan2::save_inversion_start(policy, file.path(), start);
    const auto loaded = stylegan2::load_inversion_start<T>(policy, file.path());
    CHECK(to_host_tensor(policy, stylegan2::starting_w(policy, net, loaded, pictures)) == guessed);
    const auto other = load_model<T>(policy, random_model({.z_dim = 4, .w_dim = 6, .channels = {4, 3}}, 22));
    const auto others = to_policy(policy, random_tensor<T, 4>({1, 3, 8, 8}, 3));
    CHECK_THROWS_AS(stylegan2::starting_w(policy, other, loaded, others), moden::shape_error);
    CHECK_THROWS_AS(stylegan2::fit_inversion_start(policy, net, {.size = 3}), moden::argument_error);
    CHECK_THROWS_AS(stylegan2::fit_inversion_start(policy, net, {.size = 32}), moden::argument_error);
    CHECK_THROWS_AS(stylegan2::fit_inversion_start(policy, net, {.samples = 0}), moden::argument_error);
    CHECK_THROWS_AS(stylegan2::fit_inversion_start(policy, net, {.ridge = 0}), moden::argument_error);
}

TEST_CASE_TEMPLATE("stopping, pull, progress", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.w_dim = 5, .channels = {5, 4}}, 23));
    const auto targets = to_policy(policy, random_tensor<T, 4>({2, 3, 8, 8}, 3));
    //! [invert]
    std::size_t calls = 0;
    const auto found = stylegan2::invert(policy, net, targets, {.max_iterations = 50, .progress = [&](std::size_t iteration, double) {
                                             calls = iteration;
                                             return iteration < 20;
                                         }});
    // found.ws is 2 x num_ws x w_dim, found.pictures 2 x 3 x 8 x 8, found.rms_error how far they are from the targets
    //! [invert]
    CHECK(calls == 20);
    CHECK(found.status == moden::iteration_status::stopped_by_callback);
    CHECK(found.iterations == 20);
    // Pictures do not influence each other.
    auto second = moden::tensor<T, 4>::from_shape({1, 3, 8, 8});
    const auto both = to_host_tensor(policy, targets);
    std::copy_n(both.data() + 192, 192, second.data());
    const auto alone = stylegan2::invert(policy, net, to_policy(policy, second), {.max_iterations = 20});
    const auto together = stylegan2::invert(policy, net, targets, {.max_iterations = 20});
    CHECK(alone.objective[0] == doctest::Approx(together.objective[1]).epsilon(1e-3));

    const auto converged = stylegan2::invert(policy, net, targets, {.max_iterations = 5000, .tolerance = 1e-4});
    CHECK(converged.status == moden::iteration_status::converged);
    CHECK(converged.iterations < 5000);

    const auto distance = [&](double pull) {
        const auto codes = to_host_tensor(policy, stylegan2::invert(policy, net, targets, {.max_iterations = 100, .pull = pull}).ws);
        const auto start = to_host_tensor(policy, stylegan2::invert(policy, net, targets, {.max_iterations = 0}).ws);
        return mean_square(codes, start, 0, codes.size());
    };
    CHECK(distance(1) < 0.5 * distance(0));
}

TEST_CASE_TEMPLATE("refused", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.w_dim = 5, .channels = {5, 4}}, 23));
    const auto targets = to_policy(policy, random_tensor<T, 4>({2, 3, 8, 8}, 3));
    const auto invert = [&](const stylegan2::inversion_options& options) { return stylegan2::invert(policy, net, targets, options); };
    CHECK_THROWS_WITH_AS(invert({.scales = 0}), "stylegan2::invert: 0 scales (expected 1 to 4)", moden::argument_error);
    CHECK_THROWS_AS(invert({.scales = 5}), moden::argument_error);
    CHECK_NOTHROW(invert({.max_iterations = 1, .scales = 4}));
    CHECK_THROWS_AS(invert({.space = latent_space::z}), moden::argument_error);
    CHECK_THROWS_AS(invert({.learning_rate = 0}), moden::argument_error);
    CHECK_THROWS_AS(invert({.tolerance = std::nan("")}), moden::argument_error);
    CHECK_THROWS_AS(invert({.pull = -1}), moden::argument_error);
    auto spoiled = random_tensor<T, 4>({1, 3, 8, 8}, 3);
    spoiled(0, 1, 2, 3) = std::numeric_limits<T>::quiet_NaN();
    CHECK_THROWS_WITH_AS(stylegan2::invert(policy, net, to_policy(policy, spoiled)),
                         "stylegan2::invert: targets holds 1 values that are NaN or infinite (expected finite values)",
                         moden::argument_error);
    const auto wrong = to_policy(policy, random_tensor<T, 4>({1, 3, 8, 4}, 3));
    CHECK_THROWS_WITH_AS(stylegan2::invert(policy, net, wrong),
                         "stylegan2::invert: targets has the shape 1 x 3 x 8 x 4 (expected N x 3 x 8 x 8)", moden::shape_error);
    const auto few = to_policy(policy, random_tensor<T, 2>({1, 5}, 3));
    CHECK_THROWS_AS(stylegan2::invert(policy, net, targets, few), moden::shape_error);
    const auto rows = to_policy(policy, random_tensor<T, 3>({2, 4, 5}, 3));
    CHECK_NOTHROW(stylegan2::invert(policy, net, targets, rows, {.max_iterations = 1}));
    CHECK_THROWS_AS(stylegan2::invert(policy, net, targets, rows, {.space = latent_space::w}), moden::shape_error);
}
