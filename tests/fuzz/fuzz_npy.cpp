// Any bytes as an NPY file: read whole, in rows and without a copy, to several types.

#include "fuzz.hpp"

#include <cstring>
#include <vector>

#include <moden/io/npy.hpp>

namespace io = moden::io;

namespace {

void read_rows(const io::npy_file& file, const moden::dynamic_tensor<double>& whole) {
    const std::size_t rows = file.shape()[0];
    const std::size_t first = rows / 3;
    const auto block = file.load_rows<double>(first, rows - first);
    const std::size_t row = rows == 0 ? 0 : whole.size() / rows;
    fuzz::expect(block.size() == (rows - first) * row);
    // Compared as bits: NaN is equal to itself then.
    fuzz::expect(block.size() == 0
                 || std::memcmp(block.data(), whole.data() + first * row, block.size() * sizeof(double)) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::accepted([&] {
        const io::npy_file file = io::parse_npy(fuzz::bytes_of(data, size), "fuzz");
        fuzz::expect(file.bytes().size() == file.size() * io::size_of(file.type()));
        fuzz::expect(file.bytes().size() <= size);
        const auto values = file.load<double>();  // everything can be converted to double
        fuzz::expect(values.size() == file.size());
        fuzz::expect(values.dimension() == file.shape().size());
        if (!file.shape().empty()) {
            read_rows(file, values);
        }
        fuzz::accepted([&] { (void)file.load<float>(); });
        fuzz::accepted([&] { (void)file.load<std::int8_t>(); });
        fuzz::accepted([&] { (void)file.load<bool>(); });
        fuzz::accepted([&] { (void)file.load<double, 2>(); });
        fuzz::accepted([&] { fuzz::expect(file.values<float>().size() == file.size()); });
    });
    return 0;
}
