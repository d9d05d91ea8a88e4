"""Comments of Ogg Vorbis and Opus files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.metadata import flac
from dccrn_cli.audio.metadata.edit import replace_bytes
from dccrn_cli.audio.metadata.model import MAX_BYTES, Common, Metadata
from dccrn_cli.audio.ogg_pages import with_checksum

_MARKS = (b"OpusTags", b"\x03vorbis")
_HEADERS = {b"OpusHead": 2, b"\x01vorbis": 3}
_CONTINUED = 1


class _Page(NamedTuple):
    start: int
    head: bytes
    lacing: bytes
    body: bytes

    @property
    def stop(self) -> int:
        return self.start + len(self.head) + len(self.lacing) + len(self.body)


def _page(file: BinaryIO, at: int) -> _Page | None:
    file.seek(at)
    head = file.read(27)
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    lacing = file.read(head[26])
    return _Page(at, head, lacing, file.read(sum(lacing)))


def _headers(file: BinaryIO) -> tuple[list[bytes], list[_Page]]:
    """Packets before the audio, and the pages that they fill; empty if the pages are not as expected."""
    packets: list[bytes] = []
    pages, open_packet, at, total = [], bytearray(), 0, 0
    wanted = None
    while (page := _page(file, at)) and total < MAX_BYTES:
        pages.append(page)
        offset, total = 0, total + len(page.body)
        for size in page.lacing:
            open_packet += page.body[offset : offset + size]
            offset += size
            if size < 255:
                packets.append(bytes(open_packet))
                open_packet.clear()
        if wanted is None:
            wanted = next((n for mark, n in _HEADERS.items() if packets and packets[0].startswith(mark)), 0)
        if len(packets) >= wanted:
            return (packets, pages) if len(packets) == wanted and not open_packet else ([], [])
        at = page.stop
    return [], []


def _mark_of(packet: bytes) -> bytes:
    return next((mark for mark in _MARKS if packet.startswith(mark)), b"")


def read(file: BinaryIO) -> Metadata:
    """Read the comments of the first stream."""
    packets, _ = _headers(file)
    if len(packets) < 2 or not (mark := _mark_of(packets[1])):
        return Metadata("OGG")
    data = packets[1][len(mark) :]
    entries = [entry for entry in flac.comment_list(data) if not entry.upper().startswith(b"ENCODER=")]
    return Metadata("OGG", [(b"", entry) for entry in entries], 0, lambda: flac.parse_comments(data))


def write(file: BinaryIO, entries: Sequence[bytes]) -> bool:
    """Replace the comments of a finished file.

    Returns:
        False if its pages are not as expected, in which case nothing is written.
    """
    packets, pages = _headers(file)
    if len(packets) < 2 or not (mark := _mark_of(packets[1])):
        return False
    data = packets[1][len(mark) :]
    vendor = data[4 : 4 + struct.unpack_from("<I", data)[0]]
    own = [entry for entry in flac.comment_list(data) if entry.upper().startswith(b"ENCODER=")]
    packets[1] = mark + flac.pack_comments(vendor, [*entries, *own]) + (b"\x01" if mark == b"\x03vorbis" else b"")
    serial = pages[0].head[14:18]
    new = _paginated(packets[1:], serial)
    at, shift = pages[-1].stop, len(new) - (len(pages) - 1)
    replace_bytes(file, pages[0].stop, at, b"".join(new))
    at += sum(map(len, new)) - (at - pages[0].stop)
    while shift and (page := _page(file, at)):
        number = struct.unpack_from("<I", page.head, 18)[0] + shift
        head = page.head[:18] + struct.pack("<II", number, 0) + page.head[26:]
        file.seek(at)
        file.write(with_checksum(head + page.lacing + page.body)[:27])
        at = page.stop
    return True


def write_common(file: BinaryIO, common: Common) -> bool:
    """Replace the comments with metadata from another container."""
    return write(file, flac.comment_list(flac.comment_block(common, "", with_pictures=True)))


def _paginated(packets: Sequence[bytes], serial: bytes) -> list[bytes]:
    """Pages from number 1 on that contain exactly these packets."""
    sizes: list[int] = []
    for packet in packets:
        sizes += [255] * (len(packet) // 255) + [len(packet) % 255]
    body, pages, at = b"".join(packets), [], 0
    continued, ended = False, 0
    for number, first in enumerate(range(0, len(sizes), 255), 1):
        lacing = bytes(sizes[first : first + 255])
        ended = sum(size < 255 for size in lacing)
        position = 0 if ended else -1
        head = b"OggS" + struct.pack("<BBq", 0, _CONTINUED if continued else 0, position) + serial
        head += struct.pack("<IIB", number, 0, len(lacing))
        pages.append(with_checksum(head + lacing + body[at : at + sum(lacing)]))
        at += sum(lacing)
        continued = lacing[-1] == 255
    return pages
