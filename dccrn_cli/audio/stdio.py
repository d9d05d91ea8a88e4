"""WAV and headerless samples from and to pipes, which libsndfile cannot serve since it seeks.

On Windows, standard input and output must have been put into binary mode.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from dccrn_cli.audio.chunks import is_chunk
from dccrn_cli.audio.extent import cut_off
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.metadata import Metadata, family, left_out
from dccrn_cli.audio.metadata.riff import chunks_before_samples, pack
from dccrn_cli.audio.raw import SAMPLE_BYTES, RawFormat, decode, encode
from dccrn_cli.audio.wav import as_wav, read_wav_header, wav_header
from dccrn_cli.errors import AudioError, OptionError, UnreadableAudio

STDIN, STDOUT = "standard input", "standard output"

_PIECE = 1 << 16
_CHUNK_HEAD = 8
_PAUSE_S, _GRACE_S = 0.2, 1.0


class StreamReader:
    """Audio from a pipe as it arrives; used like `AudioReader`.

    Args:
        stream: a binary file from which nothing has been read; it is left open.
        raw: what the samples are; None if there is a WAV header.
        stop: asked while nothing comes; True ends the stream, as soon as what has been sent is read.

    Attributes:
        info: what it is; frames are 0 if the length is not known.
        frames_read: samples read so far.
        note: something that a user should know about the stream, or ""; known at its end.
        tags: none.

    Raises:
        UnreadableAudio: nothing there, no WAV, or one of another kind than PCM, float, A-law and µ-law.
    """

    def __init__(
        self, stream: BinaryIO, raw: RawFormat | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._stream = stream
        self._stop, self._deadline = stop, math.inf
        try:
            self._descriptor: int | None = stream.fileno()
        except (OSError, AttributeError):
            self._descriptor = None
        self.frames_read = 0
        self.note = ""
        self.tags: dict[str, str] = {}
        self._chunks: tuple[tuple[bytes, bytes], ...] = ()
        self._read = 0
        self._rest = self._some(_PIECE) if raw else b""
        if raw and not self._rest:
            raise UnreadableAudio("is empty (0 bytes)", STDIN)
        self._size: int | None = None  # of the samples in bytes, if known
        if raw:
            self.info = raw.info
            return
        try:
            self.info, self._size, is_zero, self._chunks = read_wav_header(self._upto)
        except UnreadableAudio as error:
            raise UnreadableAudio(error.message, STDIN) from None
        if is_zero:
            self._rest = self._upto(_CHUNK_HEAD)
            if not self._rest or self._is_chunk(self._rest):
                self._rest, self._size = b"", 0

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks of what has arrived, at most `frames` samples, float32 `(frames, channels)`, full scale 1.0.

        Raises:
            UnreadableAudio: the stream cannot be read.
        """
        frame_bytes = self.info.channels * SAMPLE_BYTES[self.info.subtype]
        while True:
            wanted = frames * frame_bytes - len(self._rest)
            if self._size is not None:
                wanted = min(wanted, self._size - self._read)
            # No waiting for more while there is something to give.
            more = self._some(wanted) if wanted > 0 and len(self._rest) < frame_bytes else b""
            self._read += len(more)
            data = self._rest + more
            count = min(len(data) // frame_bytes, frames)
            self._rest = data[count * frame_bytes :]
            if count:
                self.frames_read += count
                yield decode(data[: count * frame_bytes], self.info)
            elif not more:
                break
        if self._size is not None and self._read < self._size:
            self.note = cut_off(self._read, self._size)
        elif self._size and self._has_more():
            self.note = "what comes after the end of the sound by the header is not read"
        elif self._rest:
            self.note = "an incomplete sample at the end is left out"

    def metadata(self) -> Metadata:
        """The chunks before the samples."""
        return chunks_before_samples(self._chunks, is_big=self.info.endian == "BIG")

    def _is_chunk(self, head: bytes) -> bool:
        return is_chunk(head, ">" if self.info.endian == "BIG" else "<", None)

    def _has_more(self) -> bool:
        """Something other than a chunk has come after the samples; for what may still come there is no waiting."""
        if self._descriptor is not None and os.name == "posix":
            if not select.select([self._descriptor], [], [], 0)[0]:
                return False
            tail = self._some(_CHUNK_HEAD + 1)
        else:
            tail = self._upto(_CHUNK_HEAD + 1)
        return len(tail) > _CHUNK_HEAD and not self._is_chunk(tail) and not self._is_chunk(tail[1:])

    def close(self) -> None:
        """For likeness only."""

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _some(self, count: int) -> bytes:
        """At most `count` bytes of what is there; nothing at the end only."""
        try:
            if self._descriptor is None:
                data: bytes = getattr(self._stream, "read1", self._stream.read)(count)
                return data
            while not self._is_over():
                if os.name == "posix" and not select.select([self._descriptor], [], [], _PAUSE_S)[0]:
                    if self._stop():
                        return b""
                    continue
                try:
                    return os.read(self._descriptor, count)
                except BlockingIOError:
                    continue
            return b""
        except (OSError, ValueError) as error:
            raise UnreadableAudio(f"cannot be read ({error})", STDIN) from None

    def _is_over(self) -> bool:
        """The stream was asked to end a while ago, and whoever sends it goes on all the same."""
        if self._stop() and self._deadline == math.inf:
            self._deadline = time.monotonic() + _GRACE_S
        return time.monotonic() > self._deadline

    def _upto(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count and (more := self._some(count - len(data))):
            data += more
        return bytes(data)


class StreamWriter:
    """Audio to a pipe, sent on with each block; used like `AudioWriter`.

    A WAV says its length if `info` does; else its sizes are 0xFFFFFFFF, which readers take for "until
    the end". If the stream turns out to be a file, the sizes are set right at the end.

    Args:
        stream: a binary file; it is left open.
        info: rate, channels and sample format; 16-bit PCM takes the place of those that WAV has not.
        raw: what to write without a header; None for WAV.
        metadata: of the original; a WAV gets the chunks of one.

    Attributes:
        info: what is written.
        clipped: samples cut at full scale.
        note: something that a user should know about what was written, or ""; known at its end.

    Raises:
        OptionError: rate or channels of `raw` are not those of `info`.
        AudioError: the stream cannot be written; BrokenPipeError passes as it is.
    """

    def __init__(
        self, stream: BinaryIO, info: AudioInfo, raw: RawFormat | None = None, metadata: Metadata | None = None
    ) -> None:
        if raw and (raw.sample_rate, raw.channels) != (info.sample_rate, info.channels):
            raise OptionError(f"the audio has {info.sample_rate} Hz and {info.channels} channels, not those of {raw}")
        self._stream = stream
        self._has_header = raw is None
        self.info = raw.info if raw else as_wav(info)
        self.clipped = 0
        self.note = ""
        self._start = _position(stream) if self._has_header else None
        self._declared = info.frames * info.channels * SAMPLE_BYTES[self.info.subtype] or None
        self._written = 0
        self._extra = b""
        if self._has_header:
            kind = family("WAV", self.info.endian)
            if metadata is not None and metadata.family == kind:
                self._extra = pack(metadata.blocks, ">" if kind == "RIFX" else "<")
            self._send(wav_header(self.info, self._declared, self._extra))
        if metadata is not None and not self._extra:
            self.note = left_out(metadata.common(), container=STDOUT)

    def write(self, block: np.ndarray) -> None:
        """Send float `(frames, channels)`; beyond full scale, integer formats clip and are counted.

        Raises:
            AudioError: the block is not finite, or cannot be written; BrokenPipeError passes as it is.
        """
        if not np.isfinite(block).all():
            raise AudioError("the result is not finite", STDOUT)
        if not self.info.is_float:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            block = np.clip(block, -1.0, 1.0)
        if len(block):
            data = encode(block, self.info)
            self._written += len(data)
            self._send(data)

    def close(self) -> None:
        """Complete the WAV.

        Raises:
            AudioError: as for `write`.
        """
        if not self._has_header:
            return
        if self._written % 2 and (self._start is not None or self._written == self._declared):
            self._send(b"\0")
        if self._start is not None and self._written != self._declared:
            self._send(wav_header(self.info, self._written, self._extra), at=self._start)
        elif self._declared and self._written != self._declared:
            told = f"the header that was sent declares {self._declared:,} bytes; {self._written:,} were written"
            self.note = "; ".join(filter(None, [self.note, told]))

    def _send(self, data: bytes, at: int | None = None) -> None:
        try:
            if at is not None:
                self._stream.seek(at)
            self._stream.write(data)
            self._stream.flush()
            if at is not None:
                self._stream.seek(0, os.SEEK_END)
        except BrokenPipeError:
            raise
        except (OSError, ValueError) as error:
            raise AudioError(f"cannot be written ({error})", STDOUT) from None

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(*(() if kind is None else (OSError, AudioError))):
            self.close()


def _position(stream: BinaryIO) -> int | None:
    """Where the stream stands, if what is written now can be replaced later."""
    try:
        if not stream.seekable():
            return None
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import fcntl

            if fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_APPEND:
                return None
        return stream.tell()
    except OSError:
        return None
