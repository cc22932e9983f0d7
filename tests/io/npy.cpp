// NPY files: what is written is read back, by both orders, all types, whole and in rows.

#include "support.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <xtensor/xbroadcast.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xmanipulation.hpp>
#include <xtensor/xstrided_view.hpp>
#include <xtensor/xview.hpp>

#include <moden/io/npy.hpp>

using namespace moden;
using io::array_order;
using io::element_type;
using io_test::check_refused;
using io_test::sample;

namespace {

const std::vector<extents> shapes = {{},
                                     {1},
                                     {7},
                                     {0},
                                     {3, 4},
                                     {1, 5},
                                     {5, 1},
                                     {0, 3},
                                     {3, 0},
                                     {70, 33},
                                     {2, 3, 4},
                                     {4, 0, 2},
                                     {33, 2, 35},
                                     {2, 3, 1, 4},
                                     {2, 1, 2, 3, 2},
                                     {1, 2, 1, 3, 2, 2},
                                     {2, 2, 2, 1, 2, 2, 3},
                                     {2, 1, 2, 2, 3, 1, 2, 2}};

template <class T>
void check_round_trip(array_order order) {
    const io_test::temporary_folder folder;
    for (const extents& shape : shapes) {
        CAPTURE(shape.size());
        const auto values = sample<T>(shape);
        io::save_npy(folder / "t.npy", values, {.order = order});
        const auto loaded = io::load_npy<T>(folder / "t.npy");
        CHECK(extents(loaded.shape().begin(), loaded.shape().end()) == shape);
        CHECK(loaded == values);
        const io::npy_file file(folder / "t.npy");
        CHECK(file.shape() == shape);
        CHECK(file.order() == order);
        CHECK(file.type() == io::element_type_of<T>());
        CHECK(file.size() == values.size());
        CHECK(std::filesystem::file_size(folder / "t.npy") % 64 == values.size() * sizeof(T) % 64);
    }
}

}  // namespace

TEST_CASE_TEMPLATE("every type, order of modes 0 to 8 and empty extents survive writing and reading", T, bool,
                   std::int8_t, std::uint8_t, std::int16_t, std::uint16_t, std::int32_t, std::uint32_t, std::int64_t,
                   std::uint64_t, float, double) {
    check_round_trip<T>(array_order::c);
    check_round_trip<T>(array_order::fortran);
}

TEST_CASE("the example of the documentation") {
    const io_test::temporary_folder folder;
    const auto path = folder / "faces.npy";
    //! [save_npy]
    moden::tensor<float, 3> faces = xt::ones<float>({24, 6, 4});
    moden::io::save_npy(path, 0.5F * faces);  // any expression
    moden::io::save_npy(path, faces, {.order = moden::io::array_order::fortran});
    //! [save_npy]
    //! [load_npy]
    auto anything = moden::io::load_npy<double>(path);  // order known at run time, converted to double
    auto known = moden::io::load_npy<float, 3>(path);   // refuses a file of another order
    //! [load_npy]
    CHECK(anything.dimension() == 3);
    CHECK(known == faces);
}

TEST_CASE("a static order that is not the file's is refused") {
    const io_test::temporary_folder folder;
    io::save_npy(folder / "t.npy", sample<float>({2, 3}));
    CHECK(io::load_npy<float, 2>(folder / "t.npy") == sample<float>({2, 3}));
    check_refused([&] { io::load_npy<float, 3>(folder / "t.npy"); },
                  {"load_npy", "t.npy", "order 2", "2 x 3", "order 3"});
    io::save_npy(folder / "scalar.npy", sample<float>({}));
    CHECK(io::load_npy<float, 0>(folder / "scalar.npy")() == sample<float>({})());
}

TEST_CASE("views and lazy expressions are written as what they evaluate to") {
    const io_test::temporary_folder folder;
    const tensor<double, 3> base = sample<double>({6, 5, 8});
    const xt::xtensor<double, 3, xt::layout_type::column_major> column_major = base;
    const auto check = [&](const auto& expression) {
        const dynamic_tensor<double> expected = expression;
        for (const auto order : {array_order::c, array_order::fortran}) {
            io::save_npy(folder / "t.npy", expression, {.order = order});
            CHECK(io::load_npy<double>(folder / "t.npy") == expected);
        }
    };
    check(xt::view(base, xt::range(1, 4)));                                      // contiguous, with an offset
    check(xt::view(base, xt::all(), 2, xt::range(0, 8, 3)));                     // strided
    check(xt::view(base, xt::range(5, 0, -2), xt::all(), xt::range(7, 1, -1)));  // backwards
    check(xt::strided_view(base, {3, xt::ellipsis()}));
    check(xt::transpose(base));
    check(xt::transpose(base, {1, 2, 0}));
    check(column_major);
    check(xt::transpose(column_major));
    check(2.0 * base + column_major);
    check(xt::broadcast(xt::view(base, 0, 0), {3, 8}));
    check(xt::sum(base, {1}));
    check(xt::view(base, xt::keep(4, 0, 4), xt::drop(1)));
    check(xt::squeeze(xt::view(base, xt::range(2, 3), xt::all(), xt::range(1, 2))));
    const dynamic_tensor<double> large = sample<double>({150, 301});  // more than one piece of the stream
    check(large + 1.0);
    check(xt::transpose(large));
}

TEST_CASE("stored types are converted to the type asked for") {
    const io_test::temporary_folder folder;
    const auto bytes = sample<std::uint8_t>({4, 5});
    for (const auto order : {array_order::c, array_order::fortran}) {
        io::save_npy(folder / "t.npy", bytes, {.order = order});
        CHECK(io::load_npy<float>(folder / "t.npy") == xt::cast<float>(bytes));
        CHECK(io::load_npy<std::int64_t>(folder / "t.npy") == xt::cast<std::int64_t>(bytes));
        check_refused([&] { io::load_npy<std::int8_t>(folder / "t.npy"); }, {"t.npy", "does not fit int8"});
        check_refused([&] { io::load_npy<bool>(folder / "t.npy"); }, {"t.npy", "uint8", "bool"});
        io::save_npy(folder / "f.npy", sample<double>({4, 5}), {.order = order});
        CHECK(io::load_npy<float>(folder / "f.npy") == xt::cast<float>(sample<double>({4, 5})));
        check_refused([&] { io::load_npy<int>(folder / "f.npy"); },
                      {"load_npy", "f.npy", "float64", "int32", "fractions"});
    }
}

TEST_CASE("blocks of rows are read from either order") {
    const io_test::temporary_folder folder;
    const tensor<double, 3> values = sample<double>({40, 3, 35});
    for (const auto order : {array_order::c, array_order::fortran}) {
        io::save_npy(folder / "t.npy", values, {.order = order});
        const io::npy_file file(folder / "t.npy");
        CHECK(file.load_rows<double>(7, 21) == xt::view(values, xt::range(7, 28)));
        CHECK(file.load_rows<float>(39, 1) == xt::cast<float>(xt::view(values, xt::range(39, 40))));
        CHECK(file.load_rows<double>(0, 40) == values);
        CHECK(file.load_rows<double>(40, 0).shape(0) == 0);
        std::vector<float> block(2 * 3 * 35);
        file.read_rows<float>(10, 2, block);
        CHECK(std::equal(block.begin(), block.end(), file.load_rows<float>(10, 2).begin()));
        check_refused([&] { (void)file.load_rows<double>(39, 2); }, {"t.npy", "40 rows", "39"});
        check_refused([&] { (void)file.load_rows<double>(~std::size_t{0}, 2); }, {"40 rows"});
        check_refused<shape_error>([&] { file.read_rows<float>(0, 1, block); }, {"t.npy", "105", "210"});
        check_refused([&] { (void)file.load_rows<int>(0, 1); }, {"float64", "int32"});
    }
    io::save_npy(folder / "scalar.npy", sample<double>({}));
    check_refused([&] { (void)io::npy_file(folder / "scalar.npy").load_rows<double>(0, 1); }, {"scalar"});
    io::save_npy(folder / "empty.npy", sample<double>({0, 3}));
    CHECK(io::npy_file(folder / "empty.npy").load_rows<double>(0, 0).shape(1) == 3);
    check_refused([&] { (void)io::npy_file(folder / "empty.npy").load_rows<double>(0, 1); }, {"0 rows"});
}

TEST_CASE("elements are reached without a copy when type and alignment allow") {
    const io_test::temporary_folder folder;
    const auto values = sample<float>({8, 9});
    io::save_npy(folder / "t.npy", values);
    std::span<const float> elements;
    io::npy_file copy = [&] {
        const io::npy_file file(folder / "t.npy");
        elements = file.values<float>();
        return file;
    }();
    CHECK(std::equal(elements.begin(), elements.end(), values.begin(), values.end()));
    CHECK(copy.bytes().size() == values.size() * 4);
    check_refused([&] { (void)copy.values<double>(); }, {"float32", "float64", "load()"});

    // The same file at an odd address.
    const std::string content = " " + io_test::read_text(folder / "t.npy");
    std::vector<double> aligned(content.size() / 8 + 1);
    std::memcpy(aligned.data(), content.data(), content.size());
    const auto odd = io::parse_npy(std::as_bytes(std::span(aligned)).subspan(1, content.size() - 1));
    check_refused([&] { (void)odd.values<float>(); }, {"memory", "not aligned"});
    CHECK(odd.load<float>() == values);
}

TEST_CASE("a file of more than 4 GiB is mapped and read in rows") {
    const io_test::temporary_folder folder;
    const auto path = folder / "large.npy";
    const std::size_t rows = (std::size_t{1} << 31U) + 3;
    const std::string header = io::detail::make_npy_header(element_type::uint16, array_order::c, extents{rows, 2});
    io_test::write_text(path, header);
    // The elements are a hole in the file: no disk space is needed.
    const int descriptor = ::open(path.c_str(), O_WRONLY);
    REQUIRE(descriptor >= 0);
    const auto size = static_cast<off_t>(header.size() + rows * 4);
    const bool has_room = ::ftruncate(descriptor, size) == 0;
    const std::uint16_t last[2] = {11, 22};
    const bool written = has_room && ::pwrite(descriptor, last, sizeof last, size - 4) == 4;
    ::close(descriptor);
    if (!written) {
        MESSAGE("the file system has no sparse files of 8 GiB; large files are not tested here");
        return;
    }
    const io::npy_file file(path);
    CHECK(file.size() == rows * 2);
    const auto block = file.load_rows<double>(rows - 2, 2);
    CHECK(block == dynamic_tensor<double>{{0, 0}, {11, 22}});
    CHECK(file.values<std::uint16_t>()[rows * 2 - 1] == 22);
}

TEST_CASE("files made by NumPy are read (data/make_data.py)") {
    const std::filesystem::path data = MODEN_IO_TEST_DATA;
    const auto check = [&]<class T>(const std::string& name, T) {
        for (const std::string order : {"c", "f"}) {
            CAPTURE(name);
            const io::npy_file file(data / (name + "_" + order + ".npy"));
            CHECK(file.order() == (order == "c" ? array_order::c : array_order::fortran));
            CHECK(file.shape() == extents{2, 3, 4});
            const auto values = file.load<T>();
            bool matches = true;
            for (std::size_t i = 0; i < 24; ++i) {
                const double number = name.starts_with("b")   ? double(i % 3 == 1)
                                      : name.starts_with("u") ? double(i)
                                      : name.starts_with("i") ? double(i) - 5
                                                              : (double(i) - 5) / 4;
                matches = matches && static_cast<double>(values.data()[i]) == number;
            }
            CHECK(matches);
        }
    };
    check("b1", bool{});
    check("i1", std::int8_t{});
    check("u1", std::uint8_t{});
    check("i2", std::int16_t{});
    check("u2", std::uint16_t{});
    check("i4", std::int32_t{});
    check("u4", std::uint32_t{});
    check("i8", std::int64_t{});
    check("u8", std::uint64_t{});
    check("f2", float{});
    check("f4", float{});
    check("f8", double{});
    for (const std::string version : {"1", "2", "3"}) {
        CHECK(io::load_npy<double, 1>(data / ("version_" + version + ".npy")) == tensor<double, 1>{0, 1, 2});
    }
    CHECK(io::load_npy<double, 0>(data / "scalar.npy")() == 2.5);
    CHECK(io::load_npy<float>(data / "empty.npy").shape(1) == 0);
    check_refused([&] { io::load_npy<double>(data / "refused_big_endian.npy"); }, {"'>f8'", "big-endian"});
    check_refused([&] { io::load_npy<double>(data / "refused_object.npy"); }, {"'|O'", "Python objects"});
    check_refused([&] { io::load_npy<double>(data / "refused_structured.npy"); }, {"structured", "[('a', '<f4')"});
    check_refused([&] { io::load_npy<double>(data / "refused_complex.npy"); }, {"'<c16'"});
    check_refused([&] { io::load_npy<double>(data / "refused_text.npy"); }, {"'<U3'"});
    check_refused([&] { io::load_npy<double>(data / "refused_dates.npy"); }, {"'<M8[D]'"});
}
