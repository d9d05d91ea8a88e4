"""Fine-tuning: a model better on a user's own noise and no worse elsewhere, or the one there was."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from dccrn_cli.nn.network import Network
from dccrn_cli.training.losses import LossOptions
from dccrn_cli.training.trainer import Trainer
from dccrn_cli.training.validation import Figures, Pair, mean_figures, measure

STRENGTHS = (1.0, 0.75, 0.5, 0.3, 0.15)
"""How far from the start model to the tuned one the results that are tried lie."""

LEAST_GAIN_DB = 0.1
"""SI-SNR on the user's own noise that is worth a new model."""

TOLERANCE: Mapping[str, float] = {"si_snr": 0.05, "pesq_wb": 0.03, "stoi": 0.005}
"""What the mean of each figure may fall elsewhere."""

OWN_TOLERANCE: Mapping[str, float] = {"pesq_wb": 0.02, "stoi": 0.005}
"""What the other figures may fall on the user's own noise where SI-SNR rises."""

TIMED_STEPS = 8
"""Steps that are timed to learn how many fit into the time."""

CLEAN_SI_SNR_DB = 28.0
"""Speech without noise may change by so little that this is left."""

Groups = Mapping[float, Sequence[Pair]]
"""Pairs by SNR in dB; those of infinite SNR are clean, NaN where it is not known."""


@dataclass(frozen=True)
class Scores:
    """Figures of one model on one set.

    Attributes:
        by_snr: mean over the pairs of each SNR in dB.
        mean: over all pairs but the clean ones.
        clean: SI-SNR in dB of clean speech after the model, NaN without such pairs.
    """

    by_snr: Mapping[float, Figures]
    mean: Figures
    clean: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """A model before and after, on the user's own noise and elsewhere.

    Attributes:
        strength: how far the result lies from the start model (0) to the tuned one (1).
    """

    own_before: Scores
    own_after: Scores
    elsewhere_before: Scores
    elsewhere_after: Scores
    strength: float = 1.0

    def objections(self) -> list[str]:
        """Why the result should not replace the start model; empty if it should."""
        found = []
        gain = self.own_after.mean["si_snr"] - self.own_before.mean["si_snr"]
        if not gain >= LEAST_GAIN_DB:
            found.append(
                f"SI-SNR on your noise changes by {gain:+.2f} dB; at least {LEAST_GAIN_DB:+.2f} dB would be worth it"
            )
        found += _falls("on your noise", self.own_before.mean, self.own_after.mean, OWN_TOLERANCE)
        found += _falls("elsewhere", self.elsewhere_before.mean, self.elsewhere_after.mean, TOLERANCE)
        before, after = self.elsewhere_before.clean, self.elsewhere_after.clean
        if after < min(before - 1, CLEAN_SI_SNR_DB):
            found.append(f"clean speech is changed: SI-SNR {before:.1f} → {after:.1f} dB")
        return found


def _falls(where: str, before: Figures, after: Figures, tolerance: Mapping[str, float]) -> list[str]:
    names = {"si_snr": "SI-SNR", "pesq_wb": "PESQ-WB", "stoi": "STOI"}
    return [
        f"{names[name]} {where} falls: {before[name]:.3f} → {after[name]:.3f}"
        for name, allowed in tolerance.items()
        if not after[name] >= before[name] - allowed and not math.isnan(before[name])
    ]


def score(model: Network, groups: Groups) -> Scores:
    """Figures of a model on pairs by SNR."""
    options = LossOptions()
    figures = {snr_db: measure(model, pairs, options) for snr_db, pairs in groups.items() if pairs}
    noisy = [each for snr_db, rows in figures.items() if snr_db != math.inf for each in rows]
    clean = [each["si_snr"] for each in figures.get(math.inf, []) if "si_snr" in each]
    return Scores(
        {snr_db: mean_figures(rows) for snr_db, rows in figures.items()},
        mean_figures(noisy),
        sum(clean) / len(clean) if clean else math.nan,
    )


def blended(start: Network, tuned: Network, strength: float) -> Network:
    """The model that lies between two (Wortsman et al. 2022, WiSE-FT): 0 is the start, 1 the tuned one."""
    model = copy.deepcopy(start)
    ends = tuned.state_dict()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(ends[name].to(tensor), strength)
    return model.eval()


@dataclass
class _Tried:
    strength: float
    model: Network
    comparison: Comparison = field(repr=False)


def choose(start: Network, tuned: Network, own: Groups, elsewhere: Groups) -> tuple[Network, Comparison]:
    """The best model on the way from start to tuned that nothing speaks against; else the tuned one.

    Going back part of the way gives up a little of what was learnt and most of what was forgotten.
    """
    own_before, elsewhere_before = score(start, own), score(start, elsewhere)
    accepted: _Tried | None = None
    full: _Tried | None = None
    for strength in STRENGTHS:
        model = blended(start, tuned, strength)
        comparison = Comparison(own_before, score(model, own), elsewhere_before, score(model, elsewhere), strength)
        tried = _Tried(strength, model, comparison)
        full = full or tried
        if comparison.objections():
            continue
        if accepted and comparison.own_after.mean["si_snr"] <= accepted.comparison.own_after.mean["si_snr"]:
            break  # from here on it only goes back
        accepted = tried
    assert full is not None
    best = accepted or full
    return best.model, best.comparison


def steps_for(minutes: float, trainer: Trainer) -> int:
    """How many steps of a trainer fit into so much time, by the clock; its model is changed by some steps."""
    steps = trainer.run()
    next(steps)  # the first one prepares what the others use
    started = time.monotonic()
    for _ in range(TIMED_STEPS):
        next(steps)
    return max(int(minutes * 60 * TIMED_STEPS / (time.monotonic() - started)), 1)
