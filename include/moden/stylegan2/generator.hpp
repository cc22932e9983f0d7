#pragma once

// A StyleGAN2 generator in a policy's memory.
// Source: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN"; 001 sections 2.3-2.5.

#include <filesystem>
#include <utility>

#include <moden/core/tensor_traits.hpp>
#include <moden/io/safetensors.hpp>
#include <moden/stylegan2/architecture.hpp>
#include <moden/stylegan2/detail/weights.hpp>

namespace moden::stylegan2 {

/// The weights of a generator, packed for one policy and scalar type, and its dimensions.
///
/// One packed set serves forward passes, tangents and cotangents: style modulation scales the inputs of a convolution and
/// demodulation its outputs, so that the weights themselves stay as they are for every picture of a batch.
/// Immutable after construction; several threads may use one.
template <execution_policy Policy, class T>
class generator {
public:
    using policy_type = Policy;
    using value_type = T;

    /// \param policy  where the weights are to live
    /// \param path    safetensors file with NVIDIA's tensor names, of any floating-point type, as
    ///                tools/convert_stylegan2.py writes; mapped while it is read
    /// \throws io_error if the file is damaged, lacks tensors, has others or of other shapes, holds NaN or infinity, or is
    ///         not of the skip architecture with 8 to 1024 pixels
    ///
    /// Memory: the weights, those of 3 x 3 layers from 16 pixels on four times in single precision (Winograd).
    generator(const Policy& policy, const std::filesystem::path& path)
        : generator(policy, io::safetensors_file(path),
                    io::detail::file_context("stylegan2::generator", path.string())) {}

    /// The same from a file that is open already; `context` starts error messages.
    generator(const Policy& policy, const io::safetensors_file& file, const std::string& context = "stylegan2::generator")
        : layout_(detail::read_architecture(file, context)),
          weights_(detail::weight_reader<Policy, T>(policy, file, context).read_generator(layout_)) {}

    const architecture& layout() const { return layout_; }
    const detail::generator_weights<Policy, T>& weights() const { return weights_; }

private:
    architecture layout_;
    detail::generator_weights<Policy, T> weights_;
};

/// Loads a generator: `const auto net = moden::stylegan2::load_generator<float>(cpu, "faces64.safetensors");`
/// \throws io_error as generator
/// \snippet tests/stylegan2/synthesis.cpp load_generator
template <class T, execution_policy Policy>
generator<Policy, T> load_generator(const Policy& policy, const std::filesystem::path& path) {
    return generator<Policy, T>(policy, path);
}

}  // namespace moden::stylegan2
