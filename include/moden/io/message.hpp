#pragma once

// What every reader and writer needs to say what went wrong, and the one assumption about the host they all make.

#include <bit>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include <moden/core/error.hpp>

namespace moden::io::detail {

static_assert(std::endian::native == std::endian::little,
              "moden::io reads and writes little-endian files without swapping and needs a little-endian host");

using moden::detail::message;
using moden::detail::require;

/// The text of an errno value, without the static buffer of strerror.
inline std::string errno_text(int code) { return std::generic_category().message(code); }

/// Text that came from a file, fit for an error message: in quotes, cut after `limit` bytes, and with everything but
/// printable ASCII written as \xNN, so that a hostile file cannot write to the terminal.
inline std::string in_quotes(std::string_view text, std::size_t limit = 60) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result = "'";
    for (const char character : text.substr(0, limit)) {
        const auto code = static_cast<unsigned char>(character);
        if (code >= 0x20 && code < 0x7f) {
            result += character;
        } else {
            result += "\\x";
            result += digits[code >> 4U];
            result += digits[code & 0xfU];
        }
    }
    result += text.size() > limit ? "...'" : "'";
    return result;
}

/// "load_npy: 'faces.npy'": how every message about a file starts.
inline std::string file_context(std::string_view function, const std::string& path) {
    return message(function, ": '", path, "'");
}

}  // namespace moden::io::detail
