// Any bytes as an NPZ file. Checksums keep a fuzzer from reaching the arrays, so input that does not begin like a ZIP
// archive is made the content of one: method, what the directory declares, and the data of the entry.

#include "fuzz.hpp"

#include <string>
#include <vector>

#include <zlib.h>

#include <moden/io/npz.hpp>

namespace io = moden::io;

namespace {

template <class Integer>
void put(std::string& text, std::uint64_t value) {
    for (std::size_t byte = 0; byte < sizeof(Integer); ++byte) {
        text += static_cast<char>((value >> (8 * byte)) & 0xffU);
    }
}

/// What the data inflates to, at most a megabyte of it.
std::string inflated(const std::string& data) {
    std::string result(1U << 20U, '\0');
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        return {};
    }
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef*>(result.data());
    stream.avail_out = static_cast<uInt>(result.size());
    inflate(&stream, Z_FINISH);
    result.resize(stream.total_out);
    inflateEnd(&stream);
    return result;
}

/// A sound archive with one entry. The first byte chooses the method, the second how far the declared size is off.
std::string archive_around(const std::uint8_t* input, std::size_t size) {
    const bool deflated = input[0] % 2 == 1;
    const std::string data(reinterpret_cast<const char*>(input) + 2, size - 2);
    std::string content = deflated ? inflated(data) : data;
    content.resize(content.size() + input[1] % 4U);
    const auto checksum = crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
    std::string common;
    put<std::uint16_t>(common, 20);
    put<std::uint16_t>(common, 0);
    put<std::uint16_t>(common, deflated ? 8 : 0);
    put<std::uint32_t>(common, 0);
    put<std::uint32_t>(common, checksum);
    put<std::uint32_t>(common, data.size());
    put<std::uint32_t>(common, content.size());
    put<std::uint16_t>(common, 5);
    put<std::uint16_t>(common, 0);
    const std::string local = "PK\x03\x04" + common + "a.npy" + data;
    std::string text = local + std::string("PK\x01\x02\x14\x00", 6) + common + std::string(14, '\0') + "a.npy";
    const std::size_t directory = text.size() - local.size();
    text += std::string("PK\x05\x06\0\0\0\0\1\0\1\0", 12);
    put<std::uint32_t>(text, directory);
    put<std::uint32_t>(text, local.size());
    put<std::uint16_t>(text, 0);
    return text;
}

void read_archive(std::span<const std::byte> bytes) {
    fuzz::accepted([&] {
        const io::npz_file file = io::parse_npz(bytes, {.max_inflated_bytes = 1U << 24U}, "fuzz");
        for (const std::string& name : file.names()) {
            fuzz::expect(file.contains(name));
            fuzz::accepted([&] {
                const auto values = file.load<double>(name);
                fuzz::expect(values.dimension() == file.shape(name).size());
                // The same content must be readable again, now as its own kind of number or not at all.
                fuzz::accepted([&] { fuzz::expect(file.load<float>(name).size() == values.size()); });
                fuzz::accepted([&] { fuzz::expect(file.load<std::uint8_t>(name).size() == values.size()); });
                fuzz::accepted([&] { fuzz::expect(file.load<bool>(name).size() == values.size()); });
            });
        }
    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size >= 2 && data[0] != 'P') {
        const std::string archive = archive_around(data, size);
        read_archive(fuzz::bytes_of(reinterpret_cast<const std::uint8_t*>(archive.data()), archive.size()));
    } else {
        read_archive(fuzz::bytes_of(data, size));
    }
    return 0;
}
