"""Groups files by SNR, folder or metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dccrn_cli.data.lists import METADATA
from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.measurement import Record
from dccrn_cli.scoring.pairing import FilePair, read_table
from dccrn_cli.scoring.snr_classes import SnrClasses
from dccrn_cli.utils.paths import is_file

SNR, FOLDER = "snr", "folder"
"""Columns that need no metadata."""

_NAME_COLUMNS = ("name", "file", "filename", "file_name", "noisy", "est", "id")
_SNR_NAME = re.compile(r"(?:^|[^a-z])snr[ _=]?([+-]?\d+(?:\.\d+)?)", re.IGNORECASE)
_DB_NAME = re.compile(r"(?:(?<![a-z0-9])([+-]))?(?<![\d.])(\d+(?:\.\d+)?) ?db(?![a-z])", re.IGNORECASE)


def snr_in_name(name: str) -> float | None:
    """The SNR in dB in a path, last part first: `snr-05`, `snr+10`, `_snr5_`, `10dB`; None if there is none."""
    for part in reversed(PurePosixPath(name).parts):
        if match := _SNR_NAME.search(part):
            return float(match[1])
        if match := _DB_NAME.search(part):
            return float(f"{match[1] or ''}{match[2]}")
    return None


@dataclass(frozen=True)
class MetadataTable:
    """Rows of a metadata table by file name."""

    path: Path
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> MetadataTable:
        """Read a CSV file with a column of names.

        Raises:
            OptionError: the file cannot be read, or has no such column.
        """
        table = read_table(path)
        columns = tuple(table[0])
        key = next((column for column in _NAME_COLUMNS if column in columns), None)
        if key is None:
            raise OptionError(f"has no column of file names ({', '.join(_NAME_COLUMNS)})", path)
        rows: dict[str, Mapping[str, str]] = {}
        for row in table:
            rows.setdefault(row[key].replace("\\", "/"), row)
        return cls(path, columns, rows)

    def find(self, names: Iterable[str]) -> Mapping[str, str] | None:
        """Find the row of a file by its path, with or without suffix and folders."""
        for name in names:
            path = PurePosixPath(name)
            for key in (name, str(path.with_suffix("")), path.name, path.stem):
                if key in self.rows:
                    return self.rows[key]
        return None


def find_metadata(pairs: Sequence[FilePair]) -> Path | None:
    """Find a `metadata.csv` beside or above the noisy or clean files that lists one of them, or None."""
    if not pairs:
        return None
    seen: set[Path] = set()
    for path in (pairs[0].noisy, pairs[0].reference):
        for folder in path.absolute().parents[:4] if path else ():
            candidate = folder / METADATA
            if candidate in seen or not is_file(candidate):
                continue
            seen.add(candidate)
            try:
                metadata = MetadataTable.read(candidate)
            except OptionError:
                continue
            if any(metadata.find(_names(pair.file, pair.noisy, pair.reference)) for pair in pairs):
                return candidate
    return None


def check_columns(by: Sequence[str], metadata: Path | None) -> MetadataTable | None:
    """Read the metadata and check that all columns exist.

    Raises:
        OptionError: a column is missing, or the metadata cannot be read.
    """
    table = None if metadata is None else MetadataTable.read(metadata)
    known = table.columns if table else ()
    for column in by:
        if column not in (SNR, FOLDER, *known):
            where = f"{table.path} has {', '.join(known)}" if table else "there is no metadata.csv (--metadata)"
            raise OptionError(f"no column {column} to group by: {where}; {SNR} and {FOLDER} always exist")
    return table


def annotate(records: Sequence[Record], by: Sequence[str], metadata: Path | None) -> list[Record]:
    """Add SNR and groups to records.

    SNRs come from the column `snr_db` of the metadata, otherwise from names, otherwise from measurement;
    for grouping they are assigned to `SnrClasses`.

    Raises:
        OptionError: a column is missing, or the metadata cannot be read.
    """
    table = check_columns(by, metadata)
    done: list[Record] = []
    for record in records:
        names = _names(record["file"], record["noisy"], record["reference"])
        row = (table.find(names) if table else None) or {}
        snr_db, source = _snr(record, names, row)
        groups: dict[str, float | str | None] = {}
        for column in by:
            if column == SNR:
                groups[column] = snr_db
            elif column == FOLDER:
                groups[column] = str(PurePosixPath(record["file"]).parent)
            else:
                groups[column] = _typed(row.get(column, ""))
        done.append({**record, "snr_db": snr_db, "snr_source": source, "groups": groups})
    if SNR in by:
        classes = SnrClasses.of_records(done)
        for record in done:
            record["groups"][SNR] = classes.find(record["snr_db"])
    return done


def _names(file: str, noisy: str | Path | None, reference: str | Path | None) -> list[str]:
    return [file, *(Path(path).name for path in (noisy, reference) if path)]


def _snr(record: Record, names: Iterable[str], row: Mapping[str, str]) -> tuple[float | None, str]:
    given = _typed(row.get("snr_db", ""))
    if isinstance(given, float):
        return given, "metadata"
    for name in names:
        if (snr_db := snr_in_name(name)) is not None:
            return snr_db, "name"
    return record["snr_db"], record["snr_source"]


def _typed(text: str) -> float | str | None:
    try:
        value = float(text)
    except ValueError:
        return text or None
    return value if abs(value) < float("inf") else text
