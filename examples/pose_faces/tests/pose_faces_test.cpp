// The program pose_faces: what it writes from few faces, another generator's file, and what it refuses.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <moden/io.hpp>
#include <moden/moden.hpp>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::contents_of;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;
using words = std::vector<std::string>;

outcome pose_faces(const words& arguments) { return examples::run(POSE_FACES_PROGRAM, arguments); }

const words results{"edits.csv", "shape.npy", "strips_gradient.png", "strips_linear.png", "table.csv", "transfer.png"};

/// Rows of a file with commas, without the first one.
std::vector<words> rows_of(const std::filesystem::path& path) {
    std::vector<words> rows;
    std::istringstream text(contents_of(path));
    for (std::string line; std::getline(text, line);) {
        words row;
        std::istringstream cells(line);
        for (std::string cell; std::getline(cells, cell, ',');) {
            row.push_back(cell);
        }
        rows.push_back(row);
    }
    rows.erase(rows.begin());
    return rows;
}

}  // namespace

TEST_CASE("edits of the bundled generator's faces do what they are asked to") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string();
    const outcome done = pose_faces({"--out", out, "--samples", "400", "--epochs", "6", "--faces", "2", "--renders", "20", "--basis-shapes", "6", "--iterations", "3"});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(done.err == "");
    CHECK(names_in(out) == results);
    CHECK(done.out.find("6 basis shapes explain them") != std::string::npos);
    CHECK(done.out.find("codes of 1152 inverted renders") != std::string::npos);
    CHECK(moden::io::npy_file(out + "/shape.npy").shape() == moden::extents{3, 68});
    CHECK(moden::io::read_png(out + "/strips_linear.png").shape()[1] > 7 * 96);
    const auto edits = rows_of(out + "/edits.csv");
    REQUIRE(edits.size() == 16);
    for (const words& row : edits) {
        REQUIRE(row.size() == 11);
        // Two faces and regressors of 400 codes: every edit goes the right way, and yaw, which shows most, comes within a few degrees of 34.
        CHECK_MESSAGE(std::stod(row[3]) > 0.3, row[0], " ", row[1]);
        if (row[0] == "yaw") {
            CHECK(std::stod(row[3]) == doctest::Approx(1).epsilon(0.15));
            CHECK(std::stod(row[4]) < 5);
        }
    }
    const auto table = rows_of(out + "/table.csv");
    REQUIRE(table.size() == 9);
    CHECK(table[0][0] == "z");
    CHECK(table[8][0] == "w+");
    for (const words& row : table) {
        REQUIRE(row.size() == 9);
        for (std::size_t i = 2; i < 9; ++i) {
            CHECK(std::isfinite(std::stod(row[i])));
        }
    }

    // A generator of one's own: what the bundled codes belong to is not known of it.
    std::filesystem::copy_file(std::string(MODEN_DATA_FOLDER) + "/faces64.safetensors", folder / "mine.safetensors");
    const outcome own = pose_faces({"--out", out, "--weights", (folder / "mine.safetensors").string(), "--samples", "200", "--epochs", "1", "--faces", "2", "--renders", "2",
                                    "--basis-shapes", "2", "--iterations", "1"});
    REQUIRE_MESSAGE(own.exit_code == 0, own.err);
    CHECK(own.out.find("inverted renders") == std::string::npos);
    CHECK(names_in(out) == results);
}

TEST_CASE("refused") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string(), data = MODEN_DATA_FOLDER;
    const auto refused = [&](const words& arguments, const std::string& text) {
        CAPTURE(text);
        check_refused(pose_faces(arguments), "pose_faces", text);
        CHECK(!std::filesystem::exists(out));
    };
    refused({}, "--out");
    refused({"--out", out, "--samples", "10"}, "--samples");
    refused({"--out", out, "--samples", "many"}, "--samples");
    refused({"--out", out, "--basis-shapes", "0"}, "--basis-shapes");
    refused({"--out", out, "--epochs", "0"}, "--epochs");
    refused({"--out", out, "--faces", "1"}, "--faces");
    refused({"--out", out, "--renders", "0"}, "--renders");
    refused({"--out", out, "--preservation", "-1"}, "--preservation -1");
    refused({"--out", out, "--preservation", "nan"}, "--preservation nan");
    refused({"--out", out, "--colour"}, "--colour");
    refused({"--out", out, "--weights", (folder / "none.safetensors").string()}, "none.safetensors");
    refused({"--out", out, "--weights", data + "/face_factors.safetensors"}, "face_factors.safetensors");
    refused({"--out", out, "--measure", data + "/faces64.safetensors"}, "faces64.safetensors");
    refused({"--out", out, "--measure", ""}, "cannot open");
    refused({"--out", out, "--iterations", "0"}, "--iterations");
    std::ofstream(folder / "file") << "kept";
    refused({"--out", (folder / "file").string()}, "is not a folder");
    CHECK(contents_of(folder / "file") == "kept");
}
