// Reads every file of one folder and writes it again to another, in its own type; exchange.py compares.

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <moden/io.hpp>

namespace {

namespace io = moden::io;
using io::element_type;

/// Calls `body` with a number of the C++ type that holds the stored type; both halves become float.
template <class Body>
void with_type(element_type type, const Body& body) {
    switch (type) {
    case element_type::boolean: return body(bool{});
    case element_type::int8: return body(std::int8_t{});
    case element_type::uint8: return body(std::uint8_t{});
    case element_type::int16: return body(std::int16_t{});
    case element_type::uint16: return body(std::uint16_t{});
    case element_type::int32: return body(std::int32_t{});
    case element_type::uint32: return body(std::uint32_t{});
    case element_type::int64: return body(std::int64_t{});
    case element_type::uint64: return body(std::uint64_t{});
    case element_type::float64: return body(double{});
    default: return body(float{});
    }
}

void exchange(const std::filesystem::path& from, const std::filesystem::path& folder) {
    const std::string name = from.stem().string();
    if (from.extension() == ".npy") {
        const io::npy_file file(from);
        with_type(file.type(), [&]<class T>(T) {
            const auto values = file.load<T>();
            io::save_npy(folder / (name + "_c.npy"), values);
            io::save_npy(folder / (name + "_f.npy"), values, {.order = io::array_order::fortran});
        });
    } else if (from.extension() == ".npz") {
        const io::npz_file file(from);
        io::npz_writer stored(folder / (name + "_stored.npz"));
        io::npz_writer deflated(folder / (name + "_deflated.npz"), {.compression = io::npz_compression::deflated});
        io::npz_writer zip64(folder / (name + "_zip64.npz"), {}, "exchange", {.size = 0, .entries = 0});
        for (const std::string& key : file.names()) {
            with_type(file.type(key), [&]<class T>(T) {
                const auto values = file.load<T>(key);
                stored.add(key, values);
                deflated.add(key, values);
                zip64.add(key, values);
            });
        }
        stored.commit();
        deflated.commit();
        zip64.commit();
    } else if (from.extension() == ".safetensors") {
        const io::safetensors_file file(from);
        std::vector<io::named_tensor> tensors;
        for (const std::string& key : file.names()) {
            with_type(file.type(key), [&]<class T>(T) { tensors.emplace_back(key, file.load<T>(key)); });
        }
        io::save_safetensors(folder / (name + ".safetensors"), tensors, file.metadata());
    }
}

}  // namespace

int main(int argument_count, char** arguments) {
    if (argument_count != 3) {
        std::fputs("usage: io_exchange INPUT_FOLDER OUTPUT_FOLDER\n", stderr);
        return 2;
    }
    try {
        for (const auto& entry : std::filesystem::directory_iterator(arguments[1])) {
            exchange(entry.path(), arguments[2]);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "io_exchange: %s\n", error.what());
        return 1;
    }
}
