// nrsfm: cameras and deforming 3D shapes from 2D tracks, of a file or of the face world, whose truth it is then measured against.

#include <CLI/CLI.hpp>
#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "../common/output_folder.hpp"
#include "../common/program.hpp"
#include "drawings.hpp"
#include "face_tracks.hpp"
#include "settings.hpp"
#include "track_file.hpp"

namespace nrsfm {
namespace {

template <class T>
using factorization = moden::rank_one_factorization_result<moden::tensor<T, 2>, moden::tensor<T, 3>>;

bool is_result(const std::string& name) {
    static const std::array<const char*, 8> names{"shapes.npy", "cameras.npy", "translations.npy", "basis.npy", "alpha.npy", "directions.npy", "mean_shape.png", "basis.png"};
    return std::find(names.begin(), names.end(), name) != names.end();
}

template <class Tensor>
shape3d mean_of(const Tensor& shapes) {
    const std::size_t frames = shapes.shape()[0], points = shapes.shape()[2];
    auto result = shape3d::from_shape({3, points});
    std::fill(result.begin(), result.end(), 0.0);
    for (std::size_t f = 0; f < frames; ++f) {
        for (std::size_t i = 0; i < 3 * points; ++i) {
            result.data()[i] += static_cast<double>(shapes.data()[f * 3 * points + i]) / static_cast<double>(frames);
        }
    }
    centre(result);
    return result;
}

template <class T>
std::vector<double> standard_deviations(const moden::tensor<T, 2>& coefficients) {
    const std::size_t frames = coefficients.shape()[0], count = coefficients.shape()[1];
    std::vector<double> result(count);
    for (std::size_t k = 0; k < count; ++k) {
        double sum = 0, square = 0;
        for (std::size_t f = 0; f < frames; ++f) {
            sum += static_cast<double>(coefficients(f, k));
            square += static_cast<double>(coefficients(f, k)) * static_cast<double>(coefficients(f, k));
        }
        const double n = static_cast<double>(frames);
        result[k] = std::sqrt(std::max(0.0, square / n - sum / n * sum / n));
    }
    return result;
}

const char* describe(moden::metric_upgrade upgrade) {
    switch (upgrade) {
        case moden::metric_upgrade::repaired: return "metric upgrade repaired: the tracks contradict the camera model, depth is uncertain";
        case moden::metric_upgrade::ambiguous: return "metric upgrade ambiguous: too few different views, one of several solutions";
        case moden::metric_upgrade::closed_form: break;
    }
    return "metric upgrade in closed form";
}

template <class T>
void print_summary(const track_set<T>& input, const settings& wanted, const factorization<T>& fit, double seconds) {
    const std::size_t frames = input.tracks.shape()[0], points = input.tracks.shape()[2], count = fit.basis.shape()[0];
    std::printf("tracks          %zu frames of %zu points, in %s", frames, points, sizeof(T) == 4 ? "float" : "double");
    if (input.seen) {
        std::size_t observed = 0;
        for (const auto seen : *input.seen) {
            observed += seen;
        }
        std::printf(", %.2f %% of them missing", 100 * (1 - static_cast<double>(observed) / static_cast<double>(frames * points)));
    }
    std::printf("\nbasis shapes    K = %zu, %s\n", count, wanted.rank > 0 ? "as asked for" : "by the Bayesian information criterion");
    std::printf("reprojection    %.5g, of the rigid shape alone %.5g (root mean square, in the unit of the tracks)\n", fit.reprojection_error,
                fit.reprojection_error * std::sqrt(fit.rigid_objective / std::max(fit.objective, 1e-300)));
    const double largest = fit.residual_singular_values.empty() ? 0 : fit.residual_singular_values.front();
    std::printf("singular values %.4g, %.4g, %.4g of the rigid part, then %.4g\n", fit.singular_values[0], fit.singular_values[1], fit.singular_values[2], largest);
    const bool shallow = fit.singular_values[2] < 1.5 * largest;
    std::printf("status          %s; %s%s, %.3f s\n", describe(fit.upgrade), fit.status == moden::iteration_status::converged ? "converged" : "stopped at the limit of rounds",
                shallow ? "; depth hardly stands out from deformation: nearly flat, or hardly any rotation" : "", seconds);
}

/// The true mean shape turned and scaled to the one that was found.
shape3d aligned(const shape3d& truth, const shape3d& found) {
    const std::size_t points = truth.shape()[1];
    double product[9] = {}, square = 0, rotation[9];
    for (std::size_t p = 0; p < points; ++p) {
        for (std::size_t i = 0; i < 3; ++i) {
            square += truth(i, p) * truth(i, p);
            for (std::size_t j = 0; j < 3; ++j) {
                product[3 * i + j] += truth(i, p) * found(j, p);
            }
        }
    }
    const double scale = moden::detail::best_rotation(product, rotation) / square;
    auto result = shape3d::from_shape({3, points});
    for (std::size_t p = 0; p < points; ++p) {
        for (std::size_t i = 0; i < 3; ++i) {
            result(i, p) = scale * (rotation[3 * i] * truth(0, p) + rotation[3 * i + 1] * truth(1, p) + rotation[3 * i + 2] * truth(2, p));
        }
    }
    return result;
}

/// 3D errors of what was found, and of the rigid shape in its place.
void print_truth(const face_world_tracks& world, const factorization<float>& fit, const moden::tensor<float, 3>& shapes) {
    const std::size_t frames = shapes.shape()[0];
    auto rigid = moden::tensor<float, 3>::from_shape(shapes.shape());
    for (std::size_t f = 0; f < frames; ++f) {
        std::copy(fit.shape.begin(), fit.shape.end(), rigid.data() + f * fit.shape.size());
    }
    std::printf("\n3D error                      relative   normalized   root mean square, cm\n");
    const auto line = [&](const char* name, const moden::tensor<float, 3>& estimate, moden::alignment_scope scope) {
        const auto error = moden::reconstruction_error(estimate, world.shapes, {.scope = scope, .reflection = moden::alignment_reflection::refused});
        std::printf("  %-26s%10.4f%13.4f%23.4f\n", name, error.relative, error.normalized, error.root_mean_square);
    };
    line("one alignment", shapes, moden::alignment_scope::sequence);
    line("  of the rigid shape", rigid, moden::alignment_scope::sequence);
    line("one per frame", shapes, moden::alignment_scope::frame);
    line("  of the rigid shape", rigid, moden::alignment_scope::frame);
    const auto turned = moden::rotation_error(fit.cameras, world.cameras, moden::alignment_reflection::refused);
    std::printf("rotations       off by %.2f degrees on average, %.2f at most\n", turned.mean_degrees, turned.largest_degrees);
}

template <class T>
void process(const track_set<T>& input, const settings& wanted, const examples::output_folder& out, const face_world_tracks* world) {
    const auto start = std::chrono::steady_clock::now();
    const moden::rank_one_factorization_options options{.basis_shapes = wanted.rank,
                                                        .cameras = wanted.cameras,
                                                        .depth = wanted.depth(),
                                                        .basis = wanted.basis,
                                                        .shrinkage = wanted.shrinkage,
                                                        .max_iterations = wanted.max_iterations};
    const auto fit = input.seen ? moden::rank_one_factorization(input.tracks, *input.seen, options) : moden::rank_one_factorization(input.tracks, options);
    const auto shapes = moden::rank_one_shapes(fit);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const shape3d mean = mean_of(shapes), rigid = fit.shape;
    const auto mean_picture = draw_mean_shape(mean, world != nullptr ? aligned(mean_of(world->shapes), mean) : shape3d{}, wanted.rows);
    const auto basis_picture = draw_basis(rigid, fit.basis, fit.directions, standard_deviations(fit.coefficients), wanted.rows);
    out.publish(
        [&](const std::filesystem::path& folder) {
            moden::io::save_npy(folder / "shapes.npy", shapes);
            moden::io::save_npy(folder / "cameras.npy", fit.cameras);
            moden::io::save_npy(folder / "translations.npy", fit.translations);
            moden::io::save_npy(folder / "basis.npy", fit.basis);
            moden::io::save_npy(folder / "alpha.npy", fit.coefficients);
            moden::io::save_npy(folder / "directions.npy", fit.directions);
            moden::io::write_png(folder / "mean_shape.png", mean_picture.bytes());
            moden::io::write_png(folder / "basis.png", basis_picture.bytes());
        },
        is_result);
    print_summary(input, wanted, fit, seconds);
    if constexpr (std::is_same_v<T, float>) {
        if (world != nullptr) {
            print_truth(*world, fit, shapes);
        }
    }
    std::printf("\nwritten         shapes, cameras, translations, basis, alpha, directions (npy), mean_shape, basis (png) in %s\n", wanted.out.c_str());
}

void run(const settings& wanted) {
    using moden::detail::require;
    constexpr double most_noise = 1e9;  // far beyond any picture, and far from what squares of float lose
    require<examples::usage_error>(wanted.noise >= 0 && wanted.noise <= most_noise, "--noise ", wanted.noise, " (expected a number of pixels from 0 to ", most_noise, ")");
    const examples::output_folder out(wanted.out);
    if (wanted.tracks.empty()) {
        const auto world = make_face_tracks(wanted.frames, wanted.size, wanted.noise, wanted.seed);
        process<float>({world.tracks}, wanted, out, &world);
        return;
    }
    const moden::io::npy_file file(wanted.tracks, "--tracks");
    out.keep_input(wanted.tracks, is_result);
    if (fits_float(file.type())) {
        process(read_tracks<float>(file, wanted), wanted, out, nullptr);
    } else {
        process(read_tracks<double>(file, wanted), wanted, out, nullptr);
    }
}

}  // namespace
}  // namespace nrsfm

int main(int argc, char** argv) {
    using namespace nrsfm;
    settings wanted;
    CLI::App app(
        "Non-rigid structure from motion: cameras and 3D shapes from the tracks of points in many pictures.\n"
        "Without --tracks: landmarks of random people of the face world, and how far the result is from the truth.\n",
        "nrsfm");
    add_options(app, wanted);
    return examples::run_program(app, argc, argv, [&] { run(wanted); });
}
