// The program tucker: what it writes, what it prints, what it refuses.

#include <doctest/doctest.h>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;

outcome tucker(const std::vector<std::string>& arguments, const std::string& before = {}) {
    return examples::run(TUCKER_PROGRAM, arguments, before);
}

/// A tensor of the given ranks plus noise.
moden::dynamic_tensor<double> make_tensor(const moden::extents& shape, const moden::extents& ranks, double noise) {
    const moden::cpu_policy cpu;
    moden::tucker_tensor<moden::dynamic_tensor<double>> model;
    model.core = moden::dynamic_tensor<double>::from_shape(ranks);
    moden::fill_normal(cpu, model.core.data(), model.core.size(), 1, 0);
    for (std::size_t n = 0; n < shape.size(); ++n) {
        auto factor = moden::tensor<double, 2>::from_shape({shape[n], ranks[n]});
        moden::fill_normal(cpu, factor.data(), factor.size(), 1, n + 1);
        model.factors.push_back(factor);
    }
    auto result = moden::reconstruct(model);
    auto disturbance = moden::dynamic_tensor<double>::from_shape(shape);
    moden::fill_normal(cpu, disturbance.data(), disturbance.size(), 1, 100);
    const double scale = moden::norm(result) / std::sqrt(static_cast<double>(result.size()));
    result += noise * scale * disturbance;
    return result;
}

/// The number that follows a word at the start of a line.
double printed(const std::string& text, const std::string& word) {
    const std::size_t at = text.find("\n" + word);
    REQUIRE_MESSAGE(at != std::string::npos, text);
    return std::stod(text.substr(at + 1 + word.size()));
}

/// Core and factors as the program has written them.
template <class T>
moden::tucker_tensor<moden::dynamic_tensor<T>> load_result(const std::filesystem::path& folder) {
    moden::tucker_tensor<moden::dynamic_tensor<T>> result;
    result.core = moden::io::load_npy<T>(folder / "core.npy");
    for (std::size_t n = 0; n < result.core.dimension(); ++n) {
        result.factors.push_back(moden::io::load_npy<T, 2>(folder / ("factor_" + std::to_string(n) + ".npy")));
    }
    return result;
}

struct fixture {
    scratch_folder folder;
    moden::extents shape{12, 9, 7};
    moden::dynamic_tensor<double> exact = make_tensor(shape, {3, 4, 2}, 0);
    moden::dynamic_tensor<double> noisy = make_tensor(shape, {3, 4, 2}, 0.05);
    std::string input = (folder / "T.npy").string();
    std::string out = (folder / "out").string();

    fixture() { moden::io::save_npy(input, noisy); }

    /// Checks what was written against what was printed, and returns the printed relative error.
    template <class T>
    double check_result(const outcome& result, const moden::extents& ranks) {
        CHECK(result.exit_code == 0);
        CHECK(result.err == "");
        const auto written = load_result<T>(out);
        CHECK(moden::io::npy_file(out + "/core.npy").type() == moden::io::element_type_of<T>());
        for (std::size_t n = 0; n < shape.size(); ++n) {
            const auto& factor = written.factors[n];
            CHECK(factor.shape()[0] == shape[n]);
            CHECK(factor.shape()[1] == written.core.shape()[n]);
            if (!ranks.empty()) {
                CHECK(factor.shape()[1] == ranks[n]);
            }
            for (std::size_t i = 0; i < factor.shape()[1]; ++i) {
                for (std::size_t j = 0; j <= i; ++j) {
                    double product = 0;
                    for (std::size_t k = 0; k < factor.shape()[0]; ++k) {
                        product += static_cast<double>(factor(k, i)) * static_cast<double>(factor(k, j));
                    }
                    CHECK(product == doctest::Approx(i == j ? 1.0 : 0.0).epsilon(1e-4));
                }
            }
            const auto values = moden::io::load_npy<T, 1>(out + "/singular_values_" + std::to_string(n) + ".npy");
            CHECK(values.size() >= factor.shape()[1]);
            CHECK(values.size() <= shape[n]);
            for (std::size_t i = 1; i < values.size(); ++i) {
                CHECK(values(i) <= values(i - 1));
            }
        }
        CHECK(moden::io::read_png(out + "/spectrum.png").shape()[2] == 3);
        const double error = printed(result.out, "relative error");
        const moden::dynamic_tensor<T> typed = noisy;
        CHECK(error == doctest::Approx(moden::relative_error(typed, written)).epsilon(1e-3));
        CHECK(printed(result.out, "fit") == doctest::Approx(1 - error).epsilon(1e-4));
        return error;
    }
};

}  // namespace

TEST_CASE_FIXTURE(fixture, "every method with every way of computing singular vectors") {
    for (const std::string method : {"st_hosvd", "hosvd", "hooi"}) {
        for (const std::string svd : {"automatic", "gram", "qr", "randomized"}) {
            CAPTURE(method);
            CAPTURE(svd);
            const auto result =
                tucker({"--input", input, "--ranks", "3,4,2", "--method", method, "--svd", svd, "--out", out});
            const double error = check_result<double>(result, {3, 4, 2});
            CHECK(error > 0.03);  // the noise
            CHECK(error < 0.06);
            CHECK(result.out.find("shape           12 x 9 x 7 (float64)") == 0);
            CHECK(result.out.find("\nranks           3 x 4 x 2\n") != std::string::npos);
            if (svd != "automatic") {
                CHECK(result.out.find(svd) != std::string::npos);
            }
        }
    }
}

TEST_CASE_FIXTURE(fixture, "the scalar type follows the file, the storage order does not matter") {
    const auto reference = tucker({"--input", input, "--ranks", "3,4,2", "--out", out});
    const double error = check_result<double>(reference, {3, 4, 2});
    const auto core = moden::io::load_npy<double>(out + "/core.npy");

    moden::io::save_npy(input, noisy, {.order = moden::io::array_order::fortran});
    CHECK(check_result<double>(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}), {3, 4, 2}) == error);
    CHECK(moden::io::load_npy<double>(out + "/core.npy") == core);

    moden::io::save_npy(input, moden::dynamic_tensor<float>(noisy));
    CHECK(check_result<float>(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}), {3, 4, 2}) ==
          doctest::Approx(error).epsilon(1e-3));
    CHECK(check_result<double>(tucker({"--input", input, "--ranks", "3,4,2", "--double", "--out", out}), {3, 4, 2}) ==
          doctest::Approx(error).epsilon(1e-3));

    auto whole = moden::dynamic_tensor<std::int16_t>::from_shape(shape);
    for (std::size_t i = 0; i < whole.size(); ++i) {
        whole.data()[i] = static_cast<std::int16_t>(std::lround(100 * noisy.data()[i]));
        noisy.data()[i] = whole.data()[i];
    }
    moden::io::save_npy(input, whole);
    check_result<float>(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}), {3, 4, 2});
    moden::io::save_npy(input, moden::dynamic_tensor<std::int64_t>(whole));
    check_result<double>(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}), {3, 4, 2});
}

TEST_CASE_FIXTURE(fixture, "truncation by error and by energy") {
    for (const std::string method : {"st_hosvd", "hosvd"}) {
        const double error = check_result<double>(
            tucker({"--input", input, "--tolerance", "0.3", "--method", method, "--out", out}), {});
        CHECK(error <= 0.3);
        CHECK(error > 0.03);
        CHECK(moden::io::load_npy<double>(out + "/core.npy").size() <= 24);
        check_result<double>(tucker({"--input", input, "--energy", "0.99", "--method", method, "--out", out}), {});
        CHECK(check_result<double>(tucker({"--input", input, "--method", method, "--out", out}), {}) < 1e-12);
    }
}

TEST_CASE_FIXTURE(fixture, "missing entries are completed") {
    auto mask = moden::dynamic_tensor<bool>::from_shape(shape);
    auto damaged = exact;
    for (std::size_t i = 0; i < mask.size(); ++i) {
        mask.data()[i] = moden::philox(3, 0, i).word[0] % 10 < 7;
        if (!mask.data()[i]) {
            damaged.data()[i] = std::numeric_limits<double>::quiet_NaN();
        }
    }
    moden::io::save_npy(input, damaged);
    const std::string mask_file = (folder / "mask.npy").string();
    moden::io::save_npy(mask_file, mask);
    const auto result = tucker({"--input", input, "--mask", mask_file, "--ranks", "3,4,2", "--out", out});
    CHECK(result.err == "");
    REQUIRE(result.exit_code == 0);
    CHECK(printed(result.out, "relative error") < 1e-4);
    const auto completed = moden::io::load_npy<double>(out + "/completed.npy");
    double missing = 0;
    for (std::size_t i = 0; i < mask.size(); ++i) {
        if (mask.data()[i]) {
            CHECK(completed.data()[i] == exact.data()[i]);
        } else {
            missing = std::max(missing, std::abs(completed.data()[i] - exact.data()[i]));
        }
    }
    CHECK(missing < 1e-3 * moden::norm(exact));
    CHECK(moden::relative_error(exact, load_result<double>(out)) < 1e-3);

    // Without the mask NaN is refused, and the earlier results stay.
    const auto before = names_in(out);
    check_refused(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}), "tucker", "NaN");
    CHECK(names_in(out) == before);
    moden::io::save_npy(input, exact);

    // An earlier run's completed.npy does not stay beside results that it does not belong to; other files do.
    std::ofstream(out + "/notes.txt") << "mine";
    CHECK(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}).exit_code == 0);
    CHECK(names_in(out) == std::vector<std::string>{"core.npy", "factor_0.npy", "factor_1.npy", "factor_2.npy",
                                                    "notes.txt", "singular_values_0.npy", "singular_values_1.npy",
                                                    "singular_values_2.npy", "spectrum.png"});
}

TEST_CASE("vectors, extents of one and eight modes") {
    const scratch_folder folder;
    const std::string input = (folder / "T.npy").string();
    for (const moden::extents& shape :
         {moden::extents{5}, moden::extents{1}, moden::extents{4, 1, 3}, moden::extents{2, 3, 2, 2, 1, 2, 3, 2}}) {
        CAPTURE(shape.size());
        moden::io::save_npy(input, make_tensor(shape, moden::extents(shape.size(), 1), 0.01));
        const auto result = tucker({"--input", input, "--out", (folder / "out").string()});
        CHECK(result.err == "");
        CHECK(result.exit_code == 0);
        CHECK(moden::relative_error(moden::io::load_npy<double>(input), load_result<double>(folder / "out")) < 1e-12);
    }
    moden::io::save_npy(input, moden::dynamic_tensor<double>(moden::extents{4, 3}, 0.0));
    CHECK(tucker({"--input", input, "--ranks", "2,2", "--out", (folder / "out").string()}).exit_code == 0);
}

TEST_CASE_FIXTURE(fixture, "what is refused, and that nothing is written") {
    struct refusal {
        std::vector<std::string> arguments;
        std::string words;
    };
    const std::string mask = (folder / "mask.npy").string();
    moden::io::save_npy(mask, moden::dynamic_tensor<double>(moden::extents{12, 9, 6}, 1.0));
    const std::string empty_mask = (folder / "empty_mask.npy").string();
    moden::io::save_npy(empty_mask, moden::dynamic_tensor<double>(shape, 0.0));
    const std::string text = (folder / "text.npy").string();
    std::ofstream(text) << "not an array";
    const std::string scalar = (folder / "scalar.npy").string();
    moden::io::save_npy(scalar, moden::dynamic_tensor<double>(moden::extents{}, 1.0));
    const std::string nothing = (folder / "nothing.npy").string();
    moden::io::save_npy(nothing, moden::dynamic_tensor<double>(moden::extents{0, 3}));
    const std::string infinite = (folder / "infinite.npy").string();
    auto with_infinity = noisy;
    with_infinity.data()[5] = std::numeric_limits<double>::infinity();
    moden::io::save_npy(infinite, with_infinity);

    const std::vector<refusal> refusals{
        {{}, "--input"},
        {{"--input", input}, "--out"},
        {{"--input", input, "--out", out, "--frobnicate"}, "frobnicate"},
        {{"--input", input, "--out", out, "--ranks", "3,4"}, "2 ranks"},
        {{"--input", input, "--out", out, "--ranks", "3,4,0"}, "0 for mode 2"},
        {{"--input", input, "--out", out, "--ranks", "13,4,2"}, "13 for mode 0"},
        {{"--input", input, "--out", out, "--ranks", "3,,2"}, "3,,2"},
        {{"--input", input, "--out", out, "--ranks=-1,4,2"}, "-1,4,2"},
        {{"--input", input, "--out", out, "--ranks", "3,4,2x"}, "3,4,2x"},
        {{"--input", input, "--out", out, "--ranks", "99999999999999999999,4,2"}, "99999999999999999999"},
        {{"--input", input, "--out", out, "--method", "magic"}, "magic"},
        {{"--input", input, "--out", out, "--svd", "magic"}, "magic"},
        {{"--input", input, "--out", out, "--svd", "randomized"}, "--ranks"},
        {{"--input", input, "--out", out, "--method", "hooi"}, "--ranks"},
        {{"--input", input, "--out", out, "--method", "hooi", "--ranks", "3,4,2", "--tolerance", "0.1"}, "--tolerance"},
        {{"--input", input, "--out", out, "--method", "complete", "--ranks", "3,4,2"}, "--mask"},
        {{"--input", input, "--out", out, "--tolerance", "0.1", "--energy", "0.9"}, "--tolerance and --energy"},
        {{"--input", input, "--out", out, "--tolerance", "0"}, "tolerance"},
        {{"--input", input, "--out", out, "--tolerance", "nan"}, "tolerance"},
        {{"--input", input, "--out", out, "--tolerance", "big"}, "--tolerance"},
        {{"--input", input, "--out", out, "--energy", "1.5"}, "energy"},
        {{"--input", input, "--out", out, "--max-iterations", "5"}, "--max-iterations"},
        {{"--input", input, "--out", out, "--threads", "0"}, "--threads"},
        {{"--input", input, "--out", out, "--mask", mask}, "--ranks"},
        {{"--input", input, "--out", out, "--mask", mask, "--ranks", "3,4,2"}, "12 x 9 x 6"},
        {{"--input", input, "--out", out, "--mask", mask, "--ranks", "3,4,2", "--method", "hosvd"}, "--mask"},
        {{"--input", input, "--out", out, "--mask", empty_mask, "--ranks", "3,4,2"}, "observed"},
        {{"--input", input, "--out", out, "--mask", (folder / "no_mask.npy").string(), "--ranks", "3,4,2"},
         "no_mask.npy"},
        {{"--input", (folder / "missing.npy").string(), "--out", out}, "missing.npy"},
        {{"--input", (folder / "two\nlines.npy").string(), "--out", out}, "two lines.npy"},
        {{"--input", folder.path().string(), "--out", out}, "regular file"},
        {{"--input", text, "--out", out}, "text.npy"},
        {{"--input", scalar, "--out", out}, "order 0"},
        {{"--input", nothing, "--out", out}, "nothing"},
        {{"--input", infinite, "--out", out}, "infinite"},
        {{"--input", input, "--out", ""}, "--out"},
        {{"--input", input, "--out", text}, "not a folder"},
        {{"--input", input, "--out", text + "/deeper"}, "not a folder"},
        {{"--input", input, "--out", "/proc/results"}, "/proc"},
    };
    const auto before = names_in(folder.path());
    for (const refusal& each : refusals) {
        CAPTURE(each.words);
        check_refused(tucker(each.arguments), "tucker", each.words);
        CHECK(names_in(folder.path()) == before);
    }
}

TEST_CASE_FIXTURE(fixture, "results are written all together or not at all") {
    const std::vector<std::string> arguments{"--input", input, "--ranks", "12,9,7", "--out", out};
    // No file may have more than a kilobyte: the core has six.
    check_refused(tucker(arguments, "ulimit -f 2;"), "tucker", "cannot write");
    CHECK(names_in(folder.path()) == std::vector<std::string>{"T.npy"});

    CHECK(tucker({"--input", input, "--ranks", "3,4,2", "--out", out}).exit_code == 0);
    const auto names = names_in(out);
    const auto core = examples::contents_of(out + "/core.npy");
    check_refused(tucker(arguments, "ulimit -f 2;"), "tucker", "cannot write");
    CHECK(names_in(out) == names);
    CHECK(examples::contents_of(out + "/core.npy") == core);

    // A folder where a file is to be stands in the way of everything.
    std::filesystem::remove(out + "/factor_1.npy");
    std::filesystem::create_directory(out + "/factor_1.npy");
    check_refused(tucker(arguments), "tucker", "factor_1.npy");
    CHECK(names_in(out) == names);
    CHECK(examples::contents_of(out + "/core.npy") == core);

    // The input is not replaced by the results.
    check_refused(tucker({"--input", out + "/core.npy", "--out", out}), "tucker", "core.npy");

    // Folders that do not exist yet, one inside the other.
    CHECK(tucker({"--input", input, "--ranks", "3,4,2", "--out", (folder / "a").string() + "/b/c/"}).exit_code == 0);
    CHECK(names_in(folder / "a").size() == 1);
    CHECK(names_in(folder.path() / "a" / "b" / "c").size() == 8);
}

TEST_CASE("help") {
    const auto result = tucker({"--help"});
    CHECK(result.exit_code == 0);
    CHECK(result.err == "");
    for (const std::string option : {"--input", "--ranks", "--method", "--svd", "--tolerance", "--energy", "--mask",
                                     "--policy", "--double", "--out", "Examples"}) {
        CHECK_MESSAGE(result.out.find(option) != std::string::npos, option);
    }
}
