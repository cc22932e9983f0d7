#pragma once

// The stacked style-separated model: a tensor model of its own for every row of w+.

#include <cstddef>
#include <utility>
#include <vector>

#include <moden/editing/parameter_estimation.hpp>
#include <moden/editing/tensor_model.hpp>

namespace moden {

/// Tensor models of the S parts (styles) of codes, each with parameters of its own: S (I_1 + ... + I_M) of them.
template <class Tensor>
struct stacked_tensor_model {
    std::vector<tensor_model<Tensor>> styles;

    std::size_t style_size() const { return styles.front().code_size(); }
    std::size_t code_size() const { return styles.size() * style_size(); }
};

namespace detail {

/// Part s of codes that consist of parts of `size` entries: N x size.
template <class Policy, class T>
auto style_of(const Policy& policy, const tensor_view_of<Policy, T>& codes, std::size_t s, std::size_t size) {
    using space = typename Policy::memory_space;
    auto part = policy.template make_tensor<T, 2>({codes.shape[0], size});
    policy.template copy<T>(matrix_view<const T, space>{codes.data + s * size, codes.shape[0], size, codes.shape[1]},
                            row_major<T, space>(part.data(), codes.shape[0], size));
    return part;
}

}  // namespace detail

/// Fits one tensor model per style.
///
/// \param policy  where to compute
/// \param tensor  S L x I_1 x ... x I_M: codes that consist of S styles of L entries one after the other
/// \param styles  S
/// \param modes   name and levels of every factor mode
/// \param options as for fit_tensor_model; ranks, if given, are those of every style's model
/// \return        S models of codes of L entries
/// \throws shape_error if S does not divide the size of codes; and what fit_tensor_model throws
///
/// Cost: that of S fits of an S-th of the size; memory for one of them at a time.
/// Source: Paper I section III-C, Eq. 5.
/// \snippet tests/editing/directions.cpp stacked
template <execution_policy Policy, any_tensor Tensor>
auto fit_stacked_tensor_model(const Policy& policy, const Tensor& tensor, std::size_t styles, const std::vector<factor_mode>& modes,
                              const tensor_model_options& options = {}) {
    using T = value_type_of<Tensor>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::require<shape_error>(view.order() >= 2 && styles > 0 && view.shape[0] > 0 && view.shape[0] % styles == 0,
                                 "fit_stacked_tensor_model: ", styles, " styles of codes with ", view.order() == 0 ? 0 : view.shape[0],
                                 " entries (expected a divisor)");
    stacked_tensor_model<policy_tensor<Policy, T, order_of<Tensor>>> result;
    extents shape = view.shape;
    shape[0] /= styles;
    for (std::size_t s = 0; s < styles; ++s) {
        auto part = policy.template make_tensor<T, order_of<Tensor>>(shape);
        policy.copy(view.data + s * part.size(), part.data(), part.size());
        result.styles.push_back(fit_tensor_model(policy, part, modes, options));
    }
    return result;
}

template <any_tensor Tensor>
auto fit_stacked_tensor_model(const Tensor& tensor, std::size_t styles, const std::vector<factor_mode>& modes,
                              const tensor_model_options& options = {}) {
    return fit_stacked_tensor_model(cpu_policy{}, tensor, styles, modes, options);
}

/// The parameters of every style of some codes: estimate_parameters, style by style.
///
/// \param policy  where to compute
/// \param model   stacked model
/// \param codes   N x S L
/// \param options as for estimate_parameters
/// \return        one parameter_estimate per style; the residual of a code is the sum of its styles' residuals
/// \throws shape_error if codes are of another size than the model's; and what estimate_parameters throws
///
/// Cost: that of S estimations of an S-th of the size. Source: Paper I section IV-D.
template <execution_policy Policy, class Tensor, any_tensor Codes>
auto estimate_parameters(const Policy& policy, const stacked_tensor_model<Tensor>& model, const Codes& codes,
                         const parameter_estimation_options& options = {}) {
    using T = value_type_of<Tensor>;
    const auto argument = detail::evaluate(policy, codes);
    const auto& view = argument.view();
    detail::require<shape_error>(view.order() == 2 && view.shape[1] == model.code_size(), "estimate_parameters: codes of ", view.shape,
                                 " for a stacked model of codes with ", model.code_size(), " entries");
    std::vector<parameter_estimate<policy_tensor<Policy, T, 2>>> result;
    for (std::size_t s = 0; s < model.styles.size(); ++s) {
        result.push_back(estimate_parameters(policy, model.styles[s], detail::style_of<Policy, T>(policy, view, s, model.style_size()), options));
    }
    return result;
}

template <class Tensor, any_tensor Codes>
auto estimate_parameters(const stacked_tensor_model<Tensor>& model, const Codes& codes, const parameter_estimation_options& options = {}) {
    return estimate_parameters(cpu_policy{}, model, codes, options);
}

/// Codes from canonical parameters, the same for every style or one set per style.
///
/// \param policy     where to compute
/// \param model      stacked model
/// \param parameters per style, per factor mode an N x I_k matrix; or one such set for all styles
/// \return           N x S L
/// \throws shape_error if the number of sets is neither 1 nor S, or extents do not fit
///
/// Cost: that of synthesize_codes for every style. Source: Paper I section III-C.
template <execution_policy Policy, class Tensor, any_tensor Matrix>
auto synthesize_codes(const Policy& policy, const stacked_tensor_model<Tensor>& model,
                      const std::vector<std::vector<Matrix>>& parameters) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    const std::size_t size = model.style_size();
    detail::require<shape_error>(parameters.size() == 1 || parameters.size() == model.styles.size(), "synthesize_codes: ",
                                 parameters.size(), " sets of parameters for ", model.styles.size(), " styles (expected 1 or ",
                                 model.styles.size(), ")");
    policy_tensor<Policy, T, 2> codes;
    for (std::size_t s = 0; s < model.styles.size(); ++s) {
        const auto part = synthesize_codes(policy, model.styles[s], parameters[parameters.size() == 1 ? 0 : s]);
        const std::size_t count = part.shape()[0];
        if (s == 0) {
            codes = policy.template make_tensor<T, 2>({count, model.code_size()});
        }
        detail::require<shape_error>(codes.shape()[0] == count, "synthesize_codes: parameters of ", count, " codes for style ", s,
                                     " and of ", codes.shape()[0], " for style 0");
        policy.template copy<T>(row_major<const T, space>(part.data(), count, size),
                                matrix_view<T, space>{codes.data() + s * size, count, size, model.code_size()});
    }
    return codes;
}

template <class Tensor, any_tensor Matrix>
auto synthesize_codes(const stacked_tensor_model<Tensor>& model, const std::vector<std::vector<Matrix>>& parameters) {
    return synthesize_codes(cpu_policy{}, model, parameters);
}

}  // namespace moden
