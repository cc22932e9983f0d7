#pragma once

// What can be asked of a higher-order SVD, and what it reports about each mode.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include <moden/core/extents.hpp>

namespace moden {

/// How the singular vectors of an unfolding are computed.
enum class svd_method {
    /// Gram matrix, unless that would lose the digits asked for (then qr), or the rank is small and the mode long (then
    /// randomized). The choice is reported per mode.
    automatic,
    /// Eigenvectors of the smaller Gram matrix. Fastest. Singular values below sqrt(eps) times the largest are noise.
    gram,
    /// QR of the unfolding, a panel at a time, and the SVD of R. Accurate to eps; about two to four times the work.
    qr,
    /// Randomised range finder with power iterations (Halko et al. 2011). For ranks far below the extent; needs ranks.
    randomized
};

/// How the relative error of an approximation is found.
enum class error_measure {
    spectrum,  ///< from the discarded singular values: free, resolved to sqrt(eps) with svd_method::gram, else to eps
    residual   ///< from the difference to the reconstruction, a block at a time: costs about a reconstruction
};

/// Called before each step with (step, number of steps); returning false stops.
using step_callback = std::function<bool(std::size_t, std::size_t)>;

/// Options of hosvd and st_hosvd.
struct hosvd_options {
    /// Rank per mode, 1 <= R_n <= I_n; empty means as many as there are. With `tolerance` or `energy` these are upper
    /// limits. A mode never gets more columns than its unfolding has, see mode_report::rank.
    extents ranks = {};
    /// Relative error |X - X^| / |X| not to exceed, in (0, 1).
    std::optional<double> tolerance = std::nullopt;
    /// Fraction of the squared norm that every mode is to keep by itself, in (0, 1].
    std::optional<double> energy = std::nullopt;
    svd_method method = svd_method::automatic;
    /// Columns beyond the rank that svd_method::randomized sketches with.
    std::size_t oversampling = 10;
    /// Passes of svd_method::randomized that sharpen the spectrum.
    std::size_t power_iterations = 2;
    /// Seed of svd_method::randomized.
    std::uint64_t seed = 0;
    /// Order in which st_hosvd treats the modes; empty means the cheapest.
    std::vector<std::size_t> mode_order = {};
    /// How `relative_error` is measured; default: residual for hosvd, spectrum for st_hosvd.
    std::optional<error_measure> error = std::nullopt;
    /// Called before each mode.
    step_callback progress = {};
};

/// What happened to one mode. T is the scalar type of the tensor.
template <class T>
struct mode_report {
    std::size_t rank = 0;                       ///< columns of the factor
    svd_method method = svd_method::automatic;  ///< the method that was used
    std::vector<T> singular_values = {};        ///< of the unfolding, descending, all that the method computed
    double discarded_energy = 0;                ///< sum of the squares of the singular values not kept
};

}  // namespace moden
