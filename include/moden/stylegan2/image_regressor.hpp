#pragma once

// A small convolutional network from pictures to named numbers, as a differentiable map: what examples measure pictures
// with. data/face_factors.safetensors is one.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <moden/core/tensor_traits.hpp>
#include <moden/io/safetensors.hpp>
#include <moden/maps/differentiable_map.hpp>
#include <moden/stylegan2/detail/regressor_layers.hpp>
#include <moden/stylegan2/generator.hpp>

namespace moden::stylegan2 {

/// Some of the numbers that a regressor gives.
struct regressor_output {
    std::string name;        ///< "yaw", "landmarks_2d", ...
    std::size_t offset = 0;  ///< of its first number
    std::size_t size = 0;
    extents shape;           ///< of what the numbers are, {} for a single one
    std::string unit;
    std::optional<double> r2 = std::nullopt;  ///< explained variance on pictures kept from its training, if the file says
};

namespace detail {

/// A JSON number, or one written as text; empty if it is neither.
inline std::optional<double> number_of(const nlohmann::json& entry) {
    if (entry.is_number()) {
        return entry.get<double>();
    }
    double value = 0;
    const std::string text = entry.is_string() ? entry.get<std::string>() : "";
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    return failure == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

/// The metadata "outputs": a JSON array of objects with name, size and perhaps shape, unit and r2.
inline std::vector<regressor_output> parse_outputs(const std::string& text, const std::string& context) {
    std::vector<regressor_output> result;
    const auto refuse = [&](const std::string& reason) {
        throw io_error(moden::detail::message(context, ": the metadata 'outputs' ", reason));
    };
    const nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
    if (!list.is_array() || list.empty()) {
        refuse("are no JSON array");
    }
    std::size_t offset = 0;
    for (const nlohmann::json& entry : list) {
        constexpr std::size_t most = std::size_t{1} << 24;
        const bool good = entry.is_object() && entry.contains("name") && entry["name"].is_string() && entry.contains("size") &&
                          entry["size"].is_number_unsigned() && entry["size"].get<std::size_t>() > 0 &&
                          entry["size"].get<std::size_t>() < most;
        if (!good) {
            refuse("have an entry without a name and a positive size");
        }
        regressor_output output{entry["name"].get<std::string>(), offset, entry["size"].get<std::size_t>(), {}, {}};
        if (entry.contains("r2")) {
            output.r2 = number_of(entry["r2"]);
            if (!output.r2) {
                refuse("have an r2 that is no number");
            }
        }
        if (entry.contains("unit") && entry["unit"].is_string()) {
            output.unit = entry["unit"].get<std::string>();
        }
        if (entry.contains("shape")) {
            if (!entry["shape"].is_array()) {
                refuse("have a shape that is no array");
            }
            for (const nlohmann::json& extent : entry["shape"]) {
                if (!extent.is_number_unsigned() || extent.get<std::size_t>() == 0 || extent.get<std::size_t>() > most) {
                    refuse("have a shape that is not of positive numbers");
                }
                output.shape.push_back(extent.get<std::size_t>());
            }
        } else if (output.size > 1) {
            output.shape = {output.size};
        }
        if (element_count(output.shape) != output.size) {
            refuse("have an entry whose shape does not have its size");
        }
        for (const regressor_output& other : result) {
            if (other.name == output.name) {
                refuse(moden::detail::message("name ", io::detail::in_quotes(output.name), " twice"));
            }
        }
        offset += output.size;
        result.push_back(std::move(output));
    }
    return result;
}

}  // namespace detail

/// A sequential network: 3 x 3 convolutions with zero padding, each followed by leaky ReLU and 2 x 2 means, then dense
/// layers with leaky ReLU between them.
///
/// A file holds conv0.weight (out x in x 3 x 3), conv0.bias, ..., dense0.weight (out x in), dense0.bias, ... and as metadata
/// `kind` "image_regressor", `resolution`, `slope` and `outputs`. The last feature maps enter dense0 in the order channel,
/// row, column. As a differentiable_map it leads from one picture, 3 x R x R numbers, to the numbers of all outputs.
template <execution_policy Policy, class T>
class image_regressor {
public:
    using policy_type = Policy;
    using value_type = T;

    /// \param policy  where the weights are to live
    /// \param path    safetensors file
    /// \throws io_error if the file is damaged or not a network as above, with the tensor or metadata named
    image_regressor(const Policy& policy, const std::filesystem::path& path)
        : image_regressor(policy, io::safetensors_file(path),
                          io::detail::file_context("stylegan2::image_regressor", path.string())) {}

    image_regressor(const Policy& policy, const io::safetensors_file& file,
                    const std::string& context = "stylegan2::image_regressor")
        : network_(detail::read_regressor<Policy, T>(policy, file, context)) {
        const auto entry = file.metadata().find("outputs");
        detail::require<io_error>(entry != file.metadata().end(), context, " has no metadata 'outputs'");
        outputs_ = detail::parse_outputs(entry->second, context);
        const std::size_t described = outputs_.back().offset + outputs_.back().size;
        detail::require<io_error>(described == output_size(), context, ": the metadata 'outputs' describe ", described,
                                  " numbers, the last layer gives ", output_size());
    }

    std::size_t resolution() const { return network_.resolution; }
    const std::vector<regressor_output>& outputs() const { return outputs_; }

    /// \throws argument_error if there is no output of that name
    const regressor_output& output(std::string_view name) const {
        const auto found = std::find_if(outputs_.begin(), outputs_.end(), [&](const auto& o) { return o.name == name; });
        moden::detail::require<argument_error>(found != outputs_.end(), "stylegan2::image_regressor: there is no output ",
                                               io::detail::in_quotes(name));
        return *found;
    }

    std::size_t input_size() const { return 3 * resolution() * resolution(); }
    std::size_t output_size() const { return network_.dense.back().out; }

    /// All numbers for a batch of pictures.
    /// \param policy    the regressor's
    /// \param pictures  N x 3 x R x R, nominally in [-1, 1]
    /// \return          N x output_size()
    /// \throws shape_error if the pictures do not fit
    template <any_tensor Pictures>
    auto predict(const Policy& policy, const Pictures& pictures) const {
        const auto images = detail::latent_argument<Policy, T>(policy, pictures);
        detail::check_latent_shape(images.view().shape, {3, resolution(), resolution()}, "image_regressor::predict", "pictures");
        const std::size_t count = images.view().shape[0];
        auto result = policy.template make_tensor<T, 2>({count, output_size()});
        detail::regressor_pass<Policy, T>(policy, network_).run({count, 0}, images.view().data, nullptr, result.data());
        return result;
    }

    /// The numbers of one picture.
    /// \throws shape_error if x has not input_size() elements
    template <any_tensor Point>
    auto value(const Policy& policy, const Point& x) const {
        const auto point = checked_point<Point>(x, "stylegan2::image_regressor::value");
        auto result = policy.template make_tensor<T, 1>({output_size()});
        detail::regressor_pass<Policy, T>(policy, network_).run({1, 0}, point->view().data, nullptr, result.data());
        return result;
    }

    /// J t for every row t of the tangents.
    /// \throws shape_error if x or the tangents do not fit
    template <any_tensor Point, any_tensor Block>
    auto jvp(const Policy& policy, const Point& x, const Block& tangents) const {
        const auto point = checked_point<Point>(x, "stylegan2::image_regressor::jvp");
        const auto block = detail::latent_argument<Policy, T>(policy, tangents);
        moden::detail::check_map_block(block.view().shape, input_size(), "stylegan2::image_regressor::jvp", "the tangents");
        const std::size_t count = block.view().shape[0];
        const auto all = policy.template allocate<T>((1 + count) * output_size());
        detail::regressor_pass<Policy, T>(policy, network_).run({1, count}, point->view().data, block.view().data, all.data());
        auto result = policy.template make_tensor<T, 2>({count, output_size()});
        policy.copy(static_cast<const T*>(all.data()) + output_size(), result.data(), result.size());
        return result;
    }

    /// J' u for every row u of the cotangents.
    /// \throws shape_error if x or the cotangents do not fit
    template <any_tensor Point, any_tensor Block>
    auto vjp(const Policy& policy, const Point& x, const Block& cotangents) const {
        const auto point = checked_point<Point>(x, "stylegan2::image_regressor::vjp");
        const auto block = detail::latent_argument<Policy, T>(policy, cotangents);
        moden::detail::check_map_block(block.view().shape, output_size(), "stylegan2::image_regressor::vjp", "the cotangents");
        const std::size_t count = block.view().shape[0];
        detail::regressor_pass<Policy, T> pass(policy, network_);
        const auto values = policy.template allocate<T>(output_size());
        pass.run({1, 0}, point->view().data, nullptr, values.data());
        auto result = policy.template make_tensor<T, 2>({count, input_size()});
        pass.pull_back(count, block.view().data, result.data());
        return result;
    }

private:
    /// On the heap, because what holds an argument can be neither copied nor moved.
    template <class Point>
    auto checked_point(const Point& x, const char* function) const {
        static_assert(std::is_same_v<value_type_of<Point>, T>, "moden: the tensor and the regressor are of different scalar types");
        moden::detail::check_argument<Policy, Point>();
        auto point = std::make_unique<typename tensor_traits<Point>::argument>(x);
        moden::detail::check_map_vector(point->view().shape, input_size(), function, "x");
        return point;
    }

    detail::regressor_network<Policy, T> network_;
    std::vector<regressor_output> outputs_;
};

/// Loads a regressor: `const auto measure = moden::stylegan2::load_image_regressor<float>(cpu, "face_factors.safetensors");`
/// \throws io_error as image_regressor
/// \snippet tests/stylegan2/image_regressor.cpp image_regressor
template <class T, execution_policy Policy>
image_regressor<Policy, T> load_image_regressor(const Policy& policy, const std::filesystem::path& path) {
    return image_regressor<Policy, T>(policy, path);
}

}  // namespace moden::stylegan2
