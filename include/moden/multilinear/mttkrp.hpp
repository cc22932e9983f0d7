#pragma once

// Matricized tensor times Khatri-Rao product, the workhorse of the CP decomposition.

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/multilinear/unfold.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {
namespace detail {

/// V(i, r) = sum_s W(s, r) Z(s, i, r), eight columns r at a time.
template <class T>
struct contract_slabs {
    static constexpr std::size_t width = 8;
    const T* weights;
    const T* slabs;
    std::size_t slab_count;
    std::size_t extent;
    std::size_t rank;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t block) const {
        const std::size_t first = block * width;
        const std::size_t count = rank - first < width ? rank - first : width;
        T sum[width] = {};
        for (std::size_t s = 0; s < slab_count; ++s) {
            const T* weight = weights + s * rank + first;
            const T* value = slabs + (s * extent + i) * rank + first;
            for (std::size_t r = 0; r < count; ++r) {
                sum[r] += weight[r] * value[r];
            }
        }
        for (std::size_t r = 0; r < count; ++r) {
            result[i * rank + first + r] = sum[r];
        }
    }
};

/// V(i, r) = sum_c Z(i, c, r) W(c, r), eight columns r at a time.
template <class T>
struct contract_columns {
    static constexpr std::size_t width = 8;
    const T* weights;
    const T* rows;
    std::size_t column_count;
    std::size_t rank;
    T* result;

    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t block) const {
        const std::size_t first = block * width;
        const std::size_t count = rank - first < width ? rank - first : width;
        T sum[width] = {};
        for (std::size_t c = 0; c < column_count; ++c) {
            const T* weight = weights + c * rank + first;
            const T* value = rows + (i * column_count + c) * rank + first;
            for (std::size_t r = 0; r < count; ++r) {
                sum[r] += weight[r] * value[r];
            }
        }
        for (std::size_t r = 0; r < count; ++r) {
            result[i * rank + first + r] = sum[r];
        }
    }
};

/// X_(n) (kr over k != n of U_k) into `result` (I_n x R, row-major).
///
/// The Khatri-Rao product over all other modes is never formed: those before mode n and those after it are kept apart.
/// One GEMM contracts the side that leaves less behind, and the other side is contracted column by column of R. For the
/// first and last mode one side is empty and the GEMM is all.
template <class Policy, class T, class Space>
void mttkrp_into(const Policy& policy, const tensor_view<const T, Space>& tensor,
                 const std::vector<matrix_view<const T, Space>>& factors, std::size_t mode, T* result) {
    using view = matrix_view<T, Space>;
    using const_view = matrix_view<const T, Space>;
    const auto [slabs, extent, columns] = geometry_of(tensor.shape, mode);
    const std::size_t rank = factors[0].columns;
    const auto split = factors.begin() + static_cast<std::ptrdiff_t>(mode);
    const auto before = khatri_rao_buffer<Policy, T, Space>(policy, {factors.begin(), split}, rank);
    const auto after = khatri_rao_buffer<Policy, T, Space>(policy, {split + 1, factors.end()}, rank);
    const const_view left{before.data(), slabs, rank, rank};
    const const_view right{after.data(), columns, rank, rank};
    const std::size_t blocks = (rank + contract_slabs<T>::width - 1) / contract_slabs<T>::width;
    // By position and not by extent: a mode of extent 1 before or after mode n still has a row of its factor to multiply with.
    if (mode == 0) {
        policy.template gemm<T>(T(1), const_view{tensor.data, extent, columns, columns}, right, T(0), view{result, extent, rank, rank});
    } else if (mode + 1 == factors.size()) {
        policy.template gemm<T>(T(1), transposed(const_view{tensor.data, slabs, extent, extent}), left, T(0),
                                view{result, extent, rank, rank});
    } else if (slabs <= columns) {
        auto z = policy.template allocate<T>(slabs * extent * rank);
        policy.template gemm<T>(T(1), const_view{tensor.data, slabs * extent, columns, columns}, right, T(0),
                                view{z.data(), slabs * extent, rank, rank});
        policy.transform_grid(extent, blocks, contract_slabs<T>{before.data(), z.data(), slabs, extent, rank, result});
    } else {
        auto z = policy.template allocate<T>(extent * columns * rank);
        policy.template gemm<T>(T(1), transposed(const_view{tensor.data, slabs, extent * columns, extent * columns}), left, T(0),
                                view{z.data(), extent * columns, rank, rank});
        policy.transform_grid(extent, blocks, contract_columns<T>{after.data(), z.data(), columns, rank, result});
    }
}

/// Checks that there is one I_n x R factor per mode, and returns R.
template <class T, class Space>
std::size_t check_cp_factors(const std::vector<matrix_view<const T, Space>>& factors, const extents& shape, const char* function) {
    require<shape_error>(factors.size() == shape.size() && !shape.empty(), function, ": ", factors.size(),
                         " factors for a tensor of order ", shape.size());
    for (std::size_t n = 0; n < factors.size(); ++n) {
        require<shape_error>(factors[n].rows == shape[n] && factors[n].columns == factors[0].columns && factors[n].columns > 0,
                             function, ": factor ", n, " of ", factors[n].rows, " x ", factors[n].columns, " (expected ",
                             shape[n], " x ", factors[0].columns, ", at least one column)");
    }
    return factors[0].columns;
}

}  // namespace detail

/// Matricized tensor times Khatri-Rao product: V = X_(n) (U_0 kr ... kr U_{n-1} kr U_{n+1} kr ... kr U_{N-1}).
///
/// \param policy  where to compute
/// \param tensor  I_0 x ... x I_{N-1}, N >= 1
/// \param factors one I_k x R matrix per mode; that of mode n is not read
/// \param mode    n
/// \return        I_n x R
/// \throws shape_error if the factors do not fit the tensor or mode >= N
///
/// Cost: 2 R prod(I) flops in one GEMM, and for inner modes 2 R I_n min(L, C) more, with L and C the numbers of
/// elements before and after mode n. Memory beyond the result: R (L + C) for the products of the factors on either
/// side, up to half as much again while they are formed, and R I_n min(L, C) for inner modes.
/// Source: Kolda & Bader 2009, Sec. 3.4; splitting into left and right partial products: Phan et al. 2013.
/// \snippet tests/unit/cp.cpp mttkrp
template <execution_policy Policy, any_tensor Tensor, any_tensor Matrix>
auto mttkrp(const Policy& policy, const Tensor& tensor, const std::vector<Matrix>& factors, std::size_t mode) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    using argument = typename tensor_traits<Matrix>::argument;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: mttkrp of a tensor and matrices of different type");
    detail::check_argument<Policy, Matrix>();
    const auto tensor_argument = detail::evaluate(policy, tensor);
    const auto& view = tensor_argument.view();
    detail::check_mode(mode, view.order(), "mttkrp");
    std::vector<std::unique_ptr<argument>> arguments;
    std::vector<matrix_view<const T, space>> views;
    for (const Matrix& factor : factors) {
        arguments.push_back(std::make_unique<argument>(factor));
        views.push_back(detail::as_matrix(arguments.back()->view(), "mttkrp", "a factor"));
    }
    const std::size_t rank = detail::check_cp_factors(views, view.shape, "mttkrp");
    auto result = policy.template make_tensor<T, 2>({view.shape[mode], rank});
    detail::mttkrp_into<Policy, T, space>(policy, view, views, mode, result.data());
    return result;
}

template <any_tensor Tensor, any_tensor Matrix>
auto mttkrp(const Tensor& tensor, const std::vector<Matrix>& factors, std::size_t mode) {
    return mttkrp(cpu_policy{}, tensor, factors, mode);
}

}  // namespace moden
