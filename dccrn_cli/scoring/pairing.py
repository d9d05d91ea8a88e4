"""Pairs estimates with references."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from dccrn_cli.audio.discovery import walk
from dccrn_cli.audio.media import is_sound
from dccrn_cli.errors import OptionError
from dccrn_cli.scoring.affixes import match_affixed
from dccrn_cli.utils.csv_text import read_csv
from dccrn_cli.utils.paths import path_kind

T = TypeVar("T")


@dataclass(frozen=True)
class FilePair:
    """An estimate and its reference; without a reference only some metrics are defined.

    Attributes:
        file: display name: the estimate's path relative to its folder.
        system: label of its folder.
    """

    file: str
    system: str
    reference: Path | None
    estimate: Path
    noisy: Path | None = None


@dataclass(frozen=True)
class Unmatched:
    """A file without a partner; either `reference` or `estimate` is None."""

    file: str
    system: str
    reference: Path | None
    estimate: Path | None
    reason: str


@dataclass(frozen=True)
class Pairing:
    """All pairs, and all unpaired files.

    Attributes:
        originals: files in folders of estimates that are beside results made from them.
    """

    pairs: tuple[FilePair, ...]
    unmatched: tuple[Unmatched, ...]
    originals: tuple[Path, ...] = ()


def _fileid(name: str) -> Hashable | None:
    match = re.search(r"fileid_(\d+)$", PurePosixPath(name).stem)
    return int(match[1]) if match else None


_RULES: tuple[Callable[[str], Hashable | None], ...] = (
    lambda name: name,
    lambda name: str(PurePosixPath(name).with_suffix("")),
    lambda name: PurePosixPath(name).stem,
    _fileid,
)
"""Match by relative path, the path without suffix, the name without folders, or the DNS challenge file number."""


def match_names(left: Iterable[str], right: Iterable[str]) -> dict[str, str]:
    """Partners by name: marked results first, then by the first rule that matches both uniquely."""
    return match_results(left, right)[0]


def match_results(left: Iterable[str], right: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Partners by name, and the originals beside marked results, which have none."""
    left, right = list(left), list(right)
    partners, originals = match_affixed(left, right)
    free_left = [name for name in left if name not in partners and name not in originals]
    taken = set(partners.values())
    free_right = [name for name in right if name not in taken]
    for rule in _RULES:
        ours, theirs = _unique(free_left, rule), _unique(free_right, rule)
        partners |= {name: theirs[key] for key, name in ours.items() if key in theirs}
        taken = set(partners.values())
        free_left = [name for name in free_left if name not in partners]
        free_right = [name for name in free_right if name not in taken]
    return partners, originals


def _unique(names: Iterable[str], rule: Callable[[str], Hashable | None]) -> dict[Hashable, str]:
    by_key: dict[Hashable, list[str]] = {}
    for name in names:
        if (key := rule(name)) is not None:
            by_key.setdefault(key, []).append(name)
    return {key: same[0] for key, same in by_key.items() if len(same) == 1}


def pair_paths(reference: Path | None, estimates: Mapping[str, Path], noisy: Path | None = None) -> Pairing:
    """Match folders, or single files regardless of name.

    Args:
        reference: folder or file; None for pairs without reference.
        estimates: folders or files by the label of their system.
        noisy: folder or file, matched with the estimates, otherwise with the references.

    Raises:
        OptionError: a path is missing, files are mixed with folders, or a folder has no audio file.
    """
    paths = [*([reference] if reference else []), *estimates.values(), *([noisy] if noisy else [])]
    kinds = [path_kind(path) for path in paths]
    for path, (kind, why) in zip(paths, kinds, strict=True):
        if why:
            raise OptionError(why, path)
        if kind == "folder" and any(other == "file" for other, _ in kinds):
            files = [path for path, (other, _) in zip(paths, kinds, strict=True) if other == "file"]
            raise OptionError("is a file; give either folders or files, not both", files[0])
    if all(kind == "file" for kind, _ in kinds):
        return Pairing(tuple(FilePair(p.name, label, reference, p, noisy) for label, p in estimates.items()), ())
    locked: list[Unmatched] = []

    def leave(path: Path, why: str) -> None:
        locked.append(Unmatched(path.name, next(iter(estimates)), None, path, why))

    references = find_files(reference, leave) if reference else None
    noisies = find_files(noisy, leave) if noisy else {}
    parts = [_pair_folder(label, find_files(folder, leave), references, noisies) for label, folder in estimates.items()]
    pairs = tuple(itertools.chain.from_iterable(part[0] for part in parts))
    unmatched = tuple(itertools.chain.from_iterable(part[1] for part in parts))
    originals = tuple(itertools.chain.from_iterable(part[2] for part in parts))
    return Pairing(pairs, (*unmatched, *locked), originals)


def _pair_folder(
    label: str, found: Mapping[str, Path], references: Mapping[str, Path] | None, noisies: Mapping[str, Path]
) -> tuple[list[FilePair], list[Unmatched], list[Path]]:
    """Pairs of one system, its unpaired files and references, and its originals."""
    partners, originals = match_results(found, references if references is not None else noisies)
    if references is None:
        partners = {name: name for name in found if name not in originals}
    # Results may be beside their originals: no file may be its own noisy file.
    results = {os.path.realpath(found[name]) for name in partners}
    noisies = {name: path for name, path in noisies.items() if os.path.realpath(path) not in results}
    before = match_names(partners, noisies)
    by_reference = match_names(references or (), noisies)
    pairs, unmatched = [], []
    for name, path in found.items():
        if name in partners:
            noise_name = before.get(name) or by_reference.get(partners[name])
            noise = None if noise_name is None else noisies[noise_name]
            pairs.append(FilePair(name, label, None if references is None else references[partners[name]], path, noise))
        elif name not in originals:
            unmatched.append(Unmatched(name, label, None, path, _why(name, references or (), "reference")))
    taken = set(partners.values())
    unmatched += [
        Unmatched(name, label, path, None, _why(name, found.keys() - originals, "estimate"))
        for name, path in (references or {}).items()
        if name not in taken
    ]
    return pairs, unmatched, [found[name] for name in found if name in originals]


def _why(name: str, others: Iterable[str], kind: str) -> str:
    stem = PurePosixPath(name).stem
    alike = [other for other in others if PurePosixPath(other).stem == stem]
    return f"several files could be its {kind}: {', '.join(alike[:3])}" if len(alike) > 1 else f"no {kind}"


def find_files(folder: Path, unreadable: Callable[[Path, str], None]) -> dict[str, Path]:
    """Find audio files below a folder, by relative path in sorted order; links are followed.

    Args:
        folder: folder to search.
        unreadable: called with each unreadable subfolder and the reason.

    Raises:
        OptionError: there is no audio file, or the folder itself cannot be read.
    """

    def leave(path: Path, why: str) -> None:
        if path == folder:
            raise OptionError(why, path)
        unreadable(path, why)

    found = {path.relative_to(folder).as_posix(): path for path in walk(folder, leave) if is_sound(path)}
    if not found:
        raise OptionError("no audio files", folder)
    return dict(sorted(found.items()))


def read_pair_table(
    path: Path, reference: Path | None = None, estimate: Path | None = None, noisy: Path | None = None
) -> Pairing:
    """Read pairs from a CSV file with the columns `ref`, `est` and optionally `noisy`.

    Args:
        path: the table.
        reference, estimate, noisy: base folders of relative names; None for the table's folder.

    Raises:
        OptionError: the table cannot be read, or a column or value is missing.
    """
    rows = read_table(path)
    bases = {"ref": reference, "est": estimate, "noisy": noisy}
    pairs = []
    for number, row in enumerate(rows, 1):
        found = {key: (base or path.parent) / row[key] for key, base in bases.items() if row.get(key)}
        if "est" not in found or ("ref" in row and "ref" not in found):
            raise OptionError(f"row {number} has no ref or no est", path)
        label = estimate.name if estimate else ""
        pairs.append(FilePair(row["est"], label, found.get("ref"), found["est"], found.get("noisy")))
    return Pairing(tuple(pairs), ())


def read_table(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Raises:
        OptionError: the file cannot be read or has no rows.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = [{key: value or "" for key, value in row.items()} for row in read_csv(file.read())[1]]
    except OSError as error:
        raise OptionError(f"cannot be read ({error.strerror})", path) from None
    except csv.Error as error:
        raise OptionError(f"is not a table ({error})", path) from None
    if not rows:
        raise OptionError("has no rows", path)
    return rows


def label_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Label folders by the shortest distinct ends of their paths.

    Raises:
        OptionError: a folder is given twice.
    """
    parts = [path.absolute().parts for path in folders]
    for depth in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(each[-depth:]) for each in parts]
        if len(set(labels)) == len(labels):
            return dict(zip(labels, folders, strict=True))
    raise OptionError("the same folder of estimates is given twice")
