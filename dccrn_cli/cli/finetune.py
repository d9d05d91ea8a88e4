"""`dccrn finetune`."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dccrn_cli.cli.console import INTERRUPTED, SOME_FAILED, duration, error_line, plain_errors
from dccrn_cli.cli.data_check import check_data
from dccrn_cli.cli.options import DATA, WORK, AllThreads, AsJson, CheckData, Device, Rooms, SomeClean, SomeNoise, option
from dccrn_cli.cli.train import stop_on_signal, tell_unreadable
from dccrn_cli.cli.training_progress import TrainingProgress

if TYPE_CHECKING:
    from dccrn_cli.training.finetune import Comparison, FineTuning, Scores
    from dccrn_cli.training.trainer import Trainer

RECIPE = "finetune"

DOUBTS = frozenset({"not speech"})
"""Faults of the data that speak against any model made from them, which is compared all the same."""

_NAMES = {"si_snr": "SI-SNR dB", "pesq_wb": "PESQ-WB", "stoi": "STOI"}


@plain_errors
def finetune(
    clean: SomeClean = None,
    noise: SomeNoise = None,
    pairs: Annotated[
        tuple[Path, Path] | None,
        option(
            "Recorded pairs: a folder of noisy and one of clean speech, with the same file names.",
            panel=DATA,
            metavar="NOISY CLEAN",
        ),
    ] = None,
    rooms: Rooms = None,
    output: Annotated[Path, option("The model file to write.", "-o", "--output")] = Path("finetuned.safetensors"),
    model: Annotated[str | None, option("Start from this model: bundled name or file.", show_default="dccrn")] = None,
    minutes: Annotated[float, option("How long to train, about.", panel=WORK, min=0.01)] = 10.0,
    steps: Annotated[int | None, option("Steps in place of minutes.", panel=WORK, min=1, show_default=False)] = None,
    lr: Annotated[
        float | None, option("Peak learning rate.", panel=WORK, show_default="that of the recipe finetune")
    ] = None,
    general: Annotated[
        float,
        option("Share of examples with noise that is not yours, against forgetting.", panel=WORK, min=0.0, max=0.9),
    ] = 0.3,
    seed: Annotated[int, option("Sets the examples.", panel=WORK, min=0)] = 0,
    device: Device = "auto",
    threads: AllThreads = 0,
    check: CheckData = True,
    as_json: AsJson = False,
) -> None:
    """Make a model better on your own noise, or keep the one you have.

    A fifth of the recordings is set aside. On mixtures of these, and on general noise that comes
    with dccrn, the model is compared before and after. If it is not better on your noise, or worse
    elsewhere, nothing is written and the exit code is 1. A stopped run goes on with the same command.

    Example:  dccrn finetune --clean speech/ --noise fan/ -o fan.safetensors
    """
    import torch

    from dccrn_cli.nn.checkpoint import load_checkpoint, save_model
    from dccrn_cli.nn.device import pick_device
    from dccrn_cli.nn.models import find_model
    from dccrn_cli.training.finetune import FineTuning
    from dccrn_cli.training.finetune_data import own_data
    from dccrn_cli.training.recipe import read_recipe
    from dccrn_cli.utils.locks import RunLock

    started = time.monotonic()
    say = _quiet if as_json else typer.echo
    _check_output(output)
    with RunLock(output):
        folder = output.with_name(f"{output.name}.run")
        if threads:
            torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        changes: dict[str, Any] = {"training": {"seed": seed} | ({} if lr is None else {"lr": lr})}
        recipe = read_recipe(RECIPE, changes)
        start, provenance = load_checkpoint(find_model(model))
        own = own_data(clean or [], noise or [], rooms, [pairs] if pairs else [], recipe.mixing, general, seed)
        say(own.summary)
        doubts = check_data(own.speech, own.noise, even_if=DOUBTS) if check else []
        asked = {
            "--model": model, "--general": general, "--seed": seed, "--lr": lr, "--steps": steps, "--minutes": minutes,
        }  # fmt: skip
        tuning = FineTuning(start, own, recipe, folder, pick_device(device), asked)
        say(f"Before: {_means(tuning.own_before)} on your noise; {_means(tuning.elsewhere_before)} elsewhere")
        trainer = tuning.begin(steps, minutes)
        training_s = minutes * 60 if steps is None and not tuning.begun else None
        say(_expected(time.monotonic() - started, training_s, tuning.scoring_left_s))
        _train(trainer, say)
        best, comparison = tuning.choose(trainer.average.model())
        against_standing = _against_standing(tuning, comparison, output)
        objections = doubts + comparison.objections() + against_standing
        if as_json:
            typer.echo(json.dumps(_plain(comparison, objections), indent=2))
        else:
            _print_table(comparison)
        if objections:
            for objection in objections:
                error_line(f"Refused: {objection}")
            error_line(
                f"Nothing was written; {output if against_standing else find_model(model)} stays the better model."
            )
        else:
            save_model(best, output, _provenance(provenance, start_name=model, trainer=trainer, comparison=comparison))
            say(f"Wrote {output}; use it with  dccrn enhance --model {output} …")
        say(f"Took {duration(time.monotonic() - started)} in all")
        tuning.folder.remove()
        if objections:
            raise typer.Exit(SOME_FAILED)


def _check_output(output: Path) -> None:
    """What cannot be written in the end is said before the training.

    Raises:
        OptionError: a folder, or a file that is not a model.
    """
    from dccrn_cli.errors import CheckpointError, OptionError
    from dccrn_cli.nn.checkpoint import load_checkpoint

    if output.is_dir() or not output.name:
        raise OptionError("is a folder; the name of a model file is needed", output)
    if output.exists():
        try:
            load_checkpoint(output)
        except CheckpointError as error:
            raise OptionError(f"is there and not a model ({error.message}); it is not replaced", output) from None


def _quiet(_: object) -> None:
    pass


def _expected(spent_s: float, training_s: float | None, scoring_s: float) -> str:
    """How long all of it will take, as far as that is known before the first step."""
    if training_s is None:
        return f"{duration(spent_s)} so far; after the training about {duration(scoring_s)} of scoring"
    parts = f"{duration(spent_s)} so far, {duration(training_s)} of training, about {duration(scoring_s)} of scoring"
    return f"About {duration(spent_s + training_s + scoring_s)} in all: {parts}"


def _train(trainer: Trainer, say: Callable[[str], None]) -> None:
    """Train to the end, showing how it goes.

    Raises:
        typer.Exit: stopped by a signal.
    """
    steps, told = trainer.options.steps, set[str]()
    if trainer.progress.step:
        say(f"Going on after step {trainer.progress.step:,} of {steps:,}")
    with stop_on_signal() as stopped, TrainingProgress(steps, trainer.progress.step, say) as shown:
        for progress in trainer.run(stop=lambda: bool(stopped)):
            shown.take(progress)
            tell_unreadable(trainer, told)
    if stopped:
        error_line(f"Stopped after step {trainer.progress.step:,} of {steps:,}; the same command goes on.")
        raise typer.Exit(INTERRUPTED)
    seen, loss = duration(trainer.progress.seconds_seen), trainer.progress.loss
    say(f"Trained on {seen} of audio in {steps:,} steps; loss {loss:.4f}")


def _against_standing(tuning: FineTuning, comparison: Comparison, output: Path) -> list[str]:
    """What speaks for the model that the file to write already holds."""
    from dccrn_cli.nn.checkpoint import load_checkpoint
    from dccrn_cli.training.finetune import score

    if not output.exists():
        return []
    standing = score(load_checkpoint(output)[0], tuning.own.held_out).mean["si_snr"]
    reached = comparison.own_after.mean["si_snr"]
    if reached > standing:
        return []
    return [f"{output} is better already: SI-SNR {standing:.2f} dB on your noise, against {reached:.2f} dB"]


def _means(scores: Scores) -> str:
    return ", ".join(f"{label} {scores.mean[name]:.{_digits(name)}f}" for name, label in _NAMES.items())


def _digits(name: str) -> int:
    return 2 if name == "si_snr" else 3


def _print_table(comparison: Comparison) -> None:
    """Before and after, by SNR, on the user's noise and elsewhere."""
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
    typer.echo(f"Speech without noise: SI-SNR {before_clean:.1f} → {after_clean:.1f} dB")
    typer.echo(f"{comparison.strength:.0%} of the way from the start model to the tuned one, to forget less elsewhere")


def _cells(before: dict[str, float], after: dict[str, float]) -> Iterator[str]:
    for name in _NAMES:
        old, new, digits = before[name], after[name], _digits(name)
        yield f"{old:.{digits}f} → {new:.{digits}f} ({new - old:+.{digits}f})"


def _plain(comparison: Comparison, objections: list[str]) -> dict[str, Any]:
    """The comparison for JSON."""

    def scores(each: Scores) -> dict[str, Any]:
        by_snr = {f"{snr_db:g}": figures for snr_db, figures in each.by_snr.items()}
        return {"mean": each.mean, "by_snr_db": by_snr, "clean_si_snr": each.clean}

    plain: dict[str, Any] = {
        field.name: scores(getattr(comparison, field.name))
        for field in dataclasses.fields(comparison)
        if field.name != "strength"
    }
    return {**_without_nan(plain), "strength": comparison.strength, "objections": objections}


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _provenance(
    before: dict[str, Any], *, start_name: str | None, trainer: Trainer, comparison: Comparison
) -> dict[str, Any]:
    """Where the new model comes from."""
    return {
        "started_from": Path(start_name or "dccrn").name,
        "data": f"{before.get('data', 'not stated')}; fine-tuned on data of its owner",
        "hours_seen": round(before.get("hours_seen", 0.0) + trainer.progress.seconds_seen / 3600, 2),
        "licence": f"that of the start model ({before.get('licence', 'not stated')}) and of the data tuned on",
        "training": dataclasses.asdict(trainer.options),
        "loss": trainer.loss_options.to_dict(),
        "finetuned": _plain(comparison, []),
    }
