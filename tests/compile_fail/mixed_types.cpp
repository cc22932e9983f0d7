// float and double do not meet in one product without being asked to.
// expected-error: mode_product of a tensor and a matrix of different type
#include <moden/multilinear/mode_product.hpp>

#ifdef MODEN_CONTROL
using element = float;
#else
using element = double;
#endif

auto mistake(const moden::tensor<float, 3>& tensor, const moden::tensor<element, 2>& matrix) {
    return moden::mode_product(tensor, matrix, 0);
}
