// Multilinear losses on every policy: by their definition, gradients by differences, in blocks and with shared factors.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <moden/loss/multilinear_loss.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

/// Core, factors and data of a problem; factor i has one column where shared says so.
struct problem {
    array core, data;
    std::vector<array> factors;

    problem(const moden::extents& shape, std::size_t samples, const std::vector<bool>& shared = {}) : core(shape), data({shape[0], samples}) {
        number_source next(shape.size() + 10 * samples);
        for (double& x : core.data) {
            x = next();
        }
        for (double& x : data.data) {
            x = next();
        }
        for (std::size_t i = 1; i < shape.size(); ++i) {
            const bool constant = !shared.empty() && shared[i - 1];
            factors.push_back(random_matrix(shape[i], constant ? 1 : samples, i));
        }
    }
};

/// Sample by sample and entry by entry.
array synthesis_by_definition(const problem& p) {
    const std::size_t samples = p.data.shape[1], width = p.core.data.size() / p.core.shape[0];
    array made({p.core.shape[0], samples});
    for (std::size_t j = 0; j < samples; ++j) {
        for (std::size_t index = 0; index < width; ++index) {
            double product = 1;
            std::size_t rest = index;
            for (std::size_t i = p.factors.size(); i-- > 0;) {
                const std::size_t extent = p.core.shape[i + 1];
                product *= p.factors[i](rest % extent, p.factors[i].shape[1] == 1 ? 0 : j);
                rest /= extent;
            }
            for (std::size_t row = 0; row < made.shape[0]; ++row) {
                made(row, j) += p.core.data[row * width + index] * product;
            }
        }
    }
    return made;
}

double loss_by_definition(const problem& p) { return std::pow(frobenius(difference(synthesis_by_definition(p), p.data)), 2); }

/// The loss is quadratic in every single number, so that a central difference is exact but for rounding.
void check_by_differences(problem& p, double& number, double slope, double scale, double tolerance) {
    constexpr double step = 0.5;
    const double kept = number;
    number = kept + step;
    const double above = loss_by_definition(p);
    number = kept - step;
    const double below = loss_by_definition(p);
    number = kept;
    CHECK(std::abs(slope - (above - below) / (2 * step)) <= tolerance * scale);
}

template <class Policy, class T>
std::vector<moden::policy_tensor<Policy, T, 2>> matrices_of(const Policy& policy, const std::vector<array>& list) {
    std::vector<moden::policy_tensor<Policy, T, 2>> matrices;
    for (const array& matrix : list) {
        matrices.push_back(to_policy(policy, to_tensor<T, 2>(matrix)));
    }
    return matrices;
}

template <class Cell, std::size_t N>
void check_all(problem p) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto core = to_policy(policy, to_tensor<T, N>(p.core));
    const auto data = to_policy(policy, to_tensor<T, 2>(p.data));
    const auto factors = matrices_of<Policy, T>(policy, p.factors);
    const double tolerance = 50 * Cell::eps;
    const array wanted = synthesis_by_definition(p);
    const array made = to_array(policy, moden::multilinear_synthesis(policy, core, factors));
    CHECK(frobenius(difference(made, wanted)) <= tolerance * frobenius(wanted));
    const double value = loss_by_definition(p);
    CHECK(moden::multilinear_loss(policy, data, core, factors) == doctest::Approx(value).epsilon(tolerance));

    const auto result = moden::multilinear_loss_and_gradient(policy, data, core, factors);
    CHECK(result.value == doctest::Approx(value).epsilon(tolerance));
    const array of_core = to_array(policy, result.core);
    REQUIRE(of_core.shape == p.core.shape);
    for (std::size_t i = 0; i < p.core.data.size(); i += 1 + p.core.data.size() / 40) {
        check_by_differences(p, p.core.data[i], of_core.data[i], frobenius(of_core), tolerance);
    }
    for (std::size_t f = 0; f < p.factors.size(); ++f) {
        const array slope = to_array(policy, result.factors[f]);
        REQUIRE(slope.shape == p.factors[f].shape);
        for (std::size_t i = 0; i < slope.data.size(); i += 1 + slope.data.size() / 40) {
            check_by_differences(p, p.factors[f].data[i], slope.data[i], frobenius(slope), tolerance);
        }
    }
    const auto without = moden::multilinear_loss_and_gradient(policy, data, core, factors, moden::loss_gradients::factors);
    CHECK(without.core.size() == 0);
    CHECK(without.value == result.value);
    for (std::size_t f = 0; f < p.factors.size(); ++f) {
        CHECK(to_array(policy, without.factors[f]).data == to_array(policy, result.factors[f]).data);
    }
}

}  // namespace

TEST_CASE_TEMPLATE("value and gradients by their definition", Cell, MODEN_TEST_CELLS) {
    check_all<Cell, 2>(problem({7, 4}, 5));
    check_all<Cell, 3>(problem({7, 4, 3}, 5));
    check_all<Cell, 4>(problem({11, 3, 2, 5}, 9));
    check_all<Cell, 5>(problem({2, 3, 1, 2, 4}, 1));
}

TEST_CASE_TEMPLATE("factors that all samples share", Cell, MODEN_TEST_CELLS) {
    check_all<Cell, 4>(problem({6, 3, 4, 5}, 7, {true, false, false}));
    check_all<Cell, 4>(problem({6, 3, 4, 5}, 7, {false, true, false}));
    check_all<Cell, 4>(problem({6, 3, 4, 5}, 7, {false, false, true}));
    check_all<Cell, 4>(problem({6, 3, 4, 5}, 7, {true, false, true}));
    check_all<Cell, 5>(problem({4, 3, 2, 5, 2}, 7, {true, true, false, true}));
}

TEST_CASE_TEMPLATE("blocks of samples and of rows add up", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto whole_and_parts = [&](const moden::extents& shape, std::size_t samples) {
        const problem p(shape, samples);
        const auto core = to_policy(policy, to_tensor<T, 3>(p.core));
        const auto whole = moden::multilinear_loss_and_gradient(policy, to_policy(policy, to_tensor<T, 2>(p.data)), core, matrices_of<Policy, T>(policy, p.factors));
        // The same by parts of a few samples, none of which needs blocks.
        array of_core(p.core.shape);
        double value = 0;
        const std::size_t part = samples > 10 ? samples / 3 + 1 : 1;
        for (std::size_t first = 0; first < samples; first += part) {
            problem few = p;
            const std::size_t count = std::min(part, samples - first);
            const auto columns = [&](const array& matrix) {
                array result({matrix.shape[0], count});
                for (std::size_t i = 0; i < matrix.shape[0]; ++i) {
                    for (std::size_t j = 0; j < count; ++j) {
                        result(i, j) = matrix(i, first + j);
                    }
                }
                return result;
            };
            few.data = columns(p.data);
            for (array& factor : few.factors) {
                factor = columns(factor);
            }
            const auto some = moden::multilinear_loss_and_gradient(policy, to_policy(policy, to_tensor<T, 2>(few.data)), core, matrices_of<Policy, T>(policy, few.factors));
            value += some.value;
            const array added = to_array(policy, some.core);
            for (std::size_t i = 0; i < added.data.size(); ++i) {
                of_core.data[i] += added.data[i];
            }
            for (std::size_t f = 0; f < p.factors.size(); ++f) {
                const array expected = to_array(policy, some.factors[f]), got = columns(to_array(policy, whole.factors[f]));
                CHECK(frobenius(difference(got, expected)) <= 100 * Cell::eps * frobenius(expected));
            }
        }
        CHECK(whole.value == doctest::Approx(value).epsilon(100 * Cell::eps));
        CHECK(frobenius(difference(to_array(policy, whole.core), of_core)) <= 100 * Cell::eps * frobenius(of_core));
    };
    whole_and_parts({3, 32, 32}, 9000);   // 32 MiB of Khatri-Rao products hold 8192 samples in single precision, 4096 in double
    whole_and_parts({600, 128, 64}, 2);   // 8 MiB hold 256 rows of the core in single precision
}

TEST_CASE("models and their losses") {
    const problem p({6, 2, 3}, 4);
    const auto core = to_tensor<double, 3>(p.core);
    const auto images = to_tensor<double, 2>(p.data);
    const auto expression = to_tensor<double, 2>(p.factors[0]), identity = to_tensor<double, 2>(p.factors[1]);
    //! [multilinear_synthesis]
    const auto made = moden::multilinear_synthesis(core, std::vector{expression, identity});  // k x n, one column per image
    //! [multilinear_synthesis]
    //! [multilinear_loss]
    const double value = moden::multilinear_loss(images, core, std::vector{expression, identity});
    const auto [same, of_core, of_factors] = moden::multilinear_loss_and_gradient(images, core, std::vector{expression, identity});
    // of_factors[0] is dE/d expression, of_core has the core's shape
    //! [multilinear_loss]
    CHECK(same == value);
    CHECK(made.shape()[1] == 4);
    CHECK(of_core.shape()[2] == 3);
    CHECK(of_factors[0].shape()[0] == 2);
}

TEST_CASE_TEMPLATE("what does not fit is refused", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const problem p({6, 2, 3}, 4);
    const auto core = to_policy(policy, to_tensor<T, 3>(p.core));
    const auto data = to_policy(policy, to_tensor<T, 2>(p.data));
    const auto factors = matrices_of<Policy, T>(policy, p.factors);
    const auto refused = [&](const auto& x, const auto& with, const char* what) {
        std::string said;
        try {
            moden::multilinear_loss_and_gradient(policy, x, core, with);
        } catch (const moden::error& error) {
            said = error.what();
        }
        INFO(said);
        CHECK(said.find(what) != std::string::npos);
    };
    const auto with = [&](const std::vector<array>& list) { return matrices_of<Policy, T>(policy, list); };
    refused(data, with({p.factors[0]}), "1 factors for a core of 6 x 2 x 3");
    refused(data, with({p.factors[1], p.factors[0]}), "factor 0 is 3 x 4 (expected 2 rows as mode 1");
    refused(data, with({p.factors[0], random_matrix(3, 2, 1)}), "factor 1 has 2 columns, others 4");
    refused(to_policy(policy, to_tensor<T, 2>(random_matrix(6, 3, 1))), factors, "data of 6 x 3 (expected 6 x 4, one column per sample)");
    array bad = p.data;
    bad.data[5] = std::numeric_limits<double>::quiet_NaN();
    refused(to_policy(policy, to_tensor<T, 2>(bad)), factors, "the data holds 1 values that are NaN or infinite");
    bad = p.factors[1];
    bad.data[2] = std::numeric_limits<double>::infinity();
    refused(data, with({p.factors[0], bad}), "a factor holds 1 values");
    if (std::is_same_v<T, double>) {  // the squares of single precision fit into the double precision that they are added in
        const array large({6, 4}, 1e200);
        refused(to_policy(policy, to_tensor<T, 2>(large)), factors, "do not overflow");
    }
    CHECK_THROWS_AS(moden::multilinear_synthesis(policy, core, with({p.factors[0]})), moden::shape_error);
}

TEST_CASE("a core of few columns and many rows has no more residuals in memory than others") {
    const moden_test::counted_policy policy{};
    const std::size_t rows = 4000, samples = 4000;
    const auto filled = [&](std::size_t first, std::size_t second) {
        array values({first, second});
        std::fill(values.data.begin(), values.data.end(), 0.5);
        return to_policy(policy, to_tensor<float, 2>(values));
    };
    const auto data = filled(rows, samples), core = filled(rows, 2);
    std::vector<std::remove_const_t<decltype(core)>> factors;
    factors.push_back(filled(2, samples));
    policy.books().reset();
    CHECK(moden::multilinear_loss(policy, data, core, factors) == 0);  // 2 x 0.5 x 0.5
    CHECK(policy.books().peak_bytes() <= (std::size_t{33} << 20));     // data: 64 MB
}
