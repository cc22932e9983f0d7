// The smallest program of a user: a tensor whose multilinear ranks are known, and its decomposition.
#include <cmath>
#include <cstdio>

#include <moden/moden.hpp>
#ifdef CONSUMER_USES_IO
#include <moden/io.hpp>
#endif
#ifdef CONSUMER_USES_STYLEGAN2
#include <moden/stylegan2.hpp>
#endif

int main() {
    moden::tensor<double, 3> waves({6, 5, 4});
    for (std::size_t i = 0; i < 6; ++i) {
        for (std::size_t j = 0; j < 5; ++j) {
            for (std::size_t k = 0; k < 4; ++k) {
                waves(i, j, k) = std::sin(static_cast<double>(i + 2 * j + 3 * k));
            }
        }
    }
#ifdef CONSUMER_USES_IO
    moden::io::save_npy("waves.npy", waves);
    waves = moden::io::load_npy<double, 3>("waves.npy");
    std::remove("waves.npy");
#endif
#ifdef CONSUMER_USES_STYLEGAN2
    const auto z = moden::stylegan2::seeded_latents<double>({0}, 1);  // numpy.random.RandomState(0).randn(1)
    if (std::abs(z(0, 0) - 1.764052345967664) > 1e-15) {
        std::fprintf(stderr, "unexpected latent %.16g\n", z(0, 0));
        return 1;
    }
#endif
    // The sine of a sum has rank 2 in every mode: two ranks lose nothing, one rank loses about half.
    const double nothing = moden::hosvd(waves, {.ranks = {2, 2, 2}}).relative_error;
    const double half = moden::hosvd(waves, {.ranks = {1, 1, 1}}).relative_error;
    if (!(nothing < 1e-7 && half > 0.1 && half < 1)) {
        std::fprintf(stderr, "unexpected errors: %g with two ranks, %g with one\n", nothing, half);
        return 1;
    }
    std::printf("relative error %g\n", nothing);
    return 0;
}
