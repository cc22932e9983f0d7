// A tensor in device memory is not taken by a policy that computes on the host. The tensor type is one of this test's
// own, which is all it takes to show what device tensors meet, without nvcc.
// expected-error: a device tensor was given to a policy that computes in host memory \(use to_host first\)
#include <moden/multilinear/products.hpp>

struct stand_in {};  // for a tensor in device memory

template <>
struct moden::tensor_traits<stand_in> {
    static constexpr bool is_tensor = true;
    using memory_space = moden::device_memory;
    using value_type = float;
    static constexpr std::size_t order = 2;
    using matrix_type = stand_in;
    struct argument {
        explicit argument(const stand_in&) {}
        const moden::tensor_view<const float, moden::device_memory>& view() const { return view_; }
        moden::tensor_view<const float, moden::device_memory> view_;
    };
};

#ifdef MODEN_CONTROL
using argument = moden::tensor<float, 2>;
#else
using argument = stand_in;
#endif

float mistake(const moden::cpu_policy& policy, const argument& tensor) { return moden::norm(policy, tensor); }
