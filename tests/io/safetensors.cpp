// safetensors files: what is written is read back, converted and without a copy.

#include "support.hpp"

#include <xtensor/xmath.hpp>
#include <xtensor/xmanipulation.hpp>
#include <xtensor/xview.hpp>

#include <moden/io/safetensors.hpp>

using namespace moden;
using io_test::check_refused;
using io_test::sample;

TEST_CASE("the example of the documentation") {
    const io_test::temporary_folder folder;
    const auto path = folder / "weights.safetensors";
    //! [save_safetensors]
    moden::tensor<float, 2> weight = xt::ones<float>({512, 512});
    moden::tensor<double, 1> singular_values = xt::arange<double>(8);
    moden::io::save_safetensors(path,
                                {{"weight", weight}, {"singular_values", singular_values}, {"half", 0.5F * weight}},
                                {{"made by", "moden"}});

    const moden::io::safetensors_file file(path);
    auto loaded = file.load<double, 2>("weight");                  // converted
    std::span<const float> mapped = file.values<float>("weight");  // no copy
    //! [save_safetensors]
    CHECK(loaded == xt::ones<double>({512, 512}));
    CHECK(mapped.size() == 512 * 512);
    CHECK(file.load<double>("singular_values") == singular_values);
    CHECK(file.load<float, 2>("half") == 0.5F * weight);
    CHECK(file.metadata() == std::map<std::string, std::string>{{"made by", "moden"}});
}

TEST_CASE_TEMPLATE("maps of every type survive", T, bool, std::int8_t, std::uint8_t, std::int16_t, std::uint16_t,
                   std::int32_t, std::uint32_t, std::int64_t, std::uint64_t, float, double) {
    const io_test::temporary_folder folder;
    const std::map<std::string, dynamic_tensor<T>> tensors = {{"scalar", sample<T>({})},
                                                              {"empty", sample<T>({3, 0})},
                                                              {"none", sample<T>({0})},
                                                              {"vector", sample<T>({5})},
                                                              {"order 8", sample<T>({1, 2, 1, 2, 1, 2, 1, 2})},
                                                              {"größe \"\\\n\x01", sample<T>({3, 3})},
                                                              {"", sample<T>({2})}};
    io::save_safetensors(folder / "t.safetensors", tensors, {{"", ""}, {"k\"", "v\n\xc3\xa4"}});
    const io::safetensors_file file(folder / "t.safetensors");
    CHECK(file.names().size() == tensors.size());
    for (const auto& [name, values] : tensors) {
        CAPTURE(name);
        CHECK(file.contains(name));
        CHECK(file.type(name) == io::element_type_of<T>());
        CHECK(file.shape(name) == extents(values.shape().begin(), values.shape().end()));
        CHECK(file.bytes(name).size() == values.size() * sizeof(T));
        CHECK(file.load<T>(name) == values);
    }
    CHECK(file.metadata().at("k\"") == "v\n\xc3\xa4");
    CHECK(folder.names() == std::vector<std::string>{"t.safetensors"});
}

TEST_CASE("a file without tensors is empty, not an error") {
    const io_test::temporary_folder folder;
    io::save_safetensors(folder / "t.safetensors", std::vector<io::named_tensor>{});
    const io::safetensors_file file(folder / "t.safetensors");
    CHECK(file.names().empty());
    CHECK(file.metadata().empty());
}

TEST_CASE("tensors of mixed types are aligned, in any order they are given") {
    const io_test::temporary_folder folder;
    const auto bytes = sample<std::uint8_t>({3});
    const auto singles = sample<float>({5});
    const auto doubles = sample<double>({2, 2});
    const auto more = sample<double>({1});
    io::save_safetensors(folder / "t.safetensors",
                         {{"bytes", bytes}, {"singles", singles}, {"doubles", doubles}, {"more", more}});
    const io::safetensors_file file(folder / "t.safetensors");
    CHECK(file.names() == std::vector<std::string>{"doubles", "more", "singles", "bytes"});
    const auto mapped = file.values<double>("doubles");
    CHECK(std::equal(mapped.begin(), mapped.end(), doubles.begin(), doubles.end()));
    CHECK(file.values<float>("singles")[4] == singles(4));
    CHECK(file.values<std::uint8_t>("bytes")[2] == bytes(2));
    check_refused([&] { (void)file.values<float>("doubles"); }, {"t.safetensors", "'doubles'", "float64", "float32"});
    check_refused([&] { (void)file.load<float>("other"); },
                  {"safetensors_file", "t.safetensors", "no tensor named 'other'"});
    check_refused([&] { (void)file.load<float, 3>("doubles"); }, {"'doubles'", "order 2", "order 3"});
    check_refused([&] { (void)file.load<int>("doubles"); }, {"'doubles'", "float64", "int32", "fractions"});
    check_refused([&] { (void)file.load<bool>("bytes"); }, {"'bytes'", "uint8", "bool"});
}

TEST_CASE("views and lazy expressions are evaluated, temporaries are kept") {
    const io_test::temporary_folder folder;
    const tensor<double, 3> base = sample<double>({6, 5, 8});
    const auto view = xt::view(base, xt::all(), 2, xt::range(0, 8, 3));
    const auto transposed = xt::transpose(base);
    std::vector<io::named_tensor> tensors = {
        {"view", view}, {"transposed", transposed}, {"lazy", 2.0 * base}, {"part", xt::view(base, xt::range(1, 3))}};
    tensors.emplace_back("temporary", sample<float>({1000}));
    io::save_safetensors(folder / "t.safetensors", tensors);
    const io::safetensors_file file(folder / "t.safetensors");
    CHECK(file.load<double>("view") == view);
    CHECK(file.load<double>("transposed") == transposed);
    CHECK(file.load<double>("lazy") == 2.0 * base);
    CHECK(file.load<double>("part") == xt::view(base, xt::range(1, 3)));
    CHECK(file.load<float>("temporary") == sample<float>({1000}));
}

TEST_CASE("names that the format does not allow are not written") {
    const io_test::temporary_folder folder;
    const auto values = sample<float>({2});
    const auto path = folder / "t.safetensors";
    check_refused<argument_error>(
        [&] {
            io::save_safetensors(path, {{"__metadata__", values}});
        },
        {"t.safetensors", "reserves"});
    check_refused<argument_error>(
        [&] {
            io::save_safetensors(path, {{"a", values}, {"a", values}});
        },
        {"two tensors", "'a'"});
    check_refused<argument_error>([&] { io::save_safetensors(path, {{"\xff", values}}); }, {"'\\xff'", "UTF-8"});
    check_refused<argument_error>([&] { io::save_safetensors(path, {{"a", values}}, {{"k", "\xc0"}}); }, {"UTF-8"});
    CHECK(folder.names().empty());
}

TEST_CASE("a file made by the safetensors package is read (data/make_data.py)") {
    const io::safetensors_file file(std::filesystem::path(MODEN_IO_TEST_DATA) / "all_types.safetensors");
    CHECK(file.names().size() == 15);
    CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "np"}, {"made by", "safetensors"}});
    const dynamic_tensor<double> counted = xt::reshape_view(xt::arange<double>(24), {2, 3, 4});
    const dynamic_tensor<double> shifted = counted - 5.0;
    for (const std::string name : {"u1", "u2", "u4", "u8"}) {
        CHECK(file.load<double>(name) == counted);
        CHECK(file.load<std::int8_t>(name) == xt::cast<std::int8_t>(counted));
    }
    for (const std::string name : {"i1", "i2", "i4", "i8"}) {
        CHECK(file.load<float>(name) == xt::cast<float>(shifted));
        CHECK(file.load<std::int64_t, 3>(name) == xt::cast<std::int64_t>(shifted));
        check_refused([&] { (void)file.load<std::uint16_t>(name); }, {name, "-5", "uint16"});
    }
    for (const std::string name : {"f2", "bf16", "f4", "f8"}) {
        CHECK(file.load<double>(name) == shifted / 4.0);
        CHECK(file.load<float, 3>(name) == xt::cast<float>(shifted / 4.0));
    }
    CHECK(file.type("bf16") == io::element_type::bfloat16);
    CHECK(file.load<bool, 3>("b1")(0, 0, 1));
    CHECK_FALSE(file.load<bool, 3>("b1")(0, 0, 2));
    CHECK(file.load<float, 0>("scalar")() == 2.5F);
    CHECK(file.load<float, 3>("empty").size() == 0);
}
