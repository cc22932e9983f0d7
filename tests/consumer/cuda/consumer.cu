// A user's CUDA program: compiles and links everywhere, computes where there is a GPU and says so where there is none.
#include <cmath>
#include <cstdio>

#include <moden/cuda.hpp>

int main() {
    moden::tensor<double, 2> waves({6, 5});
    for (std::size_t i = 0; i < 6; ++i) {
        for (std::size_t j = 0; j < 5; ++j) {
            waves(i, j) = std::sin(static_cast<double>(i + 2 * j));
        }
    }
    try {
        const moden::cuda_policy gpu;
        const double error = moden::hosvd(gpu, moden::to_device(gpu, waves), {.ranks = {2, 2}}).relative_error;
        if (!(error < 1e-7)) {
            std::fprintf(stderr, "unexpected error: %g\n", error);
            return 1;
        }
        std::printf("relative error %g\n", error);
    } catch (const moden::device_error& error) {
        std::printf("no relative error: %s\n", error.what());
    }
    return 0;
}
