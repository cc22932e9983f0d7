// What has not opted in is no policy, whatever members it has.
// expected-error: execution_policy
#include <moden/multilinear/mode_product.hpp>

/// Looks like a policy and inherits everything from one.
struct impostor : moden::cpu_policy {};

#ifdef MODEN_CONTROL
template <>
inline constexpr bool moden::enable_execution_policy<impostor> = true;
#endif

auto mistake(const impostor& policy, const moden::tensor<float, 3>& tensor, const moden::tensor<float, 2>& matrix) {
    return moden::mode_product(policy, tensor, matrix, 0);
}
