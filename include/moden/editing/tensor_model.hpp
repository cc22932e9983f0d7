#pragma once

// Tensor models of latent codes: a structured set of codes (code x person x expression x ...) factorised so that every
// factor of variation has parameters of its own.

#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/editing/detail/code_normalization.hpp>
#include <moden/editing/detail/model_synthesis.hpp>
#include <moden/editing/factor_mode.hpp>
#include <moden/multilinear/complete.hpp>
#include <moden/multilinear/hosvd.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Which basis codes have in a model.
enum class code_basis {
    singular_vectors,  ///< those of the code mode, U_0: a core of R_0 rows, small where codes are truncated
    none               ///< no U_0: the core has a row per entry of a code. Much faster to fit where nothing is truncated
};

/// A multilinear model of codes,
///
///     code = mean + scale * (U_0 S) x_1 q_1' x_2 q_2' ... ,    q_k = U_k' q'_k.
///
/// The canonical parameters q'_k have one entry per level of mode k: the k-th unit vector stands for that level. The
/// subspace parameters q_k have one entry per column of U_k.
template <class Tensor>
struct tensor_model {
    using value_type = value_type_of<Tensor>;
    using matrix_type = factor_of<Tensor>;

    std::vector<factor_mode> modes;      ///< of modes 1, 2, ... of the data
    matrix_type mean;                    ///< 1 x D
    matrix_type scale;                   ///< 1 x D; ones where codes were only centred
    hosvd_result<Tensor> decomposition;  ///< core S, factors U_0 (D x R_0; 0 x 0 with code_basis::none) and U_k (I_k x R_k)

    std::size_t code_size() const { return mean.shape()[1]; }
    std::size_t level_count(std::size_t k) const { return decomposition.factors[k + 1].shape()[0]; }
    std::size_t rank(std::size_t k) const { return decomposition.factors[k + 1].shape()[1]; }
};

/// The model that a policy fits to a tensor of order N.
template <class Policy, class T, std::size_t N>
using policy_tensor_model = tensor_model<policy_tensor<Policy, T, N>>;

/// Options of fit_tensor_model.
struct tensor_model_options {
    code_scaling scaling = code_scaling::centered;
    code_basis basis = code_basis::singular_vectors;
    /// How the centred tensor is factorised, by st_hosvd; ranks are those of the code mode and of every factor mode. Default:
    /// nothing is truncated. With code_basis::none the rank of the code mode is D, and neither a mode order nor
    /// error_measure::residual can be given.
    hosvd_options hosvd = {};
};

namespace detail {

/// A model without its decomposition, and the codes as it sees them.
template <class Policy, class Tensor, class T>
std::pair<tensor_model<Tensor>, Tensor> normalize_codes(const Policy& policy, const T* data, const extents& shape,
                                                        const T* observed, std::vector<factor_mode> modes,
                                                        code_scaling scaling) {
    const std::size_t size = shape[0];
    const std::size_t samples = element_count(shape) / size;
    tensor_model<Tensor> model{std::move(modes), policy.template make_tensor<T, 2>({1, size}),
                               policy.template make_tensor<T, 2>({1, size}), {}};
    auto codes = policy.template make_tensor<T, order_of<Tensor>>(shape);
    policy.transform(size,
                     normalize_variable<T>{data, observed, samples, scaling, model.mean.data(), model.scale.data(), codes.data()},
                     samples);
    return {std::move(model), std::move(codes)};
}

/// HOSVD of the factor modes alone, of codes as the model sees them; the core has a row per entry of a code.
template <class Policy, class Tensor>
hosvd_result<Tensor> factorize_without_basis(const Policy& policy, const Tensor& codes, const hosvd_options& options) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    const extents shape = shape_of(codes);
    check_hosvd_options(options, shape, "fit_tensor_model");
    require<argument_error>(options.mode_order.empty() && options.error.value_or(error_measure::spectrum) == error_measure::spectrum,
                            "fit_tensor_model: a mode order and error_measure::residual go with code_basis::singular_vectors");
    require<argument_error>(options.ranks.empty() || options.ranks[0] == shape[0], "fit_tensor_model: rank ",
                            options.ranks.empty() ? 0 : options.ranks[0], " of the code mode without a basis of codes (expected ", shape[0], ")");
    std::vector<std::size_t> factor_modes(shape.size() - 1);
    std::iota(factor_modes.begin(), factor_modes.end(), std::size_t{1});
    const double energy = checked_energy(policy, codes.data(), codes.size(), "fit_tensor_model");
    hosvd_result<Tensor> result;
    truncate_modes<Policy, T, space>(policy, {codes.data(), shape}, factor_modes, energy, options, "fit_tensor_model", result);
    result.factors[0] = policy.template make_tensor<T, 2>({0, 0});
    result.modes[0].rank = shape[0];
    result.relative_error = result.error_bound;
    return result;
}

template <class Policy, class Tensor>
hosvd_result<Tensor> factorize_codes(const Policy& policy, const Tensor& codes, const tensor_model_options& options) {
    return options.basis == code_basis::none ? factorize_without_basis(policy, codes, options.hosvd) : st_hosvd(policy, codes, options.hosvd);
}

}  // namespace detail

/// Fits a tensor model to a complete structured set of codes.
///
/// \param policy  where to compute
/// \param tensor  D x I_1 x ... x I_M: codes of every combination of levels, finite
/// \param modes   name and levels of every factor mode
/// \param options centring or standardising, truncation
/// \return        the model; decomposition.modes has the singular values of every mode, decomposition.relative_error what
///                truncation lost of the centred (standardised) codes
/// \throws shape_error if names and extents disagree or the tensor is empty; argument_error for a name twice, NaN or infinity,
///         and whatever st_hosvd refuses
///
/// Cost: one pass for the means and that of st_hosvd; memory for one copy of the tensor and that of st_hosvd. With
/// code_basis::none sum_{k > 0} 3 I_k prod(I) flops: no singular vectors of the longest mode. Estimating parameters then costs D / R_0
/// times as much per code.
/// Source: 001 Eqs. 3.13-3.15; Paper I Eqs. 1-3; Paper II Eqs. 1-3.
/// \snippet tests/editing/tensor_model.cpp fit_tensor_model
template <execution_policy Policy, any_tensor Tensor>
auto fit_tensor_model(const Policy& policy, const Tensor& tensor, std::vector<factor_mode> modes,
                      const tensor_model_options& options = {}) {
    using T = value_type_of<Tensor>;
    using result_tensor = policy_tensor<Policy, T, order_of<Tensor>>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::check_model_data(view.shape, modes);
    detail::require_finite(policy, view.data, view.size(), "fit_tensor_model", "the tensor");
    auto [model, codes] = detail::normalize_codes<Policy, result_tensor, T>(policy, view.data, view.shape, nullptr,
                                                                            std::move(modes), options.scaling);
    model.decomposition = detail::factorize_codes(policy, codes, options);
    return std::move(model);
}

template <any_tensor Tensor>
auto fit_tensor_model(const Tensor& tensor, std::vector<factor_mode> modes, const tensor_model_options& options = {}) {
    return fit_tensor_model(cpu_policy{}, tensor, std::move(modes), options);
}

/// Fits a tensor model to a structured set in which some combinations of levels are missing. They are filled in by `complete`,
/// with a Tucker tensor of given ranks that is fitted to the others.
///
/// \param policy     where to compute
/// \param tensor     D x I_1 x ... x I_M; codes that are missing may hold anything, NaN too
/// \param observed   I_1 x ... x I_M, nonzero where there is a code
/// \param modes      name and levels of every factor mode
/// \param completion ranks of the completing tensor (required), of the code mode first; tolerance, progress
/// \param options    as for a complete set
/// \return           the model of the completed set; `mean` and `scale` are those of the observed codes
/// \throws error as for a complete set; shape_error if the mask has other extents; argument_error if a level has no code
///         at all, which names it
///
/// Cost: that of complete and of the fit; memory for two copies of the tensor, and that of complete.
/// Source: the limitation that 001 section 7.2 names; Filipovic & Jukic 2015 for the completion.
/// \snippet tests/editing/tensor_model.cpp incomplete
template <execution_policy Policy, any_tensor Tensor, any_tensor Mask>
auto fit_tensor_model(const Policy& policy, const Tensor& tensor, const Mask& observed, std::vector<factor_mode> modes,
                      const completion_options& completion, const tensor_model_options& options = {}) {
    using T = value_type_of<Tensor>;
    using result_tensor = policy_tensor<Policy, T, order_of<Tensor>>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto mask = detail::evaluate_as<T>(policy, observed);
    const auto& view = argument.view();
    detail::check_model_data(view.shape, modes);
    detail::require<shape_error>(mask.view().shape == extents(view.shape.begin() + 1, view.shape.end()),
                                 "fit_tensor_model: a mask of ", mask.view().shape, " for codes of ", view.shape,
                                 " (expected an entry per combination of levels)");
    detail::check_all_levels_observed(policy, mask.view(), modes);
    const std::size_t samples = mask.view().size();
    auto [model, codes] = detail::normalize_codes<Policy, result_tensor, T>(policy, view.data, view.shape, mask.view().data,
                                                                            std::move(modes), options.scaling);
    detail::require_finite(policy, codes.data(), view.size(), "fit_tensor_model", "the tensor of observed codes");
    auto everywhere = policy.template make_tensor<T, order_of<Tensor>>(view.shape);
    policy.transform(view.size(), detail::repeat_row<T>{mask.view().data, samples, everywhere.data()});
    const auto filled = complete(policy, codes, everywhere, completion);
    model.decomposition = detail::factorize_codes(policy, filled.completed, options);
    return std::move(model);
}

template <any_tensor Tensor, any_tensor Mask>
auto fit_tensor_model(const Tensor& tensor, const Mask& observed, std::vector<factor_mode> modes,
                      const completion_options& completion, const tensor_model_options& options = {}) {
    return fit_tensor_model(cpu_policy{}, tensor, observed, std::move(modes), completion, options);
}

/// Codes from parameter vectors, one vector per factor mode and code.
///
/// \param policy     where to compute
/// \param model      tensor model
/// \param parameters one matrix per factor mode: N x I_k (canonical) or N x R_k (subspace); row n is q'_k or q_k of code n
/// \param basis      which of the two
/// \return           N x D
/// \throws shape_error if the number of matrices or their extents do not fit the model
///
/// Cost: 2 N (|S| + R_0 D) flops with |S| = R_0 R_1 ... R_M, memory for N R_1 ... R_M numbers.
/// Source: 001 Eq. 3.15; Paper I Eqs. 2, 3; Paper II Eqs. 2, 3.
/// \snippet tests/editing/tensor_model.cpp synthesize
template <execution_policy Policy, class Tensor, any_tensor Matrix>
auto synthesize_codes(const Policy& policy, const tensor_model<Tensor>& model, const std::vector<Matrix>& parameters,
                      parameter_basis basis = parameter_basis::canonical) {
    using T = value_type_of<Tensor>;
    const auto rows = detail::subspace_rows<Policy, T>(policy, model, parameters, basis, "synthesize_codes");
    const auto products = detail::outer_products<Policy, T>(policy, rows);
    auto codes = policy.template make_tensor<T, 2>({rows.count, model.code_size()});
    detail::codes_of_products<Policy, T>(policy, model, products.data(), rows.count, codes.data());
    return codes;
}

template <class Tensor, any_tensor Matrix>
auto synthesize_codes(const tensor_model<Tensor>& model, const std::vector<Matrix>& parameters,
                      parameter_basis basis = parameter_basis::canonical) {
    return synthesize_codes(cpu_policy{}, model, parameters, basis);
}

/// Codes from parameter tensors of full rank, code = mean + scale * U_0 S_(0) vec(Q), in subspace coordinates.
///
/// \param policy     where to compute
/// \param model      tensor model
/// \param parameters N x R_1 x ... x R_M
/// \return           N x D
/// \throws shape_error if the extents do not fit the model
///
/// Cost: 2 N (|S| + R_0 D) flops.
/// Source: Paper I Eq. 4; Paper II Eqs. 7, 8.
/// \snippet tests/editing/parameters.cpp parameter_tensor
template <execution_policy Policy, class Tensor, any_tensor Parameters>
auto synthesize_codes(const Policy& policy, const tensor_model<Tensor>& model, const Parameters& parameters) {
    using T = value_type_of<Tensor>;
    static_assert(std::is_same_v<T, value_type_of<Parameters>>, "moden: parameters and model hold different types");
    const auto argument = detail::evaluate(policy, parameters);
    extents expected = detail::shape_of(model.decomposition.core);
    const extents& shape = argument.view().shape;
    detail::require<shape_error>(shape.size() == expected.size(), "synthesize_codes: a parameter tensor of order ", shape.size(),
                                 " for ", model.modes.size(), " factor modes (expected N x one extent per mode)");
    expected[0] = shape[0];
    detail::require<shape_error>(shape == expected, "synthesize_codes: parameters of ", shape, " (expected ", expected, ")");
    auto codes = policy.template make_tensor<T, 2>({shape[0], model.code_size()});
    detail::codes_of_products<Policy, T>(policy, model, argument.view().data, shape[0], codes.data());
    return codes;
}

template <class Tensor, any_tensor Parameters>
auto synthesize_codes(const tensor_model<Tensor>& model, const Parameters& parameters) {
    return synthesize_codes(cpu_policy{}, model, parameters);
}

/// The parameters q'_k of some levels, as rows: unit vectors.
///
/// \param policy where to compute
/// \param model  tensor model
/// \param mode   name of the mode
/// \param levels names of the levels, one per code
/// \return       N x I_k
/// \throws argument_error if there is no such mode or level
template <execution_policy Policy, class Tensor>
auto level_parameters(const Policy& policy, const tensor_model<Tensor>& model, std::string_view mode,
                      const std::vector<std::string>& levels) {
    using T = value_type_of<Tensor>;
    const factor_mode& names = model.modes[index_of_mode(model.modes, mode)];
    std::vector<T> rows(levels.size() * names.levels.size(), T(0));
    for (std::size_t n = 0; n < levels.size(); ++n) {
        rows[n * names.levels.size() + index_of_level(names, levels[n])] = T(1);
    }
    auto result = policy.template make_tensor<T, 2>({levels.size(), names.levels.size()});
    policy.upload(rows.data(), result.data(), rows.size());
    return result;
}

template <class Tensor>
auto level_parameters(const tensor_model<Tensor>& model, std::string_view mode, const std::vector<std::string>& levels) {
    return level_parameters(cpu_policy{}, model, mode, levels);
}

/// The parameters q'_k that average over a mode: 1 / I_k everywhere.
///
/// \param policy where to compute
/// \param model  tensor model
/// \param mode   name of the mode
/// \param count  N, how many rows
/// \return       N x I_k
/// \throws argument_error if there is no such mode
template <execution_policy Policy, class Tensor>
auto mean_parameters(const Policy& policy, const tensor_model<Tensor>& model, std::string_view mode, std::size_t count = 1) {
    using T = value_type_of<Tensor>;
    const std::size_t levels = model.level_count(index_of_mode(model.modes, mode));
    auto result = policy.template make_tensor<T, 2>({count, levels});
    policy.transform(result.size(), detail::fill_with<T>{result.data(), T(1) / static_cast<T>(levels)});
    return result;
}

template <class Tensor>
auto mean_parameters(const tensor_model<Tensor>& model, std::string_view mode, std::size_t count = 1) {
    return mean_parameters(cpu_policy{}, model, mode, count);
}

/// The same model with fewer columns of one factor: its leading ones. With rank 1 for the intensity mode this is Paper II's
/// truncated core, in which the intensity of an expression is a single number.
///
/// \param policy where to compute
/// \param model  tensor model
/// \param mode   name of the mode
/// \param rank   columns to keep, 1 to those there are
/// \throws argument_error if there is no such mode or the rank is out of range
///
/// What the further columns explained is added to that mode's discarded_energy; relative_error stays that of the fit.
///
/// Cost: a copy of the model. Source: 001 section 3.3; Paper II Eqs. 9, 10.
/// \snippet tests/editing/tensor_model.cpp truncate_mode
template <execution_policy Policy, class Tensor>
tensor_model<Tensor> truncate_mode(const Policy& policy, const tensor_model<Tensor>& model, std::string_view mode, std::size_t rank) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    const std::size_t k = index_of_mode(model.modes, mode);
    const std::size_t columns = model.rank(k);
    detail::require<argument_error>(rank >= 1 && rank <= columns, "truncate_mode: rank ", rank, " for mode '", mode,
                                    "' (expected 1 to ", columns, ")");
    const auto leading = [&](const auto& matrix, std::size_t width) {
        const std::size_t rows = matrix.shape()[0];
        auto copy = policy.template make_tensor<T, 2>({rows, width});
        policy.template copy<T>(matrix_view<const T, space>{matrix.data(), rows, width, matrix.shape()[1]},
                                row_major<T, space>(copy.data(), rows, width));
        return copy;
    };
    const std::size_t size = model.code_size();
    tensor_model<Tensor> result{model.modes, leading(model.mean, size), leading(model.scale, size), {}};
    for (std::size_t n = 0; n < model.decomposition.factors.size(); ++n) {
        const auto& factor = model.decomposition.factors[n];
        result.decomposition.factors.push_back(leading(factor, n == k + 1 ? rank : factor.shape()[1]));
    }
    result.decomposition.modes = model.decomposition.modes;
    result.decomposition.relative_error = model.decomposition.relative_error;
    result.decomposition.error_bound = model.decomposition.error_bound;
    extents shape = detail::shape_of(model.decomposition.core);
    const mode_geometry geometry = geometry_of(shape, k + 1);
    shape[k + 1] = rank;
    result.decomposition.core = policy.template make_tensor<T, order_of<Tensor>>(shape);
    // Slabs are rows of extent * inner elements, of which the first rank * inner stay.
    policy.template copy<T>(
        matrix_view<const T, space>{model.decomposition.core.data(), geometry.slabs, rank * geometry.columns, columns * geometry.columns},
        row_major<T, space>(result.decomposition.core.data(), geometry.slabs, rank * geometry.columns));
    auto& report = result.decomposition.modes[k + 1];
    report.rank = rank;
    for (std::size_t i = rank; i < std::min(columns, report.singular_values.size()); ++i) {
        report.discarded_energy += std::pow(static_cast<double>(report.singular_values[i]), 2);
    }
    return result;
}

template <class Tensor>
tensor_model<Tensor> truncate_mode(const tensor_model<Tensor>& model, std::string_view mode, std::size_t rank) {
    return truncate_mode(cpu_policy{}, model, mode, rank);
}

}  // namespace moden
