"""Draws the course of training runs from their logs.

    python benchmarks/training_curve.py RUN... --picture benchmarks/training.png

Shows the loss and validation figures in each run's log.jsonl over the hours of audio seen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from dccrn_cli.report.figure import figure_at

PANELS = {"loss": "loss", "si_snr": "SI-SNR in dB", "pesq_wb": "PESQ-WB", "stoi": "STOI"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run folders of `dccrn train`, labelled by name")
    parser.add_argument("--picture", type=Path, required=True)
    arguments = parser.parse_args()
    with figure_at(arguments.picture, 5.2) as figure:
        for axes, (name, title) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
            for run, colour in zip(arguments.runs, COLOURS, strict=False):
                lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
                rows: list[dict[str, Any]] = [row for row in map(json.loads, lines) if name in row]
                hours = [row["seconds_seen"] / 3600 for row in rows]
                axes.plot(hours, [row[name] for row in rows], color=colour, marker="o", markersize=3, label=run.name)
            axes.set_title(title)
            axes.grid(alpha=0.3)
            axes.set_xlabel("hours of audio")
        figure.axes[0].legend(frameon=False)


if __name__ == "__main__":
    main()
