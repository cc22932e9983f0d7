#pragma once

// Changing a latent code so that a map from codes to attributes gives other values: in one linear step, or by minimising.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/maps/detail/products.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/optimize/lbfgs.hpp>

namespace moden {

/// Whether a Jacobian could move all attributes.
enum class jacobian_status {
    full_rank,      ///< to first order every change of the attributes (or of the code, if it has fewer numbers) is possible
    rank_deficient  ///< some are not: what is possible was done, in the sense of least squares
};

/// Options of linear_attribute_edit.
struct linear_edit_options {
    std::size_t steps = 1;        ///< 1: the paper's single step. More: that part of the way each, with the Jacobian where the code has got to
    double rank_tolerance = 0;    ///< singular values up to this times the largest count as 0; 0: max(m, n) eps
    double damping = 0;           ///< rho >= 0: each step minimises |J c - r|^2 + rho^2 |c|^2; 0 is the pseudo-inverse. In units of attributes per code
};

/// An edited code and what is known about it.
template <class Vector>
struct linear_edit_result {
    Vector code;                               ///< w, n numbers
    Vector attributes;                         ///< phi(w), m numbers
    double start_error = 0;                    ///< |phi(w_0) - q|
    double attribute_error = 0;                ///< |phi(w) - q|: what the linear model did not foresee
    double distance = 0;                       ///< |w - w_0|
    std::vector<double> singular_values = {};  ///< of the last step's Jacobian, descending
    std::size_t rank = 0;                      ///< of the same; the least over all steps
    jacobian_status status = jacobian_status::full_rank;  ///< rank_deficient if any step's was
};

/// Options of gradient_attribute_edit.
struct gradient_edit_options {
    std::vector<double> attribute_weights = {};  ///< a_i >= 0 of every attribute, in units of 1 / attribute^2; empty: 1. Those with 0 are free
    double preservation = 0.01;                  ///< lambda >= 0 of the mean squared change of what is to be preserved; counts where there is such a map
    double code_preservation = 0;                ///< weight >= 0 of |w - w_0|^2
    std::size_t max_iterations = 200;
    double tolerance = 1e-6;                     ///< stop when an iteration lowers the objective by less than this times the objective
    iteration_callback progress = {};            ///< (iteration, objective) -> keep going?
};

/// An edited code and how it was found.
template <class Vector>
struct gradient_edit_result {
    Vector code;                      ///< w, n numbers
    Vector attributes;                ///< phi(w), m numbers
    double objective = 0;             ///< sum of the three terms below, weighted
    double start_error = 0;           ///< |phi(w_0) - q|
    double attribute_error = 0;       ///< |phi(w) - q|, free attributes included
    double change = 0;                ///< mean squared change of what is to be preserved; 0 without a map
    double distance = 0;              ///< |w - w_0|
    std::vector<double> history = {}; ///< objective after each iteration, never rising
    std::size_t iterations = 0;
    std::size_t evaluations = 0;      ///< of the objective and its gradient
    iteration_status status = iteration_status::reached_max_iterations;
};

namespace detail {

/// result = factor weight (value - wanted), with weight 1 where there are none.
template <class T>
struct weighted_difference {
    const T* value;
    const T* wanted;
    const T* weights;
    T factor;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = factor * (weights == nullptr ? T(1) : weights[i]) * (value[i] - wanted[i]); }
};

/// Terms of sum weight (value - wanted)^2.
template <class T>
struct weighted_square {
    const T* value;
    const T* wanted;
    const T* weights;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double off = static_cast<double>(value[i]) - static_cast<double>(wanted[i]);
        return (weights == nullptr ? 1.0 : static_cast<double>(weights[i])) * off * off;
    }
};

template <class Policy, class T>
double distance_between(const Policy& policy, const T* a, const T* b, std::size_t size) {
    return std::sqrt(policy.reduce(size, 0.0, squared_difference_of<T>{a, b}, plus{}));
}

/// The whole Jacobian, m x n, through as few products as there are attributes or numbers in the code.
template <class T, class Policy, class Map, class Point>
auto whole_jacobian(const Policy& policy, const Map& map, const Point& x, const char* name) {
    using space = typename Policy::memory_space;
    const std::size_t n = map.input_size(), m = map.output_size(), k = std::min(m, n);
    auto units = policy.template make_tensor<T, 2>({k, k});
    policy.transform(k * k, fill_identity<T>{units.data(), k});
    if (m <= n) {
        return shaped_vjp<T>(policy, map, x, units, name);
    }
    const auto columns = shaped_jvp<T>(policy, map, x, units, name);  // n x m
    auto result = policy.template make_tensor<T, 2>({m, n});
    policy.template copy<T>(transposed(row_major<const T, space>(columns.data(), n, m)), row_major<T, space>(result.data(), m, n));
    return result;
}

/// w += J^+ change, damped if asked for; returns the singular values and how many of them count.
template <class T, class Policy, class Map>
std::pair<std::vector<double>, std::size_t> pseudo_inverse_step(const Policy& policy, const Map& map, policy_tensor<Policy, T, 1>& w, const T* change,
                                                                const linear_edit_options& options) {
    using space = typename Policy::memory_space;
    auto jacobian = whole_jacobian<T>(policy, map, w, "linear_attribute_edit");
    const std::size_t m = map.output_size(), n = map.input_size(), k = std::min(m, n);
    const std::size_t bad = count_not_finite(policy, static_cast<const T*>(jacobian.data()), m * n);
    require<solver_error>(bad == 0, "linear_attribute_edit: ", bad, " of ", m * n, " entries of the Jacobian are NaN or infinite");
    const auto values = policy.template allocate<T>(k), left = policy.template allocate<T>(m * k), right = policy.template allocate<T>(k * n),
               coefficients = policy.template allocate<T>(k);
    policy.template svd<T>(mutable_matrix(policy, jacobian), values.data(), row_major<T, space>(left.data(), m, k), row_major<T, space>(right.data(), k, n));
    std::pair<std::vector<double>, std::size_t> result{{}, 0};
    std::vector<T> inverse;
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (const T s : to_vector<Policy, T>(policy, values.data(), k)) {
        result.first.push_back(static_cast<double>(s));
        const double floor = (options.rank_tolerance > 0 ? options.rank_tolerance : eps * static_cast<double>(std::max(m, n))) * result.first.front();
        const bool counts = static_cast<double>(s) > floor;
        result.second += counts ? 1 : 0;
        const double size = static_cast<double>(s);
        const double length = std::hypot(size, options.damping);  // of s / (s^2 + rho^2) without the squares, which underflow
        inverse.push_back(!counts ? T(0) : static_cast<T>(options.damping > 0 ? size / length / length : 1 / size));
    }
    const auto scales = uploaded<Policy, T>(policy, inverse);
    const auto zeros = policy.template allocate<T>(k);
    policy.transform(k, fill_with<T>{zeros.data(), T(0)});
    policy.template gemm<T>(T(1), row_major<const T, space>(change, 1, m), row_major<const T, space>(left.data(), m, k), T(0),
                            row_major<T, space>(coefficients.data(), 1, k));
    policy.transform(k, weighted_difference<T>{coefficients.data(), zeros.data(), scales.data(), T(1), coefficients.data()});
    policy.template gemm<T>(T(1), row_major<const T, space>(coefficients.data(), 1, k), row_major<const T, space>(right.data(), k, n), T(1),
                            row_major<T, space>(w.data(), 1, n));
    return result;
}

/// Shapes, finiteness and a copy of the code to change.
template <class T, class Policy, class Map, class Code, class Target>
auto start_of_edit(const Policy& policy, const Map& map, const Code& code, const Target& target, const char* name) {
    check_map_vector(code.shape, map.input_size(), name, "the code");
    check_map_vector(target.shape, map.output_size(), name, "the target");
    require_finite(policy, code.data, code.size(), name, "the code");
    require_finite(policy, target.data, target.size(), name, "the target");
    auto w = policy.template make_tensor<T, 1>({code.size()});
    policy.copy(code.data, w.data(), code.size());
    return w;
}

/// What an edit without anything to preserve in the picture is given instead of a map.
struct nothing_preserved {};

/// Eq. 15 as a function of the code, and its gradient.
template <class Policy, class T, class Map, class Preserved>
class edit_objective {
public:
    edit_objective(const Policy& policy, const Map& map, const Preserved& preserved, const T* start, const T* target, const gradient_edit_options& options,
                   const char* name)
        : policy_(policy), map_(map), preserved_(preserved), start_(start), target_(target), options_(options), name_(name),
          weights_(uploaded<Policy, T>(policy, {options.attribute_weights.begin(), options.attribute_weights.end()})),
          point_(policy.template make_tensor<T, 1>({map.input_size()})), before_(policy.template make_tensor<T, 1>({0})) {
        if constexpr (has_map) {
            policy.copy(start, point_.data(), point_.size());
            before_ = checked_value<T>(policy, preserved, point_, name, preserved_value);
        }
    }

    /// At the start everything must be finite; a search that gets where it is not steps back.
    double operator()(const T* w, T* gradient) {
        const std::size_t n = map_.input_size(), m = map_.output_size();
        policy_.copy(w, point_.data(), n);
        const T* const weights = options_.attribute_weights.empty() ? nullptr : weights_.data();
        const auto attributes = shaped_value<T>(policy_, map_, point_, name_);
        auto slope = policy_.template make_tensor<T, 2>({1, m});
        double value = policy_.reduce(m, 0.0, weighted_square<T>{attributes.data(), target_, weights}, plus{});
        policy_.transform(m, weighted_difference<T>{attributes.data(), target_, weights, T(2), slope.data()});
        const auto pulled = started_ ? shaped_vjp<T>(policy_, map_, point_, slope, name_) : checked_vjp<T>(policy_, map_, point_, slope, name_);
        policy_.copy(static_cast<const T*>(pulled.data()), gradient, n);
        if constexpr (has_map) {
            if (options_.preservation > 0) {
                const std::size_t size = preserved_.output_size();
                const double factor = options_.preservation / static_cast<double>(size);
                const auto now = shaped_value<T>(policy_, preserved_, point_, name_, preserved_value);
                auto change = policy_.template make_tensor<T, 2>({1, size});
                value += factor * policy_.reduce(size, 0.0, squared_difference_of<T>{now.data(), before_.data()}, plus{});
                policy_.transform(size, weighted_difference<T>{now.data(), before_.data(), nullptr, static_cast<T>(2 * factor), change.data()});
                const auto back = started_ ? shaped_vjp<T>(policy_, preserved_, point_, change, name_, preserved_vjp)
                                           : checked_vjp<T>(policy_, preserved_, point_, change, name_, preserved_vjp);
                policy_.transform(n, add_to<T>{back.data(), gradient});
            }
        }
        if (options_.code_preservation > 0) {
            value += options_.code_preservation * policy_.reduce(n, 0.0, squared_difference_of<T>{w, start_}, plus{});
            auto off = policy_.template make_tensor<T, 1>({n});
            policy_.transform(n, weighted_difference<T>{w, start_, nullptr, static_cast<T>(2 * options_.code_preservation), off.data()});
            policy_.transform(n, add_to<T>{off.data(), gradient});
        }
        if (!started_) {  // sums of finite numbers may still overflow
            require<argument_error>(std::isfinite(value), name_, ": the objective at the start is ", value);
            require_finite(policy_, static_cast<const T*>(gradient), n, name_, "the objective's gradient at the start");
            started_ = true;
        }
        return value;
    }

    /// Mean squared change of what is to be preserved.
    double change_at(const policy_tensor<Policy, T, 1>& w) const {
        if constexpr (has_map) {
            const std::size_t size = preserved_.output_size();
            const auto now = shaped_value<T>(policy_, preserved_, w, name_, preserved_value);
            return policy_.reduce(size, 0.0, squared_difference_of<T>{now.data(), before_.data()}, plus{}) / static_cast<double>(size);
        } else {
            return 0;
        }
    }

private:
    static constexpr bool has_map = !std::is_same_v<Preserved, nothing_preserved>;
    static constexpr const char* preserved_value = "the value of what is to be preserved";
    static constexpr const char* preserved_vjp = "the vjp of what is to be preserved";

    const Policy& policy_;
    const Map& map_;
    const Preserved& preserved_;
    const T* start_;
    const T* target_;
    const gradient_edit_options& options_;
    const char* name_;
    bool started_ = false;
    buffer_of<Policy, T> weights_;
    policy_tensor<Policy, T, 1> point_, before_;
};

inline void check_edit_options(const gradient_edit_options& options, std::size_t attributes, const char* name) {
    require<argument_error>(options.attribute_weights.empty() || options.attribute_weights.size() == attributes, name, ": ", options.attribute_weights.size(),
                            " attribute_weights for ", attributes, " attributes");
    for (std::size_t i = 0; i < options.attribute_weights.size(); ++i) {
        require<argument_error>(options.attribute_weights[i] >= 0 && std::isfinite(options.attribute_weights[i]), name, ": the weight of attribute ", i, " is ",
                                options.attribute_weights[i], " (expected a finite value of at least 0)");
    }
    require<argument_error>(options.preservation >= 0 && std::isfinite(options.preservation) && options.code_preservation >= 0 &&
                                std::isfinite(options.code_preservation),
                            name, ": preservation ", options.preservation, ", code_preservation ", options.code_preservation,
                            " (expected finite values of at least 0)");
    require<argument_error>(options.max_iterations >= 1 && options.tolerance >= 0, name, ": max_iterations ", options.max_iterations, ", tolerance ",
                            options.tolerance, " (expected at least 1 and 0)");
}

}  // namespace detail

/// The smallest change of a code with which the linearised map reaches given attributes: w = w_0 + J^+ (q - phi(w_0)), J at w_0.
///
/// "Smallest" is in the units that the map's input has. Where those differ much (codes whose axes have very different spreads), compose the map with an affine_map
/// from whitened codes; where a regressor hardly sees some attributes, whose exact values would cost a long way, divide attributes by their spreads and ask for
/// damping. To change some attributes and leave the others free, compose it with a selection of rows; all attributes that are there are
/// held to the target.
///
/// \param policy  where to compute
/// \param map     phi, any differentiable_map: a regressor of attributes
/// \param code    w_0, map.input_size() numbers, finite
/// \param target  q, map.output_size() numbers, finite
/// \param options steps, rank
/// \return        code, its attributes, errors, singular values and rank of J. A Jacobian without full rank moves what it can: see `status`
/// \throws shape_error if code or target do not fit; argument_error for options out of range and for NaN or infinity in an argument or in the map's
///         value, at the start or after a step; solver_error if the Jacobian is not finite
///
/// Cost: per step min(m, n) vector products with J and the SVD of an m x n matrix.
/// Source: 001 Eq. 4.16, Paper III Eq. 14; more steps are Newton's method along the way.
/// \snippet tests/editing/attribute_editing.cpp linear_attribute_edit
template <execution_policy Policy, class Map, any_tensor Code, any_tensor Target>
auto linear_attribute_edit(const Policy& policy, const Map& map, const Code& code, const Target& target, const linear_edit_options& options = {}) {
    using T = value_type_of<Code>;
    constexpr const char* name = "linear_attribute_edit";
    detail::require<argument_error>(options.steps >= 1 && options.rank_tolerance >= 0 && options.rank_tolerance < 1 && options.damping >= 0 && std::isfinite(options.damping),
                                    name, ": steps ", options.steps, ", rank_tolerance ", options.rank_tolerance, ", damping ", options.damping,
                                    " (expected at least 1, a number in [0, 1), a finite number of at least 0)");
    const auto from = detail::evaluate(policy, code);
    const auto to = detail::evaluate(policy, target);
    auto w = detail::start_of_edit<T>(policy, map, from.view(), to.view(), name);
    const std::size_t m = map.output_size(), n = map.input_size();
    auto attributes = detail::checked_value<T>(policy, map, w, name);
    linear_edit_result<policy_tensor<Policy, T, 1>> result{std::move(w), std::move(attributes)};
    result.start_error = detail::distance_between(policy, static_cast<const T*>(result.attributes.data()), to.view().data, m);
    result.rank = std::min(m, n);
    const auto change = policy.template allocate<T>(m), way = policy.template allocate<T>(m);
    policy.transform(m, detail::difference_of<T>{to.view().data, result.attributes.data(), way.data()});
    for (std::size_t step = 1; step <= options.steps; ++step) {
        // From where the code has got to, to that part of the way: q - (1 - step / steps) (q - q_0) - phi(w).
        const double left = 1 - static_cast<double>(step) / static_cast<double>(options.steps);
        policy.transform(m, detail::difference_of<T>{to.view().data, result.attributes.data(), change.data()});
        policy.transform(m, detail::scaled_sum<T>{change.data(), way.data(), static_cast<T>(-left), change.data()});
        auto [values, rank] = detail::pseudo_inverse_step<T>(policy, map, result.code, static_cast<const T*>(change.data()), options);
        result.singular_values = std::move(values);
        result.rank = std::min(result.rank, rank);
        result.attributes = detail::checked_value<T>(policy, map, result.code, name);
    }
    result.status = result.rank < std::min(m, n) ? jacobian_status::rank_deficient : jacobian_status::full_rank;
    result.attribute_error = detail::distance_between(policy, static_cast<const T*>(result.attributes.data()), to.view().data, m);
    result.distance = detail::distance_between(policy, static_cast<const T*>(result.code.data()), from.view().data, n);
    return result;
}

/// Changes a code until a map gives wanted attributes while something else stays as it is:
/// min_w sum_i a_i (phi(w) - q)_i^2 + lambda |G(w) - G(w_0)|^2 / M + mu |w - w_0|^2.
///
/// By L-BFGS from w_0, so that the objective never rises.
///
/// \param policy    where to compute
/// \param map       phi, any differentiable_map: a regressor of attributes
/// \param code      w_0, map.input_size() numbers, finite
/// \param target    q, map.output_size() numbers, finite
/// \param preserved G from the same codes to M numbers: a generator, or a recogniser of identities after one
/// \param options   weights a, lambda (preservation), mu (code_preservation), stopping
/// \return          code, its attributes, the terms of the objective, history, status
/// \throws shape_error if code, target or G do not fit; argument_error for options out of range and for NaN or infinity in an argument or, at the start,
///         in what the maps return; further on the search steps back from such points
///
/// Cost: per evaluation, of which an iteration usually takes one, a value and a vector product with J' of both maps.
/// Source: 001 Eq. 4.17, Paper III Eq. 15.
/// \snippet tests/editing/attribute_editing.cpp gradient_attribute_edit
template <execution_policy Policy, class Map, any_tensor Code, any_tensor Target, class Preserved>
auto gradient_attribute_edit(const Policy& policy, const Map& map, const Code& code, const Target& target, const Preserved& preserved,
                             const gradient_edit_options& options) {
    using T = value_type_of<Code>;
    constexpr const char* name = "gradient_attribute_edit";
    detail::check_edit_options(options, map.output_size(), name);
    if constexpr (!std::is_same_v<Preserved, detail::nothing_preserved>) {
        detail::require<shape_error>(static_cast<std::size_t>(preserved.input_size()) == static_cast<std::size_t>(map.input_size()) && preserved.output_size() > 0, name,
                                     ": what is to be preserved depends on ", preserved.input_size(), " numbers (expected ", map.input_size(), ", as attributes do)");
    }
    const auto from = detail::evaluate(policy, code);
    const auto to = detail::evaluate(policy, target);
    auto w = detail::start_of_edit<T>(policy, map, from.view(), to.view(), name);
    auto attributes = detail::checked_value<T>(policy, map, w, name);
    gradient_edit_result<policy_tensor<Policy, T, 1>> result{std::move(w), std::move(attributes)};
    result.start_error = detail::distance_between(policy, static_cast<const T*>(result.attributes.data()), to.view().data, map.output_size());
    detail::edit_objective<Policy, T, Map, Preserved> objective(policy, map, preserved, from.view().data, to.view().data, options, name);
    auto found = minimize_lbfgs(policy, result.code.data(), result.code.size(), [&](const T* at, T* gradient) { return objective(at, gradient); },
                                {.max_iterations = options.max_iterations, .tolerance = options.tolerance, .progress = options.progress});
    result.attributes = detail::shaped_value<T>(policy, map, result.code, name);
    result.objective = found.value;
    result.attribute_error = detail::distance_between(policy, static_cast<const T*>(result.attributes.data()), to.view().data, map.output_size());
    result.change = objective.change_at(result.code);
    result.distance = detail::distance_between(policy, static_cast<const T*>(result.code.data()), from.view().data, result.code.size());
    result.history = std::move(found.history);
    result.iterations = found.iterations;
    result.evaluations = found.evaluations;
    result.status = found.status;
    return result;
}

/// The same with nothing to preserve but, if asked for, the code.
template <execution_policy Policy, class Map, any_tensor Code, any_tensor Target>
auto gradient_attribute_edit(const Policy& policy, const Map& map, const Code& code, const Target& target, const gradient_edit_options& options = {}) {
    return gradient_attribute_edit(policy, map, code, target, detail::nothing_preserved{}, options);
}

/// Attributes of one picture with some of them taken from another: what to aim an edit at so that it transfers a pose or an expression.
///
/// \param policy     where the vectors lie
/// \param source     attributes of the picture that is to change, m numbers
/// \param target     attributes of the picture to be like, m numbers: of a regressor, or of fit_shape_parameters
/// \param components which of them to take over, see attribute_indices
/// \return           m numbers
/// \throws shape_error if the sizes differ; argument_error if a component is out of range
///
/// Source: Paper III section 4.4.
/// \snippet tests/editing/attribute_editing.cpp transferred_attributes
template <execution_policy Policy, any_tensor Source, any_tensor Target>
auto transferred_attributes(const Policy& policy, const Source& source, const Target& target, const std::vector<std::size_t>& components) {
    using T = value_type_of<Source>;
    constexpr const char* name = "transferred_attributes";
    const auto from = detail::evaluate(policy, source);
    const auto to = detail::evaluate(policy, target);
    detail::require<shape_error>(from.view().order() == 1, name, ": source attributes of the shape ", from.view().shape, " (expected a vector)");
    const std::size_t size = from.view().size();
    detail::check_map_vector(to.view().shape, size, name, "the target");
    auto result = policy.template make_tensor<T, 1>({size});
    policy.copy(from.view().data, result.data(), size);
    for (const std::size_t i : components) {
        detail::require<argument_error>(i < size, name, ": component ", i, " of ", size, " attributes");
        policy.copy(to.view().data + i, result.data() + i, 1);
    }
    return result;
}

}  // namespace moden
