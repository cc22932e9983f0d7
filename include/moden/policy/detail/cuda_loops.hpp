#pragma once

// Loops of the CUDA policy: functors over one index or two, and reductions.

#include <cuda_runtime.h>

#include <cub/block/block_reduce.cuh>

#include <algorithm>
#include <cstddef>

#include <moden/policy/detail/cuda_context.hpp>

namespace moden::detail {

inline constexpr unsigned largest_block = 256;
inline constexpr std::size_t most_blocks = 65535;  // the limit of a grid's y and z; x has no use for more

/// kernel(arguments...) on the context's stream; the launch itself is checked.
template <class... Parameters, class... Arguments>
void launch(const cuda_context& context, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            const Arguments&... arguments) {
    const device_scope scope(context.device());
    cudaLaunchConfig_t configuration{};
    configuration.gridDim = grid;
    configuration.blockDim = block;
    configuration.stream = context.stream();
    check_cuda(cudaLaunchKernelEx(&configuration, kernel, static_cast<Parameters>(arguments)...), name);
}

inline unsigned blocks_for(std::size_t count, std::size_t per_block) {
    return static_cast<unsigned>(std::min(most_blocks, count / per_block + (count % per_block != 0 ? 1 : 0)));
}

inline unsigned power_of_two_above(std::size_t count, unsigned most) {
    unsigned power = 1;
    while (power < count && power < most) {
        power *= 2;
    }
    return power;
}

template <class Function>
__global__ void __launch_bounds__(largest_block) transform_kernel(std::size_t count, Function function) {
    const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
    for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
        function(i);
    }
}

template <class Function>
void device_transform(const cuda_context& context, std::size_t count, Function function) {
    if (count == 0) {
        return;
    }
    // Short loops get small blocks, so that all multiprocessors take part.
    const unsigned threads = count <= 8192 ? 32 : count <= 65536 ? 128 : largest_block;
    launch(context, "transform", transform_kernel<Function>, blocks_for(count, threads), threads, count, function);
}

template <class Function>
__global__ void __launch_bounds__(largest_block)
    transform_grid_kernel(std::size_t rows, std::size_t columns, Function function) {
    const std::size_t row_step = std::size_t{gridDim.y} * blockDim.y;
    const std::size_t column_step = std::size_t{gridDim.x} * blockDim.x;
    for (std::size_t i = std::size_t{blockIdx.y} * blockDim.y + threadIdx.y; i < rows; i += row_step) {
        for (std::size_t j = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; j < columns; j += column_step) {
            function(i, j);
        }
    }
}

/// A block as wide as the rows are long, up to its limit, and as many rows as then fit.
struct grid_shape {
    dim3 grid;
    dim3 block;

    grid_shape(std::size_t rows, std::size_t columns) {
        const unsigned threads = rows <= 8192 / columns ? 32 : largest_block;
        block.x = power_of_two_above(columns, threads);
        block.y = threads / block.x;
        grid.x = blocks_for(columns, block.x);
        grid.y = blocks_for(rows, block.y);
    }
};

template <class Function>
void device_transform_grid(const cuda_context& context, std::size_t rows, std::size_t columns, Function function) {
    if (rows == 0 || columns == 0) {
        return;
    }
    const grid_shape shape(rows, columns);
    launch(context, "transform_grid", transform_grid_kernel<Function>, shape.grid, shape.block, rows, columns,
           function);
}

/// A function of ranges of columns as a function of single ones.
template <class Function>
struct one_column {
    Function function;
    __device__ void operator()(std::size_t i, std::size_t j) const { function(i, j, j + 1); }
};

template <class Result, class Map, class Combine>
__global__ void __launch_bounds__(largest_block)
    reduce_kernel(std::size_t count, Result initial, Map map, Combine combine, Result* partial) {
    using block_reduce = cub::BlockReduce<Result, largest_block>;
    __shared__ typename block_reduce::TempStorage storage;
    Result result = initial;
    const std::size_t step = std::size_t{gridDim.x} * largest_block;
#pragma unroll 4
    for (std::size_t i = std::size_t{blockIdx.x} * largest_block + threadIdx.x; i < count; i += step) {
        result = combine(result, map(i));
    }
    const Result total = block_reduce(storage).Reduce(result, combine);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = total;
    }
}

template <class T>
struct element_of {
    const T* data;
    __host__ __device__ T operator()(std::size_t i) const { return data[i]; }
};

/// Two rounds: blocks, then their results. Which elements are combined with which depends on count alone, so that every
/// device gives the same digits (cub::DeviceReduce divides by the number of multiprocessors instead).
template <class Result, class Map, class Combine>
Result device_reduce(const cuda_context& context, std::size_t count, Result initial, Map map, Combine combine) {
    if (count == 0) {
        return initial;
    }
    constexpr std::size_t per_thread = 8;
    constexpr std::size_t most_partial = 1024;
    const std::size_t blocks = std::min<std::size_t>(most_partial, blocks_for(count, largest_block * per_thread));
    const auto partial = context.template allocate<Result>(blocks + 1);
    launch(context, "reduce", reduce_kernel<Result, Map, Combine>, static_cast<unsigned>(blocks), largest_block, count,
           initial, map, combine, partial.data());
    if (blocks > 1) {
        launch(context, "reduce", reduce_kernel<Result, element_of<Result>, Combine>, 1u, largest_block, blocks,
               initial, element_of<Result>{partial.data()}, combine, partial.data() + blocks);
    }
    Result result = initial;
    context.download(partial.data() + (blocks > 1 ? blocks : 0), &result, 1);
    return result;
}

}  // namespace moden::detail
