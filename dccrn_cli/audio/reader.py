"""One door to all readers."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np

from dccrn_cli.audio.ffmpeg import no_track
from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.media import MEDIA_SUFFIXES, MediaReader
from dccrn_cli.audio.metadata import Metadata
from dccrn_cli.audio.sniff import PLAIN, UNCOMMON_WAV, media_kind
from dccrn_cli.errors import DccrnError, MissingDependency, UnreadableAudio


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

    def metadata(self) -> Metadata:
        """What stands beside the sound, for its result."""

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


def open_sound(path: Path, track: int | None = None) -> Reader:
    """A reader for a file, by its content; the suffix says only which one is tried first.

    Args:
        path: the file.
        track: which sound track, from 1 on; None for the default one.

    Raises:
        UnreadableAudio: not there, not audio, without this track, damaged.
        MissingDependency: the package that reads such names is not installed.
    """
    kind = media_kind(path)
    plain = kind in ("", PLAIN, UNCOMMON_WAV) or kind.startswith("CAF")
    if path.suffix.lower() in MEDIA_SUFFIXES:
        # What is no film may be plain audio under a wrong name, which needs no further package.
        return _plain(path, track) if kind and plain else MediaReader(path, track)
    try:
        if plain:
            return _plain(path, track)
        why = "not readable as audio"
    except UnreadableAudio as error:
        if kind in ("", PLAIN):
            raise
        why = error.message
    try:
        return MediaReader(path, track)
    except MissingDependency as missing:
        raise UnreadableAudio(f"is {kind}: {missing.message}", path) from None
    except UnreadableAudio as error:
        raise UnreadableAudio(f"{why if plain else error.message}; it seems to be {kind}", path) from None


def _plain(path: Path, track: int | None) -> AudioReader:
    if track not in (None, 1):
        raise UnreadableAudio(no_track(track, 1), path)
    return AudioReader(path)


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
