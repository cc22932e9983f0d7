// The regressor on every policy, against the definition with dual numbers.

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <moden/stylegan2/image_regressor.hpp>

#include "models.hpp"

using namespace moden_test;
namespace stylegan2 = moden::stylegan2;

namespace {

struct regressor_shape {
    std::size_t resolution;
    std::vector<std::size_t> channels;
    std::vector<std::size_t> dense;
};

weight_map random_regressor(const regressor_shape& shape, std::uint64_t seed) {
    weight_map result;
    number_source next(seed);
    const auto add = [&](const std::string& name, const std::vector<std::size_t>& extents, double scale) {
        weight w{extents, {}};
        std::size_t count = 1;
        for (const std::size_t extent : extents) {
            count *= extent;
        }
        for (std::size_t i = 0; i < count; ++i) {
            w.data.push_back(static_cast<double>(static_cast<float>(scale * next())));
        }
        result[name] = w;
    };
    std::size_t in = 3;
    std::size_t side = shape.resolution;
    for (std::size_t i = 0; i < shape.channels.size(); ++i) {
        add("conv" + std::to_string(i) + ".weight", {shape.channels[i], in, 3, 3}, 0.5);
        add("conv" + std::to_string(i) + ".bias", {shape.channels[i]}, 0.3);
        in = shape.channels[i];
        side /= 2;
    }
    in *= side * side;
    for (std::size_t i = 0; i < shape.dense.size(); ++i) {
        add("dense" + std::to_string(i) + ".weight", {shape.dense[i], in}, 0.5);
        add("dense" + std::to_string(i) + ".bias", {shape.dense[i]}, 0.3);
        in = shape.dense[i];
    }
    return result;
}

/// The network as its definition reads, on one picture in the order channel, row, column.
std::vector<dual> run_definition(const weight_map& weights, const regressor_shape& shape, double slope, const std::vector<dual>& picture) {
    const auto leaky = [&](const dual& x) { return x.value > 0 ? x : dual(slope) * x; };
    planes<dual> x(3, shape.resolution, shape.resolution);
    x.data = picture;
    for (std::size_t i = 0; i < shape.channels.size(); ++i) {
        const weight& w = weights.at("conv" + std::to_string(i) + ".weight");
        const weight& b = weights.at("conv" + std::to_string(i) + ".bias");
        planes<dual> y(w.shape[0], x.height, x.width);
        for (std::size_t o = 0; o < w.shape[0]; ++o) {
            for (std::size_t r = 0; r < x.height; ++r) {
                for (std::size_t c = 0; c < x.width; ++c) {
                    dual sum(b.data[o]);
                    for (std::size_t k = 0; k < x.channels * 9; ++k) {
                        sum += dual(w.data[o * x.channels * 9 + k]) * x.get(k / 9, static_cast<std::ptrdiff_t>(r + k % 9 / 3) - 1,
                                                                            static_cast<std::ptrdiff_t>(c + k % 3) - 1);
                    }
                    y.at(o, r, c) = leaky(sum);
                }
            }
        }
        x = planes<dual>(y.channels, y.height / 2, y.width / 2);
        for (std::size_t o = 0; o < y.channels; ++o) {
            for (std::size_t r = 0; r < x.height; ++r) {
                for (std::size_t c = 0; c < x.width; ++c) {
                    x.at(o, r, c) = dual(0.25) * (y.at(o, 2 * r, 2 * c) + y.at(o, 2 * r, 2 * c + 1) + y.at(o, 2 * r + 1, 2 * c) +
                                                  y.at(o, 2 * r + 1, 2 * c + 1));
                }
            }
        }
    }
    std::vector<dual> v = x.data;
    for (std::size_t i = 0; i < shape.dense.size(); ++i) {
        const weight& w = weights.at("dense" + std::to_string(i) + ".weight");
        const weight& b = weights.at("dense" + std::to_string(i) + ".bias");
        std::vector<dual> y;
        for (std::size_t o = 0; o < w.shape[0]; ++o) {
            dual sum(b.data[o]);
            for (std::size_t k = 0; k < v.size(); ++k) {
                sum += dual(w.data[o * v.size() + k]) * v[k];
            }
            y.push_back(i + 1 < shape.dense.size() ? leaky(sum) : sum);
        }
        v = std::move(y);
    }
    return v;
}

std::map<std::string, std::string> metadata(std::size_t resolution, const std::string& outputs) {
    return {{"kind", "image_regressor"}, {"resolution", std::to_string(resolution)}, {"slope", "0.2"}, {"outputs", outputs}};
}

template <class T, class Policy>
auto load(const Policy& policy, const weight_map& weights, const std::map<std::string, std::string>& metadata) {
    const temporary_file file(".safetensors");
    save_model(file.path(), weights, metadata);
    return stylegan2::load_image_regressor<T>(policy, file.path());
}

}  // namespace

TEST_CASE_TEMPLATE("values and derivatives agree with the definition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const double tolerance = sizeof(T) == sizeof(float) ? 5e-6 : 1e-13;
    const regressor_shape shapes[] = {{16, {4, 6, 5}, {7, 5}}, {12, {3, 2}, {5}}, {32, {5, 4, 3}, {8, 6, 5}}};
    for (const regressor_shape& shape : shapes) {
        CAPTURE(shape.resolution);
        const weight_map weights = random_regressor(shape, 3);
        const auto net = load<T>(policy, weights, metadata(shape.resolution, R"([{"name":"a","size":5}])"));
        static_assert(moden::differentiable_map<stylegan2::image_regressor<Policy, T>, Policy, T>);
        const std::size_t n = net.input_size();
        const std::size_t m = net.output_size();
        REQUIRE(m == 5);
        REQUIRE(n == 3 * shape.resolution * shape.resolution);
        const auto pictures = random_tensor<T, 4>({2, 3, shape.resolution, shape.resolution}, 5);
        const auto predicted = to_host_tensor(policy, net.predict(policy, to_policy(policy, pictures)));
        auto x = moden::tensor<T, 1>::from_shape({n});
        std::copy_n(pictures.data() + n, n, x.data());
        const auto tangents = random_tensor<T, 2>({2, n}, 6);
        const auto cotangents = random_tensor<T, 2>({3, m}, 7);
        const auto point = to_policy(policy, x);
        const auto value = to_host_tensor(policy, net.value(policy, point));
        const auto forward = to_host_tensor(policy, net.jvp(policy, point, to_policy(policy, tangents)));
        const auto backward = to_host_tensor(policy, net.vjp(policy, point, to_policy(policy, cotangents)));
        for (std::size_t k = 0; k < 2; ++k) {
            std::vector<dual> moved;
            for (std::size_t i = 0; i < n; ++i) {
                moved.emplace_back(static_cast<double>(x(i)), static_cast<double>(tangents(k, i)));
            }
            const auto expected = run_definition(weights, shape, 0.2, moved);
            double size = 0, slope_size = 0;
            for (const dual& d : expected) {
                size = std::max(size, std::abs(d.value));
                slope_size = std::max(slope_size, std::abs(d.slope));
            }
            for (std::size_t i = 0; i < m; ++i) {
                CHECK(std::abs(static_cast<double>(value(i)) - expected[i].value) < tolerance * size);
                CHECK(std::abs(static_cast<double>(predicted(1, i)) - expected[i].value) < tolerance * size);
                CHECK(std::abs(static_cast<double>(forward(k, i)) - expected[i].slope) < tolerance * slope_size);
            }
            for (std::size_t j = 0; j < 3; ++j) {
                double there = 0, back = 0, scale = 0;
                for (std::size_t i = 0; i < m; ++i) {
                    there += static_cast<double>(forward(k, i)) * static_cast<double>(cotangents(j, i));
                    scale += std::abs(static_cast<double>(forward(k, i)) * static_cast<double>(cotangents(j, i)));
                }
                for (std::size_t i = 0; i < n; ++i) {
                    back += static_cast<double>(tangents(k, i)) * static_cast<double>(backward(j, i));
                }
                CHECK(std::abs(there - back) < 10 * tolerance * scale);
            }
        }
    }
}

TEST_CASE_TEMPLATE("outputs have names", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const regressor_shape shape{8, {4}, {5}};
    const weight_map weights = random_regressor(shape, 3);
    const temporary_file file(".safetensors");
    save_model(file.path(), weights, metadata(8, R"([{"name":"yaw","size":1,"unit":"radian","r2":"0.75"},{"name":"map","size":4,"shape":[2,2]}])"));
    //! [image_regressor]
    const auto measure = stylegan2::load_image_regressor<T>(policy, file.path());
    const auto pictures = to_policy(policy, random_tensor<T, 4>({3, 3, 8, 8}, 1));
    const auto numbers = measure.predict(policy, pictures);  // 3 x output_size()
    const std::size_t map = measure.output("map").offset;    // its numbers are columns map ... map + 3
    //! [image_regressor]
    CHECK(numbers.shape()[0] == 3);
    CHECK(numbers.shape()[1] == 5);
    CHECK(map == 1);
    CHECK(measure.output("yaw").unit == "radian");
    CHECK(measure.output("yaw").shape.empty());
    CHECK(measure.output("yaw").r2 == 0.75);
    CHECK_FALSE(measure.output("map").r2);
    CHECK(measure.output("map").shape == moden::extents{2, 2});
    CHECK_THROWS_WITH_AS(measure.output("pitch"), "stylegan2::image_regressor: there is no output 'pitch'", moden::argument_error);
    const auto wrong = to_policy(policy, random_tensor<T, 4>({3, 3, 8, 9}, 1));
    CHECK_THROWS_WITH_AS(measure.predict(policy, wrong),
                         "stylegan2::image_regressor::predict: pictures has the shape 3 x 3 x 8 x 9 (expected N x 3 x 8 x 8)",
                         moden::shape_error);
}

TEST_CASE("files that are no regressor") {
    const moden::cpu_policy cpu;
    const weight_map good = random_regressor({8, {4, 3}, {6, 5}}, 3);
    const std::string outputs = R"([{"name":"a","size":5}])";
    const auto refused = [&](const weight_map& weights, const std::map<std::string, std::string>& text, const std::string& words) {
        CAPTURE(words);
        try {
            load<float>(cpu, weights, text);
            FAIL_CHECK("accepted");
        } catch (const moden::io_error& error) {
            CHECK_MESSAGE(std::string(error.what()).find(words) != std::string::npos, error.what());
        }
    };
    CHECK_NOTHROW(load<float>(cpu, good, metadata(8, outputs)));
    for (const auto& [name, values] : good) {
        weight_map without = good;
        without.erase(name);
        // Without a layer's weights, the next one does not fit.
        refused(without, metadata(8, outputs), name == "conv1.weight" ? "'dense0.weight'" : name == "dense1.weight" ? "'dense1.bias'" : "'" + name + "'");
        weight_map longer = good;
        longer[name].shape[0] += 1;
        longer[name].data.resize(longer[name].data.size() / values.shape[0] * (values.shape[0] + 1));
        refused(longer, metadata(8, outputs), name.starts_with("dense1") ? "dense1" : "expected");
        weight_map spoiled = good;
        spoiled[name].data.back() = std::nan("");
        refused(spoiled, metadata(8, outputs), "'" + name + "' holds 1 values that are NaN");
    }
    weight_map more = good;
    more["conv7.weight"] = good.at("conv0.weight");
    refused(more, metadata(8, outputs), "1 tensor that an image regressor does not have: 'conv7.weight'");
    refused(good, metadata(6, outputs), "cannot be halved");
    refused(good, metadata(16, outputs), "expected 6 x 48");
    refused(good, metadata(8, "[]"), "are no JSON array");
    refused(good, metadata(8, "{"), "are no JSON array");
    refused(good, metadata(8, R"([{"name":"a","size":4}])"), "describe 4 numbers, the last layer gives 5");
    refused(good, metadata(8, R"([{"name":"a","size":-5}])"), "without a name and a positive size");
    refused(good, metadata(8, R"([{"name":"a","size":5,"shape":[2,2]}])"), "shape does not have its size");
    refused(good, metadata(8, R"([{"name":"a","size":2},{"name":"a","size":3}])"), "name 'a' twice");
    refused(good, metadata(8, R"([{"name":"a","size":5,"r2":"0.5 or so"}])"), "r2 that is no number");
    for (const std::string key : {"kind", "resolution", "slope", "outputs"}) {
        auto text = metadata(8, outputs);
        text.erase(key);
        refused(good, text, key);
        text[key] = "nonsense";
        refused(good, text, key);
    }
}
