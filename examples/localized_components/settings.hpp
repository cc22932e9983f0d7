#pragma once

// What the command line of localized_components says.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <moden/core/extents.hpp>
#include <moden/sparse/localized_dictionary.hpp>

#include "../common/program.hpp"

namespace localized_components {

/// Where the Jacobian comes from.
enum class jacobian_source {
    pairs,    ///< canonical albedo and depth maps of sampled faces, regressed on w
    jvp,      ///< albedo and depth as the regressor reads them, exactly, at the mean code
    picture,  ///< the picture itself, exactly, at the mean code
    file      ///< one's own
};

struct settings {
    std::string out;
    std::string jacobian;  ///< empty: one of the generator
    std::string shape;     ///< HxWxC of the rows of that Jacobian
    std::string start;     ///< directions to start from; empty: random ones
    std::string weights = std::string(MODEN_DATA_FOLDER) + "/faces64.safetensors";
    std::string measure = std::string(MODEN_DATA_FOLDER) + "/face_factors.safetensors";
    std::string face;  ///< w of the face that is edited; empty: the mean
    jacobian_source source = jacobian_source::pairs;
    std::optional<std::size_t> components;
    std::optional<double> sparsity, coherence, discard;
    moden::dictionary_method solver = moden::dictionary_method::alternating;
    std::optional<std::size_t> iterations;
    double tolerance = 1e-5;
    double learning_rate = 3e-3;
    double depth_share = 0.2;
    std::size_t samples = 3000;
    std::size_t clusters = 3;
    std::uint64_t seed = 0;
    bool in_double = false;

    // Weights belong to the scale of the Jacobian. The generator's are brought to |J|^2 = S; for one's own there are the paper's.
    bool own() const { return source == jacobian_source::file; }
    double alpha() const { return sparsity.value_or(own() ? 1.0 : 0.2); }
    double beta() const { return coherence.value_or(own() ? 1.0 : 100.0); }
    std::size_t most_iterations() const { return iterations.value_or(solver == moden::dictionary_method::adam ? 3000 : 200); }
};

/// "64x64x4" as extents. \throws usage_error
inline moden::extents shape_of(const std::string& text) {
    moden::extents result;
    std::size_t at = 0;
    const auto refuse = [&] { throw examples::usage_error("--shape '" + text + "' (expected HxWxC, such as 64x64x3, or HxW)"); };
    while (true) {
        std::size_t value = 0, digits = 0;
        for (; at < text.size() && text[at] >= '0' && text[at] <= '9' && digits < 7; ++at, ++digits) {
            value = 10 * value + static_cast<std::size_t>(text[at] - '0');
        }
        if (value == 0) {
            refuse();
        }
        result.push_back(value);
        if (at == text.size()) {
            break;
        }
        if (text[at++] != 'x') {
            refuse();
        }
    }
    if (result.size() == 2) {
        result.push_back(1);
    }
    if (result.size() != 3) {
        refuse();
    }
    return result;
}

class command_line {
public:
    explicit command_line(settings& result) : settings_(result) {
        app_.name("localized_components");
        app_.description(
            "Finds directions of a generator's w that each change a small part of the face: the Jacobian J of albedo and depth maps is written\n"
            "as U V', min |J - U V'|^2 + alpha |U|_1 + beta sum_{i != j} (v_i' v_j)^2, |v_p| = 1, with one picture u_p per direction v_p.\n");
        app_.footer(
            "\nSources of J (S x d; one column per coordinate of w, made uncorrelated with standard deviation 1):\n"
            "  pairs    faces are sampled, the regressor reads their factors, the face world renders their albedo and depth from the front\n"
            "           (64 x 64), and those are regressed on w: changes over the whole distribution, without pose and light\n"
            "  jvp      exact derivative of the albedo and depth maps that the regressor itself gives (16 x 16), at the mean code\n"
            "  picture  exact derivative of the picture at the mean code, averaged to at most 64 x 64; needs no regressor\n"
            "\nWrites U.npy (S x P) and V.npy (d x P), all components; objective.npy (after every iteration); dendrogram.png (unless fewer\n"
            "than two components are kept); components.png (with --jacobian: if --shape is given); without --jacobian also jacobian.npy\n"
            "(S x d) and directions.npy (P x w_dim: a step in w of one standard deviation per row).\n"
            "\nExamples:\n"
            "  localized_components --out faces\n"
            "  localized_components --jacobian J.npy --components 50 --alpha 1 --beta 1 --out own\n"
            "  localized_components --jacobian faces/jacobian.npy --shape 64x64x4 --start faces/V.npy --alpha 0.5 --beta 100 --out sparser\n"
            "\nEvery error is one line on stderr and exit code 2, and nothing is written.");
        const auto positive = CLI::Range(std::size_t{1}, std::size_t{1} << 40).description("");
        app_.add_option("--out", settings_.out, "folder for the results; created if needed")->required()->type_name("DIR");
        own_ = app_.add_option("--jacobian", settings_.jacobian, "your own J, S x d, used as it is")->type_name("J.npy");
        app_.add_option("--shape", settings_.shape, "what a column of J is, to draw it: HxWxC, channels last (3: colour, 4: colour and depth)")
            ->needs(own_)
            ->type_name("HxWxC");
        app_.add_option("--components", settings_.components, "P; default 64, or that of --start. With --jacobian there is no default")
            ->check(positive)
            ->type_name("P");
        app_.add_option("--alpha", settings_.sparsity, "weight of |U|_1; default 0.2, with --jacobian 1")->type_name("A");
        app_.add_option("--beta", settings_.coherence, "weight of the squared cosines; default 100, with --jacobian 1")->type_name("B");
        app_.add_option("--discard", settings_.discard, "components of |u_p| below are discarded; default 0.01 |J|, with --jacobian 0.01")->type_name("X");
        app_.add_option("--start", settings_.start, "directions to start from, d x P; default: random ones")->type_name("V.npy");
        app_.add_option("--solver", settings_.solver, "alternating (default) or adam")
            ->transform(CLI::CheckedTransformer(std::map<std::string, moden::dictionary_method>{{"alternating", moden::dictionary_method::alternating},
                                                                                                 {"adam", moden::dictionary_method::adam}})
                            .description(""))
            ->type_name("NAME");
        app_.add_option("--iterations", settings_.iterations, "at most; default 200, of adam 3000")->check(positive)->type_name("N");
        app_.add_option("--tolerance", settings_.tolerance, "stop at a smaller relative change of the objective; default 1e-5")->type_name("X");
        app_.add_option("--learning-rate", settings_.learning_rate, "of adam; default 0.003")->type_name("X");
        app_.add_option("--seed", settings_.seed, "of random directions and samples; default 0")->type_name("N");
        app_.add_flag("--double", settings_.in_double, "factorise in double precision");
        app_.add_option("--clusters", settings_.clusters, "of the dendrogram; default 3")->check(positive)->type_name("K");
        auto* source = app_.add_option("--source", settings_.source, "pairs (default), jvp or picture; see below")
                           ->transform(CLI::CheckedTransformer(std::map<std::string, jacobian_source>{{"pairs", jacobian_source::pairs},
                                                                                                       {"jvp", jacobian_source::jvp},
                                                                                                       {"picture", jacobian_source::picture}})
                                           .description(""))
                           ->type_name("NAME");
        auto* weights = app_.add_option("--weights", settings_.weights, "generator; default: the bundled one")->type_name("W.safetensors");
        auto* measure = app_.add_option("--measure", settings_.measure, "regressor that reads pictures; default: the bundled one; '' for none")
                            ->type_name("R.safetensors");
        auto* samples = app_.add_option("--samples", settings_.samples, "of w; of pairs also their faces; default 3000")->check(positive)->type_name("N");
        auto* depth = app_.add_option("--depth-share", settings_.depth_share, "of depth in |J|^2, next to albedo; default 0.2")->type_name("X");
        auto* face = app_.add_option("--face", settings_.face, "w of the face that is edited; default: the mean")->type_name("W.npy");
        for (CLI::Option* option : {source, weights, measure, samples, depth, face}) {
            own_->excludes(option);
        }
        app_.get_formatter()->column_width(30);
    }

    CLI::App& app() { return app_; }

    /// What can only be checked when everything has been read.
    void finish() {
        if (own_->count() > 0) {
            settings_.source = jacobian_source::file;
            if (!settings_.components && settings_.start.empty()) {
                throw examples::usage_error("--jacobian needs --components or --start");
            }
        }
        const auto check = [](const char* option, double value, bool fits, const char* expected) {
            if (!fits) {
                char text[160];
                std::snprintf(text, sizeof text, "%s %g (expected %s)", option, value, expected);
                throw examples::usage_error(text);
            }
        };
        const auto weight = [&](const char* option, double value) {
            check(option, value, std::isfinite(value) && value >= 0, "a finite number of at least 0");
        };
        weight("--alpha", settings_.alpha());
        weight("--beta", settings_.beta());
        weight("--discard", settings_.discard.value_or(0));
        weight("--tolerance", settings_.tolerance);
        check("--learning-rate", settings_.learning_rate, std::isfinite(settings_.learning_rate) && settings_.learning_rate > 0, "a positive, finite number");
        check("--depth-share", settings_.depth_share, settings_.depth_share >= 0 && settings_.depth_share <= 1, "a number from 0 to 1");
        if (!settings_.shape.empty()) {
            shape_of(settings_.shape);
        }
    }

private:
    settings& settings_;
    CLI::App app_;
    CLI::Option* own_ = nullptr;
};

}  // namespace localized_components
