"""Tells the samples of a stream of undeclared length from the chunks that may follow them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from dccrn_cli.audio.chunks import AFTER_SAMPLES, is_chunk

_NAME = re.compile(b"(?=" + b"|".join(map(re.escape, sorted(AFTER_SAMPLES))) + b")")
_HEAD_BYTES = 8
_LONGEST_BYTES = 1 << 20
"""Chunks of more bytes, all together, are taken for samples. This bounds what is held back, and how often samples are
mistaken for a chunk and passed on late: in white noise at full scale, once in a hundred days."""


class StreamTail:
    """Passes on samples, and holds back what may be chunks until the end of the stream shows what it is.

    Chunks have known names, start where a sample could, and their sizes lead exactly to the end of the stream.

    Args:
        order: byte order of sizes for `struct`.
        frame_bytes: bytes of a sample over all channels.

    Attributes:
        name: name of the first chunk behind the samples; empty until the end, and if there is none.
    """

    def __init__(self, order: str, frame_bytes: int) -> None:
        self._order, self._frame_bytes = order, frame_bytes
        self._held = b""
        self._at = 0  # position of what is held in the stream
        self.name = b""

    def process(self, data: bytes) -> bytes:
        """Return the samples that are known once these bytes have arrived."""
        self._held += data
        start = next(self._possible_starts(is_end=False), len(self._held))
        samples, self._held = self._held[:start], self._held[start:]
        self._at += start
        return samples

    def flush(self) -> bytes:
        """Return the samples that are left at the end of the stream."""
        start = next(self._possible_starts(is_end=True), len(self._held))
        samples, chunks = self._held[:start], self._held[start:]
        self.name, self._held = self.name or chunks[:4], b""
        return samples

    def _possible_starts(self, *, is_end: bool) -> Iterator[int]:
        """Positions in what is held from where on there may be only chunks."""
        size = len(self._held)
        for match in _NAME.finditer(self._held):
            if self._is_place(match.start()) and self._leads_to_end(match.start(), is_end=is_end):
                yield match.start()
        for start in range(max(size - 3, 0), size if not is_end else 0):
            if self._is_place(start) and _may_be_name(self._held[start:]):
                yield start

    def _is_place(self, start: int) -> bool:
        """Whether a whole number of samples, with padding to an even number of bytes or without, precede."""
        behind = (self._at + start) % self._frame_bytes
        return behind == 0 or (behind == 1 and self._frame_bytes % 2 == 1 and (self._at + start) % 2 == 0)

    def _leads_to_end(self, start: int, *, is_end: bool) -> bool:
        """Whether there is one chunk after another from here on, at the end of the stream with none cut off."""
        at, size, padding = start, len(self._held), 0
        while at < size:
            head = self._held[at : at + _HEAD_BYTES]
            if len(head) < _HEAD_BYTES:
                return not is_end and _may_be_name(head[:4])
            if not is_chunk(head, self._order, None):
                return False
            (length,) = struct.unpack_from(self._order + "I", head, 4)
            padding = length % 2
            at += _HEAD_BYTES + length + padding
            if at - start > _LONGEST_BYTES:
                return False
        return not is_end or at - size in (0, padding)


def _may_be_name(start: bytes) -> bool:
    return any(name.startswith(start) for name in AFTER_SAMPLES)
