// thin_svd, eigh, qr, cholesky_solve and ridge_solve on every policy.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include <moden/linalg/decompositions.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "tucker_checks.hpp"

using namespace moden_test;

namespace {

constexpr double accepted = 30;  // LAPACK's own tests accept ratios to eps of that size

std::vector<double> falling(std::size_t count, double ratio) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        values[i] = std::pow(ratio, static_cast<double>(i));
    }
    return values;
}

template <class T>
moden::tensor<T, 2> positive_definite(std::size_t n, double ratio, std::uint64_t seed) {
    const array q = orthonormalized(random_matrix(n, n, seed));
    return to_tensor<T, 2>(matmul(scale_columns(q, falling(n, ratio)), transpose(q)));
}

}  // namespace

TEST_CASE_TEMPLATE("thin_svd: factors, values of Jacobi's method, signs", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const std::size_t shapes[][2] = {{1, 1}, {20, 1}, {1, 20}, {30, 12}, {11, 40}, {16, 16}};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const auto host = random_tensor<T, 2>({rows, columns}, 1);
        const array a = to_array(host);
        const auto result = moden::thin_svd(policy, to_policy(policy, host));
        const auto reference = jacobi_svd(a);
        CAPTURE(rows);
        CAPTURE(columns);
        const array u = to_array(policy, result.u);
        const array vt = to_array(policy, result.vt);
        const std::size_t k = std::min(rows, columns);
        REQUIRE(u.shape == moden::extents{rows, k});
        REQUIRE(vt.shape == moden::extents{k, columns});
        const double bound = accepted * Cell::eps * reference.values.front();
        check_within(to_array(result.singular_values), to_array(reference.values), bound);
        CHECK(orthogonality(u) <= accepted * Cell::eps);
        CHECK(orthogonality(transpose(vt)) <= accepted * Cell::eps);
        const std::vector<double> values(result.singular_values.begin(), result.singular_values.end());
        CHECK(frobenius(difference(matmul(scale_columns(u, values), vt), a)) <= bound * static_cast<double>(std::max(rows, columns)));
        check_signs<T>(u);
    }
}

TEST_CASE_TEMPLATE("eigh: all vectors, some, none", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const std::size_t n : {std::size_t{1}, std::size_t{6}, std::size_t{45}}) {
        const array half = random_matrix(n, n, 2);
        array a({n, n});
        for (std::size_t i = 0; i < a.data.size(); ++i) {
            a.data[i] = half.data[i] + transpose(half).data[i];
        }
        const auto host = to_tensor<T, 2>(a);
        // Of a symmetric matrix the singular values are the magnitudes of the eigenvalues.
        const auto magnitudes_of_values = jacobi_svd(to_array(host)).values;
        const double scale = magnitudes_of_values.front();
        for (const std::size_t count : {std::size_t{0}, std::size_t{1}, n / 5, n, n + 10}) {
            const auto result = moden::eigh(policy, to_policy(policy, host), {.count = count});
            CAPTURE(n);
            CAPTURE(count);
            const array v = to_array(policy, result.vectors);
            REQUIRE(v.shape == moden::extents{n, std::min(n, count)});
            REQUIRE(result.values.size() == n);
            std::vector<double> values(result.values.begin(), result.values.end());
            CHECK(std::is_sorted(values.begin(), values.end(), std::greater<>()));
            CHECK(orthogonality(v) <= accepted * Cell::eps);
            const std::vector<double> leading(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(v.columns()));
            CHECK(frobenius(difference(matmul(to_array(host), v), scale_columns(v, leading))) <=
                  accepted * Cell::eps * static_cast<double>(n) * scale);
            check_signs<T>(v);
            std::sort(values.begin(), values.end(), [](double x, double y) { return std::abs(x) > std::abs(y); });
            check_within(magnitude(to_array(values)), to_array(magnitudes_of_values), accepted * Cell::eps * scale);
        }
    }
}

TEST_CASE_TEMPLATE("qr: Q, R, no negative entry on the diagonal", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const std::size_t shapes[][2] = {{1, 1}, {9, 1}, {8, 8}, {50, 13}};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const auto host = random_tensor<T, 2>({rows, columns}, 3);
        const auto result = moden::qr(policy, to_policy(policy, host));
        const array q = to_array(policy, result.q);
        const array r = to_array(policy, result.r);
        const array a = to_array(host);
        CAPTURE(rows);
        CAPTURE(columns);
        REQUIRE(q.shape == a.shape);
        REQUIRE(r.shape == moden::extents{columns, columns});
        CHECK(orthogonality(q) <= accepted * Cell::eps);
        CHECK(frobenius(difference(matmul(q, r), a)) <= accepted * Cell::eps * static_cast<double>(rows) * frobenius(a));
        for (std::size_t i = 0; i < columns; ++i) {
            CHECK(r(i, i) >= 0);
            for (std::size_t j = 0; j < i; ++j) {
                CHECK(r(i, j) == 0);
            }
        }
    }
}

TEST_CASE_TEMPLATE("cholesky_solve: residuals, and an error where there is no solution", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const std::size_t n : {std::size_t{1}, std::size_t{7}, std::size_t{40}}) {
        const auto a = positive_definite<T>(n, 0.95, 4);
        const auto b = random_tensor<T, 2>({n, 3}, 5);
        const array x = to_array(policy, moden::cholesky_solve(policy, to_policy(policy, a), to_policy(policy, b)));
        const double size = static_cast<double>(n);
        CAPTURE(n);
        CHECK(frobenius(difference(matmul(to_array(a), x), to_array(b))) <= (3 * size + 1) * size * Cell::eps * frobenius(x));
    }
    auto indefinite = positive_definite<T>(5, 0.9, 6);
    indefinite(4, 4) = T(-1);
    const auto right = to_policy(policy, random_tensor<T, 2>({5, 1}, 7));
    CHECK_THROWS_AS(moden::cholesky_solve(policy, to_policy(policy, indefinite), right), moden::solver_error);
}

TEST_CASE_TEMPLATE("ridge_solve: the normal equations hold, with and without a ridge, for deficient matrices too", Cell,
                   MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto right = random_tensor<T, 2>({60, 4}, 8);
    const array b = to_array(right);
    const auto full = random_tensor<T, 2>({60, 9}, 9);
    auto deficient = full;
    for (std::size_t i = 0; i < 60; ++i) {
        deficient(i, 8) = deficient(i, 0);
    }
    for (const double ridge : {0.0, 0.5, 100.0}) {
        for (const auto& host : {full, deficient}) {
            const array a = to_array(host);
            const array x = to_array(policy, moden::ridge_solve(policy, to_policy(policy, host), to_policy(policy, right), {.ridge = ridge}));
            array gram = matmul(transpose(a), a);
            for (std::size_t i = 0; i < 9; ++i) {
                gram(i, i) += ridge;
            }
            // Forming A'A and A'B (60 terms each) and solving (9 x 9): relative to |A'A| |X| and |A'| |B|.
            const double scale = frobenius(gram) * frobenius(x) + frobenius(a) * frobenius(b);
            CAPTURE(ridge);
            CHECK(frobenius(difference(matmul(gram, x), matmul(transpose(a), b))) <= 100 * Cell::eps * scale);
            CHECK(frobenius(x) < 10);
        }
    }
}
