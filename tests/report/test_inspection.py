"""`dccrn inspect`: what it finds in files with known faults."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner
from voices import hiss, voice, write

from dccrn_cli import inspect_files
from dccrn_cli.cli.app import app
from dccrn_cli.errors import OptionError
from dccrn_cli.report.inspection import folder as folder_module
from dccrn_cli.report.inspection.inspection import Inspection, inspect_file


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    x = voice(1, 3.0)
    write(root / "noisy.wav", hiss(x, 0.08))
    write(root / "faint noise.wav", hiss(x, 0.004))
    dropped = x.copy()
    dropped[20_000:21_000] = 0
    write(root / "dropouts.wav", dropped)
    write(root / "inverted.wav", np.stack([x, -x], axis=1))
    write(root / "silence.wav", np.zeros(16_000, np.float32))
    (root / "broken.wav").write_bytes(b"RIFF nothing")
    return root


def by_name(found: list[Inspection]) -> dict[str, Inspection]:
    return {Path(it.file).name: it for it in found}


def test_faults_are_found_and_named(files: Path) -> None:
    found = by_name(inspect_files(files, jobs=1, cache=False))
    assert len(found) == 6
    assert found["noisy.wav"].verdict == "enhance"
    noisy, faint = found["noisy.wav"].snr_db, found["faint noise.wav"].snr_db
    assert noisy is not None
    assert faint is not None
    assert faint > noisy + 10
    assert found["dropouts.wav"].dropouts == 1
    assert "1 dropout" in found["dropouts.wav"].reason
    assert found["inverted.wav"].channel_fault == "inverted"
    assert found["silence.wav"].verdict == "look at it"
    assert found["silence.wav"].reason == "digital silence"
    assert found["broken.wav"].verdict == "unreadable"
    assert (found["noisy.wav"].seconds, found["noisy.wav"].sample_rate) == (3.0, 16_000)


def test_inverted_channels_do_not_cancel_out(tmp_path: Path) -> None:
    x = hiss(voice(2, 3.0), 0.02)
    one = inspect_file(write(tmp_path / "one.wav", x))
    two = inspect_file(write(tmp_path / "two.wav", np.stack([x, -x], axis=1)))
    assert one.snr_db is not None
    assert two.snr_db == pytest.approx(one.snr_db, abs=0.1)


def test_lie_of_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", voice(3, 2.0))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = inspect_file(path)
    assert found.seconds == pytest.approx(1, abs=0.01)
    assert "cut off" in found.note
    assert "cut off" in found.reason


def test_order_list_and_tables(files: Path, tmp_path: Path) -> None:
    table, needs = tmp_path / "all.csv", tmp_path / "needs.txt"
    run = CliRunner().invoke(app, ["inspect", str(files), "-j", "1", "--csv", str(table), "--list-out", str(needs)])
    assert run.exit_code == 1  # one file is broken
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    needed = [float(row["need"]) for row in rows]
    assert needed == sorted(needed, reverse=True)
    listed = needs.read_text().splitlines()
    assert listed == [str(Path(row["file"]).absolute()) for row in rows if row["verdict"] == "enhance"]
    assert str(files / "noisy.wav") in listed
    plan = CliRunner().invoke(app, ["enhance", "--input-list", str(needs), "-o", str(tmp_path / "out"), "--dry-run"])
    assert f"{len(listed)} file" in plan.output
    again = CliRunner().invoke(app, ["inspect", str(files), "--json", "-q"])
    values = json.loads(again.stdout)
    assert [Path(row["file"]).name for row in values] == [Path(row["file"]).name for row in rows]


def test_known_files_are_not_measured_again(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = by_name(inspect_files(files / "*.wav", jobs=1))
    measured: list[str] = []

    def watched(path: Path) -> Any:
        measured.append(path.name)
        return inspect_file(path)

    monkeypatch.setattr(folder_module, "inspect_file", watched)
    assert by_name(inspect_files(files, jobs=1)) == first
    assert measured == ["broken.wav"]
    write(files / "noisy.wav", voice(9, 2.0))
    assert by_name(inspect_files(files, jobs=1))["noisy.wav"] != first["noisy.wav"]


def test_processes_find_the_same(files: Path) -> None:
    assert inspect_files(files, jobs=2, cache=False) == inspect_files(files, jobs=1, cache=False)


def test_nothing_to_inspect(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no audio files"):
        inspect_files(tmp_path)


def test_picture(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "a.png"
    run = CliRunner().invoke(app, ["inspect", str(files / "noisy.wav"), "--plot", str(picture), "-j", "1"])
    assert run.exit_code == 0
    assert picture.stat().st_size > 5000
