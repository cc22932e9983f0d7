#pragma once

// Multilinear models of data without labels: cores, and factors of every sample, that several data matrices can share.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
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

namespace detail {

/// A list of matrices whose columns are samples, as views of the policy's memory.
template <class Policy, class Matrix>
class sample_matrices {
public:
    using view = matrix_view<const value_type_of<Matrix>, typename Policy::memory_space>;

    /// \throws shape_error for empty matrices or other than `samples` columns (0: as many as the first has); argument_error for NaN or infinity
    sample_matrices(const Policy& policy, const std::vector<Matrix>& matrices, std::size_t samples, const char* function, const char* name) {
        check_argument<Policy, Matrix>();
        for (const Matrix& matrix : matrices) {
            arguments_.push_back(std::make_unique<argument>(matrix));
            views_.push_back(as_matrix(arguments_.back()->view(), function, name));
            const view& added = views_.back();
            const std::size_t expected = samples > 0 ? samples : views_[0].columns;
            require<shape_error>(added.rows > 0 && added.columns > 0 && added.columns == expected, function, ": ", name, " of ", added.rows, " x ", added.columns,
                                 " (expected ", expected, " columns, one per sample, and at least one row)");
            require_finite(policy, added.data, added.rows * added.columns, function, name);
        }
    }

    const std::vector<view>& views() const { return views_; }

    extents rows() const {
        extents result;
        for (const view& matrix : views_) {
            result.push_back(matrix.rows);
        }
        return result;
    }

private:
    using argument = typename tensor_traits<Matrix>::argument;

    std::vector<std::unique_ptr<argument>> arguments_ = {};  // kept, since they own what had to be copied
    std::vector<view> views_ = {};
};

/// One core with all factors, in their order.
inline std::vector<multilinear_term> single_term(std::size_t factors) {
    multilinear_term term;
    for (std::size_t f = 0; f < factors; ++f) {
        term.factors.push_back(f);
    }
    return {term};
}

inline void check_multilinear_fit_options(const multilinear_fit_options& options, const char* name) {
    const auto [of_cores, of_factors] = options.ridge;
    require<argument_error>(options.tolerance >= 0, name, ": tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(of_cores >= 0 && of_factors >= 0 && std::isfinite(of_cores + of_factors), name, ": ridge ", of_cores, " of cores and ", of_factors,
                            " of factors (expected at least 0)");
}

/// Sweeps through factors and cores until the objective no longer falls, and notes it after each sweep.
template <class Policy, class T>
iteration_status alternate(multilinear_sweeps<Policy, T>& sweeps, const multilinear_fit_options& options, std::vector<double>& history) {
    const bool ridge_sets_scales = options.ridge.of_cores + options.ridge.of_factors > 0;
    const double rounding = std::pow(static_cast<double>(std::numeric_limits<T>::epsilon()), 2) * sweeps.weighted_squares();
    double previous = std::numeric_limits<double>::infinity();
    while (history.size() < options.max_iterations) {
        sweeps.update_factors();
        if (!ridge_sets_scales) {
            sweeps.balance();
        }
        sweeps.update_cores();
        const double objective = sweeps.objective();
        history.push_back(objective);
        if (options.progress && !options.progress(history.size(), objective)) {
            return iteration_status::stopped_by_callback;
        }
        if (previous - objective <= options.tolerance * objective || objective <= rounding) {
            return iteration_status::converged;
        }
        previous = objective;
    }
    return iteration_status::reached_max_iterations;
}

}  // namespace detail

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
    static_assert(std::is_same_v<T, value_type_of<Factor>>, "moden: fit_multilinear of data and factors of different type");
    constexpr const char* name = "fit_multilinear";
    detail::check_multilinear_fit_options(options, name);
    detail::require<argument_error>(!data.empty() && !start.empty(), name, ": ", data.size(), " data matrices and ", start.size(), " factors (expected at least 1)");
    const detail::sample_matrices<Policy, Data> observed(policy, data, 0, name, "a data matrix");
    const std::size_t samples = observed.views()[0].columns;
    const detail::sample_matrices<Policy, Factor> factors(policy, start, samples, name, "a starting factor");
    const extents ranks = factors.rows();
    const auto terms = options.terms.empty() ? detail::single_term(ranks.size()) : options.terms;
    const auto shapes = detail::core_shapes(terms, observed.rows(), ranks, name);

    detail::multilinear_sweeps<Policy, T> sweeps(policy, observed.views(), terms, shapes, ranks, options.ridge);
    for (std::size_t f = 0; f < ranks.size(); ++f) {
        policy.copy(factors.views()[f].data, sweeps.factor(f), ranks[f] * samples);
    }
    sweeps.update_cores();
    multilinear_fit<policy_tensor<Policy, T, dynamic_order>> result;
    if (options.method == multilinear_fit_method::lbfgs) {
        auto found = minimize_lbfgs(
            policy, sweeps.parameters(), sweeps.size(), [&](const T* x, T* gradient) { return sweeps.objective_and_gradient(x, gradient); },
            {.max_iterations = options.max_iterations, .tolerance = options.tolerance, .progress = options.progress});
        result.history = std::move(found.history);
        result.iterations = found.iterations;
        result.status = found.status;
    } else {
        result.status = detail::alternate(sweeps, options, result.history);
        result.iterations = result.history.size();
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
        result.factors.push_back(policy.template make_tensor<T, 2>({ranks[f], samples}));
        policy.copy(static_cast<const T*>(sweeps.factor(f)), result.factors.back().data(), ranks[f] * samples);
    }
    return result;
}

template <any_tensor Data, any_tensor Factor>
auto fit_multilinear(const std::vector<Data>& data, const std::vector<Factor>& start, const multilinear_fit_options& options = {}) {
    return fit_multilinear(cpu_policy{}, data, start, options);
}

}  // namespace moden
