"""Runs training on the data, recipe and network given by a user, in a folder from which it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from dccrn_cli.data.check import DataReport, check_clips
from dccrn_cli.nn.build import build_network
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.device import pick_device
from dccrn_cli.nn.models import find_model
from dccrn_cli.nn.net2net import widen
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.training.distributed import Team, assemble
from dccrn_cli.training.recipe import DEFAULT_RECIPE, TrainingRecipe, network_settings, read_recipe
from dccrn_cli.training.train_options import Progress
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.training.training_data import TrainingData, find_data
from dccrn_cli.utils.callbacks import notify
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.paths import Paths, as_paths, exists

Start = tuple[SpectralNetwork, dict[str, Any]]
"""An initial model, and the part of its provenance that is kept."""


@dataclass(frozen=True)
class TrainResult:
    """Result of training.

    Attributes:
        model: file of the best model.
        steps: total number of steps done.
        figures: figures of the best validation; empty before the first one.
    """

    model: Path
    steps: int
    figures: Mapping[str, float]


def train(
    clean: Paths,
    noise: Paths,
    output: str | PathLike[str],
    recipe: str | PathLike[str] | None = None,
    *,
    rooms: Paths | None = None,
    validation: str | PathLike[str] | None = None,
    init: str | PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    threads: int = 0,
    workers: int = 0,
    check: bool = True,
    tensorboard: bool = False,
    on_data: Callable[[TrainingData], object] | None = None,
    on_check: Callable[[DataReport], object] | None = None,
    on_start: Callable[[Trainer], object] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> TrainResult:
    """Train a network on speech and noise that are mixed on the fly.

    Repeating a stopped call resumes it and ends in the same weights.

    Args:
        clean, noise: one or more folders, `.tar` archives, lists or files.
        output: run folder.
        recipe: name of a bundled recipe, or a `.toml` file; None for the default, or for the network of
            `init`.
        rooms: measured room impulse responses, used in addition to simulated ones.
        validation: folder with `noisy/` and `clean/`; None for mixtures of held-out clips.
        init: bundled model or model file to start from; its weights are copied into a wider network.
        changes: settings that override the recipe's, by table: `{"training": {"steps": 2000}}`.
        device: "cpu", "cuda", "cuda:1" or "mps"; "auto" for CUDA if available, otherwise the CPU.
        threads: CPU threads; 0 for one per core.
        workers: processes that mix examples; 0 for a thread.
        check: check the data first, unless a run is resumed.
        tensorboard: write TensorBoard logs to the folder.
        on_data, on_check: called once, by the leading process only, when the data have been found, and with the
            result of the check.
        on_start: called once, before the first step; a run was resumed if its `progress.step` is not 0.
        on_progress: called after each step.

    Raises:
        CheckpointError: `init` or the state of the run cannot be loaded.
        DataError: there is no audio, the data are unusable, or the loss is not finite.
        KeyboardInterrupt: Ctrl-C was pressed; the state has been saved.
        MissingDependency: tensorboard is not installed.
        OptionError: no such recipe, an invalid setting, or a run started with other options.
        StorageError: the folder cannot be written, or another process is training in it.
    """
    start = None if init is None else _start(init)
    chosen = _recipe(recipe, dict(changes or {}), start)
    with cpu_threads(threads), assemble(pick_device(device)) as team, _lock(Path(output), team):
        team.check_same("options", chosen.to_toml())
        torch.manual_seed(chosen.training.seed)
        data = find_data(
            as_paths(clean), as_paths(noise), as_paths(rooms), None if validation is None else Path(validation),
            chosen.mixing, chosen.training.seed, processes=team.size * max(workers, 1),
        )  # fmt: skip
        team.check_same("recordings", data.names())
        model, provenance = _network(chosen, start)
        trainer = Trainer(
            model, data.mixer, data.pairs, Path(output), chosen.training, chosen.loss,
            team=team, provenance=provenance, workers=workers,
        )  # fmt: skip
        if team.leads:
            notify(on_data, data)
            if check and not exists(trainer.folder.last):
                report = check_clips(data.mixer.speech.clips, data.mixer.noise.clips)
                notify(on_check, report)
                report.raise_errors()
        trainer.resume()
        board = _board(trainer) if tensorboard and team.leads else None
        if team.leads:
            trainer.folder.keep_recipe(chosen.to_toml())
        notify(on_start, trainer)
        with Interrupt() as interrupt:
            for progress in trainer.run(lambda: interrupt.requested):
                notify(board, progress)
                notify(on_progress, progress)
            stopped = team.any(interrupt.requested)
    if stopped:
        raise KeyboardInterrupt
    return TrainResult(trainer.folder.best, trainer.progress.step, dict(trainer.progress.best or {}))


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Context that sets torch's number of threads (0 leaves it unchanged) and flushes denormals to zero."""
    before = torch.get_num_threads()
    torch.set_flush_denormal(True)
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _lock(folder: Path, team: Team) -> Iterator[None]:
    with RunLock(folder, inside=True) if team.leads else nullcontext():
        yield


def _recipe(recipe: str | PathLike[str] | None, changes: dict[str, Any], start: Start | None) -> TrainingRecipe:
    """The recipe with changes; without one, the default recipe with the initial model's network."""
    if start and not (recipe or changes.get("preset")):
        alike = network_settings(start[0].config)
        changes |= {"preset": alike["preset"], "network": alike["network"] | changes.get("network", {})}
    return read_recipe(recipe or DEFAULT_RECIPE, changes)


def _board(trainer: Trainer) -> Callable[[Progress], None]:
    from dccrn_cli.training.tensorboard_log import Board

    return Board(trainer).take


def _start(init: str | PathLike[str]) -> Start:
    model, before = load_checkpoint(find_model(init))
    return model, {"started_from": Path(init).name, "hours_seen": before.get("hours_seen", 0.0)}


def _network(recipe: TrainingRecipe, start: Start | None) -> Start:
    """The network to train, and its provenance."""
    if start is None:
        return build_network(recipe.config()), {"recipe": recipe.name, "preset": recipe.preset}
    model, provenance = start
    if (config := recipe.config()) != model.config:
        model = widen(model, config)
    return model, {"recipe": recipe.name, **provenance}
