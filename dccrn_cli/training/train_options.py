"""How to train, and how far a run has come."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dccrn_cli.errors import OptionError

Schedule = Literal["plateau", "cosine"]
"""How the learning rate falls."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        steps: steps in all; the cosine schedule ends there.
        batch: examples per step, of all processes together.
        lr: peak learning rate.
        optimizer: "adamw" decouples the decay of weights from their gradients, "adam" adds it to them;
            "muon" learns faster, see `dccrn_cli.training.muon`.
        betas: of the optimizer's running means.
        weight_decay: towards zero.
        warmup: steps of linear rise of the learning rate.
        schedule: "plateau" halves the rate when `patience` validations bring nothing better;
            "cosine" falls to 1 % of it at the last step.
        patience: validations without a better loss before a halving.
        early_stop: validations without a better loss before the end; 0 for never.
        clip: largest norm of the gradient; 0 for no limit.
        ema: decay of the running average of weights, which is what is validated and saved; 0 for
            the weights themselves.
        bf16: bfloat16 autocast.
        frozen_statistics: batch norm keeps the statistics that the model comes with.
        validate_every: steps.
        first_validation: step after which a run that validates on its way does so for the first time, soon enough
            to see that all is well; 0 for no earlier than the others.
        save_every_s: seconds between resumable checkpoints.
        seed: sets initial weights and data.
    """

    steps: int = 100_000
    batch: int = 4
    lr: float = 2e-3
    optimizer: Literal["adamw", "adam", "muon"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 1e-5
    warmup: int = 200
    schedule: Schedule = "plateau"
    patience: int = 2
    early_stop: int = 10
    clip: float = 1.0
    ema: float = 0.999
    bf16: bool = True
    frozen_statistics: bool = False
    validate_every: int = 2000
    first_validation: int = 200
    save_every_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        rules = [
            (min(self.steps, self.batch, self.validate_every, self.patience) > 0,
             "steps, batch, validate_every and patience must be 1 or more"),
            (self.lr > 0 and math.isfinite(self.lr), "lr must be above 0"),
            (all(0 <= beta < 1 for beta in (*self.betas, self.ema)), "betas and ema must be 0 to below 1"),
            (min(self.weight_decay, self.warmup, self.early_stop, self.clip, self.first_validation,
                 self.save_every_s, self.seed) >= 0,
             "weight_decay, warmup, early_stop, clip, first_validation, save_every_s and seed must not be negative"),
        ]  # fmt: skip
        for holds, message in rules:
            if not holds:
                raise OptionError(message)

    def validates_after(self, step: int) -> bool:
        """Whether there is a validation after so many steps."""
        early = step == self.first_validation < self.validate_every < self.steps
        return early or step % self.validate_every == 0 or step == self.steps

    def learning_rate(self, step: int) -> float:
        """Rate at a step, counted from 0, before any halving on a plateau."""
        rate = self.lr * min(1.0, (step + 1) / max(self.warmup, 1))
        if self.schedule == "cosine":
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return rate


@dataclass
class Progress:
    """State of a run after a step, for display and for the log.

    Attributes:
        step: steps done.
        loss: running mean of the training loss.
        lr: learning rate of the last step.
        seconds_seen: seconds of audio trained on, over all sessions of the run.
        speed: seconds of audio per second since this call of `run`.
        waiting: share of that time in which the network waited for data.
        skipped: steps left out for a gradient that was not finite.
        figures: of a validation that has just ended, else None.
        best: figures of the best validation.
    """

    step: int = 0
    loss: float = math.nan
    lr: float = 0.0
    seconds_seen: float = 0.0
    speed: float = 0.0
    waiting: float = 0.0
    skipped: int = 0
    figures: dict[str, float] | None = None
    best: dict[str, float] | None = None
