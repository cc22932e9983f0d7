#pragma once

// What the tests of moden/io share: temporary folders, files as bytes, and checks of refusals.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <moden/core/error.hpp>
#include <moden/core/tensor.hpp>

namespace io_test {

using bytes = std::vector<std::byte>;

/// A fresh folder that is removed with everything in it.
class temporary_folder {
public:
    temporary_folder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "moden-io-test-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) {
            throw std::runtime_error("cannot create " + pattern);
        }
        path_ = pattern;
    }
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    ~temporary_folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

    /// Names of all files in the folder.
    std::vector<std::string> names() const {
        std::vector<std::string> result;
        for (const auto& entry : std::filesystem::directory_iterator(path_)) {
            result.push_back(entry.path().filename().string());
        }
        return result;
    }

private:
    std::filesystem::path path_;
};

inline bytes to_bytes(std::string_view text) {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return bytes(first, first + text.size());
}

inline std::string to_text(std::span<const std::byte> content) {
    return std::string(reinterpret_cast<const char*>(content.data()), content.size());
}

inline std::string read_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    REQUIRE(file.good());
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

inline void write_text(const std::filesystem::path& path, std::string_view text) {
    std::ofstream file(path, std::ios::binary);
    file.write(text.data(), static_cast<std::streamsize>(text.size()));
    REQUIRE(file.good());
}

/// Number in little-endian bytes.
template <class Integer>
std::string little(Integer value) {
    std::string text;
    for (std::size_t byte = 0; byte < sizeof(Integer); ++byte) {
        text += static_cast<char>((static_cast<std::uint64_t>(value) >> (8 * byte)) & 0xffU);
    }
    return text;
}

/// Checks that `body` throws exactly Error (not another class) and that the message has all the given parts.
template <class Error = moden::io_error, class Body>
void check_refused(const Body& body, std::initializer_list<std::string_view> parts) {
    std::string text;
    bool refused = false;
    try {
        body();
    } catch (const Error& error) {
        refused = true;
        text = error.what();
    }
    CAPTURE(text);
    CHECK(refused);
    for (const std::string_view part : parts) {
        CAPTURE(std::string(part));
        CHECK(text.find(part) != std::string::npos);
    }
}

/// How a byte is damaged: each single bit, and all of them.
inline constexpr int byte_differences[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};

/// True if `body` completes, false if it throws io_error; anything else fails the test.
template <class Body>
bool accepted(const Body& body) {
    try {
        body();
        return true;
    } catch (const moden::io_error&) {
        return false;
    }
}

/// A tensor of the given shape with values that differ from their neighbours and use the whole range of bool and
/// integers.
template <class T>
moden::dynamic_tensor<T> sample(const moden::extents& shape) {
    auto result = moden::dynamic_tensor<T>::from_shape(shape);
    std::uint64_t state = 88172645463325252U;
    for (auto& value : result) {
        state ^= state << 13U;
        state ^= state >> 7U;
        state ^= state << 17U;
        if constexpr (std::is_same_v<T, bool>) {
            value = (state >> 20U) % 2 == 1;
        } else if constexpr (std::is_floating_point_v<T>) {
            value = static_cast<T>(static_cast<double>(static_cast<std::int64_t>(state)) / 1e15);
        } else {
            value = static_cast<T>(state);
        }
    }
    return result;
}

}  // namespace io_test
