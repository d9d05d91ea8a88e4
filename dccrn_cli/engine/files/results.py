"""What became of a file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

_LEVELS = (
    "input_level_dbfs",
    "output_level_dbfs",
    "input_lufs",
    "output_lufs",
    "true_peak_dbtp",
    "gain_db",
    "noise_kept_db",
)

Status = Literal["done", "skipped", "failed"]

EXISTS = "exists already"
"""Why a file was skipped that an earlier run has done; there are other reasons."""


@dataclass(frozen=True)
class FileResult:
    """What became of one file.

    Attributes:
        reason: why it was skipped or failed.
        notes: what a user should know about the result.
        seconds: length of its audio.
        elapsed_s: time that it took.
        sample_rate, channels, format, sample_format: of the result; 0 and empty if there is none.
        input_level_dbfs, output_level_dbfs: RMS over the whole file; None for silence.
        clipped: output samples cut at full scale.
        input_lufs, output_lufs, true_peak_dbtp, gain_db: integrated loudness before and after, true peak and gain,
            where a loudness was asked for.
        noise_kept_db: level of the noise in pauses against that of the original, before `gain_db`, where the result
            is for a speech recogniser.
    """

    source: Path
    target: Path
    status: Status
    reason: str = ""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    elapsed_s: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    format: str = ""
    sample_format: str = ""
    input_level_dbfs: float | None = None
    output_level_dbfs: float | None = None
    clipped: int = 0
    input_lufs: float | None = None
    output_lufs: float | None = None
    true_peak_dbtp: float | None = None
    gain_db: float | None = None
    noise_kept_db: float | None = None

    def failed(self, reason: str) -> FileResult:
        """The same file, failed."""
        return replace(self, status="failed", reason=reason)

    def to_record(self) -> dict[str, Any]:
        """Plain data: one flat row."""
        record = asdict(self)
        record.update(
            source=os.fspath(self.source),
            target=os.fspath(self.target),
            notes="; ".join(self.notes),
            seconds=round(self.seconds, 3),
            elapsed_s=round(self.elapsed_s, 4),
        )
        for name in _LEVELS:
            level = record[name]
            record[name] = None if level is None else round(level, 2)
        return record
