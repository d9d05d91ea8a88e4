"""A queue of samples."""

from __future__ import annotations

from collections import deque

import numpy as np


class SampleQueue:
    """A FIFO for blocks `(frames, channels)` of any length.

    Args:
        channels: number of channels of every block.
    """

    def __init__(self, channels: int) -> None:
        self._empty = np.zeros((0, channels), np.float32)
        self._blocks: deque[np.ndarray] = deque()

    def push(self, block: np.ndarray) -> None:
        """Add a block at the end."""
        if len(block):
            self._blocks.append(block)

    def pop(self, frames: int) -> np.ndarray:
        """Remove and return the first `frames` samples, or all if there are fewer."""
        taken = []
        while frames > 0 and self._blocks:
            block = self._blocks.popleft()
            if len(block) > frames:
                self._blocks.appendleft(block[frames:])
                block = block[:frames]
            taken.append(block)
            frames -= len(block)
        return taken[0] if len(taken) == 1 else np.concatenate([self._empty, *taken])
