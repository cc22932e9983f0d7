#pragma once

// Copies of the CUDA policy that change the order of elements: transposition and permutation of modes.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <moden/core/extents.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cpu_copies.hpp>
#include <moden/policy/detail/cuda_context.hpp>
#include <moden/policy/detail/cuda_loops.hpp>

namespace moden::detail {

template <class T>
void device_copy(const cuda_context& context, const T* source, T* target, std::size_t count) {
    if (count > 0) {
        check_cuda(cudaMemcpyAsync(target, source, count * sizeof(T), cudaMemcpyDeviceToDevice, context.stream()),
                   "cudaMemcpyAsync");
    }
}

/// The outer modes of a permutation, handed to kernels by value. Modes of extent 1 are left out, so 64 are more than
/// any tensor has.
struct outer_modes {
    static constexpr std::size_t most = 64;
    std::size_t count = 0;
    permuted_mode modes[most] = {};
};

struct element_offsets {
    std::size_t source;
    std::size_t target;
};

/// Where the block of elements with a given outer index begins. Index is 32 bits wide where that suffices: dividing is
/// most of the work here.
template <class Index>
__device__ element_offsets offsets_of(const outer_modes& outer, Index index) {
    element_offsets offsets{0, 0};
    for (std::size_t n = outer.count; n-- > 0;) {
        const Index extent = static_cast<Index>(outer.modes[n].extent);
        const Index rest = index / extent;
        const std::size_t i = index - rest * extent;
        offsets.source += i * outer.modes[n].source_stride;
        offsets.target += i * outer.modes[n].target_stride;
        index = rest;
    }
    return offsets;
}

/// Copies rows: threads follow the mode that is contiguous in the target.
template <class Index, class T>
__global__ void __launch_bounds__(largest_block)
    permute_rows_kernel(const T* source, T* target, outer_modes outer, std::size_t rows, permuted_mode inner) {
    const std::size_t row_step = std::size_t{gridDim.y} * blockDim.y;
    const std::size_t column_step = std::size_t{gridDim.x} * blockDim.x;
    for (std::size_t row = std::size_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += row_step) {
        const element_offsets offsets = offsets_of(outer, static_cast<Index>(row));
        for (std::size_t j = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; j < inner.extent; j += column_step) {
            target[offsets.target + j * inner.target_stride] = source[offsets.source + j * inner.source_stride];
        }
    }
}

inline constexpr unsigned tile_width = 32;
inline constexpr unsigned tile_rows = 8;

/// Transposes tiles through shared memory, so that reading follows `across` (contiguous in the source) and writing
/// follows `inner` (contiguous in the target). One column of padding keeps the threads of a warp in different banks.
template <class Index, class T>
__global__ void __launch_bounds__(tile_width * tile_rows)
    permute_tiles_kernel(const T* source, T* target, outer_modes outer, std::size_t tiles, permuted_mode inner,
                         permuted_mode across) {
    __shared__ T tile[tile_width][tile_width + 1];
    const std::size_t tiles_across = (across.extent + tile_width - 1) / tile_width;
    const std::size_t tiles_inner = (inner.extent + tile_width - 1) / tile_width;
    for (std::size_t index = blockIdx.x; index < tiles; index += gridDim.x) {
        const std::size_t first_across = index % tiles_across * tile_width;
        const std::size_t first_inner = index / tiles_across % tiles_inner * tile_width;
        const element_offsets offsets = offsets_of(outer, static_cast<Index>(index / tiles_across / tiles_inner));
        for (unsigned row = threadIdx.y; row < tile_width; row += tile_rows) {
            const std::size_t i = first_inner + row;
            const std::size_t j = first_across + threadIdx.x;
            if (i < inner.extent && j < across.extent) {
                tile[row][threadIdx.x] = source[offsets.source + i * inner.source_stride + j * across.source_stride];
            }
        }
        __syncthreads();
        for (unsigned row = threadIdx.y; row < tile_width; row += tile_rows) {
            const std::size_t j = first_across + row;
            const std::size_t i = first_inner + threadIdx.x;
            if (i < inner.extent && j < across.extent) {
                target[offsets.target + j * across.target_stride + i * inner.target_stride] = tile[threadIdx.x][row];
            }
        }
        __syncthreads();
    }
}

/// Copies what `modes` describe, in the target's order, the last of them contiguous in the target.
template <class T>
void permute_modes(const cuda_context& context, const T* source, T* target, std::vector<permuted_mode> modes) {
    std::erase_if(modes, [](const permuted_mode& mode) { return mode.extent == 1; });
    if (modes.empty()) {
        return device_copy(context, source, target, 1);
    }
    if (std::any_of(modes.begin(), modes.end(), [](const permuted_mode& mode) { return mode.extent == 0; })) {
        return;
    }
    const permuted_mode inner = modes.back();
    modes.pop_back();
    if (modes.empty() && inner.source_stride == 1 && inner.target_stride == 1) {
        return device_copy(context, source, target, inner.extent);
    }
    constexpr std::size_t worth_tiling = tile_width / 2;
    const auto contiguous =
        std::find_if(modes.begin(), modes.end(), [](const auto& mode) { return mode.source_stride == 1; });
    const bool tiled = inner.source_stride != 1 && contiguous != modes.end() && inner.extent >= worth_tiling &&
                       contiguous->extent >= worth_tiling;
    permuted_mode across{1, 1, 1};
    if (tiled) {
        across = *contiguous;
        modes.erase(contiguous);
    }
    require<shape_error>(modes.size() <= outer_modes::most, "permute: ", modes.size(), " modes (expected at most ",
                         outer_modes::most, ")");
    outer_modes outer;
    std::size_t rows = 1;
    for (const permuted_mode& mode : modes) {
        outer.modes[outer.count++] = mode;
        rows *= mode.extent;
    }
    const bool narrow = rows <= std::numeric_limits<std::uint32_t>::max();
    if (tiled) {
        const std::size_t tiles =
            rows * ((inner.extent + tile_width - 1) / tile_width) * ((across.extent + tile_width - 1) / tile_width);
        const auto kernel = narrow ? permute_tiles_kernel<std::uint32_t, T> : permute_tiles_kernel<std::uint64_t, T>;
        launch(context, "permute", kernel, blocks_for(tiles, 1), dim3(tile_width, tile_rows), source, target, outer,
               tiles, inner, across);
    } else {
        const grid_shape shape(rows, inner.extent);
        const auto kernel = narrow ? permute_rows_kernel<std::uint32_t, T> : permute_rows_kernel<std::uint64_t, T>;
        launch(context, "permute", kernel, shape.grid, shape.block, source, target, outer, rows, inner);
    }
}

template <class T>
void device_permute(const cuda_context& context, const tensor_view<const T, device_memory>& source, const extents& axes,
                    T* target) {
    if (source.size() > 0) {
        permute_modes(context, source.data, target, permuted_modes(source.shape, axes));
    }
}

template <class T>
void device_copy_matrix(const cuda_context& context, matrix_view<const T, device_memory> source,
                        matrix_view<T, device_memory> target) {
    if (target.order == storage_order::column_major) {
        source = transposed(source);
        target = transposed(target);
    }
    if (target.rows == 0 || target.columns == 0) {
        return;
    }
    const bool same_order = source.order == storage_order::row_major;
    if (same_order && source.stride == target.columns && target.stride == target.columns) {
        return device_copy(context, source.data, target.data, target.rows * target.columns);
    }
    permute_modes(context, source.data, target.data,
                  {{target.rows, same_order ? source.stride : 1, target.stride},
                   {target.columns, same_order ? 1 : source.stride, 1}});
}

}  // namespace moden::detail
