#pragma once

// Alternating least squares for cores and factors that several data matrices share.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/detail/solve.hpp>
#include <moden/loss/detail/khatri_rao_products.hpp>
#include <moden/loss/multilinear_loss.hpp>
#include <moden/loss/multilinear_terms.hpp>
#include <moden/optimize/lbfgs.hpp>

namespace moden::detail {

/// Solves (G + (ridge + shift) I) z = b + shift z_old for every sample, by Cholesky in double precision. `equations` holds G (r x r) and b
/// of a sample in a row of r (r + 1) numbers, and is destroyed; z lies in column j of `factor`.
///
/// The shift is what rounding hides in G: directions that a sample says nothing about keep their value, and no step raises the
/// objective.
template <class T>
struct solve_for_sample {
    double* equations;
    std::size_t rank;
    double ridge;
    double precision;
    T* factor;
    std::size_t stride;

    MODEN_HOST_DEVICE void operator()(std::size_t j) const {
        double* g = equations + j * rank * (rank + 1);
        double* b = g + rank * rank;
        double trace = 0;
        for (std::size_t i = 0; i < rank; ++i) {
            trace += g[i * rank + i];
        }
        if (!(trace + ridge > 0)) {
            return;
        }
        const double shift = precision * (trace + ridge);
        for (std::size_t i = 0; i < rank; ++i) {
            g[i * rank + i] += ridge + shift;
            b[i] += shift * static_cast<double>(factor[i * stride + j]);
        }
        for (std::size_t c = 0; c < rank; ++c) {  // L below the diagonal of G, L y = b beside it
            for (std::size_t i = c; i < rank; ++i) {
                double sum = g[i * rank + c];
                for (std::size_t k = 0; k < c; ++k) {
                    sum -= g[i * rank + k] * g[c * rank + k];
                }
                if (i == c) {
                    g[c * rank + c] = std::sqrt(sum > shift * 1e-3 ? sum : shift * 1e-3);
                } else {
                    g[i * rank + c] = sum / g[c * rank + c];
                }
            }
            for (std::size_t k = 0; k < c; ++k) {
                b[c] -= g[c * rank + k] * b[k];
            }
            b[c] /= g[c * rank + c];
        }
        for (std::size_t c = rank; c-- > 0;) {
            for (std::size_t i = c + 1; i < rank; ++i) {
                b[c] -= g[i * rank + c] * b[i];
            }
            b[c] /= g[c * rank + c];
            factor[c * stride + j] = static_cast<T>(b[c]);
        }
    }
};

/// equations(j, offset + i) += part(i, j), converted: sums of several terms, a row per sample.
template <class T>
struct gather_equations {
    const T* part;
    std::size_t samples;
    std::size_t width;
    std::size_t offset;
    double* equations;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        equations[j * width + offset + i] += static_cast<double>(part[i * samples + j]);
    }
};

/// Everything that a fit works on: data as views, cores and factors one after another in one piece of memory.
template <class Policy, class T>
class multilinear_sweeps {
public:
    using space = typename Policy::memory_space;
    using view = matrix_view<T, space>;
    using const_view = matrix_view<const T, space>;

    /// `data` are checked; `shapes` are those of the cores, `ranks` the rows of the factors.
    multilinear_sweeps(const Policy& policy, std::vector<const_view> data, const std::vector<multilinear_term>& terms, std::vector<extents> shapes,
                       extents ranks, const multilinear_ridge& ridge)
        : policy_(policy), data_(std::move(data)), terms_(terms), shapes_(std::move(shapes)), ranks_(std::move(ranks)), ridge_(ridge), samples_(data_[0].columns) {
        std::size_t size = 0;
        for (const extents& shape : shapes_) {
            core_offsets_.push_back(size);
            size += element_count(shape);
        }
        for (const std::size_t rank : ranks_) {
            factor_offsets_.push_back(size);
            size += rank * samples_;
        }
        parameters_ = policy_.template allocate<T>(size);
        policy_.transform(size, fill_with<T>{parameters_.data(), T(0)});
        for (const multilinear_term& term : terms_) {
            std::vector<buffer_of<Policy, T>> of_modes;
            for (std::size_t m = 0; m < term.factors.size(); ++m) {
                const std::size_t rank = term.factors[m] == constant_factor ? shapes_[term.core][m + 1] : 0;
                of_modes.push_back(policy_.template allocate<T>(rank));
                policy_.transform(rank, fill_with<T>{of_modes.back().data(), T(1) / static_cast<T>(rank)});
            }
            constants_.push_back(std::move(of_modes));
        }
        for (const const_view& x : data_) {
            squares_.push_back(sum_of_squares(policy_, x.data, x.rows * x.columns));
        }
    }

    std::size_t size() const { return parameters_.size(); }
    T* parameters() { return parameters_.data(); }
    T* core(std::size_t c) { return parameters_.data() + core_offsets_[c]; }
    T* factor(std::size_t f) { return parameters_.data() + factor_offsets_[f]; }
    const std::vector<double>& squares() const { return squares_; }

    /// The objective of cores of zeros, without the ridge term.
    double weighted_squares() const {
        double sum = 0;
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            sum += terms_[t].weight * squares_[t];
        }
        return sum;
    }

    /// |X - X^|^2 of one term.
    double residual(std::size_t t) const {
        const multilinear_problem<Policy, T> problem = problem_of(t, parameters_.data());
        return multilinear_value(problem, tensor_view<const T, space>{data_[t].data, {data_[t].rows, samples_}});
    }

    /// Sum of the weighted residuals and the ridge term.
    double objective() const {
        double sum = penalty(parameters_.data());
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            sum += terms_[t].weight * residual(t);
        }
        return sum;
    }

    /// The same for other parameters, with its gradient.
    double objective_and_gradient(const T* parameters, T* gradient) const {
        const std::size_t first = factor_offsets_[0];
        policy_.transform(first, scaled_copy<T>{parameters, static_cast<T>(2 * ridge_.of_cores), gradient});
        policy_.transform(size() - first, scaled_copy<T>{parameters + first, static_cast<T>(2 * ridge_.of_factors), gradient + first});
        double sum = penalty(parameters);
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            const auto& term = terms_[t];
            const auto problem = problem_of(t, parameters);
            const std::size_t core_size = element_count(shapes_[term.core]);
            std::size_t total = core_size;
            for (const auto& factor : problem.factors()) {
                total += factor.rows * factor.columns;
            }
            const auto memory = policy_.template allocate<T>(total);
            std::vector<T*> parts;
            T* next = memory.data() + core_size;
            for (const auto& factor : problem.factors()) {
                parts.push_back(next);
                next += factor.rows * factor.columns;
            }
            const double value = multilinear_gradient(policy_, problem, tensor_view<const T, space>{data_[t].data, {data_[t].rows, samples_}},
                                                      memory.data(), parts);
            sum += term.weight * value;
            add(memory.data(), core_size, term.weight, gradient + core_offsets_[term.core]);
            for (std::size_t m = 0; m < term.factors.size(); ++m) {
                const std::size_t f = term.factors[m];
                if (f != constant_factor) {
                    add(parts[m], ranks_[f] * samples_, term.weight, gradient + factor_offsets_[f]);
                }
            }
        }
        return sum;
    }

    void update_cores() {
        for (std::size_t c = 0; c < shapes_.size(); ++c) {
            update_core(c);
        }
    }

    void update_factors() {
        for (std::size_t f = 0; f < ranks_.size(); ++f) {
            update_factor(f);
        }
    }

    /// The best core for the factors: (sum w K K' + ridge I) B' = sum w K X'.
    void update_core(std::size_t c) {
        const extents& shape = shapes_[c];
        const std::size_t k = shape[0], width = element_count(shape) / k;
        const auto gram = policy_.template allocate<T>(width * width);
        const auto right = policy_.template allocate<T>(width * k);
        bool any = false;
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            if (terms_[t].core != c) {
                continue;
            }
            const T weight = static_cast<T>(terms_[t].weight);
            std::vector<std::size_t> order(terms_[t].factors.size());
            for (std::size_t m = 0; m < order.size(); ++m) {
                order[m] = m;
            }
            for_each_block(width, [&](std::size_t first, std::size_t count) {
                const auto product = product_of_modes(t, order, first, count);
                const auto rows = row_major<const T, space>(product.data(), width, count);
                policy_.template syrk<T>(weight, rows, any ? T(1) : T(0), row_major<T, space>(gram.data(), width, width));
                policy_.template gemm<T>(weight, rows, transposed(columns_of(data_[t], first, count)), any ? T(1) : T(0),
                                         row_major<T, space>(right.data(), width, k));
                any = true;
            });
        }
        const double largest = policy_.reduce(width, 0.0, diagonal_magnitude<T>{gram.data(), width}, maximum{});
        const T shift = static_cast<T>(precision() * static_cast<double>(width) * largest);
        policy_.transform(width, add_to_diagonal<T>{gram.data(), width, static_cast<T>(ridge_.of_cores) + shift});
        const auto old = policy_.template allocate<T>(width * k);
        policy_.template copy<T>(transposed(row_major<const T, space>(core(c), k, width)), row_major<T, space>(old.data(), width, k));
        add(old.data(), width * k, static_cast<double>(shift), right.data());
        solve_semidefinite<Policy, T, space>(policy_, row_major<const T, space>(gram.data(), width, width), row_major<T, space>(right.data(), width, k));
        policy_.template copy<T>(transposed(row_major<const T, space>(right.data(), width, k)), row_major<T, space>(core(c), k, width));
    }

    /// The best factor for everything else, sample by sample: with D = B x_others z_others, (sum w D'D + ridge I) z = sum w D'x.
    void update_factor(std::size_t f) {
        const std::size_t rank = ranks_[f], width = rank * (rank + 1);
        std::vector<term_equations> parts;
        std::size_t widest = 1;
        for (std::size_t t = 0; t < terms_.size(); ++t) {
            const auto& modes = terms_[t].factors;
            const auto found = std::find(modes.begin(), modes.end(), f);
            if (found != modes.end()) {
                parts.push_back(equations_of(t, static_cast<std::size_t>(found - modes.begin())));
                widest = std::max(widest, parts.back().others * rank * rank);
            }
        }
        for_each_block(widest + 2 * width, [&](std::size_t first, std::size_t count) {
            const auto equations = policy_.template allocate<double>(count * width);
            policy_.transform(count * width, fill_with<double>{equations.data(), 0.0});
            const std::size_t pieces = (count + contract_slabs<T>::width - 1) / contract_slabs<T>::width;
            const auto sums = policy_.template allocate<T>(rank * rank * count);
            for (const term_equations& part : parts) {
                const auto others = product_of_modes(part.term, part.modes, first, count);
                const auto weights = row_major<const T, space>(others.data(), part.others, count);
                const auto half = policy_.template allocate<T>(part.others * rank * rank * count);
                policy_.template gemm<T>(T(1), row_major<const T, space>(part.gram.data(), part.others * rank * rank, part.others), weights, T(0),
                                         row_major<T, space>(half.data(), part.others * rank * rank, count));
                policy_.transform_grid(rank * rank, pieces, contract_slabs<T>{others.data(), half.data(), part.others, rank * rank, count, sums.data()});
                policy_.transform_grid(rank * rank, count, gather_equations<T>{sums.data(), count, width, 0, equations.data()});
                policy_.template gemm<T>(static_cast<T>(terms_[part.term].weight), transposed(row_major<const T, space>(part.core.data(), data_[part.term].rows, part.others * rank)),
                                         columns_of(data_[part.term], first, count), T(0), row_major<T, space>(half.data(), part.others * rank, count));
                policy_.transform_grid(rank, pieces, contract_slabs<T>{others.data(), half.data(), part.others, rank, count, sums.data()});
                policy_.transform_grid(rank, count, gather_equations<T>{sums.data(), count, width, rank * rank, equations.data()});
            }
            policy_.transform(count, solve_for_sample<T>{equations.data(), rank, ridge_.of_factors, precision(), factor(f) + first, samples_}, rank * rank * rank);
        });
    }

    /// Gives factors a mean square of 1 where their cores can take the rest. Scales of single samples are left as they are: whatever
    /// normalises them would mix up factors that the start keeps apart.
    void balance() {
        for (std::size_t f = 0; f < ranks_.size(); ++f) {
            rescale(f);
        }
    }

private:
    /// A term seen from one of its modes: gram (others, rank, rank', others') = w B'B with the constants contracted, core k x (others, rank).
    struct term_equations {
        std::size_t term;
        std::vector<std::size_t> modes;  ///< the other modes that vary
        std::size_t others;              ///< product of their extents
        buffer_of<Policy, T> core;
        buffer_of<Policy, T> gram;
    };

    double penalty(const T* parameters) const {
        const std::size_t first = factor_offsets_[0];
        return ridge_.of_cores * sum_of_squares(policy_, parameters, first) + ridge_.of_factors * sum_of_squares(policy_, parameters + first, size() - first);
    }

    static double precision() { return 10 * static_cast<double>(std::numeric_limits<T>::epsilon()); }

    void add(const T* source, std::size_t count, double weight, T* target) const {
        policy_.transform(count, scaled_sum<T>{target, source, static_cast<T>(weight), target});
    }

    /// Blocks of samples such that `rows` numbers of each fit into 64 MiB.
    template <class Function>
    void for_each_block(std::size_t rows, Function function) const {
        constexpr std::size_t budget = std::size_t{64} << 20;
        const std::size_t at_once = std::clamp<std::size_t>(budget / (rows * sizeof(T)), 1, samples_);
        for (std::size_t first = 0; first < samples_; first += at_once) {
            function(first, std::min(at_once, samples_ - first));
        }
    }

    multilinear_problem<Policy, T> problem_of(std::size_t t, const T* parameters) const {
        const multilinear_term& term = terms_[t];
        std::vector<const_view> factors;
        for (std::size_t m = 0; m < term.factors.size(); ++m) {
            const std::size_t f = term.factors[m];
            factors.push_back(f == constant_factor ? row_major<const T, space>(constants_[t][m].data(), shapes_[term.core][m + 1], 1)
                                                   : row_major<const T, space>(parameters + factor_offsets_[f], ranks_[f], samples_));
        }
        return {policy_, tensor_view<const T, space>{parameters + core_offsets_[term.core], shapes_[term.core]}, std::move(factors), "fit_multilinear"};
    }

    /// Khatri-Rao product of some modes' factors for some samples, constants included.
    buffer_of<Policy, T> product_of_modes(std::size_t t, const std::vector<std::size_t>& modes, std::size_t first, std::size_t count) const {
        std::vector<buffer_of<Policy, T>> copies;
        std::vector<const_view> dense;
        for (const std::size_t m : modes) {
            const std::size_t f = terms_[t].factors[m], rank = shapes_[terms_[t].core][m + 1];
            copies.push_back(policy_.template allocate<T>(rank * count));
            const auto target = row_major<T, space>(copies.back().data(), rank, count);
            if (f == constant_factor) {
                policy_.transform(rank * count, fill_with<T>{copies.back().data(), T(1) / static_cast<T>(rank)});
            } else {
                policy_.template copy<T>(const_view{parameters_.data() + factor_offsets_[f] + first, rank, count, samples_, storage_order::row_major}, target);
            }
            dense.push_back(target);
        }
        return khatri_rao_buffer<Policy, T, space>(policy_, dense, count);
    }

    term_equations equations_of(std::size_t t, std::size_t mode) const {
        const multilinear_term& term = terms_[t];
        const extents& shape = shapes_[term.core];
        const std::size_t k = shape[0], rank = shape[mode + 1];
        term_equations result{t, {}, 1, {}, {}};
        std::vector<mode_factor<T, space>> given;
        extents reduced = shape, rank_last{0}, rank_first{0, mode + 1};
        for (std::size_t m = 0; m < term.factors.size(); ++m) {
            if (term.factors[m] == constant_factor) {
                given.push_back({m + 1, row_major<const T, space>(constants_[t][m].data(), 1, shape[m + 1])});
                reduced[m + 1] = 1;
            } else if (m != mode) {
                result.modes.push_back(m);
                result.others *= shape[m + 1];
            }
            if (m != mode) {
                rank_last.push_back(m + 1);
                rank_first.push_back(m + 1);
            }
        }
        rank_last.push_back(mode + 1);
        const T* source = parameters_.data() + core_offsets_[term.core];
        const auto memory = policy_.template allocate<T>(given.empty() ? 0 : element_count(reduced));
        if (!given.empty()) {
            multi_mode_product_into<Policy, T, space>(policy_, {source, shape}, std::move(given), memory.data());
            source = memory.data();
        }
        const std::size_t width = result.others * rank;
        const auto turned = policy_.template allocate<T>(k * width);
        result.core = policy_.template allocate<T>(k * width);
        result.gram = policy_.template allocate<T>(width * width);
        policy_.template permute<T>({source, reduced}, rank_last, result.core.data());
        policy_.template permute<T>({source, reduced}, rank_first, turned.data());
        policy_.template gemm<T>(static_cast<T>(term.weight), transposed(row_major<const T, space>(result.core.data(), k, width)),
                                 row_major<const T, space>(turned.data(), k, width), T(0), row_major<T, space>(result.gram.data(), width, width));
        return result;
    }

    /// Brings a factor to a mean square of 1 at the expense of its cores, unless one of them meets a constant in its place.
    void rescale(std::size_t f) {
        std::vector<std::size_t> cores;
        for (const multilinear_term& term : terms_) {
            for (std::size_t m = 0; m < term.factors.size(); ++m) {
                for (const multilinear_term& other : terms_) {
                    if (term.factors[m] == f && other.core == term.core && other.factors[m] == constant_factor) {
                        return;
                    }
                }
                if (term.factors[m] == f && std::find(cores.begin(), cores.end(), term.core) == cores.end()) {
                    cores.push_back(term.core);
                }
            }
        }
        const std::size_t count = ranks_[f] * samples_;
        const double square = sum_of_squares(policy_, static_cast<const T*>(factor(f)), count) / static_cast<double>(count);
        if (!(square > 0)) {
            return;
        }
        scale(factor(f), count, 1 / std::sqrt(square));
        for (const std::size_t c : cores) {
            scale(core(c), element_count(shapes_[c]), std::sqrt(square));
        }
    }

    void scale(T* data, std::size_t count, double by) const { policy_.transform(count, scaled_copy<T>{data, static_cast<T>(by), data}); }

    const Policy& policy_;
    std::vector<const_view> data_;
    const std::vector<multilinear_term>& terms_;
    std::vector<extents> shapes_;
    extents ranks_;
    multilinear_ridge ridge_;
    std::size_t samples_;
    std::vector<std::size_t> core_offsets_ = {}, factor_offsets_ = {};
    buffer_of<Policy, T> parameters_ = {};
    std::vector<std::vector<buffer_of<Policy, T>>> constants_ = {};  ///< of a term's modes: 1 / k_i in every row where its factor is constant
    std::vector<double> squares_ = {};
};

}  // namespace moden::detail
