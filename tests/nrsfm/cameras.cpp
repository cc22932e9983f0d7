// Camera decomposition and Euler angles on every policy: random cameras, degenerate ones, gimbal lock, refusals.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include <moden/nrsfm/cameras.hpp>

#include "scenes.hpp"

using namespace moden_test;
using namespace nrsfm_test;

namespace {

/// K [I | 0] R of frame n by the definition.
double recomposition_error(const array& cameras, const array& calibrations, const array& rotations) {
    double worst = 0;
    for (std::size_t n = 0; n < cameras.shape[0]; ++n) {
        for (std::size_t i = 0; i < 3; ++i) {
            const double x = calibrations(n, 0) * rotations.at({n, 0, i}) + calibrations(n, 1) * rotations.at({n, 1, i});
            const double y = calibrations(n, 2) * rotations.at({n, 1, i});
            worst = std::max({worst, std::abs(x - cameras.at({n, 0, i})), std::abs(y - cameras.at({n, 1, i}))});
        }
    }
    return worst;
}

/// Largest entry of R R' - I, and of det R - 1.
double rotation_error(const array& rotations) {
    double worst = 0;
    for (std::size_t n = 0; n < rotations.shape[0]; ++n) {
        const auto r = [&](std::size_t i, std::size_t j) { return rotations.at({n, i, j}); };
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t j = 0; j < 3; ++j) {
                worst = std::max(worst, std::abs(r(i, 0) * r(j, 0) + r(i, 1) * r(j, 1) + r(i, 2) * r(j, 2) - (i == j ? 1 : 0)));
            }
        }
        const double determinant = r(0, 0) * (r(1, 1) * r(2, 2) - r(1, 2) * r(2, 1)) - r(0, 1) * (r(1, 0) * r(2, 2) - r(1, 2) * r(2, 0)) +
                                   r(0, 2) * (r(1, 0) * r(2, 1) - r(1, 1) * r(2, 0));
        worst = std::max(worst, std::abs(determinant - 1));
    }
    return worst;
}

double rotation_of_angles_error(const array& rotations, const array& angles) {
    double worst = 0;
    for (std::size_t n = 0; n < angles.rows(); ++n) {
        const array r = rotation(angles(n, 0), angles(n, 1), angles(n, 2));
        for (std::size_t i = 0; i < 9; ++i) {
            worst = std::max(worst, std::abs(r.data[i] - rotations.at({n, i / 3, i % 3})));
        }
    }
    return worst;
}

array camera_of(const std::vector<double>& entries) {
    array result({entries.size() / 6, 2, 3});
    result.data = entries;
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("random cameras are taken apart and put together", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = random_tensor<T, 3>({200, 2, 3}, 4);
    const auto cameras = to_policy(policy, host);
    //! [decompose_cameras]
    const auto parts = moden::decompose_cameras(policy, cameras);  // k11, k12, k22; theta_x, theta_y, theta_z; rotations
    const auto again = moden::compose_cameras(policy, parts.calibrations, parts.angles);
    //! [decompose_cameras]
    const array m = to_array(host), k = to_array(policy, parts.calibrations), r = to_array(policy, parts.rotations), angles = to_array(policy, parts.angles);
    CHECK(recomposition_error(m, k, r) <= 8 * Cell::eps);
    CHECK(rotation_error(r) <= 8 * Cell::eps);
    CHECK(rotation_of_angles_error(r, angles) <= 16 * Cell::eps);
    CHECK(largest_difference(to_array(policy, again), m) <= 32 * Cell::eps);
    for (std::size_t n = 0; n < 200; ++n) {
        CHECK(k(n, 0) > 0);
        CHECK(k(n, 2) > 0);
        CHECK(std::abs(angles(n, 1)) <= std::acos(0.0) + Cell::eps);
    }
    // Cameras that are s [I | 0] R for known angles give the angles back.
    array known({3, 2, 3});
    for (std::size_t n = 0; n < 3; ++n) {
        const array turned = rotation(0.3, -0.2 * static_cast<double>(n), 1.1);
        for (std::size_t i = 0; i < 6; ++i) {
            known.data[6 * n + i] = 2 * turned.data[i];
        }
    }
    const auto found = moden::decompose_cameras(policy, to_policy(policy, to_tensor<T, 3>(known)));
    const array theta = to_array(policy, found.angles), s = to_array(policy, found.calibrations);
    for (std::size_t n = 0; n < 3; ++n) {
        CHECK(std::abs(theta(n, 0) - 0.3) + std::abs(theta(n, 1) + 0.2 * static_cast<double>(n)) + std::abs(theta(n, 2) - 1.1) <= 20 * Cell::eps);
        CHECK(std::abs(s(n, 0) - 2) + std::abs(s(n, 1)) + std::abs(s(n, 2) - 2) <= 20 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("degenerate cameras get zeros on the diagonal and rotations by rule", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const array m = camera_of({0, 0, 0, 0, 0, 0,         // nothing
                               1, 2, 2, 0, 0, 0,         // one row
                               0, 0, 0, 0, 3, 4,         // the other
                               1, 2, 2, -2, -4, -4,      // parallel
                               0, 0, -1, 0, 1, 0,        // theta_y = 90 degrees
                               1, 0, 0, 0, -1, 0});      // determinant by the third row
    const auto parts = moden::decompose_cameras(policy, to_policy(policy, to_tensor<T, 3>(m)));
    const array k = to_array(policy, parts.calibrations), r = to_array(policy, parts.rotations), angles = to_array(policy, parts.angles);
    CHECK(recomposition_error(m, k, r) <= 4 * Cell::eps);
    CHECK(rotation_error(r) <= 8 * Cell::eps);
    CHECK(rotation_of_angles_error(r, angles) <= 8 * Cell::eps);
    CHECK(k(0, 0) == 0);
    CHECK(k(0, 2) == 0);
    CHECK(r.at({0, 0, 0}) == 1);  // R = I
    CHECK(r.at({0, 1, 1}) == 1);
    CHECK(r.at({0, 2, 2}) == 1);
    CHECK(k(1, 0) == doctest::Approx(3));
    CHECK(k(1, 2) == 0);
    CHECK(k(2, 0) == 0);
    CHECK(k(2, 2) == doctest::Approx(5));
    CHECK(k(3, 0) == 0);
    CHECK(k(3, 1) == doctest::Approx(-3));
    CHECK(k(3, 2) == doctest::Approx(6));
    CHECK(std::abs(angles(4, 1)) == doctest::Approx(std::acos(0.0)));
    CHECK(angles(4, 0) == 0);
    CHECK(k(5, 0) == 1);
    CHECK(k(5, 2) == 1);
    CHECK(r.at({5, 2, 2}) == -1);
}

TEST_CASE_TEMPLATE("Euler angles in gimbal lock", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    array r({4, 3, 3});
    const double right = std::acos(0.0);
    const double given[4][3] = {{0.4, right, 0.9}, {0.4, -right, 0.9}, {-2.5, 0.3, 3.0}, {0, 0, 0}};
    for (std::size_t n = 0; n < 4; ++n) {
        const array turned = rotation(given[n][0], given[n][1], given[n][2]);
        std::copy(turned.data.begin(), turned.data.end(), r.data.begin() + static_cast<std::ptrdiff_t>(9 * n));
    }
    const auto rotations = to_policy(policy, to_tensor<T, 3>(r));
    //! [euler_angles]
    const auto found = moden::euler_angles(policy, rotations);  // N x 3: theta_x, theta_y, theta_z with R = R_z R_y R_x
    //! [euler_angles]
    const array angles = to_array(policy, found);
    CHECK(rotation_of_angles_error(r, angles) <= 16 * Cell::eps);
    CHECK(angles(0, 0) == 0);
    CHECK(angles(0, 2) == doctest::Approx(0.9 - 0.4).epsilon(1e-6));
    CHECK(angles(1, 0) == 0);
    CHECK(angles(1, 2) == doctest::Approx(0.9 + 0.4).epsilon(1e-6));
    CHECK(angles(2, 0) == doctest::Approx(-2.5).epsilon(1e-6));
    CHECK(angles(2, 2) == doctest::Approx(3.0).epsilon(1e-6));
    CHECK(angles(3, 0) == 0);
}

TEST_CASE_TEMPLATE("cameras of wrong shapes and with NaN are refused", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    CHECK_THROWS_WITH_AS(moden::decompose_cameras(policy, to_policy(policy, random_tensor<T, 3>({4, 3, 2}, 1))), doctest::Contains("4 x 3 x 2"),
                         moden::shape_error);
    CHECK_THROWS_AS(moden::euler_angles(policy, to_policy(policy, random_tensor<T, 3>({4, 2, 3}, 1))), moden::shape_error);
    CHECK_THROWS_AS(moden::compose_cameras(policy, to_policy(policy, random_tensor<T, 2>({4, 3}, 1)), to_policy(policy, random_tensor<T, 2>({5, 3}, 1))),
                    moden::shape_error);
    array bad({2, 2, 3}, 1);
    bad.data[3] = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(moden::decompose_cameras(policy, to_policy(policy, to_tensor<T, 3>(bad))), doctest::Contains("1 values that are NaN or infinite"),
                         moden::argument_error);
}
