// The symmetric generalised eigenproblem and directions of a region against its background, on every policy.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <vector>

#include <moden/linalg/generalized_eigh.hpp>
#include <moden/maps/affine_map.hpp>
#include <moden/maps/callable_map.hpp>
#include <moden/spectral/region_directions.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

array symmetric(std::size_t n, std::uint64_t seed) {
    const array a = random_matrix(n, n, seed);
    return scaled(difference(a, scaled(transpose(a), -1)), 0.5);
}

array gram(const array& a) { return matmul(transpose(a), a); }

array rows_where(const array& a, const std::vector<double>& mask, bool selected) {
    array result(a.shape);
    for (std::size_t i = 0; i < a.rows(); ++i) {
        for (std::size_t j = 0; j < a.columns(); ++j) {
            result(i, j) = (mask[i] != 0) == selected ? a(i, j) : 0;
        }
    }
    return result;
}

array with_ridge(array a, double factor) {
    double trace = 0;
    for (std::size_t i = 0; i < a.rows(); ++i) {
        trace += a(i, i);
    }
    for (std::size_t i = 0; i < a.rows(); ++i) {
        a(i, i) += factor * trace;
    }
    return a;
}

/// Row i of a as a column.
array column_of_row(const array& a, std::size_t i) {
    array result({a.columns(), 1});
    std::copy_n(a.data.begin() + static_cast<std::ptrdiff_t>(i * a.columns()), a.columns(), result.data.begin());
    return result;
}

double ratio(const array& inside, const array& outside, const array& d) {
    return matmul(transpose(d), matmul(inside, d)).data[0] / matmul(transpose(d), matmul(outside, d)).data[0];
}

/// Largest generalised eigenvalue by the singular values of J_f R^-1, with outside = R'R by Cholesky: no eigenproblem, no regularisation.
std::vector<double> reference_ratios(const array& inside_root, const array& outside) {
    const std::size_t n = outside.rows();
    array lower({n, n});
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = outside(i, j);
            for (std::size_t k = 0; k < j; ++k) {
                sum -= lower(i, k) * lower(j, k);
            }
            lower(i, j) = i == j ? std::sqrt(sum) : sum / lower(j, j);
        }
    }
    array solved = transpose(inside_root);  // L^-1 J_f'
    for (std::size_t c = 0; c < solved.columns(); ++c) {
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t k = 0; k < i; ++k) {
                solved(i, c) -= lower(i, k) * solved(k, c);
            }
            solved(i, c) /= lower(i, i);
        }
    }
    std::vector<double> values = jacobi_svd(solved).values;
    for (double& value : values) {
        value *= value;
    }
    return values;
}

}  // namespace

TEST_CASE_TEMPLATE("generalized_eigh solves A x = lambda B x with X' B X = I", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    for (const std::size_t n : {1, 2, 9, 40}) {
        const auto first = to_tensor<T, 2>(symmetric(n, 1));
        const auto second = to_tensor<T, 2>(with_ridge(gram(random_matrix(2 * n + 3, n, 2)), 0.05));
        const auto a = to_policy(policy, first), b = to_policy(policy, second);
        //! [generalized_eigh]
        const auto found = moden::generalized_eigh(policy, a, b);  // columns x of found.vectors, found.values descending
        //! [generalized_eigh]
        const array x = to_array(policy, found.vectors), left = to_array(first), right = to_array(second);
        const std::vector<double> values(found.values.begin(), found.values.end());
        CHECK(std::is_sorted(values.rbegin(), values.rend()));
        const double size = frobenius(left) + frobenius(right) * std::max(std::abs(values.front()), std::abs(values.back()));
        CHECK(frobenius(difference(matmul(left, x), scale_columns(matmul(right, x), values))) <= 100 * Cell::eps * size * frobenius(x));
        array product = matmul(transpose(x), matmul(right, x));
        for (std::size_t i = 0; i < n; ++i) {
            product(i, i) -= 1;
        }
        CHECK(frobenius(product) <= 300 * Cell::eps * std::sqrt(static_cast<double>(n)));
        // Fewer vectors and a regularisation.
        const auto some = moden::generalized_eigh(policy, a, b, {.count = (n + 1) / 2, .regularization = 0.1});
        const array y = to_array(policy, some.vectors), ridged = with_ridge(right, 0.1);
        REQUIRE(y.shape == moden::extents{n, (n + 1) / 2});
        const std::vector<double> fewer(some.values.begin(), some.values.end());
        REQUIRE(fewer.size() == n);
        CHECK(frobenius(difference(matmul(left, y), scale_columns(matmul(ridged, y), fewer))) <= 100 * Cell::eps * size * frobenius(y));
    }
}

TEST_CASE_TEMPLATE("generalized_eigh refuses what has no answer", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto a = to_policy(policy, to_tensor<T, 2>(symmetric(6, 1)));
    const auto singular = to_policy(policy, to_tensor<T, 2>(gram(random_matrix(4, 6, 2))));
    CHECK_THROWS_WITH_AS(moden::generalized_eigh(policy, a, singular), doctest::Contains("generalized_eigh: the second matrix is singular"),
                         moden::argument_error);
    CHECK_NOTHROW(moden::generalized_eigh(policy, a, singular, {.regularization = 1e-3}));
    CHECK_THROWS_AS(moden::generalized_eigh(policy, a, a), moden::argument_error);  // indefinite
    const auto zero = to_policy(policy, to_tensor<T, 2>(array({6, 6})));
    CHECK_THROWS_AS(moden::generalized_eigh(policy, a, zero, {.regularization = 1}), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::generalized_eigh(policy, a, singular, {.regularization = -1}), doctest::Contains("regularization -1"), moden::argument_error);
    const auto small = to_policy(policy, to_tensor<T, 2>(symmetric(5, 1)));
    CHECK_THROWS_WITH_AS(moden::generalized_eigh(policy, a, small), doctest::Contains("matrices of 6 x 6 and 5 x 5"), moden::shape_error);
}

TEST_CASE_TEMPLATE("region_directions: the best ratio, by every route", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const std::size_t m = 50, n = 9;
    const auto host = to_tensor<T, 2>(random_matrix(m, n, 3));
    const array jacobian = to_array(host);
    const moden::affine_map map(policy, to_policy(policy, host));
    const auto x = to_policy(policy, random_tensor<T, 1>({n}, 5));
    std::vector<double> weights(m, 0);
    auto selected = moden::tensor<T, 1>::from_shape({m});
    for (std::size_t i = 0; i < m; ++i) {
        weights[i] = i % 4 == 1 ? 1 : i == 8 ? 0.25 : 0;  // nonzero selects, whatever the number
        selected(i) = static_cast<T>(weights[i]);
    }
    const auto mask = to_policy(policy, selected);
    const array inside = gram(rows_where(jacobian, weights, true)), background = gram(rows_where(jacobian, weights, false));
    for (const double ridge : {0.0, 1e-3}) {
        const array outside = with_ridge(background, ridge);
        const std::vector<double> exact = reference_ratios(rows_where(jacobian, weights, true), outside);
        for (const std::size_t batch : {0, 1, 4, 100}) {
            CAPTURE(ridge);
            CAPTURE(batch);
            const moden::region_directions_options options{.count = 3, .regularization = ridge, .batch = batch};
            //! [region_directions]
            const auto found = moden::region_directions(policy, map, x, mask, options);
            // found.directions: a row each; found.inside and found.outside: squared change of the region and of the rest
            //! [region_directions]
            const array d = to_array(policy, found.directions);
            REQUIRE(d.shape == moden::extents{3, n});
            CHECK(found.jvp_count == n);
            CHECK(found.vjp_count == (batch == 0 ? 0 : 2 * n));
            for (std::size_t i = 0; i < 3; ++i) {
                const array direction = column_of_row(d, i);
                CHECK(frobenius(direction) == doctest::Approx(1).epsilon(10 * Cell::eps));
                CHECK(found.ratios[i] == doctest::Approx(exact[i]).epsilon(300 * Cell::eps));
                CHECK(ratio(inside, outside, direction) == doctest::Approx(exact[i]).epsilon(300 * Cell::eps));
                CHECK(found.inside[i] == doctest::Approx(matmul(transpose(direction), matmul(inside, direction)).data[0]).epsilon(100 * Cell::eps));
                CHECK(found.outside[i] == doctest::Approx(matmul(transpose(direction), matmul(background, direction)).data[0]).epsilon(100 * Cell::eps));
            }
            // A basis of the whole space, not orthonormal, changes nothing; one of a subspace gives the best of that.
            const array mixed = random_matrix(n, n, 7);
            const auto whole = moden::region_directions(policy, map, x, mask, to_policy(policy, to_tensor<T, 2>(mixed)), options);
            CHECK(whole.ratios[0] == doctest::Approx(exact[0]).epsilon(300 * Cell::eps));
            CHECK(frobenius(difference(magnitude(to_array(policy, whole.directions)), magnitude(d))) <= 1000 * Cell::eps);
            array first_two({2, n});
            first_two(0, 0) = first_two(1, 1) = 2;
            const auto planar = moden::region_directions(policy, map, x, mask, to_policy(policy, to_tensor<T, 2>(first_two)),
                                                         {.regularization = 0, .batch = batch});
            const array best = column_of_row(to_array(policy, planar.directions), 0);
            CHECK(planar.jvp_count == 2);
            for (std::size_t j = 2; j < n; ++j) {
                CHECK(std::abs(best.data[j]) <= 10 * Cell::eps);
            }
            for (int step = 0; step < 60; ++step) {
                array other({n, 1});
                other(0, 0) = std::cos(0.0523598 * step), other(1, 0) = std::sin(0.0523598 * step);
                CHECK(ratio(inside, background, other) <= planar.ratios[0] * (1 + 100 * Cell::eps));
            }
        }
    }
}

TEST_CASE_TEMPLATE("region_directions refuses masks without two sides and backgrounds that show too little", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const moden::affine_map map(policy, to_policy(policy, to_tensor<T, 2>(random_matrix(8, 5, 3))));
    const auto x = to_policy(policy, random_tensor<T, 1>({5}, 5));
    const auto mask_of = [&](const std::vector<T>& values) {
        auto host = moden::tensor<T, 1>::from_shape({values.size()});
        std::copy(values.begin(), values.end(), host.begin());
        return to_policy(policy, host);
    };
    const auto refused = [&](const auto& mask, const moden::region_directions_options& options, const char* part) {
        CHECK_THROWS_WITH_AS(moden::region_directions(policy, map, x, mask, options), doctest::Contains(part), moden::argument_error);
    };
    refused(mask_of({0, 0, 0, 0, 0, 0, 0, 0}), {}, "region_directions: the mask selects none of the 8 outputs");
    refused(mask_of({1, 1, 1, 1, 1, 1, 1, 1}), {}, "region_directions: the mask selects all 8 outputs and leaves no background");
    refused(mask_of({1, std::numeric_limits<T>::quiet_NaN(), 1, 1, 1, 1, 1, 1}), {}, "region_directions: the mask holds 1 values");
    const auto half = mask_of({1, 1, 1, 1, 0, 0, 0, 0});
    refused(half, {.regularization = 0}, "region_directions: what the background shows of J, J_b'J_b, is singular");
    CHECK_NOTHROW(moden::region_directions(policy, map, x, half, {.count = 5}));
    refused(half, {.count = 0}, "0 directions in a space of 5 (expected 1 to 5)");
    refused(half, {.count = 6}, "6 directions in a space of 5 (expected 1 to 5)");
    refused(half, {.regularization = -1}, "regularization -1");
    // Options are checked before anything goes through the map.
    const auto unasked = [](const auto& where, const auto&, const auto& block) {
        throw std::logic_error("a product was asked for");
        return where.template make_tensor<T, 2>(moden::detail::shape_of(block));
    };
    const moden::callable_map silent(5, 8, [](const auto& where, const auto& at) { return where.template make_tensor<T, 1>(moden::detail::shape_of(at)); }, unasked, unasked);
    CHECK_THROWS_WITH_AS(moden::region_directions(policy, silent, x, half, {.regularization = -1}), doctest::Contains("regularization -1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::region_directions(policy, map, x, mask_of({1, 0, 1}), {}),
                         "region_directions: the mask has the shape 3 (expected a vector of 8)", moden::shape_error);
    array dependent = random_matrix(3, 5, 9);
    for (std::size_t j = 0; j < 5; ++j) {
        dependent(2, j) = dependent(0, j) - 2 * dependent(1, j);
    }
    const auto basis = to_policy(policy, to_tensor<T, 2>(dependent));
    CHECK_THROWS_WITH_AS(moden::region_directions(policy, map, x, half, basis, {}), doctest::Contains("row 2 of the basis depends on the rows before it"),
                         moden::argument_error);
    const auto narrow = to_policy(policy, random_tensor<T, 2>({2, 4}, 5));
    CHECK_THROWS_WITH_AS(moden::region_directions(policy, map, x, half, narrow, {}), "region_directions: a basis of 2 x 4 (expected 1 to 5 rows of 5)",
                         moden::shape_error);
}
