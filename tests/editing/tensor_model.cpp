// Tensor models of codes on every policy: what they reproduce, how they are truncated, and incomplete sets.

#include <doctest/doctest.h>

#include <limits>
#include <vector>

#include <moden/editing/tensor_model.hpp>

#include "planted.hpp"

using namespace moden_test;
using namespace editing_test;
using moden::code_scaling;

namespace {

const moden::extents shape{30, 6, 4, 3};

/// Every combination of levels as canonical parameters, in the order of as_rows.
template <class T>
std::vector<moden::tensor<T, 2>> all_levels(const moden::extents& extents) {
    std::vector<array> parameters;
    std::size_t samples = 1;
    for (std::size_t k = 1; k < extents.size(); ++k) {
        samples *= extents[k];
    }
    std::vector<moden::tensor<T, 2>> result;
    for (std::size_t k = 1; k < extents.size(); ++k) {
        array rows({samples, extents[k]});
        const moden::mode_geometry geometry = moden::geometry_of({extents.begin() + 1, extents.end()}, k - 1);
        for (std::size_t n = 0; n < samples; ++n) {
            rows(n, n / geometry.columns % geometry.extent) = 1;
        }
        result.push_back(to_tensor<T, 2>(rows));
    }
    return result;
}

}  // namespace

TEST_CASE_TEMPLATE("a tensor model reproduces the codes it was fitted to", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array codes = planted_codes(shape);
    const auto latents = to_policy(policy, to_tensor<T, 4>(codes));
    const auto modes = face_modes(shape);
    SUBCASE("centred") {
        //! [fit_tensor_model]
        // latents: code x person x expression x view
        const auto model = moden::fit_tensor_model(policy, latents, modes);
        //! [fit_tensor_model]
        const auto made = moden::synthesize_codes(policy, model, to_policy(policy, all_levels<T>(shape)));
        CHECK(relative_difference(to_array(policy, made), as_rows(codes)) < 100 * Cell::eps);
        CHECK(to_array(policy, model.scale).data == std::vector<double>(shape[0], 1.0));
        // All columns but the one that centring has emptied are needed.
        CHECK(model.code_size() == 30);
        CHECK(model.level_count(1) == 4);
    }
    SUBCASE("without a basis of codes") {
        const auto model = moden::fit_tensor_model(policy, latents, modes, {.basis = moden::code_basis::none});
        const auto made = moden::synthesize_codes(policy, model, to_policy(policy, all_levels<T>(shape)));
        CHECK(relative_difference(to_array(policy, made), as_rows(codes)) < 100 * Cell::eps);
        CHECK(model.code_size() == 30);
        // The factors are those of the model with a basis, and so is the product of core and basis.
        const auto other = moden::fit_tensor_model(policy, latents, modes, {.hosvd = {.mode_order = {1, 2, 3, 0}}});
        for (std::size_t n = 1; n < 4; ++n) {
            CHECK(relative_difference(to_array(policy, model.decomposition.factors[n]), to_array(policy, other.decomposition.factors[n])) < 1e5 * Cell::eps);
        }
        const array product = mode_product(to_array(policy, other.decomposition.core), to_array(policy, other.decomposition.factors[0]), 0);
        CHECK(relative_difference(to_array(policy, model.decomposition.core), product) < 1e4 * Cell::eps);
        const auto truncated = moden::fit_tensor_model(policy, latents, modes, {.basis = moden::code_basis::none, .hosvd = {.ranks = {30, 3, 3, 2}}});
        CHECK(truncated.decomposition.core.shape()[1] == 3);
        CHECK(truncated.decomposition.relative_error > 0);
        CHECK(moden::truncate_mode(policy, truncated, "person", 2).decomposition.core.shape()[1] == 2);
        CHECK_THROWS_WITH_AS(moden::fit_tensor_model(policy, latents, modes, {.basis = moden::code_basis::none, .hosvd = {.ranks = {9, 6, 4, 3}}}),
                             doctest::Contains("rank 9 of the code mode without a basis of codes (expected 30)"), moden::argument_error);
    }
    SUBCASE("options that need a basis of codes") {
        CHECK_THROWS_AS(moden::fit_tensor_model(policy, latents, modes, {.basis = moden::code_basis::none, .hosvd = {.mode_order = {0, 1, 2, 3}}}),
                        moden::argument_error);
        CHECK_THROWS_AS(moden::fit_tensor_model(policy, latents, modes, {.basis = moden::code_basis::none, .hosvd = {.error = moden::error_measure::residual}}),
                        moden::argument_error);
    }
    SUBCASE("standardised") {
        const auto model = moden::fit_tensor_model(policy, latents, modes, {.scaling = code_scaling::standardized});
        const auto made = moden::synthesize_codes(policy, model, to_policy(policy, all_levels<T>(shape)));
        CHECK(relative_difference(to_array(policy, made), as_rows(codes)) < 100 * Cell::eps);
        const array mean = to_array(policy, model.mean), scale = to_array(policy, model.scale);
        const array rows = as_rows(codes);
        for (const std::size_t i : {0u, 7u, 29u}) {
            double sum = 0, squares = 0;
            for (std::size_t n = 0; n < rows.rows(); ++n) {
                sum += rows(n, i) / static_cast<double>(rows.rows());
                squares += rows(n, i) * rows(n, i) / static_cast<double>(rows.rows());
            }
            CHECK(mean.data[i] == doctest::Approx(sum).epsilon(10 * Cell::eps));
            CHECK(scale.data[i] == doctest::Approx(std::sqrt(squares - sum * sum)).epsilon(1000 * Cell::eps));
        }
    }
}

TEST_CASE_TEMPLATE("parameters by name, and averages over a mode", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array codes = planted_codes(shape);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(codes)), face_modes(shape));
    //! [synthesize]
    std::vector<moden::policy_tensor<Policy, T, 2>> parameters;
    parameters.push_back(moden::level_parameters(policy, model, "person", {"2"}));
    parameters.push_back(moden::level_parameters(policy, model, "expression", {"3"}));
    parameters.push_back(moden::mean_parameters(policy, model, "view"));
    const auto code = moden::synthesize_codes(policy, model, parameters);  // 1 x D
    //! [synthesize]
    array expected({1, shape[0]});
    for (std::size_t i = 0; i < shape[0]; ++i) {
        for (std::size_t v = 0; v < shape[3]; ++v) {
            expected.data[i] += codes.at({i, 2, 3, v}) / static_cast<double>(shape[3]);
        }
    }
    CHECK(relative_difference(to_array(policy, code), expected) < 100 * Cell::eps);
    // Several codes, and the same through subspace coordinates.
    std::vector<moden::policy_tensor<Policy, T, 2>> rows;
    for (std::size_t k = 0; k < 3; ++k) {
        rows.push_back(to_policy(policy, to_tensor<T, 2>(matmul(to_array(policy, parameters[k]), to_array(policy, model.decomposition.factors[k + 1])))));
    }
    const auto again = moden::synthesize_codes(policy, model, rows, moden::parameter_basis::subspace);
    CHECK(relative_difference(to_array(policy, again), expected) < 100 * Cell::eps);
}

TEST_CASE_TEMPLATE("constant variables keep their value", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array codes = planted_codes(shape);
    const std::size_t samples = codes.data.size() / shape[0];
    std::fill_n(codes.data.begin() + static_cast<std::ptrdiff_t>(4 * samples), samples, 1.5);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(codes)), face_modes(shape),
                                               {.scaling = code_scaling::standardized});
    CHECK(to_array(policy, model.scale).data[4] == 1);
    const auto made = moden::synthesize_codes(policy, model, to_policy(policy, all_levels<T>(shape)));
    CHECK(relative_difference(to_array(policy, made), as_rows(codes)) < 100 * Cell::eps);
}

TEST_CASE_TEMPLATE("truncated modes", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array codes = planted_codes(shape);
    const auto latents = to_policy(policy, to_tensor<T, 4>(codes));
    const auto model = moden::fit_tensor_model(policy, latents, face_modes(shape));
    for (const std::size_t k : {0u, 1u, 2u}) {
        const std::string name = model.modes[k].name;
        //! [truncate_mode]
        const auto truncated = moden::truncate_mode(policy, model, name, 2);
        //! [truncate_mode]
        CHECK(truncated.rank(k) == 2);
        // Truncation by definition: the leading columns of that factor, their projection, everything else as it was.
        const array whole = to_array(policy, model.decomposition.core);
        array leading = transpose(first_columns(transpose(unfold(whole, k + 1)), whole.shape[k + 1]));
        CHECK(relative_difference(unfold(to_array(policy, truncated.decomposition.core), k + 1),
                                  transpose(first_columns(transpose(leading), 2))) == 0);
        CHECK(to_array(policy, truncated.decomposition.factors[k + 1]).data ==
              first_columns(to_array(policy, model.decomposition.factors[k + 1]), 2).data);
        CHECK(truncated.decomposition.modes[k + 1].discarded_energy > 0);
    }
    CHECK_THROWS_WITH_AS(moden::truncate_mode(policy, model, "view", 0), doctest::Contains("rank 0 for mode 'view'"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::truncate_mode(policy, model, "view", 4), doctest::Contains("expected 1 to 3"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::truncate_mode(policy, model, "smile", 1), doctest::Contains("person, expression, view"), moden::argument_error);
}

TEST_CASE_TEMPLATE("missing combinations are completed", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Low multilinear rank, also after the mean has gone, so that what is missing can be known.
    const moden::extents small{20, 8, 5, 3};
    array structure({3, 3, 2, 2});
    number_source next(8);
    std::generate(structure.data.begin(), structure.data.end(), [&] { return next(); });
    std::vector<array> factors;
    for (std::size_t n = 0; n < 4; ++n) {
        factors.push_back(random_matrix(small[n], structure.shape[n], 20 + n));
    }
    const array codes = reconstruct(structure, factors);
    array holes = codes;
    array observed({8, 5, 3}, 1);
    for (const moden::extents& cell : {moden::extents{0, 1, 2}, {3, 4, 0}, {7, 0, 1}, {5, 2, 2}, {5, 2, 0}, {2, 3, 1}}) {
        observed.at(cell) = 0;
        for (std::size_t i = 0; i < small[0]; ++i) {
            holes.at({i, cell[0], cell[1], cell[2]}) = std::numeric_limits<double>::quiet_NaN();
        }
    }
    const auto latents = to_policy(policy, to_tensor<T, 4>(holes));
    const auto mask = to_policy(policy, to_tensor<T, 3>(observed));
    const auto modes = face_modes(small);
    //! [incomplete]
    // mask: person x expression x view, nonzero where there is a code
    const auto model = moden::fit_tensor_model(policy, latents, mask, modes, {.ranks = {4, 4, 3, 3}, .max_iterations = 3000});
    //! [incomplete]
    const auto made = to_array(policy, moden::synthesize_codes(policy, model, to_policy(policy, all_levels<T>(small))));
    CHECK(relative_difference(made, as_rows(codes)) < (std::is_same_v<T, float> ? 1e-3 : 1e-4));
    array nobody = observed;
    for (std::size_t p = 0; p < 8; ++p) {
        for (std::size_t v = 0; v < 3; ++v) {
            nobody.at({p, 4, v}) = 0;
        }
    }
    const auto blind = to_policy(policy, to_tensor<T, 3>(nobody));
    CHECK_THROWS_WITH_AS(moden::fit_tensor_model(policy, latents, blind, modes, {.ranks = {4, 4, 3, 3}}),
                         doctest::Contains("mode 'expression' has level '4'"), moden::argument_error);
    const auto short_mask = to_policy(policy, to_tensor<T, 3>(array({8, 5, 2}, 1)));
    CHECK_THROWS_WITH_AS(moden::fit_tensor_model(policy, latents, short_mask, modes, {.ranks = {4, 4, 3, 3}}),
                         doctest::Contains("a mask of 8 x 5 x 2 for codes of 20 x 8 x 5 x 3"), moden::shape_error);
}

TEST_CASE_TEMPLATE("data and names that disagree are refused", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto latents = to_policy(policy, to_tensor<T, 4>(planted_codes(shape)));
    const auto fit = [&](const std::vector<moden::factor_mode>& modes) { moden::fit_tensor_model(policy, latents, modes); };
    auto modes = face_modes(shape);
    modes.pop_back();
    CHECK_THROWS_WITH_AS(fit(modes), doctest::Contains("2 named modes (person, expression) for 3 factor modes of 6 x 4 x 3"), moden::shape_error);
    modes = face_modes(shape);
    modes[1].levels.pop_back();
    CHECK_THROWS_WITH_AS(fit(modes), doctest::Contains("mode 'expression' has 3 levels (0, 1, 2) for an extent of 4"), moden::shape_error);
    modes = face_modes(shape);
    modes[2].name = "person";
    CHECK_THROWS_WITH_AS(fit(modes), doctest::Contains("modes 1 and 3 are both named 'person'"), moden::argument_error);
    modes = face_modes(shape);
    modes[2].levels[2] = "1";
    CHECK_THROWS_WITH_AS(fit(modes), doctest::Contains("two levels named '1'"), moden::argument_error);
    modes = face_modes(shape);
    modes[0].name.clear();
    CHECK_THROWS_WITH_AS(fit(modes), doctest::Contains("mode 1 has no name"), moden::argument_error);

    array codes = planted_codes(shape);
    codes.data[17] = std::numeric_limits<double>::quiet_NaN();
    const auto spoilt = to_policy(policy, to_tensor<T, 4>(codes));
    CHECK_THROWS_WITH_AS(moden::fit_tensor_model(policy, spoilt, face_modes(shape)), doctest::Contains("1 values that are NaN"), moden::argument_error);
    const auto vector = to_policy(policy, to_tensor<T, 1>(array({3}, 1)));
    CHECK_THROWS_AS(moden::fit_tensor_model(policy, vector, {}), moden::shape_error);

    const auto model = moden::fit_tensor_model(policy, latents, face_modes(shape));
    auto parameters = to_policy(policy, all_levels<T>(shape));
    parameters[1] = to_policy(policy, to_tensor<T, 2>(array({72, 5}, 1)));
    CHECK_THROWS_WITH_AS(moden::synthesize_codes(policy, model, parameters), doctest::Contains("mode 'expression' have 5 entries (expected 4"),
                         moden::shape_error);
    parameters[1] = to_policy(policy, to_tensor<T, 2>(array({71, 4}, 1)));
    CHECK_THROWS_WITH_AS(moden::synthesize_codes(policy, model, parameters), doctest::Contains("71 codes for mode 'expression' and of 72"),
                         moden::shape_error);
    parameters.pop_back();
    CHECK_THROWS_WITH_AS(moden::synthesize_codes(policy, model, parameters), doctest::Contains("parameters of 2 modes for a model of 3"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::level_parameters(policy, model, "expression", {"9"}), doctest::Contains("no level named '9' (there are: 0, 1, 2, 3)"),
                         moden::argument_error);
}
