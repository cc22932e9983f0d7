// Spherical k-means on every policy: planted clusters, optimality, empty clusters, repeatability, refusals.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <type_traits>
#include <vector>

#include <moden/clustering/spherical_k_means.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

/// Vectors of any length about `clusters` of the axes; vector n belongs to n % clusters.
array planted_vectors(std::size_t count, std::size_t size, std::size_t clusters, double noise, std::uint64_t seed) {
    array result = scaled(random_matrix(count, size, seed), noise);
    number_source next(seed + 1);
    for (std::size_t n = 0; n < count; ++n) {
        result(n, n % clusters) += 1;
        const double length = 3 + 2.5 * next();
        for (std::size_t i = 0; i < size; ++i) {
            result(n, i) *= length;
        }
    }
    return result;
}

double cosine(const array& a, std::size_t i, const array& b, std::size_t j) {
    double product = 0, left = 0, right = 0;
    for (std::size_t k = 0; k < a.columns(); ++k) {
        product += a(i, k) * b(j, k);
        left += a(i, k) * a(i, k);
        right += b(j, k) * b(j, k);
    }
    return product / std::sqrt(left * right);
}

/// Labels, sizes, inertia and centres belong together, and centres are the mean directions of their clusters.
template <class Policy, class Result>
void check_result(const Policy& policy, const array& vectors, const Result& result, double eps, bool converged) {
    const array centres = to_array(policy, result.centres);
    std::vector<std::size_t> sizes(centres.rows());
    array means({centres.rows(), centres.columns()});
    double inertia = 0;
    for (std::size_t n = 0; n < vectors.rows(); ++n) {
        const std::size_t label = result.labels[n];
        REQUIRE(label < centres.rows());
        ++sizes[label];
        const double own = cosine(vectors, n, centres, label);
        inertia += 1 - own;
        double length = 0;
        for (std::size_t i = 0; i < vectors.columns(); ++i) {
            length += vectors(n, i) * vectors(n, i);
        }
        for (std::size_t i = 0; i < vectors.columns(); ++i) {
            means(label, i) += vectors(n, i) / std::sqrt(length);
        }
        for (std::size_t k = 0; k < centres.rows(); ++k) {
            CHECK(cosine(vectors, n, centres, k) <= own + 20 * eps);
        }
    }
    CHECK(result.sizes == sizes);
    CHECK(std::abs(result.inertia - inertia) <= 20 * eps * static_cast<double>(vectors.rows()));
    CHECK(result.history.size() == result.iterations);
    CHECK(result.history.back() == result.inertia);
    for (std::size_t i = 1; i < result.history.size(); ++i) {
        CHECK(result.history[i] <= result.history[i - 1] + 20 * eps * static_cast<double>(vectors.rows()));
    }
    for (std::size_t k = 0; k < centres.rows(); ++k) {
        CHECK(std::abs(cosine(centres, k, centres, k) - 1) <= 10 * eps);
        if (converged && sizes[k] > 0) {
            CHECK(cosine(means, k, centres, k) >= 1 - 100 * eps);
        }
    }
}

}  // namespace

TEST_CASE_TEMPLATE("spherical k-means finds planted clusters", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    // More rows than a block takes (8192), and not a multiple of anything.
    const std::size_t count = 9001;
    const auto host = to_tensor<T, 2>(planted_vectors(count, 12, 5, 0.1, 1));
    const auto vectors = to_policy(policy, host);
    //! [spherical_k_means]
    const auto found = moden::spherical_k_means(policy, vectors, {.clusters = 5, .starts = 2, .tolerance = 0, .seed = 3});
    // found.labels[n]: cluster of vector n; found.centres: 5 x d, of length 1
    //! [spherical_k_means]
    CHECK(found.status == moden::iteration_status::converged);
    check_result(policy, to_array(host), found, Cell::eps, true);
    std::set<std::size_t> used;
    for (std::size_t n = 0; n < count; ++n) {
        CHECK(found.labels[n] == found.labels[n % 5]);
        used.insert(found.labels[n]);
    }
    CHECK(used.size() == 5);
    // Seeds from a sample, or from all vectors.
    for (const std::size_t seeding : {100u, 9001u}) {
        const auto again = moden::spherical_k_means(policy, vectors, {.clusters = 5, .starts = 3, .tolerance = 0, .seeding_vectors = seeding});
        CHECK(again.inertia == doctest::Approx(found.inertia).epsilon(1000 * Cell::eps));
    }
}

TEST_CASE_TEMPLATE("spherical k-means of data without clusters", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(random_matrix(500, 7, 4));
    const auto vectors = to_policy(policy, host);
    for (const std::size_t clusters : {1u, 2u, 17u}) {
        const auto found = moden::spherical_k_means(policy, vectors, {.clusters = clusters, .tolerance = 0, .max_iterations = 300});
        CHECK(found.status == moden::iteration_status::converged);
        check_result(policy, to_array(host), found, Cell::eps, true);
    }
    // More starts are never worse, since the first one is among them.
    const moden::spherical_k_means_options once{.clusters = 17, .tolerance = 0};
    moden::spherical_k_means_options often = once;
    often.starts = 5;
    CHECK(moden::spherical_k_means(policy, vectors, often).inertia <= moden::spherical_k_means(policy, vectors, once).inertia);
    const auto early = moden::spherical_k_means(policy, vectors, {.clusters = 17, .tolerance = 0, .max_iterations = 2});
    CHECK(early.status == moden::iteration_status::reached_max_iterations);
    CHECK(early.iterations == 2);
    check_result(policy, to_array(host), early, Cell::eps, false);
    std::size_t calls = 0;
    const auto stopped = moden::spherical_k_means(policy, vectors, {.clusters = 17, .starts = 4, .tolerance = 0, .progress = [&](std::size_t, double) { return ++calls < 3; }});
    CHECK(calls == 3);
    CHECK(stopped.status == moden::iteration_status::stopped_by_callback);
    check_result(policy, to_array(host), stopped, Cell::eps, false);
}

TEST_CASE_TEMPLATE("a cluster that loses its vectors gets the farthest one", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    using space = typename Policy::memory_space;
    const Policy policy{};
    const array values = planted_vectors(30, 4, 3, 0.05, 6);
    const auto vectors = to_policy(policy, to_tensor<T, 2>(values));
    const auto rows = moden::row_major<const T, space>(vectors.data(), 30, 4);
    moden::detail::spherical_clustering<Policy, T, space> clustering(policy, rows, 3);
    // Two centres at the same place: the second one gets nothing, ties being the first one's.
    std::vector<T> centres(12, T(0));
    centres[0] = centres[4] = T(1);
    centres[9] = T(1);
    clustering.start_from(placed<Policy, T>(policy, centres).data());
    const double before = clustering.assign();
    CHECK(clustering.has_empty_cluster());
    CHECK(clustering.cluster_sizes()[1] == 0);
    CHECK(clustering.update_centres() == 1);
    const double after = clustering.assign();
    CHECK(after < 0.5 * before);
    CHECK(!clustering.has_empty_cluster());

    // Fewer directions than clusters: some stay empty, and the iteration ends.
    const auto few = to_policy(policy, to_tensor<T, 2>(planted_vectors(12, 4, 2, 0, 7)));
    const auto found = moden::spherical_k_means(policy, few, {.clusters = 4, .tolerance = 0});
    CHECK(found.status == moden::iteration_status::converged);
    CHECK(found.inertia <= 12 * 4 * Cell::eps);
    CHECK(std::accumulate(found.sizes.begin(), found.sizes.end(), std::size_t{0}) == 12);
    // As many clusters as vectors: each its own.
    const auto all = moden::spherical_k_means(policy, to_policy(policy, to_tensor<T, 2>(random_matrix(6, 4, 8))), {.clusters = 6, .tolerance = 0});
    CHECK(all.sizes == std::vector<std::size_t>(6, 1));
}

TEST_CASE_TEMPLATE("spherical k-means goes on from given centres", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto host = to_tensor<T, 2>(random_matrix(700, 9, 12));
    const auto vectors = to_policy(policy, host);
    const auto whole = moden::spherical_k_means(policy, vectors, {.clusters = 6, .tolerance = 0, .max_iterations = 8});
    const auto first = moden::spherical_k_means(policy, vectors, {.clusters = 6, .tolerance = 0, .max_iterations = 4});
    //! [spherical_k_means_from_centres]
    const auto rest = moden::spherical_k_means(policy, vectors, first.centres, {.tolerance = 0, .max_iterations = 5});
    //! [spherical_k_means_from_centres]
    // Its first assignment is the last one of `first`.
    REQUIRE(whole.iterations == 8);
    CHECK(rest.iterations == 5);
    CHECK(rest.labels == whole.labels);
    for (std::size_t i = 0; i < rest.iterations; ++i) {
        CHECK(rest.history[i] == doctest::Approx(whole.history[i + 3]).epsilon(100 * Cell::eps));
    }
    check_result(policy, to_array(host), rest, Cell::eps, false);
    // The lengths of the centres have no influence.
    const array longer = scaled(to_array(policy, first.centres), 3);
    const auto again = moden::spherical_k_means(policy, vectors, to_policy(policy, to_tensor<T, 2>(longer)), {.clusters = 6, .tolerance = 0, .max_iterations = 5});
    CHECK(again.labels == rest.labels);

    const auto start = [&](const array& centres, const moden::spherical_k_means_options& options) {
        return moden::spherical_k_means(policy, vectors, to_policy(policy, to_tensor<T, 2>(centres)), options);
    };
    CHECK_THROWS_WITH_AS(start(longer, {.clusters = 5}), doctest::Contains("5 clusters with 6 starting centres"), moden::argument_error);
    CHECK_THROWS_WITH_AS(start(longer, {.starts = 2}), doctest::Contains("2 starts from given centres"), moden::argument_error);
    CHECK_THROWS_WITH_AS(start(random_matrix(6, 8, 1), {}), doctest::Contains("8 entries for vectors of 9"), moden::shape_error);
    CHECK_THROWS_AS(start(array({0, 9}), {}), moden::argument_error);
    array bad = longer;
    for (std::size_t i = 0; i < 9; ++i) {
        bad(2, i) = 0;
    }
    CHECK_THROWS_WITH_AS(start(bad, {}), doctest::Contains("starting centre 2 has length 0"), moden::argument_error);
    bad(2, 1) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(start(bad, {}), doctest::Contains("the starting centres"), moden::argument_error);
}

TEST_CASE_TEMPLATE("spherical k-means makes the steps of a plain loop", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const std::size_t count = 600, size = 24, clusters = 9, iterations = 7;
    for (const double noise : {0.4, 3.0}) {  // clusters that are there, and hardly any
        const auto host = to_tensor<T, 2>(planted_vectors(count, size, 6, noise, 31));
        const array vectors = to_array(host);
        array centres({clusters, size});
        for (std::size_t k = 0; k < clusters; ++k) {
            for (std::size_t i = 0; i < size; ++i) {
                centres(k, i) = vectors(7 * k, i);
            }
        }
        const auto found = moden::spherical_k_means(policy, to_policy(policy, host), to_policy(policy, to_tensor<T, 2>(centres)),
                                                    {.tolerance = 0, .max_iterations = iterations});
        std::vector<std::size_t> labels(count);
        double inertia = 0;
        for (std::size_t step = 0; step < found.iterations; ++step) {
            array sums({clusters, size});
            inertia = 0;
            for (std::size_t n = 0; n < count; ++n) {
                for (std::size_t k = 0; k < clusters; ++k) {
                    labels[n] = k == 0 || cosine(vectors, n, centres, k) > cosine(vectors, n, centres, labels[n]) ? k : labels[n];
                }
                inertia += 1 - cosine(vectors, n, centres, labels[n]);
                double square = 0;
                for (std::size_t i = 0; i < size; ++i) {
                    square += vectors(n, i) * vectors(n, i);
                }
                for (std::size_t i = 0; i < size; ++i) {
                    sums(labels[n], i) += vectors(n, i) / std::sqrt(square);
                }
            }
            CHECK(std::abs(found.history[step] - inertia) <= 20 * Cell::eps * static_cast<double>(count));
            centres = step + 1 < found.iterations ? sums : centres;
        }
        CHECK(found.labels == labels);
    }
}

TEST_CASE_TEMPLATE("the same seed, the same clusters", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(random_matrix(20000, 16, 9));
    const auto vectors = to_policy(policy, host);
    const moden::spherical_k_means_options options{.clusters = 11, .tolerance = 0, .max_iterations = 10, .seed = 5};
    const auto one = moden::spherical_k_means(policy, vectors, options), other = moden::spherical_k_means(policy, vectors, options);
    CHECK(one.labels == other.labels);
    CHECK(one.history == other.history);
    if constexpr (std::is_same_v<typename Cell::policy, moden::cpu_policy>) {
        for (const std::size_t threads : {1u, 2u, 3u, 8u}) {
            const auto found = moden::spherical_k_means(moden::cpu_policy({.threads = threads}), host, options);
            CHECK(found.labels == one.labels);
            CHECK(found.history == one.history);
            CHECK(to_array(found.centres).data == to_array(one.centres).data);
        }
    }
}

TEST_CASE_TEMPLATE("spherical k-means refuses what has no clusters", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    array values = random_matrix(5, 3, 1);
    const auto cluster = [&](const array& rows, const moden::spherical_k_means_options& options) {
        return moden::spherical_k_means(policy, to_policy(policy, to_tensor<T, 2>(rows)), options);
    };
    CHECK_THROWS_WITH_AS(cluster(values, {}), doctest::Contains("0 clusters of 5 vectors (expected 1 to 5)"), moden::argument_error);
    CHECK_THROWS_WITH_AS(cluster(values, {.clusters = 6}), doctest::Contains("6 clusters of 5 vectors"), moden::argument_error);
    CHECK_THROWS_AS(cluster(values, {.clusters = 2, .starts = 0}), moden::argument_error);
    CHECK_THROWS_AS(cluster(values, {.clusters = 2, .tolerance = -1}), moden::argument_error);
    CHECK_THROWS_AS(cluster(values, {.clusters = 2, .max_iterations = 0}), moden::argument_error);
    CHECK_THROWS_AS(cluster(array({0, 3}), {.clusters = 1}), moden::shape_error);
    CHECK_THROWS_AS(moden::spherical_k_means(policy, to_policy(policy, random_tensor<T, 3>({2, 2, 2}, 1)), {.clusters = 1}), moden::shape_error);
    values(2, 0) = values(2, 1) = values(2, 2) = 0;
    CHECK_THROWS_WITH_AS(cluster(values, {.clusters = 2}), doctest::Contains("vector 2 has length 0 (expected "), moden::argument_error);
    values(2, 1) = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(cluster(values, {.clusters = 2}), doctest::Contains("NaN or infinite"), moden::argument_error);
}

TEST_CASE_TEMPLATE("lengths of the vectors have no influence, up to what their type can invert", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    constexpr bool single = std::is_same_v<T, float>;
    // Powers of two lose no digit, unless squares do.
    const array vectors = planted_vectors(60, 7, 3, 0.2, 41);
    const auto cluster = [&](const array& rows) { return moden::spherical_k_means(policy, to_policy(policy, to_tensor<T, 2>(rows)), {.clusters = 3, .seed = 2}); };
    const auto expected = cluster(vectors);
    array lengths = vectors;
    for (std::size_t n = 0; n < 60; ++n) {
        const int far = single ? 115 : 1000;
        const double factor = std::ldexp(1.0, n % 3 == 0 ? far : n % 3 == 1 ? -far : 0);
        for (std::size_t i = 0; i < 7; ++i) {
            lengths(n, i) = static_cast<double>(static_cast<T>(vectors(n, i))) * factor;
        }
    }
    const auto found = cluster(lengths);
    CHECK(found.labels == expected.labels);
    CHECK(found.inertia == doctest::Approx(expected.inertia).epsilon(100 * Cell::eps));
    const auto whole = to_array(policy, found.centres), same = to_array(policy, expected.centres);
    for (std::size_t k = 0; k < 3; ++k) {
        CHECK(std::abs(cosine(whole, k, same, k) - 1) <= 20 * Cell::eps);
    }

    for (const double length : {single ? 1e-40 : 1e-310, single ? 3e38 : 1.7e308}) {
        array bad = vectors;
        for (std::size_t i = 0; i < 7; ++i) {
            bad(4, i) = i == 2 ? length : 0;
        }
        CHECK_THROWS_WITH_AS(cluster(bad), doctest::Contains("vector 4 has length "), moden::argument_error);
        const auto from = [&](const array& centres) {
            return moden::spherical_k_means(policy, to_policy(policy, to_tensor<T, 2>(vectors)), to_policy(policy, to_tensor<T, 2>(centres)), {});
        };
        CHECK_THROWS_WITH_AS(from(bad), doctest::Contains("starting centre 4 has length "), moden::argument_error);
    }
}
