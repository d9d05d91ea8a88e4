"""Enhancing files: one, and many in a row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dccrn_cli.audio.files import AudioReader, AudioWriter
from dccrn_cli.audio.plan import Job
from dccrn_cli.engine.enhancer import Enhancer, HighBand, pick_device
from dccrn_cli.engine.models import find_model
from dccrn_cli.errors import AudioError, OptionError
from dccrn_cli.nn.checkpoint import load_model
from dccrn_cli.nn.dccrn import DCCRN

BLOCK_S = 3.0
"""Audio per block of the pipe, seconds."""

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class FileResult:
    """What became of one file.

    Attributes:
        reason: why it was skipped or failed.
        seconds: length of its audio.
        elapsed_s: time that it took.
        clipped: output samples cut at full scale.
        notes: what a user should know about the result.
    """

    source: Path
    target: Path
    status: Status
    reason: str = ""
    seconds: float = 0.0
    elapsed_s: float = 0.0
    clipped: int = 0
    notes: tuple[str, ...] = ()


class BatchEnhancer:
    """Enhances files with one model.

    Args:
        model: the network.
        high_band, device: as for `Enhancer`.
        overwrite: replace targets that exist; else they are skipped.

    Raises:
        OptionError: the device is not there.
    """

    def __init__(
        self, model: DCCRN, high_band: HighBand = "gate", device: str = "auto", overwrite: bool = False
    ) -> None:
        self._model = model
        self._high_band = high_band
        self._device = pick_device(device)
        self._overwrite = overwrite
        self._enhancers: dict[int, Enhancer] = {}

    def run(self, jobs: Iterable[Job], progress: Callable[[Job, float], None] | None = None) -> Iterator[FileResult]:
        """Work through jobs; a file that fails is a result and the rest goes on.

        Args:
            jobs: what to do.
            progress: called as each block is done with the job and the seconds of audio in it.
        """
        for job in jobs:
            yield self.enhance_file(job, progress)

    def enhance_file(self, job: Job, progress: Callable[[Job, float], None] | None = None) -> FileResult:
        """Enhance one file."""
        started = time.monotonic()
        try:
            if job.target.is_file():
                if os.path.samefile(job.source, job.target):
                    raise AudioError("the result would overwrite the recording")
                if not self._overwrite:
                    return FileResult(job.source, job.target, "skipped", "exists already")
            elif job.target.is_dir():
                raise AudioError(f"there is a folder named {job.target}")
            return self._enhance(job, started, progress)
        except AudioError as error:
            reason = error.message
        except Exception as error:  # out of memory, say: the other files may fit
            reason = f"{type(error).__name__}: {error}"
        return FileResult(job.source, job.target, "failed", reason, elapsed_s=time.monotonic() - started)

    def _enhance(self, job: Job, started: float, progress: Callable[[Job, float], None] | None) -> FileResult:
        with AudioReader(job.source) as reader:
            info, notes = reader.info, [reader.note]
            # A name that is wrong about its file stays wrong: what goes in comes out.
            changed = job.source.suffix.lower() != job.target.suffix.lower()
            wanted = info.for_suffix(job.target.suffix) if changed else info
            if wanted.subtype != info.subtype:
                notes.append(f"{info.subtype} samples become {wanted.subtype}")
            enhancer = self._enhancer(info.sample_rate)
            with AudioWriter(job.target, wanted) as writer:
                try:
                    for block in reader.blocks(max(round(BLOCK_S * info.sample_rate), 1)):
                        writer.write(enhancer.process(block))
                        if progress is not None:
                            progress(job, len(block) / info.sample_rate)
                    if reader.frames_read:
                        writer.write(enhancer.flush())
                finally:
                    enhancer.reset()
            if writer.clipped:
                notes.append(f"{writer.clipped:,} samples beyond full scale limited")
            return FileResult(
                job.source,
                job.target,
                "done",
                seconds=reader.frames_read / info.sample_rate,
                elapsed_s=time.monotonic() - started,
                clipped=writer.clipped,
                notes=tuple(filter(None, notes)),
            )

    def _enhancer(self, sample_rate: int) -> Enhancer:
        if sample_rate not in self._enhancers:
            try:
                self._enhancers[sample_rate] = Enhancer(self._model, sample_rate, self._high_band, self._device)
            except OptionError as error:
                raise AudioError(error.message) from None
        return self._enhancers[sample_rate]


def enhance(
    source: str | Path, target: str | Path, model: str | Path | None = None, overwrite: bool = False
) -> FileResult:
    """Enhance one audio file into another, its rate, channels, format and length kept.

    Args:
        source: any file that libsndfile reads.
        target: the file to write; a suffix other than that of the source sets the container.
        model: name of a bundled model or path of a model file; None for the default.
        overwrite: replace the target if it exists.

    Raises:
        AudioError: the file cannot be read, enhanced or written.
        OptionError: the target exists.
        CheckpointError: the model cannot be loaded.
    """
    batch = BatchEnhancer(load_model(find_model(model))[0], overwrite=overwrite)
    result = batch.enhance_file(Job(Path(source), Path(target)))
    if result.status == "failed":
        raise AudioError(result.reason, source)
    if result.status == "skipped":
        raise OptionError(result.reason, target)
    return result
