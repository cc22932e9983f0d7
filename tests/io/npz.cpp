// NPZ files: what is written is read back, stored and deflated, with and without ZIP64.

#include "support.hpp"

#include <xtensor/xmath.hpp>
#include <xtensor/xview.hpp>

#include <moden/io/npz.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::sample;

TEST_CASE("the example of the documentation") {
    const io_test::temporary_folder folder;
    const auto path = folder / "model.npz";
    //! [save_npz]
    std::map<std::string, moden::dynamic_tensor<float>> model;
    model["core"] = xt::ones<float>({8, 4, 2});
    model["factor_0"] = xt::eye<float>(8);
    moden::io::save_npz(path, model, {.compression = moden::io::npz_compression::deflated});
    auto loaded = moden::io::load_npz<float>(path);
    //! [save_npz]
    CHECK(loaded == model);
}

TEST_CASE_TEMPLATE("maps of every type survive, stored and deflated", T, bool, std::int8_t, std::uint8_t, std::int16_t,
                   std::uint16_t, std::int32_t, std::uint32_t, std::int64_t, std::uint64_t, float, double) {
    const io_test::temporary_folder folder;
    const std::map<std::string, dynamic_tensor<T>> arrays = {{"scalar", sample<T>({})},
                                                             {"empty", sample<T>({3, 0})},
                                                             {"vector", sample<T>({5})},
                                                             {"large", sample<T>({90, 411})},
                                                             {"order 8", sample<T>({1, 2, 1, 2, 1, 2, 1, 2})},
                                                             {"in/a folder", sample<T>({2, 2})},
                                                             {"größe", sample<T>({4})}};
    for (const auto compression : {io::npz_compression::stored, io::npz_compression::deflated}) {
        io::save_npz(folder / "t.npz", arrays, {.compression = compression});
        CHECK(io::load_npz<T>(folder / "t.npz") == arrays);
    }
    CHECK(folder.names() == std::vector<std::string>{"t.npz"});
}

TEST_CASE("an archive without arrays is empty, not an error") {
    const io_test::temporary_folder folder;
    io::save_npz<float>(folder / "t.npz", {});
    CHECK(io::load_npz<float>(folder / "t.npz").empty());
    CHECK(std::filesystem::file_size(folder / "t.npz") == 22);
}

TEST_CASE("arrays of different types are listed and loaded one by one") {
    const io_test::temporary_folder folder;
    const tensor<double, 3> base = sample<double>({6, 5, 8});
    io::npz_writer writer(folder / "t.npz");
    writer.add("view", xt::view(base, xt::all(), xt::range(1, 3)));
    writer.add("lazy", 2.0 * base);
    writer.add("labels", sample<std::int32_t>({7}));
    CHECK_FALSE(std::filesystem::exists(folder / "t.npz"));
    writer.commit();
    check_refused([&] { writer.commit(); }, {"written already"});
    check_refused([&] { writer.add("late", base); }, {"written already"});

    const io::npz_file file(folder / "t.npz");
    CHECK(file.names() == std::vector<std::string>{"view", "lazy", "labels"});
    CHECK(file.contains("lazy"));
    CHECK_FALSE(file.contains("lazy.npy"));
    CHECK(file.type("labels") == io::element_type::int32);
    CHECK(file.shape("view") == extents{6, 2, 8});
    CHECK(file.order("view") == io::array_order::c);
    CHECK(file.load<double, 3>("view") == xt::view(base, xt::all(), xt::range(1, 3)));
    CHECK(file.load<float>("lazy") == xt::cast<float>(2.0 * base));
    CHECK(file.load<std::int64_t>("labels") == xt::cast<std::int64_t>(sample<std::int32_t>({7})));
    check_refused([&] { (void)file.load<double>("other"); }, {"npz_file", "t.npz", "no array named 'other'"});
    check_refused([&] { (void)file.shape(""); }, {"no array named ''"});
    check_refused([&] { (void)file.load<double, 2>("view"); }, {"t.npz", "'view'", "order 3", "order 2"});
    check_refused([&] { (void)file.load<int>("lazy"); }, {"'lazy'", "float64", "int32"});
    check_refused([&] { io::load_npz<bool>(folder / "t.npz"); }, {"load_npz", "'view'", "bool"});
}

TEST_CASE("names that could leave a folder or clash are not written") {
    const io_test::temporary_folder folder;
    const auto values = sample<float>({2});
    for (const std::string name :
         {"", "/a", "../a", "a/../b", "a//b", "./a", "a\\b", "a\nb", "\xff", "a/", "\xc0\xaf"}) {
        CAPTURE(name);
        check_refused<argument_error>(
            [&] {
                io::save_npz<float>(folder / "t.npz", {{name, values}});
            },
            {"t.npz", "named"});
    }
    io::npz_writer writer(folder / "t.npz");
    writer.add("a", values);
    check_refused<argument_error>([&] { writer.add("a", values); }, {"two arrays", "'a'"});
    CHECK(folder.names().size() == 1);  // the temporary file of `writer`
}

TEST_CASE("ZIP64 records are written and read") {
    const io_test::temporary_folder folder;
    const auto values = sample<double>({20, 30});
    // 0: everything in ZIP64 fields. 300: small and large entries, offsets on both sides of the limit.
    for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{300}}) {
        for (const auto compression : {io::npz_compression::stored, io::npz_compression::deflated}) {
            io::npz_writer writer(folder / "t.npz", {.compression = compression}, "test",
                                  {.size = limit, .entries = 2});
            writer.add("small", sample<std::uint8_t>({2}));
            writer.add("large", values);
            writer.add("größe", sample<float>({3, 3}));
            writer.commit();
            const io::npz_file file(folder / "t.npz");
            CHECK(file.names().size() == 3);
            CHECK(file.load<std::uint8_t>("small") == sample<std::uint8_t>({2}));
            CHECK(file.load<double>("large") == values);
            CHECK(file.load<float>("größe") == sample<float>({3, 3}));
        }
    }
}

TEST_CASE("more entries than 16 bits can count") {
    const io_test::temporary_folder folder;
    constexpr int count = 66000;
    {
        io::npz_writer writer(folder / "t.npz");
        for (int i = 0; i < count; ++i) {
            writer.add(std::to_string(i), dynamic_tensor<std::int32_t>(i));
        }
        writer.commit();
    }
    const io::npz_file file(folder / "t.npz");
    CHECK(file.names().size() == count);
    CHECK(file.load<std::int32_t, 0>("65999")() == 65999);
}

TEST_CASE("compressed arrays beyond the memory limit are refused, stored ones are not") {
    const io_test::temporary_folder folder;
    const dynamic_tensor<std::uint8_t> zeros = xt::zeros<std::uint8_t>({1000, 1000});
    io::save_npz<std::uint8_t>(folder / "d.npz", {{"z", zeros}}, {.compression = io::npz_compression::deflated});
    io::save_npz<std::uint8_t>(folder / "s.npz", {{"z", zeros}});
    const io::npz_read_options limit{.max_inflated_bytes = 2'000'000};
    CHECK(std::filesystem::file_size(folder / "d.npz") < 2000);
    CHECK(io::load_npz<std::uint8_t>(folder / "d.npz", limit).at("z") == zeros);
    check_refused([&] { io::load_npz<float>(folder / "d.npz", limit); },
                  {"'z'", "4000000", "max_inflated_bytes", "2000000"});
    CHECK(io::load_npz<float>(folder / "s.npz", limit).at("z") == zeros);
}

TEST_CASE("a copy of the file object reads when the first is gone") {
    const io_test::temporary_folder folder;
    io::save_npz<double>(folder / "t.npz", {{"v", sample<double>({9})}});
    const io::npz_file copy = [&] {
        const io::npz_file file(folder / "t.npz");
        return io::npz_file(file);
    }();
    CHECK(copy.load<double>("v") == sample<double>({9}));
}

TEST_CASE("files made by NumPy are read (data/make_data.py)") {
    for (const std::string name : {"stored.npz", "deflated.npz"}) {
        const io::npz_file file(std::filesystem::path(MODEN_IO_TEST_DATA) / name);
        CHECK(file.names().size() == (name == "stored.npz" ? 15 : 16));
        CHECK(file.load<float, 0>("größe")() == 7.0F);
        CHECK(file.load<double, 1>("part/inner") == tensor<double, 1>{0, 1, 2});
        CHECK(file.order("fortran") == io::array_order::fortran);
        CHECK(file.load<float>("fortran") == file.load<float>("f4"));
        CHECK(file.load<double>("f2") == file.load<double>("f8"));
        CHECK(file.load<double, 3>("i8")(1, 2, 3) == 18.0);
        CHECK(file.load<bool, 3>("b1")(0, 0, 1));
        if (name == "deflated.npz") {
            CHECK(file.load<double>("zeros") == xt::zeros<double>({100, 100}));
        }
    }
}
