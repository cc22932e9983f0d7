#pragma once

// Products of the CPU policy: which shapes go to OpenBLAS, which to the kernels of small_products.hpp and small_grams.hpp, and who is parallel.

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include <moden/core/view.hpp>
#include <moden/policy/detail/cpu_copies.hpp>
#include <moden/policy/detail/host_buffer.hpp>
#include <moden/policy/detail/lapack.hpp>
#include <moden/policy/detail/small_grams.hpp>
#include <moden/policy/detail/small_products.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden::detail {

template <class T>
using host_matrix = matrix_view<T, host_memory>;
template <class T>
using const_host_matrix = const_matrix_view<T, host_memory>;

template <class T>
bool is_row_major(const host_matrix<T>& matrix) {
    return matrix.order == storage_order::row_major;
}

/// No gaps between rows (or columns).
template <class T>
bool is_dense(const host_matrix<T>& matrix) {
    return matrix.stride == (is_row_major(matrix) ? matrix.columns : matrix.rows);
}

/// Leading dimension for BLAS, which wants at least 1 even for empty matrices.
template <class T>
int leading_dimension(const host_matrix<T>& matrix, const char* routine) {
    return blas_size(std::max<std::size_t>(matrix.stride, 1), routine);
}

template <class T>
void scale_matrix(T factor, host_matrix<T> c) {
    if (!is_row_major(c)) {
        c = transposed(c);
    }
    for (std::size_t i = 0; i < c.rows; ++i) {
        T* row = c.data + i * c.stride;
        std::transform(row, row + c.columns, row, [factor](T x) { return factor == T(0) ? T(0) : factor * x; });
    }
}

/// One call to the library's GEMV: GEMM would copy all of A into panels to use it once. c has one column, a is not empty.
template <class T>
void blas_gemv(T alpha, const_host_matrix<T> a, const_host_matrix<T> b, T beta, host_matrix<T> c) {
    const int m = blas_size(is_row_major(a) ? a.columns : a.rows, "gemm");
    const int n = blas_size(is_row_major(a) ? a.rows : a.columns, "gemm");
    const int lda = leading_dimension(a, "gemm");
    const int incx = is_row_major(b) ? leading_dimension(b, "gemm") : 1;
    const int incy = is_row_major(c) ? leading_dimension(c, "gemm") : 1;
    if (beta == T(0)) {  // c may hold NaN
        scale_matrix(beta, c);
        beta = T(1);
    }
    lapack<T>::gemv(is_row_major(a) ? "T" : "N", &m, &n, &alpha, a.data, &lda, b.data, &incx, &beta, c.data, &incy, 1);
}

/// One call to the library's GEMM, or GEMV.
template <class T>
void blas_gemm(T alpha, const_host_matrix<T> a, const_host_matrix<T> b, T beta, host_matrix<T> c) {
    if (is_row_major(c)) {  // BLAS is column-major: C' = B' A'
        return blas_gemm<T>(alpha, transposed(b), transposed(a), beta, transposed(c));
    }
    if (c.rows == 0 || c.columns == 0) {
        return;
    }
    if (a.columns == 0) {
        return scale_matrix(beta, c);
    }
    if (c.columns == 1) {
        return blas_gemv<T>(alpha, a, b, beta, c);
    }
    if (c.rows == 1) {
        return blas_gemv<T>(alpha, transposed(b), transposed(a), beta, transposed(c));
    }
    const int m = blas_size(c.rows, "gemm");
    const int n = blas_size(c.columns, "gemm");
    const int k = blas_size(a.columns, "gemm");
    const int lda = leading_dimension(a, "gemm");
    const int ldb = leading_dimension(b, "gemm");
    const int ldc = leading_dimension(c, "gemm");
    lapack<T>::gemm(is_row_major(a) ? "T" : "N", is_row_major(b) ? "T" : "N", &m, &n, &k, &alpha, a.data, &lda, b.data,
                    &ldb, &beta, c.data, &ldc, 1, 1);
}

/// A tall matrix times a small one: OpenBLAS packs the tall one, which costs as much as the product.
template <class T>
bool suits_row_multiplier(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    constexpr std::size_t deepest = 512;
    constexpr std::size_t largest_factor = 256 * 1024;  // bytes of B that stay in the second level of cache
    return is_row_major(a) && is_dense(a) && is_row_major(c) && is_dense(c) && b.rows > 0 && b.columns > 0 &&
           b.rows <= deepest && b.rows * b.columns * sizeof(T) <= largest_factor && a.rows >= 1024 &&
           a.rows >= 4 * b.columns;
}

template <class T>
void tall_gemm(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    const bool by_rows = is_row_major(b);
    const row_multiplier<T> multiplier(b.data, by_rows ? b.stride : 1, by_rows ? 1 : b.stride, b.rows, b.columns);
    const std::size_t block = multiplier.row_block() * 64;
    const std::size_t blocks = (a.rows + block - 1) / block;
#pragma omp parallel for schedule(static) if (blocks > 1 && available_threads() > 1)
    for (std::size_t i = 0; i < blocks; ++i) {
        const std::size_t first = i * block;
        multiplier.multiply(a.data + first * a.columns, c.data + first * c.columns, std::min(block, a.rows - first));
    }
}

/// Products with one small factor A that is shared by all slabs, or by the columns of one wide B.
template <class T>
bool suits_slab_multiplier(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c, std::size_t count) {
    constexpr std::size_t largest_factor = 512 * 1024;  // bytes of A that stay in the second level of cache
    // Deeper ones gain a tenth on OpenBLAS with AVX-512 and lose as much with AVX2.
    constexpr std::size_t few = 128;
    const bool wide_registers = best_instruction_set() == instruction_set::avx512;
    return is_row_major(b) && is_dense(b) && is_row_major(c) && is_dense(c) && a.rows > 0 && b.rows > 0 &&
           (a.rows * a.columns * sizeof(T) <= largest_factor || (a.rows <= few && wide_registers)) &&
           b.columns * count >= 4 * a.rows;
}

template <class T>
void slab_gemm(const_host_matrix<T> a, const_host_matrix<T> b, std::size_t b_step, host_matrix<T> c, std::size_t c_step,
               std::size_t count) {
    const bool by_rows = is_row_major(a);
    const slab_multiplier<T> multiplier(a.data, by_rows ? a.stride : 1, by_rows ? 1 : a.stride, a.rows, a.columns);
    const std::size_t total = b.columns * count;
    const bool worthwhile = static_cast<double>(total) * static_cast<double>(a.rows * a.columns) > 1e5;
    const std::size_t threads = worthwhile ? available_threads() : 1;
    const std::size_t share = round_up((total + threads - 1) / threads, multiplier.column_block());
    host_buffer<T> scratch(multiplier.scratch_size() * threads);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(threads)) if (threads > 1)
    for (std::size_t thread = 0; thread < threads; ++thread) {
        multiplier.multiply({b.data, b_step, b.columns}, {c.data, c_step, b.columns}, std::min(total, thread * share),
                            std::min(total, (thread + 1) * share), scratch.data() + thread * multiplier.scratch_size());
    }
}

/// One wide B whose rows all begin at the same place of a line: strips of it are read where they lie.
template <class T>
bool suits_in_place(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    constexpr std::size_t largest_factor = 512 * 1024;  // bytes of A that stay in the second level of cache
    return is_row_major(b) && is_row_major(c) && b.stride * sizeof(T) % slab_multiplier<T>::line_bytes == 0 && a.rows > 0 && b.rows > 0 &&
           a.rows * a.columns * sizeof(T) <= largest_factor && b.columns >= 512 && b.columns >= 4 * a.rows;
}

template <class T>
void in_place_gemm(const_host_matrix<T> a, const_host_matrix<T> b, T beta, host_matrix<T> c) {
    const bool by_rows = is_row_major(a);
    const slab_multiplier<T> multiplier(a.data, by_rows ? a.stride : 1, by_rows ? 1 : a.stride, a.rows, a.columns);
    const std::size_t threads = 2.0 * static_cast<double>(a.rows * a.columns) * static_cast<double>(b.columns) > 1e5 ? available_threads() : 1;
    // Rows, where there are enough of them: pages of a fresh C are then touched by one thread each.
    const bool divide_rows = a.rows >= 4 * multiplier.row_block() * threads;
    const std::size_t row_share = divide_rows ? round_up((a.rows + threads - 1) / threads, multiplier.row_block()) : a.rows;
    const std::size_t lead = multiplier.elements_before_line(b.data);
    const std::size_t share = divide_rows ? b.columns : round_up((b.columns + threads - 1) / threads, multiplier.column_block());
    host_buffer<T> scratch(multiplier.strip_size() * threads);
    divide_among(threads, threads, [&](std::size_t thread) {
        const std::size_t row = divide_rows ? std::min(a.rows, thread * row_share) : 0;
        const std::size_t part = divide_rows ? 0 : thread;  // of the columns; all but the first begin with a line
        const std::size_t first = part == 0 ? 0 : std::min(b.columns, part * share + lead);
        const std::size_t last = divide_rows ? b.columns : std::min(b.columns, (part + 1) * share + lead), last_row = std::min(a.rows, row + row_share);
        multiplier.multiply_in_place(b.data, b.stride, c.data, c.stride, row, last_row, first, last, beta != T(0),
                                     scratch.data() + thread * multiplier.strip_size());
    });
}

/// Few long rows times a few columns.
template <class T>
bool suits_deep_multiplier(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    constexpr std::size_t widest = 512;  // bytes of a row of B: more of them are worth packing A
    return is_row_major(a) && is_row_major(b) && is_row_major(c) && a.columns >= 1024 && a.rows >= 48 && b.columns >= 16 && b.columns * sizeof(T) <= widest;
}

template <class T>
void deep_gemm(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    const deep_multiplier<T> multiplier(b.data, b.stride, b.rows, b.columns);
    const std::size_t threads = std::min(available_threads(), a.rows / multiplier.row_block());
    const std::size_t share = round_up((a.rows + threads - 1) / threads, multiplier.row_block());
    divide_among(threads, threads, [&](std::size_t thread) {
        const std::size_t first = std::min(a.rows, thread * share);
        multiplier.multiply(a.data + first * a.stride, a.stride, c.data + first * c.stride, c.stride, std::min(share, a.rows - first));
    });
}

template <class T>
void gemm(T alpha, const_host_matrix<T> a, const_host_matrix<T> b, T beta, host_matrix<T> c) {
    if (alpha == T(1) && (beta == T(0) || beta == T(1)) && c.rows > 1 && c.columns > 1 && suits_in_place<T>(a, b, c)) {
        in_place_gemm<T>(a, b, beta, c);
    } else if (alpha != T(1) || beta != T(0) || c.rows == 1 || c.columns == 1) {
        blas_gemm(alpha, a, b, beta, c);
    } else if (suits_deep_multiplier<T>(a, b, c)) {
        deep_gemm<T>(a, b, c);
    } else if (suits_row_multiplier<T>(a, b, c)) {
        tall_gemm<T>(a, b, c);
    } else if (suits_slab_multiplier<T>(a, b, c, 1)) {
        slab_gemm<T>(a, b, 0, c, 0, 1);
    } else {
        blas_gemm(alpha, a, b, beta, c);
    }
}

template <class T>
host_matrix<T> advanced(host_matrix<T> matrix, std::size_t elements) {
    matrix.data += elements;
    return matrix;
}

template <class T>
void gemm_strided_batched(T alpha, const_host_matrix<T> a, std::size_t a_step, const_host_matrix<T> b,
                          std::size_t b_step, T beta, host_matrix<T> c, std::size_t c_step, std::size_t count) {
    if (c.rows == 0 || c.columns == 0) {
        return;
    }
    if (alpha == T(1) && beta == T(0) && a_step == 0 && c.rows > 1 && suits_slab_multiplier<T>(a, b, c, count)) {
        return slab_gemm<T>(a, b, b_step, c, c_step, count);
    }
    const double flops = 2.0 * static_cast<double>(c.rows) * static_cast<double>(c.columns) * static_cast<double>(a.columns);
    const std::size_t threads = available_threads();
    // Few large products: each one is parallel inside. Many small ones: each thread takes a share of them.
    const bool parallel_inside = count < 2 * threads || (count < 8 * threads && flops > 1e8);
    // Sizes are checked here, because nothing may throw inside the parallel region.
    blas_size(std::max({a.rows, a.columns, b.columns, a.stride, b.stride, c.stride}), "gemm_strided_batched");
    divide_among(parallel_inside ? 1 : threads, count, [&](std::size_t s) {
        blas_gemm<T>(alpha, advanced(a, s * a_step), advanced(b, s * b_step), beta, advanced(c, s * c_step));
    });
}

/// Lower triangle of C (column-major) += alpha A A', one call to the library.
template <class T>
void blas_syrk(T alpha, const_host_matrix<T> a, T beta, T* c, std::size_t n) {
    const int size = blas_size(n, "syrk");
    const int k = blas_size(a.columns, "syrk");
    const int lda = leading_dimension(a, "syrk");
    const int ldc = std::max(size, 1);
    lapack<T>::syrk("L", is_row_major(a) ? "T" : "N", &size, &k, &alpha, a.data, &lda, &beta, c, &ldc, 1, 1);
}

/// The lower triangle of a symmetric result, found as sum(i, j) for i >= j, into both triangles of C.
template <class T, class Sum>
void store_symmetric(T alpha, T beta, host_matrix<T> c, Sum sum) {
    const std::size_t row_step = is_row_major(c) ? c.stride : 1;
    const std::size_t column_step = is_row_major(c) ? 1 : c.stride;
    for (std::size_t j = 0; j < c.rows; ++j) {
        for (std::size_t i = j; i < c.rows; ++i) {
            T& lower = c.data[i * row_step + j * column_step];
            T& upper = c.data[j * row_step + i * column_step];
            lower = alpha * sum(i, j) + (beta == T(0) ? T(0) : beta * lower);
            upper = lower;
        }
    }
}

/// C = alpha (sum over threads of what add(thread, sum) adds to an n x n sum) + beta C; entry(sum, i, j) reads it, i <= j.
template <class T, class Add, class Entry>
void syrk_by_threads(T alpha, T beta, host_matrix<T> c, std::size_t threads, std::size_t sum_size, Add add, Entry entry) {
    host_buffer<T> sums(sum_size * threads);
    std::fill(sums.data(), sums.data() + sum_size * threads, T(0));
    divide_among(threads, threads, [&](std::size_t thread) { add(thread, sums.data() + thread * sum_size); });
    store_symmetric(alpha, beta, c, [&](std::size_t i, std::size_t j) {
        T sum = T(0);
        for (std::size_t thread = 0; thread < threads; ++thread) {
            sum += entry(sums.data() + thread * sum_size, j, i);
        }
        return sum;
    });
}

/// C = alpha A A' + beta C for a short, wide A that lies column by column.
template <class T>
void tall_syrk(T alpha, const_host_matrix<T> a, T beta, host_matrix<T> c) {
    const tall_gram<T> gram(a.rows);
    const std::size_t rows = a.columns;
    const std::size_t threads = rows * a.rows > block_size ? available_threads() : 1;
    const auto add = [&](std::size_t thread, T* sum) {
        const std::size_t first = rows * thread / threads;
        gram.add(a.data + first * a.rows, rows * (thread + 1) / threads - first, sum);
    };
    syrk_by_threads(alpha, beta, c, threads, gram.sum_size(), add,
                    [&](const T* sum, std::size_t i, std::size_t j) { return gram.entry(sum, i, j); });
}

/// The columns of all A_s counted through and divided among threads; short A_s are gathered.
template <class T>
void gathered_syrk(T alpha, const_host_matrix<T> a, std::size_t a_step, std::size_t count, T beta, host_matrix<T> c,
                   std::size_t threads) {
    const panel_gram<T> gram(a.rows);
    const std::size_t total = a.columns * count;
    const std::size_t row_step = is_row_major(a) ? a.stride : 1;
    const std::size_t column_step = is_row_major(a) ? 1 : a.stride;
    host_buffer<T> scratch(gram.scratch_size() * threads);
    const auto add = [&](std::size_t thread, T* sum) {
        gram.add(a.data, a_step, a.columns, row_step, column_step, total * thread / threads,
                 total * (thread + 1) / threads, sum, scratch.data() + thread * gram.scratch_size());
    };
    syrk_by_threads(alpha, beta, c, threads, gram.sum_size(), add,
                    [&](const T* sum, std::size_t i, std::size_t j) { return gram.entry(sum, i, j); });
}

/// Every thread's share of the columns of long A_s by the library.
template <class T>
void long_syrk(T alpha, const_host_matrix<T> a, std::size_t a_step, std::size_t count, T beta, host_matrix<T> c,
               std::size_t threads) {
    const std::size_t n = a.rows;
    const std::size_t total = a.columns * count;
    const auto add = [&](std::size_t thread, T* sum) {
        for_each_piece(a.columns, total * thread / threads, total * (thread + 1) / threads,
                       [&](std::size_t s, std::size_t first, std::size_t, std::size_t columns) {
                           blas_syrk<T>(T(1), columns_of(advanced(a, s * a_step), first, columns), T(1), sum, n);
                       });
    };
    syrk_by_threads(alpha, beta, c, threads, n * n, add, [n](const T* sum, std::size_t i, std::size_t j) { return sum[i * n + j]; });
}

/// C = alpha sum_s A_s A_s' + beta C.
///
/// Where C is small and the sum is long, which threaded BLAS divides badly, each thread sums its own share of the columns
/// and the sums are added at the end. Large C (over 768 rows) is left to the library's own threads.
template <class T>
void syrk_strided_batched(T alpha, const_host_matrix<T> a, std::size_t a_step, std::size_t count, T beta,
                          host_matrix<T> c) {
    const std::size_t n = a.rows;
    if (n == 0) {
        return;
    }
    if (count == 1 && n <= tall_gram<T>::widest && !is_row_major(a) && is_dense(a)) {
        return tall_syrk(alpha, a, beta, c);
    }
    blas_size(std::max({n, a.stride, a.columns}), "syrk");
    constexpr std::size_t largest_private = 768;
    constexpr std::size_t longest_gathered = 512;
    const bool divided = n <= largest_private && n * a.columns * count > block_size;
    const std::size_t threads = divided ? available_threads() : 1;
    // Columns that lie one after the other need no transposition, and with AVX-512 the tile is a little faster than the library's.
    const bool by_columns = !is_row_major(a) && best_instruction_set() == instruction_set::avx512;
    if (a.columns * count == 0 || (n <= largest_private && (a.columns <= longest_gathered || by_columns))) {
        gathered_syrk<T>(alpha, a, a_step, count, beta, c, threads);
    } else {
        long_syrk<T>(alpha, a, a_step, count, beta, c, threads);
    }
}

template <class T>
void trsm(side where, triangle half, T alpha, const_host_matrix<T> a, host_matrix<T> b) {
    if (is_row_major(b)) {  // X A = B  <=>  A' X' = B'
        return trsm<T>(where == side::left ? side::right : side::left,
                       half == triangle::lower ? triangle::upper : triangle::lower, alpha, transposed(a), transposed(b));
    }
    if (b.rows == 0 || b.columns == 0) {
        return;
    }
    const bool flipped = is_row_major(a);  // read as its transpose, which swaps the triangles
    const bool lower = (half == triangle::lower) != flipped;
    const int m = blas_size(b.rows, "trsm");
    const int n = blas_size(b.columns, "trsm");
    const int lda = leading_dimension(a, "trsm");
    const int ldb = leading_dimension(b, "trsm");
    lapack<T>::trsm(where == side::left ? "L" : "R", lower ? "L" : "U", flipped ? "T" : "N", "N", &m, &n, &alpha, a.data,
                    &lda, b.data, &ldb, 1, 1, 1, 1);
}

}  // namespace moden::detail
