// hooi, reconstruct (whole and in part) and relative_error on every policy.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/multilinear/hooi.hpp>
#include <moden/multilinear/hosvd.hpp>
#include <moden/multilinear/tucker.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "tucker_checks.hpp"

using namespace moden_test;

namespace {

/// A Tucker tensor in the policy's memory.
template <class Policy, class T, std::size_t N>
moden::tucker_tensor<moden::policy_tensor<Policy, T, N>> to_policy_tucker(const Policy& policy, const array& core,
                                                                         const std::vector<array>& factors) {
    moden::tucker_tensor<moden::policy_tensor<Policy, T, N>> result;
    result.core = to_policy(policy, to_tensor<T, N>(core));
    for (const array& factor : factors) {
        result.factors.push_back(to_policy(policy, to_tensor<T, 2>(factor)));
    }
    return result;
}

array rows_of(const array& matrix, std::size_t first, std::size_t count) {
    array result({count, matrix.columns()});
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t j = 0; j < matrix.columns(); ++j) {
            result(i, j) = matrix(first + i, j);
        }
    }
    return result;
}

struct tucker_case {
    array core = random_matrix(1, 1, 1);
    std::vector<array> factors;

    explicit tucker_case(std::uint64_t seed) : core({3, 2, 4}) {
        number_source next(seed);
        for (double& x : core.data) {
            x = next();
        }
        factors = {random_matrix(8, 3, seed + 1), random_matrix(5, 2, seed + 2), random_matrix(9, 4, seed + 3)};
    }
};

constexpr std::size_t tucker_terms = 3 + 2 + 4 + 3;

}  // namespace

TEST_CASE_TEMPLATE("reconstruct: the whole tensor", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const tucker_case source(1);
    const auto tucker = to_policy_tucker<typename Cell::policy, T, 3>(policy, source.core, source.factors);
    check_sums(to_array(policy, moden::reconstruct(policy, tucker)), reconstruct(source.core, source.factors),
               reconstruct(magnitude(source.core), magnitudes(source.factors)), tucker_terms, Cell::eps);
}

TEST_CASE_TEMPLATE("reconstruct: ranges of every mode, an empty one too", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const tucker_case source(2);
    const auto tucker = to_policy_tucker<typename Cell::policy, T, 3>(policy, source.core, source.factors);
    const std::vector<std::vector<moden::index_range>> parts = {{{2, 3}, {0, 5}, {7, 2}}, {{0, 1}, {4, 1}, {8, 1}}, {{3}, {}, {1, 4}}};
    for (const auto& ranges : parts) {
        std::vector<array> rows;
        for (std::size_t n = 0; n < 3; ++n) {
            const std::size_t extent = source.factors[n].rows();
            rows.push_back(rows_of(source.factors[n], ranges[n].first, std::min(ranges[n].count, extent - ranges[n].first)));
        }
        check_sums(to_array(policy, moden::reconstruct(policy, tucker, ranges)), reconstruct(source.core, rows),
                   reconstruct(magnitude(source.core), magnitudes(rows)), tucker_terms, Cell::eps);
    }
    const auto nothing = moden::reconstruct(policy, tucker, {{0, 2}, {5, 0}, {0, 9}});
    CHECK(to_array(policy, nothing).shape == moden::extents{2, 0, 9});
}

TEST_CASE_TEMPLATE("relative_error: large, small, at the level of rounding, zero and infinite", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const tucker_case source(3);
    const auto tucker = to_policy_tucker<Policy, T, 3>(policy, source.core, source.factors);
    const array exact = reconstruct(source.core, source.factors);
    const array noise = [&] {
        array result(exact.shape);
        number_source next(4);
        for (double& x : result.data) {
            x = next();
        }
        return scaled(result, frobenius(exact) / frobenius(result));
    }();
    for (const double size : {1.0, 1e-3, 0.0}) {
        array values = exact;
        for (std::size_t i = 0; i < values.data.size(); ++i) {
            values.data[i] += size * noise.data[i];
        }
        const auto tensor = to_tensor<T, 3>(values);
        const double want = frobenius(difference(to_array(tensor), exact)) / frobenius(to_array(tensor));
        const double got = moden::relative_error(policy, to_policy(policy, tensor), tucker);
        CAPTURE(size);
        CHECK(std::abs(got - want) <= 10 * Cell::eps * (1 + want));
    }
    const array zero({8, 5, 9});
    const auto nothing = to_policy_tucker<Policy, T, 3>(policy, array({3, 2, 4}), source.factors);
    CHECK(moden::relative_error(policy, to_policy(policy, to_tensor<T, 3>(zero)), nothing) == 0);
    CHECK(moden::relative_error(policy, to_policy(policy, to_tensor<T, 3>(exact)), nothing) == doctest::Approx(1).epsilon(1e-14));
    CHECK(std::isinf(moden::relative_error(policy, to_policy(policy, to_tensor<T, 3>(zero)), tucker)));
}

TEST_CASE_TEMPLATE("hooi: improves on st_hosvd, sweep by sweep, as in double precision on the CPU", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    array values = decaying_tensor({10, 8, 9}, 0.7, 5);
    number_source next(6);
    for (double& x : values.data) {
        x += 0.02 * next();
    }
    const auto host = to_tensor<T, 3>(values);
    const array tensor = to_array(host);
    const moden::extents ranks{3, 4, 2};
    const moden::hooi_options options{.ranks = ranks, .tolerance = 0, .max_iterations = 6};
    const auto result = moden::hooi(policy, to_policy(policy, host), options);
    CHECK(result.status == moden::iteration_status::reached_max_iterations);
    CHECK(result.iterations == 6);
    REQUIRE(result.history.size() == 7);
    for (std::size_t i = 1; i < result.history.size(); ++i) {
        CHECK(result.history[i] >= result.history[i - 1] - 10 * Cell::eps);
    }
    const auto start = moden::st_hosvd(policy, to_policy(policy, host), {.ranks = ranks, .error = moden::error_measure::residual});
    CHECK(result.relative_error < start.relative_error * (1 - 1e-4));
    check_reported_error<Cell>(policy, tensor, result, 1e-12);
    // |X - X^|^2 = |X|^2 - |G|^2 with orthonormal factors.
    CHECK(std::abs(result.history.back() * result.history.back() + result.relative_error * result.relative_error - 1) <= 30 * Cell::eps);

    const auto reference = moden::hooi(to_tensor<double, 3>(tensor), options);
    for (std::size_t n = 0; n < 3; ++n) {
        const array factor = to_array(policy, result.factors[n]);
        CHECK(orthogonality(factor) <= 30 * Cell::eps);
        check_signs<T>(factor);
        // Gaps of the projected unfoldings are above a tenth of the largest value: eps grows by its square at most.
        const array other = to_array(reference.factors[n]);
        CHECK(frobenius(difference(projector(factor), projector(other))) <= 3000 * Cell::eps);
    }
    check_within(to_array(result.history), to_array(reference.history), 10 * Cell::eps);
}

TEST_CASE_TEMPLATE("hooi: tolerance 0 never stops, not even where the fit has become exact", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const tucker_case source(7);
    const auto host = to_tensor<T, 3>(reconstruct(source.core, source.factors));
    const auto result = moden::hooi(policy, to_policy(policy, host), {.ranks = {3, 2, 4}, .tolerance = 0, .max_iterations = 12});
    CHECK(result.iterations == 12);
    CHECK(result.status == moden::iteration_status::reached_max_iterations);
    CHECK(result.relative_error <= 60 * Cell::eps);
    const auto stopped = moden::hooi(policy, to_policy(policy, host), {.ranks = {3, 2, 4}});
    CHECK(stopped.status == moden::iteration_status::converged);
    CHECK(stopped.iterations <= 3);
}
