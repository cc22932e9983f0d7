// The higher-order SVDs by their defining properties, and what is done with their results; examples of all of them.

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/hooi.hpp>
#include <moden/multilinear/hosvd.hpp>
#include <moden/multilinear/products.hpp>

#include "tucker_checks.hpp"

using moden::dynamic_tensor;
using moden::extents;
using moden::svd_method;
using moden::tensor;
using reference::normal_tensor;
using reference::true_error;

namespace {

/// 20 x 30 x 10 numbers of multilinear ranks (3, 4, 2).
tensor<double, 3> low_rank_tensor() {
    const auto core = reference::normal_tensor_of_order<double, 3>({3, 4, 2}, 1);
    return moden::multi_mode_product(core, reference::normal_matrices<double>({20, 30, 10}, {3, 4, 2}, 2));
}

constexpr double at_rounding = 1e-14;

}  // namespace

TEST_CASE("example: hosvd") {
    const auto x = low_rank_tensor();
    //! [hosvd]
    // x: 20 x 30 x 10, of multilinear ranks (3, 4, 2)
    const auto exact = moden::hosvd(x);  // nothing truncated: three square orthogonal factors
    const auto small = moden::hosvd(x, {.ranks = {3, 4, 2}});

    const auto& core = small.core;                          // 3 x 4 x 2
    const auto& columns = small.factors[1];                 // 30 x 4, orthonormal columns
    const auto& spectrum = small.modes[1].singular_values;  // of the mode-1 unfolding, descending
    //! [hosvd]
    CHECK(exact.relative_error < at_rounding);
    CHECK(small.relative_error < at_rounding);
    CHECK(reference::shape_of(core) == extents{3, 4, 2});
    CHECK(reference::shape_of(columns) == extents{30, 4});
    CHECK(spectrum.size() == 30);
}

TEST_CASE("example: st_hosvd") {
    const auto x = low_rank_tensor();
    //! [st_hosvd]
    // x: 20 x 30 x 10
    const auto by_ranks = moden::st_hosvd(x, {.ranks = {3, 4, 2}});
    const auto by_error = moden::st_hosvd(x, {.tolerance = 0.5});  // |x - x^| <= 0.5 |x|
    const auto capped = moden::st_hosvd(x, {.ranks = {2, 2, 2}, .energy = 0.9, .method = moden::svd_method::qr});

    const double error = by_error.relative_error;  // what was achieved
    const std::size_t rank_of_mode_0 = by_error.modes[0].rank;
    //! [st_hosvd]
    CHECK(true_error(x, by_ranks) < at_rounding);
    CHECK(error <= 0.5);
    CHECK(error > 0.1);
    CHECK(error == doctest::Approx(true_error(x, by_error)).epsilon(1e-10));
    CHECK(rank_of_mode_0 == by_error.factors[0].shape()[1]);
    CHECK(capped.modes[0].rank <= 2);
    CHECK(capped.modes[0].method == svd_method::qr);
}

TEST_CASE("example: reconstruct") {
    const auto x = low_rank_tensor();
    //! [reconstruct]
    const auto model = moden::st_hosvd(x, {.ranks = {3, 4, 2}});

    const auto whole = moden::reconstruct(model);                                               // 20 x 30 x 10
    const auto part = moden::reconstruct(model, {{.first = 4, .count = 1}, {}, {.first = 8}});  // 1 x 30 x 2
    //! [reconstruct]
    CHECK(reference::relative_difference(x, whole) < at_rounding);
    REQUIRE(reference::shape_of(part) == extents{1, 30, 2});
    CHECK(part(0, 7, 1) == doctest::Approx(x(4, 7, 9)).epsilon(1e-12));
}

TEST_CASE("example: relative_error") {
    const auto x = low_rank_tensor();
    //! [relative_error]
    auto model = moden::st_hosvd(x, {.ranks = {3, 4, 2}});
    model.core *= 1 + 1e-9;

    const double error = moden::relative_error(x, model);  // 1e-9, although sqrt(eps) is larger
    //! [relative_error]
    CHECK(error == doctest::Approx(1e-9).epsilon(1e-5));
}

TEST_CASE("example: hooi") {
    const auto x = reference::normal_tensor_of_order<double, 3>({12, 13, 14}, 5);
    //! [hooi]
    // The best approximation of given ranks; st_hosvd is its start.
    const auto start = moden::st_hosvd(x, {.ranks = {3, 3, 3}});
    const auto go_on = [](std::size_t /* iteration */, double fit) { return fit < 0.999; };  // false stops
    const auto refined = moden::hooi(x, {.ranks = {3, 3, 3}, .tolerance = 1e-6, .progress = go_on});
    //! [hooi]
    CHECK(refined.status == moden::iteration_status::converged);
    CHECK(refined.relative_error < start.relative_error);
}

// ---- exact decompositions -------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("without truncation the tensor is rebuilt, for every order and method", T, float, double) {
    const std::vector<extents> shapes{{7},
                                      {6, 5},
                                      {1, 1, 1},
                                      {5, 6, 7},
                                      {20, 2, 3},  // mode 0 is longer than its unfolding is wide
                                      {2, 30, 3},
                                      {2, 3, 40},
                                      {4, 1, 5, 3},
                                      {2, 3, 2, 4, 2},
                                      {2, 1, 3, 2, 2, 3},
                                      {2, 2, 3, 2, 1, 2, 2},
                                      {2, 2, 1, 3, 2, 2, 2, 2}};
    for (const extents& shape : shapes) {
        CAPTURE(reference::text(shape));
        const auto x = normal_tensor<T>(shape, 3);
        const auto before = x;
        for (const svd_method method :
             {svd_method::automatic, svd_method::gram, svd_method::qr, svd_method::randomized}) {
            CAPTURE(static_cast<int>(method));
            const extents ranks = method == svd_method::randomized ? shape : extents{};
            const auto check = [&](const auto& result) {
                reference::check_structure(result, shape);
                CHECK(true_error(x, result) <= reference::lapack_bound * reference::epsilon<T>);
                CHECK(result.relative_error <= reference::lapack_bound * reference::epsilon<T>);
                CHECK(reference::identical(x, before));
            };
            check(moden::hosvd(x, {.ranks = ranks, .method = method}));
            check(moden::st_hosvd(x, {.ranks = ranks, .method = method, .error = moden::error_measure::residual}));
        }
    }
}

// De Lathauwer et al. 2000: slices of the core along any mode are orthogonal, and their norms are the singular values.
TEST_CASE_TEMPLATE("the core of the HOSVD is all-orthogonal and ordered", T, float, double) {
    const auto x = normal_tensor<T>({8, 9, 10}, 1);
    for (const svd_method method : {svd_method::gram, svd_method::qr}) {
        const auto result = moden::hosvd(x, {.method = method});
        const double energy = static_cast<double>(moden::inner(x, x));
        for (std::size_t n = 0; n < 3; ++n) {
            const auto unfolded = reference::widened(moden::unfold(result.core, n));
            auto gram = reference::multiply(unfolded, reference::transpose(unfolded));
            const auto& values = result.modes[n].singular_values;
            for (std::size_t i = 0; i < values.size(); ++i) {
                gram(i, i) -= static_cast<reference::wide>(values[i]) * values[i];
            }
            CHECK(reference::frobenius(gram) <= reference::lapack_bound * reference::epsilon<T> * energy);
        }
    }
}

TEST_CASE_TEMPLATE("the singular values are those of the unfoldings, the factors their left singular vectors", T, float,
                   double) {
    const auto known = reference::tensor_with_spectrum({9, 10, 11}, {6, 5, 4, 3, 2, 1}, 1);
    const auto x = known.template dense<T>();
    for (const svd_method method : {svd_method::gram, svd_method::qr, svd_method::randomized}) {
        CAPTURE(static_cast<int>(method));
        const auto result = moden::hosvd(x, {.ranks = {6, 6, 6}, .method = method});
        for (std::size_t n = 0; n < 3; ++n) {
            // Through a Gram matrix the error of a value is that of its square, eps s_0^2, over twice the value itself.
            const double bound = reference::lapack_bound * (method == svd_method::gram ? 6 : 1);
            CHECK(reference::value_ratio(result.modes[n].singular_values, known.values, 6) <= bound);
            const double turn = bound * reference::epsilon<T> * 6;  // neighbouring values are 1 apart
            for (std::size_t r = 0; r < 6; ++r) {
                CHECK(reference::projector_distance(reference::columns_of(result.factors[n], r, 1),
                                                    reference::columns_of(known.factors[n], r, 1)) <= turn);
            }
        }
    }
}

TEST_CASE_TEMPLATE("order 1 is a vector split into its direction and its length", T, float, double) {
    const tensor<T, 1> x{3, -4};
    for (const svd_method method : {svd_method::automatic, svd_method::gram, svd_method::qr}) {
        const auto result = moden::hosvd(x, {.method = method});
        REQUIRE(reference::shape_of(result.factors[0]) == extents{2, 1});
        CHECK(static_cast<double>(result.factors[0](0, 0)) == doctest::Approx(-0.6).epsilon(4 * reference::epsilon<T>));
        CHECK(static_cast<double>(result.factors[0](1, 0)) == doctest::Approx(0.8).epsilon(4 * reference::epsilon<T>));
        CHECK(static_cast<double>(result.core(0)) == doctest::Approx(-5).epsilon(4 * reference::epsilon<T>));
        CHECK(static_cast<double>(result.modes[0].singular_values[0]) ==
              doctest::Approx(5).epsilon(4 * reference::epsilon<T>));
    }
}

TEST_CASE_TEMPLATE("a tensor of zeros has rank one, error zero and orthonormal factors", T, float, double) {
    const dynamic_tensor<T> x = xt::zeros<T>({4, 5, 3});
    for (const svd_method method : {svd_method::automatic, svd_method::gram, svd_method::qr}) {
        CAPTURE(static_cast<int>(method));
        for (const auto& options :
             {moden::hosvd_options{.method = method}, moden::hosvd_options{.tolerance = 0.1, .method = method},
              moden::hosvd_options{.energy = 0.9, .method = method},
              moden::hosvd_options{.ranks = {2, 2, 2}, .method = method}}) {
            const auto plain = moden::hosvd(x, options);
            const auto sequential = moden::st_hosvd(x, options);
            reference::check_structure(plain, {4, 5, 3});
            reference::check_structure(sequential, {4, 5, 3});
            CHECK(plain.relative_error == 0);
            CHECK(plain.error_bound == 0);
            CHECK(sequential.relative_error == 0);
            CHECK(true_error(x, plain) == 0);
            CHECK(true_error(x, sequential) == 0);
            if (options.tolerance || options.energy) {
                CHECK(reference::shape_of(plain.core) == extents{1, 1, 1});
            }
        }
    }
    const auto random = moden::st_hosvd(x, {.ranks = {2, 2, 2}, .method = svd_method::randomized});
    reference::check_structure(random, {4, 5, 3});
    CHECK(true_error(x, random) == 0);
}

TEST_CASE_TEMPLATE("static and dynamic order agree", T, float, double) {
    const auto x = normal_tensor<T>({6, 7, 8}, 2);
    const tensor<T, 3> fixed = x;
    const moden::hosvd_options options{.ranks = {3, 4, 5}};
    const auto compare = [](const auto& dynamic, const auto& with_order) {
        static_assert(moden::order_of<decltype(dynamic.core)> == moden::dynamic_order);
        static_assert(moden::order_of<decltype(with_order.core)> == 3);
        CHECK(reference::identical(dynamic.core, with_order.core));
        for (std::size_t n = 0; n < 3; ++n) {
            CHECK(reference::identical(dynamic.factors[n], with_order.factors[n]));
        }
    };
    compare(moden::hosvd(x, options), moden::hosvd(fixed, options));
    compare(moden::st_hosvd(x, options), moden::st_hosvd(fixed, options));
    compare(moden::hooi(x, {.ranks = {3, 4, 5}, .max_iterations = 3}),
            moden::hooi(fixed, {.ranks = {3, 4, 5}, .max_iterations = 3}));
    CHECK(reference::identical(moden::reconstruct(moden::st_hosvd(x, options)),
                               moden::reconstruct(moden::st_hosvd(fixed, options))));
}

// ---- reconstruct and relative_error ---------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("reconstruct against loops, whole and in part", T, float, double) {
    const extents shape{5, 1, 6, 4};
    const extents ranks{3, 2, 2, 4};
    const moden::tucker_tensor<dynamic_tensor<T>> tucker{normal_tensor<T>(ranks, 1),
                                                         reference::normal_matrices<T>(shape, ranks, 2)};
    const auto expected = reference::rebuilt_tensor(tucker);
    CHECK(reference::worst_error(moden::reconstruct(tucker), expected) <= 1);

    const std::vector<moden::index_range> ranges{{1, 3}, {}, {5, 1}, {.first = 2}};
    const auto part = moden::reconstruct(tucker, ranges);
    REQUIRE(reference::shape_of(part) == extents{3, 1, 1, 2});
    auto expected_part = reference::zero_sums({3, 1, 1, 2}, expected.terms);
    std::size_t at = 0;
    reference::for_each_index({3, 1, 1, 2}, [&](const extents& i) {
        const std::size_t source = reference::position(shape, {i[0] + 1, i[1], i[2] + 5, i[3] + 2});
        expected_part.value[at] = expected.value[source];
        expected_part.magnitude[at++] = expected.magnitude[source];
    });
    CHECK(reference::worst_error(part, expected_part) <= 1);
    CHECK(reference::shape_of(moden::reconstruct(tucker, {{}, {}, {2, 0}, {}})) == extents{5, 1, 0, 4});
    CHECK(reference::shape_of(moden::reconstruct(tucker, {{}, {}, {.first = 6}, {}})) == extents{5, 1, 0, 4});
}

TEST_CASE_TEMPLATE("relative_error against loops, above and below sqrt(eps)", T, float, double) {
    const auto known = reference::tensor_with_spectrum({9, 8, 7}, {1, 0.5, 0.25}, 4);
    const auto x = known.template dense<T>();
    const auto exact = moden::hosvd(x, {.ranks = {3, 3, 3}, .method = svd_method::qr});
    for (const double size : {1e-1, 1e-3, 100 * reference::epsilon<T>}) {
        CAPTURE(size);
        auto shifted = exact;
        shifted.core(0, 0, 0) += static_cast<T>(size);
        // Elements of the model are rounded when they are computed, which adds a few eps.
        CHECK(std::abs(moden::relative_error(x, shifted) - true_error(x, shifted)) <= 10 * reference::epsilon<T>);
        CHECK(true_error(x, shifted) >= size / 2);
    }
}

TEST_CASE("relative_error of zeros") {
    const tensor<double, 2> zero = xt::zeros<double>({3, 4});
    auto model = moden::hosvd(zero, {.ranks = {1, 1}});
    CHECK(moden::relative_error(zero, model) == 0);
    model.core(0, 0) = 1;
    CHECK(moden::relative_error(zero, model) == std::numeric_limits<double>::infinity());
    const tensor<double, 2> one = xt::ones<double>({3, 4});
    model.core(0, 0) = 0;
    CHECK(moden::relative_error(one, model) == 1);
}

TEST_CASE("reconstruct and relative_error: bad arguments are named") {
    const auto x = low_rank_tensor();
    const auto model = moden::st_hosvd(x, {.ranks = {3, 4, 2}});
    CHECK_THROWS_WITH_AS(moden::reconstruct(model, {{}, {}}), doctest::Contains("reconstruct: 2 ranges for 3 modes"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::reconstruct(model, {{}, {.first = 29, .count = 2}, {}}),
                         doctest::Contains("reconstruct: indices 29 to 31 of mode 1, which has 30"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::reconstruct(model, {{}, {.first = 31}, {}}),
                         doctest::Contains("of mode 1, which has 30"), moden::shape_error);
    CHECK_THROWS_AS(moden::reconstruct(model, {{}, {.first = 2, .count = static_cast<std::size_t>(-2)}, {}}),
                    moden::shape_error);
    auto missing = model;
    missing.factors.pop_back();
    CHECK_THROWS_WITH_AS(moden::reconstruct(missing), doctest::Contains("reconstruct: 2 factors for a core of order 3"),
                         moden::shape_error);
    auto wrong = model;
    wrong.factors[2] = xt::ones<double>({10, 3});
    CHECK_THROWS_WITH_AS(
        moden::reconstruct(wrong),
        doctest::Contains("reconstruct: factor 2 of 10 x 3 for a core of 3 x 4 x 2 (expected 2 columns)"),
        moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::relative_error(x, wrong), doctest::Contains("relative_error: factor 2 of 10 x 3"),
                         moden::shape_error);
    const tensor<double, 3> other = xt::ones<double>({20, 30, 11});
    CHECK_THROWS_WITH_AS(
        moden::relative_error(other, model),
        doctest::Contains("relative_error: a tensor of 20 x 30 x 11 and a Tucker tensor of 20 x 30 x 10"),
        moden::shape_error);
}
