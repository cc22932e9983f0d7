// Factorizations of every policy, by LAPACK's ratios and against matrices of known spectrum.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <vector>

#include "policies.hpp"
#include "reference.hpp"
#include "stored_matrix.hpp"

using namespace moden_test;

namespace {

template <class T>
std::vector<double> doubles(const std::vector<T>& values) {
    return {values.begin(), values.end()};
}

/// What LAPACK's own tests accept, times eps.
constexpr double accepted = 30;

/// U diag(values) V' with orthonormal U and V: known singular values.
array with_spectrum(std::size_t rows, std::size_t columns, const std::vector<double>& values, std::uint64_t seed) {
    const array u = orthonormalized(random_matrix(rows, values.size(), seed));
    const array v = orthonormalized(random_matrix(columns, values.size(), seed + 1));
    return matmul(scale_columns(u, values), transpose(v));
}

array symmetric_with_spectrum(const std::vector<double>& values, std::uint64_t seed) {
    const array q = orthonormalized(random_matrix(values.size(), values.size(), seed));
    return matmul(scale_columns(q, values), transpose(q));
}

/// What a matrix becomes when it is stored as T.
template <class T>
array rounded(array a) {
    for (double& x : a.data) {
        x = static_cast<double>(static_cast<T>(x));
    }
    return a;
}

std::vector<double> geometric(std::size_t count, double ratio) {
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) {
        values[i] = std::pow(ratio, static_cast<double>(i));
    }
    return values;
}

bool is_descending(const std::vector<double>& values) { return std::is_sorted(values.begin(), values.end(), std::greater<>()); }

}  // namespace

TEST_CASE_TEMPLATE("eigh: all values and the leading vectors", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    struct spectrum_case {
        const char* name;
        std::vector<double> values;  // descending
    };
    std::vector<double> indefinite = geometric(41, 0.8);
    for (std::size_t i = 20; i < 41; ++i) {
        indefinite[i] = -geometric(41, 0.8)[60 - i];
    }
    std::vector<double> repeated(24, 1.0);
    std::fill(repeated.begin() + 9, repeated.end(), 0.25);
    const spectrum_case cases[] = {{"one", {3.0}},
                                   {"two", {2.0, -1.0}},
                                   {"geometric", geometric(6, 0.5)},
                                   {"indefinite", indefinite},
                                   {"repeated", repeated},
                                   {"zero", std::vector<double>(17, 0.0)},
                                   {"long", geometric(130, 0.95)}};
    for (const auto& one : cases) {
        const char* const name = one.name;
        const std::vector<double>& values = one.values;
        const std::size_t n = values.size();
        const array a = rounded<T>(symmetric_with_spectrum(values, 20));
        const double scale = std::max(std::abs(values.front()), std::abs(values.back()));
        for (const std::size_t count : {std::size_t{0}, std::size_t{1}, n / 8, n / 3, n}) {
            for (int combination = 0; combination < 4; ++combination) {
                const std::size_t padding = (combination & 2) != 0 ? 3 : 0;
                const stored<Policy, T> matrix(policy, {n, n, both_orders[combination & 1], padding}, a);
                const placed<Policy, T> found(policy, std::vector<T>(n, std::numeric_limits<T>::quiet_NaN()));
                const stored<Policy, T> vectors(policy, {n, count, storage_order::column_major, padding});
                policy.template eigh<T>(matrix.view(), found.data(), vectors.view());
                CAPTURE(name);
                CAPTURE(count);
                CAPTURE(combination);
                const std::vector<double> got = doubles(found.back());
                CHECK(is_descending(got));
                check_within(to_array(got), to_array(values), accepted * Cell::eps * scale * std::sqrt(static_cast<double>(n)));
                const array v = vectors.back();
                CHECK(orthogonality(v) <= accepted * Cell::eps);
                const std::vector<double> leading(got.begin(), got.begin() + static_cast<std::ptrdiff_t>(count));
                const double residual = frobenius(difference(matmul(a, v), scale_columns(v, leading)));
                CHECK(residual <= accepted * Cell::eps * static_cast<double>(n) * scale);
            }
        }
    }
}

TEST_CASE_TEMPLATE("svd: tall, square and wide, both storage orders, known singular values", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{1, 1}, {7, 1}, {1, 6}, {5, 5}, {30, 7}, {8, 29}, {200, 12}, {9, 150}, {64, 64}};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const std::size_t k = std::min(rows, columns);
        std::vector<double> repeated(k, 2.0);
        std::fill(repeated.begin() + static_cast<std::ptrdiff_t>(k / 2), repeated.end(), 0.5);
        std::vector<double> deficient = geometric(k, 0.7);
        std::fill(deficient.begin() + static_cast<std::ptrdiff_t>((k + 1) / 2), deficient.end(), 0.0);
        for (const std::vector<double>& values : {geometric(k, 0.75), repeated, deficient}) {
            const array a = rounded<T>(with_spectrum(rows, columns, values, 21));
            for (int combination = 0; combination < 4; ++combination) {
                const storage_order order = both_orders[combination & 1];
                const std::size_t padding = (combination & 2) != 0 ? 2 : 0;
                const stored<Policy, T> matrix(policy, {rows, columns, order, padding}, a);
                const placed<Policy, T> found(policy, std::vector<T>(k, std::numeric_limits<T>::quiet_NaN()));
                const stored<Policy, T> left(policy, {rows, k, order, padding});
                const stored<Policy, T> right(policy, {k, columns, order, padding});
                policy.template svd<T>(matrix.view(), found.data(), left.view(), right.view());
                CAPTURE(rows);
                CAPTURE(columns);
                CAPTURE(combination);
                const std::vector<double> got = doubles(found.back());
                const double bound = accepted * Cell::eps * values.front();
                CHECK(is_descending(got));
                CHECK(got.back() >= 0);
                check_within(to_array(got), to_array(values), bound);
                const array u = left.back();
                const array vt = right.back();
                CHECK(orthogonality(u) <= accepted * Cell::eps);
                CHECK(orthogonality(transpose(vt)) <= accepted * Cell::eps);
                const double residual = frobenius(difference(matmul(scale_columns(u, got), vt), a));
                CHECK(residual <= bound * static_cast<double>(std::max(rows, columns)));
            }
        }
    }
}

TEST_CASE_TEMPLATE("qr: both storage orders, with R, without it, R alone", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{1, 1}, {9, 1}, {6, 6}, {40, 7}, {300, 20}, {90, 70}};
    for (const auto& extents : shapes) {
        const std::size_t rows = extents[0];
        const std::size_t columns = extents[1];
        const array a = random_matrix(rows, columns, 22);
        const double scale = frobenius(a);
        for (int combination = 0; combination < 4; ++combination) {
            const storage_order order = both_orders[combination & 1];
            const std::size_t padding = (combination & 2) != 0 ? 3 : 0;
            const layout tall{rows, columns, order, padding};
            const layout square{columns, columns, order, padding};
            CAPTURE(rows);
            CAPTURE(columns);
            CAPTURE(combination);
            const double size = static_cast<double>(rows);

            const stored<Policy, T> q(policy, tall, a);
            const stored<Policy, T> r(policy, square);
            policy.template qr<T>(q.view(), r.view());
            const array basis = q.back();
            const array triangle = r.back();
            CHECK(orthogonality(basis) <= accepted * Cell::eps);
            CHECK(frobenius(difference(matmul(basis, triangle), a)) <= accepted * Cell::eps * size * scale);
            std::size_t below = 0;
            for (std::size_t i = 0; i < columns; ++i) {
                for (std::size_t j = 0; j < i; ++j) {
                    below += triangle(i, j) != 0;
                }
            }
            CHECK(below == 0);

            const stored<Policy, T> q_alone(policy, tall, a);
            policy.template qr<T>(q_alone.view(), {});
            const array without_r = q_alone.back();
            CHECK(orthogonality(without_r) <= accepted * Cell::eps);
            // The same columns space, and the same signs, as before.
            CHECK(frobenius(difference(without_r, basis)) <= accepted * Cell::eps * size);

            const stored<Policy, T> destroyed(policy, tall, a);
            const stored<Policy, T> r_alone(policy, square);
            policy.template qr<T>(destroyed.view(), r_alone.view(), moden::qr_output::r_only);
            destroyed.back();  // gaps must survive
            CHECK(frobenius(difference(r_alone.back(), triangle)) <= accepted * Cell::eps * scale);
        }
    }
}

TEST_CASE_TEMPLATE("qr: a matrix of deficient rank still gives an orthonormal basis", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array a = rounded<T>(with_spectrum(50, 8, {1, 0.5, 0.25}, 23));
    for (const storage_order order : both_orders) {
        const stored<Policy, T> q(policy, {50, 8, order}, a);
        const stored<Policy, T> r(policy, {8, 8, order});
        policy.template qr<T>(q.view(), r.view());
        CHECK(orthogonality(q.back()) <= accepted * Cell::eps);
        CHECK(frobenius(difference(matmul(q.back(), r.back()), a)) <= accepted * Cell::eps * 50);
    }
}

TEST_CASE_TEMPLATE("cholesky_solve: right sides of both storage orders", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{1, 1}, {5, 2}, {6, 40}, {60, 7}};
    for (const auto& extents : shapes) {
        const std::size_t n = extents[0];
        const std::size_t others = extents[1];
        const array a = rounded<T>(symmetric_with_spectrum(geometric(n, 0.97), 24));
        const array b = random_matrix(n, others, 25);
        for (int combination = 0; combination < 8; ++combination) {
            const std::size_t padding = (combination & 4) != 0 ? 2 : 0;
            const stored<Policy, T> matrix(policy, {n, n, both_orders[combination & 1], padding}, a);
            const stored<Policy, T> right(policy, {n, others, both_orders[combination >> 1 & 1], padding}, b);
            const moden::definiteness found = policy.template cholesky_solve<T>(matrix.view(), right.view());
            CAPTURE(n);
            CAPTURE(others);
            CAPTURE(combination);
            CHECK(found == moden::definiteness::positive_definite);
            const array x = right.back();
            // (A + E) x = b with |E| <= (3 n + 1) eps |R'||R| (Higham 2002, Thm. 10.4), and |R'||R| <= n |A|.
            const double size = static_cast<double>(n);
            CHECK(frobenius(difference(matmul(a, x), b)) <= (3 * size + 1) * Cell::eps * size * frobenius(x));
        }
    }
}

TEST_CASE_TEMPLATE("cholesky_solve: a matrix that is not positive definite leaves the right side as it was", Cell,
                   MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const std::size_t n : {std::size_t{1}, std::size_t{4}, std::size_t{70}}) {
        std::vector<double> values = geometric(n, 0.9);
        values.back() = -0.5;
        const array a = symmetric_with_spectrum(values, 26);
        for (const storage_order order : both_orders) {
            const stored<Policy, T> matrix(policy, {n, n}, a);
            const stored<Policy, T> right(policy, {n, 3, order, 1}, random_matrix(n, 3, 27));
            CAPTURE(n);
            CHECK(policy.template cholesky_solve<T>(matrix.view(), right.view()) == moden::definiteness::not_positive_definite);
            CHECK(right.untouched());
        }
    }
    const stored<Policy, T> zero(policy, {3, 3}, array({3, 3}));
    const stored<Policy, T> right(policy, {3, 2}, random_matrix(3, 2, 28));
    CHECK(policy.template cholesky_solve<T>(zero.view(), right.view()) == moden::definiteness::not_positive_definite);
    CHECK(right.untouched());
}
