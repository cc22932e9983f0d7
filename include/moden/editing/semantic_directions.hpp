#pragma once

// Editing directions that a tensor model knows by name: one per expression, from one view to another, and what makes one
// code's expression another's.

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moden/editing/tensor_model.hpp>

namespace moden {

/// Options of level_directions and difference_direction.
struct semantic_direction_options {
    /// A mode to be truncated to its leading column, whose parameter is then a single number: 1 in a direction. For
    /// expressions, the mode of their intensities. Empty: none; all other modes are averaged over.
    std::string truncated_mode = {};
};

namespace detail {

/// Differences of codes, N x D, for canonical rows of one mode (N x I_k); averages over all other modes, or 1 for the leading
/// column of the truncated one.
template <class Policy, class Tensor, class T>
auto directions_of(const Policy& policy, const tensor_model<Tensor>& model, std::size_t mode, const std::vector<T>& rows,
                   const semantic_direction_options& options) {
    const std::size_t count = rows.size() / model.level_count(mode);
    const bool truncates = !options.truncated_mode.empty();
    const std::size_t truncated = truncates ? index_of_mode(model.modes, options.truncated_mode) : model.modes.size();
    require<argument_error>(truncated != mode, "directions of mode '", model.modes[mode].name, "' with that mode truncated (expected another one)");
    std::vector<policy_tensor<Policy, T, 2>> parameters;
    for (std::size_t k = 0; k < model.modes.size(); ++k) {
        auto given = policy.template make_tensor<T, 2>({count, model.level_count(k)});
        if (k == mode) {
            policy.upload(rows.data(), given.data(), rows.size());
        } else {
            policy.transform(given.size(), fill_with<T>{given.data(), T(1) / static_cast<T>(model.level_count(k))});
        }
        parameters.push_back(std::move(given));
    }
    const auto synthesize = [&](const tensor_model<Tensor>& from) {
        auto subspace = subspace_rows<Policy, T>(policy, from, parameters, parameter_basis::canonical, "directions");
        if (truncates) {
            policy.transform(count, fill_with<T>{subspace.rows[truncated].data(), T(1)});
        }
        const auto products = outer_products<Policy, T>(policy, subspace);
        auto directions = policy.template make_tensor<T, 2>({count, from.code_size()});
        codes_of_products<Policy, T>(policy, from, products.data(), count, directions.data(), code_origin::zero);
        return directions;
    };
    return truncates ? synthesize(truncate_mode(policy, model, options.truncated_mode, 1)) : synthesize(model);
}

}  // namespace detail

/// One direction per level of a mode, n = scale * (C x q_level x means): what a code gains where a factor has that level, on
/// average over all other factors.
///
/// With the intensity mode truncated, q_4 n with q_4 = 1 stands for the leading column's unit: an average code of that level
/// has q_4 = the mean of the column, 1 / sqrt(I) when intensities hardly differ.
///
/// \param policy  where to compute
/// \param model   tensor model
/// \param mode    name of the mode
/// \param options a mode to truncate
/// \return        I_k x D, in units of codes; edit_codes adds multiples of a row
/// \throws argument_error if there is no such mode, or it is the truncated one
///
/// Cost: that of synthesize_codes for I_k codes, and a truncated copy of the model.
/// Source: 001 Eq. 3.16; Paper II Eqs. 13-15.
/// \snippet tests/editing/directions.cpp level_directions
template <execution_policy Policy, class Tensor>
auto level_directions(const Policy& policy, const tensor_model<Tensor>& model, std::string_view mode,
                      const semantic_direction_options& options = {}) {
    using T = value_type_of<Tensor>;
    const std::size_t k = index_of_mode(model.modes, mode);
    const std::size_t levels = model.level_count(k);
    std::vector<T> rows(levels * levels, T(0));
    for (std::size_t i = 0; i < levels; ++i) {
        rows[i * levels + i] = T(1);
    }
    return detail::directions_of<Policy, Tensor, T>(policy, model, k, rows, options);
}

template <class Tensor>
auto level_directions(const tensor_model<Tensor>& model, std::string_view mode, const semantic_direction_options& options = {}) {
    return level_directions(cpu_policy{}, model, mode, options);
}

/// The direction from one level of a mode to another, n = scale * (C x (q_to - q_from) / sqrt(2) x means): rotation, from a
/// view to the opposite one.
///
/// \param policy  where to compute
/// \param model   tensor model
/// \param mode    name of the mode
/// \param from    name of the level that lies at negative strengths
/// \param to      name of the level that lies at positive strengths
/// \param options a mode to truncate
/// \return        1 x D, in units of codes
/// \throws argument_error if there is no such mode or level
///
/// Cost: that of synthesize_codes for one code, and a truncated copy of the model.
/// Source: Paper II Eqs. 16-18; with `from` and `to` exchanged, Eq. 16 as printed.
/// \snippet tests/editing/directions.cpp difference_direction
template <execution_policy Policy, class Tensor>
auto difference_direction(const Policy& policy, const tensor_model<Tensor>& model, std::string_view mode, std::string_view from,
                          std::string_view to, const semantic_direction_options& options = {}) {
    using T = value_type_of<Tensor>;
    const std::size_t k = index_of_mode(model.modes, mode);
    std::vector<T> row(model.level_count(k), T(0));
    row[index_of_level(model.modes[k], to)] += static_cast<T>(std::sqrt(0.5));
    row[index_of_level(model.modes[k], from)] -= static_cast<T>(std::sqrt(0.5));
    return detail::directions_of<Policy, Tensor, T>(policy, model, k, row, options);
}

template <class Tensor>
auto difference_direction(const tensor_model<Tensor>& model, std::string_view mode, std::string_view from, std::string_view to,
                          const semantic_direction_options& options = {}) {
    return difference_direction(cpu_policy{}, model, mode, from, to, options);
}

/// Codes with the parameters of one mode exchanged: code + code^(new parameters) - code^(old parameters). What the model does
/// not explain of a code stays.
///
/// \param policy      where to compute
/// \param model       tensor model
/// \param codes       N x D
/// \param parameters  canonical parameters of the codes, from estimate_parameters
/// \param mode        name of the mode
/// \param replacement N x I_k: its new canonical parameters; those of other codes, or level_parameters
/// \return            N x D
/// \throws shape_error if extents do not fit; argument_error if there is no such mode, or for NaN or infinity
///
/// Cost: twice that of synthesize_codes.
/// Source: Paper I section IV-F and Eqs. 13, 14 (where what the model does not explain is dropped: synthesize_codes).
/// \snippet tests/editing/directions.cpp transfer_factor
template <execution_policy Policy, class Tensor, any_tensor Codes, any_tensor Matrix, any_tensor Replacement>
auto transfer_factor(const Policy& policy, const tensor_model<Tensor>& model, const Codes& codes, const std::vector<Matrix>& parameters,
                     std::string_view mode, const Replacement& replacement) {
    using T = value_type_of<Tensor>;
    const std::size_t k = index_of_mode(model.modes, mode);
    const auto argument = detail::evaluate(policy, codes);
    const auto row = detail::evaluate(policy, replacement);
    const auto& view = argument.view();
    detail::require<shape_error>(view.order() == 2 && view.shape[1] == model.code_size(), "transfer_factor: codes of ", view.shape,
                                 " for a model of codes with ", model.code_size(), " entries");
    const extents expected{view.shape[0], model.level_count(k)};
    detail::require<shape_error>(row.view().shape == expected, "transfer_factor: new parameters of ", row.view().shape, " for mode '",
                                 mode, "' (expected ", expected, ")");
    auto before = detail::subspace_rows<Policy, T>(policy, model, parameters, parameter_basis::canonical, "transfer_factor");
    detail::require<shape_error>(before.count == view.shape[0], "transfer_factor: parameters of ", before.count, " codes for ",
                                 view.shape[0], " codes");
    // The difference is linear in the parameters of that mode: one synthesis of q_new - q_old.
    using space = typename Policy::memory_space;
    const auto basis = detail::dense_view<Policy, T>(policy, model.decomposition.factors[k + 1]);
    if (before.count > 0) {
        policy.template gemm<T>(T(1), row_major<const T, space>(row.view().data, before.count, expected[1]), basis, T(-1),
                                row_major<T, space>(before.rows[k].data(), before.count, basis.columns));
    }
    const auto products = detail::outer_products<Policy, T>(policy, before);
    auto result = policy.template make_tensor<T, 2>({before.count, model.code_size()});
    detail::codes_of_products<Policy, T>(policy, model, products.data(), before.count, result.data(), detail::code_origin::zero);
    policy.transform(result.size(), detail::add_to<T>{view.data, result.data()});
    return result;
}

template <class Tensor, any_tensor Codes, any_tensor Matrix, any_tensor Replacement>
auto transfer_factor(const tensor_model<Tensor>& model, const Codes& codes, const std::vector<Matrix>& parameters, std::string_view mode,
                     const Replacement& replacement) {
    return transfer_factor(cpu_policy{}, model, codes, parameters, mode, replacement);
}

}  // namespace moden
