"""Opens any audio or media file with the right reader."""

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
    """Interface of all readers."""

    info: AudioInfo
    frames_read: int
    tags: dict[str, str]

    @property
    def note(self) -> str:
        """Notes on the source, or ""; complete only at its end."""

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks of float32 `(n, channels)`, n at most `frames`."""

    def metadata(self) -> Metadata:
        """Metadata to carry over to the result."""

    def close(self) -> None:
        """Close the source."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


_PROBES = 8


class Probe(NamedTuple):
    """Length, sample rate and channels declared by the header of a file."""

    seconds: float
    channels: int

    @property
    def work_s(self) -> float:
        """Seconds of audio to process, over all channels."""
        return self.seconds * self.channels


def open_sound(path: Path, track: int | None = None) -> Reader:
    """Open a file by content; the suffix only decides which reader is tried first.

    Args:
        path: the file.
        track: number of the audio track, from 1; None for the default track.

    Raises:
        UnreadableAudio: the file is missing, damaged, not audio, or lacks this track.
        MissingDependency: the package for files of this kind is not installed.
    """
    kind = media_kind(path)
    plain = kind in ("", PLAIN, UNCOMMON_WAV) or kind.startswith("CAF")
    if path.suffix.lower() in MEDIA_SUFFIXES:
        # A file with a media suffix may be plain audio, which needs no further package.
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
        raise UnreadableAudio(f"{why if plain else error.message}; it appears to be {kind}", path) from None


def _plain(path: Path, track: int | None) -> AudioReader:
    if track not in (None, 1):
        raise UnreadableAudio(no_track(track, 1), path)
    return AudioReader(path)


def probe(paths: Sequence[Path]) -> list[Probe]:
    """Read the headers of files, several at once; zeros for unreadable ones."""
    with concurrent.futures.ThreadPoolExecutor(_PROBES) as pool:
        return list(pool.map(_probe, paths, chunksize=64))


def _probe(path: Path) -> Probe:
    try:
        with open_sound(path) as reader:
            return Probe(reader.info.seconds, reader.info.channels)
    except (DccrnError, OSError):
        return Probe(0.0, 0)
