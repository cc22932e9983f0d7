#pragma once

// Matrices for tests of primitives: both storage orders, strides with gaps, and gaps that must come back untouched.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <moden/core/view.hpp>

#include "policies.hpp"
#include "reference.hpp"

namespace moden_test {

using moden::storage_order;

inline constexpr storage_order both_orders[] = {storage_order::row_major, storage_order::column_major};

inline std::string name_of(storage_order order) { return order == storage_order::row_major ? "row" : "column"; }

/// Where a matrix, or a sequence of them, lies in a vector.
struct layout {
    std::size_t rows;
    std::size_t columns;
    storage_order order = storage_order::row_major;
    std::size_t padding = 0;  ///< elements between the end of a row (or column) and the next one
    std::size_t count = 1;    ///< matrices
    std::size_t gap = 0;      ///< elements between them

    std::size_t stride() const { return (order == storage_order::row_major ? columns : rows) + padding; }
    std::size_t step() const { return stride() * (order == storage_order::row_major ? rows : columns) + gap; }
    std::size_t size() const { return step() * count; }
    std::size_t offset(std::size_t s, std::size_t i, std::size_t j) const {
        return s * step() + (order == storage_order::row_major ? i * stride() + j : i + j * stride());
    }
};

/// What stands in gaps: a value that any arithmetic would give away.
template <class T>
inline constexpr T gap_value = T(-12345.5);

/// A matrix (or several) in a policy's memory, made from arrays and read back as arrays.
template <class Policy, class T>
class stored {
public:
    /// All elements `value`, for results.
    stored(const Policy& policy, const layout& where, T value = std::numeric_limits<T>::quiet_NaN())
        : layout_(where), values_(filled(where, [&](std::size_t, std::size_t, std::size_t) { return value; })),
          memory_(policy, values_) {}

    stored(const Policy& policy, const layout& where, const std::vector<array>& matrices)
        : layout_(where), values_(filled(where, [&](std::size_t s, std::size_t i, std::size_t j) {
              return static_cast<T>(matrices[s](i, j));
          })),
          memory_(policy, values_) {}

    stored(const Policy& policy, const layout& where, const array& matrix) : stored(policy, where, std::vector<array>{matrix}) {}

    moden::matrix_view<T, typename Policy::memory_space> view() const {
        return {memory_.data(), layout_.rows, layout_.columns, layout_.stride(), layout_.order};
    }
    std::size_t step() const { return layout_.step(); }

    /// The matrices as they are now. Checks that nothing was written between them.
    std::vector<array> all() const {
        const std::vector<T> now = memory_.back();
        std::vector<array> result(layout_.count, array({layout_.rows, layout_.columns}));
        std::vector<char> inside(now.size(), 0);
        for (std::size_t s = 0; s < layout_.count; ++s) {
            for (std::size_t i = 0; i < layout_.rows; ++i) {
                for (std::size_t j = 0; j < layout_.columns; ++j) {
                    result[s](i, j) = now[layout_.offset(s, i, j)];
                    inside[layout_.offset(s, i, j)] = 1;
                }
            }
        }
        std::size_t written = 0;
        for (std::size_t i = 0; i < now.size(); ++i) {
            written += inside[i] == 0 && now[i] != gap_value<T>;
        }
        INFO("elements written outside of the matrix: ", written);
        CHECK(written == 0);
        return result;
    }
    array back() const { return all().front(); }

    /// Whether every element still has its first value (NaN included).
    bool untouched() const {
        const std::vector<T> now = memory_.back();
        for (std::size_t i = 0; i < now.size(); ++i) {
            if (!(now[i] == values_[i] || (std::isnan(now[i]) && std::isnan(values_[i])))) {
                return false;
            }
        }
        return true;
    }

private:
    template <class Value>
    static std::vector<T> filled(const layout& where, Value value) {
        std::vector<T> result(where.size(), gap_value<T>);
        for (std::size_t s = 0; s < where.count; ++s) {
            for (std::size_t i = 0; i < where.rows; ++i) {
                for (std::size_t j = 0; j < where.columns; ++j) {
                    result[where.offset(s, i, j)] = value(s, i, j);
                }
            }
        }
        return result;
    }

    layout layout_;
    std::vector<T> values_;
    placed<Policy, T> memory_;
};

inline std::vector<array> random_matrices(std::size_t count, std::size_t rows, std::size_t columns, std::uint64_t seed) {
    std::vector<array> result;
    for (std::size_t s = 0; s < count; ++s) {
        result.push_back(random_matrix(rows, columns, seed + 1000 * s));
    }
    return result;
}

}  // namespace moden_test
