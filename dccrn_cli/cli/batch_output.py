"""Output of a batch while it runs and when it ends."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, count, duration, error_line, printable
from dccrn_cli.cli.listen import batch_page
from dccrn_cli.cli.progress import BatchProgress
from dccrn_cli.engine.files.folder import FileBatch
from dccrn_cli.engine.files.report import BatchReport
from dccrn_cli.engine.files.results import EXISTS, FileResult
from dccrn_cli.errors import StorageError
from dccrn_cli.utils.csv_text import plain_data
from dccrn_cli.utils.interrupt import Interrupt

_LISTED = 40
_REASONS = 10


def show_dry_run(batch: FileBatch, as_json: bool) -> None:
    """Show what would be done, and how long it would take."""
    seconds = batch.estimate_s()
    for path, reason in batch.plan.unusable:
        error_line(f"FAILED {path}: {reason}")
    if as_json:
        _plan_events(batch, seconds)
    else:
        _show_plan(batch, seconds)


def run_batch(batch: FileBatch, report: Path | None, as_json: bool, quiet: bool, listen: Path | None = None) -> None:
    """Run the batch and report on it; then write the listening page, if requested.

    Raises:
        typer.Exit: interrupted, or some files failed.
    """
    with BatchLog(batch, report, as_json, quiet) as log, Interrupt() as interrupt:
        log.start()
        with BatchProgress(len(batch.jobs), batch.seconds, enabled=not (quiet or as_json)) as progress:
            for result in batch.run(interrupt, progress.board, log.report):
                log.add(result)
                progress.finish(result.source)
        log.finish(progress.elapsed_s, interrupt.requested)
    if interrupt.requested:
        raise typer.Exit(INTERRUPTED)
    if listen is not None:
        batch_page(batch, listen, quiet or as_json)
    if log.done["failed"] or log.incomplete:
        raise typer.Exit(SOME_FAILED)


class BatchLog:
    """Reports results as they arrive: errors and notes on stderr, events on stdout, rows in a report.

    Args:
        batch: the batch.
        report: table with one row per file; None for none.
        events: print one JSON object per line on stdout instead of the summary.
        quiet: print errors only.

    Attributes:
        report: the open report.
    """

    def __init__(self, batch: FileBatch, report: Path | None, events: bool, quiet: bool) -> None:
        self._batch = batch
        self._events = events
        self._quiet = quiet
        self.done = Counter({"done": 0, "skipped": 0, "failed": 0})
        self.seconds = 0.0
        self.reasons: Counter[str] = Counter()
        self.busy = 0
        self.report = None if report is None else BatchReport(report, batch.jobs, batch.skipped)

    def __enter__(self) -> BatchLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.report is not None:
            self.report.__exit__(kind, error, trace)

    @property
    def incomplete(self) -> bool:
        """Whether the report could not be completed."""
        return self.report is not None and self.report.incomplete

    def start(self) -> None:
        """Report the start of the batch."""
        batch = self._batch
        files, skipped, seconds = len(batch.plan.jobs), len(batch.skipped), round(batch.seconds, 3)
        self._event("start", files=files, skipped=skipped, seconds=seconds)
        for result in batch.settled():
            self.add(result)

    def add(self, result: FileResult) -> None:
        """Report a file that is done, skipped or failed."""
        self.done[result.status] += 1
        if result.status == "done":
            self.seconds += result.seconds
        elif result.status == "skipped" and result.reason != EXISTS:
            self.busy += 1
        elif result.status == "failed":
            self.reasons[result.reason] += 1
            error_line(f"FAILED {result.source}: {result.reason}")
        for note in () if self._quiet else result.notes:
            error_line(f"Note: {result.source}: {note}")
        self._event("file", **result.to_record())
        if self.report is not None:
            try:
                self.report.add(result)
            except StorageError as error:  # the results are unaffected
                error_line(f"FAILED the report is incomplete: {error}")

    def _event(self, event: str, **values: Any) -> None:
        if self._events:
            typer.echo(json.dumps(plain_data({"event": event, **values})))

    def finish(self, elapsed_s: float, interrupted: bool) -> None:
        """Print the summary after the last file."""
        self._event("end", **self.done, seconds=round(self.seconds, 3), elapsed_s=round(elapsed_s, 3),
                    interrupted=interrupted)  # fmt: skip
        if self._events or self._quiet:
            return
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        if self.done["done"] or not self.done["skipped"]:
            speed = f", {self.seconds / elapsed_s:.0f} × real time" if self.seconds and elapsed_s else ""
            audio = f"{duration(self.seconds)} of audio in {duration(elapsed_s)}{speed}"
            table.add_row(f"{count(self.done['done'], 'file')} enhanced", audio)
        if skipped := self.done["skipped"] - self.busy:
            table.add_row(f"{skipped:,} skipped", "already done (use --overwrite to redo them)")
        if self.busy:
            table.add_row(f"{self.busy:,} skipped", "in progress in another run, or just written by it")
        if self.done["failed"]:
            table.add_row(f"{self.done['failed']:,} failed", self._reasons())
        if ignored := self._batch.plan.ignored:
            table.add_row(f"{ignored:,} ignored", "not audio, or not selected")
        if interrupted:
            table.add_row("interrupted", "rerun the same command to resume")
        Console(highlight=False, markup=False).print(table)

    def _reasons(self) -> str:
        if self.done["failed"] <= 1:
            return "listed above"
        common = [f"{number:,} × {printable(reason)}" for reason, number in self.reasons.most_common(_REASONS)]
        if len(self.reasons) > _REASONS:
            common.append(f"and {len(self.reasons) - _REASONS:,} other reasons")
        return "\n".join(common)


def _show_plan(batch: FileBatch, estimate_s: float) -> None:
    """Print what would be done."""
    jobs, skipped, ignored, processes = batch.jobs, batch.skipped, batch.plan.ignored, batch.processes
    for job, found in list(zip(jobs, batch.probes, strict=True))[:_LISTED]:
        length = duration(found.seconds) if found.channels else "unreadable"
        also = f" and {job.noise_target}" if job.noise_target else ""
        typer.echo(printable(f"{length:>12}  {job.source} → {job.target}{also}"))
    if len(jobs) > _LISTED:
        typer.echo(f"{'':12}  … and {len(jobs) - _LISTED:,} more (--json lists all)")
    if skipped:
        typer.echo(f"{count(len(skipped), 'file')} would be skipped: already done")
    if ignored:
        typer.echo(f"{count(ignored, 'file')} would be ignored: not audio, or not selected")
    seconds, workers = duration(batch.seconds), f" with {processes:,} processes" if processes > 1 else ""
    typer.echo(
        f"{count(len(jobs), 'file')} would be enhanced: {seconds} of audio, about {duration(estimate_s)} here{workers}"
    )


def _plan_events(batch: FileBatch, estimate_s: float) -> None:
    """Print what would be done as JSON Lines."""
    for job, found in zip(batch.jobs, batch.probes, strict=True):
        noise = None if job.noise_target is None else str(job.noise_target)
        row = {"source": str(job.source), "target": str(job.target), "noise_target": noise, "action": "enhance"}
        typer.echo(json.dumps(plain_data({"event": "plan", **row, "seconds": round(found.seconds, 3)})))
    for job in batch.skipped:
        row = {"source": str(job.source), "target": str(job.target), "noise_target": None, "action": "skip"}
        typer.echo(json.dumps(plain_data({"event": "plan", **row, "seconds": None})))
    total = {"files": len(batch.jobs), "skipped": len(batch.skipped), "seconds": round(batch.seconds, 3)}
    typer.echo(json.dumps({"event": "total", **total, "estimated_s": round(estimate_s, 1)}))
