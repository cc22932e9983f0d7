#pragma once

// Host memory and loops of the CPU policy.

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include <moden/policy/detail/memory_pool.hpp>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace moden::detail {

/// Asks the kernel to back a large, still untouched allocation with huge pages.
///
/// A fresh result of a hundred megabytes otherwise costs tens of thousands of page faults, more time than a memory-bound
/// product takes. NumPy does the same for its arrays. Only a hint: failure changes nothing.
inline void advise_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t page = 4096;
    constexpr std::size_t worthwhile = std::size_t{4} << 20;
    if (bytes >= worthwhile) {
        const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
        const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / page * page;
        ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
    }
#endif
}

/// Uninitialised, aligned, owning host memory, from a pool if one is given.
template <class T>
class host_buffer {
public:
    host_buffer() = default;
    explicit host_buffer(std::size_t count, std::shared_ptr<memory_pool> pool = nullptr) : size_(count) {
        if (count == 0) {
            return;
        }
        if (count > static_cast<std::size_t>(-1) / sizeof(T) / 2) {
            throw std::bad_alloc();
        }
        capacity_ = (count * sizeof(T) + alignment - 1) / alignment * alignment;
        if (pool != nullptr && capacity_ >= smallest_pooled) {
            pool_ = std::move(pool);
            data_ = static_cast<T*>(pool_->take(capacity_, capacity_));
            if (data_ != nullptr) {
                return;
            }
        }
        data_ = static_cast<T*>(std::aligned_alloc(alignment, capacity_));
        if (data_ == nullptr) {
            throw std::bad_alloc();
        }
        advise_huge_pages(data_, capacity_);
    }
    host_buffer(host_buffer&& other) noexcept { swap(other); }
    host_buffer& operator=(host_buffer&& other) noexcept {
        swap(other);
        return *this;
    }
    ~host_buffer() {
        if (pool_ != nullptr && data_ != nullptr) {
            pool_->give(data_, capacity_);
        } else {
            std::free(data_);
        }
    }

    T* data() const { return data_; }
    std::size_t size() const { return size_; }

private:
    static constexpr std::size_t alignment = 64;
    static constexpr std::size_t smallest_pooled = std::size_t{64} << 10;  // smaller ones the C library keeps

    void swap(host_buffer& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(capacity_, other.capacity_);
        std::swap(pool_, other.pool_);
    }

    T* data_ = nullptr;
    std::size_t size_ = 0;
    std::size_t capacity_ = 0;  // in bytes
    std::shared_ptr<memory_pool> pool_;
};

/// Sets the number of OpenMP threads, which OpenBLAS's OpenMP build follows, for one scope of the calling thread.
class thread_scope {
public:
    explicit thread_scope(std::size_t threads) : before_(omp_get_max_threads()) {
        if (static_cast<int>(threads) != before_) {
            omp_set_num_threads(static_cast<int>(threads));
        }
    }
    thread_scope(const thread_scope&) = delete;
    thread_scope& operator=(const thread_scope&) = delete;
    ~thread_scope() {
        if (omp_get_max_threads() != before_) {
            omp_set_num_threads(before_);
        }
    }

private:
    int before_;
};

/// Threads that a parallel region opened here would have: one inside another parallel region.
inline std::size_t available_threads() {
    return omp_in_parallel() ? 1 : static_cast<std::size_t>(omp_get_max_threads());
}

/// function(i) for every i in [0, count), each by one of `threads` threads.
///
/// With one thread there is no parallel region, so that calls inside may open theirs. Inside a region, even one of a single thread that
/// OpenMP's `if` clause makes, theirs would be nested, and for nested regions libgomp starts and ends threads every time: milliseconds.
template <class Function>
void divide_among(std::size_t threads, std::size_t count, Function function) {
    if (threads <= 1) {
        for (std::size_t i = 0; i < count; ++i) {
            function(i);
        }
        return;
    }
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(threads))
    for (std::size_t i = 0; i < count; ++i) {
        function(i);
    }
}

/// Below this many elements a loop is not worth a second thread.
inline constexpr std::size_t block_size = 16384;

/// function(first, last) on consecutive ranges that together cover [0, count). Each index costs `work` elements.
template <class Function>
void parallel_blocks(std::size_t count, std::size_t work, Function function) {
    if (count <= block_size / std::max<std::size_t>(work, 1) || available_threads() == 1) {
        if (count > 0) {
            function(std::size_t{0}, count);
        }
        return;
    }
#pragma omp parallel
    {
        const auto threads = static_cast<std::size_t>(omp_get_num_threads());
        const auto thread = static_cast<std::size_t>(omp_get_thread_num());
        const std::size_t first = count / threads * thread + std::min(thread, count % threads);
        const std::size_t last = first + count / threads + (thread < count % threads ? 1 : 0);
        if (first < last) {
            function(first, last);
        }
    }
}

/// Adds up function(first, last) over blocks of fixed size, block by block and then pairwise: the order of operations, and
/// with it the last digit, depends on count alone, and rounding errors grow with the logarithm of the number of blocks.
template <class Result, class Combine, class Function>
Result combine_blocks(std::size_t count, Result initial, Combine combine, Function function) {
    const std::size_t blocks = (count + block_size - 1) / block_size;
    std::vector<Result> partial(std::max<std::size_t>(blocks, 1), initial);
#pragma omp parallel for schedule(static) if (blocks > 1 && available_threads() > 1)
    for (std::size_t block = 0; block < blocks; ++block) {
        partial[block] = function(block * block_size, std::min(count, (block + 1) * block_size));
    }
    for (std::size_t width = 1; width < blocks; width *= 2) {
        for (std::size_t block = 0; block + width < blocks; block += 2 * width) {
            partial[block] = combine(partial[block], partial[block + width]);
        }
    }
    return partial[0];
}

/// combine over i of map(i), for any map.
template <class Result, class Map, class Combine>
Result blocked_reduce(std::size_t count, Result initial, Map map, Combine combine) {
    return combine_blocks(count, initial, combine, [&](std::size_t first, std::size_t last) {
        // Several running results break the chain of dependent operations and let the compiler use its registers.
        constexpr std::size_t lanes = 16;
        Result running[lanes];
        std::fill(running, running + lanes, initial);
        std::size_t i = first;
        for (; i + lanes <= last; i += lanes) {
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                running[lane] = combine(running[lane], map(i + lane));
            }
        }
        for (; i < last; ++i) {
            running[0] = combine(running[0], map(i));
        }
        for (std::size_t width = lanes / 2; width > 0; width /= 2) {
            for (std::size_t lane = 0; lane < width; ++lane) {
                running[lane] = combine(running[lane], running[lane + width]);
            }
        }
        return running[0];
    });
}

}  // namespace moden::detail
