"""Scans Ogg files page by page for consecutive streams and a missing end."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.extent import CUT_OFF

MISSING_END = CUT_OFF + "the end of the Ogg stream is missing"

_PIECE = 1 << 20
_FIRST, _LAST = 2, 4
_HEAD_BYTES = 27 + 255


class Pages(NamedTuple):
    """Streams of an Ogg file.

    Attributes:
        links: start and end of each consecutive stream.
        has_end: whether the last page is complete and marked as last.
    """

    links: list[tuple[int, int]]
    has_end: bool


def read_pages(file: BinaryIO, size: int) -> Pages:
    """Scan an Ogg file, skipping anything between pages.

    Raises:
        OSError: the file cannot be read.
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
