#pragma once

// Images with channels last, cut into tiles, and the one loop that all of convolution's data movement is: gather a square
// window, apply a small linear transform along its rows and its columns, store the square that comes out. Winograd
// transforms, im2col and its adjoint, resampling and pooling differ in nothing but the transform.

#include <cstddef>

#include <moden/core/macros.hpp>

namespace moden::detail {

/// A batch of images of `channels` numbers per pixel, which lie together ("channels last", N x H x W x C).
struct image_extents {
    std::size_t count = 0;
    std::size_t height = 0;
    std::size_t width = 0;
    std::size_t channels = 0;

    std::size_t image_pixels() const { return height * width; }
    std::size_t pixels() const { return count * image_pixels(); }
    std::size_t size() const { return pixels() * channels; }
    image_extents with_channels(std::size_t others) const { return {count, height, width, others}; }
};

/// Images as they lie in memory. Pixel (row, column) of an image lies at data + row_offset + column_offset.
template <class T>
struct pixel_grid {
    T* data;
    std::size_t rows;
    std::size_t columns;
    std::size_t channels;

    pixel_grid(T* pixels, const image_extents& extents)
        : data(pixels), rows(extents.height), columns(extents.width), channels(extents.channels) {}

    MODEN_HOST_DEVICE std::size_t row_offset(std::size_t image, std::size_t row) const {
        return (image * rows + row) * columns * channels;
    }
    MODEN_HOST_DEVICE std::size_t column_offset(std::size_t column) const { return column * channels; }
};

/// What belongs to the tiles of images: a Size x Size square of channel vectors per tile, together (im2col) or a plane
/// for each place in the square (Winograd). Addressed as if the squares were an image side by side.
template <class T, std::size_t Size>
struct block_grid {
    T* data;
    std::size_t rows;         ///< Size x tiles per column of an image
    std::size_t columns;      ///< Size x tiles per row of an image
    std::size_t tile_step;    ///< elements from a tile to the next
    std::size_t place_step;   ///< elements from a place in the square to the next
    std::size_t first_tile;   ///< number of the tile that lies at `data`

    MODEN_HOST_DEVICE std::size_t row_offset(std::size_t image, std::size_t row) const {
        const std::size_t tile = (image * (rows / Size) + row / Size) * (columns / Size);
        return (tile - first_tile) * tile_step + row % Size * Size * place_step;  // modulo 2^64 until a column is added
    }
    MODEN_HOST_DEVICE std::size_t column_offset(std::size_t column) const {
        return column / Size * tile_step + column % Size * place_step;
    }
};

/// Blocks of Size x Size channel vectors, together, for all tiles of `tiles`, one tile per pixel.
template <std::size_t Size, class T>
block_grid<T, Size> blocks_of(T* data, const image_extents& tiles, std::size_t first_tile = 0) {
    return {data, Size * tiles.height, Size * tiles.width, Size * Size * tiles.channels, tiles.channels, first_tile};
}

/// Whether a transform's result replaces what was there or is added to it.
enum class store { set, add };

/// For a tile (p, q): gathers rows and columns Transform::step * p + Transform::first + (0 ... Transform::in - 1) of the
/// source, zero outside it; writes rows and columns Transform::out * p + (0 ... Transform::out - 1) of the target.
template <class T, class Source, class Target, class Transform, store Store>
struct tile_transform {
    Source source;
    Target target;
    const T* zeros;  ///< as many as there are channels
    std::size_t tile_rows;
    std::size_t tile_columns;
    std::size_t first_tile;

    MODEN_HOST_DEVICE void operator()(std::size_t index, std::size_t first, std::size_t last) const {
        constexpr std::size_t in = Transform::in;
        constexpr std::size_t out = Transform::out;
        const std::size_t tile = first_tile + index;
        const std::size_t q = tile % tile_columns;
        const std::size_t p = tile / tile_columns % tile_rows;
        const std::size_t image = tile / tile_columns / tile_rows;
        // Unsigned on purpose: what lies before the first row is beyond the last one.
        const std::size_t top = Transform::step * p - Transform::before;
        const std::size_t left = Transform::step * q - Transform::before;
        std::size_t beside[in];
        for (std::size_t v = 0; v < in; ++v) {
            beside[v] = source.column_offset(left + v);
        }
        const T* from[in * in];
        for (std::size_t u = 0; u < in; ++u) {
            const std::size_t below = source.row_offset(image, top + u);
            for (std::size_t v = 0; v < in; ++v) {
                const bool inside = top + u < source.rows && left + v < source.columns;
                from[u * in + v] = inside ? source.data + (below + beside[v]) : zeros;
            }
        }
        T* to[out * out];
        for (std::size_t u = 0; u < out; ++u) {
            const std::size_t below = target.row_offset(image, out * p + u);
            for (std::size_t v = 0; v < out; ++v) {
                to[u * out + v] = target.data + (below + target.column_offset(out * q + v));
            }
        }
        // What is written never overlaps what is read.
        MODEN_INDEPENDENT
        for (std::size_t c = first; c < last; ++c) {
            T half[out * in];
            MODEN_UNROLL
            for (std::size_t v = 0; v < in; ++v) {
                T column[in];
                T result[out];
                MODEN_UNROLL
                for (std::size_t u = 0; u < in; ++u) {
                    column[u] = from[u * in + v][c];
                }
                Transform::apply(column, result);
                MODEN_UNROLL
                for (std::size_t u = 0; u < out; ++u) {
                    half[u * in + v] = result[u];
                }
            }
            MODEN_UNROLL
            for (std::size_t u = 0; u < out; ++u) {
                T result[out];
                Transform::apply(half + u * in, result);
                MODEN_UNROLL
                for (std::size_t v = 0; v < out; ++v) {
                    T& place = to[u * out + v][c];
                    place = Store == store::add ? place + result[v] : result[v];
                }
            }
        }
    }
};

/// Applies a transform to `tiles` tiles from number `first_tile` on, of images that have rows x columns tiles each.
template <class Transform, store Store = store::set, class Policy, class T, class Source, class Target>
void transform_tiles(const Policy& policy, const Source& source, const Target& target, const T* zeros, std::size_t rows,
                     std::size_t columns, std::size_t channels, std::size_t first_tile, std::size_t tiles) {
    policy.transform_rows(tiles, channels,
                          tile_transform<T, Source, Target, Transform, Store>{source, target, zeros, rows, columns, first_tile});
}

/// No transform: im2col of a 3 x 3 window with one row and column of zeros around the image.
struct gather_window {
    static constexpr std::size_t in = 3, out = 3, step = 1, before = 1;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        y[0] = x[0];
        y[1] = x[1];
        y[2] = x[2];
    }
};

/// The adjoint of gather_window: every pixel collects what the windows that saw it hold for it.
struct scatter_window {
    static constexpr std::size_t in = 5, out = 1, step = 3, before = 1;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        y[0] = x[0] + x[2] + x[4];
    }
};

/// Mean of 2 x 2 pixels.
struct halve_by_mean {
    static constexpr std::size_t in = 2, out = 1, step = 2, before = 0;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        y[0] = (x[0] + x[1]) / T(2);
    }
};

/// The adjoint of halve_by_mean.
struct halve_by_mean_adjoint {
    static constexpr std::size_t in = 1, out = 2, step = 1, before = 0;
    template <class T>
    MODEN_HOST_DEVICE static void apply(const T* x, T* y) {
        y[0] = y[1] = x[0] / T(2);
    }
};

}  // namespace moden::detail
