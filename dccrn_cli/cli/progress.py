"""The progress bar of a batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dccrn_cli.audio.files import AudioReader
from dccrn_cli.audio.plan import Job
from dccrn_cli.cli.console import count, duration, printable
from dccrn_cli.errors import AudioError

_MAX_NAME = 40


class BatchProgress:
    """Bar in seconds of audio with speed, time left and the current file; silent without a terminal.

    Args:
        jobs: all of the batch.
        enabled: show it if stderr is a terminal.
    """

    def __init__(self, jobs: Sequence[Job], enabled: bool) -> None:
        self._jobs = jobs
        self._started = time.monotonic()
        self._done_s = 0.0
        self._files = 0
        self._file_s = 0.0
        self._bar: Progress | None = None
        self._lengths: dict[Path, float] = {}
        self._total_s = 0.0
        self._task = TaskID(0)
        console = Console(stderr=True)
        if enabled and console.is_terminal:
            self._lengths = {job.source: _seconds(job.source) for job in jobs}
            self._bar = Progress(
                BarColumn(bar_width=24),
                TextColumn("{task.fields[audio]}  {task.fields[files]}  {task.fields[speed]}  left"),
                TimeRemainingColumn(compact=True),
                TextColumn("{task.fields[name]}", markup=False, style="dim"),
                console=console,
                transient=True,
            )
            self._total_s = sum(self._lengths.values())
            self._task = self._bar.add_task(
                "", total=self._total_s or 1, audio="", files=f"0/{count(len(jobs), 'file')}", speed="", name=""
            )

    @property
    def elapsed_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    def advance(self, job: Job, seconds: float) -> None:
        """A block of a file is done."""
        self._done_s += seconds
        self._file_s += seconds
        if self._bar is not None:
            name = printable(job.source.name)
            shown = name if len(name) <= _MAX_NAME else f"…{name[1 - _MAX_NAME :]}"
            self._bar.update(
                self._task,
                advance=seconds,
                name=shown,
                audio=f"{duration(self._done_s)} of {duration(self._total_s)}",
                speed=f"{self._done_s / self.elapsed_s:.0f} × real time",
            )

    def finish(self, source: Path) -> None:
        """A file is done, skipped or failed."""
        self._files += 1
        if self._bar is not None:
            rest = self._lengths[source] - self._file_s
            self._bar.update(self._task, advance=rest, files=f"{self._files}/{count(len(self._jobs), 'file')}")
        self._file_s = 0.0

    def __enter__(self) -> BatchProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _seconds(path: Path) -> float:
    try:
        with AudioReader(path) as reader:
            return reader.info.seconds
    except AudioError:
        return 0.0
