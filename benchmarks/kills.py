"""Kills a batch repeatedly, resumes it each time, and compares the results with an uninterrupted run.

    python benchmarks/kills.py FOLDER [--kills 30] [--jobs 2] [--signal KILL|INT] [options of dccrn enhance]

Each run is killed after a random time, at most that of a complete run. At the end the trees must be
identical, byte for byte, and contain no temporary files, and the reports must have the same rows apart from the time
taken.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def tree(folder: Path) -> list[Path]:
    """Files below a folder, as relative paths."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def rows(out: Path) -> list[dict[str, object]]:
    """Rows of the report on a folder in order of sources, without the time taken."""
    found = [json.loads(line) for line in out.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
    for row in found:
        del row["elapsed_s"]
        if Path(row["target"]).is_relative_to(out):
            row["target"] = str(Path(row["target"]).relative_to(out))
    return sorted(found, key=lambda row: str(row["source"]))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--signal", choices=["KILL", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=0)
    arguments, more = parser.parse_known_args()
    rng = random.Random(arguments.seed)
    number = signal.Signals[f"SIG{arguments.signal}"]
    work = Path(tempfile.mkdtemp(prefix="dccrn-kills-"))

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dccrn_cli", "enhance", arguments.folder, "-o", out, "-j", str(arguments.jobs)]
        command += ["--report", out.with_suffix(".jsonl"), *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)

    started = time.monotonic()
    assert start(work / "whole").wait() in (0, 1)
    whole_s = time.monotonic() - started
    kills, left, codes = 0, 0, set()
    while kills < arguments.kills:
        process = start(work / "killed")
        # A run that finishes nevertheless is discarded, and everything starts over.
        time.sleep(rng.uniform(0, whole_s))
        if process.poll() is None:
            kills += 1
            if number == signal.SIGINT:
                os.killpg(process.pid, number)  # like a terminal
            else:
                process.send_signal(number)
            codes.add(process.wait())
            left += any(path.name.endswith(".part") for path in (work / "killed").rglob(".*"))
        else:
            (work / "killed.jsonl").unlink()
            shutil.rmtree(work / "killed")
    code = start(work / "killed").wait()
    same = tree(work / "whole") == tree(work / "killed")
    equal = same and all(
        filecmp.cmp(work / "whole" / path, work / "killed" / path, shallow=False) for path in tree(work / "whole")
    )
    reports = [rows(work / "whole"), rows(work / "killed")]
    alike = reports[0] == reports[1] and not list(work.glob(".*journal"))
    print(
        f"{kills} kills (exit codes {sorted(codes)}), {left} of them left a temporary file; last run exit code {code}; "
        f"{len(tree(work / 'whole'))} files, trees {'equal' if equal else 'DIFFER'}; "
        f"{len(reports[1])} rows in the report, {'equal' if alike else 'DIFFERENT'}"
    )
    shutil.rmtree(work)
    raise SystemExit(0 if equal and alike else 1)


if __name__ == "__main__":
    main()
