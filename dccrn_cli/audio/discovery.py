"""Finds files in folders, for all commands that accept a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


def walk(root: Path, on_error: Callable[[Path, str], None], skipped: Sequence[str] = ()) -> Iterator[Path]:
    """Iterate over files below a folder in a fixed order, following links but entering each folder only once.

    Args:
        root: the folder.
        on_error: called with each unreadable folder and the reason; may raise.
        skipped: real paths of subfolders not to enter.
    """
    entered: set[str] = set()
    links = [root]  # followed after the tree itself, so that a folder is found under its own name
    stack: list[Iterator[os.DirEntry[str]]] = []

    def enter(folder: Path) -> None:
        real = os.path.realpath(folder)
        if real in entered or (real in skipped and folder != root):
            return
        entered.add(real)
        try:
            with os.scandir(folder) as entries:
                stack.append(iter(sorted(entries, key=lambda entry: entry.name)))
        except OSError as error:
            on_error(folder, f"the folder cannot be read ({error.strerror})")

    for link in links:  # grows during iteration
        enter(link)
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
            elif _is_folder(entry):
                if entry.is_symlink():
                    links.append(Path(entry.path))
                else:
                    enter(Path(entry.path))
            elif entry.is_symlink() or entry.is_file():
                yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False
