// complete on every policy.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <limits>

#include <moden/multilinear/complete.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "tucker_checks.hpp"

using namespace moden_test;

namespace {

const moden::extents shape{9, 8, 10};
const moden::extents ranks{2, 3, 2};

array low_rank_tensor() {
    array tensor = decaying_tensor(ranks, 0.7, 1);
    for (std::size_t n = 0; n < shape.size(); ++n) {
        tensor = mode_product(tensor, orthonormalized(random_matrix(shape[n], ranks[n], 2 + n)), n);
    }
    return scaled(tensor, 10);
}

/// Observes about seven entries in ten.
array some_entries() {
    array mask(shape);
    number_source next(5);
    for (double& x : mask.data) {
        x = next() < 0.4 ? 1 : 0;
    }
    return mask;
}

}  // namespace

TEST_CASE_TEMPLATE("complete: the missing entries of a tensor of low rank", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const array truth = low_rank_tensor();
    const array mask = some_entries();
    auto values = to_tensor<T, 3>(truth);
    for (std::size_t i = 0; i < values.size(); ++i) {
        values.data()[i] = mask.data[i] != 0 ? values.data()[i] : std::numeric_limits<T>::quiet_NaN();
    }
    const auto result = moden::complete(policy, to_policy(policy, values), to_policy(policy, to_tensor<T, 3>(mask)),
                                        {.ranks = ranks, .tolerance = 10 * Cell::eps, .max_iterations = 3000});
    CHECK(result.status == moden::iteration_status::converged);
    REQUIRE(result.history.size() == result.iterations);
    CHECK(result.history.back() == result.observed_error);
    const array completed = to_array(policy, result.completed);
    REQUIRE(completed.shape == shape);
    double missing_error = 0;
    std::size_t changed = 0;
    for (std::size_t i = 0; i < completed.data.size(); ++i) {
        if (mask.data[i] != 0) {
            changed += completed.data[i] != static_cast<double>(values.data()[i]);
        } else {
            missing_error += (completed.data[i] - truth.data[i]) * (completed.data[i] - truth.data[i]);
        }
    }
    CHECK(changed == 0);
    // A step below ten eps leaves a distance of that over one minus the rate of convergence.
    CHECK(std::sqrt(missing_error) <= 1000 * Cell::eps * frobenius(truth));
    const array model = reconstruct(to_array(policy, result.core), to_arrays(policy, result.factors));
    CHECK(frobenius(difference(model, truth)) <= 1000 * Cell::eps * frobenius(truth));
}

TEST_CASE_TEMPLATE("complete: the same iterates as in double precision on the CPU", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    array noisy = low_rank_tensor();
    number_source next(6);
    for (double& x : noisy.data) {
        x += 0.05 * next();
    }
    const auto values = to_tensor<T, 3>(noisy);
    const array mask = some_entries();
    const moden::completion_options options{.ranks = ranks, .tolerance = 0, .max_iterations = 20};
    const auto result = moden::complete(policy, to_policy(policy, values), to_policy(policy, to_tensor<T, 3>(mask)), options);
    const auto reference = moden::complete(to_tensor<double, 3>(to_array(values)), to_tensor<double, 3>(mask), options);
    CHECK(result.status == moden::iteration_status::reached_max_iterations);
    CHECK(result.iterations == 20);
    check_within(to_array(result.history), to_array(reference.history), 100 * Cell::eps);
    check_within(to_array(policy, result.completed), to_array(reference.completed), 300 * Cell::eps * 10);
    double residual = 0;
    double whole = 0;
    const array model = reconstruct(to_array(policy, result.core), to_arrays(policy, result.factors));
    for (std::size_t i = 0; i < mask.data.size(); ++i) {
        const double x = static_cast<double>(values.data()[i]);
        residual += mask.data[i] != 0 ? (x - model.data[i]) * (x - model.data[i]) : 0;
        whole += mask.data[i] != 0 ? x * x : 0;
    }
    CHECK(std::abs(result.observed_error - std::sqrt(residual / whole)) <= 30 * Cell::eps);
}

TEST_CASE_TEMPLATE("complete: everything observed is a decomposition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto values = to_tensor<T, 3>(decaying_tensor(shape, 0.5, 7));
    const auto result = moden::complete(policy, to_policy(policy, values), to_policy(policy, to_tensor<T, 3>(array(shape, 1))), {.ranks = ranks});
    CHECK(result.status == moden::iteration_status::converged);
    CHECK(result.iterations == 1);
    CHECK(to_array(policy, result.completed).data == to_array(values).data);
    const auto direct = moden::st_hosvd(policy, to_policy(policy, values), {.ranks = ranks, .error = moden::error_measure::residual});
    CHECK(std::abs(result.observed_error - direct.relative_error) <= 10 * Cell::eps);
}
