#pragma once

// The closed-form model of 2D landmarks: camera, rotation, deformation and translation in one vector q.

#include <cmath>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

namespace detail {

/// M = K [I | 0] R_z R_y R_x and its derivatives in k11, k12, k22, theta_x, theta_y, theta_z (six 2 x 3 matrices).
MODEN_HOST_DEVICE inline void camera_of_parameters(const double* q, double* m, double* slopes) {
    double r[9];
    rotation_of_angles(q + 3, r);
    const double cy = std::cos(q[4]), sy = std::sin(q[4]), cz = std::cos(q[5]), sz = std::sin(q[5]);
    // Rows 0 and 1 of dR: about x, R [e_x]x; about y, R_z dR_y R_x; about z, [e_z]x R.
    const double cx = std::cos(q[3]), sx = std::sin(q[3]);
    const double x[6] = {0, r[2], -r[1], 0, r[5], -r[4]};
    const double y[6] = {-cz * sy, cz * cy * sx, cz * cy * cx, -sz * sy, sz * cy * sx, sz * cy * cx};
    const double z[6] = {-r[3], -r[4], -r[5], r[0], r[1], r[2]};
    for (int i = 0; i < 3; ++i) {
        m[i] = q[0] * r[i] + q[1] * r[3 + i];
        m[3 + i] = q[2] * r[3 + i];
        slopes[i] = r[i], slopes[3 + i] = 0;
        slopes[6 + i] = r[3 + i], slopes[9 + i] = 0;
        slopes[12 + i] = 0, slopes[15 + i] = r[3 + i];
        slopes[18 + i] = q[0] * x[i] + q[1] * x[3 + i], slopes[21 + i] = q[2] * x[3 + i];
        slopes[24 + i] = q[0] * y[i] + q[1] * y[3 + i], slopes[27 + i] = q[2] * y[3 + i];
        slopes[30 + i] = q[0] * z[i] + q[1] * z[3 + i], slopes[33 + i] = q[2] * z[3 + i];
    }
}

/// q = (k11, k12, k22, theta_x, theta_y, theta_z, alpha_1..K, t_x, t_y) as the 2 x p matrix that multiplies the shapes, p = 3 + K. With tangents,
/// its derivative along each of them at the one point q instead.
template <class T>
struct design_of_parameters {
    const T* parameters;
    const T* tangents;    ///< null: values of rows of parameters
    const T* directions;  ///< K x 3
    std::size_t count;
    T* design;            ///< rows of 2 x p
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const std::size_t size = 8 + count, p = 3 + count;
        const T* q = tangents == nullptr ? parameters + n * size : parameters;
        double six[6], m[6], slopes[36], moved[6] = {0, 0, 0, 0, 0, 0};
        for (int i = 0; i < 6; ++i) {
            six[i] = static_cast<double>(q[i]);
        }
        camera_of_parameters(six, m, slopes);
        const T* t = tangents == nullptr ? nullptr : tangents + n * size;
        for (std::size_t j = 0; j < 6 && t != nullptr; ++j) {
            for (std::size_t i = 0; i < 6; ++i) {
                moved[i] += static_cast<double>(t[j]) * slopes[6 * j + i];
            }
        }
        for (std::size_t a = 0; a < 2; ++a) {
            T* row = design + (2 * n + a) * p;
            const double* first = t == nullptr ? m + 3 * a : moved + 3 * a;
            for (std::size_t i = 0; i < 3; ++i) {
                row[i] = static_cast<T>(first[i]);
            }
            for (std::size_t k = 0; k < count; ++k) {
                const double d[3] = {static_cast<double>(directions[3 * k]), static_cast<double>(directions[3 * k + 1]),
                                     static_cast<double>(directions[3 * k + 2])};
                double value = static_cast<double>(q[6 + k]) * dot3(first, d);
                if (t != nullptr) {
                    value += static_cast<double>(t[6 + k]) * dot3(m + 3 * a, d);
                }
                row[3 + k] = static_cast<T>(value);
            }
        }
    }
};

/// Every row of 2 x L starts from its translation.
template <class T>
struct start_from_translation {
    const T* parameters;
    std::size_t size, points;
    T* landmarks;
    MODEN_HOST_DEVICE void operator()(std::size_t r, std::size_t l) const { landmarks[r * points + l] = parameters[r / 2 * size + size - 2 + r % 2]; }
};

/// J' u from H = U Phi' (2 x p) and the sums of U's rows.
template <class T>
struct pull_back_parameters {
    const T* parameters;
    const T* directions;
    const T* moments;     ///< rows of 2 x p
    const T* cotangents;  ///< rows of 2 x L
    std::size_t count, points;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const std::size_t size = 8 + count, p = 3 + count;
        double six[6], m[6], slopes[36], pulled[6];
        for (int i = 0; i < 6; ++i) {
            six[i] = static_cast<double>(parameters[i]);
        }
        camera_of_parameters(six, m, slopes);
        const T* h = moments + 2 * n * p;
        T* out = result + n * size;
        for (std::size_t i = 0; i < 6; ++i) {
            pulled[i] = static_cast<double>(h[i / 3 * p + i % 3]);
        }
        for (std::size_t k = 0; k < count; ++k) {
            const double x = static_cast<double>(h[3 + k]), y = static_cast<double>(h[p + 3 + k]), alpha = static_cast<double>(parameters[6 + k]);
            double slope = 0;
            for (std::size_t i = 0; i < 3; ++i) {
                const double d = static_cast<double>(directions[3 * k + i]);
                slope += d * (m[i] * x + m[3 + i] * y);
                pulled[i] += alpha * d * x;
                pulled[3 + i] += alpha * d * y;
            }
            out[6 + k] = static_cast<T>(slope);
        }
        for (std::size_t j = 0; j < 6; ++j) {
            out[j] = static_cast<T>(dot3(slopes + 6 * j, pulled) + dot3(slopes + 6 * j + 3, pulled + 3));
        }
        for (std::size_t a = 0; a < 2; ++a) {
            double sum = 0;
            for (std::size_t l = 0; l < points; ++l) {
                sum += static_cast<double>(cotangents[(2 * n + a) * points + l]);
            }
            out[6 + count + a] = static_cast<T>(sum);
        }
    }
};

}  // namespace detail

/// The landmark model R(q) = K [I | 0] R(theta) (B_0 + sum_k alpha_k d_k b_k') + t 1', with
/// q = (k11, k12, k22, theta_x, theta_y, theta_z, alpha_1, ..., alpha_K, t_x, t_y), angles in radians and R = R_z R_y R_x.
///
/// A differentiable_map from 8 + K numbers to 2L (all x, then all y); besides, whole batches of q at once. Matrix is policy_tensor<Policy, T, 2>.
/// Source: 001 Eq. 4.14, Paper III Eq. 2.
/// \snippet tests/nrsfm/shape_model.cpp shape_model
template <class Matrix>
class rank_one_shape_model {
public:
    using T = value_type_of<Matrix>;

    /// \param policy     where the model will compute
    /// \param shape      B_0, 3 x L
    /// \param basis      b_k, K x L; K may be 0
    /// \param directions d_k, K x 3
    /// \throws shape_error if the shapes do not fit; argument_error for NaN or infinity
    template <execution_policy Policy, any_tensor Shape, any_tensor Basis, any_tensor Directions>
    rank_one_shape_model(const Policy& policy, const Shape& shape, const Basis& basis, const Directions& directions)
        : shapes_(policy.template make_tensor<T, 2>({0, 0})), directions_(policy.template make_tensor<T, 2>({0, 0})) {
        constexpr const char* name = "rank_one_shape_model";
        const auto s = detail::evaluate(policy, shape);
        const auto b = detail::evaluate(policy, basis);
        const auto d = detail::evaluate(policy, directions);
        const auto rigid = detail::as_matrix(s.view(), name, "the shape");
        const auto rows = detail::as_matrix(b.view(), name, "the basis");
        const auto ways = detail::as_matrix(d.view(), name, "the matrix of directions");
        detail::require<shape_error>(rigid.rows == 3 && rigid.columns > 0, name, ": a shape of ", s.view().shape, " (expected 3 x L)");
        detail::require<shape_error>(rows.columns == rigid.columns && ways.columns == 3 && ways.rows == rows.rows, name, ": a basis of ", b.view().shape,
                                     " and directions of ", d.view().shape, " (expected K x ", rigid.columns, " and K x 3)");
        const std::size_t count = rows.rows, points = rigid.columns;
        detail::require_finite(policy, rigid.data, 3 * points, name, "the shape");
        detail::require_finite(policy, rows.data, count * points, name, "the basis");
        detail::require_finite(policy, ways.data, 3 * count, name, "the matrix of directions");
        shapes_ = policy.template make_tensor<T, 2>({3 + count, points});
        directions_ = policy.template make_tensor<T, 2>({count, 3});
        policy.copy(rigid.data, shapes_.data(), 3 * points);
        policy.copy(rows.data, shapes_.data() + 3 * points, count * points);
        policy.copy(ways.data, directions_.data(), 3 * count);
    }

    std::size_t points() const { return shapes_.shape()[1]; }
    std::size_t basis_shapes() const { return directions_.shape()[0]; }
    std::size_t input_size() const { return 8 + basis_shapes(); }
    std::size_t output_size() const { return 2 * points(); }
    const Matrix& shapes() const { return shapes_; }          ///< B_0 and below it the b_k, (3 + K) x L
    const Matrix& directions() const { return directions_; }  ///< K x 3

    /// R(q), a vector of 2L: the x of all points, then the y.
    /// \param policy where to compute
    /// \param q      8 + K numbers
    /// \throws shape_error if q has another size
    template <execution_policy Policy, any_tensor Point>
    auto value(const Policy& policy, const Point& q) const {
        const auto argument = detail::evaluate(policy, q);
        detail::check_map_vector(argument.view().shape, input_size(), "rank_one_shape_model::value", "q");
        auto result = policy.template make_tensor<T, 1>({output_size()});
        project(policy, argument.view().data, nullptr, argument.view().data, 1, result.data());
        return result;
    }

    /// J t for every row t of the tangents (k x (8 + K)): k x 2L.
    /// \param policy   where to compute
    /// \param q        the point
    /// \param tangents rows
    /// \throws shape_error if the shapes do not fit
    template <execution_policy Policy, any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& q, const Block& tangents) const {
        const auto point = detail::evaluate(policy, q);
        const auto rows = detail::evaluate(policy, tangents);
        detail::check_map_vector(point.view().shape, input_size(), "rank_one_shape_model::jvp", "q");
        detail::check_map_block(rows.view().shape, input_size(), "rank_one_shape_model::jvp", "the tangents");
        auto result = policy.template make_tensor<T, 2>({rows.view().shape[0], output_size()});
        project(policy, point.view().data, rows.view().data, rows.view().data, rows.view().shape[0], result.data());
        return result;
    }

    /// J' u for every row u of the cotangents (k x 2L): k x (8 + K).
    /// \param policy     where to compute
    /// \param q          the point
    /// \param cotangents rows
    /// \throws shape_error if the shapes do not fit
    template <execution_policy Policy, any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& q, const Block& cotangents) const {
        using space = typename Policy::memory_space;
        const auto point = detail::evaluate(policy, q);
        const auto rows = detail::evaluate(policy, cotangents);
        detail::check_map_vector(point.view().shape, input_size(), "rank_one_shape_model::vjp", "q");
        detail::check_map_block(rows.view().shape, output_size(), "rank_one_shape_model::vjp", "the cotangents");
        const std::size_t count = rows.view().shape[0], p = shapes_.shape()[0];
        auto result = policy.template make_tensor<T, 2>({count, input_size()});
        const auto moments = policy.template allocate<T>(2 * count * p);
        policy.template gemm<T>(T(1), row_major<const T, space>(rows.view().data, 2 * count, points()),
                                transposed(row_major<const T, space>(shapes_.data(), p, points())), T(0), row_major<T, space>(moments.data(), 2 * count, p));
        policy.transform(count, detail::pull_back_parameters<T>{point.view().data, directions_.data(), moments.data(), rows.view().data, basis_shapes(),
                                                                points(), result.data()},
                         2 * points());
        return result;
    }

    /// R(q_n) for every row of a batch: N x 2 x L.
    /// \param policy     where to compute
    /// \param parameters N x (8 + K)
    /// \throws shape_error if the rows have another size
    ///
    /// Cost: 4 N L (3 + K) flops, one GEMM.
    template <execution_policy Policy, any_tensor Parameters>
    auto landmarks(const Policy& policy, const Parameters& parameters) const {
        const auto rows = detail::evaluate(policy, parameters);
        const extents& shape = rows.view().shape;
        detail::require<shape_error>(shape.size() == 2 && shape[1] == input_size(), "rank_one_shape_model::landmarks: parameters of the shape ", shape,
                                     " (expected N x ", input_size(), ")");
        auto result = policy.template make_tensor<T, 3>({shape[0], 2, points()});
        project(policy, rows.view().data, nullptr, rows.view().data, shape[0], result.data());
        return result;
    }

private:
    template <class Policy>
    void project(const Policy& policy, const T* parameters, const T* tangents, const T* translations, std::size_t count, T* result) const {
        using space = typename Policy::memory_space;
        const std::size_t p = shapes_.shape()[0];
        const auto design = policy.template allocate<T>(2 * count * p);
        policy.transform(count, detail::design_of_parameters<T>{parameters, tangents, directions_.data(), basis_shapes(), design.data()}, 16 * p);
        policy.transform_grid(2 * count, points(), detail::start_from_translation<T>{translations, input_size(), points(), result});
        policy.template gemm<T>(T(1), row_major<const T, space>(design.data(), 2 * count, p), row_major<const T, space>(shapes_.data(), p, points()), T(1),
                                row_major<T, space>(result, 2 * count, points()));
    }

    Matrix shapes_;
    Matrix directions_;
};

/// The landmark model of a factorization's basis.
///
/// \param policy where the model will compute
/// \param fit    of rank_one_factorization (members shape, basis, directions)
/// \return       the model
/// \throws as rank_one_shape_model
///
/// Cost: a copy of (3 + K) L numbers. Source: Paper III Eq. 2.
/// \snippet tests/nrsfm/shape_model.cpp shape_model
template <execution_policy Policy, class Factorization>
auto make_shape_model(const Policy& policy, const Factorization& fit) {
    return rank_one_shape_model<std::remove_cvref_t<decltype(fit.basis)>>(policy, fit.shape, fit.basis, fit.directions);
}

}  // namespace moden
