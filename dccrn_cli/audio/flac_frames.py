"""Finds the samples that a FLAC file contains, whatever its header declares (RFC 9639).

The last frame gives the number of its first sample. So a file that was cut off is found from its end alone, and is
presented to the decoder as one that ends with its last complete frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.extent import cut_off
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME
from dccrn_cli.audio.mpeg import ID3_1_BYTES, ends_with_id3_1
from dccrn_cli.audio.splice import Piece

_STREAM = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FRAME = re.compile(rb"\xff[\xf8\xf9]")
_STREAM_HEAD_BYTES, _FRAME_HEAD_BYTES = 42, 16
_TOTAL_AT, _TOTAL_END = 21, 26
_PIECE = 1 << 20
_USUAL_FRAME_BYTES, _LONGEST_FRAME_BYTES = 1 << 17, 1 << 22
_RESERVED_SAMPLE_SIZE, _VARIABLE = 3, 0xF9


def _crc_table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> (bits - 1) else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return table


_CRC8, _CRC16 = _crc_table(0x07, 8), _crc_table(0x8005, 16)


class FlacExtent(NamedTuple):
    """A FLAC stream as it can be decoded.

    Attributes:
        pieces: the stream, with its true number of samples in the header.
        last: samples in its last frame, 0 if unknown.
        note: note on a difference from the header, or "".
    """

    pieces: tuple[Piece, ...]
    last: int = 0
    note: str = ""


class _Frame(NamedTuple):
    """Position of a frame in the data searched, number of its first sample, and its length in samples."""

    at: int
    first: int
    samples: int

    @property
    def stop(self) -> int:
        """Number of the sample after its last one."""
        return self.first + self.samples


def find_flac(file: BinaryIO, start: int, size: int) -> FlacExtent:
    """Find the end of a FLAC stream.

    Args:
        file: seekable file.
        start: position of the stream.
        size: size of the file in bytes.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(start)
    head = file.read(_STREAM_HEAD_BYTES)
    whole = FlacExtent(((start, size),))
    if len(head) < _STREAM_HEAD_BYTES:
        return whole
    total = int.from_bytes(head[_TOTAL_AT:_TOTAL_END], "big") & (1 << 36) - 1
    tail, frames = _tail(file, head, start, size)
    last = next((frame for frame in frames if total and frame.stop == total), None)
    if last is not None:
        return whole._replace(last=last.samples)
    if (another := next_flac(file, start + 4, size)) is not None:
        size = another
    elif ends_with_id3_1(tail):
        size -= ID3_1_BYTES
    tail, frames = _tail(file, head, start, size)
    for number, frame in enumerate(frames):
        before = next((other for other in frames[number + 1 :] if other.stop == frame.first), None)
        if before is None or _crc16(tail[before.at : frame.at]):
            continue
        if _crc16(tail[frame.at :]):
            last, end = before, size - len(tail) + frame.at
        else:
            last, end = frame, size
        break
    if last is None or last.stop == total:
        return whole
    count = (head[_TOTAL_AT] & 0xF0) << 32 | last.stop
    pieces = ((start, start + _TOTAL_AT), count.to_bytes(5, "big"), (start + _TOTAL_END, end))
    if last.stop < total:
        return FlacExtent(pieces, last.samples, cut_off(last.stop, total))
    if not total:
        return FlacExtent(pieces, last.samples, INCOMPLETE_FRAME if end < size else "")
    return FlacExtent(
        pieces, last.samples, f"the header declares {total:,} samples; all {last.stop:,} present are read"
    )


def next_flac(file: BinaryIO, start: int, size: int) -> int | None:
    """Position of the next FLAC stream from `start` on; None if there is none.

    Raises:
        OSError: the file cannot be read.
    """
    before = b""
    for place in range(start, size, _PIECE):
        file.seek(place)
        data = before + file.read(min(_PIECE, size - place))
        if found := _STREAM.search(data):
            return place - len(before) + found.start()
        before = data[-7:]
    return None


def _tail(file: BinaryIO, head: bytes, start: int, size: int) -> tuple[bytes, list[_Frame]]:
    """The end of a stream, and the frames that start in it, last first."""
    longest = int.from_bytes(head[15:18], "big") or _USUAL_FRAME_BYTES
    at = max(size - 2 * min(longest, _LONGEST_FRAME_BYTES) - _FRAME_HEAD_BYTES, start + _STREAM_HEAD_BYTES)
    file.seek(at)
    tail = file.read(max(size - at, 0))
    block = int.from_bytes(head[10:12], "big")
    return tail, list(_frames(tail, block))[::-1]


def _frames(data: bytes, block: int) -> Iterator[_Frame]:
    """Everything that looks like a frame; `block` is the length in samples of all frames but the last."""
    for match in _FRAME.finditer(data):
        frame = _parse(data[match.start() : match.start() + _FRAME_HEAD_BYTES], block)
        if frame is not None:
            yield frame._replace(at=match.start())


def _parse(head: bytes, block: int) -> _Frame | None:
    """Parse the header of a frame, position left at 0; None if it is not one."""
    if len(head) < 6 or head[2] >> 4 == 0 or head[2] & 15 == 15:
        return None
    if head[3] >> 4 > 10 or head[3] >> 1 & 7 == _RESERVED_SAMPLE_SIZE or head[3] & 1:
        return None
    # The number is coded like a character in UTF-8, but with up to 36 bits.
    ones = 8 - (head[4] ^ 0xFF).bit_length()
    if ones in (1, 8):
        return None
    at = 4 + max(ones, 1)
    number = head[4] & 0x7F >> ones
    for byte in head[5:at]:
        number = number << 6 | byte & 0x3F
    size_code, rate_code = head[2] >> 4, head[2] & 15
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    if size_bytes:
        samples = int.from_bytes(head[at : at + size_bytes], "big") + 1
    else:
        samples = 192 if size_code == 1 else 576 << (size_code - 2) if size_code < 6 else 256 << (size_code - 8)
    at += size_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    crc = 0
    for byte in head[:at]:
        crc = _CRC8[crc ^ byte]
    if at >= len(head) or crc != head[at]:
        return None
    return _Frame(0, number if head[1] == _VARIABLE else number * block, samples)


def _crc16(frame: bytes) -> int:
    """0 for a complete frame, which ends with its checksum."""
    crc = 0
    for byte in frame:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc
