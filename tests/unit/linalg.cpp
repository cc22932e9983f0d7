// QR, Cholesky and ridge solve by their defining properties; and the examples of all of moden/linalg.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/low_rank.hpp>
#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/products.hpp>

#include "reference.hpp"

using moden::tensor;
using reference::lapack_bound;
using reference::normal_matrix;
using reference::widened;

TEST_CASE("example: thin_svd") {
    //! [thin_svd]
    const moden::tensor<double, 2> a{{3, 0}, {0, 4}, {0, 0}};

    const auto svd = moden::thin_svd(a);  // a = svd.u diag(svd.singular_values) svd.vt
    //! [thin_svd]
    CHECK(reference::shape_of(svd.u) == moden::extents{3, 2});
    CHECK(reference::shape_of(svd.vt) == moden::extents{2, 2});
    CHECK(svd.singular_values == std::vector<double>{4, 3});
    CHECK(svd.u == moden::tensor<double, 2>{{0, 1}, {1, 0}, {0, 0}});
}

TEST_CASE("example: eigh") {
    //! [eigh]
    const moden::tensor<double, 2> a{{2, 1}, {1, 2}};

    const auto eigen = moden::eigh(a, {.count = 1});  // all eigenvalues, and the vector of the largest
    //! [eigh]
    REQUIRE(eigen.values.size() == 2);
    CHECK(eigen.values[0] == doctest::Approx(3).epsilon(1e-15));
    CHECK(eigen.values[1] == doctest::Approx(1).epsilon(1e-15));
    CHECK(reference::shape_of(eigen.vectors) == moden::extents{2, 1});
    CHECK(eigen.vectors(0, 0) == doctest::Approx(std::sqrt(0.5)).epsilon(1e-15));
    CHECK(eigen.vectors(1, 0) == doctest::Approx(std::sqrt(0.5)).epsilon(1e-15));
}

TEST_CASE("example: qr") {
    //! [qr]
    const moden::tensor<double, 2> a{{3, 1}, {4, 2}, {0, 5}};

    const auto factors = moden::qr(a);  // a = factors.q factors.r, with a diagonal of r that is not negative
    //! [qr]
    CHECK(factors.r(0, 0) == doctest::Approx(5).epsilon(1e-15));
    CHECK(factors.r(1, 0) == 0);
    CHECK(factors.r(1, 1) > 0);
    CHECK(reference::distance(a, reference::multiply(widened(factors.q), widened(factors.r))) < 1e-14);
}

TEST_CASE("example: cholesky_solve") {
    //! [cholesky_solve]
    const moden::tensor<double, 2> a{{4, 2}, {2, 3}};  // symmetric and positive definite
    const moden::tensor<double, 2> b{{8}, {7}};

    const auto x = moden::cholesky_solve(a, b);  // a x = b
    //! [cholesky_solve]
    CHECK(x(0, 0) == doctest::Approx(1.25).epsilon(1e-15));
    CHECK(x(1, 0) == doctest::Approx(1.5).epsilon(1e-15));
}

TEST_CASE("example: ridge_solve") {
    //! [ridge_solve]
    const moden::tensor<double, 2> a{{1, 0}, {1, 1}, {1, 2}};  // a line through the points (0, 1), (1, 2), (2, 3)
    const moden::tensor<double, 2> b{{1}, {2}, {3}};

    const auto line = moden::ridge_solve(a, b);                    // offset and slope
    const auto flatter = moden::ridge_solve(a, b, {.ridge = 10});  // the same, pulled towards zero
    //! [ridge_solve]
    CHECK(line(0, 0) == doctest::Approx(1).epsilon(1e-14));
    CHECK(line(1, 0) == doctest::Approx(1).epsilon(1e-14));
    CHECK(moden::norm(flatter) < moden::norm(line));
}

TEST_CASE("example: randomized_range") {
    //! [randomized_range]
    const auto a = moden::mode_product(reference::normal_matrix<double>(100, 5, 1),
                                       reference::normal_matrix<double>(80, 5, 2), 1);  // 100 x 80, of rank 5

    const auto q = moden::randomized_range(a, {.rank = 5, .oversampling = 3});  // 100 x 8, q q' a = a
    //! [randomized_range]
    REQUIRE(reference::shape_of(q) == moden::extents{100, 8});
    const auto projected =
        reference::multiply(widened(q), reference::multiply(reference::transpose(widened(q)), widened(a)));
    CHECK(reference::residual_ratio(a, projected) <= lapack_bound);
}

TEST_CASE("example: randomized_svd") {
    //! [randomized_svd]
    const auto a = reference::with_spectrum(200, 100, {8, 4, 2, 1, 0.5}, 1).matrix<double>();  // 200 x 100

    const auto leading = moden::randomized_svd(a, {.rank = 3, .seed = 7});
    //! [randomized_svd]
    REQUIRE(leading.singular_values.size() == 3);
    CHECK(leading.singular_values[0] == doctest::Approx(8).epsilon(1e-14));
    CHECK(leading.singular_values[2] == doctest::Approx(2).epsilon(1e-14));
    CHECK(reference::shape_of(leading.u) == moden::extents{200, 3});
    CHECK(reference::shape_of(leading.vt) == moden::extents{3, 100});
}

TEST_CASE("example: block_krylov_svd") {
    //! [block_krylov_svd]
    const auto a = reference::normal_matrix<double>(200, 100, 1);  // a spectrum that decays slowly

    const auto leading = moden::block_krylov_svd(a, {.rank = 2, .tolerance = 1e-10, .max_iterations = 30});
    const bool good = leading.status == moden::iteration_status::converged;  // all leading.residuals are small
    //! [block_krylov_svd]
    CHECK(good);
    CHECK(leading.residuals.size() == 2);
    CHECK(leading.residuals[1] <= 1e-10 * leading.singular_values[0]);
}

// ---- QR -------------------------------------------------------------------------------------------------------------

namespace {

template <class Matrix>
void check_qr(const Matrix& a) {
    const auto [q, r] = moden::qr(a);
    CHECK(reference::residual_ratio(a, reference::multiply(widened(q), widened(r))) <= lapack_bound);
    CHECK(reference::orthogonality_ratio(q) <= lapack_bound);
    bool upper = true;
    bool positive = true;
    for (std::size_t i = 0; i < r.shape()[0]; ++i) {
        positive = positive && r(i, i) >= 0;
        for (std::size_t j = 0; j < i; ++j) {
            upper = upper && r(i, j) == 0;
        }
    }
    CHECK(upper);
    CHECK(positive);
}

}  // namespace

TEST_CASE_TEMPLATE("qr of matrices of all shapes and ranks", T, float, double) {
    using shape = std::pair<std::size_t, std::size_t>;
    for (const auto& one : {shape{1, 1}, {7, 1}, {5, 5}, {9, 4}, {300, 40}, {130, 129}}) {
        const auto rows = one.first;
        const auto columns = one.second;
        CAPTURE(rows);
        CAPTURE(columns);
        check_qr(normal_matrix<T>(rows, columns, 1));
    }
    check_qr(reference::with_spectrum(30, 10, {3, 2, 1}, 1).matrix<T>());                         // rank 3 of 10
    check_qr(reference::with_spectrum(30, 10, reference::geometric(1, 0.1, 10), 1).matrix<T>());  // ill-conditioned
    check_qr(tensor<T, 2>(xt::zeros<T>({6, 3})));
}

TEST_CASE_TEMPLATE("qr is unique for full rank", T, float, double) {
    const std::size_t rows = 40;
    const std::size_t n = 12;
    const auto q = reference::orthonormal_columns(rows, n, 1);
    reference::wide_matrix r = widened(normal_matrix<double>(n, n, 2));
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            r(i, j) = 0;
        }
        r(i, i) = 5 + std::abs(r(i, i));  // diagonally dominant, so that the condition number is moderate
    }
    const auto a = reference::narrowed<T>(reference::multiply(q, r));
    const auto found = moden::qr(a);
    // Sensitivity of the factors: about cond(R) eps (Stewart 1977); the diagonal of at least 5 keeps cond(R) below 20.
    CHECK(reference::distance(q, widened(found.q)) <= 20 * lapack_bound * reference::epsilon<T>);
    CHECK(reference::distance(r, widened(found.r)) <=
          20 * lapack_bound * reference::epsilon<T> * reference::frobenius(r));
}

// ---- Cholesky and ridge ---------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("cholesky_solve leaves a small residual", T, float, double) {
    for (const std::size_t n : reference::sizes{1, 2, 17, 150}) {
        CAPTURE(n);
        const auto v = reference::orthonormal_columns(n, n, 1);
        const auto a = reference::narrowed<T>(reference::known_svd{
            v, reference::geometric(3, n > 1 ? std::pow(1e-3, 1.0 / static_cast<double>(n - 1)) : 1, n), v}
                                                  .exact());
        const auto b = normal_matrix<T>(n, 5, 2);
        const auto x = moden::cholesky_solve(a, b);
        const double residual = reference::distance(reference::multiply(widened(a), widened(x)), widened(b));
        const double scale =
            reference::frobenius(widened(a)) * reference::frobenius(widened(x)) * static_cast<double>(n);
        CHECK(residual <= lapack_bound * reference::epsilon<T> * scale);
    }
}

TEST_CASE_TEMPLATE("cholesky_solve refuses what is not positive definite", T, float, double) {
    const tensor<T, 2> b = xt::ones<T>({2, 1});
    CHECK_THROWS_WITH_AS(moden::cholesky_solve(tensor<T, 2>{{1, 2}, {2, 1}}, b),
                         doctest::Contains("cholesky_solve: the 2 x 2 matrix is not positive definite"),
                         moden::solver_error);
    CHECK_THROWS_AS(moden::cholesky_solve(tensor<T, 2>{{1, 1}, {1, 1}}, b), moden::solver_error);
    CHECK_THROWS_AS(moden::cholesky_solve(tensor<T, 2>{{0, 0}, {0, 0}}, b), moden::solver_error);
    CHECK_THROWS_AS(moden::cholesky_solve(tensor<T, 2>{{-1, 0}, {0, -1}}, b), moden::solver_error);
}

TEST_CASE_TEMPLATE("ridge_solve is the least-squares solution of the augmented system", T, float, double) {
    const std::size_t rows = 60;
    const std::size_t n = 12;
    const std::vector<double> spectrum = reference::geometric(4, 0.7, n);
    const auto a = reference::with_spectrum(rows, n, spectrum, 1).matrix<T>();
    const auto b = normal_matrix<T>(rows, 3, 2);
    for (const double ridge : {0.0, 1e-3, 0.5, 100.0}) {
        CAPTURE(ridge);
        // |A X - B|^2 + ridge |X|^2 = |[A; sqrt(ridge) I] X - [B; 0]|^2.
        reference::wide_matrix augmented = xt::zeros<reference::wide>({rows + n, n});
        reference::wide_matrix right = xt::zeros<reference::wide>({rows + n, std::size_t{3}});
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < n; ++j) {
                augmented(i, j) = a(i, j);
            }
            for (std::size_t j = 0; j < 3; ++j) {
                right(i, j) = b(i, j);
            }
        }
        for (std::size_t j = 0; j < n; ++j) {
            augmented(rows + j, j) = std::sqrt(static_cast<reference::wide>(ridge));
        }
        const auto expected = reference::least_squares(augmented, right);
        const auto x = moden::ridge_solve(a, b, {.ridge = ridge});
        // Normal equations: an error of about the squared condition number times eps, relative to |A'B| / (s_n^2 +
        // ridge).
        const double smallest = spectrum.back() * spectrum.back() + ridge;
        const double condition = (spectrum[0] * spectrum[0] + ridge) / smallest;
        const double size = std::max(reference::frobenius(expected),
                                     spectrum[0] * reference::frobenius(widened(b)) / smallest / condition);
        CHECK(reference::distance(expected, widened(x)) <= lapack_bound * condition * reference::epsilon<T> * size);
    }
}

TEST_CASE_TEMPLATE("ridge_solve without ridge takes a short solution where the rank is deficient", T, float, double) {
    const std::size_t n = 6;
    const std::vector<double> spectrum{3, 2, 1};
    const auto known = reference::with_spectrum(20, n, spectrum, 1);
    const auto a = known.matrix<T>();
    const auto b = normal_matrix<T>(20, 1, 2);
    // The shortest least-squares solution, V S^+ U' B, and its fit U U' B.
    const auto coefficients = reference::multiply(reference::transpose(known.u), widened(b));
    reference::wide_matrix shortest = xt::zeros<reference::wide>({n, std::size_t{1}});
    for (std::size_t r = 0; r < 3; ++r) {
        for (std::size_t i = 0; i < n; ++i) {
            shortest(i, 0) += known.v(i, r) * coefficients(r, 0) / spectrum[r];
        }
    }
    const auto x = moden::ridge_solve(a, b);
    const double size_of_b = reference::frobenius(widened(b));
    // The shift is at most ten times what makes Cholesky succeed, n eps |A'A|; it moves the fit by shift / s_3^2.
    const double shift = 10 * static_cast<double>(n) * reference::epsilon<T> * spectrum[0] * spectrum[0];
    CHECK(reference::distance(reference::multiply(widened(a), widened(x)), reference::multiply(widened(a), shortest)) <=
          2 * shift * size_of_b);
    CHECK(reference::frobenius(widened(x)) <= reference::frobenius(shortest) + size_of_b / spectrum[0]);
}

TEST_CASE_TEMPLATE("all right-hand sides and matrices of zeros", T, float, double) {
    const tensor<T, 2> zero = xt::zeros<T>({4, 3});
    const auto x = moden::ridge_solve(zero, tensor<T, 2>(xt::ones<T>({4, 2})));
    CHECK(reference::frobenius(widened(x)) == 0);
    const auto y = moden::ridge_solve(normal_matrix<T>(4, 3, 1), tensor<T, 2>(xt::zeros<T>({4, 2})));
    CHECK(reference::frobenius(widened(y)) == 0);
}

// ---- bad input ------------------------------------------------------------------------------------------------------

TEST_CASE("bad arguments are named") {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const tensor<double, 2> tall = xt::ones<double>({3, 2});
    const tensor<double, 2> wide = xt::ones<double>({2, 3});
    const tensor<double, 2> square = xt::eye<double>(2);
    const tensor<double, 2> empty = xt::ones<double>({0, 3});
    const tensor<double, 2> bad{{1, nan}, {infinity, 1}};
    const tensor<double, 3> order_three = xt::ones<double>({2, 2, 2});

    CHECK_THROWS_WITH_AS(moden::thin_svd(order_three),
                         doctest::Contains("thin_svd: the argument has order 3 (expected a matrix)"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::thin_svd(empty), doctest::Contains("thin_svd: the matrix of 0 x 3 is empty"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::thin_svd(bad),
                         doctest::Contains("thin_svd: the matrix holds 2 values that are NaN or infinite"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::eigh(order_three), doctest::Contains("eigh: the argument has order 3"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::eigh(tall), doctest::Contains("eigh: a matrix of 3 x 2 (expected a square one)"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::eigh(empty), doctest::Contains("eigh: the matrix of 0 x 3 is empty"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::eigh(bad), doctest::Contains("eigh: the matrix holds 2 values"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::qr(wide), doctest::Contains("qr: a matrix of 2 x 3 (expected rows >= columns)"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::qr(empty), doctest::Contains("qr: the matrix of 0 x 3 is empty"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::qr(bad), doctest::Contains("qr: the matrix holds 2 values"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::cholesky_solve(tall, tall),
                         doctest::Contains("cholesky_solve: matrices of 3 x 2 and 3 x 2"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::cholesky_solve(square, tall),
                         doctest::Contains("cholesky_solve: matrices of 2 x 2 and 3 x 2"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::cholesky_solve(bad, square),
                         doctest::Contains("cholesky_solve: the matrix holds 2 values"), moden::argument_error);
    CHECK_THROWS_AS(moden::cholesky_solve(square, bad), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::ridge_solve(tall, wide),
                         doctest::Contains("ridge_solve: matrices of 3 x 2 and 2 x 3 (expected equal"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::ridge_solve(square, square, {.ridge = -0.5}),
                         doctest::Contains("ridge_solve: ridge -0.5"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::ridge_solve(square, square, {.ridge = nan}), doctest::Contains("ridge_solve: ridge"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::ridge_solve(square, square, {.ridge = infinity}),
                         doctest::Contains("ridge_solve: ridge inf"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::ridge_solve(bad, square), doctest::Contains("ridge_solve: the matrix holds 2 values"),
                         moden::argument_error);

    const std::size_t too_many = 3;
    for (const std::size_t rank : {std::size_t{0}, too_many}) {
        CHECK_THROWS_WITH_AS(moden::randomized_range(wide, {.rank = rank}),
                             doctest::Contains("of a matrix of 2 x 3 (expected 1 to 2)"), moden::argument_error);
        CHECK_THROWS_WITH_AS(moden::randomized_svd(wide, {.rank = rank}), doctest::Contains("randomized_svd: rank "),
                             moden::argument_error);
        CHECK_THROWS_WITH_AS(moden::block_krylov_svd(wide, {.rank = rank}),
                             doctest::Contains("block_krylov_svd: rank "), moden::argument_error);
    }
    CHECK_THROWS_WITH_AS(moden::randomized_range(wide, {}), doctest::Contains("randomized_range: rank 0"),
                         moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::randomized_svd(bad, {.rank = 1}),
                         doctest::Contains("randomized_svd: the matrix holds 2 values"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::randomized_range(bad, {.rank = 1}),
                         doctest::Contains("randomized_range: the matrix holds"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::randomized_svd(order_three, {.rank = 1}),
                         doctest::Contains("randomized_svd: the argument has order 3"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::block_krylov_svd(empty, {.rank = 1}),
                         doctest::Contains("block_krylov_svd: the matrix of 0 x 3 is empty"), moden::shape_error);
    CHECK_THROWS_WITH_AS(moden::block_krylov_svd(bad, {.rank = 1}),
                         doctest::Contains("block_krylov_svd: the matrix holds"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::block_krylov_svd(wide, {.rank = 1, .tolerance = -1}),
                         doctest::Contains("block_krylov_svd: tolerance -1"), moden::argument_error);
    CHECK_THROWS_WITH_AS(moden::block_krylov_svd(wide, {.rank = 1, .max_iterations = 0}),
                         doctest::Contains("block_krylov_svd: max_iterations 0"), moden::argument_error);
}
