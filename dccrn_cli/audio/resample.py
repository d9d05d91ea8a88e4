"""Resampling as a stage."""

from __future__ import annotations

import math

import numpy as np
import soxr

QUALITY = "HQ"

MAX_LAG_S, MAX_LAG_SAMPLES = 0.125, 1100
"""Bounds on what a resampler keeps back, the larger counts; samples of the lower rate. Tests hold it to this."""


class Resampler:
    """Streaming resampler; outputs joined equal the resampling of the inputs joined.

    Blocks are float32 `(frames, channels)`. The output is aligned with the input.

    Args:
        source_hz, target_hz: sample rates; equal rates pass blocks through.
        channels: of every block.
    """

    def __init__(self, source_hz: int, target_hz: int, channels: int) -> None:
        self.source_hz = source_hz
        self.target_hz = target_hz
        self.channels = channels
        self.reset()

    @property
    def latency(self) -> int:
        """Samples at the source rate by which the output lags behind at most."""
        if self._stream is None:
            return 0
        lag_s = max(MAX_LAG_S, MAX_LAG_SAMPLES / min(self.source_hz, self.target_hz))
        return math.ceil(lag_s * self.source_hz)

    def reset(self) -> None:
        """Start a new signal."""
        same = self.source_hz == self.target_hz
        self._stream = (
            None
            if same
            else soxr.ResampleStream(self.source_hz, self.target_hz, self.channels, dtype="float32", quality=QUALITY)
        )

    def process(self, block: np.ndarray) -> np.ndarray:
        """Resample a block; gives what is ready."""
        return self._resample(block, last=False)

    def flush(self) -> np.ndarray:
        """The rest, at the end of the signal; the next block starts a new one."""
        rest = self._resample(np.zeros((0, self.channels), np.float32), last=True)
        self.reset()
        return rest

    def _resample(self, block: np.ndarray, *, last: bool) -> np.ndarray:
        if self._stream is None:
            return block
        out: np.ndarray = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32), last=last)
        return out.reshape(-1, self.channels)
