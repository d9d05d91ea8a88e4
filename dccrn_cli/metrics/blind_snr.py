"""SNR of a noisy recording, estimated from what a network keeps of it and what it removes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dccrn_cli.data.speech_level import ACTIVE_RANGE_DB
from dccrn_cli.nn.config import SAMPLE_RATE

FRAME = SAMPLE_RATE // 50
"""Samples of a frame, 20 ms, of which two make a frame of the spectrum."""

MAX_SNR_DB = 60.0

_SEGMENT_FRAMES = 200
_STEADY_QUANTILE = 0.3
_LEVELS_PER_DB, _LEVELS = 2, 320  # of a histogram from -160 dB to full scale
_WINDOW = np.hanning(2 * FRAME).astype(np.float32)
_SCALE = float(1 / (FRAME * np.square(_WINDOW).sum()))
_CALIBRATION_DB = ((-10, 3.1), (-2.5, 0.4), (5, -0.3), (22.5, -0.4), (27.5, 2.7), (35, 2.0))
"""Ratio of kept to removed in dB, and the correction to add: medians over mixtures of training data."""
_SPEECHLESS_DB = -60.0


@dataclass(frozen=True)
class BlindSnr:
    """Estimated levels of speech and noise.

    Attributes:
        snr_db: level of active speech relative to the noise; None without speech or sound.
        speech_dbfs: level of active speech; None without speech.
        noise_dbfs: RMS level of the noise; None without noise.
        speech_share: share of the time within `ACTIVE_RANGE_DB` of the loudest speech.
        raw_db: SNR before calibration.
    """

    snr_db: float | None
    speech_dbfs: float | None
    noise_dbfs: float | None
    speech_share: float
    raw_db: float | None = None


class BlindSnrMeter:
    """Estimates the SNR of a 16 kHz recording in blocks, in constant memory.

    Noise is what the network removes, plus the part of what it keeps that is steady within 4 s, as speech never is.
    """

    def __init__(self) -> None:
        self._kept = np.zeros(0, np.float32)
        self._removed = np.zeros(0, np.float32)
        self._counts = np.zeros(_LEVELS, np.int64)
        self._sums = np.zeros(_LEVELS)
        self._noise = 0.0
        self._frames = 0
        self._steady = 0.0

    def process(self, noisy: np.ndarray, enhanced: np.ndarray) -> None:
        """Process the next samples of both signals, aligned, float32 `(samples,)`."""
        self._kept = np.concatenate([self._kept, enhanced])
        self._removed = np.concatenate([self._removed, noisy - enhanced])
        size = _SEGMENT_FRAMES * FRAME
        while len(self._kept) >= size:
            self._segment(self._kept[:size], self._removed[:size])
            self._kept, self._removed = self._kept[size:], self._removed[size:]

    def _segment(self, kept: np.ndarray, removed: np.ndarray) -> None:
        count = len(kept) // FRAME
        if count == 0:
            return
        framed = kept[: count * FRAME].reshape(count, FRAME)
        powers = np.square(framed, dtype=np.float64).mean(axis=1)
        levels = np.clip(np.floor(_LEVELS_PER_DB * 10 * np.log10(powers + 1e-15)) + _LEVELS - 1, 0, _LEVELS - 1)
        self._counts += np.bincount(levels.astype(int), minlength=_LEVELS)
        self._sums += np.bincount(levels.astype(int), powers, _LEVELS)
        self._noise += float(np.square(removed[: count * FRAME], dtype=np.float64).sum()) / FRAME
        self._frames += count
        if count > 1:
            pairs = np.concatenate([framed[:-1], framed[1:]], axis=1) * _WINDOW
            spectrum = np.square(np.abs(np.fft.rfft(pairs, axis=1)))
            rank = int(_STEADY_QUANTILE * (count - 2))
            self._steady += count * float(np.partition(spectrum, rank, axis=0)[rank].sum()) * _SCALE

    def estimate(self) -> BlindSnr:
        """Estimate from all samples so far; the meter cannot be used afterwards."""
        self._segment(self._kept, self._removed)
        self._kept = self._removed = np.zeros(0, np.float32)
        if not self._frames:
            return BlindSnr(None, None, None, 0.0)
        steady = self._steady / self._frames
        noise = self._noise / self._frames + steady
        active = slice(max(int(np.flatnonzero(self._counts)[-1]) - round(ACTIVE_RANGE_DB * _LEVELS_PER_DB), 0), None)
        count = int(self._counts[active].sum())
        speech = float(self._sums[active].sum()) / count - steady
        noise_dbfs = 10 * math.log10(noise) if noise > 0 else None
        if speech <= 0 or 10 * math.log10(speech) < _SPEECHLESS_DB:
            return BlindSnr(None, None, noise_dbfs, 0.0)
        level = 10 * math.log10(speech)
        raw = MAX_SNR_DB if noise_dbfs is None else level - noise_dbfs
        return BlindSnr(calibrated(raw), level, noise_dbfs, count / self._frames, raw)


def calibrated(raw_db: float) -> float:
    """Convert the ratio of kept to removed, in dB, to the SNR.

    A network keeps a little noise and removes a little speech; the latter matters at high SNR. The figures come from
    `benchmarks/inspect_accuracy.py --calibrate` for `dccrn-small`.
    """
    places, corrections = zip(*_CALIBRATION_DB, strict=True)
    return min(raw_db + float(np.interp(raw_db, places, corrections)), MAX_SNR_DB)
