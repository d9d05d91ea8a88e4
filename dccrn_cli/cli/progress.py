"""The progress bar of a batch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dccrn_cli.cli.console import count, duration, printable
from dccrn_cli.engine.files.shared_progress import ProgressBoard

_MAX_NAME = 40


class BatchProgress:
    """Progress bar in seconds of audio with speed, time left and the last file; hidden without a terminal.

    Args:
        files: number of files.
        total_s: seconds of audio in all of them.
        enabled: show the bar if stderr is a terminal.

    Attributes:
        board: receives progress from processes; None without a bar.
    """

    def __init__(self, files: int, total_s: float, enabled: bool) -> None:
        self._files = files
        self._total_s = total_s
        self._done = 0
        self._name = ""
        self._started = time.monotonic()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._bar: _Bar | None = None
        self.board: ProgressBoard | None = None
        console = Console(stderr=True)
        if enabled and console.is_terminal and files:
            try:
                self._folder = tempfile.TemporaryDirectory(prefix="dccrn-", ignore_cleanup_errors=True)
                self.board = ProgressBoard(Path(self._folder.name) / "progress", files, create=True)
            except OSError:  # the disk for temporary files is full: continue without a bar
                return
            self._bar = _Bar(self, console)

    @property
    def elapsed_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    def finish(self, source: Path) -> None:
        """Count a file that is done, skipped or failed."""
        self._done += 1
        name = printable(source.name)
        self._name = name if len(name) <= _MAX_NAME else f"…{name[1 - _MAX_NAME :]}"

    def shown(self) -> dict[str, str | float]:
        """State to show in the bar."""
        assert self.board is not None
        done_s = self.board.total_s
        return {
            "completed": done_s,
            "total": max(self._total_s, done_s, 1e-3),
            "audio": f"{duration(done_s)} of {duration(self._total_s)}",
            "files": f"{self._done:,}/{count(self._files, 'file')}",
            "speed": f"{done_s / self.elapsed_s:.0f} × real time" if done_s else "starting",
            "name": self._name,
        }

    def __enter__(self) -> BatchProgress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._folder is not None:
            self._folder.cleanup()


class _Bar(Progress):
    """A bar that queries the state whenever it is drawn, since other processes change it."""

    def __init__(self, state: BatchProgress, console: Console) -> None:
        self._state = state
        super().__init__(
            BarColumn(bar_width=24),
            TextColumn("{task.fields[audio]}  {task.fields[files]}  {task.fields[speed]}  left"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[name]}", markup=False, style="dim"),
            console=console,
            transient=True,
        )
        self._task = self.add_task("", **self._state.shown())  # type: ignore[arg-type]

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.tasks:
            self.update(self._task, **self._state.shown())  # type: ignore[arg-type]
        yield from super().get_renderables()


@contextmanager
def file_bar(total: int, enabled: bool) -> Iterator[Callable[[], None]]:
    """A plain bar that counts files, on stderr if that is a terminal; yields a function to advance it."""
    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True, disable=not (enabled and console.is_terminal)) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
