#pragma once

// Device tensors: what the CUDA policy takes and returns.

#include <array>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <moden/core/error.hpp>
#include <moden/core/execution_policy.hpp>
#include <moden/core/extents.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/policy/detail/cuda_memory.hpp>

namespace moden {

/// Tensor in device memory: row-major, contiguous, owning. N is its order, or dynamic_order.
///
/// Made by to_device and by algorithms; to_host brings its elements back, and nothing else reads them on the host. It
/// belongs to the stream of the policy that made it, which it may outlive: use it with that policy, or call the
/// policy's synchronize() before another one reads or frees it. Moving is free; copies are deep and have to be written
/// out, `device_tensor copy(original)`.
template <class T, std::size_t N>
class device_tensor {
public:
    using value_type = T;
    using shape_type = std::conditional_t<N == dynamic_order, extents, std::array<std::size_t, N>>;

    /// No elements and no memory: all extents are 0.
    device_tensor() = default;

    /// Takes over memory that holds as many elements as the shape has. For policies.
    device_tensor(detail::device_buffer<T> memory, const extents& shape) {
        detail::require<shape_error>(N == dynamic_order || shape.size() == N, "device_tensor: shape ", shape,
                                     " for a tensor of order ", N);
        detail::require<shape_error>(memory.size() == element_count(shape), "device_tensor: memory of ", memory.size(),
                                     " elements for a tensor of ", shape);
        if constexpr (N == dynamic_order) {
            shape_ = shape;
        } else {
            for (std::size_t n = 0; n < shape.size(); ++n) {
                shape_[n] = shape[n];
            }
        }
        memory_ = std::move(memory);
    }

    explicit device_tensor(const device_tensor& other) : memory_(other.memory_.clone()), shape_(other.shape_) {}
    device_tensor(device_tensor&& other) noexcept
        : memory_(std::move(other.memory_)), shape_(std::exchange(other.shape_, no_extents())) {}
    device_tensor& operator=(const device_tensor& other) { return *this = device_tensor(other); }
    device_tensor& operator=(device_tensor&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(shape_, other.shape_);
        return *this;
    }
    ~device_tensor() = default;

    T* data() { return memory_.data(); }
    const T* data() const { return memory_.data(); }  ///< device addresses: not for the host to read
    const shape_type& shape() const { return shape_; }
    std::size_t dimension() const { return shape_.size(); }
    std::size_t size() const { return memory_.size(); }

private:
    static shape_type no_extents() {
        if constexpr (N == dynamic_order) {
            return {0};
        } else {
            return {};
        }
    }

    detail::device_buffer<T> memory_;
    shape_type shape_ = no_extents();
};

namespace detail {

/// A device argument: nothing to evaluate, just a view.
template <class T>
class device_argument {
public:
    template <std::size_t N>
    explicit device_argument(const device_tensor<T, N>& tensor) : view_{tensor.data(), shape_of(tensor)} {
        require<shape_error>(view_.size() == tensor.size(),
                             "a device tensor of order 0 has no element (it was never assigned)");
    }

    const tensor_view<const T, device_memory>& view() const { return view_; }

private:
    tensor_view<const T, device_memory> view_;
};

}  // namespace detail

template <class T, std::size_t N>
struct tensor_traits<device_tensor<T, N>> {
    static constexpr bool is_tensor = true;
    using memory_space = device_memory;
    using value_type = T;
    static constexpr std::size_t order = N;
    using argument = detail::device_argument<T>;
    using matrix_type = device_tensor<T, 2>;
};

}  // namespace moden
