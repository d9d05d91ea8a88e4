"""Metadata blocks of FLAC files, and Vorbis comments, which Ogg files use too (RFC 9639)."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import BinaryIO

from dccrn_cli.audio.metadata.edit import replace_bytes
from dccrn_cli.audio.metadata.model import MAX_BYTES, Chapter, Common, Metadata, Picture

_STREAMINFO, _PADDING, _SEEKTABLE, _COMMENTS, _CUESHEET, _PICTURE = 0, 1, 3, 4, 5, 6
_UNKNOWN = {2: "application data", _CUESHEET: "cue sheet"}
_LONGEST = (1 << 24) - 1
PICTURE_KEY = "METADATA_BLOCK_PICTURE"


def _blocks(file: BinaryIO, start: int) -> Iterable[tuple[int, int, int, bool]]:
    """Type, position and size of the content of each block, and whether it is the last."""
    at = start + 4
    while True:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4:
            return
        size = int.from_bytes(head[1:], "big")
        yield head[0] & 127, at + 4, size, bool(head[0] & 128)
        if head[0] & 128:
            return
        at += 4 + size


def read(file: BinaryIO, start: int) -> Metadata:
    """Read all blocks except those that describe the samples; `start` is where the FLAC stream starts."""
    blocks, notes, left = [], [], MAX_BYTES
    for kind, at, size, _ in _blocks(file, start):
        if kind in (_STREAMINFO, _PADDING, _SEEKTABLE) or kind > _PICTURE:
            continue
        if size > left:
            notes.append(f"{size:,} bytes of metadata are omitted")
            continue
        left -= size
        file.seek(at)
        blocks.append((bytes([kind]), file.read(size)))
    return Metadata("FLAC", blocks, len(blocks), lambda: _common(blocks), notes=notes)


def _common(blocks: Sequence[tuple[bytes, bytes]]) -> Common:
    found, pictures, unknown = Common(), [], []
    for kind, data in blocks:
        if kind[0] == _COMMENTS:
            found = parse_comments(data)
        elif kind[0] == _PICTURE:
            pictures += parse_picture(data)
        else:
            unknown.append(_UNKNOWN[kind[0]])
    return Common(found.comments, [*found.pictures, *pictures], found.chapters, unknown)


def write(file: BinaryIO, blocks: Sequence[tuple[bytes, bytes]]) -> bool:
    """Replace the blocks of a finished FLAC file.

    Returns:
        False if a block is too long, in which case nothing is written.
    """
    if any(len(data) > _LONGEST for _, data in blocks):
        return False
    kept, end = [], 0
    for kind, at, size, _ in _blocks(file, 0):
        file.seek(at)
        if kind not in (_PADDING, _COMMENTS):
            kept.append((bytes([kind]), file.read(size)))
        end = at + size
    parts = [*kept, *blocks]
    data = b"".join(
        bytes([kind[0] | (128 if number == len(parts) else 0)]) + len(body).to_bytes(3, "big") + body
        for number, (kind, body) in enumerate(parts, 1)
    )
    replace_bytes(file, 4, end, data)
    return True


def write_common(file: BinaryIO, common: Common) -> bool:
    """Replace the blocks with metadata from another container."""
    blocks = [(bytes([_COMMENTS]), comment_block(common, ""))]
    blocks += [(bytes([_PICTURE]), picture_block(picture)) for picture in common.pictures]
    return write(file, blocks)


def parse_comments(data: bytes) -> Common:
    """Parse Vorbis comments, including cover art and chapters stored in them by convention."""
    comments: list[tuple[str, str]] = []
    pictures: list[Picture] = []
    times: dict[str, float] = {}
    titles: dict[str, str] = {}
    for entry in comment_list(data):
        name, _, value = entry.decode("utf-8", "replace").partition("=")
        name = name.upper()
        if name == PICTURE_KEY:
            try:
                pictures += parse_picture(base64.b64decode(value))
            except binascii.Error:
                continue
        elif name.startswith("CHAPTER") and name[7:].isdecimal():
            times[name[7:]] = _seconds(value)
        elif name.startswith("CHAPTER") and name.endswith("NAME"):
            titles[name[7:-4]] = value
        elif name != "ENCODER":
            comments.append((name, value))
    starts = sorted(times, key=lambda number: times[number])
    ends = [times[later] for _, later in pairwise(starts)]
    chapters = [
        Chapter(times[n], end, titles.get(n, "")) for n, end in zip(starts, [*ends, times[starts[-1]]], strict=True)
    ] if starts else []  # fmt: skip
    return Common(comments, pictures, chapters)


def comment_list(data: bytes) -> list[bytes]:
    """Comments `NAME=value` of a block; empty if it is damaged."""
    try:
        at = 4 + struct.unpack_from("<I", data)[0]
        (count,) = struct.unpack_from("<I", data, at)
        at, entries = at + 4, []
        for _ in range(min(count, len(data) // 4)):
            (size,) = struct.unpack_from("<I", data, at)
            entries.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        return entries
    except struct.error:
        return []


def pack_comments(vendor: bytes, entries: Sequence[bytes]) -> bytes:
    """The inverse of `comment_list`."""
    parts = [struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(entries))]
    return b"".join(parts + [struct.pack("<I", len(entry)) + entry for entry in entries])


def comment_block(common: Common, vendor: str, *, with_pictures: bool = False) -> bytes:
    """Comments and chapters as a block, with cover art if there is no other place for it."""
    entries = [f"{name}={value}" for name, value in common.comments]
    for number, chapter in enumerate(common.chapters):
        entries.append(f"CHAPTER{number:03}={_clock(chapter.start_s)}")
        entries.append(f"CHAPTER{number:03}NAME={chapter.title}")
    if with_pictures:
        entries += [f"{PICTURE_KEY}={base64.b64encode(picture_block(p)).decode()}" for p in common.pictures]
    return pack_comments(vendor.encode(), [entry.encode("utf-8", "replace") for entry in entries])


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        try:
            total = 60 * total + float(part)
        except ValueError:
            return 0.0
    return total


def parse_picture(data: bytes) -> list[Picture]:
    """The picture in a block; empty if it is damaged."""
    try:
        kind, size = struct.unpack_from(">II", data)
        at = 8 + size
        mime = data[8:at].decode("ascii", "replace")
        (size,) = struct.unpack_from(">I", data, at)
        description = data[at + 4 : at + 4 + size].decode("utf-8", "replace")
        at += 4 + size + 16
        (size,) = struct.unpack_from(">I", data, at)
    except struct.error:
        return []
    return [Picture(kind, mime, description, data[at + 4 : at + 4 + size])]


def picture_block(picture: Picture) -> bytes:
    """The inverse of `parse_picture`; the image size is left open, as the format allows."""
    mime, description = picture.mime.encode("ascii", "replace"), picture.description.encode("utf-8", "replace")
    parts = [struct.pack(">II", picture.kind, len(mime)), mime, struct.pack(">I", len(description)), description]
    return b"".join([*parts, bytes(16), struct.pack(">I", len(picture.data)), picture.data])
