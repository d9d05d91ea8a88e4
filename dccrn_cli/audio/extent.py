"""Where the samples of a file lie, by its header and in truth."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from dccrn_cli.audio.chunks import BLOCK_FORMATS, ORDERS, is_chunk, walk
from dccrn_cli.audio.splice import Piece

_OPEN_ENDED = 0x7FFF0000
"""Sizes from here on are written by recorders that do not know better yet."""

_WRAP = 1 << 32
_TAIL_BYTES = 129
"""Fewer bytes than that after the samples may be anything: padding, or a tag of ID3 1."""

Follows = Callable[[int], bool]

_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
_W64_LIST = bytes.fromhex("6c6973742f91cf11a5d628db04c10000")
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


@dataclass(frozen=True)
class Extent:
    """The samples of a file.

    Attributes:
        start: first byte.
        declared: bytes by the header; None if it leaves that open.
        held: bytes that are there.
        frame_bytes: the least that a sample of all channels, or a block of samples, can take.
        frames: length in samples by the header, for formats of blocks that are filled up; else None.
        patch: the file with a right header in front of so many bytes; None if there is none to be had.
        format: of the file, where a patched header is that of another one.
        beyond: bytes after the end that are neither samples nor anything else that is known.
        channel_mask, valid_bits: as `AudioInfo` has them.
        is_odd: libsndfile does not find the samples of such a header, and gets the patched one.
    """

    start: int
    declared: int | None
    held: int
    frame_bytes: int = 1
    frames: int | None = None
    patch: Callable[[int], list[Piece]] | None = None
    format: str = ""
    beyond: int = 0
    channel_mask: int = 0
    valid_bits: int = 0
    is_odd: bool = False

    @property
    def is_true(self) -> bool:
        """The header says what is there."""
        return self.declared == self.held

    @property
    def note(self) -> str:
        """What a user should know about the difference, or ""."""
        if self.beyond:
            return unread(self.beyond)
        if self.declared is None or self.is_true:
            return ""
        if self.declared > self.held:
            return cut_off(self.held, self.declared)
        return f"the header declares {self.declared:,} bytes of samples; all {self.held:,} that follow are read"


def cut_off(held: int, declared: int) -> str:
    """The note for a recording of which less is there than it says, in any unit."""
    share = f"{held / declared:.0%}" if 100 * held >= declared else "less than 1%"
    return f"the recording is cut off: {share} of the data are there"


def unread(count: int) -> str:
    """The note for bytes behind the samples that are nothing known."""
    return f"{count:,} bytes after the end of the sound by the header are not read"


def find_extent(file: BinaryIO, size: int) -> Extent | None:
    """The samples of WAV, RF64, AIFF, AU, W64 and CAF files.

    Args:
        file: seekable.
        size: of the file in bytes.

    Returns:
        None for other files, and those without samples.

    Raises:
        OSError: it cannot be read.
    """
    file.seek(0)
    magic = file.read(16)
    try:
        if magic[8:12] == b"WAVE" and magic[:4] in ORDERS:
            return _wav(file, magic[:4], size)
        if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(file, size)
        if magic[:4] in (b".snd", b"dns."):
            return _au(file, ">" if magic[:4] == b".snd" else "<", size)
        if magic[:4] == b"caff":
            return _caf(file, size)
        if magic[:4] == b"riff":
            return _w64(file, size)
    except struct.error:
        pass
    return None


def riff_shortage(file: BinaryIO, size: int) -> str:
    """The note for a file of the RIFF family that is shorter than its outermost size says, or ""."""
    file.seek(0)
    head = file.read(8)
    if len(head) < 8 or head[:4] != b"RIFF":
        return ""
    declared = struct.unpack_from("<I", head, 4)[0] + 8
    return cut_off(size, declared) if size < declared - 1 and declared < _OPEN_ENDED else ""


def _wav(file: BinaryIO, kind: bytes, size: int) -> Extent | None:
    order, long_size, frame_bytes, frames, tag, samples_at, layout = ORDERS[kind], 0, 1, None, 0, 0, (0, 0)
    fmt_at, is_odd = (0, 0), False
    for chunk in walk(file, order):
        head = file.read(min(chunk.size, 64)) if chunk.name != b"data" else b""
        if chunk.name == b"ds64":
            (long_size,) = struct.unpack_from("<Q", head, 8)
        elif chunk.name == b"fmt ":
            tag, _, _, _, frame_bytes = struct.unpack_from(order + "HHIIH", head)
            layout, fmt_at = read_layout(head, order), (chunk.start - 8, chunk.stop)
        elif chunk.name == b"fact":
            (frames,) = struct.unpack_from(order + "I", head)
        elif chunk.name == b"data":
            samples_at = chunk.start
            break
        is_odd = is_odd or chunk.size % 2 == 1
    if not samples_at:
        return None
    declared: int | None = chunk.size
    if kind in (b"RF64", b"BW64") and declared == _WRAP - 1:
        declared = long_size
    if kind in (b"RIFF", b"RIFX") and chunk.size >= _OPEN_ENDED and chunk.size > size - samples_at:
        declared = None
    extent = Extent(samples_at, declared, 0, max(frame_bytes, 1), frames if tag in BLOCK_FORMATS else None)
    extent = replace(extent, channel_mask=layout[0], valid_bits=layout[1], is_odd=is_odd and kind[:3] != b"RIF")
    extent = replace(extent, format="WAVEX" if tag == 0xFFFE else "WAV") if kind[:3] == b"RIF" else extent
    held = _held(extent, size, _riff_follows(file, order, size), is_open=kind in (b"RF64", b"BW64"))

    def patch(length: int) -> list[Piece]:
        if kind[:3] == b"RIF" and samples_at + length < _WRAP - 1:
            riff_size = struct.pack(order + "I", samples_at - 8 + length)
            data_size = struct.pack(order + "I", length)
            return [(0, 4), riff_size, (8, samples_at - 4), data_size, (samples_at, samples_at + length)]
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, samples_at + 36 + length, length, 0, 0)
        head = b"RF64\xff\xff\xff\xffWAVE" + sizes
        return [head, fmt_at, b"data\xff\xff\xff\xff", (samples_at, samples_at + length)]

    return replace(held, patch=None if kind == b"RIFX" and held.held >= _WRAP // 2 else patch)


def read_layout(head: bytes, order: str) -> tuple[int, int]:
    """Channel mask and valid bits by the format chunk of a WAV; 0 where it does not say, or says nothing special."""
    tag, channels, _, _, frame_bytes, bits = struct.unpack_from(order + "HHIIHH", head)
    mask = 0
    if tag == 0xFFFE and len(head) >= 40:
        bits, mask, tag = struct.unpack_from(order + "HII", head, 18)
    held = 8 * (frame_bytes // max(channels, 1))
    return mask, bits if tag == 1 and 8 < bits < held else 0


def _riff_follows(file: BinaryIO, order: str, size: int) -> Follows:
    def follows(at: int) -> bool:
        file.seek(at)
        return is_chunk(file.read(8), order, size - at)

    return follows


def _held(extent: Extent, size: int, follows: Follows, alignment: int = 2, *, is_open: bool = False) -> Extent:
    """How many bytes of samples there are where a header gives a size, or none, or a wrong one.

    Args:
        extent: by the header.
        size: of the file.
        follows: whether other contents start at a place.
        alignment: of what follows.
        is_open: a size of 0 means that the writer did not know it.
    """
    there, declared = max(size - extent.start, 0), extent.declared
    if declared is None or declared > there:
        return replace(extent, held=there)
    stop = extent.start + declared
    padded = extent.start + -(-declared // alignment) * alignment
    has_more = follows(padded) or (padded != stop and follows(stop))
    if declared < extent.frame_bytes <= there and not (declared == 0 and has_more):
        return replace(extent, held=there, declared=None if is_open else declared)
    beyond = there - declared
    if beyond < max(extent.frame_bytes, _TAIL_BYTES) or has_more:
        return replace(extent, held=declared)
    if beyond >= _WRAP - 1:
        return replace(extent, held=declared + beyond // _WRAP * _WRAP)
    return replace(extent, held=declared, beyond=beyond)


def _aiff(file: BinaryIO, size: int) -> Extent | None:
    frame_bytes, frames, counted_at, sound = 1, 0, 0, None
    for chunk in walk(file, ">"):
        if chunk.name == b"COMM":
            channels, frames, bits = struct.unpack(">HIH", file.read(8))
            frame_bytes, counted_at = max(channels * ((bits + 7) // 8), 1), chunk.start + 2
        elif chunk.name == b"SSND":
            (offset,) = struct.unpack(">I", file.read(4))
            sound = chunk
            if counted_at:
                break
    if sound is None or not counted_at:
        return None
    start = sound.start + 8 + offset
    declared: int | None = max(sound.size - 8 - offset, 0) if frames or sound.size > 8 else 0
    if sound.size >= _OPEN_ENDED and sound.size > size:
        declared = None
    extent = _held(Extent(start, declared, 0, frame_bytes), size, _riff_follows(file, ">", size))

    def patch(length: int) -> list[Piece]:
        form_size = struct.pack(">I", start - 8 + length)
        count = struct.pack(">I", length // frame_bytes)
        sound_size = struct.pack(">I", length + 8 + offset)
        if counted_at > start:
            return [(0, start + length)]
        return [(0, 4), form_size, (8, counted_at), count, (counted_at + 4, sound.start - 4), sound_size,
                (sound.start, start + length)]  # fmt: skip

    return replace(extent, patch=patch if extent.held < _WRAP // 2 else None)


def _au(file: BinaryIO, order: str, size: int) -> Extent:
    file.seek(4)
    start, declared, encoding, _, channels = struct.unpack(order + "5I", file.read(20))
    is_open = declared == _WRAP - 1
    extent = Extent(start, None if is_open else declared, 0, max(_AU_BYTES.get(encoding, 1) * channels, 1))
    extent = _held(extent, size, lambda _: False, 1)

    def patch(length: int) -> list[Piece]:
        return [(0, 8), struct.pack(order + "I", min(length, _WRAP - 1)), (12, start + length)]

    return replace(extent, patch=patch)


def _caf(file: BinaryIO, size: int) -> Extent | None:
    at, frame_bytes = 8, 1
    while True:
        file.seek(at)
        name, length = struct.unpack(">4sq", file.read(12))
        if name == b"data":
            break
        if name == b"desc":
            frame_bytes = max(struct.unpack(">8sIIIIII", file.read(32))[3], 1)
        at += 12 + max(length, 0)
    start = at + 16  # past the edit count
    extent = Extent(start, None if length < 4 else length - 4, 0, frame_bytes)

    def follows(at: int) -> bool:
        file.seek(at)
        head = file.read(12)
        return len(head) == 12 and head[:4].isascii() and head[:4].decode().isprintable() and not any(head[4:6])

    extent = _held(extent, size, follows, 1)

    def patch(length: int) -> list[Piece]:
        return [(0, at + 4), struct.pack(">q", length + 4), (at + 12, start + length)]

    return replace(extent, patch=patch)


def _w64(file: BinaryIO, size: int) -> Extent | None:
    at, frame_bytes, frames, tag = 40, 1, None, 0
    while True:
        file.seek(at)
        name, length = struct.unpack("<16sQ", file.read(24))
        if name == _W64_DATA:
            break
        if name[:4] == b"fmt ":
            tag, _, _, _, frame_bytes = struct.unpack("<HHIIH", file.read(14))
        elif name[:4] == b"fact":
            (frames,) = struct.unpack("<Q", file.read(8))
        at += max((length + 7) // 8 * 8, 24)
    start = at + 24
    extent = Extent(start, None if length >= 1 << 62 else max(length - 24, 0), 0, max(frame_bytes, 1),
                    frames if tag in BLOCK_FORMATS else None)  # fmt: skip

    def follows(at: int) -> bool:
        file.seek(at)
        name = file.read(16)
        return name[:4] != b"riff" and name[4:] in (_W64_DATA[4:], _W64_LIST[4:])

    extent = _held(extent, size, follows, 8)

    def patch(length: int) -> list[Piece]:
        riff_size, data_size = struct.pack("<Q", start + length), struct.pack("<Q", length + 24)
        return [(0, 16), riff_size, (24, at + 16), data_size, (start, start + length)]

    return replace(extent, patch=patch)
