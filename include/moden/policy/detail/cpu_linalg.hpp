#pragma once

// Factorizations of the CPU policy, on LAPACK.

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cpu_products.hpp>
#include <moden/policy/detail/host_buffer.hpp>
#include <moden/policy/detail/lapack.hpp>

namespace moden::detail {

template <class T>
host_buffer<T> workspace(std::size_t count) {
    return host_buffer<T>(count);
}

/// All eigenvalues (ascending, in `values`) and all eigenvectors (in `a`, column by column) by divide and conquer.
template <class T>
void eigh_all(host_matrix<T> a, T* values) {
    const int n = blas_size(a.rows, "syevd");
    const int lda = leading_dimension(a, "syevd");
    int integers = 0;
    int query = -1;
    int info = 0;
    T wanted{};
    lapack<T>::syevd("V", "L", &n, a.data, &lda, values, &wanted, &query, &integers, &query, &info, 1, 1);
    check_info(info, "syevd");
    host_buffer<int> integer_work(static_cast<std::size_t>(integers));
    // LAPACK documents the size exactly; the answer in `wanted` may be rounded in single precision.
    const std::size_t needed = 1 + 6 * a.rows + 2 * a.rows * a.rows;
    host_buffer<T> work(needed);
    const int size = blas_size(needed, "syevd");
    lapack<T>::syevd("V", "L", &n, a.data, &lda, values, work.data(), &size, integer_work.data(), &integers, &info, 1, 1);
    check_info(info, "syevd");
}

/// Eigenvectors of the largest eigenvalues of a symmetric tridiagonal matrix, ascending, by divide and conquer. The
/// diagonals are destroyed.
template <class T>
void tridiagonal_vectors_of_all(T* diagonal, T* off_diagonal, host_matrix<T> vectors) {
    const std::size_t size = vectors.rows;
    const int n = blas_size(size, "stedc");
    host_buffer<T> all(size * size);
    const std::size_t work_size = 1 + 4 * size + size * size;  // as LAPACK documents them
    const std::size_t integer_size = 3 + 5 * size;
    host_buffer<T> work(work_size);
    host_buffer<int> integer_work(integer_size);
    const int lwork = blas_size(work_size, "stedc");
    const int liwork = blas_size(integer_size, "stedc");
    int info = 0;
    lapack<T>::stedc("I", &n, diagonal, off_diagonal, all.data(), &n, work.data(), &lwork, integer_work.data(), &liwork,
                     &info, 1);
    check_info(info, "stedc");
    for (std::size_t j = 0; j < vectors.columns; ++j) {
        const T* source = all.data() + (size - vectors.columns + j) * size;
        std::copy(source, source + size, vectors.data + j * vectors.stride);
    }
}

/// The same by relatively robust representations, which take time for the wanted vectors only, and all eigenvalues
/// (ascending) at the same time, on another thread. Both routines are serial.
template <class T>
void tridiagonal_eigh(const T* diagonal, const T* off_diagonal, T* values, host_matrix<T> vectors) {
    const std::size_t size = vectors.rows;
    const int n = blas_size(size, "stemr");
    const int wanted = static_cast<int>(vectors.columns);
    const int first = n - wanted + 1;
    const int ldz = leading_dimension(vectors, "stemr");
    const std::size_t work_size = 18 * size;
    const int lwork = blas_size(work_size, "stemr");
    const int liwork = blas_size(10 * size, "stemr");
    host_buffer<T> work(work_size);
    host_buffer<int> integer_work(10 * size);
    host_buffer<int> support(2 * std::max<std::size_t>(vectors.columns, 1));
    host_buffer<T> scratch(4 * size);  // all these routines destroy the diagonals
    T* d = scratch.data();
    T* e = d + size;
    T* found = e + size;
    T* e_of_values = found + size;
    const auto copy_diagonals = [&](T* to, T* off) {
        std::copy(diagonal, diagonal + size, to);
        std::copy(off_diagonal, off_diagonal + size - 1, off);
        off[size - 1] = T(0);
    };
    int info_of_values = 0;
    int info_of_vectors = 0;
    const auto find_values = [&] {
        copy_diagonals(values, e_of_values);
        lapack<T>::sterf(&n, values, e_of_values, &info_of_values);
    };
    const auto find_vectors = [&] {
        if (wanted == 0) {
            return;
        }
        copy_diagonals(d, e);
        const T unused{};
        int matches = 0;
        int try_accuracy = 1;
        lapack<T>::stemr("V", "I", &n, d, e, &unused, &unused, &first, &n, &matches, found, vectors.data, &ldz, &wanted,
                         support.data(), &try_accuracy, work.data(), &lwork, integer_work.data(), &liwork,
                         &info_of_vectors, 1, 1);
    };
    const bool worthwhile = size >= 128 && available_threads() > 1;
    divide_among(worthwhile ? 2 : 1, 2, [&](std::size_t part) { part == 0 ? find_vectors() : find_values(); });
    check_info(info_of_values, "sterf");
    if (info_of_vectors > 0) {
        // Given up, as on some matrices that rounding makes of a multiple of the identity; divide and conquer does not.
        copy_diagonals(d, e);
        tridiagonal_vectors_of_all(d, e, vectors);
    } else {
        check_info(info_of_vectors, "stemr");
    }
}

/// All eigenvalues (ascending) and the `vectors.columns` eigenvectors that belong to the largest, in descending order:
/// one reduction to tridiagonal form serves both, and only the wanted vectors are computed and transformed back.
template <class T>
void eigh_leading(host_matrix<T> a, T* values, host_matrix<T> vectors) {
    const std::size_t size = a.rows;
    const int n = blas_size(size, "sytrd");
    const int lda = leading_dimension(a, "sytrd");
    host_buffer<T> tridiagonal(3 * size);
    T* diagonal = tridiagonal.data();
    T* off_diagonal = diagonal + size;
    T* reflectors = off_diagonal + size;
    with_workspace<T>(
        workspace<T>,
        [&](T* work, const int* lwork, int* info) {
            lapack<T>::sytrd("L", &n, a.data, &lda, diagonal, off_diagonal, reflectors, work, lwork, info, 1);
        },
        "sytrd");

    tridiagonal_eigh<T>(diagonal, off_diagonal, values, vectors);
    const std::size_t count = vectors.columns;
    if (count == 0) {
        return;
    }
    const int wanted = static_cast<int>(count);
    const int ldz = leading_dimension(vectors, "ormtr");
    with_workspace<T>(
        workspace<T>,
        [&](T* space, const int* length, int* status) {
            lapack<T>::ormtr("L", "L", "N", &n, &wanted, a.data, &lda, reflectors, vectors.data, &ldz, space, length,
                             status, 1, 1, 1);
        },
        "ormtr");
    for (std::size_t j = 0; j < count / 2; ++j) {  // ascending to descending
        std::swap_ranges(vectors.data + j * vectors.stride, vectors.data + j * vectors.stride + size,
                         vectors.data + (count - 1 - j) * vectors.stride);
    }
}

template <class T>
void eigh(host_matrix<T> a, T* values, host_matrix<T> vectors) {
    const std::size_t n = a.rows;
    if (n == 0) {
        return;
    }
    if (4 * vectors.columns < n) {
        eigh_leading(a, values, vectors);
    } else {
        eigh_all(a, values);
        for (std::size_t j = 0; j < vectors.columns; ++j) {
            const T* source = a.data + (n - 1 - j) * a.stride;
            std::copy(source, source + n, vectors.data + j * vectors.stride);
        }
    }
    std::reverse(values, values + n);
}

template <class T>
void svd(host_matrix<T> a, T* values, host_matrix<T> u, host_matrix<T> vt) {
    if (is_row_major(a)) {  // A' = V S U'
        return svd<T>(transposed(a), values, transposed(vt), transposed(u));
    }
    const std::size_t smaller = std::min(a.rows, a.columns);
    if (smaller == 0) {
        return;
    }
    const int m = blas_size(a.rows, "gesdd");
    const int n = blas_size(a.columns, "gesdd");
    const int lda = leading_dimension(a, "gesdd");
    const int ldu = leading_dimension(u, "gesdd");
    const int ldvt = leading_dimension(vt, "gesdd");
    host_buffer<int> integer_work(8 * smaller);
    with_workspace<T>(
        workspace<T>,
        [&](T* work, const int* lwork, int* info) {
            lapack<T>::gesdd("S", &m, &n, a.data, &lda, values, u.data, &ldu, vt.data, &ldvt, work, lwork,
                             integer_work.data(), info, 1);
        },
        "gesdd");
}

template <class T>
void copy_triangle(host_matrix<T> source, host_matrix<T> target) {  // the upper one, of a column-major matrix
    for (std::size_t j = 0; j < target.columns; ++j) {
        T* column = target.data + j * target.stride;
        std::copy(source.data + j * source.stride, source.data + j * source.stride + j + 1, column);
        std::fill(column + j + 1, column + target.rows, T(0));
    }
}

template <class T>
void qr(host_matrix<T> a, host_matrix<T> r, qr_output output) {
    const std::size_t columns = a.columns;
    require<shape_error>(a.rows >= columns, "qr: a matrix of ", a.rows, " x ", columns, " (expected rows >= columns)");
    if (columns == 0) {
        return;
    }
    const int m = blas_size(a.rows, "geqrf");
    const int n = blas_size(columns, "geqrf");
    const int lda = leading_dimension(a, "geqrf");
    host_buffer<T> reflectors(columns);
    if (!is_row_major(a)) {
        with_workspace<T>(
            workspace<T>,
            [&](T* work, const int* lwork, int* info) {
                lapack<T>::geqrf(&m, &n, a.data, &lda, reflectors.data(), work, lwork, info);
            },
            "geqrf");
        if (r.data != nullptr) {
            copy_triangle(a, r);
        }
        if (output == qr_output::r_only) {
            return;
        }
        with_workspace<T>(
            workspace<T>,
            [&](T* work, const int* lwork, int* info) {
                lapack<T>::orgqr(&m, &n, &n, a.data, &lda, reflectors.data(), work, lwork, info);
            },
            "orgqr");
        return;
    }
    // Row-major A is a column-major A' = L Q, so A = Q' L': the LQ routines do the QR of A without transposing it.
    with_workspace<T>(
        workspace<T>,
        [&](T* work, const int* lwork, int* info) {
            lapack<T>::gelqf(&n, &m, a.data, &lda, reflectors.data(), work, lwork, info);
        },
        "gelqf");
    if (r.data != nullptr) {
        for (std::size_t i = 0; i < columns; ++i) {  // row i of R is column i of L
            T* row = r.data + i * r.stride;
            std::fill(row, row + i, T(0));
            std::copy(a.data + i * a.stride + i, a.data + i * a.stride + columns, row + i);
        }
    }
    if (output == qr_output::r_only) {
        return;
    }
    with_workspace<T>(
        workspace<T>,
        [&](T* work, const int* lwork, int* info) {
            lapack<T>::orglq(&n, &m, &n, a.data, &lda, reflectors.data(), work, lwork, info);
        },
        "orglq");
}

template <class T>
definiteness cholesky_solve(host_matrix<T> a, host_matrix<T> b) {
    const int n = blas_size(a.rows, "potrf");
    const int lda = leading_dimension(a, "potrf");
    int info = 0;
    lapack<T>::potrf("L", &n, a.data, &lda, &info, 1);
    require<solver_error>(info >= 0, "potrf: LAPACK returned ", info);
    if (info > 0) {
        return definiteness::not_positive_definite;
    }
    if (is_row_major(b)) {  // inv(L L') B, with B' to the left of the factors
        const auto lower = matrix_view<const T, host_memory>{a.data, a.rows, a.columns, a.stride, storage_order::column_major};
        trsm<T>(side::left, triangle::lower, T(1), lower, b);
        trsm<T>(side::left, triangle::upper, T(1), transposed(lower), b);
        return definiteness::positive_definite;
    }
    const int columns = blas_size(b.columns, "potrs");
    const int ldb = leading_dimension(b, "potrs");
    lapack<T>::potrs("L", &n, &columns, a.data, &lda, b.data, &ldb, &info, 1);
    check_info(info, "potrs");
    return definiteness::positive_definite;
}

}  // namespace moden::detail
