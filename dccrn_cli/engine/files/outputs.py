"""Writers for the samples of a result, and the files behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.errors import AudioError
from dccrn_cli.utils.atomic import AtomicFile, BusyError


class Writer(Protocol):
    """Destination of samples: a file or a pipe."""

    info: AudioInfo

    def write(self, block: np.ndarray) -> None:
        """Append float32 `(frames, channels)`."""


@dataclass
class HeldWriter:
    """A writer that holds its samples back."""

    info: AudioInfo
    write: Callable[[np.ndarray], None]


class ResamplingWriter:
    """Writes blocks at the source's rate, resampled to the rate of the result."""

    def __init__(self, writer: Writer, source: AudioInfo) -> None:
        self._writer = writer
        self._resampler = Resampler(source.sample_rate, writer.info.sample_rate, source.channels)

    def write(self, block: np.ndarray) -> None:
        self._writer.write(self._resampler.process(block))

    def flush(self) -> None:
        self._writer.write(self._resampler.flush())


def progress_after(progress: Callable[[float], None] | None, before_s: float) -> Callable[[float], None] | None:
    """Offset the progress of a part that starts after `before_s` seconds."""
    return None if progress is None else lambda seconds: progress(before_s + seconds)


def sound_of(video: Path, track: int) -> Path:
    """Temporary name of a video's enhanced audio before it is joined with the video."""
    return video.with_name(f"{video.name}.sound{track}")


def locked_file(path: Path) -> AtomicFile:
    try:
        return AtomicFile(path)
    except BusyError:
        raise
    except OSError as error:
        raise AudioError(f"cannot be written ({error.strerror or error})", path) from None
