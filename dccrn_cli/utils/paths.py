"""What a path refers to, with a reason if it is unusable."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Literal

from dccrn_cli.errors import OptionError

Kind = Literal["file", "folder", "other", "missing", "unusable"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""One path or several."""

_REASONS = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ELOOP: "a link that leads to itself",
    errno.ENOTDIR: "a part of the path is a file",
}


def path_kind(path: str | os.PathLike[str]) -> tuple[Kind, str]:
    """Find out what a path refers to, and why it cannot be used as a file or folder; links are followed.

    Unlike `Path.is_file`, `is_dir` and `exists` it never raises, and does not report an inaccessible path
    as missing.

    Args:
        path: any path, even one that no file system accepts.

    Returns:
        The kind, and "" for a file or folder, otherwise the reason: `no such file or folder`,
        `unusable: permission denied` …
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "missing", "no such file or folder"
    except OSError as error:
        return "unusable", f"unusable: {reason(error)}"
    except ValueError:  # a NUL, or a character that the file system cannot encode
        return "unusable", "unusable: not a valid path"
    if stat.S_ISREG(mode):
        return "file", ""
    if stat.S_ISDIR(mode):
        return "folder", ""
    return "other", "neither a file nor a folder"


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is an accessible regular file."""
    return path_kind(path)[0] == "file"


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is an accessible folder."""
    return path_kind(path)[0] == "folder"


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether something is there.

    Raises:
        OptionError: nothing can be there, or it is not accessible.
    """
    kind, why = path_kind(path)
    if kind == "unusable":
        raise OptionError(why, path)
    return kind != "missing"


def is_missing(path: str | os.PathLike[str]) -> bool:
    """Whether nothing is there; False for an inaccessible path."""
    return path_kind(path)[0] == "missing"


def reason(error: OSError) -> str:
    """Plain-language reason for an error of the operating system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def below(folder: Path, name: str) -> Path:
    """A path for `name` that is certain to be inside a folder.

    Args:
        folder: the folder.
        name: a path with `/`, possibly absolute or leading upwards: its root, drive and `..` are dropped.
    """
    parts = [part for part in PurePath(name).parts if part not in ("..", PurePath(name).anchor)]
    return folder.joinpath(*parts)


def as_paths(paths: Paths | None) -> list[Path]:
    """One path or several as a list; None is an empty one."""
    if paths is None:
        return []
    return [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
