#pragma once

// Matrices of a few rows inside loop bodies: solving, eigenvectors, rotations. Double precision, row-major, no allocation.

#include <cmath>
#include <cstddef>
#include <limits>

#include <moden/core/macros.hpp>

namespace moden::detail {

MODEN_HOST_DEVICE inline double dot3(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

MODEN_HOST_DEVICE inline void cross3(const double* a, const double* b, double* result) {
    const double x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
    result[0] = x, result[1] = y, result[2] = z;
}

/// A <- L with A = L L' (n x n, lower triangle); false where A is not positive definite.
MODEN_HOST_DEVICE inline bool cholesky_in_place(double* a, std::size_t n) {
    for (std::size_t j = 0; j < n; ++j) {
        double pivot = a[j * n + j];
        for (std::size_t k = 0; k < j; ++k) {
            pivot -= a[j * n + k] * a[j * n + k];
        }
        if (!(pivot > 1e-14 * a[j * n + j]) || !(pivot > 0)) {
            return false;
        }
        const double root = std::sqrt(pivot);
        a[j * n + j] = root;
        for (std::size_t i = j + 1; i < n; ++i) {
            double sum = a[i * n + j];
            for (std::size_t k = 0; k < j; ++k) {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = sum / root;
        }
    }
    return true;
}

/// b <- inv(L L') b.
MODEN_HOST_DEVICE inline void cholesky_substitute(const double* l, std::size_t n, double* b) {
    for (std::size_t i = 0; i < n; ++i) {
        double sum = b[i];
        for (std::size_t k = 0; k < i; ++k) {
            sum -= l[i * n + k] * b[k];
        }
        b[i] = sum / l[i * n + i];
    }
    for (std::size_t i = n; i-- > 0;) {
        double sum = b[i];
        for (std::size_t k = i + 1; k < n; ++k) {
            sum -= l[k * n + i] * b[k];
        }
        b[i] = sum / l[i * n + i];
    }
}

/// Solves A x = b for a positive semidefinite A (destroyed); where A is singular to rounding, its diagonal is raised a little, which takes
/// a short solution. `work` holds n * n numbers.
MODEN_HOST_DEVICE inline void solve_semidefinite_in_place(double* a, std::size_t n, double* b, double* work) {
    double trace = 0;
    for (std::size_t i = 0; i < n; ++i) {
        trace += a[i * n + i];
    }
    double shift = 0;
    for (int attempt = 0; attempt < 16; ++attempt) {
        for (std::size_t i = 0; i < n * n; ++i) {
            work[i] = a[i];
        }
        for (std::size_t i = 0; i < n; ++i) {
            work[i * n + i] += shift;
        }
        if (cholesky_in_place(work, n)) {
            cholesky_substitute(work, n, b);
            return;
        }
        shift = shift > 0 ? 10 * shift : 1e-14 * trace;
    }
    for (std::size_t i = 0; i < n; ++i) {  // a matrix of zeros
        b[i] = 0;
    }
}

/// Eigenvalues in descending order and eigenvectors (columns) of a symmetric N x N matrix, which is destroyed, by cyclic Jacobi rotations:
/// accurate to eps |A|. Source: Golub & Van Loan 2013, Sec. 8.5.
template <int N>
MODEN_HOST_DEVICE void jacobi_eigh(double* a, double* values, double* vectors) {
    for (int i = 0; i < N * N; ++i) {
        vectors[i] = i % (N + 1) == 0 ? 1.0 : 0.0;
    }
    for (int sweep = 0; sweep < 40; ++sweep) {
        double off = 0, size = 0;
        for (int i = 0; i < N; ++i) {
            for (int j = 0; j < N; ++j) {
                (i == j ? size : off) += a[i * N + j] * a[i * N + j];
            }
        }
        if (off <= 1e-34 * size || off == 0) {
            break;
        }
        for (int p = 0; p < N; ++p) {
            for (int q = p + 1; q < N; ++q) {
                const double apq = a[p * N + q];
                if (apq == 0) {
                    continue;
                }
                const double theta = (a[q * N + q] - a[p * N + p]) / (2 * apq);
                const double t = (theta >= 0 ? 1.0 : -1.0) / (std::fabs(theta) + std::sqrt(theta * theta + 1));
                const double c = 1 / std::sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < N; ++k) {
                    const double akp = a[k * N + p], akq = a[k * N + q];
                    a[k * N + p] = c * akp - s * akq;
                    a[k * N + q] = s * akp + c * akq;
                }
                for (int k = 0; k < N; ++k) {
                    const double apk = a[p * N + k], aqk = a[q * N + k];
                    a[p * N + k] = c * apk - s * aqk;
                    a[q * N + k] = s * apk + c * aqk;
                }
                for (int k = 0; k < N; ++k) {
                    const double vkp = vectors[k * N + p], vkq = vectors[k * N + q];
                    vectors[k * N + p] = c * vkp - s * vkq;
                    vectors[k * N + q] = s * vkp + c * vkq;
                }
            }
        }
    }
    for (int i = 0; i < N; ++i) {
        values[i] = a[i * N + i];
    }
    for (int i = 0; i < N; ++i) {
        int largest = i;
        for (int j = i + 1; j < N; ++j) {
            largest = values[j] > values[largest] ? j : largest;
        }
        if (largest != i) {
            const double value = values[i];
            values[i] = values[largest], values[largest] = value;
            for (int k = 0; k < N; ++k) {
                const double entry = vectors[k * N + i];
                vectors[k * N + i] = vectors[k * N + largest], vectors[k * N + largest] = entry;
            }
        }
    }
}

/// A unit vector orthogonal to the unit vector v: the axis that v has least of (the first of equals), made orthogonal.
MODEN_HOST_DEVICE inline void orthogonal_to(const double* v, double* result) {
    int axis = 0;
    for (int i = 1; i < 3; ++i) {
        axis = std::fabs(v[i]) < std::fabs(v[axis]) ? i : axis;
    }
    double square = 0;
    for (int i = 0; i < 3; ++i) {
        result[i] = (i == axis ? 1.0 : 0.0) - v[axis] * v[i];
        square += result[i] * result[i];
    }
    for (int i = 0; i < 3; ++i) {
        result[i] /= std::sqrt(square);
    }
}

/// The 2 x 3 matrix with orthonormal rows nearest to M, and the s for which s times it is nearest: the mean of M's singular values.
/// M of rank 1 or 0 is completed by orthogonal_to.
MODEN_HOST_DEVICE inline double nearest_orthonormal_rows(const double* m, double* rows) {
    const double a = dot3(m, m), b = dot3(m, m + 3), c = dot3(m + 3, m + 3);
    double normal[3];
    cross3(m, m + 3, normal);
    const double determinant = std::sqrt(dot3(normal, normal));  // product of the singular values
    const double sum = std::sqrt(a + c + 2 * determinant);       // sum of the singular values
    if (determinant > 1e-14 * (a + c)) {
        // (M M')^(-1/2) M; the square root of a 2 x 2 matrix G is (G + sqrt(det G) I) / (s_1 + s_2).
        const double p = (c + determinant) / (sum * determinant), q = -b / (sum * determinant), r = (a + determinant) / (sum * determinant);
        for (int i = 0; i < 3; ++i) {
            const double x = m[i], y = m[3 + i];
            rows[i] = p * x + q * y;
            rows[3 + i] = q * x + r * y;
        }
        return 0.5 * sum;
    }
    const double* longer = a >= c ? m : m + 3;
    double* first = a >= c ? rows : rows + 3;
    double* second = a >= c ? rows + 3 : rows;
    const double length = std::sqrt(a >= c ? a : c);
    for (int i = 0; i < 3; ++i) {
        first[i] = length > 0 ? longer[i] / length : (i == 0 ? 1.0 : 0.0);
    }
    orthogonal_to(first, second);
    return 0.5 * sum;
}

/// Mean of the squares of a camera's two scales, |M|^2 / 2.
MODEN_HOST_DEVICE inline double squared_scale(const double* m) { return 0.5 * (dot3(m, m) + dot3(m + 3, m + 3)); }

/// R = exp([w]x), Rodrigues' formula.
MODEN_HOST_DEVICE inline void rotation_of_vector(const double* w, double* r) {
    const double angle = std::sqrt(dot3(w, w));
    const double a = angle < 1e-8 ? 1 - angle * angle / 6 : std::sin(angle) / angle;
    const double half = std::sin(0.5 * angle);
    const double b = angle < 1e-8 ? 0.5 : 2 * half * half / (angle * angle);
    const double x = w[0], y = w[1], z = w[2];
    r[0] = 1 - b * (y * y + z * z), r[1] = b * x * y - a * z, r[2] = b * x * z + a * y;
    r[3] = b * x * y + a * z, r[4] = 1 - b * (x * x + z * z), r[5] = b * y * z - a * x;
    r[6] = b * x * z - a * y, r[7] = b * y * z + a * x, r[8] = 1 - b * (x * x + y * y);
}

/// The largest trace(R A) over rotations R, and R, by the largest eigenvector of Horn's 4 x 4 matrix. Source: Horn 1987.
MODEN_HOST_DEVICE inline double best_rotation(const double* a, double* r) {
    // A_ij = sum x_i y_j with y ~ R x, so that trace(R A) = sum y' R x.
    double n[16] = {a[0] + a[4] + a[8], a[5] - a[7],        a[6] - a[2],         a[1] - a[3],
                    a[5] - a[7],        a[0] - a[4] - a[8], a[1] + a[3],         a[6] + a[2],
                    a[6] - a[2],        a[1] + a[3],        a[4] - a[0] - a[8],  a[5] + a[7],
                    a[1] - a[3],        a[6] + a[2],        a[5] + a[7],         a[8] - a[0] - a[4]};
    double values[4], vectors[16];
    jacobi_eigh<4>(n, values, vectors);
    const double w = vectors[0], x = vectors[4], y = vectors[8], z = vectors[12];
    r[0] = w * w + x * x - y * y - z * z, r[1] = 2 * (x * y - w * z), r[2] = 2 * (x * z + w * y);
    r[3] = 2 * (x * y + w * z), r[4] = w * w - x * x + y * y - z * z, r[5] = 2 * (y * z - w * x);
    r[6] = 2 * (x * z - w * y), r[7] = 2 * (y * z + w * x), r[8] = w * w - x * x - y * y + z * z;
    return values[0];
}

}  // namespace moden::detail
