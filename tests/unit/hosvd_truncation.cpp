// Truncation by ranks, tolerance and energy: what is promised about the error, and what is reported.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/decompositions.hpp>
#include <moden/multilinear/hosvd.hpp>

#include "tucker_checks.hpp"

using moden::dynamic_tensor;
using moden::error_measure;
using moden::extents;
using moden::hosvd_options;
using moden::svd_method;
using moden::tensor;
using reference::normal_tensor;
using reference::true_error;

namespace {

constexpr svd_method methods[] = {svd_method::automatic, svd_method::gram, svd_method::qr};

/// Singular values of every unfolding, computed apart from the code under test.
template <class T>
std::vector<std::vector<double>> spectra(const dynamic_tensor<T>& x) {
    std::vector<std::vector<double>> result;
    for (std::size_t n = 0; n < x.dimension(); ++n) {
        const auto values = moden::thin_svd(tensor<double, 2>(xt::cast<double>(moden::unfold(x, n)))).singular_values;
        result.emplace_back(values.begin(), values.end());
    }
    return result;
}

/// A tensor whose singular values decay, differently in each mode: random core with weights, random orthogonal factors.
template <class T>
dynamic_tensor<T> decaying_tensor(const extents& shape, const std::vector<double>& ratios, std::uint64_t seed) {
    auto core = normal_tensor<double>(shape, seed);
    std::size_t at = 0;
    reference::for_each_index(shape, [&](const extents& index) {
        double weight = 1;
        for (std::size_t n = 0; n < shape.size(); ++n) {
            weight *= std::pow(ratios[n], static_cast<double>(index[n]));
        }
        core.data()[at++] *= weight;
    });
    std::vector<tensor<double, 2>> factors;
    for (std::size_t n = 0; n < shape.size(); ++n) {
        factors.push_back(
            reference::narrowed<double>(reference::orthonormal_columns(shape[n], shape[n], seed + 10 + n)));
    }
    const auto dense = reference::multi_mode_product(core, factors);
    auto result = dynamic_tensor<T>::from_shape(shape);
    std::transform(dense.value.begin(), dense.value.end(), result.data(),
                   [](reference::wide value) { return static_cast<T>(value); });
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("ranks: the error of the HOSVD stays below the bound of 001 Eq. 3.9", T, float, double) {
    const auto x = decaying_tensor<T>({10, 11, 12}, {0.7, 0.8, 0.6}, 1);
    const auto values = spectra(x);
    const double energy = reference::tail_of_squares(values[0], 0);
    for (const extents& ranks :
         {extents{10, 11, 12}, extents{5, 5, 5}, extents{1, 1, 1}, extents{3, 11, 1}, extents{9, 2, 7}}) {
        CAPTURE(reference::text(ranks));
        double discarded = 0;
        double largest = 0;
        for (std::size_t n = 0; n < 3; ++n) {
            discarded += reference::tail_of_squares(values[n], ranks[n]);
            largest = std::max(largest, reference::tail_of_squares(values[n], ranks[n]));
        }
        const double bound = std::sqrt(discarded / energy);
        for (const svd_method method : methods) {
            CAPTURE(static_cast<int>(method));
            const auto result = moden::hosvd(x, {.ranks = ranks, .method = method});
            reference::check_structure(result, {10, 11, 12});
            CHECK(reference::shape_of(result.core) == ranks);
            // Squares are exact to some eps of the whole: compare errors by their squares.
            const double rounding = reference::lapack_bound * reference::epsilon<T>;
            CHECK(std::abs(result.error_bound * result.error_bound - bound * bound) <= rounding);
            const double error = true_error(x, result);
            CHECK(error * error <= result.error_bound * result.error_bound + rounding);
            CHECK(error * error >= largest / energy - rounding);  // no projection onto fewer columns can do better
            CHECK(std::abs(result.relative_error - error) <= rounding);
            const auto by_spectrum =
                moden::hosvd(x, {.ranks = ranks, .method = method, .error = error_measure::spectrum});
            CHECK(std::abs(by_spectrum.relative_error * by_spectrum.relative_error - error * error) <= rounding);
        }
    }
}

TEST_CASE_TEMPLATE("ranks: the error of the ST-HOSVD is what it reports and its own bound", T, float, double) {
    const auto x = decaying_tensor<T>({10, 11, 12}, {0.7, 0.8, 0.6}, 2);
    const double rounding = reference::lapack_bound * reference::epsilon<T>;
    for (const extents& ranks : {extents{5, 5, 5}, extents{1, 1, 1}, extents{3, 11, 4}, extents{9, 2, 7}}) {
        CAPTURE(reference::text(ranks));
        for (const svd_method method : methods) {
            CAPTURE(static_cast<int>(method));
            const auto result = moden::st_hosvd(x, {.ranks = ranks, .method = method});
            reference::check_structure(result, {10, 11, 12});
            CHECK(reference::shape_of(result.core) == ranks);
            CHECK(result.relative_error == result.error_bound);
            const double error = true_error(x, result);
            CHECK(std::abs(result.relative_error * result.relative_error - error * error) <= rounding);
            const auto measured =
                moden::st_hosvd(x, {.ranks = ranks, .method = method, .error = error_measure::residual});
            CHECK(std::abs(measured.relative_error - error) <= rounding);
        }
    }
}

TEST_CASE_TEMPLATE("mode_order: the first mode sees the whole tensor, the second what the first left", T, float,
                   double) {
    const auto x = decaying_tensor<T>({6, 7, 8}, {0.8, 0.8, 0.8}, 3);
    const auto values = spectra(x);
    const double bound = 10 * reference::lapack_bound;  // Gram matrices: the smallest values are a tenth of the largest
    std::vector<std::size_t> order{0, 1, 2};
    do {
        CAPTURE(order[0]);
        const auto result = moden::st_hosvd(x, {.ranks = {3, 4, 2}, .mode_order = order});
        const double error = true_error(x, result);
        CHECK(std::abs(result.relative_error * result.relative_error - error * error) <=
              reference::lapack_bound * reference::epsilon<T>);
        CHECK(reference::value_ratio(result.modes[order[0]].singular_values, values[order[0]], values[order[0]][0]) <=
              bound);
        // The second mode: the tensor projected on the first factor.
        const auto& factor = result.factors[order[0]];
        const auto turned = reference::transpose(reference::widened(factor));
        const auto projected = reference::mode_product(x, turned, order[0]);
        auto reduced = dynamic_tensor<double>::from_shape(projected.shape);
        std::transform(projected.value.begin(), projected.value.end(), reduced.data(),
                       [](auto value) { return static_cast<double>(value); });
        const auto expected = moden::thin_svd(moden::unfold(reduced, order[1])).singular_values;
        CHECK(reference::value_ratio(result.modes[order[1]].singular_values, expected, expected[0]) <= bound);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE_TEMPLATE("tolerance: the true error stays below it and the ranks are as small as the budget allows", T, float,
                   double) {
    const std::vector<double> values = reference::geometric(1, std::is_same_v<T, float> ? 0.4 : 0.1, 12);
    const auto known = reference::tensor_with_spectrum({13, 12, 14}, values, 4);
    const auto x = known.template dense<T>();
    const double energy = reference::tail_of_squares(values, 0);
    const double rounding = reference::lapack_bound * reference::epsilon<T>;
    std::vector<double> tolerances{0.9, 0.3, 0.05, 2e-3};
    if (std::is_same_v<T, double>) {
        tolerances.insert(tolerances.end(), {1e-6, 1e-9});
    }
    for (const double tolerance : tolerances) {
        CAPTURE(tolerance);
        // All unfoldings have the same values, and a mode that has been cut takes the rest from the others.
        const double budget = tolerance * tolerance * energy;
        const std::size_t rank = reference::smallest_rank(values, budget / 3);
        for (const svd_method method : methods) {
            if (method == svd_method::gram && tolerance < 1e-3) {
                continue;  // below what a Gram matrix resolves
            }
            CAPTURE(static_cast<int>(method));
            const auto sequential = moden::st_hosvd(x, {.tolerance = tolerance, .method = method});
            reference::check_structure(sequential, {13, 12, 14});
            CHECK(true_error(x, sequential) <= tolerance + rounding);
            CHECK(sequential.relative_error <= tolerance);
            const extents found = reference::shape_of(sequential.core);
            CHECK(*std::max_element(found.begin(), found.end()) == rank);
            const auto plain = moden::hosvd(x, {.tolerance = tolerance, .method = method});
            CHECK(true_error(x, plain) <= tolerance + rounding);
            CHECK(plain.error_bound <= tolerance);
            CHECK(plain.modes[0].rank == rank);
        }
    }
}

TEST_CASE_TEMPLATE("tolerance: what one mode leaves over goes to the next", T, float, double) {
    // Mode 0 is of rank one, so that it spends nothing.
    const auto thin = reference::orthonormal_columns(10, 1, 1);
    dynamic_tensor<T> x = xt::zeros<T>({10, 6, 5});
    const std::vector<double> values{1, 0.06, 0.03, 0.02, 0.01};
    const auto known = reference::with_spectrum(6, 5, values, 2).exact();
    for (std::size_t i = 0; i < 10; ++i) {
        for (std::size_t j = 0; j < 6; ++j) {
            for (std::size_t k = 0; k < 5; ++k) {
                x(i, j, k) = static_cast<T>(thin(i, 0) * known(j, k));
            }
        }
    }
    const double energy = reference::tail_of_squares(values, 0);
    const double tolerance = 0.1;
    const auto result = moden::st_hosvd(x, {.tolerance = tolerance, .mode_order = {0, 1, 2}});
    CHECK(result.modes[0].rank == 1);
    const double budget = tolerance * tolerance * energy;
    const std::size_t with_leftover = reference::smallest_rank(values, budget / 2);
    REQUIRE(with_leftover < reference::smallest_rank(values, budget / 3));  // otherwise nothing is shown
    CHECK(result.modes[1].rank == with_leftover);
    CHECK(true_error(x, result) <= tolerance);
}

TEST_CASE_TEMPLATE("energy: every mode keeps its share with the smallest rank that does", T, float, double) {
    const auto x = decaying_tensor<T>({9, 10, 8}, {0.6, 0.7, 0.8}, 5);
    const auto values = spectra(x);
    const double energy = reference::tail_of_squares(values[0], 0);
    for (const double share : {0.5, 0.9, 0.99, 0.9999}) {
        CAPTURE(share);
        for (const svd_method method : methods) {
            const auto plain = moden::hosvd(x, {.energy = share, .method = method});
            reference::check_structure(plain, {9, 10, 8});
            for (std::size_t n = 0; n < 3; ++n) {
                CHECK(plain.modes[n].rank == reference::smallest_rank(values[n], (1 - share) * energy));
                CHECK(plain.modes[n].discarded_energy <= (1 - share) * energy);
                CHECK(std::abs(plain.modes[n].discarded_energy -
                               reference::tail_of_squares(values[n], plain.modes[n].rank)) <=
                      reference::lapack_bound * reference::epsilon<T> * energy);
            }
            const auto sequential = moden::st_hosvd(x, {.energy = share, .method = method});
            for (std::size_t n = 0; n < 3; ++n) {
                CHECK(sequential.modes[n].discarded_energy <= (1 - share) * energy);
                CHECK(sequential.modes[n].rank <= plain.modes[n].rank);
            }
        }
    }
    const auto whole = moden::hosvd(x, {.energy = 1.0});
    CHECK(reference::shape_of(whole.core) == extents{9, 10, 8});
}

TEST_CASE_TEMPLATE("ranks are upper limits beside a tolerance or an energy", T, float, double) {
    const auto x = decaying_tensor<T>({9, 10, 8}, {0.6, 0.7, 0.8}, 5);
    const auto free = moden::hosvd(x, {.tolerance = 0.01});
    const extents wanted = reference::shape_of(free.core);
    REQUIRE(wanted[0] > 2);
    const auto capped = moden::hosvd(x, {.ranks = {9, 10, 2}, .tolerance = 0.01});
    CHECK(capped.modes[0].rank == wanted[0]);
    CHECK(capped.modes[1].rank == wanted[1]);
    CHECK(capped.modes[2].rank == 2);
    const auto loose = moden::st_hosvd(x, {.ranks = {9, 10, 8}, .tolerance = 0.5});
    CHECK(loose.modes[0].rank < 9);
    CHECK(true_error(x, loose) <= 0.5);
    const auto by_energy = moden::st_hosvd(x, {.ranks = {2, 1, 2}, .energy = 0.999});
    CHECK(reference::shape_of(by_energy.core) == extents{2, 1, 2});
}

TEST_CASE_TEMPLATE("a rank above the number of columns of the unfolding is cut and reported", T, float, double) {
    const auto x = normal_tensor<T>({20, 2, 3}, 1);
    for (const svd_method method : {svd_method::automatic, svd_method::gram, svd_method::qr, svd_method::randomized}) {
        CAPTURE(static_cast<int>(method));
        const auto plain = moden::hosvd(x, {.ranks = {20, 2, 3}, .method = method});
        reference::check_structure(plain, {20, 2, 3});
        CHECK(plain.modes[0].rank == 6);
        CHECK(true_error(x, plain) <= reference::lapack_bound * reference::epsilon<T>);
        // Mode 0 last: after the others only 1 x 2 columns are left.
        const auto sequential = moden::st_hosvd(x, {.ranks = {20, 1, 2}, .method = method, .mode_order = {1, 2, 0}});
        reference::check_structure(sequential, {20, 2, 3});
        CHECK(sequential.modes[0].rank == 2);
    }
}

TEST_CASE("progress is called before each mode, and stops") {
    const auto x = normal_tensor<double>({4, 5, 6}, 1);
    std::vector<std::size_t> steps;
    const auto count = [&](std::size_t step, std::size_t total) {
        CHECK(total == 3);
        steps.push_back(step);
        return true;
    };
    moden::hosvd(x, {.ranks = {2, 2, 2}, .progress = count});
    CHECK(steps == std::vector<std::size_t>{0, 1, 2});
    steps.clear();
    moden::st_hosvd(x, {.ranks = {2, 2, 2}, .progress = count});
    CHECK(steps == std::vector<std::size_t>{0, 1, 2});
    const auto stop = [](std::size_t step, std::size_t) { return step < 2; };
    CHECK_THROWS_WITH_AS(moden::hosvd(x, {.progress = stop}),
                         doctest::Contains("hosvd: stopped by the progress callback before mode 2"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::st_hosvd(x, {.progress = stop}),
                         doctest::Contains("st_hosvd: stopped by the progress callback before step 2"),
                         moden::argument_error);
}

TEST_CASE("bad arguments are named") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const tensor<double, 3> x = normal_tensor<double>({3, 4, 5}, 1);
    const auto refused_as = [&]<class Error>(const hosvd_options& options, const std::string& text, Error) {
        CHECK_THROWS_WITH_AS(moden::hosvd(x, options), doctest::Contains(("hosvd: " + text).c_str()), Error);
        CHECK_THROWS_WITH_AS(moden::st_hosvd(x, options), doctest::Contains(("st_hosvd: " + text).c_str()), Error);
    };
    const moden::shape_error shape("");
    const moden::argument_error argument("");
    refused_as({.ranks = {2, 2}}, "2 ranks for a tensor of order 3", shape);
    refused_as({.ranks = {2, 0, 2}}, "rank 0 for mode 1 (expected 1 to 4)", argument);
    refused_as({.ranks = {2, 4, 6}}, "rank 6 for mode 2 (expected 1 to 5)", argument);
    refused_as({.tolerance = 0.1, .energy = 0.9}, "both a tolerance and an energy", argument);
    for (const double tolerance : {0.0, 1.0, -0.1, nan}) {
        refused_as({.tolerance = tolerance}, "tolerance ", argument);
    }
    for (const double energy : {0.0, 1.001, -0.1, nan}) {
        refused_as({.energy = energy}, "energy ", argument);
    }
    refused_as({.method = svd_method::randomized}, "svd_method::randomized needs ranks", argument);
    refused_as({.oversampling = 2000000}, "oversampling 2000000", argument);
    refused_as({.power_iterations = 2000}, "oversampling 10 and power_iterations 2000", argument);
    CHECK_THROWS_WITH_AS(moden::hosvd(x, {.mode_order = {0, 1, 2}}),
                         doctest::Contains("hosvd: mode_order is an option of st_hosvd"), moden::argument_error);
    for (const std::vector<std::size_t>& order : {std::vector<std::size_t>{0, 1}, {0, 1, 1}, {0, 1, 3}, {0, 1, 2, 3}}) {
        CHECK_THROWS_WITH_AS(moden::st_hosvd(x, {.mode_order = order}),
                             doctest::Contains("st_hosvd: mode_order is not a permutation of the 3 modes"),
                             moden::argument_error);
    }

    const tensor<double, 3> empty = xt::ones<double>({3, 0, 5});
    CHECK_THROWS_WITH_AS(moden::hosvd(empty), doctest::Contains("hosvd: the tensor of 3 x 0 x 5 is empty"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::st_hosvd(empty), doctest::Contains("st_hosvd: the tensor of 3 x 0 x 5 is empty"),
                         moden::shape_error);
    const dynamic_tensor<double> scalar(1.0);
    CHECK_THROWS_WITH_AS(moden::hosvd(scalar), doctest::Contains("hosvd: the tensor has order 0"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::st_hosvd(scalar), doctest::Contains("st_hosvd: the tensor has order 0"),
                         moden::shape_error);
    for (const double bad : {nan, std::numeric_limits<double>::infinity()}) {
        auto y = x;
        y(1, 2, 3) = bad;
        CHECK_THROWS_WITH_AS(moden::hosvd(y),
                             doctest::Contains("hosvd: the tensor holds 1 values that are NaN or infinite"),
                             moden::argument_error);
        CHECK_THROWS_WITH_AS(moden::st_hosvd(y),
                             doctest::Contains("st_hosvd: the tensor holds 1 values that are NaN or infinite"),
                             moden::argument_error);
    }
}
