#pragma once

// What the command line of edit_faces says.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

#include "../common/program.hpp"

namespace edit_faces {

struct settings {
    std::string out;
    std::string codes = std::string(MODEN_DATA_FOLDER) + "/face_codes.npy";
    std::string levels = std::string(MODEN_DATA_FOLDER) + "/face_codes.json";
    std::string weights = std::string(MODEN_DATA_FOLDER) + "/faces64.safetensors";
    std::string start = std::string(MODEN_DATA_FOLDER) + "/faces64-inversion.safetensors";
    std::string measure = std::string(MODEN_DATA_FOLDER) + "/face_factors.safetensors";
    std::string face;        ///< codes of a new face; empty: a render that is inverted, or a sample of the generator
    bool bundled = true;     ///< the generator is the one that the inversion's first guess belongs to
    std::string person = "person", expression = "expression", intensity = "intensity", view = "view";
    double step = 0.5;
    double ridge = 0.05;
    std::size_t samples = 2000;
    std::uint64_t seed = 14;
    std::size_t invert_persons = 0;  ///< persons of a structured set to render and invert; 0: none
    std::size_t iterations = 200;
    bool tables = false;  ///< the papers' tables instead of pictures
};

class command_line {
public:
    explicit command_line(settings& result) : settings_(result) {
        app_.name("edit_faces");
        app_.description(
            "Fits a tensor model to a structured set of latent codes (codes x persons x expressions x intensities x views),\n"
            "draws what its directions do to faces, and measures how cleanly they do it, beside other linear directions.\n");
        app_.footer(
            "\nWrites expressions_mean.png, expressions_new.png, yaw.png, expression_space.png, transfer.png, energy.png,\n"
            "directions.npy (one row per direction) and leakage.csv.\n"
            "\nExamples:\n"
            "  edit_faces --out faces\n"
            "  edit_faces --codes T.npy --levels T.json --weights W.safetensors --measure '' --out faces\n"
            "      your own codes and generator; T.json: {\"modes\": [{\"name\": \"person\", \"levels\": [\"p00\", ...]}, ...]}\n"
            "      names the modes 1, 2, ... of T, mode 0 being a flattened w+ (or w)\n"
            "  edit_faces --invert-set 28 --out set\n"
            "      renders a structured set of 28 persons and inverts it: writes codes.npy and levels.json, nothing else\n"
            "  edit_faces --tables --out tables\n"
            "      writes tables.md and penalties.png\n"
            "\nEvery error is one line on stderr and exit code 2, and nothing is written.");
        app_.add_option("--out", settings_.out, "folder for the results; created if needed")->required()->type_name("DIR");
        auto* codes = app_.add_option("--codes", settings_.codes, "codes, D x levels of mode 1 x ...; default: the bundled set")->type_name("T.npy");
        auto* levels = app_.add_option("--levels", settings_.levels, "names of the modes and levels of --codes")->type_name("T.json");
        codes->needs(levels);
        levels->needs(codes);
        weights_ = app_.add_option("--weights", settings_.weights, "generator; default: the bundled one")->type_name("W.safetensors");
        app_.add_option("--measure", settings_.measure, "regressor that reads factors off pictures; '' for none")->type_name("R.safetensors");
        app_.add_option("--face", settings_.face, "code of the new face, w or w+; default: a render that the generator never saw, inverted\n"
                                                  "(with --weights: a sample)")->type_name("W.npy");
        app_.add_option("--person-mode", settings_.person, "name of the mode of persons; default 'person'")->type_name("NAME");
        app_.add_option("--expression-mode", settings_.expression, "of expressions; default 'expression'")->type_name("NAME");
        app_.add_option("--intensity-mode", settings_.intensity, "of their intensities, if there is one; default 'intensity'")->type_name("NAME");
        app_.add_option("--view-mode", settings_.view, "of views, if there is one; default 'view'")->type_name("NAME");
        app_.add_option("--step", settings_.step, "what strength 1 is, in units of the model's directions; default 0.5")->type_name("X");
        app_.add_option("--ridge", settings_.ridge, "of estimated parameters, per unit of a code's mean square; default 0.05")->type_name("X");
        app_.add_option("--samples", settings_.samples, "of the generator for the other methods; default 2000")
            ->check(CLI::Range(std::size_t{100}, std::size_t{1000000}).description(""))
            ->type_name("N");
        app_.add_option("--seed", settings_.seed, "of the new face and the samples; default 14")->type_name("N");
        auto* invert = app_.add_option("--invert-set", settings_.invert_persons, "persons of a structured set to render and invert")
            ->check(CLI::Range(std::size_t{1}, std::size_t{10000}).description(""))
            ->excludes(codes)
            ->type_name("N");
        app_.add_option("--iterations", settings_.iterations, "of an inversion; default 200")
            ->check(CLI::Range(std::size_t{0}, std::size_t{100000}).description(""))
            ->type_name("N");
        invert->excludes(weights_);
        app_.add_flag("--tables", settings_.tables, "instead: the papers' tables on persons kept from the model (minutes)")->excludes(invert);
        app_.get_formatter()->column_width(30);
    }

    CLI::App& app() { return app_; }

    /// What can only be checked when everything has been read.
    void finish() {
        settings_.bundled = weights_->count() == 0;
        const auto check = [](const char* option, double value, bool fits, const char* expected) {
            if (!fits) {
                throw examples::usage_error(std::string(option) + " " + std::to_string(value) + " (expected " + expected + ")");
            }
        };
        check("--step", settings_.step, std::isfinite(settings_.step) && settings_.step != 0, "a finite number other than 0");
        check("--ridge", settings_.ridge, std::isfinite(settings_.ridge) && settings_.ridge >= 0, "a finite number of at least 0");
    }

private:
    settings& settings_;
    CLI::App app_;
    CLI::Option* weights_ = nullptr;
};

}  // namespace edit_faces
