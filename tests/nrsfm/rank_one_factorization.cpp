// Rank-one factorization on every policy: planted scenes, the search against a fine grid, other methods, missing tracks, invariances, refusals.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <moden/nrsfm/rank_one_factorization.hpp>

#include "scenes.hpp"

using namespace moden_test;
using namespace nrsfm_test;

namespace {

/// |residual - sum_k alpha_k (M d_k) b_k'|^2 is |residual|^2 - sum_k f_k(d_k) for orthonormal b_k: f_k by its definition.
double gain_of(const array& residual, const array& cameras, const array& basis, std::size_t k, const double* d, double ridge) {
    double sum = 0;
    for (std::size_t n = 0; n < cameras.shape[0]; ++n) {
        double along = 0, square = 0;
        for (std::size_t a = 0; a < 2; ++a) {
            double moved = 0, seen = 0;
            for (std::size_t i = 0; i < 3; ++i) {
                moved += cameras.at({n, a, i}) * d[i];
                square += ridge / 2 * cameras.at({n, a, i}) * cameras.at({n, a, i});
            }
            for (std::size_t l = 0; l < basis.columns(); ++l) {
                seen += residual.at({n, a, l}) * basis(k, l);
            }
            along += moved * seen;
            square += moved * moved;
        }
        sum += square > 0 ? along * along / square : 0;
    }
    return sum;
}

array residual_of(const array& tracks, const array& cameras, const array& shape, const array& translations) {
    array result = tracks;
    for (std::size_t n = 0; n < tracks.shape[0]; ++n) {
        for (std::size_t a = 0; a < 2; ++a) {
            for (std::size_t l = 0; l < tracks.shape[2]; ++l) {
                double& x = result.at({n, a, l});
                x -= translations(n, a);
                for (std::size_t i = 0; i < 3; ++i) {
                    x -= cameras.at({n, a, i}) * shape(i, l);
                }
            }
        }
    }
    return result;
}

double squares(const array& a) { return frobenius(a) * frobenius(a); }

/// The part of the residual that directions explain, of orthonormal basis rows.
template <class Policy, class Result>
double explained(const Policy& policy, const array& tracks, const Result& found, double ridge = 0) {
    const array cameras = to_array(policy, found.cameras), basis = to_array(policy, found.basis), directions = to_array(policy, found.directions);
    const array residual = residual_of(tracks, cameras, to_array(policy, found.shape), to_array(policy, found.translations));
    double sum = 0;
    for (std::size_t k = 0; k < basis.rows(); ++k) {
        sum += gain_of(residual, cameras, basis, k, directions.data.data() + 3 * k, ridge);
    }
    return sum;
}

}  // namespace

TEST_CASE_TEMPLATE("rank_one_factorization separates into searches that find the best directions", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 60, .points = 14, .basis = 3, .noise = 0.01});
    const auto tracks = to_policy(policy, to_tensor<T, 3>(truth.tracks));
    for (const auto model : {moden::camera_model::scaled_orthographic, moden::camera_model::affine, moden::camera_model::unit}) {
        CAPTURE(static_cast<int>(model));
        //! [rank_one_factorization]
        const moden::rank_one_factorization_options options{.basis_shapes = 3, .cameras = model, .shrinkage = 0};  // least squares without a prior
        const auto found = moden::rank_one_factorization(policy, tracks, options);
        const auto shapes = moden::rank_one_shapes(policy, found);  // N x 3 x L: tracks(n) ~ found.cameras(n) shapes(n) + found.translations(n)
        //! [rank_one_factorization]
        const array cameras = to_array(policy, found.cameras), shape = to_array(policy, found.shape), translations = to_array(policy, found.translations);
        const array basis = to_array(policy, found.basis), directions = to_array(policy, found.directions);
        const array gram = matmul(basis, transpose(basis));
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t j = 0; j < 3; ++j) {
                CHECK(std::abs(gram(i, j) - (i == j ? 1 : 0)) <= 1e-9 + 20 * Cell::eps);
            }
            CHECK(std::abs(directions(i, 0) * directions(i, 0) + directions(i, 1) * directions(i, 1) + directions(i, 2) * directions(i, 2) - 1) <= 10 * Cell::eps);
        }
        const array residual = residual_of(truth.tracks, cameras, shape, translations);
        const double tolerance = 1e-9 + 50 * Cell::eps;
        CHECK(found.rigid_objective == doctest::Approx(squares(residual)).epsilon(tolerance));
        CHECK(found.objective <= found.rigid_objective);
        CHECK(found.objective == doctest::Approx(squared_residual(truth.tracks, cameras, to_array(policy, shapes), translations)).epsilon(tolerance * 20));
        CHECK(found.objective == doctest::Approx(found.rigid_objective - explained(policy, truth.tracks, found)).epsilon(tolerance * 100));
        // No direction of a grid that is finer than the search's and lies elsewhere does better.
        for (std::size_t k = 0; k < 3; ++k) {
            const double best = gain_of(residual, cameras, basis, k, directions.data.data() + 3 * k, 0);
            double highest = 0;
            for (std::size_t i = 0; i < 40; ++i) {
                for (std::size_t j = 0; j < 80; ++j) {
                    const double polar = (static_cast<double>(i) + 0.3) / 40 * std::acos(0.0), around = static_cast<double>(j) / 80 * 4 * std::acos(0.0);
                    const double d[3] = {std::sin(polar) * std::cos(around), std::sin(polar) * std::sin(around), std::cos(polar)};
                    highest = std::max(highest, gain_of(residual, cameras, basis, k, d, 0));
                }
            }
            CHECK(best >= highest * (1 - 100 * Cell::eps));
            CHECK(best <= highest * 1.01);  // and the grid is that fine
        }
        // Rows of the basis are the residual's singular vectors: their squared singular values are what it has along them.
        const double along = found.residual_singular_values[0] * found.residual_singular_values[0];
        double largest = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            double sum = 0;
            for (std::size_t r = 0; r < 120; ++r) {
                double product = 0;
                for (std::size_t l = 0; l < 14; ++l) {
                    product += residual.data[r * 14 + l] * basis(k, l);
                }
                sum += product * product;
            }
            largest = std::max(largest, sum);
        }
        CHECK(largest == doctest::Approx(along).epsilon(tolerance * 20));
    }
}

TEST_CASE_TEMPLATE("the other ways to directions end no lower than the search", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 40, .points = 10, .basis = 2, .noise = 0.01, .seed = 3});
    const auto tracks = to_policy(policy, to_tensor<T, 3>(truth.tracks));
    const auto searched = moden::rank_one_factorization(policy, tracks, {.basis_shapes = 2, .shrinkage = 0});
    const auto alternated = moden::rank_one_factorization(policy, tracks, {.basis_shapes = 2, .directions = moden::direction_method::alternating, .shrinkage = 0,
                                                                           .tolerance = 1e-9, .max_iterations = 500});
    CHECK(alternated.history.size() == alternated.iterations);
    for (std::size_t i = 1; i < alternated.history.size(); ++i) {
        CHECK(alternated.history[i] <= alternated.history[i - 1] * (1 + 1e-12));
    }
    CHECK(searched.objective <= alternated.objective * (1 + 100 * Cell::eps));
    std::size_t calls = 0;
    moden::rank_one_factorization_options options{.basis_shapes = 2, .directions = moden::direction_method::gradient_descent, .shrinkage = 0};
    options.tolerance = 1e-8;
    options.max_iterations = 3000;
    options.progress = [&](std::size_t, double) { return ++calls < 2500; };
    const auto descended = moden::rank_one_factorization(policy, tracks, options);
    CHECK(calls == descended.iterations);
    CHECK(descended.history.back() < 0.2 * descended.history.front());
    CHECK(searched.objective <= descended.objective * (1 + 100 * Cell::eps));
    CHECK(descended.objective <= searched.rigid_objective);
    // Shrinkage lowers coefficients, and the search maximises what it then explains.
    const auto shrunk = moden::rank_one_factorization(policy, tracks, {.basis_shapes = 2, .shrinkage = 0.3});
    CHECK(shrunk.objective >= searched.objective * (1 - 100 * Cell::eps));
    CHECK(shrunk.objective <= shrunk.rigid_objective);
    CHECK(frobenius(to_array(policy, shrunk.coefficients)) < frobenius(to_array(policy, searched.coefficients)));
    CHECK(explained(policy, truth.tracks, shrunk, 0.3) >= explained(policy, truth.tracks, searched, 0.3) * (1 - 1000 * Cell::eps));
}

TEST_CASE_TEMPLATE("joint rounds never go up, and explain planted scenes as well as what they were made of", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 60, .points = 16, .basis = 3, .noise = 0.01, .seed = 7});
    const auto tracks = to_policy(policy, to_tensor<T, 3>(truth.tracks));
    moden::rank_one_factorization_options options{.basis_shapes = 3, .basis = moden::basis_choice::joint, .shrinkage = 0};
    const auto principal = moden::rank_one_factorization(policy, tracks, {.basis_shapes = 3, .shrinkage = 0});
    const auto fixed = moden::rank_one_factorization(policy, tracks, options);
    options.refinement = moden::camera_refinement::rotations;
    const auto turned = moden::rank_one_factorization(policy, tracks, options);
    options.refinement = moden::camera_refinement::all;
    options.max_iterations = 600;
    options.tolerance = 1e-6;
    const auto refined = moden::rank_one_factorization(policy, tracks, options);
    for (const auto* found : {&fixed, &turned, &refined}) {
        CHECK(found->history.size() == found->iterations);
        for (std::size_t i = 1; i < found->history.size(); ++i) {
            CHECK(found->history[i] <= found->history[i - 1] * (1 + 1e-10));
        }
        CHECK(found->objective <= found->history.back() * (1 + 100 * Cell::eps));
        CHECK(found->objective == doctest::Approx(squared_residual(truth.tracks, to_array(policy, found->cameras), to_array(policy, moden::rank_one_shapes(policy, *found)),
                                                                   to_array(policy, found->translations)))
                                      .epsilon(1e-6 + 2000 * Cell::eps));
    }
    CHECK(fixed.objective <= principal.objective);
    CHECK(turned.objective <= fixed.objective);
    CHECK(refined.objective <= turned.objective);
    // The shrinkage's term counts coefficients in images: cameras cannot grow to escape it.
    options.shrinkage = 0.1;
    const auto shrunk = moden::rank_one_factorization(policy, tracks, options);
    const double size = frobenius(to_array(policy, shrunk.cameras)) / frobenius(to_array(policy, principal.cameras));
    CHECK(std::abs(size - 1) <= 0.2);
    CHECK(principal.objective <= principal.rigid_objective);
    CHECK(refined.objective <= squared_residual(truth.tracks, truth.cameras, truth.shapes, truth.translations));
}

TEST_CASE_TEMPLATE("independent components span what principal components span, and find patterns of few points", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    scene truth({.frames = 400, .points = 68, .basis = 8, .seed = 2});
    number_source next(79);
    for (double& x : truth.basis.data) {  // about a fifth of the points
        const double size = next();
        x = next() > 0.6 ? size : 0.02 * size;
    }
    scene::centre(truth.basis);
    scene::normalize(truth.basis);
    truth.project();
    const auto tracks = to_policy(policy, to_tensor<T, 3>(truth.tracks));
    const auto of = [&](moden::basis_choice basis) { return moden::rank_one_factorization(policy, tracks, {.basis_shapes = 8, .basis = basis, .shrinkage = 0}); };
    const auto principal = of(moden::basis_choice::principal_components), independent = of(moden::basis_choice::independent_components);
    const array before = to_array(policy, principal.basis), after = to_array(policy, independent.basis);
    CHECK(independent.rigid_objective == doctest::Approx(principal.rigid_objective));
    // The same span: the product of orthonormal bases is orthogonal.
    const array turn = matmul(after, transpose(before));
    CHECK(largest_difference(matmul(turn, transpose(turn)), matmul(after, transpose(after))) <= 1e-9 + 20 * Cell::eps);
    CHECK(std::abs(frobenius(turn) - std::sqrt(8.0)) <= 1e-9 + 20 * Cell::eps);
    // Principal components mix patterns that move along different directions more than these do.
    CHECK(independent.objective < 0.9 * principal.objective);
    CHECK(independent.objective == doctest::Approx(squared_residual(truth.tracks, to_array(policy, independent.cameras), to_array(policy, moden::rank_one_shapes(policy, independent)),
                                                                    to_array(policy, independent.translations)))
                                       .epsilon(1e-6 + 2000 * Cell::eps));
}

TEST_CASE_TEMPLATE("frames may come in any order, images in any unit, and the number of basis shapes is found", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 80, .points = 16, .basis = 2, .deformation = 0.2, .noise = 0.002, .seed = 21});
    const auto fit = [&](const array& tracks, std::size_t count) {
        return moden::rank_one_factorization(policy, to_policy(policy, to_tensor<T, 3>(tracks)), {.basis_shapes = count});
    };
    const auto found = fit(truth.tracks, 0);
    CHECK(found.coefficients.shape()[1] >= 2);
    CHECK(found.coefficients.shape()[1] <= 4);  // principal components mix what moves along two directions
    array turned = truth.tracks;
    const std::size_t size = 2 * 16;
    for (std::size_t n = 0; n < 80; ++n) {
        std::copy_n(truth.tracks.data.begin() + static_cast<std::ptrdiff_t>((n * 7 + 3) % 80 * size), size, turned.data.begin() + static_cast<std::ptrdiff_t>(n * size));
    }
    const auto first = fit(truth.tracks, 2), second = fit(turned, 2), third = fit(scaled(truth.tracks, 64), 2);
    const double tolerance = 1e-3 + 1e4 * Cell::eps;  // the rigid part stops at 1e-5 of its objective
    CHECK(second.objective == doctest::Approx(first.objective).epsilon(1e-4));
    CHECK(third.objective == doctest::Approx(64 * 64 * first.objective).epsilon(1e-4));
    CHECK(largest_difference(to_array(policy, second.directions), to_array(policy, first.directions)) <= tolerance);
    CHECK(largest_difference(to_array(policy, third.basis), to_array(policy, first.basis)) <= tolerance);
    CHECK(largest_difference(scaled(to_array(policy, third.coefficients), 1.0 / 64), to_array(policy, first.coefficients)) <= tolerance);
    // Three that are well apart are three: with many frames that hardly deform along the same pattern, components do not mix them.
    const scene three({.frames = 400, .points = 20, .basis = 3, .angle = 0.9, .deformation = 0.2, .noise = 0.02, .seed = 5});
    CHECK(fit(three.tracks, 0).coefficients.shape()[1] == 3);
    // A rigid scene needs no basis shape.
    const scene rigid({.frames = 40, .points = 12, .noise = 0.01, .seed = 2});
    const auto none = fit(rigid.tracks, 0);
    CHECK(none.coefficients.shape()[1] == 0);
    CHECK(none.objective == doctest::Approx(none.rigid_objective));
    CHECK(moden::rank_one_shapes(policy, none).shape()[0] == 40);
}

TEST_CASE_TEMPLATE("rank_one_factorization fills in missing tracks", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 60, .points = 16, .basis = 2, .noise = 0.005, .seed = 31});
    array seen = truth.tracks, mask({60, 16});
    number_source next(5);
    double observed = 0;
    for (std::size_t n = 0; n < 60; ++n) {
        for (std::size_t l = 0; l < 16; ++l) {
            mask(n, l) = next() < 0.7 ? 1 : 0;  // 85 % observed
            observed += 2 * mask(n, l);
            if (mask(n, l) == 0) {
                seen.at({n, 0, l}) = std::numeric_limits<double>::quiet_NaN();
            }
        }
    }
    const auto tracks = to_policy(policy, to_tensor<T, 3>(seen));
    const auto visible = to_policy(policy, to_tensor<T, 2>(mask));
    //! [missing]
    const auto found = moden::rank_one_factorization(policy, tracks, visible, {.basis_shapes = 2});  // mask: N x L, nonzero where observed
    //! [missing]
    for (std::size_t i = 1; i < found.history.size(); ++i) {
        CHECK(found.history[i] <= found.history[i - 1] * (1 + 1e-9));
    }
    CHECK(found.objective < 0.2 * found.rigid_objective);
    CHECK(found.reprojection_error == doctest::Approx(std::sqrt(found.objective / observed)).epsilon(1e-9));
    const array shapes = to_array(policy, moden::rank_one_shapes(policy, found)), cameras = to_array(policy, found.cameras);
    const array translations = to_array(policy, found.translations);
    double sum = 0, hidden = 0, rigid = 0;
    const auto plain = moden::rigid_factorization(policy, tracks, visible);
    const array plain_cameras = to_array(policy, plain.cameras), plain_shape = to_array(policy, plain.shape), plain_translations = to_array(policy, plain.translations);
    for (std::size_t n = 0; n < 60; ++n) {
        for (std::size_t a = 0; a < 2; ++a) {
            for (std::size_t l = 0; l < 16; ++l) {
                double x = truth.tracks.at({n, a, l}) - translations(n, a), y = truth.tracks.at({n, a, l}) - plain_translations(n, a);
                for (std::size_t i = 0; i < 3; ++i) {
                    x -= cameras.at({n, a, i}) * shapes.at({n, i, l});
                    y -= plain_cameras.at({n, a, i}) * plain_shape(i, l);
                }
                (mask(n, l) != 0 ? sum : hidden) += x * x;
                rigid += mask(n, l) != 0 ? 0 : y * y;
            }
        }
    }
    CHECK(found.objective == doctest::Approx(sum).epsilon(1e-6 + 2000 * Cell::eps));
    CHECK(hidden < 0.5 * rigid);  // what was not seen is predicted better than by a rigid object
}

TEST_CASE_TEMPLATE("rank_one_factorization refuses what it cannot use", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const typename Cell::policy policy{};
    const scene truth({.frames = 12, .points = 8, .basis = 1, .seed = 2});
    const auto tracks = to_policy(policy, to_tensor<T, 3>(truth.tracks));
    const auto fit = [&](const moden::rank_one_factorization_options& options) { return moden::rank_one_factorization(policy, tracks, options); };
    CHECK_THROWS_WITH_AS(fit({.basis_shapes = 9}), doctest::Contains("9 basis shapes of 12 frames and 8 points (expected at most 7)"), moden::argument_error);
    const scene stiff({.frames = 12, .points = 8, .scale_spread = 0});
    CHECK_THROWS_WITH_AS(moden::rank_one_factorization(policy, to_policy(policy, to_tensor<T, 3>(stiff.tracks)), {.basis_shapes = 2}),
                         doctest::Contains("2 basis shapes for a residual of rank 0"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.basis_shapes = 1, .shrinkage = -1}), doctest::Contains("shrinkage -1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.basis_shapes = 1, .grid = 8}), doctest::Contains("a grid of 8 directions"), moden::argument_error);
    CHECK_THROWS_AS(fit({.basis_shapes = 1, .learning_rate = 0}), moden::argument_error);
    CHECK_THROWS_AS(fit({.basis_shapes = 1, .max_iterations = 0}), moden::argument_error);
    CHECK_THROWS_WITH_AS(fit({.basis_shapes = 1, .refinement = moden::camera_refinement::rotations}), doctest::Contains("basis_choice::joint"), moden::argument_error);
    CHECK_THROWS_AS(moden::rank_one_factorization(policy, to_policy(policy, random_tensor<T, 2>({7, 8}, 1)), {.basis_shapes = 1}), moden::shape_error);
    array mask({12, 8}, 1);
    mask(5, 0) = mask(5, 1) = mask(5, 2) = mask(5, 3) = 0;
    CHECK_THROWS_WITH_AS(moden::rank_one_factorization(policy, tracks, to_policy(policy, to_tensor<T, 2>(mask)), {.basis_shapes = 2}),
                         doctest::Contains("frame 5 has 4 observed points (expected at least 5)"), moden::argument_error);
}
