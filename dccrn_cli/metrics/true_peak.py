"""True peak by ITU-R BS.1770-4, annex 2."""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.audio.resample import Resampler

OVERSAMPLING = 4


class TruePeakMeter:
    """The highest value between and at the samples of a signal that comes in blocks.

    Args:
        sample_rate: in Hz.
        channels: of every block.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._resampler = Resampler(sample_rate, OVERSAMPLING * sample_rate, channels)
        self._peak = 0.0

    def process(self, block: np.ndarray) -> None:
        """Take the next block, float32 `(frames, channels)` with full scale 1."""
        self._look(block)
        self._look(self._resampler.process(block))

    def finish(self) -> float:
        """The peak in dBTP, at the end of the signal; -inf for silence."""
        self._look(self._resampler.flush())
        return 20 * math.log10(self._peak) if self._peak else -math.inf

    def _look(self, block: np.ndarray) -> None:
        if block.size:
            self._peak = max(self._peak, float(np.abs(block).max()))
