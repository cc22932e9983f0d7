// Conversions between stored elements and numbers: exact where they can be, refused where they make no sense.

#include "support.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include <moden/io/convert.hpp>

using namespace moden;
using io::element_type;

namespace {

/// The value of a small float, computed from the definition and not with the bit operations of the library.
double reference(std::uint16_t bits, int exponent_bits, int fraction_bits) {
    const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    const int fraction = bits & ((1 << fraction_bits) - 1);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1) {
        return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                             : std::numeric_limits<double>::quiet_NaN();
    }
    const double significand = exponent == 0 ? fraction : fraction + (1 << fraction_bits);
    return sign * std::ldexp(significand, (exponent == 0 ? 1 : exponent) - bias - fraction_bits);
}

template <class T, class Stored>
std::vector<T> converted(element_type type, const std::vector<Stored>& stored) {
    std::vector<T> result(stored.size());
    io::detail::require_convertible<T>(type, "test");
    io::detail::convert_elements(type, reinterpret_cast<const std::byte*>(stored.data()), result.data(), stored.size(),
                                 "test");
    return result;
}

}  // namespace

TEST_CASE("all 65536 values of float16 and bfloat16 are converted exactly") {
    for (unsigned i = 0; i < 65536; ++i) {
        const auto bits = static_cast<std::uint16_t>(i);
        const float from_half = io::to_float(io::float16{bits});
        const float from_brain = io::to_float(io::bfloat16{bits});
        const double half = reference(bits, 5, 10);
        const double brain = reference(bits, 8, 7);
        const bool half_matches = std::isnan(half) ? std::isnan(from_half) : static_cast<double>(from_half) == half;
        const bool brain_matches =
            std::isnan(brain) ? std::isnan(from_brain) : static_cast<double>(from_brain) == brain;
        const bool signs_match = std::signbit(from_half) == (i >= 0x8000) && std::signbit(from_brain) == (i >= 0x8000);
        if (!half_matches || !brain_matches || !signs_match) {
            CAPTURE(i);
            CHECK(half_matches);
            CHECK(brain_matches);
            CHECK(signs_match);
        }
    }
    CHECK(io::to_float(io::float16{0x0001}) == 0x1p-24F);      // smallest subnormal
    CHECK(io::to_float(io::float16{0x03ff}) == 0x1.ff8p-15F);  // largest subnormal
    CHECK(io::to_float(io::float16{0x7bff}) == 65504.0F);
    CHECK(io::to_float(io::bfloat16{0x0001}) == 0x1p-133F);
}

TEST_CASE("NaN keeps its payload") {
    CHECK(std::bit_cast<std::uint32_t>(io::to_float(io::float16{0x7e01})) == 0x7fc02000U);
    CHECK(std::bit_cast<std::uint32_t>(io::to_float(io::float16{0xfc01})) == 0xff802000U);
    CHECK(std::bit_cast<std::uint32_t>(io::to_float(io::bfloat16{0x7f81})) == 0x7f810000U);
}

TEST_CASE("stored numbers become float and double") {
    CHECK(converted<double>(element_type::float16, std::vector<std::uint16_t>{0x3c00, 0xc000, 0x0001})
          == std::vector<double>{1, -2, 0x1p-24});
    CHECK(converted<float>(element_type::bfloat16, std::vector<std::uint16_t>{0x3f80, 0xc000})
          == std::vector<float>{1, -2});
    CHECK(converted<double>(element_type::float32, std::vector<float>{0.1F}) == std::vector<double>{double{0.1F}});
    CHECK(converted<float>(element_type::float64, std::vector<double>{0.1, 1e300, -1e300, 1e-60})
          == std::vector<float>{0.1F, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                0});
    CHECK(converted<double>(element_type::int64, std::vector<std::int64_t>{-5, 1LL << 53U})
          == std::vector<double>{-5, 0x1p53});
    CHECK(converted<float>(element_type::uint64, std::vector<std::uint64_t>{~std::uint64_t{0}})
          == std::vector<float>{0x1p64F});
    CHECK(converted<float>(element_type::boolean, std::vector<std::uint8_t>{0, 1, 2, 255})
          == std::vector<float>{0, 1, 1, 1});
}

TEST_CASE("integers become other integers when the value fits") {
    CHECK(converted<std::int8_t>(element_type::int64, std::vector<std::int64_t>{-128, 127})
          == std::vector<std::int8_t>{-128, 127});
    CHECK(converted<std::uint64_t>(element_type::int8, std::vector<std::int8_t>{0, 127})
          == std::vector<std::uint64_t>{0, 127});
    CHECK(converted<std::int32_t>(element_type::boolean, std::vector<std::uint8_t>{0, 7})
          == std::vector<std::int32_t>{0, 1});
    io_test::check_refused(
        [] {
            converted<std::uint8_t>(element_type::int16, std::vector<std::int16_t>{3, -1});
        },
        {"test", "-1", "does not fit uint8"});
    io_test::check_refused(
        [] { converted<std::int64_t>(element_type::uint64, std::vector<std::uint64_t>{1ULL << 63U}); },
        {"9223372036854775808", "does not fit int64"});
    io_test::check_refused([] { converted<std::int8_t>(element_type::uint8, std::vector<std::uint8_t>{128}); },
                           {"128", "does not fit int8"});
}

TEST_CASE("conversions that would lose meaning are refused") {
    for (const auto type :
         {element_type::float16, element_type::bfloat16, element_type::float32, element_type::float64}) {
        io_test::check_refused([&] { io::detail::require_convertible<int>(type, "load: 'x'"); },
                               {"load: 'x'", io::name(type), "int32", "fractions"});
    }
    for (const auto type : {element_type::float32, element_type::uint8}) {
        io_test::check_refused([&] { io::detail::require_convertible<bool>(type, "load: 'x'"); },
                               {io::name(type), "bool"});
    }
    CHECK_NOTHROW(io::detail::require_convertible<bool>(element_type::boolean, "test"));
}

TEST_CASE("sizes and names of element types belong to the C++ types") {
    CHECK(io::size_of(io::element_type_of<float>()) == 4);
    CHECK(io::size_of(io::element_type_of<double>()) == 8);
    CHECK(io::size_of(io::element_type_of<long>()) == sizeof(long));
    CHECK(io::size_of(io::element_type_of<unsigned long long>()) == 8);
    CHECK(io::size_of(io::element_type_of<bool>()) == 1);
    CHECK(io::name(io::element_type_of<std::int16_t>()) == "int16");
    CHECK(io::name(io::element_type_of<unsigned char>()) == "uint8");
    CHECK_FALSE(io::element<char>);
    CHECK_FALSE(io::element<long double>);
}

TEST_CASE("column-major data is brought to row-major order, whole and in blocks of rows") {
    for (const moden::extents& shape : {extents{3, 2}, extents{1, 7}, extents{70, 45}, extents{5, 3, 4},
                                        extents{40, 2, 37}, extents{2, 3, 4, 5}, extents{3, 1, 2, 1, 2, 3}}) {
        std::size_t count = 1;
        for (const auto extent : shape) {
            count *= extent;
        }
        std::vector<std::int32_t> column_major(count);
        for (std::size_t i = 0; i < count; ++i) {
            column_major[i] = static_cast<std::int32_t>(i);
        }
        const std::size_t row = count / shape[0];
        for (std::size_t first = 0; first < shape[0]; first += 2) {
            const std::size_t rows = shape[0] - first;
            std::vector<double> result(rows * row, -1);
            io::detail::convert_column_major(element_type::int32,
                                             reinterpret_cast<const std::byte*>(column_major.data()), shape, first,
                                             rows, result.data(), "test");
            // The index of each element, from its position in row-major order.
            bool matches = true;
            for (std::size_t position = 0; position < result.size(); ++position) {
                std::size_t rest = position + first * row;
                std::size_t expected = 0;
                std::size_t weight = count;
                for (std::size_t mode = shape.size(); mode-- > 0;) {
                    weight /= shape[mode];
                    expected += rest % shape[mode] * weight;
                    rest /= shape[mode];
                }
                matches = matches && result[position] == static_cast<double>(expected);
            }
            CAPTURE(shape.size());
            CHECK(matches);
        }
    }
}
