"""One door to all readers."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np

from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.media import MEDIA_SUFFIXES, MediaReader
from dccrn_cli.errors import DccrnError


class Reader(Protocol):
    """What all readers have; `AudioReader` says what it means."""

    info: AudioInfo
    frames_read: int
    tags: dict[str, str]

    @property
    def note(self) -> str:
        """What a user should know, or ""; all of it is known at the end."""

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Float32 `(n, channels)`, n at most `frames`."""

    def close(self) -> None:
        """Close the source."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_PROBES = 8


class Probe(NamedTuple):
    """Length and channels of a file by its header."""

    seconds: float
    channels: int

    @property
    def work_s(self) -> float:
        """Seconds of audio that the network will hear."""
        return self.seconds * self.channels


def open_sound(path: Path) -> Reader:
    """A reader for a file, by its suffix.

    Raises:
        UnreadableAudio: not there, not audio, damaged.
        MissingDependency: the package that reads such files is not installed.
    """
    return MediaReader(path) if path.suffix.lower() in MEDIA_SUFFIXES else AudioReader(path)


def probe(paths: Sequence[Path]) -> list[Probe]:
    """What the headers of files say, several read at once; zeros for those that say nothing."""
    with concurrent.futures.ThreadPoolExecutor(_PROBES) as pool:
        return list(pool.map(_probe, paths, chunksize=64))


def _probe(path: Path) -> Probe:
    try:
        with open_sound(path) as reader:
            return Probe(reader.info.seconds, reader.info.channels)
    except (DccrnError, OSError):
        return Probe(0.0, 0)
