#pragma once

// Status codes of CUDA, cuBLAS and cuSOLVER as exceptions, and the current device as a scope.

#if !defined(__CUDACC__)
#error "moden's CUDA headers are CUDA C++: compile this file with nvcc, or include <moden/moden.hpp> for the CPU only"
#else

#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <moden/core/error.hpp>

namespace moden::detail {

inline void check_cuda(cudaError_t status, const char* call) {
    if (status != cudaSuccess) [[unlikely]] {
        // Otherwise the next launch, perhaps of somebody else's kernel, would report it again.
        (void)cudaGetLastError();
        throw device_error(message(call, ": ", cudaGetErrorName(status), " (", cudaGetErrorString(status), ")"));
    }
}

inline void check_cublas(cublasStatus_t status, const char* call) {
    if (status != CUBLAS_STATUS_SUCCESS) [[unlikely]] {
        throw device_error(message(call, ": ", cublasGetStatusName(status), " (", cublasGetStatusString(status), ")"));
    }
}

/// cuSOLVER has no function that names its status codes.
inline const char* cusolver_status_name(cusolverStatus_t status) {
    switch (status) {
        case CUSOLVER_STATUS_NOT_INITIALIZED: return "CUSOLVER_STATUS_NOT_INITIALIZED";
        case CUSOLVER_STATUS_ALLOC_FAILED: return "CUSOLVER_STATUS_ALLOC_FAILED";
        case CUSOLVER_STATUS_INVALID_VALUE: return "CUSOLVER_STATUS_INVALID_VALUE";
        case CUSOLVER_STATUS_ARCH_MISMATCH: return "CUSOLVER_STATUS_ARCH_MISMATCH";
        case CUSOLVER_STATUS_EXECUTION_FAILED: return "CUSOLVER_STATUS_EXECUTION_FAILED";
        case CUSOLVER_STATUS_INTERNAL_ERROR: return "CUSOLVER_STATUS_INTERNAL_ERROR";
        case CUSOLVER_STATUS_NOT_SUPPORTED: return "CUSOLVER_STATUS_NOT_SUPPORTED";
        default: return "an undocumented status";
    }
}

inline void check_cusolver(cusolverStatus_t status, const char* call) {
    if (status == CUSOLVER_STATUS_SUCCESS) [[likely]] {
        return;
    }
    const auto text = message(call, ": ", cusolver_status_name(status), " (", static_cast<int>(status), ")");
    if (status == CUSOLVER_STATUS_NOT_INITIALIZED || status == CUSOLVER_STATUS_ALLOC_FAILED ||
        status == CUSOLVER_STATUS_ARCH_MISMATCH) {
        throw device_error(text);
    }
    throw solver_error(text);
}

/// Makes a device current for one scope of the calling thread and puts the previous one back.
class device_scope {
public:
    explicit device_scope(int device) : device_(device) {
        check_cuda(cudaGetDevice(&before_), "cudaGetDevice");
        if (before_ != device_) {
            check_cuda(cudaSetDevice(device_), "cudaSetDevice");
        }
    }
    device_scope(const device_scope&) = delete;
    device_scope& operator=(const device_scope&) = delete;
    ~device_scope() {
        if (before_ != device_) {
            (void)cudaSetDevice(before_);  // a destructor cannot report; the next call on that device will
        }
    }

private:
    int device_;
    int before_ = 0;
};

}  // namespace moden::detail

#endif
