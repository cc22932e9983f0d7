#pragma once

// Non-owning views of memory that some policy can reach. Algorithms and primitives speak in views; users do not have to.

#include <cstddef>
#include <type_traits>

#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>

namespace moden {

/// Memory that the CPU reads and writes.
struct host_memory {};
/// Memory of a CUDA device.
struct device_memory {};

/// Which index of a matrix varies fastest in memory.
enum class storage_order { row_major, column_major };

/// A matrix in the memory space Space. Entry (i, j) lies at data[i * stride + j] (row-major) or data[i + j * stride].
template <class T, class Space>
struct matrix_view {
    T* data = nullptr;
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::size_t stride = 0;  ///< elements between neighbouring rows (row-major) or columns (column-major)
    storage_order order = storage_order::row_major;

    /// Views of mutable memory are views of constant memory too. A template, because nvcc warns of a plain conversion
    /// that a view of constant memory would have to its own type, constraint or not.
    template <class Constant>
        requires(!std::is_const_v<T> && std::is_same_v<Constant, const T>)
    operator matrix_view<Constant, Space>() const {
        return {data, rows, columns, stride, order};
    }
};

/// A vector of contiguous elements in the memory space Space.
template <class T, class Space>
struct vector_view {
    T* data = nullptr;
    std::size_t size = 0;

    template <class Constant>
        requires(!std::is_const_v<T> && std::is_same_v<Constant, const T>)
    operator vector_view<Constant, Space>() const {
        return {data, size};
    }
};

/// A contiguous row-major tensor in the memory space Space.
template <class T, class Space>
struct tensor_view {
    T* data = nullptr;
    extents shape;

    std::size_t order() const { return shape.size(); }
    std::size_t size() const { return element_count(shape); }

    template <class Constant>
        requires(!std::is_const_v<T> && std::is_same_v<Constant, const T>)
    operator tensor_view<Constant, Space>() const {
        return {data, shape};
    }
};

/// A view as a function argument that takes no part in deducing T, so that mutable views convert to constant ones.
template <class T, class Space>
using const_matrix_view = std::type_identity_t<matrix_view<const T, Space>>;

template <class T, class Space>
matrix_view<T, Space> row_major(T* data, std::size_t rows, std::size_t columns, Space = {}) {
    return {data, rows, columns, columns, storage_order::row_major};
}

template <class T, class Space>
matrix_view<T, Space> column_major(T* data, std::size_t rows, std::size_t columns, Space = {}) {
    return {data, rows, columns, rows, storage_order::column_major};
}

/// The same memory read as the transposed matrix; nothing moves.
template <class T, class Space>
matrix_view<T, Space> transposed(matrix_view<T, Space> matrix) {
    const bool row_major = matrix.order == storage_order::row_major;
    return {matrix.data, matrix.columns, matrix.rows, matrix.stride,
            row_major ? storage_order::column_major : storage_order::row_major};
}

/// Columns first, first + 1, ..., first + count - 1.
template <class T, class Space>
matrix_view<T, Space> columns_of(matrix_view<T, Space> matrix, std::size_t first, std::size_t count) {
    const std::size_t offset = matrix.order == storage_order::row_major ? first : first * matrix.stride;
    return {matrix.data + offset, matrix.rows, count, matrix.stride, matrix.order};
}

/// Rows first, first + 1, ..., first + count - 1.
template <class T, class Space>
matrix_view<T, Space> rows_of(matrix_view<T, Space> matrix, std::size_t first, std::size_t count) {
    return transposed(columns_of(transposed(matrix), first, count));
}

/// A tensor seen from one mode: `slabs` consecutive matrices of extent x columns each.
///
/// Row-major storage places the modes before `mode` slowest and those after it fastest, so that a mode-n product is the
/// same small matrix applied to every slab where it lies.
struct mode_geometry {
    std::size_t slabs = 1;    ///< product of the extents before the mode
    std::size_t extent = 1;   ///< extent of the mode
    std::size_t columns = 1;  ///< product of the extents after the mode

    std::size_t slab_size() const { return extent * columns; }
    std::size_t fibers() const { return slabs * columns; }
};

inline mode_geometry geometry_of(const extents& shape, std::size_t mode) {
    mode_geometry geometry;
    for (std::size_t n = 0; n < shape.size(); ++n) {
        (n < mode ? geometry.slabs : n == mode ? geometry.extent : geometry.columns) *= shape[n];
    }
    return geometry;
}

}  // namespace moden
