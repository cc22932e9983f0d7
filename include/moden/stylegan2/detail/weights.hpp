#pragma once

// The tensors of a generator in a policy's memory, brought into the form that synthesis multiplies with.

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/io/safetensors.hpp>
#include <moden/maps/detail/convolution.hpp>
#include <moden/stylegan2/architecture.hpp>
#include <moden/stylegan2/detail/upsampling.hpp>

namespace moden::stylegan2::detail {

using moden::detail::buffer_of;

/// Loop bodies: data^2 summed over filters, a copy transposed.
template <class T>
struct sum_filter_squares {
    const T* weights;
    T* sums;
    MODEN_HOST_DEVICE void operator()(std::size_t filter) const {
        T sum = T(0);
        for (std::size_t k = 0; k < 9; ++k) {
            sum += weights[filter * 9 + k] * weights[filter * 9 + k];
        }
        sums[filter] = sum;
    }
};

template <class T>
struct channels_last {
    const T* source;
    T* target;
    std::size_t channels;
    std::size_t pixels;
    MODEN_HOST_DEVICE void operator()(std::size_t pixel, std::size_t channel) const {
        target[pixel * channels + channel] = source[channel * pixels + pixel];
    }
};

/// y = x W' + b with W out x in, gains of the learning rate included.
template <class Policy, class T>
struct dense_weights {
    std::size_t in = 0;
    std::size_t out = 0;
    buffer_of<Policy, T> weight;
    buffer_of<Policy, T> bias;
};

/// How large a network with 3 x 3 filters at this resolution profits from minimal filtering; the double precision is for
/// checks, where the shorter chain of roundings counts.
template <class T>
moden::detail::convolution_method method_for(std::size_t resolution) {
    constexpr std::size_t smallest = 16;
    return sizeof(T) == sizeof(float) && resolution >= smallest ? moden::detail::convolution_method::winograd
                                                                : moden::detail::convolution_method::direct;
}

/// A 3 x 3 layer.
template <class Policy, class T>
struct convolution_weights {
    std::variant<moden::detail::convolution3x3<Policy, T>, upsampling_convolution<Policy, T>> operation;
    buffer_of<Policy, T> squares;  ///< Q: out x in, sums of squared filters
    buffer_of<Policy, T> bias;
    buffer_of<Policy, T> noise;  ///< constant noise times its strength
    T noise_strength;

    /// From the layer's input resolution to its output resolution; `images` are of the former.
    void forward(const Policy& policy, const T* x, const image_extents& images, T* y) const {
        std::visit([&](const auto& op) { op.forward(policy, x, images, y); }, operation);
    }
    void adjoint(const Policy& policy, const T* y, const image_extents& images, T* x) const {
        std::visit([&](const auto& op) { op.adjoint(policy, y, images, x); }, operation);
    }
};

/// A 1 x 1 layer to three channels.
template <class Policy, class T>
struct picture_weights {
    buffer_of<Policy, T> weight;  ///< 3 x in, times 1 / sqrt(in)
    buffer_of<Policy, T> bias;
};

template <class Policy, class T>
struct layer_weights {
    dense_weights<Policy, T> affine;
    std::variant<convolution_weights<Policy, T>, picture_weights<Policy, T>> body;

    const convolution_weights<Policy, T>& convolution() const { return std::get<0>(body); }
    const picture_weights<Policy, T>& picture() const { return std::get<1>(body); }
};

template <class Policy, class T>
struct generator_weights {
    std::optional<dense_weights<Policy, T>> embedding;
    std::vector<dense_weights<Policy, T>> mapping;
    std::optional<buffer_of<Policy, T>> w_avg;
    buffer_of<Policy, T> constant;  ///< 4 x 4 x channels
    std::vector<layer_weights<Policy, T>> layers;
};

/// Reads tensors into a policy's memory.
template <class Policy, class T>
class weight_reader {
public:
    weight_reader(const Policy& policy, const io::safetensors_file& file, std::string context)
        : policy_(policy), file_(file), context_(std::move(context)) {}

    /// A tensor times a factor.
    buffer_of<Policy, T> read(const std::string& name, double factor = 1) const {
        const auto host = file_.load<T>(name);
        auto result = policy_.template allocate<T>(host.size());
        policy_.upload(host.data(), result.data(), host.size());
        const std::size_t bad = moden::detail::count_not_finite(policy_, static_cast<const T*>(result.data()), host.size());
        require<io_error>(bad == 0, context_, ": tensor ", io::detail::in_quotes(name), " holds ", bad,
                          " values that are NaN or infinite", sizeof(T) == sizeof(float) ? " in single precision" : "");
        if (factor != 1) {
            policy_.transform(host.size(), moden::detail::scaled_copy<T>{result.data(), static_cast<T>(factor), result.data()});
        }
        return result;
    }

    dense_weights<Policy, T> read_dense(const std::string& name, std::size_t in, std::size_t out, double gain,
                                        double bias_gain) const {
        return {in, out, read(name + ".weight", gain), read(name + ".bias", bias_gain)};
    }

    /// The one resampling filter that networks of this architecture have; it need not be in the file.
    void check_filter(const std::string& name) const {
        if (!file_.contains(name)) {
            return;
        }
        const auto filter = file_.load<double, 2>(name);
        constexpr double taps[] = {1, 3, 3, 1};
        for (std::size_t i = 0; i < 4; ++i) {
            for (std::size_t j = 0; j < 4; ++j) {
                require<io_error>(std::abs(filter(i, j) - taps[i] * taps[j] / 64) < 1e-5, context_, ": tensor ",
                                  io::detail::in_quotes(name), " holds ", filter(i, j), " at (", i, ", ", j,
                                  "); the only supported filter is [1 3 3 1] / 8 along both axes, which has ",
                                  taps[i] * taps[j] / 64);
            }
        }
    }

    generator_weights<Policy, T> read_generator(const architecture& layout) const {
        std::optional<dense_weights<Policy, T>> embedding;
        if (layout.c_dim > 0) {
            embedding = read_dense("mapping.embed", layout.c_dim, layout.embedding,
                                   1 / std::sqrt(static_cast<double>(layout.c_dim)), 1);
        }
        std::vector<dense_weights<Policy, T>> mapping;
        constexpr double learning_rate = 0.01;
        std::size_t in = layout.z_dim + layout.embedding;
        for (const std::size_t out : layout.mapping_widths) {
            mapping.push_back(read_dense(moden::detail::message("mapping.fc", mapping.size()), in, out,
                                         learning_rate / std::sqrt(static_cast<double>(in)), learning_rate));
            in = out;
        }
        std::optional<buffer_of<Policy, T>> w_avg;
        if (layout.has_w_avg) {
            w_avg = read("mapping.w_avg");
        }
        const std::size_t channels = layout.layers.front().in;
        const auto planes = read("synthesis.b4.const");
        auto constant = policy_.template allocate<T>(planes.size());
        policy_.transform_grid(16, channels, channels_last<T>{planes.data(), constant.data(), channels, 16});
        std::vector<layer_weights<Policy, T>> layers;
        for (const synthesis_layer& layer : layout.layers) {
            layers.push_back(read_layer(layer, layout.w_dim));
        }
        for (std::size_t r = 4; r <= layout.resolution; r *= 2) {
            check_filter(moden::detail::message("synthesis.b", r, ".resample_filter"));
        }
        return {std::move(embedding), std::move(mapping), std::move(w_avg), std::move(constant), std::move(layers)};
    }

private:
    layer_weights<Policy, T> read_layer(const synthesis_layer& layer, std::size_t w_dim) const {
        const std::string name = "synthesis." + layer.name;
        auto affine = read_dense(name + ".affine", w_dim, layer.in, 1 / std::sqrt(static_cast<double>(w_dim)), 1);
        if (layer.kind == layer_kind::to_rgb) {
            return {std::move(affine),
                    picture_weights<Policy, T>{read(name + ".weight", 1 / std::sqrt(static_cast<double>(layer.in))),
                                               read(name + ".bias")}};
        }
        check_filter(name + ".resample_filter");
        const auto weights = read(name + ".weight");
        const auto* filters = static_cast<const T*>(weights.data());
        auto squares = policy_.template allocate<T>(layer.in * layer.out);
        policy_.transform(squares.size(), sum_filter_squares<T>{filters, squares.data()}, 9);
        const double strength = file_.load<double>(name + ".noise_strength")();
        require<io_error>(std::isfinite(static_cast<T>(strength)), context_, ": tensor ", io::detail::in_quotes(name + ".noise_strength"),
                          " holds ", strength, " (expected a finite number)");
        auto noise = read(name + ".noise_const", strength);
        const auto operation = [&]() -> decltype(convolution_weights<Policy, T>::operation) {
            if (layer.kind == layer_kind::upsampling_convolution) {
                return upsampling_convolution<Policy, T>(policy_, filters, layer.in, layer.out, layer.resolution / 2);
            }
            return moden::detail::convolution3x3<Policy, T>(policy_, filters, layer.in, layer.out,
                                                            method_for<T>(layer.resolution));
        };
        return {std::move(affine),
                convolution_weights<Policy, T>{operation(), std::move(squares), read(name + ".bias"), std::move(noise),
                                               static_cast<T>(strength)}};
    }

    const Policy& policy_;
    const io::safetensors_file& file_;
    std::string context_;
};

}  // namespace moden::stylegan2::detail
