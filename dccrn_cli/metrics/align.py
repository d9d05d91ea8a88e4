"""Finds a constant delay between two signals by cross-correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft

MAX_DELAY_S = 1.0
"""Largest delay considered, in either direction."""

CLEAR_CORRELATION = 0.1
"""Peaks below this are not significant."""

CLEAR_GAIN_DB = 1.0
"""Minimum gain in SNR, as implied by the correlation, for a delay to be accepted."""


@dataclass(frozen=True)
class Shift:
    """Time shift of an estimate relative to its reference.

    Attributes:
        delay_samples: delay of the estimate; negative if it leads.
        inverted: the estimate has inverted polarity.
        correlation: absolute correlation at that delay, 0 to 1.
    """

    delay_samples: int
    inverted: bool
    correlation: float


def find_shift(reference: np.ndarray, estimate: np.ndarray, sample_rate: int, believe_any: bool = True) -> Shift | None:
    """Find the delay of highest correlation within ±1 s, or half of the shorter signal if that is less.

    The polarity is taken from the highest peak: a delay of a few milliseconds can make the correlation of
    speech at zero delay negative.

    Args:
        reference, estimate: `(frames, channels)` with the same number of channels; lengths may differ.
        sample_rate: sample rate in Hz.
        believe_any: accept the highest peak wherever it is; otherwise only if it is clearly higher than the
            correlation at zero delay.

    Returns:
        None if there is no significant peak: silence, NaN, or signals with little in common.
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
    """SNR implied by the correlation of a signal with its reference, limited to ±100 dB."""
    share = min(max(correlation**2, 1e-10), 1 - 1e-10)
    return 10 * math.log10(share / (1 - share))


def _correlation(reference: np.ndarray, estimate: np.ndarray, most: int) -> np.ndarray:
    """Cross-correlation summed over channels at lags -most … most: `(2 most + 1,)`."""
    size = int(scipy.fft.next_fast_len(max(len(reference), len(estimate)) + most + 1, real=True))
    total = np.zeros(2 * most + 1)
    for clean, scored in zip(reference.T, estimate.T, strict=True):
        spectra = [scipy.fft.rfft(signal.astype(np.float64), size) for signal in (scored, clean)]
        curve = scipy.fft.irfft(spectra[0] * spectra[1].conj(), size)
        total += np.concatenate([curve[size - most :], curve[: most + 1]])
    return total
