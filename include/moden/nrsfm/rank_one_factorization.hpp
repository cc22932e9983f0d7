#pragma once

// Structure from motion of an object that deforms: a rigid shape and basis shapes of rank one, each a pattern b_k of the points that moves along one
// direction d_k.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/accelerated_rounds.hpp>
#include <moden/nrsfm/detail/alternation.hpp>
#include <moden/nrsfm/detail/direction_search.hpp>
#include <moden/nrsfm/detail/rank_one_steps.hpp>
#include <moden/nrsfm/detail/tracks.hpp>
#include <moden/nrsfm/rigid_factorization.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// How the directions d_k of given basis rows are found.
enum class direction_method {
    global_search,       ///< all directions of a grid on the half sphere in one product, then Newton's method from the local maxima
    alternating,         ///< the original method: coefficients and directions in turn, each in closed form; a local minimum
    gradient_descent     ///< Paper III's Eq. 10 by Adam, from random directions
};

/// Where the rows b_k come from.
enum class basis_choice {
    principal_components,    ///< the leading right singular vectors of the residual: orthonormal, uncorrelated, mixtures of what moves
    independent_components,  ///< those turned until they are as independent as can be, taken as K signals of L points: orthonormal, often local patterns
    joint                    ///< from there, rounds of least squares for b_k, d_k, coefficients and the rigid shape together; not orthogonal
};

/// Whether the rounds of basis_choice::joint (and those with a mask) fit the cameras as well.
enum class camera_refinement {
    fixed,
    rotations,  ///< M_n becomes M_n R_n; calibrations and scales stay
    all         ///< whatever the camera model leaves free
};

/// Options of rank_one_factorization.
struct rank_one_factorization_options {
    std::size_t basis_shapes = 0;      ///< K; 0: as many as the Bayesian information criterion asks for
    camera_model cameras = camera_model::scaled_orthographic;
    depth_rule depth = depth_rule::positive_skew;
    direction_method directions = direction_method::global_search;
    basis_choice basis = basis_choice::principal_components;
    camera_refinement refinement = camera_refinement::fixed;
    double shrinkage = 0.1;            ///< weight of sum |M_n|^2 / 2 alpha_nk^2 in the cost, at least 0; what it means is said at the function
    std::size_t grid = 0;              ///< directions P of the global search, 32 to 65536; 0: 2^23 / N, at least 512 and at most 8192
    double tolerance = 1e-5;           ///< stop when a round lowers the objective by less than this times the objective; 0: never
    std::size_t max_iterations = 200;  ///< rounds of each stage; gradient descent needs thousands
    double learning_rate = 0.01;       ///< of gradient descent; the unit of coefficients is the residual's root mean square
    double length_penalty = 1;         ///< lambda of Eq. 10, in units of that mean square
    std::uint64_t seed = 0;            ///< of gradient descent and of independent components
    iteration_callback progress = {};  ///< (iteration, objective) of the stage that comes last -> keep going?
};

/// tracks(n) ~ cameras(n) (shape + sum_k coefficients(n, k) directions(k)' basis(k)) + translations(n) 1'.
template <class Matrix, class Tensor>
struct rank_one_factorization_result {
    Tensor cameras;                                 ///< N x 2 x 3
    Matrix translations;                            ///< N x 2, in the tracks' unit
    Matrix shape;                                   ///< B_0, 3 x L, about the mean of its points
    Matrix basis;                                   ///< b_k, K x L, rows of length 1, about their means
    Matrix directions;                              ///< d_k, K x 3, rows of length 1
    Matrix coefficients;                            ///< alpha, N x K
    camera_model model = camera_model::scaled_orthographic;
    metric_upgrade upgrade = metric_upgrade::closed_form;
    std::array<double, 3> singular_values{};        ///< of the affine rigid factorization
    std::vector<double> residual_singular_values;   ///< of tracks without the rigid part, descending: those that K was chosen from
    double rigid_objective = 0;                     ///< sum of squared residuals of the rigid part alone
    double objective = 0;                           ///< sum of squared residuals of the observed coordinates
    double reprojection_error = 0;                  ///< sqrt(objective / number of observed coordinates), in the tracks' unit
    std::vector<double> history = {};               ///< objective (with the shrinkage's term) after each round of the stage that comes last
    std::size_t iterations = 0;                     ///< of that stage: Newton steps of the search, or rounds
    iteration_status status = iteration_status::converged;
};

namespace detail {

inline void check_rank_one_options(const rank_one_factorization_options& options, const char* function) {
    check_iteration_options(options.tolerance, options.max_iterations, function);
    require<argument_error>(options.shrinkage >= 0 && std::isfinite(options.shrinkage), function, ": shrinkage ", options.shrinkage,
                            " (expected a finite value of at least 0)");
    require<argument_error>(options.grid == 0 || (options.grid >= 32 && options.grid <= 65536), function, ": a grid of ", options.grid, " directions (expected 32 to 65536)");
    require<argument_error>(options.learning_rate > 0 && std::isfinite(options.learning_rate) && options.length_penalty > 0 &&
                                std::isfinite(options.length_penalty),
                            function, ": learning_rate ", options.learning_rate, ", length_penalty ", options.length_penalty,
                            " (expected positive, finite values)");
    require<argument_error>(options.refinement == camera_refinement::fixed || options.basis == basis_choice::joint, function,
                            ": a camera_refinement other than fixed goes with basis_choice::joint");
}

template <class Policy>
found_directions find_directions(const direction_problem<Policy>& problem, const rank_one_factorization_options& options, const iteration_callback& progress) {
    switch (options.directions) {
        case direction_method::alternating: return problem.alternate(options.tolerance, options.max_iterations, progress);
        case direction_method::gradient_descent:
            return problem.descend(options.learning_rate, options.length_penalty, options.tolerance, options.max_iterations, options.seed, progress);
        case direction_method::global_search: break;
    }
    return problem.search(options.grid);
}

template <class Policy, class T>
auto rank_one_factorization_of(const Policy& policy, const centred_tracks<Policy, T>& tracks, const rank_one_factorization_options& options) {
    constexpr const char* name = "rank_one_factorization";
    using matrix = policy_tensor<Policy, T, 2>;
    rank_one_factorization_result<matrix, policy_tensor<Policy, T, 3>> result;
    const std::size_t frames = tracks.frames, points = tracks.points, most = std::min(2 * frames, points - 1);
    require<argument_error>(options.basis_shapes <= most, name, ": ", options.basis_shapes, " basis shapes of ", frames, " frames and ", points,
                            " points (expected at most ", most, ")");

    alternation<Policy, T> rigid(policy, tracks, options.cameras, 0, 0.0);
    buffer_of<Policy, double> gram;
    const auto report = factor_rigid(policy, rigid, {.cameras = options.cameras, .depth = options.depth}, name, &gram);
    result.upgrade = report.upgrade;
    result.singular_values = report.singular_values;

    const bool chosen_here = options.basis_shapes == 0;
    const std::size_t wanted = chosen_here ? std::max<std::size_t>(1, std::min<std::size_t>(most / 2, 64)) : options.basis_shapes;
    auto principal = principal_rows_of_residual(policy, rigid, gram, wanted);
    gram = {};
    result.rigid_objective = rigid_objective_of(rigid, principal);
    const double floor = std::max(rounding_floor(policy, tracks), 1e-14 * tracks.energy);
    std::size_t rank = 0;
    for (double& square : principal.squares) {
        rank += square > floor ? 1 : 0;
        result.residual_singular_values.push_back(std::sqrt(std::max(square, 0.0)));
    }
    require<argument_error>(options.basis_shapes <= rank, name, ": ", options.basis_shapes, " basis shapes for a residual of rank ", rank,
                            " (expected at most that)");
    principal.count = std::min({principal.count, wanted, rank});

    auto observations = residual_coordinates(policy, rigid, principal);
    const auto problem_of = [&](const double* values, std::size_t count) {
        return direction_problem<Policy>(policy, rigid.cameras(), values, frames, count, options.shrinkage);
    };
    found_directions found;
    if (chosen_here) {
        found = problem_of(observations.data(), principal.count).search(options.grid);
        principal.count = count_by_information(result.rigid_objective, found.gains, frames, points, tracks.count, floor);
        found.directions.resize(3 * principal.count);
        found.gains.resize(principal.count);
        observations = residual_coordinates(policy, rigid, principal);
    }
    const std::size_t count = principal.count;
    if (options.basis == basis_choice::independent_components && count > 1) {
        make_independent(policy, principal, points, options.seed);
        observations = residual_coordinates(policy, rigid, principal);
    }
    const bool rounds = count > 0 && (options.basis == basis_choice::joint || !tracks.complete());
    const auto problem = problem_of(observations.data(), count);
    const bool searched = chosen_here && options.directions == direction_method::global_search && options.basis != basis_choice::independent_components;
    if (count > 0 && !searched) {
        found = find_directions(problem, options, rounds ? iteration_callback{} : options.progress);
    }

    alternation<Policy, T> state(policy, tracks, options.cameras, count, options.shrinkage);
    state.take_rigid_part(rigid);
    policy.copy(static_cast<const double*>(principal.rows.data()), state.shapes() + 3 * points, count * points);
    state.directions() = found.directions;
    problem.coefficients(found.directions, state.coefficients());
    result.history = found.history;
    result.iterations = found.iterations;
    result.status = found.status;
    if (rounds) {
        rigid_report rounds_report;
        accelerated_rounds<Policy, T> joint(policy, state, options.refinement == camera_refinement::all         ? free_cameras::all
                                                                : options.refinement == camera_refinement::rotations ? free_cameras::rotations
                                                                                                                     : free_cameras::none);
        iterate_until_still([&] { return joint.round(); }, options.tolerance, options.max_iterations, floor, options.progress, rounds_report);
        joint.finish();
        state.normalize_basis();
        result.history = std::move(rounds_report.history);
        result.iterations = rounds_report.iterations;
        result.status = rounds_report.status;
    }
    sort_basis(policy, state);
    double objective = -1;
    if (!rounds && tracks.complete()) {  // the cost separates, and gains are what it has fallen by
        objective = result.rigid_objective - std::accumulate(found.gains.begin(), found.gains.end(), 0.0) - options.shrinkage * squared_coefficients(policy, state);
    }
    export_rigid_part(policy, state, result, objective > visible_beside_rounding * tracks.energy ? objective : state.measured_objective());
    result.basis = policy.template make_tensor<T, 2>({count, points});
    result.directions = policy.template make_tensor<T, 2>({count, 3});
    result.coefficients = policy.template make_tensor<T, 2>({frames, count});
    const auto directions = uploaded(policy, state.directions());
    policy.transform(count * points, convert_to<double, T>{state.shapes() + 3 * points, result.basis.data()});
    policy.transform(3 * count, convert_to<double, T>{directions.data(), result.directions.data()});
    policy.transform(frames * count, convert_to<double, T>{state.coefficients(), result.coefficients.data()});
    return result;
}

}  // namespace detail

/// Rank-one non-rigid structure from motion: cameras M_n, translations t_n, a rigid shape B_0, rows b_k, directions d_k of length 1 and coefficients with
///
///     X_n ~ M_n (B_0 + sum_k alpha_nk d_k b_k') + t_n 1'.
///
/// The rigid part is that of rigid_factorization. The b_k are the leading right singular vectors of what it leaves over, from the same Gram matrix. For
/// complete tracks, fixed cameras and orthonormal b_k the cost separates over k, the coefficients have a closed form, and d_k is the maximum over a half sphere
/// of sum_n (M_n d . c_nk)^2 / (|M_n d|^2 + shrinkage |M_n|^2 / 2): global_search evaluates it for all k on a grid of directions by one matrix product and polishes the
/// leading local maxima by Newton steps. basis_choice::independent_components turns the b_k among themselves first, without changing what they span. basis_choice::joint goes on with rounds of least squares in everything but (by default) the cameras: it mixes the
/// principal components until each moves along one direction, which they need not do. Neither can end above the rigid part's cost.
///
/// With basis_shapes = 0 the number of principal components, whatever options.basis, that minimises n log(RSS / n) + K (N + L + 2) log n is taken (n coordinates), at most half of
/// the points and 64; it may be 0. `shrinkage` adds shrinkage sum |M_n|^2 / 2 alpha_nk^2 to the cost, the squares of
/// coefficients in the image: beside |M_n d_k|^2 alpha_nk^2 it damps coefficients of frames that see d_k nearly end on, where the tracks say next to nothing about them: 0.1 takes a tenth of a coefficient
/// whose direction lies in the image and half of one that is seen at 18 degrees from its line of sight. Without it such coefficients may be of any size, and
/// with them the depth of shapes (docs/design.md has measurements).
///
/// \param policy  where to compute
/// \param tracks  N x 2 x L or 2N x L, N >= 3, L >= 4, finite
/// \param options basis shapes, camera model, methods, stopping
/// \return        cameras, translations, shape, basis (by decreasing coefficients, signs fixed), directions, coefficients, errors, status
/// \throws as rigid_factorization; argument_error for more basis shapes than the residual has rank, and for options out of range
///
/// Cost: rigid_factorization's with its Gram matrix used twice, 2 K 6 N P flops in single precision for the grid of P directions, 4 N L (9 + 2 K) flops for
/// products with the tracks, 100 N flops per Newton step and start (at most 4 K starts, some 5 steps). N = 50000, L = 68, K = 12, P = 512: 0.5 + 3.7 + 0.5 + 1
/// gigaflops. Memory: a copy of the tracks, some (8 + 3 K) N doubles. Rounds of basis_choice::joint: 8 N L (3 + K) + N (3 + K)^3 flops.
/// Source: 001 Eqs. 4.5-4.13, Paper III Eqs. 3-10 with the plus of Eq. 2 (errata); Brandt & Ackermann 2019; Schwarz 1978 (K).
/// \snippet tests/nrsfm/rank_one_factorization.cpp rank_one_factorization
template <execution_policy Policy, any_tensor Tracks>
auto rank_one_factorization(const Policy& policy, const Tracks& tracks, const rank_one_factorization_options& options = {}) {
    detail::check_rank_one_options(options, "rank_one_factorization");
    return detail::rank_one_factorization_of(policy, detail::centre_argument(policy, tracks, "rank_one_factorization"), options);
}

template <any_tensor Tracks>
auto rank_one_factorization(const Tracks& tracks, const rank_one_factorization_options& options = {}) {
    return rank_one_factorization(cpu_policy{}, tracks, options);
}

/// The same of tracks with missing points: after the start, which takes missing residuals for 0, rounds as those of basis_choice::joint over what is observed.
///
/// \param policy  where to compute
/// \param tracks  as above; coordinates that are not observed may hold anything, NaN included
/// \param mask    N x L, nonzero where the point is observed in the frame; on the host of any arithmetic type
/// \param options as above
/// \return        as above
/// \throws as above; argument_error for a frame with fewer than 4 + K / 2 (rounded up) observed points or a point observed in fewer than 2 + K / 2 frames, by number
///
/// Cost per round: 4 N L (4 + K)^2 + N (3 + K)^3 flops. Memory: also (4 + K)^2 (L + 1024) doubles.
/// Source: as above.
/// \snippet tests/nrsfm/rank_one_factorization.cpp missing
template <execution_policy Policy, any_tensor Tracks, any_tensor Mask>
auto rank_one_factorization(const Policy& policy, const Tracks& tracks, const Mask& mask, const rank_one_factorization_options& options = {}) {
    detail::check_rank_one_options(options, "rank_one_factorization");
    const std::size_t more = (options.basis_shapes + 1) / 2;
    const auto centred = detail::centre_argument(policy, tracks, mask, 4 + more, 2 + more, "rank_one_factorization");
    return detail::rank_one_factorization_of(policy, centred, options);
}

template <any_tensor Tracks, any_tensor Mask>
auto rank_one_factorization(const Tracks& tracks, const Mask& mask, const rank_one_factorization_options& options = {}) {
    return rank_one_factorization(cpu_policy{}, tracks, mask, options);
}

/// The shapes of all frames, B_0 + sum_k alpha_nk d_k b_k', in the object's frame.
///
/// \param policy where to compute
/// \param model  of rank_one_factorization
/// \return       N x 3 x L
///
/// Cost: 6 N K L flops, one GEMM; memory for 3 N K numbers.
/// Source: 001 Eq. 4.5.
/// \snippet tests/nrsfm/rank_one_factorization.cpp rank_one_factorization
template <execution_policy Policy, class Matrix, class Tensor>
auto rank_one_shapes(const Policy& policy, const rank_one_factorization_result<Matrix, Tensor>& model) {
    using T = value_type_of<Matrix>;
    using space = typename Policy::memory_space;
    const std::size_t frames = model.coefficients.shape()[0], count = model.coefficients.shape()[1], points = model.shape.shape()[1];
    auto result = policy.template make_tensor<T, 3>({frames, 3, points});
    policy.transform(result.size(), detail::repeat_shape<T>{model.shape.data(), 3 * points, result.data()});
    if (count > 0) {
        const auto moved = policy.template allocate<T>(3 * frames * count);
        policy.transform_grid(3 * frames, count, detail::moved_directions<T>{model.coefficients.data(), model.directions.data(), count, moved.data()});
        policy.template gemm<T>(T(1), row_major<const T, space>(moved.data(), 3 * frames, count),
                                row_major<const T, space>(model.basis.data(), count, points), T(1), row_major<T, space>(result.data(), 3 * frames, points));
    }
    return result;
}

template <class Matrix, class Tensor>
auto rank_one_shapes(const rank_one_factorization_result<Matrix, Tensor>& model) {
    return rank_one_shapes(cpu_policy{}, model);
}

}  // namespace moden
