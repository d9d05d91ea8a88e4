"""Plans which files to process, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

from dccrn_cli.audio.discovery import walk
from dccrn_cli.audio.ffmpeg import count_tracks
from dccrn_cli.audio.formats import FORMAT_OF_SUFFIX, SUFFIXES, contradicts
from dccrn_cli.audio.media import MEDIA_SUFFIXES, is_sound
from dccrn_cli.audio.remux import can_remux
from dccrn_cli.audio.sniff import holds_sound
from dccrn_cli.errors import MissingDependency, OptionError
from dccrn_cli.utils.paths import is_folder, path_kind

MEDIA_RESULT = ".flac"
"""Suffix of the result for a file whose own container cannot be written."""

KEEP_NAME = "{stem}{ext}"


@dataclass(frozen=True)
class Job:
    """One file to read and its targets: the result and, optionally, the removed noise.

    Attributes:
        track: number of the audio track to read, from 1; None for that in the options.
        note: file in the journal of a report for the row of this file; None for no journal.
    """

    source: Path
    target: Path
    noise_target: Path | None = None
    track: int | None = None
    note: Path | None = None

    @property
    def targets(self) -> tuple[Path, ...]:
        """All files to write, the result last."""
        return (self.target,) if self.noise_target is None else (self.noise_target, self.target)


@dataclass(frozen=True)
class PlanOptions:
    """Which files are used from folders and lists, and how results are named.

    Attributes:
        include: glob patterns; only files that match one are used. A pattern is matched against the name
            and against the path relative to the input folder; `*` also matches across folders.
        exclude: glob patterns of files and folders to skip.
        name: template for names of results, with the fields `{stem}`, `{ext}` (with its dot), `{oldext}`
            (the source's, without its dot) and `{folder}`.
        suffix: suffix of results, which sets their container; empty for the source's.
        keep_video: keep videos as videos, with the enhanced audio in them.
        noise_output: folder for the removed noise.
        all_tracks: write a separate result for each audio track of a file; with `keep_video` they stay together.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    name: str = KEEP_NAME
    suffix: str = ""
    keep_video: bool = False
    noise_output: Path | None = None
    all_tracks: bool = False

    def takes(self, relative: Path) -> bool:
        """Whether to use a file with this path relative to the input folder."""
        names = (relative.name, relative.as_posix())
        if self.include and not any(fnmatchcase(name, pattern) for pattern in self.include for name in names):
            return False
        parts = [*relative.parts, *(parent.as_posix() for parent in (relative, *relative.parents))]
        return not any(fnmatchcase(part, pattern.rstrip("/")) for pattern in self.exclude for part in parts)

    def keeps_video(self, source: Path) -> bool:
        """Whether the result is a video with enhanced audio."""
        return self.keep_video and not self.suffix and can_remux(source)

    def result_name(self, source: Path, track: int | None = None) -> Path:
        """Name of the result for a source or one of its tracks; it may contain folders.

        Raises:
            OptionError: the template is invalid or leads outside the output folder.
        """
        ext = source.suffix
        if self.suffix:
            ext = self.suffix
        elif ext.lower() in MEDIA_SUFFIXES and not self.keeps_video(source):
            ext = MEDIA_RESULT
        stem = source.stem if track is None else f"{source.stem}.track{track}"
        try:
            name = self.name.format(stem=stem, ext=ext, oldext=source.suffix[1:], folder=source.absolute().parent.name)
        except (KeyError, IndexError, ValueError, AttributeError):
            fields = "{stem}, {ext}, {oldext}, {folder}"
            raise OptionError(f"{self.name!r} is not a valid template of {fields}") from None
        if not name or name.endswith(("/", os.sep)) or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise OptionError(f"{self.name!r} gives {name!r}, which is not a valid name for a result")
        _check_container(name, self.suffix)
        return Path(name)


@dataclass(frozen=True)
class Plan:
    """The files and targets given by a command line.

    Attributes:
        jobs: jobs in the order of the arguments, with folders sorted by name.
        unusable: missing arguments and unreadable folders, each with the reason.
        ignored: files in folders that are not audio by their suffix or were not selected.
    """

    jobs: tuple[Job, ...]
    unusable: tuple[tuple[Path, str], ...] = ()
    ignored: int = 0


def make_plan(
    inputs: Sequence[str],
    output: str | os.PathLike[str] | None,
    options: PlanOptions | None = None,
    listed: Sequence[str] = (),
) -> Plan:
    """Match inputs with targets.

    Args:
        inputs: files, folders (searched recursively, keeping their structure) and glob patterns.
        output: a folder; or, for a single input file, the file to write if it has an audio suffix and no
            trailing slash; None for results beside their sources.
        options: selection and naming.
        listed: files whose structure below their common folder is kept.

    Raises:
        OptionError: two inputs would have the same target, or an input would be overwritten.
    """
    options = options or PlanOptions()
    as_folder = output is not None and os.fspath(output).endswith(("/", os.sep))
    folder = None if output is None else Path(output)
    outputs = [path for path in (folder, options.noise_output) if path is not None]
    found = _find(inputs, outputs, options)
    found.take_listed(listed)
    single = len(inputs) == 1 and not listed and len(found.files) == 1 and not is_folder(inputs[0])
    to_file = False
    if folder is not None:
        kind, why = path_kind(folder)
        if kind == "unusable":
            raise OptionError(why, folder)
        may_be_file = single and not as_folder and kind != "folder"
        to_file = may_be_file and _names_a_file(folder, options, next(iter(found.files.values()))[0])
        if to_file:
            _check_container(folder, options.suffix)
        if kind == "file" and not to_file:
            raise OptionError("is a file; results need a folder", folder)
    jobs = []
    for source, relative in found.files.values():
        tracks = _tracks(source, options)
        if to_file and len(tracks) > 1:
            raise OptionError(f"has {len(tracks)} audio tracks; give a folder for the results", source)
        for track in tracks:
            name = relative.parent / options.result_name(source, track)
            target = source.parent / name.relative_to(relative.parent) if folder is None else folder / name
            noise = None
            if options.noise_output is not None:
                # Named like the result, since it has the same container.
                noise = options.noise_output / (folder.name if to_file and folder is not None else name)
                noise = noise.with_suffix(MEDIA_RESULT) if noise.suffix.lower() in MEDIA_SUFFIXES else noise
            jobs.append(Job(source, folder if to_file and folder is not None else target, noise, track))
    jobs = _without_earlier_results(jobs, beside=folder is None)
    _check(jobs)
    return Plan(tuple(jobs), tuple(found.unusable), len(found.ignored))


def find_sources(
    inputs: Sequence[str], options: PlanOptions | None = None, listed: Sequence[str] = ()
) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Find the files given by inputs and a list, as in `make_plan`, and unusable paths with reasons."""
    found = _find(inputs, [], options or PlanOptions())
    found.take_listed(listed)
    return [source for source, _ in found.files.values()], found.unusable


def _tracks(source: Path, options: PlanOptions) -> list[int | None]:
    """Audio tracks of a file with a result each; None for the track read by default."""
    if not options.all_tracks or source.suffix.lower() not in MEDIA_SUFFIXES or options.keeps_video(source):
        return [None]
    try:
        count = count_tracks(source)
    except MissingDependency:  # reported when the file is read
        return [None]
    return [None] if count == 1 else list(range(1, count + 1))


def read_file_list(path: str | os.PathLike[str]) -> list[str]:
    """Read the names in a list, one per line or separated by NUL.

    Raises:
        OptionError: the list cannot be read.
    """
    try:
        return listed_files(Path(path).read_bytes())
    except OSError as error:
        raise OptionError(f"cannot be read ({error.strerror})", path) from None


def listed_files(content: bytes) -> list[str]:
    """Names in the content of a list, one per line or separated by NUL."""
    separator = b"\0" if b"\0" in content else b"\n"
    lines = [line.removesuffix(b"\r") for line in content.removeprefix(b"\xef\xbb\xbf").split(separator)]
    return [os.fsdecode(line) for line in lines if line.strip()]


def _check_container(name: str | Path, suffix: str) -> None:
    if contradicts(name, suffix):
        raise OptionError(f"{PurePath(name).name} does not match --format {suffix[1:].upper()}; change one of them")


def _names_a_file(output: Path, options: PlanOptions, source: Path) -> bool:
    suffix = output.suffix.lower()
    if suffix in FORMAT_OF_SUFFIX or suffix in SUFFIXES:
        return True
    if suffix in MEDIA_SUFFIXES:
        if options.keep_video and can_remux(source) and suffix == source.suffix.lower():
            return True
        hint = "use --keep-video to keep the container of a video" if can_remux(source) else "use .wav, .flac or .mp3"
        raise OptionError(f"{suffix} cannot be written; {hint}", output)
    return False


class _Found:
    """Files by absolute path, with their path relative to the output folder; and files not used."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Path, Path]] = {}
        self.unusable: list[tuple[Path, str]] = []
        self.ignored: set[Path] = set()

    def leave(self, path: Path, why: str) -> None:
        """Record an unusable path."""
        self.unusable.append((path, why))

    def take_listed(self, names: Sequence[str]) -> None:
        """Add the files of a list."""
        for path, base in _listed(names):
            kind, why = path_kind(path)
            if kind == "file":
                self.files.setdefault(os.path.abspath(path), (path, path.relative_to(base)))
            else:
                self.leave(path, "is a folder; a list must contain files" if kind == "folder" else why)


def _find(inputs: Sequence[str], outputs: Sequence[Path], options: PlanOptions) -> _Found:
    found = _Found()
    skipped = [os.path.realpath(path) for path in outputs]
    expanded = [(argument, _expand(argument)) for argument in inputs]
    # If all inputs are in the output folder, they are intended.
    mixed = not all(any(_is_within(path, out) for out in skipped) for _, matches in expanded for path, *_ in matches)
    for argument, matches in expanded:
        if not matches:
            found.leave(Path(argument), path_kind(argument)[1] if argument else "no such file or folder")
        for path, base, named in matches:
            # Patterns, expanded here or by the shell, also match earlier results.
            is_result = mixed and any(_is_within(path, folder) for folder in skipped)
            if is_result and (not named or is_folder(path)):
                if named and os.path.realpath(path) not in skipped:
                    found.ignored.add(path)
                continue
            for file in walk(path, found.leave, skipped) if is_folder(path) else (path,):
                relative = file.relative_to(base)
                if (named and file == path) or ((is_sound(file) or holds_sound(file)) and options.takes(relative)):
                    found.files.setdefault(os.path.abspath(file), (file, relative))
                else:
                    found.ignored.add(file)
    return found


def _listed(names: Sequence[str]) -> list[tuple[Path, Path]]:
    paths = [Path(name) for name in names]
    if not paths:
        return []
    if all(not path.is_absolute() and ".." not in path.parts for path in paths):
        return [(path, Path()) for path in paths]
    absolute = [Path(os.path.abspath(path)) for path in paths]
    try:
        base = Path(os.path.commonpath([path.parent for path in absolute]))
    except ValueError:  # on several drives
        return [(path, path.parent) for path in absolute]
    return [(path, base) for path in absolute]


def _without_earlier_results(jobs: list[Job], beside: bool) -> list[Job]:
    """Drop jobs whose source is a result of another job beside its own source, as all results are if `beside`."""
    targets = {os.path.realpath(job.target): job.source for job in jobs if _makes_a_result_beside(job, beside)}
    return [job for job in jobs if targets.get(os.path.realpath(job.source), job.source) == job.source]


def _makes_a_result_beside(job: Job, beside: bool) -> bool:
    if os.path.realpath(job.target.parent) != os.path.realpath(job.source.parent):
        return beside
    # A target that differs only in its suffix may be another recording, which `_check` protects.
    return job.target.stem != job.source.stem


def _is_within(path: Path, folder: str) -> bool:
    real = os.path.realpath(path)
    return real == folder or real.startswith(os.path.join(folder, ""))


def _expand(argument: str) -> list[tuple[Path, Path, bool]]:
    """Paths that an argument refers to, the base folder of each, and whether they are named explicitly."""
    path = Path(argument)
    if not argument:
        return []
    kind = path_kind(path)[0]
    if kind == "folder":
        return [(path, path, True)]
    if kind in ("file", "other") or os.path.islink(path):
        return [(path, path.parent, True)]
    if not glob.has_magic(argument):
        return []
    plain = list(path.parts)
    while any(map(glob.has_magic, plain)):
        plain.pop()
    return [(Path(match), Path(*plain), False) for match in sorted(glob.glob(argument, recursive=True))]


def _check(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs}
    targets: dict[str, Path] = {}
    for job in jobs:
        for path in job.targets:
            target = os.path.realpath(path)
            if target in sources:
                raise OptionError("the result would overwrite an input; choose another -o or a --suffix", path)
            if target in targets:
                other = targets[target]
                if other == job.source:
                    raise OptionError(f"both result and noise of {other} would be written here", path)
                hint = ""
                if other.stem == job.source.stem and other.suffix != job.source.suffix:
                    hint = "; use --name '{stem}.{oldext}{ext}' for distinct names"
                raise OptionError(f"both {other} and {job.source} would be written here{hint}", path)
            targets[target] = job.source
