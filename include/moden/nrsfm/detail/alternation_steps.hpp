#pragma once

// Loop bodies of the alternating least squares of a factorization.

#include <array>
#include <cmath>
#include <cstddef>

#include <moden/core/macros.hpp>
#include <moden/nrsfm/detail/small_matrix.hpp>

namespace moden::detail {

/// Of point l: phi phi' with phi = (its p numbers of the shapes, 1).
struct outer_products_of_point {
    const double* shapes;
    std::size_t p, points;
    double* products;  ///< L x (p + 1)^2
    MODEN_HOST_DEVICE void operator()(std::size_t l) const {
        double* result = products + l * (p + 1) * (p + 1);
        for (std::size_t i = 0; i <= p; ++i) {
            for (std::size_t j = 0; j <= p; ++j) {
                result[i * (p + 1) + j] = (i < p ? shapes[i * points + l] : 1.0) * (j < p ? shapes[j * points + l] : 1.0);
            }
        }
    }
};

/// The Gram matrix of the shapes over what a frame shows, about their means there, from the sums of outer products.
struct centre_gram {
    std::size_t p;
    double* grams;  ///< N x (p + 1)^2
    double* means;  ///< N x p
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double* gram = grams + n * (p + 1) * (p + 1);
        const double seen = gram[p * (p + 1) + p];
        for (std::size_t i = 0; i < p; ++i) {
            means[n * p + i] = gram[i * (p + 1) + p] / seen;
        }
        for (std::size_t i = 0; i < p; ++i) {
            for (std::size_t j = 0; j < p; ++j) {
                gram[i * (p + 1) + j] -= seen * means[n * p + i] * means[n * p + j];
            }
        }
    }
};

/// What the normal equations of the directions need, for one pair of basis shapes (i, j) and a piece of the frames: the upper triangle of
/// sum alpha_i alpha_j Gamma_ij M'M, and for i = j also sum alpha_i M'(Y_i - M Gamma_0i) and sum |M|^2 / 2 alpha_i^2.
struct direction_sums {
    static constexpr std::size_t size = 10;
    const double* cameras;
    const double* coefficients;
    const double* moments;
    const double* grams;
    std::size_t stride, gram_step, count, frames, pieces;
    double* sums;  ///< pieces x K x K x 10, added to
    MODEN_HOST_DEVICE void operator()(std::size_t index) const {
        const std::size_t piece = index / (count * count), i = index / count % count, j = index % count, p = 3 + count;
        const std::size_t first = piece * frames / pieces, last = (piece + 1) * frames / pieces;
        double* sum = sums + index * size;
        for (std::size_t n = first; n < last; ++n) {
            const double* m = cameras + n * 6;
            const double* gamma = grams + n * gram_step;
            const double alpha = coefficients[n * count + i];
            const double weight = alpha * coefficients[n * count + j] * gamma[(3 + i) * stride + 3 + j];
            std::size_t place = 0;
            for (std::size_t a = 0; a < 3; ++a) {
                for (std::size_t b = a; b < 3; ++b) {
                    sum[place++] += weight * (m[a] * m[b] + m[3 + a] * m[3 + b]);
                }
            }
            if (i == j) {
                const double* shared = gamma + (3 + i) * stride;
                const double x = moments[n * 2 * p + 3 + i] - dot3(m, shared), y = moments[n * 2 * p + p + 3 + i] - dot3(m + 3, shared);
                for (std::size_t a = 0; a < 3; ++a) {
                    sum[6 + a] += alpha * (x * m[a] + y * m[3 + a]);
                }
                sum[9] += squared_scale(m) * alpha * alpha;
            }
        }
    }
};

/// Psi_n = M_n Z_n (2 x p): what the numbers of a point become in frame n. With means, the translation -Psi_n mean_n too, and Psi_n' Psi_n.
struct design_of_frame {
    const double* cameras;
    const double* coefficients;
    const double* directions;
    std::size_t count;
    const double* means;   ///< N x p; null: translations stay
    double* translations;
    double* design;        ///< 2N x p; null: not wanted
    double* products;      ///< N x p^2; null: not wanted
    MODEN_HOST_DEVICE double entry(std::size_t n, std::size_t a, std::size_t j) const {
        const double* m = cameras + n * 6 + 3 * a;
        return j < 3 ? m[j] : coefficients[n * count + j - 3] * dot3(m, directions + 3 * (j - 3));
    }
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const std::size_t p = 3 + count;
        for (std::size_t a = 0; a < 2; ++a) {
            double shift = 0;
            for (std::size_t j = 0; j < p; ++j) {
                const double value = entry(n, a, j);
                if (design != nullptr) {
                    design[(2 * n + a) * p + j] = value;
                }
                shift -= means != nullptr ? value * means[n * p + j] : 0.0;
            }
            if (means != nullptr) {
                translations[2 * n + a] = shift;
            }
        }
        if (products != nullptr) {
            const double* x = design + 2 * n * p;
            for (std::size_t i = 0; i < p; ++i) {
                for (std::size_t j = 0; j < p; ++j) {
                    products[(n * p + i) * p + j] = x[i] * x[j] + x[p + i] * x[p + j];
                }
            }
        }
    }
};

/// Coefficients in the unit of the image.
struct scaled_coefficients {
    const double* cameras;
    const double* coefficients;
    std::size_t count;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { result[i] = std::sqrt(squared_scale(cameras + i / count * 6)) * coefficients[i]; }
};

/// x_nl - t_n where observed, 0 elsewhere.
struct shift_observed {
    const double* rows;
    const double* mask;
    const double* translations;
    std::size_t points;
    double* result;
    MODEN_HOST_DEVICE void operator()(std::size_t r, std::size_t l) const {
        result[r * points + l] = mask[r / 2 * points + l] != 0 ? rows[r * points + l] - translations[r] : 0.0;
    }
};

/// The p numbers of point l.
struct solve_point {
    const double* gram;
    std::size_t gram_step;  ///< 0: all points share one matrix
    const double* penalties;
    const double* right;    ///< L x p
    std::size_t p, points;
    double* shapes;         ///< p x L
    double* scratch;        ///< L x (2 p^2 + p)
    MODEN_HOST_DEVICE void operator()(std::size_t l) const {
        double* matrix = scratch + l * (2 * p * p + p);
        double* work = matrix + p * p;
        double* x = work + p * p;
        for (std::size_t i = 0; i < p; ++i) {
            for (std::size_t j = 0; j < p; ++j) {
                matrix[i * p + j] = gram[l * gram_step + i * p + j] + (i == j ? penalties[i] : 0.0);
            }
            x[i] = right[l * p + i];
        }
        solve_semidefinite_in_place(matrix, p, x, work);
        for (std::size_t i = 0; i < p; ++i) {
            shapes[i * points + l] = x[i];
        }
    }
};

/// M <- M A.
struct multiply_camera {
    std::array<double, 9> matrix;
    double* cameras;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        for (std::size_t a = 0; a < 2; ++a) {
            double* row = cameras + n * 6 + 3 * a;
            double result[3] = {0, 0, 0};
            for (std::size_t i = 0; i < 3; ++i) {
                for (std::size_t j = 0; j < 3; ++j) {
                    result[j] += row[i] * matrix[3 * i + j];
                }
            }
            for (std::size_t j = 0; j < 3; ++j) {
                row[j] = result[j];
            }
        }
    }
};

/// s_l <- A s_l, the first three rows of the shapes.
struct multiply_point {
    std::array<double, 9> matrix;
    std::size_t points;
    double* shapes;
    MODEN_HOST_DEVICE void operator()(std::size_t l) const {
        const double s[3] = {shapes[l], shapes[points + l], shapes[2 * points + l]};
        for (std::size_t i = 0; i < 3; ++i) {
            shapes[i * points + l] = matrix[3 * i] * s[0] + matrix[3 * i + 1] * s[1] + matrix[3 * i + 2] * s[2];
        }
    }
};

/// The same of the first three numbers of every row.
struct multiply_mean {
    std::array<double, 9> matrix;
    std::size_t size;
    double* means;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        double* mean = means + n * size;
        const double s[3] = {mean[0], mean[1], mean[2]};
        for (std::size_t i = 0; i < 3; ++i) {
            mean[i] = matrix[3 * i] * s[0] + matrix[3 * i + 1] * s[1] + matrix[3 * i + 2] * s[2];
        }
    }
};

/// Takes the mean from row i.
struct centre_line {
    std::size_t points;
    double* shapes;
    double* means;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        double sum = 0;
        for (std::size_t l = 0; l < points; ++l) {
            sum += shapes[i * points + l];
        }
        means[i] = sum / static_cast<double>(points);
        for (std::size_t l = 0; l < points; ++l) {
            shapes[i * points + l] -= means[i];
        }
    }
};

/// t_n += Psi_n mean.
struct move_translation {
    const double* cameras;
    const double* coefficients;
    const double* directions;
    std::size_t count;
    const double* mean;
    double* translations;
    MODEN_HOST_DEVICE void operator()(std::size_t n) const {
        const design_of_frame psi{cameras, coefficients, directions, count, nullptr, nullptr, nullptr, nullptr};
        for (std::size_t a = 0; a < 2; ++a) {
            for (std::size_t j = 0; j < 3 + count; ++j) {
                translations[2 * n + a] += psi.entry(n, a, j) * mean[j];
            }
        }
    }
};

/// Adds one line of numbers to every row.
struct add_line {
    const double* line;
    std::size_t size;
    double* rows;
    MODEN_HOST_DEVICE void operator()(std::size_t n, std::size_t j) const { rows[n * size + j] += line[j]; }
};

}  // namespace moden::detail
