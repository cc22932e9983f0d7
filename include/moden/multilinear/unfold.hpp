#pragma once

// Unfolding (matricization) of a tensor along a mode, and its inverse.

#include <cstddef>

#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Order of the columns of an unfolding.
enum class unfolding {
    row_major,  ///< the last of the other modes varies fastest (moden's convention, NumPy's and TensorLy's)
    kolda       ///< the first of the other modes varies fastest (Kolda & Bader 2009; 001 Eq. 3.1)
};

namespace detail {

inline void check_mode(std::size_t mode, std::size_t order, const char* function) {
    require<shape_error>(mode < order, function, ": mode ", mode, " of a tensor of order ", order,
                         " (modes are counted from 0)");
}

/// Axes that bring `mode` to the front and the others behind it in the order of the unfolding.
inline extents unfolding_axes(std::size_t order, std::size_t mode, unfolding columns) {
    extents axes{mode};
    for (std::size_t n = 0; n < order; ++n) {
        const std::size_t axis = columns == unfolding::row_major ? n : order - 1 - n;
        if (axis != mode) {
            axes.push_back(axis);
        }
    }
    return axes;
}

}  // namespace detail

/// Mode-n unfolding: the matrix whose rows are indexed by mode n and whose columns by all other modes together.
///
/// With unfolding::row_major the other modes keep their order and the last varies fastest:
/// X(i_n, j) with j = sum_{k != n} i_k prod_{m > k, m != n} I_m. With unfolding::kolda the first varies fastest.
/// No algorithm of the library needs this copy; it is here for users who want to see the matrix.
///
/// \param policy  where to compute
/// \param tensor  I_0 x ... x I_{N-1}, N >= 1
/// \param mode    n, counted from 0
/// \param columns order of the columns
/// \return        I_n x (prod_{k != n} I_k)
/// \throws shape_error if mode >= N
///
/// Cost: one read and one write of the tensor; no memory beyond the result.
/// Source: Kolda & Bader 2009, Sec. 2.4; 001 Eq. 3.1 (unfolding::kolda).
/// \snippet tests/unit/unfold.cpp unfold
template <execution_policy Policy, any_tensor Tensor>
auto unfold(const Policy& policy, const Tensor& tensor, std::size_t mode, unfolding columns = unfolding::row_major) {
    using T = value_type_of<Tensor>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::check_mode(mode, view.order(), "unfold");
    const mode_geometry geometry = geometry_of(view.shape, mode);
    auto result = policy.template make_tensor<T, 2>({geometry.extent, geometry.fibers()});
    policy.template permute<T>(view, detail::unfolding_axes(view.order(), mode, columns), result.data());
    return result;
}

template <any_tensor Tensor>
auto unfold(const Tensor& tensor, std::size_t mode, unfolding columns = unfolding::row_major) {
    return unfold(cpu_policy{}, tensor, mode, columns);
}

/// Inverse of unfold: the tensor of the given shape whose mode-n unfolding is the matrix.
///
/// \tparam Order  static order of the result; dynamic_order by default
/// \param policy  where to compute
/// \param matrix  I_n x (prod_{k != n} I_k)
/// \param mode    n, counted from 0
/// \param shape   I_0 x ... x I_{N-1}
/// \param columns order of the matrix's columns
/// \return        tensor of that shape
/// \throws shape_error if mode >= N, or the matrix does not have the extents that the shape asks for
///
/// Cost: one read and one write of the tensor.
/// \snippet tests/unit/unfold.cpp unfold
template <std::size_t Order = dynamic_order, execution_policy Policy, any_tensor Tensor>
auto fold(const Policy& policy, const Tensor& matrix, std::size_t mode, const extents& shape,
          unfolding columns = unfolding::row_major) {
    using T = value_type_of<Tensor>;
    const auto argument = detail::evaluate(policy, matrix);
    const auto view = argument.view();
    detail::check_mode(mode, shape.size(), "fold");
    detail::require<shape_error>(Order == dynamic_order || shape.size() == Order, "fold: shape ", shape, " for a tensor of order ",
                                 Order);
    const mode_geometry geometry = geometry_of(shape, mode);
    detail::require<shape_error>(view.shape == extents{geometry.extent, geometry.fibers()}, "fold: a matrix of ",
                                 view.shape, " (expected ", extents{geometry.extent, geometry.fibers()}, " for mode ",
                                 mode, " of a tensor of ", shape, ")");
    // The matrix is a tensor whose modes stand in the order of the unfolding; each goes back to its place.
    const extents axes = detail::unfolding_axes(shape.size(), mode, columns);
    extents unfolded_shape(axes.size());
    extents back(axes.size());
    for (std::size_t n = 0; n < axes.size(); ++n) {
        unfolded_shape[n] = shape[axes[n]];
        back[axes[n]] = n;
    }
    auto result = policy.template make_tensor<T, Order>(shape);
    policy.template permute<T>({view.data, unfolded_shape}, back, result.data());
    return result;
}

template <std::size_t Order = dynamic_order, any_tensor Tensor>
auto fold(const Tensor& matrix, std::size_t mode, const extents& shape, unfolding columns = unfolding::row_major) {
    return fold<Order>(cpu_policy{}, matrix, mode, shape, columns);
}

}  // namespace moden
