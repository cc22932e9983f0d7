#pragma once

// Copies of the CPU policy that change the order of elements: transposition and permutation of modes.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include <moden/core/view.hpp>
#include <moden/policy/detail/host_buffer.hpp>

namespace moden::detail {

/// target[j * target_stride + i] = source[i * source_stride + j], in tiles that fit the first level of cache.
template <class T>
void transpose_block(const T* source, std::size_t source_stride, T* target, std::size_t target_stride, std::size_t rows,
                     std::size_t columns) {
    constexpr std::size_t tile = 16;
    for (std::size_t i0 = 0; i0 < rows; i0 += tile) {
        const std::size_t i1 = std::min(rows, i0 + tile);
        for (std::size_t j0 = 0; j0 < columns; j0 += tile) {
            const std::size_t j1 = std::min(columns, j0 + tile);
            for (std::size_t j = j0; j < j1; ++j) {
                for (std::size_t i = i0; i < i1; ++i) {
                    target[j * target_stride + i] = source[i * source_stride + j];
                }
            }
        }
    }
}

template <class T>
void copy_matrix(matrix_view<const T, host_memory> source, matrix_view<T, host_memory> target) {
    if (target.order == storage_order::column_major) {
        source = transposed(source);
        target = transposed(target);
    }
    if (target.rows == 0 || target.columns == 0) {
        return;
    }
    const std::size_t rows_per_block = std::max<std::size_t>(1, block_size / target.columns);
    const std::size_t blocks = (target.rows + rows_per_block - 1) / rows_per_block;
    const bool same_order = source.order == storage_order::row_major;
#pragma omp parallel for schedule(static) if (blocks > 1 && available_threads() > 1)
    for (std::size_t block = 0; block < blocks; ++block) {
        const std::size_t first = block * rows_per_block;
        const std::size_t last = std::min(target.rows, first + rows_per_block);
        if (same_order) {
            for (std::size_t i = first; i < last; ++i) {
                std::memcpy(target.data + i * target.stride, source.data + i * source.stride, target.columns * sizeof(T));
            }
        } else {
            transpose_block(source.data + first, source.stride, target.data + first * target.stride, target.stride,
                            target.columns, last - first);
        }
    }
}

/// One mode of a permutation: its extent and the distance between neighbours on either side.
struct permuted_mode {
    std::size_t extent;
    std::size_t source_stride;
    std::size_t target_stride;
};

/// The modes in the target's order, without extents of 1 and with neighbours that stay neighbours merged.
inline std::vector<permuted_mode> permuted_modes(const extents& shape, const extents& axes) {
    extents source_stride(shape.size(), 1);
    for (std::size_t n = shape.size(); n-- > 1;) {
        source_stride[n - 1] = source_stride[n] * shape[n];
    }
    std::vector<permuted_mode> modes;
    std::size_t target_stride = 1;
    for (std::size_t n = axes.size(); n-- > 0;) {
        const std::size_t extent = shape[axes[n]];
        const std::size_t stride = source_stride[axes[n]];
        if (extent != 1) {
            if (!modes.empty() && stride == modes.back().source_stride * modes.back().extent) {
                modes.back().extent *= extent;
            } else {
                modes.push_back({extent, stride, target_stride});
            }
        }
        target_stride *= extent;
    }
    std::reverse(modes.begin(), modes.end());
    return modes;
}

template <class T>
void permute(const tensor_view<const T, host_memory>& source, const extents& axes, T* target) {
    if (source.size() == 0) {
        return;
    }
    std::vector<permuted_mode> modes = permuted_modes(source.shape, axes);
    if (modes.empty()) {
        target[0] = source.data[0];
        return;
    }
    // The innermost two loops: the mode that is contiguous in the target and the one that is contiguous in the source.
    const permuted_mode inner = modes.back();
    modes.pop_back();
    const auto contiguous = std::find_if(modes.begin(), modes.end(), [](const auto& mode) { return mode.source_stride == 1; });
    permuted_mode across{1, 1, 1};
    if (contiguous != modes.end()) {
        across = *contiguous;
        modes.erase(contiguous);
    }
    std::size_t outer = 1;
    for (const permuted_mode& mode : modes) {
        outer *= mode.extent;
    }
#pragma omp parallel for schedule(static) if (source.size() > block_size && available_threads() > 1)
    for (std::size_t index = 0; index < outer; ++index) {
        const T* from = source.data;
        T* to = target;
        std::size_t rest = index;
        for (std::size_t n = modes.size(); n-- > 0;) {
            const std::size_t i = rest % modes[n].extent;
            rest /= modes[n].extent;
            from += i * modes[n].source_stride;
            to += i * modes[n].target_stride;
        }
        if (inner.source_stride == 1) {
            std::memcpy(to, from, inner.extent * sizeof(T));
        } else {
            transpose_block(from, inner.source_stride, to, across.target_stride, inner.extent, across.extent);
        }
    }
}

}  // namespace moden::detail
