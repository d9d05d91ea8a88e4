"""Locks that tell who holds them and that do not outlive a crash."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows has no locks that are released with the process
    fcntl = None  # type: ignore[assignment]

from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.utils.atomic import is_own, open_no_link
from dccrn_cli.utils.paths import reason


class RunLock:
    """Reserves a file or folder for one run; the lock ends with the process, however it ends.

    The lock is a file `.NAME.lock` beside the target, or `.lock` inside a folder. On file systems without
    locks nothing is reserved.

    Args:
        path: file or folder that only one run may use; the folder is created.
        inside: whether `path` is a folder, with the lock in it.

    Raises:
        OptionError: another run holds the lock; the message says which.
        StorageError: the lock cannot be created.
    """

    def __init__(self, path: str | os.PathLike[str], *, inside: bool = False) -> None:
        path = Path(path)
        self.path = path / ".lock" if inside else path.with_name(f".{path.name[:200]}.lock")
        self._descriptor: int | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while self._descriptor is None:
                self._descriptor = self._try(path)
        except OSError as error:
            raise StorageError(f"cannot be locked: {reason(error)}", path) from error
        with contextlib.suppress(OSError):  # naming the holder is best effort
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def _try(self, path: Path) -> int | None:
        """Open and lock the lock file; None if it was removed in the meantime."""
        descriptor = open_no_link(os.fspath(self.path), os.O_RDWR | os.O_CREAT)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise OptionError(f"in use by another run ({holder or 'unknown'})", path) from None
        except OSError:  # file system without locks
            pass
        found = os.fstat(descriptor)
        try:
            if os.path.samestat(found, os.lstat(self.path)):
                if is_own(found):
                    return descriptor
                os.close(descriptor)
                # The name of the holder would overwrite it.
                raise StorageError("cannot be locked: this file has other names or another owner", self.path)
        except FileNotFoundError:
            pass
        os.close(descriptor)
        return None

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
