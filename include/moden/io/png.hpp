#pragma once

// Pictures with 8 bits per channel, read and written through libpng.

#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <new>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <png.h>

#include <moden/core/error.hpp>
#include <moden/core/tensor.hpp>
#include <moden/io/atomic_file.hpp>
#include <moden/io/mapped_file.hpp>
#include <moden/io/message.hpp>

namespace moden::io {

/// Which channels a picture is delivered with.
enum class png_channels {
    as_stored,  ///< 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha; palettes become RGB or RGBA
    grey,       ///< 1 channel; pictures with colour are refused, alpha is dropped
    rgb,        ///< 3 channels; grey is repeated, alpha is dropped
    rgba        ///< 4 channels; grey is repeated, missing alpha is 255
};

/// Options of read_png.
struct png_read_options {
    png_channels channels = png_channels::as_stored;
    /// Pictures with more pixels are refused before anything is allocated for them.
    std::size_t max_pixels = std::size_t{1} << 26U;
};

/// Options of write_png.
struct png_write_options {
    /// zlib level: 0 stores, 1 is fast, 9 is small.
    int compression_level = 6;
};

/// What float_to_byte_image does with values outside [0, 1].
enum class out_of_range { clamp, refuse };

/// Options of float_to_byte_image.
struct float_image_options {
    out_of_range outside = out_of_range::clamp;
};

namespace detail {

/// State of one libpng reader or writer. libpng reports errors by longjmp, which must not skip destructors: every call
/// into libpng is made through `guarded`, whose callee holds trivial objects only; all owners live in its callers.
struct png_session {
    png_structp png = nullptr;
    png_infop info = nullptr;
    bool writing = false;
    std::span<const std::byte> input{};
    std::size_t position = 0;
    std::vector<std::byte>* output = nullptr;
    char error_text[200] = "unknown error";

    png_session() = default;
    png_session(const png_session&) = delete;
    png_session& operator=(const png_session&) = delete;
    ~png_session() {
        if (writing) {
            png_destroy_write_struct(&png, &info);
        } else {
            png_destroy_read_struct(&png, &info, nullptr);
        }
    }
};

inline void png_remember_error(png_structp png, png_const_charp text) {
    auto& session = *static_cast<png_session*>(png_get_error_ptr(png));
    std::strncpy(session.error_text, text, sizeof session.error_text - 1);
    session.error_text[sizeof session.error_text - 1] = '\0';
    png_longjmp(png, 1);
}

inline void png_ignore_warning(png_structp, png_const_charp) {}

inline void png_take_input(png_structp png, png_bytep destination, std::size_t count) {
    auto& session = *static_cast<png_session*>(png_get_io_ptr(png));
    if (count > session.input.size() - session.position) {
        png_error(png, "the file ends too early");
    }
    std::memcpy(destination, session.input.data() + session.position, count);
    session.position += count;
}

inline bool png_append(std::vector<std::byte>& output, png_const_bytep bytes, std::size_t count) noexcept {
    try {
        const auto* first = reinterpret_cast<const std::byte*>(bytes);
        output.insert(output.end(), first, first + count);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

inline void png_give_output(png_structp png, png_bytep bytes, std::size_t count) {
    if (!png_append(*static_cast<png_session*>(png_get_io_ptr(png))->output, bytes, count)) {
        png_error(png, "out of memory");
    }
}

inline void png_flush_nothing(png_structp) {}

/// Runs `body` and returns false if libpng reported an error in it.
template <class Body>
bool guarded(png_session& session, const Body& body) {
    static_assert(std::is_trivially_destructible_v<Body>, "longjmp must not skip a destructor");
    if (setjmp(png_jmpbuf(session.png)) != 0) {
        return false;
    }
    body();
    return true;
}

/// Sets the conversions that bring any PNG to 8 bits per channel and the channels asked for.
inline void set_png_conversions(const png_session& session, png_channels channels) {
    const int colour = png_get_color_type(session.png, session.info);
    png_set_expand(session.png);    // palettes to RGB, 1/2/4 bit grey to 8, a transparent colour to alpha
    png_set_scale_16(session.png);  // 16 bit to 8, rounded to nearest
    if (channels == png_channels::grey || channels == png_channels::rgb) {
        png_set_strip_alpha(session.png);
    }
    if ((channels == png_channels::rgb || channels == png_channels::rgba) && (colour & PNG_COLOR_MASK_COLOR) == 0) {
        png_set_gray_to_rgb(session.png);
    }
    if (channels == png_channels::rgba) {
        png_set_add_alpha(session.png, 0xff, PNG_FILLER_AFTER);
    }
}

/// Refuses a picture that is too large, or larger than its file can possibly hold, before memory is taken for it.
inline void check_png_size(const png_session& session, const png_read_options& options, const std::string& context) {
    const std::uint64_t height = png_get_image_height(session.png, session.info);
    const std::uint64_t width = png_get_image_width(session.png, session.info);
    require<io_error>(height * width <= options.max_pixels, context, ": the picture has ", height, " x ", width,
                      " pixels, more than png_read_options::max_pixels = ", options.max_pixels);
    // Deflate never expands one byte to more than 1032.
    const std::uint64_t row_bytes = png_get_rowbytes(session.png, session.info);
    require<io_error>(height <= std::uint64_t{session.input.size()} * 1032 / row_bytes, context, ": a picture of ",
                      height, " x ", width, " pixels cannot be held by a file of ", session.input.size(), " bytes");
}

inline tensor<std::uint8_t, 3> decode_png(std::span<const std::byte> bytes, const png_read_options& options,
                                          const std::string& context) {
    require<io_error>(bytes.size() >= 8 && png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, 8) == 0,
                      context, " is not a PNG file: it does not start with the PNG signature");
    png_session session;
    session.input = bytes;
    session.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &session, png_remember_error, png_ignore_warning);
    require<io_error>(session.png != nullptr, context, ": libpng cannot be initialised");
    session.info = png_create_info_struct(session.png);
    require<io_error>(session.info != nullptr, context, ": libpng cannot be initialised");

    const auto check = [&](bool succeeded) {
        require<io_error>(succeeded, context, ": damaged PNG file: ", session.error_text);
    };
    check(guarded(session, [&session] {
        png_set_read_fn(session.png, &session, png_take_input);
        png_set_user_limits(session.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
        png_set_chunk_malloc_max(session.png, 4U << 20U);
        png_set_chunk_cache_max(session.png, 64);
        png_read_info(session.png, session.info);
    }));
    check_png_size(session, options, context);
    require<io_error>(options.channels != png_channels::grey
                          || (png_get_color_type(session.png, session.info) & PNG_COLOR_MASK_COLOR) == 0,
                      context, ": the picture has colour, expected a grey one; read it as RGB and weight the channels");
    int passes = 1;
    check(guarded(session, [&session, &options, &passes] {
        set_png_conversions(session, options.channels);
        passes = png_set_interlace_handling(session.png);
        png_read_update_info(session.png, session.info);
    }));

    const std::size_t height = png_get_image_height(session.png, session.info);
    const std::size_t width = png_get_image_width(session.png, session.info);
    const std::size_t channels = png_get_channels(session.png, session.info);
    require<io_error>(png_get_rowbytes(session.png, session.info) == width * channels, context,
                      ": libpng delivers rows of ", png_get_rowbytes(session.png, session.info), " bytes, expected ",
                      width * channels);
    auto image = tensor<std::uint8_t, 3>::from_shape({height, width, channels});
    std::uint8_t* pixels = image.data();
    check(guarded(session, [&session, &passes, pixels, height, width, channels] {
        for (int pass = 0; pass < passes; ++pass) {
            for (std::size_t row = 0; row < height; ++row) {
                png_read_row(session.png, pixels + row * width * channels, nullptr);
            }
        }
        png_read_end(session.png, nullptr);
    }));
    return image;
}

inline std::vector<std::byte> encode_png(const std::uint8_t* pixels, std::size_t height, std::size_t width,
                                         std::size_t channels, const png_write_options& options,
                                         const std::string& context) {
    require<argument_error>(options.compression_level >= 0 && options.compression_level <= 9, context,
                            ": compression_level is ", options.compression_level, ", expected 0 to 9");
    require<shape_error>(height > 0 && width > 0 && channels >= 1 && channels <= 4 && height <= PNG_UINT_31_MAX
                             && width <= PNG_UINT_31_MAX / 4,
                         context, ": the image has extents ", std::vector{height, width, channels},
                         ", expected height x width or height x width x channels with 1 to 4 channels, none empty");
    constexpr int colour_types[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB,
                                    PNG_COLOR_TYPE_RGB_ALPHA};
    std::vector<std::byte> output;
    png_session session;
    session.writing = true;
    session.output = &output;
    session.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &session, png_remember_error, png_ignore_warning);
    require<io_error>(session.png != nullptr, context, ": libpng cannot be initialised");
    session.info = png_create_info_struct(session.png);
    require<io_error>(session.info != nullptr, context, ": libpng cannot be initialised");
    const int colour_type = colour_types[channels - 1];
    const bool succeeded = guarded(session, [&session, &options, pixels, height, width, channels, colour_type] {
        png_set_user_limits(session.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
        png_set_write_fn(session.png, &session, png_give_output, png_flush_nothing);
        png_set_compression_level(session.png, options.compression_level);
        png_set_IHDR(session.png, session.info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                     colour_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(session.png, session.info);
        for (std::size_t row = 0; row < height; ++row) {
            png_write_row(session.png, pixels + row * width * channels);
        }
        png_write_end(session.png, nullptr);
    });
    require<io_error>(succeeded, context, ": libpng cannot encode the image: ", session.error_text);
    return output;
}

}  // namespace detail

/// Reads a picture that is already in memory.
///
/// \param bytes    a whole PNG file
/// \param options  channels to deliver, limit on the number of pixels
/// \param name     what messages call the source
/// \return         height x width x channels, values 0 to 255 as stored (no colour management); 16 bits
///                 are rounded to 8
/// \throws io_error if the bytes are no PNG, damaged, too large, or in colour where grey is asked for
inline tensor<std::uint8_t, 3> parse_png(std::span<const std::byte> bytes, const png_read_options& options = {},
                                         const std::string& name = "memory") {
    return detail::decode_png(bytes, options, detail::file_context("parse_png", name));
}

/// Reads a picture.
///
/// \param path     a PNG file of any kind: grey, colour, palette, 1 to 16 bits, interlaced
/// \param options  channels to deliver, limit on the number of pixels
/// \return         height x width x channels, values 0 to 255 as stored (no colour management); 16 bits
///                 are rounded to 8
/// \throws io_error if the file cannot be read, is no PNG, damaged, too large, or in colour where grey is asked for
inline tensor<std::uint8_t, 3> read_png(const std::filesystem::path& path, const png_read_options& options = {}) {
    const mapped_file file(path, "read_png");
    return detail::decode_png(file.bytes(), options, detail::file_context("read_png", path.string()));
}

/// Writes a picture with 8 bits per channel. The file appears complete or not at all.
///
/// \param path     file to create or replace
/// \param image    expression of std::uint8_t: height x width (grey), or height x width x channels with 1 (grey),
///                 2 (grey + alpha), 3 (RGB) or 4 (RGB + alpha) channels; float images: see float_to_byte_image
/// \param options  compression level
/// \throws shape_error for other extents, argument_error for a level outside 0 to 9, io_error if it cannot be written
template <class E>
void write_png(const std::filesystem::path& path, const xt::xexpression<E>& image,
               const png_write_options& options = {}) {
    static_assert(std::is_same_v<typename E::value_type, std::uint8_t>,
                  "write_png takes std::uint8_t; convert a float image in [0, 1] with float_to_byte_image");
    const E& expression = image.derived_cast();
    const std::string context = detail::file_context("write_png", path.string());
    const extents shape(expression.shape().begin(), expression.shape().end());
    detail::require<shape_error>(shape.size() == 2 || shape.size() == 3, context, ": the image has order ",
                                 shape.size(), ", expected 2 (height x width) or 3 (height x width x channels)");
    const dynamic_tensor<std::uint8_t> pixels(expression);
    const std::size_t channels = shape.size() == 3 ? shape[2] : 1;
    const auto encoded = detail::encode_png(pixels.data(), shape[0], shape[1], channels, options, context);
    atomic_file file(path, "write_png");
    file.write(encoded);
    file.commit();
}

/// Brings an image from [0, 1] to 0..255: round(255 x), the nearest of the 256 levels.
///
/// \param image    expression of float or double of any shape
/// \param options  whether values outside [0, 1] are clamped (default) or refused
/// \return         tensor of the same shape, ready for write_png
/// \throws argument_error for NaN, and for values outside [0, 1] if they are to be refused
template <class E>
dynamic_tensor<std::uint8_t> float_to_byte_image(const xt::xexpression<E>& image,
                                                 const float_image_options& options = {}) {
    using value_type = typename E::value_type;
    static_assert(std::is_floating_point_v<value_type>, "float_to_byte_image takes float or double");
    const E& expression = image.derived_cast();
    const extents shape(expression.shape().begin(), expression.shape().end());
    auto result = dynamic_tensor<std::uint8_t>::from_shape(shape);
    std::uint8_t* out = result.data();
    for (auto it = expression.template cbegin<xt::layout_type::row_major>(),
              end = expression.template cend<xt::layout_type::row_major>();
         it != end; ++it) {
        const value_type value = *it;
        const bool inside = value >= value_type(0) && value <= value_type(1);
        detail::require<argument_error>(inside || (options.outside == out_of_range::clamp && value == value),
                                        "float_to_byte_image: value ", value, ", expected a number in [0, 1]");
        const value_type clamped =
            value < value_type(0) ? value_type(0) : (value > value_type(1) ? value_type(1) : value);
        *out++ = static_cast<std::uint8_t>(clamped * value_type(255) + value_type(0.5));
    }
    return result;
}

}  // namespace moden::io
