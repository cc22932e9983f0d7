// Fits of multilinear models on every policy: planted models, terms that share cores and factors, exact steps, refusals.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <moden/linalg/decompositions.hpp>
#include <moden/loss/multilinear_fit.hpp>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

using namespace moden_test;

namespace {

array numbers(const moden::extents& shape, std::size_t seed) {
    array result(shape);
    number_source next(seed);
    for (double& x : result.data) {
        x = next();
    }
    return result;
}

/// B_(0) (Z_1 kr Z_2 kr ...), entry by entry; a factor of one column serves all samples.
array synthesis(const array& core, const std::vector<array>& factors, std::size_t samples) {
    array made({core.shape[0], samples});
    for_each_index(core.shape, [&](const moden::extents& index) {
        for (std::size_t j = 0; j < samples; ++j) {
            double product = core.at(index);
            for (std::size_t m = 0; m < factors.size(); ++m) {
                product *= factors[m](index[m + 1], factors[m].columns() == 1 ? 0 : j);
            }
            made(index[0], j) += product;
        }
    });
    return made;
}

/// Factors with noise.
std::vector<array> near(std::vector<array> factors, double noise) {
    number_source next(77);
    for (array& z : factors) {
        for (double& x : z.data) {
            x += noise * next();
        }
    }
    return factors;
}

array constant_of(std::size_t rank) { return array({rank, 1}, 1.0 / static_cast<double>(rank)); }

/// Texture, normals with the same core and without light, shape with a core of its own; factors 0 light, 1 expression, 2 identity.
struct faces {
    static constexpr std::size_t samples = 90;
    array texture_core = numbers({40, 3, 2, 4}, 1), shape_core = numbers({15, 2, 4}, 2);
    std::vector<array> factors{numbers({3, samples}, 3), numbers({2, samples}, 4), numbers({4, samples}, 5)};
    array texture = synthesis(texture_core, factors, samples);
    array normals = synthesis(texture_core, {constant_of(3), factors[1], factors[2]}, samples);
    array shape = synthesis(shape_core, {factors[1], factors[2]}, samples);

    static std::vector<moden::multilinear_term> terms() {
        return {{.core = 0, .factors = {0, 1, 2}}, {.core = 0, .factors = {moden::constant_factor, 1, 2}, .weight = 2}, {.core = 1, .factors = {1, 2}, .weight = 0.5}};
    }

};

template <class Policy, class T>
auto matrices_of(const Policy& policy, const std::vector<array>& list) {
    std::vector<moden::policy_tensor<Policy, T, 2>> matrices;
    for (const array& matrix : list) {
        matrices.push_back(to_policy(policy, to_tensor<T, 2>(matrix)));
    }
    return matrices;
}

double cosine(const array& a, const array& b, std::size_t column) {
    double product = 0, left = 0, right = 0;
    for (std::size_t i = 0; i < a.rows(); ++i) {
        product += a(i, column) * b(i, column);
        left += a(i, column) * a(i, column);
        right += b(i, column) * b(i, column);
    }
    return product / std::sqrt(left * right);
}

}  // namespace

TEST_CASE_TEMPLATE("a planted bilinear model is found from factors near its own, and its factors with it", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const std::size_t samples = 60;
    const array core = numbers({20, 2, 3}, 1);
    const std::vector<array> truth{numbers({2, samples}, 2), numbers({3, samples}, 3)};
    const auto data = matrices_of<Policy, T>(policy, {synthesis(core, truth, samples)});
    const auto start = matrices_of<Policy, T>(policy, near(truth, 0.3));
    const auto found = moden::fit_multilinear(policy, data, start, {.max_iterations = 400, .tolerance = 1e-9});
    CHECK(found.relative_errors.at(0) <= 1e-3);
    for (std::size_t i = 1; i < found.history.size(); ++i) {
        CHECK(found.history[i] <= found.history[i - 1] * (1 + 100 * Cell::eps) + 1e4 * Cell::eps * Cell::eps * found.history[0]);
    }
    // The first factor of sample j with the second one of sample j + 1: up to scale what the planted model makes of it.
    const auto shifted = [&](const array& z) {
        array result(z.shape);
        for (std::size_t i = 0; i < z.rows(); ++i) {
            for (std::size_t j = 0; j < samples; ++j) {
                result(i, j) = z(i, (j + 1) % samples);
            }
        }
        return result;
    };
    const array wanted = synthesis(core, {truth[0], shifted(truth[1])}, samples);
    const array first = to_array(policy, found.factors[0]), second = to_array(policy, found.factors[1]);
    const array made = synthesis(to_array(policy, found.cores[0]), {first, shifted(second)}, samples);
    for (std::size_t j = 0; j < samples; ++j) {
        CHECK(std::abs(cosine(wanted, made, j)) >= 0.999);
    }
    // Open scales are fixed: both factors have a mean square of 1.
    for (const array* z : {&first, &second}) {
        CHECK(frobenius(*z) == doctest::Approx(std::sqrt(static_cast<double>(z->data.size()))).epsilon(100 * Cell::eps));
    }
}

TEST_CASE_TEMPLATE("terms share cores and factors", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const faces set;
    const auto data = matrices_of<Policy, T>(policy, {set.texture, set.normals, set.shape});
    const auto start = matrices_of<Policy, T>(policy, near(set.factors, 0.1));
    const auto found = moden::fit_multilinear(policy, data, start, {.terms = faces::terms(), .max_iterations = 200, .tolerance = 1e-8});
    REQUIRE(found.cores.size() == 2);
    CHECK(moden::extents(found.cores[0].shape().begin(), found.cores[0].shape().end()) == moden::extents{40, 3, 2, 4});
    CHECK(moden::extents(found.cores[1].shape().begin(), found.cores[1].shape().end()) == moden::extents{15, 2, 4});
    for (const double error : found.relative_errors) {
        CHECK(error <= 2e-3);
    }
    // Objective and errors are those of the cores and factors that are returned.
    const array q = to_array(policy, found.cores[0]), b = to_array(policy, found.cores[1]);
    std::vector<array> z;
    for (const auto& factor : found.factors) {
        z.push_back(to_array(policy, factor));
    }
    const double of_texture = frobenius(difference(synthesis(q, z, faces::samples), set.texture));
    const double of_normals = frobenius(difference(synthesis(q, {constant_of(3), z[1], z[2]}, faces::samples), set.normals));
    const double of_shape = frobenius(difference(synthesis(b, {z[1], z[2]}, faces::samples), set.shape));
    const double slack = 100 * Cell::eps;
    CHECK(std::abs(found.relative_errors[0] - of_texture / frobenius(set.texture)) <= slack);
    CHECK(std::abs(found.relative_errors[1] - of_normals / frobenius(set.normals)) <= slack);
    CHECK(std::abs(found.relative_errors[2] - of_shape / frobenius(set.shape)) <= slack);
    CHECK(found.objective == doctest::Approx(of_texture * of_texture + 2 * of_normals * of_normals + 0.5 * of_shape * of_shape).epsilon(0.01));
    // Light has a scale of its own, given by the constant: it was not touched.
    CHECK(found.history.front() >= found.history.back());
}

TEST_CASE_TEMPLATE("steps end where the gradient of what they change is zero, and gradients are those of the objective", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    using space = typename Policy::memory_space;
    const Policy policy{};
    double ridge = 0;
    SUBCASE("without a ridge") {}
    SUBCASE("with a ridge") { ridge = 0.7; }
    const array texture = numbers({40, 12}, 1), normals = numbers({40, 12}, 2), shape = numbers({15, 12}, 3);
    const auto data = matrices_of<Policy, T>(policy, {texture, normals, shape});
    std::vector<moden::matrix_view<const T, space>> views;
    for (const auto& x : data) {
        views.push_back(moden::row_major<const T, space>(x.data(), x.shape()[0], x.shape()[1]));
    }
    const auto terms = faces::terms();
    const auto shapes = moden::detail::core_shapes(terms, {40, 40, 15}, {3, 2, 4}, "test");
    moden::detail::multilinear_sweeps<Policy, T> sweeps(policy, views, terms, shapes, {3, 2, 4}, {.of_cores = ridge, .of_factors = 0.3 * ridge});
    moden::fill_normal(policy, sweeps.parameters(), sweeps.size(), 5);
    const placed<Policy, T> gradient(policy, std::vector<T>(sweeps.size()));
    const auto slope = [&](const T* block, std::size_t size) {
        sweeps.objective_and_gradient(sweeps.parameters(), gradient.data());
        const std::size_t first = static_cast<std::size_t>(block - sweeps.parameters());
        const auto all = gradient.back();
        double sum = 0;
        for (std::size_t i = first; i < first + size; ++i) {
            sum += std::pow(static_cast<double>(all[i]), 2);
        }
        return std::sqrt(sum);
    };
    for (std::size_t f = 0; f < 3; ++f) {
        const std::size_t size = 12 * std::vector<std::size_t>{3, 2, 4}[f];
        const double before = slope(sweeps.factor(f), size), value = sweeps.objective();
        sweeps.update_factor(f);
        CHECK(slope(sweeps.factor(f), size) <= 1e4 * Cell::eps * before);
        CHECK(sweeps.objective() < value);
    }
    for (std::size_t c = 0; c < 2; ++c) {
        // More unknowns per row than samples: the Gram matrix is singular, and the residual alone shows the step.
        const double value = sweeps.objective();
        sweeps.update_core(c);
        CHECK(sweeps.objective() < value);
        if (ridge > 0) {
            const std::size_t size = moden::element_count(shapes[c]);
            CHECK(slope(sweeps.core(c), size) <= 1e-3 * std::sqrt(Cell::eps / 1e-16) * ridge);
        }
    }
    if (ridge == 0) {
        const double value = sweeps.objective();
        sweeps.balance();
        CHECK(sweeps.objective() == doctest::Approx(value).epsilon(1e4 * Cell::eps));
    }
    if constexpr (std::is_same_v<T, double>) {
        moden::fill_normal(policy, sweeps.parameters(), sweeps.size(), 6);
        CHECK(sweeps.objective_and_gradient(sweeps.parameters(), gradient.data()) == doctest::Approx(sweeps.objective()).epsilon(1e-12));
        const std::vector<double> exact = gradient.back();
        const placed<Policy, T> point(policy, std::vector<T>(sweeps.size()));
        const placed<Policy, T> unused(policy, std::vector<T>(sweeps.size()));
        std::vector<double> x(sweeps.size());
        policy.download(static_cast<const double*>(sweeps.parameters()), x.data(), x.size());
        double largest = 0;
        for (const double g : exact) {
            largest = std::max(largest, std::abs(g));
        }
        for (std::size_t i = 0; i < x.size(); i += 1 + x.size() / 60) {  // quadratic in every number: a central difference is exact
            constexpr double step = 0.5;
            const auto at = [&](double offset) {
                std::vector<double> moved = x;
                moved[i] += offset;
                policy.upload(moved.data(), point.data(), moved.size());
                return sweeps.objective_and_gradient(point.data(), unused.data());
            };
            CHECK(std::abs(exact[i] - (at(step) - at(-step)) / (2 * step)) <= 1e-8 * largest);
        }
    }
}

TEST_CASE_TEMPLATE("one factor is a truncated singular value decomposition", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    array x = synthesis(numbers({12, 4}, 4), {numbers({4, 30}, 5)}, 30);
    const array noise = numbers({12, 30}, 6);
    for (std::size_t i = 0; i < x.data.size(); ++i) {
        x.data[i] += 0.2 * noise.data[i];
    }
    const auto data = matrices_of<Policy, T>(policy, {x});
    const auto values = moden::thin_svd(policy, data[0]).singular_values;
    double all = 0, left = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        all += std::pow(static_cast<double>(values[i]), 2);
        left += i < 4 ? 0 : std::pow(static_cast<double>(values[i]), 2);
    }
    for (const auto method : {moden::multilinear_fit_method::alternating, moden::multilinear_fit_method::lbfgs}) {
        const auto found = moden::fit_multilinear(policy, data, moden::random_multilinear_factors<T>(policy, {4}, 30),
                                                  {.method = method, .max_iterations = 2000, .tolerance = Cell::eps});
        CHECK(found.status == moden::iteration_status::converged);
        CHECK(found.relative_errors.at(0) == doctest::Approx(std::sqrt(left / all)).epsilon(1e-4));
    }
}

TEST_CASE("a model of data without labels") {
    const faces set;
    const auto texture = to_tensor<double, 2>(set.texture), normals = to_tensor<double, 2>(set.normals), shape = to_tensor<double, 2>(set.shape);
    //! [fit_multilinear]
    enum { light, expression, identity };
    const auto start = moden::random_multilinear_factors<double>(moden::cpu_policy{}, {3, 2, 4}, faces::samples);
    const auto model = moden::fit_multilinear(std::vector{texture, normals, shape}, start,
                                              {.terms = {{.core = 0, .factors = {light, expression, identity}},
                                                         {.core = 0, .factors = {moden::constant_factor, expression, identity}},
                                                         {.core = 1, .factors = {expression, identity}}}});
    const auto& z = model.factors[expression];  // 2 x n
    //! [fit_multilinear]
    CHECK(z.shape()[0] == 2);
    CHECK(model.history.back() < 0.5 * model.history.front());
}

TEST_CASE_TEMPLATE("fits stop when told to and refuse what does not fit", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const faces set;
    const auto data = matrices_of<Policy, T>(policy, {set.texture, set.normals, set.shape});
    const auto start = matrices_of<Policy, T>(policy, set.factors);
    const auto told = moden::fit_multilinear(policy, data, start, {.terms = faces::terms(), .tolerance = 0, .progress = [](std::size_t i, double) { return i < 3; }});
    CHECK(told.iterations == 3);
    CHECK(told.status == moden::iteration_status::stopped_by_callback);
    const auto refused = [&](const std::vector<moden::multilinear_term>& terms, const char* what) {
        std::string said;
        try {
            moden::fit_multilinear(policy, data, start, {.terms = terms});
        } catch (const moden::error& error) {
            said = error.what();
        }
        INFO(said);
        CHECK(said.find(what) != std::string::npos);
    };
    constexpr std::size_t constant = moden::constant_factor;
    refused({}, "1 terms for 3 data matrices");
    refused({{0, {0, 1, 2}}, {0, {constant, 1, 2}}}, "2 terms for 3 data matrices");
    refused({{0, {0, 1, 2}}, {0, {constant, 1, 2}}, {2, {1, 2}}}, "no term has core 1");
    refused({{0, {0, 1, 2}}, {0, {constant, 1, 2}}, {0, {1, 2}}}, "share core 0 but have different factors in mode 1");
    refused({{0, {constant, 1, 2}}, {0, {0, 1, 2}}, {0, {constant, 1}}}, "term 2 has 2 factors, another one with core 0 has 3");
    refused({{0, {0, 1, 2}}, {0, {constant, 1, 2}}, {0, {constant, 1, 2}}}, "data 2 have 15 rows, others with core 0 have 40");
    refused({{0, {0, 1, 2}}, {0, {constant, 2, 1}}, {1, {1, 2}}}, "share core 0 but have different factors in mode 2");
    refused({{0, {0, 1, 2}}, {0, {constant, 1, 2}}, {1, {1, 3}}}, "term 2 names factor 3 of 3");
    refused({{0, {0, 1, 1}}, {0, {constant, 1, 2}}, {1, {1, 2}}}, "term 0 names factor 1 twice");
    refused({{0, {constant, 1, 2}}, {0, {constant, 1, 2}}, {1, {0, 2}}}, "all terms with core 0 have a constant in mode 1");
    refused({{0, {constant, 1, 2}}, {0, {0, 1, 2}, -1}, {1, {1, 2}}}, "weight -1 of term 1");
    refused({{0, {}}, {0, {0, 1, 2}}, {1, {1, 2}}}, "term 0 has no factors");
    const auto cores_alone = moden::fit_multilinear(policy, data, start, {.terms = faces::terms(), .max_iterations = 0});
    CHECK(cores_alone.iterations == 0);
    CHECK(cores_alone.relative_errors.at(2) <= 1e3 * Cell::eps);
    CHECK_THROWS_AS(moden::fit_multilinear(policy, data, start, {.terms = faces::terms(), .ridge = {-1, 0}}), moden::argument_error);
    CHECK_THROWS_AS(moden::fit_multilinear(policy, data, matrices_of<Policy, T>(policy, {numbers({3, 5}, 1)}), {}), moden::shape_error);
    array bad = set.shape;
    bad.data[3] = std::numeric_limits<double>::quiet_NaN();
    CHECK_THROWS_AS(moden::fit_multilinear(policy, matrices_of<Policy, T>(policy, {set.texture, set.normals, bad}), start, {.terms = faces::terms()}),
                    moden::argument_error);
    // One matrix and no terms: all factors in one core. Data of nothing but zeros are fitted by zeros.
    const auto nothing = moden::fit_multilinear(policy, matrices_of<Policy, T>(policy, {array({5, 7})}), matrices_of<Policy, T>(policy, {numbers({2, 7}, 1), numbers({2, 7}, 2)}));
    CHECK(nothing.objective == 0);
    CHECK(nothing.relative_errors.at(0) == 0);
    CHECK(nothing.status == moden::iteration_status::converged);
}
