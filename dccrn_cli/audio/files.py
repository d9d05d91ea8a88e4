"""Decoding and encoding of audio files in blocks, through libsndfile."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from dccrn_cli.audio.canonical_bytes import settle
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.errors import AudioError, UnreadableAudio, UnsupportedFormat
from dccrn_cli.utils.atomic import AtomicFile, BusyError, is_nearly_full

_EXACT_LENGTH = frozenset({"FLAC"})

# What decoders say of headers that make no sense, as if it were something else.
_VAGUE = ("Unspecified internal", "Internal error", "Input/output", "End of file", "File does not exist")

_UNKNOWN_FRAMES = 2**62
_CUT_WAV = re.compile(r"data : (\d+) \(should be (\d+)\)")
_OPEN_ENDED = 0x7FFF0000  # sizes that recorders write before they know better

_TAG_BYTES, _TAGS_BYTES = 8000, 32_000
"""The longest tag that is taken over, and all of them together."""

_RATE_ROUNDING = 0.02  # HTK and SDS hold the time between samples as a whole number

_NEARLY_FULL_BYTES = 1 << 20
_CHECK_FRAMES = 1 << 16


def reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ") or type(error).__name__


def _native(path: Path) -> str | bytes:
    # As bytes, since a name on POSIX need not be text, which soundfile takes a str to be.
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """Read from front to back only: soundfile seeks after each block, which not all files bear."""

    def seekable(self) -> bool:
        return False


class _Unsynced(soundfile.SoundFile):  # type: ignore[misc]
    """Written without waiting for the disk: soundfile does so on closing, before the header is complete."""

    def flush(self) -> None:
        pass


class AudioReader:
    """An open audio file, read in blocks.

    Args:
        path: the file.

    Attributes:
        info: what it is.
        frames_read: samples read so far.
        note: something that a user should know about the file, or "".
        tags: title, artist and so on, where the container has them.

    Raises:
        UnreadableAudio: not there, not audio, damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            status = self.path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableAudio("is not a file", self.path)
            if status.st_size == 0:
                raise UnreadableAudio("the file is empty (0 bytes)", self.path)
            open(self.path, "rb").close()  # libsndfile does not say why it cannot
            self._file = SequentialFile(_native(self.path))
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            raise UnreadableAudio(describe(error), self.path) from None
        f = self._file
        frames = f.frames if 0 < f.frames < _UNKNOWN_FRAMES else 0
        self.info = AudioInfo(f.samplerate, f.channels, frames, f.format, f.subtype, f.endian)
        self.frames_read = 0
        self.note = _cut_short(f.extra_info)
        self.tags: dict[str, str] = f.copy_metadata()

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks of at most `frames` samples, float32 `(frames, channels)`, full scale 1.0.

        Raises:
            UnreadableAudio: the data cannot be decoded, or end before the header says.
        """
        while True:
            try:
                block = self._file.read(frames, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise UnreadableAudio(f"damaged at {self._time()} ({reason(error)})", self.path) from None
            if len(block) == 0:
                break
            self.frames_read += len(block)
            yield block
        if self.info.format in _EXACT_LENGTH and self.frames_read < self.info.frames:
            raise UnreadableAudio(f"cut off: it ends at {self._time()} of {self.info.seconds:.2f} s", self.path)

    def _time(self) -> str:
        return f"{self.frames_read / self.info.sample_rate:.2f} s"

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_short(log: str) -> str:
    """What libsndfile noticed of a WAV that is shorter than its header says."""
    match = _CUT_WAV.search(log)
    if match and int(match[2]) < int(match[1]) < _OPEN_ENDED:
        return f"the recording is cut off: {int(match[2]) / int(match[1]):.0%} of the data are there"
    return ""


def describe(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    why = reason(error)
    return f"not readable as audio ({'damaged' if why.startswith(_VAGUE) else why})"


def _bearable(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Tags that do not break the file: libsndfile writes some headers wrongly when these are long."""
    left = _TAGS_BYTES
    for name, text in tags.items():
        size = len(text.encode(errors="replace"))
        if 0 < size <= min(left, _TAG_BYTES):
            left -= size
            yield name, text


class AudioWriter:
    """Writes a file in blocks beside its target and puts it in place when all is well.

    Used as a context manager: an exception inside leaves neither target nor temporary file.

    Args:
        path: the target.
        info: rate, channels and format to write.
        tags: title, artist and so on; those that the container does not take are left out.
        mtime_ns: time of modification for the finished file; None for now.

    Raises:
        UnsupportedFormat: libsndfile cannot write this combination.
        BusyError: another run is writing this file.
        AudioError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: AudioInfo,
        tags: Mapping[str, str] | None = None,
        mtime_ns: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.info = info
        self.clipped = 0
        self.frames_written = 0
        self._mtime_ns = mtime_ns
        if not info.is_writable:
            raise UnsupportedFormat(info.obstacle(), path)
        try:
            self._atomic = AtomicFile(self.path)
        except BusyError:
            raise
        except OSError as error:
            raise AudioError(f"cannot be written ({reason(error)})", self.path) from None
        try:
            assert self._atomic.descriptor is not None
            self._file = _Unsynced(
                self._atomic.descriptor,
                "w",
                samplerate=info.sample_rate,
                channels=info.channels,
                format=info.format,
                subtype=info.subtype,
                endian=info.endian,
                closefd=False,
            )
            for name, text in _bearable(tags or {}):
                with contextlib.suppress(soundfile.SoundFileError, UnicodeError):
                    setattr(self._file, name, text)
        except (soundfile.SoundFileError, OSError) as error:
            self._atomic.discard()
            raise AudioError(f"cannot be written ({reason(error)})", self.path) from None

    def write(self, block: np.ndarray) -> None:
        """Append float `(frames, channels)`; beyond full scale, integer formats clip and are counted.

        Raises:
            AudioError: the block is not finite, or cannot be written.
        """
        if not np.isfinite(block).all():
            raise AudioError("the result is not finite", self.path)
        if not self.info.is_float:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            block = np.clip(block, -1.0, 1.0)
        try:
            self._file.write(block)
        except (soundfile.SoundFileError, OSError, AssertionError) as error:
            raise AudioError(self._why_not(error), self.path) from None
        self.frames_written += len(block)

    def commit(self) -> None:
        """Put the file in place.

        Raises:
            AudioError: it cannot be written to its end.
        """
        try:
            self._file.close()
            assert self._atomic.descriptor is not None
            with open(self._atomic.descriptor, "r+b", closefd=False) as file:
                settle(file, self.info.format)
            self._check_header()
            if is_nearly_full(self.path, _NEARLY_FULL_BYTES) and not self._is_complete():
                raise AudioError("cannot be written to its end: the disk is full", self.path)
            self._atomic.commit(self._mtime_ns)
        except (soundfile.SoundFileError, OSError) as problem:
            raise AudioError(self._why_not(problem), self.path) from None

    def _why_not(self, error: Exception) -> str:
        # libsndfile does not say.
        full = is_nearly_full(self.path, _NEARLY_FULL_BYTES)
        return f"cannot be written: {'the disk is full' if full else reason(error)}"

    def _check_header(self) -> None:
        """What libsndfile wrote is what was asked for: it does not say where a container cannot hold that."""
        if self.frames_written == 0 or self.info.format == "RAW":
            return
        kind = f"{self.info.format} with {self.info.subtype} samples"
        try:
            with AudioReader(self._atomic.temporary) as reader:
                got = reader.info
        except UnreadableAudio as error:
            raise AudioError(f"{kind} cannot be written here: {error.message}", self.path) from None
        if abs(got.sample_rate / self.info.sample_rate - 1) > _RATE_ROUNDING:
            raise UnsupportedFormat(f"{kind} does not hold {self.info.sample_rate} Hz", self.path)
        if 0 < got.frames < self.frames_written:
            raise AudioError(f"{kind} loses the last {self.frames_written - got.frames:,} samples", self.path)

    def _is_complete(self) -> bool:
        """All samples can be read back. libsndfile says nothing of failures while it closes a file."""
        try:
            with AudioReader(self._atomic.temporary) as reader:
                frames = sum(len(block) for block in reader.blocks(_CHECK_FRAMES))
        except UnreadableAudio:
            return self.frames_written == 0
        return frames >= self.frames_written

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            with contextlib.suppress(soundfile.SoundFileError):
                self._file.close()
            self._atomic.discard()
