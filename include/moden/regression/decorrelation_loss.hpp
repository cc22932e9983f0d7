#pragma once

// A loss that is small for codes whose entries are uncorrelated and vary alike.

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/policy/cpu.hpp>
#include <moden/regression/correlation.hpp>
#include <moden/regression/detail/column_moments.hpp>

namespace moden {

/// What variances are compared with.
enum class variance_reference {
    mean,  ///< the mean of all variances: smallest where they are equal
    sum    ///< their sum, as 000 Eq. 1 is printed: smallest only where all are 0
};

/// Options of decorrelation_loss.
struct decorrelation_options {
    variance_reference reference = variance_reference::mean;
    /// 1 - |correlation| counts as at least this, in (0, 1), so that columns that are multiples of each other have a finite loss and
    /// gradient; default: 4 eps.
    std::optional<double> smallest_gap = std::nullopt;
};

/// A loss and its gradient.
template <class Matrix>
struct loss_and_gradient {
    double value = 0;
    Matrix gradient;  ///< of the shape of the argument
};

namespace detail {

/// -log(1 - |r|) of one entry of a matrix of correlations; 0 on the diagonal.
template <class T>
struct correlation_penalty {
    const T* correlations;
    std::size_t size;
    double gap;
    MODEN_HOST_DEVICE double operator()(std::size_t index) const {
        if (index / size == index % size) {
            return 0;
        }
        const double r = static_cast<double>(correlations[index]);
        const double magnitude = r < 0 ? -r : r;
        return -std::log1p(-(magnitude < 1 - gap ? magnitude : 1 - gap));  // exact for small correlations, where log(1 - |r|) is not
    }
};

/// Row i of the matrix K' with gradient = Z K, for standardised codes Z: from the correlations 2 h_ij / sigma_i beside the diagonal, where
/// h = sign(r) / (1 - |r|), and on it what the normalisation of column i and the variance term add.
template <class T>
struct decorrelation_weights {
    const T* correlations;
    const double* inverse_deviation;  ///< 1 / sigma_i, 0 for a constant column
    const double* variance_part;
    std::size_t size;
    double gap;
    T* weights;
    MODEN_HOST_DEVICE void operator()(std::size_t i) const {
        double sum = 0;
        for (std::size_t j = 0; j < size; ++j) {
            const double r = static_cast<double>(correlations[i * size + j]);
            const double magnitude = r < 0 ? -r : r, rest = 1 - magnitude;
            const double slope = (r > 0 ? 1.0 : r < 0 ? -1.0 : 0.0) / (rest < gap ? gap : rest);
            if (i != j) {
                weights[i * size + j] = static_cast<T>(2 * slope * inverse_deviation[i]);
                sum += slope * r;
            }
        }
        weights[i * size + i] = static_cast<T>(variance_part[i] - 2 * sum * inverse_deviation[i]);
    }
};

}  // namespace detail

/// L(W) = - sum over i != j of log(1 - |r_ij|) + sum over i of (Var w_i - reference)^2, with r the correlations and Var the variances
/// (N - 1 degrees of freedom) of the columns of N codes.
///
/// With variance_reference::sum this is 000 Eq. 1 as printed, whose second term is smallest for codes that do not vary at all, against
/// what its text wants (equal variances); with variance_reference::mean, the default, it is smallest for equal variances. Where a
/// correlation is 0, whose magnitude has no derivative, the gradient takes 0. A column that is constant counts as uncorrelated.
///
/// Cost: N d^2 flops for the value, 3 N d^2 with the gradient; memory for a standardised copy of the codes and two d x d matrices.
/// Source: 000 Eq. 1.
/// \snippet tests/regression/decorrelation_loss.cpp decorrelation_loss
class decorrelation_loss {
public:
    /// \param options what variances are compared with, and the smallest gap
    /// \throws argument_error for a gap out of range
    explicit decorrelation_loss(const decorrelation_options& options = {}) : options_(options) {
        const double gap = options.smallest_gap.value_or(0.5);
        detail::require<argument_error>(gap > 0 && gap < 1, "decorrelation_loss: smallest gap ", gap, " (expected 0 < gap < 1)");
    }

    /// \param policy where to compute
    /// \param codes  W, N x d, N >= 2, finite
    /// \return       L(W)
    /// \throws shape_error if the codes are no matrix; argument_error for fewer than two codes, NaN or infinity
    template <execution_policy Policy, any_tensor Codes>
    double value(const Policy& policy, const Codes& codes) const {
        using T = value_type_of<Codes>;
        return with_correlations(policy, codes, [&](const parts<Policy, T>& found) { return value_of(policy, found); });
    }

    template <any_tensor Codes>
    double value(const Codes& codes) const {
        return value(cpu_policy{}, codes);
    }

    /// \param policy where to compute
    /// \param codes  as for value
    /// \return       dL/dW, N x d
    /// \throws as value
    template <execution_policy Policy, any_tensor Codes>
    auto gradient(const Policy& policy, const Codes& codes) const {
        using T = value_type_of<Codes>;
        return with_correlations(policy, codes, [&](const parts<Policy, T>& found) { return gradient_of(policy, found); });
    }

    template <any_tensor Codes>
    auto gradient(const Codes& codes) const {
        return gradient(cpu_policy{}, codes);
    }

    /// \param policy where to compute
    /// \param codes  as for value
    /// \return       both, for little more than the gradient
    /// \throws as value
    template <execution_policy Policy, any_tensor Codes>
    auto value_and_gradient(const Policy& policy, const Codes& codes) const {
        using T = value_type_of<Codes>;
        return with_correlations(policy, codes, [&](const parts<Policy, T>& found) {
            return loss_and_gradient<policy_tensor<Policy, T, 2>>{value_of(policy, found), gradient_of(policy, found)};
        });
    }

    template <any_tensor Codes>
    auto value_and_gradient(const Codes& codes) const {
        return value_and_gradient(cpu_policy{}, codes);
    }

private:
    template <class Policy, class T>
    struct parts {
        std::size_t count, size;
        detail::buffer_of<Policy, T> standardised;  ///< N x d
        detail::buffer_of<Policy, T> correlations;  ///< d x d
        std::vector<double> squares;                ///< d, about the mean
    };

    template <class T>
    double gap() const {
        return options_.smallest_gap.value_or(4 * static_cast<double>(std::numeric_limits<T>::epsilon()));
    }

    template <class Policy, class Codes, class Function>
    auto with_correlations(const Policy& policy, const Codes& codes, Function function) const {
        using T = value_type_of<Codes>;
        using space = typename Policy::memory_space;
        const auto argument = detail::evaluate(policy, codes);
        const auto w = detail::as_matrix(argument.view(), "decorrelation_loss", "the matrix of codes");
        detail::require<shape_error>(w.columns > 0, "decorrelation_loss: codes of ", w.rows, " x ", w.columns, " (expected N x d)");
        detail::require<argument_error>(w.rows >= 2, "decorrelation_loss: ", w.rows, " codes (expected at least 2)");
        const auto moments = detail::moments_of(policy, w, "decorrelation_loss", "the codes");
        parts<Policy, T> found{w.rows, w.columns, policy.template allocate<T>(w.rows * w.columns),
                               policy.template allocate<T>(w.columns * w.columns), moments.squares};
        std::vector<double> factors(w.columns);
        for (std::size_t j = 0; j < w.columns; ++j) {
            factors[j] = inverse_root(found.squares[j]);
        }
        const auto mean = detail::uploaded(policy, moments.mean);
        const auto scale = detail::uploaded(policy, factors);
        policy.transform_rows(w.rows, w.columns,
                              detail::standardised_rows<T>{w.data, mean.data(), scale.data(), w.columns, found.standardised.data()});
        policy.template syrk<T>(T(1), transposed(row_major<const T, space>(found.standardised.data(), w.rows, w.columns)), T(0),
                                row_major<T, space>(found.correlations.data(), w.columns, w.columns));
        return function(found);
    }

    static double inverse_root(double square) { return square > 0 ? 1 / std::sqrt(square) : 0; }

    /// Variance minus reference of every column, and the share of the sum that the reference is.
    std::pair<std::vector<double>, double> excess(const std::vector<double>& squares, std::size_t count) const {
        std::vector<double> result;
        double sum = 0;
        for (const double square : squares) {
            result.push_back(square / static_cast<double>(count - 1));
            sum += result.back();
        }
        const double share = options_.reference == variance_reference::mean ? 1 / static_cast<double>(squares.size()) : 1;
        for (double& x : result) {
            x -= share * sum;
        }
        return {result, share};
    }

    template <class Policy, class T>
    double value_of(const Policy& policy, const parts<Policy, T>& found) const {
        double value = policy.reduce(found.size * found.size, 0.0,
                                     detail::correlation_penalty<T>{found.correlations.data(), found.size, gap<T>()}, detail::plus{});
        for (const double x : excess(found.squares, found.count).first) {
            value += x * x;
        }
        return value;
    }

    template <class Policy, class T>
    auto gradient_of(const Policy& policy, const parts<Policy, T>& found) const {
        using space = typename Policy::memory_space;
        const std::size_t n = found.count, d = found.size;
        const auto [differences, share] = excess(found.squares, n);
        double sum = 0;
        for (const double x : differences) {
            sum += x;
        }
        std::vector<double> inverse(d), variance_part(d);
        for (std::size_t i = 0; i < d; ++i) {
            inverse[i] = inverse_root(found.squares[i]);
            variance_part[i] = 4 * std::sqrt(found.squares[i]) * (differences[i] - share * sum) / static_cast<double>(n - 1);
        }
        const auto inverse_deviation = detail::uploaded(policy, inverse);
        const auto diagonal = detail::uploaded(policy, variance_part);
        const auto weights = policy.template allocate<T>(d * d);
        policy.transform(d,
                         detail::decorrelation_weights<T>{found.correlations.data(), inverse_deviation.data(), diagonal.data(), d, gap<T>(),
                                                          weights.data()},
                         d);
        auto result = policy.template make_tensor<T, 2>({n, d});
        policy.template gemm<T>(T(1), row_major<const T, space>(found.standardised.data(), n, d),
                                transposed(row_major<const T, space>(weights.data(), d, d)), T(0), row_major<T, space>(result.data(), n, d));
        return result;
    }

    decorrelation_options options_;
};

}  // namespace moden
