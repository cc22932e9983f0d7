#pragma once

// NPY: one array per file, as numpy.save writes it.
// Source: NumPy enhancement proposal 1 and numpy.lib.format.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <moden/core/tensor.hpp>
#include <moden/io/atomic_file.hpp>
#include <moden/io/convert.hpp>
#include <moden/io/element_stream.hpp>
#include <moden/io/element_type.hpp>
#include <moden/io/make_tensor.hpp>
#include <moden/io/mapped_file.hpp>
#include <moden/io/npy_header.hpp>

namespace moden::io {

/// Options of save_npy.
struct npy_options {
    array_order order = array_order::c;
};

/// An NPY file, mapped into memory: its header is read at once, its elements when they are asked for.
///
/// Copies are cheap and share the mapping; spans stay valid while one of them lives.
class npy_file {
public:
    /// \param path  file written by numpy.save, save_npy or alike: versions 1.0, 2.0, 3.0; little-endian bool, integer
    ///              or floating-point elements; C or Fortran order
    /// \throws io_error if it cannot be read, is damaged or truncated, has bytes after the array, or another dtype
    explicit npy_file(const std::filesystem::path& path) : npy_file(path, "npy_file") {}

    npy_file(const std::filesystem::path& path, std::string_view function)
        : mapping_(std::make_shared<const mapped_file>(path, function)),
          context_(detail::file_context(function, path.string())) {
        parse(mapping_->bytes());
    }

    /// Reads an array from memory that outlives the object; see parse_npy.
    npy_file(std::span<const std::byte> bytes, std::string context) : context_(std::move(context)) { parse(bytes); }

    element_type type() const noexcept { return header_.type; }
    array_order order() const noexcept { return header_.order; }
    const extents& shape() const noexcept { return header_.shape; }

    /// Number of elements.
    std::size_t size() const noexcept { return header_.elements; }

    /// The elements as they lie in the file.
    std::span<const std::byte> bytes() const noexcept { return data_; }

    /// The elements as they lie in the file (see order()), without a copy.
    /// \throws io_error if the file's type is not exactly T, or the elements are not aligned for T
    template <element T>
    std::span<const T> values() const {
        static_assert(!std::same_as<T, bool>, "bytes of a file need not be valid bools; use load<bool>()");
        detail::require<io_error>(type() == element_type_of<T>(), context_, " holds ", name(type()), ", expected ",
                                  name(element_type_of<T>()), " for access without a copy; load() converts");
        detail::require<io_error>(reinterpret_cast<std::uintptr_t>(data_.data()) % alignof(T) == 0, context_,
                                  ": the elements are not aligned for access without a copy; use load()");
        return {reinterpret_cast<const T*>(data_.data()), size()};
    }

    /// All elements, row-major, converted to T.
    /// \throws io_error if the type is not convertible (floating-point to integer; anything but bool to bool), an
    ///         integer does not fit T, or memory does not suffice
    template <element T>
    dynamic_tensor<T> load() const {
        return load_as<dynamic_tensor<T>, T>(shape(), 0, row_count());
    }

    /// Like load(), for a file whose tensor has order N.
    template <element T, std::size_t N>
    tensor<T, N> load() const {
        detail::require_order(shape(), N, context_);
        return load_as<tensor<T, N>, T>(shape(), 0, row_count());
    }

    /// Rows first .. first + count of mode 0, converted to T: a block of a tensor that need not fit memory.
    ///
    /// \param first  index of the first row
    /// \param count  number of rows
    /// \return       count x I_1 x ... x I_{N-1}
    /// \throws io_error as load(), or if the file has fewer rows or order 0
    template <element T>
    dynamic_tensor<T> load_rows(std::size_t first, std::size_t count) const {
        check_rows(first, count);
        extents block = shape();
        block[0] = count;
        return load_as<dynamic_tensor<T>, T>(block, first, count);
    }

    /// Like load_rows, into memory of the caller.
    /// \param first        row to begin with
    /// \param count        rows
    /// \param destination  exactly count * I_1 * ... * I_{N-1} elements
    template <element T>
    void read_rows(std::size_t first, std::size_t count, std::span<T> destination) const {
        check_rows(first, count);
        detail::require_convertible<T>(type(), context_);
        const std::size_t expected = shape()[0] == 0 ? 0 : size() / shape()[0] * count;
        detail::require<shape_error>(destination.size() == expected, context_, ": ", count, " rows need ", expected,
                                     " elements, the destination has ", destination.size());
        convert_rows(first, count, destination.data());
    }

private:
    void parse(std::span<const std::byte> bytes) {
        header_ = detail::parse_npy_header(bytes, context_);
        const std::size_t available = bytes.size() - header_.data_offset;
        detail::require<io_error>(available >= header_.data_bytes(), context_, " is truncated: shape ", header_.shape,
                                  " of ", name(header_.type), " needs ", header_.data_bytes(),
                                  " bytes after the header, found ", available);
        detail::require<io_error>(available == header_.data_bytes(), context_, " has ",
                                  available - header_.data_bytes(), " bytes after the array, expected none");
        data_ = bytes.subspan(header_.data_offset);
    }

    std::size_t row_count() const noexcept { return shape().empty() ? 1 : shape()[0]; }

    void check_rows(std::size_t first, std::size_t count) const {
        detail::require<io_error>(!shape().empty(), context_, " holds a scalar, which has no rows");
        detail::require<io_error>(first <= shape()[0] && count <= shape()[0] - first, context_, " has ", shape()[0],
                                  " rows; rows from ", first, ", ", count, " of them, are outside");
    }

    template <class Tensor, class T>
    Tensor load_as(const extents& block, std::size_t first, std::size_t count) const {
        detail::require_convertible<T>(type(), context_);
        auto result = detail::make_tensor<Tensor>(block, context_);
        convert_rows(first, count, result.data());
        return result;
    }

    template <class T>
    void convert_rows(std::size_t first, std::size_t count, T* destination) const {
        if (order() == array_order::fortran && shape().size() > 1) {
            detail::convert_column_major(type(), data_.data(), shape(), first, count, destination, context_);
        } else if (size() > 0) {
            const std::size_t row = size() / row_count();
            detail::convert_elements(type(), data_.data() + first * row * size_of(type()), destination, count * row,
                                     context_);
        }
    }

    std::shared_ptr<const mapped_file> mapping_;
    std::string context_;
    npy_header header_;
    std::span<const std::byte> data_;
};

/// Reads an NPY array that is already in memory.
///
/// \param bytes  the whole file; must outlive the result, which refers to it
/// \param name   what messages call the source
/// \throws io_error as npy_file
inline npy_file parse_npy(std::span<const std::byte> bytes, const std::string& name = "memory") {
    return npy_file(bytes, detail::file_context("parse_npy", name));
}

/// Reads an NPY file into a tensor.
///
/// \tparam T    float, double, bool or an integer. Every stored type is converted to float and double; integers and
///              bool to integers if each value fits; only bool to bool. Doubles are rounded to the nearest float.
/// \param path  see npy_file
/// \return      row-major tensor of the file's shape, whatever its order; () gives order 0
/// \throws io_error if the file cannot be read or converted
/// \snippet tests/io/npy.cpp load_npy
template <element T>
dynamic_tensor<T> load_npy(const std::filesystem::path& path) {
    return npy_file(path, "load_npy").load<T>();
}

/// Like load_npy<T>, for a file whose tensor has order N.
/// \throws io_error also if the order is another
template <element T, std::size_t N>
tensor<T, N> load_npy(const std::filesystem::path& path) {
    return npy_file(path, "load_npy").load<T, N>();
}

/// Writes a tensor as numpy.save does (format version 1.0). The file appears complete or not at all.
///
/// \param path        file to create or replace
/// \param expression  any xtensor expression of float, double, bool or integers, of order 0 to 64; evaluated while it
///                    is written, without a temporary of its size
/// \param options     C order (default) or Fortran order in the file; the shape is the same
/// \throws io_error if the file cannot be written, shape_error for more than 64 modes
/// \snippet tests/io/npy.cpp save_npy
template <class E>
void save_npy(const std::filesystem::path& path, const xt::xexpression<E>& expression,
              const npy_options& options = {}) {
    const E& values = expression.derived_cast();
    const extents shape = detail::shape_of(values);
    detail::require<shape_error>(shape.size() <= detail::npy_largest_order, "save_npy: the tensor has order ",
                                 shape.size(), ", expected at most ", detail::npy_largest_order);
    atomic_file file(path, "save_npy");
    file.write(detail::make_npy_header(element_type_of<typename E::value_type>(), options.order, shape));
    detail::stream_elements(values, options.order, [&file](std::span<const std::byte> bytes) { file.write(bytes); });
    file.commit();
}

}  // namespace moden::io
