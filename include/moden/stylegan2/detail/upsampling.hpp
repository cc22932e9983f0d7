#pragma once

// What StyleGAN2 does on the way from one resolution to the next: the upsampling convolution and the upsampled picture.
// Source: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN".

#include <cstddef>

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

/// The upsampling convolution: 9 products per pixel of the small image, then one pass that adds and filters them. As many
/// flops as four Winograd convolutions on the small image would take, with a sixteenth of their weights.
template <class Policy, class T>
class upsampling_convolution {
public:
    /// \param weights  out x in x 3 x 3, in the policy's memory
    upsampling_convolution(const Policy& policy, const T* weights, std::size_t in, std::size_t out)
        : in_(in), out_(out), packed_(policy.template allocate<T>(9 * in * out)), zeros_(policy.template allocate<T>(out)) {
        using order = moden::detail::tap_order;
        policy.transform(out, moden::detail::fill_with<T>{zeros_.data(), T(0)});
        policy.transform_grid(
            in, out, moden::detail::pack_taps<T, order::inputs_then_taps>{weights, packed_.data(), in, out});
    }

    std::size_t in() const { return in_; }
    std::size_t out() const { return out_; }

    /// N x H x W x in to N x 2H x 2W x out; `images` are the small ones.
    void forward(const Policy& policy, const T* x, const image_extents& images, T* y) const {
        for_each_part(policy, images, [&](const image_extents& part, std::size_t first, T* products) {
            policy.template gemm<T>(T(1), matrix(x + first * in_, part.pixels(), in_), packed(), T(0),
                                    moden::row_major<T, space>(products, part.pixels(), 9 * out_));
            moden::detail::transform_tiles<spread_and_filter>(
                policy, moden::detail::blocks_of<3>(static_cast<const T*>(products), part),
                pixel_grid<T>(y + 4 * first * out_, twice(part)), static_cast<const T*>(zeros_.data()), part.height,
                part.width, out_, 0, part.pixels());
        });
    }

    /// The adjoint: N x 2H x 2W x out to N x H x W x in; `images` are the small ones.
    void adjoint(const Policy& policy, const T* y, const image_extents& images, T* x) const {
        for_each_part(policy, images, [&](const image_extents& part, std::size_t first, T* products) {
            moden::detail::transform_tiles<filter_and_gather>(
                policy, pixel_grid<const T>(y + 4 * first * out_, twice(part)), moden::detail::blocks_of<3>(products, part),
                static_cast<const T*>(zeros_.data()), part.height, part.width, out_, 0, part.pixels());
            policy.template gemm<T>(T(1), matrix(products, part.pixels(), 9 * out_), transposed(packed()), T(0),
                                    moden::row_major<T, space>(x + first * in_, part.pixels(), in_));
        });
    }

private:
    using space = typename Policy::memory_space;

    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return moden::row_major<const T, space>(data, rows, columns);
    }
    matrix_view<const T, space> packed() const { return matrix(packed_.data(), in_, 9 * out_); }

    static image_extents twice(const image_extents& images) {
        return {images.count, 2 * images.height, 2 * images.width, images.channels};
    }

    /// function(some of the images, number of their first pixel, scratch memory for their products)
    template <class Function>
    void for_each_part(const Policy& policy, const image_extents& images, Function function) const {
        const std::size_t at_once =
            moden::detail::units_at_once(images.count, 9 * out_ * images.image_pixels() * sizeof(T));
        const auto products = policy.template allocate<T>(at_once * images.image_pixels() * 9 * out_);
        for (std::size_t first = 0; first < images.count; first += at_once) {
            function(image_extents{std::min(at_once, images.count - first), images.height, images.width, out_},
                     first * images.image_pixels(), products.data());
        }
    }

    std::size_t in_;
    std::size_t out_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) packed_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) zeros_;
};

}  // namespace moden::stylegan2::detail
