// Parameters of new codes on every policy: planted ones are found again, every step gains, penalised ones are minima.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include <moden/editing/parameter_estimation.hpp>

#include "planted.hpp"

using namespace moden_test;
using namespace editing_test;

namespace {

const moden::extents shape{40, 7, 5, 2};

/// N x D codes of random canonical parameters, and those.
struct new_codes {
    std::vector<array> parameters;
    array codes;

    /// `fitted` holds mean-free codes of all levels: D x I_1 x ...; mean is 1 x D.
    new_codes(std::size_t count, const array& planted, std::uint64_t seed) {
        const std::size_t size = planted.shape[0], samples = planted.data.size() / size;
        array centred = planted;
        array mean({size, 1});
        for (std::size_t i = 0; i < size; ++i) {
            for (std::size_t j = 0; j < samples; ++j) {
                mean.data[i] += planted.data[i * samples + j] / static_cast<double>(samples);
            }
            for (std::size_t j = 0; j < samples; ++j) {
                centred.data[i * samples + j] -= mean.data[i];
            }
        }
        for (std::size_t k = 1; k < planted.shape.size(); ++k) {
            parameters.push_back(random_matrix(count, planted.shape[k], seed + k));
        }
        codes = array({count, size});
        for (std::size_t n = 0; n < count; ++n) {
            array code = centred;
            for (std::size_t k = 1; k < planted.shape.size(); ++k) {
                code = mode_product(code, row_of(parameters[k - 1], n), k);
            }
            for (std::size_t i = 0; i < size; ++i) {
                codes(n, i) = mean.data[i] + code.data[i];
            }
        }
    }
};

/// |code^ - code|^2 and the penalties by their definition, from canonical parameters.
template <class Policy, class Model>
double objective_of(const Policy& policy, const Model& model, const array& code, const std::vector<array>& canonical,
                    const std::vector<moden::parameter_penalty>& penalties) {
    array core = to_array(policy, model.decomposition.core);
    core = mode_product(core, to_array(policy, model.decomposition.factors[0]), 0);
    double value = 0;
    for (std::size_t k = 0; k < canonical.size(); ++k) {
        const array q = matmul(canonical[k], to_array(policy, model.decomposition.factors[k + 1]));
        core = mode_product(core, q, k + 1);
        double sum = 0;
        for (const double x : canonical[k].data) {
            sum += x;
            value += penalties[k].lasso * std::abs(x);
        }
        value += penalties[k].sum_to_one * (sum - 1) * (sum - 1) + penalties[k].ridge * std::pow(frobenius(q), 2);
    }
    const array mean = to_array(policy, model.mean);
    for (std::size_t i = 0; i < code.data.size(); ++i) {
        value += std::pow(mean.data[i] + core.data[i] - code.data[i], 2);
    }
    return value;
}

}  // namespace

TEST_CASE_TEMPLATE("planted parameters are found again", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes(shape);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes(shape));
    const new_codes wanted(20, planted, 60);
    const auto codes = to_policy(policy, to_tensor<T, 2>(wanted.codes));
    //! [estimate_parameters]
    const auto found = moden::estimate_parameters(policy, model, codes, {.tolerance = 1e-13, .max_iterations = 2000, .starts = 6});
    const auto again = moden::synthesize_codes(policy, model, found.canonical);
    // found.residual[n] says how far again and codes are apart
    //! [estimate_parameters]
    const array made = to_array(policy, again);
    for (std::size_t n = 0; n < 20; ++n) {
        CAPTURE(n);
        const double square = std::pow(frobenius(row_of(wanted.codes, n)), 2);
        CHECK(found.residual[n] < std::max(0.1 * Cell::eps, 1e-11) * square);
        // Each mode's vector up to a factor: what belongs to several modes at once cannot be told from one code.
        for (std::size_t k = 0; k < 3; ++k) {
            array a = row_of(wanted.parameters[k], n), b = row_of(to_array(policy, found.canonical[k]), n);
            const double cosine = matmul(a, transpose(b)).data[0] / frobenius(a) / frobenius(b);
            CHECK(std::abs(cosine) == doctest::Approx(1).epsilon(1e-4));
        }
    }
}

TEST_CASE_TEMPLATE("no iteration loses", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes(shape);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes(shape));
    const array noise = random_matrix(9, 40, 3);  // codes that no parameters make
    for (const moden::parameter_penalty& penalty : {moden::parameter_penalty{}, {.ridge = 0.1, .sum_to_one = 0.5}, {.lasso = 0.01}}) {
        std::vector<double> history;
        const auto found = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(noise)),
                                                      {.penalties = {penalty}, .tolerance = 1e-12, .progress = [&](std::size_t, double value) {
                                                           history.push_back(value);
                                                           return true;
                                                       }});
        REQUIRE(history.size() > 3);
        for (std::size_t i = 1; i < history.size(); ++i) {
            CHECK(history[i] <= history[i - 1] + 100 * Cell::eps * history[0]);
        }
        double sum = 0;
        for (std::size_t n = 0; n < 9; ++n) {
            sum += found.objective[n];
            CHECK(found.residual[n] <= found.objective[n]);
            // What is reported is what the definition says.
            std::vector<array> canonical;
            for (std::size_t k = 0; k < 3; ++k) {
                canonical.push_back(row_of(to_array(policy, found.canonical[k]), n));
            }
            const double value = objective_of(policy, model, row_of(noise, n), canonical, {penalty, penalty, penalty});
            CHECK(found.objective[n] == doctest::Approx(value).epsilon(200 * Cell::eps));
        }
        CHECK(sum == doctest::Approx(history.back()).epsilon(1e4 * Cell::eps));
    }
}

TEST_CASE_TEMPLATE("with derivatives and without: the same minimum, wherever the longest mode is", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    std::size_t of_fast = 0, of_slow = 0;
    const auto compare = [&]<std::size_t N>(const std::array<std::size_t, N>& given) {
        const moden::extents extents(given.begin(), given.end());
        const array planted = planted_codes(extents);
        const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, N>(planted)), face_modes(extents));
        new_codes wanted(3, planted, 60);
        const array disturbed = random_matrix(3, extents[0], 8);
        const double norm = frobenius(wanted.codes) / 2;
        for (std::size_t i = 0; i < disturbed.data.size(); ++i) {
            wanted.codes.data[i] += 0.1 * norm / frobenius(disturbed) * disturbed.data[i];
        }
        const auto codes = to_policy(policy, to_tensor<T, 2>(wanted.codes));
        const moden::parameter_penalty smooth{.ridge = 1e-3 * norm * norm, .sum_to_one = 0.1 * norm * norm};
        moden::parameter_penalty rough = smooth;
        rough.lasso = 1e-30;  // no derivatives any more, and nothing else changes
        const bool single = std::is_same_v<T, float>;
        const double tolerance = single ? 1e-7 : 1e-13;
        const auto fast = moden::estimate_parameters(policy, model, codes, {.penalties = {smooth}, .tolerance = tolerance, .max_iterations = 3000, .starts = 8});
        const auto slow = moden::estimate_parameters(policy, model, codes, {.penalties = {rough}, .tolerance = tolerance, .max_iterations = 3000, .starts = 8});
        for (std::size_t n = 0; n < 3; ++n) {
            CAPTURE(extents.size());
            CAPTURE(n);
            CHECK(fast.status[n] == moden::iteration_status::converged);
            CHECK(fast.objective[n] == doctest::Approx(slow.objective[n]).epsilon(single ? 1e-3 : 1e-6));
            of_fast += fast.iterations[n];
            of_slow += slow.iterations[n];
        }
    };
    compare(std::array<std::size_t, 4>{40, 7, 5, 2});
    compare(std::array<std::size_t, 4>{40, 3, 8, 2});
    compare(std::array<std::size_t, 4>{40, 2, 5, 9});
    compare(std::array<std::size_t, 5>{40, 2, 3, 7, 2});
    compare(std::array<std::size_t, 3>{30, 9, 4});
    if (std::is_same_v<T, double>) {
        CHECK(3 * of_fast < 2 * of_slow);
    }
}

TEST_CASE_TEMPLATE("a core of many rows, some of which are looked at first", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Without the slow reference: codes of random parameters, which the model itself makes.
    const moden::extents many{560, 16, 9, 4};
    auto data = moden::tensor<T, 4>::from_shape({560, 16, 9, 4});
    moden::fill_normal(moden::cpu_policy{}, data.data(), data.size(), 4);
    for (std::size_t i = 0; i < data.size(); ++i) {
        data.data()[i] /= static_cast<T>(1 + i / 576);
    }
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, data), face_modes(many));
    REQUIRE(model.decomposition.core.shape()[0] >= 512);
    std::vector<moden::policy_tensor<Policy, T, 2>> parameters;
    for (std::size_t k = 0; k < 3; ++k) {
        parameters.push_back(to_policy(policy, to_tensor<T, 2>(random_matrix(3, many[k + 1], 60 + k))));
    }
    const auto codes = moden::synthesize_codes(policy, model, parameters);
    const array wanted = to_array(policy, codes);
    std::size_t heard = 0;
    const auto found = moden::estimate_parameters(policy, model, codes,
                                                  {.tolerance = 1e-12, .progress = [&](std::size_t iteration, double) {
                                                       CHECK(iteration == ++heard);
                                                       return true;
                                                   }});
    for (std::size_t n = 0; n < 3; ++n) {
        CHECK(found.status[n] == moden::iteration_status::converged);
        // A code is done when an iteration gains less than 10 eps of its square; the next one would have gained less still.
        CHECK(found.residual[n] < std::max(10 * Cell::eps, 1e-11) * std::pow(frobenius(row_of(wanted, n)), 2));
        CHECK(found.iterations[n] <= heard);
    }
}

TEST_CASE_TEMPLATE("smooth penalties: the gradient vanishes", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    if constexpr (std::is_same_v<T, double>) {
        const Policy policy{};
        const array planted = planted_codes(shape);
        const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes(shape));
        const new_codes wanted(3, planted, 60);
        const std::vector<moden::parameter_penalty> penalties{{.ridge = 0.02}, {.ridge = 0.1, .sum_to_one = 1}, {.ridge = 0.05, .sum_to_one = 0.3}};
        const auto found = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(wanted.codes)),
                                                      {.penalties = penalties, .tolerance = 1e-15, .max_iterations = 1000});
        for (std::size_t n = 0; n < 3; ++n) {
            std::vector<array> q;
            for (std::size_t k = 0; k < 3; ++k) {
                q.push_back(row_of(to_array(policy, found.canonical[k]), n));
            }
            const array code = row_of(wanted.codes, n);
            const double value = objective_of(policy, model, code, q, penalties);
            constexpr double step = 1e-5;
            for (std::size_t k = 0; k < 3; ++k) {
                for (double& x : q[k].data) {
                    const double kept = x;
                    x = kept + step;
                    const double above = objective_of(policy, model, code, q, penalties);
                    x = kept - step;
                    const double below = objective_of(policy, model, code, q, penalties);
                    x = kept;
                    CHECK(std::abs(above - below) / (2 * step) < 1e-5 * value);
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("penalised parameters cannot be improved one by one", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes(shape);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes(shape));
    const new_codes wanted(3, planted, 60);
    // Every mode with weights of its own.
    const std::vector<moden::parameter_penalty> penalties{{.ridge = 0.02, .lasso = 0.05}, {.ridge = 0.1, .sum_to_one = 1}, {.lasso = 0.1, .sum_to_one = 0.3}};
    const auto found = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(wanted.codes)),
                                                  {.penalties = penalties, .tolerance = 1e-15, .max_iterations = 3000});
    for (std::size_t n = 0; n < 3; ++n) {
        std::vector<array> q;
        for (std::size_t k = 0; k < 3; ++k) {
            q.push_back(row_of(to_array(policy, found.canonical[k]), n));
        }
        const array code = row_of(wanted.codes, n);
        const double value = objective_of(policy, model, code, q, penalties);
        const double step = std::is_same_v<T, float> ? 0.03 : 1e-4;
        for (std::size_t k = 0; k < 3; ++k) {
            for (double& x : q[k].data) {
                const double kept = x;
                for (const double moved : {kept - step, kept + step}) {
                    x = moved;
                    CHECK(objective_of(policy, model, code, q, penalties) >= value - 1e-3 * step * step);
                }
                x = kept;
            }
        }
    }
}

TEST_CASE_TEMPLATE("one factor mode: the convex problem of an independent solver", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes({12, 6});
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 2>(planted)), face_modes({12, 6}));
    const array code = random_matrix(1, 12, 9);
    const std::vector<moden::parameter_penalty> penalties{{.ridge = 0.05, .lasso = 0.3, .sum_to_one = 0.4}};
    const auto found = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(code)), {.penalties = penalties});
    CHECK(found.status[0] == moden::iteration_status::converged);
    CHECK(found.iterations[0] == 1);
    // Proximal gradient descent on q': columns of the design are the model's codes of the levels.
    array design = mode_product(to_array(policy, model.decomposition.core), to_array(policy, model.decomposition.factors[0]), 0);
    const array factor = to_array(policy, model.decomposition.factors[1]);
    design = matmul(design, transpose(factor));  // 12 x 6
    const array mean = to_array(policy, model.mean);
    std::vector<double> q(6, 0.0);
    const double rate = 0.02;
    for (int step = 0; step < 100000; ++step) {
        std::vector<double> residual(12);
        double sum = -1;
        for (std::size_t i = 0; i < 12; ++i) {
            residual[i] = mean.data[i] - code.data[i];
            for (std::size_t j = 0; j < 6; ++j) {
                residual[i] += design(i, j) * q[j];
            }
        }
        std::vector<double> subspace(factor.columns());
        for (std::size_t j = 0; j < 6; ++j) {
            sum += q[j];
            for (std::size_t r = 0; r < factor.columns(); ++r) {
                subspace[r] += factor(j, r) * q[j];
            }
        }
        for (std::size_t j = 0; j < 6; ++j) {
            double slope = 2 * penalties[0].sum_to_one * sum;
            for (std::size_t i = 0; i < 12; ++i) {
                slope += 2 * design(i, j) * residual[i];
            }
            for (std::size_t r = 0; r < factor.columns(); ++r) {
                slope += 2 * penalties[0].ridge * factor(j, r) * subspace[r];
            }
            const double x = q[j] - rate * slope;
            q[j] = std::copysign(std::max(0.0, std::abs(x) - rate * penalties[0].lasso), x);
        }
    }
    const array got = to_array(policy, found.canonical[0]);
    std::size_t zeros = 0;
    for (std::size_t j = 0; j < 6; ++j) {
        CHECK(got.data[j] == doctest::Approx(q[j]).epsilon(1e4 * Cell::eps));
        zeros += q[j] == 0;
        CHECK((got.data[j] == 0) == (q[j] == 0));
    }
    CHECK(zeros > 0);  // or the lasso term was not tested
}

TEST_CASE_TEMPLATE("parameter tensors of full rank", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes(shape);
    const auto latents = to_policy(policy, to_tensor<T, 4>(planted));
    const auto model = moden::fit_tensor_model(policy, latents, face_modes(shape), {.hosvd = {.ranks = {30, 7, 5, 2}}});
    const array noise = random_matrix(4, 40, 3);
    const auto codes = to_policy(policy, to_tensor<T, 2>(noise));
    //! [parameter_tensor]
    const auto parameters = moden::estimate_parameter_tensor(policy, model, codes);  // N x R_1 x R_2 x R_3
    const auto nearest = moden::synthesize_codes(policy, model, parameters);
    //! [parameter_tensor]
    // The nearest point of the model's span: what is left is orthogonal to the basis of codes.
    const array made = to_array(policy, nearest);
    array rest = difference(noise, made);
    const array basis = to_array(policy, model.decomposition.factors[0]);
    CHECK(frobenius(matmul(rest, basis)) < (std::is_same_v<T, float> ? 1e-3 : 1e-10) * frobenius(noise));
    // No shorter parameters do the same: they are in the row space of the core.
    const array v = jacobi_svd(transpose(unfold(to_array(policy, model.decomposition.core), 0))).u;
    const array q = unfold(to_array(policy, parameters), 0);
    CHECK(frobenius(difference(q, matmul(matmul(q, v), transpose(v)))) < (std::is_same_v<T, float> ? 1e-3 : 1e-10) * frobenius(q));
    // At least as near as any parameter vectors, and with a ridge further away and shorter.
    const auto rank_one = moden::estimate_parameters(policy, model, codes);
    const auto held = moden::estimate_parameter_tensor(policy, model, codes, {.ridge = 0.01});
    const array far = to_array(policy, moden::synthesize_codes(policy, model, held));
    for (std::size_t n = 0; n < 4; ++n) {
        CHECK(std::pow(frobenius(row_of(rest, n)), 2) < rank_one.residual[n]);
    }
    CHECK(frobenius(difference(noise, far)) > frobenius(rest));
    CHECK(frobenius(to_array(policy, held)) < frobenius(to_array(policy, parameters)));
}

TEST_CASE_TEMPLATE("a basis of codes changes nothing but the cost", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const moden::extents small{40, 5, 3, 2};  // fewer parameters than entries of a code
    const auto latents = to_policy(policy, to_tensor<T, 4>(planted_codes(small)));
    const auto with = moden::fit_tensor_model(policy, latents, face_modes(small));
    const auto without = moden::fit_tensor_model(policy, latents, face_modes(small), {.basis = moden::code_basis::none});
    const auto codes = to_policy(policy, to_tensor<T, 2>(random_matrix(4, 40, 3)));
    const moden::parameter_estimation_options options{.penalties = {{.ridge = 0.1, .sum_to_one = 1}}, .tolerance = 1e-12, .max_iterations = 1000};
    const auto a = moden::estimate_parameters(policy, with, codes, options);
    const auto b = moden::estimate_parameters(policy, without, codes, options);
    for (std::size_t n = 0; n < 4; ++n) {
        CHECK(a.objective[n] == doctest::Approx(b.objective[n]).epsilon(1e-4));
    }
    const array near_a = to_array(policy, moden::synthesize_codes(policy, with, moden::estimate_parameter_tensor(policy, with, codes, {.ridge = 1e-3})));
    const array near_b = to_array(policy, moden::synthesize_codes(policy, without, moden::estimate_parameter_tensor(policy, without, codes, {.ridge = 1e-3})));
    CHECK(relative_difference(near_a, near_b) < (std::is_same_v<T, float> ? 1e-3 : 1e-10));
}

TEST_CASE_TEMPLATE("the order of the factor modes does not matter", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes(shape);
    array turned({shape[0], shape[3], shape[1], shape[2]});
    for_each_index(shape, [&](const moden::extents& i) { turned.at({i[0], i[3], i[1], i[2]}) = planted.at(i); });
    const new_codes wanted(5, planted, 77);
    const auto codes = to_policy(policy, to_tensor<T, 2>(wanted.codes));
    const auto one = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes(shape));
    const auto other = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(turned)), face_modes(turned.shape));
    const moden::parameter_estimation_options options{.penalties = {{.ridge = 1e-3}}, .tolerance = 1e-12, .max_iterations = 2000, .starts = 12};
    const auto a = moden::estimate_parameters(policy, one, codes, options);
    const auto b = moden::estimate_parameters(policy, other, codes, options);
    for (std::size_t n = 0; n < 5; ++n) {
        CHECK(a.objective[n] == doctest::Approx(b.objective[n]).epsilon(1e-4));
    }
}

TEST_CASE_TEMPLATE("a start that sees nothing is replaced", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Only the interaction of two modes: averages over either of them vanish.
    const std::size_t size = 12, persons = 5, views = 2;
    array planted({size, persons, views});
    const array direction = random_matrix(size, persons, 4);
    for_each_index(planted.shape, [&](const moden::extents& i) {
        planted.at(i) = direction(i[0], i[1]) * (i[2] == 0 ? 1 : -1);
    });
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 3>(planted)), face_modes(planted.shape));
    const array code = row_of(as_rows(planted), 3);
    const auto found = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(code)));
    CHECK(found.residual[0] < 1e-9 * std::pow(frobenius(code), 2));
}

TEST_CASE_TEMPLATE("a code among so many that threads share them, and alone", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array planted = planted_codes(shape);
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted)), face_modes(shape));
    const new_codes wanted(400, planted, 60);
    const auto all = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(wanted.codes)), {.penalties = {{.ridge = 1e-3}}});
    for (const std::size_t n : {0U, 199U, 399U}) {
        const array code = row_of(wanted.codes, n);
        const auto alone = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(code)), {.penalties = {{.ridge = 1e-3}}});
        // Products of one code and of many round differently; both stop within the tolerance.
        CHECK(std::abs(all.objective[n] - alone.objective[0]) < 1e-5 * std::pow(frobenius(code), 2));
    }
}

TEST_CASE("an exception for one code reaches the caller, also from another thread") {
    const std::vector<std::size_t> active{3, 5, 8};
    for (const std::size_t work : {std::size_t{1}, std::size_t{1} << 20}) {
        std::array<std::size_t, 3> seen{};
        CHECK_THROWS_WITH_AS(moden::detail::for_each_code(moden::cpu_policy({.threads = 2}), active, work, [&](std::size_t i, std::size_t n) {
            seen[i] = n;
            moden::detail::require<moden::solver_error>(n == 3, "code ", n);
        }), "code 5", moden::solver_error);
        CHECK(seen == std::array<std::size_t, 3>{3, 5, 8});
    }
}

TEST_CASE_TEMPLATE("codes and options that make no sense are refused", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto model = moden::fit_tensor_model(policy, to_policy(policy, to_tensor<T, 4>(planted_codes(shape))), face_modes(shape));
    const auto codes = to_policy(policy, to_tensor<T, 2>(random_matrix(2, 40, 1)));
    const auto estimate = [&](const moden::parameter_estimation_options& options) { moden::estimate_parameters(policy, model, codes, options); };
    const auto short_codes = to_policy(policy, to_tensor<T, 2>(random_matrix(2, 39, 1)));
    CHECK_THROWS_WITH_AS(moden::estimate_parameters(policy, model, short_codes), doctest::Contains("codes of 2 x 39 for a model of codes with 40"),
                         moden::shape_error);
    CHECK_THROWS_AS(moden::estimate_parameter_tensor(policy, model, short_codes), moden::shape_error);
    CHECK_THROWS_WITH_AS(estimate({.penalties = {{}, {}}}), doctest::Contains("2 penalties for 3 factor modes"), moden::shape_error);
    CHECK_THROWS_WITH_AS(estimate({.penalties = {{}, {.lasso = -1}, {}}}), doctest::Contains("-1 for mode 'expression'"), moden::argument_error);
    CHECK_THROWS_AS(estimate({.tolerance = std::numeric_limits<double>::quiet_NaN()}), moden::argument_error);
    CHECK_THROWS_AS(estimate({.max_iterations = 0}), moden::argument_error);
    CHECK_THROWS_AS(estimate({.starts = 0}), moden::argument_error);
    array spoilt = random_matrix(2, 40, 1);
    spoilt.data[5] = std::numeric_limits<double>::infinity();
    CHECK_THROWS_WITH_AS(moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(spoilt))),
                         doctest::Contains("1 values that are NaN or infinite"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::estimate_parameter_tensor(policy, model, codes, {.ridge = -1}), doctest::Contains("ridge -1"), moden::argument_error);
    const auto stopped = moden::estimate_parameters(policy, model, codes, {.progress = [](std::size_t, double) { return false; }});
    CHECK(stopped.status[0] == moden::iteration_status::stopped_by_callback);
    CHECK(stopped.iterations[0] == 1);
    const auto none = moden::estimate_parameters(policy, model, to_policy(policy, to_tensor<T, 2>(array({0, 40}))));
    CHECK(none.residual.empty());
}
