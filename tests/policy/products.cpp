// inner, norm, outer, kronecker, khatri_rao and mttkrp on every policy, against their definitions.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <moden/multilinear/mttkrp.hpp>
#include <moden/multilinear/products.hpp>

#include "policies.hpp"
#include "reference.hpp"

using namespace moden_test;

TEST_CASE_TEMPLATE("inner and norm: summed in double precision", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const moden::extents shapes[] = {{1, 1, 1}, {3, 4, 5}, {50, 60, 70}};
    for (const moden::extents& shape : shapes) {
        const auto a = random_tensor<T, 3>(shape, 1);
        const auto b = random_tensor<T, 3>(shape, 2);
        long double exact_product = 0;  // of numbers with 24 bits: long double sums them without loss that matters
        long double exact_square = 0;
        double bound = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            const double x = static_cast<double>(a.data()[i]);
            const double y = static_cast<double>(b.data()[i]);
            exact_product += x * y;
            exact_square += x * x;
            bound += std::abs(x * y);
        }
        const double product = static_cast<double>(exact_product);
        const double square = static_cast<double>(exact_square);
        constexpr double double_eps = std::numeric_limits<double>::epsilon();
        const double rounding = 100 * double_eps * bound;  // chains of thousands of terms, whose errors mostly average out
        const double got = static_cast<double>(moden::inner(policy, to_policy(policy, a), to_policy(policy, b)));
        CAPTURE(shape.back());
        CHECK(std::abs(got - product) <= rounding + Cell::eps * std::abs(product));
        const double length = static_cast<double>(moden::norm(policy, to_policy(policy, a)));
        CHECK(std::abs(length - std::sqrt(square)) <= (Cell::eps + 100 * double_eps) * std::sqrt(square));
    }
}

TEST_CASE_TEMPLATE("norm: neither overflow nor underflow", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const double size : {static_cast<double>(std::numeric_limits<T>::max()) / 8, static_cast<double>(std::numeric_limits<T>::min()) * 8}) {
        auto tensor = moden::tensor<T, 1>::from_shape({2});
        tensor(0) = static_cast<T>(3 * size);
        tensor(1) = static_cast<T>(-4 * size);
        const double got = static_cast<double>(moden::norm(policy, to_policy(policy, tensor)));
        CHECK(std::abs(got / size - 5) <= 5 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("outer: every pair, exactly one multiplication each", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto left = random_tensor<T, 2>({3, 5}, 3);
    const auto right = random_tensor<T, 3>({2, 4, 3}, 4);
    const array got = to_array(policy, moden::outer(policy, to_policy(policy, left), to_policy(policy, right)));
    array want({3, 5, 2, 4, 3});
    for_each_index(want.shape, [&](const moden::extents& i) {
        want.at(i) = static_cast<double>(left(i[0], i[1]) * right(i[2], i[3], i[4]));
    });
    CHECK(got.shape == want.shape);
    CHECK(got.data == want.data);
}

TEST_CASE_TEMPLATE("kronecker: blocks of the right factor", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto left = random_tensor<T, 2>({3, 4}, 5);
    const auto right = random_tensor<T, 2>({5, 2}, 6);
    const array got = to_array(policy, moden::kronecker(policy, to_policy(policy, left), to_policy(policy, right)));
    array want({15, 8});
    for_each_index({3, 4, 5, 2}, [&](const moden::extents& i) {
        want(i[0] * 5 + i[2], i[1] * 2 + i[3]) = static_cast<double>(left(i[0], i[1]) * right(i[2], i[3]));
    });
    CHECK(got.shape == want.shape);
    CHECK(got.data == want.data);
}

TEST_CASE_TEMPLATE("khatri_rao: one, two and four factors, the first slowest", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const std::vector<moden::extents> lists = {{4}, {4, 3}, {2, 3, 1, 4}, {40, 30, 20}};
    for (const moden::extents& rows : lists) {
        std::vector<moden::tensor<T, 2>> factors;
        std::size_t total = 1;
        for (std::size_t n = 0; n < rows.size(); ++n) {
            factors.push_back(random_tensor<T, 2>({rows[n], 5}, 7 + n));
            total *= rows[n];
        }
        const array got = to_array(policy, moden::khatri_rao(policy, to_policy(policy, factors)));
        array want({total, 5});
        std::size_t row = 0;
        for_each_index(rows, [&](const moden::extents& i) {
            for (std::size_t r = 0; r < 5; ++r) {
                double product = 1;
                for (std::size_t n = 0; n < rows.size(); ++n) {
                    product *= static_cast<double>(factors[n](i[n], r));
                }
                want(row, r) = product;
            }
            ++row;
        });
        CAPTURE(rows.size());
        check_within(got, want, scaled(magnitude(want), static_cast<double>(rows.size()) * Cell::eps));
    }
}

TEST_CASE_TEMPLATE("mttkrp: every mode, short and long sides, ranks around the width of its inner loop", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto check = [&](const auto& host) {
        const array values = to_array(host);
        for (const std::size_t rank : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{19}}) {
            std::vector<moden::tensor<T, 2>> factors;
            for (std::size_t n = 0; n < values.shape.size(); ++n) {
                factors.push_back(random_tensor<T, 2>({values.shape[n], rank}, 20 + n));
            }
            for (std::size_t mode = 0; mode < values.shape.size(); ++mode) {
                const auto got = moden::mttkrp(policy, to_policy(policy, host), to_policy(policy, factors), mode);
                CAPTURE(rank);
                CAPTURE(mode);
                CAPTURE(values.shape.size());
                // Summed in two stages: as many terms as there are other indices, and a rounding per factor.
                const std::size_t terms = values.data.size() / values.shape[mode] + values.shape.size();
                check_sums(to_array(policy, got), mttkrp(values, to_arrays(factors), mode),
                           mttkrp(magnitude(values), magnitudes(to_arrays(factors)), mode), terms, Cell::eps);
            }
        }
    };
    check(random_tensor<T, 1>({9}, 10));
    check(random_tensor<T, 2>({6, 11}, 11));
    check(random_tensor<T, 3>({3, 8, 20}, 12));  // less before the inner mode than after it
    check(random_tensor<T, 3>({25, 4, 3}, 13));  // more
    check(random_tensor<T, 4>({5, 4, 3, 6}, 14));
}
