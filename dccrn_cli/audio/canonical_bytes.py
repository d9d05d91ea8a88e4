"""Makes files reproducible, so that equal samples give equal bytes, and fixes some of libsndfile's faults.

libsndfile writes times and random numbers to some files, a sample too many, or text with the wrong encoding.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from dccrn_cli.audio.chunks import BLOCK_FORMATS, ORDERS, walk

_OGG_SERIAL = 0
_POLYNOMIAL = 0x04C11DB7
_VOC_BLOCK, _VOC_SAMPLES = 26, b"\x09"  # position and type of the first block
_MAT5_TEXT, _MAT5_TEXT_BYTES = b"MATLAB 5.0 MAT-file\0", 124


def settle(file: BinaryIO, format: str, frames: int = 0) -> None:
    """Make a finished file depend only on its samples and tags, without changing its audio.

    Ogg: resets the serial number of the stream, and the checksums of its pages. WAV and AIFF with
    floating-point samples: clears the time in the PEAK chunk. MAT5: clears the date in its text. VOC: corrects the
    size of the sample block, which libsndfile makes one too large. MP3: marks UTF-8 tags as such. WAV with block
    formats: sets the length without the padding of the last block. Other files are left alone.

    Args:
        file: as written by libsndfile, opened "r+b".
        format: the container in libsndfile's names.
        frames: length in samples; 0 for that given by libsndfile.

    Raises:
        OSError: the file cannot be read or written.
    """
    if format == "OGG":
        _settle_ogg(file)
    elif format in ("WAV", "WAVEX", "RF64", "AIFF"):
        _settle_peak(file)
        if frames and format == "WAV":
            _settle_length(file, frames)
    elif format == "VOC":
        _settle_voc(file)
    elif format == "MP3":
        _settle_id3(file)
    elif format == "MAT5":
        file.seek(0)
        file.write(_MAT5_TEXT.ljust(_MAT5_TEXT_BYTES))


def _settle_peak(file: BinaryIO) -> None:
    for name, at in _chunks(file):
        if name in (b"data", b"SSND"):
            return  # libsndfile writes PEAK before the samples
        if name == b"PEAK":
            file.seek(at + 4)  # skip the version
            file.write(bytes(4))
            return


def _settle_length(file: BinaryIO, frames: int) -> None:
    in_blocks = False
    for name, at in _chunks(file):
        if name == b"data":
            return
        file.seek(at)
        if name == b"fmt ":
            in_blocks = int.from_bytes(file.read(2), "little") in BLOCK_FORMATS
        if name == b"fact" and in_blocks:
            file.write(struct.pack("<I", frames))
            return


def _settle_voc(file: BinaryIO) -> None:
    """Make the last block end before the terminating zero byte, which readers would take for a sample."""
    end = file.seek(0, os.SEEK_END)
    file.seek(_VOC_BLOCK)
    head = file.read(4)
    if head[:1] == _VOC_SAMPLES and _VOC_BLOCK + 4 + int.from_bytes(head[1:], "little") == end:
        file.seek(_VOC_BLOCK + 1)
        file.write((end - 1 - _VOC_BLOCK - 4).to_bytes(3, "little"))


def _settle_id3(file: BinaryIO) -> None:
    """Mark text as UTF-8 (ID3 2.4), since the encoder labels the UTF-8 it is given as Latin-1."""
    file.seek(0)
    head = file.read(10)
    if head[:4] != b"ID3\x03":
        return
    tag = bytearray(file.read(_from_syncsafe(head[6:])))
    if tag.isascii():
        return
    at = 0
    while at + 11 <= len(tag) and tag[at]:
        size = int.from_bytes(tag[at + 4 : at + 8], "big")
        if tag[at : at + 4] == b"TYER":
            tag[at : at + 4] = b"TDRC"
        tag[at + 4 : at + 8] = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
        if tag[at + 10] == 0:
            tag[at + 10] = 3
        at += 10 + size
    file.seek(3)
    file.write(b"\x04")
    file.seek(10)
    file.write(tag)


def _from_syncsafe(digits: bytes) -> int:
    return sum(digit << shift for digit, shift in zip(digits, (21, 14, 7, 0), strict=True))


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and position of the content of each chunk."""
    file.seek(0)
    for chunk in walk(file, ORDERS.get(file.read(4), ">")):
        yield chunk.name, chunk.start


def _settle_ogg(file: BinaryIO) -> None:
    end = file.seek(0, os.SEEK_END)
    at = 0
    while at + 27 <= end:
        file.seek(at)
        head = file.read(27 + 255)
        count = head[26]
        if head[:4] != b"OggS" or len(head) < 27 + count:
            return
        size = 27 + count + sum(head[27 : 27 + count])
        serial, number, crc = struct.unpack_from("<III", head, 14)
        if serial != _OGG_SERIAL:
            # The checksum is linear: it changes by the checksum of the change, whatever the page contains.
            crc ^= _crc_of_change(serial ^ _OGG_SERIAL, size - 18)
            file.seek(at + 14)
            file.write(struct.pack("<III", _OGG_SERIAL, number, crc))
        at += size


def _crc_of_change(change: int, after: int) -> int:
    """Checksum of the four bytes of `change`, low byte first, followed by `after` zero bytes."""
    crc = int.from_bytes(change.to_bytes(4, "little"), "big")
    # The remainder of crc · x^32 · x^(8 after): bytes before the change are zero and add nothing.
    return _product(crc, _power(8 * after + 32))


def _product(a: int, b: int) -> int:
    """Product of two polynomials over GF(2), modulo the polynomial of the checksum."""
    out = 0
    for bit in range(31, -1, -1):
        out = (out << 1) ^ (_POLYNOMIAL if out >> 31 else 0)
        out &= 0xFFFFFFFF
        if a >> bit & 1:
            out ^= b
    return out


@functools.lru_cache(1 << 12)
def _power(exponent: int) -> int:
    """Power of x, modulo the polynomial of the checksum."""
    if exponent == 0:
        return 1
    half = _power(exponent // 2)
    square = _product(half, half)
    return _product(square, 2) if exponent % 2 else square
