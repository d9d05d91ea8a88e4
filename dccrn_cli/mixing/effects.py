"""Effects applied while mixing: filters, speed, clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
import soxr

from dccrn_cli.nn.config import SAMPLE_RATE


def change_speed(x: np.ndarray, factor: float) -> np.ndarray:
    """`x` played `factor` times as fast, float32."""
    return np.asarray(soxr.resample(x, SAMPLE_RATE * factor, SAMPLE_RATE, quality="MQ"), dtype=np.float32)


def convolve(x: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve `x` with an impulse response, cut to the length of `x`."""
    size = 1 << (len(x) + len(response) - 1).bit_length()
    y = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response, size), size)
    return np.asarray(y[: len(x)], dtype=np.float32)


def low_pass(x: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Remove everything above the cutoff, with a transition band of 200 Hz."""
    size = fft_size(len(x))
    gain = np.clip((cutoff_hz + 200 - np.fft.rfftfreq(size, 1 / SAMPLE_RATE)) / 200, 0, 1)
    y = np.fft.irfft(np.fft.rfft(x, size) * gain.astype(np.float32), size)[: len(x)]
    return np.asarray(y, dtype=np.float32)


@dataclass(frozen=True)
class Equaliser:
    """A spectral tilt and one resonance.

    Attributes:
        tilt_db: tilt per octave.
        peak_db: gain of the resonance.
        centre_octaves: its centre, relative to 1 kHz.
        width_octaves: its width.
    """

    tilt_db: float
    peak_db: float
    centre_octaves: float
    width_octaves: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Equaliser:
        """Draw one at random, with up to 4 dB of tilt per octave and up to 8 dB of resonance, of either sign."""
        return cls(rng.uniform(-4, 4), rng.uniform(-8, 8), rng.uniform(-3.5, 3), rng.uniform(0.3, 1.5))

    def gain(self, size: int) -> np.ndarray:
        """Gain per bin of an FFT of `size`, float32 `(size // 2 + 1,)`."""
        octaves = _octaves(size)
        bump = np.exp(-np.square((octaves - np.float32(self.centre_octaves)) / np.float32(self.width_octaves)))
        gain_db = np.float32(self.tilt_db) * octaves + np.float32(self.peak_db) * bump
        gain: np.ndarray = np.exp(gain_db * np.float32(math.log(10) / 20))
        return gain


@lru_cache(maxsize=16)
def _octaves(size: int) -> np.ndarray:
    freq = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 60)
    return np.asarray(np.log2(freq / 1000), dtype=np.float32)


def filtered(
    x: np.ndarray, responses: Sequence[np.ndarray | None], equaliser: Equaliser | None = None
) -> list[np.ndarray]:
    """Filter `x` with each impulse response (None: unchanged), then the equaliser, cut to the length of `x`.

    All share one transform of `x`, for example a talker as heard in a room and as the training target.
    """
    longest = max((len(response) for response in responses if response is not None), default=1)
    if longest == 1 and equaliser is None:
        return [x for _ in responses]
    size = fft_size(len(x) + longest - 1)
    spectrum = np.fft.rfft(x, size)
    if equaliser is not None:
        spectrum *= equaliser.gain(size)
    results: dict[int, np.ndarray] = {}
    for response in responses:
        if id(response) not in results:
            shaped = spectrum if response is None else spectrum * np.fft.rfft(response, size)
            results[id(response)] = np.fft.irfft(shaped, size)[: len(x)].astype(np.float32)
    return [results[id(response)] for response in responses]


@lru_cache(maxsize=1024)
def fft_size(length: int) -> int:
    """The smallest size of at least `length` whose prime factors are all 2, 3 or 5."""
    return int(scipy.fft.next_fast_len(max(length, 1), real=True))


def clip_peaks(x: np.ndarray, depth_db: float) -> np.ndarray:
    """Clip `x` at `depth_db` below its highest peak, like a recorder with too much gain."""
    limit = float(np.abs(x).max()) * 10 ** (-depth_db / 20)
    return np.asarray(np.clip(x, -limit, limit))
