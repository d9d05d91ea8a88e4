"""`dccrn train`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dccrn_cli.cli.console import plain_errors
from dccrn_cli.cli.data_check import tell_data
from dccrn_cli.cli.options import DATA, WORK, AllThreads, CheckData, Clean, Device, Noise, Rooms, option
from dccrn_cli.cli.training_progress import TrainingOutput, silent
from dccrn_cli.mixing.mixing_options import Target
from dccrn_cli.training.train_options import Schedule

if TYPE_CHECKING:
    from dccrn_cli.training.train_options import Progress
    from dccrn_cli.training.trainer import Trainer
    from dccrn_cli.training.training_data import TrainingData

RECIPE = "Recipe and overrides"


def _recipe_option(help: str, *names: str, default: str = "from the recipe", **rules: Any) -> Any:
    """An option that overrides a setting of the recipe."""
    return option(help, *names, panel=RECIPE, show_default=default, **rules)


def _print_recipes(wanted: bool) -> None:
    if wanted:
        from dccrn_cli.training.recipe import read_recipe, recipe_names

        for name in recipe_names():
            typer.echo(f"{name:24} {read_recipe(name).description}")
        raise typer.Exit


@plain_errors
def train(
    clean: Clean,
    noise: Noise,
    output: Annotated[Path, option("Run folder; a run found there is resumed.", "-o", "--output")],
    rooms: Rooms = None,
    validation: Annotated[
        Path | None,
        option("Folder with noisy/ and clean/; otherwise mixtures of held-out clips.", panel=DATA, show_default=False),
    ] = None,
    recipe: Annotated[
        str | None, _recipe_option("Bundled recipe by name, or a .toml file.", default="dccrn-small")
    ] = None,
    list_recipes: Annotated[
        bool,
        option(
            "List the bundled recipes and exit.", "--list-recipes", panel=RECIPE, callback=_print_recipes, is_eager=True
        ),
    ] = False,
    preset: Annotated[
        str | None,
        _recipe_option("Network; `dccrn models --presets` lists them.", default="from --recipe or --init"),
    ] = None,
    init: Annotated[
        str | None,
        _recipe_option(
            "Bundled model or model file to start from. "
            "A wider or deeper network initially computes the same function.",
            default="random weights",
        ),
    ] = None,
    steps: Annotated[int | None, _recipe_option("Total number of steps.", min=1)] = None,
    batch: Annotated[int | None, _recipe_option("Examples per step.", min=1)] = None,
    seconds: Annotated[float | None, _recipe_option("Length of an example in seconds.", min=0.5)] = None,
    target: Annotated[
        Target | None, _recipe_option("Reverberation kept in the target: none (dry), early reflections, or all.")
    ] = None,
    lr: Annotated[float | None, _recipe_option("Peak learning rate.")] = None,
    schedule: Annotated[
        Schedule | None, _recipe_option("Halve the learning rate when validation stalls, or let it follow a cosine.")
    ] = None,
    patience: Annotated[int | None, _recipe_option("Validations without improvement before halving.", min=1)] = None,
    early_stop: Annotated[
        int | None, _recipe_option("Validations without improvement before stopping; 0 for never.", min=0)
    ] = None,
    validate_every: Annotated[int | None, _recipe_option("Steps between validations.", min=1)] = None,
    bf16: Annotated[bool | None, _recipe_option("Precision of the network's arithmetic.", "--bf16/--fp32")] = None,
    seed: Annotated[int | None, _recipe_option("Random seed of initial weights and data.", min=0)] = None,
    settings: Annotated[
        list[str] | None,
        _recipe_option(
            "Any other setting, such as loss.pesq=0.1 or mixing.reverb=0; may be repeated.",
            "--set",
            metavar="TABLE.NAME=VALUE",
        ),
    ] = None,
    check: CheckData = True,
    tensorboard: Annotated[
        bool,
        option("Log figures, audio and spectrograms for TensorBoard in the run folder.", "--tensorboard", panel=WORK),
    ] = False,
    device: Device = "auto",
    threads: AllThreads = 0,
    workers: Annotated[
        int, option("Processes that mix examples; 0 for a thread, which suffices on a CPU.", panel=WORK, min=0)
    ] = 0,
) -> None:
    """Train a network on speech and noise, mixed on the fly.

    The run folder contains best.safetensors (usable at any time with `dccrn enhance --model`),
    last.pt, log.jsonl and recipe.toml. Rerun the same command to resume a run that was stopped,
    by Ctrl-C or otherwise; it ends with the same weights. On several devices:
    `torchrun --nproc-per-node 2 -m dccrn_cli train …`.
    """
    from dccrn_cli.training.training_run import train as fit

    changes: dict[str, Any] = {
        "mixing": {"seconds": seconds, "target": target},
        "training": {
            "steps": steps, "batch": batch, "lr": lr, "schedule": schedule, "patience": patience,
            "early_stop": early_stop, "validate_every": validate_every, "bf16": bf16, "seed": seed,
        },
    }  # fmt: skip
    with _TrainOutput(typer.echo) as shown:
        result = fit(
            clean, noise, output, recipe, rooms=rooms, validation=validation, init=init,
            changes=_changes(changes, preset, settings), device=device, threads=threads, workers=workers,
            check=check, tensorboard=tensorboard,
            on_data=shown.found, on_check=tell_data, on_start=shown.start, on_progress=shown.take,
        )  # fmt: skip
    figures = _figures_line(result.figures) if result.figures else "no validation yet"
    shown.say(f"Best: {figures}; {result.model}")
    if shown.trainer is not None and shown.trainer.team.size > 1:
        # Connection threads sometimes abort a process that exits normally.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _changes(changes: dict[str, Any], preset: str | None, settings: list[str] | None) -> dict[str, Any]:
    """Overrides of the recipe from the command line."""
    from dccrn_cli.training.recipe import parse_setting

    given = {
        table: {name: value for name, value in values.items() if value is not None} for table, values in changes.items()
    }
    for setting in settings or []:
        table, name, value = parse_setting(setting)
        given.setdefault(table, {})[name] = value
    return given if preset is None else {**given, "preset": preset}


class _TrainOutput(TrainingOutput):
    """Shows a run; only the leading one of several processes prints."""

    def found(self, data: TrainingData) -> None:
        mixer = data.mixer
        self.say(f"{len(mixer.speech.clips):,} speech clips, {len(mixer.noise.clips):,} noise clips")

    def start(self, trainer: Trainer) -> None:
        from dccrn_cli.nn.cost import count_parameters

        if not trainer.team.leads:
            self.say = silent
        step = trainer.progress.step
        self.say(
            f"{count_parameters(trainer.model) / 1e6:.2f} M parameters; {len(trainer.pairs)} validation pairs"
            + (f"; resuming after step {step:,}" if step else "")
        )
        self.begin(trainer)

    def take(self, state: Progress) -> None:
        super().take(state)
        if state.figures:
            self.say(f"step {state.step:,}  validation  {_figures_line(state.figures)}")


def _figures_line(figures: Mapping[str, float]) -> str:
    """Format figures: `loss: -0.31, si_snr: 13.2, …`."""
    return ", ".join(f"{name}: {round(value, 4)}" for name, value in figures.items())
