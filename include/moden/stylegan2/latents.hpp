#pragma once

// The latent spaces of a generator: z, which is drawn; w, which the mapping network makes of it; w+, one w per row of
// layers; style space, what the layers' affine maps make of w+.
// Source: Karras et al. 2019 and 2020; Wu et al. 2021, "StyleSpace analysis"; 001 section 2.4.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <type_traits>
#include <vector>

#include <moden/core/elementwise.hpp>
#include <moden/core/tensor.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/stylegan2/detail/mapping.hpp>
#include <moden/stylegan2/generator.hpp>

namespace moden::stylegan2 {

/// Where a code lives.
enum class latent_space : std::uint8_t {
    z,       ///< input of the mapping network
    w,       ///< its output, the same for every layer
    w_plus,  ///< one w for each of num_ws rows of layers
    style    ///< one number for each input channel of every layer
};

/// The truncation trick: w_avg + psi (w - w_avg).
struct truncation {
    double psi = 1;                     ///< 1 leaves w as it is, 0 makes everything the average
    std::optional<std::size_t> cutoff = {};  ///< only the first `cutoff` rows of w+; empty: all of them
};

namespace detail {

/// A tensor argument of a generator: contiguous, of the policy's memory, checked for type and shape.
template <class Policy, class T, class Tensor>
auto latent_argument(const Policy& policy, const Tensor& tensor) {
    static_assert(std::is_same_v<value_type_of<Tensor>, T>, "moden: the tensor and the generator are of different scalar types");
    return moden::detail::evaluate(policy, tensor);
}

inline void check_latent_shape(const extents& shape, const extents& expected, const char* function, const char* name) {
    bool fits = shape.size() == expected.size() + 1 && shape[0] > 0;
    for (std::size_t i = 0; fits && i < expected.size(); ++i) {
        fits = shape[i + 1] == expected[i];
    }
    require<shape_error>(fits, "stylegan2::", function, ": ", name, " has the shape ", shape, " (expected N x ", expected, ")");
}

template <class T>
row_truncation<T> checked_truncation(const architecture& layout, const truncation& options, const char* function) {
    require<argument_error>(std::isfinite(options.psi), "stylegan2::", function, ": psi is ", options.psi,
                            " (expected a finite number)");
    require<argument_error>(!options.cutoff || *options.cutoff <= layout.num_ws, "stylegan2::", function, ": the cutoff is ",
                            options.cutoff.value_or(0), " of ", layout.num_ws, " rows");
    require<argument_error>(options.psi == 1 || layout.has_w_avg, "stylegan2::", function,
                            ": the model has no mapping.w_avg, which truncation with psi = ", options.psi, " needs");
    return {static_cast<T>(options.psi), options.psi == 1 ? 0 : options.cutoff.value_or(layout.num_ws)};
}

template <class Policy, class T>
latent_chain<Policy, T> chain_of(const Policy& policy, const generator<Policy, T>& net) {
    return {policy, net.layout(), net.weights()};
}

template <class Policy, class T>
const T* average_of(const generator<Policy, T>& net) {
    return net.weights().w_avg ? net.weights().w_avg->data() : nullptr;
}

/// w of `count` codes; labels may be null where the model takes none.
template <class Policy, class T>
auto map_codes(const Policy& policy, const generator<Policy, T>& net, std::size_t count, const T* z, const T* labels) {
    const auto layers = chain_of(policy, net).map({count, 0}, z, nullptr, labels);
    auto w = policy.template make_tensor<T, 2>({count, net.layout().w_dim});
    policy.copy(static_cast<const T*>(layers.back().data()), w.data(), w.size());
    return w;
}

}  // namespace detail

/// The z that NVIDIA's scripts draw for integer seeds: numpy.random.RandomState(seed).randn(z_dim), one row per seed.
///
/// \param seeds  one per code
/// \param z_dim  numbers per code
/// \return       seeds x z_dim, on the host
/// \throws argument_error without seeds or with z_dim = 0
///
/// Source: MT19937; Marsaglia's polar method, as NumPy's legacy generator runs it.
/// \snippet tests/stylegan2/latents.cpp seeded_latents
template <class T>
tensor<T, 2> seeded_latents(const std::vector<std::uint32_t>& seeds, std::size_t z_dim) {
    moden::detail::require<argument_error>(!seeds.empty() && z_dim > 0, "stylegan2::seeded_latents: ", seeds.size(),
                                           " seeds and z_dim = ", z_dim, " (expected at least one of each)");
    auto result = tensor<T, 2>::from_shape({seeds.size(), z_dim});
    for (std::size_t n = 0; n < seeds.size(); ++n) {
        std::mt19937 words(seeds[n]);
        const auto uniform = [&] {  // 53 bits
            const double high = static_cast<double>(words() >> 5U);
            const double low = static_cast<double>(words() >> 6U);
            return (high * 67108864.0 + low) / 9007199254740992.0;
        };
        for (std::size_t i = 0; i < z_dim; i += 2) {
            double x = 0, y = 0, square = 0;
            do {
                x = 2 * uniform() - 1;
                y = 2 * uniform() - 1;
                square = x * x + y * y;
            } while (square >= 1 || square == 0);
            const double factor = std::sqrt(-2 * std::log(square) / square);
            result(n, i) = static_cast<T>(factor * y);
            if (i + 1 < z_dim) {
                result(n, i + 1) = static_cast<T>(factor * x);
            }
        }
    }
    return result;
}

/// The mapping network: z to w.
///
/// \param policy  the generator's
/// \param net     generator without labels (c_dim = 0)
/// \param z       N x z_dim; rows are normalised to root mean square 1 first
/// \return        N x w_dim
/// \throws shape_error if z does not fit, argument_error if the model is conditional
///
/// Cost: 2 N times the mapping network's weights in flops.
/// Source: facts of the authors' code; 001 Eq. 2.10.
/// \snippet tests/stylegan2/latents.cpp map_latents
template <execution_policy Policy, class T, any_tensor Codes>
auto map_latents(const Policy& policy, const generator<Policy, T>& net, const Codes& z) {
    const architecture& layout = net.layout();
    moden::detail::require<argument_error>(layout.c_dim == 0, "stylegan2::map_latents: the model is conditional and needs N x ",
                                           layout.c_dim, " labels");
    const auto codes = detail::latent_argument<Policy, T>(policy, z);
    detail::check_latent_shape(codes.view().shape, {layout.z_dim}, "map_latents", "z");
    return detail::map_codes<Policy, T>(policy, net, codes.view().shape[0], codes.view().data, nullptr);
}

/// The mapping network of a conditional model: z and labels to w.
/// \param policy  the generator's
/// \param net     generator with c_dim > 0
/// \param z       N x z_dim
/// \param labels  N x c_dim, usually one 1 per row
/// \return        N x w_dim
/// \throws shape_error if z or labels do not fit, argument_error if the model is not conditional
template <execution_policy Policy, class T, any_tensor Codes, any_tensor Labels>
auto map_latents(const Policy& policy, const generator<Policy, T>& net, const Codes& z, const Labels& labels) {
    const architecture& layout = net.layout();
    moden::detail::require<argument_error>(layout.c_dim > 0, "stylegan2::map_latents: the model takes no labels");
    const auto codes = detail::latent_argument<Policy, T>(policy, z);
    const auto classes = detail::latent_argument<Policy, T>(policy, labels);
    detail::check_latent_shape(codes.view().shape, {layout.z_dim}, "map_latents", "z");
    detail::check_latent_shape(classes.view().shape, {layout.c_dim}, "map_latents", "labels");
    const std::size_t count = codes.view().shape[0];
    moden::detail::require<shape_error>(classes.view().shape[0] == count, "stylegan2::map_latents: ", count, " codes and ",
                                        classes.view().shape[0], " labels");
    return detail::map_codes<Policy, T>(policy, net, count, codes.view().data, classes.view().data);
}

/// w+ from w: the same w in every row, truncated if asked for.
///
/// \param policy   the generator's
/// \param net      generator
/// \param w        N x w_dim
/// \param options  truncation
/// \return         N x num_ws x w_dim
/// \throws shape_error if w does not fit, argument_error if psi is not finite, the cutoff is beyond the last row, or the
///         model has no average and psi is not 1
/// \snippet tests/stylegan2/latents.cpp map_latents
template <execution_policy Policy, class T, any_tensor Codes>
auto to_w_plus(const Policy& policy, const generator<Policy, T>& net, const Codes& w, const truncation& options = {}) {
    const architecture& layout = net.layout();
    const auto codes = detail::latent_argument<Policy, T>(policy, w);
    detail::check_latent_shape(codes.view().shape, {layout.w_dim}, "to_w_plus", "w");
    const std::size_t count = codes.view().shape[0];
    auto ws = policy.template make_tensor<T, 3>({count, layout.num_ws, layout.w_dim});
    detail::chain_of(policy, net).spread(count, codes.view().data, detail::average_of(net),
                                         detail::checked_truncation<T>(layout, options, "to_w_plus"), ws.data());
    return ws;
}

/// Style space: what every layer's affine map makes of its row of w+.
///
/// \param policy  the generator's
/// \param net     generator
/// \param ws      N x num_ws x w_dim
/// \return        N x style_size: layers in the order of architecture::layers, each from its style_offset on. Those of
///                torgb are without its gain 1 / sqrt(in). May be edited and given to synthesize_styles.
/// \throws shape_error if ws does not fit
/// \snippet tests/stylegan2/latents.cpp styles
template <execution_policy Policy, class T, any_tensor Codes>
auto styles(const Policy& policy, const generator<Policy, T>& net, const Codes& ws) {
    const architecture& layout = net.layout();
    const auto codes = detail::latent_argument<Policy, T>(policy, ws);
    detail::check_latent_shape(codes.view().shape, {layout.num_ws, layout.w_dim}, "styles", "ws");
    const std::size_t count = codes.view().shape[0];
    auto result = policy.template make_tensor<T, 2>({count, layout.style_size});
    using chain = detail::latent_chain<Policy, T>;
    detail::chain_of(policy, net).styles(count, codes.view().data, chain::bias::added, result.data());
    return result;
}

/// The affine maps from w to the styles of the 3 x 3 convolutions, one below the other: what weight_directions takes.
///
/// \param policy  the generator's
/// \param net     generator
/// \param first   first row of w+
/// \param count   how many rows; default: all from the first on
/// \return        (sum of the input channels of those rows' convolutions) x w_dim, as they act: style = A w + b
/// \throws shape_error if the generator has no such rows, or none of them styles a convolution
///
/// Source: 001 Eq. 2.23 (Shen & Zhou 2021, who leave torgb out as well).
/// \snippet tests/stylegan2/latents.cpp affine_weights
template <execution_policy Policy, class T>
auto affine_weights(const Policy& policy, const generator<Policy, T>& net, std::size_t first = 0,
                    std::size_t count = static_cast<std::size_t>(-1)) {
    const architecture& layout = net.layout();
    using moden::detail::require;
    require<shape_error>(first < layout.num_ws, "stylegan2::affine_weights: rows from ", first, " of ", layout.num_ws);
    count = count == static_cast<std::size_t>(-1) ? layout.num_ws - first : count;
    require<shape_error>(count <= layout.num_ws - first, "stylegan2::affine_weights: rows ", first, " to ", first + count, " of ",
                         layout.num_ws);
    std::vector<std::size_t> chosen;
    std::size_t rows = 0;
    for (std::size_t i = 0; i < layout.layers.size(); ++i) {
        const synthesis_layer& layer = layout.layers[i];
        if (layer.kind != layer_kind::to_rgb && layer.ws_row >= first && layer.ws_row < first + count) {
            chosen.push_back(i);
            rows += layer.in;
        }
    }
    require<shape_error>(rows > 0, "stylegan2::affine_weights: no convolution has its styles from rows ", first, " to ", first + count);
    auto result = policy.template make_tensor<T, 2>({rows, layout.w_dim});
    T* to = result.data();
    for (const std::size_t i : chosen) {
        const auto& weight = net.weights().layers[i].affine.weight;
        policy.copy(static_cast<const T*>(weight.data()), to, weight.size());
        to += weight.size();
    }
    return result;
}

}  // namespace moden::stylegan2
