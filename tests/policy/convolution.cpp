// 3 x 3 convolutions against sums in double, gathered and minimal filtering, forward and adjoint, on every policy.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/maps/detail/convolution.hpp>

#include "policies.hpp"

using namespace moden_test;
using moden::detail::convolution3x3;
using moden::detail::convolution_method;
using moden::detail::image_extents;

namespace {

/// What is convolved: pictures with `in` channels, filters out x in x 3 x 3, and cotangents with `out` channels.
template <class T>
struct problem {
    image_extents images;
    std::size_t in, out;
    moden::tensor<T, 1> x, weights, u;

    problem(std::size_t count, std::size_t height, std::size_t width, std::size_t inputs, std::size_t outputs)
        : images{count, height, width, inputs}, in(inputs), out(outputs),
          x(random_tensor<T, 1>({images.pixels() * in}, 1)), weights(random_tensor<T, 1>({out * in * 9}, 2)),
          u(random_tensor<T, 1>({images.pixels() * out}, 3)) {}

    /// Calls visit(index in x, index in y, weight) for every product of the definition.
    template <class Visit>
    void for_each_product(const Visit& visit) const {
        for (std::size_t p = 0; p < images.pixels(); ++p) {
            const std::size_t row = p / images.width % images.height, column = p % images.width;
            for (std::size_t tap = 0; tap < 9; ++tap) {
                const std::size_t r = row + tap / 3, c = column + tap % 3;  // of a picture with a border
                if (r == 0 || c == 0 || r > images.height || c > images.width) {
                    continue;
                }
                const std::size_t q = p + (tap / 3) * images.width + tap % 3 - images.width - 1;
                for (std::size_t o = 0; o < out; ++o) {
                    for (std::size_t i = 0; i < in; ++i) {
                        visit(q * in + i, p * out + o, static_cast<double>(weights.data()[(o * in + i) * 9 + tap]));
                    }
                }
            }
        }
    }

    std::vector<double> forward() const {
        std::vector<double> y(images.pixels() * out);
        for_each_product([&](std::size_t from, std::size_t to, double weight) {
            y[to] += weight * static_cast<double>(x.data()[from]);
        });
        return y;
    }

    std::vector<double> adjoint() const {
        std::vector<double> back(images.pixels() * in);
        for_each_product([&](std::size_t from, std::size_t to, double weight) {
            back[from] += weight * static_cast<double>(u.data()[to]);
        });
        return back;
    }
};

/// The largest difference over the largest value.
template <class T>
double relative_error(const std::vector<T>& got, const std::vector<double>& want) {
    REQUIRE(got.size() == want.size());
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
        largest = std::max(largest, std::abs(want[i]));
    }
    return worst / largest;
}

template <class T>
std::vector<T> values_of(const moden::tensor<T, 1>& values) {
    return {values.data(), values.data() + values.size()};
}

/// Relative errors of the convolution and of its adjoint.
template <class Cell>
std::pair<double, double> errors(const problem<typename Cell::scalar>& p, convolution_method method) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const placed<Policy, T> weights(policy, values_of(p.weights)), x(policy, values_of(p.x)), u(policy, values_of(p.u));
    const placed<Policy, T> y(policy, std::vector<T>(p.u.size(), T(7))), back(policy, std::vector<T>(p.x.size(), T(7)));
    const convolution3x3<Policy, T> convolution(policy, weights.data(), p.in, p.out, method);
    convolution.forward(policy, x.data(), p.images, y.data());
    convolution.adjoint(policy, u.data(), p.images, back.data());
    return {relative_error(y.back(), p.forward()), relative_error(back.back(), p.adjoint())};
}

}  // namespace

TEST_CASE_TEMPLATE("convolutions of any size, with gathered windows", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    for (const auto& p : {problem<T>(1, 1, 1, 1, 1), problem<T>(2, 1, 6, 3, 2), problem<T>(3, 5, 7, 4, 6),
                          problem<T>(2, 8, 8, 9, 5)}) {
        const auto [forward, adjoint] = errors<Cell>(p, convolution_method::direct);
        CHECK(forward < 8 * Cell::eps);
        CHECK(adjoint < 8 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("convolutions by minimal filtering", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    for (const auto& p : {problem<T>(1, 4, 4, 1, 1), problem<T>(3, 4, 8, 5, 7), problem<T>(2, 12, 8, 16, 3)}) {
        const auto [forward, adjoint] = errors<Cell>(p, convolution_method::winograd);
        CHECK(forward < 40 * Cell::eps);
        CHECK(adjoint < 40 * Cell::eps);
    }
}

TEST_CASE_TEMPLATE("minimal filtering keeps its digits with many channels", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    const auto [forward, adjoint] = errors<Cell>(problem<T>(1, 8, 8, 512, 64), convolution_method::winograd);
    CHECK(forward < 80 * Cell::eps);  // 9.5e-6 in float
    CHECK(adjoint < 80 * Cell::eps);
}

TEST_CASE_TEMPLATE("a convolution too large for its scratch memory is done in parts", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    // 36 places x (400 + 1) channels x 4 bytes are 56 KiB a tile: 24 MiB hold 435 of these 512 tiles in float.
    const problem<T> p(2, 64, 64, 400, 1);
    const auto [forward, adjoint] = errors<Cell>(p, convolution_method::winograd);
    CHECK(forward < 60 * Cell::eps);
    CHECK(adjoint < 60 * Cell::eps);
    const problem<T> gathered(3, 64, 64, 64, 1);
    const auto [direct, back] = errors<Cell>(gathered, convolution_method::direct);
    CHECK(direct < 20 * Cell::eps);
    CHECK(back < 20 * Cell::eps);
}
