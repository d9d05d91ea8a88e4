"""Validation on fixed pairs of noisy and clean speech."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dccrn_cli.errors import DataError
from dccrn_cli.metrics import MetricError, pesq_wb, si_snr, stoi
from dccrn_cli.nn.config import SAMPLE_RATE
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.training.clips import Clip, find_clips
from dccrn_cli.training.losses import LossOptions, training_loss

MIN_PAIR_S = 0.25

MEASURES = {"si_snr": si_snr, "pesq_wb": pesq_wb, "stoi": stoi}


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
    return [read_pair(*couple) for couple in find_couples(Path(folder) / "noisy", Path(folder) / "clean")]


def find_couples(noisy: Path, clean: Path) -> list[tuple[Clip, Clip]]:
    """Clips of two folders with one relative path, noisy first.

    Raises:
        DataError: a folder is missing, or files have no partner.
    """
    there, here = ({clip.name: clip for clip in find_clips([folder])} for folder in (clean, noisy))
    if alone := sorted(there.keys() ^ here.keys()):
        raise DataError(f"{len(alone)} files without a partner, such as {alone[0]}", noisy)
    return [(here[name], there[name]) for name in sorted(here)]


def read_pair(noisy: Clip, clean: Clip) -> Pair:
    """The samples of two clips.

    Raises:
        DataError: unreadable, shorter than PESQ needs, or of different lengths.
    """
    heard, wanted = (clip.decode(clip.content(), SAMPLE_RATE) for clip in (noisy, clean))
    if len(heard) != len(wanted):
        raise DataError("noisy and clean differ in length", noisy.name)
    if len(heard) < MIN_PAIR_S * SAMPLE_RATE:
        raise DataError(f"shorter than {MIN_PAIR_S} s", noisy.name)
    return Pair(noisy.name, heard, wanted)


Figures = dict[str, float]


def validate(model: SpectralNetwork, pairs: Sequence[Pair], loss_options: LossOptions) -> Figures:
    """Mean figures of a model: `loss`, `si_snr` (dB), `pesq_wb` (MOS-LQO), `stoi`.

    A measure that is not defined for a pair is left out of that mean.
    """
    return mean_figures(measure(model, pairs, loss_options))


def measure(
    model: SpectralNetwork,
    pairs: Sequence[Pair],
    loss_options: LossOptions,
    measures: Collection[str] = MEASURES.keys(),
) -> list[Figures]:
    """The figures of each pair, in order: the loss and some of `MEASURES`; those that are not defined are missing."""
    was_training, threads = model.training, torch.get_num_threads()
    model.eval()
    # A network has little to share out within 4 s of audio, and threads that wait for each other
    # are slow beside other work: each pair has one of its own.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda pair: _measure(model, pair, loss_options, measures), pairs))
    finally:
        torch.set_num_threads(threads)
        model.train(was_training)


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """Mean over pairs of each figure, NaN where no pair has it."""
    columns = {name: [each[name] for each in figures if name in each] for name in ("loss", *MEASURES)}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in columns.items()}


def _measure(model: SpectralNetwork, pair: Pair, loss_options: LossOptions, measures: Collection[str]) -> Figures:
    device = next(model.parameters()).device
    noisy, clean = (torch.from_numpy(x).to(device)[None] for x in (pair.noisy, pair.clean))
    with torch.inference_mode():
        estimate = model(noisy)
        figures = {"loss": float(training_loss(estimate, clean, loss_options, noisy))}
    output = estimate[0].float().cpu().numpy()
    for name in measures:
        try:
            figures[name] = MEASURES[name](pair.clean, output)
        except MetricError:
            continue
    return figures
