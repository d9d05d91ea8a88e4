"""Integrated loudness by ITU-R BS.1770-4."""

from __future__ import annotations

import math

import numpy as np

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0

_OFFSET = -0.691
_STEPS_PER_S, _STEPS_PER_BLOCK = 10, 4  # gating blocks of 400 ms, every 100 ms
_CHANNEL_WEIGHTS = {5: (1, 1, 1, 1.41, 1.41), 6: (1, 1, 1, 0, 1.41, 1.41)}


def k_weighting(sample_rate: int) -> np.ndarray:
    """The two filters of K-weighting as second-order sections `(2, 6)`: a shelf for the head, then a high-pass.

    The standard only gives coefficients at 48 kHz; these are derived from the underlying analogue filters
    by the bilinear transform, at any sample rate.
    """
    high_gain = 10 ** (3.999843853973347 / 20)
    mid_gain = high_gain**0.4996667741545416
    k, q = math.tan(math.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    shelf = (
        [high_gain + mid_gain * k / q + k * k, 2 * (k * k - high_gain), high_gain - mid_gain * k / q + k * k],
        [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k],
    )
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    denominator = [1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    high_pass = ([denominator[0], -2 * denominator[0], denominator[0]], denominator)
    return np.array([np.concatenate([b, a]) / a[0] for b, a in (shelf, high_pass)])


class LoudnessMeter:
    """Integrated loudness of a signal in blocks, independent of how it is cut.

    Ten numbers are stored per second.

    Args:
        sample_rate: sample rate in Hz.
        channels: number of channels, in the order L, R, C, Ls, Rs for five and L, R, C, LFE, Ls, Rs for six;
            with any other number all channels have equal weight.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._weights = np.array(_CHANNEL_WEIGHTS.get(channels, (1,) * channels), np.float64)
        self._sos = k_weighting(sample_rate)
        self._state = np.zeros((2, 2, channels))
        self._frames = 0
        self._energies: list[float] = []  # of each step; the last may be incomplete

    def process(self, block: np.ndarray) -> None:
        """Process the next block, floating point `(frames, channels)` with full scale 1.0."""
        from scipy.signal import sosfilt  # only here, since it takes half as long to import as torch

        if not len(block):
            return
        weighted, self._state = sosfilt(self._sos, block.astype(np.float64), axis=0, zi=self._state)
        powers = np.square(weighted) @ self._weights
        first = self._step_of(self._frames)
        last = self._step_of(self._frames + len(block) - 1)
        starts = [max(self._start_of(step) - self._frames, 0) for step in range(first, last + 1)]
        sums = np.add.reduceat(powers, starts)
        if first < len(self._energies):
            self._energies[first] += float(sums[0])
            sums = sums[1:]
        self._energies.extend(sums.tolist())
        self._frames += len(block)

    @property
    def integrated_lufs(self) -> float:
        """Gated loudness of all blocks so far; -inf if nothing is above -70 LUFS.

        A signal shorter than 400 ms, for which the standard defines no loudness, counts as one block.
        """
        return self.lufs_after(0.0)

    def lufs_after(self, gain_db: float) -> float:
        """`integrated_lufs` after a gain, which may move blocks across the absolute gate."""
        whole = self._step_of(self._frames)
        if whole < _STEPS_PER_BLOCK:
            powers = np.array([sum(self._energies) / max(self._frames, 1)])
        else:
            sums = np.convolve(self._energies[:whole], np.ones(_STEPS_PER_BLOCK), "valid")
            bounds = np.array([self._start_of(step) for step in range(whole + 1)])
            powers = sums / (bounds[_STEPS_PER_BLOCK:] - bounds[:-_STEPS_PER_BLOCK])
        powers = powers * 10 ** (gain_db / 10)
        powers = powers[powers > _power(ABSOLUTE_GATE_LUFS)]
        if not len(powers):
            return -math.inf
        gated = powers[powers > powers.mean() * 10 ** (RELATIVE_GATE_LU / 10)]
        return _OFFSET + 10 * math.log10(gated.mean())

    def _start_of(self, step: int) -> int:
        return -(-step * self._rate // _STEPS_PER_S)

    def _step_of(self, frame: int) -> int:
        return frame * _STEPS_PER_S // self._rate


def integrated_loudness(audio: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS, gated, by ITU-R BS.1770-4.

    Args:
        audio: floating point `(frames,)` or `(frames, channels)` with full scale 1.0; five channels are L, R, C, Ls,
            Rs and six are L, R, C, LFE, Ls, Rs.
        sample_rate: sample rate in Hz.

    Returns:
        Loudness in LUFS; -inf if nothing is above -70 LUFS.
    """
    frames = audio[:, None] if audio.ndim == 1 else audio
    meter = LoudnessMeter(sample_rate, frames.shape[1])
    meter.process(frames)
    return meter.integrated_lufs


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET) / 10))
