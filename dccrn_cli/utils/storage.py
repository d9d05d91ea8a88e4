"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.utils.atomic import AtomicFile, BusyError
from dccrn_cli.utils.paths import path_kind, reason


def write_whole(path: str | os.PathLike[str], content: bytes, *, durable: bool = True) -> None:
    """Write a file atomically: to a temporary file, synced to disk and then renamed.

    An existing file stays until then. A path that is neither file nor folder, such as `/dev/stdout`, is
    written to directly.

    Args:
        path: the file; its folder is created.
        content: complete content of the file.
        durable: False for data that can be recreated and need not be on disk when this returns.

    Raises:
        OptionError: the path is a folder.
        StorageError: the file cannot be written, or another run is writing it; nothing is left behind.
    """
    path = Path(path)
    kind, why = path_kind(path)
    if kind == "folder":
        raise OptionError("is a folder; a file name is needed", path)
    if kind == "unusable":
        raise StorageError(f"cannot be written: {why}", path)
    try:
        if kind == "other":
            path.write_bytes(content)
            return
        with AtomicFile(path) as file:
            assert file.descriptor is not None
            with open(file.descriptor, "wb", closefd=False) as out:
                out.write(content)
            file.commit(durable=durable)
    except BusyError as error:
        raise StorageError(f"cannot be written: {error.message}", path) from error
    except OSError as error:
        raise StorageError(f"cannot be written: {reason(error)}", path) from error


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check before any work that a file can be written afterwards.

    Raises:
        OptionError: the path is a folder or invalid, or its folder is missing or read-only.
    """
    path = Path(path)
    kind, why = path_kind(path)
    folder = path.absolute().parent
    if kind == "folder":
        raise OptionError("is a folder; a file name is needed", path)
    if kind == "unusable":
        raise OptionError(why, path)
    if path_kind(folder)[0] != "folder":
        raise OptionError("no such folder", path.parent)
    if not os.access(path if kind == "other" else folder, os.W_OK):
        raise OptionError("cannot be written: permission denied", path)
