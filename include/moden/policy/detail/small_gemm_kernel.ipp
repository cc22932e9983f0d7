// The register tile of small_gemm.hpp, compiled once per instruction set.
//
// Included several times, inside a namespace of its own each time, with
//   MODEN_KERNEL_TARGET    function attribute that selects the instruction set (may be empty)
//   MODEN_KERNEL_BYTES     bytes of one vector register
//   MODEN_KERNEL_ROWS      rows of C held in registers at a time
//   MODEN_KERNEL_UNROLL    pragma that unrolls the next loop completely
// A template cannot take a target attribute as a parameter, and vector code that is inlined from a function without the
// attribute has already been split into narrower registers; hence the repeated inclusion.

inline constexpr std::size_t tile_rows = MODEN_KERNEL_ROWS;

template <class T>
inline constexpr std::size_t vector_size = MODEN_KERNEL_BYTES / sizeof(T);

/// One tile: C(rows x columns) = A B, with A(i, k) = a[i * a_row + k * a_column], B(k, j) = b[k * b_row + j].
/// B must be readable for all Vectors * vector_size columns; only the first `rows` x `columns` of C are written.
template <class T, int Vectors>
MODEN_KERNEL_TARGET inline void multiply_tile(std::size_t depth, const T* a, std::size_t a_row, std::size_t a_column,
                                              const T* b, std::size_t b_row, T* c, std::size_t c_row, std::size_t rows,
                                              std::size_t columns) {
    constexpr int all_rows = MODEN_KERNEL_ROWS;
    constexpr int width = static_cast<int>(vector_size<T>);
    typedef T vector __attribute__((vector_size(MODEN_KERNEL_BYTES)));
    typedef T unaligned_vector __attribute__((vector_size(MODEN_KERNEL_BYTES), aligned(alignof(T)), may_alias));

    const T* row_of_a[all_rows];
    for (int i = 0; i < all_rows; ++i) {
        row_of_a[i] = a + std::min(static_cast<std::size_t>(i), rows - 1) * a_row;
    }
    vector sum[all_rows][Vectors] = {};
    for (std::size_t k = 0; k < depth; ++k) {
        vector row_of_b[Vectors];
        MODEN_KERNEL_UNROLL
        for (int v = 0; v < Vectors; ++v) {
            row_of_b[v] = *reinterpret_cast<const unaligned_vector*>(b + k * b_row + static_cast<std::size_t>(v * width));
        }
        MODEN_KERNEL_UNROLL
        for (int i = 0; i < all_rows; ++i) {
            const T factor = row_of_a[i][k * a_column];
            MODEN_KERNEL_UNROLL
            for (int v = 0; v < Vectors; ++v) {
                sum[i][v] += factor * row_of_b[v];
            }
        }
    }
    const std::size_t valid_rows = std::min(rows, tile_rows);
    if (columns >= static_cast<std::size_t>(Vectors * width)) {
        MODEN_KERNEL_UNROLL
        for (int i = 0; i < all_rows; ++i) {
            if (static_cast<std::size_t>(i) < valid_rows) {
                MODEN_KERNEL_UNROLL
                for (int v = 0; v < Vectors; ++v) {
                    T* target = c + static_cast<std::size_t>(i) * c_row + static_cast<std::size_t>(v * width);
                    *reinterpret_cast<unaligned_vector*>(target) = sum[i][v];
                }
            }
        }
    } else {
        T spilled[all_rows][Vectors * width];
        MODEN_KERNEL_UNROLL
        for (int i = 0; i < all_rows; ++i) {
            MODEN_KERNEL_UNROLL
            for (int v = 0; v < Vectors; ++v) {
                *reinterpret_cast<unaligned_vector*>(&spilled[i][v * width]) = sum[i][v];
            }
        }
        for (std::size_t i = 0; i < valid_rows; ++i) {
            std::memcpy(c + i * c_row, spilled[i], columns * sizeof(T));
        }
    }
}
