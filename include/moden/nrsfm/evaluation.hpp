#pragma once

// How far reconstructed shapes and cameras are from true ones, after what tracks cannot tell has been taken out.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// What one alignment serves.
enum class alignment_scope {
    sequence,  ///< one rotation and scale for all frames: shapes in the object's frame
    frame      ///< one for every frame
};
/// Whether scales are fitted.
enum class alignment_scale { fitted, kept };
/// Whether the mirror image counts as the same shape.
enum class alignment_reflection { allowed, refused };

/// Options of reconstruction_error.
struct reconstruction_error_options {
    alignment_scope scope = alignment_scope::sequence;
    alignment_scale scale = alignment_scale::fitted;
    alignment_reflection reflection = alignment_reflection::allowed;  ///< affine cameras do not tell mirror images apart
};

/// Errors of shapes S^_n against S_n (both about the means of their points) after c_n R_n S^_n.
struct reconstruction_error_result {
    double relative = 0;            ///< mean over n of |c_n R_n S^_n - S_n| / |S_n| (Frobenius norms)
    double normalized = 0;          ///< sum_nl |c_n R_n s^_nl - s_nl| / (N L sigma), sigma the mean over n of the standard deviations in x, y, z, averaged
    double root_mean_square = 0;    ///< sqrt(sum_nl |c_n R_n s^_nl - s_nl|^2 / (N L)), in the unit of S
    std::vector<double> relative_per_frame = {};  ///< N
};

/// Errors of rotations R^_n against R_n after one rotation of the object, R^_n Q.
struct rotation_error_result {
    double mean_degrees = 0;     ///< of the angles of R_n (R^_n Q)'
    double largest_degrees = 0;
    double frobenius = 0;        ///< mean of |R_n - R^_n Q|
    std::vector<double> degrees = {};  ///< N
};

namespace detail {

/// Sums of one frame: A = S^ S' (3 x 3), |S^|^2, |S|^2, the mean of the standard deviations of S, then the six means of S^ and S.
template <class T>
struct shape_moments {
    static constexpr std::size_t size = 18;
    const T* estimated;
    const T* truth;
    std::size_t points;
    double* sums;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double* sum = sums + n * size;
        const T* x = estimated + n * 3 * points;
        const T* y = truth + n * 3 * points;
        for (std::size_t i = 0; i < size; ++i) {
            sum[i] = 0;
        }
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t l = 0; l < points; ++l) {
                sum[12 + i] += static_cast<double>(x[i * points + l]) / static_cast<double>(points);
                sum[15 + i] += static_cast<double>(y[i * points + l]) / static_cast<double>(points);
            }
        }
        double spread[3] = {0, 0, 0};
        for (std::size_t l = 0; l < points; ++l) {
            double a[3], b[3];
            for (std::size_t i = 0; i < 3; ++i) {
                a[i] = static_cast<double>(x[i * points + l]) - sum[12 + i];
                b[i] = static_cast<double>(y[i * points + l]) - sum[15 + i];
                spread[i] += b[i] * b[i];
            }
            for (std::size_t i = 0; i < 9; ++i) {
                sum[i] += a[i / 3] * b[i % 3];
            }
            sum[9] += dot3(a, a);
            sum[10] += dot3(b, b);
        }
        for (std::size_t i = 0; i < 3; ++i) {
            sum[11] += std::sqrt(spread[i] / static_cast<double>(points)) / 3;
        }
    }
};

/// The c R that brings S^ to S best, from A = S^ S' and |S^|^2.
MODEN_HOST_DEVICE inline void best_similarity(const double* a, double square, alignment_scale size, alignment_reflection reflection, double* result) {
    double negative[9], other[9];
    double gain = best_rotation(a, result);
    if (reflection == alignment_reflection::allowed) {
        for (int i = 0; i < 9; ++i) {
            negative[i] = -a[i];
        }
        const double mirrored = best_rotation(negative, other);
        if (mirrored > gain) {
            gain = mirrored;
            for (int i = 0; i < 9; ++i) {
                result[i] = -other[i];
            }
        }
    }
    const double scale = size == alignment_scale::fitted ? (square > 0 ? gain / square : 0.0) : 1.0;
    for (int i = 0; i < 9; ++i) {
        result[i] *= scale;
    }
}

/// Sum of distances and of squared distances of one frame after alignment.
template <class T>
struct aligned_distances {
    const T* estimated;
    const T* truth;
    std::size_t points;
    const double* sums;
    const double* shared;  ///< the alignment of all frames; null: each its own
    alignment_scale size;
    alignment_reflection reflection;
    double* result;        ///< N x 2
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const double* sum = sums + n * shape_moments<T>::size;
        double own[9];
        if (shared == nullptr) {
            best_similarity(sum, sum[9], size, reflection, own);
        } else {
            for (int i = 0; i < 9; ++i) {
                own[i] = shared[i];
            }
        }
        double distance = 0, square = 0;
        for (std::size_t l = 0; l < points; ++l) {
            double a[3], difference[3];
            for (std::size_t i = 0; i < 3; ++i) {
                a[i] = static_cast<double>(estimated[(n * 3 + i) * points + l]) - sum[12 + i];
            }
            for (std::size_t i = 0; i < 3; ++i) {
                difference[i] = dot3(own + 3 * i, a) - (static_cast<double>(truth[(n * 3 + i) * points + l]) - sum[15 + i]);
            }
            distance += std::sqrt(dot3(difference, difference));
            square += dot3(difference, difference);
        }
        result[2 * n] = distance;
        result[2 * n + 1] = square;
    }
};

}  // namespace detail

/// The 3D error of reconstructed shapes, in three usual measures, after the best rotation and scale for the whole sequence or for each frame.
///
/// With S^_n and S_n about the means of their points, A = sum S^_n S_n' over the frames that one alignment serves, R is the orthogonal matrix with the largest
/// trace(R A) and c = trace(R A) / sum |S^_n|^2. The measures are said at reconstruction_error_result: `relative` is what Dai et al. 2014 and Kong & Lucey 2019 print
/// (frame scope), `normalized` what Akhter et al. 2009 and Gotardo & Martinez 2011 print.
///
/// \param policy    where to compute
/// \param estimated N x 3 x L, for example of rank_one_shapes
/// \param truth     N x 3 x L
/// \param options   scope of an alignment, scale, reflection
/// \return          the errors
/// \throws shape_error if the shapes are not N x 3 x L both; argument_error for NaN or infinity
///
/// Cost: about 60 N L flops in double precision. Source: Horn 1987 (alignment); as above.
/// \snippet tests/nrsfm/shape_model.cpp reconstruction_error
template <execution_policy Policy, any_tensor Estimated, any_tensor Truth>
reconstruction_error_result reconstruction_error(const Policy& policy, const Estimated& estimated, const Truth& truth, const reconstruction_error_options& options = {}) {
    using T = value_type_of<Estimated>;
    static_assert(std::is_same_v<T, value_type_of<Truth>>, "moden: reconstruction_error with shapes of different type");
    const auto first = detail::evaluate(policy, estimated);
    const auto second = detail::evaluate(policy, truth);
    const auto& x = first.view();
    const auto& y = second.view();
    detail::require<shape_error>(x.order() == 3 && x.shape[1] == 3 && x.shape == y.shape && x.size() > 0, "reconstruction_error: shapes of ", x.shape, " and ",
                                      y.shape, " (expected N x 3 x L both)");
    detail::require_finite(policy, x.data, x.size(), "reconstruction_error", "the estimate");
    detail::require_finite(policy, y.data, y.size(), "reconstruction_error", "the truth");
    const std::size_t frames = x.shape[0], points = x.shape[2];
    constexpr std::size_t size = detail::shape_moments<T>::size;
    const auto sums = policy.template allocate<double>(frames * size);
    policy.transform(frames, detail::shape_moments<T>{x.data, y.data, points, sums.data()}, 12 * points);
    const auto moments = detail::to_vector<Policy, double>(policy, sums.data(), frames * size);
    std::vector<double> shared(9);
    if (options.scope == alignment_scope::sequence) {
        std::vector<double> total(size, 0.0);
        for (std::size_t i = 0; i < moments.size(); ++i) {
            total[i % size] += moments[i];
        }
        detail::best_similarity(total.data(), total[9], options.scale, options.reflection, shared.data());
    }
    const auto placed = detail::uploaded(policy, shared);
    const auto distances = policy.template allocate<double>(2 * frames);
    policy.transform(frames,
                     detail::aligned_distances<T>{x.data, y.data, points, sums.data(), options.scope == alignment_scope::sequence ? placed.data() : nullptr,
                                                  options.scale, options.reflection, distances.data()},
                     12 * points);
    const auto found = detail::to_vector<Policy, double>(policy, distances.data(), 2 * frames);
    reconstruction_error_result result;
    double distance = 0, square = 0, spread = 0;
    const double n = static_cast<double>(frames), all = n * static_cast<double>(points);
    for (std::size_t i = 0; i < frames; ++i) {
        const double own = moments[i * size + 10];
        result.relative_per_frame.push_back(own > 0 ? std::sqrt(found[2 * i + 1] / own) : 0.0);
        result.relative += result.relative_per_frame.back() / n;
        distance += found[2 * i];
        square += found[2 * i + 1];
        spread += moments[i * size + 11] / n;
    }
    result.normalized = spread > 0 ? distance / (all * spread) : 0.0;
    result.root_mean_square = std::sqrt(square / all);
    return result;
}

template <any_tensor Estimated, any_tensor Truth>
reconstruction_error_result reconstruction_error(const Estimated& estimated, const Truth& truth, const reconstruction_error_options& options = {}) {
    return reconstruction_error(cpu_policy{}, estimated, truth, options);
}

/// The error of cameras' rotations after one rotation Q of the object: R^_n Q against R_n, where R is the rotation of decompose_cameras.
///
/// Q is the rotation with the largest sum of trace(R_n' R^_n Q). With the mirror image allowed, diag(1, 1, -1) R^_n diag(1, 1, -1) is tried too, which
/// belongs to the object with its depth reversed, and the one with the larger sum is taken.
///
/// \param policy     where to compute (the sums over frames are made on the host)
/// \param estimated  cameras, N x 2 x 3
/// \param truth      cameras, N x 2 x 3
/// \param reflection whether the mirror image is tried
/// \return           angles in degrees, mean |R_n - R^_n Q|
/// \throws shape_error for other shapes; argument_error for NaN or infinity
///
/// Cost: O(N). Source: Akhter et al. 2009 (mean |R - R^|).
/// \snippet tests/nrsfm/shape_model.cpp reconstruction_error
template <execution_policy Policy, any_tensor Estimated, any_tensor Truth>
rotation_error_result rotation_error(const Policy& policy, const Estimated& estimated, const Truth& truth,
                                     alignment_reflection reflection = alignment_reflection::allowed) {
    using T = value_type_of<Estimated>;
    static_assert(std::is_same_v<T, value_type_of<Truth>>, "moden: rotation_error with cameras of different type");
    const auto first = decompose_cameras(policy, estimated), second = decompose_cameras(policy, truth);
    const std::size_t frames = first.rotations.shape()[0];
    detail::require<shape_error>(frames > 0 && frames == second.rotations.shape()[0], "rotation_error: ", frames, " and ",
                                      second.rotations.shape()[0], " cameras (expected as many, and at least one)");
    const auto x = detail::to_vector<Policy, T>(policy, first.rotations.data(), 9 * frames), y = detail::to_vector<Policy, T>(policy, second.rotations.data(), 9 * frames);
    const auto mirror = [](std::size_t i) { return (i / 3 == 2) != (i % 3 == 2) ? -1.0 : 1.0; };
    double best = 0, turn[9] = {};
    bool mirrored = false;
    for (const bool flip : {false, true}) {
        if (flip && reflection == alignment_reflection::refused) {
            continue;
        }
        double a[9] = {}, q[9];
        for (std::size_t n = 0; n < frames; ++n) {
            for (std::size_t i = 0; i < 9; ++i) {
                for (std::size_t k = 0; k < 3; ++k) {  // R_n' R^_n
                    const double entry = static_cast<double>(x[9 * n + 3 * k + i % 3]) * (flip ? mirror(3 * k + i % 3) : 1.0);
                    a[i] += static_cast<double>(y[9 * n + 3 * k + i / 3]) * entry;
                }
            }
        }
        const double sum = detail::best_rotation(a, q);
        if (!flip || sum > best) {
            best = sum;
            mirrored = flip;
            std::copy_n(q, 9, turn);
        }
    }
    rotation_error_result result;
    for (std::size_t n = 0; n < frames; ++n) {
        double square = 0;
        for (std::size_t i = 0; i < 9; ++i) {
            double moved = 0;
            for (std::size_t k = 0; k < 3; ++k) {
                const std::size_t at = i / 3 * 3 + k;
                moved += static_cast<double>(x[9 * n + at]) * (mirrored ? mirror(at) : 1.0) * turn[3 * k + i % 3];
            }
            const double difference = static_cast<double>(y[9 * n + i]) - moved;
            square += difference * difference;
        }
        // |R - R'| = 2 sqrt(2) sin(angle / 2)
        const double degrees = 2 * std::asin(std::min(1.0, std::sqrt(square / 8))) * 57.295779513082321;
        result.degrees.push_back(degrees);
        result.mean_degrees += degrees / static_cast<double>(frames);
        result.largest_degrees = std::max(result.largest_degrees, degrees);
        result.frobenius += std::sqrt(square) / static_cast<double>(frames);
    }
    return result;
}

template <any_tensor Estimated, any_tensor Truth>
rotation_error_result rotation_error(const Estimated& estimated, const Truth& truth, alignment_reflection reflection = alignment_reflection::allowed) {
    return rotation_error(cpu_policy{}, estimated, truth, reflection);
}

}  // namespace moden
