#pragma once

// A fully connected network with its derivatives in the input and in the parameters.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/macros.hpp>
#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/maps/detail/row_steps.hpp>
#include <moden/maps/differentiable_map.hpp>

namespace moden {

/// What hidden layers apply to their sums.
enum class activation {
    relu,  ///< max(x, 0); its slope at 0 counts as 0
    tanh
};

/// Options of multilayer_perceptron.
struct perceptron_options {
    activation hidden = activation::relu;
    std::uint64_t seed = 0;  ///< of the initial weights
};

namespace detail {

template <class T>
struct activate {
    T* values;
    activation kind;
    std::size_t columns;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        T* x = values + row * columns;
        for (std::size_t i = first; i < last; ++i) {
            x[i] = kind == activation::relu ? (x[i] > T(0) ? x[i] : T(0)) : static_cast<T>(std::tanh(x[i]));
        }
    }
};

/// Rows of changes times the slopes that belong to activations: one row of them for each, or one for all.
template <class T>
struct multiply_by_slope {
    T* changes;
    const T* activations;
    activation kind;
    std::size_t columns;
    bool shared;
    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* a = activations + (shared ? 0 : row * columns);
        T* x = changes + row * columns;
        for (std::size_t i = first; i < last; ++i) {
            x[i] *= kind == activation::relu ? (a[i] > T(0) ? T(1) : T(0)) : T(1) - a[i] * a[i];
        }
    }
};

}  // namespace detail

/// What a pass through a network leaves for the way back: the points, the hidden layers and the outputs, a row for each point.
template <class Policy, class T>
struct perceptron_pass {
    policy_tensor<Policy, T, 2> points;
    std::vector<detail::buffer_of<Policy, T>> hidden;
    policy_tensor<Policy, T, 2> outputs;
};

/// f(x) = A_l h(... h(A_1 x + b_1) ...) + b_l: hidden layers with ReLU or tanh, a linear last one.
///
/// A differentiable_map; besides, batches of points (`values`) and gradients in the parameters (`forward`, `backward`). All parameters lie in one
/// vector, layer by layer, A_i (out x in, row-major) before b_i, so that adam and minimize_lbfgs can change them.
/// Initial weights are normal with variance 2 / in (He et al. 2015) before ReLU and 1 / in elsewhere, biases 0.
/// Source: 001 section 4.2 and Paper III section 4.1 (3 hidden layers of 512, ReLU).
/// \snippet tests/policy/perceptron.cpp multilayer_perceptron
template <class Policy, class T>
class multilayer_perceptron {
public:
    using space = typename Policy::memory_space;
    using value_type = T;

    /// \param policy  where the network will compute
    /// \param widths  of the input, the hidden layers and the output: at least two, none 0
    /// \param options activation, seed
    /// \throws argument_error for other widths
    multilayer_perceptron(const Policy& policy, std::vector<std::size_t> widths, const perceptron_options& options = {})
        : widths_(std::move(widths)), kind_(options.hidden), parameters_(policy.template allocate<T>(0)) {
        detail::require<argument_error>(widths_.size() >= 2 && std::all_of(widths_.begin(), widths_.end(), [](std::size_t w) { return w > 0; }),
                                        "multilayer_perceptron: ", widths_.size(),
                                        " widths, the least of which is ", widths_.empty() ? 0 : *std::min_element(widths_.begin(), widths_.end()),
                                        " (expected at least two, and positive ones)");
        for (std::size_t l = 0; l < layers(); ++l) {
            starts_.push_back(count_);
            count_ += widths_[l + 1] * (widths_[l] + 1);
        }
        parameters_ = policy.template allocate<T>(count_);
        for (std::size_t l = 0; l < layers(); ++l) {
            const std::size_t in = widths_[l], out = widths_[l + 1];
            const double variance = (l + 1 < layers() && kind_ == activation::relu ? 2.0 : 1.0) / static_cast<double>(in);
            fill_normal(policy, layer(l), out * in, options.seed, l);
            policy.transform(out * in, detail::scaled_copy<T>{layer(l), static_cast<T>(std::sqrt(variance)), layer(l)});
            policy.transform(out, detail::fill_with<T>{layer(l) + out * in, T(0)});
        }
    }

    std::size_t layers() const { return widths_.size() - 1; }  ///< with the last, linear one
    const std::vector<std::size_t>& widths() const { return widths_; }
    activation hidden_activation() const { return kind_; }
    std::size_t input_size() const { return widths_.front(); }
    std::size_t output_size() const { return widths_.back(); }
    std::size_t parameter_count() const { return count_; }
    T* parameters() { return parameters_.data(); }  ///< parameter_count() numbers of the policy's memory
    const T* parameters() const { return parameters_.data(); }
    /// A of a layer, out x in; below it in memory, b.
    matrix_view<T, space> weights(std::size_t l) { return row_major<T, space>(layer(l), widths_[l + 1], widths_[l]); }
    matrix_view<const T, space> weights(std::size_t l) const { return row_major<const T, space>(layer(l), widths_[l + 1], widths_[l]); }
    T* bias(std::size_t l) { return layer(l) + widths_[l + 1] * widths_[l]; }
    const T* bias(std::size_t l) const { return layer(l) + widths_[l + 1] * widths_[l]; }

    /// f at every row.
    /// \param policy the network's
    /// \param points N x input_size()
    /// \return       N x output_size()
    /// \throws shape_error if the rows have another size
    ///
    /// Cost: a GEMM per layer, 2 N times the number of weights. Memory: N times the two widest neighbouring layers.
    template <any_tensor Points>
    auto values(const Policy& policy, const Points& points) const {
        const auto rows = detail::evaluate(policy, points);
        detail::check_map_block(rows.view().shape, input_size(), "multilayer_perceptron::values", "the points");
        auto result = policy.template make_tensor<T, 2>({rows.view().shape[0], output_size()});
        run(policy, rows.view().data, rows.view().shape[0], result.data(), nullptr);
        return result;
    }

    /// f(x).
    /// \param policy the network's
    /// \param x      input_size() numbers
    /// \throws shape_error if x has another size
    template <any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        const auto point = detail::evaluate(policy, x);
        detail::check_map_vector(point.view().shape, input_size(), "multilayer_perceptron::value", "x");
        auto result = policy.template make_tensor<T, 1>({output_size()});
        run(policy, point.view().data, 1, result.data(), nullptr);
        return result;
    }

    /// J t for every row t of the tangents (k x input_size()): k x output_size().
    /// \param policy   the network's
    /// \param x        the point
    /// \param tangents rows
    /// \throws shape_error if the shapes do not fit
    template <any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        const auto point = detail::evaluate(policy, x);
        const auto rows = detail::evaluate(policy, tangents);
        detail::check_map_vector(point.view().shape, input_size(), "multilayer_perceptron::jvp", "x");
        detail::check_map_block(rows.view().shape, input_size(), "multilayer_perceptron::jvp", "the tangents");
        const std::size_t count = rows.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, output_size()});
        std::vector<buffer> hidden;
        run(policy, point.view().data, 1, nullptr, &hidden);
        const T* now = rows.view().data;
        buffer kept;
        for (std::size_t l = 0; l < layers(); ++l) {
            const bool last = l + 1 == layers();
            buffer next = policy.template allocate<T>(last ? 0 : count * widths_[l + 1]);
            T* const to = last ? result.data() : next.data();
            policy.template gemm<T>(T(1), row_major<const T, space>(now, count, widths_[l]), transposed(weights(l)), T(0),
                                    row_major<T, space>(to, count, widths_[l + 1]));
            if (!last) {
                policy.transform_rows(count, widths_[l + 1], detail::multiply_by_slope<T>{to, hidden[l].data(), kind_, widths_[l + 1], true});
            }
            kept = std::move(next);
            now = kept.data();
        }
        return result;
    }

    /// J' u for every row u of the cotangents (k x output_size()): k x input_size().
    /// \param policy     the network's
    /// \param x          the point
    /// \param cotangents rows
    /// \throws shape_error if the shapes do not fit
    template <any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        const auto point = detail::evaluate(policy, x);
        const auto rows = detail::evaluate(policy, cotangents);
        detail::check_map_vector(point.view().shape, input_size(), "multilayer_perceptron::vjp", "x");
        detail::check_map_block(rows.view().shape, output_size(), "multilayer_perceptron::vjp", "the cotangents");
        const std::size_t count = rows.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, input_size()});
        std::vector<buffer> hidden;
        run(policy, point.view().data, 1, nullptr, &hidden);
        const T* now = rows.view().data;
        buffer kept;
        for (std::size_t l = layers(); l-- > 0;) {
            buffer next = policy.template allocate<T>(l == 0 ? 0 : count * widths_[l]);
            T* const to = l == 0 ? result.data() : next.data();
            pull_back_layer(policy, l, now, count, to);
            if (l > 0) {
                policy.transform_rows(count, widths_[l], detail::multiply_by_slope<T>{to, hidden[l - 1].data(), kind_, widths_[l], true});
            }
            kept = std::move(next);
            now = kept.data();
        }
        return result;
    }

    /// f at every row, with what `backward` needs.
    /// \param policy the network's
    /// \param points N x input_size(); copied
    /// \return       points, hidden layers, outputs (N x output_size())
    /// \throws shape_error if the rows have another size
    template <any_tensor Points>
    perceptron_pass<Policy, T> forward(const Policy& policy, const Points& points) const {
        const auto rows = detail::evaluate(policy, points);
        detail::check_map_block(rows.view().shape, input_size(), "multilayer_perceptron::forward", "the points");
        const std::size_t count = rows.view().shape[0];
        perceptron_pass<Policy, T> pass{policy.template make_tensor<T, 2>({count, input_size()}), {}, policy.template make_tensor<T, 2>({count, output_size()})};
        policy.copy(rows.view().data, pass.points.data(), count * input_size());
        run(policy, static_cast<const T*>(pass.points.data()), count, pass.outputs.data(), &pass.hidden);
        return pass;
    }

    /// The gradient of sum_n <u_n, f(x_n)> in the parameters.
    /// \param policy     the network's
    /// \param pass       of `forward`, with the parameters as they still are
    /// \param cotangents u, N x output_size()
    /// \param gradient   parameter_count() numbers, overwritten
    /// \throws shape_error if the cotangents do not fit
    ///
    /// Cost: two GEMMs per layer, 4 N times the number of weights.
    template <any_tensor Block>
    void backward(const Policy& policy, const perceptron_pass<Policy, T>& pass, const Block& cotangents, T* gradient) const {
        const auto rows = detail::evaluate(policy, cotangents);
        detail::check_map_block(rows.view().shape, output_size(), "multilayer_perceptron::backward", "the cotangents");
        const std::size_t count = rows.view().shape[0];
        detail::require<shape_error>(count == pass.points.shape()[0], "multilayer_perceptron::backward: ", count, " cotangents for a pass of ",
                                     pass.points.shape()[0], " points");
        const buffer ones = policy.template allocate<T>(count);
        policy.transform(count, detail::fill_with<T>{ones.data(), T(1)});
        const T* now = rows.view().data;
        buffer kept;
        for (std::size_t l = layers(); l-- > 0;) {
            const std::size_t in = widths_[l], out = widths_[l + 1];
            const auto change = row_major<const T, space>(now, count, out);
            const auto entered = row_major<const T, space>(l == 0 ? pass.points.data() : pass.hidden[l - 1].data(), count, in);
            T* const here = gradient + starts_[l];
            policy.template gemm<T>(T(1), transposed(change), entered, T(0), row_major<T, space>(here, out, in));
            policy.template gemm<T>(T(1), row_major<const T, space>(ones.data(), 1, count), change, T(0), row_major<T, space>(here + out * in, 1, out));
            if (l == 0) {
                break;
            }
            buffer next = policy.template allocate<T>(count * in);
            pull_back_layer(policy, l, now, count, next.data());
            policy.transform_rows(count, in, detail::multiply_by_slope<T>{next.data(), pass.hidden[l - 1].data(), kind_, in, false});
            kept = std::move(next);
            now = kept.data();
        }
    }

private:
    using buffer = detail::buffer_of<Policy, T>;

    T* layer(std::size_t l) { return parameters_.data() + starts_[l]; }
    const T* layer(std::size_t l) const { return parameters_.data() + starts_[l]; }

    /// Rows of u A.
    void pull_back_layer(const Policy& policy, std::size_t l, const T* rows, std::size_t count, T* result) const {
        policy.template gemm<T>(T(1), row_major<const T, space>(rows, count, widths_[l + 1]), weights(l), T(0), row_major<T, space>(result, count, widths_[l]));
    }

    /// Outputs where they are wanted, and the hidden layers where those are.
    void run(const Policy& policy, const T* points, std::size_t count, T* outputs, std::vector<buffer>* hidden) const {
        const T* now = points;
        buffer kept;
        for (std::size_t l = 0; l < layers(); ++l) {
            const bool last = l + 1 == layers();
            if (last && outputs == nullptr) {
                return;
            }
            const std::size_t out = widths_[l + 1];
            buffer next = policy.template allocate<T>(last ? 0 : count * out);
            T* const to = last ? outputs : next.data();
            policy.transform_rows(count, out, detail::start_rows_from<T>{bias(l), to, out});
            policy.template gemm<T>(T(1), row_major<const T, space>(now, count, widths_[l]), transposed(weights(l)), T(1), row_major<T, space>(to, count, out));
            if (last) {
                return;
            }
            policy.transform_rows(count, out, detail::activate<T>{to, kind_, out});
            now = to;
            if (hidden != nullptr) {
                hidden->push_back(std::move(next));
            } else {
                kept = std::move(next);
            }
        }
    }

    std::vector<std::size_t> widths_;
    activation kind_;
    std::vector<std::size_t> starts_ = {};  ///< of every layer among the parameters
    std::size_t count_ = 0;
    buffer parameters_;
};

}  // namespace moden
