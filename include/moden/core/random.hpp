#pragma once

// Counter-based random numbers: element i of a stream is a function of (seed, stream, i) and of nothing else, so results
// do not depend on the policy, the number of threads or the order of evaluation.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <moden/core/macros.hpp>

namespace moden {

/// Four 32-bit words of random bits.
struct random_words {
    std::uint32_t word[4];
};

/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a bijection of a 128-bit counter
/// (here block and stream) under a 64-bit key (the seed).
MODEN_HOST_DEVICE inline random_words philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t block) {
    std::uint32_t c0 = static_cast<std::uint32_t>(block);
    std::uint32_t c1 = static_cast<std::uint32_t>(block >> 32);
    std::uint32_t c2 = static_cast<std::uint32_t>(stream);
    std::uint32_t c3 = static_cast<std::uint32_t>(stream >> 32);
    std::uint32_t k0 = static_cast<std::uint32_t>(seed);
    std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t p0 = static_cast<std::uint64_t>(0xD2511F53u) * c0;
        const std::uint64_t p1 = static_cast<std::uint64_t>(0xCD9E8D57u) * c2;
        c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
        c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<std::uint32_t>(p1);
        c3 = static_cast<std::uint32_t>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

/// How many numbers of type T one block of random bits gives.
template <class T>
inline constexpr std::size_t numbers_per_block = std::is_same_v<T, float> ? 4 : 2;

/// Number `lane` of a block, uniform in the open interval (0, 1): 23 random bits for float, 52 for double,
/// and a half added, so that neither end is reached.
template <class T>
MODEN_HOST_DEVICE T uniform_from(const random_words& words, std::size_t lane) {
    if constexpr (std::is_same_v<T, float>) {
        return (static_cast<float>(words.word[lane] >> 9) + 0.5f) * 0x1p-23f;
    } else {
        const std::uint64_t bits = static_cast<std::uint64_t>(words.word[2 * lane]) << 32 | words.word[2 * lane + 1];
        return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
    }
}

namespace detail {

/// Writes one block of uniform numbers; a loop body for policy.transform.
template <class T>
struct fill_uniform_block {
    T* target;
    std::size_t count;
    std::uint64_t seed;
    std::uint64_t stream;

    MODEN_HOST_DEVICE void operator()(std::size_t block) const {
        constexpr std::size_t lanes = numbers_per_block<T>;
        const random_words words = philox(seed, stream, block);
        for (std::size_t lane = 0; lane < lanes && block * lanes + lane < count; ++lane) {
            target[block * lanes + lane] = uniform_from<T>(words, lane);
        }
    }
};

/// Writes one block of standard normal numbers (Box-Muller on pairs of uniform ones).
template <class T>
struct fill_normal_block {
    T* target;
    std::size_t count;
    std::uint64_t seed;
    std::uint64_t stream;

    MODEN_HOST_DEVICE void operator()(std::size_t block) const {
        constexpr std::size_t lanes = numbers_per_block<T>;
        constexpr T full_turn = static_cast<T>(6.283185307179586476925286766559);
        const random_words words = philox(seed, stream, block);
        for (std::size_t lane = 0; lane < lanes; lane += 2) {
            const T radius = std::sqrt(T(-2) * std::log(uniform_from<T>(words, lane)));
            const T angle = full_turn * uniform_from<T>(words, lane + 1);
            const std::size_t i = block * lanes + lane;
            if (i < count) {
                target[i] = radius * std::cos(angle);
            }
            if (i + 1 < count) {
                target[i + 1] = radius * std::sin(angle);
            }
        }
    }
};

}  // namespace detail

/// Fills memory of the policy's space with numbers uniform in (0, 1).
template <class Policy, class T>
void fill_uniform(const Policy& policy, T* target, std::size_t count, std::uint64_t seed, std::uint64_t stream = 0) {
    constexpr std::size_t lanes = numbers_per_block<T>;
    policy.transform((count + lanes - 1) / lanes, detail::fill_uniform_block<T>{target, count, seed, stream},
                     16);
}

/// Fills memory of the policy's space with standard normal numbers.
template <class Policy, class T>
void fill_normal(const Policy& policy, T* target, std::size_t count, std::uint64_t seed, std::uint64_t stream = 0) {
    constexpr std::size_t lanes = numbers_per_block<T>;
    policy.transform((count + lanes - 1) / lanes, detail::fill_normal_block<T>{target, count, seed, stream},
                     64);
}

}  // namespace moden
