// Singular vectors of Jacobians without Jacobians, on every policy: known spectra, all methods and block sizes, warm starts, counts,
// masks, and what must be refused.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <moden/core/macros.hpp>
#include <moden/maps/affine_map.hpp>
#include <moden/maps/automatic_map.hpp>
#include <moden/maps/masked_map.hpp>
#include <moden/spectral/jacobian_svd.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;
using moden::jacobian_method;
using moden::spectral_status;

namespace {

const jacobian_method all_methods[] = {jacobian_method::block_krylov, jacobian_method::subspace_iteration, jacobian_method::sequential};

/// A matrix as a map that counts its products, and has faults if it is told to.
template <class Policy, class T>
struct probe_map {
    moden::affine_map<moden::policy_tensor<Policy, T, 2>> forward, backward;
    mutable std::size_t tangents = 0, cotangents = 0, calls = 0, most = 0;
    std::size_t poisoned_call = static_cast<std::size_t>(-1);

    probe_map(const Policy& policy, const array& a, const array& adjoint)
        : forward(policy, to_policy(policy, to_tensor<T, 2>(a))), backward(policy, to_policy(policy, to_tensor<T, 2>(adjoint))) {}
    probe_map(const Policy& policy, const array& a) : probe_map(policy, a, transpose(a)) {}

    std::size_t input_size() const { return forward.input_size(); }
    std::size_t output_size() const { return forward.output_size(); }
    auto value(const Policy& policy, const auto& x) const { return forward.value(policy, x); }
    auto jvp(const Policy& policy, const auto& x, const auto& block) const {
        count(block, tangents);
        return poisoned(policy, forward.jvp(policy, x, block));
    }
    auto vjp(const Policy& policy, const auto&, const auto& block) const {
        count(block, cotangents);
        return poisoned(policy, backward.values(policy, block));
    }

private:
    void count(const auto& block, std::size_t& counter) const {
        counter += block.shape()[0];
        most = std::max<std::size_t>(most, block.shape()[0]);
        ++calls;
    }
    template <class Block>
    Block poisoned(const Policy& policy, Block block) const {
        if (calls == poisoned_call) {
            const T nan = std::numeric_limits<T>::quiet_NaN();
            policy.upload(&nan, block.data() + 1, 1);
        }
        return block;
    }
};

array with_spectrum(std::size_t rows, std::size_t columns, const std::vector<double>& values, std::uint64_t seed) {
    return matmul(scale_columns(orthonormalized(random_matrix(rows, values.size(), seed)), values),
                  transpose(orthonormalized(random_matrix(columns, values.size(), seed + 1))));
}

std::vector<double> decaying(std::size_t count, double ratio) {
    std::vector<double> values(count, 1);
    for (std::size_t i = 1; i < count; ++i) {
        values[i] = values[i - 1] * ratio;
    }
    return values;
}

struct spectrum {
    const char* name;
    std::vector<double> values;
    std::size_t rank;  ///< with a gap behind it
};

const std::vector<spectrum>& spectra() {
    static const std::vector<spectrum> list = [] {
        std::vector<spectrum> found{{"rapid decay", decaying(20, 0.3), 4}, {"slow decay", decaying(24, 0.85), 5}};
        std::vector<double> repeated{2, 2, 2, 1.2, 1.2, 0.8}, clustered{1, 0.9999, 0.9998, 0.9997, 0.7, 0.6999};
        while (repeated.size() < 22) {
            repeated.push_back(0.3);
            clustered.push_back(0.4 - 0.001 * static_cast<double>(repeated.size()));
        }
        found.push_back({"repeated", repeated, 5});
        found.push_back({"clustered", clustered, 6});
        return found;
    }();
    return list;
}

/// Columns of V, V' being k x n.
template <class Policy, class Result>
array right_vectors(const Policy& policy, const Result& result) {
    return transpose(to_array(policy, result.vt));
}

/// Everything a result claims, against the dense matrix.
template <class Cell, class Result>
void check_triplets(const typename Cell::policy& policy, const Result& result, const array& a, std::size_t k, double tolerance) {
    const auto exact = jacobi_svd(a);
    const auto exact_right = jacobi_svd(transpose(a));
    const array u = to_array(policy, result.u), v = right_vectors(policy, result);
    const double size = exact.values[0];
    REQUIRE(u.shape == moden::extents{a.rows(), k});
    REQUIRE(v.shape == moden::extents{a.columns(), k});
    REQUIRE(result.residuals.size() == k);
    CHECK(orthogonality(u) <= 30 * Cell::eps);
    CHECK(orthogonality(v) <= 30 * Cell::eps);
    const double gap = exact.values[k - 1] - (k < exact.values.size() ? exact.values[k] : 0);
    const array forward = matmul(a, v), backward = matmul(transpose(a), u);
    for (std::size_t i = 0; i < k; ++i) {
        CAPTURE(i);
        const double s = static_cast<double>(result.singular_values[i]);
        CHECK(std::abs(s - exact.values[i]) <= tolerance * tolerance * size * size / gap + 30 * Cell::eps * size);
        double left = 0, right = 0;
        for (std::size_t r = 0; r < a.rows(); ++r) {
            left += std::pow(forward(r, i) - s * u(r, i), 2);
        }
        for (std::size_t r = 0; r < a.columns(); ++r) {
            right += std::pow(backward(r, i) - s * v(r, i), 2);
        }
        CHECK(result.residuals[i] <= tolerance * size);
        CHECK(std::abs(std::sqrt(left + right) - result.residuals[i]) <= 30 * Cell::eps * size);
    }
    const double allowed = 2 * std::sqrt(static_cast<double>(k)) * (tolerance + 30 * Cell::eps) * size / gap;
    CHECK(frobenius(difference(projector(u), projector(first_columns(exact.u, k)))) <= allowed);
    CHECK(frobenius(difference(projector(v), projector(first_columns(exact_right.u, k)))) <= allowed);
}

/// A rotation in each plane of neighbours with an angle that grows with the radius, to more outputs than inputs.
struct swirl {
    template <class S>
    MODEN_HOST_DEVICE void operator()(const S* x, S* y) const {
        using std::cos;
        using std::sin;
        for (std::size_t i = 0; i < 6; ++i) {
            const S next = x[(i + 1) % 6];
            const S angle = x[i] * x[i] + next * next;
            y[2 * i] = cos(angle) * x[i] - sin(angle) * next;
            y[2 * i + 1] = sin(angle) * x[i] + cos(angle) * next;
        }
    }
};

array identity(std::size_t n) {
    array result({n, n});
    for (std::size_t i = 0; i < n; ++i) {
        result(i, i) = 1;
    }
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("jacobian_svd: known spectra by all methods, tall, wide and square", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{60, 26}, {26, 60}, {30, 30}};
    const double tolerance = 200 * Cell::eps;
    for (const auto& [rows, columns] : shapes) {
        const auto x = to_policy(policy, random_tensor<T, 1>({columns}, 5));
        for (const spectrum& one : spectra()) {
            const array a = to_array(to_tensor<T, 2>(with_spectrum(rows, columns, one.values, 1)));
            const probe_map<Policy, T> map(policy, a);
            std::size_t products[3] = {};
            for (const jacobian_method method : all_methods) {
                CAPTURE(rows);
                CAPTURE(one.name);
                CAPTURE(static_cast<int>(method));
                map.tangents = map.cotangents = map.calls = 0;
                const auto found = moden::jacobian_svd(policy, map, x, {.rank = one.rank, .method = method, .tolerance = tolerance, .seed = 3});
                CHECK(found.status == spectral_status::converged);
                check_triplets<Cell>(policy, found, a, one.rank, tolerance);
                CHECK(found.jvp_count == map.tangents);
                CHECK(found.vjp_count == map.cotangents);
                CHECK(found.map_calls == map.calls);
                products[static_cast<std::size_t>(method)] = found.jvp_count + found.vjp_count;
            }
            MESSAGE(one.name, " ", rows, " ", products[0], " ", products[1], " ", products[2]);
            CHECK(products[0] < products[1]);
        }
    }
}
