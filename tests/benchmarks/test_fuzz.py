"""Damaged files cause no crash, hang or leftovers, and give a clear reason. `benchmarks/fuzz.py` tests more of them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.mark.skipif(sys.platform == "win32", reason="waits on a pipe")
def test_damaged_files(tmp_path: Path, tiny_model_file: Path) -> None:
    spec = importlib.util.spec_from_file_location("fuzz", _PATH)
    assert spec is not None
    assert spec.loader is not None
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    outcomes = {path.name: outcome for path, outcome in fuzz.campaign(170, 7, str(tiny_model_file), tmp_path)}
    assert {name: outcome for name, outcome in outcomes.items() if outcome.kind != "ok"} == {}
    statuses = [outcome.status for outcome in outcomes.values()]
    assert min(statuses.count("done"), statuses.count("failed")) > 40
