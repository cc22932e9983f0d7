// NPY files that lie. Each is refused with a message that names the lie; none crashes or takes memory it does not need.

#include "support.hpp"

#include <moden/io/npy.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::little;
using io_test::sample;
using io_test::to_bytes;

namespace {

std::string npy_text(unsigned version, const std::string& dictionary, const std::string& data) {
    std::string text("\x93NUMPY", 6);
    text += static_cast<char>(version);
    text += '\0';
    text += version == 1 ? little(static_cast<std::uint16_t>(dictionary.size()))
                         : little(static_cast<std::uint32_t>(dictionary.size()));
    return text + dictionary + data;
}

dynamic_tensor<double> load(const std::string& text) {
    const auto content = to_bytes(text);
    return io::parse_npy(content, "hostile").load<double>();
}

/// A file of six float32 whose dictionary is given.
std::string with_dictionary(const std::string& dictionary) { return npy_text(1, dictionary, std::string(24, '\0')); }

void refused(const std::string& dictionary, std::initializer_list<std::string_view> parts) {
    CAPTURE(dictionary);
    check_refused([&] { load(with_dictionary(dictionary)); }, parts);
}

}  // namespace

TEST_CASE("every way to write the dictionary is understood") {
    for (const std::string dictionary : {
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
             "{'shape':(2,3,),'descr':'<f4','fortran_order':False}",
             "  {\"fortran_order\" : False ,\n\t\"shape\" : ( 2 , 3 ) , \"descr\" : \"<f4\" , }  \n\n",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L), }",
         }) {
        CAPTURE(dictionary);
        const auto values = load(with_dictionary(dictionary));
        CHECK(extents(values.shape().begin(), values.shape().end()) == extents{2, 3});
    }
    const std::string data = std::string(8, '\0');
    for (const unsigned version : {1U, 2U, 3U}) {
        CHECK(load(npy_text(version, "{'descr': '<f8', 'fortran_order': True, 'shape': (), }", data)).dimension() == 0);
        CHECK(load(npy_text(version, "{'descr': '<f8', 'fortran_order': True, 'shape': (1,), }", data)).dimension()
              == 1);
        CHECK(load(npy_text(version, "{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }", "")).size() == 0);
    }
    // One byte has no byte order, so all ways to write it mean the same.
    for (const std::string descr : {"|u1", "<u1", ">u1"}) {
        CHECK(load(npy_text(1, "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (1,), }", "\x05"))(0) == 5);
    }
}

TEST_CASE("dtypes that are not read are named") {
    const auto with_descr = [](const std::string& descr) {
        return "{'descr': " + descr + ", 'fortran_order': False, 'shape': (2, 3), }";
    };
    refused(with_descr("'>f4'"), {"parse_npy: 'hostile'", "'>f4'", "big-endian"});
    refused(with_descr("'>i2'"), {"'>i2'", "big-endian"});
    refused(with_descr("'|O'"), {"'|O'", "Python objects"});
    refused(with_descr("'O'"), {"'O'", "Python objects"});
    refused(with_descr("'<c8'"), {"'<c8'", "expected one of"});
    refused(with_descr("'<f16'"), {"'<f16'"});
    refused(with_descr("'|S5'"), {"'|S5'"});
    refused(with_descr("'<m8[ns]'"), {"'<m8[ns]'"});
    refused(with_descr("'=f4'"), {"'=f4'"});
    refused(with_descr("'|f4'"), {"'|f4'"});
    refused(with_descr("'f4'"), {"'f4'"});
    refused(with_descr("''"), {"dtype ''"});
    refused(with_descr("'<'"), {"dtype '<'"});
    refused(with_descr("'<b2'"), {"'<b2'"});
    refused(with_descr("[('x', '<f4'), ('y', '<i4')]"), {"structured", "[('x', '<f4')"});
    refused(with_descr("('<f4', (2,))"), {"structured"});
    refused(with_descr("'" + std::string(500, 'x') + "'"), {"'xxx", "...'"});
    refused(with_descr("'\x1b[31m'"), {"\\x1b[31m"});
    refused(with_descr("None"), {"expected a dtype in quotes"});
}

TEST_CASE("dictionaries that are no NPY header are refused") {
    const std::string descr = "'descr': '<f4'";
    const std::string order = "'fortran_order': False";
    const std::string shape = "'shape': (2, 3)";
    refused("", {"'{' is missing"});
    refused("{", {"expected a key"});
    refused("{}", {"is missing"});
    refused("{" + descr + ", " + order + "}", {"'shape' is missing"});
    refused("{" + descr + ", " + shape + "}", {"is missing"});
    refused("{" + order + ", " + shape + "}", {"is missing"});
    refused("{" + descr + ", " + order + ", " + shape, {"'}' is missing"});
    refused("{" + descr + ", " + order + ", " + shape + "} x", {"text after"});
    refused("{" + descr + ", " + order + ", " + shape + "}}", {"text after"});
    refused("{" + descr + ", " + order + ", " + shape + ", " + shape + "}", {"'shape' appears twice"});
    refused("{" + descr + ", " + descr + ", " + order + ", " + shape + "}", {"'descr' appears twice"});
    refused("{" + order + ", " + order + ", " + descr + ", " + shape + "}", {"'fortran_order' appears twice"});
    refused("{" + descr + ", " + order + ", " + shape + ", 'more': 1}", {"unknown key 'more'"});
    refused("{" + descr + " " + order + ", " + shape + "}", {"'}' is missing"});
    refused("{" + descr + ",, " + order + ", " + shape + "}", {"expected a key"});
    refused("{descr: '<f4', " + order + ", " + shape + "}", {"expected a key in quotes"});
    refused("{'descr' '<f4', " + order + ", " + shape + "}", {"':' is missing"});
    refused("{'descr': '<f4, " + order + ", " + shape + "}", {"'<f4, '"});
    refused("{'descr': '<f4", {"a string does not end"});
    refused("{'des\\x63r': '<f4', " + order + ", " + shape + "}", {"escape"});
    refused("{" + descr + ", 'fortran_order': 0, " + shape + "}", {"expected True or False"});
    refused("{" + descr + ", 'fortran_order': false, " + shape + "}", {"expected True or False"});
    refused("{" + descr + ", 'fortran_order': Falsehood, " + shape + "}", {"'}' is missing"});
}

TEST_CASE("shapes that are none are refused") {
    const auto with_shape = [](const std::string& shape) {
        return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }";
    };
    refused(with_shape("(-2, -3)"), {"negative extent"});
    refused(with_shape("(6)"), {"(n,)"});
    refused(with_shape("[2, 3]"), {"'(' is missing"});
    refused(with_shape("6"), {"'(' is missing"});
    refused(with_shape("(,)"), {"expected an extent"});
    refused(with_shape("(2 3)"), {"',' or ')' is missing"});
    refused(with_shape("(2,,3)"), {"expected an extent"});
    refused(with_shape("(2., 3)"), {"',' or ')' is missing"});
    refused(with_shape("(2e0, 3)"), {"',' or ')' is missing"});
    refused(with_shape("(0x2, 3)"), {"',' or ')' is missing"});
    refused(with_shape("(02, 3)"), {"leading zeros"});
    refused(with_shape("(+2, 3)"), {"expected an extent"});
    refused(with_shape("(2, 3"), {"expected an extent"});
    refused(with_shape("(1+1, 3)"), {"',' or ')' is missing"});
    refused(with_shape("((2, 3))"), {"expected an extent"});
    refused(with_shape("(True, 6)"), {"expected an extent"});
    refused(with_shape("(18446744073709551616,)"), {"64 bits"});
    refused(with_shape("(99999999999999999999999999,)"), {"64 bits"});
    refused(with_shape("(18446744073709551615,)"), {"overflows"});
    refused(with_shape("(4294967296, 4294967296)"), {"4294967296 x 4294967296", "overflows"});
    refused(with_shape("(4611686018427387904, 4)"), {"overflows"});
    refused(with_shape("(0, 18446744073709551615)"), {"overflows"});
    refused(with_shape("(9223372036854775807, 0, 9223372036854775807)"), {"overflows"});
    refused(with_shape("(1000000000, 1000000000)"), {"truncated", "1000000000 x 1000000000", "found 24"});
    refused(with_shape("(7,)"), {"truncated", "28 bytes", "found 24"});
    refused(with_shape("(5,)"), {"4 bytes after the array"});
    refused(with_shape("(0, 3)"), {"24 bytes after the array"});
    std::string many = "(";
    for (int i = 0; i < 65; ++i) {
        many += "1,";
    }
    refused(with_shape(many + ")"), {"more than 64 modes"});
    check_refused(
        [] {
            load(npy_text(3, "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3), }", std::string(24, '\0')));
        },
        {"',' or ')' is missing"});
}

TEST_CASE("what is no NPY file is refused") {
    check_refused([] { load(""); }, {"0 bytes"});
    check_refused([] { load("\x93NUMPY"); }, {"6 bytes"});
    check_refused([] { load("PK\x03\x04 and so on, and so on"); }, {"ZIP", "load_npz"});
    check_refused([] { load("\x89PNG\r\n and so on"); }, {"'\\x89PNG", "\\x93NUMPY"});
    const std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (), }";
    check_refused([&] { load(npy_text(0, dictionary, "1234")); }, {"version 0.0"});
    check_refused([&] { load(npy_text(4, dictionary, "1234")); }, {"version 4.0"});
    std::string minor = npy_text(1, dictionary, "1234");
    minor[7] = 1;
    check_refused([&] { load(minor); }, {"version 1.1", "1.0, 2.0 or 3.0"});
    check_refused([&] { load(std::string("\x93NUMPY\x01\x00\xff\xff", 10) + dictionary); }, {"truncated", "65545"});
    check_refused([&] { load(std::string("\x93NUMPY\x02\x00\xff\xff\xff\xff", 12) + dictionary); },
                  {"4294967295", "at most"});
    check_refused([&] { load(std::string("\x93NUMPY\x03\x00\x01\x00\x01\x00", 12) + dictionary); },
                  {"65537", "at most"});
    const io_test::temporary_folder folder;
    io_test::write_text(folder / "empty.npy", "");
    check_refused([&] { io::load_npy<float>(folder / "empty.npy"); }, {"load_npy", "empty.npy", "0 bytes"});
    check_refused([&] { io::load_npy<float>(folder / "none.npy"); }, {"load_npy", "none.npy", "No such file"});
}

TEST_CASE("a file cut at any byte is refused") {
    const io_test::temporary_folder folder;
    for (const auto order : {io::array_order::c, io::array_order::fortran}) {
        io::save_npy(folder / "t.npy", sample<float>({3, 4}), {.order = order});
        const std::string text = io_test::read_text(folder / "t.npy");
        std::size_t refusals = 0;
        for (std::size_t length = 0; length < text.size(); ++length) {
            refusals += io_test::accepted([&] { load(text.substr(0, length)); }) ? 0 : 1;
        }
        CHECK(refusals == text.size());
        CHECK_FALSE(io_test::accepted([&] { load(text + "x"); }));
        CHECK(io_test::accepted([&] { load(text); }));
    }
}

TEST_CASE("no damaged byte crashes, and only numbers change without notice") {
    const io_test::temporary_folder folder;
    for (const auto order : {io::array_order::c, io::array_order::fortran}) {
        io::save_npy(folder / "t.npy", sample<float>({3, 4}), {.order = order});
        const std::string text = io_test::read_text(folder / "t.npy");
        const std::size_t data_offset = text.size() - 48;
        std::size_t accepted_in_data = 0;
        for (std::size_t position = 0; position < text.size(); ++position) {
            for (const int difference : io_test::byte_differences) {
                std::string damaged = text;
                damaged[position] = static_cast<char>(damaged[position] ^ difference);
                std::size_t size = 0;
                const bool accepted = io_test::accepted([&] { size = load(damaged).size(); });
                accepted_in_data += accepted && position >= data_offset ? 1 : 0;
                if (accepted && size != 12) {
                    CAPTURE(position);
                    CAPTURE(difference);
                    CHECK(size == 12);  // another number of elements would have needed another size of file
                }
            }
        }
        CHECK(accepted_in_data == 48 * std::size(io_test::byte_differences));  // NPY has no checksum
    }
}
