#pragma once

// Output files that are either complete or not there.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <moden/io/message.hpp>

namespace moden::io {

/// A file under construction. The bytes go to a temporary file in the folder of the target; `commit` renames it over
/// the target in one step. Without `commit` (an exception, an early return) the temporary file is removed and whatever
/// was there before is untouched.
///
/// A link is followed, so that its target is replaced and not the link. Permissions of a file that is replaced are
/// kept. The guarantee holds against failures of the program and of the file system, not against loss of power: nothing
/// is flushed to the disk.
class atomic_file {
public:
    /// \param path      target: does not exist yet, or is a writable regular file; its folder must exist
    /// \param function  name of the calling function, which starts the error messages
    /// \throws io_error if the target is something else, or the folder cannot be written
    explicit atomic_file(const std::filesystem::path& path, std::string_view function = "atomic_file")
        : context_(detail::file_context(function, path.string())) {
        follow_links(path);
        struct stat status {};
        const bool exists = ::stat(target_.c_str(), &status) == 0;
        if (exists) {
            detail::require<io_error>(S_ISREG(status.st_mode), context_, " exists and is not a regular file");
            if (::access(target_.c_str(), W_OK) != 0) {
                fail("cannot write");
            }
        }
        open_temporary();
        if (exists && ::fchmod(descriptor_, status.st_mode & 0777U) != 0) {
            const int code = errno;
            discard();
            errno = code;
            fail("cannot set the permissions");
        }
    }

    atomic_file(const atomic_file&) = delete;
    atomic_file& operator=(const atomic_file&) = delete;
    ~atomic_file() { discard(); }

    /// Appends bytes.
    /// \throws io_error if not all of them can be written (no space left, a limit on file size)
    void write(std::span<const std::byte> bytes) {
        write_at(size_, bytes);
        size_ += bytes.size();
    }

    /// Appends text.
    void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

    /// Overwrites bytes that were written before, for headers whose content is known only afterwards.
    void write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
        constexpr std::size_t largest_step = std::size_t{1} << 30U;
        while (!bytes.empty()) {
            const std::size_t step = bytes.size() < largest_step ? bytes.size() : largest_step;
            const ::ssize_t written = ::pwrite(descriptor_, bytes.data(), step, static_cast<::off_t>(offset));
            if (written < 0) {
                if (errno == EINTR) {
                    continue;
                }
                fail("cannot write");
            }
            detail::require<io_error>(written > 0, context_, ": cannot write: the file takes no more bytes");
            offset += static_cast<std::uint64_t>(written);
            bytes = bytes.subspan(static_cast<std::size_t>(written));
        }
    }

    /// Number of bytes appended so far.
    std::uint64_t size() const noexcept { return size_; }

    /// Closes the temporary file and renames it over the target. Call once, last.
    /// \throws io_error if either fails; the temporary file is removed then
    void commit() {
        const int descriptor = descriptor_;
        descriptor_ = -1;
        if (::close(descriptor) != 0) {
            fail("cannot write");
        }
        if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
            fail("cannot rename the finished file to its name");
        }
        temporary_.clear();
    }

private:
    /// Finds the file that a chain of links leads to, whether or not it exists.
    void follow_links(const std::filesystem::path& path) {
        target_ = path;
        std::error_code failure;
        for (int depth = 0; std::filesystem::is_symlink(target_, failure); ++depth) {
            const std::filesystem::path next = std::filesystem::read_symlink(target_, failure);
            detail::require<io_error>(!failure && depth < 40, context_, ": cannot follow the link");
            target_ = target_.parent_path() / next;  // an absolute path replaces the whole
        }
    }

    void open_temporary() {
        for (int attempt = 0; attempt < 100; ++attempt) {
            unsigned char random[8];
            if (::getrandom(random, sizeof random, 0) != static_cast<::ssize_t>(sizeof random)) {
                fail("cannot draw a name for the temporary file");
            }
            std::string name = ".moden-";
            for (const unsigned char byte : random) {
                name += static_cast<char>('a' + (byte >> 4U));
                name += static_cast<char>('a' + (byte & 0xfU));
            }
            // The name does not repeat the target's, which may already be as long as the file system allows.
            temporary_ = target_;
            temporary_.replace_filename(name + ".tmp");
            descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
            if (descriptor_ >= 0) {
                return;
            }
            if (errno != EEXIST) {
                break;
            }
        }
        const int code = errno;
        temporary_.clear();
        errno = code;
        fail("cannot create a temporary file beside it");
    }

    void discard() noexcept {
        if (descriptor_ >= 0) {
            ::close(descriptor_);
            descriptor_ = -1;
        }
        if (!temporary_.empty()) {
            ::unlink(temporary_.c_str());
        }
    }

    [[noreturn]] void fail(std::string_view step) const {
        const int code = errno;
        throw io_error(detail::message(context_, ": ", step, ": ", detail::errno_text(code)));
    }

    std::string context_;
    std::filesystem::path target_;
    std::filesystem::path temporary_;
    int descriptor_ = -1;
    std::uint64_t size_ = 0;
};

}  // namespace moden::io
