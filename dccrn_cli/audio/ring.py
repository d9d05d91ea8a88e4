"""Passes samples between two threads."""

from __future__ import annotations

import numpy as np


class SampleRing:
    """A lock-free ring buffer for one writing and one reading thread.

    Two monotonic counters each belong to one thread: the writer advances its own after the samples are in place,
    the reader its own after copying them.

    Args:
        frames: capacity.
        channels: number of channels of every block.
    """

    def __init__(self, frames: int, channels: int) -> None:
        self._samples = np.zeros((frames, channels), np.float32)
        self._written = 0
        self._read = 0

    @property
    def available(self) -> int:
        """Frames that can be read."""
        return self._written - self._read

    @property
    def free(self) -> int:
        """Frames that can be written."""
        return len(self._samples) - self.available

    def write(self, block: np.ndarray) -> int:
        """Append float32 `(frames, channels)` as far as there is room.

        Returns:
            Number of frames written.
        """
        count = min(len(block), self.free)
        start = self._written % len(self._samples)
        first = min(count, len(self._samples) - start)
        self._samples[start : start + first] = block[:first]
        self._samples[: count - first] = block[first:count]
        self._written += count
        return count

    def read_into(self, out: np.ndarray) -> int:
        """Fill the beginning of `(frames, channels)` with the frames available.

        Returns:
            Number of frames read.
        """
        count = min(len(out), self.available)
        start = self._read % len(self._samples)
        first = min(count, len(self._samples) - start)
        out[:first] = self._samples[start : start + first]
        out[first:count] = self._samples[: count - first]
        self._read += count
        return count

    def read(self, frames: int) -> np.ndarray:
        """Copy at most `frames` frames."""
        out = np.empty((min(frames, self.available), self._samples.shape[1]), np.float32)
        return out[: self.read_into(out)]

    def skip(self, frames: int) -> int:
        """Drop readable frames.

        Returns:
            Number of frames dropped, at most `frames`.
        """
        count = min(frames, self.available)
        self._read += count
        return count
