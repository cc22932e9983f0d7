// Randomised and Krylov methods: how close they come to the best possible, that they repeat, and that they say the
// truth.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/low_rank.hpp>

#include "reference.hpp"

using moden::iteration_status;
using moden::tensor;
using reference::known_svd;
using reference::lapack_bound;
using reference::widened;

namespace {

double tail(const std::vector<double>& values, std::size_t first) {
    double sum = 0;
    for (std::size_t i = first; i < values.size(); ++i) {
        sum += values[i] * values[i];
    }
    return std::sqrt(sum);
}

/// |A - Q Q' A|.
template <class Matrix>
double missed(const Matrix& a, const Matrix& q) {
    const auto wide = widened(q);
    return reference::distance(a,
                               reference::multiply(wide, reference::multiply(reference::transpose(wide), widened(a))));
}

/// |A v_i - s_i u_i|, from scratch.
template <class Matrix, class Result>
std::vector<double> residuals(const Matrix& a, const Result& result) {
    const auto product = reference::multiply(widened(a), reference::transpose(widened(result.vt)));
    std::vector<double> norms;
    for (std::size_t r = 0; r < result.singular_values.size(); ++r) {
        reference::wide sum = 0;
        for (std::size_t i = 0; i < a.shape()[0]; ++i) {
            const reference::wide x =
                product(i, r) - static_cast<reference::wide>(result.singular_values[r]) * result.u(i, r);
            sum += x * x;
        }
        norms.push_back(static_cast<double>(std::sqrt(sum)));
    }
    return norms;
}

template <class Result>
void check_shape_of_triplets(const Result& result, std::size_t rows, std::size_t columns, std::size_t rank) {
    using T = typename decltype(result.u)::value_type;
    REQUIRE(reference::shape_of(result.u) == moden::extents{rows, rank});
    REQUIRE(reference::shape_of(result.vt) == moden::extents{rank, columns});
    REQUIRE(result.singular_values.size() == rank);
    CHECK(reference::orthogonality_ratio(result.u) <= lapack_bound);
    CHECK(reference::orthogonality_ratio(reference::narrowed<T>(reference::transpose(widened(result.vt)))) <=
          lapack_bound);
    CHECK(std::is_sorted(result.singular_values.rbegin(), result.singular_values.rend()));
    CHECK(reference::obeys_sign_rule(result.u));
}

}  // namespace

TEST_CASE_TEMPLATE("randomized_range is nearly as good as the best subspace", T, float, double) {
    const std::size_t rank = 8;
    for (const double ratio : {0.5, 0.8, 0.95}) {
        CAPTURE(ratio);
        const known_svd known = reference::with_spectrum(90, 60, reference::geometric(1, ratio, 60), 1);
        const auto a = known.matrix<T>();
        const auto q = moden::randomized_range(a, {.rank = rank});
        REQUIRE(reference::shape_of(q) == moden::extents{90, rank + 10});
        CHECK(reference::orthogonality_ratio(q) <= lapack_bound);
        // Halko et al. 2011, Thm. 10.5, bounds the expected error of even the plain sketch by sqrt(1 + k / (p - 1))
        // tail(k) with k of its k + p columns: 1.38. Two power iterations bring it below the best error of rank k
        // itself.
        CHECK(missed(a, q) <= tail(known.values, rank) + lapack_bound * reference::epsilon<T>);
        const auto plain = moden::randomized_range(a, {.rank = rank, .power_iterations = 0});
        CHECK(missed(a, plain) <= 1.38 * tail(known.values, rank) + lapack_bound * reference::epsilon<T>);
    }
}

TEST_CASE_TEMPLATE("randomized_range finds an exact range, and never more columns than there are", T, float, double) {
    const auto a = reference::with_spectrum(50, 40, {3, 2, 1}, 1).matrix<T>();
    for (const std::size_t oversampling : reference::sizes{0, 1, 10}) {
        const auto q = moden::randomized_range(a, {.rank = 3, .oversampling = oversampling});
        REQUIRE(q.shape()[1] == 3 + oversampling);
        CHECK(reference::orthogonality_ratio(q) <= lapack_bound);
        CHECK(missed(a, q) <= lapack_bound * reference::epsilon<T> * 3);
    }
    CHECK(reference::shape_of(moden::randomized_range(tensor<T, 2>(xt::ones<T>({5, 4})), {.rank = 2})) ==
          moden::extents{5, 4});
    CHECK(reference::shape_of(moden::randomized_range(tensor<T, 2>(xt::ones<T>({3, 9})), {.rank = 1})) ==
          moden::extents{3, 3});
    const auto q = moden::randomized_range(tensor<T, 2>(xt::zeros<T>({6, 5})), {.rank = 2});
    CHECK(reference::orthogonality_ratio(q) <= lapack_bound);
}

TEST_CASE_TEMPLATE("randomized_svd approximates the leading triplets", T, float, double) {
    for (const auto& one : {std::pair<std::size_t, std::size_t>{120, 70}, {70, 120}}) {
        const auto rows = one.first;
        const auto columns = one.second;
        CAPTURE(rows);
        const known_svd known = reference::with_spectrum(rows, columns, reference::geometric(4, 0.7, 70), 3);
        const auto a = known.matrix<T>();
        const std::size_t rank = 6;
        const auto svd = moden::randomized_svd(a, {.rank = rank});
        check_shape_of_triplets(svd, rows, columns, rank);
        // With 10 columns more than wanted and two power iterations, (0.7^10)^5 = 2e-8 of the sixth value is missed at
        // most.
        const std::vector<double> leading(known.values.begin(), known.values.begin() + rank);
        const double missing = std::pow(0.7, 50) / reference::epsilon<T>;
        CHECK(reference::value_ratio(svd.singular_values, leading, 4) <= lapack_bound + missing);
        const double error = reference::distance(a, reference::rebuilt(svd.u, svd.singular_values, svd.vt));
        CHECK(error <= 1.0001 * tail(known.values, rank));
        CHECK(error >= 0.9999 * tail(known.values, rank));  // nothing of that rank is closer
    }
}

TEST_CASE_TEMPLATE("power iterations help where the spectrum is flat", T, float, double) {
    const auto a = reference::normal_matrix<T>(150, 150, 4);
    const auto error = [&](std::size_t iterations) {
        const auto svd = moden::randomized_svd(a, {.rank = 10, .power_iterations = iterations});
        return reference::distance(a, reference::rebuilt(svd.u, svd.singular_values, svd.vt));
    };
    const auto exact = moden::thin_svd(a);
    const double best = tail({exact.singular_values.begin(), exact.singular_values.end()}, 10);
    CHECK(error(1) < error(0));
    CHECK(error(4) < error(1));
    CHECK(error(4) >= best * (1 - 1e-6));
    CHECK(error(4) <= best * 1.01);
}

TEST_CASE_TEMPLATE("the same seed gives the same result", T, float, double) {
    const auto a = reference::normal_matrix<T>(100, 80, 5);
    const auto first = moden::randomized_svd(a, {.rank = 5, .seed = 3});
    const auto again = moden::randomized_svd(a, {.rank = 5, .seed = 3});
    const auto other = moden::randomized_svd(a, {.rank = 5, .seed = 4});
    CHECK(reference::identical(first.u, again.u));
    CHECK(reference::identical(first.vt, again.vt));
    CHECK(first.singular_values == again.singular_values);
    CHECK(!reference::identical(first.u, other.u));
    const auto range = moden::randomized_range(a, {.rank = 5, .seed = 3});
    CHECK(reference::identical(range, moden::randomized_range(a, {.rank = 5, .seed = 3})));
    const auto krylov = moden::block_krylov_svd(a, {.rank = 5, .max_iterations = 3, .seed = 3});
    const auto krylov_again = moden::block_krylov_svd(a, {.rank = 5, .max_iterations = 3, .seed = 3});
    const auto krylov_other = moden::block_krylov_svd(a, {.rank = 5, .max_iterations = 3, .seed = 4});
    CHECK(reference::identical(krylov.u, krylov_again.u));
    CHECK(krylov.residuals == krylov_again.residuals);
    CHECK(!reference::identical(krylov.u, krylov_other.u));
}

TEST_CASE_TEMPLATE("block_krylov_svd converges and its residuals are true", T, float, double) {
    const double tolerance = std::is_same_v<T, float> ? 1e-5 : 1e-10;
    for (const auto& one : {std::pair<std::size_t, std::size_t>{150, 90}, {90, 150}}) {
        const auto rows = one.first;
        const auto columns = one.second;
        CAPTURE(rows);
        const known_svd known = reference::with_spectrum(rows, columns, reference::geometric(2, 0.95, 90), 6);
        const auto a = known.matrix<T>();
        const std::size_t rank = 5;
        const auto svd = moden::block_krylov_svd(a, {.rank = rank, .tolerance = tolerance, .max_iterations = 18});
        check_shape_of_triplets(svd, rows, columns, rank);
        CHECK(svd.status == iteration_status::converged);
        CHECK(svd.iterations <= 18);
        const std::vector<double> leading(known.values.begin(), known.values.begin() + rank);
        CHECK(reference::value_ratio(svd.singular_values, leading, 2) <= lapack_bound);
        const auto true_residuals = residuals(a, svd);
        REQUIRE(svd.residuals.size() == rank);
        for (std::size_t r = 0; r < rank; ++r) {
            CAPTURE(r);
            CHECK(true_residuals[r] <= tolerance * 2 + lapack_bound * reference::epsilon<T> * 2);
            // Computed in T: A v has an error of some eps |A|.
            CHECK(std::abs(true_residuals[r] - svd.residuals[r]) <= lapack_bound * reference::epsilon<T> * 2);
        }
    }
}

TEST_CASE("block_krylov_svd reports residuals that have not converged, too") {
    const auto a = reference::with_spectrum(150, 90, reference::geometric(2, 0.99, 90), 6).matrix<double>();
    std::vector<double> objectives;
    const auto svd = moden::block_krylov_svd(
        a, {.rank = 4, .tolerance = 0, .max_iterations = 3, .progress = [&](std::size_t i, double x) {
                CHECK(i == objectives.size() + 1);
                objectives.push_back(x);
                return true;
            }});
    CHECK(svd.status == iteration_status::reached_max_iterations);
    CHECK(svd.iterations == 3);
    REQUIRE(objectives.size() == 3);
    CHECK(std::is_sorted(objectives.rbegin(), objectives.rend()));
    const auto true_residuals = residuals(a, svd);
    for (std::size_t r = 0; r < 4; ++r) {
        CHECK(svd.residuals[r] == doctest::Approx(true_residuals[r]).epsilon(1e-10));
    }
    const double largest = *std::max_element(svd.residuals.begin(), svd.residuals.end());
    CHECK(largest > 1e-3);  // otherwise this tested a converged run
    CHECK(objectives.back() == doctest::Approx(largest / svd.singular_values[0]).epsilon(1e-12));
    const auto stopped = moden::block_krylov_svd(
        a, {.rank = 4, .tolerance = 0, .progress = [](std::size_t i, double) { return i < 2; }});
    CHECK(stopped.status == iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 2);
}

TEST_CASE_TEMPLATE("block_krylov_svd where the Krylov space ends early", T, float, double) {
    struct early_case {
        std::string reason;
        std::vector<double> spectrum;
        std::size_t rank;
        std::size_t block;
    };
    for (const auto& one :
         {early_case{"rank below what is asked for", {3, 2}, 5, 0}, early_case{"rank below the block", {3, 2}, 2, 8},
          early_case{"rank one", {3}, 1, 1}, early_case{"rank one, several triplets, blocks of one", {3}, 4, 1},
          early_case{"few distinct values", std::vector<double>(30, 2.0), 6, 2}, early_case{"zero", {}, 3, 0},
          early_case{"everything", reference::geometric(1, 0.9, 30), 30, 7}}) {
        const auto& reason = one.reason;
        const auto& spectrum = one.spectrum;
        const auto rank = one.rank;
        const auto block = one.block;
        CAPTURE(reason);
        const known_svd known = reference::with_spectrum(40, 30, spectrum, 8);
        const auto a = known.matrix<T>();
        const auto svd =
            moden::block_krylov_svd(a, {.rank = rank, .block = block, .tolerance = 1e-5, .max_iterations = 30});
        check_shape_of_triplets(svd, 40, 30, rank);
        CHECK(svd.status == iteration_status::converged);
        const std::vector<double> leading(known.values.begin(),
                                          known.values.begin() + static_cast<std::ptrdiff_t>(rank));
        const double size = spectrum.empty() ? 1 : spectrum[0];
        // Residuals of 1e-5 s_0 leave values with errors of at most that, and mostly of its square.
        CHECK(reference::value_ratio(svd.singular_values, leading, size) <=
              lapack_bound + 1e-5 / reference::epsilon<T>);
        const auto true_residuals = residuals(a, svd);
        CHECK(*std::max_element(true_residuals.begin(), true_residuals.end()) <= 2e-5 * size);
    }
}
