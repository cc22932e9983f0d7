// Sums of maps, maps of callables and automatic differentiation, on every policy.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/maps/affine_map.hpp>
#include <moden/maps/automatic_map.hpp>
#include <moden/maps/callable_map.hpp>
#include <moden/maps/check_derivatives.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/maps/dual.hpp>
#include <moden/maps/summed_map.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

/// Radius, angle and a few more things of n numbers, written once for numbers and duals.
struct polar {
    std::size_t inputs;

    template <class S>
    MODEN_HOST_DEVICE void operator()(const S* x, S* y) const {
        using std::atan2;
        using std::exp;
        using std::sqrt;
        using std::tanh;
        S square(0);
        for (std::size_t i = 0; i < inputs; ++i) {
            square += x[i] * x[i];
        }
        y[0] = sqrt(square);
        y[1] = atan2(x[0], x[1]);
        y[2] = exp(-x[0]) / (S(1) + x[1] * x[1]);
        y[3] = x[0] < x[1] ? tanh(x[0] * x[1]) : x[1] - x[0];
        y[4] = 3;  // a constant
    }
};

/// Every function of a dual at a point where none has a kink.
struct all_functions {
    template <class S>
    MODEN_HOST_DEVICE void operator()(const S* x, S* y) const {
        using std::abs;
        using std::atan;
        using std::atan2;
        using std::cos;
        using std::exp;
        using std::log;
        using std::pow;
        using std::sin;
        using std::sqrt;
        using std::tan;
        using std::tanh;
        const S a = x[0], b = x[1];
        y[0] = a + b, y[1] = a - b, y[2] = a * b, y[3] = a / b, y[4] = -a, y[5] = abs(-b);
        y[6] = sqrt(b), y[7] = exp(a), y[8] = log(b), y[9] = sin(a), y[10] = cos(a), y[11] = tan(a);
        y[12] = atan(a), y[13] = tanh(a), y[14] = atan2(a, b), y[15] = pow(b, a);
        y[16] = static_cast<S>(pow(b, 3)), y[17] = 2 - a, y[18] = 1 / b, y[19] = a * 3 + 1;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("dual numbers follow the chain rule", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const T u = T(0.3), v = T(1.7);
    const double a = static_cast<double>(u), b = static_cast<double>(v);
    //! [dual]
    moden::dual<T, 2> x[2] = {u, v}, y[20];
    x[0].slope[0] = 1;  // direction 0 changes x_0
    x[1].slope[1] = 1;  // direction 1 changes x_1
    all_functions{}(x, y);  // y[i].slope[j] is dy_i / dx_j
    //! [dual]
    const double cosine = std::cos(a), hyperbolic = std::tanh(a), square = a * a + b * b, power = std::pow(b, a);
    const std::vector<std::pair<double, double>> expected{
        {1, 1}, {1, -1}, {b, a}, {1 / b, -a / (b * b)}, {-1, 0}, {0, 1}, {0, 0.5 / std::sqrt(b)}, {std::exp(a), 0}, {0, 1 / b}, {cosine, 0},
        {-std::sin(a), 0}, {1 / (cosine * cosine), 0}, {1 / (1 + a * a), 0}, {1 - hyperbolic * hyperbolic, 0}, {b / square, -a / square},
        {power * std::log(b), a * power / b}, {0, 3 * b * b}, {-1, 0}, {0, -1 / (b * b)}, {3, 0}};
    T values[20];
    const T numbers[2] = {u, v};
    all_functions{}(numbers, values);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        const double scale = std::max(1.0, std::abs(expected[i].first) + std::abs(expected[i].second));
        CHECK(std::abs(static_cast<double>(y[i].value) - static_cast<double>(values[i])) <= 8 * Cell::eps * std::max(1.0, std::abs(static_cast<double>(values[i]))));
        CHECK(std::abs(static_cast<double>(y[i].slope[0]) - expected[i].first) <= 20 * Cell::eps * scale);
        CHECK(std::abs(static_cast<double>(y[i].slope[1]) - expected[i].second) <= 20 * Cell::eps * scale);
    }
    const moden::dual<T> zero(0);
    CHECK(abs(zero).slope[0] == T(0));
    CHECK(pow(zero, 0).slope[0] == T(0));
    // A dual as exponent: constants leave what a number would, at bases where log has no value too.
    for (const T base : {T(-1.5), T(0), T(2)}) {
        moden::dual<T> at(base);
        at.slope[0] = 2;
        CHECK(pow(at, moden::dual<T>(3)).value == std::pow(base, T(3)));
        CHECK(pow(at, moden::dual<T>(3)).slope[0] == pow(at, T(3)).slope[0]);
        CHECK(pow(at, moden::dual<T>(0)).slope[0] == T(0));
    }
    moden::dual<T> two(2);
    two.slope[0] = 1;
    CHECK(pow(zero, two).slope[0] == T(0));  // 0^b is 0 for all b > 0
    CHECK((zero < moden::dual<T>(1) && !(zero > T(1)) && zero <= T(0) && zero >= T(0) && zero == T(0)));
}

TEST_CASE_TEMPLATE("automatic_map: derivatives of a function that is written once", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto x = to_policy(policy, moden::tensor<T, 1>{T(0.5), T(1.25), T(-0.75), T(2)});
    //! [automatic_map]
    const auto map = moden::make_automatic_map<T>(4, 5, polar{4});  // polar{4}(x, y) reads 4 numbers and writes 5
    const auto check = moden::check_derivatives(policy, map, x);
    //! [automatic_map]
    static_assert(moden::differentiable_map<std::remove_cv_t<decltype(map)>, typename Cell::policy, T>);
    CHECK(check.adjoint < 10 * Cell::eps);
    CHECK(check.difference < 20 * std::pow(Cell::eps, 2.0 / 3));
    // Seven tangents: a chunk of four and one that is not full. The Jacobian row by row and by unit tangents.
    const array tangents = random_matrix(7, 4, 3);
    const array forward = to_array(policy, map.jvp(policy, x, to_policy(policy, to_tensor<T, 2>(tangents))));
    array identity({5, 5});
    for (std::size_t i = 0; i < 5; ++i) {
        identity(i, i) = 1;
    }
    const array jacobian = to_array(policy, map.vjp(policy, x, to_policy(policy, to_tensor<T, 2>(identity))));
    CHECK(frobenius(difference(forward, matmul(tangents, transpose(jacobian)))) <= 30 * Cell::eps);
    const double radius = std::sqrt(0.25 + 1.5625 + 0.5625 + 4);
    CHECK(jacobian(0, 3) == doctest::Approx(2 / radius).epsilon(10 * Cell::eps));
    CHECK(jacobian(4, 1) == 0);
    CHECK(to_array(policy, map.value(policy, x)).data[0] == doctest::Approx(radius).epsilon(10 * Cell::eps));
    const auto shorter = to_policy(policy, random_tensor<T, 1>({3}, 1));
    CHECK_THROWS_WITH_AS(map.value(policy, shorter), "automatic_map::value: x has the shape 3 (expected a vector of 4)", moden::shape_error);
    const auto narrow = moden::make_automatic_map<T>(4, 5, polar{4}, {.largest_input = 3});
    const auto block = to_policy(policy, to_tensor<T, 2>(identity));
    CHECK_THROWS_WITH_AS(narrow.vjp(policy, x, block), doctest::Contains("4 inputs would take as many tangents (expected at most largest_input = 3"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::make_automatic_map<T>(0, 5, polar{4}), doctest::Contains("from 0 to 5 numbers"), moden::argument_error);
}

TEST_CASE_TEMPLATE("summed_map", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const array a = random_matrix(5, 4, 1);
    const auto smooth = moden::make_automatic_map<T>(4, 5, polar{4});
    const moden::affine_map linear(policy, to_policy(policy, to_tensor<T, 2>(a)));
    const auto x = to_policy(policy, moden::tensor<T, 1>{T(0.5), T(1.25), T(-0.75), T(2)});
    //! [summed_map]
    const moden::summed_map both(smooth, linear);
    const moden::summed_map apart({2, -1}, smooth, linear);  // 2 f - g
    const auto value = apart.value(policy, x);
    //! [summed_map]
    static_assert(moden::differentiable_map<std::remove_cv_t<decltype(apart)>, typename Cell::policy, T>);
    const array f = to_array(policy, smooth.value(policy, x)), g = to_array(policy, linear.value(policy, x));
    const array sum = to_array(policy, both.value(policy, x)), difference_of_maps = to_array(policy, value);
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(std::abs(sum.data[i] - f.data[i] - g.data[i]) <= 4 * Cell::eps * 5);
        CHECK(std::abs(difference_of_maps.data[i] - 2 * f.data[i] + g.data[i]) <= 4 * Cell::eps * 10);
    }
    const auto check = moden::check_derivatives(policy, apart, x);
    CHECK(check.adjoint < 10 * Cell::eps);
    CHECK(check.difference < 20 * std::pow(Cell::eps, 2.0 / 3));
    using linear_map = std::remove_cv_t<decltype(linear)>;
    static_assert(!std::is_constructible_v<moden::summed_map<linear_map, linear_map>, const linear_map&, linear_map>);  // it would keep a reference
    static_assert(std::is_copy_constructible_v<std::remove_cv_t<decltype(both)>>);
    const moden::affine_map other(policy, to_policy(policy, to_tensor<T, 2>(transpose(a))));
    CHECK_THROWS_WITH_AS(moden::summed_map(smooth, linear, other), "summed_map: map 2 leads from 5 to 4 numbers, map 0 from 4 to 5",
                         moden::shape_error);
}

TEST_CASE_TEMPLATE("callable_map checks what comes back", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const moden::affine_map matrix(policy, to_policy(policy, to_tensor<T, 2>(random_matrix(3, 4, 1))));
    const auto x = to_policy(policy, random_tensor<T, 1>({4}, 2));
    //! [callable_map]
    const moden::callable_map map(
        4, 3, [&](const auto& where, const auto& at) { return matrix.value(where, at); },
        [&](const auto& where, const auto& at, const auto& tangents) { return matrix.jvp(where, at, tangents); },
        [&](const auto& where, const auto& at, const auto& cotangents) { return matrix.vjp(where, at, cotangents); });
    const auto check = moden::check_derivatives(policy, map, x);
    //! [callable_map]
    static_assert(moden::differentiable_map<std::remove_cv_t<decltype(map)>, typename Cell::policy, T>);
    CHECK(check.adjoint < 10 * Cell::eps);
    const auto wrong = [&](const auto& where, const auto& at, const auto& block) { return matrix.jvp(where, at, block); };
    const auto value = [&](const auto& where, const auto& at) { return matrix.value(where, at); };
    const moden::callable_map swapped(4, 4, value, wrong, wrong);
    const auto block = to_policy(policy, random_tensor<T, 2>({2, 4}, 3));
    CHECK_THROWS_WITH_AS(swapped.value(policy, x), "callable_map::value: the result has the shape 3 (expected a vector of 4)", moden::shape_error);
    CHECK_THROWS_WITH_AS(swapped.vjp(policy, x, block),
                         "callable_map::vjp: the result has the shape 2 x 3 for an argument of the shape 2 x 4 (expected k x 4)", moden::shape_error);
    // On the host anything that holds the numbers will do: other layouts, expressions.
    if constexpr (std::is_same_v<typename Cell::policy::memory_space, moden::host_memory>) {
        const moden::callable_map other(
            4, 3, [&](const auto& where, const auto& at) { return xt::xarray<T>(matrix.value(where, at)); },
            [&](const auto& where, const auto& at, const auto& rows) { return xt::xtensor<T, 2, xt::layout_type::column_major>(matrix.jvp(where, at, rows)); },
            [&](const auto& where, const auto& at, const auto& rows) { return xt::xtensor<T, 2, xt::layout_type::column_major>(matrix.vjp(where, at, rows)); });
        static_assert(moden::differentiable_map<std::remove_cv_t<decltype(other)>, typename Cell::policy, T>);
        CHECK(to_array(policy, other.jvp(policy, x, block)).data == to_array(policy, map.jvp(policy, x, block)).data);
        const auto same = moden::check_derivatives(policy, other, x);
        CHECK(same.adjoint < 10 * Cell::eps);
    }
    CHECK_THROWS_WITH_AS(moden::callable_map(0, 4, value, wrong, wrong), doctest::Contains("from 0 to 4 numbers"), moden::argument_error);
}
