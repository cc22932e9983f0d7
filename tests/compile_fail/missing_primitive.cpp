// A policy that lacks a primitive runs what does not need it; where it is needed the compiler names it. No fallback.
// expected-error: (has )?no member named .gemm_strided_batched
#include <moden/multilinear/mode_product.hpp>
#include <moden/multilinear/products.hpp>

/// The beginning of a policy: memory, loops and one of the two products.
class young_policy {
public:
    using memory_space = moden::host_memory;

    template <class T>
    auto allocate(std::size_t count) const {
        return cpu_.allocate<T>(count);
    }
    template <class T, std::size_t N>
    auto make_tensor(const moden::extents& shape) const {
        return cpu_.make_tensor<T, N>(shape);
    }
    template <class Function>
    void transform(std::size_t count, Function function, std::size_t work = 1) const {
        cpu_.transform(count, function, work);
    }
    template <class Result, class Map, class Combine>
    Result reduce(std::size_t count, Result initial, Map map, Combine combine) const {
        return cpu_.reduce(count, initial, map, combine);
    }
    template <class T>
    void gemm(T alpha, moden::const_matrix_view<T, memory_space> a, moden::const_matrix_view<T, memory_space> b, T beta,
              moden::matrix_view<T, memory_space> c) const {
        cpu_.gemm<T>(alpha, a, b, beta, c);
    }
#ifdef MODEN_CONTROL
    template <class T>
    void gemm_strided_batched(T alpha, moden::const_matrix_view<T, memory_space> a, std::size_t a_step,
                              moden::const_matrix_view<T, memory_space> b, std::size_t b_step, T beta,
                              moden::matrix_view<T, memory_space> c, std::size_t c_step, std::size_t count) const {
        cpu_.gemm_strided_batched<T>(alpha, a, a_step, b, b_step, beta, c, c_step, count);
    }
#endif

private:
    moden::cpu_policy cpu_;
};

template <>
inline constexpr bool moden::enable_execution_policy<young_policy> = true;

using tensor = moden::tensor<double, 3>;

double no_mistake(const young_policy& policy, const tensor& x) { return moden::norm(policy, x); }

tensor mistake(const young_policy& policy, const tensor& x, const moden::tensor<double, 2>& matrix) {
    return moden::mode_product(policy, x, matrix, 1);
}
