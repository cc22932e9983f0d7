// The decorrelation loss: its value by the letters of the formula, its gradient by finite differences, its minima.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <moden/regression/decorrelation_loss.hpp>

#include "exact_problems.hpp"

using namespace moden_test;
using namespace regression_test;
using moden::variance_reference;

namespace {

/// 000 Eq. 1 in long double.
long double loss_by_definition(const array& w, variance_reference reference) {
    const std::size_t n = w.rows(), d = w.columns();
    std::vector<long double> covariance(d * d, 0), mean(d, 0);
    for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t i = 0; i < d; ++i) {
            mean[i] += static_cast<long double>(w(k, i)) / static_cast<long double>(n);
        }
    }
    for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t i = 0; i < d; ++i) {
            for (std::size_t j = 0; j < d; ++j) {
                covariance[i * d + j] += (w(k, i) - mean[i]) * (w(k, j) - mean[j]) / static_cast<long double>(n - 1);
            }
        }
    }
    long double total = 0, loss = 0;
    for (std::size_t i = 0; i < d; ++i) {
        total += covariance[i * d + i];
    }
    for (std::size_t i = 0; i < d; ++i) {
        for (std::size_t j = 0; j < d; ++j) {
            if (i != j) {
                loss -= std::log(1 - std::abs(covariance[i * d + j]) / std::sqrt(covariance[i * d + i] * covariance[j * d + j]));
            }
        }
        const long double excess = covariance[i * d + i] - total / (reference == variance_reference::mean ? static_cast<long double>(d) : 1);
        loss += excess * excess;
    }
    return loss;
}

/// Codes with correlations of both signs and unequal variances, away from the origin.
array mixed_codes(std::size_t n, std::size_t d, std::uint64_t seed) {
    array w = random_matrix(n, d, seed);
    for (std::size_t k = 0; k < n; ++k) {
        for (std::size_t i = 1; i < d; ++i) {
            w(k, i) += (i % 2 == 0 ? 0.8 : -0.6) * w(k, i - 1);
        }
        for (std::size_t i = 0; i < d; ++i) {
            w(k, i) = w(k, i) * (1 + 0.3 * static_cast<double>(i)) + 2;
        }
    }
    return w;
}

}  // namespace

TEST_CASE_TEMPLATE("value and gradient are those of the formula", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array w = to_array(to_tensor<T, 2>(mixed_codes(30, 5, 4)));  // as rounded
    const auto codes = to_policy(policy, to_tensor<T, 2>(w));
    for (const auto reference : {variance_reference::mean, variance_reference::sum}) {
        //! [decorrelation_loss]
        const moden::decorrelation_loss loss({.reference = reference});
        const auto [value, gradient] = loss.value_and_gradient(policy, codes);  // codes and gradient: N x d
        //! [decorrelation_loss]
        CHECK(value == doctest::Approx(static_cast<double>(loss_by_definition(w, reference))).epsilon(50 * Cell::eps));
        CHECK(loss.value(policy, codes) == value);
        const array got = to_array(policy, gradient);
        CHECK(to_array(policy, loss.gradient(policy, codes)).data == got.data);
        // Central differences of the definition in long double: errors of 1e-10 from the step, 1e-13 from rounding.
        array expected({30, 5});
        for (std::size_t i = 0; i < w.data.size(); ++i) {
            const double at = w.data[i], step = 0x1p-17;
            w.data[i] = at + step;
            const long double above = loss_by_definition(w, reference);
            w.data[i] = at - step;
            const long double below = loss_by_definition(w, reference);
            w.data[i] = at;
            expected.data[i] = static_cast<double>((above - below) / (2 * step));
        }
        CHECK(relative_difference(got, expected) < (std::is_same_v<T, double> ? 1e-8 : 200 * Cell::eps));
        // Moving all codes together changes nothing.
        for (std::size_t i = 0; i < 5; ++i) {
            double sum = 0;
            for (std::size_t n = 0; n < 30; ++n) {
                sum += got(n, i);
            }
            CHECK(std::abs(sum) < 100 * Cell::eps * frobenius(got));
        }
    }
}

TEST_CASE_TEMPLATE("the default is smallest for decorrelated codes of equal variance, the printed form for none", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Orthogonal columns of length 4 and mean 0, without any rounding: the Walsh functions.
    array walsh({16, 4});
    for (std::size_t n = 0; n < 16; ++n) {
        for (std::size_t i = 0; i < 4; ++i) {
            const std::size_t bits = n & (i + 1);
            walsh(n, i) = (bits ^ bits >> 1 ^ bits >> 2) & 1 ? -1 : 1;
        }
    }
    const auto codes = to_policy(policy, to_tensor<T, 2>(walsh)), smaller = to_policy(policy, to_tensor<T, 2>(scaled(walsh, 0.5)));
    const moden::decorrelation_loss loss, printed({.reference = variance_reference::sum});
    const auto here = loss.value_and_gradient(policy, codes);
    CHECK(here.value < 20 * Cell::eps);
    CHECK(frobenius(to_array(policy, here.gradient)) < 100 * Cell::eps);
    CHECK(loss.value(policy, smaller) < 20 * Cell::eps);
    // The sum of the variances is four times each.
    const double variance = 16.0 / 15;
    CHECK(printed.value(policy, codes) == doctest::Approx(4 * std::pow(3 * variance, 2)).epsilon(20 * Cell::eps));
    CHECK(printed.value(policy, smaller) < 0.1 * printed.value(policy, codes));
}

TEST_CASE_TEMPLATE("columns that are multiples of each other or constant", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array w = random_matrix(40, 4, 6);
    for (std::size_t n = 0; n < 40; ++n) {
        w(n, 1) = -2 * w(n, 0);
        w(n, 3) = 0.25;
    }
    const auto codes = to_policy(policy, to_tensor<T, 2>(w));
    const moden::decorrelation_loss strict({.smallest_gap = 1e-3}), loose({.smallest_gap = 0.01});
    // Two entries of the table are at the gap; the difference is 2 log(10).
    CHECK(strict.value(policy, codes) - loose.value(policy, codes) == doctest::Approx(2 * std::log(10.0)).epsilon(1e-4));
    const auto found = moden::decorrelation_loss().value_and_gradient(policy, codes);
    CHECK(std::isfinite(found.value));
    const array gradient = to_array(policy, found.gradient);
    for (std::size_t n = 0; n < 40; ++n) {
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(std::isfinite(gradient(n, i)));
        }
        CHECK(gradient(n, 3) == 0);
    }
    CHECK_THROWS_WITH_AS(moden::decorrelation_loss({.smallest_gap = 0}), doctest::Contains("smallest gap 0"), moden::argument_error);
    CHECK_THROWS_AS(moden::decorrelation_loss({.smallest_gap = 1}), moden::argument_error);
    const auto one = to_policy(policy, to_tensor<T, 2>(random_matrix(1, 3, 1)));
    CHECK_THROWS_WITH_AS(strict.value(policy, one), doctest::Contains("1 codes (expected at least 2)"), moden::argument_error);
    w(3, 1) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(strict.gradient(policy, to_policy(policy, to_tensor<T, 2>(w))), doctest::Contains("the codes holds 1 values"),
                         moden::argument_error);
}

TEST_CASE("small correlations keep their digits") {
    // A correlation of about 1e-9: log(1 - r) would have seven digits.
    moden::tensor<double, 2> w{{1, 1}, {1, -1}, {-1, 1 + 4e-9}, {-1, -1}};
    const array values = to_array(w);
    const double got = moden::decorrelation_loss().value(w), r = 1e-9;
    CHECK(got == doctest::Approx(2 * r).epsilon(1e-6));
    CHECK(got > 0);
}
