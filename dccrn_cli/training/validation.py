"""Validation on fixed pairs of noisy and clean speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dccrn_cli.errors import DataError
from dccrn_cli.metrics import MetricError, pesq_wb, si_snr, stoi
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.nn.network import Network
from dccrn_cli.training.clips import INT16_FULL_SCALE, find_clips
from dccrn_cli.training.losses import LossOptions, training_loss
from dccrn_cli.training.mixing import Mixer

MIN_PAIR_S = 0.25


@dataclass(frozen=True)
class Pair:
    """One fixed pair, float32 `(samples,)` each, at 16 kHz."""

    name: str
    noisy: np.ndarray
    clean: np.ndarray


def read_pairs(folder: str | Path) -> list[Pair]:
    """Pairs with one relative path under `noisy/` and `clean/` of a folder.

    Raises:
        DataError: a folder is missing, or files have no partner or another length.
    """
    noisy = {clip.name: clip for clip in find_clips([Path(folder) / "noisy"])}
    clean = {clip.name: clip for clip in find_clips([Path(folder) / "clean"])}
    if alone := sorted(noisy.keys() ^ clean.keys()):
        raise DataError(f"{len(alone)} files without a partner, such as {alone[0]}", folder)
    pairs = []
    for name in sorted(noisy):
        pair = Pair(
            name, noisy[name].read() / np.float32(INT16_FULL_SCALE), clean[name].read() / np.float32(INT16_FULL_SCALE)
        )
        if len(pair.noisy) != len(pair.clean):
            raise DataError("noisy and clean differ in length", name)
        if len(pair.noisy) < MIN_PAIR_S * SAMPLE_RATE:
            raise DataError(f"shorter than {MIN_PAIR_S} s", name)
        pairs.append(pair)
    return pairs


def mixed_pairs(mixer: Mixer, count: int) -> list[Pair]:
    """Fixed pairs from a mixer: its first `count` examples."""
    return [Pair(f"mix_{number:03}", *mixer.example(number)) for number in range(count)]


def validate(model: Network, pairs: Sequence[Pair], loss_options: LossOptions) -> dict[str, float]:
    """Mean figures of a model: `loss`, `si_snr` (dB), `pesq_wb` (MOS-LQO), `stoi`.

    A measure that is not defined for a pair is left out of that mean.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    figures: dict[str, list[float]] = {"loss": [], "si_snr": [], "pesq_wb": [], "stoi": []}
    try:
        with torch.inference_mode():
            for pair in pairs:
                estimate = model(torch.from_numpy(pair.noisy).to(device)[None])
                loss = training_loss(estimate, torch.from_numpy(pair.clean).to(device)[None], loss_options)
                figures["loss"].append(float(loss))
                output = estimate[0].float().cpu().numpy()
                for name, measure in (("si_snr", si_snr), ("pesq_wb", pesq_wb), ("stoi", stoi)):
                    try:
                        figures[name].append(measure(pair.clean, output))
                    except MetricError:
                        continue
    finally:
        model.train(was_training)
    return {name: float(np.mean(values)) if values else float("nan") for name, values in figures.items()}
