#pragma once

// The header of an NPY file: a magic string, a version, and a Python dictionary literal. Read strictly, never
// evaluated.
// Source: NumPy enhancement proposal 1 and numpy.lib.format, versions 1.0, 2.0 and 3.0.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <moden/core/tensor.hpp>
#include <moden/io/element_type.hpp>
#include <moden/io/message.hpp>

namespace moden::io {

/// Order of the elements of an array in a file.
enum class array_order {
    c,       ///< row-major: the last mode varies fastest
    fortran  ///< column-major: the first mode varies fastest
};

/// What the header of an NPY file says.
struct npy_header {
    element_type type{};
    array_order order = array_order::c;
    extents shape;
    std::size_t elements = 0;     ///< product of the shape
    std::size_t data_offset = 0;  ///< bytes before the first element

    /// Bytes of all elements.
    std::size_t data_bytes() const noexcept { return elements * size_of(type); }
};

namespace detail {

inline constexpr std::size_t npy_prefix_bytes = 12;           // magic, version and the longer of the two length fields
inline constexpr std::size_t npy_largest_header = 1U << 16U;  // a plain array needs less than 2000 bytes
inline constexpr std::size_t npy_largest_order = 64;          // as in NumPy 2

/// The fixed first bytes of the file.
struct npy_prefix {
    unsigned version = 0;         // major number: 1, 2 or 3
    std::size_t text_offset = 0;  // where the dictionary begins
    std::size_t text_length = 0;  // its length, padding included
    std::size_t data_offset() const noexcept { return text_offset + text_length; }
};

inline npy_prefix parse_npy_prefix(std::span<const std::byte> bytes, const std::string& context) {
    require<io_error>(bytes.size() >= npy_prefix_bytes, context, " has ", bytes.size(),
                      " bytes, fewer than the shortest NPY header");
    const std::string_view start(reinterpret_cast<const char*>(bytes.data()), npy_prefix_bytes);
    require<io_error>(!start.starts_with("PK"), context,
                      " is a ZIP archive, expected a single NPY array; see load_npz");
    require<io_error>(start.starts_with("\x93NUMPY"), context, " is not an NPY file: it starts with ",
                      in_quotes(start.substr(0, 6)), ", expected '\\x93NUMPY'");
    const auto byte = [&](std::size_t index) { return std::to_integer<std::size_t>(bytes[index]); };
    npy_prefix prefix;
    prefix.version = static_cast<unsigned>(byte(6));
    require<io_error>(prefix.version >= 1 && prefix.version <= 3 && byte(7) == 0, context, " has NPY format version ",
                      byte(6), ".", byte(7), ", expected 1.0, 2.0 or 3.0");
    prefix.text_offset = prefix.version == 1 ? 10 : 12;
    prefix.text_length = byte(8) | (byte(9) << 8U);
    if (prefix.version > 1) {
        prefix.text_length |= (byte(10) << 16U) | (byte(11) << 24U);
    }
    require<io_error>(prefix.text_length <= npy_largest_header, context, " declares an NPY header of ",
                      prefix.text_length, " bytes, expected at most ", npy_largest_header);
    return prefix;
}

/// The element type that a descr string such as "<f4" names; everything else is refused by name.
inline element_type parse_npy_dtype(std::string_view descr, const std::string& context) {
    struct known_type {
        std::string_view code;
        element_type type;
    };
    constexpr known_type known[] = {
        {"b1", element_type::boolean}, {"i1", element_type::int8},    {"u1", element_type::uint8},
        {"i2", element_type::int16},   {"u2", element_type::uint16},  {"i4", element_type::int32},
        {"u4", element_type::uint32},  {"i8", element_type::int64},   {"u8", element_type::uint64},
        {"f2", element_type::float16}, {"f4", element_type::float32}, {"f8", element_type::float64}};
    const bool has_byte_order = !descr.empty() && std::string_view("<>|").find(descr[0]) != std::string_view::npos;
    const std::string_view code = has_byte_order ? descr.substr(1) : descr;
    for (const known_type& candidate : known) {
        const bool one_byte = size_of(candidate.type) == 1;  // has no byte order, whatever the file says
        if (has_byte_order && candidate.code == code && (descr[0] == '<' || one_byte)) {
            return candidate.type;
        }
    }
    std::string_view reason = "which is not read";
    if (code.starts_with("O")) {
        reason = "Python objects, which are not read";
    } else if (descr.starts_with(">")) {
        reason = "which is big-endian (NumPy converts with array.astype(array.dtype.newbyteorder('<')))";
    }
    throw io_error(message(context, " has dtype ", in_quotes(descr), ", ", reason,
                           "; expected one of |b1 |i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f2 <f4 <f8"));
}

/// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } with the keys in any order.
class npy_dictionary_parser {
public:
    npy_dictionary_parser(std::string_view text, unsigned version, const std::string& context)
        : text_(text), version_(version), context_(context) {}

    npy_header parse() {
        npy_header header;
        bool has_type = false;
        bool has_order = false;
        bool has_shape = false;
        expect('{');
        while (!accept('}')) {
            const std::string_view key = string_literal("a key");
            expect(':');
            if (key == "descr") {
                once(has_type, key);
                header.type = dtype();
            } else if (key == "fortran_order") {
                once(has_order, key);
                header.order = boolean() ? array_order::fortran : array_order::c;
            } else if (key == "shape") {
                once(has_shape, key);
                header.shape = shape();
            } else {
                refuse(message("unknown key ", in_quotes(key)));
            }
            if (!accept(',')) {
                expect('}');
                break;
            }
        }
        skip_space();
        if (position_ != text_.size()) {
            refuse("text after the dictionary");
        }
        if (!has_type || !has_order || !has_shape) {
            refuse("one of the keys 'descr', 'fortran_order' and 'shape' is missing");
        }
        return header;
    }

private:
    [[noreturn]] void refuse(std::string_view what) const {
        throw io_error(message(context_, " has a damaged NPY header: ", what, " at character ", position_));
    }

    void skip_space() {
        while (position_ < text_.size()
               && std::string_view(" \t\r\n").find(text_[position_]) != std::string_view::npos) {
            ++position_;
        }
    }

    bool accept(char wanted) {
        skip_space();
        if (position_ < text_.size() && text_[position_] == wanted) {
            ++position_;
            return true;
        }
        return false;
    }

    void expect(char wanted) {
        if (!accept(wanted)) {
            refuse(message("'", wanted, "' is missing"));
        }
    }

    void once(bool& seen, std::string_view key) const {
        if (seen) {
            refuse(message("key '", key, "' appears twice"));
        }
        seen = true;
    }

    std::string_view string_literal(std::string_view what) {
        skip_space();
        if (position_ >= text_.size() || (text_[position_] != '\'' && text_[position_] != '"')) {
            refuse(message("expected ", what, " in quotes"));
        }
        const std::size_t begin = position_ + 1;
        const std::size_t end = text_.find(text_[position_], begin);
        if (end == std::string_view::npos) {
            refuse("a string does not end");
        }
        const std::string_view content = text_.substr(begin, end - begin);
        if (content.find_first_of("\\\n") != std::string_view::npos) {
            refuse("a string contains an escape");
        }
        position_ = end + 1;
        return content;
    }

    element_type dtype() {
        skip_space();
        if (position_ < text_.size() && (text_[position_] == '[' || text_[position_] == '(')) {
            throw io_error(message(context_, " has the structured dtype ", in_quotes(text_.substr(position_)),
                                   ", which is not read; expected bool, integer or floating-point numbers"));
        }
        return parse_npy_dtype(string_literal("a dtype"), context_);
    }

    bool boolean() {
        skip_space();
        for (const std::string_view word : {"True", "False"}) {
            if (text_.substr(position_).starts_with(word)) {
                position_ += word.size();
                return word == "True";
            }
        }
        refuse("expected True or False");
    }

    extents shape() {
        extents result;
        expect('(');
        bool comma = true;
        while (!accept(')')) {
            if (!comma) {
                refuse("',' or ')' is missing");
            }
            if (result.size() == npy_largest_order) {
                refuse(message("more than ", npy_largest_order, " modes"));
            }
            result.push_back(extent());
            comma = accept(',');
        }
        if (result.size() == 1 && !comma) {
            refuse("a shape of one mode is written (n,)");
        }
        return result;
    }

    std::size_t extent() {
        skip_space();
        if (position_ < text_.size() && text_[position_] == '-') {
            refuse("a negative extent");
        }
        const std::size_t begin = position_;
        std::size_t value = 0;
        while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
            const auto digit = static_cast<std::size_t>(text_[position_] - '0');
            if (value > (std::numeric_limits<std::size_t>::max() - digit) / 10) {
                refuse("an extent that does not fit 64 bits");
            }
            value = value * 10 + digit;
            ++position_;
        }
        if (position_ == begin) {
            refuse("expected an extent");
        }
        if (position_ - begin > 1 && text_[begin] == '0') {
            refuse("an extent with leading zeros");
        }
        if (version_ < 3 && position_ < text_.size() && text_[position_] == 'L') {
            ++position_;  // Python 2 wrote long integers as 3L
        }
        return value;
    }

    std::string_view text_;
    unsigned version_;
    const std::string& context_;
    std::size_t position_ = 0;
};

/// Product of the extents. Refused when the bytes of the array, counting empty modes as one, cannot be addressed:
/// strides must not overflow either.
inline std::size_t checked_element_count(std::span<const std::size_t> shape, std::size_t element_bytes,
                                         const std::string& context) {
    const std::size_t limit = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / element_bytes;
    std::size_t product = 1;
    bool empty = false;
    for (const std::size_t extent : shape) {
        empty = empty || extent == 0;
        const std::size_t factor = extent == 0 ? 1 : extent;
        require<io_error>(product <= limit / factor, context, " declares the shape ", shape,
                          ", whose size overflows 64 bits");
        product *= factor;
    }
    return empty ? 0 : product;
}

/// Parses prefix and dictionary; `bytes` holds at least those.
inline npy_header parse_npy_header(std::span<const std::byte> bytes, const std::string& context) {
    const npy_prefix prefix = parse_npy_prefix(bytes, context);
    require<io_error>(prefix.data_offset() <= bytes.size(), context, " is truncated: the NPY header needs ",
                      prefix.data_offset(), " bytes, found ", bytes.size());
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + prefix.text_offset, prefix.text_length);
    npy_header header = npy_dictionary_parser(text, prefix.version, context).parse();
    header.data_offset = prefix.data_offset();
    header.elements = checked_element_count(header.shape, 8, context);
    return header;
}

/// Header for data that follows, padded so that the data begins at a multiple of 64 bytes, as NumPy does.
inline std::string make_npy_header(element_type type, array_order order, std::span<const std::size_t> shape) {
    // In the order of element_type. NumPy has no bfloat16, and nothing here writes it.
    constexpr std::string_view codes[] = {"|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4",
                                          "<i8", "<u8", "<f2", "<V2", "<f4", "<f8"};
    std::string text =
        message("{'descr': '", codes[static_cast<std::size_t>(type)],
                "', 'fortran_order': ", order == array_order::fortran ? "True" : "False", ", 'shape': (");
    for (std::size_t mode = 0; mode < shape.size(); ++mode) {
        text += message(mode > 0 ? " " : "", shape[mode], mode + 1 < shape.size() || shape.size() == 1 ? "," : "");
    }
    text += "), }";
    const std::size_t unpadded = 10 + text.size() + 1;
    text.append((64 - unpadded % 64) % 64, ' ');
    text += '\n';
    std::string header("\x93NUMPY\x01\x00", 8);
    header += static_cast<char>(text.size() & 0xffU);
    header += static_cast<char>(text.size() >> 8U);
    return header + text;
}

}  // namespace detail
}  // namespace moden::io
