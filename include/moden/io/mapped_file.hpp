#pragma once

// A file as a range of bytes, without reading it.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <moden/io/message.hpp>

namespace moden::io {

/// A regular file mapped read-only into memory for as long as the object lives. Move-only; an empty file is an empty
/// range.
///
/// The mapping survives replacement of the file by rename (which is how moden writes). A file that another program
/// shortens in place while it is mapped raises SIGBUS when the lost part is touched; that is the price of mapping.
class mapped_file {
public:
    /// \param path      an existing regular file
    /// \param function  name of the calling function, which starts the error message
    /// \throws io_error if the file cannot be opened or mapped, or is not a regular file (directory, pipe, device)
    explicit mapped_file(const std::filesystem::path& path, std::string_view function = "mapped_file") {
        const auto fail = [&](std::string_view step) {
            const int code = errno;
            throw io_error(detail::message(detail::file_context(function, path.string()), ": ", step, ": ",
                                           detail::errno_text(code)));
        };
        // O_NONBLOCK: opening a pipe must not wait for its writer; it means nothing for regular files.
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (descriptor < 0) {
            fail("cannot open for reading");
        }
        const descriptor_guard guard{descriptor};
        struct stat status {};
        if (::fstat(descriptor, &status) != 0) {
            fail("cannot determine the size");
        }
        detail::require<io_error>(S_ISREG(status.st_mode), function, ": '", path.string(), "' is not a regular file");
        detail::require<io_error>(std::in_range<std::ptrdiff_t>(status.st_size), function, ": '", path.string(),
                                  "' has ", status.st_size, " bytes, more than can be mapped");
        size_ = static_cast<std::size_t>(status.st_size);
        if (size_ > 0) {
            address_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
            if (address_ == MAP_FAILED) {
                address_ = nullptr;
                fail("cannot map into memory");
            }
        }
    }

    mapped_file(mapped_file&& other) noexcept
        : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

    mapped_file& operator=(mapped_file&& other) noexcept {
        std::swap(address_, other.address_);
        std::swap(size_, other.size_);
        return *this;
    }

    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;

    ~mapped_file() {
        if (address_ != nullptr) {
            ::munmap(address_, size_);
        }
    }

    /// The whole file; valid while this object (or the one it was moved to) lives.
    std::span<const std::byte> bytes() const noexcept { return {static_cast<const std::byte*>(address_), size_}; }

private:
    struct descriptor_guard {
        int descriptor;
        ~descriptor_guard() { ::close(descriptor); }
    };

    void* address_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace moden::io
