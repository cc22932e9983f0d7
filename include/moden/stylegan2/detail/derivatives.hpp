#pragma once

// Tangents forward and cotangents back between codes of any latent space and pictures, for batches of codes.

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include <moden/stylegan2/detail/mapping.hpp>
#include <moden/stylegan2/detail/synthesis_adjoint.hpp>
#include <moden/stylegan2/detail/synthesis_pass.hpp>
#include <moden/stylegan2/generator.hpp>
#include <moden/stylegan2/latents.hpp>

namespace moden::stylegan2::detail {

/// Codes that belong together, with the way from one to the other: numbers of one code.
inline std::size_t latent_size(const architecture& layout, latent_space space) {
    switch (space) {
        case latent_space::z: return layout.z_dim;
        case latent_space::w: return layout.w_dim;
        case latent_space::w_plus: return layout.num_ws * layout.w_dim;
        case latent_space::style: return layout.style_size;
    }
    throw argument_error("stylegan2: unknown latent space");
}

/// How codes become styles.
template <class T>
struct latent_path {
    latent_space space = latent_space::w_plus;
    row_truncation<T> truncation = {};  ///< from z
    const T* labels = nullptr;          ///< from z of conditional models, one row per sample
};

/// Styles of a batch of codes and of tangents at them; what the way back to z needs.
template <class Policy, class T>
struct styled_codes {
    stack_extents stack;
    const T* codes;
    std::vector<buffer_of<Policy, T>> mapping;
    buffer_of<Policy, T> styles;  ///< for the stack

    style_block<T> block(std::size_t style_size) const {
        return {stack, styles.data(), styles.data() + stack.samples * style_size, style_size};
    }
};

/// Codes (samples x size) and their tangents (samples * tangents x size) to styles.
template <class Policy, class T>
styled_codes<Policy, T> make_styles(const Policy& policy, const generator<Policy, T>& net, const latent_path<T>& path,
                                    const stack_extents& stack, const T* codes, const T* tangents) {
    using chain_type = latent_chain<Policy, T>;
    const architecture& layout = net.layout();
    const chain_type chain = chain_of(policy, net);
    const std::size_t others = stack.images() - stack.samples;
    styled_codes<Policy, T> result{stack, codes, {}, policy.template allocate<T>(stack.images() * layout.style_size)};
    T* styles = result.styles.data();
    T* style_tangents = styles + stack.samples * layout.style_size;
    if (path.space == latent_space::style) {
        policy.copy(codes, styles, stack.samples * layout.style_size);
        if (others > 0) {
            policy.copy(tangents, style_tangents, others * layout.style_size);
        }
        return result;
    }
    const T* ws = codes;
    const T* ws_tangents = tangents;
    auto rows = policy.template allocate<T>(
        path.space == latent_space::w_plus ? 0 : stack.images() * layout.num_ws * layout.w_dim);
    if (path.space != latent_space::w_plus) {
        const T* w = codes;
        const T* w_tangents = tangents;
        row_truncation<T> truncation;
        if (path.space == latent_space::z) {
            result.mapping = chain.map(stack, codes, tangents, path.labels);
            w = result.mapping.back().data();
            w_tangents = w + stack.samples * layout.w_dim;
            truncation = path.truncation;
        }
        T* spread_tangents = rows.data() + stack.samples * layout.num_ws * layout.w_dim;
        chain.spread(stack.samples, w, average_of(net), truncation, rows.data());
        chain.spread(others, w_tangents, nullptr, truncation, spread_tangents);
        ws = rows.data();
        ws_tangents = spread_tangents;
    }
    chain.styles(stack.samples, ws, chain_type::bias::added, styles);
    if (others > 0) {
        chain.styles(others, ws_tangents, chain_type::bias::none, style_tangents);
    }
    return result;
}

/// The extents of what layer `last` leaves: the picture for a torgb, else activations.
inline image_extents output_images(const architecture& layout, std::size_t last, std::size_t count) {
    const synthesis_layer& layer = layout.layers[last];
    return {count, layer.resolution, layer.resolution, layer.out};
}

/// Images with channels last, count x H x W x C, from planes count x C x H x W.
template <class Policy, class T>
buffer_of<Policy, T> channels_last_of(const Policy& policy, const T* planes, const image_extents& images) {
    auto result = policy.template allocate<T>(images.size());
    policy.permute(tensor_view<const T, typename Policy::memory_space>{
                       planes, {images.count, images.channels, images.height, images.width}},
                   extents{0, 2, 3, 1}, result.data());
    return result;
}

/// Runs layers 0 ... last; writes the samples' outputs to `values` and their tangents to `derivatives` as planes, each
/// unless it is null.
template <class Policy, class T>
void push_forward(const Policy& policy, const generator<Policy, T>& net, const styled_codes<Policy, T>& codes,
                  const synthesis_options& options, std::size_t last, T* values, T* derivatives) {
    const architecture& layout = net.layout();
    synthesis_pass<Policy, T> pass(policy, layout, net.weights(), codes.block(layout.style_size), options);
    pass.run(last, [&](const synthesis_layer& layer, const T* data, const image_extents&) {
        if (&layer != &layout.layers[last]) {
            return;
        }
        const auto write = [&](std::size_t first, std::size_t count, T* to) {
            const image_extents images = output_images(layout, last, count);
            if (to != nullptr && count > 0) {
                policy.permute(tensor_view<const T, typename Policy::memory_space>{
                                   data + first * images.image_pixels() * images.channels,
                                   {count, images.height, images.width, images.channels}},
                               extents{0, 3, 1, 2}, to);
            }
        };
        write(0, codes.stack.samples, values);
        write(codes.stack.samples, codes.stack.images() - codes.stack.samples, derivatives);
    });
}

/// Runs layers 0 ... last and keeps what the way back needs. observe(data, images) sees the output, channels last.
template <class Policy, class T, class Observer>
synthesis_record<Policy, T> record_pass(const Policy& policy, const generator<Policy, T>& net,
                                        const styled_codes<Policy, T>& codes, const synthesis_options& options,
                                        std::size_t last, Observer observe) {
    synthesis_record<Policy, T> record;
    const architecture& layout = net.layout();
    synthesis_pass<Policy, T> pass(policy, layout, net.weights(), codes.block(layout.style_size), options, &record);
    pass.run(last, [&](const synthesis_layer& layer, const T* data, const image_extents& images) {
        if (&layer == &layout.layers[last]) {
            observe(data, images);
        }
    });
    return record;
}

/// Cotangents of the codes (samples * count x size) from cotangents of layer `last`'s output, channels last.
template <class Policy, class T>
void pull_back(const Policy& policy, const generator<Policy, T>& net, const latent_path<T>& path,
               const styled_codes<Policy, T>& codes, const synthesis_record<Policy, T>& record, std::size_t last,
               std::size_t count, buffer_of<Policy, T> cotangents, T* result) {
    const architecture& layout = net.layout();
    const std::size_t samples = codes.stack.samples;
    const std::size_t rows = samples * count;
    auto styles = policy.template allocate<T>(path.space == latent_space::style ? 0 : rows * layout.style_size);
    T* to = path.space == latent_space::style ? result : styles.data();
    synthesis_adjoint<Policy, T> back(policy, layout, net.weights(), codes.block(layout.style_size), record, count, to);
    if (layout.layers[last].kind == layer_kind::to_rgb) {
        back.from_picture(std::move(cotangents));
    } else {
        back.from_activation(last, std::move(cotangents));
    }
    if (path.space == latent_space::style) {
        return;
    }
    const auto chain = chain_of(policy, net);
    if (path.space == latent_space::w_plus) {
        chain.styles_adjoint(rows, to, result);
        return;
    }
    const auto ws = policy.template allocate<T>(rows * layout.num_ws * layout.w_dim);
    chain.styles_adjoint(rows, to, ws.data());
    if (path.space == latent_space::w) {
        chain.gather(rows, ws.data(), {}, result);
        return;
    }
    auto w = policy.template allocate<T>(rows * layout.w_dim);
    chain.gather(rows, ws.data(), path.truncation, w.data());
    chain.map_adjoint(samples, count, codes.codes, codes.mapping, std::move(w), result);
}

}  // namespace moden::stylegan2::detail
