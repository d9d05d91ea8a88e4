"""Validation on fixed pairs of noisy and clean speech."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from dccrn_cli.data.pairs import Pair
from dccrn_cli.metrics import MetricError, pesq_wb, si_snr, stoi
from dccrn_cli.nn.network import SpectralNetwork
from dccrn_cli.training.losses import LossOptions, training_loss

MEASURES = {"si_snr": si_snr, "pesq_wb": pesq_wb, "stoi": stoi}

Figures = dict[str, float]


def validate(model: SpectralNetwork, pairs: Sequence[Pair], loss_options: LossOptions) -> Figures:
    """Mean figures of a model: `loss`, `si_snr` (dB), `pesq_wb` (MOS-LQO), `stoi`.

    A metric that is undefined for a pair is excluded from its mean.
    """
    return mean_figures(measure(model, pairs, loss_options))


def measure(
    model: SpectralNetwork,
    pairs: Sequence[Pair],
    loss_options: LossOptions,
    measures: Collection[str] = MEASURES.keys(),
) -> list[Figures]:
    """Figures of each pair, in order: the loss and some of `MEASURES`; undefined ones are missing."""
    was_training, threads = model.training, torch.get_num_threads()
    model.eval()
    # 4 s of audio offer a network little parallelism, and threads that wait for each other are slow
    # on a busy machine: use one thread per pair.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda pair: _measure(model, pair, loss_options, measures), pairs))
    finally:
        torch.set_num_threads(threads)
        model.train(was_training)


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """Mean of each figure over pairs; NaN if no pair has it."""
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
