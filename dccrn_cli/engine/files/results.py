"""Results of enhancing files."""

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

EXISTS = "already exists"
"""Reason for skipping a file done by an earlier run; there are other reasons."""


@dataclass(frozen=True)
class FileResult:
    """Result for one file.

    Attributes:
        reason: why it was skipped or failed.
        notes: notes on the result.
        seconds: length of the audio.
        elapsed_s: processing time.
        sample_rate, channels, format, sample_format: format of the result; 0 or empty if there is none.
        input_level_dbfs, output_level_dbfs: RMS over the whole file; None for silence.
        clipped: number of output samples clipped at full scale.
        input_lufs, output_lufs, true_peak_dbtp, gain_db: integrated loudness before and after, true peak and gain, if
            a loudness was requested.
        noise_kept_db: level of the noise in pauses relative to the original, before `gain_db`, if the result is meant
            for a speech recogniser.
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
        """A copy with status `failed` and this reason."""
        return replace(self, status="failed", reason=reason)

    def to_record(self) -> dict[str, Any]:
        """Convert to plain data: one flat row."""
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
