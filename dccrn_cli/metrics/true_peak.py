"""True peak according to ITU-R BS.1770-4, annex 2."""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.audio.resample import Resampler

OVERSAMPLING = 4


class TruePeakMeter:
    """Measures the highest value at and between the samples of a signal in blocks.

    Args:
        sample_rate: sample rate in Hz.
        channels: number of channels.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._resampler = Resampler(sample_rate, OVERSAMPLING * sample_rate, channels)
        self._peak = 0.0

    def process(self, block: np.ndarray) -> None:
        """Process the next block, float32 `(frames, channels)` with full scale 1."""
        self._look(block)
        self._look(self._resampler.process(block))

    def finish(self) -> float:
        """End the signal and return its peak in dBTP; -inf for silence."""
        self._look(self._resampler.flush())
        return 20 * math.log10(self._peak) if self._peak else -math.inf

    def _look(self, block: np.ndarray) -> None:
        if block.size:
            self._peak = max(self._peak, float(np.abs(block).max()))
