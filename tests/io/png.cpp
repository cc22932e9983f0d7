// PNG: round trips, all kinds of pictures that others write, and damaged files.

#include "support.hpp"

#include <cmath>
#include <limits>

#include <png.h>
#include <zlib.h>

#include <xtensor/xbuilder.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xview.hpp>

#include <moden/io/png.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::sample;
using io_test::to_bytes;

namespace {

/// Encodes samples of any depth with libpng itself: `rows` are the packed bytes of each row.
std::string encoded(std::uint32_t height, std::uint32_t width, int depth, int colour_type, bool interlaced,
                    std::vector<std::vector<png_byte>> rows) {
    std::string result;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(
        png, &result,
        [](png_structp handle, png_bytep data, std::size_t count) {
            static_cast<std::string*>(png_get_io_ptr(handle))->append(reinterpret_cast<const char*>(data), count);
        },
        nullptr);
    png_set_IHDR(png, info, width, height, depth, colour_type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    const png_color palette[] = {{10, 20, 30}, {40, 50, 60}, {70, 80, 90}, {100, 110, 120}};
    if (colour_type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 4);
    }
    std::vector<png_bytep> pointers;
    for (auto& row : rows) {
        pointers.push_back(row.data());
    }
    png_set_rows(png, info, pointers.data());
    png_write_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
    png_destroy_write_struct(&png, &info);
    return result;
}

tensor<std::uint8_t, 3> load(const std::string& text, const io::png_read_options& options = {}) {
    return io::parse_png(to_bytes(text), options, "picture");
}

std::string big_endian(std::uint32_t value) {
    std::string text = io_test::little(value);
    return std::string(text.rbegin(), text.rend());
}

std::string chunk(const std::string& type, const std::string& content) {
    const std::string checked = type + content;
    return big_endian(static_cast<std::uint32_t>(content.size())) + checked
           + big_endian(
               static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(checked.data()), checked.size())));
}

const std::string signature = "\x89PNG\r\n\x1a\n";

}  // namespace

TEST_CASE("pictures with 1 to 4 channels survive writing and reading") {
    const io_test::temporary_folder folder;
    for (const std::size_t channels : {1U, 2U, 3U, 4U}) {
        for (const extents& size : {extents{1, 1}, extents{1, 9}, extents{9, 1}, extents{31, 57}}) {
            const tensor<std::uint8_t, 3> image = sample<std::uint8_t>({size[0], size[1], channels});
            for (const int level : {0, 1, 6, 9}) {
                io::write_png(folder / "t.png", image, {.compression_level = level});
                CHECK(io::read_png(folder / "t.png") == image);
            }
        }
    }
    CHECK(folder.names() == std::vector<std::string>{"t.png"});
}

TEST_CASE("a grey picture may be given without its channel, views and expressions are evaluated") {
    const io_test::temporary_folder folder;
    const tensor<std::uint8_t, 3> image = sample<std::uint8_t>({20, 30, 3});
    io::write_png(folder / "t.png", xt::view(image, xt::all(), xt::all(), 1));
    CHECK(io::read_png(folder / "t.png") == xt::view(image, xt::all(), xt::all(), xt::range(1, 2)));
    io::write_png(folder / "t.png", xt::view(image, xt::range(2, 20, 3), xt::range(29, 3, -1)));
    CHECK(io::read_png(folder / "t.png") == xt::view(image, xt::range(2, 20, 3), xt::range(29, 3, -1)));
    const xt::xarray<std::uint8_t, xt::layout_type::column_major> column_major = image;
    io::write_png(folder / "t.png", column_major);
    CHECK(io::read_png(folder / "t.png") == image);
}

TEST_CASE("channels are converted as asked") {
    const io_test::temporary_folder folder;
    using io::png_channels;
    const tensor<std::uint8_t, 3> image = sample<std::uint8_t>({4, 5, 4});
    const auto path = folder / "t.png";
    const auto colour = xt::view(image, xt::all(), xt::all(), xt::range(0, 3));
    io::write_png(path, image);
    CHECK(io::read_png(path, {.channels = png_channels::rgb}) == colour);
    CHECK(io::read_png(path, {.channels = png_channels::rgba}) == image);
    check_refused([&] { io::read_png(path, {.channels = png_channels::grey}); },
                  {"read_png", "t.png", "colour", "grey"});
    io::write_png(path, colour);
    const auto opaque = io::read_png(path, {.channels = png_channels::rgba});
    CHECK(xt::view(opaque, xt::all(), xt::all(), xt::range(0, 3)) == colour);
    CHECK(xt::all(xt::equal(xt::view(opaque, xt::all(), xt::all(), 3), 255)));
    const auto grey_alpha = xt::view(image, xt::all(), xt::all(), xt::range(0, 2));
    const auto grey = xt::view(image, xt::all(), xt::all(), xt::range(0, 1));
    io::write_png(path, grey_alpha);
    CHECK(io::read_png(path, {.channels = png_channels::grey}) == grey);
    const auto expanded = io::read_png(path, {.channels = png_channels::rgba});
    for (int c = 0; c < 3; ++c) {
        CHECK(xt::view(expanded, xt::all(), xt::all(), c) == xt::view(image, xt::all(), xt::all(), 0));
    }
    CHECK(xt::view(expanded, xt::all(), xt::all(), 3) == xt::view(image, xt::all(), xt::all(), 1));
    io::write_png(path, grey);
    CHECK(io::read_png(path, {.channels = png_channels::rgb}).shape(2) == 3);
    CHECK(io::read_png(path, {.channels = png_channels::grey}) == grey);
}

TEST_CASE("every depth is brought to 8 bits, interlaced or not") {
    for (const bool interlaced : {false, true}) {
        // 1, 2 and 4 bits: the levels are spread over 0..255.
        const auto one =
            load(encoded(2, 10, 1, PNG_COLOR_TYPE_GRAY, interlaced, {{0b10110011, 0b01000000}, {0, 0xff}}));
        CHECK(one.shape() == tensor<std::uint8_t, 3>::shape_type{2, 10, 1});
        CHECK(xt::view(one, 0, xt::all(), 0) == tensor<std::uint8_t, 1>{255, 0, 255, 255, 0, 0, 255, 255, 0, 255});
        const auto two = load(encoded(1, 4, 2, PNG_COLOR_TYPE_GRAY, interlaced, {{0b00011011}}));
        CHECK(xt::view(two, 0, xt::all(), 0) == tensor<std::uint8_t, 1>{0, 85, 170, 255});
        const auto four = load(encoded(1, 2, 4, PNG_COLOR_TYPE_GRAY, interlaced, {{0x3c}}));
        CHECK(xt::view(four, 0, xt::all(), 0) == tensor<std::uint8_t, 1>{51, 204});
        // 16 bits: nearest of 65535 / 255 = 257 steps.
        const auto sixteen = load(
            encoded(1, 4, 16, PNG_COLOR_TYPE_GRAY, interlaced, {{0x00, 0x80, 0x00, 0x81, 0x12, 0x12, 0xff, 0xff}}));
        CHECK(xt::view(sixteen, 0, xt::all(), 0) == tensor<std::uint8_t, 1>{0, 1, 0x12, 255});
        const auto wide = load(encoded(1, 1, 16, PNG_COLOR_TYPE_RGB_ALPHA, interlaced, {{1, 1, 2, 2, 3, 3, 4, 4}}));
        CHECK(wide == tensor<std::uint8_t, 3>{{{1, 2, 3, 4}}});
        const auto palette = load(encoded(1, 4, 2, PNG_COLOR_TYPE_PALETTE, interlaced, {{0b11100100}}));
        CHECK(palette == tensor<std::uint8_t, 3>{{{100, 110, 120}, {70, 80, 90}, {40, 50, 60}, {10, 20, 30}}});
    }
    // A picture large enough for all seven passes.
    std::vector<std::vector<png_byte>> rows(37, std::vector<png_byte>(41));
    tensor<std::uint8_t, 3> expected({37, 41, 1});
    for (std::size_t y = 0; y < 37; ++y) {
        for (std::size_t x = 0; x < 41; ++x) {
            expected(y, x, 0) = rows[y][x] = static_cast<png_byte>(y * 7 + x * 3);
        }
    }
    CHECK(load(encoded(37, 41, 8, PNG_COLOR_TYPE_GRAY, true, rows)) == expected);
}

TEST_CASE("files made by Pillow are read (data/make_data.py)") {
    const std::filesystem::path data = MODEN_IO_TEST_DATA;
    const tensor<std::uint8_t, 1> ramp = xt::arange<int>(0, 64, 4);
    const auto grey = io::read_png(data / "grey.png");
    CHECK(grey.shape() == tensor<std::uint8_t, 3>::shape_type{4, 16, 1});
    CHECK(xt::view(grey, 0, xt::all(), 0) == ramp);
    CHECK(grey(3, 15, 0) == 252);
    CHECK(io::read_png(data / "grey_16_bit.png") == grey);
    const auto one_bit = io::read_png(data / "one_bit.png");
    CHECK(one_bit(0, 0, 0) == 0);
    CHECK(one_bit(3, 0, 0) == 255);
    const auto rgb = io::read_png(data / "rgb.png");
    CHECK(rgb(1, 2, 0) == 72);
    CHECK(rgb(1, 2, 1) == 183);
    CHECK(rgb(1, 2, 2) == 36);
    const auto palette = io::read_png(data / "palette.png");
    CHECK(palette.shape(2) == 3);
    CHECK(xt::view(palette, 2, 3) == tensor<std::uint8_t, 1>{0, 255, 0});
    const auto transparent = io::read_png(data / "palette_transparent.png");
    CHECK(transparent.shape(2) == 4);
    CHECK(transparent(0, 0, 3) == 0);
    CHECK(transparent(1, 0, 3) == 255);
    CHECK(io::read_png(data / "palette_transparent.png", {.channels = io::png_channels::rgb}) == palette);
}

TEST_CASE("images that no PNG can hold are refused before the file is touched") {
    const io_test::temporary_folder folder;
    const auto path = folder / "t.png";
    check_refused<shape_error>(
        [&] {
            io::write_png(path, sample<std::uint8_t>({3, 4, 5}));
        },
        {"write_png", "t.png", "3 x 4 x 5"});
    check_refused<shape_error>([&] { io::write_png(path, sample<std::uint8_t>({3, 4, 0})); }, {"3 x 4 x 0"});
    check_refused<shape_error>([&] { io::write_png(path, sample<std::uint8_t>({0, 4})); }, {"0 x 4"});
    check_refused<shape_error>([&] { io::write_png(path, sample<std::uint8_t>({4, 0, 3})); }, {"4 x 0 x 3"});
    check_refused<shape_error>([&] { io::write_png(path, sample<std::uint8_t>({4})); }, {"order 1"});
    check_refused<shape_error>([&] { io::write_png(path, sample<std::uint8_t>({1, 2, 3, 4})); }, {"order 4"});
    for (const int level : {-1, 10}) {
        check_refused<argument_error>(
            [&] {
                io::write_png(path, sample<std::uint8_t>({2, 2}), {.compression_level = level});
            },
            {"compression_level", std::to_string(level)});
    }
    check_refused(
        [&] {
            io::write_png(folder / "none/t.png", sample<std::uint8_t>({2, 2}));
        },
        {"write_png", "none/t.png", "No such"});
    CHECK(folder.names().empty());
}

TEST_CASE("bombs and files that are no PNG are refused") {
    check_refused([] { load(""); }, {"parse_png: 'picture'", "not a PNG"});
    check_refused([] { load("\x89PNG\r\n\x1a"); }, {"not a PNG"});
    check_refused([] { load("GIF89a and so on"); }, {"not a PNG"});
    check_refused([] { load(signature); }, {"damaged", "too early"});
    const auto header = [](std::uint32_t width, std::uint32_t height, const std::string& rest) {
        return signature + chunk("IHDR", big_endian(width) + big_endian(height) + rest);
    };
    const std::string rgba8("\x08\x06\x00\x00\x00", 5);
    const std::string end = chunk("IDAT", "") + chunk("IEND", "");
    check_refused([&] { load(header(0x7fffffff, 0x7fffffff, rgba8) + end); },
                  {"2147483647 x 2147483647", "max_pixels"});
    check_refused([&] { load(header(8000, 8000, rgba8) + end); }, {"8000 x 8000", "cannot be held"});
    check_refused([&] { load(header(8000, 8000, rgba8) + end, {.max_pixels = 100}); },
                  {"8000 x 8000", "max_pixels = 100"});
    check_refused([&] { load(header(0x7fffffff, 0x7fffffff, rgba8) + end, {.max_pixels = ~std::size_t{0}}); },
                  {"cannot be held"});
    check_refused([&] { load(header(0, 5, rgba8) + end); }, {"damaged"});
    check_refused([&] { load(header(0x80000000, 5, rgba8) + end); }, {"damaged"});
    check_refused([&] { load(header(5, 5, std::string("\x07\x06\x00\x00\x00", 5)) + end); }, {"damaged"});
    check_refused([&] { load(header(5, 5, rgba8) + chunk("IEND", "")); }, {"damaged"});
    check_refused([&] { load(header(5, 5, rgba8) + end); }, {"damaged"});
    // A text that inflates to 64 MiB does not matter to the picture.
    const auto good = encoded(1, 1, 8, PNG_COLOR_TYPE_GRAY, false, {{7}});
    uLongf size = compressBound(64U << 20U);
    const std::string zeros(64U << 20U, '\0');
    std::string packed(size, '\0');
    REQUIRE(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(zeros.data()),
                     zeros.size())
            == Z_OK);
    packed.resize(size);
    const std::string with_text =
        good.substr(0, 33) + chunk("zTXt", std::string("k\0\0", 3) + packed) + good.substr(33);
    CHECK(load(with_text)(0, 0, 0) == 7);
}

TEST_CASE("a picture cut at any byte is refused, and no damaged byte crashes or goes unnoticed") {
    const io_test::temporary_folder folder;
    const tensor<std::uint8_t, 3> image = sample<std::uint8_t>({5, 6, 3});
    io::write_png(folder / "t.png", image);
    const std::string text = io_test::read_text(folder / "t.png");
    std::size_t refusals = 0;
    for (std::size_t length = 0; length < text.size(); ++length) {
        refusals += io_test::accepted([&] { load(text.substr(0, length)); }) ? 0 : 1;
    }
    CHECK(refusals == text.size());
    std::size_t changed = 0;
    for (std::size_t position = 0; position < text.size(); ++position) {
        for (const int difference : io_test::byte_differences) {
            std::string damaged = text;
            damaged[position] = static_cast<char>(damaged[position] ^ difference);
            io_test::accepted([&] { changed += load(damaged) == image ? 0 : 1; });
        }
    }
    CHECK(changed == 0);
}

TEST_CASE("float images become bytes by rounding to the nearest level") {
    const tensor<double, 2> image = {{0.0, 1.0, 0.5}, {1.0 / 255, 0.499 / 255, 0.501 / 255}};
    CHECK(io::float_to_byte_image(image) == dynamic_tensor<std::uint8_t>{{0, 255, 128}, {1, 0, 1}});
    const tensor<float, 3> levels = xt::reshape_view(xt::arange<float>(256) / 255.0F, {16, 16, 1});
    CHECK(xt::flatten(io::float_to_byte_image(levels)) == xt::arange<int>(256));
    const tensor<float, 1> outside = {-0.1F, 1.1F, -std::numeric_limits<float>::infinity(),
                                      std::numeric_limits<float>::infinity()};
    CHECK(io::float_to_byte_image(outside) == dynamic_tensor<std::uint8_t>{0, 255, 0, 255});
    check_refused<argument_error>([&] { io::float_to_byte_image(outside, {.outside = io::out_of_range::refuse}); },
                                  {"float_to_byte_image", "-0.1", "[0, 1]"});
    const tensor<float, 1> missing = {0.5F, std::numeric_limits<float>::quiet_NaN()};
    check_refused<argument_error>([&] { io::float_to_byte_image(missing); }, {"nan", "[0, 1]"});
    const io_test::temporary_folder folder;
    io::write_png(folder / "t.png", io::float_to_byte_image(xt::transpose(image) * 0.5));
    CHECK(io::read_png(folder / "t.png").shape(0) == 3);
}
