#pragma once

// Gram matrices of a Jacobian's parts inside and outside a region.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/maps/summed_map.hpp>
#include <moden/spectral/detail/jacobian_operator.hpp>

namespace moden::detail {

template <class T>
struct is_selected {
    const T* mask;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return mask[i] != T(0) ? 1.0 : 0.0; }
};

/// Rows of values with zeros where the mask is zero (or, of the background, where it is not).
template <class T>
struct keep_region {
    const T* values;
    const T* mask;
    bool background;
    std::size_t columns;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            result[row * columns + c] = (mask[c] != T(0)) == background ? T(0) : values[row * columns + c];
        }
    }
};

/// Refuses masks that do not fit, that are not finite, or that leave nothing on one side. Returns how many entries are selected.
template <class T, class Policy>
std::size_t check_region(const Policy& policy, const tensor_view_of<Policy, T>& mask, std::size_t outputs, const char* function) {
    require<shape_error>(mask.order() == 1 && mask.shape[0] == outputs, function, ": the mask has the shape ", mask.shape, " (expected a vector of ",
                         outputs, ")");
    require_finite(policy, mask.data, outputs, function, "the mask");
    const auto selected = static_cast<std::size_t>(policy.reduce(outputs, 0.0, is_selected<T>{mask.data}, plus{}));
    require<argument_error>(selected > 0, function, ": the mask selects none of the ", outputs, " outputs");
    require<argument_error>(selected < outputs, function, ": the mask selects all ", outputs, " outputs and leaves no background");
    return selected;
}

/// Rows that span a subspace made orthonormal (column-major n x l); refuses rows that depend on others.
template <class Policy, class T>
auto orthonormal_rows(const Policy& policy, const T* rows, std::size_t count, std::size_t size, const char* function, const char* name) {
    using space = typename Policy::memory_space;
    auto basis = policy.template allocate<T>(size * count);
    const auto triangle = policy.template allocate<T>(count * count);
    policy.copy(rows, basis.data(), size * count);
    policy.template qr<T>(column_major<T, space>(basis.data(), size, count), column_major<T, space>(triangle.data(), count, count));
    const std::vector<T> r = to_vector<Policy, T>(policy, triangle.data(), count * count);
    for (std::size_t j = 0; j < count; ++j) {
        const double length = std::sqrt(square_of_row(r.data() + j * count, j + 1)), rest = std::abs(static_cast<double>(r[j * count + j]));
        require<argument_error>(rest > 10 * static_cast<double>(size) * static_cast<double>(std::numeric_limits<T>::epsilon()) * length, function,
                                ": row ", j, " of ", name, " depends on the rows before it (expected independent rows)");
    }
    return basis;
}

/// V' J' M J V inside (M: the mask) and outside (M: its complement) for the l columns of V, row-major l x l.
template <class Policy, class T>
struct region_grams {
    buffer_of<Policy, T> inside;
    buffer_of<Policy, T> outside;

    /// With batch 0 all products J v are kept at once; otherwise the adjoint products of `batch` of them make up rows of the result.
    template <class Operator>
    static region_grams of(const Policy& policy, Operator& jacobian, const T* basis, std::size_t count, const T* mask, std::size_t batch) {
        using space = typename Policy::memory_space;
        const std::size_t n = jacobian.inputs(), m = jacobian.outputs();
        region_grams result{policy.template allocate<T>(count * count), policy.template allocate<T>(count * count)};
        const std::size_t at_once = batch > 0 ? std::min(batch, count) : count;
        const auto products = policy.template allocate<T>(at_once * m), part = policy.template allocate<T>(at_once * m);
        const auto pulled = policy.template allocate<T>(batch > 0 ? at_once * n : 0);
        for (std::size_t first = 0; first < count; first += at_once) {
            const std::size_t some = std::min(at_once, count - first);
            jacobian.forward(basis + first * n, some, products.data());
            for (const bool background : {false, true}) {
                T* const gram = (background ? result.outside : result.inside).data();
                policy.transform_rows(some, m, keep_region<T>{products.data(), mask, background, m, part.data()});
                if (batch == 0) {
                    policy.template syrk<T>(T(1), row_major<const T, space>(part.data(), count, m), T(0), row_major<T, space>(gram, count, count));
                } else {
                    jacobian.backward(part.data(), some, pulled.data());
                    policy.template gemm<T>(T(1), row_major<const T, space>(pulled.data(), some, n), column_major<const T, space>(basis, n, count), T(0),
                                            row_major<T, space>(gram + first * count, some, count));
                }
            }
        }
        return result;
    }
};

/// Rows d_i = sum_j coefficients(j, i) v_j, brought to length 1, with signs fixed; coefficients row-major l x k.
template <class Policy, class T>
auto directions_in_basis(const Policy& policy, const T* basis, std::size_t size, std::size_t count, const T* coefficients, std::size_t wanted) {
    using space = typename Policy::memory_space;
    auto result = policy.template make_tensor<T, 2>({wanted, size});
    policy.template gemm<T>(T(1), transposed(row_major<const T, space>(coefficients, count, wanted)),
                            transposed(column_major<const T, space>(basis, size, count)), T(0), row_major<T, space>(result.data(), wanted, size));
    for (std::size_t i = 0; i < wanted; ++i) {
        T* const row = result.data() + i * size;
        const double length = euclidean_norm(policy, static_cast<const T*>(row), size);
        policy.transform(size, scaled_copy<T>{row, static_cast<T>(length > 0 ? 1 / length : 0.0), row});
    }
    fix_signs(policy, transposed(row_major<T, space>(result.data(), wanted, size)));
    return result;
}

}  // namespace moden::detail
