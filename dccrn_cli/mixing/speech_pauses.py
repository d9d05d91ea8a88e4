"""Pauses in speech, with noise alone: before it starts, as in recordings, and in the middle of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dccrn_cli.data.speech_level import TINY
from dccrn_cli.mixing.mixing_options import MixingOptions
from dccrn_cli.nn.config import SAMPLE_RATE

SEARCH = int(0.4 * SAMPLE_RATE)
"""Samples that are searched for the best place for a pause."""

_FRAME = SAMPLE_RATE // 100
_AFTER = 10
_FADE = (np.arange(_FRAME // 2, dtype=np.float32) + 1) / (_FRAME // 2 + 1)


@dataclass(frozen=True)
class Pauses:
    """Lengths of pauses in samples.

    Attributes:
        lead: pause before the speech starts.
        silent: initial part of `lead` in which the recording is digital silence.
        inner: pause in the middle of speech.
    """

    lead: int = 0
    silent: int = 0
    inner: int = 0

    @property
    def total(self) -> int:
        """Samples without speech."""
        return self.lead + self.inner

    @property
    def search(self) -> int:
        """Samples of speech that `spread` needs in addition to those it keeps."""
        return SEARCH if self.lead else 0


def draw_pauses(options: MixingOptions, rng: np.random.Generator) -> Pauses:
    """Draw the pauses of an example by `lead_in`, `digital_start` and `pauses`, at most half of its length in all."""
    free = options.samples // 2
    lead = silent = inner = 0
    if rng.random() < options.lead_in:
        lead = _draw(options.lead_in_s, free, rng)
        if rng.random() < options.digital_start:
            silent = int(lead * rng.uniform(0.1, 0.9))
    if rng.random() < options.pauses:
        inner = _draw(options.pause_s, free - lead, rng)
    return Pauses(lead, silent, inner)


def spread(speech: np.ndarray, pauses: Pauses, rng: np.random.Generator) -> np.ndarray:
    """Insert pauses into speech, each moved to an onset nearby so that no word is cut.

    Args:
        speech: float32 `(samples,)`.

    Returns:
        `(samples + pauses.total - pauses.search,)`.
    """
    kept = len(speech) - pauses.search
    if not pauses.total:
        return speech[:kept]
    first = _onset(speech[: pauses.search]) if pauses.lead else 0
    speech = speech[first : first + kept].copy()
    total = np.zeros(kept + pauses.total, np.float32)
    cut = kept
    if pauses.inner:
        cut = int(rng.uniform(0.15, 0.7) * kept)
        cut += _onset(speech[cut : cut + min(SEARCH, kept // 4)])
        _fade_in(speech[cut:])
        _fade_in(speech[:cut][::-1])
    if pauses.lead:
        _fade_in(speech)
    total[pauses.lead : pauses.lead + cut] = speech[:cut]
    total[pauses.total + cut :] = speech[cut:]
    return total


def _draw(span_s: tuple[float, float], free: int, rng: np.random.Generator) -> int:
    """Draw a length in samples from a range in seconds, limited to what is free."""
    low, high = (min(end * SAMPLE_RATE, free) for end in span_s)
    return int(rng.uniform(low, high))


def _onset(x: np.ndarray) -> int:
    """First sample of the 10 ms frame that is quietest relative to the 100 ms after it: the last of a pause."""
    count = len(x) // _FRAME
    if count < _AFTER + 2:
        return 0
    energy = np.square(x[: count * _FRAME].reshape(count, _FRAME)).sum(axis=1, dtype=np.float64)
    energy += 1e-4 * energy.max() + TINY
    sums = np.cumsum(energy)
    return _FRAME * int((energy[:-_AFTER] / (sums[_AFTER:] - sums[:-_AFTER])).argmin())


def _fade_in(x: np.ndarray) -> None:
    """Fade in over 5 ms, in place."""
    x[: len(_FADE)] *= _FADE[: len(x)]
