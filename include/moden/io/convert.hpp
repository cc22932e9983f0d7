#pragma once

// Stored elements to C++ numbers.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <moden/core/tensor.hpp>
#include <moden/io/element_type.hpp>
#include <moden/io/message.hpp>

namespace moden::io {

/// IEEE 754 binary16 as stored: 1 sign, 5 exponent, 10 fraction bits.
struct float16 {
    std::uint16_t bits;
};

/// The upper half of an IEEE 754 binary32: 1 sign, 8 exponent, 7 fraction bits.
struct bfloat16 {
    std::uint16_t bits;
};

/// The float with the same value; exact for all of them: subnormals, infinities, signed zeros, and NaN with its
/// payload.
constexpr float to_float(float16 value) noexcept {
    const std::uint32_t sign = std::uint32_t{value.bits & 0x8000U} << 16U;
    const std::uint32_t exponent = (value.bits >> 10U) & 0x1fU;
    const std::uint32_t fraction = value.bits & 0x3ffU;
    if (exponent == 0) {
        // Zero and subnormals: fraction * 2^-24, a normal float.
        const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
    }
    const std::uint32_t wide_exponent = exponent == 0x1fU ? 0xffU : exponent + (127U - 15U);
    return std::bit_cast<float>(sign | (wide_exponent << 23U) | (fraction << 13U));
}

/// The float with the same value; exact for all of them.
constexpr float to_float(bfloat16 value) noexcept { return std::bit_cast<float>(std::uint32_t{value.bits} << 16U); }

namespace detail {

/// A bool as files hold it: one byte, anything but zero is true.
struct stored_bool {
    std::uint8_t bits;
};

template <class Stored>
struct stored_as {
    using type = Stored;
};

/// Calls `body(stored_as<S>{})` with the C++ type S that has the bits of `type`.
template <class Body>
void visit(element_type type, const Body& body) {
    switch (type) {
    case element_type::boolean: return body(stored_as<stored_bool>{});
    case element_type::int8: return body(stored_as<std::int8_t>{});
    case element_type::uint8: return body(stored_as<std::uint8_t>{});
    case element_type::int16: return body(stored_as<std::int16_t>{});
    case element_type::uint16: return body(stored_as<std::uint16_t>{});
    case element_type::int32: return body(stored_as<std::int32_t>{});
    case element_type::uint32: return body(stored_as<std::uint32_t>{});
    case element_type::int64: return body(stored_as<std::int64_t>{});
    case element_type::uint64: return body(stored_as<std::uint64_t>{});
    case element_type::float16: return body(stored_as<float16>{});
    case element_type::bfloat16: return body(stored_as<bfloat16>{});
    case element_type::float32: return body(stored_as<float>{});
    case element_type::float64: return body(stored_as<double>{});
    }
}

template <class Stored>
inline constexpr bool is_stored_float =
    std::is_floating_point_v<Stored> || std::is_same_v<Stored, float16> || std::is_same_v<Stored, bfloat16>;

/// Which conversions make sense: anything to float and double; integers and bool to integers (each value is checked to
/// fit); only bool to bool. Fractions are never dropped silently, so float to integer is not one of them.
template <element T, class Stored>
inline constexpr bool is_convertible =
    std::is_same_v<T, bool> ? std::is_same_v<Stored, stored_bool>
                            : std::is_floating_point_v<T> || !is_stored_float<Stored>;

/// Refuses conversions that make no sense, before any memory is taken.
template <element T>
void require_convertible(element_type type, const std::string& context) {
    visit(type, [&]<class Stored>(stored_as<Stored>) {
        require<io_error>(
            is_convertible<T, Stored>, context, " holds ", name(type), ", which is not converted to ",
            name(element_type_of<T>()),
            std::is_same_v<T, bool> ? " (only bool is)" : " (fractions would be lost); read it as float32 or float64");
    });
}

[[noreturn]] inline void throw_out_of_range(std::string value, std::string_view target, const std::string& context) {
    throw io_error(message(context, ": the value ", value, " does not fit ", target));
}

/// Reads one element, which need not be aligned.
template <element T, class Stored>
T load_element(const std::byte* source, const std::string& context) {
    Stored stored;
    std::memcpy(&stored, source, sizeof stored);
    if constexpr (std::is_same_v<Stored, stored_bool>) {
        return static_cast<T>(stored.bits != 0 ? 1 : 0);
    } else if constexpr (std::is_same_v<Stored, float16> || std::is_same_v<Stored, bfloat16>) {
        return static_cast<T>(to_float(stored));
    } else if constexpr (std::is_integral_v<Stored> && std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        if (!std::in_range<T>(stored)) [[unlikely]] {
            throw_out_of_range(std::to_string(stored), name(element_type_of<T>()), context);
        }
        return static_cast<T>(stored);
    } else {
        return static_cast<T>(stored);
    }
}

/// Converts `count` consecutive elements. Doubles round to the nearest float and may become infinite, as in NumPy.
template <element T>
void convert_elements(element_type type, const std::byte* source, T* destination, std::size_t count,
                      const std::string& context) {
    if (count == 0) {
        return;
    }
    if (type == element_type_of<T>() && !std::is_same_v<T, bool>) {
        std::memcpy(destination, source, count * sizeof(T));
        return;
    }
    visit(type, [&]<class Stored>(stored_as<Stored>) {
        if constexpr (is_convertible<T, Stored>) {
            for (std::size_t i = 0; i < count; ++i) {
                destination[i] = load_element<T, Stored>(source + i * sizeof(Stored), context);
            }
        }
    });
}

/// Converts rows first_row .. first_row + rows of a column-major array to a row-major one.
///
/// Walks tiles over the first mode (contiguous in the source) and the last mode (contiguous in the destination), so
/// that both sides are read and written in whole cache lines.
template <element T>
void convert_column_major(element_type type, const std::byte* source, std::span<const std::size_t> shape,
                          std::size_t first_row, std::size_t rows, T* destination, const std::string& context) {
    constexpr std::size_t tile = 32;
    const std::size_t order = shape.size();
    const std::size_t last_extent = shape[order - 1];
    extents source_strides(order);
    extents destination_strides(order);
    std::size_t elements = 1;
    for (std::size_t mode = 0; mode < order; ++mode) {
        source_strides[mode] = elements;
        elements *= shape[mode];
    }
    std::size_t row_elements = 1;
    for (std::size_t mode = order; mode-- > 0;) {
        destination_strides[mode] = row_elements;
        row_elements *= shape[mode];
    }
    if (elements == 0 || rows == 0) {
        return;
    }
    visit(type, [&]<class Stored>(stored_as<Stored>) {
        if constexpr (is_convertible<T, Stored>) {
            extents position(order, 0);  // of the modes between the first and the last
            for (bool more = true; more;) {
                std::size_t source_offset = first_row;
                std::size_t destination_offset = 0;
                for (std::size_t mode = 1; mode + 1 < order; ++mode) {
                    source_offset += position[mode] * source_strides[mode];
                    destination_offset += position[mode] * destination_strides[mode];
                }
                for (std::size_t row_begin = 0; row_begin < rows; row_begin += tile) {
                    const std::size_t row_end = std::min(rows, row_begin + tile);
                    for (std::size_t begin = 0; begin < last_extent; begin += tile) {
                        const std::size_t end = std::min(last_extent, begin + tile);
                        for (std::size_t row = row_begin; row < row_end; ++row) {
                            for (std::size_t i = begin; i < end; ++i) {
                                const std::size_t from = source_offset + row + i * source_strides[order - 1];
                                destination[destination_offset + row * destination_strides[0] + i] =
                                    load_element<T, Stored>(source + from * sizeof(Stored), context);
                            }
                        }
                    }
                }
                more = false;
                for (std::size_t mode = order - 1; mode-- > 1;) {
                    if (++position[mode] < shape[mode]) {
                        more = true;
                        break;
                    }
                    position[mode] = 0;
                }
            }
        }
    });
}

}  // namespace detail
}  // namespace moden::io
