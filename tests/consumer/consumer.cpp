// The smallest program of a user: a tensor, its storage, and the CPU policy.
#include <moden/core/tensor.hpp>
#include <moden/policy/cpu.hpp>
#ifdef CONSUMER_USES_IO
#include <moden/io/npy.hpp>
#endif

#include <cmath>
#include <cstdio>

int main() {
    moden::tensor<double, 3> original({4, 3, 2});
    for (std::size_t i = 0; i < original.size(); ++i) {
        original.data()[i] = std::sin(static_cast<double>(i));
    }
    const moden::cpu_policy policy;
    auto copy = policy.make_tensor<double, 3>({4, 3, 2});
#ifdef CONSUMER_USES_IO
    moden::io::save_npy("consumer.npy", original);
    copy = moden::io::load_npy<double, 3>("consumer.npy");
    std::remove("consumer.npy");
#else
    policy.copy(original.data(), copy.data(), original.size());
#endif
    double difference = 0;
    for (std::size_t i = 0; i < original.size(); ++i) {
        difference += std::abs(original.data()[i] - copy.data()[i]);
    }
    std::printf("relative error %g\n", difference);
    return difference == 0 ? 0 : 1;
}
