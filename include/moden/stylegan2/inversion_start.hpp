#pragma once

// A first guess of w from a picture, by closed-form regression on the generator's own pictures.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include <moden/core/random.hpp>
#include <moden/core/tensor_traits.hpp>
#include <moden/io/safetensors.hpp>
#include <moden/regression/accumulators.hpp>
#include <moden/stylegan2/detail/derivatives.hpp>
#include <moden/stylegan2/detail/picture_difference.hpp>
#include <moden/stylegan2/synthesis.hpp>

namespace moden::stylegan2 {

/// w = F(picture) A + b, where F are the picture's means over squares, `size` x `size` of them, in three colours.
template <class Policy, class T>
struct inversion_start {
    std::size_t size = 0;
    policy_tensor<Policy, T, 2> weight;     ///< 3 size^2 x w_dim
    policy_tensor<Policy, T, 1> intercept;  ///< w_dim
};

/// What fit_inversion_start draws and how it regresses.
struct inversion_start_options {
    std::size_t size = 16;       ///< squares along a side; a power of two, at most the resolution
    std::size_t samples = 4096;  ///< pictures to learn from
    double ridge = 0.1;          ///< times the mean square of the features, added to their Gram matrix per sample
    std::uint64_t seed = 0;
};

namespace detail {

/// Means over squares until size x size are left, as rows of 3 size^2 features.
template <class Policy, class T>
buffer_of<Policy, T> picture_features(const Policy& policy, const T* pictures, image_extents images, std::size_t size) {
    const auto zeros = policy.template allocate<T>(images.channels);
    policy.transform(images.channels, moden::detail::fill_with<T>{zeros.data(), T(0)});
    auto result = policy.template allocate<T>(images.size());
    policy.copy(pictures, result.data(), images.size());
    while (images.height > size) {
        result = halve(policy, static_cast<const T*>(result.data()), images, static_cast<const T*>(zeros.data()));
        images = {images.count, images.height / 2, images.width / 2, images.channels};
    }
    return result;
}

inline bool is_power_of_two(std::size_t x) { return x != 0 && (x & (x - 1)) == 0; }

}  // namespace detail

/// Regresses w on pictures that the generator makes of random z: ridge regression with intercept, in double precision.
///
/// \param policy   the generator's
/// \param net      generator without labels
/// \param options  how many pictures, of which size; see inversion_start_options
/// \return         the regression
/// \throws argument_error if the size is no power of two up to the resolution, there are no samples, or the ridge is not
///         positive and finite
///
/// Cost: `samples` forward passes and a Cholesky factorization of 3 size^2 + 1 columns.
/// Source: 001 section 2.5 (inversion); the regression is the textbook's.
/// \snippet tests/stylegan2/invert.cpp inversion_start
template <execution_policy Policy, class T>
inversion_start<Policy, T> fit_inversion_start(const Policy& policy, const generator<Policy, T>& net,
                                               const inversion_start_options& options = {}) {
    using moden::detail::require;
    const architecture& layout = net.layout();
    require<argument_error>(detail::is_power_of_two(options.size) && options.size <= layout.resolution,
                            "stylegan2::fit_inversion_start: size ", options.size, " (expected a power of two up to ",
                            layout.resolution, ")");
    require<argument_error>(options.samples > 0 && options.ridge > 0 && std::isfinite(options.ridge),
                            "stylegan2::fit_inversion_start: ", options.samples, " samples and ridge ", options.ridge,
                            " (expected at least one sample and a positive ridge)");
    const std::size_t features = 3 * options.size * options.size;
    gram_accumulator<Policy, double> sums(policy, features, layout.w_dim);
    double square = 0;
    constexpr std::size_t batch = 16;
    for (std::size_t first = 0; first < options.samples; first += batch) {
        const std::size_t count = std::min(batch, options.samples - first);
        auto z = policy.template make_tensor<T, 2>({count, layout.z_dim});
        fill_normal(policy, z.data(), z.size(), options.seed, first);
        const auto w = map_latents(policy, net, z);
        const auto codes = styles(policy, net, to_w_plus(policy, net, w));
        detail::synthesis_pass<Policy, T> pass(policy, layout, net.weights(), {{count, 0}, codes.data(), nullptr, layout.style_size}, {});
        pass.run(layout.layers.size() - 1, [](const auto&, const T*, const auto&) {});
        const auto pooled = detail::picture_features<Policy, T>(policy, pass.picture().data(),
                                                                {count, layout.resolution, layout.resolution, 3}, options.size);
        square += moden::detail::sum_of_squares(policy, static_cast<const T*>(pooled.data()), count * features);
        auto rows = policy.template make_tensor<double, 2>({count, features});
        auto targets = policy.template make_tensor<double, 2>({count, layout.w_dim});
        policy.transform(rows.size(), moden::detail::convert_to<T, double>{pooled.data(), rows.data()});
        policy.transform(targets.size(), moden::detail::convert_to<T, double>{w.data(), targets.data()});
        sums.add(rows, targets);
    }
    const auto fit = sums.solve({.ridge = options.ridge * square / static_cast<double>(features)});
    inversion_start<Policy, T> result{options.size, policy.template make_tensor<T, 2>({features, layout.w_dim}),
                                      policy.template make_tensor<T, 1>({layout.w_dim})};
    policy.transform(result.weight.size(), moden::detail::convert_to<double, T>{fit.coefficients.data(), result.weight.data()});
    policy.transform(layout.w_dim, moden::detail::convert_to<double, T>{fit.intercept.data(), result.intercept.data()});
    return result;
}

/// The first guess of w for pictures.
///
/// \param policy    the generator's
/// \param net       generator
/// \param start     from fit_inversion_start or load_inversion_start
/// \param pictures  N x 3 x resolution x resolution, nominally in [-1, 1]
/// \return          N x w_dim
/// \throws shape_error if the pictures or the regression do not fit the generator
/// \snippet tests/stylegan2/invert.cpp inversion_start
template <execution_policy Policy, class T, any_tensor Pictures>
auto starting_w(const Policy& policy, const generator<Policy, T>& net, const inversion_start<Policy, T>& start,
                const Pictures& pictures) {
    using space = typename Policy::memory_space;
    const architecture& layout = net.layout();
    const auto images = detail::latent_argument<Policy, T>(policy, pictures);
    detail::check_latent_shape(images.view().shape, {3, layout.resolution, layout.resolution}, "starting_w", "pictures");
    const std::size_t features = 3 * start.size * start.size;
    const extents expected{features, layout.w_dim};
    moden::detail::require<shape_error>(moden::detail::shape_of(start.weight) == expected && start.size <= layout.resolution,
                                        "stylegan2::starting_w: the regression has weights of ",
                                        moden::detail::shape_of(start.weight), " (expected ", expected, ")");
    const detail::image_extents layout_of_images{images.view().shape[0], layout.resolution, layout.resolution, 3};
    const auto last = detail::channels_last_of(policy, images.view().data, layout_of_images);
    const auto pooled = detail::picture_features<Policy, T>(policy, last.data(), layout_of_images, start.size);
    auto w = policy.template make_tensor<T, 2>({layout_of_images.count, layout.w_dim});
    policy.transform_rows(layout_of_images.count, layout.w_dim, detail::set_rows<T>{w.data(), layout.w_dim, start.intercept.data()});
    policy.template gemm<T>(T(1), row_major<const T, space>(pooled.data(), layout_of_images.count, features),
                            row_major<const T, space>(start.weight.data(), features, layout.w_dim), T(1),
                            row_major<T, space>(w.data(), layout_of_images.count, layout.w_dim));
    return w;
}

/// Writes a regression to a safetensors file: `weight`, `intercept`.
/// \param policy  the regression's
/// \param path    file to create or replace
/// \param start   the regression
/// \throws io_error if the file cannot be written
template <execution_policy Policy, class T>
void save_inversion_start(const Policy& policy, const std::filesystem::path& path, const inversion_start<Policy, T>& start) {
    auto weight = dynamic_tensor<T>::from_shape(moden::detail::shape_of(start.weight));
    auto intercept = dynamic_tensor<T>::from_shape(moden::detail::shape_of(start.intercept));
    policy.download(static_cast<const T*>(start.weight.data()), weight.data(), weight.size());
    policy.download(static_cast<const T*>(start.intercept.data()), intercept.data(), intercept.size());
    io::save_safetensors(path, {{"weight", weight}, {"intercept", intercept}}, {{"kind", "inversion_start"}});
}

/// Reads what save_inversion_start wrote.
/// \param policy  where the regression is to live
/// \param path    safetensors file
/// \throws io_error if the file is damaged or holds no such regression
template <class T, execution_policy Policy>
inversion_start<Policy, T> load_inversion_start(const Policy& policy, const std::filesystem::path& path) {
    const io::safetensors_file file(path);
    const std::string context = io::detail::file_context("stylegan2::load_inversion_start", path.string());
    const auto weight = file.load<T, 2>("weight");
    const auto intercept = file.load<T, 1>("intercept");
    const auto size = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(weight.shape()[0]) / 3)));
    const auto is_finite = [](T x) { return std::isfinite(x); };
    moden::detail::require<io_error>(
        3 * size * size == weight.shape()[0] && detail::is_power_of_two(size) && weight.shape()[1] == intercept.shape()[0] &&
            std::all_of(weight.begin(), weight.end(), is_finite) && std::all_of(intercept.begin(), intercept.end(), is_finite),
        context, ": weight ", moden::detail::shape_of(weight), " and intercept ", moden::detail::shape_of(intercept),
        " (expected 3 size^2 x w_dim and w_dim finite numbers, with size a power of two)");
    inversion_start<Policy, T> result{size, policy.template make_tensor<T, 2>(moden::detail::shape_of(weight)),
                                      policy.template make_tensor<T, 1>(moden::detail::shape_of(intercept))};
    policy.upload(weight.data(), result.weight.data(), weight.size());
    policy.upload(intercept.data(), result.intercept.data(), intercept.size());
    return result;
}

}  // namespace moden::stylegan2
