#pragma once

// Matrices with an offset as differentiable maps.

#include <cstddef>
#include <type_traits>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/detail/row_steps.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

/// f(x) = A x + b: selections, scalings, changes of basis, linear regressors.
///
/// A differentiable_map from the columns of A to its rows, with J = A everywhere; besides, whole batches of points at once. Matrix is
/// policy_tensor<Policy, T, 2>.
/// \snippet tests/policy/maps.cpp affine_map
template <class Matrix>
class affine_map {
public:
    using T = value_type_of<Matrix>;

    /// \param policy where the map will compute
    /// \param matrix A, m x n; copied
    /// \param offset b, m numbers
    /// \throws shape_error if A is no matrix or b does not fit
    template <execution_policy Policy, any_tensor A, any_tensor Offset>
    affine_map(const Policy& policy, const A& matrix, const Offset& offset) : affine_map(policy, matrix) {
        const auto b = detail::evaluate(policy, offset);
        detail::check_map_vector(b.view().shape, output_size(), "affine_map", "the offset");
        policy.copy(b.view().data, offset_.data(), output_size());
    }

    /// The same without an offset: f(x) = A x.
    /// \param policy where the map will compute
    /// \param matrix A, m x n; copied
    /// \throws shape_error if A is no matrix
    template <execution_policy Policy, any_tensor A>
    affine_map(const Policy& policy, const A& matrix)
        : matrix_(policy.template make_tensor<T, 2>({0, 0})), offset_(policy.template make_tensor<T, 2>({0, 0})) {
        const auto argument = detail::evaluate(policy, matrix);
        const auto a = detail::as_matrix(argument.view(), "affine_map", "the matrix");
        detail::require<shape_error>(a.rows > 0 && a.columns > 0, "affine_map: a matrix of ", argument.view().shape, " (expected at least one row and column)");
        matrix_ = policy.template make_tensor<T, 2>({a.rows, a.columns});
        offset_ = policy.template make_tensor<T, 2>({1, a.rows});
        policy.copy(a.data, matrix_.data(), a.rows * a.columns);
        policy.transform(a.rows, detail::fill_with<T>{offset_.data(), T(0)});
    }

    std::size_t input_size() const { return matrix_.shape()[1]; }
    std::size_t output_size() const { return matrix_.shape()[0]; }
    const Matrix& matrix() const { return matrix_; }  ///< A, m x n
    const Matrix& offset() const { return offset_; }  ///< b, 1 x m

    /// A x + b.
    /// \param policy where to compute
    /// \param x      n numbers
    /// \throws shape_error if x has another size
    template <execution_policy Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        const auto point = detail::evaluate(policy, x);
        detail::check_map_vector(point.view().shape, input_size(), "affine_map::value", "x");
        auto result = policy.template make_tensor<T, 1>({output_size()});
        multiply(policy, point.view().data, 1, offset_.data(), result.data());
        return result;
    }

    /// A x + b for every row x.
    /// \param policy where to compute
    /// \param points N x n
    /// \return       N x m
    /// \throws shape_error if the rows have another size
    ///
    /// Cost: one GEMM, 2 N m n flops.
    template <execution_policy Policy, any_tensor Block>
    auto values(const Policy& policy, const Block& points) const {
        const auto rows = detail::evaluate(policy, points);
        detail::check_map_block(rows.view().shape, input_size(), "affine_map::values", "the points");
        auto result = policy.template make_tensor<T, 2>({rows.view().shape[0], output_size()});
        multiply(policy, rows.view().data, rows.view().shape[0], offset_.data(), result.data());
        return result;
    }

    /// A t for every row t of the tangents (k x n): k x m.
    /// \param policy   where to compute
    /// \param x        the point, of which only the size counts
    /// \param tangents rows
    /// \throws shape_error if the shapes do not fit
    template <execution_policy Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        detail::check_map_vector(detail::shape_of(x), input_size(), "affine_map::jvp", "x");
        const auto rows = detail::evaluate(policy, tangents);
        detail::check_map_block(rows.view().shape, input_size(), "affine_map::jvp", "the tangents");
        auto result = policy.template make_tensor<T, 2>({rows.view().shape[0], output_size()});
        multiply(policy, rows.view().data, rows.view().shape[0], nullptr, result.data());
        return result;
    }

    /// A' u for every row u of the cotangents (k x m): k x n.
    /// \param policy     where to compute
    /// \param x          the point, of which only the size counts
    /// \param cotangents rows
    /// \throws shape_error if the shapes do not fit
    template <execution_policy Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        using space = typename Policy::memory_space;
        detail::check_map_vector(detail::shape_of(x), input_size(), "affine_map::vjp", "x");
        const auto rows = detail::evaluate(policy, cotangents);
        detail::check_map_block(rows.view().shape, output_size(), "affine_map::vjp", "the cotangents");
        const std::size_t count = rows.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, input_size()});
        policy.template gemm<T>(T(1), row_major<const T, space>(rows.view().data, count, output_size()),
                                row_major<const T, space>(matrix_.data(), output_size(), input_size()), T(0), detail::mutable_matrix(policy, result));
        return result;
    }

private:
    template <class Policy>
    void multiply(const Policy& policy, const T* rows, std::size_t count, const T* start, T* result) const {
        using space = typename Policy::memory_space;
        if (start != nullptr) {
            policy.transform_rows(count, output_size(), detail::start_rows_from<T>{start, result, output_size()});
        }
        policy.template gemm<T>(T(1), row_major<const T, space>(rows, count, input_size()),
                                transposed(row_major<const T, space>(matrix_.data(), output_size(), input_size())), start == nullptr ? T(0) : T(1),
                                row_major<T, space>(result, count, output_size()));
    }

    Matrix matrix_;
    Matrix offset_;
};

template <class Policy, class A>
affine_map(const Policy&, const A&) -> affine_map<factor_of<A>>;
template <class Policy, class A, class Offset>
affine_map(const Policy&, const A&, const Offset&) -> affine_map<factor_of<A>>;

/// What a linear regression predicts, as a map from one sample (d numbers) to its targets (t).
///
/// \param policy where the map will compute
/// \param fit    of least_squares (members coefficients, d x t, and intercept, 1 x t)
/// \return       x -> B' x + b
///
/// Cost: a copy of d t numbers.
/// \snippet tests/policy/maps.cpp make_affine_map
template <execution_policy Policy, class Regression>
auto make_affine_map(const Policy& policy, const Regression& fit) {
    using Matrix = std::remove_cvref_t<decltype(fit.coefficients)>;
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    const std::size_t d = fit.coefficients.shape()[0], t = fit.coefficients.shape()[1];
    auto matrix = policy.template make_tensor<T, 2>({t, d});
    auto offset = policy.template make_tensor<T, 1>({t});
    policy.template copy<T>(transposed(row_major<const T, space>(fit.coefficients.data(), d, t)), detail::mutable_matrix(policy, matrix));
    policy.copy(static_cast<const T*>(fit.intercept.data()), offset.data(), t);
    return affine_map<Matrix>(policy, matrix, offset);
}

}  // namespace moden
