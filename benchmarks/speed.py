"""Measures start-up, speed and memory of `dccrn enhance`, in whole processes run side by side.

    python benchmarks/speed.py [--hours 3] [--runs 5]
    python benchmarks/speed.py --networks dccrn dccrn-small MODEL.safetensors [--runs 5]

Ratios compare the CPU times of alternating runs, so they hold on a busy machine. With --networks only
the networks are measured, through `Enhancer` on one thread in both precisions, as CPU seconds per second
of audio; names are bundled models, presets (with random weights, which cost the same) or files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
DCCRN = [sys.executable, "-m", "dccrn_cli"]


def run(command: list[str]) -> tuple[float, float]:
    """Run a process, which must succeed; returns CPU seconds and peak memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {command}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def write_noise(path: Path, seconds: float) -> None:
    """Write a file of modulated noise, minute by minute."""
    minute = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE)
    minute *= 0.5 + 0.5 * np.sin(np.arange(len(minute)) / 3000)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while file.frames < seconds * RATE:
            file.write(minute[: round(seconds * RATE) - file.frames])


def network_costs(names: list[str], runs: int) -> None:
    """Print the cost of each network in each precision."""
    import torch

    from dccrn_cli import Enhancer
    from dccrn_cli.engine.stream import StreamingNetwork
    from dccrn_cli.nn.build import build_network
    from dccrn_cli.nn.config import preset
    from dccrn_cli.nn.models import model_names

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    audio = 0.1 * np.random.default_rng(0).standard_normal(30 * RATE).astype(np.float32)
    blocks = np.split(audio, 10)
    enhancers = {}
    for name in names:
        is_trained = name in model_names() or Path(name).is_file()
        for precision in ("fp32", "bf16"):
            model = name if is_trained else StreamingNetwork(build_network(preset(name)), precision=precision)
            enhancers[name, precision] = Enhancer(model, device="cpu", precision=precision)
    times: dict[tuple[str, str], list[float]] = {key: [] for key in enhancers}
    for _ in range(runs + 1):
        for key, enhancer in enhancers.items():
            started = time.process_time()
            for block in blocks:
                enhancer.process(block)
            enhancer.flush()
            times[key].append((time.process_time() - started) / 30)
    first = statistics.median(times[next(iter(times))][1:])
    print("| network | precision | CPU-s per audio-s | ratio to the first |\n|---|---|---|---|")
    for (name, precision), values in times.items():
        median = statistics.median(values[1:])
        print(f"| {name} | {precision} | {median:.4f} | {median / first:.2f} |")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--networks", nargs="+", metavar="MODEL", help="only compare these networks")
    arguments = parser.parse_args()
    if arguments.networks:
        network_costs(arguments.networks, arguments.runs)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stem, seconds in (("short", 3.0), ("minute", 60.0), ("long", arguments.hours * 3600)):
            write_noise(folder / f"{stem}.wav", seconds)

        def enhance(stem: str) -> tuple[float, float]:
            return run([*DCCRN, "enhance", str(folder / f"{stem}.wav"), "-o", str(folder / "out"), "--overwrite"])

        enhance("short")  # warms up the file system cache
        torch, short, usage = [], [], []
        for _ in range(arguments.runs):
            torch.append(run([sys.executable, "-c", "import torch"])[0])
            short.append(enhance("short")[0])
            usage.append(run([*DCCRN, "--help"])[0])
        ratio = statistics.median(a / b for a, b in zip(short, torch, strict=True))
        print(f"dccrn --help: {statistics.median(usage):.2f} CPU-s")
        print(f"3 s file: {statistics.median(short):.2f} CPU-s, {ratio:.2f} × the time of importing torch")
        minute_s, minute_mib = enhance("minute")
        long_s, long_mib = enhance("long")
        memory = f"1 min {minute_mib:.0f} MiB, {arguments.hours:g} h {long_mib:.0f} MiB"
        print(f"peak memory: {memory}, ratio {long_mib / minute_mib:.2f}")
        speed = (arguments.hours * 3600 - 60) / (long_s - minute_s)
        print(f"{speed:.0f} seconds of audio per CPU second")


if __name__ == "__main__":
    main()
