// Pictures, activations and latent spaces of generators on every policy, against the definition in double precision.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <moden/stylegan2/latents.hpp>
#include <moden/stylegan2/synthesis.hpp>

#include "models.hpp"

using namespace moden_test;
namespace stylegan2 = moden::stylegan2;

namespace {

/// What the issue of precision allows: relative to the largest value.
template <class T>
constexpr double tolerance = sizeof(T) == sizeof(float) ? 5e-6 : 1e-13;

/// max |a - b| / max |b|
template <class A, class B>
double worst(const A& values, std::size_t offset, const B& expected) {
    double error = 0;
    double largest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        error = std::max(error, std::abs(static_cast<double>(values.data()[offset + i]) - expected[i]));
        largest = std::max(largest, std::abs(expected[i]));
        if (std::isnan(static_cast<double>(values.data()[offset + i]))) {
            return 1e300;
        }
    }
    return error / largest;
}

std::vector<double> row(const moden::tensor<double, 2>& matrix, std::size_t n) {
    return {matrix.data() + n * matrix.shape()[1], matrix.data() + (n + 1) * matrix.shape()[1]};
}

/// w+ of one w, row by row, truncated.
std::vector<std::vector<double>> spread(const std::vector<double>& w, std::size_t rows, const std::vector<double>& average,
                                        double psi, std::size_t cutoff) {
    std::vector<std::vector<double>> result(rows, w);
    for (std::size_t k = 0; k < cutoff; ++k) {
        for (std::size_t i = 0; i < w.size(); ++i) {
            result[k][i] = average[i] + psi * (w[i] - average[i]);
        }
    }
    return result;
}

struct model_case {
    const char* name;
    model_shape shape;
    std::map<std::string, std::string> metadata;
};

std::vector<model_case> cases() {
    return {{"smallest", {.channels = {4, 3}}, {}},
            {"sixteen pixels, clamped", {.z_dim = 5, .channels = {8, 6, 5}}, {{"conv_clamp", "1.1"}, {"resolution", "16"}}},
            {"thirty-two pixels, two mapping layers", {.w_dim = 9, .mapping_layers = 2, .channels = {9, 17, 6, 5}}, {}},
            {"one mapping layer, one channel", {.mapping_layers = 1, .channels = {2, 1, 1, 3}}, {}}};
}

}  // namespace

TEST_CASE_TEMPLATE("every layer and the picture agree with the definition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    std::uint64_t seed = 1;
    for (const model_case& model : cases()) {
        CAPTURE(model.name);
        const weight_map weights = random_model(model.shape, ++seed);
        const auto net = load_model<T>(policy, weights, model.metadata);
        const stylegan2::architecture& layout = net.layout();
        REQUIRE(layout.num_ws == 2 * model.shape.channels.size());
        const std::size_t count = 3;
        const auto z = random_tensor<double, 2>({count, model.shape.z_dim}, seed);
        const moden::tensor<T, 2> z_in = xt::cast<T>(z);
        const auto w = stylegan2::map_latents(policy, net, to_policy(policy, z_in));
        const auto ws = stylegan2::to_w_plus(policy, net, w, {.psi = 0.7, .cutoff = 3});
        const auto styles = stylegan2::styles(policy, net, ws);
        std::map<std::string, moden::tensor<T, 4>> seen;
        const auto pictures = to_host_tensor(
            policy, stylegan2::synthesize_styles(policy, net, styles, {}, [&](const stylegan2::synthesis_layer& layer, const auto& values) {
                seen.emplace(layer.name, to_host_tensor(policy, values));
            }));
        CHECK(seen.size() == layout.layers.size());

        reference_options options;
        if (model.metadata.count("conv_clamp") > 0) {
            options.clamp = std::stod(model.metadata.at("conv_clamp"));
        }
        const reference_generator<double> reference(weights, options);
        const auto host_w = to_host_tensor(policy, w);
        const auto host_ws = to_host_tensor(policy, ws);
        const auto host_styles = to_host_tensor(policy, styles);
        for (std::size_t n = 0; n < count; ++n) {
            CAPTURE(n);
            const auto expected_w = reference.map(row(z, n));
            CHECK(worst(host_w, n * layout.w_dim, expected_w) < tolerance<T>);
            const auto rows = spread(expected_w, layout.num_ws, weights.at("mapping.w_avg").data, 0.7, 3);
            for (std::size_t k = 0; k < layout.num_ws; ++k) {
                CHECK(worst(host_ws, (n * layout.num_ws + k) * layout.w_dim, rows[k]) < tolerance<T>);
            }
            const auto expected = reference.run(reference.styles(rows));
            for (const stylegan2::synthesis_layer& layer : layout.layers) {
                CAPTURE(layer.name);
                CHECK(worst(host_styles, n * layout.style_size + layer.style_offset, expected.styles.at(layer.name)) < tolerance<T>);
                const bool picture = layer.kind == stylegan2::layer_kind::to_rgb;
                const auto& planes = (picture ? expected.pictures : expected.activations).at(layer.name);
                const auto& values = seen.at(layer.name);
                REQUIRE(values.shape()[1] == planes.channels);
                REQUIRE(values.shape()[2] == planes.height);
                CHECK(worst(values, n * planes.data.size(), planes.data) < tolerance<T>);
            }
            const auto& last = expected.pictures.at(layout.layers.back().name);
            CHECK(worst(pictures, n * last.data.size(), last.data) < tolerance<T>);
        }
    }
}

TEST_CASE_TEMPLATE("a conditional model", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const weight_map weights = random_model({.c_dim = 3}, 5);
    const auto net = load_model<T>(policy, weights);
    CHECK(net.layout().c_dim == 3);
    CHECK(net.layout().z_dim == 6);
    const auto z = random_tensor<double, 2>({2, 6}, 3);
    moden::tensor<double, 2> labels{{1, 0, 0}, {0, 0.5, 0.5}};
    const moden::tensor<T, 2> z_in = xt::cast<T>(z);
    const moden::tensor<T, 2> labels_in = xt::cast<T>(labels);
    const auto w = to_host_tensor(policy, stylegan2::map_latents(policy, net, to_policy(policy, z_in), to_policy(policy, labels_in)));
    const reference_generator<double> reference(weights, {});
    for (std::size_t n = 0; n < 2; ++n) {
        CHECK(worst(w, n * net.layout().w_dim, reference.map(row(z, n), row(labels, n))) < tolerance<T>);
    }
    CHECK_THROWS_AS(stylegan2::map_latents(policy, net, to_policy(policy, z_in)), moden::argument_error);
    CHECK_THROWS_AS(stylegan2::map_latents(policy, net, to_policy(policy, z_in), to_policy(policy, z_in)), moden::shape_error);
}

TEST_CASE_TEMPLATE("noise: none, random by seed and number of the picture", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    using stylegan2::noise_mode;
    const Policy policy{};
    const weight_map weights = random_model({}, 8);
    const auto net = load_model<T>(policy, weights);
    const stylegan2::architecture& layout = net.layout();
    const auto ws_host = random_tensor<T, 3>({2, layout.num_ws, layout.w_dim}, 9);
    const auto ws = to_policy(policy, ws_host);
    const auto pictures = [&](const stylegan2::synthesis_options& options) {
        return to_host_tensor(policy, stylegan2::synthesize(policy, net, ws, options));
    };

    reference_options quiet;
    quiet.constant_noise = false;
    const reference_generator<double> reference(weights, quiet);
    std::vector<std::vector<double>> rows;
    for (std::size_t k = 0; k < layout.num_ws; ++k) {
        rows.emplace_back(&ws_host(0, k, 0), &ws_host(0, k, 0) + layout.w_dim);
    }
    const auto expected = reference.run(reference.styles(rows)).pictures.at(layout.layers.back().name).data;
    CHECK(worst(pictures({.noise = noise_mode::none}), 0, expected) < tolerance<T>);

    // Random noise is the stream of the layer and the picture; the second picture's is the first of a later run.
    const auto drawn = pictures({.noise = noise_mode::random, .noise_seed = 4});
    CHECK(pictures({.noise = noise_mode::random, .noise_seed = 4}) == drawn);
    CHECK(pictures({.noise = noise_mode::random, .noise_seed = 5}) != drawn);
    moden::tensor<T, 3> second_host = moden::tensor<T, 3>::from_shape({1, layout.num_ws, layout.w_dim});
    std::copy(ws_host.begin() + static_cast<std::ptrdiff_t>(second_host.size()), ws_host.end(), second_host.begin());
    const auto later = to_host_tensor(policy, stylegan2::synthesize(policy, net, to_policy(policy, second_host),
                                                                    {.noise = noise_mode::random, .noise_seed = 4, .first_sample = 1}));
    const std::vector<double> second(drawn.begin() + static_cast<std::ptrdiff_t>(drawn.size() / 2), drawn.end());
    CHECK(worst(later, 0, second) < tolerance<T>);

    reference_options random = quiet;
    for (std::size_t i = 0; i < layout.layers.size(); ++i) {
        const auto& layer = layout.layers[i];
        if (layer.kind != stylegan2::layer_kind::to_rgb) {
            const std::size_t pixels = layer.resolution * layer.resolution;
            std::vector<T> noise(pixels);
            moden::fill_normal(moden::cpu_policy{}, noise.data(), pixels, 4, i);
            random.noise[layer.name].assign(noise.begin(), noise.end());
        }
    }
    const reference_generator<double> noisy(weights, random);
    const auto expected_noisy = noisy.run(noisy.styles(rows)).pictures.at(layout.layers.back().name).data;
    CHECK(worst(drawn, 0, expected_noisy) < tolerance<T>);
}

TEST_CASE_TEMPLATE("example: load_generator", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const temporary_file file(".safetensors");
    save_model(file.path(), random_model({}, 31), {{"conv_clamp", "256"}});
    const auto& path = file.path();
    //! [load_generator]
    const auto net = moden::stylegan2::load_generator<T>(policy, path);

    const moden::stylegan2::architecture& layout = net.layout();
    const std::size_t pixels = layout.resolution * layout.resolution;
    const auto& last = layout.layers.back();  // "b16.torgb", styled by row num_ws - 1 of w+
    //! [load_generator]
    CHECK(pixels == 256);
    CHECK(last.name == "b16.torgb");
    CHECK(last.ws_row == layout.num_ws - 1);
    CHECK(layout.names() == "b4.conv1, b4.torgb, b8.conv0, b8.conv1, b8.torgb, b16.conv0, b16.conv1, b16.torgb");
    CHECK(layout.conv_clamp == 256.0);
}

TEST_CASE_TEMPLATE("example: synthesize", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({}, 32));
    const auto z = to_policy(policy, stylegan2::seeded_latents<T>({1, 2}, 6));
    const auto w = stylegan2::map_latents(policy, net, z);
    //! [synthesize]
    const auto ws = moden::stylegan2::to_w_plus(policy, net, w, {.psi = 0.7});
    const auto pictures = moden::stylegan2::synthesize(policy, net, ws);  // N x 3 x H x W, nominally in [-1, 1]

    // Other noise for every picture, the same in every run.
    const auto varied = moden::stylegan2::synthesize(
        policy, net, ws, {.noise = moden::stylegan2::noise_mode::random, .noise_seed = 1});
    //! [synthesize]
    const auto seen = to_host_tensor(policy, pictures);
    CHECK(seen.shape() == std::array<std::size_t, 4>{2, 3, 16, 16});
    CHECK(to_host_tensor(policy, varied).shape() == seen.shape());
    CHECK(to_host_tensor(policy, varied) != seen);
}

#ifndef MODEN_TEST_CUDA  // host tensors are edited element by element
TEST_CASE("example: synthesize_styles") {
    const moden::cpu_policy policy;
    const auto net = load_model<float>(policy, random_model({}, 33));
    const auto ws = random_tensor<float, 3>({1, 6, 7}, 1);
    const auto before = stylegan2::synthesize(policy, net, ws);
    std::map<std::string, std::vector<std::size_t>> seen;
    //! [synthesize_styles]
    auto styles = moden::stylegan2::styles(policy, net, ws);
    styles(0, net.layout().layer("b8.conv1").style_offset + 3) *= 2;  // channel 3 of what that layer is given

    // The picture, with a look at every layer on the way.
    const auto edited = moden::stylegan2::synthesize_styles(
        policy, net, styles, {}, [&](const moden::stylegan2::synthesis_layer& layer, const auto& activations) {
            seen[layer.name].assign(activations.shape().begin(), activations.shape().end());  // N x C x r x r
        });
    //! [synthesize_styles]
    CHECK(edited != before);
    CHECK(seen.size() == 8);
    CHECK(seen.at("b8.conv1") == std::vector<std::size_t>{1, 6, 8, 8});
    CHECK(seen.at("b8.torgb") == std::vector<std::size_t>{1, 3, 8, 8});
}
#endif
