#pragma once

// Directions d_k of rank-one basis shapes with orthonormal rows b_k, for fixed cameras. With c_nk = (X_n - M_n B_0 - t_n 1') b_k (2 numbers) the cost is
//
//     sum_nk |c_nk - alpha_nk M_n d_k|^2 + ridge |M_n|^2 / 2 alpha_nk^2 + what no alpha and d can change,
//
// so it separates over k, alpha has a closed form, and what is left is to maximise on the half sphere
//
//     f_k(d) = sum_n (M_n d . c_nk)^2 / (|M_n d|^2 + ridge |M_n|^2 / 2).
//
// With (u, v) = M_n d and (p, q) = c_nk a term is p^2 u^2/r + p q 2uv/r + q^2 v^2/r: the values of all f_k on a grid of P directions are one product of a
// K x 3N matrix that knows the tracks with a 3N x P matrix that knows the cameras. Newton's method on the sphere starts from the grid's local maxima.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/nrsfm/detail/direction_steps.hpp>
#include <moden/optimize/adam.hpp>

namespace moden::detail {

/// `count` directions spread evenly over the half sphere z > 0 (a Fibonacci lattice), x, y, z one after the other.
inline std::vector<float> half_sphere(std::size_t count) {
    std::vector<float> result(3 * count);
    const double golden = 2.399963229728653;  // angle, (3 - sqrt 5) pi
    for (std::size_t i = 0; i < count; ++i) {
        const double z = (static_cast<double>(i) + 0.5) / static_cast<double>(count), radius = std::sqrt(1 - z * z);
        result[i] = static_cast<float>(radius * std::cos(golden * static_cast<double>(i)));
        result[count + i] = static_cast<float>(radius * std::sin(golden * static_cast<double>(i)));
        result[2 * count + i] = static_cast<float>(z);
    }
    return result;
}

/// What a search found.
struct found_directions {
    std::vector<double> directions;  ///< K x 3
    std::vector<double> gains;       ///< f_k(d_k): by how much each lowers the cost
    std::size_t iterations = 0;
    iteration_status status = iteration_status::converged;
    std::vector<double> history = {};  ///< of the iterative methods: sum_nk |c_nk - alpha_nk M_n d_k|^2 with the ridge's term after each iteration
};

template <class Policy>
class direction_problem {
    using space = typename Policy::memory_space;
    using sums = std::array<double, sum_of_direction::size>;

public:
    /// Keeps pointers: cameras 6 numbers per frame, observations c as 2N x K.
    direction_problem(const Policy& policy, const double* cameras, const double* observations, std::size_t frames, std::size_t count, double ridge)
        : policy_(policy), cameras_(cameras), observations_(observations), frames_(frames), count_(count), ridge_(ridge) {}

    /// The best of the maxima that Newton's method reaches from the leading local maxima of the grid; 0: of a grid that suits the number of frames. A frame
    /// that sees d end on makes f change within a few degrees, which few frames do not average out: then the grid is fine, and cheap.
    found_directions search(std::size_t grid) const {
        if (grid == 0) {
            grid = std::clamp<std::size_t>((std::size_t{1} << 23) / frames_, 512, 8192);
        }
        const auto points = half_sphere(grid);
        const auto values = grid_values(points, grid);
        std::vector<direction_candidate> starts;
        for (std::size_t k = 0; k < count_; ++k) {
            for (const std::size_t j : leading_maxima(points, grid, values.data() + k * grid)) {
                starts.push_back({{points[j], points[grid + j], points[2 * grid + j]}, static_cast<double>(k)});
            }
        }
        found_directions result = empty();
        const double longest = 3 / std::sqrt(static_cast<double>(grid));  // about the distance of neighbours
        const auto ends = polish(starts, longest, result.iterations);
        for (std::size_t i = 0; i < starts.size(); ++i) {
            const std::size_t k = static_cast<std::size_t>(starts[i].k);
            if (ends[i] > result.gains[k]) {
                result.gains[k] = ends[i];
                std::copy_n(starts[i].d, 3, result.directions.begin() + static_cast<std::ptrdiff_t>(3 * k));
            }
        }
        return result;
    }

    /// The alternating least squares of Brandt & Ackermann: coefficients for the directions, directions for the coefficients.
    found_directions alternate(double tolerance, std::size_t max_iterations, const iteration_callback& progress) const {
        found_directions result = empty();
        const double energy = squares();
        auto candidates = leading_directions();
        result.status = iteration_status::reached_max_iterations;
        for (result.iterations = 1;; ++result.iterations) {
            const auto now = evaluate(candidates, direction_sum::least_squares, nullptr);
            double objective = energy;
            for (std::size_t k = 0; k < count_; ++k) {
                objective -= now[k][0];
                result.gains[k] = now[k][0];
                std::copy_n(candidates[k].d, 3, result.directions.begin() + static_cast<std::ptrdiff_t>(3 * k));
            }
            const bool still = !result.history.empty() && result.history.back() - objective <= tolerance * objective;
            result.history.push_back(objective);
            if (progress && !progress(result.iterations, objective)) {
                result.status = iteration_status::stopped_by_callback;
                return result;
            }
            if (still || result.iterations == max_iterations) {
                result.status = still ? iteration_status::converged : result.status;
                return result;
            }
            for (std::size_t k = 0; k < count_; ++k) {
                double matrix[9] = {now[k][4], now[k][5], now[k][6], now[k][5], now[k][7], now[k][8], now[k][6], now[k][8], now[k][9]};
                double work[9], d[3] = {now[k][1], now[k][2], now[k][3]};
                solve_semidefinite_in_place(matrix, 3, d, work);
                const double length = std::sqrt(dot3(d, d));
                for (std::size_t i = 0; i < 3 && length > 0; ++i) {
                    candidates[k].d[i] = d[i] / length;
                }
            }
        }
    }

    /// Paper III's Eq. 10: Adam on directions and coefficients with the penalty lambda sum_k (|d_k|^2 - 1)^2, from random directions and coefficients of 0.
    /// The unit of length is the root mean square of the observations. Ends with directions of length 1 and the coefficients that belong to them.
    found_directions descend(double rate, double penalty, double tolerance, std::size_t max_iterations, std::uint64_t seed,
                             const iteration_callback& progress) const {
        found_directions result = empty();
        const double energy = squares(), unit = std::sqrt(energy / static_cast<double>(2 * frames_ * count_));
        const auto coefficients = policy_.template allocate<double>(frames_ * count_);
        const auto gradient = policy_.template allocate<double>(frames_ * count_);
        policy_.transform(coefficients.size(), fill_with<double>{coefficients.data(), 0.0});
        auto start = policy_.template allocate<double>(3 * count_);
        fill_normal(policy_, start.data(), start.size(), seed, 0);
        auto values = to_vector<Policy, double>(policy_, start.data(), start.size());
        for (std::size_t k = 0; k < count_; ++k) {
            const double length = std::sqrt(dot3(values.data() + 3 * k, values.data() + 3 * k));
            for (std::size_t i = 0; i < 3; ++i) {
                values[3 * k + i] /= length;
            }
        }
        const auto slopes = policy_.template allocate<double>(3 * count_);
        adam<Policy, double> of_coefficients(policy_, coefficients.size()), of_directions(policy_, 3 * count_);
        policy_.upload(values.data(), start.data(), values.size());
        result.status = iteration_status::reached_max_iterations;
        double best = 0;
        std::size_t since_best = 0;
        for (result.iterations = 0; result.iterations < max_iterations && unit > 0;) {
            std::vector<direction_candidate> candidates;
            for (std::size_t k = 0; k < count_; ++k) {
                candidates.push_back({{values[3 * k], values[3 * k + 1], values[3 * k + 2]}, static_cast<double>(k)});
            }
            const auto now = evaluate(candidates, direction_sum::given, coefficients.data());
            double objective = 0;
            std::vector<double> slope(3 * count_);
            for (std::size_t k = 0; k < count_; ++k) {
                const double* d = values.data() + 3 * k;
                const double* s = now[k].data();
                const double product[3] = {s[4] * d[0] + s[5] * d[1] + s[6] * d[2], s[5] * d[0] + s[7] * d[1] + s[8] * d[2],
                                           s[6] * d[0] + s[8] * d[1] + s[9] * d[2]};
                const double excess = dot3(d, d) - 1;
                objective += s[0] + penalty * excess * excess * unit * unit;
                for (std::size_t i = 0; i < 3; ++i) {
                    slope[3 * k + i] = 2 * (product[i] - s[1 + i]) / (unit * unit) + 4 * penalty * excess * d[i];
                }
            }
            result.history.push_back(objective);
            ++result.iterations;
            if (progress && !progress(result.iterations, objective)) {
                result.status = iteration_status::stopped_by_callback;
                break;
            }
            constexpr std::size_t patience = 20;  // Adam does not fall in every step
            since_best = result.iterations > 1 && objective >= best * (1 - tolerance) ? since_best + 1 : 0;
            best = result.iterations == 1 ? objective : std::min(best, objective);
            if (since_best >= patience && tolerance > 0) {
                result.status = iteration_status::converged;
                break;
            }
            policy_.transform_grid(frames_, count_, coefficient_gradient{cameras_, observations_, start.data(), coefficients.data(), count_, ridge_,
                                                                         gradient.data()});
            of_coefficients.step(policy_, rate * unit, coefficients.data(), gradient.data());
            policy_.upload(slope.data(), slopes.data(), slope.size());
            of_directions.step(policy_, rate, start.data(), slopes.data());
            policy_.download(static_cast<const double*>(start.data()), values.data(), values.size());
        }
        std::vector<direction_candidate> ends;
        for (std::size_t k = 0; k < count_; ++k) {
            const double length = std::sqrt(dot3(values.data() + 3 * k, values.data() + 3 * k));
            ends.push_back({{0, 0, 1}, static_cast<double>(k)});
            for (std::size_t i = 0; i < 3 && length > 0; ++i) {
                ends.back().d[i] = values[3 * k + i] / length;
            }
            std::copy_n(ends.back().d, 3, result.directions.begin() + static_cast<std::ptrdiff_t>(3 * k));
        }
        const auto last = evaluate(ends, direction_sum::least_squares, nullptr);
        for (std::size_t k = 0; k < count_; ++k) {
            result.gains[k] = last[k][0];
        }
        return result;
    }

    /// N x K.
    void coefficients(const std::vector<double>& directions, double* result) const {
        const auto d = uploaded(policy_, directions);
        policy_.transform_grid(frames_, count_, coefficients_of_directions{cameras_, observations_, d.data(), count_, ridge_, result});
    }

private:
    found_directions empty() const {
        found_directions result{std::vector<double>(3 * count_, 0.0), std::vector<double>(count_, -1.0)};
        for (std::size_t k = 0; k < count_; ++k) {
            result.directions[3 * k + 2] = 1;
        }
        return result;
    }

    /// Where the alternating method starts: the directions with the largest sum of (M_n d . c_nk)^2.
    std::vector<direction_candidate> leading_directions() const {
        std::vector<direction_candidate> result;
        for (std::size_t k = 0; k < count_; ++k) {
            result.push_back({{0, 0, 1}, static_cast<double>(k)});
        }
        const auto found = evaluate(result, direction_sum::matched, nullptr);
        for (std::size_t k = 0; k < count_; ++k) {
            const sums& s = found[k];
            double matrix[9] = {s[4], s[5], s[6], s[5], s[7], s[8], s[6], s[8], s[9]}, values[3], axes[9];
            jacobi_eigh<3>(matrix, values, axes);
            for (std::size_t i = 0; i < 3; ++i) {
                result[k].d[i] = axes[3 * i];
            }
        }
        return result;
    }

    double squares() const { return sum_of_squares(policy_, observations_, 2 * frames_ * count_); }

    /// f_k on the grid, K x P, up to a common factor, in single precision.
    std::vector<float> grid_values(const std::vector<float>& points, std::size_t grid) const {
        const std::size_t block = std::min<std::size_t>(frames_, 256);
        const auto directions = uploaded(policy_, points);
        const auto of_cameras = policy_.template allocate<float>(3 * block * grid);
        const auto of_tracks = policy_.template allocate<float>(3 * block * count_);
        const auto values = policy_.template allocate<float>(count_ * grid);
        const double energy = squares();
        const double scale = energy > 0 ? std::sqrt(static_cast<double>(2 * frames_ * count_) / energy) : 1.0;
        // Keeps a direction that is seen exactly end on from dividing 0 by 0.
        const float ridge = std::max(static_cast<float>(ridge_), 1e-12f);
        for (std::size_t first = 0; first < frames_; first += block) {
            const std::size_t frames = std::min(block, frames_ - first);
            policy_.transform_rows(frames, grid, direction_features{cameras_ + first * 6, directions.data(), grid, ridge, of_cameras.data()});
            policy_.transform_grid(frames, count_, observation_features{observations_ + 2 * first * count_, count_, scale, of_tracks.data()});
            policy_.template gemm<float>(1.0f, transposed(row_major<const float, space>(of_tracks.data(), 3 * frames, count_)),
                                         row_major<const float, space>(of_cameras.data(), 3 * frames, grid), first == 0 ? 0.0f : 1.0f,
                                         row_major<float, space>(values.data(), count_, grid));
        }
        return to_vector<Policy, float>(policy_, values.data(), count_ * grid);
    }

    /// Directions of the grid that beat all within about one and a half times the distance of neighbours: the best four of them, eight of a fine grid.
    static std::vector<std::size_t> leading_maxima(const std::vector<float>& points, std::size_t grid, const float* values) {
        const std::size_t most = grid > 2048 ? 8 : 4;
        const float near = static_cast<float>(std::cos(1.5 * std::sqrt(2 * 3.14159265358979 / static_cast<double>(grid))));
        std::vector<std::size_t> order(grid), result;
        for (std::size_t j = 0; j < grid; ++j) {
            order[j] = j;
        }
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b] || (values[a] == values[b] && a < b); });
        for (const std::size_t j : order) {
            bool best = true;
            for (std::size_t i = 0; i < grid && best; ++i) {
                const float cosine = points[i] * points[j] + points[grid + i] * points[grid + j] + points[2 * grid + i] * points[2 * grid + j];
                best = std::fabs(cosine) < near || values[i] <= values[j];
            }
            if (best) {
                result.push_back(j);
                if (result.size() == most) {
                    break;
                }
            }
        }
        return result;
    }

    std::vector<sums> evaluate(const std::vector<direction_candidate>& candidates, direction_sum kind, const double* coefficients) const {
        const std::size_t pieces = std::clamp<std::size_t>(frames_ / 256, 1, 256);
        const auto placed = uploaded(policy_, candidates);
        const auto partial = policy_.template allocate<double>(pieces * candidates.size() * sum_of_direction::size);
        policy_.transform(pieces * candidates.size(),
                          sum_of_direction{cameras_, observations_, coefficients, placed.data(), count_, frames_, candidates.size(), pieces, ridge_, kind,
                                           partial.data()},
                          64 * frames_ / pieces);
        const auto values = to_vector<Policy, double>(policy_, partial.data(), partial.size());
        std::vector<sums> result(candidates.size(), sums{});
        for (std::size_t i = 0; i < pieces * candidates.size(); ++i) {
            for (std::size_t j = 0; j < sum_of_direction::size; ++j) {
                result[i % candidates.size()][j] += values[i * sum_of_direction::size + j];
            }
        }
        return result;
    }

    /// A Newton step on the sphere that goes up, at most `longest`. Returns what a quadratic promises at its end, infinity where it has no maximum.
    static double newton_step(const direction_candidate& at, const sums& s, double longest, direction_candidate& next) {
        double e1[3], e2[3];
        orthogonal_to(at.d, e1);
        cross3(at.d, e1, e2);
        const auto form = [&](const double* a, const double* b) {
            return a[0] * (s[4] * b[0] + s[5] * b[1] + s[6] * b[2]) + a[1] * (s[5] * b[0] + s[7] * b[1] + s[8] * b[2]) +
                   a[2] * (s[6] * b[0] + s[8] * b[1] + s[9] * b[2]);
        };
        const double along = dot3(s.data() + 1, at.d);
        double g[2] = {dot3(s.data() + 1, e1), dot3(s.data() + 1, e2)}, axes[4], values[2];
        double h[4] = {form(e1, e1) - along, form(e1, e2), form(e1, e2), form(e2, e2) - along};
        jacobi_eigh<2>(h, values, axes);
        double step[2] = {0, 0}, promised = values[0] < 0 && values[1] < 0 ? 0 : std::numeric_limits<double>::infinity();
        const double size = std::max(std::abs(values[0]), std::abs(values[1]));
        for (std::size_t j = 0; j < 2; ++j) {
            const double slope = axes[j] * g[0] + axes[2 + j] * g[1], bend = std::max(std::abs(values[j]), 1e-12 * size);
            for (std::size_t i = 0; i < 2 && bend > 0; ++i) {
                step[i] += axes[2 * i + j] * slope / bend;
            }
            promised += bend > 0 ? 0.5 * slope * slope / bend : 0;
        }
        const double length = std::sqrt(step[0] * step[0] + step[1] * step[1]);
        const double factor = length > longest ? longest / length : 1.0;
        for (std::size_t i = 0; i < 3; ++i) {
            next.d[i] = at.d[i] + factor * (step[0] * e1[i] + step[1] * e2[i]);
        }
        const double norm = std::sqrt(dot3(next.d, next.d));
        for (std::size_t i = 0; i < 3; ++i) {
            next.d[i] /= norm;
        }
        next.k = at.k;
        return promised;
    }

    /// Moves every candidate to the maximum above it; returns the values there. One that would stay below another of its basis shape if its next step gained
    /// several times what it promises is given up.
    std::vector<double> polish(std::vector<direction_candidate>& points, double longest, std::size_t& iterations) const {
        constexpr std::size_t most = 40;
        auto values = evaluate(points, direction_sum::derivatives, nullptr);
        std::vector<double> reach(points.size(), longest);
        std::vector<std::size_t> active(points.size());
        for (std::size_t i = 0; i < active.size(); ++i) {
            active[i] = i;
        }
        std::vector<double> best(count_, 0.0);
        for (iterations = 0; iterations < most; ++iterations) {
            constexpr double several = 4;
            for (std::size_t i = 0; i < points.size(); ++i) {
                double& highest = best[static_cast<std::size_t>(points[i].k)];
                highest = std::max(highest, values[i][0]);
            }
            std::vector<direction_candidate> trials;
            std::vector<std::size_t> promising;
            for (const std::size_t at : active) {
                direction_candidate trial;
                const double promised = newton_step(points[at], values[at], reach[at], trial);
                if (values[at][0] + several * promised >= best[static_cast<std::size_t>(points[at].k)]) {
                    trials.push_back(trial);
                    promising.push_back(at);
                }
            }
            active = std::move(promising);
            if (active.empty()) {
                break;
            }
            const auto found = evaluate(trials, direction_sum::derivatives, nullptr);
            std::vector<std::size_t> left;
            for (std::size_t i = 0; i < active.size(); ++i) {
                const std::size_t at = active[i];
                double square = 0;
                for (std::size_t j = 0; j < 3; ++j) {
                    square += (trials[i].d[j] - points[at].d[j]) * (trials[i].d[j] - points[at].d[j]);
                }
                const double moved = std::sqrt(square);
                const double noise = 1e-14 * std::abs(values[at][0]);
                if (found[i][0] > values[at][0] - noise) {
                    points[at] = trials[i];
                    values[at] = found[i];
                } else {
                    reach[at] = 0.25 * moved;
                }
                if (moved > 1e-5) {  // what is left is of the order of its square
                    left.push_back(at);
                }
            }
            active = std::move(left);
        }
        std::vector<double> result(points.size());
        std::transform(values.begin(), values.end(), result.begin(), [](const sums& s) { return s[0]; });
        return result;
    }

    const Policy& policy_;
    const double* cameras_;
    const double* observations_;
    std::size_t frames_, count_;
    double ridge_;
};

}  // namespace moden::detail
