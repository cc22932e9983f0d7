#pragma once

// What tests are typed over: scalar x policy, and how data gets to a policy's memory and back.
//
// A C++ compiler builds the tests for the CPU policy and for the counting one; nvcc, with MODEN_TEST_CUDA, builds the same
// tests for the CUDA policy.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>
#ifdef MODEN_TEST_CUDA
#include <moden/policy/cuda.hpp>
#endif

#include "counting_policy.hpp"

namespace moden_test {

template <class Scalar, class Policy>
struct cell {
    using scalar = Scalar;
    using policy = Policy;
    static constexpr double eps = static_cast<double>(std::numeric_limits<Scalar>::epsilon());
};

#ifdef MODEN_TEST_CUDA
struct float_on_cuda : cell<float, moden::cuda_policy> {};
struct double_on_cuda : cell<double, moden::cuda_policy> {};
/// Keeps books on the policy under test.
using counted_policy = counting<moden::cuda_policy>;
#define MODEN_TEST_CELLS moden_test::float_on_cuda, moden_test::double_on_cuda
#else
struct float_on_cpu : cell<float, moden::cpu_policy> {};
struct double_on_cpu : cell<double, moden::cpu_policy> {};
struct float_on_counting : cell<float, counting_policy> {};
struct double_on_counting : cell<double, counting_policy> {};
using counted_policy = counting_policy;
#ifdef __SANITIZE_ADDRESS__  // each scalar and each policy once: slow programs, which touch the same memory either way
#define MODEN_TEST_CELLS moden_test::float_on_cpu, moden_test::double_on_counting
#else
#define MODEN_TEST_CELLS \
    moden_test::float_on_cpu, moden_test::double_on_cpu, moden_test::float_on_counting, moden_test::double_on_counting
#endif
#endif

/// The policy that a counting policy computes with, or the policy itself.
template <class Policy>
const auto& innermost(const Policy& policy) {
    if constexpr (requires { policy.inner(); }) {
        return policy.inner();
    } else {
        return policy;
    }
}

template <class Policy>
inline constexpr bool on_host = std::is_same_v<typename Policy::memory_space, moden::host_memory>;

/// A host tensor as the policy's tensor of the same order.
template <class Policy, class T, std::size_t N>
auto to_policy([[maybe_unused]] const Policy& policy, const moden::tensor<T, N>& tensor) {
#ifdef MODEN_TEST_CUDA
    if constexpr (!on_host<Policy>) {
        return moden::to_device(innermost(policy), tensor);
    } else
#endif
    {
        return tensor;
    }
}

template <class Policy, class T, std::size_t N>
auto to_policy(const Policy& policy, const std::vector<moden::tensor<T, N>>& tensors) {
    std::vector<moden::policy_tensor<Policy, T, N>> result;
    for (const auto& tensor : tensors) {
        result.push_back(to_policy(policy, tensor));
    }
    return result;
}

/// Numbers in (-1, 1) with 23 bits after the point, so that float and double see the same ones. From a generator that
/// has nothing to do with the library's (splitmix64, Steele, Lea & Flood 2014).
class number_source {
public:
    explicit number_source(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}

    double operator()() {
        state_ += 0x9E3779B97F4A7C15u;
        std::uint64_t z = state_;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        return static_cast<double>(static_cast<std::int64_t>(z >> 40) - (std::int64_t{1} << 23)) * 0x1p-23;
    }

private:
    std::uint64_t state_;
};

template <class T, std::size_t N>
moden::tensor<T, N> random_tensor(const moden::extents& shape, std::uint64_t seed) {
    std::array<std::size_t, N> fixed;
    std::copy_n(shape.begin(), N, fixed.begin());
    auto result = moden::tensor<T, N>::from_shape(fixed);
    number_source next(seed);
    std::generate(result.begin(), result.end(), [&] { return static_cast<T>(next()); });
    return result;
}

/// Memory of a policy that holds a copy of a host vector.
template <class Policy, class T>
class placed {
public:
    placed(const Policy& policy, const std::vector<T>& values)
        : policy_(policy), buffer_(policy.template allocate<T>(values.size())) {
        policy_.upload(values.data(), buffer_.data(), values.size());
    }

    T* data() const { return buffer_.data(); }

    std::vector<T> back() const {
        std::vector<T> result(buffer_.size());
        policy_.download(static_cast<const T*>(buffer_.data()), result.data(), result.size());
        return result;
    }

private:
    const Policy& policy_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) buffer_;
};

}  // namespace moden_test
