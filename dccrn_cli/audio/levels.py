"""How loud a signal is."""

from __future__ import annotations

import math

import numpy as np

EXCESS = 1e10
"""Samples beyond this are no audio, and float32 has no room to compute with their powers."""


class LevelMeter:
    """RMS level over blocks `(frames, channels)`, all channels together."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._samples = 0

    def add(self, block: np.ndarray) -> None:
        """Count a block in."""
        self._energy += float(np.square(block, dtype=np.float64).sum())
        self._samples += block.size

    @property
    def dbfs(self) -> float | None:
        """dB against full scale 1.0; None for silence and for no samples."""
        return 10 * math.log10(self._energy / self._samples) if self._energy else None
