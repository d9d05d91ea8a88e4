"""Runs a fine-tuning on the recordings, start model and output given by a user."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
from dccrn_cli.utils.callbacks import notify
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
    on_data: Callable[[OwnData], object] | None = None,
    on_check: Callable[[DataReport], object] | None = None,
    on_start: Callable[[FineTuning], object] | None = None,
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
        on_data, on_check: called once, when the recordings have been found, and with the result of the check.
        on_start: called once, before the first step.
        on_progress: called after each step.

    Raises:
        CheckpointError: the start model cannot be loaded.
        DataError: the recordings cannot be used.
        KeyboardInterrupt: Ctrl-C was pressed; the state has been saved.
        OptionError: invalid options, an output that is not a model, or a run started with other options.
        StorageError: the model cannot be written, or another process is using it.
    """
    options = options or FineTuneOptions()
    target, recipe = Path(output), _recipe(options)
    recorded = [] if pairs is None else [(Path(pairs[0]), Path(pairs[1]))]
    asked = {
        "--model": None if model is None else str(model), "--general": options.general, "--seed": options.seed,
        "--lr": options.lr, "--steps": options.steps, "--minutes": options.minutes,
    }  # fmt: skip
    _check_output(target)
    with RunLock(target), cpu_threads(options.threads):
        before = find_model(model)
        start, provenance = load_checkpoint(before)
        own = own_data(
            as_paths(clean), as_paths(noise), as_paths(rooms), recorded, recipe.mixing, options.general, options.seed
        )
        notify(on_data, own)
        if check:
            report = check_clips(own.speech, own.noise)
            notify(on_check, report)
            report.raise_errors(but=DOUBTS if force else frozenset())
        folder = target.with_name(f"{target.name}.run")
        tuning = FineTuning(start, own, recipe, folder, pick_device(options.device), asked)
        trainer = tuning.begin(options.steps, options.minutes)
        notify(on_start, tuning)
        with Interrupt() as interrupt:
            for progress in trainer.run(lambda: interrupt.requested):
                notify(on_progress, progress)
        if interrupt.requested:
            raise KeyboardInterrupt
        best, comparison = tuning.choose(trainer.average.model())
        standing = _against_standing(target, own, comparison)
        objections = (*comparison.objections(), *standing)
        if not objections:
            save_model(best, target, _provenance(Path(model or DEFAULT_MODEL).name, provenance, trainer, comparison))
        tuning.folder.remove()
        return FineTuneResult(target if standing or not objections else before, comparison, objections)


def _against_standing(output: Path, own: OwnData, comparison: Comparison) -> list[str]:
    """Objections if the model already in the output file is better."""
    if not exists(output):
        return []
    standing = score(load_checkpoint(output)[0], own.held_out).mean["si_snr"]
    reached = comparison.own_after.mean["si_snr"]
    if reached > standing:
        return []
    return [f"{output} is already better: SI-SNR {standing:.2f} dB on your noise, not {reached:.2f} dB"]


def _provenance(start: str, before: dict[str, Any], trainer: Trainer, comparison: Comparison) -> dict[str, Any]:
    """Provenance of the new model, from the name and the provenance of the start model."""
    return {
        "started_from": start,
        "data": f"{before.get('data', 'not stated')}; fine-tuned on data of its owner",
        "hours_seen": round(before.get("hours_seen", 0.0) + trainer.progress.seconds_seen / 3600, 2),
        "licence": f"that of the start model ({before.get('licence', 'not stated')}) and of the data tuned on",
        "training": dataclasses.asdict(trainer.options),
        "loss": trainer.loss_options.to_dict(),
        "finetuned": {**comparison.to_dict(), "objections": []},
    }


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
