#pragma once

// Device memory that frees itself in the order of its stream.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/policy/detail/cuda_check.hpp>

namespace moden::detail {

/// A stream of a device and the memory that lives on it. Shared by a policy and everything allocated through it, so
/// that tensors may outlive their policy.
///
/// Memory comes from a pool of its own where the device has pools: then allocating and freeing wait for nothing, and
/// the settings of the device's default pool, which belong to the program, stay as they are.
class device_stream {
public:
    device_stream(int device, std::size_t kept_memory) : device_(device) {
        const device_scope scope(device);
        // A blocking stream: work that the program has queued on the default stream is finished before ours begins.
        check_cuda(cudaStreamCreate(&stream_), "cudaStreamCreate");
        try {
            int has_pools = 0;
            check_cuda(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, device),
                       "cudaDeviceGetAttribute");
            if (has_pools != 0) {
                create_pool(kept_memory);
            }
        } catch (...) {
            destroy();
            throw;
        }
    }
    device_stream(const device_stream&) = delete;
    device_stream& operator=(const device_stream&) = delete;
    ~device_stream() { destroy(); }

    int device() const { return device_; }
    cudaStream_t stream() const { return stream_; }

    void synchronize() const { check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

    /// Aligned to 256 bytes at least.
    void* allocate(std::size_t bytes) const {
        const device_scope scope(device_);
        void* memory = nullptr;
        cudaError_t status = request(&memory, bytes);
        if (status == cudaErrorMemoryAllocation && pool_ != nullptr) {  // what the pool keeps may be what is missing
            (void)cudaGetLastError();
            synchronize();
            check_cuda(cudaMemPoolTrimTo(pool_, 0), "cudaMemPoolTrimTo");
            status = request(&memory, bytes);
        }
        if (status == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError();
            throw device_error(message("allocate: the device has no room for ", bytes, " bytes"));
        }
        check_cuda(status, pool_ != nullptr ? "cudaMallocFromPoolAsync" : "cudaMalloc");
        return memory;
    }

    /// What is queued on the stream may still use the memory. Cannot fail in a way that anybody could act on: after an
    /// error of the device, or while the process ends, the driver has taken the memory back already.
    void free(void* memory) const noexcept {
        if (pool_ != nullptr) {
            (void)cudaFreeAsync(memory, stream_);
        } else {
            (void)cudaStreamSynchronize(stream_);
            (void)cudaFree(memory);
        }
    }

private:
    cudaError_t request(void** memory, std::size_t bytes) const {
        return pool_ != nullptr ? cudaMallocFromPoolAsync(memory, bytes, pool_, stream_) : cudaMalloc(memory, bytes);
    }

    void create_pool(std::size_t kept_memory) {
        cudaMemPoolProps properties{};
        properties.allocType = cudaMemAllocationTypePinned;
        properties.handleTypes = cudaMemHandleTypeNone;
        properties.location.type = cudaMemLocationTypeDevice;
        properties.location.id = device_;
        check_cuda(cudaMemPoolCreate(&pool_, &properties), "cudaMemPoolCreate");
        std::uint64_t threshold = kept_memory;
        check_cuda(cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &threshold),
                   "cudaMemPoolSetAttribute");
    }

    /// Both calls return at once; the driver lets go of pool and stream when what is queued on them has finished.
    void destroy() noexcept {
        if (pool_ != nullptr) {
            (void)cudaMemPoolDestroy(pool_);
        }
        (void)cudaStreamDestroy(stream_);
    }

    int device_;
    cudaStream_t stream_ = nullptr;
    cudaMemPool_t pool_ = nullptr;
};

/// Uninitialised, owning device memory.
template <class T>
class device_buffer {
    static_assert(std::is_trivially_copyable_v<T>, "moden: device memory holds trivially copyable types");

public:
    device_buffer() = default;
    device_buffer(std::shared_ptr<const device_stream> home, std::size_t count) : home_(std::move(home)) {
        require<device_error>(count <= std::numeric_limits<std::size_t>::max() / 2 / sizeof(T), "allocate: ", count,
                              " elements are more than a device can address");
        if (count > 0) {
            data_ = static_cast<T*>(home_->allocate(count * sizeof(T)));
            size_ = count;
        }
    }
    device_buffer(device_buffer&& other) noexcept
        : home_(std::move(other.home_)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    device_buffer& operator=(device_buffer&& other) noexcept {
        std::swap(home_, other.home_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~device_buffer() {
        if (data_ != nullptr) {
            home_->free(data_);
        }
    }

    T* data() const { return data_; }
    std::size_t size() const { return size_; }

    /// A copy on the same stream.
    device_buffer clone() const {
        device_buffer result;
        if (size_ > 0) {
            result = device_buffer(home_, size_);
            check_cuda(
                cudaMemcpyAsync(result.data_, data_, size_ * sizeof(T), cudaMemcpyDeviceToDevice, home_->stream()),
                "cudaMemcpyAsync");
        }
        return result;
    }

private:
    std::shared_ptr<const device_stream> home_;
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace moden::detail
