"""Progress of the files in a batch, shared by processes."""

from __future__ import annotations

import os

import numpy as np


class ProgressBoard:
    """Seconds of audio done per file, in a file mapped into memory by all processes of a machine.

    Args:
        path: the shared file.
        files: number of files in the batch.
        create: create it with all disk space allocated, since writing to a page without space on a full
            disk would kill the process.

    Raises:
        OSError: there is not enough disk space.
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
        """Set the progress of a file."""
        self._seconds[index] = seconds

    @property
    def total_s(self) -> float:
        """Seconds done over all files."""
        return float(self._seconds.sum())
