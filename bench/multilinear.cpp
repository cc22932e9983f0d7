// Benchmarks of the multilinear module; bench/README.md says how they are measured, bench/compare runs them beside peers.
//
// A case is named after what it computes, see bench/peers/cases.py. Inputs are random unless bench/compare provides them.
// The error of decompositions is |X - X^| / |X|.

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
using moden_bench::add;
using moden_bench::cpu;
using moden_bench::figures_of;
using moden_bench::input;
using moden_bench::joined;
using moden_bench::type_name;
template <class T>
using matrix = moden::tensor<T, 2>;

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
    const auto folder = moden_bench::input_folder();
    if (folder.empty()) {
        return 0;
    }
    const auto reference = moden::io::load_npy<double>(folder / "reference.npy");
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
    return moden_bench::run(argc, argv);
}
