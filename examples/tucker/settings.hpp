#pragma once

// What the command line of tucker says.

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <moden/core/extents.hpp>
#include <moden/multilinear/options.hpp>

#include "../common/program.hpp"

namespace tucker {

enum class method { st_hosvd, hosvd, hooi, complete };
enum class place { cpu, cuda };
enum class precision { like_input, double_precision };

inline const std::map<std::string, method> method_names{
    {"st_hosvd", method::st_hosvd}, {"hosvd", method::hosvd}, {"hooi", method::hooi}, {"complete", method::complete}};
inline const std::map<std::string, moden::svd_method> svd_names{{"automatic", moden::svd_method::automatic},
                                                                {"gram", moden::svd_method::gram},
                                                                {"qr", moden::svd_method::qr},
                                                                {"randomized", moden::svd_method::randomized}};
inline const std::map<std::string, place> place_names{{"cpu", place::cpu}, {"cuda", place::cuda}};

/// The name that the command line uses for a value.
template <class Value>
std::string name_of(const std::map<std::string, Value>& names, Value value) {
    return std::find_if(names.begin(), names.end(), [&](const auto& entry) { return entry.second == value; })->first;
}

struct settings {
    std::string input;
    std::string mask;
    std::string out;
    moden::extents ranks;
    tucker::method method = method::st_hosvd;
    moden::svd_method svd = moden::svd_method::automatic;
    std::optional<double> tolerance;
    std::optional<double> energy;
    std::size_t max_iterations = 0;  ///< 0: the default of the method
    place where = place::cpu;
    tucker::precision scalar = precision::like_input;
    std::size_t threads = 0;  ///< 0: all
};

/// "200,60,15,2" as numbers.
/// \throws examples::usage_error for anything else
inline moden::extents parse_ranks(const std::string& text) {
    moden::extents ranks;
    std::size_t begin = 0;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        const std::string number = text.substr(begin, end - begin);
        const bool digits =
            std::all_of(number.begin(), number.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
        if (number.empty() || number.size() > 18 || !digits) {
            throw examples::usage_error(
                "--ranks '" + text +
                "' (expected one positive number per mode, separated by commas, such as 200,60,15,2)");
        }
        ranks.push_back(std::stoull(number));
        begin = end + 1;
    }
    return ranks;
}

/// The command line: options go into `result` when the application parses.
class command_line {
public:
    explicit command_line(settings& result) : settings_(result) {
        app_.name("tucker");
        app_.description(
            "Tucker decomposition of a tensor in an NPY file: T ~ G x_0 U_0 x_1 U_1 ...\n"
            "Writes core.npy (G), factor_N.npy (U_N, I_N x R_N), singular_values_N.npy (all that were\n"
            "computed) and spectrum.png; with --mask also completed.npy. Files of an earlier run in the\n"
            "folder are replaced, all at once and at the end.\n");
        app_.footer(
            "\nComputed in float if the file's type fits into it (float32, float16, bool, integers of 8 and\n"
            "16 bits), otherwise in double; --double always computes in double. Files of float32 and\n"
            "float64 in C order are mapped into memory, not loaded.\n"
            "\nExamples:\n"
            "  tucker --input latents.npy --ranks 200,60,15,2 --out result\n"
            "      these ranks, by the sequentially truncated HOSVD\n"
            "  tucker --input video.npy --tolerance 0.05 --out result\n"
            "      the smallest ranks with an error of at most 5 percent\n"
            "  tucker --input video.npy --energy 0.99 --method hosvd --out result\n"
            "      99 percent of the energy in every mode\n"
            "  tucker --input T.npy --ranks 5,5,5 --mask observed.npy --out result\n"
            "      missing entries are predicted: see completed.npy\n"
            "\nEvery error is one line on stderr and exit code 2, and nothing is written.");
        app_.add_option("--input", settings_.input, "tensor, an NPY file of numbers")->required()->type_name("T.npy");
        app_.add_option("--out", settings_.out, "folder for the results; created if needed")
            ->required()
            ->type_name("DIR");
        app_.add_option("--ranks", ranks_,
                        "rank per mode; with --tolerance or --energy upper limits;\ndefault: as many as there are")
            ->type_name("R0,R1,...");
        method_ = app_.add_option("--method", settings_.method,
                                  "st_hosvd (default), hosvd, hooi (needs --ranks), complete (needs --mask)")
                      ->transform(CLI::CheckedTransformer(method_names).description(""))
                      ->type_name("NAME");
        app_.add_option("--svd", settings_.svd,
                        "of every unfolding: automatic (default), gram, qr, randomized (needs --ranks)")
            ->transform(CLI::CheckedTransformer(svd_names).description(""))
            ->type_name("NAME");
        tolerance_ = app_.add_option("--tolerance", settings_.tolerance, "relative error |T - T^| / |T| not to exceed")
                         ->type_name("X");
        energy_ = app_.add_option("--energy", settings_.energy, "fraction of |T|^2 that every mode is to keep")
                      ->type_name("X");
        app_.add_option("--mask", settings_.mask,
                        "nonzero where the tensor is observed, an NPY file of the same shape;\nthe other entries are "
                        "predicted from --ranks")
            ->type_name("M.npy");
        iterations_ = app_.add_option("--max-iterations", settings_.max_iterations,
                                      "of hooi (default 50) and of completion (default 1000)")
                          ->check(CLI::Range(std::size_t{1}, std::size_t{1000000}).description(""))
                          ->type_name("N");
        app_.add_option("--policy", settings_.where, "cpu (default) or cuda")
            ->transform(CLI::CheckedTransformer(place_names).description(""))
            ->type_name("NAME");
        app_.add_flag("--double", double_, "compute in double whatever the file holds");
        threads_ = app_.add_option("--threads", settings_.threads, "threads of the CPU; default: all")
                       ->check(CLI::Range(std::size_t{1}, std::size_t{4096}).description(""))
                       ->type_name("N");
        app_.get_formatter()->column_width(30);
    }

    CLI::App& app() { return app_; }

    /// Brings the parsed options into the settings and refuses combinations that mean nothing.
    void finish() {
        const auto refuse_if = [](bool bad, const std::string& text) {
            if (bad) {
                throw examples::usage_error(text);
            }
        };
        if (app_.get_option("--ranks")->count() > 0) {
            settings_.ranks = parse_ranks(ranks_);
        }
        settings_.scalar = double_ ? precision::double_precision : precision::like_input;
        const bool masked = app_.get_option("--mask")->count() > 0;
        refuse_if(tolerance_->count() > 0 && energy_->count() > 0,
                  "--tolerance and --energy are both given (expected one)");
        refuse_if(settings_.method == method::complete && !masked, "--method complete needs --mask");
        if (masked) {
            refuse_if(settings_.method == method::hosvd || settings_.method == method::hooi,
                      "--mask does not go with --method " + name_of(method_names, settings_.method) +
                          " (completion is by repeated st_hosvd)");
            refuse_if(settings_.ranks.empty(), "--mask needs --ranks");
            settings_.method = method::complete;
        }
        const bool iterates = settings_.method == method::complete || settings_.method == method::hooi;
        const std::string method_text = masked ? "--mask" : "--method " + name_of(method_names, settings_.method);
        refuse_if(iterates && (tolerance_->count() > 0 || energy_->count() > 0),
                  method_text + " needs --ranks and takes neither --tolerance nor --energy");
        refuse_if(iterates && settings_.ranks.empty(), method_text + " needs --ranks");
        refuse_if(!iterates && iterations_->count() > 0,
                  method_text + " does not iterate; --max-iterations goes with hooi and --mask");
        refuse_if(settings_.svd == moden::svd_method::randomized && settings_.ranks.empty(),
                  "--svd randomized needs --ranks");
        refuse_if(settings_.where == place::cuda && threads_->count() > 0, "--threads goes with --policy cpu");
    }

private:
    settings& settings_;
    CLI::App app_;
    std::string ranks_;
    bool double_ = false;
    CLI::Option* method_ = nullptr;
    CLI::Option* tolerance_ = nullptr;
    CLI::Option* energy_ = nullptr;
    CLI::Option* iterations_ = nullptr;
    CLI::Option* threads_ = nullptr;
};

}  // namespace tucker
