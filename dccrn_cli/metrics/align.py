"""A constant delay between two signals, by cross-correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

MAX_DELAY_S = 1.0
"""How far a delay is searched, to both sides."""

CLEAR_CORRELATION = 0.1
"""Below this, a peak says nothing."""

CLEAR_GAIN_DB = 1.0
"""By which the SNR that a correlation stands for must rise before a delay is believed."""


@dataclass(frozen=True)
class Shift:
    """How an estimate lies against its reference.

    Attributes:
        delay_samples: by which it lags behind; negative where it leads.
        inverted: its polarity is the opposite.
        correlation: its size there, 0 to 1.
    """

    delay_samples: int
    inverted: bool
    correlation: float


def find_shift(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, believe_any: bool = True) -> Shift | None:
    """The delay within ±1 s, and half the shorter signal, at which two signals correlate most.

    The polarity is that of the highest peak: a delay of speech by some milliseconds may well make the
    correlation at no delay negative.

    Args:
        reference, estimate: `(frames, channels)` of as many channels; lengths may differ.
        sample_rate: in Hz.
        believe_any: take the highest peak wherever it is; else only one that is clearly higher than the
            correlation at no delay.

    Returns:
        None where nothing is clear: silence, NaN, or signals that have little in common.
    """
    norm = np.sqrt(np.vdot(reference, reference).astype(float) * np.vdot(estimate, estimate).astype(float))
    if not np.isfinite(norm) or norm == 0:
        return None
    length = min(len(reference), len(estimate))
    here = float(np.vdot(reference[:length], estimate[:length])) / norm
    most = min(round(MAX_DELAY_S * sample_rate), length // 2)
    lags = np.arange(-most, most + 1)
    curve = _correlation(reference, estimate, most) / norm
    best = int(np.abs(curve).argmax())
    peak = float(curve[best])
    if abs(peak) < CLEAR_CORRELATION:
        return None
    if believe_any or _snr_db(peak) >= _snr_db(here) + CLEAR_GAIN_DB:
        return Shift(int(lags[best]), peak < 0, abs(peak))
    return Shift(0, here < 0 and peak < 0, abs(here)) if abs(here) >= CLEAR_CORRELATION else None


def _snr_db(correlation: float) -> float:
    """The SNR of a signal that correlates so with what it should be; limited to ±100 dB."""
    share = min(max(correlation**2, 1e-10), 1 - 1e-10)
    return 10 * math.log10(share / (1 - share))


def _correlation(reference: np.ndarray, estimate: np.ndarray, most: int) -> np.ndarray:
    """Sum over channels of the cross-correlation at the lags -most … most: `(2 most + 1,)`."""
    size = int(scipy.fft.next_fast_len(max(len(reference), len(estimate)) + most + 1, real=True))
    total = np.zeros(2 * most + 1)
    for clean, scored in zip(reference.T, estimate.T, strict=True):
        spectra = [scipy.fft.rfft(signal.astype(np.float64), size) for signal in (scored, clean)]
        curve = scipy.fft.irfft(spectra[0] * spectra[1].conj(), size)
        total += np.concatenate([curve[size - most :], curve[: most + 1]])
    return total
