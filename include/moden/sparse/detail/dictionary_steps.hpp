#pragma once

// Loop bodies of the localized dictionary, for host and device. U is S x P, V' is P x d (row p is direction p), C = J V,
// B = U' J, G = V' V, H = U' U, all row-major.

#include <cmath>
#include <cstddef>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>

namespace moden::detail {

template <class T>
MODEN_HOST_DEVICE inline T soft_threshold(T x, T threshold) {
    return x > threshold ? x - threshold : x < -threshold ? x + threshold : T(0);
}

/// U = soft(C, threshold), the solution for orthonormal directions.
template <class T>
struct threshold_into {
    const T* source;
    T threshold;
    T* target;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { target[i] = soft_threshold(source[i], threshold); }
};

/// A proximal step from y = U + momentum (U - U_previous), with its product y G taken from the products of both: U_previous becomes
/// the new U. step = 1 / largest eigenvalue of G, threshold = step alpha / 2.
template <class T>
struct proximal_step {
    const T* u;
    const T* u_gram;
    const T* correlation;
    T* previous;
    const T* previous_gram;
    T momentum, step, threshold;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        const T y = u[i] + momentum * (u[i] - previous[i]);
        const T y_gram = u_gram[i] + momentum * (u_gram[i] - previous_gram[i]);
        previous[i] = soft_threshold(y - step * (y_gram - correlation[i]), threshold);
    }
};

/// What an entry of U adds to -2 <C, U> + <U G, U> + alpha |U|_1.
template <class T>
struct sparse_objective_of {
    const T* u;
    const T* u_gram;
    const T* correlation;
    double sparsity;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double x = static_cast<double>(u[i]);
        return x * (static_cast<double>(u_gram[i]) - 2 * static_cast<double>(correlation[i])) + sparsity * (x < 0 ? -x : x);
    }
};

/// What an entry of G adds to <H, G> + beta sum_{i != j} G_ij^2.
template <class T>
struct gram_objective_of {
    const T* component_gram;
    const T* gram;
    std::size_t count;
    double coherence;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double g = static_cast<double>(gram[i]);
        return g * (static_cast<double>(component_gram[i]) + (i / count == i % count ? 0.0 : coherence * g));
    }
};

/// Squares of the entries of G that are off its diagonal.
template <class T>
struct off_diagonal_square {
    const T* gram;
    std::size_t count;
    MODEN_HOST_DEVICE double operator()(std::size_t i) const {
        const double g = static_cast<double>(gram[i]);
        return i / count == i % count ? 0.0 : g * g;
    }
};

/// M = H + 2 beta (G without its diagonal): half the slope of the objective in V' is M V' - B.
template <class T>
struct direction_curvature {
    const T* component_gram;
    const T* gram;
    std::size_t count;
    T coherence;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        result[i] = component_gram[i] + (i / count == i % count ? T(0) : T(2) * coherence * gram[i]);
    }
};

/// Sum of the magnitudes of a row, which bounds the curvature along it: diag(sum_q |H_pq|) - H is positive semidefinite.
template <class T>
struct absolute_row_sum {
    const T* matrix;
    std::size_t count;
    T* sums;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        T sum = T(0);
        for (std::size_t q = 0; q < count; ++q) {
            sum += std::fabs(matrix[p * count + q]);
        }
        sums[p] = sum;
    }
};

/// y = V' + momentum (V' - V'_previous).
template <class T>
struct extrapolate_to {
    const T* now;
    const T* before;
    T momentum;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = now[i] + momentum * (now[i] - before[i]); }
};

/// Row p of the result = L_p y_p - (M y - B)_p at length 1, L_p = scale (bound_p + offset): of all unit vectors the one with the
/// least value of the quadratic function that bounds the objective from above at y. `slope` holds M y.
template <class T>
struct sphere_step {
    const T* y;
    const T* slope;
    const T* projection;
    const T* bounds;
    T scale, offset;
    std::size_t size;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        const T curvature = scale * (bounds[p] + offset);
        double square = 0;
        for (std::size_t k = p * size; k < (p + 1) * size; ++k) {
            const T x = curvature * y[k] - (slope[k] - projection[k]);
            result[k] = x;
            square += static_cast<double>(x) * static_cast<double>(x);
        }
        const T factor = square > 0 ? static_cast<T>(1 / std::sqrt(square)) : T(0);
        for (std::size_t k = p * size; k < (p + 1) * size; ++k) {
            result[k] = square > 0 ? factor * result[k] : y[k];  // a component that is zero leaves its direction free
        }
    }
};

/// Brings rows to length 1 and says how long they were.
template <class T>
struct normalize_direction {
    T* directions;
    std::size_t size;
    T* lengths;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        const double length = std::sqrt(square_of_row(directions + p * size, size));
        for (std::size_t k = p * size; k < (p + 1) * size; ++k) {
            directions[k] = length > 0 ? static_cast<T>(static_cast<double>(directions[k]) / length) : directions[k];
        }
        lengths[p] = static_cast<T>(length);
    }
};

/// 2 (U G - C) + alpha sign(U).
template <class T>
struct component_gradient {
    const T* u;
    const T* u_gram;
    const T* correlation;
    T sparsity;
    T* gradient;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        const T sign = u[i] > T(0) ? T(1) : u[i] < T(0) ? T(-1) : T(0);
        gradient[i] = T(2) * (u_gram[i] - correlation[i]) + sparsity * sign;
    }
};

/// 2 (M V' - B) without its part along each direction. `gradient` holds M V'.
template <class T>
struct direction_gradient {
    const T* directions;
    const T* projection;
    std::size_t size;
    T* gradient;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        double along = 0;
        for (std::size_t k = p * size; k < (p + 1) * size; ++k) {
            gradient[k] = T(2) * (gradient[k] - projection[k]);
            along += static_cast<double>(gradient[k]) * static_cast<double>(directions[k]);
        }
        for (std::size_t k = p * size; k < (p + 1) * size; ++k) {
            gradient[k] -= static_cast<T>(along) * directions[k];
        }
    }
};

/// Of column p: its length, and how many of its entries are at most `threshold` in magnitude.
template <class T>
struct component_summary {
    const T* components;
    std::size_t rows;
    std::size_t count;
    double threshold;
    double* norms;
    double* zeros;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        double square = 0, small = 0;
        for (std::size_t s = 0; s < rows; ++s) {
            const double x = static_cast<double>(components[s * count + p]);
            square += x * x;
            small += x <= threshold && -x <= threshold ? 1 : 0;
        }
        norms[p] = std::sqrt(square);
        zeros[p] = small;
    }
};

/// Largest |G_pq| / sqrt(G_pp G_qq) over q != p, 0 beside directions of length 0.
template <class T>
struct largest_coherence {
    const T* gram;
    std::size_t count;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t p) const {
        double largest = 0;
        for (std::size_t q = 0; q < count; ++q) {
            const double squares = static_cast<double>(gram[p * count + p]) * static_cast<double>(gram[q * count + q]);
            const double x = static_cast<double>(gram[p * count + q]);
            const double cosine = p == q || !(squares > 0) ? 0 : (x < 0 ? -x : x) / std::sqrt(squares);
            largest = cosine > largest ? cosine : largest;
        }
        result[p] = largest;
    }
};

/// Columns kept[0], kept[1], ... of a matrix.
template <class T>
struct select_columns {
    const T* matrix;
    const std::size_t* kept;
    std::size_t columns;
    std::size_t count;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const { result[i * count + j] = matrix[i * columns + kept[j]]; }
};

/// Rows kept[0], kept[1], ... of a matrix.
template <class T>
struct select_rows {
    const T* matrix;
    const std::size_t* kept;
    std::size_t columns;
    T* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const { result[i * columns + j] = matrix[kept[i] * columns + j]; }
};

}  // namespace moden::detail
