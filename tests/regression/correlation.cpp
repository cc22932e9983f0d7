// Correlation tables and coefficients of determination against their definitions.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <moden/regression/correlation.hpp>
#include <moden/regression/least_squares.hpp>

#include "exact_problems.hpp"

using namespace moden_test;
using namespace regression_test;

namespace {

/// Pearson's coefficient of two columns by its definition, in long double.
double correlation(const array& a, std::size_t i, const array& b, std::size_t j) {
    const std::size_t n = a.rows();
    long double mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;
    for (std::size_t k = 0; k < n; ++k) {
        mean_a += static_cast<long double>(a(k, i)) / static_cast<long double>(n);
        mean_b += static_cast<long double>(b(k, j)) / static_cast<long double>(n);
    }
    for (std::size_t k = 0; k < n; ++k) {
        aa += (a(k, i) - mean_a) * (a(k, i) - mean_a);
        bb += (b(k, j) - mean_b) * (b(k, j) - mean_b);
        ab += (a(k, i) - mean_a) * (b(k, j) - mean_b);
    }
    return static_cast<double>(ab / std::sqrt(aa * bb));
}

}  // namespace

TEST_CASE_TEMPLATE("correlation tables", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const std::size_t rows : {std::size_t{2}, std::size_t{90}, std::size_t{20000}}) {
        auto data = planted_regression(rows, 4, 3, 100).rounded<T>();  // far from the origin
        const auto left = to_policy(policy, to_tensor<T, 2>(data.x)), right = to_policy(policy, to_tensor<T, 2>(data.y));
        //! [correlation_table]
        const auto table = moden::correlation_table(policy, left, right);  // N x p and N x q give p x q
        //! [correlation_table]
        const array got = to_array(policy, table);
        for (std::size_t i = 0; i < 4; ++i) {
            for (std::size_t j = 0; j < 3; ++j) {
                CHECK(got(i, j) == doctest::Approx(correlation(data.x, i, data.y, j)).epsilon(20 * Cell::eps).scale(1));
                CHECK(std::abs(got(i, j)) <= 1);
            }
        }
        const array own = to_array(policy, moden::correlation_table(policy, left, left));
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(own(i, i) == doctest::Approx(1).epsilon(20 * Cell::eps));
        }
    }
    const auto x = to_policy(policy, to_tensor<T, 2>(random_matrix(9, 3, 1))),
               short_one = to_policy(policy, to_tensor<T, 2>(random_matrix(8, 3, 1)));
    array level = random_matrix(9, 3, 2);
    for (std::size_t n = 0; n < 9; ++n) {
        level(n, 1) = 0.7;
    }
    const auto constant = to_policy(policy, to_tensor<T, 2>(level));
    CHECK_THROWS_WITH_AS(moden::correlation_table(policy, x, constant), doctest::Contains("column 1 of the right matrix constant"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::correlation_table(policy, x, short_one), doctest::Contains("9 x 3 and the right matrix of 8 x 3"),
                         moden::shape_error);
    const auto one = to_policy(policy, to_tensor<T, 2>(random_matrix(1, 3, 1)));
    CHECK_THROWS_WITH_AS(moden::correlation_table(policy, one, one), doctest::Contains("1 samples (expected at least 2)"),
                         moden::argument_error);
    level(4, 1) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(moden::correlation_table(policy, to_policy(policy, to_tensor<T, 2>(level)), x), moden::argument_error);
}

TEST_CASE_TEMPLATE("directions that move one attribute each", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array w = random_matrix(400, 8, 1), v = random_matrix(3, 8, 2);
    array y = matmul(w, transpose(v)), noise = random_matrix(400, 3, 3);
    for (std::size_t i = 0; i < y.data.size(); ++i) {
        y.data[i] += 0.3 * noise.data[i];
    }
    const auto codes = to_policy(policy, to_tensor<T, 2>(w)), directions = to_policy(policy, to_tensor<T, 2>(v)),
               attributes = to_policy(policy, to_tensor<T, 2>(y));
    //! [direction_correlations]
    const auto table = moden::direction_correlations(policy, codes, directions, attributes);  // k directions, t attributes: k x t
    //! [direction_correlations]
    const array got = to_array(policy, table), projected = matmul(w, transpose(v));
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            CHECK(got(i, j) == doctest::Approx(correlation(projected, i, y, j)).epsilon(20 * Cell::eps).scale(1));
        }
        CHECK(got(i, i) > 0.9);
    }
    const auto nothing = to_policy(policy, to_tensor<T, 2>(array({1, 8})));
    CHECK_THROWS_WITH_AS(moden::direction_correlations(policy, codes, nothing, attributes),
                         doctest::Contains("column 0 of the projections constant"), moden::argument_error);
    CHECK_THROWS_AS(moden::direction_correlations(policy, codes, attributes, attributes), moden::shape_error);
}

TEST_CASE_TEMPLATE("coefficients of determination", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    auto data = planted_regression(100, 4, 2, 3).rounded<T>();
    const auto x = to_policy(policy, to_tensor<T, 2>(data.x)), y = to_policy(policy, to_tensor<T, 2>(data.y));
    const auto fit = moden::least_squares(policy, x, y);
    //! [coefficient_of_determination]
    const auto r2 = moden::coefficient_of_determination(policy, y, moden::predict(policy, fit, x));  // one per target
    //! [coefficient_of_determination]
    for (std::size_t k = 0; k < 2; ++k) {
        CHECK(r2[k] == doctest::Approx(1 - fit.residual_squares[k] / fit.total_squares[k]).epsilon(1000 * Cell::eps));
        CHECK(r2[k] > 0.5);
        CHECK(r2[k] < 1);
    }
    const auto of = [&](const moden::tensor<T, 2>& targets, const moden::tensor<T, 2>& predictions) {
        return moden::coefficient_of_determination(policy, to_policy(policy, targets), to_policy(policy, predictions));
    };
    // Perfect, the mean, worse than the mean, a constant hit and missed: 1 - (1 + 9 + 1) / 2.
    CHECK(of({{1, 1, 1, 4, 4}, {2, 2, 2, 4, 4}, {3, 3, 3, 4, 4}}, {{1, 2, 2, 4, 4}, {2, 2, 5, 4, 4}, {3, 2, 4, 4, 5}}) ==
          std::vector<double>{1, 0, -4.5, 1, 0});
    CHECK_THROWS_AS(of({{1, 2}}, {{1}, {2}}), moden::shape_error);
    CHECK_THROWS_WITH_AS(of({{1, 2}}, {{1, std::numeric_limits<T>::quiet_NaN()}}),
                         doctest::Contains("difference of targets and predictions"), moden::argument_error);
}
