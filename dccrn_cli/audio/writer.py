"""Encodes audio files in blocks through libsndfile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import soundfile

from dccrn_cli.audio.canonical_bytes import settle
from dccrn_cli.audio.files import AudioReader, reason
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.metadata import Metadata, takes_strings, write_metadata
from dccrn_cli.audio.metadata.riff import write_layout
from dccrn_cli.errors import AudioError, UnreadableAudio, UnsupportedFormat
from dccrn_cli.utils.atomic import AtomicFile, BusyError, is_nearly_full

_TAG_BYTES, _TAGS_BYTES = 8000, 32_000
"""Size limits of a single tag and of all tags together."""

_RATE_ROUNDING = 0.02  # HTK and SDS store the sample period as a whole number

_IN_BLOCKS = frozenset({"IMA_ADPCM", "MS_ADPCM", "GSM610"})

_NEARLY_FULL_BYTES = 1 << 20
_CHECK_FRAMES = 1 << 16


class _Unsynced(soundfile.SoundFile):  # type: ignore[misc]
    """Written without syncing to disk, which soundfile does on closing, before the header is complete."""

    def flush(self) -> None:
        pass


def _bearable(tags: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Tags short enough for libsndfile, which writes some headers incorrectly with long ones."""
    left = _TAGS_BYTES
    for name, text in tags.items():
        size = len(text.encode(errors="replace"))
        if 0 < size <= min(left, _TAG_BYTES):
            left -= size
            yield name, text


def _of_valid_bits(block: np.ndarray, bits: int) -> np.ndarray:
    """Convert to int32 using only the upper `bits`."""
    full = 1 << (bits - 1)
    whole = np.clip(np.rint(block.astype(np.float64) * full), -full, full - 1)
    return np.asarray(whole, np.int32) << (32 - bits)


class AudioWriter:
    """Writes a file in blocks to a temporary file, which is moved to its target when complete.

    Used as a context manager: an exception inside leaves neither target nor temporary file.

    Args:
        path: the target.
        info: sample rate, channels and format to write.
        tags: title, artist and so on, as far as the container supports them; or all metadata of the source.
        mtime_ns: modification time of the finished file; None for now.
        keep: False for a file that is only needed, as `temporary`, until this is closed.
        other_rate: whether the source has another sample rate.

    Attributes:
        info: format written.
        clipped: number of samples clipped at full scale.
        frames_written: samples written so far.
        note: note on the result, or ""; complete only at its end.

    Raises:
        UnsupportedFormat: libsndfile cannot write this combination.
        BusyError: another run is writing this file.
        AudioError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        info: AudioInfo,
        tags: Mapping[str, str] | Metadata | None = None,
        mtime_ns: int | None = None,
        *,
        keep: bool = True,
        other_rate: bool = False,
    ) -> None:
        self.path = Path(path)
        self.info = info
        self.clipped = 0
        self.frames_written = 0
        self.note = ""
        self._is_finished = False
        self._mtime_ns = mtime_ns
        self._keep = keep
        self._other_rate = other_rate
        strings = {} if tags is None else tags if not isinstance(tags, Metadata) else tags.strings
        self._metadata = tags if isinstance(tags, Metadata) else None
        if self._metadata is not None and not takes_strings(self._metadata, info.format, info.endian):
            strings = {}
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
            for name, text in _bearable(strings):
                with contextlib.suppress(soundfile.SoundFileError, UnicodeError):
                    setattr(self._file, name, text)
        except (soundfile.SoundFileError, OSError) as error:
            self._atomic.discard()
            raise AudioError(f"cannot be written ({reason(error)})", self.path) from None

    def write(self, block: np.ndarray) -> None:
        """Append float `(frames, channels)`; in integer formats, samples beyond full scale are clipped and counted.

        Raises:
            AudioError: the block is not finite or cannot be written.
        """
        if not np.isfinite(block).all():
            raise AudioError("the result contains NaN or infinite samples", self.path)
        if not self.info.is_float:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            block = np.clip(block, -1.0, 1.0)
        if self.info.exceeds(self.frames_written + len(block)):
            raise AudioError(self.info.too_long(), self.path)
        try:
            self._file.write(_of_valid_bits(block, self.info.valid_bits) if self.info.valid_bits else block)
        except (soundfile.SoundFileError, OSError, AssertionError) as error:
            raise AudioError(self._why_not(error), self.path) from None
        self.frames_written += len(block)

    @property
    def temporary(self) -> Path:
        """Path of the file until it is committed."""
        return self._atomic.temporary

    def finish(self) -> None:
        """Complete the file, which stays locked under its temporary name. Nothing happens if it is complete.

        Raises:
            AudioError: the file cannot be completed.
        """
        if self._is_finished:
            return
        try:
            self._file.close()
            assert self._atomic.descriptor is not None
            with open(self._atomic.descriptor, "r+b", closefd=False) as file:
                settle(file, self.info.format, self.frames_written)
                notes = self._write_metadata(file)
            self._check_header()
            self.note = "; ".join(filter(None, [self.note, *notes]))
            if is_nearly_full(self.path, _NEARLY_FULL_BYTES) and not self._is_complete():
                raise AudioError("cannot be completed: the disk is full", self.path)
        except (soundfile.SoundFileError, OSError) as problem:
            raise AudioError(self._why_not(problem), self.path) from None
        self._is_finished = True

    def commit(self) -> None:
        """Move the file to its target.

        Raises:
            AudioError: the file cannot be completed.
        """
        self.finish()
        try:
            self._atomic.commit(self._mtime_ns)
        except (soundfile.SoundFileError, OSError) as problem:
            raise AudioError(self._why_not(problem), self.path) from None

    def _write_metadata(self, file: BinaryIO) -> list[str]:
        info = self.info
        if info.format in ("WAV", "WAVEX", "RF64") and (info.channel_mask is not None or info.valid_bits):
            write_layout(file, info.channel_mask, info.valid_bits)
        if self._metadata is None:
            return []
        return write_metadata(file, self._metadata, info.format, info.endian, other_rate=self._other_rate)

    def _why_not(self, error: Exception) -> str:
        # libsndfile does not report the reason.
        full = is_nearly_full(self.path, _NEARLY_FULL_BYTES)
        return f"cannot be written: {'the disk is full' if full else reason(error)}"

    def _check_header(self) -> None:
        """Check that the header matches the request, since libsndfile does not report what a container lacks."""
        if self.frames_written == 0 or self.info.format == "RAW":
            return
        kind = f"{self.info.format} with {self.info.subtype} samples"
        try:
            with AudioReader(self._atomic.temporary) as reader:
                got, padding = reader.info, reader.padding
        except UnreadableAudio as error:
            raise AudioError(f"{kind} cannot be written here: {error.message}", self.path) from None
        if abs(got.sample_rate / self.info.sample_rate - 1) > _RATE_ROUNDING:
            raise UnsupportedFormat(f"{kind} does not support {self.info.sample_rate} Hz", self.path)
        if padding and self.info.subtype in _IN_BLOCKS:
            self.note = f"{self.info.subtype} stores whole blocks: {padding} samples of silence are appended"
        if 0 < got.frames < self.frames_written:
            raise AudioError(f"{kind} would lose the last {self.frames_written - got.frames:,} samples", self.path)

    def _is_complete(self) -> bool:
        """Whether all samples can be read back, since libsndfile does not report failures on closing a file."""
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
            if kind is None and self._keep:
                self.commit()
        finally:
            with contextlib.suppress(soundfile.SoundFileError):
                self._file.close()
            self._atomic.discard()
