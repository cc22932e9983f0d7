#pragma once

// Products of the CUDA policy, on cuBLAS's 64-bit interface. Scalars are passed from the host, which cuBLAS reads
// before its calls return.

#include <cublas_v2.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <moden/core/execution_policy.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cuda_context.hpp>
#include <moden/policy/detail/cuda_copies.hpp>
#include <moden/policy/detail/cuda_loops.hpp>

namespace moden::detail {

template <class T>
using device_matrix = matrix_view<T, device_memory>;
template <class T>
using const_device_matrix = const_matrix_view<T, device_memory>;

/// The cuBLAS routines of one scalar type.
template <class T>
struct cublas;

template <>
struct cublas<float> {
    static constexpr auto gemm = cublasSgemm_64;
    static constexpr auto gemm_strided_batched = cublasSgemmStridedBatched_64;
    static constexpr auto syrk = cublasSsyrk_64;
    static constexpr auto trsm = cublasStrsm_64;
};

template <>
struct cublas<double> {
    static constexpr auto gemm = cublasDgemm_64;
    static constexpr auto gemm_strided_batched = cublasDgemmStridedBatched_64;
    static constexpr auto syrk = cublasDsyrk_64;
    static constexpr auto trsm = cublasDtrsm_64;
};

inline bool is_row_major(storage_order order) {
    return order == storage_order::row_major;
}

/// BLAS wants a leading dimension of at least 1 and at least the length of what it strides over, even where there is
/// only one row or column and the view says nothing of use.
template <class T>
std::int64_t leading_dimension(const device_matrix<T>& matrix) {
    const std::size_t length = is_row_major(matrix.order) ? matrix.columns : matrix.rows;
    return static_cast<std::int64_t>(std::max<std::size_t>({matrix.stride, length, 1}));
}

/// cuBLAS is column-major: a row-major matrix is the transpose of what it sees.
template <class T>
cublasOperation_t operation(const device_matrix<T>& matrix) {
    return is_row_major(matrix.order) ? CUBLAS_OP_T : CUBLAS_OP_N;
}

template <class T>
struct scale_element {
    T* data;
    std::size_t stride;
    T factor;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        T& element = data[i * stride + j];
        element = factor == T(0) ? T(0) : factor * element;
    }
};

template <class T>
void device_scale(const cuda_context& context, T factor, device_matrix<T> c) {
    if (!is_row_major(c.order)) {
        c = transposed(c);
    }
    device_transform_grid(context, c.rows, c.columns, scale_element<T>{c.data, c.stride, factor});
}

template <class T>
void device_gemm_strided_batched(const cuda_context& context, T alpha, const_device_matrix<T> a, std::size_t a_step,
                                 const_device_matrix<T> b, std::size_t b_step, T beta, device_matrix<T> c,
                                 std::size_t c_step, std::size_t count) {
    if (is_row_major(c.order)) {  // C' = B' A'
        return device_gemm_strided_batched<T>(context, alpha, transposed(b), b_step, transposed(a), a_step, beta,
                                              transposed(c), c_step, count);
    }
    if (c.rows == 0 || c.columns == 0 || count == 0) {
        return;
    }
    if (a.columns == 0) {
        for (std::size_t s = 0; s < count; ++s) {
            device_scale<T>(context, beta, {c.data + s * c_step, c.rows, c.columns, c.stride, c.order});
        }
        return;
    }
    const auto m = static_cast<std::int64_t>(c.rows);
    const auto n = static_cast<std::int64_t>(c.columns);
    const auto k = static_cast<std::int64_t>(a.columns);
    const device_scope scope(context.device());
    if (count == 1) {
        check_cublas(
            cublas<T>::gemm(context.blas(), operation(a), operation(b), m, n, k, &alpha, a.data, leading_dimension(a),
                            b.data, leading_dimension(b), &beta, c.data, leading_dimension(c)),
            "cublasGemm");
        return;
    }
    // Batches end up in a dimension of the grid, which has 65535 places; some releases of cuBLAS fail beyond that.
    constexpr std::size_t most_at_once = 32768;
    for (std::size_t first = 0; first < count; first += most_at_once) {
        check_cublas(
            cublas<T>::gemm_strided_batched(
                context.blas(), operation(a), operation(b), m, n, k, &alpha, a.data + first * a_step,
                leading_dimension(a), static_cast<long long>(a_step), b.data + first * b_step, leading_dimension(b),
                static_cast<long long>(b_step), &beta, c.data + first * c_step, leading_dimension(c),
                static_cast<long long>(c_step), static_cast<std::int64_t>(std::min(most_at_once, count - first))),
            "cublasGemmStridedBatched");
    }
}

template <class T>
void device_gemm(const cuda_context& context, T alpha, const_device_matrix<T> a, const_device_matrix<T> b, T beta,
                 device_matrix<T> c) {
    device_gemm_strided_batched<T>(context, alpha, a, 0, b, 0, beta, c, 0, 1);
}

template <class T>
void device_trsm(const cuda_context& context, side where, triangle half, T alpha, const_device_matrix<T> a,
                 device_matrix<T> b) {
    if (is_row_major(b.order)) {  // X A = B  <=>  A' X' = B'
        return device_trsm<T>(context, where == side::left ? side::right : side::left,
                              half == triangle::lower ? triangle::upper : triangle::lower, alpha, transposed(a),
                              transposed(b));
    }
    if (b.rows == 0 || b.columns == 0) {
        return;
    }
    const bool flipped = is_row_major(a.order);  // read as its transpose, which swaps the triangles
    const bool lower = (half == triangle::lower) != flipped;
    const device_scope scope(context.device());
    check_cublas(
        cublas<T>::trsm(context.blas(), where == side::left ? CUBLAS_SIDE_LEFT : CUBLAS_SIDE_RIGHT,
                        lower ? CUBLAS_FILL_MODE_LOWER : CUBLAS_FILL_MODE_UPPER, operation(a), CUBLAS_DIAG_NON_UNIT,
                        static_cast<std::int64_t>(b.rows), static_cast<std::int64_t>(b.columns), &alpha, a.data,
                        leading_dimension(a), b.data, leading_dimension(b)),
        "cublasTrsm");
}

}  // namespace moden::detail
