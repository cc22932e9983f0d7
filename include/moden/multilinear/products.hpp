#pragma once

// Inner, outer, Kronecker and Khatri-Rao products, and the norm.

#include <cstddef>
#include <memory>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Inner product <A, B> = sum A(i_0, ..., i_{N-1}) B(i_0, ..., i_{N-1}), summed in double precision.
///
/// \param policy where to compute
/// \param left   any shape
/// \param right  the same shape
/// \throws shape_error if the shapes differ
///
/// Cost: 2 prod(I) flops, one read of each tensor.
/// Source: Kolda & Bader 2009, Sec. 2.
/// \snippet tests/unit/products.cpp inner
template <execution_policy Policy, any_tensor Left, any_tensor Right>
auto inner(const Policy& policy, const Left& left, const Right& right) {
    using T = value_type_of<Left>;
    static_assert(std::is_same_v<T, value_type_of<Right>>, "moden: inner product of tensors of different type");
    const auto a = detail::evaluate(policy, left);
    const auto b = detail::evaluate(policy, right);
    detail::require<shape_error>(a.view().shape == b.view().shape, "inner: tensors of ", a.view().shape, " and ",
                                 b.view().shape, " (expected equal shapes)");
    return static_cast<T>(policy.reduce(a.view().size(), 0.0, detail::product_of<T>{a.view().data, b.view().data},
                                        detail::plus{}));
}

template <any_tensor Left, any_tensor Right>
auto inner(const Left& left, const Right& right) {
    return inner(cpu_policy{}, left, right);
}

/// Frobenius norm |A| = sqrt(<A, A>), without overflow for large and without underflow for small elements.
///
/// \param policy where to compute
/// \param tensor any shape; an empty tensor has norm 0
///
/// Cost: 2 prod(I) flops, one read.
/// Source: Kolda & Bader 2009, Sec. 2.
/// \snippet tests/unit/products.cpp inner
template <execution_policy Policy, any_tensor Tensor>
auto norm(const Policy& policy, const Tensor& tensor) {
    const auto argument = detail::evaluate(policy, tensor);
    return static_cast<value_type_of<Tensor>>(
        detail::euclidean_norm(policy, argument.view().data, argument.view().size()));
}

template <any_tensor Tensor>
auto norm(const Tensor& tensor) {
    return norm(cpu_policy{}, tensor);
}

namespace detail {

/// result(i, k, j, l) = left(i, j) right(k, l): outer, Kronecker and Khatri-Rao products are special cases.
template <class T>
struct kronecker_element {
    const T* left;
    const T* right;
    std::size_t left_columns;
    std::size_t right_rows;
    std::size_t right_columns;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t column) const {
        const std::size_t width = left_columns * right_columns;
        result[row * width + column] = left[row / right_rows * left_columns + column / right_columns] *
                        right[row % right_rows * right_columns + column % right_columns];
    }
};

/// result(i * right_rows + k, r) = left(i, r) right(k, r).
template <class T>
struct khatri_rao_element {
    const T* left;
    const T* right;
    std::size_t right_rows;
    std::size_t columns;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t column) const {
        result[row * columns + column] = left[row / right_rows * columns + column] * right[row % right_rows * columns + column];
    }
};

/// Khatri-Rao product of matrices with the same number of columns, as a buffer; an empty list gives one row of ones.
template <class Policy, class T, class Space>
auto khatri_rao_buffer(const Policy& policy, const std::vector<matrix_view<const T, Space>>& matrices,
                       std::size_t columns) {
    std::size_t rows = 1;
    auto product = policy.template allocate<T>(columns);
    policy.transform(columns, fill_with<T>{product.data(), T(1)});
    for (const auto& matrix : matrices) {
        auto next = policy.template allocate<T>(rows * matrix.rows * columns);
        policy.transform_grid(rows * matrix.rows, columns,
                              khatri_rao_element<T>{product.data(), matrix.data, matrix.rows, columns, next.data()});
        product = std::move(next);
        rows *= matrix.rows;
    }
    return product;
}

inline constexpr std::size_t summed_order(std::size_t left, std::size_t right) {
    return left == dynamic_order || right == dynamic_order ? dynamic_order : left + right;
}

}  // namespace detail

/// Outer product: (A o B)(i_0, ..., j_0, ...) = A(i_0, ...) B(j_0, ...). Of vectors u, v, w: outer(outer(u, v), w).
///
/// \param policy where to compute
/// \param left   I_0 x ... x I_{M-1}
/// \param right  J_0 x ... x J_{N-1}
/// \return       I_0 x ... x I_{M-1} x J_0 x ... x J_{N-1}
///
/// Cost: one multiplication per element of the result.
/// Source: Kolda & Bader 2009, Sec. 2; 001 Eqs. 3.5-3.6 (which writes (x) for it).
/// \snippet tests/unit/products.cpp outer
template <execution_policy Policy, any_tensor Left, any_tensor Right>
auto outer(const Policy& policy, const Left& left, const Right& right) {
    using T = value_type_of<Left>;
    static_assert(std::is_same_v<T, value_type_of<Right>>, "moden: outer product of tensors of different type");
    const auto a = detail::evaluate(policy, left);
    const auto b = detail::evaluate(policy, right);
    extents shape = a.view().shape;
    shape.insert(shape.end(), b.view().shape.begin(), b.view().shape.end());
    auto result = policy.template make_tensor<T, detail::summed_order(order_of<Left>, order_of<Right>)>(shape);
    const std::size_t columns = b.view().size();
    policy.transform_grid(a.view().size(), columns,
                          detail::kronecker_element<T>{a.view().data, b.view().data, 1, 1, columns, result.data()});
    return result;
}

template <any_tensor Left, any_tensor Right>
auto outer(const Left& left, const Right& right) {
    return outer(cpu_policy{}, left, right);
}

/// Kronecker product of two matrices: the block matrix [a_00 B, a_01 B, ...; a_10 B, ...; ...].
///
/// \param policy where to compute
/// \param left   I x J
/// \param right  K x L
/// \return       I K x J L
/// \throws shape_error if either is not a matrix
///
/// Cost: one multiplication per element of the result.
/// Source: Kolda & Bader 2009, Sec. 2.6.
/// \snippet tests/unit/products.cpp kronecker
template <execution_policy Policy, any_tensor Left, any_tensor Right>
auto kronecker(const Policy& policy, const Left& left, const Right& right) {
    using T = value_type_of<Left>;
    static_assert(std::is_same_v<T, value_type_of<Right>>, "moden: Kronecker product of matrices of different type");
    const auto left_argument = detail::evaluate(policy, left);
    const auto right_argument = detail::evaluate(policy, right);
    const auto a = detail::as_matrix(left_argument.view(), "kronecker", "the left factor");
    const auto b = detail::as_matrix(right_argument.view(), "kronecker", "the right factor");
    auto result = policy.template make_tensor<T, 2>({a.rows * b.rows, a.columns * b.columns});
    policy.transform_grid(a.rows * b.rows, a.columns * b.columns,
                          detail::kronecker_element<T>{a.data, b.data, a.columns, b.rows, b.columns, result.data()});
    return result;
}

template <any_tensor Left, any_tensor Right>
auto kronecker(const Left& left, const Right& right) {
    return kronecker(cpu_policy{}, left, right);
}

/// Khatri-Rao product: the column-wise Kronecker product of matrices with the same number of columns. Rows of the first
/// factor vary slowest.
///
/// \param policy   where to compute
/// \param matrices I_0 x R, I_1 x R, ...; at least one
/// \return         (I_0 I_1 ...) x R
/// \throws shape_error if the list is empty, a factor is not a matrix, or the numbers of columns differ
///
/// Cost: about one multiplication per element of the result; as much memory again while the last factor is multiplied in.
/// Source: Kolda & Bader 2009, Sec. 2.6; 002 Sec. 3.2.
/// \snippet tests/unit/products.cpp khatri_rao
template <execution_policy Policy, any_tensor Matrix>
auto khatri_rao(const Policy& policy, const std::vector<Matrix>& matrices) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    using argument = typename tensor_traits<Matrix>::argument;
    detail::check_argument<Policy, Matrix>();
    detail::require<shape_error>(!matrices.empty(), "khatri_rao: no matrices");
    std::vector<std::unique_ptr<argument>> arguments;
    std::vector<matrix_view<const T, space>> views;
    std::size_t rows = 1;
    for (const Matrix& matrix : matrices) {
        arguments.push_back(std::make_unique<argument>(matrix));
        views.push_back(detail::as_matrix(arguments.back()->view(), "khatri_rao", "a factor"));
        detail::require<shape_error>(views.back().columns == views.front().columns, "khatri_rao: factors of ",
                                     views.front().columns, " and ", views.back().columns,
                                     " columns (expected the same number in each)");
        rows *= views.back().rows;
    }
    const std::size_t columns = views.front().columns;
    auto result = policy.template make_tensor<T, 2>({rows, columns});
    if (views.size() == 1) {
        policy.copy(views.front().data, result.data(), rows * columns);
        return result;
    }
    const auto last = views.back();
    views.pop_back();
    const auto others = detail::khatri_rao_buffer<Policy, T, space>(policy, views, columns);
    policy.transform_grid(rows, columns,
                          detail::khatri_rao_element<T>{others.data(), last.data, last.rows, columns, result.data()});
    return result;
}

template <any_tensor Matrix>
auto khatri_rao(const std::vector<Matrix>& matrices) {
    return khatri_rao(cpu_policy{}, matrices);
}

}  // namespace moden
