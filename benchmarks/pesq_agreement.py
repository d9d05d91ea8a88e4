"""Measures how well the differentiable PESQ loss agrees with the `pesq` package.

    python benchmarks/pesq_agreement.py DATA [--model NAME|PATH]

DATA contains noisy/ and clean/. Compares the wide-band MOS-LQO of the noisy files and of a model's
output for them.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from dccrn_cli.data.pairs import read_pairs
from dccrn_cli.metrics import MetricError, pesq_wb
from dccrn_cli.nn.checkpoint import load_checkpoint
from dccrn_cli.nn.models import find_model
from dccrn_cli.training.losses.pesq import pesq_mos_lqo


def line(name: str, theirs: list[float], ours: list[float]) -> str:
    """A row of the table."""
    a, b = np.array(theirs), np.array(ours)
    error = np.abs(a - b)
    return f"| {name} | {len(a)} | {np.corrcoef(a, b)[0, 1]:.4f} | {error.mean():.4f} | {error.max():.2f} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = load_checkpoint(find_model(arguments.model))
    figures: dict[str, tuple[list[float], list[float]]] = {"noisy": ([], []), "enhanced": ([], [])}
    for pair in read_pairs(arguments.data):
        noisy, clean = (torch.from_numpy(x)[None] for x in (pair.noisy, pair.clean))
        with torch.inference_mode():
            signals = {"noisy": noisy, "enhanced": model(noisy)}
        for name, signal in signals.items():
            try:
                reference = pesq_wb(pair.clean, signal[0].numpy())
            except MetricError:
                continue  # undefined for this pair
            figures[name][0].append(reference)
            figures[name][1].append(float(pesq_mos_lqo(signal, clean)))
    print("| | pairs | r | mean error | largest |\n|---|---|---|---|---|")
    for name, (theirs, ours) in figures.items():
        print(line(name, theirs, ours))
    print(line("all", *(list(chain.from_iterable(parts)) for parts in zip(*figures.values(), strict=True))))


if __name__ == "__main__":
    main()
