// Thin SVD and the symmetric eigenproblem on matrices whose spectrum is known.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/decompositions.hpp>

#include "reference.hpp"

using moden::tensor;
using reference::known_svd;
using reference::lapack_bound;
using reference::widened;

namespace {

struct svd_case {
    std::string reason;
    std::size_t rows;
    std::size_t columns;
    std::vector<double> spectrum;  ///< the rest is zero
};

template <class T>
std::vector<svd_case> svd_cases() {
    const double ratio = std::is_same_v<T, float> ? std::sqrt(0.1) : 0.1;  // thirteen values from 1 to 1e-6 or 1e-12
    return {{"1 x 1", 1, 1, {2}},
            {"one row", 1, 9, {3}},
            {"one column", 9, 1, {3}},
            {"square", 20, 20, reference::geometric(5, 0.9, 20)},
            {"tall", 200, 7, {7, 6, 5, 4, 3, 2, 1}},
            {"wide", 15, 120, reference::geometric(1, 0.8, 15)},
            {"graded", 40, 13, reference::geometric(1, ratio, 13)},
            {"graded, large", 13, 40, reference::geometric(1e12, ratio, 13)},
            {"duplicated", 30, 25, {5, 5, 2, 2, 2, 1}},
            {"all equal", 12, 12, std::vector<double>(12, 3.0)},
            {"rank deficient", 50, 30, {4, 3, 2, 1}},
            {"zero", 8, 5, {}}};
}

/// V diag(values) V', rounded to T and exactly symmetric.
template <class T>
tensor<T, 2> symmetric_matrix(const reference::wide_matrix& v, const std::vector<double>& values) {
    auto result = known_svd{v, values, v}.matrix<T>();
    for (std::size_t i = 0; i < values.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            result(i, j) = result(j, i);
        }
    }
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("thin_svd rebuilds the matrix from orthonormal factors and the right values", T, float, double) {
    for (const auto& one : svd_cases<T>()) {
        const auto& reason = one.reason;
        const auto rows = one.rows;
        const auto columns = one.columns;
        const auto& spectrum = one.spectrum;
        CAPTURE(reason);
        const known_svd known = reference::with_spectrum(rows, columns, spectrum, 5);
        const auto a = known.matrix<T>();
        const auto before = a;
        const auto [u, values, vt] = moden::thin_svd(a);
        const std::size_t k = std::min(rows, columns);
        REQUIRE(reference::shape_of(u) == moden::extents{rows, k});
        REQUIRE(reference::shape_of(vt) == moden::extents{k, columns});
        REQUIRE(values.size() == k);
        CHECK(std::is_sorted(values.rbegin(), values.rend()));
        CHECK(reference::residual_ratio(a, reference::rebuilt(u, values, vt)) <= lapack_bound);
        CHECK(reference::orthogonality_ratio(u) <= lapack_bound);
        CHECK(reference::orthogonality_ratio(reference::narrowed<T>(reference::transpose(widened(vt)))) <=
              lapack_bound);
        if (spectrum.empty()) {
            CHECK(values == std::vector<T>(k, T(0)));
        } else {
            CHECK(reference::value_ratio(values, known.values, spectrum[0]) <= lapack_bound);
        }
        CHECK(reference::obeys_sign_rule(u));
        CHECK(reference::identical(a, before));
    }
}

TEST_CASE_TEMPLATE("singular vectors of separate values, and subspaces of repeated ones", T, float, double) {
    const known_svd known = reference::with_spectrum(30, 25, {5, 5, 2, 2, 2, 1}, 5);
    const auto svd = moden::thin_svd(known.matrix<T>());
    // Wedin's theorem: subspaces turn by at most the perturbation over the gap to the other values.
    const double perturbation = lapack_bound * reference::epsilon<T> * 5;
    const auto v = reference::transpose(widened(svd.vt));
    const auto check_group = [&](std::size_t first, std::size_t count, double gap) {
        CAPTURE(first);
        CHECK(reference::projector_distance(reference::columns_of(svd.u, first, count),
                                            reference::columns_of(known.u, first, count)) <= perturbation / gap);
        CHECK(reference::projector_distance(reference::columns_of(v, first, count),
                                            reference::columns_of(known.v, first, count)) <= perturbation / gap);
    };
    check_group(0, 2, 3);
    check_group(2, 3, 1);
    check_group(5, 1, 1);
}

TEST_CASE_TEMPLATE("left and right vectors change sign together", T, float, double) {
    const known_svd known = reference::with_spectrum(10, 8, {4, 3, 2, 1}, 3);
    auto a = known.matrix<T>();
    const auto plus = moden::thin_svd(a);
    const auto minus = moden::thin_svd(tensor<T, 2>(-a));
    // -A has the same left vectors under the sign rule; the sign goes to the right ones.
    const double perturbation = lapack_bound * reference::epsilon<T> * 4;
    CHECK(reference::distance(reference::columns_of(plus.u, 0, 4), reference::columns_of(minus.u, 0, 4)) <=
          perturbation);
    CHECK(reference::distance(reference::columns_of(reference::transpose(widened(plus.vt)), 0, 4),
                              -reference::columns_of(reference::transpose(widened(minus.vt)), 0, 4)) <= perturbation);
}

TEST_CASE_TEMPLATE("eigh with few and with all vectors", T, float, double) {
    struct eigen_case {
        std::string reason;
        std::vector<double> values;
    };
    std::vector<double> mixed(60);
    for (std::size_t i = 0; i < mixed.size(); ++i) {
        mixed[i] = 10 - 0.4 * static_cast<double>(i);  // from 10 down to -13.6
    }
    std::vector<double> repeated(40, 1.0);
    std::fill(repeated.begin(), repeated.begin() + 6, 4.0);
    for (const auto& one : {eigen_case{"1 x 1", {-2}},
                            {"2 x 2", {3, -1}},
                            {"positive and negative", mixed},
                            {"repeated", repeated},
                            {"graded", reference::geometric(1, 0.5, 50)},
                            {"zero", std::vector<double>(20, 0.0)},
                            {"multiple of the identity", std::vector<double>(30, 2.5)}}) {
        const auto& reason = one.reason;
        const auto& expected = one.values;
        CAPTURE(reason);
        const std::size_t n = expected.size();
        const auto v = reference::orthonormal_columns(n, n, 9);
        const auto a = symmetric_matrix<T>(v, expected);
        const double size = std::max(std::abs(expected.front()), std::abs(expected.back()));
        // Fewer than a quarter of the vectors are computed by another routine than all of them.
        for (const std::size_t count : {std::size_t{0}, std::size_t{1}, n / 5, n / 4, n / 2, n, n + 7}) {
            CAPTURE(count);
            const auto [values, vectors] = moden::eigh(a, {.count = count});
            const std::size_t k = std::min(count, n);
            REQUIRE(values.size() == n);
            REQUIRE(reference::shape_of(vectors) == moden::extents{n, k});
            CHECK(std::is_sorted(values.rbegin(), values.rend()));
            if (size > 0) {
                CHECK(reference::value_ratio(values, expected, size) <= lapack_bound);
            } else {
                CHECK(values == std::vector<T>(n, T(0)));
            }
            if (k == 0) {
                continue;
            }
            CHECK(reference::orthogonality_ratio(vectors) <= lapack_bound);
            CHECK(reference::obeys_sign_rule(vectors));
            auto scaled = widened(vectors);  // V diag(values)
            for (std::size_t i = 0; i < n; ++i) {
                for (std::size_t j = 0; j < k; ++j) {
                    scaled(i, j) *= static_cast<reference::wide>(values[j]);
                }
            }
            const double residual = reference::distance(reference::multiply(widened(a), widened(vectors)), scaled);
            CHECK(residual <=
                  lapack_bound * static_cast<double>(n) * reference::epsilon<T> * reference::frobenius(widened(a)));
        }
    }
}

// Tridiagonal already, so that every machine sees the same one. LAPACK's stemr gives up on some of them in float (info 11).
TEST_CASE_TEMPLATE("eigh of what rounding makes of a multiple of the identity", T, float, double) {
    constexpr std::size_t n = 20;
    for (const double noise : {1e-6, 3e-7, 1e-15}) {
        for (std::uint64_t seed = 0; seed < 50; ++seed) {
            CAPTURE(noise);
            CAPTURE(seed);
            const auto random = reference::normal_matrix<double>(2, n, seed);
            auto a = tensor<T, 2>::from_shape({n, n});
            a.fill(T(0));
            for (std::size_t i = 0; i < n; ++i) {
                a(i, i) = static_cast<T>(2.5 * (1 + noise * random(0, i)));
                if (i > 0) {
                    a(i, i - 1) = a(i - 1, i) = static_cast<T>(0.75 * noise * random(1, i));
                }
            }
            const auto [values, vectors] = moden::eigh(a, {.count = 4});
            CHECK(reference::orthogonality_ratio(vectors) <= lapack_bound);
            auto scaled = widened(vectors);
            for (std::size_t i = 0; i < n; ++i) {
                for (std::size_t j = 0; j < 4; ++j) {
                    scaled(i, j) *= static_cast<reference::wide>(values[j]);
                }
            }
            CHECK(reference::distance(reference::multiply(widened(a), widened(vectors)), scaled) <=
                  lapack_bound * n * reference::epsilon<T> * reference::frobenius(widened(a)));
        }
    }
}

TEST_CASE_TEMPLATE("eigh: few vectors are the first of all vectors", T, float, double) {
    std::vector<double> expected(40);
    for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] = 40 - static_cast<double>(i);
    }
    const auto a = symmetric_matrix<T>(reference::orthonormal_columns(40, 40, 2), expected);
    const auto few = moden::eigh(a, {.count = 5});
    const auto all = moden::eigh(a);
    REQUIRE(all.vectors.shape()[1] == 40);
    // Neighbouring values are 1 apart.
    CHECK(reference::distance(widened(few.vectors), reference::columns_of(all.vectors, 0, 5)) <=
          lapack_bound * reference::epsilon<T> * 40);
}
