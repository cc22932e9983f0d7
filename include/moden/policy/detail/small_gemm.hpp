#pragma once

// Products with one small factor, for the shapes that mode-n products have and GEMM libraries are slow at: the same small
// matrix times many short slabs, and very tall matrices of a few columns times a small matrix.
//
// A general GEMM packs both operands; when one product has a million flops, packing and dispatch cost as much as the
// multiplication. Here the small factor is packed once for all slabs, and the large operand is read where it lies.
// docs/design.md ("Small products") has the measurements.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

// The loops over registers have to be unrolled for the registers to exist; the pragma differs between compilers.
#if defined(__CUDACC__)
#define MODEN_KERNEL_UNROLL
#elif defined(__clang__)
#define MODEN_KERNEL_UNROLL _Pragma("unroll")
#else
#define MODEN_KERNEL_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(__x86_64__)
#define MODEN_X86_KERNELS 1
#else
#define MODEN_X86_KERNELS 0
#endif

namespace moden::detail {

namespace portable_kernel {
#define MODEN_KERNEL_TARGET
#define MODEN_KERNEL_BYTES 16
#define MODEN_KERNEL_ROWS 4
#include <moden/policy/detail/small_gemm_kernel.ipp>
#undef MODEN_KERNEL_TARGET
#undef MODEN_KERNEL_BYTES
#undef MODEN_KERNEL_ROWS
}  // namespace portable_kernel

#if MODEN_X86_KERNELS
namespace avx2_kernel {
#define MODEN_KERNEL_TARGET __attribute__((target("avx2,fma")))
#define MODEN_KERNEL_BYTES 32
#define MODEN_KERNEL_ROWS 6
#include <moden/policy/detail/small_gemm_kernel.ipp>
#undef MODEN_KERNEL_TARGET
#undef MODEN_KERNEL_BYTES
#undef MODEN_KERNEL_ROWS
}  // namespace avx2_kernel

namespace avx512_kernel {
#define MODEN_KERNEL_TARGET __attribute__((target("avx512f")))
#define MODEN_KERNEL_BYTES 64
#define MODEN_KERNEL_ROWS 12
#include <moden/policy/detail/small_gemm_kernel.ipp>
#undef MODEN_KERNEL_TARGET
#undef MODEN_KERNEL_BYTES
#undef MODEN_KERNEL_ROWS
}  // namespace avx512_kernel
#endif
#undef MODEN_KERNEL_UNROLL

/// Instruction sets for which the register tile exists.
enum class instruction_set { portable, avx2, avx512 };

inline bool is_supported(instruction_set set) {
#if MODEN_X86_KERNELS
    switch (set) {
        case instruction_set::avx512: return __builtin_cpu_supports("avx512f") != 0;
        case instruction_set::avx2: return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
        case instruction_set::portable: break;
    }
#endif
    return set == instruction_set::portable;
}

inline instruction_set best_instruction_set() {
    static const instruction_set best = is_supported(instruction_set::avx512) ? instruction_set::avx512
                                        : is_supported(instruction_set::avx2) ? instruction_set::avx2
                                                                              : instruction_set::portable;
    return best;
}

/// The register tile of one instruction set. One and two registers wide; two is the faster of them.
template <class T>
struct small_gemm_tile {
    using function = void(std::size_t depth, const T* a, std::size_t a_row, std::size_t a_column, const T* b,
                          std::size_t b_row, T* c, std::size_t c_row, std::size_t rows, std::size_t columns);
    std::size_t rows;         ///< rows of C per tile
    std::size_t vector_size;  ///< elements of one register
    function* narrow;         ///< one register wide
    function* wide;           ///< two registers wide

    /// Multiplies into `columns` columns of C with the narrowest tile that holds them.
    void operator()(std::size_t depth, const T* a, std::size_t a_row, std::size_t a_column, const T* b,
                    std::size_t b_row, T* c, std::size_t c_row, std::size_t row_count, std::size_t columns) const {
        (columns > vector_size ? wide : narrow)(depth, a, a_row, a_column, b, b_row, c, c_row, row_count, columns);
    }
};

template <class T>
small_gemm_tile<T> small_gemm_tile_for(instruction_set set) {
#if MODEN_X86_KERNELS
    switch (set) {
        case instruction_set::avx512:
            return {avx512_kernel::tile_rows, avx512_kernel::vector_size<T>, avx512_kernel::multiply_tile<T, 1>,
                    avx512_kernel::multiply_tile<T, 2>};
        case instruction_set::avx2:
            return {avx2_kernel::tile_rows, avx2_kernel::vector_size<T>, avx2_kernel::multiply_tile<T, 1>,
                    avx2_kernel::multiply_tile<T, 2>};
        case instruction_set::portable: break;
    }
#else
    static_cast<void>(set);
#endif
    return {portable_kernel::tile_rows, portable_kernel::vector_size<T>, portable_kernel::multiply_tile<T, 1>,
            portable_kernel::multiply_tile<T, 2>};
}

inline std::size_t round_up(std::size_t value, std::size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// C_s = A B_s for many slabs s, with A (rows x depth) packed once; B_s (depth x columns) and C_s are contiguous.
template <class T>
class slab_multiplier {
public:
    /// A(i, k) = a[i * a_row + k * a_column].
    slab_multiplier(const T* a, std::size_t a_row, std::size_t a_column, std::size_t rows, std::size_t depth,
                    instruction_set set = best_instruction_set())
        : tile_(small_gemm_tile_for<T>(set)), rows_(rows), depth_(depth), packed_(round_up(rows, tile_.rows) * depth) {
        for (std::size_t i = 0; i < rows; ++i) {
            T* panel = packed_.data() + i / tile_.rows * tile_.rows * depth + i % tile_.rows;
            for (std::size_t k = 0; k < depth; ++k) {
                panel[k * tile_.rows] = a[i * a_row + k * a_column];
            }
        }
    }

    /// Scratch elements that multiply() needs, one such buffer per thread.
    std::size_t scratch_size() const { return depth_ * 2 * tile_.vector_size; }

    /// Multiplies one slab. `following` slabs lie right behind it and are fetched into the cache on the way.
    void multiply(const T* b, std::size_t columns, T* c, T* scratch, std::size_t following) const {
        const std::size_t strip = 2 * tile_.vector_size;
        const std::size_t whole = columns / strip * strip;
        if (whole < columns) {  // the last strip is padded, so that no load leaves the slab
            for (std::size_t k = 0; k < depth_; ++k) {
                std::fill(std::copy(b + k * columns + whole, b + (k + 1) * columns, scratch + k * strip),
                          scratch + (k + 1) * strip, T(0));
            }
        }
        const std::size_t panels = (rows_ + tile_.rows - 1) / tile_.rows;
        if (depth_ * columns * sizeof(T) <= first_level_cache) {  // the slab stays in cache: A passes over it once
            for (std::size_t panel = 0; panel < panels; ++panel) {
                if (following > 0) {
                    prefetch_share(b + depth_ * columns, depth_ * columns, panel, panels);
                    prefetch_share(c + rows_ * columns, rows_ * columns, panel, panels);
                }
                for (std::size_t column = 0; column < columns; column += strip) {
                    multiply_strip(panel, column, b, columns, c, scratch, whole);
                }
            }
        } else {
            for (std::size_t column = 0; column < columns; column += strip) {
                for (std::size_t panel = 0; panel < panels; ++panel) {
                    multiply_strip(panel, column, b, columns, c, scratch, whole);
                }
            }
        }
    }

private:
    static constexpr std::size_t first_level_cache = 24 * 1024;  // bytes left for the slab beside a panel of A

    void multiply_strip(std::size_t panel, std::size_t column, const T* b, std::size_t columns, T* c, const T* scratch,
                        std::size_t whole) const {
        const std::size_t first = panel * tile_.rows;
        const std::size_t strip = 2 * tile_.vector_size;
        const bool padded = column >= whole;
        tile_(depth_, packed_.data() + first * depth_, 1, tile_.rows, padded ? scratch : b + column,
              padded ? strip : columns, c + first * columns + column, columns, std::min(tile_.rows, rows_ - first),
              std::min(strip, columns - column));
    }

    static void prefetch_share(const T* slab, std::size_t size, std::size_t part, std::size_t parts) {
        constexpr std::size_t line = 64 / sizeof(T);
        for (std::size_t i = size * part / parts; i < size * (part + 1) / parts; i += line) {
            __builtin_prefetch(slab + i);
        }
    }

    small_gemm_tile<T> tile_;
    std::size_t rows_;
    std::size_t depth_;
    std::vector<T> packed_;  // panels of tile_.rows rows, each depth x tile_.rows, the last one padded with zeros
};

/// Y = X M for a tall X (any number of rows, depth columns) and a small M (depth x columns), both row-major and dense.
template <class T>
class row_multiplier {
public:
    /// M(k, j) = m[k * m_row + j * m_column].
    row_multiplier(const T* m, std::size_t m_row, std::size_t m_column, std::size_t depth, std::size_t columns,
                   instruction_set set = best_instruction_set())
        : tile_(small_gemm_tile_for<T>(set)), depth_(depth), columns_(columns),
          // Matrices narrower than a register are repeated along the diagonal, so that several rows share a register.
          repeats_(std::max<std::size_t>(1, std::min(tile_.vector_size / columns, tile_.vector_size / depth))),
          width_(round_up(columns * repeats_, tile_.vector_size)), packed_(depth * repeats_ * width_) {
        for (std::size_t r = 0; r < repeats_; ++r) {
            for (std::size_t k = 0; k < depth; ++k) {
                for (std::size_t j = 0; j < columns; ++j) {
                    packed_[(r * depth + k) * width_ + r * columns + j] = m[k * m_row + j * m_column];
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
        const std::size_t strip = 2 * tile_.vector_size;
        for (std::size_t row = 0; row < groups; row += tile_.rows) {
            for (std::size_t column = 0; column < columns; column += strip) {
                tile_(depth, x + row * depth, depth, 1, packed_.data() + column, width_, y + row * columns + column,
                      columns, std::min(tile_.rows, groups - row), std::min(strip, columns - column));
            }
        }
    }

    small_gemm_tile<T> tile_;
    std::size_t depth_;
    std::size_t columns_;
    std::size_t repeats_;
    std::size_t width_;
    std::vector<T> packed_;  // (repeats * depth) x width, block diagonal, zero padded
};

/// Sums of X' X for a very tall, dense, row-major X of a few columns, read in place a block of rows at a time.
template <class T>
class tall_gram {
public:
    static constexpr std::size_t widest = 64;  ///< columns up to which this is worthwhile

    explicit tall_gram(std::size_t columns, instruction_set set = best_instruction_set())
        : tile_(small_gemm_tile_for<T>(set)), columns_(columns),
          // Rows narrower than a tile are taken several at a time; the blocks on the diagonal are what is wanted.
          group_(std::max<std::size_t>(1, 2 * tile_.vector_size / columns)), width_(group_ * columns) {}

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
        const std::size_t strip = 2 * tile_.vector_size;
        T product[12 * 32];  // the largest tile: 12 rows of two 64-byte registers
        for (std::size_t column = 0; column < width_; column += strip) {
            const bool narrow = width_ - column <= tile_.vector_size;
            const std::size_t across = narrow ? tile_.vector_size : strip;
            // The last strip is moved back inside the row where the row is long enough.
            const std::size_t start = width_ >= across ? std::min(column, width_ - across) : 0;
            for (std::size_t row = 0; row < std::min(column + strip, width_); row += tile_.rows) {
                const std::size_t rows = std::min(tile_.rows, width_ - row);
                (narrow ? tile_.narrow : tile_.wide)(depth, x + row, 1, width_, x + start, width_, product, strip, rows, across);
                for (std::size_t i = 0; i < rows; ++i) {
                    for (std::size_t j = column; j < std::min(column + strip, width_); ++j) {
                        sum[(row + i) * width_ + j] += product[i * strip + j - start];
                    }
                }
            }
        }
    }

    small_gemm_tile<T> tile_;
    std::size_t columns_;
    std::size_t group_;
    std::size_t width_;
};

}  // namespace moden::detail
