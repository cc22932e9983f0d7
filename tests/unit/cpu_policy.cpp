// The primitives of the CPU policy: values, what they promise about threads, and sizes that BLAS cannot take.

#include <omp.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <moden/multilinear/hosvd.hpp>
#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/products.hpp>
#include <moden/policy/cpu.hpp>

#include "reference.hpp"

using moden::cpu_policy;
using moden::host_memory;
using moden::matrix_view;
using moden::storage_order;
using moden::tensor;
using reference::normal_matrix;

namespace {

/// A matrix as a view in either storage order, with a gap behind every row or column.
template <class T>
struct strided_matrix {
    std::vector<T> memory;
    matrix_view<T, host_memory> view;

    strided_matrix(const tensor<T, 2>& values, storage_order order, std::size_t gap) {
        const std::size_t rows = values.shape()[0];
        const std::size_t columns = values.shape()[1];
        const bool by_rows = order == storage_order::row_major;
        const std::size_t stride = (by_rows ? columns : rows) + gap;
        memory.assign(stride * (by_rows ? rows : columns), unused);
        view = {memory.data(), rows, columns, stride, order};
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                at(i, j) = values(i, j);
            }
        }
    }
    strided_matrix(const strided_matrix&) = delete;

    T& at(std::size_t i, std::size_t j) {
        return view.order == storage_order::row_major ? memory[i * view.stride + j] : memory[i + j * view.stride];
    }
    tensor<T, 2> values() {
        auto result = tensor<T, 2>::from_shape({view.rows, view.columns});
        for (std::size_t i = 0; i < view.rows; ++i) {
            for (std::size_t j = 0; j < view.columns; ++j) {
                result(i, j) = at(i, j);
            }
        }
        return result;
    }
    /// Whether nothing was written between the rows or columns.
    bool gaps_untouched() const {
        const std::size_t used = view.order == storage_order::row_major ? view.columns : view.rows;
        for (std::size_t i = 0; i < memory.size(); ++i) {
            if (i % view.stride >= used && memory[i] != unused) {
                return false;
            }
        }
        return true;
    }

    static constexpr T unused = T(-4321);
};

constexpr storage_order both_orders[] = {storage_order::row_major, storage_order::column_major};

template <class T>
tensor<T, 2> turned(const tensor<T, 2>& matrix) {
    return reference::narrowed<T>(reference::transpose(reference::widened(matrix)));
}

/// alpha A B + beta C with its error bound.
template <class T>
reference::sums gemm_reference(T alpha, const tensor<T, 2>& a, const tensor<T, 2>& b, T beta, const tensor<T, 2>& c) {
    reference::sums expected = reference::product(a, b);
    expected.terms += 3;
    for (std::size_t i = 0; i < expected.value.size(); ++i) {
        expected.value[i] *= alpha;
        expected.magnitude[i] *= std::abs(static_cast<reference::wide>(alpha));
        if (beta != T(0)) {
            reference::add(expected, i, static_cast<reference::wide>(beta) * c.data()[i]);
        }
    }
    return expected;
}

}  // namespace

TEST_CASE("example: cpu_policy") {
    //! [cpu_policy]
    const moden::tensor<double, 2> a{{1, 2}, {3, 4}};
    const moden::tensor<double, 2> b{{0, 1}, {1, 0}};

    const moden::cpu_policy one_thread({.threads = 1});
    const auto y = moden::mode_product(one_thread, a, b, 1);  // the policy comes first
    const auto z = moden::mode_product(a, b, 1);              // no policy: the CPU, with all of OpenMP's threads
    //! [cpu_policy]
    CHECK(y == moden::tensor<double, 2>{{2, 1}, {4, 3}});
    CHECK(z == y);
    CHECK(one_thread.threads() == 1);
}

TEST_CASE("threads: default, chosen, refused") {
    CHECK(cpu_policy{}.threads() == static_cast<std::size_t>(omp_get_max_threads()));
    CHECK(cpu_policy({.threads = 3}).threads() == 3);
    CHECK_THROWS_WITH_AS(cpu_policy({.threads = 5000}),
                         doctest::Contains("cpu_policy: 5000 threads (expected at most 4096)"), moden::argument_error);
}

TEST_CASE("the caller's number of threads is the same after every call, also after one that throws") {
    const int before = omp_get_max_threads();
    for (const int outside : {1, 2, 3}) {
        omp_set_num_threads(outside);
        const cpu_policy policy({.threads = 4});
        std::vector<double> data(100000);
        std::size_t inside = 0;
        policy.transform(1, [&](std::size_t) { inside = static_cast<std::size_t>(omp_get_max_threads()); });
        CHECK(inside == 4);
        CHECK(omp_get_max_threads() == outside);
        moden::fill_normal(policy, data.data(), data.size(), 1);
        CHECK(omp_get_max_threads() == outside);
        policy.reduce(data.size(), 0.0, moden::detail::square_of<double>{data.data()}, moden::detail::plus{});
        CHECK(omp_get_max_threads() == outside);
        moden::hosvd(policy, reference::normal_tensor<double>({10, 11, 12}, 1), {.ranks = {3, 3, 3}});
        CHECK(omp_get_max_threads() == outside);
        CHECK_THROWS(moden::hosvd(policy, reference::normal_tensor<double>({10, 11}, 1), {.ranks = {11, 1}}));
        const matrix_view<double, host_memory> wide{data.data(), 2, 3, 3};
        CHECK_THROWS_AS(policy.qr<double>(wide, {}), moden::shape_error);
        CHECK(omp_get_max_threads() == outside);
    }
    omp_set_num_threads(before);
}

TEST_CASE("a policy may be used from inside a parallel region, by several threads at once") {
    const cpu_policy policy({.threads = 2});
    const auto a = normal_matrix<double>(40, 30, 1);
    const auto b = normal_matrix<double>(20, 30, 2);
    const auto expected = reference::mode_product(a, b, 1);
    bool correct[4] = {};
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < 4; ++i) {
        correct[i] = reference::worst_error(moden::mode_product(policy, a, b, 1), expected) <= 1;
    }
    for (const bool result : correct) {
        CHECK(result);
    }
}

TEST_CASE("loops of one thread open no parallel region, so that BLAS inside is not nested") {
    for (const std::size_t threads : {1U, 2U}) {
        std::vector<int> level(5, -1);
        moden::detail::divide_among(threads, level.size(), [&](std::size_t i) { level[i] = omp_get_level(); });
        CHECK(std::count(level.begin(), level.end(), threads == 1 ? 0 : 1) == 5);
    }
}

TEST_CASE("reductions are the same for every number of threads") {
    // Sizes on both sides of the block of 16384 and of powers of two of blocks.
    for (const std::size_t count : reference::sizes{0, 1, 3, 4, 5, 16383, 16384, 16385, 100000, 5 * 16384 + 7}) {
        CAPTURE(count);
        const auto x = reference::normal_tensor<double>({count}, 1);
        const auto sum = [&](std::size_t threads) {
            return cpu_policy({.threads = threads})
                .reduce(
                    count, 0.0, [data = x.data()](std::size_t i) { return data[i]; }, moden::detail::plus{});
        };
        const double once = sum(1);
        CHECK(sum(2) == once);
        CHECK(sum(3) == once);
        CHECK(sum(7) == once);
        reference::wide expected = 0;
        reference::wide magnitude = 0;
        for (const double value : x) {
            expected += value;
            magnitude += std::abs(static_cast<reference::wide>(value));
        }
        // Four running sums of a block, then pairwise: no element passes through more than 4096 + 2 + 16 additions.
        CHECK(std::abs(once - static_cast<double>(expected)) <=
              4114 * reference::epsilon<double> * static_cast<double>(magnitude));
        const auto largest =
            cpu_policy{}.reduce(count, 0.0, moden::detail::magnitude_of<double>{x.data()}, moden::detail::maximum{});
        double by_loop = 0;
        for (const double value : x) {
            by_loop = std::max(by_loop, std::abs(value));
        }
        CHECK(largest == by_loop);
    }
}

TEST_CASE("transform and transform_grid visit every index once") {
    for (const std::size_t threads : reference::sizes{1, 3}) {
        const cpu_policy policy({.threads = threads});
        std::vector<int> visits(50000, 0);
        policy.transform(visits.size(), [data = visits.data()](std::size_t i) { ++data[i]; });
        CHECK(visits == std::vector<int>(50000, 1));
        policy.transform_grid(250, 200, [data = visits.data()](std::size_t i, std::size_t j) { ++data[i * 200 + j]; });
        CHECK(visits == std::vector<int>(50000, 2));
        policy.transform(
            std::size_t{7}, [data = visits.data()](std::size_t i) { ++data[i]; }, 100000);
        CHECK(visits[6] == 3);
        CHECK(visits[7] == 2);
        policy.transform(0, [data = visits.data()](std::size_t i) { ++data[i]; });
        CHECK(visits[0] == 3);
    }
}

TEST_CASE_TEMPLATE("copy moves, transposes and keeps to its strides", T, float, double) {
    for (const auto& one : {std::pair<std::size_t, std::size_t>{1, 1}, {3, 5}, {40, 17}, {300, 200}, {0, 4}}) {
        const auto rows = one.first;
        const auto columns = one.second;
        const auto values = normal_matrix<T>(rows, columns, 1);
        for (const auto from : both_orders) {
            for (const auto to : both_orders) {
                strided_matrix<T> source(values, from, 3);
                strided_matrix<T> target(tensor<T, 2>(xt::zeros<T>({rows, columns})), to, 2);
                cpu_policy({.threads = 2}).template copy<T>(source.view, target.view);
                CHECK(reference::identical(target.values(), values));
                CHECK(target.gaps_untouched());
            }
        }
    }
}

TEST_CASE_TEMPLATE("gemm in all storage orders, with gaps, alpha and beta", T, float, double) {
    const std::size_t m = 19;
    const std::size_t n = 23;
    const std::size_t k = 11;
    const auto a = normal_matrix<T>(m, k, 1);
    const auto b = normal_matrix<T>(k, n, 2);
    const auto c = normal_matrix<T>(m, n, 3);
    for (const auto order_a : both_orders) {
        for (const auto order_b : both_orders) {
            for (const auto order_c : both_orders) {
                for (const auto& one : {std::pair<T, T>{1, 0}, {T(-0.5), 1}, {2, T(0.25)}}) {
                    const auto alpha = one.first;
                    const auto beta = one.second;
                    strided_matrix<T> x(a, order_a, 1);
                    strided_matrix<T> y(b, order_b, 2);
                    strided_matrix<T> z(c, order_c, 3);
                    cpu_policy{}.template gemm<T>(alpha, x.view, y.view, beta, z.view);
                    CHECK(reference::worst_error(z.values(), gemm_reference(alpha, a, b, beta, c)) <= 1);
                    CHECK(z.gaps_untouched());
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("gemm with beta = 0 does not read C, and with no inner extent scales it", T, float, double) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (const std::size_t rows : reference::sizes{3, 2000}) {  // the library and the row kernel
        const auto a = normal_matrix<T>(rows, 4, 1);
        const auto b = normal_matrix<T>(4, 5, 2);
        tensor<T, 2> c = xt::ones<T>({rows, std::size_t{5}}) * nan;
        cpu_policy{}.template gemm<T>(T(1), moden::row_major<const T, host_memory>(a.data(), rows, 4),
                                      moden::row_major<const T, host_memory>(b.data(), 4, 5), T(0),
                                      moden::row_major<T, host_memory>(c.data(), rows, 5));
        CHECK(reference::worst_error(c, reference::product(a, b)) <= 1);
    }
    tensor<T, 2> c{{1, 2}, {3, nan}};
    const matrix_view<const T, host_memory> none{nullptr, 2, 0, 1};
    const matrix_view<const T, host_memory> nothing{nullptr, 0, 2, 2};
    const auto view = moden::row_major<T, host_memory>(c.data(), 2, 2);
    cpu_policy{}.template gemm<T>(T(1), none, nothing, T(2), view);
    CHECK(c(1, 0) == T(6));
    cpu_policy{}.template gemm<T>(T(1), none, nothing, T(0), view);
    CHECK(c == tensor<T, 2>{{0, 0}, {0, 0}});
}

TEST_CASE_TEMPLATE("gemm_strided_batched: shared factors, gaps between matrices, few and many of them", T, float,
                   double) {
    const std::size_t m = 6;
    const std::size_t k = 7;
    const std::size_t n = 10;
    for (const std::size_t count : reference::sizes{1, 3, 40}) {
        for (const std::size_t gap : reference::sizes{0, 5}) {
            for (const bool shared : {true, false}) {
                CAPTURE(count);
                CAPTURE(gap);
                CAPTURE(shared);
                const auto a = reference::normal_tensor<T>({count, m * k + gap}, 1);
                const auto b = reference::normal_tensor<T>({count, k * n + gap}, 2);
                moden::dynamic_tensor<T> c = xt::zeros<T>({count, m * n + gap});
                cpu_policy({.threads = 2})
                    .template gemm_strided_batched<T>(
                        T(1), moden::row_major<const T, host_memory>(a.data(), m, k), shared ? 0 : m * k + gap,
                        moden::row_major<const T, host_memory>(b.data(), k, n), k * n + gap, T(0),
                        moden::row_major<T, host_memory>(c.data(), m, n), m * n + gap, count);
                const auto part = [](const auto& batch, std::size_t s, std::size_t rows, std::size_t columns) {
                    auto result = tensor<T, 2>::from_shape({rows, columns});
                    const T* first = batch.data() + s * batch.shape()[1];
                    std::copy(first, first + rows * columns, result.data());
                    return result;
                };
                for (std::size_t s = 0; s < count; ++s) {
                    const auto expected = reference::product(part(a, shared ? 0 : s, m, k), part(b, s, k, n));
                    CHECK(reference::worst_error(part(c, s, m, n), expected) <= 1);
                    CHECK((gap == 0 || c(s, m * n) == T(0)));
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("syrk of narrow, wide and many matrices", T, float, double) {
    struct syrk_case {
        std::string reason;
        std::size_t rows;  ///< of each A_s
        std::size_t columns;
        std::size_t count;
        storage_order order;
    };
    constexpr auto by_rows = storage_order::row_major;
    constexpr auto by_columns = storage_order::column_major;
    std::vector<syrk_case> cases{{"one row", 1, 50, 1, by_rows},
                                 {"several panels", 30, 9000, 1, by_rows},
                                 {"several panels, column by column", 70, 9000, 1, by_columns},
                                 {"larger than what threads sum privately", 800, 3, 1, by_rows},
                                 {"many short matrices, gathered", 12, 5, 3000, by_rows},
                                 {"many short matrices, column by column", 12, 5, 300, by_columns},
                                 {"a few long matrices", 20, 3000, 3, by_rows},
                                 {"a sum that is not a whole number of panels", 16, 7, 1000, by_rows}};
    for (const std::size_t rows : reference::sizes{1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65}) {
        for (const std::size_t columns : reference::sizes{1, 2, 40, 1500}) {
            cases.push_back({"few rows, column by column", rows, columns, 1, by_columns});
        }
    }
    for (const auto& one : cases) {
        const auto& reason = one.reason;
        const auto rows = one.rows;
        const auto columns = one.columns;
        const auto count = one.count;
        const auto order = one.order;
        CAPTURE(reason);
        CAPTURE(rows);
        CAPTURE(columns);
        const auto a = reference::normal_tensor<T>({count, rows * columns}, 1);
        const std::size_t stride = order == by_rows ? columns : rows;
        const auto entry = [&](std::size_t s, std::size_t i, std::size_t j) {
            return static_cast<reference::wide>(
                a.data()[s * rows * columns + (order == by_rows ? i * columns + j : i + j * rows)]);
        };
        auto expected = reference::zero_sums({rows, rows}, count * columns + 3);
        const auto start = normal_matrix<T>(rows, rows, 2);
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j <= i; ++j) {
                for (std::size_t s = 0; s < count; ++s) {
                    for (std::size_t k = 0; k < columns; ++k) {
                        reference::add(expected, i * rows + j, 2 * entry(s, i, k) * entry(s, j, k));
                    }
                }
                reference::add(expected, i * rows + j, static_cast<reference::wide>(0.5) * start(i, j));
                expected.value[j * rows + i] = expected.value[i * rows + j];
                expected.magnitude[j * rows + i] = expected.magnitude[i * rows + j];
            }
        }
        for (const std::size_t threads : reference::sizes{1, 3}) {
            auto c = start;
            for (std::size_t i = 0; i < rows; ++i) {  // beta C reads the lower triangle
                for (std::size_t j = i + 1; j < rows; ++j) {
                    c(i, j) = c(j, i);
                }
            }
            cpu_policy({.threads = threads})
                .template syrk_strided_batched<T>(
                    T(2), matrix_view<const T, host_memory>{a.data(), rows, columns, stride, order}, rows * columns,
                    count, T(0.5), moden::row_major<T, host_memory>(c.data(), rows, rows));
            CHECK(reference::worst_error(c, expected) <= 1);
            CHECK(reference::identical(c, turned(c)));
        }
    }
}

TEST_CASE_TEMPLATE("trsm on both sides, both triangles, all storage orders", T, float, double) {
    const std::size_t n = 9;
    const std::size_t k = 5;
    const auto random = normal_matrix<T>(n, n, 1);
    for (const auto half : {moden::triangle::lower, moden::triangle::upper}) {
        tensor<T, 2> a = xt::zeros<T>({n, n});
        auto filled = random;  // the other triangle holds numbers that must not be read
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < n; ++j) {
                const bool kept = half == moden::triangle::lower ? j <= i : j >= i;
                a(i, j) = kept ? random(i, j) / T(n) + (i == j ? T(2) : T(0)) : T(0);
                filled(i, j) = kept ? a(i, j) : std::numeric_limits<T>::quiet_NaN();
            }
        }
        for (const auto where : {moden::side::left, moden::side::right}) {
            const bool left = where == moden::side::left;
            const auto b = left ? normal_matrix<T>(n, k, 2) : normal_matrix<T>(k, n, 2);
            for (const auto order_a : both_orders) {
                for (const auto order_b : both_orders) {
                    strided_matrix<T> triangular(filled, order_a, 2);
                    strided_matrix<T> x(b, order_b, 3);
                    cpu_policy{}.template trsm<T>(where, half, T(3), triangular.view, x.view);
                    const auto solution = x.values();
                    const auto product = left
                                             ? reference::multiply(reference::widened(a), reference::widened(solution))
                                             : reference::multiply(reference::widened(solution), reference::widened(a));
                    const double size = 3 * reference::frobenius(reference::widened(b));
                    CHECK(reference::distance(product, reference::wide_matrix(3 * reference::widened(b))) <=
                          static_cast<double>(n) * reference::epsilon<T> * 3 * size);
                    CHECK(x.gaps_untouched());
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("svd and qr in both storage orders", T, float, double) {
    for (const auto& one : {std::pair<std::size_t, std::size_t>{12, 7}, {7, 12}}) {
        const auto rows = one.first;
        const auto columns = one.second;
        const std::size_t k = std::min(rows, columns);
        const auto a = normal_matrix<T>(rows, columns, 1);
        for (const auto order : both_orders) {
            strided_matrix<T> scratch(a, order, 0);
            strided_matrix<T> u(tensor<T, 2>(xt::zeros<T>({rows, k})), order, 2);
            strided_matrix<T> vt(tensor<T, 2>(xt::zeros<T>({k, columns})), order, 3);
            std::vector<T> values(k);
            cpu_policy{}.template svd<T>(scratch.view, values.data(), u.view, vt.view);
            CHECK(reference::residual_ratio(a, reference::rebuilt(u.values(), values, vt.values())) <=
                  reference::lapack_bound);
            CHECK(u.gaps_untouched());
            CHECK(vt.gaps_untouched());
            if (rows < columns) {
                continue;
            }
            strided_matrix<T> q(a, order, 1);
            strided_matrix<T> r(tensor<T, 2>(xt::zeros<T>({columns, columns})), order, 2);
            cpu_policy{}.template qr<T>(q.view, r.view);
            const auto product = reference::multiply(reference::widened(q.values()), reference::widened(r.values()));
            CHECK(reference::residual_ratio(a, product) <= reference::lapack_bound);
            CHECK(reference::orthogonality_ratio(q.values()) <= reference::lapack_bound);
            CHECK(q.gaps_untouched());
            CHECK(r.gaps_untouched());
            const auto first_r = r.values();
            strided_matrix<T> destroyed(a, order, 1);
            cpu_policy{}.template qr<T>(destroyed.view, r.view, moden::qr_output::r_only);
            CHECK(reference::identical(r.values(), first_r));
            strided_matrix<T> without_r(a, order, 1);
            cpu_policy{}.template qr<T>(without_r.view, {});
            CHECK(reference::identical(without_r.values(), q.values()));
        }
    }
}

TEST_CASE_TEMPLATE("cholesky_solve in both storage orders, and B is kept where A is indefinite", T, float, double) {
    const auto random = normal_matrix<T>(6, 6, 1);
    auto a = reference::narrowed<T>(
        reference::multiply(reference::widened(random), reference::transpose(reference::widened(random))));
    for (std::size_t i = 0; i < 6; ++i) {
        a(i, i) += T(3);
        for (std::size_t j = 0; j < i; ++j) {
            a(i, j) = a(j, i);
        }
    }
    const auto b = normal_matrix<T>(6, 4, 2);
    for (const auto order_a : both_orders) {
        for (const auto order_b : both_orders) {
            strided_matrix<T> matrix(a, order_a, 1);
            strided_matrix<T> x(b, order_b, 2);
            CHECK(cpu_policy{}.template cholesky_solve<T>(matrix.view, x.view) ==
                  moden::definiteness::positive_definite);
            const auto product = reference::multiply(reference::widened(a), reference::widened(x.values()));
            const double scale =
                reference::frobenius(reference::widened(a)) * reference::frobenius(reference::widened(x.values()));
            CHECK(reference::distance(product, b) <= 6 * reference::epsilon<T> * scale);
            CHECK(x.gaps_untouched());

            auto indefinite = a;
            indefinite(5, 5) = T(-1);
            strided_matrix<T> bad(indefinite, order_a, 1);
            strided_matrix<T> kept(b, order_b, 2);
            CHECK(cpu_policy{}.template cholesky_solve<T>(bad.view, kept.view) ==
                  moden::definiteness::not_positive_definite);
            CHECK(reference::identical(kept.values(), b));
        }
    }
}

TEST_CASE_TEMPLATE("permute of every order of axes", T, float, double) {
    const moden::extents shape{3, 1, 4, 5};
    const auto x = reference::normal_tensor<T>(shape, 1);
    moden::extents axes{0, 1, 2, 3};
    do {
        moden::extents target_shape;
        for (const std::size_t axis : axes) {
            target_shape.push_back(shape[axis]);
        }
        std::vector<T> target(x.size());
        cpu_policy{}.template permute<T>({x.data(), shape}, axes, target.data());
        bool equal = true;
        std::size_t at = 0;
        reference::for_each_index(target_shape, [&](const moden::extents& index) {
            moden::extents source(4);
            for (std::size_t n = 0; n < 4; ++n) {
                source[axes[n]] = index[n];
            }
            equal = equal && target[at++] == x.data()[reference::position(shape, source)];
        });
        CHECK(equal);
    } while (std::next_permutation(axes.begin(), axes.end()));
}

TEST_CASE_TEMPLATE("products without rows, columns or depth write what there is to write", T, float, double) {
    using view = matrix_view<T, host_memory>;
    const cpu_policy cpu;
    std::vector<T> some(64 * 2000, T(1));
    std::vector<T> c(64 * 2000, T(7));
    const auto matrix = [](std::vector<T>& memory, std::size_t rows, std::size_t columns) {
        return view{memory.data(), rows, columns, columns};
    };
    // Wide and tall enough for every kernel that would take them.
    for (const auto& [rows, depth, columns] : {std::array<std::size_t, 3>{0, 5, 2000}, {0, 0, 2000}, {2000, 5, 0}, {0, 5, 0}}) {
        cpu.gemm<T>(T(1), matrix(some, rows, depth), matrix(some, depth, columns), T(0), matrix(c, rows, columns));
        cpu.gemm_strided_batched<T>(T(1), matrix(some, rows, depth), 0, matrix(some, depth, columns), depth * columns, T(0),
                                    matrix(c, rows, columns), rows * columns, 3);
    }
    CHECK(std::count(c.begin(), c.end(), T(7)) == 64 * 2000);
    cpu.gemm<T>(T(1), matrix(some, 64, 0), matrix(some, 0, 2000), T(0), matrix(c, 64, 2000));
    CHECK(std::count(c.begin(), c.end(), T(0)) == 64 * 2000);
}

// No memory stands behind these views: a size must be refused before anything is touched.
TEST_CASE_TEMPLATE("a single dimension beyond BLAS's integers is refused by name", T, float, double) {
    CHECK(moden::detail::blas_size(INT_MAX, "gemm") == INT_MAX);
    CHECK_THROWS_WITH_AS(moden::detail::blas_size(std::size_t{INT_MAX} + 1, "gemm"),
                         "gemm: a single dimension of 2147483648 exceeds what BLAS can address (2147483647)",
                         moden::shape_error);
    const std::size_t huge = std::size_t{1} << 31;
    T one = 0;
    using view = matrix_view<T, host_memory>;
    const cpu_policy cpu;
    const view square{&one, 1, 1, 1};
    const view row{&one, 1, huge, huge};
    const view column{&one, huge, 1, huge, storage_order::column_major};
    const view large{&one, huge, huge, huge};
    // Scaled, so that BLAS has to do it: the kernels of the policy itself take any length.
    CHECK_THROWS_WITH_AS(cpu.gemm<T>(T(2), square, row, T(0), row),
                         doctest::Contains("gemm: a single dimension of 2147483648"), moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.gemm<T>(T(1), row, transposed(row), T(0), square), doctest::Contains("gemm: "),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.gemm_strided_batched<T>(T(2), square, 0, row, 0, T(0), row, 0, 3),
                         doctest::Contains("gemm_strided_batched: a single dimension of 2147483648"),
                         moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.trsm<T>(moden::side::left, moden::triangle::lower, T(1), square, row),
                         doctest::Contains("trsm: "), moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.svd<T>(row, &one, square, row), doctest::Contains("gesdd: "), moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.qr<T>(column, {}), doctest::Contains("geqrf: "), moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.eigh<T>(large, &one, view{&one, huge, 1, huge, storage_order::column_major}),
                         doctest::Contains("a single dimension of 2147483648"), moden::shape_error);
    CHECK_THROWS_WITH_AS(cpu.cholesky_solve<T>(large, square), doctest::Contains("potrf: "), moden::shape_error);
}

TEST_CASE("memory that cannot be had is refused") {
    const cpu_policy cpu;
    CHECK_THROWS_AS(cpu.allocate<double>(static_cast<std::size_t>(-1) / 8), std::bad_alloc);
    CHECK(cpu.allocate<double>(0).data() == nullptr);
    auto buffer = cpu.allocate<float>(3);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
    const float* const first = buffer.data();
    const auto moved = std::move(buffer);
    CHECK(moved.data() == first);
    CHECK(moved.size() == 3);
}
