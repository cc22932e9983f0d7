#pragma once

// Tucker tensors: a core and one factor matrix per mode, and the tensors they stand for.

#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/mode_product.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// A tensor in Tucker form, X = G x_0 U_0 x_1 U_1 ... (001 Eq. 3.4).
template <class Tensor>
struct tucker_tensor {
    Tensor core;                              ///< G, R_0 x ... x R_{N-1}
    std::vector<factor_of<Tensor>> factors;   ///< U_n, I_n x R_n
};

/// Consecutive indices of a mode: first, first + 1, ..., first + count - 1.
struct index_range {
    std::size_t first = 0;
    std::size_t count = static_cast<std::size_t>(-1);  ///< default: all from `first` on
};

namespace detail {

/// Checks a Tucker tensor and returns its factors as views.
template <class Space, class Tensor>
auto tucker_factors(const tucker_tensor<Tensor>& tucker, const char* function) {
    using T = value_type_of<Tensor>;
    const extents core = shape_of(tucker.core);
    require<shape_error>(core.size() == tucker.factors.size(), function, ": ", tucker.factors.size(),
                         " factors for a core of order ", core.size());
    std::vector<mode_factor<T, Space>> factors;
    for (std::size_t n = 0; n < core.size(); ++n) {
        const auto& factor = tucker.factors[n];
        require<shape_error>(factor.shape()[1] == core[n], function, ": factor ", n, " of ", shape_of(factor),
                             " for a core of ", core, " (expected ", core[n], " columns)");
        factors.push_back({n, row_major<const T, Space>(factor.data(), factor.shape()[0], factor.shape()[1])});
    }
    return factors;
}

/// Squared norm of tensor - tucker, a block of mode-0 indices at a time.
template <class Policy, class T, class Space>
double squared_residual(const Policy& policy, const tensor_view<const T, Space>& tensor,
                        const tensor_view<const T, Space>& core, const std::vector<mode_factor<T, Space>>& factors) {
    const std::size_t rows = tensor.shape[0];
    const std::size_t row_size = rows == 0 ? 0 : tensor.size() / rows;
    constexpr std::size_t block_elements = std::size_t{1} << 22;
    const std::size_t block = std::max<std::size_t>(1, block_elements / std::max<std::size_t>(row_size, 1));
    // Everything but mode 0 is the same for all blocks.
    extents partial_shape = core.shape;
    for (std::size_t n = 1; n < factors.size(); ++n) {
        partial_shape[n] = factors[n].matrix.rows;
    }
    auto partial = policy.template allocate<T>(element_count(partial_shape));
    multi_mode_product_into<Policy, T, Space>(policy, core, {factors.begin() + 1, factors.end()}, partial.data());
    auto rebuilt = policy.template allocate<T>(std::min(block, rows) * row_size);
    double sum = 0;
    for (std::size_t first = 0; first < rows; first += block) {
        const std::size_t count = std::min(block, rows - first);
        mode_product_into<Policy, T, Space>(policy, partial.data(), geometry_of(partial_shape, 0),
                                            rows_of(factors[0].matrix, first, count), rebuilt.data());
        sum += policy.reduce(count * row_size, 0.0,
                             squared_difference_of<T>{tensor.data + first * row_size, rebuilt.data()}, plus{});
    }
    return sum;
}

}  // namespace detail

/// The tensor that a Tucker tensor stands for, G x_0 U_0 x_1 U_1 ...
///
/// \param policy where to compute
/// \param tucker core and factors
/// \return       I_0 x ... x I_{N-1}
/// \throws shape_error if core and factors do not fit together
///
/// Cost: that of multi_mode_product in its cheapest order.
/// Source: Kolda & Bader 2009, Sec. 4; 001 Eq. 3.4.
/// \snippet tests/unit/hosvd.cpp reconstruct
template <execution_policy Policy, class Tensor>
auto reconstruct(const Policy& policy, const tucker_tensor<Tensor>& tucker) {
    return reconstruct(policy, tucker, std::vector<index_range>(tucker.factors.size()));
}

/// Part of the tensor that a Tucker tensor stands for: only the given range of every mode is computed.
///
/// \param policy where to compute
/// \param tucker core and factors
/// \param ranges one per mode
/// \return       the block of the tensor that the ranges name
/// \throws shape_error if core, factors and ranges do not fit together
template <execution_policy Policy, class Tensor>
auto reconstruct(const Policy& policy, const tucker_tensor<Tensor>& tucker, const std::vector<index_range>& ranges) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    const auto core = detail::evaluate(policy, tucker.core);
    auto factors = detail::tucker_factors<space>(tucker, "reconstruct");
    detail::require<shape_error>(ranges.size() == factors.size(), "reconstruct: ", ranges.size(), " ranges for ",
                                 factors.size(), " modes");
    extents shape;
    for (std::size_t n = 0; n < factors.size(); ++n) {
        const std::size_t rows = factors[n].matrix.rows;
        const std::size_t first = ranges[n].first;
        const std::size_t count = ranges[n].count == static_cast<std::size_t>(-1) && first <= rows ? rows - first : ranges[n].count;
        detail::require<shape_error>(first <= rows && count <= rows - first, "reconstruct: indices ", first, " to ",
                                     first + count, " of mode ", n, ", which has ", rows);
        factors[n].matrix = rows_of(factors[n].matrix, first, count);
        shape.push_back(count);
    }
    auto result = policy.template make_tensor<T, order_of<Tensor>>(shape);
    if (result.size() > 0) {
        detail::multi_mode_product_into<Policy, T, space>(policy, core.view(), std::move(factors), result.data());
    }
    return result;
}

template <class Tensor>
auto reconstruct(const tucker_tensor<Tensor>& tucker) {
    return reconstruct(cpu_policy{}, tucker);
}

template <class Tensor>
auto reconstruct(const tucker_tensor<Tensor>& tucker, const std::vector<index_range>& ranges) {
    return reconstruct(cpu_policy{}, tucker, ranges);
}

/// |X - X^| / |X| for a Tucker tensor X^, from the difference itself: accurate for errors of any size.
///
/// The common shortcut sqrt(|X|^2 - |G|^2) cancels: it cannot tell errors below sqrt(eps) from zero.
///
/// \param policy where to compute
/// \param tensor X
/// \param tucker X^
/// \return       the relative error; 0 if both are zero, infinity if only X is
/// \throws shape_error if the shapes do not agree
///
/// Cost: that of a reconstruction, in blocks of at most about 4 million elements (or one index of mode 0). Memory: one
/// such block, and X^ with mode 0 still reduced, R_0 x I_1 x ... x I_{N-1}, with what multi_mode_product takes to make
/// it.
/// \snippet tests/unit/hosvd.cpp relative_error
template <execution_policy Policy, any_tensor Tensor, class Core>
double relative_error(const Policy& policy, const Tensor& tensor, const tucker_tensor<Core>& tucker) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Core>>, "moden: relative_error of a tensor and a Tucker tensor of different type");
    const auto argument = detail::evaluate(policy, tensor);
    const auto core = detail::evaluate(policy, tucker.core);
    const auto factors = detail::tucker_factors<space>(tucker, "relative_error");
    extents shape;
    for (const auto& factor : factors) {
        shape.push_back(factor.matrix.rows);
    }
    detail::require<shape_error>(argument.view().shape == shape && !shape.empty(), "relative_error: a tensor of ",
                                 argument.view().shape, " and a Tucker tensor of ", shape);
    const double residual = detail::squared_residual<Policy, T, space>(policy, argument.view(), core.view(), factors);
    const double scale = detail::sum_of_squares(policy, argument.view().data, argument.view().size());
    return residual == 0 ? 0 : std::sqrt(residual / scale);
}

template <any_tensor Tensor, class Core>
double relative_error(const Tensor& tensor, const tucker_tensor<Core>& tucker) {
    return relative_error(cpu_policy{}, tensor, tucker);
}

}  // namespace moden
