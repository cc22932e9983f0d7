// Errors, shapes and views: what everything else is built on.

#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/cpu.hpp>

#include "xtensor_views.hpp"

using moden::extents;
using moden::host_memory;

TEST_CASE("every error is a moden::error and keeps its own type") {
    CHECK_THROWS_AS(throw moden::shape_error("a"), moden::error);
    CHECK_THROWS_AS(throw moden::argument_error("a"), moden::error);
    CHECK_THROWS_AS(throw moden::io_error("a"), moden::error);
    CHECK_THROWS_AS(throw moden::solver_error("a"), moden::error);
    CHECK_THROWS_AS(throw moden::device_error("a"), moden::error);
    CHECK_THROWS_AS(throw moden::error("a"), std::runtime_error);
    static_assert(!std::is_base_of_v<moden::shape_error, moden::argument_error>);
    static_assert(!std::is_base_of_v<moden::argument_error, moden::shape_error>);
}

TEST_CASE("require joins strings, characters, numbers and shapes, and only when it has to") {
    const extents shape{2, 30, 4};
    const std::string name = "fold";
    CHECK_NOTHROW(moden::detail::require<moden::shape_error>(true, "never seen ", shape));
    CHECK_THROWS_WITH_AS(
        moden::detail::require<moden::shape_error>(false, name, ": a matrix of ", shape, ' ', 7, ", ", -3),
        "fold: a matrix of 2 x 30 x 4 7, -3", moden::shape_error);
    CHECK(moden::detail::message("shape ", extents{}, "|", extents{5}) == "shape |5");
    CHECK(moden::detail::message(std::vector<int>{1, 2}) == "1 x 2");
}

TEST_CASE("element_count multiplies and refuses what a size cannot hold") {
    constexpr std::size_t largest = std::numeric_limits<std::size_t>::max();
    CHECK(moden::element_count({}) == 1);
    CHECK(moden::element_count({7}) == 7);
    CHECK(moden::element_count({2, 3, 5}) == 30);
    CHECK(moden::element_count({2, 0, 5}) == 0);
    CHECK(moden::element_count({largest, 1}) == largest);
    CHECK(moden::element_count({std::size_t{1} << 20, std::size_t{1} << 20}) == std::size_t{1} << 40);
    CHECK_THROWS_WITH_AS(moden::element_count({largest / 2, 3}),
                         doctest::Contains("element_count: the extents 9223372036854775807 x 3"), moden::shape_error);
    CHECK_THROWS_AS(moden::element_count({std::size_t{1} << 32, std::size_t{1} << 32}), moden::shape_error);
}

TEST_CASE("geometry_of splits a shape at a mode") {
    const extents shape{2, 3, 4, 5};
    const std::size_t slabs[] = {1, 2, 6, 24};
    const std::size_t columns[] = {60, 20, 5, 1};
    for (std::size_t mode = 0; mode < 4; ++mode) {
        const auto geometry = moden::geometry_of(shape, mode);
        CHECK(geometry.slabs == slabs[mode]);
        CHECK(geometry.extent == shape[mode]);
        CHECK(geometry.columns == columns[mode]);
        CHECK(geometry.slab_size() * geometry.slabs == 120);
        CHECK(geometry.fibers() * geometry.extent == 120);
    }
}

TEST_CASE("matrix views address the same memory under transposition and restriction") {
    std::vector<double> memory(12);
    for (std::size_t i = 0; i < memory.size(); ++i) {
        memory[i] = static_cast<double>(i);
    }
    const auto entry = [](const moden::matrix_view<double, host_memory>& view, std::size_t i, std::size_t j) {
        return view.order == moden::storage_order::row_major ? view.data[i * view.stride + j]
                                                             : view.data[i + j * view.stride];
    };
    const auto by_rows = moden::row_major<double, host_memory>(memory.data(), 3, 4);
    const auto by_columns = moden::column_major<double, host_memory>(memory.data(), 3, 4);
    for (const auto& view : {by_rows, by_columns}) {
        const auto turned = moden::transposed(view);
        const auto columns = moden::columns_of(view, 1, 2);
        const auto rows = moden::rows_of(view, 2, 1);
        REQUIRE(turned.rows == 4);
        REQUIRE(turned.columns == 3);
        REQUIRE(columns.rows == 3);
        REQUIRE(columns.columns == 2);
        REQUIRE(rows.rows == 1);
        REQUIRE(rows.columns == 4);
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t j = 0; j < 4; ++j) {
                CHECK(entry(turned, j, i) == entry(view, i, j));
            }
            for (std::size_t j = 0; j < 2; ++j) {
                CHECK(entry(columns, i, j) == entry(view, i, j + 1));
            }
        }
        for (std::size_t j = 0; j < 4; ++j) {
            CHECK(entry(rows, 0, j) == entry(view, 2, j));
        }
    }
    CHECK(entry(by_rows, 1, 2) == 6);
    CHECK(entry(by_columns, 1, 2) == 7);
    const moden::matrix_view<const double, host_memory> constant = by_rows;
    CHECK(constant.data == by_rows.data);
}

TEST_CASE("tensor_traits tell order and value type of containers, views and expressions") {
    moden::tensor<float, 3> fixed = xt::zeros<float>({2, 3, 4});
    moden::dynamic_tensor<double> dynamic = xt::zeros<double>({2, 3});
    const auto view = xt::view(fixed, xt::all(), 1, xt::all());
    const auto expression = fixed + 1.0f;
    static_assert(moden::order_of<decltype(fixed)> == 3);
    static_assert(moden::order_of<decltype(dynamic)> == moden::dynamic_order);
    static_assert(moden::order_of<decltype(view)> == 2);
    static_assert(moden::order_of<decltype(expression)> == 3);
    static_assert(std::is_same_v<moden::value_type_of<decltype(view)>, float>);
    static_assert(std::is_same_v<moden::value_type_of<decltype(dynamic)>, double>);
    static_assert(std::is_same_v<moden::value_type_of<decltype(expression)>, float>);
    static_assert(moden::any_tensor<decltype(expression)>);
    static_assert(!moden::any_tensor<std::vector<double>>);
    static_assert(!moden::any_tensor<double>);
    static_assert(moden::execution_policy<moden::cpu_policy>);
    static_assert(moden::execution_policy<const moden::cpu_policy&>);
    static_assert(!moden::execution_policy<moden::tensor<float, 3>>);
    CHECK(moden::detail::shape_of(view) == extents{2, 4});
}

TEST_CASE("contiguous arguments are viewed where they lie, others are evaluated into a copy") {
    const moden::cpu_policy cpu;
    moden::tensor<double, 2> matrix{{1, 2, 3}, {4, 5, 6}};
    const auto viewed = [&](const auto& argument) { return moden::detail::evaluate(cpu, argument).view(); };
    CHECK(viewed(matrix).data == matrix.data());
    CHECK(viewed(xt::view(matrix, 1, xt::all())).data == matrix.data() + 3);
    CHECK(viewed(xt::view(matrix, xt::range(1, 2), xt::all())).data == matrix.data() + 3);
    CHECK(viewed(xt::adapt(matrix.data(), 6, xt::no_ownership(), std::vector<std::size_t>{3, 2})).data ==
          matrix.data());
    const double* const constant = matrix.data();
    CHECK(viewed(xt::adapt(constant, 6, xt::no_ownership(), std::vector<std::size_t>{6})).data == matrix.data());

    const auto is_copy = [&](const auto& argument, const std::vector<double>& expected) {
        const auto evaluated = moden::detail::evaluate(cpu, argument);
        const auto& view = evaluated.view();
        const bool inside = view.data >= matrix.data() && view.data < matrix.data() + matrix.size();
        return !inside && view.size() == expected.size() && std::equal(expected.begin(), expected.end(), view.data);
    };
    CHECK(is_copy(xt::view(matrix, xt::all(), 1), {2, 5}));
    CHECK(is_copy(xt::view(matrix, xt::all(), xt::range(0, 3, 2)), {1, 3, 4, 6}));
    CHECK(is_copy(xt::transpose(matrix), {1, 4, 2, 5, 3, 6}));
    CHECK(is_copy(xt::flip(matrix, 1), {3, 2, 1, 6, 5, 4}));
    CHECK(is_copy(xt::broadcast(xt::view(matrix, 0, xt::all()), {2, 3}), {1, 2, 3, 1, 2, 3}));
    CHECK(is_copy(2.0 * matrix, {2, 4, 6, 8, 10, 12}));
    CHECK(is_copy(xt::xtensor<double, 2, xt::layout_type::column_major>(matrix), {1, 2, 3, 4, 5, 6}));
}
