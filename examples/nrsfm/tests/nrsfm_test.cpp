// The program nrsfm: what it finds in faces and in tracks of a file, what it writes, what it refuses.

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

outcome nrsfm(const std::vector<std::string>& arguments) { return examples::run(NRSFM_PROGRAM, arguments); }

const std::vector<std::string> results{"alpha.npy", "basis.npy", "basis.png", "cameras.npy", "directions.npy", "mean_shape.png", "shapes.npy", "translations.npy"};

/// The first number after some words of a text, -1 without them.
double number_after(const std::string& text, const std::string& words) {
    const std::size_t at = text.find(words);
    double value = -1;
    if (at != std::string::npos) {
        std::sscanf(text.c_str() + at + words.size(), "%lf", &value);
    }
    return value;
}

/// Tracks of random points that turn and, with `deformation`, stretch along one direction.
moden::tensor<double, 3> make_tracks(std::size_t frames, std::size_t points, double deformation, double turning = 0.5) {
    auto shape = moden::tensor<double, 2>::from_shape({4, points});
    moden::fill_normal(moden::cpu_policy{}, shape.data(), shape.size(), 5);
    auto tracks = moden::tensor<double, 3>::from_shape({frames, 2, points});
    for (std::size_t f = 0; f < frames; ++f) {
        const double t = static_cast<double>(f), yaw = turning * std::sin(0.7 * t), pitch = turning * std::cos(1.1 * t), stretch = deformation * std::sin(2.3 * t + 1);
        for (std::size_t p = 0; p < points; ++p) {
            const double x = shape(0, p) + 0.6 * stretch * shape(3, p), y = shape(1, p) + 0.8 * stretch * shape(3, p), z = shape(2, p);
            const double depth = -std::sin(yaw) * x + std::cos(yaw) * z;
            tracks(f, 0, p) = 10 + std::cos(yaw) * x + std::sin(yaw) * z;
            tracks(f, 1, p) = 20 + std::cos(pitch) * y - std::sin(pitch) * depth;
        }
    }
    return tracks;
}

/// Root mean square of tracks - cameras shapes - translations over what is not NaN.
double residual(const moden::tensor<double, 3>& tracks, const std::filesystem::path& folder) {
    const auto shapes = moden::io::load_npy<double, 3>(folder / "shapes.npy"), cameras = moden::io::load_npy<double, 3>(folder / "cameras.npy");
    const auto translations = moden::io::load_npy<double, 2>(folder / "translations.npy");
    double sum = 0, count = 0;
    for (std::size_t f = 0; f < tracks.shape()[0]; ++f) {
        for (std::size_t a = 0; a < 2; ++a) {
            for (std::size_t p = 0; p < tracks.shape()[2]; ++p) {
                double x = translations(f, a) - tracks(f, a, p);
                for (std::size_t i = 0; i < 3; ++i) {
                    x += cameras(f, a, i) * shapes(f, i, p);
                }
                sum += std::isnan(x) ? 0 : x * x;
                count += std::isnan(x) ? 0 : 1;
            }
        }
    }
    return std::sqrt(sum / count);
}

}  // namespace

TEST_CASE("faces") {
    const scratch_folder folder;
    const outcome done = nrsfm({"--frames", "400", "--out", (folder / "a").string()});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    INFO(done.out);
    CHECK(names_in(folder / "a") == results);
    CHECK(done.out.find("by the Bayesian information criterion") != std::string::npos);
    const double found = number_after(done.out, "one alignment"), rigid = number_after(done.out, "of the rigid shape      ");
    CHECK(found > 0);
    CHECK(found < rigid);
    CHECK(rigid < 0.2);
    CHECK(number_after(done.out, "rotations       off by") < 6);
    CHECK(moden::io::load_npy<float, 3>(folder / "a/shapes.npy").shape()[2] == 68);
    CHECK(moden::io::read_png(folder / "a/basis.png").shape()[1] > 1000);
    // Whoever the people are, basis shapes never lose against the rigid shape, in the images and, with default options, in space.
    for (const std::string seed : {"2", "3"}) {
        for (const std::string rank : {"4", "20"}) {
            const outcome more = nrsfm({"--frames", "200", "--seed", seed, "--rank", rank, "--out", (folder / "b").string()});
            REQUIRE_MESSAGE(more.exit_code == 0, more.err);
            INFO(more.out);
            CHECK(number_after(more.out, "reprojection   ") < number_after(more.out, "rigid shape alone"));
            for (const char* scope : {"one alignment", "one per frame"}) {
                const std::string of_scope = more.out.substr(more.out.find(scope));
                CHECK(number_after(of_scope, scope) < number_after(of_scope, "of the rigid shape      "));
            }
        }
    }
    // In a folder with results of another rank nothing of them stays.
    const outcome again = nrsfm({"--frames", "400", "--rank", "5", "--basis", "joint", "--noise", "0", "--out", (folder / "a").string()});
    REQUIRE_MESSAGE(again.exit_code == 0, again.err);
    CHECK(again.out.find("K = 5, as asked for") != std::string::npos);
    CHECK(moden::io::load_npy<float, 2>(folder / "a/basis.npy").shape()[0] == 5);
}

TEST_CASE("tracks of a file, with and without gaps") {
    const scratch_folder folder;
    const auto tracks = make_tracks(40, 15, 0.4);
    moden::io::save_npy(folder / "tracks.npy", tracks);
    const auto run = [&](const std::string& name, std::vector<std::string> more) {
        more.insert(more.end(), {"--tracks", (folder / (name + ".npy")).string(), "--out", (folder / name).string()});
        const outcome done = nrsfm(more);
        REQUIRE_MESSAGE(done.exit_code == 0, done.err);
        CHECK(names_in(folder / name) == results);
        return done.out;
    };
    // One direction is what moves, and the criterion says so.
    const std::string said = run("tracks", {"--basis", "joint", "--shrinkage", "0"});
    CHECK(said.find("40 frames of 15 points, in double") != std::string::npos);
    CHECK(said.find("K = 1, ") != std::string::npos);
    CHECK(said.find("metric upgrade in closed form; converged") != std::string::npos);
    CHECK(residual(tracks, folder / "tracks") == doctest::Approx(number_after(said, "reprojection   ")).epsilon(1e-4));
    const auto shapes = moden::io::load_npy<double, 3>(folder / "tracks/shapes.npy");
    const auto basis = moden::io::load_npy<double, 2>(folder / "tracks/basis.npy"), directions = moden::io::load_npy<double, 2>(folder / "tracks/directions.npy");
    const auto alpha = moden::io::load_npy<double, 2>(folder / "tracks/alpha.npy");
    for (std::size_t p = 0; p < 15; ++p) {  // shapes(f) - alpha(f) d b' is the same for all frames
        const auto rigid = [&](std::size_t f) { return shapes(f, 1, p) - alpha(f, 0) * directions(0, 1) * basis(0, p); };
        CHECK(rigid(3) == doctest::Approx(rigid(17)).epsilon(1e-9));
    }

    // The same as 2F x P, in float, with images whose rows count upwards: the mirror image is returned.
    auto flat = moden::tensor<float, 2>::from_shape({80, 15});
    std::copy(tracks.begin(), tracks.end(), flat.begin());
    moden::io::save_npy(folder / "flat.npy", flat);
    CHECK(run("flat", {"--rank", "1", "--rows", "up", "--cameras", "affine"}).find("in float") != std::string::npos);
    const auto mean_cube = [&](const std::string& name) {
        double sum = 0;
        for (std::size_t p = 0; p < 15; ++p) {
            sum += std::pow(moden::io::load_npy<double, 3>(folder / (name + "/shapes.npy"))(0, 2, p), 3);
        }
        return sum;
    };
    CHECK(mean_cube("tracks") > 0);
    CHECK(mean_cube("flat") < 0);
    run("tracks", {"--rank", "1", "--mirror"});
    CHECK(mean_cube("tracks") < 0);

    // Every tenth point is not seen.
    auto gaps = tracks;
    for (std::size_t i = 0; i < 40 * 15; i += 10) {
        gaps(i / 15, i % 2, i % 15) = std::numeric_limits<double>::quiet_NaN();
    }
    moden::io::save_npy(folder / "gaps.npy", gaps);
    const std::string with_gaps = run("gaps", {"--rank", "1", "--missing", "nan"});
    CHECK(with_gaps.find("10.00 % of them missing") != std::string::npos);
    CHECK(residual(gaps, folder / "gaps") < 0.1);
    CHECK(residual(tracks, folder / "gaps") < 0.12);  // points that were not seen are where they were
}

TEST_CASE("refused") {
    const scratch_folder folder;
    const auto good = make_tracks(12, 8, 0.2);
    moden::io::save_npy(folder / "good.npy", good);
    const std::string out = (folder / "out").string();
    const auto refused = [&](const std::string& name, const auto& tracks, const std::vector<std::string>& more, const std::string& words) {
        moden::io::save_npy(folder / (name + ".npy"), tracks);
        std::vector<std::string> arguments{"--tracks", (folder / (name + ".npy")).string(), "--out", out};
        arguments.insert(arguments.end(), more.begin(), more.end());
        check_refused(nrsfm(arguments), "nrsfm", words);
    };
    check_refused(nrsfm({}), "nrsfm", "--out");
    check_refused(nrsfm({"--out", out, "--tracks", (folder / "none.npy").string()}), "nrsfm", "none.npy");
    check_refused(nrsfm({"--out", out, "--rank", "0"}), "nrsfm", "--rank");
    check_refused(nrsfm({"--out", out, "--cameras", "pinhole"}), "nrsfm", "--cameras");
    check_refused(nrsfm({"--out", out, "--missing", "nan"}), "nrsfm", "--tracks");
    check_refused(nrsfm({"--out", out, "--frames", "2"}), "nrsfm", "--frames");
    for (const char* noise : {"-1", "nan", "inf", "1e39"}) {
        check_refused(nrsfm({"--out", out, "--noise", noise}), "nrsfm", "--noise");
    }
    check_refused(nrsfm({"--out", out, "--tracks", (folder / "good.npy").string(), "--frames", "50"}), "nrsfm", "--frames");
    refused("missing", good, {"--missing", "zero"}, "--missing");
    refused("order", moden::tensor<double, 1>({7}, 1.0), {}, "expected 2F x P or F x 2 x P");
    refused("odd", moden::tensor<double, 2>({7, 8}, 1.0), {}, "7 rows");
    refused("frames", make_tracks(2, 8, 0), {}, "2 frames of 8 points");
    refused("points", make_tracks(9, 3, 0), {}, "9 frames of 3 points");
    refused("rank", good, {"--rank", "8"}, "8 basis shapes");
    refused("rigid", make_tracks(12, 8, 0), {"--rank", "2"}, "a residual of rank");
    refused("still", make_tracks(12, 8, 0, 0), {}, "rank 2 or less");
    auto plane = good, bad = good;
    for (std::size_t i = 0; i < plane.size(); ++i) {  // x and y of points in a plane, moved in the image only
        plane.data()[i] = good.data()[i % 16] + static_cast<double>(i / 16);
    }
    refused("plane", plane, {}, "rank 2 or less");
    bad(5, 1, 3) = std::numeric_limits<double>::quiet_NaN();
    refused("nan", bad, {}, "point 3 of frame 5 is NaN");
    bad(5, 1, 3) = std::numeric_limits<double>::infinity();
    refused("infinite", bad, {"--missing", "nan"}, "point 3 of frame 5 is infinite");
    for (std::size_t p = 0; p < 5; ++p) {
        bad(5, 1, p) = std::numeric_limits<double>::quiet_NaN();
    }
    refused("few", bad, {"--missing", "nan"}, "frame 5 has 3 observed points");
    CHECK_FALSE(std::filesystem::exists(out));
    // Input is not overwritten.
    std::filesystem::create_directory(folder / "same");
    moden::io::save_npy(folder / "same/shapes.npy", good);
    check_refused(nrsfm({"--tracks", (folder / "same/shapes.npy").string(), "--out", (folder / "same").string()}), "nrsfm", "would be replaced");
}
