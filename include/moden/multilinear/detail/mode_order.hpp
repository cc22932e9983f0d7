#pragma once

// In which order the sequentially truncated HOSVD should treat the modes.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>
#include <moden/multilinear/options.hpp>

namespace moden::detail {

/// The order with the fewest operations when the ranks are known: a shortest path over subsets of treated modes, since
/// what is left of the tensor depends on which modes have been treated and not on their order.
inline std::vector<std::size_t> cheapest_mode_order(const extents& shape, const extents& ranks) {
    const std::size_t order = shape.size();
    const std::size_t subsets = std::size_t{1} << order;
    constexpr double pass = 16;          // reading or writing an element costs about as much as this many flops
    constexpr double eigenvectors = 40;  // flops per cubed extent, weighted for their low rate
    std::vector<double> cost(subsets, std::numeric_limits<double>::infinity());
    std::vector<std::size_t> last(subsets, 0);
    cost[0] = 0;
    for (std::size_t treated = 0; treated < subsets; ++treated) {
        double elements = 1;
        for (std::size_t n = 0; n < order; ++n) {
            elements *= static_cast<double>((treated >> n & 1) != 0 ? ranks[n] : shape[n]);
        }
        for (std::size_t n = 0; n < order; ++n) {
            if ((treated >> n & 1) != 0) {
                continue;
            }
            const double extent = static_cast<double>(shape[n]);
            const double rank = static_cast<double>(ranks[n]);
            const double smaller = std::min(extent, elements / extent);
            const double step = elements * (smaller + 2 * rank + pass) + elements / extent * rank * pass +
                                eigenvectors * smaller * smaller * smaller;
            const std::size_t next = treated | std::size_t{1} << n;
            if (cost[treated] + step < cost[next]) {
                cost[next] = cost[treated] + step;
                last[next] = n;
            }
        }
    }
    std::vector<std::size_t> result;
    for (std::size_t treated = subsets - 1; treated != 0; treated &= ~(std::size_t{1} << last[treated])) {
        result.push_back(last[treated]);
    }
    std::reverse(result.begin(), result.end());
    return result;
}

inline std::vector<std::size_t> st_hosvd_mode_order(const extents& shape, const hosvd_options& options) {
    if (!options.mode_order.empty()) {
        std::vector<std::size_t> sorted = options.mode_order;
        std::sort(sorted.begin(), sorted.end());
        bool is_permutation = sorted.size() == shape.size();
        for (std::size_t n = 0; n < sorted.size() && is_permutation; ++n) {
            is_permutation = sorted[n] == n;
        }
        require<argument_error>(is_permutation, "st_hosvd: mode_order is not a permutation of the ", shape.size(), " modes");
        return options.mode_order;
    }
    constexpr std::size_t largest_search = 12;
    if (!options.ranks.empty() && shape.size() <= largest_search) {
        return cheapest_mode_order(shape, options.ranks);
    }
    // Nothing is known about the ranks: small modes first, which are cheap to treat.
    std::vector<std::size_t> result(shape.size());
    std::iota(result.begin(), result.end(), std::size_t{0});
    std::stable_sort(result.begin(), result.end(), [&](std::size_t a, std::size_t b) { return shape[a] < shape[b]; });
    return result;
}

}  // namespace moden::detail
