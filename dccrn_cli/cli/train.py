"""`dccrn train`."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dccrn_cli.cli.console import INTERRUPTED, error_line, plain_errors
from dccrn_cli.cli.data_check import check_data
from dccrn_cli.cli.options import DATA, WORK, AllThreads, CheckData, Clean, Device, Noise, Rooms, option
from dccrn_cli.cli.training_progress import TrainingProgress
from dccrn_cli.mixing.mixing_options import Target
from dccrn_cli.training.train_options import Schedule

if TYPE_CHECKING:
    from dccrn_cli.nn.network import SpectralNetwork
    from dccrn_cli.training.recipe import TrainingRecipe
    from dccrn_cli.training.trainer import Trainer

RECIPE = "Recipe, and changes to it"


def _recipe_option(help: str, *names: str, default: str = "that of the recipe", **rules: Any) -> Any:
    """An option that stands in for a setting of the recipe."""
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
    output: Annotated[Path, option("Folder of the run; a run found there goes on.", "-o", "--output")],
    rooms: Rooms = None,
    validation: Annotated[
        Path | None,
        option(
            "Folder with noisy/ and clean/; else mixtures of clips that are set aside.", panel=DATA, show_default=False
        ),
    ] = None,
    recipe: Annotated[
        str | None, _recipe_option("A recipe of the package by name, or a .toml file.", default="dccrn-small")
    ] = None,
    list_recipes: Annotated[
        bool, option("List them and exit.", "--list-recipes", panel=RECIPE, callback=_print_recipes, is_eager=True)
    ] = False,
    preset: Annotated[
        str | None,
        _recipe_option(
            "SpectralNetwork: any that `dccrn models --presets` lists.", default="that of --recipe or --init"
        ),
    ] = None,
    init: Annotated[
        str | None,
        _recipe_option(
            "Start from this model: bundled name or file. A wider or deeper network starts as the same function.",
            default="from nothing",
        ),
    ] = None,
    steps: Annotated[int | None, _recipe_option("Steps in all.", min=1)] = None,
    batch: Annotated[int | None, _recipe_option("Examples per step.", min=1)] = None,
    seconds: Annotated[float | None, _recipe_option("Length of an example.", min=0.5)] = None,
    target: Annotated[
        Target | None, _recipe_option("What of a room stays: nothing, its early reflections, or all.")
    ] = None,
    lr: Annotated[float | None, _recipe_option("Peak learning rate.")] = None,
    schedule: Annotated[
        Schedule | None, _recipe_option("Halve the rate when validation stalls, or let it fall along a cosine.")
    ] = None,
    patience: Annotated[int | None, _recipe_option("Validations without progress before a halving.", min=1)] = None,
    early_stop: Annotated[
        int | None, _recipe_option("Validations without progress before the end; 0 for never.", min=0)
    ] = None,
    validate_every: Annotated[int | None, _recipe_option("Steps between validations.", min=1)] = None,
    bf16: Annotated[bool | None, _recipe_option("Precision of the network's arithmetic.", "--bf16/--fp32")] = None,
    seed: Annotated[int | None, _recipe_option("Sets initial weights and data.", min=0)] = None,
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
        option(
            "Log figures, sound and spectrograms for TensorBoard into the run's folder.", "--tensorboard", panel=WORK
        ),
    ] = False,
    device: Device = "auto",
    threads: AllThreads = 0,
    workers: Annotated[
        int, option("Processes that mix examples; 0 for a thread, enough for a CPU.", panel=WORK, min=0)
    ] = 0,
) -> None:
    """Train a network on speech and noise, mixed anew for every step.

    The run's folder holds best.safetensors (usable at once: `dccrn enhance --model`), last.pt,
    log.jsonl and recipe.toml. A run that was stopped, by Ctrl-C or any other way, goes on with
    the same command, to the same weights. On several devices:
    `torchrun --nproc-per-node 2 -m dccrn_cli train …`.
    """
    import torch

    from dccrn_cli.nn.device import pick_device
    from dccrn_cli.training.distributed import assemble
    from dccrn_cli.training.recipe import DEFAULT_RECIPE, network_settings, read_recipe
    from dccrn_cli.training.run_folder import LAST
    from dccrn_cli.training.trainer import Trainer
    from dccrn_cli.training.training_data import find_data
    from dccrn_cli.utils.locks import RunLock

    changes: dict[str, Any] = {
        "mixing": {"seconds": seconds, "target": target},
        "training": {
            "steps": steps, "batch": batch, "lr": lr, "schedule": schedule, "patience": patience,
            "early_stop": early_stop, "validate_every": validate_every, "bf16": bf16, "seed": seed,
        },
    }  # fmt: skip
    start = None if init is None else _start(init)
    given = _changes(changes, preset, settings)
    if start and not (recipe or preset):
        alike = network_settings(start[0].config)
        given |= {"preset": alike["preset"], "network": alike["network"] | given.get("network", {})}
    chosen = read_recipe(recipe or DEFAULT_RECIPE, given)
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(chosen.training.seed)
    with assemble(pick_device(device)) as team, RunLock(output, inside=True) if team.leads else nullcontext():
        processes = team.size * max(workers, 1)
        data = find_data(clean, noise, rooms, validation, chosen.mixing, chosen.training.seed, processes)
        model, provenance = _network(chosen, start)
        trainer = Trainer(
            model, data.mixer, data.pairs, output, chosen.training, chosen.loss,
            team=team, provenance=provenance, workers=workers,
        )  # fmt: skip
        if team.leads:
            speech, noises = data.mixer.speech.clips, data.mixer.noise.clips
            typer.echo(f"{len(speech):,} clips of speech, {len(noises):,} of noise")
            if check and not (output / LAST).exists():
                check_data(speech, noises)
        _run(trainer, chosen, tensorboard=tensorboard)
    if team.size > 1:
        # Threads of the connections at times abort a process that leaves in the usual way.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _changes(changes: dict[str, Any], preset: str | None, settings: list[str] | None) -> dict[str, Any]:
    """What the command line says in place of the recipe."""
    from dccrn_cli.training.recipe import parse_setting

    given = {
        table: {name: value for name, value in values.items() if value is not None} for table, values in changes.items()
    }
    for setting in settings or []:
        table, name, value = parse_setting(setting)
        given.setdefault(table, {})[name] = value
    return given if preset is None else {**given, "preset": preset}


def _start(init: str) -> tuple[SpectralNetwork, dict[str, Any]]:
    """The model to start from, and what is kept of its provenance."""
    from dccrn_cli.nn.checkpoint import load_checkpoint
    from dccrn_cli.nn.models import find_model

    model, before = load_checkpoint(find_model(init))
    return model, {"started_from": Path(init).name, "hours_seen": before.get("hours_seen", 0.0)}


def _network(
    recipe: TrainingRecipe, start: tuple[SpectralNetwork, dict[str, Any]] | None
) -> tuple[SpectralNetwork, dict[str, Any]]:
    """The network to train, and what is known of where it comes from."""
    from dccrn_cli.nn.build import build_network
    from dccrn_cli.nn.net2net import widen

    if start is None:
        return build_network(recipe.config()), {"recipe": recipe.name, "preset": recipe.preset}
    model, provenance = start
    if (config := recipe.config()) != model.config:
        model = widen(model, config)
    return model, {"recipe": recipe.name, **provenance}


def _run(trainer: Trainer, recipe: TrainingRecipe, *, tensorboard: bool) -> None:
    """Train to the end or to the first signal, telling how it goes."""
    from dccrn_cli.nn.cost import count_parameters

    resumed = trainer.resume()
    board = None
    if tensorboard and trainer.team.leads:
        from dccrn_cli.training.tensorboard_log import Board

        board = Board(trainer)
    if trainer.team.leads:
        trainer.folder.keep_recipe(recipe.to_toml())
    told = set[str]()

    def say(line: str) -> None:
        if trainer.team.leads:
            typer.echo(line)

    say(
        f"{count_parameters(trainer.model) / 1e6:.2f} M parameters; {len(trainer.pairs)} validation pairs"
        + (f"; going on after step {trainer.progress.step:,}" if resumed else "")
    )
    console = Console(stderr=True) if trainer.team.leads else Console(file=io.StringIO())
    shown = TrainingProgress(trainer.options.steps, trainer.progress.step, say, console)
    with stop_on_signal() as stopped, shown:
        for progress in trainer.run(stop=lambda: bool(stopped)):
            shown.take(progress)
            if progress.figures:
                say(f"step {progress.step:,}  validation  {figures_line(progress.figures)}")
            if board:
                board.take(progress)
            tell_unreadable(trainer, told)
    if stopped:
        say(f"Stopped after step {trainer.progress.step:,}; the same command goes on.")
        raise typer.Exit(INTERRUPTED)
    best = trainer.progress.best
    say(f"Best: {figures_line(best) if best else 'not validated yet'}; {trainer.folder.best}")


def tell_unreadable(trainer: Trainer, told: set[str]) -> None:
    """Name the clips that could not be read and were not named before."""
    for clip in trainer.unreadable.keys() - told:
        told.add(clip)
        error_line(f"Note: {clip}: {trainer.unreadable[clip]}; left out")


@contextmanager
def stop_on_signal() -> Iterator[list[int]]:
    """A list that fills on Ctrl-C or a termination signal; a second one ends the process at once."""
    received: list[int] = []

    def note(number: int, _: object) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def figures_line(figures: dict[str, float]) -> str:
    """`loss: -0.31, si_snr: 13.2, …`."""
    return ", ".join(f"{name}: {round(value, 4)}" for name, value in figures.items())
