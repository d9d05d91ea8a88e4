"""Enhancing one file into another."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.levels import LevelMeter
from dccrn_cli.audio.media import MEDIA_SUFFIXES, MediaReader
from dccrn_cli.audio.plan import MEDIA_RESULT, Job
from dccrn_cli.audio.reader import Reader, open_sound
from dccrn_cli.audio.remux import remux
from dccrn_cli.audio.resample import Resampler
from dccrn_cli.audio.sample_queue import SampleQueue
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.enhancer import Enhancer, Model, open_network
from dccrn_cli.engine.options import EnhanceOptions
from dccrn_cli.engine.results import EXISTS, FileResult
from dccrn_cli.errors import AudioError, MissingDependency, OptionError
from dccrn_cli.utils.atomic import AtomicFile, BusyError, temporary_path
from dccrn_cli.utils.paths import is_file, is_missing, path_kind

BLOCK_S = 3.0
"""Audio per block of the pipe, seconds."""

BLOCK_SAMPLES = 1 << 23
"""Samples per block at most, all channels together: a header may claim a thousand channels."""


class Writer(Protocol):
    """What takes the samples: a file or a pipe."""

    info: AudioInfo

    def write(self, block: np.ndarray) -> None:
        """Append float32 `(frames, channels)`."""


class Stopped(Exception):
    """The work was asked to end before the file was done."""


class FileEnhancer:
    """Enhances files with one model, one after another.

    Args:
        options: see there.
        model: the network itself, where it is loaded already.
        stop: asked after each block; True ends the work on a file without leaving anything.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: the device is not there.
    """

    def __init__(
        self, options: EnhanceOptions, model: Model | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.options = options
        self._model = model or open_network(options.model, options.device, options.precision)
        self._stop = stop
        self._enhancers: dict[int, Enhancer] = {}

    def __call__(self, job: Job, progress: Callable[[float], None] | None = None) -> FileResult:
        """Enhance one file; whatever goes wrong with it is in the result.

        Args:
            job: the file and its targets.
            progress: called after each block with the seconds of audio that are done.

        Raises:
            Stopped: `stop()` was true.
        """
        started = time.monotonic()
        result = FileResult(job.source, job.target, "failed")
        try:
            missing = self._missing_targets(job)
            if not missing:
                return FileResult(job.source, job.target, "skipped", EXISTS)
            return self._enhance(job, missing, started, progress)
        except BusyError as error:
            return FileResult(job.source, job.target, "skipped", error.message)
        except (AudioError, MissingDependency) as error:
            result = result.failed(error.message)
        except Stopped:
            raise
        except Exception as error:  # out of memory, say: the other files may fit
            result = result.failed(f"{type(error).__name__}: {error}")
        return FileResult(job.source, job.target, "failed", result.reason, elapsed_s=time.monotonic() - started)

    def _missing_targets(self, job: Job) -> list[Path]:
        """Those targets that are to be written."""
        missing = []
        for target in job.targets:
            kind, why = path_kind(target)
            if kind == "file":
                if os.path.samefile(job.source, target):
                    raise AudioError("the result would overwrite the recording")
                if not self.options.overwrite:
                    continue
            elif kind == "folder":
                raise AudioError(f"there is a folder named {target}")
            elif kind == "unusable":
                raise AudioError(f"{target}: {why}")
            missing.append(target)
        return missing

    def _enhance(
        self, job: Job, missing: list[Path], started: float, progress: Callable[[float], None] | None
    ) -> FileResult:
        is_video = job.target.suffix.lower() in MEDIA_SUFFIXES
        mtime_ns = os.stat(job.source).st_mtime_ns if self.options.keep_mtime and not is_missing(job.source) else None
        with contextlib.ExitStack() as stack:
            reader: Reader = stack.enter_context(open_sound(job.source))
            info = reader.info
            # A name that is wrong about its file stays wrong: what goes in comes out.
            changed = job.source.suffix.lower() != job.target.suffix.lower()
            changed = changed or isinstance(reader, MediaReader)
            suffix = MEDIA_RESULT if is_video else job.target.suffix if changed else ""
            wanted = info.adapted(suffix, self.options.sample_format, self.options.sample_rate)
            if self.options.sample_format is None:
                wanted = wanted.nearest_writable()
            wanted = wanted.with_room_for(math.ceil(info.seconds * wanted.sample_rate))
            outputs = {job.target: _sound_of(job.target) if is_video else job.target}
            if job.noise_target is not None:
                outputs[job.noise_target] = job.noise_target
            # The result is entered first, and so put in place last: where it is, all is.
            writers = [
                stack.enter_context(AudioWriter(path, wanted, reader.tags, mtime_ns)) if target in missing else None
                for target, path in outputs.items()
            ]
            if not self.options.overwrite and any(is_file(target) for target in missing):
                raise BusyError("another run has just written it", job.target)
            levels = self.pump(reader, writers[0], writers[1] if len(writers) > 1 else None, progress)
        if is_video and writers[0] is not None:
            self._remux(job, outputs[job.target], mtime_ns)
        clipped = writers[0].clipped if writers[0] is not None else 0
        notes = [reader.note, *([] if is_video else info.changes_to(wanted))]
        asked_hz = self.options.sample_rate
        if asked_hz not in (None, wanted.sample_rate):
            notes.append(f"{wanted.subtype} does not hold {asked_hz} Hz")
        notes += [writer.note for writer in writers[:1] if writer is not None]
        if clipped:
            notes.append(f"{clipped:,} samples beyond full scale limited")
        return FileResult(
            job.source, job.target, "done",
            notes=tuple(filter(None, notes)),
            seconds=reader.frames_read / info.sample_rate,
            elapsed_s=time.monotonic() - started,
            sample_rate=wanted.sample_rate, channels=wanted.channels,
            format=info.format if is_video else wanted.format,
            sample_format=info.subtype if is_video else wanted.subtype,
            input_level_dbfs=levels[0].dbfs, output_level_dbfs=levels[1].dbfs,
            clipped=clipped,
        )  # fmt: skip

    def pump(
        self,
        reader: Reader,
        writer: Writer | None,
        noise_writer: Writer | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[LevelMeter, LevelMeter]:
        """All of a reader through the network.

        Args:
            reader: open.
            writer: takes the result.
            noise_writer: takes what was removed.
            progress: as above.

        Returns:
            the levels before and after.

        Raises:
            AudioError: it cannot be read, enhanced or written.
            Stopped: as above.
        """
        info = reader.info
        enhancer = self._enhancer(info.sample_rate)
        result, noise = (None if w is None else _Sink(w, info) for w in (writer, noise_writer))
        waiting = SampleQueue(info.channels)
        before, after = LevelMeter(), LevelMeter()

        def emit(block: np.ndarray) -> None:
            after.add(block)
            if result is not None:
                result.write(block)
            if noise is not None:
                noise.write(waiting.pop(len(block)) - block)

        try:
            frames = min(round(BLOCK_S * info.sample_rate), BLOCK_SAMPLES // info.channels)
            for block in reader.blocks(max(frames, 1)):
                before.add(block)
                if noise is not None:
                    waiting.push(block)
                emit(enhancer.process(block, axis=0))
                if progress is not None:
                    progress(reader.frames_read / info.sample_rate)
                if self._stop():
                    raise Stopped
            if reader.frames_read:
                emit(enhancer.flush())
        finally:
            enhancer.reset()
        for sink in (result, noise):
            if sink is not None:
                sink.flush()
        return before, after

    def _remux(self, job: Job, sound: Path, mtime_ns: int | None) -> None:
        try:
            with AtomicFile(job.target) as file:
                remux(job.source, sound, file.temporary)
                file.commit(mtime_ns)
        except OSError as error:
            raise AudioError(f"cannot be written ({error.strerror or error})", job.target) from None
        finally:
            sound.unlink(missing_ok=True)

    def _enhancer(self, sample_rate: int) -> Enhancer:
        if sample_rate not in self._enhancers:
            options = self.options
            try:
                self._enhancers[sample_rate] = Enhancer(
                    self._model, sample_rate, options.high_band,
                    attenuation_limit_db=options.attenuation_limit_db, mix=options.mix,
                )  # fmt: skip
            except OptionError as error:
                raise AudioError(error.message) from None
        return self._enhancers[sample_rate]


class _Sink:
    """Where blocks at the rate of the source are written, at the rate of the result."""

    def __init__(self, writer: Writer, source: AudioInfo) -> None:
        self._writer = writer
        self._resampler = Resampler(source.sample_rate, writer.info.sample_rate, source.channels)

    def write(self, block: np.ndarray) -> None:
        self._writer.write(self._resampler.process(block))

    def flush(self) -> None:
        self._writer.write(self._resampler.flush())


def _sound_of(video: Path) -> Path:
    """Where the cleaned sound of a video waits for its picture; a name that `remove_leftovers` knows."""
    return temporary_path(video.with_name(f"{video.name}.sound"))
