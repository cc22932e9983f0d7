#pragma once

// What a picture shows, in numbers: factors that the image regressor reads, in units of their own spread.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "code_set.hpp"

namespace edit_faces {

using regressor = stylegan2::image_regressor<moden::cpu_policy, float>;

/// Pictures of codes, w or w+, a few at a time.
inline moden::tensor<float, 4> pictures_of(const moden::cpu_policy& cpu, const generator& net, const matrix& codes) {
    const auto& layout = net.layout();
    const std::size_t count = codes.shape()[0], size = codes.shape()[1], pixels = 3 * layout.resolution * layout.resolution;
    auto pictures = moden::tensor<float, 4>::from_shape({count, 3, layout.resolution, layout.resolution});
    constexpr std::size_t at_once = 32;
    for (std::size_t first = 0; first < count; first += at_once) {
        const std::size_t some = std::min(at_once, count - first);
        auto ws = moden::tensor<float, 3>::from_shape({some, layout.num_ws, layout.w_dim});
        for (std::size_t n = 0; n < some; ++n) {
            for (std::size_t i = 0; i < layout.num_ws * layout.w_dim; ++i) {
                ws.data()[n * layout.num_ws * layout.w_dim + i] = codes.data()[(first + n) * size + i % size];
            }
        }
        const auto part = stylegan2::synthesize(cpu, net, ws);
        std::copy(part.begin(), part.end(), pictures.data() + first * pixels);
    }
    return pictures;
}

/// A factor to look at: one number of the regressor, or several whose changes are summed up as their root mean square.
struct factor {
    std::string name;
    std::vector<std::size_t> columns;
};

/// The factors of the table, and how much they vary over pictures of the generator.
class readings {
public:
    /// \param samples  codes of the generator
    readings(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const std::vector<std::string>& intended, const matrix& samples)
        : cpu_(cpu), net_(net), measure_(measure) {
        values_ = read(samples);
        const std::size_t width = values_.shape()[1], count = values_.shape()[0];
        for (std::size_t c = 0; c < width; ++c) {
            double sum = 0, squares = 0;
            for (std::size_t n = 0; n < count; ++n) {
                sum += values_(n, c) / static_cast<double>(count);
            }
            for (std::size_t n = 0; n < count; ++n) {
                squares += std::pow(values_(n, c) - sum, 2) / static_cast<double>(count);
            }
            spread_.push_back(std::sqrt(squares));
        }
        for (const std::string& name : intended) {
            add(name, {name});
        }
        add("pitch", {"pitch"});
        add("skin", {"melanin"});
        add("age", {"age"});
        add("build", {"build"});
        add("beard", {"beard"});
        add("light", {"light"});
        add("shape", {"face_width", "jaw_width", "chin_length", "forehead", "cheek_fullness", "nose_length", "neck_width"});
    }

    const std::vector<factor>& factors() const { return factors_; }
    const matrix& samples() const { return values_; }
    double spread(std::size_t column) const { return spread_[column]; }

    matrix read(const matrix& codes) const { return measure_.predict(cpu_, pictures_of(cpu_, net_, codes)); }

    /// Change of a factor from one set of readings to another, in units of its spread: signed for a single number.
    std::vector<double> changes(const factor& f, const matrix& from, const matrix& to) const {
        std::vector<double> result;
        for (std::size_t n = 0; n < from.shape()[0]; ++n) {
            double square = 0, last = 0;
            for (const std::size_t c : f.columns) {
                last = (to(n, c) - from(n, c)) / spread_[c];
                square += last * last / static_cast<double>(f.columns.size());
            }
            result.push_back(f.columns.size() == 1 ? last : std::sqrt(square));
        }
        return result;
    }

private:
    void add(const std::string& name, const std::vector<std::string>& outputs) {
        factor f{name, {}};
        for (const std::string& output : outputs) {
            const auto found = std::find_if(measure_.outputs().begin(), measure_.outputs().end(), [&](const auto& o) { return o.name == output; });
            if (found != measure_.outputs().end()) {
                for (std::size_t i = 0; i < found->size; ++i) {
                    f.columns.push_back(found->offset + i);
                }
            }
        }
        if (!f.columns.empty()) {
            factors_.push_back(std::move(f));
        }
    }

    const moden::cpu_policy& cpu_;
    const generator& net_;
    const regressor& measure_;
    matrix values_;
    std::vector<double> spread_;
    std::vector<factor> factors_;
};

}  // namespace edit_faces
