// stylegan2_run: a StyleGAN2 generator from the command line.
//
// The calls of the library are in generate.hpp; this file reads, prints and writes.

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <regex>
#include <string>
#include <string_view>

#include "../common/output_folder.hpp"
#include "../common/pictures.hpp"
#include "../common/program.hpp"
#include "../common/progress_bar.hpp"
#include "../common/sheet.hpp"
#include "generate.hpp"
#include "settings.hpp"

namespace stylegan2_run {
namespace {

using moden::detail::require;

/// "image_0042"
std::string picture_name(std::size_t n) {
    std::string digits = std::to_string(n);
    return "image_" + std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits;
}

/// Whether stylegan2_run writes files of this name; those of an earlier run must not stay beside the new ones.
bool is_result(const std::string& name) {
    for (const std::string_view whole : {"images.npy", "ws.npy", "jvp.npy", "vjp.npy", "contact_sheet.png"}) {
        if (name == whole) {
            return true;
        }
    }
    static const std::regex numbered("image_[0-9]{4,}\\.png|rgb_b[0-9]+\\.npy|act_b[0-9]+_conv[01]\\.npy|"
                                     "style_b[0-9]+_(conv[01]|torgb)\\.npy");
    return std::regex_match(name, numbered);
}

/// Reads an NPY file of rows of the given shape.
template <class T>
moden::dynamic_tensor<T> read_rows(const std::string& option, const std::string& name, const moden::extents& row,
                                   std::size_t rows = 0) {
    if (name.empty()) {
        return moden::dynamic_tensor<T>::from_shape({0});
    }
    auto tensor = moden::io::npy_file(name, option).load<T>();
    moden::extents shape(tensor.shape().begin(), tensor.shape().end());
    moden::extents expected{rows};
    expected.insert(expected.end(), row.begin(), row.end());
    bool fits = shape.size() == expected.size() && shape[0] > 0 && (rows == 0 || shape[0] == rows);
    for (std::size_t i = 1; fits && i < shape.size(); ++i) {
        fits = shape[i] == expected[i];
    }
    require<examples::usage_error>(fits, option, " '", name, "' has the shape ", shape, " (expected ",
                                   rows == 0 ? std::string("N") : std::to_string(rows), " x ", row, ")");
    const auto bad = std::count_if(tensor.begin(), tensor.end(), [](T x) { return !std::isfinite(x); });
    require<examples::usage_error>(bad == 0, option, " '", name, "' holds ", bad, " values that are NaN or infinite");
    return tensor;
}

moden::extents code_shape(const stylegan2::architecture& layout, stylegan2::latent_space space) {
    if (space == stylegan2::latent_space::w_plus) {
        return {layout.num_ws, layout.w_dim};
    }
    return {stylegan2::detail::latent_size(layout, space)};
}

template <class T>
input<T> read_input(const settings& wanted, const stylegan2::architecture& layout) {
    static constexpr const char* options[] = {"--z", "--w", "--wplus", "--style"};
    input<T> given;
    if (wanted.seeds.empty()) {
        given.codes = read_rows<T>(options[static_cast<std::size_t>(wanted.input)], wanted.codes, code_shape(layout, wanted.input));
    } else {
        given.codes = stylegan2::seeded_latents<T>(wanted.seeds, layout.z_dim);
    }
    const std::size_t count = given.codes.shape()[0];
    const bool conditional = wanted.input == stylegan2::latent_space::z && layout.c_dim > 0;
    require<examples::usage_error>(conditional || wanted.labels.empty(), "--labels: the model is not conditional");
    require<examples::usage_error>(!conditional || !wanted.labels.empty(), "the model is conditional (expected --labels, ", count,
                                   " x ", layout.c_dim, ")");
    given.labels = read_rows<T>("--labels", wanted.labels, {layout.c_dim}, count);
    given.tangents = read_rows<T>("--tangent", wanted.tangent, code_shape(layout, wanted.space), count);
    given.cotangents = read_rows<T>("--cotangent", wanted.cotangent, {3, layout.resolution, layout.resolution}, count);
    return given;
}

void print(const stylegan2::architecture& layout) {
    std::printf("resolution      %zu x %zu\n", layout.resolution, layout.resolution);
    std::printf("latent spaces   z %zu, w %zu, w+ %zu x %zu, styles %zu%s\n", layout.z_dim, layout.w_dim, layout.num_ws,
                layout.w_dim, layout.style_size, layout.has_w_avg ? "" : "; no average of w");
    if (layout.c_dim > 0) {
        std::printf("labels          %zu\n", layout.c_dim);
    }
    std::printf("mapping         %zu layers\n", layout.mapping_widths.size());
    std::string channels;
    for (const auto& layer : layout.layers) {
        if (layer.kind == stylegan2::layer_kind::to_rgb) {
            channels += (channels.empty() ? "" : ", ") + std::to_string(layer.resolution) + ": " + std::to_string(layer.in);
        }
    }
    std::printf("channels        %s\n", channels.c_str());
    if (layout.conv_clamp) {
        std::printf("activations     clamped to +-%g\n\n", *layout.conv_clamp);
    } else {
        std::printf("activations     not clamped\n\n");
    }
}

template <class T>
examples::canvas draw_sheet(const moden::dynamic_tensor<T>& images, const settings& wanted) {
    constexpr std::size_t most = 64;
    constexpr std::size_t columns = 8;
    const std::size_t count = images.shape()[0];
    const std::size_t size = images.shape()[2];
    const std::size_t cell = std::clamp<std::size_t>(size, 96, 256);
    examples::sheet sheet{.cell_height = cell, .cell_width = cell};
    if (count > most) {
        sheet.notes.push_back("the first " + std::to_string(most) + " of " + std::to_string(count));
    }
    for (std::size_t n = 0; n < std::min(count, most); ++n) {
        if (n % columns == 0) {
            sheet.rows.emplace_back();
        }
        sheet.rows.back().cells.push_back({examples::picture_of(images, n),
                                           wanted.seeds.empty() ? std::to_string(n) : "seed " + std::to_string(wanted.seeds[n])});
    }
    return draw(sheet);
}

template <class T>
void save(const results<T>& result, const examples::canvas& sheet, const std::filesystem::path& folder) {
    for (const auto& [name, tensor] : result) {
        moden::io::save_npy(folder / (name + ".npy"), tensor);
    }
    const auto& images = result.at("images");
    for (std::size_t n = 0; n < images.shape()[0]; ++n) {
        moden::io::write_png(folder / (picture_name(n) + ".png"), examples::bytes_of(images, n));
    }
    moden::io::write_png(folder / "contact_sheet.png", sheet.bytes());
}

/// Loads the generator and runs it on a policy.
template <class T, class Policy>
void process(const Policy& policy, const settings& wanted, const examples::output_folder& out) {
    using clock = std::chrono::steady_clock;
    const auto seconds = [](auto from, auto to) { return std::chrono::duration<double>(to - from).count(); };
    const auto start = clock::now();
    const auto net = stylegan2::load_generator<T>(policy, wanted.weights);
    const auto loaded = clock::now();
    const input<T> given = read_input<T>(wanted, net.layout());
    const std::size_t count = given.codes.shape()[0];
    results<T> result;
    {
        examples::progress_bar bar("pictures");
        result = generate<T>(policy, net, wanted, given, [&](std::size_t done, std::size_t total) { bar.update(done, total); });
    }
    const auto made = clock::now();
    const examples::canvas sheet = draw_sheet(result.at("images"), wanted);
    out.publish([&](const std::filesystem::path& folder) { save(result, sheet, folder); }, is_result);
    print(net.layout());
    std::printf("pictures        %zu, in %s on %s\n", count, sizeof(T) == 4 ? "float" : "double",
                wanted.where == place::cuda ? "cuda" : "cpu");
    std::printf("time            %.3f s (load %.3f, run %.3f = %.1f ms per picture, write %.3f)\n",
                seconds(start, clock::now()), seconds(start, loaded), seconds(loaded, made),
                1000 * seconds(loaded, made) / static_cast<double>(count), seconds(made, clock::now()));
    std::printf("written        ");
    for (const auto& [name, tensor] : result) {
        std::printf(" %s.npy", name.c_str());
    }
    std::printf(" %s.png ... contact_sheet.png in %s\n", picture_name(0).c_str(), wanted.out.c_str());
}

template <class Policy>
void process(const Policy& policy, const settings& wanted, const examples::output_folder& out) {
    if (wanted.double_precision) {
        process<double>(policy, wanted, out);
    } else {
        process<float>(policy, wanted, out);
    }
}

void run_program(command_line& line, settings& wanted) {
    line.finish();
    const examples::output_folder out(wanted.out);
    for (const std::string& file : {wanted.codes, wanted.labels, wanted.tangent, wanted.cotangent}) {
        out.keep_input(file, is_result);
    }
    if (wanted.where == place::cuda) {
#ifdef __CUDACC__
        return process(moden::cuda_policy(), wanted, out);
#else
        throw examples::usage_error("--policy cuda: this program was built without CUDA (see MODEN_CUDA in the README)");
#endif
    }
    process(moden::cpu_policy({.threads = wanted.threads}), wanted, out);
}

}  // namespace
}  // namespace stylegan2_run

int main(int argc, char** argv) {
    stylegan2_run::settings wanted;
    stylegan2_run::command_line line(wanted);
    return examples::run_program(line.app(), argc, argv, [&] { stylegan2_run::run_program(line, wanted); });
}
