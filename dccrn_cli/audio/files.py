"""Decodes audio files in blocks through libsndfile."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from dccrn_cli.audio.extent import cut_off, damaged, unread
from dccrn_cli.audio.flac_frames import next_flac
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.frame_chain import INCOMPLETE_FRAME
from dccrn_cli.audio.metadata import Metadata, read_metadata
from dccrn_cli.audio.native_stderr import decoder_messages
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.audio.splice import Splice
from dccrn_cli.audio.survey import Part, Survey, joined, of_flac, survey
from dccrn_cli.errors import UnreadableAudio

_EXACT_LENGTH = frozenset({"FLAC"})

# Misleading messages of decoders for nonsensical headers.
_VAGUE = ("Unspecified internal", "Internal error", "Input/output", "End of file", "File does not exist")

_CUT_FLAC = "lost sync"
"""Part of libsndfile's message for FLAC that ends too early."""

_UNKNOWN_FRAMES, _OPEN_FLAC_FRAMES = 2**62, 2**36 - 1
_SHORT = re.compile(r"(?:data|SSND|Data Size|BODY)\s*: (\d+) \(should be (\d+)\)")

_READ_AHEAD = 1 << 16
"""Bytes that a decoder may have read ahead of its output."""

_BLOCK_FRAMES = 1 << 16
"""Most samples left over in a last block."""

_UNCERTAIN = 2304
"""Samples by which the declared length of MPEG audio, in an MP3 or WAV, may be wrong."""


def reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return text.strip().rstrip(".").removeprefix("Error : ") or type(error).__name__


def _native(path: Path) -> str | bytes:
    # As bytes, since soundfile expects a str to be valid text, which POSIX names may not be.
    return os.fsencode(path) if os.name == "posix" else os.fspath(path)


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """Reads strictly sequentially: soundfile seeks after each block, which some files do not tolerate."""

    def seekable(self) -> bool:
        return False


class AudioReader:
    """An open audio file, read in blocks up to the end of the data present.

    Args:
        path: the file.
        content: its bytes, if they are in memory; nothing is read from `path` then.

    Attributes:
        info: format of the file; its frames are those that will be read, as far as known beforehand.
        frames_read: samples read so far.
        padding: samples of padding in the last block, which are dropped.
        tags: title, artist and so on, if the container has them.

    Raises:
        UnreadableAudio: the file is missing, damaged or not audio.
    """

    def __init__(self, path: str | os.PathLike[str], content: bytes | None = None) -> None:
        self.path = Path(path)
        self._content = content
        self.frames_read = 0
        self.padding = 0
        self._errors: list[int] = []
        try:
            with contextlib.ExitStack() as stack:
                self._source = stack.enter_context(self._open_source())
                if (size := self._size()) == 0:
                    raise UnreadableAudio("the file is empty (0 bytes)", self.path)
                found = survey(self._source, size)
                self._parts, self._notes, self._is_mpeg = list(found.parts), list(found.notes), found.is_mpeg
                self._file, self._splice = self._open(self._parts[0])
                stack.callback(self._file.close)
                self._describe(found)
                self._open_files = stack.pop_all()
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            raise UnreadableAudio(describe(error), self.path) from None

    def _open_source(self) -> BinaryIO:
        if self._content is not None:
            return io.BytesIO(self._content)
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise UnreadableAudio("is not a file", self.path)
        # Opened here, since libsndfile does not report why it cannot.
        return open(self.path, "rb", buffering=0)

    def _size(self) -> int:
        return self._source.seek(0, os.SEEK_END)

    def _open(self, part: Part) -> tuple[SequentialFile, Splice | None]:
        with self._quietly():
            if part.pieces is None:
                whole = _native(self.path) if self._content is None else io.BytesIO(self._content)
                return SequentialFile(whole), None
            splice = Splice(self._source, part.pieces)
            return SequentialFile(splice), splice

    def _describe(self, found: Survey) -> None:
        f = self._file
        self.tags: dict[str, str] = f.copy_metadata()
        if f.format == "XI" and self.tags.get("title") == "Default Name":  # libsndfile's default
            del self.tags["title"]
        if not found.notes:
            self._notes += filter(None, [_cut_short(f.extra_info)])
        frames = self._length(f, self._parts[0])
        for part in self._parts[1:]:
            other = self._open(part)[0]
            frames += round(self._length(other, part) * f.samplerate / other.samplerate)
            self._compare(other, f)
            other.close()
        self.info = AudioInfo(
            f.samplerate, f.channels, frames, found.format or f.format, f.subtype, f.endian,
            found.channel_mask, found.valid_bits if f.subtype in ("PCM_16", "PCM_24", "PCM_32") else 0,
        )  # fmt: skip

    def metadata(self) -> Metadata:
        """Chunks, tags, cover art and chapters."""
        try:
            found = read_metadata(self._source, self._size())
        except (OSError, ValueError, struct.error):
            found = Metadata(notes=["damaged tags are omitted"])
        return found.with_strings(self.tags)

    def _compare(self, other: SequentialFile, first: SequentialFile | AudioInfo) -> None:
        rate = first.sample_rate if isinstance(first, AudioInfo) else first.samplerate
        if other.samplerate != rate:
            self._notes.append(f"a part at {other.samplerate} Hz is resampled to {rate} Hz")
        if other.channels != first.channels:
            self._notes.append(f"a part with {other.channels} channels is mixed to {first.channels}")

    def _length(self, file: SequentialFile, part: Part) -> int:
        """Number of samples in a part, as far as known."""
        frames = file.frames if 0 < file.frames < _UNKNOWN_FRAMES and file.frames != _OPEN_FLAC_FRAMES else 0
        if part.frames is not None and 0 < frames - part.frames < _BLOCK_FRAMES:
            self.padding = frames - part.frames
            return part.frames
        return frames + part.lead if frames else 0

    @property
    def note(self) -> str:
        """Notes on the file, or ""; complete only at its end."""
        errors = sum(self._errors)
        damage = [damaged(errors)] if errors else []
        return "; ".join(dict.fromkeys([*self._notes, *damage]))

    def blocks(self, frames: int) -> Iterator[np.ndarray]:
        """Blocks of at most `frames` samples, float32 `(frames, channels)`, full scale 1.0.

        Raises:
            UnreadableAudio: the data cannot be decoded, or end before the declared length.
        """
        for part in self._parts:  # grows during iteration
            if part is not self._parts[0]:
                self._file.close()
                try:
                    self._file, self._splice = self._open(part)
                except soundfile.SoundFileError as error:
                    raise UnreadableAudio(f"damaged at {self._time()} ({reason(error)})", self.path) from None
                self._open_files.callback(self._file.close)
                if self.info.format == "FLAC":
                    self._compare(self._file, self.info)
            for block in self._conformed(part, frames):
                self.frames_read += len(block)
                yield block
            if self.info.format == "FLAC":
                self._look_for_more()
        if self.frames_read < self.info.frames:
            if self.info.format in _EXACT_LENGTH and INCOMPLETE_FRAME not in self._notes:
                raise UnreadableAudio(f"cut off: it ends at {self._time()} of {self.info.seconds:.2f} s", self.path)
            uncertain = _UNCERTAIN if self.info.subtype.startswith("MPEG_LAYER") else 0
            if not self._notes and self.info.frames - self.frames_read > uncertain:
                self._notes.append(cut_off(self.frames_read, self.info.frames))

    def _conformed(self, part: Part, frames: int) -> Iterator[np.ndarray]:
        """Samples of a part, converted to the sample rate and channels of the first one."""
        f, left = self._file, self._length(self._file, part)
        if part.lead:
            yield np.zeros((part.lead, self.info.channels), np.float32)
            left -= part.lead
        resampler = Resampler(f.samplerate, self.info.sample_rate, self.info.channels)
        # After its last sample the FLAC decoder would report a following file as damage.
        limited = part.frames is not None or (left > 0 and self.info.format in _EXACT_LENGTH)
        while not limited or left > 0:
            ahead = left - part.last_frame if left > part.last_frame else left
            count = min(frames, ahead) if limited else frames
            try:
                with self._quietly():
                    block = f.read(count, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError, OSError) as error:
                if 0 < left == part.last_frame and _CUT_FLAC in reason(error):
                    self._notes.append(INCOMPLETE_FRAME)
                    break
                raise UnreadableAudio(f"damaged at {self._time()} ({reason(error)})", self.path) from None
            if len(block) == 0:
                break
            left -= len(block)
            yield from _pieces(resampler.process(_mixed(block, self.info.channels)), frames)
        yield from _pieces(resampler.flush(), frames)

    def _look_for_more(self) -> None:
        """Add a FLAC file that follows the one just read."""
        assert self._splice is not None
        size, start = self._size(), self._parts[-1].start
        end = start + self._splice.tell()
        following = next_flac(self._source, max(end - _READ_AHEAD, start + 4), size)
        if following is not None:
            found = of_flac(self._source, following, size)
            self._parts += found.parts
            self._notes[:] = [
                *(note for note in self._notes if note != joined(len(self._parts) - 1)),
                joined(len(self._parts)),
                *found.notes,
            ]
        elif size - end > _READ_AHEAD:
            self._notes.append(unread(size - end))

    def _quietly(self) -> contextlib.AbstractContextManager[None]:
        return decoder_messages(self._errors) if self._is_mpeg else contextlib.nullcontext()

    def _time(self) -> str:
        return f"{self.frames_read / self.info.sample_rate:.2f} s"

    def close(self) -> None:
        """Close the file."""
        self._open_files.close()

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mixed(block: np.ndarray, channels: int) -> np.ndarray:
    """Convert to a number of channels by averaging and repeating."""
    if block.shape[1] == channels:
        return block
    return np.repeat(block.mean(axis=1, keepdims=True), channels, axis=1)


def _pieces(block: np.ndarray, frames: int) -> Iterator[np.ndarray]:
    for start in range(0, len(block), frames):
        yield block[start : start + frames]


def _cut_short(log: str) -> str:
    """Note from libsndfile's log for a file shorter than declared, or ""."""
    match = _SHORT.search(log)
    return cut_off(int(match[2]), int(match[1])) if match and int(match[2]) < int(match[1]) else ""


def describe(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, IsADirectoryError):
        return "is a folder"
    why = reason(error)
    return f"not readable as audio ({'damaged' if why.startswith(_VAGUE) else why})"
