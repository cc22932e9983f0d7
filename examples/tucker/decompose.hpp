#pragma once

// The decompositions themselves: every call of the library that tucker makes, the same for all policies.

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <moden/moden.hpp>

#include "../common/progress_bar.hpp"
#include "settings.hpp"

namespace tucker {

/// What all methods have in common, on the host.
template <class T>
struct decomposition {
    moden::dynamic_tensor<T> core;             ///< G, R_0 x ... x R_{N-1}
    std::vector<moden::tensor<T, 2>> factors;  ///< U_n, I_n x R_n
    std::vector<moden::mode_report<T>> modes;  ///< rank, method and singular values per mode
    double relative_error = 0;                 ///< |T - T^| / |T|; of the observed entries with a mask
    moden::dynamic_tensor<T> completed = {};   ///< with a mask: observed entries as given, missing ones predicted
    std::size_t iterations = 0;                ///< of the methods that iterate
    moden::iteration_status status = moden::iteration_status::converged;
};

/// Tensors of the CPU policy are on the host already.
template <class Tensor>
Tensor on_host(const moden::cpu_policy&, Tensor&& tensor) {
    return std::move(tensor);
}

#ifdef __CUDACC__
template <class Tensor>
auto on_host(const moden::cuda_policy& policy, Tensor&& tensor) {
    return moden::to_host(policy, tensor);
}
#endif

/// Core, factors, reports and error of any result of the library.
template <class T, class Policy, class Result>
decomposition<T> collected(const Policy& policy, Result&& result) {
    decomposition<T> collected;
    collected.core = on_host(policy, std::move(result.core));
    for (auto& factor : result.factors) {
        collected.factors.push_back(on_host(policy, std::move(factor)));
    }
    if constexpr (requires { result.modes; }) {
        collected.modes = std::move(result.modes);
        collected.relative_error = result.relative_error;
    }
    if constexpr (requires { result.iterations; }) {
        collected.iterations = result.iterations;
        collected.status = result.status;
    }
    return collected;
}

inline std::string percent(const char* what, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%s %.4g %%", what, 100 * value);
    return text;
}

/// T ~ G x_0 U_0 x_1 U_1 ... by st_hosvd, hosvd or hooi.
template <class T, class Policy, class Tensor>
decomposition<T> decompose(const Policy& policy, const Tensor& tensor, const settings& wanted) {
    examples::progress_bar bar(name_of(method_names, wanted.method));
    if (wanted.method == method::hooi) {
        moden::hooi_options options{.ranks = wanted.ranks, .method = wanted.svd};
        options.max_iterations = wanted.max_iterations > 0 ? wanted.max_iterations : options.max_iterations;
        options.progress = [&](std::size_t iteration, double fit) {
            return bar.update(iteration, options.max_iterations, percent("|G| / |T|", fit));
        };
        return collected<T>(policy, moden::hooi(policy, tensor, options));
    }
    const moden::hosvd_options options{
        .ranks = wanted.ranks,
        .tolerance = wanted.tolerance,
        .energy = wanted.energy,
        .method = wanted.svd,
        .error = moden::error_measure::residual,  // from the difference itself, so that it can be trusted to eps
        .progress = [&](std::size_t step, std::size_t steps) { return bar.update(step, steps, "modes"); }};
    return wanted.method == method::hosvd ? collected<T>(policy, moden::hosvd(policy, tensor, options))
                                          : collected<T>(policy, moden::st_hosvd(policy, tensor, options));
}

/// The same from the entries where the mask is not zero. The singular values are those of the completed tensor.
template <class T, class Policy, class Tensor, class Mask>
decomposition<T> decompose_observed(const Policy& policy, const Tensor& tensor, const Mask& mask,
                                    const settings& wanted) {
    examples::progress_bar bar("complete");
    moden::completion_options options{.ranks = wanted.ranks, .method = wanted.svd};
    options.max_iterations = wanted.max_iterations > 0 ? wanted.max_iterations : options.max_iterations;
    options.progress = [&](std::size_t iteration, double error) {
        return bar.update(iteration, options.max_iterations, percent("error", error));
    };
    auto result = moden::complete(policy, tensor, mask, options);
    auto spectrum = moden::st_hosvd(policy, result.completed, {.ranks = wanted.ranks, .method = wanted.svd});
    auto completed = on_host(policy, std::move(result.completed));
    const double error = result.observed_error;
    auto collected_result = collected<T>(policy, std::move(result));
    collected_result.completed = std::move(completed);
    collected_result.modes = std::move(spectrum.modes);
    collected_result.relative_error = error;
    return collected_result;
}

}  // namespace tucker
