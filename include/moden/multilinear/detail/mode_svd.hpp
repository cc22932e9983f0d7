#pragma once

// Left singular vectors of an unfolding that is never formed: the step that all Tucker decompositions share.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/orthonormalize.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/multilinear/detail/unfolding.hpp>
#include <moden/multilinear/options.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden::detail {

/// How many singular vectors of a mode are wanted.
struct truncation {
    std::size_t largest_rank;                                            ///< never more than this
    double budget = -1;                                                  ///< squared norm that may be discarded; negative: none is named

    /// The smallest rank whose discarded values stay within the budget. `unseen` is squared norm that the values lack and
    /// that is discarded in any case.
    template <class T>
    std::size_t rank(const std::vector<T>& values, double unseen = 0) const {
        const std::size_t most = std::min(largest_rank, values.size());
        if (budget < 0) {
            return most;
        }
        double tail = unseen;
        std::size_t rank = values.size();
        while (rank > 1) {
            const double value = static_cast<double>(values[rank - 1]);
            if (tail + value * value > budget) {
                break;
            }
            tail += value * value;
            --rank;
        }
        return std::min(rank, most);
    }
};

/// Sum of squares of the values from `rank` on, smallest first.
template <class T>
double tail_energy(const std::vector<T>& values, std::size_t rank) {
    double tail = 0;
    for (std::size_t i = values.size(); i > rank; --i) {
        tail += static_cast<double>(values[i - 1]) * static_cast<double>(values[i - 1]);
    }
    return tail;
}

template <class T>
void eigenvalues_to_singular_values(std::vector<T>& values) {
    std::transform(values.begin(), values.end(), values.begin(), [](T x) { return x > T(0) ? std::sqrt(x) : T(0); });
}

/// Eigenvectors of X X' (extent x extent). No values at all if X X' is not finite:
/// eigensolvers must not see that, since some of them never return.
template <class Policy, class T, class Space>
left_vectors<buffer_of<Policy, T>, T> gram_of_rows(const Policy& policy, const unfolding_panels<T, Space>& panels,
                                                  const truncation& wanted) {
    const std::size_t extent = panels.rows();
    auto gram = policy.template allocate<T>(extent * extent);
    const auto square = row_major<T, Space>(gram.data(), extent, extent);
    gram_matrix_of_rows(policy, panels, square);
    if (count_not_finite(policy, static_cast<const T*>(gram.data()), extent * extent) > 0) {
        return {};
    }
    const std::size_t most = std::min(wanted.largest_rank, extent);
    auto values = policy.template allocate<T>(extent);
    auto vectors = policy.template allocate<T>(extent * most);
    policy.template eigh<T>(square, values.data(), column_major<T, Space>(vectors.data(), extent, most));
    left_vectors<buffer_of<Policy, T>, T> result{std::move(vectors), 0, to_vector<Policy, T>(policy, values.data(), extent)};
    eigenvalues_to_singular_values(result.values);
    result.count = wanted.rank(result.values);
    return result;
}

/// For unfoldings with more rows than columns: eigenvectors V of X' X, then the columns of X V made orthonormal, which are
/// the left singular vectors: orthonormal to working precision even where the Gram matrix has lost digits. No values at all if
/// X'X is not finite.
template <class Policy, class T, class Space>
left_vectors<buffer_of<Policy, T>, T> gram_of_columns(const Policy& policy, const unfolding_panels<T, Space>& panels,
                                                     const truncation& wanted) {
    buffer_of<Policy, T> storage;
    const auto unfolded = whole_unfolding(policy, panels, storage);
    const std::size_t n = unfolded.columns;
    auto gram = policy.template allocate<T>(n * n);
    const auto square = row_major<T, Space>(gram.data(), n, n);
    policy.template syrk<T>(T(1), transposed(unfolded), T(0), square);
    if (count_not_finite(policy, static_cast<const T*>(gram.data()), n * n) > 0) {
        return {};
    }
    const std::size_t most = std::min(wanted.largest_rank, n);
    auto values = policy.template allocate<T>(n);
    auto right = policy.template allocate<T>(n * most);
    policy.template eigh<T>(square, values.data(), column_major<T, Space>(right.data(), n, most));
    left_vectors<buffer_of<Policy, T>, T> result{{}, 0, to_vector<Policy, T>(policy, values.data(), n)};
    eigenvalues_to_singular_values(result.values);
    result.count = wanted.rank(result.values);
    result.vectors = policy.template allocate<T>(unfolded.rows * result.count);
    const auto vectors = column_major<T, Space>(result.vectors.data(), unfolded.rows, result.count);
    policy.template gemm<T>(T(1), unfolded, column_major<const T, Space>(right.data(), n, result.count), T(0), vectors);
    orthonormalize_scaled(policy, vectors, result.values, result.vectors);
    return result;
}

template <class Policy, class T, class Space>
left_vectors<buffer_of<Policy, T>, T> qr_of_rows(const Policy& policy, const unfolding_panels<T, Space>& panels,
                                                const truncation& wanted) {
    auto r = triangular_factor<T>(policy, panels);
    auto result = left_vectors_of_triangular_factor<T>(policy, r, panels.rows());
    result.count = wanted.rank(result.values);
    return result;
}

template <class Policy, class T, class Space>
left_vectors<buffer_of<Policy, T>, T> qr_of_columns(const Policy& policy, const unfolding_panels<T, Space>& panels,
                                                   const truncation& wanted) {
    const std::size_t rows = panels.rows();
    const std::size_t n = panels.columns();
    auto q = policy.template allocate<T>(rows * n);
    const auto tall = column_major<T, Space>(q.data(), rows, n);
    {
        buffer_of<Policy, T> storage;
        policy.template copy<T>(whole_unfolding(policy, panels, storage), tall);
    }
    auto r = policy.template allocate<T>(n * n);
    policy.template qr<T>(tall, column_major<T, Space>(r.data(), n, n));
    auto values = policy.template allocate<T>(n);
    auto left = policy.template allocate<T>(n * n);
    auto right = policy.template allocate<T>(n * n);
    policy.template svd<T>(column_major<T, Space>(r.data(), n, n), values.data(), column_major<T, Space>(left.data(), n, n),
                           column_major<T, Space>(right.data(), n, n));
    left_vectors<buffer_of<Policy, T>, T> result{{}, 0, to_vector<Policy, T>(policy, values.data(), n)};
    result.count = wanted.rank(result.values);
    result.vectors = policy.template allocate<T>(rows * result.count);
    policy.template gemm<T>(T(1), tall, column_major<const T, Space>(left.data(), n, result.count), T(0),
                            column_major<T, Space>(result.vectors.data(), rows, result.count));
    return result;
}

/// Range finder, then the SVD of the projected unfolding through the R factor of its transpose. What the range misses of
/// the squared norm `energy` counts as discarded when the rank is chosen.
template <class Policy, class T, class Space>
left_vectors<buffer_of<Policy, T>, T> randomized_of_rows(const Policy& policy, const unfolding_panels<T, Space>& panels,
                                                        const truncation& wanted, double energy, const hosvd_options& options) {
    const std::size_t rows = panels.rows();
    const std::size_t most = std::min(rows, panels.columns());
    const std::size_t k = std::min(most, wanted.largest_rank + options.oversampling);
    auto basis = random_range<T>(policy, panels, sketch_options{k, options.power_iterations, options.seed});
    const projected_panels<T, Space, unfolding_panels<T, Space>> projected{panels, basis.data(), k};
    auto r = triangular_factor<T>(policy, projected);
    auto small = left_vectors_of_triangular_factor<T>(policy, r, k);
    const double unseen = k < most ? std::max(0.0, energy - tail_energy(small.values, 0)) : 0;
    left_vectors<buffer_of<Policy, T>, T> result{{}, wanted.rank(small.values, unseen), std::move(small.values)};
    result.vectors = policy.template allocate<T>(rows * result.count);
    policy.template gemm<T>(T(1), column_major<const T, Space>(basis.data(), rows, k),
                            column_major<const T, Space>(small.vectors.data(), k, result.count), T(0),
                            column_major<T, Space>(result.vectors.data(), rows, result.count));
    return result;
}

/// The method to start with: the one asked for, or what svd_method::automatic tries first. `energy`, the squared norm of the
/// tensor, matters only where something may be discarded (wanted.budget >= 0).
template <class T>
svd_method starting_method(std::size_t rows, std::size_t columns, const truncation& wanted, double energy,
                           const hosvd_options& options) {
    if (options.method != svd_method::automatic) {
        return options.method;
    }
    const std::size_t smaller = std::min(rows, columns);
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    if (wanted.budget >= 0 && wanted.budget < 100 * eps * static_cast<double>(smaller) * energy) {
        return svd_method::qr;  // the budget is below the noise of a Gram matrix
    }
    constexpr std::size_t worthwhile = 16;  // passes of the sketch cost less than the Gram matrix and its eigenvectors
    if (wanted.budget < 0 && smaller >= 512 && worthwhile * (wanted.largest_rank + options.oversampling) <= smaller) {
        return svd_method::randomized;
    }
    return svd_method::gram;
}

/// Whether the smallest value kept is so small that a Gram matrix in type T holds nothing but noise there.
template <class T>
bool gram_lost_digits(const std::vector<T>& values, std::size_t rank) {
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    return rank > 0 && static_cast<double>(values[rank - 1]) < std::sqrt(10 * eps) * static_cast<double>(values[0]);
}

/// Whether the squares in a Gram matrix are near underflow.
template <class T>
bool gram_underflows(const std::vector<T>& values) {
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const double largest = static_cast<double>(values[0]);
    return largest * largest < static_cast<double>(std::numeric_limits<T>::min()) / (eps * eps);
}

/// |X|^2 of a finite tensor, which double precision must be able to hold: errors are measured against it.
template <class Policy, class T>
double checked_energy(const Policy& policy, const T* tensor, std::size_t count, const char* function) {
    const double energy = require_finite(policy, tensor, count, function, "the tensor");
    constexpr double smallest = 1e-280;  // below, squares have lost digits
    const bool held = energy < std::numeric_limits<double>::infinity() &&
                      (energy > smallest || policy.reduce(count, 0.0, magnitude_of<T>{tensor}, maximum{}) == 0.0);
    require<argument_error>(held, function, ": the squared norm of the tensor is outside the range of double (scale the tensor)");
    return energy;
}

/// A factor of a Tucker decomposition with its report.
template <class Matrix, class T>
struct mode_basis {
    Matrix factor;
    mode_report<T> report;
};

/// Leading left singular vectors of the mode-n unfolding, signs fixed. `energy` is the squared norm of the tensor; with a Gram
/// matrix and nothing but a rank wanted it is not looked at.
template <class Policy, class T, class Space>
auto compute_mode_basis(const Policy& policy, const T* tensor, const mode_geometry& geometry, const truncation& wanted,
                        double energy, const hosvd_options& options, const char* function) {
    const unfolding_panels<T, Space> panels{tensor, geometry};
    const bool wide = panels.rows() <= panels.columns();
    const auto by_method = [&](svd_method method) {
        switch (method) {
            case svd_method::qr: return wide ? qr_of_rows(policy, panels, wanted) : qr_of_columns(policy, panels, wanted);
            case svd_method::randomized: return randomized_of_rows(policy, panels, wanted, energy, options);
            case svd_method::gram:
            case svd_method::automatic: break;
        }
        return wide ? gram_of_rows(policy, panels, wanted) : gram_of_columns(policy, panels, wanted);
    };
    svd_method method = starting_method<T>(panels.rows(), panels.columns(), wanted, energy, options);
    auto found = by_method(method);
    const bool automatic = options.method == svd_method::automatic;
    const bool overflows = found.values.empty();
    const bool underflows = !overflows && method == svd_method::gram && gram_underflows(found.values);
    if (overflows || underflows) {
        checked_energy(policy, tensor, geometry.extent * geometry.fibers(), function);
        require<argument_error>(automatic || !overflows, function,
                                ": the squares of the tensor's values overflow, which svd_method::gram cannot take "
                                "(scale the tensor, or use svd_method::qr)");
    }
    if (automatic && (overflows || underflows || (method == svd_method::gram && gram_lost_digits(found.values, found.count)))) {
        method = svd_method::qr;
        found = by_method(method);
    }
    const auto vectors = column_major<T, Space>(found.vectors.data(), panels.rows(), found.count);
    fix_signs(policy, vectors);
    auto factor = policy.template make_tensor<T, 2>({panels.rows(), found.count});
    policy.template copy<T>(vectors, row_major<T, Space>(factor.data(), panels.rows(), found.count));
    // A sketch does not see everything that it discards; the difference to the whole does.
    const double discarded = method == svd_method::randomized
                                 ? std::max(0.0, energy - (tail_energy(found.values, 0) - tail_energy(found.values, found.count)))
                                 : tail_energy(found.values, found.count);
    return mode_basis<decltype(factor), T>{std::move(factor),
                                           {found.count, method, std::move(found.values), discarded}};
}

}  // namespace moden::detail
