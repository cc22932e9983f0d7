// Benchmarks of regression, losses, dictionaries and clustering; bench/README.md says how they are measured, bench/compare runs them beside
// their peers.
//
// least_squares/SHAPE/tT/DTYPE                  least_squares of T targets, no intercept
// multilinear_loss/SHAPE/nN[/factors]/DTYPE     multilinear_loss_and_gradient of N samples, or without the core's gradient
// localized_dictionary/SHAPE/pP/DTYPE           localized_dictionary until it converges
// localized_dictionary/SHAPE/pP/toN/DTYPE       until the objective of N iterations of Adam
// spherical_k_means/SHAPE/kK/DTYPE              spherical_k_means from given centres, 20 iterations
// ward_linkage/SHAPE/DTYPE                      ward_linkage of vectors
// The folder MODEN_BENCH_INPUTS holds what the peers' files write there, and reference.npy.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "harness.hpp"

namespace {

using moden::dynamic_tensor;
using moden::extents;
using moden_bench::cpu;
using moden_bench::figures_of;
using moden_bench::joined;
using moden_bench::type_name;

template <class T>
using matrix = moden::tensor<T, 2>;

template <class T>
std::shared_ptr<matrix<T>> shared_input(const std::string& name, const extents& shape) {
    return std::make_shared<matrix<T>>(moden_bench::input<T>(name, shape));
}

/// reference.npy, empty without a folder.
std::vector<double> reference() {
    const auto folder = moden_bench::input_folder();
    if (folder.empty()) {
        return {};
    }
    const auto values = moden::io::load_npy<double>(folder / "reference.npy");
    return {values.begin(), values.end()};
}

/// |found - exact| / |exact|.
template <class T>
double relative_error(const T* found, const double* exact, std::size_t count) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < count; ++i) {
        difference += std::pow(static_cast<double>(found[i]) - exact[i], 2);
        norm += exact[i] * exact[i];
    }
    return std::sqrt(difference / norm);
}

double as_double(std::size_t x) {
    return static_cast<double>(x);
}

template <class T>
void add_least_squares(std::size_t count, std::size_t size, std::size_t targets) {
    const std::string name = "least_squares/" + joined({count, size}, 'x') + "/t" + std::to_string(targets) + "/" + type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto x = shared_input<T>("samples", {count, size}), y = shared_input<T>("targets", {count, targets});
        const std::size_t result_elements = size * targets;
        return figures_of(
            as_double(count) * as_double(size) * as_double(size + 2 * targets), as_double(sizeof(T) * (count * (size + targets) + result_elements)),
            sizeof(T) * result_elements, [=] { return moden::least_squares(cpu, *x, *y, {.intercept = moden::intercept_term::none}); },
            [=](const auto& fit) {
                const auto exact = reference();
                return exact.empty() ? 0 : relative_error(fit.coefficients.data(), exact.data(), exact.size());
            });
    });
}

/// The largest of the relative errors of the value and of every gradient; of the core's as many rows as the reference has.
template <class Result>
double largest_error(const Result& result) {
    const auto exact = reference();
    if (exact.empty()) {
        return 0;
    }
    double largest = std::abs(result.value / exact[0] - 1);
    std::size_t first = 1;
    for (const auto& gradient : result.factors) {
        largest = std::max(largest, relative_error(gradient.data(), exact.data() + first, gradient.size()));
        first += gradient.size();
    }
    return result.core.size() == 0 ? largest : std::max(largest, relative_error(result.core.data(), exact.data() + first, exact.size() - first));
}

template <class T>
void add_multilinear_loss(const extents& shape, std::size_t count, moden::loss_gradients wanted) {
    const bool core_wanted = wanted == moden::loss_gradients::factors_and_core;
    const std::string name = "multilinear_loss/" + joined(shape, 'x') + "/n" + std::to_string(count) + (core_wanted ? "/" : "/factors/") + type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto core = std::make_shared<dynamic_tensor<T>>(moden_bench::input<T>("core", shape));
        const auto data = shared_input<T>("data", {shape[0], count});
        const auto factors = std::make_shared<std::vector<matrix<T>>>();
        std::size_t elements = core_wanted ? core->size() : 0;
        for (std::size_t i = 1; i < shape.size(); ++i) {
            factors->emplace_back(moden_bench::input<T>("factor_" + std::to_string(i - 1), {shape[i], count}));
            elements += shape[i] * count;
        }
        return figures_of((core_wanted ? 6 : 4) * as_double(core->size()) * as_double(count),
                          as_double(sizeof(T) * (core->size() + data->size() + elements)), sizeof(T) * elements,
                          [=] { return moden::multilinear_loss_and_gradient(cpu, *data, *core, *factors, wanted); },
                          [](const auto& result) { return largest_error(result); });
    });
}

/// Until it converges, or until the objective is at most the reference's. The error is how far the objective is above the reference's.
template <class T>
void add_localized_dictionary(std::size_t rows, std::size_t columns, std::size_t count, const std::string& target) {
    const std::string name = "localized_dictionary/" + joined({rows, columns}, 'x') + "/p" + std::to_string(count) + target + "/" + type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto jacobian = shared_input<T>("jacobian", {rows, columns});
        const auto u = shared_input<T>("start_components", {rows, count}), v = shared_input<T>("start_directions", {count, columns});
        const auto exact = reference();
        const double wanted = exact.empty() ? 0 : exact[0];
        moden::localized_dictionary_options options;
        if (!target.empty()) {
            options.tolerance = 0;
            options.max_iterations = 2000;  // should the objective never be reached
            options.progress = [wanted](std::size_t, double objective) { return objective > wanted; };
        }
        const auto run = [=] { return moden::localized_dictionary(cpu, *jacobian, *u, *v, options); };
        // Products with J, and of the components with Gram matrices: 4 steps of U and 10 of V in an iteration, about.
        const double flops = as_double(run().iterations) * as_double(count) *
                             (4 * as_double(rows * columns) + 11 * as_double(rows * count) + 60 * as_double(columns * count));
        return figures_of(flops, as_double(sizeof(T) * (rows * columns + rows * count + columns * count)),
                          sizeof(T) * (rows * count + columns * count), run,
                          [=](const auto& found) { return wanted > 0 ? found.objective / wanted - 1 : 0; });
    });
}

template <class T>
void add_spherical_k_means(std::size_t count, std::size_t size, std::size_t clusters) {
    constexpr std::size_t iterations = 20;
    const std::string name = "spherical_k_means/" + joined({count, size}, 'x') + "/k" + std::to_string(clusters) + "/" + type_name<T>();
    moden_bench::add<T>(name, [=] {
        const auto vectors = shared_input<T>("vectors", {count, size}), centres = shared_input<T>("centres", {clusters, size});
        return figures_of(
            2.0 * iterations * as_double(count * size) * as_double(clusters), as_double(iterations) * as_double(sizeof(T) * count * size),
            sizeof(T) * clusters * size + sizeof(std::size_t) * count,
            [=] { return moden::spherical_k_means(cpu, *vectors, *centres, {.tolerance = 0, .max_iterations = iterations}); },
            [=](const auto& found) {
                const auto exact = reference();
                return exact.empty() ? 0 : found.inertia / exact[0] - 1;
            });
    });
}

template <class T>
void add_ward_linkage(std::size_t count, std::size_t size) {
    moden_bench::add<T>("ward_linkage/" + joined({count, size}, 'x') + "/" + type_name<T>(), [=] {
        const auto vectors = shared_input<T>("vectors", {count, size});
        const double pairs = as_double(count) * as_double(count - 1) / 2;
        return figures_of(
            3 * pairs * as_double(size), as_double(sizeof(T) * count * size) + sizeof(double) * pairs, sizeof(moden::cluster_merge) * (count - 1),
            [=] { return moden::ward_linkage(*vectors); },
            [=](const moden::cluster_tree& tree) {
                const auto exact = reference();  // rows as SciPy's: two clusters, height, size
                double largest = 0;
                for (std::size_t i = 0; i < exact.size() / 4; ++i) {
                    largest = std::max(largest, std::abs(tree.merges[i].height - exact[4 * i + 2]));
                }
                return exact.empty() ? 0 : largest / exact[exact.size() - 2];
            });
    });
}

}  // namespace

int main(int argc, char** argv) {
    add_least_squares<float>(500000, 512, 32);
    for (const std::size_t count : {64U, 512U}) {
        for (const auto wanted : {moden::loss_gradients::factors_and_core, moden::loss_gradients::factors}) {
            add_multilinear_loss<float>({12288, 9, 15, 80}, count, wanted);
        }
    }
    for (const char* target : {"/to2000", "/to20000", ""}) {
        add_localized_dictionary<float>(16384, 512, 200, target);
    }
    add_spherical_k_means<float>(204800, 512, 20);
    add_ward_linkage<float>(5000, 64);
    add_ward_linkage<double>(5000, 64);
    return moden_bench::run(argc, argv);
}
