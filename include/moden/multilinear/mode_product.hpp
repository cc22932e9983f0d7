#pragma once

// Mode-n products: a matrix or a vector applied to one mode of a tensor, or several to several modes.

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/unfold.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Whether the matrices of a product are used as they are or transposed.
enum class transposition { none, transposed };

namespace detail {

/// (A (x) I_columns)', so that the rows of length extent * columns of a tensor can be multiplied from the right.
template <class T>
struct expand_with_identity {
    const T* matrix;
    std::size_t row_step;
    std::size_t column_step;
    std::size_t rows;
    std::size_t columns;
    T* expanded;

    MODEN_HOST_DEVICE void operator()(std::size_t index) const {
        const std::size_t width = rows * columns;  // columns of the expanded matrix
        const std::size_t source = index / width;
        const std::size_t target = index % width;
        const bool same_column = source % columns == target % columns;
        expanded[index] =
            same_column ? matrix[target / columns * row_step + source / columns * column_step] : T(0);
    }
};

/// Y = X x_n A into memory of the policy's space.
///
/// First mode: one GEMM on the whole tensor. Last mode: one GEMM. In between, the same GEMM on every slab, without
/// moving any of them; only when slabs are a few columns wide (a GEMM with two columns is all overhead) the matrix is
/// widened to A (x) I instead, which buys one long GEMM for a little more arithmetic.
template <class Policy, class T, class Space>
void mode_product_into(const Policy& policy, const T* tensor, const mode_geometry& geometry,
                       matrix_view<const T, Space> matrix, T* result) {
    using view = matrix_view<T, Space>;
    using const_view = matrix_view<const T, Space>;
    const auto [slabs, extent, columns] = geometry;
    const std::size_t rows = matrix.rows;
    if (rows * slabs * columns == 0) {
        return;
    }
    if (slabs == 1) {
        policy.template gemm<T>(T(1), matrix, const_view{tensor, extent, columns, columns}, T(0),
                                view{result, rows, columns, columns});
    } else if (columns == 1) {
        policy.template gemm<T>(T(1), const_view{tensor, slabs, extent, extent}, transposed(matrix), T(0),
                                view{result, slabs, rows, rows});
    } else if (columns <= 4 && extent * columns <= 64 && rows * columns <= 64) {
        const std::size_t depth = extent * columns;
        const std::size_t width = rows * columns;
        auto expanded = policy.template allocate<T>(depth * width);
        const bool by_rows = matrix.order == storage_order::row_major;
        policy.transform(depth * width,
                         expand_with_identity<T>{matrix.data, by_rows ? matrix.stride : 1, by_rows ? 1 : matrix.stride,
                                                 rows, columns, expanded.data()});
        policy.template gemm<T>(T(1), const_view{tensor, slabs, depth, depth},
                                const_view{expanded.data(), depth, width, width}, T(0), view{result, slabs, width, width});
    } else {
        policy.template gemm_strided_batched<T>(T(1), matrix, 0, const_view{tensor, extent, columns, columns},
                                                extent * columns, T(0), view{result, rows, columns, columns},
                                                rows * columns, slabs);
    }
}

/// One factor of a product over several modes.
template <class T, class Space>
struct mode_factor {
    std::size_t mode;
    matrix_view<const T, Space> matrix;
};

/// Sorts factors so that the product over all of them takes the fewest flops.
///
/// Doing mode n before mode m costs J_n P + J_n J_m P / I_n (times 2), with P the elements before either; the other way
/// round exchanges the indices. Comparing the two gives a key per mode, 1/I_n - 1/J_n, so sorting is optimal.
template <class T, class Space>
void sort_by_cost(std::vector<mode_factor<T, Space>>& factors) {
    const auto key = [](const mode_factor<T, Space>& factor) {
        return 1.0 / static_cast<double>(factor.matrix.columns) - 1.0 / static_cast<double>(factor.matrix.rows);
    };
    std::stable_sort(factors.begin(), factors.end(),
                     [&](const auto& a, const auto& b) { return key(a) < key(b); });
}

/// Y = X x_{n_1} A_1 x_{n_2} A_2 ... into `result`; intermediate tensors live in two buffers of the policy.
template <class Policy, class T, class Space>
void multi_mode_product_into(const Policy& policy, const tensor_view<const T, Space>& tensor,
                             std::vector<mode_factor<T, Space>> factors, T* result) {
    if (factors.empty()) {
        policy.copy(tensor.data, result, tensor.size());
        return;
    }
    sort_by_cost(factors);
    extents shape = tensor.shape;
    const T* current = tensor.data;
    decltype(policy.template allocate<T>(0)) held;
    for (std::size_t i = 0; i < factors.size(); ++i) {
        const mode_geometry geometry = geometry_of(shape, factors[i].mode);
        shape[factors[i].mode] = factors[i].matrix.rows;
        if (i + 1 == factors.size()) {
            mode_product_into(policy, current, geometry, factors[i].matrix, result);
        } else {
            auto next = policy.template allocate<T>(element_count(shape));
            mode_product_into(policy, current, geometry, factors[i].matrix, next.data());
            held = std::move(next);
            current = held.data();
        }
    }
}

inline constexpr std::size_t contracted_order(std::size_t order) { return order == dynamic_order ? order : order - 1; }

}  // namespace detail

/// Mode-n product of a tensor with a matrix, Y(..., j, ...) = sum_i T(..., i, ...) A(j, i), or with a vector,
/// Y(..., ...) = sum_i T(..., i, ...) v(i), which removes the mode.
///
/// \param policy  where to compute; see policy/cpu.hpp, policy/cuda.hpp
/// \param tensor  I_0 x ... x I_{N-1}, any N >= 1
/// \param matrix  J x I_n, or a vector of I_n elements (of static order 1)
/// \param mode    n, counted from 0
/// \return        tensor of the same order with extent J in mode n; of order N - 1 for a vector
/// \throws shape_error if mode >= N, if the matrix does not have I_n columns (the vector I_n elements), or if the tensor
///         has no elements
///
/// Cost: 2 J prod(I) flops, no memory beyond the result. One GEMM for the first and last mode, otherwise a strided
/// batch of slabs. Where the modes behind an inner mode have only C = 2 to 4 elements together and neither I_n C nor J
/// C exceeds 64, it is one GEMM with C times the flops, and a matrix of I_n C x J C.
/// Source: Kolda & Bader 2009, Sec. 2.5; 001 Eq. 3.2.
/// \snippet tests/unit/mode_product.cpp mode_product
template <execution_policy Policy, any_tensor Tensor, any_tensor Matrix>
auto mode_product(const Policy& policy, const Tensor& tensor, const Matrix& matrix, std::size_t mode) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: mode_product of a tensor and a matrix of different type");
    const auto tensor_argument = detail::evaluate(policy, tensor);
    const auto matrix_argument = detail::evaluate(policy, matrix);
    const auto& view = tensor_argument.view();
    const auto& factor = matrix_argument.view();
    detail::check_mode(mode, view.order(), "mode_product");
    detail::require<shape_error>(view.size() > 0, "mode_product: the tensor of ", view.shape, " is empty");

    constexpr bool is_vector = order_of<Matrix> == 1;
    detail::require<shape_error>(factor.order() == (is_vector ? 1 : 2), "mode_product: the factor has shape ", factor.shape,
                                 " (expected a matrix; a vector must be of static order 1)");
    const std::size_t rows = is_vector ? 1 : factor.shape[0];
    const std::size_t columns = factor.shape.back();
    detail::require<shape_error>(columns == view.shape[mode] && rows > 0, "mode_product: a factor of ", factor.shape,
                                 " on mode ", mode, " of a tensor of ", view.shape, " (expected ", view.shape[mode],
                                 is_vector ? " elements)" : " columns and at least one row)");
    extents shape = view.shape;
    if constexpr (is_vector) {
        shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(mode));
    } else {
        shape[mode] = rows;
    }
    constexpr std::size_t order = is_vector ? detail::contracted_order(order_of<Tensor>) : order_of<Tensor>;
    auto result = policy.template make_tensor<T, order>(shape);
    detail::mode_product_into(policy, view.data, geometry_of(view.shape, mode),
                              row_major<const T, space>(factor.data, rows, columns), result.data());
    return result;
}

template <any_tensor Tensor, any_tensor Matrix>
auto mode_product(const Tensor& tensor, const Matrix& matrix, std::size_t mode) {
    return mode_product(cpu_policy{}, tensor, matrix, mode);
}

/// Which modes multi_mode_product multiplies, and how.
struct multi_mode_product_options {
    extents modes = {};                             ///< mode of each matrix; empty: matrix n belongs to mode n
    transposition matrices = transposition::none;   ///< transposed: every matrix is I_n x J_n and is applied transposed
};

/// Y = T x_{n_1} A_1 x_{n_2} A_2 ..., in the order that takes the fewest flops.
///
/// \param policy   where to compute
/// \param tensor   I_0 x ... x I_{N-1}
/// \param matrices one J_n x I_n matrix per mode to be multiplied (I_n x J_n with transposition::transposed)
/// \param options  which modes; distinct
/// \return         tensor with extent J_n in each multiplied mode
/// \throws shape_error if the number of modes and matrices differs, a mode is out of range or appears twice, or a matrix
///         does not fit its mode
///
/// Cost: the minimum over all orders of sum 2 J_n prod(current extents) flops, and C times that in a step where
/// mode_product says so; memory for two intermediate tensors.
/// Source: Kolda & Bader 2009, Sec. 2.5; 001 Eq. 3.3 (the products commute).
/// \snippet tests/unit/mode_product.cpp multi_mode_product
template <execution_policy Policy, any_tensor Tensor, any_tensor Matrix>
auto multi_mode_product(const Policy& policy, const Tensor& tensor, const std::vector<Matrix>& matrices,
                        const multi_mode_product_options& options = {}) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: multi_mode_product of a tensor and matrices of different type");
    const auto tensor_argument = detail::evaluate(policy, tensor);
    const auto& view = tensor_argument.view();
    detail::require<shape_error>(view.size() > 0, "multi_mode_product: the tensor of ", view.shape, " is empty");
    detail::require<shape_error>(options.modes.empty() ? matrices.size() == view.order() : matrices.size() == options.modes.size(),
                                 "multi_mode_product: ", matrices.size(), " matrices for ",
                                 options.modes.empty() ? view.order() : options.modes.size(), " modes");
    using argument = typename tensor_traits<Matrix>::argument;
    std::vector<std::unique_ptr<argument>> arguments;  // keeps evaluated copies alive
    std::vector<detail::mode_factor<T, space>> factors;
    extents shape = view.shape;
    std::vector<char> seen(view.order(), 0);
    detail::check_argument<Policy, Matrix>();
    for (std::size_t i = 0; i < matrices.size(); ++i) {
        const std::size_t mode = options.modes.empty() ? i : options.modes[i];
        detail::check_mode(mode, view.order(), "multi_mode_product");
        detail::require<shape_error>(!seen[mode], "multi_mode_product: mode ", mode, " appears twice");
        seen[mode] = 1;
        arguments.push_back(std::make_unique<argument>(matrices[i]));
        auto matrix = detail::as_matrix(arguments.back()->view(), "multi_mode_product", "a factor");
        if (options.matrices == transposition::transposed) {
            matrix = transposed(matrix);
        }
        detail::require<shape_error>(matrix.columns == view.shape[mode] && matrix.rows > 0, "multi_mode_product: a factor of ",
                                     arguments.back()->view().shape, " on mode ", mode, " of a tensor of ", view.shape);
        shape[mode] = matrix.rows;
        factors.push_back({mode, matrix});
    }
    auto result = policy.template make_tensor<T, order_of<Tensor>>(shape);
    detail::multi_mode_product_into<Policy, T, space>(policy, view, std::move(factors), result.data());
    return result;
}

template <any_tensor Tensor, any_tensor Matrix>
auto multi_mode_product(const Tensor& tensor, const std::vector<Matrix>& matrices,
                        const multi_mode_product_options& options = {}) {
    return multi_mode_product(cpu_policy{}, tensor, matrices, options);
}

}  // namespace moden
