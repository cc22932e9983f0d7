#pragma once

// What the primitives of the CUDA policy share: the stream with its memory, and the handles of cuBLAS and cuSOLVER.

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <cstddef>
#include <memory>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/policy/detail/cuda_check.hpp>
#include <moden/policy/detail/cuda_memory.hpp>

namespace moden::detail {

/// Owns a handle of a library. Destroying one needs its device to be current.
template <class Handle, auto Destroy>
class library_handle {
public:
    library_handle() = default;
    library_handle(Handle handle, int device) : handle_(handle), device_(device) {}
    library_handle(library_handle&& other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)), device_(other.device_) {}
    library_handle& operator=(library_handle&& other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(device_, other.device_);
        return *this;
    }
    ~library_handle() {
        if (handle_ != nullptr) {
            int before = device_;
            (void)cudaGetDevice(&before);
            (void)cudaSetDevice(device_);
            (void)Destroy(handle_);
            (void)cudaSetDevice(before);
        }
    }

    Handle get() const { return handle_; }

private:
    Handle handle_ = nullptr;
    int device_ = 0;
};

/// Refuses what is no device, in words that tell a missing driver from a wrong number.
inline int checked_device(int device) {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess || count == 0) {
        (void)cudaGetLastError();
        throw device_error(message("cuda_policy: no CUDA device can be used (cudaGetDeviceCount: ",
                                   status == cudaSuccess ? "there are none" : cudaGetErrorString(status), ")"));
    }
    require<argument_error>(device >= 0 && device < count, "cuda_policy: device ", device, " (expected 0 to ",
                            count - 1, ")");
    return device;
}

class cuda_context {
public:
    cuda_context(int device, std::size_t kept_memory)
        : home_(std::make_shared<const device_stream>(checked_device(device), kept_memory)) {
        const device_scope scope(device);
        cublasHandle_t blas = nullptr;
        check_cublas(cublasCreate(&blas), "cublasCreate");
        blas_ = {blas, device};
        check_cublas(cublasSetStream(blas, stream()), "cublasSetStream");
        check_cublas(cublasSetPointerMode(blas, CUBLAS_POINTER_MODE_HOST), "cublasSetPointerMode");
        // The default mode multiplies float in float and double in double. The TF32 mode would round the factors to 11
        // bits, and the pedantic one adds nothing but slower kernels.
        check_cublas(cublasSetMathMode(blas, CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
        cusolverDnHandle_t solver = nullptr;
        check_cusolver(cusolverDnCreate(&solver), "cusolverDnCreate");
        solver_ = {solver, device};
        check_cusolver(cusolverDnSetStream(solver, stream()), "cusolverDnSetStream");
        cusolverDnParams_t parameters = nullptr;
        check_cusolver(cusolverDnCreateParams(&parameters), "cusolverDnCreateParams");
        parameters_ = {parameters, device};
    }

    cuda_context(cuda_context&&) noexcept = default;
    /// Exchanges everything: what is replaced goes all at once, its handles before its stream.
    cuda_context& operator=(cuda_context&& other) noexcept {
        std::swap(home_, other.home_);
        std::swap(blas_, other.blas_);
        std::swap(solver_, other.solver_);
        std::swap(parameters_, other.parameters_);
        return *this;
    }

    int device() const { return home_->device(); }
    cudaStream_t stream() const { return home_->stream(); }
    cublasHandle_t blas() const { return blas_.get(); }
    cusolverDnHandle_t solver() const { return solver_.get(); }
    cusolverDnParams_t parameters() const { return parameters_.get(); }
    void synchronize() const { home_->synchronize(); }

    template <class T>
    device_buffer<T> allocate(std::size_t count) const {
        return device_buffer<T>(home_, count);
    }

    /// Waits until the elements have arrived.
    template <class T>
    void download(const T* source, T* host, std::size_t count) const {
        if (count > 0) {
            check_cuda(cudaMemcpyAsync(host, source, count * sizeof(T), cudaMemcpyDeviceToHost, stream()),
                       "cudaMemcpyAsync");
            synchronize();
        }
    }

    /// Waits until the host memory is no longer needed.
    template <class T>
    void upload(const T* host, T* target, std::size_t count) const {
        if (count > 0) {
            check_cuda(cudaMemcpyAsync(target, host, count * sizeof(T), cudaMemcpyHostToDevice, stream()),
                       "cudaMemcpyAsync");
            synchronize();
        }
    }

private:
    // Before the handles: they are destroyed while the stream still exists.
    std::shared_ptr<const device_stream> home_;
    library_handle<cublasHandle_t, cublasDestroy> blas_;
    library_handle<cusolverDnHandle_t, cusolverDnDestroy> solver_;
    library_handle<cusolverDnParams_t, cusolverDnDestroyParams> parameters_;
};

}  // namespace moden::detail
