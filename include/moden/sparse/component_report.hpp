#pragma once

// What the components of a localized dictionary are like, and which of them are worth keeping.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/sparse/detail/dictionary_steps.hpp>

namespace moden {

/// Sparsity and coherence of a dictionary, one entry per component.
struct component_report {
    std::vector<double> norms;       ///< |u_p|
    std::vector<double> zero_share;  ///< share of the entries of u_p that are zero
    std::vector<double> coherence;   ///< largest |cosine| between v_p and another direction
    double largest_coherence = 0;    ///< of all pairs
};

namespace detail {

/// S x P components and P x d directions as views, or shape_error; NaN and infinity are refused.
template <class Policy, class ComponentArgument, class DirectionArgument>
void check_dictionary(const Policy& policy, const ComponentArgument& components, const DirectionArgument& directions, const char* function) {
    const auto& u = components.view();
    const auto& v = directions.view();
    require<shape_error>(u.order() == 2 && v.order() == 2 && u.shape[1] == v.shape[0] && u.size() > 0 && v.size() > 0, function, ": components of ",
                         u.shape, " and directions of ", v.shape, " (expected S x P and P x d)");
    require_finite(policy, u.data, u.size(), function, "the list of components");
    require_finite(policy, v.data, v.size(), function, "the list of directions");
}

template <class Policy, class T>
void summarize_components(const Policy& policy, const tensor_view_of<Policy, T>& components, double threshold, component_report& report) {
    const std::size_t count = components.shape[1];
    const auto norms = policy.template allocate<double>(2 * count);
    policy.transform(count, component_summary<T>{components.data, components.shape[0], count, threshold, norms.data(), norms.data() + count},
                     components.shape[0]);
    report.norms = to_vector<Policy, double>(policy, norms.data(), count);
    report.zero_share = to_vector<Policy, double>(policy, norms.data() + count, count);
    for (double& x : report.zero_share) {
        x /= static_cast<double>(components.shape[0]);
    }
}

}  // namespace detail

/// How sparse every component is and how close its direction is to the others.
///
/// \param policy         where to compute
/// \param components     U, S x P
/// \param directions     V', P x d, of any length
/// \param zero_threshold entries count as zero up to this magnitude; 0 suits dictionary_method::alternating
/// \return               norms, shares of zeros, coherences
/// \throws shape_error if the two do not fit together or are empty; argument_error for a negative threshold, NaN or infinity
///
/// Cost: one pass over U, d P^2 flops. Source: 000 section 4.4 looks at these.
/// \snippet tests/sparse/localized_dictionary.cpp discard_components
template <execution_policy Policy, any_tensor Components, any_tensor Directions>
component_report report_components(const Policy& policy, const Components& components, const Directions& directions, double zero_threshold = 0) {
    using T = value_type_of<Components>;
    using space = typename Policy::memory_space;
    static_assert(std::is_same_v<T, value_type_of<Directions>>, "moden: report_components of components and directions of different type");
    const auto u = detail::evaluate(policy, components);
    const auto v = detail::evaluate(policy, directions);
    detail::check_dictionary(policy, u, v, "report_components");
    detail::require<argument_error>(zero_threshold >= 0, "report_components: zero_threshold ", zero_threshold, " (expected at least 0)");
    component_report report;
    detail::summarize_components<Policy, T>(policy, u.view(), zero_threshold, report);
    const std::size_t count = v.view().shape[0];
    const auto gram = policy.template allocate<T>(count * count);
    policy.template syrk<T>(T(1), row_major<const T, space>(v.view().data, count, v.view().shape[1]), T(0),
                            row_major<T, space>(gram.data(), count, count));
    const auto coherence = policy.template allocate<double>(count);
    policy.transform(count, detail::largest_coherence<T>{gram.data(), count, coherence.data()}, count);
    report.coherence = detail::to_vector<Policy, double>(policy, coherence.data(), count);
    report.largest_coherence = *std::max_element(report.coherence.begin(), report.coherence.end());
    return report;
}

template <any_tensor Components, any_tensor Directions>
component_report report_components(const Components& components, const Directions& directions, double zero_threshold = 0) {
    return report_components(cpu_policy{}, components, directions, zero_threshold);
}

/// The components that are left, with their directions.
template <class Matrix>
struct kept_components {
    Matrix components;                 ///< S x K, columns of U
    Matrix directions;                 ///< K x d
    std::vector<std::size_t> indices;  ///< K, ascending: which ones they were
};

/// Without the components that change next to nothing, |u_p| < threshold.
///
/// \param policy     where to compute
/// \param components U, S x P
/// \param directions V', P x d
/// \param threshold  at least 0; of the unit that U is in
/// \return           the other components, possibly none, in the same order
/// \throws shape_error if the two do not fit together or are empty; argument_error for a negative threshold, NaN or infinity
///
/// Cost: two passes over U. Source: 000 section 4.4.
/// \snippet tests/sparse/localized_dictionary.cpp discard_components
template <execution_policy Policy, any_tensor Components, any_tensor Directions>
auto discard_components(const Policy& policy, const Components& components, const Directions& directions, double threshold = 0.01) {
    using T = value_type_of<Components>;
    static_assert(std::is_same_v<T, value_type_of<Directions>>, "moden: discard_components of components and directions of different type");
    const auto u = detail::evaluate(policy, components);
    const auto v = detail::evaluate(policy, directions);
    detail::check_dictionary(policy, u, v, "discard_components");
    detail::require<argument_error>(threshold >= 0, "discard_components: threshold ", threshold, " (expected at least 0)");
    component_report report;
    detail::summarize_components<Policy, T>(policy, u.view(), 0, report);
    std::vector<std::size_t> kept;
    for (std::size_t p = 0; p < report.norms.size(); ++p) {
        if (!(report.norms[p] < threshold)) {
            kept.push_back(p);
        }
    }
    const auto indices = policy.template allocate<std::size_t>(kept.size());
    policy.upload(static_cast<const std::size_t*>(kept.data()), indices.data(), kept.size());
    const std::size_t rows = u.view().shape[0], columns = v.view().shape[1];
    kept_components<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({rows, kept.size()}),
                                                        policy.template make_tensor<T, 2>({kept.size(), columns}), kept};
    policy.transform_grid(rows, kept.size(), detail::select_columns<T>{u.view().data, indices.data(), u.view().shape[1], kept.size(),
                                                                       result.components.data()});
    policy.transform_grid(kept.size(), columns, detail::select_rows<T>{v.view().data, indices.data(), columns, result.directions.data()});
    return result;
}

template <any_tensor Components, any_tensor Directions>
auto discard_components(const Components& components, const Directions& directions, double threshold = 0.01) {
    return discard_components(cpu_policy{}, components, directions, threshold);
}

}  // namespace moden
