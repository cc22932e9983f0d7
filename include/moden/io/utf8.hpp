#pragma once

// Names in archives and headers are UTF-8; hostile files pretend.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace moden::io::detail {

/// True if the text is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
inline bool is_utf8(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = static_cast<unsigned char>(text[i]);
        const std::size_t length = lead < 0x80               ? 1
                                   : (lead >> 5U) == 0b110   ? 2
                                   : (lead >> 4U) == 0b1110  ? 3
                                   : (lead >> 3U) == 0b11110 ? 4
                                                             : 0;
        if (length == 0 || length > text.size() - i) {
            return false;
        }
        std::uint32_t code = length == 1 ? lead : lead & (0x7fU >> length);
        for (std::size_t k = 1; k < length; ++k) {
            const auto next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xc0U) != 0x80U) {
                return false;
            }
            code = (code << 6U) | (next & 0x3fU);
        }
        constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
            return false;
        }
        i += length;
    }
    return true;
}

/// True if every byte is below 128.
inline bool is_ascii(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace moden::io::detail
