"""Matches results named after their originals: `talk_clean.wav`, `enhanced_talk.wav`, `studio_talk.wav`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

USUAL = frozenset(
    ("enhanced", "clean", "cleaned", "denoised", "processed", "output", "out", "est", "estimate", "result", "dccrn")
)
"""Words commonly used to mark results; one file is enough to accept them."""

_LEAST = 2
"""Minimum number of files with any other mark."""


class Affix(NamedTuple):
    """Text added before and after a name."""

    before: str
    after: str

    @property
    def is_usual(self) -> bool:
        """Whether this is a word commonly used to mark results."""
        return (self.before + self.after).strip("_-. ").lower() in USUAL


def match_affixed(results: Iterable[str], references: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Find partners of results that share a mark within their folder, and the originals beside them.

    A mark is text before or after the name (or both, separated by `_`, `-`, `.` or a space) with a letter
    in it. It is accepted if it is a common one, or if it is on at least two files and at least half as
    many as have a plain name; no other mark may be on as many files, and no reference may have the marked
    name.

    Args:
        results: relative paths with `/`.
        references: relative paths with `/`.

    Returns:
        References by result, and files with a plain name beside marked results: the inputs of
        `dccrn enhance --suffix`, not its outputs.
    """
    results = list(results)
    by_stem: dict[str, list[str]] = {}
    for name in references:
        by_stem.setdefault(PurePosixPath(name).stem, []).append(name)
    folders: dict[PurePosixPath, list[PurePosixPath]] = {}
    for name in results:
        folders.setdefault(PurePosixPath(name).parent, []).append(PurePosixPath(name))
    partners: dict[str, str] = {}
    originals: set[str] = set()
    for folder, paths in folders.items():
        found = _in_folder(folder, paths, by_stem)
        partners |= found
        if found:
            originals |= {str(path) for path in paths if path.stem in by_stem}
    once = Counter(partners.values())
    return {name: partner for name, partner in partners.items() if once[partner] == 1}, originals


def _in_folder(folder: PurePosixPath, paths: list[PurePosixPath], by_stem: dict[str, list[str]]) -> dict[str, str]:
    """References by result, for the results of one folder that have its mark."""
    marked: dict[Affix, dict[str, str]] = {}
    for path in paths:
        if path.stem in by_stem:
            continue
        for affix, stem in _marks(path.stem):
            if stem in by_stem and (partner := _choose(folder, by_stem[stem])):
                marked.setdefault(affix, {})[str(path)] = partner
    least = max(_LEAST, sum(path.stem in by_stem for path in paths) / 2)
    believed = {affix: found for affix, found in marked.items() if affix.is_usual or len(found) >= least}
    if not believed:
        return {}
    best = max(_rank(affix, found) for affix, found in believed.items())
    chosen = [found for affix, found in believed.items() if _rank(affix, found) == best]
    return chosen[0] if len(chosen) == 1 else {}


def _rank(affix: Affix, found: dict[str, str]) -> tuple[bool, int]:
    return affix.is_usual, len(found)


def _choose(folder: PurePosixPath, candidates: list[str]) -> str | None:
    """The reference in the same folder, or the only one."""
    here = [name for name in candidates if PurePosixPath(name).parent == folder]
    chosen = here or candidates
    return chosen[0] if len(chosen) == 1 else None


def _marks(stem: str) -> Iterator[tuple[Affix, str]]:
    """All possible marks of a name, each with the name without it."""
    for cut in range(1, len(stem)):
        if _has_letter(stem[:cut]):
            yield Affix(stem[:cut], ""), stem[cut:]
        if _has_letter(stem[cut:]):
            yield Affix("", stem[cut:]), stem[:cut]
    parts = [match.start() for match in re.finditer(r"[_\-. ]", stem)]
    for start in parts:
        for end in parts:
            if start + 1 < end:
                yield Affix(stem[: start + 1], stem[end:]), stem[start + 1 : end]


def _has_letter(text: str) -> bool:
    return any(character.isalpha() for character in text)
