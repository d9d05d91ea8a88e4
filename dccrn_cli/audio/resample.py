"""Resampling as a streaming stage."""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np
import soxr

QUALITY = "HQ"

PASSBAND, STOPBAND_DB = 0.913, 125.0
"""Filter for integer ratios: passband edge relative to half the lower rate, and stopband rejection."""

MAX_FACTOR, MAX_LOW_HZ = 8, 12_000
"""Integer ratios up to this, from or to rates up to this, use their own filter."""


class Resampler:
    """Streaming resampler: the concatenated output equals the resampled concatenated input.

    Blocks are float32 `(frames, channels)`. The output is aligned with the input. soxr holds back so many
    samples of the lower rate that at 8 kHz the delay would be noticeable in a call, so such ratios use a
    plain filter with a tenth of the delay.

    Args:
        source_hz, target_hz: sample rates in Hz; equal rates pass blocks through.
        channels: number of channels of every block.
        low_latency: use the plain filter for all integer ratios up to 8.
    """

    def __init__(self, source_hz: int, target_hz: int, channels: int, *, low_latency: bool = False) -> None:
        self.source_hz = source_hz
        self.target_hz = target_hz
        self.channels = channels
        self._low_latency = low_latency
        self.reset()

    @property
    def latency(self) -> int:
        """Largest delay of the output, in samples at the source rate."""
        return 0 if self._stage is None else self._stage.lag

    def reset(self) -> None:
        """Start a new signal."""
        self._stage = _stage(self.source_hz, self.target_hz, self.channels, low_latency=self._low_latency)

    def process(self, block: np.ndarray) -> np.ndarray:
        """Resample a block; returns the output that is ready."""
        return block if self._stage is None else self._stage.process(block)

    def flush(self) -> np.ndarray:
        """Return the rest of the output at the end of the signal; the next block starts a new one."""
        rest = np.zeros((0, self.channels), np.float32) if self._stage is None else self._stage.flush()
        self.reset()
        return rest


class _Stage(Protocol):
    @property
    def lag(self) -> int: ...

    def process(self, block: np.ndarray) -> np.ndarray: ...

    def flush(self) -> np.ndarray: ...


def _stage(source_hz: int, target_hz: int, channels: int, *, low_latency: bool) -> _Stage | None:
    low, high = sorted((source_hz, target_hz))
    if low == high:
        return None
    if high % low or high // low > MAX_FACTOR or (low > MAX_LOW_HZ and not low_latency):
        return _Soxr(source_hz, target_hz, channels)
    return (_Up if source_hz == low else _Down)(high // low, channels)


class _Soxr:
    """Resampling at any ratio, by soxr."""

    def __init__(self, source_hz: int, target_hz: int, channels: int) -> None:
        self._rates = source_hz, target_hz
        self._channels = channels
        self._stream = soxr.ResampleStream(source_hz, target_hz, channels, dtype="float32", quality=QUALITY)

    def process(self, block: np.ndarray) -> np.ndarray:
        return self._resample(block, last=False)

    def flush(self) -> np.ndarray:
        return self._resample(np.zeros((0, self._channels), np.float32), last=True)

    def _resample(self, block: np.ndarray, *, last: bool) -> np.ndarray:
        out: np.ndarray = self._stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32), last=last)
        return out.reshape(-1, self._channels)

    @property
    def lag(self) -> int:
        return _soxr_lag(*self._rates)


@functools.cache
def _soxr_lag(source_hz: int, target_hz: int) -> int:
    """Most samples that soxr holds back, which it does not report: measured by feeding silence in small steps."""
    stage = _Soxr(source_hz, target_hz, 1)
    seconds = max(2.0, 16_000 / min(source_hz, target_hz))  # block sizes of its inner stages interfere
    step = math.ceil(seconds * source_hz / 4000)
    silence = np.zeros((step, 1), np.float32)
    received, emitted, most = 0, 0, 0.0
    while received < seconds * source_hz:
        emitted += len(stage.process(silence))
        received += step
        most = max(most, received - emitted * source_hz / target_hz)
    return math.ceil(1.02 * (most + step))


_TRANSITION = math.pi * (1 - PASSBAND)
_HALF = math.ceil((STOPBAND_DB - 7.95) / (2.285 * _TRANSITION) / 2)
"""Half the filter length in samples of the lower rate, by Kaiser's formula."""


@functools.cache
def _phases(factor: int) -> np.ndarray:
    """Polyphase low-pass filter at the higher rate, float32 `(factor, 2 _HALF + 1)`; row p has every factor-th tap."""
    edge = (1 + PASSBAND) / 2
    at = np.arange(-_HALF * factor, _HALF * factor + 1)
    window = np.kaiser(len(at), 0.1102 * (STOPBAND_DB - 8.7))
    taps = np.sinc(edge * at / factor) * window
    taps = np.append(taps / taps.sum(), np.zeros(factor - 1))
    return np.ascontiguousarray(taps.reshape(-1, factor).T, dtype=np.float32)


class _Up:
    """Resampling to an integer multiple of the rate."""

    lag = _HALF

    def __init__(self, factor: int, channels: int) -> None:
        self._phases = _phases(factor)[:, ::-1] * np.float32(factor)
        self._kept = np.zeros((_HALF, channels), np.float32)

    def process(self, block: np.ndarray) -> np.ndarray:
        x = np.concatenate([self._kept, block])
        count = max(len(x) - 2 * _HALF, 0)
        self._kept = x[count:]
        y = np.zeros((count, len(self._phases), x.shape[1]), np.float32)
        if count:
            for channel, column in enumerate(x.T):
                for phase, taps in enumerate(self._phases):
                    y[:, phase, channel] = np.correlate(column, taps)
        return y.reshape(-1, x.shape[1])

    def flush(self) -> np.ndarray:
        return self.process(np.zeros((self.lag, self._kept.shape[1]), np.float32))


class _Down:
    """Resampling to an integer fraction of the rate."""

    def __init__(self, factor: int, channels: int) -> None:
        self.lag = (_HALF + 1) * factor - 1
        self._phases = _phases(factor)
        self._kept = np.zeros((_HALF * factor, channels), np.float32)

    def process(self, block: np.ndarray) -> np.ndarray:
        x = np.concatenate([self._kept, block])
        factor = len(self._phases)
        count = max(len(x) // factor - 2 * _HALF, 0)
        self._kept = x[count * factor :]
        y = np.zeros((count, x.shape[1]), np.float32)
        if count:
            for channel, column in enumerate(x[: (count + 2 * _HALF) * factor].T):
                for phase, taps in enumerate(self._phases):
                    y[:, channel] += np.correlate(column[phase::factor], taps)
        return y

    def flush(self) -> np.ndarray:
        return self.process(np.zeros((self.lag, self._kept.shape[1]), np.float32))
