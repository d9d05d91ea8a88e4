"""Runs a fine-tuning on the recordings, start model and output given by a user."""

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
from dccrn_cli.training.train_options import Progress
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.training.training_run import cpu_threads
from dccrn_cli.utils.interrupt import Interrupt
from dccrn_cli.utils.locks import RunLock
from dccrn_cli.utils.paths import Paths, as_paths, exists, is_folder

RECIPE = "finetune"

DOUBTS = frozenset({"not speech"})
"""Faults of the data that stop a run before training unless it is forced."""


@dataclasses.dataclass(frozen=True)
class FineTuneOptions:
    """Fine-tuning options.

    Attributes:
        minutes: approximate training time.
        steps: number of steps, instead of `minutes`.
        lr: peak learning rate; None for that of the recipe `finetune`.
        general: share of examples with general noise, to prevent forgetting.
        seed: seed of the examples.
        device: "cpu", "cuda", "mps", or "auto" for CUDA if available, otherwise the CPU.
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
    """Result of a fine-tuning.

    Attributes:
        model: file of the best model: the new one, the one already in the output file, or the start model.
        comparison: scores before and after.
        objections: why nothing was written; empty if the model was written.
    """

    model: Path
    comparison: Comparison
    objections: tuple[str, ...]

    @property
    def written(self) -> bool:
        """Whether the new model was written."""
        return not self.objections


class FineTuneRun:
    """An open fine-tuning: call `score_start`, `begin`, `steps` and `finish`, in this order.

    Args:
        model: name or path of the start model.
        output: file to write.
        options: fine-tuning options.

    Attributes:
        own: the user's recordings.
        tuning: compares models; available after `score_start`.
        trainer: available after `begin`.
    """

    own: OwnData
    tuning: FineTuning
    trainer: Trainer

    def __init__(self, model: str | None, output: Path, options: FineTuneOptions) -> None:
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
        """Check the recordings for data that cannot or should not be used."""
        return check_clips(self.own.speech, self.own.noise)

    def score_start(self) -> FineTuning:
        """Score the start model.

        Raises:
            OptionError: the run in the folder was started with other options or recordings.
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
        """Find how many steps fit in the time, or resume a stopped run."""
        self.trainer = self.tuning.begin(self._options.steps, self._options.minutes)
        return self.trainer

    def steps(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after each step, like `Trainer.run`."""
        return self.trainer.run(stop)

    def finish(self) -> FineTuneResult:
        """Choose the best blend of start and tuned model, and write it unless there are objections.

        Raises:
            StorageError: the model cannot be written.
        """
        best, comparison = self.tuning.choose(self.trainer.average.model())
        standing = self._against_standing(comparison)
        objections = (*comparison.objections(), *standing)
        if not objections:
            save_model(best, self._output, self._provenance_of(comparison))
        self.tuning.folder.remove()
        kept = self._output if standing or not objections else find_model(self._model)
        return FineTuneResult(kept, comparison, objections)

    def _against_standing(self, comparison: Comparison) -> list[str]:
        """Objections if the model already in the output file is better."""
        if not exists(self._output):
            return []
        standing = score(load_checkpoint(self._output)[0], self.own.held_out).mean["si_snr"]
        reached = comparison.own_after.mean["si_snr"]
        if reached > standing:
            return []
        return [f"{self._output} is already better: SI-SNR {standing:.2f} dB on your noise, not {reached:.2f} dB"]

    def _provenance_of(self, comparison: Comparison) -> dict[str, Any]:
        """Provenance of the new model."""
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
    """Set up or resume a fine-tuning, locking the output while it is open.

    Arguments and errors are those of `finetune`.
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
    force: bool = False,
    on_progress: Callable[[Progress], object] | None = None,
) -> FineTuneResult:
    """Adapt a model to one's own noise, or keep the existing one.

    A fifth of the recordings is held out. The model is compared before and after, on mixtures of these and on
    general noise. It is not written if it is not better on the noise, or is worse elsewhere. Repeating a stopped
    call resumes it.

    Args:
        clean, noise: one or more folders, `.tar` archives, lists or files; empty for `pairs` alone.
        output: model file to write.
        model: bundled name or path of the start model; None for the default.
        options: fine-tuning options; None for the defaults of `FineTuneOptions`.
        pairs: a folder of recorded noisy and a folder of clean speech with the same file names.
        rooms: measured room impulse responses, used in addition to simulated ones.
        check: check the recordings first.
        force: train even on clean speech that looks like noise.
        on_progress: called after each step.

    Raises:
        CheckpointError: the start model cannot be loaded.
        DataError: the recordings cannot be used.
        KeyboardInterrupt: Ctrl-C was pressed; the state has been saved.
        OptionError: invalid options, an output that is not a model, or a run started with other options.
        StorageError: the model cannot be written, or another process is using it.
    """
    with (
        open_finetuning(clean, noise, output, model, options, pairs=pairs, rooms=rooms) as run,
        Interrupt() as interrupt,
    ):
        if check:
            run.check_data().raise_errors(but=DOUBTS if force else frozenset())
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
    """Check before training that the output can be written.

    Raises:
        OptionError: the output is a folder, or a file that is not a model.
    """
    if is_folder(output) or not output.name:
        raise OptionError("is a folder; give the name of a model file", output)
    if exists(output):
        try:
            load_checkpoint(output)
        except CheckpointError as error:
            raise OptionError(f"exists and is not a model ({error.message}); not replaced", output) from None
