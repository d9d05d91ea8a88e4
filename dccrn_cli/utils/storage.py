"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from dccrn_cli.errors import OptionError, StorageError

_NAME_PART = 40
"""Characters of a name that its temporary file has; the whole may be as long as names can be."""


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file beside its place, see it to the disk, and give it its name.

    Whatever was there before stays until then.

    Raises:
        OptionError: the path is a folder.
        StorageError: it cannot be written; nothing is left behind.
    """
    path = Path(path)
    if path.is_dir():
        raise OptionError("is a folder; a file name is needed", path)
    temporary = path.with_name(f".{path.name[:_NAME_PART]}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full" if full else error.strerror or str(error)
        raise StorageError(f"cannot be written: {reason}", path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
