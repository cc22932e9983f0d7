#pragma once

// Jacobians of a generator: of canonical maps by regression, of what the regressor reads and of pictures exactly. Columns belong to
// the uncorrelated coordinates of latent_space.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "../common/progress_bar.hpp"
#include "canonical_maps.hpp"
#include "settings.hpp"

namespace localized_components {

/// Change of maps per standard deviation of w.
struct map_jacobian {
    matrix values;              ///< S x d, S = H W C, channels last
    moden::extents shape;       ///< H, W, C
    std::vector<double> fit{};  ///< R2 of albedo and depth, if they come from a regression
};

/// How much of faces' canonical maps is linear in w, and how: one regression over all pairs of samples (000 Eq. 3), which is the one with an
/// intercept.
inline map_jacobian jacobian_of_pairs(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const latent_space& space) {
    constexpr std::size_t at_once = 64, map_size = 64;
    const face_reader reader(measure);
    const std::size_t count = space.samples.shape()[0], rank = space.axes.shape()[1], size = space.axes.shape()[0];
    const std::size_t rows = map_size * map_size * map_channels;
    moden::gram_accumulator<moden::cpu_policy, float> sums(cpu, rank, rows);
    examples::progress_bar bar("reading faces");
    for (std::size_t first = 0; first < count; first += at_once) {
        const std::size_t some = std::min(at_once, count - first);
        const auto readings = measure.predict(cpu, pictures_of(cpu, net, some_rows(space.samples, first, some)));
        std::vector<faces::face_parameters> people;
        for (std::size_t n = 0; n < some; ++n) {
            people.push_back(reader.face(readings.data() + n * readings.shape()[1]));
        }
        sums.add(some_rows(space.scores, first, some), canonical_maps(people, map_size));
        bar.update(first + some, count);
    }
    const auto fit = sums.solve();
    // Rows of coefficients belong to principal axes: back to the symmetric coordinates.
    map_jacobian result{matrix::from_shape({rows, size}), {map_size, map_size, map_channels}, {}};
    const matrix coefficients = moden::mode_product(cpu, fit.coefficients, space.axes, 0);
    for (std::size_t s = 0; s < rows; ++s) {
        for (std::size_t i = 0; i < size; ++i) {
            result.values(s, i) = coefficients(i, s);
        }
    }
    double left[2] = {}, total[2] = {};
    for (std::size_t s = 0; s < rows; ++s) {
        const std::size_t block = s % map_channels == 3 ? 1 : 0;
        left[block] += fit.residual_squares[s];
        total[block] += fit.total_squares[s];
    }
    result.fit = {1 - left[0] / total[0], 1 - left[1] / total[1]};
    return result;
}

/// Derivative of the albedo and depth maps that the regressor gives. Depth is weighted with the share of a block that is not background, as it
/// means nothing elsewhere.
inline map_jacobian jacobian_of_readings(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const latent_space& space) {
    const auto& albedo = measure.output("albedo");
    const auto& depth = measure.output("depth");
    const auto& coverage = measure.output("coverage");
    require<examples::usage_error>(albedo.shape.size() == 3 && albedo.shape[2] == 3 && depth.shape.size() == 2 && depth.shape[0] == albedo.shape[0] &&
                                       depth.shape[1] == albedo.shape[1] && coverage.size == depth.size,
                                   "--measure: albedo of ", albedo.shape, ", depth of ", depth.shape, " and coverage of ", coverage.shape,
                                   " (expected H x W x 3, H x W and H x W)");
    const stylegan2::generator_map<moden::cpu_policy, float> map(net, {.space = stylegan2::latent_space::w});
    const auto picture = map.value(cpu, space.mean);
    const auto readings = measure.value(cpu, picture);
    const auto changes = measure.jvp(cpu, picture, map.jvp(cpu, space.mean, space.root));
    const std::size_t size = space.root.shape()[0], pixels = depth.size;
    map_jacobian result{matrix::from_shape({pixels * map_channels, size}), {depth.shape[0], depth.shape[1], map_channels}, {}};
    for (std::size_t p = 0; p < pixels; ++p) {
        const float covered = std::clamp(readings(coverage.offset + p), 0.0F, 1.0F);
        for (std::size_t i = 0; i < size; ++i) {
            for (std::size_t c = 0; c < 3; ++c) {
                result.values(p * map_channels + c, i) = changes(i, albedo.offset + 3 * p + c);
            }
            result.values(p * map_channels + 3, i) = covered * changes(i, depth.offset + p);
        }
    }
    return result;
}

/// Derivative of the picture, means over squares of pixels where it is larger than 64 x 64.
inline map_jacobian jacobian_of_picture(const moden::cpu_policy& cpu, const generator& net, const latent_space& space) {
    constexpr std::size_t at_once = 16;
    const std::size_t resolution = net.layout().resolution, height = std::min<std::size_t>(64, resolution), square = resolution / height;
    const std::size_t size = space.root.shape()[0];
    const stylegan2::generator_map<moden::cpu_policy, float> map(net, {.space = stylegan2::latent_space::w});
    map_jacobian result{matrix::from_shape({height * height * 3, size}), {height, height, 3}, {}};
    examples::progress_bar bar("differentiating");
    for (std::size_t first = 0; first < size; first += at_once) {
        const std::size_t some = std::min(at_once, size - first);
        const auto changes = map.jvp(cpu, space.mean, some_rows(space.root, first, some));
        for (std::size_t n = 0; n < some; ++n) {
            for (std::size_t c = 0; c < 3; ++c) {
                for (std::size_t p = 0; p < height * height; ++p) {
                    const float* const corner = changes.data() + ((n * 3 + c) * resolution + p / height * square) * resolution + p % height * square;
                    float sum = 0;
                    for (std::size_t y = 0; y < square; ++y) {
                        for (std::size_t x = 0; x < square; ++x) {
                            sum += corner[y * resolution + x];
                        }
                    }
                    result.values(p * 3 + c, first + n) = sum / static_cast<float>(square * square);
                }
            }
        }
        bar.update(first + some, size);
    }
    return result;
}

/// Brings |J|^2 to S, of which depth (the fourth of four channels) has the given share, if there is depth.
/// \return factors of the first channels and of depth
inline std::vector<double> balance(map_jacobian& jacobian, double depth_share) {
    const std::size_t channels = jacobian.shape[2], size = jacobian.values.shape()[1];
    double squares[2] = {};
    for (std::size_t i = 0; i < jacobian.values.size(); ++i) {
        const double x = jacobian.values.data()[i];
        squares[i / size % channels == 3 ? 1 : 0] += x * x;
    }
    const double wanted = static_cast<double>(jacobian.values.shape()[0]);
    const double share = squares[1] > 0 ? depth_share : 0;
    const double factors[2] = {squares[0] > 0 ? std::sqrt((1 - share) * wanted / squares[0]) : 0,
                               squares[1] > 0 ? std::sqrt(share * wanted / squares[1]) : 0};
    for (std::size_t i = 0; i < jacobian.values.size(); ++i) {
        jacobian.values.data()[i] *= static_cast<float>(factors[i / size % channels == 3 ? 1 : 0]);
    }
    return {factors, factors + (channels == map_channels ? 2 : 1)};
}

}  // namespace localized_components
