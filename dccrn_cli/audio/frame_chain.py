"""Recognises recordings that end within a frame.

AAC (ADTS), AC-3 and MPEG audio, MPEG transport streams and program streams declare no length: they are chains of frames
or packets, each of which gives its own size. So a recording was cut off if the last size exceeds the bytes left. One
that was cut between two frames looks whole.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Hashable
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.extent import CUT_OFF
from dccrn_cli.audio.mpeg import ends_with_id3_1, parse_frame, tag_size

INCOMPLETE_FRAME = CUT_OFF + "its last frame is incomplete"

_TAIL_BYTES = 1 << 17
_TAG_HEAD_BYTES = 32
_FEWEST_FRAMES = 5  # fewer may be chance
_AC3_KBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_RATES = (48_000, 44_100, 32_000)
_AC3_SAMPLES = 1536
_PROGRAM_END, _PACK, _SYSTEM = 0xB9, 0xBA, 0xBB


class _Head(NamedTuple):
    """Size of a frame in bytes, header included, and what all frames of a stream have in common."""

    size: int
    kind: Hashable = None


class _Format(NamedTuple):
    """A format.

    Attributes:
        start: where a frame may start.
        head_bytes: size of a header.
        parse: parses one.
        is_tagged: whether FFmpeg reads tags behind the frames.
    """

    start: re.Pattern[bytes]
    head_bytes: int
    parse: Callable[[bytes], _Head | None]
    is_tagged: bool = False


class ChainEnd(NamedTuple):
    """End of a file.

    Attributes:
        stop: end of what a decoder needs; what follows confuses it.
        is_cut: whether the last frame is incomplete.
    """

    stop: int
    is_cut: bool = False


def find_chain_end(file: BinaryIO, size: int) -> ChainEnd:
    """Find where the chain of frames ends that makes up a file.

    Args:
        file: seekable file.
        size: size in bytes, which is also the end if there is no chain or it is cut off.

    Raises:
        OSError: the file cannot be read.
    """
    start = max(size - _TAIL_BYTES, 0)
    file.seek(start)
    tail = file.read(_TAIL_BYTES)
    for form in _FORMATS:
        end = _end(tail, form)
        if end is not None:
            is_needed = end.is_cut or _is_needed(tail[end.stop :], form) or not _starts_with(file, form)
            return ChainEnd(size if is_needed else start + end.stop, end.is_cut)
    return ChainEnd(size)


def _is_needed(behind: bytes, form: _Format) -> bool:
    """Whether what follows a chain contains tags to read, or frames behind damage."""
    if form.is_tagged and (b"APETAGEX" in behind or ends_with_id3_1(behind)):
        return True
    places = (match.start() for match in form.start.finditer(behind))
    return any(form.parse(behind[at : at + form.head_bytes]) for at in places)


def _starts_with(file: BinaryIO, form: _Format) -> bool:
    """Whether the first frame is at the start of the file or after a tag there."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(_TAG_HEAD_BYTES)
        if not (tag := tag_size(head)):
            break
        at += tag
    return form.parse(head[: form.head_bytes]) is not None


def _end(data: bytes, form: _Format) -> ChainEnd | None:
    """End of the first chain of frames; None if there is none."""
    for match in form.start.finditer(data):
        first = frame = form.parse(data[match.start() : match.start() + form.head_bytes])
        count, at = 0, match.start()
        while frame and first and frame.kind == first.kind and at + frame.size <= len(data):
            count, at = count + 1, at + frame.size
            frame = form.parse(data[at : at + form.head_bytes])
        if first and count >= _FEWEST_FRAMES:
            if len(data) - at < form.head_bytes:
                return ChainEnd(at, any(data[at:]) and data[at] == data[match.start()])
            return ChainEnd(at, frame is not None and frame.kind == first.kind)
    return None


def _adts(head: bytes) -> _Head | None:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return _Head(size, (head[1], head[2])) if size > 7 else None


def _ac3(head: bytes) -> _Head | None:
    if len(head) < 6 or head[:2] != b"\x0bw":
        return None
    version = head[5] >> 3
    if version > 10:  # E-AC-3
        return _Head(2 * ((head[2] & 7) << 8 | head[3]) + 2, version)
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >= 2 * len(_AC3_KBITS):
        return None
    words = _AC3_KBITS[code // 2] * 1000 * _AC3_SAMPLES // (16 * _AC3_RATES[rate])
    return _Head(2 * (words + (code & 1 if _AC3_RATES[rate] == 44_100 else 0)), (version, rate))


def _mpeg(head: bytes) -> _Head | None:
    frame = parse_frame(head)
    return _Head(frame.size, frame[:3]) if frame else None


def _transport_packet(head: bytes) -> _Head | None:
    return _Head(188) if head == b"G" else None


def _stamped_packet(head: bytes) -> _Head | None:
    """A packet of a transport stream behind a time stamp, as in .m2ts."""
    return _Head(192) if head[4:] == b"G" else None


def _program_packet(head: bytes) -> _Head | None:
    if len(head) < 14 or head[:3] != b"\0\0\1" or head[3] < _PROGRAM_END:
        return None
    if head[3] == _PACK:
        return _Head(14 + (head[13] & 7) if head[4] >> 6 == 1 else 12)  # MPEG-2, MPEG-1
    return _Head(6 + struct.unpack_from(">H", head, 4)[0]) if head[3] >= _SYSTEM else None


_FORMATS = (
    _Format(re.compile(rb"(?=G.{187}G.{187}G)", re.DOTALL), 1, _transport_packet),
    _Format(re.compile(rb"(?=.{4}G.{191}G.{191}G)", re.DOTALL), 5, _stamped_packet),
    _Format(re.compile(rb"(?=\x00\x00\x01\xba)"), 14, _program_packet),
    _Format(re.compile(rb"(?=\x0bw)"), 6, _ac3),
    _Format(re.compile(rb"(?=\xff[\xf0\xf1\xf8\xf9])"), 7, _adts, is_tagged=True),
    _Format(re.compile(rb"(?=\xff[\xe2-\xff])"), 4, _mpeg, is_tagged=True),
)
