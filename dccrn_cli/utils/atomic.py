"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be replaced anyway
    fcntl = None  # type: ignore[assignment]

from dccrn_cli.errors import AudioError

PREFIX, SUFFIX = ".dccrn-", ".part"

_ATTEMPTS = 100


class BusyError(AudioError):
    """Another process is writing the same file."""


def temporary_path(target: Path) -> Path:
    """Where a file is while it is written: beside its target, and the same in every run.

    A run after a kill so takes up its leavings. The name is a digest, for with something added
    to it a long name could be too long.
    """
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    return target.with_name(f"{PREFIX}{digest}{SUFFIX}")


class AtomicFile:
    """An open temporary file that takes its name on `commit` and vanishes if it never comes to that.

    It is locked while open, so that two runs on one folder do not write into each other's files.

    Args:
        path: the target; its folder is made.

    Attributes:
        descriptor: open for reading and writing.
        temporary: where the file is until it is whole.

    Raises:
        BusyError: another process is writing it.
        OSError: it cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.temporary = temporary_path(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = _open_locked(self.temporary)
        if self.descriptor is None:
            raise BusyError("another run is writing it", self.path)
        os.ftruncate(self.descriptor, 0)

    def commit(self, mtime_ns: int | None = None) -> None:
        """Put the file in place, safe on the disk.

        Args:
            mtime_ns: time of modification to give to it.

        Raises:
            OSError: the disk is full, say.
        """
        assert self.descriptor is not None
        # Not before its data are on the disk, or a power cut could leave a name without them.
        os.fsync(self.descriptor)
        if mtime_ns is not None:
            os.utime(self.temporary, ns=(mtime_ns, mtime_ns))
        if fcntl is None:
            os.close(self.descriptor)
            self.descriptor = None
        os.replace(self.temporary, self.path)
        self._close()

    def discard(self) -> None:
        """Remove the temporary file, if it has not taken its name."""
        if self.descriptor is not None:
            if fcntl is None:
                self._close()
            with contextlib.suppress(OSError):
                self.temporary.unlink()
            self._close()

    def _close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _open_locked(path: Path) -> int | None:
    """The file, open and locked; None if another process has locked it."""
    for _ in range(_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # what we hold has been renamed or removed in the meantime
    return None


def _lock(descriptor: int) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
    return True


def remove_leftovers(targets: Iterable[Path], patience_s: float = 0.0) -> int:
    """Remove what killed runs left in the folders of these targets, but nothing that is in use.

    Args:
        patience_s: how long to wait for writers that are about to end.

    Returns:
        the number of files removed.
    """
    removed, deadline = 0, time.monotonic() + patience_s
    for folder in {target.parent for target in targets}:
        for path in folder.glob(f"{PREFIX}*{SUFFIX}") if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                while (descriptor := _open_locked(path)) is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                if descriptor is not None:
                    path.unlink()
                    os.close(descriptor)
                    removed += 1
    return removed


def is_nearly_full(path: Path, margin: int) -> bool:
    """Fewer than `margin` bytes are free on the disk of a path."""
    return shutil.disk_usage(path.parent).free < margin
