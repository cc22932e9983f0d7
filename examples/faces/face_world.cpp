// face_world: writes sets of rendered faces with everything that is true about them.

#include "dataset_files.hpp"

#include <CLI/CLI.hpp>
#include <moden/core/error.hpp>

#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <map>

namespace {

/// A bar on stderr, on terminals only.
bool show_progress(std::size_t done, std::size_t total) {
    constexpr std::size_t width = 40;
    if (done * 200 / total == (done - 1) * 200 / total && done != total) {
        return true;
    }
    const std::size_t filled = width * done / total;
    std::fprintf(stderr, "\r[%s%s] %zu of %zu faces%s", std::string(filled, '=').c_str(),
                 std::string(width - filled, ' ').c_str(), done, total, done == total ? "\n" : "");
    return true;
}

enum class set_kind { expressions, tensorfaces, random };

}  // namespace

int main(int argc, char** argv) {
    set_kind kind = set_kind::expressions;
    std::string out;
    std::size_t persons = 24, expressions = 0, intensities = 4, views = 0, lights = 5, count = 1000;
    faces::write_options options;
    options.render.truth = faces::truth::light;
    std::string format;

    CLI::App app(
        "Writes a set of rendered faces: images.npy, ground truth as NPY files, levels.json (names of modes and "
        "levels) and contact_sheet.png.\n"
        "  --set expressions  persons x expressions x intensities x views x H x W x C\n"
        "  --set tensorfaces  persons x views x lights x expressions x pixels (float32)\n"
        "  --set random       count x H x W x C, every factor random\n"
        "Expressions: happiness disgust fear anger surprise sadness; in tensorfaces the first is neutral.\n"
        "Lights: frontal left right above below rim soft window.\n"
        "The set is held in memory until it is written; existing files of the same names are replaced at the end.");
    const std::map<std::string, set_kind> kinds{
        {"expressions", set_kind::expressions}, {"tensorfaces", set_kind::tensorfaces}, {"random", set_kind::random}};
    const std::map<std::string, faces::channels> channel_names{{"gray", faces::channels::gray},
                                                               {"rgb", faces::channels::rgb}};
    const std::map<std::string, faces::truth> truths{
        {"none", faces::truth::none}, {"light", faces::truth::light}, {"all", faces::truth::all}};
    std::string shading = "full";
    app.add_option("--set", kind, "Which set: expressions, tensorfaces or random")
        ->required()
        ->transform(CLI::CheckedTransformer(kinds).description("NAME"));
    app.add_option("--out", out, "Folder to write into; created if needed")->required();
    const auto counted = [&](const char* name, std::size_t& value, const char* text, std::size_t most) {
        return app.add_option(name, value, text)->check(CLI::Range(std::size_t{1}, most));
    };
    counted("--persons", persons, "Number of persons (expressions, tensorfaces); default 24", 100000);
    CLI::Option* expression_option = counted(
        "--expressions", expressions,
        "Number of expressions: 1 to 6, default 6 (expressions); 1 to 7 with neutral, default 4 (tensorfaces)", 7);
    CLI::Option* intensity_option =
        counted("--intensities", intensities, "Number of intensities k/n, k = 1 to n (expressions); default 4", 100);
    CLI::Option* view_option = counted("--views", views,
                                       "Number of views spread over yaw: 2 give +-20 degrees (expressions, default 2), "
                                       "else +-40 (tensorfaces, default 5)",
                                       1000);
    CLI::Option* light_option = counted("--lights", lights, "Number of lights, 1 to 8 (tensorfaces); default 5", 8);
    CLI::Option* count_option = counted("--count", count, "Number of faces (random); default 1000", 10000000);
    counted("--size", options.render.size, "Height and width in pixels, 8 to 4096; default 64", 4096)
        ->check(CLI::Range(std::size_t{8}, std::size_t{4096}));
    counted("--samples", options.render.samples, "Samples per pixel along each axis, 1 to 8; default 3", 8);
    app.add_option("--seed", options.seed, "Seed; person i of a seed is always the same; default 1");
    app.add_option("--channels", options.colors, "gray or rgb; default rgb")
        ->transform(CLI::CheckedTransformer(channel_names).description("NAME"));
    app.add_option("--format", format, "uint8 or float32 (0 to 1); default uint8, tensorfaces always float32")
        ->check(CLI::IsMember({"uint8", "float32"}).description("NAME"));
    app.add_option("--truth", options.render.truth,
                   "none: pictures only; light: factors, landmarks, camera (default); all: also depth, normals, "
                   "albedo, shading, labels per pixel")
        ->transform(CLI::CheckedTransformer(truths).description("NAME"));
    app.add_option("--shading", shading,
                   "full (default), or lambertian: albedo x irradiance only, without self-shadowing and gloss")
        ->check(CLI::IsMember({"full", "lambertian"}).description("NAME"));

    try {
        app.parse(argc, argv);
        const auto only_for = [&](const CLI::Option* option, bool fits, const char* sets) {
            if (option->count() > 0 && !fits) {
                throw CLI::ValidationError(option->get_name(), std::string("goes with --set ") + sets + " only");
            }
        };
        only_for(intensity_option, kind == set_kind::expressions, "expressions");
        only_for(light_option, kind == set_kind::tensorfaces, "tensorfaces");
        only_for(count_option, kind == set_kind::random, "random");
        only_for(app.get_option("--persons"), kind != set_kind::random, "expressions or tensorfaces");
        only_for(expression_option, kind != set_kind::random, "expressions or tensorfaces");
        only_for(view_option, kind != set_kind::random, "expressions or tensorfaces");
        if (kind == set_kind::tensorfaces && format == "uint8") {
            throw CLI::ValidationError("--format", "--set tensorfaces writes float32");
        }
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) {
            return app.exit(error);
        }
        std::string text = error.what();
        std::replace(text.begin(), text.end(), '\n', ' ');
        std::cerr << "face_world: " << text << " (see face_world --help)\n";
        return 2;
    }

    try {
        if (shading == "lambertian") {
            options.render.self_shadow = faces::self_shadow::off;
            options.render.gloss = faces::gloss::off;
        }
        faces::face_set set;
        switch (kind) {
            case set_kind::expressions:
                options.set_name = "expressions";
                set = faces::make_expression_set({.persons = persons,
                                                  .expressions = expressions > 0 ? expressions : 6,
                                                  .intensities = intensities,
                                                  .views = views > 0 ? views : 2,
                                                  .seed = options.seed});
                break;
            case set_kind::tensorfaces:
                options.set_name = "tensorfaces";
                options.layout = faces::pixel_layout::flat;
                options.format = faces::pixel_format::float32;
                set = faces::make_tensorfaces_set({.persons = persons,
                                                   .views = views > 0 ? views : 5,
                                                   .lights = lights,
                                                   .expressions = expressions > 0 ? expressions : 4,
                                                   .seed = options.seed});
                break;
            case set_kind::random:
                options.set_name = "random";
                set = faces::make_random_set(count, options.seed);
                break;
        }
        if (format == "float32") {
            options.format = faces::pixel_format::float32;
        }
        faces::write_set(
            set, out, options,
            ::isatty(STDERR_FILENO) != 0 ? faces::render_progress(show_progress) : faces::render_progress());
        std::cout << set.faces.size() << " faces of " << options.render.size << " x " << options.render.size
                  << " pixels in " << out << ":";
        for (const faces::mode_levels& mode : set.modes) {
            std::cout << ' ' << (mode.levels.empty() ? set.faces.size() : mode.levels.size()) << ' ' << mode.name
                      << (&mode == &set.modes.back() ? "\n" : " x");
        }
    } catch (const std::exception& error) {
        std::cerr << "face_world: " << error.what() << '\n';
        return 2;
    }
    return 0;
}
