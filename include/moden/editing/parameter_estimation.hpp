#pragma once

// The parameters of new codes in a tensor model: one vector per factor mode, or one tensor of full rank per code.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/editing/detail/multilinear_least_squares.hpp>
#include <moden/editing/tensor_model.hpp>
#include <moden/linalg/detail/solve.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of estimate_parameters.
struct parameter_estimation_options {
    /// Weights of the penalties: one entry per factor mode, one for all of them, or none. Squared differences are those of
    /// centred (standardised) codes.
    std::vector<parameter_penalty> penalties = {};
    double tolerance = 1e-6;           ///< a code is done when an iteration gains less than this times its squared norm
    std::size_t max_iterations = 200;  ///< those that choose a start not counted
    std::size_t starts = 1;            ///< the first as below, others random; the best is kept
    std::uint64_t seed = 0;            ///< of the random starts
    /// (iteration, sum of the objectives of the codes treated together) -> keep going?
    iteration_callback progress = {};
};

/// Parameter vectors of N codes, and how well they fit. Errors are those of centred (standardised) codes.
template <class Matrix>
struct parameter_estimate {
    std::vector<Matrix> canonical;                ///< q'_k, one N x I_k matrix per factor mode
    std::vector<Matrix> subspace;                 ///< q_k, one N x R_k matrix per factor mode
    std::vector<double> residual;                 ///< |code^ - code|^2 per code
    std::vector<double> objective;                ///< residual and penalties per code
    std::vector<std::size_t> iterations;
    std::vector<iteration_status> status;
};

namespace detail {

inline std::vector<parameter_penalty> expanded_penalties(const std::vector<parameter_penalty>& given, const std::vector<factor_mode>& modes) {
    require<shape_error>(given.size() <= 1 || given.size() == modes.size(), "estimate_parameters: ", given.size(),
                         " penalties for ", modes.size(), " factor modes (expected none, one or one per mode)");
    std::vector<parameter_penalty> penalties(modes.size());
    for (std::size_t k = 0; k < modes.size() && !given.empty(); ++k) {
        penalties[k] = given.size() == 1 ? given[0] : given[k];
        for (const double weight : {penalties[k].ridge, penalties[k].lasso, penalties[k].sum_to_one}) {
            require<argument_error>(weight >= 0 && std::isfinite(weight), "estimate_parameters: a penalty of ", weight,
                                    " for mode '", modes[k].name, "' (expected a finite weight of at least 0)");
        }
    }
    return penalties;
}

template <class Policy, class T>
std::vector<double> row_squares(const Policy& policy, const T* rows, std::size_t count, std::size_t size) {
    const auto squares = policy.template allocate<double>(count);
    policy.transform(count, row_square<T>{rows, size, squares.data()}, size);
    return downloaded(policy, static_cast<const double*>(squares.data()), count);
}

/// Coordinates of scaled codes in the basis of codes: rows of R_0.
template <class Policy, class T, class Model>
buffer_of<Policy, T> code_coordinates(const Policy& policy, const Model& model, const T* scaled, std::size_t count) {
    using space = typename Policy::memory_space;
    const auto basis = dense_view<Policy, T>(policy, model.decomposition.factors[0]);
    if (basis.rows == 0) {
        auto same = policy.template allocate<T>(count * model.code_size());
        policy.copy(scaled, same.data(), same.size());
        return same;
    }
    auto result = policy.template allocate<T>(count * basis.columns);
    if (count > 0) {
        policy.template gemm<T>(T(1), row_major<const T, space>(scaled, count, basis.rows), basis, T(0),
                                row_major<T, space>(result.data(), count, basis.columns));
    }
    return result;
}

template <class Policy, class T, class Part>
auto uploaded_rows(const Policy& policy, const std::vector<code_estimate>& codes, std::size_t k, std::size_t width, const Part& part) {
    std::vector<T> values;
    values.reserve(codes.size() * width);
    for (const code_estimate& code : codes) {
        for (const double q : part(code.modes[k])) {
            values.push_back(static_cast<T>(q));
        }
    }
    auto result = policy.template make_tensor<T, 2>({codes.size(), width});
    policy.upload(values.data(), result.data(), values.size());
    return result;
}

}  // namespace detail

/// The parameter vectors whose model code is nearest to each of some codes:
///
///     min |code^(q_1, ..., q_M) - code|^2 + sum_k ridge_k |q_k|^2 + lasso_k |q'_k|_1 + sum_to_one_k (1' q'_k - 1)^2.
///
/// The longest mode always has its exact best value; the others take Gauss-Newton steps that reckon with that, or, where a lasso
/// term leaves no derivatives or a step would not help, their best values in turn (alternating least squares). The objective
/// never rises. It has local minima: of two starts, averages over all levels and the vectors nearest to a least squares parameter
/// tensor, a few cheap iterations choose one, and `starts` tries more. Without a lasso term the unknown of a mode is q_k, and
/// q'_k = U_k q_k; with one it is q'_k, and q_k = U_k' q'_k. For a mode that was not truncated the two are the same.
///
/// \param policy  where to compute; what is left of a mode's problem is solved on the host in double precision
/// \param model   tensor model
/// \param codes   N x D, finite
/// \param options penalties, tolerance, starts
/// \return        canonical and subspace parameters, residual and objective per code, status
/// \throws shape_error if codes are of another size than the model's, or the number of penalties is none of 0, 1 and M;
///         argument_error for a negative or infinite penalty or tolerance, no start, NaN or infinity
///
/// Cost per code and iteration: 4 |S| + 2 R_0 (P^2 + K^2 + P K) flops with P the largest rank of a factor mode and K the product
/// of the others, two readings of the core for all codes together; on the host P^3 / 3 and a few times K^2 and P K. Gauss-Newton takes
/// 5 to 10 iterations where the codes are near the model. Memory: a quarter of a gigabyte, and a copy of the core where the longest mode is
/// neither the first nor the last.
/// Source: Paper I Eqs. 6-11; Paper II Eqs. 4-6; 001 Eq. 3.12. Gauss-Newton: Ruhe and Wedin, Algorithms for separable nonlinear
/// least squares problems, SIAM Review 22 (1980), algorithm 2.
/// \snippet tests/editing/parameters.cpp estimate_parameters
template <execution_policy Policy, class Tensor, any_tensor Codes>
auto estimate_parameters(const Policy& policy, const tensor_model<Tensor>& model, const Codes& codes,
                         const parameter_estimation_options& options = {}) {
    using T = value_type_of<Tensor>;
    using matrix_type = policy_tensor<Policy, T, 2>;
    static_assert(std::is_same_v<T, value_type_of<Codes>>, "moden: codes and model hold different types");
    const auto argument = detail::evaluate(policy, codes);
    auto penalties = detail::expanded_penalties(options.penalties, model.modes);
    detail::require<argument_error>(options.tolerance >= 0 && std::isfinite(options.tolerance), "estimate_parameters: tolerance ",
                                    options.tolerance, " (expected a finite value of at least 0)");
    detail::require<argument_error>(options.starts >= 1 && options.max_iterations >= 1, "estimate_parameters: ", options.starts,
                                    " starts and ", options.max_iterations, " iterations (expected at least one)");
    const auto scaled = detail::scaled_codes<Policy, T>(policy, model, argument.view(), "estimate_parameters");
    const std::size_t count = argument.view().shape[0];
    const std::size_t size = model.code_size(), coordinates = model.decomposition.core.shape()[0];
    const auto targets = detail::code_coordinates<Policy, T>(policy, model, static_cast<const T*>(scaled.data()), count);
    const auto squares = detail::row_squares(policy, static_cast<const T*>(scaled.data()), count, size);

    const detail::multilinear_least_squares<Policy, T> estimation(policy, model, std::move(penalties),
                                                               {options.tolerance, options.max_iterations});
    std::vector<detail::code_estimate> best;
    const std::size_t at_once = estimation.codes_at_once();
    bool going = true;
    for (std::size_t first = 0; first < count; first += at_once) {
        const std::size_t some = std::min(at_once, count - first);
        std::vector<detail::code_estimate> kept;
        for (std::size_t start = 0; start < options.starts && (start == 0 || going); ++start) {
            std::vector<detail::code_estimate> tried(some);
            for (std::size_t i = 0; i < some; ++i) {
                tried[i].square = squares[first + i];
                tried[i].modes = start == 0 ? estimation.mean_start()
                                            : estimation.random_start(options.seed, (first + i) * options.starts + start);
                tried[i].status = going ? tried[i].status : iteration_status::stopped_by_callback;
            }
            if (going) {
                going = estimation.run(targets.data() + first * coordinates, tried,
                                       start == 0 ? detail::first_values::given_or_least_squares : detail::first_values::given, options.progress);
            }
            if (start == 0) {
                kept = std::move(tried);
                continue;
            }
            for (std::size_t i = 0; i < some; ++i) {
                if (tried[i].objective < kept[i].objective) {
                    kept[i] = std::move(tried[i]);
                }
            }
        }
        std::move(kept.begin(), kept.end(), std::back_inserter(best));
    }

    parameter_estimate<matrix_type> result;
    for (std::size_t k = 0; k < model.modes.size(); ++k) {
        result.canonical.push_back(detail::uploaded_rows<Policy, T>(policy, best, k, model.level_count(k), [](const auto& q) -> const auto& { return q.canonical; }));
        result.subspace.push_back(detail::uploaded_rows<Policy, T>(policy, best, k, model.rank(k), [](const auto& q) -> const auto& { return q.subspace; }));
    }
    // The residual from the difference itself: accurate however small it is.
    const auto made = synthesize_codes(policy, model, result.subspace, parameter_basis::subspace);
    const auto again = detail::scaled_codes<Policy, T>(policy, model, {made.data(), {count, size}}, "estimate_parameters");
    policy.transform(again.size(), detail::difference_of<T>{again.data(), scaled.data(), again.data()});
    result.residual = detail::row_squares(policy, static_cast<const T*>(again.data()), count, size);
    for (std::size_t n = 0; n < count; ++n) {
        result.objective.push_back(result.residual[n]);
        for (std::size_t k = 0; k < model.modes.size(); ++k) {
            result.objective.back() += estimation.penalty(k, best[n].modes[k]);
        }
        result.iterations.push_back(best[n].iterations);
        result.status.push_back(best[n].status);
    }
    return result;
}

template <class Tensor, any_tensor Codes>
auto estimate_parameters(const tensor_model<Tensor>& model, const Codes& codes, const parameter_estimation_options& options = {}) {
    return estimate_parameters(cpu_policy{}, model, codes, options);
}

/// Options of estimate_parameter_tensor.
struct parameter_tensor_options {
    double ridge = 0;  ///< weight of |Q|^2, at least 0
};

/// The parameter tensor of full rank whose model code is nearest to each of some codes: min |S_(0) vec(Q) - U_0' code|^2 +
/// ridge |Q|^2 and, of all that fit equally well, the shortest.
///
/// Closed form: Q = S_(0)' (S_(0) S_(0)' + ridge I)^-1 U_0' code, or the same by S_(0)' S_(0) where that is smaller. A model
/// has R_1 ... R_M parameters for R_0 equations. A ridge of eps (of T) times the largest squared singular value is always there: along
/// directions that rounding hides, codes are not fitted. Solved in double precision.
///
/// \param policy  where to compute
/// \param model   tensor model
/// \param codes   N x D, finite
/// \param options ridge
/// \return        N x R_1 x ... x R_M (order of the data), in subspace coordinates; for synthesize_codes
/// \throws shape_error if codes are of another size than the model's; argument_error for a negative ridge, NaN or infinity
///
/// Cost with K = min(R_0, R_1 ... R_M): K |S| + K^3 / 3 flops once, 2 N (D R_0 + K^2 + |S|) for the codes; memory for two K x K matrices
/// and a copy of the core, in double precision.
/// Source: Paper II Eq. 8, by least squares instead of gradient descent.
/// \snippet tests/editing/parameters.cpp parameter_tensor
template <execution_policy Policy, class Tensor, any_tensor Codes>
auto estimate_parameter_tensor(const Policy& policy, const tensor_model<Tensor>& model, const Codes& codes,
                               const parameter_tensor_options& options = {}) {
    using T = value_type_of<Tensor>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Codes>>, "moden: codes and model hold different types");
    detail::require<argument_error>(options.ridge >= 0 && std::isfinite(options.ridge), "estimate_parameter_tensor: ridge ",
                                    options.ridge, " (expected a finite value of at least 0)");
    const auto argument = detail::evaluate(policy, codes);
    const auto scaled = detail::scaled_codes<Policy, T>(policy, model, argument.view(), "estimate_parameter_tensor");
    const std::size_t count = argument.view().shape[0];
    const auto targets = detail::code_coordinates<Policy, T>(policy, model, static_cast<const T*>(scaled.data()), count);
    extents shape = detail::shape_of(model.decomposition.core);
    const std::size_t coordinates = shape[0];
    const auto core = row_major<const T, space>(model.decomposition.core.data(), coordinates, model.decomposition.core.size() / coordinates);
    shape[0] = count;
    auto result = policy.template make_tensor<T, order_of<Tensor>>(shape);
    if (count == 0) {
        return result;
    }
    // The smaller of the two Gram matrices: S S' first and then S' from the left, or S' first and then S' S.
    const auto target = row_major<const T, space>(targets.data(), count, coordinates);
    const bool by_rows = coordinates <= core.columns;
    const std::size_t n = by_rows ? coordinates : core.columns;
    // In double precision: the Gram matrix has the square of the core's condition.
    const auto wide = policy.template allocate<double>(core.rows * core.columns);
    policy.transform(wide.size(), detail::convert_to<T, double>{core.data, wide.data()});
    const auto wide_core = row_major<const double, space>(wide.data(), core.rows, core.columns);
    const auto gram = policy.template allocate<double>(n * n);
    const auto square = row_major<double, space>(gram.data(), n, n);
    policy.template syrk<double>(1.0, by_rows ? wide_core : transposed(wide_core), 0.0, square);
    const double largest = policy.reduce(n, 0.0, detail::diagonal_magnitude<double>{gram.data(), n}, detail::maximum{});
    const double least = static_cast<double>(std::numeric_limits<T>::epsilon()) * largest;
    policy.transform(n, detail::add_to_diagonal<double>{gram.data(), n, options.ridge + least});
    const auto wide_targets = policy.template allocate<double>(count * coordinates);
    policy.transform(wide_targets.size(), detail::convert_to<T, double>{target.data, wide_targets.data()});
    const auto wide_target = row_major<const double, space>(wide_targets.data(), count, coordinates);
    const auto unknown = policy.template allocate<double>(n * count);  // one code per column, as the solver wants them
    const auto right = row_major<double, space>(unknown.data(), n, count);
    if (by_rows) {
        policy.template copy<double>(transposed(wide_target), right);
    } else {
        policy.template gemm<double>(1.0, transposed(wide_core), transposed(wide_target), 0.0, right);
    }
    detail::solve_semidefinite<Policy, double, space>(policy, square, right);
    const auto solution = transposed(row_major<const double, space>(unknown.data(), n, count));
    const auto found = policy.template allocate<double>(count * core.columns);
    const auto wide_found = row_major<double, space>(found.data(), count, core.columns);
    if (by_rows) {
        policy.template gemm<double>(1.0, solution, wide_core, 0.0, wide_found);
    } else {
        policy.template copy<double>(solution, wide_found);
    }
    policy.transform(found.size(), detail::convert_to<double, T>{found.data(), result.data()});
    return result;
}

template <class Tensor, any_tensor Codes>
auto estimate_parameter_tensor(const tensor_model<Tensor>& model, const Codes& codes, const parameter_tensor_options& options = {}) {
    return estimate_parameter_tensor(cpu_policy{}, model, codes, options);
}

}  // namespace moden
