"""Which files to work on, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dccrn_cli.audio.files import SUFFIXES, can_be_written, is_audio
from dccrn_cli.errors import OptionError


@dataclass(frozen=True)
class Job:
    """One file to read and the file to write."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Plan:
    """What a command line asks for.

    Attributes:
        jobs: in the order of the arguments, folders in the order of their names.
        unusable: arguments that name nothing and folders that cannot be read, each with the reason.
        ignored: files in folders that are not audio by their suffix.
    """

    jobs: tuple[Job, ...]
    unusable: tuple[tuple[Path, str], ...] = ()
    ignored: int = 0


def make_plan(inputs: Sequence[str], output: str | os.PathLike[str]) -> Plan:
    """Match inputs with targets.

    Args:
        inputs: files, folders (searched recursively, their tree is kept) and glob patterns.
        output: a folder; or, for a single input file, the file to write if it has an audio suffix
            and no slash at its end.

    Raises:
        OptionError: two inputs would have one target, or an input would be overwritten.
    """
    as_folder = os.fspath(output).endswith(("/", os.sep))
    output = Path(output)
    found: dict[str, tuple[Path, Path]] = {}  # absolute source → source, path below the output folder
    unusable: list[tuple[Path, str]] = []
    ignored: set[Path] = set()
    inside = os.path.realpath(output)
    for argument in inputs:
        matches = _expand(argument)
        if not matches:
            unusable.append((Path(argument), "no such file or folder"))
        for path, base, named in matches:
            # A pattern, here or in the shell, finds earlier results too.
            if _is_within(path, inside) and (not named or (len(inputs) > 1 and path.is_dir())):
                continue
            for file in _walk(path, output, unusable) if path.is_dir() else (path,):
                if (named and file == path) or is_audio(file):
                    found.setdefault(os.path.abspath(file), (file, file.relative_to(base)))
                else:
                    ignored.add(file)
    single = len(inputs) == 1 and len(found) == 1 and not Path(inputs[0]).is_dir()
    if single and not as_folder and not output.is_dir() and not can_be_written(output):
        raise OptionError(f"{output.suffix} cannot be written; use .wav, .flac, .ogg, .opus or .mp3", output)
    to_file = single and not as_folder and output.suffix.lower() in SUFFIXES and not output.is_dir()
    if output.is_file() and not to_file:
        raise OptionError("is a file; a folder is needed for the results", output)
    jobs = [Job(source, output if to_file else output / relative) for source, relative in found.values()]
    _check(jobs)
    return Plan(tuple(jobs), tuple(unusable), len(ignored))


def _is_within(path: Path, folder: str) -> bool:
    real = os.path.realpath(path)
    return real == folder or real.startswith(os.path.join(folder, ""))


def _expand(argument: str) -> list[tuple[Path, Path, bool]]:
    """Paths that an argument means, the folder that the tree starts from, and whether it names them."""
    path = Path(argument)
    if not argument:
        return []
    if path.is_dir():
        return [(path, path, True)]
    if path.exists() or path.is_symlink():
        return [(path, path.parent, True)]
    if not glob.has_magic(argument):
        return []
    plain = list(path.parts)
    while any(map(glob.has_magic, plain)):
        plain.pop()
    return [(Path(match), Path(*plain), False) for match in sorted(glob.glob(argument, recursive=True))]


def _walk(root: Path, skip: Path, unusable: list[tuple[Path, str]]) -> Iterator[Path]:
    """Files below a folder in a fixed order; links are followed, but never in a circle.

    Folders that cannot be read are added to `unusable`.
    """
    skipped = os.path.realpath(skip)

    def visit(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in above or (real == skipped and above):
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            unusable.append((folder, f"the folder cannot be read ({error.strerror})"))
            return
        for entry in entries:
            if _is_folder(entry):
                yield from visit(Path(entry.path), (*above, real))
            elif entry.is_symlink() or entry.is_file():
                yield Path(entry.path)

    yield from visit(root, ())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _check(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs}
    targets: dict[str, Path] = {}
    for job in jobs:
        target = os.path.realpath(job.target)
        if target in sources:
            raise OptionError("the result would overwrite an input; choose another -o", job.target)
        if target in targets:
            raise OptionError(f"both {targets[target]} and {job.source} would be written here", job.target)
        targets[target] = job.source
