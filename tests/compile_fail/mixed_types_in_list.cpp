// The same for lists of factors.
// expected-error: mttkrp of a tensor and matrices of different type
#include <vector>

#include <moden/multilinear/mttkrp.hpp>

#ifdef MODEN_CONTROL
using element = double;
#else
using element = float;
#endif

auto mistake(const moden::tensor<double, 3>& tensor, const std::vector<moden::tensor<element, 2>>& factors) {
    return moden::mttkrp(tensor, factors, 0);
}
