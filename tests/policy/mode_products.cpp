// unfold, fold, mode_product and multi_mode_product on every policy, against their definitions.

#include <doctest/doctest.h>

#include <cstddef>
#include <vector>

#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/unfold.hpp>

#include "policies.hpp"
#include "reference.hpp"

using namespace moden_test;

namespace {

/// Makes `check` see the same shape as a tensor of every static order that it may have.
template <class T, class Check>
void with_random_tensor(const moden::extents& shape, std::uint64_t seed, Check check) {
    switch (shape.size()) {
        case 1: return check(random_tensor<T, 1>(shape, seed));
        case 2: return check(random_tensor<T, 2>(shape, seed));
        case 3: return check(random_tensor<T, 3>(shape, seed));
        case 4: return check(random_tensor<T, 4>(shape, seed));
        default: return check(random_tensor<T, 5>(shape, seed));
    }
}

// Orders 1 to 5; extents of 1; few, and many, elements before and after a mode.
const moden::extents shapes[] = {{7}, {6, 9}, {3, 4, 5}, {1, 5, 1}, {9, 6, 2}, {500, 3, 4}, {2, 30, 70}, {4, 5, 3, 2}, {40, 7, 50, 2}, {2, 3, 1, 4, 2}};

}  // namespace

TEST_CASE_TEMPLATE("unfold and fold: every mode, both column orders, exactly", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const moden::extents& shape : shapes) {
        with_random_tensor<T>(shape, 1, [&](const auto& host) {
            const auto tensor = to_policy(policy, host);
            for (std::size_t mode = 0; mode < shape.size(); ++mode) {
                for (const auto columns : {moden::unfolding::row_major, moden::unfolding::kolda}) {
                    const auto unfolded = moden::unfold(policy, tensor, mode, columns);
                    CAPTURE(mode);
                    const array want = unfold(to_array(host), mode, columns == moden::unfolding::row_major);
                    const array got = to_array(policy, unfolded);
                    CHECK(got.shape == want.shape);
                    CHECK(got.data == want.data);
                    const auto folded = moden::fold(policy, unfolded, mode, shape, columns);
                    CHECK(to_array(policy, folded).shape == shape);
                    CHECK(to_array(policy, folded).data == to_array(host).data);
                }
            }
        });
    }
}

TEST_CASE_TEMPLATE("mode_product: a matrix on every mode", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const moden::extents& shape : shapes) {
        with_random_tensor<T>(shape, 2, [&](const auto& host) {
            const auto tensor = to_policy(policy, host);
            const array values = to_array(host);
            for (std::size_t mode = 0; mode < shape.size(); ++mode) {
                for (const std::size_t rows : {std::size_t{1}, std::size_t{3}, std::size_t{20}}) {
                    const auto matrix = random_tensor<T, 2>({rows, shape[mode]}, 3);
                    const auto product = moden::mode_product(policy, tensor, to_policy(policy, matrix), mode);
                    const array factor = to_array(matrix);
                    CAPTURE(mode);
                    CAPTURE(rows);
                    check_sums(to_array(policy, product), mode_product(values, factor, mode),
                               mode_product(magnitude(values), magnitude(factor), mode), shape[mode], Cell::eps);
                }
            }
        });
    }
}

TEST_CASE_TEMPLATE("mode_product: a vector contracts its mode", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const moden::extents& shape : shapes) {
        if (shape.size() < 2) {
            continue;  // the result would be a scalar: below
        }
        with_random_tensor<T>(shape, 4, [&](const auto& host) {
            const auto tensor = to_policy(policy, host);
            const array values = to_array(host);
            for (std::size_t mode = 0; mode < shape.size(); ++mode) {
                const auto vector = random_tensor<T, 1>({shape[mode]}, 5);
                const auto product = moden::mode_product(policy, tensor, to_policy(policy, vector), mode);
                array row({1, shape[mode]});
                row.data = to_array(vector).data;
                array want = mode_product(values, row, mode);
                array bound = mode_product(magnitude(values), magnitude(row), mode);
                want.shape.erase(want.shape.begin() + static_cast<std::ptrdiff_t>(mode));
                bound.shape = want.shape;
                CAPTURE(mode);
                check_sums(to_array(policy, product), want, bound, shape[mode], Cell::eps);
            }
        });
    }
}

TEST_CASE_TEMPLATE("mode_product: a vector on the only mode leaves a scalar", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto left = random_tensor<T, 1>({11}, 6);
    const auto right = random_tensor<T, 1>({11}, 7);
    const auto product = moden::mode_product(policy, to_policy(policy, left), to_policy(policy, right), 0);
    double want = 0;
    double bound = 0;
    for (std::size_t i = 0; i < 11; ++i) {
        want += static_cast<double>(left(i)) * static_cast<double>(right(i));
        bound += std::abs(static_cast<double>(left(i)) * static_cast<double>(right(i)));
    }
    const array got = to_array(policy, product);
    CHECK(got.shape.empty());
    CHECK(std::abs(got.data.at(0) - want) <= 12 * Cell::eps * bound);
}

TEST_CASE_TEMPLATE("multi_mode_product: all modes, some modes, transposed, growing and shrinking", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    struct product_case {
        moden::extents shape;
        moden::extents modes;
        moden::extents rows;
    };
    const product_case cases[] = {{{3, 4, 5}, {0, 1, 2}, {2, 7, 1}}, {{4, 5, 3, 2}, {3, 1}, {5, 2}}, {{4, 5, 3, 2}, {0, 1, 2, 3}, {6, 2, 3, 4}},
                                  {{6, 9}, {1}, {3}},               {{7}, {0}, {4}},                {{30, 4, 20}, {2, 0}, {3, 4}}};
    for (const auto& [shape, modes, rows] : cases) {
        with_random_tensor<T>(shape, 8, [&, &modes = modes, &rows = rows](const auto& host) {
            const auto tensor = to_policy(policy, host);
            for (const auto form : {moden::transposition::none, moden::transposition::transposed}) {
                std::vector<moden::tensor<T, 2>> matrices;
                array want = to_array(host);
                array bound = magnitude(want);
                std::size_t terms = 0;
                for (std::size_t i = 0; i < modes.size(); ++i) {
                    const std::size_t extent = want.shape[modes[i]];
                    const bool plain = form == moden::transposition::none;
                    matrices.push_back(plain ? random_tensor<T, 2>({rows[i], extent}, 9 + i) : random_tensor<T, 2>({extent, rows[i]}, 9 + i));
                    const array factor = plain ? to_array(matrices.back()) : transpose(to_array(matrices.back()));
                    want = mode_product(want, factor, modes[i]);
                    bound = mode_product(bound, magnitude(factor), modes[i]);
                    terms += extent + 1;
                }
                const auto got = moden::multi_mode_product(policy, tensor, to_policy(policy, matrices), {.modes = modes, .matrices = form});
                CAPTURE(modes.size());
                check_sums(to_array(policy, got), want, bound, terms, Cell::eps);
            }
        });
    }
}

TEST_CASE_TEMPLATE("multi_mode_product: a scalar has no modes, its product is a copy", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto host = random_tensor<T, 0>({}, 10);
    const std::vector<moden::policy_tensor<Policy, T, 2>> none;
    const auto got = moden::multi_mode_product(policy, to_policy(policy, host), none);
    CHECK(to_array(policy, got).data == to_array(host).data);
}
