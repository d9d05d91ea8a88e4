"""Levels of recordings `(samples,)`."""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.nn.config import SAMPLE_RATE

ACTIVE_RANGE_DB = 40.0
"""Frames within this range of the loudest count as active speech."""

TINY = 1e-9
"""Added to levels to avoid division by zero."""

_FRAMES_PER_S = 50


def rms(x: np.ndarray) -> float:
    """RMS of all samples; 0 if there are none."""
    return math.sqrt(float(np.square(x, dtype=np.float64).mean())) if len(x) else 0.0


def active_rms(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """RMS over the 20 ms frames within `ACTIVE_RANGE_DB` of the loudest."""
    frame = sample_rate // _FRAMES_PER_S
    count = len(x) // frame
    if count == 0:
        return rms(x)
    power = np.square(x[: count * frame].reshape(count, frame)).mean(axis=1)
    active = power[power >= power.max() * 10 ** (-ACTIVE_RANGE_DB / 10)]
    return math.sqrt(float(active.mean()))
