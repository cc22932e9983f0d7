// Generators on the CPU give the same bits every time, also to several threads that share one generator and one policy; and
// the same bits with any number of threads, as far as OpenBLAS does.

#include <doctest/doctest.h>

#ifndef MODEN_TEST_CUDA

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include <moden/stylegan2/generator_map.hpp>
#include <moden/stylegan2/latents.hpp>
#include <moden/stylegan2/synthesis.hpp>

#include "models.hpp"

using namespace moden_test;
namespace stylegan2 = moden::stylegan2;
using stylegan2::latent_space;

namespace {

/// How many numbers of two results differ in a bit.
template <class T>
std::size_t different(const std::vector<T>& a, const std::vector<T>& b) {
    REQUIRE(a.size() == b.size());
    std::size_t count = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        count += std::memcmp(&a[i], &b[i], sizeof(T)) != 0 ? 1 : 0;
    }
    return count;
}

/// What a generator makes of codes: everything that a caller can ask for, one after the other.
template <class T>
struct everything {
    std::vector<T> w, ws, styles, pictures, varied, value, jvp, vjp;
};

template <class Tensor>
auto numbers_of(const Tensor& tensor) {
    return std::vector<moden::value_type_of<Tensor>>(tensor.begin(), tensor.end());
}

template <class T>
everything<T> run(const moden::cpu_policy& policy, const stylegan2::generator<moden::cpu_policy, T>& net, std::size_t count,
                  latent_space space, std::uint64_t seed) {
    const stylegan2::architecture& layout = net.layout();
    const auto z = random_tensor<T, 2>({count, layout.z_dim}, seed);
    const auto w = stylegan2::map_latents(policy, net, z);
    const auto ws = stylegan2::to_w_plus(policy, net, w, {.psi = 0.7});
    const auto styles = stylegan2::styles(policy, net, ws);
    const auto pictures = stylegan2::synthesize_styles(policy, net, styles);
    const auto varied = stylegan2::synthesize(policy, net, ws, {.noise = stylegan2::noise_mode::random, .noise_seed = seed});
    const stylegan2::generator_map<moden::cpu_policy, T> map(net, {.space = space, .at_once = 3});
    const auto x = random_tensor<T, 1>({map.input_size()}, seed + 1);
    const auto value = map.value(policy, x);
    const auto jvp = map.jvp(policy, x, random_tensor<T, 2>({5, map.input_size()}, seed + 2));
    const auto vjp = map.vjp(policy, x, random_tensor<T, 2>({5, map.output_size()}, seed + 3));
    return {numbers_of(w),      numbers_of(ws),    numbers_of(styles), numbers_of(pictures),
            numbers_of(varied), numbers_of(value), numbers_of(jvp),    numbers_of(vjp)};
}

template <class T>
void check_same_bits(const everything<T>& a, const everything<T>& b) {
    CHECK(different(a.w, b.w) == 0);
    CHECK(different(a.ws, b.ws) == 0);
    CHECK(different(a.styles, b.styles) == 0);
    CHECK(different(a.pictures, b.pictures) == 0);
    CHECK(different(a.varied, b.varied) == 0);
    CHECK(different(a.value, b.value) == 0);
    CHECK(different(a.jvp, b.jvp) == 0);
    CHECK(different(a.vjp, b.vjp) == 0);
}

/// The largest difference of two results in units of the largest number's last place.
template <class T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
    REQUIRE(a.size() == b.size());
    double difference = 0;
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference = std::max(difference, static_cast<double>(std::abs(a[i] - b[i])));
        largest = std::max(largest, static_cast<double>(std::abs(b[i])));
    }
    return difference / largest / static_cast<double>(std::numeric_limits<T>::epsilon());
}

template <class T>
void check_close(const everything<T>& a, const everything<T>& b) {
    constexpr double few = 32;
    CHECK(distance(a.w, b.w) <= few);
    CHECK(distance(a.ws, b.ws) <= few);
    CHECK(distance(a.styles, b.styles) <= few);
    CHECK(distance(a.pictures, b.pictures) <= few);
    CHECK(distance(a.varied, b.varied) <= few);
    CHECK(distance(a.value, b.value) <= few);
    CHECK(distance(a.jvp, b.jvp) <= few);
    CHECK(distance(a.vjp, b.vjp) <= few);
}

struct size_case {
    const char* name;
    model_shape shape;
    std::size_t pictures;
};

constexpr latent_space spaces[] = {latent_space::z, latent_space::w, latent_space::w_plus, latent_space::style};

}  // namespace

TEST_CASE_TEMPLATE("the same bits with any number of threads", T, float, double) {
    // Loops and the library's own products share out their work here; OpenBLAS's are too small for it to use threads.
    const size_case cases[] = {{"small", {.channels = {4, 3}}, 1},
                               {"few channels, many pixels", {.channels = {4, 5, 4, 3, 4}}, 5},
                               {"many codes", {.z_dim = 20, .w_dim = 24, .mapping_layers = 8, .channels = {8, 7, 6}}, 40}};
    for (const size_case& test : cases) {
        CAPTURE(test.name);
        const weight_map weights = random_model(test.shape, 41);
        const moden::cpu_policy alone({.threads = 1});
        const auto net = load_model<T>(alone, weights, {{"conv_clamp", "256"}});
        for (const latent_space space : spaces) {
            CAPTURE(space);
            const everything<T> expected = run(alone, net, test.pictures, space, 1);
            for (const std::size_t threads : {2U, 3U}) {
                CAPTURE(threads);
                const moden::cpu_policy policy({.threads = threads});
                check_same_bits(run(policy, net, test.pictures, space, 1), expected);
                // A generator that several threads have packed is the same one.
                check_same_bits(run(policy, load_model<T>(policy, weights, {{"conv_clamp", "256"}}), test.pictures, space, 1), expected);
            }
        }
    }
}

TEST_CASE_TEMPLATE("real widths: the same bits every time, and with other threads up to the last places", T, float, double) {
    // OpenBLAS divides large products differently for every number of threads, and rounds its sums accordingly.
    const size_case cases[] = {
        {"odd widths", {.z_dim = 33, .w_dim = 65, .mapping_layers = 8, .channels = {37, 29, 19, 11}}, 3},
        {"one picture", {.z_dim = 512, .w_dim = 512, .mapping_layers = 8, .channels = {128, 64, 32}}, 1},
        {"a batch", {.z_dim = 256, .w_dim = 256, .mapping_layers = 2, .channels = {96, 64, 48, 32, 16}}, 7}};
    for (const size_case& test : cases) {
        CAPTURE(test.name);
        const moden::cpu_policy alone({.threads = 1});
        const auto net = load_model<T>(alone, random_model(test.shape, 43), {{"conv_clamp", "256"}});
        for (const latent_space space : {latent_space::z, latent_space::style}) {
            CAPTURE(space);
            const everything<T> expected = run(alone, net, test.pictures, space, 1);
            for (const std::size_t threads : {2U, 3U}) {
                CAPTURE(threads);
                const moden::cpu_policy policy({.threads = threads});
                const everything<T> found = run(policy, net, test.pictures, space, 1);
                check_close(found, expected);
                check_same_bits(run(policy, net, test.pictures, space, 1), found);
            }
            check_same_bits(run(moden::cpu_policy({.threads = 1}), net, test.pictures, space, 1), expected);
        }
    }
}

TEST_CASE_TEMPLATE("several threads share a generator and a policy", T, float, double) {
    const moden::cpu_policy policy({.threads = 2});
    const auto net = load_model<T>(policy, random_model({.z_dim = 64, .w_dim = 64, .channels = {48, 32, 24, 16}}, 42));
    constexpr std::size_t users = 4;
    std::vector<everything<T>> expected;
    for (std::size_t user = 0; user < users; ++user) {
        expected.push_back(run(policy, net, 2, latent_space::z, 10 * user));
    }
    std::vector<std::vector<everything<T>>> found(users);
    {
        std::vector<std::jthread> threads;
        for (std::size_t user = 0; user < users; ++user) {
            threads.emplace_back([&, user] {
                for (int repetition = 0; repetition < 3; ++repetition) {
                    found[user].push_back(run(policy, net, 2, latent_space::z, 10 * user));
                }
            });
        }
    }
    for (std::size_t user = 0; user < users; ++user) {
        CAPTURE(user);
        REQUIRE(found[user].size() == 3);
        for (const everything<T>& one : found[user]) {
            check_same_bits(one, expected[user]);
        }
    }
}

#endif  // MODEN_TEST_CUDA
