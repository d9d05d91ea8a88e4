"""The report of a batch: a table with one row per file, continued over several runs."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

from dccrn_cli.engine.files.journal import Journal
from dccrn_cli.engine.files.plan import Job
from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.errors import StorageError
from dccrn_cli.utils.csv_text import plain_text
from dccrn_cli.utils.records import RecordWriter

_Key = tuple[str, str]


class BatchReport:
    """Writes the results of a batch row by row. Earlier rows are kept unless their file is processed again.

    Rows of files that were finished when an earlier run was stopped are taken from its journal, so stopping and
    resuming gives the same rows as a run without a stop.

    Args:
        path: `.jsonl` or `.csv`.
        jobs: pending jobs.
        skipped: jobs that are already done.

    Attributes:
        journal: where workers note rows before results get their names.
        incomplete: whether a row could not be written, after which no more are.

    Raises:
        OptionError: the file has another suffix or cannot be written.
    """

    def __init__(self, path: Path, jobs: Iterable[Job], skipped: Iterable[Job]) -> None:
        jobs, skipped = list(jobs), list(skipped)
        sources = Counter(plain_text(str(job.source)) for job in (*jobs, *skipped))
        # A source has several rows if its tracks are written separately.
        self._several = {source for source, count in sources.items() if count > 1}
        redone = {self._key(job.source, job.target) for job in jobs}
        planned = redone | {self._key(job.source, job.target) for job in skipped}
        self._kept: set[_Key] = set()

        def stale(row: Mapping[str, Any]) -> bool:
            key = self._key(row["source"], row["target"])
            if key in redone or (key in planned and row["status"] != "done"):
                return True
            self._kept.add(key)
            return False

        self._table = RecordWriter(path, [field.name for field in fields(FileResult)], stale)
        self.journal = Journal(path)
        self._pending = {os.path.abspath(job.target): job for job in (*jobs, *skipped)}
        self.incomplete = False

    def _key(self, source: object, target: object) -> _Key:
        name = plain_text(str(source))
        return name, plain_text(str(target)) if name in self._several else ""

    def __enter__(self) -> BatchReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, result: FileResult) -> None:
        """Write the row of a file, unless an earlier run has done so.

        Raises:
            StorageError: the row cannot be written. No more rows are written after that, so the table has no gap.
        """
        self._pending.pop(os.path.abspath(result.target), None)
        record: dict[str, Any] | None = result.to_record()
        if result.status == "skipped":
            record = self._noted(result.source, result.target) or record
            if self._key(result.source, result.target) in self._kept:
                record = None
        if not self.incomplete and record is not None:
            self._write(record)
        if not self.incomplete and (record is None or record["status"] != "skipped"):
            self.journal.remove(result.target)

    def close(self) -> None:
        """Add the rows of files that were finished while the run was being stopped, and close the table.

        A row that cannot be written stays in the journal for the next run.
        """
        try:
            with contextlib.suppress(StorageError):
                if not self.incomplete:
                    self._add_noted()
            self.journal.close()
        finally:
            self._table.close()

    def _add_noted(self) -> None:
        for target, job in list(self._pending.items()):
            if record := self._noted(job.source, job.target):
                self._write(record)
                self.journal.remove(job.target)
                del self._pending[target]
        # Other notes of a stopped run are left to the next one, since workers may still be at it.
        if not self._pending:
            for record in self.journal.take_rest():
                if self._key(record["source"], record["target"]) not in self._kept:
                    self._write(record)

    def _noted(self, source: Path, target: Path) -> dict[str, Any] | None:
        """The row that an earlier run or a stopped worker noted for this file, under its names in this run."""
        row = self.journal.row_of(target)
        return None if row is None else {**row, "source": os.fspath(source), "target": os.fspath(target)}

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            self._table.write(record)
        except StorageError:
            self.incomplete = True
            raise
        self._kept.add(self._key(record["source"], record["target"]))
