#pragma once

// The directory of a ZIP archive, as far as NPZ files use it, read strictly: stored and deflated entries, ZIP64.
// Source: PKWARE APPNOTE 6.3, sections 4.3 to 4.5.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moden/io/message.hpp>
#include <moden/io/utf8.hpp>

namespace moden::io::detail {

inline constexpr std::uint32_t zip_local_signature = 0x04034b50;
inline constexpr std::uint32_t zip_central_signature = 0x02014b50;
inline constexpr std::uint32_t zip_end_signature = 0x06054b50;
inline constexpr std::uint32_t zip64_end_signature = 0x06064b50;
inline constexpr std::uint32_t zip64_locator_signature = 0x07064b50;
inline constexpr std::uint16_t zip64_extra_id = 1;
inline constexpr std::uint16_t zip_in_zip64_16 = 0xffff;      // "see the ZIP64 record" in a field of 16 bits
inline constexpr std::uint32_t zip_in_zip64_32 = 0xffffffff;  // the same in a field of 32 bits
inline constexpr std::uint16_t zip_flag_sizes_follow = 1U << 3U;
inline constexpr std::uint16_t zip_flag_utf8 = 1U << 11U;
inline constexpr std::uint16_t zip_flags_encrypted = (1U << 0U) | (1U << 6U) | (1U << 13U);
inline constexpr std::uint16_t zip_stored = 0;
inline constexpr std::uint16_t zip_deflated = 8;

/// One file in an archive, checked against the archive's bounds but not yet against its checksum.
struct zip_entry {
    std::string name;
    std::uint16_t method = zip_stored;
    std::uint32_t checksum = 0;
    std::uint64_t size = 0;           // after inflating
    std::span<const std::byte> data;  // as it lies in the archive
    std::uint64_t local_header_offset = 0;
};

/// Reads little-endian integers from a range and refuses to leave it.
class zip_cursor {
public:
    zip_cursor(std::span<const std::byte> bytes, std::size_t position, const std::string& context)
        : bytes_(bytes), position_(position), context_(context) {}

    template <class Integer>
    Integer take() {
        Integer value{};
        const auto source = take_bytes(sizeof value);
        std::memcpy(&value, source.data(), sizeof value);
        return value;
    }

    std::span<const std::byte> take_bytes(std::size_t count) {
        require<io_error>(position_ <= bytes_.size() && count <= bytes_.size() - position_, context_,
                          " is a damaged ZIP archive: a record of ", count, " bytes at ", position_,
                          " reaches beyond its end at ", bytes_.size());
        position_ += count;
        return bytes_.subspan(position_ - count, count);
    }

    std::size_t position() const noexcept { return position_; }

private:
    std::span<const std::byte> bytes_;
    std::size_t position_;
    const std::string& context_;
};

/// What is wrong with the name of an entry; empty if nothing is. Names are relative paths with '/' that stay inside.
inline std::string_view zip_name_fault(std::string_view name) noexcept {
    if (name.empty() || name.size() > 60000) {
        return "which is empty or too long";
    }
    if (name.find('\\') != std::string_view::npos || std::any_of(name.begin(), name.end(), [](char c) {
            return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
        })) {
        return "which has a backslash or a control character";
    }
    if (!is_utf8(name)) {
        return "which is not UTF-8";
    }
    for (std::size_t begin = 0; begin <= name.size();) {
        const std::size_t end = std::min(name.find('/', begin), name.size());
        const std::string_view part = name.substr(begin, end - begin);
        if (part.empty() || part == "." || part == "..") {
            return "which is not a plain relative path";
        }
        begin = end + 1;
    }
    return {};
}

/// Where the central directory lies and how many entries it has.
struct zip_directory {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint64_t entries = 0;
};

inline zip_directory find_zip_directory(std::span<const std::byte> bytes, const std::string& context) {
    constexpr std::size_t end_record_bytes = 22;
    constexpr std::size_t locator_bytes = 20;
    const auto signature_at = [&](std::size_t position) {
        std::uint32_t value = 0;
        std::memcpy(&value, bytes.data() + position, sizeof value);
        return value;
    };
    // The end record is last, but for a comment whose length it states.
    std::size_t position = bytes.size();
    bool found = false;
    if (bytes.size() >= end_record_bytes) {
        const std::size_t last = bytes.size() - end_record_bytes;
        const std::size_t first = last > 0xffff ? last - 0xffff : 0;
        for (position = last + 1; !found && position > first;) {
            --position;
            std::uint16_t comment = 0;
            std::memcpy(&comment, bytes.data() + position + 20, sizeof comment);
            found = signature_at(position) == zip_end_signature && comment == last - position;
        }
    }
    require<io_error>(found, context, " is not a ZIP archive, or truncated: there is no end record");

    zip_cursor cursor(bytes, position + 4, context);
    const auto disk = cursor.take<std::uint16_t>();
    const auto directory_disk = cursor.take<std::uint16_t>();
    const auto disk_entries = cursor.take<std::uint16_t>();
    zip_directory directory;
    directory.entries = cursor.take<std::uint16_t>();
    directory.size = cursor.take<std::uint32_t>();
    directory.offset = cursor.take<std::uint32_t>();
    require<io_error>(disk == 0 && directory_disk == 0 && disk_entries == directory.entries, context,
                      " is one part of a split ZIP archive, expected a whole one");
    std::uint64_t directory_end = position;
    const bool has_locator =
        position >= locator_bytes && signature_at(position - locator_bytes) == zip64_locator_signature;
    const bool points_to_zip64 = directory.entries == zip_in_zip64_16 || directory.size == zip_in_zip64_32
                                 || directory.offset == zip_in_zip64_32;
    if (has_locator && (points_to_zip64 || directory.offset + directory.size != directory_end)) {
        zip_cursor locator(bytes, position - locator_bytes + 8, context);
        const auto record_offset = locator.take<std::uint64_t>();
        require<io_error>(record_offset < position, context,
                          " is a damaged ZIP archive: its ZIP64 record is said to be at ", record_offset,
                          ", expected before ", position);
        zip_cursor record(bytes, static_cast<std::size_t>(record_offset), context);
        const auto signature = record.take<std::uint32_t>();
        const auto record_size = record.take<std::uint64_t>();
        require<io_error>(signature == zip64_end_signature && record_size >= 44
                              && record_size == position - locator_bytes - record_offset - 12,
                          context, " is a damaged ZIP archive: its ZIP64 end record is malformed");
        record.take_bytes(12);  // versions and disk numbers
        const auto disk_entries_64 = record.take<std::uint64_t>();
        const zip_directory large{.offset = 0, .size = 0, .entries = record.take<std::uint64_t>()};
        const auto size = record.take<std::uint64_t>();
        const auto offset = record.take<std::uint64_t>();
        require<io_error>(disk_entries_64 == large.entries
                              && (directory.entries == zip_in_zip64_16 || directory.entries == large.entries)
                              && (directory.size == zip_in_zip64_32 || directory.size == size)
                              && (directory.offset == zip_in_zip64_32 || directory.offset == offset),
                          context, " is a damaged ZIP archive: its end record and its ZIP64 end record disagree");
        directory = {.offset = offset, .size = size, .entries = large.entries};
        directory_end = record_offset;
    }
    require<io_error>(directory.offset <= directory_end && directory.size == directory_end - directory.offset, context,
                      " is a damaged ZIP archive: a directory of ", directory.size, " bytes at ", directory.offset,
                      " does not end at ", directory_end);
    require<io_error>(directory.entries <= directory.size / 46, context,
                      " is a damaged ZIP archive: ", directory.entries, " entries do not fit a directory of ",
                      directory.size, " bytes");
    return directory;
}

/// Sizes and offset of an entry, of which those too large for 32 bits are in a ZIP64 extra field.
struct zip_extent {
    std::uint64_t size = 0;
    std::uint64_t compressed_size = 0;
    std::uint64_t offset = 0;
};

inline zip_extent widen_zip64(zip_extent extent, std::span<const std::byte> extra, const std::string& context) {
    const bool wide[] = {extent.size == zip_in_zip64_32, extent.compressed_size == zip_in_zip64_32,
                         extent.offset == zip_in_zip64_32};
    if (!wide[0] && !wide[1] && !wide[2]) {
        return extent;
    }
    zip_cursor cursor(extra, 0, context);
    while (cursor.position() < extra.size()) {
        const auto id = cursor.take<std::uint16_t>();
        const auto field = cursor.take_bytes(cursor.take<std::uint16_t>());
        if (id == zip64_extra_id) {
            zip_cursor values(field, 0, context);
            std::uint64_t* const targets[] = {&extent.size, &extent.compressed_size, &extent.offset};
            for (std::size_t i = 0; i < 3; ++i) {
                if (wide[i]) {
                    *targets[i] = values.take<std::uint64_t>();
                }
            }
            return extent;
        }
    }
    throw io_error(message(context, " is a damaged ZIP archive: a ZIP64 field is missing"));
}

/// Checks the local header against the directory and finds the entry's data.
inline void locate_zip_data(zip_entry& entry, std::uint64_t compressed_size,
                            std::span<const std::byte> before_directory, const std::string& context) {
    const std::string label = message(context, ", entry ", in_quotes(entry.name));
    require<io_error>(entry.local_header_offset < before_directory.size(), label, ": it is said to be at ",
                      entry.local_header_offset, ", expected before the directory at ", before_directory.size());
    zip_cursor local(before_directory, static_cast<std::size_t>(entry.local_header_offset), label);
    require<io_error>(local.take<std::uint32_t>() == zip_local_signature, label, ": there is no local header at ",
                      entry.local_header_offset);
    local.take_bytes(2);
    const auto flags = local.take<std::uint16_t>();
    const auto method = local.take<std::uint16_t>();
    local.take_bytes(4);
    const auto checksum = local.take<std::uint32_t>();
    zip_extent extent;
    extent.compressed_size = local.take<std::uint32_t>();
    extent.size = local.take<std::uint32_t>();
    const auto name_length = local.take<std::uint16_t>();
    const auto extra_length = local.take<std::uint16_t>();
    const auto local_name = local.take_bytes(name_length);
    const auto extra = local.take_bytes(extra_length);
    require<io_error>(
        method == entry.method && (flags & zip_flags_encrypted) == 0
            && std::equal(local_name.begin(), local_name.end(), reinterpret_cast<const std::byte*>(entry.name.data()),
                          reinterpret_cast<const std::byte*>(entry.name.data()) + entry.name.size()),
        label, ": the local header disagrees with the directory");
    if ((flags & zip_flag_sizes_follow) == 0) {
        extent = widen_zip64(extent, extra, label);
        require<io_error>(
            extent.size == entry.size && extent.compressed_size == compressed_size && checksum == entry.checksum, label,
            ": the local header disagrees with the directory");
    }
    require<io_error>(compressed_size <= before_directory.size() - local.position(), label, ": its ", compressed_size,
                      " bytes reach into the directory");
    entry.data = local.take_bytes(static_cast<std::size_t>(compressed_size));
}

/// Reads one entry of the central directory and checks all that can be checked without inflating it.
inline zip_entry parse_zip_entry(zip_cursor& cursor, std::span<const std::byte> before_directory,
                                 const std::string& context) {
    require<io_error>(cursor.take<std::uint32_t>() == zip_central_signature, context,
                      " is a damaged ZIP archive: its directory has a malformed entry");
    zip_entry entry;
    cursor.take_bytes(4);
    const auto flags = cursor.take<std::uint16_t>();
    entry.method = cursor.take<std::uint16_t>();
    cursor.take_bytes(4);
    entry.checksum = cursor.take<std::uint32_t>();
    zip_extent extent;
    extent.compressed_size = cursor.take<std::uint32_t>();
    extent.size = cursor.take<std::uint32_t>();
    const auto name_length = cursor.take<std::uint16_t>();
    const auto extra_length = cursor.take<std::uint16_t>();
    const auto comment_length = cursor.take<std::uint16_t>();
    const auto disk = cursor.take<std::uint16_t>();
    cursor.take_bytes(6);
    extent.offset = cursor.take<std::uint32_t>();
    const auto name = cursor.take_bytes(name_length);
    entry.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    const auto extra = cursor.take_bytes(extra_length);
    cursor.take_bytes(comment_length);

    const std::string_view name_fault = zip_name_fault(entry.name);
    require<io_error>(name_fault.empty(), context, " has an entry named ", in_quotes(entry.name), ", ", name_fault);
    const std::string label = message(context, ", entry ", in_quotes(entry.name));
    require<io_error>((flags & zip_flag_utf8) != 0 || is_ascii(entry.name), label,
                      ": the name is neither ASCII nor marked as UTF-8");
    require<io_error>(disk == 0, label, ": it is on another part of a split archive");
    require<io_error>((flags & zip_flags_encrypted) == 0, label, ": it is encrypted");
    require<io_error>(entry.method == zip_stored || entry.method == zip_deflated, label, ": compression method ",
                      entry.method, ", expected 0 (stored) or 8 (deflated)");
    extent = widen_zip64(extent, extra, label);
    entry.size = extent.size;
    entry.local_header_offset = extent.offset;
    locate_zip_data(entry, extent.compressed_size, before_directory, context);
    // Deflate never expands one byte to more than 1032.
    require<io_error>(
        entry.method == zip_stored ? entry.size == entry.data.size() : entry.size / 1032 <= entry.data.size(), label,
        ": ", entry.data.size(), " bytes in the archive cannot hold the declared ", entry.size);
    return entry;
}

/// All entries of an archive, in the order of its directory. No two have the same name or share a byte.
inline std::vector<zip_entry> parse_zip(std::span<const std::byte> bytes, const std::string& context) {
    const zip_directory directory = find_zip_directory(bytes, context);
    const auto offset = static_cast<std::size_t>(directory.offset);
    const auto end = offset + static_cast<std::size_t>(directory.size);
    zip_cursor cursor(bytes.first(end), offset, context);
    std::vector<zip_entry> entries;
    for (std::uint64_t i = 0; i < directory.entries; ++i) {
        entries.push_back(parse_zip_entry(cursor, bytes.first(offset), context));
    }
    require<io_error>(cursor.position() == end, context, " is a damaged ZIP archive: its directory has ",
                      end - cursor.position(), " bytes after the last entry");

    std::vector<const zip_entry*> sorted;
    for (const zip_entry& entry : entries) {
        sorted.push_back(&entry);
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const auto* a, const auto* b) { return a->local_header_offset < b->local_header_offset; });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        const auto previous_end =
            static_cast<std::size_t>(sorted[i - 1]->data.data() - bytes.data()) + sorted[i - 1]->data.size();
        require<io_error>(previous_end <= sorted[i]->local_header_offset, context,
                          " is a damaged ZIP archive: entries ", in_quotes(sorted[i - 1]->name), " and ",
                          in_quotes(sorted[i]->name), " overlap");
    }
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
        require<io_error>(sorted[i - 1]->name != sorted[i]->name, context, " has two entries named ",
                          in_quotes(sorted[i]->name));
    }
    return entries;
}

}  // namespace moden::io::detail
