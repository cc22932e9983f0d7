// Independent components on every policy: planted sources come back up to sign, and the parts fit together.

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <moden/linalg/independent_components.hpp>

#include "policies.hpp"
#include "reference.hpp"

using namespace moden_test;

namespace {

/// 2000 samples of two levels, uniform noise, and noise with rare large values, each with variance 1.
array planted_sources() {
    constexpr std::size_t samples = 2000;
    std::vector<double> noise(3 * samples);
    moden::fill_uniform(moden::cpu_policy{}, noise.data(), noise.size(), 3);
    array result({samples, 3});
    for (std::size_t n = 0; n < samples; ++n) {
        result(n, 0) = noise[3 * n] < 0.5 ? -1 : 1;
        result(n, 1) = std::sqrt(12.0) * (noise[3 * n + 1] - 0.5);
        const double u = 2 * noise[3 * n + 2] - 1;
        result(n, 2) = std::copysign(std::log(1 - std::abs(u)) / std::sqrt(2.0), u);  // Laplace
    }
    return result;
}

array product(const array& a, const array& b) {
    array result({a.rows(), b.columns()});
    for (std::size_t i = 0; i < a.rows(); ++i) {
        for (std::size_t k = 0; k < a.columns(); ++k) {
            for (std::size_t j = 0; j < b.columns(); ++j) {
                result(i, j) += a(i, k) * b(k, j);
            }
        }
    }
    return result;
}

double correlation(const array& a, std::size_t i, const array& b, std::size_t j) {
    double ab = 0, aa = 0, bb = 0, sa = 0, sb = 0;
    const double n = static_cast<double>(a.rows());
    for (std::size_t r = 0; r < a.rows(); ++r) {
        sa += a(r, i) / n;
        sb += b(r, j) / n;
    }
    for (std::size_t r = 0; r < a.rows(); ++r) {
        ab += (a(r, i) - sa) * (b(r, j) - sb);
        aa += (a(r, i) - sa) * (a(r, i) - sa);
        bb += (b(r, j) - sb) * (b(r, j) - sb);
    }
    return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE_TEMPLATE("planted independent sources come back", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const array sources = planted_sources();
    array mixed = product(sources, random_matrix(3, 5, 4));  // 2000 x 5, of rank 3
    for (std::size_t n = 0; n < mixed.rows(); ++n) {
        for (std::size_t j = 0; j < 5; ++j) {
            mixed(n, j) += static_cast<double>(j);
        }
    }
    const auto samples = to_policy(policy, to_tensor<T, 2>(mixed));
    //! [independent_components]
    const auto found = moden::independent_components(policy, samples, {.count = 3});
    // found.sources: N x 3, few levels first
    //! [independent_components]
    CHECK(found.status == moden::iteration_status::converged);
    const array s = to_array(policy, found.sources);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(std::abs(correlation(s, i, sources, i)) >= 0.995);
    }
    CHECK(found.kurtosis[0] == doctest::Approx(-2).epsilon(0.02));
    CHECK(found.kurtosis[1] == doctest::Approx(-1.2).epsilon(0.05));
    CHECK(found.kurtosis[2] > 1.5);
    // sources = (X - mean) unmixing', X - mean = sources mixing', covariance I.
    const array m = to_array(policy, found.mean), u = to_array(policy, found.unmixing), a = to_array(policy, found.mixing);
    array centred = mixed;
    for (std::size_t n = 0; n < mixed.rows(); ++n) {
        for (std::size_t j = 0; j < 5; ++j) {
            centred(n, j) -= m(0, j);
        }
    }
    const auto turned = [](const array& x) {
        array result({x.columns(), x.rows()});
        for (std::size_t i = 0; i < x.rows(); ++i) {
            for (std::size_t j = 0; j < x.columns(); ++j) {
                result(j, i) = x(i, j);
            }
        }
        return result;
    };
    CHECK(frobenius(difference(product(centred, turned(u)), s)) <= 1e3 * Cell::eps * frobenius(s));
    CHECK(frobenius(difference(product(s, turned(a)), centred)) <= 1e3 * Cell::eps * frobenius(centred));
    const array covariance = product(turned(s), s);
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            CHECK(std::abs(covariance(i, j) / 2000 - (i == j ? 1 : 0)) <= 1e3 * Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("independent components refuse what they cannot do", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const auto on_policy = [&](const array& x) { return to_policy(policy, to_tensor<T, 2>(x)); };
    const auto flat = on_policy(product(random_matrix(30, 2, 1), random_matrix(2, 4, 2)));
    CHECK_THROWS_WITH_AS(moden::independent_components(policy, flat, {.count = 3}),
                         "independent_components: 3 components of data of 30 x 4 with 2 directions that vary (expected at most as many, and one at least)",
                         moden::argument_error);
    CHECK(moden::independent_components(policy, flat).kurtosis.size() == 2);
    CHECK_THROWS_AS(moden::independent_components(policy, on_policy(array({5, 3}, 1.0))), moden::argument_error);
    CHECK_THROWS_AS(moden::independent_components(policy, on_policy(random_matrix(1, 3, 1))), moden::argument_error);
    CHECK_THROWS_AS(moden::independent_components(policy, flat, {.tolerance = 0}), moden::argument_error);
    array bad = random_matrix(6, 3, 1);
    bad.data[4] = std::numeric_limits<double>::infinity();
    CHECK_THROWS_AS(moden::independent_components(policy, on_policy(bad)), moden::argument_error);
    const auto told = moden::independent_components(policy, flat, {.tolerance = 1e-12, .progress = [](std::size_t, double) { return false; }});
    CHECK(told.status == moden::iteration_status::stopped_by_callback);
}
