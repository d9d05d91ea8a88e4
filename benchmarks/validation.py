"""Figures of a model on a validation set, from the files that `dccrn enhance` writes.

    python benchmarks/validation.py DATA [--model NAME|PATH] [--json FIGURES.json]

DATA holds main/, reverb/ and clean/, each with noisy/ and clean/ of the same file names, and
metadata.csv with the columns name and snr_db. SI-SNR in dB has means removed; PESQ is wide-band
MOS-LQO (P.862.2); STOI is the classic measure. All are means over pairs.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import soundfile

from dccrn_cli.audio.plan import make_plan
from dccrn_cli.engine.file import FileEnhancer
from dccrn_cli.engine.options import EnhanceOptions
from dccrn_cli.metrics import pesq_wb, si_snr, stoi

PARTS = ("main", "reverb", "clean")
MEASURES = {"si_snr": si_snr, "pesq_wb": pesq_wb, "stoi": stoi}

Figures = dict[str, float]


def measure(reference: Path, estimate: Path) -> Figures:
    """All measures of one pair of files, and the level of the estimate against the reference."""
    clean, _ = soundfile.read(reference)
    output, _ = soundfile.read(estimate)
    figures = {name: function(clean, output) for name, function in MEASURES.items()}
    figures["level_db"] = float(10 * np.log10(np.sum(output**2) / np.sum(clean**2)))
    return figures


def mean(rows: list[Figures]) -> Figures:
    """Mean of every figure over pairs."""
    return {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}


def evaluate(data: Path, model: str | None) -> dict[str, dict[str, Figures]]:
    """`{part: {"noisy" or "enhanced" or "enhanced <snr> dB": figures}}`."""
    with open(data / "metadata.csv", newline="", encoding="utf-8") as file:
        snr_db = {row["name"]: row["snr_db"] for row in csv.DictReader(file)}
    enhance = FileEnhancer(EnhanceOptions(model=model))
    results: dict[str, dict[str, Figures]] = {}
    for part in PARTS:
        with tempfile.TemporaryDirectory() as folder:
            plan = make_plan([str(data / part / "noisy")], folder)
            groups: dict[str, list[Figures]] = defaultdict(list)
            for result in map(enhance, plan.jobs):
                if result.status != "done":
                    raise SystemExit(f"{result.source}: {result.reason}")
                reference = data / part / "clean" / result.source.name
                groups["noisy"].append(measure(reference, result.source))
                figures = measure(reference, result.target)
                groups["enhanced"].append(figures)
                if part == "main":
                    groups[f"enhanced {snr_db[result.source.stem]} dB"].append(figures)
            results[part] = {name: mean(rows) for name, rows in groups.items()}
    return results


def table(results: dict[str, dict[str, Figures]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| set | | SI-SNR dB | PESQ-WB | STOI | level dB |", "|---|---|---|---|---|---|"]
    for part, groups in results.items():
        for name, f in groups.items():
            cells = f"{f['si_snr']:.2f} | {f['pesq_wb']:.3f} | {f['stoi']:.3f} | {f['level_db']:+.2f}"
            lines.append(f"| {part} | {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    results = evaluate(arguments.data, arguments.model)
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
