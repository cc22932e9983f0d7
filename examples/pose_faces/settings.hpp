#pragma once

// What the command line of pose_faces says.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

#include "../common/program.hpp"

namespace pose_faces {

struct settings {
    std::string out;
    std::string weights = std::string(MODEN_DATA_FOLDER) + "/faces64.safetensors";
    std::string measure = std::string(MODEN_DATA_FOLDER) + "/face_factors.safetensors";
    bool bundled = true;  ///< the generator is the one whose codes of renders are bundled
    std::size_t samples = 2000;
    std::size_t basis = 12;
    std::size_t epochs = 20;
    std::size_t faces = 5;
    std::size_t renders = 200;
    double preservation = 0.02;
    std::size_t iterations = 10;
    std::uint64_t seed = 5;
};

class command_line {
public:
    explicit command_line(settings& result) : settings_(result) {
        app_.name("pose_faces");
        app_.description(
            "Learns a 3D model of the faces that a generator makes from 2D landmarks alone, then a regressor from latent codes to the\n"
            "model's pose and shape, and turns, tilts, and cheers up faces with it: by one linear step and by minimising.\n");
        app_.footer(
            "\nWrites strips_linear.png, strips_gradient.png, transfer.png, edits.csv, table.csv and shape.npy (3 x L).\n"
            "\nExamples:\n"
            "  pose_faces --out faces\n"
            "  pose_faces --weights W.safetensors --measure R.safetensors --out faces\n"
            "      your own generator, and a regressor that reads landmarks_2d, yaw, pitch, roll and happiness off its pictures\n"
            "\nEvery error is one line on stderr and exit code 2, and nothing is written.");
        const auto count = [&](const char* name, std::size_t& value, const char* text, std::size_t least, std::size_t most) {
            app_.add_option(name, value, std::string(text) + "; default " + std::to_string(value))->check(CLI::Range(least, most).description(""))->type_name("N");
        };
        app_.add_option("--out", settings_.out, "folder for the results; created if needed")->required()->type_name("DIR");
        weights_ = app_.add_option("--weights", settings_.weights, "generator; default: the bundled one")->type_name("W.safetensors");
        app_.add_option("--measure", settings_.measure, "regressor that reads landmarks and poses; default: the bundled one")->type_name("R.safetensors");
        count("--samples", settings_.samples, "faces to learn from, in each of two sets", 200, 1000000);
        count("--basis-shapes", settings_.basis, "basis shapes K", 1, 60);
        count("--epochs", settings_.epochs, "of the regressors", 1, 10000);
        count("--faces", settings_.faces, "edited faces per line of the tables", 2, 10000);
        count("--renders", settings_.renders, "renders with known 3D landmarks", 2, 100000);
        app_.add_option("--preservation", settings_.preservation, "weight of the identity in edits by minimising; default 0.02")->type_name("X");
        count("--iterations", settings_.iterations, "of an edit by minimising", 1, 10000);
        app_.add_option("--seed", settings_.seed, "of faces and networks; default 5")->type_name("N");
        app_.get_formatter()->column_width(30);
    }

    CLI::App& app() { return app_; }

    /// What can only be checked when everything has been read.
    void finish() {
        settings_.bundled = weights_->count() == 0;
        if (!(std::isfinite(settings_.preservation) && settings_.preservation >= 0)) {
            throw examples::usage_error("--preservation " + std::to_string(settings_.preservation) + " (expected a finite number of at least 0)");
        }
    }

private:
    settings& settings_;
    CLI::App app_;
    CLI::Option* weights_ = nullptr;
};

}  // namespace pose_faces
