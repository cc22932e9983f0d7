#pragma once

// One run through the synthesis network: pictures of a batch of styles, with a block of tangents beside them, and what the
// way back needs.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/stylegan2/architecture.hpp>
#include <moden/stylegan2/detail/layer_operations.hpp>
#include <moden/stylegan2/detail/weights.hpp>

namespace moden::stylegan2 {

/// What is added to the activations of a layer before its nonlinearity.
enum class noise_mode : std::uint8_t {
    constant,  ///< the model's own, the same for every picture
    random,    ///< standard normal times the layer's strength, from a seed
    none
};

/// How pictures are made of styles.
struct synthesis_options {
    noise_mode noise = noise_mode::constant;
    std::uint64_t noise_seed = 0;
    /// Number of the first picture of a batch: picture n of the batch has the random noise of picture first_sample + n, so
    /// that a long run can be done in parts.
    std::size_t first_sample = 0;
};

namespace detail {

/// Styles of a pass: samples x step, and tangents of each sample, of which there may be none.
template <class T>
struct style_block {
    stack_extents stack;
    const T* styles = nullptr;
    const T* tangents = nullptr;
    std::size_t step = 0;
};

/// What backpropagation needs of the way there.
template <class Policy, class T>
struct synthesis_record {
    struct layer {
        std::size_t index;  ///< in the architecture
        buffer_of<Policy, T> products;      ///< of the convolution, before demodulation
        buffer_of<Policy, T> demodulation;  ///< samples x out
        buffer_of<Policy, T> activation;    ///< the result
    };
    std::optional<buffer_of<Policy, T>> constant;       ///< input of the first layer
    std::vector<layer> convolutions;                    ///< in the order of the network
    std::vector<std::pair<std::size_t, buffer_of<Policy, T>>> pictures;  ///< what torgb made, where there is a clamp

    const layer& of(std::size_t index) const {
        for (const layer& candidate : convolutions) {
            if (candidate.index == index) {
                return candidate;
            }
        }
        throw argument_error(moden::detail::message("stylegan2: layer ", index, " was not recorded"));
    }
};

template <class T>
T clamp_of(const architecture& layout) {
    return layout.conv_clamp ? static_cast<T>(*layout.conv_clamp) : std::numeric_limits<T>::infinity();
}

template <class Policy, class T>
class synthesis_pass {
public:
    using buffer = buffer_of<Policy, T>;
    using record = synthesis_record<Policy, T>;

    /// \param kept  where to record for the way back; null for none. Then the block may have no tangents.
    synthesis_pass(const Policy& policy, const architecture& layout, const generator_weights<Policy, T>& weights,
                   const style_block<T>& block, const synthesis_options& options, record* kept = nullptr)
        : policy_(policy), layout_(layout), weights_(weights), block_(block), options_(options), kept_(kept),
          x_(policy.template allocate<T>(0)), picture_(policy.template allocate<T>(0)) {}

    /// Runs layers 0 ... last. observe(layer, data, images) sees every convolution's activations and, after each torgb, the
    /// picture so far, channels last, for the whole stack.
    template <class Observer>
    void run(std::size_t last, Observer observe) {
        start();
        for (std::size_t i = 0; i <= last; ++i) {
            const synthesis_layer& layer = layout_.layers[i];
            if (layer.kind == layer_kind::to_rgb) {
                add_to_picture(i);
                observe(layer, static_cast<const T*>(picture_.data()), images(layer.resolution, 3));
            } else {
                convolve(i);
                observe(layer, activation(), images(layer.resolution, layer.out));
            }
        }
    }

    /// The picture of the last torgb that ran, for the stack.
    buffer& picture() { return picture_; }

private:
    using space = typename Policy::memory_space;

    image_extents images(std::size_t resolution, std::size_t channels) const {
        return {block_.stack.images(), resolution, resolution, channels};
    }

    const T* styles(const synthesis_layer& layer) const { return block_.styles + layer.style_offset; }
    const T* style_tangents(const synthesis_layer& layer) const {
        return block_.tangents == nullptr ? nullptr : block_.tangents + layer.style_offset;
    }
    const T* activation() const {
        if (kept_ != nullptr) {
            return kept_->convolutions.empty() ? kept_->constant->data() : kept_->convolutions.back().activation.data();
        }
        return x_.data();
    }

    /// The learned constant for all samples; its tangents are zero.
    void start() {
        const std::size_t channels = layout_.layers.front().in;
        const stack_extents& stack = block_.stack;
        x_ = policy_.template allocate<T>(stack.images() * 16 * channels);
        policy_.transform_rows(stack.samples, 16 * channels,
                               set_rows<T>{x_.data(), 16 * channels, weights_.constant.data()});
        policy_.transform_rows(stack.images() - stack.samples, 16 * channels,
                               set_rows<T>{x_.data() + stack.samples * 16 * channels, 16 * channels, nullptr});
        if (kept_ != nullptr) {
            kept_->constant = std::move(x_);
        }
    }

    /// d for samples and dd for tangents.
    buffer demodulation(const synthesis_layer& layer, const convolution_weights<Policy, T>& weights) const {
        const stack_extents& stack = block_.stack;
        const auto squares = policy_.template allocate<T>(stack.images() * layer.in);
        auto result = policy_.template allocate<T>(stack.images() * layer.out);
        policy_.transform_rows(stack.images(), layer.in,
                               square_styles<T>{stack, styles(layer), style_tangents(layer), block_.step, squares.data(), layer.in});
        policy_.template gemm<T>(
            T(1), moden::row_major<const T, space>(squares.data(), stack.images(), layer.in),
            transposed(moden::row_major<const T, space>(weights.squares.data(), layer.out, layer.in)), T(0),
            moden::row_major<T, space>(result.data(), stack.images(), layer.out));
        policy_.transform_rows(stack.samples, layer.out, demodulate<T>{result.data(), layer.out});
        policy_.transform_rows(stack.images() - stack.samples, layer.out,
                               demodulate_tangents<T>{stack, result.data(), layer.out});
        return result;
    }

    /// A layer for some images at a time, so that what one step leaves is still in the cache for the next.
    void convolve(std::size_t index) {
        const synthesis_layer& layer = layout_.layers[index];
        const convolution_weights<Policy, T>& weights = weights_.layers[index].convolution();
        const stack_extents& stack = block_.stack;
        const bool grows = layer.kind == layer_kind::upsampling_convolution;
        const image_extents before = images(grows ? layer.resolution / 2 : layer.resolution, layer.in);
        const image_extents after = images(layer.resolution, layer.out);
        const std::size_t pixels = after.image_pixels();
        auto factors = demodulation(layer, weights);
        auto noise = policy_.template allocate<T>(options_.noise == noise_mode::random ? stack.samples * pixels : 0);
        if (options_.noise == noise_mode::random) {
            draw_noise(index, weights.noise_strength, pixels, noise.data());
        }
        const T* added = options_.noise == noise_mode::none       ? nullptr
                         : options_.noise == noise_mode::constant ? weights.noise.data()
                                                                  : static_cast<const T*>(noise.data());
        const std::size_t in_size = before.image_pixels() * layer.in;
        const std::size_t out_size = pixels * layer.out;
        const std::size_t at_once = moden::detail::units_at_once(stack.images(), std::max(in_size, out_size) * sizeof(T));
        const auto modulated = policy_.template allocate<T>(at_once * in_size);
        const auto products = policy_.template allocate<T>(std::min(at_once, stack.images() - stack.samples) * out_size);
        auto sample_products = policy_.template allocate<T>(stack.samples * out_size);
        auto result = policy_.template allocate<T>(after.size());
        const auto work_through = [&](std::size_t first, std::size_t count, T* to) {
            const image_extents part{count, before.height, before.width, layer.in};
            policy_.transform_rows(part.pixels(), layer.in,
                                   modulate<T>{stack, first, activation(), styles(layer), style_tangents(layer), block_.step,
                                               modulated.data(), part.image_pixels(), layer.in});
            weights.forward(policy_, modulated.data(), part, to);
            policy_.transform_rows(count * pixels, layer.out,
                                   activate<T>{stack, first, sample_products.data(), to, result.data(), factors.data(),
                                               weights.bias.data(), added, options_.noise == noise_mode::random ? pixels : 0,
                                               clamp_of<T>(layout_), pixels, layer.out});
        };
        for (std::size_t first = 0; first < stack.samples; first += at_once) {
            work_through(first, std::min(at_once, stack.samples - first), sample_products.data() + first * out_size);
        }
        for (std::size_t first = stack.samples; first < stack.images(); first += at_once) {
            work_through(first, std::min(at_once, stack.images() - first), products.data());
        }
        if (kept_ != nullptr) {
            kept_->convolutions.push_back({index, std::move(sample_products), std::move(factors), std::move(result)});
        } else {
            x_ = std::move(result);
        }
    }

    void draw_noise(std::size_t index, T strength, std::size_t pixels, T* noise) const {
        constexpr std::size_t streams_per_sample = 64;  // more than a network of 1024 pixels has layers
        for (std::size_t n = 0; n < block_.stack.samples; ++n) {
            moden::fill_normal(policy_, noise + n * pixels, pixels, options_.noise_seed,
                               (options_.first_sample + n) * streams_per_sample + index);
        }
        policy_.transform(block_.stack.samples * pixels, moden::detail::scaled_copy<T>{noise, strength, noise});
    }

    void add_to_picture(std::size_t index) {
        const synthesis_layer& layer = layout_.layers[index];
        const picture_weights<Policy, T>& weights = weights_.layers[index].picture();
        const stack_extents& stack = block_.stack;
        const image_extents after = images(layer.resolution, 3);
        const std::size_t pixels = after.image_pixels();
        auto grown = policy_.template allocate<T>(after.size());
        if (layer.resolution == 4) {
            policy_.transform(after.size(), moden::detail::fill_with<T>{grown.data(), T(0)});
        } else {
            const image_extents before = images(layer.resolution / 2, 3);
            const auto zeros = policy_.template allocate<T>(3);
            policy_.transform(3, moden::detail::fill_with<T>{zeros.data(), T(0)});
            moden::detail::transform_tiles<upsample_picture>(
                policy_, pixel_grid<const T>(picture_.data(), before), pixel_grid<T>(grown.data(), after),
                static_cast<const T*>(zeros.data()), before.height, before.width, 3, 0, before.pixels());
        }
        const auto styled = policy_.template allocate<T>(stack.images() * 3 * layer.in);
        policy_.transform_rows(stack.images() * 3, layer.in,
                               style_picture_weights<T>{stack, weights.weight.data(), styles(layer), style_tangents(layer),
                                                        block_.step, styled.data(), layer.in});
        auto y = policy_.template allocate<T>(after.size());
        const auto cross = policy_.template allocate<T>(stack.samples * stack.tangents * pixels * 3);
        const T* x = activation();
        // rows of pixels times the styled weights of some images: (rows x in) (in x 3 images)
        const auto multiply = [&](std::size_t from, std::size_t rows, std::size_t image, std::size_t count, T* to) {
            if (rows > 0 && count > 0) {
                policy_.template gemm<T>(
                    T(1), moden::row_major<const T, space>(x + from * pixels * layer.in, rows, layer.in),
                    transposed(moden::row_major<const T, space>(styled.data() + image * 3 * layer.in, 3 * count, layer.in)),
                    T(0), moden::row_major<T, space>(to, rows, 3 * count));
            }
        };
        for (std::size_t n = 0; n < stack.samples; ++n) {
            const std::size_t first = stack.tangent(n, 0);
            multiply(n, pixels, n, 1, y.data() + n * pixels * 3);
            multiply(first, stack.tangents * pixels, n, 1, y.data() + first * pixels * 3);
            multiply(n, pixels, first, stack.tangents, cross.data() + n * stack.tangents * pixels * 3);
        }
        policy_.transform_rows(stack.samples * pixels, 3,
                               add_picture<T>{stack, y.data(), cross.data(), weights.bias.data(), grown.data(),
                                              clamp_of<T>(layout_), pixels});
        picture_ = std::move(grown);
        if (kept_ != nullptr && layout_.conv_clamp) {
            kept_->pictures.emplace_back(index, std::move(y));
        }
    }

    const Policy& policy_;
    const architecture& layout_;
    const generator_weights<Policy, T>& weights_;
    style_block<T> block_;
    synthesis_options options_;
    record* kept_;
    buffer x_;
    buffer picture_;
};

}  // namespace detail
}  // namespace moden::stylegan2
