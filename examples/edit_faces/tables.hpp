#pragma once

// The papers' tables in small: how well parameter vectors and tensors represent codes of persons that the model has not seen,
// what penalties do to transfers, vectorised against stacked models, and rotation by several methods.

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "drawings.hpp"

namespace edit_faces {

/// A set split by persons: the last ones are kept from the model.
struct split_set {
    code_set seen;     ///< persons x (expression and intensity) x views
    code_set unseen;
    std::size_t person = 0, expression = 1, view = 2;  ///< positions among the factor modes
};

/// Levels first, first + 1, ... of a mode.
inline code_set part_of(const code_set& set, std::size_t mode, std::size_t first, std::size_t count) {
    const moden::extents shape(set.codes.shape().begin(), set.codes.shape().end());
    const moden::mode_geometry geometry = moden::geometry_of(shape, mode + 1);
    code_set result{{}, set.modes};
    const auto begin = set.modes[mode].levels.begin() + static_cast<std::ptrdiff_t>(first);
    result.modes[mode].levels.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
    moden::dynamic_tensor<float>::shape_type part(shape.begin(), shape.end());
    part[mode + 1] = count;
    result.codes = moden::dynamic_tensor<float>::from_shape(part);
    for (std::size_t slab = 0; slab < geometry.slabs; ++slab) {
        std::copy_n(set.codes.data() + (slab * geometry.extent + first) * geometry.columns, count * geometry.columns,
                    result.codes.data() + slab * count * geometry.columns);
    }
    return result;
}

/// All codes as rows, in the order of the tensor's samples.
inline matrix rows_of_codes(const code_set& set) {
    const std::size_t size = set.codes.shape()[0], samples = set.samples();
    auto rows = matrix::from_shape({samples, size});
    for (std::size_t i = 0; i < size; ++i) {
        for (std::size_t n = 0; n < samples; ++n) {
            rows(n, i) = set.codes.data()[i * samples + n];
        }
    }
    return rows;
}

/// Level of a sample in a mode.
inline std::size_t level_of(const code_set& set, std::size_t mode, std::size_t sample) {
    const moden::mode_geometry geometry = moden::geometry_of({set.codes.shape().begin() + 1, set.codes.shape().end()}, mode);
    return sample / geometry.columns % geometry.extent;
}

/// The sample that differs from another in the level of one mode.
inline std::size_t sample_with(const code_set& set, std::size_t mode, std::size_t sample, std::size_t level) {
    const moden::mode_geometry geometry = moden::geometry_of({set.codes.shape().begin() + 1, set.codes.shape().end()}, mode);
    return sample + (level - level_of(set, mode, sample)) * geometry.columns;  // wraps around as it should
}

/// Mean and standard deviation over codes.
struct spread {
    double mean = 0, deviation = 0;

    explicit spread(const std::vector<double>& values) {
        const double n = static_cast<double>(values.size());
        for (const double v : values) {
            mean += v / n;
        }
        for (const double v : values) {
            deviation += (v - mean) * (v - mean) / n;
        }
        deviation = std::sqrt(deviation);
    }

    std::string text(const char* format = "%.3f") const { return number(mean, format) + " +- " + number(deviation, format); }
};

/// Squared distance of every row from another's, relative to the mean squared distance of `reference` from `mean`.
class relative_errors {
public:
    relative_errors(const matrix& reference, const matrix& mean) {
        for (std::size_t n = 0; n < reference.shape()[0]; ++n) {
            for (std::size_t i = 0; i < reference.shape()[1]; ++i) {
                scale_ += std::pow(reference(n, i) - mean(0, i), 2) / static_cast<double>(reference.shape()[0]);
            }
        }
    }

    std::vector<double> operator()(const matrix& made, const matrix& wanted) const {
        std::vector<double> result;
        for (std::size_t n = 0; n < made.shape()[0]; ++n) {
            double square = 0;
            for (std::size_t i = 0; i < made.shape()[1]; ++i) {
                square += std::pow(made(n, i) - wanted(n, i), 2);
            }
            result.push_back(square / scale_);
        }
        return result;
    }

private:
    double scale_ = 0;
};

inline double root_mean_square(const moden::tensor<float, 4>& a, const moden::tensor<float, 4>& b, std::size_t n) {
    const std::size_t size = a.size() / a.shape()[0];
    double square = 0;
    for (std::size_t i = n * size; i < (n + 1) * size; ++i) {
        square += std::pow(a.data()[i] - b.data()[i], 2) / static_cast<double>(size);
    }
    return std::sqrt(square);
}

/// Pearson correlation of two pictures' numbers.
inline double correlation(const moden::tensor<float, 4>& a, const moden::tensor<float, 4>& b, std::size_t n) {
    const std::size_t size = a.size() / a.shape()[0];
    double sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
    for (std::size_t i = n * size; i < (n + 1) * size; ++i) {
        const double x = a.data()[i], y = b.data()[i];
        sa += x, sb += y, saa += x * x, sbb += y * y, sab += x * y;
    }
    const double m = static_cast<double>(size);
    return (sab - sa * sb / m) / std::sqrt((saa - sa * sa / m) * (sbb - sb * sb / m));
}

/// Paper II, Table 1, and Paper I, Figure 8.
inline std::string table_of_representations(const moden::cpu_policy& cpu, const split_set& sets, const generator& net, const matrix& samples) {
    const model fitted = moden::fit_tensor_model(cpu, sets.seen.codes, sets.seen.modes);
    const auto stacked = moden::fit_stacked_tensor_model(cpu, sets.seen.codes, net.layout().num_ws, sets.seen.modes);
    const matrix unseen = rows_of_codes(sets.unseen), seen = rows_of_codes(sets.seen);
    const relative_errors errors(seen, fitted.mean);
    const moden::parameter_estimation_options options{.starts = 3};
    std::string text = "| codes | one vector per mode | per mode and row of w+ | parameter tensor |\n| --- | --- | --- | --- |\n";
    const std::vector<std::pair<std::string, const matrix*>> kinds{{"persons not in the model", &unseen}, {"samples of the generator", &samples}};
    for (const auto& [name, codes] : kinds) {
        const auto vectors = moden::estimate_parameters(cpu, fitted, *codes, options);
        const auto made = moden::synthesize_codes(cpu, fitted, vectors.canonical);
        std::vector<std::vector<matrix>> sets_of_styles;
        for (auto& style : moden::estimate_parameters(cpu, stacked, *codes, options)) {
            sets_of_styles.push_back(std::move(style.canonical));
        }
        const auto by_styles = moden::synthesize_codes(cpu, stacked, sets_of_styles);
        const auto full = moden::synthesize_codes(cpu, fitted, moden::estimate_parameter_tensor(cpu, fitted, *codes));
        text += "| " + name + " | " + spread(errors(made, *codes)).text() + " | " + spread(errors(by_styles, *codes)).text() + " | " +
                spread(errors(full, *codes)).text() + " |\n";
    }
    return text;
}

/// Errors of Paper I, Figure 9, for one penalty.
struct transfer_errors {
    double approximation = 0, expression = 0, rotation = 0;
};

inline transfer_errors errors_of_penalty(const moden::cpu_policy& cpu, const model& fitted, const split_set& sets, const matrix& codes,
                                         const relative_errors& errors, const moden::parameter_penalty& penalty) {
    const auto found = moden::estimate_parameters(cpu, fitted, codes, {.penalties = {penalty}});
    const auto mean = [&](const matrix& made, const matrix& wanted) { return spread(errors(made, wanted)).mean; };
    transfer_errors result{mean(moden::synthesize_codes(cpu, fitted, found.canonical), codes), 0, 0};
    for (const bool rotates : {false, true}) {
        const std::size_t mode = rotates ? sets.view : sets.expression, levels = sets.unseen.modes[mode].levels.size();
        // Every code with the next level of the mode: parameters of that level instead of the estimated ones.
        std::vector<std::size_t> partner;
        std::vector<std::string> names;
        for (std::size_t n = 0; n < codes.shape()[0]; ++n) {
            const std::size_t next = (level_of(sets.unseen, mode, n) + 1) % levels;
            partner.push_back(sample_with(sets.unseen, mode, n, next));
            names.push_back(sets.unseen.modes[mode].levels[next]);
        }
        auto parameters = found.canonical;
        parameters[mode] = moden::level_parameters(cpu, fitted, fitted.modes[mode].name, names);
        (rotates ? result.rotation : result.expression) = mean(moden::synthesize_codes(cpu, fitted, parameters), chosen_rows(codes, partner));
    }
    return result;
}

/// Paper I, Figure 9: a table and its curves.
inline std::pair<std::string, examples::canvas> curves_of_penalties(const moden::cpu_policy& cpu, const split_set& sets) {
    const model fitted = moden::fit_tensor_model(cpu, sets.seen.codes, sets.seen.modes, {.scaling = moden::code_scaling::standardized});
    const matrix codes = rows_of_codes(sets.unseen);
    const relative_errors errors(rows_of_codes(sets.seen), fitted.mean);
    // In units of the squared norm of a standardised code, which is the number of its entries.
    const double unit = static_cast<double>(fitted.code_size());
    const std::vector<double> weights{1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1};
    std::string text = "| penalty | weight | approximation | expression transfer | rotation transfer |\n| --- | --- | --- | --- | --- |\n";
    const auto row = [&](const std::string& name, const std::string& weight, const transfer_errors& e) {
        text += "| " + name + " | " + weight + " | " + number(e.approximation, "%.3f") + " | " + number(e.expression, "%.3f") + " | " + number(e.rotation, "%.3f") + " |\n";
    };
    row("none", "0", errors_of_penalty(cpu, fitted, sets, codes, errors, {}));
    examples::canvas drawing(420, 1180);
    double left = 0;
    for (const std::string name : {"lasso", "ridge", "sum to one"}) {
        examples::plot plot{.title = name, .note = "relative errors on new persons, cut off at 3",
                            .x = {.label = "weight / entries of a code", .scale = examples::axis_scale::logarithmic}, .y = {.first = 0.0, .last = 3.0},
                            .lines = {{.label = "approximation", .paint = examples::palette[0], .points = examples::marks::discs},
                                      {.label = "expression transfer", .paint = examples::palette[1], .points = examples::marks::discs},
                                      {.label = "rotation transfer", .paint = examples::palette[2], .points = examples::marks::discs}}};
        for (const double weight : weights) {
            const double w = weight * unit;
            const auto e = errors_of_penalty(cpu, fitted, sets, codes, errors,
                                             name == "lasso"   ? moden::parameter_penalty{.lasso = w}
                                             : name == "ridge" ? moden::parameter_penalty{.ridge = w}
                                                               : moden::parameter_penalty{.sum_to_one = w});
            row(name, number(weight, "%g"), e);
            const double values[] = {e.approximation, e.expression, e.rotation};
            for (std::size_t i = 0; i < 3; ++i) {
                plot.lines[i].x.push_back(weight);
                plot.lines[i].y.push_back(values[i]);
            }
        }
        examples::draw(drawing, {left, 0, 390, 410}, plot);
        left += 393;
    }
    return {text, drawing};
}

/// Paper I, Figure 13: from the first view to the last, by the strength that is best on the persons of the model.
inline std::string table_of_rotations(const moden::cpu_policy& cpu, const split_set& sets, const generator& net, const matrix& w, const readings& reader,
                                      double ridge) {
    const model fitted = moden::fit_tensor_model(cpu, sets.seen.codes, sets.seen.modes);
    const auto& views = sets.seen.modes[sets.view].levels;
    const std::size_t size = fitted.code_size();
    const auto pairs = [&](const code_set& set) {
        std::pair<std::vector<std::size_t>, std::vector<std::size_t>> result;
        for (std::size_t n = 0; n < set.samples(); ++n) {
            if (level_of(set, sets.view, n) == 0) {
                result.first.push_back(n);
                result.second.push_back(sample_with(set, sets.view, n, views.size() - 1));
            }
        }
        return result;
    };
    const auto [from_seen, to_seen] = pairs(sets.seen);
    const auto [from, to] = pairs(sets.unseen);
    const matrix all_seen = rows_of_codes(sets.seen), all = rows_of_codes(sets.unseen);
    const matrix start_seen = chosen_rows(all_seen, from_seen), goal_seen = chosen_rows(all_seen, to_seen);
    const matrix start = chosen_rows(all, from), goal = chosen_rows(all, to);
    const relative_errors errors(all_seen, fitted.mean);
    const auto wanted = pictures_of(cpu, net, goal);
    std::string text = "| method | code | pixels, rms | pixels, correlation |\n| --- | --- | --- | --- |\n";
    const auto row = [&](const std::string& name, const matrix& made) {
        const auto pictures = pictures_of(cpu, net, made);
        std::vector<double> rms, same;
        for (std::size_t n = 0; n < made.shape()[0]; ++n) {
            rms.push_back(root_mean_square(pictures, wanted, n));
            same.push_back(correlation(pictures, wanted, n));
        }
        text += "| " + name + " | " + spread(errors(made, goal)).text() + " | " + spread(rms).text() + " | " + spread(same).text() + " |\n";
    };
    row("nothing done", start);
    double norm = 0;  // mean squared norm of a centred code
    for (std::size_t n = 0; n < start.shape()[0]; ++n) {
        for (std::size_t i = 0; i < size; ++i) {
            norm += std::pow(start(n, i) - fitted.mean(0, i), 2) / static_cast<double>(start.shape()[0]);
        }
    }
    const auto found = moden::estimate_parameters(cpu, fitted, start, {.penalties = {{.ridge = ridge * norm, .sum_to_one = norm}}});
    const auto turned = moden::level_parameters(cpu, fitted, fitted.modes[sets.view].name, std::vector<std::string>(from.size(), views.back()));
    auto parameters = found.canonical;
    parameters[sets.view] = turned;
    row("tensor model, parameters exchanged", moden::synthesize_codes(cpu, fitted, parameters));
    row("the same, the rest of the code kept", moden::transfer_factor(cpu, fitted, start, found.canonical, fitted.modes[sets.view].name, turned));
    const auto by_direction = [&](const std::string& name, const matrix& direction) {
        double dv = 0, vv = 0;  // the strength of least error on the persons of the model
        for (std::size_t n = 0; n < start_seen.shape()[0]; ++n) {
            for (std::size_t i = 0; i < size; ++i) {
                dv += static_cast<double>(goal_seen(n, i) - start_seen(n, i)) * direction(0, i);
                vv += static_cast<double>(direction(0, i)) * direction(0, i);
            }
        }
        row(name, moden::edit_codes(cpu, start, direction, {dv / vv}));
    };
    by_direction("tensor model, global direction", moden::difference_direction(cpu, fitted, fitted.modes[sets.view].name, views.front(), views.back()));
    std::vector<factor> yaw;
    for (const factor& f : reader.factors()) {
        if (f.name == "yaw") {
            yaw.push_back(f);
        }
    }
    if (!yaw.empty()) {
        for (const direction_set& set : other_methods(cpu, net, reader, w, yaw, size)) {
            by_direction(set.method, set.directions);
        }
    }
    return text;
}

}  // namespace edit_faces
