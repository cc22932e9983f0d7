#pragma once

// Structure from motion of a rigid object: cameras and one shape from the tracks of its points.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/accelerated_rounds.hpp>
#include <moden/nrsfm/detail/alternation.hpp>
#include <moden/nrsfm/detail/metric_upgrade.hpp>
#include <moden/nrsfm/detail/object_frame.hpp>
#include <moden/nrsfm/detail/tracks.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of rigid_factorization.
struct rigid_factorization_options {
    camera_model cameras = camera_model::scaled_orthographic;
    depth_rule depth = depth_rule::positive_skew;
    double tolerance = 1e-5;           ///< stop when a round lowers the objective by less than this times the objective; 0: never
    std::size_t max_iterations = 200;  ///< rounds of alternating least squares
    iteration_callback progress = {};  ///< (iteration, objective) -> keep going?
};

/// tracks(n) ~ cameras(n) shape + translations(n) 1'.
template <class Matrix, class Tensor>
struct rigid_factorization_result {
    Tensor cameras;                            ///< N x 2 x 3, of the model that was asked for
    Matrix translations;                       ///< N x 2, in the tracks' unit
    Matrix shape;                              ///< 3 x L, about the mean of its points
    camera_model model = camera_model::scaled_orthographic;
    metric_upgrade upgrade = metric_upgrade::closed_form;
    std::array<double, 3> singular_values{};   ///< of the affine factorization; a small third one means little depth or little rotation
    double objective = 0;                      ///< sum of squared residuals of the observed coordinates
    double reprojection_error = 0;             ///< sqrt(objective / number of observed coordinates), in the tracks' unit
    std::vector<double> history = {};          ///< objective after each round with cameras of the model
    std::size_t iterations = 0;
    iteration_status status = iteration_status::converged;
};

namespace detail {

/// What a rigid factorization found, beside the state itself.
struct rigid_report {
    metric_upgrade upgrade = metric_upgrade::closed_form;
    std::array<double, 3> singular_values{};
    std::vector<double> history;
    std::size_t iterations = 0;
    iteration_status status = iteration_status::converged;
};

/// |X|^2 with the translations, the scale of what rounding X to T did.
template <class Policy, class T>
double raw_energy(const Policy& policy, const centred_tracks<Policy, T>& tracks) {
    return tracks.energy + static_cast<double>(tracks.points) * sum_of_squares(policy, static_cast<const double*>(tracks.means.data()), 2 * tracks.frames);
}

/// Squared residuals that rounding alone explains.
template <class Policy, class T>
double rounding_floor(const Policy& policy, const centred_tracks<Policy, T>& tracks) {
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    return std::max(1e-15 * tracks.energy, 0.1 * eps * eps * raw_energy(policy, tracks));
}

/// Rounds of step() -> objective until the objective stops falling.
template <class Step>
void iterate_until_still(Step step, double tolerance, std::size_t max_iterations, double floor, const iteration_callback& progress, rigid_report& report) {
    report.status = iteration_status::reached_max_iterations;
    for (std::size_t round = 0; round < max_iterations; ++round) {
        const double objective = step();
        const bool still = tolerance > 0 && !report.history.empty() && report.history.back() - objective < tolerance * objective;
        report.history.push_back(objective);
        ++report.iterations;
        if (progress && !progress(report.iterations, objective)) {
            report.status = iteration_status::stopped_by_callback;
            return;
        }
        if (still || (objective <= floor && tolerance > 0)) {
            report.status = iteration_status::converged;
            return;
        }
    }
}

/// Fills `state` (without coefficients) with the three principal rows of the tracks and the cameras that go with them. With `kept_gram`, W'W is left there
/// where it is the smaller Gram matrix.
template <class Policy, class T>
void principal_start(const Policy& policy, alternation<Policy, T>& state, buffer_of<Policy, double>* kept_gram) {
    using space = typename Policy::memory_space;
    const auto& tracks = state.tracks();
    const std::size_t points = tracks.points;
    principal_rows<Policy> principal;
    if (points <= 2 * tracks.frames) {
        auto gram = gram_in_double(policy, tracks.matrix());
        if (kept_gram != nullptr) {
            *kept_gram = policy.template allocate<double>(points * points);
            policy.copy(static_cast<const double*>(gram.data()), kept_gram->data(), points * points);
        }
        principal = principal_rows_of_gram(policy, gram.data(), points, 3);
    } else {
        const auto rows = policy.template allocate<double>(2 * tracks.frames * points);
        policy.transform(rows.size(), convert_to<T, double>{tracks.rows.data(), rows.data()});
        principal = principal_rows_of_wide(policy, row_major<const double, space>(rows.data(), 2 * tracks.frames, points), 3);
    }
    policy.transform(3 * points, fill_with<double>{state.shapes(), 0.0});
    policy.copy(static_cast<const double*>(principal.rows.data()), state.shapes(), principal.count * points);
    const auto cameras = product_with_rows(policy, tracks.matrix(), row_major<const double, space>(state.shapes(), 3, points));
    policy.copy(static_cast<const double*>(cameras.data()), state.cameras(), 6 * tracks.frames);
}

/// The whole of a rigid factorization, in `state`.
template <class Policy, class T>
rigid_report factor_rigid(const Policy& policy, alternation<Policy, T>& state, const rigid_factorization_options& options, const char* function,
                          buffer_of<Policy, double>* kept_gram = nullptr) {
    const auto& tracks = state.tracks();
    rigid_report report;
    principal_start(policy, state, kept_gram);
    const double floor = rounding_floor(policy, tracks);
    if (!tracks.complete()) {
        state.set_model(camera_model::affine);
        accelerated_rounds<Policy, T> affine(policy, state, free_cameras::all);
        iterate_until_still([&] { return affine.round(); }, options.tolerance, options.max_iterations, floor, options.progress, report);
        affine.finish();
        state.set_model(options.cameras);
    }
    const auto squares = whiten_cameras(policy, state);
    for (std::size_t i = 0; i < 3; ++i) {
        report.singular_values[i] = std::sqrt(squares[i]);
    }
    const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
    const double nothing = std::max(4 * eps * eps * raw_energy(policy, tracks), 1e-15 * static_cast<double>(tracks.points) * squares[0]);
    require<argument_error>(squares[2] > nothing, function, ": the tracks have rank 2 or less (singular values ", report.singular_values[0], ", ",
                            report.singular_values[1], ", ", report.singular_values[2],
                            "): the points lie in a plane, or the cameras differ by rotations in the image only");
    const auto upgrade = solve_metric_upgrade(policy, state.cameras(), tracks.frames, options.cameras, eps);
    report.upgrade = upgrade.how;
    state.change_frame(upgrade.matrix, upgrade.inverse);
    if (options.cameras != camera_model::affine && report.status != iteration_status::stopped_by_callback) {
        policy.transform(tracks.frames, project_cameras_step{options.cameras, state.cameras()}, 64);
        report.history.clear();
        iterate_until_still([&] {
            state.fit_points();
            return state.fit_frames(free_cameras::all);
        }, options.tolerance, options.max_iterations, floor, options.progress, report);
        state.centre_shapes();
    }
    fix_object_frame(policy, state, options.depth);
    return report;
}

template <class T>
struct add_translation {
    const double* means;
    const double* translations;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = static_cast<T>(means[i] + translations[i]); }
};

/// Cameras, translations and shape of a state, and its objective, in a result.
template <class Policy, class T, class Result>
void export_rigid_part(const Policy& policy, alternation<Policy, T>& state, Result& result, double objective) {
    const auto& tracks = state.tracks();
    result.cameras = policy.template make_tensor<T, 3>({tracks.frames, 2, 3});
    result.translations = policy.template make_tensor<T, 2>({tracks.frames, 2});
    result.shape = policy.template make_tensor<T, 2>({3, tracks.points});
    policy.transform(6 * tracks.frames, convert_to<double, T>{state.cameras(), result.cameras.data()});
    policy.transform(2 * tracks.frames, add_translation<T>{tracks.means.data(), state.translations(), result.translations.data()});
    policy.transform(3 * tracks.points, convert_to<double, T>{state.shapes(), result.shape.data()});
    result.model = state.model();
    result.objective = objective;
    result.reprojection_error = std::sqrt(result.objective / tracks.count);
}

template <class Policy, class T>
auto rigid_factorization_of(const Policy& policy, const centred_tracks<Policy, T>& tracks, const rigid_factorization_options& options) {
    alternation<Policy, T> state(policy, tracks, options.cameras, 0, 0.0);
    auto report = factor_rigid(policy, state, options, "rigid_factorization");
    rigid_factorization_result<policy_tensor<Policy, T, 2>, policy_tensor<Policy, T, 3>> result;
    export_rigid_part(policy, state, result, state.measured_objective());
    result.upgrade = report.upgrade;
    result.singular_values = report.singular_values;
    result.history = std::move(report.history);
    result.iterations = report.iterations;
    result.status = report.status;
    return result;
}

}  // namespace detail

/// Rigid structure from motion: cameras M_n, translations t_n and a shape S that minimise sum_n |X_n - M_n S - t_n 1'|^2.
///
/// Tracks are centred; the three leading singular vectors (by the smaller Gram matrix, in double precision) give the best affine factorization; the
/// conditions of the camera model on A = Q Q' have a solution in closed form, whose eigenvalues are raised to 1e-3 of the largest where it is not positive
/// definite. With camera_model::affine that is all, and Q only chooses the object's frame. Otherwise cameras are brought to the model, and rounds of
/// alternating least squares (the shape in closed form, each camera by Gauss-Newton steps) follow; exact tracks need one. The object's frame: the mean camera
/// is [I | 0] as nearly as possible, depth by options.depth, and the scales have mean square 1 unless cameras are unit.
///
/// \param policy  where to compute
/// \param tracks  N x 2 x L or 2N x L (rows 2n, 2n + 1 are x and y of frame n), N >= 3, L >= 4, finite
/// \param options camera model, depth, stopping
/// \return        cameras (N x 2 x 3), translations (N x 2), shape (3 x L), errors, how the metric upgrade went, status
/// \throws shape_error for another shape, an odd number of rows, fewer than 3 frames or 4 points; argument_error for NaN or infinity, for options out of
///         range, and for tracks of rank 2 or less (coplanar points, no rotation out of the image), with the singular values
///
/// Next to those tracks, results are returned: singular_values[2] is small, the depth is as uncertain as that, and `upgrade` tells of conditions that were
/// repaired or ambiguous (for example two different views only).
/// Cost: N L^2 (Gram) + 12 N L flops, or as much with 2N for L where 2N < L; 24 N L per round, O(N) beside. Memory: a copy of the tracks, 60 N doubles.
/// Source: 001 Eqs. 4.1-4.4, 4.8; Tomasi & Kanade 1992; Poelman & Kanade 1997.
/// \snippet tests/nrsfm/rigid_factorization.cpp rigid_factorization
template <execution_policy Policy, any_tensor Tracks>
auto rigid_factorization(const Policy& policy, const Tracks& tracks, const rigid_factorization_options& options = {}) {
    detail::check_iteration_options(options.tolerance, options.max_iterations, "rigid_factorization");
    return detail::rigid_factorization_of(policy, detail::centre_argument(policy, tracks, "rigid_factorization"), options);
}

template <any_tensor Tracks>
auto rigid_factorization(const Tracks& tracks, const rigid_factorization_options& options = {}) {
    return rigid_factorization(cpu_policy{}, tracks, options);
}

/// The same of tracks with missing points: the sums are over what is observed.
///
/// Alternating least squares for affine cameras with translations and the shape come first, then the metric upgrade, then rounds with cameras of the model.
///
/// \param policy  where to compute
/// \param tracks  as above; coordinates that are not observed may hold anything, NaN included
/// \param mask    N x L, nonzero where the point is observed in the frame; on the host of any arithmetic type
/// \param options camera model, depth, stopping (max_iterations before and after the upgrade each)
/// \return        as above
/// \throws as above; argument_error for a frame with fewer than 4 observed points or a point observed in fewer than 2 frames, by their number
///
/// Cost per round: 64 N L flops. Memory: a copy of the tracks and of the mask in double precision.
/// Source: as above; the mask as in Hartley & Schaffalitzky 2003 (PowerFactorization).
/// \snippet tests/nrsfm/rigid_factorization.cpp missing
template <execution_policy Policy, any_tensor Tracks, any_tensor Mask>
auto rigid_factorization(const Policy& policy, const Tracks& tracks, const Mask& mask, const rigid_factorization_options& options = {}) {
    detail::check_iteration_options(options.tolerance, options.max_iterations, "rigid_factorization");
    return detail::rigid_factorization_of(policy, detail::centre_argument(policy, tracks, mask, 4, 2, "rigid_factorization"), options);
}

template <any_tensor Tracks, any_tensor Mask>
auto rigid_factorization(const Tracks& tracks, const Mask& mask, const rigid_factorization_options& options = {}) {
    return rigid_factorization(cpu_policy{}, tracks, mask, options);
}

}  // namespace moden
