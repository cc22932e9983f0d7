#pragma once

// What edits did, as numbers.

#include <cstdarg>
#include <cstdio>

#include "steering.hpp"

namespace pose_faces {

inline std::string text_of(const char* format, ...) __attribute__((format(printf, 1, 2)));
inline std::string text_of(const char* format, ...) {
    char text[512];
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return text;
}

/// What a factor is asked to be for face n: poses that alternate between two sides, smiles for those who do not smile and the other way round.
inline double asked_value(const face_numbers& numbers, const matrix& readings, std::size_t n, std::size_t which) {
    constexpr double poses[] = {0.35, 0.15, 0.12};
    if (which < 3) {
        return n % 2 == 0 ? poses[which] : -poses[which];
    }
    return numbers.smile(readings, n) < 0.3 ? 0.8 : 0.0;
}

/// The q that asks for it.
inline vector asked_attributes(const landmark_model& model, const face_numbers& numbers, const matrix& readings, std::size_t n, std::size_t which, const vector& q) {
    const double value = asked_value(numbers, readings, n, which);
    return model.asked(q, which, which < 3 ? value : value - numbers.smile(readings, n));
}

/// Root mean square of the differences of two rows.
inline double difference_of_rows(const matrix& a, const matrix& b, std::size_t n) {
    double sum = 0;
    for (std::size_t i = 0; i < a.shape()[1]; ++i) {
        sum += std::pow(static_cast<double>(a(n, i)) - static_cast<double>(b(n, i)), 2);
    }
    return std::sqrt(sum / static_cast<double>(a.shape()[1]));
}

/// What the readings say of edits in w: asked against measured, and what else changed.
inline std::string table_of_edits(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const face_numbers& numbers, const landmark_model& model,
                                  const identity_map& identity, const steered_space& steered, const matrix& codes, const settings& wanted) {
    const std::size_t count = codes.shape()[0];
    const matrix before = readings_of(cpu, net, measure, steered.space, codes), who = identity.of(cpu, before);
    const matrix q = steered.phi.values(cpu, steered.space.from_white.values(cpu, codes));
    std::string csv = "factor,method,asked_change,measured_share,error,yaw_leak,pitch_leak,roll_leak,smile_leak,identity,distance\n";
    std::printf("\nEdits of %zu faces in %s, measured by the regressor of pictures. Asked: root mean square change. Share: of the asked change that was measured. Error: root mean\n"
                "square of measured against asked value. Leaks: root mean square change of the other factors (degrees; smile in per cent of full happiness). Identity: root\n"
                "mean square change in units of its spread over faces. Length of the change in standard deviations of the code.\n\n"
                "factor  method      asked   share   error    yaw  pitch   roll  smile  identity  length\n", count, steered.space.name.c_str());
    for (std::size_t which = 0; which < 4; ++which) {
        for (const edit_method method : {edit_method::closed, edit_method::linear, edit_method::steps, edit_method::gradient}) {
            matrix moved = codes;
            double length = 0;
            for (std::size_t n = 0; n < count; ++n) {
                const vector e = edited(cpu, steered, row_of(codes, n), asked_attributes(model, numbers, before, n, which, row_of(q, n)), method, wanted);
                std::copy(e.begin(), e.end(), moved.data() + n * e.size());
                length += difference_of_rows(moved, codes, n) * std::sqrt(static_cast<double>(e.size())) / static_cast<double>(count);
            }
            const matrix after = readings_of(cpu, net, measure, steered.space, moved), still = identity.of(cpu, after);
            double asked = 0, along = 0, error = 0, changed = 0, leaks[4] = {};
            for (std::size_t n = 0; n < count; ++n) {
                const double value = asked_value(numbers, before, n, which), wish = value - numbers.factor(before, n, which);
                asked += wish * wish;
                along += wish * (numbers.factor(after, n, which) - numbers.factor(before, n, which));
                error += std::pow(numbers.factor(after, n, which) - value, 2);
                changed += std::pow(difference_of_rows(still, who, n), 2);
                for (std::size_t f = 0; f < 4; ++f) {
                    leaks[f] += std::pow(numbers.factor(after, n, f) - numbers.factor(before, n, f), 2);
                }
            }
            const auto rms = [&](double sum, std::size_t f) { return std::sqrt(sum / static_cast<double>(count)) * (f < 3 ? degree : 100); };
            std::printf("%-7s %-9s %7.2f %7.3f %7.2f ", method == edit_method::closed ? factor_names[which] : "", method_names[static_cast<std::size_t>(method)], rms(asked, which),
                        along / asked, rms(error, which));
            csv += text_of("%s,%s,%.4f,%.4f,%.4f", factor_names[which], method_names[static_cast<std::size_t>(method)], rms(asked, which), along / asked, rms(error, which));
            for (std::size_t f = 0; f < 4; ++f) {
                if (f == which) {
                    std::printf("     - ");
                    csv += ",";
                } else {
                    std::printf("%6.2f ", rms(leaks[f], f));
                    csv += text_of(",%.4f", rms(leaks[f], f));
                }
            }
            std::printf("   %6.3f  %6.2f\n", std::sqrt(changed / static_cast<double>(count)), length);
            csv += text_of(",%.4f,%.4f\n", std::sqrt(changed / static_cast<double>(count)), length);
        }
    }
    return csv;
}

/// q of a face with the pose and the shape of another.
inline vector transferred(const moden::cpu_policy& cpu, const landmark_model& model, const vector& source, const vector& target) {
    std::vector<std::size_t> components = moden::attribute_indices(model.basis(), moden::shape_attribute::rotation);
    const auto more = moden::attribute_indices(model.basis(), moden::shape_attribute::deformation);
    components.insert(components.end(), more.begin(), more.end());
    return moden::transferred_attributes(cpu, source, target, components);
}

/// Paper III Table 1: losses of regressors and edits, per space.
inline std::string table_of_spaces(const moden::cpu_policy& cpu, const generator& net, const regressor& measure, const face_numbers& numbers, const landmark_model& model,
                                   const identity_map& identity, const std::vector<const steered_space*>& all, const std::vector<matrix>& fresh, std::size_t edits,
                                   const settings& wanted) {
    std::string csv = "space,method,landmark_loss,landmark_loss_edited,attribute_loss,target_loss,identity_loss,shape_error,shape_error_edited\n";
    std::printf("\nRegressors on %zu fresh faces of each space, and %zu transfers of another face's pose and shape (Paper III Tab. 1, Eqs. 16-18; landmarks in units of the picture's side).\n"
                "L_L: |R(phi(w)) - landmarks of G(w)|^2, before and after; L_phi: |phi(w) - q|^2 after; L_R: |R(q) - landmarks of G(w)|^2 after; L_ID: mean squared change of the\n"
                "identity in units of its spread; 3D: error of the regressor's shape against the head with the factors that are read, one similarity for all, in %%.\n\n"
                "space  method       L_L  L_L edited    L_phi      L_R     L_ID      3D  3D edited\n", fresh[0].shape()[0], edits);
    for (std::size_t s = 0; s < all.size(); ++s) {
        const steered_space& steered = *all[s];
        const matrix before = readings_of(cpu, net, measure, steered.space, fresh[s]), who = identity.of(cpu, before);
        const auto phi_of = [&](const matrix& codes) { return steered.phi.values(cpu, steered.space.from_white.values(cpu, codes)); };
        const matrix q = phi_of(fresh[s]);
        const double loss = mean_of(landmark_losses(cpu, model.model, q, numbers.landmarks(before)));
        const auto error_in_3d = [&](const matrix& attributes, const matrix& readings) {
            const auto heads = read_faces(measure, readings);
            return heads.empty() || model.model.points() != faces::landmark_count ? std::nan("") : errors_of(cpu, model.model, attributes, truth_of(heads)).sequence;
        };
        const double shape_error = error_in_3d(q, before);
        for (const edit_method method : {edit_method::closed, edit_method::linear, edit_method::gradient}) {
            matrix moved = some_rows(fresh[s], 0, edits), wished = some_rows(q, 0, edits);
            for (std::size_t n = 0; n < edits; ++n) {
                const vector target = transferred(cpu, model, row_of(q, n), row_of(q, (n + 1) % q.shape()[0]));
                std::copy(target.begin(), target.end(), wished.data() + n * target.size());
                const vector e = edited(cpu, steered, row_of(fresh[s], n), target, method, wanted);
                std::copy(e.begin(), e.end(), moved.data() + n * e.size());
            }
            const matrix after = readings_of(cpu, net, measure, steered.space, moved), still = identity.of(cpu, after), reached = phi_of(moved);
            for (std::size_t n = 0; n < edits; ++n) {  // what is free is as it has become
                for (const auto part : {moden::shape_attribute::calibration, moden::shape_attribute::translation}) {
                    for (const std::size_t i : moden::attribute_indices(model.basis(), part)) {
                        wished(n, i) = reached(n, i);
                    }
                }
            }
            const double loss_after = mean_of(landmark_losses(cpu, model.model, reached, numbers.landmarks(after)));
            const double target_loss = mean_of(landmark_losses(cpu, model.model, wished, numbers.landmarks(after)));
            double attribute_loss = 0, identity_loss = 0;
            for (std::size_t n = 0; n < edits; ++n) {
                attribute_loss += std::pow(difference_of_rows(reached, wished, n), 2) * static_cast<double>(q.shape()[1]) / static_cast<double>(edits);
                identity_loss += std::pow(difference_of_rows(still, who, n), 2) / static_cast<double>(edits);
            }
            const double shape_error_after = error_in_3d(reached, after);
            std::printf("%-6s %-9s %7.4f %11.4f %8.4f %8.4f %8.3f %7.2f %10.2f\n", method == edit_method::closed ? steered.space.name.c_str() : "",
                        method_names[static_cast<std::size_t>(method)], loss, loss_after, attribute_loss, target_loss, identity_loss, shape_error, shape_error_after);
            csv += text_of("%s,%s,%.6f,%.6f,%.6f,%.6f,%.6f,%.4f,%.4f\n", steered.space.name.c_str(), method_names[static_cast<std::size_t>(method)], loss, loss_after, attribute_loss,
                           target_loss, identity_loss, shape_error, shape_error_after);
        }
    }
    return csv;
}

}  // namespace pose_faces
