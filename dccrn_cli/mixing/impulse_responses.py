"""Preparation of measured impulse responses, and simulated exponential decays."""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.data.speech_level import TINY
from dccrn_cli.mixing.effects import convolve
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


def early_part(response: np.ndarray, direct: int, target: str) -> np.ndarray:
    """The part of a response that a target contains.

    Args:
        response: `(samples,)`.
        direct: index of the peak of the direct sound.
        target: `reverberant` for the whole response, `early` for up to `EARLY_S` after the peak, `dry` for up to
            `DIRECT_S`.
    """
    if target == "reverberant":
        return response
    after_s = EARLY_S if target == "early" else DIRECT_S
    return response[: direct + 1 + round(after_s * SAMPLE_RATE)]


def draw_t60_s(rng: np.random.Generator) -> float:
    """Draw a reverberation time of 0.15 to 3 s, log-uniformly."""
    return float(0.15 * 20 ** rng.random())


def simulated_decay(t60_s: float, rng: np.random.Generator, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Direct sound and an exponentially decaying tail, float32 `(samples,)`."""
    time = np.arange(int(min(t60_s, ROOM_S) * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / t60_s)
    tail[: int(rng.uniform(0.001, 0.01) * sample_rate)] = 0
    tail = convolve(tail.astype(np.float32), np.array([1, rng.uniform(0, 0.9)], np.float32))
    direct_to_tail_db = rng.uniform(-6, 12)
    tail *= 10 ** (-direct_to_tail_db / 20) / (math.sqrt(float(np.square(tail).sum())) + TINY)
    tail[0] += 1
    return tail.astype(np.float32)
