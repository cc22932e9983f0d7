#pragma once

// Factorizations of the CUDA policy, on cuSOLVER. All of them wait for their result: whether a factorization worked is
// known only when it has run.

#include <cusolverDn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <moden/core/elementwise.hpp>
#include <moden/core/execution_policy.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cuda_context.hpp>
#include <moden/policy/detail/cuda_copies.hpp>
#include <moden/policy/detail/cuda_loops.hpp>
#include <moden/policy/detail/cuda_products.hpp>
#include <moden/policy/detail/cuda_qr.hpp>
#include <moden/policy/detail/cuda_solver.hpp>

namespace moden::detail {

template <class T>
struct reverse_elements {
    T* data;
    std::size_t size;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        const T low = data[i];
        data[i] = data[size - 1 - i];
        data[size - 1 - i] = low;
    }
};

/// target column j = source column size - 1 - j, both column-major.
template <class T>
struct copy_columns_reversed {
    const T* source;
    std::size_t source_stride;
    T* target;
    std::size_t target_stride;
    std::size_t size;
    MODEN_HOST_DEVICE void operator()(std::size_t j, std::size_t i) const {
        target[j * target_stride + i] = source[(size - 1 - j) * source_stride + i];
    }
};

template <class T>
void device_eigh(const cuda_context& context, device_matrix<T> a, T* values, device_matrix<T> vectors) {
    const std::size_t size = a.rows;
    if (size == 0) {
        return;
    }
    const auto n = static_cast<std::int64_t>(size);
    const std::int64_t lda = leading_dimension(a);
    const cusolverEigMode_t mode = vectors.columns > 0 ? CUSOLVER_EIG_MODE_VECTOR : CUSOLVER_EIG_MODE_NOVECTOR;
    const int info = run_solver(
        context, "cusolverDnXsyevd",
        [&](std::size_t* device_bytes, std::size_t* host_bytes) {
            return cusolverDnXsyevd_bufferSize(context.solver(), context.parameters(), mode, CUBLAS_FILL_MODE_LOWER, n,
                                               cuda_type<T>, a.data, lda, cuda_type<T>, values, cuda_type<T>,
                                               device_bytes, host_bytes);
        },
        [&](const solver_workspace& work) {
            return cusolverDnXsyevd(context.solver(), context.parameters(), mode, CUBLAS_FILL_MODE_LOWER, n,
                                    cuda_type<T>, a.data, lda, cuda_type<T>, values, cuda_type<T>, work.device,
                                    work.device_bytes, work.host, work.host_bytes, work.info);
        });
    check_solver_info(info, "cusolverDnXsyevd");
    // cuSOLVER gives ascending eigenvalues, and the eigenvectors as columns of A.
    device_transform(context, size / 2, reverse_elements<T>{values, size});
    device_transform_grid(context, vectors.columns, size,
                          copy_columns_reversed<T>{a.data, a.stride, vectors.data, vectors.stride, size});
}

/// cuSOLVER's QR-iteration SVD, for a square column-major A: the only one of its SVDs whose error is a small multiple
/// of eps |A| for every matrix. The polar one (gesvdp) shifts small singular values, gesvda squares the condition
/// number, and Jacobi (gesvdj) may stop before it has converged on large matrices.
template <class T>
void square_svd(const cuda_context& context, device_matrix<T> a, T* values, device_matrix<T> u, device_matrix<T> vt) {
    const auto n = static_cast<std::int64_t>(a.rows);
    const std::int64_t lda = leading_dimension(a);
    const std::int64_t ldu = leading_dimension(u);
    const std::int64_t ldvt = leading_dimension(vt);
    const int info = run_solver(
        context, "cusolverDnXgesvd",
        [&](std::size_t* device_bytes, std::size_t* host_bytes) {
            return cusolverDnXgesvd_bufferSize(context.solver(), context.parameters(), 'S', 'S', n, n, cuda_type<T>,
                                               a.data, lda, cuda_type<T>, values, cuda_type<T>, u.data, ldu,
                                               cuda_type<T>, vt.data, ldvt, cuda_type<T>, device_bytes, host_bytes);
        },
        [&](const solver_workspace& work) {
            return cusolverDnXgesvd(context.solver(), context.parameters(), 'S', 'S', n, n, cuda_type<T>, a.data, lda,
                                    cuda_type<T>, values, cuda_type<T>, u.data, ldu, cuda_type<T>, vt.data, ldvt,
                                    cuda_type<T>, work.device, work.device_bytes, work.host, work.host_bytes,
                                    work.info);
        });
    check_solver_info(info, "cusolverDnXgesvd");
}

template <class T>
void device_svd(const cuda_context& context, device_matrix<T> a, T* values, device_matrix<T> u, device_matrix<T> vt) {
    if (is_row_major(a.order)) {  // A' = V S U'
        return device_svd<T>(context, transposed(a), values, transposed(vt), transposed(u));
    }
    const std::size_t smaller = std::min(a.rows, a.columns);
    if (smaller == 0) {
        return;
    }
    if (a.rows < a.columns) {  // gesvd takes no wide matrices: A' = V S U' again, this time moved
        const auto turned = context.template allocate<T>(a.rows * a.columns);
        const auto v = context.template allocate<T>(a.columns * smaller);
        const auto ut = context.template allocate<T>(smaller * smaller);
        const auto tall = column_major<T, device_memory>(turned.data(), a.columns, a.rows);
        const auto tall_u = column_major<T, device_memory>(v.data(), a.columns, smaller);
        const auto tall_vt = column_major<T, device_memory>(ut.data(), smaller, smaller);
        device_copy_matrix<T>(context, transposed(a), tall);
        device_svd<T>(context, tall, values, tall_u, tall_vt);
        device_copy_matrix<T>(context, transposed(tall_vt), u);
        device_copy_matrix<T>(context, transposed(tall_u), vt);
        return;
    }
    if (a.rows == a.columns) {
        return square_svd<T>(context, a, values, u, vt);
    }
    // A = Q R and the SVD of R. Given A itself, gesvd would ask for a workspace of rows x rows elements.
    const std::size_t n = a.columns;
    const auto small = context.template allocate<T>(2 * n * n);
    const auto r = column_major<T, device_memory>(small.data(), n, n);
    const auto small_u = column_major<T, device_memory>(small.data() + n * n, n, n);
    device_qr<T>(context, a, r, qr_output::q_and_r);
    square_svd<T>(context, r, values, small_u, vt);
    device_gemm<T>(context, T(1), a, small_u, T(0), u);
}

template <class T>
struct is_not_positive {
    const T* matrix;
    std::size_t stride;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const T pivot = matrix[i * stride + i];
        return pivot > T(0) && pivot - pivot == T(0) ? 0.0 : 1.0;
    }
};

template <class T>
definiteness device_cholesky_solve(const cuda_context& context, device_matrix<T> a, device_matrix<T> b) {
    if (a.rows == 0) {
        return definiteness::positive_definite;
    }
    const auto n = static_cast<std::int64_t>(a.rows);
    const std::int64_t lda = leading_dimension(a);
    const int info = run_solver(
        context, "cusolverDnXpotrf",
        [&](std::size_t* device_bytes, std::size_t* host_bytes) {
            return cusolverDnXpotrf_bufferSize(context.solver(), context.parameters(), CUBLAS_FILL_MODE_LOWER, n,
                                               cuda_type<T>, a.data, lda, cuda_type<T>, device_bytes, host_bytes);
        },
        [&](const solver_workspace& work) {
            return cusolverDnXpotrf(context.solver(), context.parameters(), CUBLAS_FILL_MODE_LOWER, n, cuda_type<T>,
                                    a.data, lda, cuda_type<T>, work.device, work.device_bytes, work.host,
                                    work.host_bytes, work.info);
        });
    if (info < 0) {
        check_solver_info(info, "cusolverDnXpotrf");
    }
    // LAPACK refuses NaN as a pivot; cuSOLVER does not say that it does.
    if (info > 0 || device_reduce(context, a.rows, 0.0, is_not_positive<T>{a.data, a.stride}, plus{}) > 0) {
        return definiteness::not_positive_definite;
    }
    const const_device_matrix<T> lower{a.data, a.rows, a.columns, a.stride, storage_order::column_major};
    device_trsm<T>(context, side::left, triangle::lower, T(1), lower, b);
    device_trsm<T>(context, side::left, triangle::upper, T(1), transposed(lower), b);
    return definiteness::positive_definite;
}

}  // namespace moden::detail
