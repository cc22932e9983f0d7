"""Peak memory of one call, beyond what the process held before it."""
from __future__ import annotations

import ctypes
import tracemalloc
from typing import Any, Callable


def _status_bytes(field: str) -> int:
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def call_with_peak(call: Callable[[], Any]) -> tuple[Any, int]:
    """The result of `call` and the growth of the resident set at its highest, the result included.

    The kernel's high-water mark is reset first (writing 5 to clear_refs), and freed heap is handed back so that reused
    pages count as well. Where that is not allowed, tracemalloc counts instead; it sees NumPy's memory, not PyTorch's.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as clear:
            clear.write("5")
        before = _status_bytes("VmRSS")
    except (OSError, AttributeError):
        tracemalloc.start()
        try:
            result = call()
            return result, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    result = call()
    return result, max(0, _status_bytes("VmHWM") - before)
