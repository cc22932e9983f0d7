#pragma once

// The work in one picture of a generator, which rates are relative to.

#include <moden/stylegan2/architecture.hpp>

namespace moden_bench {

/// Flops of one picture with direct convolutions, those that upsample being transposed ones: 9 products per input pixel.
inline double picture_flops(const moden::stylegan2::architecture& layout) {
    using moden::stylegan2::layer_kind;
    double flops = 0;
    for (const moden::stylegan2::synthesis_layer& layer : layout.layers) {
        const bool grows = layer.kind == layer_kind::upsampling_convolution;
        const double side = static_cast<double>(grows ? layer.resolution / 2 : layer.resolution);
        const double taps = layer.kind == layer_kind::to_rgb ? 1 : 9;
        flops += 2 * side * side * taps * static_cast<double>(layer.in) * static_cast<double>(layer.out);
    }
    return flops;
}

}  // namespace moden_bench
