#pragma once

// The element types that files hold, and which C++ types they can be read into.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace moden::io {

/// Element type of a stored tensor.
enum class element_type : std::uint8_t {
    boolean,
    int8,
    uint8,
    int16,
    uint16,
    int32,
    uint32,
    int64,
    uint64,
    float16,
    bfloat16,
    float32,
    float64
};

/// C++ types that tensors can be read into and written from: float, double, bool, and the signed and unsigned integers
/// of 8 to 64 bits. Character types (char, wchar_t, char8_t, ...) are not numbers and are left out.
template <class T>
concept element = std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, bool>
                  || (std::integral<T> && sizeof(T) <= 8 && !std::same_as<T, char> && !std::same_as<T, wchar_t>
                      && !std::same_as<T, char8_t> && !std::same_as<T, char16_t> && !std::same_as<T, char32_t>);

/// The name that messages use: "float32".
constexpr std::string_view name(element_type type) noexcept {
    switch (type) {
    case element_type::boolean: return "bool";
    case element_type::int8: return "int8";
    case element_type::uint8: return "uint8";
    case element_type::int16: return "int16";
    case element_type::uint16: return "uint16";
    case element_type::int32: return "int32";
    case element_type::uint32: return "uint32";
    case element_type::int64: return "int64";
    case element_type::uint64: return "uint64";
    case element_type::float16: return "float16";
    case element_type::bfloat16: return "bfloat16";
    case element_type::float32: return "float32";
    case element_type::float64: return "float64";
    }
    return "unknown";
}

/// Bytes per element.
constexpr std::size_t size_of(element_type type) noexcept {
    switch (type) {
    case element_type::boolean:
    case element_type::int8:
    case element_type::uint8: return 1;
    case element_type::int16:
    case element_type::uint16:
    case element_type::float16:
    case element_type::bfloat16: return 2;
    case element_type::int32:
    case element_type::uint32:
    case element_type::float32: return 4;
    case element_type::int64:
    case element_type::uint64:
    case element_type::float64: return 8;
    }
    return 0;
}

/// The stored type with exactly the values of T.
template <element T>
constexpr element_type element_type_of() noexcept {
    if constexpr (std::same_as<T, bool>) {
        return element_type::boolean;
    } else if constexpr (std::same_as<T, float>) {
        return element_type::float32;
    } else if constexpr (std::same_as<T, double>) {
        return element_type::float64;
    } else if constexpr (sizeof(T) == 1) {
        return std::is_signed_v<T> ? element_type::int8 : element_type::uint8;
    } else if constexpr (sizeof(T) == 2) {
        return std::is_signed_v<T> ? element_type::int16 : element_type::uint16;
    } else if constexpr (sizeof(T) == 4) {
        return std::is_signed_v<T> ? element_type::int32 : element_type::uint32;
    } else {
        return std::is_signed_v<T> ? element_type::int64 : element_type::uint64;
    }
}

}  // namespace moden::io
