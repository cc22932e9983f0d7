#pragma once

// The header of a safetensors file: 8 bytes of length, then a JSON object with one entry per tensor.
// Source: https://github.com/huggingface/safetensors, "Format".

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <moden/core/tensor.hpp>
#include <moden/io/element_type.hpp>
#include <moden/io/message.hpp>
#include <moden/io/npy_header.hpp>

namespace moden::io::detail {

inline constexpr std::uint64_t safetensors_largest_header = 100'000'000;  // the format's own limit
inline constexpr std::size_t safetensors_largest_order = 64;
inline constexpr std::string_view safetensors_metadata_key = "__metadata__";

struct safetensors_dtype {
    std::string_view code;
    element_type type;
};

inline constexpr safetensors_dtype safetensors_dtypes[] = {
    {"BOOL", element_type::boolean}, {"I8", element_type::int8},       {"U8", element_type::uint8},
    {"I16", element_type::int16},    {"U16", element_type::uint16},    {"I32", element_type::int32},
    {"U32", element_type::uint32},   {"I64", element_type::int64},     {"U64", element_type::uint64},
    {"F16", element_type::float16},  {"BF16", element_type::bfloat16}, {"F32", element_type::float32},
    {"F64", element_type::float64}};

/// One entry of the header.
struct safetensors_entry {
    std::string name;
    element_type type{};
    extents shape;
    std::uint64_t begin = 0;  // offsets into the data after the header
    std::uint64_t end = 0;
};

struct safetensors_header {
    std::vector<safetensors_entry> entries;  // in the order of the header
    std::map<std::string, std::string> metadata;
    std::size_t data_offset = 0;
};

/// Receives the JSON as events and accepts exactly the shape that the format has. Nothing is nested deeper than three
/// levels, so deep nesting is refused at the fourth bracket, and duplicate keys are seen where they occur.
class safetensors_json_handler {
public:
    using json = nlohmann::json;

    safetensors_json_handler(safetensors_header& header, const std::string& context)
        : header_(header), context_(context) {}

    bool start_object(std::size_t) {
        if (place_ == place::before) {
            place_ = place::root;
        } else if (place_ == place::root) {
            place_ = key_ == safetensors_metadata_key ? place::metadata : place::tensor;
            seen_ = {};
            if (place_ == place::tensor) {
                header_.entries.emplace_back().name = key_;
            }
        } else {
            unexpected("an object");
        }
        return true;
    }

    bool key(json::string_t& text) {
        key_ = text;
        if (place_ == place::root) {
            if (!names_.insert(key_).second) {
                refuse(message("two entries are named ", in_quotes(key_)));
            }
        } else if (place_ == place::metadata) {
            if (header_.metadata.contains(key_)) {
                refuse(message("the metadata key ", in_quotes(key_), " appears twice"));
            }
        } else {
            bool* const seen = key_ == "dtype"          ? &seen_.dtype
                               : key_ == "shape"        ? &seen_.shape
                               : key_ == "data_offsets" ? &seen_.offsets
                                                        : nullptr;
            if (seen == nullptr) {
                refuse(message(tensor_label(), " has the unknown key ", in_quotes(key_)));
            }
            if (*seen) {
                refuse(message(tensor_label(), " has the key ", in_quotes(key_), " twice"));
            }
            *seen = true;
        }
        return true;
    }

    bool end_object() {
        if (place_ == place::tensor && !(seen_.dtype && seen_.shape && seen_.offsets)) {
            refuse(message(tensor_label(), " lacks one of the keys 'dtype', 'shape' and 'data_offsets'"));
        }
        place_ = place_ == place::root ? place::after : place::root;
        return true;
    }

    bool start_array(std::size_t) {
        if (place_ != place::tensor || key_ == "dtype") {
            unexpected("an array");
        }
        place_ = key_ == "shape" ? place::shape : place::offsets;
        offsets_ = 0;
        return true;
    }

    bool end_array() {
        if (place_ == place::offsets && offsets_ != 2) {
            refuse(message(tensor_label(), " has ", offsets_, " data offsets, expected 2"));
        }
        place_ = place::tensor;
        return true;
    }

    bool number_unsigned(std::uint64_t value) {
        if (place_ == place::shape) {
            safetensors_entry& entry = header_.entries.back();
            if (entry.shape.size() == safetensors_largest_order) {
                refuse(message(tensor_label(), " has more than ", safetensors_largest_order, " modes"));
            }
            entry.shape.push_back(value);
        } else if (place_ == place::offsets && offsets_ < 2) {
            safetensors_entry& entry = header_.entries.back();
            (offsets_ == 0 ? entry.begin : entry.end) = value;
            ++offsets_;
        } else {
            unexpected("a number");
        }
        return true;
    }

    bool string(json::string_t& text) {
        if (place_ == place::metadata) {
            header_.metadata.emplace(key_, text);
            return true;
        }
        if (place_ != place::tensor || key_ != "dtype") {
            unexpected("a string");
        }
        for (const safetensors_dtype& known : safetensors_dtypes) {
            if (known.code == text) {
                header_.entries.back().type = known.type;
                return true;
            }
        }
        refuse(message(tensor_label(), " has dtype ", in_quotes(text),
                       ", expected one of BOOL I8 U8 I16 U16 I32 U32 I64 U64 F16 BF16 F32 F64"));
    }

    bool number_integer(std::int64_t) { unexpected("a negative number"); }
    bool number_float(double, const json::string_t&) { unexpected("a number that is no 64 bit integer"); }
    bool null() { unexpected("null"); }
    bool boolean(bool) { unexpected("a boolean"); }
    bool binary(json::binary_t&) { unexpected("binary data"); }

    bool parse_error(std::size_t position, const std::string&, const json::exception&) {
        refuse(message("invalid JSON at character ", position));
    }

private:
    enum class place { before, root, metadata, tensor, shape, offsets, after };

    [[noreturn]] void refuse(std::string_view what) const {
        throw io_error(message(context_, " has a damaged safetensors header: ", what));
    }

    [[noreturn]] void unexpected(std::string_view what) const {
        refuse(place_ == place::before ? message(what, " where one object is expected")
                                       : message(what, " in the value of ", in_quotes(key_)));
    }

    std::string tensor_label() const { return message("tensor ", in_quotes(header_.entries.back().name)); }

    struct seen_keys {
        bool dtype = false;
        bool shape = false;
        bool offsets = false;
    };

    safetensors_header& header_;
    const std::string& context_;
    place place_ = place::before;
    std::string key_;
    seen_keys seen_;
    unsigned offsets_ = 0;
    std::unordered_set<std::string> names_;
};

/// Checks that every tensor has the bytes its shape needs and that together they fill the data: no overlap, no hole.
inline void check_safetensors_layout(const safetensors_header& header, std::uint64_t data_bytes,
                                     const std::string& context) {
    std::vector<const safetensors_entry*> sorted;
    for (const safetensors_entry& entry : header.entries) {
        const std::string label = message(context, ", tensor ", in_quotes(entry.name));
        require<io_error>(entry.begin <= entry.end && entry.end <= data_bytes, label, ": its data offsets [",
                          entry.begin, ", ", entry.end, "] are outside the file's ", data_bytes, " bytes of data");
        const std::uint64_t expected = checked_element_count(entry.shape, 8, label) * size_of(entry.type);
        require<io_error>(entry.end - entry.begin == expected, label, ": shape ", entry.shape, " of ", name(entry.type),
                          " needs ", expected, " bytes, the data offsets give ", entry.end - entry.begin);
        sorted.push_back(&entry);
    }
    std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) {
        return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
    });
    std::uint64_t covered = 0;
    for (const safetensors_entry* entry : sorted) {
        require<io_error>(entry->begin == covered, context, ", tensor ", in_quotes(entry->name),
                          ": its data begins at ", entry->begin, ", but the data before it ends at ", covered,
                          entry->begin < covered ? " (overlap)" : " (hole)", "; the format allows neither");
        covered = entry->end;
    }
    require<io_error>(covered == data_bytes, context, " has ", data_bytes, " bytes of data, its tensors fill ", covered,
                      " of them; the format allows no bytes left over");
}

inline safetensors_header parse_safetensors_header(std::span<const std::byte> bytes, const std::string& context) {
    require<io_error>(bytes.size() >= 8, context, " has ", bytes.size(),
                      " bytes, expected a safetensors file, which has at least 8");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    require<io_error>(length <= safetensors_largest_header, context, " declares a safetensors header of ", length,
                      " bytes, expected at most ", safetensors_largest_header);
    require<io_error>(length <= bytes.size() - 8, context, " is truncated: its header has ", length, " bytes, found ",
                      bytes.size() - 8);
    const char* const first = reinterpret_cast<const char*>(bytes.data()) + 8;
    require<io_error>(length > 0 && *first == '{', context,
                      " is not a safetensors file: the header does not begin with '{'");
    // The JSON parser takes a zero byte for the end and would ignore what follows.
    require<io_error>(std::memchr(first, 0, static_cast<std::size_t>(length)) == nullptr, context,
                      " has a damaged safetensors header: a zero byte in the JSON");
    safetensors_header header;
    safetensors_json_handler handler(header, context);
    nlohmann::json::sax_parse(first, first + length, &handler);
    header.data_offset = 8 + static_cast<std::size_t>(length);
    check_safetensors_layout(header, bytes.size() - header.data_offset, context);
    return header;
}

}  // namespace moden::io::detail
