"""Chunks: name, size, content, one after another, of which WAV, AIFF, CAF and W64 files are made."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

ORDERS = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">"}
"""Byte order of files by their first four bytes."""

BLOCK_FORMATS = frozenset({0x2, 0x11, 0x31})  # MS and IMA ADPCM, GSM 6.10
"""Formats in WAV and W64 whose samples come in blocks, of which the last one is filled up."""

AFTER_SAMPLES = frozenset(
    (
        *b"LIST bext iXML smpl inst plst fact PEAK JUNK junk FLLR DISP cart axml chna afsp _PMX aXML minf elm1".split(),
        *b"regn umid levl link dbmd strc acid MARK INST NAME AUTH ANNO COMT".split(),
        *(b"id3 ", b"ID3 ", b"cue ", b"PAD ", b"(c) "),
    )
)
"""Names of chunks that are known to stand behind samples."""


NOT_CARRIED = frozenset(
    (
        *b"data fact PEAK levl COMM SSND FVER ds64 JUNK junk FLLR".split(),
        *(b"fmt ", b"PAD ", b"PAD\0"),
    )
)
"""Names of chunks that describe the samples, hold them, or hold nothing: a result has its own."""


class Chunk(NamedTuple):
    """Where a chunk is.

    Attributes:
        name: four bytes.
        start: of its content.
        size: of its content as declared, bytes.
    """

    name: bytes
    start: int
    size: int

    @property
    def stop(self) -> int:
        """Where the next one starts."""
        return self.start + self.size + self.size % 2


def walk(file: BinaryIO, order: str, start: int = 12) -> Iterator[Chunk]:
    """Chunks with sizes of four bytes from `start` on.

    Args:
        file: seekable.
        order: of bytes, for `struct`.
        start: where the first one is.
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


def is_chunk(head: bytes, order: str, left: int | None) -> bool:
    """Whether a chunk starts here, and not a sample.

    Args:
        head: eight bytes or more.
        order: of bytes.
        left: bytes from here to the end of the file; None if that is not known.
    """
    if len(head) < 8:
        return False
    name, size = struct.unpack_from(order + "4sI", head)
    if left is None:
        return name in AFTER_SAMPLES and size < 1 << 28
    if name in ORDERS:  # another file
        return False
    return size <= left - 8 and (name in AFTER_SAMPLES or (name.isascii() and name.decode("ascii").isprintable()))
