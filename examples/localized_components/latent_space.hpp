#pragma once

// The distribution of a generator's w, and coordinates in which it is uncorrelated with standard deviation 1.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <moden/io.hpp>
#include <moden/moden.hpp>
#include <moden/stylegan2.hpp>

#include "../common/program.hpp"

namespace localized_components {

using moden::detail::require;
namespace stylegan2 = moden::stylegan2;
using matrix = moden::tensor<float, 2>;
using generator = stylegan2::generator<moden::cpu_policy, float>;
using regressor = stylegan2::image_regressor<moden::cpu_policy, float>;

/// w = mean + root e with root = C^(1/2), C the covariance of w.
///
/// 000 trains its generators so that the coordinates of w are uncorrelated and vary alike (Eq. 1). Those of another generator are not:
/// variances of the bundled one's principal axes lie between 5 and 0.00005. Without these coordinates Eq. 5 would weigh all of them alike, and
/// directions along which w hardly varies, where a regression on w says least, would rule the result.
struct latent_space {
    matrix samples;  ///< N x w_dim
    moden::tensor<float, 1> mean;
    matrix axes;     ///< w_dim x r: principal axes along which w varies at all
    matrix scores;   ///< N x r: samples along them, each of standard deviation 1
    matrix root;     ///< w_dim x w_dim, symmetric
};

/// \throws usage_error for a conditional generator or too few samples
inline latent_space sample_latent_space(const moden::cpu_policy& cpu, const generator& net, std::size_t count, std::uint64_t seed) {
    const auto& layout = net.layout();
    require<examples::usage_error>(layout.c_dim == 0, "--weights: a conditional generator (expected one without labels)");
    require<examples::usage_error>(count > layout.w_dim + 1, "--samples ", count, " (expected more than w_dim + 1 = ", layout.w_dim + 1, ")");
    auto z = matrix::from_shape({count, layout.z_dim});
    moden::fill_normal(cpu, z.data(), z.size(), seed);
    latent_space result{stylegan2::map_latents(cpu, net, z), moden::tensor<float, 1>::from_shape({layout.w_dim}), {}, {}, {}};
    const std::size_t size = layout.w_dim;
    matrix centred = result.samples;
    for (std::size_t i = 0; i < size; ++i) {
        double sum = 0;
        for (std::size_t n = 0; n < count; ++n) {
            sum += static_cast<double>(centred(n, i));
        }
        result.mean(i) = static_cast<float>(sum / static_cast<double>(count));
        for (std::size_t n = 0; n < count; ++n) {
            centred(n, i) -= result.mean(i);
        }
    }
    const auto svd = moden::thin_svd(cpu, centred);
    const double samples = std::sqrt(static_cast<double>(count - 1));
    std::size_t rank = 0;
    while (rank < size && svd.singular_values[rank] > 1e-5F * svd.singular_values[0]) {
        ++rank;
    }
    require<examples::usage_error>(rank > 0, "--weights: w is the same for all samples (expected a generator with a mapping network)");
    result.axes = matrix::from_shape({size, rank});
    result.scores = matrix::from_shape({count, rank});
    result.root = matrix::from_shape({size, size});
    std::fill(result.root.begin(), result.root.end(), 0.0F);
    for (std::size_t k = 0; k < rank; ++k) {
        const auto deviation = static_cast<float>(static_cast<double>(svd.singular_values[k]) / samples);
        for (std::size_t i = 0; i < size; ++i) {
            result.axes(i, k) = svd.vt(k, i);
            for (std::size_t j = 0; j < size; ++j) {
                result.root(i, j) += svd.vt(k, i) * deviation * svd.vt(k, j);
            }
        }
        for (std::size_t n = 0; n < count; ++n) {
            result.scores(n, k) = static_cast<float>(static_cast<double>(svd.u(n, k)) * samples);
        }
    }
    return result;
}

/// Pictures of rows of w, N x 3 x R x R.
inline moden::tensor<float, 4> pictures_of(const moden::cpu_policy& cpu, const generator& net, const matrix& w) {
    return stylegan2::synthesize(cpu, net, stylegan2::to_w_plus(cpu, net, w));
}

/// Rows first ... first + count.
inline matrix some_rows(const matrix& rows, std::size_t first, std::size_t count) {
    auto result = matrix::from_shape({count, rows.shape()[1]});
    std::copy_n(rows.data() + first * rows.shape()[1], result.size(), result.data());
    return result;
}

}  // namespace localized_components
