"""Inserts bytes in the middle of a file in place."""

from __future__ import annotations

import os
from typing import BinaryIO

_PIECE = 1 << 20


def replace_bytes(file: BinaryIO, start: int, stop: int, data: bytes) -> None:
    """Replace the bytes from `start` to `stop`, moving those that follow.

    Args:
        file: file open for reading and writing.
    """
    size, shift = file.seek(0, os.SEEK_END), len(data) - (stop - start)
    places = range(stop, size, _PIECE)
    for place in reversed(places) if shift > 0 else places if shift else ():
        file.seek(place)
        piece = file.read(min(_PIECE, size - place))
        file.seek(place + shift)
        file.write(piece)
    file.seek(start)
    file.write(data)
    if shift < 0:
        file.truncate(size + shift)
