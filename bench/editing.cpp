// Benchmarks of tensor models of codes; bench/README.md says how they are measured, bench/compare runs them beside their peers.
//
// tensor_model/fit/SHAPE/DTYPE          fit_tensor_model, nothing truncated, without a basis of codes
// tensor_model/estimate/SHAPE/nN/DTYPE  estimate_parameters of N codes, with ridge and sum-to-one terms
// The folder MODEN_BENCH_INPUTS holds tensor.npy, or core.npy, factor_n.npy, codes.npy, weight.npy and objective.npy.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "harness.hpp"

namespace {

using moden::dynamic_tensor;
using moden_bench::cpu;
template <class T>
using model = moden::policy_tensor_model<moden::cpu_policy, T, moden::dynamic_order>;

std::vector<moden::factor_mode> numbered_modes(const moden::extents& shape) {
    std::vector<moden::factor_mode> modes;
    for (std::size_t k = 1; k < shape.size(); ++k) {
        modes.push_back(moden::numbered_mode("mode " + std::to_string(k), shape[k]));
    }
    return modes;
}

/// Relative error of some codes that the model makes, less the mean; the same codes as in peers/tensor_model_fit.py.
template <class T>
double error_of_codes(const dynamic_tensor<T>& tensor, const model<T>& fitted) {
    constexpr std::size_t looked_at = 16;
    const moden::extents shape(tensor.shape().begin(), tensor.shape().end());
    const std::size_t size = shape[0], samples = tensor.size() / size;
    std::vector<std::size_t> chosen;
    for (std::size_t i = 0; i < looked_at; ++i) {
        chosen.push_back((samples - 1) * i / (looked_at - 1));
    }
    std::vector<moden::tensor<T, 2>> parameters;
    for (std::size_t k = 1; k < shape.size(); ++k) {
        const auto geometry = moden::geometry_of({shape.begin() + 1, shape.end()}, k - 1);
        parameters.push_back(moden::tensor<T, 2>::from_shape({looked_at, shape[k]}));
        std::fill(parameters.back().begin(), parameters.back().end(), T(0));
        for (std::size_t n = 0; n < looked_at; ++n) {
            parameters.back()(n, chosen[n] / geometry.columns % geometry.extent) = T(1);
        }
    }
    const auto made = moden::synthesize_codes(cpu, fitted, parameters);
    double difference = 0, norm = 0;
    for (std::size_t n = 0; n < looked_at; ++n) {
        for (std::size_t i = 0; i < size; ++i) {
            const double exact = tensor.data()[i * samples + chosen[n]];
            difference += std::pow(made(n, i) - exact, 2);
            norm += std::pow(exact - fitted.mean(0, i), 2);
        }
    }
    return std::sqrt(difference / norm);
}

/// Gram matrices and products of the factor modes.
double fit_flops(const moden::extents& shape) {
    double flops = 0;
    for (std::size_t k = 1; k < shape.size(); ++k) {
        flops += 3 * static_cast<double>(moden::element_count(shape)) * static_cast<double>(shape[k]);
    }
    return flops;
}

template <class T>
void add_fit(const moden::extents& shape) {
    const std::string name = "tensor_model/fit/" + moden_bench::joined(shape, 'x') + "/" + moden_bench::type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto tensor = std::make_shared<dynamic_tensor<T>>(moden_bench::input<T>("tensor", shape));
        const std::size_t result_bytes = sizeof(T) * tensor->size();
        return moden_bench::figures_of(
            fit_flops(shape), static_cast<double>(sizeof(T) * tensor->size() + result_bytes), result_bytes,
            [=] { return moden::fit_tensor_model(cpu, *tensor, numbered_modes(shape), {.basis = moden::code_basis::none}); },
            [=](const model<T>& fitted) { return error_of_codes(*tensor, fitted); });
    });
}

template <class T>
void add_estimate(const moden::extents& shape, std::size_t count) {
    const std::string name = "tensor_model/estimate/" + moden_bench::joined(shape, 'x') + "/n" + std::to_string(count) + "/" + moden_bench::type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto folder = moden_bench::input_folder();
        moden::detail::require<moden::argument_error>(!folder.empty(), "MODEN_BENCH_INPUTS names no folder; run bench/compare");
        const auto fitted = std::make_shared<model<T>>();
        fitted->modes = numbered_modes(shape);
        fitted->decomposition.core = moden::io::load_npy<T>(folder / "core.npy");
        for (std::size_t n = 0; n < shape.size(); ++n) {
            fitted->decomposition.factors.push_back(moden::io::load_npy<T, 2>(folder / ("factor_" + std::to_string(n) + ".npy")));
        }
        fitted->mean = moden::tensor<T, 2>::from_shape({1, shape[0]});
        fitted->scale = moden::tensor<T, 2>::from_shape({1, shape[0]});
        std::fill(fitted->mean.begin(), fitted->mean.end(), T(0));
        std::fill(fitted->scale.begin(), fitted->scale.end(), T(1));
        const auto codes = std::make_shared<moden::tensor<T, 2>>(moden::io::load_npy<T, 2>(folder / "codes.npy"));
        const double weight = moden::io::load_npy<double>(folder / "weight.npy").data()[0];
        const auto reference = moden::io::load_npy<double>(folder / "objective.npy");
        const double target = std::accumulate(reference.begin(), reference.end(), 0.0);
        const moden::parameter_estimation_options options{.penalties = {{.ridge = 1e-3 * weight, .sum_to_one = weight}}, .tolerance = 1e-5};
        const auto trial = moden::estimate_parameters(cpu, *fitted, *codes, options);
        double iterations = 0;
        for (const std::size_t n : trial.iterations) {
            iterations += static_cast<double>(n);
        }
        const auto& core = fitted->decomposition.core;
        const double largest = static_cast<double>(*std::max_element(shape.begin() + 1, shape.end()));
        const double others = static_cast<double>(moden::element_count(shape)) / static_cast<double>(shape[0]) / largest;
        const double rows = static_cast<double>(core.shape()[0]);
        const double flops = iterations * (4 * static_cast<double>(core.size()) + 2 * rows * (largest * largest + others * others + largest * others)) +
                             static_cast<double>(count) * (4 * rows * static_cast<double>(shape[0]) + 2 * static_cast<double>(core.size()));
        return moden_bench::figures_of(
            flops, static_cast<double>(sizeof(T)) * static_cast<double>(core.size() + codes->size()), 0,
            [=] { return moden::estimate_parameters(cpu, *fitted, *codes, options); },
            [=](const auto& found) { return std::accumulate(found.objective.begin(), found.objective.end(), 0.0) / target - 1; });
    });
}

}  // namespace

int main(int argc, char** argv) {
    add_fit<float>({9216, 100, 25, 2});
    add_fit<float>({9216, 100, 6, 4, 2});
    for (const std::size_t count : {1U, 16U}) {
        add_estimate<float>({9216, 100, 25, 2}, count);
        add_estimate<float>({9216, 100, 6, 4, 2}, count);
    }
    return moden_bench::run(argc, argv);
}
