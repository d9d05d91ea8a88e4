"""Determines the true length of MP3 files frame by frame.

If the file gives no length, the decoder guesses it from the first frame, which is wrong for variable bit rates; a
length in the file may be wrong too. So frames are counted here and the count is passed to the decoder.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.splice import Piece

_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBITS[2, 3] = _KBITS[2, 2]
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}  # by version bits

ID3_1_BYTES = 128
_PIECE = 1 << 20
_FRAMES_FLAG, _BYTES_FLAG = 1, 2
_CONTENTS_BYTES, _ENCODER_BYTES = 100, 36
_DECODER_DELAY = 529
_FEWEST_FRAMES = 3  # fewer may be chance
_TAIL_BYTES = 4096  # more than the longest frame
_LYRICS = b"LYRICSBEGIN"


class Frame(NamedTuple):
    """Contents of a frame header."""

    sample_rate: int
    channels: int
    layer: int
    samples: int
    size: int
    side_info: int
    """Bytes between the header and the end of the side information in layer III."""


@functools.lru_cache(1 << 12)
def parse_frame(head: bytes) -> Frame | None:
    """Parse the four bytes of a frame header; None if they are not one."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:
        return None
    generation = 1 if version == 3 else 2
    rate, bits = _RATES[version][rate_index], 1000 * _KBITS[generation, layer][index - 1]
    channels = 1 if head[3] >> 6 == 3 else 2
    samples = 384 if layer == 1 else 576 if layer == 3 and generation == 2 else 1152
    size = (12 * bits // rate + padding) * 4 if layer == 1 else samples // 8 * bits // rate + padding
    side_info = {(1, 2): 32, (1, 1): 17, (2, 2): 17, (2, 1): 9}[generation, channels]
    return Frame(rate, channels, layer, samples, size, side_info)


@dataclass
class Link:
    """Frames with one sample rate and number of channels that were encoded together.

    Attributes:
        kind: header of the first frame.
        count: number of frames, excluding that of the Xing or Info header.
        declared: number of frames given by that header; 0 if not given.
        runs: their positions in the file.
        bit_rates: whether more than one was seen.
    """

    kind: Frame
    head: bytes
    count: int = 0
    declared: int = 0
    has_header: bool = False
    flags: int = 0
    delay_low: int = 0
    varies: bool = False
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_as_declared(self) -> bool:
        """Whether a decoder finds the right length from the file alone."""
        if self.has_header and self.declared:
            return self.declared == self.count
        return not self.varies

    def add(self, start: int, size: int) -> None:
        """Add a frame."""
        if self.runs and self.runs[-1][1] == start:
            self.runs[-1] = (self.runs[-1][0], start + size)
        else:
            self.runs.append((start, start + size))

    @property
    def lead(self) -> int:
        """Samples that the decoder drops after a header made by `pieces`."""
        return 0 if self.has_count or self.kind.layer != 3 else _DECODER_DELAY

    @property
    def has_count(self) -> bool:
        """Whether there is a header with a frame count."""
        return self.has_header and bool(self.flags & _FRAMES_FLAG)

    def pieces(self) -> list[Piece]:
        """The frames, preceded by a header with their true count."""
        if self.kind.layer != 3 or (self.has_header and self.declared == self.count):
            return list(self.runs)
        size = sum(stop - start for start, stop in self.runs)
        if not self.has_count:
            return [_info_frame(self.head, self.count, size), *self.runs]
        start, stop = self.runs[0]
        at = start + 4 + self.kind.side_info + 8
        pieces: list[Piece] = [(start, at), struct.pack(">I", self.count)]
        if self.flags & _BYTES_FLAG:
            pieces.append(struct.pack(">I", size))
        # The encoder's padding is not at this end.
        padding = at + _padding_offset(self.flags)
        at += 4 + (4 if self.flags & _BYTES_FLAG else 0)
        if padding + 2 <= start + self.kind.size:
            pieces += [(at, padding), bytes([self.delay_low]), b"\0"]
            at = padding + 2
        return [*pieces, (at, stop), *self.runs[1:]]


def _info_frame(head: bytes, count: int, size: int) -> bytes:
    """A silent frame with the count of following frames and bytes."""
    for index in range(1, 15):
        header = bytes([0xFF, head[1] | 1, index << 4 | head[2] & 0x0C, head[3]])
        frame = parse_frame(header)
        assert frame is not None
        body = bytes(frame.side_info) + b"Info" + struct.pack(">III", _FRAMES_FLAG | _BYTES_FLAG, count, size)
        if frame.size >= len(header) + len(body) + _ENCODER_BYTES:
            return (header + body).ljust(frame.size, b"\0")
    raise AssertionError("the largest frame has room for its header")


def links(file: BinaryIO, size: int) -> list[Link]:
    """The parts of an MP3 file; several if files were concatenated."""
    found: list[Link] = []
    bit_rate = 0
    for start, frame, data in _frames(file, size):
        header = _xing(data, frame)
        link = found[-1] if found else None
        same = link is not None and (link.kind[:3] == frame[:3])
        if link is None or not same or header is not None:
            link = Link(frame, data[:4])
            found.append(link)
            bit_rate = 0
        link.add(start, frame.size)
        if header is not None:
            link.has_header = True
            link.flags, link.declared, link.delay_low = header
            continue
        if not link.count and not link.has_header:
            link.head = data[:4]
        link.count += 1
        link.varies = link.varies or bit_rate not in (0, data[2] >> 4)
        bit_rate = data[2] >> 4
    return [link for link in found if link.count >= (1 if link.has_header or len(found) == 1 else _FEWEST_FRAMES)]


def bytes_behind(file: BinaryIO, size: int, found: list[Link]) -> int:
    """Number of bytes after the last frame that are neither a tag, padding nor an incomplete frame."""
    at = max((stop for link in found for _, stop in link.runs), default=size)
    while skipped := tag_size(_at(file, at, 32)):
        at += skipped
    head = _at(file, at, _TAIL_BYTES)
    if len(head) < _TAIL_BYTES or not any(head) or head.startswith(_LYRICS):
        return 0
    return size - at


def declared_whole(file: BinaryIO, size: int) -> bool:
    """Whether the header's byte count matches the file, so that frames need not be counted."""
    first = next(_frames(file, size), None)
    if first is None:
        return False
    start, frame, data = first
    at = 4 + frame.side_info
    if _xing(data, frame) is None or data[at + 7] & 3 != 3:
        return False
    (length,) = struct.unpack_from(">I", data, at + 12)
    return bool(
        start + length == size
        or (start + length == size - ID3_1_BYTES and ends_with_id3_1(_at(file, size - ID3_1_BYTES, ID3_1_BYTES)))
    )


def _at(file: BinaryIO, start: int, count: int) -> bytes:
    file.seek(start)
    return file.read(count)


def _xing(data: bytes, frame: Frame) -> tuple[int, int, int] | None:
    """Flags and frame count in a Xing or Info header, and the byte shared by the encoder's delay and padding."""
    at = 4 + frame.side_info
    if frame.layer != 3 or data[at : at + 4] not in (b"Xing", b"Info") or len(data) < at + 16:
        return None
    flags, frames = struct.unpack_from(">II", data, at + 4)
    delay_low = data[at + 8 + _padding_offset(flags)] & 0xF0 if len(data) > at + 8 + _padding_offset(flags) else 0
    return flags, frames if flags & _FRAMES_FLAG else 0, delay_low


def _padding_offset(flags: int) -> int:
    """Offset from the first field after the flags to the second byte of delay and padding."""
    return sum(size for bit, size in enumerate((4, 4, _CONTENTS_BYTES, 4)) if flags >> bit & 1) + 22


def _frames(file: BinaryIO, size: int) -> Iterator[tuple[int, Frame, bytes]]:
    """Position, header and first bytes of all complete frames; anything between is skipped."""
    data, base, at, in_step = b"", 0, 0, False
    while at + 4 <= size:
        if at < base or at + 4096 > base + len(data):
            data, base = _at(file, at, _PIECE), at
            if len(data) < 4:
                return
        offset = at - base
        frame = parse_frame(data[offset : offset + 4])
        if frame is not None and not in_step:
            then = parse_frame(_ahead(file, data, offset, base, frame.size))
            if then is None or then[:3] != frame[:3]:
                frame = None if at + frame.size < size else frame
        if frame is not None and at + frame.size <= size:
            yield at, frame, data[offset : offset + 200]
            at, in_step = at + frame.size, True
            continue
        in_step = False
        skipped = tag_size(data[offset : offset + 32])
        if not skipped:
            following = data.find(b"\xff", offset + 1)
            skipped = (following if following > 0 else len(data)) - offset
        at += skipped


def _ahead(file: BinaryIO, data: bytes, offset: int, base: int, size: int) -> bytes:
    near = data[offset + size : offset + size + 4]
    return near if len(near) == 4 else _at(file, base + offset + size, 4)


def ends_with_id3_1(data: bytes) -> bool:
    """Whether the last bytes of a file are an ID3v1 tag."""
    return data[-ID3_1_BYTES:].startswith(b"TAG")


def tag_size(head: bytes) -> int:
    """Size of an ID3 or APE tag that starts with these bytes; 0 if none does."""
    if head[:3] == b"ID3" and len(head) >= 10 and max(head[6:10]) < 128:
        size = sum(digit << shift for digit, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:3] == b"TAG":
        return 128
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        (size, _, flags) = struct.unpack_from("<III", head, 12)
        return int(size) + 32 if flags & 0x2000_0000 else 32
    return 0
