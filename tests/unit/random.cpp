// Counter-based random numbers: known answers, statistics, and independence of everything but seed, stream and index.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <doctest/doctest.h>

#include <moden/core/random.hpp>
#include <moden/policy/cpu.hpp>

namespace {

std::array<std::uint32_t, 4> words_of(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
    const moden::random_words words = moden::philox(seed, stream, block);
    return {words.word[0], words.word[1], words.word[2], words.word[3]};
}

template <class T>
std::vector<T> uniform(std::size_t count, std::uint64_t seed, std::uint64_t stream, std::size_t threads) {
    std::vector<T> result(count);
    moden::fill_uniform(moden::cpu_policy({.threads = threads}), result.data(), count, seed, stream);
    return result;
}

template <class T>
std::vector<T> normal(std::size_t count, std::uint64_t seed, std::uint64_t stream, std::size_t threads) {
    std::vector<T> result(count);
    moden::fill_normal(moden::cpu_policy({.threads = threads}), result.data(), count, seed, stream);
    return result;
}

/// Mean of power(x) over the numbers, and how many standard errors it is away from what it should be.
template <class T, class Function>
double standard_errors(const std::vector<T>& numbers, Function function, double expected, double variance) {
    double sum = 0;
    for (const T x : numbers) {
        sum += function(static_cast<double>(x));
    }
    const double count = static_cast<double>(numbers.size());
    return std::abs(sum / count - expected) / std::sqrt(variance / count);
}

}  // namespace

// The vectors for philox4x32, 10 rounds, that are published with Salmon et al. 2011 (Random123, kat_vectors).
TEST_CASE("philox gives the published answers") {
    using words = std::array<std::uint32_t, 4>;
    CHECK(words_of(0, 0, 0) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    constexpr std::uint64_t ones = ~std::uint64_t{0};
    CHECK(words_of(ones, ones, ones) == words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    // Counter 243f6a88 85a308d3 13198a2e 03707344, key a4093822 299f31d0, lowest word first.
    CHECK(words_of(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) ==
          words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE_TEMPLATE("uniform numbers stay inside the open interval at both ends", T, float, double) {
    const moden::random_words lowest{{0, 0, 0, 0}};
    const moden::random_words highest{{~0u, ~0u, ~0u, ~0u}};
    for (std::size_t lane = 0; lane < moden::numbers_per_block<T>; ++lane) {
        CHECK(moden::uniform_from<T>(lowest, lane) > T(0));
        CHECK(moden::uniform_from<T>(highest, lane) < T(1));
        CHECK(moden::uniform_from<T>(lowest, lane) == T(1) - moden::uniform_from<T>(highest, lane));
    }
}

TEST_CASE_TEMPLATE("numbers depend on seed, stream and index only", T, float, double) {
    // Above the size where loops are divided among threads, and not a multiple of a block of numbers.
    constexpr std::size_t count = 100003;
    const auto one_thread = uniform<T>(count, 5, 3, 1);
    const auto normals = normal<T>(count, 5, 3, 1);
    CHECK(uniform<T>(count, 5, 3, 2) == one_thread);
    CHECK(uniform<T>(count, 5, 3, 3) == one_thread);
    CHECK(normal<T>(count, 5, 3, 2) == normals);
    CHECK(normal<T>(count, 5, 3, 3) == normals);
    // A shorter request gives the beginning of a longer one.
    const auto shorter = normal<T>(1001, 5, 3, 2);
    CHECK(std::equal(shorter.begin(), shorter.end(), normals.begin()));
    CHECK(uniform<T>(count, 6, 3, 1) != one_thread);
    CHECK(uniform<T>(count, 5, 4, 1) != one_thread);
    // Nothing is written behind the end.
    std::vector<T> guarded(8, T(-7));
    moden::fill_normal(moden::cpu_policy{}, guarded.data(), 7, 1);
    CHECK(guarded[7] == T(-7));
}

// Five standard errors: one run in a million would exceed them by chance, and the seeds are fixed.
TEST_CASE_TEMPLATE("moments of uniform and normal numbers", T, float, double) {
    constexpr std::size_t count = 400000;
    const auto u = uniform<T>(count, 11, 0, 2);
    const auto square = [](double x) { return x * x; };
    const auto fourth = [](double x) { return x * x * x * x; };
    const auto itself = [](double x) { return x; };
    CHECK(standard_errors(u, itself, 1.0 / 2, 1.0 / 12) < 5);
    CHECK(standard_errors(u, square, 1.0 / 3, 4.0 / 45) < 5);
    const auto z = normal<T>(count, 12, 0, 2);
    CHECK(standard_errors(z, itself, 0, 1) < 5);
    CHECK(standard_errors(z, square, 1, 2) < 5);
    CHECK(standard_errors(
              z, [](double x) { return x * x * x; }, 0, 15) < 5);
    CHECK(standard_errors(z, fourth, 3, 96) < 5);
    CHECK(standard_errors(
              z, [](double x) { return x > 2 ? 1.0 : 0.0; }, 0.0227501, 0.0227501 * 0.9772499) < 5);

    double neighbours = 0;  // Box-Muller makes pairs; they must not be correlated
    for (std::size_t i = 0; i + 1 < count; i += 2) {
        neighbours += static_cast<double>(z[i]) * static_cast<double>(z[i + 1]);
    }
    CHECK(std::abs(neighbours) < 5 * std::sqrt(count / 2.0));
    const auto other_stream = normal<T>(count, 12, 1, 2);
    double across = 0;
    for (std::size_t i = 0; i < count; ++i) {
        across += static_cast<double>(z[i]) * static_cast<double>(other_stream[i]);
    }
    CHECK(std::abs(across) < 5 * std::sqrt(static_cast<double>(count)));
}

TEST_CASE_TEMPLATE("uniform numbers fill the interval evenly", T, float, double) {
    constexpr std::size_t count = 200000;
    constexpr std::size_t bins = 64;
    std::vector<double> counted(bins, 0);
    for (const T x : uniform<T>(count, 21, 0, 2)) {
        counted[static_cast<std::size_t>(static_cast<double>(x) * bins)] += 1;
    }
    double chi_squared = 0;
    for (const double n : counted) {
        const double expected = static_cast<double>(count) / bins;
        chi_squared += (n - expected) * (n - expected) / expected;
    }
    // 63 degrees of freedom: mean 63, standard deviation sqrt(126).
    CHECK(std::abs(chi_squared - 63) < 5 * std::sqrt(126.0));
}
