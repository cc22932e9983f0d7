// Adam on every policy: its steps by hand, and a minimum found.

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/optimize/adam.hpp>

#include "policies.hpp"

using namespace moden_test;

namespace {

/// Gradient of sum (i + 1) (x_i - i)^2.
template <class T>
struct bowl_gradient {
    const T* x;
    T* gradient;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        gradient[i] = T(2) * static_cast<T>(i + 1) * (x[i] - static_cast<T>(i));
    }
};

}  // namespace

TEST_CASE_TEMPLATE("adam takes the steps of its definition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const placed<Policy, T> x(policy, {T(1), T(-2), T(0.5)});
    moden::adam<Policy, T> optimizer(policy, 3);
    double m[3] = {}, v[3] = {}, expected[3] = {1, -2, 0.5};
    for (int step = 1; step <= 5; ++step) {
        const std::vector<T> gradient{T(0.25 * step), T(-1), T(0)};
        const placed<Policy, T> g(policy, gradient);
        optimizer.step(policy, 0.1, x.data(), g.data());
        for (std::size_t i = 0; i < 3; ++i) {
            const double value = static_cast<double>(gradient[i]);
            m[i] = 0.9 * m[i] + 0.1 * value;
            v[i] = 0.999 * v[i] + 0.001 * value * value;
            expected[i] -= 0.1 * (m[i] / (1 - std::pow(0.9, step))) / (std::sqrt(v[i] / (1 - std::pow(0.999, step))) + 1e-8);
        }
        const std::vector<T> now = x.back();
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK(static_cast<double>(now[i]) == doctest::Approx(expected[i]).epsilon(100 * Cell::eps));
        }
    }
}

TEST_CASE_TEMPLATE("adam finds a minimum", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    //! [adam]
    const std::size_t size = 20;
    const placed<Policy, T> x(policy, std::vector<T>(size, T(0)));
    const placed<Policy, T> gradient(policy, std::vector<T>(size));
    moden::adam<Policy, T> optimizer(policy, size);
    for (int step = 0; step < 2000; ++step) {
        policy.transform(size, bowl_gradient<T>{x.data(), gradient.data()});
        optimizer.step(policy, step < 1500 ? 0.1 : 0.001, x.data(), gradient.data());
    }
    //! [adam]
    const std::vector<T> found = x.back();
    for (std::size_t i = 0; i < size; ++i) {
        CHECK(std::abs(static_cast<double>(found[i]) - static_cast<double>(i)) < 1e-3);
    }
    using optimizer_type = moden::adam<Policy, T>;
    CHECK_THROWS_AS(optimizer_type(policy, 3, {.first_decay = 1}), moden::argument_error);
    CHECK_THROWS_AS(optimizer_type(policy, 3, {.second_decay = -0.1}), moden::argument_error);
    CHECK_THROWS_AS(optimizer_type(policy, 3, {.epsilon = 0}), moden::argument_error);
}
