"""Start-up, speed and memory of `dccrn enhance`, as whole processes measured side by side.

    python benchmarks/speed.py [--hours 3] [--runs 5]

Ratios compare runs that took turns, so that they hold on a noisy machine.
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
    """Wall seconds and peak memory in MiB of a process that must succeed."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"failed: {command}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def write_noise(path: Path, seconds: float) -> None:
    """A file of modulated noise, minute by minute."""
    minute = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE)
    minute *= 0.5 + 0.5 * np.sin(np.arange(len(minute)) / 3000)
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        while file.frames < seconds * RATE:
            file.write(minute[: round(seconds * RATE) - file.frames])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stem, seconds in (("short", 3.0), ("minute", 60.0), ("long", arguments.hours * 3600)):
            write_noise(folder / f"{stem}.wav", seconds)

        def enhance(stem: str) -> tuple[float, float]:
            return run([*DCCRN, "enhance", str(folder / f"{stem}.wav"), "-o", str(folder / "out"), "--overwrite"])

        enhance("short")  # fills the caches of the file system
        torch, short, usage = [], [], []
        for _ in range(arguments.runs):
            torch.append(run([sys.executable, "-c", "import torch"])[0])
            short.append(enhance("short")[0])
            usage.append(run([*DCCRN, "--help"])[0])
        ratio = statistics.median(a / b for a, b in zip(short, torch, strict=True))
        print(f"dccrn --help: {statistics.median(usage):.2f} s")
        print(f"3 s file: {statistics.median(short):.2f} s, {ratio:.2f} × the time of importing torch")
        minute_s, minute_mib = enhance("minute")
        long_s, long_mib = enhance("long")
        memory = f"1 min {minute_mib:.0f} MiB, {arguments.hours:g} h {long_mib:.0f} MiB"
        print(f"peak memory: {memory}, ratio {long_mib / minute_mib:.2f}")
        speed = (arguments.hours * 3600 - 60) / (long_s - minute_s)
        print(f"speed on one thread: {speed:.0f} × real time")


if __name__ == "__main__":
    main()
