// How the singular vectors of an unfolding are computed: what each method can resolve, which one is chosen, and that
// all of them see the same matrix however the tensor is walked.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/decompositions.hpp>
#include <moden/multilinear/hosvd.hpp>

#include "tucker_checks.hpp"

using moden::dynamic_tensor;
using moden::extents;
using moden::svd_method;
using moden::tensor;
using reference::normal_tensor;
using reference::true_error;

namespace {

/// Values from 1 down to 1e-6 in float and 1e-12 in double: far below sqrt(eps), above eps.
template <class T>
std::vector<double> graded(std::size_t count) {
    const double smallest = std::is_same_v<T, float> ? 1e-6 : 1e-12;
    return reference::geometric(1, std::pow(smallest, 1.0 / static_cast<double>(count - 1)), count);
}

double relative_error_of_value(double found, double expected) {
    return std::abs(found - expected) / expected;
}

}  // namespace

// Wide unfoldings (rows <= columns) and tall ones take different ways; both are here.
TEST_CASE_TEMPLATE("a Gram matrix loses singular values below sqrt(eps), QR does not", T, float, double) {
    struct graded_case {
        extents shape;
        std::size_t rank;
        std::size_t mode;  ///< the mode that is looked at
        std::string reason;
    };
    for (const auto& one :
         {graded_case{{16, 15, 14}, 13, 0, "wide, first mode"}, graded_case{{16, 15, 14}, 13, 1, "wide, inner mode"},
          graded_case{{16, 15, 14}, 13, 2, "wide, last mode"}, graded_case{{60, 4, 5}, 4, 0, "tall, first mode"},
          graded_case{{4, 60, 5}, 4, 1, "tall, inner mode"}, graded_case{{4, 5, 60}, 4, 2, "tall, last mode"}}) {
        const auto& shape = one.shape;
        const auto rank = one.rank;
        const auto mode = one.mode;
        const auto& reason = one.reason;
        CAPTURE(reason);
        const auto known = reference::tensor_with_spectrum(shape, graded<T>(rank), 1);
        const auto x = known.template dense<T>();
        const extents ranks(3, rank);
        const auto& expected = known.values;
        const double smallest = expected.back();

        const auto by_qr = moden::hosvd(x, {.ranks = ranks, .method = svd_method::qr});
        CHECK(reference::value_ratio(by_qr.modes[mode].singular_values, expected, 1) <= reference::lapack_bound);
        REQUIRE(reference::lapack_bound * reference::epsilon<T> <
                smallest * 4);  // so that the line above says something of it
        // Every vector, down to the smallest value, up to its perturbation over the gap to its neighbours.
        for (std::size_t r = 0; r < rank; ++r) {
            const double gap = expected[r] - (r + 1 < rank ? expected[r + 1] : 0);
            const double turn = std::sqrt(2.0) * reference::lapack_bound * reference::epsilon<T> / gap;
            CHECK(reference::projector_distance(reference::columns_of(by_qr.factors[mode], r, 1),
                                                reference::columns_of(known.factors[mode], r, 1)) <= turn);
        }

        const auto by_gram = moden::hosvd(x, {.ranks = ranks, .method = svd_method::gram});
        reference::check_structure(by_gram, shape);  // orthonormal whatever happens to the values
        CHECK(by_gram.modes[mode].method == svd_method::gram);
        CHECK(reference::value_ratio(by_gram.modes[mode].singular_values, {expected[0]}, 1) <= reference::lapack_bound);
        CHECK(relative_error_of_value(static_cast<double>(by_gram.modes[mode].singular_values[rank - 1]), smallest) >
              0.5);
        if (rank > 4) {  // several values are lost, and their vectors are mixed
            CHECK(reference::projector_distance(reference::columns_of(by_gram.factors[mode], rank - 1, 1),
                                                reference::columns_of(known.factors[mode], rank - 1, 1)) > 1e-3);
        }

        const auto automatic = moden::hosvd(x, {.ranks = ranks});
        CHECK(automatic.modes[mode].method == svd_method::qr);
        CHECK(reference::identical(automatic.factors[mode], by_qr.factors[mode]));
        CHECK(automatic.modes[mode].singular_values == by_qr.modes[mode].singular_values);
    }
}

TEST_CASE_TEMPLATE("automatic takes the Gram matrix where it is good enough", T, float, double) {
    const auto known = reference::tensor_with_spectrum({16, 15, 14}, graded<T>(13), 1);
    const auto x = known.template dense<T>();
    // Three values are well above sqrt(10 eps).
    const auto result = moden::st_hosvd(x, {.ranks = {3, 3, 3}});
    for (const auto& mode : result.modes) {
        CHECK(mode.method == svd_method::gram);
    }
    const auto random = moden::hosvd(normal_tensor<T>({6, 7, 8}, 1));
    for (const auto& mode : random.modes) {
        CHECK(mode.method == svd_method::gram);
    }
    // A tolerance below the noise of a Gram matrix asks for QR from the start.
    const double tolerance = std::is_same_v<T, float> ? 1e-4 : 1e-9;
    const auto fine = moden::st_hosvd(x, {.tolerance = tolerance});
    for (const auto& mode : fine.modes) {
        CHECK(mode.method == svd_method::qr);
    }
    CHECK(true_error(x, fine) <= tolerance + reference::lapack_bound * reference::epsilon<T>);
}

TEST_CASE_TEMPLATE("automatic takes random sketches for small ranks of long modes", T, float, double) {
    const auto known = reference::tensor_with_spectrum({520, 28, 20}, {5, 4, 3, 2, 1}, 2);
    const auto x = known.template dense<T>();
    const auto result = moden::st_hosvd(x, {.ranks = {5, 5, 5}, .mode_order = {0, 1, 2}});
    CHECK(result.modes[0].method == svd_method::randomized);
    CHECK(result.modes[1].method == svd_method::gram);
    reference::check_structure(result, {520, 28, 20});
    CHECK(reference::projector_distance(result.factors[0], known.factors[0]) <=
          reference::lapack_bound * reference::epsilon<T> * 5);
    CHECK(true_error(x, result) <= reference::lapack_bound * reference::epsilon<T>);
    const auto large_rank = moden::hosvd(x, {.ranks = {30, 5, 5}});
    CHECK(large_rank.modes[0].method != svd_method::randomized);
}

// Unfoldings of more than a quarter of a million elements are visited in several panels, cut within slabs or gathered
// from several of them.
TEST_CASE_TEMPLATE("long unfoldings: all methods find the same values and subspaces", T, float, double) {
    struct long_case {
        std::string reason;
        extents shape;
        std::size_t mode;
    };
    for (const auto& one :
         {long_case{"first mode", {8, 300, 400}, 0}, long_case{"last mode", {300, 400, 8}, 2},
          long_case{"slabs wider than a panel", {3, 8, 40000}, 1}, long_case{"many slabs to a panel", {300, 8, 400}, 1},
          long_case{"few columns behind the mode", {40000, 8, 3}, 1},
          long_case{"two columns, narrow mode", {60000, 5, 2}, 1}}) {
        const auto& reason = one.reason;
        const auto& shape = one.shape;
        const auto mode = one.mode;
        CAPTURE(reason);
        auto x = normal_tensor<T>(shape, 3);
        const std::size_t extent = shape[mode];
        const auto geometry = moden::geometry_of(shape, mode);
        for (std::size_t i = 0; i < x.size(); ++i) {  // values that are well apart
            x.data()[i] *= static_cast<T>(extent - i / geometry.columns % extent);
        }
        // The exact Gram matrix, and from it values and vectors to far more digits than T has.
        tensor<double, 2> gram = xt::zeros<double>({extent, extent});
        for (std::size_t i = 0; i < extent; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                reference::wide sum = 0;
                for (std::size_t s = 0; s < geometry.slabs; ++s) {
                    const T* slab = x.data() + s * extent * geometry.columns;
                    for (std::size_t c = 0; c < geometry.columns; ++c) {
                        sum += static_cast<reference::wide>(slab[i * geometry.columns + c]) *
                               slab[j * geometry.columns + c];
                    }
                }
                gram(i, j) = gram(j, i) = static_cast<double>(sum);
            }
        }
        const auto exact = moden::eigh(gram);
        std::vector<double> expected(exact.values);
        std::transform(expected.begin(), expected.end(), expected.begin(),
                       [](double value) { return std::sqrt(value); });
        // Rounding of sums of this length, of values that differ by a factor of `extent` at most.
        const double bound = std::sqrt(static_cast<double>(geometry.fibers())) * static_cast<double>(extent);
        extents ranks = shape;
        for (std::size_t n = 0; n < 3; ++n) {
            ranks[n] = n == mode ? extent : 1;
        }
        for (const svd_method method : {svd_method::gram, svd_method::qr, svd_method::randomized}) {
            CAPTURE(static_cast<int>(method));
            const auto basis = moden::detail::compute_mode_basis<moden::cpu_policy, T, moden::host_memory>(
                moden::cpu_policy{}, x.data(), geometry, moden::detail::truncation{extent},
                reference::tail_of_squares(expected, 0), {.method = method}, "test");
            REQUIRE(reference::shape_of(basis.factor) == extents{extent, extent});
            CHECK(basis.report.method == method);
            CHECK(reference::value_ratio(basis.report.singular_values, expected, expected[0]) <= bound);
            CHECK(reference::orthogonality_ratio(basis.factor) <= reference::lapack_bound);
            for (std::size_t r = 0; r < extent; ++r) {
                CHECK(reference::projector_distance(reference::columns_of(basis.factor, r, 1),
                                                    reference::columns_of(exact.vectors, r, 1)) <=
                      bound * reference::epsilon<T> * 10);
            }
        }
    }
}

TEST_CASE_TEMPLATE("randomised: close to the best, repeatable, truthful", T, float, double) {
    const auto known = reference::tensor_with_spectrum({60, 45, 50}, reference::geometric(1, 0.8, 40), 5);
    const auto x = known.template dense<T>();
    const extents ranks{8, 8, 8};
    // The best error of rank 8 in one mode alone; in all modes together it is the same, since the spectra are.
    const double best =
        std::sqrt(reference::tail_of_squares(known.values, 8) / reference::tail_of_squares(known.values, 0));
    const auto result = moden::st_hosvd(x, {.ranks = ranks, .method = svd_method::randomized, .seed = 1});
    reference::check_structure(result, {60, 45, 50});
    const double error = true_error(x, result);
    CHECK(error >= best * (1 - 1e-5));
    CHECK(error <= best * 1.001);
    CHECK(std::abs(result.relative_error * result.relative_error - error * error) <=
          reference::lapack_bound * reference::epsilon<T>);
    const auto plain = moden::hosvd(x, {.ranks = ranks, .method = svd_method::randomized, .seed = 1});
    CHECK(std::abs(plain.relative_error - true_error(x, plain)) <= reference::lapack_bound * reference::epsilon<T>);
    CHECK(plain.relative_error <= best * 1.001);

    const auto again = moden::st_hosvd(x, {.ranks = ranks, .method = svd_method::randomized, .seed = 1});
    const auto other = moden::st_hosvd(x, {.ranks = ranks, .method = svd_method::randomized, .seed = 2});
    CHECK(reference::identical(result.core, again.core));
    CHECK(!reference::identical(result.core, other.core));

    // Without oversampling and power iterations the sketch is worse, and says so.
    const auto rough = moden::st_hosvd(
        x, {.ranks = ranks, .method = svd_method::randomized, .oversampling = 0, .power_iterations = 0});
    CHECK(rough.relative_error > result.relative_error);
    const double rough_error = true_error(x, rough);
    CHECK(std::abs(rough.relative_error * rough.relative_error - rough_error * rough_error) <=
          reference::lapack_bound * reference::epsilon<T>);
}

// What a sketch has not seen counts as discarded when the rank is chosen, too.
TEST_CASE_TEMPLATE("randomised: a tolerance or an energy within the limits of the ranks is honoured", T, float,
                   double) {
    const auto flat = reference::tensor_with_spectrum({40, 42, 44}, std::vector<double>(36, 1.0), 6);
    const auto x = flat.template dense<T>();
    const extents ranks{20, 20, 20};
    for (const double energy : {0.3, 0.5}) {
        CAPTURE(energy);
        const auto result =
            moden::hosvd(x, {.ranks = ranks, .energy = energy, .method = svd_method::randomized, .oversampling = 4});
        for (const auto& mode : result.modes) {
            CHECK(mode.discarded_energy <= (1 - energy) * 36 * (1 + 1e-5));
            CHECK(mode.rank < 20);
        }
    }
    const auto result =
        moden::st_hosvd(x, {.ranks = ranks, .tolerance = 0.9, .method = svd_method::randomized, .oversampling = 4});
    CHECK(true_error(x, result) <= 0.9);
    // Where the limits do not allow it, the ranks are the limits.
    const auto tight =
        moden::hosvd(x, {.ranks = {10, 10, 10}, .energy = 0.9, .method = svd_method::randomized, .oversampling = 4});
    CHECK(reference::shape_of(tight.core) == extents{10, 10, 10});
}

// The squares of these values overflow, or vanish: a Gram matrix says nothing, QR sees what the unscaled tensor has.
TEST_CASE("very large and very small floats: automatic turns to QR, gram says why it cannot") {
    const float huge = std::numeric_limits<float>::max() / 1e6f;
    const float tiny = std::numeric_limits<float>::min() * 1e6f;
    for (const extents& shape : {extents{8, 7, 6}, extents{40, 3, 4}}) {
        CAPTURE(shape);
        const auto x = normal_tensor<float>(shape, 5);
        const auto plain = moden::st_hosvd(x, {.ranks = {2, 2, 2}, .method = svd_method::qr});
        for (const float scale : {huge, tiny}) {
            CAPTURE(scale);
            const dynamic_tensor<float> scaled = x * scale;
            const auto found = moden::st_hosvd(scaled, {.ranks = {2, 2, 2}});
            CHECK(found.relative_error == doctest::Approx(plain.relative_error).epsilon(1e-3));
            for (std::size_t mode = 0; mode < 3; ++mode) {
                CHECK(found.modes[mode].method == svd_method::qr);
                CHECK(reference::projector_distance(reference::widened(found.factors[mode]),
                                                    reference::widened(plain.factors[mode])) < 1e-3);
            }
            CHECK_NOTHROW(moden::hosvd(scaled, {.ranks = {2, 2, 2}}));
        }
        const dynamic_tensor<float> overflowing = x * huge;
        CHECK_THROWS_WITH_AS(moden::st_hosvd(overflowing, {.ranks = {2, 2, 2}, .method = svd_method::gram}),
                             "st_hosvd: the squares of the tensor's values overflow, which svd_method::gram cannot take "
                             "(scale the tensor, or use svd_method::qr)",
                             moden::argument_error);
    }
}

TEST_CASE("a squared norm that double cannot hold is refused, zero is not") {
    auto x = normal_tensor<double>({5, 4, 3}, 5);
    for (const double scale : {1e160, 1e-160}) {
        const dynamic_tensor<double> scaled = x * scale;
        for (const auto& options : {moden::hosvd_options{.ranks = {2, 2, 2}}, moden::hosvd_options{.tolerance = 0.1},
                                    moden::hosvd_options{.method = svd_method::qr}}) {
            CHECK_THROWS_WITH_AS(moden::st_hosvd(scaled, options),
                                 "st_hosvd: the squared norm of the tensor is outside the range of double (scale the tensor)",
                                 moden::argument_error);
        }
    }
    x.fill(0);
    CHECK(moden::st_hosvd(x, {.ranks = {2, 2, 2}}).relative_error == 0);
    CHECK(moden::st_hosvd(x, {.ranks = {2, 2, 2}, .method = svd_method::gram}).relative_error == 0);
}

TEST_CASE("NaN and infinity are found in whatever comes first") {
    for (const auto method : {svd_method::automatic, svd_method::gram, svd_method::qr, svd_method::randomized}) {
        for (const extents& shape : {extents{5, 4, 3}, extents{40, 3, 4}, extents{6, 30, 2}}) {
            for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
                auto x = normal_tensor<double>(shape, 1);
                x.data()[7] = bad;
                CHECK_THROWS_WITH_AS(moden::st_hosvd(x, {.ranks = {2, 2, 2}, .method = method}),
                                     "st_hosvd: the tensor holds 1 values that are NaN or infinite (expected finite values)",
                                     moden::argument_error);
                CHECK_THROWS_WITH_AS(moden::hosvd(x, {.ranks = {2, 2, 2}, .method = method}),
                                     "hosvd: the tensor holds 1 values that are NaN or infinite (expected finite values)",
                                     moden::argument_error);
            }
        }
    }
}
