#pragma once

// Matrices that are visited a panel of columns at a time, so that long ones (unfoldings of large tensors) need not exist
// as one block of memory. A source of panels has rows(), columns() and for_each(policy, width, visit), which calls
// visit(panel, first_column) with views of rows() x at most about `width` columns that together cover the matrix.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden::detail {

/// The panels of a matrix that does exist in memory.
template <class T, class Space>
struct matrix_panels {
    matrix_view<const T, Space> matrix;

    std::size_t rows() const { return matrix.rows; }
    std::size_t columns() const { return matrix.columns; }

    template <class Policy, class Visit>
    void for_each(const Policy&, std::size_t width, Visit visit) const {
        for (std::size_t first = 0; first < matrix.columns; first += width) {
            visit(columns_of(matrix, first, std::min(width, matrix.columns - first)), first);
        }
    }
};

/// Copies memory of the policy's space into a vector on the host.
template <class Policy, class T>
std::vector<T> to_vector(const Policy& policy, const T* data, std::size_t count) {
    std::vector<T> result(count);
    policy.download(data, result.data(), count);
    return result;
}

/// Memory of the policy with a copy of a vector.
template <class Policy, class T>
buffer_of<Policy, T> uploaded(const Policy& policy, const std::vector<T>& values) {
    auto buffer = policy.template allocate<T>(values.size());
    policy.upload(values.data(), buffer.data(), values.size());
    return buffer;
}

/// Columns that a matrix and its spectrum have been found for: `vectors` (rows x count, column-major) belongs to the
/// first `count` of `values`, which are in descending order.
template <class Buffer, class T>
struct left_vectors {
    Buffer vectors;
    std::size_t count = 0;
    std::vector<T> values;
};

/// R of the QR factorization of X', one panel after another: stack the R so far on the panel's columns (as rows) and
/// factorize again. Returns R as a row-major columns x columns buffer, columns = panels.rows().
///
/// Cost: 2 rows^2 columns flops and up to a quarter more for the stacked R (half where X has less than twelve times as
/// many columns as rows). Memory: two rows x rows matrices and a panel, which is a third of X or less: at most 2^18
/// elements or four times as many columns as rows, whichever is more.
template <class T, class Policy, class Panels>
auto triangular_factor(const Policy& policy, const Panels& panels) {
    using space = typename Policy::memory_space;
    const std::size_t n = panels.rows();
    constexpr std::size_t smallest_panel = std::size_t{1} << 18;  // elements
    const std::size_t third = std::min(panels.columns(), std::max(n, (panels.columns() + 2) / 3));
    const std::size_t width = std::min(third, std::max(4 * n, smallest_panel / n));
    auto r = policy.template allocate<T>(n * n);
    auto stacked = policy.template allocate<T>((n + width) * n);
    std::size_t height = 0;  // rows of the stack that hold something
    const auto reduce = [&] {
        if (height < n) {  // fewer rows than columns so far: rows of zeros change nothing
            policy.transform((n - height) * n, fill_with<T>{stacked.data() + height * n, T(0)});
            height = n;
        }
        policy.template qr<T>(row_major<T, space>(stacked.data(), height, n), row_major<T, space>(r.data(), n, n),
                              qr_output::r_only);
        policy.copy(static_cast<const T*>(r.data()), stacked.data(), n * n);
        height = n;
    };
    bool reduced = false;
    panels.for_each(policy, width, [&](matrix_view<const T, space> panel, std::size_t) {
        for (std::size_t first = 0; first < panel.columns; first += width) {
            const std::size_t count = std::min(width, panel.columns - first);
            if (height + count > n + width && height > 0) {
                reduce();
            }
            policy.template copy<T>(transposed(columns_of(panel, first, count)),
                                    row_major<T, space>(stacked.data() + height * n, count, n));
            height += count;
            reduced = false;
        }
    });
    if (!reduced) {
        reduce();
    }
    return r;
}

/// Sketch sizes and effort of the randomised methods.
struct sketch_options {
    std::size_t columns;           ///< of the sketch: rank plus oversampling
    std::size_t power_iterations;  ///< each sharpens the spectrum by a factor sigma^2
    std::uint64_t seed;
};

/// Orthonormal basis (rows x columns, column-major) of an approximate range of X: Q of (X X')^q X Omega.
///
/// Halko, Martinsson & Tropp 2011, Alg. 4.4, with X' Q never formed as a whole: each panel contributes X_p (X_p' Q).
/// Cost: 2 (1 + 2 q) rows columns k flops; memory for two bases and k columns of one panel.
template <class T, class Policy, class Panels>
auto random_range(const Policy& policy, const Panels& panels, const sketch_options& options) {
    using space = typename Policy::memory_space;
    const std::size_t n = panels.rows();
    const std::size_t k = options.columns;
    constexpr std::size_t panel_elements = std::size_t{1} << 20;
    const std::size_t width = std::max<std::size_t>(256, panel_elements / k);
    auto basis = policy.template allocate<T>(n * k);
    auto next = policy.template allocate<T>(n * k);
    policy.transform(n * k, fill_with<T>{basis.data(), T(0)});
    decltype(policy.template allocate<T>(0)) projected;
    const auto projected_for = [&](std::size_t columns) {
        if (projected.size() < columns * k) {
            projected = policy.template allocate<T>(columns * k);
        }
        return row_major<T, space>(projected.data(), columns, k);
    };
    panels.for_each(policy, width, [&](matrix_view<const T, space> panel, std::size_t first) {
        const auto omega = projected_for(panel.columns);
        fill_normal(policy, omega.data, panel.columns * k, options.seed, first);
        policy.template gemm<T>(T(1), panel, omega, T(1), column_major<T, space>(basis.data(), n, k));
    });
    const matrix_view<T, space> no_r{};
    policy.template qr<T>(column_major<T, space>(basis.data(), n, k), no_r);
    for (std::size_t iteration = 0; iteration < options.power_iterations; ++iteration) {
        policy.transform(n * k, fill_with<T>{next.data(), T(0)});
        panels.for_each(policy, width, [&](matrix_view<const T, space> panel, std::size_t) {
            const auto z = projected_for(panel.columns);
            policy.template gemm<T>(T(1), transposed(panel), column_major<const T, space>(basis.data(), n, k), T(0), z);
            policy.template gemm<T>(T(1), panel, z, T(1), column_major<T, space>(next.data(), n, k));
        });
        std::swap(basis, next);
        policy.template qr<T>(column_major<T, space>(basis.data(), n, k), no_r);
    }
    return basis;
}

/// The panels of Q' X for a basis Q (rows x k, column-major), computed as they are visited.
template <class T, class Space, class Panels>
struct projected_panels {
    const Panels& panels;
    const T* basis;
    std::size_t k;

    std::size_t rows() const { return k; }
    std::size_t columns() const { return panels.columns(); }

    template <class Policy, class Visit>
    void for_each(const Policy& policy, std::size_t width, Visit visit) const {
        decltype(policy.template allocate<T>(0)) projected;
        panels.for_each(policy, width, [&](matrix_view<const T, Space> panel, std::size_t first) {
            if (projected.size() < panel.columns * k) {
                projected = policy.template allocate<T>(panel.columns * k);
            }
            const auto z = row_major<T, Space>(projected.data(), panel.columns, k);
            policy.template gemm<T>(T(1), transposed(panel), column_major<const T, Space>(basis, panels.rows(), k), T(0), z);
            visit(matrix_view<const T, Space>(transposed(z)), first);
        });
    }
};

/// Left singular vectors of R' (row-major n x n, destroyed), which are those of the X that R was computed from.
template <class T, class Policy, class Buffer>
auto left_vectors_of_triangular_factor(const Policy& policy, Buffer& r, std::size_t n) {
    using space = typename Policy::memory_space;
    auto values = policy.template allocate<T>(n);
    auto left = policy.template allocate<T>(n * n);
    auto right = policy.template allocate<T>(n * n);
    // X' = Q R and R = U S V' give X = V S (Q U)'. V' row by row is V column by column.
    policy.template svd<T>(row_major<T, space>(r.data(), n, n), values.data(), row_major<T, space>(left.data(), n, n),
                           row_major<T, space>(right.data(), n, n));
    return left_vectors<Buffer, T>{std::move(right), n, to_vector<Policy, T>(policy, values.data(), n)};
}

}  // namespace moden::detail
