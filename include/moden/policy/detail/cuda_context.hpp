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
    library_handle(const library_handle&) = delete;
    library_handle& operator=(const library_handle&) = delete;
    ~library_handle() {
        if (handle != nullptr) {
            int before = device;
            (void)cudaGetDevice(&before);
            (void)cudaSetDevice(device);
            (void)Destroy(handle);
            (void)cudaSetDevice(before);
        }
    }

    Handle handle = nullptr;
    int device = 0;
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
    require<argument_error>(device >= 0 && device < count, "cuda_policy: device ", device, " (expected 0 to ", count - 1, ")");
    return device;
}

class cuda_context {
public:
    cuda_context(int device, std::size_t kept_memory)
        : home_(std::make_shared<const device_stream>(checked_device(device), kept_memory)) {
        const device_scope scope(device);
        blas_.device = solver_.device = parameters_.device = device;
        check_cublas(cublasCreate(&blas_.handle), "cublasCreate");
        check_cublas(cublasSetStream(blas_.handle, stream()), "cublasSetStream");
        check_cublas(cublasSetPointerMode(blas_.handle, CUBLAS_POINTER_MODE_HOST), "cublasSetPointerMode");
        // The default mode multiplies float in float and double in double. The TF32 mode would round the factors to 11
        // bits, and the pedantic one adds nothing but slower kernels.
        check_cublas(cublasSetMathMode(blas_.handle, CUBLAS_DEFAULT_MATH), "cublasSetMathMode");
        check_cusolver(cusolverDnCreate(&solver_.handle), "cusolverDnCreate");
        check_cusolver(cusolverDnSetStream(solver_.handle, stream()), "cusolverDnSetStream");
        check_cusolver(cusolverDnCreateParams(&parameters_.handle), "cusolverDnCreateParams");
    }

    int device() const { return home_->device(); }
    cudaStream_t stream() const { return home_->stream(); }
    cublasHandle_t blas() const { return blas_.handle; }
    cusolverDnHandle_t solver() const { return solver_.handle; }
    cusolverDnParams_t parameters() const { return parameters_.handle; }
    void synchronize() const { home_->synchronize(); }

    template <class T>
    device_buffer<T> allocate(std::size_t count) const {
        return device_buffer<T>(home_, count);
    }

    /// Waits until the elements have arrived.
    template <class T>
    void download(const T* source, T* host, std::size_t count) const {
        if (count > 0) {
            check_cuda(cudaMemcpyAsync(host, source, count * sizeof(T), cudaMemcpyDeviceToHost, stream()), "cudaMemcpyAsync");
            synchronize();
        }
    }

    /// Waits until the host memory is no longer needed.
    template <class T>
    void upload(const T* host, T* target, std::size_t count) const {
        if (count > 0) {
            check_cuda(cudaMemcpyAsync(target, host, count * sizeof(T), cudaMemcpyHostToDevice, stream()), "cudaMemcpyAsync");
            synchronize();
        }
    }

private:
    std::shared_ptr<const device_stream> home_;  // before the handles, which are destroyed while the stream still exists
    library_handle<cublasHandle_t, cublasDestroy> blas_;
    library_handle<cusolverDnHandle_t, cusolverDnDestroy> solver_;
    library_handle<cusolverDnParams_t, cusolverDnDestroyParams> parameters_;
};

}  // namespace moden::detail
