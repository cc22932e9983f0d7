// Memory and loops of every policy: copies, permutations, transform, transform_grid, reduce.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include <moden/core/macros.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "stored_matrix.hpp"

using namespace moden_test;

namespace {

// Around the sizes at which loops change from one block to several.
const std::size_t loop_sizes[] = {0, 1, 2, 3, 4, 5, 31, 33, 255, 257, 2048, 2049, 8193, 16383, 16384, 16385, 32768, 32769, 65537, 100003};

template <class T>
std::vector<T> numbers(std::size_t count, std::uint64_t seed) {
    std::vector<T> result(count);
    number_source next(seed);
    for (T& x : result) {
        x = static_cast<T>(next());
    }
    return result;
}

/// Counts visits and leaves the index, so that a missing, repeated or wrong index shows.
template <class T>
struct mark_index {
    T* values;
    int* visits;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        values[i] = static_cast<T>(i % 1000) + T(0.5);
        ++visits[i];
    }
};

template <class T>
struct mark_pair {
    T* values;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        values[i * columns + j] += static_cast<T>(i % 100) * T(100) + static_cast<T>(j % 100);
    }
};

/// The same, a range of columns at a time.
template <class T>
struct mark_ranges {
    mark_pair<T> mark;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t first, std::size_t last) const {
        for (std::size_t j = first; j < last; ++j) {
            mark(i, j);
        }
    }
};

template <class T>
struct element {
    const T* values;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return static_cast<double>(values[i]); }
};

struct index_plus_one {
    MODEN_HOST_DEVICE std::size_t operator()(std::size_t i) const { return i + 1; }
};

struct add {
    template <class Result>
    MODEN_HOST_DEVICE Result operator()(Result a, Result b) const {
        return a + b;
    }
};

struct larger {
    template <class Result>
    MODEN_HOST_DEVICE Result operator()(Result a, Result b) const {
        return a < b ? b : a;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("allocate, upload, copy, download: the same elements come back", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const std::size_t count : loop_sizes) {
        CAPTURE(count);
        const std::vector<T> values = numbers<T>(count, 1);
        const placed<Policy, T> source(policy, values);
        const placed<Policy, T> target(policy, std::vector<T>(count + 1, T(7)));
        policy.copy(static_cast<const T*>(source.data()), target.data(), count);
        std::vector<T> expected = values;
        expected.push_back(T(7));
        CHECK(target.back() == expected);
    }
}

TEST_CASE_TEMPLATE("buffers: default ones are empty, moving takes the memory along", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    decltype(policy.template allocate<T>(0)) empty;
    CHECK(empty.size() == 0);
    auto first = policy.template allocate<T>(3);
    const std::vector<T> values{T(1), T(2), T(3)};
    policy.upload(values.data(), first.data(), 3);
    const T* const where = first.data();
    empty = std::move(first);
    CHECK(empty.size() == 3);
    CHECK(empty.data() == where);
    const auto moved(std::move(empty));
    CHECK(moved.data() == where);
    std::vector<T> back(3);
    policy.download(static_cast<const T*>(moved.data()), back.data(), 3);
    CHECK(back == values);
}

TEST_CASE_TEMPLATE("make_tensor: static and dynamic order", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto fixed = policy.template make_tensor<T, 3>({2, 3, 4});
    CHECK(moden::order_of<decltype(fixed)> == 3);
    CHECK(fixed.size() == 24);
    CHECK(moden::extents(fixed.shape().begin(), fixed.shape().end()) == moden::extents{2, 3, 4});
    const auto dynamic = policy.template make_tensor<T, moden::dynamic_order>({5, 1, 2, 3});
    CHECK(moden::order_of<decltype(dynamic)> == moden::dynamic_order);
    CHECK(dynamic.size() == 30);
    CHECK(moden::extents(dynamic.shape().begin(), dynamic.shape().end()) == moden::extents{5, 1, 2, 3});
}

TEST_CASE_TEMPLATE("copy of a matrix: same order, transposing, with gaps", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{0, 3}, {3, 0}, {1, 1}, {1, 9}, {9, 1}, {16, 16}, {17, 33}, {130, 200}, {3, 20000}, {20000, 3}};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const array values = random_matrix(rows, columns, 2);
        for (int combination = 0; combination < 8; ++combination) {
            const std::size_t padding = (combination & 4) != 0 ? 5 : 0;
            const stored<Policy, T> source(policy, {rows, columns, both_orders[combination & 1], padding}, values);
            const stored<Policy, T> target(policy, {rows, columns, both_orders[combination >> 1 & 1], padding > 0 ? std::size_t{2} : 0});
            policy.template copy<T>(source.view(), target.view());
            CAPTURE(rows);
            CAPTURE(columns);
            CAPTURE(combination);
            CHECK(target.back().data == values.data);
        }
    }
}

TEST_CASE_TEMPLATE("permute: every permutation of up to four modes, some of six", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    struct permutation_case {
        moden::extents shape;
        std::vector<moden::extents> axes;  // empty: all of them
    };
    const permutation_case cases[] = {
        {{7}, {}},
        {{5, 9}, {}},
        {{129, 67}, {}},
        {{4, 5, 6}, {}},
        {{3, 1, 4}, {}},
        {{1, 1}, {}},
        {{2, 3, 4, 5}, {}},
        {{20, 3, 40, 17}, {{0, 2, 1, 3}, {3, 2, 1, 0}, {2, 3, 0, 1}, {1, 0, 3, 2}}},
        {{2, 3, 1, 4, 2}, {{4, 3, 2, 1, 0}, {1, 2, 3, 4, 0}, {0, 1, 3, 2, 4}}},
        {{2, 3, 2, 4, 3, 5}, {{5, 4, 3, 2, 1, 0}, {0, 5, 1, 4, 2, 3}, {3, 4, 5, 0, 1, 2}, {0, 1, 2, 3, 4, 5}, {1, 0, 2, 3, 5, 4}}},
        {{3, 0, 2}, {{2, 1, 0}}},
    };
    for (const auto& one : cases) {
        const moden::extents& shape = one.shape;
        std::vector<moden::extents> all = one.axes;
        if (all.empty()) {
            moden::extents axes(shape.size());
            std::iota(axes.begin(), axes.end(), std::size_t{0});
            do {
                all.push_back(axes);
            } while (std::next_permutation(axes.begin(), axes.end()));
        }
        const std::size_t size = moden::element_count(shape);
        const std::vector<T> values = numbers<T>(size, 3);
        const placed<Policy, T> source(policy, values);
        for (const moden::extents& axes : all) {
            const placed<Policy, T> target(policy, std::vector<T>(size, std::numeric_limits<T>::quiet_NaN()));
            policy.template permute<T>({source.data(), shape}, axes, target.data());
            array from(shape);
            std::copy(values.begin(), values.end(), from.data.begin());
            moden::extents target_shape;
            for (const std::size_t axis : axes) {
                target_shape.push_back(shape[axis]);
            }
            array want(target_shape);
            for_each_index(target_shape, [&](const moden::extents& index) {
                moden::extents origin(shape.size());
                for (std::size_t n = 0; n < axes.size(); ++n) {
                    origin[axes[n]] = index[n];
                }
                want.at(index) = from.at(origin);
            });
            CAPTURE(to_array(std::vector<double>(shape.begin(), shape.end())).data);
            CAPTURE(std::vector<double>(axes.begin(), axes.end()));
            CHECK(to_array(target.back()).data == want.data);
        }
    }
}

TEST_CASE_TEMPLATE("transform: every index once", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const std::size_t count : loop_sizes) {
        for (const std::size_t work : {std::size_t{1}, std::size_t{1000}}) {
            const placed<Policy, T> values(policy, std::vector<T>(count + 1, T(-1)));
            const placed<Policy, int> visits(policy, std::vector<int>(count + 1, 0));
            policy.transform(count, mark_index<T>{values.data(), visits.data()}, work);
            std::vector<T> expected(count + 1, T(-1));
            std::vector<int> once(count + 1, 1);
            once.back() = 0;
            for (std::size_t i = 0; i < count; ++i) {
                expected[i] = static_cast<T>(i % 1000) + T(0.5);
            }
            CAPTURE(count);
            CAPTURE(work);
            CHECK(values.back() == expected);
            CHECK(visits.back() == once);
        }
    }
}

TEST_CASE_TEMPLATE("transform_grid, transform_rows: every pair once", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{0, 0},  {0, 5},    {5, 0},     {1, 1},    {1, 40000}, {40000, 1}, {3, 257},
                                     {257, 3}, {70000, 2}, {2, 70000}, {127, 129}, {16384, 2}, {300, 301}};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const placed<Policy, T> values(policy, std::vector<T>(rows * columns + 1, T(1)));
        policy.transform_grid(rows, columns, mark_pair<T>{values.data(), columns});
        std::vector<T> expected(rows * columns + 1, T(1));
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                expected[i * columns + j] += static_cast<T>(i % 100) * T(100) + static_cast<T>(j % 100);
            }
        }
        CAPTURE(rows);
        CAPTURE(columns);
        CHECK(values.back() == expected);
        policy.transform_rows(rows, columns, mark_ranges<T>{{values.data(), columns}});
        for (std::size_t k = 0; k < rows * columns; ++k) {
            expected[k] += expected[k] - T(1);
        }
        CHECK(values.back() == expected);
    }
}

TEST_CASE_TEMPLATE("reduce: sums, largest values and counts, the same every time", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const std::size_t count : loop_sizes) {
        const std::vector<T> values = numbers<T>(count, 4);
        const placed<Policy, T> memory(policy, values);
        double sum = 0;  // exact: the numbers are multiples of 2^-23 and fewer than 2^29
        double largest = -10;
        for (const T x : values) {
            sum += static_cast<double>(x);
            largest = std::max(largest, static_cast<double>(x));
        }
        CAPTURE(count);
        CHECK(policy.reduce(count, 0.0, element<T>{memory.data()}, add{}) == sum);
        CHECK(policy.reduce(count, -10.0, element<T>{memory.data()}, larger{}) == largest);
        CHECK(policy.reduce(count, std::size_t{0}, index_plus_one{}, add{}) == count * (count + 1) / 2);
    }
}
