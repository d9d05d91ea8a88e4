"""Runs training on the data, recipe and network given by a user, in a folder from which it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.paths import Paths, as_paths, exists

if TYPE_CHECKING:
    from dccrn_cli.training.tensorboard_log import Board

Start = tuple[SpectralNetwork, dict[str, Any]]
"""An initial model, and the part of its provenance that is kept."""


class TrainingRun:
    """A run in its folder, resumed if it was stopped.

    Attributes:
        trainer: trainer with the network, the validation pairs and the folder.
        data: training and validation data.
        recipe: everything else that defines the run.
        resumed: whether the run was resumed; known after `begin`.
    """

    def __init__(self, trainer: Trainer, data: TrainingData, recipe: TrainingRecipe) -> None:
        self.trainer = trainer
        self.data = data
        self.recipe = recipe
        self.resumed = False
        self._board: Board | None = None

    @property
    def is_new(self) -> bool:
        """Whether nothing of this run has been saved yet."""
        return not exists(self.trainer.folder.last)

    def check_data(self) -> DataReport:
        """Check the clips for data that cannot or should not be used."""
        return check_clips(self.data.mixer.speech.clips, self.data.mixer.noise.clips)

    def begin(self, *, tensorboard: bool = False) -> None:
        """Restore the saved state, if any, and save the recipe.

        Args:
            tensorboard: log figures, audio and spectrograms in the folder.

        Raises:
            CheckpointError: the state is damaged or belongs to another network.
            MissingDependency: tensorboard is not installed.
            OptionError: the run was started with other options.
        """
        self.resumed = self.trainer.resume()
        if not self.trainer.team.leads:
            return
        if tensorboard:
            from dccrn_cli.training.tensorboard_log import Board

            self._board = Board(self.trainer)
        self.trainer.folder.keep_recipe(self.recipe.to_toml())

    def steps(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after each step, like `Trainer.run`."""
        for progress in self.trainer.run(stop):
            if self._board is not None:
                self._board.take(progress)
            yield progress


@contextmanager
def open_training(
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
) -> Iterator[TrainingRun]:
    """Set up or resume a run, locking its folder while it is open.

    Arguments and errors are those of `train`.
    """
    start = None if init is None else _start(init)
    given = dict(changes or {})
    if start and not (recipe or given.get("preset")):
        alike = network_settings(start[0].config)
        given |= {"preset": alike["preset"], "network": alike["network"] | given.get("network", {})}
    chosen = read_recipe(recipe or DEFAULT_RECIPE, given)
    with cpu_threads(threads), assemble(pick_device(device)) as team, _lock(Path(output), team):
        torch.manual_seed(chosen.training.seed)
        processes = team.size * max(workers, 1)
        data = find_data(
            as_paths(clean), as_paths(noise), as_paths(rooms),
            None if validation is None else Path(validation), chosen.mixing, chosen.training.seed, processes,
        )  # fmt: skip
        model, provenance = _network(chosen, start)
        trainer = Trainer(
            model, data.mixer, data.pairs, Path(output), chosen.training, chosen.loss,
            team=team, provenance=provenance, workers=workers,
        )  # fmt: skip
        yield TrainingRun(trainer, data, chosen)


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
        check: check the data first.
        tensorboard: write TensorBoard logs to the folder.
        on_progress: called after each step.

    Raises:
        CheckpointError: `init` or the state of the run cannot be loaded.
        DataError: there is no audio, the data are unusable, or the loss is not finite.
        KeyboardInterrupt: Ctrl-C was pressed; the state has been saved.
        MissingDependency: tensorboard is not installed.
        OptionError: no such recipe, an invalid setting, or a run started with other options.
        StorageError: the folder cannot be written, or another process is training in it.
    """
    with (
        open_training(
            clean, noise, output, recipe, rooms=rooms, validation=validation, init=init, changes=changes,
            device=device, threads=threads, workers=workers,
        ) as run,
        Interrupt() as interrupt,
    ):  # fmt: skip
        if check and run.is_new:
            run.check_data().raise_errors()
        run.begin(tensorboard=tensorboard)
        for progress in run.steps(lambda: interrupt.requested):
            if on_progress is not None:
                on_progress(progress)
        trainer = run.trainer
    if interrupt.requested:
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
