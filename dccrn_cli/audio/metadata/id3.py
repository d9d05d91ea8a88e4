"""ID3 tags of MP3 files and of chunks in WAV and AIFF: reads ID3v2.2 to 2.4, writes 2.4."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import BinaryIO

from dccrn_cli.audio.metadata.edit import replace_bytes
from dccrn_cli.audio.metadata.model import MAX_BYTES, Chapter, Common, Metadata, Picture
from dccrn_cli.audio.mpeg import tag_size

_KEYS = {
    "TIT2": "TITLE", "TPE1": "ARTIST", "TALB": "ALBUM", "TDRC": "DATE", "TYER": "DATE", "TRCK": "TRACKNUMBER",
    "TCON": "GENRE", "TCOM": "COMPOSER", "TPE2": "ALBUMARTIST", "TCOP": "COPYRIGHT", "TPOS": "DISCNUMBER",
    "TSRC": "ISRC", "TPUB": "ORGANIZATION", "TLAN": "LANGUAGE", "TEXT": "LYRICIST", "TPE3": "CONDUCTOR",
    "TIT1": "GROUPING", "TIT3": "SUBTITLE", "TBPM": "BPM", "COMM": "COMMENT", "USLT": "LYRICS",
}  # fmt: skip
_FRAMES = {key: frame for frame, key in _KEYS.items() if frame != "TYER"}
_SHORT = {
    "TT2": "TIT2", "TP1": "TPE1", "TAL": "TALB", "TYE": "TYER", "TRK": "TRCK", "TCO": "TCON", "TCM": "TCOM",
    "TP2": "TPE2", "TCR": "TCOP", "TPA": "TPOS", "TXX": "TXXX", "COM": "COMM", "ULT": "USLT", "PIC": "APIC",
    "TXT": "TEXT", "TPB": "TPUB",
}  # fmt: skip
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
_TAIL_BYTES = 128
_SILENT = ("TSSE", "TLEN", "CTOC", "SEEK", "ASPI")
"""Frames that describe the file and its structure."""


def read(file: BinaryIO, size: int) -> Metadata:
    """Read the tags at the start and end of an MP3 file, unchanged."""
    file.seek(0)
    length = tag_size(file.read(10))
    file.seek(0)
    notes = [] if length <= MAX_BYTES else [f"{length:,} bytes of tags are omitted"]
    head = file.read(length) if length <= MAX_BYTES else b""
    tail = _tail(file, size)
    blocks = [(b"", head), (b"TAG", tail)] if head or tail else []
    return Metadata("MP3", blocks, 1, lambda: _both(head, tail), notes=notes, id3=head)


def _tail(file: BinaryIO, size: int) -> bytes:
    """Tags at the end: APE and ID3v1."""
    file.seek(max(size - _TAIL_BYTES, 0))
    simple = file.read(_TAIL_BYTES)
    simple = simple if simple[:3] == b"TAG" and len(simple) == _TAIL_BYTES else b""
    foot_at = size - len(simple) - 32
    file.seek(max(foot_at, 0))
    foot = file.read(32)
    if foot[:8] != b"APETAGEX" or len(foot) < 32:
        return simple
    length, _, flags = struct.unpack_from("<III", foot, 12)
    length += 32 if flags & 0x8000_0000 else 0
    start = foot_at + 32 - length
    if start < 0 or length > MAX_BYTES:
        return simple
    file.seek(start)
    return file.read(length) + simple


def _both(head: bytes, tail: bytes) -> Common:
    found = parse(head)
    if tail[:8] == b"APETAGEX":
        found = replace(found, unknown=[*found.unknown, "APE tag"])
    tail = tail[-_TAIL_BYTES:]
    if found.comments or tail[:3] != b"TAG":
        return found
    fields = zip(("TITLE", "ARTIST", "ALBUM", "DATE", "COMMENT"), pairwise((3, 33, 63, 93, 97, 127)), strict=True)
    texts = [(key, tail[a:b].split(b"\0")[0].decode("latin-1").strip()) for key, (a, b) in fields]
    return Common([(key, text) for key, text in texts if text], found.pictures, found.chapters, found.unknown)


def write(file: BinaryIO, head: bytes, tail: bytes) -> bool:
    """Write tags to a finished MP3 file, replacing one at its start."""
    file.seek(0)
    replace_bytes(file, 0, tag_size(file.read(10)), head)
    file.seek(0, 2)
    file.write(tail)
    return True


def _safe(size: int) -> bytes:
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def _unsafe(digits: bytes) -> int:
    return sum((digit & 127) << shift for digit, shift in zip(digits, (21, 14, 7, 0), strict=True))


def _frames(data: bytes, version: int) -> Iterator[tuple[str, bytes]]:
    wide = 4 if version > 2 else 3
    at = 0
    while at + 2 * wide <= len(data) and data[at : at + 1].isalnum():
        name = data[at : at + wide].decode("latin-1")
        digits = data[at + wide : at + 2 * wide]
        size = _unsafe(digits) if version == 4 else int.from_bytes(digits, "big")
        start = at + (10 if version > 2 else 6)
        body = data[start : start + size]
        if version == 4 and data[at + 9 : at + 10] and data[at + 9] & 2:
            body = body.replace(b"\xff\x00", b"\xff")
        yield _SHORT.get(name, name), body
        at = start + size


def parse(tag: bytes) -> Common:
    """Parse a tag; empty if it is damaged."""
    if tag[:3] != b"ID3" or len(tag) < 10:
        return Common()
    version, flags = tag[3], tag[5]
    data = tag[10 : 10 + _unsafe(tag[6:10])]
    if flags & 0x80 and version < 4:
        data = data.replace(b"\xff\x00", b"\xff")
    if flags & 0x40 and len(data) >= 4:
        data = data[_unsafe(data[:4]) if version == 4 else 4 + int.from_bytes(data[:4], "big") :]
    comments: list[tuple[str, str]] = []
    pictures: list[Picture] = []
    chapters: list[Chapter] = []
    unknown: list[str] = []
    for name, body in _frames(data, version):
        if name == "APIC":
            pictures += _picture(body, version)
        elif name == "CHAP":
            chapters += _chapter(body, version)
        elif name in ("TXXX", "COMM", "USLT"):
            key, *values = _texts(body[:1] + body[1 if name == "TXXX" else 4 :])
            comments += [(key.upper() if name == "TXXX" else _KEYS[name], value) for value in values]
        elif name in _KEYS:
            comments += [(_KEYS[name], value) for value in _texts(body) if value]
        elif name not in _SILENT:
            unknown.append(f"frame {name}")
    return Common(comments, pictures, sorted(chapters), unknown)


def _texts(body: bytes) -> list[str]:
    """Consecutive texts, each with its terminator."""
    if not body:
        return [""]
    texts = body[1:].decode(_ENCODINGS.get(body[0], "latin-1"), "replace").split("\0")
    texts = texts[:-1] if len(texts) > 1 and not texts[-1] else texts
    return [text.removeprefix("\ufeff").removeprefix("\ufffe") for text in texts]


def _picture(body: bytes, version: int) -> list[Picture]:
    if len(body) < 6:
        return []
    if version == 2:
        mime, rest = f"image/{body[1:4].decode('latin-1').lower().replace('jpg', 'jpeg')}", body[4:]
    else:
        name, _, rest = body[1:].partition(b"\0")
        mime = name.decode("latin-1")
    wide = 2 if body[0] in (1, 2) else 1
    end = next((at for at in range(1, len(rest), wide) if rest[at : at + wide] == bytes(wide)), len(rest))
    description = rest[1:end].decode(_ENCODINGS.get(body[0], "latin-1"), "replace").removeprefix("\ufeff")
    return [Picture(rest[0], mime, description, rest[end + wide :])] if rest else []


def _chapter(body: bytes, version: int) -> list[Chapter]:
    _, _, rest = body.partition(b"\0")
    if len(rest) < 16:
        return []
    start, end = struct.unpack_from(">II", rest)
    titles = [_texts(text)[0] for name, text in _frames(rest[16:], version) if name == "TIT2"]
    return [Chapter(start / 1000, end / 1000, titles[0] if titles else "")]


def tag_for(metadata: Metadata, common: Common) -> tuple[bytes, Common]:
    """The recording's own tag if it holds everything, languages and unknown frames included; otherwise a new one.

    Args:
        metadata: metadata of the recording.
        common: the same in common form.

    Returns:
        The tag, empty if there is nothing to store; and what it does not hold.
    """
    own = parse(metadata.id3)
    missing = Counter(common.comments) - Counter(own.comments)
    if metadata.id3 and not missing and common.pictures == own.pictures and common.chapters == own.chapters:
        return metadata.id3, Common(unknown=[name for name in common.unknown if name not in own.unknown])
    return build(common), Common(unknown=common.unknown)


def build(common: Common) -> bytes:
    """Build an equivalent ID3v2.4 tag; empty if there is nothing to store."""
    if not (common.comments or common.pictures or common.chapters):
        return b""
    values: dict[str, list[str]] = {}
    for key, value in common.comments:
        values.setdefault(key, []).append(value)
    frames = b"".join(_text_frame(key, texts) for key, texts in values.items())
    for number, picture in enumerate(common.pictures):
        # Pictures of the same kind must differ in their description.
        description = picture.description or (str(number + 1) if number else "")
        head = b"\x03" + picture.mime.encode("latin-1", "replace") + b"\0" + bytes([picture.kind & 255])
        frames += _frame("APIC", head + description.encode("utf-8", "replace") + b"\0" + picture.data)
    names = [f"ch{number}".encode() for number in range(len(common.chapters))]
    if names:
        listed = b"".join(name + b"\0" for name in names[:255])
        frames += _frame("CTOC", b"toc\0\x03" + bytes([min(len(names), 255)]) + listed)
    for name, chapter in zip(names, common.chapters, strict=True):
        times = struct.pack(">IIII", *(round(t * 1000) for t in chapter[:2]), 0xFFFFFFFF, 0xFFFFFFFF)
        frames += _frame("CHAP", name + b"\0" + times + _frame("TIT2", b"\x03" + chapter.title.encode()))
    return b"ID3\x04\0\0" + _safe(len(frames)) + frames


def _frame(name: str, body: bytes) -> bytes:
    return name.encode() + _safe(len(body)) + b"\0\0" + body


def _text_frame(key: str, values: Sequence[str]) -> bytes:
    name = _FRAMES.get(key, "TXXX")
    texts = [value.encode("utf-8", "replace") for value in values]
    if name in ("COMM", "USLT"):
        return b"".join(_frame(name, b"\x03XXX" + b"%d" % n * bool(n) + b"\0" + text) for n, text in enumerate(texts))
    head = b"\x03" + (key.encode() + b"\0" if name == "TXXX" else b"")
    return _frame(name, head + b"\0".join(texts))
