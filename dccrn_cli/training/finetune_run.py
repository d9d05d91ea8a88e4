"""A fine-tuning from what a user names: recordings, start model and the file to write."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from dccrn_cli.data.check import DataReport, check_clips
from dccrn_cli.errors import CheckpointError, OptionError
from dccrn_cli.nn.checkpoint import load_checkpoint, save_model
from dccrn_cli.nn.device import pick_device
from dccrn_cli.nn.models import DEFAULT_MODEL, find_model
from dccrn_cli.training.finetune import Comparison, FineTuning, score
from dccrn_cli.training.finetune_data import OwnData, own_data
from dccrn_cli.training.recipe import TrainingRecipe, read_recipe
from dccrn_cli.training.run import cpu_threads
from dccrn_cli.training.train_options import Progress
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.paths import Paths, as_paths

RECIPE = "finetune"

DOUBTS = frozenset({"not speech"})
"""Faults of the data that speak against any model made from them, which is compared all the same."""


@dataclasses.dataclass(frozen=True)
class FineTuneOptions:
    """How a model is fine-tuned.

    Attributes:
        minutes: how long to train, about.
        steps: in place of minutes.
        lr: peak learning rate; None for that of the recipe `finetune`.
        general: share of examples with noise that is not the user's, against forgetting.
        seed: sets the examples.
        device: where to train: "cpu", "cuda", "mps", or "auto" for CUDA where there is a device for it.
        threads: CPU threads; 0 for one per core.
    """

    minutes: float = 10.0
    steps: int | None = None
    lr: float | None = None
    general: float = 0.3
    seed: int = 0
    device: str = "auto"
    threads: int = 0


@dataclasses.dataclass(frozen=True)
class FineTuneResult:
    """What a fine-tuning came to.

    Attributes:
        model: the file that holds the better model: the one written, the one to be written before, or the start.
        comparison: figures before and after.
        objections: why nothing was written; empty where it was.
    """

    model: Path
    comparison: Comparison
    objections: tuple[str, ...]

    @property
    def written(self) -> bool:
        """The output file holds the new model."""
        return not self.objections


class FineTuneRun:
    """One fine-tuning while it is open: `score_start`, `begin`, `steps` and `finish`, in this order.

    Args:
        model: to start from, as the user names it.
        output: file to write.
        options: how.

    Attributes:
        own: the user's recordings.
        tuning: compares models; known after `score_start`.
        trainer: known after `begin`.
        doubts: what the check of the data found that keeps a model from being written.
    """

    own: OwnData
    tuning: FineTuning
    trainer: Trainer

    def __init__(self, model: str | None, output: Path, options: FineTuneOptions) -> None:
        self.doubts: list[str] = []
        self._started = time.monotonic()
        self._model = model
        self._output = output
        self._options = options
        self._start, self._provenance = load_checkpoint(find_model(model))

    @property
    def spent_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    def check_data(self) -> DataReport:
        """Look through the recordings for what cannot or should not be used."""
        return check_clips(self.own.speech, self.own.noise)

    def score_start(self) -> FineTuning:
        """Score the start model.

        Raises:
            OptionError: the run in the folder was begun with other options or recordings.
        """
        options = self._options
        asked = {
            "--model": self._model, "--general": options.general, "--seed": options.seed, "--lr": options.lr,
            "--steps": options.steps, "--minutes": options.minutes,
        }  # fmt: skip
        folder = self._output.with_name(f"{self._output.name}.run")
        self.tuning = FineTuning(self._start, self.own, _recipe(options), folder, pick_device(options.device), asked)
        return self.tuning

    def begin(self) -> Trainer:
        """Find out how many steps fit into the time, or take up the run that was stopped."""
        self.trainer = self.tuning.begin(self._options.steps, self._options.minutes)
        return self.trainer

    def steps(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after each step, as `Trainer.run`."""
        return self.trainer.run(stop)

    def finish(self) -> FineTuneResult:
        """Choose the best blend of start and tuned model; write it unless something speaks against it.

        Raises:
            StorageError: it cannot be written.
        """
        best, comparison = self.tuning.choose(self.trainer.average.model())
        standing = self._against_standing(comparison)
        objections = (*self.doubts, *comparison.objections(), *standing)
        if not objections:
            save_model(best, self._output, self._provenance_of(comparison))
        self.tuning.folder.remove()
        kept = self._output if standing or not objections else find_model(self._model)
        return FineTuneResult(kept, comparison, objections)

    def _against_standing(self, comparison: Comparison) -> list[str]:
        """What speaks for the model that the file to write already holds."""
        if not self._output.exists():
            return []
        standing = score(load_checkpoint(self._output)[0], self.own.held_out).mean["si_snr"]
        reached = comparison.own_after.mean["si_snr"]
        if reached > standing:
            return []
        return [f"{self._output} is better already: SI-SNR {standing:.2f} dB on your noise, against {reached:.2f} dB"]

    def _provenance_of(self, comparison: Comparison) -> dict[str, Any]:
        """Where the new model comes from."""
        before, trainer = self._provenance, self.trainer
        return {
            "started_from": Path(self._model or DEFAULT_MODEL).name,
            "data": f"{before.get('data', 'not stated')}; fine-tuned on data of its owner",
            "hours_seen": round(before.get("hours_seen", 0.0) + trainer.progress.seconds_seen / 3600, 2),
            "licence": f"that of the start model ({before.get('licence', 'not stated')}) and of the data tuned on",
            "training": dataclasses.asdict(trainer.options),
            "loss": trainer.loss_options.to_dict(),
            "finetuned": {**comparison.to_dict(), "objections": []},
        }


@contextmanager
def open_finetuning(
    clean: Paths,
    noise: Paths,
    output: str | PathLike[str],
    model: str | PathLike[str] | None = None,
    options: FineTuneOptions | None = None,
    *,
    pairs: tuple[str | PathLike[str], str | PathLike[str]] | None = None,
    rooms: Paths | None = None,
) -> Iterator[FineTuneRun]:
    """Set up a fine-tuning, or find the one that was stopped; the output is locked while it is open.

    Args, errors: those of `finetune`.
    """
    options = options or FineTuneOptions()
    target = Path(output)
    _check_output(target)
    recorded = [] if pairs is None else [(Path(pairs[0]), Path(pairs[1]))]
    with RunLock(target), cpu_threads(options.threads):
        run = FineTuneRun(None if model is None else str(model), target, options)
        recipe = _recipe(options)
        run.own = own_data(
            as_paths(clean), as_paths(noise), as_paths(rooms), recorded,
            recipe.mixing, options.general, options.seed,
        )  # fmt: skip
        yield run


def finetune(
    clean: Paths,
    noise: Paths,
    output: str | PathLike[str],
    model: str | PathLike[str] | None = None,
    options: FineTuneOptions | None = None,
    *,
    pairs: tuple[str | PathLike[str], str | PathLike[str]] | None = None,
    rooms: Paths | None = None,
    check: bool = True,
    on_progress: Callable[[Progress], object] | None = None,
) -> FineTuneResult:
    """Make a model better on noise of one's own, or keep the one there is.

    A fifth of the recordings is set aside; on mixtures of these and on general noise the model is
    compared before and after. One that is not better on the noise, or worse elsewhere, is not written.
    A call that was stopped goes on when it is made again.

    Args:
        clean, noise: folders, `.tar` archives, lists or files, one or several; empty for `pairs` alone.
        output: model file to write.
        model: to start from: bundled name or path; None for the default.
        options: how; None for the defaults of `FineTuneOptions`.
        pairs: a folder of recorded noisy and one of clean speech with the same file names.
        rooms: measured room impulse responses; simulated ones are used besides.
        check: first look through the recordings.
        on_progress: called after each step.

    Raises:
        CheckpointError: the start model cannot be loaded.
        DataError: recordings that cannot be used.
        KeyboardInterrupt: on Ctrl-C, once the state is saved.
        OptionError: invalid options, an output that is not a model, or a run begun with other options.
        StorageError: the model cannot be written, or another process works on it.
    """
    with (
        open_finetuning(clean, noise, output, model, options, pairs=pairs, rooms=rooms) as run,
        Interrupt() as interrupt,
    ):
        if check:
            run.doubts = run.check_data().raise_errors(but=DOUBTS)
        run.score_start()
        run.begin()
        for progress in run.steps(lambda: interrupt.requested):
            if on_progress is not None:
                on_progress(progress)
        if not interrupt.requested:
            return run.finish()
    raise KeyboardInterrupt


def _recipe(options: FineTuneOptions) -> TrainingRecipe:
    changes: dict[str, Any] = {"seed": options.seed} | ({} if options.lr is None else {"lr": options.lr})
    return read_recipe(RECIPE, {"training": changes})


def _check_output(output: Path) -> None:
    """What cannot be written in the end is said before the training.

    Raises:
        OptionError: a folder, or a file that is not a model.
    """
    if output.is_dir() or not output.name:
        raise OptionError("is a folder; the name of a model file is needed", output)
    if output.exists():
        try:
            load_checkpoint(output)
        except CheckpointError as error:
            raise OptionError(f"is there and not a model ({error.message}); it is not replaced", output) from None
