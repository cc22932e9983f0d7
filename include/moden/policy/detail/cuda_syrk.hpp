#pragma once

// Gram matrices of the CUDA policy: C = alpha sum_s A_s A_s' + beta C.
//
// C is small and the sum is long. A GPU has nothing to do if only C is divided among its multiprocessors, so the sum is
// divided too: `parts` partial sums by one strided-batched GEMM, which are added at the end. Only large C, which keeps
// a device busy by itself, goes to cuBLAS's SYRK and saves half of the arithmetic.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cuda_context.hpp>
#include <moden/policy/detail/cuda_copies.hpp>
#include <moden/policy/detail/cuda_loops.hpp>
#include <moden/policy/detail/cuda_products.hpp>

namespace moden::detail {

/// C = alpha sum over parts + beta C on both sides of the diagonal, from one side of the partial sums.
template <class T>
struct add_parts {
    const T* sums;
    std::size_t parts;
    std::size_t size;
    T alpha;
    T beta;
    T* c;
    std::size_t c_stride;

    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        if (j > i) {
            return;
        }
        T sum = T(0);
        for (std::size_t part = 0; part < parts; ++part) {
            sum += sums[(part * size + i) * size + j];
        }
        T& here = c[i * c_stride + j];
        here = alpha * sum + (beta == T(0) ? T(0) : beta * here);
        c[j * c_stride + i] = here;
    }
};

/// Copies the lower triangle of a column-major matrix to the upper one.
template <class T>
struct mirror_triangle {
    T* data;
    std::size_t stride;
    MODEN_HOST_DEVICE void operator()(std::size_t j, std::size_t i) const {
        if (i > j) {
            data[i * stride + j] = data[j * stride + i];
        }
    }
};

/// A_s for s < count.
template <class T>
struct slab_sequence {
    device_matrix<const T> first;
    std::size_t step;
    std::size_t count;

    device_matrix<const T> operator[](std::size_t s) const {
        return {first.data + s * step, first.rows, first.columns, first.stride, first.order};
    }
};

inline constexpr std::size_t least_depth = 256;         // columns that make one product worth its result's traffic
inline constexpr std::size_t most_workspace = 1 << 24;  // elements of partial sums, and of gathered slabs

/// Into how many sums a Gram matrix of n rows over `depth` columns is divided.
inline std::size_t gram_parts(std::size_t n, std::size_t depth) {
    constexpr std::size_t wanted_tiles = 256;  // of 64 x 64: about two per multiprocessor of a large device
    const std::size_t tiles = ((n + 63) / 64) * ((n + 63) / 64);
    const std::size_t most = std::min(depth / least_depth, most_workspace / (n * n));
    return std::max<std::size_t>(1, std::min(wanted_tiles / tiles, most));
}

/// Calls visit(A) for matrices that together hold all columns of all A_s. Neighbours that are narrow are gathered side
/// by side, column-major, in a panel.
template <class T, class Visit>
void for_each_wide_slab(const cuda_context& context, const slab_sequence<T>& slabs, Visit visit) {
    const device_matrix<const T>& first = slabs.first;
    const std::size_t n = first.rows;
    if (slabs.count == 1 || first.columns >= least_depth) {
        for (std::size_t s = 0; s < slabs.count; ++s) {
            visit(slabs[s]);
        }
        return;
    }
    const bool by_rows = is_row_major(first.order);
    if (!by_rows && slabs.step == first.columns * first.stride) {
        return visit(device_matrix<const T>{first.data, n, slabs.count * first.columns, first.stride, first.order});
    }
    const std::size_t together = std::clamp<std::size_t>(most_workspace / (n * first.columns), 1, slabs.count);
    const auto panel = context.template allocate<T>(together * first.columns * n);
    for (std::size_t s = 0; s < slabs.count; s += together) {
        const std::size_t count = std::min(together, slabs.count - s);
        permute_modes(context, slabs[s].data, panel.data(),
                      {{count, slabs.step, first.columns * n},
                       {first.columns, by_rows ? 1 : first.stride, n},
                       {n, by_rows ? first.stride : 1, 1}});
        visit(column_major<const T, device_memory>(panel.data(), n, count * first.columns));
    }
}

/// P_s += A A' over the s-th part of A's columns, for s < parts.
template <class T>
void add_gram_parts(const cuda_context& context, const device_matrix<const T>& a, T* sums, std::size_t parts) {
    const std::size_t n = a.rows;
    const std::size_t width = ((a.columns + parts - 1) / parts + 31) / 32 * 32;  // whole cache lines per part
    const std::size_t full = a.columns / width;
    if (full > 0) {
        const std::size_t step = is_row_major(a.order) ? width : width * a.stride;
        const auto part = columns_of(a, 0, width);
        device_gemm_strided_batched<T>(context, T(1), part, step, transposed(part), step, T(1),
                                       row_major<T, device_memory>(sums, n, n), n * n, full);
    }
    const auto rest = columns_of(a, full * width, a.columns - full * width);
    if (rest.columns > 0) {
        device_gemm<T>(context, T(1), rest, transposed(rest), T(1),
                       row_major<T, device_memory>(sums + full % parts * n * n, n, n));
    }
}

template <class T>
void sum_of_grams(const cuda_context& context, T alpha, const slab_sequence<T>& slabs, T beta, device_matrix<T> c) {
    const std::size_t n = slabs.first.rows;
    const std::size_t columns = slabs.first.columns;
    const std::size_t parts = gram_parts(n, columns * slabs.count);
    const auto sums = context.template allocate<T>(parts * n * n);
    check_cuda(cudaMemsetAsync(sums.data(), 0, parts * n * n * sizeof(T), context.stream()), "cudaMemsetAsync");
    if (slabs.count > 1 && columns >= least_depth && columns < parts * least_depth) {  // a part is a few whole slabs
        for (std::size_t s = 0; s < slabs.count; s += parts) {
            const auto a = slabs[s];
            device_gemm_strided_batched<T>(context, T(1), a, slabs.step, transposed(a), slabs.step, T(1),
                                           row_major<T, device_memory>(sums.data(), n, n), n * n,
                                           std::min(parts, slabs.count - s));
        }
    } else {
        for_each_wide_slab(context, slabs,
                           [&](const device_matrix<const T>& a) { add_gram_parts(context, a, sums.data(), parts); });
    }
    device_transform_grid(context, n, n, add_parts<T>{sums.data(), parts, n, alpha, beta, c.data, c.stride});
}

template <class T>
void device_syrk_strided_batched(const cuda_context& context, T alpha, const_device_matrix<T> a, std::size_t a_step,
                                 std::size_t count, T beta, device_matrix<T> c) {
    const std::size_t n = a.rows;
    if (n == 0) {
        return;
    }
    if (a.columns == 0 || count == 0) {
        return device_scale(context, beta, c);
    }
    const slab_sequence<T> slabs{a, a_step, count};
    constexpr std::size_t fills_device = 2048;
    if (n < fills_device) {
        return sum_of_grams(context, alpha, slabs, beta, c);
    }
    // The storage order of C does not matter, since C is symmetric; cuBLAS writes what is its lower triangle.
    const std::int64_t ldc = leading_dimension(c);
    for_each_wide_slab(context, slabs, [&](const device_matrix<const T>& slab) {
        const device_scope scope(context.device());
        check_cublas(cublas<T>::syrk(context.blas(), CUBLAS_FILL_MODE_LOWER, operation(slab),
                                     static_cast<std::int64_t>(n), static_cast<std::int64_t>(slab.columns), &alpha,
                                     slab.data, leading_dimension(slab), &beta, c.data, ldc),
                     "cublasSyrk");
        beta = T(1);
    });
    device_transform_grid(context, n, n, mirror_triangle<T>{c.data, c.stride});
}

}  // namespace moden::detail
