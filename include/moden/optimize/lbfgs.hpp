#pragma once

// L-BFGS: quasi-Newton steps for smooth functions of many variables, with a line search for the strong Wolfe conditions.
// Source: Nocedal & Wright 2006, Algorithms 7.4, 7.5 (steps), 3.5, 3.6 (line search).

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>

namespace moden {

/// What minimize_lbfgs can be told.
struct lbfgs_options {
    std::size_t memory = 10;             ///< steps that shape the next one, at least 1
    std::size_t max_iterations = 1000;
    double tolerance = 1e-9;             ///< stop when an iteration lowers the value by less than this times its magnitude
    double gradient_tolerance = 0;       ///< stop when no component of the gradient is larger
    iteration_callback progress = {};    ///< told the value after every iteration
};

/// What minimize_lbfgs found out.
struct lbfgs_result {
    double value = 0;
    std::size_t iterations = 0;
    std::size_t evaluations = 0;         ///< of value and gradient
    iteration_status status = iteration_status::reached_max_iterations;
    std::vector<double> history = {};    ///< value after each iteration
};

namespace detail {

/// A point on a search line: step, value, slope along the line.
struct line_point {
    double step, value, slope;
};

/// Minimum of the cubic through values and slopes of two points, kept off their ends; their middle where there is none.
inline double cubic_minimum(const line_point& a, const line_point& b) {
    const double d = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step);
    const double square = d * d - a.slope * b.slope;
    const double root = std::copysign(std::sqrt(std::max(square, 0.0)), b.step - a.step);
    const double candidate = b.step - (b.step - a.step) * (b.slope + root - d) / (b.slope - a.slope + 2 * root);
    const double low = std::min(a.step, b.step), width = std::abs(b.step - a.step);
    if (square < 0 || !std::isfinite(candidate)) {
        return low + 0.5 * width;
    }
    return std::clamp(candidate, low + 0.1 * width, low + 0.9 * width);
}

/// A step that satisfies the strong Wolfe conditions, or the best one that lowers the value if none is found.
/// `at(step)` evaluates a point; the last call was with the step that is returned. A step of 0 says that the value cannot be lowered.
template <class At>
line_point wolfe_search(const line_point& start, double first_step, At at) {
    constexpr double enough = 1e-4, flat = 0.9;
    constexpr std::size_t most = 25;
    const auto lowers = [&](const line_point& p) { return p.value <= start.value + enough * p.step * start.slope; };
    const auto is_flat = [&](const line_point& p) { return std::abs(p.slope) <= -flat * start.slope; };
    line_point low = start, now = at(first_step), high{};
    bool bracketed = false;
    for (std::size_t tries = 1; tries < most; ++tries) {
        if (lowers(now) && is_flat(now)) {
            return now;
        }
        if (!lowers(now) || now.value >= low.value || !std::isfinite(now.value)) {
            high = now;
            bracketed = true;
        } else {
            if (now.slope * (bracketed ? high.step - low.step : 1.0) >= 0) {
                high = low;
                bracketed = true;
            }
            low = now;
        }
        if (!bracketed) {
            now = at(2 * now.step);
        } else if (std::isfinite(high.value)) {
            now = at(cubic_minimum(low, high));
        } else {
            now = at(low.step + 0.1 * (high.step - low.step));
        }
    }
    return low.value < start.value ? at(low.step) : at(0.0);
}

/// The last steps and changes of the gradient.
template <class Policy, class T>
class lbfgs_memory {
public:
    lbfgs_memory(const Policy& policy, std::size_t size, std::size_t length)
        : policy_(policy), size_(size), length_(length), steps_(policy.template allocate<T>(size * length)),
          changes_(policy.template allocate<T>(size * length)) {}

    /// Remembers x - old_x and g - old_g, unless the curvature along the step is not positive.
    void add(const T* x, const T* old_x, const T* g, const T* old_g) {
        const std::size_t slot = (first_ + products_.size()) % length_;
        T* const s = steps_.data() + slot * size_;
        T* const y = changes_.data() + slot * size_;
        const bool full = products_.size() == length_;
        policy_.transform(size_, difference_of<T>{x, old_x, s});
        policy_.transform(size_, difference_of<T>{g, old_g, y});
        const double product = dot(s, y), square = dot(y, y);
        if (full) {  // its oldest step is overwritten, whether or not this one counts
            products_.erase(products_.begin());
            first_ = (first_ + 1) % length_;
        }
        if (product > std::numeric_limits<double>::epsilon() * square) {
            products_.push_back(product);
            scale_ = product / square;
        }
    }

    void forget() {
        products_.clear();
        first_ = 0;
    }

    bool empty() const { return products_.empty(); }

    /// d = -H g with the inverse Hessian H that the steps describe.
    void direction(const T* g, T* d) const {
        policy_.transform(size_, scaled_copy<T>{g, T(-1), d});
        std::vector<double> weights(products_.size());
        for (std::size_t i = products_.size(); i-- > 0;) {
            weights[i] = dot(step(i), d) / products_[i];
            policy_.transform(size_, scaled_sum<T>{d, change(i), static_cast<T>(-weights[i]), d});
        }
        if (!products_.empty()) {
            policy_.transform(size_, scaled_copy<T>{d, static_cast<T>(scale_), d});
        }
        for (std::size_t i = 0; i < products_.size(); ++i) {
            const double back = dot(change(i), d) / products_[i];
            policy_.transform(size_, scaled_sum<T>{d, step(i), static_cast<T>(weights[i] - back), d});
        }
    }

    double dot(const T* a, const T* b) const { return policy_.reduce(size_, 0.0, product_of<T>{a, b}, plus{}); }

private:
    const T* step(std::size_t i) const { return steps_.data() + (first_ + i) % length_ * size_; }
    const T* change(std::size_t i) const { return changes_.data() + (first_ + i) % length_ * size_; }

    const Policy& policy_;
    std::size_t size_, length_;
    buffer_of<Policy, T> steps_, changes_;
    std::vector<double> products_ = {};  ///< s'y of every step, oldest first
    std::size_t first_ = 0;
    double scale_ = 1;
};

}  // namespace detail

/// Minimises a smooth function.
///
/// A library of our own size: those with a good name compute on the host, and this is a dozen dot products per step.
///
/// \param policy   where the variables live
/// \param x        the start, changed to the best point found
/// \param size     how many variables, at least 1
/// \param function double(const T* x, T* gradient): returns the value and writes the gradient. A value or a slope that is not
///                 finite makes the line search step back
/// \param options  memory and stopping
/// \return         value, iterations, status. Where no step lowers the value any more, as happens at the precision of T, the status
///                 is converged
/// \throws argument_error for options out of range, no variables, or a start whose value or gradient is not finite
///
/// Cost: usually one evaluation per iteration and 4 memory size multiplications; memory for 2 memory + 5 vectors.
/// Source: Nocedal & Wright 2006, Algorithms 3.5, 3.6, 7.4, 7.5.
/// \snippet tests/policy/lbfgs.cpp lbfgs
template <class T, execution_policy Policy, class Function>
lbfgs_result minimize_lbfgs(const Policy& policy, T* x, std::size_t size, Function function, const lbfgs_options& options = {}) {
    detail::require<argument_error>(size >= 1 && options.memory >= 1 && options.tolerance >= 0 && options.gradient_tolerance >= 0, "minimize_lbfgs: ",
                                    size, " variables, memory ", options.memory, ", tolerances ", options.tolerance, " and ",
                                    options.gradient_tolerance, " (expected at least 1, 1, 0, 0)");
    auto point = policy.template allocate<T>(size), gradient = policy.template allocate<T>(size);
    auto old_point = policy.template allocate<T>(size), old_gradient = policy.template allocate<T>(size);
    const auto direction = policy.template allocate<T>(size);
    detail::lbfgs_memory<Policy, T> memory(policy, size, options.memory);
    policy.copy(static_cast<const T*>(x), point.data(), size);
    lbfgs_result result;
    result.value = function(static_cast<const T*>(point.data()), gradient.data());
    result.evaluations = 1;
    detail::require<argument_error>(std::isfinite(result.value), "minimize_lbfgs: the value at the start is ", result.value);
    detail::require_finite(policy, static_cast<const T*>(gradient.data()), size, "minimize_lbfgs", "the gradient at the start");
    while (result.iterations < options.max_iterations) {
        const double largest = policy.reduce(size, 0.0, detail::magnitude_of<T>{gradient.data()}, detail::maximum{});
        if (largest <= options.gradient_tolerance) {
            result.status = iteration_status::converged;
            break;
        }
        std::swap(point, old_point);
        std::swap(gradient, old_gradient);
        const auto search = [&] {
            memory.direction(old_gradient.data(), direction.data());
            const double slope = memory.dot(old_gradient.data(), direction.data());
            if (!(slope < 0)) {
                return detail::line_point{0, result.value, 0};
            }
            // Without experience: a first step that changes x by its own size, or by 1.
            const double length = std::sqrt(memory.dot(direction.data(), direction.data()));
            const double first = memory.empty() ? std::max(1e-3 * std::sqrt(memory.dot(old_point.data(), old_point.data())), 1e-3) / length : 1.0;
            return detail::wolfe_search({0, result.value, slope}, first, [&](double step) {
                policy.transform(size, detail::scaled_sum<T>{old_point.data(), direction.data(), static_cast<T>(step), point.data()});
                const double value = function(static_cast<const T*>(point.data()), gradient.data());
                ++result.evaluations;
                const double along = memory.dot(gradient.data(), direction.data());
                return detail::line_point{step, std::isfinite(along) ? value : std::numeric_limits<double>::infinity(), along};
            });
        };
        auto found = search();
        if (found.step == 0 && !memory.empty()) {  // the memory misleads: down the gradient
            memory.forget();
            found = search();
        }
        if (found.step == 0) {
            std::swap(point, old_point);
            std::swap(gradient, old_gradient);
            result.status = iteration_status::converged;
            break;
        }
        ++result.iterations;
        memory.add(point.data(), old_point.data(), gradient.data(), old_gradient.data());
        const double gain = result.value - found.value;
        result.value = found.value;
        result.history.push_back(found.value);
        if (options.progress && !options.progress(result.iterations, found.value)) {
            result.status = iteration_status::stopped_by_callback;
            break;
        }
        if (gain <= options.tolerance * std::abs(found.value)) {
            result.status = iteration_status::converged;
            break;
        }
    }
    policy.copy(static_cast<const T*>(point.data()), x, size);
    return result;
}

}  // namespace moden
