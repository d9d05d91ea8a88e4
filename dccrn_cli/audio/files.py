"""Decoding and encoding of audio files in blocks, through libsndfile."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile

from dccrn_cli.errors import AudioError, UnreadableAudio, UnsupportedFormat

SUFFIXES = frozenset(
    """
    .aif .aifc .aiff .au .avr .caf .flac .htk .ircam .mat .mp2 .mp3 .mpc2k .nist .oga .ogg .opus .paf .pvf
    .rf64 .sd2 .sds .sf .snd .sph .svx .voc .w64 .wav .wave .wve .xi
    """.split()  # noqa: SIM905
)
"""Suffixes (lower case) by which files are found in folders."""

_FORMAT_OF_SUFFIX = {
    ".wav": "WAV", ".wave": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3",
    ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".au": "AU", ".snd": "AU", ".caf": "CAF", ".w64": "W64",
    ".rf64": "RF64",
}  # fmt: skip

_FLOATING = frozenset({"FLOAT", "DOUBLE"})
_TWO_FILES = frozenset({"SD2"})  # a second file holds the header
_EXACT_LENGTH = frozenset({"FLAC"})


@dataclass(frozen=True)
class AudioInfo:
    """What a file is.

    Attributes:
        sample_rate: Hz.
        channels: count.
        frames: length in samples; an estimate for some compressed formats.
        format, subtype, endian: container, sample format and byte order, in libsndfile's names.
    """

    sample_rate: int
    channels: int
    frames: int
    format: str
    subtype: str
    endian: str

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate

    @property
    def is_float(self) -> bool:
        """Samples beyond full scale survive in this sample format."""
        return self.subtype in _FLOATING

    def for_suffix(self, suffix: str) -> AudioInfo:
        """The same sound in the container that a file name asks for, the sample format kept if it can be."""
        wanted = _FORMAT_OF_SUFFIX.get(suffix.lower())
        same_family = {"WAV": ("WAV", "WAVEX", "RF64"), "OGG": ("OGG",)}.get(wanted or "", (wanted,))
        if wanted is None or self.format in same_family:
            return self
        subtype = self.subtype
        if suffix.lower() == ".opus":
            subtype = "OPUS"
        elif not soundfile.check_format(wanted, subtype):
            subtype = soundfile.default_subtype(wanted)
        return replace(self, format=wanted, subtype=subtype, endian="FILE")


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ") or type(error).__name__


def _native(path: Path) -> str | bytes:
    # As bytes, since a name on POSIX need not be text, which soundfile takes a str to be.
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


class AudioReader:
    """An open audio file, read in blocks.

    Args:
        path: the file.

    Raises:
        UnreadableAudio: not there, not audio, damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            if self.path.stat().st_size == 0:
                raise UnreadableAudio("the file is empty (0 bytes)", self.path)
            self._file = soundfile.SoundFile(_native(self.path))
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            raise UnreadableAudio(_describe(error), self.path) from None
        f = self._file
        self.info = AudioInfo(f.samplerate, f.channels, max(f.frames, 0), f.format, f.subtype, f.endian)
        self.frames_read = 0

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks of at most `frames` samples, float32 `(frames, channels)`, full scale 1.0.

        Raises:
            UnreadableAudio: the data cannot be decoded, or end before the header says.
        """
        while True:
            try:
                block = self._file.read(frames, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise UnreadableAudio(f"damaged at {self._time()} ({_reason(error)})", self.path) from None
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


def _describe(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    return f"not readable as audio ({_reason(error)})"


class AudioWriter:
    """Writes a file in blocks beside its target and puts it in place when all is well.

    Used as a context manager: an exception inside leaves neither target nor temporary file. The
    temporary name depends on the target alone, so that a run after a kill takes up its leavings.

    Args:
        path: the target.
        info: rate, channels and format to write.

    Raises:
        UnsupportedFormat: libsndfile cannot write this combination.
        AudioError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], info: AudioInfo) -> None:
        self.path = Path(path)
        self.info = info
        self.clipped = 0
        # Not the name itself: with something added to it, it could be too long.
        digest = hashlib.blake2b(os.fsencode(self.path.name), digest_size=8).hexdigest()
        self._temporary = self.path.with_name(f".dccrn-{digest}.part")
        if info.format in _TWO_FILES or not soundfile.check_format(info.format, info.subtype, info.endian):
            raise UnsupportedFormat(f"{info.format} with {info.subtype} samples can be read but not written", path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = soundfile.SoundFile(
                _native(self._temporary),
                "w",
                samplerate=info.sample_rate,
                channels=info.channels,
                format=info.format,
                subtype=info.subtype,
                endian=info.endian,
            )
        except (soundfile.SoundFileError, OSError) as error:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            raise AudioError(f"cannot be written ({_reason(error)})", self.path) from None

    def write(self, block: np.ndarray) -> None:
        """Append float `(frames, channels)`; beyond full scale, integer formats clip and are counted."""
        if not self.info.is_float:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            block = np.clip(block, -1.0, 1.0)
        try:
            self._file.write(block)
        except (soundfile.SoundFileError, OSError, AssertionError) as error:
            raise AudioError(f"cannot be written ({_reason(error)}); is the disk full?", self.path) from None

    def __enter__(self) -> AudioWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self.path)
        except (soundfile.SoundFileError, OSError) as problem:
            if kind is None:
                raise AudioError(f"cannot be written ({_reason(problem)})", self.path) from None
        finally:
            self._temporary.unlink(missing_ok=True)
