// Regressions of batches: the same as of everything at once, however it is divided and merged.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <moden/regression/accumulators.hpp>
#include <moden/regression/least_squares.hpp>

#include "exact_problems.hpp"

using namespace moden_test;
using namespace regression_test;
using moden::regression_route;

namespace {

/// Batches of the given sizes, the last one with what is left.
template <class Policy, class T, class Accumulator>
void add_batches(const Policy& policy, Accumulator& sums, const planted_regression& data, std::size_t first, std::size_t last,
                 const std::vector<std::size_t>& sizes) {
    std::size_t i = 0;
    while (first < last) {
        const std::size_t end = i < sizes.size() ? std::min(last, first + sizes[i++]) : last;
        sums.add(to_policy(policy, to_tensor<T, 2>(rows_between(data.x, first, end))),
                 to_policy(policy, to_tensor<T, 2>(rows_between(data.y, first, end))));
        first = end;
    }
}

template <class Policy, class Fit>
void check_same(const Policy& policy, const Fit& got, const Fit& want, double tolerance) {
    CHECK(relative_difference(to_array(policy, got.coefficients), to_array(policy, want.coefficients)) < tolerance);
    // Errors of the coefficients count with the means of the samples.
    CHECK(relative_difference(to_array(policy, got.intercept), to_array(policy, want.intercept)) < 10 * tolerance);
    CHECK(got.condition == doctest::Approx(want.condition).epsilon(tolerance));
    CHECK(got.samples == want.samples);
    CHECK(got.route == want.route);
    CHECK(got.status == want.status);
    for (std::size_t k = 0; k < want.residual_squares.size(); ++k) {
        // Rounding is relative to the squares that a fit takes away.
        CHECK(std::abs(got.residual_squares[k] - want.residual_squares[k]) < tolerance * want.total_squares[k]);
        CHECK(got.total_squares[k] == doctest::Approx(want.total_squares[k]).epsilon(tolerance));
    }
}

template <class Accumulator, class Cell>
void check_divisions(regression_route route) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const double origin : {0.0, 20.0}) {
        auto data = planted_regression(240, 7, 2, origin).template rounded<T>();
        for (std::size_t n = 0; n < 80; ++n) {  // the first batches lie elsewhere: means move
            data.x(n, 2) += 64;
            data.y(n, 1) -= 16;
        }
        const auto x = to_policy(policy, to_tensor<T, 2>(data.x)), y = to_policy(policy, to_tensor<T, 2>(data.y));
        for (const moden::least_squares_options& options : {moden::least_squares_options{}, moden::least_squares_options{.ridge = 5},
                                                            moden::least_squares_options{.intercept = moden::intercept_term::none}}) {
            auto forced = options;
            forced.route = route;
            const auto want = moden::least_squares(policy, x, y, forced);
            // Means are about 64 deviations; without an intercept the condition number is larger. Both routes see perturbations of eps.
            const double factor = 20 * want.condition * (route == regression_route::qr ? 1 : want.condition);
            const double tolerance = factor * Cell::eps * 8;
            for (const std::vector<std::size_t>& sizes : {std::vector<std::size_t>{}, {1, 20, 0, 39}, {1, 1, 1, 1, 3, 100}, {120, 119}}) {
                Accumulator sums(policy, 7, 2);
                add_batches<Policy, T>(policy, sums, data, 0, 240, sizes);
                CHECK(sums.count() == 240);
                check_same(policy, sums.solve(options), want, tolerance);
            }
            Accumulator a(policy, 7, 2), b(policy, 7, 2), c(policy, 7, 2), empty(policy, 7, 2);
            add_batches<Policy, T>(policy, a, data, 0, 80, {30});
            add_batches<Policy, T>(policy, b, data, 80, 83, {});
            add_batches<Policy, T>(policy, c, data, 83, 240, {100});
            b.merge(empty);
            b.merge(c);
            empty.merge(b);
            empty.merge(a);
            check_same(policy, empty.solve(options), want, tolerance);
            a.merge(b);
            check_same(policy, a.solve(options), want, tolerance);
        }
    }
}

}  // namespace

TEST_CASE_TEMPLATE("normal equations from batches", Cell, MODEN_TEST_CELLS) {
    check_divisions<moden::gram_accumulator<typename Cell::policy, typename Cell::scalar>, Cell>(regression_route::normal_equations);
}

TEST_CASE_TEMPLATE("QR from batches", Cell, MODEN_TEST_CELLS) {
    check_divisions<moden::qr_accumulator<typename Cell::policy, typename Cell::scalar>, Cell>(regression_route::qr);
}

TEST_CASE_TEMPLATE("a stream of samples", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto data = planted_regression(100, 5, 1, 1);
    const auto batch = [&](const array& values, std::size_t i) {
        return to_policy(policy, to_tensor<T, 2>(rows_between(values, 25 * i, 25 * i + 25)));
    };
    //! [gram_accumulator]
    moden::gram_accumulator<Policy, T> sums(policy, 5, 1);  // samples of 5 entries, 1 target
    for (std::size_t i = 0; i < 4; ++i) {
        sums.add(batch(data.x, i), batch(data.y, i));
    }
    const auto fit = sums.solve({.ridge = 0.1});
    //! [gram_accumulator]
    //! [qr_accumulator]
    moden::qr_accumulator<Policy, T> triangle(policy, 5, 1);
    for (std::size_t i = 0; i < 4; ++i) {
        triangle.add(batch(data.x, i), batch(data.y, i));
    }
    const auto accurate = triangle.solve({.ridge = 0.1});
    //! [qr_accumulator]
    CHECK(relative_difference(to_array(policy, fit.coefficients), to_array(policy, accurate.coefficients)) < 1000 * Cell::eps);
}

TEST_CASE_TEMPLATE("the exact polynomial, two samples at a time", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    if constexpr (std::is_same_v<T, double>) {
        const Policy policy{};
        const exact_problem problem = with_residuals(polynomial({1, 1, 1, 1, 1, 1}, 0, 21, 1), 100);
        moden::qr_accumulator<Policy, T> sums(policy, 5, 1);
        for (std::size_t n = 0; n < 42; n += 2) {
            sums.add(to_policy(policy, to_tensor<T, 2>(rows_between(problem.x, n, n + 2))),
                     to_policy(policy, to_tensor<T, 2>(rows_between(problem.y, n, n + 2))));
        }
        const auto fit = sums.solve();
        const double right = digits(to_array(policy, fit.coefficients), problem.coefficients);
        MESSAGE("digits ", right);
        CHECK(right > 8);
        CHECK(fit.residual_squares[0] == doctest::Approx(problem.residual_squares).epsilon(1e-9));
    }
}

TEST_CASE_TEMPLATE("a batch that is refused leaves no trace", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto on_policy = [&](const array& values) { return to_policy(policy, to_tensor<T, 2>(values)); };
    moden::gram_accumulator<Policy, T> gram(policy, 3, 2);
    moden::qr_accumulator<Policy, T> triangle(policy, 3, 2);
    const auto x = on_policy(random_matrix(20, 3, 1)), y = on_policy(random_matrix(20, 2, 2));
    gram.add(x, y);
    triangle.add(x, y);
    const array before = to_array(policy, gram.solve().coefficients), before_qr = to_array(policy, triangle.solve().coefficients);
    array spoilt = random_matrix(20, 2, 2);
    spoilt(19, 1) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(gram.add(x, on_policy(spoilt)), doctest::Contains("gram_accumulator: Y holds 1 values"), moden::argument_error);
    CHECK_THROWS_WITH_AS(triangle.add(x, on_policy(spoilt)), doctest::Contains("qr_accumulator: Y holds 1 values"), moden::argument_error);
    CHECK_THROWS_WITH_AS(gram.add(x, x), doctest::Contains("samples of 3 with targets of 3 entries (expected 3 and 2)"), moden::shape_error);
    CHECK_THROWS_AS(triangle.add(y, y), moden::shape_error);
    CHECK_THROWS_AS(triangle.add(x, on_policy(random_matrix(19, 2, 2))), moden::shape_error);
    CHECK(gram.count() == 20);
    CHECK(triangle.count() == 20);
    CHECK(to_array(policy, gram.solve().coefficients).data == before.data);
    CHECK(to_array(policy, triangle.solve().coefficients).data == before_qr.data);
}

TEST_CASE_TEMPLATE("what accumulators cannot do is refused by name", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    using gram_type = moden::gram_accumulator<Policy, T>;
    using qr_type = moden::qr_accumulator<Policy, T>;
    CHECK_THROWS_AS(gram_type(policy, 0, 1), moden::argument_error);
    CHECK_THROWS_AS(qr_type(policy, 3, 0), moden::argument_error);
    gram_type gram(policy, 3, 1), other(policy, 4, 1);
    qr_type triangle(policy, 3, 1), wide(policy, 3, 2);
    CHECK_THROWS_WITH_AS(gram.solve(), doctest::Contains("no samples"), moden::argument_error);
    CHECK_THROWS_WITH_AS(triangle.solve(), doctest::Contains("no samples"), moden::argument_error);
    CHECK_THROWS_AS(gram.merge(other), moden::shape_error);
    CHECK_THROWS_AS(triangle.merge(wide), moden::shape_error);
    array values = random_matrix(30, 3, 1);
    for (std::size_t n = 0; n < 30; ++n) {
        values(n, 2) = 2 * values(n, 0);
    }
    const auto x = to_policy(policy, to_tensor<T, 2>(values)), y = to_policy(policy, to_tensor<T, 2>(random_matrix(30, 1, 2)));
    gram.add(x, y);
    triangle.add(x, y);
    CHECK_THROWS_WITH_AS(gram.solve(), doctest::Contains("columns 0, 2 of X"), moden::argument_error);
    CHECK_THROWS_WITH_AS(triangle.solve(), doctest::Contains("columns 0, 2 of X"), moden::argument_error);
    CHECK_NOTHROW(gram.solve({.ridge = 1}));
    CHECK_NOTHROW(triangle.solve({.ridge = 1}));
    CHECK_THROWS_WITH_AS(gram.solve({.ridge = 1, .route = regression_route::qr}), doctest::Contains("see qr_accumulator"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(triangle.solve({.ridge = 1, .route = regression_route::normal_equations}),
                         doctest::Contains("see gram_accumulator"), moden::argument_error);
}
