"""Noise of the original that remains in the pauses of a result."""

from __future__ import annotations

import math

import numpy as np

from dccrn_cli.audio.sample_queue import SampleQueue

FRAME_S = 0.02
PAUSE_DB = -20.0
"""A frame that the network attenuates to below this level, relative to the input, counts as a pause."""


class PauseMeter:
    """Measures a result relative to its original over the frames in which the network finds no speech.

    Args:
        sample_rate: sample rate in Hz.
        channels: number of channels.
        dry: share of the original in the result, which is subtracted to recover the network's output.
    """

    def __init__(self, sample_rate: int, channels: int, dry: float) -> None:
        self._frame = max(round(FRAME_S * sample_rate), 1)
        self._dry = dry
        self._original, self._result = SampleQueue(channels), SampleQueue(channels)
        self._waiting = 0
        self._before = self._after = 0.0

    def hear(self, original: np.ndarray) -> None:
        """Add a block of the original, `(frames, channels)`."""
        self._original.push(original)

    def add(self, result: np.ndarray) -> None:
        """Add a block of the result, `(frames, channels)`."""
        self._result.push(result)
        self._waiting += len(result)
        frames = self._waiting // self._frame
        if not frames or self._dry >= 1.0:
            return
        self._waiting -= frames * self._frame
        shape = (frames, -1)
        before = self._original.pop(frames * self._frame).astype(np.float64).reshape(shape)
        after = self._result.pop(frames * self._frame).astype(np.float64).reshape(shape)
        network = (after - self._dry * before) / (1.0 - self._dry)
        energy, kept, alone = (np.square(signal).sum(axis=1) for signal in (before, after, network))
        pause = alone < 10 ** (PAUSE_DB / 10) * energy
        self._before += float(energy[pause].sum())
        self._after += float(kept[pause].sum())

    @property
    def noise_kept_db(self) -> float | None:
        """Level of the result relative to the original in pauses, in dB; None without pauses."""
        return 10 * math.log10(self._after / self._before) if self._before and self._after else None
