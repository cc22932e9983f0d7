#pragma once

// The way back through the synthesis network: from cotangents of the picture, or of one layer's activations, to
// cotangents of the styles.

#include <cstddef>
#include <optional>
#include <utility>

#include <moden/stylegan2/detail/synthesis_pass.hpp>

namespace moden::stylegan2::detail {

template <class Policy, class T>
class synthesis_adjoint {
public:
    using buffer = buffer_of<Policy, T>;

    /// \param block       the samples' styles
    /// \param record      of a pass with these styles
    /// \param cotangents  per sample
    /// \param result      samples * cotangents x style_size, written completely
    synthesis_adjoint(const Policy& policy, const architecture& layout, const generator_weights<Policy, T>& weights,
                      const style_block<T>& block, const synthesis_record<Policy, T>& record, std::size_t cotangents, T* result)
        : policy_(policy), layout_(layout), weights_(weights), block_(block), record_(record), cotangents_(cotangents),
          images_(block.stack.samples * cotangents), result_(result), x_(policy.template allocate<T>(0)) {
        policy.transform(images_ * layout.style_size, moden::detail::fill_with<T>{result, T(0)});
    }

    /// From the picture: images x resolution x resolution x 3.
    void from_picture(buffer picture) {
        for (std::size_t i = layout_.layers.size(); i-- > 0;) {
            if (layout_.layers[i].kind == layer_kind::to_rgb) {
                leave_picture(i, picture);
                if (layout_.layers[i].resolution > 4) {
                    picture = shrink(picture, layout_.layers[i].resolution / 2);
                }
            } else {
                convolve(i);
            }
        }
    }

    /// From the activations of convolution `last`: images x resolution x resolution x out.
    void from_activation(std::size_t last, buffer cotangent) {
        x_ = std::move(cotangent);
        has_x_ = true;
        for (std::size_t i = last + 1; i-- > 0;) {
            if (layout_.layers[i].kind != layer_kind::to_rgb) {
                convolve(i);
            }
        }
    }

private:
    using space = typename Policy::memory_space;

    image_extents images(std::size_t resolution, std::size_t channels) const {
        return {images_, resolution, resolution, channels};
    }

    /// Sums over the pixels of every cotangent: `functor` makes partial ones of `columns` numbers per block of pixels.
    template <class Functor>
    buffer sum_over_pixels(std::size_t pixels, std::size_t columns, std::size_t channels, Functor make) const {
        const std::size_t blocks = (pixels + pixels_per_sum - 1) / pixels_per_sum;
        const auto partial = policy_.template allocate<T>(images_ * blocks * columns);
        auto result = policy_.template allocate<T>(images_ * columns);
        policy_.transform_rows(images_ * blocks, channels, make(partial.data(), blocks));
        policy_.transform_rows(images_, columns, add_partial_sums<T>{partial.data(), result.data(), blocks, columns});
        return result;
    }

    buffer sum_of_products(const T* left, const T* right, std::size_t pixels, std::size_t channels) const {
        return sum_over_pixels(pixels, channels, channels, [&](T* sums, std::size_t blocks) {
            return partial_dots<T>{left, cotangents_, right, sums, blocks, pixels, channels};
        });
    }

    /// The input of layer `index`: the activations of the convolution before it.
    const T* input_of(std::size_t index) const {
        const T* input = record_.constant->data();
        for (const auto& layer : record_.convolutions) {
            if (layer.index < index) {
                input = layer.activation.data();
            }
        }
        return input;
    }

    buffer shrink(const buffer& picture, std::size_t resolution) const {
        const image_extents after = images(resolution, 3);
        auto result = policy_.template allocate<T>(after.size());
        const auto zeros = policy_.template allocate<T>(3);
        policy_.transform(3, moden::detail::fill_with<T>{zeros.data(), T(0)});
        moden::detail::transform_tiles<upsample_picture_adjoint>(
            policy_, pixel_grid<const T>(picture.data(), images(2 * resolution, 3)), pixel_grid<T>(result.data(), after),
            static_cast<const T*>(zeros.data()), resolution, resolution, 3, 0, after.pixels());
        return result;
    }

    /// Through torgb: adds to the cotangent of the activations and sets that of its styles.
    void leave_picture(std::size_t index, const buffer& picture) {
        const synthesis_layer& layer = layout_.layers[index];
        const picture_weights<Policy, T>& weights = weights_.layers[index].picture();
        const std::size_t samples = block_.stack.samples;
        const std::size_t pixels = layer.resolution * layer.resolution;
        const T* y = picture.data();
        auto masked = policy_.template allocate<T>(layout_.conv_clamp ? picture.size() : 0);
        for (const auto& [at, before_clamp] : record_.pictures) {
            if (at == index) {
                policy_.transform_rows(images_ * pixels, 3,
                                       mask_picture<T>{y, before_clamp.data(), masked.data(), clamp_of<T>(layout_),
                                                       cotangents_, pixels});
                y = masked.data();
            }
        }
        const T* x = input_of(index);
        const T* styles = block_.styles + layer.style_offset;
        const auto dots = sum_over_pixels(pixels, 3 * layer.in, layer.in, [&](T* sums, std::size_t blocks) {
            return partial_picture_dots<T>{x, cotangents_, y, sums, blocks, pixels, layer.in};
        });
        policy_.transform_rows(images_, layer.in,
                               picture_style_cotangent<T>{dots.data(), weights.weight.data(), result_ + layer.style_offset,
                                                          layout_.style_size, layer.in});
        const auto styled = policy_.template allocate<T>(samples * 3 * layer.in);
        policy_.transform_rows(samples * 3, layer.in,
                               style_picture_weights<T>{{samples, 0}, weights.weight.data(), styles, nullptr, block_.step,
                                                        styled.data(), layer.in});
        if (!has_x_) {
            x_ = policy_.template allocate<T>(images_ * pixels * layer.in);
            policy_.transform_rows(images_ * pixels, layer.in,
                                   picture_to_channels<T, false>{y, styled.data(), x_.data(), cotangents_, pixels, layer.in});
            has_x_ = true;
        } else {
            policy_.transform_rows(images_ * pixels, layer.in,
                                   picture_to_channels<T, true>{y, styled.data(), x_.data(), cotangents_, pixels, layer.in});
        }
    }

    /// Through a convolution: the cotangent of its result becomes that of its input; sets that of its styles.
    void convolve(std::size_t index) {
        const synthesis_layer& layer = layout_.layers[index];
        const convolution_weights<Policy, T>& weights = weights_.layers[index].convolution();
        const auto& kept = record_.of(index);
        const std::size_t after = layer.resolution * layer.resolution;
        const bool grows = layer.kind == layer_kind::upsampling_convolution;
        const image_extents small = images(grows ? layer.resolution / 2 : layer.resolution, layer.in);
        policy_.transform_rows(images_ * after, layer.out,
                               activate_adjoint<T>{x_.data(), kept.activation.data(), kept.demodulation.data(),
                                                   clamp_of<T>(layout_), cotangents_, after, layer.out});
        // s' = sum x g - s Q'(d^2 sum e c) with e = d * cotangent of the demodulated products c d, g = adjoint(e)
        const auto weighed = sum_of_products(kept.products.data(), x_.data(), after, layer.out);
        policy_.transform_rows(images_, layer.out,
                               weigh_demodulation<T>{weighed.data(), kept.demodulation.data(), cotangents_, layer.out});
        const auto correction = policy_.template allocate<T>(images_ * layer.in);
        policy_.template gemm<T>(T(1), moden::row_major<const T, space>(weighed.data(), images_, layer.out),
                                 moden::row_major<const T, space>(weights.squares.data(), layer.out, layer.in), T(0),
                                 moden::row_major<T, space>(correction.data(), images_, layer.in));
        auto input = policy_.template allocate<T>(small.size());
        weights.adjoint(policy_, x_.data(), small, input.data());
        const T* styles = block_.styles + layer.style_offset;
        const auto dots = sum_of_products(input_of(index), input.data(), small.image_pixels(), layer.in);
        policy_.transform_rows(images_, layer.in,
                               combine_style_cotangent<T>{dots.data(), correction.data(), styles, block_.step,
                                                          result_ + layer.style_offset, layout_.style_size, cotangents_,
                                                          layer.in});
        if (index > 0) {
            policy_.transform_rows(small.pixels(), layer.in,
                                   scale_by_styles<T>{input.data(), styles, block_.step, cotangents_, small.image_pixels(),
                                                      layer.in});
        }
        x_ = std::move(input);
    }

    const Policy& policy_;
    const architecture& layout_;
    const generator_weights<Policy, T>& weights_;
    style_block<T> block_;
    const synthesis_record<Policy, T>& record_;
    std::size_t cotangents_;
    std::size_t images_;
    T* result_;
    buffer x_;
    bool has_x_ = false;
};

}  // namespace moden::stylegan2::detail
