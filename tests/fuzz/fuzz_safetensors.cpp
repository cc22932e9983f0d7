// Any bytes as a safetensors file: every tensor is loaded and reached without a copy.

#include "fuzz.hpp"

#include <moden/io/safetensors.hpp>

namespace io = moden::io;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::accepted([&] {
        const io::safetensors_file file = io::parse_safetensors(fuzz::bytes_of(data, size), "fuzz");
        std::size_t total = 0;
        for (const std::string& name : file.names()) {
            fuzz::expect(file.contains(name));
            const auto bytes = file.bytes(name);
            total += bytes.size();
            const auto values = file.load<double>(name);  // everything can be converted to double
            fuzz::expect(values.size() * io::size_of(file.type(name)) == bytes.size());
            fuzz::expect(values.dimension() == file.shape(name).size());
            fuzz::accepted([&] { (void)file.load<float>(name); });
            fuzz::accepted([&] { (void)file.load<std::uint16_t>(name); });
            fuzz::accepted([&] { (void)file.load<bool>(name); });
            fuzz::accepted([&] { fuzz::expect(file.values<float>(name).size() == values.size()); });
        }
        fuzz::expect(total <= size);  // no overlaps
    });
    return 0;
}
