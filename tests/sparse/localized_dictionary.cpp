// Localized dictionaries on every policy: optimality conditions, monotone objective, planted components, limits, refusals.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <moden/sparse/component_report.hpp>
#include <moden/sparse/localized_dictionary.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

/// Components that live on stretches of the rows which overlap a little, with directions that are not orthogonal.
struct planted_dictionary {
    array components;
    array directions;  // P x d

    planted_dictionary(std::size_t rows, std::size_t columns, std::size_t count, std::uint64_t seed)
        : components({rows, count}), directions(random_matrix(count, columns, seed)) {
        number_source next(seed + 1);
        const std::size_t stretch = rows / count;
        for (std::size_t p = 0; p < count; ++p) {
            for (std::size_t s = p * stretch; s < std::min(rows, (p + 1) * stretch + stretch / 5); ++s) {
                const double x = next();
                components(s, p) = x < 0 ? x - 1 : x + 1;
            }
            double square = 0;
            for (std::size_t k = 0; k < columns; ++k) {
                square += directions(p, k) * directions(p, k);
            }
            for (std::size_t k = 0; k < columns; ++k) {
                directions(p, k) /= std::sqrt(square);
            }
        }
    }

    array jacobian(double noise = 0, std::uint64_t seed = 99) const {
        array result = matmul(components, directions);
        number_source next(seed);
        for (double& x : result.data) {
            x += noise * next();
        }
        return result;
    }
};

/// Eq. 5 by its definition.
double objective(const array& jacobian, const array& components, const array& directions, double sparsity, double coherence) {
    const double error = frobenius(difference(jacobian, matmul(components, directions)));
    double value = error * error;
    for (const double u : components.data) {
        value += sparsity * std::abs(u);
    }
    const array gram = matmul(directions, transpose(directions));
    for (std::size_t p = 0; p < gram.rows(); ++p) {
        for (std::size_t q = 0; q < gram.rows(); ++q) {
            value += p == q ? 0 : coherence * gram(p, q) * gram(p, q);
        }
    }
    return value;
}

/// Largest violation of 0 in 2 (U V' - J) V + alpha d|U|_1.
double sparse_violation(const array& jacobian, const array& components, const array& directions, double sparsity) {
    const array slope = scaled(matmul(difference(matmul(components, directions), jacobian), transpose(directions)), 2);
    double worst = 0;
    for (std::size_t i = 0; i < slope.data.size(); ++i) {
        const double u = components.data[i], g = slope.data[i];
        worst = std::max(worst, u > 0 ? std::abs(g + sparsity) : u < 0 ? std::abs(g - sparsity) : std::abs(g) - sparsity);
    }
    return worst;
}

/// Largest slope of the objective along the unit spheres of the directions.
double sphere_violation(const array& jacobian, const array& components, const array& directions, double coherence) {
    const array residual = difference(matmul(components, directions), jacobian);
    array slope = scaled(matmul(transpose(components), residual), 2);
    const array gram = matmul(directions, transpose(directions));
    double worst = 0;
    for (std::size_t p = 0; p < directions.rows(); ++p) {
        double along = 0;
        for (std::size_t k = 0; k < directions.columns(); ++k) {
            for (std::size_t q = 0; q < directions.rows(); ++q) {
                slope(p, k) += q == p ? 0 : 4 * coherence * gram(p, q) * directions(q, k);
            }
            along += slope(p, k) * directions(p, k);
        }
        for (std::size_t k = 0; k < directions.columns(); ++k) {
            worst = std::max(worst, std::abs(slope(p, k) - along * directions(p, k)));
        }
    }
    return worst;
}

double row_length(const array& a, std::size_t i) {
    double square = 0;
    for (std::size_t k = 0; k < a.columns(); ++k) {
        square += a(i, k) * a(i, k);
    }
    return std::sqrt(square);
}

/// |cosine| of row i of a and row j of b.
double alignment(const array& a, std::size_t i, const array& b, std::size_t j) {
    double product = 0;
    for (std::size_t k = 0; k < a.columns(); ++k) {
        product += a(i, k) * b(j, k);
    }
    return std::abs(product) / (row_length(a, i) * row_length(b, j));
}

}  // namespace

TEST_CASE_TEMPLATE("sparse components satisfy the conditions of the lasso", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const planted_dictionary truth(60, 12, 5, 1);
    const auto host = to_tensor<T, 2>(truth.jacobian(0.2));
    const auto jacobian = to_policy(policy, host);
    const auto directions = to_policy(policy, to_tensor<T, 2>(scaled(truth.directions, 3)));  // of any length
    for (const double sparsity : {0.0, 0.3, 2.0}) {
        //! [sparse_components]
        const auto components = moden::sparse_components(policy, jacobian, directions, {.sparsity = sparsity, .tolerance = 0});  // S x P
        //! [sparse_components]
        const array u = to_array(policy, components);
        CHECK(sparse_violation(to_array(host), u, truth.directions, sparsity) <= 30 * std::sqrt(Cell::eps) * 0.1 + 100 * Cell::eps);
        const auto zeros = std::count(u.data.begin(), u.data.end(), 0.0);
        CHECK((sparsity > 0) == (zeros > 0));
    }
    // So large an alpha that nothing is worth its price.
    const array none = to_array(policy, moden::sparse_components(policy, jacobian, directions, {.sparsity = 100}));
    CHECK(frobenius(none) == 0);
}

TEST_CASE_TEMPLATE("localized_dictionary finds planted components up to order and sign, and never goes up", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const planted_dictionary truth(120, 20, 5, 3);
    const auto host = to_tensor<T, 2>(truth.jacobian(0.01));
    const auto jacobian = to_policy(policy, host);
    for (const auto start : {moden::dictionary_start::singular_vectors, moden::dictionary_start::random}) {
        CAPTURE(static_cast<int>(start));
        const moden::localized_dictionary_options options{
            .components = 5, .sparsity = 0.2, .coherence = 0.1, .start = start, .tolerance = 10 * Cell::eps, .max_iterations = 1000, .seed = 2};
        //! [localized_dictionary]
        const auto found = moden::localized_dictionary(policy, jacobian, options);  // J ~ found.components found.directions
        //! [localized_dictionary]
        CHECK(found.status == moden::iteration_status::converged);
        CHECK(found.history.size() == found.iterations);
        const array u = to_array(policy, found.components), v = to_array(policy, found.directions), j = to_array(host);
        const double energy = frobenius(j) * frobenius(j);
        for (std::size_t i = 1; i < found.history.size(); ++i) {
            CHECK(found.history[i] <= found.history[i - 1] + 20 * Cell::eps * energy);
        }
        CHECK(found.objective == doctest::Approx(objective(j, u, v, 0.2, 0.1)).epsilon(100 * Cell::eps));
        CHECK(std::abs(found.objective - found.history.back()) <= 100 * Cell::eps * energy);
        CHECK(found.relative_error == doctest::Approx(frobenius(difference(j, matmul(u, v))) / frobenius(j)).epsilon(1000 * Cell::eps));
        CHECK(sparse_violation(j, u, v, 0.2) < 0.1 * 0.2);
        CHECK(sphere_violation(j, u, v, 0.1) < 0.1);
        for (std::size_t p = 0; p < 5; ++p) {
            CHECK(std::abs(row_length(v, p) - 1) <= 10 * Cell::eps);
            // The components are those that were planted; their zeros as well.
            std::size_t best = 0;
            for (std::size_t q = 1; q < 5; ++q) {
                best = alignment(truth.directions, p, v, q) > alignment(truth.directions, p, v, best) ? q : best;
            }
            CHECK(alignment(truth.directions, p, v, best) > 0.995);
            CHECK(alignment(transpose(truth.components), p, transpose(u), best) > 0.995);
        }
        const auto zeros = std::count(u.data.begin(), u.data.end(), 0.0), planted = std::count(truth.components.data.begin(), truth.components.data.end(), 0.0);
        CHECK(static_cast<double>(zeros) > 0.9 * static_cast<double>(planted));
    }
}

TEST_CASE_TEMPLATE("without penalties the directions span what the truncated singular value decomposition does", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const planted_dictionary truth(50, 10, 3, 5);
    const array values = truth.jacobian(0.05);
    const auto jacobian = to_policy(policy, to_tensor<T, 2>(values));
    const array leading = first_columns(jacobi_svd(transpose(values)).u, 3);
    for (const auto start : {moden::dictionary_start::singular_vectors, moden::dictionary_start::random}) {
        const auto found = moden::localized_dictionary(
            policy, jacobian, {.components = 3, .sparsity = 0, .coherence = 0, .start = start, .tolerance = 0, .max_iterations = 300, .seed = 4});
        const array basis = orthonormalized(transpose(to_array(policy, found.directions)));
        CHECK(frobenius(difference(projector(basis), projector(leading))) <= 30 * std::sqrt(Cell::eps));
        const array rest = difference(values, matmul(matmul(values, leading), transpose(leading)));
        CHECK(found.relative_error == doctest::Approx(frobenius(rest) / frobenius(values)).epsilon(20 * std::sqrt(Cell::eps)));
    }
}

TEST_CASE_TEMPLATE("a coherence penalty makes directions more orthogonal, a larger alpha components sparser", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto jacobian = to_policy(policy, to_tensor<T, 2>(planted_dictionary(80, 12, 6, 7).jacobian(0.1)));
    const auto report = [&](double sparsity, double coherence) {
        const auto found = moden::localized_dictionary(policy, jacobian, {.components = 6, .sparsity = sparsity, .coherence = coherence});
        return moden::report_components(policy, found.components, found.directions);
    };
    CHECK(report(0.5, 100).largest_coherence < 0.5 * report(0.5, 0).largest_coherence);
    const auto mean = [](const std::vector<double>& x) { return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size()); };
    CHECK(mean(report(2, 1).zero_share) > mean(report(0.1, 1).zero_share));
}

TEST_CASE_TEMPLATE("a warm start goes on where the other call has stopped", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(planted_dictionary(80, 12, 6, 9).jacobian(0.1));
    const auto jacobian = to_policy(policy, host);
    std::size_t calls = 0;
    moden::localized_dictionary_options options{.components = 6, .sparsity = 0.3, .tolerance = 0, .max_iterations = 50, .progress = [&](std::size_t i, double) {
                                                    ++calls;
                                                    return i < 5;
                                                }};
    //! [warm_start]
    const auto stopped = moden::localized_dictionary(policy, jacobian, options);  // the callback stops it after 5 iterations
    options.progress = {};
    const auto further = moden::localized_dictionary(policy, jacobian, stopped.components, stopped.directions, options);
    //! [warm_start]
    CHECK(stopped.status == moden::iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 5);
    CHECK(calls == 5);
    CHECK(further.status == moden::iteration_status::reached_max_iterations);
    const double slack = 100 * Cell::eps * std::pow(frobenius(to_array(host)), 2);
    CHECK(further.history.front() <= stopped.history.back() + slack);
    CHECK(further.objective < stopped.objective);
    // Directions twice as long and components half as large are the same start.
    const auto twice = to_policy(policy, to_tensor<T, 2>(scaled(to_array(policy, stopped.directions), 2)));
    const auto half = to_policy(policy, to_tensor<T, 2>(scaled(to_array(policy, stopped.components), 0.5)));
    const auto again = moden::localized_dictionary(policy, jacobian, half, twice, options);
    CHECK(std::abs(again.history.front() - further.history.front()) <= slack);
}

TEST_CASE_TEMPLATE("Adam comes near the alternating method and not below it", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto host = to_tensor<T, 2>(planted_dictionary(60, 12, 4, 11).jacobian(0.05));
    const auto jacobian = to_policy(policy, host);
    moden::localized_dictionary_options options{.components = 4, .sparsity = 0.2, .coherence = 1, .tolerance = 1e-7, .max_iterations = 2000};
    const auto fast = moden::localized_dictionary(policy, jacobian, options);
    options.method = moden::dictionary_method::adam;
    options.tolerance = 0;
    options.max_iterations = 4000;
    options.learning_rate = 2e-3;
    const auto adam = moden::localized_dictionary(policy, jacobian, options);
    CHECK(adam.iterations == 4000);
    CHECK(adam.history.back() < 0.9 * adam.history.front());
    CHECK(fast.objective <= adam.objective * (1 + 1e-4));
    CHECK(adam.objective <= 1.02 * fast.objective);
    const array u = to_array(policy, adam.components), v = to_array(policy, adam.directions);
    CHECK(adam.objective == doctest::Approx(objective(to_array(host), u, v, 0.2, 1)).epsilon(100 * Cell::eps));
    for (std::size_t p = 0; p < 4; ++p) {
        CHECK(std::abs(row_length(v, p) - 1) <= 10 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("components are reported and discarded", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    array u({5, 4}), v({4, 3});
    u(0, 0) = 3, u(4, 0) = -4;  // |u_0| = 5
    u(2, 1) = 0.0078125;        // below 0.01
    u(1, 3) = 0.015625;
    v(0, 0) = 1, v(1, 1) = 2, v(2, 0) = 3, v(2, 1) = 4, v(3, 2) = -1;
    const auto components = to_policy(policy, to_tensor<T, 2>(u)), directions = to_policy(policy, to_tensor<T, 2>(v));
    //! [discard_components]
    const auto report = moden::report_components(policy, components, directions);  // |u_p|, share of zeros, largest |cosine|
    const auto kept = moden::discard_components(policy, components, directions);   // without those of |u_p| < 0.01
    //! [discard_components]
    CHECK(report.norms == std::vector<double>{5, 0.0078125, 0, 0.015625});
    CHECK(report.zero_share[0] == doctest::Approx(0.6));
    CHECK(report.zero_share[2] == 1);
    CHECK(report.coherence[0] == doctest::Approx(0.6).epsilon(10 * Cell::eps));
    CHECK(report.coherence[1] == doctest::Approx(0.8).epsilon(10 * Cell::eps));
    CHECK(report.coherence[3] == 0);
    CHECK(report.largest_coherence == doctest::Approx(0.8).epsilon(10 * Cell::eps));
    CHECK(moden::report_components(policy, components, directions, 0.01).zero_share[1] == 1);
    CHECK(kept.indices == std::vector<std::size_t>{0, 3});
    const array left = to_array(policy, kept.components), ways = to_array(policy, kept.directions);
    CHECK(left.shape == moden::extents{5, 2});
    CHECK(left(4, 0) == -4);
    CHECK(left(1, 1) == 0.015625);
    CHECK(ways.shape == moden::extents{2, 3});
    CHECK(ways(1, 2) == -1);
    CHECK(moden::discard_components(policy, components, directions, 10).indices.empty());
    CHECK(moden::discard_components(policy, components, directions, 0).indices.size() == 4);
    CHECK_THROWS_AS(moden::discard_components(policy, components, directions, -1), moden::argument_error);
    CHECK_THROWS_AS(moden::report_components(policy, components, directions, -1), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::report_components(policy, components, components), doctest::Contains("components of 5 x 4 and directions of 5 x 4"),
                         moden::shape_error);
}

TEST_CASE_TEMPLATE("components that no data needs become zero", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const planted_dictionary truth(60, 12, 2, 13);
    const auto found = moden::localized_dictionary(policy, to_policy(policy, to_tensor<T, 2>(truth.jacobian())), {.components = 6, .sparsity = 0.5});
    CHECK(moden::discard_components(policy, found.components, found.directions).indices.size() < 6);
    // A Jacobian of zeros has nothing to say.
    const auto nothing = moden::localized_dictionary(policy, to_policy(policy, to_tensor<T, 2>(array({7, 5}))), {.components = 2});
    CHECK(nothing.status == moden::iteration_status::converged);
    CHECK(frobenius(to_array(policy, nothing.components)) == 0);
    CHECK(nothing.relative_error == 0);
}

TEST_CASE_TEMPLATE("localized_dictionary refuses what it cannot use", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const array values = random_matrix(9, 5, 1);
    const auto jacobian = to_policy(policy, to_tensor<T, 2>(values));
    const auto fit = [&](const moden::localized_dictionary_options& options) { return moden::localized_dictionary(policy, jacobian, options); };
    CHECK_THROWS_WITH_AS(fit({}), doctest::Contains("0 components of a Jacobian of 9 x 5 (expected 1 to 5)"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.components = 6}), doctest::Contains("6 components"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.components = 2, .sparsity = -1}), doctest::Contains("sparsity -1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.components = 2, .coherence = -0.5}), doctest::Contains("coherence -0.5"), moden::argument_error);
    CHECK_THROWS_AS(fit({.components = 2, .sparsity = std::numeric_limits<double>::infinity()}), moden::argument_error);
    CHECK_THROWS_AS(fit({.components = 2, .tolerance = -1}), moden::argument_error);
    CHECK_THROWS_AS(fit({.components = 2, .max_iterations = 0}), moden::argument_error);
    CHECK_THROWS_AS(fit({.components = 2, .learning_rate = 0}), moden::argument_error);
    array spoilt = values;
    spoilt(3, 2) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(moden::localized_dictionary(policy, to_policy(policy, to_tensor<T, 2>(spoilt)), {.components = 2}),
                         doctest::Contains("1 values that are NaN or infinite"), moden::argument_error);
    CHECK_THROWS_AS(moden::localized_dictionary(policy, to_policy(policy, random_tensor<T, 3>({2, 3, 4}, 1)), {.components = 1}), moden::shape_error);
    CHECK_THROWS_AS(moden::localized_dictionary(policy, to_policy(policy, to_tensor<T, 2>(array({0, 5}))), {.components = 1}), moden::shape_error);

    array rows = random_matrix(2, 5, 2);
    const auto u = to_policy(policy, to_tensor<T, 2>(random_matrix(9, 2, 3))), v = to_policy(policy, to_tensor<T, 2>(rows));
    for (std::size_t k = 0; k < 5; ++k) {
        rows(1, k) = 0;
    }
    const auto zero = to_policy(policy, to_tensor<T, 2>(rows));
    CHECK_THROWS_WITH_AS(moden::localized_dictionary(policy, jacobian, u, zero, {}), doctest::Contains("direction 1 has length 0"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::sparse_components(policy, jacobian, zero), doctest::Contains("direction 1 has length 0"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::localized_dictionary(policy, jacobian, u, v, {.components = 3}), doctest::Contains("components 3 with 2"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::localized_dictionary(policy, jacobian, v, v, {}), doctest::Contains("(expected 9 x 2)"), moden::shape_error);
    CHECK_THROWS_AS(moden::localized_dictionary(policy, jacobian, u, u, {}), moden::argument_error);  // nine directions
    CHECK_THROWS_AS(moden::sparse_components(policy, jacobian, jacobian), moden::shape_error);
    CHECK_THROWS_AS(moden::sparse_components(policy, jacobian, v, {.sparsity = -1}), moden::argument_error);
    CHECK_THROWS_AS(moden::sparse_components(policy, jacobian, v, {.tolerance = -1}), moden::argument_error);
}
