"""Decoded clips in memory, within a budget."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

CACHE_BYTES = 4 << 30
"""Decoded clips that a run keeps in memory at most: 37 hours at 16 kHz in 16 bits."""

_SHARE_OF_MEMORY = 0.25


def cache_budget(processes: int = 1) -> int:
    """Bytes for each of the processes that keep clips: together `CACHE_BYTES` or a quarter of the machine's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not told by this system
        return CACHE_BYTES // processes
    return min(CACHE_BYTES, int(memory * _SHARE_OF_MEMORY)) // processes


class ClipCache:
    """Keeps the arrays that were used last, and at least the very last one. Threads may share it.

    Args:
        budget: bytes; `cache_budget()` by default.

    Attributes:
        bytes: of what is kept.
    """

    def __init__(self, budget: int | None = None) -> None:
        self.budget = cache_budget() if budget is None else budget
        self._kept: OrderedDict[object, np.ndarray] = OrderedDict()
        self.bytes = 0
        self._lock = threading.Lock()

    def get(self, key: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What is kept under a key, made if it is not."""
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
        """A copy in another process begins empty."""
        return {"budget": self.budget}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["budget"])  # type: ignore[misc]
