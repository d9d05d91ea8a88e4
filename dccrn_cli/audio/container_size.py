"""Compares the size that a media container declares with that of the file, where FFmpeg does not report it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from dccrn_cli.audio.extent import OPEN_ENDED, cut_off, unread
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME, ends_within_frame
from dccrn_cli.audio.ogg_pages import MISSING_END, read_pages

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_SIZE_AT = 40
_BOXES = (b"ftyp", b"moov", b"mdat", b"moof", b"wide", b"free", b"skip")


def size_note(file: BinaryIO, size: int) -> str:
    """Note on a file that is shorter than its container declares, or has another one behind it; "" if neither.

    Args:
        file: seekable file: AVI, MP4, MOV, ASF, Ogg or a chain of frames; nothing is said of others.
        size: size in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(0)
    head = file.read(1 << 12)
    try:
        if head[:4] == b"RIFF":
            declared = struct.unpack_from("<I", head, 4)[0] + 8
            return cut_off(size, declared) if size < declared - 1 and declared < OPEN_ENDED else ""
        if head[:16] == _ASF and (at := head.find(_ASF_FILE)) > 0:
            (declared,) = struct.unpack_from("<Q", head, at + _ASF_SIZE_AT)
            return cut_off(size, declared) if size < declared else ""
        if head[4:8] in _BOXES:
            return _note_on_boxes(file, size)
    except struct.error:
        return ""
    if head[:4] == b"OggS":
        return "" if read_pages(file, size).has_end else MISSING_END
    return INCOMPLETE_FRAME if ends_within_frame(file, size) else ""


def _note_on_boxes(file: BinaryIO, size: int) -> str:
    for number, (name, start, stop) in enumerate(_boxes(file, size)):
        if name == b"ftyp" and number:
            return unread(size - start)
        if stop > size:
            return "the recording is cut off: its end is missing"
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
