"""Trains variants of a network from scratch on the same budget of CPU time.

    python benchmarks/ablation.py RUNS --clean SPEECH --noise NOISE --validation DATA --budget 200 \
        dual-path dccrn "one block=dual-path dual_path_blocks=1"

A variant is a preset, or NAME=PRESET FIELD=VALUE … with fields of its configuration in TOML. Each is
trained in one thread with the mixing, loss and optimizer of a recipe, on batches of 4 clips of 1 s, until
the budget is spent; the learning rate follows a cosine over the time spent. DATA contains pairs in noisy/ and clean/
(or main/ with both); every second pair is measured. RUNS receives a results file for each variant and seed.
CPU time is that of the process, including mixing, so other load on the machine has little effect.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import torch
from models import cell, labelled_pairs, measure, read_json, write_json

from dccrn_cli.data.clips import ClipPool, find_clips
from dccrn_cli.data.pairs import Pair
from dccrn_cli.mixing.mixer import Mixer
from dccrn_cli.nn.base import NetworkConfig
from dccrn_cli.nn.build import build_network
from dccrn_cli.nn.config import preset
from dccrn_cli.nn.cost import count_parameters, macs_per_second
from dccrn_cli.training.recipe import read_recipe
from dccrn_cli.training.train_options import TrainOptions
from dccrn_cli.training.trainer import Trainer

WARMUP_STEPS = 50


@dataclasses.dataclass(frozen=True)
class TimedOptions(TrainOptions):
    """Training options of a run that ends when its CPU time is spent."""

    budget_s: float = 0.0
    started_s: float = 0.0

    def spent(self) -> float:
        """Share of the budget spent so far."""
        return min((time.process_time() - self.started_s) / self.budget_s, 1.0)

    def learning_rate(self, step: int) -> float:
        """Learning rate, a cosine over the time spent."""
        return (
            self.lr * min(1.0, (step + 1) / WARMUP_STEPS) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.spent())))
        )


def parse_variant(text: str) -> tuple[str, NetworkConfig]:
    """Parse a preset, or `NAME=PRESET FIELD=VALUE …`, into a name and a configuration."""
    name, equals, rest = text.partition("=")
    if not equals:
        return text, preset(text)
    base, *fields = rest.split(" ")
    return name, dataclasses.replace(preset(base), **tomllib.loads("\n".join(fields)))


class Bench:
    """Data and settings shared by all runs.

    Args:
        arguments: command-line arguments.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.recipe = read_recipe(arguments.recipe)
        self.mixing = dataclasses.replace(self.recipe.mixing, seconds=arguments.clip_s)
        self.speech, self.noise = (ClipPool(find_clips(paths)) for paths in (arguments.clean, arguments.noise))
        self.rooms = ClipPool(find_clips(arguments.rooms)) if arguments.rooms else None
        self.pairs: list[tuple[str, Pair]] = labelled_pairs(arguments.validation, 0)[::2]

    def run(self, config: NetworkConfig, budget_s: float, seed: int) -> dict[str, Any]:
        """Train and measure a network."""
        torch.manual_seed(seed)
        mixer = Mixer(self.speech, self.noise, self.rooms, self.mixing, seed)
        settings = dataclasses.asdict(self.recipe.training) | {
            "steps": 10**9, "batch": 4, "ema": 0.99, "validate_every": 10**9, "seed": seed,
            "budget_s": budget_s, "started_s": time.process_time(),
        }  # fmt: skip
        options = TimedOptions(**settings)
        with tempfile.TemporaryDirectory() as folder:
            pairs = [pair for _, pair in self.pairs[:1]]
            trainer = Trainer(build_network(config), mixer, pairs, folder, options, self.recipe.loss)
            for progress in trainer.run(stop=lambda: options.spent() == 1.0):
                steps = progress.step
        spent_s = time.process_time() - options.started_s
        return {"steps": steps, "cpu_s": spent_s, "figures": measure(self.pairs, trainer.average.model())["all"]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="results folder, created if missing")
    parser.add_argument("variants", nargs="+")
    parser.add_argument("--clean", type=Path, nargs="+", required=True)
    parser.add_argument("--noise", type=Path, nargs="+", required=True)
    parser.add_argument("--rooms", type=Path, nargs="+")
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--recipe", default="dccrn")
    parser.add_argument("--budget", type=float, default=200.0, help="CPU seconds per run")
    parser.add_argument("--clip-s", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    print("| variant | seed | parameters M | MMAC/s | steps | CPU s | SI-SNR dB | PESQ-WB | STOI |\n|" + "---|" * 9)
    for name, config in map(parse_variant, arguments.variants):
        with torch.device("meta"):
            parameters = count_parameters(build_network(config)) / 1e6
        for seed in arguments.seeds:
            path = arguments.runs / f"{name}.{seed}.json"
            record = read_json(path) or bench.run(config, arguments.budget, seed)
            write_json(path, record)
            figures = record["figures"]
            cells = [
                name, f"{seed}", cell(parameters), f"{macs_per_second(config) / 1e6:.0f}", f"{record['steps']}",
                f"{record['cpu_s']:.0f}", cell(figures["si_snr"]), cell(figures["pesq_wb"], 3),
                cell(figures["stoi"], 3),
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
