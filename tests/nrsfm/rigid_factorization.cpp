// Rigid factorization on every policy: exact scenes, noise, missing tracks, the object's frame, degenerate motion, refusals.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include <moden/nrsfm/rigid_factorization.hpp>

#include "scenes.hpp"

using namespace moden_test;
using namespace nrsfm_test;

namespace {

/// Distances between all pairs of points, which no rotation, translation or reflection changes.
array distances(const array& shape) {
    array result({shape.columns(), shape.columns()});
    for (std::size_t l = 0; l < shape.columns(); ++l) {
        for (std::size_t m = 0; m < shape.columns(); ++m) {
            double square = 0;
            for (std::size_t i = 0; i < 3; ++i) {
                square += (shape(i, l) - shape(i, m)) * (shape(i, l) - shape(i, m));
            }
            result(l, m) = std::sqrt(square);
        }
    }
    return result;
}

/// How far cameras are from s R with orthonormal rows; unit: s = 1.
double camera_violation(const array& cameras, bool unit) {
    double worst = 0;
    for (std::size_t n = 0; n < cameras.shape[0]; ++n) {
        double a = 0, b = 0, c = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            const double x = cameras.at({n, 0, i}), y = cameras.at({n, 1, i});
            a += x * x, b += x * y, c += y * y;
        }
        worst = std::max({worst, std::abs(a - c), std::abs(b), unit ? std::abs(a - 1) : 0.0});
    }
    return worst;
}

/// The factor between the scale of a scene's cameras and mean square 1.
double root_mean_scale(const array& cameras) { return frobenius(cameras) / std::sqrt(2.0 * static_cast<double>(cameras.shape[0])); }

array permuted_frames(const array& a) {
    array result(a.shape);
    const std::size_t frames = a.shape[0], size = a.data.size() / frames;
    for (std::size_t n = 0; n < frames; ++n) {
        std::copy_n(a.data.begin() + static_cast<std::ptrdiff_t>((n * 7 + 3) % frames * size), size, result.data.begin() + static_cast<std::ptrdiff_t>(n * size));
    }
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("rigid_factorization is exact on exact tracks", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    struct kind {
        moden::camera_model model;
        double scale_spread, skew;
        std::size_t frames, points;
    };
    for (const kind& now : {kind{moden::camera_model::scaled_orthographic, 0.3, 0, 30, 12}, kind{moden::camera_model::unit, 0, 0, 30, 12},
                            kind{moden::camera_model::affine, 0.3, 0.3, 30, 12}, kind{moden::camera_model::scaled_orthographic, 0.3, 0, 5, 30}}) {
        CAPTURE(static_cast<int>(now.model));
        CAPTURE(now.frames);
        const scene truth({.frames = now.frames, .points = now.points, .scale_spread = now.scale_spread, .skew = now.skew});
        const auto tracks = to_policy(policy, to_tensor<T, 3>(truth.tracks));  // N x 2 x L
        //! [rigid_factorization]
        const auto found = moden::rigid_factorization(policy, tracks, {.cameras = now.model});  // unit, scaled_orthographic (default) or affine
        // tracks(n) ~ found.cameras(n) found.shape + found.translations(n)
        //! [rigid_factorization]
        const array cameras = to_array(policy, found.cameras), shape = to_array(policy, found.shape), translations = to_array(policy, found.translations);
        CHECK(found.status == moden::iteration_status::converged);
        CHECK(found.upgrade == moden::metric_upgrade::closed_form);
        CHECK(found.model == now.model);
        const double size = frobenius(truth.tracks);
        CHECK(std::sqrt(squared_residual(truth.tracks, cameras, shape, translations)) <= 10 * Cell::eps * size);
        CHECK(std::sqrt(found.objective) <= (10 * Cell::eps + 1e-14) * size);
        CHECK(found.reprojection_error == doctest::Approx(std::sqrt(found.objective / static_cast<double>(truth.tracks.data.size()))).epsilon(1e-12));
        CHECK(largest_difference(translations, truth.translations) <= 20 * Cell::eps);
        if (now.model != moden::camera_model::affine) {
            // What rounding of the tracks does to depth is larger by the inverse of the angles.
            CHECK(camera_violation(cameras, now.model == moden::camera_model::unit) <= 20 * Cell::eps);
            const double scale = now.model == moden::camera_model::unit ? 1 : root_mean_scale(truth.cameras);
            CHECK(largest_difference(distances(shape), scaled(distances(truth.shape), scale)) <= 300 * Cell::eps);
        }
        // The object's frame: about its mean, facing the mean camera, sticking out towards positive z.
        double skew = 0, mean[6] = {0, 0, 0, 0, 0, 0}, asymmetry = 0;
        for (std::size_t l = 0; l < shape.columns(); ++l) {
            skew += std::pow(shape(2, l), 3);
        }
        CHECK(skew > 0);
        for (std::size_t i = 0; i < cameras.data.size(); ++i) {
            mean[i % 6] += cameras.data[i] / static_cast<double>(now.frames);
        }
        asymmetry = std::max({std::abs(mean[2]), std::abs(mean[5]), std::abs(mean[1] - mean[3])});  // [symmetric | 0] is nearest to [I | 0]
        CHECK(asymmetry <= 50 * Cell::eps);
        CHECK(mean[0] > 0);
    }
}

TEST_CASE_TEMPLATE("rigid_factorization knows neither the order of frames nor the unit of images", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 25, .noise = 0.05, .seed = 5});
    const auto fit = [&](const array& tracks, const moden::rigid_factorization_options& options = {}) {
        return moden::rigid_factorization(policy, to_policy(policy, to_tensor<T, 3>(tracks)), options);
    };
    const auto found = fit(truth.tracks);
    const array shape = to_array(policy, found.shape), cameras = to_array(policy, found.cameras);
    // Rounds stop when they gain 1e-5 of the objective: rounding may move the last one, and shapes by a fraction of what it gains.
    const double tolerance = 1e-4 + 1000 * Cell::eps;
    const auto other_order = fit(permuted_frames(truth.tracks));
    CHECK(largest_difference(to_array(policy, other_order.shape), shape) <= tolerance);
    CHECK(largest_difference(to_array(policy, other_order.cameras), permuted_frames(cameras)) <= tolerance);
    CHECK(other_order.objective == doctest::Approx(found.objective).epsilon(1e-6));
    const auto other_unit = fit(scaled(truth.tracks, 512));
    CHECK(largest_difference(scaled(to_array(policy, other_unit.shape), 1.0 / 512), shape) <= tolerance);
    CHECK(largest_difference(to_array(policy, other_unit.cameras), cameras) <= tolerance);
    CHECK(other_unit.reprojection_error == doctest::Approx(512 * found.reprojection_error).epsilon(1e-6));

    // Rounds never raise the objective, which is what the returned numbers give.
    CHECK(found.history.size() == found.iterations);
    for (std::size_t i = 1; i < found.history.size(); ++i) {
        CHECK(found.history[i] <= found.history[i - 1] * (1 + 1e-12));
    }
    CHECK(found.objective == doctest::Approx(squared_residual(truth.tracks, cameras, shape, to_array(policy, found.translations))).epsilon(1e-3 * std::sqrt(Cell::eps) + 1e-6));
    CHECK(found.objective <= squared_residual(truth.tracks, truth.cameras, truth.shape, truth.translations));

    // The other mirror image explains the tracks as well.
    const auto mirrored = fit(truth.tracks, {.depth = moden::depth_rule::negative_skew});
    array mirror = to_array(policy, mirrored.shape);
    for (std::size_t l = 0; l < mirror.columns(); ++l) {
        mirror(2, l) = -mirror(2, l);
    }
    CHECK(largest_difference(mirror, shape) == 0);
    CHECK(mirrored.objective == doctest::Approx(found.objective).epsilon(1e-9));

    // Affine cameras have more freedom, unit cameras less. Two rows per frame are as good as N x 2 x L.
    CHECK(fit(truth.tracks, {.cameras = moden::camera_model::affine}).objective <= found.objective);
    CHECK(fit(truth.tracks, {.cameras = moden::camera_model::unit}).objective >= found.objective);
    array rows({50, 12});
    rows.data = truth.tracks.data;
    const auto of_rows = moden::rigid_factorization(policy, to_policy(policy, to_tensor<T, 2>(rows)));
    CHECK(largest_difference(to_array(policy, of_rows.shape), shape) == 0);
}

TEST_CASE_TEMPLATE("rigid_factorization fills in missing tracks", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 40, .points = 15, .seed = 9});
    array seen = truth.tracks, mask({40, 15});
    number_source next(77);
    for (std::size_t n = 0; n < 40; ++n) {
        for (std::size_t l = 0; l < 15; ++l) {
            mask(n, l) = next() < 0.4 ? 1 : 0;  // 70 % observed
            if (mask(n, l) == 0) {
                seen.at({n, 0, l}) = seen.at({n, 1, l}) = std::numeric_limits<double>::quiet_NaN();
            }
        }
    }
    const auto tracks = to_policy(policy, to_tensor<T, 3>(seen));
    const auto observed = to_policy(policy, to_tensor<T, 2>(mask));
    //! [missing]
    const auto found = moden::rigid_factorization(policy, tracks, observed);  // mask: N x L, nonzero where a point is observed
    //! [missing]
    const array cameras = to_array(policy, found.cameras), shape = to_array(policy, found.shape), translations = to_array(policy, found.translations);
    // Missing points are predicted too: the residual is over all of them.
    CHECK(std::sqrt(squared_residual(truth.tracks, cameras, shape, translations)) <= (1e-6 + 100 * Cell::eps) * frobenius(truth.tracks));
    CHECK(largest_difference(distances(shape), scaled(distances(truth.shape), root_mean_scale(truth.cameras))) <= 1e-5 + 1000 * Cell::eps);
    for (std::size_t i = 1; i < found.history.size(); ++i) {
        CHECK(found.history[i] <= found.history[i - 1] * (1 + 1e-9) + 1e-13);
    }
    // With everything observed, the mask changes nothing but the way.
    const scene noisy({.frames = 25, .noise = 0.03, .seed = 5});
    const auto all = to_policy(policy, to_tensor<T, 3>(noisy.tracks));
    const auto ones = to_policy(policy, to_tensor<T, 2>(array({25, 12}, 1)));
    const moden::rigid_factorization_options patient{.tolerance = 1e-9, .max_iterations = 2000};
    const auto with = moden::rigid_factorization(policy, all, ones, patient), without = moden::rigid_factorization(policy, all, patient);
    CHECK(with.objective == doctest::Approx(without.objective).epsilon(1e-5));
}

TEST_CASE_TEMPLATE("rigid_factorization says what it cannot do", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const auto fit = [&](const array& tracks, const moden::rigid_factorization_options& options = {}) {
        return moden::rigid_factorization(policy, to_policy(policy, to_tensor<T, 3>(tracks)), options);
    };
    scene flat({.frames = 20, .points = 8});
    for (std::size_t l = 0; l < 8; ++l) {
        flat.shape(2, l) = 0.3 * flat.shape(0, l);
    }
    flat.project();
    CHECK_THROWS_WITH_AS(fit(flat.tracks), doctest::Contains("rank 2"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit(scene({.frames = 20, .points = 8, .angle = 0}).tracks), doctest::Contains("rank 2"), moden::argument_error);
    // A shape that is nearly flat is returned with a small third singular value.
    for (std::size_t l = 0; l < 8; ++l) {
        flat.shape(2, l) += 0.01 * std::cos(5.0 * static_cast<double>(l));
    }
    flat.project();
    const auto nearly = fit(flat.tracks);
    CHECK(nearly.singular_values[2] < 0.02 * nearly.singular_values[0]);
    CHECK(nearly.reprojection_error <= 1e-3);
    // Two different views leave the depth open, however often they are repeated.
    scene pair({.frames = 8, .points = 8, .scale_spread = 0});
    for (std::size_t n = 2; n < 8; ++n) {
        std::copy_n(pair.cameras.data.begin() + static_cast<std::ptrdiff_t>(n % 2 * 6), 6, pair.cameras.data.begin() + static_cast<std::ptrdiff_t>(n * 6));
    }
    pair.project();
    const auto open = fit(pair.tracks);
    CHECK(open.upgrade == moden::metric_upgrade::ambiguous);
    CHECK(open.reprojection_error <= 1e-2);

    array tracks = scene({.frames = 6, .points = 5}).tracks;
    const auto rows = [&](const moden::extents& shape) {
        return moden::rigid_factorization(policy, to_policy(policy, to_tensor<T, 2>(array(shape, 1))));
    };
    CHECK_THROWS_WITH_AS(rows({7, 5}), doctest::Contains("odd number of rows"), moden::shape_error);
    CHECK_THROWS_WITH_AS(rows({4, 5}), doctest::Contains("2 frames (expected at least 3)"), moden::shape_error);
    CHECK_THROWS_WITH_AS(rows({8, 3}), doctest::Contains("3 points (expected at least 4)"), moden::shape_error);
    CHECK_THROWS_WITH_AS(fit(array({6, 3, 5}, 1)), doctest::Contains("6 x 3 x 5"), moden::shape_error);
    CHECK_THROWS_WITH_AS(fit(array({6, 2, 5}, 1)), doctest::Contains("rank 2"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit(tracks, {.tolerance = -1}), doctest::Contains("tolerance -1"), moden::argument_error);
    CHECK_THROWS_AS(fit(tracks, {.max_iterations = 0}), moden::argument_error);
    tracks.at({2, 1, 3}) = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(fit(tracks), doctest::Contains("1 values that are NaN or infinite (give a mask"), moden::argument_error);
    const auto masked = [&](const array& mask) {
        return moden::rigid_factorization(policy, to_policy(policy, to_tensor<T, 3>(tracks)), to_policy(policy, to_tensor<T, 2>(mask)));
    };
    array mask({6, 5}, 1);
    CHECK_THROWS_WITH_AS(masked(mask), doctest::Contains("1 observed values"), moden::argument_error);
    mask(2, 3) = mask(2, 0) = 0;
    CHECK_THROWS_WITH_AS(masked(mask), doctest::Contains("frame 2 has 3 observed points (expected at least 4)"), moden::argument_error);
    mask(2, 0) = 1;
    for (const std::size_t n : {0, 1, 3, 4}) {
        mask(n, 3) = 0;
    }
    CHECK_THROWS_WITH_AS(masked(mask), doctest::Contains("point 3 is observed in 1 frames"), moden::argument_error);
    CHECK_THROWS_WITH_AS(masked(array({5, 6}, 1)), doctest::Contains("a mask of 5 x 6"), moden::shape_error);
}
