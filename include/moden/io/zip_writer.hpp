#pragma once

// ZIP archives as NPZ files need them: stored or deflated entries, ZIP64 where something does not fit 32 bits.
// Source: PKWARE APPNOTE 6.3, sections 4.3 to 4.5.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <zlib.h>

#include <moden/io/atomic_file.hpp>
#include <moden/io/message.hpp>
#include <moden/io/zip_directory.hpp>

namespace moden::io::detail {

/// From which sizes and counts on ZIP64 is used. Lower values make small archives that use it, for tests.
struct zip_limits {
    std::uint64_t size = zip_in_zip64_32;
    std::uint64_t entries = zip_in_zip64_16;
};

/// Writes an archive entry by entry into an atomic_file. The same entries give the same bytes: no time stamps.
class zip_writer {
public:
    zip_writer(atomic_file& file, std::string context, zip_limits limits = {})
        : file_(file), context_(std::move(context)), limits_(limits) {}

    zip_writer(const zip_writer&) = delete;
    zip_writer& operator=(const zip_writer&) = delete;
    ~zip_writer() { end_deflate(); }

    /// Starts an entry.
    /// \param size  bytes that `append` will be given in total
    void begin(const std::string& name, std::uint16_t method, std::uint64_t size) {
        record entry;
        entry.name = name;
        entry.method = method;
        entry.size = size;
        entry.offset = file_.size();
        // Incompressible data grows by a few bytes per block; 1/256 is far more than deflate needs.
        entry.wide = size + size / 256 + 1024 >= limits_.size;
        entries_.push_back(std::move(entry));
        file_.write(local_header(entries_.back()));
        received_ = 0;
        if (method == zip_deflated) {
            require<io_error>(
                ::deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK,
                context_, ": zlib cannot be initialised");
            deflating_ = true;
        }
    }

    /// Appends content to the entry that was begun last.
    void append(std::span<const std::byte> bytes) {
        if (bytes.empty()) {
            return;  // crc32 of nothing at no address would start the checksum again
        }
        record& entry = entries_.back();
        received_ += bytes.size();
        entry.checksum = ::crc32_z(entry.checksum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
        if (!deflating_) {
            entry.compressed_size += bytes.size();
            file_.write(bytes);
            return;
        }
        constexpr std::size_t largest_step = std::size_t{1} << 30U;
        while (!bytes.empty()) {
            const std::size_t step = std::min(bytes.size(), largest_step);
            // zlib reads through this pointer only.
            stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
            stream_.avail_in = static_cast<uInt>(step);
            drain(Z_NO_FLUSH);
            bytes = bytes.subspan(step);
        }
    }

    void append(std::string_view text) { append(std::as_bytes(std::span(text.data(), text.size()))); }

    /// Ends the entry: its header, which came before the content, is completed.
    void end() {
        if (deflating_) {
            stream_.avail_in = 0;
            drain(Z_FINISH);
            end_deflate();
        }
        const record& entry = entries_.back();
        require<io_error>(received_ == entry.size, context_, ", entry ", in_quotes(entry.name), ": ", received_,
                          " bytes were written, ", entry.size, " announced");
        const std::string header = local_header(entry);
        file_.write_at(entry.offset, std::as_bytes(std::span(header.data(), header.size())));
    }

    /// Writes the directory. Call once, after the last entry and before the file is committed.
    void finish() {
        const std::uint64_t offset = file_.size();
        for (const record& entry : entries_) {
            file_.write(central_header(entry));
        }
        const std::uint64_t size = file_.size() - offset;
        const std::uint64_t count = entries_.size();
        const bool wide = offset >= limits_.size || size >= limits_.size || count >= limits_.entries;
        std::string text;
        if (wide) {
            const std::uint64_t record_offset = file_.size();
            put<std::uint32_t>(text, zip64_end_signature);
            put<std::uint64_t>(text, 44);
            put<std::uint16_t>(text, 45);
            put<std::uint16_t>(text, 45);
            put<std::uint32_t>(text, 0);
            put<std::uint32_t>(text, 0);
            put<std::uint64_t>(text, count);
            put<std::uint64_t>(text, count);
            put<std::uint64_t>(text, size);
            put<std::uint64_t>(text, offset);
            put<std::uint32_t>(text, zip64_locator_signature);
            put<std::uint32_t>(text, 0);
            put<std::uint64_t>(text, record_offset);
            put<std::uint32_t>(text, 1);
        }
        put<std::uint32_t>(text, zip_end_signature);
        put<std::uint32_t>(text, 0);
        const auto short_count = count >= limits_.entries ? zip_in_zip64_16 : static_cast<std::uint16_t>(count);
        put<std::uint16_t>(text, short_count);
        put<std::uint16_t>(text, short_count);
        put<std::uint32_t>(text, narrow(size));
        put<std::uint32_t>(text, narrow(offset));
        put<std::uint16_t>(text, 0);
        file_.write(text);
    }

private:
    struct record {
        std::string name;
        std::uint16_t method = zip_stored;
        bool wide = false;
        std::uint64_t size = 0;
        std::uint64_t compressed_size = 0;
        std::uint64_t offset = 0;
        uLong checksum = 0;
    };

    template <class Integer>
    static void put(std::string& text, std::uint64_t value) {
        for (std::size_t byte = 0; byte < sizeof(Integer); ++byte) {
            text += static_cast<char>((value >> (8 * byte)) & 0xffU);
        }
    }

    std::uint32_t narrow(std::uint64_t value) const noexcept {
        return value >= limits_.size ? zip_in_zip64_32 : static_cast<std::uint32_t>(value);
    }

    static void put_common(std::string& text, const record& entry, bool wide) {
        put<std::uint16_t>(text, wide ? 45 : 20);  // version needed
        put<std::uint16_t>(text, is_ascii(entry.name) ? 0 : zip_flag_utf8);
        put<std::uint16_t>(text, entry.method);
        put<std::uint16_t>(text, 0);
        put<std::uint16_t>(text, 0x21);  // 1 January 1980, the first day ZIP knows
        put<std::uint32_t>(text, entry.checksum);
    }

    static std::string local_header(const record& entry) {
        std::string text;
        put<std::uint32_t>(text, zip_local_signature);
        put_common(text, entry, entry.wide);
        put<std::uint32_t>(text, entry.wide ? zip_in_zip64_32 : entry.compressed_size);
        put<std::uint32_t>(text, entry.wide ? zip_in_zip64_32 : entry.size);
        put<std::uint16_t>(text, entry.name.size());
        put<std::uint16_t>(text, entry.wide ? 20 : 0);
        text += entry.name;
        if (entry.wide) {
            put<std::uint16_t>(text, zip64_extra_id);
            put<std::uint16_t>(text, 16);
            put<std::uint64_t>(text, entry.size);
            put<std::uint64_t>(text, entry.compressed_size);
        }
        return text;
    }

    std::string central_header(const record& entry) const {
        std::string extra;
        for (const std::uint64_t value : {entry.size, entry.compressed_size, entry.offset}) {
            if (narrow(value) == zip_in_zip64_32) {
                put<std::uint64_t>(extra, value);
            }
        }
        std::string text;
        put<std::uint32_t>(text, zip_central_signature);
        put<std::uint16_t>(text, 45);  // made by: version 4.5, no particular system
        put_common(text, entry, entry.wide || !extra.empty());
        put<std::uint32_t>(text, narrow(entry.compressed_size));
        put<std::uint32_t>(text, narrow(entry.size));
        put<std::uint16_t>(text, entry.name.size());
        put<std::uint16_t>(text, extra.empty() ? 0 : extra.size() + 4);
        put<std::uint16_t>(text, 0);
        put<std::uint16_t>(text, 0);
        put<std::uint16_t>(text, 0);
        put<std::uint32_t>(text, 0);
        put<std::uint32_t>(text, narrow(entry.offset));
        text += entry.name;
        if (!extra.empty()) {
            put<std::uint16_t>(text, zip64_extra_id);
            put<std::uint16_t>(text, extra.size());
            text += extra;
        }
        return text;
    }

    void drain(int flush) {
        std::array<std::byte, 65536> buffer;
        int code = Z_OK;
        do {
            stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());
            stream_.avail_out = static_cast<uInt>(buffer.size());
            code = ::deflate(&stream_, flush);
            require<io_error>(code != Z_STREAM_ERROR, context_, ": zlib cannot compress");
            const std::size_t produced = buffer.size() - stream_.avail_out;
            entries_.back().compressed_size += produced;
            file_.write(std::span<const std::byte>(buffer.data(), produced));
        } while (stream_.avail_out == 0 || (flush == Z_FINISH && code != Z_STREAM_END));
    }

    void end_deflate() noexcept {
        if (deflating_) {
            ::deflateEnd(&stream_);
            deflating_ = false;
        }
    }

    atomic_file& file_;
    std::string context_;
    zip_limits limits_;
    std::vector<record> entries_;
    z_stream stream_{};
    bool deflating_ = false;
    std::uint64_t received_ = 0;
};

}  // namespace moden::io::detail
