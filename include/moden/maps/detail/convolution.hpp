#pragma once

// Convolution with 3 x 3 filters on images with channels last, written over the primitives of a policy: the sums over
// channels are matrix products, everything else is movement of tiles (tile_transform.hpp).

#include <algorithm>
#include <cstddef>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/core/view.hpp>
#include <moden/maps/detail/tile_transform.hpp>
#include <moden/maps/detail/winograd.hpp>

namespace moden::detail {

/// Scratch memory for the products of one convolution, in bytes; what does not fit is done in parts.
inline constexpr std::size_t convolution_scratch = std::size_t{24} << 20;

/// How many of `total` units, of `bytes` scratch each, are done at a time.
inline std::size_t units_at_once(std::size_t total, std::size_t bytes, std::size_t least = 1) {
    return std::min(total, std::max(least, convolution_scratch / std::max<std::size_t>(bytes, 1)));
}

/// Weights out x in x 3 x 3 to place x in x out.
template <class T>
struct pack_winograd_filter {
    const T* weights;
    T* packed;
    std::size_t in;
    std::size_t out;

    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t o) const {
        const T* filter = weights + (o * in + i) * 9;
        double half[18];
        for (std::size_t v = 0; v < 3; ++v) {
            const double column[3] = {static_cast<double>(filter[v]), static_cast<double>(filter[3 + v]),
                                      static_cast<double>(filter[6 + v])};
            double result[6];
            winograd_filter(column, result);
            for (std::size_t u = 0; u < 6; ++u) {
                half[u * 3 + v] = result[u];
            }
        }
        for (std::size_t u = 0; u < 6; ++u) {
            double result[6];
            winograd_filter(half + u * 3, result);
            for (std::size_t v = 0; v < 6; ++v) {
                packed[((u * 6 + v) * in + i) * out + o] = static_cast<T>(result[v]);
            }
        }
    }
};

/// Weights out x in x 3 x 3 to (tap, in) x out, as windows that were gathered are multiplied.
template <class T>
struct pack_taps {
    const T* weights;
    T* packed;
    std::size_t in;
    std::size_t out;

    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t o) const {
        for (std::size_t tap = 0; tap < 9; ++tap) {
            packed[(tap * in + i) * out + o] = weights[(o * in + i) * 9 + tap];
        }
    }
};

/// How the products of a 3 x 3 convolution are arranged.
enum class convolution_method {
    direct,   ///< windows gathered (im2col), one product: exact to the scalar type's rounding, few weights to read
    winograd  ///< a quarter of the flops, four times the weights; sides must be multiples of 4
};

/// Cross-correlation with 3 x 3 filters, one row and column of zeros around the image, and its adjoint; one packed set of
/// weights for both.
template <class Policy, class T>
class convolution3x3 {
public:
    /// \param weights  out x in x 3 x 3, in the policy's memory
    convolution3x3(const Policy& policy, const T* weights, std::size_t in, std::size_t out, convolution_method method)
        : in_(in), out_(out), method_(method), packed_(policy.template allocate<T>(places() * in * out)),
          zeros_(policy.template allocate<T>(std::max(in, out))) {
        policy.transform(zeros_.size(), fill_with<T>{zeros_.data(), T(0)});
        if (method == convolution_method::winograd) {
            policy.transform_grid(in, out, pack_winograd_filter<T>{weights, packed_.data(), in, out});
        } else {
            policy.transform_grid(in, out, pack_taps<T>{weights, packed_.data(), in, out});
        }
    }

    std::size_t in() const { return in_; }
    std::size_t out() const { return out_; }

    /// y = W x: N x H x W x in to N x H x W x out.
    void forward(const Policy& policy, const T* x, const image_extents& images, T* y) const {
        if (method_ == convolution_method::winograd) {
            multiply_tiles<direction::forward>(policy, x, images, y);
            return;
        }
        const image_extents source = images.with_channels(in_);
        const std::size_t width = 9 * in_;
        const std::size_t at_once = units_at_once(images.pixels(), width * sizeof(T), 256);
        const auto columns = policy.template allocate<T>(at_once * width);
        for (std::size_t first = 0; first < images.pixels(); first += at_once) {
            const std::size_t rows = std::min(at_once, images.pixels() - first);
            transform_tiles<gather_window>(policy, pixel_grid<const T>(x, source),
                                           blocks_of<3>(columns.data(), source, first), static_cast<const T*>(zeros_.data()),
                                           images.height, images.width, in_, first, rows);
            policy.template gemm<T>(T(1), matrix(columns.data(), rows, width), matrix(packed_.data(), width, out_), T(0),
                                    matrix(y + first * out_, rows, out_));
        }
    }

    /// x = W' y: N x H x W x out to N x H x W x in.
    void adjoint(const Policy& policy, const T* y, const image_extents& images, T* x) const {
        if (method_ == convolution_method::winograd) {
            multiply_tiles<direction::adjoint>(policy, y, images, x);
            return;
        }
        // The windows of an image overlap, so images are done whole.
        const std::size_t width = 9 * in_;
        const std::size_t at_once = units_at_once(images.count, width * images.image_pixels() * sizeof(T));
        const auto columns = policy.template allocate<T>(at_once * images.image_pixels() * width);
        for (std::size_t first = 0; first < images.count; first += at_once) {
            const image_extents part{std::min(at_once, images.count - first), images.height, images.width, in_};
            policy.template gemm<T>(T(1), matrix(y + first * images.image_pixels() * out_, part.pixels(), out_),
                                    transposed(matrix(packed_.data(), width, out_)), T(0),
                                    matrix(columns.data(), part.pixels(), width));
            transform_tiles<scatter_window>(policy, blocks_of<3>(static_cast<const T*>(columns.data()), part),
                                            pixel_grid<T>(x + first * images.image_pixels() * in_, part),
                                            static_cast<const T*>(zeros_.data()), images.height, images.width, in_, 0,
                                            part.pixels());
        }
    }

private:
    using space = typename Policy::memory_space;

    static matrix_view<T, space> matrix(T* data, std::size_t rows, std::size_t columns) {
        return row_major<T, space>(data, rows, columns);
    }
    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return row_major<const T, space>(data, rows, columns);
    }

    std::size_t places() const { return method_ == convolution_method::winograd ? winograd_places : 9; }

    template <direction Direction>
    void multiply_tiles(const Policy& policy, const T* from, const image_extents& images, T* to) const {
        constexpr bool forward = Direction == direction::forward;
        const std::size_t inputs = forward ? in_ : out_;
        const std::size_t outputs = forward ? out_ : in_;
        const std::size_t tile_rows = images.height / winograd_tile;
        const std::size_t tile_columns = images.width / winograd_tile;
        const std::size_t tiles = images.count * tile_rows * tile_columns;
        const std::size_t at_once = units_at_once(tiles, winograd_places * (inputs + outputs) * sizeof(T), 256);
        // Planes a power of two apart would share a few sets of the cache.
        constexpr std::size_t apart = 64;
        const std::size_t plane_in = at_once * inputs + apart;
        const std::size_t plane_out = at_once * outputs + apart;
        const auto transformed = policy.template allocate<T>(winograd_places * plane_in);
        const auto products = policy.template allocate<T>(winograd_places * plane_out);
        const matrix_view<const T, space> packed = matrix(static_cast<const T*>(packed_.data()), in_, out_);
        for (std::size_t first = 0; first < tiles; first += at_once) {
            const std::size_t count = std::min(at_once, tiles - first);
            const auto planes = [&]<class Element>(Element* data, std::size_t channels, std::size_t plane) {
                return block_grid<Element, 6>{data, 6 * tile_rows, 6 * tile_columns, channels, plane, first};
            };
            transform_tiles<winograd_input<Direction>>(
                policy, pixel_grid<const T>(from, images.with_channels(inputs)), planes(transformed.data(), inputs, plane_in),
                static_cast<const T*>(zeros_.data()), tile_rows, tile_columns, inputs, first, count);
            policy.template gemm_strided_batched<T>(T(1), matrix(transformed.data(), count, inputs), plane_in,
                                                    forward ? packed : transposed(packed), in_ * out_, T(0),
                                                    matrix(products.data(), count, outputs), plane_out, winograd_places);
            transform_tiles<winograd_output<Direction>>(
                policy, planes(static_cast<const T*>(products.data()), outputs, plane_out),
                pixel_grid<T>(to, images.with_channels(outputs)), static_cast<const T*>(zeros_.data()), tile_rows,
                tile_columns, outputs, first, count);
        }
    }

    std::size_t in_;
    std::size_t out_;
    convolution_method method_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) packed_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) zeros_;
};

}  // namespace moden::detail
