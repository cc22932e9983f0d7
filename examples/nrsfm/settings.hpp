#pragma once

// What the command line of nrsfm says.

#include <cstddef>
#include <map>
#include <string>

#include <CLI/CLI.hpp>
#include <moden/nrsfm/rank_one_factorization.hpp>

namespace nrsfm {

/// Which way the second image coordinate counts; z points away from the viewer where it counts downwards, towards him otherwise.
enum class image_rows { down, up };

struct settings {
    std::string tracks, missing, out;
    std::size_t rank = 0;  ///< 0: by the information criterion
    moden::camera_model cameras = moden::camera_model::scaled_orthographic;
    moden::basis_choice basis = moden::basis_choice::principal_components;
    image_rows rows = image_rows::down;
    bool mirror = false;  ///< the other one of the two mirror images
    double shrinkage = 0.1;
    std::size_t max_iterations = 200;
    std::size_t frames = 2000, size = 256, seed = 1;  ///< of the face world
    double noise = 0.5;                               ///< pixels

    /// What sticks out farthest points away from the viewer, as the ends of the jaw do in landmarks of faces.
    moden::depth_rule depth() const { return (rows == image_rows::down) != mirror ? moden::depth_rule::positive_skew : moden::depth_rule::negative_skew; }
};

/// Adds the options to a program; they go into `wanted` when it parses.
inline void add_options(CLI::App& app, settings& wanted) {
    static const std::map<std::string, moden::camera_model> cameras{
        {"unit", moden::camera_model::unit}, {"scaled", moden::camera_model::scaled_orthographic}, {"affine", moden::camera_model::affine}};
    static const std::map<std::string, moden::basis_choice> bases{{"principal", moden::basis_choice::principal_components}, {"independent", moden::basis_choice::independent_components},
                                                                  {"joint", moden::basis_choice::joint}};
    static const std::map<std::string, image_rows> directions{{"down", image_rows::down}, {"up", image_rows::up}};
    const auto counted = [&](const char* name, std::size_t& value, const char* text, std::size_t least, std::size_t most) {
        return app.add_option(name, value, text)->check(CLI::Range(least, most).description(""))->type_name("N");
    };
    app.add_option("--out", wanted.out, "folder for the results; created if needed")->required()->type_name("DIR");
    auto* tracks = app.add_option("--tracks", wanted.tracks, "tracks of your own, 2F x P (rows 2f and 2f + 1: x and y of frame f) or F x 2 x P")->type_name("W.npy");
    app.add_option("--missing", wanted.missing, "nan: NaN stands for points that were not seen")
        ->check(CLI::IsMember({"nan"}).description(""))
        ->needs(tracks)
        ->type_name("nan");
    counted("--rank", wanted.rank, "basis shapes K; default: as many as an information criterion asks for", 1, 1000000);
    app.add_option("--cameras", wanted.cameras, "unit, scaled (default: a scale per frame) or affine")
        ->transform(CLI::CheckedTransformer(cameras).description(""))
        ->type_name("NAME");
    app.add_option("--basis", wanted.basis, "principal (default): principal components of what is not rigid; independent: those\nturned to independent ones; joint: rounds of least squares, better and slower")
        ->transform(CLI::CheckedTransformer(bases).description(""))
        ->type_name("NAME");
    app.add_option("--shrinkage", wanted.shrinkage, "of coefficients that a frame says little about; default 0.1, 0: none")
        ->check(CLI::NonNegativeNumber.description(""))
        ->type_name("L");
    counted("--iterations", wanted.max_iterations, "rounds, at most; default 200", 1, 1000000);
    app.add_option("--rows", wanted.rows, "down (default) or up: which way the second image coordinate counts")
        ->transform(CLI::CheckedTransformer(directions).description(""))
        ->type_name("NAME");
    app.add_flag("--mirror", wanted.mirror, "the other one of the two mirror images, which tracks do not tell apart; by default\nwhat sticks out farthest points away from the viewer");
    counted("--frames", wanted.frames, "faces of the face world; default 2000", 3, 10000000)->excludes(tracks);
    counted("--size", wanted.size, "of their pictures, which nobody renders; default 256 pixels", 8, 65536)->excludes(tracks);
    app.add_option("--noise", wanted.noise, "standard deviation of their landmarks in pixels; default 0.5")
        ->check(CLI::NonNegativeNumber.description(""))
        ->excludes(tracks)
        ->type_name("S");
    app.add_option("--seed", wanted.seed, "of faces and noise; default 1")->excludes(tracks)->type_name("N");
    app.footer(
        "\nWrites shapes.npy (F x 3 x P, in the object's frame), cameras.npy (F x 2 x 3), translations.npy (F x 2), so that\n"
        "tracks(f) = cameras(f) shapes(f) + translations(f) up to the residual; basis.npy (K x P), directions.npy (K x 3) and\n"
        "alpha.npy (F x K): shapes(f) is a rigid shape + sum_k alpha(f, k) directions(k)' basis(k); mean_shape.png and basis.png.\n"
        "Computed in the precision of the tracks. Every error is one line on stderr and exit code 2, and nothing is written.");
}

}  // namespace nrsfm
