#pragma once

// A StyleGAN2 generator as its definition reads: weights modulated and demodulated for every picture, convolutions as sums,
// resampling as zeros, padding and filter. Slow, in double precision or in dual numbers, and without a line of the library's.

#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace moden_test {

/// A number and its derivative in one direction.
struct dual {
    double value = 0;
    double slope = 0;
    dual() = default;
    dual(double v) : value(v) {}
    dual(double v, double s) : value(v), slope(s) {}
    dual& operator+=(const dual& b) { return *this = dual(value + b.value, slope + b.slope); }
    friend dual operator+(dual a, const dual& b) { return a += b; }
    friend dual operator-(const dual& a, const dual& b) { return {a.value - b.value, a.slope - b.slope}; }
    friend dual operator*(const dual& a, const dual& b) { return {a.value * b.value, a.slope * b.value + a.value * b.slope}; }
};
inline dual inverse_root(const dual& x) {
    const double r = 1 / std::sqrt(x.value);
    return {r, -0.5 * r / x.value * x.slope};
}
inline double inverse_root(double x) { return 1 / std::sqrt(x); }
inline double value_of(double x) { return x; }
inline double value_of(const dual& x) { return x.value; }

/// A tensor of a weight file.
struct weight {
    std::vector<std::size_t> shape;
    std::vector<double> data;
};
using weight_map = std::map<std::string, weight>;

/// Feature maps of one picture: channels x height x width.
template <class S>
struct planes {
    std::size_t channels = 0, height = 0, width = 0;
    std::vector<S> data;

    planes(std::size_t c, std::size_t h, std::size_t w) : channels(c), height(h), width(w), data(c * h * w, S(0.0)) {}
    S& at(std::size_t c, std::size_t y, std::size_t x) { return data[(c * height + y) * width + x]; }
    const S& at(std::size_t c, std::size_t y, std::size_t x) const { return data[(c * height + y) * width + x]; }
    /// Zero outside.
    S get(std::size_t c, std::ptrdiff_t y, std::ptrdiff_t x) const {
        const bool inside = y >= 0 && x >= 0 && y < static_cast<std::ptrdiff_t>(height) && x < static_cast<std::ptrdiff_t>(width);
        return inside ? at(c, static_cast<std::size_t>(y), static_cast<std::size_t>(x)) : S(0.0);
    }
};

/// Inserts zeros after each sample, pads with zeros, convolves with [1 3 3 1]' [1 3 3 1] / 64 times 4.
template <class S>
planes<S> resample(const planes<S>& x, std::size_t up, std::size_t pad_before, std::size_t pad_after) {
    const double taps[] = {1, 3, 3, 1};
    const std::size_t height = x.height * up + pad_before + pad_after;
    const std::size_t width = x.width * up + pad_before + pad_after;
    planes<S> padded(x.channels, height, width);
    planes<S> result(x.channels, height - 3, width - 3);
    for (std::size_t c = 0; c < x.channels; ++c) {
        for (std::size_t i = 0; i < x.height; ++i) {
            for (std::size_t j = 0; j < x.width; ++j) {
                padded.at(c, i * up + pad_before, j * up + pad_before) = x.at(c, i, j);
            }
        }
        for (std::size_t i = 0; i < result.height; ++i) {
            for (std::size_t j = 0; j < result.width; ++j) {
                S sum(0.0);
                for (std::size_t a = 0; a < 4; ++a) {
                    for (std::size_t b = 0; b < 4; ++b) {  // a convolution proper: the filter is turned
                        sum += S(taps[3 - a] * taps[3 - b] / 64 * 4) * padded.at(c, i + a, j + b);
                    }
                }
                result.at(c, i, j) = sum;
            }
        }
    }
    return result;
}

/// What the reference is told beside weights.
struct reference_options {
    std::optional<double> clamp;
    bool constant_noise = true;
    std::map<std::string, std::vector<double>> noise;  ///< by layer, for random noise; replaces the constant one
};

/// Everything a run leaves, by layer name.
template <class S>
struct reference_result {
    std::map<std::string, std::vector<S>> styles;
    std::map<std::string, planes<S>> activations;
    std::map<std::string, planes<S>> pictures;
};

template <class S>
class reference_generator {
public:
    reference_generator(const weight_map& weights, reference_options options)
        : weights_(weights), options_(std::move(options)) {
        resolution_ = 4;
        while (weights.count("synthesis.b" + std::to_string(2 * resolution_) + ".conv0.weight") > 0) {
            resolution_ *= 2;
        }
    }

    std::vector<S> map(const std::vector<S>& z, const std::vector<double>& label = {}) const {
        std::vector<S> x = normalized(z);
        if (!label.empty()) {
            const std::vector<S> y = normalized(dense("mapping.embed", std::vector<S>(label.begin(), label.end()), 1));
            x.insert(x.end(), y.begin(), y.end());
        }
        for (int i = 0; weights_.count("mapping.fc" + std::to_string(i) + ".weight") > 0; ++i) {
            x = dense("mapping.fc" + std::to_string(i), x, 0.01);
            for (S& v : x) {
                v = S(std::sqrt(2.0)) * leaky(v);
            }
        }
        return x;
    }

    /// Styles of every layer from rows of w+.
    std::map<std::string, std::vector<S>> styles(const std::vector<std::vector<S>>& ws) const {
        std::map<std::string, std::vector<S>> result;
        result["b4.conv1"] = dense("synthesis.b4.conv1.affine", ws[0], 1);
        result["b4.torgb"] = dense("synthesis.b4.torgb.affine", ws[1], 1);
        std::size_t k = 1;
        for (std::size_t r = 8; r <= resolution_; r *= 2, ++k) {
            const std::string block = "b" + std::to_string(r);
            result[block + ".conv0"] = dense("synthesis." + block + ".conv0.affine", ws[2 * k - 1], 1);
            result[block + ".conv1"] = dense("synthesis." + block + ".conv1.affine", ws[2 * k], 1);
            result[block + ".torgb"] = dense("synthesis." + block + ".torgb.affine", ws[2 * k + 1], 1);
        }
        return result;
    }

    reference_result<S> run(const std::map<std::string, std::vector<S>>& styles) const {
        reference_result<S> result;
        result.styles = styles;
        const weight& constant = weights_.at("synthesis.b4.const");
        planes<S> x(constant.shape[0], 4, 4);
        x.data.assign(constant.data.begin(), constant.data.end());
        planes<S> picture(3, 4, 4);
        for (std::size_t r = 4; r <= resolution_; r *= 2) {
            const std::string block = "b" + std::to_string(r);
            if (r > 4) {
                x = layer(block + ".conv0", x, styles.at(block + ".conv0"), 2);
                result.activations.emplace(block + ".conv0", x);
                picture = resample(picture, 2, 2, 1);
            }
            x = layer(block + ".conv1", x, styles.at(block + ".conv1"), 1);
            result.activations.emplace(block + ".conv1", x);
            add_picture(block + ".torgb", x, styles.at(block + ".torgb"), picture);
            result.pictures.emplace(block + ".torgb", picture);
        }
        return result;
    }

private:
    static S leaky(const S& x) { return value_of(x) > 0 ? x : S(0.2) * x; }
    S clamped(const S& x) const {
        if (options_.clamp && std::abs(value_of(x)) > *options_.clamp) {
            return S(value_of(x) > 0 ? *options_.clamp : -*options_.clamp);
        }
        return x;
    }

    static std::vector<S> normalized(std::vector<S> x) {
        S sum(0.0);
        for (const S& v : x) {
            sum += v * v;
        }
        const S factor = inverse_root(sum * S(1.0 / static_cast<double>(x.size())) + S(1e-8));
        for (S& v : x) {
            v = v * factor;
        }
        return x;
    }

    std::vector<S> dense(const std::string& name, const std::vector<S>& x, double rate) const {
        const weight& w = weights_.at(name + ".weight");
        const weight& b = weights_.at(name + ".bias");
        const double gain = rate / std::sqrt(static_cast<double>(w.shape[1]));
        std::vector<S> y;
        for (std::size_t o = 0; o < w.shape[0]; ++o) {
            S sum(b.data[o] * rate);
            for (std::size_t i = 0; i < w.shape[1]; ++i) {
                sum += S(w.data[o * w.shape[1] + i] * gain) * x[i];
            }
            y.push_back(sum);
        }
        return y;
    }

    planes<S> layer(const std::string& name, const planes<S>& x, const std::vector<S>& style, std::size_t up) const {
        const weight& w = weights_.at("synthesis." + name + ".weight");
        const std::size_t out = w.shape[0];
        const std::size_t in = w.shape[1];
        // modulated and demodulated filters
        std::vector<S> filters(out * in * 9, S(0.0));
        for (std::size_t o = 0; o < out; ++o) {
            S sum(1e-8);
            for (std::size_t i = 0; i < in; ++i) {
                for (std::size_t k = 0; k < 9; ++k) {
                    S& value = filters[(o * in + i) * 9 + k];
                    value = S(w.data[(o * in + i) * 9 + k]) * style[i];
                    sum += value * value;
                }
            }
            const S d = inverse_root(sum);
            for (std::size_t k = 0; k < in * 9; ++k) {
                filters[o * in * 9 + k] = filters[o * in * 9 + k] * d;
            }
        }
        planes<S> y(out, up == 1 ? x.height : 2 * x.height + 1, up == 1 ? x.width : 2 * x.width + 1);
        for (std::size_t o = 0; o < out; ++o) {
            for (std::size_t i = 0; i < in; ++i) {
                const S* filter = &filters[(o * in + i) * 9];
                for (std::size_t r = 0; r < x.height; ++r) {
                    for (std::size_t c = 0; c < x.width; ++c) {
                        for (std::size_t a = 0; a < 3; ++a) {
                            for (std::size_t b = 0; b < 3; ++b) {
                                if (up == 2) {
                                    y.at(o, 2 * r + a, 2 * c + b) += x.at(i, r, c) * filter[a * 3 + b];
                                } else {
                                    y.at(o, r, c) += filter[a * 3 + b] * x.get(i, static_cast<std::ptrdiff_t>(r + a) - 1,
                                                                               static_cast<std::ptrdiff_t>(c + b) - 1);
                                }
                            }
                        }
                    }
                }
            }
        }
        if (up == 2) {
            y = resample(y, 1, 1, 1);
        }
        const std::string prefix = "synthesis." + name;
        const double strength = weights_.at(prefix + ".noise_strength").data[0];
        const auto& bias = weights_.at(prefix + ".bias").data;
        for (std::size_t o = 0; o < out; ++o) {
            for (std::size_t p = 0; p < y.height * y.width; ++p) {
                double noise = options_.constant_noise ? weights_.at(prefix + ".noise_const").data[p] : 0.0;
                if (options_.noise.count(name) > 0) {
                    noise = options_.noise.at(name)[p];
                }
                S& value = y.data[o * y.height * y.width + p];
                value = clamped(S(std::sqrt(2.0)) * leaky(value + S(noise * strength) + S(bias[o])));
            }
        }
        return y;
    }

    void add_picture(const std::string& name, const planes<S>& x, const std::vector<S>& style, planes<S>& picture) const {
        const weight& w = weights_.at("synthesis." + name + ".weight");
        const auto& bias = weights_.at("synthesis." + name + ".bias").data;
        const double gain = 1 / std::sqrt(static_cast<double>(x.channels));
        for (std::size_t o = 0; o < 3; ++o) {
            for (std::size_t p = 0; p < x.height * x.width; ++p) {
                S sum(bias[o]);
                for (std::size_t i = 0; i < x.channels; ++i) {
                    sum += S(w.data[o * x.channels + i]) * (style[i] * S(gain)) * x.data[i * x.height * x.width + p];
                }
                picture.data[o * x.height * x.width + p] += clamped(sum);
            }
        }
    }

    const weight_map& weights_;
    reference_options options_;
    std::size_t resolution_;
};

}  // namespace moden_test
