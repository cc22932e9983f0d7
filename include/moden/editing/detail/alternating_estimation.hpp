#pragma once

// Alternating least squares for the parameter vectors of many codes at once.
//
// One mode, the longest, has a step of its own; all others together are small enough for a Gram matrix. An iteration is
// two products with the whole core, whose rows are the codes, and what is left per code are problems of R x R, solved in
// double precision on the host:
//
//     A_n = C x_others q_n   (P x R_0)    =>  q_P of code n from A_n A_n' and A_n y_n
//     M_n = C x_P q_P        (R_0 x K)    =>  the others, in turn, from M_n' M_n (K x K) and M_n' y_n

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/random.hpp>
#include <moden/core/status.hpp>
#include <moden/core/view.hpp>
#include <moden/editing/detail/model_synthesis.hpp>
#include <moden/editing/detail/penalized_quadratic.hpp>

namespace moden::detail {

/// When to stop.
struct alternation_rules {
    double tolerance = 0;
    std::size_t max_iterations = 0;
};

/// One code on its way.
struct code_estimate {
    std::vector<mode_parameters> modes = {};
    double square = 0;     ///< |y|^2 of the whole code, what the basis does not see included
    double objective = 0;
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

/// The modes that share a Gram matrix: products of their parameters, and the quadratic problem of each.
class small_modes {
public:
    explicit small_modes(extents ranks) : ranks_(std::move(ranks)) {
        for (const std::size_t rank : ranks_) {
            size_ *= rank;
        }
    }

    std::size_t count() const { return ranks_.size(); }
    std::size_t size() const { return size_; }

    /// Kronecker product of the vectors, the last fastest; with ones in place of vector `skip`.
    std::vector<double> product(const std::vector<const std::vector<double>*>& q, std::size_t skip = static_cast<std::size_t>(-1)) const {
        std::vector<double> result{1.0};
        for (std::size_t k = 0; k < ranks_.size(); ++k) {
            std::vector<double> next;
            next.reserve(result.size() * ranks_[k]);
            for (const double left : result) {
                for (std::size_t r = 0; r < ranks_[k]; ++r) {
                    next.push_back(k == skip ? left : left * (*q[k])[r]);
                }
            }
            result = std::move(next);
        }
        return result;
    }

    /// H and g of mode k, given the Gram matrix (size x size), the right-hand side and the product with ones at k.
    void restrict(std::size_t k, const double* gram, const double* right, const std::vector<double>& others, std::vector<double>& h,
                  std::vector<double>& g) const {
        const std::size_t rank = ranks_[k];
        const std::size_t inner = geometry_of(ranks_, k).columns;
        h.assign(rank * rank, 0);
        g.assign(rank, 0);
        std::vector<double> row(rank);
        for (std::size_t a = 0; a < size_; ++a) {
            std::fill(row.begin(), row.end(), 0.0);
            for (std::size_t b = 0; b < size_; ++b) {
                row[b / inner % rank] += gram[a * size_ + b] * others[b];
            }
            const std::size_t i = a / inner % rank;
            for (std::size_t j = 0; j < rank; ++j) {
                h[i * rank + j] += others[a] * row[j];
            }
            g[i] += others[a] * right[a];
        }
    }

private:
    extents ranks_;
    std::size_t size_ = 1;
};

/// q' H q - 2 g' q.
inline double quadratic_value(const std::vector<double>& h, const std::vector<double>& g, const std::vector<double>& q) {
    double value = 0;
    for (std::size_t i = 0; i < q.size(); ++i) {
        double row = 0;
        for (std::size_t j = 0; j < q.size(); ++j) {
            row += h[i * q.size() + j] * q[j];
        }
        value += q[i] * (row - 2 * g[i]);
    }
    return value;
}

/// Numbers of the policy's memory as doubles on the host.
template <class Policy, class T>
std::vector<double> downloaded(const Policy& policy, const T* data, std::size_t count) {
    std::vector<T> host(count);
    policy.download(data, host.data(), count);
    return {host.begin(), host.end()};
}

template <class Policy, class T>
class alternating_estimation {
public:
    template <class Model>
    alternating_estimation(const Policy& policy, const Model& model, std::vector<parameter_penalty> penalties, const alternation_rules& rules)
        : policy_(policy), rules_(rules), penalties_(std::move(penalties)), coordinates_(model.decomposition.core.shape()[0]),
          largest_(largest_mode(model)), others_(ranks_without(model, largest_)),
          core_(policy.template allocate<T>(model.decomposition.core.size())) {
        extents axes{largest_ + 1, 0};
        for (std::size_t k = 0; k < model.modes.size(); ++k) {
            if (k != largest_) {
                axes.push_back(k + 1);
                small_.push_back(k);
            }
            factors_.push_back(host_factor(model.decomposition.factors[k + 1]));
        }
        policy.permute(tensor_view<const T, space>{model.decomposition.core.data(), shape_of(model.decomposition.core)}, axes,
                       core_.data());
        core_square_ = sum_of_squares(policy, static_cast<const T*>(core_.data()), core_.size());
    }

    /// How many codes fit into about a quarter of a gigabyte of scratch memory.
    std::size_t codes_at_once() const {
        const std::size_t p = factors_[largest_].rank, k = others_.size();
        constexpr std::size_t budget = std::size_t{256} << 20;
        return std::max<std::size_t>(1, budget / ((coordinates_ * (p + k + 1) + p * p + k * k) * sizeof(T) + (p * p + k * k) * 8));
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
    bool run(const T* targets, std::vector<code_estimate>& codes, const iteration_callback& progress) const {
        std::vector<std::size_t> active(codes.size());
        for (std::size_t n = 0; n < codes.size(); ++n) {
            active[n] = n;
            codes[n].objective = codes[n].square;
        }
        bool first = true;
        for (std::size_t iteration = 1; iteration <= rules_.max_iterations && !active.empty(); ++iteration, first = false) {
            const auto rows = packed_rows(targets, active);
            std::vector<double> before;
            for (const std::size_t n : active) {
                before.push_back(codes[n].objective);
            }
            update_largest(rows.data(), active, codes, first);
            if (!small_.empty()) {
                update_others(rows.data(), active, codes);
            }
            std::vector<std::size_t> left;
            for (std::size_t i = 0; i < active.size(); ++i) {
                code_estimate& code = codes[active[i]];
                code.iterations = iteration;
                const bool done = small_.empty() || (!first && before[i] - code.objective <= rules_.tolerance * code.square);
                code.status = done ? iteration_status::converged : iteration_status::reached_max_iterations;
                if (!done) {
                    left.push_back(active[i]);
                }
            }
            active = std::move(left);
            if (progress) {
                double sum = 0;
                for (const code_estimate& code : codes) {
                    sum += code.objective;
                }
                if (!progress(iteration, sum)) {
                    for (const std::size_t n : active) {
                        codes[n].status = iteration_status::stopped_by_callback;
                    }
                    return false;
                }
            }
        }
        return true;
    }

private:
    using space = typename Policy::memory_space;

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

    static matrix_view<T, space> matrix(T* data, std::size_t rows, std::size_t columns) { return row_major<T, space>(data, rows, columns); }
    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return row_major<const T, space>(data, rows, columns);
    }

    buffer_of<Policy, T> packed_rows(const T* targets, const std::vector<std::size_t>& active) const {
        auto rows = policy_.template allocate<T>(active.size() * coordinates_);
        for (std::size_t i = 0; i < active.size(); ++i) {
            policy_.copy(targets + active[i] * coordinates_, rows.data() + i * coordinates_, coordinates_);
        }
        return rows;
    }

    buffer_of<Policy, T> uploaded(const std::vector<T>& values) const {
        auto result = policy_.template allocate<T>(values.size());
        policy_.upload(values.data(), result.data(), values.size());
        return result;
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

    /// Gram matrices (size x size) and right-hand sides (size) of every active code's design.
    struct normal_equations {
        std::vector<double> grams;
        std::vector<double> rights;
    };

    /// `designs` holds one size x R_0 matrix per code (or its transpose, with `order`).
    normal_equations equations_of(const T* designs, std::size_t size, storage_order order, const T* rows, std::size_t count) const {
        matrix_view<const T, space> design = matrix(designs, size, coordinates_);
        if (order == storage_order::column_major) {
            design = transposed(matrix(designs, coordinates_, size));
        }
        const auto grams = policy_.template allocate<T>(count * size * size);
        const auto rights = policy_.template allocate<T>(count * size);
        const std::size_t step = size * coordinates_;
        policy_.template gemm_strided_batched<T>(T(1), design, step, transposed(design), step, T(0), matrix(grams.data(), size, size),
                                                 size * size, count);
        policy_.template gemm_strided_batched<T>(T(1), design, step, matrix(rows, coordinates_, 1), coordinates_, T(0),
                                                 matrix(rights.data(), size, 1), size, count);
        return {downloaded(policy_, static_cast<const T*>(grams.data()), count * size * size),
                downloaded(policy_, static_cast<const T*>(rights.data()), count * size)};
    }

    void update_largest(const T* rows, const std::vector<std::size_t>& active, std::vector<code_estimate>& codes, bool first) const {
        const std::size_t p = factors_[largest_].rank, count = active.size();
        auto equations = largest_equations(rows, active, codes);
        if (first && replace_blind_starts(equations, active, codes)) {
            equations = largest_equations(rows, active, codes);
        }
        std::vector<double> h, g;
        for (std::size_t i = 0; i < count; ++i) {
            code_estimate& code = codes[active[i]];
            h.assign(equations.grams.begin() + static_cast<std::ptrdiff_t>(i * p * p), equations.grams.begin() + static_cast<std::ptrdiff_t>((i + 1) * p * p));
            g.assign(equations.rights.begin() + static_cast<std::ptrdiff_t>(i * p), equations.rights.begin() + static_cast<std::ptrdiff_t>((i + 1) * p));
            mode_parameters& q = code.modes[largest_];
            q = solve_mode(h, g, factors_[largest_], penalties_[largest_], q);
            code.objective = code.square + quadratic_value(h, g, q.subspace) + penalties_of(code);
        }
    }

    normal_equations largest_equations(const T* rows, const std::vector<std::size_t>& active, const std::vector<code_estimate>& codes) const {
        const std::size_t p = factors_[largest_].rank, k = others_.size(), count = active.size();
        std::vector<T> products;
        products.reserve(count * k);
        for (const std::size_t n : active) {
            for (const double value : others_.product(small_vectors(codes[n]))) {
                products.push_back(static_cast<T>(value));
            }
        }
        const auto v = uploaded(products);
        const auto designs = policy_.template allocate<T>(count * p * coordinates_);
        policy_.template gemm<T>(T(1), matrix(static_cast<const T*>(v.data()), count, k),
                                 transposed(matrix(static_cast<const T*>(core_.data()), p * coordinates_, k)), T(0),
                                 matrix(designs.data(), count, p * coordinates_));
        return equations_of(designs.data(), p, storage_order::row_major, rows, count);
    }

    /// A start from which the longest mode cannot be seen at all (centred codes whose other modes average to nothing) leads
    /// nowhere: such codes get random parameters instead.
    bool replace_blind_starts(const normal_equations& equations, const std::vector<std::size_t>& active, std::vector<code_estimate>& codes) const {
        const std::size_t p = factors_[largest_].rank;
        bool any = false;
        for (std::size_t i = 0; i < active.size(); ++i) {
            double trace = 0, square = 0;
            for (std::size_t r = 0; r < p; ++r) {
                trace += equations.grams[i * p * p + r * (p + 1)];
            }
            for (const double v : others_.product(small_vectors(codes[active[i]]))) {
                square += v * v;
            }
            constexpr double blind = 1e-10;
            if (trace <= blind * square * core_square_) {
                const auto start = random_start(0, active[i]);
                for (const std::size_t k : small_) {
                    codes[active[i]].modes[k] = start[k];
                }
                any = true;
            }
        }
        return any;
    }

    void update_others(const T* rows, const std::vector<std::size_t>& active, std::vector<code_estimate>& codes) const {
        const std::size_t p = factors_[largest_].rank, k = others_.size(), count = active.size();
        std::vector<T> weights;
        weights.reserve(count * p);
        for (const std::size_t n : active) {
            for (const double value : codes[n].modes[largest_].subspace) {
                weights.push_back(static_cast<T>(value));
            }
        }
        const auto q = uploaded(weights);
        const auto designs = policy_.template allocate<T>(count * coordinates_ * k);
        policy_.template gemm<T>(T(1), matrix(static_cast<const T*>(q.data()), count, p),
                                 matrix(static_cast<const T*>(core_.data()), p, coordinates_ * k), T(0),
                                 matrix(designs.data(), count, coordinates_ * k));
        const auto equations = equations_of(designs.data(), k, storage_order::column_major, rows, count);
        for (std::size_t i = 0; i < count; ++i) {
            sweep_others(equations.grams.data() + i * k * k, equations.rights.data() + i * k, codes[active[i]]);
        }
    }

    void sweep_others(const double* gram, const double* right, code_estimate& code) const {
        constexpr std::size_t most_sweeps = 20;
        std::vector<double> h, g;
        double before = code.objective;
        for (std::size_t sweep = 0; sweep < most_sweeps; ++sweep) {
            double value = 0;
            for (std::size_t j = 0; j < small_.size(); ++j) {
                const auto others = others_.product(small_vectors(code), j);
                others_.restrict(j, gram, right, others, h, g);
                mode_parameters& q = code.modes[small_[j]];
                q = solve_mode(h, g, factors_[small_[j]], penalties_[small_[j]], q);
                value = quadratic_value(h, g, q.subspace);
            }
            code.objective = code.square + value + penalties_of(code);
            if (small_.size() == 1 || before - code.objective <= 0.1 * rules_.tolerance * code.square) {
                break;
            }
            before = code.objective;
        }
    }

    const Policy& policy_;
    alternation_rules rules_;
    std::vector<parameter_penalty> penalties_;
    std::size_t coordinates_;           ///< R_0
    std::size_t largest_;               ///< the mode with a step of its own
    std::vector<std::size_t> small_;    ///< the others
    small_modes others_;
    buffer_of<Policy, T> core_;        ///< R_largest x R_0 x others
    double core_square_ = 0;
    std::vector<penalized_factor> factors_;
};

}  // namespace moden::detail
