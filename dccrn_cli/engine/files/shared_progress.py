"""How far the files of a batch are."""

from __future__ import annotations

import os

import numpy as np


class ProgressBoard:
    """Seconds of audio done, file by file, in a file that all processes of a machine map into memory.

    Args:
        path: that file.
        files: how many there are in the batch.
        create: make it, with all of its room on the disk: writing to a page that a full disk has no room
            for would kill the process.

    Raises:
        OSError: there is no room for it.
    """

    def __init__(self, path: str | os.PathLike[str], files: int, *, create: bool = False) -> None:
        self.path = os.fspath(path)
        self.files = files
        if create:
            with open(self.path, "wb") as file:
                size = max(files, 1) * np.dtype(np.float64).itemsize
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.write(bytes(size))
        self._seconds = np.memmap(self.path, np.float64, "r+", shape=(max(files, 1),))

    def __reduce__(self) -> tuple[type[ProgressBoard], tuple[str, int]]:
        return ProgressBoard, (self.path, self.files)

    def note(self, index: int, seconds: float) -> None:
        """Say how far a file is."""
        self._seconds[index] = seconds

    @property
    def total_s(self) -> float:
        """Seconds done in all files."""
        return float(self._seconds.sum())
