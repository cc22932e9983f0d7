#pragma once

// Higher-order orthogonal iteration: the Tucker approximation of given ranks, refined mode by mode.

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/status.hpp>
#include <moden/multilinear/hosvd.hpp>

namespace moden {

/// Options of hooi.
struct hooi_options {
    extents ranks = {};                ///< rank per mode, 1 <= R_n <= I_n, required
    double tolerance = 1e-8;           ///< stop when |G| / |X| grows by less than this in one iteration; 0: never
    std::size_t max_iterations = 50;   ///< sweeps over all modes; 0 returns the start
    svd_method method = svd_method::automatic;  ///< for each unfolding
    std::size_t oversampling = 10;     ///< of svd_method::randomized
    std::size_t power_iterations = 2;  ///< of svd_method::randomized
    std::uint64_t seed = 0;            ///< of svd_method::randomized
    iteration_callback progress = {};  ///< (iteration, |G| / |X|) -> keep going?
};

/// A refined Tucker decomposition with what is known about it. Is a tucker_tensor: `core`, `factors`.
template <class Tensor>
struct hooi_result : tucker_tensor<Tensor> {
    std::vector<mode_report<value_type_of<Tensor>>> modes;  ///< of the last sweep
    iteration_status status = iteration_status::reached_max_iterations;
    std::size_t iterations = 0;
    double relative_error = 0;         ///< |X - X^| / |X|, from the difference itself
    std::vector<double> history = {};  ///< |G| / |X| of the start and after each iteration; never decreases
};

/// Best rank-(R_0, ..., R_{N-1}) Tucker approximation by alternating maximisation of |G|.
///
/// Starts from st_hosvd; each step replaces U_n by the leading left singular vectors of the unfolding of X projected on all
/// other factors. The error never grows; the limit is a stationary point, not always the global optimum.
///
/// \param policy  where to compute
/// \param tensor  I_0 x ... x I_{N-1}, N >= 1, finite
/// \param options ranks, stopping, method
/// \return        core, factors with orthonormal columns, status, iterations, relative error, history of the fit
/// \throws error as st_hosvd, and argument_error without ranks
///
/// Cost per iteration: N projections of the tensor onto all factors but one, each in its cheapest order, N small SVDs,
/// and the core. Memory beyond the result: that of st_hosvd for the start, then two partly projected tensors; at the
/// end that of relative_error.
/// Source: De Lathauwer et al. 2000b; Kolda & Bader 2009, Fig. 4.4.
/// \snippet tests/unit/hosvd.cpp hooi
template <execution_policy Policy, any_tensor Tensor>
auto hooi(const Policy& policy, const Tensor& tensor, const hooi_options& options) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    using result_tensor = policy_tensor<Policy, T, order_of<Tensor>>;
    const auto argument = detail::evaluate(policy, tensor);
    const auto& view = argument.view();
    detail::require<argument_error>(!options.ranks.empty(), "hooi: no ranks (expected one per mode)");
    detail::require<argument_error>(options.tolerance >= 0, "hooi: tolerance ", options.tolerance, " (expected at least 0)");
    const hosvd_options mode_options{.ranks = options.ranks,
                                     .method = options.method,
                                     .oversampling = options.oversampling,
                                     .power_iterations = options.power_iterations,
                                     .seed = options.seed};
    // Checked here although st_hosvd would, so that messages name the function that was called.
    detail::check_hosvd_options(mode_options, view.shape, "hooi");
    const double energy = detail::require_finite(policy, view.data, view.size(), "hooi", "the tensor");
    auto start = st_hosvd(policy, tensor, mode_options);

    hooi_result<result_tensor> result;
    static_cast<tucker_tensor<result_tensor>&>(result) = std::move(static_cast<tucker_tensor<result_tensor>&>(start));
    result.modes = std::move(start.modes);
    const auto fit = [&] {
        const T* core = result.core.data();
        return energy > 0 ? std::sqrt(detail::sum_of_squares(policy, core, result.core.size()) / energy) : 1.0;
    };
    const auto projection = [&](std::size_t mode) {
        const auto& factor = result.factors[mode];
        return detail::mode_factor<T, space>{
            mode, transposed(row_major<const T, space>(factor.data(), factor.shape()[0], factor.shape()[1]))};
    };
    result.history.push_back(fit());
    while (result.iterations < options.max_iterations) {
        for (std::size_t mode = 0; mode < view.order(); ++mode) {
            extents shape = detail::shape_of(result.core);
            shape[mode] = view.shape[mode];
            auto projected = policy.template allocate<T>(element_count(shape));
            std::vector<detail::mode_factor<T, space>> others;
            for (std::size_t n = 0; n < view.order(); ++n) {
                if (n != mode) {
                    others.push_back(projection(n));
                }
            }
            detail::multi_mode_product_into<Policy, T, space>(policy, view, std::move(others), projected.data());
            const mode_geometry geometry = geometry_of(shape, mode);
            const detail::truncation wanted{std::min({options.ranks[mode], geometry.extent, geometry.fibers()})};
            const double left = detail::sum_of_squares(policy, static_cast<const T*>(projected.data()), projected.size());
            auto basis = detail::compute_mode_basis<Policy, T, space>(policy, projected.data(), geometry, wanted, left, mode_options, "hooi");
            result.factors[mode] = std::move(basis.factor);
            result.modes[mode] = std::move(basis.report);
            if (mode + 1 == view.order()) {
                shape[mode] = result.modes[mode].rank;
                result.core = policy.template make_tensor<T, order_of<Tensor>>(shape);
                detail::mode_product_into<Policy, T, space>(policy, projected.data(), geometry, projection(mode).matrix,
                                                            result.core.data());
            }
        }
        ++result.iterations;
        result.history.push_back(fit());
        const double gained = result.history.back() - result.history[result.history.size() - 2];
        if (options.tolerance > 0 && gained < options.tolerance) {
            result.status = iteration_status::converged;
            break;
        }
        if (options.progress && !options.progress(result.iterations, result.history.back())) {
            result.status = iteration_status::stopped_by_callback;
            break;
        }
    }
    result.relative_error = relative_error(policy, tensor, result);
    return result;
}

template <any_tensor Tensor>
auto hooi(const Tensor& tensor, const hooi_options& options) {
    return hooi(cpu_policy{}, tensor, options);
}

}  // namespace moden
