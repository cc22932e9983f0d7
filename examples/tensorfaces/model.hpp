#pragma once

// The multilinear model of the pictures: factorising, synthesising, estimating. All calls of the library are here.
//
// 001 Eq. 3.10 with modes counted from 0:  T = S x_0 U_people x_1 U_views x_2 U_lights x_3 U_expressions x_4 U_pixels.
// Row p of U_people are the coordinates of person p, and so on: a picture is S contracted with one row per mode,
//   x = U_pixels (S x_0 p' x_1 v' x_2 l' x_3 e')                                            (as in 001 Eq. 3.11),
// and exchanging one of the rows exchanges one factor of the picture.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/moden.hpp>

#include "../common/progress_bar.hpp"
#include "ensemble.hpp"

namespace tensorfaces {

using matrix = moden::tensor<float, 2>;
using vector = moden::tensor<float, 1>;

/// Coordinates of one picture: person, view, light, expression.
using parameters = std::array<vector, 4>;

/// Levels of one picture of the ensemble: person, view, light, expression.
using levels = std::array<std::size_t, 4>;

struct face_model {
    moden::hosvd_result<image_tensor> tucker;
    moden::dynamic_tensor<float> core;  ///< S again, its order known at run time only: for loops over the modes
    moden::tensor<float, 5>
        bases;  ///< S x_1 U_views x_2 U_lights x_3 U_expressions: a basis of persons for every condition

    const matrix& factor(std::size_t mode) const { return tucker.factors[mode]; }
};

/// The factorisation of 001 Eq. 3.10 (Algorithm 1), with the pixel mode truncated (Eq. 3.8).
inline face_model factorise(const ensemble& e, const moden::extents& ranks) {
    examples::progress_bar bar("factorising");
    face_model model;
    model.tucker = moden::hosvd(e.training, {.ranks = ranks, .progress = [&](std::size_t step, std::size_t steps) {
                                                 return bar.update(step, steps, mode_names[step]);
                                             }});
    model.core = model.tucker.core;
    model.bases = moden::multi_mode_product(
        model.tucker.core, std::vector{model.factor(1), model.factor(2), model.factor(3)}, {.modes = {1, 2, 3}});
    return model;
}

inline vector row(const matrix& m, std::size_t index) {
    auto result = vector::from_shape({m.shape()[1]});
    std::copy_n(m.data() + index * m.shape()[1], result.size(), result.begin());
    return result;
}

inline vector mean_row(const matrix& m) {
    vector result(vector::shape_type{m.shape()[1]}, 0.0F);
    for (std::size_t i = 0; i < m.shape()[0]; ++i) {
        for (std::size_t j = 0; j < result.size(); ++j) {
            result(j) += m(i, j) / static_cast<float>(m.shape()[0]);
        }
    }
    return result;
}

inline parameters parameters_of(const face_model& model, const levels& at) {
    return {row(model.factor(0), at[0]), row(model.factor(1), at[1]), row(model.factor(2), at[2]),
            row(model.factor(3), at[3])};
}

/// The picture that belongs to given coordinates: x = U_pixels (S x_0 p' x_1 v' x_2 l' x_3 e').
inline vector synthesise(const face_model& model, const parameters& q) {
    const auto person = moden::mode_product(model.tucker.core, q[0], 0);  // a vector removes its mode,
    const auto view = moden::mode_product(person, q[1], 0);               // so that the next one comes first
    const auto light = moden::mode_product(view, q[2], 0);
    const auto code = moden::mode_product(light, q[3], 0);
    return moden::mode_product(code, model.factor(4), 0);
}

/// A person in all views, lights and expressions: views x lights x expressions x pixels.
inline moden::tensor<float, 4> all_conditions(const face_model& model, const vector& person) {
    return moden::mode_product(moden::mode_product(model.bases, person, 0), model.factor(4), 3);
}

/// The model with smaller ranks: the leading part of the core and the leading columns of the factors (001 Eq. 3.8).
inline moden::tucker_tensor<image_tensor> truncated(const moden::tucker_tensor<image_tensor>& tucker,
                                                    const moden::extents& ranks) {
    moden::tucker_tensor<image_tensor> result;
    std::vector<matrix> leading;  // ones on the diagonal: pick the first indices of every mode
    for (std::size_t n = 0; n < ranks.size(); ++n) {
        matrix pick(matrix::shape_type{ranks[n], tucker.factors[n].shape()[1]}, 0.0F);
        for (std::size_t i = 0; i < ranks[n]; ++i) {
            pick(i, i) = 1;
        }
        result.factors.push_back(moden::mode_product(tucker.factors[n], pick, 1));
        leading.push_back(std::move(pick));
    }
    result.core = moden::multi_mode_product(tucker.core, leading);
    return result;
}

/// Error of truncating one mode to its r leading singular vectors, |T - T x_n U_r U_r'| / |T|, from the difference.
inline double error_of_truncated_mode(const image_tensor& images, const matrix& factor, std::size_t rank,
                                      std::size_t mode) {
    auto leading = matrix::from_shape({factor.shape()[0], rank});
    for (std::size_t i = 0; i < factor.shape()[0]; ++i) {
        std::copy_n(factor.data() + i * factor.shape()[1], rank, leading.data() + i * rank);
    }
    const auto compressed = moden::multi_mode_product(images, std::vector{leading},
                                                      {.modes = {mode}, .matrices = moden::transposition::transposed});
    return moden::norm(images - moden::mode_product(compressed, leading, mode)) / moden::norm(images);
}

/// Sum of the squared singular values of a mode beyond the first `rank`: what it adds to the bound of 001 Eq. 3.9.
inline double discarded_energy(const face_model& model, std::size_t mode, std::size_t rank) {
    const auto& values = model.tucker.modes[mode].singular_values;
    double sum = 0;
    for (std::size_t i = values.size(); i > rank; --i) {
        sum += static_cast<double>(values[i - 1]) * static_cast<double>(values[i - 1]);
    }
    return sum;
}

/// S contracted with the coordinates of all modes but one: R_n x R_pixels, the pictures' dependence on mode n alone.
inline matrix basis_of_mode(const face_model& model, const parameters& q, std::size_t mode) {
    moden::dynamic_tensor<float> rest;
    for (std::size_t n = 4; n-- > 0;) {
        if (n != mode) {
            rest = moden::mode_product(rest.dimension() == 0 ? model.core : rest, q[n], n);
        }
    }
    return rest;
}

/// Coordinates q of one mode that explain the code y of a picture: min |y - B' q|^2 + ridge |q - mean|^2.
inline vector solve_for_mode(const matrix& basis, const vector& code, const vector& mean, double ridge) {
    auto system = matrix::from_shape({basis.shape()[1], basis.shape()[0]});
    auto right = matrix::from_shape({basis.shape()[1], 1});
    for (std::size_t i = 0; i < system.shape()[0]; ++i) {
        right(i, 0) = code(i);
        for (std::size_t j = 0; j < system.shape()[1]; ++j) {
            system(i, j) = basis(j, i);
            right(i, 0) -= system(i, j) * mean(j);
        }
    }
    const auto offset = moden::ridge_solve(system, right, {.ridge = ridge});
    vector result = mean;
    for (std::size_t j = 0; j < result.size(); ++j) {
        result(j) += offset(j, 0);
    }
    return result;
}

/// What is found out about a new picture.
struct estimate {
    parameters q;       ///< its coordinates
    levels recognised;  ///< nearest levels of the ensemble; [0] is the person who looks most alike
};

/// Index of the row nearest to a vector.
inline std::size_t nearest_row(const matrix& m, const vector& v) {
    std::size_t best = 0;
    double least = -1;
    for (std::size_t i = 0; i < m.shape()[0]; ++i) {
        double distance = 0;
        for (std::size_t j = 0; j < v.size(); ++j) {
            distance += std::pow(static_cast<double>(m(i, j)) - static_cast<double>(v(j)), 2);
        }
        if (least < 0 || distance < least) {
            least = distance;
            best = i;
        }
    }
    return best;
}

/// Coordinates of a picture that the model has never seen, from its pixels alone.
///
/// Alternating least squares as in 001 Eq. 3.12: the model is linear in the coordinates of one mode when those of the
/// others are fixed, and each is drawn towards the mean of its mode's rows, whose covariance is about 1 / I_n. View,
/// light and expression are then taken to be the nearest of the ensemble, and the person is solved for once more.
inline estimate estimate_parameters(const face_model& model, const float* pixels) {
    constexpr std::size_t sweeps = 20;
    constexpr double noise = 0.01;  // squared error expected per dimension of the code, relative to |y|^2
    auto image = vector::from_shape({model.factor(4).shape()[0]});
    std::copy_n(pixels, image.size(), image.begin());
    const vector code =
        moden::multi_mode_product(image, std::vector{model.factor(4)}, {.matrices = moden::transposition::transposed});
    const double scale = noise * std::pow(static_cast<double>(moden::norm(code)), 2) / static_cast<double>(code.size());

    estimate result;
    parameters mean;
    for (std::size_t n = 0; n < 4; ++n) {
        mean[n] = mean_row(model.factor(n));
    }
    result.q = mean;
    const auto solve = [&](std::size_t n) {
        const double ridge = scale * static_cast<double>(model.factor(n).shape()[0]);
        result.q[n] = solve_for_mode(basis_of_mode(model, result.q, n), code, mean[n], ridge);
    };
    for (std::size_t sweep = 0; sweep < sweeps; ++sweep) {
        for (const std::size_t n :
             {1, 2, 3, 0}) {  // the person last: a mean person in the right view beats the reverse
            solve(n);
        }
    }
    for (std::size_t n = 1; n < 4; ++n) {
        result.recognised[n] = nearest_row(model.factor(n), result.q[n]);
        result.q[n] = row(model.factor(n), result.recognised[n]);
    }
    solve(0);
    result.recognised[0] = nearest_row(model.factor(0), result.q[0]);
    return result;
}

/// The best that coordinates of the person mode can do for all pictures of a person at once: the limit of the model.
/// \param pictures  views x lights x expressions x pixels of that person
inline vector person_of_all_pictures(const face_model& model, const moden::tensor<float, 4>& pictures) {
    const auto codes = moden::multi_mode_product(pictures, std::vector{model.factor(4)},
                                                 {.modes = {3}, .matrices = moden::transposition::transposed});
    auto stacked = vector::from_shape({codes.size()});
    std::copy(codes.begin(), codes.end(), stacked.begin());
    const matrix basis = moden::unfold(model.bases, 0);  // one long picture of all conditions per coordinate
    const vector none(vector::shape_type{basis.shape()[0]}, 0.0F);
    return solve_for_mode(basis, stacked, none, 0);
}

/// |a - b| / |b| of two pictures.
inline double relative_difference(const float* a, const float* truth, std::size_t pixels) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < pixels; ++i) {
        difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(truth[i]), 2);
        norm += std::pow(static_cast<double>(truth[i]), 2);
    }
    return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace tensorfaces
