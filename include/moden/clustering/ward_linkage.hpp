#pragma once

// Agglomerative clustering by Ward's criterion: linkage, cuts and the order of leaves. Host only, since one merge waits for the
// other; cosine_distance.hpp has the distances on every policy.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Two clusters that become one. Clusters 0 to n - 1 are the samples; n + i is what merge i makes.
struct cluster_merge {
    std::size_t first = 0;   ///< the smaller of the two numbers
    std::size_t second = 0;
    double height = 0;       ///< distance of the two
    std::size_t size = 0;    ///< samples in the new cluster
};

/// The tree of clusters: n - 1 merges in ascending height, numbered as scipy.cluster.hierarchy.linkage numbers them.
struct cluster_tree {
    std::size_t samples = 0;                ///< n
    std::vector<cluster_merge> merges = {};
};

namespace detail {

/// Where the squared distance of i and j, i != j, lies among the n (n - 1) / 2 of the upper triangle.
inline std::size_t condensed_index(std::size_t n, std::size_t i, std::size_t j) {
    const std::size_t low = std::min(i, j), high = std::max(i, j);
    return n * low - low * (low + 1) / 2 + (high - low - 1);
}

/// Room for the condensed distances of n samples.
inline std::vector<double> condensed_distances(std::size_t n, const char* function) {
    require<shape_error>(n >= 1, function, ": no samples (expected at least 1)");
    return std::vector<double>(element_count({n, n}) / 2 - n / 2);  // n (n - 1) / 2 in whole numbers, whether n is even or odd
}

/// Squared Euclidean distances of row i from all later rows, from the differences themselves.
template <class T>
struct squared_distances_from_row {
    const T* rows;
    std::size_t count;
    std::size_t size;
    double* distances;
    void operator()(std::size_t i) const {
        for (std::size_t j = i + 1; j < count; ++j) {
            constexpr std::size_t lanes = 8;  // independent sums, which fill wide registers
            double sums[lanes] = {};
            std::size_t k = 0;
            for (; k + lanes <= size; k += lanes) {
                for (std::size_t lane = 0; lane < lanes; ++lane) {
                    const double x = static_cast<double>(rows[i * size + k + lane]) - static_cast<double>(rows[j * size + k + lane]);
                    sums[lane] += x * x;
                }
            }
            for (; k < size; ++k) {
                const double x = static_cast<double>(rows[i * size + k]) - static_cast<double>(rows[j * size + k]);
                sums[0] += x * x;
            }
            distances[condensed_index(count, i, j)] = std::accumulate(sums, sums + lanes, 0.0);
        }
    }
};

/// Merges as the nearest-neighbour chain finds them: each cluster goes by its member that was the last to be absorbed into.
struct chain_merge {
    std::size_t first;
    std::size_t second;
    double squared_height;
};

/// Follows nearest neighbours until two are each other's, which can be merged at once: Ward distances are reducible, so no
/// later merge brings anything closer to them. `distances` (squared, condensed) is destroyed.
inline std::vector<chain_merge> nearest_neighbour_chain(std::size_t n, std::vector<double>& distances) {
    std::vector<std::size_t> sizes(n, 1), chain, active(n);  // `active`: representatives of the clusters, ascending
    std::iota(active.begin(), active.end(), std::size_t{0});
    std::vector<chain_merge> merges;
    while (active.size() > 1) {
        if (chain.empty()) {
            chain.push_back(active.front());
        }
        while (true) {
            const std::size_t tip = chain.back();
            // The one before wins ties: otherwise the chain could go round in circles.
            std::size_t nearest = chain.size() > 1 ? chain[chain.size() - 2] : n;
            double least = chain.size() > 1 ? distances[condensed_index(n, tip, nearest)] : std::numeric_limits<double>::infinity();
            for (const std::size_t other : active) {
                if (other != tip) {
                    const double distance = distances[condensed_index(n, tip, other)];
                    if (distance < least || nearest == n) {
                        least = distance;
                        nearest = other;
                    }
                }
            }
            if (chain.size() > 1 && nearest == chain[chain.size() - 2]) {
                break;
            }
            chain.push_back(nearest);
        }
        const std::size_t a = std::min(chain.back(), chain[chain.size() - 2]);
        const std::size_t b = std::max(chain.back(), chain[chain.size() - 2]);
        chain.resize(chain.size() - 2);
        const double height = distances[condensed_index(n, a, b)];
        merges.push_back({a, b, height});
        // b stands for both from now on. Lance & Williams 1967 with Ward's coefficients, on squared distances.
        const double size_a = static_cast<double>(sizes[a]), size_b = static_cast<double>(sizes[b]);
        active.erase(std::lower_bound(active.begin(), active.end(), a));
        for (const std::size_t other : active) {
            if (other != b) {
                const double size = static_cast<double>(sizes[other]);
                double& to_b = distances[condensed_index(n, other, b)];
                const double sum = (size + size_a) * distances[condensed_index(n, other, a)] + (size + size_b) * to_b - size * height;
                to_b = std::max(0.0, sum / (size + size_a + size_b));
            }
        }
        sizes[b] += sizes[a];
    }
    return merges;
}

/// The cluster that a sample is in while merges are carried out one after the other.
class merged_clusters {
public:
    explicit merged_clusters(std::size_t n) : parent_(2 * n) { std::iota(parent_.begin(), parent_.end(), std::size_t{0}); }

    std::size_t find(std::size_t i) {
        while (parent_[i] != i) {
            parent_[i] = parent_[parent_[i]];
            i = parent_[i];
        }
        return i;
    }

    void merge(std::size_t a, std::size_t b, std::size_t into) { parent_[find(a)] = parent_[find(b)] = into; }

private:
    std::vector<std::size_t> parent_;
};

inline cluster_tree ward_tree(std::size_t n, std::vector<double>& distances) {
    std::vector<chain_merge> found = nearest_neighbour_chain(n, distances);
    std::stable_sort(found.begin(), found.end(), [](const chain_merge& x, const chain_merge& y) { return x.squared_height < y.squared_height; });
    cluster_tree tree{n};
    merged_clusters clusters(n);
    const auto size_of = [&](std::size_t cluster) { return cluster < n ? 1 : tree.merges[cluster - n].size; };
    for (const chain_merge& merge : found) {
        const std::size_t a = clusters.find(merge.first), b = clusters.find(merge.second);
        clusters.merge(a, b, n + tree.merges.size());
        tree.merges.push_back({std::min(a, b), std::max(a, b), std::sqrt(merge.squared_height), size_of(a) + size_of(b)});
    }
    return tree;
}

/// Clusters after the first `count` merges, numbered in the order of their first samples.
inline std::vector<std::size_t> labels_after(const cluster_tree& tree, std::size_t count) {
    merged_clusters clusters(tree.samples);
    for (std::size_t i = 0; i < count; ++i) {
        clusters.merge(tree.merges[i].first, tree.merges[i].second, tree.samples + i);
    }
    const std::size_t none = 2 * tree.samples;
    std::vector<std::size_t> number(2 * tree.samples, none), labels;
    std::size_t next = 0;
    for (std::size_t i = 0; i < tree.samples; ++i) {
        std::size_t& label = number[clusters.find(i)];
        label = label == none ? next++ : label;
        labels.push_back(label);
    }
    return labels;
}

inline void check_tree(const cluster_tree& tree, const char* function) {
    require<argument_error>(tree.samples >= 1 && tree.merges.size() + 1 == tree.samples, function, ": a tree of ", tree.samples, " samples and ",
                            tree.merges.size(), " merges (expected one merge less than samples)");
    for (std::size_t i = 0; i < tree.merges.size(); ++i) {
        const cluster_merge& merge = tree.merges[i];
        require<argument_error>(merge.first < merge.second && merge.second < tree.samples + i, function, ": merge ", i, " of clusters ", merge.first,
                                " and ", merge.second, " (expected two that exist before it)");
    }
}

}  // namespace detail

/// Ward linkage of vectors: always the two clusters are merged whose union adds least to the sum of squared distances from the
/// clusters' means. Height of a merge: sqrt(2 |A| |B| / (|A| + |B|)) |mean(A) - mean(B)|, for two samples their distance.
///
/// \param vectors n x d on the host, n >= 1, finite
/// \return        the n - 1 merges, ascending in height
/// \throws shape_error if the vectors are no matrix or there is none; argument_error for NaN or infinity
///
/// Cost: 3/2 n^2 d flops for the distances, in double and on all cores, and O(n^2) for the chain; memory for n (n - 1) / 2 doubles.
/// Source: Ward 1963; Murtagh 1983 (chain); Lance & Williams 1967; 000 section 4.4.
/// \snippet tests/clustering/ward_linkage.cpp ward_linkage
template <any_tensor Vectors>
cluster_tree ward_linkage(const Vectors& vectors) {
    using T = value_type_of<Vectors>;
    const cpu_policy policy;
    const auto argument = detail::evaluate(policy, vectors);
    const auto rows = detail::as_matrix(argument.view(), "ward_linkage", "the list of vectors");
    std::vector<double> distances = detail::condensed_distances(rows.rows, "ward_linkage");
    detail::require_finite(policy, rows.data, rows.rows * rows.columns, "ward_linkage", "the list of vectors");
    policy.transform(rows.rows, detail::squared_distances_from_row<T>{rows.data, rows.rows, rows.columns, distances.data()}, rows.rows * rows.columns);
    return detail::ward_tree(rows.rows, distances);
}

/// Ward linkage of given distances, for example absolute_cosine_distance. Only for Euclidean distances are heights what the other
/// function says; for others Lance & Williams' recurrence defines them.
///
/// \param distances n x n on the host: symmetric, at least 0, with a diagonal of 0, each up to rounding
/// \return          the n - 1 merges, ascending in height
/// \throws shape_error if the matrix is not square or is empty; argument_error for a negative distance, a matrix that is not symmetric or
///         whose diagonal is not 0, NaN or infinity, naming the entry
///
/// Cost: O(n^2); memory for n (n - 1) / 2 doubles.
/// Source: 000 section 4.4 and Fig. 6.
/// \snippet tests/clustering/ward_linkage.cpp ward_linkage_of_distances
template <any_tensor Distances>
cluster_tree ward_linkage_of_distances(const Distances& distances) {
    using T = value_type_of<Distances>;
    constexpr const char* name = "ward_linkage_of_distances";
    const cpu_policy policy;
    const auto argument = detail::evaluate(policy, distances);
    const auto matrix = detail::as_matrix(argument.view(), name, "the distances");
    const std::size_t n = matrix.rows;
    detail::require<shape_error>(n == matrix.columns, name, ": distances of ", n, " x ", matrix.columns, " (expected a square matrix)");
    std::vector<double> squares = detail::condensed_distances(n, name);
    detail::require_finite(policy, matrix.data, n * n, name, "the matrix of distances");
    const double largest = policy.reduce(n * n, 0.0, detail::magnitude_of<T>{matrix.data}, detail::maximum{});
    // A library that computes both halves, or 1 - |cosine| of a vector with itself, rounds some dozen times.
    const double rounding = 64 * static_cast<double>(std::numeric_limits<T>::epsilon()) * largest;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i; j < n; ++j) {
            const double upper = static_cast<double>(matrix.data[i * n + j]), lower = static_cast<double>(matrix.data[j * n + i]);
            detail::require<argument_error>(std::abs(upper - lower) <= rounding, name, ": distances ", upper, " at (", i, ", ", j, ") and ", lower,
                                            " at (", j, ", ", i, ") (expected a symmetric matrix)");
            detail::require<argument_error>(upper >= -rounding, name, ": distance ", upper, " at (", i, ", ", j, ") (expected at least 0)");
            detail::require<argument_error>(i != j || upper <= rounding, name, ": distance ", upper, " at (", i, ", ", j, ") (expected 0 on the diagonal)");
            if (i != j) {
                const double distance = std::max(0.0, (upper + lower) / 2);
                squares[detail::condensed_index(n, i, j)] = distance * distance;
            }
        }
    }
    return detail::ward_tree(n, squares);
}

/// The clusters when so many are left.
///
/// \param tree     of n samples
/// \param clusters 1 to n
/// \return         n labels from 0, numbered in the order of the clusters' first samples
/// \throws argument_error for a number of clusters out of range, or a tree that is none
///
/// Cost: O(n).
/// \snippet tests/clustering/ward_linkage.cpp ward_linkage
inline std::vector<std::size_t> cut_into_clusters(const cluster_tree& tree, std::size_t clusters) {
    detail::check_tree(tree, "cut_into_clusters");
    detail::require<argument_error>(clusters >= 1 && clusters <= tree.samples, "cut_into_clusters: ", clusters, " clusters of ", tree.samples,
                                    " samples (expected 1 to ", tree.samples, ")");
    return detail::labels_after(tree, tree.samples - clusters);
}

/// The clusters that merges up to a height make.
///
/// \param tree   of n samples, merges in ascending height
/// \param height merges above it are left out; at least 0
/// \return       n labels from 0, numbered in the order of the clusters' first samples
/// \throws argument_error for a negative height or NaN, or a tree that is none
///
/// Cost: O(n).
/// \snippet tests/clustering/ward_linkage.cpp ward_linkage
inline std::vector<std::size_t> cut_at_height(const cluster_tree& tree, double height) {
    detail::check_tree(tree, "cut_at_height");
    detail::require<argument_error>(height >= 0, "cut_at_height: height ", height, " (expected at least 0)");
    const auto above = std::find_if(tree.merges.begin(), tree.merges.end(), [&](const cluster_merge& merge) { return merge.height > height; });
    return detail::labels_after(tree, static_cast<std::size_t>(above - tree.merges.begin()));
}

/// The samples in an order in which every cluster is a contiguous piece, as a dendrogram places its leaves: `first` before
/// `second` at every merge.
///
/// \param tree of n samples
/// \return     a permutation of 0 to n - 1
/// \throws argument_error for a tree that is none
///
/// Cost: O(n).
/// \snippet tests/clustering/ward_linkage.cpp leaf_order
inline std::vector<std::size_t> leaf_order(const cluster_tree& tree) {
    detail::check_tree(tree, "leaf_order");
    std::vector<std::size_t> order, pending{tree.samples + tree.merges.size() - 1};  // of one sample: the sample itself
    while (!pending.empty()) {
        const std::size_t cluster = pending.back();
        pending.pop_back();
        if (cluster < tree.samples) {
            order.push_back(cluster);
        } else {
            pending.push_back(tree.merges[cluster - tree.samples].second);
            pending.push_back(tree.merges[cluster - tree.samples].first);
        }
    }
    return order;
}

}  // namespace moden
