#pragma once

// The content of an entry of a ZIP archive, inflated where it is compressed, and its checksum.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>

#include <zlib.h>

#include <moden/io/message.hpp>
#include <moden/io/zip_directory.hpp>

namespace moden::io::detail {

/// The content of one entry from front to back. Never delivers more than the directory declares.
class zip_entry_reader {
public:
    /// \param entry    refers to the archive, which must outlive the reader
    /// \param context  how messages start
    zip_entry_reader(const zip_entry& entry, std::string context)
        : entry_(entry), context_(message(context, ", entry ", in_quotes(entry.name))) {
        if (entry_.method == zip_deflated) {
            // Negative window bits: raw deflate data, as ZIP has it.
            require<io_error>(::inflateInit2(&stream_, -MAX_WBITS) == Z_OK, context_, ": zlib cannot be initialised");
        }
    }

    zip_entry_reader(const zip_entry_reader&) = delete;
    zip_entry_reader& operator=(const zip_entry_reader&) = delete;

    ~zip_entry_reader() {
        if (entry_.method == zip_deflated) {
            ::inflateEnd(&stream_);
        }
    }

    /// Fills the destination with the next bytes.
    /// \throws io_error if the entry ends before that or is damaged
    void read(std::span<std::byte> destination) {
        require<io_error>(destination.size() <= entry_.size - position_, context_, ": it has ", entry_.size,
                          " bytes, fewer than its content needs");
        if (destination.empty()) {
            return;  // crc32 of nothing at no address would start the checksum again
        }
        if (entry_.method == zip_stored) {
            std::memcpy(destination.data(), entry_.data.data() + position_, destination.size());
        } else {
            inflate(destination);
        }
        checksum_ = ::crc32_z(checksum_, reinterpret_cast<const Bytef*>(destination.data()), destination.size());
        position_ += destination.size();
    }

    /// Call when all bytes have been read.
    /// \throws io_error if the checksum is wrong or the compressed data goes on
    void finish() {
        require<io_error>(position_ == entry_.size, context_, ": ", entry_.size - position_, " bytes are left over");
        if (entry_.method == zip_deflated) {
            std::byte beyond{};
            std::size_t produced = 0;
            bool ended = ended_;
            while (!ended && produced == 0) {
                ended = step(&beyond, 1, produced);
            }
            require<io_error>(produced == 0 && taken_ == entry_.data.size() && stream_.avail_in == 0, context_,
                              ": the compressed data goes on after the declared ", entry_.size, " bytes");
        }
        require<io_error>(checksum_ == entry_.checksum, context_,
                          ": the CRC-32 of the content is wrong; the file is damaged");
    }

private:
    void inflate(std::span<std::byte> destination) {
        while (!destination.empty()) {
            require<io_error>(!ended_, context_, ": the compressed data ends after ", position_, " bytes, expected ",
                              entry_.size);
            std::size_t produced = 0;
            ended_ = step(destination.data(), destination.size(), produced);
            destination = destination.subspan(produced);
        }
    }

    /// One call of zlib; true at the end of the compressed data.
    bool step(std::byte* destination, std::size_t capacity, std::size_t& produced) {
        constexpr std::size_t largest_step = std::size_t{1} << 30U;
        if (stream_.avail_in == 0) {
            const std::size_t count = std::min(entry_.data.size() - taken_, largest_step);
            // zlib reads through this pointer only.
            stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(entry_.data.data() + taken_));
            stream_.avail_in = static_cast<uInt>(count);
            taken_ += count;
        }
        const auto room = static_cast<uInt>(std::min(capacity, largest_step));
        stream_.next_out = reinterpret_cast<Bytef*>(destination);
        stream_.avail_out = room;
        const int code = ::inflate(&stream_, Z_NO_FLUSH);
        produced = room - stream_.avail_out;
        require<io_error>(code == Z_OK || code == Z_STREAM_END, context_, ": the compressed data is ",
                          code == Z_BUF_ERROR ? "truncated" : "damaged");
        return code == Z_STREAM_END;
    }

    const zip_entry& entry_;
    std::string context_;
    z_stream stream_{};
    std::uint64_t position_ = 0;
    std::size_t taken_ = 0;
    bool ended_ = false;
    uLong checksum_ = 0;
};

}  // namespace moden::io::detail
