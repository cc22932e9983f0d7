// Random numbers: known answers of the generator, the same bits on every policy, and the right distribution.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <moden/core/random.hpp>

#include "policies.hpp"
#include "reference.hpp"

using namespace moden_test;

namespace {

template <class T, class Policy>
std::vector<T> uniform(const Policy& policy, std::size_t count, std::uint64_t seed, std::uint64_t stream) {
    const placed<Policy, T> memory(policy, std::vector<T>(count + 1, T(-7)));
    moden::fill_uniform(policy, memory.data(), count, seed, stream);
    return memory.back();
}

template <class T, class Policy>
std::vector<T> normal(const Policy& policy, std::size_t count, std::uint64_t seed, std::uint64_t stream) {
    const placed<Policy, T> memory(policy, std::vector<T>(count + 1, T(-7)));
    moden::fill_normal(policy, memory.data(), count, seed, stream);
    return memory.back();
}

/// Number i of the stream, from the generator alone.
template <class T>
T expected_uniform(std::size_t i, std::uint64_t seed, std::uint64_t stream) {
    constexpr std::size_t lanes = sizeof(T) == 4 ? 4 : 2;
    const moden::random_words block = moden::philox(seed, stream, i / lanes);
    if constexpr (sizeof(T) == 4) {
        return std::ldexp(static_cast<float>(block.word[i % lanes] / 512) + 0.5f, -23);
    } else {
        const std::uint64_t high = block.word[2 * (i % lanes)];
        const std::uint64_t low = block.word[2 * (i % lanes) + 1];
        return std::ldexp(static_cast<double>((high << 32 | low) / 4096) + 0.5, -52);
    }
}

}  // namespace

TEST_CASE("philox: the known answers that its authors published") {
    struct known_answer {
        std::uint64_t seed;
        std::uint64_t stream;
        std::uint64_t block;
        std::uint32_t words[4];
    };
    // Counter words 0, 1 are the block and 2, 3 the stream, low word first; Random123's kat_vectors, philox4x32-10.
    const known_answer answers[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {0xffffffffffffffff, 0xffffffffffffffff, 0xffffffffffffffff, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (const auto& answer : answers) {
        const moden::random_words found = moden::philox(answer.seed, answer.stream, answer.block);
        for (int i = 0; i < 4; ++i) {
            CHECK(found.word[i] == answer.words[i]);
        }
    }
}

TEST_CASE_TEMPLATE("fill_uniform: the same seed gives the same bits on every policy", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{5}, std::size_t{4097}, std::size_t{100001}}) {
        const std::vector<T> found = uniform<T>(policy, count, 42, 7);
        std::vector<T> expected(count + 1, T(-7));  // nothing is written behind the end
        for (std::size_t i = 0; i < count; ++i) {
            expected[i] = expected_uniform<T>(i, 42, 7);
        }
        CAPTURE(count);
        CHECK(found == expected);
    }
    CHECK(uniform<T>(policy, 100, 42, 7) != uniform<T>(policy, 100, 43, 7));
    CHECK(uniform<T>(policy, 100, 42, 7) != uniform<T>(policy, 100, 42, 8));
}

TEST_CASE_TEMPLATE("fill_uniform: open interval, flat", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    constexpr std::size_t count = 200000;
    std::vector<T> values = uniform<T>(policy, count, 1, 0);
    values.pop_back();
    constexpr std::size_t bins = 50;
    std::vector<double> found(bins, 0);
    for (const T x : values) {
        REQUIRE(x > T(0));
        REQUIRE(x < T(1));
        found[static_cast<std::size_t>(static_cast<double>(x) * bins)] += 1;
    }
    double chi_squared = 0;
    for (const double hits : found) {
        const double expected = static_cast<double>(count) / bins;
        chi_squared += (hits - expected) * (hits - expected) / expected;
    }
    // 49 degrees of freedom: 99.9 percent of all samples lie below 85.4, 99.9 percent above 23.
    CHECK(chi_squared < 85.4);
    CHECK(chi_squared > 23);
}

TEST_CASE_TEMPLATE("fill_normal: the Box-Muller transform of the uniform numbers, to a few ulp", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{20001}}) {
        const std::vector<T> found = normal<T>(policy, count, 5, 3);
        array got({count + 1});
        array want({count + 1}, -7);
        array bound({count + 1}, 0);
        for (std::size_t i = 0; i < count; ++i) {
            const double u = expected_uniform<T>(i / 2 * 2, 5, 3);
            const double v = expected_uniform<T>(i / 2 * 2 + 1, 5, 3);
            const double radius = std::sqrt(-2 * std::log(u));
            const double angle = 2 * 3.14159265358979323846 * v;
            want.data[i] = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
            // The angle is rounded before its cosine is taken, and log(u) near u = 1 loses what u has lost.
            bound.data[i] = Cell::eps * (4 * std::abs(want.data[i]) + radius * 8);
        }
        std::copy(found.begin(), found.end(), got.data.begin());
        CAPTURE(count);
        check_within(got, want, bound);
    }
}

TEST_CASE_TEMPLATE("fill_normal: mean, variance, skewness and kurtosis", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    constexpr std::size_t count = 200000;
    std::vector<T> values = normal<T>(policy, count, 9, 0);
    values.pop_back();
    double moments[4] = {};
    for (const T value : values) {
        const double x = static_cast<double>(value);
        moments[0] += x / count;
        moments[1] += x * x / count;
        moments[2] += x * x * x / count;
        moments[3] += x * x * x * x / count;
    }
    // Four standard deviations of each sample moment: their variances are 1, 2, 15, 96 over count.
    const double root = std::sqrt(static_cast<double>(count));
    CHECK(std::abs(moments[0]) < 4 / root);
    CHECK(std::abs(moments[1] - 1) < 4 * std::sqrt(2.0) / root);
    CHECK(std::abs(moments[2]) < 4 * std::sqrt(15.0) / root);
    CHECK(std::abs(moments[3] - 3) < 4 * std::sqrt(96.0) / root);
}
