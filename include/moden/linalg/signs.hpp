#pragma once

// The sign rule: singular vectors and eigenvectors are unique up to their sign, and this chooses it.

#include <cmath>
#include <cstddef>
#include <limits>

#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>

namespace moden::detail {

/// Loop body over columns of `vectors`, optionally flipping the matching rows of `partners`.
template <class T>
struct fix_column_sign {
    T* vectors;
    std::size_t rows;
    std::size_t row_step;
    std::size_t column_step;
    T* partners;
    std::size_t partner_length;
    std::size_t partner_row_step;
    std::size_t partner_column_step;
    T slack;

    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        T* column = vectors + j * column_step;
        T even = T(0);  // two maxima, since each comparison waits for the one before it
        T odd = T(0);
        for (std::size_t i = 0; i + 1 < rows; i += 2) {
            const T x = std::fabs(column[i * row_step]);
            const T y = std::fabs(column[(i + 1) * row_step]);
            even = even < x ? x : even;
            odd = odd < y ? y : odd;
        }
        const T last = rows > 0 ? std::fabs(column[(rows - 1) * row_step]) : T(0);
        const T greater = even < odd ? odd : even;
        const T largest = greater < last ? last : greater;
        std::size_t first = 0;
        while (first + 1 < rows && !(std::fabs(column[first * row_step]) >= largest * (T(1) - slack))) {
            ++first;
        }
        if (rows == 0 || column[first * row_step] >= T(0)) {
            return;
        }
        for (std::size_t i = 0; i < rows; ++i) {
            column[i * row_step] = -column[i * row_step];
        }
        if (partners != nullptr) {
            T* partner = partners + j * partner_row_step;
            for (std::size_t i = 0; i < partner_length; ++i) {
                partner[i * partner_column_step] = -partner[i * partner_column_step];
            }
        }
    }
};

/// Makes the first entry whose magnitude is within a factor 1 - sqrt(eps) of the column's largest positive, in every
/// column of `vectors`; rows of `partners` (V' of a decomposition U S V') change sign with their column.
///
/// The tolerance is for ties: entries of equal magnitude differ in the last digit between libraries, and a rule that
/// looked at the exact maximum would then choose different signs for the same data.
template <class Policy, class T, class Space>
void fix_signs(const Policy& policy, matrix_view<T, Space> vectors, matrix_view<T, Space> partners = {}) {
    const bool by_rows = vectors.order == storage_order::row_major;
    const bool partner_by_rows = partners.order == storage_order::row_major;
    const T slack = static_cast<T>(std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon())));
    policy.transform(vectors.columns,
                     fix_column_sign<T>{vectors.data, vectors.rows, by_rows ? vectors.stride : 1,
                                        by_rows ? 1 : vectors.stride, partners.data, partners.columns,
                                        partner_by_rows ? partners.stride : 1, partner_by_rows ? 1 : partners.stride,
                                        slack},
                     vectors.rows);
}

}  // namespace moden::detail
