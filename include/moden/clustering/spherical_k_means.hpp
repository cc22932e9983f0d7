#pragma once

// k-means of directions: vectors are compared by their cosines.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/clustering/detail/spherical_steps.hpp>
#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of spherical_k_means.
struct spherical_k_means_options {
    std::size_t clusters = 0;          ///< K, 1 to N, required
    std::size_t starts = 1;            ///< the best of so many runs from different seeds is returned
    double tolerance = 1e-6;           ///< stop when an iteration lowers the inertia by no more than this times the inertia; 0: when nothing changes
    std::size_t max_iterations = 100;  ///< of every run
    /// Vectors that a run's first centres are sought among, drawn at random; at least K. N or more: all of them.
    std::size_t seeding_vectors = 32768;
    std::uint64_t seed = 0;
    iteration_callback progress = {};  ///< (iteration, inertia) -> keep going? Stops all runs
};

/// Clusters of directions.
template <class Matrix>
struct spherical_k_means_result {
    Matrix centres;                        ///< K x d, rows of length 1
    std::vector<std::size_t> labels = {};  ///< N, on the host: the nearest centre of each vector
    std::vector<std::size_t> sizes = {};   ///< K: vectors per cluster
    double inertia = 0;                    ///< sum of 1 - cosine between vectors and their centres
    std::vector<double> history = {};      ///< inertia after each iteration of the best run
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

namespace detail {

/// Refuses rows without a direction, and rows whose length has no inverse in T; inverse_row_length has been at work.
template <class Policy, class T>
void require_directions(const Policy& policy, const T* rows, std::size_t count, std::size_t size, const T* inverse_lengths, const std::string& what) {
    const auto refused = static_cast<std::size_t>(policy.reduce(count, 0.0, is_zero<T>{inverse_lengths}, plus{}));
    if (refused == 0) {
        return;
    }
    require_finite(policy, rows, count * size, "spherical_k_means", ("the list of " + what + "s").c_str());  // only now, which saves a pass
    const std::vector<T> inverses = to_vector<Policy, T>(policy, inverse_lengths, count);
    const auto n = static_cast<std::size_t>(std::find(inverses.begin(), inverses.end(), T(0)) - inverses.begin());
    const std::vector<T> row = to_vector<Policy, T>(policy, rows + n * size, size);
    std::ostringstream text;  // lengths may have hundreds of zeros
    text << what << ' ' << n << " has length " << row_length(row.data(), size) << " (expected " << 1 / static_cast<double>(std::numeric_limits<T>::max())
         << " to " << 1 / static_cast<double>(std::numeric_limits<T>::min()) << ')';
    require<argument_error>(false, "spherical_k_means: ", text.str(), "; ", refused, " of ", count, " cannot be used");
}

/// One run after the other over the same vectors.
template <class Policy, class T, class Space>
class spherical_clustering {
public:
    spherical_clustering(const Policy& policy, matrix_view<const T, Space> rows, std::size_t clusters)
        : policy_(policy), rows_(rows), clusters_(clusters), piece_(rows_per_piece(rows.rows, rows.columns, clusters)),
          inverse_lengths_(policy.template allocate<T>(rows.rows)),
          distances_(policy.template allocate<T>(rows.rows)), labels_(policy.template allocate<std::uint32_t>(rows.rows)),
          previous_labels_(policy.template allocate<std::uint32_t>(rows.rows)),
          centres_(policy.template allocate<T>(clusters * rows.columns)), totals_(policy.template allocate<double>(clusters * rows.columns)),
          sizes_(policy.template allocate<double>(clusters)) {
        policy.transform_rows(rows.rows, 1, inverse_row_length<T>{rows.data, rows.columns, inverse_lengths_.data()}, rows.columns);
        require_directions(policy, rows.data, rows.rows, rows.columns, inverse_lengths_.data(), "vector");
    }

    /// Centres of the caller's, K x d; brought to length 1.
    void start_from(const T* centres) {
        const auto inverse_lengths = policy_.template allocate<T>(clusters_);
        policy_.transform_rows(clusters_, 1, inverse_row_length<T>{centres, rows_.columns, inverse_lengths.data()}, rows_.columns);
        require_directions(policy_, centres, clusters_, rows_.columns, inverse_lengths.data(), "starting centre");
        std::vector<std::size_t> all(clusters_);
        std::iota(all.begin(), all.end(), std::size_t{0});
        const auto chosen = policy_.template allocate<std::size_t>(clusters_);
        policy_.upload(static_cast<const std::size_t*>(all.data()), chosen.data(), clusters_);
        policy_.transform_grid(clusters_, rows_.columns,
                               unit_rows_of<T>{centres, inverse_lengths.data(), chosen.data(), rows_.columns, centres_.data()});
        forget_labels();
    }

    /// Greedy k-means++: every centre is the best of a few vectors drawn with the probability of their distance from the nearest centre so far.
    void seed_centres(std::uint64_t seed, std::uint64_t stream) {
        const std::size_t n = rows_.rows, d = rows_.columns;
        const std::size_t candidates = 2 + static_cast<std::size_t>(std::log(static_cast<double>(clusters_)));
        std::vector<double> numbers(candidates * clusters_);
        fill_uniform(cpu_policy{}, numbers.data(), numbers.size(), seed, stream);
        const auto vectors = policy_.template allocate<T>(candidates * d), products = policy_.template allocate<T>(candidates * n);
        const auto chosen = policy_.template allocate<std::size_t>(candidates);
        policy_.transform(n, fill_with<T>{distances_.data(), T(2)});  // as far as it gets: the first one is drawn evenly
        for (std::size_t k = 0; k < clusters_; ++k) {
            const std::vector<std::size_t> drawn = draw(numbers.data() + k * candidates, candidates);  // two at least: GEMM, not GEMV
            policy_.upload(drawn.data(), chosen.data(), drawn.size());
            policy_.transform_grid(drawn.size(), d, unit_rows_of<T>{rows_.data, inverse_lengths_.data(), chosen.data(), d, vectors.data()});
            const std::size_t count = drawn.size();
            policy_.template gemm<T>(T(1), rows_, transposed(row_major<const T, Space>(vectors.data(), count, d)), T(0),
                                     row_major<T, Space>(products.data(), n, count));
            distance_to<T> best{products.data(), inverse_lengths_.data(), count, 0};
            double least = std::numeric_limits<double>::infinity();
            for (std::size_t c = 0; c < count; ++c) {
                const distance_to<T> candidate{products.data(), inverse_lengths_.data(), count, c};
                const double sum = policy_.reduce(n, 0.0, distance_with_candidate<T>{candidate, distances_.data()}, plus{});
                if (sum < least) {
                    least = sum;
                    best = candidate;
                }
            }
            policy_.transform(n, accept_candidate<T>{best, distances_.data()});
            policy_.copy(static_cast<const T*>(vectors.data() + best.c * d), centres_.data() + k * d, d);
        }
        forget_labels();
    }

    /// The same among `count` vectors that are drawn first.
    void seed_centres_from_sample(std::size_t count, std::uint64_t seed, std::uint64_t stream) {
        const std::size_t d = rows_.columns;
        std::vector<double> numbers(count);
        constexpr std::uint64_t apart_from_seeding = std::uint64_t{1} << 63;
        fill_uniform(cpu_policy{}, numbers.data(), count, seed, apart_from_seeding + stream);
        std::vector<std::size_t> drawn;
        for (const double x : numbers) {
            drawn.push_back(std::min(rows_.rows - 1, static_cast<std::size_t>(x * static_cast<double>(rows_.rows))));
        }
        const auto chosen = policy_.template allocate<std::size_t>(count);
        policy_.upload(static_cast<const std::size_t*>(drawn.data()), chosen.data(), count);
        const auto sample = policy_.template allocate<T>(count * d);
        policy_.transform_grid(count, d, unit_rows_of<T>{rows_.data, inverse_lengths_.data(), chosen.data(), d, sample.data()});
        spherical_clustering part(policy_, row_major<const T, Space>(sample.data(), count, d), clusters_);
        part.seed_centres(seed, stream);
        start_from(part.centres());
    }

    /// Assigns every vector to its nearest centre and brings the sums of the clusters up to date, for which only vectors that have changed
    /// their cluster are read. Returns the inertia.
    double assign() {
        const std::size_t n = rows_.rows, d = rows_.columns, pieces = (n + piece_ - 1) / piece_;
        if (!directions_) {
            directions_.emplace(policy_.template prepare_directions<T>(rows_, inverse_lengths_.data()));
        }
        std::swap(labels_, previous_labels_);
        policy_.template nearest_directions<T>(*directions_, centres_.data(), clusters_, labels_.data());
        const auto sums = policy_.template allocate<double>(pieces * clusters_ * d);
        const auto counts = policy_.template allocate<int>(pieces * clusters_);
        policy_.transform_rows(pieces, d, sum_changes_of_piece<T>{rows_.data, inverse_lengths_.data(), labels_.data(), previous_labels_.data(), n,
                                                                  piece_, d, clusters_, sums.data(), counts.data()});
        policy_.transform_rows(clusters_, d, add_pieces<double, double>{sums.data(), pieces, d, clusters_ * d, totals_.data()});
        policy_.transform_rows(1, clusters_, add_pieces<int, double>{counts.data(), pieces, clusters_, clusters_, sizes_.data()});
        const double cosines = policy_.reduce(clusters_ * d, 0.0, product_with_total<T>{centres_.data(), totals_.data()}, plus{});
        const double inertia = static_cast<double>(n) - cosines;
        return inertia < 0 ? 0.0 : inertia;  // NaN stays NaN
    }

    /// Moves every centre to the mean direction of its cluster; centres without a vector move to the vectors that are farthest from theirs.
    /// Returns how many of these there were.
    std::size_t update_centres() {
        std::vector<std::size_t> empty;
        const std::vector<std::size_t> sizes = cluster_sizes();
        for (std::size_t k = 0; k < clusters_; ++k) {
            if (sizes[k] == 0) {
                empty.push_back(k);
            }
        }
        if (!empty.empty()) {  // distances from the centres that the labels belong to
            policy_.transform_rows(rows_.rows, 1, distance_from_own<T>{rows_.data, inverse_lengths_.data(), centres_.data(), labels_.data(),
                                                                       rows_.columns, distances_.data()}, rows_.columns);
        }
        policy_.transform(clusters_, centre_from_total<T>{totals_.data(), rows_.columns, centres_.data()}, 2 * rows_.columns);
        if (empty.empty()) {
            return 0;
        }
        const std::vector<T> distances = to_vector<Policy, T>(policy_, distances_.data(), rows_.rows);
        std::vector<std::size_t> farthest(rows_.rows);
        std::iota(farthest.begin(), farthest.end(), std::size_t{0});
        std::partial_sort(farthest.begin(), farthest.begin() + static_cast<std::ptrdiff_t>(empty.size()), farthest.end(),
                          [&](std::size_t i, std::size_t j) { return distances[i] != distances[j] ? distances[i] > distances[j] : i < j; });
        const auto indices = policy_.template allocate<std::size_t>(2 * empty.size());
        policy_.upload(static_cast<const std::size_t*>(farthest.data()), indices.data(), empty.size());
        policy_.upload(static_cast<const std::size_t*>(empty.data()), indices.data() + empty.size(), empty.size());
        const unit_rows_of<T> source{rows_.data, inverse_lengths_.data(), indices.data(), rows_.columns, nullptr};
        policy_.transform_grid(empty.size(), rows_.columns, replace_centres<T>{source, indices.data() + empty.size(), centres_.data()});
        return empty.size();
    }

    bool has_empty_cluster() const {
        const std::vector<std::size_t> sizes = cluster_sizes();
        return std::find(sizes.begin(), sizes.end(), std::size_t{0}) != sizes.end();
    }

    std::vector<std::size_t> cluster_sizes() const {
        const std::vector<double> sizes = to_vector<Policy, double>(policy_, sizes_.data(), clusters_);
        return {sizes.begin(), sizes.end()};
    }

    std::vector<std::size_t> labels() const {
        const auto labels = to_vector<Policy, std::uint32_t>(policy_, labels_.data(), rows_.rows);
        return {labels.begin(), labels.end()};
    }

    const T* centres() const { return centres_.data(); }

private:
    using directions = decltype(std::declval<const Policy&>().template prepare_directions<T>(matrix_view<const T, Space>{}, nullptr));

    /// As many pieces as the CPU policy thinks worth a second thread; each has sums of its own, which are half of the vectors at most.
    static std::size_t rows_per_piece(std::size_t rows, std::size_t size, std::size_t clusters) {
        constexpr std::size_t elements = std::size_t{1} << 15, fewest_rows = 64;
        const std::size_t pieces = std::max<std::size_t>(elements / size + 1, 16);
        return std::max({(rows + pieces - 1) / pieces, fewest_rows, std::min(rows, 2 * clusters)});
    }

    void forget_labels() {
        policy_.transform(rows_.rows, fill_with<std::uint32_t>{labels_.data(), no_cluster});
        policy_.transform(clusters_ * rows_.columns, fill_with<double>{totals_.data(), 0.0});
        policy_.transform(clusters_, fill_with<double>{sizes_.data(), 0.0});
    }

    /// Rows with the probability of their distance, one per number in (0, 1): the piece first, then the row within it.
    std::vector<std::size_t> draw(const double* numbers, std::size_t count) const {
        constexpr std::size_t piece = 1024;
        const std::size_t n = rows_.rows, pieces = (n + piece - 1) / piece;
        const auto there = policy_.template allocate<double>(pieces);
        policy_.transform(pieces, sum_of_piece<T>{distances_.data(), n, piece, there.data()}, piece);
        const std::vector<double> sums = to_vector<Policy, double>(policy_, there.data(), pieces);
        const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
        std::vector<std::size_t> drawn;
        for (std::size_t c = 0; c < count; ++c) {
            if (!(total > 0)) {  // every vector is a centre already
                drawn.push_back(std::min(n - 1, static_cast<std::size_t>(numbers[c] * static_cast<double>(n))));
                continue;
            }
            double rest = numbers[c] * total;
            std::size_t p = 0;
            while (p + 1 < pieces && rest >= sums[p]) {
                rest -= sums[p++];
            }
            const std::vector<T> within = to_vector<Policy, T>(policy_, distances_.data() + p * piece, std::min(piece, n - p * piece));
            std::size_t i = 0;
            while (i + 1 < within.size() && rest >= static_cast<double>(within[i])) {
                rest -= static_cast<double>(within[i++]);
            }
            drawn.push_back(p * piece + i);
        }
        return drawn;
    }

    const Policy& policy_;
    matrix_view<const T, Space> rows_;
    std::size_t clusters_;
    std::size_t piece_;
    buffer_of<Policy, T> inverse_lengths_, distances_;
    buffer_of<Policy, std::uint32_t> labels_, previous_labels_;
    buffer_of<Policy, T> centres_;
    buffer_of<Policy, double> totals_, sizes_;
    std::optional<directions> directions_;
};

inline void check_k_means_options(const spherical_k_means_options& options, std::size_t rows) {
    constexpr std::size_t most = std::numeric_limits<std::uint32_t>::max();
    require<argument_error>(options.clusters >= 1 && options.clusters <= rows && options.clusters <= most, "spherical_k_means: ", options.clusters,
                            " clusters of ", rows, " vectors (expected 1 to ", std::min(rows, most), ")");
    require<argument_error>(options.starts >= 1 && options.max_iterations >= 1, "spherical_k_means: ", options.starts, " starts of at most ",
                            options.max_iterations, " iterations (expected at least 1 of each)");
    require<argument_error>(options.tolerance >= 0, "spherical_k_means: tolerance ", options.tolerance, " (expected at least 0)");
}

/// Iterates from the centres that are there until it converges; keeps the result if it is the best so far. Returns whether the callback
/// has stopped it.
template <class Policy, class T, class Space, class Matrix>
bool run_spherical_k_means(const Policy& policy, spherical_clustering<Policy, T, Space>& clustering, const spherical_k_means_options& options,
                           spherical_k_means_result<Matrix>& best) {
    std::vector<double> history;
    iteration_status status = iteration_status::reached_max_iterations;
    std::size_t moved = 0;  // empty clusters that were given a vector before this iteration
    bool stopped = false;
    while (true) {
        const double before = history.empty() ? std::numeric_limits<double>::infinity() : history.back();
        history.push_back(clustering.assign());
        require<solver_error>(std::isfinite(history.back()), "spherical_k_means: inertia ", history.back(), " in iteration ", history.size());
        stopped = options.progress && !options.progress(history.size(), history.back());
        // With an empty cluster there is something left to gain, unless a vector of its own has just not helped.
        if (before - history.back() <= options.tolerance * history.back() && (moved > 0 || !clustering.has_empty_cluster())) {
            status = iteration_status::converged;
            break;
        }
        if (stopped) {
            status = iteration_status::stopped_by_callback;
            break;
        }
        if (history.size() == options.max_iterations) {
            break;
        }
        moved = clustering.update_centres();
    }
    if (history.back() < best.inertia) {
        best.inertia = history.back();
        best.iterations = history.size();
        best.history = std::move(history);
        best.status = status;
        best.labels = clustering.labels();
        best.sizes = clustering.cluster_sizes();
        policy.copy(clustering.centres(), best.centres.data(), best.centres.size());
    }
    return stopped;
}

/// Checks the vectors and hands their clustering to `run`, with room for a result that is worse than any.
template <class Policy, class Vectors, class Run>
auto with_vectors(const Policy& policy, const Vectors& vectors, const spherical_k_means_options& options, Run run) {
    using T = value_type_of<Vectors>;
    using space = typename Policy::memory_space;
    const auto argument = evaluate(policy, vectors);
    const auto rows = as_matrix(argument.view(), "spherical_k_means", "the list of vectors");
    require<shape_error>(rows.rows > 0 && rows.columns > 0, "spherical_k_means: vectors of ", argument.view().shape, " (expected N x d)");
    check_k_means_options(options, rows.rows);
    spherical_clustering<Policy, T, space> clustering(policy, rows, options.clusters);
    spherical_k_means_result<policy_tensor<Policy, T, 2>> best{policy.template make_tensor<T, 2>({options.clusters, rows.columns})};
    best.inertia = std::numeric_limits<double>::infinity();
    run(clustering, rows, best);
    return best;
}

}  // namespace detail

/// Spherical k-means: centres c_k of length 1 that minimise sum_n (1 - cos(x_n, c_label(n))), a local minimum.
///
/// Lengths of the vectors have no influence, and no normalised copy is made. Seeding is greedy k-means++ with 2 + log(K) candidates
/// per centre, among a sample of the vectors. A centre that loses all its vectors moves to the vector farthest from its own centre; only if there are
/// fewer than K different directions, clusters stay empty (their size says so). Sums of clusters are formed in an order that does not depend on threads;
/// from the same centres, labels and inertia are the same for every number of them. So are the centres that a seed draws, as far as the policy's GEMM gives
/// the same digits on every number of threads, which BLAS does not promise. Equally near centres: the first one.
///
/// \param policy  where to compute
/// \param vectors x, N x d, finite, of any length whose inverse is a normal number of their type: 3e-39 to 8e37 in float, 6e-309 to 4e307 in double
/// \param options clusters, starts, stopping, seed
/// \return        centres, labels (the nearest of these centres), sizes, inertia and its history, iterations, status
/// \throws shape_error if the vectors are no matrix or there is none; argument_error for clusters out of range, vectors of length 0 or another
///         without such an inverse, NaN or infinity,
///         other options out of range
///
/// Cost per iteration: 2 N d K flops of products, 2 d additions for every vector that changes its cluster, and a pass to write and one to read partial sums,
/// N d / 2 doubles or max(32768, 16 d) K if that is less; seeding passes over its M vectors K times, with 2 + log(K) products each. On the CPU the products
/// are those of a copy in 16-bit integers; vectors whose nearest centres are too close for these are multiplied in T, so that labels are those of
/// products in T. Memory: that copy (N d), 4 N numbers and labels, the sample (M d), M (2 + log(K)) products, and the partial sums.
/// Source: Dhillon & Modha 2001; Arthur & Vassilvitskii 2007; 004 section 3.1.
/// \snippet tests/clustering/spherical_k_means.cpp spherical_k_means
template <execution_policy Policy, any_tensor Vectors>
auto spherical_k_means(const Policy& policy, const Vectors& vectors, const spherical_k_means_options& options) {
    return detail::with_vectors(policy, vectors, options, [&](auto& clustering, const auto& rows, auto& best) {
        bool stopped = false;
        for (std::size_t start = 0; start < options.starts && !stopped; ++start) {
            const std::size_t sample = std::max(options.seeding_vectors, options.clusters);
            if (sample < rows.rows) {
                clustering.seed_centres_from_sample(sample, options.seed, start);
            } else {
                clustering.seed_centres(options.seed, start);
            }
            stopped = detail::run_spherical_k_means(policy, clustering, options, best);
        }
    });
}

template <any_tensor Vectors>
auto spherical_k_means(const Vectors& vectors, const spherical_k_means_options& options) {
    return spherical_k_means(cpu_policy{}, vectors, options);
}

/// The same from given centres, K x d, of any length: goes on where another call has stopped, or from one's own guess. options.clusters must be
/// K or 0 and options.starts 1; seeds are not used.
/// \throws shape_error if the centres are no matrix or of another size than the vectors; argument_error for centres of such lengths, NaN or infinity,
///         beside what the other overload throws
/// \snippet tests/clustering/spherical_k_means.cpp spherical_k_means_from_centres
template <execution_policy Policy, any_tensor Vectors, any_tensor Centres>
auto spherical_k_means(const Policy& policy, const Vectors& vectors, const Centres& centres, spherical_k_means_options options) {
    static_assert(std::is_same_v<value_type_of<Vectors>, value_type_of<Centres>>, "moden: spherical_k_means of vectors and centres of different type");
    const auto argument = detail::evaluate(policy, centres);
    const auto start = detail::as_matrix(argument.view(), "spherical_k_means", "the starting centres");
    detail::require<argument_error>(options.clusters == 0 || options.clusters == start.rows, "spherical_k_means: ", options.clusters, " clusters with ",
                                    start.rows, " starting centres");
    detail::require<argument_error>(options.starts == 1, "spherical_k_means: ", options.starts, " starts from given centres (expected 1)");
    options.clusters = start.rows;
    return detail::with_vectors(policy, vectors, options, [&](auto& clustering, const auto& rows, auto& best) {
        detail::require<shape_error>(start.columns == rows.columns, "spherical_k_means: starting centres of ", start.columns,
                                     " entries for vectors of ", rows.columns);
        detail::require_finite(policy, start.data, start.rows * start.columns, "spherical_k_means", "the starting centres");
        clustering.start_from(start.data);
        detail::run_spherical_k_means(policy, clustering, options, best);
    });
}

template <any_tensor Vectors, any_tensor Centres>
auto spherical_k_means(const Vectors& vectors, const Centres& centres, const spherical_k_means_options& options = {}) {
    return spherical_k_means(cpu_policy{}, vectors, centres, options);
}

}  // namespace moden
