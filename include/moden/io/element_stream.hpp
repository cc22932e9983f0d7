#pragma once

// The elements of any expression as a stream of bytes, for the writers.

#include <array>
#include <cstddef>
#include <span>

#include <moden/core/tensor.hpp>
#include <moden/io/element_type.hpp>
#include <moden/io/npy_header.hpp>

namespace moden::io::detail {

/// Shape of an expression.
template <class E>
extents shape_of(const E& expression) {
    return extents(expression.shape().begin(), expression.shape().end());
}

/// True if the elements lie in memory one after the other in the given order. Strides of modes of extent 1 do not
/// matter.
template <class E>
bool is_contiguous_in(const E& expression, std::span<const std::size_t> shape, array_order order) {
    std::ptrdiff_t expected = 1;
    for (std::size_t step = 0; step < shape.size(); ++step) {
        const std::size_t mode = order == array_order::c ? shape.size() - 1 - step : step;
        if (shape[mode] != 1) {
            if (static_cast<std::ptrdiff_t>(expression.strides()[mode]) != expected) {
                return false;
            }
            expected *= static_cast<std::ptrdiff_t>(shape[mode]);
        }
    }
    return true;
}

/// Passes the bytes of the expression's elements, in the given order, to `sink(std::span<const std::byte>)`: in one
/// piece where they lie in memory like that, in pieces of some kilobytes otherwise. No temporary of the expression's
/// size.
template <class E, class Sink>
void stream_elements(const E& expression, array_order order, Sink&& sink) {
    using value_type = typename E::value_type;
    static_assert(element<value_type>, "the elements must be float, double, bool or integers of 8 to 64 bits");
    const extents shape = shape_of(expression);
    std::size_t count = 1;
    for (const std::size_t extent : shape) {
        count *= extent;
    }
    if (count == 0) {
        return;
    }
    if constexpr (xt::has_data_interface<E>::value) {
        if (is_contiguous_in(expression, shape, order)) {
            sink(std::as_bytes(std::span(expression.data() + expression.data_offset(), count)));
            return;
        }
    }
    std::array<value_type, 8192> buffer;
    const auto copy = [&](auto position) {
        while (count > 0) {
            const std::size_t step = count < buffer.size() ? count : buffer.size();
            for (std::size_t i = 0; i < step; ++i, ++position) {
                buffer[i] = static_cast<value_type>(*position);
            }
            sink(std::as_bytes(std::span(buffer.data(), step)));
            count -= step;
        }
    };
    if (order == array_order::c) {
        copy(expression.template cbegin<xt::layout_type::row_major>());
    } else {
        copy(expression.template cbegin<xt::layout_type::column_major>());
    }
}

}  // namespace moden::io::detail
