#pragma once

// How the CUDA policy calls cuSOLVER: workspaces on both sides, and the info that only arrives when the device is done.

#include <cuda_runtime.h>
#include <cusolverDn.h>

#include <cstddef>
#include <memory>

#include <moden/core/error.hpp>
#include <moden/policy/detail/cuda_context.hpp>

namespace moden::detail {

template <class T>
inline constexpr cudaDataType cuda_type = CUDA_R_32F;
template <>
inline constexpr cudaDataType cuda_type<double> = CUDA_R_64F;

/// What a routine of the 64-bit interface is given besides its matrices.
struct solver_workspace {
    void* device;
    std::size_t device_bytes;
    void* host;
    std::size_t host_bytes;
    int* info;
};

inline void check_solver_info(int info, const char* routine) {
    require<solver_error>(info == 0, routine, ": info is ", info,
                          info < 0 ? " (illegal argument)" : " (no convergence)");
}

/// Asks a routine for its workspaces, runs it and waits for its info, which is returned: 0 when all went well.
template <class Size, class Call>
int run_solver(const cuda_context& context, const char* routine, Size size, Call call) {
    const device_scope scope(context.device());
    std::size_t device_bytes = 0;
    std::size_t host_bytes = 0;
    check_cusolver(size(&device_bytes, &host_bytes), routine);
    const auto device_work = context.allocate<std::byte>(device_bytes);
    const auto info = context.allocate<int>(1);
    const std::unique_ptr<std::byte[]> host_work(new std::byte[host_bytes]);
    const cusolverStatus_t status =
        call(solver_workspace{device_work.data(), device_bytes, host_work.get(), host_bytes, info.data()});
    if (status != CUSOLVER_STATUS_SUCCESS) {
        (void)cudaStreamSynchronize(context.stream());  // what was queued before it failed may use the host's workspace
        check_cusolver(status, routine);
    }
    int found = 0;
    context.download(info.data(), &found, 1);
    return found;
}

}  // namespace moden::detail
