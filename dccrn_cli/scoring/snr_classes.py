"""Classes of input SNRs, shared by tables and pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dccrn_cli.scoring.measurement import Record

CLASS_DB = 5.0
"""Width of classes if the SNRs do not form classes themselves."""

MAX_CLASSES = 24
"""More distinct SNRs than this do not count as classes."""

_EXACT_DB = 0.1


@dataclass(frozen=True)
class SnrClasses:
    """Input SNRs in classes: the values themselves if they are few and not measured, otherwise ranges of 5 dB.

    Attributes:
        centres: centres in dB, ascending; empty if no SNR is known.
        step: width in dB.
    """

    centres: tuple[float, ...]
    step: float

    @classmethod
    def of(cls, snrs_db: Iterable[float | None], measured: bool = False) -> SnrClasses:
        """Choose classes for these SNRs.

        Args:
            snrs_db: SNR of each file, or None.
            measured: whether some were measured, so that no two are equal.
        """
        known = [snr_db for snr_db in snrs_db if snr_db is not None and math.isfinite(snr_db)]
        step = CLASS_DB if measured else _EXACT_DB
        if len({_rounded(snr_db, step) for snr_db in known}) > MAX_CLASSES:
            step = CLASS_DB
        while len(centres := sorted({_rounded(snr_db, step) for snr_db in known})) > MAX_CLASSES:
            step *= 2
        return cls(tuple(centres), step)

    @classmethod
    def of_records(cls, records: Sequence[Record]) -> SnrClasses:
        """Choose classes for all files that have a partner."""
        paired = [record for record in records if record["status"] != "unmatched"]
        return cls.of(
            (record["snr_db"] for record in paired), any(record["snr_source"] == "measured" for record in paired)
        )

    def find(self, snr_db: float | None) -> float | None:
        """The centre of the class of an SNR; None if the SNR is unknown or infinite."""
        return None if snr_db is None or not math.isfinite(snr_db) else _rounded(snr_db, self.step)

    @property
    def label(self) -> str:
        """Label for an axis of classes, with their width if they are ranges."""
        return "Input SNR in dB" + (f" (±{self.step / 2:g})" if self.step > _EXACT_DB else "")


def _rounded(snr_db: float, step: float) -> float:
    return round(math.floor(snr_db / step + 0.5) * step, 1) + 0.0
