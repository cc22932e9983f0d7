#pragma once

// The elementwise parts of styled layers and of their derivatives, as loop bodies for policy.transform_rows: row i is a
// pixel (or an image), columns are channels.
//
// Pictures of a pass lie in one stack: `samples` pictures, then `tangents` derivatives of each of them, sample by sample.

#include <cmath>
#include <cstddef>

#include <moden/core/macros.hpp>

namespace moden::stylegan2::detail {

inline constexpr double sqrt_2 = 1.41421356237309504880;
inline constexpr double leaky_slope = 0.2;
inline constexpr double demodulation_epsilon = 1e-8;

/// The stack of a pass: who is whose derivative.
struct stack_extents {
    std::size_t samples = 0;
    std::size_t tangents = 0;  ///< per sample

    MODEN_HOST_DEVICE std::size_t images() const { return samples * (1 + tangents); }
    MODEN_HOST_DEVICE bool is_tangent(std::size_t image) const { return image >= samples; }
    MODEN_HOST_DEVICE std::size_t sample_of(std::size_t image) const {
        return image < samples ? image : (image - samples) / tangents;
    }
    MODEN_HOST_DEVICE std::size_t tangent(std::size_t sample, std::size_t t) const {
        return samples + sample * tangents + t;
    }
};

/// sqrt(2) lrelu, by the sign of its argument or of its result, which are the same.
template <class T>
MODEN_HOST_DEVICE T activation_slope(T value) {
    return value > T(0) ? static_cast<T>(sqrt_2) : static_cast<T>(sqrt_2 * leaky_slope);
}

/// x s for samples, dx s + x ds for tangents, for the images from first_image on. Rows: their pixels.
template <class T>
struct modulate {
    stack_extents stack;
    std::size_t first_image;
    const T* x;               ///< the whole stack
    const T* styles;          ///< of this layer, samples x style_step
    const T* style_tangents;  ///< samples * tangents x style_step
    std::size_t style_step;
    T* result;  ///< of the images from first_image on
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t image = first_image + row / pixels;
        const std::size_t sample = stack.sample_of(image);
        const T* own = x + (first_image * pixels + row) * channels;
        const T* style = styles + sample * style_step;
        T* to = result + row * channels;
        if (!stack.is_tangent(image)) {
            for (std::size_t c = first; c < last; ++c) {
                to[c] = own[c] * style[c];
            }
            return;
        }
        const T* base = x + (sample * pixels + row % pixels) * channels;
        const T* style_tangent = style_tangents + (image - stack.samples) * style_step;
        for (std::size_t c = first; c < last; ++c) {
            to[c] = own[c] * style[c] + base[c] * style_tangent[c];
        }
    }
};

/// s s for samples, s ds for tangents: what Q is multiplied with. Rows: images.
template <class T>
struct square_styles {
    stack_extents stack;
    const T* styles;
    const T* style_tangents;
    std::size_t style_step;
    T* result;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t image, std::size_t first, std::size_t last) const {
        const T* style = styles + stack.sample_of(image) * style_step;
        const T* other = stack.is_tangent(image) ? style_tangents + (image - stack.samples) * style_step : style;
        for (std::size_t c = first; c < last; ++c) {
            result[image * channels + c] = style[c] * other[c];
        }
    }
};

/// d = rsqrt(Q s^2 + eps) in place for samples. Rows: samples.
template <class T>
struct demodulate {
    T* sums;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t sample, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            T& d = sums[sample * channels + c];
            d = T(1) / std::sqrt(d + static_cast<T>(demodulation_epsilon));
        }
    }
};

/// dd = -d^3 Q (s ds) in place for tangents. Rows: tangents of all samples.
template <class T>
struct demodulate_tangents {
    stack_extents stack;
    T* sums;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* d = sums + row / stack.tangents * channels;
        T* dd = sums + (stack.samples + row) * channels;
        for (std::size_t c = first; c < last; ++c) {
            dd[c] *= -d[c] * d[c] * d[c];
        }
    }
};

/// clamp(sqrt(2) lrelu(d y + noise + b)) for samples and the derivative of that for tangents, for the images from
/// first_image on. Rows: their pixels.
template <class T>
struct activate {
    stack_extents stack;
    std::size_t first_image;
    const T* sample_products;  ///< of the convolution, for all samples
    const T* products;         ///< for the images from first_image on
    T* result;                 ///< the whole stack
    const T* demodulation;     ///< for the whole stack
    const T* bias;
    const T* noise;          ///< per pixel, or null
    std::size_t noise_step;  ///< from a sample's noise to the next: 0 if they share it
    T clamp;                 ///< infinity if there is none
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t image = first_image + row / pixels;
        const std::size_t sample = stack.sample_of(image);
        const std::size_t pixel = row % pixels;
        const T* own = sample_products + (sample * pixels + pixel) * channels;
        const T* d = demodulation + sample * channels;
        const T shift = noise == nullptr ? T(0) : noise[sample * noise_step + pixel];
        T* to = result + (first_image * pixels + row) * channels;
        if (!stack.is_tangent(image)) {
            for (std::size_t c = first; c < last; ++c) {
                const T before = d[c] * own[c] + (shift + bias[c]);
                const T after = before * activation_slope(before);
                const T low = after < -clamp ? -clamp : after;
                to[c] = low > clamp ? clamp : low;
            }
            return;
        }
        const T* dy = products + row * channels;
        const T* dd = demodulation + image * channels;
        for (std::size_t c = first; c < last; ++c) {
            const T before = d[c] * own[c] + (shift + bias[c]);
            const T slope = activation_slope(before);
            const T after = before * slope;
            const T change = (d[c] * dy[c] + dd[c] * own[c]) * slope;
            to[c] = after < clamp && -after < clamp ? change : T(0);
        }
    }
};

/// The adjoint of `activate` and of the demodulation after it, in place: d * slope * cotangent. Rows: pixels of all
/// cotangents, `cotangents` of them per sample.
template <class T>
struct activate_adjoint {
    T* cotangent;
    const T* activation;
    const T* demodulation;
    T clamp;
    std::size_t cotangents;
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t sample = row / pixels / cotangents;
        const T* value = activation + (sample * pixels + row % pixels) * channels;
        const T* d = demodulation + sample * channels;
        T* to = cotangent + row * channels;
        for (std::size_t c = first; c < last; ++c) {
            const T scaled = to[c] * (d[c] * activation_slope(value[c]));
            to[c] = value[c] < clamp && -value[c] < clamp ? scaled : T(0);
        }
    }
};

/// Styles from rows of w+: nothing but the bias of the affine map, to which the product is added. Rows: samples.
template <class T>
struct set_rows {
    T* target;
    std::size_t step;
    const T* values;  ///< null for zeros

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            target[row * step + c] = values == nullptr ? T(0) : values[c];
        }
    }
};

/// g s, in place. Rows: pixels of all cotangents.
template <class T>
struct scale_by_styles {
    T* cotangent;
    const T* styles;
    std::size_t style_step;
    std::size_t cotangents;
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* style = styles + row / pixels / cotangents * style_step;
        for (std::size_t c = first; c < last; ++c) {
            cotangent[row * channels + c] *= style[c];
        }
    }
};

/// Pixels that one partial sum covers.
inline constexpr std::size_t pixels_per_sum = 128;

/// sum over a block of pixels of left * right, per channel; left belongs to the sample. Rows: (cotangent, block).
template <class T>
struct partial_dots {
    const T* left;
    std::size_t left_pictures;  ///< cotangents per picture on the left
    const T* right;
    T* sums;
    std::size_t blocks;
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t image = row / blocks;
        const std::size_t begin = row % blocks * pixels_per_sum;
        const std::size_t end = begin + pixels_per_sum < pixels ? begin + pixels_per_sum : pixels;
        T* sum = sums + row * channels;
        for (std::size_t c = first; c < last; ++c) {
            sum[c] = T(0);
        }
        for (std::size_t pixel = begin; pixel < end; ++pixel) {
            const T* a = left + (image / left_pictures * pixels + pixel) * channels;
            const T* b = right + (image * pixels + pixel) * channels;
            for (std::size_t c = first; c < last; ++c) {
                sum[c] += a[c] * b[c];
            }
        }
    }
};

/// sum over a block of pixels of left(channel) * picture(color), as color x channel. Rows: (cotangent, block).
template <class T>
struct partial_picture_dots {
    const T* left;
    std::size_t left_pictures;
    const T* picture;  ///< three numbers per pixel
    T* sums;
    std::size_t blocks;
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t image = row / blocks;
        const std::size_t begin = row % blocks * pixels_per_sum;
        const std::size_t end = begin + pixels_per_sum < pixels ? begin + pixels_per_sum : pixels;
        T* red = sums + 3 * row * channels;
        T* green = red + channels;
        T* blue = green + channels;
        for (std::size_t c = first; c < last; ++c) {
            red[c] = green[c] = blue[c] = T(0);
        }
        for (std::size_t pixel = begin; pixel < end; ++pixel) {
            const T* a = left + (image / left_pictures * pixels + pixel) * channels;
            const T* b = picture + (image * pixels + pixel) * 3;
            for (std::size_t c = first; c < last; ++c) {
                red[c] += a[c] * b[0];
                green[c] += a[c] * b[1];
                blue[c] += a[c] * b[2];
            }
        }
    }
};

/// Adds up partial sums over blocks, in double precision. Rows: cotangents.
template <class T>
struct add_partial_sums {
    const T* sums;
    T* result;
    std::size_t blocks;
    std::size_t columns;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        for (std::size_t c = first; c < last; ++c) {
            double sum = 0;
            for (std::size_t block = 0; block < blocks; ++block) {
                sum += static_cast<double>(sums[(row * blocks + block) * columns + c]);
            }
            result[row * columns + c] = static_cast<T>(sum);
        }
    }
};

/// d^2 * sum of (cotangent * product): what Q' is multiplied with. Rows: cotangents. In place.
template <class T>
struct weigh_demodulation {
    T* dots;
    const T* demodulation;
    std::size_t cotangents;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* d = demodulation + row / cotangents * channels;
        for (std::size_t c = first; c < last; ++c) {
            dots[row * channels + c] *= d[c] * d[c];
        }
    }
};

/// sum x g - s Q'(...). Rows: cotangents.
template <class T>
struct combine_style_cotangent {
    const T* dots;        ///< sum x g
    const T* correction;  ///< Q'(...)
    const T* styles;
    std::size_t style_step;
    T* result;
    std::size_t result_step;
    std::size_t cotangents;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* style = styles + row / cotangents * style_step;
        for (std::size_t c = first; c < last; ++c) {
            result[row * result_step + c] = dots[row * channels + c] - style[c] * correction[row * channels + c];
        }
    }
};

/// torgb's weights times styles (samples) or style tangents: image x 3 x channels. Rows: (image, color).
template <class T>
struct style_picture_weights {
    stack_extents stack;
    const T* weights;  ///< 3 x channels, gain included
    const T* styles;
    const T* style_tangents;
    std::size_t style_step;
    T* result;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t image = row / 3;
        const T* style = stack.is_tangent(image) ? style_tangents + (image - stack.samples) * style_step
                                                 : styles + image * style_step;
        for (std::size_t c = first; c < last; ++c) {
            result[row * channels + c] = weights[row % 3 * channels + c] * style[c];
        }
    }
};

/// Adds what torgb made of a layer to the pictures: clamp(y + b) and the tangents of that. Rows: pixels of the samples,
/// columns: colors. y becomes y + b.
template <class T>
struct add_picture {
    stack_extents stack;
    T* y;            ///< for the stack: x W, dx W
    const T* cross;  ///< x dW: sample x pixel x (tangent, color)
    const T* bias;
    T* picture;
    T clamp;
    std::size_t pixels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t sample = row / pixels;
        const std::size_t pixel = row % pixels;
        for (std::size_t c = first; c < last; ++c) {
            T& value = y[row * 3 + c];
            value += bias[c];
            const bool free = value < clamp && -value < clamp;
            for (std::size_t t = 0; t < stack.tangents; ++t) {
                const std::size_t at = (stack.tangent(sample, t) * pixels + pixel) * 3 + c;
                picture[at] += free ? y[at] + cross[(row * stack.tangents + t) * 3 + c] : T(0);
            }
            picture[row * 3 + c] += free ? value : (value > T(0) ? clamp : -clamp);
        }
    }
};

/// Cotangents of torgb's result where its clamp lets them through. Rows: pixels of all cotangents, columns: colors.
template <class T>
struct mask_picture {
    const T* cotangent;
    const T* y;
    T* result;
    T clamp;
    std::size_t cotangents;
    std::size_t pixels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const std::size_t base = (row / pixels / cotangents * pixels + row % pixels) * 3;
        for (std::size_t c = first; c < last; ++c) {
            const T value = y[base + c];
            result[row * 3 + c] = value < clamp && -value < clamp ? cotangent[row * 3 + c] : T(0);
        }
    }
};

/// x cotangent = (what is there, or nothing) + y cotangent W. Rows: pixels of all cotangents.
template <class T, bool Add>
struct picture_to_channels {
    const T* picture;
    const T* weights;  ///< sample x 3 x channels
    T* result;
    std::size_t cotangents;
    std::size_t pixels;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* red = weights + 3 * (row / pixels / cotangents) * channels;
        const T* green = red + channels;
        const T* blue = green + channels;
        const T* y = picture + row * 3;
        T* to = result + row * channels;
        for (std::size_t c = first; c < last; ++c) {
            const T sum = y[0] * red[c] + y[1] * green[c] + y[2] * blue[c];
            to[c] = Add ? to[c] + sum : sum;
        }
    }
};

/// Style cotangent of torgb: sum over colors of W * dots. Rows: cotangents.
template <class T>
struct picture_style_cotangent {
    const T* dots;     ///< cotangent x 3 x channels
    const T* weights;  ///< 3 x channels, gain included
    T* result;
    std::size_t result_step;
    std::size_t channels;

    MODEN_HOST_DEVICE void operator()(std::size_t row, std::size_t first, std::size_t last) const {
        const T* dot = dots + 3 * row * channels;
        for (std::size_t c = first; c < last; ++c) {
            result[row * result_step + c] = dot[c] * weights[c] + dot[channels + c] * weights[channels + c] +
                                            dot[2 * channels + c] * weights[2 * channels + c];
        }
    }
};

}  // namespace moden::stylegan2::detail
