#pragma once

// An NPY file as a tensor of float or double: mapped where its elements can be used as they lie, loaded otherwise.

#include <memory>
#include <span>
#include <string>
#include <utility>

#include <moden/core/tensor.hpp>
#include <moden/io/npy.hpp>

namespace tucker {

template <class T>
class host_array {
public:
    /// An xtensor expression that refers to memory which belongs to someone else.
    using buffer_type = xt::xbuffer_adaptor<const T*, xt::no_ownership, std::allocator<T>>;
    using view_type = xt::xarray_adaptor<buffer_type, xt::layout_type::row_major>;

    explicit host_array(const moden::io::npy_file& file) : file_(file) {
        const bool in_place = file.type() == moden::io::element_type_of<T>() &&
                              (file.order() == moden::io::array_order::c || file.shape().size() < 2);
        if (in_place) {
            data_ = file_.values<T>().data();
        } else {
            loaded_ = file_.load<T>();
            data_ = loaded_.data();
        }
    }
    host_array(const host_array&) = delete;
    host_array& operator=(const host_array&) = delete;

    const moden::extents& shape() const { return file_.shape(); }
    std::span<const T> values() const { return {data_, file_.size()}; }
    view_type view() const { return view_type(buffer_type(data_, file_.size()), shape()); }

private:
    moden::io::npy_file file_;  // keeps the mapping
    moden::dynamic_tensor<T> loaded_;
    const T* data_ = nullptr;
};

}  // namespace tucker
