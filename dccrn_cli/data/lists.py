"""Lists of recordings: text with one path per line, tables with a path column, or Kaldi's `id path` lines."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from dccrn_cli.errors import DataError
from dccrn_cli.utils.paths import is_file

LIST_SUFFIXES = frozenset({".txt", ".lst", ".scp", ".csv"})
"""File name suffixes of lists."""

METADATA = "metadata.csv"
"""Table beside the recordings of a set, with a row for each."""

_COLUMNS = ("path", "file", "filename", "filepath", "wav", "audio")
_NAMED = 5


def read_list(path: Path) -> list[tuple[str, Path]]:
    """Names and paths of the files in a list, in order.

    Paths are relative to the list's folder; lines that start with # are skipped. A table's path column is
    the one called path, file, filename, filepath, wav or audio, otherwise the first. A name is the path
    relative to the list's folder, or the full path of a file elsewhere.

    Raises:
        DataError: the list cannot be read, or names files that do not exist.
    """
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff").splitlines()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from None
    lines = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    folder = path.parent
    entries = _column(lines, folder) if path.suffix.lower() == ".csv" else [_entry(line, folder) for line in lines]
    missing = [entry or "an empty line" for entry in entries if not is_file(folder / entry)]
    if missing:
        others = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise DataError(f"lists paths that are not files: {', '.join(missing[:_NAMED])}{others}", path)
    return [(_name(entry, folder), folder / entry) for entry in entries]


def _column(lines: list[str], folder: Path) -> list[str]:
    rows = [row for row in csv.reader(lines, skipinitialspace=True) if row]
    if not rows:
        return []
    header = [cell.strip().lower() for cell in rows[0]]
    place = next((header.index(name) for name in _COLUMNS if name in header), None)
    if place is not None and not is_file(folder / rows[0][place]):
        rows = rows[1:]
    return [row[place or 0].strip() if len(row) > (place or 0) else "" for row in rows]


def _entry(line: str, folder: Path) -> str:
    """The path in a line, which may follow a Kaldi id."""
    if is_file(folder / line):
        return line
    _, *rest = line.split(maxsplit=1)
    return rest[0] if rest and is_file(folder / rest[0]) else line


def _name(entry: str, folder: Path) -> str:
    whole, base = (Path(os.path.abspath(path)) for path in (folder / entry, folder))
    return whole.relative_to(base if whole.is_relative_to(base) else whole.anchor).as_posix()
