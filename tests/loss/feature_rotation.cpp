// Rotated features on every policy: by definition, gradients by differences, lengths kept.

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include <moden/loss/feature_rotation.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

array rotated(const array& features, const array& rotations) {
    array result(features.shape);
    const std::size_t third = features.rows() / 3;
    for (std::size_t j = 0; j < features.columns(); ++j) {
        for (std::size_t a = 0; a < 3; ++a) {
            for (std::size_t b = 0; b < 3; ++b) {
                for (std::size_t c = 0; c < third; ++c) {
                    result(a * third + c, j) += rotations(3 * a + b, j) * features(b * third + c, j);
                }
            }
        }
    }
    return result;
}

/// Angles 0.1, 0.2, ... about the third axis.
array turns(std::size_t samples) {
    array result({9, samples});
    for (std::size_t j = 0; j < samples; ++j) {
        const double angle = 0.1 * static_cast<double>(j + 1);
        result(0, j) = result(4, j) = std::cos(angle);
        result(1, j) = -std::sin(angle);
        result(3, j) = std::sin(angle);
        result(8, j) = 1;
    }
    return result;
}

double inner(const array& a, const array& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.data.size(); ++i) {
        sum += a.data[i] * b.data[i];
    }
    return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("rotated features and their gradients by definition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array features = random_matrix(12, 7, 1), rotations = random_matrix(9, 7, 2);
    const array cotangents = random_matrix(12, 7, 3);
    const auto on_policy = [&](const array& x) { return to_policy(policy, to_tensor<T, 2>(x)); };
    const array wanted = rotated(features, rotations);
    CHECK(frobenius(difference(to_array(policy, moden::rotate_features(policy, on_policy(features), on_policy(rotations))), wanted)) <=
          10 * Cell::eps * frobenius(wanted));
    const auto found = moden::rotate_features_gradient(policy, on_policy(features), on_policy(rotations), on_policy(cotangents));
    const auto check = [&](array& x, const array& slope) {
        for (std::size_t i = 0; i < x.data.size(); ++i) {  // linear in every number: a difference is exact
            const double kept = x.data[i];
            x.data[i] = kept + 1;
            const double above = inner(cotangents, rotated(features, rotations));
            x.data[i] = kept - 1;
            const double below = inner(cotangents, rotated(features, rotations));
            x.data[i] = kept;
            CHECK(std::abs(slope.data[i] - (above - below) / 2) <= 50 * Cell::eps * frobenius(slope));
        }
    };
    check(features, to_array(policy, found.features));
    check(rotations, to_array(policy, found.rotations));
    // Rotations keep lengths, and the gradient by features of |Y|^2 / 2 is then F itself.
    const auto turned = moden::rotate_features(policy, on_policy(features), on_policy(turns(7)));
    CHECK(frobenius(to_array(policy, turned)) == doctest::Approx(frobenius(features)).epsilon(10 * Cell::eps));
    const auto back = moden::rotate_features_gradient(policy, on_policy(features), on_policy(turns(7)), turned);
    CHECK(frobenius(difference(to_array(policy, back.features), features)) <= 20 * Cell::eps * frobenius(features));
}

TEST_CASE("rotated features") {
    const auto features = to_tensor<double, 2>(random_matrix(12, 3, 1)), slope = to_tensor<double, 2>(random_matrix(12, 3, 2));
    const auto pose = to_tensor<double, 2>(turns(3));
    //! [rotate_features]
    const auto turned = moden::rotate_features(features, pose);  // k x n; pose is 9 x n
    const auto [of_features, of_pose] = moden::rotate_features_gradient(features, pose, slope);  // slope: dE/d turned
    //! [rotate_features]
    CHECK(turned.shape()[0] == 12);
    CHECK(of_features.shape()[0] == 12);
    CHECK(of_pose.shape()[0] == 9);
    CHECK_THROWS_WITH_AS(moden::rotate_features(pose, slope), "rotate_features: rotations of 12 x 3 (expected 9 x 3)", moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::rotate_features(to_tensor<double, 2>(random_matrix(10, 3, 1)), pose), "rotate_features: features of 10 rows (expected a multiple of 3)",
                         moden::shape_error);
    CHECK_THROWS_AS(moden::rotate_features_gradient(features, pose, pose), moden::shape_error);
}
