"""Decodes whole files to arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dccrn_cli.audio.reader import open_sound
from dccrn_cli.errors import AudioError

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Sound:
    """A decoded file: float32 `(frames, channels)`, full scale 1.0."""

    samples: np.ndarray
    sample_rate: int
    note: str = ""


def read_sound(path: Path) -> Sound:
    """Decode a whole file.

    Raises:
        UnreadableAudio: the file is missing, damaged, empty or not audio.
        MissingDependency: the package for files of this kind is not installed.
    """
    with open_sound(path) as reader:
        blocks = list(reader.blocks(_BLOCK))
        if not blocks:
            raise AudioError("contains no samples")
        return Sound(np.concatenate(blocks), reader.info.sample_rate, reader.note)
