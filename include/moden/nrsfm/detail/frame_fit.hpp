#pragma once

// The camera and the coefficients of one frame, given basis shapes: a problem of at most 6 + K unknowns that sees the frame's points through
// 2 (3 + K) numbers only.
//
// With Phi = [B_0; b_1'; ...; b_K'] (p x L, p = 3 + K) and Z = [I | d_1 alpha_1 ... d_K alpha_K] (3 x p) a frame's shape is Z Phi, and
//
//     |W_n - M Z Phi|^2 = |W_n|^2 - 2 <M Z, Y> + <M Z Gamma, M Z>,   Y = W_n Phi' (2 x p),  Gamma = Phi Phi' (p x p).

#include <cmath>
#include <cstddef>

#include <moden/core/macros.hpp>
#include <moden/nrsfm/cameras.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>

namespace moden::detail {

/// What of a camera is unknown.
enum class free_cameras {
    none,
    rotations,  ///< M R for the given M: calibration and scale stay
    all         ///< everything that the model leaves free
};

/// Unknowns of a camera.
MODEN_HOST_DEVICE inline std::size_t camera_freedom(camera_model model, free_cameras what) {
    return what == free_cameras::none ? 0 : what == free_cameras::rotations || model == camera_model::unit ? 3 : model == camera_model::scaled_orthographic ? 4 : 6;
}

/// The camera of a model nearest to M.
MODEN_HOST_DEVICE inline void project_camera(camera_model model, double* m) {
    if (model == camera_model::affine) {
        return;
    }
    double rows[6];
    const double mean = nearest_orthonormal_rows(m, rows);
    for (int i = 0; i < 6; ++i) {
        m[i] = (model == camera_model::unit ? 1.0 : mean) * rows[i];
    }
}

/// Levenberg-Marquardt for min |W_n - M Z(alpha) Phi|^2 + ridge |M|^2 / 2 |alpha|^2 over alpha and what is free of the camera, for
/// frame n. The step is Gauss-Newton's with damping only where that does not lower the objective, so that linear problems take one step and
/// the objective never rises. Once the expected gain is rounding noise, at most two more steps are taken and that is the end.
struct frame_fit {
    const double* moments;      ///< Y, 2 x p numbers per frame
    const double* grams;        ///< Gamma, p rows of `stride` numbers
    std::size_t stride;
    std::size_t gram_step;      ///< numbers from one frame's Gamma to the next; 0: all frames share one
    const double* energies;     ///< |W_n|^2
    const double* directions;   ///< K x 3
    std::size_t count;          ///< K
    camera_model model;
    free_cameras freedom;
    double ridge, tolerance;
    int max_iterations;
    double* cameras;            ///< 6 per frame, in and out
    double* coefficients;       ///< K per frame, in and out
    double* objectives;         ///< out
    double* iterations;         ///< out; may be null
    double* scratch;

    MODEN_HOST_DEVICE static std::size_t scratch_size(std::size_t count, camera_model model) {
        const std::size_t unknowns = camera_freedom(model, free_cameras::all) + count;
        return 2 * unknowns * unknowns + 2 * unknowns + 3 * (3 + count) + 3 * count;
    }

    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const std::size_t c = camera_freedom(model, freedom), u = c + count;
        workspace w;
        w.y = moments + n * 2 * (3 + count);
        w.gamma = grams + n * gram_step;
        w.hessian = scratch + n * scratch_size(count, model);
        w.factor = w.hessian + u * u;
        w.gradient = w.factor + u * u;
        w.step = w.gradient + u;
        w.shape_gram = w.step + u;
        w.projected = w.shape_gram + 3 * (3 + count);
        w.trial = w.projected + 2 * count;
        double* m = cameras + n * 6;
        double* alpha = coefficients + n * count;
        const double energy = energies[n];
        double cost = evaluate(w, energy, m, alpha);
        double damping = 0;
        bool in_noise = false;
        int iteration = 0;
        while (u > 0 && iteration < max_iterations) {
            ++iteration;
            normal_equations(w, c, m, alpha);
            double expected = 0;
            if (!solve(w, u, damping, expected)) {
                damping = damping > 0 ? 10 * damping : 1e-6;
                if (damping > 1e8) {
                    break;
                }
                continue;
            }
            double camera[6];
            for (int i = 0; i < 6; ++i) {
                camera[i] = m[i];
            }
            move_camera(w.step, c, camera);
            for (std::size_t k = 0; k < count; ++k) {
                w.trial[k] = alpha[k] + w.step[c + k];
            }
            const bool noise = expected <= 1e-14 * energy;
            const bool last = (noise && in_noise) || expected <= 1e-20 * energy;
            in_noise = noise;
            const double value = evaluate(w, energy, camera, w.trial);
            if (noise || value < cost) {
                for (int i = 0; i < 6; ++i) {
                    m[i] = camera[i];
                }
                for (std::size_t k = 0; k < count; ++k) {
                    alpha[k] = w.trial[k];
                }
                const double gain = cost - value;
                cost = value;
                damping = damping > 1e-7 ? 0.1 * damping : 0;
                if (last || (!noise && gain <= tolerance * energy)) {
                    break;
                }
            } else {
                damping = damping > 0 ? 10 * damping : 1e-3;
                if (damping > 1e8) {
                    break;
                }
                evaluate(w, energy, m, alpha);  // puts the moments at the accepted point back
            }
        }
        objectives[n] = cost > 0 ? cost : 0;
        if (iterations != nullptr) {
            iterations[n] = iteration;
        }
    }

private:
    struct workspace {
        const double* y;
        const double* gamma;
        double* hessian;
        double* factor;
        double* gradient;
        double* step;
        double* shape_gram;  ///< Z Gamma, 3 x p
        double* projected;   ///< M d_k, K x 2
        double* trial;
        double shape_square[9];  ///< Z Gamma Z'
        double pull[6];          ///< Y Z', 2 x 3
    };

    MODEN_HOST_DEVICE double evaluate(workspace& w, double energy, const double* m, const double* alpha) const {
        const std::size_t p = 3 + count;
        double penalty = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t j = 0; j < p; ++j) {
                w.shape_gram[i * p + j] = w.gamma[i * stride + j];
            }
            w.pull[i] = w.y[i];
            w.pull[3 + i] = w.y[p + i];
        }
        for (std::size_t k = 0; k < count; ++k) {
            const double* row = w.gamma + (3 + k) * stride;
            for (std::size_t i = 0; i < 3; ++i) {
                const double weight = directions[k * 3 + i] * alpha[k];
                for (std::size_t j = 0; j < p; ++j) {
                    w.shape_gram[i * p + j] += weight * row[j];
                }
                w.pull[i] += weight * w.y[3 + k];
                w.pull[3 + i] += weight * w.y[p + 3 + k];
            }
            penalty += ridge * squared_scale(m) * alpha[k] * alpha[k];
        }
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t j = 0; j < 3; ++j) {
                double sum = w.shape_gram[i * p + j];
                for (std::size_t k = 0; k < count; ++k) {
                    sum += w.shape_gram[i * p + 3 + k] * directions[k * 3 + j] * alpha[k];
                }
                w.shape_square[i * 3 + j] = sum;
            }
        }
        double value = energy + penalty;
        for (std::size_t a = 0; a < 2; ++a) {
            for (std::size_t i = 0; i < 3; ++i) {
                value += m[a * 3 + i] * (dot3(w.shape_square + i * 3, m + a * 3) - 2 * w.pull[a * 3 + i]);
            }
        }
        return value;
    }

    /// dM / d(unknown j).
    MODEN_HOST_DEVICE void tangent(std::size_t j, const double* m, double* t) const {
        for (int i = 0; i < 6; ++i) {
            t[i] = 0;
        }
        if (freedom == free_cameras::rotations) {  // M [e_j]x
            const double axis[3] = {j == 0 ? 1.0 : 0.0, j == 1 ? 1.0 : 0.0, j == 2 ? 1.0 : 0.0};
            cross3(m, axis, t);
            cross3(m + 3, axis, t + 3);
            return;
        }
        if (model == camera_model::affine) {
            t[j] = 1;
            return;
        }
        const double size = std::sqrt(dot3(m, m));
        double depth[3];  // s times the third row of R
        cross3(m, m + 3, depth);
        for (std::size_t i = 0; i < 3; ++i) {
            depth[i] /= size;
            if (j == 0) {
                t[3 + i] = -depth[i];
            } else if (j == 1) {
                t[i] = depth[i];
            } else if (j == 2) {
                t[i] = -m[3 + i];
                t[3 + i] = m[i];
            } else {
                t[i] = m[i];
                t[3 + i] = m[3 + i];
            }
        }
    }

    MODEN_HOST_DEVICE void move_camera(const double* step, std::size_t c, double* m) const {
        if (c == 0) {
            return;
        }
        if (freedom == free_cameras::rotations) {
            double turn[9], moved[6];
            rotation_of_vector(step, turn);
            for (int i = 0; i < 6; ++i) {
                const double* row = m + i / 3 * 3;
                moved[i] = row[0] * turn[i % 3] + row[1] * turn[3 + i % 3] + row[2] * turn[6 + i % 3];
            }
            for (int i = 0; i < 6; ++i) {
                m[i] = moved[i];
            }
            return;
        }
        if (model == camera_model::affine) {
            for (int i = 0; i < 6; ++i) {
                m[i] += step[i];
            }
            return;
        }
        double depth[3], turn[9], rows[6];
        const double size = std::sqrt(dot3(m, m));
        cross3(m, m + 3, depth);
        rotation_of_vector(step, turn);
        for (int i = 0; i < 3; ++i) {
            const double third = depth[i] / size;
            rows[i] = turn[0] * m[i] + turn[1] * m[3 + i] + turn[2] * third;
            rows[3 + i] = turn[3] * m[i] + turn[4] * m[3 + i] + turn[5] * third;
        }
        double orthonormal[6];
        nearest_orthonormal_rows(rows, orthonormal);
        const double grown = model == camera_model::unit ? 1.0 : size * std::exp(c > 3 ? step[3] : 0.0);
        for (int i = 0; i < 6; ++i) {
            m[i] = grown * orthonormal[i];
        }
    }

    /// J'J and J'r at the point of the last call of evaluate.
    MODEN_HOST_DEVICE void normal_equations(workspace& w, std::size_t c, const double* m, const double* alpha) const {
        const std::size_t p = 3 + count, u = c + count;
        double tangents[36];
        double growths[6], square = 0;  // of the scale along each tangent, as <dM, M> / 2, which the penalty feels
        for (std::size_t j = 0; j < c; ++j) {
            tangent(j, m, tangents + j * 6);
            growths[j] = 0.5 * (dot3(tangents + j * 6, m) + dot3(tangents + j * 6 + 3, m + 3));
        }
        for (std::size_t k = 0; k < count; ++k) {
            square += alpha[k] * alpha[k];
        }
        const double scale = squared_scale(m);
        for (std::size_t j = 0; j < c; ++j) {
            double weighted[6], slope = 0;
            for (std::size_t a = 0; a < 2; ++a) {
                for (std::size_t i = 0; i < 3; ++i) {
                    weighted[a * 3 + i] = dot3(w.shape_square + i * 3, tangents + j * 6 + a * 3);
                    slope += weighted[a * 3 + i] * m[a * 3 + i] - tangents[j * 6 + a * 3 + i] * w.pull[a * 3 + i];
                }
            }
            w.gradient[j] = slope + ridge * square * growths[j];
            for (std::size_t i = 0; i <= j; ++i) {
                w.hessian[j * u + i] = dot3(weighted, tangents + i * 6) + dot3(weighted + 3, tangents + i * 6 + 3);
                w.hessian[j * u + i] += scale > 0 ? ridge * square * growths[i] * growths[j] / scale : 0.0;
            }
        }
        for (std::size_t k = 0; k < count; ++k) {
            const double x = dot3(m, directions + k * 3), y = dot3(m + 3, directions + k * 3);
            const double column[3] = {w.shape_gram[3 + k], w.shape_gram[p + 3 + k], w.shape_gram[2 * p + 3 + k]};
            w.projected[2 * k] = x, w.projected[2 * k + 1] = y;
            w.gradient[c + k] = x * (dot3(m, column) - w.y[3 + k]) + y * (dot3(m + 3, column) - w.y[p + 3 + k]) + ridge * scale * alpha[k];
            double* row = w.hessian + (c + k) * u;
            for (std::size_t j = 0; j < c; ++j) {
                row[j] = x * dot3(tangents + j * 6, column) + y * dot3(tangents + j * 6 + 3, column) + ridge * alpha[k] * growths[j];
            }
            for (std::size_t j = 0; j <= k; ++j) {
                row[c + j] = (x * w.projected[2 * j] + y * w.projected[2 * j + 1]) * w.gamma[(3 + k) * stride + 3 + j];
            }
            row[c + k] += ridge * scale;
        }
    }

    /// step = -inv(J'J + damping diag) J'r; `expected` is the gain that the linear model promises.
    MODEN_HOST_DEVICE bool solve(workspace& w, std::size_t u, double damping, double& expected) const {
        double trace = 0;
        for (std::size_t i = 0; i < u; ++i) {
            trace += w.hessian[i * u + i];
        }
        for (std::size_t i = 0; i < u; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                w.factor[i * u + j] = w.hessian[i * u + j];
            }
            // Relative to the unknown's own curvature, and a trace of the whole for unknowns that the points say nothing about.
            w.factor[i * u + i] += damping * (w.hessian[i * u + i] + 1e-6 * trace) + 1e-15 * trace;
            w.step[i] = -w.gradient[i];
        }
        if (!cholesky_in_place(w.factor, u)) {
            return false;
        }
        cholesky_substitute(w.factor, u, w.step);
        expected = 0;
        for (std::size_t i = 0; i < u; ++i) {
            expected -= w.step[i] * w.gradient[i];
        }
        return true;
    }
};

/// Cameras (6 doubles each) to those of a model.
struct project_cameras_step {
    camera_model model;
    double* cameras;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const { project_camera(model, cameras + n * 6); }
};

}  // namespace moden::detail
