// Mode products against straight loops, on shapes that reach every way in which they are computed.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/mode_product.hpp>

#include "reference.hpp"

using moden::dynamic_tensor;
using moden::extents;
using moden::tensor;
using reference::normal_matrix;
using reference::normal_tensor;

namespace {

struct product_case {
    std::string reason;
    extents shape;  ///< slabs x extent x columns; one slab is a first mode, one column a last mode
    std::size_t rows;
};

/// The bound holds for every order of summation, so one number does for all ways of computing.
template <class T>
void check_cases(const std::vector<product_case>& cases) {
    for (const auto& one : cases) {
        const auto& reason = one.reason;
        const auto& shape = one.shape;
        const auto rows = one.rows;
        CAPTURE(reason);
        CAPTURE(reference::text(shape));
        const auto x = normal_tensor<T>(shape, 7);
        const auto a = normal_matrix<T>(rows, shape[1], 8);
        const auto expected = reference::mode_product(x, a, 1);
        for (const std::size_t threads : reference::sizes{1, 2, 3}) {
            CAPTURE(threads);
            CHECK(reference::worst_error(moden::mode_product(moden::cpu_policy({.threads = threads}), x, a, 1),
                                         expected) <= 1);
        }
    }
}

}  // namespace

TEST_CASE("example: mode_product") {
    //! [mode_product]
    const moden::tensor<double, 3> x = xt::ones<double>({2, 3, 4});
    const moden::tensor<double, 2> a{{1, 2, 3}, {0, 1, 0}};  // 2 x 3: from three elements to two
    const moden::tensor<double, 1> v{1, 2, 3};

    const auto y = moden::mode_product(x, a, 1);  // 2 x 2 x 4, y(i, j, k) = sum_m x(i, m, k) a(j, m)
    const auto z = moden::mode_product(x, v, 1);  // 2 x 4: a vector removes its mode
    //! [mode_product]
    CHECK(reference::shape_of(y) == extents{2, 2, 4});
    CHECK(y(0, 0, 0) == 6);
    CHECK(y(1, 1, 3) == 1);
    CHECK(z == moden::tensor<double, 2>{{6, 6, 6, 6}, {6, 6, 6, 6}});
}

TEST_CASE("example: multi_mode_product") {
    //! [multi_mode_product]
    const moden::tensor<double, 3> x = xt::ones<double>({2, 3, 4});
    const std::vector<moden::tensor<double, 2>> sums{{{1, 1}}, {{1, 1, 1}}, {{1, 1, 1, 1}}};

    const auto total = moden::multi_mode_product(x, sums);  // x_0 sums[0] x_1 sums[1] x_2 sums[2]: 1 x 1 x 1

    // Only some modes, in any order; with transposed matrices.
    const std::vector<moden::tensor<double, 2>> tall{{{1}, {2}, {3}, {4}}, {{5}, {6}}};
    const auto weighted =
        moden::multi_mode_product(x, tall, {.modes = {2, 0}, .matrices = moden::transposition::transposed});
    //! [multi_mode_product]
    CHECK(total == moden::tensor<double, 3>{{{24}}});
    CHECK(weighted == moden::tensor<double, 3>{{{110}, {110}, {110}}});
}

TEST_CASE_TEMPLATE("every mode of every order", T, float, double) {
    const std::vector<extents> shapes{{6},
                                      {5, 4},
                                      {3, 4, 5},
                                      {2, 3, 4, 3},
                                      {3, 1, 2, 4, 2},
                                      {1, 3, 2, 2, 1, 4},
                                      {2, 2, 1, 3, 2, 2, 3},
                                      {2, 1, 3, 2, 2, 2, 1, 2},
                                      {1, 1, 1}};
    for (const extents& shape : shapes) {
        CAPTURE(reference::text(shape));
        const auto x = normal_tensor<T>(shape, 1);
        for (std::size_t mode = 0; mode < shape.size(); ++mode) {
            CAPTURE(mode);
            for (const std::size_t rows : {std::size_t{1}, shape[mode], shape[mode] + 3}) {
                const auto a = normal_matrix<T>(rows, shape[mode], 2);
                CHECK(reference::worst_error(moden::mode_product(x, a, mode), reference::mode_product(x, a, mode)) <=
                      1);
            }
        }
    }
}

TEST_CASE_TEMPLATE("first mode, one product of a small and a wide matrix", T, float, double) {
    check_cases<T>({{"few columns", {1, 7, 5}, 3},
                    {"many columns", {1, 30, 3000}, 20},
                    {"deep", {1, 700, 40}, 9},
                    {"one row", {1, 50, 300}, 1}});
}

TEST_CASE_TEMPLATE("last mode, a tall matrix times a small one", T, float, double) {
    check_cases<T>({{"short", {900, 8, 1}, 8},
                    {"tall and narrow, several rows share a register", {3000, 2, 1}, 2},
                    {"tall and narrow", {1030, 3, 1}, 5},
                    {"tall, an extent of one", {2000, 1, 1}, 3},
                    {"tall, one row", {2000, 5, 1}, 1},
                    {"tall, more than one strip of columns", {1500, 19, 1}, 61},
                    {"tall, widest that is taken by rows", {1100, 64, 1}, 64},
                    {"tall, too wide for that", {1100, 65, 1}, 20},
                    {"tall, too many rows for that", {1100, 20, 1}, 65}});
}

TEST_CASE_TEMPLATE("inner mode before very few elements", T, float, double) {
    check_cases<T>({{"2 columns, widened", {2100, 5, 2}, 4},
                    {"3 columns, widened", {1500, 7, 3}, 9},
                    {"4 columns, widened to the limit", {1200, 16, 4}, 16},
                    {"4 columns, widened, few slabs", {5, 16, 4}, 3},
                    {"2 columns, too deep to widen", {60, 33, 2}, 5},
                    {"4 columns, too many rows to widen", {60, 5, 4}, 17},
                    {"5 columns, never widened", {60, 5, 5}, 5},
                    {"2 slabs", {2, 5, 2}, 4}});
}

TEST_CASE_TEMPLATE("inner mode, slab by slab", T, float, double) {
    check_cases<T>({{"many slabs, whole strips", {50, 12, 64}, 12},
                    {"many slabs, ragged strips", {50, 13, 37}, 25},
                    {"many slabs, narrower than a register", {100, 10, 7}, 5},
                    {"slabs beyond the first level of cache", {20, 60, 130}, 13},
                    {"one row", {40, 25, 50}, 1},
                    {"deepest slabs that are multiplied in place", {20, 512, 6}, 3},
                    {"deeper slabs, library", {20, 513, 6}, 3},
                    {"factor beyond the second level of cache, library", {20, 420, 6}, 330},
                    {"few slabs, parallel inside", {2, 30, 40}, 20},
                    {"three slabs", {3, 40, 50}, 20}});
}

TEST_CASE_TEMPLATE("a vector removes its mode", T, float, double) {
    const extents shape{3, 1, 4, 5};
    const auto x = normal_tensor<T>(shape, 3);
    for (std::size_t mode = 0; mode < shape.size(); ++mode) {
        const auto v = reference::normal_tensor_of_order<T, 1>({shape[mode]}, 4);
        tensor<T, 2> row = xt::zeros<T>({std::size_t{1}, shape[mode]});
        std::copy(v.begin(), v.end(), row.begin());
        auto expected = reference::mode_product(x, row, mode);
        expected.shape = reference::without(shape, mode);
        const auto y = moden::mode_product(x, v, mode);
        static_assert(moden::order_of<decltype(y)> == moden::dynamic_order);
        CHECK(reference::worst_error(y, expected) <= 1);
        const tensor<T, 4> fixed = x;
        const auto z = moden::mode_product(fixed, v, mode);
        static_assert(moden::order_of<decltype(z)> == 3);
        CHECK(reference::identical(z, y));
    }
    const tensor<T, 1> u{1, 2, 3};
    const auto scalar = moden::mode_product(u, u, 0);
    static_assert(moden::order_of<decltype(scalar)> == 0);
    CHECK(scalar.size() == 1);
    CHECK(scalar.data()[0] == T(14));
}

TEST_CASE_TEMPLATE("static and dynamic order agree", T, float, double) {
    const auto x = normal_tensor<T>({6, 5, 4}, 9);
    const tensor<T, 3> fixed = x;
    const auto a = normal_matrix<T>(3, 5, 10);
    const dynamic_tensor<T> dynamic_a = a;
    const auto y = moden::mode_product(x, a, 1);
    const auto z = moden::mode_product(fixed, dynamic_a, 1);
    static_assert(moden::order_of<decltype(y)> == moden::dynamic_order);
    static_assert(moden::order_of<decltype(z)> == 3);
    CHECK(reference::identical(y, z));
}

TEST_CASE_TEMPLATE("multi_mode_product against loops", T, float, double) {
    const std::vector<std::pair<extents, extents>> cases{
        {{6}, {4}},
        {{5, 4}, {2, 9}},
        {{8, 3, 5}, {2, 3, 7}},
        {{4, 1, 6, 3}, {4, 2, 2, 3}},
        {{2, 3, 2, 3, 2}, {3, 1, 2, 2, 4}},
        {{2, 3, 2, 2, 1, 3}, {1, 2, 3, 2, 2, 2}},
        {{2, 2, 2, 2, 2, 2, 2}, {3, 1, 2, 2, 1, 2, 3}},
        {{2, 2, 3, 1, 2, 2, 2, 3}, {2, 1, 2, 2, 2, 3, 1, 2}},
        {{20, 30, 25}, {4, 5, 6}},
    };
    for (const auto& one : cases) {
        const auto& shape = one.first;
        const auto rows = one.second;
        CAPTURE(reference::text(shape));
        const auto x = normal_tensor<T>(shape, 1);
        const auto matrices = reference::normal_matrices<T>(rows, shape, 20);
        const auto expected = reference::multi_mode_product(x, matrices);
        CHECK(reference::worst_error(moden::multi_mode_product(x, matrices), expected) <= 1);

        std::vector<tensor<T, 2>> turned;
        extents backwards;
        for (std::size_t n = shape.size(); n-- > 0;) {
            turned.push_back(reference::narrowed<T>(reference::transpose(reference::widened(matrices[n]))));
            backwards.push_back(n);
        }
        const auto y =
            moden::multi_mode_product(x, turned, {.modes = backwards, .matrices = moden::transposition::transposed});
        CHECK(reference::worst_error(y, expected) <= 1);
    }
}

TEST_CASE_TEMPLATE("multi_mode_product of some modes leaves the others alone", T, float, double) {
    const extents shape{4, 3, 5, 2};
    const auto x = normal_tensor<T>(shape, 1);
    const auto a = normal_matrix<T>(6, 5, 2);
    const auto b = normal_matrix<T>(2, 4, 3);
    std::vector<tensor<T, 2>> all{b, xt::eye<T>(3), a, xt::eye<T>(2)};
    const auto expected = reference::multi_mode_product(x, all);
    const std::vector<tensor<T, 2>> some{a, b};
    CHECK(reference::worst_error(moden::multi_mode_product(x, some, {.modes = {2, 0}}), expected) <= 1);
    const std::vector<tensor<T, 2>> one{a};
    CHECK(reference::worst_error(moden::multi_mode_product(x, one, {.modes = {2}}), reference::mode_product(x, a, 2)) <=
          1);
}

TEST_CASE("multi_mode_product with an empty list of modes and matrices for an order of 0 or more") {
    // No modes named means one matrix per mode, so that no matrices at all do not fit a tensor.
    const tensor<double, 2> x = xt::ones<double>({2, 3});
    const std::vector<tensor<double, 2>> none;
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, none),
                         doctest::Contains("multi_mode_product: 0 matrices for 2 modes"), moden::shape_error);
}

// 001 Eq. 3.3: products along different modes commute; along the same mode they compose.
TEST_CASE_TEMPLATE("products commute and compose", T, float, double) {
    const auto x = normal_tensor<T>({5, 6, 7}, 1);
    const auto a = normal_matrix<T>(4, 5, 2);
    const auto b = normal_matrix<T>(3, 7, 3);
    const auto c = normal_matrix<T>(2, 4, 4);
    const auto ab = moden::mode_product(moden::mode_product(x, a, 0), b, 2);
    const auto ba = moden::mode_product(moden::mode_product(x, b, 2), a, 0);
    const std::vector<tensor<T, 2>> both{a, xt::eye<T>(6), b};
    const auto expected = reference::multi_mode_product(x, both);
    CHECK(reference::worst_error(ab, expected) <= 1);
    CHECK(reference::worst_error(ba, expected) <= 1);

    const auto composed = reference::product(c, a);
    const auto rounded = reference::narrowed<T>(reference::multiply(reference::widened(c), reference::widened(a)));
    auto bound = reference::mode_product(x, rounded, 0);
    bound.terms += composed.terms + 1;  // c a was rounded
    for (auto& magnitude : bound.magnitude) {
        magnitude *= 4;  // sum |c| |a| against |c a|, of four terms each
    }
    CHECK(reference::worst_error(moden::mode_product(moden::mode_product(x, a, 0), c, 0), bound) <= 1);
}

TEST_CASE("products let NaN and infinity through") {
    tensor<double, 2> x = xt::ones<double>({2, 2});
    x(0, 1) = std::numeric_limits<double>::quiet_NaN();
    const tensor<double, 2> a{{1, 1}};
    const auto y = moden::mode_product(x, a, 1);
    CHECK(y(0, 0) != y(0, 0));
    CHECK(y(1, 0) == 2);
}

TEST_CASE("bad arguments are named") {
    const tensor<double, 3> x = xt::ones<double>({2, 3, 4});
    const tensor<double, 2> a = xt::ones<double>({5, 3});
    const tensor<double, 1> v = xt::ones<double>({4});
    CHECK_THROWS_WITH_AS(moden::mode_product(x, a, 3), doctest::Contains("mode_product: mode 3 of a tensor of order 3"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(
        moden::mode_product(x, a, 2),
        doctest::Contains("mode_product: a factor of 5 x 3 on mode 2 of a tensor of 2 x 3 x 4 (expected 4 columns"),
        moden::shape_error);
    CHECK_THROWS_WITH_AS(
        moden::mode_product(x, v, 1),
        doctest::Contains("mode_product: a factor of 4 on mode 1 of a tensor of 2 x 3 x 4 (expected 3 elements)"),
        moden::shape_error);
    const tensor<double, 2> no_rows = xt::ones<double>({0, 3});
    CHECK_THROWS_WITH_AS(moden::mode_product(x, no_rows, 1), doctest::Contains("at least one row"), moden::shape_error);
    const tensor<double, 3> empty = xt::ones<double>({2, 0, 4});
    CHECK_THROWS_WITH_AS(moden::mode_product(empty, a, 0),
                         doctest::Contains("mode_product: the tensor of 2 x 0 x 4 is empty"), moden::shape_error);
    const dynamic_tensor<double> dynamic_vector = v;
    CHECK_THROWS_WITH_AS(moden::mode_product(x, dynamic_vector, 2),
                         doctest::Contains("mode_product: the factor has shape 4 (expected a matrix"),
                         moden::shape_error);

    const std::vector<tensor<double, 2>> one{a};
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, one),
                         doctest::Contains("multi_mode_product: 1 matrices for 3 modes"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, one, {.modes = {0, 1}}),
                         doctest::Contains("multi_mode_product: 1 matrices for 2 modes"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, one, {.modes = {3}}),
                         doctest::Contains("multi_mode_product: mode 3 of a tensor of order 3"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, one, {.modes = {2}}),
                         doctest::Contains("multi_mode_product: a factor of 5 x 3 on mode 2 of a tensor of 2 x 3 x 4"),
                         moden::shape_error);
    CHECK_THROWS_AS(moden::multi_mode_product(x, one, {.modes = {1}, .matrices = moden::transposition::transposed}),
                    moden::shape_error);
    const std::vector<tensor<double, 2>> two{a, a};
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, two, {.modes = {1, 1}}),
                         doctest::Contains("multi_mode_product: mode 1 appears twice"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(empty, one, {.modes = {1}}),
                         doctest::Contains("multi_mode_product: the tensor of 2 x 0 x 4 is empty"), moden::shape_error);
    const std::vector<dynamic_tensor<double>> vectors{dynamic_vector};
    CHECK_THROWS_WITH_AS(moden::multi_mode_product(x, vectors, {.modes = {2}}),
                         doctest::Contains("multi_mode_product: a factor has order 1 (expected a matrix)"),
                         moden::shape_error);
}
