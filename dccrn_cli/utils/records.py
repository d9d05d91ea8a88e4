"""Tables with one row per file, written row by row as JSON Lines or CSV."""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.utils.atomic import open_no_link
from dccrn_cli.utils.csv_text import csv_line, plain_data, read_csv
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.paths import path_kind, reason
from dccrn_cli.utils.storage import write_whole


class RecordWriter:
    """A table on disk that is complete after every row, whatever happens next.

    An existing table is continued: its rows are kept except `stale` ones, and a row cut off by a kill is
    dropped. Only one run at a time may write a table. File names are encoded as described in
    `dccrn_cli.utils.csv_text`.

    Args:
        path: `.jsonl` or `.csv`.
        fields: column names; the first column identifies rows.
        stale: tells whether to drop an earlier row, whose values are text if it comes from CSV.

    Attributes:
        kept: values of the first column in the earlier rows that were kept.

    Raises:
        OptionError: unsupported suffix, a path that is something else or cannot be written, or another
            run is writing the table.
    """

    def __init__(self, path: Path, fields: Sequence[str], stale: Callable[[Mapping[str, Any]], bool]) -> None:
        self.path = path
        self._fields = list(fields)
        self._is_csv = path.suffix.lower() == ".csv"
        if not self._is_csv and path.suffix.lower() not in (".jsonl", ".ndjson"):
            raise OptionError("a report must be .jsonl or .csv", path)
        kind, why = path_kind(path)
        if kind not in ("file", "missing"):
            raise OptionError(why or "is a folder; a file name is needed", path)
        try:
            self._lock = RunLock(path)
        except StorageError as error:
            raise OptionError(error.message, path) from None
        try:
            before = [row for row in self._read() if not stale(row)]
            self.kept = {row[self._fields[0]] for row in before}
            head = csv_line(self._fields) if self._is_csv else ""
            write_whole(path, (head + "".join(map(self._line, before))).encode())
            self._file: BinaryIO = open(path, "ab", buffering=0, opener=open_no_link)  # noqa: SIM115
            self._whole = self._file.tell()
        except (OSError, StorageError, OptionError) as error:
            self._lock.release()
            if isinstance(error, OptionError):
                raise
            message = error.message if isinstance(error, StorageError) else f"cannot be written ({reason(error)})"
            raise OptionError(message, path) from None

    def _read(self) -> list[dict[str, Any]]:
        if path_kind(self.path)[0] == "missing":
            return []
        text = self.path.read_bytes().decode("utf-8", "surrogateescape")
        whole = text[: text.rfind("\n") + 1]
        if not whole:
            return []
        rows: list[dict[str, Any]] = []
        try:
            if self._is_csv:
                names, found = read_csv(whole)
                rows, columns = [dict(row) for row in found], [names]
            else:
                rows = [json.loads(line) for line in whole.split("\n") if line]
                columns = [list(row) for row in rows]
        except (ValueError, TypeError, RecursionError, csv.Error):
            columns = [[]]
        if any(names != self._fields for names in columns):
            raise OptionError("exists but is not an earlier report; choose another name", self.path)
        return rows

    def _line(self, row: Mapping[str, Any]) -> str:
        if self._is_csv:
            return csv_line(row[name] for name in self._fields)
        return json.dumps(plain_data(dict(row)), ensure_ascii=False) + "\n"

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row.

        Raises:
            StorageError: the row cannot be written; earlier rows stay intact.
        """
        data = self._line(row).encode()
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, "No space left on device")
            self._whole += len(data)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._whole)
            raise StorageError(f"cannot be written: {reason(error)}", self.path) from error

    def close(self) -> None:
        """Close the table."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._lock.release()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
