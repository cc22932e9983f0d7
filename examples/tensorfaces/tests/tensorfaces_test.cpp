// The program tensorfaces on small ensembles: pictures, numbers, what it refuses.

#include <doctest/doctest.h>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;

outcome tensorfaces(const std::vector<std::string>& arguments, const std::string& before = {}) {
    return examples::run(TENSORFACES_PROGRAM, arguments, before);
}

const std::vector<std::string> all_pictures{"eigenpictures.png",    "ensemble.png",        "error_by_rank.png",
                                            "pictures_by_rank.png", "swapped_factors.png", "tensorfaces.png",
                                            "unseen_person.png"};

/// Numbers of the line that starts with the given words.
std::vector<double> numbers_after(const std::string& text, const std::string& words) {
    const std::size_t at = text.find("\n" + words);
    REQUIRE_MESSAGE(at != std::string::npos, text);
    std::istringstream line(text.substr(at + 1 + words.size(), text.find('\n', at + 1) - at - 1 - words.size()));
    std::vector<double> result;
    for (double value; line >> value;) {
        result.push_back(value);
    }
    return result;
}

void check_pictures(const std::filesystem::path& folder, const std::vector<std::string>& names) {
    CHECK(names_in(folder) == names);
    for (const std::string& name : names) {
        CAPTURE(name);
        const auto picture = moden::io::read_png(folder / name);
        CHECK(picture.shape()[2] == 3);
        CHECK(picture.shape()[0] > 100);
        int darkest = 255, brightest = 0;
        for (const int value : picture) {
            darkest = std::min(darkest, value);
            brightest = std::max(brightest, value);
        }
        CHECK(darkest < 60);  // text is dark on white
        CHECK(brightest == 255);
    }
}

}  // namespace

TEST_CASE("a small rendered ensemble") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string();
    const auto result = tensorfaces({"--persons", "6", "--views", "3", "--lights", "3", "--expressions", "2", "--size",
                                     "24", "--unseen", "2", "--out", out});
    CHECK(result.err == "");
    REQUIRE(result.exit_code == 0);
    check_pictures(out, all_pictures);
    CHECK(result.out.starts_with("ensemble        6 x 3 x 3 x 2 x 1728 "));

    // All 108 pictures are combinations of 108 pixel dimensions: exchanged factors are exact up to rounding.
    CHECK(numbers_after(result.out, "relative error").at(0) < 1e-3);
    for (const std::string factor : {"  person  ", "  view  ", "  light  ", "  expression  "}) {
        CHECK(numbers_after(result.out, factor).at(0) < 1e-3);
    }
    // A person that the model has not seen: better than the mean person, not better than the best fit to all pictures.
    const auto others = numbers_after(result.out, "  all others");
    REQUIRE(others.size() == 4);
    CHECK(others[0] < others[3]);
    CHECK(others[0] > others[1]);
    CHECK(others[1] > 0.005);
}

TEST_CASE("gray pictures, truncated ranks, nobody unseen, extents of one") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string();
    const auto truncated =
        tensorfaces({"--persons", "4", "--views", "3", "--lights", "2", "--expressions", "2", "--size", "16",
                     "--channels", "gray", "--ranks", "3,2,2,1,10", "--unseen", "1", "--out", out});
    CHECK(truncated.err == "");
    REQUIRE(truncated.exit_code == 0);
    CHECK(truncated.out.find("\nmodel           3 x 2 x 2 x 1 x 10\n") != std::string::npos);
    check_pictures(out, all_pictures);
    const auto errors = numbers_after(truncated.out, "relative error");
    CHECK(errors.at(0) > 0.01);
    CHECK(errors.at(0) < 0.5);

    // The picture of unseen persons of the run before does not stay.
    const auto single = tensorfaces({"--persons", "1", "--views", "1", "--lights", "1", "--expressions", "1", "--size",
                                     "16", "--unseen", "0", "--out", out});
    CHECK(single.err == "");
    CHECK(single.exit_code == 0);
    CHECK(names_in(out) == std::vector<std::string>(all_pictures.begin(), all_pictures.end() - 1));
}

TEST_CASE("an ensemble of one's own") {
    // Pictures that are a product of their factors, so that every unseen person can be found from one of them.
    const scratch_folder folder;
    const moden::cpu_policy cpu;
    moden::tucker_tensor<moden::tensor<float, 5>> model;
    model.core = moden::tensor<float, 5>::from_shape({2, 2, 2, 1, 8});
    const moden::extents shape{9, 3, 3, 2, 6 * 5};
    moden::fill_uniform(cpu, model.core.data(), model.core.size(), 1, 0);
    for (std::size_t n = 0; n < 5; ++n) {
        auto factor = moden::tensor<float, 2>::from_shape({shape[n], model.core.shape()[n]});
        moden::fill_uniform(cpu, factor.data(), factor.size(), 1, n + 1);
        model.factors.push_back(factor);
    }
    moden::tensor<float, 5> images = moden::reconstruct(model);
    float largest = 0;
    for (const float value : images) {
        largest = std::max(largest, value);
    }
    auto bytes = moden::tensor<std::uint8_t, 5>::from_shape(images.shape());
    for (std::size_t i = 0; i < images.size(); ++i) {
        bytes.data()[i] = static_cast<std::uint8_t>(std::lround(250 * images.data()[i] / largest));
    }
    const std::string input = (folder / "T.npy").string();
    const std::string out = (folder / "out").string();
    moden::io::save_npy(input, bytes);
    const auto result = tensorfaces({"--input", input, "--picture", "6x5", "--unseen", "3", "--out", out});
    CHECK(result.err == "");
    REQUIRE(result.exit_code == 0);
    CHECK(result.out.starts_with("ensemble        6 x 3 x 3 x 2 x 30 "));
    CHECK(names_in(out) == all_pictures);
    const auto others = numbers_after(result.out, "  all others");
    CHECK(others.at(1) < 0.03);  // two kinds of persons span all of them, up to rounding to bytes
    CHECK(others.at(0) < others.at(3));

    const auto refused = [&](std::vector<std::string> arguments, const std::string& words) {
        arguments.insert(arguments.end(), {"--input", input, "--out", (folder / "other").string()});
        check_refused(tensorfaces(arguments), "tensorfaces", words);
        CHECK(names_in(folder.path()) == std::vector<std::string>{"T.npy", "out"});
    };
    refused({}, "--picture");  // 30 pixels are not a square
    refused({"--picture", "7x5"}, "7 x 5");
    refused({"--picture", "6"}, "--picture '6'");
    refused({"--picture", "6x5", "--unseen", "9"}, "--unseen");
    refused({"--picture", "6x5", "--persons", "3"}, "--persons");
    refused({"--picture", "6x5", "--ranks", "5,3,3,2,31"}, "31 for pixels");
    images(0, 0, 0, 0, 0) = -1;
    moden::io::save_npy(input, images);
    refused({"--picture", "6x5"}, "-1");
    images(0, 0, 0, 0, 0) = std::numeric_limits<float>::quiet_NaN();
    moden::io::save_npy(input, images);
    refused({"--picture", "6x5"}, "nan");
    moden::io::save_npy(input, moden::dynamic_tensor<float>(moden::extents{2, 3, 4}, 0.5F));
    refused({}, "2 x 3 x 4");
}

TEST_CASE("what is refused") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string();
    const std::vector<std::pair<std::vector<std::string>, std::string>> refusals{
        {{}, "--out"},
        {{"--out", out, "--persons", "0"}, "--persons"},
        {{"--out", out, "--lights", "9"}, "--lights"},
        {{"--out", out, "--expressions", "8"}, "--expressions"},
        {{"--out", out, "--size", "4"}, "--size"},
        {{"--out", out, "--channels", "infrared"}, "infrared"},
        {{"--out", out, "--ranks", "1,2,3"}, "five"},
        {{"--out", out, "--ranks", "a,b,c,d,e"}, "five"},
        {{"--out", out, "--picture", "6x5"}, "--picture"},
        {{"--out", out, "--input", (folder / "missing.npy").string()}, "missing.npy"},
        {{"--out", out, "unexpected"}, "unexpected"},
        {{"--out", "/proc/results"}, "/proc"},
    };
    for (const auto& [arguments, words] : refusals) {
        CAPTURE(words);
        check_refused(tensorfaces(arguments), "tensorfaces", words);
        CHECK(names_in(folder.path()).empty());
    }
    const std::vector<std::string> small{"--persons",     "2", "--views", "1", "--lights", "1",
                                         "--expressions", "1", "--size",  "8", "--out",    out};
    check_refused(tensorfaces(small, "ulimit -f 1;"), "tensorfaces", "cannot write");
    CHECK(names_in(folder.path()).empty());
    const auto help = tensorfaces({"--help"});
    CHECK(help.exit_code == 0);
    CHECK(help.out.find("--unseen") != std::string::npos);
}
