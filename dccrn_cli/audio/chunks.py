"""Chunks (name, size and content), of which WAV, AIFF, CAF and W64 files consist."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

ORDERS = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">"}
"""Byte order by the first four bytes of a file."""

BLOCK_FORMATS = frozenset({0x2, 0x11, 0x31})  # MS and IMA ADPCM, GSM 6.10
"""Formats in WAV and W64 with samples in blocks, the last of which is padded."""

AFTER_SAMPLES = frozenset(
    (
        *b"LIST bext iXML smpl inst plst fact PEAK JUNK junk FLLR DISP cart axml chna afsp _PMX aXML minf elm1".split(),
        *b"regn umid levl link dbmd strc acid MARK INST NAME AUTH ANNO COMT".split(),
        *(b"id3 ", b"ID3 ", b"cue ", b"PAD ", b"(c) "),
    )
)
"""Names of chunks known to follow samples."""


_LONGEST_TAIL = 1 << 23
"""Chunks after samples of undeclared length are searched for in so many bytes at the end of a file."""

NOT_CARRIED = frozenset(
    (
        *b"data fact PEAK levl COMM SSND FVER ds64 JUNK junk FLLR".split(),
        *(b"fmt ", b"PAD ", b"PAD\0"),
    )
)
"""Names of chunks that describe or contain the samples, or are empty: a result gets its own."""


class Chunk(NamedTuple):
    """Location of a chunk.

    Attributes:
        name: four bytes.
        start: start of its content.
        size: declared size of its content in bytes.
    """

    name: bytes
    start: int
    size: int

    @property
    def stop(self) -> int:
        """Start of the next chunk."""
        return self.start + self.size + self.size % 2


def walk(file: BinaryIO, order: str, start: int = 12) -> Iterator[Chunk]:
    """Iterate over chunks with four-byte sizes from `start` on.

    Args:
        file: seekable file.
        order: byte order for `struct`.
        start: position of the first chunk.
    """
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack(order + "4sI", head)
        chunk = Chunk(name, start + 8, size)
        yield chunk
        start = chunk.stop


def known_chunks(file: BinaryIO, order: str, start: int, size: int) -> Iterator[Chunk]:
    """Iterate over chunks from `start` on, up to the first that is none, contains samples or is cut off.

    Args:
        file: seekable file.
        order: byte order for `struct`.
        start: position of the first chunk.
        size: size of the file.
    """
    padding = 0
    while True:
        for place in (start - padding, start):  # some writers omit the padding
            file.seek(place)
            head = file.read(8)
            if is_chunk(head, order, size - place):
                break
        else:
            return
        name, length = struct.unpack(order + "4sI", head)
        chunk = Chunk(name, place + 8, length)
        yield chunk
        padding, start = length % 2, chunk.stop


def find_tail(file: BinaryIO, order: str, start: int, size: int) -> int:
    """Find where samples of undeclared length end: before known chunks that reach exactly to the end of the file.

    Args:
        file: seekable file.
        order: byte order for `struct`.
        start: position of the first sample.
        size: size of the file.

    Returns:
        Position of the first of these chunks; `size` if there are none.
    """
    first = max(start, size - _LONGEST_TAIL)
    file.seek(first)
    data = file.read(max(size - first, 0))
    ends, tail = {len(data)}, len(data)
    for at in sorted(_positions(data), reverse=True):
        (length,) = struct.unpack_from(order + "I", data, at + 4)
        stop = at + 8 + length
        if stop in ends or stop + length % 2 in ends:  # some writers omit the padding
            ends.add(at)
            tail = at
    return first + tail


def _positions(data: bytes) -> Iterator[int]:
    """Where names of chunks stand that follow samples."""
    for name in AFTER_SAMPLES:
        at = data.find(name)
        while 0 <= at <= len(data) - 8:
            yield at
            at = data.find(name, at + 1)


def is_chunk(head: bytes, order: str, left: int | None) -> bool:
    """Whether a chunk starts here, rather than samples.

    Args:
        head: at least eight bytes.
        order: byte order for `struct`.
        left: bytes from here to the end of the file; None if unknown.
    """
    if len(head) < 8:
        return False
    name, size = struct.unpack_from(order + "4sI", head)
    if left is None:
        return name in AFTER_SAMPLES and size < 1 << 28
    if name in ORDERS or name == b"data":  # another file, or more samples
        return False
    return size <= left - 8 and (name in AFTER_SAMPLES or (name.isascii() and name.decode("ascii").isprintable()))
