"""Journal of a report: what became of each file between its result and its row in the report.

A worker notes the row of a file just before the result takes its name; the note is removed once the report has the
row. So a run that stops in between loses no figures: the next one takes them from the notes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from dccrn_cli.engine.files.results import FileResult
from dccrn_cli.errors import DccrnError
from dccrn_cli.utils.atomic import open_no_link, remove_leftovers
from dccrn_cli.utils.storage import write_whole

_MOST_BYTES = 1 << 20
_SUFFIX = ".json"
_COLUMNS = [field.name for field in fields(FileResult)]


def note_row(note: Path, result: FileResult, temporary: Path, target: Path) -> None:
    """Note the row of a file that is about to be renamed; best effort, since a result is worth more than its row.

    Args:
        note: from `Journal.note_of`.
        result: gives the row.
        temporary: the complete file, whose inode and size identify it after renaming.
        target: its final name.
    """
    with contextlib.suppress(OSError, DccrnError):
        found = os.stat(temporary)
        identity = {"file": os.path.abspath(target), "inode": found.st_ino, "size": found.st_size}
        write_whole(note, json.dumps({**identity, "row": result.to_record()}).encode(), durable=False)


class Journal:
    """The folder `.NAME.dccrn-journal` beside a report, with a note for each file without a row.

    Args:
        report: the report, locked by this run.

    Attributes:
        folder: None if it cannot be created or belongs to someone else; then nothing is noted.
    """

    def __init__(self, report: Path) -> None:
        folder = Path(os.path.abspath(report.with_name(f".{report.name}.dccrn-journal")))
        self.folder: Path | None = None
        with contextlib.suppress(OSError):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            found = os.lstat(folder)
            if stat.S_ISDIR(found.st_mode) and (not hasattr(os, "geteuid") or found.st_uid == os.geteuid()):
                self.folder = folder

    def note_of(self, target: Path) -> Path | None:
        """Where a worker notes the row of the file with this target; None for nowhere."""
        if self.folder is None:
            return None
        digest = hashlib.blake2b(os.fsencode(os.path.abspath(target)), digest_size=16).hexdigest()
        return self.folder / f"{digest}{_SUFFIX}"

    def row_of(self, target: Path) -> dict[str, Any] | None:
        """The noted row for a target, if the file there is the noted one."""
        note = self.note_of(target)
        return None if note is None else _read(note)

    def remove(self, target: Path) -> None:
        """Remove the note for a target, if any."""
        note = self.note_of(target)
        if note is not None:
            with contextlib.suppress(OSError):
                note.unlink()

    def take_rest(self) -> Iterator[dict[str, Any]]:
        """Rows of files that no run has reported; each note is removed once its row has been used."""
        for name in sorted(self._left()):
            assert self.folder is not None
            row = _read(self.folder / name)
            if row is not None:
                yield row
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()

    def close(self) -> None:
        """Remove the folder if no notes are left."""
        if self.folder is not None and not self._left():
            remove_leftovers([self.folder / _SUFFIX])
            with contextlib.suppress(OSError):
                self.folder.rmdir()

    def _left(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.folder) if name.endswith(_SUFFIX)] if self.folder else []
        except OSError:
            return []


def _read(note: Path) -> dict[str, Any] | None:
    """The row in a note if it is valid and its file is in place."""
    try:
        with open(note, "rb", opener=_open_now) as file:
            found = json.loads(file.read(_MOST_BYTES))
        row, there = found["row"], os.lstat(found["file"])
        if (there.st_ino, there.st_size) != (found["inode"], found["size"]):
            return None
        if not isinstance(row, dict) or list(row) != _COLUMNS:
            return None
        plain = all(value is None or isinstance(value, str | int | float) for value in row.values())
        return row if plain and row["status"] == "done" else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _open_now(path: str, flags: int) -> int:
    return open_no_link(path, flags | getattr(os, "O_NONBLOCK", 0))
