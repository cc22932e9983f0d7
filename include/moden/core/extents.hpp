#pragma once

// Shapes: the extents of a tensor and the arithmetic on them that must not overflow.

#include <cstddef>
#include <limits>
#include <vector>

#include <moden/core/error.hpp>

namespace moden {

/// Extents of a tensor, slowest mode first. An empty list is a scalar.
using extents = std::vector<std::size_t>;

/// Product of the extents.
/// \throws shape_error if it does not fit into std::size_t
inline std::size_t element_count(const extents& shape) {
    std::size_t count = 1;
    for (const std::size_t extent : shape) {
        detail::require<shape_error>(extent == 0 || count <= std::numeric_limits<std::size_t>::max() / extent,
                                     "element_count: the extents ", shape, " multiply to more than a size can hold");
        count *= extent;
    }
    return count;
}

}  // namespace moden
