// Higher-order orthogonal iteration: monotone, no worse than its start, stationary at its end.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/decompositions.hpp>
#include <moden/multilinear/hooi.hpp>
#include <moden/multilinear/mode_product.hpp>

#include "tucker_checks.hpp"

using moden::dynamic_tensor;
using moden::extents;
using moden::iteration_status;
using moden::svd_method;
using moden::tensor;
using reference::normal_tensor;
using reference::true_error;

TEST_CASE_TEMPLATE("the fit never decreases and ends above that of st_hosvd", T, float, double) {
    for (const auto& one : {std::pair<extents, extents>{{10, 11, 12}, {3, 3, 3}},
                            {{8, 9, 7}, {2, 5, 3}},
                            {{5, 6, 4, 7}, {2, 3, 2, 2}},
                            {{30, 4, 5}, {4, 2, 2}},
                            {{9, 12}, {3, 3}}}) {
        const auto& shape = one.first;
        const auto& ranks = one.second;
        CAPTURE(reference::text(shape));
        for (const svd_method method : {svd_method::automatic, svd_method::gram, svd_method::qr}) {
            const auto x = normal_tensor<T>(shape, 2);
            const auto start = moden::st_hosvd(x, {.ranks = ranks, .method = method});
            const auto result =
                moden::hooi(x, {.ranks = ranks, .tolerance = 0, .max_iterations = 15, .method = method});
            reference::check_structure(result, shape);
            CHECK(reference::shape_of(result.core) == ranks);
            CHECK(result.iterations == result.history.size() - 1);
            const double rounding = reference::lapack_bound * reference::epsilon<T>;
            for (std::size_t i = 1; i < result.history.size(); ++i) {
                CHECK(result.history[i] >= result.history[i - 1] - rounding);
            }
            const double error = true_error(x, result);
            CHECK(std::abs(result.relative_error - error) <= rounding);
            CHECK(error <= true_error(x, start) + rounding);
            // |X - X^|^2 = |X|^2 - |G|^2 for orthonormal factors and the projected core.
            CHECK(std::abs(error * error + result.history.back() * result.history.back() - 1) <= rounding);
            if (shape.size() > 2) {
                CHECK(error < true_error(x, start) - 10 * rounding);  // a random tensor leaves room for it
            }
        }
    }
}

// At the end every factor spans the leading left singular vectors of X projected on all the others.
TEST_CASE("the result is stationary") {
    const auto known = reference::tensor_with_spectrum({8, 9, 10}, {5, 4, 3, 2, 1}, 1);
    auto x = known.dense<double>();
    const auto noise = normal_tensor<double>({8, 9, 10}, 2);
    x += 0.05 * noise;
    const auto result =
        moden::hooi(x, {.ranks = {3, 3, 3}, .tolerance = 0, .max_iterations = 100, .method = svd_method::qr});
    for (std::size_t mode = 0; mode < 3; ++mode) {
        dynamic_tensor<double> projected = x;
        for (std::size_t n = 0; n < 3; ++n) {
            if (n != mode) {
                const auto turned =
                    reference::narrowed<double>(reference::transpose(reference::widened(result.factors[n])));
                projected = moden::mode_product(projected, turned, n);
            }
        }
        const auto svd = moden::thin_svd(moden::unfold(projected, mode));
        CHECK(reference::projector_distance(result.factors[mode], reference::columns_of(svd.u, 0, 3)) <= 1e-8);
    }
}

TEST_CASE("the report of the last mode is about what the other factors left of the tensor") {
    const auto x = normal_tensor<double>({8, 9, 10}, 2);
    for (const svd_method method : {svd_method::gram, svd_method::qr, svd_method::randomized}) {
        CAPTURE(static_cast<int>(method));
        const auto result = moden::hooi(
            x, {.ranks = {3, 3, 3}, .tolerance = 0, .max_iterations = 3, .method = method, .oversampling = 2});
        dynamic_tensor<double> projected = x;
        for (std::size_t n = 0; n < 2; ++n) {
            const auto turned =
                reference::narrowed<double>(reference::transpose(reference::widened(result.factors[n])));
            projected = moden::mode_product(projected, turned, n);
        }
        const double whole = reference::tail_of_squares(projected, 0);
        const double kept = reference::tail_of_squares(result.core, 0);
        CHECK(result.modes[2].discarded_energy == doctest::Approx(whole - kept).epsilon(1e-12));
        CHECK(result.modes[2].method == method);
    }
}

TEST_CASE_TEMPLATE("a tensor of low rank is found exactly", T, float, double) {
    const auto known = reference::tensor_with_spectrum({12, 9, 10}, {3, 2, 1}, 3);
    const auto x = known.template dense<T>();
    const auto result = moden::hooi(x, {.ranks = {3, 3, 3}});
    CHECK(result.status == iteration_status::converged);
    CHECK(result.iterations <= 3);  // the fit is 1 at once, up to rounding
    CHECK(true_error(x, result) <= reference::lapack_bound * reference::epsilon<T>);
    CHECK(result.history.back() == doctest::Approx(1).epsilon(reference::lapack_bound * reference::epsilon<T>));
}

TEST_CASE_TEMPLATE("zeros, extents of one, order one, and ranks that are too large for the other modes", T, float,
                   double) {
    const dynamic_tensor<T> zero = xt::zeros<T>({4, 5, 3});
    const auto of_zero = moden::hooi(zero, {.ranks = {2, 2, 2}});
    reference::check_structure(of_zero, {4, 5, 3});
    CHECK(of_zero.relative_error == 0);
    CHECK(of_zero.status == iteration_status::converged);

    const auto thin = normal_tensor<T>({6, 1, 5}, 1);
    const auto of_thin = moden::hooi(thin, {.ranks = {2, 1, 2}});
    reference::check_structure(of_thin, {6, 1, 5});

    const auto vector = normal_tensor<T>({6}, 1);
    CHECK(true_error(vector, moden::hooi(vector, {.ranks = {1}})) <= reference::lapack_bound * reference::epsilon<T>);

    const auto x = normal_tensor<T>({20, 4, 5}, 1);
    const auto cut = moden::hooi(x, {.ranks = {20, 2, 3}});
    reference::check_structure(cut, {20, 4, 5});
    CHECK(cut.modes[0].rank == 6);
}

TEST_CASE("stopping: tolerance, number of iterations, callback") {
    const auto x = normal_tensor<double>({10, 11, 12}, 2);
    const auto none = moden::hooi(x, {.ranks = {3, 3, 3}, .max_iterations = 0});
    const auto start = moden::st_hosvd(x, {.ranks = {3, 3, 3}});
    CHECK(none.iterations == 0);
    CHECK(none.history.size() == 1);
    CHECK(none.status == iteration_status::reached_max_iterations);
    CHECK(reference::identical(none.core, start.core));
    CHECK(none.relative_error == doctest::Approx(start.relative_error).epsilon(1e-12));

    const auto three = moden::hooi(x, {.ranks = {3, 3, 3}, .tolerance = 0, .max_iterations = 3});
    CHECK(three.iterations == 3);
    CHECK(three.status == iteration_status::reached_max_iterations);

    const auto converged = moden::hooi(x, {.ranks = {3, 3, 3}, .tolerance = 1e-4, .max_iterations = 500});
    CHECK(converged.status == iteration_status::converged);
    const std::size_t last = converged.history.size() - 1;
    REQUIRE(last >= 2);
    CHECK(converged.history[last] - converged.history[last - 1] < 1e-4);
    CHECK(converged.history[last - 1] - converged.history[last - 2] >= 1e-4);

    std::vector<double> seen;
    const auto stopped =
        moden::hooi(x, {.ranks = {3, 3, 3}, .tolerance = 0, .progress = [&](std::size_t iteration, double fit) {
                            CHECK(iteration == seen.size() + 1);
                            seen.push_back(fit);
                            return iteration < 4;
                        }});
    CHECK(stopped.status == iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 4);
    CHECK(std::equal(seen.begin(), seen.end(), stopped.history.begin() + 1, stopped.history.end()));
    CHECK(true_error(x, stopped) == doctest::Approx(stopped.relative_error).epsilon(1e-12));
}

TEST_CASE("randomised sketches repeat with their seed") {
    const auto x = normal_tensor<double>({30, 20, 25}, 2);
    const auto with_seed = [&](std::uint64_t seed) {
        return moden::hooi(x, {.ranks = {2, 2, 2},
                               .max_iterations = 2,
                               .method = svd_method::randomized,
                               .oversampling = 0,
                               .power_iterations = 0,
                               .seed = seed});
    };
    CHECK(reference::identical(with_seed(1).core, with_seed(1).core));
    CHECK(!reference::identical(with_seed(1).core, with_seed(2).core));
    CHECK(with_seed(1).modes[0].method == svd_method::randomized);
}

TEST_CASE("bad arguments are named") {
    const tensor<double, 3> x = normal_tensor<double>({3, 4, 5}, 1);
    CHECK_THROWS_WITH_AS(moden::hooi(x, {}), doctest::Contains("hooi: no ranks (expected one per mode)"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::hooi(x, {.ranks = {1, 1, 1}, .tolerance = -1}), doctest::Contains("hooi: tolerance -1"),
                         moden::argument_error);
    CHECK_THROWS_AS(moden::hooi(x, {.ranks = {1, 1, 1}, .tolerance = std::numeric_limits<double>::quiet_NaN()}),
                    moden::argument_error);
    // The message of a check names the function that was called.
    CHECK_THROWS_WITH_AS(moden::hooi(x, {.ranks = {1, 1}}), doctest::Contains("hooi: 2 ranks for a tensor of order 3"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::hooi(x, {.ranks = {1, 5, 1}}),
                         doctest::Contains("hooi: rank 5 for mode 1 (expected 1 to 4)"), moden::argument_error);
    const tensor<double, 3> empty = xt::ones<double>({3, 0, 5});
    CHECK_THROWS_WITH_AS(moden::hooi(empty, {.ranks = {1, 1, 1}}),
                         doctest::Contains("hooi: the tensor of 3 x 0 x 5 is empty"), moden::shape_error);
    auto bad = x;
    bad(0, 0, 0) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(moden::hooi(bad, {.ranks = {1, 1, 1}}),
                         doctest::Contains("hooi: the tensor holds 1 values that are NaN"), moden::argument_error);
}
