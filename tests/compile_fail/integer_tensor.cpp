// Tensors of integers are refused by name instead of being converted or multiplied as they are.
// expected-error: tensors hold float or double \(convert others, for example with xt::cast<double>\)
#include <moden/multilinear/hosvd.hpp>

#ifdef MODEN_CONTROL
using element = double;
#else
using element = int;
#endif

auto mistake(const moden::tensor<element, 3>& tensor) { return moden::st_hosvd(tensor, {.ranks = {1, 1, 1}}); }
