// randomized_range, randomized_svd and block_krylov_svd on every policy.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/linalg/low_rank.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "tucker_checks.hpp"

using namespace moden_test;

namespace {

/// Singular values 1, 0.6, 0.36, ...
array decaying_matrix(std::size_t rows, std::size_t columns, std::size_t rank, std::uint64_t seed) {
    std::vector<double> values(rank);
    for (std::size_t i = 0; i < rank; ++i) {
        values[i] = std::pow(0.6, static_cast<double>(i));
    }
    return matmul(scale_columns(orthonormalized(random_matrix(rows, rank, seed)), values),
                  transpose(orthonormalized(random_matrix(columns, rank, seed + 1))));
}

const std::size_t shapes[][2] = {{70, 40}, {40, 90}, {25, 25}};

}  // namespace

TEST_CASE_TEMPLATE("randomized_range: orthonormal, nearly the best range, the same on every policy", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const auto host = to_tensor<T, 2>(decaying_matrix(rows, columns, 25, 1));
        const array a = to_array(host);
        for (const std::size_t power : {std::size_t{0}, std::size_t{2}}) {
            const moden::randomized_options options{.rank = 6, .oversampling = 5, .power_iterations = power, .seed = 11};
            const array q = to_array(policy, moden::randomized_range(policy, to_policy(policy, host), options));
            CAPTURE(rows);
            CAPTURE(power);
            REQUIRE(q.shape == moden::extents{rows, 11});
            CHECK(orthogonality(q) <= 30 * Cell::eps);
            const array missed = difference(a, matmul(q, matmul(transpose(q), a)));
            const double best = std::pow(0.6, 11) / std::sqrt(1 - 0.36);  // what 11 columns leave behind at least
            CHECK(frobenius(missed) >= best * (1 - 1e-3));
            CHECK(frobenius(missed) <= best * (power == 0 ? 8 : 1.5));
            // Same seed, same numbers to a few ulp, hence the same range as on the CPU; the last directions carry 0.6^10.
            const array other = to_array(moden::randomized_range(host, options));
            const array difference_of_ranges = difference(matmul(q, matmul(transpose(q), a)), matmul(other, matmul(transpose(other), a)));
            CHECK(frobenius(difference_of_ranges) <= 300 * Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("randomized_range: a matrix of exactly that rank is reproduced", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(decaying_matrix(50, 60, 5, 3));
    const array a = to_array(host);
    const array q = to_array(policy, moden::randomized_range(policy, to_policy(policy, host), {.rank = 5, .oversampling = 3, .power_iterations = 0}));
    CHECK(frobenius(difference(a, matmul(q, matmul(transpose(q), a)))) <= 60 * Cell::eps);
}

TEST_CASE_TEMPLATE("randomized_svd: leading triplets", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const auto host = to_tensor<T, 2>(decaying_matrix(rows, columns, 20, 4));
        const array a = to_array(host);
        const auto result = moden::randomized_svd(policy, to_policy(policy, host), {.rank = 4, .oversampling = 8, .seed = 5});
        const array u = to_array(policy, result.u);
        const array vt = to_array(policy, result.vt);
        CAPTURE(rows);
        REQUIRE(u.shape == moden::extents{rows, 4});
        REQUIRE(vt.shape == moden::extents{4, columns});
        CHECK(orthogonality(u) <= 30 * Cell::eps);
        CHECK(orthogonality(transpose(vt)) <= 30 * Cell::eps);
        check_signs<T>(u);
        // Two power iterations leave the vectors an error of about (0.6^12 / 0.6^3)^(2 q + 1), the values its square.
        const double left_over = 10 * std::pow(0.6, 45);
        const auto exact = jacobi_svd(a);
        check_within(to_array(result.singular_values), to_array(std::vector<double>(exact.values.begin(), exact.values.begin() + 4)), 30 * Cell::eps);
        const std::vector<double> values(result.singular_values.begin(), result.singular_values.end());
        CHECK(frobenius(difference(matmul(a, transpose(vt)), scale_columns(u, values))) <= 60 * Cell::eps + left_over);
        const double gap = 0.216 - 0.1296;
        CHECK(frobenius(difference(projector(u), projector(first_columns(exact.u, 4)))) <= (60 * Cell::eps + left_over) / gap);
    }
}

TEST_CASE_TEMPLATE("block_krylov_svd: converges, and its residuals are what it says", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const auto host = to_tensor<T, 2>(decaying_matrix(rows, columns, 25, 6));
        const array a = to_array(host);
        const double tolerance = 100 * Cell::eps;
        const auto result = moden::block_krylov_svd(policy, to_policy(policy, host), {.rank = 3, .block = 4, .tolerance = tolerance, .seed = 7});
        CAPTURE(rows);
        CHECK(result.status == moden::iteration_status::converged);
        const array u = to_array(policy, result.u);
        const array vt = to_array(policy, result.vt);
        CHECK(orthogonality(u) <= 30 * Cell::eps);
        CHECK(orthogonality(transpose(vt)) <= 30 * Cell::eps);
        check_signs<T>(u);
        const auto exact = jacobi_svd(a);
        check_within(to_array(result.singular_values), to_array(std::vector<double>(exact.values.begin(), exact.values.begin() + 3)), 30 * Cell::eps);
        const array product = matmul(a, transpose(vt));
        REQUIRE(result.residuals.size() == 3);
        for (std::size_t j = 0; j < 3; ++j) {
            double square = 0;
            for (std::size_t i = 0; i < rows; ++i) {
                const double x = product(i, j) - static_cast<double>(result.singular_values[j]) * u(i, j);
                square += x * x;
            }
            CHECK(result.residuals[j] <= tolerance);
            CHECK(std::abs(result.residuals[j] - std::sqrt(square)) <= 30 * Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("block_krylov_svd: stops at its limit and says so", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = random_tensor<T, 2>({60, 50}, 8);  // a flat spectrum
    const auto result = moden::block_krylov_svd(policy, to_policy(policy, host), {.rank = 4, .tolerance = 0, .max_iterations = 3});
    CHECK(result.status == moden::iteration_status::reached_max_iterations);
    CHECK(result.iterations == 3);
    CHECK(*std::max_element(result.residuals.begin(), result.residuals.end()) > 1e-4);
}
