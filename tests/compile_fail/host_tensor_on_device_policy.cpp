// A host tensor is not taken by a policy that computes on a device; nothing is sent there behind the user's back.
// expected-error: a host tensor was given to a policy that computes on a device \(use to_device first\)
#include <moden/multilinear/products.hpp>

/// A policy with what `norm` needs, in one memory space or the other.
struct some_policy {
#ifdef MODEN_CONTROL
    using memory_space = moden::host_memory;
#else
    using memory_space = moden::device_memory;
#endif
    template <class Result, class Map, class Combine>
    Result reduce(std::size_t count, Result initial, Map map, Combine combine) const {
        for (std::size_t i = 0; i < count; ++i) {
            initial = combine(initial, map(i));
        }
        return initial;
    }
};

template <>
inline constexpr bool moden::enable_execution_policy<some_policy> = true;

float mistake(const some_policy& policy, const moden::tensor<float, 3>& tensor) { return moden::norm(policy, tensor); }
