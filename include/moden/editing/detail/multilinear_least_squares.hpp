#pragma once

// Least squares for the parameter vectors of many codes at once.
//
// One mode, the longest, has a step of its own; all others together are small enough for a Gram matrix. An iteration is
// two products with the whole core, whose rows are the codes, and what is left per code are problems of R x R, solved in
// double precision on the host:
//
//     A_n = C x_others q_n   (R_0 x P)    =>  q_P of code n from A_n' A_n and A_n' y_n
//     M_n = C x_P q_P        (R_0 x K)    =>  the others, from M_n' M_n (K x K), M_n' y_n and A_n' M_n
//
// The others take a Gauss-Newton step that reckons with the longest mode's answer to it. Where that converges slowly, because the
// codes are far from the model, a third product with the core, C x_0 residual_n (P x K), completes the second derivative and makes it a
// Newton step. If the objective rises, the step is taken back, and the others take their best values in turn, which the same
// Gram matrix gives and which cannot fail. With a lasso term, which has no derivatives, they always do that.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/core/view.hpp>
#include <moden/editing/detail/code_estimate.hpp>
#include <moden/editing/detail/core_contractions.hpp>
#include <moden/editing/detail/penalized_quadratic.hpp>
#include <moden/editing/detail/small_modes.hpp>

namespace moden::detail {

/// Where an estimation begins.
enum class first_values {
    given,
    given_or_least_squares  ///< whichever a few iterations show to be better
};

template <class Policy, class T>
class multilinear_least_squares {
public:
    /// Keeps references to the policy and the model's core.
    template <class Model>
    multilinear_least_squares(const Policy& policy, const Model& model, std::vector<parameter_penalty> penalties, const least_squares_rules& rules)
        : policy_(policy), rules_(rules), penalties_(std::move(penalties)), largest_(largest_mode(model)),
          others_(ranks_without(model, largest_)), core_(policy, model.decomposition.core, largest_),
          sorted_(model.decomposition.factors[0].size() > 0) {
        for (std::size_t k = 0; k < model.modes.size(); ++k) {
            if (k != largest_) {
                small_.push_back(k);
            }
            factors_.push_back(host_factor(model.decomposition.factors[k + 1]));
            smooth_ = smooth_ && penalties_[k].lasso == 0;
        }
    }

    /// How many codes fit into about a quarter of a gigabyte of scratch memory.
    std::size_t codes_at_once() const {
        constexpr std::size_t budget = std::size_t{256} << 20;
        return std::max<std::size_t>(1, budget / (core_.size_per_code() * (sizeof(T) + sizeof(double))));
    }

    /// Every level with the same weight.
    std::vector<mode_parameters> mean_start() const {
        std::vector<mode_parameters> start;
        for (std::size_t k = 0; k < factors_.size(); ++k) {
            start.push_back(from_canonical(k, std::vector<double>(factors_[k].levels, 1.0 / static_cast<double>(factors_[k].levels))));
        }
        return start;
    }

    /// Canonical parameters from a normal distribution with the variance of a random level's.
    std::vector<mode_parameters> random_start(std::uint64_t seed, std::uint64_t stream) const {
        std::size_t count = 0;
        for (const penalized_factor& factor : factors_) {
            count += factor.levels;
        }
        std::vector<double> values(count);
        fill_normal(cpu_policy{}, values.data(), count, seed, stream);
        std::vector<mode_parameters> start;
        auto from = values.begin();
        for (std::size_t k = 0; k < factors_.size(); ++k) {
            std::vector<double> canonical(from, from + static_cast<std::ptrdiff_t>(factors_[k].levels));
            from += static_cast<std::ptrdiff_t>(factors_[k].levels);
            for (double& q : canonical) {
                q /= std::sqrt(static_cast<double>(factors_[k].levels));
            }
            start.push_back(from_canonical(k, std::move(canonical)));
        }
        return start;
    }

    double penalty(std::size_t k, const mode_parameters& parameters) const { return penalty_value(penalties_[k], parameters); }

    /// Improves `codes` (with start values in place) until each has converged. `targets` are their coordinates, one row of
    /// R_0 per code. Returns false if the callback said stop.
    ///
    /// Where the rows of the core are sorted by their singular values, the leading eighth of them improves a start for an eighth of
    /// the price of an iteration.
    bool run(const T* targets, std::vector<code_estimate>& codes, first_values from, const iteration_callback& progress) const {
        const bool guess = from == first_values::given_or_least_squares;
        constexpr std::size_t enough = 512;
        constexpr double loose = 1e-4;
        constexpr std::size_t few = 20;
        const std::size_t rows = core_.coordinates();
        const bool some_rows = sorted_ && rows >= enough;
        const stage preview{core_.leading(some_rows ? rows / 8 : rows), std::max(loose, rules_.tolerance), few};
        if (some_rows || guess) {
            improve(preview, targets, codes, {});
        }
        if (guess) {
            auto others = guessed(targets, codes);
            improve(preview, targets, others, {});
            for (std::size_t n = 0; n < codes.size(); ++n) {
                if (others[n].objective < codes[n].objective) {
                    codes[n] = std::move(others[n]);
                }
            }
        }
        return improve({core_.leading(rows), rules_.tolerance, rules_.max_iterations}, targets, codes, progress);
    }

private:
    using space = typename Policy::memory_space;

    /// Iterations with all rows of the core or some.
    struct stage {
        core_contractions<Policy, T> core;
        double tolerance;
        std::size_t max_iterations;

        /// What an objective may gain and is not worth another iteration. Objectives come from Gram matrices in T, which is why they are
        /// not better than some rounding errors of |y|^2.
        double little(const code_estimate& code) const {
            return std::max(tolerance, 10 * static_cast<double>(std::numeric_limits<T>::epsilon())) * code.square;
        }
    };

    /// Starts from the nearest parameters of rank one to a least squares solution of full rank.
    std::vector<code_estimate> guessed(const T* targets, std::vector<code_estimate> codes) const {
        std::vector<std::size_t> all(codes.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        const auto rows = packed_rows(targets, all, core_.coordinates());
        const auto tensors = core_.parameter_tensors(rows.data(), codes.size(), sorted_);
        const std::size_t p = core_.longest(), k = core_.others();
        for (std::size_t n = 0; n < codes.size(); ++n) {
            auto vectors = rank_one_factors(others_, tensors.data() + n * p * k, p);
            for (std::size_t j = 0; j < small_.size(); ++j) {
                const penalized_factor& factor = factors_[small_[j]];
                auto canonical = factor.canonical(vectors[j]);
                double sum = 0, magnitudes = 0;
                for (const double x : canonical) {
                    sum += x;
                    magnitudes += std::abs(x);
                }
                // Weights of levels that add up to one, unless they nearly cancel.
                const double scale = std::abs(sum) > 0.1 * magnitudes ? 1 / sum : 1.0;
                std::transform(canonical.begin(), canonical.end(), canonical.begin(), [scale](double x) { return scale * x; });
                codes[n].modes[small_[j]] = from_canonical(small_[j], std::move(canonical));
            }
        }
        return codes;
    }

    bool improve(const stage& now, const T* targets, std::vector<code_estimate>& codes, const iteration_callback& progress) const {
        std::vector<safe_point> safe(codes.size());
        std::vector<std::size_t> active(codes.size());
        for (std::size_t n = 0; n < codes.size(); ++n) {
            active[n] = n;
            codes[n].objective = codes[n].square;
            codes[n].status = iteration_status::reached_max_iterations;
        }
        bool going = true;
        for (std::size_t iteration = 1; iteration <= now.max_iterations && !active.empty() && going; ++iteration) {
            iterate(now, targets, active, codes, safe, iteration == 1);
            for (const std::size_t n : active) {
                codes[n].iterations = iteration;
            }
            std::erase_if(active, [&](std::size_t n) { return codes[n].status == iteration_status::converged; });
            if (progress) {
                double sum = 0;
                for (const code_estimate& code : codes) {
                    sum += code.objective;
                }
                going = progress(iteration, sum);
            }
        }
        for (const std::size_t n : active) {
            step_back(codes[n], safe[n]);
            codes[n].status = going ? iteration_status::reached_max_iterations : iteration_status::stopped_by_callback;
        }
        return going;
    }

    template <class Model>
    static std::size_t largest_mode(const Model& model) {
        std::size_t largest = 0;
        for (std::size_t k = 1; k < model.modes.size(); ++k) {
            largest = model.rank(k) > model.rank(largest) ? k : largest;
        }
        return largest;
    }

    template <class Model>
    static extents ranks_without(const Model& model, std::size_t skip) {
        extents ranks;
        for (std::size_t k = 0; k < model.modes.size(); ++k) {
            if (k != skip) {
                ranks.push_back(model.rank(k));
            }
        }
        return ranks;
    }

    template <class Matrix>
    penalized_factor host_factor(const Matrix& factor) const {
        penalized_factor result{factor.shape()[0], factor.shape()[1], downloaded(policy_, static_cast<const T*>(factor.data()), factor.size()), {}};
        result.sums = result.subspace(std::vector<double>(result.levels, 1.0));
        return result;
    }

    mode_parameters from_canonical(std::size_t k, std::vector<double> canonical) const {
        mode_parameters result{{}, factors_[k].subspace(canonical)};
        // Without a lasso term q is the unknown, and q' = U q.
        result.canonical = penalties_[k].lasso > 0 ? std::move(canonical) : factors_[k].canonical(result.subspace);
        return result;
    }

    /// The coordinates of some codes that belong to `count` leading rows of the core.
    buffer_of<Policy, T> packed_rows(const T* targets, const std::vector<std::size_t>& active, std::size_t count) const {
        auto rows = policy_.template allocate<T>(active.size() * count);
        for (std::size_t i = 0; i < active.size(); ++i) {
            policy_.copy(targets + active[i] * core_.coordinates(), rows.data() + i * count, count);
        }
        return rows;
    }

    std::vector<const std::vector<double>*> small_vectors(const code_estimate& code) const {
        std::vector<const std::vector<double>*> result;
        for (const std::size_t k : small_) {
            result.push_back(&code.modes[k].subspace);
        }
        return result;
    }

    double penalties_of(const code_estimate& code) const {
        double sum = 0;
        for (std::size_t k = 0; k < factors_.size(); ++k) {
            sum += penalty(k, code.modes[k]);
        }
        return sum;
    }

    static void step_back(code_estimate& code, safe_point& safe) {
        if (safe.trying) {
            code.modes = std::move(safe.modes);
            safe.trying = false;
        }
    }

    /// Products of the small modes, count x K.
    std::vector<T> small_products(const std::vector<std::size_t>& active, const std::vector<code_estimate>& codes) const {
        std::vector<T> vectors;
        vectors.reserve(active.size() * others_.size());
        for (const std::size_t n : active) {
            for (const double value : others_.product(small_vectors(codes[n]))) {
                vectors.push_back(static_cast<T>(value));
            }
        }
        return vectors;
    }

    /// Parameters of the longest mode, count x P.
    std::vector<T> longest_vectors(const std::vector<std::size_t>& active, const std::vector<code_estimate>& codes) const {
        std::vector<T> vectors;
        vectors.reserve(active.size() * factors_[largest_].rank);
        for (const std::size_t n : active) {
            for (const double value : codes[n].modes[largest_].subspace) {
                vectors.push_back(static_cast<T>(value));
            }
        }
        return vectors;
    }

    /// One iteration for all active codes; those that are done get status converged.
    void iterate(const stage& now, const T* targets, const std::vector<std::size_t>& active, std::vector<code_estimate>& codes,
                 std::vector<safe_point>& safe, bool first) const {
        const core_contractions<Policy, T>& core = now.core;
        const std::size_t p = core.longest(), k = core.others(), count = active.size();
        const auto rows = packed_rows(targets, active, core.coordinates());
        auto a = core.designs_of_longest(small_products(active, codes), count);
        auto grams = core.grams(a, count);
        if (first && replace_blind_starts(core, grams, active, codes)) {
            a = core.designs_of_longest(small_products(active, codes), count);
            grams = core.grams(a, count);
        }
        const auto rights = core.products(a, rows.data(), count);
        for_each_code(policy_, active, p * p, [&](std::size_t i, std::size_t n) {
            update_largest(now, grams.data() + i * p * p, rights.data() + i * p, codes[n], safe[n], first);
        });
        const auto wants_others = [&](std::size_t n) { return codes[n].status != iteration_status::converged && !safe[n].rejected; };
        if (std::none_of(active.begin(), active.end(), wants_others)) {
            return;
        }
        const auto q = longest_vectors(active, codes);
        const auto m = core.designs_of_others(q, count);
        const auto small_grams = core.grams(m, count);
        const auto small_rights = core.products(m, rows.data(), count);
        const auto cross = smooth_ ? core.products(a, m, count) : std::vector<double>();
        const bool any_slow = smooth_ && std::any_of(active.begin(), active.end(), [&](std::size_t n) { return safe[n].slow; });
        const auto bends = any_slow ? core.with_residuals(a, q, rows.data(), count) : std::vector<double>();
        for_each_code(policy_, active, p * p, [&](std::size_t i, std::size_t n) {
            if (!wants_others(n)) {
                return;
            }
            const double* gram = small_grams.data() + i * k * k;
            const double* right = small_rights.data() + i * k;
            if (smooth_) {
                try_step(now, codes[n], safe[n], {grams.data() + i * p * p, gram, right, cross.data() + i * p * k,
                                                  safe[n].slow ? bends.data() + i * p * k : nullptr});
            } else {
                sweep_others(now, gram, right, codes[n]);
            }
        });
    }

    /// The longest mode's best value, and with its objective whether the last step was a good one.
    void update_largest(const stage& now, const double* gram, const double* right, code_estimate& code, safe_point& safe, bool first) const {
        const std::size_t p = factors_[largest_].rank;
        const std::vector<double> h(gram, gram + p * p), g(right, right + p);
        mode_parameters& q = code.modes[largest_];
        q = solve_mode(h, g, factors_[largest_], penalties_[largest_], q);
        const double value = code.square + quadratic_value(h, g, q.subspace) + penalties_of(code);
        const double gain = code.objective - value;
        safe.rejected = safe.trying && gain < 0;
        if (safe.rejected) {
            step_back(code, safe);
            safe.damping *= 10;
            if (-gain <= now.little(code)) {
                code.status = iteration_status::converged;
                return;
            }
            sweep_others(now, safe.gram.data(), safe.right.data(), code);
            return;
        }
        if (safe.trying) {
            constexpr double fast = 0.1;
            safe.slow = safe.slow || (safe.gain > 0 && gain > fast * safe.gain);
            safe.damping = std::max(0.1 * safe.damping, 1e-6);
            safe.trying = false;
        }
        safe.gain = first ? 0 : gain;
        code.objective = value;
        if (small_.empty() || (!first && gain <= now.little(code))) {
            code.status = iteration_status::converged;
        }
    }

    /// A step of the other modes; what it is worth the next iteration will see.
    void try_step(const stage& now, code_estimate& code, safe_point& safe, const joint_equations& equations) const {
        const std::size_t k = others_.size();
        std::vector<const penalized_factor*> factors;
        std::vector<parameter_penalty> penalties;
        for (const std::size_t mode : small_) {
            factors.push_back(&factors_[mode]);
            penalties.push_back(penalties_[mode]);
        }
        const auto step = [&](const joint_equations& given, double damping) {
            return joint_step(others_, given, small_vectors(code), factors_[largest_], penalties_[largest_], factors, penalties, damping);
        };
        auto steps = step(equations, safe.damping);
        for (double more = 0.01; steps.empty() && equations.bend != nullptr && more <= 1; more *= 10) {
            steps = step(equations, std::max(more, safe.damping));
        }
        if (steps.empty()) {
            joint_equations gauss_newton = equations;
            gauss_newton.bend = nullptr;
            steps = step(gauss_newton, safe.damping);
        }
        if (steps.empty()) {
            sweep_others(now, equations.gram, equations.right, code);
            return;
        }
        safe.trying = true;
        safe.modes = code.modes;
        safe.gram.assign(equations.gram, equations.gram + k * k);
        safe.right.assign(equations.right, equations.right + k);
        for (std::size_t j = 0; j < small_.size(); ++j) {
            mode_parameters& q = code.modes[small_[j]];
            for (std::size_t r = 0; r < q.subspace.size(); ++r) {
                q.subspace[r] += steps[j][r];
            }
            q.canonical = factors_[small_[j]].canonical(q.subspace);
        }
    }

    /// The other modes' best values in turn, until that gains little.
    void sweep_others(const stage& now, const double* gram, const double* right, code_estimate& code) const {
        constexpr std::size_t most_sweeps = 20;
        double before = code.objective;
        for (std::size_t sweep = 0; sweep < most_sweeps; ++sweep) {
            double value = 0;
            for (std::size_t j = 0; j < small_.size(); ++j) {
                const auto others = others_.product(small_vectors(code), j);
                const auto half = others_.times_derivative(j, gram, others_.size(), others);
                const auto h = others_.derivative_times(j, half.data(), others_.rank(j), others);
                const auto g = others_.derivative_times(j, right, 1, others);
                mode_parameters& q = code.modes[small_[j]];
                q = solve_mode(h, g, factors_[small_[j]], penalties_[small_[j]], q);
                value = quadratic_value(h, g, q.subspace);
            }
            code.objective = code.square + value + penalties_of(code);
            if (small_.size() == 1 || before - code.objective <= 0.1 * now.little(code)) {
                break;
            }
            before = code.objective;
        }
    }

    /// A start from which the longest mode cannot be seen at all (centred codes whose other modes average to nothing) leads
    /// nowhere: such codes get random parameters instead.
    bool replace_blind_starts(const core_contractions<Policy, T>& core, const std::vector<double>& grams, const std::vector<std::size_t>& active, std::vector<code_estimate>& codes) const {
        const std::size_t p = factors_[largest_].rank;
        bool any = false;
        const double core_square = core.square();
        for (std::size_t i = 0; i < active.size(); ++i) {
            double trace = 0, square = 0;
            for (std::size_t r = 0; r < p; ++r) {
                trace += grams[i * p * p + r * (p + 1)];
            }
            for (const double v : others_.product(small_vectors(codes[active[i]]))) {
                square += v * v;
            }
            constexpr double blind = 1e-10;
            if (trace <= blind * square * core_square) {
                const auto start = random_start(0, active[i]);
                for (const std::size_t k : small_) {
                    codes[active[i]].modes[k] = start[k];
                }
                any = true;
            }
        }
        return any;
    }

    const Policy& policy_;
    least_squares_rules rules_;
    std::vector<parameter_penalty> penalties_;
    std::size_t largest_;                  ///< the mode with a step of its own
    std::vector<std::size_t> small_ = {};  ///< the others
    small_modes others_;
    core_contractions<Policy, T> core_;
    std::vector<penalized_factor> factors_ = {};
    bool smooth_ = true;                   ///< no lasso
    bool sorted_;                          ///< the core's rows belong to singular vectors of the code mode
};

}  // namespace moden::detail
