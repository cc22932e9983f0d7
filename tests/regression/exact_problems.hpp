#pragma once

// Regressions whose solutions are known: an independent solver in long double, and problems made of integers, as ill-conditioned as the
// classic ones of NIST's Statistical Reference Datasets, whose least-squares solutions are exact.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "../policy/policies.hpp"
#include "../policy/reference.hpp"

namespace regression_test {

using moden_test::array;

/// Coefficients (d x t), intercept (1 x t), squares of residuals.
struct reference_regression {
    array coefficients, intercept;
    std::vector<double> residual_squares, total_squares;
};

/// Means subtracted, normal equations, Gaussian elimination with pivoting, in long double: eleven bits more than double.
inline reference_regression reference_fit(const array& x, const array& y, double ridge = 0, bool fitted = true) {
    const std::size_t n = x.rows(), d = x.columns(), t = y.columns(), w = d + t;
    std::vector<long double> mean(w, 0), system(d * w, 0);
    const auto entry = [&](std::size_t i, std::size_t j) -> long double { return (j < d ? x(i, j) : y(i, j - d)) - mean[j]; };
    if (fitted) {
        for (std::size_t j = 0; j < w; ++j) {
            long double sum = 0;
            for (std::size_t i = 0; i < n; ++i) {
                sum += entry(i, j);
            }
            mean[j] = sum / static_cast<long double>(n);
        }
    }
    for (std::size_t a = 0; a < d; ++a) {
        for (std::size_t b = 0; b < w; ++b) {
            for (std::size_t i = 0; i < n; ++i) {
                system[a * w + b] += entry(i, a) * entry(i, b);
            }
        }
        system[a * w + a] += ridge;
    }
    for (std::size_t a = 0; a < d; ++a) {
        std::size_t pivot = a;
        for (std::size_t b = a; b < d; ++b) {
            pivot = std::abs(system[b * w + a]) > std::abs(system[pivot * w + a]) ? b : pivot;
        }
        std::swap_ranges(&system[a * w], &system[a * w] + w, &system[pivot * w]);
        for (std::size_t b = 0; b < d; ++b) {
            const long double factor = b == a ? 0 : system[b * w + a] / system[a * w + a];
            for (std::size_t j = a; j < w && b != a; ++j) {
                system[b * w + j] -= factor * system[a * w + j];
            }
        }
    }
    reference_regression result{array({d, t}), array({1, t}), std::vector<double>(t), std::vector<double>(t)};
    for (std::size_t k = 0; k < t; ++k) {
        long double intercept = mean[d + k], residual = 0, total = 0;
        for (std::size_t a = 0; a < d; ++a) {
            const long double b = system[a * w + d + k] / system[a * w + a];
            result.coefficients(a, k) = static_cast<double>(b);
            intercept -= b * mean[a];
        }
        for (std::size_t i = 0; i < n; ++i) {
            long double left = entry(i, d + k);
            total += left * left;
            for (std::size_t a = 0; a < d; ++a) {
                left -= entry(i, a) * (system[a * w + d + k] / system[a * w + a]);
            }
            residual += left * left;
        }
        result.intercept(0, k) = static_cast<double>(intercept);
        result.residual_squares[k] = static_cast<double>(residual);
        result.total_squares[k] = static_cast<double>(total);
    }
    return result;
}

/// Samples, one target, and what the coefficients are.
struct exact_problem {
    array x, y;
    std::vector<double> coefficients;
    double intercept = 0;
    double residual_squares = 0;
};

/// Every sample twice, with e added to the target once and subtracted once: the solution stays, residuals are known.
inline exact_problem with_residuals(const exact_problem& plain, double e) {
    exact_problem result = plain;
    const std::size_t n = plain.x.rows(), d = plain.x.columns();
    result.x = array({2 * n, d});
    result.y = array({2 * n, 1});
    for (std::size_t i = 0; i < 2 * n; ++i) {
        for (std::size_t j = 0; j < d; ++j) {
            result.x(i, j) = plain.x(i / 2, j);
        }
        const double part = e * static_cast<double>(1 + i / 2 % 3) * (i % 2 == 0 ? 1 : -1);
        result.y(i, 0) = plain.y(i / 2, 0) + part;
        result.residual_squares += part * part;
    }
    return result;
}

/// y = sum of c_k x^k at x = first, first + 1, ... over `denominator`, a power of 2. Every power and every target is an integer below 2^53
/// over a power of the denominator, so that nothing is rounded; that is checked.
inline exact_problem polynomial(const std::vector<int>& c, int first, std::size_t count, int denominator) {
    const std::size_t degree = c.size() - 1;
    exact_problem result{array({count, degree}), array({count, 1}), {}, static_cast<double>(c[0]), 0};
    const __int128 limit = static_cast<__int128>(1) << 53;
    for (std::size_t i = 0; i < count; ++i) {
        const __int128 m = first + static_cast<int>(i);
        __int128 power = 1, sum = 0, scale = 1, top = 1;
        for (std::size_t k = 0; k < degree; ++k) {
            top *= denominator;
        }
        for (std::size_t k = 0; k <= degree; ++k) {
            sum += c[k] * power * (top / scale);
            if (k > 0) {
                REQUIRE((power < limit && power > -limit));
                result.x(i, k - 1) = static_cast<double>(power) / static_cast<double>(scale);
            }
            power *= m;
            scale *= denominator;
        }
        REQUIRE((sum < limit && sum > -limit));
        result.y(i, 0) = static_cast<double>(sum) / static_cast<double>(top);
    }
    result.coefficients.assign(c.begin() + 1, c.end());
    return result;
}

/// Six economic series of sixteen years that grow together, in integers, far from the origin.
inline exact_problem economy() {
    const std::vector<double> c{15, -3, -2, 1, -5, 1829};
    exact_problem result{array({16, 6}), array({16, 1}), c, -3482258, 0};
    moden_test::number_source next(7);
    const auto about = [&](double value, double spread) { return std::round(value + spread * next()); };
    for (std::size_t i = 0; i < 16; ++i) {
        const double year = static_cast<double>(i);
        const double row[] = {about(830 + 23 * year, 8), about(234289 + 21000 * year, 3000), about(2356 + 120 * year, 900),
                              about(1590 + 60 * year, 500), about(107608 + 1500 * year, 150), 1947 + year};
        double y = result.intercept;
        for (std::size_t j = 0; j < 6; ++j) {
            result.x(i, j) = row[j];
            y += c[j] * row[j];
        }
        result.y(i, 0) = y;
    }
    return result;
}

/// The fewest digits that any coefficient has right.
template <class Coefficients>
double digits(const Coefficients& got, const std::vector<double>& want) {
    double worst = 16;
    for (std::size_t j = 0; j < want.size(); ++j) {
        const double error = std::abs(got.data[j] - want[j]) / std::abs(want[j]);
        worst = std::min(worst, error > 0 ? -std::log10(error) : 16);
    }
    return worst;
}

/// The largest difference of any entry, relative to the largest one.
inline double relative_difference(const array& got, const array& want) {
    REQUIRE(got.shape == want.shape);
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < got.data.size(); ++i) {
        worst = std::max(worst, std::abs(got.data[i] - want.data[i]));
        largest = std::max(largest, std::abs(want.data[i]));
    }
    return largest > 0 ? worst / largest : worst;
}

/// Some rows of a matrix.
inline array rows_between(const array& matrix, std::size_t first, std::size_t last) {
    array result({last - first, matrix.columns()});
    std::copy(matrix.data.begin() + static_cast<std::ptrdiff_t>(first * matrix.columns()),
              matrix.data.begin() + static_cast<std::ptrdiff_t>(last * matrix.columns()), result.data.begin());
    return result;
}

/// Samples with correlated columns about `origin`, and targets that depend on them but for noise.
struct planted_regression {
    array x, y;

    planted_regression(std::size_t n, std::size_t d, std::size_t t, double origin, std::uint64_t seed = 3)
        : x(moden_test::random_matrix(n, d, seed)), y(moden_test::random_matrix(n, t, seed + 1)) {
        const array b = moden_test::random_matrix(d, t, seed + 2);
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 1; j < d; ++j) {
                x(i, j) += 0.5 * x(i, j - 1);
            }
            for (std::size_t k = 0; k < t; ++k) {
                y(i, k) *= 0.3;
                for (std::size_t j = 0; j < d; ++j) {
                    y(i, k) += x(i, j) * b(j, k);
                }
                y(i, k) += 2 * origin;
            }
            for (std::size_t j = 0; j < d; ++j) {
                x(i, j) += origin * (1 + static_cast<double>(j % 3));
            }
        }
    }

    /// Rounded to T, so that every solver sees the same numbers.
    template <class T>
    planted_regression& rounded() {
        for (array* values : {&x, &y}) {
            for (double& value : values->data) {
                value = static_cast<double>(static_cast<T>(value));
            }
        }
        return *this;
    }
};

}  // namespace regression_test
