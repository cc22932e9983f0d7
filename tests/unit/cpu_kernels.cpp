// The register tiles of the CPU policy, each instruction set by itself.

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <moden/policy/detail/small_gemm.hpp>

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
        for (const std::size_t rows : reference::sizes{1, 3, 4, 5, 6, 7, 12, 13, 25}) {
            for (const std::size_t depth : reference::sizes{1, 2, 17, 64}) {
                for (const std::size_t columns :
                     reference::sizes{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 131}) {
                    const bool by_rows = (rows + depth + columns) % 2 == 0;
                    const auto a = normal_matrix<T>(rows, depth, 1);
                    const auto memory = laid_out(a, by_rows);
                    const moden::detail::slab_multiplier<T> multiplier(memory.data(), by_rows ? depth : 1,
                                                                       by_rows ? 1 : rows, rows, depth, set);
                    std::vector<T> scratch(multiplier.scratch_size(), std::numeric_limits<T>::quiet_NaN());
                    // Two slabs behind one another, so that the first is told that another one follows.
                    const auto b = reference::normal_tensor<T>({2, depth, columns}, 2);
                    const std::size_t step = rows * columns;
                    std::vector<T> c(2 * step + 3, untouched<T>);
                    multiplier.multiply(b.data(), columns, c.data(), scratch.data(), 1);
                    multiplier.multiply(b.data() + depth * columns, columns, c.data() + step, scratch.data(), 0);
                    const auto expected = reference::mode_product(b, a, 1);
                    auto found = moden::dynamic_tensor<T>::from_shape({2, rows, columns});
                    std::copy(c.begin(), c.begin() + static_cast<std::ptrdiff_t>(2 * step), found.data());
                    const bool correct = reference::worst_error(found, expected) <= 1;
                    const bool contained = c[2 * step] == untouched<T> && c[2 * step + 2] == untouched<T>;
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

TEST_CASE_TEMPLATE("row_multiplier multiplies any number of rows and writes nothing else", T, float, double) {
    for_each_supported([](instruction_set set) {
        for (const std::size_t depth : reference::sizes{1, 2, 3, 4, 5, 8, 11, 16, 33}) {
            for (const std::size_t columns : reference::sizes{1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 33, 40}) {
                const bool by_rows = (depth + columns) % 2 == 0;
                const auto m = normal_matrix<T>(depth, columns, 1);
                const auto memory = laid_out(m, by_rows);
                const moden::detail::row_multiplier<T> multiplier(memory.data(), by_rows ? columns : 1,
                                                                  by_rows ? 1 : depth, depth, columns, set);
                CHECK(multiplier.row_block() > 0);
                for (const std::size_t rows : reference::sizes{0, 1, 2, 5, 12, 13, 47, 100}) {
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
