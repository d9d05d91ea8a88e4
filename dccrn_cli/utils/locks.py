"""Locks that say who holds them, and that no crash leaves behind."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # Windows has no locks that end with the process
    fcntl = None  # type: ignore[assignment]

from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.utils.atomic import open_no_link
from dccrn_cli.utils.paths import reason


class RunLock:
    """Holds a file or folder for one run; the lock ends with the process, in whatever way that ends.

    The lock itself is a file beside what it is for, `.NAME.lock`, or `.lock` inside a folder. On file
    systems without locks nothing is held.

    Args:
        path: what only one run may work on; a folder is made.
        inside: `path` is a folder, and the lock lies in it.

    Raises:
        OptionError: another run holds it; the message says which.
        StorageError: the lock cannot be made.
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
        with contextlib.suppress(OSError):  # who it is is told as far as that can be written
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def _try(self, path: Path) -> int | None:
        """The lock's file, locked; None if it was removed in the meantime."""
        descriptor = open_no_link(os.fspath(self.path), os.O_RDWR | os.O_CREAT)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.lstat(self.path)):
                return descriptor
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise OptionError(f"another run is at work on it ({holder or 'not known which'})", path) from None
        except FileNotFoundError:
            pass
        except OSError:  # a file system without locks
            return descriptor
        os.close(descriptor)
        return None

    def release(self) -> None:
        """Let others work on it."""
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
