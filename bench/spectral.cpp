// Benchmarks of singular vectors of Jacobians; bench/README.md says how they are measured, bench/compare runs them beside PyTorch.
//
// jacobian_svd/MAP/kK/DTYPE   jacobian_svd of the K leading triplets, by the default method
//   MAP mlp_512_2048x3_12288  a perceptron of these widths with tanh
//       faces64/SPACE         the bundled generator from w or w+
//       random256/SPACE       a generator of 256 pixels with random weights and 16384 / resolution channels
// The folder MODEN_BENCH_INPUTS holds point.npy, weights_I.npy and bias_I.npy or weights.safetensors, and reference.npy, the singular values.
//
// bench_spectral --products prints the products that each method takes, docs/spectral.md's table.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moden/stylegan2.hpp>

#include "harness.hpp"
#include "picture_flops.hpp"

namespace {

namespace stylegan2 = moden::stylegan2;
using moden::cpu_policy;
using moden_bench::cpu;

template <class T>
using vector = moden::tensor<T, 1>;

template <class T>
vector<T> as_vector(const T* values, std::size_t count) {
    auto result = vector<T>::from_shape({count});
    std::copy(values, values + count, result.begin());
    return result;
}

template <class T>
vector<T> zeros(std::size_t count) {
    auto result = vector<T>::from_shape({count});
    result.fill(T(0));
    return result;
}

/// The largest relative error of a singular value, 0 without a folder.
template <class T>
double largest_error(const std::vector<T>& found) {
    const auto folder = moden_bench::input_folder();
    if (folder.empty()) {
        return 0;
    }
    const auto exact = moden::io::load_npy<double>(folder / "reference.npy");
    double largest = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        largest = std::max(largest, std::abs(static_cast<double>(found[i]) / exact.data()[i] - 1));
    }
    return largest;
}

template <class T>
struct network {
    moden::multilayer_perceptron<cpu_policy, T> map;
    vector<T> point;
    double flops_per_pass;
};

template <class T>
std::shared_ptr<const network<T>> load_network(const std::vector<std::size_t>& widths) {
    moden::multilayer_perceptron<cpu_policy, T> map(cpu, widths, {.hidden = moden::activation::tanh});
    if (!moden_bench::input_folder().empty()) {
        const auto fill = [](const std::string& name, const moden::extents& shape, T* target) {
            const auto file = moden_bench::input<T>(name, shape);
            const moden::extents given = moden::detail::shape_of(file);
            moden::detail::require<moden::shape_error>(given == shape, name, ".npy has the shape ", given, " (expected ", shape, ")");
            std::copy(file.begin(), file.end(), target);
        };
        for (std::size_t l = 0; l < map.layers(); ++l) {
            fill("weights_" + std::to_string(l), {widths[l + 1], widths[l]}, map.weights(l).data);
            fill("bias_" + std::to_string(l), {widths[l + 1]}, map.bias(l));
        }
    }
    const auto point = moden_bench::input<T>("point", {widths.front()});
    const double flops = 2 * static_cast<double>(map.parameter_count());
    return std::make_shared<const network<T>>(network<T>{std::move(map), as_vector(point.data(), point.size()), flops});
}

/// A generator at a point.
template <class T>
struct picture_of_point {
    picture_of_point(const std::filesystem::path& weights, stylegan2::latent_space space)
        : net(cpu, weights), map(net, {.space = space}), flops_per_pass(moden_bench::picture_flops(net.layout())) {}
    picture_of_point(const picture_of_point&) = delete;
    picture_of_point& operator=(const picture_of_point&) = delete;

    stylegan2::generator<cpu_policy, T> net;
    stylegan2::generator_map<cpu_policy, T> map;
    vector<T> point;
    double flops_per_pass;
};

template <class T>
std::shared_ptr<const picture_of_point<T>> load_generator(stylegan2::latent_space space) {
    const auto folder = moden_bench::input_folder();
    moden::detail::require<moden::argument_error>(!folder.empty(), "MODEN_BENCH_INPUTS names no folder; run bench/compare");
    auto result = std::make_shared<picture_of_point<T>>(folder / "weights.safetensors", space);
    const auto point = moden::io::load_npy<T>(folder / "point.npy");
    result->point = as_vector(point.data(), point.size());
    return result;
}

/// A case on what `load` loads: something with a map, a point and flops_per_pass.
template <class T, class Load>
void add(const std::string& subject, std::size_t rank, double tolerance, Load load) {
    moden_bench::add<T>("jacobian_svd/" + subject + "/k" + std::to_string(rank) + "/" + moden_bench::type_name<T>(), [=] {
        const auto known = load();
        const std::size_t result_elements = rank * (known->map.input_size() + known->map.output_size() + 1);
        auto work = moden_bench::figures_of(
            0, static_cast<double>(sizeof(T) * (known->point.size() + result_elements)), sizeof(T) * result_elements,
            [=] { return moden::jacobian_svd(cpu, known->map, known->point, {.rank = rank, .tolerance = tolerance}); },
            [](const auto& found) { return largest_error(found.singular_values); });
        work.tallies_of = [](const void* result) {
            const auto& found = *static_cast<const moden::jacobian_svd_result<moden::tensor<T, 2>>*>(result);
            return std::vector<moden_bench::tally>{{"tangents", static_cast<double>(found.jvp_count)},
                                                   {"cotangents", static_cast<double>(found.vjp_count)}};
        };
        work.flops_per_tally = known->flops_per_pass;
        return work;
    });
}

/// 3000 x 512 with singular values `value(1)`, `value(2)`, ...
template <class Value>
moden::tensor<float, 2> matrix_with(Value value) {
    constexpr std::size_t rows = 3000, columns = 512;
    auto left = moden::tensor<float, 2>::from_shape({rows, columns}), right = moden::tensor<float, 2>::from_shape({columns, columns});
    moden::fill_normal(cpu, left.data(), left.size(), 1);
    moden::fill_normal(cpu, right.data(), right.size(), 2);
    left = moden::qr(cpu, left).q;
    right = moden::qr(cpu, right).q;
    for (std::size_t j = 0; j < columns; ++j) {
        const auto factor = static_cast<float>(value(static_cast<double>(j + 1)));
        for (std::size_t i = 0; i < rows; ++i) {
            left(i, j) *= factor;
        }
    }
    return moden::mode_product(cpu, right, left, 0);
}

/// A row of the table: tangents and cotangents together, of each method, to a tolerance of so many digits.
template <class Map>
void print_products(const std::string& subject, const Map& map, const vector<float>& point, std::size_t rank, int digits) {
    using enum moden::jacobian_method;
    const double tolerance = std::pow(10.0, -digits);
    std::cout << "| " << subject << " | 1e-" << digits << " |";
    for (const moden::jacobian_method method : {block_krylov, subspace_iteration, sequential}) {
        const auto found = moden::jacobian_svd(cpu, map, point, {.rank = rank, .method = method, .tolerance = tolerance});
        std::cout << ' ' << found.jvp_count + found.vjp_count << (found.status == moden::spectral_status::converged ? " |" : " (not converged) |");
    }
    std::cout << std::endl;
}

void print_products() {
    std::cout << "| Jacobian | tolerance | block_krylov | subspace_iteration | sequential |\n|---|---|---|---|---|\n";
    const moden::affine_map<moden::tensor<float, 2>> slow(cpu, matrix_with([](double i) { return 1 / std::sqrt(i); }));
    const moden::affine_map<moden::tensor<float, 2>> fast(cpu, matrix_with([](double i) { return 1 / i; }));
    const auto origin = zeros<float>(slow.input_size());
    print_products("3000 x 512, s_i = 1/sqrt(i), k = 5", slow, origin, 5, 5);
    print_products("the same, k = 20", slow, origin, 20, 5);
    print_products("3000 x 512, s_i = 1/i, k = 20", fast, origin, 20, 3);

    const picture_of_point<float> faces(std::string(MODEN_DATA_FOLDER) + "/faces64.safetensors", stylegan2::latent_space::w);
    const auto w = stylegan2::map_latents(cpu, faces.net, stylegan2::seeded_latents<float>({7}, faces.net.layout().z_dim));
    const auto point = as_vector(w.data(), w.size());
    print_products("bundled generator, 64 x 64 picture by w (seed 7), k = 10", faces.map, point, 10, 3);
    const std::size_t size = faces.net.layout().resolution;
    auto mouth = zeros<float>(faces.map.output_size());
    for (std::size_t channel = 0; channel < 3; ++channel) {
        for (std::size_t row = 40; row < 54; ++row) {
            for (std::size_t column = 22; column < 42; ++column) {
                mouth((channel * size + row) * size + column) = 1;
            }
        }
    }
    print_products("the same, 20 x 14 pixels around the mouth", moden::masked_map(cpu, faces.map, mouth), point, 10, 5);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--products") {
        try {
            print_products();
            return 0;
        } catch (const std::exception& error) {
            std::cerr << "bench_spectral: " << error.what() << '\n';
            return 1;
        }
    }
    using stylegan2::latent_space;
    add<float>("mlp_512_2048x3_12288", 10, 1e-2, [] { return load_network<float>({512, 2048, 2048, 2048, 12288}); });
    add<float>("faces64/wplus", 10, 1e-2, [] { return load_generator<float>(latent_space::w_plus); });
    add<float>("random256/w", 10, 3e-3, [] { return load_generator<float>(latent_space::w); });
    return moden_bench::run(argc, argv);
}
