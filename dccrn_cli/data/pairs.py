"""Pairs of noisy and clean speech."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dccrn_cli.data.clips import Clip, find_clips
from dccrn_cli.errors import DataError
from dccrn_cli.nn.config import SAMPLE_RATE

MIN_PAIR_S = 0.25


@dataclass(frozen=True)
class Pair:
    """One fixed pair at 16 kHz, each float32 `(samples,)`."""

    name: str
    noisy: np.ndarray
    clean: np.ndarray


def read_pairs(folder: str | Path) -> list[Pair]:
    """Read the pairs with the same relative path under `noisy/` and `clean/` of a folder.

    Raises:
        DataError: a folder is missing, or a file has no partner or one of another length.
    """
    return [read_pair(*couple) for couple in find_couples(Path(folder) / "noisy", Path(folder) / "clean")]


def find_couples(noisy: Path, clean: Path) -> list[tuple[Clip, Clip]]:
    """Pairs of clips with the same relative path in two folders, noisy first.

    Raises:
        DataError: a folder is missing, or a file has no partner.
    """
    there, here = ({clip.name: clip for clip in find_clips([folder])} for folder in (clean, noisy))
    if alone := sorted(there.keys() ^ here.keys()):
        raise DataError(f"{len(alone)} files without a partner, such as {alone[0]}", noisy)
    return [(here[name], there[name]) for name in sorted(here)]


def read_pair(noisy: Clip, clean: Clip) -> Pair:
    """Read the samples of two clips.

    Raises:
        DataError: a clip is unreadable or shorter than PESQ needs, or the lengths differ.
    """
    heard, wanted = (clip.decode(clip.content(), SAMPLE_RATE) for clip in (noisy, clean))
    if len(heard) != len(wanted):
        raise DataError("noisy and clean differ in length", noisy.name)
    if len(heard) < MIN_PAIR_S * SAMPLE_RATE:
        raise DataError(f"shorter than {MIN_PAIR_S} s", noisy.name)
    return Pair(noisy.name, heard, wanted)
