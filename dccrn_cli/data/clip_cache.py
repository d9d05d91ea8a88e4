"""A memory-bounded cache of decoded clips."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

CACHE_BYTES = 4 << 30
"""Most memory that a run uses for decoded clips: 37 hours of 16-bit audio at 16 kHz."""

_SHARE_OF_MEMORY = 0.25


def cache_budget(processes: int = 1) -> int:
    """Cache size in bytes per process, so that all together stay within `CACHE_BYTES` and a quarter of the memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not available on this system
        return CACHE_BYTES // processes
    return min(CACHE_BYTES, int(memory * _SHARE_OF_MEMORY)) // processes


class ClipCache:
    """Keeps the most recently used arrays, always at least the last one. Thread-safe.

    Args:
        budget: size in bytes; `cache_budget()` by default.

    Attributes:
        bytes: total size of the cached arrays.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = cache_budget() if budget is None else budget
        self._kept: OrderedDict[object, np.ndarray] = OrderedDict()
        self.bytes = 0
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array cached under a key, made first if missing."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self.bytes += made.nbytes
            while self.bytes > self.budget and len(self._kept) > 1:
                self.bytes -= self._kept.popitem(last=False)[1].nbytes
        return made

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process starts empty."""
        return {"budget": self.budget}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["budget"])  # type: ignore[misc]
