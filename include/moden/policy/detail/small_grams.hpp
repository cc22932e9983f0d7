#pragma once

// Gram matrices of few rows and very many columns, summed with the register tile of small_products.hpp: the shapes that
// unfoldings have and that a library's syrk divides badly.

#include <algorithm>
#include <cstddef>

#include <moden/policy/detail/small_products.hpp>

namespace moden::detail {

/// Sums of X X' for an X of few rows and very many columns, which are brought together a panel at a time.
template <class T>
class panel_gram {
public:
    explicit panel_gram(std::size_t rows, instruction_set set = best_instruction_set())
        : tile_(register_tile_for<T>(set)), rows_(rows), stride_(padded(rows)) {}

    /// Elements of a thread's running sum, to be zeroed before the first add().
    std::size_t sum_size() const { return round_up(rows_, tile_.rows) * stride_; }

    /// Scratch elements that add() needs, one such buffer per thread.
    std::size_t scratch_size() const { return depth * stride_; }

    /// Adds columns [first, last) of X, counted through all slabs, to a running sum. Within a slab, X(i, k) =
    /// data[i * row_step + k * column_step], one of the steps being 1.
    void add(const T* data, std::size_t slab_step, std::size_t slab_columns, std::size_t row_step, std::size_t column_step,
             std::size_t first, std::size_t last, T* sum, T* scratch) const {
        std::fill_n(scratch, scratch_size(), T(0));  // also the padding
        for (std::size_t column = first; column < last; column += depth) {
            const std::size_t count = std::min(depth, last - column);
            for_each_piece(slab_columns, column, column + count, [&](std::size_t slab, std::size_t k, std::size_t offset, std::size_t length) {
                const T* source = data + slab * slab_step + k * column_step;
                T* target = scratch + offset * stride_;
                if (row_step == 1) {
                    tile_.copy_runs(source, column_step, target, stride_, length, rows_);
                } else {
                    tile_.transpose_runs(source, row_step, target, stride_, rows_, length);
                }
            });
            const std::size_t next = column + count;
            std::size_t fetched = 0;  // rows of the next panel
            const std::size_t share = (rows_ + tiles() - 1) / tiles();
            add_panel(scratch, count, sum, [&] {
                const std::size_t until = std::min(rows_, fetched + share);
                for_each_piece(slab_columns, next, std::min(last, next + depth), [&](std::size_t slab, std::size_t k, std::size_t, std::size_t length) {
                    const T* source = data + slab * slab_step + k * column_step;
                    if (row_step == 1) {
                        for (std::size_t i = fetched * length / rows_; i < until * length / rows_; ++i) {
                            fetch_for_reading(source + i * column_step, rows_);
                        }
                    } else {
                        for (std::size_t i = fetched; i < until; ++i) {
                            fetch_for_reading(source + i * row_step, length);
                        }
                    }
                });
                fetched = until;
            });
        }
    }

    /// Entry (i, j), i <= j, of X X' from a running sum.
    T entry(const T* sum, std::size_t i, std::size_t j) const { return sum[i * stride_ + j]; }

private:
    static constexpr std::size_t depth = 128;  // columns of X that are multiplied together: a strip of them stays in cache

    /// A multiple of the strip, and of an odd number of lines, so that rows do not meet in the same sets of the cache.
    std::size_t padded(std::size_t rows) const {
        const std::size_t strips = (round_up(rows, tile_.rows) + tile_.strip() - 1) / tile_.strip();
        return tile_.strip() * (strips + 1 - strips % 2);
    }

    /// Tiles per panel, counted generously.
    std::size_t tiles() const {
        const std::size_t strips = (rows_ + tile_.strip() - 1) / tile_.strip();
        return strips * (rows_ + 2 * tile_.rows) / (2 * tile_.rows);
    }

    template <class Between>
    void add_panel(const T* panel, std::size_t count, T* sum, Between between) const {
        for (std::size_t column = 0; column < rows_; column += tile_.strip()) {
            const bool narrow = rows_ - column <= tile_.vector_size;
            for (std::size_t row = 0; row < std::min(rows_, column + tile_.strip()); row += tile_.rows) {
                between();
                (narrow ? tile_.narrow : tile_.wide)(count, panel + row, 1, stride_, panel + column, stride_,
                                                     sum + row * stride_ + column, stride_, tile_.rows, tile_.strip(), true);
            }
        }
    }

    register_tile<T> tile_;
    std::size_t rows_;
    std::size_t stride_;
};

/// Sums of X' X for a very tall, dense, row-major X of a few columns, read in place a block of rows at a time.
template <class T>
class tall_gram {
public:
    static constexpr std::size_t widest = 64;  ///< columns up to which this is worthwhile

    explicit tall_gram(std::size_t columns, instruction_set set = best_instruction_set())
        : tile_(register_tile_for<T>(set)), columns_(columns),
          // Rows narrower than a tile are taken several at a time; the blocks on the diagonal are what is wanted.
          group_(std::max<std::size_t>(1, tile_.strip() / columns)), width_(group_ * columns) {}

    /// Elements of a thread's running sum, to be zeroed before the first add().
    std::size_t sum_size() const { return width_ * width_; }

    /// Adds the rows x to a running sum.
    void add(const T* x, std::size_t rows, T* sum) const {
        const std::size_t groups = rows / group_;
        // Tiles may read past the end of a row, so the last group is left to the simple loop.
        const std::size_t tiled = groups > 0 ? groups - 1 : 0;
        constexpr std::size_t block_bytes = 16 * 1024;
        const std::size_t block = std::max<std::size_t>(32, block_bytes / (width_ * sizeof(T)));
        for (std::size_t first = 0; first < tiled; first += block) {
            add_block(x + first * width_, std::min(block, tiled - first), sum);
        }
        for (std::size_t row = tiled * group_; row < rows; ++row) {
            for (std::size_t i = 0; i < columns_; ++i) {
                for (std::size_t j = i; j < columns_; ++j) {
                    sum[i * width_ + j] += x[row * columns_ + i] * x[row * columns_ + j];
                }
            }
        }
    }

    /// Entry (i, j), i <= j, of X' X from a running sum.
    T entry(const T* sum, std::size_t i, std::size_t j) const {
        T total = T(0);
        for (std::size_t g = 0; g < group_; ++g) {
            total += sum[(g * columns_ + i) * width_ + g * columns_ + j];
        }
        return total;
    }

private:
    void add_block(const T* x, std::size_t depth, T* sum) const {
        const std::size_t strip = tile_.strip();
        T product[register_tile<T>::largest_rows * register_tile<T>::largest_strip];
        for (std::size_t column = 0; column < width_; column += strip) {
            const bool narrow = width_ - column <= tile_.vector_size;
            const std::size_t across = narrow ? tile_.vector_size : strip;
            // The last strip is moved back inside the row where the row is long enough.
            const std::size_t start = width_ >= across ? std::min(column, width_ - across) : 0;
            for (std::size_t row = 0; row < std::min(column + strip, width_); row += tile_.rows) {
                const std::size_t rows = std::min(tile_.rows, width_ - row);
                (narrow ? tile_.narrow : tile_.wide)(depth, x + row, 1, width_, x + start, width_, product, strip, rows, across, false);
                for (std::size_t i = 0; i < rows; ++i) {
                    for (std::size_t j = column; j < std::min(column + strip, width_); ++j) {
                        sum[(row + i) * width_ + j] += product[i * strip + j - start];
                    }
                }
            }
        }
    }

    register_tile<T> tile_;
    std::size_t columns_;
    std::size_t group_;
    std::size_t width_;
};

}  // namespace moden::detail
