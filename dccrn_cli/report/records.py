"""Tables of one row per file, written row by row, as JSON lines or CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from dccrn_cli.errors import OptionError

Record = Mapping[str, Any]


class RecordWriter:
    """A table on disk that is whole after every row, whatever happens next.

    A table that is there already goes on: its rows are kept but for those that are `stale`, and a
    row cut off by a kill is dropped.

    Args:
        path: `.jsonl` or `.csv`.
        fields: names of the columns; the first tells rows apart.
        stale: says of an earlier row, whose values are text if it comes from CSV, that it goes.

    Attributes:
        kept: first column of the earlier rows that stay.

    Raises:
        OptionError: another suffix, something else under that name, or it cannot be written.
    """

    def __init__(self, path: Path, fields: Sequence[str], stale: Callable[[Record], bool]) -> None:
        self.path = path
        self._fields = list(fields)
        self._is_csv = path.suffix.lower() == ".csv"
        if not self._is_csv and path.suffix.lower() not in (".jsonl", ".ndjson"):
            raise OptionError("a report is .jsonl or .csv", path)
        try:
            before = [row for row in self._read() if not stale(row)]
            self.kept = {row[self._fields[0]] for row in before}
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
            with _open(temporary, "w") as file:
                self._begin(file, before)
            os.replace(temporary, path)
            self._file = _open(path, "a")
        except OSError as error:
            raise OptionError(f"cannot be written ({error.strerror})", path) from None

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        with _open(self.path, "r") as file:
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        if not whole:
            return []
        try:
            if self._is_csv:
                reader = csv.DictReader(io.StringIO(whole, newline=""))
                rows, columns = list(reader), [list(reader.fieldnames or [])]
            else:
                rows = [json.loads(line) for line in whole.split("\n") if line]
                columns = [list(row) for row in rows]
        except (ValueError, TypeError, csv.Error):
            columns = [[]]
        if any(names != self._fields for names in columns):
            raise OptionError("is something else than an earlier report; choose another name", self.path)
        return rows

    def _begin(self, file: TextIO, rows: Iterable[Record]) -> None:
        if self._is_csv:
            csv.writer(file, lineterminator="\n").writerow(self._fields)
        for row in rows:
            self._put(file, row)

    def _put(self, file: TextIO, row: Record) -> None:
        if self._is_csv:
            csv.DictWriter(file, self._fields, lineterminator="\n").writerow(row)
        else:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def write(self, row: Record) -> None:
        """Add a row."""
        self._put(self._file, row)
        self._file.flush()

    def close(self) -> None:
        """Close the table."""
        self._file.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path, mode: str) -> TextIO:
    # Names of files need not be text: what is not goes through as it came.
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="")  # type: ignore[return-value]
