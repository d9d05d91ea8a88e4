"""Estimates how much a recording resembles speech, and how clean it is, without a network.

Speech changes at the rate of its syllables and hardly faster, and alternates between voiced and
unvoiced sounds. Noise flickers from frame to frame, or hums constantly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dccrn_cli.nn.config import SAMPLE_RATE

MAX_S = 8.0
"""Most seconds of a recording that are analysed."""

_FRAME, _HOP = 512, 256
_WINDOW = np.hanning(_FRAME).astype(np.float32)
_LAGS = slice(40, 220)  # 73 to 400 Hz
_VOICED = 0.55
_FLICKER_HZ = 16.0
_ACTIVE_DB = 30.0
_RANGE_DB = 35.0
_TINY = 1e-10

_FREQ = np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE)
_EDGES = np.geomspace(150, 7000, 13)
_BANDS = ((_EDGES[:-1, None] <= _FREQ) & (_EDGES[1:, None] > _FREQ)).astype(np.float32)
_WINDOW_CORRELATION = np.fft.irfft(np.abs(np.fft.rfft(_WINDOW, 2 * _FRAME)) ** 2)[_LAGS] / np.square(_WINDOW).sum()

# Logistic regression on 900 recordings of speech and 900 of noise, with 1 % of the speech below 0.
_WEIGHTS, _OFFSET = (-6.36, 48.5, 8.50), -24.75


@dataclass(frozen=True)
class Likeness:
    """Features of a recording.

    Attributes:
        flicker: log10 of the share of band level changes faster than syllables, above 16 Hz.
        voicing_spread: standard deviation of periodicity over active frames.
        voiced: share of active frames that are periodic.
        snr_db: level of loud frames above that of faint ones: how far speech exceeds its pauses.
        band_hz: frequency above which there is almost nothing.
    """

    flicker: float
    voicing_spread: float
    voiced: float
    snr_db: float
    band_hz: float

    @property
    def speech_logit(self) -> float:
        """Above 0 for a recording that resembles speech, below 0 for noise."""
        values = (self.flicker, self.voicing_spread, self.voiced)
        return sum(weight * value for weight, value in zip(_WEIGHTS, values, strict=True)) + _OFFSET


def likeness(x: np.ndarray) -> Likeness:
    """Analyse the middle `MAX_S` seconds of a recording at 16 kHz, float32 `(samples,)`, at least 1 s long."""
    excess = max(len(x) - round(MAX_S * SAMPLE_RATE), 0)
    x = x[excess // 2 : len(x) - (excess - excess // 2)]
    x = np.pad(x, (0, max(SAMPLE_RATE - len(x), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(x, _FRAME)[::_HOP] * _WINDOW
    power = np.square(np.abs(np.fft.rfft(frames)))
    level_db = 10 * np.log10(power.sum(axis=1) + _TINY)
    loud_db = float(np.percentile(level_db, 95))
    active = level_db > loud_db - _ACTIVE_DB
    correlation = np.fft.irfft(np.square(np.abs(np.fft.rfft(frames[active], 2 * _FRAME))))
    periodicity = (correlation[:, _LAGS] / (correlation[:, :1] + _TINY) / _WINDOW_CORRELATION).max(axis=1)
    return Likeness(
        flicker=_flicker(power),
        voicing_spread=float(periodicity.std()),
        voiced=float((periodicity > _VOICED).mean()),
        snr_db=loud_db - float(np.percentile(level_db, 10)),
        band_hz=_band_hz(power[active]),
    )


def _flicker(power: np.ndarray) -> float:
    level_db = 10 * np.log10(power @ _BANDS.T + _TINY)
    level_db = np.maximum(level_db, np.percentile(level_db, 95, axis=0) - _RANGE_DB)
    changes = (level_db - level_db.mean(axis=0)) * np.hanning(len(level_db))[:, None]
    spectrum = np.square(np.abs(np.fft.rfft(changes, axis=0)))
    rate_hz = np.fft.rfftfreq(len(changes), _HOP / SAMPLE_RATE)
    share = spectrum[rate_hz >= _FLICKER_HZ].sum(axis=0) / (spectrum[rate_hz >= 0.5].sum(axis=0) + _TINY)
    return math.log10(float(share.mean()) + 1e-4)


def _band_hz(power: np.ndarray) -> float:
    mean_db = 10 * np.log10(power.mean(axis=0) + _TINY)
    return float(_FREQ[np.flatnonzero(mean_db > mean_db.max() - 60)[-1]])
