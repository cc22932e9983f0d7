// MTTKRP against unfolding times Khatri-Rao product, and the CP decomposition on tensors whose decomposition is known.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/cp.hpp>
#include <moden/multilinear/mttkrp.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/multilinear/unfold.hpp>

#include "reference.hpp"

using moden::cp_start;
using moden::dynamic_tensor;
using moden::extents;
using moden::iteration_status;
using moden::tensor;
using reference::normal_tensor;

namespace {

/// sum_r weights(r) u_r o v_r o ..., in extended precision, rounded to T.
template <class T, class Weights, class Matrix>
dynamic_tensor<T> cp_by_loops(const Weights& weights, const std::vector<Matrix>& factors) {
    extents shape;
    for (const auto& factor : factors) {
        shape.push_back(factor.shape()[0]);
    }
    auto result = dynamic_tensor<T>::from_shape(shape);
    std::size_t at = 0;
    reference::for_each_index(shape, [&](const extents& index) {
        reference::wide sum = 0;
        for (std::size_t r = 0; r < weights.size(); ++r) {
            reference::wide term = weights[r];
            for (std::size_t n = 0; n < factors.size(); ++n) {
                term *= factors[n](index[n], r);
            }
            sum += term;
        }
        result.data()[at++] = static_cast<T>(sum);
    });
    return result;
}

struct known_cp {
    std::vector<double> weights;
    std::vector<tensor<double, 2>> factors;
};

/// Random columns of unit length with the given weights.
known_cp random_cp(const extents& shape, const std::vector<double>& weights, std::uint64_t seed) {
    known_cp result{weights, {}};
    for (std::size_t n = 0; n < shape.size(); ++n) {
        auto factor = reference::normal_matrix<double>(shape[n], weights.size(), seed + n);
        for (std::size_t r = 0; r < weights.size(); ++r) {
            double squared = 0;
            for (std::size_t i = 0; i < shape[n]; ++i) {
                squared += factor(i, r) * factor(i, r);
            }
            for (std::size_t i = 0; i < shape[n]; ++i) {
                factor(i, r) /= std::sqrt(squared);
            }
        }
        result.factors.push_back(factor);
    }
    return result;
}

/// Column lengths are one, weights descend and are not negative, numbers are consistent.
template <class Result>
void check_form(const Result& result, std::size_t rank) {
    using T = typename std::remove_cvref_t<decltype(result.factors[0])>::value_type;
    REQUIRE(result.weights.size() == rank);
    CHECK(std::is_sorted(result.weights.rbegin(), result.weights.rend()));
    CHECK(result.weights.back() >= T(0));
    CHECK(result.history.size() == result.iterations);
    for (const auto& factor : result.factors) {
        REQUIRE(factor.shape()[1] == rank);
        for (std::size_t r = 0; r < rank; ++r) {
            double squared = 0;
            for (std::size_t i = 0; i < factor.shape()[0]; ++i) {
                squared += static_cast<double>(factor(i, r)) * static_cast<double>(factor(i, r));
            }
            CHECK(std::abs(squared - 1) <= static_cast<double>(factor.shape()[0]) * reference::epsilon<T>);
        }
    }
}

}  // namespace

TEST_CASE("example: mttkrp") {
    const auto x = reference::normal_tensor_of_order<double, 3>({4, 5, 6}, 1);
    const auto factors = reference::normal_matrices<double>({4, 5, 6}, {2, 2, 2}, 2);
    //! [mttkrp]
    // x: 4 x 5 x 6; factors: 4 x 2, 5 x 2, 6 x 2
    const auto v =
        moden::mttkrp(x, factors, 1);  // 5 x 2: unfold(x, 1) times khatri_rao({factors[0], factors[2]}), neither formed
    //! [mttkrp]
    REQUIRE(reference::shape_of(v) == extents{5, 2});
    const std::vector<tensor<double, 2>> others{factors[0], factors[2]};
    CHECK(reference::worst_error(v, reference::product(moden::unfold(x, 1), moden::khatri_rao(others))) <= 1);
}

TEST_CASE("example: cp_als") {
    const auto known = random_cp({8, 9, 10}, {3, 2}, 1);
    const auto x = cp_by_loops<double>(known.weights, known.factors);
    //! [cp_als]
    // x: 8 x 9 x 10, a sum of two outer products
    const auto model = moden::cp_als(x, {.rank = 2, .tolerance = 1e-12, .max_iterations = 500});

    const auto& strengths = model.weights;           // two weights, the larger one first
    const auto& columns = model.factors[0];          // 8 x 2, columns of unit length
    const auto back = moden::reconstruct<3>(model);  // 8 x 9 x 10
    //! [cp_als]
    CHECK(model.status == iteration_status::converged);
    CHECK(strengths[0] == doctest::Approx(3).epsilon(1e-6));
    CHECK(strengths[1] == doctest::Approx(2).epsilon(1e-6));
    CHECK(reference::shape_of(columns) == extents{8, 2});
    CHECK(reference::relative_difference(x, back) < 1e-6);
}

// ---- mttkrp ---------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("mttkrp is the unfolding times the Khatri-Rao product, for every mode", T, float, double) {
    const std::vector<std::pair<extents, std::size_t>> cases{
        {{5}, 3},
        {{4, 6}, 2},
        {{4, 5, 6}, 1},
        {{4, 5, 6}, 3},
        {{9, 3, 4}, 8},
        {{3, 4, 9}, 17},  // three blocks of columns, the last of one
        {{2, 7, 1, 5}, 4},
        {{1, 5, 6}, 3},  // extents of 1 at both ends
        {{5, 6, 1}, 3},
        {{1, 4, 1, 3, 1}, 2},
        {{1, 1, 1}, 2},
        {{3, 2, 2, 3, 2}, 5},
        {{2, 3, 1, 2, 2, 3}, 3},
        {{2, 2, 2, 1, 3, 2, 2}, 4},
        {{2, 1, 2, 3, 2, 2, 1, 2}, 9},
        {{40, 30, 20}, 12}};
    for (const auto& one : cases) {
        const auto& shape = one.first;
        const auto rank = one.second;
        CAPTURE(reference::text(shape));
        const auto x = normal_tensor<T>(shape, 1);
        const auto factors = reference::normal_matrices<T>(shape, extents(shape.size(), rank), 2);
        for (std::size_t mode = 0; mode < shape.size(); ++mode) {
            CAPTURE(mode);
            // V(i_n, r) = sum over all other indices of X(...) prod_{k != n} U_k(i_k, r), by loops.
            auto expected = reference::zero_sums({shape[mode], rank}, x.size() / shape[mode] + shape.size());
            std::size_t at = 0;
            reference::for_each_index(shape, [&](const extents& index) {
                const reference::wide element = x.data()[at++];
                for (std::size_t r = 0; r < rank; ++r) {
                    reference::wide product = element;
                    for (std::size_t k = 0; k < shape.size(); ++k) {
                        product *= k == mode ? 1 : static_cast<reference::wide>(factors[k](index[k], r));
                    }
                    reference::add(expected, index[mode] * rank + r, product);
                }
            });
            CHECK(reference::worst_error(moden::mttkrp(x, factors, mode), expected) <= 1);

            std::vector<tensor<T, 2>> others;
            for (std::size_t k = 0; k < shape.size(); ++k) {
                if (k != mode) {
                    others.push_back(factors[k]);
                }
            }
            if (!others.empty()) {
                const auto unfolded = moden::unfold(x, mode);
                const auto product = reference::narrowed<T>(
                    reference::multiply(reference::widened(unfolded), reference::widened(moden::khatri_rao(others))));
                CHECK(reference::worst_error(product, expected) <= 1);
            }
        }
    }
}

TEST_CASE("mttkrp does not read the factor of its own mode") {
    const auto x = normal_tensor<double>({3, 4, 5}, 1);
    auto factors = reference::normal_matrices<double>({3, 4, 5}, {2, 2, 2}, 2);
    const auto before = moden::mttkrp(x, factors, 1);
    factors[1].fill(std::numeric_limits<double>::quiet_NaN());
    CHECK(reference::identical(before, moden::mttkrp(x, factors, 1)));
}

// ---- cp_als ---------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a known decomposition is found up to the order and the signs of its columns", T, float, double) {
    for (const extents& shape : {extents{8, 9, 10}, extents{6, 5, 7, 4}, extents{20, 5, 6}}) {
        CAPTURE(reference::text(shape));
        const auto known = random_cp(shape, {4, 3, 2}, 5);
        const auto x = cp_by_loops<T>(known.weights, known.factors);
        // Alternating least squares may end in a local minimum; from these starts it does not.
        for (const cp_start start : {cp_start::hosvd, cp_start::random}) {
            CAPTURE(static_cast<int>(start));
            const auto result = moden::cp_als(x, {.rank = 3,
                                                  .tolerance = 10 * reference::epsilon<T>,
                                                  .max_iterations = 2000,
                                                  .start = start,
                                                  .seed = 4});
            check_form(result, 3);
            CHECK(result.status == iteration_status::converged);
            // The iteration converges linearly and stops at steps of 10 eps: what is left may be a hundred times that.
            const double reached = 1000 * reference::epsilon<T>;
            CHECK(result.relative_error <= reached);
            const auto model = cp_by_loops<double>(result.weights, result.factors);
            CHECK(std::abs(reference::relative_difference(dynamic_tensor<double>(xt::cast<double>(x)), model) -
                           result.relative_error) <= reference::lapack_bound * reference::epsilon<T>);
            for (std::size_t r = 0; r < 3; ++r) {
                CHECK(std::abs(static_cast<double>(result.weights[r]) - known.weights[r]) <=
                      10 * reached * known.weights[r]);
                double sign = 1;
                for (std::size_t n = 0; n < shape.size(); ++n) {
                    double inner = 0;
                    for (std::size_t i = 0; i < shape[n]; ++i) {
                        inner += static_cast<double>(result.factors[n](i, r)) * known.factors[n](i, r);
                    }
                    CHECK(std::abs(std::abs(inner) - 1) <= 10 * reached);
                    sign *= inner;
                }
                CHECK(sign > 0);  // the signs of the columns cancel
            }
        }
    }
}

TEST_CASE_TEMPLATE("the error never grows, and is true", T, float, double) {
    const auto x = normal_tensor<T>({7, 8, 9}, 1);
    const auto result = moden::cp_als(x, {.rank = 4, .tolerance = 0, .max_iterations = 30});
    check_form(result, 4);
    CHECK(result.status == iteration_status::reached_max_iterations);
    CHECK(result.iterations == 30);
    const double rounding = reference::lapack_bound * reference::epsilon<T>;
    for (std::size_t i = 1; i < result.history.size(); ++i) {
        CHECK(result.history[i] <= result.history[i - 1] + rounding);
    }
    const auto model = cp_by_loops<double>(result.weights, result.factors);
    const dynamic_tensor<double> exact = xt::cast<double>(x);
    CHECK(std::abs(reference::relative_difference(exact, model) - result.relative_error) <= rounding);
    CHECK(std::abs(result.history.back() - result.relative_error) <= rounding);
}

TEST_CASE_TEMPLATE("errors below sqrt(eps) are resolved, although |X|^2 - 2 <X, X^> + |X^|^2 is not", T, float,
                   double) {
    const auto known = random_cp({10, 9, 8}, {2, 1}, 3);
    auto x = cp_by_loops<T>(known.weights, known.factors);
    const double noise = 30 * reference::epsilon<T>;
    const auto perturbation = normal_tensor<T>({10, 9, 8}, 4);
    const T size =
        static_cast<T>(noise * static_cast<double>(moden::norm(x)) / static_cast<double>(moden::norm(perturbation)));
    x += size * perturbation;
    const auto result = moden::cp_als(x, {.rank = 2, .tolerance = reference::epsilon<T>, .max_iterations = 1000});
    CHECK(result.relative_error <= noise * 1.1);
    CHECK(result.relative_error >= noise * 0.8);
    CHECK(result.history.back() == doctest::Approx(result.relative_error).epsilon(0.1));
}

TEST_CASE_TEMPLATE("more components than the tensor has", T, float, double) {
    const auto known = random_cp({5, 6, 4}, {3, 2}, 1);
    const auto x = cp_by_loops<T>(known.weights, known.factors);
    for (const std::size_t rank : reference::sizes{4, 7}) {  // 7 is above every extent: random columns fill up
        CAPTURE(rank);
        const auto result = moden::cp_als(x, {.rank = rank, .max_iterations = 200});
        REQUIRE(result.weights.size() == rank);
        for (const auto& factor : result.factors) {
            CHECK(std::all_of(factor.begin(), factor.end(), [](T value) { return std::isfinite(value); }));
        }
        // Columns have become dependent; the systems are then solved to about sqrt(eps).
        CHECK(result.relative_error <= 10 * std::sqrt(reference::epsilon<T>));
    }
}

TEST_CASE_TEMPLATE("a tensor of zeros gives weights of zero", T, float, double) {
    const dynamic_tensor<T> x = xt::zeros<T>({3, 4, 5});
    for (const cp_start start : {cp_start::hosvd, cp_start::random}) {
        const auto result = moden::cp_als(x, {.rank = 2, .start = start});
        check_form(result, 2);
        CHECK(result.status == iteration_status::converged);
        CHECK(result.relative_error == 0);
        CHECK(result.weights == std::vector<T>{T(0), T(0)});
        CHECK(moden::norm(moden::reconstruct(result)) == T(0));
    }
}

TEST_CASE_TEMPLATE("orders 1, 2 and 8", T, float, double) {
    const auto vector = normal_tensor<T>({6}, 1);
    const auto of_vector = moden::cp_als(vector, {.rank = 1});
    check_form(of_vector, 1);
    CHECK(of_vector.relative_error <= reference::lapack_bound * reference::epsilon<T>);

    const auto matrix = reference::with_spectrum(9, 8, {3, 2, 1}, 1).matrix<T>();
    const auto of_matrix = moden::cp_als(matrix, {.rank = 3});
    check_form(of_matrix, 3);
    CHECK(of_matrix.relative_error <= 100 * reference::epsilon<T>);

    const auto known = random_cp({2, 3, 2, 2, 3, 2, 2, 3}, {2}, 4);
    const auto x = cp_by_loops<T>(known.weights, known.factors);
    const auto of_order_8 = moden::cp_als(x, {.rank = 1});
    check_form(of_order_8, 1);
    CHECK(of_order_8.relative_error <= reference::lapack_bound * reference::epsilon<T>);
    CHECK(static_cast<double>(of_order_8.weights[0]) ==
          doctest::Approx(2).epsilon(reference::lapack_bound * reference::epsilon<T>));
}

TEST_CASE_TEMPLATE("a start that is given is used", T, float, double) {
    const auto known = random_cp({6, 7, 8}, {3, 2}, 1);
    const auto x = cp_by_loops<T>(known.weights, known.factors);
    std::vector<tensor<T, 2>> start;
    for (const auto& factor : known.factors) {
        start.push_back(xt::cast<T>(factor));
    }
    const auto kept = start;
    // The truth is a fixed point: found at once, from factors of any length.
    start[0] *= T(10);
    const auto result = moden::cp_als(x, start, {.max_iterations = 1});
    CHECK(result.iterations == 1);
    CHECK(result.relative_error <= reference::lapack_bound * reference::epsilon<T>);
    CHECK(reference::identical(start[1], kept[1]));
    // The same start as the default one gives the same result.
    const auto continued =
        moden::cp_als(x, moden::cp_als(x, {.rank = 2, .max_iterations = 2}).factors, {.rank = 2, .max_iterations = 1});
    const auto at_once = moden::cp_als(x, {.rank = 2, .max_iterations = 3});
    CHECK(continued.relative_error <= at_once.relative_error + std::sqrt(reference::epsilon<T>));
}

TEST_CASE("stopping: callback, tolerance, seed") {
    const auto x = normal_tensor<double>({7, 8, 9}, 1);
    std::vector<double> seen;
    const auto stopped =
        moden::cp_als(x, {.rank = 3, .tolerance = 0, .progress = [&](std::size_t iteration, double error) {
                              CHECK(iteration == seen.size() + 1);
                              seen.push_back(error);
                              return iteration < 5;
                          }});
    CHECK(stopped.status == iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 5);
    CHECK(seen == stopped.history);

    const auto converged = moden::cp_als(x, {.rank = 3, .tolerance = 1e-3, .max_iterations = 500});
    CHECK(converged.status == iteration_status::converged);
    const std::size_t last = converged.history.size() - 1;
    REQUIRE(last >= 1);
    CHECK(std::abs(converged.history[last] - converged.history[last - 1]) < 1e-3);

    const auto with_seed = [&](std::uint64_t seed) {
        return moden::cp_als(x, {.rank = 3, .max_iterations = 2, .start = cp_start::random, .seed = seed}).factors[0];
    };
    CHECK(reference::identical(with_seed(1), with_seed(1)));
    CHECK(!reference::identical(with_seed(1), with_seed(2)));
}

TEST_CASE_TEMPLATE("reconstruct against loops", T, float, double) {
    for (const extents& shape :
         {extents{5}, extents{4, 3}, extents{3, 4, 5}, extents{2, 3, 1, 4}, extents{2, 3, 2, 2, 3}}) {
        CAPTURE(reference::text(shape));
        const std::size_t rank = 3;
        moden::cp_tensor<tensor<T, 2>> cp{{T(4), T(2), T(-1)},
                                          reference::normal_matrices<T>(shape, extents(shape.size(), rank), 1)};
        auto expected = reference::zero_sums(shape, rank + shape.size() + 1);
        std::size_t at = 0;
        reference::for_each_index(shape, [&](const extents& index) {
            for (std::size_t r = 0; r < rank; ++r) {
                reference::wide term = cp.weights[r];
                for (std::size_t n = 0; n < shape.size(); ++n) {
                    term *= cp.factors[n](index[n], r);
                }
                reference::add(expected, at, term);
            }
            ++at;
        });
        CHECK(reference::worst_error(moden::reconstruct(cp), expected) <= 1);
    }
}

TEST_CASE("bad arguments are named") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    const tensor<double, 3> x = normal_tensor<double>({3, 4, 5}, 1);
    const auto factors = reference::normal_matrices<double>({3, 4, 5}, {2, 2, 2}, 2);
    CHECK_THROWS_WITH_AS(moden::mttkrp(x, factors, 3), doctest::Contains("mttkrp: mode 3 of a tensor of order 3"),
                         moden::shape_error);
    auto two = factors;
    two.pop_back();
    CHECK_THROWS_WITH_AS(moden::mttkrp(x, two, 0), doctest::Contains("mttkrp: 2 factors for a tensor of order 3"),
                         moden::shape_error);
    auto wrong = factors;
    wrong[1] = xt::ones<double>({5, 2});
    CHECK_THROWS_WITH_AS(moden::mttkrp(x, wrong, 0), doctest::Contains("mttkrp: factor 1 of 5 x 2 (expected 4 x 2"),
                         moden::shape_error);
    wrong[1] = xt::ones<double>({4, 3});
    CHECK_THROWS_WITH_AS(moden::mttkrp(x, wrong, 0), doctest::Contains("mttkrp: factor 1 of 4 x 3 (expected 4 x 2"),
                         moden::shape_error);
    const std::vector<tensor<double, 1>> vectors(3, tensor<double, 1>{1, 2, 3});
    CHECK_THROWS_WITH_AS(moden::mttkrp(x, vectors, 0),
                         doctest::Contains("mttkrp: a factor has order 1 (expected a matrix)"), moden::shape_error);

    CHECK_THROWS_WITH_AS(moden::cp_als(x, {}), doctest::Contains("cp_als: rank 0 (expected at least 1)"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::cp_als(x, {.rank = 1, .tolerance = -1}), doctest::Contains("cp_als: tolerance -1"),
                         moden::argument_error);
    CHECK_THROWS_AS(moden::cp_als(x, {.rank = 1, .tolerance = nan}), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::cp_als(x, {.rank = 1, .max_iterations = 0}),
                         doctest::Contains("cp_als: max_iterations 0"), moden::argument_error);
    const tensor<double, 3> empty = xt::ones<double>({3, 0, 5});
    CHECK_THROWS_WITH_AS(moden::cp_als(empty, {.rank = 1}),
                         doctest::Contains("cp_als: the tensor of 3 x 0 x 5 is empty"), moden::shape_error);
    auto bad = x;
    bad(0, 0, 0) = nan;
    CHECK_THROWS_WITH_AS(moden::cp_als(bad, {.rank = 1}),
                         doctest::Contains("cp_als: the tensor holds 1 values that are NaN"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::cp_als(x, two, {}), doctest::Contains("cp_als: 2 factors for a tensor of order 3"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::cp_als(x, factors, {.rank = 3}),
                         doctest::Contains("cp_als: rank 3 with starting factors of 2 columns"), moden::argument_error);
    auto infinite = factors;
    infinite[2](0, 0) = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(moden::cp_als(x, infinite, {}), doctest::Contains("cp_als: a starting factor holds 1 values"),
                         moden::argument_error);

    moden::cp_tensor<tensor<double, 2>> cp{{1.0}, factors};
    CHECK_THROWS_WITH_AS(moden::reconstruct(cp), doctest::Contains("reconstruct: 1 weights for 2 columns"),
                         moden::shape_error);
    cp.weights = {1, 1};
    CHECK_THROWS_WITH_AS(moden::reconstruct<4>(cp), doctest::Contains("reconstruct: 3 factors for a tensor of order 4"),
                         moden::shape_error);
    cp.factors.clear();
    CHECK_THROWS_WITH_AS(moden::reconstruct(cp), doctest::Contains("reconstruct: 0 factors"), moden::shape_error);
}
