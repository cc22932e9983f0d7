#pragma once

// The 3D model of landmarks, what its numbers mean, and how near its shapes are to true ones.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <vector>

#include "../common/renders.hpp"
#include "../faces/head_model.hpp"
#include "face_samples.hpp"

namespace pose_faces {

using shape_model = moden::rank_one_shape_model<matrix>;

/// An attribute beside what is read off pictures.
struct calibration {
    double slope = 1;       ///< of readings by the attribute
    double offset = 0;      ///< mean of the readings less that of the attribute: the object's frame is free, its unit is not
    double correlation = 0;
};

/// R(q) of the generator's faces and the directions in q that mean something.
struct landmark_model {
    shape_model model;
    double reprojection = 0, rigid_reprojection = 0;  ///< root mean square, in pixels
    vector mean, spread;                              ///< of q over samples
    calibration pose[3];                              ///< of the readings yaw, pitch, roll in -theta_y, theta_x, -theta_z
    vector smile;                                     ///< change of alpha per unit of happiness, the likeliest one
    double smile_fit = 0;                             ///< R2 of happiness from alpha

    std::size_t basis() const { return model.basis_shapes(); }

    /// Yaw, pitch, roll as readings say them. Rows of pictures count downwards and depth away from the viewer: half a turn about x.
    double angle(const float* q, std::size_t which) const {
        constexpr std::size_t at[] = {4, 3, 5};
        const double theta = (which == 1 ? 1 : -1) * static_cast<double>(q[at[which]]);
        return theta + pose[which].offset;
    }

    /// q with one factor changed: angles (0 to 2) set to a value, happiness (3) changed by one.
    vector asked(const vector& q, std::size_t which, double value) const {
        constexpr std::size_t at[] = {4, 3, 5};
        vector result = q;
        if (which < 3) {
            result(at[which]) = static_cast<float>((which == 1 ? 1 : -1) * (value - pose[which].offset));
            return result;
        }
        for (std::size_t k = 0; k < basis(); ++k) {
            result(6 + k) += static_cast<float>(value) * smile(k);
        }
        return result;
    }
};

inline calibration calibrated(const std::vector<double>& x, const std::vector<double>& y) {
    double mx = 0, my = 0, xx = 0, xy = 0, yy = 0;
    const double n = static_cast<double>(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        mx += x[i] / n, my += y[i] / n;
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
        xx += (x[i] - mx) * (x[i] - mx), xy += (x[i] - mx) * (y[i] - my), yy += (y[i] - my) * (y[i] - my);
    }
    return {xy / xx, my - mx, xy / std::sqrt(xx * yy)};
}

/// q of landmarks.
inline matrix attributes_of(const moden::cpu_policy& cpu, const shape_model& model, const tracks& landmarks) {
    return moden::fit_shape_parameters(cpu, model, landmarks, {.cameras = moden::camera_model::scaled_orthographic, .shrinkage = 0.1}).parameters;
}

inline landmark_model learn_landmark_model(const moden::cpu_policy& cpu, const face_numbers& numbers, const sample_set& samples, std::size_t basis, matrix& attributes) {
    const tracks landmarks = numbers.landmarks(samples.readings);
    const auto fit = moden::rank_one_factorization(cpu, landmarks,
                                                   {.basis_shapes = basis, .depth = moden::depth_rule::positive_skew, .basis = moden::basis_choice::joint, .max_iterations = 40});
    const std::size_t count = landmarks.shape()[0], coordinates = 2 * numbers.points();
    landmark_model result{moden::make_shape_model(cpu, fit), fit.reprojection_error * static_cast<double>(numbers.side()),
                          std::sqrt(fit.rigid_objective / static_cast<double>(count * coordinates)) * static_cast<double>(numbers.side()),
                          vector::from_shape({8 + basis}), vector::from_shape({8 + basis}), {}, vector::from_shape({basis}), 0};
    attributes = attributes_of(cpu, result.model, landmarks);
    for (std::size_t j = 0; j < 8 + basis; ++j) {
        double sum = 0, squares = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sum += static_cast<double>(attributes(n, j)) / static_cast<double>(count);
        }
        for (std::size_t n = 0; n < count; ++n) {
            squares += std::pow(static_cast<double>(attributes(n, j)) - sum, 2) / static_cast<double>(count);
        }
        result.mean(j) = static_cast<float>(sum);
        result.spread(j) = static_cast<float>(std::sqrt(squares));
    }
    for (std::size_t which = 0; which < 3; ++which) {
        std::vector<double> model_angles, readings;
        for (std::size_t n = 0; n < count; ++n) {
            model_angles.push_back(result.angle(attributes.data() + n * (8 + basis), which));
            readings.push_back(numbers.factor(samples.readings, n, which));
        }
        result.pose[which] = calibrated(model_angles, readings);
    }
    // Happiness as a linear function c'alpha; of all changes with the same c'alpha, C c is the one that the distribution of alpha (covariance C) makes likeliest.
    auto alpha = moden::tensor<double, 2>::from_shape({count, basis}), smiles = moden::tensor<double, 2>::from_shape({count, 1});
    for (std::size_t n = 0; n < count; ++n) {
        smiles(n, 0) = numbers.smile(samples.readings, n);
        for (std::size_t k = 0; k < basis; ++k) {
            alpha(n, k) = static_cast<double>(attributes(n, 6 + k));
        }
    }
    const auto line = moden::least_squares(cpu, alpha, smiles);
    result.smile_fit = 1 - line.residual_squares[0] / line.total_squares[0];
    std::vector<double> direction(basis, 0.0);
    double effect = 0;
    for (std::size_t n = 0; n < count; ++n) {
        double along = 0;
        for (std::size_t k = 0; k < basis; ++k) {
            along += line.coefficients(k, 0) * (alpha(n, k) - static_cast<double>(result.mean(6 + k)));
        }
        for (std::size_t k = 0; k < basis; ++k) {
            direction[k] += along * (alpha(n, k) - static_cast<double>(result.mean(6 + k)));
        }
        effect += along * along;
    }
    for (std::size_t k = 0; k < basis; ++k) {
        result.smile(k) = static_cast<float>(direction[k] / effect);
    }
    return result;
}

/// 3D shapes of rows of q, N x 3 x L, in the object's frame.
inline tracks shapes_of(const shape_model& model, const matrix& attributes) {
    const std::size_t count = attributes.shape()[0], points = model.points();
    auto result = tracks::from_shape({count, 3, points});
    for (std::size_t n = 0; n < count; ++n) {
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t l = 0; l < points; ++l) {
                float x = model.shapes()(i, l);
                for (std::size_t k = 0; k < model.basis_shapes(); ++k) {
                    x += attributes(n, 6 + k) * model.directions()(k, i) * model.shapes()(3 + k, l);
                }
                result(n, i, l) = x;
            }
        }
    }
    return result;
}

/// Cameras of rows of q, N x 2 x 3.
inline tracks cameras_of(const moden::cpu_policy& cpu, const matrix& attributes) {
    auto calibrations = matrix::from_shape({attributes.shape()[0], 3}), angles = calibrations;
    for (std::size_t n = 0; n < attributes.shape()[0]; ++n) {
        for (std::size_t i = 0; i < 3; ++i) {
            calibrations(n, i) = attributes(n, i);
            angles(n, i) = attributes(n, 3 + i);
        }
    }
    return moden::compose_cameras(cpu, calibrations, angles);
}

/// True landmarks of faces in the frame of the head, N x 3 x 68, and rotations as cameras (their first two rows, image rows counting downwards), N x 2 x 3.
struct true_faces {
    tracks shapes, cameras;
};

inline true_faces truth_of(const std::vector<faces::face_parameters>& people) {
    true_faces result{tracks::from_shape({people.size(), 3, faces::landmark_count}), tracks::from_shape({people.size(), 2, 3})};
    const auto& landmarks = faces::head_model::get().landmarks();
    for (std::size_t n = 0; n < people.size(); ++n) {
        const auto vertices = faces::head_vertices(people[n].person, people[n].expression);
        const faces::mat3 turn = people[n].pose.rotation();
        for (std::size_t l = 0; l < landmarks.size(); ++l) {
            const faces::vec3& v = vertices[landmarks[l]];
            result.shapes(n, 0, l) = v.x, result.shapes(n, 1, l) = v.y, result.shapes(n, 2, l) = v.z;
        }
        const faces::vec3 axes[] = {turn * faces::vec3{1, 0, 0}, turn * faces::vec3{0, 1, 0}, turn * faces::vec3{0, 0, 1}};
        for (std::size_t i = 0; i < 3; ++i) {
            result.cameras(n, 0, i) = axes[i].x;
            result.cameras(n, 1, i) = -axes[i].y;
        }
    }
    return result;
}

/// Errors of shapes after one similarity for all, and after one for each, in per cent; and of rotations in degrees.
struct errors_in_3d {
    double sequence = 0, frame = 0, degrees = 0;
};

inline errors_in_3d errors_of(const moden::cpu_policy& cpu, const shape_model& model, const matrix& attributes, const true_faces& truth) {
    const tracks shapes = shapes_of(model, attributes);
    return {100 * moden::reconstruction_error(cpu, shapes, truth.shapes).relative,
            100 * moden::reconstruction_error(cpu, shapes, truth.shapes, {.scope = moden::alignment_scope::frame}).relative,
            moden::rotation_error(cpu, cameras_of(cpu, attributes), truth.cameras).mean_degrees};
}

/// The shape coefficients, expressions and pose that are read off pictures, as faces of the face world; a regressor that lacks one gives none.
inline std::vector<faces::face_parameters> read_faces(const regressor& measure, const matrix& readings) {
    std::vector<faces::face_parameters> result;
    const auto column = [&](std::string_view name) {
        const auto found = std::find_if(measure.outputs().begin(), measure.outputs().end(), [&](const auto& o) { return o.name == name && o.size == 1; });
        return found == measure.outputs().end() ? readings.shape()[1] : found->offset;
    };
    std::vector<std::size_t> shape, basic;
    bool complete = true;
    for (const auto name : faces::shape_mode_names) {
        shape.push_back(column(name));
        complete = complete && shape.back() < readings.shape()[1];
    }
    for (const auto name : faces::basic_expression_names) {
        basic.push_back(column(name));
        complete = complete && basic.back() < readings.shape()[1];
    }
    const std::size_t blink = column("blink"), pose[] = {column("yaw"), column("pitch"), column("roll")};
    if (!complete || blink == readings.shape()[1]) {
        return result;
    }
    for (std::size_t n = 0; n < readings.shape()[0]; ++n) {
        faces::face_parameters face;
        for (std::size_t k = 0; k < shape.size(); ++k) {
            face.person.shape[k] = readings(n, shape[k]);
        }
        for (std::size_t k = 0; k < basic.size(); ++k) {
            face.expression.basic[k] = std::clamp(readings(n, basic[k]), 0.0F, 1.0F);
        }
        face.expression.actions[static_cast<std::size_t>(faces::action::blink)] = std::clamp(readings(n, blink), 0.0F, 1.0F);
        face.pose = {readings(n, pose[0]), readings(n, pose[1]), readings(n, pose[2])};
        result.push_back(face);
    }
    return result;
}

}  // namespace pose_faces
