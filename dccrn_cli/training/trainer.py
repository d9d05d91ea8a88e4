"""The training loop, shared by training from scratch, warm starts and fine-tuning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dccrn_cli.data.pairs import Pair
from dccrn_cli.errors import DataError, OptionError
from dccrn_cli.mixing.source import ExampleSource
from dccrn_cli.nn.checkpoint import save_model
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.training.allocator import keep_freed_memory
from dccrn_cli.training.distributed import Team
from dccrn_cli.training.ema import WeightAverage, changing_buffers
from dccrn_cli.training.losses import LossOptions, training_loss
from dccrn_cli.training.muon import Muon
from dccrn_cli.training.prefetch import Batches, prefetched
from dccrn_cli.training.run_folder import RunFolder
from dccrn_cli.training.train_options import Progress, TrainOptions
from dccrn_cli.training.validation import mean_figures, measure

MAX_BAD_STEPS = 10
"""Number of consecutive steps without a finite gradient that are tolerated."""


class Trainer:
    """Trains a network in a `RunFolder`.

    A run stopped at any moment resumes from its last checkpoint and ends in the same weights: batch n is
    the same whether or not the run was interrupted.

    Args:
        model: the network, with its starting weights.
        source: source of the examples.
        pairs: fixed validation pairs.
        folder: run folder, created if missing.
        options, loss_options: options for training and for the loss.
        team: the processes of this run, and the device of this one.
        provenance: stored in the model file, with figures and hours added.
        workers: processes that prepare batches; 0 for a thread.

    Attributes:
        progress: progress of the run.
        unreadable: clips that could not be read, with the reasons.
    """

    def __init__(
        self,
        model: SpectralNetwork,
        source: ExampleSource,
        pairs: Sequence[Pair],
        folder: str | Path,
        options: TrainOptions,
        loss_options: LossOptions | None = None,
        *,
        team: Team | None = None,
        provenance: dict[str, Any] | None = None,
        workers: int = 0,
    ) -> None:
        self.team = team or Team()
        self.model = model.to(self.team.device).train()
        self.source = source
        self.pairs = pairs
        self.folder = RunFolder(folder)
        self.options = options
        self.loss_options = loss_options or LossOptions()
        self.provenance = provenance or {}
        self.workers = workers
        if options.frozen_statistics:
            _freeze_statistics(self.model)
        if options.batch % self.team.size:
            raise OptionError(f"a batch of {options.batch} cannot be divided among {self.team.size} processes")
        self.optimizer = _optimizer(self.model.parameters(), options)
        self._statistics = changing_buffers(self.model)
        self.average = WeightAverage(self.model, options.ema)
        self.progress = Progress()
        self.unreadable: dict[str, str] = {}
        self.rate_scale = 1.0
        self.since_best = 0

    def resume(self) -> bool:
        """Resume the run in this folder; False if there is none.

        Raises:
            CheckpointError: `last.pt` is damaged or belongs to another network.
            OptionError: the run was started with another network, batch, seed, optimizer or mixing.
        """
        state = self.team.from_leader(self.folder.load() if self.team.leads else None)
        if state is None:
            return False
        with self.folder.taking_up():
            started_with = state["data"]
        changed = [
            f"{name} {started_with[name]}, not {value}"
            for name, value in self._unchangeable().items()
            if name in started_with and started_with[name] != value
        ]
        if changed:
            raise OptionError(f"this run was started with {'; '.join(changed)}", self.folder.last)
        with self.folder.taking_up():
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load(state["average"])
            self.progress = Progress(**state["progress"])
            self.rate_scale = state["rate_scale"]
            self.since_best = state["since_best"]
            if state.get("judged", self._judged()) != self._judged():  # another criterion: the best loss is unknown
                self.progress.best, self.since_best = None, 0
        if self.team.leads:
            self.folder.forget_after(self.progress.step)
        return True

    def run(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress]:
        """Train, yielding after each step, until `steps`, an early stop, or `stop()` returns True.

        Raises:
            DataError: many consecutive steps have no finite gradient.
            StorageError: the state or the model cannot be written; earlier files are kept.
        """
        options, team, now = self.options, self.team, self.progress
        keep_freed_memory()
        network = team.share(self.model)
        started = saved = time.monotonic()
        seen_before, waited, bad = now.seconds_seen, 0.0, 0
        batches = Batches(self.source, options.batch // team.size, team.rank, team.size)
        with prefetched(batches, range(now.step, options.steps), self.workers) as made:
            stopped: float = team.any(stop())
            while now.step < options.steps and not self._stalled() and not stopped:
                asked = time.monotonic()
                batch = next(made)
                waited += time.monotonic() - asked
                self.unreadable = batch.unreadable
                loss, finite = self._step(network, torch.from_numpy(batch.noisy), torch.from_numpy(batch.clean))
                bad = 0 if finite else bad + 1
                if bad > MAX_BAD_STEPS:
                    raise DataError(f"no finite gradient in {bad} consecutive steps; the learning rate may be too high")
                now.step += 1
                loss, stopped = team.mean([loss, float(stop())])
                now.skipped += not finite
                now.seconds_seen += batch.noisy.size * team.size / SAMPLE_RATE
                elapsed = time.monotonic() - started
                now.speed, now.waiting = (now.seconds_seen - seen_before) / elapsed, waited / elapsed
                if finite:
                    now.loss = loss if math.isnan(now.loss) else 0.99 * now.loss + 0.01 * loss
                now.figures = None
                if options.validates_after(now.step):
                    now.figures = self._validate()
                if now.figures or time.monotonic() - saved > options.save_every_s:
                    self.save()
                    saved = time.monotonic()
                yield replace(now)
        self.save()

    def _stalled(self) -> bool:
        return 0 < self.options.early_stop <= self.since_best

    def _step(self, network: torch.nn.Module, noisy: Tensor, clean: Tensor) -> tuple[float, bool]:
        """One optimizer step, skipped if the gradient is not finite; returns the loss and whether it was finite."""
        device, options = self.team.device, self.options
        noisy, clean = noisy.to(device, non_blocking=True), clean.to(device, non_blocking=True)
        self.progress.lr = self.rate_scale * options.learning_rate(self.progress.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.progress.lr
        statistics = [buffer.clone() for buffer in self._statistics]
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            estimate = network(noisy)
        loss = training_loss(estimate, clean, self.loss_options, noisy)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip or math.inf)
        finite = bool(torch.isfinite(norm))
        if finite:
            self.optimizer.step()
            self.average.update(self.model)
        else:  # batch norm statistics have already been updated
            torch._foreach_copy_(self._statistics, statistics)
        return float(loss.detach()), finite

    def _validate(self) -> dict[str, float]:
        now, team = self.progress, self.team
        model = self.average.model()
        mine = measure(model, self.pairs[team.rank :: team.size], self.loss_options)
        figures = mean_figures(team.gather(mine))
        if figures["loss"] < (math.inf if now.best is None else now.best["loss"]):
            now.best = figures
            self.since_best = 0
            if team.leads:
                save_model(model, self.folder.best, self._provenance(figures))
        else:
            self.since_best += 1
            if self.options.schedule == "plateau" and self.since_best % self.options.patience == 0:
                self.rate_scale /= 2
        if team.leads:
            record = {k: v for k, v in asdict(now).items() if k not in ("best", "figures")}
            self.folder.log(record | figures)
        return figures

    def _provenance(self, figures: dict[str, float]) -> dict[str, Any]:
        return {
            **self.provenance,
            "steps": self.progress.step,
            "hours_seen": round(self.provenance.get("hours_seen", 0.0) + self.progress.seconds_seen / 3600, 2),
            "training": asdict(self.options),
            "loss": self.loss_options.to_dict(),
            "mixing": asdict(self.source.options),
            "held_out": figures,
        }

    def _unchangeable(self) -> dict[str, Any]:
        """Settings on which batch n and the optimizer state depend."""
        options, source = self.options, self.source
        network = {f"network.{name}": value for name, value in asdict(self.model.config).items()}
        return network | {
            "optimizer": options.optimizer, "batch": options.batch, "seed": source.seed, **asdict(source.options)
        }  # fmt: skip

    def _judged(self) -> list[Any]:
        """Identifies the criterion behind the best loss so far."""
        return [self.loss_options.to_dict(), [pair.name for pair in self.pairs]]

    def save(self) -> None:
        """Write `last.pt` atomically."""
        if not self.team.leads:
            return
        self.folder.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average.state(),
                "progress": asdict(replace(self.progress, figures=None)),
                "rate_scale": self.rate_scale,
                "since_best": self.since_best,
                "data": self._unchangeable(),
                "judged": self._judged(),
            }
        )


def _optimizer(parameters: Iterable[Tensor], options: TrainOptions) -> torch.optim.Optimizer:
    lr, betas, decay = options.lr, options.betas, options.weight_decay
    if options.optimizer == "muon":
        dtype = torch.bfloat16 if options.bf16 else torch.float32
        return Muon(parameters, lr, betas=betas, weight_decay=decay, dtype=dtype)
    kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr, betas=betas, weight_decay=decay)


def _freeze_statistics(model: torch.nn.Module) -> None:
    for module in model.modules():
        if any("running" in name for name, _ in module.named_buffers(recurse=False)):
            module.eval()
