// Products of every policy against loops: all storage orders, strides with gaps, shapes on both sides of every switch
// between back ends.

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "policies.hpp"
#include "reference.hpp"
#include "stored_matrix.hpp"

using namespace moden_test;

namespace {

struct product_shape {
    std::size_t rows;
    std::size_t depth;
    std::size_t columns;
};

struct factors_of_product {
    double alpha;
    double beta;
};

std::string text(const product_shape& shape) {
    return std::to_string(shape.rows) + " x " + std::to_string(shape.depth) + " x " + std::to_string(shape.columns);
}

/// Checks C = alpha A B + beta C_0 with the error bound of the sum.
void check_product(const array& got, const factors_of_product& scale, const array& a, const array& b, const array& before,
                   double eps) {
    array want = scaled(matmul(a, b), scale.alpha);
    array bound = scaled(matmul(magnitude(a), magnitude(b)), std::abs(scale.alpha));
    for (std::size_t i = 0; i < want.data.size(); ++i) {
        if (scale.beta != 0) {
            want.data[i] += scale.beta * before.data[i];
            bound.data[i] += std::abs(scale.beta * before.data[i]);
        }
    }
    check_sums(got, want, bound, a.columns() + 2, eps);
}

}  // namespace

TEST_CASE_TEMPLATE("gemm: every combination of storage orders, gaps and factors", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const product_shape shapes[] = {{1, 1, 1}, {5, 3, 7}, {17, 9, 1}, {1, 4, 13}, {33, 29, 31}, {4, 0, 6}};
    const factors_of_product scales[] = {{1, 0}, {-0.5, 2}, {2, 1}};
    for (const auto& shape : shapes) {
        const array a = random_matrix(shape.rows, shape.depth, 1);
        const array b = random_matrix(shape.depth, shape.columns, 2);
        const array before = random_matrix(shape.rows, shape.columns, 3);
        for (int combination = 0; combination < 16; ++combination) {
            const std::size_t padding = (combination & 8) != 0 ? 3 : 0;
            const storage_order a_order = both_orders[combination & 1];
            const storage_order b_order = both_orders[combination >> 1 & 1];
            const storage_order c_order = both_orders[combination >> 2 & 1];
            const stored<Policy, T> left(policy, {shape.rows, shape.depth, a_order, padding}, a);
            const stored<Policy, T> right(policy, {shape.depth, shape.columns, b_order, padding}, b);
            for (const auto& scale : scales) {
                const layout where{shape.rows, shape.columns, c_order, padding};
                // With beta = 0 the result may hold anything, NaN too.
                const stored<Policy, T> result = scale.beta == 0 ? stored<Policy, T>(policy, where) : stored<Policy, T>(policy, where, before);
                policy.template gemm<T>(static_cast<T>(scale.alpha), left.view(), right.view(), static_cast<T>(scale.beta), result.view());
                CAPTURE(text(shape));
                CAPTURE(name_of(a_order) + ", " + name_of(b_order) + ", " + name_of(c_order));
                CAPTURE(padding);
                CAPTURE(scale.beta);
                check_product(result.back(), scale, a, b, before, Cell::eps);
            }
        }
    }
}

TEST_CASE_TEMPLATE("gemm: tall matrices times small ones", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const product_shape shapes[] = {{1024, 1, 1}, {1030, 3, 5}, {2053, 17, 2}, {1100, 64, 64}, {1025, 4, 4}, {5000, 2, 2}, {1300, 65, 9}};
    for (const auto& shape : shapes) {
        const array a = random_matrix(shape.rows, shape.depth, 4);
        const array b = random_matrix(shape.depth, shape.columns, 5);
        const stored<Policy, T> left(policy, {shape.rows, shape.depth}, a);
        for (const storage_order order : both_orders) {
            const stored<Policy, T> right(policy, {shape.depth, shape.columns, order, order == storage_order::row_major ? std::size_t{2} : 0}, b);
            const stored<Policy, T> result(policy, {shape.rows, shape.columns});
            policy.template gemm<T>(T(1), left.view(), right.view(), T(0), result.view());
            CAPTURE(text(shape));
            CAPTURE(name_of(order));
            check_product(result.back(), {1, 0}, a, b, {}, Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("gemm: small matrices times wide ones, long rows times a few columns", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    // Wide rows of whole lines, and of no whole lines; few and many rows of C, which are divided among threads in different ways.
    for (const product_shape& shape : {product_shape{2, 3, 544}, {13, 300, 1040}, {130, 20, 1040}, {64, 17, 1043}, {49, 1030, 16}, {97, 1100, 50}, {60, 1500, 64}}) {
        const bool wide = shape.columns > 500;
        const array a = random_matrix(shape.rows, shape.depth, 6), b = random_matrix(shape.depth, shape.columns, 7);
        const array before = random_matrix(shape.rows, shape.columns, 8);
        for (const storage_order order : both_orders) {
            const stored<Policy, T> left(policy, {shape.rows, shape.depth, order}, a);
            const stored<Policy, T> right(policy, {shape.depth, shape.columns}, b);
            for (const factors_of_product& scale : {factors_of_product{1, 0}, {1, 1}}) {
                const layout where{shape.rows, shape.columns};
                const stored<Policy, T> result = scale.beta == 0 ? stored<Policy, T>(policy, where) : stored<Policy, T>(policy, where, before);
                CAPTURE(text(shape));
                CAPTURE(name_of(order));
                CAPTURE(scale.beta);
                policy.template gemm<T>(T(1), left.view(), right.view(), static_cast<T>(scale.beta), result.view());
                check_product(result.back(), scale, a, b, before, Cell::eps);
            }
            if (!wide) {
                continue;
            }
            // Columns that begin and end inside a line, of B and of C.
            const std::size_t first = 5, count = shape.columns - 12;
            const stored<Policy, T> result(policy, {shape.rows, shape.columns}, before);
            policy.template gemm<T>(T(1), left.view(), moden::columns_of(right.view(), first, count), T(0), moden::columns_of(result.view(), first, count));
            array expected = before;
            const array all = result.back();
            array part({shape.rows, count}), b_part({shape.depth, count});
            for (std::size_t j = 0; j < count; ++j) {
                for (std::size_t i = 0; i < shape.rows; ++i) {
                    part(i, j) = all(i, first + j);
                    expected(i, first + j) = all(i, first + j);
                }
                for (std::size_t k = 0; k < shape.depth; ++k) {
                    b_part(k, j) = b(k, first + j);
                }
            }
            check_product(part, {1, 0}, a, b_part, {}, Cell::eps);
            std::size_t changed = 0;
            for (std::size_t i = 0; i < all.data.size(); ++i) {
                changed += all.data[i] == static_cast<double>(static_cast<T>(expected.data[i])) ? 0 : 1;
            }
            CHECK(changed == 0);
        }
    }
}

TEST_CASE_TEMPLATE("gemm_strided_batched: a shared factor or one each, few and many, gaps between the matrices", Cell,
                   MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const product_shape shapes[] = {{1, 1, 1}, {3, 5, 2}, {13, 7, 16}, {7, 20, 33}, {25, 12, 70}, {2, 0, 3}};
    for (const auto& shape : shapes) {
        for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{37}}) {
            const std::vector<array> a = random_matrices(count, shape.rows, shape.depth, 6);
            const std::vector<array> b = random_matrices(count, shape.depth, shape.columns, 7);
            const std::vector<array> before = random_matrices(count, shape.rows, shape.columns, 8);
            for (int combination = 0; combination < 32; ++combination) {
                const bool shared = (combination & 1) != 0;
                const storage_order a_order = both_orders[combination >> 1 & 1];
                const storage_order b_order = both_orders[combination >> 2 & 1];
                const storage_order c_order = both_orders[combination >> 3 & 1];
                const bool loose = (combination & 16) != 0;
                const std::size_t padding = loose ? 2 : 0;
                const std::size_t gap = loose ? 5 : 0;
                const factors_of_product scale = loose && !shared ? factors_of_product{0.5, -1} : factors_of_product{1, 0};
                const stored<Policy, T> left(policy, {shape.rows, shape.depth, a_order, padding, count, gap}, a);
                const stored<Policy, T> right(policy, {shape.depth, shape.columns, b_order, padding, count, gap}, b);
                const layout where{shape.rows, shape.columns, c_order, padding, count, gap};
                const stored<Policy, T> result = scale.beta == 0 ? stored<Policy, T>(policy, where) : stored<Policy, T>(policy, where, before);
                policy.template gemm_strided_batched<T>(static_cast<T>(scale.alpha), left.view(), shared ? 0 : left.step(),
                                                        right.view(), right.step(), static_cast<T>(scale.beta), result.view(),
                                                        result.step(), count);
                CAPTURE(text(shape));
                CAPTURE(count);
                CAPTURE(combination);
                const std::vector<array> got = result.all();
                for (std::size_t s = 0; s < count; ++s) {
                    check_product(got[s], scale, a[shared ? 0 : s], b[s], before[s], Cell::eps);
                }
            }
        }
    }
}

TEST_CASE_TEMPLATE("gemm_strided_batched: no products, no writing", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    const stored<Policy, T> a(policy, {3, 4}, random_matrix(3, 4, 1));
    const stored<Policy, T> b(policy, {4, 5}, random_matrix(4, 5, 2));
    const stored<Policy, T> c(policy, {3, 5});
    policy.template gemm_strided_batched<T>(T(1), a.view(), 0, b.view(), 20, T(0), c.view(), 15, 0);
    CHECK(c.untouched());
}

TEST_CASE_TEMPLATE("syrk: one matrix and sums over many, both triangles", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    struct gram_shape {
        std::size_t rows;
        std::size_t columns;
        std::size_t count;
    };
    // Few and many columns; narrow slabs that are gathered; more rows than threads sum privately.
    const gram_shape shapes[] = {{1, 1, 1},   {5, 3, 1},   {9, 700, 1}, {40, 2, 1},    {4, 2, 50},   {7, 1, 301},
                                 {5, 33, 20}, {3, 700, 5}, {70, 5, 65}, {780, 3, 1}, {780, 2, 3}, {7, 5001, 1}, {16, 3000, 1},
                                 {6, 0, 1},   {6, 0, 4}};
    for (const auto& shape : shapes) {
        const std::vector<array> slabs = random_matrices(shape.count, shape.rows, shape.columns, 9);
        const array before = projector(random_matrix(shape.rows, 2, 10));  // symmetric
        array sum({shape.rows, shape.rows});
        array bound({shape.rows, shape.rows});
        for (const array& slab : slabs) {
            const array part = projector(slab);
            const array part_bound = projector(magnitude(slab));
            for (std::size_t i = 0; i < sum.data.size(); ++i) {
                sum.data[i] += part.data[i];
                bound.data[i] += part_bound.data[i];
            }
        }
        for (int combination = 0; combination < 8; ++combination) {
            const storage_order a_order = both_orders[combination & 1];
            const storage_order c_order = both_orders[combination >> 1 & 1];
            const bool loose = (combination & 4) != 0;
            const double alpha = loose ? -2 : 1;
            const double beta = loose ? 0.5 : 0;
            const layout a_layout{shape.rows, shape.columns, a_order, loose ? std::size_t{1} : 0, shape.count, loose ? std::size_t{4} : 0};
            const layout c_layout{shape.rows, shape.rows, c_order, loose ? std::size_t{3} : 0};
            const stored<Policy, T> a(policy, a_layout, slabs);
            const stored<Policy, T> c = loose ? stored<Policy, T>(policy, c_layout, before) : stored<Policy, T>(policy, c_layout);
            if (shape.count == 1) {
                policy.template syrk<T>(static_cast<T>(alpha), a.view(), static_cast<T>(beta), c.view());
            } else {
                policy.template syrk_strided_batched<T>(static_cast<T>(alpha), a.view(), a.step(), shape.count,
                                                        static_cast<T>(beta), c.view());
            }
            array want = scaled(sum, alpha);
            array limit = scaled(bound, std::abs(alpha));
            for (std::size_t i = 0; loose && i < want.data.size(); ++i) {
                want.data[i] += beta * before.data[i];
                limit.data[i] += std::abs(beta * before.data[i]);
            }
            CAPTURE(shape.rows);
            CAPTURE(shape.columns);
            CAPTURE(shape.count);
            CAPTURE(combination);
            const array got = c.back();
            check_sums(got, want, limit, shape.columns * shape.count + 2, Cell::eps);
            CHECK(got.data == transpose(got).data);
        }
    }
}

TEST_CASE_TEMPLATE("trsm: both sides, both triangles, all storage orders; the other triangle is not read", Cell,
                   MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    const Policy policy{};
    struct solve_shape {
        std::size_t size;
        std::size_t others;
    };
    const solve_shape shapes[] = {{1, 1}, {5, 3}, {4, 17}, {37, 6}, {70, 1}};
    for (const auto& shape : shapes) {
        const std::size_t n = shape.size;
        array full = random_matrix(n, n, 11);
        for (std::size_t i = 0; i < n; ++i) {
            full(i, i) = 2 + full(i, i);
            for (std::size_t j = 0; j < n; ++j) {
                full(i, j) = i == j ? full(i, j) : full(i, j) * 0x1p-3;
            }
        }
        for (int combination = 0; combination < 32; ++combination) {
            const auto where = (combination & 1) != 0 ? moden::side::left : moden::side::right;
            const auto half = (combination & 2) != 0 ? moden::triangle::lower : moden::triangle::upper;
            const storage_order a_order = both_orders[combination >> 2 & 1];
            const storage_order b_order = both_orders[combination >> 3 & 1];
            const std::size_t padding = (combination & 16) != 0 ? 2 : 0;
            const bool left = where == moden::side::left;
            array triangle({n, n});
            array with_nan = full;
            for (std::size_t i = 0; i < n; ++i) {
                for (std::size_t j = 0; j < n; ++j) {
                    const bool read = half == moden::triangle::lower ? j <= i : i <= j;
                    triangle(i, j) = read ? full(i, j) : 0;
                    with_nan(i, j) = read ? full(i, j) : std::numeric_limits<double>::quiet_NaN();
                }
            }
            const array right = left ? random_matrix(n, shape.others, 12) : random_matrix(shape.others, n, 12);
            const stored<Policy, T> a(policy, {n, n, a_order, padding}, with_nan);
            const stored<Policy, T> b(policy, {right.rows(), right.columns(), b_order, padding}, right);
            policy.template trsm<T>(where, half, T(-0.5), a.view(), b.view());
            CAPTURE(n);
            CAPTURE(combination);
            const array x = b.back();
            const array product = left ? matmul(triangle, x) : matmul(x, triangle);
            const array bound = left ? matmul(magnitude(triangle), magnitude(x)) : matmul(magnitude(x), magnitude(triangle));
            // Substitution solves (A + E) x = b with |E| <= n eps |A| (Higham 2002, Thm. 8.5).
            check_sums(product, scaled(right, -0.5), bound, n + 1, Cell::eps);
        }
    }
}

TEST_CASE_TEMPLATE("nearest_directions: the largest product, of equal ones the first", Cell, MODEN_TEST_CELLS) {
    using T = typename Cell::scalar;
    using Policy = typename Cell::policy;
    using space = typename Policy::memory_space;
    const Policy policy{};
    for (const product_shape& shape : {product_shape{1, 1, 1}, {70, 3, 2}, {203, 33, 7}, {129, 16, 5}, {90, 260, 48}, {1100, 9, 11}}) {
        CAPTURE(text(shape));
        array rows = random_matrix(shape.rows, shape.depth, 1), centres = random_matrix(shape.columns, shape.depth, 2);
        std::vector<T> x, inverse_lengths, c;
        for (std::size_t k = 0; k < shape.columns; ++k) {
            // Every third centre is the one before once more, every fifth hardly different from it.
            for (std::size_t i = 0; i < shape.depth && k > 0 && (k % 3 == 2 || k % 5 == 4); ++i) {
                centres(k, i) = centres(k - 1, i) * (k % 3 == 2 || i > 0 ? 1 : 1 + 1e-5);
            }
            double square = 0;
            for (std::size_t i = 0; i < shape.depth; ++i) {
                square += centres(k, i) * centres(k, i);
            }
            for (std::size_t i = 0; i < shape.depth; ++i) {
                centres(k, i) = static_cast<double>(c.emplace_back(static_cast<T>(centres(k, i) / std::sqrt(square))));
            }
        }
        for (std::size_t n = 0; n < shape.rows; ++n) {
            double square = 0;
            for (std::size_t i = 0; i < shape.depth; ++i) {  // of very different lengths; some close to a centre
                const double value = n % 4 == 0 ? centres(n % shape.columns, i) + 0.01 * rows(n, i) : rows(n, i);
                rows(n, i) = static_cast<double>(x.emplace_back(static_cast<T>(value * std::exp2(static_cast<double>(n % 40) - 20))));
                square += rows(n, i) * rows(n, i);
            }
            inverse_lengths.push_back(static_cast<T>(1 / std::sqrt(square)));
        }
        const auto x_there = placed<Policy, T>(policy, x), lengths_there = placed<Policy, T>(policy, inverse_lengths), c_there = placed<Policy, T>(policy, c);
        const auto labels_there = policy.template allocate<std::uint32_t>(shape.rows);
        const auto prepared = policy.template prepare_directions<T>(moden::row_major<const T, space>(x_there.data(), shape.rows, shape.depth), lengths_there.data());
        policy.template nearest_directions<T>(prepared, c_there.data(), shape.columns, labels_there.data());
        std::vector<std::uint32_t> labels(shape.rows);
        policy.download(labels_there.data(), labels.data(), labels.size());
        for (std::size_t n = 0; n < shape.rows; ++n) {
            REQUIRE(labels[n] < shape.columns);
            CHECK((labels[n] % 3 != 2 || centres(labels[n], 0) != centres(labels[n] - 1, 0)));  // the first of equal ones
            const auto product = [&](std::size_t k) {
                double sum = 0;
                for (std::size_t i = 0; i < shape.depth; ++i) {
                    sum += rows(n, i) * centres(k, i);
                }
                return sum;
            };
            for (std::size_t k = 0; k < shape.columns; ++k) {
                const double slack = static_cast<double>(shape.depth + 2) * Cell::eps / static_cast<double>(inverse_lengths[n]);
                CHECK(product(k) <= product(labels[n]) + slack);
            }
        }
    }
}

TEST_CASE_TEMPLATE("the CPU policy's search in 16 bits finds what products in T find, on every instruction set", T, float, double) {
    using moden::detail::instruction_set;
    for (const auto set : {instruction_set::portable, instruction_set::avx2, instruction_set::avx512}) {
        if (!moden::detail::is_supported(set)) {
            continue;
        }
        const auto kernel = moden::detail::nearest_kernel_for<T>(set);
        for (const product_shape& shape : {product_shape{4001, 1, 2}, {1029, 512, 20}, {300, 50, 1}, {301, 17, 3}, {77, 64, 4}, {515, 300, 203}}) {
            for (const int kind : {0, 1, 2, 3}) {
                CAPTURE(text(shape));
                CAPTURE(kind);
                // Directions of a narrow cone: most margins are about as large as the rounding to 16 bits. The same with an opposite centre, which puts
                // the mean far from all of them; directions without a common mean; and centres that are all the same.
                std::vector<T> x, c, inverse_lengths;
                const array noise = random_matrix(shape.rows + shape.columns, shape.depth, 5);
                for (std::size_t n = 0; n < shape.rows + shape.columns; ++n) {
                    std::vector<double> row(shape.depth);
                    double square = 0;
                    for (std::size_t i = 0; i < shape.depth; ++i) {
                        const bool same = kind == 3 && n < shape.columns;
                        row[i] = (shape.depth == 1 || kind == 2 ? 0 : 1) + (n % 3 == 0 || same ? 0.003 : n % 3 == 1 ? 0.2 : 0.3) * noise(same ? 0 : n, i);
                        row[i] *= kind == 1 && n == 0 ? -1 : 1;
                        square += row[i] * row[i];
                    }
                    const bool centre = n < shape.columns;
                    for (const double value : row) {
                        (centre ? c : x).push_back(static_cast<T>(centre ? value / std::sqrt(square) : value));
                    }
                    if (!centre) {
                        inverse_lengths.push_back(static_cast<T>(1 / std::sqrt(square)));
                    }
                }
                inverse_lengths[0] = std::numeric_limits<T>::infinity();  // as of a row too short to be inverted
                const moden::detail::host_directions<T> directions(x.data(), inverse_lengths.data(), shape.rows, shape.depth, nullptr, set);
                std::vector<std::uint32_t> labels(shape.rows);
                directions.nearest(c.data(), shape.columns, labels.data());
                std::size_t different = 0;
                for (std::size_t n = 0; n < shape.rows; ++n) {
                    different += labels[n] != kernel.largest_product(x.data() + n * shape.depth, c.data(), shape.columns, shape.depth) ? 1 : 0;
                }
                CHECK(different == 0);
            }
        }
    }
}
