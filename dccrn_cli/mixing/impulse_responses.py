"""What is done with the impulse responses of rooms, measured or simulated: their start, and the part in a target."""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.data.speech_level import TINY
from dccrn_cli.nn.config import SAMPLE_RATE

ROOM_S = 2.0
"""Longest impulse response used."""

EARLY_S = 0.05
"""Reflections within this time after the direct sound help intelligibility; later ones do not."""

DIRECT_S = 0.0025
"""Time after the peak of a response that counts as direct sound."""


def from_direct_sound(response: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """An impulse response cut to start shortly before its highest peak, normalised to unit energy."""
    lead = 16  # samples of ringing that a resampler leaves before the peak
    start = max(int(np.abs(response).argmax()) - lead, 0)
    response = response[start : start + int(ROOM_S * sample_rate)]
    return response / (math.sqrt(float(np.square(response).sum())) + TINY)


def early_part(response: np.ndarray, direct: int, target: str, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The part of a response that a target contains.

    Args:
        response: `(samples,)`.
        direct: index of the peak of the direct sound.
        target: `reverberant` for the whole response, `early` for up to `EARLY_S` after the peak, `dry` for up to
            `DIRECT_S`.
        sample_rate: of the response, in Hz.
    """
    if target == "reverberant":
        return response
    after_s = EARLY_S if target == "early" else DIRECT_S
    return response[: direct + 1 + round(after_s * sample_rate)]
