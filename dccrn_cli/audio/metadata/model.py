"""Metadata of a recording, in a form shared by all containers and in that of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

MAX_BYTES = 64 << 20
"""Size limit for the metadata of a file; anything beyond is omitted with a note."""


class Picture(NamedTuple):
    """Cover art.

    Attributes:
        kind: picture type as in ID3 and FLAC; 3 is the front cover.
        mime: media type, such as `image/jpeg`.
        description: free text.
        data: content of the image file.
    """

    kind: int
    mime: str
    description: str
    data: bytes


class Chapter(NamedTuple):
    """Start and end in seconds, and a title."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True)
class Common:
    """Metadata that containers share.

    Attributes:
        comments: upper-case names as in Vorbis comments, with values; a name may occur more than once.
        pictures, chapters: cover art and chapters.
        unknown: names of metadata that only the recording's own container can store.
    """

    comments: Sequence[tuple[str, str]] = ()
    pictures: Sequence[Picture] = ()
    chapters: Sequence[Chapter] = ()
    unknown: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.comments or self.pictures or self.chapters or self.unknown)


def _nothing() -> Common:
    return Common()


@dataclass(frozen=True)
class Metadata:
    """Metadata of a file.

    Attributes:
        family: containers between which `blocks` can be copied unchanged: RIFF, RIFX, FORM, FLAC, OGG or MP3.
        blocks: names with contents, as in the file.
        split: number of blocks before the audio.
        common: returns the metadata as far as other containers can store it.
        strings: title, artist and so on by libsndfile's names.
        id3: the ID3v2 tag of an MP3 or of a chunk, which all of MP3, WAV and AIFF hold unchanged; may be empty.
        notes: notes on metadata too large to be read.
    """

    family: str = ""
    blocks: Sequence[tuple[bytes, bytes]] = ()
    split: int = 0
    common: Callable[[], Common] = _nothing
    strings: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    id3: bytes = b""

    def with_strings(self, strings: Mapping[str, str]) -> Metadata:
        """A copy with libsndfile's strings."""
        return replace(self, strings=strings)


KEYS = {
    "title": "TITLE", "copyright": "COPYRIGHT", "artist": "ARTIST", "comment": "COMMENT", "date": "DATE",
    "album": "ALBUM", "license": "LICENSE", "tracknumber": "TRACKNUMBER", "genre": "GENRE", "software": "ENCODER",
}  # fmt: skip
"""Comment names by libsndfile's names of strings."""


def left_out(common: Common, held: Mapping[str, str] | None = None, container: str = "") -> str:
    """Note on metadata that a container cannot store, or "".

    Args:
        common: metadata of the source.
        held: the part that was stored nevertheless, one value each, by libsndfile's names of strings.
        container: name of the container.
    """
    kept = {KEYS[name] for name in held or {} if name in KEYS}
    counts = Counter(name for name, _ in common.comments)
    lost = [name for name, count in counts.items() if name not in kept or count > 1]
    parts = [
        f"tags {', '.join(lost[:5])}{f' and {len(lost) - 5} more' if len(lost) > 5 else ''}" if lost else "",
        "cover art" if common.pictures else "",
        f"{len(common.chapters)} chapters" if common.chapters else "",
        ", ".join(common.unknown),
    ]
    parts = list(filter(None, parts))
    return f"{container or 'the container'} cannot store {'; '.join(parts)}" if parts else ""
