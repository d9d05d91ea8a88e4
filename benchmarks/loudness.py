"""Loudness of results: how near 20 files come to what was asked for, and the memory that a long file takes.

python benchmarks/loudness.py FOLDER [--lufs -16] [--minutes 1 30]

FOLDER holds recordings, of which the first 20 are taken. The second part enhances tones with pauses of the given
lengths with `dccrn-small`, each in a process of its own, and compares their peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from dccrn_cli.metrics.loudness import integrated_loudness
from dccrn_cli.metrics.true_peak import TruePeakMeter

FILES = 20


def enhance(source: Path, out: Path, lufs: float, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "dccrn_cli", "enhance", str(source), "-o", str(out), "--loudness", str(lufs)]
    shown = subprocess.run([*command, "--json", *options], check=True, capture_output=True, text=True).stdout
    return [event for line in shown.splitlines() if (event := json.loads(line)).get("status") == "done"]


def near(folder: Path, lufs: float) -> None:
    with tempfile.TemporaryDirectory() as work:
        chosen, out = Path(work, "in"), Path(work, "out")
        chosen.mkdir()
        files = sorted(path for path in folder.iterdir() if path.is_file())[:FILES]
        for path in files:
            (chosen / path.name).symlink_to(path.absolute())
        limited = {Path(event["source"]).name: "would exceed" in event["notes"] for event in enhance(chosen, out, lufs)}
        errors = []
        for path in sorted(out.iterdir()):
            audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
            meter = TruePeakMeter(rate, audio.shape[1])
            meter.process(audio)
            got, peak = integrated_loudness(audio, rate), meter.finish()
            print(f"{path.name:40} {got:7.2f} LUFS {peak:6.2f} dBTP {'at the limit' if limited[path.name] else ''}")
            errors.append(abs(peak + 1.0) if limited[path.name] else abs(got - lufs))
        within = sum(error <= 0.2 for error in errors)
        print(
            f"{within} of {len(errors)} files within 0.2 of {lufs} LUFS or of -1 dBTP; largest error {max(errors):.3f}"
        )


def memory(minutes: list[float], lufs: float) -> None:
    rate = 16_000
    for length in minutes:
        with tempfile.TemporaryDirectory() as work:
            source = Path(work, "long.wav")
            second = 0.1 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate) * (np.arange(rate) < rate // 2)
            with soundfile.SoundFile(source, "w", rate, 1) as file:
                for _ in range(round(60 * length)):
                    file.write(second)
            enhance(source, Path(work, "out.wav"), lufs, "--model", "dccrn-small")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"{length:g} minutes: {peak:.0f} MiB at most so far")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lufs", type=float, default=-16.0)
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 30], help="in rising order")
    arguments = parser.parse_args()
    near(arguments.folder, arguments.lufs)
    memory(arguments.minutes, arguments.lufs)
