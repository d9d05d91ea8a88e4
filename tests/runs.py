"""Small training runs, shared by tests: `data` is a folder with speech/ and noise/."""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import TINY

from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.mixing.mixer import Mixer, MixingOptions
from dccrn_cli.mixing.source import mixed_pairs
from dccrn_cli.nn.dccrn import DCCRN
from dccrn_cli.training.train_options import TrainOptions
from dccrn_cli.training.trainer import Trainer


def mixer(data: Path, seed: int = 0, **options: object) -> Mixer:
    """Examples of 1 s by default."""
    mixing = MixingOptions(**{"seconds": 1.0, **options})  # type: ignore[arg-type]
    return Mixer(ClipPool(find_clips([data / "speech"])), ClipPool(find_clips([data / "noise"])), None, mixing, seed)


def trainer(data: Path, folder: Path, **options: object) -> Trainer:
    """A run of 30 steps of the smallest network by default."""
    torch.manual_seed(0)
    chosen = {"steps": 30, "batch": 2, "lr": 2e-3, "warmup": 5, "bf16": False, "validate_every": 10, **options}
    pairs = mixed_pairs(mixer(data, seed=9), 3)
    return Trainer(DCCRN(TINY), mixer(data), pairs, folder, TrainOptions(**chosen))  # type: ignore[arg-type]
