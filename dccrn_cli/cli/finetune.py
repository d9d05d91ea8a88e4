"""`dccrn finetune`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dccrn_cli.cli.console import SOME_FAILED, duration, error_line, plain_errors
from dccrn_cli.cli.data_check import tell_data
from dccrn_cli.cli.options import DATA, WORK, AllThreads, AsJson, CheckData, Device, Rooms, SomeClean, SomeNoise, option
from dccrn_cli.cli.training_progress import TrainingOutput, silent

if TYPE_CHECKING:
    from dccrn_cli.data.check import DataReport
    from dccrn_cli.training.finetune import Comparison, FineTuning, Scores
    from dccrn_cli.training.finetune_data import OwnData
    from dccrn_cli.training.train_options import Progress

_NAMES = {"si_snr": "SI-SNR dB", "pesq_wb": "PESQ-WB", "stoi": "STOI"}


@plain_errors
def finetune(
    clean: SomeClean = None,
    noise: SomeNoise = None,
    pairs: Annotated[
        tuple[Path, Path] | None,
        option(
            "Recorded pairs: a folder of noisy and a folder of clean speech with the same file names.",
            panel=DATA,
            metavar="NOISY CLEAN",
        ),
    ] = None,
    rooms: Rooms = None,
    output: Annotated[Path, option("The model file to write.", "-o", "--output")] = Path("finetuned.safetensors"),
    model: Annotated[str | None, option("Bundled model or model file to start from.", show_default="dccrn")] = None,
    minutes: Annotated[float, option("Approximate training time in minutes.", panel=WORK, min=0.01)] = 10.0,
    steps: Annotated[
        int | None, option("Number of training steps, instead of --minutes.", panel=WORK, min=1, show_default=False)
    ] = None,
    lr: Annotated[
        float | None, option("Peak learning rate.", panel=WORK, show_default="from the recipe finetune")
    ] = None,
    general: Annotated[
        float,
        option("Share of examples with general noise, to prevent forgetting.", panel=WORK, min=0.0, max=0.9),
    ] = 0.3,
    seed: Annotated[int, option("Random seed of the examples.", panel=WORK, min=0)] = 0,
    device: Device = "auto",
    threads: AllThreads = 0,
    check: CheckData = True,
    force: Annotated[bool, option("Train even if clean speech looks like noise.", "--force", panel=DATA)] = False,
    as_json: AsJson = False,
) -> None:
    """Adapt a model to your own noise, or keep the one you have.

    A fifth of the recordings is held out. The model is compared before and after, on mixtures of
    these and on general noise bundled with dccrn. If it is not better on your noise, or is worse
    elsewhere, nothing is written and the exit code is 1. Rerun the same command to resume a
    stopped run.

    Example:  dccrn finetune --clean speech/ --noise fan/ -o fan.safetensors
    """
    from dccrn_cli.training.finetune_run import FineTuneOptions
    from dccrn_cli.training.finetune_run import finetune as tune

    options = FineTuneOptions(minutes, steps, lr, general, seed, device, threads)
    with _FineTuneOutput(silent if as_json else typer.echo, None if steps else minutes * 60, force) as shown:
        result = tune(
            clean or [], noise or [], output, model, options, pairs=pairs, rooms=rooms, check=check, force=force,
            on_data=shown.found, on_check=shown.checked, on_start=shown.start, on_progress=shown.take,
        )  # fmt: skip
    if as_json:
        plain = {**result.comparison.to_dict(), "objections": list(result.objections)}
        typer.echo(json.dumps(plain, indent=2))
    else:
        _print_table(result.comparison)
    for objection in result.objections:
        error_line(f"Refused: {objection}")
    if result.written:
        shown.say(f"Wrote {output}; use it with  dccrn enhance --model {output} …")
    else:
        error_line(f"Nothing was written; {result.model} is still the better model.")
    shown.say(f"Took {duration(shown.spent_s)} in total")
    if not result.written:
        raise typer.Exit(SOME_FAILED)


class _FineTuneOutput(TrainingOutput):
    """Shows a fine-tuning.

    Args:
        say: writes a line to standard output.
        training_s: time for training, if given.
        force: whether doubtful data are used.
    """

    def __init__(self, say: Callable[[str], object], training_s: float | None, force: bool) -> None:
        super().__init__(say)
        self._training_s = training_s
        self._force = force
        self._started = time.monotonic()

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._started

    def found(self, own: OwnData) -> None:
        self.say(own.summary)

    def checked(self, report: DataReport) -> None:
        from dccrn_cli.training.finetune_run import DOUBTS

        if not self._force and any(one.kind in DOUBTS for one in report.errors):
            error_line("Note: use --force to train anyway")
        tell_data(report, but=DOUBTS if self._force else frozenset())

    def start(self, tuning: FineTuning) -> None:
        self.say(f"Before: {_means(tuning.own_before)} on your noise; {_means(tuning.elsewhere_before)} elsewhere")
        self.say(_expected(self.spent_s, None if tuning.begun else self._training_s, tuning.scoring_left_s))
        state, self._steps = tuning.trainer.progress, tuning.trainer.options.steps
        if state.step:
            self.say(f"Resuming after step {state.step:,} of {self._steps:,}")
        self.begin(tuning.trainer)
        self._finish(state)

    def take(self, state: Progress) -> None:
        super().take(state)
        self._finish(state)

    def _finish(self, state: Progress) -> None:
        """After the last step, replace the bar by a summary."""
        if state.step == self._steps:
            self.close()
            seen = duration(state.seconds_seen)
            self.say(f"Trained on {seen} of audio in {state.step:,} steps; loss {state.loss:.4f}")


def _expected(spent_s: float, training_s: float | None, scoring_s: float) -> str:
    """Estimate of the total time, as far as known before the first step."""
    if training_s is None:
        return f"{duration(spent_s)} so far; after training about {duration(scoring_s)} of scoring"
    parts = f"{duration(spent_s)} so far, {duration(training_s)} of training, about {duration(scoring_s)} of scoring"
    return f"About {duration(spent_s + training_s + scoring_s)} in total: {parts}"


def _means(scores: Scores) -> str:
    return ", ".join(f"{label} {scores.mean[name]:.{_digits(name)}f}" for name, label in _NAMES.items())


def _digits(name: str) -> int:
    return 2 if name == "si_snr" else 3


def _print_table(comparison: Comparison) -> None:
    """Print the scores before and after, by SNR, on the user's noise and elsewhere."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(f"{label} before → after" for label in _NAMES.values()), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    parts = (
        ("your noise", comparison.own_before, comparison.own_after),
        ("elsewhere", comparison.elsewhere_before, comparison.elsewhere_after),
    )
    for where, before, after in parts:
        for snr_db in before.by_snr:
            if math.isfinite(snr_db):
                label = f"{where}, {snr_db:+.0f} dB"
                table.add_row(label, *_cells(before.by_snr[snr_db], after.by_snr[snr_db]))
        table.add_row(f"{where}, all", *_cells(before.mean, after.mean), style="bold", end_section=True)
    Console(width=None if Console().is_terminal else 120).print(table)
    before_clean, after_clean = comparison.elsewhere_before.clean, comparison.elsewhere_after.clean
    typer.echo(f"Clean speech: SI-SNR {before_clean:.1f} → {after_clean:.1f} dB")
    typer.echo(f"{comparison.strength:.0%} of the way from the start model to the tuned one, to forget less elsewhere")


def _cells(before: dict[str, float], after: dict[str, float]) -> Iterator[str]:
    for name in _NAMES:
        old, new, digits = before[name], after[name], _digits(name)
        yield f"{old:.{digits}f} → {new:.{digits}f} ({new - old:+.{digits}f})"
