"""Training progress: a bar on a terminal, lines in a log."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from dccrn_cli.cli.training_progress import TrainingProgress
from dccrn_cli.training.train_options import Progress

FIGURES = {"loss": 1.0, "si_snr": 12.345, "pesq_wb": 2.082, "stoi": 0.861}


def states() -> list[Progress]:
    """Three steps of a run resumed after step 100, with a validation in the middle."""
    common: dict[str, Any] = {"lr": 3e-3, "speed": 31.2, "seconds_seen": 1600.0}
    return [Progress(step=100 + n, loss=2.5 / n, figures=FIGURES if n == 2 else None, **common) for n in (1, 2, 3)]


def test_progress_bar_on_a_terminal() -> None:
    screen = io.StringIO()
    lines: list[str] = []
    console = Console(file=screen, force_terminal=True, width=200)
    with TrainingProgress(20_000, 100, lines.append, console) as shown:
        for state in states():
            shown.take(state)
        shown._bar.refresh()
        drawn = screen.getvalue()
    for part in ("103/20,000", "loss 0.833", "lr 3.0e-03", "31.2 × real time", " left", "SI-SNR 12.35 dB", "PESQ 2.08"):
        assert part in drawn, part


def test_log_lines_appear_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("dccrn_cli.cli.training_progress.time.monotonic", lambda: now)
    lines: list[str] = []
    with TrainingProgress(203, 100, lines.append, Console(file=io.StringIO())) as shown:
        for state in states():
            now += 20.0
            shown.take(state)
    (line,) = lines  # after 40 s; the next one is not due at 60 s
    assert line.startswith("step 102 of 203  loss 1.2500  lr 3.0e-03")
    assert "33 min 40 s left" in line  # 101 steps of 20 s
