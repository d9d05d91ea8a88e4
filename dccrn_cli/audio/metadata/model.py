"""What a recording says of itself besides its sound, in a form that all containers share, and in that of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

MAX_BYTES = 64 << 20
"""Of all metadata of a file; what is beyond is left out, and said."""


class Picture(NamedTuple):
    """Cover art.

    Attributes:
        kind: as in ID3 and FLAC; 3 is the front cover.
        mime: such as `image/jpeg`.
        description: of any kind.
        data: the image file.
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
    """What containers share.

    Attributes:
        comments: names as in Vorbis comments, upper case, with values; a name may come more than once.
        pictures, chapters: see there.
        unknown: names of what only the recording's own container holds.
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
    """What stands beside the sound of a file.

    Attributes:
        family: of containers between which `blocks` can be copied as they are: RIFF, RIFX, FORM, FLAC, OGG or MP3.
        blocks: names with contents, as they stand in the file.
        split: how many of the blocks stand before the sound.
        common: gives the same as far as other containers hold it.
        strings: title, artist and so on by libsndfile's names.
        notes: what was too large to be read.
    """

    family: str = ""
    blocks: Sequence[tuple[bytes, bytes]] = ()
    split: int = 0
    common: Callable[[], Common] = _nothing
    strings: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def with_strings(self, strings: Mapping[str, str]) -> Metadata:
        """The same with libsndfile's view of it."""
        return replace(self, strings=strings)


KEYS = {
    "title": "TITLE", "copyright": "COPYRIGHT", "artist": "ARTIST", "comment": "COMMENT", "date": "DATE",
    "album": "ALBUM", "license": "LICENSE", "tracknumber": "TRACKNUMBER", "genre": "GENRE", "software": "ENCODER",
}  # fmt: skip
"""Names of comments by libsndfile's names of strings."""


def left_out(common: Common, held: Mapping[str, str] | None = None, container: str = "") -> str:
    """The note for what a container does not hold, or "".

    Args:
        common: what there was.
        held: what was written of it all the same, by libsndfile's names of strings.
        container: its name.
    """
    kept = {KEYS[name] for name in held or {} if name in KEYS}
    lost = [name for name in dict.fromkeys(name for name, _ in common.comments) if name not in kept]
    parts = [
        f"tags {', '.join(lost[:5])}{f' and {len(lost) - 5} more' if len(lost) > 5 else ''}" if lost else "",
        "cover art" if common.pictures else "",
        f"{len(common.chapters)} chapters" if common.chapters else "",
        ", ".join(common.unknown),
    ]
    parts = list(filter(None, parts))
    return f"{container or 'the container'} does not hold {'; '.join(parts)}" if parts else ""
