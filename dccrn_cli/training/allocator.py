"""Keeps memory freed by one training step in the process for the next."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = (1 << 31) - 1, 1 << 30


def keep_freed_memory() -> bool:
    """Stop the C library's allocator from returning memory to the system; False if it cannot (not glibc).

    A step frees hundreds of MB that the next one needs. If they were returned and reallocated, the page faults
    would cost about 5 % of a step.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
