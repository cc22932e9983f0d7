#pragma once

// safetensors: named tensors behind a JSON header, the format of model weights.
// Source: https://github.com/huggingface/safetensors, "Format".

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>
#include <moden/io/atomic_file.hpp>
#include <moden/io/convert.hpp>
#include <moden/io/element_stream.hpp>
#include <moden/io/element_type.hpp>
#include <moden/io/make_tensor.hpp>
#include <moden/io/mapped_file.hpp>
#include <moden/io/safetensors_header.hpp>
#include <moden/io/utf8.hpp>

namespace moden::io {

/// A safetensors file, mapped into memory: the header is read and checked at once, each tensor when it is asked for.
///
/// Copies are cheap and share the mapping; spans stay valid while one of them lives.
class safetensors_file {
public:
    /// \param path  file with tensors of BOOL, I8 to I64, U8 to U64, F16, BF16, F32 or F64
    /// \throws io_error if it cannot be read, its header is damaged, has duplicate names or other dtypes, or the
    ///         tensors do not fill the data exactly
    explicit safetensors_file(const std::filesystem::path& path)
        : mapping_(std::make_shared<const mapped_file>(path, "safetensors_file")),
          context_(detail::file_context("safetensors_file", path.string())) {
        parse(mapping_->bytes());
    }

    /// Reads from memory that outlives the object; see parse_safetensors.
    safetensors_file(std::span<const std::byte> bytes, std::string context) : context_(std::move(context)) {
        parse(bytes);
    }

    /// Names of the tensors in the order of the header.
    std::vector<std::string> names() const {
        std::vector<std::string> result;
        for (const auto& entry : header_.entries) {
            result.push_back(entry.name);
        }
        return result;
    }

    /// The "__metadata__" of the file.
    const std::map<std::string, std::string>& metadata() const noexcept { return header_.metadata; }

    bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }

    /// \throws io_error if there is no tensor of that name (all three)
    element_type type(std::string_view name) const { return at(name).type; }
    const extents& shape(std::string_view name) const { return at(name).shape; }
    std::span<const std::byte> bytes(std::string_view name) const { return bytes(at(name)); }

    /// The elements of a tensor, row-major, without a copy.
    /// \throws io_error if the stored type is not exactly T, or the elements are not aligned for T
    template <element T>
    std::span<const T> values(std::string_view name) const {
        static_assert(!std::same_as<T, bool>, "bytes of a file need not be valid bools; use load<bool>()");
        const auto& entry = at(name);
        const auto data = bytes(entry);
        detail::require<io_error>(entry.type == element_type_of<T>(), label(entry), " holds ", io::name(entry.type),
                                  ", expected ", io::name(element_type_of<T>()),
                                  " for access without a copy; load() converts");
        detail::require<io_error>(reinterpret_cast<std::uintptr_t>(data.data()) % alignof(T) == 0, label(entry),
                                  ": the elements are not aligned for access without a copy; use load()");
        return {reinterpret_cast<const T*>(data.data()), data.size() / sizeof(T)};
    }

    /// A tensor, converted to T: everything to float and double (F16 and BF16 exactly), integers and BOOL to integers
    /// if each value fits, BOOL to bool.
    /// \throws io_error if there is no tensor of that name, it is not convertible, or memory does not suffice
    template <element T>
    dynamic_tensor<T> load(std::string_view name) const {
        return load_as<dynamic_tensor<T>, T>(at(name));
    }

    /// Like load<T>, for a tensor of order N.
    template <element T, std::size_t N>
    tensor<T, N> load(std::string_view name) const {
        const auto& entry = at(name);
        detail::require_order(entry.shape, N, label(entry));
        return load_as<tensor<T, N>, T>(entry);
    }

private:
    void parse(std::span<const std::byte> bytes) {
        header_ = detail::parse_safetensors_header(bytes, context_);
        data_ = bytes.subspan(header_.data_offset);
        sorted_.resize(header_.entries.size());
        for (std::size_t i = 0; i < sorted_.size(); ++i) {
            sorted_[i] = i;
        }
        std::sort(sorted_.begin(), sorted_.end(),
                  [this](std::size_t a, std::size_t b) { return header_.entries[a].name < header_.entries[b].name; });
    }

    const detail::safetensors_entry* find(std::string_view name) const noexcept {
        const auto before = [this](std::size_t index, std::string_view wanted) {
            return header_.entries[index].name < wanted;
        };
        const auto position = std::lower_bound(sorted_.begin(), sorted_.end(), name, before);
        return position != sorted_.end() && header_.entries[*position].name == name ? &header_.entries[*position]
                                                                                    : nullptr;
    }

    const detail::safetensors_entry& at(std::string_view name) const {
        const auto* entry = find(name);
        detail::require<io_error>(entry != nullptr, context_, " has no tensor named ", detail::in_quotes(name));
        return *entry;
    }

    std::string label(const detail::safetensors_entry& entry) const {
        return detail::message(context_, ", tensor ", detail::in_quotes(entry.name));
    }

    std::span<const std::byte> bytes(const detail::safetensors_entry& entry) const noexcept {
        return data_.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
    }

    template <class Tensor, class T>
    Tensor load_as(const detail::safetensors_entry& entry) const {
        const std::string context = label(entry);
        detail::require_convertible<T>(entry.type, context);
        auto result = detail::make_tensor<Tensor>(entry.shape, context);
        const auto data = bytes(entry);
        detail::convert_elements(entry.type, data.data(), result.data(), data.size() / size_of(entry.type), context);
        return result;
    }

    std::shared_ptr<const mapped_file> mapping_;
    std::string context_;
    detail::safetensors_header header_;
    std::span<const std::byte> data_;
    std::vector<std::size_t> sorted_;  // entries by name
};

/// Reads a safetensors file that is already in memory.
///
/// \param bytes  the whole file; must outlive the result, which refers to it
/// \param name   what messages call the source
/// \throws io_error as safetensors_file
inline safetensors_file parse_safetensors(std::span<const std::byte> bytes, const std::string& name = "memory") {
    return safetensors_file(bytes, detail::file_context("parse_safetensors", name));
}

/// A tensor of any element type with the name it is to be saved under.
class named_tensor {
public:
    /// \param name        unique in its file; UTF-8
    /// \param expression  any xtensor expression of float, double, bool or integers. Row-major tensors that have a name
    ///                    of their own are referred to and must live until they are saved; everything else is evaluated
    ///                    here.
    template <class E>
        requires xt::is_xexpression<std::decay_t<E>>::value
    named_tensor(std::string name, E&& expression) : name_(std::move(name)), shape_(detail::shape_of(expression)) {
        using expression_type = std::decay_t<E>;
        using value_type = typename expression_type::value_type;
        static_assert(element<value_type>, "the elements must be float, double, bool or integers of 8 to 64 bits");
        type_ = element_type_of<value_type>();
        if constexpr (std::is_lvalue_reference_v<E> && xt::has_data_interface<expression_type>::value) {
            if (detail::is_contiguous_in(expression, shape_, array_order::c)) {
                bytes_ = std::as_bytes(std::span(expression.data() + expression.data_offset(), expression.size()));
                return;
            }
        }
        const auto copy = std::make_shared<const dynamic_tensor<value_type>>(std::forward<E>(expression));
        bytes_ = std::as_bytes(std::span(copy->data(), copy->size()));
        owner_ = copy;
    }

    const std::string& name() const noexcept { return name_; }
    element_type type() const noexcept { return type_; }
    const extents& shape() const noexcept { return shape_; }
    std::span<const std::byte> bytes() const noexcept { return bytes_; }

private:
    std::string name_;
    element_type type_{};
    extents shape_;
    std::span<const std::byte> bytes_;
    std::shared_ptr<const void> owner_;
};

namespace detail {

/// The header for tensors that follow one another in the given order, padded so that the data is aligned to 8 bytes.
inline std::string make_safetensors_header(const std::vector<const named_tensor*>& tensors,
                                           const std::map<std::string, std::string>& metadata,
                                           const std::string& context) {
    const auto literal = [&](const std::string& text) {
        require<argument_error>(is_utf8(text), context, ": the text ", in_quotes(text), " is not UTF-8");
        return nlohmann::json(text).dump();
    };
    std::string json = "{";
    if (!metadata.empty()) {
        json += message("\"", safetensors_metadata_key, "\":{");
        for (const auto& [key, value] : metadata) {
            json += message(json.back() == '{' ? "" : ",", literal(key), ":", literal(value));
        }
        json += "}";
    }
    std::set<std::string_view> names;
    std::uint64_t offset = 0;
    for (const named_tensor* tensor : tensors) {
        require<argument_error>(names.insert(tensor->name()).second, context, ": two tensors are named ",
                                in_quotes(tensor->name()));
        require<argument_error>(tensor->name() != safetensors_metadata_key, context, ": a tensor is named ",
                                in_quotes(tensor->name()), ", which the format reserves");
        require<shape_error>(tensor->shape().size() <= safetensors_largest_order, context, ": tensor ",
                             in_quotes(tensor->name()), " has order ", tensor->shape().size(), ", expected at most ",
                             safetensors_largest_order);
        const auto* dtype = std::find_if(std::begin(safetensors_dtypes), std::end(safetensors_dtypes),
                                         [&](const auto& known) { return known.type == tensor->type(); });
        json += message(json.size() == 1 ? "" : ",", literal(tensor->name()), ":{\"dtype\":\"", dtype->code,
                        "\",\"shape\":[");
        for (const std::size_t extent : tensor->shape()) {
            json += message(json.back() == '[' ? "" : ",", extent);
        }
        const std::uint64_t end = offset + tensor->bytes().size();
        json += message("],\"data_offsets\":[", offset, ",", end, "]}");
        offset = end;
    }
    json += "}";
    json.append((8 - json.size() % 8) % 8, ' ');
    require<argument_error>(json.size() <= safetensors_largest_header, context, ": the header would have ", json.size(),
                            " bytes, the format allows ", safetensors_largest_header);
    const std::uint64_t length = json.size();
    std::string header(8, '\0');
    std::memcpy(header.data(), &length, sizeof length);
    return header + json;
}

}  // namespace detail

/// Writes tensors of any types. The file appears complete or not at all.
///
/// \param path      file to create or replace
/// \param tensors   for example {{"weight", weight}, {"bias", bias}}. In the file, tensors with larger elements come
///                  first, so that all are aligned; those of equal element size keep their order.
/// \param metadata  free text by key
/// \throws argument_error for duplicate or reserved names and text that is not UTF-8, shape_error for more than 64
///         modes, io_error if the file cannot be written
/// \snippet tests/io/safetensors.cpp save_safetensors
inline void save_safetensors(const std::filesystem::path& path, const std::vector<named_tensor>& tensors,
                             const std::map<std::string, std::string>& metadata = {}) {
    std::vector<const named_tensor*> ordered;
    for (const named_tensor& tensor : tensors) {
        ordered.push_back(&tensor);
    }
    std::stable_sort(ordered.begin(), ordered.end(),
                     [](const auto* a, const auto* b) { return size_of(a->type()) > size_of(b->type()); });
    const std::string header =
        detail::make_safetensors_header(ordered, metadata, detail::file_context("save_safetensors", path.string()));
    atomic_file file(path, "save_safetensors");
    file.write(header);
    for (const named_tensor* tensor : ordered) {
        file.write(tensor->bytes());
    }
    file.commit();
}

/// Writes all tensors of a map; see above.
template <element T>
void save_safetensors(const std::filesystem::path& path, const std::map<std::string, dynamic_tensor<T>>& tensors,
                      const std::map<std::string, std::string>& metadata = {}) {
    std::vector<named_tensor> references;
    for (const auto& [name, values] : tensors) {
        references.emplace_back(name, values);
    }
    save_safetensors(path, references, metadata);
}

}  // namespace moden::io
