"""Records input and result during real-time enhancement."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import numpy as np

from dccrn_cli.audio.formats import FORMAT_OF_SUFFIX, AudioInfo
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.errors import AudioError, DccrnError, OptionError
from dccrn_cli.utils.atomic import is_nearly_full
from dccrn_cli.utils.paths import exists, is_folder

RESERVED_BYTES = 16 << 20
"""Space left on the disk; a file that meets a full disk cannot always be completed."""


class _Nothing(Exception):
    """No audio has arrived, so no file is to be left."""


class Recording:
    """A file with the channels of the original followed by those of the result, aligned.

    Encoding and writing run in their own thread; the file is moved to its target when the audio has ended. If
    writing fails on the way, what has been written is kept, since it cannot be recorded again.

    Args:
        path: FLAC, WAV or another container; it must not exist unless `overwrite`.
        sample_rate: sample rate in Hz.
        channels: number of channels of each side.

    Raises:
        OptionError: a container that does not exist or does not support the sample rate, or the file exists.
        AudioError: the file cannot be written.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, *, overwrite: bool = False) -> None:
        if path.suffix.lower() not in FORMAT_OF_SUFFIX:
            raise OptionError("the name of a recording must end in .flac, .wav or another container", path)
        if is_folder(path):
            raise OptionError("is a folder; a file name is needed", path)
        if exists(path) and not overwrite:
            raise OptionError("already exists (use --overwrite to replace it)", path)
        plain = AudioInfo(sample_rate, 2 * channels, 0, "WAV", "PCM_24", "FILE")
        info = plain.adapted(path.suffix)
        if info.sample_rate != sample_rate:
            raise OptionError(f"{info.subtype} does not support {sample_rate} Hz; record to .flac or .wav", path)
        self._writer = AudioWriter(path, info)
        self._waiting: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self.error: DccrnError | None = None
        """Error that stopped writing, if any; everything after it is dropped."""
        self._thread = threading.Thread(target=self._write, name="dccrn recording", daemon=True)

    def add(self, heard: np.ndarray, result: np.ndarray) -> None:
        """Append blocks `(frames, channels)`."""
        if self.error is None:
            self._waiting.put(np.concatenate([heard, result], axis=1))

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _write(self) -> None:
        try:
            with self._writer:
                try:
                    while (block := self._waiting.get()) is not None:
                        self._append(block)
                except DccrnError as error:
                    self.error = error
                if not self._writer.frames_written:
                    raise _Nothing
        except _Nothing:
            pass
        except DccrnError as error:
            self.error = error

    def _append(self, block: np.ndarray) -> None:
        writer, reason = self._writer, None
        if writer.info.exceeds(writer.frames_written + len(block)):
            reason = f"{writer.info.format} cannot exceed 4 GiB (FLAC can)"
        elif is_nearly_full(writer.path, RESERVED_BYTES):
            reason = f"less than {RESERVED_BYTES >> 20} MiB left on the disk"
        if reason is not None:
            raise AudioError(f"recording stopped: {reason}", writer.path)
        writer.write(np.clip(block, -1.0, 1.0))
