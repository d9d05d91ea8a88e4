"""WAV headers: reads RIFF, RIFX and RF64, writes RIFF and RIFX."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from dccrn_cli.audio.chunks import NOT_CARRIED
from dccrn_cli.audio.extent import read_layout
from dccrn_cli.audio.formats import SAMPLE_BYTES, AudioInfo
from dccrn_cli.audio.raw import MAX_CHANNELS
from dccrn_cli.errors import UnreadableAudio

_PCM, _IEEE, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_SUBTYPES = {
    (_PCM, 1): "PCM_U8", (_PCM, 2): "PCM_16", (_PCM, 3): "PCM_24", (_PCM, 4): "PCM_32",
    (_IEEE, 4): "FLOAT", (_IEEE, 8): "DOUBLE", (_ALAW, 1): "ALAW", (_MULAW, 1): "ULAW",
}  # fmt: skip
_TAGS = {subtype: tag for (tag, _), subtype in _SUBTYPES.items()}
_GUID_TAIL = bytes.fromhex("800000aa00389b71")
_SPEAKERS = {1: 0x4, 2: 0x3}
_BYTE_ORDERS = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">"}

_ENDLESS = 0xFFFFFFFF
_MAX_SIZE = 0xFFFF0000
_PIECE = 1 << 16
_LONGEST_CHUNK = 1 << 20


def _is_endless(size: int) -> bool:
    """Whether a size is a placeholder of programs that do not know it or fill it in later."""
    return size == 0 or 0x7FFF0000 <= size <= 0x80000000 or size >= _MAX_SIZE


def as_wav(info: AudioInfo) -> AudioInfo:
    """The WAV format for this audio; sample formats that WAV lacks are replaced by 16-bit PCM."""
    container = "WAVEX" if info.format == "WAVEX" or info.channels > 2 else "WAV"
    subtype = info.subtype if info.subtype in _TAGS else "PCM_16"
    endian = info.endian if info.format in ("WAV", "WAVEX") else "FILE"
    return replace(info, format=container, subtype=subtype, endian=endian)


class WavHeader(NamedTuple):
    """Everything before the first sample.

    Attributes:
        info: format; frames are 0 if unknown.
        size: bytes of samples, None if unknown.
        is_zero: whether the size is given as 0, which may mean that it is unknown.
        chunks: other chunks before the samples, names with contents.
    """

    info: AudioInfo
    size: int | None
    is_zero: bool
    chunks: tuple[tuple[bytes, bytes], ...] = ()


def read_wav_header(read: Callable[[int], bytes]) -> WavHeader:
    """Read up to the first sample.

    Args:
        read: returns the given number of bytes, fewer only at the end.

    Raises:
        UnreadableAudio: not a WAV of PCM, float, A-law or µ-law samples.
    """

    def exactly(count: int) -> bytes:
        data = read(count)
        if len(data) < count:
            raise UnreadableAudio("ends within the header of a WAV")
        return data

    start = read(12)
    kind = start[:4]
    if not start:
        raise UnreadableAudio("is empty (0 bytes)")
    if kind not in _BYTE_ORDERS or start[8:] != b"WAVE":
        raise UnreadableAudio("is not WAV; use --raw for samples without a header")
    order = _BYTE_ORDERS[kind]
    info, long_size = None, 0
    chunks: list[tuple[bytes, bytes]] = []
    while True:
        name, size = struct.unpack(order + "4sI", exactly(8))
        if name == b"data":
            break
        chunk = exactly(min(size, _PIECE))
        if name == b"fmt ":
            info = _parse_format(chunk, order)
        elif name == b"ds64" and size >= 16:
            (long_size,) = struct.unpack_from(order + "Q", chunk, 8)
        rest = _rest_of_chunk(exactly, size + size % 2 - len(chunk))
        if rest is not None and name not in NOT_CARRIED:
            chunks.append((name, (chunk + rest)[:size]))
    if info is None:
        raise UnreadableAudio("a WAV with samples before their format")
    if kind in (b"RF64", b"BW64"):
        info = replace(info, format="RF64")
    known, is_zero = not _is_endless(size), size == 0
    if size == _ENDLESS and 0 < long_size < 1 << 62:
        size, known = long_size, True
    frame_bytes = info.channels * SAMPLE_BYTES[info.subtype]
    if size < frame_bytes:
        known, is_zero = False, True
    return WavHeader(
        replace(info, frames=size // frame_bytes if known else 0), size if known else None, is_zero, tuple(chunks)
    )


def _rest_of_chunk(exactly: Callable[[int], bytes], left: int) -> bytes | None:
    """So many bytes; None where they are too many to keep, which are read all the same."""
    rest, is_kept = bytearray(), True
    while left:
        rest += exactly(min(left, _PIECE))
        left -= min(left, _PIECE)
        if len(rest) > _LONGEST_CHUNK:
            is_kept = False
            rest.clear()
    return bytes(rest) if is_kept else None


def _parse_format(chunk: bytes, order: str) -> AudioInfo:
    if len(chunk) < 16:
        raise UnreadableAudio("a WAV with a damaged header")
    tag, channels, rate, _, frame_bytes, _ = struct.unpack_from(order + "HHIIHH", chunk)
    container = "WAVEX" if tag == _EXTENSIBLE else "WAV"
    mask, _ = read_layout(chunk, order)
    if tag == _EXTENSIBLE and len(chunk) >= 40:
        (tag,) = struct.unpack_from(order + "I", chunk, 24)
    subtype = _SUBTYPES.get((tag, frame_bytes // max(channels, 1)))
    if subtype is None or not 1 <= channels <= MAX_CHANNELS or not rate or frame_bytes % channels:
        raise UnreadableAudio(f"a WAV of format {tag:#x} cannot be read from a pipe; use PCM or --raw")
    return AudioInfo(rate, channels, 0, container, subtype, "BIG" if order == ">" else "FILE", mask)


def wav_header(info: AudioInfo, size: int | None, extra: bytes = b"") -> bytes:
    """Everything before the samples.

    Args:
        info: a WAV format from `as_wav`.
        size: bytes of samples; None if unknown.
        extra: further chunks, unchanged.
    """
    order, kind = (">", b"RIFX") if info.endian == "BIG" else ("<", b"RIFF")
    tag, width = _TAGS[info.subtype], SAMPLE_BYTES[info.subtype]
    frame_bytes = width * info.channels
    outer = _EXTENSIBLE if info.format == "WAVEX" else tag
    bytes_per_s = min(info.sample_rate * frame_bytes, _ENDLESS)
    fmt = struct.pack(order + "HHIIHH", outer, info.channels, info.sample_rate, bytes_per_s, frame_bytes, 8 * width)
    if outer == _EXTENSIBLE:
        mask = _SPEAKERS.get(info.channels, 0) if info.channel_mask is None else info.channel_mask
        fmt += struct.pack(order + "HHI", 22, 8 * width, mask)
        fmt += struct.pack(order + "IHH", tag, 0, 16) + _GUID_TAIL
    elif tag != _PCM:
        fmt += bytes(2)
    after_size = 4 + 8 + len(fmt) + (12 if tag != _PCM else 0) + len(extra) + 8
    riff_size, frames, data_size = _ENDLESS, _ENDLESS, _ENDLESS
    if size is not None and size <= _MAX_SIZE - 2 * after_size:
        riff_size, frames, data_size = after_size + size + size % 2, size // frame_bytes, size
    fact = b"" if tag == _PCM else b"fact" + struct.pack(order + "II", 4, frames)
    parts = [kind, struct.pack(order + "I", riff_size), b"WAVEfmt ", struct.pack(order + "I", len(fmt)), fmt, fact]
    return b"".join([*parts, extra, b"data", struct.pack(order + "I", data_size)])
