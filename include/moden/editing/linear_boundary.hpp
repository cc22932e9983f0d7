#pragma once

// Linear boundaries between two classes of codes: a support vector machine by dual coordinate descent. Host only.

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
#include <moden/policy/cpu.hpp>

namespace moden {

/// What a code on the wrong side of its margin costs.
enum class boundary_loss {
    hinge,         ///< max(0, 1 - y f)
    squared_hinge  ///< its square
};

/// Options of linear_boundary.
struct linear_boundary_options {
    double cost = 1;                          ///< C, the weight of the losses against |w|^2 / 2; positive
    boundary_loss loss = boundary_loss::hinge;
    double tolerance = 1e-4;                  ///< stop when the duality gap is below this times the objective
    std::size_t max_iterations = 10000;       ///< passes over the codes
    std::uint64_t seed = 0;                   ///< of the order in which codes are visited
    iteration_callback progress = {};         ///< (pass, objective) -> keep going?
};

/// A boundary { x : normal' x + offset = 0 } and how well it separates.
struct linear_boundary_result {
    tensor<double, 2> normal;       ///< 1 x d, of length 1, towards the positive class
    double offset = 0;              ///< signed distance of the origin
    double margin = 0;              ///< distance of the margins from the boundary, 1 / |w|
    double accuracy = 0;            ///< share of the codes on their side
    double objective = 0;           ///< |w|^2 / 2 + C sum of losses, w with the offset as its last entry
    double duality_gap = 0;         ///< objective minus a lower bound of the best one
    std::size_t support = 0;        ///< codes that hold the boundary
    std::size_t iterations = 0;
    iteration_status status = iteration_status::reached_max_iterations;
};

namespace detail {

/// The dual problem: min 1/2 |sum_i a_i y_i x_i|^2 + sum_i (D a_i^2 / 2 - a_i), 0 <= a_i <= U, one a_i at a time. x_i has a 1
/// as its last entry.
template <class T>
class dual_coordinate_descent {
public:
    dual_coordinate_descent(const T* codes, const std::vector<signed char>& signs, std::size_t size, const linear_boundary_options& options)
        : codes_(codes), signs_(signs), size_(size), options_(options), bound_(std::numeric_limits<double>::infinity()), w_(size + 1),
          a_(signs.size()), squares_(signs.size()) {
        if (options.loss == boundary_loss::hinge) {
            bound_ = options.cost;
        } else {
            diagonal_ = 0.5 / options.cost;
        }
        for (std::size_t n = 0; n < signs.size(); ++n) {
            squares_[n] = 1;
            for (std::size_t i = 0; i < size; ++i) {
                squares_[n] += value(n, i) * value(n, i);
            }
        }
    }

    /// One pass over all codes in a new order.
    void pass(std::size_t number) {
        std::vector<double> keys(signs_.size());
        fill_uniform(cpu_policy{}, keys.data(), keys.size(), options_.seed, number);
        std::vector<std::size_t> order(signs_.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return keys[i] < keys[j]; });
        for (const std::size_t n : order) {
            const double sign = signs_[n];
            const double slope = sign * decision(n) - 1 + diagonal_ * a_[n];
            const double next = std::clamp(a_[n] - slope / (squares_[n] + diagonal_), 0.0, bound_);
            const double step = (next - a_[n]) * sign;
            if (step != 0) {
                for (std::size_t i = 0; i < size_; ++i) {
                    w_[i] += step * value(n, i);
                }
                w_[size_] += step;
                a_[n] = next;
            }
        }
    }

    void report(linear_boundary_result& result) const {
        double square = 0, losses = 0, dual = 0, correct = 0;
        for (const double w : w_) {
            square += w * w;
        }
        result.support = 0;
        for (std::size_t n = 0; n < signs_.size(); ++n) {
            const double side = signs_[n] * decision(n);
            const double loss = std::max(0.0, 1 - side);
            losses += options_.loss == boundary_loss::hinge ? loss : loss * loss;
            dual += a_[n] - 0.5 * diagonal_ * a_[n] * a_[n];
            correct += side > 0 ? 1 : 0;
            result.support += a_[n] > 0;
        }
        result.objective = 0.5 * square + options_.cost * losses;
        result.duality_gap = result.objective - (dual - 0.5 * square);
        result.accuracy = correct / static_cast<double>(signs_.size());
    }

    const std::vector<double>& weights() const { return w_; }

    /// Squared length of the longest code.
    double largest_square() const { return *std::max_element(squares_.begin(), squares_.end()); }

private:
    double value(std::size_t n, std::size_t i) const { return static_cast<double>(codes_[n * size_ + i]); }

    double decision(std::size_t n) const {
        double sum = w_[size_];
        for (std::size_t i = 0; i < size_; ++i) {
            sum += w_[i] * value(n, i);
        }
        return sum;
    }

    const T* codes_;
    const std::vector<signed char>& signs_;
    std::size_t size_;
    const linear_boundary_options& options_;
    double bound_;
    double diagonal_ = 0;
    std::vector<double> w_;
    std::vector<double> a_;
    std::vector<double> squares_;
};

}  // namespace detail

/// The boundary of largest margin between two classes of codes (linear support vector machine); its normal is an editing
/// direction.
///
///     min 1/2 |w|^2 + C sum_n loss(y_n (w' x_n + b)),   y_n = 1 or -1
///
/// The offset b is regularised with w (as liblinear does), so codes should be centred roughly. Dual coordinate descent, until the
/// duality gap says that the objective is within `tolerance` of the best.
///
/// \param codes   N x d on the host, finite
/// \param labels  one per code; positive is the positive class, all others the negative one
/// \param options cost, loss, tolerance
/// \return        unit normal, offset, margin, accuracy on these codes, objective, duality gap, status
/// \throws shape_error if codes are no matrix or labels of another number; argument_error if a class has no code, which names
///         it, for a cost that is not positive and finite, NaN or infinity
///
/// Cost: 4 N d flops per pass, no copy of the codes. Source: Hsieh et al. 2008, Alg. 1; 001 section 2.5 (Shen et al. 2020).
/// \snippet tests/unit/boundary.cpp linear_boundary
template <any_tensor Codes>
linear_boundary_result linear_boundary(const Codes& codes, const std::vector<int>& labels, const linear_boundary_options& options = {}) {
    const auto argument = detail::evaluate(cpu_policy{}, codes);
    const auto& view = argument.view();
    detail::require<shape_error>(view.order() == 2 && view.shape[0] == labels.size() && view.size() > 0, "linear_boundary: codes of ",
                                 view.shape, " and ", labels.size(), " labels (expected N x d and N)");
    detail::require_finite(cpu_policy{}, view.data, view.size(), "linear_boundary", "the codes");
    detail::require<argument_error>(options.cost > 0 && std::isfinite(options.cost), "linear_boundary: cost ", options.cost,
                                    " (expected a positive, finite value)");
    detail::require<argument_error>(options.tolerance > 0 && options.max_iterations >= 1, "linear_boundary: tolerance ", options.tolerance,
                                    " and ", options.max_iterations, " passes (expected a positive tolerance and at least one pass)");
    std::vector<signed char> signs;
    for (const int label : labels) {
        signs.push_back(label > 0 ? 1 : -1);
    }
    const auto positive = static_cast<std::size_t>(std::count(signs.begin(), signs.end(), 1));
    detail::require<argument_error>(positive > 0 && positive < signs.size(), "linear_boundary: the ", positive == 0 ? "positive" : "negative",
                                    " class is empty (", positive, " of ", signs.size(), " codes are positive)");
    detail::dual_coordinate_descent<value_type_of<Codes>> descent(view.data, signs, view.shape[1], options);
    linear_boundary_result result;
    while (result.status == iteration_status::reached_max_iterations && result.iterations < options.max_iterations) {
        descent.pass(result.iterations++);
        descent.report(result);
        if (result.duality_gap <= options.tolerance * result.objective) {
            result.status = iteration_status::converged;
        }
        if (options.progress && !options.progress(result.iterations, result.objective) && result.status != iteration_status::converged) {
            result.status = iteration_status::stopped_by_callback;
        }
    }
    const std::vector<double>& w = descent.weights();
    const std::size_t size = view.shape[1];
    double square = 0;
    for (std::size_t i = 0; i < size; ++i) {
        square += w[i] * w[i];
    }
    constexpr double rounding = 1e-24;
    detail::require<argument_error>(square * descent.largest_square() > rounding,
                                    "linear_boundary: nothing separates the classes (are their codes the same?)");
    result.margin = 1 / std::sqrt(square);
    result.offset = w[size] * result.margin;
    result.normal = tensor<double, 2>::from_shape({1, size});
    for (std::size_t i = 0; i < size; ++i) {
        result.normal(0, i) = w[i] * result.margin;
    }
    return result;
}

/// Samples with the lowest and the highest scores.
struct score_extremes {
    std::vector<std::size_t> lowest;   ///< indices, ascending scores
    std::vector<std::size_t> highest;  ///< indices, descending scores
};

/// The share of samples with the lowest and with the highest scores: the classes of a boundary for a continuous attribute.
///
/// \param scores   one per sample, finite
/// \param fraction of all samples, on each side; in (0, 0.5]
/// \return         indices of round(fraction N) samples on each side, at least one
/// \throws argument_error for a fraction out of range, fewer than two samples, NaN or infinity
///
/// Source: Shen et al. 2020 take 0.02.
/// \snippet tests/unit/boundary.cpp linear_boundary
inline score_extremes extremes_by_score(const std::vector<double>& scores, double fraction) {
    detail::require<argument_error>(fraction > 0 && fraction <= 0.5, "extremes_by_score: fraction ", fraction, " (expected a value in (0, 0.5])");
    detail::require<argument_error>(scores.size() >= 2, "extremes_by_score: ", scores.size(), " scores (expected at least 2)");
    detail::require_finite(cpu_policy{}, scores.data(), scores.size(), "extremes_by_score", "the list of scores");
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return scores[i] < scores[j]; });
    const auto wanted = static_cast<std::size_t>(std::llround(fraction * static_cast<double>(scores.size())));
    const auto count = static_cast<std::ptrdiff_t>(std::clamp<std::size_t>(wanted, 1, scores.size() / 2));
    return {{order.begin(), order.begin() + count}, {order.rbegin(), order.rbegin() + count}};
}

}  // namespace moden
