#pragma once

// The innermost loops of the CPU policy: a tile of a product that is held in registers, the copies that bring its operands
// into shape (small_products.hpp, small_grams.hpp), and the sum of squares. Written with the compiler's vector extensions and compiled for several instruction sets, of which the best
// one that the processor has is chosen at run time, so that users need no -march.

#include <algorithm>
#include <cstddef>
#include <cstring>

#include <moden/core/macros.hpp>

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
#define MODEN_KERNEL_SHORT 2
#include <moden/policy/detail/register_tile.ipp>
#undef MODEN_KERNEL_TARGET
#undef MODEN_KERNEL_BYTES
#undef MODEN_KERNEL_ROWS
#undef MODEN_KERNEL_SHORT
}  // namespace portable_kernel

#if MODEN_X86_KERNELS
namespace avx2_kernel {
#define MODEN_KERNEL_TARGET __attribute__((target("avx2,fma")))
#define MODEN_KERNEL_BYTES 32
#define MODEN_KERNEL_ROWS 6
#define MODEN_KERNEL_SHORT 2
#include <moden/policy/detail/register_tile.ipp>
#undef MODEN_KERNEL_TARGET
#undef MODEN_KERNEL_BYTES
#undef MODEN_KERNEL_ROWS
#undef MODEN_KERNEL_SHORT
}  // namespace avx2_kernel

namespace avx512_kernel {
#define MODEN_KERNEL_TARGET __attribute__((target("avx512f")))
#define MODEN_KERNEL_BYTES 64
#define MODEN_KERNEL_ROWS 12
#define MODEN_KERNEL_SHORT 4
#include <moden/policy/detail/register_tile.ipp>
#undef MODEN_KERNEL_TARGET
#undef MODEN_KERNEL_BYTES
#undef MODEN_KERNEL_ROWS
#undef MODEN_KERNEL_SHORT
}  // namespace avx512_kernel
#endif

/// Instruction sets for which the register tile exists. Loops beside it take the extensions that came with avx512 on all but coprocessors (row_loops.hpp,
/// nearest_directions.hpp): avx512 stands for them, too.
enum class instruction_set { portable, avx2, avx512 };

inline bool is_supported(instruction_set set) {
#if MODEN_X86_KERNELS
    switch (set) {
        case instruction_set::avx512: 
            return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0
                   && __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
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

/// The register tile of one instruction set, with what goes with it. One and two registers wide; two is the faster.
template <class T>
struct register_tile {
    using multiply = void(std::size_t depth, const T* a, std::size_t a_row, std::size_t a_column, const T* b,
                          std::size_t b_row, T* c, std::size_t c_row, std::size_t rows, std::size_t columns, bool add);
    using move_runs = void(const T* source, std::size_t source_row, T* target, std::size_t target_row, std::size_t rows,
                           std::size_t length);

    static constexpr std::size_t largest_rows = 12;
    static constexpr std::size_t largest_strip = 128 / sizeof(T);

    std::size_t rows;         ///< rows of C per tile
    std::size_t short_rows;   ///< rows of C per short tile
    std::size_t vector_size;  ///< elements of one register
    multiply* narrow;         ///< one register wide
    multiply* wide;           ///< two registers wide
    multiply* short_narrow;
    multiply* short_wide;
    move_runs* copy_runs;
    move_runs* transpose_runs;
    double (*square_sum)(const T* data, std::size_t count);

    /// Columns of C per tile.
    std::size_t strip() const { return 2 * vector_size; }

    /// Multiplies into at most `rows` x `strip()` of C with the smallest tile that holds them.
    void operator()(std::size_t depth, const T* a, std::size_t a_row, std::size_t a_column, const T* b, std::size_t b_row,
                    T* c, std::size_t c_row, std::size_t row_count, std::size_t columns, bool add = false) const {
        multiply* const one = row_count > short_rows ? (columns > vector_size ? wide : narrow)
                                                     : (columns > vector_size ? short_wide : short_narrow);
        one(depth, a, a_row, a_column, b, b_row, c, c_row, row_count, columns, add);
    }
};

#define MODEN_REGISTER_TILE(set)                                                                                         \
    register_tile<T> {                                                                                                   \
        set::tile_rows, set::short_rows, set::vector_size<T>, set::multiply_tile<T, set::tile_rows, 1>,                  \
            set::multiply_tile<T, set::tile_rows, 2>, set::multiply_tile<T, set::short_rows, 1>,                         \
            set::multiply_tile<T, set::short_rows, 2>, set::copy_runs<T>, set::transpose_runs<T>, set::square_sum<T>     \
    }

template <class T>
register_tile<T> register_tile_for(instruction_set set) {
#if MODEN_X86_KERNELS
    switch (set) {
        case instruction_set::avx512: return MODEN_REGISTER_TILE(avx512_kernel);
        case instruction_set::avx2: return MODEN_REGISTER_TILE(avx2_kernel);
        case instruction_set::portable: break;
    }
#else
    static_cast<void>(set);
#endif
    return MODEN_REGISTER_TILE(portable_kernel);
}
#undef MODEN_REGISTER_TILE

}  // namespace moden::detail
