"""Progress display of `train` and `finetune`: a live bar on a terminal, otherwise log lines."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from dccrn_cli.cli.console import duration, error_line

if TYPE_CHECKING:
    from dccrn_cli.training.train_options import Progress as State

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

    def __init__(self, steps: int, done: int, say: Callable[[str], None], console: Console | None = None) -> None:
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


def tell_unreadable(unreadable: Mapping[str, str], reported: set[str]) -> None:
    """Name unreadable clips that were not named before."""
    for clip in unreadable.keys() - reported:
        reported.add(clip)
        error_line(f"Note: {clip}: {unreadable[clip]}; skipped")
