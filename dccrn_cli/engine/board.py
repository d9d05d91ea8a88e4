"""How far the files of a batch are."""

from __future__ import annotations

import os

import numpy as np


class ProgressBoard:
    """Seconds of audio done, file by file, in a file that all processes of a machine map into memory.

    Args:
        path: that file.
        files: how many there are in the batch.
        create: make it.
    """

    def __init__(self, path: str | os.PathLike[str], files: int, *, create: bool = False) -> None:
        self.path = os.fspath(path)
        self.files = files
        self._seconds = np.memmap(self.path, np.float64, "w+" if create else "r+", shape=(max(files, 1),))

    def __reduce__(self) -> tuple[type[ProgressBoard], tuple[str, int]]:
        return ProgressBoard, (self.path, self.files)

    def note(self, index: int, seconds: float) -> None:
        """Say how far a file is."""
        self._seconds[index] = seconds

    @property
    def total_s(self) -> float:
        """Seconds done in all files."""
        return float(self._seconds.sum())
