// Edits of codes by a map to attributes, on every policy: exact where the map is linear, descending where it is not.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include <moden/editing/attribute_editing.hpp>
#include <moden/maps/affine_map.hpp>
#include <moden/maps/composed_map.hpp>
#include <moden/maps/multilayer_perceptron.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

double distance(const array& a, const array& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.data.size(); ++i) {
        sum += (a.data[i] - b.data[i]) * (a.data[i] - b.data[i]);
    }
    return std::sqrt(sum);
}

/// A map whose values or products hold a NaN.
template <class Map>
struct faulty_map {
    const Map& map;
    bool in_values;

    std::size_t input_size() const { return map.input_size(); }
    std::size_t output_size() const { return map.output_size(); }
    auto value(const auto& policy, const auto& x) const { return spoilt(policy, map.value(policy, x), in_values); }
    auto jvp(const auto& policy, const auto& x, const auto& block) const { return spoilt(policy, map.jvp(policy, x, block), !in_values); }
    auto vjp(const auto& policy, const auto& x, const auto& block) const { return spoilt(policy, map.vjp(policy, x, block), !in_values); }

private:
    template <class Tensor>
    Tensor spoilt(const auto& policy, Tensor tensor, bool really) const {
        using T = moden::value_type_of<Tensor>;
        const T nan = std::numeric_limits<T>::quiet_NaN();
        if (really) {
            policy.upload(&nan, tensor.data() + 1, 1);
        }
        return tensor;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("a linear edit is exact and shortest where the regressor is linear", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto matrix = to_policy(policy, random_tensor<T, 2>({4, 10}, 1));
    const moden::affine_map regressor(policy, matrix, to_policy(policy, random_tensor<T, 1>({4}, 2)));
    const auto code = to_policy(policy, random_tensor<T, 1>({10}, 3));
    const auto target = to_policy(policy, random_tensor<T, 1>({4}, 4));
    //! [linear_attribute_edit]
    const auto edit = moden::linear_attribute_edit(policy, regressor, code, target);
    // edit.code: the edited code; edit.attributes: what the regressor says of it; edit.status: whether its Jacobian had full rank
    //! [linear_attribute_edit]
    CHECK(edit.status == moden::jacobian_status::full_rank);
    CHECK(edit.rank == 4);
    CHECK(edit.singular_values.size() == 4);
    CHECK(edit.start_error > 0.1);
    CHECK(edit.attribute_error <= 100 * Cell::eps);
    CHECK(distance(to_array(policy, edit.attributes), to_array(policy, target)) <= 100 * Cell::eps);
    CHECK(edit.distance == doctest::Approx(distance(to_array(policy, edit.code), to_array(policy, code))));
    // Shortest: the change is a combination of the rows of A, so that nothing orthogonal to them is in it.
    const array w0 = to_array(policy, code), w = to_array(policy, edit.code), a = to_array(policy, matrix);
    array gram({4, 4}), right({4, 1});
    for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t k = 0; k < 10; ++k) {
            right(i, 0) += a(i, k) * (w.data[k] - w0.data[k]);
            for (std::size_t j = 0; j < 4; ++j) {
                gram(i, j) += a(i, k) * a(j, k);
            }
        }
    }
    // |c|^2 = (A c)' (A A')^-1 (A c) holds for such changes only; by elimination.
    array solved = right;
    for (std::size_t p = 0; p < 4; ++p) {
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != p) {
                const double factor = gram(i, p) / gram(p, p);
                for (std::size_t j = 0; j < 4; ++j) {
                    gram(i, j) -= factor * gram(p, j);
                }
                solved(i, 0) -= factor * solved(p, 0);
            }
        }
    }
    double square = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        square += right(i, 0) * solved(i, 0) / gram(i, i);
    }
    CHECK(edit.distance * edit.distance == doctest::Approx(square).epsilon(1e3 * Cell::eps));

    // Damped: (A'A + rho^2 I) c = A' (q - phi(w_0)).
    const auto damped = moden::linear_attribute_edit(policy, regressor, code, target, {.damping = 0.7});
    CHECK(damped.distance < edit.distance);
    const array near = to_array(policy, damped.code), missing = to_array(policy, damped.attributes), wanted = to_array(policy, target);
    for (std::size_t k = 0; k < 10; ++k) {
        double gradient = 0.49 * (near.data[k] - w0.data[k]);
        for (std::size_t i = 0; i < 4; ++i) {
            gradient += a(i, k) * (missing.data[i] - wanted.data[i]);
        }
        CHECK(std::abs(gradient) <= 100 * Cell::eps);
    }

    // Steps along the way end in the same place; with more attributes than numbers in the code, the nearest attributes are reached.
    CHECK(distance(to_array(policy, moden::linear_attribute_edit(policy, regressor, code, target, {.steps = 4}).code), w) <= 200 * Cell::eps);
    const moden::affine_map tall(policy, to_policy(policy, random_tensor<T, 2>({9, 3}, 5)));
    const auto few = to_policy(policy, random_tensor<T, 1>({3}, 6));
    const auto many = to_policy(policy, random_tensor<T, 1>({9}, 7));
    const auto nearest = moden::linear_attribute_edit(policy, tall, few, many);
    CHECK(nearest.status == moden::jacobian_status::full_rank);
    CHECK(nearest.attribute_error < nearest.start_error);
    auto residual = policy.template make_tensor<T, 2>({1, 9});
    policy.transform(9, moden::detail::difference_of<T>{nearest.attributes.data(), many.data(), residual.data()});
    for (const double x : to_array(policy, tall.vjp(policy, few, residual)).data) {
        CHECK(std::abs(x) <= 100 * Cell::eps);  // the normal equations
    }
}

TEST_CASE_TEMPLATE("a Jacobian without full rank is told of, and moves what it can", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    auto rows = random_tensor<T, 2>({3, 6}, 1);
    for (std::size_t j = 0; j < 6; ++j) {
        rows(2, j) = 2 * rows(0, j);  // the third attribute is twice the first
    }
    const moden::affine_map regressor(policy, to_policy(policy, rows));
    auto zero = policy.template make_tensor<T, 1>({6});
    policy.transform(6, moden::detail::fill_with<T>{zero.data(), T(0)});
    const auto against = to_policy(policy, moden::tensor<T, 1>{1, 1, 0});
    const auto edit = moden::linear_attribute_edit(policy, regressor, zero, against);
    CHECK(edit.status == moden::jacobian_status::rank_deficient);
    CHECK(edit.rank == 2);
    const array reached = to_array(policy, edit.attributes);
    // Least squares of (x, 2 x) against (1, 0): x = 1/5.
    CHECK(std::abs(reached.data[0] - 0.2) <= 100 * Cell::eps);
    CHECK(std::abs(reached.data[1] - 1) <= 100 * Cell::eps);
    CHECK(std::abs(reached.data[2] - 0.4) <= 100 * Cell::eps);
    const auto possible = moden::linear_attribute_edit(policy, regressor, zero, to_policy(policy, moden::tensor<T, 1>{1, 1, 2}));
    CHECK(possible.status == moden::jacobian_status::rank_deficient);
    CHECK(possible.attribute_error <= 100 * Cell::eps);
    // A tolerance that leaves one direction.
    CHECK(moden::linear_attribute_edit(policy, regressor, zero, against, {.rank_tolerance = 0.999}).rank == 1);
    // A map that does not depend on the code.
    auto nothing = moden::tensor<T, 2>::from_shape({2, 6});
    std::fill(nothing.begin(), nothing.end(), T(0));
    const moden::affine_map constant(policy, to_policy(policy, nothing));
    const auto stuck = moden::linear_attribute_edit(policy, constant, zero, to_policy(policy, moden::tensor<T, 1>{1, 1}));
    CHECK(stuck.rank == 0);
    CHECK(stuck.distance == 0);
    CHECK(stuck.status == moden::jacobian_status::rank_deficient);

    using linear_map = std::remove_cv_t<decltype(regressor)>;
    const faulty_map<linear_map> without_slopes{regressor, false}, without_values{regressor, true};
    CHECK_THROWS_WITH_AS(moden::linear_attribute_edit(policy, without_slopes, zero, against), doctest::Contains("1 of 18 entries of the Jacobian are NaN"),
                         moden::solver_error);
    CHECK_THROWS_WITH_AS(moden::linear_attribute_edit(policy, without_values, zero, against), doctest::Contains("linear_attribute_edit: the map's value holds 1 values"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::gradient_attribute_edit(policy, without_slopes, zero, against), doctest::Contains("gradient_attribute_edit: the map's vjp holds 1 values"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::gradient_attribute_edit(policy, without_values, zero, against),
                         doctest::Contains("gradient_attribute_edit: the map's value holds 1 values"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::gradient_attribute_edit(policy, regressor, zero, against, without_slopes, {}),
                         doctest::Contains("the vjp of what is to be preserved holds 1 values"), moden::argument_error);
    // A Jacobian so small that the squares of its singular values are 0.
    const T tiny = std::numeric_limits<T>::digits < 30 ? T(1e-25) : T(1e-200);
    auto small_rows = random_tensor<T, 2>({2, 6}, 8);
    const auto usual = moden::linear_attribute_edit(policy, moden::affine_map(policy, to_policy(policy, small_rows)), zero, to_policy(policy, moden::tensor<T, 1>{1, -1}));
    for (std::size_t i = 0; i < 12; ++i) {
        small_rows(i / 6, i % 6) *= tiny;
    }
    const auto small = moden::linear_attribute_edit(policy, moden::affine_map(policy, to_policy(policy, small_rows)), zero,
                                                    to_policy(policy, moden::tensor<T, 1>{tiny, -tiny}));
    CHECK(small.rank == 2);
    CHECK(distance(to_array(policy, small.code), to_array(policy, usual.code)) <= 1000 * Cell::eps);
    CHECK_THROWS_WITH_AS(moden::linear_attribute_edit(policy, regressor, against, against), "linear_attribute_edit: the code has the shape 3 (expected a vector of 6)",
                         moden::shape_error);
    CHECK_THROWS_AS(moden::linear_attribute_edit(policy, regressor, zero, zero), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::linear_attribute_edit(policy, regressor, zero, against, {.steps = 0}), doctest::Contains("steps 0"), moden::argument_error);
    CHECK_THROWS_AS(moden::linear_attribute_edit(policy, regressor, zero, against, {.rank_tolerance = 1}), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::linear_attribute_edit(policy, regressor, zero, against, {.damping = -1}), doctest::Contains("damping -1"), moden::argument_error);
    const auto infinite = to_policy(policy, moden::tensor<T, 1>{1, std::numeric_limits<T>::infinity(), 0});
    CHECK_THROWS_WITH_AS(moden::linear_attribute_edit(policy, regressor, zero, infinite), doctest::Contains("the target holds 1 values"), moden::argument_error);
}

TEST_CASE_TEMPLATE("more steps follow a bent map, and a gradient edit never rises", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const moden::multilayer_perceptron<Policy, T> regressor(policy, {12, 24, 24, 5}, {.hidden = moden::activation::tanh, .seed = 3});
    const moden::multilayer_perceptron<Policy, T> picture(policy, {12, 20, 30}, {.hidden = moden::activation::tanh, .seed = 4});
    const auto code = to_policy(policy, random_tensor<T, 1>({12}, 5));
    const auto target = regressor.value(policy, to_policy(policy, random_tensor<T, 1>({12}, 6)));  // one that can be reached
    const auto once = moden::linear_attribute_edit(policy, regressor, code, target);
    const auto often = moden::linear_attribute_edit(policy, regressor, code, target, {.steps = 8});
    CHECK(often.attribute_error < 0.2 * once.attribute_error);
    CHECK(often.attribute_error < 0.02 * often.start_error);

    const auto plain = moden::gradient_attribute_edit(policy, regressor, code, target, {.tolerance = 0});
    CHECK(plain.attribute_error <= 1e-3 * plain.start_error);
    CHECK(plain.change == 0);
    //! [gradient_attribute_edit]
    const auto edit = moden::gradient_attribute_edit(policy, regressor, code, target, picture, {.preservation = 0.3, .code_preservation = 0.01});
    // what `picture` gives stays near what it was; edit.change says how near, edit.attribute_error how far the attributes are from the target
    //! [gradient_attribute_edit]
    CHECK(edit.status == moden::iteration_status::converged);
    CHECK(edit.history.size() == edit.iterations);
    for (std::size_t i = 1; i < edit.history.size(); ++i) {
        CHECK(edit.history[i] <= edit.history[i - 1]);
    }
    CHECK(edit.objective == doctest::Approx(edit.attribute_error * edit.attribute_error + 0.3 * edit.change + 0.01 * edit.distance * edit.distance).epsilon(1e-4));
    const auto careless = moden::gradient_attribute_edit(policy, regressor, code, target, picture, {.preservation = 0});
    CHECK(edit.change < careless.change);
    CHECK(edit.attribute_error > careless.attribute_error);
    CHECK(moden::gradient_attribute_edit(policy, regressor, code, target, {.code_preservation = 0.1}).distance < plain.distance);

    // Free attributes cost nothing; what is to be reached is.
    const auto first_only = moden::gradient_attribute_edit(policy, regressor, code, target, {.attribute_weights = {1, 0, 0, 0, 0}, .tolerance = 0});
    const array wanted = to_array(policy, target), got = to_array(policy, first_only.attributes);
    CHECK(std::abs(got.data[0] - wanted.data[0]) <= 1e-3);
    CHECK(first_only.attribute_error > 0.1 * first_only.start_error);
    CHECK(first_only.distance < plain.distance);

    const auto told = moden::gradient_attribute_edit(policy, regressor, code, target, {.tolerance = 0, .progress = [](std::size_t i, double) { return i < 2; }});
    CHECK(told.iterations == 2);
    CHECK(told.status == moden::iteration_status::stopped_by_callback);
    CHECK(moden::gradient_attribute_edit(policy, regressor, code, target, {.max_iterations = 1, .tolerance = 0}).status == moden::iteration_status::reached_max_iterations);
    CHECK_THROWS_WITH_AS(moden::gradient_attribute_edit(policy, regressor, code, target, {.attribute_weights = {1, 2}}), doctest::Contains("2 attribute_weights for 5"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::gradient_attribute_edit(policy, regressor, code, target, {.attribute_weights = {1, 1, -2, 1, 1}}),
                         doctest::Contains("the weight of attribute 2 is -2"), moden::argument_error);
    CHECK_THROWS_AS(moden::gradient_attribute_edit(policy, regressor, code, target, {.code_preservation = -1}), moden::argument_error);
    CHECK_THROWS_AS(moden::gradient_attribute_edit(policy, regressor, code, target, {.max_iterations = 0}), moden::argument_error);
    CHECK_THROWS_AS(moden::gradient_attribute_edit(policy, regressor, target, target), moden::shape_error);
    const moden::multilayer_perceptron<Policy, T> other(policy, {11, 3});
    CHECK_THROWS_WITH_AS(moden::gradient_attribute_edit(policy, regressor, code, target, other, {}), doctest::Contains("depends on 11 numbers (expected 12"),
                         moden::shape_error);
}

TEST_CASE_TEMPLATE("attributes are transferred, exactly on a planted model", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const moden::affine_map regressor(policy, to_policy(policy, random_tensor<T, 2>({6, 16}, 1)), to_policy(policy, random_tensor<T, 1>({6}, 2)));
    const auto source = to_policy(policy, random_tensor<T, 1>({16}, 3));
    const auto other = to_policy(policy, random_tensor<T, 1>({16}, 4));
    //! [transferred_attributes]
    const auto from = regressor.value(policy, source);
    const auto like = regressor.value(policy, other);
    const auto target = moden::transferred_attributes(policy, from, like, {1, 2, 5});  // the others stay the source's
    const auto edit = moden::linear_attribute_edit(policy, regressor, source, target);
    //! [transferred_attributes]
    const array s = to_array(policy, from), t = to_array(policy, like), reached = to_array(policy, edit.attributes);
    for (const std::size_t i : {0, 3, 4}) {
        CHECK(std::abs(reached.data[i] - s.data[i]) <= 200 * Cell::eps);
    }
    for (const std::size_t i : {1, 2, 5}) {
        CHECK(std::abs(reached.data[i] - t.data[i]) <= 200 * Cell::eps);
    }
    CHECK_THROWS_WITH_AS(moden::transferred_attributes(policy, from, like, {6}), "transferred_attributes: component 6 of 6 attributes", moden::argument_error);
    CHECK_THROWS_AS(moden::transferred_attributes(policy, from, source, {0}), moden::shape_error);
}
