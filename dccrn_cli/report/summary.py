"""What is reckoned of scores before they are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MAX_CLASSES = 8
_STEPS_DB = (0.1, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class SnrClasses:
    """Input SNRs in classes: the values themselves where they are few, else ranges of equal width.

    Attributes:
        centres: in dB, ascending; empty if no SNR is known.
        step: from centre to centre at the least, dB.
    """

    centres: tuple[float, ...]
    step: float

    @classmethod
    def of(cls, snrs: Iterable[float | None]) -> SnrClasses:
        """The narrowest classes of which there are at most `MAX_CLASSES`."""
        known = np.array([snr for snr in snrs if snr is not None and np.isfinite(snr)])
        for step in _STEPS_DB:
            centres = np.unique(_round(known, step))
            if len(centres) <= MAX_CLASSES:
                break
        return cls(tuple(centres.tolist()), step)

    def members(self, snrs: np.ndarray) -> list[np.ndarray]:
        """For each class, which of these are in it; NaN is in none."""
        rounded = _round(snrs, self.step)
        return [rounded == centre for centre in self.centres]

    @property
    def label(self) -> str:
        """Of an axis of classes, with their width where they are ranges."""
        return "Input SNR in dB" + (f" (±{self.step / 2:g})" if self.step > _STEPS_DB[0] else "")


def _round(snrs: np.ndarray, step: float) -> np.ndarray:
    rounded: np.ndarray = np.round(np.floor(snrs / step + 0.5) * step, 1)
    return rounded


def mean_interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean by Student's t; NaN for fewer than three values."""
    count = len(values)
    if count < 3:
        return float("nan")
    return float(_t_quantile(count - 1) * np.std(values, ddof=1) / np.sqrt(count))


def _t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, expanded around the normal one; 3 % low at worst, for 2 degrees."""
    z = 1.959964
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(z + sum(term / freedom**power for power, term in enumerate(terms, start=1)))
