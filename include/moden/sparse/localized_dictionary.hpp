#pragma once

// Localized dictionaries: a Jacobian as sparse components, each with a direction of its own.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/multilinear/detail/cp_iteration.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/sparse/detail/dictionary_iteration.hpp>

namespace moden {

/// How localized_dictionary minimises.
enum class dictionary_method {
    /// Accelerated proximal steps for the components and steps on the unit sphere for the directions, in turn. The objective
    /// never rises, and components have exact zeros.
    alternating,
    /// Adam on both factors with directions brought back to length 1 after each step, as in 000. Entries come near zero only.
    adam
};

/// Where localized_dictionary starts; components are J V under the threshold alpha / 2 in either case.
enum class dictionary_start {
    random,           ///< directions of normal entries at length 1
    singular_vectors  ///< the P leading right singular vectors of J: global patterns, which must first come apart
};

/// Options of localized_dictionary.
struct localized_dictionary_options {
    std::size_t components = 0;         ///< P, 1 to min(S, d), required
    double sparsity = 1;                ///< alpha, at least 0
    double coherence = 1;               ///< beta, at least 0
    dictionary_method method = dictionary_method::alternating;
    dictionary_start start = dictionary_start::random;
    double tolerance = 1e-5;            ///< stop when an iteration lowers the objective by less than this times the objective; 0: never
    std::size_t max_iterations = 200;   ///< of either method; Adam needs thousands
    double learning_rate = 1e-4;        ///< of dictionary_method::adam; positive
    std::uint64_t seed = 0;             ///< of dictionary_start::random
    iteration_callback progress = {};   ///< (iteration, objective) -> keep going?
};

/// J ~ components directions.
template <class Matrix>
struct localized_dictionary_result {
    Matrix components;                 ///< U, S x P: column p is what direction p changes
    Matrix directions;                 ///< V', P x d, rows of length 1
    double objective = 0;              ///< of Eq. 5, from the difference J - U V' itself
    double relative_error = 0;         ///< |J - U V'| / |J|
    std::vector<double> history = {};  ///< objective after each iteration, resolved to about eps |J|^2
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

namespace detail {

inline void check_penalties(double sparsity, double coherence, const char* function) {
    require<argument_error>(sparsity >= 0 && std::isfinite(sparsity), function, ": sparsity ", sparsity, " (expected a finite value of at least 0)");
    require<argument_error>(coherence >= 0 && std::isfinite(coherence), function, ": coherence ", coherence, " (expected a finite value of at least 0)");
}

inline void check_dictionary_options(const localized_dictionary_options& options, std::size_t rows, std::size_t columns) {
    const std::size_t most = rows < columns ? rows : columns;
    require<argument_error>(options.components >= 1 && options.components <= most, "localized_dictionary: ", options.components,
                            " components of a Jacobian of ", rows, " x ", columns, " (expected 1 to ", most, ")");
    check_penalties(options.sparsity, options.coherence, "localized_dictionary");
    require<argument_error>(options.tolerance >= 0, "localized_dictionary: tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(options.max_iterations >= 1, "localized_dictionary: max_iterations 0 (expected at least 1)");
    require<argument_error>(options.learning_rate > 0 && std::isfinite(options.learning_rate), "localized_dictionary: learning_rate ",
                            options.learning_rate, " (expected a positive, finite value)");
}

/// Refuses directions of length 0, given all lengths.
template <class T>
void require_directions(const std::vector<T>& lengths, const char* function) {
    for (std::size_t p = 0; p < lengths.size(); ++p) {
        require<argument_error>(lengths[p] > T(0), function, ": direction ", p, " has length 0");
    }
}

/// A matrix argument of the given shape, finite.
template <class T, class Policy, class Argument>
const T* checked_factor(const Policy& policy, const Argument& argument, std::size_t rows, std::size_t columns, const char* function,
                        const char* name) {
    const auto& view = argument.view();
    require<shape_error>(view.order() == 2 && view.shape[0] == rows && view.shape[1] == columns, function, ": ", name, " of ", view.shape,
                         " (expected ", rows, " x ", columns, ")");
    require_finite(policy, view.data, view.size(), function, name);
    return view.data;
}

template <class Policy, class T, class Space>
auto run_localized_dictionary(const Policy& policy, matrix_view<const T, Space> jacobian, dictionary_iteration<Policy, T, Space>& iteration,
                              double energy, const localized_dictionary_options& options) {
    // Few steps of one factor while the other one is far from its place: products with J cost as much as two to four of them.
    constexpr std::size_t most_component_steps = 10, most_direction_steps = 20;
    constexpr double component_fraction = 0.1, direction_fraction = 0.05;
    using matrix = policy_tensor<Policy, T, 2>;
    localized_dictionary_result<matrix> result{policy.template make_tensor<T, 2>({jacobian.rows, options.components}),
                                               policy.template make_tensor<T, 2>({options.components, jacobian.columns})};
    std::optional<typename dictionary_iteration<Policy, T, Space>::adam_state> adam;
    if (options.method == dictionary_method::adam) {
        adam.emplace(iteration.start_adam());
    }
    double previous = iteration.objective_of_components();
    while (result.iterations < options.max_iterations) {
        double objective = 0;
        if (adam) {
            objective = iteration.adam_iteration(*adam, options.learning_rate);
        } else {
            iteration.improve_components(most_component_steps, component_fraction);
            objective = iteration.improve_directions(most_direction_steps, direction_fraction);
            iteration.update_products_of_directions();
        }
        result.history.push_back(objective);
        ++result.iterations;
        if (std::abs(previous - objective) < options.tolerance * std::abs(objective) || energy == 0) {
            result.status = iteration_status::converged;
            break;
        }
        if (options.progress && !options.progress(result.iterations, objective)) {
            result.status = iteration_status::stopped_by_callback;
            break;
        }
        previous = objective;
    }
    policy.copy(iteration.components().data, result.components.data(), jacobian.rows * options.components);
    policy.copy(iteration.directions().data, result.directions.data(), options.components * jacobian.columns);
    // As a CP decomposition of order 2, whose residual is computed a block of rows at a time.
    const auto directions = policy.template allocate<T>(jacobian.columns * options.components);
    policy.template copy<T>(transposed(iteration.directions()), row_major<T, Space>(directions.data(), jacobian.columns, options.components));
    const double residual = squared_cp_residual<Policy, T, Space>(
        policy, tensor_view<const T, Space>{jacobian.data, {jacobian.rows, jacobian.columns}},
        {iteration.components(), row_major<const T, Space>(directions.data(), jacobian.columns, options.components)});
    result.objective = residual + iteration.sum_of_magnitudes() + iteration.coherence_term();
    result.relative_error = energy > 0 ? std::sqrt(residual / energy) : 0;
    return result;
}

}  // namespace detail

/// A Jacobian as a product of sparse components and unit directions that are nearly orthogonal: the minimum (a local one) of
///
///     |J - U V'|^2 + alpha |U|_1 + beta sum_{i != j} (v_i' v_j)^2,   |v_p| = 1.
///
/// Each row of U is a lasso problem with the same Gram matrix V'V, so all rows take accelerated proximal steps at once; each
/// direction then moves to the minimum of a quadratic bound on the unit sphere, again all at once, with U'U and J'U only. Both
/// step back where they would raise the objective. The start is random (000 says nothing about it): singular vectors solve the problem
/// for alpha = beta = 0, but every pixel needs all of them, and from there the method ends higher and takes longer. Components that no
/// data needs become zero, see discard_components.
///
/// \param policy   where to compute
/// \param jacobian J, S x d: change of every pixel value per latent coordinate, finite
/// \param options  number of components, weights, method, stopping
/// \return         components U (S x P), directions V' (P x d), objective with its history, relative error, status
/// \throws shape_error if the Jacobian is no matrix or is empty; argument_error for components out of range, weights that are negative or
///         infinite, other options out of range, NaN or infinity
///
/// Cost per iteration: 4 S d P flops for J (two products), about (2 k + 3) S P^2 for k <= 10 steps of U, and less than 20 times
/// 6 d P^2 for V; one of Adam takes 4 S d P + 3 S P^2. Memory beyond the result: five S x P buffers (Adam: eight), ten or so of
/// P x d, and a d x d Gram matrix for singular vectors.
/// Source: 000 Eq. 5 and section 4.4; accelerated steps with restarts: Beck & Teboulle 2009, O'Donoghue & Candes 2015.
/// \snippet tests/sparse/localized_dictionary.cpp localized_dictionary
template <execution_policy Policy, any_tensor Jacobian>
auto localized_dictionary(const Policy& policy, const Jacobian& jacobian, const localized_dictionary_options& options) {
    using T = value_type_of<Jacobian>;
    using space = typename Policy::memory_space;
    return detail::with_finite_matrix(policy, jacobian, "localized_dictionary", [&](matrix_view<const T, space> j) {
        detail::check_dictionary_options(options, j.rows, j.columns);
        const double energy = detail::sum_of_squares(policy, j.data, j.rows * j.columns);
        detail::dictionary_iteration<Policy, T, space> iteration(policy, j, options.components, options.sparsity, options.coherence, energy);
        if (options.start == dictionary_start::singular_vectors) {
            iteration.directions_from_singular_vectors();
        } else {
            iteration.random_directions(options.seed);
        }
        iteration.update_correlation();
        iteration.components_by_threshold();
        return detail::run_localized_dictionary<Policy, T, space>(policy, j, iteration, energy, options);
    });
}

template <any_tensor Jacobian>
auto localized_dictionary(const Jacobian& jacobian, const localized_dictionary_options& options) {
    return localized_dictionary(cpu_policy{}, jacobian, options);
}

/// The same from given factors, S x P and P x d: goes on where another call has stopped, or from one's own guess. Directions are
/// brought to length 1 and components scaled so that their product stays. options.components must be P or 0, options.start is not used.
/// \throws argument_error for a direction of length 0, beside what the other overload throws
template <execution_policy Policy, any_tensor Jacobian, any_tensor Components, any_tensor Directions>
auto localized_dictionary(const Policy& policy, const Jacobian& jacobian, const Components& components, const Directions& directions,
                          localized_dictionary_options options) {
    using T = value_type_of<Jacobian>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Components>> && std::is_same_v<T, value_type_of<Directions>>,
                  "moden: localized_dictionary of a Jacobian and factors of different type");
    const auto u = detail::evaluate(policy, components);
    const auto v = detail::evaluate(policy, directions);
    return detail::with_finite_matrix(policy, jacobian, "localized_dictionary", [&](matrix_view<const T, space> j) {
        const std::size_t count = v.view().order() == 2 ? v.view().shape[0] : 0;
        detail::require<argument_error>(options.components == 0 || options.components == count, "localized_dictionary: components ",
                                        options.components, " with ", count, " starting directions");
        options.components = count;
        detail::check_dictionary_options(options, j.rows, j.columns);
        const T* const starting_u = detail::checked_factor<T>(policy, u, j.rows, count, "localized_dictionary", "the starting components");
        const T* const starting_v = detail::checked_factor<T>(policy, v, count, j.columns, "localized_dictionary", "the starting directions");
        const double energy = detail::sum_of_squares(policy, j.data, j.rows * j.columns);
        detail::dictionary_iteration<Policy, T, space> iteration(policy, j, count, options.sparsity, options.coherence, energy);
        detail::require_directions(iteration.directions_from(starting_v), "localized_dictionary");
        iteration.update_correlation();
        iteration.components_from(starting_u);
        return detail::run_localized_dictionary<Policy, T, space>(policy, j, iteration, energy, options);
    });
}

template <any_tensor Jacobian, any_tensor Components, any_tensor Directions>
auto localized_dictionary(const Jacobian& jacobian, const Components& components, const Directions& directions,
                          const localized_dictionary_options& options) {
    return localized_dictionary(cpu_policy{}, jacobian, components, directions, options);
}

/// Options of sparse_components.
struct sparse_components_options {
    double sparsity = 1;               ///< alpha, at least 0
    double tolerance = 1e-9;           ///< stop when a step lowers the objective by less than this times the objective
    std::size_t max_iterations = 500;  ///< proximal steps
};

/// Sparse components for given directions, U = argmin |J - U V'|^2 + alpha |U|_1: one lasso problem per row, all at once.
///
/// \param policy     where to compute
/// \param jacobian   J, S x d, finite
/// \param directions V', P x d, P up to d; rows are brought to length 1 for U to belong to
/// \param options    weight and stopping
/// \return           U, S x P
/// \throws shape_error for a Jacobian that is no matrix or is empty, or directions of another size; argument_error for a direction of
///         length 0, a negative or infinite weight, NaN or infinity
///
/// Cost: 2 S d P flops and 2 S P^2 per step; memory for five S x P buffers.
/// Source: 000 Eq. 5 for fixed V; Beck & Teboulle 2009.
/// \snippet tests/sparse/localized_dictionary.cpp sparse_components
template <execution_policy Policy, any_tensor Jacobian, any_tensor Directions>
auto sparse_components(const Policy& policy, const Jacobian& jacobian, const Directions& directions, const sparse_components_options& options = {}) {
    using T = value_type_of<Jacobian>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Directions>>, "moden: sparse_components of a Jacobian and directions of different type");
    const auto v = detail::evaluate(policy, directions);
    return detail::with_finite_matrix(policy, jacobian, "sparse_components", [&](matrix_view<const T, space> j) {
        detail::check_penalties(options.sparsity, 0, "sparse_components");
        detail::require<argument_error>(options.tolerance >= 0 && options.max_iterations >= 1, "sparse_components: tolerance ", options.tolerance,
                                        " and ", options.max_iterations, " steps (expected at least 0 and 1)");
        const std::size_t count = v.view().order() == 2 ? v.view().shape[0] : 0;
        detail::require<shape_error>(count >= 1 && count <= j.columns, "sparse_components: directions of ", v.view().shape, " (expected 1 to ",
                                     j.columns, " rows of ", j.columns, ")");
        const T* const rows = detail::checked_factor<T>(policy, v, count, j.columns, "sparse_components", "the directions");
        const double energy = detail::sum_of_squares(policy, j.data, j.rows * j.columns);
        detail::dictionary_iteration<Policy, T, space> iteration(policy, j, count, options.sparsity, 0, energy);
        detail::require_directions(iteration.directions_from(rows), "sparse_components");
        iteration.update_correlation();
        iteration.components_by_threshold();
        iteration.improve_components(options.max_iterations, 0, options.tolerance);
        auto result = policy.template make_tensor<T, 2>({j.rows, count});
        policy.copy(iteration.components().data, result.data(), j.rows * count);
        return result;
    });
}

template <any_tensor Jacobian, any_tensor Directions>
auto sparse_components(const Jacobian& jacobian, const Directions& directions, const sparse_components_options& options = {}) {
    return sparse_components(cpu_policy{}, jacobian, directions, options);
}

}  // namespace moden
