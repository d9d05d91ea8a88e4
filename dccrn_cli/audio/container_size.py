"""Compares the size that a media container declares with that of the file, where FFmpeg does not report it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.extent import CUT_OFF, OPEN_ENDED, cut_off, unread
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME, find_chain_end
from dccrn_cli.audio.mpeg import tag_size
from dccrn_cli.audio.ogg_pages import read_pages

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE_AT = 40
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_WAVPACK = b"wvpk"
_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip")

_LYRICS = b"LYRICSBEGIN"
_LEAST_BYTES = 1 << 10
"""Fewer bytes behind the frames are ignored."""

_MISSING_END = CUT_OFF + "its end is missing"


class ContainerEnd(NamedTuple):
    """End of what a decoder needs, and a note on a file that is shorter or longer than its container declares."""

    stop: int
    note: str = ""


def find_container_end(file: BinaryIO, size: int) -> ContainerEnd:
    """Compare the size of a file with that of its container.

    Args:
        file: seekable file: AVI, MP4, MOV, Matroska, ASF, Ogg, WavPack or a chain of frames; nothing is said of others.
        size: size in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    note = _size_note(file, size)
    if note is not None:
        return ContainerEnd(size, note)
    end = find_chain_end(file, size)
    if end.is_cut:
        return ContainerEnd(size, INCOMPLETE_FRAME)
    file.seek(end.stop)
    behind = file.read(size - end.stop).lstrip(b"\0")
    is_tag = tag_size(behind[:32]) or behind.startswith(_LYRICS)
    return ContainerEnd(end.stop, "" if is_tag or len(behind) < _LEAST_BYTES else unread(size - end.stop))


def _size_note(file: BinaryIO, size: int) -> str | None:
    """Note on the size of a container; None if it is not one that declares its size."""
    file.seek(0)
    head = file.read(1 << 12)
    try:
        if head[:4] == b"RIFF":
            declared = struct.unpack_from("<I", head, 4)[0] + 8
            return cut_off(size, declared) if size < declared - 1 and declared < OPEN_ENDED else ""
        if head[:16] == _ASF and (at := head.find(_ASF_FILE)) > 0:
            (declared,) = struct.unpack_from("<Q", head, at + _ASF_SIZE_AT)
            return cut_off(size, declared) if size < declared else ""
        if head[:4] == _WAVPACK:
            return _note_on_blocks(file, size)
        if head[:4] == _EBML:
            return _note_on_segment(file, size)
        if head[4:8] in _BOXES:
            return _note_on_boxes(file, size)
    except struct.error:
        return ""
    if head[:4] == b"OggS":
        return "; ".join(read_pages(file, size).notes)
    return None


def _note_on_boxes(file: BinaryIO, size: int) -> str:
    for number, (name, start, stop) in enumerate(_boxes(file, size)):
        if name == b"ftyp" and number:
            return unread(size - start)
        if stop > size:
            return _MISSING_END
    return ""


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and declared end of the boxes on the outermost level."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        head = file.read(16)
        length, name = struct.unpack_from(">I4s", head)
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length == 0:  # to the end of the file
            length = size - start
        if length < 8 or not name.isascii():
            return
        yield name, start, start + length
        start += length


def _note_on_segment(file: BinaryIO, size: int) -> str:
    """Note on a Matroska or WebM file, whose segment contains everything after the header."""
    _, start, stop = _element(file, 0)
    name, start, stop = _element(file, start if stop is None else stop)
    if name != _SEGMENT:
        return ""
    if stop is not None:
        return cut_off(size, stop) if size < stop else ""
    stop = start  # written without seeking: the size of the segment is unknown, but not those of its elements
    while stop is not None and stop < size:
        _, _, stop = _element(file, stop)
    return "" if stop in (None, size) else _MISSING_END


def _note_on_blocks(file: BinaryIO, size: int) -> str:
    """Note on a WavPack file, a chain of long blocks."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(8)
        if not head.startswith(_WAVPACK):
            return ""
        at += 8 + int.from_bytes(head[4:], "little")
    return INCOMPLETE_FRAME if at > size else ""


def _element(file: BinaryIO, at: int) -> tuple[bytes, int, int | None]:
    """Identifier, start and stop of the content of an EBML element; the stop is None if unknown.

    Raises:
        struct.error: there is none.
    """
    file.seek(at)
    head = file.read(12)
    width = 9 - head[0].bit_length() if head else 0
    length_width = 9 - head[width].bit_length() if len(head) > width else 0
    if not 1 <= width <= 4 or not 1 <= length_width <= 8 or len(head) < width + length_width:
        raise struct.error("not an element")
    data = head[width : width + length_width]
    unknown = (1 << 7 * length_width) - 1
    length, start = int.from_bytes(data, "big") & unknown, at + width + length_width
    return head[:width], start, None if length == unknown else start + length
