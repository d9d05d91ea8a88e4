"""The report of a batch: a table with one row per file, continued over several runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.errors import StorageError
from dccrn_cli.utils.csv_text import plain_text
from dccrn_cli.utils.records import RecordWriter


class BatchReport:
    """Writes the results of a batch row by row. Earlier rows are kept unless their file is processed again.

    Args:
        path: `.jsonl` or `.csv`.
        jobs: pending jobs.
        skipped: jobs that are already done.

    Attributes:
        incomplete: whether a row could not be written, after which no more are.

    Raises:
        OptionError: the file has another suffix or cannot be written.
    """

    def __init__(self, path: Path, jobs: Iterable[Job], skipped: Iterable[Job]) -> None:
        redone = {plain_text(str(job.source)) for job in jobs}
        planned = redone | {plain_text(str(job.source)) for job in skipped}

        def stale(row: Mapping[str, Any]) -> bool:
            return row["source"] in redone or (row["source"] in planned and row["status"] != "done")

        self._table = RecordWriter(path, [field.name for field in fields(FileResult)], stale)
        self.incomplete = False

    def __enter__(self) -> BatchReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()

    def add(self, result: FileResult) -> None:
        """Write the row of a file, unless an earlier run has done so.

        Raises:
            StorageError: the row cannot be written. No more rows are written after that, so the table has no gap.
        """
        record = result.to_record()
        if self.incomplete or (result.status == "skipped" and plain_text(record["source"]) in self._table.kept):
            return
        try:
            self._table.write(record)
        except StorageError:
            self.incomplete = True
            raise
