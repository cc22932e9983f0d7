#pragma once

// What a subspace takes of vectors, removed.

#include <cstddef>

#include <moden/core/execution_policy.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>

namespace moden::detail {

/// W <- (I - Q Q') W for orthonormal columns of Q, twice unless told otherwise: what rounding leaves of the first projection is removed by the
/// second. Matrices of rows are given transposed.
template <class T, class Policy, class Space>
void project_away(const Policy& policy, matrix_view<const T, Space> q, matrix_view<T, Space> w, int passes = 2) {
    if (q.columns == 0 || w.columns == 0) {
        return;
    }
    const auto shares = policy.template allocate<T>(q.columns * w.columns);
    const auto c = column_major<T, Space>(shares.data(), q.columns, w.columns);
    for (int pass = 0; pass < passes; ++pass) {
        policy.template gemm<T>(T(1), transposed(q), w, T(0), c);
        policy.template gemm<T>(T(-1), q, c, T(1), w);
    }
}

}  // namespace moden::detail
