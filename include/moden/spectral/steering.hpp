#pragma once

// Walking through a latent space along the gradient of an attribute.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/error.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/core/view.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/detail/project_away.hpp>
#include <moden/maps/detail/products.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/optimize/lbfgs.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/spectral/detail/jacobian_operator.hpp>

namespace moden {

/// How long a step of steer is.
enum class steering_step {
    gradient,    ///< step times the gradient, 001 Eq. 2.22
    fixed_length ///< step along the gradient, whatever its length
};

/// Why steer stopped.
enum class steering_status {
    reached_target,
    reached_max_iterations,
    stopped_by_callback,
    no_gradient  ///< the attribute's gradient is 0, or lies in the span of those to be preserved
};

/// Options of steer.
struct steering_options {
    std::size_t attribute = 0;         ///< which output of the map is steered
    /// Its value to reach; plus or minus infinity: as far as max_iterations go.
    double target = std::numeric_limits<double>::infinity();
    double tolerance = 1e-3;           ///< stop when the attribute is that close to the target
    double step = 0.1;                 ///< lambda, positive; the sign is that of the way to the target
    steering_step rule = steering_step::gradient;
    std::vector<std::size_t> preserve = {};  ///< outputs whose gradients steps are made orthogonal to
    std::size_t max_iterations = 100;
    iteration_callback progress = {};  ///< (iteration, attribute) -> keep going?
};

/// Where steer went.
template <class Matrix>
struct steering_result {
    Matrix path;                        ///< (iterations + 1) x n, the start first
    Matrix outputs;                     ///< (iterations + 1) x m, what the map says there
    steering_status status = steering_status::reached_max_iterations;
    std::size_t iterations = 0;
};

namespace detail {

/// result <- a + factor b, of rows in host or device memory.
template <class Policy, class T>
void step_along(const Policy& policy, std::size_t size, const T* from, const T* direction, double factor, T* result) {
    policy.transform(size, scaled_sum<T>{from, direction, static_cast<T>(factor), result});
}

}  // namespace detail

/// Steps along the gradient of one output of a map, z_{i+1} = z_i +- lambda grad f_a(z_i), until that output has the wanted value. The
/// sign leads to the target. The last steps are shortened to where the target would be if f_a were linear.
///
/// With `preserve` the gradient loses its projection on the gradients of those outputs, at every point anew, so that to first
/// order they stay as they are.
///
/// \param policy  where to compute
/// \param map     a differentiable_map from n latent numbers to m attributes: a proxy of (generator, classifier), or their composition
/// \param x       the start, n numbers
/// \param options attribute, target, step, what to preserve
/// \return        the path with the map's outputs on it, status, iterations
/// \throws shape_error if x does not fit; argument_error for an attribute that does not exist or that is to be preserved, options out
///         of range, an x that is not finite, NaN or infinity from the map
///
/// Cost per step: one value and 1 + (number preserved) cotangents.
/// Source: 001 Eq. 2.22 (Wang et al. 2021), which prints the step that lowers the attribute.
/// \snippet tests/spectral/steering.cpp steer
template <execution_policy Policy, class Map, any_tensor Point>
auto steer(const Policy& policy, const Map& map, const Point& x, const steering_options& options) {
    using T = value_type_of<Point>;
    using space = typename Policy::memory_space;
    using detail::require;
    const char* const function = "steer";
    const std::size_t n = map.input_size(), m = map.output_size(), a = options.attribute, held = options.preserve.size();
    require<argument_error>(a < m, function, ": attribute ", a, " of a map with ", m, " outputs");
    for (const std::size_t other : options.preserve) {
        require<argument_error>(other < m && other != a, function, ": output ", other, " to be preserved, of ", m, " outputs with attribute ", a,
                                " to be steered");
    }
    require<argument_error>(held < n, function, ": ", held, " outputs to be preserved in ", n, " dimensions");
    require<argument_error>(!std::isnan(options.target), function, ": target ", options.target);
    require<argument_error>(options.tolerance >= 0, function, ": tolerance ", options.tolerance, " (expected at least 0)");
    require<argument_error>(options.step > 0 && std::isfinite(options.step), function, ": step ", options.step, " (expected a positive, finite value)");
    const auto argument = detail::evaluate(policy, x);
    detail::check_map_point(policy, argument.view(), n, function);
    auto point = policy.template make_tensor<T, 1>({n});
    policy.copy(argument.view().data, point.data(), n);
    // Unit cotangents: those to be preserved first, so that one orthogonalisation does it all.
    std::vector<T> units((held + 1) * m, T(0));
    for (std::size_t i = 0; i < held; ++i) {
        units[i * m + options.preserve[i]] = T(1);
    }
    units[held * m + a] = T(1);
    auto cotangents = policy.template make_tensor<T, 2>({held + 1, m});
    policy.upload(units.data(), cotangents.data(), units.size());
    std::vector<T> path, outputs, row(std::max(n, m));
    steering_status status = steering_status::reached_max_iterations;
    std::size_t iterations = 0;
    while (true) {
        const auto value = detail::checked_value<T>(policy, map, point, function);
        policy.download(static_cast<const T*>(value.data()), row.data(), m);
        outputs.insert(outputs.end(), row.begin(), row.begin() + static_cast<std::ptrdiff_t>(m));
        const double now = static_cast<double>(row[a]);
        policy.download(static_cast<const T*>(point.data()), row.data(), n);
        path.insert(path.end(), row.begin(), row.begin() + static_cast<std::ptrdiff_t>(n));
        if (std::abs(options.target - now) <= options.tolerance) {
            status = steering_status::reached_target;
            break;
        }
        if (iterations > 0 && options.progress && !options.progress(iterations, now)) {
            status = steering_status::stopped_by_callback;
            break;
        }
        if (iterations == options.max_iterations) {
            break;
        }
        auto gradients = detail::checked_vjp<T>(policy, map, point, cotangents, function);
        T* const gradient = gradients.data() + held * n;
        const double whole = detail::euclidean_norm(policy, static_cast<const T*>(gradient), n);
        if (held > 0) {
            const auto others = column_major<T, space>(gradients.data(), n, held);
            const auto values = policy.template allocate<T>(held), basis = policy.template allocate<T>(n * held), right = policy.template allocate<T>(held * held);
            policy.template svd<T>(others, values.data(), column_major<T, space>(basis.data(), n, held), column_major<T, space>(right.data(), held, held));
            const std::vector<T> lengths = detail::to_vector<Policy, T>(policy, values.data(), held);
            const double least = 8 * static_cast<double>(n) * static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(lengths[0]);
            const auto rank = static_cast<std::size_t>(std::count_if(lengths.begin(), lengths.end(), [&](T s) { return static_cast<double>(s) > least; }));
            detail::project_away<T>(policy, column_major<const T, space>(basis.data(), n, rank), column_major<T, space>(gradient, n, 1));
        }
        const double length = detail::euclidean_norm(policy, static_cast<const T*>(gradient), n);
        if (!(length > std::sqrt(static_cast<double>(std::numeric_limits<T>::epsilon())) * whole) || length == 0) {
            status = steering_status::no_gradient;
            break;
        }
        // A step t grad changes the attribute by t |grad|^2, to first order.
        const double wanted = options.rule == steering_step::gradient ? options.step : options.step / length;
        const double enough = std::abs(options.target - now) / (length * length);
        detail::step_along(policy, n, static_cast<const T*>(point.data()), static_cast<const T*>(gradient),
                           std::copysign(std::min(wanted, enough), options.target - now), point.data());
        ++iterations;
    }
    steering_result<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({iterations + 1, n}),
                                                        policy.template make_tensor<T, 2>({iterations + 1, m}), status, iterations};
    policy.upload(path.data(), result.path.data(), path.size());
    policy.upload(outputs.data(), result.outputs.data(), outputs.size());
    return result;
}

template <class Map, any_tensor Point>
    requires(!execution_policy<Map>)
auto steer(const Map& map, const Point& x, const steering_options& options) {
    return steer(cpu_policy{}, map, x, options);
}

/// Options of linear_walk.
struct linear_walk_options {
    std::vector<double> strengths = {-1, 1};  ///< alpha; at least one that is not 0
    double tolerance = 1e-6;                  ///< stop when an iteration lowers the objective by less than this share
    std::size_t max_iterations = 100;
    iteration_callback progress = {};         ///< (iteration, objective) -> keep going?
};

/// A direction that does to codes what a transform does to images.
template <class Vector>
struct linear_walk_result {
    Vector direction;               ///< n; alpha = 1 is one length of it
    double objective = 0;           ///< mean of |G(z + alpha d) - edit(G(z), alpha)|^2
    double unexplained = 0;         ///< the objective as a share of its value for d = 0: 1 where no direction does it
    std::vector<double> history = {};
    std::size_t iterations = 0;
    std::size_t value_count = 0;    ///< images made
    std::size_t vjp_count = 0;      ///< cotangents
    iteration_status status = iteration_status::reached_max_iterations;
};

/// The direction along which a generator does most nearly what an edit of images does (zoom, shift, colour):
///
///     min over d of the mean over codes z and strengths alpha of |G(z + alpha d) - edit(G(z), alpha)|^2.
///
/// \param policy  where to compute
/// \param map     G, a differentiable_map from n to m numbers
/// \param codes   N x n, finite
/// \param edit    edit(policy, image, alpha) -> image, m numbers as policy_tensor<Policy, T, 1>; alpha = 0 should change nothing
/// \param options strengths, stopping
/// \return        direction, objective, the share of the edit that it leaves unexplained, what it cost, status
/// \throws shape_error if codes or an edited image do not fit; argument_error for strengths that are all 0 or not finite, options out
///         of range, NaN or infinity in the codes, from the edit, or from the map at the start (d = 0); further on the search steps back
///
/// Cost per iteration (L-BFGS): N K values and cotangents for K strengths, usually once; memory for N K edited images.
/// Source: 001 Eq. 2.21 (Jahanian et al. 2020) with the squared distance, which is to be minimised where Eq. 2.21 prints arg max.
/// \snippet tests/spectral/steering.cpp linear_walk
template <execution_policy Policy, class Map, any_tensor Codes, class Edit>
auto linear_walk(const Policy& policy, const Map& map, const Codes& codes, Edit edit, const linear_walk_options& options = {}) {
    using T = value_type_of<Codes>;
    using detail::require;
    const char* const function = "linear_walk";
    const std::size_t n = map.input_size(), m = map.output_size(), strengths = options.strengths.size();
    require<argument_error>(options.tolerance >= 0 && options.max_iterations >= 1, function, ": tolerance ", options.tolerance, ", max_iterations ",
                            options.max_iterations, " (expected at least 0 and 1)");
    const auto argument = detail::evaluate(policy, codes);
    detail::check_map_block(argument.view().shape, n, function, "the codes");
    const T* const z = argument.view().data;
    const std::size_t count = argument.view().shape[0];
    detail::require_finite(policy, z, count * n, function, "the codes");
    bool moves = false;
    for (const double alpha : options.strengths) {
        require<argument_error>(std::isfinite(alpha), function, ": strength ", alpha, " (expected a finite number)");
        moves = moves || alpha != 0;
    }
    require<argument_error>(moves, function, ": ", strengths, " strengths, none of which is different from 0");
    const std::size_t pairs = count * strengths;
    const auto targets = policy.template allocate<T>(pairs * m);
    auto point = policy.template make_tensor<T, 1>({n});
    auto cotangent = policy.template make_tensor<T, 2>({1, m});
    auto direction = policy.template make_tensor<T, 1>({n});
    policy.transform(n, detail::fill_with<T>{direction.data(), T(0)});
    linear_walk_result<policy_tensor<Policy, T, 1>> result{policy.template make_tensor<T, 1>({n})};
    double still = 0;  // objective of d = 0
    for (std::size_t i = 0; i < count; ++i) {
        policy.copy(z + i * n, point.data(), n);
        const auto image = detail::checked_value<T>(policy, map, point, function);
        ++result.value_count;
        for (std::size_t j = 0; j < strengths; ++j) {
            const auto edited = detail::shaped_product<1, T, Policy>(edit(policy, image, options.strengths[j]), {m}, function, "an edited image");
            detail::require_finite(policy, edited.data(), m, function, "an edited image");
            policy.copy(static_cast<const T*>(edited.data()), targets.data() + (i * strengths + j) * m, m);
            still += policy.reduce(m, 0.0, detail::squared_difference_of<T>{image.data(), edited.data()}, detail::plus{});
        }
    }
    const double share = 1 / static_cast<double>(pairs);
    bool started = false;  // at the start everything must be finite; a search that gets where it is not steps back
    const auto objective = [&](const T* d, T* gradient) {
        double sum = 0;
        policy.transform(n, detail::fill_with<T>{gradient, T(0)});
        for (std::size_t pair = 0; pair < pairs; ++pair) {
            const double alpha = options.strengths[pair % strengths];
            detail::step_along(policy, n, z + pair / strengths * n, d, alpha, point.data());
            const auto image = detail::shaped_value<T>(policy, map, point, function);
            ++result.value_count;
            policy.transform(m, detail::difference_of<T>{image.data(), targets.data() + pair * m, cotangent.data()});
            sum += detail::sum_of_squares(policy, static_cast<const T*>(cotangent.data()), m);
            if (alpha != 0) {
                const auto slope = started ? detail::shaped_vjp<T>(policy, map, point, cotangent, function)
                                           : detail::checked_vjp<T>(policy, map, point, cotangent, function);
                ++result.vjp_count;
                detail::step_along(policy, n, static_cast<const T*>(gradient), slope.data(), 2 * alpha * share, gradient);
            }
        }
        if (!started) {  // sums of finite numbers may still overflow
            require<argument_error>(std::isfinite(sum), function, ": the objective at the start is ", sum);
            detail::require_finite(policy, static_cast<const T*>(gradient), n, function, "the objective's gradient at the start");
            started = true;
        }
        return sum * share;
    };
    const auto found = minimize_lbfgs(policy, direction.data(), n, objective,
                                      {.max_iterations = options.max_iterations, .tolerance = options.tolerance, .progress = options.progress});
    policy.copy(static_cast<const T*>(direction.data()), result.direction.data(), n);
    result.objective = found.value;
    result.unexplained = still > 0 ? found.value / (still * share) : 0;
    result.history = found.history;
    result.iterations = found.iterations;
    result.status = found.status;
    return result;
}

}  // namespace moden
