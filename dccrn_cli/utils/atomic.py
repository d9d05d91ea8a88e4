"""Files that appear under their name only when they are whole."""

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
for _name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY", "O_NONBLOCK"):  # the last one: no waiting for a planted FIFO
    _FLAGS |= getattr(os, _name, 0)


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

    def commit(self, mtime_ns: int | None = None, durable: bool = True) -> None:
        """Put the file in place, safe on the disk.

        Args:
            mtime_ns: time of modification to give to it.
            durable: see the data to the disk first; not worth its time for what can be made again.

        Raises:
            OSError: the disk is full, say.
        """
        assert self.descriptor is not None
        # Not before its data are on the disk, or a power cut could leave a name without them.
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
    """The file, made if need be, open and locked; None if another process has locked it.

    Its name can be foretold, so it is taken only if it is a plain file of this user with no other
    name. What else lies there, a link say, is removed and never written through.

    Raises:
        OSError: it cannot be made, or what lies there cannot be removed.
    """
    for _ in range(_ATTEMPTS):
        try:
            # Made in this very call, it can be nobody else's.
            descriptor, is_new = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                descriptor, is_new = os.open(path, _FLAGS), False
            except FileNotFoundError:
                continue
            except OSError:
                path.unlink(missing_ok=True)  # a link, or not ours to open
                continue
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        try:
            found = os.fstat(descriptor)
            if os.path.samestat(found, os.lstat(path)):
                if is_new or _is_own(found):
                    return descriptor
                path.unlink()
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # what we hold has been renamed or removed in the meantime
    return None


def open_no_link(path: str, flags: int) -> int:
    """An `opener` for `open` that follows no symbolic link."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)


def _is_own(found: os.stat_result) -> bool:
    """A plain file of this user, under one name."""
    mine = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and mine


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
    """Plain files in a folder that are named as temporary ones are; none where it cannot be read."""
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
    """Fewer than `margin` bytes are free on the disk of a path."""
    return shutil.disk_usage(path.parent).free < margin
