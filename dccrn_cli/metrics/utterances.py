"""Counts the utterances that PESQ will detect in a reference.

The `pesq` package keeps them in tables of 50 entries without checking for overflow: with more, its
figures are wrong and eventually the process crashes.
"""

from __future__ import annotations

import numpy as np

SAFE_PESQ_S = 19.0
"""Fifty utterances of 0.2 s each, with the pauses between them, do not fit in this time."""

_WINDOW_S, _PADDING = 0.004, 75
_SHORTEST, _LONGEST_GAP, _EDGE, _UTTERANCE = 4, 50, 2, 50
# Input filter of PESQ's speech detector: frequencies in Hz, and gain in dB at them.
_RESPONSE = (
    (0, 50, 100, 150, 200, 250, 300, 400, 500, 700, 1000, 1500, 2000, 2500, 3300, 3600, 4000, 5000, 7000),
    (-99, -68, -41, -25, -13, -5, 1.5, 8, 10, 11, 10, 7.5, 1, -4, -4, -9, -18, -30, -40),
)


def count_utterances(reference: np.ndarray, sample_rate: int) -> int:
    """Count the utterances of at least 0.2 s, as P.862's activity detector separates them.

    Only the magnitude of the detector's input filter is reproduced, so the count may be off by a few.

    Args:
        reference: `(samples,)`, not silent.
    """
    power = _window_powers(reference, sample_rate)
    threshold = float(power.mean())
    power = np.maximum(power, 1e-4 * power.max())
    for _ in range(12):
        quiet = power[power <= threshold]
        threshold = 1.001 * (float(quiet.mean()) + 2 * float(quiet.std())) if len(quiet) else 0.0
    speech = power > threshold
    speech[[0, -1]] = False
    starts, ends = np.flatnonzero(np.diff(speech, prepend=False)).reshape(-1, 2).T
    energies = np.concatenate([[0.0], np.cumsum(power)])

    kept = ends - starts > _SHORTEST
    if speech.any() and power[speech].mean() >= 1000 * power[~speech].mean():
        kept &= energies[ends] - energies[starts] >= 3 * threshold * (ends - starts)
    starts, ends = starts[kept], ends[kept]
    if not len(starts):
        return 1
    parted = starts[1:] - ends[:-1] > _LONGEST_GAP
    starts, ends = starts[np.r_[True, parted]], ends[np.r_[parted, True]]
    return int(np.count_nonzero(ends - starts + 2 * _EDGE >= _UTTERANCE))


def _window_powers(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of each 4 ms window of the filtered signal, padded at both ends: `(windows,)`."""
    length = int(_WINDOW_S * sample_rate)
    spectrum = np.fft.rfft(signal)
    gain = np.interp(np.fft.rfftfreq(len(signal), 1 / sample_rate), *_RESPONSE)
    filtered = np.fft.irfft(spectrum * 10 ** (gain / 20), len(signal))
    filtered = np.pad(filtered, _PADDING * length)
    windows = filtered[: len(filtered) // length * length].reshape(-1, length)
    power: np.ndarray = np.einsum("ij,ij->i", windows, windows) / length
    return power
