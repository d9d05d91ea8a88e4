"""Fine-tuning: gives a model that is better on a user's own noise and no worse elsewhere, or keeps the old one."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dccrn_cli.data.pairs import Pair
from dccrn_cli.errors import OptionError
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.training.distributed import Team
from dccrn_cli.training.finetune_data import OwnData
from dccrn_cli.training.losses import LossOptions
from dccrn_cli.training.recipe import TrainingRecipe, read_recipe
from dccrn_cli.training.retention_set import yardstick
from dccrn_cli.training.run_folder import ASKED, RECIPE, RunFolder
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.training.validation import MEASURES, Figures, mean_figures, measure
from dccrn_cli.utils.paths import exists
from dccrn_cli.utils.storage import write_whole

STRENGTHS = (0.75, 0.5, 0.35, 0.2, 0.1)
"""Interpolation factors from the start model (0) to the tuned one (1) that are tried. The last part of the way
gains little and forgets most: benchmarks/finetuning.md."""

LEAST_GAIN_DB = 0.1
"""Minimum gain of SI-SNR on the user's own noise for a new model."""

TOLERANCE: Mapping[str, float] = {"si_snr": 0.05, "pesq_wb": 0.03, "stoi": 0.005}
"""Allowed drop of the mean of each figure elsewhere."""

OWN_TOLERANCE: Mapping[str, float] = {"pesq_wb": 0.02, "stoi": 0.005}
"""Allowed drop of the other figures on the user's own noise."""

TIMED_STEPS = 8
"""Number of steps timed to find how many fit in the available time."""

CLEAN_SI_SNR_DB = 28.0
"""Clean speech may change as long as its SI-SNR stays above this."""

Groups = Mapping[float, Sequence[Pair]]
"""Pairs by SNR in dB: infinite for clean pairs, NaN if unknown."""


@dataclass(frozen=True)
class Scores:
    """Figures of one model on one set.

    Attributes:
        by_snr: means by SNR in dB.
        mean: mean over all pairs except clean ones.
        clean: SI-SNR in dB of clean speech processed by the model, NaN without clean pairs.
    """

    by_snr: Mapping[float, Figures]
    mean: Figures
    clean: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None instead of NaN."""
        by_snr = {f"{snr_db:g}": figures for snr_db, figures in self.by_snr.items()}
        plain: dict[str, Any] = _without_nan({"mean": self.mean, "by_snr_db": by_snr, "clean_si_snr": self.clean})
        return plain


@dataclass(frozen=True)
class Comparison:
    """Scores before and after fine-tuning, on the user's own noise and elsewhere.

    Attributes:
        strength: position of the result between the start model (0) and the tuned one (1).
    """

    own_before: Scores
    own_after: Scores
    elsewhere_before: Scores
    elsewhere_after: Scores
    strength: float = 1.0

    @property
    def gain_db(self) -> float:
        """Gain of SI-SNR on the user's own noise in dB."""
        return self.own_after.mean["si_snr"] - self.own_before.mean["si_snr"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        names = ("own_before", "own_after", "elsewhere_before", "elsewhere_after")
        return {**{name: getattr(self, name).to_dict() for name in names}, "strength": self.strength}

    def objections(self, measures: Collection[str] = MEASURES.keys()) -> list[str]:
        """Reasons not to replace the start model, by the given metrics; empty if there are none."""
        found = []
        if not self.gain_db >= LEAST_GAIN_DB:
            found.append(f"SI-SNR on your noise changes by {self.gain_db:+.2f} dB, less than {LEAST_GAIN_DB:+.2f} dB")
        sides = (
            ("on your noise", self.own_before, self.own_after, OWN_TOLERANCE),
            ("elsewhere", self.elsewhere_before, self.elsewhere_after, TOLERANCE),
        )
        for where, old, new, tolerance in sides:
            allowed = {name: fall for name, fall in tolerance.items() if name in measures}
            found += _falls(where, old.mean, new.mean, allowed)
        before, after = self.elsewhere_before.clean, self.elsewhere_after.clean
        if after < min(before - 1, CLEAN_SI_SNR_DB):
            found.append(f"clean speech is changed: SI-SNR {before:.1f} → {after:.1f} dB")
        return found


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _falls(where: str, before: Figures, after: Figures, tolerance: Mapping[str, float]) -> list[str]:
    names = {"si_snr": "SI-SNR", "pesq_wb": "PESQ-WB", "stoi": "STOI"}
    return [
        f"{names[name]} {where} drops: {before[name]:.3f} → {after[name]:.3f}"
        for name, allowed in tolerance.items()
        if not after[name] >= before[name] - allowed and not math.isnan(before[name])
    ]


class FineTuning:
    """One fine-tuning run, in a folder from which it can be resumed.

    Args:
        start: the model to start from; it is not modified.
        own: the user's recordings.
        recipe: training recipe.
        folder: run folder; the recipe in it, if any, sets the number of steps.
        device: device to train on.
        asked: options by name; a run is resumed only with the options and recordings it was started with.

    Attributes:
        own_before, elsewhere_before: scores of the start model.
        scoring_s: time it took to compute them.
        trainer: available after `begin`.

    Raises:
        OptionError: the run in the folder was started with other options or recordings.
    """

    trainer: Trainer

    def __init__(
        self,
        start: SpectralNetwork,
        own: OwnData,
        recipe: TrainingRecipe,
        folder: Path,
        device: torch.device,
        asked: Mapping[str, object] | None = None,
    ) -> None:
        self.start = start
        self.own = own
        self.folder = RunFolder(folder)
        self._elsewhere = yardstick()
        self._device = device
        self._asked = {**(asked or {}), "recordings": own.fingerprint}
        begun = self.folder.path / RECIPE
        self.begun = exists(begun)
        if self.begun:
            self._check_asked()
        self.recipe = read_recipe(begun) if self.begun else recipe
        started = time.monotonic()
        self.own_before = score(start, own.held_out)
        self.elsewhere_before = score(start, self._elsewhere)
        self.scoring_s = time.monotonic() - started

    def begin(self, steps: int | None, minutes: float) -> Trainer:
        """Start the run, with the given number of steps or as many as fit in the time, or resume it."""
        if not self.begun:
            steps = steps or self._steps_within(minutes)
            warmup = min(self.recipe.training.warmup, steps // 10)
            training = dataclasses.replace(self.recipe.training, steps=steps, warmup=warmup, validate_every=steps)
            self.recipe = dataclasses.replace(self.recipe, training=training)
            write_whole(self.folder.path / ASKED, json.dumps(self._asked).encode())
            self.folder.keep_recipe(self.recipe.to_toml())
        self.trainer = self._trainer(self.folder.path, self.own.some_held_out())
        self.trainer.resume()
        return self.trainer

    @property
    def scoring_left_s(self) -> float:
        """Estimated time for `choose`: one pass by SI-SNR and one by all metrics, if the first choice is accepted."""
        return 2 * self.scoring_s

    def _check_asked(self) -> None:
        try:
            before = json.loads((self.folder.path / ASKED).read_bytes())
        except (OSError, ValueError):
            return  # unknown
        changed = [name for name, value in self._asked.items() if before.get(name) != value]
        if changed:
            raise OptionError(
                f"the run here was started with different {', '.join(changed)}; rerun with the same ones to resume, "
                "or remove this folder to start over",
                self.folder.path,
            )

    def choose(self, tuned: SpectralNetwork) -> tuple[SpectralNetwork, Comparison]:
        """Choose the model closest to the tuned one without objections; if there is none, the closest tried.

        Going back part of the way to the start gives up little of what was learnt and undoes most of the forgetting.
        """
        for strength in STRENGTHS:
            model = blended(self.start, tuned, strength)
            comparison = self._compare(model, strength, ("si_snr",))
            if comparison.objections(("si_snr",)) and strength != STRENGTHS[-1]:
                continue  # already rejected by SI-SNR alone, which is fast
            comparison = self._compare(model, strength)
            if not comparison.objections():
                return model, comparison
        model = blended(self.start, tuned, STRENGTHS[0])
        return model, self._compare(model, STRENGTHS[0])

    def _compare(
        self, model: SpectralNetwork, strength: float, measures: Collection[str] = MEASURES.keys()
    ) -> Comparison:
        own, elsewhere = (score(model, groups, measures) for groups in (self.own.held_out, self._elsewhere))
        return Comparison(self.own_before, own, self.elsewhere_before, elsewhere, strength)

    def _trainer(self, folder: Path, pairs: Sequence[Pair]) -> Trainer:
        return Trainer(
            copy.deepcopy(self.start), self.own.source, pairs, folder, self.recipe.training, self.recipe.loss,
            team=Team(device=self._device),
        )  # fmt: skip

    def _steps_within(self, minutes: float) -> int:
        """Number of steps that fit in the time, by timing a few."""
        with tempfile.TemporaryDirectory() as folder:
            steps = iter(self._trainer(Path(folder), []).run())
            next(steps)  # warm-up
            started = time.monotonic()
            for _ in range(TIMED_STEPS):
                next(steps)
            each_s = (time.monotonic() - started) / TIMED_STEPS
            del steps
        return max(round(minutes * 60 / each_s), 1)


def score(model: SpectralNetwork, groups: Groups, measures: Collection[str] = MEASURES.keys()) -> Scores:
    """Score a model on pairs by SNR."""
    options = LossOptions()
    figures = {snr_db: measure(model, pairs, options, measures) for snr_db, pairs in groups.items() if pairs}
    noisy = [each for snr_db, rows in figures.items() if snr_db != math.inf for each in rows]
    clean = [each["si_snr"] for each in figures.get(math.inf, []) if "si_snr" in each]
    return Scores(
        {snr_db: mean_figures(rows) for snr_db, rows in figures.items()},
        mean_figures(noisy),
        sum(clean) / len(clean) if clean else math.nan,
    )


def blended(start: SpectralNetwork, tuned: SpectralNetwork, strength: float) -> SpectralNetwork:
    """Interpolate between two models (WiSE-FT, Wortsman et al. 2022): 0 is the start, 1 the tuned one."""
    model = copy.deepcopy(start)
    ends = tuned.state_dict()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(ends[name].to(tensor), strength)
    return model.eval()
