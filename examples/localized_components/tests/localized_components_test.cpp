// The program localized_components: planted components come back, every source writes what it should, bad input is refused.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include "../../common/dendrogram.hpp"
#include "../../common/program_test.hpp"

namespace {

using examples::check_refused;
using examples::names_in;
using examples::outcome;
using examples::scratch_folder;
using words = std::vector<std::string>;
using matrix = moden::tensor<double, 2>;

outcome localized_components(const words& arguments) { return examples::run(LOCALIZED_COMPONENTS_PROGRAM, arguments); }

/// J = U V': components on stretches of the rows that do not overlap, directions that are orthogonal.
struct planted {
    static constexpr std::size_t rows = 48, size = 10, count = 4;
    scratch_folder folder;
    std::string file = (folder / "J.npy").string(), out = (folder / "out").string();
    matrix jacobian = matrix::from_shape({rows, size}), directions;

    planted() {
        auto random = matrix::from_shape({size, count});
        moden::fill_normal(moden::cpu_policy{}, random.data(), random.size(), 5);
        directions = moden::qr(random).q;
        for (std::size_t s = 0; s < rows; ++s) {
            const std::size_t p = s / (rows / count);
            for (std::size_t i = 0; i < size; ++i) {
                jacobian(s, i) = (s % 2 == 0 ? 1.0 : -1.5) * directions(i, p);
            }
        }
        moden::io::save_npy(file, jacobian);
    }

    words options(const words& more) const {
        words result{"--jacobian", file, "--out", out};
        result.insert(result.end(), more.begin(), more.end());
        return result;
    }
};

double cosine(const matrix& a, std::size_t i, const matrix& b, std::size_t j) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t k = 0; k < a.shape()[0]; ++k) {
        ab += a(k, i) * b(k, j), aa += a(k, i) * a(k, i), bb += b(k, j) * b(k, j);
    }
    return std::abs(ab) / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("planted components of one's own Jacobian") {
    const planted p;
    const outcome done = localized_components(p.options({"--components", "7", "--alpha", "0.1", "--shape", "4x4x3", "--double", "--tolerance", "1e-9"}));
    REQUIRE_MESSAGE(done.exit_code == 0, done.err);
    CHECK(names_in(p.out) == words{"U.npy", "V.npy", "components.png", "dendrogram.png", "objective.npy"});
    const auto u = moden::io::load_npy<double, 2>(p.folder / "out/U.npy"), v = moden::io::load_npy<double, 2>(p.folder / "out/V.npy");
    const auto objective = moden::io::load_npy<double, 1>(p.folder / "out/objective.npy");
    REQUIRE(u.shape() == std::array<std::size_t, 2>{planted::rows, 7});
    REQUIRE(v.shape() == std::array<std::size_t, 2>{planted::size, 7});
    // Orthogonal directions leave a lasso problem for each entry: it shrinks by alpha / 2.
    const matrix made = moden::mode_product(u, v, 1);
    for (std::size_t i = 0; i < made.size(); ++i) {
        CHECK(std::abs(made.data()[i] - p.jacobian.data()[i]) < 0.0501);
    }
    for (std::size_t k = 0; k < planted::count; ++k) {
        double best = 0;
        for (std::size_t j = 0; j < 7; ++j) {
            best = std::max(best, cosine(p.directions, k, v, j));
        }
        CHECK(best > 0.999);
    }
    for (std::size_t j = 0; j < 7; ++j) {
        double length = 0;
        for (std::size_t i = 0; i < planted::size; ++i) {
            length += v(i, j) * v(i, j);
        }
        CHECK(length == doctest::Approx(1));  // discarded columns too
    }
    REQUIRE(objective.size() > 1);
    CHECK(objective(objective.size() - 1) == doctest::Approx(24 * (0.1 * 1 - 0.0025) + 24 * (0.1 * 1.5 - 0.0025)).epsilon(1e-6));
    for (std::size_t i = 1; i < objective.size(); ++i) {
        CHECK(objective(i) <= objective(i - 1) * (1 + 1e-12));
    }
    CHECK(done.out.find("48 x 10 in double") != std::string::npos);
    CHECK(done.out.find("kept         4 of 7") != std::string::npos);
    CHECK(done.out.find("discarded    3, for |u| < 0.01: component (|u|)") != std::string::npos);
    CHECK(done.out.find("cluster 2") != std::string::npos);

    // Going on from there, in float, with one cluster. Without --shape the picture of an earlier run does not stay behind.
    const outcome again = localized_components({"--jacobian", p.file, "--start", p.out + "/V.npy", "--alpha", "0.1", "--clusters", "1", "--out", p.out + "2"});
    REQUIRE_MESSAGE(again.exit_code == 0, again.err);
    CHECK(names_in(p.out + "2") == words{"U.npy", "V.npy", "dendrogram.png", "objective.npy"});
    CHECK(moden::io::load_npy<double, 1>(p.out + "2/objective.npy")(0) <= objective(objective.size() - 1) * (1 + 1e-4));
    CHECK(moden::io::npy_file(p.out + "2/U.npy").type() == moden::io::element_type::float32);
    CHECK(again.out.find("from given directions") != std::string::npos);
    REQUIRE(localized_components(p.options({"--components", "2", "--alpha", "0.01"})).exit_code == 0);
    CHECK(names_in(p.out) == words{"U.npy", "V.npy", "dendrogram.png", "objective.npy"});
}

TEST_CASE("the paper's optimiser, and nothing or one component kept") {
    const planted p;
    const outcome adam = localized_components(p.options({"--components", "4", "--alpha", "0.01", "--solver", "adam", "--learning-rate", "0.02"}));
    REQUIRE_MESSAGE(adam.exit_code == 0, adam.err);
    CHECK(adam.out.find("adam") != std::string::npos);
    CHECK(adam.out.find("kept         4 of 4") != std::string::npos);
    const auto v = moden::io::load_npy<double, 2>(p.folder / "out/V.npy");
    double best = 0;
    for (std::size_t j = 0; j < 4; ++j) {
        best = std::max(best, cosine(p.directions, 0, v, j));
    }
    CHECK(best > 0.95);
    // A weight that no entry is worth.
    const outcome none = localized_components(p.options({"--components", "4", "--alpha", "100", "--shape", "6x8"}));
    REQUIRE_MESSAGE(none.exit_code == 0, none.err);
    CHECK(none.out.find("kept         0 of 4") != std::string::npos);
    CHECK(none.out.find("0 (0), 1 (0), 2 (0), 3 (0)") != std::string::npos);
    CHECK(names_in(p.out) == words{"U.npy", "V.npy", "objective.npy"});
    const outcome one = localized_components(p.options({"--components", "1", "--alpha", "0.01", "--shape", "6x8"}));
    REQUIRE_MESSAGE(one.exit_code == 0, one.err);
    CHECK(names_in(p.out) == words{"U.npy", "V.npy", "components.png", "objective.npy"});
    moden::io::save_npy(p.folder / "zero.npy", matrix(p.jacobian * 0));
    const outcome zero = localized_components({"--jacobian", (p.folder / "zero.npy").string(), "--components", "3", "--out", p.out});
    REQUIRE_MESSAGE(zero.exit_code == 0, zero.err);
    CHECK(zero.out.find("kept         0 of 3") != std::string::npos);
}

TEST_CASE("the bundled generator, by all sources") {
    const scratch_folder folder;
    const words few{"--samples", "140", "--components", "5", "--iterations", "6", "--alpha", "0.2"};
    for (const std::string source : {"pairs", "jvp", "picture"}) {
        CAPTURE(source);
        words arguments{"--source", source, "--out", (folder / source).string()};
        arguments.insert(arguments.end(), few.begin(), few.end());
        const outcome done = localized_components(arguments);
        REQUIRE_MESSAGE(done.exit_code == 0, done.err);
        CHECK(names_in(folder / source) ==
              words{"U.npy", "V.npy", "components.png", "dendrogram.png", "directions.npy", "jacobian.npy", "objective.npy"});
        const auto jacobian = moden::io::load_npy<float, 2>(folder / (source + "/jacobian.npy"));
        const std::size_t rows = source == "pairs" ? 64 * 64 * 4 : source == "jvp" ? 16 * 16 * 4 : 64 * 64 * 3;
        CHECK(jacobian.shape() == std::array<std::size_t, 2>{rows, 128});
        CHECK(moden::norm(jacobian) == doctest::Approx(std::sqrt(static_cast<double>(rows))).epsilon(1e-4));
        CHECK(moden::io::npy_file(folder / (source + "/U.npy")).shape() == moden::extents{rows, 5});
        CHECK(moden::io::npy_file(folder / (source + "/V.npy")).shape() == moden::extents{128, 5});
        CHECK(moden::io::npy_file(folder / (source + "/directions.npy")).shape() == moden::extents{5, 128});
        CHECK(done.out.find("read off the faces") != std::string::npos);
        // Components are a picture, then faces for nine strengths and a difference.
        CHECK(moden::io::read_png(folder / (source + "/components.png")).shape()[1] > 11 * 72);
    }
    // What was written can be read again.
    const outcome again = localized_components({"--jacobian", (folder / "jvp/jacobian.npy").string(), "--shape", "16x16x4", "--start",
                                                (folder / "jvp/V.npy").string(), "--out", (folder / "again").string()});
    CHECK_MESSAGE(again.exit_code == 0, again.err);
}

TEST_CASE("dendrograms") {
    // Two pairs that are close, far from each other; clusters are numbered as they are drawn.
    const auto points = matrix{{0.0, 0.0}, {9.0, 0.0}, {0.5, 0.0}, {9.4, 0.0}};
    const moden::cluster_tree tree = moden::ward_linkage(points);
    const auto clusters = examples::clusters_from_the_left(tree, moden::cut_into_clusters(tree, 2));
    const auto order = moden::leaf_order(tree);
    CHECK(clusters[order[0]] == 0);
    CHECK(clusters[order[3]] == 1);
    CHECK(clusters[0] == clusters[2]);
    CHECK(clusters[0] != clusters[1]);
    const examples::canvas named = draw(examples::dendrogram{.tree = tree, .labels = {"a", "b", "c", "d"}, .clusters = clusters});
    const auto bytes = named.bytes();
    const auto count_of = [&](examples::color paint) {
        std::size_t count = 0;
        for (std::size_t i = 0; i < bytes.size(); i += 3) {
            count += std::abs(bytes.data()[i] - 255 * paint.red) < 2 && std::abs(bytes.data()[i + 1] - 255 * paint.green) < 2 &&
                             std::abs(bytes.data()[i + 2] - 255 * paint.blue) < 2
                         ? 1
                         : 0;
        }
        return count;
    };
    CHECK(count_of(examples::palette[0]) > 20);  // the bracket of one pair
    CHECK(count_of(examples::palette[1]) > 20);
    CHECK(count_of(examples::faint) > 20);       // what joins them
    CHECK(count_of(examples::palette[2]) == 0);
    const matrix many(matrix::shape_type{400, 2}, 0.0);
    CHECK(draw(examples::dendrogram{.tree = moden::ward_linkage(many)}).width() < 2200);
}

TEST_CASE("refused") {
    const planted p;
    const auto refused = [&](const words& arguments, const std::string& text) {
        CAPTURE(text);
        check_refused(localized_components(arguments), "localized_components", text);
        CHECK(!std::filesystem::exists(p.out));
    };
    refused({}, "--out");
    refused(p.options({}), "--jacobian needs --components or --start");
    refused(p.options({"--components", "0"}), "--components");
    refused(p.options({"--components", "11"}), "11 components of a Jacobian of 48 x 10 (expected 1 to 10)");
    refused(p.options({"--components", "4", "--alpha", "-1"}), "--alpha -1 (expected a finite number of at least 0)");
    refused(p.options({"--components", "4", "--beta", "-0.5"}), "--beta -0.5");
    refused(p.options({"--components", "4", "--beta", "nan"}), "--beta nan");
    refused(p.options({"--components", "4", "--discard", "-1"}), "--discard -1");
    refused(p.options({"--components", "4", "--tolerance", "-1"}), "--tolerance -1");
    refused(p.options({"--components", "4", "--learning-rate", "0"}), "--learning-rate 0");
    refused(p.options({"--components", "4", "--solver", "newton"}), "--solver");
    refused(p.options({"--components", "4", "--source", "jvp"}), "--source");
    refused(p.options({"--components", "4", "--shape", "4x4x4"}), "--shape 4x4x4 has 64 elements");
    refused(p.options({"--components", "4", "--shape", "48"}), "--shape '48' (expected HxWxC");
    refused(p.options({"--components", "4", "--shape", "4x-4x3"}), "--shape '4x-4x3'");
    refused({"--shape", "4x4x3", "--out", p.out}, "--jacobian");
    refused({"--jacobian", (p.folder / "none.npy").string(), "--components", "4", "--out", p.out}, "none.npy");
    const auto with = [&](const auto& jacobian) {
        moden::io::save_npy(p.folder / "other.npy", jacobian);
        return words{"--jacobian", (p.folder / "other.npy").string(), "--components", "4", "--out", p.out};
    };
    refused(with(moden::tensor<double, 1>::from_shape({9})), "an array of 9 (expected S x d)");
    matrix spoilt = p.jacobian;
    spoilt(3, 1) = std::numeric_limits<double>::quiet_NaN();
    refused(with(spoilt), "NaN");
    spoilt(3, 1) = std::numeric_limits<double>::infinity();
    refused(with(spoilt), "NaN or infinite");
    // Directions to start from.
    const auto from = [&](const auto& directions, const words& more = {}) {
        moden::io::save_npy(p.folder / "start.npy", directions);
        words result = p.options({"--start", (p.folder / "start.npy").string()});
        result.insert(result.end(), more.begin(), more.end());
        return result;
    };
    matrix start = p.directions;
    refused(from(start, {"--components", "5"}), "--components 5, but --start");
    refused(from(matrix(xt::transpose(start))), "(expected 10 x P)");
    for (std::size_t i = 0; i < planted::size; ++i) {
        start(i, 2) = 0;
    }
    refused(from(start), "column 2 is zero (expected a direction)");
    start(4, 2) = std::numeric_limits<double>::quiet_NaN();
    refused(from(start), "column 2 holds NaN or infinity");
    const matrix many(matrix::shape_type{planted::size, planted::size + 1}, 1.0);
    refused(from(many), "11");
    // The generator.
    refused({"--samples", "100", "--out", p.out}, "--samples 100 (expected more than w_dim + 1 = 129)");
    refused({"--components", "129", "--out", p.out}, "--components 129 (expected at most w_dim = 128)");
    refused({"--measure", "", "--out", p.out}, "need --measure");
    refused({"--depth-share", "1.5", "--out", p.out}, "--depth-share 1.5");
    refused({"--weights", p.file, "--out", p.out}, "J.npy");
    refused({"--face", p.file, "--samples", "140", "--out", p.out}, "has 480 entries (expected 128)");
    refused({"--start", p.file, "--out", p.out}, "(expected 128 x P)");
    // Results do not replace what is read.
    std::filesystem::create_directory(p.folder / "here");
    moden::io::save_npy(p.folder / "here/V.npy", p.directions);
    check_refused(localized_components({"--jacobian", p.file, "--start", (p.folder / "here/V.npy").string(), "--out", (p.folder / "here").string()}),
                  "localized_components", "would be replaced by the results");
    CHECK(names_in(p.folder / "here") == words{"V.npy"});
}
