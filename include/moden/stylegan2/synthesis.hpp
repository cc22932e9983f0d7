#pragma once

// Pictures from latent codes.

#include <cstddef>

#include <moden/core/tensor_traits.hpp>
#include <moden/stylegan2/detail/synthesis_pass.hpp>
#include <moden/stylegan2/generator.hpp>
#include <moden/stylegan2/latents.hpp>

namespace moden::stylegan2 {

namespace detail {

/// Images that lie with channels last as the usual tensor N x C x H x W.
template <class Policy, class T>
auto planes_of(const Policy& policy, const T* data, const image_extents& images) {
    auto result = policy.template make_tensor<T, 4>({images.count, images.channels, images.height, images.width});
    policy.permute(tensor_view<const T, typename Policy::memory_space>{
                       data, {images.count, images.height, images.width, images.channels}},
                   extents{0, 3, 1, 2}, result.data());
    return result;
}

struct no_observer {};

}  // namespace detail

/// Pictures from styles.
///
/// \param policy    the generator's
/// \param net       generator
/// \param styles    N x style_size, as stylegan2::styles makes them, edited or not
/// \param options   noise
/// \param observer  called as observer(layer, values) after every layer, in order: `layer` is a synthesis_layer, `values` a
///                  policy tensor N x C x r x r with a convolution's activations or, after torgb, with the picture so far
/// \return          N x 3 x resolution x resolution, nominally in [-1, 1], not clamped
/// \throws shape_error if the styles do not fit
///
/// Cost: see docs/design.md; about three activations of the largest layer in memory, per picture.
/// Source: Karras et al. 2020; Wu et al. 2021.
/// \snippet tests/stylegan2/synthesis.cpp synthesize_styles
template <execution_policy Policy, class T, any_tensor Codes, class Observer = detail::no_observer>
auto synthesize_styles(const Policy& policy, const generator<Policy, T>& net, const Codes& styles,
                       const synthesis_options& options = {}, Observer observer = {}) {
    const architecture& layout = net.layout();
    const auto codes = detail::latent_argument<Policy, T>(policy, styles);
    detail::check_latent_shape(codes.view().shape, {layout.style_size}, "synthesize_styles", "styles");
    const std::size_t count = codes.view().shape[0];
    const detail::style_block<T> block{{count, 0}, codes.view().data, nullptr, layout.style_size};
    detail::synthesis_pass<Policy, T> pass(policy, layout, net.weights(), block, options);
    pass.run(layout.layers.size() - 1,
             [&]([[maybe_unused]] const synthesis_layer& layer, [[maybe_unused]] const T* data,
                 [[maybe_unused]] const detail::image_extents& images) {
                 if constexpr (!std::is_same_v<Observer, detail::no_observer>) {
                     observer(layer, detail::planes_of(policy, data, images));
                 }
             });
    return detail::planes_of(policy, static_cast<const T*>(pass.picture().data()),
                             {count, layout.resolution, layout.resolution, 3});
}

/// Pictures from w+.
///
/// \param policy    the generator's
/// \param net       generator
/// \param ws        N x num_ws x w_dim
/// \param options   noise
/// \param observer  as in synthesize_styles
/// \return          N x 3 x resolution x resolution, nominally in [-1, 1], not clamped
/// \throws shape_error if ws does not fit
/// \snippet tests/stylegan2/synthesis.cpp synthesize
template <execution_policy Policy, class T, any_tensor Codes, class Observer = detail::no_observer>
auto synthesize(const Policy& policy, const generator<Policy, T>& net, const Codes& ws,
                const synthesis_options& options = {}, Observer observer = {}) {
    return synthesize_styles(policy, net, styles(policy, net, ws), options, std::move(observer));
}

}  // namespace moden::stylegan2
