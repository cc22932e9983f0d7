// NPZ files that lie. Each is refused with a message that names the lie; none crashes or takes more memory than it
// holds.

#include "support.hpp"

#include <functional>
#include <map>

#include <zlib.h>

#include <xtensor/xbuilder.hpp>

#include <moden/io/npz.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::little;
using io_test::sample;
using io_test::to_bytes;

namespace {

std::string npy_of(const dynamic_tensor<float>& values) {
    const auto shape = extents(values.shape().begin(), values.shape().end());
    std::string text = io::detail::make_npy_header(io::element_type::float32, io::array_order::c, shape);
    text.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    return text;
}

std::uint32_t checksum_of(const std::string& text) {
    return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size()));
}

std::string deflated(const std::string& text) {
    z_stream stream{};
    REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    std::string result(deflateBound(&stream, text.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    stream.avail_in = static_cast<uInt>(text.size());
    stream.next_out = reinterpret_cast<Bytef*>(result.data());
    stream.avail_out = static_cast<uInt>(result.size());
    REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    result.resize(stream.total_out);
    deflateEnd(&stream);
    return result;
}

/// One entry, every field of which can lie; the local header repeats the fields unless told otherwise.
struct entry {
    std::string name = "a.npy";
    std::string data;
    std::uint16_t method = 0;
    std::uint16_t flags = 0;
    std::uint32_t checksum = 0;
    std::uint32_t compressed_size = 0;
    std::uint32_t size = 0;
    std::string local_name;
    std::uint16_t local_method = 0;
    std::uint16_t local_flags = 0;
    std::string local_extra;
    std::string central_extra;
    std::uint16_t disk = 0;
    std::int64_t offset = -1;  // where the directory says it is; -1: where it is
};

entry stored_entry(const std::string& name, const std::string& content) {
    entry result;
    result.name = result.local_name = name;
    result.data = content;
    result.checksum = checksum_of(content);
    result.compressed_size = result.size = static_cast<std::uint32_t>(content.size());
    return result;
}

entry deflated_entry(const std::string& name, const std::string& content) {
    entry result = stored_entry(name, content);
    result.data = deflated(content);
    result.method = result.local_method = 8;
    result.compressed_size = static_cast<std::uint32_t>(result.data.size());
    return result;
}

struct archive {
    std::string local;
    std::string central;
    std::uint16_t count = 0;

    void add(const entry& e) {
        const auto offset =
            e.offset >= 0 ? static_cast<std::uint32_t>(e.offset) : static_cast<std::uint32_t>(local.size());
        const auto common = [&](std::uint16_t flags, std::uint16_t method) {
            return little<std::uint16_t>(20) + little(flags) + little(method) + little<std::uint32_t>(0)
                   + little(e.checksum) + little(e.compressed_size) + little(e.size);
        };
        local += "PK\x03\x04" + common(e.local_flags, e.local_method)
                 + little(static_cast<std::uint16_t>(e.local_name.size()))
                 + little(static_cast<std::uint16_t>(e.local_extra.size())) + e.local_name + e.local_extra + e.data;
        central += "PK\x01\x02" + little<std::uint16_t>(20) + common(e.flags, e.method)
                   + little(static_cast<std::uint16_t>(e.name.size()))
                   + little(static_cast<std::uint16_t>(e.central_extra.size())) + little<std::uint16_t>(0)
                   + little(e.disk) + little<std::uint16_t>(0) + little<std::uint32_t>(0) + little(offset) + e.name
                   + e.central_extra;
        ++count;
    }

    std::string end_record() const {
        return "PK\x05\x06" + little<std::uint32_t>(0) + little(count) + little(count)
               + little(static_cast<std::uint32_t>(central.size())) + little(static_cast<std::uint32_t>(local.size()))
               + little<std::uint16_t>(0);
    }

    std::string text() const { return local + central + end_record(); }
};

std::string archive_of(const std::vector<entry>& entries) {
    archive result;
    for (const entry& e : entries) {
        result.add(e);
    }
    return result.text();
}

const dynamic_tensor<float> values = sample<float>({3, 4});

/// Parses and loads everything.
std::map<std::string, dynamic_tensor<float>> load(const std::string& text) {
    const auto content = to_bytes(text);
    const io::npz_file file = io::parse_npz(content, {}, "hostile");
    std::map<std::string, dynamic_tensor<float>> result;
    for (const std::string& name : file.names()) {
        result.emplace(name, file.load<float>(name));
    }
    return result;
}

void refused(const std::string& text, std::initializer_list<std::string_view> parts) {
    check_refused([&] { load(text); }, parts);
}

}  // namespace

TEST_CASE("the archives of these tests are good before they are broken") {
    const std::string content = npy_of(values);
    const auto loaded = load(archive_of({stored_entry("a.npy", content), deflated_entry("b.npy", content)}));
    CHECK(loaded == std::map<std::string, dynamic_tensor<float>>{{"a", values}, {"b", values}});
}

TEST_CASE("not an archive") {
    refused("", {"parse_npz: 'hostile'", "not a ZIP archive"});
    refused("PK", {"not a ZIP archive"});
    refused(npy_of(values), {"not a ZIP archive"});
    refused(std::string(100000, 'x'), {"not a ZIP archive"});
}

TEST_CASE("entries that cannot be read are named") {
    entry e = stored_entry("a.npy", npy_of(values));
    SUBCASE("encrypted") {
        for (const std::uint16_t flag : std::initializer_list<std::uint16_t>{0x1, 0x40, 0x2000}) {
            e.flags = flag;
            refused(archive_of({e}), {"'a.npy'", "encrypted"});
        }
        e.flags = 0;
        e.local_flags = 1;
        refused(archive_of({e}), {"'a.npy'", "disagrees"});
    }
    SUBCASE("unknown compression") {
        e.method = e.local_method = 14;
        refused(archive_of({e}), {"'a.npy'", "method 14", "stored", "deflated"});
    }
    SUBCASE("another disk") {
        e.disk = 1;
        refused(archive_of({e}), {"'a.npy'", "split"});
    }
    SUBCASE("wrong checksum") {
        e.checksum ^= 1U;
        refused(archive_of({e}), {"'a.npy'", "CRC-32"});
    }
    SUBCASE("the local header has another name") {
        e.local_name = "b.npy";
        refused(archive_of({e}), {"'a.npy'", "disagrees"});
    }
    SUBCASE("the local header has another method") {
        e.local_method = 8;
        refused(archive_of({e}), {"'a.npy'", "disagrees"});
    }
    SUBCASE("no local header where it is said to be") {
        e.offset = 5;
        refused(archive_of({e}), {"'a.npy'", "no local header at 5"});
    }
    SUBCASE("outside the file") {
        e.offset = 0x7fffffff;
        refused(archive_of({e}), {"'a.npy'", "2147483647"});
    }
    SUBCASE("larger than the file") {
        e.compressed_size = e.size = 100000;
        refused(archive_of({e}), {"'a.npy'", "100000"});
    }
    SUBCASE("stored, but of two sizes") {
        e.size += 1;
        refused(archive_of({e}), {"'a.npy'", "cannot hold"});
    }
    SUBCASE("no array") {
        e.name = e.local_name = "readme.txt";
        refused(archive_of({e}), {"'readme.txt'", ".npy"});
        e.name = e.local_name = ".npy";
        refused(archive_of({e}), {"'.npy'"});
        e.name = e.local_name = "a/.npy";
        refused(archive_of({e}), {"'a/.npy'"});
    }
    SUBCASE("sizes that follow the data are taken from the directory") {
        e.flags = e.local_flags = 8;
        CHECK(load(archive_of({e})).at("a") == values);
    }
}

TEST_CASE("names that leave the archive or clash are refused") {
    for (const std::string name :
         {"/a.npy", "../a.npy", "a/../b.npy", "a//b.npy", "./a.npy", "a\\b.npy", "a\x01.npy", "a/"}) {
        CAPTURE(name);
        refused(archive_of({stored_entry(name, npy_of(values))}), {"entry named"});
    }
    refused(archive_of({stored_entry(std::string("a\0.npy", 6), npy_of(values))}), {"'a\\x00.npy'", "control"});
    refused(archive_of({stored_entry("", npy_of(values))}), {"empty"});
    refused(archive_of({stored_entry("\xff.npy", npy_of(values))}), {"not UTF-8"});
    refused(archive_of({stored_entry("\xed\xa0\x80.npy", npy_of(values))}), {"not UTF-8"});      // a surrogate
    refused(archive_of({stored_entry("\xf4\x90\x80\x80.npy", npy_of(values))}), {"not UTF-8"});  // above U+10FFFF
    refused(archive_of({stored_entry("\xc3\xa4.npy", npy_of(values))}), {"neither ASCII nor marked"});
    const entry e = stored_entry("a.npy", npy_of(values));
    refused(archive_of({e, e}), {"two entries named 'a.npy'"});
}

TEST_CASE("entries that share bytes are refused") {
    const entry first = stored_entry("a.npy", npy_of(values));
    entry second = stored_entry("b.npy", npy_of(values));
    // The whole second archive entry hidden in the data of the first.
    archive inner;
    inner.add(second);
    archive outer;
    outer.add(stored_entry("a.npy", inner.local));
    second.offset = 35;
    second.data.clear();
    outer.add(second);
    refused(outer.text(), {"overlap", "'a.npy'", "'b.npy'"});
    // Two directory entries for one local header.
    entry again = first;
    again.offset = 0;
    refused(archive_of({first, again}), {"overlap"});
}

TEST_CASE("bombs: no more is inflated than is declared, no more is declared than can be") {
    const std::string content = npy_of(xt::zeros<float>({100000}));
    SUBCASE("more data than declared") {
        entry e = deflated_entry("a.npy", content);
        const std::string small = npy_of(xt::zeros<float>({100}));
        entry lie = deflated_entry("a.npy", small);
        lie.data = deflated(small + std::string(1000000, '\0'));
        lie.compressed_size = static_cast<std::uint32_t>(lie.data.size());
        refused(archive_of({lie}), {"'a.npy'", "goes on after the declared"});
        CHECK(load(archive_of({e})).at("a").size() == 100000);
    }
    SUBCASE("less data than declared") {
        entry e = deflated_entry("a.npy", content);
        e.data = deflated(content.substr(0, content.size() - 4));
        e.compressed_size = static_cast<std::uint32_t>(e.data.size());
        refused(archive_of({e}), {"'a.npy'", "ends after"});
    }
    SUBCASE("bytes after the end of the compressed data") {
        entry e = deflated_entry("a.npy", content);
        e.data += "xx";
        e.compressed_size += 2;
        refused(archive_of({e}), {"'a.npy'", "goes on after the declared"});
    }
    SUBCASE("compressed data cut short") {
        entry e = deflated_entry("a.npy", npy_of(values));
        e.data.pop_back();
        e.compressed_size -= 1;
        refused(archive_of({e}), {"'a.npy'", "truncated"});
    }
    SUBCASE("no compressed data at all") {
        entry e = deflated_entry("a.npy", npy_of(values));
        e.data = "\xff\xff\xff\xff";
        e.compressed_size = 4;
        refused(archive_of({e}), {"'a.npy'", "damaged"});
    }
    SUBCASE("a declared size that deflate cannot reach") {
        entry e = deflated_entry("a.npy", content);
        e.size = 0xf0000000;
        refused(archive_of({e}), {"'a.npy'", "cannot hold", "4026531840"});
    }
    SUBCASE("a shape that does not fit the declared size") {
        std::string huge =
            io::detail::make_npy_header(io::element_type::float32, io::array_order::c, extents{1U << 30U});
        refused(archive_of({stored_entry("a.npy", huge)}), {"'a'", "1073741824", "4294967296 bytes"});
        refused(archive_of({deflated_entry("a.npy", huge)}), {"'a'", "1073741824", "4294967296 bytes"});
        refused(archive_of({stored_entry("a.npy", npy_of(values) + "x")}), {"'a'", "48 bytes", "49"});
        refused(archive_of({deflated_entry("a.npy", npy_of(values) + "x")}), {"'a'", "48 bytes", "49"});
    }
}

TEST_CASE("entries that are no NPY arrays are refused") {
    for (const auto& make : {stored_entry, deflated_entry}) {
        refused(archive_of({make("a.npy", "")}), {"'a'", "shortest"});
        refused(archive_of({make("a.npy", "\x93NUMPY")}), {"'a'", "shortest"});
        refused(archive_of({make("a.npy", "no array is here, only text")}), {"'a'", "not an NPY file"});
        refused(archive_of({make("a.npy", npy_of(values).substr(0, 40))}), {"'a'", "truncated"});
        refused(
            archive_of({make("a.npy", std::string("\x93NUMPY\x02\x00\xff\xff\xff\x7f", 12) + std::string(50, ' '))}),
            {"'a'", "2147483647"});
        refused(archive_of({make("a.npy", std::string("\x93NUMPY\x01\x00\x00\x00  ", 12))}), {"'a'"});
    }
}

TEST_CASE("directories that lie are refused") {
    archive good;
    good.add(stored_entry("a.npy", npy_of(values)));
    const std::string before = good.local + good.central;
    const auto end_with = [&](std::uint16_t count, std::uint32_t size, std::uint32_t offset) {
        return before + "PK\x05\x06" + little<std::uint32_t>(0) + little(count) + little(count) + little(size)
               + little(offset) + little<std::uint16_t>(0);
    };
    const auto size = static_cast<std::uint32_t>(good.central.size());
    const auto offset = static_cast<std::uint32_t>(good.local.size());
    CHECK(load(end_with(1, size, offset)).size() == 1);
    refused(end_with(2, size, offset), {"2 entries do not fit"});
    refused(end_with(0, size, offset), {"after the last entry"});
    refused(end_with(1, size, offset + 1), {"does not end at"});
    refused(end_with(1, size - 1, offset), {"does not end at"});
    refused(end_with(1, size - 1, offset + 1), {"malformed entry"});
    refused(end_with(1, 0xffffffff, offset), {"does not end at"});
    refused(end_with(1, 0xfffffffe, 0xfffffffe), {"does not end at"});
    refused(before + "PK\x05\x06" + little<std::uint32_t>(1) + good.end_record().substr(8), {"split"});
    refused(good.text() + "x", {"no end record"});
    CHECK(load(good.text().substr(0, good.text().size() - 2) + little<std::uint16_t>(5) + "hello").size() == 1);
    refused(good.text().substr(0, good.text().size() - 2) + little<std::uint16_t>(6) + "hello", {"no end record"});
    refused("prefix" + good.text(), {"does not end at"});
}

TEST_CASE("ZIP64 records that lie are refused") {
    const entry plain = stored_entry("a.npy", npy_of(values));
    const std::string sizes = little<std::uint64_t>(plain.size) + little<std::uint64_t>(plain.size);
    entry wide = plain;
    wide.size = wide.compressed_size = 0xffffffff;
    const std::string field = little<std::uint16_t>(1) + little<std::uint16_t>(16) + sizes;
    wide.local_extra = wide.central_extra = little<std::uint16_t>(0x7777) + little<std::uint16_t>(2) + "xx" + field;
    CHECK(load(archive_of({wide})).at("a") == values);
    entry broken = wide;
    broken.central_extra = "";
    refused(archive_of({broken}), {"'a.npy'", "ZIP64 field is missing"});
    broken.central_extra = little<std::uint16_t>(1) + little<std::uint16_t>(8) + little<std::uint64_t>(plain.size);
    refused(archive_of({broken}), {"'a.npy'", "reaches beyond"});
    broken.central_extra = little<std::uint16_t>(1) + little<std::uint16_t>(1600) + sizes;
    refused(archive_of({broken}), {"'a.npy'", "reaches beyond"});
    broken.central_extra = little<std::uint16_t>(1) + little<std::uint16_t>(16) + std::string(16, '\xff');
    refused(archive_of({broken}), {"'a.npy'"});
    broken = wide;
    broken.local_extra =
        little<std::uint16_t>(1) + little<std::uint16_t>(16) + little<std::uint64_t>(3) + sizes.substr(8);
    refused(archive_of({broken}), {"'a.npy'", "disagrees"});

    archive good;
    good.add(plain);
    const auto directory_size = static_cast<std::uint64_t>(good.central.size());
    const auto directory_offset = static_cast<std::uint64_t>(good.local.size());
    const auto zip64_end = [&](std::uint64_t record_size, std::uint64_t count, std::uint64_t size, std::uint64_t offset,
                               std::uint64_t record_offset) {
        return good.local + good.central + "PK\x06\x06" + little(record_size) + std::string(12, '\0') + little(count)
               + little(count) + little(size) + little(offset) + "PK\x06\x07" + little<std::uint32_t>(0)
               + little(record_offset) + little<std::uint32_t>(1) + "PK\x05\x06" + little<std::uint32_t>(0)
               + std::string(12, '\xff') + little<std::uint16_t>(0);
    };
    const std::uint64_t record = directory_size + directory_offset;
    CHECK(load(zip64_end(44, 1, directory_size, directory_offset, record)).at("a") == values);
    refused(zip64_end(44, 1, directory_size, directory_offset, record + 1), {"malformed"});
    refused(zip64_end(44, 1, directory_size, directory_offset, 0), {"malformed"});
    refused(zip64_end(44, 1, directory_size, directory_offset, ~std::uint64_t{0}), {"ZIP64 record", "expected before"});
    refused(zip64_end(45, 1, directory_size, directory_offset, record), {"malformed"});
    refused(zip64_end(~std::uint64_t{0}, 1, directory_size, directory_offset, record), {"malformed"});
    refused(zip64_end(44, ~std::uint64_t{0}, directory_size, directory_offset, record), {"do not fit"});
    refused(zip64_end(44, 1, ~std::uint64_t{0}, 1, record), {"does not end at"});
    refused(zip64_end(44, 1, directory_size, ~std::uint64_t{0}, record), {"does not end at"});
}

TEST_CASE("an archive cut at any byte is refused") {
    const io_test::temporary_folder folder;
    for (const auto compression : {io::npz_compression::stored, io::npz_compression::deflated}) {
        io::save_npz<float>(folder / "t.npz", {{"a", values}, {"b", sample<float>({2})}}, {.compression = compression});
        const std::string text = io_test::read_text(folder / "t.npz");
        CHECK(load(text).size() == 2);
        std::size_t refusals = 0;
        for (std::size_t length = 0; length < text.size(); ++length) {
            refusals += io_test::accepted([&] { load(text.substr(0, length)); }) ? 0 : 1;
        }
        CHECK(refusals == text.size());
    }
}

TEST_CASE("no single damaged byte crashes or changes what is loaded") {
    const io_test::temporary_folder folder;
    const std::map<std::string, dynamic_tensor<float>> original = {{"a", values}, {"b", sample<float>({2})}};
    for (const auto compression : {io::npz_compression::stored, io::npz_compression::deflated}) {
        for (const std::uint64_t limit : {0xffffffffU, 0U}) {
            {
                io::npz_writer writer(folder / "t.npz", {.compression = compression}, "test",
                                      {.size = limit, .entries = 1});
                for (const auto& [name, array] : original) {
                    writer.add(name, array);
                }
                writer.commit();
            }
            const std::string text = io_test::read_text(folder / "t.npz");
            std::size_t changed = 0;
            for (std::size_t position = 0; position < text.size(); ++position) {
                for (const int difference : io_test::byte_differences) {
                    std::string damaged = text;
                    damaged[position] = static_cast<char>(damaged[position] ^ difference);
                    // Accepted only where the byte means nothing, a date for instance.
                    io_test::accepted([&] { changed += load(damaged) == original ? 0 : 1; });
                }
            }
            CHECK(changed == 0);
        }
    }
}
