"""The training loop: one for training from nothing, warm starts and fine-tuning."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dccrn_cli.errors import CheckpointError, DataError, OptionError
from dccrn_cli.nn.checkpoint import save_model
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.nn.network import Network
from dccrn_cli.training.average import WeightAverage
from dccrn_cli.training.losses import LossOptions, training_loss
from dccrn_cli.training.mixing import Mixer
from dccrn_cli.training.prefetch import Prefetcher
from dccrn_cli.training.validation import Pair, validate

LAST = "last.pt"
BEST = "best.safetensors"
LOG = "log.jsonl"

MAX_BAD_STEPS = 10
"""Steps in a row without a finite gradient after which training gives up."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Attributes:
        steps: steps in all; the cosine schedule ends there.
        batch: examples per step.
        lr: peak learning rate of Adam.
        weight_decay: decoupled (AdamW).
        warmup: steps of linear rise of the learning rate.
        schedule: "plateau" halves the rate when `patience` validations bring nothing better;
            "cosine" falls to 1 % of it at the last step.
        patience: validations without a better loss before a halving.
        early_stop: validations without a better loss before the end; 0 for never.
        clip: largest norm of the gradient.
        ema: decay of the running average of weights, which is what is validated and saved.
        bf16: bfloat16 autocast.
        validate_every: steps.
        save_every_s: seconds between resumable checkpoints.
        seed: sets initial weights and data.
    """

    steps: int = 100_000
    batch: int = 4
    lr: float = 2e-3
    weight_decay: float = 1e-5
    warmup: int = 200
    schedule: Literal["plateau", "cosine"] = "plateau"
    patience: int = 2
    early_stop: int = 10
    clip: float = 1.0
    ema: float = 0.999
    bf16: bool = True
    validate_every: int = 2000
    save_every_s: float = 60.0
    seed: int = 0


@dataclass
class Progress:
    """State of a run after a step, for display and for the log.

    Attributes:
        step: steps done.
        loss: running mean of the training loss.
        lr: learning rate of the last step.
        seconds_seen: seconds of audio trained on, over all sessions of the run.
        speed: seconds of audio per second since this call of `run`.
        skipped: steps left out for a gradient that was not finite.
        figures: of a validation that has just ended, else None.
        best: figures of the best validation.
    """

    step: int = 0
    loss: float = math.nan
    lr: float = 0.0
    seconds_seen: float = 0.0
    speed: float = 0.0
    skipped: int = 0
    figures: dict[str, float] | None = None
    best: dict[str, float] | None = None


class Trainer:
    """Trains a network in a folder that holds `last.pt`, `best.safetensors` and `log.jsonl`.

    A run that was stopped at any moment goes on from its last checkpoint; batch n is the same
    whether or not the run was interrupted.

    Args:
        model: the network, with its starting weights.
        mixer: makes the batches.
        pairs: fixed validation pairs.
        folder: of the run; made if missing.
        options, loss_options: see there.
        provenance: stored in the model file, with figures and hours added.
    """

    def __init__(
        self,
        model: Network,
        mixer: Mixer,
        pairs: Sequence[Pair],
        folder: str | Path,
        options: TrainOptions,
        loss_options: LossOptions | None = None,
        device: str | torch.device = "cpu",
        provenance: dict[str, Any] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).train()
        self.mixer = mixer
        self.pairs = pairs
        self.folder = Path(folder)
        self.options = options
        self.loss_options = loss_options or LossOptions()
        self.provenance = provenance or {}
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=options.lr, weight_decay=options.weight_decay, betas=(0.9, 0.98)
        )
        self.average = WeightAverage(self.model, options.ema)
        self.progress = Progress()
        self.rate_scale = 1.0
        self.since_best = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"cannot be the folder of a run ({error.strerror})", self.folder) from None

    def resume(self) -> bool:
        """Take up the run of this folder, if there is one.

        Raises:
            CheckpointError: `last.pt` is damaged or of another network.
            OptionError: the run was started with another batch or seed, so its data would change.
        """
        path = self.folder / LAST
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load(state["average"])
            self.progress = Progress(**state["progress"])
            self.rate_scale = state["rate_scale"]
            self.since_best = state["since_best"]
            started_with = state["data"]
        except Exception as error:  # a damaged file fails in many ways inside torch
            reason = str(error).strip().partition("\n")[0]
            raise CheckpointError(f"cannot be resumed ({type(error).__name__}: {reason})", path) from error
        if started_with != self._data():
            raise OptionError(f"this run was started with {started_with}, not {self._data()}", path)
        return True

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after each step. Ends at `steps`, on early stop, or when `stop()`.

        Raises:
            DataError: no finite loss in many steps.
        """
        options = self.options
        started, seen_before, saved = time.monotonic(), self.progress.seconds_seen, time.monotonic()
        bad = 0
        with Prefetcher(self.mixer, options.batch, self.progress.step) as batches:
            while self.progress.step < options.steps and not self._stalled() and not stop():
                noisy, clean = (torch.from_numpy(x).to(self.device) for x in next(batches))
                loss, finite = self._step(noisy, clean)
                bad = 0 if finite else bad + 1
                if bad > MAX_BAD_STEPS:
                    raise DataError(f"no finite gradient in {bad} steps in a row; the learning rate may be too high")
                now = self.progress
                now.step += 1
                now.skipped += not finite
                now.seconds_seen += noisy.numel() / SAMPLE_RATE
                now.speed = (now.seconds_seen - seen_before) / (time.monotonic() - started)
                if finite:
                    now.loss = loss if math.isnan(now.loss) else 0.99 * now.loss + 0.01 * loss
                now.figures = None
                if now.step % options.validate_every == 0 or now.step == options.steps:
                    now.figures = self._validate()
                if now.figures or time.monotonic() - saved > options.save_every_s:
                    self.save()
                    saved = time.monotonic()
                if now.figures:
                    self._log()  # once it is sure that this step will not be done again
                yield replace(now)
        self.save()

    def _stalled(self) -> bool:
        return 0 < self.options.early_stop <= self.since_best

    def learning_rate(self, step: int) -> float:
        """Rate at a step, counted from 0."""
        options = self.options
        rate = options.lr * min(1.0, (step + 1) / max(options.warmup, 1))
        if options.schedule == "cosine":
            return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / options.steps, 1.0))))
        return rate * self.rate_scale

    def _step(self, noisy: Tensor, clean: Tensor) -> tuple[float, bool]:
        rate = self.learning_rate(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.progress.lr = rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bf16):
            estimate = self.model(noisy)
        loss = training_loss(estimate.float(), clean, self.loss_options)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        finite = bool(torch.isfinite(norm))
        if finite:
            self.optimizer.step()
            self.average.update(self.model)
        return float(loss.detach()), finite

    def _validate(self) -> dict[str, float]:
        now = self.progress
        model = self.average.model()
        figures = validate(model, self.pairs, self.loss_options)
        better = now.best is None or figures["loss"] < now.best["loss"]
        if better:
            now.best = figures
            self.since_best = 0
            save_model(model, self.folder / BEST, self._provenance(figures))
        else:
            self.since_best += 1
            if self.options.schedule == "plateau" and self.since_best % max(self.options.patience, 1) == 0:
                self.rate_scale /= 2
        return figures

    def _log(self) -> None:
        now = self.progress
        record = {k: v for k, v in asdict(now).items() if k not in ("best", "figures")} | (now.figures or {})
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")

    def _provenance(self, figures: dict[str, float]) -> dict[str, Any]:
        return {
            **self.provenance,
            "steps": self.progress.step,
            "hours_seen": round(self.provenance.get("hours_seen", 0.0) + self.progress.seconds_seen / 3600, 2),
            "training": asdict(self.options),
            "loss": asdict(self.loss_options),
            "mixing": asdict(self.mixer.options),
            "held_out": figures,
        }

    def _data(self) -> dict[str, float]:
        """What must stay the same for batch n to stay the same."""
        return {"batch": self.options.batch, "seed": self.mixer.seed, "seconds": self.mixer.options.seconds}

    def save(self) -> None:
        """Write `last.pt`, atomically."""
        path = self.folder / LAST
        temporary = path.with_suffix(".tmp")
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "progress": asdict(replace(self.progress, figures=None)),
            "rate_scale": self.rate_scale,
            "since_best": self.since_best,
            "data": self._data(),
        }
        torch.save(state, temporary)
        os.replace(temporary, path)
