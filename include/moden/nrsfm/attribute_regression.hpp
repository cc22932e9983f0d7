#pragma once

// A network from latent codes to the parameters of the landmark model, learned from landmarks.

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
#include <moden/linalg/detail/panels.hpp>
#include <moden/maps/multilayer_perceptron.hpp>
#include <moden/nrsfm/detail/attribute_steps.hpp>
#include <moden/nrsfm/detail/tracks.hpp>
#include <moden/nrsfm/shape_model.hpp>
#include <moden/optimize/adam.hpp>

namespace moden {

/// The parts of q = (k11, k12, k22, theta_x, theta_y, theta_z, alpha_1..K, t_x, t_y).
enum class shape_attribute { calibration, rotation, deformation, translation };

/// Where a part of q lies: the pose is `rotation`, the expression and the rest of the shape `deformation`.
///
/// \param basis_shapes K
/// \param part         which
/// \return             indices into q, ascending
inline std::vector<std::size_t> attribute_indices(std::size_t basis_shapes, shape_attribute part) {
    std::size_t first = 0, count = 3;
    switch (part) {
        case shape_attribute::calibration: break;
        case shape_attribute::rotation: first = 3; break;
        case shape_attribute::deformation: first = 6, count = basis_shapes; break;
        case shape_attribute::translation: first = 6 + basis_shapes, count = 2; break;
    }
    std::vector<std::size_t> result(count);
    std::iota(result.begin(), result.end(), first);
    return result;
}

/// Options of fit_attribute_regressor.
struct attribute_regression_options {
    std::vector<std::size_t> hidden = {512, 512, 512};  ///< widths of the hidden layers; may be empty
    activation hidden_activation = activation::relu;
    std::size_t max_iterations = 50;   ///< epochs: passes through the training samples
    std::size_t batch = 128;           ///< samples per step of Adam, at least 1
    double learning_rate = 1e-3;       ///< at the start; falls to 0 along half a cosine
    double weight_decay = 0;           ///< per step and unit of the learning rate, at least 0: weights shrink beside Adam's steps (Loshchilov & Hutter 2019); biases do not
    double attribute_weight = 0;       ///< of the mean squared standardised deviation from the given q, beside the landmarks' relative error; 0: the paper's loss
    double validation = 0.1;           ///< share of samples kept from training, in [0, 1)
    std::size_t patience = 0;          ///< stop after so many epochs without a better validation; 0: never
    std::uint64_t seed = 0;            ///< of weights, validation set and batches
    iteration_callback progress = {};  ///< (epoch, landmark loss of the epoch) -> keep going?
};

/// A network w -> q and how it was learned. Losses are means over samples of |R(phi(w)) - X|^2.
template <class Network>
struct attribute_regression_result {
    Network network;                              ///< phi, of the epoch with the best validation (the last one without)
    double variance = 0;                          ///< mean of |X - mean|^2: what predicting the mean would leave, about
    std::vector<double> history = {};             ///< loss of the training samples, each as its batch met it; one number per epoch
    std::vector<double> validation_history = {};  ///< loss of the validation samples after each epoch
    std::size_t best_iteration = 0;               ///< epoch of the network, counted from 1
    std::size_t iterations = 0;                   ///< epochs
    std::size_t validation_samples = 0;
    iteration_status status = iteration_status::reached_max_iterations;  ///< converged: stopped by patience
};

namespace detail {

inline void check_attribute_options(const attribute_regression_options& options, const char* name) {
    require<argument_error>(options.max_iterations >= 1 && options.batch >= 1, name, ": max_iterations ", options.max_iterations, ", batch ", options.batch,
                            " (expected at least 1)");
    require<argument_error>(options.learning_rate > 0 && std::isfinite(options.learning_rate) && options.attribute_weight >= 0 &&
                                std::isfinite(options.attribute_weight) && options.weight_decay >= 0 && options.weight_decay * options.learning_rate < 1,
                            name, ": learning_rate ", options.learning_rate, ", weight_decay ", options.weight_decay, ", attribute_weight ", options.attribute_weight,
                            " (expected a positive rate, a decay below 1 / rate, weights of at least 0, all finite)");
    require<argument_error>(options.validation >= 0 && options.validation < 1, name, ": validation ", options.validation, " (expected a share in [0, 1))");
    require<argument_error>(options.patience == 0 || options.validation > 0, name, ": patience ", options.patience, " without validation samples");
}

/// 0, 1, ..., count - 1 in an order that the seed and the stream decide.
inline std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed, std::uint64_t stream) {
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = count; i > 1; --i) {
        const random_words words = philox(seed, stream, i);
        const std::uint64_t bits = static_cast<std::uint64_t>(words.word[0]) << 32 | words.word[1];
        std::swap(order[i - 1], order[bits % i]);
    }
    return order;
}

/// Samples in standard units and what a batch of them costs.
template <class Policy, class T, class Matrix>
class attribute_training {
public:
    attribute_training(const Policy& policy, const rank_one_shape_model<Matrix>& model, const T* codes, const T* landmarks, const T* attributes, std::size_t count,
                       std::size_t width)
        : policy_(policy), model_(model), count_(count), width_(width), size_(model.input_size()), landmarks_(landmarks),
          codes_(policy.template allocate<T>(count * width)), wanted_(policy.template allocate<T>(count * size_)), code_spread_(policy.template allocate<T>(2 * width)),
          attribute_spread_(policy.template allocate<T>(2 * size_)) {
        constexpr double rounding = 64 * static_cast<double>(std::numeric_limits<T>::epsilon());
        policy.transform(width, column_spread<T>{codes, count, width, rounding, code_spread_.data(), code_spread_.data() + width}, count);
        policy.transform(size_, column_spread<T>{attributes, count, size_, rounding, attribute_spread_.data(), attribute_spread_.data() + size_}, count);
        policy.transform_rows(count, width, standardize_rows<T>{codes, code_spread_.data(), code_spread_.data() + width, codes_.data(), width});
        policy.transform_rows(count, size_, standardize_rows<T>{attributes, attribute_spread_.data(), attribute_spread_.data() + size_, wanted_.data(), size_});
        const std::size_t coordinates = model.output_size();
        const auto spread = policy.template allocate<T>(2 * coordinates);
        policy.transform(coordinates, column_spread<T>{landmarks, count, coordinates, 0, spread.data(), spread.data() + coordinates}, count);
        variance_ = sum_of_squares(policy, static_cast<const T*>(spread.data() + coordinates), coordinates);
    }

    double variance() const { return variance_; }

    /// Sum of |R(q) - X|^2 of some samples (indices in the policy's memory). With a gradient, that of their mean objective.
    template <class Network>
    double loss(const Network& network, const std::size_t* samples, std::size_t some, double attribute_weight, T* gradient) const {
        using space = typename Policy::memory_space;
        const std::size_t coordinates = model_.output_size(), p = 3 + model_.basis_shapes();
        const T* const means = attribute_spread_.data();
        const T* const deviations = means + size_;
        auto points = policy_.template make_tensor<T, 2>({some, width_});
        policy_.transform_rows(some, width_, gather_listed_rows<T>{codes_.data(), samples, points.data(), width_});
        auto attributes = policy_.template make_tensor<T, 2>({some, size_});
        const auto pass = network.forward(policy_, points);
        policy_.transform_rows(some, size_, restore_rows<T>{pass.outputs.data(), means, deviations, attributes.data(), size_});
        auto residual = model_.landmarks(policy_, attributes);
        const auto seen = policy_.template allocate<T>(some * coordinates);
        policy_.transform_rows(some, coordinates, gather_listed_rows<T>{landmarks_, samples, seen.data(), coordinates});
        policy_.transform(some * coordinates, difference_of<T>{residual.data(), seen.data(), residual.data()});
        const double sum = sum_of_squares(policy_, static_cast<const T*>(residual.data()), some * coordinates);
        if (gradient != nullptr) {
            const auto moments = policy_.template allocate<T>(2 * some * p);
            const auto pulled = policy_.template allocate<T>(some * size_);
            auto slopes = policy_.template make_tensor<T, 2>({some, size_});
            const auto wanted = policy_.template allocate<T>(some * size_);
            policy_.transform_rows(some, size_, gather_listed_rows<T>{wanted_.data(), samples, wanted.data(), size_});
            policy_.template gemm<T>(T(1), row_major<const T, space>(residual.data(), 2 * some, model_.points()),
                                     transposed(row_major<const T, space>(model_.shapes().data(), p, model_.points())), T(0),
                                     row_major<T, space>(moments.data(), 2 * some, p));
            const pull_back_parameters<T> rows{attributes.data(), model_.directions().data(), moments.data(), residual.data(), model_.basis_shapes(), model_.points(),
                                               pulled.data()};
            policy_.transform(some, pull_back_each<T>{rows}, 2 * model_.points());
            const double each = 2.0 / static_cast<double>(some), scale = variance_ > 0 ? each / variance_ : each;
            policy_.transform_rows(some, size_, attribute_slope<T>{pulled.data(), deviations, pass.outputs.data(), wanted.data(), static_cast<T>(scale),
                                                                   static_cast<T>(each * attribute_weight / static_cast<double>(size_)), slopes.data(), size_});
            network.backward(policy_, pass, slopes, gradient);
        }
        return sum;
    }

    /// The same network for codes and attributes in their own units.
    template <class Network>
    void to_own_units(Network& network) const {
        const std::size_t last = network.layers() - 1;
        policy_.transform(network.widths()[1], fold_input_scale<T>{network.weights(0).data, network.bias(0), code_spread_.data(), code_spread_.data() + width_, width_},
                          width_);
        policy_.transform(size_, fold_output_scale<T>{network.weights(last).data, network.bias(last), attribute_spread_.data(), attribute_spread_.data() + size_,
                                                      network.widths()[last]},
                          network.widths()[last]);
    }

private:
    const Policy& policy_;
    const rank_one_shape_model<Matrix>& model_;
    std::size_t count_, width_, size_;
    const T* landmarks_;
    buffer_of<Policy, T> codes_, wanted_, code_spread_, attribute_spread_;
    double variance_ = 0;
};

}  // namespace detail

/// Learns a network phi from codes to attributes such that R(phi(w)) are the landmarks: min sum_n |R(phi(w_n)) - X_n|^2, by Adam on batches.
///
/// Codes are standardised and attributes are learned as deviations from their mean in units of their spread; both scales are folded into the first and
/// the last layer afterwards, so that the result is a plain network between the two. The network starts from the mean attributes. Attributes that
/// do not vary (k12 of scaled orthographic cameras) stay as they are.
///
/// \param policy     where to compute
/// \param model      R, of make_shape_model
/// \param codes      w, N x d, finite
/// \param landmarks  X, N x 2 x L or 2N x L, finite
/// \param attributes q of the same samples, N x (8 + K), as fit_shape_parameters finds them: their means and spreads, and what attribute_weight holds on to
/// \param options    layers, epochs, batches, rates, validation, seed
/// \return           the network (a differentiable_map), losses per epoch, status
/// \throws shape_error if the shapes do not fit; argument_error for NaN or infinity, options out of range and fewer than 2 samples on either side of the split;
///         solver_error if an epoch's loss or a parameter of the network is not finite
///
/// Cost: per epoch 6 N times the number of weights, and 8 N L (3 + K). Memory: copies of codes and attributes.
/// Source: 001 Eq. 4.15, Paper III Eq. 12 and section 4.1.
/// \snippet tests/nrsfm/attribute_regression.cpp fit_attribute_regressor
template <execution_policy Policy, class Matrix, any_tensor Codes, any_tensor Landmarks, any_tensor Attributes>
auto fit_attribute_regressor(const Policy& policy, const rank_one_shape_model<Matrix>& model, const Codes& codes, const Landmarks& landmarks,
                             const Attributes& attributes, const attribute_regression_options& options = {}) {
    using T = value_type_of<Codes>;
    static_assert(std::is_same_v<T, value_type_of<Matrix>> && std::is_same_v<T, value_type_of<Landmarks>> && std::is_same_v<T, value_type_of<Attributes>>,
                  "moden: fit_attribute_regressor with codes, landmarks, attributes and a model of different types");
    constexpr const char* name = "fit_attribute_regressor";
    const auto w = detail::evaluate(policy, codes);
    const auto x = detail::evaluate(policy, landmarks);
    const auto q = detail::evaluate(policy, attributes);
    const auto points = detail::as_matrix(w.view(), name, "the matrix of codes");
    const auto [frames, shown] = detail::check_track_shape(x.view().shape, name, 0);
    const auto rows = detail::as_matrix(q.view(), name, "the matrix of attributes");
    const std::size_t count = points.rows, width = points.columns;
    detail::require<shape_error>(frames == count && rows.rows == count && shown == model.points() && rows.columns == model.input_size() && width > 0, name,
                                 ": codes of ", w.view().shape, ", landmarks of ", x.view().shape, " and attributes of ", q.view().shape, " for a model of ",
                                 model.points(), " points and ", model.basis_shapes(), " basis shapes");
    detail::check_attribute_options(options, name);
    detail::require_finite(policy, points.data, count * width, name, "the matrix of codes");
    detail::require_finite(policy, x.view().data, x.view().size(), name, "the tensor of landmarks");
    detail::require_finite(policy, rows.data, count * rows.columns, name, "the matrix of attributes");
    const std::size_t kept = static_cast<std::size_t>(options.validation * static_cast<double>(count) + 0.5), taught = count - std::min(kept, count);
    detail::require<argument_error>(taught >= 2 && (options.validation == 0 || kept >= 2), name, ": ", count, " samples, ", kept,
                                    " of them for validation (expected at least 2 on either side)");

    const detail::attribute_training<Policy, T, Matrix> training(policy, model, points.data, x.view().data, rows.data, count, width);
    std::vector<std::size_t> widths{width};
    widths.insert(widths.end(), options.hidden.begin(), options.hidden.end());
    widths.push_back(model.input_size());
    using network = multilayer_perceptron<Policy, T>;
    attribute_regression_result<network> result{network(policy, widths, {.hidden = options.hidden_activation, .seed = options.seed}), training.variance()};
    network& phi = result.network;
    const auto last = phi.weights(phi.layers() - 1);
    policy.transform(last.rows * last.columns, detail::fill_with<T>{last.data, T(0)});

    // Streams 0, 1, ... of the seed are the layers' weights.
    constexpr std::uint64_t split_stream = std::uint64_t{1} << 32;
    const std::vector<std::size_t> order = detail::shuffled(count, options.seed, split_stream);
    const auto held = detail::uploaded<Policy, std::size_t>(policy, std::vector<std::size_t>(order.begin() + static_cast<std::ptrdiff_t>(taught), order.end()));
    const std::size_t batch = std::min(options.batch, taught), steps = (taught + batch - 1) / batch;
    const auto gradient = policy.template allocate<T>(phi.parameter_count());
    const auto best = policy.template allocate<T>(phi.parameter_count());
    adam<Policy, T> optimiser(policy, phi.parameter_count());
    double best_loss = std::numeric_limits<double>::infinity();
    while (result.iterations < options.max_iterations && result.status == iteration_status::reached_max_iterations) {
        std::vector<std::size_t> mixed = detail::shuffled(taught, options.seed, split_stream + 1 + result.iterations);
        for (std::size_t& sample : mixed) {
            sample = order[sample];
        }
        const auto samples = detail::uploaded<Policy, std::size_t>(policy, mixed);
        double sum = 0;
        for (std::size_t step = 0; step < steps; ++step) {
            const std::size_t first = step * batch, some = std::min(batch, taught - first);
            const double done = static_cast<double>(result.iterations * steps + step) / static_cast<double>(options.max_iterations * steps);
            sum += training.loss(phi, samples.data() + first, some, options.attribute_weight, gradient.data());
            const double rate = 0.5 * options.learning_rate * (1 + std::cos(3.14159265358979323846 * done));
            for (std::size_t l = 0; options.weight_decay > 0 && l < phi.layers(); ++l) {
                const auto weights = phi.weights(l);
                policy.transform(weights.rows * weights.columns, detail::scaled_copy<T>{weights.data, static_cast<T>(1 - rate * options.weight_decay), weights.data});
            }
            optimiser.step(policy, rate, phi.parameters(), gradient.data());
        }
        detail::require<solver_error>(std::isfinite(sum), name, ": epoch ", result.iterations + 1, " has the loss ", sum, "; the learning rate of ", options.learning_rate,
                                      " may be too large");
        result.history.push_back(sum / static_cast<double>(taught));
        ++result.iterations;
        double now = -static_cast<double>(result.iterations);  // without validation the last epoch is the best one
        if (kept > 0) {
            double left = 0;
            for (std::size_t first = 0; first < kept; first += 1024) {
                left += training.loss(phi, held.data() + first, std::min<std::size_t>(1024, kept - first), 0.0, nullptr);
            }
            now = left / static_cast<double>(kept);
            result.validation_history.push_back(now);
        }
        if (now < best_loss || result.best_iteration == 0) {
            best_loss = now;
            result.best_iteration = result.iterations;
            policy.copy(static_cast<const T*>(phi.parameters()), best.data(), phi.parameter_count());
        }
        if (options.progress && !options.progress(result.iterations, result.history.back())) {
            result.status = iteration_status::stopped_by_callback;
        } else if (options.patience > 0 && result.iterations - result.best_iteration >= options.patience) {
            result.status = iteration_status::converged;
        }
    }
    policy.copy(static_cast<const T*>(best.data()), phi.parameters(), phi.parameter_count());
    // The loss of an epoch is of the parameters before its last step.
    const std::size_t bad = detail::count_not_finite(policy, static_cast<const T*>(phi.parameters()), phi.parameter_count());
    detail::require<solver_error>(bad == 0, name, ": ", bad, " of ", phi.parameter_count(), " parameters of the network are NaN or infinite after epoch ",
                                  result.best_iteration, "; the learning rate of ", options.learning_rate, " may be too large");
    training.to_own_units(phi);
    result.validation_samples = kept;
    return result;
}

}  // namespace moden
