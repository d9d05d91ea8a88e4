"""Training options, and the progress of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dccrn_cli.errors import OptionError

Schedule = Literal["plateau", "cosine"]
"""How the learning rate falls."""


@dataclass(frozen=True)
class TrainOptions:
    """Training options.

    Attributes:
        steps: total number of steps; the cosine schedule ends there.
        batch: examples per step over all processes.
        lr: peak learning rate.
        optimizer: "adamw" decouples weight decay from the gradients, "adam" adds it to them; "muon"
            (`dccrn_cli.training.muon`) learns faster.
        betas: decay rates of the optimizer's running means.
        weight_decay: weight decay towards zero.
        warmup: steps of linear warm-up of the learning rate.
        schedule: "plateau" halves the rate after `patience` validations without improvement;
            "cosine" decays to 1 % of the peak at the last step.
        patience: validations without a better loss before halving.
        early_stop: validations without a better loss before stopping; 0 for never.
        clip: largest gradient norm; 0 for no limit.
        ema: decay of the running average of weights, which is what is validated and saved; 0 for
            the weights themselves.
        bf16: use bfloat16 autocast.
        frozen_statistics: keep the batch norm statistics of the initial model.
        validate_every: steps between validations.
        first_validation: step of an early first validation, to reveal problems soon, if the run validates before
            its end; 0 for none.
        save_every_s: seconds between resumable checkpoints.
        seed: seed of initial weights and data.
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
             "steps, batch, validate_every and patience must be at least 1"),
            (self.lr > 0 and math.isfinite(self.lr), "lr must be above 0"),
            (all(0 <= beta < 1 for beta in (*self.betas, self.ema)), "betas and ema must be at least 0 and below 1"),
            (min(self.weight_decay, self.warmup, self.early_stop, self.clip, self.first_validation,
                 self.save_every_s, self.seed) >= 0,
             "weight_decay, warmup, early_stop, clip, first_validation, save_every_s and seed must not be negative"),
        ]  # fmt: skip
        for holds, message in rules:
            if not holds:
                raise OptionError(message)

    def validates_after(self, step: int) -> bool:
        """Whether to validate after this step."""
        early = step == self.first_validation < self.validate_every < self.steps
        return early or step % self.validate_every == 0 or step == self.steps

    def learning_rate(self, step: int) -> float:
        """Learning rate at a step, counted from 0, before any halving on a plateau."""
        rate = self.lr * min(1.0, (step + 1) / max(self.warmup, 1))
        if self.schedule == "cosine":
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))
        return rate


@dataclass
class Progress:
    """State of a run after a step, for display and for the log.

    Attributes:
        step: number of steps done.
        loss: running mean of the training loss.
        lr: learning rate of the last step.
        seconds_seen: seconds of audio trained on, over the whole run.
        speed: seconds of audio per second since this call of `run`.
        waiting: share of that time spent waiting for data.
        skipped: steps skipped because the gradient was not finite.
        figures: figures of a validation that has just ended, otherwise None.
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
