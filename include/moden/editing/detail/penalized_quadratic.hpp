#pragma once

// Small quadratic problems with ridge, lasso and sum-to-one terms, in double precision on the host: what is left of one mode of one code
// while the others rest.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include <moden/linalg/detail/solve.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Weights of what is added to |code^ - code|^2 for one mode, each at least 0:
/// ridge |q_k|^2 + lasso |q'_k|_1 + sum_to_one (1' q'_k - 1)^2.
struct parameter_penalty {
    double ridge = 0;
    double lasso = 0;
    double sum_to_one = 0;
};

namespace detail {

/// What the penalties need to know about a factor U (I x R): U itself and the sums of its columns.
struct penalized_factor {
    std::size_t levels = 0;
    std::size_t rank = 0;
    std::vector<double> matrix = {};  ///< I x R
    std::vector<double> sums = {};    ///< R

    std::vector<double> canonical(const std::vector<double>& q) const {
        std::vector<double> result(levels);
        for (std::size_t i = 0; i < levels; ++i) {
            for (std::size_t r = 0; r < rank; ++r) {
                result[i] += matrix[i * rank + r] * q[r];
            }
        }
        return result;
    }

    std::vector<double> subspace(const std::vector<double>& canonical) const {
        std::vector<double> result(rank);
        for (std::size_t i = 0; i < levels; ++i) {
            for (std::size_t r = 0; r < rank; ++r) {
                result[r] += matrix[i * rank + r] * canonical[i];
            }
        }
        return result;
    }
};

/// One mode's parameters in both bases.
struct mode_parameters {
    std::vector<double> canonical;
    std::vector<double> subspace;
};

/// What the penalty adds to the objective.
inline double penalty_value(const parameter_penalty& penalty, const mode_parameters& parameters) {
    double squares = 0, magnitudes = 0, sum = 0;
    for (const double q : parameters.subspace) {
        squares += q * q;
    }
    for (const double q : parameters.canonical) {
        magnitudes += std::abs(q);
        sum += q;
    }
    return penalty.ridge * squares + penalty.lasso * magnitudes + penalty.sum_to_one * (sum - 1) * (sum - 1);
}

/// Adds half the second derivative of the smooth penalties to `curvature` (R x R, rows `stride` apart) and, unless it is null, half
/// their first derivative at q to `slope`: ridge I + sum_to_one s s' and ridge q + sum_to_one s (s' q - 1), s the sums of U's columns.
inline void add_penalty(const parameter_penalty& penalty, const penalized_factor& factor, const std::vector<double>& q,
                        double* curvature, std::size_t stride, double* slope) {
    double excess = -1;
    for (std::size_t i = 0; i < factor.rank; ++i) {
        excess += factor.sums[i] * q[i];
    }
    for (std::size_t i = 0; i < factor.rank; ++i) {
        curvature[i * stride + i] += penalty.ridge;
        for (std::size_t j = 0; j < factor.rank; ++j) {
            curvature[i * stride + j] += penalty.sum_to_one * factor.sums[i] * factor.sums[j];
        }
        if (slope != nullptr) {
            slope[i] += penalty.ridge * q[i] + penalty.sum_to_one * factor.sums[i] * excess;
        }
    }
}

/// Minimises q' H q - 2 g' q + ridge |q|^2 + sum_to_one (s' q - 1)^2 with s the sums of U's columns.
inline std::vector<double> solve_ridge(const std::vector<double>& h, const std::vector<double>& g, const penalized_factor& factor,
                                       const parameter_penalty& penalty) {
    const std::size_t n = factor.rank;
    std::vector<double> matrix = h, slope(n), q = g;
    add_penalty(penalty, factor, std::vector<double>(n), matrix.data(), n, slope.data());
    for (std::size_t i = 0; i < n; ++i) {
        q[i] -= slope[i];
    }
    solve_semidefinite<cpu_policy, double, host_memory>(cpu_policy{}, row_major<const double, host_memory>(matrix.data(), n, n),
                                                        row_major<double, host_memory>(q.data(), n, 1));
    return q;
}

/// Minimises the same with lasso |q'|_1 over canonical parameters q', q = U' q', by coordinate descent from `start`.
inline std::vector<double> solve_lasso(const std::vector<double>& h, const std::vector<double>& g, const penalized_factor& factor,
                                       const parameter_penalty& penalty, std::vector<double> start) {
    const std::size_t n = factor.levels, rank = factor.rank;
    // In canonical coordinates: K = U (H + ridge I) U' + sum_to_one 1 1', c = U g + sum_to_one 1.
    std::vector<double> half(n * rank), k(n * n), c(n, penalty.sum_to_one);
    for (std::size_t i = 0; i < n; ++i) {
        const double* row = factor.matrix.data() + i * rank;
        for (std::size_t r = 0; r < rank; ++r) {
            c[i] += row[r] * g[r];
            for (std::size_t s = 0; s < rank; ++s) {
                half[i * rank + s] += row[r] * (h[r * rank + s] + (r == s ? penalty.ridge : 0));
            }
        }
    }
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
            double sum = penalty.sum_to_one;
            for (std::size_t s = 0; s < rank; ++s) {
                sum += half[i * rank + s] * factor.matrix[j * rank + s];
            }
            k[i * n + j] = sum;
        }
    }
    std::vector<double>& x = start;
    std::vector<double> slope(n);  // c - K x
    for (std::size_t i = 0; i < n; ++i) {
        slope[i] = c[i];
        for (std::size_t j = 0; j < n; ++j) {
            slope[i] -= k[i * n + j] * x[j];
        }
    }
    constexpr std::size_t most_sweeps = 1000;
    for (std::size_t sweep = 0; sweep < most_sweeps; ++sweep) {
        double largest_step = 0, largest = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double curvature = k[i * n + i];
            const double pull = slope[i] + curvature * x[i];
            const double shrunk = std::abs(pull) - 0.5 * penalty.lasso;
            const double next = shrunk <= 0 || curvature <= 0 ? 0 : std::copysign(shrunk / curvature, pull);
            const double step = next - x[i];
            if (step != 0) {
                for (std::size_t j = 0; j < n; ++j) {
                    slope[j] -= k[j * n + i] * step;
                }
                x[i] = next;
            }
            largest_step = std::max(largest_step, std::abs(step));
            largest = std::max(largest, std::abs(next));
        }
        if (largest_step <= 1e-14 * largest) {
            break;
        }
    }
    return x;
}

/// The best parameters of one mode where |A q - y|^2 = q' H q - 2 g' q + constant. With a lasso term the unknown is q',
/// otherwise q, with q' = U q; for a square U that is the same.
inline mode_parameters solve_mode(const std::vector<double>& h, const std::vector<double>& g, const penalized_factor& factor,
                                  const parameter_penalty& penalty, const mode_parameters& now) {
    mode_parameters result;
    if (penalty.lasso > 0) {
        result.canonical = solve_lasso(h, g, factor, penalty, now.canonical);
        result.subspace = factor.subspace(result.canonical);
    } else {
        result.subspace = solve_ridge(h, g, factor, penalty);
        result.canonical = factor.canonical(result.subspace);
    }
    return result;
}

}  // namespace detail
}  // namespace moden
