"""Decodes whole files to arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dccrn_cli.audio.reader import open_sound
from dccrn_cli.errors import AudioError

_BLOCK_SAMPLES = 1 << 20  # of all channels together

MAX_SAMPLES = 1 << 29
"""Most samples over all channels of a file decoded whole: 2 GiB."""

MIN_RATE, MAX_RATE = 2_000, 768_000
"""Supported sample rates in Hz of files decoded whole; others indicate damage or malice."""


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
        rate, channels = reader.info.sample_rate, reader.info.channels
        if not MIN_RATE <= rate <= MAX_RATE:
            raise AudioError(f"a sample rate of {rate} Hz is not supported")
        blocks = []
        for block in reader.blocks(max(_BLOCK_SAMPLES // channels, 1)):
            blocks.append(block)
            if reader.frames_read * channels > MAX_SAMPLES:
                raise AudioError(f"longer than {MAX_SAMPLES // (rate * channels * 60):,} min, too long to decode whole")
        if not blocks:
            raise AudioError("contains no samples")
        return Sound(np.concatenate(blocks), reader.info.sample_rate, reader.note)
