"""Decoding and encoding of audio files in blocks, through libsndfile."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
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

_UNWRITABLE = frozenset(".m4a .mp4 .m4v .mov .mkv .webm .aac .wma .avi".split())  # noqa: SIM905

_FLOATING = frozenset({"FLOAT", "DOUBLE"})
_TWO_FILES = frozenset({"SD2"})  # a second file holds the header
_EXACT_LENGTH = frozenset({"FLAC"})


_UNKNOWN_FRAMES = 2**62
_CUT_WAV = re.compile(r"data : (\d+) \(should be (\d+)\)")
_OPEN_ENDED = 0x7FFF0000  # sizes that recorders write before they know better


def is_audio(path: Path) -> bool:
    """A file that is taken for audio by its name."""
    # "._name" are the companions that macOS leaves on foreign disks.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def can_be_written(path: Path) -> bool:
    """False for the suffixes of containers that libsndfile does not know."""
    return path.suffix.lower() not in _UNWRITABLE


@dataclass(frozen=True)
class AudioInfo:
    """What a file is.

    Attributes:
        sample_rate: Hz.
        channels: count.
        frames: length in samples; an estimate for some compressed formats, 0 where unknown.
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
        same_family = ("WAV", "WAVEX", "RF64") if wanted == "WAV" else (wanted,)
        opus = suffix.lower() == ".opus"
        if wanted is None or (self.format in same_family and not (opus and self.subtype != "OPUS")):
            return self
        subtype = "OPUS" if opus else self.subtype
        if not soundfile.check_format(wanted, subtype):
            finest = "PCM_24" if self.is_float or self.subtype == "PCM_32" else "PCM_16"
            subtype = finest if soundfile.check_format(wanted, finest) else soundfile.default_subtype(wanted)
        return replace(self, format=wanted, subtype=subtype, endian="FILE")


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ") or type(error).__name__


def _native(path: Path) -> str | bytes:
    # As bytes, since a name on POSIX need not be text, which soundfile takes a str to be.
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """Read from front to back only: soundfile seeks after each block, which not all files bear."""

    def seekable(self) -> bool:
        return False


class AudioReader:
    """An open audio file, read in blocks.

    Args:
        path: the file.

    Attributes:
        info: what it is.
        frames_read: samples read so far.
        note: something that a user should know about the file, or "".

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
            self._file = _Sequential(_native(self.path))
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            raise UnreadableAudio(_describe(error), self.path) from None
        f = self._file
        frames = f.frames if 0 < f.frames < _UNKNOWN_FRAMES else 0
        self.info = AudioInfo(f.samplerate, f.channels, frames, f.format, f.subtype, f.endian)
        self.frames_read = 0
        self.note = _cut_short(f.extra_info)

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


def _cut_short(log: str) -> str:
    """What libsndfile noticed of a WAV that is shorter than its header says."""
    match = _CUT_WAV.search(log)
    if match and int(match[2]) < int(match[1]) < _OPEN_ENDED:
        return f"the recording is cut off: {int(match[2]) / int(match[1]):.0%} of the data are there"
    return ""


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
            self._temporary.touch()  # libsndfile does not say why it cannot
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
