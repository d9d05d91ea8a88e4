"""Samples that wait."""

from __future__ import annotations

from collections import deque

import numpy as np


class SampleQueue:
    """First in, first out, for blocks `(frames, channels)` of any length.

    Args:
        channels: of every block.
    """

    def __init__(self, channels: int) -> None:
        self._empty = np.zeros((0, channels), np.float32)
        self._blocks: deque[np.ndarray] = deque()

    def push(self, block: np.ndarray) -> None:
        """Add a block at the end."""
        if len(block):
            self._blocks.append(block)

    def pop(self, frames: int) -> np.ndarray:
        """The first `frames` samples, or what there is if that is less."""
        taken = []
        while frames > 0 and self._blocks:
            block = self._blocks.popleft()
            if len(block) > frames:
                self._blocks.appendleft(block[frames:])
                block = block[:frames]
            taken.append(block)
            frames -= len(block)
        return taken[0] if len(taken) == 1 else np.concatenate([self._empty, *taken])
