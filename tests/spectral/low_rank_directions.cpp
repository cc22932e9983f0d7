// Robust PCA and directions in the null space of a background, on every policy.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <vector>

#include <moden/maps/affine_map.hpp>
#include <moden/maps/callable_map.hpp>
#include <moden/spectral/low_rank_directions.hpp>
#include <moden/spectral/robust_pca.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

double nuclear_norm(const array& a) {
    double sum = 0;
    for (const double s : jacobi_svd(a).values) {
        sum += s;
    }
    return sum;
}

double sum_of_magnitudes(const array& a) {
    double sum = 0;
    for (const double x : a.data) {
        sum += std::abs(x);
    }
    return sum;
}

/// A few large entries at random places.
array spikes(std::size_t rows, std::size_t columns, double share, std::uint64_t seed) {
    array result({rows, columns});
    number_source next(seed);
    for (double& x : result.data) {
        const double place = next(), size = next();
        x = std::abs(place) < share ? (size < 0 ? size - 1 : size + 1) : 0;
    }
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("robust_pca takes a low-rank and a sparse matrix apart", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const std::size_t shapes[][2] = {{40, 40}, {60, 25}, {25, 60}};
    for (const auto& [rows, columns] : shapes) {
        CAPTURE(rows);
        const array low = matmul(random_matrix(rows, 2, 1), random_matrix(2, columns, 2)), rare = spikes(rows, columns, 0.05, 3);
        const auto host = to_tensor<T, 2>(difference(low, scaled(rare, -1)));
        const auto matrix = to_policy(policy, host);
        const double tolerance = 30 * Cell::eps;
        //! [robust_pca]
        const auto found = moden::robust_pca(policy, matrix, {.tolerance = tolerance});  // matrix ~ found.low_rank + found.sparse
        //! [robust_pca]
        CHECK(found.status == moden::iteration_status::converged);
        CHECK(found.rank == 2);
        const array l = to_array(policy, found.low_rank), s = to_array(policy, found.sparse), m = to_array(host);
        CHECK(frobenius(difference(l, low)) <= 300 * std::sqrt(static_cast<double>(rows)) * tolerance * frobenius(m));
        CHECK(frobenius(difference(s, rare)) <= 300 * std::sqrt(static_cast<double>(rows)) * tolerance * frobenius(m));
        for (std::size_t i = 0; i < s.data.size(); ++i) {
            CHECK((rare.data[i] != 0 || std::abs(s.data[i]) <= 1e-3));
        }
        const double lambda = 1 / std::sqrt(static_cast<double>(std::max(rows, columns)));
        CHECK(found.objective == doctest::Approx(nuclear_norm(l) + lambda * sum_of_magnitudes(s)).epsilon(1000 * Cell::eps));
        CHECK(found.residual == doctest::Approx(frobenius(difference(difference(m, l), s)) / frobenius(m)).epsilon(0.1));
    }
}

TEST_CASE_TEMPLATE("robust_pca: no feasible pair has a lower objective", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(random_matrix(12, 9, 5));  // neither low-rank nor sparse
    const array m = to_array(host);
    for (const double lambda : {0.2, 0.35, 5.0}) {
        CAPTURE(lambda);
        const auto found = moden::robust_pca(policy, to_policy(policy, host), {.sparsity = lambda, .tolerance = 30 * Cell::eps, .max_iterations = 20000});
        CHECK(found.status == moden::iteration_status::converged);
        const array l = to_array(policy, found.low_rank);
        const auto objective = [&](const array& low) { return nuclear_norm(low) + lambda * sum_of_magnitudes(difference(m, low)); };
        CHECK(found.objective <= objective(m) * (1 + 100 * Cell::eps));  // nothing is sparse
        CHECK(found.objective <= lambda * sum_of_magnitudes(m) * (1 + 100 * Cell::eps));  // nothing is low-rank
        for (const std::uint64_t seed : {1, 2, 3, 4, 5}) {
            const array step = scaled(random_matrix(12, 9, seed), 1e-2);
            CHECK(found.objective <= objective(difference(l, step)) + 1e-5);
            CHECK(found.objective <= objective(difference(l, matmul(l, scaled(random_matrix(9, 9, seed), 1e-2)))) + 1e-5);
        }
        if (lambda == 5.0) {
            CHECK(frobenius(to_array(policy, found.sparse)) == 0);
            CHECK(frobenius(difference(l, m)) <= 100 * Cell::eps * frobenius(m));
        }
    }
    const auto zero = moden::robust_pca(policy, to_policy(policy, to_tensor<T, 2>(array({4, 3}))));
    CHECK(zero.status == moden::iteration_status::converged);
    CHECK(zero.rank == 0);
    std::size_t calls = 0;
    const auto stopped = moden::robust_pca(policy, to_policy(policy, host), {.progress = [&](std::size_t, double) { return ++calls < 4; }});
    CHECK(stopped.status == moden::iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 4);
    const auto matrix = to_policy(policy, host);
    CHECK_THROWS_WITH_AS(moden::robust_pca(policy, matrix, {.sparsity = -1}), doctest::Contains("sparsity -1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::robust_pca(policy, matrix, {.tolerance = -1}), doctest::Contains("tolerance -1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::robust_pca(policy, matrix, {.max_iterations = 0}), doctest::Contains("max_iterations 0"), moden::argument_error);
}

TEST_CASE_TEMPLATE("low_rank_directions change the region and leave the background alone", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    // Eight inputs: four change the background only, two the region only, one both, one nothing; mixed by a rotation.
    const std::size_t m = 40, n = 8;
    array jacobian({m, n});
    number_source next(3);
    auto mask = moden::tensor<T, 1>::from_shape({m});
    for (std::size_t i = 0; i < m; ++i) {
        const bool region = i < 15;
        mask(i) = region ? T(1) : T(0);
        for (std::size_t j = 0; j < 7; ++j) {
            const double entry = next();
            jacobian(i, j) = (j < 4 && !region) || ((j == 4 || j == 5) && region) || j == 6 ? entry : 0;
        }
    }
    const array rotation = orthonormalized(random_matrix(n, n, 4));
    const auto host = to_tensor<T, 2>(matmul(jacobian, transpose(rotation)));
    const moden::affine_map map(policy, to_policy(policy, host));
    const auto x = to_policy(policy, random_tensor<T, 1>({n}, 5));
    const auto selected = to_policy(policy, mask);
    for (const std::size_t batch : {0, 3}) {
        CAPTURE(batch);
        //! [low_rank_directions]
        const auto found = moden::low_rank_directions(policy, map, x, selected, {.count = 3, .sparsity = 10, .batch = batch});
        // found.directions: at most 3 rows of length 1; with so large a sparsity all of J_f'J_f and J_b'J_b counts as low-rank
        //! [low_rank_directions]
        CHECK(found.status == moden::iteration_status::converged);
        CHECK(found.jvp_count == n);
        CHECK(found.vjp_count == (batch == 0 ? 0 : 2 * n));
        CHECK(found.region_rank == 3);
        CHECK(found.background_rank == 5);
        const array d = to_array(policy, found.directions);
        REQUIRE(d.columns() == n);
        REQUIRE(found.remaining.size() == d.rows());
        const array there = matmul(d, rotation);  // in the coordinates of the plan
        for (std::size_t i = 0; i < d.rows(); ++i) {
            double length = 0;
            for (std::size_t j = 0; j < n; ++j) {
                length += d(i, j) * d(i, j);
                CHECK((j == 4 || j == 5 || std::abs(there(i, j)) <= 300 * std::sqrt(Cell::eps)));
            }
            CHECK(length == doctest::Approx(1).epsilon(10 * Cell::eps));
            CHECK(found.inside[i] > 0.5);
            CHECK(found.outside[i] <= 1e-4);
        }
        // Fewer dimensions to avoid: more of the directions is left.
        const auto loose = moden::low_rank_directions(policy, map, x, selected, {.count = 3, .sparsity = 10, .background_rank = 2, .batch = batch});
        CHECK(loose.background_rank == 2);
        CHECK(loose.remaining[0] >= found.remaining[0] * (1 - 1e-5));
    }
    const auto refused = [&](const auto& where, const moden::low_rank_directions_options& options, const char* part) {
        CHECK_THROWS_WITH_AS(moden::low_rank_directions(policy, map, x, where, options), doctest::Contains(part), moden::argument_error);
    };
    refused(selected, {.count = 0}, "0 directions in a space of 8");
    refused(selected, {.sparsity = -1}, "low_rank_directions: sparsity -1");
    // Options are checked before anything goes through the map.
    const auto unasked = [](const auto& where, const auto&, const auto& block) {
        throw std::logic_error("a product was asked for");
        return where.template make_tensor<T, 2>(moden::detail::shape_of(block));
    };
    const moden::callable_map silent(n, m, [](const auto& where, const auto& at) { return where.template make_tensor<T, 1>(moden::detail::shape_of(at)); }, unasked, unasked);
    CHECK_THROWS_WITH_AS(moden::low_rank_directions(policy, silent, x, selected, {.max_iterations = 0}), doctest::Contains("low_rank_directions: max_iterations 0"),
                         moden::argument_error);
    refused(selected, {.background_rank = 8}, "background_rank 8 leaves no null space in 8 dimensions");
    // So small a lambda that everything counts as sparse: no directions, and the ranks say why.
    const auto none = moden::low_rank_directions(policy, map, x, selected, {.sparsity = 1e-3});
    CHECK(none.region_rank == 0);
    CHECK(none.directions.shape()[0] == 0);
    CHECK(none.remaining.empty());
    auto all = mask;
    all.fill(T(1));
    refused(to_policy(policy, all), {}, "low_rank_directions: the mask selects all 40 outputs");
    const moden::affine_map full(policy, to_policy(policy, to_tensor<T, 2>(random_matrix(m, n, 9))));
    CHECK_THROWS_WITH_AS(moden::low_rank_directions(policy, full, x, selected, {.sparsity = 10}),
                         doctest::Contains("the low-rank part of the background has rank 8 in 8 dimensions and no null space"), moden::argument_error);
}
