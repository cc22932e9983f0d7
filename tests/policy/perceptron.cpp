// Fully connected networks on every policy: values by their definition, derivatives by differences, and learning.

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <moden/maps/check_derivatives.hpp>
#include <moden/maps/multilayer_perceptron.hpp>
#include <moden/optimize/adam.hpp>

#include "policies.hpp"
#include "reference.hpp"

using namespace moden_test;

namespace {

/// f(x) by its definition, from parameters as they lie in memory.
std::vector<double> by_definition(const std::vector<std::size_t>& widths, moden::activation kind, const std::vector<double>& parameters, std::vector<double> x) {
    std::size_t at = 0;
    for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
        const std::size_t in = widths[l], out = widths[l + 1];
        std::vector<double> y(out);
        for (std::size_t i = 0; i < out; ++i) {
            y[i] = parameters[at + out * in + i];
            for (std::size_t j = 0; j < in; ++j) {
                y[i] += parameters[at + i * in + j] * x[j];
            }
            if (l + 2 < widths.size()) {
                y[i] = kind == moden::activation::relu ? std::max(y[i], 0.0) : std::tanh(y[i]);
            }
        }
        at += out * (in + 1);
        x = y;
    }
    return x;
}

template <class Policy, class T>
std::vector<double> parameters_of(const Policy& policy, const moden::multilayer_perceptron<Policy, T>& net) {
    std::vector<T> host(net.parameter_count());
    policy.download(net.parameters(), host.data(), host.size());
    return {host.begin(), host.end()};
}

/// Biases other than 0, so that tests see them.
template <class Policy, class T>
void set_biases(const Policy& policy, moden::multilayer_perceptron<Policy, T>& net, std::uint64_t seed) {
    for (std::size_t l = 0; l < net.layers(); ++l) {
        moden::fill_normal(policy, net.bias(l), net.widths()[l + 1], seed, l);
    }
}

}  // namespace

TEST_CASE_TEMPLATE("a multilayer perceptron is what it says, with the derivatives of what it says", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    //! [multilayer_perceptron]
    moden::multilayer_perceptron<Policy, T> net(policy, {6, 20, 12, 4}, {.hidden = moden::activation::tanh, .seed = 3});
    const auto points = to_policy(policy, random_tensor<T, 2>({9, 6}, 1));
    const auto outputs = net.values(policy, points);  // one point per row
    //! [multilayer_perceptron]
    static_assert(moden::differentiable_map<moden::multilayer_perceptron<Policy, T>, Policy, T>);
    CHECK(outputs.shape()[0] == 9);
    CHECK(net.parameter_count() == 20 * 7 + 12 * 21 + 4 * 13);
    for (const auto& widths : std::vector<std::vector<std::size_t>>{{6, 20, 12, 4}, {6, 4}}) {
        for (const moden::activation kind : {moden::activation::relu, moden::activation::tanh}) {
            moden::multilayer_perceptron<Policy, T> any(policy, widths, {.hidden = kind, .seed = 5});
            set_biases(policy, any, 9);
            const std::vector<double> parameters = parameters_of(policy, any);
            const array x = to_array(policy, points), all = to_array(policy, any.values(policy, points));
            for (std::size_t n = 0; n < 9; ++n) {
                const auto wanted = by_definition(widths, kind, parameters, {x.data.begin() + static_cast<long>(6 * n), x.data.begin() + static_cast<long>(6 * n + 6)});
                for (std::size_t i = 0; i < 4; ++i) {
                    CHECK(std::abs(all(n, i) - wanted[i]) <= 100 * Cell::eps);
                }
            }
            const auto point = to_policy(policy, random_tensor<T, 1>({6}, 1));  // the first of the points
            const array one = to_array(policy, any.value(policy, point));
            for (std::size_t i = 0; i < 4; ++i) {
                CHECK(std::abs(one.data[i] - all(0, i)) <= 100 * Cell::eps);
            }
            const auto check = moden::check_derivatives(policy, any, point, {.directions = 4, .seed = 2});
            CHECK(check.adjoint <= 30 * Cell::eps);
            // A difference may step over a kink of ReLU; these points and seeds do not.
            CHECK(check.difference <= 50 * std::pow(Cell::eps, 2.0 / 3));

            // Gradients in the parameters, against differences of the definition in double precision.
            const auto pass = any.forward(policy, points);
            CHECK(to_array(policy, pass.outputs).data == all.data);
            const auto cotangents = to_policy(policy, random_tensor<T, 2>({9, 4}, 7));
            const array u = to_array(policy, cotangents);
            const placed<Policy, T> gradient(policy, std::vector<T>(any.parameter_count(), T(99)));
            any.backward(policy, pass, cotangents, gradient.data());
            const std::vector<T> found = gradient.back();
            const auto loss = [&](const std::vector<double>& at) {
                double sum = 0;
                for (std::size_t n = 0; n < 9; ++n) {
                    const auto y = by_definition(widths, kind, at, {x.data.begin() + static_cast<long>(6 * n), x.data.begin() + static_cast<long>(6 * n + 6)});
                    for (std::size_t i = 0; i < 4; ++i) {
                        sum += u(n, i) * y[i];
                    }
                }
                return sum;
            };
            double worst = 0;
            for (std::size_t p = 0; p < found.size(); ++p) {
                std::vector<double> ahead = parameters, behind = parameters;
                ahead[p] += 1e-6, behind[p] -= 1e-6;
                worst = std::max(worst, std::abs((loss(ahead) - loss(behind)) / 2e-6 - static_cast<double>(found[p])));
            }
            CHECK(worst <= 1e-7 + 500 * Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("weights start as He et al. say, the same on every policy", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const moden::multilayer_perceptron<Policy, T> net(policy, {100, 200, 50}, {.seed = 4});
    const std::vector<double> parameters = parameters_of(policy, net);
    double first = 0, second = 0, biases = 0;
    for (std::size_t p = 0; p < parameters.size(); ++p) {
        const bool of_first = p < 20200;
        const bool is_bias = of_first ? p >= 20000 : p >= 30200;
        (is_bias ? biases : of_first ? first : second) += parameters[p] * parameters[p];
    }
    // Means of 20000 and 10000 squares: two standard deviations are 0.02 and 0.03 of the variance.
    CHECK(first / 20000 == doctest::Approx(2.0 / 100).epsilon(0.03));
    CHECK(second / 10000 == doctest::Approx(1.0 / 200).epsilon(0.04));
    CHECK(biases == 0);
    const moden::multilayer_perceptron<moden::cpu_policy, T> here(moden::cpu_policy{}, {100, 200, 50}, {.seed = 4});
    const std::vector<double> same = parameters_of(moden::cpu_policy{}, here);
    double apart = 0;
    for (std::size_t p = 0; p < same.size(); ++p) {
        apart = std::max(apart, std::abs(same[p] - parameters[p]));
    }
    CHECK(apart <= 10 * Cell::eps);
}

TEST_CASE_TEMPLATE("a perceptron learns, and refuses what does not fit", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto points = random_tensor<T, 2>({200, 2}, 1);
    auto wanted = moden::tensor<T, 2>::from_shape({200, 1});
    for (std::size_t n = 0; n < 200; ++n) {
        wanted(n, 0) = points(n, 0) * points(n, 1);  // no linear map comes near it
    }
    const auto x = to_policy(policy, points), y = to_policy(policy, wanted);
    //! [perceptron_training]
    moden::multilayer_perceptron<Policy, T> net(policy, {2, 32, 32, 1}, {.seed = 1});
    moden::adam<Policy, T> optimiser(policy, net.parameter_count());
    const placed<Policy, T> gradient(policy, std::vector<T>(net.parameter_count()));
    double first = 0, last = 0;
    for (std::size_t round = 0; round < 300; ++round) {
        auto pass = net.forward(policy, x);
        auto& residual = pass.outputs;
        policy.transform(residual.size(), moden::detail::difference_of<T>{residual.data(), y.data(), residual.data()});
        last = moden::detail::sum_of_squares(policy, static_cast<const T*>(residual.data()), residual.size());
        net.backward(policy, pass, residual, gradient.data());
        optimiser.step(policy, 0.01, net.parameters(), gradient.data());
        first = round == 0 ? last : first;
    }
    //! [perceptron_training]
    CHECK(last < 0.01 * first);

    using network = moden::multilayer_perceptron<Policy, T>;
    CHECK_THROWS_WITH_AS((network(policy, {3})), doctest::Contains("1 widths"), moden::argument_error);
    CHECK_THROWS_WITH_AS((network(policy, {3, 0, 2})), doctest::Contains("the least of which is 0"), moden::argument_error);
    const auto wide = to_policy(policy, random_tensor<T, 2>({4, 3}, 1));
    const auto longer = to_policy(policy, random_tensor<T, 1>({3}, 1)), point = to_policy(policy, random_tensor<T, 1>({2}, 1));
    CHECK_THROWS_WITH_AS(net.values(policy, wide), "multilayer_perceptron::values: the points have the shape 4 x 3 (expected k x 2)", moden::shape_error);
    CHECK_THROWS_AS(net.value(policy, longer), moden::shape_error);
    CHECK_THROWS_AS(net.jvp(policy, longer, x), moden::shape_error);
    CHECK_THROWS_AS(net.jvp(policy, point, wide), moden::shape_error);
    CHECK_THROWS_AS(net.vjp(policy, point, wide), moden::shape_error);
    CHECK_THROWS_AS(net.forward(policy, wide), moden::shape_error);
    const auto pass = net.forward(policy, x);
    CHECK_THROWS_AS(net.backward(policy, pass, wide, gradient.data()), moden::shape_error);
    const auto fewer = to_policy(policy, random_tensor<T, 2>({4, 1}, 1));
    CHECK_THROWS_WITH_AS(net.backward(policy, pass, fewer, gradient.data()), doctest::Contains("4 cotangents for a pass of 200"), moden::shape_error);
}
