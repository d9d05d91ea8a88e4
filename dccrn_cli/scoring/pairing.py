"""Which estimate belongs to which reference."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from dccrn_cli.audio.folders import walk
from dccrn_cli.audio.media import is_sound
from dccrn_cli.errors import OptionError

T = TypeVar("T")


@dataclass(frozen=True)
class Pair:
    """An estimate with what it is held against.

    Attributes:
        file: its name for people: the estimate's path below its folder.
        system: label of its folder.
    """

    file: str
    system: str
    reference: Path
    estimate: Path
    noisy: Path | None = None


@dataclass(frozen=True)
class Unmatched:
    """A file without partner; one of `reference` and `estimate` is None."""

    file: str
    system: str
    reference: Path | None
    estimate: Path | None
    reason: str


@dataclass(frozen=True)
class Pairing:
    """All pairs, and all files that are in none."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]


def _fileid(name: str) -> Hashable | None:
    match = re.search(r"fileid_(\d+)$", PurePosixPath(name).stem)
    return int(match[1]) if match else None


_RULES: tuple[Callable[[str], Hashable | None], ...] = (
    lambda name: name,
    lambda name: str(PurePosixPath(name).with_suffix("")),
    lambda name: PurePosixPath(name).stem,
    _fileid,
)
"""By relative path, the same without suffix, the name without folders, the number of the DNS challenge's files."""


def match_names(left: Iterable[str], right: Iterable[str]) -> dict[str, str]:
    """Partners by the first rule under which both are the only ones, of what earlier rules have left over."""
    partners: dict[str, str] = {}
    free_left, free_right = list(left), list(right)
    for rule in _RULES:
        ours, theirs = _unique(free_left, rule), _unique(free_right, rule)
        partners |= {name: theirs[key] for key, name in ours.items() if key in theirs}
        taken = set(partners.values())
        free_left = [name for name in free_left if name not in partners]
        free_right = [name for name in free_right if name not in taken]
    return partners


def _unique(names: Iterable[str], rule: Callable[[str], Hashable | None]) -> dict[Hashable, str]:
    by_key: dict[Hashable, list[str]] = {}
    for name in names:
        if (key := rule(name)) is not None:
            by_key.setdefault(key, []).append(name)
    return {key: same[0] for key, same in by_key.items() if len(same) == 1}


def pair_paths(reference: Path, estimates: Mapping[str, Path], noisy: Path | None = None) -> Pairing:
    """Match folders, or single files whatever their names are.

    Args:
        reference: folder or file.
        estimates: folders or files by the label of their system.
        noisy: folder or file, matched with the estimates, else with the references.

    Raises:
        OptionError: a path that is missing, a file against a folder, or no audio file where there should be some.
    """
    paths = [reference, *estimates.values(), *([noisy] if noisy else [])]
    for path in paths:
        if not path.exists():
            raise OptionError("no such file or folder", path)
    if not any(path.is_dir() for path in paths):
        return Pairing(tuple(Pair(p.name, label, reference, p, noisy) for label, p in estimates.items()), ())
    for path in paths:
        if not path.is_dir():
            raise OptionError("is a file; give folders only, or files only", path)
    references = find_files(reference)
    noisies = find_files(noisy) if noisy else {}
    pairs: list[Pair] = []
    unmatched: list[Unmatched] = []
    for label, folder in estimates.items():
        found = find_files(folder)
        partners = match_names(found, references)
        before = match_names(found, noisies)
        by_reference = match_names(references, noisies)
        for name, path in found.items():
            if name not in partners:
                unmatched.append(Unmatched(name, label, None, path, _why(name, references, "reference")))
                continue
            partner = partners[name]
            noise_name = before.get(name) or by_reference.get(partner)
            pairs.append(
                Pair(name, label, references[partner], path, None if noise_name is None else noisies[noise_name])
            )
        missing = references.keys() - set(partners.values())
        unmatched += [
            Unmatched(name, label, path, None, _why(name, found, "estimate"))
            for name, path in references.items()
            if name in missing
        ]
    return Pairing(tuple(pairs), tuple(unmatched))


def _why(name: str, others: Iterable[str], kind: str) -> str:
    stem = PurePosixPath(name).stem
    alike = [other for other in others if PurePosixPath(other).stem == stem]
    return f"several files could be its {kind}: {', '.join(alike[:3])}" if len(alike) > 1 else f"no {kind}"


def find_files(folder: Path) -> dict[str, Path]:
    """Audio files below a folder by their relative path, in the order of their names; links are followed.

    Raises:
        OptionError: no audio file, or a folder that cannot be read.
    """

    def refuse(unreadable: Path, why: str) -> None:
        raise OptionError(why, unreadable)

    found = {path.relative_to(folder).as_posix(): path for path in walk(folder, refuse) if is_sound(path)}
    if not found:
        raise OptionError("no audio files", folder)
    return dict(sorted(found.items()))


def read_pairs(
    path: Path, reference: Path | None = None, estimate: Path | None = None, noisy: Path | None = None
) -> Pairing:
    """Pairs of a CSV file with the columns `ref`, `est` and perhaps `noisy`.

    Args:
        path: the table.
        reference, estimate, noisy: folders that relative names start from; None for that of the table.

    Raises:
        OptionError: it cannot be read, or lacks a column or a value.
    """
    rows = read_table(path)
    bases = {"ref": reference, "est": estimate, "noisy": noisy}
    pairs = []
    for number, row in enumerate(rows, 1):
        found = {key: (base or path.parent) / row[key] for key, base in bases.items() if row.get(key)}
        if "ref" not in found or "est" not in found:
            raise OptionError(f"row {number} has no ref or no est", path)
        label = estimate.name if estimate else ""
        pairs.append(Pair(row["est"], label, found["ref"], found["est"], found.get("noisy")))
    return Pairing(tuple(pairs), ())


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file with a header.

    Raises:
        OptionError: it cannot be read, or has no rows.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = [{key: value or "" for key, value in row.items() if key} for row in csv.DictReader(file)]
    except OSError as error:
        raise OptionError(f"cannot be read ({error.strerror})", path) from None
    except csv.Error as error:
        raise OptionError(f"is not a table ({error})", path) from None
    if not rows:
        raise OptionError("has no rows", path)
    return rows


def label_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Folders by as little of their paths as tells them apart: their names, or more.

    Raises:
        OptionError: the same folder twice.
    """
    parts = [path.absolute().parts for path in folders]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(each[-depth:]) for each in parts]
        if len(set(labels)) == len(labels):
            return dict(zip(labels, folders, strict=True))
    raise OptionError("the same folder of estimates is given twice")
