// safetensors files that lie. Each is refused with a message that names the lie; none crashes.

#include "support.hpp"

#include <map>

#include <moden/io/safetensors.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::little;
using io_test::sample;
using io_test::to_bytes;

namespace {

std::string file_of(const std::string& header, std::size_t data_bytes) {
    return little(static_cast<std::uint64_t>(header.size())) + header + std::string(data_bytes, '\0');
}

std::map<std::string, dynamic_tensor<double>> load(const std::string& text) {
    const auto content = to_bytes(text);
    const auto file = io::parse_safetensors(content, "hostile");
    std::map<std::string, dynamic_tensor<double>> result;
    for (const std::string& name : file.names()) {
        result.emplace(name, file.load<double>(name));
    }
    return result;
}

void refused(const std::string& header, std::size_t data_bytes, std::initializer_list<std::string_view> parts) {
    CAPTURE(header.substr(0, 300));
    check_refused([&] { load(file_of(header, data_bytes)); }, parts);
}

std::string tensor_json(const std::string& name, const std::string& dtype, const std::string& shape,
                        const std::string& offsets) {
    return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("every way to write the header is understood") {
    CHECK(load(file_of("{}", 0)).empty());
    CHECK(load(file_of("{}      ", 0)).empty());
    CHECK(load(file_of("{\"__metadata__\":{}}", 0)).empty());
    CHECK(load(file_of("{" + tensor_json("a", "F32", "[2,3]", "[0,24]") + "}", 24)).at("a").size() == 6);
    CHECK(
        load(file_of("{ \"a\" : { \"data_offsets\" : [0 , 4] , \"shape\" : [ ] ,\n \"dtype\" : \"F32\" } }", 4)).size()
        == 1);
    // Tensors in another order than their data, and empty ones between them.
    const auto loaded = load(
        file_of("{" + tensor_json("b", "F32", "[1]", "[8,12]") + "," + tensor_json("e", "F64", "[0,5]", "[8,8]") + ","
                    + tensor_json("a", "F64", "[1]", "[0,8]") + "," + tensor_json("z", "U8", "[0]", "[12,12]") + "}",
                12));
    CHECK(loaded.size() == 4);
}

TEST_CASE("lengths that lie are refused") {
    check_refused([] { load(""); }, {"parse_safetensors: 'hostile'", "0 bytes"});
    check_refused([] { load("1234567"); }, {"7 bytes"});
    check_refused([] { load(little(std::uint64_t{0})); }, {"begin with '{'"});
    check_refused([] { load(little(std::uint64_t{3}) + "{}"); }, {"truncated", "3 bytes", "found 2"});
    check_refused([] { load(little(std::uint64_t{100'000'001}) + "{}"); }, {"100000001", "at most 100000000"});
    check_refused([] { load(little(~std::uint64_t{0}) + "{}"); }, {"18446744073709551615", "at most"});
    check_refused([] { load(little(~std::uint64_t{0} - 7) + "{}"); }, {"18446744073709551608", "at most"});
}

TEST_CASE("headers that are not the format's JSON are refused") {
    refused("", 0, {"begin with '{'"});
    refused(" {}", 0, {"begin with '{'"});
    refused("[]", 0, {"begin with '{'"});
    refused("{", 0, {"invalid JSON"});
    refused("{} {}", 0, {"invalid JSON"});
    refused(std::string("{}\0", 3), 0, {"zero byte"});
    refused("{}x", 0, {"invalid JSON"});
    refused("{/* no */}", 0, {"invalid JSON"});
    refused("{\"a\":{}}", 0, {"'a'", "lacks"});
    refused("{\"\xff\":{}}", 0, {"invalid JSON"});
    refused("{\"a\":1}", 0, {"a number", "'a'"});
    refused("{\"a\":-1}", 0, {"a negative number"});
    refused("{\"a\":\"x\"}", 0, {"a string", "'a'"});
    refused("{\"a\":null}", 0, {"null"});
    refused("{\"a\":true}", 0, {"a boolean"});
    refused("{\"a\":[]}", 0, {"an array"});
    refused("{\"__metadata__\":{\"k\":1}}", 0, {"a number", "'k'"});
    refused("{\"__metadata__\":{\"k\":{}}}", 0, {"an object", "'k'"});
    refused("{\"__metadata__\":{\"k\":[]}}", 0, {"an array", "'k'"});
    refused("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, {"metadata key 'k' appears twice"});
    refused("{\"__metadata__\":{},\"__metadata__\":{}}", 0, {"two entries are named '__metadata__'"});
    refused("{" + tensor_json("a", "F32", "[]", "[0,4]") + "," + tensor_json("a", "F32", "[]", "[4,8]") + "}", 8,
            {"two entries are named 'a'"});
    refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4,
            {"'dtype'", "twice"});
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4, {"'a'", "lacks"});
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4],\"x\":1}}", 4, {"'a'", "unknown key 'x'"});
    refused("{\"a\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,4]}}", 4, {"a number", "'dtype'"});
    refused("{\"a\":{\"dtype\":[],\"shape\":[],\"data_offsets\":[0,4]}}", 4, {"an array", "'dtype'"});
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":\"[]\",\"data_offsets\":[0,4]}}", 4, {"a string", "'shape'"});
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, {"a number", "'shape'"});
    refused("{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", 4, {"an object", "'shape'"});
}

TEST_CASE("shapes, offsets and dtypes that lie are refused") {
    const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
        return "{" + tensor_json("t", dtype, shape, offsets) + "}";
    };
    refused(one("F32", "[-1]", "[0,4]"), 4, {"a negative number", "'shape'"});
    refused(one("F32", "[1.0]", "[0,4]"), 4, {"no 64 bit integer"});
    refused(one("F32", "[1e0]", "[0,4]"), 4, {"no 64 bit integer"});
    refused(one("F32", "[18446744073709551616]", "[0,4]"), 4, {"no 64 bit integer"});
    refused(one("F32", "[[1]]", "[0,4]"), 4, {"an array"});
    refused(one("F32", "[null]", "[0,4]"), 4, {"null"});
    refused(one("F32", "[1]", "[0]"), 4, {"1 data offsets, expected 2"});
    refused(one("F32", "[1]", "[]"), 4, {"0 data offsets"});
    refused(one("F32", "[1]", "[0,4,8]"), 4, {"a number", "'data_offsets'"});
    refused(one("F32", "[1]", "[0,-4]"), 4, {"a negative number"});
    refused(one("F32", "[1]", "[4,0]"), 4, {"'t'", "[4, 0]", "outside"});
    refused(one("F32", "[1]", "[0,8]"), 4, {"'t'", "[0, 8]", "outside", "4 bytes"});
    refused(one("F32", "[1]", "[0,18446744073709551615]"), 4, {"outside"});
    refused(one("F32", "[1]", "[18446744073709551612,0]"), 4, {"outside"});
    refused(one("F32", "[2]", "[0,4]"), 4, {"'t'", "needs 8 bytes", "give 4"});
    refused(one("F64", "[1]", "[0,4]"), 4, {"float64", "needs 8 bytes"});
    refused(one("F32", "[0]", "[0,4]"), 4, {"needs 0 bytes"});
    refused(one("F32", "[4294967296,4294967296]", "[0,4]"), 4, {"overflows"});
    refused(one("U8", "[9223372036854775807,9223372036854775807,4]", "[0,4]"), 4, {"overflows"});
    refused(one("F32", "[0,18446744073709551615]", "[0,0]"), 0, {"overflows"});
    refused(one("F8_E4M3", "[4]", "[0,4]"), 4, {"'t'", "'F8_E4M3'", "expected one of"});
    refused(one("f32", "[1]", "[0,4]"), 4, {"'f32'"});
    refused(one("", "[1]", "[0,4]"), 4, {"dtype ''"});
    std::string many = "[1";
    for (int i = 0; i < 64; ++i) {
        many += ",1";
    }
    refused(one("F32", many + "]", "[0,4]"), 4, {"'t'", "more than 64 modes"});
}

TEST_CASE("overlaps, holes and bytes left over are refused") {
    const auto two = [](const std::string& first, const std::string& second) {
        return "{" + tensor_json("a", "F32", "[1]", first) + "," + tensor_json("b", "F32", "[1]", second) + "}";
    };
    CHECK(load(file_of(two("[4,8]", "[0,4]"), 8)).size() == 2);
    refused(two("[0,4]", "[2,6]"), 6, {"'b'", "overlap"});
    refused(two("[0,4]", "[0,4]"), 4, {"overlap"});
    refused(two("[0,4]", "[8,12]"), 12, {"'b'", "begins at 8", "ends at 4", "hole"});
    refused(two("[4,8]", "[8,12]"), 12, {"'a'", "hole"});
    refused(two("[0,4]", "[4,8]"), 9, {"9 bytes", "left over"});
    refused("{}", 1, {"1 bytes", "left over"});
}

TEST_CASE("deep nesting and long headers do no harm") {
    refused("{\"a\":" + std::string(1'000'000, '['), 0, {"an array"});
    std::string objects;
    for (int i = 0; i < 100'000; ++i) {
        objects += "{\"a\":";
    }
    refused(objects, 0, {"'a'", "unknown key 'a'"});
    refused("{\"a\":{\"shape\":" + objects, 0, {"an object"});
    refused("{\"" + std::string(1'000'000, 'x') + "\":1}", 0, {"'xxxx", "...'"});
}

TEST_CASE("a file cut at any byte is refused, and no damaged byte crashes") {
    const io_test::temporary_folder folder;
    io::save_safetensors<float>(folder / "t.safetensors", {{"a", sample<float>({3, 4})}, {"b", sample<float>({2})}},
                                {{"k", "v"}});
    const std::string text = io_test::read_text(folder / "t.safetensors");
    std::size_t refusals = 0;
    for (std::size_t length = 0; length < text.size(); ++length) {
        refusals += io_test::accepted([&] { load(text.substr(0, length)); }) ? 0 : 1;
    }
    CHECK(refusals == text.size());
    CHECK_FALSE(io_test::accepted([&] { load(text + "x"); }));
    const std::size_t data_offset = text.size() - 56;
    std::size_t accepted_in_data = 0;
    for (std::size_t position = 0; position < text.size(); ++position) {
        for (const int difference : io_test::byte_differences) {
            std::string damaged = text;
            damaged[position] = static_cast<char>(damaged[position] ^ difference);
            std::size_t elements = 0;
            const bool accepted = io_test::accepted([&] {
                for (const auto& [name, values] : load(damaged)) {
                    elements += values.size();
                }
            });
            accepted_in_data += accepted && position >= data_offset ? 1 : 0;
            if (accepted && elements > 56) {
                CAPTURE(position);
                CHECK(elements <= 56);  // one byte each is the most that 56 bytes of data can hold
            }
        }
    }
    CHECK(accepted_in_data == 56 * std::size(io_test::byte_differences));  // safetensors has no checksum
}
