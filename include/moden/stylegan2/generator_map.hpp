#pragma once

// A generator as a differentiable map: from a point of any latent space to the picture or to the activations of a layer.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <moden/maps/differentiable_map.hpp>
#include <moden/stylegan2/detail/derivatives.hpp>
#include <moden/stylegan2/generator.hpp>

namespace moden::stylegan2 {

/// What a generator_map maps from and to.
struct generator_map_options {
    latent_space space = latent_space::w_plus;
    truncation truncate = {};         ///< on the way from z; the other spaces are used as they are
    synthesis_options synthesis = {};
    std::string layer = {};           ///< name of a convolution, for its activations; empty: the picture
    std::vector<double> labels = {};  ///< c_dim numbers; of conditional models from z
    /// Tangents or cotangents of one pass; more are done in several. 0: as many as keep the activations of a layer within a
    /// few hundred megabytes.
    std::size_t at_once = 0;
};

/// A generator at one point of a latent space, with exact derivatives.
///
/// The input is z, w, all rows of w+ one after the other, or all styles; the output 3 x H x W numbers of the picture, or
/// C x r x r of a layer. Tangents of one pass share the way there and one set of packed weights: k of them cost k + 1
/// forward passes, k cotangents cost k + 1 too. Satisfies differentiable_map.
///
/// Formulas: with c = conv(x s, W) and d = rsqrt(Q s^2 + eps), a styled convolution y = d c has
/// dy = d conv(dx s + x ds) + dd c, dd = -d^3 Q (s ds), and with g = conv'(d y'), x' = s g,
/// s' = sum x g - s Q'(d^3 sum y' c). Where clamps or kinks of the activation make the function not differentiable, the
/// derivative is the one that automatic differentiation chooses.
/// Source: 001 section 6.2; Karras et al. 2020.
/// \snippet tests/stylegan2/derivatives.cpp generator_map
template <execution_policy Policy, class T>
class generator_map {
public:
    /// \param net      must outlive the map
    /// \param options  what to map; see generator_map_options
    /// \throws argument_error if there is no convolution of that name, psi or cutoff are out of range;
    ///         shape_error if the labels do not fit the model
    explicit generator_map(const generator<Policy, T>& net, generator_map_options options = {})
        : net_(&net), options_(std::move(options)), last_(net.layout().layers.size() - 1) {
        using moden::detail::require;
        const architecture& layout = net.layout();
        detail::checked_truncation<T>(layout, options_.truncate, "generator_map");
        if (options_.at_once == 0) {
            options_.at_once = fitting_at_once(layout);
        }
        const std::size_t labels = options_.space == latent_space::z ? layout.c_dim : 0;
        require<shape_error>(options_.labels.size() == labels, "stylegan2::generator_map: ", options_.labels.size(),
                             " labels (expected ", labels, ")");
        if (!options_.layer.empty()) {
            const synthesis_layer& layer = layout.layer(options_.layer);
            require<argument_error>(layer.kind != layer_kind::to_rgb, "stylegan2::generator_map: '", options_.layer,
                                    "' is no convolution; without a name the map leads to the picture");
            last_ = static_cast<std::size_t>(&layer - layout.layers.data());
        }
    }

    const generator_map_options& options() const { return options_; }

    std::size_t input_size() const { return detail::latent_size(net_->layout(), options_.space); }
    std::size_t output_size() const { return output_images(1).size(); }

    /// The picture at x.
    /// \throws shape_error if x has not input_size() elements
    template <any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        const auto point = detail::latent_argument<Policy, T>(policy, x);
        moden::detail::check_map_vector(point.view().shape, input_size(), "stylegan2::generator_map::value", "x");
        auto result = policy.template make_tensor<T, 1>({output_size()});
        const path_of_point path(policy, *net_, options_);
        const auto start = detail::make_styles<Policy, T>(policy, *net_, path.get(), {1, 0}, point.view().data, nullptr);
        detail::push_forward<Policy, T>(policy, *net_, start, options_.synthesis, last_, result.data(), nullptr);
        return result;
    }

    /// J t for every row t of the tangents.
    /// \throws shape_error if x or the tangents do not fit
    template <any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        const auto point = detail::latent_argument<Policy, T>(policy, x);
        moden::detail::check_map_vector(point.view().shape, input_size(), "stylegan2::generator_map::jvp", "x");
        const auto block = detail::latent_argument<Policy, T>(policy, tangents);
        moden::detail::check_map_block(block.view().shape, input_size(), "stylegan2::generator_map::jvp", "the tangents");
        const std::size_t count = block.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, output_size()});
        const path_of_point path(policy, *net_, options_);
        for (std::size_t first = 0; first < count; first += options_.at_once) {
            const std::size_t some = std::min(options_.at_once, count - first);
            const auto start = detail::make_styles<Policy, T>(policy, *net_, path.get(), {1, some}, point.view().data,
                                                              block.view().data + first * input_size());
            detail::push_forward<Policy, T>(policy, *net_, start, options_.synthesis, last_, nullptr,
                                            result.data() + first * output_size());
        }
        return result;
    }

    /// J' u for every row u of the cotangents.
    /// \throws shape_error if x or the cotangents do not fit
    template <any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        const auto point = detail::latent_argument<Policy, T>(policy, x);
        moden::detail::check_map_vector(point.view().shape, input_size(), "stylegan2::generator_map::vjp", "x");
        const auto block = detail::latent_argument<Policy, T>(policy, cotangents);
        moden::detail::check_map_block(block.view().shape, output_size(), "stylegan2::generator_map::vjp", "the cotangents");
        const std::size_t count = block.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, input_size()});
        const path_of_point path(policy, *net_, options_);
        const auto start = detail::make_styles<Policy, T>(policy, *net_, path.get(), {1, 0}, point.view().data, nullptr);
        const auto way_there = detail::record_pass<Policy, T>(policy, *net_, start, options_.synthesis, last_,
                                                              [](const T*, const detail::image_extents&) {});
        for (std::size_t first = 0; first < count; first += options_.at_once) {
            const std::size_t some = std::min(options_.at_once, count - first);
            detail::pull_back<Policy, T>(policy, *net_, path.get(), start, way_there, last_, some,
                                         detail::channels_last_of(policy, block.view().data + first * output_size(),
                                                                  output_images(some)),
                                         result.data() + first * input_size());
        }
        return result;
    }

private:
    static std::size_t fitting_at_once(const architecture& layout) {
        constexpr std::size_t budget = std::size_t{320} << 20;
        std::size_t largest = 1;
        for (const synthesis_layer& layer : layout.layers) {
            largest = std::max(largest, layer.resolution * layer.resolution * std::max(layer.in, layer.out) * sizeof(T));
        }
        return std::clamp<std::size_t>(budget / largest, 4, 64);
    }

    detail::image_extents output_images(std::size_t count) const { return detail::output_images(net_->layout(), last_, count); }

    /// The way from the point to styles, with the labels in the policy's memory.
    class path_of_point {
    public:
        path_of_point(const Policy& policy, const generator<Policy, T>& net, const generator_map_options& options)
            : labels_(policy.template allocate<T>(options.labels.size())),
              path_{options.space, detail::checked_truncation<T>(net.layout(), options.truncate, "generator_map"), nullptr} {
            if (!options.labels.empty()) {
                const std::vector<T> host(options.labels.begin(), options.labels.end());
                policy.upload(host.data(), labels_.data(), host.size());
                path_.labels = labels_.data();
            }
        }
        const detail::latent_path<T>& get() const { return path_; }

    private:
        detail::buffer_of<Policy, T> labels_;
        detail::latent_path<T> path_;
    };

    const generator<Policy, T>* net_;
    generator_map_options options_;
    std::size_t last_;
};

}  // namespace moden::stylegan2
