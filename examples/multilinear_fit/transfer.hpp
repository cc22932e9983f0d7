#pragma once

// Factors exchanged between pictures, beside what the face world would show.

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <moden/loss/multilinear_loss.hpp>

#include "../common/sheet.hpp"
#include "face_images.hpp"
#include "start.hpp"

namespace multilinear_fit {

inline constexpr std::array<const char*, 3> factor_names{"light", "expression", "identity"};

/// A multilinear model of pictures in linear light.
struct texture_model {
    moden::dynamic_tensor<float> core;
    std::vector<matrix> factors;
    double scale;  ///< pictures are this times what core and factors make

    /// What the model makes of the factors of the given pictures, one picture for each factor: 3 size^2 x pairs.
    matrix make(const std::vector<std::array<std::size_t, 3>>& sources) const {
        std::vector<matrix> chosen;
        for (std::size_t f = 0; f < 3; ++f) {
            chosen.push_back(matrix::from_shape({factors[f].shape()[0], sources.size()}));
            for (std::size_t j = 0; j < sources.size(); ++j) {
                for (std::size_t i = 0; i < factors[f].shape()[0]; ++i) {
                    chosen[f](i, j) = factors[f](i, sources[j][f]);
                }
            }
        }
        matrix made = moden::multilinear_synthesis(core, chosen);
        for (float& x : made) {
            x = static_cast<float>(scale * static_cast<double>(x));
        }
        return made;
    }
};

/// Gives the scale of each expression, which products of factors leave open, to the identity: expressions then have the same product with
/// their mean, as they had at the start. Without it the brightness of a face may travel with its expression.
inline void settle_scales(matrix& of_expression, matrix& of_identity) {
    const std::size_t rows = of_expression.shape()[0], count = of_expression.shape()[1];
    std::vector<double> mean(rows);
    double square = 0;
    for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t n = 0; n < count; ++n) {
            mean[i] += static_cast<double>(of_expression(i, n)) / static_cast<double>(count);
        }
        square += mean[i] * mean[i];
    }
    for (std::size_t n = 0; n < count; ++n) {
        double product = 0;
        for (std::size_t i = 0; i < rows; ++i) {
            product += mean[i] * static_cast<double>(of_expression(i, n)) / square;
        }
        if (std::abs(product) < 0.05) {
            continue;  // nearly at right angles to the mean: no scale to speak of
        }
        for (std::size_t i = 0; i < rows; ++i) {
            of_expression(i, n) = static_cast<float>(static_cast<double>(of_expression(i, n)) / product);
        }
        for (std::size_t i = 0; i < of_identity.shape()[0]; ++i) {
            of_identity(i, n) = static_cast<float>(static_cast<double>(of_identity(i, n)) * product);
        }
    }
}

/// Picture `target` with one factor of picture `source`.
inline std::array<std::size_t, 3> exchanged(std::size_t target, std::size_t source, std::size_t f) {
    std::array<std::size_t, 3> result{target, target, target};
    result[f] = source;
    return result;
}

inline truth exchanged(const truth& target, const truth& source, std::size_t f) {
    return {f == light ? source.light : target.light, f == expression ? source.expression : target.expression,
            f == identity ? source.identity : target.identity};
}

/// Relative errors of exchanged factors against renders, and of leaving the picture as it is.
struct transfer_errors {
    std::array<double, 3> model{}, unchanged{};
    double reconstruction = 0;
};

/// Pairs of pictures half of the set apart, and a bit, so that they show different people.
inline transfer_errors measure_transfer(const face_images& images, const texture_model& model, std::uint64_t seed) {
    constexpr std::size_t pairs = 60;
    transfer_errors result;
    const auto relative = [&](const matrix& made, std::size_t column, const float* wanted, std::size_t step) {
        double difference = 0, norm = 0;
        for (std::size_t i = 0; i < made.shape()[0]; ++i) {
            const double exact = static_cast<double>(wanted[i * step]);
            difference += std::pow(static_cast<double>(made(i, column)) - exact, 2);
            norm += exact * exact;
        }
        return std::sqrt(difference / norm);
    };
    for (std::size_t f = 0; f < 3; ++f) {
        std::vector<std::array<std::size_t, 3>> sources;
        std::vector<faces::face_parameters> wanted;
        for (std::size_t p = 0; p < pairs; ++p) {
            const std::size_t target = p * images.count() / (2 * pairs), source = (target + images.count() / 2 + 7) % images.count();
            sources.push_back(exchanged(target, source, f));
            wanted.push_back(face_of(exchanged(images.labels[target], images.labels[source], f), seed));
        }
        const matrix made = model.make(sources);
        faces::render_all(wanted, {.size = images.size}, [&](std::size_t p, faces::rendering&& rendered) {
            const auto exact = linear_light(rendered.image);
            const std::size_t target = p * images.count() / (2 * pairs);
            result.model[f] += relative(made, p, exact.data(), 1) / pairs;
            result.unchanged[f] += relative(images.texture, target, exact.data(), 1) / pairs;
        });
    }
    std::vector<std::array<std::size_t, 3>> same;
    for (std::size_t p = 0; p < pairs; ++p) {
        const std::size_t target = p * images.count() / (2 * pairs);
        same.push_back({target, target, target});
    }
    const matrix made = model.make(same);
    for (std::size_t p = 0; p < pairs; ++p) {
        result.reconstruction += relative(made, p, images.texture.data() + same[p][0], images.count()) / pairs;
    }
    return result;
}

/// One picture with a factor of others: the others, what the model makes, and what the face world shows.
inline examples::canvas draw_transfer(const face_images& images, const texture_model& model, std::size_t f, std::uint64_t seed) {
    constexpr std::size_t targets = 2, sources = 8;
    const std::array<std::size_t, targets> receivers{5 % images.count(), 16 % images.count()};
    examples::sheet sheet;
    sheet.title = std::string("The ") + factor_names[f] + " of other pictures";
    sheet.notes = {"Rows: where it comes from; the picture at the left with it; the same by the face world."};
    sheet.cell_width = sheet.cell_height = 112;
    for (const std::size_t target : receivers) {
        std::vector<std::array<std::size_t, 3>> wanted{{target, target, target}};
        examples::sheet_row from{"from", {{}}}, made_row{"made", {}}, true_row{"true", {{}}, 14};
        for (std::size_t s = 0; s < sources; ++s) {
            const std::size_t source = (37 * (s + 1) + target) % images.count();
            wanted.push_back(exchanged(target, source, f));
            from.cells.push_back({picture_of(images.texture, source, images.size)});
            const auto exact = faces::render(face_of(exchanged(images.labels[target], images.labels[source], f), seed), {.size = images.size});
            true_row.cells.push_back({examples::picture(exact.image)});
        }
        true_row.cells[0].image = picture_of(images.texture, target, images.size);
        const matrix made = model.make(wanted);
        for (std::size_t j = 0; j < wanted.size(); ++j) {
            made_row.cells.push_back({picture_of(made, j, images.size)});
        }
        sheet.rows.push_back(std::move(from));
        sheet.rows.push_back(std::move(made_row));
        sheet.rows.push_back(std::move(true_row));
    }
    return examples::draw(sheet);
}

}  // namespace multilinear_fit
