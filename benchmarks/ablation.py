"""Trains variants of a network from scratch at the same cost.

    python benchmarks/ablation.py RUNS --clean SPEECH --noise NOISE --validation DATA --steps 700 \
        dccrn "one block=dccrn dual_path_blocks=1" dccrn-lstm

A variant is a preset, or NAME=PRESET FIELD=VALUE … with fields of its configuration in TOML. Each is
trained in one thread with the mixing, loss and optimizer of a recipe, on batches of 4 clips of 1 s. The
first variant gets the given number of steps, every other one as many as take the same CPU time. What a
step costs is measured first, with the variants taking turns, since CPU time depends on the other load on
the machine. DATA contains pairs in noisy/ and clean/ (or main/ with both); every second pair is measured.
RUNS receives a results file for each variant and seed, which is not computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
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
from dccrn_cli.training.trainer import Trainer

WARMUP_STEPS = 50
ROUNDS, STEPS_PER_ROUND = 5, 4


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

    def trainer(self, config: NetworkConfig, folder: str, steps: int, seed: int) -> Trainer:
        """Trainer of a new network."""
        torch.manual_seed(seed)
        mixer = Mixer(self.speech, self.noise, self.rooms, self.mixing, seed)
        options = dataclasses.replace(
            self.recipe.training, steps=steps, batch=4, ema=0.99, warmup=WARMUP_STEPS, validate_every=10**9, seed=seed
        )
        pairs = [pair for _, pair in self.pairs[:1]]
        return Trainer(build_network(config), mixer, pairs, folder, options, self.recipe.loss)

    def step_costs(self, configs: list[NetworkConfig]) -> list[float]:
        """CPU seconds of a training step of each network, all measured side by side on the same examples."""
        with tempfile.TemporaryDirectory() as folder:
            warm_up, *runs = (
                self.trainer(config, f"{folder}/{i}", 10**9, 0).run() for i, config in enumerate([configs[0], *configs])
            )
            for _ in range((1 + ROUNDS) * STEPS_PER_ROUND):
                next(warm_up)  # decodes the clips
            seconds: list[list[float]] = [[] for _ in runs]
            for _ in range(1 + ROUNDS):
                for run, measured in zip(runs, seconds, strict=True):
                    start = time.process_time()
                    for _ in range(STEPS_PER_ROUND):
                        next(run)
                    measured.append(time.process_time() - start)
        return [statistics.median(measured[1:]) / STEPS_PER_ROUND for measured in seconds]

    def run(self, config: NetworkConfig, steps: int, seed: int) -> dict[str, Any]:
        """Train and measure a network."""
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            trainer = self.trainer(config, folder, steps, seed)
            for _ in trainer.run():
                pass
        spent_s = time.process_time() - start
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
    parser.add_argument("--steps", type=int, default=700, help="steps of the first variant")
    parser.add_argument("--clip-s", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    variants = [parse_variant(text) for text in arguments.variants]
    costs = bench.step_costs([config for _, config in variants])
    print("CPU s per step:", ", ".join(f"{name} {cost:.3f}" for (name, _), cost in zip(variants, costs, strict=True)))
    print("| variant | seed | parameters M | MMAC/s | steps | CPU s | SI-SNR dB | PESQ-WB | STOI |\n|" + "---|" * 9)
    for seed in arguments.seeds:
        for (name, config), cost in zip(variants, costs, strict=True):
            path = arguments.runs / f"{name}.{seed}.json"
            record = read_json(path) or bench.run(config, round(arguments.steps * costs[0] / cost), seed)
            write_json(path, record)
            with torch.device("meta"):
                parameters = count_parameters(build_network(config)) / 1e6
            figures = record["figures"]
            cells = [
                name, f"{seed}", cell(parameters), f"{macs_per_second(config) / 1e6:.0f}", f"{record['steps']}",
                f"{record['cpu_s']:.0f}", cell(figures["si_snr"]), cell(figures["pesq_wb"], 3),
                cell(figures["stoi"], 3),
            ]  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
