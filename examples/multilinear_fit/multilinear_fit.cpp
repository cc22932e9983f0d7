// multilinear_fit: light, expression and identity of pictures that nobody has labelled, as factors of multilinear models of texture,
// normals and shape (002 Eqs. 2-5); or the factors of one's own data.

#include <CLI/CLI.hpp>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../common/output_folder.hpp"
#include "../common/program.hpp"
#include "../common/progress_bar.hpp"
#include "predictability.hpp"
#include "start.hpp"
#include "transfer.hpp"

namespace multilinear_fit {
namespace {

constexpr std::size_t not_given = static_cast<std::size_t>(-1);

struct settings {
    std::string out, data;
    moden::extents ranks;
    std::size_t images = 2400, persons = 60, size = 40, iterations = not_given;
    std::uint64_t seed = 1;
    double ridge = -1;  ///< negative: the default
    bool random_start = false, by_gradient = false, in_double = false;
};

constexpr double tolerance = 1e-5;

std::string factor_file(std::size_t f) { return "factor_" + std::to_string(f) + ".npy"; }

bool is_result(const std::string& name) {
    return name.starts_with("factor_") || name.ends_with("core.npy") || name == "objective.npy" ||
           (name.ends_with(".npy") && (name == "light.npy" || name == "expression.npy" || name == "identity.npy")) || name.starts_with("transfer_");
}

moden::multilinear_fit_options options_of(const settings& wanted, examples::progress_bar& bar, std::size_t iterations) {
    return {.method = wanted.by_gradient ? moden::multilinear_fit_method::lbfgs : moden::multilinear_fit_method::alternating,
            .ridge = {.of_cores = wanted.ridge >= 0 ? wanted.ridge : wanted.data.empty() ? 10.0 : 0.0, .of_factors = 0},
            .max_iterations = iterations,
            .tolerance = tolerance,
            .progress = [&bar, iterations](std::size_t done, double) { return bar.update(done, iterations); }};
}

const char* name_of(moden::iteration_status status) {
    return status == moden::iteration_status::converged ? "converged" : "stopped at the limit";
}

moden::tensor<double, 1> as_tensor(const std::vector<double>& values) {
    auto result = moden::tensor<double, 1>::from_shape({values.size()});
    std::copy(values.begin(), values.end(), result.begin());
    return result;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// One matrix of the user's own and one core.
template <class T>
void fit_own(const settings& wanted, const examples::output_folder& out) {
    const auto file = moden::io::load_npy<T>(wanted.data);
    moden::detail::require<examples::usage_error>(file.dimension() == 2 && file.size() > 0, "--data '", wanted.data, "': an array of ", moden::detail::shape_of(file),
                                                  " (expected k x n, one column per sample)");
    moden::tensor<T, 2> data = file;
    moden::extents ranks = wanted.ranks;
    moden::detail::require<examples::usage_error>(!ranks.empty(), "--ranks is needed with --data");
    const std::size_t iterations = wanted.iterations != not_given ? wanted.iterations : 200;
    const auto start = std::chrono::steady_clock::now();
    examples::progress_bar bar("fitting");
    const moden::cpu_policy cpu;
    const auto first = moden::random_multilinear_factors<T>(cpu, ranks, data.shape()[1], wanted.seed);
    const auto model = moden::fit_multilinear(cpu, std::vector{data}, first, options_of(wanted, bar, iterations));
    const double seconds = seconds_since(start);
    out.publish(
        [&](const std::filesystem::path& folder) {
            moden::io::save_npy(folder / "core.npy", model.cores[0]);
            for (std::size_t f = 0; f < ranks.size(); ++f) {
                moden::io::save_npy(folder / factor_file(f), model.factors[f]);
            }
            moden::io::save_npy(folder / "objective.npy", as_tensor(model.history));
        },
        is_result);
    std::printf("data            %zu x %zu, in %s\n", data.shape()[0], data.shape()[1], sizeof(T) == 4 ? "float" : "double");
    std::printf("fit             relative error %.6g, %zu iterations, %s, %.1f s\n", model.relative_errors[0], model.iterations, name_of(model.status), seconds);
    std::printf("written         core, objective, factor_0 ... factor_%zu (npy) in %s\n", ranks.size() - 1, wanted.out.c_str());
}

void print_accuracies(const char* title, const accuracy_table& table) {
    std::printf("  %-18s", title);
    for (std::size_t f = 0; f < 3; ++f) {
        std::printf("%s%-12s%6.1f %%   %6.1f %%     %6.1f %%\n", f == 0 ? "" : "                    ", factor_names[f], 100 * table[f][0], 100 * table[f][1],
                    100 * table[f][2]);
    }
}

void scale_to_unit_norm(matrix& x, double& scale) {
    scale = static_cast<double>(moden::norm(x));
    for (float& value : x) {
        value = static_cast<float>(static_cast<double>(value) / scale);
    }
}

/// Pictures of the face world.
void fit_faces(const settings& wanted, const examples::output_folder& out) {
    using moden::detail::require;
    const moden::extents ranks = wanted.ranks.empty() ? moden::extents{7, 7, 20} : wanted.ranks;
    require<examples::usage_error>(ranks.size() == 3, "--ranks: ", ranks.size(), " numbers (expected three: light, expression, identity)");
    require<examples::usage_error>(wanted.random_start || (ranks[light] >= 2 && ranks[light] <= harmonics + 1 && ranks[expression] >= 2 && ranks[identity] >= 5), "--ranks ", ranks,
                                   " (expected 2 to 10 for light, at least 2 for expression and 5 for identity, unless with --random-start)");
    require<examples::usage_error>(wanted.images >= 2 * wanted.persons, "--images ", wanted.images, " (expected at least two of each of the ", wanted.persons,
                                   " persons)");
    require<examples::usage_error>(moden::element_count(ranks) < wanted.images, "--ranks ", ranks, " give ", moden::element_count(ranks), " products of factors for ",
                                   wanted.images, " images (expected fewer: such a model fits anything)");
    auto clock = std::chrono::steady_clock::now();
    face_images images = [&] {
        examples::progress_bar bar("rendering");
        return render_images(wanted.images, wanted.persons, wanted.size, wanted.seed, [&](std::size_t done, std::size_t total) { return bar.update(done, total); });
    }();
    const double render_time = seconds_since(clock);
    clock = std::chrono::steady_clock::now();
    const moden::cpu_policy cpu;
    const std::vector<matrix> start = wanted.random_start ? moden::random_multilinear_factors<float>(cpu, ranks, wanted.images, wanted.seed)
                                                          : start_from_statistics(images, ranks);
    const double start_time = seconds_since(clock);
    clock = std::chrono::steady_clock::now();
    const std::size_t iterations = wanted.iterations != not_given ? wanted.iterations : 3;
    double texture_scale = 1, normal_scale = 1, shape_scale = 1;
    std::vector<matrix> data{images.texture, images.normals, images.shape};
    scale_to_unit_norm(data[0], texture_scale);
    scale_to_unit_norm(data[1], normal_scale);
    scale_to_unit_norm(data[2], shape_scale);
    auto model = [&] {
        examples::progress_bar bar("fitting");
        auto options = options_of(wanted, bar, iterations);
        options.terms = {{.core = 0, .factors = {light, expression, identity}},                   // texture, 002 Eq. 2
                         {.core = 0, .factors = {moden::constant_factor, expression, identity}},  // normals, Eq. 5
                         {.core = 1, .factors = {expression, identity}}};                         // shape, Eq. 4
        return moden::fit_multilinear(cpu, data, start, options);
    }();
    const double fit_time = seconds_since(clock);
    if (!wanted.random_start) {
        settle_scales(model.factors[expression], model.factors[identity]);
    }
    const texture_model texture{model.cores[0], model.factors, texture_scale};
    const auto errors = measure_transfer(images, texture, wanted.seed);
    const auto before = accuracies(start, images.labels, wanted.persons), after = accuracies(model.factors, images.labels, wanted.persons);
    std::vector<examples::canvas> pictures;
    for (std::size_t f = 0; f < 3; ++f) {
        pictures.push_back(draw_transfer(images, texture, f, wanted.seed));
    }
    out.publish(
        [&](const std::filesystem::path& folder) {
            for (std::size_t f = 0; f < 3; ++f) {
                moden::io::write_png(folder / (std::string("transfer_") + factor_names[f] + ".png"), pictures[f].bytes());
                moden::io::save_npy(folder / (std::string(factor_names[f]) + ".npy"), model.factors[f]);
            }
            moden::io::save_npy(folder / "texture_core.npy", model.cores[0]);
            moden::io::save_npy(folder / "shape_core.npy", model.cores[1]);
            moden::io::save_npy(folder / "objective.npy", as_tensor(model.history));
        },
        is_result);
    std::printf("images          %zu of %zu persons, %zu expressions, %zu lights, %zu x %zu, without labels\n", wanted.images, wanted.persons, expression_count, light_count,
                wanted.size, wanted.size);
    std::printf("model           light %zu, expression %zu, identity %zu\n", ranks[0], ranks[1], ranks[2]);
    std::printf("relative error  texture %.4f, normals %.4f, shape %.4f after %zu iterations (%s)\n", model.relative_errors[0], model.relative_errors[1],
                model.relative_errors[2], model.iterations, name_of(model.status));
    std::printf("\nrecognised by a linear classifier, ten-fold cross-validation\n");
    std::printf("                    factor         light  expression    identity\n");
    print_accuracies("start", before);
    print_accuracies("fit", after);
    std::printf("  %-18s%-12s%6.1f %%   %6.1f %%     %6.1f %%\n", "chance", "", 100.0 / light_count, 100.0 / expression_count, 100.0 / static_cast<double>(wanted.persons));
    std::printf("\nexchanged factors   relative error against renders   if nothing were changed\n");
    for (std::size_t f = 0; f < 3; ++f) {
        std::printf("  %-18s%10.4f%35.4f\n", factor_names[f], errors.model[f], errors.unchanged[f]);
    }
    std::printf("  %-18s%10.4f\n", "none", errors.reconstruction);
    std::printf("\ntime            rendering %.1f s, start %.1f s, fit %.1f s\n", render_time, start_time, fit_time);
    std::printf("written         transfer_light, transfer_expression, transfer_identity (png), light, expression, identity,\n"
                "                texture_core, shape_core, objective (npy) in %s\n", wanted.out.c_str());
}

void run(const settings& wanted) {
    const examples::output_folder out(wanted.out);
    if (wanted.data.empty()) {
        fit_faces(wanted, out);
        return;
    }
    out.keep_input(wanted.data, is_result);
    wanted.in_double ? fit_own<double>(wanted, out) : fit_own<float>(wanted, out);
}

}  // namespace
}  // namespace multilinear_fit

int main(int argc, char** argv) {
    using namespace multilinear_fit;
    settings wanted;
    CLI::App app(
        "Multilinear models of data without labels, X = B_(0) (Z_1 kr Z_2 kr ...).\n"
        "Without --data: pictures, normals and shapes of the face world, whose light, expression and identity become factors that\n"
        "the three models share; the labels only judge the result.\n",
        "multilinear_fit");
    app.add_option("--out", wanted.out, "folder for the results; created if needed")->required()->type_name("DIR");
    auto* data = app.add_option("--data", wanted.data, "data of your own, k x n: one column per sample")->type_name("X.npy");
    app.add_option("--ranks", wanted.ranks, "rows of every factor; default for faces: 7,7,20 (light, expression, identity)")
        ->delimiter(',')
        ->check(CLI::Range(std::size_t{1}, std::size_t{100000}).description(""))
        ->type_name("K1,K2,...");
    const auto counted = [&](const char* name, std::size_t& value, const char* text, std::size_t least, std::size_t most) {
        return app.add_option(name, value, text)->check(CLI::Range(least, most).description(""))->type_name("N");
    };
    counted("--iterations", wanted.iterations, "at most; default 3 for faces, 200 for data; 0 fits the cores alone", 0, 1000000);
    counted("--images", wanted.images, "pictures to render; default 2400", 20, 1000000)->excludes(data);
    counted("--persons", wanted.persons, "people in them; default 60", 2, 100000)->excludes(data);
    counted("--size", wanted.size, "height and width; default 40", 8, 512)->excludes(data);
    app.add_option("--seed", wanted.seed, "of people, pictures and random starts; default 1")->type_name("N");
    app.add_option("--ridge", wanted.ridge, "weight of the squares of cores; default 10 for faces, 0 for data")
        ->check(CLI::NonNegativeNumber.description(""))
        ->type_name("L");
    app.add_flag("--random-start", wanted.random_start, "begin with random factors, as with --data")->excludes(data);
    app.add_flag("--gradient", wanted.by_gradient, "L-BFGS instead of alternating least squares");
    app.add_flag("--double", wanted.in_double, "compute in double precision")->needs(data);
    app.footer("\nWrites for faces transfer_light.png, transfer_expression.png, transfer_identity.png, light.npy, expression.npy, identity.npy (k_i x n),\n"
               "texture_core.npy, shape_core.npy and objective.npy; for data core.npy, factor_0.npy, factor_1.npy, ... and objective.npy.\n"
               "Every error is one line on stderr and exit code 2, and nothing is written.");
    return examples::run_program(app, argc, argv, [&] { run(wanted); });
}
