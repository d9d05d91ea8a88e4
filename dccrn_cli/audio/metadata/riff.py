"""Chunks of WAV, RF64 and AIFF files other than format and samples: bext, iXML, cue, LIST, id3 and so on."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import BinaryIO

from dccrn_cli.audio.chunks import NOT_CARRIED, ORDERS, known_chunks, walk
from dccrn_cli.audio.metadata import id3
from dccrn_cli.audio.metadata.edit import replace_bytes
from dccrn_cli.audio.metadata.model import MAX_BYTES, Common, Metadata

_SAMPLES = (b"data", b"SSND")
_ID3 = (b"id3 ", b"ID3 ")
_TAGS = frozenset({b"id3 ", b"ID3 ", b"NAME", b"AUTH", b"ANNO", b"(c) "})
_WRAP = 1 << 32
_INFO = {
    b"INAM": "TITLE", b"IART": "ARTIST", b"IPRD": "ALBUM", b"ICMT": "COMMENT", b"ICRD": "DATE", b"IGNR": "GENRE",
    b"ICOP": "COPYRIGHT", b"ITRK": "TRACKNUMBER",
}  # fmt: skip


def read(file: BinaryIO, size: int, samples_end: int) -> Metadata:
    """Read the chunks of a file.

    Args:
        file: seekable file.
        size: size of the file in bytes.
        samples_end: actual end of the samples.
    """
    file.seek(0)
    magic = file.read(4)
    order = ORDERS[magic]
    before = _chunks(file, order, 12, size)
    after = _chunks(file, order, samples_end + samples_end % 2, size) if samples_end < size - 8 else []
    blocks, notes, left = [], [], MAX_BYTES
    for name, start, length in before + after:
        if length > left:
            notes.append(f"the chunk {name.decode('ascii', 'replace').strip()} of {length:,} bytes is omitted")
            continue
        left -= length
        file.seek(start)
        blocks.append((name, file.read(length)))
    split = sum(1 for _, start, _ in before) - sum(1 for _ in notes)
    family = "FORM" if magic == b"FORM" else "RIFX" if magic == b"RIFX" else "RIFF"
    return Metadata(
        family, blocks, min(max(split, 0), len(blocks)), lambda: _common(blocks), notes=notes, id3=_tag(blocks)
    )


def chunks_before_samples(blocks: Sequence[tuple[bytes, bytes]], *, is_big: bool) -> Metadata:
    """Metadata in the header of a stream."""
    return Metadata("RIFX" if is_big else "RIFF", blocks, len(blocks), lambda: _common(blocks), id3=_tag(blocks))


def _chunks(file: BinaryIO, order: str, start: int, size: int) -> list[tuple[bytes, int, int]]:
    found = []
    for chunk in known_chunks(file, order, start, size):
        if chunk.name in _SAMPLES:
            break
        if chunk.name not in NOT_CARRIED:
            found.append((chunk.name, chunk.start, chunk.size))
    return found


def _tag(blocks: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The last ID3 tag."""
    return next((data for name, data in reversed(blocks) if name in _ID3), b"")


def _common(blocks: Sequence[tuple[bytes, bytes]]) -> Common:
    tags, unknown, comments = Common(), [], []
    for name, data in blocks:
        if name in _ID3:
            tags = id3.parse(data)
        elif name == b"LIST" and data[:4] == b"INFO":
            comments += _info(data)
        elif name not in _TAGS:
            unknown.append(f"chunk {name.decode('ascii', 'replace').strip()}")
    known = {name for name, _ in tags.comments}
    comments = [*tags.comments, *(each for each in comments if each[0] not in known)]
    return Common(comments, tags.pictures, tags.chapters, [*tags.unknown, *unknown])


def _info(data: bytes) -> list[tuple[str, str]]:
    found, at = [], 4
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        text = data[at + 8 : at + 8 + size].rstrip(b"\0").decode("utf-8", "replace")
        if name != b"ISFT" and text:
            found.append((_INFO.get(name, name.decode("ascii", "replace").upper()), text))
        at += 8 + size + size % 2
    return found


def pack(blocks: Sequence[tuple[bytes, bytes]], order: str) -> bytes:
    """Serialise chunks."""
    return b"".join(
        struct.pack(order + "4sI", name, len(data)) + data + b"\0" * (len(data) % 2) for name, data in blocks
    )


def write(file: BinaryIO, blocks: Sequence[tuple[bytes, bytes]], split: int) -> bool:
    """Write chunks to a finished file, the first `split` before the samples, the others after them.

    Returns:
        False if the file would be too long for its format, in which case nothing is written.
    """
    file.seek(0)
    magic = file.read(4)
    order = ORDERS[magic]
    first, last = list(blocks[:split]), list(blocks[split:])
    if magic == b"RF64":  # libsndfile does not find samples after a chunk of odd size
        last[:0] = [block for block in first if len(block[1]) % 2]
        first = [block for block in first if len(block[1]) % 2 == 0]
    before, after = pack(first, order), pack(last, order)
    samples_at = next(chunk.start for chunk in walk(file, order) if chunk.name in _SAMPLES) - 8
    size = file.seek(0, os.SEEK_END)
    total = size + size % 2 + len(before) + len(after)
    if magic != b"RF64" and total - 8 >= _WRAP - 1:
        return False
    file.write(b"\0" * (size % 2) + after)
    if before:
        replace_bytes(file, samples_at, samples_at, before)
    if magic == b"RF64":
        file.seek(20)  # in ds64, the first chunk
        file.write(struct.pack("<Q", total - 8))
    else:
        file.seek(4)
        file.write(struct.pack(order + "I", total - 8))
    return True


def write_layout(file: BinaryIO, channel_mask: int | None, valid_bits: int) -> None:
    """Set the speakers of the channels and the number of significant bits.

    Args:
        file: finished WAV or RF64.
        channel_mask: as in the format chunk; None to keep the present value.
        valid_bits: as in the format chunk; 0 to keep the present value.
    """
    file.seek(0)
    order = ORDERS[file.read(4)]
    at = next(chunk.start for chunk in walk(file, order) if chunk.name == b"fmt ")
    file.seek(at)
    is_extensible = struct.unpack(order + "H", file.read(2))[0] == 0xFFFE
    if channel_mask is not None and is_extensible:
        file.seek(at + 20)
        file.write(struct.pack(order + "I", channel_mask))
    if valid_bits:
        file.seek(at + (18 if is_extensible else 14))
        file.write(struct.pack(order + "H", valid_bits))
