// The code of docs/spectral.md: compiled, run, checked, and held against the page line by line.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <xtensor/xview.hpp>

#include <moden/editing/direction_algebra.hpp>
#include <moden/maps/automatic_map.hpp>
#include <moden/maps/masked_map.hpp>
#include <moden/spectral/jacobian_svd.hpp>
#include <moden/spectral/low_rank_directions.hpp>
#include <moden/spectral/region_directions.hpp>
#include <moden/spectral/steering.hpp>

namespace {

/// Six inputs to twelve outputs: a picture of two halves with waves.
struct waves {
    template <class S>
    void operator()(const S* x, S* y) const {
        using std::sin;
        for (int i = 0; i < 12; ++i) {
            y[i] = S(i < 6 ? 2.0 : 1.0) * sin(S(0.3 * i) + x[i % 6]) + S(0.2 * i) * x[(i + 2) % (i < 6 ? 3 : 6)];
        }
    }
};

std::vector<std::string> lines_of(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        const std::size_t first = line.find_first_not_of(' ');
        lines.push_back(first == std::string::npos ? std::string() : line.substr(first));
    }
    return lines;
}

const moden::cpu_policy cpu;

}  // namespace

TEST_CASE("docs/spectral.md: directions, at a point and beside it") {
    const auto map = moden::make_automatic_map<double>(6, 12, waves{});
    const moden::tensor<double, 1> x{0.1, 0.4, -0.3, 0.8, -0.5, 0.2}, neighbour{0.1, 0.41, -0.3, 0.8, -0.49, 0.2};
    const moden::tensor<double, 2> code{{0.1, 0.4, -0.3, 0.8, -0.5, 0.2}};
    const auto found = moden::jacobian_svd(cpu, map, x, {.rank = 5});    // J ~ U diag(s) V' at x
    const moden::tensor<double, 1> first = xt::view(found.vt, 0, xt::all());
    const auto strip = moden::edit_codes(cpu, code, first, {-2, 0, 2});
    CHECK(found.status == moden::spectral_status::converged);
    CHECK(strip.shape()[0] == 3);
    const auto next = moden::jacobian_svd(cpu, map, neighbour, found.vt, {.rank = 5});
    CHECK(next.status == moden::spectral_status::converged);
    CHECK(next.singular_values[0] == doctest::Approx(found.singular_values[0]).epsilon(0.05));
}

namespace {

struct polar {
    template <class S>
    void operator()(const S* x, S* y) const {
        using std::atan2;
        using std::sqrt;
        y[0] = sqrt(x[0] * x[0] + x[1] * x[1]);
        y[1] = atan2(x[1], x[0]);
    }
};

}  // namespace

TEST_CASE("docs/spectral.md: a map from a function") {
    const auto map = moden::make_automatic_map<double>(2, 2, polar{});
    // Radius 2: along the circle the angle changes by half of the step, along the radius the radius by all of it.
    const auto found = moden::jacobian_svd(map, moden::tensor<double, 1>{2, 0}, {.rank = 2});
    CHECK(found.singular_values[0] == doctest::Approx(1));
    CHECK(found.singular_values[1] == doctest::Approx(0.5));
}

TEST_CASE("docs/spectral.md: a region") {
    const auto map = moden::make_automatic_map<double>(6, 12, waves{});
    const moden::tensor<double, 1> x{0.1, 0.4, -0.3, 0.8, -0.5, 0.2};
    const moden::tensor<double, 1> mask{1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const moden::masked_map mouth(cpu, map, mask);                                                // nonzero selects
    const auto largest = moden::jacobian_svd(cpu, mouth, x, {.rank = 2});                         // what changes the mouth most
    const auto local = moden::region_directions(cpu, map, x, mask, {.count = 2});                 // and leaves the rest (001 Eq. 2.25)
    const auto strict = moden::low_rank_directions(cpu, map, x, mask, {.count = 2, .sparsity = 1, .background_rank = 1});
    const auto change = [&](const auto& directions) {
        const auto y = map.jvp(cpu, x, directions);
        double inside = 0, outside = 0;
        for (std::size_t i = 0; i < 12; ++i) {
            (mask(i) != 0 ? inside : outside) += y(0, i) * y(0, i);
        }
        return inside / outside;
    };
    CHECK(change(local.directions) > change(largest.vt));
    CHECK(change(local.directions) == doctest::Approx(local.inside[0] / local.outside[0]));
    CHECK(change(strict.directions) == doctest::Approx(strict.inside[0] / strict.outside[0]));
}

TEST_CASE("docs/spectral.md: steering") {
    const auto map = moden::make_automatic_map<double>(6, 12, waves{});
    const moden::tensor<double, 1> x{0.1, 0.4, -0.3, 0.8, -0.5, 0.2};
    const auto walk = moden::steer(cpu, map, x, {.attribute = 1, .target = 0.5, .preserve = {0}});
    CHECK(walk.status == moden::steering_status::reached_target);
    CHECK(std::abs(walk.outputs(walk.iterations, 1) - 0.5) <= 1e-3);
    CHECK(std::abs(walk.outputs(walk.iterations, 0) - walk.outputs(0, 0)) < 0.1 * std::abs(walk.outputs(walk.iterations, 1) - walk.outputs(0, 1)));
}

TEST_CASE("docs/spectral.md has the code of this file") {
    const std::filesystem::path here = __FILE__;
    const auto source = lines_of(here);
    const auto page = lines_of(here.parent_path().parent_path().parent_path() / "docs" / "spectral.md");
    bool code = false;
    std::size_t compared = 0;
    for (const std::string& line : page) {
        if (line.rfind("```", 0) == 0) {
            code = line == "```cpp";
        } else if (code && !line.empty()) {
            CAPTURE(line);
            CHECK(std::find(source.begin(), source.end(), line) != source.end());
            ++compared;
        }
    }
    CHECK(compared >= 15);
}
