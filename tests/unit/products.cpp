// Inner, outer, Kronecker and Khatri-Rao products, the norm, and the conventions that connect them with unfoldings.

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/multilinear/unfold.hpp>

#include "reference.hpp"

using moden::dynamic_tensor;
using moden::extents;
using moden::tensor;
using reference::normal_matrix;
using reference::normal_tensor;

namespace {

template <class T>
tensor<T, 2> wide_product(const tensor<T, 2>& left, const tensor<T, 2>& right) {
    return reference::narrowed<T>(reference::multiply(reference::widened(left), reference::widened(right)));
}

template <class T>
tensor<T, 2> turned(const tensor<T, 2>& matrix) {
    return reference::narrowed<T>(reference::transpose(reference::widened(matrix)));
}

/// Kronecker products in the order that unfold's convention asks for: all modes but one, the first slowest.
template <class T>
tensor<T, 2> kronecker_without(const std::vector<tensor<T, 2>>& factors, std::size_t mode) {
    tensor<T, 2> result{{T(1)}};
    for (std::size_t n = 0; n < factors.size(); ++n) {
        if (n != mode) {
            result = moden::kronecker(result, factors[n]);
        }
    }
    return result;
}

}  // namespace

TEST_CASE("example: inner and norm") {
    //! [inner]
    const moden::tensor<double, 2> a{{1, 2}, {3, 4}};
    const moden::tensor<double, 2> b{{0, 1}, {1, 0}};

    const double product = moden::inner(a, b);  // 1 * 0 + 2 * 1 + 3 * 1 + 4 * 0
    const double length = moden::norm(b);       // sqrt(inner(b, b))
    //! [inner]
    CHECK(product == 5);
    CHECK(length == doctest::Approx(std::sqrt(2.0)).epsilon(1e-15));
}

TEST_CASE("example: outer") {
    //! [outer]
    const moden::tensor<double, 1> u{1, 2};
    const moden::tensor<double, 1> v{3, 4, 5};

    const auto matrix = moden::outer(u, v);       // 2 x 3, u(i) v(j)
    const auto tensor = moden::outer(matrix, u);  // 2 x 3 x 2, u(i) v(j) u(k)
    //! [outer]
    CHECK(matrix == moden::tensor<double, 2>{{3, 4, 5}, {6, 8, 10}});
    CHECK(tensor == moden::tensor<double, 3>{{{3, 6}, {4, 8}, {5, 10}}, {{6, 12}, {8, 16}, {10, 20}}});
}

TEST_CASE("example: kronecker") {
    //! [kronecker]
    const moden::tensor<double, 2> a{{1, 2}};
    const moden::tensor<double, 2> b{{3, 4}, {5, 6}};

    const auto ab = moden::kronecker(a, b);  // the block matrix [1 b, 2 b]
    //! [kronecker]
    CHECK(ab == moden::tensor<double, 2>{{3, 4, 6, 8}, {5, 6, 10, 12}});
}

TEST_CASE("example: khatri_rao") {
    //! [khatri_rao]
    const std::vector<moden::tensor<double, 2>> factors{{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}, {9, 10}}};

    const auto product = moden::khatri_rao(factors);  // 6 x 2; column r is kronecker(column r, column r)
    //! [khatri_rao]
    CHECK(product == moden::tensor<double, 2>{{5, 12}, {7, 16}, {9, 20}, {15, 24}, {21, 32}, {27, 40}});
}

TEST_CASE_TEMPLATE("inner and norm against loops", T, float, double) {
    const double eps = reference::epsilon<T>;
    for (const extents& shape : {extents{1}, extents{3}, extents{7, 5}, extents{4, 1, 9}, extents{70, 80, 9}}) {
        CAPTURE(reference::text(shape));
        const auto a = normal_tensor<T>(shape, 1);
        const auto b = normal_tensor<T>(shape, 2);
        reference::wide inner = 0;
        reference::wide magnitude = 0;
        reference::wide squares = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            const reference::wide product = static_cast<reference::wide>(a.data()[i]) * b.data()[i];
            inner += product;
            magnitude += std::abs(product);
            squares += static_cast<reference::wide>(a.data()[i]) * a.data()[i];
        }
        // Sums are formed in double precision whatever T is; only the result is rounded to T.
        const double terms = static_cast<double>(a.size()) * reference::epsilon<double>;
        CHECK(std::abs(static_cast<double>(moden::inner(a, b) - inner)) <=
              terms * static_cast<double>(magnitude) + eps * static_cast<double>(std::abs(inner)));
        const double length = static_cast<double>(std::sqrt(squares));
        CHECK(std::abs(static_cast<double>(moden::norm(a)) - length) <= (terms + eps) * length);
        CHECK(moden::inner(moden::cpu_policy({.threads = 1}), a, b) ==
              moden::inner(moden::cpu_policy({.threads = 3}), a, b));
        CHECK(moden::norm(moden::cpu_policy({.threads = 1}), a) == moden::norm(moden::cpu_policy({.threads = 3}), a));
    }
}

TEST_CASE_TEMPLATE("norm neither overflows nor underflows", T, float, double) {
    using limits = std::numeric_limits<T>;
    const T eps = limits::epsilon();
    const auto relative = [](T found, double expected) { return std::abs(static_cast<double>(found) / expected - 1); };
    // 3-4-5 triangles, so that the exact answer is known at every scale.
    for (const T scale :
         {limits::max() / T(8), std::sqrt(limits::max()), T(1), std::sqrt(limits::min()), limits::min()}) {
        CAPTURE(scale);
        const tensor<T, 1> x{T(3) * scale, T(-4) * scale};
        CHECK(relative(moden::norm(x), 5 * static_cast<double>(scale)) <= 2 * static_cast<double>(eps));
    }
    const tensor<T, 1> subnormal{T(3) * limits::denorm_min(), T(4) * limits::denorm_min()};
    CHECK(moden::norm(subnormal) == T(5) * limits::denorm_min());
    const tensor<T, 1> mixed{limits::max() / 4, limits::min(), T(0)};
    CHECK(moden::norm(mixed) == limits::max() / 4);
    CHECK(moden::norm(tensor<T, 1>{T(0), T(0)}) == T(0));
    CHECK(moden::norm(tensor<T, 1>::from_shape({0})) == T(0));
}

TEST_CASE("norm of 1e300 and 1e-300") {
    const tensor<double, 1> large{3e300, 4e300};
    const tensor<double, 1> small{3e-300, 4e-300};
    CHECK(moden::norm(large) == doctest::Approx(5e300).epsilon(1e-15));
    CHECK(moden::norm(small) / 5e-300 == doctest::Approx(1).epsilon(1e-15));
    const tensor<double, 1> mixed{3e300, 4e-300};
    CHECK(moden::norm(mixed) == 3e300);
}

TEST_CASE_TEMPLATE("norm and inner keep NaN and infinity", T, float, double) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const T infinity = std::numeric_limits<T>::infinity();
    CHECK(std::isnan(moden::norm(tensor<T, 1>{T(1), nan, T(2)})));
    CHECK(std::isnan(moden::norm(tensor<T, 1>{T(0), nan})));
    CHECK(std::isnan(moden::norm(tensor<T, 1>{nan, infinity})));
    CHECK(moden::norm(tensor<T, 1>{T(1), -infinity}) == infinity);
    CHECK(std::isnan(moden::inner(tensor<T, 1>{T(1), nan}, tensor<T, 1>{T(1), T(0)})));
    CHECK(std::isnan(moden::inner(tensor<T, 1>{infinity}, tensor<T, 1>{T(0)})));
}

TEST_CASE_TEMPLATE("outer multiplies every element with every other", T, float, double) {
    for (const auto& one : {std::pair<extents, extents>{{3}, {4}}, {{2, 3}, {4}}, {{3}, {1, 5, 2}}, {{40, 50}, {30}}}) {
        const auto& left = one.first;
        const auto& right = one.second;
        const auto a = normal_tensor<T>(left, 1);
        const auto b = normal_tensor<T>(right, 2);
        const auto y = moden::outer(a, b);
        extents shape = left;
        shape.insert(shape.end(), right.begin(), right.end());
        REQUIRE(reference::shape_of(y) == shape);
        bool equal = true;  // one multiplication, hence the same bits
        for (std::size_t i = 0; i < a.size(); ++i) {
            for (std::size_t j = 0; j < b.size(); ++j) {
                equal = equal && y.data()[i * b.size() + j] == a.data()[i] * b.data()[j];
            }
        }
        CHECK(equal);
    }
    const tensor<T, 1> u{1, 2};
    const tensor<T, 2> m{{1, 2}, {3, 4}};
    static_assert(moden::order_of<decltype(moden::outer(u, m))> == 3);
    static_assert(moden::order_of<decltype(moden::outer(u, dynamic_tensor<T>(m)))> == moden::dynamic_order);
}

TEST_CASE_TEMPLATE("kronecker and khatri_rao against loops", T, float, double) {
    const auto a = normal_matrix<T>(3, 4, 1);
    const auto b = normal_matrix<T>(5, 2, 2);
    const auto ab = moden::kronecker(a, b);
    REQUIRE(reference::shape_of(ab) == extents{15, 8});
    bool equal = true;
    reference::for_each_index({3, 4, 5, 2}, [&](const extents& i) {
        equal = equal && ab(i[0] * 5 + i[2], i[1] * 2 + i[3]) == a(i[0], i[1]) * b(i[2], i[3]);
    });
    CHECK(equal);

    for (const extents& rows :
         {extents{4}, extents{3, 5}, extents{2, 1, 3}, extents{2, 3, 2, 4}, extents{40, 30, 20}}) {
        CAPTURE(reference::text(rows));
        const std::size_t rank = 6;
        const auto factors = reference::normal_matrices<T>(rows, extents(rows.size(), rank), 3);
        const auto product = moden::khatri_rao(factors);
        REQUIRE(reference::shape_of(product) == extents{reference::element_count(rows), rank});
        bool same = true;
        reference::for_each_index(rows, [&](const extents& index) {
            for (std::size_t r = 0; r < rank; ++r) {
                T expected = factors[0](index[0], r);  // first factor first, each product rounded
                for (std::size_t n = 1; n < rows.size(); ++n) {
                    expected *= factors[n](index[n], r);
                }
                same = same && product(reference::position(rows, index), r) == expected;
            }
        });
        CHECK(same);
    }
}

// DESIGN: X_(n) = U_n G_(n) (U_0 (x) ... omitting n ... (x) U_{N-1})'.
TEST_CASE_TEMPLATE("unfold and kronecker agree on the order of the modes", T, float, double) {
    const extents ranks{2, 3, 2, 3};
    const extents shape{4, 3, 5, 2};
    const auto core = normal_tensor<T>(ranks, 1);
    const auto factors = reference::normal_matrices<T>(shape, ranks, 2);
    const auto x = moden::multi_mode_product(core, factors);
    for (std::size_t mode = 0; mode < 4; ++mode) {
        CAPTURE(mode);
        const auto small = wide_product<T>(factors[mode], moden::unfold(core, mode));
        const auto expected = wide_product<T>(small, turned<T>(kronecker_without(factors, mode)));
        // Both sides round a few times per element, relative to values of the tensor's size.
        CHECK(reference::relative_difference(expected, moden::unfold(x, mode)) <= 8 * reference::epsilon<T>);
    }
    // Kolda & Bader write the same with the modes the other way round: (U_{N-1} (x) ... (x) U_0)'.
    const std::vector<tensor<T, 2>> reversed{factors[3], factors[2], factors[1]};
    const auto expected = wide_product<T>(wide_product<T>(factors[0], moden::unfold(core, 0, moden::unfolding::kolda)),
                                          turned<T>(kronecker_without(reversed, 3)));
    CHECK(reference::relative_difference(expected, moden::unfold(x, 0, moden::unfolding::kolda)) <=
          8 * reference::epsilon<T>);
}

// 002: X_(0) = B_(0) (Z_1 kr Z_2 kr Z_3), where column s of Z_m holds the parameters of sample s.
TEST_CASE_TEMPLATE("khatri_rao of parameters times an unfolded core gives one sample per column", T, float, double) {
    const auto core = reference::normal_tensor_of_order<T, 4>({6, 2, 3, 4}, 1);
    const auto parameters = reference::normal_matrices<T>({2, 3, 4}, {5, 5, 5}, 2);
    const auto samples = wide_product<T>(moden::unfold(core, 0), moden::khatri_rao(parameters));
    for (std::size_t s = 0; s < 5; ++s) {
        const auto column = [&](std::size_t m) {
            auto result = tensor<T, 1>::from_shape({parameters[m].shape()[0]});
            for (std::size_t i = 0; i < result.size(); ++i) {
                result(i) = parameters[m](i, s);
            }
            return result;
        };
        const auto sample = moden::mode_product(
            moden::mode_product(moden::mode_product(core, column(2), 3), column(1), 2), column(0), 1);
        tensor<T, 2> expected = xt::zeros<T>({6, 1});
        tensor<T, 2> found = xt::zeros<T>({6, 1});
        for (std::size_t i = 0; i < 6; ++i) {
            expected(i, 0) = samples(i, s);
            found(i, 0) = sample(i);
        }
        CHECK(reference::relative_difference(expected, found) <= 30 * reference::epsilon<T>);
    }
}

TEST_CASE("bad arguments are named") {
    const tensor<double, 2> a = xt::ones<double>({2, 3});
    const tensor<double, 2> b = xt::ones<double>({3, 2});
    const tensor<double, 3> x = xt::ones<double>({2, 3, 4});
    CHECK_THROWS_WITH_AS(moden::inner(a, b),
                         doctest::Contains("inner: tensors of 2 x 3 and 3 x 2 (expected equal shapes)"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::inner(a, x), doctest::Contains("inner: tensors of 2 x 3 and 2 x 3 x 4"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::kronecker(x, a),
                         doctest::Contains("kronecker: the left factor has order 3 (expected a matrix)"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::kronecker(a, x),
                         doctest::Contains("kronecker: the right factor has order 3 (expected a matrix)"),
                         moden::shape_error);
    const std::vector<tensor<double, 2>> none;
    CHECK_THROWS_WITH_AS(moden::khatri_rao(none), doctest::Contains("khatri_rao: no matrices"), moden::shape_error);
    const std::vector<tensor<double, 2>> different{a, b};
    CHECK_THROWS_WITH_AS(moden::khatri_rao(different), doctest::Contains("khatri_rao: factors of 3 and 2 columns"),
                         moden::shape_error);
    const std::vector<tensor<double, 3>> tensors{x};
    CHECK_THROWS_WITH_AS(moden::khatri_rao(tensors),
                         doctest::Contains("khatri_rao: a factor has order 3 (expected a matrix)"), moden::shape_error);
}
