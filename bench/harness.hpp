#pragma once

// What the benchmark programs share: cases are registered with the work they do, and measured for time, memory and error.
//
// Inputs come from the folder MODEN_BENCH_INPUTS, where bench/compare puts them. Counters:
//   gemm_fraction  rate of the flops that the method needs, divided by the rate of a large GEMM measured in this process
//   GFLOP/s        the same rate
//   bytes          inputs and result, each touched once, per second
//   extra_bytes    growth of the resident set during one call beyond the result, with nothing kept from earlier calls
//   error          relative to the reference in double precision
//   others         what a case counts itself: passes through a map

#include <benchmark/benchmark.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <moden/io/npy.hpp>
#include <moden/moden.hpp>

namespace moden_bench {

/// The policy of all cases. Replaced before memory is measured, so that scratch memory it keeps counts as well.
inline moden::cpu_policy cpu;

/// Something that a result has counted.
struct tally {
    std::string name;
    double value = 0;
};

/// What is known about a case before it is timed.
struct figures {
    double flops = 0;
    double bytes = 0;
    std::function<std::shared_ptr<void>()> run;   ///< one call; the result dies with the pointer
    std::function<double(const void*)> error_of;  ///< error of a result
    std::size_t result_bytes = 0;
    std::function<std::vector<tally>(const void*)> tallies_of = {};
    double flops_per_tally = 0;  ///< beside `flops`, for each one counted
};

using make_figures = std::function<figures()>;

inline double seconds_since(std::chrono::steady_clock::time_point start) {
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
inline double process_memory(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name)) {
            return 1024 * std::stod(line.substr(line.find(':') + 1));
        }
    }
    return 0;
}

/// The folder with the inputs of the case to run, empty without one.
inline std::filesystem::path input_folder() {
    const char* folder = std::getenv("MODEN_BENCH_INPUTS");
    return folder == nullptr ? "" : folder;
}

/// NAME.npy from the folder of inputs; without a folder, random numbers.
template <class T>
moden::dynamic_tensor<T> input(const std::string& name, const moden::extents& shape) {
    if (const auto folder = input_folder(); !folder.empty()) {
        return moden::io::load_npy<T>(folder / (name + ".npy"));
    }
    auto result = cpu.make_tensor<T, moden::dynamic_order>(shape);
    moden::fill_normal(cpu, result.data(), result.size(), std::hash<std::string>{}(name));
    return result;
}

/// `compute` as a case: its result is a tensor, or has data that error_of understands.
template <class Compute, class ErrorOf>
figures figures_of(double flops, double bytes, std::size_t result_bytes, Compute compute, ErrorOf error_of) {
    using result = decltype(compute());
    return {flops, bytes, [compute]() -> std::shared_ptr<void> { return std::make_shared<result>(compute()); },
            [error_of](const void* found) { return error_of(*static_cast<const result*>(found)); }, result_bytes};
}

/// A case that has been loaded and run, with its memory and error.
struct prepared_case {
    figures work;
    double extra_bytes = 0;
    double error = 0;
    std::vector<tally> tallies = {};
};

/// Memory is taken from a second call, after one-time allocations, unless the first is slow.
inline prepared_case prepare(figures work) {
    constexpr double slow = 5;  // seconds
    prepared_case result{std::move(work)};
    for (int attempt = 0; attempt < 2; ++attempt) {
        cpu = moden::cpu_policy();
#if defined(__GLIBC__)
        malloc_trim(0);  // freed pages that are used again count as well, as on the peers' side
#endif
        std::ofstream("/proc/self/clear_refs") << "5";  // resets the high-water mark
        const double before = process_memory("VmRSS");
        const auto start = std::chrono::steady_clock::now();
        const auto found = result.work.run();
        const double seconds = seconds_since(start);
        const double growth = process_memory("VmHWM") - before;
        result.extra_bytes = std::max(0.0, growth - static_cast<double>(result.work.result_bytes));
        if (attempt == 1 || seconds > slow) {
            result.error = result.work.error_of(found.get());
            if (result.work.tallies_of) {
                result.tallies = result.work.tallies_of(found.get());
            }
            break;
        }
    }
    return result;
}

/// Registers a case. Its inputs are loaded, and its memory and error measured, when it is first run.
template <class T>
void add(const std::string& name, make_figures make) {
    auto known = std::make_shared<std::optional<prepared_case>>();
    const auto body = [make = std::move(make), known](benchmark::State& state) {
        if (!*known) {
            gemm_peak<T>();
            try {
                *known = prepare(make());
            } catch (const std::exception& error) {
                state.SkipWithError(error.what());
                return;
            }
        }
        const figures& work = (*known)->work;
        for (auto _ : state) {
            auto result = work.run();
            benchmark::DoNotOptimize(result.get());
            state.PauseTiming();
            result.reset();
            state.ResumeTiming();
        }
        using benchmark::Counter;
        double flops = work.flops;
        for (const tally& one : (*known)->tallies) {
            state.counters[one.name] = one.value;
            flops += work.flops_per_tally * one.value;
        }
        state.counters["GFLOP/s"] = Counter(flops / 1e9, Counter::kIsIterationInvariantRate);
        state.counters["gemm_fraction"] = Counter(flops / gemm_peak<T>(), Counter::kIsIterationInvariantRate);
        state.counters["bytes"] = Counter(work.bytes, Counter::kIsIterationInvariantRate);
        state.counters["extra_bytes"] = (*known)->extra_bytes;
        state.counters["error"] = (*known)->error;
    };
    benchmark::RegisterBenchmark(name.c_str(), body)->UseRealTime()->Unit(benchmark::kMillisecond);
}

template <class T>
std::string type_name() {
    return sizeof(T) == 4 ? "f32" : "f64";
}

inline std::string joined(const moden::extents& values, char separator) {
    std::string text;
    for (const std::size_t value : values) {
        text += (text.empty() ? "" : std::string(1, separator)) + std::to_string(value);
    }
    return text;
}

/// The main function of a program whose cases are registered.
inline int run(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 2;
    }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

}  // namespace moden_bench
