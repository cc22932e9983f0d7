#pragma once

// The higher-order singular value decomposition, plain and sequentially truncated.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <moden/core/tensor_traits.hpp>
#include <moden/multilinear/detail/mode_order.hpp>
#include <moden/multilinear/detail/mode_svd.hpp>
#include <moden/multilinear/options.hpp>
#include <moden/multilinear/tucker.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Whether an iteration ran to its end.
enum class completion { finished, stopped_by_callback };

/// A Tucker decomposition with what is known about it. Is a tucker_tensor: `core`, `factors`.
template <class Tensor>
struct hosvd_result : tucker_tensor<Tensor> {
    std::vector<mode_report<value_type_of<Tensor>>> modes;  ///< rank, method, singular values of every mode
    double relative_error = 0;                              ///< |X - X^| / |X|, as hosvd_options::error says
    /// sqrt(sum over modes of the discarded squared singular values) / |X|, the bound of 001 Eq. 3.9. For st_hosvd the
    /// bound is the error itself.
    double error_bound = 0;
};

namespace detail {

inline void check_hosvd_options(const hosvd_options& options, const extents& shape, const char* function) {
    require<shape_error>(!shape.empty(), function, ": the tensor has order 0 (expected at least one mode)");
    require<shape_error>(element_count(shape) > 0, function, ": the tensor of ", shape, " is empty");
    require<shape_error>(options.ranks.empty() || options.ranks.size() == shape.size(), function, ": ", options.ranks.size(),
                         " ranks for a tensor of order ", shape.size());
    for (std::size_t n = 0; n < options.ranks.size(); ++n) {
        require<argument_error>(options.ranks[n] >= 1 && options.ranks[n] <= shape[n], function, ": rank ", options.ranks[n],
                                " for mode ", n, " (expected 1 to ", shape[n], ")");
    }
    require<argument_error>(!(options.tolerance && options.energy), function, ": both a tolerance and an energy (expected one)");
    require<argument_error>(!options.tolerance || (*options.tolerance > 0 && *options.tolerance < 1), function,
                            ": tolerance ", options.tolerance.value_or(0), " (expected a value in (0, 1))");
    require<argument_error>(!options.energy || (*options.energy > 0 && *options.energy <= 1), function, ": energy ",
                            options.energy.value_or(0), " (expected a value in (0, 1])");
    require<argument_error>(options.method != svd_method::randomized || !options.ranks.empty(), function,
                            ": svd_method::randomized needs ranks");
    require<argument_error>(options.oversampling <= 1000000 && options.power_iterations <= 1000, function, ": oversampling ",
                            options.oversampling, " and power_iterations ", options.power_iterations,
                            " (expected at most 1000000 and 1000)");
}

/// What may be discarded in the next mode: an equal share of what is left of the tolerance, or the mode's own budget.
inline truncation mode_truncation(const hosvd_options& options, std::size_t mode, const mode_geometry& geometry,
                                  double energy, double spent, std::size_t modes_left) {
    truncation wanted{std::min(geometry.extent, geometry.fibers())};
    if (!options.ranks.empty()) {
        wanted.largest_rank = std::min(wanted.largest_rank, options.ranks[mode]);
    }
    if (options.tolerance) {
        const double budget = *options.tolerance * *options.tolerance * energy;
        wanted.budget = std::max(0.0, budget - spent) / static_cast<double>(modes_left);
    } else if (options.energy) {
        wanted.budget = (1 - *options.energy) * energy;
    }
    return wanted;
}

/// |X|^2 where the first mode treated needs it, after a check that everything is finite; otherwise nothing, and the spectrum
/// of that mode says both.
template <class Policy, class T>
std::optional<double> energy_in_advance(const Policy& policy, const T* tensor, const extents& shape, std::size_t first_mode,
                                        const hosvd_options& options, const char* function) {
    const mode_geometry geometry = geometry_of(shape, first_mode);
    const truncation wanted = mode_truncation(options, first_mode, geometry, 0, 0, shape.size());
    if (wanted.budget < 0 &&
        starting_method<T>(geometry.extent, geometry.fibers(), wanted, 0, options) == svd_method::gram) {
        return std::nullopt;
    }
    return checked_energy(policy, tensor, element_count(shape), function);
}

inline double relative(double squared_error, double energy) {
    return squared_error <= 0 ? 0 : std::sqrt(squared_error / energy);
}

/// The steps of a sequentially truncated HOSVD: each mode of `order` in turn is projected onto its leading singular vectors.
/// Sets core, factors and reports of these modes, and the error bound; other modes stay as they are, without a factor.
///
/// \param known  |X|^2 where it has been computed already
template <class Policy, class T, class Space, class Tensor>
void truncate_modes(const Policy& policy, const tensor_view<const T, Space>& tensor, const std::vector<std::size_t>& order,
                    std::optional<double> known, const hosvd_options& options, const char* function, hosvd_result<Tensor>& result) {
    result.factors.resize(tensor.order());
    result.modes.resize(tensor.order());
    extents shape = tensor.shape;
    const T* current = tensor.data;
    buffer_of<Policy, T> held;
    double discarded = 0;
    for (std::size_t step = 0; step < order.size(); ++step) {
        require<argument_error>(!options.progress || options.progress(step, order.size()), function,
                                ": stopped by the progress callback before step ", step);
        const std::size_t mode = order[step];
        const mode_geometry geometry = geometry_of(shape, mode);
        const double before = known.value_or(0);
        const auto wanted = mode_truncation(options, mode, geometry, before, discarded, order.size() - step);
        auto basis = compute_mode_basis<Policy, T, Space>(policy, current, geometry, wanted, std::max(0.0, before - discarded),
                                                          options, function);
        known = known.value_or(tail_energy(basis.report.singular_values, 0));
        discarded += basis.report.discarded_energy;
        const auto projection = transposed(row_major<const T, Space>(basis.factor.data(), geometry.extent, basis.report.rank));
        shape[mode] = basis.report.rank;
        if (step + 1 == order.size()) {
            result.core = policy.template make_tensor<T, order_of<Tensor>>(shape);
            mode_product_into<Policy, T, Space>(policy, current, geometry, projection, result.core.data());
        } else {
            auto next = policy.template allocate<T>(element_count(shape));
            mode_product_into<Policy, T, Space>(policy, current, geometry, projection, next.data());
            held = std::move(next);
            current = held.data();
        }
        result.factors[mode] = std::move(basis.factor);
        result.modes[mode] = std::move(basis.report);
    }
    result.error_bound = relative(discarded, known.value_or(0));
}

}  // namespace detail

/// Higher-order singular value decomposition, X ~ G x_0 U_0 x_1 U_1 ...: U_n holds the leading left singular vectors of
/// the mode-n unfolding of X itself, and G = X x_0 U_0' x_1 U_1' ...
///
/// Without ranks, tolerance or energy this is the exact decomposition with thin factors (I_n x min(I_n, prod_{k != n} I_k)).
/// Prefer st_hosvd for truncation: it costs less and approximates about as well.
///
/// \param policy  where to compute; see policy/cpu.hpp, policy/cuda.hpp
/// \param tensor  I_0 x ... x I_{N-1}, N >= 1, finite
/// \param options truncation, method, error measure, progress
/// \return        core R_0 x ... x R_{N-1}, factors I_n x R_n with orthonormal columns, report per mode, error and bound
/// \throws shape_error if the tensor is empty or of order 0, or the number of ranks is not N
/// \throws argument_error if a rank is 0 or above the extent, tolerance or energy are out of range or both given, the
///         tensor holds NaN or infinity, its squared norm is outside the range of double (with svd_method::gram: its
///         squares overflow T), or the progress callback returned false
///
/// Cost with the Gram method: sum_n (I_n + 1) prod(I) flops, eigenvectors of N matrices of I_n x I_n, and the core,
/// which is a multi_mode_product. No unfolding is formed, except that of an inner mode longer than all others together.
/// Memory beyond the result: the largest Gram matrix with its eigenvectors or two partly reduced tensors, whichever is
/// more; with error_measure::residual, the default, also a reconstruction and the memory of relative_error.
/// Source: De Lathauwer et al. 2000; 001 Algorithm 1, Eqs. 3.4, 3.8, 3.9.
/// \snippet tests/unit/hosvd.cpp hosvd
template <execution_policy Policy, any_tensor Tensor>
auto hosvd(const Policy& policy, const Tensor& tensor, const hosvd_options& options = {}) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    using result_tensor = policy_tensor<Policy, T, order_of<Tensor>>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::check_hosvd_options(options, view.shape, "hosvd");
    detail::require<argument_error>(options.mode_order.empty(), "hosvd: mode_order is an option of st_hosvd");
    auto known = detail::energy_in_advance(policy, view.data, view.shape, 0, options, "hosvd");

    hosvd_result<result_tensor> result;
    std::vector<detail::mode_factor<T, space>> projections;
    double discarded = 0;
    for (std::size_t mode = 0; mode < view.order(); ++mode) {
        detail::require<argument_error>(!options.progress || options.progress(mode, view.order()),
                                        "hosvd: stopped by the progress callback before mode ", mode);
        const mode_geometry geometry = geometry_of(view.shape, mode);
        const double before = known.value_or(0);
        const auto wanted = detail::mode_truncation(options, mode, geometry, before, discarded, view.order() - mode);
        auto basis = detail::compute_mode_basis<Policy, T, space>(policy, view.data, geometry, wanted, before, options, "hosvd");
        known = known.value_or(detail::tail_energy(basis.report.singular_values, 0));
        discarded += basis.report.discarded_energy;
        result.factors.push_back(std::move(basis.factor));
        result.modes.push_back(std::move(basis.report));
    }
    const double energy = known.value_or(0);
    extents ranks;
    for (std::size_t mode = 0; mode < view.order(); ++mode) {
        const auto& factor = result.factors[mode];
        ranks.push_back(factor.shape()[1]);
        projections.push_back({mode, transposed(row_major<const T, space>(factor.data(), factor.shape()[0], factor.shape()[1]))});
    }
    result.core = policy.template make_tensor<T, order_of<Tensor>>(ranks);
    detail::multi_mode_product_into<Policy, T, space>(policy, view, std::move(projections), result.core.data());
    result.error_bound = detail::relative(discarded, energy);
    if (options.error.value_or(error_measure::residual) == error_measure::residual) {
        result.relative_error = relative_error(policy, tensor, result);
    } else {
        result.relative_error = detail::relative(
            energy - detail::sum_of_squares(policy, static_cast<const T*>(result.core.data()), element_count(ranks)), energy);
    }
    return result;
}

template <any_tensor Tensor>
auto hosvd(const Tensor& tensor, const hosvd_options& options = {}) {
    return hosvd(cpu_policy{}, tensor, options);
}

/// Sequentially truncated higher-order SVD: like hosvd, but every mode is projected onto its factor before the next one is
/// looked at, so that later modes work on a smaller tensor.
///
/// The squared error is exactly the sum of what each mode discarded, and a tolerance is spent where it buys most: what one
/// mode leaves over goes to the next ones.
///
/// \param policy  where to compute
/// \param tensor  I_0 x ... x I_{N-1}, N >= 1, finite
/// \param options truncation, method, mode order, error measure, progress
/// \return        core, factors with orthonormal columns, report per mode (singular values of the partly reduced tensors)
/// \throws error as hosvd; argument_error too if mode_order is not a permutation of the modes
///
/// Cost: the sum over modes of a Gram matrix, (I_n + 1) prod(current extents) flops, its eigenvectors, and a product of
/// the tensor as reduced so far; with ranks given the order of the modes minimises it (passes over memory counted too).
/// Memory beyond the result: two reduced tensors, together no larger than the input when the first mode treated is at
/// least halved, or the largest Gram matrix with its eigenvectors. svd_method::qr takes panels of up to two thirds of
/// the tensor instead and three matrices of I_n x I_n.
/// Source: Vannieuwenhoven et al. 2012, Alg. 3.1; 001 Eqs. 3.8, 3.9.
/// \snippet tests/unit/hosvd.cpp st_hosvd
template <execution_policy Policy, any_tensor Tensor>
auto st_hosvd(const Policy& policy, const Tensor& tensor, const hosvd_options& options = {}) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    using result_tensor = policy_tensor<Policy, T, order_of<Tensor>>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::check_hosvd_options(options, view.shape, "st_hosvd");
    const auto order = detail::st_hosvd_mode_order(view.shape, options);
    auto known = detail::energy_in_advance(policy, view.data, view.shape, order.front(), options, "st_hosvd");

    hosvd_result<result_tensor> result;
    detail::truncate_modes<Policy, T, space>(policy, view, order, known, options, "st_hosvd", result);
    result.relative_error = options.error.value_or(error_measure::spectrum) == error_measure::spectrum
                                ? result.error_bound
                                : relative_error(policy, tensor, result);
    return result;
}

template <any_tensor Tensor>
auto st_hosvd(const Tensor& tensor, const hosvd_options& options = {}) {
    return st_hosvd(cpu_policy{}, tensor, options);
}

}  // namespace moden
