#pragma once

// From latent codes to styles and back: mapping network, truncation, affine maps, with tangents and cotangents.

#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/stylegan2/architecture.hpp>
#include <moden/stylegan2/detail/layer_operations.hpp>
#include <moden/stylegan2/detail/weights.hpp>

namespace moden::stylegan2::detail {

inline constexpr double normalization_epsilon = 1e-8;

/// 1 / sqrt(mean x^2 + eps).
template <class T>
MODEN_HOST_DEVICE T inverse_root_mean_square(const T* x, std::size_t size) {
    T sum = T(0);
    for (std::size_t i = 0; i < size; ++i) {
        sum += x[i] * x[i];
    }
    return T(1) / std::sqrt(sum / static_cast<T>(size) + static_cast<T>(normalization_epsilon));
}

/// x / rms(x), row by row.
template <class T>
struct normalize_rows {
    const T* x;
    std::size_t size;
    T* result;
    std::size_t result_step;

    MODEN_HOST_DEVICE void operator()(std::size_t row) const {
        const T* from = x + row * size;
        const T factor = inverse_root_mean_square(from, size);
        for (std::size_t i = 0; i < size; ++i) {
            result[row * result_step + i] = from[i] * factor;
        }
    }
};

/// The derivative of x / rms(x), a symmetric matrix, times a vector; `vectors` of them per row of x.
template <class T>
struct normalize_derivative {
    const T* x;
    std::size_t size;
    std::size_t vectors;
    const T* v;
    std::size_t v_step;
    T* result;
    std::size_t result_step;

    MODEN_HOST_DEVICE void operator()(std::size_t row) const {
        const T* base = x + row / vectors * size;
        const T* from = v + row * v_step;
        const T factor = inverse_root_mean_square(base, size);
        T dot = T(0);
        for (std::size_t i = 0; i < size; ++i) {
            dot += base[i] * from[i];
        }
        const T along = factor * factor * factor * dot / static_cast<T>(size);
        for (std::size_t i = 0; i < size; ++i) {
            result[row * result_step + i] = factor * from[i] - along * base[i];
        }
    }
};

/// sqrt(2) lrelu(y + b) in place. Rows: samples.
template <class T>
struct activate_dense {
    T* y;
    const T* bias;
    std::size_t width;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            const T before = y[row * width + c] + bias[c];
            y[row * width + c] = before * activation_slope(before);
        }
    }
};

/// Times the slope of the activation, in place; the derivative and its adjoint alike. Rows: vectors of all samples.
template <class T>
struct slope_dense {
    T* v;
    const T* activation;
    std::size_t vectors;
    std::size_t width;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            v[row * width + c] *= activation_slope(activation[row / vectors * width + c]);
        }
    }
};

/// Rows of w+ from w: w_avg + psi (w - w_avg) up to row `cutoff`, w from there on. Rows: (code, row of w+). Of tangents the
/// average is zero.
template <class T>
struct spread_rows {
    const T* w;
    const T* average;  ///< null for zero
    T psi;
    std::size_t cutoff;
    T* ws;
    std::size_t rows;
    std::size_t width;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* from = w + row / rows * width;
        const bool truncated = row % rows < cutoff && psi != T(1);
        for (std::size_t c = first; c < last; ++c) {
            const T center = average == nullptr ? T(0) : average[c];
            ws[row * width + c] = truncated ? center + psi * (from[c] - center) : from[c];
        }
    }
};

/// The adjoint of spread_rows. Rows: codes.
template <class T>
struct gather_rows {
    const T* ws;
    T psi;
    std::size_t cutoff;
    T* w;
    std::size_t rows;
    std::size_t width;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            T sum = T(0);
            for (std::size_t k = 0; k < rows; ++k) {
                sum += (k < cutoff ? psi : T(1)) * ws[(row * rows + k) * width + c];
            }
            w[row * width + c] = sum;
        }
    }
};

/// How w is moved towards its average on its way to w+.
template <class T>
struct row_truncation {
    T psi = T(1);
    std::size_t cutoff = 0;  ///< rows that are truncated
};

template <class Policy, class T>
class latent_chain {
public:
    using buffer = buffer_of<Policy, T>;
    using space = typename Policy::memory_space;

    latent_chain(const Policy& policy, const architecture& layout, const generator_weights<Policy, T>& weights)
        : policy_(policy), layout_(layout), weights_(weights) {}

    /// Activations of all layers of the mapping network, for a stack of z (samples, then their tangents); the last is w.
    std::vector<buffer> map(const stack_extents& stack, const T* z, const T* tangents, const T* labels) const {
        const std::size_t z_dim = layout_.z_dim;
        const std::size_t width = z_dim + layout_.embedding;
        const std::size_t others = stack.images() - stack.samples;
        std::vector<buffer> result;
        auto x = policy_.template allocate<T>(stack.images() * width);
        if (layout_.embedding > 0) {
            policy_.transform(stack.images() * width, moden::detail::fill_with<T>{x.data(), T(0)});
            embed(stack.samples, labels, x.data() + z_dim, width);
        }
        policy_.transform(stack.samples, normalize_rows<T>{z, z_dim, x.data(), width}, z_dim);
        if (others > 0) {
            policy_.transform(others,
                              normalize_derivative<T>{z, z_dim, stack.tangents, tangents, z_dim,
                                                      x.data() + stack.samples * width, width},
                              z_dim);
        }
        for (const auto& layer : weights_.mapping) {
            auto y = policy_.template allocate<T>(stack.images() * layer.out);
            const T* from = result.empty() ? x.data() : result.back().data();
            policy_.template gemm<T>(T(1), matrix(from, stack.images(), layer.in),
                                     transposed(matrix(layer.weight.data(), layer.out, layer.in)), T(0),
                                     moden::row_major<T, space>(y.data(), stack.images(), layer.out));
            policy_.transform_rows(stack.samples, layer.out, activate_dense<T>{y.data(), layer.bias.data(), layer.out});
            policy_.transform_rows(others, layer.out,
                                   slope_dense<T>{y.data() + stack.samples * layer.out, y.data(), stack.tangents, layer.out});
            result.push_back(std::move(y));
        }
        return result;
    }

    /// Cotangents of z from cotangents of w (destroyed), `count` of each sample.
    void map_adjoint(std::size_t samples, std::size_t count, const T* z, const std::vector<buffer>& activations,
                     buffer cotangent, T* result) const {
        const std::size_t rows = samples * count;
        for (std::size_t i = weights_.mapping.size(); i-- > 0;) {
            const auto& layer = weights_.mapping[i];
            policy_.transform_rows(rows, layer.out,
                                   slope_dense<T>{cotangent.data(), activations[i].data(), count, layer.out});
            auto before = policy_.template allocate<T>(rows * layer.in);
            policy_.template gemm<T>(T(1), matrix(cotangent.data(), rows, layer.out),
                                     matrix(layer.weight.data(), layer.out, layer.in), T(0),
                                     moden::row_major<T, space>(before.data(), rows, layer.in));
            cotangent = std::move(before);
        }
        const std::size_t width = layout_.z_dim + layout_.embedding;
        policy_.transform(rows,
                          normalize_derivative<T>{z, layout_.z_dim, count, cotangent.data(), width, result, layout_.z_dim},
                          layout_.z_dim);
    }

    /// w+ of codes in w, or of tangents of such codes.
    void spread(std::size_t codes, const T* w, const T* average, const row_truncation<T>& truncation, T* ws) const {
        policy_.transform_rows(codes * layout_.num_ws, layout_.w_dim,
                               spread_rows<T>{w, average, truncation.psi, truncation.cutoff, ws, layout_.num_ws, layout_.w_dim});
    }
    void gather(std::size_t codes, const T* ws, const row_truncation<T>& truncation, T* w) const {
        policy_.transform_rows(codes, layout_.w_dim,
                               gather_rows<T>{ws, truncation.psi, truncation.cutoff, w, layout_.num_ws, layout_.w_dim});
    }

    /// Styles of w+ codes: s = w A' / sqrt(w_dim) + b; of tangents without b.
    enum class bias { added, none };
    void styles(std::size_t codes, const T* ws, bias with, T* result) const {
        for (std::size_t i = 0; i < layout_.layers.size(); ++i) {
            const auto& affine = weights_.layers[i].affine;
            T* to = result + layout_.layers[i].style_offset;
            policy_.transform_rows(codes, affine.out,
                                   set_rows<T>{to, layout_.style_size, with == bias::added ? affine.bias.data() : nullptr});
            policy_.template gemm<T>(T(1), row_of(ws, codes, i), transposed(matrix(affine.weight.data(), affine.out, affine.in)),
                                     T(1), styles_of(to, codes, affine.out));
        }
    }
    /// Cotangents of w+ from cotangents of styles.
    void styles_adjoint(std::size_t codes, const T* styles, T* ws) const {
        policy_.transform(codes * layout_.num_ws * layout_.w_dim, moden::detail::fill_with<T>{ws, T(0)});
        for (std::size_t i = 0; i < layout_.layers.size(); ++i) {
            const auto& affine = weights_.layers[i].affine;
            policy_.template gemm<T>(T(1), styles_of(styles + layout_.layers[i].style_offset, codes, affine.out),
                                     matrix(affine.weight.data(), affine.out, affine.in), T(1), row_of(ws, codes, i));
        }
    }

private:
    static matrix_view<const T, space> matrix(const T* data, std::size_t rows, std::size_t columns) {
        return moden::row_major<const T, space>(data, rows, columns);
    }

    /// The rows of all codes that style layer `layer`.
    template <class Element>
    matrix_view<Element, space> row_of(Element* ws, std::size_t codes, std::size_t layer) const {
        return columns_of(moden::row_major<Element, space>(ws, codes, layout_.num_ws * layout_.w_dim),
                          layout_.layers[layer].ws_row * layout_.w_dim, layout_.w_dim);
    }
    template <class Element>
    matrix_view<Element, space> styles_of(Element* styles, std::size_t codes, std::size_t count) const {
        return {styles, codes, count, layout_.style_size, storage_order::row_major};
    }

    void embed(std::size_t samples, const T* labels, T* result, std::size_t step) const {
        const auto& layer = *weights_.embedding;
        const auto y = policy_.template allocate<T>(samples * layer.out);
        policy_.transform_rows(samples, layer.out, set_rows<T>{y.data(), layer.out, layer.bias.data()});
        policy_.template gemm<T>(T(1), matrix(labels, samples, layer.in),
                                 transposed(matrix(layer.weight.data(), layer.out, layer.in)), T(1),
                                 moden::row_major<T, space>(y.data(), samples, layer.out));
        policy_.transform(samples, normalize_rows<T>{y.data(), layer.out, result, step}, layer.out);
    }

    const Policy& policy_;
    const architecture& layout_;
    const generator_weights<Policy, T>& weights_;
};

}  // namespace moden::stylegan2::detail
