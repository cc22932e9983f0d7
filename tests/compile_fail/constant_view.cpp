// A view of constant memory does not turn into a view that may write to it.
// expected-error: (could not convert|cannot convert|no viable conversion|no known conversion)
#include <moden/core/view.hpp>

#ifdef MODEN_CONTROL
using element = float;
#else
using element = const float;
#endif

void clear(moden::vector_view<float, moden::host_memory> vector) { vector.data[0] = 0; }

void mistake(moden::vector_view<element, moden::host_memory> vector) { clear(vector); }
