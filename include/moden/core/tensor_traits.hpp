#pragma once

// How public functions see their tensor arguments: what is accepted, where it lies, and a view of it without a copy
// where the memory already is contiguous and row-major.

#include <cstddef>
#include <type_traits>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/core/tensor.hpp>
#include <moden/core/view.hpp>
#include <moden/core/execution_policy.hpp>

namespace moden {

namespace detail {
template <class T>
class host_argument;

/// The order that a shape type fixes. Views and lazy expressions of tensors of static order have shapes of static size,
/// although xt::get_rank knows the order of containers only.
template <class Shape>
inline constexpr std::size_t order_of_shape = dynamic_order;
template <class Shape>
    requires requires { std::tuple_size<Shape>::value; }
inline constexpr std::size_t order_of_shape<Shape> = std::tuple_size<Shape>::value;
}  // namespace detail

/// Where a tensor type lies and what it holds. Specialised for device tensors in policy/cuda.hpp.
template <class Tensor>
struct tensor_traits {
    static constexpr bool is_tensor = false;
};

template <class Tensor>
    requires xt::is_xexpression<Tensor>::value
struct tensor_traits<Tensor> {
    static constexpr bool is_tensor = true;
    using memory_space = host_memory;
    using value_type = std::remove_const_t<typename Tensor::value_type>;
    static constexpr std::size_t order = detail::order_of_shape<typename Tensor::shape_type>;
    using argument = detail::host_argument<value_type>;  ///< gives a contiguous view of a tensor of this type
    using matrix_type = tensor<value_type, 2>;           ///< the matrix that goes with it
};

/// Anything that public functions take as a tensor: an xtensor expression or a device tensor.
template <class Tensor>
concept any_tensor = tensor_traits<std::remove_cvref_t<Tensor>>::is_tensor;

template <class Tensor>
using value_type_of = typename tensor_traits<std::remove_cvref_t<Tensor>>::value_type;

template <class Tensor>
inline constexpr std::size_t order_of = tensor_traits<std::remove_cvref_t<Tensor>>::order;

/// The matrix type that goes with a tensor type: same scalar, same memory.
template <class Tensor>
using factor_of = typename tensor_traits<Tensor>::matrix_type;

/// The owning tensor of order N that a policy returns.
template <class Policy, class T, std::size_t N>
using policy_tensor = decltype(std::declval<const Policy&>().template make_tensor<T, N>(extents{}));

namespace detail {

/// Memory that a policy allocates.
template <class Policy, class T>
using buffer_of = decltype(std::declval<const Policy&>().template allocate<T>(0));

template <class Policy, class T>
using tensor_view_of = tensor_view<const T, typename Policy::memory_space>;

template <class Tensor>
extents shape_of(const Tensor& tensor) {
    return extents(tensor.shape().begin(), tensor.shape().end());
}

/// Whether strides are those of a dense row-major tensor. Modes of extent 1 have no say.
template <class Strides>
bool strides_are_row_major(const extents& shape, const Strides& strides) {
    std::size_t expected = 1;
    for (std::size_t n = shape.size(); n-- > 0;) {
        if (shape[n] != 1 && static_cast<std::size_t>(strides[n]) != expected) {
            return false;
        }
        expected *= shape[n];
    }
    return true;
}

/// A host argument as contiguous row-major memory: a view where it is that already, otherwise an evaluated copy.
template <class T>
class host_argument {
public:
    template <class Expression>
    explicit host_argument(const Expression& expression) {
        view_.shape = shape_of(expression);
        if constexpr (xt::has_data_interface<Expression>::value && xt::has_strides<Expression>::value &&
                      std::is_same_v<std::remove_const_t<typename Expression::value_type>, T>) {
            if (strides_are_row_major(view_.shape, expression.strides())) {
                view_.data = expression.data() + expression.data_offset();
                return;
            }
        }
        copy_ = expression;
        view_.data = copy_.data();
    }
    host_argument(const host_argument&) = delete;
    host_argument& operator=(const host_argument&) = delete;

    const tensor_view<const T, host_memory>& view() const { return view_; }

private:
    dynamic_tensor<T> copy_;
    tensor_view<const T, host_memory> view_;
};

/// Checks at compile time that a tensor can be given to a policy, with messages of one line.
template <class Policy, class Tensor>
constexpr void check_argument() {
    static_assert(execution_policy<Policy>, "moden: the first argument is not an execution policy");
    static_assert(any_tensor<Tensor>, "moden: the argument is neither an xtensor expression nor a device tensor");
    if constexpr (any_tensor<Tensor>) {
        using policy_space = typename std::remove_cvref_t<Policy>::memory_space;
        using tensor_space = typename tensor_traits<std::remove_cvref_t<Tensor>>::memory_space;
        constexpr bool same_space = std::is_same_v<policy_space, tensor_space>;
        static_assert(same_space || !std::is_same_v<policy_space, host_memory>,
                      "moden: a device tensor was given to a policy that computes in host memory (use to_host first)");
        static_assert(same_space || !std::is_same_v<policy_space, device_memory>,
                      "moden: a host tensor was given to a policy that computes on a device (use to_device first)");
        using value = value_type_of<Tensor>;
        static_assert(std::is_same_v<value, float> || std::is_same_v<value, double>,
                      "moden: tensors hold float or double (convert others, for example with xt::cast<double>)");
    }
}

/// The argument as contiguous memory of the policy's space; keep the result alive while the view is in use.
template <class Policy, class Tensor>
auto evaluate(const Policy&, const Tensor& tensor) {
    check_argument<Policy, Tensor>();
    return typename tensor_traits<Tensor>::argument(tensor);
}

/// The same for arguments whose element type does not matter (masks): converted to T on the host.
template <class T, class Policy, class Tensor>
auto evaluate_as(const Policy&, const Tensor& tensor) {
    if constexpr (std::is_same_v<typename tensor_traits<Tensor>::memory_space, host_memory>) {
        static_assert(std::is_same_v<typename std::remove_cvref_t<Policy>::memory_space, host_memory>,
                      "moden: a host tensor was given to a policy that computes on a device (use to_device first)");
        return host_argument<T>(tensor);
    } else {
        check_argument<Policy, Tensor>();
        static_assert(std::is_same_v<value_type_of<Tensor>, T>, "moden: device tensors of one call must have the same type");
        return typename tensor_traits<Tensor>::argument(tensor);
    }
}

/// A matrix argument as a dense row-major view.
template <class T, class Space>
matrix_view<T, Space> as_matrix(const tensor_view<T, Space>& view, const char* function, const char* name) {
    require<shape_error>(view.order() == 2, function, ": ", name, " has order ", view.order(), " (expected a matrix)");
    return row_major<T, Space>(view.data, view.shape[0], view.shape[1]);
}

/// A result tensor as a view that can be written.
template <class Policy, class Tensor>
auto mutable_view(const Policy&, Tensor& tensor) {
    using space = typename std::remove_cvref_t<Policy>::memory_space;
    return tensor_view<value_type_of<Tensor>, space>{tensor.data(), shape_of(tensor)};
}

template <class Policy, class Tensor>
auto mutable_matrix(const Policy&, Tensor& tensor) {
    using space = typename std::remove_cvref_t<Policy>::memory_space;
    return row_major<value_type_of<Tensor>, space>(tensor.data(), tensor.shape()[0], tensor.shape()[1]);
}

}  // namespace detail
}  // namespace moden
