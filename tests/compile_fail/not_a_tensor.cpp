// A standard container is no tensor.
// expected-error: any_tensor
#include <vector>

#include <moden/multilinear/products.hpp>

#ifdef MODEN_CONTROL
using argument = moden::dynamic_tensor<double>;
#else
using argument = std::vector<double>;
#endif

double mistake(const moden::cpu_policy& policy, const argument& tensor) { return moden::norm(policy, tensor); }
