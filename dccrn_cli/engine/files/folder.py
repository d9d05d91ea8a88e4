"""Enhances folders: determines what is left to do in a plan, estimates its time, and runs it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dccrn_cli.audio.reader import Probe, probe
from dccrn_cli.engine.enhance_options import EnhanceOptions, Workers
from dccrn_cli.engine.files.batch import enhance_batch
from dccrn_cli.engine.files.plan import Plan, PlanOptions, make_plan
from dccrn_cli.engine.files.report import BatchReport
from dccrn_cli.engine.files.results import EXISTS, FileResult
from dccrn_cli.errors import OptionError, StorageError
from dccrn_cli.nn.models import portable_name
from dccrn_cli.utils.callbacks import notify
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.paths import is_file

if TYPE_CHECKING:
    from dccrn_cli.engine.files.shared_progress import ProgressBoard


class FileBatch:
    """The files of a plan, split into pending and finished ones.

    Args:
        plan: files and their targets.
        options: how they are enhanced.
        workers: processes that do the work; None for as many as are worthwhile.

    Attributes:
        jobs: pending jobs.
        skipped: jobs that are already done.
    """

    def __init__(self, plan: Plan, options: EnhanceOptions, workers: Workers | None = None) -> None:
        self.plan = plan
        self.options = options
        self.workers = workers or Workers()
        overwrite = options.overwrite
        self.skipped = [job for job in plan.jobs if not overwrite and all(map(is_file, job.targets))]
        done = set(self.skipped)
        self.jobs = [job for job in plan.jobs if job not in done]

    @cached_property
    def probes(self) -> list[Probe]:
        """Length, sample rate and channels of each job's file, as declared by its header; read on first use."""
        return probe([job.source for job in self.jobs])

    @property
    def seconds(self) -> float:
        """Seconds of audio left to process."""
        return sum(found.seconds for found in self.probes)

    @property
    def processes(self) -> int:
        """Number of local processes that share the work."""
        return self.workers.processes(self._work_s, self.options.threads)

    def estimate_s(self) -> float:
        """Estimate the seconds that the work will take on this machine, from a short trial of the network.

        Raises:
            CheckpointError: the model cannot be loaded.
        """
        from dccrn_cli.engine.files.estimate import estimate_s

        return estimate_s(self.probes, self.options, self.processes)

    def settled(self) -> Iterator[FileResult]:
        """Results known before any work starts: unusable inputs and files that are already done."""
        for path, reason in self.plan.unusable:
            yield FileResult(path, path, "failed", reason)
        for job in self.skipped:
            yield FileResult(job.source, job.target, "skipped", EXISTS)

    def run(
        self, interrupt: Interrupt, board: ProgressBoard | None = None, report: BatchReport | None = None
    ) -> Iterator[FileResult]:
        """Process the pending jobs and yield their results, to be added to `report`."""
        jobs = self.jobs
        if report is not None:
            jobs = [replace(job, note=report.journal.note_of(job.target)) for job in jobs]
        return enhance_batch(jobs, self._work_s, self.options, self.workers, interrupt, board)

    @property
    def _work_s(self) -> list[float]:
        return [found.work_s for found in self.probes]


def enhance_folder(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    options: EnhanceOptions | None = None,
    *,
    selection: PlanOptions | None = None,
    workers: Workers | None = None,
    report: str | os.PathLike[str] | None = None,
    on_result: Callable[[FileResult], object] | None = None,
    **changes: Any,
) -> list[FileResult]:
    """Enhance folders of recordings into a folder with the same structure; a failed file does not stop the others.

    Existing results are skipped unless `overwrite` is set, so repeating the same call resumes a stopped
    run. With several processes (`workers`), the calling script needs `if __name__ == "__main__":`, as
    always with `multiprocessing`.

    Args:
        inputs: one or more folders, files or glob patterns.
        output: folder for the results, or a file for a single one; None to write beside the originals, with
            a `name` in `selection`.
        options: how files are enhanced; None for the defaults of `EnhanceOptions`.
        selection: which files are used, and how results are named.
        workers: number of processes, or a dask cluster; None for as many processes as are worthwhile.
        report: table to write, one row per file: `.jsonl` or `.csv`.
        on_result: called with each result as it becomes available.
        changes: individual fields of `EnhanceOptions`, such as `model="dccrn-small"`.

    Returns:
        One result per file: `done`, `skipped` or `failed` with a reason.

    Raises:
        OptionError: invalid options, no audio files, or two results with the same name.
        CheckpointError: the model cannot be loaded.
        MissingDependency: dask is requested but not installed.
        StorageError: the report could not be completed; the results are unaffected.
        KeyboardInterrupt: Ctrl-C was pressed; no partial files are left.
    """
    options = (options or EnhanceOptions()).changed(changes)
    options = replace(options, model=portable_name(options.model))
    names = [os.fspath(name) for name in ([inputs] if isinstance(inputs, str | os.PathLike) else inputs)]
    plan = make_plan(names, output, selection)
    if not plan.jobs:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in plan.unusable)
        raise OptionError("no audio files found" + (f" ({reasons})" if reasons else ""))
    batch = FileBatch(plan, options, workers)
    results: list[FileResult] = []
    failure: StorageError | None = None
    with contextlib.ExitStack() as stack:
        table = None
        if report is not None:
            table = stack.enter_context(BatchReport(Path(report), batch.jobs, batch.skipped))
        interrupt = stack.enter_context(Interrupt())
        for source in (batch.settled(), batch.run(interrupt, report=table)):
            for result in source:
                results.append(result)
                try:
                    if table is not None:
                        table.add(result)
                except StorageError as error:
                    failure = error
                notify(on_result, result)
    if interrupt.requested:
        raise KeyboardInterrupt
    if failure is not None:
        raise failure
    return results
