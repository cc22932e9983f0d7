#pragma once

// Multilinear models of data without labels: cores, and factors of every sample, that several data matrices can share.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/loss/detail/multilinear_sweeps.hpp>
#include <moden/loss/multilinear_terms.hpp>
#include <moden/optimize/lbfgs.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// How a multilinear model is fitted.
enum class multilinear_fit_method {
    alternating,  ///< each core and each factor in turn takes its best value
    lbfgs         ///< all at once along quasi-Newton directions
};

/// Options of fit_multilinear.
struct multilinear_fit_options {
    std::vector<multilinear_term> terms = {};  ///< one per data matrix; none means one core and all factors for a single one
    multilinear_fit_method method = multilinear_fit_method::alternating;
    multilinear_ridge ridge = {};
    std::size_t max_iterations = 100;          ///< 0 fits the cores alone
    double tolerance = 1e-6;                   ///< stop when an iteration lowers the objective by less than this times itself
    iteration_callback progress = {};          ///< told the objective after every iteration
};

/// A multilinear model and how it was found.
template <class Core>
struct multilinear_fit {
    std::vector<Core> cores;                    ///< B_c, k x k_a x k_b x ...
    std::vector<factor_of<Core>> factors;       ///< Z_i, k_i x n: samples are columns
    double objective = 0;                       ///< sum over terms of weight |X - X^|^2, without the ridge term
    std::vector<double> relative_errors = {};   ///< |X - X^| / |X| of every term
    std::vector<double> history = {};           ///< objective after each iteration, with the ridge term
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

/// Factors to start from: normal random numbers, k_i x n.
///
/// \param policy  where they will be used
/// \param ranks   k_i
/// \param samples n
/// \param seed    of the numbers
template <class T, execution_policy Policy>
auto random_multilinear_factors(const Policy& policy, const extents& ranks, std::size_t samples, std::uint64_t seed = 0) {
    std::vector<policy_tensor<Policy, T, 2>> factors;
    for (std::size_t f = 0; f < ranks.size(); ++f) {
        factors.push_back(policy.template make_tensor<T, 2>({ranks[f], samples}));
        fill_normal(policy, factors.back().data(), ranks[f] * samples, seed, f);
    }
    return factors;
}

/// Fits multilinear models to data matrices whose samples, and not only whose labels, are all that is known: the minimum (a local
/// one) of
///
///     sum_t w_t |X_t - B_c(t),(0) (Z_a(t) kr Z_b(t) kr ...)|^2 + lambda sum_c |B_c|^2 + mu sum_i |Z_i|^2
///
/// over cores and factors. Texture with light, expression and identity (002 Eq. 2), normals with the same core and a constant in place of
/// light (Eq. 5) and shape with a core of its own (Eq. 4) are three terms with two cores and three factors.
///
/// What is found depends on where the search starts: the loss does not know which factor is to mean what, and a model with as many
/// products of factors as samples fits anything. Start from what separates the factors, or compare several random starts. A ridge is needed
/// where factors of different samples are to be combined: it keeps small what no sample has shown.
/// Factors have a mean square of 1 in the end, unless a constant stands in for them. Where two factors occur in the same terms, scales and
/// signs of single samples can go from one to the other without a trace in the data: they stay near those of the start.
///
/// \param policy  where to compute
/// \param data    X_t, k_t x n each: samples are columns
/// \param start   Z_i, k_i x n each
/// \param options terms, method, stopping
/// \return        cores, factors, objective with its history, relative error of every term, status
/// \throws shape_error for data or factors that are no matrices, are empty, or differ in their columns; argument_error for terms that do not fit,
///         options out of range, NaN or infinity
///
/// Cost per iteration of alternation, with K = k_a k_b ...: per term 4 k K n flops for residual and core, 2 K^2 n for every factor and K^2 n + 2 k K^2 more,
/// and K^3 / 3 per core. Memory: K^2 numbers per factor of a term and blocks of 64 MiB. An iteration of L-BFGS is one
/// multilinear_loss_and_gradient per term, and many more are needed. Data with k much larger than n may be replaced by their n
/// coordinates along singular vectors at no loss.
/// Source: 002 Eqs. 2, 4, 5, 12 to 15, which 002 minimises within a network; alternation in the manner of Kolda & Bader 2009, Sec. 3.4.
/// \snippet tests/loss/multilinear_fit.cpp fit_multilinear
template <execution_policy Policy, any_tensor Data, any_tensor Factor>
auto fit_multilinear(const Policy& policy, const std::vector<Data>& data, const std::vector<Factor>& start, const multilinear_fit_options& options = {}) {
    using T = value_type_of<Data>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Factor>>, "moden: fit_multilinear of data and factors of different type");
    constexpr const char* name = "fit_multilinear";
    detail::check_argument<Policy, Data>();
    detail::check_argument<Policy, Factor>();
    detail::require<argument_error>(!data.empty() && !start.empty(), name, ": ", data.size(), " data matrices and ", start.size(), " factors (expected at least 1)");
    detail::require<argument_error>(options.tolerance >= 0, name, ": tolerance ", options.tolerance, " (expected at least 0)");
    const auto [of_cores, of_factors] = options.ridge;
    detail::require<argument_error>(of_cores >= 0 && of_factors >= 0 && std::isfinite(of_cores + of_factors), name, ": ridge ", of_cores, " of cores and ",
                                    of_factors, " of factors (expected at least 0)");
    std::vector<std::unique_ptr<typename tensor_traits<Data>::argument>> data_arguments;
    std::vector<std::unique_ptr<typename tensor_traits<Factor>::argument>> start_arguments;
    std::vector<matrix_view<const T, space>> matrices, factors;
    const auto checked = [&](const auto& argument, const char* what) {
        const auto view = detail::as_matrix(argument.view(), name, what);
        const std::size_t samples = matrices.empty() ? view.columns : matrices[0].columns;
        detail::require<shape_error>(view.rows > 0 && view.columns > 0 && view.columns == samples, name, ": ", what, " of ", view.rows, " x ", view.columns,
                                     " (expected ", samples, " columns, one per sample, and at least one row)");
        detail::require_finite(policy, view.data, view.rows * view.columns, name, what);
        return view;
    };
    extents rows, ranks;
    for (const Data& x : data) {
        data_arguments.push_back(std::make_unique<typename tensor_traits<Data>::argument>(x));
        matrices.push_back(checked(*data_arguments.back(), "a data matrix"));
        rows.push_back(matrices.back().rows);
    }
    for (const Factor& z : start) {
        start_arguments.push_back(std::make_unique<typename tensor_traits<Factor>::argument>(z));
        factors.push_back(checked(*start_arguments.back(), "a starting factor"));
        ranks.push_back(factors.back().rows);
    }
    std::vector<multilinear_term> terms = options.terms;
    if (terms.empty()) {
        terms.emplace_back();
        for (std::size_t f = 0; f < ranks.size(); ++f) {
            terms[0].factors.push_back(f);
        }
    }
    const auto shapes = detail::core_shapes(terms, rows, ranks, name);
    detail::multilinear_sweeps<Policy, T> sweeps(policy, matrices, terms, shapes, ranks, options.ridge);
    for (std::size_t f = 0; f < factors.size(); ++f) {
        policy.copy(factors[f].data, sweeps.factor(f), ranks[f] * factors[f].columns);
    }
    multilinear_fit<policy_tensor<Policy, T, dynamic_order>> result;
    double scale = 0;
    for (std::size_t t = 0; t < terms.size(); ++t) {
        scale += terms[t].weight * sweeps.squares()[t];
    }
    const auto update_cores = [&] {
        for (std::size_t c = 0; c < shapes.size(); ++c) {
            sweeps.update_core(c);
        }
    };
    update_cores();
    if (options.method == multilinear_fit_method::lbfgs) {
        const auto found = minimize_lbfgs(
            policy, sweeps.parameters(), sweeps.size(), [&](const T* x, T* gradient) { return sweeps.objective_and_gradient(x, gradient); },
            {.max_iterations = options.max_iterations, .tolerance = options.tolerance, .progress = options.progress});
        result.history = found.history;
        result.iterations = found.iterations;
        result.status = found.status;
    } else {
        double previous = std::numeric_limits<double>::infinity();
        while (result.iterations < options.max_iterations) {
            for (std::size_t f = 0; f < ranks.size(); ++f) {
                sweeps.update_factor(f);
            }
            if (of_cores + of_factors == 0) {  // which scales a ridge prefers it finds out itself
                sweeps.balance();
            }
            update_cores();
            const double objective = sweeps.objective();
            ++result.iterations;
            result.history.push_back(objective);
            // Objectives below eps of the data are rounding errors.
            const bool done = previous - objective <= options.tolerance * objective || objective <= std::pow(std::numeric_limits<T>::epsilon(), 2) * scale;
            previous = objective;
            if (options.progress && !options.progress(result.iterations, objective)) {
                result.status = iteration_status::stopped_by_callback;
                break;
            }
            if (done) {
                result.status = iteration_status::converged;
                break;
            }
        }
    }
    sweeps.balance();
    for (std::size_t t = 0; t < terms.size(); ++t) {
        const double residual = sweeps.residual(t);
        result.objective += terms[t].weight * residual;
        result.relative_errors.push_back(sweeps.squares()[t] > 0 ? std::sqrt(residual / sweeps.squares()[t]) : 0.0);
    }
    for (std::size_t c = 0; c < shapes.size(); ++c) {
        result.cores.push_back(policy.template make_tensor<T, dynamic_order>(shapes[c]));
        policy.copy(static_cast<const T*>(sweeps.core(c)), result.cores.back().data(), element_count(shapes[c]));
    }
    for (std::size_t f = 0; f < ranks.size(); ++f) {
        result.factors.push_back(policy.template make_tensor<T, 2>({ranks[f], matrices[0].columns}));
        policy.copy(static_cast<const T*>(sweeps.factor(f)), result.factors.back().data(), ranks[f] * matrices[0].columns);
    }
    return result;
}

template <any_tensor Data, any_tensor Factor>
auto fit_multilinear(const std::vector<Data>& data, const std::vector<Factor>& start, const multilinear_fit_options& options = {}) {
    return fit_multilinear(cpu_policy{}, data, start, options);
}

}  // namespace moden
