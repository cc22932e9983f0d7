// tucker: the Tucker decomposition of a tensor in an NPY file, from the command line.
//
// The calls of the library are in decompose.hpp; this file reads, prints and writes.

#include <moden/io/npy.hpp>
#include <moden/io/png.hpp>
#include <moden/moden.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "../common/output_folder.hpp"
#include "../common/program.hpp"
#include "decompose.hpp"
#include "host_array.hpp"
#include "settings.hpp"
#include "spectrum.hpp"

namespace tucker {
namespace {

using clock = std::chrono::steady_clock;

double seconds(clock::time_point from, clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
}

/// "factor_3.npy" for ("factor", 3).
std::string numbered(const char* name, std::size_t mode) {
    return std::string(name) + "_" + std::to_string(mode) + ".npy";
}

/// Whether tucker writes files of this name; those of an earlier run must not stay beside the new ones.
bool is_result(const std::string& name) {
    if (name == "core.npy" || name == "completed.npy" || name == "spectrum.png") {
        return true;
    }
    for (const std::string_view prefix : {"factor_", "singular_values_"}) {
        const std::string_view rest = std::string_view(name).substr(std::min(prefix.size(), name.size()));
        const std::size_t digits = rest.find_first_not_of("0123456789");
        if (name.starts_with(prefix) && digits != 0 && digits != std::string_view::npos &&
            rest.substr(digits) == ".npy") {
            return true;
        }
    }
    return false;
}

void check_shape(const moden::io::npy_file& tensor, const settings& wanted) {
    using moden::detail::require;
    const moden::extents& shape = tensor.shape();
    require<examples::usage_error>(!shape.empty() && tensor.size() > 0, "--input '", wanted.input, "': the tensor of ",
                                   shape.empty() ? std::string("order 0") : shape_text(shape),
                                   " has nothing to decompose");
    require<examples::usage_error>(wanted.ranks.empty() || wanted.ranks.size() == shape.size(),
                                   "--ranks: ", wanted.ranks.size(), " ranks for a tensor of ", shape_text(shape),
                                   " (expected ", shape.size(), ")");
    for (std::size_t n = 0; n < wanted.ranks.size(); ++n) {
        require<examples::usage_error>(wanted.ranks[n] >= 1 && wanted.ranks[n] <= shape[n],
                                       "--ranks: ", wanted.ranks[n], " for mode ", n, " (expected 1 to ", shape[n],
                                       ")");
    }
}

/// Runs the method on the chosen policy.
template <class T>
decomposition<T> run(const host_array<T>& tensor, const host_array<T>* mask, const settings& wanted) {
#ifdef __CUDACC__
    if (wanted.where == place::cuda) {
        const moden::cuda_policy gpu;
        const auto on_device = moden::to_device(gpu, tensor.view());
        return mask == nullptr ? decompose<T>(gpu, on_device, wanted)
                               : decompose_observed<T>(gpu, on_device, moden::to_device(gpu, mask->view()), wanted);
    }
#endif
    const moden::cpu_policy cpu({.threads = wanted.threads});
    return mask == nullptr ? decompose<T>(cpu, tensor.view(), wanted)
                           : decompose_observed<T>(cpu, tensor.view(), mask->view(), wanted);
}

template <class T>
void print(const decomposition<T>& result, const moden::io::npy_file& file, double norm, const settings& used) {
    const moden::extents ranks(result.core.shape().begin(), result.core.shape().end());
    double parameters = static_cast<double>(result.core.size());
    for (const auto& factor : result.factors) {
        parameters += static_cast<double>(factor.size());
    }
    std::printf("shape           %s (%s)\n", shape_text(file.shape()).c_str(), std::string(name(file.type())).c_str());
    std::printf("ranks           %s\n", shape_text(ranks).c_str());
    std::printf("method          %s in %s on %s\n\n", name_of(method_names, used.method).c_str(),
                sizeof(T) == 4 ? "float" : "double", used.where == place::cuda ? "cuda" : "cpu");
    std::printf("mode    extent      rank  svd           computed    energy kept   not kept\n");
    for (std::size_t n = 0; n < ranks.size(); ++n) {
        const auto& mode = result.modes[n];
        const energy_shares shares = shares_of(mode, file.shape()[n], norm * norm);
        std::printf("%4zu  %8zu  %8zu  %-10s  %10zu  %11.6f %%  %9.2e\n", n, file.shape()[n], ranks[n],
                    name_of(svd_names, mode.method).c_str(), mode.singular_values.size(), 100 * shares.kept,
                    shares.dropped + shares.not_computed);
    }
    for (std::size_t n = 0; n < used.ranks.size(); ++n) {
        if (!used.tolerance && !used.energy && ranks[n] < used.ranks[n]) {
            std::printf("mode %zu has %zu columns instead of %zu: its unfolding has no more\n", n, ranks[n],
                        used.ranks[n]);
        }
    }
    if (used.method == method::hooi || used.method == method::complete) {
        std::printf("\niterations      %zu (%s)", result.iterations,
                    result.status == moden::iteration_status::converged ? "converged"
                                                                        : "stopped at the limit before convergence");
    }
    std::printf("\nrelative error  %.6g%s\n", result.relative_error,
                used.mask.empty() ? "" : " (of the observed entries)");
    std::printf("fit             %.6g\n", 1 - result.relative_error);
    std::printf("size            %.4g %% of the tensor\n", 100 * parameters / static_cast<double>(file.size()));
}

template <class T>
void save(const decomposition<T>& result, const examples::canvas& spectrum, const std::filesystem::path& folder) {
    moden::io::save_npy(folder / "core.npy", result.core);
    for (std::size_t n = 0; n < result.factors.size(); ++n) {
        const auto& values = result.modes[n].singular_values;
        auto as_tensor = moden::tensor<T, 1>::from_shape({values.size()});
        std::copy(values.begin(), values.end(), as_tensor.begin());
        moden::io::save_npy(folder / numbered("factor", n), result.factors[n]);
        moden::io::save_npy(folder / numbered("singular_values", n), as_tensor);
    }
    if (result.completed.dimension() > 0) {
        moden::io::save_npy(folder / "completed.npy", result.completed);
    }
    moden::io::write_png(folder / "spectrum.png", spectrum.bytes());
}

/// Reads, decomposes, writes and prints, all in the scalar type T.
template <class T>
void process(const moden::io::npy_file& file, const settings& wanted, const examples::output_folder& out) {
    const auto start = clock::now();
    const host_array<T> tensor(file);
    std::optional<host_array<T>> mask;
    if (!wanted.mask.empty()) {
        mask.emplace(moden::io::npy_file(wanted.mask, "--mask"));
        moden::detail::require<examples::usage_error>(mask->shape() == tensor.shape(), "--mask '", wanted.mask,
                                                      "' has the shape ", shape_text(mask->shape()), " (expected ",
                                                      shape_text(tensor.shape()), ")");
        const auto entries = mask->values();
        moden::detail::require<examples::usage_error>(
            std::none_of(entries.begin(), entries.end(), [](T x) { return std::isnan(x); }), "--mask '", wanted.mask,
            "' holds NaN (expected 0 where an entry is missing)");
    }
    const auto read = clock::now();
    decomposition<T> result;
    try {
        result = run<T>(tensor, mask ? &*mask : nullptr, wanted);
    } catch (const moden::argument_error& error) {
        const auto values = tensor.values();
        const bool finite = std::all_of(values.begin(), values.end(), [](T x) { return std::isfinite(x); });
        throw examples::usage_error(std::string(error.what()) +
                                    (finite || mask ? "" : "; with --mask, entries can be missing"));
    }
    const double norm = static_cast<double>(mask ? moden::norm(result.completed) : moden::norm(tensor.view()));
    const auto decomposed = clock::now();
    const examples::canvas spectrum = draw_spectrum(result, tensor.shape(), norm, wanted);
    out.publish([&](const std::filesystem::path& folder) { save(result, spectrum, folder); }, is_result);
    const auto written = clock::now();
    print(result, file, norm, wanted);
    std::printf("time            %.3f s (read %.3f, decompose %.3f, write %.3f)\n", seconds(start, written),
                seconds(start, read), seconds(read, decomposed), seconds(decomposed, written));
    std::printf("written         core, factor_0 ... %zu, singular_values_0 ... %zu%s (npy), spectrum.png in %s\n",
                result.factors.size() - 1, result.factors.size() - 1, mask ? ", completed" : "", wanted.out.c_str());
}

/// Whether every value of a stored type is a float.
bool fits_float(moden::io::element_type type) {
    using enum moden::io::element_type;
    return type != float64 && type != int32 && type != uint32 && type != int64 && type != uint64;
}

void run_program(command_line& line, settings& wanted) {
    line.finish();
#ifndef __CUDACC__
    if (wanted.where == place::cuda) {
        throw examples::usage_error(
            "--policy cuda: this program was built without CUDA (see MODEN_CUDA in the README)");
    }
#endif
    const examples::output_folder out(wanted.out);
    const moden::io::npy_file file(wanted.input, "--input");
    check_shape(file, wanted);
    out.keep_input(wanted.input, is_result);
    out.keep_input(wanted.mask, is_result);
    if (wanted.scalar == precision::like_input && fits_float(file.type())) {
        process<float>(file, wanted, out);
    } else {
        process<double>(file, wanted, out);
    }
}

}  // namespace
}  // namespace tucker

int main(int argc, char** argv) {
    tucker::settings wanted;
    tucker::command_line line(wanted);
    return examples::run_program(line.app(), argc, argv, [&] { tucker::run_program(line, wanted); });
}
