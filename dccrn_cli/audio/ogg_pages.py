"""Scans Ogg files page by page for consecutive streams, damage and a missing end."""

from __future__ import annotations

import zlib
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.extent import CUT_OFF, damaged

MISSING_END = CUT_OFF + "the end of the Ogg stream is missing"

_PIECE = 1 << 20
_FIRST, _LAST = 2, 4
_HEAD_BYTES = 27 + 255
_CHECKSUM_AT = 22
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Pages(NamedTuple):
    """Streams of an Ogg file.

    Attributes:
        links: start and end of each consecutive stream.
        has_end: whether the last page is complete and marked as last.
        damages: number of places with damaged pages, which decoders leave out.
    """

    links: list[tuple[int, int]]
    has_end: bool
    damages: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on missing audio."""
        return (*([damaged(self.damages)] if self.damages else []), *([] if self.has_end else [MISSING_END]))


def with_checksum(page: bytes) -> bytes:
    """A page with its checksum set, whatever it was."""
    page = page[:_CHECKSUM_AT] + bytes(4) + page[_CHECKSUM_AT + 4 :]
    # zlib's CRC with the bits of all bytes and of the sum reversed, and without the final complement.
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    reversed_crc = int(f"{crc:032b}"[::-1], 2)
    return page[:_CHECKSUM_AT] + reversed_crc.to_bytes(4, "little") + page[_CHECKSUM_AT + 4 :]


def read_pages(file: BinaryIO, size: int) -> Pages:
    """Scan an Ogg file, skipping anything between pages.

    Raises:
        OSError: the file cannot be read.
    """
    links: list[tuple[int, int]] = []
    data, base, at, before, whole = b"", 0, 0, _FIRST, False
    starting, damages, is_bad, is_behind_junk = True, 0, False, False
    while at + 27 <= size:
        if at < base or at + _HEAD_BYTES > base + len(data):
            file.seek(at)
            data, base = file.read(_PIECE), at
            if len(data) < 27:
                break
        offset = at - base
        if data[offset : offset + 4] != b"OggS":
            is_behind_junk = not starting
            following = data.find(b"OggS", offset + 1)
            at = base + following if following > 0 else base + max(len(data) - 3, offset + 1)
            continue
        count, flags = data[offset + 26], data[offset + 5]
        length = 27 + count + sum(data[offset + 27 : offset + 27 + count])
        if at + length <= size:
            if offset + length > len(data):
                file.seek(at)
                data, base, offset = file.read(_PIECE), at, 0
            page = data[offset : offset + length]
            damages += (is_bad or is_behind_junk) and not flags & _FIRST
            is_bad, is_behind_junk = with_checksum(page) != page, False
        if flags & _FIRST and (starting or not before & _FIRST):
            links.append((at, at))
            starting = False
        before, whole = flags, at + length <= size
        at += length
        if links:
            links[-1] = (links[-1][0], min(at, size))
    return Pages(links, whole and bool(before & _LAST), damages + is_bad)
