#pragma once

// The pose of a face as a rotation of its features: each third of a feature vector is a coordinate.

#include <cstddef>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Gradients of a function of rotated features.
template <class Matrix>
struct feature_rotation_gradient {
    Matrix features;   ///< k x n
    Matrix rotations;  ///< 9 x n
};

namespace detail {

/// Y(a c, j) = sum_b R(a b, j) F(b c, j), or with R' instead of R.
template <class T>
struct rotate_feature {
    const T* features;
    const T* rotations;
    std::size_t third;
    std::size_t samples;
    bool by_transposed;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t j) const {
        const std::size_t a = row / third, c = row % third;
        T sum = T(0);
        for (std::size_t b = 0; b < 3; ++b) {
            sum += rotations[(by_transposed ? 3 * b + a : 3 * a + b) * samples + j] * features[(b * third + c) * samples + j];
        }
        result[row * samples + j] = sum;
    }
};

/// dR(a b, j) = sum_c G(a c, j) F(b c, j).
template <class T>
struct rotation_slope {
    const T* features;
    const T* cotangents;
    std::size_t third;
    std::size_t samples;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t entry, std::size_t j) const {
        const T* const g = cotangents + entry / 3 * third * samples + j;
        const T* const f = features + entry % 3 * third * samples + j;
        double sum = 0;
        for (std::size_t c = 0; c < third; ++c) {
            sum += static_cast<double>(g[c * samples]) * static_cast<double>(f[c * samples]);
        }
        result[entry * samples + j] = static_cast<T>(sum);
    }
};

template <class Policy, class Features, class Rotations, class Function>
auto with_features(const Policy& policy, const Features& features, const Rotations& rotations, const char* name, Function function) {
    static_assert(std::is_same_v<value_type_of<Features>, value_type_of<Rotations>>, "moden: features and rotations hold different types");
    const auto feature_argument = evaluate(policy, features);
    const auto rotation_argument = evaluate(policy, rotations);
    const auto f = as_matrix(feature_argument.view(), name, "the features");
    const auto r = as_matrix(rotation_argument.view(), name, "the rotations");
    require<shape_error>(f.rows % 3 == 0, name, ": features of ", f.rows, " rows (expected a multiple of 3)");
    require<shape_error>(r.rows == 9 && r.columns == f.columns, name, ": rotations of ", r.rows, " x ", r.columns, " (expected 9 x ", f.columns, ")");
    return function(f, r);
}

}  // namespace detail

/// Rotates the features of every sample: a column of k numbers is a 3 x k/3 matrix F_j, row by row, and becomes R_j F_j. With the columns of
/// Z_exp kr Z_id as features this is how 002 gives a pose to a face.
///
/// \param policy    where to compute
/// \param features  k x n, k a multiple of 3: samples are columns
/// \param rotations 9 x n, R_j row by row; any 3 x 3 matrices, orthonormal or not
/// \return          k x n
/// \throws shape_error for other shapes
///
/// Cost: 6 k n flops.
/// Source: 002 Sec. 3.4.
/// \snippet tests/loss/feature_rotation.cpp rotate_features
template <execution_policy Policy, any_tensor Features, any_tensor Rotations>
auto rotate_features(const Policy& policy, const Features& features, const Rotations& rotations) {
    using T = value_type_of<Features>;
    return detail::with_features(policy, features, rotations, "rotate_features", [&](const auto& f, const auto& r) {
        auto result = policy.template make_tensor<T, 2>({f.rows, f.columns});
        policy.transform_grid(f.rows, f.columns, detail::rotate_feature<T>{f.data, r.data, f.rows / 3, f.columns, false, result.data()});
        return result;
    });
}

template <any_tensor Features, any_tensor Rotations>
auto rotate_features(const Features& features, const Rotations& rotations) {
    return rotate_features(cpu_policy{}, features, rotations);
}

/// What a gradient by rotated features, G = dE/dY, is by features and rotations: dE/dF_j = R_j' G_j and dE/dR_j = G_j F_j'.
///
/// \param policy     where to compute
/// \param features   k x n
/// \param rotations  9 x n
/// \param cotangents G, k x n
/// \return           gradients by features (k x n) and by rotations (9 x n)
/// \throws shape_error for other shapes
///
/// Cost: 12 k n flops.
/// Source: 002 Sec. 3.4.
/// \snippet tests/loss/feature_rotation.cpp rotate_features
template <execution_policy Policy, any_tensor Features, any_tensor Rotations, any_tensor Cotangents>
auto rotate_features_gradient(const Policy& policy, const Features& features, const Rotations& rotations, const Cotangents& cotangents) {
    using T = value_type_of<Features>;
    static_assert(std::is_same_v<T, value_type_of<Cotangents>>, "moden: features and cotangents hold different types");
    const auto argument = detail::evaluate(policy, cotangents);
    return detail::with_features(policy, features, rotations, "rotate_features_gradient", [&](const auto& f, const auto& r) {
        const auto g = detail::as_matrix(argument.view(), "rotate_features_gradient", "the cotangents");
        detail::require<shape_error>(g.rows == f.rows && g.columns == f.columns, "rotate_features_gradient: cotangents of ", g.rows, " x ", g.columns,
                                     " (expected ", f.rows, " x ", f.columns, ")");
        feature_rotation_gradient<policy_tensor<Policy, T, 2>> result{policy.template make_tensor<T, 2>({f.rows, f.columns}),
                                                                     policy.template make_tensor<T, 2>({9, f.columns})};
        policy.transform_grid(f.rows, f.columns, detail::rotate_feature<T>{g.data, r.data, f.rows / 3, f.columns, true, result.features.data()});
        policy.transform_grid(9, f.columns, detail::rotation_slope<T>{f.data, g.data, f.rows / 3, f.columns, result.rotations.data()});
        return result;
    });
}

template <any_tensor Features, any_tensor Rotations, any_tensor Cotangents>
auto rotate_features_gradient(const Features& features, const Rotations& rotations, const Cotangents& cotangents) {
    return rotate_features_gradient(cpu_policy{}, features, rotations, cotangents);
}

}  // namespace moden
