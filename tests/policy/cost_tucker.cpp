// What the documentation says that decompositions cost, counted.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include <moden/multilinear/complete.hpp>
#include <moden/multilinear/cp.hpp>
#include <moden/multilinear/hooi.hpp>
#include <moden/multilinear/hosvd.hpp>

#include "costs.hpp"
#include "policies.hpp"

using namespace moden_test;

namespace {

double number(std::size_t x) { return static_cast<double>(x); }

/// Flops of the Gram matrix of one mode: one triangle of it.
double gram_flops(const moden::extents& shape, std::size_t mode) { return number(shape[mode] + 1) * size_of(shape); }

/// Flops of a mode's projection.
double projection_flops(const moden::extents& shape, std::size_t rank) { return 2 * number(rank) * size_of(shape); }

double bytes_of(const moden::extents& shape) { return size_of(shape) * sizeof(float); }

/// Extra memory of a truncated decomposition: buffers at their peak, plus tensors beyond those of the result.
template <std::size_t N>
double st_hosvd_memory(const moden::extents& shape, const moden::extents& ranks, moden::svd_method method) {
    const counted_policy policy{};
    const auto tensor = to_policy(policy, random_tensor<float, N>(shape, 1));
    policy.books().reset();
    const auto result = moden::st_hosvd(policy, tensor, {.ranks = ranks, .method = method});
    double of_result = number(result.core.size());
    for (const auto& factor : result.factors) {
        of_result += number(factor.size());
    }
    CHECK(policy.books().tensor_bytes() == of_result * sizeof(float));
    CHECK(policy.books().held_bytes() == 0);
    return number(policy.books().peak_bytes());
}

}  // namespace

TEST_CASE("cost of hosvd with Gram matrices: sum of (I_n + 1) prod(I) flops, the core, and no unfolding") {
    const counted_policy policy{};
    const moden::extents shape{9, 12, 8, 10};
    const moden::extents ranks{5, 6, 5, 7};
    const auto tensor = to_policy(policy, random_tensor<float, 4>(shape, 2));
    policy.books().reset();
    moden::hosvd(policy, tensor, {.ranks = ranks, .method = moden::svd_method::gram, .error = moden::error_measure::spectrum});
    double grams = 0;
    double largest_gram = 0;
    for (std::size_t n = 0; n < 4; ++n) {
        grams += gram_flops(shape, n);
        largest_gram = std::max(largest_gram, number(shape[n] * shape[n] + shape[n] + shape[n] * ranks[n]));
    }
    CHECK(policy.books().gram_flops() == grams);
    CHECK(policy.books().product_flops() == cheapest_flops(shape, all_modes(4), ranks));
    CHECK(policy.books()[primitive::permute].calls == 0);
    CHECK(policy.books()[primitive::copy].calls == 0);
    CHECK(policy.books()[primitive::eigh].calls == 4);
    CHECK(policy.books()[primitive::svd].calls == 0);
    // The largest Gram matrix with its eigenvectors, or two partly reduced tensors. The first one lost at least 4 rows of 9.
    CHECK(number(policy.books().peak_bytes()) <= std::max(largest_gram, 2 * size_of(shape) * 5 / 8) * sizeof(float));
}

TEST_CASE("cost of st_hosvd with Gram matrices: each mode on what is left of the tensor, in the cheapest order") {
    const counted_policy policy{};
    const moden::extents shape{40, 12, 30};
    const moden::extents ranks{5, 11, 25};
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 3));
    const auto flops_in = [&](const moden::extents& order) {
        policy.books().reset();
        moden::st_hosvd(policy, tensor, {.ranks = ranks, .method = moden::svd_method::gram, .mode_order = order});
        CHECK(policy.books()[primitive::permute].calls == 0);
        return policy.books().gram_flops() + policy.books().product_flops();
    };
    moden::extents order = all_modes(3);
    double best = 1e300;
    double worst = 0;
    do {
        moden::extents left = shape;
        double expected = 0;
        for (const std::size_t n : order) {
            expected += gram_flops(left, n) + projection_flops(left, ranks[n]);
            left[n] = ranks[n];
        }
        const double counted = flops_in(order);
        CHECK(counted == expected);
        best = std::min(best, counted);
        worst = std::max(worst, counted);
    } while (std::next_permutation(order.begin(), order.end()));
    const double chosen = flops_in({});
    CHECK(chosen <= 1.1 * best);  // the order weighs passes over memory too
    CHECK(chosen < 0.9 * worst);
}

TEST_CASE("memory of truncated st_hosvd: at most the size of the input") {
    for (const auto method : {moden::svd_method::gram, moden::svd_method::qr, moden::svd_method::automatic}) {
        CAPTURE(static_cast<int>(method));
        CHECK(st_hosvd_memory<4>({120, 40, 25, 2}, {30, 20, 10, 2}, method) <= bytes_of({120, 40, 25, 2}));
        CHECK(st_hosvd_memory<3>({60, 60, 60}, {6, 6, 6}, method) <= bytes_of({60, 60, 60}));
        CHECK(st_hosvd_memory<3>({20, 300, 40}, {4, 20, 4}, method) <= bytes_of({20, 300, 40}));
        CHECK(st_hosvd_memory<4>({4, 30, 40, 50}, {2, 6, 8, 10}, method) <= bytes_of({4, 30, 40, 50}));
    }
    // With Gram matrices of short modes it is the two reduced tensors, and these are small when the first cut is deep.
    CHECK(st_hosvd_memory<3>({60, 60, 60}, {6, 6, 6}, moden::svd_method::gram) <= 0.13 * bytes_of({60, 60, 60}));
}

TEST_CASE("memory of st_hosvd by sketches: two bases and panels") {
    const counted_policy policy{};
    const moden::extents shape{700, 20, 30};
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 4));
    policy.books().reset();
    const auto result = moden::st_hosvd(policy, tensor, {.ranks = {8, 8, 8}, .method = moden::svd_method::randomized});
    CHECK(result.modes[0].method == moden::svd_method::randomized);
    CHECK(number(policy.books().peak_bytes()) <= bytes_of(shape));
}

TEST_CASE("a mode longer than all others together: Gram matrix of its columns, never of its rows") {
    const counted_policy policy{};
    const moden::extents shape{500, 6, 5};
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 5));
    for (const auto method : {moden::svd_method::gram, moden::svd_method::qr}) {
        policy.books().reset();
        moden::st_hosvd(policy, tensor, {.ranks = {10, 6, 5}, .method = method, .mode_order = {0, 1, 2}});
        CAPTURE(static_cast<int>(method));
        CHECK(number(policy.books().peak_bytes()) < 2 * bytes_of(shape));  // far below 500 x 500
        if (method == moden::svd_method::gram) {
            CHECK(policy.books().gram_flops() <= 2 * number(30 * 31) * 500);
        }
    }
}

TEST_CASE("cost of hooi per iteration: a projection onto all other factors and a small Gram matrix per mode") {
    const counted_policy policy{};
    const moden::extents shape{14, 12, 16};
    const moden::extents ranks{6, 5, 7};
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 6));
    struct counts {
        double products;
        double grams;
    };
    const auto count = [&](std::size_t iterations) {
        policy.books().reset();
        moden::hooi(policy, tensor, {.ranks = ranks, .tolerance = 0, .max_iterations = iterations, .method = moden::svd_method::gram});
        CHECK(policy.books()[primitive::permute].calls == 0);
        return counts{policy.books().product_flops(), policy.books().gram_flops()};
    };
    double products = 0;
    double grams = 0;
    for (std::size_t n = 0; n < 3; ++n) {
        moden::extents others;
        moden::extents other_ranks;
        moden::extents projected = ranks;
        projected[n] = shape[n];
        for (std::size_t k = 0; k < 3; ++k) {
            if (k != n) {
                others.push_back(k);
                other_ranks.push_back(ranks[k]);
            }
        }
        products += cheapest_flops(shape, others, other_ranks);
        grams += gram_flops(projected, n);
        if (n == 2) {
            products += projection_flops(projected, ranks[n]);  // the core
        }
    }
    const counts one = count(1);
    const counts two = count(2);
    const counts five = count(5);
    CHECK(two.products - one.products == products);
    CHECK(two.grams - one.grams == grams);
    CHECK(five.products - one.products == 4 * products);
}

TEST_CASE("cost of cp_als per iteration: N MTTKRPs, 2 N R prod(I) flops, nothing moved but factors") {
    const counted_policy policy{};
    const moden::extents shape{11, 9, 8, 7};
    const double rank = 5;
    const auto tensor = to_policy(policy, random_tensor<float, 4>(shape, 7));
    struct counts {
        double products;
        double moved;
        std::size_t permutations;
    };
    const auto count = [&](std::size_t iterations) {
        policy.books().reset();
        const auto result = moden::cp_als(policy, tensor, {.rank = 5, .tolerance = 0, .max_iterations = iterations, .start = moden::cp_start::random});
        REQUIRE(result.iterations == iterations);
        return counts{policy.books().product_flops(), moved_bytes(policy.books()), policy.books()[primitive::permute].calls};
    };
    const counts one = count(1);
    const counts two = count(2);
    CHECK(two.products - one.products == 2 * 4 * rank * size_of(shape));
    CHECK(two.permutations == 0);
    const double factor_elements = rank * (11 + 9 + 8 + 7) + 4 * rank * rank;  // copied out of the MTTKRPs; one Gram matrix each
    CHECK(two.moved - one.moved <= 2 * factor_elements * sizeof(float));
}

TEST_CASE("memory of cp_als: the factors, the partial products of mttkrp, and a block for the final error") {
    const counted_policy policy{};
    const moden::extents shape{130, 140, 150};  // larger than the block of two million elements
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 8));
    policy.books().reset();
    moden::cp_als(policy, tensor, {.rank = 4, .max_iterations = 2, .start = moden::cp_start::random});
    const double block = number(std::size_t{1} << 21);
    const double khatri_rao = 4 * (130.0 * 140 + 150);
    CHECK(number(policy.books().peak_bytes()) <= (block + 2 * khatri_rao + 10 * 4 * (130 + 140 + 150)) * sizeof(float));
    CHECK(number(policy.books().peak_bytes()) <= bytes_of(shape));
}

TEST_CASE("memory of relative_error: blocks, not a whole reconstruction") {
    const counted_policy policy{};
    const moden::extents shape{40, 400, 500};  // eight million elements
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 9));
    const auto tucker = moden::st_hosvd(policy, tensor, {.ranks = {3, 4, 5}});
    policy.books().reset();
    moden::relative_error(policy, tensor, tucker);
    const double block = number(std::size_t{1} << 22);
    const double partial = 3 * 400 * 500 + 3 * 400 * 5;  // mode 0 still reduced
    CHECK(number(policy.books().peak_bytes()) <= (block + partial) * sizeof(float));
}

TEST_CASE("cost of reconstruct: the cheapest order, and of a part only that part") {
    const counted_policy policy{};
    const moden::extents core{5, 6, 7};
    const moden::extents shape{12, 20, 9};
    moden::tucker_tensor<moden::policy_tensor<counted_policy, float, 3>> tucker;
    tucker.core = to_policy(policy, random_tensor<float, 3>(core, 10));
    for (std::size_t n = 0; n < 3; ++n) {
        tucker.factors.push_back(to_policy(policy, random_tensor<float, 2>({shape[n], core[n]}, 11 + n)));
    }
    policy.books().reset();
    moden::reconstruct(policy, tucker);
    CHECK(policy.books().flops() == cheapest_flops(core, all_modes(3), shape));
    policy.books().reset();
    moden::reconstruct(policy, tucker, {{1, 6}, {3, 5}, {0, 5}});
    CHECK(policy.books().flops() == cheapest_flops(core, all_modes(3), {6, 5, 5}));
}

TEST_CASE("cost of complete per iteration: one st_hosvd and one reconstruction; memory of four tensors") {
    const counted_policy policy{};
    const moden::extents shape{14, 16, 15};
    const moden::extents ranks{5, 6, 5};
    const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 12));
    auto host_mask = random_tensor<float, 3>(shape, 13);
    for (float& x : host_mask) {
        x = x < 0.3f ? 1.0f : 0.0f;
    }
    const auto mask = to_policy(policy, host_mask);
    const auto flops_of = [&](std::size_t iterations) {
        policy.books().reset();
        moden::complete(policy, tensor, mask, {.ranks = ranks, .tolerance = 0, .max_iterations = iterations, .method = moden::svd_method::gram});
        CHECK(number(policy.books().peak_bytes()) + bytes_of(shape) <= 4 * bytes_of(shape));  // beside them the result
        return policy.books().gram_flops() + policy.books().product_flops();
    };
    policy.books().reset();
    const auto fitted = moden::st_hosvd(policy, tensor, {.ranks = ranks, .method = moden::svd_method::gram});
    moden::reconstruct(policy, fitted);
    const double expected = policy.books().gram_flops() + policy.books().product_flops();
    CHECK(flops_of(3) - flops_of(2) == expected);
}
