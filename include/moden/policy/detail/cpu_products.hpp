#pragma once

// Products of the CPU policy: which shapes go to OpenBLAS, which to the kernels of small_gemm.hpp, and who is parallel.

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include <moden/core/view.hpp>
#include <moden/policy/detail/cpu_copies.hpp>
#include <moden/policy/detail/host_buffer.hpp>
#include <moden/policy/detail/lapack.hpp>
#include <moden/policy/detail/small_gemm.hpp>
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

/// One call to the library's GEMM.
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
    const int m = blas_size(c.rows, "gemm");
    const int n = blas_size(c.columns, "gemm");
    const int k = blas_size(a.columns, "gemm");
    const int lda = leading_dimension(a, "gemm");
    const int ldb = leading_dimension(b, "gemm");
    const int ldc = leading_dimension(c, "gemm");
    lapack<T>::gemm(is_row_major(a) ? "T" : "N", is_row_major(b) ? "T" : "N", &m, &n, &k, &alpha, a.data, &lda, b.data,
                    &ldb, &beta, c.data, &ldc, 1, 1);
}

/// A tall matrix with few columns times a small matrix: OpenBLAS packs the tall one, which costs more than the product.
template <class T>
bool suits_row_multiplier(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    constexpr std::size_t widest = 64;
    return is_row_major(a) && is_dense(a) && is_row_major(c) && is_dense(c) && b.rows > 0 && b.columns > 0 &&
           b.rows <= widest && b.columns <= widest && a.rows >= 16 * widest;
}

template <class T>
void gemm(T alpha, const_host_matrix<T> a, const_host_matrix<T> b, T beta, host_matrix<T> c) {
    if (alpha != T(1) || beta != T(0) || !suits_row_multiplier<T>(a, b, c)) {
        return blas_gemm(alpha, a, b, beta, c);
    }
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

/// Slabs that one thread multiplies faster with the shared factor packed than with one GEMM each.
template <class T>
bool suits_slab_multiplier(const_host_matrix<T> a, const_host_matrix<T> b, host_matrix<T> c) {
    constexpr std::size_t deepest = 512;                       // a strip of B stays in the first level of cache
    constexpr std::size_t largest_factor = 512 * 1024;         // bytes of A that stay in the second level
    return is_row_major(b) && is_dense(b) && is_row_major(c) && is_dense(c) && b.rows > 0 && b.rows <= deepest &&
           a.rows * a.columns * sizeof(T) <= largest_factor;
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
    const double flops = 2.0 * static_cast<double>(c.rows) * static_cast<double>(c.columns) * static_cast<double>(a.columns);
    const std::size_t threads = available_threads();
    // Few large products: each one is parallel inside. Many small ones: each thread takes a share of them.
    const bool parallel_inside = count < 2 * threads || (count < 8 * threads && flops > 1e8);
    if (alpha == T(1) && beta == T(0) && a_step == 0 && !parallel_inside && suits_slab_multiplier<T>(a, b, c)) {
        const bool by_rows = is_row_major(a);
        const slab_multiplier<T> multiplier(a.data, by_rows ? a.stride : 1, by_rows ? 1 : a.stride, a.rows, a.columns);
        const bool consecutive = b_step == b.rows * b.columns && c_step == c.rows * c.columns;
        const bool worthwhile = flops * static_cast<double>(count) > 1e5;
        host_buffer<T> scratch(multiplier.scratch_size() * threads);
#pragma omp parallel for schedule(static) if (worthwhile && threads > 1)
        for (std::size_t s = 0; s < count; ++s) {
            T* own = scratch.data() + static_cast<std::size_t>(omp_get_thread_num()) * multiplier.scratch_size();
            multiplier.multiply(b.data + s * b_step, b.columns, c.data + s * c_step, own, consecutive ? count - s - 1 : 0);
        }
        return;
    }
    // Sizes are checked here, because nothing may throw inside the parallel region.
    blas_size(std::max({a.rows, a.columns, b.columns, a.stride, b.stride, c.stride}), "gemm_strided_batched");
#pragma omp parallel for schedule(static) if (!parallel_inside && threads > 1)
    for (std::size_t s = 0; s < count; ++s) {
        blas_gemm<T>(alpha, advanced(a, s * a_step), advanced(b, s * b_step), beta, advanced(c, s * c_step));
    }
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

/// Where the columns of all A_s lie one after another, cut into panels that a single thread can take.
struct syrk_panels {
    std::size_t width;   ///< columns per panel
    std::size_t count;   ///< panels
    bool gathered;       ///< whether a panel is copied together from several short A_s
};

template <class T>
syrk_panels panels_for(const_host_matrix<T> a, std::size_t count) {
    constexpr std::size_t panel_elements = std::size_t{1} << 17;  // a gathered panel stays in the second level of cache
    const std::size_t total = a.columns * count;
    const std::size_t wanted = std::clamp<std::size_t>(panel_elements / std::max<std::size_t>(a.rows, 1), 64, 4096);
    if (count == 1 || total == 0) {
        return {wanted, (total + wanted - 1) / wanted, false};
    }
    if (a.columns >= wanted / 2) {
        return {a.columns, count, false};
    }
    const std::size_t slabs = std::max<std::size_t>(1, wanted / a.columns);
    return {slabs * a.columns, (count + slabs - 1) / slabs, true};
}

/// Copies A_s, A_{s+1}, ... side by side into a row-major panel.
template <class T>
void gather_panel(const_host_matrix<T> a, std::size_t a_step, std::size_t slabs, T* panel) {
    const std::size_t width = slabs * a.columns;
    const std::size_t row_step = is_row_major(a) ? a.stride : 1;
    const std::size_t column_step = is_row_major(a) ? 1 : a.stride;
    for (std::size_t s = 0; s < slabs; ++s) {
        for (std::size_t i = 0; i < a.rows; ++i) {
            const T* source = a.data + s * a_step + i * row_step;
            T* target = panel + i * width + s * a.columns;
            for (std::size_t j = 0; j < a.columns; ++j) {
                target[j] = source[j * column_step];
            }
        }
    }
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

/// C = alpha A A' + beta C for a short, wide A that lies column by column.
template <class T>
void tall_syrk(T alpha, const_host_matrix<T> a, T beta, host_matrix<T> c) {
    const tall_gram<T> gram(a.rows);
    const std::size_t rows = a.columns;
    const std::size_t size = gram.sum_size();
    const std::size_t threads = rows * a.rows > block_size ? available_threads() : 1;
    host_buffer<T> sums(size * threads);
    std::fill(sums.data(), sums.data() + size * threads, T(0));
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(threads)) if (threads > 1)
    for (std::size_t thread = 0; thread < threads; ++thread) {
        const std::size_t first = rows * thread / threads;
        gram.add(a.data + first * a.rows, rows * (thread + 1) / threads - first, sums.data() + thread * size);
    }
    store_symmetric(alpha, beta, c, [&](std::size_t i, std::size_t j) {
        T sum = T(0);
        for (std::size_t thread = 0; thread < threads; ++thread) {
            sum += gram.entry(sums.data() + thread * size, j, i);
        }
        return sum;
    });
}

/// C = alpha sum_s A_s A_s' + beta C.
///
/// C is small and the sum is long, which is the shape that threaded BLAS divides badly: here each thread sums its own
/// panels and the sums are added at the end. Large C (over 768 rows) is left to the library's own threads.
template <class T>
void syrk_strided_batched(T alpha, const_host_matrix<T> a, std::size_t a_step, std::size_t count, T beta,
                          host_matrix<T> c) {
    const std::size_t n = a.rows;
    if (count == 1 && n <= tall_gram<T>::widest && n > 0 && !is_row_major(a) && is_dense(a)) {
        return tall_syrk(alpha, a, beta, c);
    }
    constexpr std::size_t largest_private = 768;
    const syrk_panels panels = panels_for<T>(a, count);
    const std::size_t threads = n <= largest_private ? std::min(available_threads(), std::max<std::size_t>(panels.count, 1)) : 1;
    blas_size(std::max({n, a.stride, panels.width}), "syrk");

    host_buffer<T> sums(n * n * threads);
    std::fill(sums.data(), sums.data() + n * n * threads, T(0));
    const std::size_t panel_elements = panels.gathered ? n * panels.width : 0;
    host_buffer<T> gathered(panel_elements * threads);
    const std::size_t slabs_per_panel = panels.gathered ? panels.width / a.columns : 1;
    const auto add_panel = [&](std::size_t panel, std::size_t thread) {
        T* sum = sums.data() + thread * n * n;
        if (panels.gathered) {
            const std::size_t first = panel * slabs_per_panel;
            const std::size_t slabs = std::min(slabs_per_panel, count - first);
            T* own = gathered.data() + thread * panel_elements;
            gather_panel<T>(advanced(a, first * a_step), a_step, slabs, own);
            blas_syrk<T>(T(1), row_major<const T, host_memory>(own, n, slabs * a.columns), T(1), sum, n);
        } else if (count == 1) {
            const std::size_t first = panel * panels.width;
            blas_syrk<T>(T(1), columns_of(a, first, std::min(panels.width, a.columns - first)), T(1), sum, n);
        } else {
            blas_syrk<T>(T(1), advanced(a, panel * a_step), T(1), sum, n);
        }
    };
    if (threads > 1) {
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(threads))
        for (std::size_t panel = 0; panel < panels.count; ++panel) {
            add_panel(panel, static_cast<std::size_t>(omp_get_thread_num()));
        }
    } else if (count == 1 && n > largest_private) {
        blas_syrk<T>(T(1), a, T(1), sums.data(), n);
    } else {
        for (std::size_t panel = 0; panel < panels.count; ++panel) {
            add_panel(panel, 0);
        }
    }

    store_symmetric(alpha, beta, c, [&](std::size_t i, std::size_t j) {
        T sum = T(0);
        for (std::size_t thread = 0; thread < threads; ++thread) {
            sum += sums.data()[thread * n * n + j * n + i];
        }
        return sum;
    });
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
