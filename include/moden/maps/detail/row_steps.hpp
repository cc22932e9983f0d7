#pragma once

// Loop bodies that maps share.

#include <cstddef>

#include <moden/core/macros.hpp>

namespace moden::detail {

/// Every row of the result is the same one.
template <class T>
struct start_rows_from {
    const T* row;
    T* result;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t first, std::size_t last) const {
        for (std::size_t i = first; i < last; ++i) {
            result[n * columns + i] = row[i];
        }
    }
};

}  // namespace moden::detail
