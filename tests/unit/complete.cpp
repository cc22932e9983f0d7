// Completion of tensors with missing entries.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/complete.hpp>

#include "tucker_checks.hpp"

using moden::dynamic_tensor;
using moden::extents;
using moden::iteration_status;
using moden::tensor;
using reference::normal_tensor;

namespace {

/// A tensor of the given multilinear ranks, entries of about unit size.
template <class T>
dynamic_tensor<T> low_rank_tensor(const extents& shape, const extents& ranks, std::uint64_t seed) {
    const auto core = normal_tensor<double>(ranks, seed);
    const auto dense = reference::multi_mode_product(core, reference::normal_matrices<double>(shape, ranks, seed + 1));
    auto result = dynamic_tensor<T>::from_shape(shape);
    std::transform(dense.value.begin(), dense.value.end(), result.data(),
                   [](reference::wide value) { return static_cast<T>(value); });
    return result;
}

/// True with the given probability, by the library's own uniform numbers.
template <class Mask>
dynamic_tensor<Mask> random_mask(const extents& shape, double share, std::uint64_t seed) {
    std::vector<double> uniform(reference::element_count(shape));
    moden::fill_uniform(moden::cpu_policy{}, uniform.data(), uniform.size(), seed);
    auto result = dynamic_tensor<Mask>::from_shape(shape);
    std::transform(uniform.begin(), uniform.end(), result.data(),
                   [share](double u) { return static_cast<Mask>(u < share); });
    return result;
}

/// |P(X - Y)| / |P(X)| over the entries where the mask is as wanted.
template <class Tensor, class Mask>
double error_where(const Tensor& x, const Tensor& y, const Mask& mask, bool observed) {
    double difference = 0;
    double scale = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
        if (static_cast<bool>(mask.data()[i]) == observed) {
            const double a = static_cast<double>(x.data()[i]);
            const double d = a - static_cast<double>(y.data()[i]);
            difference += d * d;
            scale += a * a;
        }
    }
    return std::sqrt(difference / scale);
}

}  // namespace

TEST_CASE("example: complete") {
    const auto truth = low_rank_tensor<double>({12, 13, 14}, {2, 2, 2}, 1);
    const auto mask = random_mask<bool>({12, 13, 14}, 0.5, 2);
    auto x = truth;
    //! [complete]
    // x: 12 x 13 x 14 with entries missing; mask: the same shape, true where x was observed
    const auto filled = moden::complete(x, mask, {.ranks = {2, 2, 2}});

    const auto& whole = filled.completed;  // observed entries as they were, the others predicted
    const auto& core = filled.core;        // the model behind it: 2 x 2 x 2 and three factors
    //! [complete]
    CHECK(filled.status == iteration_status::converged);
    CHECK(reference::relative_difference(truth, whole) < 1e-5);
    CHECK(reference::shape_of(core) == extents{2, 2, 2});
}

TEST_CASE_TEMPLATE("a low-rank tensor is recovered from 30 % of its entries", T, float, double) {
    const extents shape{20, 22, 18};
    const extents ranks{2, 3, 2};
    const auto truth = low_rank_tensor<T>(shape, ranks, 3);
    const auto mask = random_mask<std::uint8_t>(shape, 0.3, 4);
    auto x = truth;
    for (std::size_t i = 0; i < x.size(); ++i) {  // what is missing may hold anything
        if (!mask.data()[i]) {
            x.data()[i] = i % 2 == 0 ? std::numeric_limits<T>::quiet_NaN() : std::numeric_limits<T>::infinity();
        }
    }
    const auto before = x;
    const auto result = moden::complete(x, mask, {.ranks = ranks, .max_iterations = 3000});
    CHECK(result.status == iteration_status::converged);
    CHECK(result.iterations == result.history.size());
    CHECK(result.observed_error == result.history.back());
    // Steps of 1e-7 (or 8 eps in float) at the end leave an error of some hundreds of them where the convergence is
    // linear.
    const double accuracy = 500 * std::max(1e-7, 8 * reference::epsilon<T>);
    CHECK(error_where(truth, result.completed, mask, false) <= accuracy);
    CHECK(error_where(truth, result.completed, mask, true) == 0);  // observed entries are kept bit for bit
    CHECK(reference::identical(x, before));
    for (const auto& factor : result.factors) {
        CHECK(reference::orthogonality_ratio(factor) <= reference::lapack_bound);
    }
    // The model and the report agree.
    const auto model = moden::reconstruct(result);
    CHECK(std::abs(error_where(truth, model, mask, true) - result.observed_error) <=
          reference::lapack_bound * reference::epsilon<T>);
    CHECK(error_where(result.completed, model, mask, false) <= reference::lapack_bound * reference::epsilon<T>);
}

TEST_CASE_TEMPLATE("observed everywhere, it is st_hosvd", T, float, double) {
    const auto x = normal_tensor<T>({6, 7, 8}, 1);
    const tensor<T, 3> fixed = x;
    const dynamic_tensor<bool> mask = xt::ones<bool>({6, 7, 8});
    const auto result = moden::complete(fixed, mask, {.ranks = {3, 4, 2}});
    const auto expected = moden::st_hosvd(fixed, {.ranks = {3, 4, 2}});
    static_assert(moden::order_of<decltype(result.completed)> == 3);
    CHECK(result.iterations == 1);
    CHECK(result.status == iteration_status::converged);
    CHECK(reference::identical(result.core, expected.core));
    CHECK(reference::identical(result.completed, fixed));
    CHECK(std::abs(result.observed_error - reference::true_error(x, result)) <=
          reference::lapack_bound * reference::epsilon<T>);
}

TEST_CASE("masks of every type mean the same") {
    const auto truth = low_rank_tensor<double>({8, 9, 7}, {2, 2, 2}, 1);
    const auto mask = random_mask<bool>({8, 9, 7}, 0.6, 2);
    const moden::completion_options options{.ranks = {2, 2, 2}, .max_iterations = 20};
    const auto expected = moden::complete(truth, mask, options).completed;
    dynamic_tensor<std::uint8_t> bytes = xt::cast<std::uint8_t>(mask);
    bytes *= 255;
    dynamic_tensor<int> negative = xt::cast<int>(mask);
    negative *= -1;
    dynamic_tensor<float> fractions = xt::cast<float>(mask);
    fractions *= 0.25f;
    CHECK(reference::identical(expected, moden::complete(truth, bytes, options).completed));
    CHECK(reference::identical(expected, moden::complete(truth, negative, options).completed));
    CHECK(reference::identical(expected, moden::complete(truth, fractions, options).completed));
    CHECK(reference::identical(
        expected, moden::complete(truth, dynamic_tensor<double>(xt::cast<double>(mask)), options).completed));
    CHECK(reference::identical(expected, moden::complete(truth, tensor<bool, 3>(mask), options).completed));
}

TEST_CASE_TEMPLATE("a slice without any observation gets finite values, and the rest is still found", T, float,
                   double) {
    const extents shape{10, 11, 12};
    const auto truth = low_rank_tensor<T>(shape, {2, 2, 2}, 5);
    auto mask = random_mask<bool>(shape, 0.7, 6);
    auto elsewhere = mask;  // missing entries outside of the slice
    for (std::size_t j = 0; j < 11; ++j) {
        for (std::size_t k = 0; k < 12; ++k) {
            mask(4, j, k) = false;
            elsewhere(4, j, k) = true;
        }
    }
    auto x = truth;
    for (std::size_t i = 0; i < x.size(); ++i) {
        if (!mask.data()[i]) {
            x.data()[i] = std::numeric_limits<T>::quiet_NaN();
        }
    }
    const auto result = moden::complete(x, mask, {.ranks = {2, 2, 2}, .max_iterations = 1000});
    CHECK(std::all_of(result.completed.begin(), result.completed.end(), [](T value) { return std::isfinite(value); }));
    CHECK(result.observed_error <= 1e-3);
    CHECK(error_where(truth, result.completed, elsewhere, false) <= 1e-2);
}

TEST_CASE("the observed error is reported after each iteration, and stops it") {
    const auto truth = low_rank_tensor<double>({9, 8, 10}, {2, 2, 2}, 1);
    const auto mask = random_mask<bool>({9, 8, 10}, 0.5, 2);
    std::vector<double> seen;
    const auto stopped =
        moden::complete(truth, mask, {.ranks = {2, 2, 2}, .progress = [&](std::size_t iteration, double error) {
                                          CHECK(iteration == seen.size() + 1);
                                          seen.push_back(error);
                                          return iteration < 6;
                                      }});
    CHECK(stopped.status == iteration_status::stopped_by_callback);
    CHECK(stopped.iterations == 6);
    CHECK(seen == stopped.history);
    const auto few = moden::complete(truth, mask, {.ranks = {2, 2, 2}, .tolerance = 0, .max_iterations = 4});
    CHECK(few.status == iteration_status::reached_max_iterations);
    CHECK(few.iterations == 4);
    CHECK(few.history == std::vector<double>(seen.begin(), seen.begin() + 4));
    const auto model = moden::reconstruct(few);
    CHECK(error_where(truth, model, mask, true) == doctest::Approx(few.observed_error).epsilon(1e-12));
    // Fewer observed entries than a fit of these ranks would need to be exact leave an error that goes down.
    CHECK(seen.back() < seen.front());
}

TEST_CASE("zeros, one entry, matrices and vectors") {
    const dynamic_tensor<double> zero = xt::zeros<double>({4, 5, 3});
    const auto mask = random_mask<bool>({4, 5, 3}, 0.5, 1);
    const auto of_zero = moden::complete(zero, mask, {.ranks = {2, 2, 2}});
    CHECK(of_zero.status == iteration_status::converged);
    CHECK(of_zero.observed_error == 0);
    CHECK(reference::identical(of_zero.completed, zero));

    const tensor<double, 1> one{3.0};
    CHECK(moden::complete(one, tensor<bool, 1>{true}, {.ranks = {1}}).completed(0) == 3.0);

    tensor<double, 2> matrix{{1, 2, 3}, {2, 4, 6}, {3, 6, 9}};
    tensor<bool, 2> seen{{true, true, true}, {true, true, false}, {true, false, true}};
    const auto of_matrix = moden::complete(matrix, seen, {.ranks = {1, 1}, .tolerance = 1e-12});
    CHECK(of_matrix.completed(1, 2) == doctest::Approx(6).epsilon(1e-8));
    CHECK(of_matrix.completed(2, 1) == doctest::Approx(6).epsilon(1e-8));
}

TEST_CASE("bad arguments are named") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    tensor<double, 3> x = xt::ones<double>({3, 4, 5});
    const tensor<bool, 3> mask = xt::ones<bool>({3, 4, 5});
    const tensor<bool, 3> nothing = xt::zeros<bool>({3, 4, 5});
    const tensor<bool, 3> other = xt::ones<bool>({3, 5, 4});
    CHECK_THROWS_WITH_AS(moden::complete(x, other, {.ranks = {1, 1, 1}}),
                         doctest::Contains("complete: a mask of 3 x 5 x 4 for a tensor of 3 x 4 x 5"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {}), doctest::Contains("complete: no ranks (expected one per mode)"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {.ranks = {1, 1}}),
                         doctest::Contains("complete: 2 ranks for a tensor of order 3"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {.ranks = {1, 5, 1}}),
                         doctest::Contains("complete: rank 5 for mode 1 (expected 1 to 4)"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {.ranks = {1, 0, 1}}),
                         doctest::Contains("complete: rank 0 for mode 1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {.ranks = {1, 1, 1}, .tolerance = -1}),
                         doctest::Contains("complete: tolerance -1"), moden::argument_error);
    CHECK_THROWS_AS(moden::complete(x, mask, {.ranks = {1, 1, 1}, .tolerance = nan}), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {.ranks = {1, 1, 1}, .max_iterations = 0}),
                         doctest::Contains("complete: max_iterations 0"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::complete(x, nothing, {.ranks = {1, 1, 1}}),
                         doctest::Contains("complete: no entry is observed"), moden::argument_error);
    x(0, 1, 2) = nan;
    x(2, 3, 4) = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(moden::complete(x, mask, {.ranks = {1, 1, 1}}),
                         doctest::Contains("complete: 2 observed entries are NaN or infinite"), moden::argument_error);
    const tensor<double, 2> empty = xt::ones<double>({0, 5});
    const tensor<bool, 2> empty_mask = xt::ones<bool>({0, 5});
    CHECK_THROWS_WITH_AS(moden::complete(empty, empty_mask, {.ranks = {1, 1}}),
                         doctest::Contains("complete: the tensor of 0 x 5 is empty"), moden::shape_error);
}
