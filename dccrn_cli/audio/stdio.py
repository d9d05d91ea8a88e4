"""Reads and writes WAV and headerless samples through pipes, for which libsndfile is unsuitable since it seeks.

On Windows, standard input and output must be in binary mode.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from dccrn_cli.audio.chunks import NOT_CARRIED, is_chunk
from dccrn_cli.audio.extent import cut_off, find_extent
from dccrn_cli.audio.formats import SAMPLE_BYTES, AudioInfo
from dccrn_cli.audio.metadata import Metadata, family, left_out
from dccrn_cli.audio.metadata.riff import chunks_before_samples, pack
from dccrn_cli.audio.raw import RawFormat, decode, encode
from dccrn_cli.audio.stream_tail import StreamTail
from dccrn_cli.audio.wav import as_wav, read_wav_header, wav_header
from dccrn_cli.errors import AudioError, OptionError, UnreadableAudio

STDIN, STDOUT = "standard input", "standard output"

_PIECE = 1 << 16
_CHUNK_HEAD = 8
_PAUSE_S, _GRACE_S = 0.2, 1.0


class StreamReader:
    """Reads audio from a pipe as it arrives; used like `AudioReader`.

    Args:
        stream: a binary file from which nothing has been read; it is left open.
        raw: format of headerless samples; None for a WAV header.
        stop: polled while nothing arrives; True ends the stream once everything sent has been read.

    Attributes:
        info: format of the stream; frames are 0 if the length is unknown.
        frames_read: samples read so far.
        note: note on the stream, or ""; complete only at its end.
        tags: empty.

    Raises:
        UnreadableAudio: the stream is empty, or not a WAV of PCM, float, A-law or µ-law samples.
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
        self._is_undeclared = False
        self._tail: StreamTail | None = None
        self._rest = self._some(_PIECE) if raw else b""
        if raw and not self._rest:
            raise UnreadableAudio("is empty (0 bytes)", STDIN)
        self._size: int | None = None  # bytes of samples, if known
        if raw:
            self.info = raw.info
            return
        try:
            self.info, self._size, is_zero, self._chunks = read_wav_header(self._upto)
        except UnreadableAudio as error:
            raise UnreadableAudio(error.message, STDIN) from None
        if self._size is None and (held := self._held()) is not None:
            self._size, self._is_undeclared = held, is_zero and held > 0
        elif is_zero:
            self._rest = self._upto(_CHUNK_HEAD)
            if not self._rest or self._is_chunk(self._rest):
                self._rest, self._size = b"", 0
            else:
                self._is_undeclared = True
        if self._size is None:
            order = ">" if self.info.endian == "BIG" else "<"
            self._tail = StreamTail(order, self.info.channels * SAMPLE_BYTES[self.info.subtype])
            self._rest = self._tail.process(self._rest)

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
            # Do not wait for more while there is something to return.
            more = self._samples(wanted) if wanted > 0 and len(self._rest) < frame_bytes else b""
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
        elif self._is_undeclared:
            held = self.frames_read * frame_bytes
            lie = f"the header declares 0 bytes of samples; all {held:,} that follow are read"
            self.note = "; ".join(filter(None, [lie, self._behind()]))
        elif (self._size or self._tail) and (behind := self._behind()):
            self.note = behind
        elif self._rest:
            self.note = "an incomplete sample at the end is dropped"

    def metadata(self) -> Metadata:
        """The chunks before the samples."""
        return chunks_before_samples(self._chunks, is_big=self.info.endian == "BIG")

    def _held(self) -> int | None:
        """Bytes of samples from here on if the stream is a file, as its header does not give them; otherwise None."""
        if self._descriptor is None or not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return None
        start = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        try:
            with open(self._descriptor, "rb", closefd=False) as file:
                extent = find_extent(file, os.fstat(self._descriptor).st_size)
        finally:
            os.lseek(self._descriptor, start, os.SEEK_SET)
        return extent.held if extent is not None and extent.start == start else None

    def _is_chunk(self, head: bytes) -> bool:
        return is_chunk(head, ">" if self.info.endian == "BIG" else "<", None)

    def _behind(self) -> str:
        """Note on what has arrived after the samples, without waiting for more; "" if nothing is lost."""
        if self._tail is not None:
            return _not_kept(self._tail.name)
        if self._descriptor is not None and os.name == "posix":
            if not select.select([self._descriptor], [], [], 0)[0]:
                return ""
            tail = self._some(_CHUNK_HEAD + 1)
        else:
            tail = self._upto(_CHUNK_HEAD + 1)
        if len(tail) <= _CHUNK_HEAD:
            return ""
        head = next(filter(self._is_chunk, (tail, tail[1:])), b"")  # with or without padding before it
        if not head:
            return "data after the declared end of the audio is not read"
        return _not_kept(head[:4])

    def close(self) -> None:
        """Do nothing; for compatibility with other readers."""

    def __enter__(self) -> StreamReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _samples(self, count: int) -> bytes:
        """At most `count` further bytes of samples and those held back before; empty only at the end."""
        if self._tail is None:
            return self._some(count)
        while data := self._some(count):
            if samples := self._tail.process(data):
                return samples
        return self._tail.flush()

    def _some(self, count: int) -> bytes:
        """At most `count` of the bytes available; empty only at the end."""
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
        """Whether the stream was asked to end a while ago but the sender continues."""
        if self._stop() and self._deadline == math.inf:
            self._deadline = time.monotonic() + _GRACE_S
        return time.monotonic() > self._deadline

    def _upto(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count and (more := self._some(count - len(data))):
            data += more
        return bytes(data)


def _not_kept(name: bytes) -> str:
    """Note on the first chunk after the samples, or "" if there is none or it describes the samples."""
    if not name or name in NOT_CARRIED:
        return ""
    return f"chunk {name.decode('latin-1').strip()} after the samples is not kept, nor any that follows it"


class StreamWriter:
    """Writes audio to a pipe, flushing each block; used like `AudioWriter`.

    A WAV declares its length if `info` has one; otherwise its sizes are 0xFFFFFFFF, which readers interpret
    as "until the end". If the stream turns out to be a file, the sizes are corrected at the end.

    Args:
        stream: a binary file; it is left open.
        info: sample rate, channels and sample format; formats that WAV lacks are replaced by 16-bit PCM.
        raw: format of headerless samples; None for WAV.
        metadata: metadata of the source; a WAV gets the chunks of a WAV.

    Attributes:
        info: format written.
        clipped: number of samples clipped at full scale.
        note: note on the output, or ""; complete only at its end.

    Raises:
        OptionError: sample rate or channels of `raw` differ from those of `info`.
        AudioError: the stream cannot be written; BrokenPipeError is passed on.
    """

    def __init__(
        self, stream: BinaryIO, info: AudioInfo, raw: RawFormat | None = None, metadata: Metadata | None = None
    ) -> None:
        if raw and (raw.sample_rate, raw.channels) != (info.sample_rate, info.channels):
            raise OptionError(f"the audio has {info.sample_rate} Hz and {info.channels} channels, unlike {raw}")
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
        """Write float `(frames, channels)`; in integer formats, samples beyond full scale are clipped and counted.

        Raises:
            AudioError: the block is not finite or cannot be written; BrokenPipeError is passed on.
        """
        if not np.isfinite(block).all():
            raise AudioError("the result contains NaN or infinite samples", STDOUT)
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
            AudioError: the stream cannot be written; BrokenPipeError is passed on.
        """
        if not self._has_header:
            return
        if self._written % 2 and (self._start is not None or self._written == self._declared):
            self._send(b"\0")
        if self._start is not None and self._written != self._declared:
            self._send(wav_header(self.info, self._written, self._extra), at=self._start)
        elif self._declared and self._written != self._declared:
            mismatch = f"the header that was sent declares {self._declared:,} bytes; {self._written:,} were written"
            self.note = "; ".join(filter(None, [self.note, mismatch]))

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
    """Position of the stream, if data written now can be replaced later."""
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
