#pragma once

// The picture of the singular values of every mode.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>

#include <moden/moden.hpp>

#include "../common/plot.hpp"
#include "decompose.hpp"

namespace tucker {

inline std::string shape_text(const moden::extents& shape) { return moden::detail::message(shape); }

/// How the energy |T|^2 is shared out in one mode, as fractions.
struct energy_shares {
    double kept = 0;          ///< squares of the singular values that were kept
    double dropped = 0;       ///< of those computed, but not kept
    double not_computed = 0;  ///< of those that a randomised method never saw
};

template <class T>
energy_shares shares_of(const moden::mode_report<T>& mode, std::size_t extent, double energy) {
    energy_shares shares;
    for (std::size_t i = 0; i < mode.singular_values.size(); ++i) {
        const double value = static_cast<double>(mode.singular_values[i]);
        (i < mode.rank ? shares.kept : shares.dropped) += value * value;
    }
    if (mode.method == moden::svd_method::randomized && mode.singular_values.size() < extent) {
        shares.not_computed = std::max(0.0, mode.discarded_energy - shares.dropped);
    }
    const double scale = energy > 0 ? 1 / energy : 0;
    return {shares.kept * scale, shares.dropped * scale, shares.not_computed * scale};
}

/// One panel: singular values relative to |T|, those kept and those dropped, and what was not computed.
template <class T>
examples::plot spectrum_panel(std::size_t index, std::size_t extent, const moden::mode_report<T>& mode, double norm) {
    using namespace examples;
    const std::size_t computed = mode.singular_values.size();
    const energy_shares shares = shares_of(mode, extent, norm * norm);
    char text[200];
    plot panel;
    std::snprintf(text, sizeof text, "mode %zu: rank %zu of %zu, %s", index, mode.rank, extent,
                  name_of(svd_names, mode.method).c_str());
    panel.title = text;
    std::snprintf(text, sizeof text, "energy: kept %.4g %%, dropped %.3g %%", 100 * shares.kept, 100 * shares.dropped);
    panel.note = text;
    std::snprintf(text, sizeof text, ", not computed %.3g %%", 100 * shares.not_computed);
    panel.note += mode.method == moden::svd_method::randomized ? text : "";
    panel.x = {.label = "number of the singular value",
               .scale = extent > 64 ? axis_scale::logarithmic : axis_scale::linear,
               .first = 1.0,
               .last = static_cast<double>(std::max<std::size_t>(extent, 2)),
               .ticks = tick_values::whole_numbers};
    panel.y = {.label = "singular value / |T|", .scale = axis_scale::logarithmic};

    series kept{.label = "kept", .paint = palette[0], .points = computed <= 64 ? marks::discs : marks::none};
    series dropped{.label = "dropped", .paint = palette[1], .points = kept.points};
    double largest = 0, smallest = 1;
    for (std::size_t i = 0; i < computed; ++i) {
        const double value = norm > 0 ? static_cast<double>(mode.singular_values[i]) / norm : 0;
        series& line = i < mode.rank ? kept : dropped;
        line.x.push_back(static_cast<double>(i + 1));
        line.y.push_back(value);
        largest = std::max(largest, value);
        smallest = value > 0 ? std::min(smallest, value) : smallest;
    }
    if (smallest < 1e-18 * largest) {
        panel.y.first = 1e-18 * largest;  // what is smaller is shown on the axis
    }
    if (mode.rank < computed) {
        panel.lines.push_back(dropped);
    } else {
        kept.label.clear();
    }
    panel.lines.push_back(kept);
    std::swap(panel.lines.front(), panel.lines.back());
    if (computed < extent) {
        const double first = static_cast<double>(computed) + 0.5;
        const bool sketched = mode.method == moden::svd_method::randomized;
        panel.ranges.push_back({first, panel.x.last.value_or(0), sketched ? "" : "zero"});
        if (shares.not_computed > 0) {
            // As if all of them were equal: their root mean square.
            const double level = std::sqrt(shares.not_computed / static_cast<double>(extent - computed));
            panel.lines.push_back({.label = "not computed (root mean square)",
                                   .x = {first, panel.x.last.value_or(0)},
                                   .y = {level, level},
                                   .paint = faint,
                                   .line = stroke::dashed});
        }
    }
    return panel;
}

/// All modes, in two columns.
template <class T>
examples::canvas draw_spectrum(const decomposition<T>& result, const moden::extents& shape, double norm,
                               const settings& used) {
    constexpr std::size_t width = 460, height = 310, header = 66;
    const std::size_t columns = shape.size() > 1 ? 2 : 1;
    const std::size_t rows = (shape.size() + columns - 1) / columns;
    examples::canvas picture(header + rows * height + 8, 2 * width + 16);
    moden::extents ranks(result.core.shape().begin(), result.core.shape().end());
    char text[64];
    std::snprintf(text, sizeof text, ", relative error %.4g", result.relative_error);
    picture.text(16, 28, shape_text(shape) + " to " + shape_text(ranks) + text, 12);
    const std::string of =
        used.method == method::st_hosvd
            ? "st_hosvd: singular values of the unfoldings, each after the modes treated before it were truncated"
        : used.method == method::hosvd ? "hosvd: singular values of the unfoldings"
        : used.method == method::hooi
            ? "hooi: singular values of the unfoldings after projection onto all other factors"
            : "completion: singular values of the unfoldings of the completed tensor (as in st_hosvd)";
    picture.text(16, 50, of, 9, examples::faint);
    for (std::size_t n = 0; n < shape.size(); ++n) {
        const examples::rectangle where{8 + static_cast<double>(n % columns * width),
                                        static_cast<double>(header + n / columns * height), width, height};
        draw(picture, where, spectrum_panel(n, shape[n], result.modes[n], norm));
    }
    return picture;
}

}  // namespace tucker
