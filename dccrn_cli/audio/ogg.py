"""Ogg files page by page: which streams follow each other, and whether the last one has an end."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

_PIECE = 1 << 20
_FIRST, _LAST = 2, 4
_HEAD_BYTES = 27 + 255


class Pages(NamedTuple):
    """What an Ogg file holds.

    Attributes:
        links: where each of the streams that follow each other starts and stops.
        has_end: the last page says that it is the last, and is whole.
    """

    links: list[tuple[int, int]]
    has_end: bool


def read_pages(file: BinaryIO, size: int) -> Pages:
    """Go through an Ogg file; what lies between pages is passed over.

    Raises:
        OSError: it cannot be read.
    """
    links: list[tuple[int, int]] = []
    data, base, at, before, whole = b"", 0, 0, _FIRST, False
    starting = True
    while at + 27 <= size:
        if at < base or at + _HEAD_BYTES > base + len(data):
            file.seek(at)
            data, base = file.read(_PIECE), at
            if len(data) < 27:
                break
        offset = at - base
        if data[offset : offset + 4] != b"OggS":
            following = data.find(b"OggS", offset + 1)
            at = base + following if following > 0 else base + max(len(data) - 3, offset + 1)
            continue
        count, flags = data[offset + 26], data[offset + 5]
        length = 27 + count + sum(data[offset + 27 : offset + 27 + count])
        if flags & _FIRST and (starting or not before & _FIRST):
            links.append((at, at))
            starting = False
        before, whole = flags, at + length <= size
        at += length
        if links:
            links[-1] = (links[-1][0], min(at, size))
    return Pages(links, whole and bool(before & _LAST))
