// Unfolding and folding in both orders of the columns.

#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/multilinear/unfold.hpp>

#include "reference.hpp"

using moden::extents;
using moden::unfolding;

namespace {

/// Column of an element: DESIGN's j = sum_{k != n} i_k prod_{m > k, m != n} I_m, or Kolda & Bader's
/// j = sum_{k != n} i_k prod_{m < k, m != n} I_m.
std::size_t column_of(const extents& shape, const extents& index, std::size_t mode, unfolding order) {
    std::size_t column = 0;
    for (std::size_t k = 0; k < shape.size(); ++k) {
        if (k == mode) {
            continue;
        }
        std::size_t weight = 1;
        for (std::size_t m = 0; m < shape.size(); ++m) {
            const bool faster = order == unfolding::row_major ? m > k : m < k;
            weight *= faster && m != mode ? shape[m] : 1;
        }
        column += index[k] * weight;
    }
    return column;
}

template <class Tensor, class Matrix>
bool is_unfolding(const Tensor& tensor, const Matrix& matrix, std::size_t mode, unfolding order) {
    const extents shape = reference::shape_of(tensor);
    if (matrix.shape()[0] != shape[mode] || matrix.shape()[1] * shape[mode] != tensor.size()) {
        return false;
    }
    bool equal = true;
    reference::for_each_index(shape, [&](const extents& index) {
        const auto element = tensor.data()[reference::position(shape, index)];
        equal = equal && matrix(index[mode], column_of(shape, index, mode, order)) == element;
    });
    return equal;
}

const std::vector<extents> shapes{
    {5},  // orders 1 to 8
    {4, 3},
    {2, 3, 4},
    {3, 1, 4, 2},  // extents of 1
    {2, 3, 2, 3, 2},
    {1, 2, 3, 1, 2, 4},
    {2, 1, 3, 2, 2, 1, 3},
    {2, 3, 1, 2, 2, 3, 2, 2},
    {1, 1, 1},
    {40, 50, 30},  // above the size where the copy is divided among threads
    {17, 1, 33, 3, 19},
};

}  // namespace

TEST_CASE("example: unfold and fold") {
    //! [unfold]
    // A tensor of 2 x 3 x 2 elements, counted 0, 1, 2, ... in memory.
    const moden::tensor<double, 3> x{{{0, 1}, {2, 3}, {4, 5}}, {{6, 7}, {8, 9}, {10, 11}}};

    const auto x1 = moden::unfold(x, 1);  // 3 x 4: rows follow mode 1, columns modes 0 and 2, the last fastest
    const auto back = moden::fold<3>(x1, 1, {2, 3, 2});
    //! [unfold]
    CHECK(x1 == moden::tensor<double, 2>{{0, 1, 6, 7}, {2, 3, 8, 9}, {4, 5, 10, 11}});
    CHECK(back == x);
}

// The example of Kolda & Bader 2009, Sec. 2.4: a 3 x 4 x 2 tensor whose frontal slices count down their columns.
TEST_CASE("the Kolda order reproduces the unfoldings of Kolda & Bader") {
    moden::tensor<double, 3> x = xt::zeros<double>({3, 4, 2});
    for (std::size_t k = 0; k < 2; ++k) {
        for (std::size_t j = 0; j < 4; ++j) {
            for (std::size_t i = 0; i < 3; ++i) {
                x(i, j, k) = static_cast<double>(1 + i + 3 * j + 12 * k);
            }
        }
    }
    CHECK(moden::unfold(x, 0, unfolding::kolda) == moden::tensor<double, 2>{{1, 4, 7, 10, 13, 16, 19, 22},
                                                                            {2, 5, 8, 11, 14, 17, 20, 23},
                                                                            {3, 6, 9, 12, 15, 18, 21, 24}});
    CHECK(moden::unfold(x, 1, unfolding::kolda) ==
          moden::tensor<double, 2>{
              {1, 2, 3, 13, 14, 15}, {4, 5, 6, 16, 17, 18}, {7, 8, 9, 19, 20, 21}, {10, 11, 12, 22, 23, 24}});
    CHECK(moden::unfold(x, 2, unfolding::kolda) ==
          moden::tensor<double, 2>{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
                                   {13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}});
}

TEST_CASE_TEMPLATE("unfold puts every element where the formula says, and fold takes it back", T, float, double) {
    for (const extents& shape : shapes) {
        CAPTURE(reference::text(shape));
        const auto x = reference::normal_tensor<T>(shape, 3);
        for (std::size_t mode = 0; mode < shape.size(); ++mode) {
            CAPTURE(mode);
            for (const unfolding order : {unfolding::row_major, unfolding::kolda}) {
                const auto matrix = moden::unfold(x, mode, order);
                CHECK(is_unfolding(x, matrix, mode, order));
                CHECK(reference::identical(moden::fold(matrix, mode, shape, order), x));
            }
        }
    }
}

TEST_CASE_TEMPLATE("static order and dynamic order agree", T, float, double) {
    const auto x = reference::normal_tensor<T>({3, 4, 5}, 1);
    const moden::tensor<T, 3> fixed = x;
    for (std::size_t mode = 0; mode < 3; ++mode) {
        const auto matrix = moden::unfold(x, mode);
        static_assert(moden::order_of<decltype(matrix)> == 2);
        CHECK(matrix == moden::unfold(fixed, mode));
        const auto folded = moden::fold<3>(matrix, mode, {3, 4, 5});
        static_assert(moden::order_of<decltype(folded)> == 3);
        CHECK(folded == fixed);
    }
}

TEST_CASE("an empty mode gives an unfolding without columns") {
    const moden::tensor<double, 3> x = xt::zeros<double>({2, 0, 3});
    CHECK(reference::shape_of(moden::unfold(x, 0)) == extents{2, 0});
    CHECK(reference::shape_of(moden::unfold(x, 1)) == extents{0, 6});
    CHECK(reference::shape_of(moden::fold(moden::unfold(x, 0), 0, {2, 0, 3})) == extents{2, 0, 3});
}

TEST_CASE("mode, matrix and shape are checked") {
    const moden::tensor<double, 3> x = xt::zeros<double>({2, 3, 4});
    CHECK_THROWS_WITH_AS(moden::unfold(x, 3), doctest::Contains("unfold: mode 3 of a tensor of order 3"),
                         moden::shape_error);
    const moden::tensor<double, 2> matrix = xt::zeros<double>({3, 8});
    CHECK_THROWS_WITH_AS(moden::fold(matrix, 3, {2, 3, 4}), doctest::Contains("fold: mode 3 of a tensor of order 3"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(
        moden::fold(matrix, 0, {2, 3, 4}),
        doctest::Contains("fold: a matrix of 3 x 8 (expected 2 x 12 for mode 0 of a tensor of 2 x 3 x 4)"),
        moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::fold<4>(matrix, 1, {2, 3, 4}),
                         doctest::Contains("fold: shape 2 x 3 x 4 for a tensor of order 4"), moden::shape_error);
    CHECK_THROWS_AS(moden::fold(x, 1, {2, 3, 4}), moden::shape_error);
    const moden::tensor<double, 0> scalar(1.0);
    CHECK_THROWS_WITH_AS(moden::unfold(scalar, 0), doctest::Contains("unfold: mode 0 of a tensor of order 0"),
                         moden::shape_error);
}
