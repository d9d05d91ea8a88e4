"""What a batch says while it runs and when it ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from dccrn_cli.audio.reader import Probe
from dccrn_cli.cli.console import count, duration, error_line, printable
from dccrn_cli.engine.files.plan import Job, Plan
from dccrn_cli.engine.files.results import EXISTS, FileResult
from dccrn_cli.errors import StorageError
from dccrn_cli.utils.csv_text import plain_data, plain_text
from dccrn_cli.utils.records import RecordWriter

_LISTED = 40
_REASONS = 10


class BatchLog:
    """Tells of results as they come: errors and notes on stderr, events on stdout, rows in a report.

    Args:
        report: table of one row per file; None for none.
        events: one JSON object per line on stdout, in place of the summary.
        quiet: errors only.
        jobs: what there is to do.
        skipped: what is done already.
    """

    def __init__(
        self, report: Path | None, events: bool, quiet: bool, jobs: Sequence[Job], skipped: Sequence[Job]
    ) -> None:
        self._events = events
        self._quiet = quiet
        self.done = Counter({"done": 0, "skipped": 0, "failed": 0})
        self.seconds = 0.0
        self.reasons: Counter[str] = Counter()
        self.busy = 0
        self.incomplete = False
        self._report = None
        if report is not None:
            redone = {plain_text(str(job.source)) for job in jobs}
            planned = redone | {plain_text(str(job.source)) for job in skipped}

            def stale(row: Mapping[str, Any]) -> bool:
                return row["source"] in redone or (row["source"] in planned and row["status"] != "done")

            self._report = RecordWriter(report, [field.name for field in fields(FileResult)], stale)

    def __enter__(self) -> BatchLog:
        return self

    def __exit__(self, *_: object) -> None:
        if self._report is not None:
            self._report.close()

    def start(self, plan: Plan, skipped: Sequence[Job], seconds: float) -> None:
        """Before the first file."""
        self._event("start", files=len(plan.jobs), skipped=len(skipped), seconds=round(seconds, 3))
        for path, reason in plan.unusable:
            self.add(FileResult(path, path, "failed", reason))
        for job in skipped:
            self.add(FileResult(job.source, job.target, "skipped", EXISTS))

    def add(self, result: FileResult) -> None:
        """A file is done, skipped or failed."""
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
        record = result.to_record()
        self._event("file", **record)
        self._note(record)

    def _note(self, record: Mapping[str, Any]) -> None:
        """The row of a file; a report that cannot be written costs no result."""
        if self._report is None or self.incomplete:
            return
        if record["status"] == "skipped" and plain_text(record["source"]) in self._report.kept:
            return
        try:
            self._report.write(record)
        except StorageError as error:
            self.incomplete = True
            error_line(f"FAILED the report is incomplete: {error}")

    def _event(self, event: str, **values: Any) -> None:
        if self._events:
            typer.echo(json.dumps(plain_data({"event": event, **values})))

    def finish(self, elapsed_s: float, ignored: int, interrupted: bool) -> None:
        """After the last file: the summary."""
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
            table.add_row(f"{skipped:,} skipped", "done already (--overwrite redoes them)")
        if self.busy:
            table.add_row(f"{self.busy:,} skipped", "another run is at work on them or has just written them")
        if self.done["failed"]:
            table.add_row(f"{self.done['failed']:,} failed", self._reasons())
        if ignored:
            table.add_row(f"{ignored:,} left alone", "not audio, or not asked for")
        if interrupted:
            table.add_row("interrupted", "the same command goes on")
        Console(highlight=False, markup=False).print(table)

    def _reasons(self) -> str:
        if self.done["failed"] <= 1:
            return "named above"
        common = [f"{number:,} × {printable(reason)}" for reason, number in self.reasons.most_common(_REASONS)]
        if len(self.reasons) > _REASONS:
            common.append(f"and {len(self.reasons) - _REASONS:,} other reasons")
        return "\n".join(common)


def show_plan(
    plan: Plan, jobs: Sequence[Job], skipped: Sequence[Job], probes: Sequence[Probe], estimate_s: float, processes: int
) -> None:
    """What would be done."""
    for job, found in list(zip(jobs, probes, strict=True))[:_LISTED]:
        length = duration(found.seconds) if found.channels else "unreadable"
        also = f" and {job.noise_target}" if job.noise_target else ""
        typer.echo(printable(f"{length:>12}  {job.source} → {job.target}{also}"))
    if len(jobs) > _LISTED:
        typer.echo(f"{'':12}  … and {len(jobs) - _LISTED:,} more (--json lists all)")
    if skipped:
        typer.echo(f"{count(len(skipped), 'file')} would be skipped: done already")
    if plan.ignored:
        typer.echo(f"{count(plan.ignored, 'file')} would be left alone: not audio, or not asked for")
    seconds = sum(found.seconds for found in probes)
    workers = f" with {count(processes, 'process').replace('processs', 'processes')}" if processes > 1 else ""
    typer.echo(
        f"{count(len(jobs), 'file')} would be enhanced: {duration(seconds)} of audio, about {duration(estimate_s)} here"
        + workers
    )


def plan_events(jobs: Sequence[Job], skipped: Sequence[Job], probes: Sequence[Probe], estimate_s: float) -> None:
    """The same as JSON lines."""
    for job, found in zip(jobs, probes, strict=True):
        noise = None if job.noise_target is None else str(job.noise_target)
        row = {"source": str(job.source), "target": str(job.target), "noise_target": noise, "action": "enhance"}
        typer.echo(json.dumps(plain_data({"event": "plan", **row, "seconds": round(found.seconds, 3)})))
    for job in skipped:
        row = {"source": str(job.source), "target": str(job.target), "noise_target": None, "action": "skip"}
        typer.echo(json.dumps(plain_data({"event": "plan", **row, "seconds": None})))
    total = {"files": len(jobs), "skipped": len(skipped), "seconds": round(sum(p.seconds for p in probes), 3)}
    typer.echo(json.dumps({"event": "total", **total, "estimated_s": round(estimate_s, 1)}))
