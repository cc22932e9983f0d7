#pragma once

// Structured sets of codes: read from files with their names, or rendered and inverted.

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include <nlohmann/json.hpp>

#include "../common/program.hpp"
#include "../common/progress_bar.hpp"
#include "../common/renders.hpp"
#include "settings.hpp"

namespace edit_faces {

namespace stylegan2 = moden::stylegan2;
using moden::detail::require;
using generator = stylegan2::generator<moden::cpu_policy, float>;
using matrix = moden::tensor<float, 2>;

/// Codes of every combination of levels, D x I_1 x I_2 ..., and names.
struct code_set {
    moden::dynamic_tensor<float> codes;
    std::vector<moden::factor_mode> modes;

    /// Position of a mode among the factors, or nothing.
    std::optional<std::size_t> find(const std::string& name) const {
        for (std::size_t k = 0; k < modes.size(); ++k) {
            if (modes[k].name == name) {
                return k;
            }
        }
        return std::nullopt;
    }

    std::size_t samples() const { return codes.size() / codes.shape()[0]; }
};

/// {"modes": [{"name": ..., "levels": [...]}, ...]}
inline std::vector<moden::factor_mode> read_levels(const std::string& path) {
    std::ifstream file(path);
    require<moden::io_error>(file.good(), "--levels '", path, "' cannot be read");
    std::vector<moden::factor_mode> modes;
    try {
        const auto root = nlohmann::json::parse(file);
        for (const auto& mode : root.at("modes")) {
            modes.push_back({mode.at("name").get<std::string>(), mode.at("levels").get<std::vector<std::string>>()});
        }
    } catch (const nlohmann::json::exception& error) {
        throw moden::io_error(moden::detail::message("--levels '", path, "': ", error.what(),
                                                     " (expected {\"modes\": [{\"name\": \"person\", \"levels\": [\"p00\", ...]}, ...]})"));
    }
    return modes;
}

inline code_set read_code_set(const settings& wanted, const stylegan2::architecture& layout) {
    const moden::io::npy_file file(wanted.codes, "--codes");
    code_set set{file.load<float>(), read_levels(wanted.levels)};
    const moden::extents shape(set.codes.shape().begin(), set.codes.shape().end());
    require<examples::usage_error>(shape.size() >= 2, "--codes '", wanted.codes, "' has the shape ", shape, " (expected codes x factor modes)");
    const std::size_t whole = layout.num_ws * layout.w_dim;
    require<examples::usage_error>(shape[0] == whole || shape[0] == layout.w_dim, "--codes '", wanted.codes, "' has codes of ", shape[0],
                                   " entries (expected ", whole, " for w+ of this generator, or ", layout.w_dim, " for w)");
    moden::detail::check_factor_modes(set.modes, {shape.begin() + 1, shape.end()}, "--levels");
    return set;
}

inline std::string text_of_levels(const std::vector<moden::factor_mode>& modes) {
    nlohmann::json root;
    for (const moden::factor_mode& mode : modes) {
        root["modes"].push_back({{"name", mode.name}, {"levels", mode.levels}});
    }
    return root.dump(1) + "\n";
}

/// Codes in w+ of pictures, N x D, and the mean of their errors.
struct inverted {
    matrix codes;
    double rms_error = 0;
};

/// First in w, where every code makes a face, then in w+, held near that.
inline inverted invert_pictures(const moden::cpu_policy& cpu, const generator& net, const settings& wanted, const moden::tensor<float, 4>& pictures) {
    const auto start = stylegan2::load_inversion_start<float>(cpu, wanted.start);
    auto w = stylegan2::starting_w(cpu, net, start, pictures);
    const std::size_t count = w.shape()[0], w_dim = w.shape()[1];
    const auto near = stylegan2::invert(cpu, net, pictures, w, {.space = stylegan2::latent_space::w, .max_iterations = wanted.iterations / 2});
    for (std::size_t n = 0; n < count; ++n) {
        std::copy_n(&near.ws(n, 0, 0), w_dim, &w(n, 0));
    }
    const auto found = stylegan2::invert(cpu, net, pictures, w,
                                         {.space = stylegan2::latent_space::w_plus, .max_iterations = wanted.iterations - wanted.iterations / 2, .pull = 0.02});
    inverted result{matrix::from_shape({count, found.ws.shape()[1] * w_dim}), 0};
    std::copy(found.ws.begin(), found.ws.end(), result.codes.begin());
    for (const double error : found.rms_error) {
        result.rms_error += error / static_cast<double>(found.rms_error.size());
    }
    return result;
}

/// A structured set of the face world, inverted: what data/face_codes.npy holds.
inline code_set invert_structured_set(const moden::cpu_policy& cpu, const generator& net, const settings& wanted) {
    const faces::face_set set = faces::make_expression_set({.persons = wanted.invert_persons, .seed = 2024});
    const std::size_t count = set.faces.size(), size = net.layout().num_ws * net.layout().w_dim;
    code_set result;
    moden::dynamic_tensor<float>::shape_type shape{size};
    for (const faces::mode_levels& mode : set.modes) {
        result.modes.push_back({mode.name, mode.levels});
        shape.push_back(mode.levels.size());
    }
    result.codes = moden::dynamic_tensor<float>::from_shape(shape);
    examples::progress_bar bar("inverting");
    constexpr std::size_t at_once = 32;
    double error = 0;
    for (std::size_t first = 0; first < count; first += at_once) {
        const std::size_t some = std::min(at_once, count - first);
        const std::vector<faces::face_parameters> people(set.faces.begin() + static_cast<std::ptrdiff_t>(first),
                                                         set.faces.begin() + static_cast<std::ptrdiff_t>(first + some));
        const auto found = invert_pictures(cpu, net, wanted, examples::render_pictures(people, net.layout().resolution));
        error += found.rms_error * static_cast<double>(some) / static_cast<double>(count);
        for (std::size_t n = 0; n < some; ++n) {
            for (std::size_t i = 0; i < size; ++i) {
                result.codes.data()[i * count + first + n] = found.codes(n, i);
            }
        }
        bar.update(first + some, count, "rms error " + std::to_string(found.rms_error));
    }
    std::printf("%zu renders inverted into w+, mean rms error %.4f\n", count, error);
    return result;
}

/// The same codes with two factor modes made one: level "a b" for every pair, the first varying slowest. Other modes keep
/// their order; the joint mode stands where the first of the two stood.
inline code_set joined_modes(const moden::cpu_policy& cpu, const code_set& set, std::size_t a, std::size_t b) {
    moden::extents shape(set.codes.shape().begin(), set.codes.shape().end());
    moden::extents axes{0};
    code_set result;
    moden::dynamic_tensor<float>::shape_type joined{shape[0]};
    for (std::size_t k = 0; k < set.modes.size(); ++k) {
        if (k == b) {
            continue;
        }
        axes.push_back(k + 1);
        if (k != a) {
            result.modes.push_back(set.modes[k]);
            joined.push_back(shape[k + 1]);
            continue;
        }
        axes.push_back(b + 1);
        moden::factor_mode mode{set.modes[a].name, {}};
        for (const std::string& left : set.modes[a].levels) {
            for (const std::string& right : set.modes[b].levels) {
                mode.levels.push_back(left + " " + right);
            }
        }
        joined.push_back(mode.levels.size());
        result.modes.push_back(std::move(mode));
    }
    result.codes = moden::dynamic_tensor<float>::from_shape(joined);
    cpu.permute(moden::tensor_view<const float, moden::host_memory>{set.codes.data(), shape}, axes, result.codes.data());
    return result;
}

}  // namespace edit_faces
