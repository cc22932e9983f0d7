#pragma once

// Parameters q of the landmark model for given landmarks.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/nrsfm/detail/alternation_steps.hpp>
#include <moden/nrsfm/detail/frame_fit.hpp>
#include <moden/nrsfm/detail/tracks.hpp>
#include <moden/nrsfm/shape_model.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of fit_shape_parameters.
struct shape_fitting_options {
    camera_model cameras = camera_model::affine;  ///< which calibrations are allowed; affine is the model's K, upper triangular
    double shrinkage = 0;                         ///< weight of |M|^2 / 2 |alpha|^2, at least 0; as in rank_one_factorization
    double tolerance = 1e-14;                     ///< stop when a step lowers the cost by less than this times |X - mean|^2
    std::size_t max_iterations = 50;              ///< Gauss-Newton steps, tried ones included
};

/// Parameters of landmark sets.
template <class Matrix, class Vector>
struct shape_fitting_result {
    Matrix parameters;             ///< N x (8 + K): k11, k12, k22, theta_x, theta_y, theta_z, alpha, t_x, t_y
    Vector objectives;             ///< N: |R(q_n) - X_n|^2 + shrinkage |M|^2 / 2 |alpha|^2, resolved to eps |X_n - mean|^2
    double objective = 0;          ///< their sum
    std::size_t iterations = 0;    ///< the most that any set took
    std::size_t unconverged = 0;   ///< sets that took max_iterations
    iteration_status status = iteration_status::converged;  ///< reached_max_iterations if any set did
};

namespace detail {

/// The camera with which the rigid shape alone explains the landmarks best, brought to the model; coefficients 0.
struct start_frame_fit {
    const double* moments;
    const double* grams;
    std::size_t stride, gram_step, count;
    camera_model model;
    double* cameras;
    double* coefficients;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const std::size_t p = 3 + count;
        for (std::size_t a = 0; a < 2; ++a) {
            double matrix[9], work[9];
            for (std::size_t i = 0; i < 9; ++i) {
                matrix[i] = grams[n * gram_step + i / 3 * stride + i % 3];
            }
            double* row = cameras + n * 6 + 3 * a;
            for (std::size_t i = 0; i < 3; ++i) {
                row[i] = moments[(2 * n + a) * p + i];
            }
            solve_semidefinite_in_place(matrix, 3, row, work);
        }
        project_camera(model, cameras + n * 6);
        for (std::size_t k = 0; k < count; ++k) {
            coefficients[n * count + k] = 0;
        }
    }
};

/// Set n about its weighted means: w (x - mean), 0 where w is, and sum w |x - mean|^2.
template <class T>
struct centre_weighted {
    const T* landmarks;
    const double* weights;
    std::size_t points;
    double* centred;
    double* means;
    double* energies;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const double* w = weights + n * points;
        energies[n] = 0;
        for (std::size_t r = 2 * n; r < 2 * n + 2; ++r) {
            const T* x = landmarks + r * points;
            double sum = 0, total = 0;
            for (std::size_t l = 0; l < points; ++l) {
                sum += w[l] != 0 ? w[l] * static_cast<double>(x[l]) : 0.0;
                total += w[l];
            }
            means[r] = sum / total;
            for (std::size_t l = 0; l < points; ++l) {
                const double difference = w[l] != 0 ? static_cast<double>(x[l]) - means[r] : 0.0;
                centred[r * points + l] = w[l] * difference;
                energies[n] += w[l] * difference * difference;
            }
        }
    }
};

/// Weights that are not finite or below 0.
template <class T>
struct not_a_weight {
    const T* weights;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return weights[i] >= T(0) && weights[i] - weights[i] == T(0) ? 0.0 : 1.0; }
};

/// Camera, coefficients and translation as q.
template <class T>
struct pack_parameters {
    const double* cameras;
    const double* coefficients;
    const double* directions;
    const double* means;        ///< of the landmarks
    const double* shape_means;  ///< of the shapes, p
    std::size_t mean_step;      ///< numbers from one set's to the next; 0: all sets share them
    std::size_t count;
    const double* objectives;
    T* parameters;
    T* values;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double k[3], r[9], angles[3];
        T* q = parameters + n * (8 + count);
        decompose_camera(cameras + n * 6, 1e-14, k, r);
        angles_of_rotation(r, 1e-14, angles);
        for (std::size_t i = 0; i < 3; ++i) {
            q[i] = static_cast<T>(k[i]);
            q[3 + i] = static_cast<T>(angles[i]);
        }
        const design_of_frame psi{cameras, coefficients, directions, count, nullptr, nullptr, nullptr, nullptr};
        for (std::size_t a = 0; a < 2; ++a) {
            double shift = means[2 * n + a];
            for (std::size_t j = 0; j < 3 + count; ++j) {
                shift -= psi.entry(n, a, j) * shape_means[n * mean_step + j];
            }
            q[6 + count + a] = static_cast<T>(shift);
        }
        for (std::size_t j = 0; j < count; ++j) {
            q[6 + j] = static_cast<T>(coefficients[n * count + j]);
        }
        values[n] = static_cast<T>(objectives[n]);
    }
};

/// Fits of all sets; without weights (N x L) all points count alike.
template <class Policy, class Matrix, class T>
auto fit_parameters(const Policy& policy, const rank_one_shape_model<Matrix>& model, const T* landmarks, std::size_t frames, const double* weights,
                    const shape_fitting_options& options) {
    using space = typename Policy::memory_space;
    const std::size_t points = model.points();
    const bool weighted = weights != nullptr;
    const std::size_t count = model.basis_shapes(), p = 3 + count;

    const auto shapes = policy.template allocate<double>(p * points);
    const auto shape_means = policy.template allocate<double>(p);
    const std::size_t block = std::min<std::size_t>(frames, std::clamp<std::size_t>(double_block / (2 * points), 64, 1024));
    const std::size_t stride = weighted ? p + 1 : p, gram_step = weighted ? stride * stride : 0;
    const auto grams = policy.template allocate<double>(weighted ? block * gram_step : p * p);
    const auto own_means = policy.template allocate<double>(weighted ? block * p : 0);  // of the shapes, over what a set shows
    const auto outer = policy.template allocate<double>(weighted ? points * gram_step : 0);
    const auto directions = policy.template allocate<double>(3 * count);
    policy.transform(p * points, convert_to<T, double>{model.shapes().data(), shapes.data()});
    policy.transform(3 * count, convert_to<T, double>{model.directions().data(), directions.data()});
    policy.transform(p, centre_line{points, shapes.data(), shape_means.data()}, points);
    const auto phi = row_major<const double, space>(shapes.data(), p, points);
    if (weighted) {
        policy.transform(points, outer_products_of_point{shapes.data(), p, points, outer.data()}, gram_step);
    } else {
        policy.template syrk<double>(1.0, phi, 0.0, row_major<double, space>(grams.data(), p, p));
    }

    const auto centred = policy.template allocate<double>(2 * block * points);
    const auto means = policy.template allocate<double>(2 * block);
    const auto squares = policy.template allocate<double>(2 * block);
    const auto energies = policy.template allocate<double>(block);
    const auto moments = policy.template allocate<double>(2 * block * p);
    const auto cameras = policy.template allocate<double>(6 * block);
    const auto coefficients = policy.template allocate<double>(block * count);
    const auto objectives = policy.template allocate<double>(block);
    const auto steps = policy.template allocate<double>(block);
    const auto scratch = policy.template allocate<double>(block * frame_fit::scratch_size(count, options.cameras));
    shape_fitting_result<policy_tensor<Policy, T, 2>, policy_tensor<Policy, T, 1>> result{policy.template make_tensor<T, 2>({frames, 8 + count}),
                                                                                         policy.template make_tensor<T, 1>({frames})};
    const int most = static_cast<int>(std::min<std::size_t>(options.max_iterations, 1000000));
    for (std::size_t first = 0; first < frames; first += block) {
        const std::size_t now = std::min(block, frames - first);
        if (weighted) {
            const double* some = weights + first * points;
            policy.transform(now, centre_weighted<T>{landmarks + 2 * first * points, some, points, centred.data(), means.data(), energies.data()}, 4 * points);
            policy.template gemm<double>(1.0, row_major<const double, space>(some, now, points), row_major<const double, space>(outer.data(), points, gram_step), 0.0,
                                         row_major<double, space>(grams.data(), now, gram_step));
            policy.transform(now, centre_gram{p, grams.data(), own_means.data()}, gram_step);
        } else {
            policy.transform(2 * now, centre_row<T, double, double>{landmarks + 2 * first * points, nullptr, points, centred.data(), means.data(), squares.data()},
                             2 * points);
            policy.transform(now, sum_of_pair{squares.data(), energies.data()});
        }
        policy.template gemm<double>(1.0, row_major<const double, space>(centred.data(), 2 * now, points), transposed(phi), 0.0,
                                     row_major<double, space>(moments.data(), 2 * now, p));
        policy.transform(now, start_frame_fit{moments.data(), grams.data(), stride, gram_step, count, options.cameras, cameras.data(), coefficients.data()}, 100);
        policy.transform(now,
                         frame_fit{moments.data(), grams.data(), stride, gram_step, energies.data(), directions.data(), count, options.cameras, free_cameras::all,
                                           options.shrinkage, options.tolerance, most, cameras.data(), coefficients.data(), objectives.data(), steps.data(),
                                           scratch.data()},
                         1000 * p);
        // The shapes are about their means over all points; over what a set shows they have others.
        if (weighted) {
            policy.transform_grid(now, p, add_line{shape_means.data(), p, own_means.data()});
        }
        policy.transform(now, pack_parameters<T>{cameras.data(), coefficients.data(), directions.data(), means.data(), weighted ? own_means.data() : shape_means.data(),
                                                 weighted ? p : 0, count, objectives.data(), result.parameters.data() + first * (8 + count),
                                                 result.objectives.data() + first},
                         16 * p);
        result.objective += policy.reduce(now, 0.0, as_double<double>{objectives.data()}, plus{});
        for (const double taken : to_vector<Policy, double>(policy, steps.data(), now)) {
            result.iterations = std::max(result.iterations, static_cast<std::size_t>(taken));
            result.unconverged += static_cast<int>(taken) >= most ? 1 : 0;
        }
    }
    result.status = result.unconverged > 0 ? iteration_status::reached_max_iterations : iteration_status::converged;
    return result;
}

/// Number of sets.
template <class Policy, class Matrix, class View>
std::size_t check_fitting(const Policy&, const rank_one_shape_model<Matrix>& model, const View& view, const shape_fitting_options& options) {
    constexpr const char* name = "fit_shape_parameters";
    const auto [frames, points] = check_track_shape(view.shape, name, 0);
    require<shape_error>(points == model.points(), name, ": landmarks of ", view.shape, " for a model of ", model.points(), " points");
    require<argument_error>(options.shrinkage >= 0 && std::isfinite(options.shrinkage), name, ": shrinkage ", options.shrinkage,
                            " (expected a finite value of at least 0)");
    check_iteration_options(options.tolerance, options.max_iterations, name);
    return frames;
}

}  // namespace detail

/// The parameters with which the landmark model comes nearest to landmarks: q* = arg min |R(q) - X_n|^2 + shrinkage |M|^2 / 2 |alpha|^2 for every n.
///
/// Translations drop out with the means of the points. A set's points enter through 2 (3 + K) products with the basis only, so that a step of one set costs
/// what 6 + K unknowns cost, however many points there are. For all affine cameras the model is bilinear in the camera and the coefficients; Gauss-Newton
/// steps, damped where they fail, start from the camera that explains the rigid shape best. K and the angles then follow by camera decomposition, so that
/// k11, k22 >= 0.
///
/// \param policy    where to compute
/// \param model     of make_shape_model, 3 + K < 2L
/// \param landmarks N x 2 x L or 2N x L, finite
/// \param options   camera model, shrinkage, stopping
/// \return          parameters N x (8 + K), costs, iterations, status
/// \throws shape_error if the landmarks do not fit; argument_error for NaN or infinity and for options out of range
///
/// Cost: 4 N L (3 + K) flops, and per step about 9 K^2 + (6 + K)^3 / 3 for each set that has not converged: sets run in parallel. Memory: blocks of 1024
/// sets with 2 (6 + K)^2 + 2 L doubles each.
/// Source: Paper III Eq. 11; Nocedal & Wright 2006, Sec. 10.3.
/// \snippet tests/nrsfm/shape_model.cpp fit_shape_parameters
template <execution_policy Policy, class Matrix, any_tensor Landmarks>
auto fit_shape_parameters(const Policy& policy, const rank_one_shape_model<Matrix>& model, const Landmarks& landmarks,
                          const shape_fitting_options& options = {}) {
    using T = value_type_of<Landmarks>;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: fit_shape_parameters with landmarks of another type than the model's");
    const auto argument = detail::evaluate(policy, landmarks);
    const std::size_t frames = detail::check_fitting(policy, model, argument.view(), options);
    detail::require_finite(policy, argument.view().data, argument.view().size(), "fit_shape_parameters", "the tensor of landmarks");
    return detail::fit_parameters(policy, model, argument.view().data, frames, static_cast<const double*>(nullptr), options);
}

template <class Matrix, any_tensor Landmarks>
auto fit_shape_parameters(const rank_one_shape_model<Matrix>& model, const Landmarks& landmarks, const shape_fitting_options& options = {}) {
    return fit_shape_parameters(cpu_policy{}, model, landmarks, options);
}

/// The same with weights: q* = arg min sum_l w_nl |R(q)_l - x_nl|^2 + shrinkage |M|^2 / 2 |alpha|^2 for every n. A mask is weights of 0 and 1.
///
/// \param policy    where to compute
/// \param model     as above
/// \param landmarks as above; where the weight is 0 they may hold anything, NaN included
/// \param weights   N x L, finite and at least 0, for example a detector's confidences; on the host of any arithmetic type
/// \param options   as above
/// \return          as above
/// \throws as above; shape_error for weights of another shape; argument_error for weights out of range, and for a set with fewer than 4 + K / 2 (rounded up) points of
///         positive weight (4 with shrinkage), by its number
///
/// Cost: 2 N L (4 + K)^2 flops more. Memory: the weights in double precision, (4 + K)^2 (L + 1024) doubles.
/// Source: as above.
/// \snippet tests/nrsfm/shape_model.cpp weights
template <execution_policy Policy, class Matrix, any_tensor Landmarks, any_tensor Weights>
auto fit_shape_parameters(const Policy& policy, const rank_one_shape_model<Matrix>& model, const Landmarks& landmarks, const Weights& weights,
                          const shape_fitting_options& options = {}) {
    using T = value_type_of<Landmarks>;
    static_assert(std::is_same_v<T, value_type_of<Matrix>>, "moden: fit_shape_parameters with landmarks of another type than the model's");
    constexpr const char* name = "fit_shape_parameters";
    const auto argument = detail::evaluate(policy, landmarks);
    const auto given = detail::evaluate_as<T>(policy, weights);
    const std::size_t frames = detail::check_fitting(policy, model, argument.view(), options), points = model.points();
    detail::require<shape_error>(given.view().shape == extents({frames, points}), name, ": weights of ", given.view().shape, " for landmarks of ",
                                 argument.view().shape, " (expected ", frames, " x ", points, ")");
    const std::size_t size = frames * points, count = model.basis_shapes();
    const double bad = policy.reduce(size, 0.0, detail::not_a_weight<T>{given.view().data}, detail::plus{});
    detail::require<argument_error>(bad == 0, name, ": ", static_cast<std::size_t>(bad), " weights that are negative, NaN or infinite");
    const auto mask = policy.template allocate<double>(size);
    policy.transform(size, detail::observed_or_not<T>{given.view().data, mask.data()});
    const double lost = policy.reduce(2 * size, 0.0, detail::observed_and_not_finite<T>{argument.view().data, mask.data(), points}, detail::plus{});
    detail::require<argument_error>(lost == 0, name, ": the tensor of landmarks holds ", static_cast<std::size_t>(lost),
                                    " values that are NaN or infinite and whose weight is not 0");
    detail::check_observations(policy, static_cast<const double*>(mask.data()), frames, points, options.shrinkage > 0 ? 4 : 4 + (count + 1) / 2, 0, name);
    policy.transform(size, detail::convert_to<T, double>{given.view().data, mask.data()});
    return detail::fit_parameters(policy, model, argument.view().data, frames, static_cast<const double*>(mask.data()), options);
}

template <class Matrix, any_tensor Landmarks, any_tensor Weights>
auto fit_shape_parameters(const rank_one_shape_model<Matrix>& model, const Landmarks& landmarks, const Weights& weights,
                          const shape_fitting_options& options = {}) {
    return fit_shape_parameters(cpu_policy{}, model, landmarks, weights, options);
}

}  // namespace moden
