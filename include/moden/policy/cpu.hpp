#pragma once

// The CPU policy: OpenBLAS and LAPACK for matrices, OpenMP for loops. Where nothing else is said, a primitive is given
// views that do not overlap, writes every element of its result, and throws shape_error for sizes beyond BLAS's integers.

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/tensor.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cpu_linalg.hpp>
#include <moden/policy/detail/cpu_products.hpp>
#include <moden/policy/detail/host_buffer.hpp>
#include <moden/policy/detail/memory_pool.hpp>
#include <moden/policy/detail/nearest_directions.hpp>
#include <moden/policy/detail/register_tile.hpp>
#include <moden/policy/detail/row_loops.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden {

/// What a cpu_policy can be told.
struct cpu_options {
    /// Threads of every call through the policy; 0 means as many as OpenMP offers where the policy is made.
    std::size_t threads = 0;
    /// Bytes of freed scratch memory that the policy keeps for its next calls, until it and its copies are gone.
    std::size_t kept_memory = std::size_t{1} << 30;
};

/// Computes on the CPU, in host memory.
///
/// Cheap to make and to copy; copies share what memory is kept. It changes no global state: thread counts are set for the
/// duration of a call and put back. Several threads may use one policy at once.
/// \snippet tests/unit/cpu_policy.cpp cpu_policy
class cpu_policy {
public:
    using memory_space = host_memory;
    template <class T>
    using matrix = matrix_view<T, host_memory>;
    template <class T>
    using const_matrix = const_matrix_view<T, host_memory>;

    explicit cpu_policy(const cpu_options& options = {})
        : threads_(options.threads > 0 ? options.threads : static_cast<std::size_t>(omp_get_max_threads())),
          pool_(std::make_shared<detail::memory_pool>(options.kept_memory)) {
        detail::require<argument_error>(threads_ <= 4096, "cpu_policy: ", threads_, " threads (expected at most 4096)");
    }

    std::size_t threads() const { return threads_; }

    // ---- memory -----------------------------------------------------------------------------------------------------

    /// Uninitialised memory that frees itself.
    template <class T>
    detail::host_buffer<T> allocate(std::size_t count) const {
        return detail::host_buffer<T>(count, pool_);
    }

    /// An uninitialised tensor of the public type: static order N, or dynamic_order.
    template <class T, std::size_t N>
    auto make_tensor(const extents& shape) const {
        if constexpr (N == dynamic_order) {
            auto result = dynamic_tensor<T>::from_shape(shape);
            detail::advise_huge_pages(result.data(), result.size() * sizeof(T));
            return result;
        } else {
            detail::require<shape_error>(shape.size() == N, "make_tensor: shape ", shape, " for a tensor of order ", N);
            std::array<std::size_t, N> fixed;  // of known length, so that compilers see that nothing is read for N = 0
            std::copy_n(shape.begin(), N, fixed.begin());
            auto result = tensor<T, N>::from_shape(fixed);
            detail::advise_huge_pages(result.data(), result.size() * sizeof(T));
            return result;
        }
    }

    template <class T>
    void copy(const T* source, T* target, std::size_t count) const {
        const detail::thread_scope scope(threads_);
        detail::parallel_blocks(count, 1, [&](std::size_t first, std::size_t last) {
            std::memcpy(target + first, source + first, (last - first) * sizeof(T));
        });
    }

    /// Copies a matrix; where the storage orders differ, this transposes.
    template <class T>
    void copy(const_matrix<T> source, matrix<T> target) const {
        const detail::thread_scope scope(threads_);
        detail::copy_matrix<T>(source, target);
    }

    /// Brings `count` elements to the host.
    template <class T>
    void download(const T* source, T* host, std::size_t count) const {
        copy(source, host, count);
    }

    /// Brings `count` elements from the host.
    template <class T>
    void upload(const T* host, T* target, std::size_t count) const {
        copy(host, target, count);
    }

    /// target(i_{axes[0]}, i_{axes[1]}, ...) = source(i_0, i_1, ...), target dense and row-major.
    template <class T>
    void permute(const tensor_view<const T, host_memory>& source, const extents& axes, T* target) const {
        const detail::thread_scope scope(threads_);
        detail::permute(source, axes, target);
    }

    // ---- loops ------------------------------------------------------------------------------------------------------

    /// function(i) for every i in [0, count), in any order. `work` says how many elements one call touches.
    template <class Function>
    void transform(std::size_t count, Function function, std::size_t work = 1) const {
        const detail::thread_scope scope(threads_);
        detail::parallel_blocks(count, work, [&](std::size_t first, std::size_t last) {
            for (std::size_t i = first; i < last; ++i) {
                function(i);
            }
        });
    }

    /// function(i, j) for every i in [0, rows) and j in [0, columns), in any order; j is the index that memory should follow.
    template <class Function>
    void transform_grid(std::size_t rows, std::size_t columns, Function function) const {
        const detail::thread_scope scope(threads_);
        detail::parallel_blocks(rows, columns, [&](std::size_t first, std::size_t last) {
            for (std::size_t i = first; i < last; ++i) {
                for (std::size_t j = 0; j < columns; ++j) {
                    function(i, j);
                }
            }
        });
    }

    /// function(i, first, last) for every i in [0, rows) and consecutive ranges [first, last) that together cover
    /// [0, columns): what depends on the row alone is worked out once per range. Here a range is a whole row.
    /// `work` says how many elements a row touches; 0: as many as there are columns.
    template <class Function>
    void transform_rows(std::size_t rows, std::size_t columns, Function function, std::size_t work = 0) const {
        const detail::thread_scope scope(threads_);
        detail::parallel_blocks(rows, work > 0 ? work : columns, [&](std::size_t first, std::size_t last) {
            detail::for_rows(first, last, columns, function);
        });
    }

    /// combine over i of map(i), starting from `initial`, which must be neutral for combine.
    /// The grouping depends on count alone: the result is the same for every number of threads.
    template <class Result, class Map, class Combine>
    Result reduce(std::size_t count, Result initial, Map map, Combine combine) const {
        const detail::thread_scope scope(threads_);
        return detail::blocked_reduce(count, initial, map, combine);
    }

    /// The same for the sum of squares, which every decomposition begins with: as fast as memory.
    template <class T>
    double reduce(std::size_t count, double initial, detail::square_of<T> map, detail::plus combine) const {
        const detail::thread_scope scope(threads_);
        const auto tile = detail::register_tile_for<T>(detail::best_instruction_set());
        return detail::combine_blocks(count, initial, combine, [&](std::size_t first, std::size_t last) {
            return tile.square_sum(map.data + first, last - first);
        });
    }

    // ---- products ---------------------------------------------------------------------------------------------------

    /// C = alpha A B + beta C. With beta = 0, C may hold anything.
    template <class T>
    void gemm(T alpha, const_matrix<T> a, const_matrix<T> b, T beta, matrix<T> c) const {
        const detail::thread_scope scope(threads_);
        detail::gemm(alpha, a, b, beta, c);
    }

    /// C_s = alpha A_s B_s + beta C_s for s < count; the s-th matrices start `step` elements after the previous ones.
    /// A step of 0 shares one matrix among all products.
    template <class T>
    void gemm_strided_batched(T alpha, const_matrix<T> a, std::size_t a_step, const_matrix<T> b, std::size_t b_step,
                              T beta, matrix<T> c, std::size_t c_step, std::size_t count) const {
        const detail::thread_scope scope(threads_);
        detail::gemm_strided_batched(alpha, a, a_step, b, b_step, beta, c, c_step, count);
    }

    /// C = alpha A A' + beta C, both triangles written.
    template <class T>
    void syrk(T alpha, const_matrix<T> a, T beta, matrix<T> c) const {
        syrk_strided_batched(alpha, a, 0, 1, beta, c);
    }

    /// C = alpha sum_s A_s A_s' + beta C for s < count, both triangles written.
    template <class T>
    void syrk_strided_batched(T alpha, const_matrix<T> a, std::size_t a_step, std::size_t count, T beta,
                              matrix<T> c) const {
        const detail::thread_scope scope(threads_);
        detail::syrk_strided_batched(alpha, a, a_step, count, beta, c);
    }

    /// B <- alpha inv(A) B (left) or alpha B inv(A) (right), with A triangular.
    template <class T>
    void trsm(side where, triangle half, T alpha, const_matrix<T> a, matrix<T> b) const {
        const detail::thread_scope scope(threads_);
        detail::trsm(where, half, alpha, a, b);
    }

    /// Rows of X with the inverse of their lengths, prepared to be searched again and again: copied in 16 bits. X is dense and row-major, has
    /// columns, and stays.
    template <class T>
    auto prepare_directions(const_matrix<T> rows, const T* inverse_lengths) const {
        const detail::thread_scope scope(threads_);
        return detail::host_directions<T>(rows.data, inverse_lengths, rows.rows, rows.columns, pool_);
    }

    /// labels(n) = the row of C (`count` rows of length 1) with the largest product with row n of X, of equal ones the first; count > 0.
    template <class T>
    void nearest_directions(const detail::host_directions<T>& prepared, const T* centres, std::size_t count, std::uint32_t* labels) const {
        const detail::thread_scope scope(threads_);
        prepared.nearest(centres, count, labels);
    }

    // ---- factorizations ---------------------------------------------------------------------------------------------

    /// Eigenvalues of a symmetric matrix, all of them, in descending order, and the leading vectors.columns eigenvectors.
    /// `a` is destroyed; `vectors` is column-major and may have no columns.
    template <class T>
    void eigh(matrix<T> a, T* values, matrix<T> vectors) const {
        const detail::thread_scope scope(threads_);
        detail::eigh(a, values, vectors);
    }

    /// Thin singular value decomposition A = U diag(values) V', k = min(rows, columns): U rows x k, vt k x columns, both
    /// in A's storage order, dense or not. `a` is destroyed.
    template <class T>
    void svd(matrix<T> a, T* values, matrix<T> u, matrix<T> vt) const {
        const detail::thread_scope scope(threads_);
        detail::svd(a, values, u, vt);
    }

    /// Thin QR of a matrix with rows >= columns: `a` becomes Q, `r` (columns x columns, same storage order) becomes R
    /// with zeros below the diagonal. r.data may be null. With qr_output::r_only, `a` is destroyed instead.
    template <class T>
    void qr(matrix<T> a, matrix<T> r, qr_output output = qr_output::q_and_r) const {
        const detail::thread_scope scope(threads_);
        detail::qr(a, r, output);
    }

    /// B <- inv(A) B by Cholesky. `a` (symmetric) is destroyed. If A is not positive definite, B is left as it was.
    template <class T>
    definiteness cholesky_solve(matrix<T> a, matrix<T> b) const {
        const detail::thread_scope scope(threads_);
        return detail::cholesky_solve(a, b);
    }

private:
    std::size_t threads_;
    std::shared_ptr<detail::memory_pool> pool_;
};

template <>
inline constexpr bool enable_execution_policy<cpu_policy> = true;

}  // namespace moden
