#pragma once

// Independent component analysis: linear combinations of centred data that are as far from normally distributed as possible.

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
#include <moden/core/tensor_traits.hpp>
#include <moden/linalg/decompositions.hpp>
#include <moden/linalg/detail/panels.hpp>
#include <moden/linalg/signs.hpp>
#include <moden/policy/cpu.hpp>

namespace moden {

/// Options of independent_components.
struct independent_components_options {
    std::size_t count = 0;             ///< components, from as many principal components; 0 means all that the data have
    double tolerance = 1e-4;           ///< stop when no direction turns by more than about the square root of twice this, in radians
    std::size_t max_iterations = 500;
    std::uint64_t seed = 0;            ///< of the start
    iteration_callback progress = {};  ///< told the largest change after every iteration
};

/// Independent components, sorted by excess kurtosis: few levels first, rare large values last, normal noise in between at 0.
template <class Matrix>
struct independent_components_result {
    Matrix sources;                     ///< N x c: mean 0, variance 1 and uncorrelated
    Matrix unmixing;                    ///< c x d: sources = (X - mean) unmixing'
    Matrix mixing;                      ///< d x c: X - mean is mixing sources' on the principal components that were kept
    Matrix mean;                        ///< 1 x d
    std::vector<double> kurtosis = {};  ///< excess kurtosis E[s^4] - 3 of every component, ascending
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

namespace detail {

/// y <- tanh(y), in place.
template <class T>
struct hyperbolic_tangent {
    T* y;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const { y[i] = std::tanh(y[i]); }
};

/// Sums over rows of some power of a column.
template <class T>
struct column_power {
    const T* y;
    std::size_t rows;
    std::size_t columns;
    int power;
    double* sums;
    MODEN_HOST_DEVICE void operator()(std::size_t c) const {
        double sum = 0;
        for (std::size_t n = 0; n < rows; ++n) {
            const double square = static_cast<double>(y[n * columns + c]) * static_cast<double>(y[n * columns + c]);
            sum += power == 2 ? square : square * square;
        }
        sums[c] = sum;
    }
};

/// directions(c, .) = means(c, .) - (1 - squares(c) / rows) directions(c, .).
template <class T>
struct fixed_point_step {
    const T* means;
    const double* squares;
    double rows;
    std::size_t size;
    T* directions;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        directions[i] = static_cast<T>(static_cast<double>(means[i]) - (1 - squares[i / size] / rows) * static_cast<double>(directions[i]));
    }
};

/// Row i of the result is factor(i) times row order(i).
template <class T>
struct scaled_rows {
    const T* source;
    const double* factors;
    const std::size_t* order;
    std::size_t columns;
    T* target;
    MODEN_HOST_DEVICE void operator()(std::size_t i, std::size_t j) const {
        target[i * columns + j] = static_cast<T>(factors[i] * static_cast<double>(source[order[i] * columns + j]));
    }
};

/// W <- (W W')^(-1/2) W for a dense row-major c x c matrix: the nearest one with orthonormal rows.
template <class Policy, class T>
void decorrelate(const Policy& policy, T* w, std::size_t c) {
    using space = typename Policy::memory_space;
    const auto scratch = policy.template allocate<T>(c * c), left = policy.template allocate<T>(c * c), right = policy.template allocate<T>(c * c);
    const auto values = policy.template allocate<T>(c);
    policy.copy(static_cast<const T*>(w), scratch.data(), c * c);
    policy.template svd<T>(row_major<T, space>(scratch.data(), c, c), values.data(), row_major<T, space>(left.data(), c, c),
                           row_major<T, space>(right.data(), c, c));
    policy.template gemm<T>(T(1), row_major<const T, space>(left.data(), c, c), row_major<const T, space>(right.data(), c, c), T(0),
                            row_major<T, space>(w, c, c));
}

}  // namespace detail

/// Independent components by the symmetric fixed-point iteration with the contrast log cosh.
///
/// Data are centred and whitened along their leading principal components; a rotation remains, and it makes the components as
/// different from normal distributions as it can. Normal components stay mixed with each other.
///
/// \param policy  where to compute
/// \param samples N x d, N >= 2
/// \param options number of components, stopping
/// \return        sources, unmixing and mixing matrices, kurtosis, status
/// \throws shape_error if the samples are no matrix or empty; argument_error for NaN or infinity, a single sample, or more components
///         than the data have directions with a variance above max(N, d) eps of the largest
///
/// Cost: N d^2 flops and an eigenproblem of d x d for whitening, 4 N c^2 flops and N c hyperbolic tangents per iteration; memory for a copy
/// of the samples and 2 N c numbers.
/// Source: Hyvarinen 1999 (FastICA).
/// \snippet tests/policy/independent_components.cpp independent_components
template <execution_policy Policy, any_tensor Samples>
auto independent_components(const Policy& policy, const Samples& samples, const independent_components_options& options = {}) {
    using T = value_type_of<Samples>;
    using space = typename Policy::memory_space;
    using matrix = policy_tensor<Policy, T, 2>;
    constexpr const char* name = "independent_components";
    return detail::with_finite_matrix(policy, samples, name, [&](matrix_view<const T, space> x) {
        const std::size_t n = x.rows, d = x.columns;
        detail::require<argument_error>(n >= 2, name, ": ", n, " samples (expected at least 2)");
        detail::require<argument_error>(options.tolerance > 0 && options.max_iterations >= 1, name, ": tolerance ", options.tolerance, " and ",
                                        options.max_iterations, " iterations (expected a positive one and at least 1)");
        // Centred samples and their principal axes.
        auto mean = policy.template make_tensor<T, 2>({1, d});
        const auto weights = policy.template allocate<T>(n);
        policy.transform(n, detail::fill_with<T>{weights.data(), T(1) / static_cast<T>(n)});
        policy.template gemm<T>(T(1), row_major<const T, space>(weights.data(), 1, n), x, T(0), row_major<T, space>(mean.data(), 1, d));
        const auto centred = detail::scratch_copy(policy, x);
        policy.transform(n * d, detail::subtract_line<T, T>{centred.data(), mean.data(), d, centred.data()});
        const auto rows = row_major<const T, space>(centred.data(), n, d);
        const auto gram = policy.template allocate<T>(d * d), axes = policy.template allocate<T>(d * d);
        const auto variances = policy.template allocate<T>(d);
        policy.template syrk<T>(T(1) / static_cast<T>(n), transposed(rows), T(0), row_major<T, space>(gram.data(), d, d));
        policy.template eigh<T>(row_major<T, space>(gram.data(), d, d), variances.data(), column_major<T, space>(axes.data(), d, d));
        const auto spectrum = detail::to_vector<Policy, T>(policy, variances.data(), d);
        std::size_t rank = 0;
        const double smallest = static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(std::max(n, d)) * static_cast<double>(spectrum[0]);
        while (rank < d && static_cast<double>(spectrum[rank]) > smallest) {
            ++rank;
        }
        const std::size_t c = options.count == 0 ? rank : options.count;
        detail::require<argument_error>(c >= 1 && c <= rank, name, ": ", c, " components of data of ", n, " x ", d, " with ", rank,
                                        " directions that vary (expected at most as many, and one at least)");
        std::vector<double> scales, lengths;
        std::vector<std::size_t> order(c);
        std::iota(order.begin(), order.end(), std::size_t{0});
        for (std::size_t i = 0; i < c; ++i) {
            lengths.push_back(std::sqrt(static_cast<double>(spectrum[i])));
            scales.push_back(1 / lengths.back());
        }
        // Axes lie column by column, that is, as rows of a c x d matrix.
        const auto sorted = detail::uploaded(policy, order);
        const auto inverse_lengths = detail::uploaded(policy, scales), all_lengths = detail::uploaded(policy, lengths);
        const auto whitening = policy.template allocate<T>(c * d), colouring = policy.template allocate<T>(c * d);
        policy.transform_grid(c, d, detail::scaled_rows<T>{axes.data(), inverse_lengths.data(), sorted.data(), d, whitening.data()});
        policy.transform_grid(c, d, detail::scaled_rows<T>{axes.data(), all_lengths.data(), sorted.data(), d, colouring.data()});
        const auto white = policy.template allocate<T>(n * c), bent = policy.template allocate<T>(n * c);
        const auto z = row_major<const T, space>(white.data(), n, c);
        policy.template gemm<T>(T(1), rows, transposed(row_major<const T, space>(whitening.data(), c, d)), T(0), row_major<T, space>(white.data(), n, c));

        independent_components_result<matrix> result{policy.template make_tensor<T, 2>({n, c}), policy.template make_tensor<T, 2>({c, d}),
                                                     policy.template make_tensor<T, 2>({d, c}), std::move(mean)};
        const auto w = policy.template allocate<T>(c * c), before = policy.template allocate<T>(c * c), means = policy.template allocate<T>(c * c);
        const auto sums = policy.template allocate<double>(c);
        fill_normal(policy, w.data(), c * c, options.seed);
        detail::decorrelate(policy, w.data(), c);
        const auto directions = row_major<const T, space>(w.data(), c, c);
        const auto project = [&] {
            policy.template gemm<T>(T(1), z, transposed(directions), T(0), row_major<T, space>(bent.data(), n, c));
        };
        while (result.iterations < options.max_iterations) {
            project();
            policy.transform(n * c, detail::hyperbolic_tangent<T>{bent.data()}, 20);
            policy.transform(c, detail::column_power<T>{bent.data(), n, c, 2, sums.data()}, n);
            policy.copy(static_cast<const T*>(w.data()), before.data(), c * c);
            policy.template gemm<T>(T(1) / static_cast<T>(n), transposed(row_major<const T, space>(bent.data(), n, c)), z, T(0),
                                    row_major<T, space>(means.data(), c, c));
            policy.transform(c * c, detail::fixed_point_step<T>{means.data(), sums.data(), static_cast<double>(n), c, w.data()});
            detail::decorrelate(policy, w.data(), c);
            policy.template gemm<T>(T(1), directions, transposed(row_major<const T, space>(before.data(), c, c)), T(0),
                                    row_major<T, space>(means.data(), c, c));
            const auto turned = detail::to_vector<Policy, T>(policy, means.data(), c * c);
            double change = 0;
            for (std::size_t i = 0; i < c; ++i) {
                change = std::max(change, std::abs(1 - std::abs(static_cast<double>(turned[i * c + i]))));
            }
            ++result.iterations;
            if (options.progress && !options.progress(result.iterations, change)) {
                result.status = iteration_status::stopped_by_callback;
                break;
            }
            if (change <= options.tolerance) {
                result.status = iteration_status::converged;
                break;
            }
        }
        project();
        policy.transform(c, detail::column_power<T>{bent.data(), n, c, 4, sums.data()}, n);
        const auto fourth = detail::to_vector<Policy, double>(policy, sums.data(), c);
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return fourth[a] < fourth[b]; });
        for (const std::size_t i : order) {
            result.kurtosis.push_back(fourth[i] / static_cast<double>(n) - 3);
        }
        const auto by_kurtosis = detail::uploaded(policy, order);
        const auto ones = detail::uploaded(policy, std::vector<double>(c, 1.0));
        policy.transform_grid(c, c, detail::scaled_rows<T>{w.data(), ones.data(), by_kurtosis.data(), c, before.data()});
        const auto chosen = row_major<const T, space>(before.data(), c, c);
        policy.template gemm<T>(T(1), chosen, row_major<const T, space>(whitening.data(), c, d), T(0), row_major<T, space>(result.unmixing.data(), c, d));
        policy.template gemm<T>(T(1), transposed(row_major<const T, space>(colouring.data(), c, d)), transposed(chosen), T(0),
                                row_major<T, space>(result.mixing.data(), d, c));
        detail::fix_signs(policy, row_major<T, space>(result.mixing.data(), d, c), row_major<T, space>(result.unmixing.data(), c, d));
        policy.template gemm<T>(T(1), rows, transposed(row_major<const T, space>(result.unmixing.data(), c, d)), T(0),
                                row_major<T, space>(result.sources.data(), n, c));
        return result;
    });
}

template <any_tensor Samples>
auto independent_components(const Samples& samples, const independent_components_options& options = {}) {
    return independent_components(cpu_policy{}, samples, options);
}

}  // namespace moden
