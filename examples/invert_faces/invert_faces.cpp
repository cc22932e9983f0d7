// invert_faces: codes of pictures that the generator never saw, and how close their pictures come.

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "../common/output_folder.hpp"
#include "../common/pictures.hpp"
#include "../common/program.hpp"
#include "../common/progress_bar.hpp"
#include "../common/renders.hpp"
#include "../common/sheet.hpp"

namespace invert_faces {
namespace {

using moden::detail::require;
namespace stylegan2 = moden::stylegan2;

const std::string bundled = MODEN_DATA_FOLDER;
const std::map<std::string, stylegan2::latent_space> space_names{{"w", stylegan2::latent_space::w},
                                                                 {"wplus", stylegan2::latent_space::w_plus}};

struct settings {
    std::string weights = bundled + "/faces64.safetensors";
    std::string start = bundled + "/faces64-inversion.safetensors";
    std::string measure = bundled + "/face_factors.safetensors";
    std::string images;  ///< empty: renders of the face world
    std::string out;
    std::size_t count = 8;
    std::uint64_t seed = 4242;
    stylegan2::latent_space space = stylegan2::latent_space::w_plus;
    std::size_t iterations = 300;
    double pull = 0.01;
    std::size_t fit = 0;  ///< pictures to fit a start with; 0: read it
};

moden::tensor<float, 4> read_targets(const settings& wanted, std::size_t size) {
    auto pictures = moden::io::npy_file(wanted.images, "--images").load<float, 4>();
    const moden::extents shape(pictures.shape().begin(), pictures.shape().end());
    require<examples::usage_error>(shape[0] > 0 && shape[1] == 3 && shape[2] == size && shape[3] == size, "--images '",
                                   wanted.images, "' has the shape ", shape, " (expected N x 3 x ", size, " x ", size, ")");
    return pictures;
}

/// What the regressor reads off pictures, for the outputs it has: name, column, factor to print.
struct measured_factor {
    const char* name;
    const char* unit;
    double scale;
};
constexpr measured_factor measured_factors[] = {
    {"yaw", "degrees", 180 / std::numbers::pi}, {"pitch", "degrees", 180 / std::numbers::pi}, {"melanin", "", 1}, {"happiness", "", 1},
    {"disgust", "", 1}, {"fear", "", 1}, {"anger", "", 1}, {"surprise", "", 1}, {"sadness", "", 1}};

void print_factors(const moden::cpu_policy& cpu, const settings& wanted, const moden::tensor<float, 4>& targets,
                   const moden::tensor<float, 4>& found) {
    if (wanted.measure.empty()) {
        return;
    }
    const auto measure = stylegan2::load_image_regressor<float>(cpu, wanted.measure);
    const auto before = measure.predict(cpu, targets);
    const auto after = measure.predict(cpu, found);
    const auto& outputs = measure.outputs();
    std::printf("\nfactor       in the targets  mean |change|\n");
    for (const measured_factor& factor : measured_factors) {
        const auto entry = std::find_if(outputs.begin(), outputs.end(), [&](const auto& o) { return o.name == factor.name; });
        if (entry == outputs.end()) {
            continue;
        }
        double change = 0, sum = 0, squares = 0;
        const auto count = static_cast<double>(targets.shape()[0]);
        for (std::size_t n = 0; n < targets.shape()[0]; ++n) {
            const double value = static_cast<double>(before(n, entry->offset)) * factor.scale;
            change += std::abs(static_cast<double>(after(n, entry->offset)) * factor.scale - value);
            sum += value;
            squares += value * value;
        }
        std::printf("%-11s  %6.2f +- %5.2f  %8.3f %s\n", factor.name, sum / count,
                    std::sqrt(std::max(0.0, squares / count - sum * sum / count / count)), change / count, factor.unit);
    }
}

template <class Result>
examples::canvas draw_sheet(const moden::tensor<float, 4>& targets, const moden::tensor<float, 4>& guesses, const Result& found) {
    const std::size_t count = std::min<std::size_t>(targets.shape()[0], 16);
    examples::sheet sheet{.title = "Inversion",
                          .notes = {"difference: 4 x |reconstruction - original|"},
                          .rows = {{.label = "original"}, {.label = "first guess"}, {.label = "reconstruction"}, {.label = "difference"}},
                          .cell_height = std::max<std::size_t>(96, targets.shape()[2]),
                          .cell_width = std::max<std::size_t>(96, targets.shape()[3])};
    for (std::size_t n = 0; n < count; ++n) {
        char caption[32];
        std::snprintf(caption, sizeof caption, "rms %.3f", found.rms_error[n]);
        const examples::picture original = examples::picture_of(targets, n);
        const examples::picture made = examples::picture_of(found.pictures, n);
        examples::picture difference = original;
        for (std::size_t i = 0; i < difference.size(); ++i) {
            difference.data()[i] = std::min(1.0F, 4 * std::abs(made.data()[i] - original.data()[i]));
        }
        sheet.rows[0].cells.push_back({original, ""});
        sheet.rows[1].cells.push_back({examples::picture_of(guesses, n), ""});
        sheet.rows[2].cells.push_back({made, ""});
        sheet.rows[3].cells.push_back({difference, caption});
    }
    return draw(sheet);
}

void run(const settings& wanted) {
    const examples::output_folder out(wanted.out);
    const moden::cpu_policy cpu;
    const auto net = stylegan2::load_generator<float>(cpu, wanted.weights);
    const std::size_t size = net.layout().resolution;
    const moden::tensor<float, 4> targets = wanted.images.empty()
                                                ? examples::render_pictures(faces::make_random_set(wanted.count, wanted.seed).faces, size)
                                                : read_targets(wanted, size);
    const std::size_t count = targets.shape()[0];

    // From a picture to a first w by regression, from there by gradient.
    const auto start = wanted.fit > 0 ? stylegan2::fit_inversion_start(cpu, net, {.size = std::min<std::size_t>(16, size), .samples = wanted.fit})
                                      : stylegan2::load_inversion_start<float>(cpu, wanted.start);
    const auto guess = stylegan2::starting_w(cpu, net, start, targets);
    const auto guesses = stylegan2::synthesize(cpu, net, stylegan2::to_w_plus(cpu, net, guess));
    const auto found = [&] {
        examples::progress_bar bar("inverting");
        return stylegan2::invert(cpu, net, targets, guess,
                                 {.space = wanted.space, .max_iterations = wanted.iterations, .pull = wanted.pull,
                                  .progress = [&](std::size_t iteration, double objective) {
                                      return bar.update(iteration, wanted.iterations, std::to_string(objective));
                                  }});
    }();

    const examples::canvas sheet = draw_sheet(targets, guesses, found);
    out.publish([&](const std::filesystem::path& folder) {
        moden::io::save_npy(folder / "targets.npy", targets);
        moden::io::save_npy(folder / "ws.npy", found.ws);
        moden::io::save_npy(folder / "images.npy", found.pictures);
        moden::io::write_png(folder / "inversion.png", sheet.bytes());
        if (wanted.fit > 0) {
            stylegan2::save_inversion_start(cpu, folder / "inversion_start.safetensors", start);
        }
    });
    std::printf("pictures     %zu of %zu x %zu, in %s, %zu iterations\n", count, size, size,
                wanted.space == stylegan2::latent_space::w ? "w" : "w+", found.iterations);
    std::printf("objective    %.5f at the start, %.5f at the end (mean over pictures)\n\n", found.history.front(), found.history.back());
    std::printf("picture  rms error     PSNR\n");
    double sum = 0;
    for (std::size_t n = 0; n < count; ++n) {
        std::printf("%7zu  %9.4f  %5.1f dB\n", n, found.rms_error[n], 20 * std::log10(2 / found.rms_error[n]));
        sum += found.rms_error[n];
    }
    std::printf("   mean  %9.4f\n", sum / static_cast<double>(count));
    print_factors(cpu, wanted, targets, found.pictures);
    std::printf("\nwritten      targets, ws, images (npy), inversion.png%s in %s\n",
                wanted.fit > 0 ? ", inversion_start.safetensors" : "", wanted.out.c_str());
}

}  // namespace
}  // namespace invert_faces

int main(int argc, char** argv) {
    using namespace invert_faces;
    settings wanted;
    CLI::App app(
        "Inverts pictures into the generator's w or w+ and compares what comes out with what went in.\n"
        "Without --images: renders of the face world that no training set holds.\n",
        "invert_faces");
    app.add_option("--out", wanted.out, "folder for the results; created if needed")->required()->type_name("DIR");
    app.add_option("--weights", wanted.weights, "generator; default: the bundled one")->type_name("W.safetensors");
    app.add_option("--start", wanted.start, "regression from pictures to w; default: that of the bundled generator")->type_name("S.safetensors");
    app.add_option("--fit-start", wanted.fit, "fit the regression to so many of the generator's pictures and write it")
        ->check(CLI::Range(std::size_t{1}, std::size_t{10000000}).description(""))
        ->type_name("N");
    app.add_option("--measure", wanted.measure, "regressor that reads factors off pictures; '' for none")->type_name("R.safetensors");
    auto* images = app.add_option("--images", wanted.images, "N x 3 x H x W in [-1, 1]")->type_name("X.npy");
    app.add_option("--count", wanted.count, "renders to make; default 8")
        ->check(CLI::Range(std::size_t{1}, std::size_t{100000}).description(""))
        ->excludes(images)
        ->type_name("N");
    app.add_option("--seed", wanted.seed, "of the renders; default 4242")->excludes(images)->type_name("N");
    app.add_option("--space", wanted.space, "w or wplus (default)")
        ->transform(CLI::CheckedTransformer(space_names).description(""))
        ->type_name("NAME");
    app.add_option("--iterations", wanted.iterations, "default 300")
        ->check(CLI::Range(std::size_t{0}, std::size_t{1000000}).description(""))
        ->type_name("N");
    app.add_option("--pull", wanted.pull, "weight of the distance from the first guess; default 0.01")->type_name("X");
    app.footer("\nWrites targets.npy, ws.npy (N x num_ws x w_dim), images.npy and inversion.png.\n"
               "Every error is one line on stderr and exit code 2, and nothing is written.");
    app.get_formatter()->column_width(30);
    return examples::run_program(app, argc, argv, [&] { run(wanted); });
}
