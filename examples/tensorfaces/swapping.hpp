#pragma once

// Exchanging the person, view, light and expression of given pictures, with the true pictures beside.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../common/sheet.hpp"
#include "ensemble.hpp"
#include "factor_pictures.hpp"
#include "model.hpp"

namespace tensorfaces {

inline constexpr std::array<const char*, 4> factor_names{"person", "view", "light", "expression"};

/// Two pictures of the ensemble that differ in all factors, if the extents allow it.
struct picture_pair {
    levels a, b;
};

inline std::vector<picture_pair> choose_pairs(const ensemble& e) {
    const auto& shape = e.training.shape();
    const auto at = [&](std::size_t p, std::size_t v, std::size_t l, std::size_t x) {
        return levels{p % shape[0], v % shape[1], l % shape[2], x % shape[3]};
    };
    const std::size_t middle = shape[1] / 2;
    return {{at(0, middle, 0, 0), at(3, middle + 1, 2, 1)}, {at(5, middle + shape[1] - 1, 0, 1), at(10, middle, 3, 2)}};
}

/// Errors of exchanged factors: person, view, light, expression, all of them.
using swap_errors = std::array<double, 5>;

/// Exchanges the factors of picture a for those of picture b, one at a time, by exchanging rows of the factor matrices.
///
/// Both pictures belong to the ensemble, and so does every exchanged one: the error is that of the truncation.
inline examples::canvas draw_swaps(const ensemble& e, const face_model& model, swap_errors& mean_errors) {
    const std::vector<picture_pair> pairs = choose_pairs(e);
    examples::sheet s{.title = "Exchanged factors: picture a with the person, view, light or expression of picture b",
                      .columns = {"picture a", "picture b", "person of b", "view of b", "light of b", "expression of b",
                                  "all but the person"}};
    s.notes = {
        "model: S contracted with rows of the factor matrices, one row exchanged; truth: the true picture of the same "
        "combination; below: relative error"};
    set_cell_size(s, e, 128);
    mean_errors = {};
    for (const picture_pair& pair : pairs) {
        examples::sheet_row from_model{.label = "model"}, truth{.label = "truth", .space_below = 14};
        for (std::size_t column = 0; column < 7; ++column) {
            levels at = column == 1 ? pair.b : pair.a;
            if (column >= 2 && column < 6) {
                at[column - 2] = pair.b[column - 2];
            } else if (column == 6) {
                at = pair.b;
                at[0] = pair.a[0];
            }
            const vector pixels = synthesise(model, parameters_of(model, at));
            const float* true_pixels = image_at(e.training, at[0], at[1], at[2], at[3]);
            const double error = relative_difference(pixels.data(), true_pixels, e.pixels());
            from_model.cells.push_back({.image = to_picture(pixels.data(), e), .caption = percent(error)});
            truth.cells.push_back({.image = to_picture(true_pixels, e)});
            if (column >= 2) {
                mean_errors[column - 2] += error / static_cast<double>(pairs.size());
            }
        }
        s.rows.push_back(std::move(from_model));
        s.rows.push_back(std::move(truth));
    }
    return draw(s);
}

/// Relative errors for persons that the model has never seen, each known from one picture.
struct unseen_errors {
    std::array<double, 5> model{}, limit{}, nearest{},
        mean_person{};                        ///< given picture, other view, light, expression, all others
    std::array<std::size_t, 4> recognised{};  ///< how often view [1], light [2], expression [3] were right
    std::size_t given = 0;                    ///< number of given pictures
};

/// Mean picture of the training persons under one condition.
inline std::vector<float> mean_picture(const ensemble& e, std::size_t view, std::size_t light, std::size_t expression) {
    std::vector<float> mean(e.pixels(), 0.0F);
    const std::size_t persons = e.training.shape()[0];
    for (std::size_t p = 0; p < persons; ++p) {
        const float* pixels = image_at(e.training, p, view, light, expression);
        for (std::size_t i = 0; i < mean.size(); ++i) {
            mean[i] += pixels[i] / static_cast<float>(persons);
        }
    }
    return mean;
}

/// The training person whose picture under a condition differs least from a given picture.
inline std::size_t nearest_person(const ensemble& e, const float* picture, const levels& condition) {
    std::size_t best = 0;
    double least = -1;
    for (std::size_t p = 0; p < e.training.shape()[0]; ++p) {
        const double difference =
            relative_difference(image_at(e.training, p, condition[1], condition[2], condition[3]), picture, e.pixels());
        if (least < 0 || difference < least) {
            least = difference;
            best = p;
        }
    }
    return best;
}

/// Conditions of the given pictures: every level of every mode occurs as the others change.
inline levels given_condition(const ensemble& e, std::size_t person, std::size_t index) {
    const auto& shape = e.training.shape();
    return {person, (shape[1] / 2 + index + person) % shape[1], (2 * index + person) % shape[2],
            (index + person) % shape[3]};
}

/// Estimates every unseen person from single pictures and predicts all the others.
inline unseen_errors evaluate_unseen(const ensemble& e, const face_model& model) {
    constexpr std::size_t pictures_per_person = 5;
    const auto& shape = e.unseen.shape();
    const std::size_t pixels = e.pixels();
    unseen_errors sum;
    std::array<double, 5> count{};
    examples::progress_bar bar("unseen persons");
    for (std::size_t p = 0; p < shape[0]; ++p) {
        auto own = moden::tensor<float, 4>::from_shape({shape[1], shape[2], shape[3], shape[4]});
        std::copy_n(image_at(e.unseen, p, 0, 0, 0), own.size(), own.begin());
        const auto limit = all_conditions(model, person_of_all_pictures(model, own));
        for (std::size_t k = 0; k < pictures_per_person; ++k) {
            bar.update(p * pictures_per_person + k, shape[0] * pictures_per_person);
            const levels given = given_condition(e, p, k);
            const float* picture = image_at(e.unseen, p, given[1], given[2], given[3]);
            const estimate found = estimate_parameters(model, picture);
            const auto predicted = all_conditions(model, found.q[0]);
            const std::size_t alike = nearest_person(e, picture, found.recognised);
            ++sum.given;
            for (std::size_t n = 1; n < 4; ++n) {
                sum.recognised[n] += found.recognised[n] == given[n] ? 1 : 0;
            }
            for (std::size_t v = 0; v < shape[1]; ++v) {
                for (std::size_t l = 0; l < shape[2]; ++l) {
                    for (std::size_t x = 0; x < shape[3]; ++x) {
                        const float* truth = image_at(e.unseen, p, v, l, x);
                        const auto mean = mean_picture(e, v, l, x);
                        const std::array<double, 4> errors{
                            relative_difference(&predicted(v, l, x, 0), truth, pixels),
                            relative_difference(&limit(v, l, x, 0), truth, pixels),
                            relative_difference(image_at(e.training, alike, v, l, x), truth, pixels),
                            relative_difference(mean.data(), truth, pixels)};
                        const bool same_view = v == given[1], same_light = l == given[2],
                                   same_expression = x == given[3];
                        const std::array<bool, 5> belongs{
                            same_view && same_light && same_expression, !same_view && same_light && same_expression,
                            same_view && !same_light && same_expression, same_view && same_light && !same_expression,
                            !(same_view && same_light && same_expression)};
                        for (std::size_t i = 0; i < 5; ++i) {
                            if (belongs[i]) {
                                count[i] += 1;
                                sum.model[i] += errors[0];
                                sum.limit[i] += errors[1];
                                sum.nearest[i] += errors[2];
                                sum.mean_person[i] += errors[3];
                            }
                        }
                    }
                }
            }
        }
    }
    for (std::size_t i = 0; i < 5; ++i) {
        for (auto* errors : {&sum.model, &sum.limit, &sum.nearest, &sum.mean_person}) {
            (*errors)[i] /= std::max(count[i], 1.0);
        }
    }
    return sum;
}

/// Unseen persons, known from one picture each, under other conditions; and a training person put in their place.
inline examples::canvas draw_unseen(const ensemble& e, const face_model& model) {
    const auto& shape = e.unseen.shape();
    examples::sheet s{.title = "Persons that the model has never seen, known from one picture each",
                      .notes = {"from the given picture alone: person, view, light and expression by alternating least "
                                "squares, then exchanged; below: relative error",
                                "(in brackets: the mean training person under the same condition). Last column: a "
                                "training person under the estimated condition"},
                      .columns = {"given", "estimated", "another view", "another light", "another expression",
                                  "all three", "another person"}};
    set_cell_size(s, e, 128);
    for (std::size_t p = 0; p < std::min<std::size_t>(3, shape[0]); ++p) {
        const levels given = given_condition(e, p, 0);
        const float* picture = image_at(e.unseen, p, given[1], given[2], given[3]);
        const estimate found = estimate_parameters(model, picture);
        examples::sheet_row from_model{.label = "model"}, truth{.label = "truth", .space_below = 14};
        from_model.cells.push_back(
            {.image = to_picture(picture, e),
             .caption = e.names[1][given[1]] + ", " + e.names[2][given[2]] + ", " + e.names[3][given[3]]});
        truth.cells.push_back({.caption = "found: " + e.names[1][found.recognised[1]] + ", " +
                                          e.names[2][found.recognised[2]] + ", " + e.names[3][found.recognised[3]]});
        for (std::size_t column = 1; column < 7; ++column) {
            // Only what was estimated is used: the level of the condition, never the true one.
            levels at = found.recognised;
            parameters q = found.q;
            for (std::size_t n = 1; n < 4; ++n) {
                if (column == n + 1 || column == 5) {
                    at[n] = (found.recognised[n] + (shape[n] + 1) / 2) % shape[n];
                    q[n] = row(model.factor(n), at[n]);
                }
            }
            const std::size_t other = (7 * p + 4) % e.training.shape()[0];
            if (column == 6) {
                q[0] = row(model.factor(0), other);
            }
            const vector pixels = synthesise(model, q);
            // The truth has the given condition where nothing was exchanged, whether or not it was recognised.
            levels true_at = at;
            for (std::size_t n = 1; n < 4; ++n) {
                true_at[n] = at[n] == found.recognised[n] ? given[n] : at[n];
            }
            const float* true_pixels = column == 6 ? image_at(e.training, other, true_at[1], true_at[2], true_at[3])
                                                   : image_at(e.unseen, p, true_at[1], true_at[2], true_at[3]);
            std::string caption = percent(relative_difference(pixels.data(), true_pixels, e.pixels()));
            if (column < 6) {
                const auto mean = mean_picture(e, true_at[1], true_at[2], true_at[3]);
                caption += " (" + percent(relative_difference(mean.data(), true_pixels, e.pixels())) + ")";
            }
            from_model.cells.push_back({.image = to_picture(pixels.data(), e), .caption = caption});
            truth.cells.push_back({.image = to_picture(true_pixels, e)});
        }
        s.rows.push_back(std::move(from_model));
        s.rows.push_back(std::move(truth));
    }
    return draw(s);
}

}  // namespace tensorfaces
