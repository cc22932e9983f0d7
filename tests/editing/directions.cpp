// Directions on every policy: those of a tensor model, principal components, means, weights; and their algebra.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <moden/editing/direction_algebra.hpp>
#include <moden/editing/linear_directions.hpp>
#include <moden/editing/parameter_estimation.hpp>
#include <moden/editing/path_length.hpp>
#include <moden/editing/semantic_directions.hpp>
#include <moden/editing/stacked_model.hpp>

#include "planted.hpp"

using namespace moden_test;
using namespace editing_test;

namespace {

/// code x person x expression x intensity x view.
const moden::extents shape{24, 5, 4, 3, 2};

std::vector<moden::factor_mode> modes() {
    return {moden::numbered_mode("person", 5), moden::numbered_mode("expression", 4), moden::numbered_mode("intensity", 3), {"view", {"left", "right"}}};
}

double dot(const array& a, const array& b) { return std::inner_product(a.data.begin(), a.data.end(), b.data.begin(), 0.0); }

}  // namespace

TEST_CASE_TEMPLATE("directions of a tensor model", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array codes = planted_codes(shape);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 5>(codes)), modes(),
                                               {.scaling = moden::code_scaling::standardized});
    // Means of the codes over everything but the modes named.
    const array rows = as_rows(codes);
    array mean({1, 24});
    for (std::size_t n = 0; n < rows.rows(); ++n) {
        for (std::size_t i = 0; i < 24; ++i) {
            mean.data[i] += rows(n, i) / static_cast<double>(rows.rows());
        }
    }
    SUBCASE("averages over all other modes") {
        const array directions = to_array(policy, moden::level_directions(policy, model, "expression"));
        for (std::size_t e = 0; e < 4; ++e) {
            array expected({1, 24});
            for_each_index({24, 5, 3, 2}, [&](const moden::extents& i) {
                expected.data[i[0]] += codes.at({i[0], i[1], e, i[2], i[3]}) / 30;
            });
            CHECK(relative_difference(row_of(directions, e), difference(expected, mean)) < 1000 * Cell::eps);
        }
    }
    SUBCASE("with a truncated intensity") {
        //! [level_directions]
        // row e: what expression e adds to a code per unit of intensity
        const auto directions = moden::level_directions(policy, model, "expression", {.truncated_mode = "intensity"});
        //! [level_directions]
        // By definition: the (scaled) tensor projected onto the leading column of the intensity mode.
        const array factor = first_columns(to_array(policy, model.decomposition.factors[3]), 1);
        const array got = to_array(policy, directions);
        for (std::size_t e = 0; e < 4; ++e) {
            array expected({1, 24});
            for_each_index({24, 5, 3, 2}, [&](const moden::extents& i) {
                expected.data[i[0]] += (codes.at({i[0], i[1], e, i[2], i[3]}) - mean.data[i[0]]) * factor.data[i[2]] / 10;
            });
            CHECK(relative_difference(row_of(got, e), expected) < 1000 * Cell::eps);
        }
    }
    SUBCASE("from one level to another") {
        //! [difference_direction]
        const auto rotation = moden::difference_direction(policy, model, "view", "left", "right");  // 1 x D
        //! [difference_direction]
        array expected({1, 24});
        for_each_index({24, 5, 4, 3}, [&](const moden::extents& i) {
            expected.data[i[0]] += (codes.at({i[0], i[1], i[2], i[3], 1}) - codes.at({i[0], i[1], i[2], i[3], 0})) / 60 / std::sqrt(2.0);
        });
        CHECK(relative_difference(to_array(policy, rotation), expected) < 1000 * Cell::eps);
    }
    CHECK_THROWS_WITH_AS(moden::level_directions(policy, model, "expression", {.truncated_mode = "expression"}), doctest::Contains("with that mode truncated"),
                         moden::argument_error);
    CHECK_THROWS_AS(moden::difference_direction(policy, model, "view", "left", "up"), moden::argument_error);
}

TEST_CASE_TEMPLATE("a factor goes from one code to another", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes({30, 6, 4, 3});
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes({30, 6, 4, 3}));
    array codes({2, 30}), wanted({2, 30});
    for (std::size_t i = 0; i < 30; ++i) {
        const double rest = 0.1 * static_cast<double>(i % 5);  // what the model does not explain stays
        codes(0, i) = planted.at({i, 2, 1, 0}) + rest;
        codes(1, i) = planted.at({i, 4, 3, 2}) + rest;
        wanted(0, i) = planted.at({i, 2, 3, 0}) + rest;
        wanted(1, i) = planted.at({i, 4, 1, 2}) + rest;
    }
    const auto latents = to_policy(policy, to_tensor<T, 2>(codes));
    std::vector<moden::policy_tensor<Policy, T, 2>> parameters;
    parameters.push_back(moden::level_parameters(policy, model, "person", {"2", "4"}));
    parameters.push_back(moden::level_parameters(policy, model, "expression", {"1", "3"}));
    parameters.push_back(moden::level_parameters(policy, model, "view", {"0", "2"}));
    //! [transfer_factor]
    const auto others = moden::level_parameters(policy, model, "expression", {"3", "1"});
    const auto exchanged = moden::transfer_factor(policy, model, latents, parameters, "expression", others);
    //! [transfer_factor]
    CHECK(relative_difference(to_array(policy, exchanged), wanted) < 100 * Cell::eps);
    const auto one = moden::level_parameters(policy, model, "expression", {"3"});
    CHECK_THROWS_WITH_AS(moden::transfer_factor(policy, model, latents, parameters, "expression", one), doctest::Contains("new parameters of 1 x 4"),
                         moden::shape_error);
}

TEST_CASE_TEMPLATE("stacked models: every style has parameters of its own", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes({30, 5, 4, 2});
    const auto latents = to_policy(policy, to_tensor<T, 4>(planted));
    const auto names = face_modes({30, 5, 4, 2});
    //! [stacked]
    const auto model = moden::fit_stacked_tensor_model(policy, latents, 3, names);  // codes of 3 styles x 10
    //! [stacked]
    REQUIRE(model.styles.size() == 3);
    CHECK(model.code_size() == 30);
    // One set of parameters for all styles reproduces the codes.
    std::vector<moden::policy_tensor<Policy, T, 2>> levels;
    levels.push_back(moden::level_parameters(policy, model.styles[0], "person", {"2", "0"}));
    levels.push_back(moden::level_parameters(policy, model.styles[0], "expression", {"1", "3"}));
    levels.push_back(moden::level_parameters(policy, model.styles[0], "view", {"0", "1"}));
    std::vector<std::vector<moden::policy_tensor<Policy, T, 2>>> sets;
    sets.push_back(std::move(levels));
    const array made = to_array(policy, moden::synthesize_codes(policy, model, sets));
    for (std::size_t i = 0; i < 30; ++i) {
        CHECK(made(0, i) == doctest::Approx(planted.at({i, 2, 1, 0})).epsilon(1000 * Cell::eps));
        CHECK(made(1, i) == doctest::Approx(planted.at({i, 0, 3, 1})).epsilon(1000 * Cell::eps));
    }
    // More parameters fit better than one set for the whole code.
    const auto codes = to_policy(policy, to_tensor<T, 2>(random_matrix(6, 30, 8)));
    const auto vectorised = moden::estimate_parameters(policy, moden::fit_tensor_model(policy, latents, names), codes, {.starts = 4});
    const auto stacked = moden::estimate_parameters(policy, model, codes, {.starts = 4});
    for (std::size_t n = 0; n < 6; ++n) {
        CHECK(stacked[0].residual[n] + stacked[1].residual[n] + stacked[2].residual[n] < vectorised.residual[n]);
    }
    CHECK_THROWS_WITH_AS(moden::fit_stacked_tensor_model(policy, latents, 4, names), doctest::Contains("4 styles of codes with 30 entries"), moden::shape_error);
}

TEST_CASE_TEMPLATE("principal components, at once and in batches", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Far from the origin: the mean must not eat the digits of the rest.
    array values = random_matrix(60, 8, 21);
    for (std::size_t n = 0; n < 60; ++n) {
        for (std::size_t i = 0; i < 8; ++i) {
            values(n, i) = 30 + values(n, i) * std::pow(0.6, static_cast<double>(i)) + (i == 7 ? 0.5 * values(n, 0) : 0);
        }
    }
    const auto codes = to_policy(policy, to_tensor<T, 2>(values));
    values = to_array(policy, codes);  // as rounded
    //! [pca_directions]
    const auto components = moden::pca_directions(policy, codes, 3);
    // codes vary by components.deviations[i] along row i of components.directions
    //! [pca_directions]
    array mean({1, 8});
    for (std::size_t n = 0; n < 60; ++n) {
        for (std::size_t i = 0; i < 8; ++i) {
            mean.data[i] += values(n, i) / 60;
        }
    }
    array centred = values;
    for (std::size_t n = 0; n < 60; ++n) {
        for (std::size_t i = 0; i < 8; ++i) {
            centred(n, i) -= mean.data[i];
        }
    }
    const reference_svd svd = jacobi_svd(transpose(centred));
    const array directions = to_array(policy, components.directions);
    double variance = 0;
    for (std::size_t i = 0; i < 8; ++i) {
        variance += svd.values[i] * svd.values[i] / 59;
    }
    CHECK(components.total_variance == doctest::Approx(variance).epsilon(100 * Cell::eps));
    for (std::size_t k = 0; k < 3; ++k) {
        CHECK(components.deviations[k] == doctest::Approx(svd.values[k] / std::sqrt(59.0)).epsilon(100 * Cell::eps));
        double along = 0;
        for (std::size_t i = 0; i < 8; ++i) {
            along += directions(k, i) * svd.u(i, k);
        }
        CHECK(std::abs(along) == doctest::Approx(1).epsilon(1000 * Cell::eps));
    }
    CHECK(relative_difference(to_array(policy, components.mean), mean) < 2 * Cell::eps);

    moden::pca_accumulator<Policy, T> first(policy, 8), second(policy, 8), empty(policy, 8);
    const auto batch = [&](std::size_t from, std::size_t count) {
        array part({count, 8});
        std::copy_n(values.data.begin() + static_cast<std::ptrdiff_t>(from * 8), count * 8, part.data.begin());
        return to_policy(policy, to_tensor<T, 2>(part));
    };
    first.add(batch(0, 1));
    first.add(batch(1, 20));
    second.add(batch(21, 0));
    second.add(batch(21, 39));
    first.merge(second);
    first.merge(empty);
    empty.merge(first);
    CHECK(first.count() == 60);
    for (const auto* sums : {&first, &empty}) {
        const auto again = sums->solve(3);
        for (std::size_t k = 0; k < 3; ++k) {
            CHECK(again.deviations[k] == doctest::Approx(components.deviations[k]).epsilon(100 * Cell::eps));
        }
        CHECK(relative_difference(to_array(policy, again.directions), directions) < 1000 * Cell::eps);
    }
    moden::pca_accumulator<Policy, T> lonely(policy, 8);
    lonely.add(batch(0, 1));
    CHECK_THROWS_WITH_AS(lonely.solve(1), doctest::Contains("1 codes (expected at least 2)"), moden::argument_error);
    CHECK_THROWS_AS(first.solve(9), moden::argument_error);
    CHECK_THROWS_AS(first.add(to_policy(policy, to_tensor<T, 2>(random_matrix(2, 7, 1)))), moden::shape_error);
}

TEST_CASE_TEMPLATE("differences of means and directions of weights", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array plus = random_matrix(7, 6, 1), minus = random_matrix(5, 6, 2);
    const auto positive = to_policy(policy, to_tensor<T, 2>(plus)), negative = to_policy(policy, to_tensor<T, 2>(minus));
    //! [mean_difference]
    const auto direction = moden::mean_difference_direction(policy, positive, negative);  // 1 x d
    //! [mean_difference]
    array expected({1, 6});
    for (std::size_t i = 0; i < 6; ++i) {
        for (std::size_t n = 0; n < 7; ++n) {
            expected.data[i] += plus(n, i) / 7;
        }
        for (std::size_t n = 0; n < 5; ++n) {
            expected.data[i] -= minus(n, i) / 5;
        }
    }
    CHECK(relative_difference(to_array(policy, direction), expected) < 4 * Cell::eps);
    const auto nobody = to_policy(policy, to_tensor<T, 2>(array({0, 6})));
    CHECK_THROWS_WITH_AS(moden::mean_difference_direction(policy, positive, nobody), doctest::Contains("no negative codes (0 x 6)"), moden::shape_error);

    array a = random_matrix(11, 6, 3);
    for (std::size_t i = 0; i < 6; ++i) {
        a(4, i) = 0;  // an output that nothing moves
        a(7, i) *= 10;
    }
    const auto weights = to_policy(policy, to_tensor<T, 2>(a));
    //! [weight_directions]
    const auto found = moden::weight_directions(policy, weights, 4);  // weights: outputs x d
    //! [weight_directions]
    for (const auto scaling : {moden::weight_scaling::unit_rows, moden::weight_scaling::as_stored}) {
        array scaled = a;
        for (std::size_t n = 0; n < 11 && scaling == moden::weight_scaling::unit_rows; ++n) {
            const double length = frobenius(row_of(a, n));
            for (std::size_t i = 0; i < 6; ++i) {
                scaled(n, i) /= length > 0 ? length : 1;
            }
        }
        const auto result = moden::weight_directions(policy, weights, 4, scaling);
        const reference_svd svd = jacobi_svd(transpose(scaled));
        const array directions = to_array(policy, result.directions);
        for (std::size_t k = 0; k < 4; ++k) {
            CHECK(result.gains[k] == doctest::Approx(svd.values[k]).epsilon(1000 * Cell::eps));
            CHECK(frobenius(matmul(scaled, transpose(row_of(directions, k)))) == doctest::Approx(svd.values[k]).epsilon(1000 * Cell::eps));
        }
    }
    CHECK(found.gains[0] >= found.gains[1]);
    CHECK_THROWS_AS(moden::weight_directions(policy, weights, 7), moden::argument_error);
}

TEST_CASE_TEMPLATE("edits", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array w = random_matrix(2, 12, 1), v = random_matrix(1, 12, 2), short_v = random_matrix(1, 4, 3);
    const auto codes = to_policy(policy, to_tensor<T, 2>(w)), direction = to_policy(policy, to_tensor<T, 2>(v));
    //! [edit_codes]
    const auto strip = moden::edit_codes(policy, codes, direction, {-3, 0, 1.5});           // 3 pictures per code
    const auto eyes = moden::edit_codes(policy, codes, direction, {2}, {.rows = 3, .layers = {1, 2}});  // rows 1 and 2 of w+ only
    //! [edit_codes]
    const array made = to_array(policy, strip), local = to_array(policy, eyes);
    const double strengths[] = {-3, 0, 1.5};
    for (std::size_t n = 0; n < 2; ++n) {
        for (std::size_t i = 0; i < 12; ++i) {
            for (std::size_t s = 0; s < 3; ++s) {
                CHECK(made(3 * n + s, i) == doctest::Approx(w(n, i) + strengths[s] * v.data[i]).epsilon(10 * Cell::eps));
            }
            CHECK(local(n, i) == doctest::Approx(w(n, i) + (i >= 4 ? 2 * v.data[i] : 0)).epsilon(10 * Cell::eps));
        }
    }
    // One row for every row of w+, from the second on.
    const auto one = to_policy(policy, to_tensor<T, 2>(short_v));
    const array each = to_array(policy, moden::edit_codes(policy, codes, one, {1}, {.rows = 3, .layers = {1}}));
    for (std::size_t i = 0; i < 12; ++i) {
        CHECK(each(1, i) == doctest::Approx(w(1, i) + (i >= 4 ? short_v.data[i % 4] : 0)).epsilon(10 * Cell::eps));
    }
    // Absolute steps end where they should, whatever the code had before; everything else stays.
    const array absolute = to_array(policy, moden::edit_codes(policy, codes, direction, {2}, {.step = moden::edit_step::absolute, .deviation = 0.5}));
    const double length = frobenius(v);
    for (std::size_t n = 0; n < 2; ++n) {
        CHECK(dot(row_of(absolute, n), v) / length == doctest::Approx(1).epsilon(100 * Cell::eps));
        const array moved = difference(row_of(absolute, n), row_of(w, n));
        CHECK(std::abs(dot(moved, v)) == doctest::Approx(frobenius(moved) * length).epsilon(100 * Cell::eps));
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_WITH_AS(moden::edit_codes(policy, codes, direction, {1, nan}), doctest::Contains("strength nan"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::edit_codes(policy, codes, one, {1}), doctest::Contains("a direction of 4 entries for codes of 12 in 1 rows"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::edit_codes(policy, codes, direction, {1}, {.rows = 5}), doctest::Contains("5 rows of codes with 12"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::edit_codes(policy, codes, direction, {1}, {.rows = 3, .layers = {2, 2}}), doctest::Contains("layers 2 to 4 of 3 rows"),
                         moden::shape_error);
    const auto nothing = to_policy(policy, to_tensor<T, 2>(array({1, 12})));
    CHECK_THROWS_AS(moden::edit_codes(policy, codes, nothing, {1}, {.step = moden::edit_step::absolute}), moden::argument_error);
}

TEST_CASE_TEMPLATE("directions made independent of others", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array v = random_matrix(3, 20, 1);
    array c = random_matrix(4, 20, 2);
    for (std::size_t i = 0; i < 20; ++i) {
        c(3, i) = c(0, i) - 2 * c(1, i);  // says nothing new
        c(2, i) = c(1, i) + 1e-3 * c(2, i);  // nearly parallel
    }
    const auto directions = to_policy(policy, to_tensor<T, 2>(v)), others = to_policy(policy, to_tensor<T, 2>(c));
    //! [project_out]
    const auto independent = moden::project_out(policy, directions, others);
    //! [project_out]
    const array once = to_array(policy, independent);
    for (std::size_t n = 0; n < 3; ++n) {
        for (std::size_t k = 0; k < 2; ++k) {
            CHECK(std::abs(dot(row_of(once, n), row_of(c, k))) < 50 * Cell::eps * frobenius(row_of(c, k)) * frobenius(row_of(v, n)));
        }
        // Only multiples of the others have gone.
        const array gone = difference(row_of(v, n), row_of(once, n));
        CHECK(std::abs(dot(gone, row_of(once, n))) < 50 * Cell::eps * frobenius(row_of(v, n)) * frobenius(row_of(v, n)));
    }
    CHECK(relative_difference(to_array(policy, moden::project_out(policy, independent, others)), once) < 50 * Cell::eps);
    // One after the other, 001 Eq. 6.35: orthogonal to the last one, and to all where they are orthogonal.
    const array in_turn = to_array(policy, moden::project_out(policy, directions, others, moden::projection_order::in_turn));
    array expected = v;
    for (std::size_t k = 0; k < c.rows(); ++k) {
        for (std::size_t n = 0; n < 3; ++n) {
            const double share = dot(row_of(expected, n), row_of(c, k)) / dot(row_of(c, k), row_of(c, k));
            for (std::size_t i = 0; i < 20; ++i) {
                expected(n, i) -= share * c(k, i);
            }
        }
    }
    CHECK(relative_difference(in_turn, expected) < 50 * Cell::eps);
    const auto orthogonal = to_policy(policy, to_tensor<T, 2>(transpose(orthonormalized(random_matrix(20, 3, 8)))));
    CHECK(relative_difference(to_array(policy, moden::project_out(policy, directions, orthogonal, moden::projection_order::in_turn)),
                              to_array(policy, moden::project_out(policy, directions, orthogonal))) < 50 * Cell::eps);
    const auto nothing = to_policy(policy, to_tensor<T, 2>(array({0, 20})));
    CHECK(to_array(policy, moden::project_out(policy, directions, nothing)).data == to_array(policy, directions).data);
    CHECK_THROWS_AS(moden::project_out(policy, directions, to_policy(policy, to_tensor<T, 2>(random_matrix(1, 19, 1)))), moden::shape_error);
}

TEST_CASE_TEMPLATE("between codes", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array a = random_matrix(3, 9, 1), b = random_matrix(3, 9, 2);
    const auto from = to_policy(policy, to_tensor<T, 2>(a)), to = to_policy(policy, to_tensor<T, 2>(b));
    //! [interpolation]
    const auto straight = moden::lerp(policy, from, to, {0, 0.25, 1});
    const auto arc = moden::slerp(policy, from, to, {0, 0.25, 1});
    //! [interpolation]
    const double t[] = {0, 0.25, 1};
    const array line = to_array(policy, straight), curve = to_array(policy, arc);
    for (std::size_t n = 0; n < 3; ++n) {
        for (std::size_t i = 0; i < 9; ++i) {
            CHECK(line(n, i) == doctest::Approx((1 - t[n]) * a(n, i) + t[n] * b(n, i)).epsilon(10 * Cell::eps));
        }
        const double la = frobenius(row_of(a, n)), lb = frobenius(row_of(b, n)), lc = frobenius(row_of(curve, n));
        CHECK(lc == doctest::Approx(la + t[n] * (lb - la)).epsilon(10 * Cell::eps));
        const double whole = std::acos(dot(row_of(a, n), row_of(b, n)) / la / lb);
        CHECK(dot(row_of(a, n), row_of(curve, n)) / la / lc == doctest::Approx(std::cos(t[n] * whole)).epsilon(100 * Cell::eps));
    }
    // Same and opposite directions, zeros: straight, without NaN.
    array c = a;
    for (std::size_t i = 0; i < 9; ++i) {
        c(0, i) = 2 * a(0, i);
        c(1, i) = -a(1, i);
        c(2, i) = 0;
    }
    const array special = to_array(policy, moden::slerp(policy, from, to_policy(policy, to_tensor<T, 2>(c)), {0.5}));
    for (std::size_t i = 0; i < 9; ++i) {
        CHECK(special(0, i) == doctest::Approx(1.5 * a(0, i)).epsilon(10 * Cell::eps));
        CHECK(std::abs(special(1, i)) < 10 * Cell::eps);
        CHECK(special(2, i) == doctest::Approx(0.5 * a(2, i)).epsilon(10 * Cell::eps));
    }
    CHECK_THROWS_WITH_AS(moden::lerp(policy, from, to, {0, 1}), doctest::Contains("3 codes, 3 codes and 2 positions"), moden::shape_error);
    CHECK_THROWS_AS(moden::slerp(policy, from, to, {std::numeric_limits<double>::infinity()}), moden::argument_error);
}

TEST_CASE_TEMPLATE("path lengths of a linear generator are known", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array a = random_matrix(10, 6, 1), b = random_matrix(10, 6, 2), matrix = random_matrix(15, 6, 3);
    const auto from = to_policy(policy, to_tensor<T, 2>(a)), to = to_policy(policy, to_tensor<T, 2>(b));
    const auto weights = to_policy(policy, to_tensor<T, 2>(matrix));
    //! [path_length]
    // pictures of codes, N x anything: here a linear map
    const auto generate = [&](const auto& codes) { return moden::mode_product(policy, codes, weights, 1); };
    const auto length = moden::path_length(policy, from, to, generate, {.epsilon = 0.01, .at_once = 4});
    //! [path_length]
    double mean = 0;
    for (std::size_t n = 0; n < 10; ++n) {
        const double expected = std::pow(frobenius(matmul(difference(row_of(b, n), row_of(a, n)), transpose(matrix))), 2);
        CHECK(length.lengths[n] == doctest::Approx(expected).epsilon(std::is_same_v<T, float> ? 1e-3 : 1e-10));
        mean += expected / 10;
    }
    CHECK(length.mean == doctest::Approx(mean).epsilon(1e-3));
    CHECK(length.standard_error > 0);
    // On a circle of radius 2, a quarter turn: the speed is pi.
    const auto x = to_policy(policy, moden::tensor<T, 2>{{2, 0}}), y = to_policy(policy, moden::tensor<T, 2>{{0, 2}});
    const auto identity = [&](const auto& codes) { return moden::lerp(policy, codes, codes, {0}); };
    const auto turn = moden::path_length(policy, x, y, identity, {.path = moden::interpolation_path::spherical, .epsilon = 0.01});
    CHECK(turn.mean == doctest::Approx(std::pow(std::acos(-1.0), 2)).epsilon(1e-3));
    CHECK_THROWS_AS(moden::path_length(policy, from, to, generate, {.epsilon = 0}), moden::argument_error);
    const auto wrong = [&](const auto&) { return moden::lerp(policy, x, y, {0}); };
    CHECK_THROWS_WITH_AS(moden::path_length(policy, from, to, wrong), doctest::Contains("20 codes gave 1 x 2"), moden::shape_error);
}
