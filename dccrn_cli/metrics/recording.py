"""Properties of a recording measured block by block: bandwidth, clipping, offset, hum, dropouts, channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

HUM_HZ = (50, 60)
MIN_HUM_DB = 10.0
"""Least prominence of mains lines over their surroundings that counts as hum."""

MIN_DROPOUT_S = 0.01
"""Shorter runs of digital silence are not dropouts."""

_FRAMES_PER_S = 4  # of the spectrum, for lines 4 Hz apart
_BAND_RANGE_DB = 75.0
_QUANTISATION_DB = -101.1  # of 16 bit, full scale 0 dB
_ABOVE_QUANTISATION_DB = 6.0
_SMOOTHING_HZ = 100.0
_HARMONICS = 6
_ALIKE_DB, _SILENT_DBFS = -50.0, -80.0
_BREAK = 0.002  # -54 dBFS
_FLAT_SHARE, _FLAT_LEAST = 0.98, 0.25


@dataclass(frozen=True)
class RecordingFacts:
    """Properties of a recording.

    Attributes:
        seconds: length.
        level_dbfs: RMS level; -inf for digital silence.
        peak_dbfs: highest sample.
        bandwidth_hz: highest frequency with any content.
        dc_offset: largest absolute mean of a channel, full scale 1.
        clipped_share: share of the samples in flat tops at the highest level.
        hum_hz: 50 or 60 for mains hum, otherwise None.
        hum_dbfs: level of the hum's lines; None without hum.
        dropouts: number of runs of digital silence of at least 10 ms that interrupt the sound.
        silent_channels: their numbers, from 1.
        channels_alike: the first two are the same up to a difference 50 dB below.
        channels_inverted: one of the first two is the other inverted.
    """

    seconds: float
    level_dbfs: float
    peak_dbfs: float
    bandwidth_hz: float
    dc_offset: float
    clipped_share: float
    hum_hz: int | None
    hum_dbfs: float | None
    dropouts: int
    silent_channels: tuple[int, ...]
    channels_alike: bool
    channels_inverted: bool


class RecordingMeter:
    """Measures a recording in blocks, in constant memory.

    Args:
        sample_rate: sample rate in Hz.
        channels: number of channels.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._frames = 0
        self._sums = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._peaks = np.zeros(channels)
        self._difference = self._total = 0.0
        self._flat_level, self._flat = 0.0, 0
        self._last = np.zeros((1, channels), np.float32)
        self._spectrum = _MeanSpectrum(sample_rate)
        self._dropouts = _Dropouts(math.ceil(MIN_DROPOUT_S * sample_rate))

    def process(self, block: np.ndarray) -> None:
        """Process the next block, finite float32 `(frames, channels)`."""
        if not len(block):
            return
        self._frames += len(block)
        self._sums += block.sum(axis=0, dtype=np.float64)
        self._squares += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        magnitude = np.abs(block)
        self._peaks = np.maximum(self._peaks, magnitude.max(axis=0))
        if block.shape[1] > 1:
            left, right = block[:, 0].astype(np.float64), block[:, 1].astype(np.float64)
            self._difference += float(np.square(left - right).sum())
            self._total += float(np.square(left + right).sum())
        self._count_flat(block, magnitude)
        self._spectrum.process(block.mean(axis=1))
        self._dropouts.process(magnitude.max(axis=1))

    def _count_flat(self, block: np.ndarray, magnitude: np.ndarray) -> None:
        peak = float(self._peaks.max())
        if peak * _FLAT_SHARE > self._flat_level:
            self._flat_level, self._flat = peak * _FLAT_SHARE, 0
        if peak >= _FLAT_LEAST:
            before = np.concatenate([self._last, block[:-1]])
            self._flat += int(np.count_nonzero((magnitude >= self._flat_level) & (block == before)))
        self._last = block[-1:].copy()

    def facts(self) -> RecordingFacts:
        """Properties of all blocks so far."""
        frames, channels = max(self._frames, 1), len(self._sums)
        powers = self._squares / frames
        alike = channels > 1 and self._squares[:2].min() > 0
        hum_hz, hum_db = self._spectrum.hum()
        return RecordingFacts(
            seconds=self._frames / self._rate,
            level_dbfs=_db(float(powers.mean())),
            peak_dbfs=_db(float(self._peaks.max()) ** 2),
            bandwidth_hz=self._spectrum.bandwidth_hz(),
            dc_offset=float(np.abs(self._sums).max()) / frames,
            clipped_share=self._flat / (frames * channels),
            hum_hz=hum_hz,
            hum_dbfs=hum_db,
            dropouts=self._dropouts.count,
            silent_channels=tuple(
                number for number, power in enumerate(powers, 1) if channels > 1 and _db(float(power)) < _SILENT_DBFS
            ),
            channels_alike=alike and self._difference <= self._total * 10 ** (_ALIKE_DB / 10),
            channels_inverted=alike and self._total <= self._difference * 10 ** (_ALIKE_DB / 10),
        )


class _MeanSpectrum:
    """Mean power of each bin, and mean of its decibels, in which intermittent sound counts less."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._size = max(sample_rate // _FRAMES_PER_S, 64)
        self._window = np.hanning(self._size).astype(np.float32)
        self._rest = np.zeros(0, np.float32)
        self._power = np.zeros(self._size // 2 + 1)
        self._decibels = np.zeros(self._size // 2 + 1)
        self._count = 0

    def process(self, signal: np.ndarray) -> None:
        joined = np.concatenate([self._rest, signal])
        count = len(joined) // self._size
        for frame in joined[: count * self._size].reshape(count, self._size):
            self._add(frame)
        self._rest = joined[count * self._size :]

    def _add(self, frame: np.ndarray) -> None:
        power = np.square(np.abs(np.fft.rfft(frame * self._window))) * (2 / self._size / np.square(self._window).sum())
        if power.any():
            self._power += power
            self._decibels += 10 * np.log10(power + 1e-16)
            self._count += 1

    def _finish(self) -> None:
        if not self._count and len(self._rest):  # shorter than one frame
            self._add(np.pad(self._rest, (0, self._size - len(self._rest))))

    def bandwidth_hz(self) -> float:
        """Highest frequency within `_BAND_RANGE_DB` of the loudest and above the noise of 16-bit samples."""
        self._finish()
        if not self._count:
            return 0.0
        step = self._rate / self._size
        width = max(round(_SMOOTHING_HZ / step), 1)
        smooth = np.convolve(self._power / self._count, np.ones(width) / width, "same")
        floor = 10 ** ((_QUANTISATION_DB + _ABOVE_QUANTISATION_DB) / 10) / len(smooth)
        threshold = max(float(smooth.max()) * 10 ** (-_BAND_RANGE_DB / 10), floor)
        above = np.flatnonzero(smooth > threshold)
        return 0.0 if not len(above) else min((float(above[-1]) + 0.5) * step, self._rate / 2)

    def hum(self) -> tuple[int | None, float | None]:
        """Mains frequency whose first harmonics stand out, and their level."""
        self._finish()
        if self._count < 2 * _FRAMES_PER_S:  # less than two seconds
            return None, None
        step = self._rate / self._size
        decibels, power = self._decibels / self._count, self._power / self._count
        best: tuple[int | None, float | None, float] = (None, None, MIN_HUM_DB)
        for mains in HUM_HZ:
            lines = [round(mains * k / step) for k in range(1, _HARMONICS + 1)]
            lines = [line for line in lines if 6 < line < len(decibels) - 6]
            standing = [
                decibels[line - 1 : line + 2].max()
                - np.concatenate([decibels[line - 6 : line - 2], decibels[line + 3 : line + 7]]).max()
                for line in lines
            ]
            prominence = float(np.mean(sorted(standing)[-2:])) if len(standing) > 1 else 0.0
            if prominence > best[2]:
                clear = [line for line, height in zip(lines, standing, strict=True) if height > 0]
                level = sum(float(power[line - 1 : line + 2].sum()) for line in clear)
                best = (mains, _db(level), prominence)
        return best[:2]


class _Dropouts:
    """Counts runs of digital silence with an abrupt edge; a pause fades in and out instead."""

    def __init__(self, least: int) -> None:
        self.count = 0
        self._least = least
        self._run = 0
        self._before: float | None = None

    def process(self, magnitude: np.ndarray) -> None:
        silent = magnitude == 0
        edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=np.int8(self._run > 0)))
        state, at = self._run > 0, 0
        for edge in [*edges.tolist(), len(silent)]:
            if state:
                self._run += edge - at
            elif edge > at:
                self._hear(float(magnitude[at]), float(magnitude[edge - 1]))
            state, at = not state, edge

    def _hear(self, first: float, last: float) -> None:
        if self._before is not None and self._run >= self._least:
            self.count += max(self._before, first) >= _BREAK
        self._run, self._before = 0, last


def _db(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else -math.inf
