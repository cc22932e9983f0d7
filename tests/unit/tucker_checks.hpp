#pragma once

// What every Tucker decomposition has to satisfy, computed in extended precision from the result itself.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/hosvd.hpp>
#include <moden/multilinear/unfold.hpp>

#include "reference.hpp"

namespace reference {

/// The tensor that core and factors stand for, by loops in extended precision.
template <class Tucker>
sums rebuilt_tensor(const Tucker& tucker) {
    using T = typename std::remove_cvref_t<decltype(tucker.core)>::value_type;
    return multi_mode_product(dynamic_tensor<T>(tucker.core), tucker.factors);
}

/// |X - X^| / |X| by loops; 0 where both are zero.
template <class Tensor, class Tucker>
double true_error(const Tensor& expected, const Tucker& tucker) {
    const sums model = rebuilt_tensor(tucker);
    if (model.shape != shape_of(expected)) {
        return std::numeric_limits<double>::infinity();
    }
    wide difference = 0;
    wide scale = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const wide x = expected.data()[i];
        difference += (x - model.value[i]) * (x - model.value[i]);
        scale += x * x;
    }
    return difference == 0 ? 0 : static_cast<double>(std::sqrt(difference / scale));
}

/// Shapes that fit together, orthonormal factors, the sign rule, and reports that agree with the factors.
template <class Result>
void check_structure(const Result& result, const extents& shape) {
    REQUIRE(result.factors.size() == shape.size());
    REQUIRE(result.modes.size() == shape.size());
    REQUIRE(shape_of(result.core).size() == shape.size());
    for (std::size_t n = 0; n < shape.size(); ++n) {
        CAPTURE(n);
        const std::size_t rank = result.modes[n].rank;
        REQUIRE(rank >= 1);
        REQUIRE(shape_of(result.factors[n]) == extents{shape[n], rank});
        REQUIRE(shape_of(result.core)[n] == rank);
        CHECK(orthogonality_ratio(result.factors[n]) <= lapack_bound);
        CHECK(obeys_sign_rule(result.factors[n]));
        const auto& values = result.modes[n].singular_values;
        CHECK(values.size() >= rank);
        CHECK(std::is_sorted(values.rbegin(), values.rend()));
        CHECK(result.modes[n].method != moden::svd_method::automatic);
    }
}

/// sum of squares of values[first], values[first + 1], ...
template <class Values>
double tail_of_squares(const Values& values, std::size_t first) {
    double sum = 0;
    for (std::size_t i = values.size(); i > first; --i) {
        const double value = static_cast<double>(values.data()[i - 1]);
        sum += value * value;
    }
    return sum;
}

/// The smallest rank that leaves at most `budget` of the squared norm behind.
inline std::size_t smallest_rank(const std::vector<double>& values, double budget) {
    std::size_t rank = values.size();
    while (rank > 1 && tail_of_squares(values, rank - 1) <= budget) {
        --rank;
    }
    return rank;
}

}  // namespace reference
