// L-BFGS on every policy: quadratic functions, a curved valley, and line searches that must step back.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/optimize/lbfgs.hpp>

#include "policies.hpp"

using namespace moden_test;

namespace {

/// Terms of sum (i + 1) (x_i - i)^2.
template <class T>
struct bowl {
    const T* x;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double off = static_cast<double>(x[i]) - static_cast<double>(i);
        return static_cast<double>(i + 1) * off * off;
    }
};

template <class T>
struct bowl_gradient {
    const T* x;
    T* gradient;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { gradient[i] = T(2) * static_cast<T>(i + 1) * (x[i] - static_cast<T>(i)); }
};

/// Rosenbrock's valley in pairs of variables: 100 (b - a^2)^2 + (1 - a)^2.
template <class T>
struct valley {
    const T* x;
    T* gradient;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const T a = x[2 * i], b = x[2 * i + 1];
        gradient[2 * i] = T(-400) * a * (b - a * a) - T(2) * (T(1) - a);
        gradient[2 * i + 1] = T(200) * (b - a * a);
        return 100 * static_cast<double>((b - a * a) * (b - a * a)) + static_cast<double>((T(1) - a) * (T(1) - a));
    }
};

/// x - log x, which has no value left of 0.
template <class T>
struct barrier {
    const T* x;
    T* gradient;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        gradient[i] = T(1) - T(1) / x[i];
        return x[i] > T(0) ? static_cast<double>(x[i]) - std::log(static_cast<double>(x[i])) : std::numeric_limits<double>::infinity();
    }
};

}  // namespace

TEST_CASE_TEMPLATE("minimize_lbfgs finds the minimum of a quadratic function", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    //! [lbfgs]
    const std::size_t size = 50;
    const placed<Policy, T> x(policy, std::vector<T>(size, T(0)));
    const auto function = [&](const T* at, T* gradient) {  // sum (i + 1) (x_i - i)^2
        policy.transform(size, bowl_gradient<T>{at, gradient});
        return policy.reduce(size, 0.0, bowl<T>{at}, moden::detail::plus{});
    };
    const auto found = moden::minimize_lbfgs(policy, x.data(), size, function, {.tolerance = 0});
    //! [lbfgs]
    CHECK(found.status == moden::iteration_status::converged);
    CHECK(found.iterations <= 100);
    CHECK(found.history.size() == found.iterations);
    CHECK(found.history.back() == found.value);
    for (std::size_t i = 1; i < found.history.size(); ++i) {
        CHECK(found.history[i] < found.history[i - 1]);
    }
    const std::vector<T> best = x.back();
    for (std::size_t i = 0; i < size; ++i) {
        CHECK(std::abs(static_cast<double>(best[i]) - static_cast<double>(i)) <= 1e3 * Cell::eps * 50);
    }
}

TEST_CASE_TEMPLATE("minimize_lbfgs follows a curved valley and stays where there are values", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t pairs = 5;
    std::vector<T> start;
    for (std::size_t i = 0; i < pairs; ++i) {
        start.push_back(T(-1.2));
        start.push_back(T(1) + static_cast<T>(i) / T(10));
    }
    const placed<Policy, T> x(policy, start);
    const auto in_valley = [&](const T* at, T* gradient) { return policy.reduce(pairs, 0.0, valley<T>{at, gradient}, moden::detail::plus{}); };
    const auto found = moden::minimize_lbfgs(policy, x.data(), 2 * pairs, in_valley, {.memory = 5, .tolerance = 0});
    CHECK(found.value <= 1e6 * Cell::eps * Cell::eps);
    CHECK(found.evaluations < 2 * found.iterations + 30);
    for (const T value : x.back()) {
        CHECK(static_cast<double>(value) == doctest::Approx(1).epsilon(1e4 * Cell::eps));
    }
    const placed<Policy, T> far(policy, {T(1e-3), T(500), T(3)});
    const auto behind_barrier = [&](const T* at, T* gradient) { return policy.reduce(3, 0.0, barrier<T>{at, gradient}, moden::detail::plus{}); };
    CHECK(moden::minimize_lbfgs(policy, far.data(), 3, behind_barrier).value == doctest::Approx(3).epsilon(1e-6));
}

TEST_CASE_TEMPLATE("minimize_lbfgs stops when told to and refuses nonsense", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const placed<Policy, T> x(policy, {T(-1.2), T(1)});
    const auto in_valley = [&](const T* at, T* gradient) { return policy.reduce(1, 0.0, valley<T>{at, gradient}, moden::detail::plus{}); };
    const auto three = moden::minimize_lbfgs(policy, x.data(), 2, in_valley, {.max_iterations = 3});
    CHECK(three.iterations == 3);
    CHECK(three.status == moden::iteration_status::reached_max_iterations);
    const auto told = moden::minimize_lbfgs(policy, x.data(), 2, in_valley, {.progress = [](std::size_t i, double) { return i < 2; }});
    CHECK(told.iterations == 2);
    CHECK(told.status == moden::iteration_status::stopped_by_callback);
    CHECK(told.value < three.value);
    const auto near = moden::minimize_lbfgs(policy, x.data(), 2, in_valley, {.gradient_tolerance = 1e6});
    CHECK(near.iterations == 0);
    CHECK(near.status == moden::iteration_status::converged);
    CHECK_THROWS_AS(moden::minimize_lbfgs(policy, x.data(), 0, in_valley), moden::argument_error);
    CHECK_THROWS_AS(moden::minimize_lbfgs(policy, x.data(), 2, in_valley, {.memory = 0}), moden::argument_error);
    const auto nowhere = [](const T*, T*) { return std::numeric_limits<double>::quiet_NaN(); };
    CHECK_THROWS_AS(moden::minimize_lbfgs(policy, x.data(), 2, nowhere), moden::argument_error);
    const auto without_slope = [&](const T*, T* gradient) {
        policy.transform(2, moden::detail::fill_with<T>{gradient, std::numeric_limits<T>::quiet_NaN()});
        return 1.0;
    };
    CHECK_THROWS_WITH_AS(moden::minimize_lbfgs(policy, x.data(), 2, without_slope), doctest::Contains("the gradient at the start holds 2 values"),
                         moden::argument_error);
    // A slope that exists near the start alone: points without one are not stepped to, whatever their value.
    const placed<Policy, T> near_edge(policy, {T(3)});
    const auto edge = [&](const T* at, T* gradient) {
        T place = 0;
        policy.download(at, &place, 1);
        const T slope = place > T(1) ? T(2) * place : std::numeric_limits<T>::quiet_NaN();
        policy.upload(&slope, gradient, 1);
        return static_cast<double>(place) * static_cast<double>(place);
    };
    const auto stopped = moden::minimize_lbfgs(policy, near_edge.data(), 1, edge);
    CHECK(near_edge.back()[0] > T(1));
    CHECK(near_edge.back()[0] < T(1.5));
    CHECK(stopped.value == doctest::Approx(std::pow(static_cast<double>(near_edge.back()[0]), 2)).epsilon(10 * Cell::eps));
}
