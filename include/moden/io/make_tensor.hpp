#pragma once

// Tensors of the shape that a file declares.

#include <cstddef>
#include <new>
#include <span>
#include <string>

#include <moden/core/tensor.hpp>
#include <moden/io/message.hpp>

namespace moden::io::detail {

/// A tensor with uninitialised elements.
template <class Tensor>
Tensor make_tensor(std::span<const std::size_t> shape, const std::string& context) {
    try {
        auto extents_of_tensor = xtl::make_sequence<typename Tensor::shape_type>(shape.size(), 0);
        auto position = extents_of_tensor.begin();
        for (const std::size_t extent : shape) {
            *position = extent;
            ++position;
        }
        return Tensor(extents_of_tensor);
    } catch (const std::bad_alloc&) {
        throw io_error(message(context, ": not enough memory for a tensor of ", shape));
    }
}

/// Refuses a file whose order is not the N that the caller asked for.
inline void require_order(std::span<const std::size_t> shape, std::size_t order, const std::string& context) {
    require<io_error>(shape.size() == order, context, " holds a tensor of order ", shape.size(), " (shape ", shape,
                      "), expected order ", order);
}

}  // namespace moden::io::detail
