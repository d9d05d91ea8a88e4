"""Signal levels."""

from __future__ import annotations

import math

import numpy as np

EXCESS = 1e10
"""Samples beyond this are not audio, and their powers would overflow float32."""


class LevelMeter:
    """RMS level over blocks `(frames, channels)` and all channels."""

    def __init__(self) -> None:
        self._energy = 0.0
        self._samples = 0

    def add(self, block: np.ndarray) -> None:
        """Include a block."""
        with np.errstate(invalid="ignore", over="ignore"):  # from NaN and infinity, which are rejected later
            self._energy += float(np.square(block, dtype=np.float64).sum())
        self._samples += block.size

    @property
    def dbfs(self) -> float | None:
        """Level in dB relative to full scale 1.0; None for silence or no samples."""
        return 10 * math.log10(self._energy / self._samples) if self._energy else None
