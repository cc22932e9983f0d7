#pragma once

// The cost formulas of the documentation, computed the slow way.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include <moden/core/extents.hpp>

#include "counting_policy.hpp"

namespace moden_test {

inline double size_of(const moden::extents& shape) {
    double product = 1;
    for (const std::size_t extent : shape) {
        product *= static_cast<double>(extent);
    }
    return product;
}

/// Bytes that were copied or permuted inside the policy's memory.
inline double moved_bytes(const ledger& books) {
    return books[primitive::copy].bytes + books[primitive::copy_matrix].bytes + books[primitive::permute].bytes;
}

inline double loop_elements(const ledger& books) {
    return books[primitive::transform].elements + books[primitive::transform_grid].elements +
           books[primitive::transform_rows].elements;
}

inline moden::extents all_modes(std::size_t order) {
    moden::extents modes(order);
    std::iota(modes.begin(), modes.end(), std::size_t{0});
    return modes;
}

/// The fewest flops that multiplying `modes` takes, mode modes[i] going from its extent to rows[i]: tries every order.
inline double cheapest_flops(const moden::extents& shape, const moden::extents& modes, const moden::extents& rows) {
    moden::extents order = all_modes(modes.size());
    double best = std::numeric_limits<double>::infinity();
    do {
        moden::extents current = shape;
        double flops = 0;
        for (const std::size_t i : order) {
            flops += 2 * static_cast<double>(rows[i]) * size_of(current);
            current[modes[i]] = rows[i];
        }
        best = std::min(best, flops);
    } while (std::next_permutation(order.begin(), order.end()));
    return best;
}

}  // namespace moden_test
