// Least squares and ridge on every policy: exact solutions, an independent solver, both routes, and everything that is refused.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <moden/regression/least_squares.hpp>

#include "exact_problems.hpp"

using namespace moden_test;
using namespace regression_test;
using moden::intercept_term;
using moden::regression_route;
using moden::regression_status;

namespace {

constexpr regression_route routes[] = {regression_route::normal_equations, regression_route::qr};

/// Relative error of coefficients that rounding to T explains: c eps condition for QR, c eps condition^2 for normal equations, on top of
/// the rounding of the result. A factor of 20 stands for the growth of errors in sums.
template <class Cell, class Fit>
double tolerance(const Fit& fit) {
    return 20 * Cell::eps * (fit.route == regression_route::qr ? fit.condition : fit.condition * fit.condition);
}

template <class Cell, class Policy, class Fit>
void check_against(const Policy& policy, const Fit& fit, const reference_regression& want) {
    CHECK(relative_difference(to_array(policy, fit.coefficients), want.coefficients) < tolerance<Cell>(fit));
    for (std::size_t k = 0; k < want.residual_squares.size(); ++k) {
        CHECK(std::abs(fit.residual_squares[k] - want.residual_squares[k]) < tolerance<Cell>(fit) * want.total_squares[k]);
        CHECK(fit.total_squares[k] == doctest::Approx(want.total_squares[k]).epsilon(10 * Cell::eps));
    }
}

}  // namespace

TEST_CASE_TEMPLATE("both routes find what an independent solver finds", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // With an origin of 0 the samples are multiplied where they lie, with one of 300 as centred copies.
    for (const double origin : {0.0, 300.0}) {
        auto data = planted_regression(300, 12, 3, origin).rounded<T>();
        const auto x = to_policy(policy, to_tensor<T, 2>(data.x)), y = to_policy(policy, to_tensor<T, 2>(data.y));
        for (const double ridge : {0.0, 0.7, 1000.0}) {
            for (const auto intercept : {intercept_term::fitted, intercept_term::none}) {
                // Without an intercept a common origin is a direction of its own: the condition number grows with it.
                const auto want = reference_fit(data.x, data.y, ridge, intercept == intercept_term::fitted);
                for (const auto route : {regression_route::automatic, regression_route::normal_equations, regression_route::qr}) {
                    if (intercept == intercept_term::none && origin > 0 && std::is_same_v<T, float> &&
                        route == regression_route::normal_equations) {
                        continue;
                    }
                    const auto fit = moden::least_squares(policy, x, y, {.ridge = ridge, .intercept = intercept, .route = route});
                    CAPTURE(origin);
                    CAPTURE(ridge);
                    CAPTURE(fit.condition);
                    check_against<Cell>(policy, fit, want);
                    CHECK(fit.samples == 300);
                    if (route != regression_route::automatic) {
                        CHECK(fit.route == route);
                    }
                    const array constant = to_array(policy, fit.intercept);
                    if (intercept == intercept_term::fitted) {
                        // b = mean(y) - mean(x) B: errors of B count with the means.
                        CHECK(relative_difference(constant, want.intercept) < tolerance<Cell>(fit) * (1 + 12 * origin));
                        CHECK(fit.condition < 10);
                    } else {
                        CHECK(constant.data == std::vector<double>(3, 0));
                    }
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("planted coefficients", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array codes = random_matrix(200, 4, 1);
    array attributes({200, 2});
    for (std::size_t n = 0; n < 200; ++n) {
        attributes(n, 0) = 3 + codes(n, 0) - 2 * codes(n, 2);
        attributes(n, 1) = -codes(n, 3);
    }
    const auto x = to_policy(policy, to_tensor<T, 2>(codes)), y = to_policy(policy, to_tensor<T, 2>(attributes));
    //! [least_squares]
    const auto fit = moden::least_squares(policy, x, y);    // x: N x d, y: N x t
    const auto predicted = moden::predict(policy, fit, x);  // N x t, x fit.coefficients + fit.intercept
    //! [least_squares]
    CHECK(fit.route == regression_route::normal_equations);
    CHECK(fit.status == regression_status::accurate);
    const array b = to_array(policy, fit.coefficients), b0 = to_array(policy, fit.intercept);
    const array want = to_array(moden::tensor<double, 2>{{1, 0}, {0, 0}, {-2, 0}, {0, -1}});
    CHECK(relative_difference(b, want) < 20 * Cell::eps);
    CHECK(b0(0, 0) == doctest::Approx(3).epsilon(20 * Cell::eps));
    CHECK(std::abs(b0(0, 1)) < 20 * Cell::eps);
    CHECK(relative_difference(to_array(policy, predicted), attributes) < 20 * Cell::eps);
    // A perfect fit: what is left is the square of rounding errors, not the difference of two sums.
    for (std::size_t k = 0; k < 2; ++k) {
        CHECK(fit.residual_squares[k] < 200 * std::pow(20 * Cell::eps, 2) * 16);
    }
}

TEST_CASE_TEMPLATE("polynomials of degree 5 with integer coefficients (after Wampler)", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    if constexpr (std::is_same_v<T, double>) {
        const Policy policy{};
        const exact_problem plain = polynomial({1, 1, 1, 1, 1, 1}, 0, 21, 1);
        for (const exact_problem& problem : {plain, with_residuals(plain, 100), with_residuals(plain, 10000)}) {
            const auto x = to_policy(policy, to_tensor<T, 2>(problem.x)), y = to_policy(policy, to_tensor<T, 2>(problem.y));
            for (const auto route : routes) {
                const auto fit = moden::least_squares(policy, x, y, {.route = route});
                const double right = digits(to_array(policy, fit.coefficients), problem.coefficients);
                CAPTURE(fit.condition);
                CAPTURE(problem.residual_squares);
                // Condition 4e3, and the coefficient of x is 1e6 times smaller in its effect than that of x^5.
                CHECK(right > (route == regression_route::qr ? 8.5 : 5));
                CHECK(fit.residual_squares[0] == doctest::Approx(problem.residual_squares).epsilon(1e-12).scale(1));
                MESSAGE("route ", static_cast<int>(route), ": condition ", fit.condition, ", digits ", right, ", residual ",
                        fit.residual_squares[0]);
            }
        }
    }
}

TEST_CASE_TEMPLATE("a polynomial of degree 10 (after Filippelli)", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    if constexpr (std::is_same_v<T, double>) {
        const Policy policy{};
        // Ten zeros where the samples are: large terms that cancel, so that every coefficient is felt.
        std::vector<int> c{1};
        for (const int zero : {-3, -4, -5, -5, -6, -6, -7, -7, -8, -9}) {
            c.insert(c.begin(), 0);
            for (std::size_t k = 0; k + 1 < c.size(); ++k) {
                c[k] -= zero * c[k + 1];
            }
        }
        const exact_problem plain = polynomial(c, -36, 25, 4);
        for (const exact_problem& problem : {plain, with_residuals(plain, 4)}) {
            const auto x = to_policy(policy, to_tensor<T, 2>(problem.x)), y = to_policy(policy, to_tensor<T, 2>(problem.y));
            const auto fit = moden::least_squares(policy, x, y);
            CHECK(fit.route == regression_route::qr);
            CHECK(fit.condition > 1e7);
            CHECK(fit.status == regression_status::ill_conditioned);
            const double right = digits(to_array(policy, fit.coefficients), problem.coefficients);
            MESSAGE("condition ", fit.condition, ", digits ", right);
            CHECK(right > 6.5);  // 16 - log10(condition), as it should be
            CHECK_THROWS_WITH_AS(moden::least_squares(policy, x, y, {.route = regression_route::normal_equations}),
                                 doctest::Contains("too nearly so"), moden::argument_error);
        }
    }
}

TEST_CASE_TEMPLATE("series that grow together (after Longley)", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    if constexpr (std::is_same_v<T, double>) {
        const Policy policy{};
        const exact_problem plain = economy();
        for (const exact_problem& problem : {plain, with_residuals(plain, 256)}) {
            const auto x = to_policy(policy, to_tensor<T, 2>(problem.x)), y = to_policy(policy, to_tensor<T, 2>(problem.y));
            for (const auto route : routes) {
                const auto fit = moden::least_squares(policy, x, y, {.route = route});
                const double right = digits(to_array(policy, fit.coefficients), problem.coefficients);
                const double constant = to_array(policy, fit.intercept)(0, 0);
                MESSAGE("route ", static_cast<int>(route), ": condition ", fit.condition, ", digits ", right, ", of the intercept ",
                        -std::log10(std::abs(constant / problem.intercept - 1)));
                CHECK(right > (route == regression_route::qr ? 10.5 : 9));
                CHECK(constant == doctest::Approx(problem.intercept).epsilon(1e-9));
                CHECK(fit.residual_squares[0] == doctest::Approx(problem.residual_squares).epsilon(1e-11).scale(1));
                CHECK(fit.status == regression_status::accurate);
            }
        }
    }
}

TEST_CASE_TEMPLATE("moving the origin changes the intercept only", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Numbers with 10 bits after the point and shifts of powers of 2, so that shifted samples are exact in float too.
    auto data = planted_regression(150, 5, 2, 0);
    for (array* values : {&data.x, &data.y}) {
        for (double& value : values->data) {
            value = std::round(value * 1024) / 1024;
        }
    }
    array far_x = data.x, far_y = data.y;
    for (std::size_t n = 0; n < 150; ++n) {
        for (std::size_t j = 0; j < 5; ++j) {
            far_x(n, j) += 1024.0 * (j % 2 == 0 ? 1 : -2);
        }
        far_y(n, 0) -= 512;
        far_y(n, 1) += 2048;
    }
    const auto x = to_policy(policy, to_tensor<T, 2>(data.x)), y = to_policy(policy, to_tensor<T, 2>(data.y));
    const auto x2 = to_policy(policy, to_tensor<T, 2>(far_x)), y2 = to_policy(policy, to_tensor<T, 2>(far_y));
    for (const auto route : routes) {
        for (const double ridge : {0.0, 3.0}) {
            const auto here = moden::least_squares(policy, x, y, {.ridge = ridge, .route = route});
            const auto there = moden::least_squares(policy, x2, y2, {.ridge = ridge, .route = route});
            const array b = to_array(policy, here.coefficients), b2 = to_array(policy, there.coefficients);
            CHECK(relative_difference(b2, b) < tolerance<Cell>(here));
            for (std::size_t k = 0; k < 2; ++k) {
                double expected = to_array(policy, here.intercept)(0, k) + (k == 0 ? -512 : 2048);
                for (std::size_t j = 0; j < 5; ++j) {
                    expected -= b(j, k) * 1024 * (j % 2 == 0 ? 1 : -2);
                }
                CHECK(to_array(policy, there.intercept)(0, k) == doctest::Approx(expected).epsilon(tolerance<Cell>(here)).scale(2048));
                CHECK(there.residual_squares[k] == doctest::Approx(here.residual_squares[k]).epsilon(tolerance<Cell>(here)));
            }
        }
    }
}

TEST_CASE_TEMPLATE("more samples than one block holds", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const double origin : {0.0, 50.0}) {
        auto data = planted_regression(40001, 3, 2, origin).rounded<T>();
        const auto x = to_policy(policy, to_tensor<T, 2>(data.x)), y = to_policy(policy, to_tensor<T, 2>(data.y));
        const auto want = reference_fit(data.x, data.y);
        for (const auto route : routes) {
            const auto fit = moden::least_squares(policy, x, y, {.route = route});
            CAPTURE(origin);
            // 40001 terms: what a careless sum in float loses would be 1e-3.
            CHECK(relative_difference(to_array(policy, fit.coefficients), want.coefficients) <
                  (route == regression_route::qr ? 200 : 40) * Cell::eps);
            for (std::size_t k = 0; k < 2; ++k) {
                CHECK(fit.residual_squares[k] == doctest::Approx(want.residual_squares[k]).epsilon(1000 * Cell::eps));
            }
        }
    }
}

TEST_CASE_TEMPLATE("the switch to QR is where it is documented to be", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto y = to_policy(policy, to_tensor<T, 2>(random_matrix(80, 1, 9)));
    std::size_t switched = 0;
    for (int exponent = 0; exponent < (std::is_same_v<T, float> ? 14 : 18); ++exponent) {
        array values = random_matrix(80, 3, 8);
        for (std::size_t n = 0; n < 80; ++n) {
            values(n, 2) = values(n, 0) + std::ldexp(values(n, 2), -exponent);
        }
        const auto x = to_policy(policy, to_tensor<T, 2>(values));
        const double condition = moden::least_squares(policy, x, y, {.route = regression_route::qr}).condition;
        const auto fit = moden::least_squares(policy, x, y);
        const double limit = std::pow(Cell::eps, -0.25);
        if (condition < limit / 3) {  // the two condition numbers are in different norms, at most 3 apart for three columns
            CHECK(fit.route == regression_route::normal_equations);
            CHECK(fit.status == regression_status::accurate);
        } else if (condition > 3 * limit) {
            CHECK(fit.route == regression_route::qr);
            ++switched;
        }
        CHECK(fit.status == (fit.condition <= (fit.route == regression_route::qr ? limit * limit : limit) ? regression_status::accurate
                                                                                                         : regression_status::ill_conditioned));
        CHECK(moden::least_squares(policy, x, y, {.largest_condition = 1}).route == regression_route::qr);
    }
    CHECK(switched > 2);
}

TEST_CASE_TEMPLATE("constant targets have coefficients of zero", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array targets = random_matrix(50, 3, 4);
    for (std::size_t n = 0; n < 50; ++n) {
        targets(n, 1) = static_cast<double>(static_cast<T>(0.1));
    }
    const auto x = to_policy(policy, to_tensor<T, 2>(random_matrix(50, 4, 5))), y = to_policy(policy, to_tensor<T, 2>(targets));
    for (const auto route : routes) {
        const auto fit = moden::least_squares(policy, x, y, {.route = route});
        const array b = to_array(policy, fit.coefficients);
        for (std::size_t j = 0; j < 4; ++j) {
            CHECK(b(j, 1) == 0);
            CHECK(b(j, 0) != 0);
        }
        CHECK(to_array(policy, fit.intercept)(0, 1) == static_cast<double>(static_cast<T>(0.1)));
        CHECK(fit.residual_squares[1] == 0);
        CHECK(fit.total_squares[1] == 0);
    }
}

TEST_CASE_TEMPLATE("a ridge decides what samples leave open", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Fewer samples than unknowns, a column twice, a constant column.
    array values = random_matrix(6, 9, 5);
    for (std::size_t n = 0; n < 6; ++n) {
        values(n, 4) = values(n, 1);
        values(n, 7) = 0.5;
    }
    const array targets = random_matrix(6, 2, 6);
    const auto x = to_policy(policy, to_tensor<T, 2>(values)), y = to_policy(policy, to_tensor<T, 2>(targets));
    const auto want = reference_fit(values, targets, 0.3);
    for (const auto route : {regression_route::automatic, regression_route::normal_equations, regression_route::qr}) {
        const auto fit = moden::least_squares(policy, x, y, {.ridge = 0.3, .route = route});
        const array b = to_array(policy, fit.coefficients);
        CHECK(relative_difference(b, want.coefficients) < tolerance<Cell>(fit));
        for (std::size_t k = 0; k < 2; ++k) {
            CHECK(b(4, k) == doctest::Approx(b(1, k)).epsilon(tolerance<Cell>(fit)));
            CHECK(std::abs(b(7, k)) < 10 * Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("what cannot be decided is refused by name", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto on_policy = [&](const array& values) { return to_policy(policy, to_tensor<T, 2>(values)); };
    array values = random_matrix(60, 6, 5);
    const auto y = on_policy(random_matrix(60, 2, 6));
    const auto good = on_policy(values);
    for (std::size_t n = 0; n < 60; ++n) {
        values(n, 4) = values(n, 1) - 2 * values(n, 2);
    }
    const auto collinear = on_policy(values);
    array level = random_matrix(60, 3, 7);
    for (std::size_t n = 0; n < 60; ++n) {
        level(n, 1) = 0.3;
    }
    const auto with_constant = on_policy(level);
    for (const auto route : {regression_route::automatic, regression_route::normal_equations, regression_route::qr}) {
        const moden::least_squares_options options{.route = route};
        CHECK_THROWS_WITH_AS(moden::least_squares(policy, collinear, y, options), doctest::Contains("columns 1, 2, 4 of X"),
                             moden::argument_error);
        CHECK_THROWS_WITH_AS(moden::least_squares(policy, with_constant, y, options), doctest::Contains("column 1 of X constant"),
                             moden::argument_error);
        CHECK_NOTHROW(moden::least_squares(policy, with_constant, y, {.intercept = intercept_term::none, .route = route}));
        CHECK_NOTHROW(moden::least_squares(policy, collinear, y, {.ridge = 0.1, .route = route}));
    }
    for (std::size_t n = 0; n < 60; ++n) {
        level(n, 1) = 0;
    }
    CHECK_THROWS_WITH_AS(moden::least_squares(policy, on_policy(level), y, {.intercept = intercept_term::none}),
                         doctest::Contains("column 1 of X zero"), moden::argument_error);
    const auto few = on_policy(random_matrix(6, 6, 5)), few_y = on_policy(random_matrix(6, 2, 5));
    CHECK_THROWS_WITH_AS(moden::least_squares(policy, few, few_y),
                         doctest::Contains("6 samples for 7 unknowns per target (a ridge is required)"), moden::argument_error);
    CHECK_NOTHROW(moden::least_squares(policy, few, few_y, {.intercept = intercept_term::none}));
    CHECK_THROWS_WITH_AS(moden::least_squares(policy, on_policy(array({0, 6})), on_policy(array({0, 2})), {.ridge = 1}),
                         doctest::Contains("no samples"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::least_squares(policy, good, few_y), doctest::Contains("X of 60 x 6 and Y of 6 x 2"), moden::shape_error);
    CHECK_THROWS_AS(moden::least_squares(policy, good, on_policy(array({60, 0}))), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::least_squares(policy, good, y, {.ridge = -1}), doctest::Contains("ridge -1"), moden::argument_error);
    CHECK_THROWS_AS(moden::least_squares(policy, good, y, {.ridge = std::numeric_limits<double>::quiet_NaN()}), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::least_squares(policy, good, y, {.largest_condition = 0.5}), doctest::Contains("largest condition 0.5"),
                         moden::argument_error);
    for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
        for (const std::size_t row : {std::size_t{0}, std::size_t{59}}) {
            array spoilt = random_matrix(60, 6, 5), spoilt_y = random_matrix(60, 2, 6);
            spoilt(row, 2) = bad;
            spoilt_y(row, 1) = bad;
            CHECK_THROWS_WITH_AS(moden::least_squares(policy, on_policy(spoilt), y), doctest::Contains("X holds 1 values"),
                                 moden::argument_error);
            CHECK_THROWS_WITH_AS(moden::least_squares(policy, good, on_policy(spoilt_y)), doctest::Contains("Y holds 1 values"),
                                 moden::argument_error);
        }
    }
    const auto fit = moden::least_squares(policy, good, y);
    CHECK_THROWS_WITH_AS(moden::predict(policy, fit, few_y), doctest::Contains("samples of 2 entries (expected 6)"), moden::shape_error);
    CHECK(to_array(policy, moden::predict(policy, fit, on_policy(array({0, 6})))).rows() == 0);
}

TEST_CASE_TEMPLATE("squares that overflow or vanish go to QR", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    if constexpr (std::is_same_v<T, float>) {
        const Policy policy{};
        const auto data = planted_regression(40, 3, 1, 0);
        for (const double unit : {1e25, 1e-25}) {
            const auto x = to_policy(policy, to_tensor<T, 2>(scaled(data.x, unit))),
                       y = to_policy(policy, to_tensor<T, 2>(scaled(data.y, unit)));
            const auto fit = moden::least_squares(policy, x, y);
            CHECK(fit.route == regression_route::qr);
            CHECK(relative_difference(to_array(policy, fit.coefficients), reference_fit(data.x, data.y).coefficients) < tolerance<Cell>(fit));
            CHECK_THROWS_WITH_AS(moden::least_squares(policy, x, y, {.route = regression_route::normal_equations}),
                                 doctest::Contains("leave the range"), moden::argument_error);
        }
    } else {
        const Policy policy{};
        const auto huge = to_policy(policy, to_tensor<T, 2>(scaled(random_matrix(40, 3, 1), 1e200)));
        CHECK_THROWS_WITH_AS(moden::least_squares(policy, huge, huge), doctest::Contains("column 0 of X overflow"), moden::argument_error);
    }
}

TEST_CASE("normal equations cost one syrk of samples and few targets, or one syrk and one gemm of the samples where they lie") {
    const counted_policy policy{};
    const std::size_t n = 50000, d = 16;
    for (const std::size_t t : {4u, 5u}) {
        const bool together = t <= d / 4;
        const std::size_t width = together ? d + t : d;
        const auto data = planted_regression(n, d, t, 0);
        // Targets that are mostly noise: nearly perfect fits cost a product more, for their residuals.
        const auto x = to_policy(policy, to_tensor<float, 2>(data.x)), y = to_policy(policy, to_tensor<float, 2>(random_matrix(n, t, 77)));
        policy.books().reset();
        const auto fit = moden::least_squares(policy, x, y);
        CHECK(fit.route == regression_route::normal_equations);
        CHECK(policy.books().gram_flops() == doctest::Approx(static_cast<double>(n * width * (width + 1))));
        // Beside X'Y only d x d and d x t matrices are multiplied.
        CHECK(policy.books().product_flops() < static_cast<double>((together ? 0 : 2 * n * d * t) + 8 * d * (d + t) * (d + t)));
        // Partial sums are a 64th of the samples in float; a copy of at most 16384 of them, or none.
        const std::size_t copied = together ? 16384 * width * sizeof(float) : 0;
        CHECK(policy.books().peak_bytes() < copied + n * (d + t) * sizeof(float) / 8);
    }
}
