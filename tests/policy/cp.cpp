// cp_als on every policy: recovery of known factors, and the same iterates as in double precision on the CPU.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/multilinear/cp.hpp>

#include "policies.hpp"
#include "reference.hpp"

using namespace moden_test;

namespace {

struct known_cp {
    std::vector<double> weights{3, 2, 1};
    std::vector<array> factors;

    explicit known_cp(const moden::extents& shape, std::uint64_t seed) {
        for (std::size_t n = 0; n < shape.size(); ++n) {
            array factor = random_matrix(shape[n], weights.size(), seed + n);
            for (std::size_t r = 0; r < weights.size(); ++r) {
                double length = 0;
                for (std::size_t i = 0; i < factor.rows(); ++i) {
                    length += factor(i, r) * factor(i, r);
                }
                for (std::size_t i = 0; i < factor.rows(); ++i) {
                    factor(i, r) /= std::sqrt(length);
                }
            }
            factors.push_back(factor);
        }
    }

    array tensor() const { return cp_reconstruct(weights, factors); }
};

/// |cosine| between column r of both matrices.
double alignment(const array& a, const array& b, std::size_t r) {
    double product = 0;
    for (std::size_t i = 0; i < a.rows(); ++i) {
        product += a(i, r) * b(i, r);
    }
    return std::abs(product);
}

}  // namespace

TEST_CASE_TEMPLATE("cp_als: finds the weights and factors of a tensor that has them", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const known_cp truth({9, 8, 7}, 1);
    const auto host = to_tensor<T, 3>(truth.tensor());
    for (const auto start : {moden::cp_start::hosvd, moden::cp_start::random}) {
        const auto result = moden::cp_als(policy, to_policy(policy, host), {.rank = 3, .tolerance = Cell::eps, .max_iterations = 500, .start = start, .seed = 3});
        CAPTURE(static_cast<int>(start));
        CHECK(result.status == moden::iteration_status::converged);
        CHECK(result.history.size() == result.iterations);
        // The iteration is linear: when a step gains eps, the distance left is some tens of that.
        CHECK(result.relative_error <= 500 * Cell::eps);
        check_within(to_array(result.weights), to_array(truth.weights), 3000 * Cell::eps);
        const auto factors = to_arrays(policy, result.factors);
        for (std::size_t n = 0; n < 3; ++n) {
            for (std::size_t r = 0; r < 3; ++r) {
                CHECK(std::abs(alignment(factors[n], truth.factors[n], r) - 1) <= 100 * Cell::eps);  // second order in the angle
                CHECK(std::abs(alignment(factors[n], factors[n], r) - 1) <= 20 * Cell::eps);
            }
        }
        const array rebuilt = to_array(policy, moden::reconstruct(policy, result));
        const double error = frobenius(difference(rebuilt, to_array(host))) / frobenius(to_array(host));
        CHECK(std::abs(error - result.relative_error) <= 10 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("cp_als: the same iterates as in double precision on the CPU", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    array values = known_cp({6, 7, 5, 4}, 5).tensor();
    number_source next(6);
    for (double& x : values.data) {
        x += 0.05 * next();
    }
    const auto host = to_tensor<T, 4>(values);
    std::vector<moden::tensor<T, 2>> start;
    std::vector<moden::tensor<double, 2>> reference_start;
    for (std::size_t n = 0; n < 4; ++n) {
        start.push_back(random_tensor<T, 2>({values.shape[n], 3}, 7 + n));
        reference_start.push_back(random_tensor<double, 2>({values.shape[n], 3}, 7 + n));
    }
    const moden::cp_options options{.tolerance = 0, .max_iterations = 8};
    const auto result = moden::cp_als(policy, to_policy(policy, host), to_policy(policy, start), options);
    const auto reference = moden::cp_als(to_tensor<double, 4>(to_array(host)), reference_start, options);
    CHECK(result.status == moden::iteration_status::reached_max_iterations);
    CHECK(result.iterations == 8);
    check_within(to_array(result.history), to_array(reference.history), 300 * Cell::eps);
    CHECK(std::abs(result.relative_error - reference.relative_error) <= 300 * Cell::eps);
    check_within(to_array(result.weights), to_array(reference.weights), 3000 * Cell::eps);
    for (std::size_t n = 0; n < 4; ++n) {
        check_within(to_array(policy, result.factors[n]), to_array(reference.factors[n]), 3000 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("cp_als: more columns than the tensor has", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 3>(known_cp({5, 4, 6}, 9).tensor());
    // The Gram matrices become singular: the shift has to keep everything finite and the fit good.
    const auto result = moden::cp_als(policy, to_policy(policy, host), {.rank = 7, .tolerance = 0, .max_iterations = 60, .seed = 1});
    CHECK(result.relative_error <= std::sqrt(Cell::eps));
    for (const auto& factor : to_arrays(policy, result.factors)) {
        CHECK(std::isfinite(frobenius(factor)));
    }
}
