#pragma once

// Products with one small factor, for the shapes that mode-n products have and GEMM libraries are slow at: a small matrix
// times many short slabs or one very wide matrix, and very tall matrices times a small matrix. small_grams.hpp has the Gram
// matrices that go with them.
//
// A general GEMM packs both operands in panels of its own and divides the work among threads by the shape of C; where C or
// one operand is small, that costs as much as the multiplication. Here the small factor is packed once, the large operand
// passes through the cache a strip at a time, and the caller divides the long side.
// docs/design.md ("Small products") has the measurements.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <moden/policy/detail/register_tile.hpp>

namespace moden::detail {

inline std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// Asks for memory that will be read, or written, before long. Does nothing where there is no such page yet.
template <class T>
inline void fetch_for_reading(const T* data, std::size_t count) {
    for (std::size_t i = 0; i < count; i += 64 / sizeof(T)) {
        __builtin_prefetch(data + i, 0);
    }
}

/// The same for a row of a tile of C, which otherwise waits for its memory when it is stored.
template <class T>
inline void fetch_for_writing(const T* data, std::size_t count) {
    for (std::size_t i = 0; i < count; i += 64 / sizeof(T)) {
        __builtin_prefetch(data + i, 1);
    }
    __builtin_prefetch(data + count - 1, 1);  // the line that a row which begins inside a line ends in
}

/// Many matrices of `columns` columns, row-major and dense, that start `step` elements after one another. Side by side
/// they make one long matrix, whose columns are counted through.
template <class T>
struct adjacent_slabs {
    T* data;
    std::size_t step;
    std::size_t columns;
};

/// function(slab, column, offset, length) for the pieces of slabs that make up the columns [first, last) of adjacent slabs:
/// `column` within the slab, `offset` from `first`.
template <class Function>
void for_each_piece(std::size_t columns, std::size_t first, std::size_t last, Function function) {
    std::size_t slab = first / columns;
    std::size_t column = first % columns;
    for (std::size_t offset = 0; first + offset < last; ++slab, column = 0) {
        const std::size_t length = std::min(columns - column, last - first - offset);
        function(slab, column, offset, length);
        offset += length;
    }
}

/// C_s = A B_s for many slabs s, with A (rows x depth) packed once.
///
/// Strips of B, as wide as the register tile, are gathered across slabs, so that no arithmetic is spent on ragged ends. The
/// work goes in steps of some strips and at most 256 rows of B, which are brought into the cache and multiplied while the
/// next step's are fetched.
template <class T>
class slab_multiplier {
public:
    /// A(i, k) = a[i * a_row + k * a_column].
    slab_multiplier(const T* a, std::size_t a_row, std::size_t a_column, std::size_t rows, std::size_t depth,
                    instruction_set set = best_instruction_set())
        : tile_(register_tile_for<T>(set)), rows_(rows), depth_(depth),
          blocks_((depth + deepest_block - 1) / deepest_block), block_depth_((depth + blocks_ - 1) / blocks_),
          panel_(panel_width(tile_.strip(), block_depth_)), packed_(round_up(rows, tile_.short_rows) * depth) {
        T* target = packed_.data();
        for (std::size_t first = 0; first < depth; first += block_depth_) {
            const std::size_t last = std::min(depth, first + block_depth_);
            for (std::size_t row = 0; row < rows; row += panel_rows(row)) {
                const std::size_t height = panel_rows(row);
                for (std::size_t k = first; k < last; ++k) {
                    for (std::size_t i = 0; i < height; ++i) {
                        *target++ = row + i < rows ? a[(row + i) * a_row + k * a_column] : T(0);
                    }
                }
            }
        }
    }

    /// Columns to hand out together: a multiple of what one tile takes.
    std::size_t column_block() const { return tile_.strip(); }

    /// Scratch elements that multiply() needs, one such buffer per thread.
    std::size_t scratch_size() const { return block_depth_ * panel_ + tile_.rows * tile_.strip(); }

    /// Columns [first, last) of the product, counted through all slabs.
    void multiply(const adjacent_slabs<const T>& b, const adjacent_slabs<T>& c, std::size_t first, std::size_t last,
                  T* scratch) const {
        if (first >= last) {
            return;
        }
        const std::size_t panels = (last - first + panel_ - 1) / panel_;
        // A small A stays in cache, and so should what becomes of a panel; of a large A, one block after the other does.
        constexpr std::size_t small = 512 * 1024;  // bytes
        const bool blocks_first = packed_.size() * sizeof(T) <= small;
        const auto step_at = [&](std::size_t index) {
            const std::size_t panel = blocks_first ? index / blocks_ : index % panels;
            const std::size_t block = blocks_first ? index % blocks_ : index / panels;
            const std::size_t column = first + panel * panel_;
            const std::size_t row = block * block_depth_;
            return step{column, std::min(panel_, last - column), row, std::min(block_depth_, depth_ - row)};
        };
        step current = step_at(0);
        for (std::size_t index = 0; index < panels * blocks_; ++index) {
            const step next = index + 1 < panels * blocks_ ? step_at(index + 1) : step{};
            pack(b, current, scratch);
            multiply_panel(b, c, current, next, scratch);
            current = next;
        }
    }

    /// Rows [first_row, last_row) and columns [first, last) of C = A B, or C += A B, for one B of long rows that are read where they lie, and all
    /// begin at the same place of a line: what is left over before the first line and after the last strip is copied to `scratch`. first_row is a
    /// multiple of row_block().
    void multiply_in_place(const T* b, std::size_t b_row, T* c, std::size_t c_row, std::size_t first_row, std::size_t last_row, std::size_t first,
                           std::size_t last, bool add, T* scratch) const {
        if (first_row >= last_row) {
            return;
        }
        const std::size_t strip = tile_.strip();
        const std::size_t aligned = first + elements_before_line(b + first);
        for (std::size_t k = 0; k < depth_; k += block_depth_) {
            const std::size_t depth = std::min(block_depth_, depth_ - k);
            const T* const block = packed_.data() + round_up(rows_, tile_.short_rows) * k;
            // Rows of the next strip to fetch per tile.
            const std::size_t share = (depth * tile_.rows + last_row - first_row - 1) / (last_row - first_row);
            for (std::size_t column = first; column < last;) {
                const std::size_t across = std::min({column < aligned ? aligned - column : strip, strip, last - column}), next = column + across;
                const T* from = b + k * b_row + column;
                if (across < strip) {
                    std::fill_n(scratch, depth * strip, T(0));
                    tile_.copy_runs(from, b_row, scratch, strip, depth, across);
                    from = scratch;
                }
                std::size_t fetched = next + strip <= last ? 0 : depth;
                for (std::size_t row = first_row; row < last_row; row += panel_rows(row)) {
                    for (const std::size_t until = std::min(fetched + share, depth); fetched < until; ++fetched) {
                        fetch_for_reading(b + (k + fetched) * b_row + next, strip);
                    }
                    const std::size_t height = panel_rows(row), valid = std::min(height, last_row - row);
                    for (std::size_t i = row; i < row + valid; ++i) {
                        fetch_for_writing(c + i * c_row + column, across);
                    }
                    tile_(depth, block + row * depth, 1, height, from, across < strip ? strip : b_row, c + row * c_row + column, c_row, valid, across,
                          add || k > 0);
                }
                column = next;
            }
        }
    }

    /// Scratch elements that multiply_in_place() needs, one such buffer per thread.
    std::size_t strip_size() const { return block_depth_ * tile_.strip(); }

    /// Rows to hand out together.
    std::size_t row_block() const { return tile_.rows; }

    /// Elements from here to the next line of the cache.
    static std::size_t elements_before_line(const T* data) {
        return (line_bytes - reinterpret_cast<std::uintptr_t>(data) % line_bytes) % line_bytes / sizeof(T);
    }

    static constexpr std::size_t line_bytes = 64;

private:
    static constexpr std::size_t deepest_block = 256;

    /// A panel of B: columns counted through all slabs, and rows.
    struct step {
        std::size_t column = 0;
        std::size_t width = 0;
        std::size_t row = 0;
        std::size_t depth = 0;
    };

    /// A few strips, an odd number of them: with a power of two, their rows would meet in the same sets of the cache.
    static std::size_t panel_width(std::size_t strip, std::size_t depth) {
        constexpr std::size_t bytes = 256 * 1024;
        const std::size_t strips = std::clamp<std::size_t>(bytes / (depth * strip * sizeof(T)), 1, 15);
        return strip * (strips - (strips + 1) % 2);
    }

    /// Rows of the panel of A that begins with `row`: tiles as long as they are full, then short ones.
    std::size_t panel_rows(std::size_t row) const { return rows_ - row >= tile_.rows ? tile_.rows : tile_.short_rows; }

    void pack(const adjacent_slabs<const T>& b, const step& at, T* packed) const {
        for_each_piece(b.columns, at.column, at.column + at.width,
                       [&](std::size_t slab, std::size_t j, std::size_t offset, std::size_t length) {
                           tile_.copy_runs(b.data + slab * b.step + at.row * b.columns + j, b.columns, packed + offset,
                                           panel_, at.depth, length);
                       });
        const std::size_t ragged = at.width % tile_.strip();
        if (ragged > 0) {  // columns that are computed and not stored
            for (std::size_t k = 0; k < at.depth; ++k) {
                std::fill_n(packed + k * panel_ + at.width, tile_.strip() - ragged, T(0));
            }
        }
    }

    void multiply_panel(const adjacent_slabs<const T>& b, const adjacent_slabs<T>& c, const step& at, const step& next,
                        T* scratch) const {
        T* const crossing = scratch + block_depth_ * panel_;
        const bool add = at.row > 0;
        const std::size_t tiles = (at.width + tile_.strip() - 1) / tile_.strip() * ((rows_ + tile_.rows - 1) / tile_.rows);
        const std::size_t share = (next.depth + tiles - 1) / tiles;  // rows of the next panel to fetch per tile
        std::size_t fetched = 0;
        for (std::size_t strip = 0; strip < at.width; strip += tile_.strip()) {
            const std::size_t column = at.column + strip;
            const std::size_t across = std::min(tile_.strip(), at.width - strip);
            const bool inside = column % c.columns + across <= c.columns;
            const T* a = packed_.data() + round_up(rows_, tile_.short_rows) * at.row;
            for (std::size_t row = 0; row < rows_; row += panel_rows(row)) {
                const std::size_t until = std::min(fetched + share, next.depth);
                fetch(b, next, fetched, until);
                fetched = until;
                const std::size_t height = panel_rows(row);
                const std::size_t valid = std::min(height, rows_ - row);
                for_each_piece(c.columns, column, column + across,
                               [&](std::size_t slab, std::size_t j, std::size_t, std::size_t length) {
                                   for (std::size_t i = row; i < row + valid; ++i) {
                                       fetch_for_writing(c.data + slab * c.step + i * c.columns + j, length);
                                   }
                               });
                if (inside) {
                    tile_(at.depth, a, 1, height, scratch + strip, panel_,
                          c.data + column / c.columns * c.step + row * c.columns + column % c.columns, c.columns, valid,
                          across, add);
                } else {
                    tile_(at.depth, a, 1, height, scratch + strip, panel_, crossing, tile_.strip(), valid, tile_.strip());
                    scatter(crossing, c, column, across, row, valid, add);
                }
                a += height * at.depth;
            }
        }
    }

    /// A tile that lies across several slabs of C.
    void scatter(const T* tile, const adjacent_slabs<T>& c, std::size_t column, std::size_t width, std::size_t row,
                 std::size_t rows, bool add) const {
        for_each_piece(c.columns, column, column + width, [&](std::size_t slab, std::size_t j, std::size_t offset, std::size_t length) {
            T* target = c.data + slab * c.step + row * c.columns + j;
            if (!add) {
                tile_.copy_runs(tile + offset, tile_.strip(), target, c.columns, rows, length);
                return;
            }
            for (std::size_t i = 0; i < rows; ++i) {
                for (std::size_t k = 0; k < length; ++k) {
                    target[i * c.columns + k] += tile[i * tile_.strip() + offset + k];
                }
            }
        });
    }

    void fetch(const adjacent_slabs<const T>& b, const step& at, std::size_t first_row, std::size_t last_row) const {
        for_each_piece(b.columns, at.column, at.column + at.width,
                       [&](std::size_t slab, std::size_t j, std::size_t, std::size_t length) {
                           for (std::size_t k = first_row; k < last_row; ++k) {
                               fetch_for_reading(b.data + slab * b.step + (at.row + k) * b.columns + j, length);
                           }
                       });
    }

    register_tile<T> tile_;
    std::size_t rows_;
    std::size_t depth_;
    std::size_t blocks_;       // of the depth
    std::size_t block_depth_;  // of all but the last one
    std::size_t panel_;        // columns that are packed together
    std::vector<T> packed_;    // block by block, panels of A, each depth of the block x rows of the panel
};

/// Y = X M for a very tall X (rows, depth columns) and a small M (depth x columns), both row-major and dense.
template <class T>
class row_multiplier {
public:
    /// M(k, j) = m[k * m_row + j * m_column].
    row_multiplier(const T* m, std::size_t m_row, std::size_t m_column, std::size_t depth, std::size_t columns,
                   instruction_set set = best_instruction_set())
        : tile_(register_tile_for<T>(set)), depth_(depth), columns_(columns),
          // Matrices narrower than a register are repeated along the diagonal, so that several rows share a register.
          repeats_(std::max<std::size_t>(1, std::min(tile_.vector_size / columns, tile_.vector_size / depth))),
          packed_(depth * repeats_ * round_up(columns * repeats_, tile_.strip())) {
        for (std::size_t r = 0; r < repeats_; ++r) {
            for (std::size_t k = 0; k < depth; ++k) {
                for (std::size_t j = 0; j < columns; ++j) {
                    const std::size_t column = r * columns + j;
                    packed_[(column / tile_.strip() * depth * repeats_ + r * depth + k) * tile_.strip() + column % tile_.strip()] =
                        m[k * m_row + j * m_column];
                }
            }
        }
    }

    /// Rows to hand out together: a multiple of what one tile takes.
    std::size_t row_block() const { return tile_.rows * repeats_; }

    void multiply(const T* x, T* y, std::size_t rows) const {
        const std::size_t grouped = rows / repeats_;
        multiply_groups(x, y, grouped, repeats_);
        multiply_groups(x + grouped * repeats_ * depth_, y + grouped * repeats_ * columns_, rows - grouped * repeats_, 1);
    }

private:
    void multiply_groups(const T* x, T* y, std::size_t groups, std::size_t repeats) const {
        const std::size_t depth = depth_ * repeats;
        const std::size_t columns = columns_ * repeats;
        const std::size_t strip = tile_.strip();
        // A small M stays in the first level of cache beside a tile's rows; strips of a larger one meet more rows each.
        constexpr std::size_t small = 28 * 1024;  // bytes
        const std::size_t ahead = 8 * tile_.rows;
        const std::size_t block = packed_.size() * sizeof(T) <= small ? tile_.rows : ahead;
        for (std::size_t first = 0; first < groups; first += block) {
            const std::size_t last = std::min(groups, first + block);
            for (std::size_t column = 0; column < columns; column += strip) {
                const T* m = packed_.data() + column * depth_ * repeats_;
                for (std::size_t row = first; row < last; row += tile_.rows) {
                    const std::size_t valid = std::min(tile_.rows, groups - row);
                    const std::size_t across = std::min(strip, columns - column);
                    if (column == 0) {
                        fetch_for_writing(y + row * columns, valid * columns);
                        if (row + ahead + tile_.rows <= groups) {
                            fetch_for_reading(x + (row + ahead) * depth, tile_.rows * depth);
                        }
                    }
                    tile_(depth, x + row * depth, depth, 1, m, strip, y + row * columns + column, columns, valid, across);
                }
            }
        }
    }

    register_tile<T> tile_;
    std::size_t depth_;
    std::size_t columns_;
    std::size_t repeats_;
    std::vector<T> packed_;  // strips, each (repeats * depth) x strip, block diagonal, zero padded
};

/// C = A B for an A of few, long rows and a B of few columns. A is read where it lies, a depth at a time that stays in cache with its rows of B: packing
/// it, as a GEMM does, costs a quarter of a product with 64 columns. B's last columns are copied if they do not fill a strip.
template <class T>
class deep_multiplier {
public:
    deep_multiplier(const T* b, std::size_t b_row, std::size_t depth, std::size_t columns, instruction_set set = best_instruction_set())
        : tile_(register_tile_for<T>(set)), b_(b), b_row_(b_row), depth_(depth), columns_(columns), whole_(columns / tile_.strip() * tile_.strip()),
          rest_(whole_ < columns ? depth * tile_.strip() : 0) {
        for (std::size_t k = 0; k < depth && whole_ < columns; ++k) {
            std::copy_n(b + k * b_row + whole_, columns - whole_, rest_.data() + k * tile_.strip());
        }
    }

    std::size_t row_block() const { return tile_.rows; }

    void multiply(const T* a, std::size_t a_row, T* c, std::size_t c_row, std::size_t rows) const {
        constexpr std::size_t depth_block = 256;
        for (std::size_t k = 0; k < depth_; k += depth_block) {
            const std::size_t depth = std::min(depth_block, depth_ - k);
            for (std::size_t row = 0; row < rows; row += tile_.rows) {
                const std::size_t valid = std::min(tile_.rows, rows - row);
                for (std::size_t column = 0; column < columns_; column += tile_.strip()) {
                    const bool whole = column < whole_;
                    tile_(depth, a + row * a_row + k, a_row, 1, whole ? b_ + k * b_row_ + column : rest_.data() + k * tile_.strip(),
                          whole ? b_row_ : tile_.strip(), c + row * c_row + column, c_row, valid, std::min(tile_.strip(), columns_ - column), k > 0);
                }
            }
        }
    }

private:
    register_tile<T> tile_;
    const T* b_;
    std::size_t b_row_;
    std::size_t depth_;
    std::size_t columns_;
    std::size_t whole_;  // columns in full strips
    std::vector<T> rest_;
};

}  // namespace moden::detail
