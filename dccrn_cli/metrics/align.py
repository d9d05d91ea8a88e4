"""A constant delay between two signals, by cross-correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_DELAY_S = 1.0
"""How far a delay is searched, to both sides."""

CLEAR_CORRELATION = 0.1
"""Below this, a peak says nothing."""

_BETTER = 1.25  # by which another delay must correlate better than none


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


def find_shift(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, always: bool = True, below: float = 1.0
) -> Shift | None:
    """The delay within ±1 s, and half the shorter signal, at which two signals correlate most.

    Args:
        reference, estimate: `(frames, channels)` of as many channels; lengths may differ.
        sample_rate: in Hz.
        always: search whatever the correlation is without delay.
        below: else search only where that is smaller in size.

    Returns:
        None where nothing is clear: silence, NaN, or signals that have little in common.
    """
    norm = np.sqrt(np.vdot(reference, reference).astype(float) * np.vdot(estimate, estimate).astype(float))
    if not np.isfinite(norm) or norm == 0:
        return None
    length = min(len(reference), len(estimate))
    here = float(np.vdot(reference[:length], estimate[:length])) / norm
    none = Shift(0, here < 0, abs(here)) if abs(here) >= CLEAR_CORRELATION else None
    if not always and abs(here) >= below:
        return none
    most = min(round(MAX_DELAY_S * sample_rate), length // 2)
    lags = np.arange(-most, most + 1)
    curve = _correlation(reference, estimate, most) / norm
    best = int(np.abs(curve).argmax())
    peak = float(curve[best])
    if abs(peak) < CLEAR_CORRELATION:
        return none
    if not always and abs(peak) < _BETTER * abs(here):
        return none
    return Shift(int(lags[best]), peak < 0, abs(peak))


def _correlation(reference: np.ndarray, estimate: np.ndarray, most: int) -> np.ndarray:
    """Sum over channels of the cross-correlation at the lags -most … most: `(2 most + 1,)`."""
    size = 1 << (max(len(reference), len(estimate)) + most).bit_length()
    total = np.zeros(2 * most + 1)
    for clean, scored in zip(reference.T, estimate.T, strict=True):
        product = np.fft.rfft(scored.astype(np.float64), size) * np.fft.rfft(clean.astype(np.float64), size).conj()
        curve = np.fft.irfft(product, size)
        total += np.concatenate([curve[size - most :], curve[: most + 1]])
    return total
