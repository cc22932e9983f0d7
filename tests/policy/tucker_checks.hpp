#pragma once

// What every Tucker decomposition owes, whichever method made it.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "policies.hpp"
#include "reference.hpp"

namespace moden_test {

/// In each column the first entry within sqrt(eps) of the largest magnitude is positive.
template <class T>
void check_signs(const array& vectors) {
    const double slack = std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon()));
    for (std::size_t j = 0; j < vectors.columns(); ++j) {
        double largest = 0;
        for (std::size_t i = 0; i < vectors.rows(); ++i) {
            largest = std::max(largest, std::abs(vectors(i, j)));
        }
        std::size_t first = 0;
        while (std::abs(vectors(first, j)) < largest * (1 - slack) * (1 - 1e-6)) {
            ++first;
        }
        CHECK(vectors(first, j) > 0);
    }
}

/// The relative error that a result states is that of what it stands for. `resolution` is the error of its square.
template <class Cell, class Policy, class Result>
void check_reported_error(const Policy& policy, const array& tensor, const Result& result, double resolution) {
    const array rebuilt = reconstruct(to_array(policy, result.core), to_arrays(policy, result.factors));
    const double error = frobenius(difference(rebuilt, tensor)) / frobenius(tensor);
    // Rounding adds at most a few eps to the error itself, and its square to what is left of it.
    const double rounding = 10 * Cell::eps * error + std::min(resolution / std::max(error, 1e-300), std::sqrt(resolution));
    CHECK(std::abs(result.relative_error - error) <= rounding + 30 * Cell::eps);
}

}  // namespace moden_test
