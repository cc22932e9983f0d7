#pragma once

// Loops of the CPU policy over functors whose innermost loop is worth wide registers: the functor is inlined into a copy of
// the loop for each instruction set, of which the best one that the processor has is chosen at run time.

#include <cstddef>

#include <moden/policy/detail/register_tile.hpp>

#if MODEN_X86_KERNELS
#define MODEN_FLATTEN(targets) __attribute__((target(targets), flatten))
#endif

namespace moden::detail {

template <class Function>
void rows_portable(std::size_t first, std::size_t last, std::size_t columns, const Function& function) {
    for (std::size_t i = first; i < last; ++i) {
        function(i, std::size_t{0}, columns);
    }
}

#if MODEN_X86_KERNELS
template <class Function>
MODEN_FLATTEN("avx2,fma") void rows_avx2(std::size_t first, std::size_t last, std::size_t columns, const Function& function) {
    for (std::size_t i = first; i < last; ++i) {
        function(i, std::size_t{0}, columns);
    }
}

template <class Function>
MODEN_FLATTEN("avx512f,avx512vl,avx512dq,fma") void rows_avx512(std::size_t first, std::size_t last, std::size_t columns, const Function& function) {
    for (std::size_t i = first; i < last; ++i) {
        function(i, std::size_t{0}, columns);
    }
}
#undef MODEN_FLATTEN
#endif

/// function(i, 0, columns) for i in [first, last).
template <class Function>
void for_rows(std::size_t first, std::size_t last, std::size_t columns, const Function& function) {
#if MODEN_X86_KERNELS
    switch (best_instruction_set()) {
        case instruction_set::avx512: return rows_avx512(first, last, columns, function);
        case instruction_set::avx2: return rows_avx2(first, last, columns, function);
        case instruction_set::portable: break;
    }
#endif
    rows_portable(first, last, columns, function);
}

}  // namespace moden::detail
