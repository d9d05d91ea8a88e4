"""Files in folders, for all commands that take a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


def walk(root: Path, on_error: Callable[[Path, str], None], skipped: Sequence[str] = ()) -> Iterator[Path]:
    """Files below a folder in a fixed order; links are followed, but never in a circle.

    Args:
        root: the folder.
        on_error: called with each folder that cannot be read and the reason; it may raise.
        skipped: real paths of folders below it that are not entered.
    """
    stack: list[tuple[str, Iterator[os.DirEntry[str]]]] = []

    def enter(folder: Path) -> None:
        real = os.path.realpath(folder)
        if any(real == above for above, _ in stack) or (real in skipped and stack):
            return
        try:
            with os.scandir(folder) as entries:
                stack.append((real, iter(sorted(entries, key=lambda entry: entry.name))))
        except OSError as error:
            on_error(folder, f"the folder cannot be read ({error.strerror})")

    enter(root)
    while stack:
        entry = next(stack[-1][1], None)
        if entry is None:
            stack.pop()
        elif _is_folder(entry):
            enter(Path(entry.path))
        elif entry.is_symlink() or entry.is_file():
            yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
