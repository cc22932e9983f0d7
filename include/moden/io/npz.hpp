#pragma once

// NPZ: several named arrays in one file, as numpy.savez and numpy.savez_compressed write them: a ZIP archive of NPY
// files.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>
#include <moden/io/npy.hpp>
#include <moden/io/zip_directory.hpp>
#include <moden/io/zip_entry_reader.hpp>
#include <moden/io/zip_writer.hpp>

namespace moden::io {

/// How the arrays of an NPZ file are kept.
enum class npz_compression {
    stored,   ///< as they are: fast to write and to read
    deflated  ///< compressed by zlib: smaller where the data repeats itself, several times slower
};

/// Options of save_npz and npz_writer.
struct npz_options {
    npz_compression compression = npz_compression::stored;
};

/// Options of load_npz and npz_file.
struct npz_read_options {
    /// Compressed arrays that need more memory than this are refused, so that a small hostile file cannot fill it.
    /// Does not apply to stored arrays, which are never larger than their file.
    std::uint64_t max_inflated_bytes = std::uint64_t{1} << 30U;
};

namespace detail {

/// Reads `count` bytes and forgets them.
inline void skip(zip_entry_reader& reader, std::size_t count) {
    std::array<std::byte, 4096> buffer;
    while (count > 0) {
        const std::size_t step = std::min(count, buffer.size());
        reader.read(std::span(buffer.data(), step));
        count -= step;
    }
}

/// Reads all elements of an array in pieces and converts them one after the other.
template <element T>
void read_converted(zip_entry_reader& reader, const npy_header& header, T* destination, const std::string& context) {
    std::array<std::byte, 32768> buffer;
    const std::size_t element_bytes = size_of(header.type);
    for (std::size_t done = 0; done < header.elements;) {
        const std::size_t step = std::min(header.elements - done, buffer.size() / element_bytes);
        reader.read(std::span(buffer.data(), step * element_bytes));
        convert_elements(header.type, buffer.data(), destination + done, step, context);
        done += step;
    }
}

}  // namespace detail

/// An NPZ file, mapped into memory: names, shapes and types are read at once, each array when it is asked for.
///
/// Copies are cheap and share the mapping.
class npz_file {
public:
    /// \param path     file written by numpy.savez, numpy.savez_compressed, save_npz or alike
    /// \param options  memory limit for compressed arrays
    /// \throws io_error if it cannot be read, is damaged, or has an entry that is not an NPY array of a known type
    explicit npz_file(const std::filesystem::path& path, const npz_read_options& options = {})
        : npz_file(path, options, "npz_file") {}

    npz_file(const std::filesystem::path& path, const npz_read_options& options, std::string_view function)
        : mapping_(std::make_shared<const mapped_file>(path, function)), options_(options),
          context_(detail::file_context(function, path.string())) {
        parse(mapping_->bytes());
    }

    /// Reads an archive from memory that outlives the object; see parse_npz.
    npz_file(std::span<const std::byte> bytes, const npz_read_options& options, std::string context)
        : options_(options), context_(std::move(context)) {
        parse(bytes);
    }

    /// Names of the arrays, without ".npy", in file order.
    std::vector<std::string> names() const {
        std::vector<std::string> result;
        for (const member& array : members_) {
            result.push_back(array.name);
        }
        return result;
    }

    bool contains(std::string_view name) const noexcept { return find(name) != nullptr; }

    /// \throws io_error if there is no array of that name (all four)
    element_type type(std::string_view name) const { return at(name).header.type; }
    const extents& shape(std::string_view name) const { return at(name).header.shape; }
    array_order order(std::string_view name) const { return at(name).header.order; }

    /// One array, row-major, converted to T.
    /// \throws io_error if there is none of that name, its checksum is wrong, it is not convertible (see load_npy), or
    ///         it is compressed and needs more memory than the options allow
    template <element T>
    dynamic_tensor<T> load(std::string_view name) const {
        return load_as<dynamic_tensor<T>, T>(at(name));
    }

    /// Like load<T>, for an array of order N.
    template <element T, std::size_t N>
    tensor<T, N> load(std::string_view name) const {
        const member& array = at(name);
        detail::require_order(array.header.shape, N, label(array));
        return load_as<tensor<T, N>, T>(array);
    }

private:
    struct member {
        std::string name;
        detail::zip_entry entry;
        npy_header header;
    };

    std::string label(const member& array) const {
        return detail::message(context_, ", array ", detail::in_quotes(array.name));
    }

    void parse(std::span<const std::byte> bytes) {
        for (detail::zip_entry& entry : detail::parse_zip(bytes, context_)) {
            detail::require<io_error>(entry.name.ends_with(".npy"), context_, ", entry ", detail::in_quotes(entry.name),
                                      ": expected an NPY array, whose name ends in .npy");
            member array;
            array.name = entry.name.substr(0, entry.name.size() - 4);
            detail::require<io_error>(detail::zip_name_fault(array.name).empty(), context_, ", entry ",
                                      detail::in_quotes(entry.name), ": expected a name before .npy");
            array.entry = std::move(entry);
            array.header = read_header(array);
            members_.push_back(std::move(array));
        }
        for (const member& array : members_) {
            sorted_.push_back(static_cast<std::size_t>(&array - members_.data()));
        }
        std::sort(sorted_.begin(), sorted_.end(),
                  [this](std::size_t a, std::size_t b) { return members_[a].name < members_[b].name; });
    }

    npy_header read_header(const member& array) const {
        const std::string context = label(array);
        detail::require<io_error>(array.entry.size >= detail::npy_prefix_bytes, context, ": ", array.entry.size,
                                  " bytes are fewer than the shortest NPY header");
        detail::zip_entry_reader reader(array.entry, context_);
        std::vector<std::byte> bytes(detail::npy_prefix_bytes);
        reader.read(bytes);
        const detail::npy_prefix prefix = detail::parse_npy_prefix(bytes, context);
        detail::require<io_error>(prefix.data_offset() >= bytes.size() && prefix.data_offset() <= array.entry.size,
                                  context, " is truncated: its NPY header has ", prefix.data_offset(),
                                  " bytes, the entry ", array.entry.size);
        bytes.resize(prefix.data_offset());
        reader.read(std::span(bytes).subspan(detail::npy_prefix_bytes));
        npy_header header = detail::parse_npy_header(bytes, context);
        detail::require<io_error>(array.entry.size - header.data_offset == header.data_bytes(), context, ": shape ",
                                  header.shape, " of ", io::name(header.type), " needs ", header.data_bytes(),
                                  " bytes after the header, the entry has ", array.entry.size - header.data_offset);
        return header;
    }

    const member* find(std::string_view name) const noexcept {
        const auto before = [this](std::size_t index, std::string_view wanted) {
            return members_[index].name < wanted;
        };
        const auto position = std::lower_bound(sorted_.begin(), sorted_.end(), name, before);
        return position != sorted_.end() && members_[*position].name == name ? &members_[*position] : nullptr;
    }

    const member& at(std::string_view name) const {
        const member* array = find(name);
        detail::require<io_error>(array != nullptr, context_, " has no array named ", detail::in_quotes(name));
        return *array;
    }

    template <class Tensor, class T>
    Tensor load_as(const member& array) const {
        const std::string context = label(array);
        const npy_header& header = array.header;
        detail::require_convertible<T>(header.type, context);
        const bool compressed = array.entry.method == detail::zip_deflated;
        const std::uint64_t needed = std::max<std::uint64_t>(array.entry.size, header.elements * sizeof(T));
        detail::require<io_error>(
            !compressed || needed <= options_.max_inflated_bytes, context, " is compressed and needs ", needed,
            " bytes, more than npz_read_options::max_inflated_bytes = ", options_.max_inflated_bytes);
        detail::zip_entry_reader reader(array.entry, context_);
        detail::skip(reader, header.data_offset);
        auto result = detail::make_tensor<Tensor>(header.shape, context);
        if (header.order == array_order::fortran && header.shape.size() > 1) {
            const std::unique_ptr<std::byte[]> raw(new (std::nothrow) std::byte[header.data_bytes()]);
            detail::require<io_error>(raw != nullptr, context, ": not enough memory for ", header.data_bytes(),
                                      " bytes");
            reader.read(std::span(raw.get(), header.data_bytes()));
            detail::convert_column_major(header.type, raw.get(), header.shape, 0, header.shape[0], result.data(),
                                         context);
        } else if (header.type == element_type_of<T>() && !std::same_as<T, bool>) {
            reader.read(std::as_writable_bytes(std::span(result.data(), header.elements)));
        } else {
            detail::read_converted(reader, header, result.data(), context);
        }
        reader.finish();
        return result;
    }

    std::shared_ptr<const mapped_file> mapping_;
    npz_read_options options_;
    std::string context_;
    std::vector<member> members_;
    std::vector<std::size_t> sorted_;  // members by name
};

/// Reads an NPZ archive that is already in memory.
///
/// \param bytes    the whole file; must outlive the result, which refers to it
/// \param options  memory limit for compressed arrays
/// \param name     what messages call the source
/// \throws io_error as npz_file
inline npz_file parse_npz(std::span<const std::byte> bytes, const npz_read_options& options = {},
                          const std::string& name = "memory") {
    return npz_file(bytes, options, detail::file_context("parse_npz", name));
}

/// Reads all arrays of an NPZ file.
///
/// \tparam T       what all of them are converted to; see load_npy
/// \param path     see npz_file
/// \param options  memory limit for compressed arrays
/// \return         the arrays by name, row-major
/// \throws io_error if the file cannot be read or one of the arrays cannot be converted
template <element T>
std::map<std::string, dynamic_tensor<T>> load_npz(const std::filesystem::path& path,
                                                  const npz_read_options& options = {}) {
    const npz_file file(path, options, "load_npz");
    std::map<std::string, dynamic_tensor<T>> result;
    for (const std::string& name : file.names()) {
        result.emplace(name, file.load<T>(name));
    }
    return result;
}

/// Writes arrays of any types into one NPZ file, one after the other:
///
///     npz_writer writer("model.npz");
///     writer.add("core", core);          // tensor<float, 4>
///     writer.add("labels", labels);      // tensor<std::int32_t, 1>
///     writer.commit();                   // the file appears now; without it, never
class npz_writer {
public:
    /// \param path     file to create or replace
    /// \param options  compression
    /// \throws io_error if the file cannot be created
    explicit npz_writer(const std::filesystem::path& path, const npz_options& options = {})
        : npz_writer(path, options, "npz_writer") {}

    npz_writer(const std::filesystem::path& path, const npz_options& options, std::string_view function,
               detail::zip_limits limits = {})
        : context_(detail::file_context(function, path.string())), options_(options), file_(path, function),
          zip_(file_, context_, limits) {}

    /// Adds an array in C order.
    ///
    /// \param name        unique; UTF-8; may contain '/' between parts, but is a plain relative path
    /// \param expression  any xtensor expression of float, double, bool or integers; evaluated while it is written
    /// \throws argument_error for other names, shape_error for more than 64 modes, io_error if it cannot be written
    template <class E>
    void add(const std::string& name, const xt::xexpression<E>& expression) {
        const E& values = expression.derived_cast();
        const extents shape = detail::shape_of(values);
        detail::require<shape_error>(shape.size() <= detail::npy_largest_order, context_, ": the tensor has order ",
                                     shape.size(), ", expected at most ", detail::npy_largest_order);
        constexpr element_type type = element_type_of<typename E::value_type>();
        const std::string header = detail::make_npy_header(type, array_order::c, shape);
        begin(name, header.size() + element_count(shape) * size_of(type));
        zip_.append(header);
        detail::stream_elements(values, array_order::c,
                                [this](std::span<const std::byte> bytes) { zip_.append(bytes); });
        zip_.end();
        complete_ = true;
    }

    /// Completes the file and gives it its name. Call once, last.
    /// \throws io_error if that fails, or an earlier add() did
    void commit() {
        detail::require<io_error>(complete_, context_, ": an array is incomplete, or the file was written already");
        complete_ = false;
        zip_.finish();
        file_.commit();
    }

private:
    void begin(const std::string& name, std::uint64_t size) {
        const std::string entry = name + ".npy";
        const std::string_view fault = detail::zip_name_fault(name);
        detail::require<argument_error>(fault.empty(), context_, ": an array is named ", detail::in_quotes(name), ", ",
                                        fault);
        detail::require<argument_error>(names_.insert(name).second, context_, ": two arrays are named ",
                                        detail::in_quotes(name));
        detail::require<io_error>(complete_, context_, ": an array is incomplete, or the file was written already");
        complete_ = false;
        zip_.begin(entry, options_.compression == npz_compression::stored ? detail::zip_stored : detail::zip_deflated,
                   size);
    }

    std::string context_;
    npz_options options_;
    atomic_file file_;
    detail::zip_writer zip_;
    std::set<std::string> names_;
    bool complete_ = true;  // false while an array is being written, or after that failed
};

/// Writes all tensors of a map into one NPZ file that numpy.load reads. It appears complete or not at all.
///
/// \param path     file to create or replace
/// \param arrays   tensors of one type by name; for mixed types see npz_writer
/// \param options  compression
/// \throws argument_error for names that are not plain relative paths, io_error if the file cannot be written
/// \snippet tests/io/npz.cpp save_npz
template <element T>
void save_npz(const std::filesystem::path& path, const std::map<std::string, dynamic_tensor<T>>& arrays,
              const npz_options& options = {}) {
    npz_writer writer(path, options, "save_npz");
    for (const auto& [name, array] : arrays) {
        writer.add(name, array);
    }
    writer.commit();
}

}  // namespace moden::io
