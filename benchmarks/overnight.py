"""Measures the overhead of a long batch beyond the network, and whether memory stays flat.

    python benchmarks/overnight.py files [--count 10000]    overhead per file, memory
    python benchmarks/overnight.py jobs                     two processes against one
    python benchmarks/overnight.py pipe [--minutes 60]      first output, delay and memory of a pipe

Figures come from runs side by side on one machine; ratios are more meaningful than seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from dccrn_cli.engine.enhance_options import EnhanceOptions
from dccrn_cli.engine.enhancer import Enhancer
from dccrn_cli.engine.files.file import FileEnhancer
from dccrn_cli.engine.files.plan import make_plan
from dccrn_cli.engine.files.worker import prepare_torch

RATE = 16_000


def speechlike(seconds: float, seed: int) -> np.ndarray:
    """Noise with the rhythm of syllables, float32 `(samples,)`."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE)) / RATE
    envelope = 0.1 + np.clip(np.sin(2 * np.pi * 3 * time_s), 0, None)
    return (0.05 * envelope * rng.standard_normal(len(time_s))).astype(np.float32)


def resident_mib(pid: int | str = "self") -> float:
    """Current memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def run_files(count: int, model: str) -> None:
    """One-second files in one process: the network alone, then whole files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index in range(count):
            path = folder / "in" / f"{index // 1000}" / f"{index:05}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speechlike(1, index % 100), RATE)
        prepare_torch(1)
        plan = make_plan([str(folder / "in")], folder / "out")
        options = EnhanceOptions(model=model)
        enhance, alone = FileEnhancer(options), Enhancer(options.model)
        signals = [speechlike(1, index)[:, None] for index in range(100)]
        network_s, file_s, memory = 0.0, 0.0, []
        for start in range(0, count, 100):
            begun = time.perf_counter()
            for signal in signals:
                alone(signal)
            middle = time.perf_counter()
            for job in plan.jobs[start : start + 100]:
                assert enhance(job).status == "done"
            network_s, file_s = network_s + middle - begun, file_s + time.perf_counter() - middle
            memory.append(resident_mib())
    network_ms, file_ms = 1e3 * network_s / count, 1e3 * file_s / count
    early, half, end = memory[len(memory) // 100], memory[len(memory) // 2], memory[-1]
    print(
        f"{count:,} files of 1 s: network {network_ms:.2f} ms, whole {file_ms:.2f} ms a file, so "
        f"{file_ms - network_ms:.2f} ms around it; memory after 1 % {early:.0f}, half {half:.0f}, end {end:.0f} MiB"
    )


def run_jobs(model: str) -> None:
    """Sixty files of 4 s to 2 min, alternately with one process and with two."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for index, seconds in enumerate(np.geomspace(4, 120, 60)):
            soundfile.write(folder / "in" / f"{index:02}.wav", speechlike(seconds, index), RATE)
        times: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(3):
            for jobs in times:
                folders = [str(folder / "in"), "-o", str(folder / f"{turn}{jobs}")]
                command = [sys.executable, "-m", "dccrn_cli", "enhance", *folders]
                begun = time.perf_counter()
                subprocess.run([*command, "-j", str(jobs), "-q", "--model", model], check=True)
                times[jobs].append(time.perf_counter() - begun)
    one, two = (sorted(times[jobs])[1] for jobs in (1, 2))
    print(f"60 files: one process {one:.1f} s, two {two:.1f} s (medians of 3): {one / two:.2f} times the throughput")


def run_pipe(minutes: float, model: str) -> None:
    """Raw samples through standard input and output in steps of 10 ms, like a sound card."""
    for rate in (16_000, 48_000):
        command = [sys.executable, "-m", "dccrn_cli", "enhance", "-", "--raw", "s16le", "--rate", str(rate)]
        command += ["--model", model]
        step = np.zeros(rate // 100, "<i2").tobytes()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            out = process.stdout.fileno()
            sent, first = 0, 0.0
            while not first:
                process.stdin.write(step)
                process.stdin.flush()
                sent += 1
                # The model is loaded after the first step; from then on each response takes milliseconds.
                if select.select([out], [], [], 10 if sent == 1 else 0.1)[0]:
                    first = sent / 100
            received = len(os.read(out, 1 << 20))
            memory: list[float] = []
            noise = (3000 * np.random.default_rng(0).standard_normal(rate)).astype("<i2").tobytes()
            os.set_blocking(process.stdin.fileno(), False)
            total = int(minutes * 60) * len(noise)
            fed, rest = 0, noise
            while fed < total:
                ready, writable, _ = select.select([out], [process.stdin.fileno()], [])
                if ready:
                    received += len(os.read(out, 1 << 20))
                if writable:
                    written = os.write(process.stdin.fileno(), rest)
                    fed += written
                    rest = rest[written:] or noise
                    if fed // (total // 10) > len(memory):
                        memory.append(resident_mib(process.pid))
            os.set_blocking(process.stdin.fileno(), True)
            received += len(process.communicate()[0])
        assert received == fed + sent * len(step)
        print(
            f"{rate} Hz: first output after {first:.2f} s of audio; memory over {minutes:.0f} min of audio "
            f"{json.dumps([round(value) for value in memory])} MiB"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["files", "jobs", "pipe"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--model", default="dccrn-small")
    arguments = parser.parse_args()
    if arguments.what == "files":
        run_files(arguments.count, arguments.model)
    elif arguments.what == "jobs":
        run_jobs(arguments.model)
    else:
        run_pipe(arguments.minutes, arguments.model)


if __name__ == "__main__":
    main()
