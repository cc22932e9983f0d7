// hosvd and st_hosvd on every policy, against an HOSVD made of plain loops and Jacobi rotations.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/multilinear/hosvd.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "tucker_checks.hpp"

using namespace moden_test;

namespace {

/// One mode by the definition: the leading left singular vectors of its unfolding.
struct reference_mode {
    array factor;
    std::vector<double> values;
};

reference_mode leading(const array& tensor, std::size_t mode, std::size_t rank) {
    reference_svd svd = jacobi_svd(unfold(tensor, mode));
    return {first_columns(svd.u, rank), svd.values};
}

std::vector<reference_mode> reference_hosvd(const array& tensor, const moden::extents& ranks) {
    std::vector<reference_mode> modes;
    for (std::size_t n = 0; n < ranks.size(); ++n) {
        modes.push_back(leading(tensor, n, ranks[n]));
    }
    return modes;
}

std::vector<reference_mode> reference_st_hosvd(array tensor, const moden::extents& ranks, const moden::extents& order) {
    std::vector<reference_mode> modes(ranks.size());
    for (const std::size_t n : order) {
        modes[n] = leading(tensor, n, ranks[n]);
        tensor = mode_product(tensor, transpose(modes[n].factor), n);
    }
    return modes;
}

/// How far eps carries: a Gram matrix resolves sigma^2 to eps sigma_0^2, a QR factorization sigma to eps sigma_0.
double value_tolerance(moden::svd_method method, double largest, double value, double eps) {
    return method == moden::svd_method::gram ? std::min(largest * std::sqrt(30 * eps), 30 * eps * largest * largest / std::max(value, 1e-300))
                                             : 30 * eps * largest;
}

/// How far the leading subspace may turn: the perturbation over the gap (Davis & Kahan 1970).
double subspace_tolerance(moden::svd_method method, const std::vector<double>& values, std::size_t rank, double eps) {
    if (rank >= values.size()) {
        return 60 * eps * static_cast<double>(values.size());
    }
    const double last = values[rank - 1];
    const double next = values[rank];
    const double gram = 60 * eps * values[0] * values[0] / (last * last - next * next);
    const double direct = 60 * eps * values[0] / (last - next);
    return method == moden::svd_method::gram ? gram : direct;
}

template <class Cell, class Policy, class Result>
void check_against(const Policy& policy, const array& tensor, const Result& result, const std::vector<reference_mode>& modes,
                   moden::svd_method method) {
    using T = typename Cell::scalar;
    std::vector<array> factors = to_arrays(policy, result.factors);
    for (std::size_t n = 0; n < modes.size(); ++n) {
        CAPTURE(n);
        const auto& report = result.modes[n];
        const std::size_t rank = modes[n].factor.columns();
        CHECK(report.method == method);
        REQUIRE(report.rank == rank);
        REQUIRE(factors[n].shape == modes[n].factor.shape);
        CHECK(orthogonality(factors[n]) <= 30 * Cell::eps);
        if (method != moden::svd_method::randomized) {
            REQUIRE(report.singular_values.size() == modes[n].values.size());
            array bound({modes[n].values.size()});
            for (std::size_t i = 0; i < bound.data.size(); ++i) {
                bound.data[i] = value_tolerance(method, modes[n].values[0], modes[n].values[i], Cell::eps);
            }
            check_within(to_array(report.singular_values), to_array(modes[n].values), bound);
        }
        const double turned = frobenius(difference(projector(factors[n]), projector(modes[n].factor)));
        CHECK(turned <= subspace_tolerance(method, modes[n].values, rank, Cell::eps));
        check_signs<T>(factors[n]);
    }
    // The core belongs to the factors: G = X x_n U_n'.
    const array core = project(tensor, factors);
    std::size_t terms = 0;
    for (const std::size_t extent : tensor.shape) {
        terms += extent + 1;
    }
    check_sums(to_array(policy, result.core), core, project(magnitude(tensor), magnitudes(factors)), terms, Cell::eps);
}

const moden::extents shape{9, 6, 7, 5};
const moden::extents ranks{4, 3, 5, 2};

}  // namespace

TEST_CASE_TEMPLATE("hosvd: factors, singular values and core by Gram matrices and by QR", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 4>(decaying_tensor(shape, 0.6, 1));
    const array tensor = to_array(host);
    const auto modes = reference_hosvd(tensor, ranks);
    for (const auto method : {moden::svd_method::gram, moden::svd_method::qr}) {
        const auto result = moden::hosvd(policy, to_policy(policy, host), {.ranks = ranks, .method = method});
        CAPTURE(static_cast<int>(method));
        check_against<Cell>(policy, tensor, result, modes, method);
        check_reported_error<Cell>(policy, tensor, result, 1e-12);
        CHECK(result.relative_error <= result.error_bound * (1 + 1e-3));
    }
}

TEST_CASE_TEMPLATE("st_hosvd: factors, singular values and core, modes in a given order", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 4>(decaying_tensor(shape, 0.6, 2));
    const array tensor = to_array(host);
    for (const moden::extents& order : {moden::extents{0, 1, 2, 3}, moden::extents{2, 0, 3, 1}}) {
        const auto modes = reference_st_hosvd(tensor, ranks, order);
        for (const auto method : {moden::svd_method::gram, moden::svd_method::qr}) {
            const auto result = moden::st_hosvd(policy, to_policy(policy, host), {.ranks = ranks, .method = method, .mode_order = order});
            CAPTURE(static_cast<int>(method));
            CAPTURE(order.front());
            check_against<Cell>(policy, tensor, result, modes, method);
            // The spectrum knows the error only as well as the tail of a Gram matrix.
            const double resolution = method == moden::svd_method::gram ? 30 * Cell::eps : 0;
            check_reported_error<Cell>(policy, tensor, result, resolution);
            CHECK(result.relative_error == result.error_bound);
        }
    }
}

TEST_CASE_TEMPLATE("hosvd and st_hosvd: no truncation, the tensor comes back", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    // Order 1; a mode longer than all others together; extents of 1; equal spectra.
    const auto check = [&](const auto& host) {
        const array tensor = to_array(host);
        for (const auto method : {moden::svd_method::gram, moden::svd_method::qr}) {
            const auto plain = moden::hosvd(policy, to_policy(policy, host), {.method = method});
            const auto sequential = moden::st_hosvd(policy, to_policy(policy, host), {.method = method, .error = moden::error_measure::residual});
            CAPTURE(tensor.shape.size());
            CHECK(plain.relative_error <= 60 * Cell::eps);
            CHECK(sequential.relative_error <= 60 * Cell::eps);
            // Named, because nvcc drops the braces of a list that a range-for walks inside a generic lambda.
            const std::vector both{to_arrays(policy, plain.factors), to_arrays(policy, sequential.factors)};
            for (const auto& factors : both) {
                for (std::size_t n = 0; n < factors.size(); ++n) {
                    CHECK(factors[n].columns() == std::min(tensor.shape[n], tensor.data.size() / tensor.shape[n]));
                    CHECK(orthogonality(factors[n]) <= 30 * Cell::eps);
                }
            }
            check_within(reconstruct(to_array(policy, plain.core), to_arrays(policy, plain.factors)), tensor, 60 * Cell::eps * frobenius(tensor));
            check_within(reconstruct(to_array(policy, sequential.core), to_arrays(policy, sequential.factors)), tensor,
                         60 * Cell::eps * frobenius(tensor));
        }
    };
    check(random_tensor<T, 1>({11}, 3));
    check(random_tensor<T, 2>({20, 6}, 4));
    check(random_tensor<T, 3>({3, 17, 2}, 5));
    check(random_tensor<T, 3>({1, 8, 1}, 6));
    check(random_tensor<T, 5>({2, 3, 4, 3, 2}, 7));
}

TEST_CASE_TEMPLATE("st_hosvd: randomised sketches find the subspaces of a tensor of low rank", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    // Exactly of rank (3, 4, 2) up to rounding: then a sketch of any seed spans the range.
    array tensor = decaying_tensor({3, 4, 2}, 0.8, 8);
    tensor = mode_product(tensor, orthonormalized(random_matrix(30, 3, 9)), 0);
    tensor = mode_product(tensor, orthonormalized(random_matrix(25, 4, 10)), 1);
    tensor = mode_product(tensor, orthonormalized(random_matrix(12, 2, 11)), 2);
    const auto host = to_tensor<T, 3>(tensor);
    const auto result = moden::st_hosvd(policy, to_policy(policy, host),
                                        {.ranks = {3, 4, 2}, .method = moden::svd_method::randomized, .oversampling = 4,
                                         .error = moden::error_measure::residual});
    for (std::size_t n = 0; n < 3; ++n) {
        CHECK(result.modes[n].method == moden::svd_method::randomized);
    }
    CHECK(result.relative_error <= 60 * Cell::eps);
    const auto modes = reference_hosvd(to_array(host), {3, 4, 2});
    for (std::size_t n = 0; n < 3; ++n) {
        const array factor = to_array(policy, result.factors[n]);
        CHECK(orthogonality(factor) <= 30 * Cell::eps);
        const double gap = modes[n].values[modes[n].factor.columns() - 1];
        CHECK(frobenius(difference(projector(factor), projector(modes[n].factor))) <= 60 * Cell::eps * modes[n].values[0] / gap);
    }
}

TEST_CASE_TEMPLATE("st_hosvd: a tolerance and an energy are kept, with as few columns as that takes", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 4>(decaying_tensor(shape, 0.1, 12));
    const array tensor = to_array(host);
    const double whole = frobenius(tensor) * frobenius(tensor);
    for (const double tolerance : {0.1, 0.05, 0.01}) {
        const auto result = moden::st_hosvd(policy, to_policy(policy, host),
                                            {.tolerance = tolerance, .mode_order = {3, 1, 2, 0}, .error = moden::error_measure::residual});
        CAPTURE(tolerance);
        CHECK(result.relative_error <= tolerance);
        check_reported_error<Cell>(policy, tensor, result, 1e-12);
        // The last mode may spend all that is left: one column less would be too few.
        const auto& last = result.modes[0];
        REQUIRE(last.rank > 1);
        const double one_more = static_cast<double>(last.singular_values[last.rank - 1]);
        CHECK(result.error_bound * result.error_bound + one_more * one_more / whole > tolerance * tolerance);
    }
    const auto kept = moden::hosvd(policy, to_policy(policy, host), {.energy = 0.99});
    const auto modes = reference_hosvd(tensor, {1, 1, 1, 1});
    for (std::size_t n = 0; n < shape.size(); ++n) {
        std::size_t rank = 0;
        for (double sum = 0; sum < 0.99 * whole; ++rank) {
            sum += modes[n].values[rank] * modes[n].values[rank];
        }
        CHECK(kept.modes[n].rank == rank);
    }
}
