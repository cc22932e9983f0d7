#pragma once

// Unfoldings that are never formed: panels of their columns, and their Gram matrices.

#include <algorithm>
#include <cstddef>
#include <utility>

#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>

namespace moden::detail {

/// Panels of the mode-n unfolding of a tensor. First and last mode: views. Otherwise slabs are permuted a few at a time.
template <class T, class Space>
struct unfolding_panels {
    const T* tensor;
    mode_geometry geometry;

    std::size_t rows() const { return geometry.extent; }
    std::size_t columns() const { return geometry.fibers(); }

    template <class Policy, class Visit>
    void for_each(const Policy& policy, std::size_t width, Visit visit) const {
        const auto [slabs, extent, columns] = geometry;
        if (slabs == 1) {
            const matrix_view<const T, Space> whole{tensor, extent, columns, columns};
            matrix_panels<T, Space>{whole}.for_each(policy, width, visit);
        } else if (columns == 1) {
            const matrix_view<const T, Space> whole{tensor, slabs, extent, extent};
            matrix_panels<T, Space>{transposed(whole)}.for_each(policy, width, visit);
        } else if (columns >= width) {
            for (std::size_t slab = 0; slab < slabs; ++slab) {
                visit(matrix_view<const T, Space>{tensor + slab * extent * columns, extent, columns, columns}, slab * columns);
            }
        } else {
            const std::size_t third = (slabs + 2) / 3;  // the copy stays well below the tensor's own size
            const std::size_t together = std::min(third, width / columns);
            auto fibers = policy.template allocate<T>(together * columns * extent);
            for (std::size_t slab = 0; slab < slabs; slab += together) {
                const std::size_t count = std::min(together, slabs - slab);
                const T* first = tensor + slab * extent * columns;
                policy.template permute<T>(tensor_view<const T, Space>{first, {count, extent, columns}}, {0, 2, 1}, fibers.data());
                visit(matrix_view<const T, Space>(
                          transposed(matrix_view<const T, Space>{fibers.data(), count * columns, extent, extent})),
                      slab * columns);
            }
        }
    }
};

/// G(i, j) = sum_c E(i columns + c, j columns + c): what remains of the Gram matrix of a mode together with the modes
/// behind it when those are summed over.
template <class T>
struct partial_trace {
    const T* expanded;
    std::size_t extent;
    std::size_t columns;
    T* gram;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        T sum = T(0);
        for (std::size_t c = 0; c < columns; ++c) {
            sum += expanded[(i * columns + c) * extent * columns + j * columns + c];
        }
        gram[i * extent + j] = sum;
    }
};

/// X X' of the unfolding, extent x extent. Where slabs are a few columns wide, a little more arithmetic turns many thin
/// slabs into one tall matrix.
template <class Policy, class T, class Space>
void gram_matrix_of_rows(const Policy& policy, const unfolding_panels<T, Space>& panels, matrix_view<T, Space> gram) {
    const auto [slabs, extent, columns] = panels.geometry;
    const std::size_t width = extent * columns;
    const matrix_view<const T, Space> tall{panels.tensor, slabs, width, width};
    if (columns == 1) {
        policy.template syrk<T>(T(1), transposed(tall), T(0), gram);
    } else if (columns <= 4 && width <= 64 && slabs > width) {
        auto expanded = policy.template allocate<T>(width * width);
        policy.template syrk<T>(T(1), transposed(tall), T(0), row_major<T, Space>(expanded.data(), width, width));
        policy.transform_grid(extent, extent, partial_trace<T>{expanded.data(), extent, columns, gram.data});
    } else {
        policy.template syrk_strided_batched<T>(T(1), matrix_view<const T, Space>{panels.tensor, extent, columns, columns},
                                                width, slabs, T(0), gram);
    }
}

/// The unfolding as one matrix. First and last mode: the tensor itself. Otherwise a permuted copy in `storage`.
template <class Policy, class T, class Space>
matrix_view<const T, Space> whole_unfolding(const Policy& policy, const unfolding_panels<T, Space>& panels,
                                            buffer_of<Policy, T>& storage) {
    const auto [slabs, extent, columns] = panels.geometry;
    if (slabs == 1) {
        return {panels.tensor, extent, columns, columns};
    }
    if (columns == 1) {
        return transposed(matrix_view<const T, Space>{panels.tensor, slabs, extent, extent});
    }
    storage = policy.template allocate<T>(slabs * extent * columns);
    policy.template permute<T>(tensor_view<const T, Space>{panels.tensor, {slabs, extent, columns}}, {1, 0, 2}, storage.data());
    return {storage.data(), extent, slabs * columns, slabs * columns};
}

}  // namespace moden::detail
