#pragma once

// QR factorization of the CUDA policy.

#include <cusolverDn.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <moden/core/error.hpp>
#include <moden/core/execution_policy.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cuda_context.hpp>
#include <moden/policy/detail/cuda_copies.hpp>
#include <moden/policy/detail/cuda_loops.hpp>
#include <moden/policy/detail/cuda_products.hpp>
#include <moden/policy/detail/cuda_solver.hpp>
#include <moden/policy/detail/lapack.hpp>

namespace moden::detail {

/// The routines that form Q, which cuSOLVER has in its 32-bit interface only.
template <class T>
struct cusolver_orgqr;

template <>
struct cusolver_orgqr<float> {
    static constexpr auto size = cusolverDnSorgqr_bufferSize;
    static constexpr auto run = cusolverDnSorgqr;
};

template <>
struct cusolver_orgqr<double> {
    static constexpr auto size = cusolverDnDorgqr_bufferSize;
    static constexpr auto run = cusolverDnDorgqr;
};

template <class T>
struct upper_triangle {
    const T* source;  // column-major
    std::size_t source_stride;
    T* target;
    std::size_t row_step;
    std::size_t column_step;
    MODEN_HOST_DEVICE void operator()(std::size_t j, std::size_t i) const {
        target[i * row_step + j * column_step] = i <= j ? source[j * source_stride + i] : T(0);
    }
};

template <class T>
void form_q(const cuda_context& context, device_matrix<T> a, const T* reflectors) {
    const int m = blas_size(a.rows, "qr");
    const int n = blas_size(a.columns, "qr");
    const int lda = blas_size(static_cast<std::size_t>(leading_dimension(a)), "qr");
    const device_scope scope(context.device());
    int size = 0;
    check_cusolver(cusolver_orgqr<T>::size(context.solver(), m, n, n, a.data, lda, reflectors, &size),
                   "cusolverDnOrgqr_bufferSize");
    require<solver_error>(size >= 0, "cusolverDnOrgqr_bufferSize: ", size, " elements for a matrix of ", m, " x ", n);
    const auto work = context.template allocate<T>(static_cast<std::size_t>(size));
    const auto info = context.template allocate<int>(1);
    check_cusolver(
        cusolver_orgqr<T>::run(context.solver(), m, n, n, a.data, lda, reflectors, work.data(), size, info.data()),
        "cusolverDnOrgqr");
    int found = 0;
    context.download(info.data(), &found, 1);
    check_solver_info(found, "cusolverDnOrgqr");
}

/// Householder QR of a column-major matrix in one piece.
template <class T>
void direct_qr(const cuda_context& context, device_matrix<T> a, device_matrix<T> r, qr_output output) {
    const auto reflectors = context.template allocate<T>(a.columns);
    const auto m = static_cast<std::int64_t>(a.rows);
    const auto n = static_cast<std::int64_t>(a.columns);
    const std::int64_t lda = leading_dimension(a);
    const int info = run_solver(
        context, "cusolverDnXgeqrf",
        [&](std::size_t* device_bytes, std::size_t* host_bytes) {
            return cusolverDnXgeqrf_bufferSize(context.solver(), context.parameters(), m, n, cuda_type<T>, a.data, lda,
                                               cuda_type<T>, reflectors.data(), cuda_type<T>, device_bytes, host_bytes);
        },
        [&](const solver_workspace& work) {
            return cusolverDnXgeqrf(context.solver(), context.parameters(), m, n, cuda_type<T>, a.data, lda,
                                    cuda_type<T>, reflectors.data(), cuda_type<T>, work.device, work.device_bytes,
                                    work.host, work.host_bytes, work.info);
        });
    check_solver_info(info, "cusolverDnXgeqrf");
    if (r.data != nullptr) {
        const bool by_rows = is_row_major(r.order);
        device_transform_grid(
            context, a.columns, a.columns,
            upper_triangle<T>{a.data, a.stride, r.data, by_rows ? r.stride : 1, by_rows ? 1 : r.stride});
    }
    if (output == qr_output::q_and_r) {
        form_q<T>(context, a, reflectors.data());
    }
}

/// Rows that one call of cuSOLVER may have. Its workspace sizes overflow 32 bits for matrices of more than 2^31
/// elements; and for few columns, too, the workspace grows to about 128 elements per row, which is to stay below 2^28.
inline std::size_t most_qr_rows(std::size_t columns) {
    return std::min(std::size_t{1} << 21, (std::size_t{1} << 30) / columns);
}

/// QR of a column-major matrix of any height: blocks of at most `most_rows` rows one by one, then QR of their R factors
/// stacked, whose Q the blocks' Q are multiplied by (Demmel et al. 2012, "Communication-optimal parallel and sequential
/// QR").
template <class T>
void column_major_qr(const cuda_context& context, device_matrix<T> a, device_matrix<T> r, qr_output output,
                     std::size_t most_rows) {
    const std::size_t n = a.columns;
    if (a.rows <= most_rows || most_rows < 4 * n) {
        return direct_qr<T>(context, a, r, output);
    }
    const std::size_t blocks = (a.rows + most_rows - 1) / most_rows;
    const std::size_t height = a.rows / blocks;  // or one more: every block has at least twice as many rows as columns
    const auto block = context.template allocate<T>((height + 1) * n);
    const auto stack = context.template allocate<T>(blocks * n * n);
    const auto stacked = column_major<T, device_memory>(stack.data(), blocks * n, n);
    const auto for_each_block = [&](auto function) {
        for (std::size_t i = 0; i < blocks; ++i) {
            const std::size_t first = i * height + std::min(i, a.rows % blocks);
            const std::size_t rows = height + (i < a.rows % blocks ? 1 : 0);
            function(rows_of(a, first, rows), column_major<T, device_memory>(block.data(), rows, n),
                     rows_of(stacked, i * n, n));
        }
    };
    for_each_block([&](device_matrix<T> rows, device_matrix<T> copy, device_matrix<T> own_r) {
        device_copy_matrix<T>(context, rows, copy);
        direct_qr<T>(context, copy, own_r, output);
        if (output == qr_output::q_and_r) {
            device_copy_matrix<T>(context, copy, rows);
        }
    });
    column_major_qr<T>(context, stacked, r, output, most_rows);
    if (output == qr_output::q_and_r) {
        for_each_block([&](device_matrix<T> rows, device_matrix<T> copy, device_matrix<T> own_q) {
            device_copy_matrix<T>(context, rows, copy);
            device_gemm<T>(context, T(1), copy, own_q, T(0), rows);
        });
    }
}

template <class T>
void device_qr(const cuda_context& context, device_matrix<T> a, device_matrix<T> r, qr_output output) {
    require<shape_error>(a.rows >= a.columns, "qr: a matrix of ", a.rows, " x ", a.columns,
                         " (expected rows >= columns)");
    if (a.columns == 0) {
        return;
    }
    if (!is_row_major(a.order)) {
        return column_major_qr<T>(context, a, r, output, most_qr_rows(a.columns));
    }
    // cuSOLVER has no LQ, which would do this without moving A.
    const auto turned = context.template allocate<T>(a.rows * a.columns);
    const auto by_columns = column_major<T, device_memory>(turned.data(), a.rows, a.columns);
    device_copy_matrix<T>(context, a, by_columns);
    column_major_qr<T>(context, by_columns, r, output, most_qr_rows(a.columns));
    if (output == qr_output::q_and_r) {
        device_copy_matrix<T>(context, by_columns, a);
    }
}

}  // namespace moden::detail
