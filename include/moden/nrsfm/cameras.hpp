#pragma once

// Affine cameras as calibration and rotation, and rotations as Euler angles.

#include <cmath>
#include <cstddef>
#include <limits>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// What the 2 x 3 cameras of a factorization may be: M = K [I | 0] R with K upper triangular.
enum class camera_model {
    unit,                 ///< K = I: orthographic, the object has one size in all frames
    scaled_orthographic,  ///< K = s I: weak perspective, a scale per frame
    affine                ///< any K: all 2 x 3 matrices
};

/// Cameras M_n = K_n [I | 0] R_n with R_n = R_z(theta_z) R_y(theta_y) R_x(theta_x).
template <class Matrix, class Tensor>
struct camera_decomposition {
    Matrix calibrations;  ///< N x 3: k11, k12, k22 with k11, k22 >= 0
    Matrix angles;        ///< N x 3: theta_x, theta_y, theta_z in radians
    Tensor rotations;     ///< N x 3 x 3, determinant +1
};

namespace detail {

/// K (k11, k12, k22) and the three rows of R of one camera: RQ factorization with signs such that k11, k22 >= 0. Lengths of up to
/// `negligible` |M| count as 0, and what they leave free is filled by orthogonal_to.
MODEN_HOST_DEVICE inline void decompose_camera(const double* m, double negligible, double* calibration, double* rotation) {
    double* r1 = rotation;
    double* r2 = rotation + 3;
    const double size = std::sqrt(dot3(m, m) + dot3(m + 3, m + 3));
    double k22 = std::sqrt(dot3(m + 3, m + 3));
    k22 = k22 > negligible * size ? k22 : 0;
    for (int i = 0; i < 3; ++i) {
        r2[i] = k22 > 0 ? m[3 + i] / k22 : 0;
    }
    const double k12 = dot3(m, r2);
    double rest[3];
    for (int i = 0; i < 3; ++i) {
        rest[i] = m[i] - k12 * r2[i];
    }
    double k11 = std::sqrt(dot3(rest, rest));
    k11 = k11 > negligible * size ? k11 : 0;
    if (k11 > 0) {
        for (int i = 0; i < 3; ++i) {
            r1[i] = rest[i] / k11;
        }
        if (k22 == 0) {
            orthogonal_to(r1, r2);
        }
    } else {
        if (k22 == 0) {
            r2[0] = 0, r2[1] = 1, r2[2] = 0;
        }
        orthogonal_to(r2, r1);
    }
    cross3(r1, r2, rotation + 6);
    calibration[0] = k11, calibration[1] = k12, calibration[2] = k22;
}

/// theta_x, theta_y, theta_z of R = R_z R_y R_x. Where cos(theta_y) is 0 to `negligible`, theta_x = 0.
MODEN_HOST_DEVICE inline void angles_of_rotation(const double* r, double negligible, double* angles) {
    const double cosine = std::sqrt(r[0] * r[0] + r[3] * r[3]);
    angles[1] = std::atan2(-r[6], cosine);
    if (cosine > negligible) {
        angles[0] = std::atan2(r[7], r[8]);
        angles[2] = std::atan2(r[3], r[0]);
    } else {
        angles[0] = 0;
        angles[2] = std::atan2(-r[1], r[4]);
    }
}

/// R_z(theta_z) R_y(theta_y) R_x(theta_x).
MODEN_HOST_DEVICE inline void rotation_of_angles(const double* angles, double* r) {
    const double cx = std::cos(angles[0]), sx = std::sin(angles[0]), cy = std::cos(angles[1]), sy = std::sin(angles[1]);
    const double cz = std::cos(angles[2]), sz = std::sin(angles[2]);
    r[0] = cz * cy, r[1] = cz * sy * sx - sz * cx, r[2] = cz * sy * cx + sz * sx;
    r[3] = sz * cy, r[4] = sz * sy * sx + cz * cx, r[5] = sz * sy * cx - cz * sx;
    r[6] = -sy, r[7] = cy * sx, r[8] = cy * cx;
}

/// What counts as 0 beside 1 in numbers that were rounded to T.
template <class T>
inline constexpr double rounding_of = 8 * static_cast<double>(std::numeric_limits<T>::epsilon());

template <class T>
struct decompose_cameras_step {
    const T* cameras;
    T* calibrations;
    T* angles;
    T* rotations;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double m[6], k[3], r[9], theta[3];
        for (int i = 0; i < 6; ++i) {
            m[i] = static_cast<double>(cameras[n * 6 + static_cast<std::size_t>(i)]);
        }
        decompose_camera(m, rounding_of<T>, k, r);
        angles_of_rotation(r, rounding_of<T>, theta);
        for (std::size_t i = 0; i < 9; ++i) {
            if (i < 3) {
                calibrations[n * 3 + i] = static_cast<T>(k[i]);
                angles[n * 3 + i] = static_cast<T>(theta[i]);
            }
            rotations[n * 9 + i] = static_cast<T>(r[i]);
        }
    }
};

template <class T>
struct compose_cameras_step {
    const T* calibrations;
    const T* angles;
    T* cameras;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double theta[3], r[9];
        for (std::size_t i = 0; i < 3; ++i) {
            theta[i] = static_cast<double>(angles[n * 3 + i]);
        }
        rotation_of_angles(theta, r);
        const double k11 = static_cast<double>(calibrations[n * 3]), k12 = static_cast<double>(calibrations[n * 3 + 1]);
        const double k22 = static_cast<double>(calibrations[n * 3 + 2]);
        for (std::size_t i = 0; i < 3; ++i) {
            cameras[n * 6 + i] = static_cast<T>(k11 * r[i] + k12 * r[3 + i]);
            cameras[n * 6 + 3 + i] = static_cast<T>(k22 * r[3 + i]);
        }
    }
};

template <class T>
struct euler_angles_step {
    const T* rotations;
    T* angles;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double r[9], theta[3];
        for (std::size_t i = 0; i < 9; ++i) {
            r[i] = static_cast<double>(rotations[n * 9 + i]);
        }
        angles_of_rotation(r, rounding_of<T>, theta);
        for (std::size_t i = 0; i < 3; ++i) {
            angles[n * 3 + i] = static_cast<T>(theta[i]);
        }
    }
};

inline void check_cameras(const extents& shape, std::size_t rows, const char* function, const char* name) {
    require<shape_error>(shape.size() == 3 && shape[1] == rows && shape[2] == 3, function, ": ", name, " of ", shape, " (expected N x ", rows, " x 3)");
}

}  // namespace detail

/// Calibration and rotation of affine cameras, M = K [I | 0] R with K upper triangular and R = R_z(theta_z) R_y(theta_y) R_x(theta_x).
///
/// K has no negative diagonal entry (sign(0) = +1), which makes K and R unique for cameras of rank 2. A camera whose rows are parallel, or zero,
/// to a few eps has k11 = 0 (k22 = 0 as well if its second row is zero); the free row of R is then the axis that the other one has least of, made
/// orthogonal to it, and a camera of zeros has R = I. Gimbal lock (|theta_y| = 90 degrees, where only theta_z -+ theta_x matters): theta_x = 0.
///
/// \param policy  where to compute
/// \param cameras N x 2 x 3, finite
/// \return        calibrations (N x 3: k11, k12, k22), angles (N x 3, radians; theta_y in [-pi/2, pi/2]), rotations (N x 3 x 3, determinant +1)
/// \throws shape_error for another shape; argument_error for NaN or infinity
///
/// Cost: O(N); in double precision.
/// Source: 001 Algorithm 2, Eqs. 4.10, 4.11.
/// \snippet tests/nrsfm/cameras.cpp decompose_cameras
template <execution_policy Policy, any_tensor Cameras>
auto decompose_cameras(const Policy& policy, const Cameras& cameras) {
    using T = value_type_of<Cameras>;
    const auto argument = detail::evaluate(policy, cameras);
    const auto& view = argument.view();
    detail::check_cameras(view.shape, 2, "decompose_cameras", "cameras");
    detail::require_finite(policy, view.data, view.size(), "decompose_cameras", "the tensor of cameras");
    const std::size_t count = view.shape[0];
    camera_decomposition<policy_tensor<Policy, T, 2>, policy_tensor<Policy, T, 3>> result{
        policy.template make_tensor<T, 2>({count, 3}), policy.template make_tensor<T, 2>({count, 3}), policy.template make_tensor<T, 3>({count, 3, 3})};
    policy.transform(count, detail::decompose_cameras_step<T>{view.data, result.calibrations.data(), result.angles.data(), result.rotations.data()}, 64);
    return result;
}

template <any_tensor Cameras>
auto decompose_cameras(const Cameras& cameras) {
    return decompose_cameras(cpu_policy{}, cameras);
}

/// Cameras from calibration and angles: K [I | 0] R_z(theta_z) R_y(theta_y) R_x(theta_x), the inverse of decompose_cameras.
///
/// \param policy       where to compute
/// \param calibrations N x 3: k11, k12, k22
/// \param angles       N x 3: theta_x, theta_y, theta_z in radians
/// \return             N x 2 x 3
/// \throws shape_error if the shapes are not N x 3 both
///
/// Cost: O(N). Source: 001 Eqs. 4.10, 4.11.
/// \snippet tests/nrsfm/cameras.cpp decompose_cameras
template <execution_policy Policy, any_tensor Calibrations, any_tensor Angles>
auto compose_cameras(const Policy& policy, const Calibrations& calibrations, const Angles& angles) {
    using T = value_type_of<Calibrations>;
    static_assert(std::is_same_v<T, value_type_of<Angles>>, "moden: compose_cameras with calibrations and angles of different type");
    const auto first = detail::evaluate(policy, calibrations);
    const auto second = detail::evaluate(policy, angles);
    const auto& k = first.view();
    const auto& theta = second.view();
    detail::require<shape_error>(k.order() == 2 && k.shape[1] == 3 && theta.shape == k.shape, "compose_cameras: calibrations of ", k.shape,
                                 " and angles of ", theta.shape, " (expected N x 3 both)");
    auto result = policy.template make_tensor<T, 3>({k.shape[0], 2, 3});
    policy.transform(k.shape[0], detail::compose_cameras_step<T>{k.data, theta.data, result.data()}, 64);
    return result;
}

template <any_tensor Calibrations, any_tensor Angles>
auto compose_cameras(const Calibrations& calibrations, const Angles& angles) {
    return compose_cameras(cpu_policy{}, calibrations, angles);
}

/// Euler angles of rotations, R = R_z(theta_z) R_y(theta_y) R_x(theta_x); theta_x = 0 in gimbal lock, as in decompose_cameras.
///
/// \param policy    where to compute
/// \param rotations N x 3 x 3, orthogonal with determinant +1
/// \return          N x 3: theta_x, theta_y, theta_z in radians, theta_y in [-pi/2, pi/2]
/// \throws shape_error for another shape; argument_error for NaN or infinity
///
/// Cost: O(N). Source: 001 Eq. 4.11.
/// \snippet tests/nrsfm/cameras.cpp euler_angles
template <execution_policy Policy, any_tensor Rotations>
auto euler_angles(const Policy& policy, const Rotations& rotations) {
    using T = value_type_of<Rotations>;
    const auto argument = detail::evaluate(policy, rotations);
    const auto& view = argument.view();
    detail::check_cameras(view.shape, 3, "euler_angles", "rotations");
    detail::require_finite(policy, view.data, view.size(), "euler_angles", "the tensor of rotations");
    auto result = policy.template make_tensor<T, 2>({view.shape[0], 3});
    policy.transform(view.shape[0], detail::euler_angles_step<T>{view.data, result.data()}, 32);
    return result;
}

template <any_tensor Rotations>
auto euler_angles(const Rotations& rotations) {
    return euler_angles(cpu_policy{}, rotations);
}

}  // namespace moden
