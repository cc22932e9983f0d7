#pragma once

// What is known of a code while its parameters are being estimated.

#include <cstddef>
#include <vector>

#include <moden/core/status.hpp>
#include <moden/editing/detail/penalized_quadratic.hpp>

namespace moden::detail {

/// When to stop.
struct least_squares_rules {
    double tolerance = 0;
    std::size_t max_iterations = 0;
};

/// One code on its way.
struct code_estimate {
    std::vector<mode_parameters> modes = {};
    double square = 0;     ///< |y|^2 of the whole code, what the basis does not see included
    double objective = 0;
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

/// Where a code may have to go back to when a Gauss-Newton step has failed.
struct safe_point {
    bool trying = false;                     ///< the modes of the code are a step away from these
    bool rejected = false;                   ///< the last step was taken back
    bool slow = false;                       ///< steps want the whole second derivative
    double gain = 0;                         ///< of the last iteration
    double damping = 1e-3;
    std::vector<mode_parameters> modes = {};
    std::vector<double> gram = {};           ///< M'M and M'y
    std::vector<double> right = {};
};

/// q' H q - 2 g' q.
inline double quadratic_value(const std::vector<double>& h, const std::vector<double>& g, const std::vector<double>& q) {
    double value = 0;
    for (std::size_t i = 0; i < q.size(); ++i) {
        double row = 0;
        for (std::size_t j = 0; j < q.size(); ++j) {
            row += h[i * q.size() + j] * q[j];
        }
        value += q[i] * (row - 2 * g[i]);
    }
    return value;
}

}  // namespace moden::detail
