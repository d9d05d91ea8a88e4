"""Progress display of `train` and `finetune`: a live bar on a terminal, otherwise log lines."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from dccrn_cli.cli.console import INTERRUPTED, duration, error_line

if TYPE_CHECKING:
    from dccrn_cli.training.train_options import Progress as State
    from dccrn_cli.training.trainer import Trainer

LINE_EVERY_S = 30.0

_SHOWN = {"si_snr": "SI-SNR {:.2f} dB", "pesq_wb": "PESQ {:.2f}", "stoi": "STOI {:.3f}"}
"""Validation figures shown in the bar."""


class TrainingProgress:
    """Shows the progress of a run.

    Args:
        steps: total number of steps.
        done: number of steps done before.
        say: writes a line every `LINE_EVERY_S` if standard output is not a terminal or there is no bar.
        console: console of the bar; standard error by default.
    """

    def __init__(self, steps: int, done: int, say: Callable[[str], object], console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._steps = steps
        self._begun_at = done
        self._say = say if not (console.is_terminal and sys.stdout.isatty()) else None
        self._started = self._line_at = time.monotonic()
        self._validation = ""
        columns = (
            BarColumn(bar_width=20),
            *(
                TextColumn(f"{{task.fields[{name}]}}", table_column=Column(no_wrap=True))
                for name in ("done", "left", "loss", "rate", "speed", "validation")
            ),
        )
        fields: dict[str, Any] = dict.fromkeys(("left", "loss", "rate", "speed", "validation"), "")
        self._bar = Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            redirect_stdout=sys.stdout.isatty(),  # lines for a file must not go to the bar's console
        )
        self._task = self._bar.add_task("", total=steps, completed=done, done=f"{done:,}/{steps:,}", **fields)

    def __enter__(self) -> TrainingProgress:
        self._started = self._line_at = time.monotonic()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def left_s(self, step: int) -> float:
        """Seconds to the last step at the present pace; NaN before the first step."""
        if step == self._begun_at:
            return math.nan
        return (self._steps - step) * (time.monotonic() - self._started) / (step - self._begun_at)

    def take(self, state: State) -> None:
        """Show a state."""
        if state.figures:
            figures = (text.format(state.figures[name]) for name, text in _SHOWN.items() if name in state.figures)
            self._validation = ", ".join(figures)
        if not self._bar.disable:
            self._bar.update(
                self._task,
                completed=state.step,
                done=f"{state.step:,}/{self._steps:,}",
                left=f"{duration(self.left_s(state.step))} left",
                loss=f"loss {state.loss:.3f}",
                rate=f"lr {state.lr:.1e}",
                speed=f"{state.speed:.1f} × real time",
                validation=self._validation,
            )
        if self._say and time.monotonic() - self._line_at >= LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._say(self.line(state))

    def line(self, state: State) -> str:
        """Format a state as one line."""
        skipped = f"  {state.skipped} steps skipped" if state.skipped else ""
        return (
            f"step {state.step:,} of {self._steps:,}  loss {state.loss:.4f}  lr {state.lr:.1e}  "
            f"{duration(state.seconds_seen)} seen  {state.speed:.1f} × real time  "
            f"{duration(self.left_s(state.step))} left{skipped}"
        )


class TrainingOutput(ExitStack):
    """Shows a run of `train` or `finetune`; on exit also that it was stopped.

    Args:
        say: writes a line to standard output.

    Attributes:
        trainer: the run, once it has begun.
    """

    trainer: Trainer | None = None

    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__()
        self.say = say
        self._reported: set[str] = set()

    def begin(self, trainer: Trainer) -> None:
        """Show the bar, except in processes that do not lead."""
        self.trainer = trainer
        console = Console(stderr=True) if trainer.team.leads else Console(file=io.StringIO())
        self._shown = TrainingProgress(trainer.options.steps, trainer.progress.step, self.say, console)
        self.enter_context(self._shown)

    def take(self, state: State) -> None:
        """Show a state, and name unreadable clips that were not named before."""
        assert self.trainer is not None
        self._shown.take(state)
        for clip in self.trainer.unreadable.keys() - self._reported:
            self._reported.add(clip)
            error_line(f"Note: {clip}: {self.trainer.unreadable[clip]}; skipped")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self.trainer is not None and isinstance(error, KeyboardInterrupt):
            if self.trainer.team.leads:
                step, steps = self.trainer.progress.step, self.trainer.options.steps
                error_line(f"Stopped after step {step:,} of {steps:,}; rerun the same command to resume.")
            raise typer.Exit(INTERRUPTED)


def silent(_: object) -> None:
    """Says nothing."""
