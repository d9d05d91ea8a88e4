"""Whole files as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dccrn_cli.audio.reader import open_sound
from dccrn_cli.errors import AudioError, DccrnError

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Sound:
    """A decoded file: float32 `(frames, channels)`, full scale 1."""

    samples: np.ndarray
    sample_rate: int
    note: str = ""


def read_sound(path: Path) -> Sound:
    """Decode a whole file.

    Raises:
        UnreadableAudio: not there, not audio, damaged, or without samples.
        MissingDependency: the package that reads such files is not installed.
    """
    with open_sound(path) as reader:
        blocks = list(reader.blocks(_BLOCK))
        if not blocks:
            raise AudioError("contains no samples")
        return Sound(np.concatenate(blocks), reader.info.sample_rate, reader.note)


class SoundCache:
    """Reads each of a few files once, and remembers those that cannot be read."""

    def __init__(self) -> None:
        self._sounds: dict[Path, Sound | str] = {}

    def get(self, path: Path) -> Sound:
        """The file, decoded.

        Raises:
            AudioError: as `read_sound`, the message without the path.
        """
        if path not in self._sounds:
            try:
                self._sounds[path] = read_sound(path)
            except DccrnError as error:
                self._sounds[path] = error.message
            except Exception as error:
                self._sounds[path] = f"{type(error).__name__}: {error}"
        found = self._sounds[path]
        if isinstance(found, str):
            raise AudioError(found)
        return found
