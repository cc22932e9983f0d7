#pragma once

// The primitive nearest_directions for policies that have no kernel of their own for it: a product and a loop, a block of rows at a time.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>

namespace moden::detail {

/// Where the largest number of a row of `count` is, the first of equal ones.
template <class T>
struct largest_of_row {
    const T* products;
    std::size_t count;
    std::uint32_t* labels;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const T* row = products + n * count;
        T most = row[0];
        std::uint32_t label = 0;
        for (std::size_t k = 1; k < count; ++k) {  // without branches, which nobody could predict
            const bool larger = row[k] > most;
            most = larger ? row[k] : most;
            label = larger ? static_cast<std::uint32_t>(k) : label;
        }
        labels[n] = label;
    }
};

template <class Policy, class T, class Space>
void nearest_by_products(const Policy& policy, matrix_view<const T, Space> rows, const T* centres, std::size_t clusters, std::uint32_t* labels) {
    constexpr std::size_t products_together = std::size_t{1} << 24;
    const std::size_t block = std::min(rows.rows, std::max<std::size_t>(products_together / clusters, 1024));
    const auto products = policy.template allocate<T>(block * clusters);
    for (std::size_t first = 0; first < rows.rows; first += block) {
        const std::size_t count = std::min(block, rows.rows - first);
        policy.template gemm<T>(T(1), rows_of(rows, first, count), transposed(row_major<const T, Space>(centres, clusters, rows.columns)), T(0),
                                row_major<T, Space>(products.data(), count, clusters));
        policy.transform(count, largest_of_row<T>{products.data(), clusters, labels + first}, clusters);
    }
}

}  // namespace moden::detail
