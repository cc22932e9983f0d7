#pragma once

// What the fuzzers share: input is either read or refused by io_error. Everything else is a finding.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <moden/core/error.hpp>

namespace fuzz {

inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const std::byte*>(data), size};
}

/// Runs `body` and returns whether it was completed. Any exception but io_error ends the program.
template <class Body>
bool accepted(const Body& body) {
    try {
        body();
        return true;
    } catch (const moden::io_error&) {
        return false;
    }
}

/// Ends the program where a property that must hold does not.
inline void expect(bool condition) {
    if (!condition) {
        std::abort();
    }
}

}  // namespace fuzz
