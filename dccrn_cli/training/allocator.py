"""Memory that one step frees stays with the process for the next one."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = (1 << 31) - 1, 1 << 30


def keep_freed_memory() -> bool:
    """Have the allocator of the C library hand nothing back to the system; whether it can do so (glibc).

    A step frees some hundreds of MB that the next one needs. Given back and taken anew, each page of them costs a
    page fault: about 5 % of the time of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
