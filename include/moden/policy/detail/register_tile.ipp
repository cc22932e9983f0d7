// The loops of register_tile.hpp, compiled once per instruction set.
//
// Included several times, inside a namespace of its own each time, with
//   MODEN_KERNEL_TARGET    function attribute that selects the instruction set (may be empty)
//   MODEN_KERNEL_BYTES     bytes of one vector register
//   MODEN_KERNEL_ROWS      rows of C held in registers at a time
//   MODEN_KERNEL_SHORT     rows of the tile that serves what is left over, a divisor of MODEN_KERNEL_ROWS
//   MODEN_UNROLL    pragma that unrolls the next loop completely
// A template cannot take a target attribute as a parameter, and vector code that is inlined from a function without the
// attribute has already been split into narrower registers; hence the repeated inclusion.

inline constexpr std::size_t tile_rows = MODEN_KERNEL_ROWS;
inline constexpr std::size_t short_rows = MODEN_KERNEL_SHORT;

template <class T>
inline constexpr std::size_t vector_size = MODEN_KERNEL_BYTES / sizeof(T);

template <class T>
struct registers {
    typedef T vector __attribute__((vector_size(MODEN_KERNEL_BYTES)));
    typedef T unaligned __attribute__((vector_size(MODEN_KERNEL_BYTES), aligned(alignof(T)), may_alias));
};

/// One tile: C(rows x columns) = A B, or += with `add`, with A(i, k) = a[i * a_row + k * a_column] and
/// B(k, j) = b[k * b_row + j]. B must be readable for all Vectors * vector_size columns; only the first `rows` x `columns`
/// of C are written.
template <class T, int Rows, int Vectors>
MODEN_KERNEL_TARGET inline void multiply_tile(std::size_t depth, const T* a, std::size_t a_row, std::size_t a_column,
                                              const T* b, std::size_t b_row, T* c, std::size_t c_row, std::size_t rows,
                                              std::size_t columns, bool add) {
    constexpr int width = static_cast<int>(vector_size<T>);
    using vector = typename registers<T>::vector;
    using unaligned = typename registers<T>::unaligned;

    const T* row_of_a[Rows];
    for (int i = 0; i < Rows; ++i) {
        row_of_a[i] = a + std::min(static_cast<std::size_t>(i), rows - 1) * a_row;
    }
    vector sum[Rows][Vectors] = {};
    for (std::size_t k = 0; k < depth; ++k) {
        vector row_of_b[Vectors];
        MODEN_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            row_of_b[v] = *reinterpret_cast<const unaligned*>(b + k * b_row + static_cast<std::size_t>(v * width));
        }
        MODEN_UNROLL
        for (int i = 0; i < Rows; ++i) {
            const T factor = row_of_a[i][k * a_column];
            MODEN_UNROLL
            for (int v = 0; v < Vectors; ++v) {
                sum[i][v] += factor * row_of_b[v];
            }
        }
    }
    const std::size_t valid_rows = std::min(rows, static_cast<std::size_t>(Rows));
    if (columns >= static_cast<std::size_t>(Vectors * width)) {
        MODEN_UNROLL
        for (int i = 0; i < Rows; ++i) {
            if (static_cast<std::size_t>(i) < valid_rows) {
                MODEN_UNROLL
                for (int v = 0; v < Vectors; ++v) {
                    unaligned& target = *reinterpret_cast<unaligned*>(c + static_cast<std::size_t>(i) * c_row +
                                                                      static_cast<std::size_t>(v * width));
                    target = add ? target + sum[i][v] : sum[i][v];
                }
            }
        }
    } else {
        T spilled[Rows][Vectors * width];
        MODEN_UNROLL
        for (int i = 0; i < Rows; ++i) {
            MODEN_UNROLL
            for (int v = 0; v < Vectors; ++v) {
                *reinterpret_cast<unaligned*>(&spilled[i][v * width]) = sum[i][v];
            }
        }
        for (std::size_t i = 0; i < valid_rows; ++i) {
            T* target = c + i * c_row;
            for (std::size_t j = 0; j < columns; ++j) {
                target[j] = add ? target[j] + spilled[i][j] : spilled[i][j];
            }
        }
    }
}

/// Copies `rows` runs of `length` elements: target[k * target_row + j] = source[k * source_row + j].
template <class T>
MODEN_KERNEL_TARGET inline void copy_runs(const T* source, std::size_t source_row, T* target, std::size_t target_row,
                                          std::size_t rows, std::size_t length) {
    using unaligned = typename registers<T>::unaligned;
    constexpr std::size_t width = vector_size<T>;
    for (std::size_t k = 0; k < rows; ++k) {
        const T* from = source + k * source_row;
        T* to = target + k * target_row;
        if (length >= width) {
            for (std::size_t j = 0; j + width <= length; j += width) {
                *reinterpret_cast<unaligned*>(to + j) = *reinterpret_cast<const unaligned*>(from + j);
            }
            const std::size_t last = length - width;  // what is left over, and some of it once more
            *reinterpret_cast<unaligned*>(to + last) = *reinterpret_cast<const unaligned*>(from + last);
        } else {
            std::size_t left = length;  // fewer than a register: in pieces of constant size
            if constexpr (width > 8) {
                if (left >= 8) {
                    std::memcpy(to, from, 8 * sizeof(T));
                    to += 8, from += 8, left -= 8;
                }
            }
            if constexpr (width > 4) {
                if (left >= 4) {
                    std::memcpy(to, from, 4 * sizeof(T));
                    to += 4, from += 4, left -= 4;
                }
            }
            if (left >= 2) {
                std::memcpy(to, from, 2 * sizeof(T));
                to += 2, from += 2, left -= 2;
            }
            if (left > 0) {
                *to = *from;
            }
        }
    }
}

/// Transposes: target[k * target_row + i] = source[i * source_row + k] for i < rows, k < length.
template <class T>
MODEN_KERNEL_TARGET inline void transpose_runs(const T* source, std::size_t source_row, T* target,
                                               std::size_t target_row, std::size_t rows, std::size_t length) {
    typedef T group __attribute__((vector_size(4 * sizeof(T))));
    typedef T unaligned __attribute__((vector_size(4 * sizeof(T)), aligned(alignof(T)), may_alias));
    const auto at = [](const T* row) -> const unaligned* { return reinterpret_cast<const unaligned*>(row); };
    std::size_t i = 0;
    for (; i + 4 <= rows; i += 4) {
        const T* s = source + i * source_row;
        std::size_t k = 0;
        for (; k + 4 <= length; k += 4) {
            const group a = *at(s + k);
            const group b = *at(s + k + source_row);
            const group c = *at(s + k + 2 * source_row);
            const group d = *at(s + k + 3 * source_row);
            const group low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            const group high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            const group low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            const group high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            T* t = target + k * target_row + i;
            *reinterpret_cast<unaligned*>(t) = __builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5);
            *reinterpret_cast<unaligned*>(t + target_row) = __builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7);
            *reinterpret_cast<unaligned*>(t + 2 * target_row) = __builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5);
            *reinterpret_cast<unaligned*>(t + 3 * target_row) = __builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7);
        }
        for (; k < length; ++k) {
            for (std::size_t j = 0; j < 4; ++j) {
                target[k * target_row + i + j] = s[k + j * source_row];
            }
        }
    }
    for (; i < rows; ++i) {
        for (std::size_t k = 0; k < length; ++k) {
            target[k * target_row + i] = source[i * source_row + k];
        }
    }
}

/// Sum of squares in double precision, in 32 running sums, whatever the width of the registers.
template <class T>
MODEN_KERNEL_TARGET inline double square_sum(const T* data, std::size_t count) {
    constexpr std::size_t width = MODEN_KERNEL_BYTES / sizeof(double);
    constexpr std::size_t registers_used = 32 / width;
    typedef double vector __attribute__((vector_size(MODEN_KERNEL_BYTES)));
    typedef T loaded __attribute__((vector_size(width * sizeof(T)), aligned(alignof(T)), may_alias));
    vector sum[registers_used] = {};
    std::size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        MODEN_UNROLL
        for (std::size_t r = 0; r < registers_used; ++r) {
            const vector x = __builtin_convertvector(*reinterpret_cast<const loaded*>(data + i + r * width), vector);
            sum[r] += x * x;
        }
    }
    double total = 0;
    for (std::size_t r = 0; r < registers_used; ++r) {
        for (std::size_t lane = 0; lane < width; ++lane) {
            total += sum[r][lane];
        }
    }
    for (; i < count; ++i) {
        total += static_cast<double>(data[i]) * static_cast<double>(data[i]);
    }
    return total;
}
