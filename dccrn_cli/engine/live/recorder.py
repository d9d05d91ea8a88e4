"""Records input and result during real-time enhancement."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path

import numpy as np

from dccrn_cli.audio.formats import FORMAT_OF_SUFFIX, AudioInfo
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.errors import DccrnError, OptionError
from dccrn_cli.utils.paths import exists


class _Nothing(Exception):
    """No audio has arrived, so no file is to be left."""


class Recording:
    """A file with the channels of the original followed by those of the result, aligned.

    Encoding and writing run in their own thread; the file is moved to its target when the audio has ended.

    Args:
        path: FLAC, WAV or another container; it must not exist unless `overwrite`.
        sample_rate: sample rate in Hz.
        channels: number of channels of each side.

    Raises:
        OptionError: unsupported container, or the file exists.
        AudioError: the file cannot be written.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, *, overwrite: bool = False) -> None:
        if path.suffix.lower() not in FORMAT_OF_SUFFIX:
            raise OptionError("the name of a recording must end in .flac, .wav or another container", path)
        if exists(path) and not overwrite:
            raise OptionError("already exists (use --overwrite to replace it)", path)
        plain = AudioInfo(sample_rate, 2 * channels, 0, "WAV", "PCM_24", "FILE")
        self._writer = AudioWriter(path, plain.adapted(path.suffix))
        self._waiting: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self.error: DccrnError | None = None
        """Error that stopped writing, if any."""
        self._thread = threading.Thread(target=self._write, name="dccrn recording", daemon=True)

    def add(self, heard: np.ndarray, result: np.ndarray) -> None:
        """Append blocks `(frames, channels)`."""
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
                while (block := self._waiting.get()) is not None:
                    self._writer.write(np.clip(block, -1.0, 1.0))
                if not self._writer.frames_written:
                    raise _Nothing
        except _Nothing:
            pass
        except DccrnError as error:
            self.error = error
            with contextlib.suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
