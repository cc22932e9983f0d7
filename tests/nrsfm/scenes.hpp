#pragma once

// Scenes whose cameras and shapes are known: random points that turn, and rank-one deformations of them.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <moden/nrsfm/shape_model.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

namespace nrsfm_test {

using moden_test::array;

/// R_z(z) R_y(y) R_x(x) written out as a product of three matrices.
inline array rotation(double x, double y, double z) {
    const array rx = [&] { array a({3, 3}); a(0, 0) = 1, a(1, 1) = std::cos(x), a(1, 2) = -std::sin(x), a(2, 1) = std::sin(x), a(2, 2) = std::cos(x); return a; }();
    const array ry = [&] { array a({3, 3}); a(1, 1) = 1, a(0, 0) = std::cos(y), a(0, 2) = std::sin(y), a(2, 0) = -std::sin(y), a(2, 2) = std::cos(y); return a; }();
    const array rz = [&] { array a({3, 3}); a(2, 2) = 1, a(0, 0) = std::cos(z), a(0, 1) = -std::sin(z), a(1, 0) = std::sin(z), a(1, 1) = std::cos(z); return a; }();
    return moden_test::matmul(rz, moden_test::matmul(ry, rx));
}

struct scene_options {
    std::size_t frames = 30, points = 12, basis = 0;
    double angle = 0.6;        ///< yaw and pitch lie within +-angle, roll within a third of it
    double scale_spread = 0.2; ///< scales lie within 1 +- this
    double skew = 0;           ///< k12 within +- this, and k22 / k11 within 1 +- this
    double deformation = 0.15; ///< amplitude of the coefficients beside shapes of size 1
    double noise = 0;
    std::uint64_t seed = 1;
};

/// Everything that made some tracks.
struct scene {
    array cameras;       // N x 2 x 3
    array translations;  // N x 2
    array shape;         // 3 x L, centred
    array basis;         // K x L, rows of length 1 and mean 0
    array directions;    // K x 3, of length 1
    array coefficients;  // N x K
    array shapes;        // N x 3 x L
    array tracks;        // N x 2 x L

    explicit scene(const scene_options& options)
        : cameras({options.frames, 2, 3}), translations({options.frames, 2}), shape({3, options.points}), basis({options.basis, options.points}),
          directions({options.basis, 3}), coefficients({options.frames, options.basis}), shapes({options.frames, 3, options.points}),
          tracks({options.frames, 2, options.points}) {
        moden_test::number_source next(options.seed);
        for (std::size_t l = 0; l < options.points; ++l) {
            shape(0, l) = next(), shape(1, l) = 1.3 * next();
            shape(2, l) = 0.5 * (1 - shape(0, l) * shape(0, l)) + 0.4 * next();  // sticks out towards positive z, like a face
        }
        centre(shape);
        for (std::size_t k = 0; k < options.basis; ++k) {
            for (std::size_t l = 0; l < options.points; ++l) {
                basis(k, l) = next();
            }
            for (std::size_t i = 0; i < 3; ++i) {
                directions(k, i) = next();
            }
        }
        centre(basis);
        normalize(basis);
        normalize(directions);
        for (std::size_t n = 0; n < options.frames; ++n) {
            const array r = rotation(options.angle * next(), options.angle * next(), options.angle / 3 * next());
            const double s = 1 + options.scale_spread * next(), k12 = options.skew * next(), k22 = s * (1 + options.skew * next());
            for (std::size_t i = 0; i < 3; ++i) {
                cameras.at({n, 0, i}) = s * r(0, i) + k12 * r(1, i);
                cameras.at({n, 1, i}) = k22 * r(1, i);
            }
            translations(n, 0) = 3 + next(), translations(n, 1) = next() - 2;
            for (std::size_t k = 0; k < options.basis; ++k) {
                coefficients(n, k) = options.deformation * std::sqrt(static_cast<double>(options.points)) * next() / (1 + 0.3 * static_cast<double>(k));
            }
        }
        project();
        for (double& x : tracks.data) {
            x += options.noise * next();
        }
    }

    /// Shapes and tracks from everything else.
    void project() {
        const std::size_t points = shape.columns();
        for (std::size_t n = 0; n < translations.rows(); ++n) {
            for (std::size_t l = 0; l < points; ++l) {
                for (std::size_t i = 0; i < 3; ++i) {
                    double x = shape(i, l);
                    for (std::size_t k = 0; k < basis.rows(); ++k) {
                        x += coefficients(n, k) * directions(k, i) * basis(k, l);
                    }
                    shapes.at({n, i, l}) = x;
                }
                for (std::size_t a = 0; a < 2; ++a) {
                    double x = translations(n, a);
                    for (std::size_t i = 0; i < 3; ++i) {
                        x += cameras.at({n, a, i}) * shapes.at({n, i, l});
                    }
                    tracks.at({n, a, l}) = x;
                }
            }
        }
    }

    static void centre(array& a) {
        for (std::size_t i = 0; i < a.rows(); ++i) {
            double mean = 0;
            for (std::size_t l = 0; l < a.columns(); ++l) {
                mean += a(i, l) / static_cast<double>(a.columns());
            }
            for (std::size_t l = 0; l < a.columns(); ++l) {
                a(i, l) -= mean;
            }
        }
    }

    static void normalize(array& a) {
        for (std::size_t i = 0; i < a.rows(); ++i) {
            double square = 0;
            for (std::size_t l = 0; l < a.columns(); ++l) {
                square += a(i, l) * a(i, l);
            }
            for (std::size_t l = 0; l < a.columns(); ++l) {
                a(i, l) /= std::sqrt(square);
            }
        }
    }
};

/// sum_n |tracks(n) - cameras(n) shapes(n) - translations(n) 1'|^2; one shape for all frames has order 2.
inline double squared_residual(const array& tracks, const array& cameras, const array& shapes, const array& translations) {
    const std::size_t points = tracks.shape[2];
    double sum = 0;
    for (std::size_t n = 0; n < tracks.shape[0]; ++n) {
        for (std::size_t a = 0; a < 2; ++a) {
            for (std::size_t l = 0; l < points; ++l) {
                double x = tracks.at({n, a, l}) - translations(n, a);
                for (std::size_t i = 0; i < 3; ++i) {
                    x -= cameras.at({n, a, i}) * (shapes.shape.size() == 2 ? shapes(i, l) : shapes.at({n, i, l}));
                }
                sum += x * x;
            }
        }
    }
    return sum;
}

inline double largest_difference(const array& a, const array& b) {
    REQUIRE(a.shape == b.shape);
    double worst = 0;
    for (std::size_t i = 0; i < a.data.size(); ++i) {
        worst = std::max(worst, std::abs(a.data[i] - b.data[i]));
    }
    return worst;
}

/// A scene's shapes as a model.
template <class T, class Policy>
auto model_of(const Policy& policy, const scene& world) {
    using matrix = moden::policy_tensor<Policy, T, 2>;
    const auto placed = [&](const array& rows) { return moden_test::to_policy(policy, moden_test::to_tensor<T, 2>(rows)); };
    return moden::rank_one_shape_model<matrix>(policy, placed(world.shape), placed(world.basis), placed(world.directions));
}

}  // namespace nrsfm_test
