// The loops of nearest_directions.hpp, compiled once per instruction set.
//
// Included several times, inside a namespace of its own each time, with
//   MODEN_NEAREST_TARGET   function attribute that selects the instruction set (may be empty)
//   MODEN_NEAREST_BYTES    bytes of one vector register
//   MODEN_NEAREST_CENTRES  centres of the widest tile; it has four rows
//   MODEN_NEAREST_PAIRS(a, b)  products of neighbouring 16-bit numbers, added in pairs to 32 bits

inline constexpr std::size_t widest_tile = MODEN_NEAREST_CENTRES;
inline constexpr std::size_t lanes = MODEN_NEAREST_BYTES / sizeof(std::int16_t);

typedef std::int16_t short_vector __attribute__((vector_size(MODEN_NEAREST_BYTES)));
typedef std::int16_t loaded_shorts __attribute__((vector_size(MODEN_NEAREST_BYTES), aligned(alignof(std::int16_t)), may_alias));
typedef std::int32_t sum_vector __attribute__((vector_size(MODEN_NEAREST_BYTES)));

/// Sums of the lanes of four vectors.
MODEN_NEAREST_TARGET inline four_integers add_lanes(const sum_vector& a, const sum_vector& b, const sum_vector& c, const sum_vector& d) {
#if MODEN_NEAREST_BYTES == 32
    const sum_vector ab = __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15);
    const sum_vector cd = __builtin_shufflevector(c, d, 0, 8, 1, 9, 4, 12, 5, 13) + __builtin_shufflevector(c, d, 2, 10, 3, 11, 6, 14, 7, 15);
    const sum_vector halves = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) + __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(halves, halves, 0, 1, 2, 3) + __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
#else
    const sum_vector ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const sum_vector cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#endif
}

/// Products of four rows with `Centres` packed centres, products[c] for all four rows. Memory that will be read before long is fetched on the
/// way, `ahead_step` bytes for every step: fetched all at once, the requests would have to queue.
template <std::size_t Centres>
MODEN_NEAREST_TARGET inline void multiply_four_rows(const std::int16_t* rows, std::size_t stride, const std::int16_t* centres, const char* ahead,
                                                    std::size_t ahead_step, four_integers* products) {
    sum_vector sum[Centres][4] = {};
    for (std::size_t i = 0; i < stride; i += lanes, ahead += ahead_step) {
        __builtin_prefetch(ahead);
        short_vector row[4];
        MODEN_UNROLL
        for (std::size_t r = 0; r < 4; ++r) {
            row[r] = *reinterpret_cast<const loaded_shorts*>(rows + r * stride + i);
        }
        MODEN_UNROLL
        for (std::size_t c = 0; c < Centres; ++c) {
            const short_vector centre = *reinterpret_cast<const loaded_shorts*>(centres + i * Centres + c * lanes);
            MODEN_UNROLL
            for (std::size_t r = 0; r < 4; ++r) {
                sum[c][r] += MODEN_NEAREST_PAIRS(row[r], centre);
            }
        }
    }
    MODEN_UNROLL
    for (std::size_t c = 0; c < Centres; ++c) {
        products[c] = add_lanes(sum[c][0], sum[c][1], sum[c][2], sum[c][3]);
    }
}

/// The two largest products of four rows so far, and where the largest is.
template <std::size_t Centres>
MODEN_NEAREST_TARGET inline void search_group(const shortened_directions& x, const shortened_centres& c, std::size_t first_row, std::size_t group,
                                              const char* ahead, std::size_t ahead_step, four_nearest& nearest) {
    four_integers products[Centres];
    multiply_four_rows<Centres>(x.data + first_row * x.stride, x.stride, c.data + group * Centres * x.stride, ahead, ahead_step, products);
    const std::size_t valid = std::min(Centres, c.count - group * Centres);
    for (std::size_t k = 0; k < valid; ++k) {
        const four_integers product = products[k], larger = product > nearest.most;
        const four_integers lesser = larger ? nearest.most : product;
        nearest.next = lesser > nearest.next ? lesser : nearest.next;
        nearest.most = larger ? product : nearest.most;
        nearest.label = larger ? four_integers{} + static_cast<std::int32_t>(group * Centres + k) : nearest.label;
    }
}

/// function(n, label, margin) for the rows [first, last), at most rows_together of them, first a multiple of 4: the centre with the largest
/// product and by how much it is larger than that of any other. A chunk of centres that stays in the first level of cache meets all rows.
template <std::size_t Centres, class Function>
MODEN_NEAREST_TARGET void search_rows(const shortened_directions& x, const shortened_centres& c, std::size_t first, std::size_t last,
                                      Function function) {
    constexpr std::size_t chunk_bytes = 24 * 1024;
    four_nearest nearest[rows_together / 4];
    const std::size_t groups = (c.count + Centres - 1) / Centres;
    const std::size_t chunk = std::clamp<std::size_t>(chunk_bytes / (Centres * x.stride * sizeof(std::int16_t)), 1, groups);
    for (std::size_t begin = 0; begin < groups; begin += chunk) {
        const std::size_t end = std::min(groups, begin + chunk);
        for (std::size_t row = first; row < last; row += 4) {
            const std::size_t share = begin == 0 ? 4 * lanes * sizeof(std::int16_t) / (end - begin) : 0;
            for (std::size_t group = begin; group < end; ++group) {
                const std::int16_t* const ahead = x.data + (begin == 0 ? row + rows_ahead : row) * x.stride;
                search_group<Centres>(x, c, row, group, reinterpret_cast<const char*>(ahead) + (group - begin) * share * (x.stride / lanes), share,
                                      nearest[(row - first) / 4]);
            }
        }
    }
    for (std::size_t row = first; row < last; ++row) {
        const four_nearest& found = nearest[(row - first) / 4];
        const std::size_t lane = (row - first) % 4;
        function(row, static_cast<std::uint32_t>(found.label[lane]), found.most[lane] - found.next[lane]);
    }
}

/// The row of C with the largest product with x. All of them are formed by the same operations in the same order, so that equal rows have equal products.
template <class T>
MODEN_NEAREST_TARGET inline std::uint32_t largest_product(const T* x, const T* centres, std::size_t count, std::size_t size) {
    constexpr std::size_t width = MODEN_NEAREST_BYTES / sizeof(T);
    typedef T vector __attribute__((vector_size(MODEN_NEAREST_BYTES)));
    typedef T loaded __attribute__((vector_size(MODEN_NEAREST_BYTES), aligned(alignof(T)), may_alias));
    constexpr std::size_t together = 4;
    T most = T(0);
    std::uint32_t label = 0;
    for (std::size_t first = 0; first < count; first += together) {
        const T* centre[together];
        for (std::size_t c = 0; c < together; ++c) {
            centre[c] = centres + std::min(first + c, count - 1) * size;
        }
        vector sum[together] = {};
        std::size_t i = 0;
        for (; i + width <= size; i += width) {
            const vector values = *reinterpret_cast<const loaded*>(x + i);
            MODEN_UNROLL
            for (std::size_t c = 0; c < together; ++c) {
                sum[c] += values * *reinterpret_cast<const loaded*>(centre[c] + i);
            }
        }
        for (std::size_t c = 0; c < std::min(together, count - first); ++c) {
            T lane_sums[width];
            *reinterpret_cast<loaded*>(lane_sums) = sum[c];
            MODEN_UNROLL
            for (std::size_t half = width / 2; half > 0; half /= 2) {
                for (std::size_t lane = 0; lane < half; ++lane) {
                    lane_sums[lane] += lane_sums[lane + half];
                }
            }
            T product = lane_sums[0];
            for (std::size_t j = i; j < size; ++j) {
                product += x[j] * centre[c][j];
            }
            if (first + c == 0 || product > most) {
                most = product;
                label = static_cast<std::uint32_t>(first + c);
            }
        }
    }
    return label;
}

template <std::size_t Width>
struct integers_of {
    typedef std::int32_t whole __attribute__((vector_size(Width * sizeof(std::int32_t))));
    typedef std::int16_t shorts __attribute__((vector_size(Width * sizeof(std::int16_t)), aligned(alignof(std::int16_t)), may_alias));
};

/// target = row * factor, rounded to the nearest integer; |row * factor| < 32767. Returns the square of what rounding has changed.
template <class T>
MODEN_NEAREST_TARGET inline T shorten(const T* row, std::size_t size, T factor, std::int16_t* target) {
    constexpr std::size_t width = MODEN_NEAREST_BYTES / sizeof(T);
    typedef T loaded __attribute__((vector_size(MODEN_NEAREST_BYTES), aligned(alignof(T)), may_alias));
    using integers = typename integers_of<width>::whole;
    using shorts = typename integers_of<width>::shorts;
    typedef T vector __attribute__((vector_size(MODEN_NEAREST_BYTES)));
    constexpr std::int32_t shift = 32768;  // conversion cuts off: positive numbers are rounded to the nearest by a half more
    vector squares = {};
    std::size_t i = 0;
    for (; i + width <= size; i += width) {
        const vector value = *reinterpret_cast<const loaded*>(row + i) * factor;
        const integers rounded = __builtin_convertvector(value + (T(shift) + T(0.5)), integers) - shift;
        *reinterpret_cast<shorts*>(target + i) = __builtin_convertvector(rounded, shorts);
        const vector change = value - __builtin_convertvector(rounded, vector);
        squares += change * change;
    }
    T square = T(0);
    for (std::size_t lane = 0; lane < width; ++lane) {
        square += squares[lane];
    }
    for (; i < size; ++i) {
        const T value = row[i] * factor;
        target[i] = static_cast<std::int16_t>(static_cast<std::int32_t>(value + (T(shift) + T(0.5))) - shift);
        const T change = value - static_cast<T>(target[i]);
        square += change * change;
    }
    return square;
}

/// The search with the tile that fits the number of centres.
template <class Function>
MODEN_NEAREST_TARGET void search(const shortened_directions& x, const shortened_centres& c, std::size_t first, std::size_t last, Function function) {
    switch (c.together) {
        case 1: return search_rows<1>(x, c, first, last, function);
        case 2: return search_rows<2>(x, c, first, last, function);
#if MODEN_NEAREST_CENTRES == 5
        case 3: return search_rows<3>(x, c, first, last, function);
        case 4: return search_rows<4>(x, c, first, last, function);
        default: return search_rows<5>(x, c, first, last, function);
#endif
    }
}

/// Returns the largest square of what rounding has changed in a row.
template <class T>
MODEN_NEAREST_TARGET T shorten_rows(const T* rows, std::size_t size, const T* inverse_lengths, std::size_t first, std::size_t last,
                                       const shortened_directions& x) {
    T most = T(0);
    for (std::size_t n = first; n < last; ++n) {
        most = std::max(most, shorten(rows + n * size, size, shortening_factor(inverse_lengths[n]), x.data + n * x.stride));
        std::fill_n(x.data + n * x.stride + size, x.stride - size, std::int16_t(0));
    }
    return most;
}

/// Labels of the rows [first, last), first a multiple of 4: the search where its margin is enough, products in T elsewhere.
template <class T>
MODEN_NEAREST_TARGET void label_rows(const shortened_directions& x, const shortened_centres& c, const T* rows, const T* centres, std::size_t size,
                                     std::size_t first, std::size_t last, std::uint32_t* labels) {
    for (std::size_t begin = first; begin < last; begin += rows_together) {
        std::size_t doubtful[rows_together];
        std::size_t count = 0;
        search(x, c, begin, std::min(last, begin + rows_together), [&](std::size_t n, std::uint32_t label, std::int32_t margin) {
            labels[n] = label;
            if (margin <= c.doubt) {
                doubtful[count++] = n;
            }
        });
        for (std::size_t i = 0; i < count; ++i) {
            if (i + 1 < count) {  // its memory takes as long as the products of this one
                fetch_ahead(rows + doubtful[i + 1] * size, size);
            }
            labels[doubtful[i]] = largest_product(rows + doubtful[i] * size, centres, c.count, size);
        }
    }
}
