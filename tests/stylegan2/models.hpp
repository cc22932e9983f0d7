#pragma once

// Small random generators for the tests: as weight maps, as files, and loaded.

#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <moden/core/tensor.hpp>
#include <moden/io/safetensors.hpp>
#include <moden/stylegan2/generator.hpp>

#include "../policy/policies.hpp"
#include "reference.hpp"

namespace moden_test {

/// Dimensions of a model to make.
struct model_shape {
    std::size_t z_dim = 6;
    std::size_t c_dim = 0;
    std::size_t w_dim = 7;
    std::size_t mapping_layers = 3;
    std::vector<std::size_t> channels = {8, 6, 5};  ///< of 4, 8, 16, ... pixels
};

/// A random model whose activations stay of order one. The numbers are exact in single precision.
inline weight_map random_model(const model_shape& shape, std::uint64_t seed) {
    weight_map result;
    number_source next(seed);
    const auto add = [&](const std::string& name, const std::vector<std::size_t>& extents, double scale, double shift = 0) {
        std::size_t count = 1;
        for (const std::size_t extent : extents) {
            count *= extent;
        }
        weight w{extents, {}};
        for (std::size_t i = 0; i < count; ++i) {
            w.data.push_back(static_cast<double>(static_cast<float>(shift + scale * 1.7320508 * next())));
        }
        result[name] = std::move(w);
    };
    std::size_t in = shape.z_dim;
    if (shape.c_dim > 0) {
        add("mapping.embed.weight", {shape.w_dim, shape.c_dim}, 1);
        add("mapping.embed.bias", {shape.w_dim}, 0.3);
        in += shape.w_dim;
    }
    for (std::size_t i = 0; i < shape.mapping_layers; ++i) {
        const std::size_t out = i + 1 == shape.mapping_layers ? shape.w_dim : shape.w_dim + 2;
        add("mapping.fc" + std::to_string(i) + ".weight", {out, in}, 100);
        add("mapping.fc" + std::to_string(i) + ".bias", {out}, 20);
        in = out;
    }
    add("mapping.w_avg", {shape.w_dim}, 0.3);
    add("synthesis.b4.const", {shape.channels[0], 4, 4}, 1);
    const auto add_layer = [&](const std::string& name, std::size_t inputs, std::size_t out, std::size_t resolution) {
        const std::string prefix = "synthesis." + name;
        const bool picture = resolution == 0;
        const std::size_t taps = picture ? 1 : 3;
        add(prefix + ".weight", {out, inputs, taps, taps}, 1);
        add(prefix + ".bias", {out}, 0.2);
        add(prefix + ".affine.weight", {inputs, shape.w_dim}, 0.5);
        add(prefix + ".affine.bias", {inputs}, 0.2, 1);
        if (!picture) {
            add(prefix + ".noise_strength", {}, 0.3);
            add(prefix + ".noise_const", {resolution, resolution}, 1);
        }
    };
    for (std::size_t k = 0, r = 4; k < shape.channels.size(); ++k, r *= 2) {
        const std::string block = "b" + std::to_string(r);
        const std::size_t channels = shape.channels[k];
        if (k > 0) {
            add_layer(block + ".conv0", shape.channels[k - 1], channels, r);
        }
        add_layer(block + ".conv1", channels, channels, r);
        add_layer(block + ".torgb", channels, 3, 0);
        weight filter{{4, 4}, {}};
        const double taps[] = {1, 3, 3, 1};
        for (const double a : taps) {
            for (const double b : taps) {
                filter.data.push_back(a * b / 64);
            }
        }
        result["synthesis." + block + ".resample_filter"] = filter;
    }
    return result;
}

/// A file that goes away with the object.
class temporary_file {
public:
    explicit temporary_file(const std::string& suffix) {
        static int count = 0;
        path_ = std::filesystem::temp_directory_path() /
                ("moden-test-" + std::to_string(::getpid()) + "-" + std::to_string(count++) + suffix);
    }
    temporary_file(const temporary_file&) = delete;
    temporary_file& operator=(const temporary_file&) = delete;
    ~temporary_file() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

inline void save_model(const std::filesystem::path& path, const weight_map& weights,
                       const std::map<std::string, std::string>& metadata = {}) {
    std::map<std::string, moden::dynamic_tensor<double>> tensors;
    for (const auto& [name, values] : weights) {
        auto tensor = moden::dynamic_tensor<double>::from_shape(values.shape);
        std::copy(values.data.begin(), values.data.end(), tensor.begin());
        tensors.emplace(name, std::move(tensor));
    }
    moden::io::save_safetensors(path, tensors, metadata);
}

template <class T, class Policy>
moden::stylegan2::generator<Policy, T> load_model(const Policy& policy, const weight_map& weights,
                                                  const std::map<std::string, std::string>& metadata = {}) {
    const temporary_file file(".safetensors");
    save_model(file.path(), weights, metadata);
    return moden::stylegan2::load_generator<T>(policy, file.path());
}

/// A policy tensor as a host tensor.
template <class Policy, class Tensor>
auto to_host_tensor(const Policy& policy, const Tensor& tensor) {
    using T = moden::value_type_of<Tensor>;
    auto result = moden::tensor<T, moden::order_of<Tensor>>::from_shape(moden::detail::shape_of(tensor));
    policy.download(static_cast<const T*>(tensor.data()), result.data(), result.size());
    return result;
}

}  // namespace moden_test
