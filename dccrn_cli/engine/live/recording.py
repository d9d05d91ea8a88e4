"""What was heard and what became of it, written meanwhile."""

from __future__ import annotations

import contextlib
import queue
import threading
from pathlib import Path

import numpy as np

from dccrn_cli.audio.formats import FORMAT_OF_SUFFIX, AudioInfo
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.errors import DccrnError, OptionError


class _Nothing(Exception):
    """No sound has come: no file is to be left."""


class Recording:
    """A file with the channels of the original first and those of the result behind them, aligned.

    Encoding and the disk have a thread of their own; the file is put in place when the sound has ended.

    Args:
        path: FLAC, WAV or another container; it must not exist unless `overwrite`.
        sample_rate: Hz.
        channels: of each side.

    Raises:
        OptionError: no such container, or the file exists.
        AudioError: it cannot be written.
    """

    def __init__(self, path: Path, sample_rate: int, channels: int, *, overwrite: bool = False) -> None:
        if path.suffix.lower() not in FORMAT_OF_SUFFIX:
            raise OptionError("the name of a recording ends in .flac, .wav or another container", path)
        if path.exists() and not overwrite:
            raise OptionError("exists already (--overwrite replaces it)", path)
        plain = AudioInfo(sample_rate, 2 * channels, 0, "WAV", "PCM_24", "FILE")
        self._writer = AudioWriter(path, plain.adapted(path.suffix))
        self._waiting: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self.error: DccrnError | None = None
        """Why nothing more is written, if so."""
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
