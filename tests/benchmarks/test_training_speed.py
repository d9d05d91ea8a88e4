"""The comparison of two checkouts by training speed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_checkout_is_as_fast_as_itself() -> None:
    sizes = ["--rounds", "2", "--steps", "2", "--warm-up", "1", "--batch", "1", "--seconds", "0.5"]
    tiny = ["--preset", "dccrn-lstm-small", "--set", "network.channels=[4, 4]", "--set", "network.look_ahead=2"]
    command = [sys.executable, str(ROOT / "benchmarks" / "training_speed.py"), "--against", str(ROOT), *sizes, *tiny]
    result = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, timeout=600)
    assert result.returncode == 0, result.stderr
    ratio = re.search(r"^ratio (\S+) \(median of 2", result.stdout, re.MULTILINE)
    assert ratio, result.stdout
    assert 0.2 < float(ratio[1]) < 5.0
