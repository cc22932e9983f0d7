// The program regress: what it finds, what it writes, what it refuses.

#include <doctest/doctest.h>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;

outcome regress(const std::vector<std::string>& arguments) { return examples::run(REGRESS_PROGRAM, arguments); }

/// y = X b + c, with b(i, k) = i - k and c(k) = 5 + k.
struct problem {
    moden::tensor<double, 2> x, y;

    problem(std::size_t samples, std::size_t columns, std::size_t targets, double constant)
        : x(moden::tensor<double, 2>::from_shape({samples, columns})), y(moden::tensor<double, 2>::from_shape({samples, targets})) {
        moden::fill_normal(moden::cpu_policy{}, x.data(), x.size(), 3);
        for (std::size_t n = 0; n < samples; ++n) {
            for (std::size_t k = 0; k < targets; ++k) {
                y(n, k) = constant == 0 ? 0 : constant + static_cast<double>(k);
                for (std::size_t i = 0; i < columns; ++i) {
                    y(n, k) += x(n, i) * coefficient(i, k);
                }
            }
        }
    }

    static double coefficient(std::size_t i, std::size_t k) { return static_cast<double>(i) - static_cast<double>(k); }
};

template <class T>
double largest_error(const moden::tensor<T, 2>& coefficients) {
    double worst = 0;
    for (std::size_t i = 0; i < coefficients.shape()[0]; ++i) {
        for (std::size_t k = 0; k < coefficients.shape()[1]; ++k) {
            worst = std::max(worst, std::abs(static_cast<double>(coefficients(i, k)) - problem::coefficient(i, k)));
        }
    }
    return worst;
}

}  // namespace

TEST_CASE("coefficients, residuals and a picture") {
    const scratch_folder folder;
    const problem p(500, 6, 2, 5);
    moden::io::save_npy(folder / "x.npy", p.x);
    moden::io::save_npy(folder / "y.npy", p.y);
    const std::string x = (folder / "x.npy").string(), y = (folder / "y.npy").string();
    const outcome done = regress({"--x", x, "--y", y, "--intercept", "--double", "--out", (folder / "a").string()});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(folder / "a") == std::vector<std::string>{"coefficients.npy", "fit.png", "intercept.npy", "residuals.npy"});
    CHECK(largest_error(moden::io::load_npy<double, 2>(folder / "a/coefficients.npy")) < 1e-12);
    CHECK(moden::io::load_npy<double, 2>(folder / "a/intercept.npy")(0, 1) == doctest::Approx(6).epsilon(1e-12));
    const auto residuals = moden::io::load_npy<double, 2>(folder / "a/residuals.npy");
    CHECK(residuals.shape()[0] == 500);
    CHECK(moden::norm(residuals) < 1e-10);
    CHECK(moden::io::read_png(folder / "a/fit.png").shape()[1] == 720);
    CHECK(done.out.find("500 of 6 columns, 2 targets, in double") != std::string::npos);
    CHECK(done.out.find("1.000000") != std::string::npos);

    const outcome pairs = regress({"--x", x, "--y", y, "--differences", "--pairs", "300", "--out", (folder / "b").string()});
    REQUIRE_MESSAGE(pairs.exit_code == 0, pairs.err);
    CHECK(largest_error(moden::io::load_npy<float, 2>(folder / "b/coefficients.npy")) < 1e-4);
    CHECK(moden::io::load_npy<float, 2>(folder / "b/intercept.npy")(0, 0) == doctest::Approx(5).epsilon(1e-4));

    // Without a constant term the constant is in the residuals; an earlier run's intercept does not stay behind.
    const outcome bare = regress({"--x", x, "--y", y, "--out", (folder / "a").string()});
    REQUIRE_MESSAGE(bare.exit_code == 0, bare.err);
    CHECK(names_in(folder / "a") == std::vector<std::string>{"coefficients.npy", "fit.png", "residuals.npy"});
    CHECK(moden::norm(moden::io::load_npy<float, 2>(folder / "a/residuals.npy")) > 100);
    const outcome held = regress({"--x", x, "--y", y, "--ridge", "1e6", "--out", (folder / "c").string()});
    REQUIRE_MESSAGE(held.exit_code == 0, held.err);
    CHECK(moden::norm(moden::io::load_npy<float, 2>(folder / "c/coefficients.npy")) < 0.1);
}

TEST_CASE("targets of one axis, and columns that need QR") {
    const scratch_folder folder;
    auto x = moden::tensor<double, 2>::from_shape({60, 5});
    auto y = moden::tensor<double, 1>::from_shape({60});
    for (std::size_t n = 0; n < 60; ++n) {
        const double t = 10 + static_cast<double>(n) / 60;  // powers far from the origin: nearly dependent
        for (std::size_t i = 0; i < 5; ++i) {
            x(n, i) = std::pow(t, static_cast<double>(i + 1));
        }
        y(n) = x(n, 0) - x(n, 3);
    }
    moden::io::save_npy(folder / "x.npy", x);
    moden::io::save_npy(folder / "y.npy", y);
    const outcome done = regress({"--x", (folder / "x.npy").string(), "--y", (folder / "y.npy").string(), "--double", "--out", (folder / "out").string()});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(done.out.find("by QR") != std::string::npos);
    const auto found = moden::io::load_npy<double, 2>(folder / "out/coefficients.npy");
    CHECK(found(0, 0) == doctest::Approx(1).epsilon(1e-3));
    CHECK(found(3, 0) == doctest::Approx(-1).epsilon(1e-3));
}

TEST_CASE("refused") {
    const scratch_folder folder;
    const problem p(20, 3, 1, 0);
    moden::io::save_npy(folder / "x.npy", p.x);
    moden::io::save_npy(folder / "y.npy", p.y);
    const std::string x = (folder / "x.npy").string(), y = (folder / "y.npy").string(), out = (folder / "out").string();
    check_refused(regress({}), "regress", "--x");
    check_refused(regress({"--x", x, "--y", (folder / "none.npy").string(), "--out", out}), "regress", "none.npy");
    check_refused(regress({"--x", x, "--y", y, "--ridge", "-1", "--out", out}), "regress", "--ridge");
    check_refused(regress({"--x", x, "--y", y, "--pairs", "5", "--out", out}), "regress", "--differences");
    check_refused(regress({"--x", x, "--y", y, "--intercept", "--differences", "--out", out}), "regress", "--intercept");
    const problem longer(21, 3, 1, 0);
    moden::io::save_npy(folder / "longer.npy", longer.y);
    check_refused(regress({"--x", x, "--y", (folder / "longer.npy").string(), "--out", out}), "regress", "21 rows (expected 20");
    const problem wide(3, 5, 1, 0);
    moden::io::save_npy(folder / "wide_x.npy", wide.x);
    moden::io::save_npy(folder / "wide_y.npy", wide.y);
    check_refused(regress({"--x", (folder / "wide_x.npy").string(), "--y", (folder / "wide_y.npy").string(), "--out", out}), "regress", "ridge");
    auto bad = p.x;
    bad(4, 1) = std::numeric_limits<double>::quiet_NaN();
    moden::io::save_npy(folder / "bad.npy", bad);
    check_refused(regress({"--x", (folder / "bad.npy").string(), "--y", y, "--out", out}), "regress", "NaN");
    for (std::size_t n = 0; n < 20; ++n) {
        bad(n, 1) = 2 * bad(n, 0);
    }
    moden::io::save_npy(folder / "dependent.npy", bad);
    check_refused(regress({"--x", (folder / "dependent.npy").string(), "--y", y, "--out", out}), "regress", "column");
    CHECK_FALSE(std::filesystem::exists(out));
}
