// The register tiles of the CPU policy, each instruction set by itself.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <moden/policy/detail/small_grams.hpp>
#include <moden/policy/detail/small_products.hpp>

#include "reference.hpp"

using moden::tensor;
using moden::detail::instruction_set;
using reference::normal_matrix;

namespace {

constexpr std::pair<instruction_set, const char*> sets[] = {
    {instruction_set::portable, "portable"}, {instruction_set::avx2, "AVX2"}, {instruction_set::avx512, "AVX-512"}};

/// function(set) for the instruction sets of this machine; the others are named in the output.
template <class Function>
void for_each_supported(Function function) {
    for (const auto& one : sets) {
        const auto set = one.first;
        const auto& name = one.second;
        if (!moden::detail::is_supported(set)) {
            MESSAGE("not tested, this processor lacks it: ", std::string(name));
            continue;
        }
        CAPTURE(std::string(name));
        function(set);
    }
}

/// A(i, k) laid out row by row or column by column.
template <class T>
std::vector<T> laid_out(const tensor<T, 2>& matrix, bool by_rows) {
    const std::size_t rows = matrix.shape()[0];
    const std::size_t columns = matrix.shape()[1];
    std::vector<T> result(rows * columns);
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t k = 0; k < columns; ++k) {
            result[by_rows ? i * columns + k : i + k * rows] = matrix(i, k);
        }
    }
    return result;
}

template <class T>
constexpr T untouched = T(-12345);

}  // namespace

TEST_CASE("the best instruction set is one that the processor has") {
    CHECK(moden::detail::is_supported(instruction_set::portable));
    CHECK(moden::detail::is_supported(moden::detail::best_instruction_set()));
}

TEST_CASE_TEMPLATE("slab_multiplier multiplies every slab and writes nothing else", T, float, double) {
    for_each_supported([](instruction_set set) {
        for (const std::size_t rows : reference::sizes{1, 3, 4, 6, 7, 12, 25}) {
            for (const std::size_t depth : reference::sizes{1, 2, 17, 300}) {
                for (const std::size_t columns :
                     reference::sizes{1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 131}) {
                    const bool by_rows = (rows + depth + columns) % 2 == 0;
                    const std::size_t slabs = 1 + (rows + columns) % 5;
                    const auto a = normal_matrix<T>(rows, depth, 1);
                    const auto memory = laid_out(a, by_rows);
                    const moden::detail::slab_multiplier<T> multiplier(memory.data(), by_rows ? depth : 1,
                                                                       by_rows ? 1 : rows, rows, depth, set);
                    std::vector<T> scratch(multiplier.scratch_size(), std::numeric_limits<T>::quiet_NaN());
                    const auto b = reference::normal_tensor<T>({slabs, depth, columns}, 2);
                    // Slabs of C with a gap between them; two shares of the columns, as two threads would have.
                    const std::size_t step = rows * columns + 3;
                    std::vector<T> c(slabs * step, untouched<T>);
                    const std::size_t half = std::min(slabs * columns, multiplier.column_block());
                    multiplier.multiply({b.data(), depth * columns, columns}, {c.data(), step, columns}, 0, half,
                                        scratch.data());
                    multiplier.multiply({b.data(), depth * columns, columns}, {c.data(), step, columns}, half,
                                        slabs * columns, scratch.data());
                    const auto expected = reference::mode_product(b, a, 1);
                    auto found = moden::dynamic_tensor<T>::from_shape({slabs, rows, columns});
                    bool contained = true;
                    for (std::size_t s = 0; s < slabs; ++s) {
                        const T* slab = c.data() + s * step;
                        std::copy(slab, slab + rows * columns, found.data() + s * rows * columns);
                        contained = contained && slab[rows * columns] == untouched<T> && slab[step - 1] == untouched<T>;
                    }
                    const bool correct = reference::worst_error(found, expected) <= 1;
                    if (!correct || !contained) {  // one assertion per failure, not per combination
                        CAPTURE(rows);
                        CAPTURE(depth);
                        CAPTURE(columns);
                        CHECK(correct);
                        CHECK(contained);
                    }
                }
            }
        }
        CHECK(true);
    });
}

TEST_CASE_TEMPLATE("products in place, on every instruction set", T, float, double) {
    for_each_supported([](instruction_set set) {
        for (const std::size_t rows : reference::sizes{1, 7, 12, 25}) {
            for (const std::size_t depth : reference::sizes{1, 17, 300}) {
                for (const std::size_t columns : reference::sizes{1, 15, 33, 131}) {
                    const auto a = normal_matrix<T>(rows, depth, 1);
                    const auto b = reference::normal_tensor<T>({1, depth, columns}, 2);
                    const auto expected = reference::mode_product(b, a, 1);
                    auto found = moden::dynamic_tensor<T>::from_shape({1, rows, columns});
                    const moden::detail::slab_multiplier<T> wide(a.data(), depth, 1, rows, depth, set);
                    std::vector<T> scratch(wide.strip_size(), std::numeric_limits<T>::quiet_NaN());
                    // Rows of B that begin at the same place of a line, as the kernel demands, and not at its beginning.
                    const std::size_t line = wide.line_bytes / sizeof(T), stride = (columns + line - 1) / line * line;
                    std::vector<T> memory(depth * stride + 2 * line, std::numeric_limits<T>::quiet_NaN());
                    T* const aligned = memory.data() + wide.elements_before_line(memory.data()) + line / 4;
                    for (std::size_t k = 0; k < depth; ++k) {
                        std::copy_n(b.data() + k * columns, columns, aligned + k * stride);
                    }
                    const std::size_t upper = std::min(rows, wide.row_block());
                    wide.multiply_in_place(aligned, stride, found.data(), columns, 0, upper, 0, columns, false, scratch.data());
                    wide.multiply_in_place(aligned, stride, found.data(), columns, upper, rows, 0, columns, false, scratch.data());
                    const bool correct = reference::worst_error(found, expected) <= 1;
                    const moden::detail::deep_multiplier<T> deep(b.data(), columns, depth, columns, set);
                    std::fill_n(found.data(), found.size(), std::numeric_limits<T>::quiet_NaN());
                    deep.multiply(a.data(), depth, found.data(), columns, rows);
                    const bool deep_correct = reference::worst_error(found, expected) <= 1;
                    if (!correct || !deep_correct) {
                        CAPTURE(rows);
                        CAPTURE(depth);
                        CAPTURE(columns);
                        CHECK(correct);
                        CHECK(deep_correct);
                    }
                }
            }
        }
        CHECK(true);
    });
}

TEST_CASE_TEMPLATE("slab_multiplier adds up the blocks of a deep factor", T, float, double) {
    for_each_supported([](instruction_set set) {
        // A float factor of this size is taken one block after the other over all columns, a smaller one panel by panel.
        for (const std::size_t rows : reference::sizes{50, 130}) {
            const std::size_t depth = 1100;
            const std::size_t columns = 301;
            const auto a = normal_matrix<T>(rows, depth, 1);
            const auto b = normal_matrix<T>(depth, columns, 2);
            const moden::detail::slab_multiplier<T> multiplier(a.data(), depth, 1, rows, depth, set);
            std::vector<T> scratch(multiplier.scratch_size());
            auto found = tensor<T, 2>::from_shape({rows, columns});
            multiplier.multiply({b.data(), 0, columns}, {found.data(), 0, columns}, 0, columns, scratch.data());
            CAPTURE(rows);
            CHECK(reference::worst_error(found, reference::product(a, b)) <= 1);
        }
    });
}

TEST_CASE_TEMPLATE("panel_gram sums over slabs of any width, by rows and by columns", T, float, double) {
    for_each_supported([](instruction_set set) {
        for (const std::size_t rows : reference::sizes{1, 2, 5, 12, 13, 31, 33, 50, 100}) {
            for (const std::size_t columns : reference::sizes{1, 2, 3, 7, 30, 130}) {
                const std::size_t slabs = 1 + 300 / columns;
                const bool by_rows = (rows + columns) % 2 == 0;
                // X_s laid out row by row, or column by column.
                const auto x = by_rows ? reference::normal_tensor<T>({slabs, rows, columns}, 3)
                                       : reference::normal_tensor<T>({slabs, columns, rows}, 3);
                const moden::detail::panel_gram<T> gram(rows, set);
                std::vector<T> sum(gram.sum_size(), T(0));
                std::vector<T> scratch(gram.scratch_size(), std::numeric_limits<T>::quiet_NaN());
                const std::size_t total = slabs * columns;
                for (const auto& [first, last] : {std::pair{std::size_t{0}, total / 3}, std::pair{total / 3, total}}) {
                    gram.add(x.data(), rows * columns, columns, by_rows ? columns : 1, by_rows ? 1 : rows, first, last,
                             sum.data(), scratch.data());
                }
                bool correct = true;
                for (std::size_t i = 0; i < rows; ++i) {
                    for (std::size_t j = i; j < rows; ++j) {
                        double expected = 0;
                        double size = 0;
                        for (std::size_t s = 0; s < slabs; ++s) {
                            for (std::size_t k = 0; k < columns; ++k) {
                                const T u = by_rows ? x(s, i, k) : x(s, k, i);
                                const T v = by_rows ? x(s, j, k) : x(s, k, j);
                                expected += static_cast<double>(u) * static_cast<double>(v);
                                size += std::abs(static_cast<double>(u) * static_cast<double>(v));
                            }
                        }
                        const double error = std::abs(static_cast<double>(gram.entry(sum.data(), i, j)) - expected);
                        correct = correct && error <= static_cast<double>(total) * reference::epsilon<T> * size;
                    }
                }
                if (!correct) {
                    CAPTURE(rows);
                    CAPTURE(columns);
                    CHECK(correct);
                }
            }
        }
        CHECK(true);
    });
}

TEST_CASE_TEMPLATE("sums of squares of any length", T, float, double) {
    const auto x = normal_matrix<T>(1, 1000, 4);
    for_each_supported([&](instruction_set set) {
        const auto tile = moden::detail::register_tile_for<T>(set);
        for (const std::size_t count : reference::sizes{0, 1, 31, 32, 33, 64, 999}) {
            double expected = 0;
            for (std::size_t i = 0; i < count; ++i) {
                expected += static_cast<double>(x(0, i)) * static_cast<double>(x(0, i));
            }
            CAPTURE(count);
            CHECK(tile.square_sum(x.data(), count) == doctest::Approx(expected).epsilon(1e-14));
        }
    });
}

TEST_CASE_TEMPLATE("row_multiplier multiplies any number of rows and writes nothing else", T, float, double) {
    for_each_supported([](instruction_set set) {
        for (const std::size_t depth : reference::sizes{1, 2, 3, 4, 5, 8, 11, 16, 33, 200}) {
            for (const std::size_t columns : reference::sizes{1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 33, 40, 100}) {
                const bool by_rows = (depth + columns) % 2 == 0;
                const auto m = normal_matrix<T>(depth, columns, 1);
                const auto memory = laid_out(m, by_rows);
                const moden::detail::row_multiplier<T> multiplier(memory.data(), by_rows ? columns : 1,
                                                                  by_rows ? 1 : depth, depth, columns, set);
                CHECK(multiplier.row_block() > 0);
                for (const std::size_t rows : reference::sizes{0, 1, 2, 5, 12, 13, 47, 100, 220}) {
                    const auto x = normal_matrix<T>(rows, depth, 2);
                    std::vector<T> y(rows * columns + 2, untouched<T>);
                    multiplier.multiply(x.data(), y.data(), rows);
                    auto found = tensor<T, 2>::from_shape({rows, columns});
                    std::copy(y.begin(), y.begin() + static_cast<std::ptrdiff_t>(rows * columns), found.data());
                    const bool correct = reference::worst_error(found, reference::product(x, m)) <= 1;
                    const bool contained = y[rows * columns] == untouched<T> && y[rows * columns + 1] == untouched<T>;
                    if (!correct || !contained) {
                        CAPTURE(depth);
                        CAPTURE(columns);
                        CAPTURE(rows);
                        CHECK(correct);
                        CHECK(contained);
                    }
                }
            }
        }
    });
}
