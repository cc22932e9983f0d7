#pragma once

// Adam: gradient steps scaled by running moments. Source: Kingma & Ba 2015, Algorithm 1.

#include <cmath>
#include <cstddef>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>

namespace moden {

/// What an adam optimiser can be told.
struct adam_options {
    double first_decay = 0.9;     ///< of the mean of gradients, in [0, 1)
    double second_decay = 0.999;  ///< of the mean of their squares, in [0, 1)
    double epsilon = 1e-8;        ///< keeps the division finite; positive
};

namespace detail {

template <class T>
struct adam_step {
    T* x;
    const T* gradient;
    T* first;
    T* second;
    T first_decay, second_decay, step, root_scale, epsilon;

    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        first[i] = first_decay * first[i] + (T(1) - first_decay) * gradient[i];
        second[i] = second_decay * second[i] + (T(1) - second_decay) * gradient[i] * gradient[i];
        x[i] -= step * first[i] / (std::sqrt(second[i]) * root_scale + epsilon);
    }
};

}  // namespace detail

/// The moments of one vector of parameters; x <- x - rate m / (sqrt(v) + eps) with m and v corrected for their start.
/// \snippet tests/policy/adam.cpp adam
template <class Policy, class T>
class adam {
public:
    /// \param policy   where the parameters live
    /// \param size     how many there are
    /// \param options  decays and epsilon
    /// \throws argument_error for options out of range
    adam(const Policy& policy, std::size_t size, const adam_options& options = {})
        : options_(options), first_(policy.template allocate<T>(size)), second_(policy.template allocate<T>(size)) {
        const auto is_decay = [](double x) { return x >= 0 && x < 1; };
        detail::require<argument_error>(is_decay(options.first_decay) && is_decay(options.second_decay) && options.epsilon > 0,
                                        "adam: decays ", options.first_decay, " and ", options.second_decay, ", epsilon ",
                                        options.epsilon, " (expected decays in [0, 1) and a positive epsilon)");
        policy.transform(size, detail::fill_with<T>{first_.data(), T(0)});
        policy.transform(size, detail::fill_with<T>{second_.data(), T(0)});
    }

    /// One step down the gradient.
    /// \param policy    as above
    /// \param rate      learning rate of this step
    /// \param x         parameters, changed
    /// \param gradient  at x
    void step(const Policy& policy, double rate, T* x, const T* gradient) {
        first_power_ *= options_.first_decay;
        second_power_ *= options_.second_decay;
        policy.transform(first_.size(),
                         detail::adam_step<T>{x, gradient, first_.data(), second_.data(), static_cast<T>(options_.first_decay),
                                              static_cast<T>(options_.second_decay), static_cast<T>(rate / (1 - first_power_)),
                                              static_cast<T>(1 / std::sqrt(1 - second_power_)), static_cast<T>(options_.epsilon)});
    }

private:
    adam_options options_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) first_;
    decltype(std::declval<const Policy&>().template allocate<T>(0)) second_;
    double first_power_ = 1;
    double second_power_ = 1;
};

}  // namespace moden
