#pragma once

// How iterations end and how they tell about themselves.

#include <cstddef>
#include <functional>

namespace moden {

/// Why an iteration stopped. Not converging is a result, not an exception.
enum class iteration_status { converged, reached_max_iterations, stopped_by_callback };

/// Called after each iteration with (iteration, objective), counted from 1; returning false stops.
using iteration_callback = std::function<bool(std::size_t, double)>;

}  // namespace moden
