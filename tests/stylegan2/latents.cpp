// Codes on every policy: the numbers that NumPy draws for a seed, z to w, w to w+ with truncation, w+ to styles, and what
// each of them refuses.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <moden/stylegan2/generator_map.hpp>
#include <moden/stylegan2/latents.hpp>
#include <moden/stylegan2/synthesis.hpp>

#include "models.hpp"

using namespace moden_test;
namespace stylegan2 = moden::stylegan2;
using moden::argument_error;
using moden::shape_error;

namespace {

template <class T>
constexpr double tolerance = sizeof(T) == sizeof(float) ? 5e-6 : 1e-13;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// A generator without mapping.w_avg.
weight_map without_average(const model_shape& shape, std::uint64_t seed) {
    weight_map weights = random_model(shape, seed);
    weights.erase("mapping.w_avg");
    return weights;
}

/// Row k of code n.
template <class T>
std::vector<T> row_of(const moden::tensor<T, 3>& ws, std::size_t n, std::size_t k) {
    const T* first = ws.data() + (n * ws.shape()[1] + k) * ws.shape()[2];
    return {first, first + ws.shape()[2]};
}

template <class T>
std::vector<T> row_of(const moden::tensor<T, 2>& w, std::size_t n) {
    return {w.data() + n * w.shape()[1], w.data() + (n + 1) * w.shape()[1]};
}

}  // namespace

// ---- seeds -----------------------------------------------------------------------------------------------------------

TEST_CASE("example: seeded_latents") {
    //! [seeded_latents]
    // What NVIDIA's scripts draw for --seeds=0,42: numpy.random.RandomState(seed).randn(512), as float32.
    const auto z = moden::stylegan2::seeded_latents<float>({0, 42}, 512);  // 2 x 512
    //! [seeded_latents]
    CHECK(z.shape() == std::array<std::size_t, 2>{2, 512});
    CHECK(z(0, 0) == 1.764052345967664F);
    CHECK(z(0, 511) == static_cast<float>(1.3749640663929898));
    CHECK(z(1, 0) == 0.4967141530112327F);
}

TEST_CASE("seeds draw what numpy.random.RandomState(seed).randn draws") {
    // Printed by NumPy 1.24 as repr(float(x)), which is the number itself.
    struct drawn {
        std::uint32_t seed;
        std::vector<double> numbers;
    };
    const std::vector<drawn> known{
        {0, {1.764052345967664, 0.4001572083672233, 0.9787379841057392, 2.240893199201458, 1.8675579901499675, -0.977277879876411}},
        {1, {1.6243453636632417, -0.6117564136500754, -0.5281717522634557, -1.0729686221561705, 0.8654076293246785}},
        {42, {0.4967141530112327, -0.13826430117118466, 0.6476885381006925, 1.5230298564080254}},
        {4294967295, {0.6484086742306527, 0.6693235306338161, -1.0805437227474493}},
        {123456789, {2.2129019979039612}}};
    for (const drawn& one : known) {
        CAPTURE(one.seed);
        const auto z = stylegan2::seeded_latents<double>({one.seed}, one.numbers.size());
        REQUIRE(z.shape() == std::array<std::size_t, 2>{1, one.numbers.size()});
        for (std::size_t i = 0; i < one.numbers.size(); ++i) {
            CAPTURE(i);
            CHECK(z(0, i) == one.numbers[i]);
            CHECK(stylegan2::seeded_latents<float>({one.seed}, one.numbers.size())(0, i) == static_cast<float>(one.numbers[i]));
        }
    }
    // Deep enough for the rejections of the polar method to shift everything if one of them were wrong, and beyond the 624
    // words after which the generator stirs itself.
    const auto z = stylegan2::seeded_latents<double>({7}, 1001);
    CHECK(z(0, 0) == 1.690525703800356);
    CHECK(z(0, 510) == -0.8763224285128013);
    CHECK(z(0, 511) == -1.779308714189156);
    CHECK(z(0, 999) == -0.6774392378782009);
    CHECK(z(0, 1000) == 0.8848879535077754);
}

TEST_CASE("every seed has its own row, whatever the others are") {
    const auto z = stylegan2::seeded_latents<double>({5, 3, 5, 0}, 7);
    CHECK(z.shape() == std::array<std::size_t, 2>{4, 7});
    CHECK(row_of(z, 0) == row_of(z, 2));
    CHECK(row_of(z, 0) != row_of(z, 1));
    CHECK(row_of(z, 1) == row_of(stylegan2::seeded_latents<double>({3}, 7), 0));
    // An odd row is the longer one without its last number.
    const auto longer = stylegan2::seeded_latents<double>({0}, 8);
    CHECK(std::equal(longer.data(), longer.data() + 7, z.data() + 3 * 7));
}

TEST_CASE("seeds and numbers that there are none of") {
    CHECK_THROWS_WITH_AS(stylegan2::seeded_latents<float>({}, 512),
                         "stylegan2::seeded_latents: 0 seeds and z_dim = 512 (expected at least one of each)", argument_error);
    CHECK_THROWS_WITH_AS(stylegan2::seeded_latents<double>({1, 2}, 0),
                         "stylegan2::seeded_latents: 2 seeds and z_dim = 0 (expected at least one of each)", argument_error);
}

// ---- z to w to w+ ----------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("example: map_latents and to_w_plus", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.z_dim = 6}, 21));
    const auto z = to_policy(policy, moden::stylegan2::seeded_latents<T>({0, 1, 2, 3}, 6));
    //! [map_latents]
    const auto w = moden::stylegan2::map_latents(policy, net, z);  // 4 x w_dim

    // One w per row of layers, 4 x num_ws x w_dim, the first four of them drawn towards the average.
    const auto ws = moden::stylegan2::to_w_plus(policy, net, w, {.psi = 0.7, .cutoff = 4});
    //! [map_latents]
    const auto host_w = to_host_tensor(policy, w);
    const auto host_ws = to_host_tensor(policy, ws);
    CHECK(host_w.shape() == std::array<std::size_t, 2>{4, 7});
    CHECK(host_ws.shape() == std::array<std::size_t, 3>{4, 6, 7});
    CHECK(row_of(host_ws, 2, 0) == row_of(host_ws, 2, 3));
    CHECK(row_of(host_ws, 2, 3) != row_of(host_w, 2));
    CHECK(row_of(host_ws, 2, 4) == row_of(host_w, 2));
}

TEST_CASE_TEMPLATE("only the direction of z counts", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const weight_map weights = random_model({.z_dim = 5}, 22);
    const auto net = load_model<T>(policy, weights);
    auto z = moden::tensor<T, 2>::from_shape({4, 5});
    const auto direction = random_tensor<T, 1>({5}, 1);
    for (std::size_t i = 0; i < 5; ++i) {
        z(0, i) = direction(i);
        z(1, i) = T(1024) * direction(i);
        z(2, i) = -direction(i);
        z(3, i) = T(0);  // has no direction, and must not divide by nothing
    }
    const auto w = to_host_tensor(policy, stylegan2::map_latents(policy, net, to_policy(policy, z)));
    const reference_generator<double> reference(weights, {});
    const auto origin = reference.map(std::vector<double>(5, 0.0));
    bool differs = false;
    for (std::size_t i = 0; i < 7; ++i) {
        // The scale matters through the 1e-8 beside the mean square alone.
        CHECK(static_cast<double>(w(0, i)) == doctest::Approx(static_cast<double>(w(1, i))).epsilon(1e-6));
        CHECK(static_cast<double>(w(3, i)) == doctest::Approx(origin[i]).epsilon(1e-5));
        differs = differs || w(2, i) != w(0, i);
    }
    CHECK(differs);
}

TEST_CASE_TEMPLATE("psi 1 leaves w as it is and psi 0 leaves the average, up to the cutoff", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const weight_map weights = random_model({}, 23);
    const auto net = load_model<T>(policy, weights);
    const std::size_t rows = net.layout().num_ws;
    REQUIRE(rows == 6);
    std::vector<T> average(weights.at("mapping.w_avg").data.begin(), weights.at("mapping.w_avg").data.end());
    auto w = random_tensor<T, 2>({3, 7}, 2);
    w(1, 0) = T(1e-30);   // of which w_avg + (w - w_avg) would keep nothing
    w(2, 3) = T(-1e20);
    const auto on_policy = to_policy(policy, w);
    const auto spread = [&](const stylegan2::truncation& options) {
        return to_host_tensor(policy, stylegan2::to_w_plus(policy, net, on_policy, options));
    };
    const std::optional<std::size_t> cutoffs[] = {std::nullopt, 0, 1, 4, 6};
    for (const auto& cutoff : cutoffs) {
        const std::size_t truncated = cutoff.value_or(rows);
        CAPTURE(truncated);
        const auto kept = spread({.psi = 1, .cutoff = cutoff});
        const auto averaged = spread({.psi = 0, .cutoff = cutoff});
        const auto half = spread({.psi = 0.5, .cutoff = cutoff});
        const auto beyond = spread({.psi = -1.5, .cutoff = cutoff});
        for (std::size_t n = 0; n < 3; ++n) {
            for (std::size_t k = 0; k < rows; ++k) {
                CAPTURE(n);
                CAPTURE(k);
                CHECK(row_of(kept, n, k) == row_of(w, n));
                if (k >= truncated) {
                    CHECK(row_of(averaged, n, k) == row_of(w, n));
                    CHECK(row_of(half, n, k) == row_of(w, n));
                    CHECK(row_of(beyond, n, k) == row_of(w, n));
                    continue;
                }
                CHECK(row_of(averaged, n, k) == average);
                for (std::size_t i = 0; i < 7; ++i) {
                    const double center = static_cast<double>(average[i]);
                    const double distance = static_cast<double>(w(n, i)) - center;
                    const double size = std::abs(center) + std::abs(distance);
                    CHECK(std::abs(static_cast<double>(half(n, k, i)) - (center + 0.5 * distance)) <= 4 * Cell::eps * size);
                    CHECK(std::abs(static_cast<double>(beyond(n, k, i)) - (center - 1.5 * distance)) <= 8 * Cell::eps * size);
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("what truncation refuses", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    using map_type = stylegan2::generator_map<Policy, T>;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({}, 24));
    const auto w = to_policy(policy, random_tensor<T, 2>({2, 7}, 1));
    const auto to_w_plus = [&](const auto& of, const stylegan2::truncation& options) {
        return to_host_tensor(policy, stylegan2::to_w_plus(policy, of, w, options));
    };
    CHECK_THROWS_WITH_AS(to_w_plus(net, {.psi = not_a_number}), "stylegan2::to_w_plus: psi is nan (expected a finite number)",
                         argument_error);
    CHECK_THROWS_WITH_AS(to_w_plus(net, {.psi = infinity}), "stylegan2::to_w_plus: psi is inf (expected a finite number)",
                         argument_error);
    CHECK_THROWS_WITH_AS(to_w_plus(net, {.psi = -infinity, .cutoff = 0}),
                         "stylegan2::to_w_plus: psi is -inf (expected a finite number)", argument_error);
    CHECK_THROWS_WITH_AS(to_w_plus(net, {.psi = 0.5, .cutoff = 7}), "stylegan2::to_w_plus: the cutoff is 7 of 6 rows",
                         argument_error);
    CHECK_THROWS_WITH_AS(to_w_plus(net, {.cutoff = ~std::size_t{0}}),
                         "stylegan2::to_w_plus: the cutoff is 18446744073709551615 of 6 rows", argument_error);
    CHECK_THROWS_WITH_AS(map_type(net, {.space = stylegan2::latent_space::z, .truncate = {.psi = not_a_number}}),
                         "stylegan2::generator_map: psi is nan (expected a finite number)", argument_error);
    CHECK_THROWS_WITH_AS(map_type(net, {.space = stylegan2::latent_space::z, .truncate = {.psi = 0.5, .cutoff = 7}}),
                         "stylegan2::generator_map: the cutoff is 7 of 6 rows", argument_error);

    // A model that does not know its average: everything but psi 1 needs it.
    const auto bare = load_model<T>(policy, without_average({}, 24));
    CHECK(!bare.layout().has_w_avg);
    CHECK_THROWS_WITH_AS(to_w_plus(bare, {.psi = 0.5}),
                         "stylegan2::to_w_plus: the model has no mapping.w_avg, which truncation with psi = 0.5 needs",
                         argument_error);
    CHECK_THROWS_WITH_AS(map_type(bare, {.space = stylegan2::latent_space::z, .truncate = {.psi = 0, .cutoff = 2}}),
                         "stylegan2::generator_map: the model has no mapping.w_avg, which truncation with psi = 0 needs",
                         argument_error);
    CHECK(to_w_plus(bare, {.psi = 1, .cutoff = 3}) == to_w_plus(net, {}));
}

TEST_CASE_TEMPLATE("codes of other shapes are refused with both shapes", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({}, 25));
    const auto conditional = load_model<T>(policy, random_model({.c_dim = 3}, 25));
    const auto matrix = [&](std::size_t rows, std::size_t columns) {
        return to_policy(policy, random_tensor<T, 2>({rows, columns}, 1));
    };
    const auto vector = to_policy(policy, random_tensor<T, 1>({6}, 1));
    const auto cube = [&](std::size_t a, std::size_t b, std::size_t c) { return to_policy(policy, random_tensor<T, 3>({a, b, c}, 1)); };

    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, net, matrix(2, 7)),
                         "stylegan2::map_latents: z has the shape 2 x 7 (expected N x 6)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, net, vector), "stylegan2::map_latents: z has the shape 6 (expected N x 6)",
                         shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, net, cube(1, 2, 6)),
                         "stylegan2::map_latents: z has the shape 1 x 2 x 6 (expected N x 6)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, net, matrix(0, 6)),
                         "stylegan2::map_latents: z has the shape 0 x 6 (expected N x 6)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, net, matrix(2, 6), matrix(2, 3)),
                         "stylegan2::map_latents: the model takes no labels", argument_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, conditional, matrix(2, 6)),
                         "stylegan2::map_latents: the model is conditional and needs N x 3 labels", argument_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, conditional, matrix(2, 6), matrix(2, 4)),
                         "stylegan2::map_latents: labels has the shape 2 x 4 (expected N x 3)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, conditional, matrix(2, 6), matrix(3, 3)),
                         "stylegan2::map_latents: 2 codes and 3 labels", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::map_latents(policy, conditional, matrix(2, 5), matrix(2, 3)),
                         "stylegan2::map_latents: z has the shape 2 x 5 (expected N x 6)", shape_error);

    CHECK_THROWS_WITH_AS(stylegan2::to_w_plus(policy, net, matrix(2, 6)),
                         "stylegan2::to_w_plus: w has the shape 2 x 6 (expected N x 7)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::to_w_plus(policy, net, vector), "stylegan2::to_w_plus: w has the shape 6 (expected N x 7)",
                         shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::to_w_plus(policy, net, matrix(0, 7)),
                         "stylegan2::to_w_plus: w has the shape 0 x 7 (expected N x 7)", shape_error);

    CHECK_THROWS_WITH_AS(stylegan2::styles(policy, net, cube(2, 5, 7)),
                         "stylegan2::styles: ws has the shape 2 x 5 x 7 (expected N x 6 x 7)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::styles(policy, net, cube(2, 6, 8)),
                         "stylegan2::styles: ws has the shape 2 x 6 x 8 (expected N x 6 x 7)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::styles(policy, net, matrix(6, 7)),
                         "stylegan2::styles: ws has the shape 6 x 7 (expected N x 6 x 7)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::styles(policy, net, cube(0, 6, 7)),
                         "stylegan2::styles: ws has the shape 0 x 6 x 7 (expected N x 6 x 7)", shape_error);

    CHECK_THROWS_WITH_AS(stylegan2::synthesize(policy, net, cube(1, 7, 6)),
                         "stylegan2::styles: ws has the shape 1 x 7 x 6 (expected N x 6 x 7)", shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::synthesize_styles(policy, net, matrix(1, 51)),
                         "stylegan2::synthesize_styles: styles has the shape 1 x 51 (expected N x 52)", shape_error);
}

// ---- w+ to styles ----------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("example: styles", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({}, 26));
    const auto ws = to_policy(policy, random_tensor<T, 3>({2, 6, 7}, 3));
    //! [styles]
    const auto styles = moden::stylegan2::styles(policy, net, ws);  // 2 x style_size

    // Where the styles of a layer lie: columns [style_offset, style_offset + in).
    const moden::stylegan2::synthesis_layer& layer = net.layout().layer("b8.conv1");
    //! [styles]
    CHECK(to_host_tensor(policy, styles).shape() == std::array<std::size_t, 2>{2, 52});
    CHECK(layer.style_offset == 8 + 8 + 8);
    CHECK(layer.in == 6);
}

TEST_CASE_TEMPLATE("a row of w+ styles its own layers and no others", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({}, 27));
    const stylegan2::architecture& layout = net.layout();
    const auto ws = random_tensor<T, 3>({2, layout.num_ws, layout.w_dim}, 4);
    const auto before = to_host_tensor(policy, stylegan2::styles(policy, net, to_policy(policy, ws)));
    const std::vector<std::vector<std::string>> layers_of_row{{"b4.conv1"},  {"b4.torgb", "b8.conv0"},
                                                              {"b8.conv1"},  {"b8.torgb", "b16.conv0"},
                                                              {"b16.conv1"}, {"b16.torgb"}};
    for (std::size_t k = 0; k < layout.num_ws; ++k) {
        CAPTURE(k);
        auto changed = ws;
        for (std::size_t i = 0; i < layout.w_dim; ++i) {
            changed(1, k, i) += T(1);
        }
        const auto after = to_host_tensor(policy, stylegan2::styles(policy, net, to_policy(policy, changed)));
        CHECK(row_of(after, 0) == row_of(before, 0));  // the other code
        for (const auto& layer : layout.layers) {
            CAPTURE(layer.name);
            const auto& expected = layers_of_row[k];
            const bool styled = std::find(expected.begin(), expected.end(), layer.name) != expected.end();
            CHECK((layer.ws_row == k) == styled);
            for (std::size_t c = layer.style_offset; c < layer.style_offset + layer.in; ++c) {
                CHECK((after(1, c) != before(1, c)) == styled);
            }
        }
    }
}

TEST_CASE_TEMPLATE("a code in a batch is mapped as it is alone", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({.z_dim = 9, .w_dim = 11, .mapping_layers = 4}, 28));
    const std::size_t count = 37;
    const auto z = stylegan2::seeded_latents<T>([] {
        std::vector<std::uint32_t> seeds(count);
        for (std::size_t n = 0; n < count; ++n) {
            seeds[n] = static_cast<std::uint32_t>(100 + n);
        }
        return seeds;
    }(), 9);
    const auto chain = [&](const moden::tensor<T, 2>& codes) {
        const auto w = stylegan2::map_latents(policy, net, to_policy(policy, codes));
        return to_host_tensor(policy, stylegan2::styles(policy, net, stylegan2::to_w_plus(policy, net, w, {.psi = 0.8})));
    };
    const auto together = chain(z);
    for (const std::size_t n : {std::size_t{0}, std::size_t{17}, count - 1}) {
        CAPTURE(n);
        auto one = moden::tensor<T, 2>::from_shape({1, 9});
        std::copy_n(z.data() + n * 9, 9, one.data());
        const auto alone = chain(one);
        double size = 0;
        for (const T value : alone) {
            size = std::max(size, std::abs(static_cast<double>(value)));
        }
        for (std::size_t i = 0; i < alone.size(); ++i) {
            CHECK(std::abs(static_cast<double>(alone(0, i)) - static_cast<double>(together(n, i))) < tolerance<T> * size);
        }
    }
}

// ---- affine maps -----------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("affine maps of the convolutions", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto net = load_model<T>(policy, random_model({}, 31));
    const auto& layout = net.layout();
    //! [affine_weights]
    const auto weights = moden::stylegan2::affine_weights(policy, net, 1, 3);  // convolutions of rows 1 to 3 of w+
    //! [affine_weights]
    const auto a = to_host_tensor(policy, weights);
    // What a difference of w does to styles.
    const auto w = random_tensor<T, 2>({2, layout.w_dim}, 3);
    const auto made = to_host_tensor(policy, stylegan2::styles(policy, net, stylegan2::to_w_plus(policy, net, to_policy(policy, w))));
    std::size_t row = 0;
    for (const auto& layer : layout.layers) {
        if (layer.kind == stylegan2::layer_kind::to_rgb || layer.ws_row < 1 || layer.ws_row > 3) {
            continue;
        }
        for (std::size_t c = 0; c < layer.in; ++c, ++row) {
            double expected = 0;
            for (std::size_t i = 0; i < layout.w_dim; ++i) {
                expected += static_cast<double>(a(row, i)) * (static_cast<double>(w(1, i)) - static_cast<double>(w(0, i)));
            }
            const double got = static_cast<double>(made(1, layer.style_offset + c)) - static_cast<double>(made(0, layer.style_offset + c));
            CHECK(got == doctest::Approx(expected).epsilon(1e3 * Cell::eps).scale(1));
        }
    }
    CHECK(row == a.shape()[0]);
    CHECK(row > 0);
    CHECK_THROWS_AS(stylegan2::affine_weights(policy, net, layout.num_ws), shape_error);
    CHECK_THROWS_AS(stylegan2::affine_weights(policy, net, 1, layout.num_ws), shape_error);
    CHECK_THROWS_WITH_AS(stylegan2::affine_weights(policy, net, layout.num_ws - 1, 1), doctest::Contains("no convolution"), shape_error);
}
