#pragma once

// What is known of a code while its parameters are being estimated.

#include <cstddef>
#include <exception>
#include <type_traits>
#include <vector>

#include <moden/core/status.hpp>
#include <moden/core/view.hpp>
#include <moden/editing/detail/penalized_quadratic.hpp>
#include <moden/policy/cpu.hpp>

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

/// function(position, code) for every active code, on several of the host's threads where that is worth it; `work` says how many numbers
/// one call touches. Of exceptions the first is thrown again.
template <class Policy, class Function>
void for_each_code(const Policy& policy, const std::vector<std::size_t>& active, std::size_t work, const Function& function) {
    if (active.size() == 1) {  // whose products may use all threads
        return function(std::size_t{0}, active[0]);
    }
    std::vector<std::exception_ptr> failures(active.size());
    const auto guarded = [&](std::size_t i) {
        try {
            function(i, active[i]);
        } catch (...) {
            failures[i] = std::current_exception();
        }
    };
    if constexpr (std::is_same_v<typename Policy::memory_space, host_memory>) {
        policy.transform(active.size(), guarded, work);
    } else {
        cpu_policy{}.transform(active.size(), guarded, work);
    }
    for (const std::exception_ptr& failure : failures) {
        if (failure != nullptr) {
            std::rethrow_exception(failure);
        }
    }
}

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
