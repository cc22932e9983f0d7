#pragma once

// Freed memory of the CPU policy, kept for its next allocations: fresh memory costs a page fault and a page of zeros for
// every page, which is a fifth of the time of a chain of memory-bound steps.

#include <cstddef>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace moden::detail {

/// Several threads may use one pool.
class memory_pool {
public:
    /// \param limit  bytes to keep at most
    explicit memory_pool(std::size_t limit) : limit_(limit) {}
    memory_pool(const memory_pool&) = delete;
    memory_pool& operator=(const memory_pool&) = delete;
    ~memory_pool() {
        for (const auto& [bytes, block] : blocks_) {
            std::free(block);
        }
    }

    /// A kept block and its size: the smallest that has room, unless it is more than a quarter larger. Null if there is none.
    void* take(std::size_t bytes, std::size_t& capacity) {
        const std::lock_guard lock(mutex_);
        const auto found = blocks_.lower_bound(bytes);
        if (found == blocks_.end() || found->first > bytes + bytes / 4) {
            return nullptr;
        }
        void* const block = found->second;
        capacity = found->first;
        kept_ -= capacity;
        blocks_.erase(found);
        return block;
    }

    /// Keeps a block of std::aligned_alloc, or frees it if there is no room for it. The smallest blocks make room first.
    void give(void* block, std::size_t capacity) noexcept {
        const std::lock_guard lock(mutex_);
        while (kept_ + capacity > limit_ && !blocks_.empty() && blocks_.begin()->first < capacity) {
            kept_ -= blocks_.begin()->first;
            std::free(blocks_.begin()->second);
            blocks_.erase(blocks_.begin());
        }
        try {
            if (kept_ + capacity <= limit_) {
                blocks_.emplace(capacity, block);
                kept_ += capacity;
                return;
            }
        } catch (const std::bad_alloc&) {  // no room even for the note that it is kept
        }
        std::free(block);
    }

private:
    std::mutex mutex_;
    std::multimap<std::size_t, void*> blocks_;  // by size
    std::size_t limit_;
    std::size_t kept_ = 0;
};

}  // namespace moden::detail
