#pragma once

// Regressors from codes to attributes, edits by them, and what the edits did.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "landmark_model.hpp"

namespace pose_faces {

using network = moden::multilayer_perceptron<moden::cpu_policy, float>;

inline constexpr std::array<const char*, 4> factor_names{"yaw", "pitch", "roll", "smile"};
inline constexpr double degree = 180 / 3.14159265358979323846;

/// What makes a person, of all that is read off a picture, in units of its spread over faces: what edits are to leave alone.
class identity_map {
public:
    identity_map(const moden::cpu_policy& cpu, const regressor& measure, const std::string& file, const matrix& readings) : measure_(&measure), select_(cpu, selection(measure, file, readings)) {}

    /// N x numbers of the identity.
    matrix of(const moden::cpu_policy& cpu, const matrix& readings) const { return select_.values(cpu, readings); }
    /// The same of one picture.
    vector of(const moden::cpu_policy& cpu, const vector& picture) const { return select_.value(cpu, measure_->value(cpu, picture)); }
    /// J'u in the picture for rows u.
    matrix pull_back(const moden::cpu_policy& cpu, const vector& picture, const matrix& rows) const {
        return measure_->vjp(cpu, picture, select_.vjp(cpu, vector::from_shape({select_.input_size()}), rows));
    }
    std::size_t size() const { return select_.output_size(); }

    /// Where the identity lies in what the regressor reads.
    /// \throws usage_error if it reads nothing of the kind
    static std::vector<std::size_t> columns_of(const regressor& measure, const std::string& file) {
        static constexpr std::string_view names[] = {"build", "face_width", "jaw_width", "forehead", "cheek_fullness", "neck_width", "melanin", "undertone", "beard",
                                                     "age", "brow_thickness", "hair_color", "iris_color"};
        std::vector<std::size_t> columns;
        for (const auto& output : measure.outputs()) {
            if (std::find(std::begin(names), std::end(names), output.name) != std::end(names)) {
                for (std::size_t i = 0; i < output.size; ++i) {
                    columns.push_back(output.offset + i);
                }
            }
        }
        require<examples::usage_error>(!columns.empty(), "--measure '", file, "': none of its outputs says who a face is (expected build, melanin, hair_color or the like)");
        return columns;
    }

private:
    static matrix selection(const regressor& measure, const std::string& file, const matrix& readings) {
        const std::vector<std::size_t> columns = columns_of(measure, file);
        auto rows = matrix::from_shape({columns.size(), measure.output_size()});
        std::fill(rows.begin(), rows.end(), 0.0F);
        for (std::size_t i = 0; i < columns.size(); ++i) {
            double sum = 0, squares = 0;
            const double count = static_cast<double>(readings.shape()[0]);
            for (std::size_t n = 0; n < readings.shape()[0]; ++n) {
                sum += static_cast<double>(readings(n, columns[i])) / count;
                squares += static_cast<double>(readings(n, columns[i])) * static_cast<double>(readings(n, columns[i])) / count;
            }
            rows(i, columns[i]) = static_cast<float>(1 / std::sqrt(std::max(squares - sum * sum, 1e-12)));
        }
        return rows;
    }

    const regressor* measure_;
    affine select_;
};

/// The identity of a code's picture, as a map that can be preserved. It remembers the last picture: a gradient is asked for where the value was.
class identity_of_code {
public:
    identity_of_code(const identity_map& identity, const code_space& space) : identity_(&identity), space_(&space) {}
    std::size_t input_size() const { return space_->size(); }
    std::size_t output_size() const { return identity_->size(); }
    vector value(const moden::cpu_policy& cpu, const vector& e) const { return identity_->of(cpu, picture(cpu, e)); }
    matrix vjp(const moden::cpu_policy& cpu, const vector& e, const matrix& rows) const {
        return space_->picture->vjp(cpu, e, identity_->pull_back(cpu, picture(cpu, e), rows));
    }

private:
    const vector& picture(const moden::cpu_policy& cpu, const vector& e) const {
        if (!std::equal(e.begin(), e.end(), at_.begin(), at_.end())) {
            picture_ = space_->picture->value(cpu, e);
            at_.assign(e.begin(), e.end());
        }
        return picture_;
    }

    const identity_map* identity_;
    const code_space* space_;
    mutable std::vector<float> at_ = {};
    mutable vector picture_;
};

/// A code space with its regressors, in coordinates in which codes and attributes have standard deviation 1: e -> (q - mean) / spread, and e -> identity.
struct steered_space {
    using white_map = moden::composed_map<network, affine>;
    using standard_map = moden::composed_map<affine, white_map>;
    using closed_map = moden::composed_map<affine, moden::composed_map<affine, affine>>;

    const code_space& space;
    network phi;
    double loss = 0, ridge_loss = 0;  ///< of the network on the samples kept for its validation, and of the closed form on a tenth of its own
    std::size_t best_epoch = 0;
    std::unique_ptr<affine> closed = {};           ///< the closed form, code -> q
    std::unique_ptr<affine> standard_units = {};   ///< of angles and coefficients; the camera's scale and place become 0, so that edits leave them free
    std::unique_ptr<white_map> white = {};
    std::unique_ptr<moden::composed_map<affine, affine>> closed_white = {};
    std::unique_ptr<standard_map> standard = {};
    std::unique_ptr<closed_map> closed_standard = {};
    std::unique_ptr<identity_of_code> kept = {};
};

/// Landmark loss |R(q) - X|^2 of every row.
inline std::vector<double> landmark_losses(const moden::cpu_policy& cpu, const shape_model& model, const matrix& attributes, const tracks& landmarks) {
    const tracks seen = model.landmarks(cpu, attributes);
    const std::size_t size = model.output_size();
    std::vector<double> result(attributes.shape()[0], 0.0);
    for (std::size_t i = 0; i < seen.size(); ++i) {
        result[i / size] += std::pow(static_cast<double>(seen.data()[i]) - static_cast<double>(landmarks.data()[i]), 2);
    }
    return result;
}

inline double mean_of(const std::vector<double>& values) {
    double sum = 0;
    for (const double x : values) {
        sum += x;
    }
    return sum / static_cast<double>(values.size());
}

/// Learns the regressor of one space, on codes as they are: the directions along which codes vary most are those that show most in faces.
inline std::unique_ptr<steered_space> learn_steering(const moden::cpu_policy& cpu, const code_space& space, const landmark_model& model, const matrix& white,
                                                     const tracks& landmarks, const matrix& attributes, const identity_map& identity, const settings& wanted) {
    const matrix codes = space.from_white.values(cpu, white);
    examples::progress_bar bar("learning " + space.name);
    auto fit = moden::fit_attribute_regressor(cpu, model.model, codes, landmarks, attributes,
                                              {.max_iterations = wanted.epochs, .weight_decay = 3, .attribute_weight = 0.1, .seed = wanted.seed,
                                               .progress = [&](std::size_t i, double) { return bar.update(i, wanted.epochs); }});
    auto result = std::make_unique<steered_space>(steered_space{space, std::move(fit.network), fit.validation_history[fit.best_iteration - 1], 0, fit.best_iteration});
    // The closed form, learned from nine tenths and tried on the last one.
    const std::size_t count = codes.shape()[0], taught = count - count / 10;
    const auto line = moden::make_affine_map(cpu, moden::least_squares(cpu, some_rows(codes, 0, taught), some_rows(attributes, 0, taught), {.ridge = 0.01 * static_cast<double>(count)}));
    auto last = tracks::from_shape({count - taught, 2, landmarks.shape()[2]});
    std::copy(landmarks.data() + taught * model.model.output_size(), landmarks.data() + landmarks.size(), last.data());
    result->ridge_loss = mean_of(landmark_losses(cpu, model.model, line.values(cpu, some_rows(codes, taught, count - taught)), last));
    auto units = matrix::from_shape({attributes.shape()[1], attributes.shape()[1]});
    auto shift = vector::from_shape({attributes.shape()[1]});
    for (std::size_t i = 0; i < units.size(); ++i) {
        units.data()[i] = 0;
    }
    for (std::size_t i = 0; i < shift.size(); ++i) {
        // Where the head is in the picture goes with where it looks; to hold it would ask for faces that do not exist.
        units(i, i) = i >= 3 && i < 6 + model.basis() ? 1 / model.spread(i) : 0.0F;
        shift(i) = -model.mean(i) * units(i, i);
    }
    result->closed = std::make_unique<affine>(line);
    result->standard_units = std::make_unique<affine>(cpu, units, shift);
    result->white = std::make_unique<steered_space::white_map>(result->phi, space.from_white);
    result->closed_white = std::make_unique<moden::composed_map<affine, affine>>(*result->closed, space.from_white);
    result->standard = std::make_unique<steered_space::standard_map>(*result->standard_units, *result->white);
    result->closed_standard = std::make_unique<steered_space::closed_map>(*result->standard_units, *result->closed_white);
    result->kept = std::make_unique<identity_of_code>(identity, space);
    return result;
}

/// How a code is changed.
enum class edit_method { closed, linear, steps, gradient };
inline constexpr std::array<const char*, 4> method_names{"closed", "linear", "4 steps", "gradient"};

/// e with attributes nearer to q. Methods: one linear step by the closed form, one by the network's Jacobian, four of them, and minimising.
inline vector edited(const moden::cpu_policy& cpu, const steered_space& steered, const vector& e, const vector& q, edit_method method, const settings& wanted) {
    constexpr double damping = 0.15;
    const vector target = steered.standard_units->value(cpu, q);
    if (method == edit_method::closed) {
        // From what the network says of the face to the target, by the directions of the closed form.
        const vector said = steered.standard->value(cpu, e), own = steered.closed_standard->value(cpu, e);
        vector there = own;
        for (std::size_t i = 0; i < there.size(); ++i) {
            there(i) += target(i) - said(i);
        }
        return moden::linear_attribute_edit(cpu, *steered.closed_standard, e, there, {.damping = damping}).code;
    }
    if (method == edit_method::gradient) {
        return moden::gradient_attribute_edit(cpu, *steered.standard, e, target, *steered.kept,
                                              {.preservation = wanted.preservation, .code_preservation = damping * damping, .max_iterations = wanted.iterations, .tolerance = 1e-3}).code;
    }
    return moden::linear_attribute_edit(cpu, *steered.standard, e, target, {.steps = method == edit_method::steps ? std::size_t{4} : std::size_t{1}, .damping = damping}).code;
}

}  // namespace pose_faces
