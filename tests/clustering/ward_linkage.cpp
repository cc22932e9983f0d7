// Ward linkage against its definition, by all pairs of clusters in every step; cuts, leaves, distances between directions.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include <moden/clustering/cosine_distance.hpp>
#include <moden/clustering/ward_linkage.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

using members = std::set<std::size_t>;

struct reference_merge {
    members joined;
    double height;
};

/// What merging two clusters adds to the sum of squared distances from the means, by the means.
double ward_height(const array& rows, const members& a, const members& b) {
    double square = 0;
    for (std::size_t k = 0; k < rows.columns(); ++k) {
        double mean_a = 0, mean_b = 0;
        for (const std::size_t i : a) {
            mean_a += rows(i, k) / static_cast<double>(a.size());
        }
        for (const std::size_t i : b) {
            mean_b += rows(i, k) / static_cast<double>(b.size());
        }
        square += (mean_a - mean_b) * (mean_a - mean_b);
    }
    const double size_a = static_cast<double>(a.size()), size_b = static_cast<double>(b.size());
    return std::sqrt(2 * size_a * size_b / (size_a + size_b) * square);
}

std::vector<reference_merge> ward_by_definition(const array& rows) {
    std::vector<members> clusters;
    for (std::size_t i = 0; i < rows.rows(); ++i) {
        clusters.push_back({i});
    }
    std::vector<reference_merge> merges;
    while (clusters.size() > 1) {
        std::size_t a = 0, b = 1;
        double least = std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < clusters.size(); ++i) {
            for (std::size_t j = i + 1; j < clusters.size(); ++j) {
                const double height = ward_height(rows, clusters[i], clusters[j]);
                if (height < least) {
                    least = height, a = i, b = j;
                }
            }
        }
        clusters[a].insert(clusters[b].begin(), clusters[b].end());
        merges.push_back({clusters[a], least});
        clusters.erase(clusters.begin() + static_cast<std::ptrdiff_t>(b));
    }
    return merges;
}

/// The samples of every cluster that a merge makes, by the numbers in the tree.
std::vector<members> members_of(const moden::cluster_tree& tree) {
    std::vector<members> all;
    for (std::size_t i = 0; i < tree.samples; ++i) {
        all.push_back({i});
    }
    for (const auto& merge : tree.merges) {
        members joined = all.at(merge.first);
        joined.insert(all.at(merge.second).begin(), all.at(merge.second).end());
        CHECK(merge.first < merge.second);
        CHECK(joined.size() == merge.size);
        all.push_back(joined);
    }
    return {all.begin() + static_cast<std::ptrdiff_t>(tree.samples), all.end()};
}

template <class T>
moden::tensor<T, 2> euclidean_distances(const array& rows) {
    array result({rows.rows(), rows.rows()});
    for (std::size_t i = 0; i < rows.rows(); ++i) {
        for (std::size_t j = 0; j < rows.rows(); ++j) {
            result(i, j) = i == j ? 0 : ward_height(rows, {i}, {j});
        }
    }
    return to_tensor<T, 2>(result);
}

}  // namespace

TEST_CASE_TEMPLATE("Ward linkage is what its definition says", T, float, double) {
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (const std::size_t n : {2u, 3u, 7u, 40u}) {
        const auto vectors = to_tensor<T, 2>(random_matrix(n, 11, n));
        const array rows = to_array(vectors);
        const auto expected = ward_by_definition(rows);
        for (const auto& tree : {moden::ward_linkage(vectors), moden::ward_linkage_of_distances(euclidean_distances<T>(rows))}) {
            REQUIRE(tree.samples == n);
            REQUIRE(tree.merges.size() == n - 1);
            const auto joined = members_of(tree);
            for (std::size_t i = 0; i + 1 < n; ++i) {
                CHECK(tree.merges[i].height == doctest::Approx(expected[i].height).epsilon(100 * eps));
                CHECK(joined[i] == expected[i].joined);
                CHECK((i == 0 || tree.merges[i].height >= tree.merges[i - 1].height));
            }
        }
    }
}

TEST_CASE("heights and numbers as SciPy gives them, ties included") {
    // scipy.cluster.hierarchy.linkage([[0, 0], [0, 1], [4, 0], [4, 1], [9, 0]], 'ward') of SciPy 1.17.1
    const moden::tensor<double, 2> points{{0, 0}, {0, 1}, {4, 0}, {4, 1}, {9, 0}};
    //! [ward_linkage]
    const auto tree = moden::ward_linkage(points);                // n x d
    const auto three = moden::cut_into_clusters(tree, 3);         // labels of 3 clusters
    const auto below = moden::cut_at_height(tree, 2.5);           // as many as there are below a height
    //! [ward_linkage]
    REQUIRE(tree.merges.size() == 4);
    const std::size_t pairs[4][2] = {{0, 1}, {2, 3}, {5, 6}, {4, 7}};
    const double heights[4] = {1, 1, std::sqrt(32.0), std::sqrt(2 * 4.0 / 5 * (49 + 0.25))};
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(tree.merges[i].first == pairs[i][0]);
        CHECK(tree.merges[i].second == pairs[i][1]);
        CHECK(tree.merges[i].height == doctest::Approx(heights[i]).epsilon(1e-14));
    }
    CHECK(three == std::vector<std::size_t>{0, 0, 1, 1, 2});
    CHECK(below == three);
    CHECK(moden::cut_at_height(tree, 1) == three);  // a merge at the height itself is below it
    CHECK(moden::cut_at_height(tree, 0.5) == std::vector<std::size_t>{0, 1, 2, 3, 4});
    CHECK(moden::cut_into_clusters(tree, 1) == std::vector<std::size_t>{0, 0, 0, 0, 0});
    CHECK(moden::cut_into_clusters(tree, 5) == std::vector<std::size_t>{0, 1, 2, 3, 4});
    //! [leaf_order]
    const auto leaves = moden::leaf_order(tree);  // left to right under a dendrogram
    //! [leaf_order]
    CHECK(leaves == std::vector<std::size_t>{4, 0, 1, 2, 3});
}

TEST_CASE("ties, points that coincide, and very few of them") {
    // A square: all four sides are equally long. Whatever is merged first, heights are 1, 1 and sqrt(2).
    const auto square = moden::ward_linkage(moden::tensor<double, 2>{{0, 0}, {1, 0}, {1, 1}, {0, 1}});
    CHECK(square.merges[0].height == 1);
    CHECK(square.merges[1].height == 1);
    CHECK(square.merges[2].height == doctest::Approx(std::sqrt(2.0)));
    CHECK(square.merges[2].size == 4);
    const auto same = moden::ward_linkage(moden::tensor<float, 2>{{2, 3}, {2, 3}, {2, 3}, {2, 3}, {2, 3}});
    CHECK(same.merges.size() == 4);
    CHECK(same.merges.back().height == 0);
    CHECK(moden::cut_at_height(same, 0) == std::vector<std::size_t>(5, 0));
    const auto one = moden::ward_linkage(moden::tensor<double, 2>{{1, 2, 3}});
    CHECK(one.samples == 1);
    CHECK(one.merges.empty());
    CHECK(moden::cut_into_clusters(one, 1) == std::vector<std::size_t>{0});
    CHECK(moden::leaf_order(one) == std::vector<std::size_t>{0});
    CHECK(moden::ward_linkage_of_distances(moden::tensor<double, 2>{{0}}).merges.empty());
    const auto two = moden::ward_linkage(moden::tensor<double, 2>{{0, 0}, {3, 4}});
    CHECK(two.merges.front().height == 5);
}

TEST_CASE_TEMPLATE("distances between directions, and their linkage", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    // Two groups about the first and the second axis, of either sign and any length.
    array vectors = scaled(random_matrix(9, 6, 5), 0.1);
    for (std::size_t i = 0; i < 9; ++i) {
        vectors(i, i % 2) += i % 3 == 0 ? -2.0 : 1.0;
    }
    const auto directions = to_policy(policy, to_tensor<T, 2>(vectors));
    const array distances = to_array(policy, moden::absolute_cosine_distance(policy, directions));
    for (std::size_t i = 0; i < 9; ++i) {
        for (std::size_t j = 0; j < 9; ++j) {
            double product = 0, a = 0, b = 0;
            for (std::size_t k = 0; k < 6; ++k) {
                product += vectors(i, k) * vectors(j, k);
                a += vectors(i, k) * vectors(i, k);
                b += vectors(j, k) * vectors(j, k);
            }
            CHECK(std::abs(distances(i, j) - (i == j ? 0 : 1 - std::abs(product) / std::sqrt(a * b))) <= 20 * Cell::eps);
            CHECK(distances(i, j) == distances(j, i));
        }
    }
    const auto on_host = to_tensor<T, 2>(distances);
    //! [ward_linkage_of_distances]
    const auto tree = moden::ward_linkage_of_distances(on_host);  // from absolute_cosine_distance, on the host
    //! [ward_linkage_of_distances]
    const auto labels = moden::cut_into_clusters(tree, 2);
    for (std::size_t i = 0; i < 9; ++i) {
        CHECK(labels[i] == i % 2);
    }
    for (std::size_t k = 0; k < 6; ++k) {
        vectors(4, k) = 0;
    }
    CHECK_THROWS_WITH_AS(moden::absolute_cosine_distance(policy, to_policy(policy, to_tensor<T, 2>(vectors))), doctest::Contains("1 vectors have length 0"),
                         moden::argument_error);
    vectors(4, 0) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(moden::absolute_cosine_distance(policy, to_policy(policy, to_tensor<T, 2>(vectors))), moden::argument_error);
    CHECK_THROWS_AS(moden::absolute_cosine_distance(policy, to_policy(policy, random_tensor<T, 3>({2, 2, 2}, 1))), moden::shape_error);
}

TEST_CASE("Ward linkage refuses what has no tree") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    using matrix = moden::tensor<double, 2>;
    CHECK_THROWS_WITH_AS(moden::ward_linkage(matrix{{1, nan}, {0, 0}}), doctest::Contains("1 values that are NaN"), moden::argument_error);
    CHECK_THROWS_AS(moden::ward_linkage(to_tensor<double, 2>(array({0, 3}))), moden::shape_error);
    CHECK_THROWS_AS(moden::ward_linkage(random_tensor<double, 3>({2, 2, 2}, 1)), moden::shape_error);
    const auto linkage = [](const matrix& distances) { return moden::ward_linkage_of_distances(distances); };
    CHECK_THROWS_WITH_AS(linkage({{0, 1}, {2, 0}}), doctest::Contains("expected a symmetric matrix"), moden::argument_error);
    CHECK_THROWS_WITH_AS(linkage({{0, -1}, {-1, 0}}), doctest::Contains("at (0, 1) (expected at least 0)"), moden::argument_error);
    CHECK_THROWS_WITH_AS(linkage({{0, 1}, {1, 0.5}}), doctest::Contains("expected 0 on the diagonal"), moden::argument_error);
    CHECK_THROWS_AS(linkage({{0, nan}, {nan, 0}}), moden::argument_error);
    CHECK_THROWS_AS(linkage({{0, 1, 2}, {1, 0, 2}}), moden::shape_error);
    const auto tree = moden::ward_linkage(matrix{{0}, {1}, {3}});
    CHECK_THROWS_WITH_AS(moden::cut_into_clusters(tree, 0), doctest::Contains("0 clusters of 3 samples (expected 1 to 3)"), moden::argument_error);
    CHECK_THROWS_AS(moden::cut_into_clusters(tree, 4), moden::argument_error);
    CHECK_THROWS_AS(moden::cut_at_height(tree, -1), moden::argument_error);
    CHECK_THROWS_AS(moden::cut_at_height(tree, nan), moden::argument_error);
    CHECK_THROWS_AS(moden::leaf_order(moden::cluster_tree{}), moden::argument_error);
    CHECK_THROWS_AS(moden::leaf_order(moden::cluster_tree{2, {{0, 2, 1, 2}}}), moden::argument_error);
}
