"""Enhances a single file."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dccrn_cli.audio.ffmpeg import count_tracks
from dccrn_cli.audio.formats import AudioInfo
from dccrn_cli.audio.levels import LevelMeter
from dccrn_cli.audio.media import MEDIA_SUFFIXES, MediaReader
from dccrn_cli.audio.reader import Reader, open_sound
from dccrn_cli.audio.remux import CleanTrack, remux
from dccrn_cli.audio.sample_queue import SampleQueue
from dccrn_cli.audio.writer import AudioWriter
from dccrn_cli.engine.enhance_options import EnhanceOptions, dry_share
from dccrn_cli.engine.enhancer import Enhancer, Model, open_network
from dccrn_cli.engine.files.journal import note_row
from dccrn_cli.engine.files.loudness_pass import Levelled, LoudnessPass
from dccrn_cli.engine.files.outputs import HeldWriter, ResamplingWriter, Writer, locked_file, progress_after, sound_of
from dccrn_cli.engine.files.pauses import PauseMeter
from dccrn_cli.engine.files.plan import MEDIA_RESULT, Job
from dccrn_cli.engine.files.results import EXISTS, FileResult
from dccrn_cli.errors import AudioError, MissingDependency, OptionError
from dccrn_cli.utils.atomic import AtomicFile, BusyError
from dccrn_cli.utils.paths import is_file, is_missing, path_kind

BLOCK_S = 3.0
"""Seconds of audio per block."""

BLOCK_SAMPLES = 1 << 23
"""Most samples per block over all channels, since a header may declare a thousand channels."""


@dataclass(frozen=True)
class Levels:
    """Levels of a whole file.

    Attributes:
        before_dbfs, after_dbfs: RMS levels, None for silence.
        noise_kept_db: change of the noise level in pauses, if measured.
        levelled: loudness adjustment, if requested.
    """

    before_dbfs: float | None
    after_dbfs: float | None
    noise_kept_db: float | None = None
    levelled: Levelled | None = None


class Stopped(Exception):
    """Processing was stopped before the file was complete."""


class FileEnhancer:
    """Enhances files with one model, one after another.

    Args:
        options: how files are enhanced.
        model: the network, if already loaded.
        stop: called after each block; True stops the work on a file without leaving anything behind.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: the device is unavailable.
    """

    def __init__(
        self, options: EnhanceOptions, model: Model | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.options = options
        self._model = model or open_network(options.model, options.device, options.precision)
        self._stop = stop
        self._started = 0.0
        self._enhancers: dict[int, Enhancer] = {}

    def __call__(self, job: Job, progress: Callable[[float], None] | None = None) -> FileResult:
        """Enhance one file; any problem with it is reported in the result.

        Args:
            job: the file and its targets.
            progress: called after each block with the seconds of audio done.

        Raises:
            Stopped: `stop()` returned True.
        """
        self._started = started = time.monotonic()
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
        except Exception as error:  # for example out of memory: other files may fit
            result = result.failed(f"{type(error).__name__}: {error}")
        return FileResult(job.source, job.target, "failed", result.reason, elapsed_s=time.monotonic() - started)

    def _missing_targets(self, job: Job) -> list[Path]:
        """Targets that still have to be written."""
        missing = []
        for target in job.targets:
            kind, why = path_kind(target)
            if kind == "file":
                if os.path.samefile(job.source, target):
                    raise AudioError("the result would overwrite its source")
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
        mtime_ns = os.stat(job.source).st_mtime_ns if self.options.keep_mtime and not is_missing(job.source) else None
        is_video = job.target.suffix.lower() in MEDIA_SUFFIXES
        enhance = self._video if is_video and job.target in missing else self._sound
        return replace(enhance(job, missing, mtime_ns, progress), elapsed_s=time.monotonic() - started)

    def _sound(
        self, job: Job, missing: list[Path], mtime_ns: int | None, progress: Callable[[float], None] | None
    ) -> FileResult:
        """Write the enhanced audio as a file."""
        track = job.track or (None if self.options.track == "all" else self.options.track)
        with contextlib.ExitStack() as stack:
            reader: Reader = stack.enter_context(open_sound(job.source, track))
            if self.options.track == "all" and job.track is None and isinstance(reader, MediaReader):
                reader.check_alone()
            wanted = self._form(job, reader)
            metadata, other_rate = reader.metadata(), reader.info.sample_rate != wanted.sample_rate
            # The result is entered first, so it is committed last: once it exists, everything does.
            writer, noise = (
                stack.enter_context(AudioWriter(target, wanted, metadata, mtime_ns, other_rate=other_rate))
                if target is not None and target in missing
                else None
                for target in (job.target, job.noise_target)
            )
            self._check_still_missing(job, missing)
            levels = self.pump(reader, writer, noise, progress)
            files = [file for file in (noise, writer) if file is not None]
            for file in files:
                file.finish()
            notes = reader.info.changes_to(wanted)
            asked_hz = self.options.sample_rate
            if asked_hz not in (None, wanted.sample_rate):
                notes.append(f"{wanted.subtype} does not support {asked_hz} Hz")
            if writer is not None and writer.note:
                notes.append(writer.note)
            result = _result(job, reader, wanted, levels, writer.clipped if writer is not None else 0, notes)
            self._note(job, result, files[-1])
        return result

    def _video(
        self, job: Job, missing: list[Path], mtime_ns: int | None, progress: Callable[[float], None] | None
    ) -> FileResult:
        """Write a copy of a video with enhanced audio."""
        cleaned: dict[int, CleanTrack] = {}
        results: list[FileResult] = []
        tracks: Sequence[int | None] = [job.track or self.options.track]  # type: ignore[list-item]
        if self.options.track == "all":
            tracks = range(1, count_tracks(job.source) + 1)
        with contextlib.ExitStack() as stack:
            video = stack.enter_context(locked_file(job.target))
            self._check_still_missing(job, missing)
            for track in tracks:
                reader = stack.enter_context(MediaReader(job.source, track))
                wanted = self._form(job, reader)
                # Both stay locked until the video is complete too.
                sound = stack.enter_context(AudioWriter(sound_of(job.target, reader.track), wanted, keep=False))
                before_s = sum(result.seconds for result in results)
                with contextlib.ExitStack() as inner:
                    noise = None
                    if job.noise_target is not None and job.noise_target in missing and not results:
                        noise = inner.enter_context(AudioWriter(job.noise_target, wanted, reader.tags, mtime_ns))
                    levels = self.pump(reader, sound, noise, progress_after(progress, before_s))
                sound.finish()
                results.append(_result(job, reader, wanted, levels, sound.clipped))
                cleaned[reader.track] = CleanTrack(sound.temporary, reader.gaps, reader.info.sample_rate)
            try:
                change = remux(job.source, cleaned, video.temporary)
                notes = dict.fromkeys([*(note for result in results for note in result.notes), *filter(None, [change])])
                result = replace(
                    results[0], notes=tuple(notes), format=reader.info.format, sample_format=reader.info.subtype,
                    seconds=sum(result.seconds for result in results),
                    clipped=sum(result.clipped for result in results),
                )  # fmt: skip
                self._note(job, result, video)
                video.commit(mtime_ns)
            except OSError as error:
                raise AudioError(f"cannot be written ({error.strerror or error})", job.target) from None
        return result

    def _note(self, job: Job, result: FileResult, file: AudioWriter | AtomicFile) -> None:
        """Note the row of a file just before the last of its results takes its name."""
        if job.note is not None:
            timed = replace(result, elapsed_s=time.monotonic() - self._started)
            note_row(job.note, timed, file.temporary, file.path)

    def _form(self, job: Job, reader: Reader) -> AudioInfo:
        """Format of the result for a source."""
        # A misleading suffix is kept, so that what goes in comes out.
        changed = job.source.suffix.lower() != job.target.suffix.lower() or isinstance(reader, MediaReader)
        suffix = job.target.suffix if changed else ""
        suffix = MEDIA_RESULT if suffix.lower() in MEDIA_SUFFIXES else suffix
        wanted = reader.info.adapted(suffix, self.options.sample_format, self.options.sample_rate)
        if self.options.sample_format is None:
            wanted = wanted.nearest_writable()
        return wanted.with_room_for(math.ceil(reader.info.seconds * wanted.sample_rate))

    def _check_still_missing(self, job: Job, missing: list[Path]) -> None:
        if not self.options.overwrite and any(is_file(target) for target in missing):
            raise BusyError("another run has just written this file", job.target)

    def pump(
        self,
        reader: Reader,
        writer: Writer | None,
        noise_writer: Writer | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Levels:
        """Process everything from a reader through the network.

        Args:
            reader: open source.
            writer: receives the result.
            noise_writer: receives what was removed.
            progress: called after each block with the seconds of audio done.

        Returns:
            Levels before and after, the latter without the gain for the requested loudness.

        Raises:
            AudioError: the audio cannot be read, enhanced or written.
            Stopped: `stop()` returned True.
        """
        if writer is None or self.options.loudness is None:
            return self._pump(reader, writer, noise_writer, progress)
        info, target = reader.info, getattr(writer, "path", Path())
        with LoudnessPass(target.parent, info.sample_rate, writer.info.sample_rate, info.channels) as loudness:
            held = HeldWriter(writer.info, loudness.write)
            levels = self._pump(reader, held, noise_writer, progress, loudness.hear)
            levelled = loudness.level(self.options.loudness, self.options.true_peak_dbtp)
            for block in loudness.blocks(levelled.gain_db):
                writer.write(block)
                if self._stop():
                    raise Stopped
        return replace(levels, levelled=levelled)

    def _pump(
        self,
        reader: Reader,
        writer: Writer | None,
        noise_writer: Writer | None,
        progress: Callable[[float], None] | None,
        hear: Callable[[np.ndarray], None] = lambda _: None,
    ) -> Levels:
        info = reader.info
        enhancer = self._enhancer(info.sample_rate)
        result, noise = (None if w is None else ResamplingWriter(w, info) for w in (writer, noise_writer))
        waiting = SampleQueue(info.channels)
        before, after = LevelMeter(), LevelMeter()
        dry = dry_share(self.options.mix, self.options.attenuation_limit_db)
        pauses = PauseMeter(info.sample_rate, info.channels, dry) if self.options.purpose == "asr" else None

        def emit(block: np.ndarray) -> None:
            after.add(block)
            if pauses is not None:
                pauses.add(block)
            if result is not None:
                result.write(block)
            if noise is not None:
                noise.write(waiting.pop(len(block)) - block)

        try:
            frames = min(round(BLOCK_S * info.sample_rate), BLOCK_SAMPLES // info.channels)
            for block in reader.blocks(max(frames, 1)):
                before.add(block)
                hear(block)
                if pauses is not None:
                    pauses.hear(block)
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
        return Levels(before.dbfs, after.dbfs, None if pauses is None else pauses.noise_kept_db)

    def _enhancer(self, sample_rate: int) -> Enhancer:
        if sample_rate not in self._enhancers:
            options = self.options
            try:
                self._enhancers[sample_rate] = Enhancer(
                    self._model, sample_rate, options.high_band,
                    attenuation_limit_db=options.attenuation_limit_db, mix=options.mix,
                    link_channels=options.link_channels,
                )  # fmt: skip
            except OptionError as error:
                raise AudioError(error.message) from None
        return self._enhancers[sample_rate]


def _result(
    job: Job,
    reader: Reader,
    written: AudioInfo,
    levels: Levels,
    clipped: int,
    notes: Sequence[str] = (),
) -> FileResult:
    level, gain = levels.levelled, levels.levelled.gain_db if levels.levelled else 0.0
    limited = f"{clipped:,} samples beyond full scale clipped" if clipped else ""
    return FileResult(
        job.source, job.target, "done",
        notes=tuple(filter(None, [reader.note, *notes, level.note if level else "", limited])),
        seconds=reader.frames_read / reader.info.sample_rate,
        sample_rate=written.sample_rate, channels=written.channels,
        format=written.format, sample_format=written.subtype,
        input_level_dbfs=levels.before_dbfs,
        output_level_dbfs=None if levels.after_dbfs is None else levels.after_dbfs + gain,
        clipped=clipped,
        input_lufs=level.input_lufs if level else None, output_lufs=level.output_lufs if level else None,
        true_peak_dbtp=level.true_peak_dbtp if level else None, gain_db=level.gain_db if level else None,
        noise_kept_db=levels.noise_kept_db,
    )  # fmt: skip
