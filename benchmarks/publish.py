"""Copies a trained model to pretrained/ with its figures, if it is better than the one there.

    python benchmarks/publish.py RUN/best.safetensors --name dccrn-small --data DATA

The figures are those of validation.py. A model is better if the sum of its SI-SNR / 10 dB, PESQ and
STOI / 0.1 is higher on main.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from validation import Figures, evaluate, table

from dccrn_cli.nn.checkpoint import load_checkpoint, read_metadata, save_model
from dccrn_cli.nn.models import SUFFIX, models_folder

LICENCE = "CC BY 4.0; trained on recordings whose licences are listed in the model card"
DATA = "9 h of speech in five languages, 7 h of noise, 84 room responses"
START, END = "<!-- figures -->", "<!-- end of figures -->"


def merit(figures: Figures) -> float:
    """A single score for comparison: higher is better."""
    return figures["si_snr"] / 10 + figures["pesq_wb"] + figures["stoi"] / 0.1


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="cache folder for measurements")
    parser.add_argument("--hours", type=float, help="hours of audio seen, for a model made by several runs")
    parser.add_argument("--force", action="store_true", help="publish even if it is not better")
    arguments = parser.parse_args()

    target = models_folder() / f"{arguments.name}{SUFFIX}"
    model, provenance = load_checkpoint(arguments.model)
    if arguments.hours is not None:
        provenance["hours_seen"] = arguments.hours
    results = evaluate(arguments.data, str(arguments.model), cache=arguments.cache)
    print(table(results))
    enhanced = {part: groups["enhanced"] for part, groups in results.items()}
    if target.exists() and not arguments.force:
        before = read_metadata(target)[1]["validation"]["main"]
        if merit(enhanced["main"]) <= merit(before):
            raise SystemExit(f"not better than {os.fspath(target)}: {before}")
    save_model(model, target, {**provenance, "data": DATA, "licence": LICENCE, "validation": enhanced})
    card = target.with_suffix(".md")
    if card.exists():
        text = card.read_text(encoding="utf-8")
        hours = f"After training on {provenance.get('hours_seen', 0):.0f} hours of mixtures."
        block = f"{START}\n{hours}\n\n{table(results)}\n{END}"
        text = re.sub(re.escape(START) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL)
        card.write_text(text, encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
