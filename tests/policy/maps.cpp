// Differentiable maps on every policy: matrices, compositions, masks, and the check that finds wrong derivatives.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/maps/affine_map.hpp>
#include <moden/maps/check_derivatives.hpp>
#include <moden/maps/composed_map.hpp>
#include <moden/maps/masked_map.hpp>
#include <moden/regression/least_squares.hpp>

#include "policies.hpp"

using namespace moden_test;

namespace {

/// y_i = x_i^3 + x_{i+1} x_i, with the last x followed by the first one.
template <class T>
MODEN_HOST_DEVICE T cubic(const T* x, std::size_t i, std::size_t n) {
    return x[i] * x[i] * x[i] + x[(i + 1) % n] * x[i];
}

template <class T>
struct cubic_value {
    const T* x;
    T* y;
    std::size_t n;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { y[i] = cubic(x, i, n); }
};

template <class T>
struct cubic_jvp {
    const T* x;
    const T* t;
    T* y;
    std::size_t n;
    T fault;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t i) const {
        const T* v = t + row * n;
        const std::size_t j = (i + 1) % n;
        y[row * n + i] = (T(3) * x[i] * x[i] + x[j]) * v[i] + x[i] * v[j] * fault;
    }
};

template <class T>
struct cubic_vjp {
    const T* x;
    const T* u;
    T* y;
    std::size_t n;
    T fault;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t i) const {
        const T* v = u + row * n;
        const std::size_t before = (i + n - 1) % n;
        y[row * n + i] = (T(3) * x[i] * x[i] + x[(i + 1) % n]) * v[i] + x[before] * v[before] * fault;
    }
};

/// A map of the test's own, as users write theirs; `fault` other than 1 spoils a derivative.
template <class T>
struct cubic_map {
    std::size_t n;
    T jvp_fault = T(1);
    T vjp_fault = T(1);

    std::size_t input_size() const { return n; }
    std::size_t output_size() const { return n; }
    auto value(const auto& policy, const auto& x) const {
        auto y = policy.template make_tensor<T, 1>({n});
        policy.transform(n, cubic_value<T>{x.data(), y.data(), n});
        return y;
    }
    auto jvp(const auto& policy, const auto& x, const auto& tangents) const {
        auto y = policy.template make_tensor<T, 2>({tangents.shape()[0], n});
        policy.transform_grid(tangents.shape()[0], n, cubic_jvp<T>{x.data(), tangents.data(), y.data(), n, jvp_fault});
        return y;
    }
    auto vjp(const auto& policy, const auto& x, const auto& cotangents) const {
        auto y = policy.template make_tensor<T, 2>({cotangents.shape()[0], n});
        policy.transform_grid(cotangents.shape()[0], n, cubic_vjp<T>{x.data(), cotangents.data(), y.data(), n, vjp_fault});
        return y;
    }
};

template <class T, class Policy, class Tensor>
std::vector<double> downloaded(const Policy& policy, const Tensor& tensor) {
    std::vector<T> host(tensor.size());
    policy.download(static_cast<const T*>(tensor.data()), host.data(), host.size());
    return {host.begin(), host.end()};
}

}  // namespace

TEST_CASE_TEMPLATE("check_derivatives tells right from wrong", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    static_assert(moden::differentiable_map<cubic_map<T>, Policy, T>);
    const cubic_map<T> map{30};
    const auto x = to_policy(policy, random_tensor<T, 1>({30}, 1));
    //! [check_derivatives]
    const moden::derivative_check check = moden::check_derivatives(policy, map, x);
    // check.adjoint: how far <J t, u> is from <t, J' u>; check.difference: how far J t is from a central difference
    //! [check_derivatives]
    CHECK(check.adjoint < 10 * Cell::eps);
    CHECK(check.difference < 20 * std::pow(Cell::eps, 2.0 / 3));
    CHECK(moden::check_derivatives(policy, cubic_map<T>{30, T(1), T(1.01)}, x).adjoint > 1e-5);
    CHECK(moden::check_derivatives(policy, cubic_map<T>{30, T(1.1), T(1.1)}, x).difference > 1e-2);
    CHECK(moden::check_derivatives(policy, cubic_map<T>{30, T(1.1), T(1.1)}, x).adjoint < 10 * Cell::eps);
    CHECK_THROWS_AS(moden::check_derivatives(policy, map, x, {.directions = 0}), moden::argument_error);
    CHECK_THROWS_AS(moden::check_derivatives(policy, map, x, {.step = -1}), moden::argument_error);
    const auto shorter = to_policy(policy, random_tensor<T, 1>({29}, 1));
    CHECK_THROWS_WITH_AS(moden::check_derivatives(policy, map, shorter),
                         "check_derivatives: x has the shape 29 (expected a vector of 30)", moden::shape_error);
}

TEST_CASE_TEMPLATE("masked_map", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const cubic_map<T> map{6};
    const auto x = to_policy(policy, random_tensor<T, 1>({6}, 1));
    const auto mask = to_policy(policy, moden::tensor<T, 1>{1, 0, 0.5, 0, 1, 0});
    //! [masked_map]
    const moden::masked_map region(policy, map, mask);
    const auto inside = region.value(policy, x);  // zero where the mask is
    //! [masked_map]
    static_assert(moden::differentiable_map<std::remove_cv_t<decltype(region)>, Policy, T>);
    const auto download = [&](const auto& tensor) {
        std::vector<T> host(tensor.size());
        policy.download(static_cast<const T*>(tensor.data()), host.data(), host.size());
        return host;
    };
    const std::vector<T> whole = download(map.value(policy, x));
    const std::vector<T> part = download(inside);
    const double weights[] = {1, 0, 0.5, 0, 1, 0};
    for (std::size_t i = 0; i < 6; ++i) {
        CHECK(static_cast<double>(part[i]) == doctest::Approx(weights[i] * static_cast<double>(whole[i])).epsilon(1e-6));
    }
    const auto check = moden::check_derivatives(policy, region, x);
    CHECK(check.adjoint < 10 * Cell::eps);
    CHECK(check.difference < 20 * std::pow(Cell::eps, 2.0 / 3));
    const auto longer = to_policy(policy, random_tensor<T, 1>({7}, 1));
    CHECK_THROWS_WITH_AS((moden::masked_map(policy, map, longer)), "masked_map: the mask has the shape 7 (expected a vector of 6)",
                         moden::shape_error);
}

TEST_CASE_TEMPLATE("affine_map", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto host_a = random_tensor<T, 2>({5, 8}, 1);
    const auto host_b = random_tensor<T, 1>({5}, 2);
    const auto host_x = random_tensor<T, 2>({3, 8}, 3);
    const auto a = to_policy(policy, host_a);
    const auto b = to_policy(policy, host_b);
    const auto points = to_policy(policy, host_x);
    const auto x = to_policy(policy, random_tensor<T, 1>({8}, 3));  // the first of the points
    //! [affine_map]
    const moden::affine_map map(policy, a, b);    // A x + b; without b: A x
    const auto y = map.value(policy, x);
    const auto batch = map.values(policy, points);  // one point per row
    //! [affine_map]
    static_assert(moden::differentiable_map<std::remove_cv_t<decltype(map)>, Policy, T>);
    CHECK(map.input_size() == 8);
    CHECK(map.output_size() == 5);
    const moden::affine_map linear(policy, a);
    const auto one = downloaded<T>(policy, y), all = downloaded<T>(policy, batch), moved = downloaded<T>(policy, linear.jvp(policy, x, points));
    const auto without = downloaded<T>(policy, linear.value(policy, x));
    for (std::size_t n = 0; n < 3; ++n) {
        for (std::size_t i = 0; i < 5; ++i) {
            double product = 0;
            for (std::size_t j = 0; j < 8; ++j) {
                product += static_cast<double>(host_a(i, j)) * static_cast<double>(host_x(n, j));
            }
            CHECK(std::abs(all[n * 5 + i] - product - static_cast<double>(host_b(i))) <= 20 * Cell::eps);
            CHECK(std::abs(moved[n * 5 + i] - product) <= 20 * Cell::eps);
            if (n == 0) {
                CHECK(std::abs(one[i] - product - static_cast<double>(host_b(i))) <= 20 * Cell::eps);
                CHECK(std::abs(without[i] - product) <= 20 * Cell::eps);
            }
        }
    }
    // Of a linear map the central difference is exact up to rounding, whose share eps / step is eps^(2/3).
    const auto check = moden::check_derivatives(policy, map, x);
    CHECK(check.adjoint < 10 * Cell::eps);
    CHECK(check.difference < 20 * std::pow(Cell::eps, 2.0 / 3));
    // A planted regressor: its predictions are the map's values.
    const auto samples = to_policy(policy, random_tensor<T, 2>({40, 8}, 5));
    const auto targets = map.values(policy, samples);
    //! [make_affine_map]
    const auto regressor = moden::make_affine_map(policy, moden::least_squares(policy, samples, targets));
    //! [make_affine_map]
    const auto found = downloaded<T>(policy, regressor.value(policy, x));
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(std::abs(found[i] - one[i]) <= 200 * Cell::eps);
    }
    const auto nine = to_policy(policy, random_tensor<T, 1>({9}, 1));
    const auto of_nine = to_policy(policy, random_tensor<T, 2>({2, 9}, 1));
    CHECK_THROWS_WITH_AS((moden::affine_map(policy, a, nine)), "affine_map: the offset has the shape 9 (expected a vector of 5)", moden::shape_error);
    CHECK_THROWS_WITH_AS((moden::affine_map(policy, nine)), doctest::Contains("order 1"), moden::shape_error);
    CHECK_THROWS_AS(map.value(policy, nine), moden::shape_error);
    CHECK_THROWS_AS(map.values(policy, of_nine), moden::shape_error);
    CHECK_THROWS_AS(map.jvp(policy, nine, points), moden::shape_error);
    CHECK_THROWS_WITH_AS(map.jvp(policy, x, of_nine), "affine_map::jvp: the tangents have the shape 2 x 9 (expected k x 8)", moden::shape_error);
    CHECK_THROWS_AS(map.vjp(policy, nine, of_nine), moden::shape_error);
    CHECK_THROWS_AS(map.vjp(policy, x, of_nine), moden::shape_error);
}

TEST_CASE_TEMPLATE("composed_map", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const moden::affine_map widen(policy, to_policy(policy, random_tensor<T, 2>({12, 7}, 1)), to_policy(policy, random_tensor<T, 1>({12}, 2)));
    const cubic_map<T> bend{12};
    const moden::affine_map narrow(policy, to_policy(policy, random_tensor<T, 2>({4, 12}, 3)));
    const auto x = to_policy(policy, random_tensor<T, 1>({7}, 4));
    //! [composed_map]
    const moden::composed_map bent(bend, widen);     // x -> bend(widen(x))
    const moden::composed_map chain(narrow, bent);   // x -> narrow(bend(widen(x)))
    const auto y = chain.value(policy, x);
    //! [composed_map]
    static_assert(moden::differentiable_map<std::remove_cv_t<decltype(chain)>, Policy, T>);
    CHECK(chain.input_size() == 7);
    CHECK(chain.output_size() == 4);
    CHECK(downloaded<T>(policy, y) == downloaded<T>(policy, narrow.value(policy, bend.value(policy, widen.value(policy, x)))));
    const auto check = moden::check_derivatives(policy, chain, x);
    CHECK(check.adjoint < 50 * Cell::eps);
    CHECK(check.difference < 50 * std::pow(Cell::eps, 2.0 / 3));
    CHECK_THROWS_WITH_AS((moden::composed_map(widen, narrow)), "composed_map: the inner map gives 4 numbers (expected 7, which the outer one takes)",
                         moden::shape_error);
}
