#pragma once

// Columns that are orthonormal up to scale and rounding made orthonormal.

#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/view.hpp>

namespace moden::detail {

/// Column-major columns divided by `values`.
template <class T>
struct divide_columns {
    T* vectors;
    std::size_t rows;
    const T* values;
    MODEN_HOST_DEVICE void operator()(std::size_t column, std::size_t row) const {
        vectors[column * rows + row] /= values[column];
    }
};

/// G <- (3 I - G) / 2, of a Gram matrix.
template <class T>
struct newton_schulz_factor {
    T* gram;
    std::size_t size;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        gram[i] = T(i / size == i % size ? 1.5 : 0) - gram[i] / 2;
    }
};

template <class T>
struct deviation_from_identity {
    const T* gram;
    std::size_t size;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(gram[i]) - (i / size == i % size ? 1.0 : 0.0);
        return x * x;
    }
};

/// Orthonormalises column-major columns that are nearly orthogonal and whose norms are about `values` (descending).
///
/// Newton-Schulz steps Y (3 I - Y'Y) / 2, which are products and converge quadratically, to the orthonormal columns next
/// to the ones given; QR where rounding has left them too far from orthogonal. `storage` is what the columns lie in; it may
/// be exchanged for another buffer.
template <class Policy, class T, class Space, class Buffer>
void orthonormalize_scaled(const Policy& policy, matrix_view<T, Space> vectors, const std::vector<T>& values,
                           Buffer& storage) {
    const std::size_t k = vectors.columns;
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    constexpr int most_steps = 4;
    // The error of a Gram matrix is about eps values[0]^2, which scaling blows up by 1 / values[k - 1]^2.
    if (static_cast<double>(values[k - 1]) > 10 * std::sqrt(eps) * static_cast<double>(values[0])) {
        auto scale = policy.template allocate<T>(k);
        policy.upload(values.data(), scale.data(), k);
        policy.transform_grid(k, vectors.rows, divide_columns<T>{vectors.data, vectors.rows, scale.data()});
        auto gram = policy.template allocate<T>(k * k);
        auto other = policy.template allocate<T>(vectors.rows * k);
        for (int step = 0; step < most_steps; ++step) {
            policy.template syrk<T>(T(1), transposed(vectors), T(0), row_major<T, Space>(gram.data(), k, k));
            const double squared = policy.reduce(k * k, 0.0, deviation_from_identity<T>{gram.data(), k}, plus{});
            if (!(squared < 0.25)) {
                break;
            }
            policy.transform(k * k, newton_schulz_factor<T>{gram.data(), k});
            const auto next = column_major<T, Space>(other.data(), vectors.rows, k);
            policy.template gemm<T>(T(1), vectors, row_major<const T, Space>(gram.data(), k, k), T(0), next);
            std::swap(storage, other);
            vectors = next;
            if (squared < eps) {  // what is left is of the order of its square
                return;
            }
        }
    }
    policy.template qr<T>(vectors, matrix_view<T, Space>{});
}

}  // namespace moden::detail
