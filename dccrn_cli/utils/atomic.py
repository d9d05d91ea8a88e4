"""Files that appear under their name only once complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be replaced anyway
    fcntl = None  # type: ignore[assignment]

from dccrn_cli.errors import AudioError

PREFIX, SUFFIX = ".dccrn-", ".part"

_ATTEMPTS = 100
_FLAGS = os.O_RDWR
for _name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY", "O_NONBLOCK"):  # O_NONBLOCK: do not wait on a planted FIFO
    _FLAGS |= getattr(os, _name, 0)


class BusyError(AudioError):
    """Another process is writing the same file."""


def temporary_path(target: Path) -> Path:
    """Path of a file while it is being written: beside its target, and the same in every run.

    So a rerun after a kill reuses the leftovers. The name is a digest, since a suffix could make a long
    name too long.
    """
    digest = hashlib.blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    return target.with_name(f"{PREFIX}{digest}{SUFFIX}")


class AtomicFile:
    """An open temporary file that takes its final name on `commit` and is removed if that never happens.

    It is locked while open, so that two runs on one folder do not write to each other's files.

    Args:
        path: the target; its folder is created.

    Attributes:
        descriptor: file descriptor, open for reading and writing.
        temporary: path of the file until it is complete.

    Raises:
        BusyError: another process is writing the file.
        OSError: the file cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.temporary = temporary_path(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = _open_locked(self.temporary)
        if self.descriptor is None:
            raise BusyError("another run is writing it", self.path)
        os.ftruncate(self.descriptor, 0)

    def commit(self, mtime_ns: int | None = None, durable: bool = True) -> None:
        """Move the file to its final name.

        Args:
            mtime_ns: modification time to set.
            durable: sync the data to disk first; not worth the time for data that can be recreated.

        Raises:
            OSError: for example because the disk is full.
        """
        assert self.descriptor is not None
        # Sync before renaming, or a power cut could leave the name without its data.
        if durable:
            os.fsync(self.descriptor)
        if mtime_ns is not None:
            os.utime(self.temporary, ns=(mtime_ns, mtime_ns))
        if fcntl is None:
            os.close(self.descriptor)
            self.descriptor = None
        os.replace(self.temporary, self.path)
        self._close()

    def discard(self) -> None:
        """Remove the temporary file, unless it has been committed."""
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
    """Open and lock a file, creating it if necessary; None if another process has locked it.

    Its name is predictable, so an existing file is used only if it is a regular file of this user without
    other hard links. Anything else there, such as a symbolic link, is removed and never followed.

    Raises:
        OSError: the file cannot be created, or what is in its place cannot be removed.
    """
    for _ in range(_ATTEMPTS):
        try:
            # A file created by this very call cannot belong to anyone else.
            descriptor, is_new = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                descriptor, is_new = os.open(path, _FLAGS), False
            except FileNotFoundError:
                continue
            except OSError:
                path.unlink(missing_ok=True)  # a link, or a file we may not open
                continue
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        try:
            found = os.fstat(descriptor)
            if os.path.samestat(found, os.lstat(path)):
                if is_new or is_own(found):
                    return descriptor
                path.unlink()
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # it has been renamed or removed in the meantime
    return None


def open_no_link(path: str, flags: int) -> int:
    """An `opener` for `open` that follows no symbolic links."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)


def is_own(found: os.stat_result) -> bool:
    """Whether this is a regular file of this user with a single name."""
    mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and mine


def _lock(descriptor: int) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # file system without locks
            pass
    return True


def remove_leftovers(targets: Iterable[Path], patience_s: float = 0.0) -> int:
    """Remove temporary files of killed runs from the folders of these targets, except any in use.

    Args:
        patience_s: how long to wait for writers that are about to finish.

    Returns:
        The number of files removed.
    """
    removed, deadline = 0, time.monotonic() + patience_s
    for folder in {target.parent for target in targets}:
        for path in _leftovers(folder):
            with contextlib.suppress(OSError):
                while (descriptor := _open_locked(path)) is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                if descriptor is not None:
                    path.unlink()
                    os.close(descriptor)
                    removed += 1
    return removed


def _leftovers(folder: Path) -> list[Path]:
    """Regular files in a folder with the name of a temporary file; empty if the folder cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if fnmatchcase(entry.name, f"{PREFIX}*{SUFFIX}") and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []


def is_nearly_full(path: Path, margin: int) -> bool:
    """Whether fewer than `margin` bytes are free on the disk of a path."""
    return shutil.disk_usage(path.parent).free < margin
