// The program stylegan2_run: what it writes for every option, that it is what the library computes, and what it refuses.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include "../../../tests/stylegan2/models.hpp"
#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::contents_of;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;
using moden::extents;
namespace stylegan2 = moden::stylegan2;
using stylegan2::latent_space;
using words = std::vector<std::string>;

template <class T>
using dynamic = moden::dynamic_tensor<T>;

outcome stylegan2_run(const words& arguments, const std::string& before = {}) {
    return examples::run(STYLEGAN2_RUN_PROGRAM, arguments, before);
}

/// Numbers in (-1, 1) of any shape; of doubles, with more digits than a float holds.
template <class T>
dynamic<T> random(const extents& shape, std::uint64_t seed) {
    auto result = dynamic<T>::from_shape(shape);
    moden_test::number_source next(seed);
    std::generate(result.begin(), result.end(), [&] {
        const double high = next();
        return static_cast<T>(high * (1 - 0x1p-20) + next() * 0x1p-24);
    });
    return result;
}

template <class T, std::size_t N>
moden::tensor<T, N> as(const auto& tensor) {
    return xt::cast<T>(tensor);
}

/// Row n of a tensor, as the only row of a matrix.
template <class T>
moden::tensor<T, 2> row_of(const dynamic<T>& tensor, std::size_t n) {
    const std::size_t size = tensor.size() / tensor.shape()[0];
    auto result = moden::tensor<T, 2>::from_shape({1, size});
    std::copy_n(tensor.data() + n * size, size, result.data());
    return result;
}

template <class A, class B>
double dot(const A& a, const B& b, std::size_t row) {
    const std::size_t size = a.size() / a.shape()[0];
    double sum = 0;
    for (std::size_t i = row * size; i < (row + 1) * size; ++i) {
        sum += static_cast<double>(a.data()[i]) * static_cast<double>(b.data()[i]);
    }
    return sum;
}

template <class A, class B>
double worst(const A& a, const B& b) {
    REQUIRE(a.size() == b.size());
    double difference = 0, largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference = std::max(difference, std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
        largest = std::max(largest, std::abs(static_cast<double>(b.data()[i])));
    }
    return difference / largest;
}

/// Checks that the program computed what this test did: up to the last places, since compilers with other options for
/// optimisation round sums of products elsewhere.
template <class A, class B>
void check_same(const A& a, const B& b) {
    static_assert(std::is_same_v<typename A::value_type, typename B::value_type>);
    REQUIRE(std::equal(a.shape().begin(), a.shape().end(), b.shape().begin(), b.shape().end()));
    CHECK(worst(a, b) < 100 * static_cast<double>(std::numeric_limits<typename A::value_type>::epsilon()));
}

/// Files by name, with what is in them.
std::map<std::string, std::string> files_in(const std::filesystem::path& folder) {
    std::map<std::string, std::string> result;
    for (const std::string& name : names_in(folder)) {
        result[name] = contents_of(folder / name);
    }
    return result;
}

struct fixture {
    moden::cpu_policy cpu;
    scratch_folder folder;
    std::string weights = (folder / "W.safetensors").string();      // 16 pixels; z 6, w 7, 6 rows, 45 styles
    std::string conditional = (folder / "C.safetensors").string();  // 8 pixels, 3 labels
    std::string bare = (folder / "B.safetensors").string();         // 8 pixels, without an average
    std::string out = (folder / "out").string();

    fixture() {
        moden_test::save_model(weights, moden_test::random_model({.channels = {8, 5, 3}}, 51), {{"conv_clamp", "1.5"}});
        moden_test::save_model(conditional, moden_test::random_model({.c_dim = 3, .channels = {4, 3}}, 52));
        auto without = moden_test::random_model({.channels = {4, 3}}, 53);
        without.erase("mapping.w_avg");
        moden_test::save_model(bare, without);
    }

    template <class T>
    auto net() const {
        return stylegan2::load_generator<T>(cpu, weights);
    }

    /// Writes a tensor to a file of the folder and returns its path.
    template <class Tensor>
    std::string file(const std::string& name, const Tensor& tensor, moden::io::array_order order = moden::io::array_order::c) const {
        const std::string path = (folder / name).string();
        moden::io::save_npy(path, tensor, {.order = order});
        return path;
    }

    /// A file of the results; checks its type and shape.
    template <class T>
    dynamic<T> result(const std::string& name, const extents& shape) const {
        const moden::io::npy_file file(out + "/" + name);
        CHECK(file.type() == moden::io::element_type_of<T>());
        REQUIRE(file.shape() == shape);
        return file.load<T>();
    }

    /// Runs the program on the model with 16 pixels and checks that it is content.
    outcome good(const words& arguments, const std::string& model = {}) const {
        words all{"--weights", model.empty() ? weights : model, "--out", out};
        all.insert(all.end(), arguments.begin(), arguments.end());
        outcome result = stylegan2_run(all);
        CHECK(result.err == "");
        REQUIRE(result.exit_code == 0);
        return result;
    }
};

std::vector<std::string> plain_names(std::size_t count) {
    std::vector<std::string> names{"contact_sheet.png"};
    for (std::size_t n = 0; n < count; ++n) {
        names.push_back("image_000" + std::to_string(n) + ".png");
    }
    names.push_back("images.npy");
    names.push_back("ws.npy");
    return names;
}

}  // namespace

// ---- pictures --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "pictures of seeds") {
    const outcome said = good({"--seeds", "3,0-2,4294967295"});
    CHECK(names_in(out) == plain_names(5));
    const auto model = net<float>();
    const auto w = stylegan2::map_latents(cpu, model, stylegan2::seeded_latents<float>({3, 0, 1, 2, 4294967295}, 6));
    const auto ws = stylegan2::to_w_plus(cpu, model, w);
    const auto images = stylegan2::synthesize(cpu, model, ws);
    check_same(result<float>("ws.npy", {5, 6, 7}), ws);
    const auto written = result<float>("images.npy", {5, 3, 16, 16});
    check_same(written, images);
    for (std::size_t n = 0; n < 5; ++n) {
        const auto picture = moden::io::read_png(out + "/image_000" + std::to_string(n) + ".png");
        REQUIRE(picture.shape() == std::array<std::size_t, 3>{16, 16, 3});
        for (std::size_t c = 0; c < 3; ++c) {
            for (std::size_t y = 0; y < 16; ++y) {
                for (std::size_t x = 0; x < 16; ++x) {
                    const double value = std::clamp(static_cast<double>(written(n, c, y, x)) * 127.5 + 128, 0.0, 255.0);
                    CHECK(static_cast<int>(picture(y, x, c)) == static_cast<int>(value));
                }
            }
        }
    }
    const auto sheet = moden::io::read_png(out + "/contact_sheet.png");
    CHECK(sheet.shape()[2] == 3);
    CHECK(sheet.shape()[1] > 5 * 96);
    CHECK(said.out.starts_with("resolution      16 x 16\n"
                               "latent spaces   z 6, w 7, w+ 6 x 7, styles 45\n"
                               "mapping         3 layers\n"
                               "channels        4: 8, 8: 5, 16: 3\n"
                               "activations     clamped to +-1.5\n\n"
                               "pictures        5, in float on cpu\n"
                               "time            "));
    CHECK(said.out.ends_with("\nwritten         images.npy ws.npy image_0000.png ... contact_sheet.png in " + out + "\n"));
}

TEST_CASE_FIXTURE(fixture, "what models of other kinds are said to be") {
    const outcome unaware = good({"--seeds", "1"}, bare);
    CHECK(unaware.out.starts_with("resolution      8 x 8\nlatent spaces   z 6, w 7, w+ 4 x 7, styles 18; no average of w\n"));
    CHECK(unaware.out.find("\nactivations     not clamped\n") != std::string::npos);
    const std::string labels = file("c.npy", random<float>({1, 3}, 1));
    CHECK(good({"--seeds", "1", "--labels", labels}, conditional).out.find("\nlabels          3\n") != std::string::npos);
}

TEST_CASE_FIXTURE(fixture, "double precision") {
    const std::string z = file("z.npy", random<double>({2, 6}, 1));
    CHECK(good({"--z", z, "--double"}).out.find("\npictures        2, in double on cpu\n") != std::string::npos);
    const auto model = net<double>();
    const auto w = stylegan2::map_latents(cpu, model, moden::io::load_npy<double, 2>(z));
    const auto ws = stylegan2::to_w_plus(cpu, model, w);
    check_same(result<double>("ws.npy", {2, 6, 7}), ws);
    check_same(result<double>("images.npy", {2, 3, 16, 16}), stylegan2::synthesize(cpu, model, ws));
    const auto exact = result<double>("images.npy", {2, 3, 16, 16});
    good({"--z", z});
    CHECK(worst(result<float>("images.npy", {2, 3, 16, 16}), exact) < 5e-6);
}

TEST_CASE_FIXTURE(fixture, "codes of every space, of every type and storage order") {
    const auto model = net<float>();
    const auto z = random<double>({3, 6}, 1);
    const auto w = random<double>({3, 7}, 2);
    const auto ws = random<double>({3, 6, 7}, 3);
    const auto pictures_of = [&](const auto& rows) { return stylegan2::synthesize(cpu, model, rows); };
    const auto mapped = stylegan2::to_w_plus(cpu, model, stylegan2::map_latents(cpu, model, as<float, 2>(z)));
    const auto spread = stylegan2::to_w_plus(cpu, model, as<float, 2>(w));
    const auto given = as<float, 3>(ws);
    for (const auto order : {moden::io::array_order::c, moden::io::array_order::fortran}) {
        good({"--z", file("z.npy", z, order)});
        check_same(result<float>("ws.npy", {3, 6, 7}), mapped);
        check_same(result<float>("images.npy", {3, 3, 16, 16}), pictures_of(mapped));
        good({"--w", file("w.npy", w, order)});
        check_same(result<float>("ws.npy", {3, 6, 7}), spread);
        check_same(result<float>("images.npy", {3, 3, 16, 16}), pictures_of(spread));
        good({"--wplus", file("p.npy", dynamic<float>(given), order)});
        CHECK(result<float>("ws.npy", {3, 6, 7}) == given);
        check_same(result<float>("images.npy", {3, 3, 16, 16}), pictures_of(given));
    }
    // Integers are numbers too, and floats serve a run in double precision.
    auto whole = dynamic<std::int32_t>::from_shape({1, 6});
    std::copy_n(std::begin({1, -2, 0, 3, -1, 2}), 6, whole.begin());
    good({"--z", file("whole.npy", whole)});
    check_same(result<float>("ws.npy", {1, 6, 7}), stylegan2::to_w_plus(cpu, model, stylegan2::map_latents(cpu, model, as<float, 2>(whole))));
    good({"--w", file("w.npy", dynamic<float>(w)), "--double"});
    check_same(result<double>("ws.npy", {3, 6, 7}), stylegan2::to_w_plus(cpu, net<double>(), as<double, 2>(dynamic<float>(w))));
}

TEST_CASE_FIXTURE(fixture, "truncation") {
    const auto model = net<float>();
    const auto w = stylegan2::map_latents(cpu, model, stylegan2::seeded_latents<float>({1, 2}, 6));
    good({"--seeds", "1,2", "--psi", "0.7"});
    check_same(result<float>("ws.npy", {2, 6, 7}), stylegan2::to_w_plus(cpu, model, w, {.psi = 0.7}));
    good({"--seeds", "1,2", "--psi", "-0.5", "--cutoff", "4"});
    check_same(result<float>("ws.npy", {2, 6, 7}), stylegan2::to_w_plus(cpu, model, w, {.psi = -0.5, .cutoff = 4}));
    good({"--seeds", "1-2", "--psi", "0", "--cutoff", "0"});
    check_same(result<float>("ws.npy", {2, 6, 7}), stylegan2::to_w_plus(cpu, model, w));
    good({"--seeds", "1,2", "--psi", "0"});
    const auto average = result<float>("ws.npy", {2, 6, 7});
    CHECK(row_of(average, 0) == row_of(average, 1));
}

TEST_CASE_FIXTURE(fixture, "labels of conditional models") {
    const auto labels = random<double>({2, 3}, 4);
    const std::string names = file("c.npy", labels);
    const auto model = stylegan2::load_generator<float>(cpu, conditional);
    const auto z = stylegan2::seeded_latents<float>({8, 9}, 6);
    good({"--seeds", "8,9", "--labels", names, "--psi", "0.9"}, conditional);
    const auto ws = stylegan2::to_w_plus(cpu, model, stylegan2::map_latents(cpu, model, z, as<float, 2>(labels)), {.psi = 0.9});
    check_same(result<float>("ws.npy", {2, 4, 7}), ws);
    check_same(result<float>("images.npy", {2, 3, 8, 8}), stylegan2::synthesize(cpu, model, ws));
    // Behind the mapping network labels have no say.
    good({"--wplus", file("p.npy", dynamic<float>(ws))}, conditional);
    check_same(result<float>("images.npy", {2, 3, 8, 8}), stylegan2::synthesize(cpu, model, ws));
}

TEST_CASE_FIXTURE(fixture, "noise") {
    const auto model = net<float>();
    const auto ws = random<float>({3, 6, 7}, 5);
    const std::string codes = file("p.npy", ws);
    const auto pictures = [&](const stylegan2::synthesis_options& options) {
        return stylegan2::synthesize(cpu, model, as<float, 3>(ws), options);
    };
    const extents shape{3, 3, 16, 16};
    good({"--wplus", codes, "--noise", "const"});
    const auto constant = result<float>("images.npy", shape);
    check_same(constant, pictures({}));
    good({"--wplus", codes, "--noise", "none"});
    check_same(result<float>("images.npy", shape), pictures({.noise = stylegan2::noise_mode::none}));
    good({"--wplus", codes, "--noise", "random"});
    const auto varied = result<float>("images.npy", shape);
    check_same(varied, pictures({.noise = stylegan2::noise_mode::random}));
    CHECK(varied != constant);
    good({"--wplus", codes, "--noise", "random", "--noise-seed", "18446744073709551615"});
    check_same(result<float>("images.npy", shape), pictures({.noise = stylegan2::noise_mode::random, .noise_seed = ~std::uint64_t{0}}));
}

TEST_CASE_FIXTURE(fixture, "more pictures than are made at once, and than a sheet holds") {
    const std::string large = (folder / "L.safetensors").string();  // 64 pixels
    moden_test::save_model(large, moden_test::random_model({.channels = {3, 2, 2, 2, 2}}, 54));
    const auto model = stylegan2::load_generator<float>(cpu, large);
    const auto ws = random<float>({70, 10, 7}, 6);
    good({"--wplus", file("p.npy", ws), "--noise", "random", "--noise-seed", "3", "--dump", "styles,activations,rgb"}, large);
    const auto images = stylegan2::synthesize(cpu, model, as<float, 3>(ws), {.noise = stylegan2::noise_mode::random, .noise_seed = 3});
    CHECK(worst(result<float>("images.npy", {70, 3, 64, 64}), images) < 5e-6);
    CHECK(worst(result<float>("rgb_b64.npy", {70, 3, 64, 64}), images) < 5e-6);
    CHECK(result<float>("ws.npy", {70, 10, 7}) == ws);
    const auto styles = stylegan2::styles(cpu, model, as<float, 3>(ws));
    const auto written = result<float>("style_b4_conv1.npy", {70, 3});
    for (const std::size_t n : {0, 63, 64, 69}) {
        CHECK(written(n, 2) == doctest::Approx(styles(n, 2)).epsilon(1e-5));
    }
    CHECK(names_in(out).size() == 3 + 70 + 14 + 9 + 5);
    CHECK(std::filesystem::exists(out + "/image_0069.png"));
    const auto sheet = moden::io::read_png(out + "/contact_sheet.png");
    CHECK(sheet.shape()[0] > 8 * 96);
    CHECK(sheet.shape()[0] < 9 * 140);
}

TEST_CASE_FIXTURE(fixture, "--dump writes what it is asked for, layer by layer") {
    const auto model = net<float>();
    const auto& layout = model.layout();
    const std::string codes = file("p.npy", random<float>({2, 6, 7}, 7));
    const auto ws = moden::io::load_npy<float, 3>(codes);
    const auto styles = stylegan2::styles(cpu, model, ws);
    std::map<std::string, moden::tensor<float, 4>> seen;
    const auto images = stylegan2::synthesize_styles(cpu, model, styles, {}, [&](const auto& layer, const auto& values) {
        seen.emplace(layer.name, values);
    });
    const std::vector<std::string> style_names{"style_b16_conv0.npy", "style_b16_conv1.npy", "style_b16_torgb.npy", "style_b4_conv1.npy",
                                               "style_b4_torgb.npy",  "style_b8_conv0.npy",  "style_b8_conv1.npy",  "style_b8_torgb.npy"};
    const std::vector<std::string> activation_names{"act_b16_conv0.npy", "act_b16_conv1.npy", "act_b4_conv1.npy", "act_b8_conv0.npy",
                                                    "act_b8_conv1.npy"};
    const std::vector<std::string> picture_names{"rgb_b16.npy", "rgb_b4.npy", "rgb_b8.npy"};
    const auto check = [&](const std::string& list, bool with_styles, bool with_activations, bool with_pictures) {
        CAPTURE(list);
        good({"--wplus", codes, "--dump", list});
        auto expected = plain_names(2);
        const auto add = [&](bool wanted, const std::vector<std::string>& names) {
            expected.insert(expected.end(), wanted ? names.begin() : names.end(), names.end());
        };
        add(with_styles, style_names);
        add(with_activations, activation_names);
        add(with_pictures, picture_names);
        std::sort(expected.begin(), expected.end());
        CHECK(names_in(out) == expected);
        check_same(result<float>("images.npy", {2, 3, 16, 16}), images);
        for (const auto& layer : layout.layers) {
            CAPTURE(layer.name);
            const std::string block = layer.name.substr(0, layer.name.find('.'));
            const std::string part = block + "_" + layer.name.substr(layer.name.find('.') + 1);
            if (with_styles) {
                const auto written = result<float>("style_" + part + ".npy", {2, layer.in});
                auto columns = moden::tensor<float, 2>::from_shape({2, layer.in});
                for (std::size_t i = 0; i < columns.size(); ++i) {
                    columns.data()[i] = styles(i / layer.in, layer.style_offset + i % layer.in);
                }
                check_same(written, columns);
            }
            const bool picture = layer.kind == stylegan2::layer_kind::to_rgb;
            const extents shape{2, layer.out, layer.resolution, layer.resolution};
            if (picture && with_pictures) {
                check_same(result<float>("rgb_" + block + ".npy", shape), seen.at(layer.name));
            } else if (!picture && with_activations) {
                check_same(result<float>("act_" + part + ".npy", shape), seen.at(layer.name));
            }
        }
    };
    check("styles,activations,rgb", true, true, true);
    check("rgb", false, false, true);
    check("activations", false, true, false);
    check("styles,styles", true, false, false);
    check("rgb,styles", true, false, true);
}

// ---- derivatives -----------------------------------------------------------------------------------------------------

namespace {

struct derivative_case {
    std::string space;
    latent_space kind;
    extents row;  ///< of a point
    words codes;  ///< how points are given
    stylegan2::truncation truncate = {};
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "derivatives in every space are those of the library, and adjoint to each other") {
    const auto z = random<double>({3, 6}, 11);
    const auto w = random<double>({3, 7}, 12);
    const auto ws = random<double>({3, 6, 7}, 13);
    const words from_z{"--z", file("z.npy", z)};
    const words from_w{"--w", file("w.npy", w)};
    const words from_ws{"--wplus", file("p.npy", ws)};
    const auto and_also = [](words list, const words& more) {
        list.insert(list.end(), more.begin(), more.end());
        return list;
    };
    const std::vector<derivative_case> cases{
        {"z", latent_space::z, {6}, from_z},
        {"z", latent_space::z, {6}, and_also(from_z, {"--psi", "0.6", "--cutoff", "3"}), {.psi = 0.6, .cutoff = 3}},
        {"w", latent_space::w, {7}, from_w},
        {"w", latent_space::w, {7}, from_z},
        {"w", latent_space::w, {7}, and_also(from_z, {"--psi", "0.6"}), {.psi = 0.6}},
        {"wplus", latent_space::w_plus, {6, 7}, from_ws},
        {"wplus", latent_space::w_plus, {6, 7}, from_w},
        {"wplus", latent_space::w_plus, {6, 7}, and_also(from_z, {"--psi", "0.6", "--cutoff", "2"}), {.psi = 0.6, .cutoff = 2}},
        {"style", latent_space::style, {45}, from_ws},
        {"style", latent_space::style, {45}, and_also(from_z, {"--psi", "0.6"}), {.psi = 0.6}}};
    const auto model = net<double>();
    const auto cotangents = random<double>({3, 3, 16, 16}, 15);
    const std::string cotangent = file("u.npy", cotangents);
    for (const derivative_case& test : cases) {
        CAPTURE(test.space);
        CAPTURE(test.codes[0]);
        CAPTURE(test.truncate.psi);
        extents shape{3};
        shape.insert(shape.end(), test.row.begin(), test.row.end());
        const auto tangents = random<double>(shape, 14);
        const std::string tangent = file("v.npy", tangents);
        good(and_also(test.codes, {"--tangent", tangent, "--cotangent", cotangent, "--space", test.space, "--double"}));
        const auto forward = result<double>("jvp.npy", {3, 3, 16, 16});
        const auto backward = result<double>("vjp.npy", shape);
        const auto rows = result<double>("ws.npy", {3, 6, 7});
        const auto styles = stylegan2::styles(cpu, model, as<double, 3>(rows));
        const stylegan2::generator_map<moden::cpu_policy, double> map(model, {.space = test.kind, .truncate = test.truncate});
        for (std::size_t n = 0; n < 3; ++n) {
            CAPTURE(n);
            const double there = dot(forward, cotangents, n);
            CHECK(there == doctest::Approx(dot(tangents, backward, n)).epsilon(1e-10));
            // where the derivative is taken: z itself, or what became of it
            auto x = moden::tensor<double, 1>::from_shape({map.input_size()});
            const double* from = test.kind == latent_space::z       ? z.data() + n * 6
                                 : test.kind == latent_space::style ? styles.data() + n * 45
                                                                    : rows.data() + n * 42;
            std::copy_n(from, x.size(), x.data());
            const auto expected_jvp = map.jvp(cpu, x, row_of(tangents, n));
            const auto expected_vjp = map.vjp(cpu, x, row_of(cotangents, n));
            check_same(expected_jvp, row_of(forward, n));
            check_same(expected_vjp, row_of(backward, n));
        }
    }
}

TEST_CASE_FIXTURE(fixture, "one of the two derivatives, in single precision, in the space that is meant if none is named") {
    const std::string codes = file("p.npy", random<double>({2, 6, 7}, 16));
    const auto tangents = random<double>({2, 6, 7}, 17);
    const auto cotangents = random<double>({2, 3, 16, 16}, 18);
    auto expected = plain_names(2);

    const outcome said = good({"--wplus", codes, "--tangent", file("v.npy", tangents)});
    CHECK(said.out.find("\nwritten         images.npy jvp.npy ws.npy ") != std::string::npos);
    expected.push_back("jvp.npy");
    std::sort(expected.begin(), expected.end());
    CHECK(names_in(out) == expected);
    const auto forward = result<float>("jvp.npy", {2, 3, 16, 16});

    good({"--wplus", codes, "--cotangent", file("u.npy", cotangents)});
    std::replace(expected.begin(), expected.end(), std::string("jvp.npy"), std::string("vjp.npy"));
    std::sort(expected.begin(), expected.end());
    CHECK(names_in(out) == expected);  // the other one is gone: it does not belong to these results
    const auto backward = result<float>("vjp.npy", {2, 6, 7});
    for (std::size_t n = 0; n < 2; ++n) {
        CHECK(dot(forward, cotangents, n) == doctest::Approx(dot(tangents, backward, n)).epsilon(1e-4));
    }
}

TEST_CASE_FIXTURE(fixture, "derivatives of pictures with random noise, of conditional models, and in a sense of the limit") {
    const auto labels = random<double>({2, 3}, 19);
    const auto z = random<double>({2, 6}, 20);
    const auto v = random<double>({2, 6}, 21);
    const std::string label_file = file("c.npy", labels);
    const std::string tangent = file("v.npy", v);
    const auto run_at = [&](double step, const words& more) {
        dynamic<double> moved = z + step * v;
        words arguments{"--z", file("z.npy", moved), "--labels", label_file, "--psi", "0.8", "--double", "--noise", "random", "--noise-seed", "5"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        good(arguments, conditional);
        return result<double>("images.npy", {2, 3, 8, 8});
    };
    const auto behind = run_at(-1e-6, {});
    const auto ahead = run_at(1e-6, {});
    run_at(0, {"--tangent", tangent, "--space", "z"});
    const auto slope = result<double>("jvp.npy", {2, 3, 8, 8});
    const dynamic<double> difference = (ahead - behind) / 2e-6;
    CHECK(worst(difference, slope) < 1e-6);  // no kink of the activation lies that near
}

// ---- folders ---------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "files of an earlier run go, and those of others stay") {
    const std::string codes = file("p.npy", random<float>({5, 6, 7}, 22));
    good({"--wplus", codes, "--dump", "styles,activations,rgb", "--tangent", file("v.npy", random<float>({5, 6, 7}, 23)), "--cotangent",
          file("u.npy", random<float>({5, 3, 16, 16}, 24))});
    CHECK(names_in(out).size() == plain_names(5).size() + 16 + 2);
    // Names that resemble the program's.
    const std::vector<std::string> foreign{"notes.txt",        "images.npy.bak",  "image_0001.jpg",  "image_0001.png.txt", "image_a.png",
                                           "my_images.npy",    "style.npy",       "style_transfer.npy", "act.npy",          "vjp_old.npy",
                                           "contact_sheet.pdf", "rgb_values.npy", "image_.png",       "style_book.npy",     "rgb_before.npy",
                                           "act_backup_b8_conv0.npy", "style_b8_conv0.txt"};
    for (const std::string& name : foreign) {
        std::ofstream(out + "/" + name) << name;
    }
    std::filesystem::create_directory(out + "/image_0007.png");  // a folder is nobody's result
    good({"--seeds", "0,1"});
    auto expected = plain_names(2);
    expected.insert(expected.end(), foreign.begin(), foreign.end());
    expected.push_back("image_0007.png");
    std::sort(expected.begin(), expected.end());
    CHECK(names_in(out) == expected);
    for (const std::string& name : foreign) {
        CHECK(contents_of(out + "/" + name) == name);
    }
}

TEST_CASE_FIXTURE(fixture, "results are written all together or not at all") {
    const std::string codes = file("p.npy", random<float>({4, 6, 7}, 25));
    const words arguments{"--weights", weights, "--wplus", codes, "--out", out};
    const auto before = names_in(folder.path());
    check_refused(stylegan2_run(arguments, "ulimit -f 4;"), "stylegan2_run", "cannot write");  // images.npy has 12 kilobytes
    CHECK(names_in(folder.path()) == before);
    good({"--seeds", "7", "--dump", "styles"});
    const auto files = files_in(out);
    check_refused(stylegan2_run(arguments, "ulimit -f 4;"), "stylegan2_run", "cannot write");
    CHECK(files_in(out) == files);
    std::filesystem::remove(out + "/ws.npy");
    std::filesystem::create_directory(out + "/ws.npy");
    check_refused(stylegan2_run(arguments), "stylegan2_run", "ws.npy");
    CHECK(contents_of(out + "/images.npy") == files.at("images.npy"));
    CHECK(names_in(out).size() == files.size());

    // Folders that do not exist yet, one inside the other.
    const std::string deep = (folder / "a").string() + "/b/c/";
    CHECK(stylegan2_run({"--weights", weights, "--wplus", codes, "--out", deep}).exit_code == 0);
    CHECK(names_in(deep) == plain_names(4));
}

TEST_CASE_FIXTURE(fixture, "inputs that the results would replace are refused") {
    good({"--seeds", "1"});
    const auto refused = [&](const words& arguments, const std::string& name) {
        words all{"--weights", weights, "--out", out};
        all.insert(all.end(), arguments.begin(), arguments.end());
        const auto files = files_in(out);
        check_refused(stylegan2_run(all), "stylegan2_run", name + "' would be replaced by the results (expected another --out)");
        CHECK(files_in(out) == files);
    };
    refused({"--wplus", out + "/ws.npy"}, "/ws.npy");
    moden::io::save_npy(out + "/vjp.npy", random<float>({1, 6, 7}, 1));
    refused({"--seeds", "1", "--tangent", out + "/vjp.npy"}, "/vjp.npy");
    refused({"--seeds", "1", "--cotangent", out + "/../out/images.npy"}, "/images.npy");
    // Elsewhere the same names do no harm, and neither do other names here.
    moden::io::save_npy(out + "/codes.npy", random<float>({1, 6, 7}, 1));
    good({"--wplus", out + "/codes.npy", "--tangent", file("vjp.npy", random<float>({1, 6, 7}, 1))});
}

// ---- refusals --------------------------------------------------------------------------------------------------------

TEST_CASE_FIXTURE(fixture, "what is refused, and that nothing is written") {
    const auto with = [](auto tensor, std::size_t at, double value) {
        tensor.data()[at] = value;
        return tensor;
    };
    const std::string z = file("z.npy", random<double>({2, 6}, 1));
    const std::string w = file("w.npy", random<double>({2, 7}, 1));
    const std::string ws = file("p.npy", random<double>({2, 6, 7}, 1));
    const std::string pictures = file("u.npy", random<double>({2, 3, 16, 16}, 1));
    const std::string labels = file("c.npy", random<double>({2, 3}, 1));
    const std::string flat = file("flat.npy", random<double>({6}, 1));
    const std::string none = file("none.npy", random<double>({0, 6}, 1));
    const std::string three = file("three.npy", random<double>({3, 6, 7}, 1));
    const std::string nan = file("nan.npy", with(random<double>({2, 6}, 1), 3, std::numeric_limits<double>::quiet_NaN()));
    const std::string huge = file("huge.npy", with(random<double>({2, 6}, 1), 3, 1e300));
    const std::string infinite = file("infinite.npy", with(random<double>({2, 3, 16, 16}, 1), 700, -INFINITY));
    const std::string text = (folder / "text.npy").string();
    std::ofstream(text) << "not an array";
    const std::string missing = (folder / "missing.npy").string();
    const std::string damaged = (folder / "D.safetensors").string();
    std::ofstream(damaged, std::ios::binary) << contents_of(weights).substr(0, 5000);
    auto model = moden_test::random_model({.channels = {4, 3}}, 5);
    model.erase("synthesis.b8.conv1.bias");
    const std::string incomplete = (folder / "I.safetensors").string();
    moden_test::save_model(incomplete, model);

    struct refusal {
        words arguments;  ///< after --weights W --out out, unless they name their own
        std::string says;
    };
    const std::vector<refusal> refusals{
        {{}, "Exactly 1 option from [--z,--w,--wplus,--seeds] is required"},
        {{"--z", z, "--seeds", "1"}, "Exactly 1 option from [--z,--w,--wplus,--seeds] is required"},
        {{"--w", w, "--wplus", ws}, "Exactly 1 option from [--z,--w,--wplus,--seeds] is required"},
        {{"--seeds", "1", "--frobnicate"}, "frobnicate"},
        {{"--seeds", "1", "stray"}, "stray"},
        {{"--seeds", ""}, "empty"},
        {{"--z", ""}, "empty"},
        {{"--wplus", ""}, "empty"},
        {{"--seeds", "1,"}, "--seeds '1,' (expected numbers and ranges up to 4294967295, such as 0-15 or 3,8,20-29)"},
        {{"--seeds", ",1"}, "--seeds ',1'"},
        {{"--seeds", "1,,2"}, "--seeds '1,,2'"},
        {{"--seeds=-1"}, "--seeds '-1'"},
        {{"--seeds", "5-3"}, "--seeds '5-3'"},
        {{"--seeds", "1-2-3"}, "--seeds '1-2-3'"},
        {{"--seeds", "1-"}, "--seeds '1-'"},
        {{"--seeds", "4294967296"}, "--seeds '4294967296'"},
        {{"--seeds", "99999999999999999999"}, "--seeds '99999999999999999999'"},
        {{"--seeds", "1.5"}, "--seeds '1.5'"},
        {{"--seeds", "0x10"}, "--seeds '0x10'"},
        {{"--seeds", " 1"}, "--seeds ' 1'"},
        {{"--seeds", "0-1000000"}, "--seeds '0-1000000'"},
        {{"--seeds", "0-4294967295"}, "--seeds '0-4294967295'"},
        {{"--z", missing}, "missing.npy"},
        {{"--z", text}, "--z: '" + text + "'"},
        {{"--z", folder.path().string()}, "regular file"},
        {{"--z", w}, "--z '" + w + "' has the shape 2 x 7 (expected N x 6)"},
        {{"--z", flat}, "--z '" + flat + "' has the shape 6 (expected N x 6)"},
        {{"--z", none}, "--z '" + none + "' has the shape 0 x 6 (expected N x 6)"},
        {{"--z", nan}, "--z '" + nan + "' holds 1 values that are NaN or infinite"},
        {{"--z", huge}, "--z '" + huge + "' holds 1 values that are NaN or infinite"},  // in single precision
        {{"--w", z}, "--w '" + z + "' has the shape 2 x 6 (expected N x 7)"},
        {{"--wplus", w}, "--wplus '" + w + "' has the shape 2 x 7 (expected N x 6 x 7)"},
        {{"--seeds", "1", "--psi", "nan"}, "--psi"},
        {{"--seeds", "1", "--psi", "inf"}, "--psi"},
        {{"--seeds", "1", "--psi", "1e999"}, "--psi"},
        {{"--seeds", "1", "--psi", "half"}, "--psi"},
        {{"--seeds", "1", "--cutoff", "7", "--psi", "0.5"}, "the cutoff is 7 of 6 rows"},
        {{"--seeds", "1", "--cutoff", "7"}, "the cutoff is 7 of 6 rows"},
        {{"--seeds", "1", "--cutoff=-1"}, "--cutoff"},
        {{"--seeds", "1", "--cutoff", "2.5"}, "--cutoff"},
        {{"--w", w, "--psi", "0.5"}, "--psi and --cutoff go with --z and --seeds"},
        {{"--wplus", ws, "--cutoff", "2"}, "--psi and --cutoff go with --z and --seeds"},
        {{"--weights", bare, "--seeds", "1", "--psi", "0.5"}, "no mapping.w_avg"},
        {{"--w", w, "--labels", labels}, "--labels go with --z and --seeds"},
        {{"--z", z, "--labels", labels}, "--labels: the model is not conditional"},
        {{"--z", z, "--labels", ""}, "--labels"},
        {{"--weights", conditional, "--z", z}, "the model is conditional (expected --labels, 2 x 3)"},
        {{"--weights", conditional, "--seeds", "0-4", "--labels", labels}, "--labels '" + labels + "' has the shape 2 x 3 (expected 5 x 3)"},
        {{"--weights", conditional, "--z", z, "--labels", w}, "--labels '" + w + "' has the shape 2 x 7 (expected 2 x 3)"},
        {{"--seeds", "1", "--noise", "loud"}, "loud"},
        {{"--seeds", "1", "--noise-seed", "4"}, "--noise-seed goes with --noise random"},
        {{"--seeds", "1", "--noise", "random", "--noise-seed=-1"}, "--noise-seed"},
        {{"--seeds", "1", "--noise", "random", "--noise-seed", "18446744073709551616"}, "--noise-seed"},
        {{"--seeds", "1", "--dump", "everything"}, "--dump 'everything' (expected styles, activations, rgb)"},
        {{"--seeds", "1", "--dump", "styles,"}, "--dump '' (expected styles, activations, rgb)"},
        {{"--seeds", "1", "--dump", "Styles"}, "--dump 'Styles'"},
        {{"--seeds", "1", "--dump", ""}, "--dump"},
        {{"--seeds", "1", "--space", "w"}, "--space goes with --tangent and --cotangent"},
        {{"--z", z, "--tangent", z, "--space", "q"}, "q"},
        {{"--w", w, "--tangent", z, "--space", "z"}, "--space z needs --z or --seeds"},
        {{"--wplus", ws, "--tangent", w, "--space", "w"}, "--space w needs --w, --z or --seeds"},
        {{"--z", z, "--psi", "0.5", "--cutoff", "2", "--tangent", w, "--space", "w"}, "--space w with --cutoff"},
        {{"--z", z, "--tangent", z}, "--tangent '" + z + "' has the shape 2 x 6 (expected 2 x 6 x 7)"},
        {{"--z", z, "--tangent", three}, "--tangent '" + three + "' has the shape 3 x 6 x 7 (expected 2 x 6 x 7)"},
        {{"--z", z, "--tangent", w, "--space", "style"}, "--tangent '" + w + "' has the shape 2 x 7 (expected 2 x 45)"},
        {{"--z", z, "--tangent", nan, "--space", "z"}, "--tangent '" + nan + "' holds 1 values that are NaN or infinite"},
        {{"--z", z, "--tangent", missing}, "missing.npy"},
        {{"--z", z, "--tangent", ""}, "--tangent"},
        {{"--z", z, "--cotangent", ""}, "--cotangent"},
        {{"--seeds", "1", "--cotangent", pictures}, "--cotangent '" + pictures + "' has the shape 2 x 3 x 16 x 16 (expected 1 x 3 x 16 x 16)"},
        {{"--weights", bare, "--z", z, "--cotangent", pictures}, "has the shape 2 x 3 x 16 x 16 (expected 2 x 3 x 8 x 8)"},
        {{"--z", z, "--cotangent", infinite}, "--cotangent '" + infinite + "' holds 1 values that are NaN or infinite"},
        {{"--seeds", "1", "--policy", "abacus"}, "abacus"},
        {{"--seeds", "1", "--policy", "cuda", "--threads", "2"}, "--threads goes with --policy cpu"},
        {{"--seeds", "1", "--threads", "0"}, "--threads"},
        {{"--seeds", "1", "--threads", "5000"}, "--threads"},
        {{"--weights", (folder / "none.safetensors").string(), "--seeds", "1"}, "none.safetensors"},
        {{"--weights", "", "--seeds", "1"}, ""},
        {{"--weights", text, "--seeds", "1"}, "text.npy"},
        {{"--weights", damaged, "--seeds", "1"}, "D.safetensors"},
        {{"--weights", incomplete, "--seeds", "1"}, "I.safetensors' has no tensor 'synthesis.b8.conv1.bias' (expected 3)"},
        {{"--weights", folder.path().string(), "--seeds", "1"}, "regular file"},
        {{"--weights", (folder / "two\nlines").string(), "--seeds", "1"}, "two lines"},
        {{"--out", "", "--seeds", "1"}, "--out"},
        {{"--out", text, "--seeds", "1"}, "not a folder"},
        {{"--out", text + "/deeper", "--seeds", "1"}, "not a folder"},
        {{"--out", "/proc/results", "--seeds", "1"}, "/proc"}};
    const auto before = files_in(folder.path());
    for (const refusal& each : refusals) {
        words arguments = each.arguments;
        for (const auto& [option, value] : {std::pair{"--weights", weights}, std::pair{"--out", out}}) {
            if (std::find(arguments.begin(), arguments.end(), option) == arguments.end()) {
                arguments.insert(arguments.end(), {option, value});
            }
        }
        CAPTURE(each.says);
        CAPTURE(each.arguments.empty() ? "" : each.arguments.back());
        check_refused(stylegan2_run(arguments), "stylegan2_run", each.says);
        CHECK(names_in(folder.path()).size() == before.size());
        std::filesystem::remove_all(out);
    }
    CHECK(files_in(folder.path()) == before);
    check_refused(stylegan2_run({"--seeds", "1", "--out", out}), "stylegan2_run", "--weights");
    check_refused(stylegan2_run({"--seeds", "1", "--weights", weights}), "stylegan2_run", "--out");
    CHECK(files_in(folder.path()) == before);
}

TEST_CASE("help") {
    const auto result = stylegan2_run({"--help"});
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
    for (const std::string option :
         {"--weights", "--out", "--z", "--w", "--wplus", "--seeds", "--labels", "--psi", "--cutoff", "--noise", "--noise-seed", "--dump",
          "--tangent", "--cotangent", "--space", "--double", "--policy", "--threads", "Examples"}) {
        CHECK_MESSAGE(result.out.find(option) != std::string::npos, option);
    }
}
