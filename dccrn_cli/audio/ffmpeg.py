"""Opening files and finding their audio tracks with FFmpeg, from the optional package `av`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dccrn_cli.errors import MissingDependency


def import_av() -> Any:
    """Import the package `av` with its messages silenced.

    Raises:
        MissingDependency: the package is not installed.
    """
    try:
        import av
    except ImportError:
        raise MissingDependency("av", "av") from None
    av.logging.set_level(None)
    return av


class _QuietFile:
    """A file that reports failures to FFmpeg as return values, since exceptions would be printed on standard error."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.read, self.tell, self.name = file.read, file.tell, "file"

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek, or return -1 and stay where it is."""
        try:
            return int(self._file.seek(offset, whence))
        except (OSError, ValueError, OverflowError):
            return -1


def open_media(av: Any, file: Any) -> Any:
    """Open a file, already open for reading, with FFmpeg."""
    # No protocols, so that a playlist in disguise cannot open other files.
    return av.open(
        _QuietFile(file), "r", options={"protocol_whitelist": "none"}, metadata_errors="replace", buffer_size=1 << 18
    )


def default_track(container: Any) -> int:
    """Number, from 1, of the audio track that players use: the first marked as default, otherwise the first."""
    flagged = (n for n, stream in enumerate(container.streams.audio, 1) if stream.disposition.value & 1)
    return next(flagged, 1)


def count_tracks(path: Path) -> int:
    """Count the audio tracks of a file; 1 for an unreadable file, whose error is reported on reading.

    Raises:
        MissingDependency: the package `av` is not installed.
    """
    av = import_av()
    try:
        with open(path, "rb") as file, open_media(av, file) as container:
            return max(len(container.streams.audio), 1)
    except (av.error.FFmpegError, OSError, ValueError):
        return 1


def no_track(number: int | None, count: int) -> str:
    """Message for a missing audio track."""
    return f"no audio track {number}; the file has {count}"


def track_s(stream: Any, origin_s: float) -> float:
    """Declared length of a track in seconds; 0 if unknown."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    written = re.fullmatch("([0-9]+):([0-9]+):([0-9.]+)", stream.metadata.get("DURATION", ""))
    if written is None:
        return 0.0
    return 3600 * int(written[1]) + 60 * int(written[2]) + float(written[3]) - origin_s  # Matroska counts from 0
