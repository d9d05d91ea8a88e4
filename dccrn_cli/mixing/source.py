"""Sources of training examples: the same number always gives the same example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from dccrn_cli.data.pairs import Pair
from dccrn_cli.data.speech_level import TINY, active_rms
from dccrn_cli.mixing.mixing_options import MixingOptions


class ExampleSource(ABC):
    """Makes pairs of noisy and clean speech, each fully determined by the seed and its number.

    Attributes:
        options: how examples are made, and their length.
        seed: seed of all random choices.
        unreadable: clips that could not be read so far, with the reasons.
    """

    def __init__(self, options: MixingOptions, seed: int) -> None:
        self.options = options
        self.seed = seed

    @property
    def unreadable(self) -> dict[str, str]:
        """Empty, unless the source reads clips on the fly."""
        return {}

    @abstractmethod
    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Example `number`: noisy and clean, float32 `(samples,)`."""

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch `number`: noisy and clean, float32 `(size, samples)`."""
        pairs = [self.example(number * size + index) for index in range(size)]
        noisy, clean = zip(*pairs, strict=True)
        return np.stack(noisy), np.stack(clean)


def mixed_pairs(source: ExampleSource, count: int) -> list[Pair]:
    """Fixed pairs from a source: its first `count` examples."""
    return [Pair(f"mix_{number:03}", *source.example(number)) for number in range(count)]


class Blend(ExampleSource):
    """Mixes the examples of several sources by their shares.

    Args:
        sources: sources with their relative shares; the options are those of the first.
        seed: seed of the choice of source.

    Attributes:
        sources: sources with their relative shares.
    """

    def __init__(self, sources: Sequence[tuple[ExampleSource, float]], seed: int) -> None:
        super().__init__(sources[0][0].options, seed)
        self.sources = tuple(sources)
        self._ends = np.cumsum([share for _, share in sources])

    @property
    def unreadable(self) -> dict[str, str]:
        """Unreadable clips of all sources."""
        return {clip: reason for source, _ in self.sources for clip, reason in source.unreadable.items()}

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Example `number` of a source chosen by the seed."""
        place = np.random.default_rng((self.seed, number)).random() * self._ends[-1]
        source, _ = self.sources[int(np.searchsorted(self._ends, place, side="right"))]
        return source.example(number)


class RecordedPairs(ExampleSource):
    """Excerpts of recorded pairs at random levels.

    Args:
        pairs: aligned noisy and clean speech.
    """

    def __init__(self, pairs: Sequence[Pair], options: MixingOptions, seed: int) -> None:
        super().__init__(options, seed)
        self._pairs = pairs
        lengths = np.array([len(pair.clean) for pair in pairs], dtype=float)
        self._ends = np.cumsum(lengths / lengths.sum())

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """An excerpt of a pair, drawn in proportion to its length; shorter pairs are padded with silence."""
        rng = np.random.default_rng((self.seed, number))
        size = self.options.samples
        noisy, clean = np.zeros((2, size), np.float32)
        for _ in range(8):
            pair = self._pairs[min(int(np.searchsorted(self._ends, rng.random())), len(self._pairs) - 1)]
            start = int(rng.integers(max(len(pair.clean) - size, 0) + 1))
            part = slice(start, start + size)
            if active_rms(pair.clean[part]) > TINY:  # a pause teaches little
                break
        clean[: len(pair.clean[part])] = pair.clean[part]
        noisy[: len(pair.noisy[part])] = pair.noisy[part]
        gain = 10 ** (rng.uniform(*self.options.level_db) / 20) / (active_rms(clean) + TINY)
        gain = min(gain, 0.99 / (float(np.abs(noisy).max()) + TINY))
        return noisy * np.float32(gain), clean * np.float32(gain)
