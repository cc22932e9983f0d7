#pragma once

// What a StyleGAN2 generator consists of, as read off the names and shapes of its tensors, and nothing else accepted.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <moden/core/error.hpp>
#include <moden/core/extents.hpp>
#include <moden/io/message.hpp>
#include <moden/io/safetensors.hpp>

namespace moden::stylegan2 {

/// What a layer of the synthesis network does with its styled input.
enum class layer_kind : std::uint8_t {
    upsampling_convolution,  ///< conv0: 3 x 3 convolution to twice the resolution
    convolution,             ///< conv1: 3 x 3 convolution
    to_rgb                   ///< torgb: 1 x 1 convolution to three channels, added to the picture so far
};

/// One layer of the synthesis network; each has an affine map from its row of w+ to one style per input channel.
struct synthesis_layer {
    std::string name;  ///< "b8.conv0", "b8.conv1", "b8.torgb"
    layer_kind kind = layer_kind::convolution;
    std::size_t resolution = 0;    ///< rows and columns of its result
    std::size_t in = 0;            ///< input channels, which is the number of its styles
    std::size_t out = 0;           ///< output channels
    std::size_t ws_row = 0;        ///< the row of w+ that styles it
    std::size_t style_offset = 0;  ///< where its styles start in a style vector
};

/// Dimensions of a generator. Layers are in the order in which they run, and so are the styles of a style vector.
struct architecture {
    std::size_t resolution = 0;
    std::size_t z_dim = 0;
    std::size_t c_dim = 0;  ///< 0 unless the model is conditional
    std::size_t w_dim = 0;
    std::size_t num_ws = 0;      ///< rows of w+, 2 log2(resolution) - 2
    std::size_t style_size = 0;  ///< styles of all layers together
    std::size_t embedding = 0;   ///< numbers that a label is embedded in; 0 unless the model is conditional
    std::vector<std::size_t> mapping_widths;  ///< outputs of every layer of the mapping network; the last is w_dim
    std::vector<synthesis_layer> layers;
    std::optional<double> conv_clamp;  ///< bound on activations before the gain of the model's layers; none if empty
    bool has_w_avg = false;

    /// \throws argument_error if there is no layer of that name
    const synthesis_layer& layer(std::string_view name) const {
        const auto found = std::find_if(layers.begin(), layers.end(), [&](const auto& l) { return l.name == name; });
        moden::detail::require<argument_error>(found != layers.end(), "stylegan2: there is no layer ",
                                               io::detail::in_quotes(name), " (expected one of ", names(), ")");
        return *found;
    }

    /// "b4.conv1, b4.torgb, ..."
    std::string names() const {
        std::string text;
        for (const synthesis_layer& l : layers) {
            text += (text.empty() ? "" : ", ") + l.name;
        }
        return text;
    }
};

namespace detail {

using moden::detail::require;

/// Names and shapes of the tensors of a file, asked for one by one; what nobody asked for is refused at the end.
class tensor_inventory {
public:
    tensor_inventory(const io::safetensors_file& file, std::string context) : file_(file), context_(std::move(context)) {
        for (const std::string& name : file.names()) {
            unused_.insert(name);
        }
    }

    const std::string& context() const { return context_; }
    bool has(const std::string& name) const { return file_.contains(name); }

    /// The shape of a tensor that has to be there, of the given order.
    const extents& shape(const std::string& name, std::size_t order, std::string_view pattern) {
        require<io_error>(has(name), context_, " has no tensor ", io::detail::in_quotes(name), " (expected ", pattern, ")");
        unused_.erase(name);
        const extents& found = file_.shape(name);
        require<io_error>(found.size() == order && std::find(found.begin(), found.end(), 0U) == found.end(), label(name),
                          " has the shape ", found.empty() ? "of " : "", shape_text(found), " (expected ", pattern, ")");
        const io::element_type type = file_.type(name);
        require<io_error>(type == io::element_type::float16 || type == io::element_type::bfloat16 ||
                              type == io::element_type::float32 || type == io::element_type::float64,
                          label(name), " holds ", io::name(type), " (expected floating-point numbers)");
        return found;
    }

    /// A tensor that has to be there and of which everything is known.
    void expect(const std::string& name, const extents& expected) {
        const extents& found = shape(name, expected.size(), shape_text(expected));
        require<io_error>(found == expected, label(name), " has the shape ", found.empty() ? "of " : "", shape_text(found), " (expected ",
                          shape_text(expected), ")");
    }

    void expect_if_there(const std::string& name, const extents& expected) {
        if (has(name)) {
            expect(name, expected);
        }
    }

    /// \param whole  what the file is supposed to be, for the message
    void refuse_the_rest(std::string_view whole) const {
        if (unused_.empty()) {
            return;
        }
        std::string text;
        std::size_t listed = 0;
        for (const std::string& name : unused_) {
            text += (text.empty() ? "" : ", ") + io::detail::in_quotes(name);
            if (++listed == 5 && unused_.size() > 5) {
                text += ", ...";
                break;
            }
        }
        throw io_error(moden::detail::message(context_, " has ", unused_.size(),
                                              unused_.size() == 1 ? " tensor" : " tensors", " that ", whole,
                                              " does not have: ", text));
    }

    std::string label(const std::string& name) const {
        return moden::detail::message(context_, ": tensor ", io::detail::in_quotes(name));
    }

private:
    static std::string shape_text(const extents& shape) {
        return shape.empty() ? "a single number" : moden::detail::message(shape);
    }

    const io::safetensors_file& file_;
    std::string context_;
    std::set<std::string> unused_;
};

inline void read_mapping(tensor_inventory& tensors, architecture& result) {
    if (tensors.has("mapping.embed.weight") || tensors.has("mapping.embed.bias")) {
        const extents& embed = tensors.shape("mapping.embed.weight", 2, "embedding x c_dim");
        result.embedding = embed[0];
        result.c_dim = embed[1];
        tensors.expect("mapping.embed.bias", {embed[0]});
    }
    const std::size_t width = tensors.shape("mapping.fc0.weight", 2, "features x z_dim")[1];
    require<io_error>(width > result.embedding, tensors.label("mapping.fc0.weight"), " takes ", width,
                      " numbers, of which the embedded label has ", result.embedding);
    result.z_dim = width - result.embedding;
    std::size_t input = width;
    for (std::size_t i = 0;; ++i) {
        const std::string name = moden::detail::message("mapping.fc", i);
        if (!tensors.has(name + ".weight") && !tensors.has(name + ".bias")) {
            break;
        }
        const extents shape = tensors.shape(name + ".weight", 2, "features x inputs");
        tensors.expect(name + ".weight", {shape[0], input});
        tensors.expect(name + ".bias", {shape[0]});
        input = shape[0];
        result.mapping_widths.push_back(input);
    }
    result.w_dim = input;
    result.has_w_avg = tensors.has("mapping.w_avg");
    tensors.expect_if_there("mapping.w_avg", {result.w_dim});
}

inline void read_layer(tensor_inventory& tensors, architecture& result, std::string name, layer_kind kind,
                       std::size_t resolution, std::size_t in, std::size_t out, std::size_t ws_row) {
    const std::string prefix = "synthesis." + name;
    const std::size_t taps = kind == layer_kind::to_rgb ? 1 : 3;
    tensors.expect(prefix + ".weight", {out, in, taps, taps});
    tensors.expect(prefix + ".bias", {out});
    tensors.expect(prefix + ".affine.weight", {in, result.w_dim});
    tensors.expect(prefix + ".affine.bias", {in});
    if (kind != layer_kind::to_rgb) {
        tensors.expect(prefix + ".noise_strength", {});
        tensors.expect(prefix + ".noise_const", {resolution, resolution});
        tensors.expect_if_there(prefix + ".resample_filter", {4, 4});
    }
    result.layers.push_back({std::move(name), kind, resolution, in, out, ws_row, result.style_size});
    result.style_size += in;
}

inline void read_synthesis(tensor_inventory& tensors, architecture& result) {
    constexpr std::size_t largest = 1024;
    const auto block = [](std::size_t resolution) { return moden::detail::message("b", resolution); };
    const auto has_block = [&](std::size_t resolution) {
        const std::string prefix = moden::detail::message("synthesis.b", resolution);
        return tensors.has(prefix + ".conv0.weight") || tensors.has(prefix + ".conv1.weight") || tensors.has(prefix + ".torgb.weight");
    };
    const std::size_t channels_4 = tensors.shape("synthesis.b4.const", 3, "channels x 4 x 4")[0];
    tensors.expect("synthesis.b4.const", {channels_4, 4, 4});
    read_layer(tensors, result, "b4.conv1", layer_kind::convolution, 4, channels_4, channels_4, 0);
    read_layer(tensors, result, "b4.torgb", layer_kind::to_rgb, 4, channels_4, 3, 1);
    tensors.expect_if_there("synthesis.b4.resample_filter", {4, 4});
    result.resolution = 4;
    std::size_t in = channels_4;
    for (std::size_t r = 8, row = 1; has_block(r); r *= 2, row += 2) {
        require<io_error>(r <= largest, tensors.context(), ": has layers of ", r, " x ", r,
                          " pixels, resolutions of 8 to ", largest, " are supported");
        const std::size_t out =
            tensors.shape(moden::detail::message("synthesis.b", r, ".conv0.weight"), 4, "channels x inputs x 3 x 3")[0];
        read_layer(tensors, result, block(r) + ".conv0", layer_kind::upsampling_convolution, r, in, out, row);
        read_layer(tensors, result, block(r) + ".conv1", layer_kind::convolution, r, out, out, row + 1);
        read_layer(tensors, result, block(r) + ".torgb", layer_kind::to_rgb, r, out, 3, row + 2);
        tensors.expect_if_there(moden::detail::message("synthesis.b", r, ".resample_filter"), {4, 4});
        result.resolution = r;
        in = out;
    }
    require<io_error>(result.resolution >= 8, tensors.context(),
                      " has no tensor 'synthesis.b8.conv0.weight': resolutions of 8 to ", largest, " are supported");
    result.num_ws = result.layers.back().ws_row + 1;
}

/// A number in a file's metadata.
inline std::optional<double> metadata_number(const io::safetensors_file& file, const std::string& key,
                                             const std::string& context) {
    const auto entry = file.metadata().find(key);
    if (entry == file.metadata().end()) {
        return std::nullopt;
    }
    std::istringstream text(entry->second);
    text.imbue(std::locale::classic());
    double value = 0;
    char more = 0;
    require<io_error>(static_cast<bool>(text >> value) && !(text >> more) && std::isfinite(value) && value > 0, context,
                      ": the metadata '", key, "' is ", io::detail::in_quotes(entry->second), " (expected a positive number)");
    return value;
}

/// Reads the dimensions and refuses tensors that are missing, misshapen or unknown.
inline architecture read_architecture(const io::safetensors_file& file, const std::string& context) {
    architecture result;
    tensor_inventory tensors(file, context);
    read_mapping(tensors, result);
    read_synthesis(tensors, result);
    tensors.refuse_the_rest("a StyleGAN2 generator of the skip architecture");
    result.conv_clamp = metadata_number(file, "conv_clamp", context);
    if (const auto stated = metadata_number(file, "resolution", context)) {
        require<io_error>(*stated == static_cast<double>(result.resolution), context, ": the metadata state a resolution of ",
                          io::detail::in_quotes(file.metadata().at("resolution")), ", the layers end at ", result.resolution);
    }
    return result;
}

}  // namespace detail

/// Reads what a weight file's generator looks like, without its weights.
///
/// \param path  safetensors file with NVIDIA's names, as tools/convert_stylegan2.py writes
/// \throws io_error if the file is damaged or holds anything but a StyleGAN2 generator of the skip architecture of 8 to
///         1024 pixels; the message names the tensor and both shapes
inline architecture read_architecture(const std::filesystem::path& path) {
    return detail::read_architecture(io::safetensors_file(path), io::detail::file_context("stylegan2::read_architecture", path.string()));
}

}  // namespace moden::stylegan2
