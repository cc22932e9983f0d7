#pragma once

// From a picture back to the code that makes it.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/optimize/adam.hpp>
#include <moden/stylegan2/detail/derivatives.hpp>
#include <moden/stylegan2/detail/picture_difference.hpp>
#include <moden/stylegan2/synthesis.hpp>

namespace moden::stylegan2 {

/// How invert searches.
struct inversion_options {
    latent_space space = latent_space::w_plus;  ///< w or w_plus
    std::size_t max_iterations = 300;
    double learning_rate = 0.05;   ///< of Adam at its start; falls to zero like a cosine
    double tolerance = 0;          ///< stop when ten iterations in a row improve no picture by this share; 0: never
    std::size_t scales = 4;        ///< of the objective; each halves the pictures, up to log2(resolution) + 1 of them
    double pull = 0;               ///< weight of the mean square of code - start, which keeps codes where pictures are good
    synthesis_options synthesis = {};
    iteration_callback progress = {};  ///< (iteration, mean objective of the pictures) -> keep going?
};

/// Codes, the pictures they make, and how far those are from the targets.
template <class Policy, class T>
struct inversion_result {
    policy_tensor<Policy, T, 3> ws;        ///< N x num_ws x w_dim; with latent_space::w all rows of a code are equal
    policy_tensor<Policy, T, 4> pictures;  ///< N x 3 x resolution x resolution
    std::vector<double> rms_error;         ///< root mean square of picture - target, per picture
    std::vector<double> objective;         ///< of the codes returned, per picture
    std::vector<double> history;           ///< mean objective of the pictures before each iteration
    iteration_status status = iteration_status::reached_max_iterations;
    std::size_t iterations = 0;
};

namespace detail {

/// Copies row i where improved[i] is nonzero.
template <class T>
struct copy_rows_if {
    const T* improved;
    const T* from;
    T* to;
    std::size_t size;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            if (improved[row] != T(0)) {
                to[row * size + c] = from[row * size + c];
            }
        }
    }
};

/// gradient += scale (x - start)
template <class T>
struct add_pull {
    const T* x;
    const T* start;
    T scale;
    T* gradient;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { gradient[i] += scale * (x[i] - start[i]); }
};

template <class Policy, class T>
class inverter {
public:
    using buffer = buffer_of<Policy, T>;

    inverter(const Policy& policy, const generator<Policy, T>& net, const inversion_options& options, buffer targets,
             std::size_t count, buffer start)
        : policy_(policy), net_(net), options_(options), count_(count), size_(latent_size(net.layout(), options.space)),
          images_{count, net.layout().resolution, net.layout().resolution, 3}, targets_(std::move(targets)),
          start_(std::move(start)), difference_(policy, targets_.data(), images_, options.scales) {}

    inversion_result<Policy, T> run() const {
        const std::size_t total = count_ * size_;
        auto codes = policy_.template allocate<T>(total);
        auto best = policy_.template allocate<T>(total);
        const auto gradient = policy_.template allocate<T>(total);
        policy_.copy(static_cast<const T*>(start_.data()), codes.data(), total);
        policy_.copy(static_cast<const T*>(start_.data()), best.data(), total);
        adam<Policy, T> optimizer(policy_, total);
        std::vector<double> errors, best_errors(count_, 0.0), best_objective(count_, std::numeric_limits<double>::infinity());
        std::vector<double> history;
        iteration_status status = iteration_status::reached_max_iterations;
        std::size_t iteration = 0;
        std::size_t idle = 0;
        while (true) {
            std::vector<double> objective = evaluate(codes.data(), gradient.data(), errors);
            const double gain = keep_best(codes.data(), objective, errors, best.data(), best_objective, best_errors);
            history.push_back(mean(objective));
            idle = gain > options_.tolerance ? 0 : idle + 1;
            if (iteration > 0 && options_.progress && !options_.progress(iteration, history.back())) {
                status = iteration_status::stopped_by_callback;
                break;
            }
            if (options_.tolerance > 0 && idle >= 10) {
                status = iteration_status::converged;
                break;
            }
            if (iteration == options_.max_iterations) {
                break;
            }
            const double share = static_cast<double>(iteration) / static_cast<double>(options_.max_iterations);
            optimizer.step(policy_, options_.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * share)), codes.data(),
                           gradient.data());
            ++iteration;
        }
        return finish(best.data(), std::move(best_errors), std::move(best_objective), std::move(history), status, iteration);
    }

private:
    static double mean(const std::vector<double>& values) {
        double sum = 0;
        for (const double value : values) {
            sum += value;
        }
        return sum / static_cast<double>(values.size());
    }

    std::size_t last_layer() const { return net_.layout().layers.size() - 1; }

    /// Objective per picture and its gradient.
    std::vector<double> evaluate(const T* codes, T* gradient, std::vector<double>& errors) const {
        const latent_path<T> path{options_.space, {}, nullptr};
        const auto styled = make_styles<Policy, T>(policy_, net_, path, {count_, 0}, codes, nullptr);
        std::vector<double> objective;
        auto cotangent = policy_.template allocate<T>(0);
        const auto record = record_pass<Policy, T>(policy_, net_, styled, options_.synthesis, last_layer(),
                                                   [&](const T* pictures, const image_extents&) {
                                                       cotangent = difference_(pictures, errors, objective);
                                                   });
        pull_back<Policy, T>(policy_, net_, path, styled, record, last_layer(), 1, std::move(cotangent), gradient);
        if (options_.pull > 0) {
            const double weight = options_.pull / static_cast<double>(size_);
            for (std::size_t n = 0; n < count_; ++n) {
                objective[n] += weight * policy_.reduce(size_, 0.0,
                                                        moden::detail::squared_difference_of<T>{codes + n * size_, start_.data() + n * size_},
                                                        moden::detail::plus{});
            }
            policy_.transform(count_ * size_, add_pull<T>{codes, start_.data(), static_cast<T>(2 * weight), gradient});
        }
        return objective;
    }

    /// Keeps the codes that are better than those kept so far. Returns the largest share by which one improved.
    double keep_best(const T* codes, const std::vector<double>& objective, const std::vector<double>& errors, T* best,
                     std::vector<double>& best_objective, std::vector<double>& best_errors) const {
        std::vector<T> improved(count_, T(0));
        double gain = 0;
        for (std::size_t n = 0; n < count_; ++n) {
            if (objective[n] < best_objective[n]) {
                gain = std::max(gain, std::isinf(best_objective[n]) ? 1.0 : 1 - objective[n] / best_objective[n]);
                improved[n] = T(1);
                best_objective[n] = objective[n];
                best_errors[n] = errors[n];
            }
        }
        const auto flags = policy_.template allocate<T>(count_);
        policy_.upload(improved.data(), flags.data(), count_);
        policy_.transform_rows(count_, size_, copy_rows_if<T>{flags.data(), codes, best, size_});
        return gain;
    }

    inversion_result<Policy, T> finish(const T* codes, std::vector<double> errors, std::vector<double> objective,
                                       std::vector<double> history, iteration_status status, std::size_t iterations) const {
        const architecture& layout = net_.layout();
        auto ws = policy_.template make_tensor<T, 3>({count_, layout.num_ws, layout.w_dim});
        if (options_.space == latent_space::w) {
            chain_of(policy_, net_).spread(count_, codes, nullptr, {}, ws.data());
        } else {
            policy_.copy(codes, ws.data(), ws.size());
        }
        auto pictures = synthesize(policy_, net_, ws, options_.synthesis);
        for (double& error : errors) {
            error = std::sqrt(error);
        }
        return {std::move(ws), std::move(pictures), std::move(errors), std::move(objective), std::move(history), status, iterations};
    }

    const Policy& policy_;
    const generator<Policy, T>& net_;
    const inversion_options& options_;
    std::size_t count_;
    std::size_t size_;
    image_extents images_;
    buffer targets_;
    buffer start_;
    picture_difference<Policy, T> difference_;
};

inline void check_inversion(const inversion_options& options, const architecture& layout) {
    std::size_t most = 1;
    for (std::size_t r = layout.resolution; r > 1; r /= 2) {
        ++most;
    }
    require<argument_error>(options.space == latent_space::w || options.space == latent_space::w_plus,
                            "stylegan2::invert: the space is neither w nor w_plus");
    require<argument_error>(options.scales >= 1 && options.scales <= most, "stylegan2::invert: ", options.scales,
                            " scales (expected 1 to ", most, ")");
    require<argument_error>(options.learning_rate > 0 && std::isfinite(options.learning_rate),
                            "stylegan2::invert: learning rate ", options.learning_rate, " (expected a positive number)");
    require<argument_error>(options.tolerance >= 0 && options.pull >= 0 && std::isfinite(options.tolerance + options.pull),
                            "stylegan2::invert: tolerance ", options.tolerance, ", pull ", options.pull,
                            " (expected finite numbers from 0)");
}

}  // namespace detail

/// Finds codes in w or w+ whose pictures are close to given ones, by Adam on the exact gradient.
///
/// Minimises, for each picture, the sum over `scales` of the mean square of picture - target, of its means over 2 x 2
/// pixels, over 4 x 4 and so on, plus pull * mean square of code - start. Pictures do not influence each other. The best
/// codes that were met are returned, so the objective never exceeds that of the start.
///
/// \param policy   the generator's
/// \param net      generator
/// \param targets  N x 3 x resolution x resolution, nominally in [-1, 1], finite
/// \param start    where to begin: N x w_dim (from starting_w, or w_avg in every row) or N x num_ws x w_dim
/// \param options  space, iterations, scales; see inversion_options
/// \return         codes, their pictures, errors, history, status
/// \throws shape_error if targets or start do not fit, argument_error for NaN and options out of range
///
/// Cost per iteration: one forward pass and one way back. Memory: two activations of every layer, per picture.
/// Source: 001 section 2.5; Karras et al. 2020, section 5 (without noise and perceptual distance); Kingma & Ba 2015.
/// \snippet tests/stylegan2/invert.cpp invert
template <execution_policy Policy, class T, any_tensor Targets, any_tensor Start>
inversion_result<Policy, T> invert(const Policy& policy, const generator<Policy, T>& net, const Targets& targets,
                                   const Start& start, const inversion_options& options = {}) {
    const architecture& layout = net.layout();
    detail::check_inversion(options, layout);
    const auto pictures = detail::latent_argument<Policy, T>(policy, targets);
    const auto codes = detail::latent_argument<Policy, T>(policy, start);
    detail::check_latent_shape(pictures.view().shape, {3, layout.resolution, layout.resolution}, "invert", "targets");
    const std::size_t count = pictures.view().shape[0];
    const bool rows = codes.view().order() == 3;
    if (rows) {
        detail::check_latent_shape(codes.view().shape, {layout.num_ws, layout.w_dim}, "invert", "start");
    } else {
        detail::check_latent_shape(codes.view().shape, {layout.w_dim}, "invert", "start");
    }
    moden::detail::require<shape_error>(codes.view().shape[0] == count, "stylegan2::invert: ", codes.view().shape[0],
                                        " starts for ", count, " targets");
    moden::detail::require<shape_error>(!rows || options.space == latent_space::w_plus,
                                        "stylegan2::invert: the start is a code of w+ (expected N x w_dim for the space w)");
    moden::detail::require_finite(policy, pictures.view().data, pictures.view().size(), "stylegan2::invert", "targets");
    moden::detail::require_finite(policy, codes.view().data, codes.view().size(), "stylegan2::invert", "start");
    auto first = policy.template allocate<T>(count * detail::latent_size(layout, options.space));
    if (!rows && options.space == latent_space::w_plus) {
        detail::chain_of(policy, net).spread(count, codes.view().data, nullptr, {}, first.data());
    } else {
        policy.copy(codes.view().data, first.data(), first.size());
    }
    auto last = detail::channels_last_of(policy, pictures.view().data, {count, layout.resolution, layout.resolution, 3});
    return detail::inverter<Policy, T>(policy, net, options, std::move(last), count, std::move(first)).run();
}

/// The same from the generator's average w.
/// \throws argument_error if the model has none; otherwise as above
template <execution_policy Policy, class T, any_tensor Targets>
inversion_result<Policy, T> invert(const Policy& policy, const generator<Policy, T>& net, const Targets& targets,
                                   const inversion_options& options = {}) {
    const architecture& layout = net.layout();
    moden::detail::require<argument_error>(layout.has_w_avg, "stylegan2::invert: the model has no mapping.w_avg to start from");
    const std::size_t count = moden::detail::shape_of(targets).empty() ? 0 : targets.shape()[0];
    auto start = policy.template make_tensor<T, 2>({count, layout.w_dim});
    policy.transform_rows(count, layout.w_dim, detail::set_rows<T>{start.data(), layout.w_dim, detail::average_of(net)});
    return invert(policy, net, targets, start, options);
}

}  // namespace moden::stylegan2
