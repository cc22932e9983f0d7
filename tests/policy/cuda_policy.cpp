// What only the CUDA policy has: device tensors and their transfers, its errors, and the paths that small matrices do
// not reach (sums divided into parts, QR by blocks, loops longer than a grid).

#include <doctest/doctest.h>

#ifdef MODEN_TEST_CUDA

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include <moden/cuda.hpp>

#include "policies.hpp"
#include "reference.hpp"
#include "stored_matrix.hpp"

namespace {

using namespace moden_test;
using moden::cuda_policy;
using moden::device_memory;
using moden::device_tensor;
using moden::dynamic_order;
using moden::matrix_view;

template <class T>
struct index_as {
    T* target;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { target[i] = static_cast<T>(i % 1021); }
};

struct as_double {
    MODEN_HOST_DEVICE double operator()(std::size_t i) const { return static_cast<double>(i); }
};

template <class T>
struct grid_index {
    T* target;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        target[i * columns + j] = static_cast<T>((i * columns + j) % 1021);
    }
};

/// Whether element i is i % 1021, for all i.
template <class T>
bool holds_indices(const std::vector<T>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (values[i] != static_cast<T>(i % 1021)) {
            return false;
        }
    }
    return true;
}

}  // namespace

TEST_CASE("cuda_policy: a first use") {
    //! [cuda_policy]
    const moden::cuda_policy gpu;  // owns a stream, cuBLAS and cuSOLVER handles, a memory pool: make one and keep it
    moden::tensor<float, 3> pictures = moden::tensor<float, 3>::from_shape({12, 16, 16});
    pictures.fill(0.5f);
    const auto on_device = moden::to_device(gpu, pictures);
    const auto model = moden::st_hosvd(gpu, on_device, {.ranks = {2, 4, 4}});
    const auto rebuilt = moden::to_host(gpu, moden::reconstruct(gpu, model));
    //! [cuda_policy]
    CHECK(rebuilt.shape() == pictures.shape());
    CHECK(std::abs(rebuilt(11, 15, 15) - 0.5f) < 1e-5f);
}

TEST_CASE("cuda_policy: can be moved, not copied, and says which device and stream it has") {
    static_assert(!std::is_copy_constructible_v<cuda_policy> && std::is_nothrow_move_constructible_v<cuda_policy>);
    cuda_policy first;
    const auto tensor = moden::to_device(first, random_tensor<double, 2>({5, 7}, 1));
    const cudaStream_t stream = first.stream();
    const cuda_policy second = std::move(first);
    CHECK(second.stream() == stream);
    CHECK(second.device() == 0);
    CHECK(moden::norm(second, tensor) == doctest::Approx(moden::norm(random_tensor<double, 2>({5, 7}, 1))));
}

TEST_CASE("cuda_policy: assignment replaces one policy by another") {
    cuda_policy policy;
    const auto before = moden::to_device(policy, random_tensor<double, 2>({5, 7}, 1));
    cuda_policy next;
    const cudaStream_t stream = next.stream();
    policy = std::move(next);
    CHECK(policy.stream() == stream);
    const auto after = moden::to_device(policy, random_tensor<double, 2>({5, 7}, 2));
    const auto product = moden::mode_product(policy, after, after, 1);
    CHECK(moden::to_host(policy, product).shape() == std::array<std::size_t, 2>{5, 5});
    CHECK(before.size() == 35);
}

TEST_CASE("cuda_policy: errors name what was wrong, and the policy works on") {
    CHECK_THROWS_AS(cuda_policy({.device = -1}), moden::argument_error);
    CHECK_THROWS_AS(cuda_policy({.device = 4096}), moden::argument_error);
    const cuda_policy gpu;
    CHECK_THROWS_AS(gpu.allocate<double>(std::size_t{1} << 50), moden::device_error);
    CHECK_THROWS_AS(gpu.allocate<double>(std::size_t{1} << 63), moden::device_error);
    const auto tensor = moden::to_device(gpu, random_tensor<float, 1>({100}, 2));
    CHECK_NOTHROW(moden::norm(gpu, tensor));
    CHECK_NOTHROW(gpu.synchronize());
}

TEST_CASE("cuda_policy: keeping no memory changes nothing but speed") {
    const cuda_policy gpu({.kept_memory = 0});
    const auto x = random_tensor<double, 3>({9, 8, 7}, 3);
    CHECK(moden::norm(gpu, moden::to_device(gpu, x)) == doctest::Approx(moden::norm(x)));
}

TEST_CASE_TEMPLATE("device_tensor: there and back, static and dynamic order", T, float, double) {
    const cuda_policy gpu;
    //! [to_device]
    const moden::tensor<T, 2> matrix = random_tensor<T, 2>({3, 4}, 4);
    const moden::device_tensor<T, 2> there = moden::to_device(gpu, matrix);
    const moden::tensor<T, 2> back = moden::to_host(gpu, there);
    //! [to_device]
    CHECK(back == matrix);
    CHECK(there.shape() == std::array<std::size_t, 2>{3, 4});
    CHECK(there.size() == 12);

    const moden::dynamic_tensor<T> dynamic = random_tensor<T, 3>({2, 3, 4}, 5);
    const device_tensor<T, dynamic_order> dynamic_there = moden::to_device(gpu, dynamic);
    CHECK(dynamic_there.shape() == moden::extents{2, 3, 4});
    CHECK(moden::to_host(gpu, dynamic_there) == dynamic);

    const auto expression = moden::to_device(gpu, matrix + matrix);
    static_assert(std::is_same_v<decltype(expression), const device_tensor<T, 2>>);
    CHECK(moden::to_host(gpu, expression)(2, 3) == matrix(2, 3) + matrix(2, 3));

    const moden::tensor<T, 2> empty = moden::tensor<T, 2>::from_shape({0, 4});
    CHECK(moden::to_host(gpu, moden::to_device(gpu, empty)).shape() == empty.shape());
}

TEST_CASE_TEMPLATE("device_tensor: moves, deep copies, vectors", T, float, double) {
    using matrix = device_tensor<T, 2>;
    static_assert(std::is_nothrow_move_constructible_v<matrix> && std::is_nothrow_move_assignable_v<matrix>);
    static_assert(!std::is_convertible_v<const matrix&, matrix>, "a deep copy has to be written out");
    const matrix nothing;
    CHECK(nothing.size() == 0);
    CHECK(nothing.shape() == std::array<std::size_t, 2>{0, 0});
    CHECK(device_tensor<T, dynamic_order>().size() == 0);
    CHECK(moden::element_count(device_tensor<T, dynamic_order>().shape()) == 0);

    const cuda_policy gpu;
    const auto host = random_tensor<T, 2>({6, 5}, 6);
    matrix a = moden::to_device(gpu, host);
    matrix b(a);
    CHECK(b.data() != a.data());
    gpu.transform(b.size(), index_as<T>{b.data()});
    CHECK(moden::to_host(gpu, a) == host);
    CHECK(holds_indices(moden::detail::to_vector<cuda_policy, T>(gpu, b.data(), b.size())));

    matrix c = std::move(a);
    CHECK(a.size() == 0);
    CHECK(a.shape() == std::array<std::size_t, 2>{0, 0});
    CHECK(moden::to_host(gpu, c) == host);
    a = c;
    CHECK(moden::to_host(gpu, a) == host);
    c = std::move(b);
    CHECK(moden::to_host(gpu, c)(0, 1) == T(1));

    std::vector<matrix> list;
    for (int i = 0; i < 5; ++i) {
        list.push_back(moden::to_device(gpu, host));
    }
    std::vector<matrix> copies = list;
    list.clear();
    list.resize(2);
    CHECK(moden::to_host(gpu, copies[4]) == host);
    CHECK(list[1].size() == 0);
}

TEST_CASE("device_tensor: refuses memory and shapes that do not fit, and an unset scalar") {
    const cuda_policy gpu;
    CHECK_THROWS_AS((device_tensor<float, 2>(gpu.allocate<float>(6), {2, 4})), moden::shape_error);
    CHECK_THROWS_AS((device_tensor<float, 2>(gpu.allocate<float>(6), {6})), moden::shape_error);
    CHECK_THROWS_AS(moden::norm(gpu, device_tensor<float, 0>()), moden::shape_error);
}

TEST_CASE("device_tensor: outlives its policy") {
    device_tensor<double, 1> survivor;
    {
        const cuda_policy gpu;
        survivor = moden::to_device(gpu, random_tensor<double, 1>({1000}, 7));
    }
    const cuda_policy another;
    CHECK(moden::to_host(another, survivor) == random_tensor<double, 1>({1000}, 7));
}

TEST_CASE("device_tensor: two policies, one after the other") {
    const cuda_policy first;
    const cuda_policy second;
    const auto host = random_tensor<double, 2>({300, 200}, 8);
    const auto product = moden::mode_product(first, moden::to_device(first, host), moden::to_device(first, host), 1);
    first.synchronize();
    const auto norm = moden::norm(second, product);
    CHECK(norm == doctest::Approx(moden::norm(moden::mode_product(host, host, 1))));
}

TEST_CASE("transform, transform_grid, reduce: longer than a grid has threads") {
    const cuda_policy gpu;
    constexpr std::size_t count = std::size_t{65535} * 256 + 12345;
    const auto buffer = gpu.allocate<float>(count);
    gpu.transform(count, index_as<float>{buffer.data()});
    CHECK(holds_indices(moden::detail::to_vector<cuda_policy, float>(gpu, buffer.data(), count)));

    for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{1, 200003},
                                        {200003, 1},
                                        {2000003, 3},
                                        {3, 400009},
                                        {257, 255},
                                        {33, 1},
                                        {1, 1}}) {
        CAPTURE(rows);
        CAPTURE(columns);
        gpu.transform(rows * columns, moden::detail::fill_with<float>{buffer.data(), -1.0f});
        gpu.transform_grid(rows, columns, grid_index<float>{buffer.data(), columns});
        CHECK(holds_indices(moden::detail::to_vector<cuda_policy, float>(gpu, buffer.data(), rows * columns)));
    }
    for (const std::size_t n :
         {std::size_t{1}, std::size_t{255}, std::size_t{2048}, std::size_t{2049}, std::size_t{3000001}}) {
        CHECK(gpu.reduce(n, 0.0, as_double{}, moden::detail::plus{}) ==
              static_cast<double>(n) * static_cast<double>(n - 1) / 2);
    }
}

TEST_CASE_TEMPLATE("permute: against the CPU, tiles and rows, up to nine modes", T, float, double) {
    const cuda_policy gpu;
    const moden::cpu_policy cpu;
    const std::pair<moden::extents, moden::extents> cases[] = {
        {{70, 45}, {1, 0}},
        {{1000, 3}, {1, 0}},
        {{3, 1000}, {1, 0}},
        {{5, 33, 64}, {0, 2, 1}},
        {{33, 5, 40}, {2, 1, 0}},
        {{40, 1, 17, 1, 33}, {4, 3, 0, 1, 2}},
        {{4, 5, 6, 7}, {0, 1, 3, 2}},
        {{2, 3, 2, 3, 2, 3, 2, 3, 2}, {8, 1, 6, 3, 4, 5, 2, 7, 0}},
        {{17, 2, 19, 2, 23}, {4, 1, 2, 3, 0}},
        {{1, 1, 1}, {2, 0, 1}},
    };
    for (const auto& [shape, axes] : cases) {
        CAPTURE(moden::detail::message(shape));
        const std::size_t size = moden::element_count(shape);
        const auto host = random_tensor<T, 1>({size}, 9);
        std::vector<T> want(size);
        cpu.permute<T>({host.data(), shape}, axes, want.data());
        const auto source = moden::to_device(gpu, host);
        const auto target = gpu.allocate<T>(size);
        gpu.permute<T>({source.data(), shape}, axes, target.data());
        CHECK(moden::detail::to_vector<cuda_policy, T>(gpu, target.data(), size) == want);
    }
}

TEST_CASE_TEMPLATE("gemm_strided_batched: more products than a grid has places", Cell, float_on_cuda, double_on_cuda) {
    using T = typename Cell::scalar;
    const cuda_policy gpu;
    constexpr std::size_t count = 70001;
    const auto a = random_tensor<T, 2>({3, 2}, 10);
    const auto b = random_tensor<T, 3>({count, 2, 3}, 11);
    const auto there = moden::mode_product(gpu, moden::to_device(gpu, b), moden::to_device(gpu, a), 1);
    const auto want = moden::mode_product(b, a, 1);
    const auto got = moden::to_host(gpu, there);
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(got.data()[i]) - static_cast<double>(want.data()[i])));
    }
    CHECK(worst <= 8 * Cell::eps);
}

TEST_CASE_TEMPLATE("syrk: sums divided into parts, gathered slabs, large results", Cell, float_on_cuda,
                   double_on_cuda) {
    using T = typename Cell::scalar;
    const cuda_policy gpu;
    const moden::cpu_policy cpu;
    struct shape {
        std::size_t rows;
        std::size_t columns;
        std::size_t count;
    };
    // One long matrix; many narrow slabs; slabs as wide as a part; few wide slabs; one part only; cuBLAS's own SYRK.
    for (const shape& s : {shape{20, 70001, 1},
                           {9, 3, 5000},
                           {33, 300, 40},
                           {12, 40000, 3},
                           {600, 300, 2},
                           {2060, 40, 1},
                           {2060, 7, 3},
                           {2060, 260, 2}}) {
        for (const storage_order order : both_orders) {
            CAPTURE(s.rows);
            CAPTURE(s.columns);
            CAPTURE(s.count);
            CAPTURE(name_of(order));
            const bool by_rows = order == storage_order::row_major;
            const std::size_t stride = by_rows ? s.columns : s.rows;
            const auto a = random_tensor<T, 1>({s.rows * s.columns * s.count}, 12);
            const auto start = random_tensor<T, 2>({s.rows, s.rows}, 13);
            moden::tensor<T, 2> c = start + xt::transpose(start);
            const auto a_there = moden::to_device(gpu, a);
            auto c_there = moden::to_device(gpu, c);
            cpu.syrk_strided_batched<T>(T(0.5), {a.data(), s.rows, s.columns, stride, order}, s.rows * s.columns,
                                        s.count, T(-2),
                                        moden::row_major<T, moden::host_memory>(c.data(), s.rows, s.rows));
            gpu.syrk_strided_batched<T>(T(0.5), {a_there.data(), s.rows, s.columns, stride, order}, s.rows * s.columns,
                                        s.count, T(-2),
                                        moden::row_major<T, device_memory>(c_there.data(), s.rows, s.rows));
            const moden::tensor<T, 2> got = moden::to_host(gpu, c_there);
            double worst = 0;
            bool symmetric = true;
            for (std::size_t i = 0; i < s.rows; ++i) {
                for (std::size_t j = 0; j < s.rows; ++j) {
                    worst = std::max(worst, std::abs(static_cast<double>(got(i, j)) - static_cast<double>(c(i, j))));
                    symmetric = symmetric && got(i, j) == got(j, i);
                }
            }
            CHECK(symmetric);
            // Terms are below 1: a generous bound on two summations of that many of them.
            const double depth = static_cast<double>(s.columns * s.count);
            CHECK(worst <= 4 * Cell::eps * (depth + 8));
        }
    }
}

TEST_CASE_TEMPLATE("qr: by blocks of rows, as matrices are treated that overflow cuSOLVER's integers", Cell,
                   float_on_cuda, double_on_cuda) {
    using T = typename Cell::scalar;
    const moden::detail::cuda_context context(0, 0);
    const cuda_policy gpu;
    struct shape {
        std::size_t rows;
        std::size_t columns;
        std::size_t most_rows;
    };
    // Equal and unequal blocks, blocks whose stacked R factors are divided again, and one block only.
    for (const shape& s : {shape{400, 10, 100}, {403, 10, 100}, {1000, 7, 29}, {120, 30, 120}, {5000, 1, 17}}) {
        for (const auto output : {moden::qr_output::q_and_r, moden::qr_output::r_only}) {
            CAPTURE(s.rows);
            CAPTURE(s.columns);
            const array a = random_matrix(s.rows, s.columns, 14);
            const layout where{s.rows, s.columns, storage_order::column_major, 3};
            const stored<cuda_policy, T> q(gpu, where, a);
            const stored<cuda_policy, T> r(gpu, {s.columns, s.columns, storage_order::column_major, 2});
            gpu.synchronize();  // the context has a stream of its own
            moden::detail::column_major_qr<T>(context, q.view(), r.view(), output, s.most_rows);
            context.synchronize();
            const array triangle = r.back();
            for (std::size_t i = 0; i < s.columns; ++i) {
                for (std::size_t j = 0; j < i; ++j) {
                    CHECK(triangle(i, j) == 0);
                }
            }
            const double size = static_cast<double>(s.rows);
            const array gram = matmul(transpose(a), a);
            CHECK(frobenius(difference(matmul(transpose(triangle), triangle), gram)) <=
                  10 * Cell::eps * size * frobenius(gram));
            if (output == moden::qr_output::q_and_r) {
                const array basis = q.back();
                CHECK(orthogonality(basis) <= 10 * Cell::eps * std::sqrt(size));
                CHECK(frobenius(difference(matmul(basis, triangle), a)) <=
                      10 * Cell::eps * std::sqrt(size) * frobenius(a));
            }
        }
    }
}

TEST_CASE_TEMPLATE("cholesky_solve: NaN is not positive definite", T, float, double) {
    const cuda_policy gpu;
    auto a = moden::tensor<T, 2>::from_shape({3, 3});
    a.fill(T(0));
    a(0, 0) = a(1, 1) = a(2, 2) = T(1);
    a(2, 0) = a(0, 2) = std::numeric_limits<T>::quiet_NaN();
    const auto b = random_tensor<T, 2>({3, 2}, 15);
    auto a_there = moden::to_device(gpu, a);
    auto b_there = moden::to_device(gpu, b);
    const auto found = gpu.cholesky_solve<T>(moden::row_major<T, device_memory>(a_there.data(), 3, 3),
                                             moden::row_major<T, device_memory>(b_there.data(), 3, 2));
    CHECK(found == moden::definiteness::not_positive_definite);
    CHECK(moden::to_host(gpu, b_there) == b);
}

#endif  // MODEN_TEST_CUDA
