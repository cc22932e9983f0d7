#pragma once

// What the ensemble and the factors of the model look like, and how the error falls with the ranks.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <moden/moden.hpp>

#include "../common/plot.hpp"
#include "../common/sheet.hpp"
#include "ensemble.hpp"
#include "model.hpp"

namespace tensorfaces {

/// Side of a picture on a sheet: small pictures are enlarged.
inline void set_cell_size(examples::sheet& s, const ensemble& e, std::size_t about) {
    const double scale = static_cast<double>(about) / static_cast<double>(std::max(e.height, e.width));
    s.cell_height = std::max<std::size_t>(1, static_cast<std::size_t>(scale * static_cast<double>(e.height)));
    s.cell_width = std::max<std::size_t>(1, static_cast<std::size_t>(scale * static_cast<double>(e.width)));
}

/// "3.9 %".
inline std::string percent(double value) {
    char text[32];
    std::snprintf(text, sizeof text, value < 0.0995 ? "%.1f %%" : "%.0f %%", 100 * value);
    return text;
}

/// Up to `count` indices spread evenly over [0, extent).
inline std::vector<std::size_t> spread(std::size_t extent, std::size_t count) {
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < std::min(extent, count); ++i) {
        result.push_back(extent <= count ? i : i * (extent - 1) / (count - 1));
    }
    return result;
}

/// Norm of a typical picture of the ensemble.
inline double typical_norm(const ensemble& e) {
    return moden::norm(e.training) / std::sqrt(static_cast<double>(e.training.size() / e.pixels()));
}

/// Pixels with both signs around mid-gray; those of (nearly) one sign as bright as a typical picture.
inline examples::picture to_signed_picture(const float* pixels, const ensemble& e, double picture_norm) {
    std::vector<float> shown(pixels, pixels + e.pixels());
    double positive = 0, negative = 0;
    for (const float value : shown) {
        (value > 0 ? positive : negative) += static_cast<double>(value) * static_cast<double>(value);
    }
    if (std::min(positive, negative) < 0.002 * std::max(positive, negative)) {
        const auto scale =
            static_cast<float>((positive > negative ? 1 : -1) * picture_norm / std::sqrt(positive + negative));
        std::transform(shown.begin(), shown.end(), shown.begin(), [&](float value) { return scale * value; });
    } else {
        std::vector<float> magnitudes(shown.size());
        std::transform(shown.begin(), shown.end(), magnitudes.begin(), [](float value) { return std::abs(value); });
        const auto high = magnitudes.begin() + static_cast<std::ptrdiff_t>((magnitudes.size() - 1) * 995 / 1000);
        std::nth_element(magnitudes.begin(), high, magnitudes.end());
        const float scale = *high > 0 ? 0.5F / *high : 0;
        std::transform(shown.begin(), shown.end(), shown.begin(), [&](float value) { return 0.5F + scale * value; });
    }
    for (float& value : shown) {
        value = std::clamp(value, 0.0F, 1.0F);
    }
    return to_picture(shown.data(), e);
}

/// People as rows; views, lights and expressions as columns, one of them changing at a time.
inline examples::canvas draw_ensemble(const ensemble& e) {
    const auto& shape = e.training.shape();
    examples::sheet s{
        .title = "The ensemble: " + moden::detail::message(shape) + " (people x views x lights x expressions x pixels)",
        .notes = {"rows: people; columns: every view, then the other lights, then the other expressions, all else as "
                  "in the middle view"}};
    set_cell_size(s, e, 96);
    std::vector<levels> conditions;
    const std::size_t middle = shape[1] / 2;
    for (std::size_t n = 1; n < 4; ++n) {
        for (const std::size_t i : spread(shape[n], 6)) {
            levels at{0, middle, 0, 0};
            at[n] = i;
            if (n == 1 || i > 0) {
                conditions.push_back(at);
                s.columns.push_back(e.names[n][i]);
            }
        }
    }
    for (const std::size_t person : spread(shape[0], 8)) {
        examples::sheet_row row{.label = e.names[0][person]};
        for (const levels& at : conditions) {
            row.cells.push_back({.image = to_picture(image_at(e.training, person, at[1], at[2], at[3]), e)});
        }
        s.rows.push_back(std::move(row));
    }
    return draw(s);
}

/// Leading eigen-pictures of every mode: columns of U_pixels, and the TensorFaces S x_4 U_pixels along each other mode.
inline examples::canvas draw_eigenpictures(const ensemble& e, const face_model& model) {
    constexpr std::size_t shown = 8;
    examples::sheet s{.title = "Eigen-pictures of every mode: T = S x people x views x lights x expressions x pixels",
                      .notes = {"pixels: the columns of U_pixels, which are the eigenfaces of PCA; other modes: the "
                                "TensorFaces S x U_pixels along that mode,",
                                "component 1 of all others. Gray is zero where both signs occur. Below: singular value "
                                "of the component / |T|"}};
    set_cell_size(s, e, 112);
    const double norm = moden::norm(e.training);
    const double brightness = typical_norm(e);
    for (std::size_t i = 1; i <= shown; ++i) {
        s.columns.push_back("component " + std::to_string(i));
    }
    for (const std::size_t mode : {4, 0, 1, 2, 3}) {
        examples::sheet_row row{.label = mode_names[mode]};
        for (std::size_t i = 0; i < std::min(shown, model.tucker.core.shape()[mode]); ++i) {
            vector code(vector::shape_type{model.tucker.core.shape()[4]}, 0.0F);
            if (mode == 4) {
                code(i) = 1;
            } else {
                levels at{0, 0, 0, 0};
                at[mode] = i;
                std::copy_n(image_at(model.tucker.core, at[0], at[1], at[2], at[3]), code.size(), code.begin());
            }
            const auto pixels = moden::mode_product(code, model.factor(4), 0);
            char text[32];
            std::snprintf(text, sizeof text, "%.3f",
                          static_cast<double>(model.tucker.modes[mode].singular_values[i]) / norm);
            row.cells.push_back({.image = to_signed_picture(pixels.data(), e, brightness), .caption = text});
        }
        s.rows.push_back(std::move(row));
    }
    return draw(s);
}

/// The basis of persons for different conditions: S x_1 v' x_2 l' x_3 e' x_4 U_pixels.
inline examples::canvas draw_tensorfaces(const ensemble& e, const face_model& model) {
    const auto& shape = e.training.shape();
    examples::sheet s{
        .title = "TensorFaces: the basis of persons under every condition, S x views x lights x expressions x pixels",
        .notes = {"rows: components of the person mode. The first is the person common to all; the others are the ways "
                  "in which persons differ,",
                  "each drawn as it looks in the view, light and expression of the column: a person is one set of "
                  "weights for all columns"}};
    set_cell_size(s, e, 96);
    std::vector<levels> conditions;
    for (std::size_t n = 1; n < 4; ++n) {
        for (const std::size_t i : spread(shape[n], 5)) {
            levels at{0, shape[1] / 2, 0, 0};
            at[n] = i;
            if (n == 1 || i > 0) {
                conditions.push_back(at);
                s.columns.push_back(e.names[n][i]);
            }
        }
    }
    const double brightness = typical_norm(e);
    for (std::size_t component = 0; component < std::min<std::size_t>(6, model.bases.shape()[0]); ++component) {
        examples::sheet_row row{.label = "person component " + std::to_string(component + 1)};
        for (const levels& at : conditions) {
            vector code = vector::from_shape({model.bases.shape()[4]});
            std::copy_n(&model.bases(component, at[1], at[2], at[3], 0), code.size(), code.begin());
            const auto pixels = moden::mode_product(code, model.factor(4), 0);
            row.cells.push_back({.image = to_signed_picture(pixels.data(), e, brightness)});
        }
        s.rows.push_back(std::move(row));
    }
    return draw(s);
}

/// One step of truncating all modes together.
struct truncation_step {
    moden::extents ranks;
    moden::tucker_tensor<image_tensor> tucker;
    double stored = 0;  ///< numbers in core and factors relative to numbers in the tensor
    double error = 0;   ///< |T - T^| / |T|, measured
    double bound = 0;   ///< right side of 001 Eq. 3.9
};

/// Ranks growing together: small modes evenly, the pixel mode by a constant factor.
inline std::vector<truncation_step> truncation_ladder(const ensemble& e, const face_model& model) {
    constexpr std::size_t steps = 8;
    const double norm = moden::norm(e.training);
    std::vector<truncation_step> ladder;
    examples::progress_bar bar("reconstructing");
    for (std::size_t k = 1; k <= steps; ++k) {
        bar.update(k - 1, steps);
        truncation_step step;
        const double fraction = static_cast<double>(k) / steps;
        double squared_bound = 0;
        for (std::size_t n = 0; n < 5; ++n) {
            const double full = static_cast<double>(model.tucker.core.shape()[n]);
            const double rank = n < 4 ? std::ceil(full * fraction) : std::round(std::pow(full, fraction));
            step.ranks.push_back(
                std::clamp<std::size_t>(static_cast<std::size_t>(rank), 1, model.tucker.core.shape()[n]));
            squared_bound += discarded_energy(model, n, step.ranks[n]);
        }
        step.tucker = truncated(model.tucker, step.ranks);
        step.error = moden::relative_error(e.training, step.tucker);
        step.bound = std::sqrt(squared_bound) / norm;
        step.stored = static_cast<double>(step.tucker.core.size());
        for (const matrix& factor : step.tucker.factors) {
            step.stored += static_cast<double>(factor.size());
        }
        step.stored /= static_cast<double>(e.training.size());
        ladder.push_back(std::move(step));
    }
    return ladder;
}

/// True error against rank, each mode by itself and all together, with the bound of 001 Eq. 3.9.
inline examples::canvas draw_error_by_rank(const ensemble& e, const face_model& model,
                                           const std::vector<truncation_step>& ladder) {
    using namespace examples;
    constexpr double width = 440, height = 320, header = 70;
    canvas picture(static_cast<std::size_t>(header + 2 * height), static_cast<std::size_t>(3 * width + 8));
    picture.text(16, 28, "Relative error of the reconstruction against the rank of each mode", 12);
    picture.text(16, 50,
                 "discs: |T - T^| / |T| measured on the pictures; dashed: the bound of Eq. 3.9, the square root of the "
                 "sum of the discarded squared singular values / |T|",
                 9, faint);
    const double norm = moden::norm(e.training);
    progress_bar bar("measuring errors");
    const auto add = [&](std::size_t panel, plot p, series error, series bound) {
        error.label = "measured";
        error.paint = palette[panel];
        error.points = marks::discs;
        error.thickness = 0;
        bound.label = "bound of Eq. 3.9";
        bound.paint = ink;
        bound.line = stroke::dashed;
        bound.thickness = 1.4;
        p.y.label = "relative error";
        p.y.first = 0.0;
        double largest = 1e-3;
        for (const double value : bound.y) {
            largest = std::max(largest, value);
        }
        p.y.last = 1.08 * largest;
        p.lines = {std::move(error), std::move(bound)};
        draw(picture,
             {4 + width * static_cast<double>(panel % 3), header + height * static_cast<double>(panel / 3), width,
              height},
             p);
    };
    for (std::size_t n = 0; n < 5; ++n) {
        bar.update(n, 5, mode_names[n]);
        const std::size_t computed = model.tucker.core.shape()[n];
        plot p{.title = std::string(mode_names[n]) + " truncated alone"};
        p.x = {.label = "rank of " + std::to_string(e.training.shape()[n]),
               .scale = n == 4 ? axis_scale::logarithmic : axis_scale::linear,
               .first = 1.0,
               .last = static_cast<double>(std::max<std::size_t>(2, computed)),
               .ticks = tick_values::whole_numbers};
        series error, bound;
        std::size_t previous = 0;
        for (std::size_t k = 0; k < 6; ++k) {
            const double part = static_cast<double>(k) / 5;
            const double rank = computed > 8 ? std::pow(static_cast<double>(computed), part)
                                             : 1 + part * static_cast<double>(computed - 1);
            const auto r = static_cast<std::size_t>(std::lround(rank));
            if (r == previous) {
                continue;
            }
            previous = r;
            error.x.push_back(static_cast<double>(r));
            error.y.push_back(error_of_truncated_mode(e.training, model.factor(n), r, n));
        }
        for (std::size_t r = 1; r <= computed; ++r) {
            bound.x.push_back(static_cast<double>(r));
            bound.y.push_back(std::sqrt(discarded_energy(model, n, r)) / norm);
        }
        add(n, std::move(p), std::move(error), std::move(bound));
    }
    plot p{.title = "all modes truncated together"};
    p.x = {.label = "numbers stored / numbers in T", .scale = axis_scale::logarithmic};
    series error, bound;
    for (const truncation_step& step : ladder) {
        error.x.push_back(step.stored);
        error.y.push_back(step.error);
        bound.x.push_back(step.stored);
        bound.y.push_back(step.bound);
    }
    add(5, std::move(p), std::move(error), std::move(bound));
    return picture;
}

/// A few pictures at growing ranks.
inline examples::canvas draw_pictures_by_rank(const ensemble& e, const std::vector<truncation_step>& ladder) {
    const auto& shape = e.training.shape();
    examples::sheet s{.title = "Reconstructions with growing ranks (people x views x lights x expressions x pixels)",
                      .notes = {"first column: the picture itself; below the others: relative error of that picture"}};
    set_cell_size(s, e, 128);
    s.columns = {"original"};
    for (const truncation_step& step : ladder) {
        std::string text;
        for (const std::size_t rank : step.ranks) {
            text += (text.empty() ? "" : ",") + std::to_string(rank);
        }
        s.columns.push_back(text);
    }
    for (std::size_t k = 0; k < 4; ++k) {
        const levels at{std::min(2 * k + 1, shape[0] - 1), (shape[1] / 2 + k) % shape[1], k % shape[2], k % shape[3]};
        const float* original = image_at(e.training, at[0], at[1], at[2], at[3]);
        examples::sheet_row row{.cells = {{.image = to_picture(original, e)}}};
        for (const truncation_step& step : ladder) {
            // Only this picture: a range of one index in each of the first four modes.
            const auto rebuilt = moden::reconstruct(step.tucker, {{at[0], 1}, {at[1], 1}, {at[2], 1}, {at[3], 1}, {}});
            row.cells.push_back({.image = to_picture(rebuilt.data(), e),
                                 .caption = percent(relative_difference(rebuilt.data(), original, e.pixels()))});
        }
        s.rows.push_back(std::move(row));
    }
    return draw(s);
}

}  // namespace tensorfaces
