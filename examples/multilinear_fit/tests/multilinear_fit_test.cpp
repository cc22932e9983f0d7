// The program multilinear_fit: what it finds in faces and in data, what it writes, what it refuses.

#include <doctest/doctest.h>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;

outcome multilinear_fit(const std::vector<std::string>& arguments) { return examples::run(MULTILINEAR_FIT_PROGRAM, arguments); }

/// The three accuracies of a line of the table, in percent.
std::vector<double> accuracies(const std::string& out, const std::string& part, const std::string& factor) {
    const std::size_t at = out.find(factor, out.find(part));
    std::vector<double> result(3, -1);
    if (at != std::string::npos) {
        std::sscanf(out.c_str() + at + factor.size(), "%lf %% %lf %% %lf", &result[0], &result[1], &result[2]);
    }
    return result;
}

}  // namespace

TEST_CASE("light, expression and identity of pictures without labels") {
    const scratch_folder folder;
    const outcome done = multilinear_fit({"--images", "600", "--persons", "30", "--size", "24", "--ranks", "5,7,14", "--out", (folder / "a").string()});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(folder / "a") == std::vector<std::string>{"expression.npy", "identity.npy", "light.npy", "objective.npy", "shape_core.npy", "texture_core.npy",
                                                             "transfer_expression.png", "transfer_identity.png", "transfer_light.png"});
    const auto light = moden::io::load_npy<float, 2>(folder / "a/light.npy"), identity = moden::io::load_npy<float, 2>(folder / "a/identity.npy");
    CHECK(light.shape()[0] == 5);
    CHECK(light.shape()[1] == 600);
    CHECK(identity.shape()[0] == 14);
    const auto core = moden::io::load_npy<float, 4>(folder / "a/texture_core.npy");
    CHECK(core.shape()[0] == 3 * 24 * 24);
    CHECK(core.shape()[2] == 7);
    CHECK(moden::io::load_npy<float, 3>(folder / "a/shape_core.npy").shape()[0] == 204);
    CHECK(moden::io::read_png(folder / "a/transfer_light.png").shape()[1] > 500);
    // Every factor tells its own truth far better than chance (12.5, 14.3 and 3.3 percent) and better than the others' truths.
    INFO(done.out);
    const auto of_light = accuracies(done.out, "  fit ", "light"), of_expression = accuracies(done.out, "  fit ", "expression"),
               of_identity = accuracies(done.out, "  fit ", "identity");
    CHECK(of_light[0] > 30);
    CHECK(of_expression[1] > 70);
    CHECK(of_expression[1] > of_expression[2] + 30);  // of 30 people only; with more the other number falls
    CHECK(of_identity[2] > 80);
    CHECK(of_identity[2] > of_identity[1] + 30);
}

TEST_CASE("one's own data") {
    const scratch_folder folder;
    // Of rank 3: one factor of 3 rows explains them.
    const auto left = moden::random_multilinear_factors<double>(moden::cpu_policy{}, {20, 3}, 3, 1);
    const auto right = moden::random_multilinear_factors<double>(moden::cpu_policy{}, {3}, 50, 2);
    const moden::tensor<double, 2> data = moden::mode_product(right[0], left[0], 0);
    moden::io::save_npy(folder / "x.npy", data);
    const std::string x = (folder / "x.npy").string();
    for (const std::string method : {"", "--gradient"}) {
        std::vector<std::string> arguments{"--data", x, "--ranks", "3", "--double", "--out", (folder / "a").string()};
        if (!method.empty()) {
            arguments.push_back(method);
        }
        const outcome done = multilinear_fit(arguments);
        REQUIRE_MESSAGE(done.exit_code == 0, done.err);
        CHECK(names_in(folder / "a") == std::vector<std::string>{"core.npy", "factor_0.npy", "objective.npy"});
        const auto core = moden::io::load_npy<double, 2>(folder / "a/core.npy"), factor = moden::io::load_npy<double, 2>(folder / "a/factor_0.npy");
        const moden::tensor<double, 2> made = moden::mode_product(factor, core, 0);
        CHECK(moden::norm(moden::tensor<double, 2>(made - data)) < 1e-3 * moden::norm(data));
    }
    const outcome two = multilinear_fit({"--data", x, "--ranks", "2,3", "--iterations", "20", "--double", "--out", (folder / "a").string()});
    REQUIRE_MESSAGE(two.exit_code == 0, two.err);
    CHECK(names_in(folder / "a") == std::vector<std::string>{"core.npy", "factor_0.npy", "factor_1.npy", "objective.npy"});
    const auto history = moden::io::load_npy<double, 1>(folder / "a/objective.npy");
    CHECK(history(history.size() - 1) <= history(0));
}

TEST_CASE("what the program refuses") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string();
    auto data = moden::tensor<double, 2>::from_shape({4, 6});
    data.fill(1);
    data(1, 2) = std::numeric_limits<double>::quiet_NaN();
    moden::io::save_npy(folder / "nan.npy", data);
    moden::io::save_npy(folder / "flat.npy", moden::tensor<double, 1>::from_shape({4}));
    data(1, 2) = 0;
    moden::io::save_npy(folder / "core.npy", data);
    const auto refused = [&](std::vector<std::string> arguments, const std::string& what) {
        check_refused(multilinear_fit(arguments), "multilinear_fit", what);
        CHECK_FALSE(std::filesystem::exists(out));
    };
    refused({"--out", out, "--data", (folder / "none.npy").string(), "--ranks", "2"}, "none.npy");
    refused({"--out", out, "--data", (folder / "nan.npy").string(), "--ranks", "2"}, "NaN");
    refused({"--out", out, "--data", (folder / "flat.npy").string(), "--ranks", "2"}, "expected k x n");
    refused({"--out", out, "--data", (folder / "nan.npy").string()}, "--ranks is needed");
    refused({"--out", out, "--data", (folder / "nan.npy").string(), "--images", "100"}, "--images");
    refused({"--out", out, "--double"}, "--double");
    refused({"--out", out, "--ranks", "0"}, "--ranks");
    refused({"--out", out, "--ranks", "2,3"}, "three: light, expression, identity");
    refused({"--out", out, "--ranks", "11,7,20"}, "expected 2 to 10 for light");
    refused({"--out", out, "--images", "200"}, "fits anything");
    refused({"--out", out, "--images", "100", "--persons", "80"}, "at least two of each");
    refused({"--out", out, "--ridge", "-1"}, "--ridge");
    refused({}, "--out");
    check_refused(multilinear_fit({"--out", folder.path().string(), "--data", (folder / "core.npy").string(), "--ranks", "2"}), "multilinear_fit", "would be replaced");
}
