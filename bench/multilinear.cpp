// Benchmarks of the multilinear module; bench/README.md says how they are measured, bench/compare runs them beside peers.
//
// A case is named after what it computes, see bench/peers/cases.py. Inputs come from the folder MODEN_BENCH_INPUTS, where
// bench/compare puts them, and are random otherwise. Counters:
//   gemm_fraction  rate of the flops that the method needs, divided by the rate of a large GEMM measured in this process
//   GFLOP/s        the same rate
//   bytes          inputs and result, each touched once, per second
//   extra_bytes    growth of the resident set during one call beyond the result
//   error          relative to the reference in double precision; of decompositions, |X - X^| / |X|

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <moden/io/npy.hpp>
#include <moden/moden.hpp>

namespace {

using moden::cpu_policy;
using moden::dynamic_tensor;
using moden::extents;
template <class T>
using matrix = moden::tensor<T, 2>;

const cpu_policy cpu;

/// What is known about a case before it is timed.
struct figures {
    double flops = 0;
    double bytes = 0;
    double error = 0;
    std::function<std::shared_ptr<void>()> run;     ///< one call; the result dies with the pointer
    std::function<double(const void*)> error_of;    ///< error of a result
    std::size_t result_bytes = 0;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Flops per second of a large matrix product, the best of several.
template <class T>
double gemm_peak() {
    static const double peak = [] {
        constexpr std::size_t n = 2048;
        auto a = cpu.make_tensor<T, 2>({n, n});
        auto b = cpu.make_tensor<T, 2>({n, n});
        moden::fill_normal(cpu, a.data(), a.size(), 1);
        moden::fill_normal(cpu, b.data(), b.size(), 2);
        auto c = moden::mode_product(cpu, a, b, 0);
        double best = 1e300;
        for (int i = 0; i < 6; ++i) {
            const auto start = std::chrono::steady_clock::now();
            c = moden::mode_product(cpu, a, b, 0);
            best = std::min(best, seconds_since(start));
        }
        return 2.0 * n * n * n / best;
    }();
    return peak;
}

/// A field of /proc/self/status in bytes, 0 where there is none.
double process_memory(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name)) {
            return 1024 * std::stod(line.substr(line.find(':') + 1));
        }
    }
    return 0;
}

/// Growth of the resident set during one call beyond its result.
double extra_bytes(const figures& figures) {
    std::ofstream("/proc/self/clear_refs") << "5";  // resets the high-water mark
    const double before = process_memory("VmRSS");
    const auto result = figures.run();
    return std::max(0.0, process_memory("VmHWM") - before - static_cast<double>(figures.result_bytes));
}

template <class T>
dynamic_tensor<T> input(const std::string& name, const extents& shape) {
    if (const char* folder = std::getenv("MODEN_BENCH_INPUTS")) {
        return moden::io::load_npy<T>(std::filesystem::path(folder) / (name + ".npy"));
    }
    auto result = cpu.make_tensor<T, moden::dynamic_order>(shape);
    moden::fill_normal(cpu, result.data(), result.size(), std::hash<std::string>{}(name));
    return result;
}

template <class T>
std::vector<matrix<T>> input_factors(const extents& rows, std::size_t columns) {
    std::vector<matrix<T>> factors;
    for (std::size_t n = 0; n < rows.size(); ++n) {
        factors.emplace_back(input<T>("factor_" + std::to_string(n), {rows[n], columns}));
    }
    return factors;
}

/// |result - reference| / |reference| against reference.npy (float64), 0 without one.
template <class T, class Tensor>
double error_to_reference(const Tensor& result) {
    const char* folder = std::getenv("MODEN_BENCH_INPUTS");
    if (folder == nullptr) {
        return 0;
    }
    const auto reference = moden::io::load_npy<double>(std::filesystem::path(folder) / "reference.npy");
    double difference = 0;
    double scale = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
        const double exact = reference.data()[i];
        const double found = static_cast<double>(result.data()[i]);
        difference += (found - exact) * (found - exact);
        scale += exact * exact;
    }
    return std::sqrt(difference / scale);
}

using make_figures = std::function<figures()>;

/// Registers a case. Its inputs are loaded, and its memory and error measured, when it is first run.
template <class T>
void add(const std::string& name, make_figures make) {
    auto known = std::make_shared<std::optional<figures>>();
    auto memory = std::make_shared<double>(0);
    benchmark::RegisterBenchmark(name.c_str(),
                                 [make = std::move(make), known, memory](benchmark::State& state) {
                                     if (!*known) {
                                         gemm_peak<T>();
                                         *known = make();
                                         const auto warm = (*known)->run();
                                         (*known)->error = (*known)->error_of(warm.get());
                                         *memory = extra_bytes(**known);
                                     }
                                     for (auto _ : state) {
                                         auto result = (*known)->run();
                                         benchmark::DoNotOptimize(result.get());
                                         state.PauseTiming();
                                         result.reset();
                                         state.ResumeTiming();
                                     }
                                     using benchmark::Counter;
                                     const double flops = (*known)->flops;
                                     state.counters["GFLOP/s"] = Counter(flops / 1e9, Counter::kIsIterationInvariantRate);
                                     state.counters["gemm_fraction"] =
                                         Counter(flops / gemm_peak<T>(), Counter::kIsIterationInvariantRate);
                                     state.counters["bytes"] = Counter((*known)->bytes, Counter::kIsIterationInvariantRate);
                                     state.counters["extra_bytes"] = *memory;
                                     state.counters["error"] = (*known)->error;
                                 })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
}

template <class T>
std::string type_name() {
    return sizeof(T) == 4 ? "f32" : "f64";
}

std::string joined(const extents& values, char separator) {
    std::string text;
    for (const std::size_t value : values) {
        text += (text.empty() ? "" : std::string(1, separator)) + std::to_string(value);
    }
    return text;
}

/// `compute` as a case: its result is a tensor, or has data that error_of understands.
template <class Compute, class ErrorOf>
figures figures_of(double flops, double bytes, std::size_t result_bytes, Compute compute, ErrorOf error_of) {
    using result = decltype(compute());
    return {flops, bytes, 0, [compute]() -> std::shared_ptr<void> { return std::make_shared<result>(compute()); },
            [error_of](const void* found) { return error_of(*static_cast<const result*>(found)); }, result_bytes};
}

template <class T>
void add_mode_product(const extents& shape, std::size_t mode, std::size_t rows) {
    const bool square = rows == shape[mode];
    add<T>("mode_product/" + joined(shape, 'x') + "/mode" + std::to_string(mode) + "/" +
               (square ? "" : std::to_string(rows) + "x" + std::to_string(shape[mode]) + "/") + type_name<T>(),
           [=] {
               auto tensor = std::make_shared<dynamic_tensor<T>>(input<T>("tensor", shape));
               auto factor = std::make_shared<matrix<T>>(input<T>("matrix", {rows, shape[mode]}));
               const double elements = static_cast<double>(tensor->size());
               const std::size_t result_size = tensor->size() / shape[mode] * rows;
               return figures_of(
                   2 * elements * static_cast<double>(rows), sizeof(T) * (elements + static_cast<double>(result_size)),
                   result_size * sizeof(T), [=] { return moden::mode_product(cpu, *tensor, *factor, mode); },
                   [](const auto& result) { return error_to_reference<T>(result); });
           });
}

/// Flops of a sequentially truncated HOSVD with Gram matrices: per mode min(I_n, fibres) and 2 R_n per element.
double st_hosvd_flops(extents shape, const extents& ranks) {
    double flops = 0;
    for (const std::size_t mode : moden::detail::cheapest_mode_order(shape, ranks)) {
        const double elements = static_cast<double>(moden::element_count(shape));
        const double extent = static_cast<double>(shape[mode]);
        flops += elements * (std::min(extent, elements / extent) + 2 * static_cast<double>(ranks[mode]));
        shape[mode] = ranks[mode];
    }
    return flops;
}

/// Flops of a plain HOSVD with Gram matrices.
double hosvd_flops(const extents& shape, const extents& ranks) {
    const double elements = static_cast<double>(moden::element_count(shape));
    double flops = 0;
    for (const std::size_t extent : shape) {
        flops += elements * std::min(static_cast<double>(extent), elements / static_cast<double>(extent));
    }
    double reduced = elements;
    for (std::size_t n = 0; n < shape.size(); ++n) {
        flops += 2 * reduced * static_cast<double>(ranks[n]);
        reduced *= static_cast<double>(ranks[n]) / static_cast<double>(shape[n]);
    }
    return flops;
}

std::size_t tucker_size(const extents& shape, const extents& ranks) {
    std::size_t size = moden::element_count(ranks);
    for (std::size_t n = 0; n < shape.size(); ++n) {
        size += shape[n] * ranks[n];
    }
    return size;
}

template <class T, class Decompose>
void add_decomposition(const std::string& kind, const extents& shape, const extents& ranks, double flops, Decompose decompose) {
    add<T>(kind + "/" + joined(shape, 'x') + "/" + joined(ranks, ',') + "/" + type_name<T>(), [=] {
        auto tensor = std::make_shared<dynamic_tensor<T>>(input<T>("tensor", shape));
        const std::size_t result_bytes = tucker_size(shape, ranks) * sizeof(T);
        return figures_of(
            flops, sizeof(T) * static_cast<double>(tensor->size()) + static_cast<double>(result_bytes), result_bytes,
            [=] { return decompose(*tensor); },
            [=](const auto& result) { return moden::relative_error(cpu, *tensor, result); });
    });
}

template <class T>
void add_tucker_cases(const extents& shape, const extents& ranks) {
    add_decomposition<T>("st_hosvd", shape, ranks, st_hosvd_flops(shape, ranks),
                         [=](const auto& tensor) { return moden::st_hosvd(cpu, tensor, {.ranks = ranks}); });
}

template <class T>
void add_plain_hosvd(const extents& shape, const extents& ranks) {
    // The error measured by the call itself would cost a reconstruction, which no peer computes.
    add_decomposition<T>("hosvd", shape, ranks, hosvd_flops(shape, ranks), [=](const auto& tensor) {
        return moden::hosvd(cpu, tensor, {.ranks = ranks, .error = moden::error_measure::spectrum});
    });
}

template <class T>
void add_hooi(const extents& shape, const extents& ranks) {
    constexpr std::size_t sweeps = 5;
    add_decomposition<T>("hooi", shape, ranks, st_hosvd_flops(shape, ranks), [=](const auto& tensor) {
        return moden::hooi(cpu, tensor, {.ranks = ranks, .tolerance = 0, .max_iterations = sweeps});
    });
}

template <class T>
void add_cp_als(const extents& shape, std::size_t rank) {
    constexpr std::size_t sweeps = 10;
    add<T>("cp_als/" + joined(shape, 'x') + "/r" + std::to_string(rank) + "/" + type_name<T>(), [=] {
        auto tensor = std::make_shared<dynamic_tensor<T>>(input<T>("tensor", shape));
        auto start = std::make_shared<std::vector<matrix<T>>>(input_factors<T>(shape, rank));
        const double elements = static_cast<double>(tensor->size());
        std::size_t result_size = 0;
        for (const std::size_t extent : shape) {
            result_size += extent * rank;
        }
        return figures_of(
            2 * elements * static_cast<double>(rank * shape.size() * sweeps), sizeof(T) * elements, result_size * sizeof(T),
            [=] { return moden::cp_als(cpu, *tensor, *start, {.tolerance = 0, .max_iterations = sweeps}); },
            [](const auto& result) { return result.relative_error; });
    });
}

template <class T>
void add_mttkrp(const extents& shape, std::size_t rank, std::size_t mode) {
    add<T>("mttkrp/" + joined(shape, 'x') + "/r" + std::to_string(rank) + "/mode" + std::to_string(mode) + "/" + type_name<T>(), [=] {
        auto tensor = std::make_shared<dynamic_tensor<T>>(input<T>("tensor", shape));
        auto factors = std::make_shared<std::vector<matrix<T>>>(input_factors<T>(shape, rank));
        const double elements = static_cast<double>(tensor->size());
        return figures_of(
            2 * elements * static_cast<double>(rank), sizeof(T) * elements, shape[mode] * rank * sizeof(T),
            [=] { return moden::mttkrp(cpu, *tensor, *factors, mode); },
            [](const auto& result) { return error_to_reference<T>(result); });
    });
}

template <class T>
void add_khatri_rao(const extents& rows, std::size_t rank) {
    add<T>("khatri_rao/" + joined(rows, 'x') + "/r" + std::to_string(rank) + "/" + type_name<T>(), [=] {
        auto factors = std::make_shared<std::vector<matrix<T>>>(input_factors<T>(rows, rank));
        const double elements = static_cast<double>(moden::element_count(rows) * rank);
        return figures_of(
            elements, sizeof(T) * elements, moden::element_count(rows) * rank * sizeof(T),
            [=] { return moden::khatri_rao(cpu, *factors); }, [](const auto& result) { return error_to_reference<T>(result); });
    });
}

template <class T>
void add_reconstruct(const extents& shape, const extents& ranks) {
    add<T>("reconstruct/" + joined(shape, 'x') + "/" + joined(ranks, ',') + "/" + type_name<T>(), [=] {
        auto tucker = std::make_shared<moden::tucker_tensor<dynamic_tensor<T>>>();
        tucker->core = input<T>("core", ranks);
        double flops = 0;
        double elements = static_cast<double>(moden::element_count(ranks));
        extents order(shape.size());
        for (std::size_t n = 0; n < shape.size(); ++n) {
            tucker->factors.emplace_back(input<T>("factor_" + std::to_string(n), {shape[n], ranks[n]}));
            order[n] = n;
        }
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            const auto key = [&](std::size_t n) { return 1.0 / static_cast<double>(ranks[n]) - 1.0 / static_cast<double>(shape[n]); };
            return key(a) < key(b);
        });
        for (const std::size_t n : order) {
            flops += 2 * elements * static_cast<double>(shape[n]);
            elements *= static_cast<double>(shape[n]) / static_cast<double>(ranks[n]);
        }
        return figures_of(
            flops, sizeof(T) * elements, moden::element_count(shape) * sizeof(T), [=] { return moden::reconstruct(cpu, *tucker); },
            [](const auto& result) { return error_to_reference<T>(result); });
    });
}

template <class T>
void add_randomized_svd(std::size_t rows, std::size_t columns, std::size_t rank) {
    add<T>("randomized_svd/" + std::to_string(rows) + "x" + std::to_string(columns) + "/" + std::to_string(rank) + "/" + type_name<T>(), [=] {
        auto tensor = std::make_shared<dynamic_tensor<T>>(input<T>("tensor", {rows, columns}));
        const double elements = static_cast<double>(rows * columns);
        const double sketch = static_cast<double>(std::min({rank + 10, rows, columns}));
        return figures_of(
            12 * elements * sketch, sizeof(T) * elements, (rows + columns + 1) * rank * sizeof(T),
            [=] { return moden::randomized_svd(cpu, *tensor, {.rank = rank}); },
            [=](const auto& result) {
                moden::tucker_tensor<matrix<T>> approximation{matrix<T>::from_shape({rank, rank}), {result.u, matrix<T>::from_shape({columns, rank})}};
                for (std::size_t i = 0; i < rank; ++i) {
                    for (std::size_t j = 0; j < rank; ++j) {
                        approximation.core(i, j) = i == j ? result.singular_values[i] : T(0);
                    }
                    for (std::size_t j = 0; j < columns; ++j) {
                        approximation.factors[1](j, i) = result.vt(i, j);
                    }
                }
                return moden::relative_error(cpu, *tensor, approximation);
            });
    });
}

template <class T>
void add_unfold(const extents& shape, std::size_t mode) {
    add<T>("unfold/" + joined(shape, 'x') + "/mode" + std::to_string(mode) + "/" + type_name<T>(), [=] {
        auto tensor = std::make_shared<dynamic_tensor<T>>(input<T>("tensor", shape));
        const double elements = static_cast<double>(tensor->size());
        return figures_of(
            0, 2 * sizeof(T) * elements, tensor->size() * sizeof(T), [=] { return moden::unfold(cpu, *tensor, mode); },
            [=](const auto& result) {
                return moden::fold(cpu, result, mode, shape) == *tensor ? 0.0 : 1.0;
            });
    });
}

template <class T>
void add_all() {
    add_mode_product<T>({9216, 100, 25, 2}, 1, 100);
    add_mode_product<T>({200, 200, 200}, 1, 64);
    add_mode_product<T>({9216, 100, 25, 2}, 0, 64);
    add_mode_product<T>({200, 200, 200}, 0, 64);
    add_mode_product<T>({200, 200, 200}, 2, 64);
    add_mode_product<T>({9216, 100, 25, 2}, 2, 25);
    add_mode_product<T>({9216, 100, 6, 4, 2}, 3, 4);
    add_mode_product<T>({9216, 100, 25, 2}, 3, 2);
    add_tucker_cases<T>({9216, 100, 25, 2}, {200, 60, 15, 2});
    add_tucker_cases<T>({200, 200, 200}, {20, 20, 20});
    add_tucker_cases<T>({400, 400, 400}, {40, 40, 40});
    add_plain_hosvd<T>({200, 200, 200}, {20, 20, 20});
    add_hooi<T>({200, 200, 200}, {20, 20, 20});
    add_cp_als<T>({200, 200, 200}, 20);
    add_mttkrp<T>({200, 200, 200}, 20, 1);
    add_khatri_rao<T>({100, 100, 100}, 20);
    add_reconstruct<T>({200, 200, 200}, {20, 20, 20});
    add_randomized_svd<T>(4000, 1000, 50);
    add_unfold<T>({200, 200, 200}, 1);
}

}  // namespace

int main(int argc, char** argv) {
    add_all<float>();
    add_all<double>();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 2;
    }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}
