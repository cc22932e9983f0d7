// The program edit_faces: planted directions come back, every file is written, and what makes no sense is refused.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::contents_of;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;
using words = std::vector<std::string>;

outcome edit_faces(const words& arguments) { return examples::run(EDIT_FACES_PROGRAM, arguments); }

const std::string levels_text = R"({"modes": [{"name": "person", "levels": ["ann", "bob", "cy"]},
 {"name": "expression", "levels": ["happiness", "surprise"]}, {"name": "intensity", "levels": ["half", "full"]},
 {"name": "view", "levels": ["left", "right"]}]})";

/// Codes in w of the bundled generator, person + intensity * expression + view: the directions are known.
struct planted {
    scratch_folder folder;
    std::string codes = (folder / "T.npy").string(), levels = (folder / "T.json").string();
    moden::tensor<float, 2> persons, expressions, views;

    planted() {
        const moden::cpu_policy cpu;
        const auto net = moden::stylegan2::load_generator<float>(cpu, std::string(MODEN_DATA_FOLDER) + "/faces64.safetensors");
        const auto z = moden::stylegan2::seeded_latents<float>({1, 2, 3, 4, 5, 6, 7}, net.layout().z_dim);
        const auto w = moden::stylegan2::map_latents(cpu, net, z);
        const std::size_t size = w.shape()[1];
        persons = expressions = views = moden::tensor<float, 2>::from_shape({3, size});
        auto tensor = moden::tensor<float, 5>::from_shape({size, 3, 2, 2, 2});
        for (std::size_t i = 0; i < size; ++i) {
            for (std::size_t n = 0; n < 3; ++n) {
                persons(n, i) = w(n, i);
                expressions(n, i) = 0.5F * w(3 + n, i);
                views(n, i) = n == 0 ? w(6, i) : -w(6, i);
            }
            for (std::size_t p = 0; p < 3; ++p) {
                for (std::size_t e = 0; e < 2; ++e) {
                    for (std::size_t k = 0; k < 2; ++k) {
                        for (std::size_t v = 0; v < 2; ++v) {
                            tensor(i, p, e, k, v) = persons(p, i) + 0.5F * static_cast<float>(k + 1) * expressions(e, i) + 0.3F * views(v, i);
                        }
                    }
                }
            }
        }
        moden::io::save_npy(codes, tensor);
        std::ofstream(levels) << levels_text;
    }

    words options(const std::string& out, const words& more = {}) const {
        words result{"--codes", codes, "--levels", levels, "--out", out};
        result.insert(result.end(), more.begin(), more.end());
        return result;
    }
};

double cosine(const moden::tensor<float, 2>& directions, std::size_t row, const std::vector<double>& wanted) {
    double aa = 0, bb = 0, ab = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const double x = directions(row, i);
        aa += x * x, bb += wanted[i] * wanted[i], ab += x * wanted[i];
    }
    return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("planted codes: their directions, all pictures, and the table") {
    const planted set;
    const std::string out = (set.folder / "out").string();
    const outcome done = edit_faces(set.options(out, {"--samples", "120"}));
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(out) == words{"directions.npy", "energy.png", "expression_space.png", "expressions_mean.png", "expressions_new.png",
                                 "leakage.csv", "transfer.png", "yaw.png"});
    CHECK(done.out.find("3 person x 2 expression x 2 intensity x 2 view") != std::string::npos);
    CHECK(done.out.find("linear boundary") != std::string::npos);
    const auto directions = moden::io::load_npy<float, 2>(set.folder / "out/directions.npy");
    REQUIRE(directions.shape()[0] == 3);
    std::vector<double> happiness, rotation;
    for (std::size_t i = 0; i < directions.shape()[1]; ++i) {
        happiness.push_back(0.5 * (set.expressions(0, i) - set.expressions(1, i)));  // from the mean over expressions
        rotation.push_back(set.views(1, i) - set.views(0, i));
    }
    CHECK(cosine(directions, 0, happiness) > 0.98);  // the leading column of the intensities is not quite constant
    CHECK(cosine(directions, 1, happiness) < -0.98);
    CHECK(cosine(directions, 2, rotation) > 0.9999);
    // One line per direction and method, and the intended factor leaks nothing into itself.
    const std::string table = contents_of(set.folder / "out/leakage.csv");
    CHECK(std::count(table.begin(), table.end(), '\n') == 1 + 3 * 5);
    CHECK(table.rfind("direction,method,change_per_unit,reached,happiness,surprise,yaw,pitch,skin,", 0) == 0);
}

TEST_CASE("without a regressor, with a face of one's own, and without views and intensities") {
    const planted set;
    const auto codes = moden::io::load_npy<float, 5>(set.codes);
    // Persons x expressions at full intensity, from the left.
    auto few = moden::tensor<float, 3>::from_shape({codes.shape()[0], 3, 2});
    auto face = moden::tensor<float, 1>::from_shape({codes.shape()[0]});
    for (std::size_t i = 0; i < codes.shape()[0]; ++i) {
        face(i) = codes(i, 1, 1, 1, 1);
        for (std::size_t p = 0; p < 3; ++p) {
            for (std::size_t e = 0; e < 2; ++e) {
                few(i, p, e) = codes(i, p, e, 1, 0);
            }
        }
    }
    moden::io::save_npy(set.folder / "few.npy", few);
    moden::io::save_npy(set.folder / "face.npy", face);
    std::ofstream(set.folder / "few.json") << R"({"modes": [{"name": "who", "levels": ["ann", "bob", "cy"]}, {"name": "mood", "levels": ["a", "b"]}]})";
    const std::string out = (set.folder / "out").string();
    const outcome done = edit_faces({"--codes", (set.folder / "few.npy").string(), "--levels", (set.folder / "few.json").string(), "--person-mode", "who",
                                     "--expression-mode", "mood", "--face", (set.folder / "face.npy").string(), "--measure", "", "--out", out});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(out) == words{"directions.npy", "energy.png", "expressions_mean.png", "expressions_new.png", "transfer.png"});
    CHECK(done.out.find("leakage") == std::string::npos);
}

TEST_CASE("a structured set is rendered and inverted, and can be read again") {
    const scratch_folder folder;
    const std::string out = (folder / "set").string();
    const outcome made = edit_faces({"--invert-set", "1", "--iterations", "2", "--out", out});
    REQUIRE_MESSAGE(made.exit_code == 0, made.err);
    CHECK(names_in(out) == words{"codes.npy", "levels.json"});
    const auto codes = moden::io::load_npy<float, 5>(folder / "set/codes.npy");
    CHECK(codes.shape() == std::array<std::size_t, 5>{1280, 1, 6, 4, 2});
    const outcome read = edit_faces({"--codes", out + "/codes.npy", "--levels", out + "/levels.json", "--measure", "", "--iterations", "2", "--out",
                                     (folder / "out").string()});
    CHECK_MESSAGE(read.exit_code == 0, read.err);
}

TEST_CASE("the papers' tables, on persons kept from the model") {
    const planted set;
    const auto codes = moden::io::load_npy<float, 5>(set.codes);
    const std::size_t w_dim = codes.shape()[0], samples = codes.size() / w_dim;
    auto tiled = moden::tensor<float, 5>::from_shape({10 * w_dim, 3, 2, 2, 2});
    for (std::size_t r = 0; r < 10; ++r) {
        std::copy(codes.begin(), codes.end(), tiled.data() + r * w_dim * samples);
    }
    const std::string wide = (set.folder / "wide.npy").string(), out = (set.folder / "out").string();
    moden::io::save_npy(wide, tiled);
    const outcome done = edit_faces({"--codes", wide, "--levels", set.levels, "--tables", "--samples", "100", "--out", out});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(out) == words{"penalties.png", "tables.md"});
    CHECK(done.out.find("2 persons in the model, 1 kept from it") != std::string::npos);
    const std::string text = contents_of(set.folder / "out/tables.md");
    for (const char* row : {"| persons not in the model |", "| samples of the generator |", "| none | 0 |", "| lasso | 0.1 |", "| sum to one | 1 |",
                            "| nothing done |", "| tensor model, global direction |", "| linear boundary |"}) {
        CHECK_MESSAGE(text.find(row) != std::string::npos, row);
    }
    // Views are added to these codes, whatever the person: a direction turns an unseen one exactly.
    const auto at = text.find("| tensor model, global direction | ");
    REQUIRE(at != std::string::npos);
    CHECK(std::stod(text.substr(at + 35)) < 1e-3);
    check_refused(edit_faces({"--codes", set.codes, "--levels", set.levels, "--tables", "--out", out}), "edit_faces", "codes of 128 entries (expected w+)");
}

TEST_CASE("codes, names and options that do not fit") {
    const planted set;
    const std::string out = (set.folder / "out").string();
    const auto refused = [&](const words& arguments, const std::string& text) {
        CAPTURE(text);
        check_refused(edit_faces(arguments), "edit_faces", text);
        CHECK(!std::filesystem::exists(out));
    };
    const auto with_levels = [&](const std::string& text) {
        std::ofstream(set.folder / "other.json") << text;
        return words{"--codes", set.codes, "--levels", (set.folder / "other.json").string(), "--out", out};
    };
    refused({"--codes", set.codes, "--out", out}, "--levels");
    refused(set.options(out, {"--step", "nan"}), "--step nan (expected a finite number other than 0)");
    refused(set.options(out, {"--ridge", "-1"}), "--ridge -1");
    refused(set.options(out, {"--expression-mode", "mood"}), "expected 'mood' and 'person'");
    refused(with_levels("{"), "parse error");
    refused(with_levels("{\"modes\": [{\"name\": \"person\"}]}"), "levels");
    refused(with_levels("{\"modes\": [{\"name\": \"person\", \"levels\": [\"ann\"]}]}"), "1 named modes (person) for 4 factor modes of 3 x 2 x 2 x 2");
    refused({"--codes", (set.folder / "none.npy").string(), "--levels", set.levels, "--out", out}, "none.npy");
    moden::io::save_npy(set.folder / "short.npy", moden::tensor<float, 3>::from_shape({100, 3, 2}));
    refused({"--codes", (set.folder / "short.npy").string(), "--levels", set.levels, "--out", out},
            "codes of 100 entries (expected 1280 for w+ of this generator, or 128 for w)");
    auto spoilt = moden::io::load_npy<float, 5>(set.codes);
    spoilt(3, 1, 1, 1, 1) = std::numeric_limits<float>::quiet_NaN();
    moden::io::save_npy(set.folder / "nan.npy", spoilt);
    refused({"--codes", (set.folder / "nan.npy").string(), "--levels", set.levels, "--out", out}, "1 values that are NaN");
    refused(set.options(out, {"--face", (set.folder / "short.npy").string()}), "has 600 entries (expected 128 or 128)");
    refused({"--invert-set", "1", "--codes", set.codes, "--levels", set.levels, "--out", out}, "--invert-set");
}
