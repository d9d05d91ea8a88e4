"""FFmpeg, which comes with the optional package `av`: opening files and finding their sound tracks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dccrn_cli.errors import MissingDependency


def import_av() -> Any:
    """The package, told to be quiet.

    Raises:
        MissingDependency: it is not there.
    """
    try:
        import av
    except ImportError:
        raise MissingDependency("av", "av") from None
    av.logging.set_level(None)
    return av


def open_media(av: Any, file: Any) -> Any:
    """FFmpeg's view of a file that is open for reading."""
    # No protocol, so that a playlist in disguise opens no other files.
    return av.open(file, "r", options={"protocol_whitelist": "none"}, metadata_errors="replace", buffer_size=1 << 18)


def default_track(container: Any) -> int:
    """Number, from 1 on, of the sound track that players take: the first one marked as default, else the first."""
    flagged = (n for n, stream in enumerate(container.streams.audio, 1) if stream.disposition.value & 1)
    return next(flagged, 1)


def count_tracks(path: Path) -> int:
    """How many sound tracks a file has; 1 for what cannot be read, which reading it will say.

    Raises:
        MissingDependency: no package `av`.
    """
    av = import_av()
    try:
        with open(path, "rb") as file, open_media(av, file) as container:
            return max(len(container.streams.audio), 1)
    except (av.error.FFmpegError, OSError, ValueError):
        return 1


def no_track(number: int | None, count: int) -> str:
    """The message where a sound track is asked for that is not there."""
    return f"there is no sound track {number}; it has {count}"


def track_s(stream: Any, origin_s: float) -> float:
    """What the header says of the length of a track, seconds; 0 where it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    written = re.fullmatch("([0-9]+):([0-9]+):([0-9.]+)", stream.metadata.get("DURATION", ""))
    if written is None:
        return 0.0
    return 3600 * int(written[1]) + 60 * int(written[2]) + float(written[3]) - origin_s  # Matroska counts from 0
