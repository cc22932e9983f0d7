#pragma once

// Completion: a Tucker tensor of given ranks fitted to the observed entries of a tensor, and the missing ones it predicts.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/hosvd.hpp>
#include <moden/multilinear/tucker.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of complete.
struct completion_options {
    extents ranks = {};                 ///< rank per mode, 1 <= R_n <= I_n, required
    double tolerance = 1e-7;            ///< stop when the model changes by less than this relative to its norm (at least 8 eps); 0: never
    std::size_t max_iterations = 1000;
    svd_method method = svd_method::automatic;  ///< of the projections onto the ranks
    iteration_callback progress = {};   ///< (iteration, relative error on the observed entries) -> keep going?
};

/// A completed tensor. Is a tucker_tensor: `core`, `factors`.
template <class Tensor>
struct completion_result : tucker_tensor<Tensor> {
    Tensor completed;                   ///< observed entries as given, missing ones from the model
    iteration_status status = iteration_status::reached_max_iterations;
    std::size_t iterations = 0;
    double observed_error = 0;          ///< |P(X - X^)| / |P(X)|, with P the restriction to observed entries
    std::vector<double> history = {};   ///< observed_error after each iteration
};

namespace detail {

template <class T>
struct is_observed {
    const T* mask;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return mask[i] != T(0) ? 1.0 : 0.0; }
};

template <class T>
struct observed_value {
    const T* mask;
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        return mask[i] != T(0) ? static_cast<double>(data[i]) : 0.0;
    }
};

template <class T>
struct observed_square {
    const T* mask;
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = mask[i] != T(0) ? static_cast<double>(data[i]) : 0.0;
        return x * x;
    }
};

template <class T>
struct observed_not_finite {
    const T* mask;
    const T* data;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        return mask[i] != T(0) && !(data[i] - data[i] == T(0)) ? 1.0 : 0.0;
    }
};

template <class T>
struct observed_squared_difference {
    const T* mask;
    const T* data;
    const T* model;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = mask[i] != T(0) ? static_cast<double>(data[i]) - static_cast<double>(model[i]) : 0.0;
        return x * x;
    }
};

/// Observed entries from the data, missing ones from the model pushed on by its last change.
template <class T>
struct impute {
    const T* mask;
    const T* data;
    const T* model;
    const T* previous;
    T momentum;
    T* target;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        target[i] = mask[i] != T(0) ? data[i] : model[i] + momentum * (model[i] - previous[i]);
    }
};

template <class T>
struct impute_constant {
    const T* mask;
    const T* data;
    T value;
    T* target;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { target[i] = mask[i] != T(0) ? data[i] : value; }
};

inline void check_completion_options(const completion_options& options, const extents& shape) {
    require<argument_error>(!options.ranks.empty(), "complete: no ranks (expected one per mode)");
    check_hosvd_options({.ranks = options.ranks, .method = options.method}, shape, "complete");
    require<argument_error>(options.tolerance >= 0, "complete: tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(options.max_iterations >= 1, "complete: max_iterations ", options.max_iterations, " (expected at least 1)");
}

}  // namespace detail

/// Fits a Tucker tensor of given ranks to the observed entries of a tensor: min |P(X - X^)|, and fills in the others.
///
/// Expectation maximisation with momentum: missing entries are imputed from the model, the whole is projected onto the
/// ranks by st_hosvd, and so on. Imputation starts from the mean of the observed entries, each round is pushed on by
/// Nesterov's rule, and the push is dropped whenever the fit got worse. Every round is a dense decomposition; that suits
/// tensors of which a good part is observed. docs/design.md compares with Riemannian optimisation.
///
/// \param policy  where to compute
/// \param tensor  I_0 x ... x I_{N-1}; entries that are not observed may hold anything, NaN included
/// \param mask    the same shape, nonzero where observed; on the host of any arithmetic type
/// \param options ranks, stopping
/// \return        core, factors, completed tensor, status, iterations, error on the observed entries and its history
/// \throws shape_error if the shapes differ or the tensor is empty; argument_error without ranks, with a rank out of range,
///         with nothing observed, or with NaN or infinity among the observed entries
///
/// Cost per iteration: one st_hosvd and one reconstruction. Memory: four tensors of the input's size, the result included.
/// Source: Dempster et al. 1977 (EM); Walczak & Massart 2001 (EM for Tucker models); O'Donoghue & Candes 2015 (restarts);
/// answers the limitation of 001 Sec. 7.2.
/// \snippet tests/unit/complete.cpp complete
template <execution_policy Policy, any_tensor Tensor, any_tensor Mask>
auto complete(const Policy& policy, const Tensor& tensor, const Mask& mask, const completion_options& options) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    using result_tensor = policy_tensor<Policy, T, order_of<Tensor>>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto mask_argument = detail::evaluate_as<T>(policy, mask);
    const auto& view = argument.view();
    const std::size_t size = view.size();
    const T* data = view.data;
    const T* observed = mask_argument.view().data;
    detail::require<shape_error>(view.shape == mask_argument.view().shape, "complete: a mask of ", mask_argument.view().shape,
                                 " for a tensor of ", view.shape);
    detail::check_completion_options(options, view.shape);
    const double count = policy.reduce(size, 0.0, detail::is_observed<T>{observed}, detail::plus{});
    detail::require<argument_error>(count > 0, "complete: no entry is observed (the mask is zero everywhere)");
    const double bad = policy.reduce(size, 0.0, detail::observed_not_finite<T>{observed, data}, detail::plus{});
    detail::require<argument_error>(bad == 0, "complete: ", static_cast<std::size_t>(bad),
                                    " observed entries are NaN or infinite (expected finite values)");
    const double scale = policy.reduce(size, 0.0, detail::observed_square<T>{observed, data}, detail::plus{});
    const double mean = policy.reduce(size, 0.0, detail::observed_value<T>{observed, data}, detail::plus{}) / count;

    completion_result<result_tensor> result;
    result.completed = policy.template make_tensor<T, order_of<Tensor>>(view.shape);
    T* imputed = result.completed.data();
    auto model = policy.template allocate<T>(size);
    auto previous = policy.template allocate<T>(size);
    policy.transform(size, detail::impute_constant<T>{observed, data, static_cast<T>(mean), imputed});
    const double tolerance = options.tolerance > 0 ? std::max(options.tolerance, 8.0 * std::numeric_limits<T>::epsilon()) : 0;
    double momentum_parameter = 1;
    while (result.iterations < options.max_iterations) {
        auto fitted = st_hosvd(policy, result.completed, {.ranks = options.ranks, .method = options.method});
        std::vector<detail::mode_factor<T, space>> factors = detail::tucker_factors<space>(fitted, "complete");
        const detail::tensor_view_of<Policy, T> core{fitted.core.data(), detail::shape_of(fitted.core)};
        detail::multi_mode_product_into<Policy, T, space>(policy, core, std::move(factors), model.data());
        ++result.iterations;
        const double residual = policy.reduce(size, 0.0, detail::observed_squared_difference<T>{observed, data, model.data()}, detail::plus{});
        const double error = scale > 0 ? std::sqrt(residual / scale) : 0;
        static_cast<tucker_tensor<result_tensor>&>(result) = std::move(static_cast<tucker_tensor<result_tensor>&>(fitted));
        const bool first = result.history.empty();
        const bool worse = !first && error > result.history.back();
        result.history.push_back(error);
        result.observed_error = error;
        // Change of the model relative to its norm.
        double change = 1;
        if (!first) {
            const double difference = policy.reduce(size, 0.0, detail::squared_difference_of<T>{model.data(), previous.data()}, detail::plus{});
            const double norm = detail::sum_of_squares(policy, static_cast<const T*>(model.data()), size);
            change = norm > 0 ? std::sqrt(difference / norm) : 0;
        }
        const bool converged = change < tolerance || count == static_cast<double>(size) || residual == 0;
        const bool stopped = !converged && options.progress && !options.progress(result.iterations, error);
        if (converged || stopped || result.iterations == options.max_iterations) {
            result.status = converged ? iteration_status::converged
                            : stopped ? iteration_status::stopped_by_callback
                                      : iteration_status::reached_max_iterations;
            break;
        }
        const double next_parameter = worse ? 1 : (1 + std::sqrt(1 + 4 * momentum_parameter * momentum_parameter)) / 2;
        const double momentum = first || worse ? 0 : (momentum_parameter - 1) / next_parameter;
        momentum_parameter = next_parameter;
        policy.transform(size, detail::impute<T>{observed, data, model.data(), first ? model.data() : previous.data(),
                                                 static_cast<T>(momentum), imputed});
        std::swap(model, previous);
    }
    policy.transform(size, detail::impute<T>{observed, data, model.data(), model.data(), T(0), imputed});
    return result;
}

template <any_tensor Tensor, any_tensor Mask>
auto complete(const Tensor& tensor, const Mask& mask, const completion_options& options) {
    return complete(cpu_policy{}, tensor, mask, options);
}

}  // namespace moden
