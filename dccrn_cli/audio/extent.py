"""Locates the samples of a file, as declared by its header and as actually present."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from dccrn_cli.audio.chunks import BLOCK_FORMATS, ORDERS, find_tail, known_chunks, walk
from dccrn_cli.audio.splice import Piece

OPEN_ENDED = 0x7FFF0000
"""Sizes from this on are placeholders of recorders that do not know the length yet."""

_WRAP = 1 << 32
_UNKNOWN_LONG = 1 << 62
"""64-bit sizes from this on are placeholders."""

_TAIL_BYTES = 129
"""Fewer bytes than this after the samples are ignored: padding, or an ID3v1 tag."""

Follows = Callable[[int], int]
"""Returns where the chunks end that start at a position: the position itself if none does."""

_W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
_W64_LIST = bytes.fromhex("6c6973742f91cf11a5d628db04c10000")
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


@dataclass(frozen=True)
class Extent:
    """The location of a file's samples.

    Attributes:
        start: position of the first byte.
        declared: bytes declared by the header; None if open.
        held: bytes actually present.
        frame_bytes: smallest size of a sample over all channels, or of a block of samples.
        frames: length in samples declared by the header, for block formats with padding; otherwise None.
        patch: returns the file with a correct header for a number of sample bytes; None if impossible.
        format: format of the file, if the patched header has another one.
        beyond: bytes after the end that are neither samples nor anything else known.
        channel_mask: speakers of the channels; None if not given, 0 for channels that are not for speakers.
        valid_bits: significant bits; 0 if not given.
        is_odd: libsndfile cannot find the samples behind this header, and needs the patched one.
    """

    start: int
    declared: int | None
    held: int
    frame_bytes: int = 1
    frames: int | None = None
    patch: Callable[[int], list[Piece]] | None = None
    format: str = ""
    beyond: int = 0
    channel_mask: int | None = None
    valid_bits: int = 0
    is_odd: bool = False

    @property
    def is_true(self) -> bool:
        """Whether the header matches what is present."""
        return self.declared == self.held

    @property
    def note(self) -> str:
        """Note on a difference from the header, or ""."""
        if self.beyond:
            return unread(self.beyond)
        if self.declared is None or self.is_true:
            return ""
        if self.declared > self.held:
            return cut_off(self.held, self.declared)
        return f"the header declares {self.declared:,} bytes of samples; all {self.held:,} present are read"


CUT_OFF = "the recording is cut off: "
"""Start of all notes on recordings that end too early."""


def cut_off(held: int, declared: int) -> str:
    """Note for a recording that is shorter than declared, in any unit."""
    share = f"{held / declared:.0%}" if 100 * held >= declared else "less than 1%"
    return f"{CUT_OFF}{share} of the data is present"


def unread(count: int) -> str:
    """Note for unknown bytes after the samples."""
    return f"{count:,} bytes after the declared end of the audio are not read"


def damaged(places: int) -> str:
    """Note for damage that does not prevent decoding."""
    return f"damaged in {places:,} place{'s' * (places != 1)}, with audible errors"


def find_extent(file: BinaryIO, size: int) -> Extent | None:
    """Find the samples of WAV, RF64, AIFF, AU, W64 and CAF files.

    Args:
        file: seekable file.
        size: size of the file in bytes.

    Returns:
        None for other files and for those without samples.

    Raises:
        OSError: the file cannot be read.
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
    except (struct.error, OverflowError, ValueError):
        pass
    except OSError as error:
        if error.errno != errno.EINVAL:  # a position before the start of the file
            raise
    return None


def _wav(file: BinaryIO, kind: bytes, size: int) -> Extent | None:
    order, long_size, frame_bytes, frames, tag, samples_at = ORDERS[kind], 0, 1, None, 0, 0
    layout: tuple[int | None, int] = (None, 0)
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
        declared = long_size if long_size < _UNKNOWN_LONG else None
    if kind in (b"RIFF", b"RIFX") and chunk.size >= OPEN_ENDED and chunk.size > size - samples_at:
        declared = None
    extent = Extent(samples_at, declared, 0, max(frame_bytes, 1), frames if tag in BLOCK_FORMATS else None)
    extent = replace(extent, channel_mask=layout[0], valid_bits=layout[1], is_odd=is_odd and kind[:3] != b"RIF")
    extent = replace(extent, format="WAVEX" if tag == 0xFFFE else "WAV") if kind[:3] == b"RIF" else extent
    held = _held(extent, size, _riff_follows(file, order, size), is_open=kind in (b"RF64", b"BW64"))
    held = _without_tail(held, file, order, size)

    def patch(length: int) -> list[Piece]:
        if kind[:3] == b"RIF" and samples_at + length < _WRAP - 1:
            riff_size = struct.pack(order + "I", samples_at - 8 + length)
            data_size = struct.pack(order + "I", length)
            return [(0, 4), riff_size, (8, samples_at - 4), data_size, (samples_at, samples_at + length)]
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, samples_at + 36 + length, length, 0, 0)
        head = b"RF64\xff\xff\xff\xffWAVE" + sizes
        return [head, fmt_at, b"data\xff\xff\xff\xff", (samples_at, samples_at + length)]

    return replace(held, patch=None if kind == b"RIFX" and held.held >= _WRAP // 2 else patch)


def read_layout(head: bytes, order: str) -> tuple[int | None, int]:
    """Channel mask in the format chunk of a WAV, None if not given, and valid bits, 0 if not given or the default."""
    tag, channels, _, _, frame_bytes, bits = struct.unpack_from(order + "HHIIHH", head)
    mask = None
    if tag == 0xFFFE and len(head) >= 40:
        bits, mask, tag = struct.unpack_from(order + "HII", head, 18)
    held = 8 * (frame_bytes // max(channels, 1))
    return mask, bits if tag == 1 and 8 < bits < held else 0


def _riff_follows(file: BinaryIO, order: str, size: int) -> Follows:
    def follows(at: int) -> int:
        *_, end = at, *(chunk.stop for chunk in known_chunks(file, order, at, size))
        return end

    return follows


def _held(extent: Extent, size: int, follows: Follows, alignment: int = 2, *, is_open: bool = False) -> Extent:
    """Determine how many bytes of samples are present, whether the header's size is right, wrong or missing.

    Args:
        extent: extent declared by the header.
        size: size of the file.
        follows: finds the end of other content at a position.
        alignment: alignment of that content.
        is_open: whether a size of 0 means that the writer did not know it.
    """
    there, declared = max(size - extent.start, 0), extent.declared
    if declared is None or declared > there:
        return replace(extent, held=there)
    stop = extent.start + declared
    padded = extent.start + -(-declared // alignment) * alignment
    after = max(follows(padded), follows(stop))
    has_more = after > padded
    if declared < extent.frame_bytes <= there and not (declared == 0 and has_more):
        return replace(extent, held=there, declared=None if is_open else declared)
    beyond = size - (after if has_more else stop)
    if beyond < max(extent.frame_bytes, _TAIL_BYTES):
        return replace(extent, held=declared)
    if beyond >= _WRAP - 1:
        return replace(extent, held=declared + beyond // _WRAP * _WRAP)
    return replace(extent, held=declared, beyond=beyond)


def _without_tail(extent: Extent, file: BinaryIO, order: str, size: int) -> Extent:
    """End samples that reach to the end of the file against the header before the chunks that follow them."""
    if extent.is_true or extent.beyond or extent.start + extent.held != size:
        return extent
    return replace(extent, held=find_tail(file, order, extent.start, size) - extent.start)


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
    if sound.size >= OPEN_ENDED and sound.size > size:
        declared = None
    extent = _held(Extent(start, declared, 0, frame_bytes), size, _riff_follows(file, ">", size))
    extent = _without_tail(extent, file, ">", size)

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
    extent = _held(extent, size, lambda at: at, 1)

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
    start = at + 16  # skip the edit count
    extent = Extent(start, None if length < 0 else max(length - 4, 0), 0, frame_bytes)

    def follows(at: int) -> int:
        while True:
            file.seek(at)
            head = file.read(12)
            if len(head) < 12 or not (head[:4].isascii() and head[:4].decode().isprintable()) or any(head[4:6]):
                return at
            if head[:4] == b"data" or head[:4] == b"caff":
                return at
            at += 12 + int.from_bytes(head[4:])

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
    extent = Extent(start, None if length >= _UNKNOWN_LONG else max(length - 24, 0), 0, max(frame_bytes, 1),
                    frames if tag in BLOCK_FORMATS else None)  # fmt: skip

    def follows(at: int) -> int:
        while True:
            file.seek(at)
            head = file.read(24)
            name, length = head[:16], int.from_bytes(head[16:], "little")
            if len(head) < 24 or length < 24 or name == _W64_DATA or name[4:] not in (_W64_DATA[4:], _W64_LIST[4:]):
                return at
            if name[:4] == b"riff":
                return at
            at += -(-length // 8) * 8

    extent = _held(extent, size, follows, 8)

    def patch(length: int) -> list[Piece]:
        riff_size, data_size = struct.pack("<Q", start + length), struct.pack("<Q", length + 24)
        return [(0, 16), riff_size, (24, at + 16), data_size, (start, start + length)]

    return replace(extent, patch=patch)
