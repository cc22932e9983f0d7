#pragma once

// The CUDA policy: cuBLAS for products, cuSOLVER for factorizations, kernels of its own for loops. Primitives have the
// contracts of policy/cpu.hpp. All of them but download, upload, reduce and the factorizations return while the device
// is still at work; everything is ordered by the policy's stream.

#if !defined(__CUDACC__)
#error "moden/policy/cuda.hpp is CUDA C++: compile this file with nvcc, or include <moden/moden.hpp> for the CPU only"
#else

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include <moden/core/execution_policy.hpp>
#include <moden/core/extents.hpp>
#include <moden/core/tensor.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cuda_context.hpp>
#include <moden/policy/detail/cuda_copies.hpp>
#include <moden/policy/detail/cuda_linalg.hpp>
#include <moden/policy/detail/cuda_loops.hpp>
#include <moden/policy/detail/cuda_products.hpp>
#include <moden/policy/detail/cuda_qr.hpp>
#include <moden/policy/detail/cuda_syrk.hpp>
#include <moden/policy/detail/cuda_tensor.hpp>
#include <moden/policy/detail/nearest_by_products.hpp>

namespace moden {

/// What a cuda_policy can be told.
struct cuda_options {
    int device = 0;  ///< number of the device, as cudaSetDevice counts
    /// Bytes of freed memory that are kept for the next allocations instead of going back to the driver whenever the
    /// policy waits for the device. The default keeps everything until the policy and its tensors are gone.
    std::size_t kept_memory = std::numeric_limits<std::size_t>::max();
};

/// Computes on a CUDA device, in its memory.
///
/// Owns a stream, handles of cuBLAS and cuSOLVER, and a pool of memory: make one and keep it. Can be moved, not copied;
/// a policy is for one thread at a time. The current device of the calling thread is put back after every call, and the
/// device's default pool is left alone. Arithmetic is that of the scalar type: float is not rounded to TF32.
///
/// Two policies know nothing of each other's work: synchronize() the one that wrote a tensor before the other one reads
/// it.
/// \snippet tests/policy/cuda_policy.cpp cuda_policy
class cuda_policy {
public:
    using memory_space = device_memory;
    template <class T>
    using matrix = matrix_view<T, device_memory>;
    template <class T>
    using const_matrix = const_matrix_view<T, device_memory>;

    /// \throws device_error if there is no device or no driver for it, argument_error if there are fewer devices
    explicit cuda_policy(const cuda_options& options = {}) : context_(options.device, options.kept_memory) {}

    int device() const { return context_.device(); }

    /// The stream that orders everything, for work of the program's own.
    cudaStream_t stream() const { return context_.stream(); }

    /// Waits until everything that was asked for is done.
    /// \throws device_error if something went wrong on the device meanwhile
    void synchronize() const { context_.synchronize(); }

    // ---- memory -----------------------------------------------------------------------------------------------------

    /// Uninitialised device memory that frees itself.
    /// \throws device_error if the device has no room for it
    template <class T>
    detail::device_buffer<T> allocate(std::size_t count) const {
        return context_.allocate<T>(count);
    }

    /// An uninitialised tensor of the public type: static order N, or dynamic_order.
    template <class T, std::size_t N>
    device_tensor<T, N> make_tensor(const extents& shape) const {
        return device_tensor<T, N>(context_.allocate<T>(element_count(shape)), shape);
    }

    template <class T>
    void copy(const T* source, T* target, std::size_t count) const {
        detail::device_copy(context_, source, target, count);
    }

    /// Copies a matrix; where the storage orders differ, this transposes.
    template <class T>
    void copy(const_matrix<T> source, matrix<T> target) const {
        detail::device_copy_matrix<T>(context_, source, target);
    }

    /// Brings `count` elements to the host and waits for them.
    template <class T>
    void download(const T* source, T* host, std::size_t count) const {
        context_.download(source, host, count);
    }

    /// Brings `count` elements from the host; the host memory is free again when this returns.
    template <class T>
    void upload(const T* host, T* target, std::size_t count) const {
        context_.upload(host, target, count);
    }

    /// target(i_{axes[0]}, i_{axes[1]}, ...) = source(i_0, i_1, ...), target dense and row-major.
    template <class T>
    void permute(const tensor_view<const T, device_memory>& source, const extents& axes, T* target) const {
        detail::device_permute<T>(context_, source, axes, target);
    }

    // ---- loops ------------------------------------------------------------------------------------------------------

    /// function(i) for every i in [0, count), in any order, on the device. `work` makes no difference here.
    template <class Function>
    void transform(std::size_t count, Function function, [[maybe_unused]] std::size_t work = 1) const {
        detail::device_transform(context_, count, function);
    }

    /// function(i, j) for every i in [0, rows) and j in [0, columns), in any order; neighbouring threads have
    /// neighbouring j.
    template <class Function>
    void transform_grid(std::size_t rows, std::size_t columns, Function function) const {
        detail::device_transform_grid(context_, rows, columns, function);
    }

    /// function(i, first, last) for every i in [0, rows) and consecutive ranges [first, last) that together cover
    /// [0, columns). Here a range is one column, and neighbouring threads have neighbouring columns. `work` makes no difference here.
    template <class Function>
    void transform_rows(std::size_t rows, std::size_t columns, Function function, [[maybe_unused]] std::size_t work = 0) const {
        detail::device_transform_grid(context_, rows, columns, detail::one_column<Function>{function});
    }

    /// combine over i of map(i), starting from `initial`, which must be neutral for combine. The result is on the host.
    /// The grouping depends on count alone: the result is the same on every device.
    template <class Result, class Map, class Combine>
    Result reduce(std::size_t count, Result initial, Map map, Combine combine) const {
        return detail::device_reduce(context_, count, initial, map, combine);
    }

    // ---- products ---------------------------------------------------------------------------------------------------

    /// C = alpha A B + beta C. With beta = 0, C may hold anything.
    template <class T>
    void gemm(T alpha, const_matrix<T> a, const_matrix<T> b, T beta, matrix<T> c) const {
        detail::device_gemm<T>(context_, alpha, a, b, beta, c);
    }

    /// C_s = alpha A_s B_s + beta C_s for s < count; the s-th matrices start `step` elements after the previous ones.
    /// A step of 0 shares one matrix among all products.
    template <class T>
    void gemm_strided_batched(T alpha, const_matrix<T> a, std::size_t a_step, const_matrix<T> b, std::size_t b_step,
                              T beta, matrix<T> c, std::size_t c_step, std::size_t count) const {
        detail::device_gemm_strided_batched<T>(context_, alpha, a, a_step, b, b_step, beta, c, c_step, count);
    }

    /// C = alpha A A' + beta C, both triangles written.
    template <class T>
    void syrk(T alpha, const_matrix<T> a, T beta, matrix<T> c) const {
        detail::device_syrk_strided_batched<T>(context_, alpha, a, 0, 1, beta, c);
    }

    /// C = alpha sum_s A_s A_s' + beta C for s < count, both triangles written. Workspace: at most 2^24 elements for
    /// partial sums, and as many for slabs of less than 256 columns, which are gathered.
    template <class T>
    void syrk_strided_batched(T alpha, const_matrix<T> a, std::size_t a_step, std::size_t count, T beta,
                              matrix<T> c) const {
        detail::device_syrk_strided_batched<T>(context_, alpha, a, a_step, count, beta, c);
    }

    /// B <- alpha inv(A) B (left) or alpha B inv(A) (right), with A triangular.
    template <class T>
    void trsm(side where, triangle half, T alpha, const_matrix<T> a, matrix<T> b) const {
        detail::device_trsm<T>(context_, where, half, alpha, a, b);
    }

    /// Rows to be searched again and again, of at least one column; nothing has to be prepared here.
    template <class T>
    const_matrix<T> prepare_directions(const_matrix<T> rows, [[maybe_unused]] const T* inverse_lengths) const {
        return rows;
    }

    /// labels(n) = the row of C (`count` rows) with the largest product with row n of X, of equal ones the first; count > 0.
    template <class T>
    void nearest_directions(const const_matrix<T>& prepared, const T* centres, std::size_t count, std::uint32_t* labels) const {
        detail::nearest_by_products(*this, prepared, centres, count, labels);
    }

    // ---- factorizations ---------------------------------------------------------------------------------------------

    /// Eigenvalues of a symmetric matrix, all of them, in descending order, and the leading vectors.columns
    /// eigenvectors. `a` is destroyed; `vectors` is column-major and may have no columns. cuSOLVER computes all vectors
    /// or none.
    template <class T>
    void eigh(matrix<T> a, T* values, matrix<T> vectors) const {
        detail::device_eigh<T>(context_, a, values, vectors);
    }

    /// Thin singular value decomposition A = U diag(values) V', k = min(rows, columns): U rows x k, vt k x columns,
    /// both in A's storage order, dense or not. `a` is destroyed. Row-major tall and column-major wide matrices are
    /// moved first.
    template <class T>
    void svd(matrix<T> a, T* values, matrix<T> u, matrix<T> vt) const {
        detail::device_svd<T>(context_, a, values, u, vt);
    }

    /// Thin QR of a matrix with rows >= columns: `a` becomes Q, `r` (columns x columns, same storage order) becomes R
    /// with zeros below the diagonal. r.data may be null. With qr_output::r_only, `a` is destroyed instead. Row-major
    /// matrices take memory for a transposed copy.
    template <class T>
    void qr(matrix<T> a, matrix<T> r, qr_output output = qr_output::q_and_r) const {
        detail::device_qr<T>(context_, a, r, output);
    }

    /// B <- inv(A) B by Cholesky. `a` (symmetric) is destroyed. If A is not positive definite, B is left as it was.
    template <class T>
    definiteness cholesky_solve(matrix<T> a, matrix<T> b) const {
        return detail::device_cholesky_solve<T>(context_, a, b);
    }

private:
    detail::cuda_context context_;
};

template <>
inline constexpr bool enable_execution_policy<cuda_policy> = true;

/// Copies a host tensor to the policy's device.
///
/// \param policy where to
/// \param tensor any xtensor expression of float or double; evaluated first unless it is contiguous and row-major
/// \return       device tensor of the same shape and of the same order, static or dynamic
/// \throws device_error if the device has no room for it
///
/// Cost: one transfer, which is waited for.
/// \snippet tests/policy/cuda_policy.cpp to_device
template <any_tensor Tensor>
auto to_device(const cuda_policy& policy, const Tensor& tensor) {
    static_assert(std::is_same_v<typename tensor_traits<Tensor>::memory_space, host_memory>,
                  "moden: to_device was given a tensor that is on a device already");
    using T = value_type_of<Tensor>;
    static_assert(std::is_same_v<T, float> || std::is_same_v<T, double>,
                  "moden: tensors hold float or double (convert others, for example with xt::cast<double>)");
    const detail::host_argument<T> argument(tensor);
    auto result = policy.make_tensor<T, order_of<Tensor>>(argument.view().shape);
    policy.upload(argument.view().data, result.data(), result.size());
    return result;
}

/// Copies a device tensor to the host.
///
/// \param policy the policy whose stream the tensor belongs to
/// \param device any device tensor
/// \return       moden::tensor<T, N>, or moden::dynamic_tensor<T> for a dynamic order
///
/// Cost: one transfer, which is waited for, after everything else that the stream still had to do.
/// \snippet tests/policy/cuda_policy.cpp to_device
template <class T, std::size_t N>
auto to_host(const cuda_policy& policy, const device_tensor<T, N>& device) {
    const detail::device_argument<T> argument(device);
    if constexpr (N == dynamic_order) {
        auto result = dynamic_tensor<T>::from_shape(argument.view().shape);
        policy.download(argument.view().data, result.data(), result.size());
        return result;
    } else {
        auto result = tensor<T, N>::from_shape(argument.view().shape);
        policy.download(argument.view().data, result.data(), result.size());
        return result;
    }
}

}  // namespace moden

#endif
