#pragma once

// Structured sets of codes whose multilinear structure is known.

#include <algorithm>
#include <cmath>
#include <vector>

#include <moden/editing/factor_mode.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

namespace editing_test {

using moden_test::array;

inline std::vector<moden::factor_mode> face_modes(const moden::extents& shape) {
    static const std::vector<std::string> names{"person", "expression", "view", "light"};
    std::vector<moden::factor_mode> modes;
    for (std::size_t k = 1; k < shape.size(); ++k) {
        modes.push_back(moden::numbered_mode(names[k - 1], shape[k]));
    }
    return modes;
}

/// codes x persons x expressions x ...: a mean code, orthonormal factors and a core that falls off.
inline array planted_codes(const moden::extents& shape, std::uint64_t seed = 5) {
    array codes = moden_test::decaying_tensor(shape, 0.8, seed);
    moden_test::number_source next(seed + 100);
    const std::size_t samples = codes.data.size() / shape[0];
    for (std::size_t i = 0; i < shape[0]; ++i) {
        const double mean = 2 * next();
        for (std::size_t j = 0; j < samples; ++j) {
            codes.data[i * samples + j] += mean;
        }
    }
    return codes;
}

/// Codes (columns of the mode-0 unfolding) as rows.
inline array as_rows(const array& codes) { return moden_test::transpose(moden_test::unfold(codes, 0)); }

/// One row of a matrix, as a matrix.
inline array row_of(const array& matrix, std::size_t n) {
    array row({1, matrix.columns()});
    std::copy_n(matrix.data.begin() + static_cast<std::ptrdiff_t>(n * matrix.columns()), matrix.columns(), row.data.begin());
    return row;
}

/// The largest difference over the largest value.
inline double relative_difference(const array& got, const array& want) {
    REQUIRE(got.shape == want.shape);
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < got.data.size(); ++i) {
        worst = std::max(worst, std::abs(got.data[i] - want.data[i]));
        largest = std::max(largest, std::abs(want.data[i]));
    }
    return worst / largest;
}

}  // namespace editing_test
