#pragma once

// Host tensors. The only header that includes xtensor, so that a different release or layout of it is met in one place.

#include <cstddef>

#include <xtensor/xarray.hpp>
#include <xtensor/xtensor.hpp>

#include <moden/core/extents.hpp>

namespace moden {

/// Host tensor whose order N is known at compile time: row-major, contiguous, owning.
template <class T, std::size_t N>
using tensor = xt::xtensor<T, N, xt::layout_type::row_major>;

/// Host tensor whose order is known at run time only: row-major, contiguous, owning.
template <class T>
using dynamic_tensor = xt::xarray<T, xt::layout_type::row_major>;

}  // namespace moden
