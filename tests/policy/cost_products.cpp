// What the documentation says that products cost, counted.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>
#include <vector>

#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/low_rank.hpp>
#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/mttkrp.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/multilinear/unfold.hpp>

#include "costs.hpp"
#include "policies.hpp"

using namespace moden_test;

namespace {

moden::tensor<float, 2> matrix(std::size_t rows, std::size_t columns) { return random_tensor<float, 2>({rows, columns}, rows + columns); }

}  // namespace

TEST_CASE("cost of mode_product: 2 J prod(I) flops on first, inner and last modes, nothing moved, no memory") {
    const counted_policy policy{};
    const moden::extents shape{6, 10, 7, 9};
    const auto tensor = to_policy(policy, random_tensor<float, 4>(shape, 1));
    for (std::size_t mode = 0; mode < 4; ++mode) {
        for (const std::size_t rows : {std::size_t{1}, std::size_t{5}, std::size_t{20}}) {
            const auto factor = to_policy(policy, matrix(rows, shape[mode]));
            policy.books().reset();
            const auto product = moden::mode_product(policy, tensor, factor, mode);
            CAPTURE(mode);
            CAPTURE(rows);
            CHECK(policy.books().flops() == 2.0 * static_cast<double>(rows) * size_of(shape));
            CHECK(policy.books().peak_bytes() == 0);
            CHECK(policy.books().tensor_bytes() == static_cast<double>(product.size() * sizeof(float)));
            CHECK(moved_bytes(policy.books()) == 0);
            const std::size_t gemms = policy.books()[primitive::gemm].calls;
            CHECK(gemms == (mode == 0 || mode == 3 ? 1 : 0));
            CHECK(policy.books()[primitive::gemm_strided_batched].calls == 1 - gemms);
        }
    }
    const auto vector = to_policy(policy, random_tensor<float, 1>({10}, 2));
    policy.books().reset();
    moden::mode_product(policy, tensor, vector, 1);
    CHECK(policy.books().flops() == 2.0 * size_of(shape));
    CHECK(policy.books().peak_bytes() == 0);
}

TEST_CASE("cost of mode_product before few elements: as many times the flops, and a small matrix") {
    const counted_policy policy{};
    for (const std::size_t columns : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
        const moden::extents shape{50, 12, columns};
        const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 3));
        const auto factor = to_policy(policy, matrix(8, 12));
        policy.books().reset();
        moden::mode_product(policy, tensor, factor, 1);
        CAPTURE(columns);
        CHECK(policy.books().flops() == 2.0 * 8 * size_of(shape) * static_cast<double>(columns));
        CHECK(policy.books().peak_bytes() == 12 * columns * 8 * columns * sizeof(float));
        CHECK(policy.books().peak_bytes() <= 64 * 64 * sizeof(float));
        CHECK(moved_bytes(policy.books()) == 0);
    }
    // Too large to be widened, or five elements: slabs again.
    for (const moden::extents& shape : {moden::extents{50, 33, 2}, moden::extents{50, 12, 5}}) {
        const auto tensor = to_policy(policy, random_tensor<float, 3>(shape, 4));
        const auto factor = to_policy(policy, matrix(8, shape[1]));
        policy.books().reset();
        moden::mode_product(policy, tensor, factor, 1);
        CHECK(policy.books().flops() == 2.0 * 8 * size_of(shape));
        CHECK(policy.books().peak_bytes() == 0);
    }
}

TEST_CASE("cost of multi_mode_product: the cheapest of all orders, two intermediate tensors") {
    const counted_policy policy{};
    number_source next(5);
    // From 5 on, so that no intermediate tensor is narrow enough to be widened.
    const auto between = [&](double low, double high) { return static_cast<std::size_t>(low + (high - low) * (next() + 1) / 2); };
    const auto check = [&](auto order) {
        constexpr std::size_t N = decltype(order)::value;
        moden::extents shape;
        moden::extents rows;
        std::vector<moden::tensor<float, 2>> matrices;
        for (std::size_t n = 0; n < N; ++n) {
            shape.push_back(between(5, 14));
            rows.push_back(between(5, 14));
            matrices.push_back(matrix(rows[n], shape[n]));
        }
        const auto tensor = to_policy(policy, random_tensor<float, N>(shape, 6));
        const auto factors = to_policy(policy, matrices);
        policy.books().reset();
        moden::multi_mode_product(policy, tensor, factors);
        CHECK(policy.books().flops() == cheapest_flops(shape, all_modes(N), rows));
        CHECK(moved_bytes(policy.books()) == 0);
        // Two intermediate tensors at a time: none is larger than with all growing modes grown and no other shrunk.
        double largest = 1;
        for (std::size_t n = 0; n < N; ++n) {
            largest *= static_cast<double>(std::max(shape[n], rows[n]));
        }
        CHECK(static_cast<double>(policy.books().peak_bytes()) <= 2 * largest * sizeof(float));
    };
    for (int i = 0; i < 10; ++i) {
        check(std::integral_constant<std::size_t, 2>{});
        check(std::integral_constant<std::size_t, 3>{});
        check(std::integral_constant<std::size_t, 4>{});
    }
}

TEST_CASE("cost of inner and norm: one read, no memory") {
    const counted_policy policy{};
    const auto tensor = to_policy(policy, random_tensor<float, 3>({7, 8, 9}, 7));
    policy.books().reset();
    moden::inner(policy, tensor, tensor);
    CHECK(policy.books()[primitive::reduce].elements == 7 * 8 * 9);
    policy.books().reset();
    moden::norm(policy, tensor);
    CHECK(policy.books()[primitive::reduce].elements == 7 * 8 * 9);
    CHECK(policy.books().peak_bytes() == 0);
}

TEST_CASE("cost of outer, kronecker and khatri_rao: about one multiplication per element") {
    const counted_policy policy{};
    const auto a = to_policy(policy, matrix(8, 6));
    const auto b = to_policy(policy, matrix(5, 6));
    policy.books().reset();
    moden::outer(policy, a, b);
    CHECK(loop_elements(policy.books()) == 48 * 30);
    CHECK(policy.books().peak_bytes() == 0);
    policy.books().reset();
    moden::kronecker(policy, a, b);
    CHECK(loop_elements(policy.books()) == 40 * 36);
    CHECK(policy.books().peak_bytes() == 0);
    for (const moden::extents& rows : {moden::extents{8, 5}, moden::extents{4, 5, 6}, moden::extents{7, 3, 2, 4}}) {
        std::vector<moden::tensor<float, 2>> matrices;
        for (const std::size_t extent : rows) {
            matrices.push_back(matrix(extent, 6));
        }
        const auto factors = to_policy(policy, matrices);
        policy.books().reset();
        const auto product = moden::khatri_rao(policy, factors);
        const double size = static_cast<double>(product.size());
        CHECK(loop_elements(policy.books()) >= size);
        CHECK(loop_elements(policy.books()) <= 1.5 * size);
        CHECK(policy.books().peak_bytes() <= product.size() * sizeof(float));
    }
}

TEST_CASE("cost of unfold and fold: one read and one write, no memory") {
    const counted_policy policy{};
    const auto tensor = to_policy(policy, random_tensor<float, 3>({7, 8, 9}, 8));
    policy.books().reset();
    const auto unfolded = moden::unfold(policy, tensor, 1);
    CHECK(moved_bytes(policy.books()) == 2 * 7 * 8 * 9 * sizeof(float));
    CHECK(policy.books().peak_bytes() == 0);
    policy.books().reset();
    moden::fold(policy, unfolded, 1, {7, 8, 9});
    CHECK(moved_bytes(policy.books()) == 2 * 7 * 8 * 9 * sizeof(float));
    CHECK(policy.books().peak_bytes() == 0);
}

TEST_CASE("cost of mttkrp: one GEMM of 2 R prod(I) flops, memory for the two partial products and what the GEMM leaves") {
    const counted_policy policy{};
    const moden::extents shape{6, 9, 5, 8};
    const double rank = 11;
    const auto tensor = to_policy(policy, random_tensor<float, 4>(shape, 9));
    std::vector<moden::tensor<float, 2>> matrices;
    for (const std::size_t extent : shape) {
        matrices.push_back(matrix(extent, 11));
    }
    const auto factors = to_policy(policy, matrices);
    for (std::size_t mode = 0; mode < 4; ++mode) {
        policy.books().reset();
        moden::mttkrp(policy, tensor, factors, mode);
        const moden::mode_geometry geometry = moden::geometry_of(shape, mode);
        const double before = static_cast<double>(geometry.slabs);
        const double after = static_cast<double>(geometry.columns);
        const double kept = mode == 0 || mode == 3 ? 0 : static_cast<double>(geometry.extent) * std::min(before, after);
        CAPTURE(mode);
        CHECK(policy.books()[primitive::gemm].calls == 1);
        CHECK(policy.books().flops() == 2 * rank * size_of(shape));
        CHECK(moved_bytes(policy.books()) == 0);
        const double elements = static_cast<double>(policy.books().peak_bytes()) / sizeof(float);
        CHECK(elements <= rank * (before + after + std::max(kept, std::max(before, after) / 2)));
        CHECK(elements >= rank * (before + after + kept));
    }
}

TEST_CASE("cost of randomized_range and randomized_svd: (2 + 4 q) and (4 + 4 q) m n l flops of products") {
    const counted_policy policy{};
    const double m = 90;
    const double n = 70;
    const auto a = to_policy(policy, matrix(90, 70));
    for (const std::size_t power : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
        const moden::randomized_options options{.rank = 6, .oversampling = 4, .power_iterations = power};
        const double l = 10;
        const double q = static_cast<double>(power);
        CAPTURE(power);
        policy.books().reset();
        moden::randomized_range(policy, a, options);
        CHECK(policy.books().product_flops() == (2 + 4 * q) * m * n * l);
        CHECK(static_cast<double>(policy.books().peak_bytes()) == (2 * m * l + n * l) * sizeof(float));
        policy.books().reset();
        moden::randomized_svd(policy, a, options);
        CHECK(policy.books().product_flops() == (4 + 4 * q) * m * n * l + 2 * m * l * 6);
        CHECK(static_cast<double>(policy.books().peak_bytes()) <= 3 * (m * l + n * l) * sizeof(float));
    }
}

TEST_CASE("cost of block_krylov_svd per iteration") {
    const counted_policy policy{};
    const auto a = to_policy(policy, matrix(80, 60));
    const double m = 80;
    const double n = 60;
    const double k = 3;
    const double b = 5;
    const auto flops_of = [&](std::size_t iterations) {
        policy.books().reset();
        const auto result = moden::block_krylov_svd(policy, a, {.rank = 3, .block = 5, .tolerance = 0, .max_iterations = iterations});
        REQUIRE(result.iterations == iterations);
        CHECK(static_cast<double>(policy.books().peak_bytes()) <= (5 * (m + n) * b * static_cast<double>(iterations)) * sizeof(float));
        return policy.books().product_flops();
    };
    for (const std::size_t iteration : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
        const double i = static_cast<double>(iteration);
        // Products with A alone; orthogonalising and assembling u take products without it.
        const double without_matrix = 8 * m * b * (i - 1) * b + 2 * m * b * i * k;
        CAPTURE(iteration);
        CHECK(flops_of(iteration) - flops_of(iteration - 1) == (4 * b + 2 * k) * m * n + without_matrix);
    }
}

TEST_CASE("memory of the dense factorizations: copies of the argument and nothing square that need not be") {
    const counted_policy policy{};
    const auto tall = to_policy(policy, matrix(90, 20));
    policy.books().reset();
    moden::thin_svd(policy, tall);
    CHECK(policy.books().peak_bytes() == (90 * 20 + 20) * sizeof(float));
    CHECK(policy.books().tensor_bytes() == (90 * 20 + 20 * 20) * sizeof(float));
    policy.books().reset();
    moden::qr(policy, tall);
    CHECK(policy.books().peak_bytes() == 0);

    auto symmetric = moden::tensor<float, 2>::from_shape({30, 30});
    for (std::size_t i = 0; i < 30; ++i) {
        for (std::size_t j = 0; j < 30; ++j) {
            symmetric(i, j) = i == j ? 2.0f : 1.0f / static_cast<float>(1 + i + j + 30);
        }
    }
    const auto square = to_policy(policy, symmetric);
    policy.books().reset();
    moden::eigh(policy, square, {.count = 4});
    CHECK(policy.books().peak_bytes() == (30 * 30 + 30 + 30 * 4) * sizeof(float));
    const auto right = to_policy(policy, matrix(30, 7));
    policy.books().reset();
    moden::cholesky_solve(policy, square, right);
    CHECK(policy.books().peak_bytes() == 30 * 30 * sizeof(float));
    const auto targets = to_policy(policy, matrix(90, 7));
    policy.books().reset();
    moden::ridge_solve(policy, tall, targets, {.ridge = 1});
    CHECK(policy.books().peak_bytes() == 2 * 20 * 20 * sizeof(float));
    // m n (n + 1) for A'A, 2 m n k for A'B; the doc comment names the leading terms.
    CHECK(policy.books().gram_flops() == 90.0 * 20 * 21);
    CHECK(policy.books().product_flops() == 2.0 * 90 * 20 * 7);
}
