#pragma once

// What StyleGAN2 does on the way from one resolution to the next: the upsampling convolution and the upsampled picture.
// Source: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN".

#include <algorithm>
#include <cstddef>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/maps/detail/convolution.hpp>
#include <moden/maps/detail/tile_transform.hpp>

namespace moden::stylegan2::detail {

using moden::detail::image_extents;
using moden::detail::pixel_grid;
using moden::detail::store;

/// A transposed 3 x 3 convolution of stride 2 followed by the filter [1 3 3 1] / 4, per axis.
///
/// Before the filter, row 2i + a collects what input row i holds for tap a. Per axis the tile is the seven numbers
/// (input row, tap) = (p-1, 1), (p-1, 2), (p, 0), (p, 1), (p, 2), (p+1, 0), (p+1, 1): rows 2p-1 ... 2p+3 are their sums
/// 0, 1+2, 3, 4+5, 6, and each of two results weighs four of those rows.
struct spread_and_filter {
    static constexpr std::size_t in = 7, out = 2, step = 3, before = 2;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        const T row_0 = x[1] + x[2];
        const T row_2 = x[4] + x[5];
        y[0] = (x[0] + T(3) * (row_0 + x[3]) + row_2) / T(4);
        y[1] = (row_0 + T(3) * (x[3] + row_2) + x[6]) / T(4);
    }
};

/// The adjoint of spread_and_filter: what a pixel's three taps receive from rows 2p-2 ... 2p+3 of the result.
struct filter_and_gather {
    static constexpr std::size_t in = 6, out = 3, step = 2, before = 2;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        for (std::size_t tap = 0; tap < 3; ++tap) {
            y[tap] = (x[tap] + T(3) * (x[tap + 1] + x[tap + 2]) + x[tap + 3]) / T(4);
        }
    }
};

/// Twice the pixels: zeros between them, then the filter [1 3 3 1] / 4.
struct upsample_picture {
    static constexpr std::size_t in = 3, out = 2, step = 1, before = 1;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        y[0] = (x[0] + T(3) * x[1]) / T(4);
        y[1] = (T(3) * x[1] + x[2]) / T(4);
    }
};

/// The adjoint of upsample_picture.
struct upsample_picture_adjoint {
    static constexpr std::size_t in = 4, out = 1, step = 2, before = 1;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        y[0] = (x[0] + T(3) * (x[1] + x[2]) + x[3]) / T(4);
    }
};

/// Weights out x in x 3 x 3 to in x (block of outputs, tap, output of the block).
template <class T>
struct pack_blocked_taps {
    const T* weights;
    T* packed;
    std::size_t in;
    std::size_t out;
    std::size_t block;

    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t o) const {
        const std::size_t first = o / block * block;
        const std::size_t count = first + block < out ? block : out - first;
        for (std::size_t tap = 0; tap < 9; ++tap) {
            packed[i * 9 * out + 9 * first + tap * count + (o - first)] = weights[(o * in + i) * 9 + tap];
        }
    }
};

/// The upsampling convolution: 9 products per pixel of the small image, then one pass that adds and filters them. As many
/// flops as four Winograd convolutions on the small image would take, with a sixteenth of their weights.
///
/// Done for blocks of output channels, so narrow that the three rows of products that the pass looks at stay in the cache.
template <class Policy, class T>
class upsampling_convolution {
public:
    /// \param weights  out x in x 3 x 3, in the policy's memory
    /// \param width    of the small images
    upsampling_convolution(const Policy& policy, const T* weights, std::size_t in, std::size_t out, std::size_t width)
        : in_(in), out_(out), block_(block_for(width, out)), packed_(policy.template allocate<T>(9 * in * out)),
          zeros_(policy.template allocate<T>(block_)) {
        policy.transform(block_, moden::detail::fill_with<T>{zeros_.data(), T(0)});
        policy.transform_grid(in, out, pack_blocked_taps<T>{weights, packed_.data(), in, out, block_});
    }

    std::size_t in() const { return in_; }
    std::size_t out() const { return out_; }

    /// N x H x W x in to N x 2H x 2W x out; `images` are the small ones.
    void forward(const Policy& policy, const T* x, const image_extents& images, T* y) const {
        for_each_part(policy, images, [&](const part& p, T* products) {
            policy.template gemm<T>(T(1), matrix(x + p.first_pixel * in_, p.small.pixels(), in_), packed(p), T(0),
                                    moden::row_major<T, space>(products, p.small.pixels(), 9 * p.small.channels));
            moden::detail::transform_tiles<spread_and_filter>(
                policy, moden::detail::blocks_of<3>(static_cast<const T*>(products), p.small), large(y, p),
                static_cast<const T*>(zeros_.data()), p.small.height, p.small.width, p.small.channels, 0, p.small.pixels());
        });
    }

    /// The adjoint: N x 2H x 2W x out to N x H x W x in; `images` are the small ones.
    void adjoint(const Policy& policy, const T* y, const image_extents& images, T* x) const {
        for_each_part(policy, images, [&](const part& p, T* products) {
            moden::detail::transform_tiles<filter_and_gather>(
                policy, large(y, p), moden::detail::blocks_of<3>(products, p.small), static_cast<const T*>(zeros_.data()),
                p.small.height, p.small.width, p.small.channels, 0, p.small.pixels());
            policy.template gemm<T>(T(1), matrix(products, p.small.pixels(), 9 * p.small.channels), transposed(packed(p)),
                                    p.first_channel == 0 ? T(0) : T(1),
                                    moden::row_major<T, space>(x + p.first_pixel * in_, p.small.pixels(), in_));
        });
    }

private:
    using space = typename Policy::memory_space;

    /// Some images and some of their output channels.
    struct part {
        image_extents small;
        std::size_t first_pixel;
        std::size_t first_channel;
    };

    static std::size_t block_for(std::size_t width, std::size_t out) {
        constexpr std::size_t cache = std::size_t{512} << 10;
        constexpr std::size_t narrowest = 64;
        const std::size_t fitting = cache / (3 * 9 * width * sizeof(T)) / narrowest * narrowest;
        return std::min(out, std::max(narrowest, fitting));
    }

    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return moden::row_major<const T, space>(data, rows, columns);
    }
    matrix_view<const T, space> packed(const part& p) const {
        return columns_of(matrix(packed_.data(), in_, 9 * out_), 9 * p.first_channel, 9 * p.small.channels);
    }
    template <class Element>
    pixel_grid<Element> large(Element* y, const part& p) const {
        const image_extents all{p.small.count, 2 * p.small.height, 2 * p.small.width, out_};
        return {y + 4 * p.first_pixel * out_ + p.first_channel, all};
    }

    /// function(part, scratch memory for its products)
    template <class Function>
    void for_each_part(const Policy& policy, const image_extents& images, Function function) const {
        const std::size_t at_once =
            moden::detail::units_at_once(images.count, 9 * block_ * images.image_pixels() * sizeof(T));
        const auto products = policy.template allocate<T>(at_once * images.image_pixels() * 9 * block_);
        for (std::size_t first = 0; first < images.count; first += at_once) {
            const std::size_t count = std::min(at_once, images.count - first);
            for (std::size_t channel = 0; channel < out_; channel += block_) {
                function(part{{count, images.height, images.width, std::min(block_, out_ - channel)},
                              first * images.image_pixels(), channel},
                         products.data());
            }
        }
    }

    std::size_t in_;
    std::size_t out_;
    std::size_t block_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) packed_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) zeros_;
};

}  // namespace moden::stylegan2::detail
