#pragma once

// Pictures of components, and what their directions do to a face.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../common/pictures.hpp"
#include "../common/sheet.hpp"
#include "latent_space.hpp"

namespace localized_components {

inline const std::vector<double> strengths{-4, -3, -2, -1, 0, 1, 2, 3, 4};

/// A column of U as pictures: changes of colour about grey (three channels, or the first three of four), of single channels in red (up) and
/// blue (down) on light grey. All of a component share a scale, on which its largest entry is full.
inline std::vector<examples::picture> pictures_of_component(const std::vector<float>& column, const moden::extents& shape) {
    const std::size_t pixels = shape[0] * shape[1], channels = shape[2];
    float largest = 0;
    for (const float x : column) {
        largest = std::max(largest, std::abs(x));
    }
    const float scale = largest > 0 ? 1 / largest : 0;
    std::vector<examples::picture> result;
    const auto blank = [&] { return examples::picture(examples::picture::shape_type{shape[0], shape[1], 3}, 0.0F); };
    const std::size_t colors = channels == 3 || channels == 4 ? 3 : 0;
    if (colors > 0) {
        result.push_back(blank());
        for (std::size_t p = 0; p < pixels; ++p) {
            for (std::size_t c = 0; c < 3; ++c) {
                result.back().data()[3 * p + c] = 0.5F + 0.5F * scale * column[p * channels + c];
            }
        }
    }
    for (std::size_t c = colors; c < channels; ++c) {
        result.push_back(blank());
        for (std::size_t p = 0; p < pixels; ++p) {
            const float x = scale * column[p * channels + c];
            float* const rgb = result.back().data() + 3 * p;
            constexpr float none[3] = {0.94F, 0.94F, 0.94F}, up[3] = {0.80F, 0.10F, 0.05F}, down[3] = {0.05F, 0.20F, 0.75F};
            for (std::size_t k = 0; k < 3; ++k) {
                rgb[k] = none[k] + std::abs(x) * ((x > 0 ? up : down)[k] - none[k]);
            }
        }
    }
    return result;
}

/// Names of what pictures_of_component draws.
inline std::vector<std::string> names_of_pictures(const moden::extents& shape) {
    const std::size_t channels = shape[2];
    if (channels == 3) {
        return {"component"};
    }
    if (channels == 4) {
        return {"albedo", "depth"};
    }
    std::vector<std::string> result;
    for (std::size_t c = 0; c < channels; ++c) {
        result.push_back("channel " + std::to_string(c));
    }
    return result;
}

/// What directions do to one face.
struct edited_faces {
    std::vector<std::vector<examples::picture>> strips;  ///< of every direction: one picture per strength
    std::vector<examples::picture> differences;          ///< of s = 2 and s = -2, about grey
    std::vector<std::string> readings;                   ///< what the regressor sees change most; empty without one
    std::vector<std::string> names;                      ///< the first of those, without its number
};

/// What the regressor reads, output by output, in units of the spread over samples of the generator.
class change_reader {
public:
    change_reader(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const matrix& samples) : measure_(measure) {
        constexpr std::size_t most = 256, at_once = 64;
        const std::size_t count = std::min(most, samples.shape()[0]), width = measure.output_size();
        std::vector<double> sums(width), squares(width);
        for (std::size_t first = 0; first < count; first += at_once) {
            const auto values = measure.predict(cpu, pictures_of(cpu, net, some_rows(samples, first, std::min(at_once, count - first))));
            for (std::size_t i = 0; i < values.size(); ++i) {
                sums[i % width] += static_cast<double>(values.data()[i]);
                squares[i % width] += std::pow(static_cast<double>(values.data()[i]), 2);
            }
        }
        for (std::size_t c = 0; c < width; ++c) {
            const double mean = sums[c] / static_cast<double>(count);
            spread_.push_back(std::sqrt(std::max(1e-12, squares[c] / static_cast<double>(count) - mean * mean)));
        }
    }

    struct change {
        std::string name;
        double size = 0;  ///< signed for a single number, root mean square for several
        bool has_sign = true;
    };

    /// Changes from one row of readings to another, largest first. Without landmarks and maps, which every component moves, and
    /// without what the regressor reads badly: such readings hardly vary, and would come first in units of their spread.
    std::vector<change> changes(const float* from, const float* to) const {
        std::vector<change> result;
        for (const auto& output : measure_.outputs()) {
            constexpr std::size_t largest = 16;
            constexpr double readable = 0.5;
            if (output.size > largest || output.r2.value_or(1) < readable) {
                continue;
            }
            double square = 0, last = 0;
            for (std::size_t i = output.offset; i < output.offset + output.size; ++i) {
                last = static_cast<double>(to[i] - from[i]) / spread_[i];
                square += last * last / static_cast<double>(output.size);
            }
            result.push_back({output.name, output.size == 1 ? last : std::sqrt(square), output.size == 1});
        }
        std::stable_sort(result.begin(), result.end(), [](const change& a, const change& b) { return std::abs(a.size) > std::abs(b.size); });
        return result;
    }

private:
    const regressor& measure_;
    std::vector<double> spread_;
};

/// w + s direction for all strengths s and all rows of directions.
inline edited_faces edit_face(const moden::cpu_policy& cpu, const generator& net, const matrix& face, const matrix& directions,
                              const regressor* measure, const matrix& samples) {
    edited_faces result;
    std::optional<change_reader> reader;
    if (measure != nullptr) {
        reader.emplace(cpu, net, *measure, samples);
    }
    constexpr std::size_t low = 2, high = 6;  // strengths -2 and 2
    for (std::size_t p = 0; p < directions.shape()[0]; ++p) {
        const auto pictures = pictures_of(cpu, net, moden::edit_codes(cpu, face, some_rows(directions, p, 1), strengths));
        std::vector<examples::picture> strip;
        for (std::size_t i = 0; i < strengths.size(); ++i) {
            strip.push_back(examples::picture_of(pictures, i));
        }
        examples::picture difference = strip[high];
        for (std::size_t i = 0; i < difference.size(); ++i) {
            difference.data()[i] = 0.5F + strip[high].data()[i] - strip[low].data()[i];
        }
        result.strips.push_back(std::move(strip));
        result.differences.push_back(std::move(difference));
        std::string text, name;
        if (reader) {
            const auto readings = measure->predict(cpu, pictures);
            const std::size_t width = readings.shape()[1];
            for (const auto& change : reader->changes(readings.data() + low * width, readings.data() + high * width)) {
                const double per_step = change.size / (strengths[high] - strengths[low]);
                if (std::abs(per_step) < 0.1 || std::count(text.begin(), text.end(), ',') == 2) {
                    break;
                }
                char number[32];
                std::snprintf(number, sizeof number, change.has_sign ? " %+.2f" : " %.2f", per_step);
                name = name.empty() ? change.name : name;
                text += (text.empty() ? "" : ", ") + change.name + number;
            }
        }
        result.readings.push_back(text);
        result.names.push_back(name);
    }
    return result;
}

}  // namespace localized_components
