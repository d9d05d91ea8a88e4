"""Checks the packets of MIDI sample dumps (SDS), about whose damage libsndfile prints lines on standard output."""

from __future__ import annotations

import functools
import operator
from typing import BinaryIO, NamedTuple

from dccrn_cli.audio.splice import Piece

_HEADER_BYTES, _PACKET_BYTES = 21, 127
_START = b"\xf0\x7e"


class Packets(NamedTuple):
    """Packets of a sample dump.

    Attributes:
        damaged: number of packets with a wrong start or checksum.
        pieces: the file with correct starts.
    """

    damaged: int
    pieces: list[Piece]


def is_sample_dump(head: bytes) -> bool:
    """Whether a file starts with the header of a sample dump."""
    return head[:2] == _START and head[3:4] == b"\x01"


def read_packets(file: BinaryIO, size: int) -> Packets:
    """Check all packets.

    Raises:
        OSError: the file cannot be read.
    """
    file.seek(_HEADER_BYTES)
    damaged, start = 0, 0
    pieces: list[Piece] = []
    for at in range(_HEADER_BYTES, size, _PACKET_BYTES):
        packet = file.read(_PACKET_BYTES)
        is_started = packet[:2] == _START[: len(packet)]
        is_whole = len(packet) < _PACKET_BYTES or functools.reduce(operator.xor, packet[1:-2]) & 127 == packet[-2]
        damaged += not (is_started and is_whole)
        if not is_started:
            pieces += [(start, at), _START]
            start = at + len(_START)
    return Packets(damaged, [*pieces, (start, size)] if start < size else pieces)
