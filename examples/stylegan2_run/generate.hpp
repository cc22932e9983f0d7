#pragma once

// The calls of the library: from codes to pictures, layers and derivatives, in batches.

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <moden/core/tensor.hpp>
#include <moden/stylegan2.hpp>

#include "settings.hpp"

namespace stylegan2_run {

namespace stylegan2 = moden::stylegan2;

/// What goes in, on the host.
template <class T>
struct input {
    moden::dynamic_tensor<T> codes;
    moden::dynamic_tensor<T> labels;      ///< N x c_dim or empty
    moden::dynamic_tensor<T> tangents;    ///< N x size or empty
    moden::dynamic_tensor<T> cotangents;  ///< N x size or empty
};

/// What comes out, on the host, by name of the file.
template <class T>
using results = std::map<std::string, moden::dynamic_tensor<T>>;

/// Rows first ... first + count - 1 of a host tensor of N rows, in a policy's memory, as a tensor of order K.
template <std::size_t K, class Policy, class T>
auto rows_of(const Policy& policy, const moden::dynamic_tensor<T>& tensor, std::size_t first, std::size_t count,
             const moden::extents& row_shape) {
    moden::extents shape{count};
    shape.insert(shape.end(), row_shape.begin(), row_shape.end());
    auto result = policy.template make_tensor<T, K>(shape);
    policy.upload(tensor.data() + first * moden::element_count(row_shape), result.data(), result.size());
    return result;
}

/// Collects tensors of a policy, batch after batch, under names.
template <class Policy, class T>
class collector {
public:
    collector(const Policy& policy, std::size_t total, results<T>& into) : policy_(policy), total_(total), into_(into) {}

    template <class Tensor>
    void put(const std::string& name, std::size_t first, const Tensor& part) const {
        moden::extents shape(part.shape().begin(), part.shape().end());
        const std::size_t row = part.size() / shape[0];
        shape[0] = total_;
        auto& whole = into_.try_emplace(name, moden::dynamic_tensor<T>::from_shape(shape)).first->second;
        policy_.download(part.data(), whole.data() + first * row, part.size());
    }

private:
    const Policy& policy_;
    std::size_t total_;
    results<T>& into_;
};

/// "b8_conv0" of "b8.conv0".
inline std::string file_part(std::string layer) {
    std::replace(layer.begin(), layer.end(), '.', '_');
    return layer;
}

/// Pictures of one batch at a time, so that memory does not grow with their number.
inline std::size_t batch_size(const stylegan2::architecture& layout) {
    return std::max<std::size_t>(1, 512 * 512 / (layout.resolution * layout.resolution));
}

/// Products with the Jacobian at every code, one tangent and one cotangent each.
template <class T, class Policy>
void differentiate(const Policy& policy, const stylegan2::generator<Policy, T>& net, const settings& wanted,
                   const input<T>& given, std::size_t n, const moden::dynamic_tensor<T>& points, const collector<Policy, T>& out) {
    stylegan2::generator_map_options options{.space = wanted.space, .synthesis = wanted.synthesis};
    options.synthesis.first_sample = n;
    if (wanted.space == stylegan2::latent_space::z) {
        options.truncate = wanted.truncate;
        const std::size_t labels = net.layout().c_dim;
        options.labels.assign(given.labels.data() + n * labels, given.labels.data() + (n + 1) * labels);
    }
    const stylegan2::generator_map<Policy, T> map(net, options);
    const std::size_t size = map.input_size();
    auto x = policy.template make_tensor<T, 1>({size});
    policy.upload(points.data() + n * size, x.data(), size);
    const stylegan2::architecture& layout = net.layout();
    if (given.tangents.size() > 0) {
        const auto product = map.jvp(policy, x, rows_of<2>(policy, given.tangents, n, 1, {size}));
        auto picture = policy.template make_tensor<T, 4>({1, 3, layout.resolution, layout.resolution});
        policy.copy(static_cast<const T*>(product.data()), picture.data(), picture.size());
        out.put("jvp", n, picture);
    }
    if (given.cotangents.size() > 0) {
        const auto product = map.vjp(policy, x, rows_of<2>(policy, given.cotangents, n, 1, {map.output_size()}));
        if (wanted.space == stylegan2::latent_space::w_plus) {
            auto rows = policy.template make_tensor<T, 3>({1, layout.num_ws, layout.w_dim});
            policy.copy(static_cast<const T*>(product.data()), rows.data(), rows.size());
            out.put("vjp", n, rows);
        } else {
            out.put("vjp", n, product);
        }
    }
}

/// Everything that the settings ask for. progress(pictures done, of how many)
template <class T, class Policy, class Progress>
results<T> generate(const Policy& policy, const stylegan2::generator<Policy, T>& net, const settings& wanted,
                    const input<T>& given, Progress progress) {
    using stylegan2::latent_space;
    const stylegan2::architecture& layout = net.layout();
    const std::size_t total = given.codes.shape()[0];
    results<T> result;
    results<T> points;  // where derivatives are taken, when that is neither the input nor written
    const collector<Policy, T> out(policy, total, result);
    const collector<Policy, T> kept(policy, total, points);
    const bool derivatives = given.tangents.size() + given.cotangents.size() > 0;
    for (std::size_t first = 0; first < total; first += batch_size(layout)) {
        const std::size_t count = std::min(batch_size(layout), total - first);
        const auto ws = [&] {
            if (wanted.input == latent_space::w_plus) {
                return rows_of<3>(policy, given.codes, first, count, {layout.num_ws, layout.w_dim});
            }
            if (wanted.input == latent_space::w) {
                return stylegan2::to_w_plus(policy, net, rows_of<2>(policy, given.codes, first, count, {layout.w_dim}));
            }
            const auto z = rows_of<2>(policy, given.codes, first, count, {layout.z_dim});
            const auto w = layout.c_dim == 0
                               ? stylegan2::map_latents(policy, net, z)
                               : stylegan2::map_latents(policy, net, z, rows_of<2>(policy, given.labels, first, count, {layout.c_dim}));
            return stylegan2::to_w_plus(policy, net, w, wanted.truncate);
        }();
        out.put("ws", first, ws);
        const auto styles = stylegan2::styles(policy, net, ws);
        if (derivatives && wanted.space == latent_space::style) {
            kept.put("points", first, styles);
        }
        auto synthesis = wanted.synthesis;
        synthesis.first_sample = first;
        const auto see = [&](const stylegan2::synthesis_layer& layer, const auto& values) {
            const bool picture = layer.kind == stylegan2::layer_kind::to_rgb;
            if (picture && wanted.dump_pictures) {
                out.put("rgb_" + layer.name.substr(0, layer.name.find('.')), first, values);
            } else if (!picture && wanted.dump_activations) {
                out.put("act_" + file_part(layer.name), first, values);
            }
        };
        if (wanted.dump_pictures || wanted.dump_activations) {
            out.put("images", first, stylegan2::synthesize_styles(policy, net, styles, synthesis, see));
        } else {
            out.put("images", first, stylegan2::synthesize_styles(policy, net, styles, synthesis));
        }
        if (wanted.dump_styles) {
            for (const stylegan2::synthesis_layer& layer : layout.layers) {
                auto part = policy.template make_tensor<T, 2>({count, layer.in});
                const auto all = moden::row_major<const T, typename Policy::memory_space>(styles.data(), count, layout.style_size);
                policy.template copy<T>(columns_of(all, layer.style_offset, layer.in),
                                        moden::row_major<T, typename Policy::memory_space>(part.data(), count, layer.in));
                out.put("style_" + file_part(layer.name), first, part);
            }
        }
        progress(first + count, total);
    }
    if (!derivatives) {
        return result;
    }
    moden::dynamic_tensor<T> at;
    switch (wanted.space) {
        case latent_space::style: at = std::move(points.at("points")); break;
        case latent_space::w_plus: at = result.at("ws"); break;
        case latent_space::z: at = given.codes; break;
        case latent_space::w: {  // every row of w+ is the same w
            at = moden::dynamic_tensor<T>::from_shape({total, layout.w_dim});
            for (std::size_t n = 0; n < total; ++n) {
                std::copy_n(result.at("ws").data() + n * layout.num_ws * layout.w_dim, layout.w_dim, at.data() + n * layout.w_dim);
            }
            break;
        }
    }
    for (std::size_t n = 0; n < total; ++n) {
        differentiate<T>(policy, net, wanted, given, n, at, out);
        progress(n + 1, total);
    }
    return result;
}

}  // namespace stylegan2_run
