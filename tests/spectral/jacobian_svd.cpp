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
        CHECK(std::abs(std::sqrt(left + right) - result.residuals[i]) <= 100 * Cell::eps * size);  // rounding of V Q and U P
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
            // Of the rapid decay nothing is left after the first blocks, which looks like an invariant basis and is held against more of them.
            const std::size_t doubt = one.name == std::string("rapid decay") ? 3 * 2 * one.rank : 0;
            CHECK(products[0] < products[1] + doubt);
            CHECK(products[0] < products[2] + doubt);
        }
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: a map that is not linear, at two points", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto map = moden::make_automatic_map<T>(6, 12, swirl{});
    const auto x = to_policy(policy, moden::tensor<T, 1>{T(0.9), T(-0.4), T(0.7), T(1.1), T(0.2), T(-0.6)});
    const auto near = to_policy(policy, moden::tensor<T, 1>{T(0.91), T(-0.4), T(0.69), T(1.1), T(0.21), T(-0.6)});
    const double tolerance = 100 * Cell::eps;
    //! [jacobian_svd]
    const auto found = moden::jacobian_svd(policy, map, x, {.rank = 2, .block = 1, .tolerance = tolerance});
    // found.vt: directions, a row each; found.singular_values: how much the map changes along them; found.u: what changes
    //! [jacobian_svd]
    CHECK(found.status == spectral_status::converged);
    const auto jacobian_at = [&](const auto& where) { return to_array(policy, map.vjp(policy, where, to_policy(policy, to_tensor<T, 2>(identity(12))))); };
    check_triplets<Cell>(policy, found, jacobian_at(x), 2, tolerance);
    //! [warm_start]
    const auto further = moden::jacobian_svd(policy, map, near, found.vt, {.rank = 2, .tolerance = tolerance});
    //! [warm_start]
    CHECK(further.status == spectral_status::converged);
    check_triplets<Cell>(policy, further, jacobian_at(near), 2, tolerance);
}

TEST_CASE_TEMPLATE("jacobian_svd: neither block nor batch nor basis changes the answer", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array a = to_array(to_tensor<T, 2>(with_spectrum(50, 40, decaying(30, 0.8), 7)));
    const probe_map<Policy, T> map(policy, a);
    const auto x = to_policy(policy, random_tensor<T, 1>({40}, 5));
    const double tolerance = 200 * Cell::eps;
    for (const jacobian_method method : all_methods) {
        for (const std::size_t block : {1, 2, 3, 5, 40}) {
            if (method == jacobian_method::subspace_iteration && block < 5) {
                continue;
            }
            CAPTURE(static_cast<int>(method));
            CAPTURE(block);
            const auto found = moden::jacobian_svd(policy, map, x, {.rank = 5, .method = method, .block = block, .tolerance = tolerance});
            CHECK(found.status == spectral_status::converged);
            check_triplets<Cell>(policy, found, a, 5, tolerance);
        }
        map.most = 0;
        const auto whole = moden::jacobian_svd(policy, map, x, {.rank = 5, .method = method, .tolerance = tolerance});
        const std::size_t block = map.most;
        map.most = 0;
        const auto parts = moden::jacobian_svd(policy, map, x, {.rank = 5, .method = method, .batch = 2, .tolerance = tolerance});
        CHECK(map.most == 2);
        CHECK(block == (method == jacobian_method::subspace_iteration ? 9 : 5));
        CHECK(parts.map_calls > whole.map_calls);
        check_triplets<Cell>(policy, parts, a, 5, tolerance);
    }
    for (const std::size_t basis : {8, 11, 25, 100}) {
        CAPTURE(basis);
        const auto found = moden::jacobian_svd(policy, map, x, {.rank = 5, .block = 3, .basis = basis, .tolerance = tolerance});
        CHECK(found.status == spectral_status::converged);
        check_triplets<Cell>(policy, found, a, 5, tolerance);
    }
    // The sequential method never asks for more vectors than its block, and needs no more memory for J's products than that.
    map.most = 0;
    moden::jacobian_svd(policy, map, x, {.rank = 5, .method = jacobian_method::sequential, .block = 2, .tolerance = tolerance});
    CHECK(map.most == 2);
}

TEST_CASE_TEMPLATE("jacobian_svd: all singular values, also of matrices with fewer than are asked for", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t shapes[][2] = {{12, 7}, {7, 12}, {9, 9}, {1, 6}, {6, 1}};
    for (const auto& [rows, columns] : shapes) {
        const std::size_t most = std::min(rows, columns);
        for (const std::size_t rank : {most, (most + 1) / 2}) {
            const array a = to_array(to_tensor<T, 2>(with_spectrum(rows, columns, decaying(rank, 0.7), 11)));
            const probe_map<Policy, T> map(policy, a);
            const auto x = to_policy(policy, random_tensor<T, 1>({columns}, 5));
            for (const jacobian_method method : all_methods) {
                for (const std::size_t block : {std::size_t{0}, std::size_t{3}, most}) {
                    if (method == jacobian_method::subspace_iteration && block == 3 && most > 3) {
                        continue;
                    }
                    CAPTURE(rows);
                    CAPTURE(columns);
                    CAPTURE(rank);
                    CAPTURE(block);
                    CAPTURE(static_cast<int>(method));
                    const auto found = moden::jacobian_svd(policy, map, x, {.rank = most, .method = method, .block = block, .tolerance = 100 * Cell::eps});
                    CHECK(found.status == spectral_status::converged);
                    const array u = to_array(policy, found.u), v = right_vectors(policy, found);
                    CHECK(orthogonality(u) <= 30 * Cell::eps);
                    CHECK(orthogonality(v) <= 30 * Cell::eps);
                    const std::vector<double> values(found.singular_values.begin(), found.singular_values.end());
                    CHECK(frobenius(difference(matmul(scale_columns(u, values), transpose(v)), a)) <= 300 * Cell::eps);
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: few distinct values, more copies than a block holds, zeros and any scale", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const double scale : {1.0, 1e-25, 1e25}) {
        for (const bool wide : {false, true}) {
            array a({14, 9});
            for (std::size_t i = 0; i < 8; ++i) {
                a(i + 3, i) = static_cast<double>(static_cast<T>(scale)) * (i < 5 ? 2 : 1);
            }
            if (wide) {
                a = transpose(a);
            }
            const probe_map<Policy, T> map(policy, a);
            const auto x = to_policy(policy, random_tensor<T, 1>({a.columns()}, 5));
            for (const jacobian_method method : all_methods) {
                for (const std::size_t block : {1, 2, 7}) {
                    if (method == jacobian_method::subspace_iteration && block < 7) {
                        continue;
                    }
                    CAPTURE(scale);
                    CAPTURE(wide);
                    CAPTURE(block);
                    CAPTURE(static_cast<int>(method));
                    // The start has as many rows as there are directions, some of them zero and others equal: a block of garbage.
                    array given({9, a.columns()});
                    given(2, 4) = given(3, 4) = 1;
                    const auto start = to_policy(policy, to_tensor<T, 2>(given));
                    const moden::jacobian_svd_options options{.rank = 7, .method = method, .block = block, .tolerance = 100 * Cell::eps};
                    for (const bool cold : {true, false}) {
                        const auto found = cold ? moden::jacobian_svd(policy, map, x, options) : moden::jacobian_svd(policy, map, x, start, options);
                        CHECK(found.status == spectral_status::converged);
                        for (std::size_t i = 0; i < 7; ++i) {
                            CHECK(static_cast<double>(found.singular_values[i]) / scale == doctest::Approx(i < 5 ? 2 : 1).epsilon(1000 * Cell::eps));
                        }
                        CHECK(orthogonality(to_array(policy, found.u)) <= 30 * Cell::eps);
                        CHECK(orthogonality(right_vectors(policy, found)) <= 30 * Cell::eps);
                    }
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: starting near the solution saves products", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const bool wide : {false, true}) {
        array a = with_spectrum(60, 36, decaying(30, 0.85), 13);
        array near = difference(a, scaled(random_matrix(60, 36, 14), 1e-5));
        if (wide) {
            a = transpose(a);
            near = transpose(near);
        }
        const probe_map<Policy, T> map(policy, a), neighbour(policy, near);
        const auto x = to_policy(policy, random_tensor<T, 1>({a.columns()}, 5));
        for (const jacobian_method method : all_methods) {
            CAPTURE(wide);
            CAPTURE(static_cast<int>(method));
            const moden::jacobian_svd_options options{.rank = 4, .method = method, .tolerance = 1e-5};
            const auto cold = moden::jacobian_svd(policy, map, x, options);
            const auto there = moden::jacobian_svd(policy, neighbour, x, options);
            const auto warm = moden::jacobian_svd(policy, map, x, there.vt, options);
            CHECK(warm.status == spectral_status::converged);
            check_triplets<Cell>(policy, warm, to_array(to_tensor<T, 2>(a)), 4, 1e-5);
            CHECK(warm.jvp_count + warm.vjp_count < cold.jvp_count + cold.vjp_count);
        }
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: a mask restricts the Jacobian to a region", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array a = with_spectrum(30, 12, decaying(12, 0.75), 17);
    const probe_map<Policy, T> map(policy, a);
    auto mask = moden::tensor<T, 1>::from_shape({30});
    array inside = to_array(to_tensor<T, 2>(a));
    for (std::size_t i = 0; i < 30; ++i) {
        mask(i) = i < 20 && i % 3 != 0 ? T(1) : T(0);
        for (std::size_t j = 0; j < 12; ++j) {
            inside(i, j) *= static_cast<double>(mask(i));
        }
    }
    const auto x = to_policy(policy, random_tensor<T, 1>({12}, 5));
    const auto selected = to_policy(policy, mask);
    //! [masked]
    const moden::masked_map region(policy, map, selected);
    const auto found = moden::jacobian_svd(policy, region, x, {.rank = 3, .tolerance = 1e-5});
    //! [masked]
    CHECK(found.status == spectral_status::converged);
    check_triplets<Cell>(policy, found, inside, 3, 1e-5);
    const array u = to_array(policy, found.u);
    for (std::size_t i = 0; i < 30; ++i) {
        CHECK((mask(i) != T(0) || std::abs(u(i, 0)) <= 10 * Cell::eps));
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: a Jacobian that is zero, and starts in its null space", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto x = to_policy(policy, random_tensor<T, 1>({8}, 5));
    const probe_map<Policy, T> nothing(policy, array({10, 8}));
    array a({10, 8});
    a(3, 5) = 2;
    a(4, 6) = 1;
    const probe_map<Policy, T> sparse(policy, a);
    array blind({2, 8});
    blind(0, 0) = blind(1, 1) = 1;
    const auto start = to_policy(policy, to_tensor<T, 2>(blind));
    for (const jacobian_method method : all_methods) {
        CAPTURE(static_cast<int>(method));
        const auto found = moden::jacobian_svd(policy, nothing, x, {.rank = 3, .method = method});
        CHECK(found.status == spectral_status::zero_jacobian);
        CHECK(found.singular_values == std::vector<T>(3, T(0)));
        CHECK(orthogonality(right_vectors(policy, found)) <= 10 * Cell::eps);
        CHECK(orthogonality(to_array(policy, found.u)) <= 10 * Cell::eps);
        CHECK(found.jvp_count == nothing.tangents);
        CHECK(moden::jacobian_svd(policy, nothing, x, start, {.rank = 2, .method = method}).status == spectral_status::zero_jacobian);
        nothing.tangents = 0;
        const std::size_t block = method == jacobian_method::subspace_iteration ? 2 : 1;
        // One iteration is used up by the start: what is known then is returned, and block_krylov fills its basis.
        const auto brief = moden::jacobian_svd(policy, sparse, x, start, {.rank = 2, .method = method, .block = block, .max_iterations = 1});
        CHECK((brief.status == spectral_status::reached_max_iterations || method == jacobian_method::block_krylov));
        CHECK(brief.iterations <= 4);
        CHECK(orthogonality(right_vectors(policy, brief)) <= 10 * Cell::eps);
        const auto out = moden::jacobian_svd(policy, sparse, x, start, {.rank = 2, .method = method, .block = block, .tolerance = 100 * Cell::eps});
        CHECK(out.status == spectral_status::converged);
        CHECK(static_cast<double>(out.singular_values[0]) == doctest::Approx(2).epsilon(100 * Cell::eps));
        CHECK(static_cast<double>(out.singular_values[1]) == doctest::Approx(1).epsilon(100 * Cell::eps));
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: limits and callbacks leave what was found", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array a = to_array(to_tensor<T, 2>(with_spectrum(40, 30, decaying(30, 0.97), 19)));
    const probe_map<Policy, T> map(policy, a);
    const auto x = to_policy(policy, random_tensor<T, 1>({30}, 5));
    for (const jacobian_method method : all_methods) {
        for (const bool by_callback : {false, true}) {
            CAPTURE(static_cast<int>(method));
            CAPTURE(by_callback);
            std::size_t calls = 0;
            map.tangents = map.cotangents = 0;
            moden::jacobian_svd_options options{.rank = 6, .method = method, .tolerance = 1e-5, .max_iterations = by_callback ? std::size_t{1000} : std::size_t{3}};
            if (method == jacobian_method::sequential) {
                options.block = 2;
            }
            if (by_callback) {
                options.progress = [&](std::size_t, double) { return ++calls < 3; };
            }
            const auto found = moden::jacobian_svd(policy, map, x, options);
            CHECK(found.status == (by_callback ? spectral_status::stopped_by_callback : spectral_status::reached_max_iterations));
            CHECK(found.iterations == 3);
            CHECK(found.jvp_count == map.tangents);
            CHECK(found.vjp_count == map.cotangents);
            const array u = to_array(policy, found.u), v = right_vectors(policy, found);
            CHECK(orthogonality(u) <= 30 * Cell::eps);
            CHECK(orthogonality(v) <= 30 * Cell::eps);
            // Unfinished triplets still satisfy J v = s u, or J' u = s v, and say by how much they miss the other.
            const std::vector<double> s(found.singular_values.begin(), found.singular_values.end());
            const array forward = difference(matmul(a, v), scale_columns(u, s)), backward = difference(matmul(transpose(a), u), scale_columns(v, s));
            double residual = 0;
            for (const double r : found.residuals) {
                residual += r * r;
            }
            const double missed = std::sqrt(std::pow(frobenius(forward), 2) + std::pow(frobenius(backward), 2));
            CHECK(missed == doctest::Approx(std::sqrt(residual)).epsilon(1e-3));
            CHECK(missed > 1e-4);
        }
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: residuals are those of products, also where rounding keeps them above the tolerance", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    for (const bool wide : {false, true}) {
        CAPTURE(wide);
        const array tall = random_matrix(800, 200, 29);
        const array a = to_array(to_tensor<T, 2>(wide ? transpose(tall) : tall));
        const probe_map<Policy, T> map(policy, a);
        const auto x = to_policy(policy, random_tensor<T, 1>({a.columns()}, 5));
        for (const double tolerance : {1e-4, 1e-7}) {
            map.tangents = map.cotangents = 0;
            const auto found = moden::jacobian_svd(policy, map, x, {.rank = 5, .tolerance = tolerance});
            CHECK(found.jvp_count == map.tangents);
            CHECK(found.vjp_count == map.cotangents);
            const double size = static_cast<double>(found.singular_values[0]);
            const bool within = *std::max_element(found.residuals.begin(), found.residuals.end()) <= tolerance * size;
            CHECK((found.status == spectral_status::converged) == within);
            CHECK((within || tolerance < Cell::eps));
            // In double precision and from the result alone; the map's own rounding is some eps per product.
            const array u = to_array(policy, found.u), v = right_vectors(policy, found);
            const array forward = matmul(a, v), backward = matmul(transpose(a), u);
            for (std::size_t i = 0; i < 5; ++i) {
                double left = 0, right = 0;
                for (std::size_t r = 0; r < a.rows(); ++r) {
                    left += std::pow(forward(r, i) - static_cast<double>(found.singular_values[i]) * u(r, i), 2);
                }
                for (std::size_t r = 0; r < a.columns(); ++r) {
                    right += std::pow(backward(r, i) - static_cast<double>(found.singular_values[i]) * v(r, i), 2);
                }
                CHECK(std::max(std::sqrt(left), std::sqrt(right)) <= found.residuals[i] + 10 * Cell::eps * size);
            }
        }
    }
}

TEST_CASE_TEMPLATE("jacobian_svd: what is refused, and how", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array a = with_spectrum(10, 8, decaying(8, 0.5), 23);
    const probe_map<Policy, T> map(policy, a);
    const auto x = to_policy(policy, random_tensor<T, 1>({8}, 5));
    const auto refused = [&](const moden::jacobian_svd_options& options, const std::string& part) {
        CHECK_THROWS_WITH_AS(moden::jacobian_svd(policy, map, x, options), doctest::Contains(part.c_str()), moden::argument_error);
    };
    refused({.rank = 0}, "jacobian_svd: rank 0 of a Jacobian of 10 x 8 (expected 1 to 8)");
    refused({.rank = 9}, "rank 9 of a Jacobian of 10 x 8 (expected 1 to 8)");
    refused({.rank = 2, .tolerance = -1}, "tolerance -1");
    refused({.rank = 2, .tolerance = std::nan("")}, "tolerance");
    refused({.rank = 2, .max_iterations = 0}, "max_iterations 0");
    refused({.rank = 3, .method = jacobian_method::subspace_iteration, .block = 2}, "a block of 2 for rank 3");
    refused({.rank = 3, .method = jacobian_method::sequential, .basis = 6}, "basis 6");
    refused({.rank = 3, .block = 2, .basis = 4}, "a basis of 4 for rank 3 and blocks of 2 (expected at least 5)");
    const auto shorter = to_policy(policy, random_tensor<T, 1>({7}, 5));
    CHECK_THROWS_WITH_AS(moden::jacobian_svd(policy, map, shorter, {.rank = 1}), "jacobian_svd: x has the shape 7 (expected a vector of 8)", moden::shape_error);
    const auto start = to_policy(policy, random_tensor<T, 2>({9, 8}, 5));
    CHECK_THROWS_WITH_AS(moden::jacobian_svd(policy, map, x, start, {.rank = 1}), "jacobian_svd: a start of 9 x 8 (expected 1 to 8 rows of 8)",
                         moden::shape_error);
    auto holes = moden::tensor<T, 1>::from_shape({8});
    holes.fill(T(1));
    holes(2) = std::numeric_limits<T>::infinity();
    const auto broken = to_policy(policy, holes);
    CHECK_THROWS_WITH_AS(moden::jacobian_svd(policy, map, broken, {.rank = 1}), doctest::Contains("jacobian_svd: x holds 1 values"), moden::argument_error);
    for (const jacobian_method method : all_methods) {
        for (const std::size_t call : {1, 2}) {
            probe_map<Policy, T> poisoned(policy, a);
            poisoned.poisoned_call = call;
            CHECK_THROWS_WITH_AS(moden::jacobian_svd(policy, poisoned, x, {.rank = 2, .method = method}),
                                 doctest::Contains(call == 1 ? "the map's jvp holds 1 values that are NaN" : "the map's vjp holds 1 values that are NaN"),
                                 moden::argument_error);
        }
        // A vjp that belongs to another matrix: wrong in one entry, wrong by a factor, of another sign.
        array wrong = transpose(a);
        wrong(3, 4) += 0.1;
        for (const array& adjoint : {wrong, scaled(transpose(a), 1.01), scaled(transpose(a), -1)}) {
            const probe_map<Policy, T> mistaken(policy, a, adjoint);
            CHECK_THROWS_WITH_AS(moden::jacobian_svd(policy, mistaken, x, {.rank = 3, .method = method, .tolerance = 1e-5, .max_iterations = 50}),
                                 doctest::Contains("jacobian_svd: jvp and vjp of the map disagree, <J v, u> = "), moden::argument_error);
            CHECK_NOTHROW(moden::jacobian_svd(policy, mistaken, x,
                                              {.rank = 3, .method = method, .max_iterations = 5, .check = moden::adjoint_check::skip}));
        }
    }
}
