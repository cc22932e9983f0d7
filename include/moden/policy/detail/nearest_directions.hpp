#pragma once

// The CPU policy's search for the nearest of a few directions, for rows that are searched again and again.
//
// Unit rows rounded to 16 bits tell with a quarter to a half of the memory, and with integer products that are twice as fast as those of floats, which
// centre is the nearest, except where the two nearest are closer than rounding can tell. Only differences of centres matter for that, so what they have
// in common is taken from them before they are rounded. Rows in doubt are looked at in their own precision: a few in a hundred where centres are far
// apart, and the more of them the closer centres are to each other. The bounds are rigorous: labels are those of the products in T, whatever the data.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>
#include <moden/policy/detail/host_buffer.hpp>
#include <moden/policy/detail/register_tile.hpp>

namespace moden::detail {

typedef std::int32_t four_integers __attribute__((vector_size(4 * sizeof(std::int32_t))));

inline constexpr std::size_t rows_together = 64;  ///< that a chunk of centres meets
inline constexpr std::size_t rows_ahead = 8;      ///< that are fetched before they are needed

/// The length of directions in integers: any product of two is below 2^30, so that sums of a part, and differences of two, have 32 bits.
inline constexpr std::int32_t short_length = 30000;

/// What x is multiplied with to get integers; 0 for rows so short that 1 / |x| is infinite, whose labels then come from their products.
template <class T>
T shortening_factor(T inverse_length) {
    const T factor = inverse_length * static_cast<T>(short_length);
    return factor <= std::numeric_limits<T>::max() ? factor : T(0);
}

/// Rows in 16 bits, padded with zeros to whole registers.
struct shortened_directions {
    std::int16_t* data;
    std::size_t stride;
};

/// Centres in 16 bits, in groups of `together`: for every register of the row one of each centre of the group.
struct shortened_centres {
    const std::int16_t* data;
    std::size_t count;
    std::size_t together;
    std::int32_t doubt;  ///< margins up to this one may be the work of rounding
};

struct four_nearest {
    four_integers most, next, label = {};

    // Of its own making, so that nvcc takes it for the host's: vector constants are beyond its device code.
    four_nearest() : most(four_integers{} - short_length * short_length), next(most) {}
};

namespace portable_nearest {
#if MODEN_X86_KERNELS
#define MODEN_NEAREST_PAIRS(a, b) (sum_vector) __builtin_ia32_pmaddwd128(a, b)
#else
template <class Shorts>
auto pair_sums(const Shorts& a, const Shorts& b) {
    return four_integers{a[0] * b[0] + a[1] * b[1], a[2] * b[2] + a[3] * b[3], a[4] * b[4] + a[5] * b[5], a[6] * b[6] + a[7] * b[7]};
}
#define MODEN_NEAREST_PAIRS(a, b) pair_sums(a, b)
#endif
#define MODEN_NEAREST_TARGET
#define MODEN_NEAREST_BYTES 16
#define MODEN_NEAREST_CENTRES 2
#include <moden/policy/detail/nearest_directions.ipp>
#undef MODEN_NEAREST_TARGET
#undef MODEN_NEAREST_BYTES
#undef MODEN_NEAREST_CENTRES
#undef MODEN_NEAREST_PAIRS
}  // namespace portable_nearest

#if MODEN_X86_KERNELS
namespace avx2_nearest {
#define MODEN_NEAREST_TARGET __attribute__((target("avx2,fma")))
#define MODEN_NEAREST_BYTES 32
#define MODEN_NEAREST_CENTRES 2
#define MODEN_NEAREST_PAIRS(a, b) (sum_vector) __builtin_ia32_pmaddwd256(a, b)
#include <moden/policy/detail/nearest_directions.ipp>
#undef MODEN_NEAREST_TARGET
#undef MODEN_NEAREST_CENTRES
}  // namespace avx2_nearest

/// Registers of 32 bytes here, too, which are as fast for integers, but twice as many of them.
namespace avx512_nearest {
#define MODEN_NEAREST_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx2,fma")))
#define MODEN_NEAREST_CENTRES 5
#include <moden/policy/detail/nearest_directions.ipp>
#undef MODEN_NEAREST_TARGET
#undef MODEN_NEAREST_BYTES
#undef MODEN_NEAREST_CENTRES
#undef MODEN_NEAREST_PAIRS
}  // namespace avx512_nearest
#endif

/// The functions of one instruction set.
template <class T>
struct nearest_kernel {
    std::size_t lanes;
    std::size_t widest_tile;
    T (*shorten_rows)(const T* rows, std::size_t size, const T* inverse_lengths, std::size_t first, std::size_t last, const shortened_directions& x);
    void (*label_rows)(const shortened_directions& x, const shortened_centres& c, const T* rows, const T* centres, std::size_t size, std::size_t first,
                       std::size_t last, std::uint32_t* labels);
    std::uint32_t (*largest_product)(const T* x, const T* centres, std::size_t count, std::size_t size);
};

#define MODEN_NEAREST_KERNEL(set) nearest_kernel<T>{set::lanes, set::widest_tile, set::shorten_rows<T>, set::label_rows<T>, set::largest_product<T>}
template <class T>
nearest_kernel<T> nearest_kernel_for(instruction_set set) {
#if MODEN_X86_KERNELS
    if (set == instruction_set::avx512) {
        return MODEN_NEAREST_KERNEL(avx512_nearest);
    }
    if (set != instruction_set::portable) {
        return MODEN_NEAREST_KERNEL(avx2_nearest);
    }
#else
    static_cast<void>(set);
#endif
    return MODEN_NEAREST_KERNEL(portable_nearest);
}
#undef MODEN_NEAREST_KERNEL

/// Rows of X (N x d, dense, d > 0) with the inverse of their lengths, prepared for searches. Refers to the rows.
template <class T>
class host_directions {
public:
    host_directions(const T* rows, const T* inverse_lengths, std::size_t count, std::size_t size, std::shared_ptr<memory_pool> pool = nullptr,
                    instruction_set set = best_instruction_set())
        : kernel_(nearest_kernel_for<T>(set)), rows_(rows), count_(count), size_(size), stride_((size + kernel_.lanes - 1) / kernel_.lanes * kernel_.lanes),
          // Rows are looked at four at a time, and fetched ahead.
          short_rows_((count + 3 + rows_ahead + 4) * stride_, std::move(pool)) {
        const std::size_t padded = (count + 3) / 4 * 4;
        std::fill_n(short_rows_.data() + count * stride_, (padded - count) * stride_, std::int16_t(0));
        std::mutex mutex;
        double largest_square = 0;
        parallel_blocks(count, size, [&](std::size_t first, std::size_t last) {
            const T square = kernel_.shorten_rows(rows_, size_, inverse_lengths, first, last, {short_rows_.data(), stride_});
            const std::lock_guard lock(mutex);
            largest_square = std::max(largest_square, static_cast<double>(square));
        });
        // What it cannot know: that the factors are rounded to T, and so are squares and their sum.
        row_error_ = 1.001 * std::sqrt(largest_square) + 0.01 * std::sqrt(static_cast<double>(size));
    }

    /// labels(n) = the row of C (K x d, rows of length 1) with the largest product with row n, of equal ones the first.
    void nearest(const T* centres, std::size_t clusters, std::uint32_t* labels) const {
        if (clusters == 1) {
            std::fill_n(labels, count_, std::uint32_t(0));
            return;
        }
        const std::size_t groups = (clusters + kernel_.widest_tile - 1) / kernel_.widest_tile;
        const std::size_t together = (clusters + groups - 1) / groups;
        const packed_centres packed = pack(centres, clusters, together);
        const shortened_centres c{packed.data.data(), clusters, together, doubt(packed)};
        // Small enough to even out what a busy machine does to threads.
        constexpr std::size_t piece = 16 * rows_together;
        const std::size_t pieces = (count_ + piece - 1) / piece;
        const auto label_piece = [&](std::size_t p) {
            kernel_.label_rows({short_rows_.data(), stride_}, c, rows_, centres, size_, p * piece, std::min(count_, (p + 1) * piece), labels);
        };
        const std::size_t threads = std::min(available_threads(), pieces);
        if (threads <= 1) {
            for (std::size_t p = 0; p < pieces; ++p) {
                label_piece(p);
            }
            return;
        }
#pragma omp parallel for schedule(dynamic) num_threads(static_cast<int>(threads))
        for (std::size_t p = 0; p < pieces; ++p) {
            label_piece(p);
        }
    }

private:
    struct packed_centres {
        std::vector<std::int16_t> data;
        double radius;  ///< what is `short_length` in integers
        double error;   ///< length of what rounding has changed in a centre, at most
    };

    /// Centres minus their mean, which leaves differences of products as they are, scaled until the longest has the length of the rows. Where centres
    /// are spread so far that this makes them longer, nothing is subtracted.
    packed_centres pack(const T* centres, std::size_t clusters, std::size_t together) const {
        std::vector<double> mean(size_);
        for (std::size_t k = 0; k < clusters; ++k) {
            for (std::size_t i = 0; i < size_; ++i) {
                mean[i] += static_cast<double>(centres[k * size_ + i]);
            }
        }
        for (double& sum : mean) {
            sum /= static_cast<double>(clusters);
        }
        double radius = largest_distance(centres, clusters, mean);
        if (radius > 1) {
            std::fill(mean.begin(), mean.end(), 0.0);
            radius = largest_distance(centres, clusters, mean);
        }
        // Closer than this nothing but the products in T can tell them apart, and doubt() says so.
        const double factor = radius > 1e-30 ? short_length / radius : 0.0;
        const std::size_t lanes = kernel_.lanes;
        packed_centres packed{std::vector<std::int16_t>((clusters + together - 1) / together * together * stride_), radius, 0};
        double largest_square = 0;
        for (std::size_t k = 0; k < clusters; ++k) {
            std::int16_t* const group = packed.data.data() + k / together * together * stride_;
            double square = 0;
            for (std::size_t i = 0; i < size_; ++i) {
                const double value = (static_cast<double>(centres[k * size_ + i]) - mean[i]) * factor, rounded = std::floor(value + 0.5);
                group[(i / lanes * together + k % together) * lanes + i % lanes] = static_cast<std::int16_t>(rounded);
                square += (value - rounded) * (value - rounded);
            }
            largest_square = std::max(largest_square, square);
        }
        packed.error = 1.001 * std::sqrt(largest_square) + 1e-9;  // the latter for values, which are rounded to double
        return packed;
    }

    double largest_distance(const T* centres, std::size_t clusters, const std::vector<double>& mean) const {
        double largest_square = 0;
        for (std::size_t k = 0; k < clusters; ++k) {
            double square = 0;
            for (std::size_t i = 0; i < size_; ++i) {
                const double difference = static_cast<double>(centres[k * size_ + i]) - mean[i];
                square += difference * difference;
            }
            largest_square = std::max(largest_square, square);
        }
        return std::sqrt(largest_square);
    }

    /// With s the length of rows in integers, and of centres at most, rows off by e and centres by f, a product of the two is off by s (e + f) + e f.
    /// To this comes what the products in T are off by, s^2 / radius in these units times their rounding: a chain of d / width additions in each lane,
    /// those of the lanes, and at most width - 1 single ones. Two products are compared.
    std::int32_t doubt(const packed_centres& c) const {
        const std::size_t width = kernel_.lanes * sizeof(std::int16_t) / sizeof(T);
        const double s = 1.001 * short_length;
        const double rounding = static_cast<double>(size_ / width + width + 8) * static_cast<double>(std::numeric_limits<T>::epsilon());
        const double margin = 2 * (s * (row_error_ + c.error) + row_error_ * c.error + s * s * rounding / c.radius);
        constexpr std::int32_t any = std::numeric_limits<std::int32_t>::max();
        return margin < static_cast<double>(any) ? static_cast<std::int32_t>(std::ceil(margin)) : any;  // infinite where all centres are the same
    }

    nearest_kernel<T> kernel_;
    const T* rows_;
    std::size_t count_;
    std::size_t size_;
    std::size_t stride_;
    host_buffer<std::int16_t> short_rows_;
    double row_error_ = 0;  ///< length of what rounding has changed in a row, at most
};

}  // namespace moden::detail
