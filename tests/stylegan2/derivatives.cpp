// Tangents and cotangents of generators on every policy: against dual numbers pushed through the definition, and against
// each other.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <moden/stylegan2/generator_map.hpp>

#include "models.hpp"

using namespace moden_test;
namespace stylegan2 = moden::stylegan2;
using stylegan2::latent_space;

namespace {

/// The definition's output at a point moved along a direction: values and slopes of the picture or of a layer.
std::vector<dual> push(const weight_map& weights, const reference_options& options, const stylegan2::architecture& layout,
                       const stylegan2::generator_map_options& wanted, const std::vector<dual>& x) {
    const reference_generator<dual> reference(weights, options);
    std::map<std::string, std::vector<dual>> styles;
    if (wanted.space == latent_space::style) {
        for (const auto& layer : layout.layers) {
            const auto first = x.begin() + static_cast<std::ptrdiff_t>(layer.style_offset);
            styles[layer.name].assign(first, first + static_cast<std::ptrdiff_t>(layer.in));
        }
    } else {
        std::vector<std::vector<dual>> rows;
        if (wanted.space == latent_space::w_plus) {
            for (std::size_t k = 0; k < layout.num_ws; ++k) {
                const auto first = x.begin() + static_cast<std::ptrdiff_t>(k * layout.w_dim);
                rows.emplace_back(first, first + static_cast<std::ptrdiff_t>(layout.w_dim));
            }
        } else {
            const std::vector<dual> w = wanted.space == latent_space::z ? reference.map(x, wanted.labels) : x;
            rows.assign(layout.num_ws, w);
            if (wanted.space == latent_space::z) {
                const auto& average = weights.at("mapping.w_avg").data;
                for (std::size_t k = 0; k < wanted.truncate.cutoff.value_or(layout.num_ws); ++k) {
                    for (std::size_t i = 0; i < w.size(); ++i) {
                        rows[k][i] = dual(average[i]) + dual(wanted.truncate.psi) * (w[i] - dual(average[i]));
                    }
                }
            }
        }
        styles = reference.styles(rows);
    }
    const auto result = reference.run(styles);
    return wanted.layer.empty() ? result.pictures.at(layout.layers.back().name).data : result.activations.at(wanted.layer).data;
}

struct derivative_case {
    const char* name;
    model_shape shape;
    std::map<std::string, std::string> metadata;
    stylegan2::generator_map_options options;
};

std::vector<derivative_case> cases() {
    const model_shape small{.channels = {6, 5, 3}};
    return {{"w+", small, {}, {}},
            {"w", small, {}, {.space = latent_space::w}},
            {"z, truncated in part", small, {}, {.space = latent_space::z, .truncate = {.psi = 0.6, .cutoff = 3}}},
            {"style, clamped", small, {{"conv_clamp", "0.9"}}, {.space = latent_space::style}},
            {"w+, clamped, in parts", small, {{"conv_clamp", "1.3"}}, {.at_once = 2}},
            {"z, conditional", {.c_dim = 2, .channels = {4, 3}}, {}, {.space = latent_space::z, .labels = {0.25, 0.75}}},
            {"w+ to a layer", small, {}, {.layer = "b8.conv0"}},
            {"z to the first layer", small, {}, {.space = latent_space::z, .layer = "b4.conv1"}},
            {"style to the last layer", {.channels = {4, 3, 2, 3}}, {{"conv_clamp", "2"}}, {.space = latent_space::style, .layer = "b32.conv1"}},
            {"w+ without noise", small, {}, {.synthesis = {.noise = stylegan2::noise_mode::none}}}};
}

template <class T>
double dot(const T* a, const T* b, std::size_t size) {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("jvp and vjp are the derivative of the definition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    constexpr double tolerance = sizeof(T) == sizeof(float) ? 1e-5 : 2e-13;
    for (const derivative_case& test : cases()) {
        CAPTURE(test.name);
        const weight_map weights = random_model(test.shape, 11);
        const auto net = load_model<T>(policy, weights, test.metadata);
        const stylegan2::generator_map<Policy, T> map(net, test.options);
        static_assert(moden::differentiable_map<stylegan2::generator_map<Policy, T>, Policy, T>);
        const std::size_t n = map.input_size();
        const std::size_t m = map.output_size();
        auto x = random_tensor<T, 1>({n}, 3);
        if (test.options.space == latent_space::style) {
            x += T(1);
        }
        const std::size_t count = 3;
        const auto tangents = random_tensor<T, 2>({count, n}, 4);
        const auto cotangents = random_tensor<T, 2>({count, m}, 5);
        const auto point = to_policy(policy, x);
        const auto value = to_host_tensor(policy, map.value(policy, point));
        const auto forward = to_host_tensor(policy, map.jvp(policy, point, to_policy(policy, tangents)));
        const auto backward = to_host_tensor(policy, map.vjp(policy, point, to_policy(policy, cotangents)));

        reference_options options;
        if (test.metadata.count("conv_clamp") > 0) {
            options.clamp = std::stod(test.metadata.at("conv_clamp"));
        }
        options.constant_noise = test.options.synthesis.noise == stylegan2::noise_mode::constant;
        for (std::size_t k = 0; k < count; ++k) {
            std::vector<dual> moved;
            for (std::size_t i = 0; i < n; ++i) {
                moved.emplace_back(static_cast<double>(x(i)), static_cast<double>(tangents(k, i)));
            }
            const std::vector<dual> expected = push(weights, options, net.layout(), test.options, moved);
            REQUIRE(expected.size() == m);
            double value_error = 0, value_size = 0, slope_error = 0, slope_size = 0;
            for (std::size_t i = 0; i < m; ++i) {
                value_error = std::max(value_error, std::abs(static_cast<double>(value(i)) - expected[i].value));
                value_size = std::max(value_size, std::abs(expected[i].value));
                slope_error = std::max(slope_error, std::abs(static_cast<double>(forward(k, i)) - expected[i].slope));
                slope_size = std::max(slope_size, std::abs(expected[i].slope));
            }
            CHECK(value_error < tolerance * value_size);
            CHECK(slope_error < tolerance * slope_size);
            for (std::size_t j = 0; j < count; ++j) {
                const double there = dot(&forward(k, 0), &cotangents(j, 0), m);
                const double back = dot(&tangents(k, 0), &backward(j, 0), n);
                const double size = std::sqrt(dot(&forward(k, 0), &forward(k, 0), m) * dot(&cotangents(j, 0), &cotangents(j, 0), m));
                CHECK(std::abs(there - back) < tolerance * size);
            }
        }
    }
}

TEST_CASE_TEMPLATE("random noise is the same for value and derivatives", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.channels = {4, 3}}, 12));
    const stylegan2::generator_map<Policy, T> map(net, {.synthesis = {.noise = stylegan2::noise_mode::random, .noise_seed = 7}});
    const auto x = random_tensor<T, 1>({map.input_size()}, 1);
    const auto t = random_tensor<T, 2>({1, map.input_size()}, 2);
    const auto slope = to_host_tensor(policy, map.jvp(policy, to_policy(policy, x), to_policy(policy, t)));
    const T step = sizeof(T) == sizeof(float) ? T(1e-2) : T(1e-5);
    moden::tensor<T, 1> ahead = x, behind = x;
    for (std::size_t i = 0; i < x.size(); ++i) {
        ahead(i) += step * t(0, i);
        behind(i) -= step * t(0, i);
    }
    const auto a = to_host_tensor(policy, map.value(policy, to_policy(policy, ahead)));
    const auto b = to_host_tensor(policy, map.value(policy, to_policy(policy, behind)));
    // Kinks of the activation keep single numbers away from their slope; most agree.
    double error = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        error += std::pow(static_cast<double>((a(i) - b(i)) / (2 * step) - slope(0, i)), 2);
        size += std::pow(static_cast<double>(slope(0, i)), 2);
    }
    CHECK(std::sqrt(error / size) < (sizeof(T) == sizeof(float) ? 2e-2 : 1e-6));
}

TEST_CASE_TEMPLATE("what does not fit is named", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.channels = {4, 3}}, 12));
    using map_type = stylegan2::generator_map<Policy, T>;
    const map_type map(net);
    const auto x = to_policy(policy, random_tensor<T, 1>({map.input_size()}, 1));
    const auto short_x = to_policy(policy, random_tensor<T, 1>({map.input_size() - 1}, 1));
    const auto block = to_policy(policy, random_tensor<T, 2>({2, map.input_size() + 1}, 1));
    CHECK_THROWS_WITH_AS(map.value(policy, short_x), "stylegan2::generator_map::value: x has the shape 27 (expected a vector of 28)",
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(map.jvp(policy, x, block),
                         "stylegan2::generator_map::jvp: the tangents have the shape 2 x 29 (expected k x 28)", moden::shape_error);
    CHECK_THROWS_WITH_AS(map.vjp(policy, x, block),
                         "stylegan2::generator_map::vjp: the cotangents have the shape 2 x 29 (expected k x 192)", moden::shape_error);
    CHECK_THROWS_AS(map_type(net, {.layer = "b16.conv0"}), moden::argument_error);
    CHECK_THROWS_AS(map_type(net, {.layer = "b8.torgb"}), moden::argument_error);
    CHECK_THROWS_AS(map_type(net, {.labels = {1}}), moden::shape_error);
    CHECK(map_type(net).options().at_once == 64);
    CHECK_THROWS_AS(map_type(net, {.space = latent_space::z, .truncate = {.psi = std::nan("")}}), moden::argument_error);
}

TEST_CASE_TEMPLATE("example: generator_map", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.channels = {4, 3}}, 13));
    const auto w = to_policy(policy, random_tensor<T, 1>({7}, 1));
    const auto directions = to_policy(policy, random_tensor<T, 2>({5, 7}, 2));
    const auto weights = to_policy(policy, random_tensor<T, 2>({2, 192}, 3));
    //! [generator_map]
    // From one w to the picture; at one point, any number of directions at once.
    const moden::stylegan2::generator_map<Policy, T> map(net, {.space = moden::stylegan2::latent_space::w});
    const auto picture = map.value(policy, w);              // 3 H W numbers
    const auto changes = map.jvp(policy, w, directions);    // 5 x 3 H W: what each of five directions changes
    const auto gradients = map.vjp(policy, w, weights);     // 2 x w_dim: gradients of two weighted sums of the pixels

    // From w to the activations of a layer.
    const moden::stylegan2::generator_map<Policy, T> early(net, {.space = moden::stylegan2::latent_space::w, .layer = "b4.conv1"});
    //! [generator_map]
    CHECK(picture.size() == 192);
    CHECK(changes.size() == 5 * 192);
    CHECK(gradients.size() == 2 * 7);
    CHECK(early.output_size() == 4 * 4 * 4);
    const auto host_changes = to_host_tensor(policy, changes);
    const auto host_gradients = to_host_tensor(policy, gradients);
    const auto host_directions = to_host_tensor(policy, directions);
    const auto host_weights = to_host_tensor(policy, weights);
    const double there = dot(&host_changes(4, 0), &host_weights(1, 0), 192);
    CHECK(dot(&host_directions(4, 0), &host_gradients(1, 0), 7) == doctest::Approx(there).epsilon(1e-4));
}
