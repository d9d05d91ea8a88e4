"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.utils.atomic import AtomicFile, BusyError
from dccrn_cli.utils.paths import path_kind, reason


def write_whole(path: str | os.PathLike[str], content: bytes, *, durable: bool = True) -> None:
    """Write a file beside its place, see it to the disk, and give it its name.

    Whatever was there before stays until then. What is neither file nor folder, such as `/dev/stdout`,
    is written to as it is.

    Args:
        path: the file; its folder is made.
        content: all of it.
        durable: False for what can be made again and need not be on the disk when this returns.

    Raises:
        OptionError: the path is a folder.
        StorageError: it cannot be written, or another run is writing it; nothing is left behind.
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
    """Find out before the work that a file can be written after it.

    Raises:
        OptionError: it is a folder, its folder is missing or read-only, or its name is no name.
    """
    path = Path(path)
    kind, why = path_kind(path)
    folder = path.absolute().parent
    if kind == "folder":
        raise OptionError("is a folder; a file name is needed", path)
    if kind == "unusable":
        raise OptionError(why, path)
    if path_kind(folder)[0] != "folder":
        raise OptionError("there is no such folder", path.parent)
    if not os.access(path if kind == "other" else folder, os.W_OK):
        raise OptionError("cannot be written: permission denied", path)
