// Whatever xtensor can express is an argument: views with steps, transposes, column-major containers, lazy expressions,
// memory that somebody else owns. The answer is that of the evaluated tensor, bit for bit, and no argument changes.

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <moden/moden.hpp>

#include "reference.hpp"
#include "xtensor_views.hpp"

using moden::dynamic_tensor;
using moden::tensor;

namespace {

/// function(x) on an evaluated row-major tensor and on the argument itself.
template <class Argument, class Function>
void check_same(const Argument& argument, Function function) {
    using T = moden::value_type_of<Argument>;
    const dynamic_tensor<T> evaluated = argument;
    CHECK(reference::identical(function(evaluated), function(argument)));
}

/// A number of functions on a tensor of order 3 and extents (4, 3, 5).
template <class Argument>
void check_functions(const Argument& x) {
    REQUIRE(moden::detail::shape_of(x) == moden::extents{4, 3, 5});
    const auto matrix = reference::normal_matrix<double>(2, 3, 9);
    const auto matrices = reference::normal_matrices<double>({2, 2, 2}, {4, 3, 5}, 10);
    const auto factors = reference::normal_matrices<double>({4, 3, 5}, {2, 2, 2}, 10);
    check_same(x, [](const auto& y) { return moden::unfold(y, 1); });
    check_same(x, [&](const auto& y) { return moden::mode_product(y, matrix, 1); });
    check_same(x, [&](const auto& y) { return moden::multi_mode_product(y, matrices); });
    check_same(x, [&](const auto& y) { return moden::mttkrp(y, factors, 2); });
    check_same(x, [](const auto& y) { return moden::outer(y, y); });
    check_same(x, [](const auto& y) { return moden::hosvd(y, {.ranks = {2, 2, 2}}).core; });
    check_same(x, [](const auto& y) { return moden::st_hosvd(y, {.ranks = {2, 2, 2}}).core; });
    const dynamic_tensor<double> evaluated = x;
    CHECK(moden::norm(x) == moden::norm(evaluated));
    CHECK(moden::inner(x, evaluated) == moden::inner(evaluated, evaluated));
    const auto model = moden::st_hosvd(evaluated, {.ranks = {2, 2, 2}});
    CHECK(moden::relative_error(x, model) == moden::relative_error(evaluated, model));
}

}  // namespace

TEST_CASE("views with steps, reversed views, transposes, broadcasts") {
    const tensor<double, 3> base = reference::normal_tensor<double>({8, 5, 3}, 1);
    const auto kept = base;
    check_functions(xt::view(xt::transpose(base, {0, 2, 1}), xt::range(0, 4), xt::all(), xt::all()));
    check_functions(
        xt::view(tensor<double, 3>(xt::transpose(base, {0, 2, 1})), xt::range(1, 8, 2), xt::all(), xt::all()));
    const tensor<double, 3> x = reference::normal_tensor<double>({4, 3, 5}, 2);
    check_functions(xt::flip(x, 2));
    check_functions(xt::flip(x, 0));
    check_functions(xt::transpose(tensor<double, 3>(reference::normal_tensor<double>({5, 3, 4}, 3))));
    const tensor<double, 3> wide = reference::normal_tensor<double>({8, 3, 10}, 4);
    check_functions(xt::strided_view(wide, {xt::range(0, 8, 2), xt::all(), xt::range(0, 10, 2)}));
    check_functions(xt::broadcast(xt::view(x, 0, xt::all(), xt::all()), {4, 3, 5}));
    CHECK(reference::identical(base, kept));
}

TEST_CASE("columns of matrices are vectors") {
    const tensor<double, 2> matrix = reference::normal_matrix<double>(5, 6, 1);
    const tensor<double, 3> x = reference::normal_tensor<double>({4, 5, 3}, 2);
    const auto column = xt::view(matrix, xt::all(), 2);
    const auto y = moden::mode_product(x, column, 1);
    static_assert(moden::order_of<decltype(y)> == 2);
    CHECK(reference::identical(y, moden::mode_product(x, tensor<double, 1>(column), 1)));
    const auto twice = moden::mode_product(x, 2.0 * column, 1);
    static_assert(moden::order_of<decltype(twice)> == 2);
    CHECK(reference::identical(twice, moden::mode_product(x, tensor<double, 1>(2.0 * column), 1)));
    static_assert(moden::order_of<decltype(moden::outer(column, xt::row(matrix, 0)))> == 2);
}

TEST_CASE("lazy expressions") {
    const tensor<double, 3> a = reference::normal_tensor<double>({4, 3, 5}, 1);
    const tensor<double, 3> b = reference::normal_tensor<double>({4, 3, 5}, 2);
    const tensor<double, 1> v = reference::normal_tensor<double>({5}, 3);
    check_functions(a + b);
    check_functions(2.0 * xt::exp(a) - b);
    check_functions(a * v);  // broadcast along the last mode
    check_functions(a - xt::mean(a, {0}));
    check_functions(xt::cast<double>(xt::cast<int>(10.0 * a)));
    static_assert(moden::order_of<decltype(moden::st_hosvd(a + b).core)> == 3);
}

TEST_CASE("column-major containers and other layouts") {
    const tensor<double, 3> x = reference::normal_tensor<double>({4, 3, 5}, 1);
    check_functions(xt::xtensor<double, 3, xt::layout_type::column_major>(x));
    check_functions(xt::xarray<double, xt::layout_type::column_major>(x));
    const xt::xtensor<double, 3, xt::layout_type::dynamic> dynamic_layout(x);
    check_functions(dynamic_layout);
    xt::xtensor_fixed<double, xt::xshape<4, 3, 5>> fixed = x;
    check_functions(fixed);
}

TEST_CASE("memory of somebody else is read where it lies") {
    const std::size_t size = 60;
    const std::unique_ptr<double[]> memory(new double[size]);
    moden::fill_normal(moden::cpu_policy{}, memory.get(), size, 1);
    const auto borrowed = xt::adapt(memory.get(), size, xt::no_ownership(), std::vector<std::size_t>{4, 3, 5});
    check_functions(borrowed);
    CHECK(moden::detail::evaluate(moden::cpu_policy{}, borrowed).view().data == memory.get());
    const double* const constant = memory.get();
    check_functions(xt::adapt(constant, size, xt::no_ownership(), std::vector<std::size_t>{4, 3, 5}));
    check_functions(xt::adapt(constant, size, xt::no_ownership(), std::array<std::size_t, 3>{4, 3, 5}));
}

TEST_CASE("a result may replace its own argument") {
    tensor<double, 2> x = reference::normal_matrix<double>(4, 4, 1);
    const auto expected = moden::mode_product(x, x, 0);
    x = moden::mode_product(x, x, 0);
    CHECK(reference::identical(x, expected));
}

TEST_CASE("matrix arguments of linalg may be expressions, too") {
    const tensor<double, 2> a = reference::normal_matrix<double>(6, 4, 1);
    const tensor<double, 2> square = reference::normal_matrix<double>(4, 4, 2);
    const auto positive =
        square + xt::transpose(square) + 20.0 * xt::eye<double>(4);  // lazy, of temporaries held by value
    const tensor<double, 2> evaluated = positive;
    const tensor<double, 2> turned = xt::transpose(a);
    CHECK(moden::thin_svd(xt::transpose(a)).singular_values == moden::thin_svd(turned).singular_values);
    CHECK(reference::identical(moden::qr(xt::transpose(turned)).r, moden::qr(a).r));
    CHECK(moden::eigh(positive).values == moden::eigh(evaluated).values);
    const auto right = xt::view(turned, xt::all(), xt::range(0, 6, 2));
    CHECK(reference::identical(moden::cholesky_solve(positive, right),
                               moden::cholesky_solve(evaluated, tensor<double, 2>(right))));
    CHECK(reference::identical(moden::ridge_solve(xt::transpose(turned), a, {.ridge = 1}),
                               moden::ridge_solve(a, a, {.ridge = 1})));
    CHECK(reference::identical(moden::randomized_svd(xt::transpose(turned), {.rank = 2}).u,
                               moden::randomized_svd(a, {.rank = 2}).u));
    CHECK(reference::identical(moden::block_krylov_svd(xt::transpose(turned), {.rank = 2}).u,
                               moden::block_krylov_svd(a, {.rank = 2}).u));
    CHECK(reference::identical(moden::kronecker(xt::transpose(a), 1.0 * a), moden::kronecker(turned, a)));
    CHECK(reference::identical(moden::fold(xt::transpose(a), 0, {4, 2, 3}), moden::fold(turned, 0, {4, 2, 3})));
}

// Everything that overwrites its input in LAPACK works on a copy.
TEST_CASE_TEMPLATE("no argument is changed", T, float, double) {
    const auto x = reference::normal_tensor<T>({6, 7, 5}, 1);
    const auto matrix = reference::normal_matrix<T>(9, 6, 2);
    const auto right = reference::normal_matrix<T>(9, 2, 3);
    auto positive = reference::narrowed<T>(
        reference::multiply(reference::transpose(reference::widened(matrix)), reference::widened(matrix)));
    const auto b = reference::normal_matrix<T>(6, 2, 4);
    const auto factors = reference::normal_matrices<T>({6, 7, 5}, {2, 2, 2}, 5);
    const auto x_before = x;
    const auto matrix_before = matrix;
    const auto right_before = right;
    const auto positive_before = positive;
    const auto b_before = b;
    const auto factors_before = factors;

    moden::thin_svd(matrix);
    moden::qr(matrix);
    moden::eigh(positive);
    moden::eigh(positive, {.count = 1});
    moden::cholesky_solve(positive, b);
    moden::ridge_solve(matrix, right, {.ridge = 0.1});
    moden::randomized_svd(matrix, {.rank = 2});
    moden::block_krylov_svd(matrix, {.rank = 2});
    for (const auto method : {moden::svd_method::gram, moden::svd_method::qr, moden::svd_method::randomized}) {
        moden::hosvd(x, {.ranks = {2, 3, 4}, .method = method});
        moden::st_hosvd(x, {.ranks = {2, 3, 4}, .method = method});
        moden::hooi(x, {.ranks = {2, 3, 4}, .max_iterations = 2, .method = method});
    }
    moden::cp_als(x, {.rank = 2, .max_iterations = 3});
    moden::cp_als(x, factors, {.max_iterations = 3});
    const dynamic_tensor<bool> mask = x > T(-0.5);
    const auto mask_before = mask;
    moden::complete(x, mask, {.ranks = {2, 2, 2}, .max_iterations = 3});

    CHECK(reference::identical(x, x_before));
    CHECK(reference::identical(matrix, matrix_before));
    CHECK(reference::identical(right, right_before));
    CHECK(reference::identical(positive, positive_before));
    CHECK(reference::identical(b, b_before));
    CHECK(mask == mask_before);
    for (std::size_t n = 0; n < 3; ++n) {
        CHECK(reference::identical(factors[n], factors_before[n]));
    }
}
