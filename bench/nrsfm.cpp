// Benchmarks of structure from motion; bench/README.md says how they are measured, bench/compare runs them beside their peers.
//
// nrsfm/SHAPE/kK/DTYPE      rank_one_factorization of SHAPE frames x points with K basis shapes, affine cameras and no shrinkage, as the peers
// shape_fit/SHAPE/kK/DTYPE  fit_shape_parameters of SHAPE sets x points
// The folder MODEN_BENCH_INPUTS holds what the peers' files write there, and reference.npy.

#include <cstddef>
#include <memory>
#include <string>

#include "harness.hpp"

namespace {

using moden_bench::cpu;
using moden_bench::figures_of;
using moden_bench::joined;
using moden_bench::type_name;

/// The sum of reference.npy, 0 without a folder.
double reference() {
    const auto folder = moden_bench::input_folder();
    if (folder.empty()) {
        return 0;
    }
    double sum = 0;
    for (const double value : moden::io::load_npy<double>(folder / "reference.npy")) {
        sum += value;
    }
    return sum;
}

double above_reference(double objective) {
    const double exact = reference();
    return exact > 0 ? objective / exact - 1 : 0;
}

template <class T>
void add_factorization(std::size_t frames, std::size_t points, std::size_t count) {
    moden_bench::add<T>("nrsfm/" + joined({frames, points}, 'x') + "/k" + std::to_string(count) + "/" + type_name<T>(), [=] {
        const auto tracks = std::make_shared<moden::tensor<T, 3>>(moden_bench::input<T>("tracks", {frames, 2, points}));
        const moden::rank_one_factorization_options options{.basis_shapes = count, .cameras = moden::camera_model::affine, .shrinkage = 0};
        const double n = static_cast<double>(frames), l = static_cast<double>(points), k = static_cast<double>(count);
        const std::size_t result_elements = 8 * frames + 3 * points + count * (points + 3 + frames);
        return figures_of(
            2 * n * l * l + 4 * n * l * (9 + 2 * k) + 12 * n * k * 512, static_cast<double>(sizeof(T)) * (2 * n * l + static_cast<double>(result_elements)),
            sizeof(T) * result_elements, [=] { return moden::rank_one_factorization(cpu, *tracks, options); },
            [](const auto& found) { return above_reference(found.objective); });
    });
}

template <class T>
void add_fits(std::size_t sets, std::size_t points, std::size_t count) {
    moden_bench::add<T>("shape_fit/" + joined({sets, points}, 'x') + "/k" + std::to_string(count) + "/" + type_name<T>(), [=] {
        const auto landmarks = std::make_shared<moden::tensor<T, 3>>(moden_bench::input<T>("landmarks", {sets, 2, points}));
        const moden::tensor<T, 2> shape = moden_bench::input<T>("shape", {3, points}), basis = moden_bench::input<T>("basis", {count, points});
        const moden::tensor<T, 2> directions = moden_bench::input<T>("directions", {count, 3});
        const auto model = std::make_shared<moden::rank_one_shape_model<moden::tensor<T, 2>>>(cpu, shape, basis, directions);
        const double n = static_cast<double>(sets), k = static_cast<double>(count), u = 6 + k;
        const double steps = static_cast<double>(moden::fit_shape_parameters(cpu, *model, *landmarks).iterations);
        return figures_of(
            n * (4 * static_cast<double>(points) * (3 + k) + steps * (9 * k * k + u * u * u / 3)), static_cast<double>(sizeof(T)) * n * (2.0 * static_cast<double>(points) + 9 + k),
            sizeof(T) * sets * (9 + count), [=] { return moden::fit_shape_parameters(cpu, *model, *landmarks); },
            [](const auto& found) { return above_reference(found.objective); });
    });
}

}  // namespace

int main(int argc, char** argv) {
    add_factorization<float>(50000, 68, 12);
    add_factorization<float>(50000, 468, 12);
    add_fits<float>(10000, 68, 12);
    return moden_bench::run(argc, argv);
}
