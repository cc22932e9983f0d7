#pragma once

// What the command line of stylegan2_run says.

#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <moden/stylegan2/latents.hpp>
#include <moden/stylegan2/synthesis.hpp>

#include "../common/program.hpp"

namespace stylegan2_run {

enum class place { cpu, cuda };

inline const std::map<std::string, place> place_names{{"cpu", place::cpu}, {"cuda", place::cuda}};
inline const std::map<std::string, moden::stylegan2::noise_mode> noise_names{
    {"const", moden::stylegan2::noise_mode::constant},
    {"none", moden::stylegan2::noise_mode::none},
    {"random", moden::stylegan2::noise_mode::random}};
inline const std::map<std::string, moden::stylegan2::latent_space> space_names{
    {"z", moden::stylegan2::latent_space::z},
    {"w", moden::stylegan2::latent_space::w},
    {"wplus", moden::stylegan2::latent_space::w_plus},
    {"style", moden::stylegan2::latent_space::style}};

struct settings {
    std::string weights;
    std::string out;
    moden::stylegan2::latent_space input = moden::stylegan2::latent_space::z;  ///< what `codes` holds
    std::string codes;                 ///< empty: seeds
    std::vector<std::uint32_t> seeds;  ///< empty: codes
    std::string labels;
    moden::stylegan2::truncation truncate;
    moden::stylegan2::synthesis_options synthesis;
    bool double_precision = false;
    place where = place::cpu;
    std::size_t threads = 0;  ///< 0: all
    bool dump_styles = false;
    bool dump_activations = false;
    bool dump_pictures = false;
    std::string tangent;
    std::string cotangent;
    moden::stylegan2::latent_space space = moden::stylegan2::latent_space::w_plus;
};

/// "0-3,7" as numbers.
/// \throws examples::usage_error for anything else, and for more than a million
inline std::vector<std::uint32_t> parse_seeds(const std::string& text) {
    const auto refuse = [&] {
        throw examples::usage_error("--seeds '" + text + "' (expected numbers and ranges up to 4294967295, such as 0-15 or 3,8,20-29)");
    };
    const auto number = [&](const std::string& digits) {
        const bool good = !digits.empty() && digits.size() <= 10 && digits.find_first_not_of("0123456789") == std::string::npos;
        if (!good || std::stoull(digits) > std::numeric_limits<std::uint32_t>::max()) {
            refuse();
        }
        return std::stoull(digits);
    };
    std::vector<std::uint32_t> seeds;
    std::size_t begin = 0;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        const std::string part = text.substr(begin, end - begin);
        const std::size_t dash = part.find('-');
        const auto first = number(part.substr(0, dash));
        const auto last = dash == std::string::npos ? first : number(part.substr(dash + 1));
        if (last < first || last - first + seeds.size() >= 1000000) {
            refuse();
        }
        for (auto seed = first; seed <= last; ++seed) {
            seeds.push_back(static_cast<std::uint32_t>(seed));
        }
        begin = end + 1;
    }
    return seeds;
}

/// Refuses what is not a whole number that fits; CLI11 alone wraps -1 and caps what is too large.
inline std::string whole_number_fault(const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    return failure == std::errc{} && end == text.data() + text.size() ? std::string{} : "'" + text + "' (expected a whole number)";
}

/// The command line: options go into `result` when the application parses.
class command_line {
public:
    explicit command_line(settings& result) : settings_(result) {
        app_.name("stylegan2_run");
        app_.description(
            "Runs a StyleGAN2 generator: codes in, pictures and, if asked for, everything in between out.\n"
            "Writes images.npy (N x 3 x H x W, nominally -1 to 1), ws.npy (N x num_ws x w_dim),\n"
            "image_0000.png ... and contact_sheet.png.\n");
        app_.footer(
            "\nAlso written: with --dump styles style_b8_conv0.npy ... (N x channels; torgb's before its gain),\n"
            "with --dump activations act_b8_conv0.npy ... (N x channels x H x W), with --dump rgb rgb_b8.npy ...\n"
            "(the picture so far); with --tangent jvp.npy (N x 3 x H x W), with --cotangent vjp.npy (the shape\n"
            "of the codes of --space). Weights come from tools/convert_stylegan2.py.\n"
            "\nExamples:\n"
            "  stylegan2_run --weights data/faces64.safetensors --seeds 0-15 --psi 0.7 --out faces\n"
            "      the pictures that NVIDIA's scripts make of these seeds\n"
            "  stylegan2_run --weights W.safetensors --wplus ws.npy --dump styles,activations --out layers\n"
            "  stylegan2_run --weights W.safetensors --w w.npy --tangent v.npy --space w --double --out derivative\n"
            "\nEvery error is one line on stderr and exit code 2, and nothing is written.");
        app_.add_option("--weights", settings_.weights, "safetensors file with NVIDIA's tensor names")
            ->required()
            ->type_name("W.safetensors");
        app_.add_option("--out", settings_.out, "folder for the results; created if needed")->required()->type_name("DIR");
        auto* codes = app_.add_option_group("codes", "one of these:");
        add_codes(*codes, "--z", "N x z_dim, input of the mapping network", z_);
        add_codes(*codes, "--w", "N x w_dim, one for all layers", w_);
        add_codes(*codes, "--wplus", "N x num_ws x w_dim", w_plus_);
        codes->add_option("--seeds", seeds_, "as 0-15 or 3,8,20-29; drawn as numpy.random.RandomState(seed).randn")
            ->type_name("LIST");
        codes->require_option(1);
        app_.add_option("--labels", settings_.labels, "N x c_dim, for conditional models and --z or --seeds")->type_name("c.npy");
        psi_ = app_.add_option("--psi", settings_.truncate.psi, "truncation of --z and --seeds; default 1, none")->type_name("X");
        cutoff_ = app_.add_option("--cutoff", settings_.truncate.cutoff, "rows of w+ that are truncated; default: all")
                      ->check(CLI::Validator(whole_number_fault, ""))
                      ->type_name("N");
        app_.add_option("--noise", settings_.synthesis.noise, "const (default), none or random")
            ->transform(CLI::CheckedTransformer(noise_names).description(""))
            ->type_name("NAME");
        noise_seed_ = app_.add_option("--noise-seed", settings_.synthesis.noise_seed, "of --noise random; default 0")
                          ->check(CLI::Validator(whole_number_fault, ""))
                          ->type_name("N");
        app_.add_option("--dump", dump_, "styles, activations, rgb: any of them, with commas between")->type_name("LIST");
        tangent_ = app_.add_option("--tangent", settings_.tangent, "one per code, of its shape: its image under the Jacobian")
                       ->type_name("v.npy");
        cotangent_ = app_.add_option("--cotangent", settings_.cotangent,
                                     "N x 3 x H x W: its image under the transposed Jacobian")
                         ->type_name("u.npy");
        space_ = app_.add_option("--space", settings_.space, "of --tangent and --cotangent: z, w, wplus (default), style")
                     ->transform(CLI::CheckedTransformer(space_names).description(""))
                     ->type_name("NAME");
        app_.add_flag("--double", settings_.double_precision, "compute and write float64");
        app_.add_option("--policy", settings_.where, "cpu (default) or cuda")
            ->transform(CLI::CheckedTransformer(place_names).description(""))
            ->type_name("NAME");
        threads_ = app_.add_option("--threads", settings_.threads, "threads of the CPU; default: all")
                       ->check(CLI::Range(std::size_t{1}, std::size_t{4096}).description(""))
                       ->type_name("N");
        app_.get_formatter()->column_width(30);
    }

    CLI::App& app() { return app_; }

    /// Brings the parsed options into the settings and refuses combinations that mean nothing.
    void finish() {
        using moden::stylegan2::latent_space;
        const auto refuse_if = [](bool bad, const std::string& text) {
            if (bad) {
                throw examples::usage_error(text);
            }
        };
        if (!seeds_.empty()) {
            settings_.seeds = parse_seeds(seeds_);
        }
        settings_.codes = z_ + w_ + w_plus_;  // one of them is given, the others are empty
        settings_.input = !w_.empty() ? latent_space::w : !w_plus_.empty() ? latent_space::w_plus : latent_space::z;
        const bool from_z = settings_.input == latent_space::z;
        refuse_if(settings_.codes.empty() && settings_.seeds.empty(), "the name of the file of codes is empty");
        for (const char* name : {"--labels", "--tangent", "--cotangent", "--dump"}) {
            const CLI::Option* option = app_.get_option(name);
            refuse_if(option->count() > 0 && option->as<std::string>().empty(), std::string(name) + ": the name is empty");
        }
        refuse_if(!std::isfinite(settings_.truncate.psi), "--psi " + std::to_string(settings_.truncate.psi) + " (expected a finite number)");
        refuse_if(!from_z && (psi_->count() > 0 || cutoff_->count() > 0), "--psi and --cutoff go with --z and --seeds");
        refuse_if(!from_z && !settings_.labels.empty(), "--labels go with --z and --seeds");
        refuse_if(settings_.synthesis.noise != moden::stylegan2::noise_mode::random && noise_seed_->count() > 0,
                  "--noise-seed goes with --noise random");
        refuse_if(settings_.where == place::cuda && threads_->count() > 0, "--threads goes with --policy cpu");
        const bool derivative = tangent_->count() + cotangent_->count() > 0;
        refuse_if(!derivative && space_->count() > 0, "--space goes with --tangent and --cotangent");
        refuse_if(settings_.space == latent_space::z && !from_z, "--space z needs --z or --seeds");
        refuse_if(settings_.space == latent_space::w && settings_.input == latent_space::w_plus, "--space w needs --w, --z or --seeds");
        refuse_if(derivative && settings_.space == latent_space::w && settings_.truncate.psi != 1 && settings_.truncate.cutoff,
                  "--space w with --cutoff: a code that is truncated in part is no w (expected --space wplus)");
        parse_dump();
    }

private:
    static void add_codes(CLI::Option_group& group, const std::string& name, const std::string& text, std::string& target) {
        group.add_option(name, target, text)->type_name("FILE.npy");
    }

    void parse_dump() {
        std::size_t begin = 0;
        while (!dump_.empty() && begin <= dump_.size()) {
            const std::size_t end = std::min(dump_.find(',', begin), dump_.size());
            const std::string part = dump_.substr(begin, end - begin);
            if (part == "styles") {
                settings_.dump_styles = true;
            } else if (part == "activations") {
                settings_.dump_activations = true;
            } else if (part == "rgb") {
                settings_.dump_pictures = true;
            } else {
                throw examples::usage_error("--dump '" + part + "' (expected styles, activations, rgb)");
            }
            begin = end + 1;
        }
    }

    settings& settings_;
    CLI::App app_;
    std::string z_, w_, w_plus_, seeds_, dump_;
    CLI::Option* psi_ = nullptr;
    CLI::Option* cutoff_ = nullptr;
    CLI::Option* noise_seed_ = nullptr;
    CLI::Option* tangent_ = nullptr;
    CLI::Option* cotangent_ = nullptr;
    CLI::Option* space_ = nullptr;
    CLI::Option* threads_ = nullptr;
};

}  // namespace stylegan2_run
