// The sign rule by itself, with ties.

#include <cmath>
#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/signs.hpp>
#include <moden/policy/cpu.hpp>

#include "reference.hpp"

using moden::host_memory;

namespace {

/// The column after the rule has been applied to it.
template <class T>
std::vector<T> fixed(std::vector<T> column) {
    moden::detail::fix_signs(moden::cpu_policy{}, moden::column_major<T, host_memory>(column.data(), column.size(), 1));
    return column;
}

template <class T>
std::vector<T> negated(std::vector<T> column) {
    for (T& x : column) {
        x = -x;
    }
    return column;
}

}  // namespace

TEST_CASE_TEMPLATE("the largest entry becomes positive", T, float, double) {
    using column = std::vector<T>;
    CHECK(fixed(column{T(0.1), T(-0.9), T(0.2)}) == column{T(-0.1), T(0.9), T(-0.2)});
    CHECK(fixed(column{T(-0.1), T(0.9), T(0.2)}) == column{T(-0.1), T(0.9), T(0.2)});
    CHECK(fixed(column{T(-1)}) == column{T(1)});
    CHECK(fixed(column{T(0), T(0)}) == column{T(0), T(0)});
    CHECK(fixed(column{T(0), T(0), T(-1e-30)}) == column{T(0), T(0), T(1e-30)});
}

TEST_CASE_TEMPLATE("among entries within sqrt(eps) of the largest the first decides", T, float, double) {
    using column = std::vector<T>;
    const T slack = std::sqrt(std::numeric_limits<T>::epsilon());
    const T tie = T(0.5) * (T(1) - slack / 2);
    const T no_tie = T(0.5) * (T(1) - slack * 2);
    CHECK(fixed(column{T(-0.5), T(0.5)}) == column{T(0.5), T(-0.5)});
    CHECK(fixed(column{-tie, T(0.5)}) == column{tie, T(-0.5)});
    CHECK(fixed(column{tie, T(-0.5)}) == column{tie, T(-0.5)});
    CHECK(fixed(column{-no_tie, T(0.5)}) == column{-no_tie, T(0.5)});
    CHECK(fixed(column{no_tie, T(-0.5)}) == column{-no_tie, T(0.5)});
    // A small first entry has no say; the second is tied with the third.
    CHECK(fixed(column{T(0.1), -tie, T(0.5)}) == column{T(-0.1), tie, T(-0.5)});
}

TEST_CASE_TEMPLATE("a column and its negative become the same", T, float, double) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const auto random = reference::normal_tensor<T>({9}, seed);
        std::vector<T> column(random.begin(), random.end());
        if (seed % 2 == 0) {  // tied in magnitude
            for (T& x : column) {
                x = x < T(0) ? T(-1) : T(1);
            }
        }
        CHECK(fixed(column) == fixed(negated(column)));
        CHECK((fixed(column) == column || fixed(column) == negated(column)));
    }
}

TEST_CASE_TEMPLATE("both storage orders, gaps between columns, and partners", T, float, double) {
    const std::size_t rows = 5;
    const std::size_t columns = 4;
    const std::size_t length = 3;
    const auto a = reference::normal_matrix<T>(rows, columns, 1);
    const auto b = reference::normal_matrix<T>(columns, length, 2);
    auto u = a;
    auto vt = b;
    moden::detail::fix_signs(moden::cpu_policy{}, moden::row_major<T, host_memory>(u.data(), rows, columns),
                             moden::row_major<T, host_memory>(vt.data(), columns, length));
    CHECK(reference::obeys_sign_rule(u));
    std::size_t flipped = 0;
    for (std::size_t j = 0; j < columns; ++j) {
        const T sign = u(0, j) == a(0, j) ? T(1) : T(-1);
        flipped += sign < 0 ? 1 : 0;
        for (std::size_t i = 0; i < rows; ++i) {
            CHECK(u(i, j) == sign * a(i, j));
        }
        for (std::size_t i = 0; i < length; ++i) {
            CHECK(vt(j, i) == sign * b(j, i));
        }
    }
    REQUIRE(flipped > 0);  // otherwise the test shows nothing
    REQUIRE(flipped < columns);

    // The same matrix column by column with two unused elements behind each column.
    std::vector<T> memory(columns * (rows + 2), T(77));
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < columns; ++j) {
            memory[j * (rows + 2) + i] = a(i, j);
        }
    }
    moden::detail::fix_signs(
        moden::cpu_policy{},
        moden::matrix_view<T, host_memory>{memory.data(), rows, columns, rows + 2, moden::storage_order::column_major});
    for (std::size_t j = 0; j < columns; ++j) {
        for (std::size_t i = 0; i < rows; ++i) {
            CHECK(memory[j * (rows + 2) + i] == u(i, j));
        }
        CHECK(memory[j * (rows + 2) + rows] == T(77));
    }
}
