// A view says in its type which memory it sees: device memory is not taken where host memory is expected.
// expected-error: (could not convert|cannot convert|no viable conversion|no known conversion)
#include <moden/core/view.hpp>

#ifdef MODEN_CONTROL
using memory = moden::host_memory;
#else
using memory = moden::device_memory;
#endif

double first_entry(moden::matrix_view<const double, moden::host_memory> matrix) { return matrix.data[0]; }

double mistake(moden::matrix_view<double, memory> matrix) { return first_entry(matrix); }
