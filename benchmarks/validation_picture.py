"""Draws the figures of validation.py by input SNR, noisy and enhanced.

python benchmarks/validation.py DATA --json figures.json
python benchmarks/validation_picture.py figures.json examples/figures.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dccrn_cli.report.figure import figure_at

PANELS = {"si_snr": "SI-SNR in dB", "pesq_wb": "PESQ-WB (MOS-LQO)", "stoi": "STOI"}
LOOKS = {"enhanced": ("#0072B2", "o", "-"), "noisy": ("#404040", "x", (0, (1, 1.2)))}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="file written by validation.py --json")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    groups = json.loads(arguments.figures.read_text(encoding="utf-8"))["main"]
    with figure_at(arguments.picture, 2.8) as figure:
        for axes, (metric, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
            for what, (colour, marker, line) in LOOKS.items():
                prefix = f"{what} "
                snrs = sorted(float(name[len(prefix) : -3]) for name in groups if name.startswith(prefix))
                values = [groups[f"{prefix}{snr:g} dB"][metric] for snr in snrs]
                axes.plot(snrs, values, color=colour, marker=marker, linestyle=line, label=what)
            axes.set_title(title)
            axes.set_xticks(snrs)
            axes.set_xlabel("input SNR in dB")
            axes.grid(alpha=0.3)
        figure.axes[1].legend(frameon=False, loc="upper left")


if __name__ == "__main__":
    main()
