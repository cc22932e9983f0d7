// Any bytes as a weight file of a generator: taken as they are where they begin like a safetensors file, and otherwise as
// changes to a sound one, because random bytes hardly ever make a header that names thirty tensors.

#include "fuzz.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <moden/policy/cpu.hpp>
#include <moden/stylegan2/generator.hpp>

namespace io = moden::io;
namespace stylegan2 = moden::stylegan2;

namespace {

struct entry {
    std::string type = "F16";
    std::vector<std::size_t> shape;
    std::string data;
};

using file = std::map<std::string, entry>;

std::size_t count_of(const std::vector<std::size_t>& shape) {
    std::size_t count = 1;
    for (const std::size_t extent : shape) {
        count *= extent;
    }
    return count;
}

/// Zeros, but for resampling filters. 8 pixels, or 16, for which the 3 x 3 layers are prepared otherwise.
file sound_file(bool conditional, bool larger) {
    file result;
    const auto add = [&](const std::string& name, const std::vector<std::size_t>& shape) {
        result[name] = {"F16", shape, std::string(2 * count_of(shape), '\0')};
    };
    if (conditional) {
        add("mapping.embed.weight", {2, 3});
        add("mapping.embed.bias", {2});
    }
    for (const std::string layer : {"0", "1"}) {
        add("mapping.fc" + layer + ".weight", {2, conditional && layer == "0" ? 4U : 2U});
        add("mapping.fc" + layer + ".bias", {2});
    }
    add("mapping.w_avg", {2});
    add("synthesis.b4.const", {3, 4, 4});
    std::size_t in = 3;
    for (std::size_t r = 4; r <= (larger ? 16U : 8U); r *= 2) {
        const std::string block = "synthesis.b" + std::to_string(r) + ".";
        const std::size_t out = r == 4 ? 3 : 2;
        for (const std::string layer : {"conv0", "conv1", "torgb"}) {
            if (r == 4 && layer == "conv0") {
                continue;
            }
            const bool picture = layer == "torgb";
            add(block + layer + ".weight", {picture ? 3 : out, in, picture ? 1U : 3U, picture ? 1U : 3U});
            add(block + layer + ".bias", {picture ? 3 : out});
            add(block + layer + ".affine.weight", {in, 2});
            add(block + layer + ".affine.bias", {in});
            if (!picture) {
                add(block + layer + ".noise_strength", {});
                add(block + layer + ".noise_const", {r, r});
            }
            in = out;
        }
        add(block + "resample_filter", {4, 4});
        std::string& taps = result[block + "resample_filter"].data;
        for (std::size_t i = 0; i < 16; ++i) {  // 1, 3 and 9 sixty-fourths as halves
            const bool row = i / 4 % 3 != 0;
            const bool column = i % 4 % 3 != 0;
            const unsigned bits = row && column ? 0x3080U : row || column ? 0x2a00U : 0x2400U;
            taps[2 * i] = static_cast<char>(bits & 0xffU);
            taps[2 * i + 1] = static_cast<char>(bits >> 8U);
        }
    }
    return result;
}

std::string text_of(const file& tensors, const std::string& metadata) {
    std::string header = "{\"__metadata__\":{" + metadata + "}";
    std::string data;
    for (const auto& [name, tensor] : tensors) {
        header += ",\"" + name + "\":{\"dtype\":\"" + tensor.type + "\",\"shape\":[";
        for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
            header += (i > 0 ? "," : "") + std::to_string(tensor.shape[i]);
        }
        header += "],\"data_offsets\":[" + std::to_string(data.size());
        data += tensor.data;
        header += "," + std::to_string(data.size()) + "]}";
    }
    header += "}";
    std::string text(8, '\0');
    for (std::size_t byte = 0; byte < 8; ++byte) {
        text[byte] = static_cast<char>((header.size() >> (8 * byte)) & 0xffU);
    }
    return text + header + data;
}

/// Bytes of the fuzzer, one after the other; zero when there are no more.
class byte_source {
public:
    byte_source(const std::uint8_t* data, std::size_t size) : next_(data), end_(data + size) {}
    bool more() const { return next_ != end_; }
    std::uint8_t operator()() { return more() ? *next_++ : std::uint8_t{0}; }

private:
    const std::uint8_t* next_;
    const std::uint8_t* end_;
};

/// A sound file with some of its tensors missing, of other names, shapes, types or numbers.
std::string changed_file(byte_source next) {
    const std::uint8_t kind = next();
    file tensors = sound_file((kind & 1U) != 0, (kind & 2U) != 0);
    std::string metadata;
    for (int changes = 0; next.more() && changes < 8; ++changes) {
        if (tensors.empty()) {
            break;
        }
        auto at = tensors.begin();
        std::advance(at, next() % tensors.size());
        entry& tensor = at->second;
        const std::uint8_t what = next();
        const std::uint8_t how = next();
        switch (what % 8) {
        case 0: tensors.erase(at); break;
        case 1: {  // another extent, and as many numbers as it takes
            if (!tensor.shape.empty()) {
                tensor.shape[how % tensor.shape.size()] = next() % 20;
                tensor.data.resize(2 * count_of(tensor.shape));
            }
            break;
        }
        case 2: tensor.shape.push_back(how % 3); tensor.data.resize(2 * count_of(tensor.shape)); break;
        case 3: std::reverse(tensor.shape.begin(), tensor.shape.end()); break;
        case 4: {  // numbers of another type; sizes that do not fit are safetensors' business
            static constexpr const char* types[] = {"F16", "BF16", "I16", "U16", "F32", "F64", "BOOL", "I64"};
            static constexpr std::size_t sizes[] = {2, 2, 2, 2, 4, 8, 1, 8};
            tensor.type = types[how % 8];
            tensor.data.resize(sizes[how % 8] * count_of(tensor.shape));
            break;
        }
        case 5: {  // a number, NaN and infinity among them
            if (!tensor.data.empty()) {
                tensor.data[how % tensor.data.size()] = static_cast<char>(next());
            }
            break;
        }
        case 6: {  // another name, of characters that JSON need not escape
            std::string name = at->first;
            entry moved = tensor;
            name[how % name.size()] = static_cast<char>('.' + next() % 45);
            std::erase(name, '\\');
            tensors.erase(at);
            tensors.insert_or_assign(name, std::move(moved));
            break;
        }
        default: {
            std::string value;
            for (int length = how % 8; length > 0; --length) {
                value += "0123456789+-.einfa x"[next() % 20];
            }
            metadata = std::string(how & 128U ? "\"conv_clamp\":\"" : "\"resolution\":\"") + value + "\"";
        }
        }
    }
    return text_of(tensors, metadata);
}

/// What holds for every generator that is accepted.
void check(const stylegan2::architecture& layout) {
    fuzz::expect(layout.resolution >= 8 && layout.resolution <= 1024);
    fuzz::expect((layout.resolution & (layout.resolution - 1)) == 0);
    fuzz::expect(layout.z_dim > 0 && layout.w_dim > 0);
    fuzz::expect(!layout.mapping_widths.empty() && layout.mapping_widths.back() == layout.w_dim);
    fuzz::expect((layout.c_dim > 0) == (layout.embedding > 0));
    std::size_t styles = 0;
    for (const stylegan2::synthesis_layer& layer : layout.layers) {
        fuzz::expect(layer.style_offset == styles && layer.ws_row < layout.num_ws && layer.in > 0 && layer.out > 0);
        styles += layer.in;
    }
    fuzz::expect(styles == layout.style_size && layout.layers.back().resolution == layout.resolution);
    fuzz::expect(!layout.conv_clamp || (std::isfinite(*layout.conv_clamp) && *layout.conv_clamp > 0));
}

template <class T>
bool load(const moden::cpu_policy& policy, const std::string& text) {
    return fuzz::accepted([&] {
        const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
        const stylegan2::generator<moden::cpu_policy, T> net(policy, io::parse_safetensors(bytes, "fuzz"));
        check(net.layout());
        fuzz::expect(net.weights().layers.size() == net.layout().layers.size());
        for (const auto& layer : net.weights().layers) {
            for (std::size_t i = 0; i < layer.affine.weight.size(); ++i) {
                fuzz::expect(std::isfinite(layer.affine.weight.data()[i]));
            }
        }
    });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const moden::cpu_policy policy({.threads = 1});
    const bool whole = size > 8 && data[8] == '{';
    const std::string text =
        whole ? std::string(reinterpret_cast<const char*>(data), size) : changed_file(byte_source(data, size));
    const bool single = load<float>(policy, text);
    const bool in_double = load<double>(policy, text);
    fuzz::expect(in_double || !single);  // what fits into float fits into double
    return 0;
}

extern "C" int LLVMFuzzerInitialize(int*, char***) {  // the file that is changed has to be sound
    const moden::cpu_policy policy({.threads = 1});
    for (std::uint8_t kind = 0; kind < 4; ++kind) {
        fuzz::expect(load<float>(policy, changed_file(byte_source(&kind, 1))));
    }
    return 0;
}
