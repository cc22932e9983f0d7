#pragma once

// The network of an image_regressor: its weights, the way there with tangents beside it, and the way back.

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <moden/maps/detail/convolution.hpp>
#include <moden/stylegan2/architecture.hpp>
#include <moden/stylegan2/detail/derivatives.hpp>
#include <moden/stylegan2/detail/layer_operations.hpp>
#include <moden/stylegan2/detail/weights.hpp>

namespace moden::stylegan2::detail {

/// lrelu(y + b) in place for samples. Rows: pixels.
template <class T>
struct bias_and_leaky {
    T* y;
    const T* bias;
    T slope;
    std::size_t channels;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            const T value = y[row * channels + c] + bias[c];
            y[row * channels + c] = value > T(0) ? value : slope * value;
        }
    }
};

/// Times the slope of lrelu, by the sign of its result, in place; `vectors` of them per sample. Rows: pixels.
template <class T>
struct leaky_slope_of {
    T* v;
    const T* activation;
    T slope;
    std::size_t vectors;
    std::size_t pixels;
    std::size_t channels;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* value = activation + (row / pixels / vectors * pixels + row % pixels) * channels;
        for (std::size_t c = first; c < last; ++c) {
            v[row * channels + c] *= value[c] > T(0) ? T(1) : slope;
        }
    }
};

template <class T>
struct add_row {
    T* y;
    const T* bias;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            y[row * columns + c] += bias[c];
        }
    }
};

template <class Policy, class T>
struct regressor_network {
    struct convolution {
        moden::detail::convolution3x3<Policy, T> operation;
        buffer_of<Policy, T> bias;
    };
    std::size_t resolution = 0;
    T slope = T(0);
    std::vector<convolution> convolutions;
    std::vector<dense_weights<Policy, T>> dense;  ///< the first one for features with channels last
};

template <class Policy, class T>
regressor_network<Policy, T> read_regressor(const Policy& policy, const io::safetensors_file& file, const std::string& context) {
    const auto kind = file.metadata().find("kind");
    require<io_error>(kind != file.metadata().end() && kind->second == "image_regressor", context,
                      " is no image regressor (expected the metadata 'kind': 'image_regressor')");
    const auto resolution = metadata_number(file, "resolution", context);
    const auto slope = metadata_number(file, "slope", context);
    require<io_error>(resolution && *resolution == std::floor(*resolution) && *resolution <= 1024 && slope && *slope < 1, context,
                      ": the metadata have no 'resolution' up to 1024 or no 'slope' below 1");
    regressor_network<Policy, T> result;
    result.resolution = static_cast<std::size_t>(*resolution);
    result.slope = static_cast<T>(*slope);
    tensor_inventory tensors(file, context);
    const weight_reader<Policy, T> reader(policy, file, context);
    tensors.shape("conv0.weight", 4, "channels x 3 x 3 x 3");
    tensors.shape("dense0.weight", 2, "outputs x inputs");
    std::size_t channels = 3;
    std::size_t side = result.resolution;
    for (std::size_t i = 0; tensors.has(moden::detail::message("conv", i, ".weight")); ++i) {
        const std::string name = moden::detail::message("conv", i);
        const std::size_t out = tensors.shape(name + ".weight", 4, "channels x inputs x 3 x 3")[0];
        tensors.expect(name + ".weight", {out, channels, 3, 3});
        tensors.expect(name + ".bias", {out});
        require<io_error>(side % 2 == 0, context, ": ", name, " works on ", side, " x ", side, " pixels, which cannot be halved");
        const auto weights = reader.read(name + ".weight");
        const bool tiles = side % moden::detail::winograd_tile == 0;
        result.convolutions.push_back({moden::detail::convolution3x3<Policy, T>(
                                           policy, weights.data(), channels, out,
                                           tiles ? method_for<T>(side) : moden::detail::convolution_method::direct),
                                       reader.read(name + ".bias")});
        channels = out;
        side /= 2;
    }
    std::size_t in = channels * side * side;
    for (std::size_t i = 0; tensors.has(moden::detail::message("dense", i, ".weight")); ++i) {
        const std::string name = moden::detail::message("dense", i);
        const std::size_t out = tensors.shape(name + ".weight", 2, "outputs x inputs")[0];
        tensors.expect(name + ".weight", {out, in});
        tensors.expect(name + ".bias", {out});
        result.dense.push_back(reader.read_dense(name, in, out, 1, 1));
        if (i == 0) {
            auto reordered = policy.template allocate<T>(out * in);
            policy.permute(tensor_view<const T, typename Policy::memory_space>{result.dense[0].weight.data(),
                                                                               {out, channels, side * side}},
                           extents{0, 2, 1}, reordered.data());
            result.dense[0].weight = std::move(reordered);
        }
        in = out;
    }
    tensors.refuse_the_rest("an image regressor");
    return result;
}

/// One run, with tangents beside the samples, which remembers activations for the way back.
template <class Policy, class T>
class regressor_pass {
public:
    using buffer = buffer_of<Policy, T>;

    regressor_pass(const Policy& policy, const regressor_network<Policy, T>& network)
        : policy_(policy), network_(network), zeros_(policy.template allocate<T>(widest(network))) {
        policy.transform(zeros_.size(), moden::detail::fill_with<T>{zeros_.data(), T(0)});
    }

    /// \param pictures  samples x 3 x R x R
    /// \param tangents  samples * tangents of the same, or null
    /// \param result    numbers for the stack
    void run(const stack_extents& stack, const T* pictures, const T* tangents, T* result) {
        activations_.clear();
        stack_ = stack;
        const std::size_t others = stack.images() - stack.samples;
        image_extents images{stack.images(), network_.resolution, network_.resolution, 3};
        auto x = policy_.template allocate<T>(images.size());
        bring(pictures, {stack.samples, images.height, images.width, 3}, x.data());
        bring(tangents, {others, images.height, images.width, 3}, x.data() + stack.samples * images.image_pixels() * 3);
        for (const auto& layer : network_.convolutions) {
            images.channels = layer.operation.out();
            auto y = policy_.template allocate<T>(images.size());
            layer.operation.forward(policy_, x.data(), images, y.data());
            const std::size_t pixels = images.image_pixels();
            policy_.transform_rows(stack.samples * pixels, images.channels,
                                   bias_and_leaky<T>{y.data(), layer.bias.data(), network_.slope, images.channels});
            policy_.transform_rows(others * pixels, images.channels,
                                   leaky_slope_of<T>{y.data() + stack.samples * pixels * images.channels, y.data(), network_.slope,
                                                     stack.tangents, pixels, images.channels});
            const image_extents small{images.count, images.height / 2, images.width / 2, images.channels};
            x = policy_.template allocate<T>(small.size());
            moden::detail::transform_tiles<moden::detail::halve_by_mean>(
                policy_, pixel_grid<const T>(y.data(), images), pixel_grid<T>(x.data(), small), static_cast<const T*>(zeros_.data()),
                small.height, small.width, small.channels, 0, small.pixels());
            activations_.push_back(std::move(y));
            images = small;
        }
        const T* from = x.data();
        for (std::size_t i = 0; i < network_.dense.size(); ++i) {
            const auto& layer = network_.dense[i];
            const bool is_last = i + 1 == network_.dense.size();
            auto y = policy_.template allocate<T>(is_last ? 0 : stack.images() * layer.out);
            T* to = is_last ? result : y.data();
            policy_.template gemm<T>(T(1), matrix(from, stack.images(), layer.in),
                                     transposed(matrix(layer.weight.data(), layer.out, layer.in)), T(0),
                                     moden::row_major<T, space>(to, stack.images(), layer.out));
            if (is_last) {
                policy_.transform_rows(stack.samples, layer.out, add_row<T>{to, layer.bias.data(), layer.out});
                break;
            }
            policy_.transform_rows(stack.samples, layer.out, bias_and_leaky<T>{to, layer.bias.data(), network_.slope, layer.out});
            policy_.transform_rows(others, layer.out,
                                   leaky_slope_of<T>{to + stack.samples * layer.out, to, network_.slope, stack.tangents, 1, layer.out});
            activations_.push_back(std::move(y));
            from = activations_.back().data();
        }
    }

    /// Cotangents of the pictures, `count` for each sample of the last run, which had no tangents.
    void pull_back(std::size_t count, const T* cotangents, T* result) const {
        const std::size_t rows = stack_.samples * count;
        auto v = policy_.template allocate<T>(rows * network_.dense.back().out);
        policy_.copy(cotangents, v.data(), v.size());
        for (std::size_t i = network_.dense.size(); i-- > 0;) {
            const auto& layer = network_.dense[i];
            auto before = policy_.template allocate<T>(rows * layer.in);
            policy_.template gemm<T>(T(1), matrix(v.data(), rows, layer.out), matrix(layer.weight.data(), layer.out, layer.in), T(0),
                                     moden::row_major<T, space>(before.data(), rows, layer.in));
            v = std::move(before);
            if (i > 0) {
                policy_.transform_rows(rows, layer.in,
                                       leaky_slope_of<T>{v.data(), activations_[network_.convolutions.size() + i - 1].data(),
                                                         network_.slope, count, 1, layer.in});
            }
        }
        std::size_t side = network_.resolution;
        for (std::size_t i = 0; i < network_.convolutions.size(); ++i) {
            side /= 2;
        }
        for (std::size_t i = network_.convolutions.size(); i-- > 0;) {
            const auto& layer = network_.convolutions[i];
            const image_extents small{rows, side, side, layer.operation.out()};
            side *= 2;
            const image_extents images{rows, side, side, layer.operation.out()};
            auto large = policy_.template allocate<T>(images.size());
            moden::detail::transform_tiles<moden::detail::halve_by_mean_adjoint>(
                policy_, pixel_grid<const T>(v.data(), small), pixel_grid<T>(large.data(), images),
                static_cast<const T*>(zeros_.data()), small.height, small.width, small.channels, 0, small.pixels());
            policy_.transform_rows(images.pixels(), images.channels,
                                   leaky_slope_of<T>{large.data(), activations_[i].data(), network_.slope, count,
                                                     images.image_pixels(), images.channels});
            v = policy_.template allocate<T>(images.pixels() * layer.operation.in());
            layer.operation.adjoint(policy_, large.data(), images, v.data());
        }
        policy_.permute(tensor_view<const T, space>{v.data(), {rows, side, side, 3}}, extents{0, 3, 1, 2}, result);
    }

private:
    using space = typename Policy::memory_space;

    static std::size_t widest(const regressor_network<Policy, T>& network) {
        std::size_t width = 3;
        for (const auto& layer : network.convolutions) {
            width = std::max(width, layer.operation.out());
        }
        return width;
    }
    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return moden::row_major<const T, space>(data, rows, columns);
    }
    void bring(const T* planes, const image_extents& images, T* to) const {
        if (images.count > 0) {
            policy_.permute(tensor_view<const T, space>{planes, {images.count, images.channels, images.height, images.width}},
                            extents{0, 2, 3, 1}, to);
        }
    }

    const Policy& policy_;
    const regressor_network<Policy, T>& network_;
    buffer zeros_;
    stack_extents stack_;
    std::vector<buffer> activations_;  ///< of convolutions before their means, then of dense layers but the last
};

}  // namespace moden::stylegan2::detail
