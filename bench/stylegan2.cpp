// Benchmarks of the StyleGAN2 adapter; bench/README.md says how they are measured, bench/compare runs them beside PyTorch.
//
// stylegan2/OPERATION/RESOLUTION/CHANNEL_BASE/DTYPE, one code of w+, constant noise:
//   forward  the picture
//   jvpK     K tangents in one call
//   vjpK     K cotangents in one call, the way there included
// The folder MODEN_BENCH_INPUTS holds weights.safetensors, ws.npy, tangents.npy or cotangent.npy, and reference.npy.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include <moden/stylegan2.hpp>

#include "harness.hpp"
#include "picture_flops.hpp"

namespace {

namespace stylegan2 = moden::stylegan2;
using moden::cpu_policy;
using moden::dynamic_tensor;
using moden_bench::cpu;

/// A generator and the code to run it on.
template <class T>
struct model {
    explicit model(const std::filesystem::path& folder)
        : net(cpu, folder / "weights.safetensors"), ws(moden::io::load_npy<T>(folder / "ws.npy")), map(net) {
        point = moden::tensor<T, 1>::from_shape({ws.size()});
        std::copy(ws.begin(), ws.end(), point.begin());
    }
    model(const model&) = delete;
    model& operator=(const model&) = delete;

    stylegan2::generator<cpu_policy, T> net;
    dynamic_tensor<T> ws;
    stylegan2::generator_map<cpu_policy, T> map;
    moden::tensor<T, 1> point;  ///< the same numbers as a vector
};

/// The largest difference from reference.npy, relative to its largest value. The reference has the first and the last of
/// several rows.
template <class Tensor>
double error_to_reference(const std::filesystem::path& folder, const Tensor& result, std::size_t rows) {
    const auto reference = moden::io::load_npy<double>(folder / "reference.npy");
    const std::size_t size = result.size() / rows;
    moden::detail::require<moden::shape_error>(reference.size() == std::min<std::size_t>(rows, 2) * size, "reference.npy has ",
                                               reference.size(), " numbers (expected the rows, at most two, of ", size, ")");
    double difference = 0, largest = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
        const double exact = reference.data()[i];
        const double found = static_cast<double>(result.data()[i < size ? i : (rows - 2) * size + i]);
        difference = std::max(difference, std::abs(found - exact));
        largest = std::max(largest, std::abs(exact));
    }
    return difference / largest;
}

/// A case that `compute(model, block)` does, on the tangents or cotangents of that name if there is one.
template <class T, class Compute>
void add(const std::string& operation, std::size_t resolution, std::size_t channel_base, double passes, const std::string& block,
         Compute compute) {
    const std::string name = "stylegan2/" + operation + "/" + std::to_string(resolution) + "/" + std::to_string(channel_base) +
                             "/" + moden_bench::type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto folder = moden_bench::input_folder();
        moden::detail::require<moden::argument_error>(!folder.empty(), "MODEN_BENCH_INPUTS names no folder; run bench/compare");
        const auto known = std::make_shared<model<T>>(folder);
        auto vectors = std::make_shared<dynamic_tensor<T>>();
        if (!block.empty()) {
            *vectors = moden::io::load_npy<T>(folder / (block + ".npy"));
        }
        const std::size_t pixels = known->map.output_size();
        const std::size_t rows = block.empty() ? 1 : vectors->shape()[0];
        const std::size_t result_size = rows * (block == "cotangent" ? known->map.input_size() : pixels);
        const double bytes = sizeof(T) * static_cast<double>(known->ws.size() + vectors->size() + result_size);
        return moden_bench::figures_of(
            passes * moden_bench::picture_flops(known->net.layout()), bytes, result_size * sizeof(T),
            [=] { return compute(*known, *vectors); },
            [folder, rows](const auto& result) { return error_to_reference(folder, result, rows); });
    });
}

template <class T>
void add_forward(std::size_t resolution, std::size_t channel_base) {
    add<T>("forward", resolution, channel_base, 1, "", [](const model<T>& known, const dynamic_tensor<T>&) {
        return stylegan2::synthesize(cpu, known.net, known.ws);
    });
}

/// `count` tangents cost as many passes and the way there.
template <class T>
void add_jvp(std::size_t resolution, std::size_t channel_base, std::size_t count) {
    add<T>("jvp" + std::to_string(count), resolution, channel_base, static_cast<double>(count + 1), "tangents",
           [](const model<T>& known, const dynamic_tensor<T>& tangents) { return known.map.jvp(cpu, known.point, tangents); });
}

template <class T>
void add_vjp(std::size_t resolution, std::size_t channel_base, std::size_t count) {
    add<T>("vjp" + std::to_string(count), resolution, channel_base, static_cast<double>(count + 1), "cotangent",
           [](const model<T>& known, const dynamic_tensor<T>& cotangents) { return known.map.vjp(cpu, known.point, cotangents); });
}

}  // namespace

int main(int argc, char** argv) {
    add_forward<float>(256, 32768);
    add_forward<float>(256, 16384);
    add_forward<float>(1024, 32768);
    for (const std::size_t channel_base : {32768U, 16384U}) {
        add_jvp<float>(256, channel_base, 1);
        add_jvp<float>(256, channel_base, 16);
        add_vjp<float>(256, channel_base, 1);
    }
    return moden_bench::run(argc, argv);
}
