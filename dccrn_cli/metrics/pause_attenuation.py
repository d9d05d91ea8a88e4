"""Noise left in the pauses of speech."""

from __future__ import annotations

import numpy as np

from dccrn_cli.errors import MetricError
from dccrn_cli.metrics.checks import check_pair, check_signal
from dccrn_cli.metrics.frames import blocks, dots, framed

PAUSE_FRAME_S = 0.032
PAUSE_DB = 50.0
"""Frames of the reference this far below its loudest frame are pauses."""

_FLOOR = 1e-12
"""Energy that counts as zero, relative to the loudest frame of the noisy signal."""


def pause_attenuation(
    reference: np.ndarray, estimate: np.ndarray, noisy: np.ndarray, sample_rate: int = 16_000
) -> float:
    """Energy of the estimate relative to the noisy signal in the pauses of the reference, in dB; lower is better.

    Summed over all pauses, in Hann-windowed frames of 32 ms every 16 ms; at least -120 dB. All signals are float
    arrays `(samples,)`.

    Raises:
        MetricError: the reference is silent or has no pauses, there is no noise in them, or there is less than
            one frame.
    """
    reference, estimate = check_pair(reference, estimate)
    _, noisy = check_pair(reference, check_signal(noisy, "noisy signal"))
    length = round(PAUSE_FRAME_S * sample_rate)
    hop = length // 2
    count = 1 + (len(reference) - length) // hop
    if count < 1:
        raise MetricError("shorter than 32 ms")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    clean, left, heard = (_energies(signal, window, hop, count) for signal in (reference, estimate, noisy))
    pauses = clean <= clean.max() * 10 ** (-PAUSE_DB / 10)
    before = float(heard[pauses].sum())
    if not pauses.any() or before <= _FLOOR * heard.max():
        raise MetricError("no pauses with noise in them")
    return float(10 * np.log10(max(float(left[pauses].sum()) / before, _FLOOR)))


def _energies(signal: np.ndarray, window: np.ndarray, hop: int, count: int) -> np.ndarray:
    parts = []
    for block in blocks(count):
        frames = framed(signal, window, hop, *block)
        parts.append(dots(frames, frames))
    return np.concatenate(parts)
