#pragma once

// What methods on Jacobians can be told, and what they tell.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <moden/core/status.hpp>
#include <moden/linalg/decompositions.hpp>

namespace moden {

/// How jacobian_svd finds singular vectors.
enum class jacobian_method {
    /// A basis of J and J' products grows a block at a time and is thinned out to its best vectors when it is full (thick restart).
    /// The fewest passes; keeps `basis` vectors of both sides.
    block_krylov,
    /// Paper V Algorithm 1: J'J is applied to a whole block again and again.
    subspace_iteration,
    /// Paper V Algorithm 2: a block narrower than k, from which converged vectors are taken one after the other. The least memory.
    sequential
};

/// Whether jacobian_svd holds J'-products against J-products on its way, which costs no pass.
enum class adjoint_check { verify, skip };

/// Why jacobian_svd stopped.
enum class spectral_status {
    converged,
    reached_max_iterations,  ///< or block_krylov found that rounding of the products keeps residuals above the tolerance
    stopped_by_callback,
    zero_jacobian  ///< J t = 0 for random tangents t: nothing changes at x, and all singular values are 0
};

/// Options of jacobian_svd.
struct jacobian_svd_options {
    std::size_t rank = 0;             ///< k, 1 to min(m, n), required
    jacobian_method method = jacobian_method::block_krylov;
    /// Vectors that are iterated together; 0: min(k, 8), of subspace_iteration k + 4 (at least k). Fewer make block_krylov need fewer
    /// products in more calls, but a singular value that J has more often than `block` times, exactly, may be found that often only.
    std::size_t block = 0;
    std::size_t batch = 0;            ///< tangents or cotangents per call of the map, at most; 0: the whole block
    std::size_t basis = 0;            ///< of block_krylov: vectors before a restart, at least k + block; 0: 2 (k + block)
    double tolerance = 1e-5;          ///< stop when all residuals are at most tolerance s_0
    std::size_t max_iterations = 1000;  ///< blocks of J- and J'-products; block_krylov takes at least k / block
    adjoint_check check = adjoint_check::verify;
    std::uint64_t seed = 0;           ///< of the random start
    iteration_callback progress = {}; ///< (iteration, largest residual relative to s_0) -> keep going?
};

/// Leading singular triplets of a Jacobian, J ~ u diag(singular_values) vt, how good they are and what they cost.
template <class Matrix>
struct jacobian_svd_result : svd_result<Matrix> {
    /// |J v_i - s_i u_i| and |J' u_i - s_i v_i|, whichever is larger, of real products; the other one is zero up to rounding.
    std::vector<double> residuals;
    spectral_status status = spectral_status::reached_max_iterations;
    std::size_t iterations = 0;
    std::size_t jvp_count = 0;  ///< tangents that went through the map
    std::size_t vjp_count = 0;  ///< cotangents
    std::size_t map_calls = 0;  ///< calls of jvp and vjp together
};

}  // namespace moden
