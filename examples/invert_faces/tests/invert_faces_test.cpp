// The program invert_faces: what it writes and how close it comes, and what it refuses.

#include <doctest/doctest.h>
#include <moden/io/npy.hpp>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;

outcome invert_faces(const std::vector<std::string>& arguments) { return examples::run(INVERT_FACES_PROGRAM, arguments); }

double root_mean_square(const moden::tensor<float, 4>& a, const moden::tensor<float, 4>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        sum += std::pow(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]), 2);
    }
    return std::sqrt(sum / static_cast<double>(a.size()));
}

}  // namespace

TEST_CASE("renders are inverted into w+ and w") {
    const scratch_folder folder;
    const std::string out = (folder / "w+").string();
    const outcome done = invert_faces({"--count", "2", "--iterations", "40", "--out", out});
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(out) == std::vector<std::string>{"images.npy", "inversion.png", "targets.npy", "ws.npy"});
    const auto targets = moden::io::load_npy<float, 4>(folder / "w+/targets.npy");
    const auto images = moden::io::load_npy<float, 4>(folder / "w+/images.npy");
    const auto ws = moden::io::load_npy<float, 3>(folder / "w+/ws.npy");
    CHECK(targets.shape() == images.shape());
    CHECK(images.shape()[0] == 2);
    CHECK(ws.shape()[0] == 2);
    CHECK(ws.shape()[1] == 10);
    const double error = root_mean_square(targets, images);
    CHECK(error < 0.2);  // a uniform grey is off by about 0.5
    CHECK(done.out.find("in w+, 40 iterations") != std::string::npos);
    CHECK(done.out.find("yaw") != std::string::npos);

    const std::string again = (folder / "w").string();
    const outcome in_w = invert_faces({"--images", (folder / "w+/images.npy").string(), "--space", "w", "--iterations", "1",
                                       "--fit-start", "8", "--measure", "", "--out", again});
    REQUIRE_MESSAGE(in_w.exit_code == 0, in_w.err);
    CHECK(names_in(again) ==
          std::vector<std::string>{"images.npy", "inversion.png", "inversion_start.safetensors", "targets.npy", "ws.npy"});
    CHECK(in_w.out.find("yaw") == std::string::npos);
    const auto rows = moden::io::load_npy<float, 3>(folder / "w/ws.npy");
    for (std::size_t k = 1; k < rows.shape()[1]; ++k) {
        CHECK(rows(1, k, 5) == rows(1, 0, 5));
    }
    // What was fitted can be read again.
    const outcome with_file = invert_faces({"--count", "1", "--iterations", "0", "--start",
                                            (folder / "w/inversion_start.safetensors").string(), "--out", (folder / "x").string()});
    CHECK_MESSAGE(with_file.exit_code == 0, with_file.err);
}

TEST_CASE("refused") {
    const scratch_folder folder;
    const std::string out = (folder / "out").string();
    check_refused(invert_faces({}), "invert_faces", "--out");
    check_refused(invert_faces({"--out", out, "--space", "z"}), "invert_faces", "--space");
    check_refused(invert_faces({"--out", out, "--weights", (folder / "none").string()}), "invert_faces", "none");
    check_refused(invert_faces({"--out", out, "--images", (folder / "none.npy").string()}), "invert_faces", "none.npy");
    check_refused(invert_faces({"--out", out, "--images", "x.npy", "--count", "3"}), "invert_faces", "--count");
    check_refused(invert_faces({"--out", out, "--iterations", "1", "--count", "1", "--pull", "-1"}), "invert_faces", "pull");
    std::ofstream(folder / "text.safetensors") << "this is no weight file";
    check_refused(invert_faces({"--out", out, "--start", (folder / "text.safetensors").string()}), "invert_faces", "text.safetensors");
    auto small = moden::tensor<float, 4>::from_shape({1, 3, 32, 32});
    small.fill(0.0F);
    moden::io::save_npy(folder / "small.npy", small);
    check_refused(invert_faces({"--out", out, "--images", (folder / "small.npy").string()}), "invert_faces",
                  "has the shape 1 x 3 x 32 x 32 (expected N x 3 x 64 x 64)");
    CHECK(!std::filesystem::exists(out));
}
