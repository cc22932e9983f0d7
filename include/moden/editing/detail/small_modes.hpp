#pragma once

// The modes of a tensor model that share a Gram matrix, all but the longest: what one of them sees while the others rest, and
// a Newton or Gauss-Newton step for all of them at once. In double precision on the host.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>
#include <vector>

#include <moden/core/view.hpp>
#include <moden/editing/detail/penalized_quadratic.hpp>
#include <moden/linalg/detail/solve.hpp>
#include <moden/policy/cpu.hpp>

namespace moden::detail {

/// Kronecker products of the parameters of some modes, the last fastest, and what they do to a quadratic form.
class small_modes {
public:
    explicit small_modes(extents ranks) : ranks_(std::move(ranks)) {
        for (const std::size_t rank : ranks_) {
            size_ *= rank;
        }
    }

    std::size_t count() const { return ranks_.size(); }
    std::size_t rank(std::size_t k) const { return ranks_[k]; }
    std::size_t size() const { return size_; }

    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    /// The product of the vectors, with ones in place of one or two of them.
    std::vector<double> product(const std::vector<const std::vector<double>*>& q, std::size_t skip = none, std::size_t skip_too = none) const {
        std::vector<double> result{1.0};
        for (std::size_t k = 0; k < ranks_.size(); ++k) {
            std::vector<double> next;
            next.reserve(result.size() * ranks_[k]);
            for (const double left : result) {
                for (std::size_t r = 0; r < ranks_[k]; ++r) {
                    next.push_back(k == skip || k == skip_too ? left : left * (*q[k])[r]);
                }
            }
            result = std::move(next);
        }
        return result;
    }

    /// rows (count x size) times the derivative of the product by mode k: count x R_k. `others` is the product with ones at k.
    std::vector<double> times_derivative(std::size_t k, const double* rows, std::size_t count, const std::vector<double>& others) const {
        const std::size_t rank = ranks_[k], inner = geometry_of(ranks_, k).columns;
        std::vector<double> result(count * rank);
        for (std::size_t i = 0; i < count; ++i) {
            for (std::size_t b = 0; b < size_; ++b) {
                result[i * rank + b / inner % rank] += rows[i * size_ + b] * others[b];
            }
        }
        return result;
    }

    /// The same with the derivative's transpose from the left: rows is size x columns, the result R_k x columns.
    std::vector<double> derivative_times(std::size_t k, const double* rows, std::size_t columns, const std::vector<double>& others) const {
        const std::size_t rank = ranks_[k], inner = geometry_of(ranks_, k).columns;
        std::vector<double> result(rank * columns);
        for (std::size_t a = 0; a < size_; ++a) {
            double* row = result.data() + a / inner % rank * columns;
            for (std::size_t j = 0; j < columns; ++j) {
                row[j] += others[a] * rows[a * columns + j];
            }
        }
        return result;
    }

    /// Adds values (size) times the second derivative of the product by modes j and k to a block of R_j x R_k, rows `stride` apart.
    void add_second_derivative(std::size_t j, std::size_t k, const std::vector<const std::vector<double>*>& q, const double* values,
                               double* block, std::size_t stride) const {
        const auto others = product(q, j, k);
        const std::size_t inner_j = geometry_of(ranks_, j).columns, inner_k = geometry_of(ranks_, k).columns;
        for (std::size_t a = 0; a < size_; ++a) {
            block[a / inner_j % ranks_[j] * stride + a / inner_k % ranks_[k]] += others[a] * values[a];
        }
    }

private:
    extents ranks_;
    std::size_t size_ = 1;
};

/// Vectors of the small modes whose products are like the rows of a matrix (P x K): alternating least squares for the nearest matrix of
/// rank one whose rows are such products, from its largest row.
inline std::vector<std::vector<double>> rank_one_factors(const small_modes& modes, const double* matrix, std::size_t rows) {
    const std::size_t size = modes.size();
    const auto norm = [](const std::vector<double>& q) { return std::sqrt(std::inner_product(q.begin(), q.end(), q.begin(), 0.0)); };
    std::vector<double> pulled(size);  // Q' u for a vector u over the rows
    double largest = -1;
    for (std::size_t p = 0; p < rows; ++p) {
        const double* row = matrix + p * size;
        const double square = std::inner_product(row, row + size, row, 0.0);
        if (square > largest) {
            largest = square;
            pulled.assign(row, row + size);
        }
    }
    std::vector<std::vector<double>> q;
    for (std::size_t k = 0; k < modes.count(); ++k) {
        q.emplace_back(modes.rank(k), 1.0);
    }
    std::vector<const std::vector<double>*> vectors;
    for (const auto& vector : q) {
        vectors.push_back(&vector);
    }
    constexpr int sweeps = 20;
    for (int sweep = 0; sweep < sweeps; ++sweep) {
        for (std::size_t k = 0; k < modes.count(); ++k) {
            // At first what a mode does is seen where the others are largest, whatever their signs.
            auto others = modes.product(vectors, k);
            if (sweep == 0) {
                for (std::size_t b = 0; b < size; ++b) {
                    others[b] = std::copysign(others[b], pulled[b]);
                }
            }
            q[k] = modes.derivative_times(k, pulled.data(), 1, others);
            const double length = norm(q[k]);
            for (double& x : q[k]) {
                x = length > 0 ? x / length : 1.0;
            }
        }
        const auto v = modes.product(vectors);
        std::fill(pulled.begin(), pulled.end(), 0.0);
        for (std::size_t p = 0; p < rows; ++p) {
            const double* row = matrix + p * size;
            const double u = std::inner_product(row, row + size, v.begin(), 0.0);
            std::transform(pulled.begin(), pulled.end(), row, pulled.begin(), [u](double sum, double x) { return sum + u * x; });
        }
    }
    return q;
}

/// |A q - y|^2 = |M v - y|^2 around one code: A is the design of the longest mode (P unknowns), M that of the products v of the
/// small modes (K of them), r = A q - y.
struct joint_equations {
    const double* longest;  ///< A'A, P x P
    const double* gram;     ///< M'M, K x K
    const double* right;    ///< M'y, K
    const double* cross;    ///< A'M, P x K
    const double* bend;     ///< r' d^2(A q) / dq dv, P x K; null for Gauss-Newton
};

/// A step of the small modes' parameters where the longest mode always takes its best value (variable projection in the form of Ruhe and
/// Wedin): with J_1 = A, J_k = M dv/dq_k, penalties as further rows, and gradient g_s,
///
///     (H_ss - H_s1 H_11^-1 H_1s + damping diag H_ss) step = -g_s,    H = J'J, or J'J + r' d^2(A q)/dq^2 with `bend`,
///
/// which supposes g_1 = 0: q is the best for v. Penalties must be smooth (no lasso). Returns one step per small mode, or nothing where
/// the matrix is not positive definite.
inline std::vector<std::vector<double>> joint_step(const small_modes& modes, const joint_equations& equations,
                                                   const std::vector<const std::vector<double>*>& q, const penalized_factor& longest_factor,
                                                   const parameter_penalty& longest_penalty, const std::vector<const penalized_factor*>& factors,
                                                   const std::vector<parameter_penalty>& penalties, double damping) {
    const std::size_t size = modes.size(), longest = longest_factor.rank;
    std::vector<std::size_t> first{0};
    for (std::size_t k = 0; k < modes.count(); ++k) {
        first.push_back(first.back() + modes.rank(k));
    }
    const std::size_t unknowns = first.back();
    const auto v = modes.product(q);
    std::vector<double> pull(size);  // M'r
    for (std::size_t a = 0; a < size; ++a) {
        double sum = -equations.right[a];
        for (std::size_t b = 0; b < size; ++b) {
            sum += equations.gram[a * size + b] * v[b];
        }
        pull[a] = sum;
    }
    std::vector<double> of_cross(equations.cross, equations.cross + longest * size);
    for (std::size_t i = 0; equations.bend != nullptr && i < of_cross.size(); ++i) {
        of_cross[i] += equations.bend[i];
    }

    // H_1s, H_ss and -g_s, block by block.
    std::vector<std::vector<double>> others;
    for (std::size_t k = 0; k < modes.count(); ++k) {
        others.push_back(modes.product(q, k));
    }
    std::vector<double> cross(longest * unknowns), hessian(unknowns * unknowns), step(unknowns);
    for (std::size_t k = 0; k < modes.count(); ++k) {
        const std::size_t rank = modes.rank(k);
        const auto along = modes.times_derivative(k, of_cross.data(), longest, others[k]);
        for (std::size_t p = 0; p < longest; ++p) {
            std::copy_n(along.data() + p * rank, rank, cross.data() + p * unknowns + first[k]);
        }
        const auto half = modes.times_derivative(k, equations.gram, size, others[k]);
        for (std::size_t j = 0; j < modes.count(); ++j) {
            double* block = hessian.data() + first[j] * unknowns + first[k];
            const auto values = modes.derivative_times(j, half.data(), rank, others[j]);
            for (std::size_t r = 0; r < modes.rank(j); ++r) {
                std::copy_n(values.data() + r * rank, rank, block + r * unknowns);
            }
            if (equations.bend != nullptr && j != k) {
                modes.add_second_derivative(j, k, q, pull.data(), block, unknowns);
            }
        }
        std::vector<double> gradient = modes.derivative_times(k, pull.data(), 1, others[k]);
        add_penalty(penalties[k], *factors[k], *q[k], hessian.data() + first[k] * (unknowns + 1), unknowns, gradient.data());
        std::transform(gradient.begin(), gradient.end(), step.data() + first[k], [](double slope) { return -slope; });
    }
    for (std::size_t i = 0; i < unknowns; ++i) {
        hessian[i * (unknowns + 1)] *= 1 + damping;
    }

    // Less what the longest mode takes over.
    const cpu_policy host({.threads = 1});
    const auto dense = [](std::vector<double>& data, std::size_t columns) {
        return row_major<double, host_memory>(data.data(), data.size() / columns, columns);
    };
    const auto constant = [](const std::vector<double>& data, std::size_t columns) {
        return row_major<const double, host_memory>(data.data(), data.size() / columns, columns);
    };
    std::vector<double> of_longest(equations.longest, equations.longest + longest * longest);
    add_penalty(longest_penalty, longest_factor, std::vector<double>(longest), of_longest.data(), longest, nullptr);
    std::vector<double> taken = cross;
    solve_semidefinite<cpu_policy, double, host_memory>(host, constant(of_longest, longest), dense(taken, unknowns));
    host.gemm<double>(-1.0, transposed(constant(cross, unknowns)), constant(taken, unknowns), 1.0, dense(hessian, unknowns));
    if (host.cholesky_solve<double>(dense(hessian, unknowns), dense(step, 1)) != definiteness::positive_definite) {
        return {};
    }
    std::vector<std::vector<double>> steps;
    for (std::size_t k = 0; k < modes.count(); ++k) {
        steps.emplace_back(step.data() + first[k], step.data() + first[k + 1]);
    }
    return steps;
}

}  // namespace moden::detail
